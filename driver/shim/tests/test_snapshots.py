"""A snapshot that came with a copy: taken in under its own name, and used by it in everything that upstream does."""

from __future__ import annotations

import uuid

import pytest
from cinder import exception

from tests.fake_ceph import FakeImage
from tests.maker import REPLICATED

GIB = 1024**3


@pytest.fixture
def volume(make, cluster):
    made = make.replicated()
    cluster.images[made.name] = FakeImage(GIB)
    return made


@pytest.fixture
def theirs(cluster, volume):
    """The other zone's snapshot, protected as its Cinder left it."""
    name = f"snapshot-{uuid.uuid4()}"
    cluster.images[volume.name].snaps[name] = True
    return name


@pytest.fixture
def taken_in(make, driver, volume, theirs):
    snapshot = make.snapshot(volume)
    snapshot.update(driver.manage_existing_snapshot(snapshot, {"source-name": theirs, "rename": "false"}))
    return snapshot


@pytest.fixture
def a_copy(sidecar):
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")


def test_it_keeps_its_name(cluster, driver, volume, theirs, taken_in):
    assert taken_in.provider_id == theirs
    assert taken_in.name != theirs
    assert cluster.images[volume.name].snaps == {theirs: True}
    reference = {"source-name": theirs, "rename": "false"}
    assert driver.manage_existing_snapshot_get_size(taken_in, reference) == 1


def test_one_that_is_not_there_is_refused(make, driver, volume):
    reference = {"source-name": f"snapshot-{uuid.uuid4()}", "rename": "false"}
    with pytest.raises(exception.ManageExistingInvalidReference, match="does not exist"):
        driver.manage_existing_snapshot_get_size(make.snapshot(volume), reference)


@pytest.mark.parametrize("name", [".mirror.primary.4f9bd3f7.1", "snapshot-", "snapshot-7", "mine"])
def test_hard_case_44_mirrorings_own_and_what_no_cinder_made_are_refused(make, driver, volume, name):
    with pytest.raises(exception.ManageExistingInvalidReference, match="not the name of a snapshot"):
        driver.manage_existing_snapshot(make.snapshot(volume), {"source-name": name, "rename": "false"})


def test_ones_own_is_renamed_as_ever(make, cluster, driver, volume):
    cluster.images[volume.name].snaps["mine"] = False
    snapshot = make.snapshot(volume)
    assert driver.manage_existing_snapshot(snapshot, {"source-name": "mine"}) is None
    assert cluster.images[volume.name].snaps == {snapshot.name: True}


def test_hard_case_44_a_volume_is_made_of_it_by_its_name(make, cluster, driver, theirs, volume, taken_in):
    cluster.images[volume.name].snaps[theirs] = False
    made = make.volume(project_id="p")
    driver.create_volume_from_snapshot(made, taken_in)
    assert cluster.images[made.name].parent == ("volumes", volume.name, theirs)
    assert cluster.images[volume.name].snaps[theirs], "a clone needs a protected one"


def test_a_replicated_volume_is_made_of_it(make, cluster, driver, taken_in):
    made = make.volume(REPLICATED)
    assert driver.create_volume_from_snapshot(made, taken_in)["replication_status"] == "enabled"
    assert cluster.images[made.name].parent is None, "it was flattened"


def test_the_volume_is_reverted_to_it(make, driver, volume, taken_in):
    driver.revert_to_snapshot(make.context, volume, taken_in)


def test_its_deletion_on_a_primary_removes_it(cluster, driver, volume, taken_in):
    driver.delete_snapshot(taken_in)
    assert cluster.images[volume.name].snaps == {}


def test_its_deletion_on_a_copy_is_the_records_alone(cluster, driver, volume, theirs, taken_in, a_copy, told):
    driver.delete_snapshot(taken_in)
    assert cluster.images[volume.name].snaps == {theirs: True}
    assert told == []


def test_it_is_forgotten_and_stays_as_it_is(make, cluster, driver, sidecar, volume, theirs, taken_in):
    driver.unmanage_snapshot(taken_in)
    assert cluster.images[volume.name].snaps == {theirs: True}
    own = make.snapshot(volume)
    driver.create_snapshot(own)
    sidecar.refuses("guard", 409, "not_primary", "it is a copy")
    driver.unmanage_snapshot(own)
    assert cluster.images[volume.name].snaps[own.name], "a copy takes no change"
    sidecar.recovers()
    driver.unmanage_snapshot(own)
    assert not cluster.images[volume.name].snaps[own.name]


def test_a_record_without_a_snapshot_is_forgotten(make, cluster, driver, volume, theirs, taken_in):
    before = dict(cluster.images[volume.name].snaps)
    driver.unmanage_snapshot(make.snapshot(volume))
    assert cluster.images[volume.name].snaps == before


def test_nothing_is_made_of_a_copys(make, cluster, driver, taken_in, a_copy, told):
    with pytest.raises(exception.VolumeDriverException, match="it is a copy"):
        driver.create_volume_from_snapshot(make.volume(), taken_in)
    assert len(cluster.images) == 1


def test_the_list_of_what_can_be_managed_knows_them(cluster, driver, volume, theirs, taken_in):
    free = f"snapshot-{uuid.uuid4()}"
    cluster.images[volume.name].snaps.update({free: True, ".mirror.primary.4f9bd3f7.1": False})
    mine = [{"id": taken_in.id, "provider_id": theirs}]
    listed = driver.get_manageable_snapshots(mine, None, 10, 0, ["size"], ["asc"])
    by_name = {entry["reference"]["source-name"]: entry for entry in listed}
    assert set(by_name) == {theirs, free}, "mirroring's own never show"
    assert (by_name[theirs]["safe_to_manage"], by_name[theirs]["cinder_id"]) == (False, taken_in.id)
    assert by_name[free]["safe_to_manage"]


def test_another_drivers_word_in_its_place_is_no_name(make, cluster, driver, volume):
    for word in (None, "", "array-7", "snapshot-nope"):
        own = make.snapshot(volume)
        driver.create_snapshot(own)
        own.provider_id = word
        driver.delete_snapshot(own)
    assert cluster.images[volume.name].snaps == {}
