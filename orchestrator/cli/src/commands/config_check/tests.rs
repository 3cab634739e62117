use super::*;
use crate::output::Format;
use std::{
    io::Write,
    sync::{Arc, Mutex},
};

const ORCHESTRATOR: &str = r#"
site = "zone-a"
[sites]
zone-a = "https://192.0.2.1:7400"
zone-b = "https://192.0.2.2:7400"
witness = "https://192.0.2.3:7400"
[zones.zone-a]
sidecar = "https://192.0.2.1:7300"
ceph_mons = ["192.0.2.1:3300"]
[zones.zone-b]
sidecar = "https://192.0.2.2:7300"
ceph_mons = ["192.0.2.2:3300"]
[listen]
tcp = "192.0.2.1:7400"
tls = { ca = "a", cert = "b", key = "c" }
[etcd]
endpoints = ["http://192.0.2.1:2379", "http://192.0.2.2:2379", "http://192.0.2.3:2379"]
[applications.shop]
command = ["/usr/bin/shop"]
"#;
const SIDECAR: &str = r#"
zone = "zone-a"
[ceph]
conf = "/etc/ceph/ceph.conf"
pools = ["volumes"]
[listen]
tcp = "192.0.2.1:7300"
tls = { ca = "a", cert = "b", key = "c" }
[etcd]
endpoints = ["http://192.0.2.1:2379", "http://192.0.2.2:2379", "http://192.0.2.3:2379"]
[failsafe]
sites = { zone-b = "https://192.0.2.2:7400", witness = "https://192.0.2.3:7400" }
"#;
const GROUP: &str = "home = \"zone-a\"\naway = \"zone-b\"\n[policy]\napplication = \"shop\"\n";
const COMMAND: &str =
    "orchestrators = [\"unix:/run/o\"]\n[zones.zone-a]\nsidecar = \"unix:/run/s\"\n";

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);
impl Write for Buffer {
    fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(b);
        Ok(b.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn checked(texts: &[&str]) -> (Exit, serde_json::Value) {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| {
            let path = dir.path().join(format!("{n}.toml"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let out = Buffer::default();
    let output = Output::captured(Format::Json, out.clone(), std::io::sink());
    let exit = check(&files, &output).unwrap();
    let text = out.0.lock().unwrap().clone();
    (exit, serde_json::from_slice(&text).unwrap())
}

#[test]
fn files_that_fit_together() {
    let other = SIDECAR
        .replace("zone-a", "zone-c")
        .replace("zone-b", "zone-a")
        .replace("zone-c", "zone-b")
        .replace("192.0.2.1:7300", "192.0.2.2:7300");
    let (exit, page) = checked(&[ORCHESTRATOR, SIDECAR, &other, GROUP, COMMAND]);
    assert_eq!(exit, Exit::Ok, "{page:#}");
    let kinds: Vec<&str> = page["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "orchestrator",
            "sidecar",
            "sidecar",
            "group",
            "command line"
        ]
    );
}

#[test]
fn a_file_by_itself() {
    for (text, what) in [
        ("x = \"", "no TOML"),
        ("x = 1\n", "no kind"),
        (
            &ORCHESTRATOR
                .replace("witness", "zone-z")
                .replace("site = \"zone-a\"", "site = \"zone-q\""),
            "zone-q",
        ),
        (
            &SIDECAR.replace("pools = [\"volumes\"]", "pools = []"),
            "ceph.pools",
        ),
        (&SIDECAR.replace("pools", "pols"), "pols"),
        (&GROUP.replace("zone-b", "zone-a"), "both"),
        (&format!("{GROUP}hold_off = \"0s\"\n"), "hold_off"),
        (
            &COMMAND.replace("unix:/run/o", "https://192.0.2.1:1"),
            "tls",
        ),
    ] {
        let (exit, page) = checked(&[text]);
        assert_eq!(exit, Exit::Usage);
        let problem = page["files"][0]["problems"][0].as_str().unwrap_or_default();
        assert!(problem.contains(what), "{what}: {page:#}");
    }
    let output = Output::captured(Format::Json, std::io::sink(), std::io::sink());
    assert_eq!(
        check(&[PathBuf::from("no-such-file")], &output).unwrap(),
        Exit::Usage
    );
}

#[test]
fn hard_case_13_files_that_disagree() {
    let three = "[\"http://192.0.2.1:2379\", \"http://192.0.2.2:2379\", \"http://192.0.2.3:2379\"]";
    let b = SIDECAR
        .replace("zone = \"zone-a\"", "zone = \"zone-b\"")
        .replace(
            "zone-b = \"https://192.0.2.2:7400\"",
            "zone-a = \"https://192.0.2.1:7400\"",
        );
    for (a, b, field) in [
        (ORCHESTRATOR.to_owned(), ORCHESTRATOR.to_owned(), "site"),
        (
            SIDECAR.to_owned(),
            b.replace("[\"volumes\"]", "[\"vols\"]"),
            "ceph.pools",
        ),
        (
            SIDECAR.to_owned(),
            b.replace(three, "[\"http://192.0.2.1:2379\"]"),
            "etcd.endpoints",
        ),
        (
            SIDECAR.to_owned(),
            ORCHESTRATOR.replace("192.0.2.1:7300", "192.0.2.1:7999"),
            "zones.zone-a.sidecar",
        ),
        (
            ORCHESTRATOR.to_owned(),
            SIDECAR.replace(", witness = \"https://192.0.2.3:7400\"", ""),
            "failsafe.sites",
        ),
        (
            ORCHESTRATOR.to_owned(),
            SIDECAR.replace("zone = \"zone-a\"", "zone = \"zone-q\""),
            "zones",
        ),
        (
            ORCHESTRATOR.to_owned(),
            GROUP.replace("zone-b", "zone-q"),
            "away",
        ),
        (
            ORCHESTRATOR.to_owned(),
            GROUP.replace("shop", "bakery"),
            "policy.application",
        ),
        (
            ORCHESTRATOR.to_owned(),
            format!("{GROUP}hold_off = \"2s\"\n"),
            "policy.hold_off",
        ),
        (
            ORCHESTRATOR.to_owned(),
            COMMAND.replace("zone-a", "zone-q"),
            "zones",
        ),
    ] {
        let (exit, page) = checked(&[&a, &b]);
        assert_eq!(exit, Exit::Usage, "{field}");
        let found = page["disagreements"].as_array().unwrap();
        assert!(
            found.iter().any(|d| d["field"] == field),
            "{field}: {page:#}"
        );
    }
}

#[test]
fn a_mapping_is_checked_against_an_orchestrators_zones() {
    let mapping = "same_name = [\"projects\"]\n[[types]]\nzone-a = \"fast\"\nzone-b = \"slow\"\n";
    let (exit, page) = checked(&[ORCHESTRATOR, mapping]);
    assert_eq!(
        (exit, &page["files"][1]["kind"]),
        (Exit::Ok, &"mapping".into()),
        "{page}"
    );
    let (exit, page) = checked(&[ORCHESTRATOR, &mapping.replace("zone-b", "zone-c")]);
    assert_eq!(exit, Exit::Usage);
    assert_eq!(
        page["disagreements"][0]["field"], "types[0].zone-c",
        "{page}"
    );
    let (exit, page) = checked(&["[[typos]]\n", "types = 1\n"]);
    assert_eq!(exit, Exit::Usage);
    assert_eq!(page["files"][1]["kind"], "mapping", "{page}");
}
