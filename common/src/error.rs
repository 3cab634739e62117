//! The codes that a refusal carries. The only place that maps them to HTTP and to what the caller should do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a caller should do with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The same request may go through later: try again, with a pause.
    Retry,
    /// The request is wrong: mend it.
    Mend,
    /// The state forbids it: something else has to be done first.
    StateForbids,
    /// A person must look.
    AskOperator,
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $text:literal, $http:literal, $advice:ident; )*) => {
        /// Why a request was refused or failed. Stable: scripts and the Cinder shim match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorCode {
            $( $(#[$doc])* #[serde(rename = $text)] $variant, )*
        }
        impl ErrorCode {
            /// All of them, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Its text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http),* }
            }
            /// What the caller should do.
            #[must_use]
            pub const fn advice(self) -> Advice {
                match self { $(Self::$variant => Advice::$advice),* }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or was cut off.
    MalformedBody = "malformed_body", 400, Mend;
    /// A field has no such value; `field` names it.
    InvalidField = "invalid_field", 400, Mend;
    /// The volume is in a group, and the order carries no generation.
    GenerationRequired = "generation_required", 400, Mend;
    /// No client certificate, or one that this site's CA did not sign.
    Unauthenticated = "unauthenticated", 401, Mend;
    /// The client is known and may not do this.
    Forbidden = "forbidden", 403, Mend;
    /// No such image in the pool.
    UnknownVolume = "unknown_volume", 404, Mend;
    /// No such group.
    UnknownGroup = "unknown_group", 404, Mend;
    /// No such plan.
    UnknownPlan = "unknown_plan", 404, Mend;
    /// The group has no such server, or nothing is kept of it; `field` says which of both.
    UnknownServer = "unknown_server", 404, Mend;
    /// No such path.
    UnknownPath = "unknown_path", 404, Mend;
    /// The path is known, the method is not.
    MethodNotAllowed = "method_not_allowed", 405, Mend;
    /// It took longer than the deadline; it may still take effect: look before asking again.
    DeadlineExceeded = "deadline_exceeded", 504, Retry;
    /// An action is in flight on this volume.
    Busy = "busy", 409, Retry;
    /// The order's generation is older than one that this zone has seen.
    StaleGeneration = "stale_generation", 409, StateForbids;
    /// The zone does not hold the group's primary lease.
    LeaseNotHeld = "lease_not_held", 409, StateForbids;
    /// The volume is not replicated.
    NotReplicated = "not_replicated", 409, StateForbids;
    /// A plain promotion cannot be: the peer is primary, or its demotion has not been replayed. The message says which.
    ForceRequired = "force_required", 409, StateForbids;
    /// The peer was demoted and that is on its way: wait, do not force (hard case 21).
    DemotionNotReplayed = "demotion_not_replayed", 409, Retry;
    /// The image was demoted already, under another name or none: nothing would prove that the other zone has its data.
    DemotedOtherwise = "demoted_otherwise", 409, StateForbids;
    /// There is no complete copy here to promote (hard case 24).
    NoCompleteCopy = "no_complete_copy", 409, StateForbids;
    /// A resync would discard the only copy: the peer is not primary and healthy now (hard case 18).
    PeerNotPrimary = "peer_not_primary", 409, StateForbids;
    /// A resync of an image that is primary: demote it first.
    IsPrimary = "is_primary", 409, StateForbids;
    /// This action needs the primary, and this zone's image is a copy.
    NotPrimary = "not_primary", 409, StateForbids;
    /// Both zones say primary.
    SplitBrain = "split_brain", 409, AskOperator;
    /// The image is a clone, or has clones: flatten it, or replicate its parent first (hard case 37).
    HasClones = "has_clones", 409, StateForbids;
    /// The pool is not set up for mirroring of single images.
    PoolNotMirrored = "pool_not_mirrored", 409, StateForbids;
    /// The sidecar was frozen: thaw it.
    Frozen = "frozen", 423, StateForbids;
    /// A plan is at work on this group.
    PlanActive = "plan_active", 409, Retry;
    /// This orchestrator does not lead; the message names who does.
    NotLeader = "not_leader", 421, Retry;
    /// The decision holds back; the message says why.
    Held = "held", 409, AskOperator;
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, Mend;
    /// Too many requests or connections at once.
    TooManyRequests = "too_many_requests", 429, Retry;
    /// This Ceph lacks the function; the message names it and the release that has it.
    Unsupported = "unsupported", 501, AskOperator;
    /// The zone's Ceph cluster does not answer.
    ClusterUnreachable = "cluster_unreachable", 503, Retry;
    /// etcd has no majority, or does not answer.
    StoreUnavailable = "store_unavailable", 503, Retry;
    /// The zone's sidecar does not answer.
    SidecarUnreachable = "sidecar_unreachable", 503, Retry;
    /// The program is draining or has not started up yet, or has no thread to spare: nothing was begun.
    Unavailable = "unavailable", 503, Retry;
    /// The cluster or its pool is full.
    StorageFull = "storage_full", 507, AskOperator;
    /// A record in etcd is not what its state allows: nothing was done on it.
    CorruptRecord = "corrupt_record", 500, AskOperator;
    /// librbd failed in a way that has no name of its own; the message carries its errno.
    StorageError = "storage_error", 500, AskOperator;
    /// A zone's clock is too far from an orchestrator's (hard case 12). Stands among a status's problems and refuses nothing by itself.
    ClockSkew = "clock_skew", 409, AskOperator;
    /// A volume is not in the other zone's Cinder, or not as it should be. Stands among a status's problems and refuses nothing by itself.
    CatalogueGap = "catalogue_gap", 409, AskOperator;
    /// A protected server's record or stand-by is not as it should be. Told in a status, never refused with.
    ServerGap = "server_gap", 409, AskOperator;
    /// There is more of it than is held at once: a zone's volumes in one list, or a group in one plan. The message says how much is.
    TooLarge = "too_large", 409, AskOperator;
    /// A fault of ours.
    Internal = "internal", 500, AskOperator;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as it crosses the wire: `{"code", "message", "field", "request_id"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} [{code}]")]
pub struct ApiError {
    /// Which kind.
    pub code: ErrorCode,
    /// What happened and what to do, for a tired operator.
    pub message: String,
    /// The field at fault, as a path in the request: `action.interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The request that it answers; also in that request's log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ApiError {
    /// An error of that kind.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            request_id: None,
        }
    }
    /// Names the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
    /// Whether the same request may go through later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.code.advice() == Advice::Retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_their_statuses_are_errors() {
        let texts: BTreeSet<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        for c in ErrorCode::ALL {
            assert!((400..600).contains(&c.http_status()), "{c}");
            assert_eq!(serde_json::to_string(c).unwrap(), format!("\"{c}\""));
        }
    }
}
