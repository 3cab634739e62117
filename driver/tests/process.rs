//! The sidecar as a process under its supervisor, and the units that run it.

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

/// A cluster that does not answer is no reason to be down: the sidecar is what reports that.
#[test]
fn hard_case_45_it_starts_beside_a_dead_cluster_tells_its_supervisor_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(
        at("ceph.conf"),
        "[global]\nmon_host = 127.0.0.1:1\nauth_client_required = none\n",
    )
    .unwrap();
    std::fs::write(
        at("driver.toml"),
        format!(
            "zone = \"zone-a\"\n[ceph]\nconf = \"{}\"\npools = [\"volumes\"]\nconnect_timeout = \"1s\"\n[listen]\nunix = \"{}\"\n",
            at("ceph.conf"),
            at("driver.sock"),
        ),
    )
    .unwrap();
    let supervisor = UnixDatagram::bind(at("notify")).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_rekindle-driver"))
        .args(["--config", &at("driver.toml")])
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
    assert!(Path::new(&at("driver.sock")).exists());
    for _ in 0..3 {
        assert!(said(&supervisor).contains("WATCHDOG=1"));
    }
    let pid = child.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    loop {
        let word = said(&supervisor);
        if word.contains("STOPPING=1") {
            break;
        }
        assert!(word.contains("WATCHDOG=1"), "{word}");
    }
    // Nobody reads any more, and it ends all the same.
    let ended = child.0.wait().unwrap();
    assert!(ended.code().is_some(), "{ended:?}");
}

/// With the programs where they are built: systemd itself says whether it would take the units.
#[test]
fn systemd_takes_the_units() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devstack/systemd");
    let dir = tempfile::tempdir().unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_rekindle-driver"));
    for name in ["driver", "orchestrator"] {
        let text = std::fs::read_to_string(units.join(format!("rekindle-{name}.service"))).unwrap();
        // Which program it is makes no difference to systemd, only that there is one.
        let text = text.replace(
            &format!("/usr/bin/rekindle-{name}"),
            built.to_str().unwrap(),
        );
        let copy = dir.path().join(format!("rekindle-{name}.service"));
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
}
