//! Which of Cinder's own requests would do something to which volume. Pure.
//!
//! What Cinder would read otherwise than we do is none of these, and goes on: a guard keeps from mistakes. Behind it stands the driver's.

use hyper::Method;
use serde_json::Value;

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Delete it, by force too.
    Delete,
    /// Let Cinder forget it.
    Unmanage,
    /// Move it to another backend, which makes another image.
    Migrate,
    /// Change its type where it is.
    Retype,
    /// Grow it to so many GiB, where that can be read.
    Extend { gib: Option<u64> },
    /// Give a server access.
    Attach,
    /// Write over it: back to a snapshot, from an image, from a backup.
    Overwrite,
    /// Take a snapshot.
    Snapshot,
    /// Back it up, which begins with a snapshot.
    BackUp,
    /// Make another volume of it, which does too.
    Clone,
    /// Offer it to another project.
    Transfer,
}

impl Operation {
    /// In a sentence: "a copy cannot be …".
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Delete => "deleted",
            Self::Unmanage => "unmanaged",
            Self::Migrate => "migrated",
            Self::Retype => "retyped",
            Self::Extend { .. } => "extended",
            Self::Attach => "attached",
            Self::Overwrite => "written to",
            Self::Snapshot => "snapshotted",
            Self::BackUp => "backed up",
            Self::Clone => "cloned",
            Self::Transfer => "transferred",
        }
    }
}

/// To what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Volume(String),
    /// All volumes of one of Cinder's groups.
    Group(String),
}

/// A request that may have to be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub(crate) operation: Operation,
    pub(crate) target: Target,
}

/// Where a request goes that may be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    kind: Kind,
    /// `/v3` or `/v3/PROJECT`: what stands in front of `/volumes`.
    pub(crate) base: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `DELETE …/volumes/{id}`
    Volume(String),
    /// `POST …/volumes/{id}/action`
    Action(String),
    /// `POST …/{this}`, with the volume in the body.
    Under(Collection),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collection {
    Volumes,
    Attachments,
    Snapshots,
    GroupSnapshots,
    Backups,
    Restore,
    Transfers,
}

impl Place {
    /// Of a request's line. Cinder's server takes percent signs for what they stand for, and what follows a dot for a format.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let path = crate::percent::of_path(path);
        let mut parts: Vec<&str> = path.strip_prefix("/v3/")?.split('/').collect();
        if let Some(last) = parts.last_mut() {
            *last = last.split('.').next().unwrap_or_default();
        }
        if !parts.iter().all(|p| is_plain(p)) {
            return None;
        }
        let (project, rest) = if is_collection(parts.first()?) {
            (None, parts.as_slice())
        } else {
            let (project, rest) = parts.split_first()?;
            (Some(*project), rest)
        };
        let kind = if method == Method::DELETE {
            match rest {
                ["volumes", id] if is_volume(id) => Kind::Volume((*id).to_owned()),
                _ => return None,
            }
        } else if method == Method::POST {
            match rest {
                ["volumes", id, "action"] if is_volume(id) => Kind::Action((*id).to_owned()),
                ["volumes"] => Kind::Under(Collection::Volumes),
                ["attachments"] => Kind::Under(Collection::Attachments),
                ["snapshots"] => Kind::Under(Collection::Snapshots),
                ["group_snapshots"] => Kind::Under(Collection::GroupSnapshots),
                ["backups"] => Kind::Under(Collection::Backups),
                ["backups", _, "restore"] => Kind::Under(Collection::Restore),
                ["volume-transfers" | "os-volume-transfer"] => Kind::Under(Collection::Transfers),
                _ => return None,
            }
        } else {
            return None;
        };
        let base = match project {
            Some(project) => format!("/v3/{project}"),
            None => "/v3".to_owned(),
        };
        Some(Self { kind, base })
    }

    /// What the request would do, by its body. More than one thing: each of them.
    pub(crate) fn asked(&self, body: &[u8]) -> Vec<Guarded> {
        let one = |operation, target: Option<Target>| {
            let target = target.into_iter();
            target.map(|target| Guarded { operation, target }).collect()
        };
        match &self.kind {
            Kind::Volume(id) => one(Operation::Delete, Some(Target::Volume(id.clone()))),
            Kind::Action(id) => {
                let Some(Value::Object(actions)) = json(body) else {
                    return Vec::new();
                };
                let actions = actions.iter().filter_map(|(name, with)| action(name, with));
                let target = || Target::Volume(id.clone());
                actions
                    .map(|operation| Guarded {
                        operation,
                        target: target(),
                    })
                    .collect()
            }
            Kind::Under(collection) => {
                let Some(body) = json(body) else {
                    return Vec::new();
                };
                let (operation, [thing, key]) = match collection {
                    Collection::Volumes => (Operation::Clone, ["volume", "source_volid"]),
                    Collection::Attachments => (Operation::Attach, ["attachment", "volume_uuid"]),
                    Collection::Snapshots => (Operation::Snapshot, ["snapshot", "volume_id"]),
                    Collection::GroupSnapshots => {
                        (Operation::Snapshot, ["group_snapshot", "group_id"])
                    }
                    Collection::Backups => (Operation::BackUp, ["backup", "volume_id"]),
                    Collection::Restore => (Operation::Overwrite, ["restore", "volume_id"]),
                    Collection::Transfers => (Operation::Transfer, ["transfer", "volume_id"]),
                };
                let id = body[thing][key].as_str().filter(|id| is_volume(id));
                let target = id.map(|id| match collection {
                    Collection::GroupSnapshots => Target::Group(id.to_owned()),
                    Collection::Volumes
                    | Collection::Attachments
                    | Collection::Snapshots
                    | Collection::Backups
                    | Collection::Restore
                    | Collection::Transfers => Target::Volume(id.to_owned()),
                });
                one(operation, target)
            }
        }
    }
}

fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// Of an id or a name in a path.
fn is_plain(part: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&part.len()) && part.bytes().all(is_plain)
}

/// Whether it may be a volume's id. These two are lists of volumes to whoever looks, and no volume to Cinder.
fn is_volume(part: &str) -> bool {
    is_plain(part) && !["detail", "summary"].contains(&part)
}

fn is_collection(part: &str) -> bool {
    [
        "volumes",
        "attachments",
        "snapshots",
        "group_snapshots",
        "backups",
        "volume-transfers",
        "os-volume-transfer",
    ]
    .contains(&part)
}

/// What an action of Cinder's does, if it is one to guard.
fn action(name: &str, with: &Value) -> Option<Operation> {
    Some(match name {
        "os-force_delete" => Operation::Delete,
        "os-unmanage" => Operation::Unmanage,
        "os-migrate_volume" => Operation::Migrate,
        // It may come to a migration.
        "os-retype" if with["migration_policy"] == "on-demand" => Operation::Migrate,
        "os-retype" => Operation::Retype,
        "os-extend" => {
            let size = &with["new_size"];
            let text = size.as_str().and_then(|s| s.trim().parse().ok());
            Operation::Extend {
                gib: size.as_u64().or(text),
            }
        }
        "os-reserve" | "os-attach" | "os-initialize_connection" => Operation::Attach,
        "revert" | "os-reimage" => Operation::Overwrite,
        // Reading it, taking it away from a server, Cinder's own words about it, and what only it calls.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "9d2a4c1e-0000-4000-8000-000000000001";

    fn asked(line: &str, body: &str) -> Vec<(Operation, Target)> {
        let (method, path) = line.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let place = Place::of(&method, path);
        let asked = place.map(|p| p.asked(body.as_bytes())).unwrap_or_default();
        asked.into_iter().map(|g| (g.operation, g.target)).collect()
    }

    #[test]
    fn a_list_of_volumes_is_no_volume() {
        for (line, body) in [
            ("DELETE /v3/p/volumes/detail", ""),
            ("DELETE /v3/volumes/summary", ""),
            (
                "POST /v3/p/volumes/detail/action",
                r#"{"os-force_delete": {}}"#,
            ),
            (
                "POST /v3/p/attachments",
                r#"{"attachment": {"volume_uuid": "detail"}}"#,
            ),
        ] {
            assert_eq!(asked(line, body), [], "{line}");
        }
    }

    #[test]
    fn what_changes_a_volume_is_known_by_its_line_and_body() {
        use Operation::{
            Attach, BackUp, Clone, Delete, Extend, Migrate, Overwrite, Retype, Snapshot, Transfer,
            Unmanage,
        };
        let volume = || Target::Volume(ID.to_owned());
        let action = format!("POST /v3/p/volumes/{ID}/action");
        let at = |what: &str| format!("POST /v3/{what}");
        for (line, body, operation) in [
            (format!("DELETE /v3/p/volumes/{ID}"), String::new(), Delete),
            (format!("DELETE /v3/volumes/{ID}"), String::new(), Delete),
            (
                format!("DELETE /v3/p/volumes/{ID}.json"),
                String::new(),
                Delete,
            ),
            (
                format!("DELETE /v3/p/volumes/%39{}", &ID[1..]),
                String::new(),
                Delete,
            ),
            (action.clone(), r#"{"os-force_delete": {}}"#.into(), Delete),
            (action.clone(), r#"{"os-unmanage": {}}"#.into(), Unmanage),
            (
                action.clone(),
                r#"{"os-migrate_volume": {"host": "h"}}"#.into(),
                Migrate,
            ),
            (
                action.clone(),
                r#"{"os-retype": {"new_type": "t", "migration_policy": "on-demand"}}"#.into(),
                Migrate,
            ),
            (
                action.clone(),
                r#"{"os-retype": {"new_type": "t", "migration_policy": "never"}}"#.into(),
                Retype,
            ),
            (
                action.clone(),
                r#"{"os-extend": {"new_size": 2}}"#.into(),
                Extend { gib: Some(2) },
            ),
            (
                action.clone(),
                r#"{"os-extend": {"new_size": "3"}}"#.into(),
                Extend { gib: Some(3) },
            ),
            (
                action.clone(),
                r#"{"os-extend": {}}"#.into(),
                Extend { gib: None },
            ),
            (action.clone(), r#"{"os-reserve": null}"#.into(), Attach),
            (
                action.clone(),
                r#"{"os-initialize_connection": {}}"#.into(),
                Attach,
            ),
            (
                action.clone(),
                r#"{"revert": {"snapshot_id": "s"}}"#.into(),
                Overwrite,
            ),
            (
                action.clone(),
                r#"{"os-reimage": {"image_id": "i"}}"#.into(),
                Overwrite,
            ),
            (
                at("p/volumes"),
                format!(r#"{{"volume": {{"source_volid": "{ID}"}}}}"#),
                Clone,
            ),
            (
                at("attachments"),
                format!(r#"{{"attachment": {{"volume_uuid": "{ID}"}}}}"#),
                Attach,
            ),
            (
                at("p/snapshots"),
                format!(r#"{{"snapshot": {{"volume_id": "{ID}", "force": true}}}}"#),
                Snapshot,
            ),
            (
                at("p/backups"),
                format!(r#"{{"backup": {{"volume_id": "{ID}"}}}}"#),
                BackUp,
            ),
            (
                at("backups/b/restore"),
                format!(r#"{{"restore": {{"volume_id": "{ID}"}}}}"#),
                Overwrite,
            ),
            (
                at("p/volume-transfers"),
                format!(r#"{{"transfer": {{"volume_id": "{ID}"}}}}"#),
                Transfer,
            ),
        ] {
            assert_eq!(
                asked(&line, &body),
                [(operation, volume())],
                "{line} {body}"
            );
        }
        let group = r#"{"group_snapshot": {"group_id": "g-1"}}"#;
        assert_eq!(
            asked("POST /v3/p/group_snapshots", group),
            [(Snapshot, Target::Group("g-1".to_owned()))]
        );
    }

    #[test]
    fn the_rest_is_cinders_alone() {
        let action = format!("POST /v3/p/volumes/{ID}/action");
        for (line, body) in [
            (
                action.as_str(),
                r#"{"os-reset_status": {"status": "error"}}"#,
            ),
            (action.as_str(), r#"{"os-volume_upload_image": {}}"#),
            (action.as_str(), r#"{"os-detach": {}}"#),
            (action.as_str(), r#"{"os-terminate_connection": {}}"#),
            (action.as_str(), r#"{"os-promote": {}}"#),
            (action.as_str(), "[]"),
            (action.as_str(), "no JSON"),
            ("GET /v3/p/volumes/1", ""),
            ("DELETE /v3/p/snapshots/1", ""),
            ("DELETE /v3/p/volumes/1/metadata/x", ""),
            ("DELETE /v2/p/volumes/1", ""),
            ("DELETE /v3/p//volumes/1", ""),
            ("DELETE /v3/p/volumes/..", ""),
            ("POST /v3/p/volumes", r#"{"volume": {"size": 1}}"#),
            (
                "POST /v3/p/volumes",
                r#"{"volume": {"source_volid": null}}"#,
            ),
            (
                "POST /v3/p/snapshots",
                r#"{"snapshot": {"volume_id": "a/../b"}}"#,
            ),
            (
                "POST /v3/p/backups/b/restore",
                r#"{"restore": {"volume_id": null}}"#,
            ),
            ("POST /v3/p/backups/b/restore", r#"{"restore": {}}"#),
            ("PUT /v3/p/attachments/a", "{}"),
        ] {
            assert_eq!(asked(line, body), [], "{line} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_line_and_body_is_one_or_none(path in "/v3/[a-z0-9%./]{0,40}", body in ".{0,80}", near in "\\{\"os-(extend|retype)\": ?.{0,60}") {
            for line in [format!("POST {path}"), format!("DELETE {path}"), "POST /v3/volumes/1/action".to_owned()] {
                let _ = asked(&line, &body);
                let _ = asked(&line, &near);
            }
        }
    }
}
