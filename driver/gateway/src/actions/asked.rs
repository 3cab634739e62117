//! From a path and a body to an action, or to nothing of ours.

use rekindle_common::{GroupName, mode::ReplicationMode};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

/// What becomes of a volume's protection group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Group {
    /// It stays in the one that it is in, or in none.
    Stays,
    /// It is in that one.
    Joins(GroupName),
    /// It is in none.
    Leaves,
}

/// What is asked of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Put it under replication, or change how.
    Replicate { mode: ReplicationMode, group: Group },
    /// Take replication off.
    Unreplicate,
    /// Make this zone's image the one that is written to, where nobody else's is.
    Promote,
    /// Also where somebody else's may be.
    PromoteByForce,
    /// Stop writes here.
    Demote,
    /// Discard this zone's copy and make it anew.
    Resync,
}

impl Asked {
    /// Its key in a body, and in the rules.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Replicate { .. } => REPLICATE,
            Self::Unreplicate => UNREPLICATE,
            Self::Promote | Self::PromoteByForce => PROMOTE,
            Self::Demote => DEMOTE,
            Self::Resync => RESYNC,
        }
    }
}

pub(super) const REPLICATE: &str = "os-replicate";
pub(super) const UNREPLICATE: &str = "os-unreplicate";
pub(super) const PROMOTE: &str = "os-promote";
pub(super) const DEMOTE: &str = "os-demote";
pub(super) const RESYNC: &str = "os-resync";

/// A volume's action path: `/v3/{project}/volumes/{id}/action`, or without the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActionPath<'a> {
    /// The path of the volume itself.
    pub(crate) volume_path: &'a str,
    /// Its id.
    pub(crate) volume: &'a str,
}

impl<'a> ActionPath<'a> {
    /// Of a path behind the prefix, exactly in this form: whatever else Cinder takes for it goes to Cinder, and has no action of ours there.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let volume_path = path.strip_suffix("/action")?;
        let mut parts = volume_path.strip_prefix("/v3/")?.rsplit('/');
        let (volume, volumes) = (parts.next()?, parts.next()?);
        let project = parts.next();
        let plain = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let whole = volumes == "volumes"
            && plain(volume)
            && project.is_none_or(plain)
            && parts.next().is_none();
        whole.then_some(Self {
            volume_path,
            volume,
        })
    }
}

/// An action of ours; `None` where the body is Cinder's. In words, what of ours is wrong.
pub(crate) fn parse(body: &[u8]) -> Option<Result<Asked, String>> {
    let Single(key, value) = serde_json::from_slice(body).ok()?;
    Some(match key.as_str() {
        REPLICATE => replicate(value),
        UNREPLICATE => nothing(&key, &value).map(|()| Asked::Unreplicate),
        PROMOTE => promote(value),
        DEMOTE => nothing(&key, &value).map(|()| Asked::Demote),
        RESYNC => nothing(&key, &value).map(|()| Asked::Resync),
        _ => return None,
    })
}

/// An object with one key, which stands in it once: two of the same name are two readings.
struct Single(String, Value);

impl<'de> Deserialize<'de> for Single {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Single;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one key")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Single, M::Error> {
                let more = || serde::de::Error::custom("not one key");
                let (key, value) = map.next_entry()?.ok_or_else(more)?;
                match map.next_key::<String>()? {
                    None => Ok(Single(key, value)),
                    Some(_) => Err(more()),
                }
            }
        }
        from.deserialize_map(One)
    }
}

fn nothing(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        Value::Object(fields) if fields.is_empty() => Ok(()),
        Value::Object(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => Err(format!("{key} takes nothing: write {{\"{key}\": null}}")),
    }
}

fn promote(value: Value) -> Result<Asked, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        #[serde(default)]
        force: bool,
    }
    if value.is_null() {
        return Ok(Asked::Promote);
    }
    let Fields { force } = Fields::deserialize(value).map_err(|e| format!("{PROMOTE}: {e}"))?;
    Ok(if force {
        Asked::PromoteByForce
    } else {
        Asked::Promote
    })
}

fn replicate(value: Value) -> Result<Asked, String> {
    let wrong = |e: &dyn fmt::Display| format!("{REPLICATE}: {e}");
    let Value::Object(mut fields) = value else {
        return Err(wrong(
            &"give a mode: instant, once, or periodic with start and interval",
        ));
    };
    let group = match fields.remove("group") {
        None | Some(Value::Null) => None,
        Some(group) => {
            Some(GroupName::deserialize(group).map_err(|e| wrong(&format!("group: {e}")))?)
        }
    };
    let leaves = match fields.remove("leave_group") {
        None | Some(Value::Null) => false,
        Some(leaves) => {
            bool::deserialize(leaves).map_err(|e| wrong(&format!("leave_group: {e}")))?
        }
    };
    let group = match (group, leaves) {
        (Some(_), true) => {
            return Err(wrong(
                &"group and leave_group exclude each other: name the group that the volume is to be in, or say leave_group alone",
            ));
        }
        (Some(group), false) => Group::Joins(group),
        (None, true) => Group::Leaves,
        (None, false) => Group::Stays,
    };
    // Clients write what they have no value for as null.
    fields.retain(|_, v| !v.is_null());
    let known: &[&str] = match fields.get("mode").and_then(Value::as_str) {
        Some("periodic") => &["mode", "start", "interval"],
        Some(_) | None => &["mode"],
    };
    // A field that is passed over may be what somebody relies on.
    if let Some(other) = fields.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(wrong(&format!("this mode has no field {other:?}")));
    }
    let mode = ReplicationMode::deserialize(Value::Object(fields)).map_err(|e| wrong(&e))?;
    match mode {
        ReplicationMode::Periodic(schedule) => schedule.check().map_err(|e| wrong(&e))?,
        ReplicationMode::Instant | ReplicationMode::Once => {}
    }
    Ok(Asked::Replicate { mode, group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_volumes_action_has_one_path() {
        let id = "9d2a4c1e-0000-4000-8000-000000000001";
        for (path, volume_path) in [
            (
                format!("/v3/0123abc/volumes/{id}/action"),
                format!("/v3/0123abc/volumes/{id}"),
            ),
            (
                format!("/v3/volumes/{id}/action"),
                format!("/v3/volumes/{id}"),
            ),
        ] {
            let found = ActionPath::of(&path).unwrap();
            assert_eq!(
                (found.volume, found.volume_path),
                (id, volume_path.as_str())
            );
        }
        for other in [
            "/v3/p/volumes/1/action/",
            "/v3/p//volumes/1/action",
            "/v3//volumes/1/action",
            "/v3/a/b/volumes/1/action",
            "/v3/p/volumes//action",
            "/v3/p/volumes/../action",
            "/v3/p/volumes/%31/action",
            "/v3/p/snapshots/1/action",
            "/v2/p/volumes/1/action",
            "/action",
            "/v3/action",
            "/v3/volumes/action",
        ] {
            assert_eq!(ActionPath::of(other), None, "{other}");
        }
    }

    #[test]
    fn ours_are_those_with_one_key_of_ours() {
        let ours = |text: &str| parse(text.as_bytes());
        for (text, name) in [
            (r#"{"os-replicate": {"mode": "instant"}}"#, REPLICATE),
            (
                r#"{"os-replicate": {"mode": "once", "group": "db", "start": null}}"#,
                REPLICATE,
            ),
            (
                r#"{"os-replicate": {"mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m"}}"#,
                REPLICATE,
            ),
            (r#"{"os-unreplicate": null}"#, UNREPLICATE),
            (r#"{"os-promote": {}}"#, PROMOTE),
            (r#"{"os-demote": {}}"#, DEMOTE),
            (r#" { "os-resync" : null } "#, RESYNC),
        ] {
            assert_eq!(ours(text).unwrap().unwrap().name(), name, "{text}");
        }
        for (text, group) in [
            (r#"{"mode": "once"}"#, Group::Stays),
            (
                r#"{"mode": "once", "group": null, "leave_group": null}"#,
                Group::Stays,
            ),
            (
                r#"{"mode": "once", "group": "db", "leave_group": false}"#,
                Group::Joins("db".parse().unwrap()),
            ),
            (r#"{"mode": "once", "leave_group": true}"#, Group::Leaves),
        ] {
            let mode = ReplicationMode::Once;
            let asked = ours(&format!(r#"{{"os-replicate": {text}}}"#));
            assert_eq!(asked, Some(Ok(Asked::Replicate { mode, group })), "{text}");
        }
        assert_eq!(
            ours(r#"{"os-promote": {"force": true}}"#),
            Some(Ok(Asked::PromoteByForce))
        );
        assert_eq!(
            ours(r#"{"os-promote": {"force": false}}"#),
            Some(Ok(Asked::Promote))
        );
        for cinders in [
            "",
            "{}",
            "null",
            "[]",
            "[\"os-promote\"]",
            "\"os-promote\"",
            r#"{"os-extend": {"new_size": 2}}"#,
            r#"{"os-promote": {}, "os-extend": {}}"#,
            r#"{"os-promote": {}, "os-promote": {"force": true}}"#,
            r#"{"os-promote": {}"#,
            r#"{"os-promote": {}} x"#,
            r#"{"OS-promote": {}}"#,
        ] {
            assert_eq!(ours(cinders), None, "{cinders}");
        }
        for (bad, word) in [
            (r#"{"os-replicate": null}"#, "mode"),
            (r#"{"os-replicate": {}}"#, "mode"),
            (r#"{"os-replicate": {"mode": "often"}}"#, "often"),
            (r#"{"os-replicate": {"mode": "periodic"}}"#, "start"),
            (
                r#"{"os-replicate": {"mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "1s"}}"#,
                "bounds",
            ),
            (
                r#"{"os-replicate": {"mode": "once", "group": "a b"}}"#,
                "group",
            ),
            (
                r#"{"os-replicate": {"mode": "once", "interval": "15m"}}"#,
                "interval",
            ),
            (r#"{"os-replicate": {"mode": "once", "speed": 1}}"#, "speed"),
            (
                r#"{"os-replicate": {"mode": "once", "group": "db", "leave_group": true}}"#,
                "exclude each other",
            ),
            (
                r#"{"os-replicate": {"mode": "once", "leave_group": "yes"}}"#,
                "leave_group",
            ),
            (r#"{"os-promote": {"force": "yes"}}"#, "boolean"),
            (r#"{"os-promote": {"forced": true}}"#, "forced"),
            (r#"{"os-demote": {"force": true}}"#, "takes nothing"),
            (r#"{"os-unreplicate": 1}"#, "takes nothing"),
        ] {
            let why = ours(bad).unwrap().unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
    }

    proptest! {
        /// Whatever a body holds, it is read or not: nothing else comes of it.
        #[test]
        fn any_body_is_one_or_the_other(body in prop::collection::vec(any::<u8>(), 0..200), json in "\\{\"os-(promote|replicate)\": ?.{0,80}") {
            let _ = parse(&body);
            let _ = parse(json.as_bytes());
        }
    }
}
