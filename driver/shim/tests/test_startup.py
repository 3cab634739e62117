"""A cinder-volume whose Ceph is dead comes up, reports, and takes failover-host."""

from __future__ import annotations

import pytest
from cinder import exception
from eventlet import tpool
from oslo_config import cfg

from rekindle_cinder import away, startup
from rekindle_cinder.driver import RekindleRBDDriver
from rekindle_cinder.faults import RekindleFault
from tests.fake_ceph import FakeImage


@pytest.fixture
def dead(cluster):
    cluster.dead = True
    return cluster


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(away.Away.__init__, "__defaults__", (lambda: now[0],))
    return now


@pytest.mark.parametrize("reachable", ["no", "unknown", "yes"])
def test_hard_case_45_it_starts_and_fails_over_with_a_dead_cluster(make, dead, sidecar, reachable):
    sidecar.reachable = reachable
    driver = make.driver(rbd_secret_uuid=None)
    driver.init_capabilities()
    stats = driver.get_volume_stats(True)
    assert stats["backend_state"] == "down"
    assert (stats["replication_enabled"], stats["replication_targets"]) == (True, ["zone-b", "default"])
    assert stats["location_info"] is None
    assert dead.connections == 1, "one try, not one for each question"
    assert driver.failover_host(make.context, [make.replicated()], "zone-b")[0] == "zone-b"
    assert driver.get_volume_stats(True)["backend_state"] == ("down" if reachable == "no" else "up")


def test_what_the_cluster_is_needed_for_is_taken_up_once_it_answers(make, dead, sidecar, clock):
    driver = make.driver(rbd_secret_uuid=None)
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.create_volume(make.volume())
    dead.dead = False
    clock[0] += away.AWAY_FOR
    stats = driver.get_volume_stats(True)
    assert stats["backend_state"] == "up"
    assert dead.fsid in stats["location_info"]
    assert driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"] == dead.fsid


def test_a_dead_cluster_is_not_asked_for_a_while(make, dead, sidecar, clock, told):
    driver = make.driver()
    for _ in range(5):
        with pytest.raises(exception.VolumeIsBusy):
            driver.delete_volume(make.volume())
    assert dead.connections == 1
    clock[0] += away.AWAY_FOR
    with pytest.raises(exception.VolumeIsBusy):
        driver.delete_volume(make.volume())
    assert dead.connections == 4, "rados_connection_retries is 3"


def test_the_last_known_fsid_stays_in_the_stats(make, cluster, sidecar, driver):
    driver.get_volume_stats(True)
    cluster.dead = True
    stats = driver.get_volume_stats(True)
    assert stats["backend_state"] == "down"
    assert cluster.fsid in stats["location_info"]


def test_the_sidecars_word_spares_the_timeout(make, cluster, sidecar, driver):
    before = cluster.connections
    sidecar.reachable = "no"
    assert driver.get_volume_stats(True)["backend_state"] == "down"
    assert cluster.connections == before


def test_an_absent_sidecar_does_not_take_the_stats_down(make, cluster, sidecar, driver):
    sidecar.stop()
    assert driver.get_volume_stats(True)["backend_state"] == "up"


def test_a_wrong_key_is_an_error_as_ever(make, cluster, sidecar):
    cluster.refuses_key = True
    driver = make.driver(setup=False)
    driver.do_setup(make.context)
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.check_for_setup_error()
    driver = make.driver(setup=False, rbd_secret_uuid=None)
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.do_setup(make.context)


def test_the_other_clusters_fsid_does_not_become_the_primarys_secret(make, ceph, sidecar):
    devices = [{"backend_id": "zone-b", "conf": "b.conf"}]
    driver = make.driver(rbd_secret_uuid=None, replication_device=devices)
    here, there = ceph.clusters["a.conf"].fsid, ceph.clusters["b.conf"].fsid
    driver.failover_host(make.context, [], "zone-b")
    assert driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"] == there
    driver.failover_host(make.context, [], "default")
    assert driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"] == here


def test_a_failover_is_complete_also_where_the_new_cluster_is_slow_to_say_its_fsid(make, ceph, sidecar, clock):
    devices = [{"backend_id": "zone-b", "conf": "b.conf"}]
    driver = make.driver(rbd_secret_uuid=None, replication_device=devices)
    ceph.clusters["b.conf"].dead = True
    assert driver.failover_host(make.context, [], "zone-b")[0] == "zone-b"
    ceph.clusters["b.conf"].dead = False
    clock[0] += away.AWAY_FOR
    secret = driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"]
    assert secret == ceph.clusters["b.conf"].fsid


def breaks(cluster, how):
    match how:
        case "conf":
            cluster.unreadable = True
        case "keyring":
            cluster.keyring = "/nowhere/a.keyring,/nowhere/keyring"
            cluster.refuses_key = True


@pytest.mark.parametrize("how", ["conf", "keyring"])
def test_a_failover_is_complete_also_where_this_host_cannot_read_the_new_clusters_files(make, ceph, sidecar, how):
    devices = [{"backend_id": "zone-b", "conf": "b.conf"}]
    driver = make.driver(rbd_secret_uuid=None, replication_device=devices)
    volume = make.replicated()
    breaks(ceph.clusters["b.conf"], how)
    target, updates, _groups = driver.failover_host(make.context, [volume], "zone-b")
    assert target == "zone-b"
    assert updates[0]["updates"]["replication_status"] == "failed-over"
    # The service stays up, says that its backend is not, and attaches nothing.
    assert driver.get_volume_stats(True)["backend_state"] == "down"
    with pytest.raises(RekindleFault, match="is not known"):
        driver.initialize_connection(make.volume(), {})
    ceph.clusters["b.conf"].unreadable = ceph.clusters["b.conf"].refuses_key = False
    assert driver.initialize_connection(make.volume(), {})["data"]["secret_uuid"] == ceph.clusters["b.conf"].fsid


@pytest.mark.parametrize(("how", "said"), [("conf", "b.conf cannot be read"), ("keyring", "/nowhere/a.keyring")])
@pytest.mark.parametrize("secret", [None, "secret-b"])
def test_a_start_says_what_a_failover_would_lack(make, ceph, sidecar, caplog, how, said, secret):
    devices = [{"backend_id": "zone-b", "conf": "b.conf", **({"secret_uuid": secret} if secret else {})}]
    breaks(ceph.clusters["b.conf"], how)
    before = ceph.clusters["b.conf"].connections
    make.driver(rbd_secret_uuid=None, replication_device=devices)
    assert (said in caplog.text) == (secret is None)
    assert ceph.clusters["b.conf"].connections == before


def test_a_start_with_all_that_a_failover_needs_says_nothing(make, ceph, sidecar, caplog):
    make.driver(rbd_secret_uuid=None, replication_device=[{"backend_id": "zone-b", "conf": "b.conf"}])
    assert "secret_uuid" not in caplog.text


def test_connections_are_bounded_unless_the_operator_says_otherwise(make, sidecar, driver):
    assert driver.configuration.rados_connect_timeout == 10
    assert make.driver(rados_connect_timeout=3).configuration.rados_connect_timeout == 3


def test_the_options_have_help_and_are_the_drivers():
    ours = {opt.name: opt for opt in RekindleRBDDriver.get_driver_options() if opt.name.startswith("rekindle_")}
    assert set(ours) == {"rekindle_socket", "rekindle_timeout", "rekindle_failover_timeout"}
    assert all(opt.help for opt in ours.values())
    # The sidecar's own deadlines, CinderLimits' call_time and failover_time, have passed by then.
    assert ours["rekindle_timeout"].default > 35
    assert ours["rekindle_failover_timeout"].default > 55
    assert "rbd_pool" in {opt.name for opt in RekindleRBDDriver.get_driver_options()}


@pytest.mark.parametrize(("name", "value"), [("rekindle_timeout", 0), ("rekindle_failover_timeout", 1e9)])
def test_an_option_out_of_bounds_is_refused(make, sidecar, driver, name, value):
    with pytest.raises(ValueError, match="Should be"):
        cfg.CONF.set_override(name, value, group="ceph")


def test_a_whole_image_list_is_left_alone_by_a_start(make, cluster, sidecar):
    cluster.images["volume-x"] = FakeImage(1)
    make.driver()
    assert list(cluster.images) == ["volume-x"]


@pytest.mark.parametrize(("configured", "bound"), [(None, "10"), (4, "4"), (-1, "10")])
def test_the_monitors_are_asked_for_within_a_bound(make, sidecar, configured, bound):
    driver = make.driver(**({} if configured is None else {"rados_connect_timeout": configured}))
    driver.initialize_connection(make.volume(), {})
    [command] = make.executed
    assert command[:3] == ("ceph", "mon", "dump")
    assert command[-2:] == ("--connect-timeout", bound)


def test_connecting_to_a_cluster_lets_others_go_on(ceph):
    """What older releases are given, and newer ones have."""
    cooperative = startup._Cooperative(ceph.rados)
    client = cooperative.Rados(rados_id="cinder", clustername="ceph", conffile="a.conf")
    assert isinstance(client, tpool.Proxy)
    client.connect()
    assert cooperative.Error is ceph.rados.Error
