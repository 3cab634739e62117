"""failover-host and failback, active/active or not, with what Cinder's manager hands over and expects back."""

from __future__ import annotations

import uuid

import pytest
from cinder import exception

from rekindle_cinder import client
from rekindle_cinder import driver as driver_module
from rekindle_cinder.faults import RekindleFault
from tests.fake_ceph import FakeImage


def by_id(updates):
    return {update["volume_id"]: update["updates"] for update in updates}


def test_one_call_moves_all_and_the_connection_is_the_other_clusters(make, sidecar, driver):
    volumes = [make.replicated() for _ in range(3)]
    target, updates, groups = driver.failover_host(make.context, volumes, "zone-b", [])
    assert (target, groups) == ("zone-b", [])
    assert [update["replication_status"] for update in by_id(updates).values()] == ["failed-over"] * 3
    [asked] = sidecar.asked("failover")
    assert asked == {
        "backend": None,
        "target": "zone-b",
        "volumes": [{"id": v.id, "image": f"volumes/{v.name}"} for v in volumes],
    }
    data = driver.initialize_connection(make.volume(), {})["data"]
    assert (data["auth_username"], data["secret_uuid"], data["hosts"]) == ("dr", "secret-b", ["10.0.0.1"])


def test_the_reason_is_told_to_the_volumes_project(make, sidecar, driver, told):
    good, bad = make.replicated(), make.replicated(project_id="somebody")
    sidecar.fails_volume(bad.id, "busy", "a client holds its lock")
    driver.failover_host(make.context, [good, bad], "zone-b")
    [message] = told
    assert (message["resource_uuid"], message["project_id"]) == (bad.id, "somebody")
    assert "a client holds its lock" in message["event_id"]


def test_hard_case_20_one_failed_volume_decides_nothing_for_the_others(make, sidecar, driver):
    good, bad = make.replicated(status="in-use"), make.replicated(status="in-use")
    sidecar.fails_volume(bad.id, "no_complete_copy", "x" * 300)
    _target, updates, _groups = driver.failover_host(make.context, [good, bad], "zone-b")
    found = by_id(updates)
    assert found[good.id]["replication_status"] == "failed-over"
    assert "status" not in found[good.id]
    assert found[bad.id]["status"] == "error"
    assert found[bad.id]["replication_status"] == "failover-error"
    reason = found[bad.id]["replication_extended_status"]
    assert len(reason) == 255
    assert reason.endswith("...")


def test_hard_case_41_a_volume_that_failed_before_gets_its_status_back(make, sidecar, driver):
    marked = make.replicated(status="error", previous_status="in-use", replication_status="failover-error")
    _target, updates, _groups = driver.failover_host(make.context, [marked], "zone-b")
    assert by_id(updates)[marked.id]["status"] == "in-use"
    assert by_id(updates)[marked.id]["replication_extended_status"] is None


@pytest.mark.parametrize(("attached", "status"), [("attached", "in-use"), ("detached", "available")])
def test_hard_case_42_a_volume_that_was_worked_at_is_not_at_work_for_ever(make, sidecar, driver, attached, status):
    marked = make.replicated(
        status="error", previous_status="retyping", replication_status="failover-error", attach_status=attached
    )
    again = make.replicated(
        status="error", previous_status="extending", replication_status="failover-error", attach_status=attached
    )
    sidecar.fails_volume(again.id, "busy", "busy")
    _target, updates, _groups = driver.failover_host(make.context, [marked, again], "zone-b")
    assert by_id(updates)[marked.id]["status"] == status
    assert again.status == status


def test_a_second_failure_does_not_forget_what_the_volume_was(make, sidecar, driver):
    marked = make.replicated(status="error", previous_status="in-use", replication_status="failover-error")
    sidecar.fails_volume(marked.id, "busy", "busy")
    _target, updates, _groups = driver.failover_host(make.context, [marked], "zone-b")
    assert by_id(updates)[marked.id]["status"] == "error"
    # Cinder's manager writes this to previous_status.
    assert marked.status == "in-use"


def test_hard_case_42_an_error_of_another_kind_is_not_healed_by_a_failover(make, sidecar, driver):
    broken = make.replicated(status="error", previous_status="available", replication_status="enabled")
    _target, updates, _groups = driver.failover_host(make.context, [broken], "zone-b")
    assert "status" not in by_id(updates)[broken.id]


def test_hard_case_43_a_volume_without_replication_is_not_asked_about_and_left_alone(make, sidecar, driver):
    plain, ours = make.volume(replication_status=None), make.replicated()
    _target, updates, _groups = driver.failover_host(make.context, [plain, ours], "zone-b")
    assert by_id(updates)[plain.id] == {"replication_status": "not-capable"}
    assert [v["id"] for v in sidecar.asked("failover")[0]["volumes"]] == [ours.id]


def test_failback_is_to_default_and_takes_the_zones_own_connection(make, sidecar):
    driver = make.driver(active_backend_id="zone-b")
    volume = make.replicated(replication_status="failed-over")
    target, updates, _groups = driver.failover_host(make.context, [volume], "default")
    assert target == "default"
    assert by_id(updates)[volume.id]["replication_status"] == "enabled"
    assert sidecar.asked("failover")[0]["backend"] == "zone-b"
    assert driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"] == "secret-a"


def the_catalogues(make, **fields):
    """A record that the catalogue made, of a volume of the other zone's."""
    name_id = str(uuid.uuid4())
    return make.replicated(_name_id=name_id, metadata={"rekindle:image": f"volume-{name_id}"}, **fields)


def leaves_alone(sidecar, theirs):
    """As the sidecar answers of the other zone's own."""

    def answer(body):
        status, answer = sidecar._well(body)
        for volume in answer["volumes"]:
            if volume["id"] == theirs.id:
                volume.update(replication_status="enabled", effect="already_so")
        return status, answer

    sidecar.answers("failover", answer)


def test_one_of_the_other_zones_own_stays_a_copy_at_home(make, cluster, sidecar, driver):
    mine, theirs = make.replicated(), the_catalogues(make)
    leaves_alone(sidecar, theirs)
    target, updates, _groups = driver.failover_host(make.context, [mine, theirs], "zone-b")
    assert target == "zone-b"
    assert [volume.get("taken_in", False) for volume in sidecar.asked("failover")[0]["volumes"]] == [False, True]
    found = by_id(updates)
    assert found[mine.id]["replication_status"] == "failed-over"
    assert "replication_driver_data" not in found[mine.id]
    # Already before Cinder has written it down.
    assert driver._backend_of(theirs) == "default"
    theirs.update(found[theirs.id])
    assert (theirs.replication_status, theirs.replication_driver_data) == ("enabled", '{"rekindle_backend":"default"}')
    driver = make.driver(active_backend_id="zone-b")
    cluster.images[theirs.name] = FakeImage(1024**3)
    sidecar.refuses("guard", 409, "not_primary", "the volume is a copy in zone-a")
    with pytest.raises(RekindleFault, match="is a copy"):
        driver.initialize_connection(theirs, {})
    with pytest.raises(RekindleFault, match="a volume of the other zone's"):
        driver.create_cloned_volume(make.volume(), theirs)
    driver.extend_volume(theirs, 1)
    sidecar.answers("delete", lambda _body: (200, {"outcome": "record_alone", "message": "a copy", "due": None}))
    driver.delete_volume(theirs)
    assert {asked["backend"] for call in ("guard", "delete") for asked in sidecar.asked(call)} == {"default"}
    assert sidecar.asked("delete")[0]["volume"]["taken_in"] is True
    assert theirs.name in cluster.images
    # And when the service goes home, nothing is left of it.
    leaves_alone(sidecar, theirs)
    _target, updates, _groups = driver.failover_host(make.context, [mine, theirs], "default")
    assert by_id(updates)[theirs.id]["replication_driver_data"] is None
    assert driver._backend_of(theirs) == "default"


def test_a_volume_that_a_migration_brought_is_none_that_was_taken_in(make, sidecar, driver):
    migrated = make.replicated(_name_id=str(uuid.uuid4()), metadata={})
    unread = make.replicated(_name_id=str(uuid.uuid4()))
    named_by_itself = make.replicated(metadata={"rekindle:image": "volume-x"})
    driver.failover_host(make.context, [migrated, unread, named_by_itself], "zone-b")
    assert all("taken_in" not in volume for volume in sidecar.asked("failover")[0]["volumes"])


def test_a_group_that_fails_over_alone_leaves_the_other_zones_own_as_they_are(make, sidecar, driver):
    mine, theirs = make.replicated(), the_catalogues(make)
    group = make.group([mine, theirs])
    leaves_alone(sidecar, theirs)
    word, updates = driver.failover_replication(make.context, group, [mine, theirs], "zone-b")
    assert word == {"replication_status": "failed-over"}
    assert updates[0]["replication_driver_data"] == '{"rekindle_backend":"zone-b"}'
    assert updates[1]["replication_status"] == "enabled"
    assert "replication_driver_data" not in updates[1]


@pytest.mark.parametrize("word", ["", "default", None])
def test_hard_case_46_completion_of_an_active_active_failback(make, sidecar, word):
    driver = make.driver(active_backend_id="zone-b")
    driver.failover_completed(make.context, word)
    assert driver.initialize_connection(make.volume(), {})["data"]["auth_username"] == "cinder"
    driver.freeze_backend(make.context)
    assert sidecar.asked("freeze")[0]["backend"] == "default"


def test_active_active_moves_the_volumes_first_and_each_service_after(make, sidecar, driver):
    volume = make.replicated()
    target, _updates, _groups = driver.failover(make.context, [volume], "zone-b", [])
    assert driver.initialize_connection(make.volume(), {})["data"]["auth_username"] == "cinder"
    driver.failover_completed(make.context, target)
    assert driver.initialize_connection(make.volume(), {})["data"]["auth_username"] == "dr"


def test_hard_case_46_a_member_that_brought_volumes_home_does_not_keep_them_there(make, sidecar, driver):
    """Active/active: the next failover is another member's, and this one hears of its end alone."""
    mine, theirs = make.replicated(), the_catalogues(make)
    leaves_alone(sidecar, theirs)
    target, updates, _groups = driver.failover(make.context, [mine, theirs], "zone-b", [])
    driver.failover_completed(make.context, target)
    assert (driver._backend_of(mine), driver._backend_of(theirs)) == ("zone-b", "default")
    theirs.update(by_id(updates)[theirs.id])
    sidecar.recovers()
    target, _updates, _groups = driver.failover(make.context, [mine, theirs], "default", [])
    # Until its end is broadcast, what is home already is asked for there.
    assert driver._backend_of(mine) == "default"
    driver.failover_completed(make.context, "")
    assert (target, driver._backend_of(mine)) == ("default", "default")
    driver.failover_completed(make.context, "zone-b")
    assert driver._backend_of(mine) == "zone-b"
    # What that one left alone stands in its record.
    assert driver._backend_of(theirs) == "default"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(409, "held", "nothing was changed"), (504, "deadline_exceeded", "not known"), (400, "invalid_field", "nothing")],
)
def test_a_refusal_of_the_whole_is_an_invalid_target_so_that_it_can_be_called_again(
    make, sidecar, driver, status, code, said
):
    sidecar.refuses("failover", status, code, "volume x is 3 MiB behind")
    with pytest.raises(exception.InvalidReplicationTarget, match="3 MiB behind") as caught:
        driver.failover_host(make.context, [make.replicated()], "zone-b")
    assert said in str(caught.value)
    assert driver.initialize_connection(make.volume(), {})["data"]["auth_username"] == "cinder"


def test_hard_case_09_a_sidecar_that_dies_half_way_leaves_it_callable(make, sidecar, driver):
    volume = make.replicated()
    sidecar.sends("failover", b"")
    with pytest.raises(exception.InvalidReplicationTarget, match="call it again"):
        driver.failover_host(make.context, [volume], "zone-b")
    sidecar.recovers()
    assert driver.failover_host(make.context, [volume], "zone-b")[0] == "zone-b"


def test_an_unknown_target_is_refused_before_anything_is_asked(make, sidecar, driver):
    with pytest.raises(exception.InvalidReplicationTarget, match="zone-x"):
        driver.failover_host(make.context, [make.replicated()], "zone-x")
    assert sidecar.asked("failover") == []


def test_no_target_when_failed_over_already_is_no_failback(make, sidecar):
    driver = make.driver(active_backend_id="zone-b")
    with pytest.raises(exception.InvalidReplicationTarget, match="'default'"):
        driver.failover_host(make.context, [make.replicated()], None)
    assert sidecar.asked("failover") == []


def test_no_target_is_left_to_the_sidecar(make, sidecar, driver):
    assert driver.failover_host(make.context, [make.replicated()], None)[0] == "zone-b"
    assert sidecar.asked("failover")[0]["target"] is None


def test_without_a_replication_device_there_is_nothing_to_fail_over_to(make, sidecar):
    driver = make.driver(replication_device=None)
    with pytest.raises(exception.UnableToFailOver):
        driver.failover_host(make.context, [make.replicated()], "zone-b")


def test_it_moves_a_host_without_volumes(make, sidecar, driver):
    assert driver.failover_host(make.context, [], "zone-b") == ("zone-b", [], [])
    assert len(sidecar.asked("failover")) == 1


def test_more_volumes_than_one_call_holds(make, sidecar, driver, monkeypatch):
    monkeypatch.setattr(driver_module, "in_parts", lambda refs: client.in_parts(refs, 2))
    volumes = [make.replicated() for _ in range(5)]
    _target, updates, _groups = driver.failover_host(make.context, volumes, None)
    assert [len(asked["volumes"]) for asked in sidecar.asked("failover")] == [2, 2, 1]
    assert [asked["target"] for asked in sidecar.asked("failover")] == [None, "zone-b", "zone-b"]
    assert [update["volume_id"] for update in updates] == [volume.id for volume in volumes]


def test_a_later_part_that_is_refused_fails_its_volumes_alone(make, sidecar, driver, monkeypatch):
    monkeypatch.setattr(driver_module, "in_parts", lambda refs: client.in_parts(refs, 1))
    first, second = make.replicated(), make.replicated()

    def once(body):
        if body["volumes"][0]["id"] == second.id:
            return 503, {"code": "unavailable", "message": "draining"}
        return sidecar._well(body)

    sidecar.answers("failover", once)
    target, updates, _groups = driver.failover_host(make.context, [first, second], "zone-b")
    assert target == "zone-b"
    assert by_id(updates)[first.id]["replication_status"] == "failed-over"
    assert by_id(updates)[second.id]["replication_extended_status"] == "draining [unavailable]"


def test_groups_are_as_well_as_their_worst_volume(make, sidecar, driver):
    well, ill, lost = make.replicated(), make.replicated(), make.replicated()
    groups = [make.group([well]), make.group([ill, lost])]
    sidecar.fails_volume(lost.id, "busy", "busy")
    _target, _updates, found = driver.failover_host(make.context, [well, ill, lost], "zone-b", groups)
    assert found == [
        {"group_id": groups[0].id, "updates": {"replication_status": "failed-over"}},
        {"group_id": groups[1].id, "updates": {"replication_status": "failover-error"}},
    ]


@pytest.mark.parametrize(
    "data", [None, "", "no json", "[]", '{"had_journaling":true}', '"zone-b"', '{"rekindle_backend":7}']
)
def test_hard_case_47_replication_driver_data_of_any_kind_is_harmless(make, sidecar, driver, data):
    volume = make.replicated(replication_driver_data=data, replication_status="failed-over")
    assert driver.initialize_connection(volume, {})["data"]["auth_username"] == "cinder"
    _target, updates, _groups = driver.failover_host(make.context, [volume], "zone-b")
    assert by_id(updates)[volume.id].get("replication_driver_data", data) in (data, None)


def test_an_answer_that_leaves_a_volume_out_is_no_answer(make, sidecar, driver):
    sidecar.answers("failover", lambda body: (200, {"target": "zone-b", "volumes": []}))
    with pytest.raises(exception.InvalidReplicationTarget, match="says nothing about volume"):
        driver.failover_host(make.context, [make.replicated()], "zone-b")


def test_freeze_and_thaw(make, sidecar, driver):
    assert driver.freeze_backend(make.context) is True
    assert driver.thaw_backend(make.context) is True
    assert sidecar.asked("freeze") == [{"backend": None, "reason": "cinder freeze-host (req-cinder)"}]
    assert sidecar.asked("thaw") == [{"backend": None}]


@pytest.mark.parametrize("hook", ["freeze_backend", "thaw_backend"])
def test_a_refused_freeze_or_thaw_is_an_exception_that_the_manager_knows(make, sidecar, driver, hook):
    sidecar.refuses(hook.removesuffix("_backend"), 503, "store_unavailable", "etcd has no majority")
    with pytest.raises(exception.VolumeDriverException, match="no majority"):
        getattr(driver, hook)(make.context)
