//! Holds requests and answers against `openapi.yaml`: what is not described there fails the test that made it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex},
};

static API: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../openapi.yaml");
    serde_yaml_ng::from_str(text).unwrap()
});

/// Operations that were used, by id.
static USED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// All operations of the description.
pub fn operations() -> BTreeSet<String> {
    let paths = API["paths"].as_object().unwrap().values();
    paths
        .flat_map(|p| p.as_object().unwrap().values())
        .filter_map(|o| o["operationId"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The operations that were used so far.
pub fn used() -> BTreeSet<String> {
    USED.lock().unwrap().clone()
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let t: Vec<&str> = template.split('/').collect();
        t.len() == parts.len()
            && t.iter()
                .zip(&parts)
                .all(|(t, p)| t == p || (t.starts_with('{') && !p.is_empty()))
    };
    let paths = API["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| fits(template))?;
    item.get(method.to_lowercase())
}

fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": API["components"],
        "allOf": [schema],
    });
    let validator = jsonschema::validator_for(&root).unwrap();
    validator
        .iter_errors(value)
        .map(|e| format!("{} at {}", e, e.instance_path))
        .collect()
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(r) => API.pointer(r.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Whether the description allows this body for this request.
pub fn request_fits(method: &str, path: &str, body: &Value) -> bool {
    let Some(op) = operation(method, path) else {
        return false;
    };
    match op["requestBody"]["content"]["application/json"].get("schema") {
        Some(schema) => problems(schema, body).is_empty(),
        None => body.is_null(),
    }
}

/// Checks an answer; panics with what does not fit.
pub fn check_answer(method: &str, path: &str, status: u16, kind: &str, body: &[u8]) {
    let Some(op) = operation(method, path) else {
        // Not in the description: only a refusal may be the answer.
        assert!(
            matches!(status, 404 | 405),
            "{method} {path}: {status} is not described"
        );
        let value: Value = serde_json::from_slice(body).unwrap();
        let schema = json!({"$ref": "#/components/schemas/Error"});
        assert_eq!(problems(&schema, &value), Vec::<String>::new());
        return;
    };
    USED.lock()
        .unwrap()
        .insert(op["operationId"].as_str().unwrap().to_owned());
    let responses = &op["responses"];
    let response = responses
        .get(status.to_string())
        .or_else(|| responses.get("default"))
        .unwrap_or_else(|| panic!("{method} {path}: {status} is not described"));
    let kind = kind.split(';').next().unwrap();
    let media = &resolve(response)["content"][kind];
    assert!(
        !media.is_null(),
        "{method} {path}: {status} as {kind} is not described"
    );
    let values: Vec<Value> = match kind {
        "application/json" => vec![serde_json::from_slice(body).unwrap()],
        "application/x-ndjson" => body
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect(),
        _ => vec![Value::String(String::from_utf8(body.to_vec()).unwrap())],
    };
    for value in values {
        let found = problems(&media["schema"], &value);
        assert_eq!(found, Vec::<String>::new(), "{method} {path}: {value:#}");
    }
}
