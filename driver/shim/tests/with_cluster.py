"""Two members of one cluster, active/active, each with Cinder's own manager and our driver, on one database."""

from __future__ import annotations

from typing import Any
from unittest import mock

from cinder import exception, objects
from cinder.tests.unit import utils
from cinder.volume import manager
from oslo_db import exception as db_exc

from rekindle_cinder.errors import Refused
from tests.maker import Maker
from tests.managed import HOST, Managed

CLUSTER = "both@ceph"
OTHER = "other@ceph"


class WithCluster(Managed):
    def setUp(self) -> None:
        super().setUp()
        named = {"name": CLUSTER, "binary": "cinder-volume", "replication_status": "enabled"}
        objects.Cluster(self.context, **named).create()
        self.service.cluster_name = CLUSTER
        self.service.save()
        values = {"host": OTHER, "binary": "cinder-volume", "topic": "cinder-volume", "replication_status": "enabled"}
        self.other_service = utils.create_service(self.context, {**values, "cluster_name": CLUSTER})
        maker = Maker(self.ceph, "/nonexistent")
        self.addCleanup(maker.clear)
        self.other_driver = maker.driver(setup=False)
        self.other_driver._sidecar = self.sidecar  # type: ignore[assignment, misc]
        self.other = manager.VolumeManager(host=OTHER)
        self.other.driver = self.other_driver
        self.other.stats = {"pools": {}, "allocated_capacity_gb": 0}
        for host, one, driver in ((HOST, self.manager, self.driver), (OTHER, self.other, self.other_driver)):
            one.cluster = driver.cluster_name = CLUSTER
            driver.host = host
        self.alive = [self.manager, self.other]
        broadcast = mock.patch("cinder.volume.rpcapi.VolumeAPI.failover_completed", self.broadcast)
        broadcast.start()
        self.addCleanup(broadcast.stop)
        self.set_up_driver()
        self.bring_up(self.other_driver)

    def broadcast(self, context: Any, _service: Any, updates: Any) -> None:
        for member in self.alive:
            member.failover_completed(context, dict(updates))

    def bring_up(self, driver: Any) -> None:
        driver.do_setup(self.context)
        driver.check_for_setup_error()
        driver.set_initialized()

    def failover(self, target: str) -> None:
        """As cinder-api begins it: the cluster and its services first, then one member."""
        for row in (self.cluster_row(), *objects.ServiceList.get_all(self.context, {"cluster_name": CLUSTER})):
            row.replication_status = "failing-over"
            row.save()
        self.manager.failover(self.context, target)

    def cluster_row(self) -> Any:
        return objects.Cluster.get_by_id(self.context, None, name=CLUSTER, binary="cinder-volume")

    def cluster_now(self) -> tuple[Any, ...]:
        found = self.cluster_row()
        return found.replication_status, found.active_backend_id, found.disabled

    def other_now(self) -> tuple[Any, ...]:
        found = objects.Service.get_by_id(self.context, self.other_service.id)
        return found.replication_status, found.active_backend_id, found.disabled

    @staticmethod
    def user_of(driver: Any) -> Any:
        return driver._active_config["user"]

    def test_all_members_follow_the_one_that_fails_over_and_come_home_with_it(self) -> None:
        volume = self.a_volume(cluster_name=f"{CLUSTER}#ceph")
        self.failover("zone-b")
        assert self.cluster_now() == self.service_now() == self.other_now() == ("failed-over", "zone-b", True)
        assert self.user_of(self.driver) == self.user_of(self.other_driver) == "dr"
        assert self.how_is(volume) == ("available", None, "failed-over")
        self.failover("default")
        assert self.cluster_now() == self.service_now() == self.other_now() == ("enabled", "", False)
        assert self.user_of(self.driver) == self.user_of(self.other_driver) == "cinder"
        assert self.how_is(volume) == ("available", None, "enabled")

    def test_a_refusal_leaves_all_members_as_they_were(self) -> None:
        self.sidecar.refusing = {"failover": Refused(409, "held", "vol-1 is 3 MiB behind")}
        self.failover("zone-b")
        assert self.cluster_now()[0] == self.service_now()[0] == self.other_now()[0] == "enabled"
        assert self.user_of(self.driver) == self.user_of(self.other_driver) == "cinder"
        self.sidecar.refusing = {}
        self.failover("zone-b")
        self.sidecar.refusing = {"failover": Refused(409, "held", "vol-1 is 3 MiB behind")}
        self.failover("default")
        assert self.cluster_now() == self.service_now() == self.other_now() == ("failed-over", "zone-b", True)
        assert self.user_of(self.other_driver) == "dr"

    def test_a_member_that_was_dead_starts_where_its_cluster_is(self) -> None:
        self.alive = [self.manager]
        self.failover("zone-b")
        assert self.other_now() == ("failing-over", None, False), "nobody told it"
        self.bring_up(self.other_driver)
        self.other.init_host_with_rpc()
        assert self.user_of(self.other_driver) == "dr"
        assert self.other_now() == self.cluster_now() == ("failed-over", "zone-b", True)
        self.failover("default")
        assert self.other_now() == ("failing-over", "zone-b", True)
        self.bring_up(self.other_driver)
        self.other.init_host_with_rpc()
        assert self.user_of(self.other_driver) == "cinder"
        assert self.other_now() == self.cluster_now() == ("enabled", "", False)

    def test_a_broadcast_that_was_lost_is_made_up_for_with_the_next_stats(self) -> None:
        self.alive = [self.manager]
        self.failover("zone-b")
        assert self.user_of(self.other_driver) == "cinder"
        self.other_driver.get_volume_stats(refresh=True)
        assert self.user_of(self.other_driver) == "dr"
        assert self.other_now() == ("failed-over", "zone-b", True)

    def test_nothing_is_taken_from_a_cluster_in_the_middle_of_a_failover(self) -> None:
        row = self.cluster_row()
        row.replication_status = "failing-over"
        row.active_backend_id = "zone-b"
        row.save()
        self.other_driver.get_volume_stats(refresh=True)
        assert self.user_of(self.other_driver) == "cinder"
        assert self.other_now() == ("enabled", None, False)

    def test_a_cluster_that_went_where_this_member_cannot_go_is_an_error_and_no_end_of_the_service(self) -> None:
        row = self.cluster_row()
        row.replication_status = "failed-over"
        row.active_backend_id = "zone-z"
        row.save()
        self.other_driver.get_volume_stats(refresh=True)
        assert self.user_of(self.other_driver) == "cinder"
        self.assertRaises(exception.InvalidReplicationTarget, self.other_driver.do_setup, self.context)

    def test_a_silent_database_leaves_a_member_where_it_is(self) -> None:
        with mock.patch.object(objects.Cluster, "get_by_id", side_effect=db_exc.DBConnectionError()):
            self.bring_up(self.other_driver)
            self.other_driver.get_volume_stats(refresh=True)
            assert self.other_driver.thaw_backend(self.context) is True
        assert self.user_of(self.other_driver) == "cinder"

    def test_a_thaw_enables_whom_cinder_forgets(self) -> None:
        """cinder-api unfreezes all rows; the manager that takes the call enables its own."""
        for row in (self.cluster_row(), self.other_service):
            row.disabled = True
            row.disabled_reason = "frozen"
            row.save()
        third = {"host": "third@ceph", "binary": "cinder-volume", "topic": "cinder-volume", "cluster_name": CLUSTER}
        away = utils.create_service(self.context, {**third, "disabled": True, "disabled_reason": "maintenance"})
        assert self.manager.thaw_host(self.context)
        assert not self.other_now()[2]
        assert not self.cluster_now()[2]
        assert objects.Service.get_by_id(self.context, away.id).disabled, "for another reason"
        self.sidecar.refusing = {"thaw": Refused(503, "store_unavailable", "etcd has no majority")}
        other = objects.Service.get_by_id(self.context, self.other_service.id)
        other.update({"disabled": True, "disabled_reason": "frozen"})
        other.save()
        self.manager.thaw_host(self.context)
        assert self.other_now()[2], "what the sidecar did not thaw stays"
