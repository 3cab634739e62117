//! The script, run: with an `openstack` that notes what it is called with and answers as the real one does.

use super::*;
use crate::servers::{FixedIp, PortSecurity, PowerWish};
use proptest::{strategy::ValueTree, test_runner::TestRunner};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const OPENSTACK: &str = r#"#!/bin/sh
printf '%s\0' "$#" "$@" >> "$STUB/calls"
if [ -e "$STUB/dead" ]; then echo 'Unable to establish connection' >&2; exit 1; fi
case "$*" in
    "volume list "*)
        if [ -e "$STUB/volumes" ]; then cat "$STUB/volumes"; else printf 'copy-of-%s\n' "${3##*/}"; fi ;;
    "port list "*) if [ -e "$STUB/ports" ]; then cat "$STUB/ports"; fi ;;
    "port create "*) printf 'port-id\n' ;;
    "server list "*) if [ -e "$STUB/servers" ]; then cat "$STUB/servers"; fi ;;
    *" server create "*) printf '\rProgress: 0\rProgress: 100\n\nserver-id\n' ;;
    "server stop server-id" | "server lock server-id") ;;
    *) echo "what is $*?" >&2; exit 2 ;;
esac
"#;

struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let openstack = dir.path().join("openstack");
        fs::write(&openstack, OPENSTACK).unwrap();
        fs::set_permissions(&openstack, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }
    fn run(&self, r: &ServerRecord, environment: &[(&str, &str)]) -> Output {
        let script = self.path().join("script");
        fs::write(&script, write(r, Form::Shell)).unwrap();
        let _ = fs::remove_file(self.path().join("calls"));
        Command::new("sh")
            .arg(&script)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path().display()))
            .env("STUB", self.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }
    /// Each call's arguments.
    fn calls(&self) -> Vec<Vec<String>> {
        let bytes = fs::read(self.path().join("calls")).unwrap_or_default();
        let mut words = bytes
            .split(|b| *b == 0)
            .map(|w| String::from_utf8(w.to_vec()).unwrap());
        let mut calls = Vec::new();
        while let Some(count) = words.next().filter(|c| !c.is_empty()) {
            calls.push(words.by_ref().take(count.parse().unwrap()).collect());
        }
        calls
    }
    fn call(&self, words: &str) -> Vec<String> {
        let found = self
            .calls()
            .into_iter()
            .find(|c| c.join(" ").contains(words));
        found.unwrap_or_else(|| panic!("no call of {words}: {:?}", self.calls()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the one server's creation has to be called with, word for word.
fn create_call(r: &ServerRecord) -> Vec<String> {
    let mut call: Vec<String> = [
        "--os-compute-api-version=2.60",
        "server",
        "create",
        "--wait",
    ]
    .map(str::to_owned)
    .into();
    call.push(format!("--flavor={}", r.flavor.name));
    for disk in &r.disks {
        let boot = disk.boot_index.map_or(-1, i64::from);
        let tag = disk
            .tag
            .as_ref()
            .map_or_else(String::new, |t| format!(",tag={t}"));
        call.push(format!(
            "--block-device=uuid=copy-of-{},source_type=volume,destination_type=volume,boot_index={boot},delete_on_termination=false{tag}",
            disk.volume.id
        ));
    }
    call.extend(r.ports.iter().map(|_| "--port=port-id".to_owned()));
    if r.ports.is_empty() {
        call.push("--nic=none".to_owned());
    }
    call.extend(r.key_name.iter().map(|v| format!("--key-name={v}")));
    call.extend(
        r.availability_zone
            .iter()
            .map(|v| format!("--availability-zone={v}")),
    );
    call.extend(r.server_group.iter().map(|v| format!("--hint=group={v}")));
    call.extend(
        r.metadata
            .iter()
            .map(|(k, v)| format!("--property={k}={v}")),
    );
    call.extend(r.tags.iter().map(|v| format!("--tag={v}")));
    call.extend(r.description.iter().map(|v| format!("--description={v}")));
    if r.config_drive {
        call.push("--use-config-drive".to_owned());
    }
    if r.user_data.is_some() {
        call.push("--user-data=/the file".to_owned());
    }
    call.extend(["-f", "value", "-c", "id", "--"].map(str::to_owned));
    call.push(r.name.clone());
    call
}

/// Not as a property test: each case starts some ten processes.
#[test]
fn any_record_is_built_with_exactly_what_it_says() {
    let stage = Stage::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let r = any_record().new_tree(&mut runner).unwrap().current();
        let ended = stage.run(&r, &[("USER_DATA_FILE", "/the file")]);
        assert!(
            ended.status.success(),
            "{}\n{}",
            text(&ended.stderr),
            write(&r, Form::Shell)
        );
        assert_eq!(text(&ended.stdout), "server-id\n");
        assert_eq!(stage.call(" server create "), create_call(&r));
        let after: Vec<String> = stage
            .calls()
            .iter()
            .map(|c| c.join(" "))
            .skip_while(|c| !c.contains(" server create "))
            .skip(1)
            .collect();
        let mut expected = Vec::new();
        if r.power == PowerWish::ShutOff {
            expected.push("server stop server-id");
        }
        if r.locked {
            expected.push("server lock server-id");
        }
        assert_eq!(after, expected);
        let ports: Vec<Vec<String>> = stage
            .calls()
            .into_iter()
            .filter(|c| c.join(" ").starts_with("port create "))
            .collect();
        assert_eq!(ports.len(), r.ports.len());
        for (call, port) in ports.iter().zip(&r.ports) {
            let mut expected = vec![
                "port".to_owned(),
                "create".to_owned(),
                format!("--network={}", port.network),
            ];
            for FixedIp { address, subnet } in &port.fixed_ips {
                let parts: Vec<String> = subnet
                    .iter()
                    .map(|s| format!("subnet={s}"))
                    .chain(address.iter().map(|a| format!("ip-address={a}")))
                    .collect();
                expected.push(format!("--fixed-ip={}", parts.join(",")));
            }
            expected.extend(port.mac.iter().map(|m| format!("--mac-address={m}")));
            expected.extend(
                r.groups_of(port)
                    .iter()
                    .map(|g| format!("--security-group={g}")),
            );
            let unfiltered = match port.port_security {
                PortSecurity::Unknown => &[][..],
                PortSecurity::On if !port.security_groups.is_empty() => &[][..],
                PortSecurity::On => &["--no-security-group"][..],
                PortSecurity::Off => &["--no-security-group", "--disable-port-security"][..],
            };
            expected.extend(unfiltered.iter().map(|&option| option.to_owned()));
            expected.extend(port.address_pairs.iter().map(|pair| {
                let mac = pair.mac.iter().map(|m| format!(",mac-address={m}"));
                let mac: String = mac.collect();
                format!("--allowed-address=ip-address={}{mac}", pair.address)
            }));
            assert_eq!(call[..expected.len()], expected);
        }
    }
}

/// The syntax, of many more.
#[test]
fn any_script_is_one_that_a_shell_reads() {
    let stage = Stage::new();
    let mut runner = TestRunner::deterministic();
    let scripts: Vec<String> = (0..50)
        .map(|_| {
            write(
                &any_record().new_tree(&mut runner).unwrap().current(),
                Form::Shell,
            )
        })
        .collect();
    for shell in ["sh", "bash"] {
        for script in &scripts {
            stage.put("script", script);
            let ended = Command::new(shell)
                .arg("-n")
                .arg(stage.path().join("script"))
                .output()
                .unwrap();
            assert!(
                ended.status.success(),
                "{shell}: {}\n{script}",
                text(&ended.stderr)
            );
        }
    }
}

#[test]
fn hard_case_51_a_server_of_the_same_name_is_left_as_it_is() {
    let stage = Stage::new();
    let mut r = record();
    r.name = "web 1".to_owned();
    // The look-up by pattern finds more than was meant.
    stage.put("servers", "other web 10\nid-1 web 1\nid-2 my web 1\n");
    let ended = stage.run(&r, &[]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert_eq!(text(&ended.stdout), "id-1\n");
    assert!(text(&ended.stderr).contains("is there already, and was left as it is"));
    assert_eq!(stage.calls().len(), 1, "{:?}", stage.calls());
    assert!(stage.calls()[0].contains(&"--name=^web.*1$".to_owned()));

    stage.put("servers", "id-1 web 1\nid-2 web 1\n");
    let ended = stage.run(&r, &[]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("several servers here are called web 1"));

    stage.put("servers", "other web 10\n");
    assert!(stage.run(&r, &[("USER_DATA_FILE", "")]).status.success());
    let call = stage.call(" server create ");
    assert!(
        !call.iter().any(|w| w.starts_with("--user-data")),
        "{call:?}"
    );
}

#[test]
fn hard_case_51_ports_that_are_there_are_taken_and_not_made_twice() {
    let stage = Stage::new();
    stage.put("ports", "port-there\n");
    assert!(
        stage
            .run(&record(), &[("USER_DATA_FILE", "")])
            .status
            .success()
    );
    assert!(
        !stage
            .calls()
            .iter()
            .any(|c| c.join(" ").starts_with("port create"))
    );
    let call = stage.call(" server create ");
    assert_eq!(call.iter().filter(|w| *w == "--port=port-there").count(), 2);
    stage.put("ports", "port-1\nport-2\n");
    let ended = stage.run(&record(), &[("USER_DATA_FILE", "")]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        text(&ended.stderr).contains("several ports here are called rekindle-5d1a7f3e"),
        "{}",
        text(&ended.stderr)
    );
}

#[test]
fn nothing_is_built_where_something_is_unknown() {
    let file = [("USER_DATA_FILE", "")];
    for (name, answer, words) in [
        (
            "volumes",
            "",
            "no volume here is the copy of zone-a/vol-root: set VOLUME_1",
        ),
        (
            "volumes",
            "a\nb\n",
            "several volumes here say that they are the copy",
        ),
        ("dead", "", "the servers here cannot be listed"),
    ] {
        for shell in ["sh", "bash"] {
            let stage = Stage::new();
            stage.put(name, answer);
            let ended = stage.run(&record(), &file);
            assert_eq!(ended.status.code(), Some(1), "{shell} {name}");
            let said = text(&ended.stderr);
            assert!(said.contains(words), "{said}");
            assert!(
                !stage
                    .calls()
                    .iter()
                    .any(|c| c.contains(&"create".to_owned())),
                "{:?}",
                stage.calls()
            );
        }
    }
    // User data is in the record alone; the script says so rather than build without.
    let stage = Stage::new();
    let ended = stage.run(&record(), &[]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("has user data (14 bytes)"));
}

#[test]
fn hard_case_52_what_is_called_otherwise_here_comes_from_the_environment() {
    let stage = Stage::new();
    let environment = [
        ("FLAVOR", "dr.small"),
        ("VOLUME_2", "vol-9"),
        ("NETWORK_1", "dr net"),
        ("SUBNET_1", ""),
        ("FIXED_IP_1", "192.0.2.5"),
        ("SUBNET_2", ""),
        ("FIXED_IP_2", ""),
        ("MAC_1", ""),
        ("SECURITY_GROUP_1", "dr-web"),
        ("KEY_NAME", ""),
        ("SERVER_GROUP", ""),
        ("AVAILABILITY_ZONE", "az-b"),
        ("USER_DATA_FILE", ""),
    ];
    let ended = stage.run(&record(), &environment);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let port = stage.call("port create");
    assert_eq!(
        port[2..5],
        [
            "--network=dr net",
            "--fixed-ip=ip-address=192.0.2.5",
            "--security-group=dr-web"
        ]
    );
    let server = stage.call(" server create ");
    for word in ["--flavor=dr.small", "--availability-zone=az-b"] {
        assert!(server.contains(&word.to_owned()), "{server:?}");
    }
    assert!(
        server.iter().any(|w| w.contains("uuid=vol-9,")),
        "{server:?}"
    );
    for option in ["--key-name", "--hint"] {
        assert!(!server.iter().any(|w| w.starts_with(option)), "{server:?}");
    }
}
