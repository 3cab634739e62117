"""A driver as cinder-volume makes it, on a fake sidecar and two fake clusters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cinder import objects
from oslo_config import cfg

from rekindle_cinder.driver import RekindleRBDDriver
from tests.fake_ceph import FakeCeph, FakeCluster
from tests.fake_sidecar import FakeSidecar
from tests.maker import FSIDS, Maker

objects.register_all()
cfg.CONF([], project="cinder", default_config_files=[])


@pytest.fixture
def socket_path() -> Iterator[str]:
    """Short: a unix socket's path holds 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rk") as folder:
        yield str(Path(folder) / "s")


@pytest.fixture
def sidecar(socket_path: str) -> Iterator[FakeSidecar]:
    fake = FakeSidecar(socket_path)
    yield fake
    fake.stop()


@pytest.fixture
def ceph() -> FakeCeph:
    return FakeCeph({path: FakeCluster(fsid) for path, fsid in FSIDS.items()})


@pytest.fixture
def cluster(ceph: FakeCeph) -> FakeCluster:
    return ceph.clusters["a.conf"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The user messages that were written."""
    records: list[dict[str, Any]] = []
    monkeypatch.setattr("cinder.db.api.message_create", lambda _context, record: records.append(record))
    return records


@pytest.fixture
def make(ceph: FakeCeph, socket_path: str) -> Iterator[Maker]:
    maker = Maker(ceph, socket_path)
    yield maker
    maker.clear()


@pytest.fixture
def driver(make: Maker, sidecar: FakeSidecar) -> RekindleRBDDriver:
    return make.driver()
