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
def secondary(cluster, sidecar):
    name_id = str(uuid.uuid4())
    cluster.images[f"volume-{name_id}"] = FakeImage(3 * GIB)
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    return name_id


def test_a_secondary_becomes_a_volume_without_a_rename(make, cluster, driver, secondary):
    volume = make.volume(REPLICATED)
    reference = {"source-name": f"volume-{secondary}"}
    assert driver.manage_existing_get_size(volume, reference) == 3
    assert driver.manage_existing(volume, reference) == {"_name_id": secondary, "replication_status": "enabled"}
    assert list(cluster.images) == [f"volume-{secondary}"]


def test_it_maps_to_its_image_and_its_deletion_does_not_touch_it(make, cluster, driver, secondary):
    volume = make.volume(REPLICATED)
    volume.update(driver.manage_existing(volume, {"source-name": f"volume-{secondary}"}))
    assert volume.name == f"volume-{secondary}"
    driver.delete_volume(volume)
    assert list(cluster.images) == [f"volume-{secondary}"]


@pytest.mark.parametrize("name", ["disk0", "volume-", "volume-nope", "»Volume« \U0001f525"])
def test_a_secondary_whose_name_says_no_id(make, cluster, driver, secondary, name):
    cluster.images[name] = FakeImage(GIB)
    with pytest.raises(exception.ManageExistingInvalidReference, match="cannot be renamed"):
        driver.manage_existing(make.volume(), {"source-name": name})
    assert name in cluster.images


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
