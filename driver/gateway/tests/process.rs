//! The gateway as a process under its supervisor, and the unit that runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(socket: &UnixDatagram) -> String {
    let mut text = [0; 512];
    let n = socket.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..n]).into_owned()
}

const CONFIG: &str = "zone = \"zone-a\"\n[listen]\naddress = \"127.0.0.1:0\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\n";

/// Cinder that is not there is no reason to be down: each request says so.
#[test]
fn it_starts_without_cinder_tells_its_supervisor_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("gateway.toml"), CONFIG).unwrap();
    let supervisor = UnixDatagram::bind(at("notify")).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_rekindle-gateway"))
        .args(["--config", &at("gateway.toml")])
        .env("NOTIFY_SOCKET", at("notify"))
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let first = said(&supervisor);
    assert!(
        first.contains("READY=1") && first.contains("zone zone-a"),
        "{first}"
    );
    assert!(said(&supervisor).contains("WATCHDOG=1"));
    let pid = child.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    loop {
        let word = said(&supervisor);
        if word.contains("STOPPING=1") {
            break;
        }
        assert!(word.contains("WATCHDOG=1"), "{word}");
    }
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn its_configuration_is_checked_and_the_environment_goes_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let check = |key: &str, value: &str| {
        let done = Command::new(env!("CARGO_BIN_EXE_rekindle-gateway"))
            .args(["--check", "--config", path.to_str().unwrap()])
            .env(key, value)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.success(), words)
    };
    assert!(check("REKINDLE__LIMITS__BODY", "200000").0);
    assert!(check("REKINDLE__FORWARDED__TRUSTED", "192.0.2.0/24,198.51.100.1").0);
    let (fine, words) = check("REKINDLE__LIMITS__BODY", "1");
    assert!(!fine && words.contains("limits.body"), "{words}");
    let (fine, words) = check("REKINDLE__LIMITS__SIZE", "1");
    assert!(!fine && words.contains("size"), "{words}");
}

/// A rule that cannot be read is told before the gateway is started anew, and by name.
#[test]
fn its_rules_are_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rules) = (
        dir.path().join("gateway.toml"),
        dir.path().join("rules.yaml"),
    );
    let actions = format!(
        "[actions]\nrules = {rules:?}\nsidecar = {{ unix = \"/run/x.sock\" }}\n[actions.cloud]\nauth_url = \"http://127.0.0.1:1/v3\"\n\
         username = \"u\"\npassword_file = \"/x\"\nproject = \"p\"\nbackends = {{ volumes = \"h@c#c\" }}\n"
    );
    std::fs::write(&path, format!("{CONFIG}\n{actions}")).unwrap();
    for (text, word) in [
        ("\"os-promote\": \"role:admin or role:dr\"", None),
        (
            "\"os-promote\": \"is_admin:True\"",
            Some("\"is_admin:True\" is no check"),
        ),
        (
            "\"os-promot\": \"role:admin\"",
            Some("\"os-promot\" is no action"),
        ),
    ] {
        std::fs::write(&rules, text).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_rekindle-gateway"))
            .args(["--check", "--config", path.to_str().unwrap()])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.success(), word.is_none(), "{text}: {words}");
        assert!(word.is_none_or(|word| words.contains(word)), "{words}");
        // And which paths go on, and guarded.
        let said = String::from_utf8_lossy(&done.stdout);
        let paths = said.contains("under /v3 goes on to Cinder, and is guarded");
        assert_eq!(paths, word.is_none(), "{said}");
    }
}

/// With the program where it is built: systemd itself says whether it would take the unit.
#[test]
fn systemd_takes_the_unit() {
    let name = "rekindle-gateway.service";
    let unit = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../devstack/systemd")
        .join(name);
    let dir = tempfile::tempdir().unwrap();
    let built = env!("CARGO_BIN_EXE_rekindle-gateway");
    let text = std::fs::read_to_string(unit)
        .unwrap()
        .replace("/usr/bin/rekindle-gateway", built);
    let copy = dir.path().join(name);
    std::fs::write(&copy, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&copy)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = words.lines().filter(|l| l.contains("rekindle-")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{words}");
}
