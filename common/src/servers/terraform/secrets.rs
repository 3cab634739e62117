//! Takes out of an instance's attributes what the state marks as sensitive.
//!
//! The mark is a path (`metadata`, index `db_password`), and it stands only where the configuration's value was marked. The provider then
//! reads the same value back under a second name (`all_metadata`), unmarked. So a path is followed under both names, and the value itself is
//! looked for in all that is kept: first in the same instance, then, for what is long enough to be no accident, in the whole state.

use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashSet};

/// A value this long is taken for the same one wherever it stands.
const TELLING: usize = 8;

/// Attributes that hold secrets by their names, marked or not: providers mark them in their schemas, and older states do not repeat that.
const BY_NAME: &[&str] = &[
    "admin_pass",
    "api_key",
    "auth_token",
    "client_secret",
    "password",
    "payload",
    "private_key",
    "private_key_openssh",
    "private_key_pem",
    "secret",
    "secret_key",
    "token",
    "user_password",
];

/// Under which second name the provider reads a value back.
const TWINS: &[(&str, &str)] = &[
    ("metadata", "all_metadata"),
    ("tags", "all_tags"),
    ("security_group_ids", "all_security_group_ids"),
    ("fixed_ip", "all_fixed_ips"),
];

/// Values that must not be shown. `Debug` tells how many.
#[derive(Default)]
pub(super) struct Secrets(HashSet<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    pub(super) fn extend(&mut self, other: Self) {
        self.0
            .extend(other.0.into_iter().filter(|s| s.len() >= TELLING));
    }

    /// A sensitive output's value is a secret of the state.
    pub(super) fn of_outputs(&mut self, outputs: &Value) {
        for output in outputs.as_object().into_iter().flat_map(Map::values) {
            if output.get("sensitive") == Some(&Value::Bool(true)) {
                let mut found = Self::default();
                found.note(output.get("value").unwrap_or(&Value::Null));
                self.extend(found);
            }
        }
    }

    /// Whether a name says that what it names is one: the exact names that providers use.
    pub(super) fn named(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        BY_NAME.contains(&name.as_str())
    }

    /// Whether a text is one of them.
    pub(super) fn has(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    fn note(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(n) => {
                self.0.insert(n.to_string());
            }
            Value::String(text) => {
                if !text.is_empty() {
                    self.0.insert(text.clone());
                }
            }
            Value::Array(list) => list.iter().for_each(|v| self.note(v)),
            Value::Object(map) => map.values().for_each(|v| self.note(v)),
        }
    }

    /// In the same instance: one of them, or a longer text around one.
    fn shows_in(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|s| text == s || (s.len() >= TELLING && text.contains(s.as_str())))
    }
}

/// What is left of an instance's attributes.
pub(super) struct TakenOut {
    kept: Map<String, Value>,
    secrets: Secrets,
    /// Of which attributes something was taken.
    hidden: BTreeSet<String>,
    /// What is sensitive cannot be told: nothing was kept.
    unclear: bool,
}

impl TakenOut {
    pub(super) fn into_parts(self) -> (Map<String, Value>, Secrets, BTreeSet<String>, bool) {
        (self.kept, self.secrets, self.hidden, self.unclear)
    }
}

/// Takes out what is sensitive, and all that is not wanted.
pub(super) fn take_out(
    attributes: Map<String, Value>,
    marks: Option<&Value>,
    wanted: impl Fn(&str) -> bool,
) -> TakenOut {
    let mut out = TakenOut {
        kept: attributes,
        secrets: Secrets::default(),
        hidden: BTreeSet::new(),
        unclear: false,
    };
    for name in BY_NAME {
        if let Some(value) = out.kept.remove(*name) {
            out.secrets.note(&value);
        }
    }
    match marks {
        None | Some(Value::Null) => {}
        Some(Value::Array(paths)) => {
            for path in paths {
                out.follow(path);
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            out.give_up();
        }
    }
    let TakenOut {
        kept,
        secrets,
        hidden,
        ..
    } = &mut out;
    kept.retain(|name, _| wanted(name));
    hidden.retain(|name| wanted(name));
    for (name, value) in kept.iter_mut() {
        if scrub(value, &|text| secrets.shows_in(text)) {
            hidden.insert(name.clone());
        }
    }
    out
}

impl TakenOut {
    fn give_up(&mut self) {
        self.kept.clear();
        self.unclear = true;
    }

    fn follow(&mut self, path: &Value) {
        let steps: Option<Vec<Step>> = path
            .as_array()
            .and_then(|steps| steps.iter().map(Step::of).collect());
        // A path begins at an attribute.
        let first = path.get(0).and_then(|step| step.get("type"));
        let steps = steps.filter(|_| first.and_then(Value::as_str) == Some("get_attr"));
        let Some((Step::Key(name), rest)) = steps.as_deref().and_then(|s| s.split_first()) else {
            self.give_up();
            return;
        };
        self.take(name, rest, true);
        for (a, b) in TWINS {
            if a == name {
                self.take(b, rest, false);
            }
        }
    }

    /// Takes what a path leads to. Where the path of a mark leads nowhere, the whole attribute goes.
    fn take(&mut self, name: &str, rest: &[Step], marked: bool) {
        let Some(value) = self.kept.get_mut(name) else {
            return;
        };
        let taken = if rest.is_empty() {
            None
        } else {
            lead(value, rest)
        };
        match taken {
            Some(secret) => self.secrets.note(&secret),
            None if marked || rest.is_empty() => {
                if let Some(secret) = self.kept.remove(name) {
                    self.secrets.note(&secret);
                }
            }
            None => return,
        }
        self.hidden.insert(name.to_owned());
    }
}

/// A step of a path.
enum Step {
    Key(String),
    Place(usize),
}

impl Step {
    /// `{"type": "get_attr", "value": "metadata"}` or `{"type": "index", "value": {"value": …, "type": …}}`.
    fn of(step: &Value) -> Option<Self> {
        let value = step.get("value")?;
        match step.get("type")?.as_str()? {
            "get_attr" => value.as_str().map(|s| Self::Key(s.to_owned())),
            "index" => {
                let index = value.get("value").unwrap_or(value);
                match (index.as_str(), index.as_u64()) {
                    (Some(key), _) => Some(Self::Key(key.to_owned())),
                    (None, Some(n)) => usize::try_from(n).ok().map(Self::Place),
                    (None, None) => None,
                }
            }
            _ => None,
        }
    }
}

/// Takes what stands at the end of the path out of a value, if it leads somewhere.
fn lead(value: &mut Value, steps: &[Step]) -> Option<Value> {
    let (first, rest) = steps.split_first()?;
    match (first, value) {
        (Step::Key(key), Value::Object(map)) => {
            if rest.is_empty() {
                map.remove(key)
            } else {
                lead(map.get_mut(key)?, rest)
            }
        }
        (Step::Place(n), Value::Array(list)) => {
            let at = list.get_mut(*n)?;
            if rest.is_empty() {
                Some(at.take())
            } else {
                lead(at, rest)
            }
        }
        (
            Step::Key(_) | Step::Place(_),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
        ) => None,
    }
}

/// Takes every text out that is a secret; whether there was one.
pub(super) fn scrub(value: &mut Value, secret: &impl Fn(&str) -> bool) -> bool {
    match value {
        // Of numbers a boot index alone is kept, and that is nobody's secret.
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => {
            let hit = secret(text);
            if hit {
                *value = Value::Null;
            }
            hit
        }
        // Each is gone through, whatever the one before it was.
        Value::Array(list) => {
            let mut hit = false;
            for value in list {
                hit |= scrub(value, secret);
            }
            hit
        }
        Value::Object(map) => {
            // A key may be one as well: tags that were made of a secret, say.
            let before = map.len();
            map.retain(|key, _| !secret(key));
            let mut hit = map.len() != before;
            for value in map.values_mut() {
                hit |= scrub(value, secret);
            }
            hit
        }
    }
}
