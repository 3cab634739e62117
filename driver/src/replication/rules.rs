//! What each action does in each state, and why it may not. Pure.

use super::{
    error::{Refusal, ReplicationError},
    look::Look,
    policy::{
        describe, group_after, is_of_a_keeping, mark_deleted, record_server, replicate, undelete,
    },
};
use crate::backend::view::{DaemonState, ImageView};
use rekindle_common::{
    DemotionToken, Generation, ImageSpec, ResyncToken, Timestamp,
    action::{Effect, Promotion, SafetyCopy, VolumeAction},
    deletion::After,
    given_up::GivenUp,
    metadata::{self, VolumePolicy},
    mode::MirrorImageMode,
    status::VolumeStatus,
    volume::{Known, Role},
};
use std::collections::BTreeMap;

/// What the zone remembers that bears on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The order's generation.
    pub generation: Option<Generation>,
    /// The highest generation that the volume's group was promoted under in this zone.
    pub promoted_here: Option<Generation>,
    /// The last resync of this volume.
    pub last_resync: Option<LastResync>,
    /// Of a resync that keeps a copy and carries no generation: where the history of the image's own ends.
    pub own_history: Option<u64>,
    /// The time of the look.
    pub now: Timestamp,
}

/// The record of a volume's last resync (hard case 19).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastResync {
    /// Its name.
    pub token: ResyncToken,
    /// The incarnation that it was to discard. A resync deletes and re-creates the image: another id means it happened.
    pub image_id: String,
    /// What it gives up. `None`: an older version recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// What is to be done: one of these, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    AlreadySo,
    /// Write the policy, then turn mirroring on. Snapshot mode takes its first mirror snapshot with it.
    Enable {
        /// By which mode.
        mode: MirrorImageMode,
        /// The policy.
        set: BTreeMap<String, String>,
        /// Keys of an older policy.
        remove: Vec<&'static str>,
        /// Whether it is mirrored in the other mode, which is turned off in between.
        anew: bool,
    },
    /// Write the policy of a volume that is mirrored already, or what else stands in its metadata.
    SetPolicy {
        /// What is written.
        set: BTreeMap<String, String>,
        /// What goes.
        remove: Vec<&'static str>,
        /// Whether a mirror snapshot follows: it carries the data (`once`) and the metadata.
        snapshot: bool,
    },
    /// Turn mirroring off (if it is on), then remove the policy.
    Disable {
        /// Whether it is on.
        mirrored: bool,
    },
    /// Promote.
    Promote(Promote),
    /// Demote.
    Demote {
        /// Written into the metadata just before.
        token: Option<DemotionToken>,
    },
    /// Record the token, keep a copy if asked, then flag.
    Resync {
        /// Its name.
        token: ResyncToken,
        /// Where the discarded data is kept.
        keep_as: Option<ImageSpec>,
    },
}

/// How to promote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promote {
    /// Plainly; librbd itself refuses where it sees a primary.
    Plain,
    /// Plainly, once the demotion of that name shows here.
    After {
        /// Its name.
        token: DemotionToken,
    },
    /// The order allows force and a plain one looks possible: try that first, for it loses nothing and needs no resync.
    PlainElseForce {
        /// The order's reason.
        reason: String,
        /// Whether it may be of two moments.
        accept_torn: bool,
    },
    /// By force.
    Force {
        /// The order's reason.
        reason: String,
        /// Whether it may be of two moments.
        accept_torn: bool,
    },
}

/// The keys that a policy may use.
pub(super) const POLICY_KEYS: [&str; 4] = [
    metadata::MODE,
    metadata::START,
    metadata::INTERVAL,
    metadata::GROUP,
];

/// What an action means for a volume as it was seen: the one rule for every (state, action).
///
/// # Errors
/// [`Refusal`]: it may not be, and why. Nothing was done.
pub fn next(look: &Look, action: &VolumeAction, context: &Context) -> Result<Step, Refusal> {
    match action {
        VolumeAction::Replicate {
            mode,
            group,
            leave_group,
            anew,
            cinder,
        } => {
            let policy = VolumePolicy {
                mode: *mode,
                group: group_after(look, group.as_ref(), *leave_group)?,
            };
            replicate(look, &policy, *anew, cinder.as_deref())
        }
        VolumeAction::Describe { facts } => describe(look, facts),
        VolumeAction::RecordServer { record } => record_server(look, record.as_deref()),
        VolumeAction::MarkDeleted { then } => mark_deleted(look, then, context.now),
        VolumeAction::Undelete => undelete(look),
        VolumeAction::Unreplicate => unreplicate(look),
        VolumeAction::Promote { promotion } => promote(look, promotion),
        VolumeAction::Demote { token } => demote(look, token.as_ref()),
        VolumeAction::Resync { token, safety } => resync(look, token, *safety, context),
    }
}

fn unreplicate(look: &Look) -> Result<Step, Refusal> {
    let has_policy = POLICY_KEYS
        .iter()
        .any(|k| look.view.metadata.contains_key(*k));
    match (look.role, look.status) {
        (Role::Unknown, _) => Err(Refusal::Internal {
            what: "the volume was not looked at".to_owned(),
        }),
        (Role::NotMirrored, _) if has_policy => Ok(Step::Disable { mirrored: false }),
        (Role::NotMirrored, _) => Ok(Step::AlreadySo),
        (Role::Secondary, _) => Err(Refusal::NotPrimary),
        (Role::Primary, VolumeStatus::ErrorSplitBrain) => Err(Refusal::SplitBrain),
        (Role::Primary, _) => Ok(Step::Disable { mirrored: true }),
    }
}

fn promote(look: &Look, promotion: &Promotion) -> Result<Step, Refusal> {
    let none = |why| Err(Refusal::NoCompleteCopy { why });
    match look.role {
        Role::Unknown | Role::NotMirrored => return Err(Refusal::NotReplicated),
        // In split brain too: promoting what is primary changes nothing, and the report says that there are two.
        Role::Primary => return Ok(Step::AlreadySo),
        Role::Secondary => {}
    }
    match look.complete_copy {
        Known::Yes => {}
        Known::No => return none("the first sync has not ended"),
        Known::Unknown => match promotion {
            // librbd's own rule for a plain one (the demotion was replayed) implies a complete copy.
            Promotion::Plain | Promotion::After { .. } => {}
            Promotion::Forced { .. } => {
                return none("whether the first sync ever ended is not known");
            }
        },
    }
    let force = |reason: &str, accept_torn: bool| Promote::Force {
        reason: reason.to_owned(),
        accept_torn,
    };
    match (look.status, promotion) {
        (VolumeStatus::PendingFirstSync, _) => none("the first sync has not ended"),
        (VolumeStatus::PendingResync, _) => none("it was given up and is being made anew"),
        (VolumeStatus::ErrorSplitBrain, Promotion::Plain | Promotion::After { .. }) => {
            Err(Refusal::SplitBrain)
        }
        // Its own history is whole. Two primaries on top of two histories are still refused.
        (
            VolumeStatus::ErrorSplitBrain,
            Promotion::Forced {
                reason,
                accept_torn,
            },
        ) => {
            if look.peer_primary == Known::Yes {
                Err(Refusal::SplitBrain)
            } else {
                Ok(Step::Promote(force(reason, *accept_torn)))
            }
        }
        // Both daemons are alive and the demotion is on its way: force would throw away what is arriving.
        (VolumeStatus::PendingDemotion, Promotion::Forced { .. }) if both_daemons_up(look) => {
            Err(Refusal::DemotionNotReplayed)
        }
        (
            VolumeStatus::PendingPromotion,
            Promotion::Forced {
                reason,
                accept_torn,
            },
        ) => Ok(Step::Promote(Promote::PlainElseForce {
            reason: reason.clone(),
            accept_torn: *accept_torn,
        })),
        (
            VolumeStatus::ActiveSecondary
            | VolumeStatus::ActiveUpdating
            | VolumeStatus::PendingDemotion
            | VolumeStatus::ErrorMirrorDown
            | VolumeStatus::ErrorMirroring
            | VolumeStatus::ErrorOrphan,
            Promotion::Forced {
                reason,
                accept_torn,
            },
        ) => Ok(Step::Promote(force(reason, *accept_torn))),
        // The daemon's word may be older than the demotion, and librbd refuses by itself what must not be: so a plain
        // promotion is always tried, and never turns into another.
        (
            VolumeStatus::ActiveSecondary
            | VolumeStatus::ActiveUpdating
            | VolumeStatus::PendingPromotion
            | VolumeStatus::PendingDemotion
            | VolumeStatus::ErrorMirrorDown
            | VolumeStatus::ErrorMirroring
            | VolumeStatus::ErrorOrphan,
            Promotion::Plain | Promotion::After { .. },
        ) => Ok(Step::Promote(match promotion {
            Promotion::After { token } => Promote::After {
                token: token.clone(),
            },
            // A forced one has its arms above.
            Promotion::Plain | Promotion::Forced { .. } => Promote::Plain,
        })),
        // A secondary has none of these.
        (
            VolumeStatus::ActivePrimary
            | VolumeStatus::ErrorNotMirrored
            | VolumeStatus::ErrorUnknown,
            _,
        ) => Err(Refusal::Internal {
            what: format!("a copy with status {}", look.status),
        }),
    }
}

fn both_daemons_up(look: &Look) -> bool {
    let replaying = look
        .view
        .local
        .as_ref()
        .is_some_and(|l| l.up && l.state == DaemonState::Replaying);
    replaying && look.view.peer.as_ref().is_some_and(|p| p.up)
}

/// What librbd's EBUSY on a plain promotion meant, by what is seen after it. It is never answered with force.
#[must_use]
pub fn plain_refused(after: &Look) -> Refusal {
    match (after.status, after.peer_primary) {
        (VolumeStatus::ErrorSplitBrain, _) => Refusal::SplitBrain,
        (VolumeStatus::PendingFirstSync, _) => Refusal::NoCompleteCopy {
            why: "the first sync has not ended",
        },
        (VolumeStatus::PendingDemotion | VolumeStatus::PendingPromotion, _) | (_, Known::No) => {
            Refusal::DemotionNotReplayed
        }
        (_, peer_primary @ (Known::Yes | Known::Unknown)) => {
            Refusal::ForceRequired { peer_primary }
        }
    }
}

fn demote(look: &Look, token: Option<&DemotionToken>) -> Result<Step, Refusal> {
    match look.role {
        // Another call for the same deletion failed meanwhile and took it back: no zone would be primary, and nobody would go on.
        Role::Primary if token.is_some_and(is_of_a_keeping) && !is_to_be_kept(look) => {
            Err(Refusal::TakenBack)
        }
        Role::Primary => Ok(Step::Demote {
            token: token.cloned(),
        }),
        // The name can only be written while the image is primary.
        Role::Secondary if token.is_some() && look.demotion.as_ref() != token => {
            Err(Refusal::DemotedOtherwise)
        }
        Role::Secondary => Ok(Step::AlreadySo),
        Role::NotMirrored => Err(Refusal::NotReplicated),
        Role::Unknown => Err(Refusal::Internal {
            what: "the volume was not looked at".to_owned(),
        }),
    }
}

fn is_to_be_kept(look: &Look) -> bool {
    match look.deletion.as_ref().map(|d| &d.then) {
        Some(After::Keep { .. }) => true,
        Some(After::Delete { .. }) | None => false,
    }
}

fn resync(
    look: &Look,
    token: &ResyncToken,
    safety: SafetyCopy,
    context: &Context,
) -> Result<Step, Refusal> {
    match look.role {
        Role::NotMirrored | Role::Unknown => return Err(Refusal::NotReplicated),
        Role::Primary => return Err(Refusal::IsPrimary),
        Role::Secondary => {}
    }
    if let Some(last) = &context.last_resync
        && last.token == *token
        && (last.image_id != look.view.id || look.status == VolumeStatus::PendingResync)
    {
        return Ok(Step::AlreadySo);
    }
    if look.status == VolumeStatus::PendingResync {
        return Ok(Step::AlreadySo);
    }
    if let (Some(promoted), Some(ordered)) = (context.promoted_here, context.generation)
        && promoted >= ordered
    {
        return Err(Refusal::NotOlder { promoted, ordered });
    }
    if !look.peer_is_primary_and_well(context.now) {
        return Err(Refusal::PeerNotPrimary {
            why: match look.peer_primary {
                Known::No => "the other zone says that it is not primary",
                Known::Yes => "the other zone's mirror daemon is not well",
                Known::Unknown => "the other zone does not say that it is primary",
            },
        });
    }
    let keep_as = match safety {
        SafetyCopy::Discard => None,
        SafetyCopy::Keep => Some(safety_name(&look.view, context)?),
    };
    Ok(Step::Resync {
        token: token.clone(),
        keep_as,
    })
}

/// What every safety copy's name has in it; such images are no volumes.
pub const SAFETY_INFIX: &str = ".rekindle-safety-";

/// One for each incarnation that is discarded, and for each split of it: asked for again, it is the same; of an image that was made anew,
/// or that was primary again since, another. A copy is made long before its image goes, and that may never come: what was written after
/// it must not pass for kept. In a group each split has a generation of its own.
fn safety_name(view: &ImageView, context: &Context) -> Result<ImageSpec, Refusal> {
    let split = match (context.generation, context.own_history) {
        (Some(generation), _) => generation.to_string(),
        (None, Some(history)) => format!("{}.{history}", Generation::ZERO),
        (None, None) => {
            return Err(Refusal::Internal {
                what: "which of its splits the copy would be of was not looked at".to_owned(),
            });
        }
    };
    let name = format!("{}{SAFETY_INFIX}{split}-{}", view.spec.image(), view.id);
    ImageSpec::new(view.spec.pool(), name).map_err(|e| Refusal::Internal {
        what: format!("no name for the safety copy: {e}"),
    })
}

/// Whether the volume, looked at after a step, shows that it was done.
///
/// # Errors
/// [`Refusal::NotConfirmed`]: the call returned well and the image says otherwise.
pub fn confirm(
    step: &Step,
    action: &'static str,
    after: &Look,
) -> Result<Effect, ReplicationError> {
    let (ok, effect) = match step {
        Step::AlreadySo => (true, Effect::AlreadySo),
        Step::Enable { mode, .. } => (
            after.role == Role::Primary && after.mirrored_as().is_some_and(|m| m.mode == *mode),
            Effect::Done,
        ),
        Step::SetPolicy { .. } => (after.role == Role::Primary, Effect::Done),
        Step::Disable { .. } => (after.role == Role::NotMirrored, Effect::Done),
        Step::Promote(_) => (after.role == Role::Primary, Effect::Done),
        Step::Demote { .. } => (after.role == Role::Secondary, Effect::Done),
        // The daemon may have deleted it already, or not even begun.
        Step::Resync { .. } => (true, Effect::Started),
    };
    if ok {
        Ok(effect)
    } else {
        Err(Refusal::NotConfirmed {
            action,
            saw: after.status.to_string(),
        }
        .into())
    }
}
