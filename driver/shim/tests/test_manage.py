"""An image that is there already: one's own is renamed and replicated, a secondary becomes a volume as it is."""

from __future__ import annotations

import uuid

import pytest
from cinder import exception

from rekindle_cinder.faults import RekindleFault
from tests.fake_ceph import FakeImage
from tests.maker import REPLICATED

GIB = 1024**3


@pytest.fixture
def secondary(cluster, sidecar, unmanaged):
    name_id = str(uuid.uuid4())
    cluster.images[f"volume-{name_id}"] = FakeImage(3 * GIB)
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    return name_id


def test_a_secondary_becomes_a_volume_without_a_rename(make, cluster, driver, secondary):
    volume = make.volume(REPLICATED)
    reference = {"source-name": f"volume-{secondary}"}
    assert driver.manage_existing_get_size(volume, reference) == 3
    assert driver.manage_existing(volume, reference) == {
        "_name_id": secondary,
        "replication_status": "enabled",
        "shared_targets": False,
    }
    assert list(cluster.images) == [f"volume-{secondary}"]


def test_it_maps_to_its_image_and_its_deletion_does_not_touch_it(make, cluster, sidecar, driver, secondary):
    volume = make.volume(REPLICATED)
    volume.update(driver.manage_existing(volume, {"source-name": f"volume-{secondary}"}))
    assert volume.name == f"volume-{secondary}"
    sidecar.answers("delete", lambda _body: (200, {"outcome": "record_alone", "message": "a copy", "due": None}))
    driver.delete_volume(volume)
    assert list(cluster.images) == [f"volume-{secondary}"]


@pytest.mark.parametrize("name", ["disk0", "volume-", "volume-nope", "»Volume« \U0001f525"])
def test_a_secondary_whose_name_says_no_id(make, cluster, driver, secondary, name):
    cluster.images[name] = FakeImage(GIB)
    with pytest.raises(exception.ManageExistingInvalidReference, match="cannot be renamed"):
        driver.manage_existing(make.volume(), {"source-name": name})
    assert name in cluster.images


def test_a_user_is_told_what_is_wrong_with_a_reference(make, cluster, driver, secondary, told):
    volume = make.volume()
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing_get_size(volume, {"source-name": "nobodys"})
    assert told[0]["event_id"].endswith(" image does not exist. [bad_reference]")
    cluster.images["disk0"] = FakeImage(GIB)
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing(volume, {"source-name": "disk0"})
    assert "promote it or take mirroring off in its zone first" in told[1]["event_id"]
    assert told[1]["resource_uuid"] == volume.id


def test_ones_own_image_is_renamed_and_replicated_by_its_type(make, cluster, sidecar, driver):
    cluster.images["disk0"] = FakeImage(GIB)
    volume = make.volume(REPLICATED)
    assert driver.manage_existing(volume, {"source-name": "disk0"})["replication_status"] == "enabled"
    assert list(cluster.images) == [volume.name]
    assert sidecar.order() == ["manage", "check", "replicate"]


def test_an_image_that_nobody_can_say_anything_about_is_left_alone(make, cluster, sidecar, driver, told):
    cluster.images["disk0"] = FakeImage(GIB)
    sidecar.refuses("guard", 503, "cluster_unreachable", "the cluster does not answer")
    with pytest.raises(RekindleFault, match="does not answer"):
        driver.manage_existing(make.volume(), {"source-name": "disk0"})
    assert list(cluster.images) == ["disk0"]


def test_a_backend_without_replication_manages_as_ever(make, cluster, sidecar):
    driver = make.driver(replication_device=None)
    sidecar.stop()
    cluster.images["disk0"] = FakeImage(GIB)
    volume = make.volume()
    driver.manage_existing(volume, {"source-name": "disk0"})
    assert list(cluster.images) == [volume.name]


# As it is: the catalogue's way.


@pytest.fixture
def unmanaged(monkeypatch):
    """No volume of this Cinder has the image."""
    monkeypatch.setattr("rekindle_cinder.managing._is_managed", lambda _name_id: False)


def as_it_is(name):
    return {"source-name": name, "rename": "false"}


@pytest.fixture
def theirs(cluster):
    name_id = str(uuid.uuid4())
    cluster.images[f"volume-{name_id}"] = FakeImage(2 * GIB)
    return name_id


@pytest.mark.parametrize("rename", ["false", "False", False, "no", "0"])
def test_a_primary_is_taken_in_as_it_is(make, cluster, sidecar, driver, unmanaged, theirs, rename):
    reference = {"source-name": f"volume-{theirs}", "rename": rename}
    assert driver.manage_existing_get_size(make.volume(), reference) == 2
    assert driver.manage_existing(make.volume(REPLICATED), reference) == {
        "_name_id": theirs,
        "shared_targets": False,
        "replication_status": "enabled",
    }
    assert list(cluster.images) == [f"volume-{theirs}"]
    assert sidecar.order() == ["manage", "status"], "its policy is the other zone's: nothing is replicated anew"


def test_a_copy_is_taken_in_as_it_is(make, cluster, sidecar, driver, unmanaged, secondary):
    sidecar.answers("status", lambda body: (200, {"volumes": [shown(body, "error", "active - secondary")]}))
    update = driver.manage_existing(make.volume(), as_it_is(f"volume-{secondary}"))
    assert update == {"_name_id": secondary, "replication_status": "enabled", "shared_targets": False}
    assert list(cluster.images) == [f"volume-{secondary}"]


@pytest.mark.parametrize(
    ("word", "status", "expected"),
    [
        # The other zone's own: this record is of the copy at home.
        ("enabled", "active - primary", ("enabled", '{"rekindle_backend":"default"}')),
        # One of this Cinder's that went there.
        ("failed-over", "active - primary", ("failed-over", None)),
        ("error", "active - secondary", ("enabled", '{"rekindle_backend":"default"}')),
    ],
)
def test_what_is_taken_in_while_the_service_is_away(make, ceph, sidecar, unmanaged, word, status, expected):
    driver = make.driver(active_backend_id="zone-b")
    name = f"volume-{uuid.uuid4()}"
    ceph.clusters["b.conf"].images[name] = FakeImage(GIB)
    sidecar.answers("status", lambda body: (200, {"volumes": [shown(body, word, status)]}))
    update = driver.manage_existing(make.volume(metadata={"rekindle:image": name}), as_it_is(name))
    assert (update["replication_status"], update.get("replication_driver_data")) == expected
    assert sidecar.asked("status")[0]["volumes"][0]["taken_in"] is True


def shown(body, word, status):
    return {**body["volumes"][0], "result": "ok", "replication_status": word, "status": status, "effect": "already_so"}


@pytest.mark.parametrize(
    ("word", "status", "why"),
    [
        ("disabled", None, "there is no image"),
        ("disabled", "error - not mirrored", "is not replicated"),
        ("error", "error - not mirrored", "is not replicated"),
    ],
)
def test_what_is_not_replicated_is_refused(make, cluster, sidecar, driver, unmanaged, theirs, word, status, why):
    sidecar.answers("status", lambda body: (200, {"volumes": [shown(body, word, status)]}))
    with pytest.raises(exception.ManageExistingInvalidReference, match=why):
        driver.manage_existing(make.volume(), as_it_is(f"volume-{theirs}"))
    assert list(cluster.images) == [f"volume-{theirs}"]


@pytest.mark.parametrize("name", ["disk0", "volume-", "volume-nope", "»Volume« \U0001f525"])
def test_a_name_that_says_no_id_is_refused(make, sidecar, driver, unmanaged, name):
    with pytest.raises(exception.ManageExistingInvalidReference, match="not that of a Cinder volume"):
        driver.manage_existing(make.volume(), as_it_is(name))
    assert sidecar.order() == []


def test_an_image_that_has_a_volume_already_is_refused(make, driver, theirs, monkeypatch):
    monkeypatch.setattr("rekindle_cinder.managing._is_managed", lambda name_id: name_id == theirs)
    with pytest.raises(exception.ManageExistingAlreadyManaged):
        driver.manage_existing(make.volume(), as_it_is(f"volume-{theirs}"))


def test_an_image_is_not_taken_from_under_its_volume(make, cluster, sidecar, driver, theirs, monkeypatch, told):
    """Its record would have no image any more, nor a name in the catalogue. Of a copy it would be a second record."""
    monkeypatch.setattr("rekindle_cinder.managing._is_managed", lambda name_id: name_id == theirs)
    for rename in ({}, {"rename": "true"}):
        with pytest.raises(exception.ManageExistingAlreadyManaged):
            driver.manage_existing(make.volume(REPLICATED), {"source-name": f"volume-{theirs}", **rename})
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    with pytest.raises(exception.ManageExistingAlreadyManaged):
        driver.manage_existing(make.volume(), {"source-name": f"volume-{theirs}"})
    assert list(cluster.images) == [f"volume-{theirs}"]
    assert sidecar.order() == []
    assert told[0]["event_id"].endswith("[bad_reference]")


def test_an_image_of_that_name_that_was_unmanaged_is_renamed(make, cluster, driver, unmanaged, theirs):
    volume = make.volume(REPLICATED)
    driver.manage_existing(volume, {"source-name": f"volume-{theirs}"})
    assert list(cluster.images) == [volume.name]


def test_hard_case_32_an_image_that_is_about_to_go_is_refused(make, sidecar, driver, unmanaged, theirs, told):
    sidecar.refuses("guard", 409, "held", "it was deleted in Cinder, and goes at noon: undelete it")
    with pytest.raises(RekindleFault, match="undelete"):
        driver.manage_existing(make.volume(), as_it_is(f"volume-{theirs}"))


def test_without_replication_there_is_nothing_to_take_in(make, sidecar, theirs):
    driver = make.driver(replication_device=None)
    with pytest.raises(exception.ManageExistingInvalidReference, match="no replication_device"):
        driver.manage_existing(make.volume(), as_it_is(f"volume-{theirs}"))
