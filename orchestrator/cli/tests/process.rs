//! The command as a process: its exit codes, and where its words go.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output, Stdio};

fn rekindle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(args)
        .env_remove("REKINDLE_CONFIG")
        .env("HOME", "/nonexistent")
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exit_codes_are_those_of_the_table() {
    for (args, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["completions", "bash"], 0),
        (&["no-such-command"], 2),
        (&["volume", "show", "no-slash"], 2),
        (&["status"], 2),
        (&["--config", "/no/such/file", "status"], 2),
        (&["config", "check", "/no/such/file"], 2),
    ] {
        let ended = rekindle(args);
        assert_eq!(
            ended.status.code(),
            Some(code),
            "{args:?}: {}",
            text(&ended.stderr)
        );
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("cli.toml");
    let socket = dir.path().join("none.sock");
    std::fs::write(
        &config,
        format!(
            "orchestrators = [\"unix:{0}\"]\n[zones.zone-a]\nsidecar = \"unix:{0}\"\n",
            socket.display()
        ),
    )
    .unwrap();
    let config = config.display().to_string();
    for args in [
        &["status"][..],
        &["plan", "list"],
        &["volume", "list"],
        &["record", "show", "--group", "shop", "web-1"],
        &["freeze", "zone-a", "--reason", "x"],
    ] {
        let ended = rekindle(&[&["--config", &config], args].concat());
        assert_eq!(
            ended.status.code(),
            Some(5),
            "{args:?}: {}",
            text(&ended.stderr)
        );
    }
}

#[test]
fn errors_are_json_on_standard_error_where_json_was_asked_for() {
    for args in [
        &["--output", "json", "status"][..],
        &["status", "--output=json", "--nonsense"],
    ] {
        let ended = rekindle(args);
        assert_eq!(ended.stdout, b"");
        let error: serde_json::Value = serde_json::from_slice(&ended.stderr).unwrap();
        assert_eq!(error["error"]["exit_code"], 2, "{args:?}");
        assert!(error["error"]["message"].is_string());
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = rekindle(&["completions", shell]);
        assert!(text(&script.stdout).contains("failback"), "{shell}");
    }
}

/// Files that the docs tell people to check are told apart, also where they have a key of another kind's.
#[test]
fn each_kind_of_file_is_known() {
    let dir = tempfile::tempdir().unwrap();
    for (name, kind, content) in [
        (
            "gateway.toml",
            "gateway",
            "zone = \"zone-a\"\n[listen]\naddress = \"127.0.0.1:8776\"\n[upstream]\nurl = \"http://127.0.0.1:8777\"\n",
        ),
        (
            "mapping.toml",
            "mapping",
            "[[flavors]]\nzone-a = \"small\"\nzone-b = \"klein\"\n",
        ),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let checked = rekindle(&[
            "--output",
            "json",
            "config",
            "check",
            path.to_str().unwrap(),
        ]);
        assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
        let page: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(page["files"][0]["kind"], kind, "{page}");
    }
}
