use super::*;
use crate::servers::{FixedIp, PowerWish, RecordSource, diff, export, samples};
use serde_json::{Value, json};

mod secrets;
mod shapes;

const EXAMPLE: &str = include_str!("../../../tests/terraform/example.tfstate");

fn about() -> About {
    About {
        zone: samples::zone(),
        taken_at: "2026-11-26T10:00:00Z".parse().unwrap(),
    }
}

fn import(state: &str) -> Import {
    read(state.as_bytes(), &about()).unwrap()
}

fn error(state: &str) -> StateError {
    read(state.as_bytes(), &about()).unwrap_err()
}

/// Ids of the example.
fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A state of these resources.
fn state(resources: &[Value]) -> String {
    json!({"version": 4, "terraform_version": "1.9.5", "serial": 7, "lineage": "line", "outputs": {}, "resources": resources})
        .to_string()
}

fn resource(resource_type: &str, name: &str, attributes: Value) -> Value {
    json!({"mode": "managed", "type": resource_type, "name": name, "instances": [{"attributes": attributes, "sensitive_attributes": []}]})
}

/// A server that boots from the volume `v-ID`.
fn server(id: &str) -> Value {
    resource(
        "openstack_compute_instance_v2",
        id,
        json!({
            "id": id, "name": format!("name-{id}"), "flavor_name": "m1", "power_state": "active",
            "block_device": [{"source_type": "volume", "destination_type": "volume", "uuid": format!("v-{id}"), "boot_index": 0}],
        }),
    )
}

/// Sets an attribute of a resource's first instance.
fn set(resource: &mut Value, name: &str, value: Value) {
    resource["instances"][0]["attributes"][name] = value;
}

#[test]
fn the_example_is_read_whole() {
    let import = import(EXAMPLE);
    let names: Vec<&str> = import.records.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["db", "web-0", "web-1"]);
    for record in &import.records {
        assert_eq!(record.check(), Ok(()));
        assert_eq!(record.taken_at, about().taken_at);
    }

    let [db, web0, web1] = import.records.as_slice() else {
        panic!("{}", import.records.len());
    };
    assert_eq!(
        db.source,
        RecordSource::Terraform {
            serial: 42,
            lineage: "5a1b9d3c-0000-4000-8000-00000000feed".to_owned(),
            terraform_version: Some("1.9.5".to_owned()),
            address: Some(
                r#"module.shop["dr"].openstack_compute_instance_v2.db["main"]"#.to_owned()
            ),
        }
    );
    assert_eq!(db.id, Some(id(3)));
    assert_eq!(db.server_group, Some(id(800)));
    assert_eq!(db.metadata.get("role").map(String::as_str), Some("db"));
    // By device, not by the order of the state.
    let disks: Vec<_> = db
        .disks
        .iter()
        .map(|d| (d.volume.name.as_deref(), d.device.as_deref(), d.boot_index))
        .collect();
    assert_eq!(
        disks,
        [
            (Some("db-root"), Some("/dev/vda"), Some(0)),
            (Some("db-data"), Some("/dev/vdb"), None),
            (Some("db-log"), Some("/dev/vdc"), None)
        ]
    );
    let port = &db.ports[0];
    assert_eq!(port.security_groups, [id(301), id(302)]);
    assert_eq!(
        port.fixed_ips,
        [
            FixedIp {
                address: Some("10.0.0.13".parse().unwrap()),
                subnet: Some(id(901))
            },
            FixedIp {
                address: Some("2001:db8::13".parse().unwrap()),
                subnet: Some(id(902))
            },
        ]
    );

    assert_eq!(web0.power, PowerWish::Running);
    assert!(web0.config_drive);
    assert_eq!(web0.tags.iter().collect::<Vec<_>>(), ["blue"]);
    assert_eq!(web0.disks[1].volume.id, id(103));
    assert_eq!(web0.ports[0].fixed_ips[0].subnet, Some(id(901)));
    // Its port is no resource of the state: what the server says of it stands.
    assert_eq!(web1.power, PowerWish::ShutOff);
    assert_eq!(web1.ports[0].network, id(900));
    assert_eq!(web1.ports[0].mac.as_deref(), Some("fa:16:3e:00:00:02"));
    assert_eq!(web1.ports[0].fixed_ips.len(), 2);

    let refused: Vec<(&str, &str)> = import
        .refused
        .iter()
        .map(|r| (r.name.as_deref().unwrap(), r.why.as_str()))
        .collect();
    assert_eq!(refused[0].0, "cache");
    assert!(
        refused[0].1.contains("its root disk is not a volume"),
        "{refused:?}"
    );
    assert_eq!(refused[1].0, "batch");
    assert!(
        refused[1].1.contains("Nova made of an image"),
        "{refused:?}"
    );
    assert_eq!(refused.len(), 2);

    let ignored: Vec<(&str, usize)> = import
        .ignored
        .iter()
        .map(|(k, n)| (k.as_str(), *n))
        .collect();
    assert_eq!(
        ignored,
        [
            ("data.openstack_images_image_v2", 1),
            ("openstack_compute_keypair_v2", 1),
            ("random_password", 1)
        ]
    );
    let notes: Vec<&str> = import.notes.iter().map(|n| n.what.as_str()).collect();
    assert_eq!(
        notes,
        [
            "its metadata admin_pass is a secret by its name, and was left out",
            "something of its all_metadata is marked as sensitive, and was left out",
            "something of its metadata is marked as sensitive, and was left out",
            "has the floating address 203.0.113.7, which is its zone's and not in its record",
        ]
    );
}

#[test]
fn the_same_state_is_always_read_alike_and_in_any_order_of_keys() {
    // serde_json sorts an object's keys: `instances` stands before `type` then, `resources` before `version`.
    let sorted = serde_json::from_str::<Value>(EXAMPLE).unwrap().to_string();
    assert!(sorted.find("\"resources\"").unwrap() < sorted.find("\"version\"").unwrap());
    assert_eq!(import(EXAMPLE), import(&sorted));
    let marked = format!("\u{feff}{EXAMPLE}");
    assert_eq!(import(EXAMPLE), import(&marked));
}

#[test]
fn hard_case_13_a_newer_state_is_refused_with_its_version_whatever_is_in_it() {
    for rest in [
        "\"resources\": []",
        "\"resources\": {\"all\": \"new\"}",
        "\"things\": 1",
    ] {
        let e = error(&format!("{{\"version\": 5, {rest}}}"));
        assert_eq!(e, StateError::Newer { version: 5 }, "{rest}");
        assert_eq!(
            e.to_string(),
            "the state has version 5, and this release reads version 4"
        );
        assert!(e.advice().contains("newer release of Rekindle"));
    }
}

#[test]
fn an_older_state_is_refused_with_what_to_do() {
    let e = error(
        r#"{"version": 3, "terraform_version": "0.11.14", "serial": 1, "modules": [{"path": ["root"]}]}"#,
    );
    assert_eq!(e, StateError::Older { version: 3 });
    assert!(e.advice().contains("terraform state pull"));
}

#[test]
fn hard_case_24_a_state_that_is_cut_off_is_refused_wherever_it_ends() {
    let whole = EXAMPLE.trim_end();
    let places = (1..whole.len()).filter(|at| at % 97 == 0 || *at + 3 > whole.len());
    let mut cut = 0;
    for at in places {
        let e = read(&whole.as_bytes()[..at], &about()).unwrap_err();
        assert!(matches!(e, StateError::CutOff { .. }), "{at}: {e}");
        cut += 1;
    }
    assert!(cut > 100, "{cut}");
}

#[test]
fn rubbish_is_refused_as_what_it_is() {
    let shows = r#"{"format_version": "1.0", "terraform_version": "1.9.5", "values": {}}"#;
    for (text, word) in [
        ("", "empty"),
        (" \n", "empty"),
        ("PK\u{3}\u{4}", "archive"),
        ("resource \"x\" \"y\" {}", "no JSON"),
        ("[]", "no object"),
        ("\"text\"", "no object"),
        ("{}", "no version"),
        (r#"{"version": "4", "resources": []}"#, "no version"),
        (r#"{"version": 4}"#, "no resources"),
        (shows, "terraform show"),
    ] {
        let e = error(text);
        assert!(matches!(e, StateError::NoState { .. }), "{text}: {e}");
        assert!(e.to_string().contains(word), "{text}: {e}");
    }
    let e = read(b"{\"version\": 4, \"resources\": [\"\xff\xfe\"]}", &about()).unwrap_err();
    assert!(matches!(e, StateError::Malformed { .. }), "{e}");
    let deep = format!(
        "{{\"version\": 4, \"resources\": {}{}}}",
        "[".repeat(9999),
        "]".repeat(9999)
    );
    assert!(matches!(
        error(&deep),
        StateError::NoState { .. } | StateError::Malformed { .. }
    ));
}

#[test]
fn a_part_that_is_not_terraforms_is_named_by_its_place() {
    for (resources, part) in [
        (json!({}), "resources"),
        (json!([server("a"), 5]), "resources[1]"),
        (
            json!([{"mode": "managed", "type": 5, "name": "x", "instances": []}]),
            "resources[0]",
        ),
        (
            json!([{"mode": "managed", "type": "x", "name": "x", "instances": "HUNTER2"}]),
            "resources[0]",
        ),
    ] {
        let e = error(&json!({"version": 4, "resources": resources}).to_string());
        let StateError::Malformed { part: found, .. } = &e else {
            panic!("{e}");
        };
        assert_eq!(found, part);
        assert!(!format!("{e} {e:?}").contains("HUNTER2"));
    }
}

#[test]
fn an_encrypted_state_says_how_to_write_it_in_clear() {
    let e = error(
        r#"{"serial": 1, "lineage": "x", "meta": {"key_provider": "x"}, "encrypted_data": "aGVsbG8=", "encryption_version": "v0"}"#,
    );
    assert_eq!(e, StateError::Encrypted);
    assert!(e.advice().contains("tofu state pull"));
}

#[test]
fn sizes_are_bounded() {
    let large = vec![b' '; MAX_STATE + 1];
    let e = read(&large, &about()).unwrap_err();
    assert_eq!(
        e,
        StateError::TooLarge {
            bytes: MAX_STATE + 1
        }
    );
    assert!(e.to_string().contains("67108864 are allowed"), "{e}");

    let one = server("s").to_string();
    let many = vec![one; MAX_SERVERS + 1].join(",");
    let e = error(&format!("{{\"version\": 4, \"resources\": [{many}]}}"));
    assert_eq!(e, StateError::TooManyServers);
}
