//! `rekindle record …` as a process: a state becomes files, files become other forms, and no secret of the state comes out anywhere.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

use rekindle_common::servers::{RecordSource, ServerRecord};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../common/tests/terraform/example.tfstate")
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn put(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }
    fn command(&self, line: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command
            .arg("record")
            .args(line.split_whitespace())
            .args(more)
            .current_dir(self.0.path())
            .env_remove("REKINDLE_CONFIG")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null());
        command
    }
    fn run(&self, line: &str, more: &[&str]) -> Ended {
        Ended::of(self.command(line, more).output().unwrap())
    }
    /// With that on its standard input.
    fn piped(&self, line: &str, input: &[u8]) -> Ended {
        let mut child = self
            .command(line, &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }
    /// The example's, with `more` at its end.
    fn import(&self, more: &str) -> Ended {
        let line = format!("import --from terraform --zone zone-a --out records {more}");
        self.run(&line, &[&example().display().to_string()])
    }
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("records"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
    fn file(&self, start: &str) -> String {
        let name = self
            .files()
            .into_iter()
            .find(|n| n.starts_with(start))
            .unwrap();
        format!("records/{name}")
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let ended = Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        // Whatever is done: the example's secrets are never printed.
        assert!(
            !ended.out.contains("SECRET") && !ended.err.contains("SECRET"),
            "{ended:?}"
        );
        ended
    }
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
    fn error(&self) -> Value {
        serde_json::from_str::<Value>(&self.err).unwrap()["error"].clone()
    }
}

#[test]
fn a_state_becomes_a_file_for_each_server_and_no_secret_is_in_one() {
    let place = Place::new();
    let ended = place.import("").with(6);
    for words in [
        "web-0: new: records/web-0-",
        "NO RECORD of openstack_compute_instance_v2.local (cache): cannot be protected: its root disk is not a volume",
        "has the floating address 203.0.113.7",
        "ignored: 3 resources (data.openstack_images_image_v2 1, openstack_compute_keypair_v2 1, random_password 1)",
    ] {
        assert!(ended.out.contains(words), "{}", ended.out);
    }
    assert_eq!(place.files().len(), 3, "{:?}", place.files());
    for name in place.files() {
        let path = place.path("records").join(name);
        assert!(!fs::read_to_string(&path).unwrap().contains("SECRET"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    // Again: nothing is written, and it says so.
    let again = place.import("--output json").with(6).json();
    for record in again["records"].as_array().unwrap() {
        assert_eq!(record["stored"], "unchanged");
    }
    assert_eq!(again["refused"].as_array().unwrap().len(), 2);
}

#[test]
fn servers_are_chosen_by_name_or_id() {
    let place = Place::new();
    place
        .import("--server web-1 --server 00000000-0000-4000-8000-000000000003")
        .with(0);
    let names = place.files();
    assert!(
        names.len() == 2 && names[0].starts_with("db-") && names[1].starts_with("web-1-"),
        "{names:?}"
    );
    let ended = place.import("--server nobody --output json").with(2);
    let error = ended.error();
    assert_eq!(error["message"], "the file has no server \"nobody\"");
    assert_eq!(
        error["advice"],
        "there are 3 with a record: db, web-0, web-1"
    );
    place.import("--server cache").with(3);
    place.import("--server cache --server db").with(6);
}

#[test]
fn a_state_from_standard_input_leaves_nothing_on_the_disk() {
    let place = Place::new();
    let state = fs::read(example()).unwrap();
    let line = "import --from terraform --zone zone-a --output json -";
    let ended = place.piped(line, &state).with(6);
    assert_eq!(ended.json()["records"].as_array().unwrap().len(), 3);
    assert_eq!(place.files().len(), 3);
}

/// What stands with a root volume is the record as the sidecar writes it: where etcd's data is gone it is taken in again by this.
#[test]
fn the_record_that_a_root_volume_carries_is_taken_in_as_it_stands() {
    let place = Place::new();
    place.import("--server web-1").with(0);
    let file = place.path("records").join(&place.files()[0]);
    let record = ServerRecord::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    let of_nova = ServerRecord {
        source: RecordSource::Nova,
        ..record
    };
    // As `rbd image-meta get` prints it.
    let carried = format!("{}\n", serde_json::to_string(&of_nova).unwrap());
    let line = "import --from script --out again -";
    place.piped(line, carried.as_bytes()).with(0);
    let again = fs::read_dir(place.path("again")).unwrap().next().unwrap();
    let again = fs::read_to_string(again.unwrap().path()).unwrap();
    let expected = ServerRecord {
        source: RecordSource::Script,
        ..of_nova
    };
    assert_eq!(ServerRecord::parse(&again).unwrap(), expected);
}

#[test]
fn what_is_in_the_folder_is_overwritten_by_a_later_record_of_the_same_server_alone() {
    let place = Place::new();
    place.import("--taken-at 2026-01-02T00:00:00Z").with(6);
    let web = place.file("web-0-");
    let path = place.path(&web);

    let older = place
        .import("--taken-at 2026-01-01T00:00:00Z --server web-0")
        .with(3);
    assert!(
        older
            .out
            .contains("is as of 2026-01-02T00:00:00Z, later than this"),
        "{}",
        older.out
    );

    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    record["flavor"]["name"] = json!("m1.tiny");
    fs::write(&path, record.to_string()).unwrap();
    let newer = place
        .import("--taken-at 2026-01-03T00:00:00Z --server web-0")
        .with(0);
    assert!(newer.out.contains("web-0: changed: "), "{}", newer.out);
    assert!(
        newer.out.contains("flavor.name: was m1.tiny, is m1.small"),
        "{}",
        newer.out
    );

    for foreign in ["notes", "{\"version\": 1}"] {
        fs::write(&path, foreign).unwrap();
        let ended = place.import("--server web-0").with(3);
        assert!(
            ended
                .out
                .contains("is no server's record; it was left as it is"),
            "{}",
            ended.out
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
    }
    record["id"] = json!("another");
    fs::write(&path, record.to_string()).unwrap();
    let ended = place.import("--server web-0").with(3);
    assert!(
        ended.out.contains("is another server's record"),
        "{}",
        ended.out
    );
}

#[test]
fn what_is_no_state_is_told_with_what_to_do() {
    let place = Place::new();
    let state = fs::read_to_string(example()).unwrap();
    for (text, cause, advice) in [
        (
            state[..state.len() / 2].to_owned(),
            "cut off",
            "terraform state pull > FILE",
        ),
        (
            state.replace("\"version\": 4", "\"version\": 5"),
            "version 5",
            "newer release of Rekindle",
        ),
        (
            state.replace("\"version\": 4", "\"version\": 3"),
            "version 3",
            "terraform state pull",
        ),
        ("SECRET".to_owned(), "no JSON", "terraform state pull"),
    ] {
        let file = place.put("state", &text);
        for format in ["text", "json"] {
            let ended = place
                .run(
                    &format!("import --from terraform --zone zone-a --output {format}"),
                    &[&file],
                )
                .with(2);
            assert!(
                ended.err.contains(cause) && ended.err.contains(advice),
                "{}",
                ended.err
            );
            assert_eq!(ended.out, "");
        }
    }
    assert!(!place.path("records").exists());
    let file = place.put("state", r#"{"version": 4, "resources": []}"#);
    let ended = place
        .run("import --from terraform --zone zone-a", &[&file])
        .with(2);
    assert!(ended.err.contains("has no server"), "{}", ended.err);
    place
        .run("import --from terraform --zone zone-a /no/such/file", &[])
        .with(2);
}

#[test]
fn a_scripts_servers_are_files_and_each_of_its_faults_is_named() {
    let place = Place::new();
    place.import("--server db").with(0);
    let db: Value =
        serde_json::from_str(&fs::read_to_string(place.path(&place.file("db-"))).unwrap()).unwrap();
    let mut other = db.clone();
    other["name"] = json!("db 2/é");
    other["id"] = Value::Null;
    other["source"] = json!({"type": "nova"});
    let mut broken = db.clone();
    broken["password"] = json!("SECRET");
    let all = json!({"servers": [db, other, broken, other]}).to_string();
    let file = place.put("servers.json", &all);
    let ended = place
        .run("import --from script --out records", &[&file])
        .with(6);
    assert!(
        ended
            .out
            .contains("servers[2] (db): servers[2].password: is no field"),
        "{}",
        ended.out
    );
    assert!(
        ended
            .out
            .contains("servers[3] (db 2/é): stands in the file twice"),
        "{}",
        ended.out
    );
    let made = place.file("db_2__-");
    let shown = place.run("show --output json", &[&made]).with(0).json();
    assert_eq!(shown["source"]["type"], "script");

    let ended = place.run("show", &[&file]).with(2);
    assert!(
        ended.err.contains("--from script` makes a file of each"),
        "{}",
        ended.err
    );
    let ended = place
        .run("import --from script --zone zone-b", &[&file])
        .with(3);
    assert!(
        ended
            .out
            .contains("servers[0].zone: is zone-a, and zone-b was asked for"),
        "{}",
        ended.out
    );
    let ended = place
        .run("import --from script", &[&place.put("x", "{")])
        .with(2);
    assert!(ended.err.contains("cut off"), "{}", ended.err);
}

#[test]
fn records_are_shown_written_in_other_forms_and_compared() {
    let place = Place::new();
    place.import("").with(6);
    let (db, web) = (place.file("db-"), place.file("web-0-"));

    let shown = place.run("show", &[&db]).with(0).out;
    for words in [
        "db in zone-a: running",
        r#"from module.shop["dr"].openstack_compute_instance_v2.db["main"] (serial 42)"#,
        "  0     00000000-0000-4000-8000-000000000104  db-root  /dev/vda",
        "10.0.0.13, 2001:db8::13",
        "  role = db",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    // Our own JSON is the file itself.
    let json = place.run("export --as json", &[&db]).with(0).out;
    assert_eq!(json, fs::read_to_string(place.path(&db)).unwrap());
    for (form, words) in [
        (
            "terraform",
            "resource \"openstack_compute_instance_v2\" \"server\"",
        ),
        ("heat", "type: OS::Nova::Server"),
        ("shell", "server create --wait"),
    ] {
        let text = place
            .run(&format!("export --as {form}"), &[&db])
            .with(0)
            .out;
        assert!(text.contains(words), "{text}");
        let document = place
            .run(&format!("export --as {form} --output json"), &[&db])
            .with(0)
            .json();
        assert_eq!(document["text"], text);
    }

    let same = place.run("diff", &[&db, &db]).with(0).out;
    assert!(same.ends_with("the server is the same in both\n"), "{same}");
    let ended = place.run("diff --output json", &[&db, &web]).with(0).json();
    assert_eq!(ended["same"], false);
    assert_eq!(ended["changes"][0]["field"], "config_drive");
    let words = place.run("diff", &[&db, &web]).with(0).out;
    assert!(words.contains("metadata.role: was db, is web"), "{words}");
    place.run("diff", &[&db, "/no/such/file"]).with(2);
}

#[test]
fn user_data_is_shown_nowhere_but_in_our_own_json() {
    let place = Place::new();
    place.import("--server web-1").with(0);
    let file = place.file("web-1-");
    let mut record: Value =
        serde_json::from_str(&fs::read_to_string(place.path(&file)).unwrap()).unwrap();
    record["user_data"] = json!("aHVudGVyMi1odW50ZXIy");
    record["metadata"] = json!({"db_password": "hunter2"});
    let with = place.put("with.json", &record.to_string());
    for line in [
        "show",
        "show --output json",
        "export --as heat",
        "export --as shell",
        "export --as terraform",
    ] {
        let out = place.run(line, &[&with]).with(0).out;
        assert!(!out.contains("aHVudGVy"), "{line}: {out}");
        assert!(
            line.starts_with("export") || !out.contains("hunter2"),
            "{line}: {out}"
        );
    }
    let out = place.run("diff", &[&file, &with]).with(0).out;
    assert!(
        out.contains("user_data: added: 15 bytes, not shown"),
        "{out}"
    );
    assert!(!out.contains("hunter2"), "{out}");
    assert!(
        place
            .run("export --as json", &[&with])
            .with(0)
            .out
            .contains("aHVudGVyMi1odW50ZXIy")
    );
}

#[test]
fn help_and_completions_know_the_verbs() {
    let place = Place::new();
    let help = place.run("import --help", &[]).with(0).out;
    for words in [
        "--from <ORIGIN>",
        "--zone <ZONE>",
        "--server <NAME>",
        "--out <DIR>",
        "standard input",
    ] {
        assert!(help.contains(words), "{help}");
    }
    let completions = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["completions", "bash"])
        .output()
        .unwrap();
    let text = String::from_utf8(completions.stdout).unwrap();
    for words in [
        "rekindle__subcmd__record__subcmd__import",
        "rekindle__subcmd__record__subcmd__diff",
    ] {
        assert!(
            text.contains(words) || text.contains(&words.replace("__subcmd", "")),
            "{words}"
        );
    }
}
