"""Repair on a database of Cinder's, after Cinder's own manager marked what it marks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

from cinder import objects
from cinder.db import api as db
from cinder.tests.unit import fake_constants as fake
from cinder.tests.unit import utils
from oslo_utils import timeutils

from rekindle_cinder.errors import Unreachable
from rekindle_cinder.repair import carry_out, command, plan, read
from rekindle_cinder.repair.facts import Rules
from rekindle_cinder.repair.settings import Settings
from tests.managed import HOST, POOL, Managed

TEN = timedelta(minutes=10)


class Killed(BaseException):
    """The end of the process, as Cinder's manager cannot catch it."""


class WithRepair(Managed):
    def setUp(self) -> None:
        super().setUp()
        self.set_up_driver()
        self.good = self.a_volume()
        self.bad = self.a_volume(status="in-use")
        self.plain = self.a_volume(replication_status="disabled", volume_type_id=None)
        for volume in (self.good, self.bad, self.plain):
            utils.create_snapshot(self.context, volume.id, status="available")

    def settings(self, **rules: Any) -> Settings:
        return Settings(HOST, "volumes", self.sidecar, Rules(TEN, TEN, **rules))  # type: ignore[arg-type]

    def repair(self, apply: bool = True, **rules: Any) -> tuple[dict[str, Any], int]:
        return command.run(self.context, self.settings(**rules), apply)

    def snapshots(self, volume: Any) -> set[Any]:
        return {snapshot.status for snapshot in objects.SnapshotList.get_all_for_volume(self.context, volume.id)}

    def begin_failing_over(self) -> None:
        """As cinder-api does."""
        objects.Service.get_by_id(self.context, self.service.id).conditional_update({"replication_status": "failing-over"})

    def silent_for(self, resource: str, id: Any, **span: Any) -> None:
        model = {"service": objects.Service, "volume": objects.Volume, "group": objects.Group}[resource].model
        when = timeutils.utcnow() - timedelta(**span)
        assert db.conditional_update(self.context, model, {"updated_at": when}, {"id": id})

    def die_in(self, hook: str, call: Any, *arguments: Any, **named: Any) -> None:
        with mock.patch.object(self.driver, hook, side_effect=Killed):
            self.assertRaises(Killed, call, *arguments, **named)

    def test_all_that_one_failover_marked(self) -> None:
        self.sidecar.failing = {self.bad.id}
        self.manager.failover(self.context, "zone-b")
        assert self.how_is(self.bad) == ("error", "in-use", "failover-error")
        assert self.snapshots(self.bad) == self.snapshots(self.plain) == {"error"}
        shown, code = self.repair()
        assert (shown["changes"], code) == ([], 6)
        assert {left["id"] for left in shown["left"]} == {self.bad.id, self.plain.id}
        self.sidecar.failing = set()
        shown, code = self.repair(apply=False)
        assert [change["kind"] for change in shown["changes"]] == ["snapshot", "volume"]
        assert self.how_is(self.bad) == ("error", "in-use", "failover-error"), "a plan changes nothing"
        self.repair()
        assert self.how_is(self.bad) == ("in-use", None, "failed-over")
        assert objects.Volume.get_by_id(self.context, self.bad.id).replication_extended_status is None
        assert self.snapshots(self.bad) == {"available"}
        assert self.how_is(self.plain) == ("error", "available", "not-capable")
        self.manager.failover(self.context, "default")
        shown, code = self.repair()
        assert (shown["left"], code) == ([], 0)
        assert self.how_is(self.plain) == ("available", None, "disabled")
        assert self.snapshots(self.plain) == {"available"}
        assert self.repair()[0]["changes"] == [], "once is enough"

    def test_a_retry_leaves_snapshots_in_error_that_are_given_back(self) -> None:
        self.sidecar.failing = {self.bad.id}
        self.manager.failover(self.context, "zone-b")
        self.sidecar.failing = set()
        self.manager.failover(self.context, "zone-b")
        assert (self.how_is(self.bad)[0], self.snapshots(self.bad)) == ("in-use", {"error"})
        self.repair()
        assert self.snapshots(self.bad) == {"available"}

    def test_a_manager_that_died_in_the_middle(self) -> None:
        self.begin_failing_over()
        self.die_in("failover_host", self.manager.failover, self.context, "zone-b")
        assert self.service_now()[0] == "failing-over"
        self.silent_for("service", self.service.id, seconds=590)
        shown, code = self.repair()
        assert (code, shown["changes"]) == (3, [])
        assert "may be at work" in shown["refused"]
        assert self.how_is(self.plain)[0] == "error"
        self.silent_for("service", self.service.id, seconds=610)
        before = objects.Service.get_by_id(self.context, self.service.id).updated_at
        shown, code = self.repair()
        assert code == 0, shown
        assert self.service_now() == ("enabled", None, False)
        after = objects.Service.get_by_id(self.context, self.service.id).updated_at
        assert after == before, "it does not look alive now"
        assert self.how_is(self.plain) == ("available", None, "disabled")
        self.manager.failover(self.context, "zone-b")
        assert self.service_now() == ("failed-over", "zone-b", True)
        assert self.how_is(self.good)[2] == "failed-over"

    def test_a_heartbeat_after_the_look_forbids_it(self) -> None:
        self.begin_failing_over()
        self.silent_for("service", self.service.id, hours=1)
        made = plan.make(read.world(self.context, self.settings()), self.settings().rules)
        self.silent_for("service", self.service.id, seconds=0)
        [(_change, problem)] = carry_out.each(self.context, made)
        assert problem
        assert self.service_now()[0] == "failing-over"

    def test_a_row_that_somebody_changed_is_left_and_the_others_are_done(self) -> None:
        other = self.a_volume(replication_status="disabled", volume_type_id=None)
        self.sidecar.refusing = {"failover": Unreachable("/s", "gone")}
        self.manager.failover(self.context, "zone-b")
        assert self.service_now()[0] == "enabled"
        made = plan.make(read.world(self.context, self.settings()), self.settings().rules)
        objects.Volume.get_by_id(self.context, self.plain.id).update_single_status_where("maintenance", "error")
        outcomes = {change.id: problem for change, problem in carry_out.each(self.context, made)}
        assert outcomes[other.id] is None
        assert outcomes[self.plain.id]
        assert self.how_is(other) == ("available", None, "disabled")
        assert self.how_is(self.plain) == ("maintenance", "available", "not-capable")
        assert self.snapshots(self.plain) == {"error"}, "its snapshots belong to what it was when it was looked at"

    def test_an_absent_sidecar_leaves_what_only_it_knows(self) -> None:
        self.sidecar.failing = {self.bad.id}
        self.manager.failover(self.context, "zone-b")
        self.sidecar.refusing = {"status": Unreachable("/s", "gone")}
        shown, code = self.repair(away_too=True)
        assert code == 6
        assert [left["id"] for left in shown["left"]] == [self.bad.id]
        assert "does not answer at /s" in shown["left"][0]["why"]
        assert self.how_is(self.plain) == ("available", None, "disabled")

    def test_a_groups_failover_that_died(self) -> None:
        group = utils.create_group(
            self.context, host=POOL, group_type_id=fake.GROUP_TYPE_ID, replication_status="failing-over"
        )
        moving = {"group_id": group.id, "replication_status": "failing-over"}
        pair = [self.a_volume(**moving), self.a_volume(status="in-use", **moving)]
        call = self.manager.failover_replication
        self.die_in(
            "failover_replication", call, self.context, group, allow_attached_volume=True, secondary_backend_id="zone-b"
        )
        self.sidecar.primary_in = {volume.id: "zone-b" for volume in pair}
        assert self.repair()[0]["changes"] == [], "it is young"
        for volume in pair:
            self.silent_for("volume", volume.id, hours=1)
        self.silent_for("group", group.id, hours=1)
        shown, code = self.repair()
        assert code == 0, shown
        assert objects.Group.get_by_id(self.context, group.id).replication_status == "failed-over"
        assert [self.how_is(volume) for volume in pair] == [
            ("available", None, "failed-over"),
            ("in-use", None, "failed-over"),
        ]
        found = objects.Volume.get_by_id(self.context, pair[0].id)
        assert self.driver.initialize_connection(found, {})["data"]["auth_username"] == "dr"

    def test_a_groups_failed_failover(self) -> None:
        group = utils.create_group(
            self.context, host=POOL, group_type_id=fake.GROUP_TYPE_ID, replication_status="failing-over"
        )
        volume = self.a_volume(group_id=group.id, replication_status="failing-over")
        self.sidecar.failing = {volume.id}
        call = self.manager.failover_replication
        self.assertRaises(Exception, call, self.context, group, secondary_backend_id="zone-b")  # noqa: B017
        self.sidecar.failing = set()
        assert self.repair()[1] == 0
        assert self.how_is(volume) == ("available", None, "enabled")
        found = objects.Group.get_by_id(self.context, group.id)
        assert (found.status, found.replication_status) == ("available", "enabled")

    def test_a_volume_that_stands_in_the_other_zone_without_its_service(self) -> None:
        data = '{"rekindle_backend":"zone-b"}'
        marked = {"status": "error", "previous_status": "in-use", "replication_status": "failover-error"}
        volume = self.a_volume(replication_driver_data=data, **marked)
        self.sidecar.primary_in = {volume.id: "zone-b"}
        assert self.repair()[1] == 0
        assert self.how_is(volume) == ("in-use", None, "failed-over")
        assert objects.Volume.get_by_id(self.context, volume.id).replication_driver_data == data

    def test_a_cluster_and_its_services_page_by_page(self) -> None:
        name = "cluster@ceph"
        utils.create_cluster(self.context, name=name, binary="cinder-volume", replication_status="failing-over")
        values = {"cluster_name": name, "replication_status": "failing-over"}
        assert db.conditional_update(self.context, objects.Service.model, values, {"id": self.service.id})
        clustered = [
            self.a_volume(
                status="error", previous_status="in-use", replication_status="not-capable", cluster_name=f"{name}#ceph"
            )
            for _ in range(3)
        ]
        assert self.repair()[1] == 3
        self.silent_for("service", self.service.id, hours=1)
        with mock.patch.object(read, "_PAGE", 2):
            shown, code = self.repair()
        assert code == 0, shown
        assert {self.how_is(volume) for volume in clustered} == {("in-use", None, "disabled")}
        assert self.service_now()[0] == "enabled"
        cluster = objects.Cluster.get_by_id(self.context, None, name=name)
        assert cluster.replication_status == "enabled"
