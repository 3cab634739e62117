//! What stands in a volume's metadata: its policy, what Cinder says of it, and that it was deleted there. Pure.

use super::{
    error::Refusal,
    look::Look,
    rules::{POLICY_KEYS, Promote, Step},
};
use crate::backend::view::{Lineage, MirrorView, Mirrored};
use rekindle_common::{
    DemotionToken, GroupName, Timestamp, ZoneName,
    action::{FromCinder, VolumeAction},
    deletion::{After, Deletion, OnDelete},
    facts::CinderFacts,
    ids::InvalidName,
    metadata::{self, VolumePolicy},
    mode::{MirrorImageMode, ReplicationMode},
    servers::ServerRecord,
    status::VolumeStatus,
    volume::Role,
};
use std::collections::BTreeMap;

/// What an image brings along that was copied from another one, or was left by a former replication: librbd copies metadata
/// to clones.
const OF_ANOTHER_LIFE: [&str; 6] = [
    metadata::CINDER,
    metadata::SERVER,
    metadata::ON_DELETE,
    metadata::DELETED,
    metadata::FORCED,
    metadata::DEMOTION_TOKEN,
];

/// What a copy that is made anew has no part in.
const OF_THE_PAST: [&str; 2] = [metadata::FORCED, metadata::DEMOTION_TOKEN];

/// What is to be written beside the policy.
#[derive(Debug, Default)]
struct Extras {
    set: BTreeMap<String, String>,
    remove: Vec<&'static str>,
    /// Whether the other zone should have it soon.
    urgent: bool,
}

/// The group that a volume is in once it is replicated as ordered. Who names none leaves it where it is: one that goes on to be replicated
/// and is in no group any more is one that the next failover does not promote, so that is done only where it is said.
pub(crate) fn group_after(
    look: &Look,
    named: Option<&GroupName>,
    leaves: bool,
) -> Result<Option<GroupName>, Refusal> {
    match (named, leaves) {
        (Some(_), true) => Err(Refusal::JoinsAndLeaves),
        (Some(group), false) => Ok(Some(group.clone())),
        (None, true) => Ok(None),
        // Of the entry itself, and not of the policy: this order may be the one that makes good a policy that cannot be read.
        (None, false) => {
            let is = look.view.metadata.get(metadata::GROUP);
            is.map(|group| group.parse().map_err(|e| unreadable(&e)))
                .transpose()
        }
    }
}

fn unreadable(e: &InvalidName) -> Refusal {
    Refusal::CorruptPolicy {
        why: format!(
            "image metadata {}: {e}: name the group that the volume belongs to, or say that it leaves it (leave_group)",
            metadata::GROUP
        ),
    }
}

/// Whether what hangs on the image bears on that order: a look leaves it out where the image is mirrored.
pub(crate) fn needs_lineage(look: &Look, action: &VolumeAction) -> bool {
    match action {
        VolumeAction::MarkDeleted { .. } => true,
        VolumeAction::Replicate { mode, .. } => look
            .mirrored_as()
            .is_some_and(|m| m.mode != mode.mirror_image_mode()),
        VolumeAction::Describe { .. }
        | VolumeAction::RecordServer { .. }
        | VolumeAction::Undelete
        | VolumeAction::Unreplicate
        | VolumeAction::Promote { .. }
        | VolumeAction::Demote { .. }
        | VolumeAction::Resync { .. } => false,
    }
}

/// Replication follows neither a clone nor what has clones.
fn has_no_clones(lineage: &Lineage) -> Result<(), Refusal> {
    if let Some(parent) = &lineage.parent {
        return Err(Refusal::HasClones {
            how: format!("is a clone of {parent}"),
        });
    }
    if lineage.children > 0 {
        return Err(Refusal::HasClones {
            how: format!("has {} clones", lineage.children),
        });
    }
    Ok(())
}

fn not_looked_at() -> Refusal {
    Refusal::Internal {
        what: "what hangs on the volume was not looked at".to_owned(),
    }
}

pub(super) fn replicate(
    look: &Look,
    wanted: &VolumePolicy,
    anew: bool,
    cinder: Option<&FromCinder>,
) -> Result<Step, Refusal> {
    if let ReplicationMode::Periodic(s) = &wanted.mode {
        s.check()
            .map_err(|e| Refusal::BadSchedule { why: e.to_string() })?;
    }
    let extras = extras(look, wanted, cinder)?;
    let policy: BTreeMap<String, String> = wanted
        .to_metadata()
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    let unused = POLICY_KEYS
        .into_iter()
        .filter(|k| !policy.contains_key(*k) && look.view.metadata.contains_key(*k));
    match &look.view.mirror {
        MirrorView::Unread(u) => Err(Refusal::Internal {
            what: format!("the image was not read: {}", u.why),
        }),
        MirrorView::Disabling => Err(Refusal::Busy {
            action: "unreplicate",
            since: rekindle_common::duration::Span::secs(0),
        }),
        MirrorView::Off => {
            if let Some(l) = &look.view.lineage {
                has_no_clones(l)?;
            }
            let set: BTreeMap<String, String> =
                policy.clone().into_iter().chain(extras.set).collect();
            let strange = OF_ANOTHER_LIFE
                .into_iter()
                .filter(|k| !set.contains_key(*k) && look.view.metadata.contains_key(*k));
            Ok(Step::Enable {
                mode: wanted.mode.mirror_image_mode(),
                remove: unused.chain(strange).collect(),
                set,
                anew: false,
            })
        }
        MirrorView::On(m) => {
            if !m.primary {
                return Err(Refusal::NotPrimary);
            }
            if look.status == VolumeStatus::ErrorSplitBrain {
                return Err(Refusal::SplitBrain);
            }
            if m.mode != wanted.mode.mirror_image_mode() {
                // Made anew, it could not be replicated at all: told now, while its copy is still there (hard case 37).
                has_no_clones(look.view.lineage.as_ref().ok_or_else(not_looked_at)?)?;
                if anew {
                    let past = OF_THE_PAST
                        .into_iter()
                        .filter(|k| look.view.metadata.contains_key(*k));
                    return Ok(Step::Enable {
                        mode: wanted.mode.mirror_image_mode(),
                        remove: unused.chain(extras.remove).chain(past).collect(),
                        set: policy.clone().into_iter().chain(extras.set).collect(),
                        anew,
                    });
                }
                let name = |m| match m {
                    MirrorImageMode::Journal => "journal mirroring (instant)",
                    MirrorImageMode::Snapshot => "snapshot mirroring (once, periodic)",
                };
                return Err(Refusal::ModeChange {
                    from: name(m.mode),
                    to: name(wanted.mode.mirror_image_mode()),
                });
            }
            let same = look.policy.as_ref() == Some(wanted);
            let mut set = if same {
                BTreeMap::new()
            } else {
                policy.clone()
            };
            set.extend(extras.set);
            let remove: Vec<&'static str> = unused.chain(extras.remove).collect();
            match &wanted.mode {
                // Each request of `once` asks for the volume as it is now: one mirror snapshot for each.
                ReplicationMode::Once => Ok(Step::SetPolicy {
                    set,
                    remove,
                    snapshot: true,
                }),
                ReplicationMode::Instant | ReplicationMode::Periodic(_)
                    if set.is_empty() && remove.is_empty() =>
                {
                    Ok(Step::AlreadySo)
                }
                ReplicationMode::Instant => Ok(Step::SetPolicy {
                    set,
                    remove,
                    snapshot: false,
                }),
                // Snapshot mode carries metadata with snapshots only: without one the other zone would keep the old policy.
                ReplicationMode::Periodic(_) => Ok(Step::SetPolicy {
                    set,
                    remove,
                    snapshot: !same || extras.urgent,
                }),
            }
        }
    }
}

fn extras(
    look: &Look,
    wanted: &VolumePolicy,
    cinder: Option<&FromCinder>,
) -> Result<Extras, Refusal> {
    let mut extras = Extras::default();
    if let Some(facts) = cinder.and_then(|c| c.facts.as_ref()) {
        extras.set.extend(news(look, facts)?);
    }
    let now = look.view.metadata.get(metadata::ON_DELETE);
    let joins = wanted.group.is_some()
        && look.policy.as_ref().and_then(|p| p.group.as_ref()) != wanted.group.as_ref();
    match cinder.and_then(|c| c.on_delete) {
        Some(on_delete) => {
            on_delete.check().map_err(|why| Refusal::BadFacts {
                why: format!("on_delete: {why}"),
            })?;
            let text = on_delete.to_string();
            if now != Some(&text) {
                extras.set.insert(metadata::ON_DELETE.to_owned(), text);
                extras.urgent = true;
            }
        }
        // What held for the volume alone does not hold for the group's; until its policy is noted, a deletion is refused.
        None if joins && now.is_some() => {
            extras.remove.push(metadata::ON_DELETE);
            extras.urgent = true;
        }
        None => {}
    }
    Ok(extras)
}

/// The entry that says what Cinder says; `None` where it stands there already.
fn news(look: &Look, facts: &CinderFacts) -> Result<Option<(String, String)>, Refusal> {
    let bad = |e: rekindle_common::facts::InvalidFacts| Refusal::BadFacts { why: e.to_string() };
    let fitted = facts.fitted().map_err(bad)?;
    if look.cinder.as_ref() == Some(&fitted) {
        return Ok(None);
    }
    let text = fitted.to_metadata().map_err(bad)?;
    Ok(Some((metadata::CINDER.to_owned(), text)))
}

pub(super) fn describe(look: &Look, facts: &CinderFacts) -> Result<Step, Refusal> {
    primary(look)?;
    let set: BTreeMap<String, String> = news(look, facts)?.into_iter().collect();
    if set.is_empty() {
        return Ok(Step::AlreadySo);
    }
    Ok(Step::SetPolicy {
        set,
        remove: Vec::new(),
        snapshot: false,
    })
}

pub(super) fn record_server(look: &Look, record: Option<&ServerRecord>) -> Result<Step, Refusal> {
    primary(look)?;
    let is = look.view.metadata.get(metadata::SERVER);
    let Some(record) = record else {
        return Ok(match is {
            None => Step::AlreadySo,
            Some(_) => Step::SetPolicy {
                set: BTreeMap::new(),
                remove: vec![metadata::SERVER],
                snapshot: false,
            },
        });
    };
    let text = serde_json::to_string(record).map_err(|e| Refusal::Internal {
        what: format!("the server's record cannot be written: {e}"),
    })?;
    if is == Some(&text) {
        return Ok(Step::AlreadySo);
    }
    Ok(Step::SetPolicy {
        set: BTreeMap::from([(metadata::SERVER.to_owned(), text)]),
        remove: Vec::new(),
        snapshot: false,
    })
}

pub(super) fn mark_deleted(look: &Look, then: &After, now: Timestamp) -> Result<Step, Refusal> {
    let m = primary(look)?;
    if look.status == VolumeStatus::ErrorSplitBrain {
        return Err(Refusal::SplitBrain);
    }
    if look.deletion.as_ref().is_some_and(|d| d.then == *then) {
        return Ok(Step::AlreadySo);
    }
    let l = look.view.lineage.as_ref().ok_or_else(not_looked_at)?;
    // Its removal would fail for ever, here or at the mirror daemon's hands (hard case 34).
    if l.children > 0 {
        return Err(Refusal::HasClones {
            how: format!("has {} clones", l.children),
        });
    }
    match then {
        After::Delete { after } => {
            OnDelete::Delete { after: *after }
                .check()
                .map_err(|why| Refusal::BadFacts {
                    why: format!("after: {why}"),
                })?;
            if l.snapshots > 0 {
                return Err(Refusal::HasSnapshots { count: l.snapshots });
            }
        }
        // They stay with what is kept.
        After::Keep { .. } => {}
    }
    let mark = Deletion {
        image: look.view.spec.clone(),
        at: now,
        then: then.clone(),
    };
    Ok(Step::SetPolicy {
        set: BTreeMap::from([(metadata::DELETED.to_owned(), mark.to_metadata())]),
        remove: Vec::new(),
        snapshot: m.mode == MirrorImageMode::Snapshot,
    })
}

pub(super) fn undelete(look: &Look) -> Result<Step, Refusal> {
    let m = primary(look)?;
    if !look.view.metadata.contains_key(metadata::DELETED) {
        return Ok(Step::AlreadySo);
    }
    // It left its group to be handed over. In none it would be replicated on, and left behind by the next failover.
    let left = match look.deletion.as_ref().map(|d| &d.then) {
        Some(After::Keep { group, .. }) => group.as_ref(),
        Some(After::Delete { .. }) | None => None,
    };
    let back = left.filter(|_| !look.view.metadata.contains_key(metadata::GROUP));
    Ok(Step::SetPolicy {
        set: back
            .map(|group| (metadata::GROUP.to_owned(), group.to_string()))
            .into_iter()
            .collect(),
        remove: vec![metadata::DELETED],
        snapshot: m.mode == MirrorImageMode::Snapshot,
    })
}

/// The start of the names of the demotions by which a deleted volume is handed over to the other zone. No other demotion's name
/// starts so: that is how a promotion knows a keeping from a move.
pub(crate) const KEEPING: &str = "keeping-";

/// Whether a demotion of that name hands a deleted volume over.
pub(crate) fn is_of_a_keeping(token: &DemotionToken) -> bool {
    token.as_str().starts_with(KEEPING)
}

/// Whether a promotion in `zone` shows that the keeping which `mark` tells of came to nothing. Its deletion failed, the volume stayed
/// in use, and is moved now: were the mark to go with it, the zone that is left would take its replication off.
pub(crate) fn ends_keeping(mark: &Deletion, how: &Promote, zone: &ZoneName) -> bool {
    match (&mark.then, how) {
        // It goes with the volume: that zone ends it.
        (After::Delete { .. }, _) => false,
        // Home again, in the zone that was to give it up.
        (After::Keep { from, .. }, Promote::After { token }) => {
            from == zone || !is_of_a_keeping(token)
        }
        (
            After::Keep { .. },
            Promote::Plain | Promote::PlainElseForce { .. } | Promote::Force { .. },
        ) => true,
    }
}

/// Metadata is written where writes are taken, and nowhere else.
fn primary(look: &Look) -> Result<&Mirrored, Refusal> {
    match (look.role, look.mirrored_as()) {
        (Role::Primary, Some(m)) => Ok(m),
        (Role::Secondary, _) => Err(Refusal::NotPrimary),
        (Role::NotMirrored, _) => Err(Refusal::NotReplicated),
        (Role::Primary, None) | (Role::Unknown, _) => Err(Refusal::Internal {
            what: "the volume was not looked at".to_owned(),
        }),
    }
}
