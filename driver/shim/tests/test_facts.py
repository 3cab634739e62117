"""What Cinder knows of a volume goes with its replication, and is never a reason for that to fail."""

from __future__ import annotations

from tests.maker import REPLICATED

KNOWN = {
    "project_id": "p",
    "display_name": "»Konto« \U0001f525",
    "display_description": None,
    "bootable": True,
    "glance_metadata": {"os_type": "linux"},
}


def test_it_is_told_with_the_volume(make, sidecar, driver):
    volume = make.volume(REPLICATED, **KNOWN, encryption_key_id=None)
    driver.create_volume(volume)
    [told] = sidecar.asked("replicate")[0]["volumes"]
    assert told["facts"] == {
        "project_id": "p",
        "name": "»Konto« \U0001f525",
        "description": None,
        "volume_type": "t",
        "size_gib": 1,
        "bootable": True,
        "image_metadata": {"os_type": "linux"},
        "encryption_key_id": None,
    }


def test_a_retype_tells_the_new_type(make, cluster, sidecar, driver):
    volume = make.volume(REPLICATED, **KNOWN)
    driver.create_volume(volume)
    other = make.type({**REPLICATED, "rekindle:mode": "once"})
    other.name = "other"
    driver.retype(make.context, volume, other, {}, None)
    [told] = sidecar.asked("replicate")[-1]["volumes"]
    assert told["facts"]["volume_type"] == "other"


def test_what_cannot_be_read_is_left_to_the_catalogue(make, sidecar, driver):
    volume = make.volume(REPLICATED)
    assert driver.create_volume(volume)["replication_status"] == "enabled"
    [told] = sidecar.asked("replicate")[0]["volumes"]
    assert "facts" not in told
