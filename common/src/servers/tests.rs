use super::{
    InvalidRecord, PortRecord, PortSecurity, RecordSource, ServerRecord, UserData,
    record::{MAX_DISKS, MAX_METADATA, MAX_RECORD},
    samples::{any_record, disk, record},
    script::{self, Defaults},
    shown::is_secret_name,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

mod schema;

/// A change to a record's JSON: the pointer, and the value; `None` takes it away.
pub(super) type Breach = (&'static str, Option<Value>);

pub(super) fn with(breach: &Breach) -> Value {
    let mut value = serde_json::to_value(record()).unwrap();
    let (pointer, new) = breach;
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match (new, parent) {
        (Some(new), Value::Object(map)) => {
            map.insert(name.to_owned(), new.clone());
        }
        (None, Value::Object(map)) => {
            map.remove(name).unwrap();
        }
        (Some(new), Value::Array(list)) => list[name.parse::<usize>().unwrap()] = new.clone(),
        (_, other) => panic!("{pointer}: {other}"),
    }
    value
}

fn refused(breach: &Breach) -> InvalidRecord {
    ServerRecord::parse(&with(breach).to_string()).unwrap_err()
}

proptest! {
    #![proptest_config(crate::servers::samples::some())]

    #[test]
    fn a_record_is_written_and_read_back_and_always_written_alike(r in any_record()) {
        prop_assert_eq!(r.check(), Ok(()));
        let text = r.to_json();
        let read = ServerRecord::parse(&text).unwrap();
        prop_assert_eq!(&read, &r);
        prop_assert_eq!(read.to_json(), text);
    }

    #[test]
    fn no_rubbish_is_a_record_and_none_ends_badly(text in ".{0,200}") {
        prop_assert!(ServerRecord::parse(&text).is_err());
    }

    #[test]
    fn a_record_that_is_cut_off_is_refused_as_such(cut in any::<proptest::sample::Index>()) {
        let text = record().to_json();
        let at = cut.index(text.trim_end().len());
        let e = ServerRecord::parse(&text[..at]).unwrap_err();
        prop_assert!(e.why.contains("cut off") || at == 0, "{e}");
    }
}

/// The rules that a schema can say, each with the field that is named.
pub(super) fn breaches() -> Vec<(Breach, &'static str)> {
    let long = || Some(json!("x".repeat(256)));
    vec![
        (("/version", Some(json!(2))), "version"),
        (("/version", None), "version"),
        (("/name", Some(json!(""))), "name"),
        (("/name", long()), "name"),
        (("/name", Some(json!(7))), "name"),
        (("/zone", Some(json!("Zone A"))), "zone"),
        (("/id", Some(json!(""))), "id"),
        (("/admin_pass", Some(json!("x"))), "admin_pass"),
        (("/flavor", Some(json!("m1.small"))), "flavor"),
        (("/flavor/name", None), "flavor.name"),
        (("/flavor/vcpus", Some(json!(-1))), "flavor.vcpus"),
        (
            ("/flavor/vcpus", Some(json!(4_294_967_296_u64))),
            "flavor.vcpus",
        ),
        (("/flavor/ram", Some(json!(1))), "flavor.ram"),
        (("/disks", Some(json!([]))), "disks"),
        (("/disks", Some(json!({}))), "disks"),
        (("/disks/0/boot_index", None), "disks"),
        (("/disks/1/volume", None), "disks[1].volume"),
        (
            ("/disks/1/volume/id", Some(json!(""))),
            "disks[1].volume.id",
        ),
        (("/disks/1/device", Some(json!("vdb"))), "disks[1].device"),
        (("/disks/1/tag", Some(json!("a/b"))), "disks[1].tag"),
        (("/disks/1/size", Some(json!(1))), "disks[1].size"),
        (("/ports/0/network", None), "ports[0].network"),
        (
            ("/ports/0/fixed_ips/1", Some(json!({}))),
            "ports[0].fixed_ips[1]",
        ),
        (
            ("/ports/0/mac", Some(json!("FA:16:3E:00:00:01"))),
            "ports[0].mac",
        ),
        (
            ("/ports/0/security_groups/0", Some(json!(""))),
            "ports[0].security_groups[0]",
        ),
        (
            ("/ports/0/port_security", Some(json!(true))),
            "ports[0].port_security",
        ),
        (
            ("/ports/0/port_security", Some(json!("off"))),
            "ports[0].security_groups",
        ),
        (
            ("/ports/0/address_pairs/0/mac", Some(json!("x"))),
            "ports[0].address_pairs[0].mac",
        ),
        (
            ("/ports/0/address_pairs/0/address", None),
            "ports[0].address_pairs[0].address",
        ),
        (("/metadata/a=b", Some(json!("x"))), "metadata"),
        (("/metadata/role", long()), "metadata.role"),
        (("/metadata/role", Some(json!(1))), "metadata.role"),
        (("/tags/0", Some(json!("a,b"))), "tags[0]"),
        (("/tags/0", Some(json!("x".repeat(61)))), "tags[0]"),
        (("/user_data", Some(json!("#cloud-config"))), "user_data"),
        (("/user_data", Some(json!("QQ="))), "user_data"),
        (
            ("/user_data", Some(json!("QUJD".repeat(16_384)))),
            "user_data",
        ),
        (("/locked", Some(json!("yes"))), "locked"),
        (("/power", Some(json!("on"))), "power"),
        (("/source/type", Some(json!("heat"))), "source.type"),
        (("/source/serial", Some(json!(1))), "source.serial"),
    ]
}

/// Those that it cannot.
fn more_breaches() -> Vec<(Breach, &'static str)> {
    vec![
        (("/zone", None), "zone"),
        (("/taken_at", Some(json!("noon"))), "taken_at"),
        (("/taken_at", None), "taken_at"),
        (("/source", None), "source"),
        (("/name", Some(json!(" web"))), "name"),
        (("/name", Some(json!("web\nrm"))), "name"),
        (("/name", Some(json!("web\u{2028}"))), "name"),
        (
            ("/disks/1/volume/id", Some(json!("vol-root"))),
            "disks[1].volume.id",
        ),
        (
            ("/disks/1/volume/id", Some(json!("a,tag=b"))),
            "disks[1].volume.id",
        ),
        (
            ("/disks/1/boot_index", Some(json!(0))),
            "disks[1].boot_index",
        ),
        (
            ("/disks/1/device", Some(json!("/dev/vda"))),
            "disks[1].device",
        ),
        (
            ("/ports/0/fixed_ips/0/address", Some(json!("10.0.0"))),
            "ports[0].fixed_ips[0].address",
        ),
        (
            (
                "/ports/0/address_pairs/0/address",
                Some(json!("10.0.0.0/33")),
            ),
            "ports[0].address_pairs[0].address",
        ),
        (
            ("/ports/1/port_id", Some(json!("port-1"))),
            "ports[1].port_id",
        ),
        (("/metadata/role", Some(json!("a\u{0}b"))), "metadata.role"),
        (
            (
                "/description",
                Some(json!("-----BEGIN RSA PRIVATE KEY-----")),
            ),
            "description",
        ),
        (
            (
                "/metadata/role",
                Some(json!("-----BEGIN OPENSSH PRIVATE KEY-----")),
            ),
            "metadata.role",
        ),
    ]
}

#[test]
fn each_rule_names_its_field() {
    for (breach, field) in breaches().into_iter().chain(more_breaches()) {
        let e = refused(&breach);
        assert_eq!(e.field, field, "{breach:?}: {e}");
    }
}

#[test]
fn no_error_carries_the_value_that_it_refuses() {
    let secret = "hunter2-hunter2";
    let pointers = [
        "/name",
        "/zone",
        "/flavor",
        "/flavor/name",
        "/flavor/vcpus",
        "/disks",
        "/disks/0",
        "/disks/0/boot_index",
        "/ports/0/mac",
        "/ports/0/fixed_ips/0/address",
        "/metadata",
        "/tags",
        "/user_data",
        "/locked",
        "/power",
        "/taken_at",
        "/source",
        "/source/type",
        "/version",
        "/admin_pass",
    ];
    let forms = [
        json!(secret),
        json!({ secret: secret }),
        json!([secret]),
        json!(format!("{secret}{}", "\n".repeat(300))),
        json!(format!("{secret}-----BEGIN PRIVATE KEY-----")),
    ];
    let mut refusals = 0;
    for pointer in pointers {
        for form in &forms {
            let value = with(&(pointer, Some(form.clone())));
            if let Err(e) = ServerRecord::parse(&value.to_string()) {
                refusals += 1;
                // A field's name is shown, a value never.
                let shown = format!("{e} {e:?}").replace(&format!("metadata.{secret}"), "");
                let shown = shown.replace(&e.field, "");
                assert!(!shown.contains(secret), "{pointer}: {e}");
            }
        }
    }
    assert!(refusals > 60, "{refusals}");
    let text = record().to_json().replace("\"web-1\"", "hunter2-hunter2");
    let e = ServerRecord::parse(&text).unwrap_err();
    assert_eq!(e.field, "the text");
    assert!(!e.to_string().contains("hunter2"), "{e}");
}

#[test]
fn a_newer_version_is_told_before_all_else() {
    let text = r#"{"version": 2, "machine": {"what": "ever"}}"#;
    let e = ServerRecord::parse(text).unwrap_err();
    assert_eq!(e.field, "version");
    assert!(e.why.contains("is 2, and this release reads 1"), "{e}");
}

#[test]
fn bounds_hold_and_what_is_just_within_them_is_read() {
    let many = |disks| {
        let mut r = record();
        r.disks = (0..disks)
            .map(|n| super::DiskRecord {
                device: None,
                ..disk(&format!("v{n}"), (n == 0).then_some(0), "")
            })
            .collect();
        r
    };
    assert_eq!(many(MAX_DISKS).check(), Ok(()));
    assert_eq!(many(MAX_DISKS + 1).check().unwrap_err().field, "disks");

    let mut r = record();
    r.metadata = (0..MAX_METADATA)
        .map(|n| (format!("k{n}"), "x".repeat(255)))
        .collect();
    assert_eq!(r.check(), Ok(()));
    r.user_data = Some(UserData::new("QUJD".repeat(16_383)).unwrap());
    assert_eq!(r.check(), Ok(()), "user data is not counted");
    assert!(r.to_json().len() > MAX_RECORD);
    // Four bytes for each character.
    r.metadata
        .values_mut()
        .for_each(|v| *v = "\u{1f600}".repeat(255));
    let e = r.check().unwrap_err();
    assert!(e.why.contains("65536 are allowed"), "{e}");
    r.metadata.insert("one-more".to_owned(), String::new());
    assert_eq!(r.check().unwrap_err().field, "metadata");
}

#[test]
fn a_server_whose_root_disk_is_no_volume_is_refused_in_words() {
    let mut r = record();
    r.disks[0].boot_index = Some(1);
    let e = r.check().unwrap_err();
    assert_eq!(e.field, "disks");
    assert!(
        e.why
            .starts_with("cannot be protected: its root disk is not a volume"),
        "{e}"
    );
}

#[test]
fn hard_case_38_the_order_of_disks_is_the_records() {
    let mut r = record();
    r.disks.push(disk("vol-last", None, "/dev/vdc"));
    let text = r.to_json();
    let read = ServerRecord::parse(&text).unwrap();
    let order: Vec<&str> = read.disks.iter().map(|d| d.volume.id.as_str()).collect();
    assert_eq!(order, ["vol-root", "vol-data", "vol-last"]);
    r.disks.swap(0, 1);
    assert_eq!(r.check().unwrap_err().field, "disks[1].boot_index");
}

#[test]
fn user_data_is_never_printed() {
    let r = record();
    let text = format!("{r:?} {:?}", r.user_data);
    assert!(!text.contains("I2Nsb3Vk"), "{text}");
    assert!(text.contains("UserData(14 bytes)"), "{text}");
    let shown = r.shown();
    assert_eq!(shown["user_data_bytes"], 14);
    assert!(!shown.to_string().contains("I2Nsb3Vk"));
    for (base64, bytes) in [("", 0), ("QQ==", 1), ("QUI=", 2), ("QUJD", 3)] {
        assert_eq!(UserData::new(base64).unwrap().bytes(), bytes);
    }
}

#[test]
fn metadata_that_is_a_secret_by_its_name_is_not_shown() {
    let mut r = record();
    r.metadata
        .insert("DB_Password".to_owned(), "hunter2".to_owned());
    let shown = r.shown();
    assert_eq!(shown["metadata"]["DB_Password"], "(not shown)");
    assert_eq!(shown["metadata"]["role"], "web");
    assert!(is_secret_name("adminPass") && !is_secret_name("role"));
}

#[test]
fn a_script_gives_one_record_or_many_and_one_servers_fault_is_no_others() {
    let defaults = Defaults {
        zone: Some(super::samples::zone()),
        taken_at: "2026-11-26T12:00:00Z".parse().unwrap(),
    };
    let mut lean = serde_json::to_value(record()).unwrap();
    for field in ["zone", "source", "taken_at"] {
        lean.as_object_mut().unwrap().remove(field).unwrap();
    }
    let one = script::read(&lean.to_string(), &defaults).unwrap();
    let made = one[0].record.as_ref().unwrap();
    assert_eq!(
        (made.taken_at, &made.source),
        (defaults.taken_at, &RecordSource::Script)
    );
    assert_eq!(made.zone.as_str(), "zone-a");

    let mut elsewhere = lean.clone();
    elsewhere["zone"] = json!("zone-b");
    let mut claims = lean.clone();
    claims["source"] = json!({"type": "nova"});
    let broken = json!({"version": 1, "name": "broken\n", "password": "hunter2"});
    let text = json!({"servers": [lean, broken, elsewhere, claims]}).to_string();
    let read = script::read(&text, &defaults).unwrap();
    let fields: Vec<Option<String>> = read
        .iter()
        .map(|s| s.record.as_ref().err().map(|e| e.field.clone()))
        .collect();
    assert_eq!(
        fields,
        [
            None,
            Some("servers[1].flavor".to_owned()),
            Some("servers[2].zone".to_owned()),
            None
        ]
    );
    assert_eq!(read[1].name.as_deref(), Some("broken\\n"));
    assert_eq!(
        read[3].record.as_ref().unwrap().source,
        RecordSource::Script
    );
    assert!(!format!("{read:?}").contains("hunter2"));

    for (text, field) in [
        ("", "the text"),
        ("[]", "the text"),
        (r#"{"servers": []}"#, "servers"),
        (r#"{"servers": {}}"#, "servers"),
        (r#"{"servers": [], "version": 1}"#, "version"),
        (r#"{"servers": [{"#, "the text"),
    ] {
        let first = match script::read(text, &defaults) {
            Err(e) => e,
            Ok(list) => list[0].record.clone().unwrap_err(),
        };
        assert_eq!(first.field, field, "{text}");
    }
}

/// As every record of an older release.
#[test]
fn a_port_that_does_not_say_whether_it_is_filtered_is_read_and_has_the_servers_groups() {
    let mut value = serde_json::to_value(record()).unwrap();
    let port = value["ports"][0].as_object_mut().unwrap();
    for field in ["security_groups", "port_security", "address_pairs"] {
        port.remove(field).unwrap();
    }
    let mut read = ServerRecord::try_from(value).unwrap();
    assert_eq!(read.ports[0].port_security, PortSecurity::Unknown);
    assert_eq!(read.groups_of(&read.ports[0]), ["default"]);
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["ports"][0].get("port_security"), None);
    for known in [PortSecurity::On, PortSecurity::Off] {
        read.ports[0].port_security = known;
        assert!(read.groups_of(&read.ports[0]).is_empty(), "{known:?}");
        let again = ServerRecord::parse(&read.to_json()).unwrap();
        assert_eq!(again, read);
    }
}

#[test]
fn what_is_filtered_and_what_is_allowed_beside_it_are_changes_of_a_port() {
    let before = record();
    let mut after = before.clone();
    after.ports[0].port_security = PortSecurity::Off;
    after.ports[0].security_groups.clear();
    after.ports[0].address_pairs.clear();
    let fields: Vec<String> = super::diff::diff(&before, &after)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        fields,
        [
            "ports.port-1.address_pairs: gone; was 10.0.0.9 with 00:00:5e:00:01:07",
            "ports.port-1.port_security: was on, is off",
            "ports.port-1.security_groups: gone; was web",
        ]
    );
}

#[test]
fn ports_that_name_no_group_have_the_servers() {
    let r = record();
    let groups: BTreeSet<&String> = r
        .ports
        .iter()
        .flat_map(|p: &PortRecord| r.groups_of(p))
        .collect();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["default", "web"]);
}
