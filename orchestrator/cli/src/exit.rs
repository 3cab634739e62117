//! The exit codes that scripts can rely on. This table is what `rekindle --help` prints.

use rekindle_common::ErrorCode;

/// How a command ended, as a process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exit {
    /// Done, or already so.
    Ok,
    /// It failed.
    Failed,
    /// The command line, the configuration or a name in it is wrong.
    Usage,
    /// The state of things forbids it now.
    Refused,
    /// Held back until a person decides.
    Held,
    /// Nobody answered.
    Unreachable,
    /// Done for some volumes or servers and not for others.
    Partial,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Refused,
        Self::Held,
        Self::Unreachable,
        Self::Partial,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Held => 4,
            Self::Unreachable => 5,
            Self::Partial => 6,
        }
    }

    /// What it means, in the words of `--help`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done, or already so",
            Self::Failed => "failed",
            Self::Usage => {
                "wrong usage: an argument, the configuration, or a name that is not known"
            }
            Self::Refused => "refused: the state forbids it now, the message says what comes first",
            Self::Held => "held: a person has to decide, the message says what on",
            Self::Unreachable => {
                "no orchestrator, sidecar, cluster or etcd majority answered in time"
            }
            Self::Partial => "done for some volumes or servers; the others are listed",
        }
    }
}

/// The table for `--help`.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::MalformedBody
            | ErrorCode::InvalidField
            | ErrorCode::GenerationRequired
            | ErrorCode::UnknownVolume
            | ErrorCode::UnknownGroup
            | ErrorCode::UnknownPlan
            | ErrorCode::UnknownServer
            | ErrorCode::UnknownPath
            | ErrorCode::MethodNotAllowed
            | ErrorCode::BodyTooLarge => Self::Usage,
            ErrorCode::Busy
            | ErrorCode::StaleGeneration
            | ErrorCode::LeaseNotHeld
            | ErrorCode::NotReplicated
            | ErrorCode::ForceRequired
            | ErrorCode::DemotionNotReplayed
            | ErrorCode::DemotedOtherwise
            | ErrorCode::NoCompleteCopy
            | ErrorCode::PeerNotPrimary
            | ErrorCode::IsPrimary
            | ErrorCode::NotPrimary
            | ErrorCode::HasClones
            | ErrorCode::PoolNotMirrored
            | ErrorCode::Frozen
            | ErrorCode::PlanActive
            | ErrorCode::TooManyRequests => Self::Refused,
            ErrorCode::Held
            | ErrorCode::SplitBrain
            | ErrorCode::CorruptRecord
            | ErrorCode::ClockSkew
            | ErrorCode::CatalogueGap
            | ErrorCode::ServerGap
            | ErrorCode::TooLarge => Self::Held,
            ErrorCode::DeadlineExceeded
            | ErrorCode::NotLeader
            | ErrorCode::ClusterUnreachable
            | ErrorCode::StoreUnavailable
            | ErrorCode::SidecarUnreachable
            | ErrorCode::Unavailable => Self::Unreachable,
            ErrorCode::Unauthenticated
            | ErrorCode::Forbidden
            | ErrorCode::Unsupported
            | ErrorCode::StorageFull
            | ErrorCode::StorageError
            | ErrorCode::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_place_in_the_table() {
        for (n, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), n);
            assert!(table().contains(&format!("  {n}  {}", exit.meaning())));
        }
    }

    #[test]
    fn errors_map_to_what_a_script_does_next() {
        for (code, exit) in [
            (ErrorCode::UnknownVolume, Exit::Usage),
            (ErrorCode::UnknownServer, Exit::Usage),
            (ErrorCode::StaleGeneration, Exit::Refused),
            (ErrorCode::Held, Exit::Held),
            (ErrorCode::StoreUnavailable, Exit::Unreachable),
            (ErrorCode::Internal, Exit::Failed),
        ] {
            assert_eq!(Exit::from(code), exit, "{code}");
        }
        // No error is ever success.
        for code in ErrorCode::ALL {
            assert_ne!(Exit::from(*code), Exit::Ok, "{code}");
        }
    }
}
