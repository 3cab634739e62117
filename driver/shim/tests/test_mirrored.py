"""A volume that an action replicated: plain by Cinder's record, and guarded as any other, for its image is mirrored."""

from __future__ import annotations

import pytest
from cinder import exception

from rekindle_cinder.faults import RekindleFault
from tests.fake_ceph import DISABLING, ENABLED, Error, FakeImage
from tests.maker import REPLICATED
from tests.test_guard import MIGRATIONS, OPERATIONS, with_snapshot

GIB = 1024**3
MULTIATTACH = {"multiattach": "<is> True"}
PLAIN_WORDS = [None, "disabled", "not-capable"]


@pytest.fixture(params=PLAIN_WORDS)
def volume(request, make, cluster, driver):
    volume = make.volume(replication_status=request.param)
    cluster.images[volume.name] = FakeImage(GIB)
    cluster.images[volume.name].mirroring = ENABLED
    driver.created = cluster.images
    return volume


@pytest.fixture
def shared(driver, monkeypatch):
    """The volumes whose image lost its journal and its lock."""
    found = []

    def take_off(volume):
        found.append(volume.id)
        return {}

    monkeypatch.setattr(driver, "_enable_multiattach", take_off)
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_hard_case_48_each_operation_asks_first(make, sidecar, driver, volume, told, operation):
    sidecar.refuses("guard", 409, "not_primary" if operation != "unmanage" else "busy", "it is a copy of zone-b's")
    with pytest.raises(RekindleFault):
        OPERATIONS[operation](driver, make, volume)
    asked = {"backend": None, "operation": operation, "image": f"volumes/{volume.name}"}
    assert sidecar.asked("guard") == [asked]
    [message] = told
    assert message["resource_uuid"] == volume.id


@pytest.mark.parametrize("outcome", ["scheduled", "removed_by_us", "record_alone"])
def test_hard_case_32_its_deletion_is_its_policys(cluster, sidecar, driver, volume, outcome):
    sidecar.answers("delete", lambda _body: (200, {"outcome": outcome, "message": "kept", "due": None}))
    driver.delete_volume(volume)
    asked = {"id": volume.id, "image": f"volumes/{volume.name}"}
    assert sidecar.asked("delete") == [{"backend": None, "volume": asked}]
    assert volume.name in cluster.images


def test_hard_case_32_a_deletion_that_its_policy_lets_pass_is_upstreams(cluster, sidecar, driver, volume):
    driver.delete_volume(volume)
    assert sidecar.order() == ["delete"]
    assert cluster.images == {}


def test_hard_case_32_a_refused_deletion_leaves_it_available(cluster, sidecar, driver, volume, told):
    sidecar.refuses("delete", 409, "held", "the policy of its group db is to refuse deletions")
    with pytest.raises(exception.VolumeIsBusy, match="group db"):
        driver.delete_volume(volume)
    sidecar.stop()
    with pytest.raises(exception.VolumeIsBusy, match="Is rekindle-driver running"):
        driver.delete_volume(volume)
    assert volume.name in cluster.images
    assert len(told) == 2


def test_one_whose_replication_is_being_taken_off_is_still_the_sidecars_to_judge(cluster, sidecar, driver, volume):
    cluster.images[volume.name].mirroring = DISABLING
    driver.delete_volume(volume)
    assert sidecar.order() == ["delete"]


def test_of_a_copys_snapshot_the_record_goes_alone(make, cluster, sidecar, driver, volume):
    snapshot = with_snapshot(driver, make, volume)
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    driver.delete_snapshot(snapshot)
    assert snapshot.name in cluster.images[volume.name].snaps


def test_hard_case_39_it_is_not_retyped_into_multiattach(make, cluster, sidecar, driver, volume, told, shared):
    with pytest.raises(RekindleFault, match="take its replication off first"):
        driver.retype(make.context, volume, make.type(MULTIATTACH), {}, None)
    assert shared == []
    [message] = told
    assert message["event_id"].endswith("[multiattach]")
    # Without replication it is, and a replicated type's goes with the type.
    replicated = make.replicated()
    cluster.images[replicated.name] = FakeImage(GIB)
    cluster.images[replicated.name].mirroring = ENABLED
    driver.retype(make.context, replicated, make.type(MULTIATTACH), {}, None)
    assert sidecar.order()[-1] == "unreplicate"
    plain = make.volume()
    cluster.images[plain.name] = FakeImage(GIB)
    driver.retype(make.context, plain, make.type(MULTIATTACH), {}, None)
    assert shared == [replicated.id, plain.id]


def test_hard_case_39_a_copys_record_of_a_plain_type_neither(make, cluster, driver, told, shared):
    taken_in = make.volume(replication_status="enabled")
    cluster.images[taken_in.name] = FakeImage(GIB)
    with pytest.raises(RekindleFault, match="several servers"):
        driver.retype(make.context, taken_in, make.type(MULTIATTACH), {}, None)
    assert shared == []


def test_a_retype_to_a_replicated_type_goes_on(make, sidecar, driver, volume):
    _, update = driver.retype(make.context, volume, make.type(REPLICATED), {}, None)
    assert update["replication_status"] == "enabled"
    assert sidecar.order() == ["check", "retype", "replicate"]


@pytest.mark.parametrize("way", MIGRATIONS)
def test_hard_case_48_it_is_not_migrated(make, cluster, sidecar, driver, volume, told, way, monkeypatch):
    monkeypatch.setattr("cinder.objects.Volume.get_by_id", lambda _context, _id: volume)
    with pytest.raises(RekindleFault, match="take its replication off first"):
        MIGRATIONS[way](driver, make, volume)
    assert list(cluster.images) == [volume.name], "nothing was made or copied"
    assert sidecar.calls == []
    [message] = told
    assert message["resource_uuid"] == volume.id


def test_where_it_is_not_known_nothing_is_done(make, cluster, sidecar, driver, volume, told):
    snapshot = with_snapshot(driver, make, volume)
    cluster.images[volume.name].mirroring = Error("error getting mirror info", 1)
    with pytest.raises(exception.VolumeIsBusy, match=r"is mirrored is not known.*error getting mirror info"):
        driver.delete_volume(volume)
    with pytest.raises(exception.SnapshotIsBusy, match="is mirrored is not known"):
        driver.delete_snapshot(snapshot)
    for operation in OPERATIONS:
        with pytest.raises(RekindleFault, match="is mirrored is not known"):
            OPERATIONS[operation](driver, make, volume)
    with pytest.raises(RekindleFault, match="is mirrored is not known"):
        driver.migrate_volume(make.context, volume, {})
    assert list(cluster.images) == [volume.name]
    assert sidecar.calls == []
    assert {message["event_id"].rpartition(" ")[2] for message in told} == {"[cluster_unreachable]"}


@pytest.mark.parametrize("word", PLAIN_WORDS)
def test_a_plain_volume_costs_one_open_and_no_sidecar(make, cluster, sidecar, driver, word):
    sidecar.stop()
    volume = make.volume(replication_status=word)
    cluster.images[volume.name] = FakeImage(GIB)
    driver.initialize_connection(volume, {})
    assert cluster.opened == [volume.name]
    driver.delete_volume(volume)
    assert cluster.images == {}
    # Cinder deletes what was never made, too.
    driver.delete_volume(volume)
    assert sidecar.calls == []


def test_what_the_record_says_is_not_asked_again(make, cluster, sidecar, driver):
    volume = make.replicated()
    cluster.images[volume.name] = FakeImage(GIB)
    driver.initialize_connection(volume, {})
    assert cluster.opened == []
    assert [body["operation"] for body in sidecar.asked("guard")] == ["attach"]


def test_in_a_failed_over_service_it_is_asked_where_that_is(make, ceph, sidecar):
    driver = make.driver(active_backend_id="zone-b")
    volume = make.volume(replication_status="not-capable")
    there = ceph.clusters["b.conf"]
    there.images[volume.name] = FakeImage(GIB)
    there.images[volume.name].mirroring = ENABLED
    sidecar.answers("delete", lambda _body: (200, {"outcome": "record_alone", "message": "a copy", "due": None}))
    driver.delete_volume(volume)
    assert sidecar.asked("delete")[0]["backend"] == "zone-b"
    assert volume.name in there.images
