//! What is kept of a group's last daily check: as much of it as a person reads.

use super::{Counts, Gap, Preflight, Unchecked};
use jiff::Timestamp;
use rekindle_common::GroupName;
use rekindle_core::daily::Done;
use serde::{Deserialize, Serialize};

/// The most gaps, and the most of what was not checked. A mapping that is missing makes one for each server.
const MOST: usize = 50;
/// The most characters of a text.
const WORDS: usize = 400;

/// A group's last daily check. JSON at [`rekindle_common::keys::preflight`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPreflight {
    /// Whose.
    pub group: GroupName,
    /// When it ended.
    pub at: Timestamp,
    /// How many were looked at.
    pub counts: Counts,
    /// What is missing.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// So many gaps more.
    #[serde(default)]
    pub more_gaps: usize,
    /// What is not known.
    #[serde(default)]
    pub unchecked: Vec<Unchecked>,
    /// So much more.
    #[serde(default)]
    pub more_unchecked: usize,
    /// Why nothing could be checked at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl KeptPreflight {
    /// What is kept of what was found, or of why nothing was.
    #[must_use]
    pub fn of(group: GroupName, at: Timestamp, found: Result<Preflight, String>) -> Self {
        let (found, failed) = match found {
            Ok(found) => (found, None),
            Err(why) => (Preflight::default(), Some(short(&why))),
        };
        let (gaps, more_gaps) = some(found.gaps, |g| Gap {
            what: short(&g.what),
            advice: short(&g.advice),
            ..g
        });
        let (unchecked, more_unchecked) = some(found.unchecked, |u| Unchecked {
            what: short(&u.what),
            why: short(&u.why),
            ..u
        });
        Self {
            group,
            at,
            counts: found.counts,
            gaps,
            more_gaps,
            unchecked,
            more_unchecked,
            failed,
        }
    }

    /// How many gaps there are.
    #[must_use]
    pub fn gap_count(&self) -> usize {
        self.gaps.len() + self.more_gaps
    }

    /// How much could not be checked; all of it counts as one.
    #[must_use]
    pub fn unchecked_count(&self) -> usize {
        self.unchecked.len() + self.more_unchecked + usize::from(self.failed.is_some())
    }

    /// Everything was checked, and nothing is missing.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.gap_count() == 0 && self.unchecked_count() == 0
    }

    /// For the next turn.
    #[must_use]
    pub fn done(&self) -> Done {
        Done {
            at: self.at,
            well: self.is_well(),
        }
    }
}

fn some<T>(all: Vec<T>, short: impl Fn(T) -> T) -> (Vec<T>, usize) {
    let more = all.len().saturating_sub(MOST);
    (all.into_iter().take(MOST).map(short).collect(), more)
}

fn short(text: &str) -> String {
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::GapKind;

    #[test]
    fn however_much_is_missing_what_is_kept_fits_into_etcd() {
        let long = "ä".repeat(10_000);
        let gap = Gap {
            kind: GapKind::Flavor,
            zone: None,
            what: long.clone(),
            advice: long.clone(),
        };
        let found = Preflight {
            gaps: vec![gap; 5000],
            ..Preflight::default()
        };
        let kept = KeptPreflight::of("db".parse().unwrap(), Timestamp::UNIX_EPOCH, Ok(found));
        assert_eq!((kept.gaps.len(), kept.gap_count()), (MOST, 5000));
        assert!(!kept.is_well());
        let json = serde_json::to_vec(&kept).unwrap();
        assert!(json.len() < 256 * 1024, "{}", json.len());
        let read: KeptPreflight = serde_json::from_slice(&json).unwrap();
        assert_eq!(read, kept);
        let failed = KeptPreflight::of("db".parse().unwrap(), Timestamp::UNIX_EPOCH, Err(long));
        assert!(!failed.is_well() && failed.gap_count() == 0);
    }
}
