//! One error for everything that librados and librbd answer, sorted by what they meant.
//!
//! C gives a negative errno, and the same number means different things from different functions.
//! The meaning is settled here once, from the number **and** the function; nobody above looks at
//! a number or at a text.

use std::error::Error as StdError;
use std::ffi::c_int;
use std::fmt;

/// The C call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The C function, such as `rbd_mirror_image_promote`.
    pub operation: &'static str,
    /// What it was called on: `pool/image`, a pool, an object, or the cluster.
    pub subject: String,
    /// The errno, positive. 0 where the answer could not be read.
    pub errno: i32,
    /// What the cluster said in words, if it said anything (commands do).
    pub message: Option<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} on {}", self.operation, self.subject)?;
        if self.errno != 0 {
            write!(out, ": {}", std::io::Error::from_raw_os_error(self.errno))?;
        }
        if let Some(message) = &self.message {
            write!(out, ": {message}")?;
        }
        Ok(())
    }
}

/// Why something is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyReason {
    /// A plain promotion was refused: the peer is primary, **or** its demotion has not been
    /// replayed here yet. librbd does not say which, and neither is a reason to force
    /// (hard cases 20 and 21).
    PeerPrimaryOrDemotionPending,
    /// A promotion was refused with `EROFS`: the demotion has been replayed here, but this site's
    /// daemon has not let go of the image yet, and librbd asks it, as the holder of the lock, to
    /// take the promotion's snapshot. It passes by itself.
    DaemonHoldsImage,
    /// Somebody uses it: watchers, a lock, snapshots.
    InUse,
}

/// What is not mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorScope {
    /// The pool: its mirror mode is `disabled`.
    Pool,
    /// The image.
    Image,
}

/// The part an image plays in mirroring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This cluster's copy is the one that may be written.
    Primary,
    /// This cluster's copy follows another, or was demoted.
    NonPrimary,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Primary => "primary",
            Self::NonPrimary => "non-primary",
        })
    }
}

/// What librados or librbd answered instead of success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such pool, image, snapshot, key or object (`ENOENT`).
    #[error("not found: {0}")]
    NotFound(Call),
    /// It is there already (`EEXIST`).
    #[error("exists already: {0}")]
    Exists(Call),
    /// It is in use, or may not be promoted yet (`EBUSY`, `ENOTEMPTY`).
    #[error("busy ({}): {call}", match reason {
        BusyReason::PeerPrimaryOrDemotionPending =>
            "the peer is primary, or its demotion has not been replayed here",
        BusyReason::DaemonHoldsImage => "rbd-mirror has not let go of the image yet",
        BusyReason::InUse => "in use",
    })]
    Busy {
        /// The call.
        call: Call,
        /// Why.
        reason: BusyReason,
    },
    /// Mirroring is not enabled there: a state, not a fault (hard case 36).
    #[error("not mirrored: {call}")]
    NotMirrored {
        /// The call.
        call: Call,
        /// Whether it is the image or its pool.
        scope: MirrorScope,
    },
    /// The image does not play the part that the call needs: promoting a primary, demoting,
    /// snapshotting or disabling a non-primary, resyncing a primary.
    #[error("the image is {role}: {call}")]
    WrongRole {
        /// The call.
        call: Call,
        /// The part it plays.
        role: Role,
    },
    /// The image cannot be written: opened read-only, a snapshot, or no longer primary (`EROFS`).
    #[error("read only: {0}")]
    ReadOnly(Call),
    /// Not allowed: capabilities, a wrong key, or a write to an image that was demoted (`EPERM`,
    /// `EACCES`).
    #[error("not permitted: {0}")]
    Permission(Call),
    /// The cluster did not answer in the time set at connect (`ETIMEDOUT`). A change may have
    /// been made or not: look.
    #[error("timed out: {0}")]
    TimedOut(Call),
    /// The cluster has blocklisted this client; the connection is of no more use (`ESHUTDOWN`).
    #[error("this client is blocklisted: {0}")]
    Blocklisted(Call),
    /// The cluster is not to be reached, or hung up (`ENOTCONN`, `ECONNREFUSED`, ...).
    #[error("unreachable: {0}")]
    Unreachable(Call),
    /// Too large or out of range for what it is (`ERANGE`, `EOVERFLOW`, `E2BIG`, `EFBIG`,
    /// `ENAMETOOLONG`, `EDOM`).
    #[error("out of range: {0}")]
    Range(Call),
    /// No space, or over quota (`ENOSPC`, `EDQUOT`).
    #[error("no space: {0}")]
    Full(Call),
    /// The call makes no sense to the library (`EINVAL`).
    #[error("invalid: {0}")]
    Invalid(Call),
    /// The cluster or the image cannot do this (`EOPNOTSUPP`, `ENOSYS`, `ENOEXEC`).
    #[error("not supported: {0}")]
    Unsupported(Call),
    /// Any other errno.
    #[error("failed: {0}")]
    Other(Call),

    /// The answer was not what it should be: no JSON, no UTF-8, a length that cannot be.
    #[error("the answer cannot be read: {call}")]
    Reply {
        /// The call.
        call: Call,
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A text given to the library holds a NUL byte or is empty where it must not be.
    #[error("{what} is no text that Ceph can take: {text:?}")]
    Text {
        /// What it was to be: an image name, a key.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The library that is installed lacks a function.
    #[error("{library} has no function {function}: it came with Ceph {since}")]
    MissingFunction {
        /// The library's file name.
        library: &'static str,
        /// The C function.
        function: &'static str,
        /// The major number of the Ceph release that introduced it.
        since: u8,
    },
    /// A library could not be loaded.
    #[error("cannot load {library}")]
    Library {
        /// The library's file name.
        library: String,
        /// What the dynamic linker says.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// The call that failed, if it got as far as the library.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::NotFound(call)
            | Self::Exists(call)
            | Self::Busy { call, .. }
            | Self::NotMirrored { call, .. }
            | Self::WrongRole { call, .. }
            | Self::ReadOnly(call)
            | Self::Permission(call)
            | Self::TimedOut(call)
            | Self::Blocklisted(call)
            | Self::Unreachable(call)
            | Self::Range(call)
            | Self::Full(call)
            | Self::Invalid(call)
            | Self::Unsupported(call)
            | Self::Other(call)
            | Self::Reply { call, .. } => Some(call),
            Self::Text { .. } | Self::MissingFunction { .. } | Self::Library { .. } => None,
        }
    }

    /// The errno, positive, if the library gave one.
    pub fn errno(&self) -> Option<i32> {
        self.call()
            .map(|call| call.errno)
            .filter(|errno| *errno != 0)
    }

    /// Whether the same call may succeed later with nothing changed by a person.
    ///
    /// A timed-out or unreachable call may; so may one refused because something is busy. Whether
    /// it *should* be made again is the caller's decision: after [`Error::TimedOut`], look first.
    pub fn retryable(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Unreachable(_) | Self::Busy { .. } => true,
            Self::Other(call) => matches!(call.errno, libc::EAGAIN | libc::EINTR | libc::ESTALE),
            Self::NotFound(_)
            | Self::Exists(_)
            | Self::NotMirrored { .. }
            | Self::WrongRole { .. }
            | Self::ReadOnly(_)
            | Self::Permission(_)
            | Self::Blocklisted(_)
            | Self::Range(_)
            | Self::Full(_)
            | Self::Invalid(_)
            | Self::Unsupported(_)
            | Self::Reply { .. }
            | Self::Text { .. }
            | Self::MissingFunction { .. }
            | Self::Library { .. } => false,
        }
    }

    /// Whether only a new connection can help: this one is blocklisted.
    pub fn needs_reconnect(&self) -> bool {
        matches!(self, Self::Blocklisted(_))
    }

    /// Whether a write was refused because the image may not be written here: what a writer sees
    /// when its image is demoted under it.
    pub fn is_write_refused(&self) -> bool {
        matches!(self, Self::ReadOnly(_) | Self::Permission(_))
    }

    /// The error for `errno` (positive) of `call`, before any function's own meaning.
    fn from_call(call: Call) -> Self {
        match call.errno {
            libc::ENOENT => Self::NotFound(call),
            libc::EEXIST => Self::Exists(call),
            libc::EBUSY | libc::ENOTEMPTY => Self::Busy {
                call,
                reason: BusyReason::InUse,
            },
            libc::EROFS => Self::ReadOnly(call),
            libc::EPERM | libc::EACCES => Self::Permission(call),
            libc::ETIMEDOUT => Self::TimedOut(call),
            libc::ESHUTDOWN => Self::Blocklisted(call),
            libc::ENOTCONN
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::ECONNABORTED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH => Self::Unreachable(call),
            libc::ERANGE
            | libc::EOVERFLOW
            | libc::E2BIG
            | libc::EFBIG
            | libc::ENAMETOOLONG
            | libc::EDOM => Self::Range(call),
            libc::ENOSPC | libc::EDQUOT => Self::Full(call),
            libc::EINVAL => Self::Invalid(call),
            libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOEXEC => Self::Unsupported(call),
            _ => Self::Other(call),
        }
    }
}

/// Where a call is made: the function and what it is called on.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) operation: &'static str,
    pub(crate) subject: &'a str,
}

impl At<'_> {
    /// `code` as it is if it is no error.
    pub(crate) fn check(&self, code: c_int) -> Result<c_int, Error> {
        if code < 0 {
            Err(self.error(code))
        } else {
            Ok(code)
        }
    }

    /// As [`check`](Self::check), for functions that give a length.
    pub(crate) fn check_len(&self, code: isize) -> Result<usize, Error> {
        usize::try_from(code).map_err(|_| self.error(c_int::try_from(code).unwrap_or(-libc::EIO)))
    }

    /// The error for a negative return code.
    pub(crate) fn error(&self, code: c_int) -> Error {
        Error::from_call(self.call(code, None))
    }

    /// The error for a negative return code and the cluster's words.
    pub(crate) fn error_saying(&self, code: c_int, message: String) -> Error {
        Error::from_call(self.call(code, Some(message).filter(|m| !m.is_empty())))
    }

    /// An answer that makes no sense.
    pub(crate) fn unreadable(&self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Reply {
            call: self.call(0, None),
            source: source.into(),
        }
    }

    pub(crate) fn call(&self, code: c_int, message: Option<String>) -> Call {
        Call {
            operation: self.operation,
            subject: self.subject.to_owned(),
            errno: code.saturating_neg(),
            message,
        }
    }
}

#[cfg(test)]
mod tests;
