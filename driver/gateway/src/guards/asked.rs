//! Which of Cinder's own requests would do something to which volume. Pure.
//!
//! A body that Cinder would read and we do not is refused ([`Illegible`]); one that neither does goes on, for Cinder to say so.

use super::{
    json::Body,
    place::{Collection, Kind, Place, is_volume},
};
use crate::actions::OnGroup;
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
    /// What an action of Cinder's on its group does to the replication of each.
    Replication(OnGroup),
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
            Self::Replication(OnGroup::FailOver) => "failed over",
            Self::Replication(OnGroup::Enable) => "replicated",
            Self::Replication(OnGroup::Disable) => "unreplicated",
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

/// What is done to a group, or made of one. `list_replication_targets` only looks. `groups/action` has no id, and makes one alone.
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
    // Whatever stands behind the key: Cinder goes by that alone.
    for (key, what) in [
        ("failover_replication", OnGroup::FailOver),
        ("enable_replication", OnGroup::Enable),
        ("disable_replication", OnGroup::Disable),
    ] {
        all.extend(body.get(key).map(|_| Guarded {
            operation: Operation::Replication(what),
            target: Target::Group(id.to_owned()),
        }));
    }
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
mod tests;
