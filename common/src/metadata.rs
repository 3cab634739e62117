//! Where a volume's policy stands in its image's metadata.
//!
//! RBD mirrors metadata with the image (at once in journal mode, with the next snapshot in snapshot mode), so that after a
//! failover the new primary zone has all of it, with the old zone gone. All keys start with [`PREFIX`]; keys that start
//! with `conf_` are librbd's own and are never touched.

use crate::{
    ids::{Generation, GroupName, InvalidName},
    mode::ReplicationMode,
    policy::IsolationResponse,
    schedule::Schedule,
    volume::Forced,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// All of ours start with it.
pub const PREFIX: &str = "rekindle.";
/// The mode's name.
pub const MODE: &str = "rekindle.mode";
/// Periodic: the start, RFC 3339 in UTC.
pub const START: &str = "rekindle.start";
/// Periodic: the interval.
pub const INTERVAL: &str = "rekindle.interval";
/// The group.
pub const GROUP: &str = "rekindle.group";
/// The group's isolation response, for a sidecar that starts without etcd.
pub const ISOLATION: &str = "rekindle.isolation_response";
/// What Cinder says of the volume: [`crate::facts::CinderFacts`] as JSON.
pub const CINDER: &str = "rekindle.cinder";
/// The record of the server that boots from the volume: [`crate::servers::ServerRecord`] as JSON, on one line. In no list and no log: its user data
/// may hold secrets. librbd takes and mirrors more than it can have (tried on 16.2.15: 256 KiB in a value, in both modes).
pub const SERVER: &str = "rekindle.server";
/// What becomes of the volume when it is deleted in Cinder: [`crate::deletion::OnDelete`]'s text.
pub const ON_DELETE: &str = "rekindle.on_delete";
/// That it was deleted in Cinder, and what is to follow: [`crate::deletion::Deletion`] as JSON.
pub const DELETED: &str = "rekindle.deleted_at";
/// When and why a promotion was forced; see [`forced_note`]. Gone with the next plain promotion: then all is made good.
pub const FORCED: &str = "rekindle.forced";
/// The name of the last demotion, written just before it.
pub const DEMOTION_TOKEN: &str = "rekindle.demotion_token";
/// The last resync's token (written on the copy's side as a RADOS object too, for a resync deletes the image).
pub const RESYNC_TOKEN: &str = "rekindle.resync_token";

/// A forced promotion's note: when, under which generation if any, and why.
#[must_use]
pub fn forced_note(at: Timestamp, generation: Option<Generation>, reason: &str) -> String {
    let generation = generation.map_or_else(String::new, |g| format!(" generation {g}"));
    format!("{at}{generation}: {reason}")
}

/// The note, if there is one. A text that is none was not written by us, and stands for nothing.
#[must_use]
pub fn forced(m: &BTreeMap<String, String>) -> Option<Forced> {
    let (head, reason) = m.get(FORCED)?.split_once(": ")?;
    Some(Forced {
        at: head.split(' ').next()?.parse().ok()?,
        reason: reason.to_owned(),
    })
}

/// A volume's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePolicy {
    /// How it is replicated.
    pub mode: ReplicationMode,
    /// Its group.
    pub group: Option<GroupName>,
}

/// Metadata that is no policy; `key` is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image metadata {key}: {why}")]
pub struct InvalidMetadata {
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub why: String,
}

impl VolumePolicy {
    /// As metadata. Keys that this policy does not use are absent: the writer removes them.
    #[must_use]
    pub fn to_metadata(&self) -> BTreeMap<&'static str, String> {
        let mut m = BTreeMap::from([(MODE, self.mode.name().to_owned())]);
        if let ReplicationMode::Periodic(s) = &self.mode {
            m.insert(START, s.start.to_string());
            m.insert(INTERVAL, s.interval.to_string());
        }
        if let Some(group) = &self.group {
            m.insert(GROUP, group.to_string());
        }
        m
    }

    /// From metadata; `None` where there is no [`MODE`].
    ///
    /// # Errors
    /// [`InvalidMetadata`]: somebody else wrote there, or a newer version did. It is never guessed at.
    pub fn from_metadata(m: &BTreeMap<String, String>) -> Result<Option<Self>, InvalidMetadata> {
        let bad = |key, why: String| InvalidMetadata { key, why };
        let Some(mode) = m.get(MODE) else {
            return Ok(None);
        };
        let mode = match mode.as_str() {
            "instant" => ReplicationMode::Instant,
            "once" => ReplicationMode::Once,
            "periodic" => {
                let need = |key| m.get(key).ok_or_else(|| bad(key, "is missing".to_owned()));
                ReplicationMode::Periodic(Schedule {
                    start: need(START)?
                        .parse()
                        .map_err(|e| bad(START, format!("{e}")))?,
                    interval: need(INTERVAL)?
                        .parse()
                        .map_err(|e| bad(INTERVAL, format!("{e}")))?,
                })
            }
            other => return Err(bad(MODE, format!("{other:?} is not a mode"))),
        };
        let group = m
            .get(GROUP)
            .map(|g| {
                g.parse()
                    .map_err(|e: InvalidName| bad(GROUP, e.to_string()))
            })
            .transpose()?;
        Ok(Some(Self { mode, group }))
    }
}

/// The isolation response's text in metadata.
#[must_use]
pub fn isolation_text(r: IsolationResponse) -> &'static str {
    match r {
        IsolationResponse::Demote => "demote",
        IsolationResponse::Freeze => "freeze",
        IsolationResponse::Keep => "keep",
    }
}

/// The isolation response from its text; anything unknown is `None`, and the reader takes the safe one, `demote`.
#[must_use]
pub fn isolation_from_text(s: &str) -> Option<IsolationResponse> {
    match s {
        "demote" => Some(IsolationResponse::Demote),
        "freeze" => Some(IsolationResponse::Freeze),
        "keep" => Some(IsolationResponse::Keep),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::Span;

    #[test]
    fn a_forced_promotion_is_noted_and_read_back() {
        let at = "2026-11-25T10:00:00.5Z".parse().unwrap();
        for generation in [None, Some(Generation(7))] {
            let note = forced_note(at, generation, "zone-a is dead: really");
            let m = BTreeMap::from([(FORCED.to_owned(), note)]);
            let read = forced(&m).unwrap();
            assert_eq!(
                (read.at, read.reason.as_str()),
                (at, "zone-a is dead: really")
            );
        }
        for other in ["", "yes", "noon: because", ": x"] {
            let m = BTreeMap::from([(FORCED.to_owned(), other.to_owned())]);
            assert_eq!(forced(&m), None, "{other:?}");
        }
    }

    #[test]
    fn a_policy_round_trips_through_metadata() {
        let schedule = Schedule {
            start: "2026-01-01T00:00:00Z".parse().unwrap(),
            interval: Span::secs(900),
        };
        for mode in [
            ReplicationMode::Instant,
            ReplicationMode::Once,
            ReplicationMode::Periodic(schedule),
        ] {
            for group in [None, Some(GroupName::new("db").unwrap())] {
                let p = VolumePolicy { mode, group };
                let m = p
                    .to_metadata()
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect();
                assert_eq!(VolumePolicy::from_metadata(&m), Ok(Some(p)));
            }
        }
    }

    #[test]
    fn foreign_metadata_is_refused_by_key() {
        let m = |kv: &[(&str, &str)]| {
            kv.iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert_eq!(
            VolumePolicy::from_metadata(&m(&[("conf_x", "1")])),
            Ok(None)
        );
        for (kv, key) in [
            (m(&[(MODE, "hourly")]), MODE),
            (m(&[(MODE, "periodic"), (INTERVAL, "1h")]), START),
            (
                m(&[(MODE, "periodic"), (START, "noon"), (INTERVAL, "1h")]),
                START,
            ),
            (m(&[(MODE, "once"), (GROUP, "No Group")]), GROUP),
        ] {
            assert_eq!(VolumePolicy::from_metadata(&kv).unwrap_err().key, key);
        }
    }
}
