//! The lab itself, on real Ceph and real etcd. Each test has a lab of its own: these are about what a
//! lab does to its machine, and several at once must not disturb each other.

// The helpers of a test fail as the test does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rekindle_lab::{
    Lab, LabError, LabOptions, NetMode, OnStart, ServiceState, Site, SiteStatus, Spawn,
};

const MIRROR: Duration = Duration::from_secs(120);

fn own() -> Lab {
    Lab::own(LabOptions::default()).unwrap()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn reaches(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
}

/// From inside a site: whether the other site's etcd port takes a connection.
fn site_reaches(lab: &Lab, from: Site, to: Site) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/2379", lab.addr(to));
    lab.run(
        from,
        "timeout",
        &["2", "bash", "-c", &script],
        Duration::from_secs(10),
    )
    .is_ok()
}

fn state(lab: &Lab, site: Site, service: &str) -> ServiceState {
    let status = lab.status().unwrap();
    let SiteStatus { services, .. } = &status.sites[&site];
    services[service].clone()
}

fn is_ready(lab: &Lab, site: Site, service: &str) -> bool {
    matches!(state(lab, site, service), ServiceState::Ready { .. })
}

fn pids(lab: &Lab) -> Vec<u32> {
    let names = ["etcd", "mon", "osd", "mgr", "rbd-mirror"];
    Site::ALL
        .into_iter()
        .flat_map(|site| names.map(|name| lab.pid(site, name).unwrap()))
        .flatten()
        .collect()
}

fn ip(args: &[&str]) -> String {
    let out = Command::new("ip").args(args).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn up_twice_is_once_and_down_leaves_nothing() {
    let lab = own();
    let env = lab.env();
    let before = pids(&lab);
    assert_eq!(
        before.len(),
        11,
        "two zones of five services and a witness of one"
    );
    let (netns, host) = (
        env.sites[&Site::ZoneA].netns.clone().unwrap(),
        lab.host_addr().to_string(),
    );
    assert!(ip(&["netns"]).contains(&netns));
    assert!(ip(&["-4", "addr"]).contains(&host));

    let again = Lab::up(lab.root(), LabOptions::default()).unwrap();
    assert_eq!(pids(&again), before, "what runs is left alone");
    assert!(again.status().unwrap().is_healthy());

    let begin = Instant::now();
    lab.down().unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    for pid in before {
        assert!(
            !Path::new(&format!("/proc/{pid}/ns")).exists(),
            "pid {pid} is still there"
        );
    }
    assert!(!ip(&["netns"]).contains(&netns));
    assert!(!ip(&["-4", "addr"]).contains(&host));
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&netns), "{mounts}");
    assert!(!lab.root().join("zone-a").exists());
    assert!(matches!(Lab::open(lab.root()), Err(LabError::NoLab { .. })));
    lab.down().unwrap();
}

#[test]
fn a_killed_zone_comes_back_with_its_data_and_mirrors_again() {
    let lab = own();
    let image = ["volumes/kept"];
    lab.rbd(
        Site::ZoneA,
        &[
            "create",
            "-s",
            "16M",
            "--image-feature",
            "exclusive-lock",
            image[0],
        ],
    )
    .unwrap();
    let write = ["bench", "--io-type", "write", "--io-total", "4M", image[0]];
    lab.rbd(Site::ZoneA, &write).unwrap();
    let md5 = |lab: &Lab| {
        let script = format!(
            "rbd -c {} export {} - 2>/dev/null | md5sum",
            lab.zone(Site::ZoneA).unwrap().ceph_conf.display(),
            image[0]
        );
        lab.run(
            Site::ZoneA,
            "bash",
            &["-c", &script],
            Duration::from_secs(30),
        )
        .unwrap()
    };
    let written = md5(&lab);

    // A process with a child, as a sidecar that starts something, and one that is not to come back.
    let sleeper = Spawn::new("bash").args(["-c", "sleep 1000 & echo $! > $OUT; wait"]);
    let out = lab.root().join("child");
    let spawned = sleeper.env("OUT", out.to_string_lossy());
    let parent = lab.spawn(Site::ZoneA, "sidecar", &spawned).unwrap();
    let once = Spawn::new("sleep").arg("1000").on_start(OnStart::Leave);
    lab.spawn(Site::ZoneA, "once", &once).unwrap();
    wait_for("the child's pid", || {
        fs::read_to_string(&out).is_ok_and(|t| t.ends_with('\n'))
    });
    let child: u32 = fs::read_to_string(&out).unwrap().trim().parse().unwrap();

    lab.kill(Site::ZoneA).unwrap();
    for pid in [parent, child] {
        assert!(
            !Path::new(&format!("/proc/{pid}/ns/net")).exists() || is_zombie(pid),
            "{pid}"
        );
    }
    let status = lab.status().unwrap();
    assert!(
        status.sites[&Site::ZoneA]
            .services
            .values()
            .all(|s| *s == ServiceState::Dead)
    );
    assert!(
        is_ready(&lab, Site::ZoneB, "osd"),
        "the other zone is not touched"
    );
    wait_for("a leader among the others", || {
        lab.etcdctl(Site::ZoneB, &["put", "alone", "yes"]).is_ok()
    });

    let begin = Instant::now();
    lab.start(Site::ZoneA).unwrap();
    let serves = begin.elapsed();
    assert_eq!(md5(&lab), written, "the data survived SIGKILL");
    let read = lab
        .etcdctl(Site::ZoneA, &["get", "alone", "--print-value-only"])
        .unwrap();
    assert_eq!(read.trim(), "yes");
    assert!(
        lab.pid(Site::ZoneA, "sidecar")
            .unwrap()
            .is_some_and(|pid| pid != parent)
    );
    assert_eq!(lab.pid(Site::ZoneA, "once").unwrap(), None);
    lab.wait_mirroring(MIRROR).unwrap();
    eprintln!(
        "serves after {serves:?}, mirrors both ways after {:?}",
        begin.elapsed()
    );
    // 12 s when nothing else runs; 100 s with Ceph's defaults.
    assert!(
        begin.elapsed() < Duration::from_secs(75),
        "{:?}",
        begin.elapsed()
    );
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn an_isolated_zone_reaches_nobody_and_works_inside() {
    let lab = own();
    let mon = lab.zone(Site::ZoneA).unwrap().mon_addrs[0];
    assert!(reaches(mon));
    assert!(site_reaches(&lab, Site::ZoneA, Site::ZoneB));

    lab.isolate(Site::ZoneA).unwrap();
    assert!(!reaches(mon), "the host must not reach it");
    for other in [Site::ZoneB, Site::Witness] {
        assert!(!site_reaches(&lab, Site::ZoneA, other));
        assert!(!site_reaches(&lab, other, Site::ZoneA));
    }
    assert!(
        site_reaches(&lab, Site::ZoneB, Site::Witness),
        "the others still reach each other"
    );
    assert!(
        site_reaches(&lab, Site::ZoneA, Site::ZoneA),
        "it still reaches itself"
    );
    lab.rbd(
        Site::ZoneA,
        &["create", "-s", "1M", "volumes/written-alone"],
    )
    .unwrap();
    let status = lab.status().unwrap();
    assert!(status.sites[&Site::ZoneA].isolated && !status.is_healthy());
    // Two of three members are a majority; one is none.
    wait_for("a new leader", || {
        lab.etcdctl(Site::ZoneB, &["put", "k", "v"]).is_ok()
    });
    assert!(
        lab.etcdctl(Site::ZoneA, &["put", "k", "w"]).is_err(),
        "a minority must not write"
    );

    lab.heal(Site::ZoneA).unwrap();
    lab.heal(Site::ZoneA).unwrap();
    wait_for("the host to reach it", || reaches(mon));
    lab.wait_mirroring(MIRROR).unwrap();
    wait_for("etcd of zone-a to catch up", || {
        let read = lab.etcdctl(Site::ZoneA, &["get", "k", "--print-value-only"]);
        read.is_ok_and(|v| v.trim() == "v")
    });
    assert!(lab.status().unwrap().is_healthy());
}

#[test]
fn a_partition_cuts_one_line_only() {
    let lab = own();
    lab.partition(Site::ZoneA, Site::ZoneB).unwrap();
    assert!(!site_reaches(&lab, Site::ZoneA, Site::ZoneB));
    assert!(!site_reaches(&lab, Site::ZoneB, Site::ZoneA));
    for zone in Site::ZONES {
        assert!(site_reaches(&lab, zone, Site::Witness));
        assert!(reaches(lab.zone(zone).unwrap().mon_addrs[0]));
    }
    assert_eq!(
        lab.status().unwrap().sites[&Site::ZoneA].cut_off_from,
        [Site::ZoneB]
    );
    assert!(lab.partition(Site::ZoneA, Site::ZoneA).is_err());

    lab.heal_partition(Site::ZoneB, Site::ZoneA).unwrap();
    lab.heal_partition(Site::ZoneB, Site::ZoneA).unwrap();
    wait_for("the line", || site_reaches(&lab, Site::ZoneA, Site::ZoneB));
    lab.wait_mirroring(MIRROR).unwrap();
}

#[test]
fn one_service_can_be_killed_paused_and_brought_back_and_one_test_at_a_time_borrows_the_lab() {
    let lab = own();
    lab.kill_service(Site::ZoneB, "rbd-mirror").unwrap();
    assert_eq!(state(&lab, Site::ZoneB, "rbd-mirror"), ServiceState::Dead);
    assert!(is_ready(&lab, Site::ZoneB, "osd"));
    lab.pause_service(Site::Witness, "etcd").unwrap();
    assert!(matches!(
        state(&lab, Site::Witness, "etcd"),
        ServiceState::Paused { .. }
    ));
    assert!(
        lab.etcdctl(Site::Witness, &["get", "x"]).is_err(),
        "a paused member answers nobody"
    );
    lab.resume_service(Site::Witness, "etcd").unwrap();
    wait_for("the member", || {
        lab.etcdctl(Site::Witness, &["get", "x"]).is_ok()
    });
    let unknown = lab.kill_service(Site::Witness, "osd").unwrap_err();
    assert!(unknown.to_string().contains("it has etcd"), "{unknown}");

    // Left broken in every way: whoever borrows the lab gets it whole.
    lab.isolate(Site::ZoneA).unwrap();
    lab.partition(Site::ZoneB, Site::Witness).unwrap();
    lab.pause(Site::Witness).unwrap();
    lab.spawn(Site::ZoneB, "left-over", &Spawn::new("sleep").arg("1000"))
        .unwrap();
    lab.ceph(Site::ZoneB, &["osd", "blocklist", "add", "10.9.9.9:0/1"])
        .unwrap();
    let borrowed = Lab::borrow(lab.root()).unwrap().unwrap();
    assert!(borrowed.status().unwrap().is_healthy());
    assert_eq!(borrowed.pid(Site::ZoneB, "left-over").unwrap(), None);
    let fences = borrowed
        .ceph(Site::ZoneB, &["osd", "blocklist", "ls"])
        .unwrap();
    assert!(!fences.contains("10.9.9.9"), "{fences}");
    assert!(
        Lab::borrow(lab.root()).unwrap().is_none(),
        "it is lent already"
    );
    borrowed
        .rbd(Site::ZoneA, &["create", "-s", "1M", "volumes/rubbish"])
        .unwrap();
    borrowed.reset_volumes(MIRROR).unwrap();
    assert_eq!(
        borrowed
            .rbd(Site::ZoneA, &["ls", "volumes"])
            .unwrap()
            .trim(),
        ""
    );
    drop(borrowed);
    assert!(Lab::borrow(lab.root()).unwrap().is_some());
}

#[test]
fn a_lab_whose_test_failed_is_made_anew_for_the_next_and_its_logs_are_kept() {
    let lab = own();
    let has = |lab: &Lab, image: &str| {
        let images = lab.rbd(Site::ZoneA, &["ls", "volumes"]).unwrap();
        images.lines().any(|l| l == image)
    };
    let borrowed = Lab::borrow(lab.root()).unwrap().unwrap();
    borrowed
        .rbd(Site::ZoneA, &["create", "-s", "1M", "volumes/rubbish"])
        .unwrap();
    drop(borrowed);
    let failed = std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            let borrowed = Lab::borrow(lab.root()).unwrap().unwrap();
            assert!(!has(&borrowed, "rubbish"), "as the last one left it");
        });
        test.join().is_err()
    });
    assert!(failed, "a good end leaves the images");
    let borrowed = Lab::borrow(lab.root()).unwrap().unwrap();
    assert!(borrowed.status().unwrap().is_healthy());
    assert!(!has(&borrowed, "rubbish"), "made anew");
    assert!(lab.root().join("log-before/zone-a/mon.log").is_file());
    borrowed
        .rbd(Site::ZoneA, &["create", "-s", "1M", "volumes/rubbish"])
        .unwrap();
    borrowed.doubt();
    drop(borrowed);
    let borrowed = Lab::borrow(lab.root()).unwrap().unwrap();
    assert!(!has(&borrowed, "rubbish"), "made anew");
}

#[test]
fn only_certificates_of_the_labs_ca_open_etcd() {
    let lab = own();
    let get = |ca: &Path, certs: &rekindle_lab::Certs| {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &lab.etcd_endpoints(Site::Witness).join(",")])
            .args(["--dial-timeout", "2s", "--command-timeout", "4s"])
            .arg(format!("--cacert={}", ca.display()))
            .arg(format!("--cert={}", certs.cert.display()))
            .arg(format!("--key={}", certs.key.display()))
            .args(["get", "x"])
            .output()
            .unwrap()
            .status
            .success()
    };
    let (operator, stranger) = (lab.operator_certs(), lab.stranger_certs());
    assert!(
        get(&operator.ca, &operator),
        "from the host, through mutual TLS"
    );
    assert!(get(&lab.certs(Site::ZoneA).ca, &lab.certs(Site::ZoneA)));
    assert!(
        !get(&operator.ca, &stranger),
        "the server must refuse a stranger"
    );
    assert!(
        !get(&stranger.ca, &operator),
        "the client must refuse a server it does not know"
    );
}

#[test]
fn without_root_all_is_on_loopback_and_nothing_can_be_cut() {
    let options = LabOptions {
        net: NetMode::Loopback,
        ..LabOptions::default()
    };
    let lab = Lab::own(options).unwrap();
    assert!(lab.addr(Site::ZoneB).is_loopback());
    for refused in [
        lab.isolate(Site::ZoneA),
        lab.partition(Site::ZoneA, Site::ZoneB),
    ] {
        assert!(
            matches!(refused, Err(LabError::NeedsRoot { .. })),
            "{refused:?}"
        );
    }
    let first = lab.free_port(Site::ZoneA).unwrap();
    assert_ne!(lab.free_port(Site::ZoneA).unwrap(), first);
    lab.kill(Site::ZoneB).unwrap();
    assert!(!reaches(lab.zone(Site::ZoneB).unwrap().mon_addrs[0]));
    assert!(
        reaches(lab.zone(Site::ZoneA).unwrap().mon_addrs[0]),
        "the other zone is not touched"
    );
    lab.start(Site::ZoneB).unwrap();
    lab.wait_mirroring(MIRROR).unwrap();
}
