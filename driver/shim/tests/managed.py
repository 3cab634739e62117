"""Cinder's own VolumeManager with our driver, on a database of Cinder's: what tests.with_* build on. No tests in here, for
the runner would run them once for each file that imports it."""

from __future__ import annotations

from typing import Any

from cinder import objects
from cinder.db import api as db
from cinder.tests.unit import utils
from cinder.tests.unit import volume as base
from cinder.volume import manager

from tests.fake_ceph import FakeCeph, FakeCluster, FakeImage
from tests.friendly import FriendlySidecar
from tests.maker import FSIDS, REPLICATED, Maker

HOST = "host@ceph"
POOL = "host@ceph#ceph"


class Managed(base.BaseVolumeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ceph = FakeCeph({path: FakeCluster(fsid) for path, fsid in FSIDS.items()})
        self.cluster = self.ceph.clusters["a.conf"]
        maker = Maker(self.ceph, "/nonexistent")
        self.addCleanup(maker.clear)
        self.driver = maker.driver(setup=False)
        self.sidecar = FriendlySidecar()
        self.driver._sidecar = self.sidecar  # type: ignore[assignment, misc]
        self.manager = manager.VolumeManager(host=HOST)
        self.manager.driver = self.driver
        self.manager.stats = {"pools": {}, "allocated_capacity_gb": 0}
        values = {"host": HOST, "binary": "cinder-volume", "topic": "cinder-volume", "replication_status": "enabled"}
        self.service = utils.create_service(self.context, values)
        self.type = db.volume_type_create(self.context, {"name": "replicated", "extra_specs": REPLICATED})

    def set_up_driver(self) -> None:
        self.driver.do_setup(self.context)
        self.driver.check_for_setup_error()
        self.driver.set_initialized()

    def a_volume(self, **fields: Any) -> Any:
        values = {"host": POOL, "replication_status": "enabled", "volume_type_id": self.type["id"], **fields}
        volume = utils.create_volume(self.context, **values)
        self.cluster.images[volume.name] = FakeImage(1024**3)
        return volume

    def how_is(self, volume: Any) -> tuple[Any, ...]:
        found = objects.Volume.get_by_id(self.context, volume.id)
        return found.status, found.previous_status, found.replication_status

    def service_now(self) -> tuple[Any, ...]:
        found = objects.Service.get_by_id(self.context, self.service.id)
        return found.replication_status, found.active_backend_id, found.disabled
