//! Why a command failed, its exit code, and what to do about it.

use crate::exit::Exit;
use rekindle_common::ApiError;
use serde_json::{Value, json};
use std::error::Error as _;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or a file that it names is wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        advice: Option<String>,
        /// The cause below it.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// An orchestrator or a sidecar answered with an error.
    #[error("{}", .0.message)]
    Api(ApiError),
    /// Nobody answered.
    #[error("{message}")]
    Unreachable {
        /// Who was asked, and what came of it.
        message: String,
        /// What to do.
        advice: String,
    },
    /// Something needs a person, or is not done.
    #[error("{message}")]
    Ended {
        /// How the command ends.
        exit: Exit,
        /// What happened.
        message: String,
        /// What to do.
        advice: Option<String>,
        /// The cause below it.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Standard output cannot be written.
    #[error("the output cannot be written")]
    Output(#[source] std::io::Error),
    /// A document cannot be written as JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

impl CliError {
    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            advice: None,
            source: None,
        }
    }
    /// It failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Ended {
            exit: Exit::Failed,
            message: message.into(),
            advice: None,
            source: None,
        }
    }
    /// It ended otherwise than asked.
    pub fn ended(exit: Exit, message: impl Into<String>) -> Self {
        Self::Ended {
            exit,
            message: message.into(),
            advice: None,
            source: None,
        }
    }
    /// Adds what to do.
    #[must_use]
    pub fn advise(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Usage { advice, .. } | Self::Ended { advice, .. } => *advice = Some(text.into()),
            Self::Unreachable { advice, .. } => *advice = text.into(),
            Self::Api(_) | Self::Output(_) | Self::Json(_) => {}
        }
        self
    }

    /// Adds the cause below it.
    #[must_use]
    pub fn caused_by(mut self, e: impl std::error::Error + Send + Sync + 'static) -> Self {
        match &mut self {
            Self::Usage { source, .. } | Self::Ended { source, .. } => *source = Some(Box::new(e)),
            Self::Unreachable { .. } | Self::Api(_) | Self::Output(_) | Self::Json(_) => {}
        }
        self
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Api(e) => e.code.into(),
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Ended { exit, .. } => *exit,
            Self::Output(_) | Self::Json(_) => Exit::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Usage { advice, .. } | Self::Ended { advice, .. } => advice.clone(),
            Self::Unreachable { advice, .. } => Some(advice.clone()),
            Self::Api(e) => advice_for(e),
            Self::Output(_) | Self::Json(_) => None,
        }
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(e) = next {
            causes.push(e.to_string());
            next = e.source();
        }
        causes
    }

    /// For a person: what, why, and what to do.
    #[must_use]
    pub fn for_a_person(&self) -> String {
        let mut text = format!("rekindle: {self}");
        for cause in self.causes() {
            text.push_str(&format!("\n  because: {cause}"));
        }
        if let Self::Api(e) = self {
            if let Some(field) = &e.field {
                text.push_str(&format!("\n  field: {field}"));
            }
            if let Some(id) = &e.request_id {
                text.push_str(&format!(
                    "\n  request: {id} (look for it in the other side's log)"
                ));
            }
        }
        if let Some(advice) = self.advice() {
            text.push_str(&format!("\n  what to do: {advice}"));
        }
        text
    }

    /// As JSON.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut doc = match self {
            Self::Api(e) => serde_json::to_value(e).unwrap_or_default(),
            Self::Usage { .. }
            | Self::Unreachable { .. }
            | Self::Ended { .. }
            | Self::Output(_)
            | Self::Json(_) => json!({ "message": self.to_string() }),
        };
        if let Value::Object(doc) = &mut doc {
            doc.insert("exit_code".to_owned(), self.exit().code().into());
            doc.insert("causes".to_owned(), self.causes().into());
            doc.insert("advice".to_owned(), self.advice().into());
        }
        doc
    }
}

/// What to do about an answer from the other side, where its message does not say so by itself.
fn advice_for(e: &ApiError) -> Option<String> {
    use rekindle_common::ErrorCode as C;
    let text = match e.code {
        C::Busy | C::PlanActive => "wait for it to end (`rekindle plan list`), then ask again",
        C::StaleGeneration => {
            "the group's primary changed: look at `rekindle status`, then ask again"
        }
        C::LeaseNotHeld => {
            "look at `rekindle group show GROUP`: which zone holds the lease, and why not this one"
        }
        C::NotReplicated => "`rekindle volume replicate` puts it under replication first",
        C::ForceRequired => {
            "demote it in the other zone, or, where that zone is lost and cannot write, promote with --force --reason TEXT"
        }
        C::DemotionNotReplayed => "wait until the copy is `pending - promotion`; never force this",
        C::NoCompleteCopy => {
            "wait for the synchronisation to end; what else there is to do the message says"
        }
        C::PeerNotPrimary => {
            "promote the other zone's image first: a resync now would discard the only copy"
        }
        C::IsPrimary => "demote it first",
        C::Frozen => "`rekindle thaw ZONE`",
        C::StoreUnavailable => "see that two of the three etcd members run and reach each other",
        C::ClusterUnreachable => "see that the zone's Ceph monitors answer",
        C::SidecarUnreachable => "see that rekindle-driver runs in that zone",
        C::Unauthenticated => "check tls.ca, tls.cert and tls.key in the configuration",
        C::NotLeader | C::TooManyRequests | C::DeadlineExceeded | C::Unavailable => {
            "ask again in a few seconds; `rekindle status` shows what is going on"
        }
        // A server's, which stands with its root volume too.
        C::CorruptRecord if e.field.as_deref() == Some("record") => {
            "its record is with its root volume too: `rbd image-meta get POOL/IMAGE rekindle.server`; in etcd restore it, or delete it: where its Nova answers it is taken anew, where not `rekindle record import --from script --group GROUP -` takes in the volume's"
        }
        C::CorruptRecord => "do not delete the record: see docs/operations.md on a damaged journal",
        C::MalformedBody
        | C::DemotedOtherwise
        | C::InvalidField
        | C::GenerationRequired
        | C::Forbidden
        | C::UnknownVolume
        | C::UnknownGroup
        | C::UnknownPlan
        | C::UnknownServer
        | C::UnknownPath
        | C::MethodNotAllowed
        | C::NotPrimary
        | C::SplitBrain
        | C::HasClones
        | C::PoolNotMirrored
        | C::Held
        | C::ClockSkew
        | C::CatalogueGap
        | C::ServerGap
        | C::TooLarge
        | C::BodyTooLarge
        | C::Unsupported
        | C::StorageFull
        | C::StorageError
        | C::Internal => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::ErrorCode;

    #[test]
    fn an_error_says_what_to_do() {
        let e = CliError::Api(ApiError::new(
            ErrorCode::Frozen,
            "zone-a is frozen: disk swap",
        ));
        let text = e.for_a_person();
        assert!(text.starts_with("rekindle: zone-a is frozen"), "{text}");
        assert!(text.contains("rekindle thaw ZONE"), "{text}");
        assert_eq!(e.document()["code"], "frozen");
        assert_eq!(e.document()["exit_code"], 3);
    }
}
