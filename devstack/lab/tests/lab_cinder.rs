//! The zones' real Keystone and Cinder: they work on the zones' Ceph, and they live and die with the zone.

// The helpers of a test fail as the test does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rekindle_lab::{Lab, LabError, OpenStack, ServiceState, Site};
use serde_json::Value;

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(150);
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn show(cloud: &OpenStack, id: &str) -> Value {
    cloud
        .openstack_json(&cloud.member, &["volume", "show", id])
        .unwrap()
}

/// Makes a volume of 1 GiB as the member, and waits until it is there.
fn create(cloud: &OpenStack, more: &[&str]) -> String {
    let mut args = vec!["volume", "create", "--size", "1"];
    args.extend(more);
    args.push("made-by-a-test");
    let made = cloud.openstack_json(&cloud.member, &args).unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let mut last = Value::Null;
    wait_for("a volume to be available", || {
        last = show(cloud, &id);
        assert_ne!(last["status"], "error", "{last}");
        last["status"] == "available"
    });
    id
}

/// A volume type for replicated volumes of that backend.
fn replicated_type(cloud: &OpenStack, backend: &str) -> String {
    let kind = format!("{backend}-by-a-test");
    // From a run that failed.
    let _ = cloud.openstack(&cloud.admin, &["volume", "type", "delete", &kind]);
    let wanted = format!("volume_backend_name={backend}");
    let mut args = vec!["volume", "type", "create", "--property", &wanted];
    args.extend(["--property", "replication_enabled=<is> True", &kind]);
    cloud.openstack(&cloud.admin, &args).unwrap();
    kind
}

fn delete(cloud: &OpenStack, id: &str) {
    cloud
        .openstack(&cloud.member, &["volume", "delete", id])
        .unwrap();
}

fn has_image(lab: &Lab, site: Site, id: &str) -> bool {
    let images = lab.rbd(site, &["ls", "volumes"]).unwrap();
    images.lines().any(|l| l == format!("volume-{id}"))
}

fn state(lab: &Lab, site: Site, service: &str) -> ServiceState {
    lab.status().unwrap().sites[&site].services[service].clone()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_volume_of_each_zone_is_an_image_of_its_ceph_alone() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let made: Vec<(Site, OpenStack, String)> = Site::ZONES
        .into_iter()
        .map(|site| {
            let cloud = lab.openstack(site).unwrap();
            let id = create(&cloud, &[]);
            (site, cloud, id)
        })
        .collect();
    for (site, cloud, id) in &made {
        assert!(has_image(&lab, *site, id));
        assert!(!has_image(&lab, site.peer().unwrap(), id));
        // The other client, which prints tables.
        let table = cloud.cinder(&cloud.member, &["show", id]).unwrap();
        assert!(
            table.contains(id.as_str()) && table.contains("available"),
            "{table}"
        );
    }
    let (_, a, id) = &made[0];
    let b = &made[1].1;
    let error = b.openstack(&b.member, &["volume", "show", id]).unwrap_err();
    assert!(
        matches!(error, LabError::Command { .. }),
        "zone-b knows a volume of zone-a: {error}"
    );
    // A member is no administrator, and neither is known to the other zone's Keystone by that password.
    assert!(
        a.openstack(&a.member, &["volume", "service", "list"])
            .is_err()
    );
    assert!(
        a.openstack(&a.admin, &["volume", "service", "list"])
            .is_ok()
    );
    assert!(a.openstack(&b.admin, &["volume", "list"]).is_err() || a.auth_url != b.auth_url);
    for (site, cloud, id) in &made {
        delete(cloud, id);
        wait_for("its image to go", || !has_image(&lab, *site, id));
    }
}

#[test]
fn passwords_are_for_their_owner_alone() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let mut seen = Vec::new();
    for site in Site::ZONES {
        let cloud = lab.openstack(site).unwrap();
        for path in [
            &cloud.clouds_yaml,
            &cloud.cinder_conf,
            &cloud.admin.password_file,
            &cloud.member.password_file,
        ] {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
        for account in [&cloud.admin, &cloud.member] {
            seen.push(std::fs::read_to_string(&account.password_file).unwrap());
        }
    }
    assert!(seen.iter().all(|p| p.len() >= 32));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "no password serves twice");
    // What is printed for other programs names the files and holds no password.
    let env = serde_json::to_string(&lab.env()).unwrap();
    assert!(env.contains("clouds.yaml"));
    assert!(seen.iter().all(|p| !env.contains(p.trim())));
}

#[test]
fn cinder_volume_is_a_service_that_dies_pauses_and_comes_back() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let (site, name) = (Site::ZoneB, "cinder-volume");
    let is_ready = || matches!(state(&lab, site, name), ServiceState::Ready { .. });
    let before = lab.pid(site, name).unwrap().unwrap();
    lab.kill_service(site, name).unwrap();
    assert_eq!(state(&lab, site, name), ServiceState::Dead);
    lab.start_service(site, name).unwrap();
    assert!(is_ready(), "started means that it said so");
    assert_ne!(lab.pid(site, name).unwrap().unwrap(), before);

    lab.pause_service(site, name).unwrap();
    assert!(matches!(
        state(&lab, site, name),
        ServiceState::Paused { .. }
    ));
    let cloud = lab.openstack(site).unwrap();
    wait_for("Cinder to call it down", || {
        let args = ["volume", "service", "list", "--service", name];
        let rows = cloud.openstack_json(&cloud.admin, &args).unwrap();
        rows[0]["State"] == "down"
    });
    lab.resume_service(site, name).unwrap();
    wait_for("it to go on", is_ready);
    // Cut off from all others, a zone still serves those in it, and can be looked at.
    lab.isolate(site).unwrap();
    for service in ["keystone", "cinder-api", "rabbitmq", "mariadb", name] {
        assert!(
            matches!(state(&lab, site, service), ServiceState::Ready { .. }),
            "{service}"
        );
    }
    let id = create(&cloud, &[]);
    lab.heal(site).unwrap();
    delete(&cloud, &id);
}

#[test]
fn a_zone_killed_as_a_whole_comes_back_with_its_volumes() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let site = Site::ZoneA;
    let cloud = lab.openstack(site).unwrap();
    let id = create(&cloud, &[]);
    lab.kill(site).unwrap();
    let dead = lab.status().unwrap().sites.remove(&site).unwrap();
    assert!(dead.services.len() >= 11);
    assert!(
        dead.services.values().all(|s| *s == ServiceState::Dead),
        "{dead:?}"
    );
    let quick = cloud.clone().deadline(Duration::from_secs(30));
    assert!(
        quick
            .openstack(&quick.member, &["volume", "show", &id])
            .is_err()
    );

    lab.start(site).unwrap();
    assert!(
        lab.status().unwrap().is_healthy(),
        "{}",
        lab.status().unwrap()
    );
    assert_eq!(show(&cloud, &id)["status"], "available");
    assert!(has_image(&lab, site, &id));
    // And it works: this needs all of them, from the token to the image.
    let second = create(&cloud, &[]);
    for id in [id, second] {
        delete(&cloud, &id);
    }
}

#[test]
fn two_backends_run_side_by_side_and_the_next_test_finds_the_usual_one() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let site = Site::ZoneA;
    let cinder = lab.cinder(site).unwrap();
    let usual = cinder.backends().unwrap();
    let both = [
        cinder.upstream("plain").set("rbd_max_clone_depth", "3"),
        cinder.upstream_replicated("mirrored"),
    ];
    cinder.configure(&both).unwrap();
    assert_eq!(cinder.backends().unwrap(), both);
    let pid = lab.pid(site, "cinder-volume").unwrap();
    cinder.configure(&both).unwrap();
    assert_eq!(
        lab.pid(site, "cinder-volume").unwrap(),
        pid,
        "the same again restarts nothing"
    );

    let cloud = lab.openstack(site).unwrap();
    let kind = replicated_type(&cloud, "mirrored");
    let id = create(&cloud, &["--type", &kind]);
    let shown = cloud
        .openstack_json(&cloud.admin, &["volume", "show", &id])
        .unwrap();
    assert_eq!(
        shown["os-vol-host-attr:host"], "zone-a@mirrored#mirrored",
        "{shown}"
    );
    assert_eq!(shown["replication_status"], "enabled", "{shown}");
    let info = lab
        .rbd(site, &["info", &format!("volumes/volume-{id}")])
        .unwrap();
    assert!(info.contains("mirroring primary: true"), "{info}");
    delete(&cloud, &id);
    wait_for("its image to go", || !has_image(&lab, site, &id));

    let error = cinder.configure(&[]).unwrap_err();
    assert!(error.to_string().contains("needs a backend"), "{error}");
    drop(cinder);
    drop(lab);
    let next = Lab::for_tests_with_cinder().unwrap();
    assert_eq!(next.cinder(site).unwrap().backends().unwrap(), usual);
}

#[test]
fn a_failover_is_undone_for_the_next_test_and_a_reset_empties_the_catalogue() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let site = Site::ZoneB;
    let cinder = lab.cinder(site).unwrap();
    cinder
        .configure(&[cinder.upstream_replicated("mirrored")])
        .unwrap();
    let cloud = lab.openstack(site).unwrap();
    let kind = replicated_type(&cloud, "mirrored");
    let id = create(&cloud, &["--type", &kind]);
    wait_for("the volume to be mirrored", || {
        has_image(&lab, Site::ZoneA, &id)
    });
    cloud
        .cinder(
            &cloud.admin,
            &["failover-host", "zone-b@mirrored", "--backend_id", "zone-a"],
        )
        .unwrap();
    let status = |cloud: &OpenStack| {
        let args = ["volume", "service", "list", "--service", "cinder-volume"];
        cloud.openstack_json(&cloud.admin, &args).unwrap()[0].clone()
    };
    wait_for("the failover", || {
        let shown = cloud
            .openstack_json(&cloud.admin, &["volume", "show", &id])
            .unwrap();
        assert_ne!(shown["status"], "error", "{shown}");
        shown["replication_status"] == "failed-over"
    });
    assert_eq!(status(&cloud)["Status"], "disabled");
    drop(cinder);
    drop(lab);

    let next = Lab::for_tests_with_cinder().unwrap();
    let cloud = next.openstack(site).unwrap();
    let row = status(&cloud);
    assert_eq!(
        (&row["Host"], &row["Status"]),
        (&"zone-b@rbd".into(), &"enabled".into()),
        "{row}"
    );
    next.reset_volumes(Duration::from_secs(150)).unwrap();
    let all = ["volume", "list", "--all-projects"];
    assert_eq!(
        cloud.openstack_json(&cloud.admin, &all).unwrap(),
        Value::Array(vec![])
    );
    assert!(
        cloud
            .openstack(&cloud.admin, &["volume", "type", "show", &kind])
            .is_err()
    );
    let id = create(&cloud, &[]);
    assert!(has_image(&next, site, &id));
    delete(&cloud, &id);
}

#[test]
fn a_cinder_volume_that_found_no_ceph_is_not_ready_and_the_next_test_finds_it_well() {
    let lab = Lab::for_tests_with_cinder().unwrap();
    let (site, name) = (Site::ZoneA, "cinder-volume");
    let begun = || {
        let log = std::fs::read_to_string(lab.log_path(site, name)).unwrap();
        log.matches("Starting volume driver").count()
    };
    for service in ["mon", "osd"] {
        lab.kill_service(site, service).unwrap();
    }
    let before = begun();
    lab.cinder(site).unwrap().restart_volume().unwrap();
    // By then it has written its row in the table of services, and is at its driver.
    wait_for("it to look for Ceph", || begun() > before);
    assert!(
        matches!(state(&lab, site, name), ServiceState::NotReady { .. }),
        "{:?}",
        state(&lab, site, name)
    );
    drop(lab);

    let next = Lab::for_tests_with_cinder().unwrap();
    assert!(
        next.status().unwrap().is_healthy(),
        "{}",
        next.status().unwrap()
    );
}
