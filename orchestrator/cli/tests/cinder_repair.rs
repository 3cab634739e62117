//! `rekindle cinder repair` with a shell script in the program's place.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const REPORT: &str = r#"{
  "host": "h@ceph", "active_backend": "zone-b", "applied": false, "refused": null, "later": "kept",
  "changes": [
    {"kind": "snapshot", "id": "s1", "from": {"status": "error"}, "to": {"status": "available"}, "why": "marked", "done": null, "problem": null},
    {"kind": "volume", "id": "v1", "from": {"status": "error", "previous_status": "in-use"},
     "to": {"status": "in-use", "previous_status": null}, "why": "marked", "done": null, "problem": null}
  ],
  "left": [{"kind": "volume", "id": "v2", "why": "its image is no sound primary"}]
}"#;

/// A program that says on standard error what it was called with, then does `body`.
fn program(dir: &Path, body: &str) -> String {
    let path = dir.join("repair");
    fs::write(
        &path,
        format!("#!/bin/sh\nfor word; do echo \"<$word>\" >&2; done\n{body}\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn repair(program: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["cinder", "repair", "--program", program])
        .args(more)
        .env_remove("REKINDLE_CONFIG")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn prints(dir: &Path, code: i32) -> String {
    fs::write(dir.join("report.json"), REPORT).unwrap();
    let report = dir.join("report.json");
    program(dir, &format!("cat '{}'; exit {code}", report.display()))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_person_gets_a_table_and_a_script_the_programs_own_document() {
    let dir = tempfile::tempdir().unwrap();
    let program = prints(dir.path(), 0);
    let ended = repair(&program, &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    let shown = text(&ended.stdout);
    for line in [
        "h@ceph, served from 'zone-b'",
        "  would change  volume    v1  previous_status: in-use -> -, status: error -> in-use",
        "  2 of them: marked",
        "  volume  v2  its image is no sound primary",
        "nothing was changed; --apply carries it out",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line:?} in\n{shown}");
    }
    let ended = repair(&program, &["--output", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let printed: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    assert_eq!(document, printed);
}

#[test]
fn what_it_is_called_with() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "exit 1");
    // Its words end up on one line each; the last is told in the error.
    for (more, last) in [
        (&[][..], "<--json>"),
        (&["--apply"], "<--apply>"),
        (&["--apply", "--away-too"], "<--away-too>"),
        (&["--config-file", "a b.conf"], "<a b.conf>"),
        (&["--config-file", "a", "--config-file", "b"], "<b>"),
        (&["--backend", "ceph"], "<--backend=ceph>"),
        (&["--older-than", "1h 30m"], "<--older-than=5400s>"),
    ] {
        let ended = repair(&program, more);
        let said = text(&ended.stderr);
        assert!(
            said.contains(&format!("failed (exit status: 1): {last}\n")),
            "{more:?}: {said}"
        );
    }
}

#[test]
fn its_exit_codes_are_ours() {
    let dir = tempfile::tempdir().unwrap();
    for code in [0, 3, 6] {
        let ended = repair(&prints(dir.path(), code), &[]);
        assert_eq!(ended.status.code(), Some(code));
        assert!(
            text(&ended.stdout).contains("v1"),
            "{code}: it says what it did"
        );
    }
    for (body, code, said) in [
        (
            "echo 'a trace' >&2; echo 'no backend lvm' >&2; exit 2",
            2,
            "rekindle: no backend lvm",
        ),
        (
            "echo 'the database does not answer' >&2; exit 5",
            5,
            "the database does not answer",
        ),
        ("echo boom >&2; exit 1", 1, "failed (exit status: 1): boom"),
        ("exit 77", 1, "exit status: 77"),
        ("kill -KILL $$", 1, "signal: 9"),
    ] {
        let ended = repair(&program(dir.path(), body), &[]);
        assert_eq!(ended.status.code(), Some(code), "{body}");
        assert!(
            text(&ended.stderr).contains(said),
            "{}",
            text(&ended.stderr)
        );
        assert_eq!(ended.stdout, b"", "{body}");
    }
}

#[test]
fn a_refusal_is_not_overlooked() {
    let dir = tempfile::tempdir().unwrap();
    let report = r#"{"host":"h","active_backend":"default","applied":false,"refused":"at work","changes":[],"left":[]}"#;
    let ended = repair(
        &program(dir.path(), &format!("echo '{report}'; exit 3")),
        &["--apply"],
    );
    assert_eq!(
        (ended.status.code(), text(&ended.stdout)),
        (Some(3), "refused: at work\n")
    );
}

#[test]
fn what_is_no_report_is_an_error_and_never_success() {
    let dir = tempfile::tempdir().unwrap();
    for body in [
        "true",
        "echo done",
        "echo '{}'",
        "echo '[]'",
        "echo '{\"host\": 7}'",
    ] {
        for code in [0, 6] {
            let ended = repair(
                &program(dir.path(), &format!("{body}; exit {code}")),
                &["--output", "json"],
            );
            assert_eq!(ended.status.code(), Some(1), "{body}");
            assert_eq!(ended.stdout, b"", "{body}");
            let error: serde_json::Value = serde_json::from_slice(&ended.stderr).unwrap();
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.contains("printed no report"), "{message}");
        }
    }
}

#[test]
fn a_program_that_is_not_there_says_where_it_comes_from() {
    let ended = repair("/nonexistent/rekindle-cinder-repair", &[]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        text(&ended.stderr).contains("--program"),
        "{}",
        text(&ended.stderr)
    );
}

#[test]
fn one_that_hangs_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let ended = repair(
        &program(dir.path(), "exec sleep 60"),
        &["--timeout", "200ms"],
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(ended.status.code(), Some(5));
    assert!(
        text(&ended.stderr).contains("within 200ms and was stopped"),
        "{}",
        text(&ended.stderr)
    );
}

#[test]
fn one_that_talks_without_end_is_not_held_up() {
    let dir = tempfile::tempdir().unwrap();
    let body = "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1";
    let ended = repair(&program(dir.path(), body), &[]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.len() < 200_000, "{}", ended.stderr.len());
}
