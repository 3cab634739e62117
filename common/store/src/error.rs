//! Why the store did not do as asked, sorted by what the caller does about it.

use crate::LeaseId;
use rekindle_common::{ApiError, ErrorCode};
use std::time::Duration;

/// A store call's failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No majority, or no member could be reached. Nothing was changed: ask again later.
    #[error("etcd is not available for {op}: {why}")]
    Unavailable {
        /// Which call.
        op: &'static str,
        /// What each member said.
        why: String,
    },
    /// A read did not end in time. Ask again later.
    #[error("etcd did not answer {op} within {after:?}")]
    DeadlineExceeded {
        /// Which call.
        op: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A change was sent and its answer was lost: it may have been made, or may yet be. Read before deciding anything.
    #[error("the answer to {op} was lost, so it may have been applied: {why}")]
    OutcomeUnknown {
        /// Which call.
        op: &'static str,
        /// How it was lost.
        why: String,
    },
    /// etcd's database is full (its NOSPACE alarm): nothing new is stored until a person has made room. Reads, deletions and
    /// renewals go on.
    #[error("etcd's database is full: compact, defragment and disarm the NOSPACE alarm")]
    Full,
    /// The lease that a key was to be put under has ended. Nothing was changed.
    #[error("lease {:x} has ended", lease.map_or(0, |l| l.0))]
    LeaseGone {
        /// Which, where the call names only one.
        lease: Option<LeaseId>,
    },
    /// The request is wrong: a fault of ours.
    #[error("invalid store request: {what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// etcd refused the client, its certificate or its request, or answered what is no answer. Nothing was changed.
    #[error("etcd refused {op}: {why}")]
    Protocol {
        /// Which call.
        op: &'static str,
        /// etcd's words.
        why: String,
    },
    /// A record in etcd is not what it should be.
    #[error("the record at {key} cannot be read")]
    Corrupt {
        /// Where.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The configuration cannot be used: an unreadable certificate, an endpoint that is no URL.
    #[error("etcd configuration: {what}")]
    Config {
        /// What is wrong.
        what: String,
        /// Why, where there is a cause.
        #[source]
        source: Option<std::io::Error>,
    },
}

impl StoreError {
    /// Whether the very same call may be made again without reading first.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::DeadlineExceeded { .. } => true,
            Self::OutcomeUnknown { .. }
            | Self::Full
            | Self::LeaseGone { .. }
            | Self::Invalid { .. }
            | Self::Protocol { .. }
            | Self::Corrupt { .. }
            | Self::Config { .. } => false,
        }
    }

    /// Whether a change may have been made all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } | Self::DeadlineExceeded { .. } => ErrorCode::StoreUnavailable,
            Self::OutcomeUnknown { .. } => ErrorCode::DeadlineExceeded,
            Self::Full => ErrorCode::StorageFull,
            Self::LeaseGone { .. } => ErrorCode::LeaseNotHeld,
            Self::Corrupt { .. } => ErrorCode::CorruptRecord,
            Self::Invalid { .. } | Self::Protocol { .. } | Self::Config { .. } => {
                ErrorCode::Internal
            }
        }
    }
}

impl From<&StoreError> for ApiError {
    fn from(e: &StoreError) -> Self {
        let message = match e {
            // The cause says where in the record: an operator needs it, and the wire has no `source`.
            StoreError::Corrupt { source, .. } => format!("{e}: {source}"),
            StoreError::Unavailable { .. }
            | StoreError::DeadlineExceeded { .. }
            | StoreError::OutcomeUnknown { .. }
            | StoreError::Full
            | StoreError::LeaseGone { .. }
            | StoreError::Invalid { .. }
            | StoreError::Protocol { .. }
            | StoreError::Config { .. } => e.to_string(),
        };
        Self::new(e.code(), message)
    }
}
impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        Self::from(&e)
    }
}
