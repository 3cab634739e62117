//! Which of Cinder's own requests would do something to which volume. Pure.
//!
//! A body that Cinder would read and we do not is refused ([`Illegible`]); one that neither does goes on, for Cinder to say so.

use super::{
    json::Body,
    place::{Collection, Kind, Place, is_volume},
};
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
    /// The volume of an attachment.
    Attachment(String),
    /// The volume that a snapshot is of.
    Snapshot(String),
    /// All volumes of the group that a group's snapshot is of.
    GroupSnapshot(String),
    /// The same of a consistency group.
    ConsistencySnapshot(String),
}

/// A body that Cinder may read, and that is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Illegible;

/// A request that may have to be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub(crate) operation: Operation,
    pub(crate) target: Target,
}

impl Place {
    /// Whether its body says what is done.
    pub(crate) fn is_told_by_body(&self) -> bool {
        match &self.kind {
            Kind::Volume(_) => false,
            Kind::Action(_)
            | Kind::Group(_)
            | Kind::ConsistencyGroup(_)
            | Kind::Attachment(_)
            | Kind::Under(_) => true,
        }
    }

    /// What the request would do, by its body. More than one thing: each of them.
    pub(crate) fn asked(&self, body: &[u8]) -> Result<Vec<Guarded>, Illegible> {
        if let Kind::Volume(id) = &self.kind {
            return Ok(vec![Guarded {
                operation: Operation::Delete,
                target: Target::Volume(id.clone()),
            }]);
        }
        match Body::of(body) {
            Body::Read(body) => Ok(self.says(&body)),
            Body::Nobodys => Ok(Vec::new()),
            Body::Unclear => Err(Illegible),
        }
    }

    fn says(&self, body: &Value) -> Vec<Guarded> {
        let one = |operation, target: Option<Target>| {
            let target = target.into_iter();
            target.map(|target| Guarded { operation, target }).collect()
        };
        match &self.kind {
            Kind::Volume(id) => one(Operation::Delete, Some(Target::Volume(id.clone()))),
            Kind::Action(id) => {
                let actions = body.as_object().into_iter().flatten();
                let actions = actions.filter_map(|(name, with)| action(name, with));
                let target = || Target::Volume(id.clone());
                actions
                    .map(|operation| Guarded {
                        operation,
                        target: target(),
                    })
                    .collect()
            }
            Kind::Group(id) => group_action(id, body),
            // Without force Cinder deletes none that has volumes.
            Kind::ConsistencyGroup(id) => {
                let deletes = is_said(&body["consistencygroup"]["force"]);
                one(
                    Operation::Delete,
                    deletes.then(|| Target::Group(id.clone())),
                )
            }
            Kind::Attachment(id) => {
                let connects = !body["attachment"]["connector"].is_null();
                one(
                    Operation::Attach,
                    connects.then(|| Target::Attachment(id.clone())),
                )
            }
            Kind::Under(collection) => under(*collection, body),
        }
    }
}

/// Of each collection: what is made of what, and where in the body that stands.
type Source = (Operation, &'static str, &'static str, fn(String) -> Target);

fn under(collection: Collection, body: &Value) -> Vec<Guarded> {
    use Operation::{Attach, BackUp, Clone, Overwrite, Snapshot, Transfer};
    let sources: &[Source] = match collection {
        Collection::Volumes => &[
            (Clone, "volume", "source_volid", Target::Volume),
            (Clone, "volume", "snapshot_id", Target::Snapshot),
        ],
        Collection::Attachments => &[(Attach, "attachment", "volume_uuid", Target::Volume)],
        Collection::Snapshots => &[(Snapshot, "snapshot", "volume_id", Target::Volume)],
        Collection::GroupSnapshots => &[(Snapshot, "group_snapshot", "group_id", Target::Group)],
        Collection::ConsistencySnapshots => {
            &[(Snapshot, "cgsnapshot", "consistencygroup_id", Target::Group)]
        }
        Collection::ConsistencyGroups => &[
            (
                Clone,
                "consistencygroup-from-src",
                "source_cgid",
                Target::Group,
            ),
            (
                Clone,
                "consistencygroup-from-src",
                "cgsnapshot_id",
                Target::ConsistencySnapshot,
            ),
        ],
        Collection::Backups => &[(BackUp, "backup", "volume_id", Target::Volume)],
        Collection::Restore => &[(Overwrite, "restore", "volume_id", Target::Volume)],
        Collection::Transfers => &[(Transfer, "transfer", "volume_id", Target::Volume)],
    };
    let found = sources
        .iter()
        .filter_map(|(operation, thing, key, target)| {
            Some(Guarded {
                operation: *operation,
                target: target(id_in(&body[*thing][*key])?),
            })
        });
    found.collect()
}

/// What is done to a group, or made of one. `groups/action` has no id, and makes one alone.
fn group_action(id: &str, body: &Value) -> Vec<Guarded> {
    let mut all = Vec::new();
    // Without that Cinder deletes none that has volumes.
    if is_said(&body["delete"]["delete-volumes"]) {
        all.push(Guarded {
            operation: Operation::Delete,
            target: Target::Group(id.to_owned()),
        });
    }
    let from = &body["create-from-src"];
    let mut made_of = |key: &str, target: fn(String) -> Target| {
        all.extend(id_in(&from[key]).map(|id| Guarded {
            operation: Operation::Clone,
            target: target(id),
        }));
    };
    made_of("source_group_id", Target::Group);
    made_of("group_snapshot_id", Target::GroupSnapshot);
    all
}

/// Whether a flag may be one that Cinder takes for a yes: it knows many words for that.
fn is_said(flag: &Value) -> bool {
    !matches!(flag, Value::Null | Value::Bool(false))
}

/// An id in a body, in the one case that Cinder writes it in: its database may take the other for the same.
fn id_in(value: &Value) -> Option<String> {
    let id = value.as_str()?.to_ascii_lowercase();
    is_volume(&id).then_some(id)
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
    use hyper::Method;
    use proptest::prelude::*;

    const ID: &str = "9d2a4c1e-0000-4000-8000-000000000001";

    fn asked(line: &str, body: &str) -> Vec<(Operation, Target)> {
        let (method, path) = line.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let place = Place::of(&method, path);
        let place = place.unwrap_or_else(|_| panic!("{line} is unclear"));
        let asked = place.map(|p| p.asked(body.as_bytes()).unwrap());
        let asked = asked.unwrap_or_default();
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
    }

    #[test]
    fn groups_snapshots_and_attachments_stand_for_their_volumes() {
        use Operation::{Attach, Clone, Delete, Snapshot};
        let delete = r#"{"delete": {"delete-volumes": true}}"#;
        let force = r#"{"consistencygroup": {"force": true}}"#;
        for (line, body, operation, target) in [
            (
                "POST group_snapshots",
                r#"{"group_snapshot": {"group_id": "g-1"}}"#,
                Snapshot,
                Target::Group as fn(String) -> Target,
            ),
            (
                "POST cgsnapshots",
                r#"{"cgsnapshot": {"consistencygroup_id": "g-1"}}"#,
                Snapshot,
                Target::Group,
            ),
            ("POST groups/g-1/action", delete, Delete, Target::Group),
            (
                "POST groups/g-1/action",
                r#"{"delete": {"delete-volumes": "yes"}}"#,
                Delete,
                Target::Group,
            ),
            (
                "POST consistencygroups/g-1/delete",
                force,
                Delete,
                Target::Group,
            ),
            ("DELETE consistencygroups/g-1", force, Delete, Target::Group),
            (
                "POST groups/action",
                r#"{"create-from-src": {"source_group_id": "g-1"}}"#,
                Clone,
                Target::Group,
            ),
            (
                "POST groups/action",
                r#"{"create-from-src": {"group_snapshot_id": "g-1"}}"#,
                Clone,
                Target::GroupSnapshot,
            ),
            (
                "POST consistencygroups/create_from_src",
                r#"{"consistencygroup-from-src": {"source_cgid": "g-1"}}"#,
                Clone,
                Target::Group,
            ),
            (
                "POST consistencygroups/create_from_src",
                r#"{"consistencygroup-from-src": {"cgsnapshot_id": "g-1"}}"#,
                Clone,
                Target::ConsistencySnapshot,
            ),
            (
                "POST volumes",
                r#"{"volume": {"size": 1, "snapshot_id": "G-1"}}"#,
                Clone,
                Target::Snapshot,
            ),
            (
                "PUT attachments/g-1",
                r#"{"attachment": {"connector": {"host": "h"}}}"#,
                Attach,
                Target::Attachment,
            ),
        ] {
            let line = line.replacen(' ', " /v3/p/", 1);
            assert_eq!(
                asked(&line, body),
                [(operation, target("g-1".to_owned()))],
                "{line} {body}"
            );
        }
    }

    #[test]
    fn a_body_that_cinder_alone_would_read_is_illegible() {
        let body = r#"{"os-force_delete": {}, "x": NaN}"#;
        for line in [
            format!("POST /v3/p/volumes/{ID}/action"),
            "POST /v3/p/groups/g/action".to_owned(),
            "DELETE /v3/p/consistencygroups/g".to_owned(),
            "PUT /v3/p/attachments/a".to_owned(),
            "POST /v3/p/volumes".to_owned(),
        ] {
            let (method, path) = line.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let place = Place::of(&method, path).unwrap().unwrap();
            assert!(place.is_told_by_body(), "{line}");
            assert_eq!(place.asked(body.as_bytes()), Err(Illegible), "{line}");
            assert_eq!(place.asked(b"{\"x\": "), Ok(Vec::new()), "{line}");
        }
        // Of a deletion the body says nothing, to Cinder either.
        let place = Place::of(&Method::DELETE, &format!("/v3/p/volumes/{ID}"));
        let place = place.unwrap().unwrap();
        assert!(!place.is_told_by_body());
        assert_eq!(place.asked(body.as_bytes()).unwrap().len(), 1);
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
            ("DELETE /v3/p/groups/1", ""),
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
            (
                "PUT /v3/p/attachments/a",
                r#"{"attachment": {"connector": null}}"#,
            ),
            ("PUT /v3/p/volumes/1", r#"{"volume": {"name": "n"}}"#),
            (
                "POST /v3/p/groups/g/action",
                r#"{"delete": {"delete-volumes": false}}"#,
            ),
            ("POST /v3/p/groups/g/action", r#"{"delete": {}}"#),
            (
                "POST /v3/p/groups/g/action",
                r#"{"reset_status": {"status": "available"}}"#,
            ),
            (
                "POST /v3/p/consistencygroups/g/delete",
                r#"{"consistencygroup": {"force": false}}"#,
            ),
            ("POST /v3/p/consistencygroups/g/delete", ""),
            ("POST /v3/p/groups", r#"{"group": {"group_type": "t"}}"#),
            ("POST /v3/p/volumes", r#"{"volume": {"snapshot_id": null}}"#),
        ] {
            assert_eq!(asked(line, body), [], "{line} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_line_and_body_is_one_or_none(path in "/v3/[a-z0-9%./]{0,40}", body in ".{0,80}", near in "\\{\"os-(extend|retype)\": ?.{0,60}") {
            for line in [format!("POST {path}"), format!("DELETE {path}"), "POST /v3/volumes/1/action".to_owned()] {
                let (method, path) = line.split_once(' ').unwrap();
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                if let Ok(Some(place)) = Place::of(&method, path) {
                    let _ = place.asked(body.as_bytes());
                    let _ = place.asked(near.as_bytes());
                }
            }
        }
    }
}
