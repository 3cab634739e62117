use super::*;

const GOOD: &str = r#"
zone = "zone-a"

[listen]
address = "0.0.0.0:8776"
tls = { cert = "/etc/rekindle/gateway.pem", key = "/etc/rekindle/gateway.key" }
metrics = "127.0.0.1:9466"

[upstream]
url = "https://cinder.example:8777"
ca = "/etc/rekindle/ca.pem"
prefix = "/block"

[forwarded]
trusted = ["192.0.2.0/24"]
prefix = "/volume"

[actions]
rules = "/etc/rekindle/gateway-rules.toml"
sidecar = { unix = "/run/rekindle/driver.sock" }

[actions.cloud]
auth_url = "https://keystone.example:5000/v3"
username = "rekindle-gateway"
password_file = "/etc/rekindle/gateway.secret"
project = "service"
backends = { volumes = "host@ceph#ceph" }

[limits]
body = 1000000
head_time = "5s"
"#;

fn read(text: &str) -> Result<Config, Box<dyn std::error::Error>> {
    let config: Config = toml::from_str(text)?;
    config.check()?;
    Ok(config)
}

#[test]
fn the_example_is_good() {
    let config = read(GOOD).unwrap();
    assert_eq!(config.limits.head_time, Span::secs(5));
    assert_eq!(config.limits.keep_alive, Span::secs(75));
    assert_eq!(config.upstream.connections, 256);
    assert!(config.forwarded.trusted.hold("192.0.2.1".parse().unwrap()));
    let least = "zone = \"a\"\n[listen]\naddress = \"[::]:8776\"\n[upstream]\nurl = \"http://127.0.0.1:8777\"\n";
    let config = read(least).unwrap();
    assert_eq!((config.listen.tls, config.listen.metrics), (None, None));
    assert_eq!(config.actions, None);
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, named) in [
        ("127.0.0.1:9466", "192.0.2.1:9466", "listen.metrics"),
        ("ca = \"/etc/rekindle/ca.pem\"", "", "upstream.ca"),
        ("https://cinder", "http://cinder", "upstream.ca"),
        ("example:8777", "example:8777/volume", "a path has no place"),
        ("192.0.2.0/24", "192.0.2.0/64", "is no network"),
        ("\"/volume\"", "\"volume\"", "forwarded.prefix"),
        ("\"/volume\"", "\"/volume/\"", "forwarded.prefix"),
        ("\"/volume\"", "\"/a b\"", "forwarded.prefix"),
        ("\"/block\"", "\"block\"", "upstream.prefix"),
        ("\"/block\"", "\"/block/v3\"", "upstream.prefix"),
        ("body = 1000000", "body = 1000", "limits.body"),
        ("body = 1000000", "requests = 0", "limits.requests"),
        (
            "body = 1000000",
            "project_actions = 0",
            "limits.project_actions",
        ),
        ("body = 1000000", "head = 5000", "limits.target"),
        ("body = 1000000", "fields = 1", "limits.fields"),
        ("\"5s\"", "\"0s\"", "limits.head_time"),
        ("\"5s\"", "\"2h\"", "limits.head_time"),
        ("body = 1000000", "body_rate = 0", "limits.body_rate"),
        ("body = 1000000", "body_time = \"0s\"", "limits.body_time"),
        ("body = 1000000", "sise = 1", "unknown field"),
        (
            "sidecar = { unix",
            "sidecar = { url = \"https://h:1\", unix",
            "actions.sidecar",
        ),
        (
            "{ unix = \"/run/rekindle/driver.sock\" }",
            "{ url = \"https://h:1\" }",
            "actions.sidecar",
        ),
        (
            "{ unix = \"/run/rekindle/driver.sock\" }",
            "{}",
            "actions.sidecar",
        ),
        (
            "driver.sock\" }",
            "driver.sock\", call_time = \"0s\" }",
            "call_time",
        ),
        ("host@ceph#ceph", "host", "actions.cloud"),
        (
            "backends = { volumes = \"host@ceph#ceph\" }",
            "",
            "actions.cloud.backends",
        ),
        ("zone = \"zone-a\"", "", "zone"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let e = read(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(e.contains(named), "{to}: {e}");
    }
}

#[test]
fn the_file_is_read_from_disk_and_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    let e = Config::load(&path).unwrap_err().to_string();
    assert!(e.contains("gateway.toml"), "{e}");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(Config::load(&path).unwrap(), read(GOOD).unwrap());
}
