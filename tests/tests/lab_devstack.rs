//! The DevStack plugin, its phases called as DevStack calls them, against a zone of the lab.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_lab::{Lab, Site, Zone};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn mons(zone: &Zone) -> String {
    let all: Vec<String> = zone.mon_addrs.iter().map(ToString::to_string).collect();
    all.join(",")
}

/// A host that DevStack runs on.
struct Host {
    dir: tempfile::TempDir,
    settings: BTreeMap<&'static str, String>,
}

/// What is left running is stopped, however the test ends.
impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.run(&["unstack"]);
    }
}

impl Host {
    fn new(lab: &Lab) -> Self {
        let dir = tempfile::tempdir_in(lab.root()).unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (a, b) = (
            lab.zone(Site::ZoneA).unwrap(),
            lab.zone(Site::ZoneB).unwrap(),
        );
        let certs = lab.certs(Site::ZoneA);
        // TARGET/PROFILE/deps/TEST
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(Path::parent).unwrap();
        let port = |_| lab.free_port(Site::ZoneA).unwrap().to_string();
        let mut settings = BTreeMap::from([
            ("HARNESS_DIR", at("state")),
            ("HOST_IP", lab.addr(Site::ZoneA).to_string()),
            ("REKINDLE_PEER_HOST", lab.addr(Site::ZoneB).to_string()),
            ("REKINDLE_WITNESS_HOST", lab.addr(Site::Witness).to_string()),
            ("REKINDLE_DRIVER_PORT", port(())),
            ("REKINDLE_ORCHESTRATOR_PORT", port(())),
            (
                "REKINDLE_ETCD_ENDPOINTS",
                lab.etcd_endpoints(Site::ZoneA).join(","),
            ),
            ("REKINDLE_CA", certs.ca.display().to_string()),
            ("REKINDLE_CERT", certs.cert.display().to_string()),
            ("REKINDLE_KEY", certs.key.display().to_string()),
            ("REKINDLE_CEPH_CONF", a.ceph_conf.display().to_string()),
            ("REKINDLE_CEPH_USER", a.sidecar_id.to_owned()),
            ("REKINDLE_CEPH_MONS", mons(&a)),
            ("REKINDLE_PEER_CEPH_CONF", b.ceph_conf.display().to_string()),
            ("REKINDLE_PEER_CEPH_MONS", mons(&b)),
            ("REKINDLE_POOL", a.pool.to_owned()),
            ("REKINDLE_CONF_DIR", at("etc")),
            ("REKINDLE_BIN_DIR", at("bin")),
            ("REKINDLE_RUN_DIR", at("run")),
            ("REKINDLE_BUILT_DIR", built.display().to_string()),
        ]);
        let netns = lab.env().sites.remove(&Site::ZoneA).and_then(|s| s.netns);
        settings.insert("HARNESS_NETNS", netns.unwrap_or_default());
        Self { dir, settings }
    }

    fn run(&self, phases: &[&str]) -> Output {
        Command::new(repository().join("devstack/tests/harness.sh"))
            .args(phases)
            .envs(&self.settings)
            .output()
            .unwrap()
    }

    fn must(&self, phases: &[&str]) -> String {
        let ran = self.run(phases);
        let words = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        assert!(ran.status.success(), "{phases:?}: {words}");
        words
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `rekindle status` through the file that the plugin wrote.
    fn status(&self) -> serde_json::Value {
        let asked = Command::new(self.path("bin/rekindle"))
            .arg("--config")
            .arg(self.path("etc/cli.toml"))
            .args(["--output", "json", "status"])
            .output()
            .unwrap();
        serde_json::from_slice(&asked.stdout).unwrap_or_default()
    }
}

#[test]
fn the_phases_bring_a_zone_up_and_take_it_away_again() {
    let lab = Lab::for_tests().unwrap();
    let host = Host::new(&lab);
    let words = host.must(&["stack"]);
    assert!(
        words.contains("summary: Configuring and starting Rekindle"),
        "{words}"
    );
    let cinder = host.read("state/cinder.conf");
    for line in [
        "[rekindle]".to_owned(),
        "volume_driver = rekindle_cinder.driver.RekindleRBDDriver".to_owned(),
        format!(
            "rekindle_socket = {}",
            host.path("run/driver.sock").display()
        ),
        format!(
            "replication_device = backend_id:zone-b,conf:{},user:cinder",
            lab.zone(Site::ZoneB).unwrap().ceph_conf.display()
        ),
        "enabled_backends = rekindle".to_owned(),
    ] {
        assert!(
            cinder.lines().any(|l| l == line),
            "{line} is not in:\n{cinder}"
        );
    }
    assert!(host.read("state/pip").contains("driver/shim"));
    // Nobody named the other zone's Keystone.
    assert!(!host.read("etc/orchestrator.toml").contains("clouds"));
    assert!(!host.path("state/accounts").exists());
    let calls = host.read("state/openstack");
    assert!(
        calls.contains(
            "--property rekindle:mode=periodic --property rekindle:interval=15m rekindle-periodic"
        ),
        "{calls}"
    );

    // The daemons run on what the plugin wrote: the orchestrator leads, and the sidecar tells of the zone's cluster.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let status = host.status();
        let zone = &status["zones"][0]["report"];
        if status["leader"]["site"] == "zone-a" && zone["ceph"]["writable"] == "yes" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{status:#}");
        std::thread::sleep(Duration::from_millis(200));
    }

    // Again over what is there, as after a failed stack.sh: the types are there, the daemons are started anew.
    let first = host.read("state/pids/rekindle-driver");
    host.must(&["stack"]);
    assert_ne!(first, host.read("state/pids/rekindle-driver"));
    assert_eq!(host.read("state/types").lines().count(), 3);

    host.must(&["unstack"]);
    assert!(!host.path("state/pids/rekindle-driver").exists());
    assert!(
        host.path("etc/driver.toml").exists(),
        "unstack leaves the configuration"
    );
    host.must(&["clean"]);
    assert!(!host.path("etc").exists() && !host.path("bin/rekindle").exists());
}

#[test]
fn with_the_other_zones_keystone_named_the_orchestrator_is_told_of_both_clouds() {
    let lab = Lab::for_tests().unwrap();
    let mut host = Host::new(&lab);
    for (name, value) in [
        ("KEYSTONE_SERVICE_URI", "http://192.0.2.10/identity"),
        ("REKINDLE_PEER_AUTH_URL", "http://192.0.2.20/identity/v3"),
        ("REKINDLE_PEER_CINDER_POOL", "host-b@rekindle#rekindle"),
        ("SERVICE_PASSWORD", "a \"word\""),
        ("REKINDLE_CLOUD_PROJECTS", "shop,demo"),
    ] {
        host.settings.insert(name, value.to_owned());
    }
    host.must(&["stack"]);
    let file: toml::Table = toml::from_str(&host.read("etc/orchestrator.toml")).unwrap();
    let clouds = &file["clouds"];
    assert_eq!(
        clouds["zone-a"]["auth_url"].as_str(),
        Some("http://192.0.2.10/identity/v3")
    );
    assert_eq!(
        clouds["zone-b"]["auth_url"].as_str(),
        Some("http://192.0.2.20/identity/v3")
    );
    let pool = lab.zone(Site::ZoneA).unwrap().pool;
    let backend = clouds["zone-a"]["backends"][pool].as_str().unwrap();
    assert!(backend.ends_with("@rekindle#rekindle"), "{backend}");
    assert_eq!(
        clouds["zone-b"]["backends"][pool].as_str(),
        Some("host-b@rekindle#rekindle")
    );
    // The secret stands in a file of its own, that only its service reads.
    for zone in ["zone-a", "zone-b"] {
        let path = clouds[zone]["password_file"].as_str().unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap().trim_end(),
            "a \"word\""
        );
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{path}: {mode:o}");
    }
    let config = host.read("etc/orchestrator.toml");
    assert!(
        !config.contains("a \"word") && !config.contains("a \\\"word"),
        "{config}"
    );
    let accounts = host.read("state/accounts");
    for line in [
        "user rekindle in Default",
        "admin for rekindle of Default in service",
        "admin for rekindle of Default in shop",
        "admin for rekindle of Default in demo",
    ] {
        assert!(accounts.lines().any(|l| l == line), "{line}: {accounts}");
    }
    // The programs take both files, and a mapping that somebody wrote stays.
    let check = || {
        let checked = Command::new(host.path("bin/rekindle"))
            .args(["config", "check"])
            .arg(host.path("etc/orchestrator.toml"))
            .arg(host.path("etc/mapping.toml"))
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{words}");
    };
    check();
    let mine = "same_name = [\"types\"]\n[[projects]]\nzone-a = \"shop\"\nzone-b = \"dr\"\n";
    std::fs::write(host.path("etc/mapping.toml"), mine).unwrap();
    host.must(&["unstack", "stack"]);
    assert_eq!(host.read("etc/mapping.toml"), mine);
    check();
}

#[test]
fn a_setting_that_is_missing_or_wrong_stops_before_anything_is_built() {
    let lab = Lab::for_tests().unwrap();
    for (name, value, said) in [
        ("REKINDLE_PEER_HOST", "", "REKINDLE_PEER_HOST"),
        ("REKINDLE_ETCD_ENDPOINTS", "", "REKINDLE_ETCD_ENDPOINTS"),
        ("REKINDLE_PEER_ZONE", "zone-a", "name the two zones"),
        (
            "REKINDLE_PEER_AUTH_URL",
            "http://192.0.2.20/identity/v3",
            "REKINDLE_AUTH_URL REKINDLE_CLOUD_PASSWORD REKINDLE_PEER_CLOUD_PASSWORD REKINDLE_PEER_CINDER_POOL",
        ),
        (
            "REKINDLE_CERT",
            "/no/such/file",
            "/no/such/file cannot be read",
        ),
    ] {
        let mut host = Host::new(&lab);
        host.settings.insert(name, value.to_owned());
        let ran = host.run(&["stack"]);
        let words = String::from_utf8_lossy(&ran.stderr);
        assert!(
            !ran.status.success() && words.contains(said),
            "{name}={value:?}: {words}"
        );
        assert!(!host.path("bin").exists(), "{name}");
    }
    // What only the daemon knows to be wrong is found before it is started.
    let mut host = Host::new(&lab);
    host.settings.insert("REKINDLE_POOL", "a/b".to_owned());
    let ran = host.run(&["stack"]);
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(
        !ran.status.success() && words.contains("driver.toml cannot be used"),
        "{words}"
    );
    assert!(!host.path("state/pids/rekindle-driver").exists());
}
