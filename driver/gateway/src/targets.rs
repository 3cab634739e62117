//! What must hold of the parsers for any bytes at all: for `cargo fuzz`, and in short for the tests.
//!
//! In `driver/gateway`: `cargo +nightly fuzz run bodies fuzz/corpus/bodies fuzz/seeds/bodies`, and the same with `actions`. What it finds new goes
//! into the first folder.

use crate::{
    actions::parse,
    guards::Place,
    status::{Added, Kind, read, spliced},
};
use hyper::Method;
use serde_json::Value;

/// The body of a volume's action.
///
/// # Panics
/// Where a body that is not one key of ours is taken for an action, or is another action than its key says.
pub fn actions(data: &[u8]) {
    if let Some(asked) = parse(data) {
        let body: Value = serde_json::from_slice(data).unwrap_or_default();
        let keys: Vec<&String> = body
            .as_object()
            .map(|o| o.keys().collect())
            .unwrap_or_default();
        assert_eq!(keys.len(), 1, "an action has one key");
        assert!(keys[0].starts_with("os-"), "and it is one of ours");
        if let Ok(asked) = asked {
            assert_eq!(keys[0], asked.name(), "and what it says is done");
        }
    }
    for (method, path) in [
        (Method::POST, "/v3/p/volumes/1/action"),
        (Method::POST, "/v3/p/snapshots"),
        (Method::POST, "/v3/p/volumes"),
        (Method::POST, "/v3/p/groups/1/action"),
        (Method::PUT, "/v3/p/attachments/1"),
        (Method::DELETE, "/v3/p/volumes/1"),
    ] {
        if let Ok(Some(place)) = Place::of(&method, path) {
            let _ = place.asked(data);
        }
    }
}

const FIELDS: &str = r#""rekindle:status": "x", "rekindle:mode": null"#;

/// An answer's body with volumes in it.
///
/// # Panics
/// Where the body with the fields in it differs in anything else from the one without.
pub fn bodies(data: &[u8]) {
    for kind in [Kind::One, Kind::Page] {
        let Some(found) = read(data, kind) else {
            continue;
        };
        let added = Added {
            fields: FIELDS,
            replication: None,
        };
        let mut out = Vec::new();
        let volumes = found.spots.iter().map(|spot| (spot, added));
        spliced(data, 0..data.len(), volumes, &mut out);
        let each = FIELDS.len() + ", ".len();
        assert_eq!(out.len(), data.len() + each * found.spots.len());
        // Without what was added, it is what it was.
        let mut without = out.clone();
        for spot in found.spots.iter().rev() {
            let before = found
                .spots
                .iter()
                .filter(|s| s.at.end < spot.at.end)
                .count();
            let at = spot.at.end - 1 + each * before;
            without.drain(at..at + each);
        }
        assert_eq!(without, data);
        // What reads the one reads the other. Numbers that no reader holds are no fault of ours.
        if let Ok(before) = serde_json::from_slice::<Value>(data) {
            let mut after: Value = serde_json::from_slice(&out).unwrap_or_default();
            let volumes: Vec<&mut Value> = match kind {
                Kind::One => after.get_mut("volume").into_iter().collect(),
                Kind::Page => {
                    let all = after.get_mut("volumes").and_then(Value::as_array_mut);
                    all.into_iter().flatten().collect()
                }
            };
            assert_eq!(volumes.len(), found.spots.len());
            for volume in volumes.into_iter().filter_map(Value::as_object_mut) {
                assert_eq!(volume.remove("rekindle:status"), Some("x".into()));
                assert_eq!(volume.remove("rekindle:mode"), Some(Value::Null));
            }
            assert_eq!(after, before);
        }
    }
}
