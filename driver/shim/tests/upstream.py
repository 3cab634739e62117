"""Cinder's own unit tests of RBDDriver, run with RekindleRBDDriver in its place, and Cinder's compliance tests.

They are not copied: they are imported from the installed Cinder, after the module that they take RBDDriver from has been
put behind a stand-in that hands out ours. What they patch by name lands in the real module.

    python -m tests.upstream      prints `N passed, N failed, N skipped`; exits 1 on a failure, on a test left out that
                                  does not exist, and on one left out that would pass
"""

from __future__ import annotations

import importlib
import sys
import types
import unittest
from collections.abc import Iterator
from typing import Any

from tests.friendly import FriendlySidecar
from tests.replaced import REPLACED

UNDER_TEST = "cinder.volume.drivers.rbd"
SUITES = ("cinder.tests.unit.volume.drivers.test_rbd", "cinder.tests.compliance.test_volume_drivers")


class StandIn(types.ModuleType):
    """The real module in all but one name."""

    def __init__(self, real: types.ModuleType, ours: type) -> None:
        super().__init__(real.__name__)
        object.__setattr__(self, "_real_and_ours", (real, ours))

    def __getattribute__(self, name: str) -> Any:
        real, ours = object.__getattribute__(self, "_real_and_ours")
        return ours if name == "RBDDriver" else getattr(real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_real_and_ours")[0], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_real_and_ours")[0], name)


def take_its_place() -> None:
    """From now on, who imports Cinder's module finds our class in it."""
    importlib.import_module("cinder.tests.unit")  # patches threads and sockets as cinder-volume does, before all else
    ours = importlib.import_module("rekindle_cinder.driver").RekindleRBDDriver
    real = importlib.import_module(UNDER_TEST)
    # Their configuration is a mock that knows upstream's options alone: the sidecar is at hand, and agrees to everything.
    ours._sidecar = FriendlySidecar()
    importlib.import_module("cinder.volume.configuration").Configuration.rados_connect_timeout = None
    package, _, name = UNDER_TEST.rpartition(".")
    stand_in = StandIn(real, ours)
    sys.modules[UNDER_TEST] = stand_in
    setattr(sys.modules[package], name, stand_in)


def each_test(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from each_test(entry)
        else:
            yield entry


def load() -> dict[str, unittest.TestCase]:
    """All tests, by the end of their name: Class.test_name."""
    loader = unittest.TestLoader()
    suites = [loader.loadTestsFromName(name) for name in SUITES]
    if loader.errors:
        raise SystemExit("\n".join(map(str, loader.errors)))
    return {".".join(test.id().split(".")[-2:]): test for suite in suites for test in each_test(suite)}


def run(tests: list[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.TestSuite(tests).run(result)
    return result


def main() -> int:
    take_its_place()
    tests = load()
    replaced = {name for name in REPLACED if name in tests}
    drivers = importlib.import_module(SUITES[1]).VOLUME_DRIVERS
    compliance = any(driver.class_name == "RekindleRBDDriver" for driver in drivers)
    result = run([test for name, test in tests.items() if name not in replaced])
    bad = [(test.id(), text) for test, text in [*result.failures, *result.errors]]
    for name, text in bad:
        print(f"FAILED {name}\n{text}")
    needless = [name for name in sorted(replaced) if run([tests[name]]).wasSuccessful()]
    for name in needless:
        print(f"FAILED {name}: it passes, so it need not be left out")
    unknown = sorted(set(REPLACED) - replaced)
    for name in unknown:
        print(f"note: {name} is left out and does not exist in this Cinder")
    if not compliance:
        print("FAILED Cinder's compliance tests do not know the class")
    failed = len(bad) + len(needless) + (not compliance)
    skipped = len(result.skipped) + len(replaced)
    print(f"{result.testsRun - len(bad) - len(result.skipped)} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
