"""Each operation on a replicated volume asks first; on another it does not; a refusal is one that Cinder understands."""

from __future__ import annotations

import uuid

import pytest
from cinder import exception

from rekindle_cinder.faults import RekindleFault
from tests.fake_ceph import FakeImage
from tests.fake_sidecar import refusal

GIB = 1024**3

OPERATIONS = {
    "snapshot_create": lambda d, m, v: d.create_snapshot(m.snapshot(v)),
    "extend": lambda d, m, v: d.extend_volume(v, 2),
    "revert": lambda d, m, v: d.revert_to_snapshot(m.context, v, with_snapshot(d, m, v)),
    "unmanage": lambda d, m, v: d.unmanage(v),
    "attach": lambda d, m, v: d.initialize_connection(v, {}),
    "clone": lambda d, m, v: d.create_cloned_volume(m.volume(), v),
    "retype": lambda d, m, v: d.retype(m.context, v, m.type({}), {}, None),
}


def with_snapshot(driver, make, volume):
    snapshot = make.snapshot(volume)
    driver.created[snapshot.volume.name].snaps[snapshot.name] = True
    return snapshot


@pytest.fixture
def replicated(make, cluster, driver):
    volume = make.replicated()
    cluster.images[volume.name] = FakeImage(GIB)
    driver.created = cluster.images
    return volume


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_asks_first(make, sidecar, driver, replicated, operation):
    OPERATIONS[operation](driver, make, replicated)
    asked = sidecar.asked("guard")[0]
    assert asked == {"backend": None, "operation": operation, "image": f"volumes/{replicated.name}"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_stops_it_and_the_user_is_told_why(make, cluster, sidecar, driver, replicated, told, operation):
    sidecar.refuses("guard", 423, "frozen", "the zone is frozen for the night")
    before = {name: (image.size, dict(image.snaps)) for name, image in cluster.images.items()}
    with pytest.raises(RekindleFault, match="frozen for the night"):
        OPERATIONS[operation](driver, make, replicated)
    after = {name: (image.size, dict(image.snaps)) for name, image in cluster.images.items()}
    if operation != "revert":
        assert after == before
    [message] = told
    assert "frozen for the night" in message["event_id"]
    assert (message["project_id"], message["request_id"]) == ("p", "req-cinder")
    assert message["resource_uuid"] == replicated.id


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", [None, "disabled", "not-capable"])
def test_a_volume_without_replication_needs_no_sidecar(make, cluster, sidecar, driver, operation, status):
    sidecar.stop()
    volume = make.volume(replication_status=status)
    cluster.images[volume.name] = FakeImage(GIB)
    driver.created = cluster.images
    OPERATIONS[operation](driver, make, volume)
    assert sidecar.asked("guard") == []


ELSEWHERE = {"capabilities": {"storage_protocol": "iSCSI"}}
MIGRATIONS = {
    "by the driver": lambda d, m, v: d.migrate_volume(m.context, v, ELSEWHERE),
    "by a host, before it copies": lambda d, m, v: d.before_volume_copy(m.context, v, m.volume(), remote="dest"),
    "into a volume made for it": lambda d, m, v: d.create_volume(
        m.volume(replication_status=v.replication_status, migration_status=f"target:{v.id}")
    ),
}


@pytest.mark.parametrize("way", MIGRATIONS)
def test_hard_case_48_a_replicated_volume_is_not_migrated_and_the_user_is_told_what_to_do(
    make, cluster, sidecar, driver, replicated, told, way
):
    with pytest.raises(RekindleFault, match="retype it to a type without replication first"):
        MIGRATIONS[way](driver, make, replicated)
    assert list(cluster.images) == [replicated.name], "nothing was made or copied"
    assert sidecar.calls == []
    [message] = told
    assert "retype it to a type without replication first" in message["event_id"]


@pytest.mark.parametrize("way", MIGRATIONS)
@pytest.mark.parametrize("status", [None, "disabled", "not-capable"])
def test_one_without_replication_is_migrated_as_upstream_does_it(make, sidecar, driver, way, status, monkeypatch):
    sidecar.stop()
    volume = make.volume(replication_status=status)
    monkeypatch.setattr("cinder.objects.Volume.get_by_id", lambda _context, _id: volume)
    MIGRATIONS[way](driver, make, volume)


def test_a_volume_that_was_moved_into_replication_keeps_its_images_name(make, cluster, sidecar, driver):
    source = make.volume()
    new = make.replicated()
    cluster.images[new.name] = FakeImage(GIB)
    update = driver.update_migrated_volume(make.context, source, new, "available")
    assert update == {"_name_id": new.id, "provider_location": None}
    assert list(cluster.images) == [new.name]


def test_a_deletion_asks_and_deletes(cluster, sidecar, driver, replicated):
    driver.delete_volume(replicated)
    volume = {"id": replicated.id, "image": f"volumes/{replicated.name}"}
    assert sidecar.asked("delete") == [{"backend": None, "volume": volume}]
    assert cluster.images == {}


@pytest.mark.parametrize("outcome", ["scheduled", "removed_by_us", "record_alone"])
def test_hard_case_32_what_the_sidecar_sees_to_is_not_touched(cluster, sidecar, driver, replicated, outcome):
    sidecar.answers("delete", lambda _body: (200, {"outcome": outcome, "message": "kept", "due": None}))
    driver.delete_volume(replicated)
    assert replicated.name in cluster.images


def test_an_outcome_that_nobody_knows_deletes_nothing(cluster, sidecar, driver, replicated, told):
    sidecar.answers("delete", lambda _body: (200, {"outcome": "perhaps", "message": "", "due": None}))
    with pytest.raises(exception.VolumeIsBusy, match="perhaps"):
        driver.delete_volume(replicated)
    assert replicated.name in cluster.images


def test_a_refused_deletion_leaves_the_volume_available(cluster, sidecar, driver, replicated, told):
    sidecar.refuses("delete", 409, "held", "the group's policy is to refuse it")
    with pytest.raises(exception.VolumeIsBusy, match="policy is to refuse"):
        driver.delete_volume(replicated)
    assert replicated.name in cluster.images
    assert len(told) == 1


def test_a_deletion_without_a_sidecar_deletes_nothing(cluster, sidecar, driver, replicated, told):
    sidecar.stop()
    with pytest.raises(exception.VolumeIsBusy, match="Is rekindle-driver running"):
        driver.delete_volume(replicated)
    assert replicated.name in cluster.images


def test_a_copys_record_grows_when_its_image_has(cluster, sidecar, driver, replicated, told):
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    with pytest.raises(RekindleFault, match="has 1 GiB: grow its primary to 2 GiB first"):
        driver.extend_volume(replicated, 2)
    assert "grow its primary" in told[0]["event_id"]
    cluster.images[replicated.name].size = 2 * GIB
    driver.extend_volume(replicated, 2)
    assert cluster.images[replicated.name].size == 2 * GIB
    with pytest.raises(RekindleFault, match="has 2 GiB"):
        driver.extend_volume(replicated, 3)


@pytest.mark.parametrize("word", ["enabled", None])
def test_hard_case_35_an_image_is_never_cut_to_what_a_stale_record_says(make, cluster, driver, told, word):
    volume = make.replicated(replication_status=word)
    cluster.images[volume.name] = FakeImage(3 * GIB)
    with pytest.raises(RekindleFault, match="has 3 GiB"):
        driver.extend_volume(volume, 2)
    assert cluster.images[volume.name].size == 3 * GIB
    assert "ask for 3 GiB or more" in told[0]["event_id"]
    # The record is set right, and then the volume grows.
    for gib in (3, 4):
        driver.extend_volume(volume, gib)
        assert cluster.images[volume.name].size == gib * GIB


def test_hard_case_35_what_is_made_of_a_volume_is_not_cut_either(make, cluster, driver, replicated, told):
    cluster.images[replicated.name].size = 3 * GIB
    driver.created = cluster.images
    snapshot = with_snapshot(driver, make, replicated)
    new = make.volume(size=2)
    with pytest.raises(RekindleFault, match="2 GiB would cut its data"):
        driver.create_volume_from_snapshot(new, snapshot)
    with pytest.raises(RekindleFault, match="2 GiB would cut its data"):
        driver.create_cloned_volume(new, replicated)
    assert new.name not in cluster.images
    assert [m["resource_uuid"] for m in told] == [new.id, new.id]
    # As large as the record says: upstream sets no size then, and all of it is there.
    whole, larger = make.volume(), make.volume(size=4)
    driver.create_volume_from_snapshot(whole, snapshot)
    driver.create_volume_from_snapshot(larger, snapshot)
    assert (cluster.images[whole.name].size, cluster.images[larger.name].size) == (3 * GIB, 4 * GIB)


def test_an_encrypted_image_has_a_header_beside(make, cluster, driver):
    volume = make.replicated(encryption_key_id=str(uuid.uuid4()))
    cluster.images[volume.name] = FakeImage(2 * GIB + 1024**2)
    driver.extend_volume(volume, 2)


def test_a_snapshots_deletion(make, cluster, sidecar, driver, replicated, told):
    snapshot = with_snapshot(driver, make, replicated)
    sidecar.refuses("guard", 409, "busy", "a plan is at work")
    with pytest.raises(exception.SnapshotIsBusy, match="a plan is at work"):
        driver.delete_snapshot(snapshot)
    assert snapshot.name in cluster.images[replicated.name].snaps
    sidecar.recovers()
    driver.delete_snapshot(snapshot)
    assert cluster.images[replicated.name].snaps == {}


def purge(driver, snapshots):
    """As Cinder's manager does: the snapshots, and the volume whatever came of them."""
    kept = []
    for snapshot in snapshots:
        try:
            driver.delete_snapshot(snapshot)
        except exception.SnapshotIsBusy:
            kept.append(snapshot)
    driver.delete_volume(snapshots[0].volume)
    return kept


@pytest.fixture
def purged(make, driver, replicated):
    snapshots = [with_snapshot(driver, make, replicated) for _ in range(2)]
    replicated.status = "deleting"
    return snapshots


def test_hard_case_32_a_volume_that_would_stay_keeps_its_snapshots(cluster, sidecar, driver, replicated, purged, told):
    sidecar.refuses("delete", 409, "held", "the group's policy is to refuse it")
    with pytest.raises(exception.VolumeIsBusy, match="policy is to refuse"):
        purge(driver, purged)
    assert len(cluster.images[replicated.name].snaps) == 2
    # Asked, and told, once for all of them.
    [asked] = sidecar.asked("delete")
    assert asked["step"] == "snapshots_first"
    assert len(told) == 1
    sidecar.recovers()
    assert purge(driver, purged) == []
    assert cluster.images == {}
    assert [body.get("step") for body in sidecar.asked("delete")][1:] == ["snapshots_first", "snapshots_first", None]


def test_a_volume_does_not_go_where_a_snapshot_was_refused_on_its_way(cluster, sidecar, driver, replicated, purged, told):
    # By the time that the next one is asked for, all is well again.
    sidecar.answers("guard", lambda _body: (sidecar.recovers(), (409, refusal("busy", "a plan is at work")))[1])
    with pytest.raises(exception.VolumeIsBusy, match="a plan is at work"):
        purge(driver, purged)
    assert len(cluster.images[replicated.name].snaps) == 2


def test_a_snapshot_that_is_deleted_by_itself_asks_for_no_volume(make, sidecar, driver, replicated):
    driver.delete_snapshot(with_snapshot(driver, make, replicated))
    assert sidecar.asked("delete") == []


def test_hard_case_48_a_backup_asks_too(make, sidecar, driver, replicated, monkeypatch):
    monkeypatch.setattr("cinder.objects.Volume.get_by_id", lambda _context, _id: replicated)
    backup = type("Backup", (), {"volume_id": replicated.id})()
    sidecar.refuses("guard", 409, "not_primary", "it is a copy")
    monkeypatch.setattr("cinder.db.api.message_create", lambda *_: None)
    with pytest.raises(RekindleFault, match="it is a copy"):
        driver.get_backup_device(make.context, backup)
    assert sidecar.asked("guard")[0]["operation"] == "backup"


def test_a_message_that_cannot_be_written_changes_nothing(sidecar, driver, replicated, monkeypatch):
    def broken(*_args):
        raise RuntimeError("no database")

    monkeypatch.setattr("cinder.db.api.message_create", broken)
    sidecar.refuses("guard", 423, "frozen", "frozen")
    with pytest.raises(RekindleFault, match="frozen"):
        driver.extend_volume(replicated, 2)


def test_a_failed_over_service_asks_about_the_zone_that_it_is_in(make, sidecar):
    driver = make.driver(active_backend_id="zone-b")
    driver.initialize_connection(make.replicated(replication_status="failed-over"), {})
    assert sidecar.asked("guard")[0]["backend"] == "zone-b"


def test_unmanaging_a_secondary_is_never_refused(cluster, sidecar, driver, replicated, told):
    sidecar.refuses("guard", 409, "not_primary", "it is a copy")
    driver.unmanage(replicated)
    assert told == []
    assert replicated.name in cluster.images


def test_a_user_is_not_told_of_sockets(sidecar, driver, replicated, told):
    sidecar.stop()
    with pytest.raises(RekindleFault, match="Is rekindle-driver running"):
        driver.extend_volume(replicated, 2)
    [message] = told
    assert message["event_id"].endswith("an operator has to look [sidecar_unreachable]")
