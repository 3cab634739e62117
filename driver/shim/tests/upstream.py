"""Cinder's own unit tests of RBDDriver, run with RekindleRBDDriver in its place, Cinder's compliance tests, and ours that
want Cinder's test classes (with_manager.py, with_cluster.py, with_repair.py).

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
from unittest import mock

from tests.friendly import FriendlySidecar
from tests.replaced import REPLACED

UNDER_TEST = "cinder.volume.drivers.rbd"
COMPLIANCE = "cinder.tests.compliance.test_volume_drivers"
UPSTREAM = ("cinder.tests.unit.volume.drivers.test_rbd", COMPLIANCE)
OURS = ("tests.with_manager", "tests.with_cluster", "tests.with_repair")


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


def load(names: tuple[str, ...]) -> dict[str, unittest.TestCase]:
    """All tests, by the end of their name: Class.test_name."""
    loader = unittest.TestLoader()
    suites = [loader.loadTestsFromName(name) for name in names]
    if loader.errors:
        raise SystemExit("\n".join(map(str, loader.errors)))
    return {".".join(test.id().split(".")[-2:]): test for suite in suites for test in each_test(suite)}


def run(tests: list[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.TestSuite(tests).run(result)
    return result


def run_upstream(tests: list[unittest.TestCase]) -> unittest.TestResult:
    """Older releases' mock of the configuration fails for a default of an option that the test does not set. And a mock of
    an image says that it is mirrored: their volumes are plain, and that is looked at in test_mirrored.py."""
    configuration = importlib.import_module("cinder.volume.configuration").Configuration
    with (
        mock.patch.object(configuration, "rados_connect_timeout", None, create=True),
        mock.patch("rekindle_cinder.guarded.is_mirrored", return_value=False),
    ):
        return run(tests)


def main() -> int:
    take_its_place()
    tests = load(UPSTREAM)
    replaced = {name for name in REPLACED if name in tests}
    # Ours first: some of Cinder's leave mocks behind in the module.
    results = [run([*load(OURS).values()])]
    results.append(run_upstream([test for name, test in tests.items() if name not in replaced]))
    complaints = [f"{test.id()}\n{text}" for result in results for test, text in [*result.failures, *result.errors]]
    failed = len(complaints)
    for name in sorted(replaced):
        if run_upstream([tests[name]]).wasSuccessful():
            complaints.append(f"{name}: it passes, so it need not be left out")
    if not any(driver.class_name == "RekindleRBDDriver" for driver in importlib.import_module(COMPLIANCE).VOLUME_DRIVERS):
        complaints.append(f"{COMPLIANCE}: it does not know the class")
    for complaint in complaints:
        print(f"FAILED {complaint}")
    for name in sorted(set(REPLACED) - replaced):
        print(f"note: {name} is left out and does not exist in this Cinder")
    skipped = sum(len(result.skipped) for result in results)
    passed = sum(result.testsRun for result in results) - failed - skipped
    print(f"{passed} passed, {len(complaints)} failed, {skipped + len(replaced)} skipped")
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main())
