use super::*;

const GOOD: &str = r#"
zone = "zone-a"
[ceph]
conf = "/etc/ceph/ceph.conf"
pools = ["volumes"]
[listen]
unix = "/run/rekindle/driver.sock"
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn why(e: &ConfigError) -> String {
    let mut all = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(c) = cause {
        all += &format!(": {c}");
        cause = c.source();
    }
    all
}

#[test]
fn a_short_file_is_enough() {
    let c = load(GOOD).unwrap();
    assert_eq!(c.state_pool(), "volumes");
    assert_eq!(c.limits, Limits::default());
    assert_eq!(c.socket_mode(), Some(0o660));
}

#[test]
fn durations_are_written_as_people_write_them() {
    let c = load(&format!("{GOOD}\n[limits]\naction = \"45s\"\n")).unwrap();
    assert_eq!(c.limits.action, Span::secs(45));
}

#[test]
fn a_mistake_is_named_by_its_field() {
    for (change, named) in [
        ("[limits]\nacton = \"3s\"", "acton"),
        ("[limits]\naction = \"soon\"", "soon"),
        ("[limits]\naction = \"70s\"", "http.request_time"),
        ("[limits]\nparallel = 0", "limits.parallel"),
        ("[limits]\ncopies = 9", "limits.copies"),
        ("[limits]\nabandon = \"1s\"", "limits.abandon"),
        ("[http]\nbody = 3", "http"),
        (
            "[failsafe]\nsites = { zone-a = \"https://192.0.2.1:1\" }",
            "failsafe.sites",
        ),
        (
            "[failsafe]\nsites = { zone-b = \"http://192.0.2.1:1\" }",
            "failsafe.sites",
        ),
        (
            "[failsafe]\nsites = { zone-b = \"https://192.0.2.1:1\" }",
            "failsafe.tls",
        ),
        ("[etcd]\nendpoint = []", "endpoint"),
        ("[cinder]\nfailover_time = \"60s\"", "cinder.failover_time"),
        ("[cinder]\ncall_time = \"1ms\"", "cinder.call_time"),
        (
            "[peer]\nzone = \"zone-a\"\nurl = \"https://192.0.2.1:1\"",
            "peer.zone",
        ),
        (
            "[peer]\nzone = \"zone-b\"\nurl = \"http://192.0.2.1:1\"",
            "peer.url",
        ),
        (
            "[peer]\nzone = \"zone-b\"\nurl = \"https://192.0.2.1:1\"\nbackend_id = \"default\"",
            "peer.backend_id",
        ),
        (
            "[peer]\nzone = \"zone-b\"\nurl = \"https://192.0.2.1:1\"",
            "peer.tls",
        ),
    ] {
        let error = load(&format!("{GOOD}\n{change}\n")).unwrap_err();
        assert!(why(&error).contains(named), "{change}: {}", why(&error));
    }
    for (from, to, named) in [
        ("zone-a", "Zone A", "Zone A"),
        ("[\"volumes\"]", "[]", "ceph.pools"),
        ("[\"volumes\"]", "[\"a\", \"a\"]", "ceph.pools"),
        ("[\"volumes\"]", "[\"a/b\"]", "ceph.pools"),
        (
            "unix = \"/run/rekindle/driver.sock\"",
            "unix_mode = \"0660\"",
            "listen",
        ),
        ("unix =", "unix_mode = \"0666\"\nunix =", "listen.unix_mode"),
        ("unix =", "tcp = \"192.0.2.1:1\"\nunix =", "listen.tls"),
        (
            "unix =",
            "metrics = \"192.0.2.1:1\"\nunix =",
            "listen.metrics",
        ),
        (
            "unix =",
            "allowed = [\"orchestrator-*\"]\nunix =",
            "listen.allowed",
        ),
        ("unix =", "allowed = []\nunix =", "an empty list"),
        ("unix =", "allowed = [\"a b\"]\nunix =", "\"a b\""),
        ("conf =", "client = \"cinder\"\nconf =", "ceph.client"),
        ("conf =", "threads = 1\nconf =", "ceph.threads"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let error = load(&text).unwrap_err();
        assert!(why(&error).contains(named), "{to}: {}", why(&error));
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Config::load(Path::new("no-such-file.toml")).unwrap_err();
    assert!(why(&error).contains("no-such-file.toml"));
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
