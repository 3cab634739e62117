"""Generic volume groups: the same calls, and a group that moved without its service."""

from __future__ import annotations

import pytest

from tests.fake_ceph import DISABLED, ENABLED, FakeImage


def test_enabling_goes_by_type(make, sidecar, driver):
    instant, periodic = make.replicated(), make.replicated()
    periodic.volume_type = make.type({"replication_enabled": "<is> True", "rekindle:mode": "periodic"})
    group = make.group([instant, periodic])
    model, volumes = driver.enable_replication(make.context, group, group.volumes)
    assert model == {"replication_status": "enabled"}
    assert {update["id"]: update["replication_status"] for update in volumes} == {
        instant.id: "enabled",
        periodic.id: "enabled",
    }
    assert [asked["specs"]["rekindle:mode"] for asked in sidecar.asked("replicate")] == ["instant", "periodic"]
    assert [asked["cause"] for asked in sidecar.asked("replicate")] == ["again", "again"]


@pytest.mark.parametrize("hook", ["enable_replication", "disable_replication", "failover_replication"])
def test_one_failed_volume_is_named_and_the_group_is_in_error(make, sidecar, driver, hook):
    good, bad = make.replicated(), make.replicated(status="in-use")
    group = make.group([good, bad])
    sidecar.fails_volume(bad.id, "busy", "a plan is at work")
    model, volumes = getattr(driver, hook)(make.context, group, group.volumes)
    assert model == {"replication_status": "error"}
    found = {update["id"]: update for update in volumes}
    assert found[good.id]["replication_extended_status"] is None
    assert found[bad.id]["replication_extended_status"] == "a plan is at work [busy]"
    assert found[bad.id]["replication_status"] in ("error", "failover-error")


HOOKS = pytest.mark.parametrize("hook", ["enable_replication", "disable_replication"])


def in_group(make, cluster):
    """Of a group: one that is replicated, and one that is not."""
    volumes = [make.replicated(status="in-use"), make.replicated()]
    for volume, mirroring in zip(volumes, (ENABLED, DISABLED), strict=True):
        cluster.images[volume.name] = FakeImage(1)
        cluster.images[volume.name].mirroring = mirroring
        volume.replication_status = "enabling"
    return make.group(volumes)


@HOOKS
def test_a_group_across_backends_is_refused(make, cluster, sidecar, driver, told, hook):
    group = in_group(make, cluster)
    group.volumes[1].host = "host@other#other"
    model, updates = getattr(driver, hook)(make.context, group, group.volumes)
    assert model == {"replication_status": "error"}
    assert all("within one backend" in update["replication_extended_status"] for update in updates)
    assert sidecar.order() == []


@HOOKS
def test_a_call_that_fails_as_a_whole_leaves_the_volumes_as_they_were(make, cluster, sidecar, driver, told, hook):
    """Of an exception the manager would make `error` of each one's status too, and they could not be attached any more."""
    sidecar.stop()
    group = in_group(make, cluster)
    model, updates = getattr(driver, hook)(make.context, group, group.volumes)
    assert model == {"replication_status": "error"}
    assert [update["id"] for update in updates] == [volume.id for volume in group.volumes]
    assert all("Is rekindle-driver running" in update["replication_extended_status"] for update in updates)
    assert [update["replication_status"] for update in updates] == ["enabled", "error"]
    assert not any("status" in update for update in updates)
    assert [message["resource_uuid"] for message in told] == [volume.id for volume in group.volumes]
    assert driver.get_volume_stats(True)["replication_status"] == "error"


@HOOKS
def test_a_cluster_that_is_away_is_asked_once_for_a_groups_volumes(make, cluster, sidecar, driver, told, hook):
    sidecar.stop()
    group = in_group(make, cluster)
    cluster.dead = True
    cluster.connections = 0
    _model, updates = getattr(driver, hook)(make.context, group, group.volumes)
    assert [update["replication_status"] for update in updates] == ["error", "error"]
    # As often as upstream tries to connect, and no more.
    assert cluster.connections == driver.configuration.rados_connection_retries


def test_disabling(make, sidecar, driver):
    group = make.group([make.replicated()])
    model, volumes = driver.disable_replication(make.context, group, group.volumes)
    assert model == {"replication_status": "disabled"}
    assert volumes[0]["replication_status"] == "disabled"


def test_a_group_that_moved_alone_is_reached_where_it_is(make, ceph, sidecar, driver):
    volume, other = make.replicated(), make.replicated()
    ceph.clusters["b.conf"].images[volume.name] = FakeImage(1)
    group = make.group([volume])
    model, [update] = driver.failover_replication(make.context, group, group.volumes, "zone-b")
    assert model == {"replication_status": "failed-over"}
    assert update["replication_driver_data"] == '{"rekindle_backend":"zone-b"}'
    volume.update({key: value for key, value in update.items() if key != "id"})
    data = driver.initialize_connection(volume, {})["data"]
    assert (data["auth_username"], data["secret_uuid"]) == ("dr", "secret-b")
    assert sidecar.asked("guard")[-1]["backend"] == "zone-b"
    driver.extend_volume(volume, 2)
    assert ceph.clusters["b.conf"].images[volume.name].size == 2 * 1024**3
    assert driver.initialize_connection(other, {})["data"]["auth_username"] == "cinder"
    model, [update] = driver.failover_replication(make.context, group, group.volumes, "default")
    assert model == {"replication_status": "enabled"}
    assert update["replication_driver_data"] is None
    volume.update({key: value for key, value in update.items() if key != "id"})
    assert driver.initialize_connection(volume, {})["data"]["auth_username"] == "cinder"


def test_other_drivers_words_in_replication_driver_data_are_kept(make, sidecar, driver):
    volume = make.replicated(replication_driver_data='{"had_journaling":true}')
    group = make.group([volume])
    _model, [update] = driver.failover_replication(make.context, group, group.volumes, "zone-b")
    assert update["replication_driver_data"] == '{"had_journaling":true,"rekindle_backend":"zone-b"}'
    volume.update({key: value for key, value in update.items() if key != "id"})
    _model, [update] = driver.failover_replication(make.context, group, group.volumes, "default")
    assert update["replication_driver_data"] == '{"had_journaling":true}'


def as_the_manager_does(volumes, updates):
    """Before the call, and with what it answers."""
    for volume in volumes:
        volume.replication_status = "failing-over"
    model, found = updates()
    for volume, update in zip(volumes, found, strict=True):
        volume.update({key: value for key, value in update.items() if key != "id"})
    return model


def test_a_failover_that_is_refused_leaves_the_groups_volumes_as_they_were(make, sidecar, driver, told):
    """Of an exception the manager would make `error` of each, and they could not be attached any more."""
    there, here = make.replicated(status="in-use"), make.replicated(status="in-use")
    there.replication_driver_data = '{"rekindle_backend":"zone-b"}'
    for volumes, target, word, reason in (
        ([there], "default", "failed-over", "it is held"),
        ([here], "zone-b", "enabled", "it is held"),
        ([here], "zone-x", "enabled", "zone-x"),
        ([make.replicated(host="host@other#other")], "zone-b", "enabled", "within one backend"),
    ):
        sidecar.refuses("failover", 409, "held", "it is held")
        group = make.group(volumes)
        model = as_the_manager_does(
            volumes, lambda g=group, t=target: driver.failover_replication(make.context, g, g.volumes, t)
        )
        assert model == {"replication_status": "error"}
        assert (volumes[0].replication_status, volumes[0].status) == (word, group.volumes[0].status)
        assert volumes[0].status in ("in-use", "available")
        assert reason in volumes[0].replication_extended_status
        assert reason in told.pop()["event_id"]
    sidecar.recovers()
    assert driver.initialize_connection(there, {})["data"]["secret_uuid"] == "secret-b"
    assert driver.get_volume_stats(True)["replication_status"] == "error"


def test_how_far_a_groups_failover_got_may_not_be_known(make, sidecar, driver, told):
    volume = make.replicated(status="in-use")
    sidecar.sends("failover", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    group = make.group([volume])
    model = as_the_manager_does([volume], lambda: driver.failover_replication(make.context, group, group.volumes, "zone-b"))
    assert model == {"replication_status": "error"}
    assert (volume.status, volume.previous_status) == ("error", "in-use")
    assert volume.replication_status == "failover-error"


def test_an_absent_sidecar_fails_no_group_over(make, sidecar, driver, told):
    sidecar.stop()
    volume = make.replicated()
    group = make.group([volume])
    as_the_manager_does([volume], lambda: driver.failover_replication(make.context, group, group.volumes, "zone-b"))
    assert (volume.status, volume.replication_status) == ("available", "enabled")
    assert "Is rekindle-driver running" in volume.replication_extended_status


@pytest.mark.parametrize("word", ["failed-over", "failover-error", "failing-over", "error"])
def test_a_volume_of_a_group_that_moved_is_where_it_was_moved_to_whatever_its_word(make, sidecar, driver, word):
    data = '{"rekindle_backend":"zone-b"}'
    volume = make.replicated(replication_driver_data=data, replication_status=word)
    assert driver.initialize_connection(volume, {})["data"]["secret_uuid"] == "secret-b"
    driver.delete_volume(volume)
    assert sidecar.asked("delete")[-1]["backend"] == "zone-b"


def test_a_zone_that_is_silent_for_a_moment_puts_no_group_into_error(make, sidecar, driver):
    volume = make.replicated()
    group = make.group([volume])
    unknown = {"id": volume.id, "image": f"volumes/{volume.name}", "result": "ok", "replication_status": "error"}
    answer = {"volumes": [{**unknown, "status": "error - unknown", "effect": "already_so"}]}
    sidecar.answers("status", lambda _: (200, answer))
    assert driver.get_replication_error_status(make.context, [group]) == ([], [])
    assert driver.get_volume_stats(True)["replication_status"] == "error"


def test_errors_are_looked_for_after_one_was_seen_and_until_none_is_left(make, sidecar, driver):
    volume = make.replicated()
    group = make.group([volume])
    assert "replication_status" not in driver.get_volume_stats(True)
    sidecar.fails_volume(volume.id, "busy", "busy")
    driver.failover_replication(make.context, group, group.volumes, "zone-b")
    assert driver.get_volume_stats(True)["replication_status"] == "error"
    groups, volumes = driver.get_replication_error_status(make.context, [group])
    assert groups == [{"group_id": group.id, "replication_status": "error"}]
    assert volumes == [{"volume_id": volume.id, "replication_status": "error"}]
    sidecar.recovers()
    assert driver.get_replication_error_status(make.context, [group]) == ([], [])
    assert "replication_status" not in driver.get_volume_stats(True)


def test_what_cannot_be_asked_is_not_said_to_be_well(make, sidecar, driver):
    group = make.group([make.replicated()])
    sidecar.stop()
    assert driver.get_replication_error_status(make.context, [group]) == ([], [])
    assert driver.get_volume_stats(True)["replication_status"] == "error"
