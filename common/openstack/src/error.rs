//! What went wrong, sorted by what the caller should do. Context stands in the message, the cause in `source` alone.

use rekindle_common::{ZoneName, duration::Span};
use std::{fmt, time::Duration};

/// Which call: the zone, the method and the path. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose cloud.
    pub zone: ZoneName,
    /// `GET https://…`
    pub what: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.zone, self.what)
    }
}

/// A cause of any kind.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The configuration, or a file that it names, cannot be used, or does not fit this cloud.
    #[error("clouds.{zone}.{field}: {why}")]
    Config {
        /// Whose cloud.
        zone: ZoneName,
        /// The field.
        field: String,
        /// What is wrong and what would be right.
        why: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// No connection, so nothing was sent.
    #[error("{call}: not reached: {why}")]
    Unreachable {
        /// Which call.
        call: Call,
        /// What came of it.
        why: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// Connected, and the server's certificate is not to be trusted: nothing was sent.
    #[error(
        "{call}: the server is not trusted; check `ca`, and that its certificate names this host"
    )]
    Untrusted {
        /// Which call.
        call: Call,
        /// What is wrong with the certificate.
        source: Cause,
    },
    /// The connection broke before the whole answer was here.
    #[error(
        "{call}: the connection broke before the answer was complete; it may still take effect"
    )]
    Broken {
        /// Which call.
        call: Call,
        /// The cause.
        source: Cause,
    },
    /// No answer in time.
    #[error("{call}: no answer within {after}; it may still take effect")]
    TimedOut {
        /// Which call.
        call: Call,
        /// That long.
        after: Span,
    },
    /// Something before the service answered for it (502, 503, 504), or the service says that it lacks another.
    #[error("{call}: {status}: {message}")]
    Unavailable {
        /// Which call.
        call: Call,
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// Too many calls.
    #[error("{call}: too many calls: {message}")]
    Throttled {
        /// Which call.
        call: Call,
        /// Not before that long.
        retry_after: Option<Span>,
        /// What it said.
        message: String,
    },
    /// Keystone does not know us, or not with this secret.
    #[error("{call}: refused: {message}; check the user, its domain and the secret's file")]
    Unauthorized {
        /// Which call.
        call: Call,
        /// What it said.
        message: String,
    },
    /// It knows us, and we may not.
    #[error("{call}: not allowed: {message}")]
    Forbidden {
        /// Which call.
        call: Call,
        /// What it said.
        message: String,
    },
    /// It is not there, or not for us.
    #[error("{call}: not found: {message}")]
    NotFound {
        /// Which call.
        call: Call,
        /// What it said.
        message: String,
    },
    /// The service does not take this, as things are (400).
    #[error("{call}: refused: {message}")]
    Invalid {
        /// Which call.
        call: Call,
        /// In the service's own words.
        message: String,
    },
    /// It does not go with what is there (409).
    #[error("{call}: conflict: {message}")]
    Conflict {
        /// Which call.
        call: Call,
        /// In the service's own words.
        message: String,
    },
    /// The project's quota is used up.
    #[error("{call}: over quota: {message}")]
    OverQuota {
        /// Which call.
        call: Call,
        /// In the service's own words.
        message: String,
    },
    /// There is more than was asked for at most. A list is whole or it is an error.
    #[error("{call}: there are more than {most}")]
    TooMany {
        /// Which call.
        call: Call,
        /// The bound.
        most: usize,
    },
    /// An answer that is not understood, or an error of the service's own (500).
    #[error("{call}: {why}")]
    Unexpected {
        /// Which call.
        call: Call,
        /// What was not expected.
        why: String,
        /// The cause.
        source: Option<Cause>,
    },
}

impl CloudError {
    /// Whether it may pass by itself: worth asking again later, unchanged.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Throttled { .. } => true,
            Self::Config { .. }
            | Self::Untrusted { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::OverQuota { .. }
            | Self::TooMany { .. }
            | Self::Unexpected { .. } => false,
        }
    }

    /// Whether a write may have been carried out all the same: look before it is given again.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Unexpected { .. } => true,
            Self::Config { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Throttled { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::OverQuota { .. }
            | Self::TooMany { .. } => false,
        }
    }

    /// Whether the service has said no to this, as things are.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::OverQuota { .. } => true,
            Self::Config { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Throttled { .. }
            | Self::Unauthorized { .. }
            | Self::TooMany { .. }
            | Self::Unexpected { .. } => false,
        }
    }

    /// Whether the cloud as a whole does not answer, or not us: no other call will fare better now.
    #[must_use]
    pub fn is_of_the_cloud(&self) -> bool {
        match self {
            Self::Config { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Throttled { .. }
            | Self::Unauthorized { .. } => true,
            // Of one of the services behind it, perhaps.
            Self::Unavailable { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::OverQuota { .. }
            | Self::TooMany { .. }
            | Self::Unexpected { .. } => false,
        }
    }

    /// How long it asks us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Throttled { retry_after, .. } = self {
            retry_after.map(Span::get)
        } else {
            None
        }
    }

    /// Its kind in one word, for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::Unreachable { .. } => "unreachable",
            Self::Untrusted { .. } => "untrusted",
            Self::Broken { .. } => "broken",
            Self::TimedOut { .. } => "timed_out",
            Self::Unavailable { .. } => "unavailable",
            Self::Throttled { .. } => "throttled",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::OverQuota { .. } => "over_quota",
            Self::TooMany { .. } => "too_many",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// The message with all its causes, for where no `source` can go along.
    #[must_use]
    pub fn in_full(&self) -> String {
        in_full(self)
    }
}

/// An error's message with all its causes.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(c) = cause {
        text.push_str(": ");
        text.push_str(&c.to_string());
        cause = c.source();
    }
    text
}
