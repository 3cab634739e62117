//! The `lab` command: what it prints, and its exit codes.

// The helpers of a test fail as the test does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

use rekindle_lab::{Lab, LabOptions};

fn lab(root: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("--root")
        .arg(root)
        .args(args)
        .output()
        .unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_folder_without_a_lab_is_said_to_be_one() {
    let tmp = tempfile::tempdir().unwrap();
    let out = lab(tmp.path(), &["status"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        words(&out.stderr).contains("there is no lab in"),
        "{}",
        words(&out.stderr)
    );
    assert!(
        lab(tmp.path(), &["down"]).status.success(),
        "down of nothing is down"
    );
    let out = lab(tmp.path(), &["kill", "zone-c"]);
    assert!(
        words(&out.stderr).contains("zone-a, zone-b, witness"),
        "{}",
        words(&out.stderr)
    );
    let out = lab(tmp.path(), &["up", "--osd-mib", "1"]);
    assert!(
        words(&out.stderr).contains("an OSD of 1 MiB"),
        "{}",
        words(&out.stderr)
    );
}

#[test]
fn a_lab_brought_up_in_one_process_is_used_from_others() {
    let mine = Lab::own(LabOptions::default()).unwrap();
    let root = mine.root();
    let out = lab(root, &["env"]);
    let env: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let zone = &env["sites"]["zone-a"]["zone"];
    assert_eq!(zone["pool"], "volumes");
    let conf = zone["ceph_conf"].as_str().unwrap();
    let fsid = Command::new("ceph")
        .args(["-c", conf, "fsid"])
        .output()
        .unwrap();
    assert_eq!(
        words(&fsid.stdout).trim(),
        zone["fsid"],
        "the file is all that a client needs"
    );
    assert!(env["sites"]["witness"]["zone"].is_null());

    assert!(lab(root, &["status"]).status.success());
    assert!(lab(root, &["kill", "zone-b", "osd"]).status.success());
    let out = lab(root, &["status"]);
    assert_eq!(out.status.code(), Some(1));
    let line = words(&out.stdout)
        .lines()
        .find(|l| l.contains("osd") && l.contains("dead"))
        .is_some();
    assert!(line, "{}", words(&out.stdout));
    assert!(words(&lab(root, &["repair"]).stdout).contains("osd of zone-b was dead"));
    assert!(lab(root, &["status", "--json"]).status.success());
}
