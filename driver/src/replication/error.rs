//! Why an action was refused or failed, and the one place where that becomes an API error.

use crate::backend::{BackendError, BackendErrorKind};
use rekindle_common::{
    ApiError, ErrorCode, Generation, ZoneName, action::SAFETY_FIELD, duration::Span, volume::Known,
};

/// The field of a refusal to change between journal and snapshot mirroring in place, and of no other.
pub(crate) const MODE_FIELD: &str = "action.mode";

/// A rule that forbids an action. The message is for a tired operator: what is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not under replication.
    #[error("the volume is not replicated: replicate it first")]
    NotReplicated,
    /// A plain promotion, and the peer is or may be primary.
    #[error("{}", force_required(*.peer_primary))]
    ForceRequired {
        /// What is known of the peer.
        peer_primary: Known,
    },
    /// The demotion is on its way (hard case 21).
    #[error(
        "the other zone was demoted and this copy has not replayed that yet: wait and ask again, do not force"
    )]
    DemotionNotReplayed,
    /// It was demoted by somebody else, so that no name travels with the data (hard case 57).
    #[error(
        "the image was demoted before this order, by another hand: promote it here again, then order the move anew"
    )]
    DemotedOtherwise,
    /// A demotion that hands a deleted volume over, and its deletion was taken back.
    #[error(
        "the deletion that this demotion belongs to was taken back: delete the volume again if it is still to go"
    )]
    TakenBack,
    /// Nothing whole to promote (hard case 24).
    #[error("there is no complete copy here to promote: {why}")]
    NoCompleteCopy {
        /// What is known.
        why: &'static str,
    },
    /// Both sides have what the other lacks (hard case 16).
    #[error(
        "the two copies have diverged, and the other zone's is primary: name the loser, demote it and resync it"
    )]
    SplitBrain,
    /// A resync that would discard the only copy (hard cases 17, 18).
    #[error("a resync would discard what may be the only copy: {why}")]
    PeerNotPrimary {
        /// What is known of the peer.
        why: &'static str,
    },
    /// A resync of a primary.
    #[error("the image is primary here: demote it before a resync")]
    IsPrimary,
    /// An action that belongs to the primary.
    #[error("the image is a copy here: ask the zone that is primary")]
    NotPrimary,
    /// Clones (hard case 37).
    #[error("the image {how}: flatten the clone first, replication does not follow it")]
    HasClones {
        /// Parent or children.
        how: String,
    },
    /// Snapshots.
    #[error("the image has {count} snapshots: delete them first")]
    HasSnapshots {
        /// How many.
        count: u32,
    },
    /// An interval outside its bounds.
    #[error("{why}")]
    BadSchedule {
        /// Which bounds.
        why: String,
    },
    /// What Cinder says cannot be kept.
    #[error("{why}")]
    BadFacts {
        /// Which field, and why.
        why: String,
    },
    /// Journal and snapshot mirroring do not change into each other in place.
    #[error(
        "changing {from} to {to} would delete the copy and make it anew, with none in between: unreplicate, then replicate, and name its group again"
    )]
    ModeChange {
        /// The mode that it has.
        from: &'static str,
        /// The mode that was asked for.
        to: &'static str,
    },
    /// Two things at once.
    #[error(
        "an order that names a group cannot say leave_group too: name the group that the volume is to be in, or say leave_group alone"
    )]
    JoinsAndLeaves,
    /// A resync by an order that is no newer than the generation that this image was promoted under.
    #[error(
        "the image was promoted here under generation {promoted}, and the order is of {ordered}: a resync discards only what an older generation wrote"
    )]
    NotOlder {
        /// Of the promotion.
        promoted: Generation,
        /// Of the order.
        ordered: Generation,
    },
    /// An order of an older generation.
    #[error("the order is of generation {ordered}, and this zone has seen {seen}")]
    StaleGeneration {
        /// Of the order.
        ordered: Generation,
        /// The highest seen.
        seen: Generation,
    },
    /// A demotion or a resync that has waited for its turn, and the group's lease was ordered to be taken meanwhile.
    #[error(
        "the lease of group {group} was ordered to be taken after this was ordered: order it anew if it is still meant"
    )]
    Overtaken {
        /// Which group.
        group: String,
    },
    /// An order without a generation for a volume in a group.
    #[error("the volume is in group {group}: an order for it must carry the group's generation")]
    GenerationRequired {
        /// Which group.
        group: String,
    },
    /// The zone does not hold the group's primary lease.
    #[error(
        "this zone does not hold the primary lease of group {group} under generation {generation}"
    )]
    LeaseNotHeld {
        /// Which group.
        group: String,
        /// Under which generation it would have to.
        generation: Generation,
    },
    /// Its lease's keeper has read that another zone is the group's primary, and demotes what is primary here.
    #[error(
        "group {group} is recorded as primary in {zone}: a volume that is written to in this zone would be demoted under its writer. Leave it out of the group until the group is primary here, or make it in {zone}"
    )]
    GroupElsewhere {
        /// Which group.
        group: String,
        /// Where it is primary.
        zone: ZoneName,
    },
    /// An action is in flight.
    #[error("{action} is in flight on this volume, since {for_}", for_ = .since)]
    Busy {
        /// Which.
        action: &'static str,
        /// For how long.
        since: Span,
    },
    /// A resync whose safety copy is under way.
    #[error("what is to be discarded is being kept first, and {what}: ask again")]
    Copying {
        /// For how long, or what it waits for.
        what: String,
    },
    /// The sidecar is frozen.
    #[error("the sidecar is frozen: {reason}")]
    Frozen {
        /// In the operator's words.
        reason: String,
    },
    /// The metadata is not ours to read.
    #[error("{why}")]
    CorruptPolicy {
        /// Which key, and how.
        why: String,
    },
    /// It was done and the image does not show it.
    #[error(
        "{action} returned without an error, and the image then showed {saw}: look again before anything else"
    )]
    NotConfirmed {
        /// Which action.
        action: &'static str,
        /// The status seen.
        saw: String,
    },
    /// The action outlived its deadline.
    #[error(
        "{action} did not end within {after}: it may still take effect, look before asking again"
    )]
    Overran {
        /// Which.
        action: &'static str,
        /// The deadline.
        after: Span,
    },
    /// The sidecar is going down.
    #[error("the sidecar is draining: no new action is begun")]
    Draining,
    /// A fault of ours.
    #[error("{what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

fn force_required(peer: Known) -> &'static str {
    match peer {
        Known::Yes => "the other zone is primary: demote it there, or force this volume by name",
        Known::No => {
            "the other zone's demotion has not been replayed here: wait, or force this volume by name"
        }
        Known::Unknown => {
            "whether the other zone is primary is not known, and its demotion was not replayed here: demote it there, or force this volume by name"
        }
    }
}

/// Why an action did not go through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// A rule forbade it; nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The storage failed.
    #[error("the storage call failed")]
    Backend(#[from] BackendError),
}

impl ReplicationError {
    /// Its code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(r) => refusal_code(r),
            Self::Backend(e) => backend_code(e.kind),
        }
    }
    /// Whether the same order may go through later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self.code().advice() {
            rekindle_common::error::Advice::Retry => true,
            rekindle_common::error::Advice::Mend
            | rekindle_common::error::Advice::StateForbids
            | rekindle_common::error::Advice::AskOperator => false,
        }
    }
}

fn refusal_code(r: &Refusal) -> ErrorCode {
    match r {
        Refusal::NotReplicated => ErrorCode::NotReplicated,
        Refusal::ForceRequired { .. } => ErrorCode::ForceRequired,
        Refusal::DemotionNotReplayed => ErrorCode::DemotionNotReplayed,
        Refusal::DemotedOtherwise => ErrorCode::DemotedOtherwise,
        Refusal::TakenBack => ErrorCode::Held,
        Refusal::NoCompleteCopy { .. } => ErrorCode::NoCompleteCopy,
        Refusal::SplitBrain => ErrorCode::SplitBrain,
        Refusal::PeerNotPrimary { .. } => ErrorCode::PeerNotPrimary,
        Refusal::IsPrimary => ErrorCode::IsPrimary,
        Refusal::NotPrimary => ErrorCode::NotPrimary,
        Refusal::HasClones { .. } | Refusal::HasSnapshots { .. } => ErrorCode::HasClones,
        Refusal::BadSchedule { .. }
        | Refusal::BadFacts { .. }
        | Refusal::ModeChange { .. }
        | Refusal::JoinsAndLeaves => ErrorCode::InvalidField,
        Refusal::NotOlder { .. } | Refusal::StaleGeneration { .. } | Refusal::Overtaken { .. } => {
            ErrorCode::StaleGeneration
        }
        Refusal::GenerationRequired { .. } => ErrorCode::GenerationRequired,
        Refusal::LeaseNotHeld { .. } | Refusal::GroupElsewhere { .. } => ErrorCode::LeaseNotHeld,
        Refusal::Busy { .. } | Refusal::Copying { .. } => ErrorCode::Busy,
        Refusal::Frozen { .. } => ErrorCode::Frozen,
        Refusal::CorruptPolicy { .. } => ErrorCode::CorruptRecord,
        Refusal::NotConfirmed { .. } => ErrorCode::StorageError,
        Refusal::Overran { .. } => ErrorCode::DeadlineExceeded,
        Refusal::Draining => ErrorCode::Unavailable,
        Refusal::Internal { .. } => ErrorCode::Internal,
    }
}

fn backend_code(kind: BackendErrorKind) -> ErrorCode {
    use BackendErrorKind as K;
    match kind {
        K::NotFound => ErrorCode::UnknownVolume,
        K::NotMirrored => ErrorCode::NotReplicated,
        K::PeerPrimaryOrDemotionPending => ErrorCode::ForceRequired,
        K::PoolNotMirrored => ErrorCode::PoolNotMirrored,
        K::InUse | K::Changed => ErrorCode::Busy,
        K::ReadOnly => ErrorCode::NotPrimary,
        K::Deadline => ErrorCode::DeadlineExceeded,
        K::Unreachable | K::Blocklisted => ErrorCode::ClusterUnreachable,
        K::NotBegun => ErrorCode::Unavailable,
        K::Denied => ErrorCode::StorageError,
        K::Full => ErrorCode::StorageFull,
        K::Unsupported => ErrorCode::Unsupported,
        K::Corrupt => ErrorCode::CorruptRecord,
        K::Torn => ErrorCode::NoCompleteCopy,
        K::Exists | K::Other => ErrorCode::StorageError,
    }
}

fn field(r: &Refusal) -> Option<&'static str> {
    match r {
        Refusal::BadSchedule { .. } => Some("action.interval"),
        Refusal::BadFacts { .. } => Some("action.facts"),
        Refusal::ModeChange { .. } => Some(MODE_FIELD),
        Refusal::JoinsAndLeaves => Some("action.leave_group"),
        Refusal::GenerationRequired { .. } => Some("generation"),
        Refusal::Copying { .. } => Some(SAFETY_FIELD),
        Refusal::NotReplicated
        | Refusal::ForceRequired { .. }
        | Refusal::DemotionNotReplayed
        | Refusal::DemotedOtherwise
        | Refusal::TakenBack
        | Refusal::NoCompleteCopy { .. }
        | Refusal::SplitBrain
        | Refusal::PeerNotPrimary { .. }
        | Refusal::IsPrimary
        | Refusal::NotPrimary
        | Refusal::HasClones { .. }
        | Refusal::HasSnapshots { .. }
        | Refusal::NotOlder { .. }
        | Refusal::StaleGeneration { .. }
        | Refusal::Overtaken { .. }
        | Refusal::LeaseNotHeld { .. }
        | Refusal::GroupElsewhere { .. }
        | Refusal::Busy { .. }
        | Refusal::Frozen { .. }
        | Refusal::CorruptPolicy { .. }
        | Refusal::NotConfirmed { .. }
        | Refusal::Overran { .. }
        | Refusal::Draining
        | Refusal::Internal { .. } => None,
    }
}

impl From<ReplicationError> for ApiError {
    fn from(e: ReplicationError) -> Self {
        let code = e.code();
        match e {
            ReplicationError::Refused(r) => {
                let error = Self::new(code, r.to_string());
                match field(&r) {
                    Some(f) => error.at(f),
                    None => error,
                }
            }
            ReplicationError::Backend(e) => Self::new(code, e.to_string()),
        }
    }
}
impl From<Refusal> for ApiError {
    fn from(r: Refusal) -> Self {
        ReplicationError::from(r).into()
    }
}
impl From<BackendError> for ApiError {
    fn from(e: BackendError) -> Self {
        ReplicationError::from(e).into()
    }
}
