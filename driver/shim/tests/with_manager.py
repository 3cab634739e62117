"""The driver under Cinder's own VolumeManager and a database: what becomes of services, volumes and groups.

Run by tests.upstream, for Cinder's test classes want its runner, and threads and sockets patched as in cinder-volume.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import webob
from cinder import context, exception, objects
from cinder.db import api as db
from cinder.tests.unit import fake_constants as fake
from cinder.tests.unit import utils
from cinder.tests.unit import volume as base
from cinder.tests.unit.api import fakes

from rekindle_cinder import messages
from rekindle_cinder.client import Deletion
from rekindle_cinder.errors import NoAnswer, Refused
from tests.fake_ceph import ENABLED, FakeImage
from tests.managed import POOL, Managed

HELD = Refused(409, "held", "vol-1 is 3 MiB behind")


class WithManager(Managed):
    def messages(self) -> list[Any]:
        return list(db.message_get_all(self.context))

    def test_failover_retry_and_failback(self) -> None:
        self.set_up_driver()
        good = self.a_volume()
        bad = self.a_volume(status="in-use")
        wordless = self.a_volume(replication_status=None, volume_type_id=None)
        plain = self.a_volume(replication_status="disabled", volume_type_id=None)
        self.sidecar.failing = {bad.id}
        self.manager.failover(self.context, "zone-b")
        assert self.service_now() == ("failed-over", "zone-b", True)
        assert self.how_is(good) == ("available", None, "failed-over")
        assert self.how_is(bad) == ("error", "in-use", "failover-error")
        reason = objects.Volume.get_by_id(self.context, bad.id).replication_extended_status
        assert reason == "there is no complete copy here [no_complete_copy]"
        assert self.how_is(wordless) == ("available", None, "not-capable")
        assert self.how_is(plain) == ("error", "available", "not-capable"), "that is Cinder's doing, before we are asked"
        self.manager.failover(self.context, "zone-b")
        assert self.how_is(bad) == ("error", "in-use", "failover-error"), "what it was is not forgotten by a second failure"
        self.sidecar.failing = set()
        self.manager.failover(self.context, "zone-b")
        assert self.how_is(bad) == ("in-use", "error", "failed-over")
        assert objects.Volume.get_by_id(self.context, bad.id).replication_extended_status is None
        self.manager.failover(self.context, "default")
        assert self.service_now() == ("enabled", "", False)
        assert self.how_is(good) == ("available", None, "enabled")
        assert self.how_is(bad)[::2] == ("in-use", "enabled")

    def test_one_of_the_other_zones_own_is_enabled_all_the_time(self) -> None:
        self.set_up_driver()
        mine = self.a_volume()
        theirs = self.a_volume(
            _name_id="4f9bd3f7-3c4a-4b5c-9d3d-5d3e7a6f2b10", metadata={"rekindle:image": "volume-4f9bd3f7"}
        )
        self.sidecar.theirs = {theirs.id}
        self.manager.failover(self.context, "zone-b")
        assert self.how_is(mine) == ("available", None, "failed-over")
        assert self.how_is(theirs) == ("available", None, "enabled")
        found = objects.Volume.get_by_id(self.context, theirs.id)
        assert (self.driver._backend_of(found), self.driver._ref(found).taken_in) == ("default", True)
        self.sidecar.deletion = Deletion(True, "record_alone: it is a copy in zone-a")
        self.manager.delete_volume(self.context, found)
        self.assertRaises(exception.VolumeNotFound, objects.Volume.get_by_id, self.context, theirs.id)
        assert theirs.name in self.cluster.images
        self.manager.failover(self.context, "default")
        assert self.how_is(mine) == ("available", None, "enabled")

    def test_a_refusal_and_a_lost_answer_leave_the_service_as_it_was(self) -> None:
        self.set_up_driver()
        volume = self.a_volume()
        for error in (HELD, NoAnswer("it closed the connection")):
            self.sidecar.refusing = {"failover": error}
            self.manager.failover(self.context, "zone-b")
            assert self.service_now() == ("enabled", None, False)
            assert self.how_is(volume) == ("available", None, "enabled")
        self.manager.failover(self.context, "zone-x")
        assert self.service_now() == ("enabled", None, False)
        self.sidecar.refusing = {}
        self.manager.failover(self.context, "zone-b")
        assert self.service_now() == ("failed-over", "zone-b", True)
        self.sidecar.refusing = {"failover": HELD}
        self.manager.failover(self.context, "default")
        assert self.service_now() == ("failed-over", "zone-b", True)

    def test_hard_case_45_the_whole_start_with_a_dead_cluster(self) -> None:
        self.cluster.dead = True
        half_deleted = self.a_volume(status="deleting")
        volume = self.a_volume()
        self.manager.init_host(service_id=self.service.id)
        assert self.driver.initialized
        self.manager.init_host_with_rpc()
        self.manager._report_driver_status(self.context)
        assert self.service_now() == ("enabled", None, False)
        self.manager.failover(self.context, "zone-b")
        assert self.service_now() == ("failed-over", "zone-b", True)
        assert self.how_is(volume) == ("available", None, "failed-over")
        assert self.how_is(half_deleted)[2] in ("enabled", "failed-over")

    def test_a_refused_type_ends_in_error_with_the_reason_in_a_message(self) -> None:
        self.set_up_driver()
        self.sidecar.refusing = {"check": Refused(400, "invalid_field", "'5x' is no duration", "rekindle:interval")}
        volume = utils.create_volume(self.context, host=POOL, status="creating", volume_type_id=self.type["id"])
        self.assertRaises(exception.CinderException, self.manager.create_volume, self.context, volume)
        assert self.how_is(volume)[0] == "error"
        assert self.cluster.images == {}
        told = [m["event_id"] for m in self.messages() if m["resource_uuid"] == volume.id]
        reason = "VOLUME_VOLUME_008_012 rekindle: rekindle:interval: '5x' is no duration [invalid_field]"
        assert reason in told

    def test_a_created_volume_says_that_it_is_replicated(self) -> None:
        self.set_up_driver()
        volume = utils.create_volume(
            self.context, host=POOL, status="creating", replication_status=None, volume_type_id=self.type["id"]
        )
        self.manager.create_volume(self.context, volume)
        assert self.how_is(volume) == ("available", None, "enabled")

    def test_a_refused_deletion_leaves_the_volume_available(self) -> None:
        self.set_up_driver()
        volume = self.a_volume()
        self.sidecar.refusing = {"delete": Refused(409, "held", "the group's policy refuses it")}
        self.manager.delete_volume(self.context, volume)
        assert self.how_is(volume)[0] == "available"
        self.sidecar.refusing = {}
        self.sidecar.deletion = Deletion(True, "scheduled: it goes at noon")
        self.manager.delete_volume(self.context, volume)
        self.assertRaises(exception.VolumeNotFound, objects.Volume.get_by_id, self.context, volume.id)
        assert volume.name in self.cluster.images

    def a_plain_one_that_is_mirrored(self, **fields: Any) -> Any:
        """As os-replicate leaves it."""
        volume = self.a_volume(replication_status="disabled", volume_type_id=None, **fields)
        self.cluster.images[volume.name].mirroring = ENABLED
        return volume

    def test_a_deletion_of_one_that_an_action_replicated_is_its_policys(self) -> None:
        self.set_up_driver()
        volume = self.a_plain_one_that_is_mirrored()
        self.sidecar.refusing = {"delete": Refused(409, "held", "the group's policy refuses it")}
        self.manager.delete_volume(self.context, volume)
        assert self.how_is(volume)[0] == "available"
        self.sidecar.refusing = {}
        self.sidecar.deletion = Deletion(True, "removed_by_us: zone-b has all of it as a plain volume")
        self.manager.delete_volume(self.context, volume)
        self.assertRaises(exception.VolumeNotFound, objects.Volume.get_by_id, self.context, volume.id)
        assert volume.name in self.cluster.images

    def test_nova_copies_none_that_an_action_replicated(self) -> None:
        self.set_up_driver()
        source = self.a_plain_one_that_is_mirrored(status="in-use")
        fields = {"replication_status": "disabled", "volume_type_id": None, "migration_status": f"target:{source.id}"}
        target = utils.create_volume(self.context, host=POOL, status="creating", **fields)
        with self.assertRaisesRegex(exception.VolumeDriverException, "take its replication off first"):
            self.driver.create_volume(target)
        assert list(self.cluster.images) == [source.name]

    def test_hard_case_32_a_refused_purge_leaves_the_volume_and_its_snapshots(self) -> None:
        self.set_up_driver()
        volume = self.a_volume(status="deleting")
        snapshots = [utils.create_snapshot(self.context, volume.id, status="deleting") for _ in range(2)]
        names = {snapshot.name: True for snapshot in snapshots}
        self.cluster.images[volume.name].snaps.update(names)
        self.sidecar.refusing = {"delete": Refused(409, "held", "the group's policy refuses it")}
        self.manager.delete_volume(self.context, volume, cascade=True)
        assert self.how_is(volume)[0] == "available"
        assert self.cluster.images[volume.name].snaps == names
        assert [objects.Snapshot.get_by_id(self.context, s.id).status for s in snapshots] == ["available"] * 2
        assert len([m for m in self.messages() if m["resource_uuid"] == volume.id]) == 1
        # Asked for again when it is allowed.
        self.sidecar.refusing = {}
        for resource in (volume, *snapshots):
            resource.refresh()
            resource.status = "deleting"
            resource.save()
        self.manager.delete_volume(self.context, volume, cascade=True)
        self.assertRaises(exception.VolumeNotFound, objects.Volume.get_by_id, self.context, volume.id)
        assert self.cluster.images == {}

    def test_a_secondary_is_managed_without_a_rename(self) -> None:
        self.set_up_driver()
        name_id = "4f9bd3f7-3c4a-4b5c-9d3d-5d3e7a6f2b10"
        self.cluster.images[f"volume-{name_id}"] = FakeImage(3 * 1024**3)
        self.sidecar.refusing = {"guard": Refused(409, "not_primary", "a copy")}
        volume = utils.create_volume(
            self.context, host=POOL, status="creating", replication_status=None, volume_type_id=self.type["id"]
        )
        self.manager.manage_existing(self.context, volume, {"source-name": f"volume-{name_id}"})
        found = objects.Volume.get_by_id(self.context, volume.id)
        assert (found.name, found.size, found.status) == (f"volume-{name_id}", 3, "available")
        assert found.replication_status == "enabled"

    def test_the_other_zones_image_and_its_snapshot_are_taken_in_as_they_are(self) -> None:
        self.set_up_driver()
        name_id = "4f9bd3f7-3c4a-4b5c-9d3d-5d3e7a6f2b10"
        theirs = "snapshot-0c2cbe7a-9f3c-4dd0-8a3e-3a8f4f1a0b11"
        self.cluster.images[f"volume-{name_id}"] = FakeImage(3 * 1024**3)
        self.cluster.images[f"volume-{name_id}"].snaps[theirs] = True
        reference = {"source-name": f"volume-{name_id}", "rename": "false"}

        def take_in() -> Any:
            volume = utils.create_volume(
                self.context, host=POOL, status="creating", replication_status=None, volume_type_id=self.type["id"]
            )
            self.manager.manage_existing(self.context, volume, dict(reference))
            return objects.Volume.get_by_id(self.context, volume.id)

        found = take_in()
        assert (found.name, found.size, found.status) == (f"volume-{name_id}", 3, "available")
        self.assertRaises(exception.ManageExistingAlreadyManaged, take_in)
        snapshot = utils.create_snapshot(self.context, found.id, volume_size=3, status="creating")
        self.manager.manage_existing_snapshot(self.context, snapshot, {"source-name": theirs, "rename": "false"})
        saved = objects.Snapshot.get_by_id(self.context, snapshot.id)
        assert (saved.provider_id, saved.status) == (theirs, "available"), "the flow saves what the driver says"
        assert self.cluster.images[found.name].snaps == {theirs: True}
        made = utils.create_volume(
            self.context, host=POOL, status="creating", size=3, snapshot_id=saved.id, volume_type_id=None
        )
        self.manager.create_volume(self.context, made)
        assert self.cluster.images[made.name].parent == ("volumes", found.name, theirs)
        del self.cluster.images[made.name]
        self.sidecar.refusing = {"guard": Refused(409, "not_primary", "a copy")}
        self.manager.delete_snapshot(self.context, saved)
        assert objects.Snapshot.get_by_id(self.context, saved.id).deleted
        assert self.cluster.images[found.name].snaps == {theirs: True}, "the record alone"

    def test_a_group_that_fails_over_alone(self) -> None:
        self.set_up_driver()
        group = utils.create_group(
            self.context, host=POOL, group_type_id=fake.GROUP_TYPE_ID, replication_status="failing-over"
        )
        moving = {"group_id": group.id, "replication_status": "failing-over"}
        good, bad = self.a_volume(**moving), self.a_volume(**moving)
        self.manager.failover_replication(self.context, group, secondary_backend_id="zone-b")
        assert objects.Group.get_by_id(self.context, group.id).replication_status == "failed-over"
        found = objects.Volume.get_by_id(self.context, good.id)
        assert (found.replication_status, found.replication_driver_data) == (
            "failed-over",
            '{"rekindle_backend":"zone-b"}',
        )
        assert self.driver.initialize_connection(found, {})["data"]["auth_username"] == "dr"
        for resource in (group, good, bad):
            resource.refresh()
            resource.replication_status = "failing-over"
            resource.save()
        # One that is refused changes nothing but the group's word.
        self.sidecar.refusing = {"failover": Refused(409, "held", "it is not in step")}
        back = (self.manager.failover_replication, self.context, group)
        self.assertRaises(exception.ReplicationGroupError, *back, secondary_backend_id="default")
        assert objects.Group.get_by_id(self.context, group.id).replication_status == "error"
        for volume in (good, bad):
            assert self.how_is(volume) == ("available", None, "failed-over")
        found.refresh()
        assert self.driver.initialize_connection(found, {})["data"]["auth_username"] == "dr"
        self.sidecar.refusing = {}
        for resource in (group, good, bad):
            resource.refresh()
            resource.replication_status = "failing-over"
            resource.save()
        self.sidecar.failing = {bad.id}
        self.assertRaises(
            exception.ReplicationGroupError,
            self.manager.failover_replication,
            self.context,
            group,
            secondary_backend_id="zone-b",
        )
        assert objects.Group.get_by_id(self.context, group.id).replication_status == "error"
        assert self.how_is(bad) == ("error", "available", "failover-error")
        assert self.how_is(good)[2] == "failed-over"

    def test_a_groups_replication_that_is_refused_leaves_its_volumes_as_they_were(self) -> None:
        self.set_up_driver()
        group = utils.create_group(self.context, host=POOL, group_type_id=fake.GROUP_TYPE_ID, replication_status="enabling")
        volume = self.a_volume(group_id=group.id, status="in-use")
        self.cluster.images[volume.name].mirroring = ENABLED
        for hook, call, word in (
            (self.manager.enable_replication, "replicate", "enabling"),
            (self.manager.disable_replication, "unreplicate", "disabling"),
        ):
            for resource in (group, volume):
                resource.refresh()
                resource.replication_status = word
                resource.save()
            self.sidecar.refusing = {call: Refused(409, "busy", "a plan is at work")}
            self.assertRaises(exception.ReplicationGroupError, hook, self.context, group)
            assert objects.Group.get_by_id(self.context, group.id).replication_status == "error"
            assert self.how_is(volume) == ("in-use", None, "enabled")
            found = objects.Volume.get_by_id(self.context, volume.id)
            assert "a plan is at work" in found.replication_extended_status

    def test_a_groups_error_is_looked_for_until_it_is_mended(self) -> None:
        self.set_up_driver()
        group = utils.create_group(
            self.context, host=POOL, group_type_id=fake.GROUP_TYPE_ID, replication_status="failed-over"
        )
        volume = self.a_volume(group_id=group.id, replication_status="failed-over")
        self.driver._group_in_error = True
        self.sidecar.failing = {volume.id}
        with mock.patch.object(objects.GroupList, "get_all_replicated", return_value=[group]):
            self.manager._report_driver_status(self.context)
            assert objects.Group.get_by_id(self.context, group.id).replication_status == "error"
            assert self.how_is(volume)[2] == "error"
            self.sidecar.failing = set()
            self.manager._report_driver_status(self.context)
        assert not self.driver._group_in_error


class WithApi(base.BaseVolumeTestCase):
    """What a user sees of a message, with our extension in cinder-api and without it."""

    REASON = "rekindle:interval: '5x' is no duration [invalid_field]"

    def shown(self, *extensions: str) -> list[dict[str, Any]]:
        self.flags(osapi_volume_extension=["cinder.api.contrib.standard_extensions", *extensions])
        user = context.RequestContext(fake.USER_ID, fake.PROJECT_ID, auth_token=True, roles=["member", "reader"])
        volume = utils.create_volume(user, host=POOL)
        messages.tell(user, "create", volume.id, Refused(400, "invalid_field", "'5x' is no duration", "rekindle:interval"))
        app = fakes.wsgi_app(fake_auth_context=user)
        listed = self.get(app, f"/v3/{fake.PROJECT_ID}/messages")["messages"]
        one = self.get(app, f"/v3/{fake.PROJECT_ID}/messages/{listed[0]['id']}")["message"]
        return [*listed, one]

    @staticmethod
    def get(app: Any, path: str) -> Any:
        request = webob.Request.blank(path)
        request.headers["OpenStack-API-Version"] = "volume 3.3"
        response = request.get_response(app)
        assert response.status_int == 200, response.text
        return response.json

    def test_the_reason_is_in_the_events_id(self) -> None:
        for message in self.shown():
            assert message["event_id"] == f"VOLUME_VOLUME_008_012 rekindle: {self.REASON}"
            assert message["user_message"] == ("create volume from backend storage:Driver failed to create the volume.")

    def test_with_the_extension_it_is_in_the_text(self) -> None:
        for message in self.shown("rekindle_cinder.messages.Extension"):
            assert message["event_id"] == "VOLUME_VOLUME_008_012"
            assert message["user_message"] == (
                f"create volume from backend storage:Driver failed to create the volume. {self.REASON}"
            )
