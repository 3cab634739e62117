"""Volumes of a replicated type, however they come to be: checked first, flat, and replicated once they are whole."""

from __future__ import annotations

import inspect

import pytest
from cinder import exception
from cinder.volume.drivers import rbd

from rekindle_cinder.faults import RekindleFault, UnusableType
from tests.fake_ceph import DISABLED, ENABLED, FakeImage
from tests.maker import REPLICATED

GIB = 1024**3


@pytest.fixture
def source(make, cluster):
    volume = make.volume()
    cluster.images[volume.name] = FakeImage(GIB)
    return volume


def specs_of(sidecar):
    return sidecar.asked("replicate")[-1]["specs"]


def test_a_new_volume_is_checked_made_and_replicated(make, cluster, sidecar, driver):
    volume = make.volume(REPLICATED)
    update = driver.create_volume(volume)
    assert update["replication_status"] == "enabled"
    assert sidecar.order() == ["check", "create", "replicate"]
    assert sidecar.asked("replicate") == [
        {"backend": None, "specs": REPLICATED, "volumes": [{"id": volume.id, "image": f"volumes/{volume.name}"}]}
    ]
    assert cluster.images[volume.name].size == GIB


@pytest.mark.parametrize("specs", [None, {}, {"volume_backend_name": "ceph"}])
def test_a_type_without_replication_needs_no_sidecar(make, cluster, sidecar, driver, specs):
    sidecar.stop()
    volume = make.volume(specs)
    assert driver.create_volume(volume) == {"replication_status": "disabled"}
    assert volume.name in cluster.images


def test_a_nonsensical_spec_is_refused_before_there_is_an_image(make, cluster, sidecar, driver, told):
    sidecar.refuses("check", 400, "invalid_field", "'5x' is no duration: write 15m", "rekindle:interval")
    volume = make.volume({**REPLICATED, "rekindle:interval": "5x"})
    with pytest.raises(UnusableType, match="rekindle:interval: '5x' is no duration"):
        driver.create_volume(volume)
    assert cluster.images == {}
    assert sidecar.order() == ["check"]
    [message] = told
    assert message["event_id"] == (
        "VOLUME_VOLUME_008_012 rekindle: rekindle:interval: '5x' is no duration: write 15m [invalid_field]"
    )
    assert message["resource_uuid"] == volume.id


def test_cinder_does_not_try_an_unusable_type_elsewhere(make):
    from cinder.volume.flows.manager import create_volume
    from taskflow.types import failure

    task = create_volume.OnFailureRescheduleTask({}, None, None, None, do_reschedule=True)
    try:
        raise UnusableType(reason="x")
    except UnusableType:
        assert failure.Failure().check(*task.no_reschedule_types)


def test_hard_case_39_replication_and_multiattach_exclude_each_other(make, cluster, sidecar, driver, told):
    sidecar.refuses("check", 400, "invalid_field", "a replicated volume cannot be multiattach", "multiattach")
    with pytest.raises(UnusableType, match="multiattach"):
        driver.create_volume(make.volume({**REPLICATED, "multiattach": "<is> True"}))
    assert cluster.images == {}


def test_even_where_the_sidecar_would_let_it_pass(make, cluster, sidecar, driver):
    with pytest.raises(exception.VolumeDriverException, match="mutually exclusive"):
        driver.create_volume(make.volume({**REPLICATED, "multiattach": "<is> True"}))
    assert cluster.images == {}
    assert sidecar.asked("replicate") == []


def test_a_spelling_that_cinder_would_not_see_is_refused(make, cluster, sidecar, driver):
    sidecar.answers("check", lambda _body: (200, {"replicated": True, "mode": {"mode": "once"}, "group": None}))
    with pytest.raises(UnusableType, match="'<is> True'"):
        driver.create_volume(make.volume({"replication_enabled": "true"}))
    assert cluster.images == {}


def test_a_frozen_zone_takes_no_new_replicated_volume(make, cluster, sidecar, driver, told):
    sidecar.refuses("guard", 423, "frozen", "frozen since noon")
    with pytest.raises(RekindleFault, match="frozen since noon"):
        driver.create_volume(make.volume(REPLICATED))
    assert cluster.images == {}


def test_without_a_sidecar_no_replicated_volume_is_made(make, cluster, sidecar, driver, told):
    sidecar.stop()
    with pytest.raises(RekindleFault, match="Is rekindle-driver running"):
        driver.create_volume(make.volume(REPLICATED))
    assert cluster.images == {}


def test_an_image_that_cannot_be_replicated_is_removed_and_the_reason_kept(make, cluster, sidecar, driver):
    volume = make.volume(REPLICATED)
    sidecar.fails_volume(volume.id, "pool_not_mirrored", "the pool is not set up")
    with pytest.raises(exception.ReplicationError, match="the pool is not set up"):
        driver.create_volume(volume)
    assert cluster.images == {}


def test_hard_case_37_a_clone_is_flattened_before_it_is_replicated(make, cluster, sidecar, driver, source):
    volume = make.volume(REPLICATED)
    flat = []

    def look(body):
        flat.append(cluster.images[volume.name].parent)
        return sidecar._well(body)

    sidecar.answers("replicate", look)
    update = driver.create_cloned_volume(volume, source)
    assert update["replication_status"] == "enabled"
    assert flat == [None]
    assert cluster.images[source.name].snaps == {}, "a snapshot that nothing hangs on would keep the source for ever"


def test_a_clone_that_cannot_be_replicated_leaves_nothing_behind(make, cluster, sidecar, driver, source):
    volume = make.volume(REPLICATED)
    sidecar.fails_volume(volume.id, "busy", "an action is in flight")
    with pytest.raises(exception.ReplicationError, match="an action is in flight"):
        driver.create_cloned_volume(volume, source)
    assert list(cluster.images) == [source.name]
    assert cluster.images[source.name].snaps == {}


def test_a_full_copy_is_replicated_too(make, cluster, sidecar, source):
    driver = make.driver(rbd_max_clone_depth=0)
    volume = make.volume(REPLICATED)
    assert driver.create_cloned_volume(volume, source)["replication_status"] == "enabled"
    assert volume.name in cluster.images


@pytest.mark.parametrize("flatten", [False, True])
def test_a_volume_from_a_snapshot_is_flat(make, cluster, sidecar, source, flatten):
    driver = make.driver(rbd_flatten_volume_from_snapshot=flatten)
    snapshot = make.snapshot(source)
    cluster.images[source.name].snaps[snapshot.name] = True
    volume = make.volume(REPLICATED, size=2)
    update = driver.create_volume_from_snapshot(volume, snapshot)
    assert update["replication_status"] == "enabled"
    assert cluster.images[volume.name].parent is None
    assert cluster.images[volume.name].size == 2 * GIB
    assert list(cluster.images[source.name].snaps) == [snapshot.name]


def test_a_plain_clone_stays_a_clone(make, cluster, sidecar, driver, source):
    volume = make.volume()
    driver.create_cloned_volume(volume, source)
    assert cluster.images[volume.name].parent is not None


def test_a_volume_from_an_image_in_the_same_cluster(make, cluster, sidecar, driver):
    cluster.images["glance"] = FakeImage(GIB)
    cluster.images["glance"].snaps["snap"] = True
    volume = make.volume(REPLICATED)
    url = f"rbd://{cluster.fsid}/volumes/glance/snap"
    update, cloned = driver.clone_image(make.context, volume, (url, None), {"disk_format": "raw"}, None)
    assert cloned
    assert update["replication_status"] == "enabled"
    assert cluster.images[volume.name].parent is None


def test_a_volume_from_an_image_that_is_copied(make, cluster, sidecar, driver, monkeypatch):
    """Cinder makes an empty volume, then removes its image and imports another of that name."""
    volume = make.volume(REPLICATED)
    driver.create_volume(volume)
    volume.replication_status = "enabled"
    monkeypatch.setattr("cinder.image.image_utils.fetch_to_raw", lambda *_args, **_kwargs: None)
    monkeypatch.setattr("cinder.volume.volume_utils.image_conversion_dir", lambda: None)
    imported = FakeImage(GIB)
    there_at_import = []

    def rbd_import(*_args, **_kwargs):
        there_at_import.append(volume.name in cluster.images)
        cluster.images[volume.name] = imported

    monkeypatch.setattr(driver, "_try_execute", rbd_import)
    sidecar.calls.clear()
    driver.copy_image_to_volume(make.context, volume, None, "image-id")
    assert sidecar.order() == ["revert", "unreplicate", "replicate"]
    assert there_at_import == [False]
    assert cluster.images[volume.name] is imported
    sidecar.calls.clear()
    driver.delete_volume(volume)
    assert sidecar.order() == ["delete"], "the guard is back"


def test_an_encrypted_volume_is_replicated_too(make, cluster, sidecar, driver, monkeypatch):
    volume = make.volume(REPLICATED, encryption_key_id="11111111-1111-1111-1111-111111111111")

    def encrypted(made, _context):
        cluster.images[made.name] = FakeImage(GIB)

    monkeypatch.setattr(driver, "_create_encrypted_volume", encrypted)
    assert driver.create_volume(volume)["replication_status"] == "enabled"


def test_retype_to_and_from_replication(make, cluster, sidecar, driver, source):
    done, update = driver.retype(make.context, source, make.type(REPLICATED), {}, None)
    assert (done, update["replication_status"]) == (True, "enabled")
    assert specs_of(sidecar) == REPLICATED
    source.volume_type, source.replication_status = make.type(REPLICATED), "enabled"
    source.replication_driver_data = "no json"
    done, update = driver.retype(make.context, source, make.type({}), {}, None)
    assert (done, update["replication_status"]) == (True, "disabled")
    assert len(sidecar.asked("unreplicate")) == 1


def test_retype_changes_mode_and_schedule_in_place(make, cluster, sidecar, driver):
    volume = make.replicated()
    cluster.images[volume.name] = FakeImage(GIB)
    other = {"replication_enabled": "<is> True", "rekindle:mode": "periodic", "rekindle:interval": "15m"}
    done, update = driver.retype(make.context, volume, make.type(other), {}, None)
    assert (done, update["replication_status"]) == (True, "enabled")
    assert specs_of(sidecar) == other
    assert sidecar.asked("unreplicate") == []


def test_a_retype_that_left_no_copy_is_said(make, cluster, sidecar, driver, told, monkeypatch):
    """Cinder gives the volume its old type back and leaves its word, `enabled`."""
    saved = []
    monkeypatch.setattr("cinder.objects.Volume.save", lambda volume: saved.append(volume.replication_status))
    other = make.type({"replication_enabled": "<is> True", "rekindle:mode": "periodic"})
    for status, left in (("active - primary", "enabled"), ("error - unknown", "error"), ("error - not mirrored", "error")):
        volume = make.replicated()
        cluster.images[volume.name] = FakeImage(GIB)
        sidecar.fails_volume(volume.id, "storage_error", "no space")
        end = {"id": volume.id, "image": f"volumes/{volume.name}", "result": "ok", "replication_status": left}
        answer = {"volumes": [{**end, "status": status, "effect": "already_so"}]}
        sidecar.answers("status", lambda _, a=answer: (200, a))
        saved.clear()
        told.clear()
        with pytest.raises(exception.CinderException, match="no space"):
            driver.retype(make.context, volume, other, {}, None)
        if status == "error - not mirrored":
            assert (saved, volume.replication_status) == (["error"], "error")
            assert "error - not mirrored" in told[-1]["event_id"]
            # And is put right by the next one.
            sidecar.recovers()
            done, update = driver.retype(make.context, volume, other, {}, None)
            assert (done, update["replication_status"]) == (True, "enabled")
        else:
            assert (saved, told, volume.replication_status) == ([], [], "enabled")


def test_what_cinder_makes_for_itself_is_not_replicated(make, cluster, sidecar, driver):
    source = make.replicated()
    cluster.images[source.name] = FakeImage(GIB)
    passing = make.volume(REPLICATED, use_quota=False)
    update = driver.create_cloned_volume(passing, source)
    assert update["replication_status"] == "disabled"
    passing.update(update)
    assert sidecar.asked("replicate") == []
    driver.delete_volume(passing)
    assert passing.name not in cluster.images
    assert sidecar.asked("delete") == []


def test_nothing_is_made_here_of_what_is_served_elsewhere(make, ceph, sidecar, driver, told):
    source = make.replicated(replication_status="failed-over", replication_driver_data='{"rekindle_backend":"zone-b"}')
    for cluster in ceph.clusters.values():
        cluster.images[source.name] = FakeImage(GIB)
    for made in (driver.create_cloned_volume, driver.create_volume_from_snapshot):
        of = source if made == driver.create_cloned_volume else make.snapshot(source)
        with pytest.raises(RekindleFault, match="served from 'zone-b'"):
            made(make.volume(REPLICATED), of)
    assert len(told) == 2
    assert [len(cluster.images) for cluster in ceph.clusters.values()] == [1, 1]


def test_an_image_is_written_and_read_where_its_volume_is(make, ceph, sidecar, driver, monkeypatch, tmp_path):
    volume = make.replicated(replication_status="failed-over", replication_driver_data='{"rekindle_backend":"zone-b"}')
    for cluster in ceph.clusters.values():
        cluster.images[volume.name] = FakeImage(GIB)
    monkeypatch.setattr("cinder.volume.volume_utils.image_conversion_dir", lambda: str(tmp_path))
    monkeypatch.setattr("cinder.volume.volume_utils.upload_volume", lambda *_args: None)
    monkeypatch.setattr("os.unlink", lambda _path: None)
    driver.copy_volume_to_image(make.context, volume, None, {"id": "i", "disk_format": "qcow2", "container_format": "bare"})
    [export] = [command for command in make.executed if command[:2] == ("rbd", "export")]
    assert "b.conf" in export

    if "disable_sparse" not in inspect.signature(rbd.RBDDriver._copy_image_to_volume).parameters:
        return  # Cinder 21 makes the image anew.
    written = []
    monkeypatch.setattr("cinder.image.image_utils.fetch_to_raw", lambda *_args, **_kwargs: None)
    monkeypatch.setattr("cinder.image.image_utils.convert_image", lambda _from, to, *_args, **_kwargs: written.append(to))
    driver._copy_image_to_volume(make.context, volume, None, "i", disable_sparse=True)
    assert written == [f"rbd:volumes/{volume.name}:conf=b.conf:id=dr"]
    # Its type was not changed: how it is replicated may be another matter.
    assert [asked.get("cause") for asked in sidecar.asked("replicate")] == ["again"]
    driver.retype(make.context, volume, make.type({**REPLICATED, "rekindle:mode": "once"}), {}, None)
    assert [asked.get("cause") for asked in sidecar.asked("replicate")] == ["again", None]


@pytest.fixture
def imported(cluster, driver, monkeypatch):
    """Names of volumes whose image was there no more when another of that name was imported."""
    names = []

    def rbd_import(*command, **_kwargs):
        name = command[command.index("--new-format") - 1]
        assert name not in cluster.images
        cluster.images[name] = FakeImage(GIB)
        names.append(name)

    monkeypatch.setattr("cinder.image.image_utils.fetch_to_raw", lambda *_args, **_kwargs: None)
    monkeypatch.setattr("cinder.volume.volume_utils.image_conversion_dir", lambda: None)
    monkeypatch.setattr(driver, "_try_execute", rbd_import)
    return names


def test_cinder_21_reimages_no_plain_volume_that_somebody_replicated(make, cluster, sidecar, driver, told, imported):
    """It says nothing of a reimage: the image is made anew, as for a new volume."""
    volume = make.volume({}, previous_status="available")
    image = cluster.images[volume.name] = FakeImage(GIB)
    image.mirroring = ENABLED
    with pytest.raises(RekindleFault, match="take its replication off first"):
        driver.copy_image_to_volume(make.context, volume, None, "i")
    assert sidecar.order() == ["revert"]
    assert (cluster.images, imported) == ({volume.name: image}, [])
    assert "take its replication off first" in told[-1]["event_id"]
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    with pytest.raises(RekindleFault, match="it is a copy"):
        driver.copy_image_to_volume(make.context, volume, None, "i")
    image.mirroring = DISABLED
    driver.copy_image_to_volume(make.context, volume, None, "i")
    assert imported == [volume.name]


def test_cinder_21_reimages_a_volume_of_a_replicated_type_that_is_as_its_type_says(
    make, cluster, sidecar, driver, told, imported
):
    volume = make.replicated(previous_status="reserved")
    image = cluster.images[volume.name] = FakeImage(GIB)
    sidecar.refuses("guard", 409, "held", "it is in group db, and that would be no group")
    with pytest.raises(RekindleFault, match="it is in group db"):
        driver.copy_image_to_volume(make.context, volume, None, "i")
    assert sidecar.asked("guard") == [
        {"backend": None, "operation": "remake", "image": f"volumes/{volume.name}", "specs": REPLICATED}
    ]
    assert (sidecar.order(), cluster.images) == (["remake"], {volume.name: image})
    sidecar.recovers()
    driver.copy_image_to_volume(make.context, volume, None, "i")
    assert sidecar.order()[1:] == ["remake", "unreplicate", "replicate"]
    assert imported == [volume.name]


def test_cinder_21_makes_no_image_anew_where_its_volume_is_not(make, ceph, sidecar, driver, told, imported):
    data = '{"rekindle_backend":"zone-b"}'
    volume = make.replicated(replication_status="failed-over", replication_driver_data=data, previous_status="available")
    for cluster in ceph.clusters.values():
        cluster.images[volume.name] = FakeImage(GIB)
    with pytest.raises(RekindleFault, match="served from 'zone-b'"):
        driver.copy_image_to_volume(make.context, volume, None, "i")
    assert (sidecar.order(), imported) == ([], [])
    assert [len(cluster.images) for cluster in ceph.clusters.values()] == [1, 1]


def test_a_copy_is_not_retyped(make, cluster, sidecar, driver):
    volume = make.replicated()
    sidecar.refuses("guard", 409, "not_primary", "it is a copy of zone-b's")
    for other in ({"replication_enabled": "<is> True", "rekindle:mode": "once"}, {}):
        with pytest.raises(RekindleFault, match="it is a copy of zone-b's"):
            driver.retype(make.context, volume, make.type(other), {}, None)
    assert (sidecar.asked("replicate"), sidecar.asked("unreplicate")) == ([], [])


def test_retype_to_a_nonsensical_type_changes_nothing(make, cluster, sidecar, driver, told):
    volume = make.replicated()
    sidecar.refuses("check", 400, "invalid_field", "no such mode", "rekindle:mode")
    with pytest.raises(UnusableType, match="no such mode"):
        driver.retype(make.context, volume, make.type({**REPLICATED, "rekindle:mode": "often"}), {}, None)
    assert sidecar.order() == ["check"]
    assert len(told) == 1
