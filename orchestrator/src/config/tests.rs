use super::*;

const GOOD: &str = r#"
site = "zone-a"
[sites]
zone-a = "https://192.0.2.10:7400"
zone-b = "https://192.0.2.20:7400"
witness = "https://192.0.2.30:7400"
[zones.zone-a]
sidecar = "https://192.0.2.10:7300"
ceph_mons = ["192.0.2.10:3300"]
[zones.zone-b]
sidecar = "https://192.0.2.20:7300"
ceph_mons = ["192.0.2.20:3300", "[2001:db8::1]:3300"]
[listen]
unix = "/run/rekindle-orchestrator/orchestrator.sock"
tcp = "192.0.2.10:7400"
tls = { ca = "/etc/r/ca.pem", cert = "/etc/r/o.pem", key = "/etc/r/o.key" }
[etcd]
endpoints = ["https://192.0.2.10:2379"]
tls = { ca = "/etc/r/ca.pem", cert = "/etc/r/o.pem", key = "/etc/r/o.key" }
[applications.Shop]
command = ["/usr/local/bin/shop"]
timeout = "2m"
[clouds.zone-a]
auth_url = "https://192.0.2.10:5000/v3"
username = "rekindle"
password_file = "/etc/rekindle/cloud-a.secret"
project = "service"
backends = { Volumes = "host@ceph#ceph" }
[clouds.zone-b]
auth_url = "https://192.0.2.20:5000/v3"
application_credential_id = "6c0f"
application_credential_secret_file = "/etc/rekindle/cloud-b.secret"
[catalogue]
mapping = "/etc/rekindle/mapping.toml"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orchestrator.toml");
    std::fs::write(&path, text).unwrap();
    Config::load_file(&path)
}

#[test]
fn the_example_is_good_and_names_keep_their_case() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.applications["Shop"].timeout, Span::secs(120));
    assert_eq!(config.times, Times::default());
    let cloud = &config.clouds[&ZoneName::new("zone-a").unwrap()];
    assert_eq!(cloud.host_of_pool("Volumes"), Some("host@ceph#ceph"));
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, field) in [
        ("site = \"zone-a\"", "site = \"elsewhere\"", "sites"),
        ("witness = \"https://192.0.2.30:7400\"\n", "", "sites"),
        ("zone-b = \"https:", "zone-b = \"http:", "sites.zone-b"),
        (
            "sidecar = \"https://192.0.2.20",
            "sidecar = \"tcp://192.0.2.20",
            "zones.zone-b.sidecar",
        ),
        (
            "ceph_mons = [\"192.0.2.10:3300\"]",
            "ceph_mons = []",
            "zones.zone-a.ceph_mons",
        ),
        (
            "[\"192.0.2.10:3300\"]",
            "[\"192.0.2.10\"]",
            "zones.zone-a.ceph_mons",
        ),
        (
            "command = [\"/usr/local/bin/shop\"]",
            "command = []",
            "applications.Shop.command",
        ),
        (
            "[\"/usr/local/bin/shop\"]",
            "[\"shop\"]",
            "applications.Shop.command",
        ),
        (
            "timeout = \"2m\"",
            "timeout = \"0s\"",
            "applications.Shop.timeout",
        ),
        (
            "[etcd]",
            "[times]\nview_ttl = \"2s\"\n[etcd]",
            "times.view_ttl",
        ),
        (
            "[etcd]",
            "[times]\nleader_ttl = \"1500ms\"\n[etcd]",
            "times.leader_ttl",
        ),
        (
            "[etcd]",
            "[times]\nleader_safety = \"9s\"\n[etcd]",
            "times.leader_safety",
        ),
        (
            "[etcd]",
            "[times]\nobserve = \"0s\"\n[etcd]",
            "times.observe",
        ),
        (
            "[etcd]",
            "[times]\nmax_skew = \"1h\"\n[etcd]",
            "times.max_skew",
        ),
        (
            "tcp = \"192.0.2.10:7400\"",
            "metrics = \"192.0.2.10:9000\"",
            "listen.metrics",
        ),
        (
            "tcp = \"192.0.2.10:7400\"",
            "unix_mode = \"rw\"",
            "listen.unix_mode",
        ),
        ("[clouds.zone-b]", "[clouds.zone-c]", "clouds.zone-c"),
        ("project = \"service\"\n", "", "clouds.zone-a.project"),
        (
            "host@ceph#ceph",
            "host@ceph",
            "clouds.zone-a.backends.Volumes",
        ),
        (
            "[etcd]",
            "[times]\ncatalogue = \"100ms\"\n[etcd]",
            "times.catalogue",
        ),
        (
            "[etcd]",
            "[times]\nservers = \"2h\"\n[etcd]",
            "times.servers",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        match load(&GOOD.replacen(from, to, 1)) {
            Err(ConfigError::Field { field: got, .. }) => assert_eq!(got, field),
            other => panic!("{to:?}: {other:?}"),
        }
    }
}

#[test]
fn unknown_fields_and_bad_durations_are_refused() {
    for (from, to, word) in [
        ("site = ", "sight = \"x\"\nsite = ", "sight"),
        ("[etcd]", "[times]\ndecide = \"soon\"\n[etcd]", "soon"),
        ("[zones.zone-a]", "[zones.zone-a]\nmons = []", "mons"),
    ] {
        let e = load(&GOOD.replacen(from, to, 1)).unwrap_err();
        let text = format!("{e}: {}", std::error::Error::source(&e).unwrap());
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn hard_case_13_files_that_disagree_are_told_apart() {
    let a = load(GOOD).unwrap();
    let other = GOOD.replacen("site = \"zone-a\"", "site = \"zone-b\"", 1);
    assert_eq!(cross_check(&a, &load(&other).unwrap()), []);
    for (from, to, field) in [
        ("site = \"zone-b\"", "site = \"zone-a\"", "site"),
        (
            "witness = \"https://192.0.2.30",
            "witness = \"https://192.0.2.31",
            "sites.witness",
        ),
        ("witness", "arbiter", "sites.arbiter"),
        (
            "ceph_mons = [\"192.0.2.10:3300\"]",
            "ceph_mons = [\"192.0.2.10:3300\", \"192.0.2.11:3300\"]",
            "zones.zone-a.ceph_mons",
        ),
        (
            "endpoints = [\"https://192.0.2.10",
            "endpoints = [\"https://192.0.2.99",
            "etcd.endpoints",
        ),
        (
            "[applications.Shop]",
            "[applications.store]",
            "applications.Shop",
        ),
        (
            "host@ceph#ceph",
            "other@ceph#ceph",
            "clouds.zone-a.backends",
        ),
        (
            "project = \"service\"",
            "project = \"service\"\nregion = \"R\"",
            "clouds.zone-a.region",
        ),
        (
            "[catalogue]\nmapping = \"/etc/rekindle/mapping.toml\"",
            "",
            "catalogue",
        ),
    ] {
        let b = load(&other.replacen(from, to, 1)).unwrap();
        let found = cross_check(&a, &b);
        assert!(found.iter().any(|d| d.field == field), "{field}: {found:?}");
    }
}

#[test]
fn a_zones_cloud_is_named_in_one_of_three_ways() {
    let own = "auth_url = \"https://192.0.2.20:5000/v3\"\napplication_credential_id = \"6c0f\"\napplication_credential_secret_file = \"/etc/rekindle/cloud-b.secret\"\n";
    assert!(GOOD.contains(own));
    let a = load(&GOOD.replacen(
        "project = \"service\"",
        "project = \"service\"\nregion = \"R\"",
        1,
    ))
    .unwrap();
    for other in [
        "clouds_yaml = \"/etc/openstack/clouds.yaml\"\ncloud = \"b\"\n",
        "environment = \"ZONE_B_OS_\"\n",
    ] {
        load(&GOOD.replacen(own, other, 1)).unwrap();
        match load(&GOOD.replacen(own, &format!("{own}{other}"), 1)) {
            Err(ConfigError::Field { field, why }) => {
                assert_eq!(field, "clouds.zone-b.auth_url", "{why}");
            }
            unexpected => panic!("{unexpected:?}"),
        }
        // Another site may have it otherwise: its region is not in this file.
        let from = GOOD.find("auth_url = \"https://192.0.2.10").unwrap();
        let to = GOOD.find("backends = ").unwrap();
        let text = format!("{}{other}{}", &GOOD[..from], &GOOD[to..]);
        let b = load(&text.replacen("site = \"zone-a\"", "site = \"zone-b\"", 1)).unwrap();
        assert_eq!(cross_check(&a, &b), []);
    }
}

#[test]
fn a_catalogue_needs_every_zones_cloud() {
    let from = GOOD.find("[clouds.zone-b]").unwrap();
    let to = GOOD.find("[catalogue]").unwrap();
    let text = format!("{}{}", &GOOD[..from], &GOOD[to..]);
    match load(&text) {
        Err(ConfigError::Field { field, .. }) => assert_eq!(field, "clouds.zone-b"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mapping_is_read_and_all_that_is_wrong_with_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mapping.toml");
    let mut config = load(GOOD).unwrap();
    config.catalogue = Some(CatalogueConfig {
        mapping: path.clone(),
    });
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("same_name = [\"projects\"]\n[[types]]\nzone-a = \"fast\"\nzone-b = \"slow\"\n");
    let mapping = config.mapping().unwrap().unwrap();
    assert_eq!(mapping.types.len(), 1);

    write("[[types]]\nzone-a = \"fast\"\n[[projects]]\nzone-a = \"p\"\nzone-c = \"p\"\n");
    let e = config.mapping().unwrap_err().to_string();
    for word in [
        "types[0]: name it in both",
        "projects[0].zone-c: there is no such zone",
    ] {
        assert!(e.contains(word), "{e}");
    }
    for wrong in ["same_name = [\"servers\"]", "[[typos]]\n", "types = 1"] {
        write(wrong);
        let e = config.mapping().unwrap_err();
        assert!(matches!(e, ConfigError::ReadMapping { .. }), "{e:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let e = config.mapping().unwrap_err();
    assert!(e.to_string().starts_with("catalogue.mapping: "), "{e}");
    config.catalogue = None;
    assert_eq!(config.mapping().unwrap(), None);
}

/// What the module's documentation shows is what people copy.
#[test]
fn the_documented_file_is_good() {
    let documented: Vec<&str> = include_str!("../config.rs")
        .lines()
        .skip_while(|l| *l != "//! ```toml")
        .skip(1)
        .take_while(|l| *l != "//! ```")
        .map(|l| l.trim_start_matches("//!"))
        .collect();
    assert!(documented.len() > 10);
    let text = documented.join("\n");
    load(&text).unwrap_or_else(|e| panic!("{e:?}"));
}
