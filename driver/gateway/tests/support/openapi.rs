//! Holds answers against `openapi.yaml`: what is not described there fails the test that made it.

use super::raw::Answer;
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
    let all = paths.flat_map(|p| p.as_object().unwrap().values());
    let ids = all.filter_map(|o| o["operationId"].as_str());
    ids.map(str::to_owned).collect()
}

/// The operations that were used so far.
pub fn used() -> BTreeSet<String> {
    USED.lock().unwrap().clone()
}

fn operation(method: &str, path: &str) -> &'static Value {
    let path = path.split('?').next().unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    // A path of words comes before one of names.
    let names = |template: &str| template.matches('{').count();
    let fits = |template: &str| {
        let t: Vec<&str> = template.split('/').collect();
        t.len() == parts.len()
            && t.iter()
                .zip(&parts)
                .all(|(t, p)| t == p || t.starts_with('{'))
    };
    let paths = API["paths"].as_object().unwrap();
    let found = paths
        .iter()
        .filter(|(t, _)| fits(t))
        .min_by_key(|(t, _)| names(t));
    let (_, item) = found.unwrap_or_else(|| panic!("{path} is not described"));
    let op = item.get(method.to_lowercase());
    op.unwrap_or_else(|| panic!("{method} {path} is not described"))
}

fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": API["components"],
        "allOf": [schema],
    });
    let validator = jsonschema::validator_for(&root).unwrap();
    let found = validator.iter_errors(value);
    found
        .map(|e| format!("{e} at {}", e.instance_path))
        .collect()
}

/// Whether the description allows this body for an action.
pub fn action_fits(body: &Value) -> bool {
    let op = operation("POST", "/v3/p/volumes/v/action");
    let schema = &op["requestBody"]["content"]["application/json"]["schema"];
    problems(schema, body).is_empty()
}

/// Checks an answer of the gateway's; panics with what does not fit.
pub fn check(method: &str, path: &str, answer: &Answer) {
    let op = operation(method, path);
    let id = op["operationId"].as_str().unwrap().to_owned();
    USED.lock().unwrap().insert(id);
    let response = &op["responses"][answer.status.to_string()];
    assert!(
        !response.is_null(),
        "{method} {path}: {} is not described: {}",
        answer.status,
        answer.text()
    );
    let response = match response["$ref"].as_str() {
        Some(at) => API.pointer(at.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let content = &response["content"];
    if content.is_null() {
        assert_eq!(answer.text(), "", "{method} {path}");
        return;
    }
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{method} {path}"
    );
    let schema = &content["application/json"]["schema"];
    let found = problems(schema, &answer.json());
    assert_eq!(
        found,
        Vec::<String>::new(),
        "{method} {path}: {}",
        answer.text()
    );
    if answer.header("retry-after").is_some() {
        assert!(
            !response["headers"]["Retry-After"].is_null(),
            "{method} {path}: {}",
            answer.text()
        );
    }
}
