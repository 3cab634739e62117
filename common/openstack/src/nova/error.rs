//! What can go wrong with a server, each with what to do about it. What goes wrong with the call alone is a [`CloudError`].

use super::{
    mark::Mark,
    server::{Fault, Seen},
    wish::Wish,
};
use crate::{error::CloudError, version::Microversion};
use rekindle_common::{ZoneName, duration::Span};
use std::fmt;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The call itself.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// This Nova is too old for one call that others have.
    #[error("{zone}: its Nova speaks {has}, and {call} needs {needs}: update it")]
    TooOld {
        /// Whose cloud.
        zone: ZoneName,
        /// Which call.
        call: &'static str,
        /// What it speaks.
        has: Microversion,
        /// What is needed.
        needs: Microversion,
    },
    /// What is asked for cannot be asked for.
    #[error("{zone}: server {name:?} cannot be asked for: {why}")]
    Unfit {
        /// Whose cloud.
        zone: ZoneName,
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// Nova refuses it, and a look around has shown why.
    #[error("{zone}: server {server} is refused: {why}")]
    Refused {
        /// Whose cloud.
        zone: ZoneName,
        /// Its name or id.
        server: String,
        /// Why, and what to do.
        why: Refusal,
        /// In Nova's own words.
        source: Box<CloudError>,
    },
    /// It is in `ERROR`.
    #[error("{zone}: server {server} failed: {}: {because}", fault_words(.fault.as_ref()))]
    Failed {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// What Nova says of it.
        fault: Option<Fault>,
        /// What of it we understand, and what to do.
        because: Because,
    },
    /// It was deleted, and not by us.
    #[error("{zone}: server {server} was deleted{}", last_words(.last.as_deref()))]
    Gone {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// How it was last seen.
        last: Option<Box<Seen>>,
    },
    /// It is not as it was wished when the time was up.
    #[error("{zone}: server {server} is not {wish} after {after} and {orders} orders{}", last_words(.last.as_deref()))]
    Late {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// How it was to be.
        wish: Wish,
        /// That long.
        after: Span,
        /// How often Nova was told.
        orders: u32,
        /// How it was last seen; none where Nova never answered.
        last: Option<Box<Seen>>,
        /// What the last call met with, where it failed.
        #[source]
        trouble: Option<Box<CloudError>>,
    },
    /// It does not come to be as wished from where it is.
    #[error("{zone}: server {server} is {seen}, and does not become {wish} from there: {advice}")]
    NotFromHere {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// Where it is.
        seen: Box<Seen>,
        /// How it was to be.
        wish: Wish,
        /// What a person can do.
        advice: &'static str,
    },
    /// Somebody has locked it, and we may not act on it as long.
    #[error("{zone}: server {server} is locked{}: `openstack server unlock {server}`, or give the user that acts here the role admin", reason_words(.reason.as_deref()))]
    Locked {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// Why, as they said.
        reason: Option<String>,
        /// In Nova's own words.
        source: Box<CloudError>,
    },
    /// Another server has the name, and is not known to be ours: it is neither taken nor doubled.
    #[error("{zone}: a server {name:?} is there already ({}) and is nobody's stand-by: rename or delete it, or, if it is the one that is meant, `openstack server set --property rekindle:standby-of={mark} {}`", .servers.join(", "), first(.servers))]
    NameTaken {
        /// Whose cloud.
        zone: ZoneName,
        /// The name.
        name: String,
        /// Whose stand-by was to be built.
        mark: Mark,
        /// Those that have it, by id.
        servers: Vec<String>,
    },
    /// Two servers say that they stand by for the same one.
    #[error("{zone}: {} all stand by for {mark}: delete all but one, or take the property rekindle:standby-of from them", .servers.join(" and "))]
    Twice {
        /// Whose cloud.
        zone: ZoneName,
        /// For which.
        mark: Mark,
        /// They, with their names and ids.
        servers: Vec<String>,
    },
    /// A volume is not let go of.
    #[error(
        "{zone}: server {server} has not let go of volume {volume} after {after}: look at the guest, or stop the server first"
    )]
    StillAttached {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// Its volume.
        volume: String,
        /// That long.
        after: Span,
    },
    /// It does not bear the mark that we were told to look for: left alone.
    #[error("{zone}: server {server} is not marked as the stand-by of {mark}: it is left alone")]
    NotOurs {
        /// Whose cloud.
        zone: ZoneName,
        /// Which.
        server: String,
        /// What it was to be.
        mark: Mark,
    },
}

/// Why Nova does not take a server or a volume: found by looking at what it names, not by reading its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The project's quota.
    #[error("over quota: {}: raise it with `openstack quota set`, or make room", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    OverQuota(Vec<Over>),
    /// There is no such flavor.
    #[error("flavor {0} is missing: make it, or map it to another")]
    FlavorMissing(String),
    /// The user that builds has no such key pair. They belong to users, and to no project.
    #[error(
        "key pair {0:?} is missing among those of the user that builds: import its public key there, or map it to another"
    )]
    KeyMissing(String),
    /// There is no such volume, or not in this project.
    #[error("volume {0} is missing, or in another project")]
    VolumeMissing(String),
    /// Somebody has it.
    #[error("volume {volume} is {status}, not available{}: detach it there first", with(.by))]
    VolumeInUse {
        /// Which.
        volume: String,
        /// Cinder's word.
        status: String,
        /// The servers that have it.
        by: Box<[String]>,
    },
    /// It is the one to boot from, and is not marked so.
    #[error("volume {0} is not bootable: `openstack volume set --bootable`")]
    VolumeNotBootable(String),
    /// There is no such port, or not in this project.
    #[error("port {0} is missing, or in another project")]
    PortMissing(String),
    /// Somebody has it.
    #[error("port {port} is in use by {by}: detach it there, or make another")]
    PortInUse {
        /// Which.
        port: String,
        /// The server, or what else has it.
        by: String,
    },
}

/// A figure of a quota that is too small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// `instances`, `cores`, `ram` (MiB), `port`.
    pub what: String,
    /// So much is asked for.
    pub wanted: u64,
    /// So much is left.
    pub left: u64,
    /// Of so much.
    pub limit: i64,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            wanted,
            left,
            limit,
        } = self;
        write!(f, "{what}: {wanted} needed, {left} left of {limit}")
    }
}

/// What of a fault we understand. Nova has no codes for these: its words are all there is, and words that we do not know are `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Because {
    /// The scheduler found none.
    #[error(
        "no host takes it: look at free capacity, the availability zone, and what the flavor asks of a host"
    )]
    NoHost,
    /// The quota was used up meanwhile.
    #[error("the quota was used up meanwhile: raise it, or make room")]
    OverQuota,
    /// A volume could not be attached.
    #[error(
        "one of its volumes could not be attached: look at their status in Cinder, and whether something else has them"
    )]
    Volume,
    /// A port could not be bound or made.
    #[error(
        "its network could not be made ready: look at its ports in Neutron, and the agent on the host"
    )]
    Network,
    /// Something else.
    #[error(
        "nothing that we know: see nova-compute's log on its host, then start it again or delete it"
    )]
    Other,
}

impl Because {
    /// Reads a fault.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        let words = fault.message.to_lowercase();
        let says = |any: &[&str]| any.iter().any(|w| words.contains(w));
        if says(&["quota exceeded", "over quota", "overquota", "limit for"]) {
            Self::OverQuota
        } else if says(&["block device mapping", "volume", "cinder", "attachment"]) {
            Self::Volume
        } else if says(&["network", "port ", "vif", "neutron", "ip address"]) {
            Self::Network
        } else if says(&[
            "no valid host",
            "maximum number of retries",
            "insufficient compute resources",
            "no allocation candidates",
        ]) {
            Self::NoHost
        } else {
            Self::Other
        }
    }
}

fn fault_words(fault: Option<&Fault>) -> String {
    fault.map_or_else(|| "Nova does not say why".to_owned(), Fault::to_string)
}

fn last_words(last: Option<&Seen>) -> String {
    last.map_or_else(
        || "; it was never seen".to_owned(),
        |seen| format!("; it was last seen as {seen}"),
    )
}

fn reason_words(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |r| format!(" ({r})"))
}

fn with(servers: &[String]) -> String {
    match servers {
        [] => String::new(),
        some => format!(" (with server {})", some.join(", ")),
    }
}

fn first(servers: &[String]) -> &str {
    servers.first().map_or("SERVER", String::as_str)
}

impl ServerError {
    /// Whether it may pass by itself: worth trying again later, unchanged.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Cloud(e) => e.is_passing(),
            Self::Late { .. } | Self::StillAttached { .. } => true,
            Self::TooOld { .. }
            | Self::Unfit { .. }
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::Gone { .. }
            | Self::NotFromHere { .. }
            | Self::Locked { .. }
            | Self::NameTaken { .. }
            | Self::Twice { .. }
            | Self::NotOurs { .. } => false,
        }
    }

    /// Its kind in one word, for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cloud(e) => e.kind(),
            Self::TooOld { .. } => "too_old",
            Self::Unfit { .. } => "unfit",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Gone { .. } => "gone",
            Self::Late { .. } => "late",
            Self::StillAttached { .. } => "still_attached",
            Self::NotFromHere { .. } => "not_from_here",
            Self::Locked { .. } => "locked",
            Self::NameTaken { .. } => "name_taken",
            Self::Twice { .. } => "twice",
            Self::NotOurs { .. } => "not_ours",
        }
    }

    /// The message with all its causes, for where no `source` can go along.
    #[must_use]
    pub fn in_full(&self) -> String {
        crate::error::in_full(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_understood_or_other() {
        for (message, because) in [
            (
                "No valid host was found. There are not enough hosts available.",
                Because::NoHost,
            ),
            (
                "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance s1.",
                Because::NoHost,
            ),
            (
                "Quota exceeded for cores: Requested 1, but already used 20 of 20 cores",
                Because::OverQuota,
            ),
            (
                "Build of instance s1 aborted: Invalid volume: volume v1 is already attached",
                Because::Volume,
            ),
            ("Block Device Mapping is Invalid.", Because::Volume),
            (
                "Build of instance s1 aborted: Failed to allocate the network(s), not rescheduling.",
                Because::Network,
            ),
            (
                "Binding failed for port p1, please check neutron logs for more information.",
                Because::Network,
            ),
            (
                "internal error: process exited while connecting to monitor",
                Because::Other,
            ),
            ("", Because::Other),
        ] {
            let fault = Fault {
                code: 500,
                message: message.to_owned(),
                created: None,
            };
            assert_eq!(Because::of(&fault), because, "{message}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let over = |what: &str, wanted, left, limit| Over {
            what: what.to_owned(),
            wanted,
            left,
            limit,
        };
        let quota = Refusal::OverQuota(vec![over("cores", 2, 1, 20), over("ram", 512, 0, 1024)]);
        let text = quota.to_string();
        assert!(
            text.contains("cores: 2 needed, 1 left of 20; ram: 512 needed")
                && text.contains("quota set"),
            "{text}"
        );
        let volume = Refusal::VolumeInUse {
            volume: "v1".into(),
            status: "in-use".into(),
            by: ["s9".into()].into(),
        };
        assert!(volume.to_string().contains("with server s9"), "{volume}");
    }
}
