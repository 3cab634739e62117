"""What repair makes of a world: a function of data, so no Cinder and no database in here."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rekindle_cinder.repair import plan
from rekindle_cinder.repair.facts import (
    Cluster,
    Group,
    NotPrimary,
    Primary,
    Rules,
    Service,
    Snapshot,
    Unknown,
    Volume,
    World,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RULES = Rules(timedelta(minutes=10), timedelta(minutes=10))
HERE = Primary("default", "enabled")
THERE = Primary("zone-b", "failed-over")


def ago(**span):
    return NOW - timedelta(**span)


def volume(**fields):
    values = {
        "id": "v1",
        "image": "volumes/volume-v1",
        "status": "error",
        "previous_status": "in-use",
        "replication_status": "failover-error",
        "driver_data": None,
        "group_id": None,
        "changed": ago(hours=1),
        **fields,
    }
    return Volume(**values)


def plain(**fields):
    return volume(replication_status="not-capable", **fields)


def service(**fields):
    values = {
        "id": 1,
        "host": "h@ceph",
        "replication_status": "enabled",
        "active_backend_id": None,
        "heartbeat": ago(seconds=3),
    }
    return Service(**{**values, **fields})


def world(*volumes, services=None, cluster=None, groups=(), seen=None):
    return World("h@ceph", NOW, tuple(services or [service()]), cluster, tuple(volumes), tuple(groups), seen or {})


def made(*volumes, rules=RULES, **fields):
    return plan.make(world(*volumes, **fields), rules)


def kinds(found):
    return [(change.kind, change.id) for change in found.changes]


AWAY = [service(replication_status="failed-over", active_backend_id="zone-b")]


def test_a_healthy_backend_needs_nothing():
    well = volume(status="available", previous_status=None, replication_status="enabled")
    copy = replace(well, id="copy")
    found = made(well, copy, seen={"v1": HERE, "copy": NotPrimary("active - secondary")})
    assert (found.changes, found.left, found.refused) == ((), (), None)


# Volumes without replication.


def test_hard_case_43_a_volume_without_replication_gets_back_what_it_was():
    found = made(plain(ill_snapshots=(Snapshot("s1", "error"),)))
    assert kinds(found) == [("snapshot", "s1"), ("volume", "v1")], "the volume last: it says that there is work left"
    snapshot, change = found.changes
    assert change.to == {"status": "in-use", "previous_status": None, "replication_status": "disabled"}
    assert change.was == {
        "status": "error",
        "previous_status": "in-use",
        "replication_status": "not-capable",
        "replication_driver_data": None,
    }
    assert (snapshot.to, snapshot.of_volume, snapshot.volume_was) == ({"status": "available"}, "v1", change.was)
    assert "cannot be told apart" in snapshot.why
    assert found.left == ()


def test_while_failed_over_its_image_is_out_of_reach_and_it_is_left():
    found = made(plain(), services=AWAY)
    assert found.changes == ()
    assert "after the failback" in found.left[0].why
    found = made(plain(), services=AWAY, rules=replace(RULES, away_too=True))
    assert kinds(found) == [("volume", "v1")]


@pytest.mark.parametrize(
    ("before", "words"),
    [(None, "not known"), ("error", "not known"), ("deleting", "'deleting'"), ("creating", "nobody is at that work")],
)
def test_what_cannot_be_given_back_is_left_with_its_snapshots(before, words):
    found = made(plain(previous_status=before, ill_snapshots=(Snapshot("s1", "error"),)))
    assert found.changes == ()
    assert words in found.left[0].why


@pytest.mark.parametrize(
    "fields",
    [
        {"replication_status": "not-capable", "status": "available"},
        {"replication_status": "disabled"},
        {"replication_status": None},
    ],
)
def test_an_error_that_no_failover_made_is_nobodys_business_here(fields):
    found = made(volume(**fields, ill_snapshots=(Snapshot("s1", "error"),)))
    assert (found.changes, found.left) == ((), ())


# Volumes with replication.


@pytest.mark.parametrize(("services", "seen", "word"), [(None, HERE, "enabled"), (AWAY, THERE, "failed-over")])
def test_hard_case_41_a_failed_volume_that_is_primary_now_is_well(services, seen, word):
    marked = volume(ill_snapshots=(Snapshot("s1", "error"),))
    found = made(marked, services=services, seen={"v1": seen})
    assert kinds(found) == [("snapshot", "s1"), ("volume", "v1")]
    assert found.changes[1].to == {
        "replication_status": word,
        "replication_extended_status": None,
        "status": "in-use",
        "previous_status": None,
    }


@pytest.mark.parametrize(
    ("seen", "words"),
    [(NotPrimary("error - split brain"), "error - split brain"), (Unknown("it hangs"), "not known: it hangs")],
)
def test_a_failed_volume_that_is_not_primary_is_left_with_the_reason(seen, words):
    found = made(volume(ill_snapshots=(Snapshot("s1", "error"),)), seen={"v1": seen})
    assert found.changes == ()
    assert words in found.left[0].why


def test_a_volume_that_nobody_was_asked_about_is_unknown():
    assert "not known" in made(volume()).left[0].why


@pytest.mark.parametrize("status", ["failover-error", "error"])
def test_a_lost_status_is_not_made_up(status):
    before = "error" if status == "failover-error" else "available"
    found = made(volume(previous_status=before, replication_status=status), seen={"v1": HERE})
    assert found.changes[0].to == {"replication_status": "enabled", "replication_extended_status": None}
    assert "reset-state" in found.left[0].why


def test_snapshots_that_a_second_failover_left_in_error_are_given_back_too():
    back = volume(
        status="in-use", previous_status="error", replication_status="failed-over", ill_snapshots=(Snapshot("s1", "error"),)
    )
    assert kinds(made(back, services=AWAY, seen={"v1": THERE})) == [("snapshot", "s1")]
    other = replace(back, previous_status="available")
    assert made(other, services=AWAY, seen={"v1": THERE}).changes == ()
    assert made(back, services=AWAY, seen={"v1": Unknown("?")}).changes == ()


# Services.


def test_hard_case_09_a_failover_that_died_is_over_once_its_service_is_silent():
    for active, word in ((None, "enabled"), ("", "enabled"), ("zone-b", "failed-over")):
        beat = ago(minutes=11)
        dead = service(replication_status="failing-over", active_backend_id=active, heartbeat=beat)
        [change] = made(services=[dead]).changes
        assert (change.kind, change.to) == ("service", {"replication_status": word})
        assert change.was["updated_at"] == beat, "a heartbeat in between forbids it"


@pytest.mark.parametrize("heartbeat", [ago(minutes=9), ago(seconds=-5), None])
def test_nothing_at_all_is_done_while_a_failover_may_be_at_work(heartbeat):
    busy = service(replication_status="failing-over", heartbeat=heartbeat)
    found = made(plain(), services=[busy])
    assert found.refused
    assert (found.changes, found.left) == ((), ())


def test_one_living_member_of_a_cluster_may_be_the_one_that_is_at_work():
    members = [
        service(id=n, replication_status="failing-over", heartbeat=beat)
        for n, beat in ((1, ago(hours=1)), (2, ago(seconds=2)))
    ]
    cluster = Cluster(7, "c@ceph", "failing-over", None)
    assert made(services=members, cluster=cluster).refused
    silent = [replace(member, heartbeat=ago(hours=1)) for member in members]
    assert kinds(made(services=silent, cluster=cluster)) == [("cluster", "7"), ("service", "1"), ("service", "2")]


def test_a_service_that_missed_the_broadcast_takes_its_clusters_words():
    member = service(replication_status="failing-over", heartbeat=ago(hours=1))
    [change] = made(services=[member], cluster=Cluster(7, "c@ceph", "failed-over", "zone-b")).changes
    assert change.to == {"replication_status": "failed-over", "active_backend_id": "zone-b"}


def test_a_failed_failover_may_be_called_again_and_needs_no_silence():
    [change] = made(services=[service(replication_status="failover-error")]).changes
    assert change.to == {"replication_status": "enabled"}
    assert "disabled stays as it is" in change.why


def test_volumes_that_a_dead_failover_moved_are_named():
    moved = volume(status="in-use", previous_status=None, replication_status="enabled")
    dead = service(replication_status="failing-over", heartbeat=ago(hours=1))
    found = made(moved, services=[dead], seen={"v1": NotPrimary("active - secondary")})
    assert kinds(found) == [("service", "1")]
    assert "failover-host again" in found.left[0].why


# Groups.


def group(**fields):
    return Group(
        **{"id": "g", "status": "available", "replication_status": "failing-over", "changed": ago(hours=1), **fields}
    )


def moving(name, **fields):
    return volume(id=name, group_id="g", replication_status="failing-over", status="in-use", previous_status=None, **fields)


def test_a_groups_dead_failover_ends_where_its_images_are():
    pair = [moving("v1"), moving("v2")]
    found = made(*pair, groups=[group()], seen={"v1": THERE, "v2": THERE})
    assert kinds(found) == [("volume", "v1"), ("volume", "v2"), ("group", "g")]
    assert found.changes[0].to["replication_driver_data"] == '{"rekindle_backend":"zone-b"}'
    assert found.changes[2].to == {"replication_status": "failed-over"}
    found = made(*pair, groups=[group()], seen={"v1": HERE, "v2": HERE})
    assert found.changes[2].to == {"replication_status": "enabled"}
    assert "replication_driver_data" not in found.changes[0].to


def test_half_a_group_is_failed_over_so_that_it_can_be_again():
    found = made(moving("v1"), moving("v2"), groups=[group()], seen={"v1": THERE, "v2": HERE})
    assert found.changes[2].to == {"replication_status": "failed-over"}
    assert "1 of its 2" in found.changes[2].why


def test_a_group_waits_for_its_worst_volume():
    found = made(moving("v1"), moving("v2"), groups=[group()], seen={"v1": THERE, "v2": NotPrimary("pending - promotion")})
    assert kinds(found) == [("volume", "v1")]
    assert [(left.kind, left.id) for left in found.left] == [("volume", "v2"), ("group", "g")]


def test_a_group_whose_failover_may_be_at_work_is_left_and_the_rest_goes_on():
    young = moving("v1", changed=ago(minutes=9))
    found = made(young, plain(id="p"), groups=[group(changed=ago(minutes=9))], seen={"v1": THERE})
    assert kinds(found) == [("volume", "p")]
    assert [(left.kind, left.id) for left in found.left] == [("volume", "v1"), ("group", "g")]
    found = made(moving("v1"), groups=[group(changed=ago(minutes=9))], seen={"v1": THERE})
    assert [left.id for left in found.left] == ["g"]


def test_a_group_in_error_is_well_with_its_volumes():
    ill = group(status="error", replication_status="error")
    found = made(volume(group_id="g"), groups=[ill], seen={"v1": HERE})
    assert found.changes[1].to == {"replication_status": "enabled", "status": "available"}
    found = made(volume(group_id="g", replication_status="disabled"), groups=[ill])
    assert found.changes == ()
    assert "v1 (disabled)" in found.left[0].why


def test_an_error_of_a_groups_own_is_not_taken_off():
    found = made(groups=[group(status="error", replication_status="failing-over")])
    assert found.changes[0].to == {"replication_status": "enabled"}


def test_one_of_the_other_zones_own_is_a_copy_at_home_again():
    found = made(volume(taken_in=True), services=AWAY, seen={"v1": Primary("default", "enabled", theirs=True)})
    change = found.changes[-1]
    assert change.to["replication_status"] == "enabled"
    assert change.to["replication_driver_data"] == '{"rekindle_backend":"default"}'
    assert change.to["status"] == "in-use"
    assert "the other zone's own volume" in change.why
