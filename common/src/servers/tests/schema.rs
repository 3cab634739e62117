//! The published schema says what the reader does.

use super::{breaches, record, with};
use crate::servers::{ServerRecord, samples::any_record};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::LazyLock};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../docs/schemas/server-record.json")).unwrap()
});

fn fits(value: &Value) -> bool {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&SCHEMA).unwrap());
    VALIDATOR.is_valid(value)
}

proptest! {
    #![proptest_config(crate::servers::samples::some())]

    #[test]
    fn what_is_written_fits_the_schema(r in any_record()) {
        let value = serde_json::to_value(&r).unwrap();
        prop_assert!(fits(&value), "{value}");
        let many = json!({"servers": [value]});
        prop_assert!(fits(&many));
    }
}

#[test]
fn what_breaks_a_rule_fits_neither() {
    assert!(fits(&serde_json::to_value(record()).unwrap()));
    for (breach, field) in breaches() {
        let value = with(&breach);
        assert!(!fits(&value), "the schema takes {breach:?}");
        let e = ServerRecord::try_from(value).unwrap_err();
        assert_eq!(e.field, field);
    }
    assert!(!fits(&json!({"servers": []})));
    assert!(!fits(&json!({"servers": [], "version": 1})));
    assert!(!fits(&json!([])));
}

#[test]
fn null_is_the_same_as_nothing_in_both() {
    let mut value = serde_json::to_value(record()).unwrap();
    let optional = [
        "id",
        "project",
        "ports",
        "security_groups",
        "key_name",
        "availability_zone",
        "metadata",
        "tags",
        "user_data",
        "config_drive",
        "server_group",
        "description",
        "locked",
    ];
    for field in optional {
        value[field] = Value::Null;
    }
    value["disks"][0]["device"] = Value::Null;
    assert!(fits(&value));
    let read = ServerRecord::try_from(value.clone()).unwrap();
    for field in optional {
        value.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(ServerRecord::try_from(value), Ok(read));
}

/// Neither has a field that the other lacks.
#[test]
fn the_fields_are_the_same() {
    let mut full = record();
    full.disks[1].tag = Some("data".to_owned());
    full.disks[1].boot_index = Some(1);
    let value = serde_json::to_value(full).unwrap();
    let names =
        |v: &Value| -> BTreeSet<String> { v.as_object().unwrap().keys().cloned().collect() };
    for (pointer, schema) in [
        ("", "/$defs/record/properties"),
        ("/flavor", "/$defs/flavor/properties"),
        ("/disks/1", "/$defs/disk/properties"),
        (
            "/disks/1/volume",
            "/$defs/disk/properties/volume/properties",
        ),
        ("/ports/0", "/$defs/port/properties"),
        (
            "/ports/0/fixed_ips/0",
            "/$defs/port/properties/fixed_ips/items/properties",
        ),
        (
            "/ports/0/address_pairs/0",
            "/$defs/port/properties/address_pairs/items/properties",
        ),
    ] {
        let schema = SCHEMA.pointer(schema).unwrap();
        assert_eq!(
            names(value.pointer(pointer).unwrap()),
            names(schema),
            "{pointer}"
        );
    }
}
