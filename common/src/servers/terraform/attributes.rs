//! An instance's attributes, as they are kept. A value of another type than Terraform's provider writes counts as none.

use super::secrets::{Secrets, scrub};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Attributes without what is sensitive. `Debug` prints their names alone.
pub(super) struct Attributes {
    map: Map<String, Value>,
    hidden: BTreeSet<String>,
    unclear: bool,
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}

impl Attributes {
    pub(super) fn new(map: Map<String, Value>, hidden: BTreeSet<String>, unclear: bool) -> Self {
        Self {
            map,
            hidden,
            unclear,
        }
    }

    /// Takes out what is a secret anywhere in the state.
    pub(super) fn scrub(&mut self, secrets: &Secrets) {
        for (name, value) in &mut self.map {
            // Ids are no secrets, and a resource without its own is nothing.
            if name != "id" && scrub(value, &|text| secrets.has(text)) {
                self.hidden.insert(name.clone());
            }
        }
    }

    /// Whether what is sensitive in it could not be told, so that nothing was kept.
    pub(super) fn unclear(&self) -> bool {
        self.unclear
    }
    /// Of which attributes something was left out.
    pub(super) fn hidden(&self) -> &BTreeSet<String> {
        &self.hidden
    }
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        text(self.map.get(name)?)
    }
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }
    pub(super) fn flag(&self, name: &str) -> bool {
        self.map.get(name).and_then(Value::as_bool) == Some(true)
    }
    /// A list of blocks.
    pub(super) fn blocks(&self, name: &str) -> impl Iterator<Item = Block<'_>> {
        let list = self.map.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(Block)
    }
    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.map.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(text)
            .map(str::to_owned)
            .collect()
    }
    /// A map of texts.
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let map = self.map.get(name).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(k, v)| v.as_str().map(|v| (k.clone(), v.to_owned())))
            .collect()
    }
}

/// A block among an attribute's: `block_device`, `network`, `fixed_ip`.
#[derive(Clone, Copy)]
pub(super) struct Block<'a>(&'a Map<String, Value>);

impl<'a> Block<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        text(self.0.get(name)?)
    }
    pub(super) fn number(self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }
    pub(super) fn flag(self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool) == Some(true)
    }
}

/// The provider writes an empty text for what is not there.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|t| !t.is_empty())
}
