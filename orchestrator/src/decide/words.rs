//! For how long this term has seen, look by look, that a group's approval is of no use any more.
//!
//! By its own monotonic clock, and a new leader counts anew: that a word is taken away late does no harm, for a decision compares its age too
//! (`rekindle_core::decision`).

use rekindle_common::GroupName;
use rekindle_store::Revision;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The approvals that are of no use, by their revision in etcd, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(BTreeMap<GroupName, (Revision, Instant)>);

impl Words {
    /// Takes a look: the revision of an approval that is of no use now. For how long it has been so without a break.
    pub(super) fn see(
        &mut self,
        group: &GroupName,
        over: Option<Revision>,
        now: Instant,
    ) -> Option<Duration> {
        let Some(revision) = over else {
            self.0.remove(group);
            return None;
        };
        let since = match self.0.get(group) {
            Some((of, since)) if *of == revision => *since,
            // Another word.
            Some(_) | None => {
                self.0.insert(group.clone(), (revision, now));
                now
            }
        };
        Some(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_of_no_use_for_as_long_as_every_look_says_so() {
        let (mut words, group) = (Words::default(), GroupName::new("db").unwrap());
        let t = Instant::now();
        let mut see = |over: Option<i64>, s| {
            let seen = words.see(&group, over.map(Revision), t + Duration::from_secs(s));
            seen.map(|d| d.as_secs())
        };
        assert_eq!(see(Some(7), 0), Some(0));
        assert_eq!(see(Some(7), 20), Some(20));
        // It was of use in between.
        assert_eq!(see(None, 21), None);
        assert_eq!(see(Some(7), 22), Some(0));
        // Or it is another.
        assert_eq!(see(Some(8), 30), Some(0));
        assert_eq!(see(Some(8), 35), Some(5));
    }
}
