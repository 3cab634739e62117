//! What can go wrong in the lab, sorted by what the caller does about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Result of everything in this crate.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// A failure of the lab. `Display` gives the context, `source` the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A program the lab needs is not installed.
    #[error("the program `{program}` is missing: install the Debian package `{package}`")]
    MissingPackage {
        /// The program that was looked for in `PATH`.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Asked for something that only root may do.
    #[error("{what} needs root (network namespaces); this lab runs on loopback")]
    NeedsRoot {
        /// The thing asked for.
        what: String,
    },
    /// The caller's input makes no sense.
    #[error("{0}")]
    BadInput(String),
    /// There is no lab in that folder.
    #[error("there is no lab in {}: run `lab up` first", root.display())]
    NoLab {
        /// The folder looked at.
        root: PathBuf,
    },
    /// The lab's own record cannot be believed.
    #[error("the lab's record {} is damaged: {why}", path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A command ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command as typed.
        command: String,
        /// Its exit status in words.
        status: String,
        /// The last lines of its standard error.
        stderr: String,
    },
    /// A command did not end in time and was killed.
    #[error("`{command}` did not end within {after:?} and was killed")]
    CommandTimeout {
        /// The command as typed.
        command: String,
        /// Its deadline.
        after: Duration,
    },
    /// A condition did not come true in time.
    #[error("waited {after:?} for {what}; last seen: {last}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long was waited.
        after: Duration,
        /// The last answer, or the last error.
        last: String,
    },
    /// A service ended while it was expected to run.
    #[error("`{service}` of {site} ended by itself; the end of its log {}:\n{tail}", log.display())]
    Died {
        /// The site's name.
        site: &'static str,
        /// The service.
        service: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// Certificates could not be made.
    #[error("making the certificate for {whom} failed")]
    Certificate {
        /// Subject of the certificate.
        whom: String,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// An operating system call failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No subnet or port block is free on this machine.
    #[error("no free lab number on this machine ({tried} are in use): take old labs down first")]
    NoFreeNumber {
        /// How many were tried.
        tried: u8,
    },
}

impl LabError {
    /// True when the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::CommandTimeout { .. } | Self::Command { .. } => true,
            Self::MissingPackage { .. }
            | Self::NeedsRoot { .. }
            | Self::BadInput(_)
            | Self::NoLab { .. }
            | Self::BadState { .. }
            | Self::Died { .. }
            | Self::Certificate { .. }
            | Self::Io { .. }
            | Self::NoFreeNumber { .. } => false,
        }
    }
}

/// Adds what was being tried to an operating system error.
pub(crate) trait IoContext<T> {
    /// Wraps the error; `what` is only built when there is one.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| LabError::Io {
            what: what(),
            source,
        })
    }
}

impl<T> IoContext<T> for std::result::Result<T, rustix::io::Errno> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| LabError::Io {
            what: what(),
            source: errno.into(),
        })
    }
}
