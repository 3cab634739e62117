//! What a real Nova answers, as it is kept for stubs: `tests/recorded/nova-*.json` of this crate. Each run on a real one compares.
//!
//! To record anew, after a new release of Nova: run the tests of this binary with `REKINDLE_RECORD=1`, and read the difference.

use crate::zone::Zone;
use rekindle_lab::Api;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// Compares what Nova shows under that page with what is kept under that name, or keeps it.
///
/// Fields and their kinds are compared, not their texts: those are of this run.
pub(crate) fn answer(zone: &Zone, name: &str, page: &str) {
    let told = zone
        .os
        .call(&zone.os.admin, Api::Servers, "GET", page, None)
        .unwrap();
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/nova-{name}.json"));
    if std::env::var_os("REKINDLE_RECORD").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{told:#}\n")).unwrap();
        return;
    }
    let kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut differences = Vec::new();
    compare("", &kept, &told, &mut differences);
    assert!(differences.is_empty(), "{name}: {differences:#?}\n{told:#}");
}

fn compare(at: &str, kept: &Value, told: &Value, differences: &mut Vec<String>) {
    match (kept, told) {
        (Value::Object(kept), Value::Object(told)) => {
            for (key, value) in kept {
                match told.get(key) {
                    Some(now) => compare(&format!("{at}/{key}"), value, now, differences),
                    None => differences.push(format!("{at}/{key} is not there any more")),
                }
            }
            let new = told.keys().filter(|key| !kept.contains_key(*key));
            differences.extend(new.map(|key| format!("{at}/{key} is new")));
        }
        (Value::Array(kept), Value::Array(told)) => match (kept.first(), told.first()) {
            (Some(kept), Some(told)) => compare(&format!("{at}/0"), kept, told, differences),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                differences.push(format!("{at} has {} now, not {}", told.len(), kept.len()));
            }
        },
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => {}
        (kept, told) => differences.push(format!("{at} was {kept} and is {told}")),
    }
}
