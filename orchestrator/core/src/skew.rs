//! How far a zone's clock is from ours (hard case 12).
//!
//! Nothing that decides who may write looks at it: leases, hold-offs and margins count elapsed time, each by one machine's own
//! monotonic clock, and compare no two clocks. One figure does compare them: what a failover would lose is the time from what a
//! copy shows, by its zone's clocks, to the moment of the loss, by ours. A zone's clock that is ahead makes that figure too small.

use jiff::{SignedDuration, Timestamp};
use rekindle_common::{SiteName, ZoneName, duration::Span};
use serde::{Deserialize, Serialize};

/// How far a clock is ahead of ours; below zero it is behind. The answer was written somewhere between the question and its
/// arrival, so this is a range, as wide as the round trip took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    at_least: SignedDuration,
    at_most: SignedDuration,
}

impl Skew {
    /// From what the other clock showed in its answer, and ours when we asked and when the answer was here.
    #[must_use]
    pub fn measured(theirs: Timestamp, asked: Timestamp, answered: Timestamp) -> Self {
        // Our own clock may be set back in between.
        Self {
            at_least: theirs.duration_since(asked.max(answered)),
            at_most: theirs.duration_since(asked.min(answered)),
        }
    }

    /// What is certain of it: zero where the round trip alone explains the difference.
    #[must_use]
    pub fn certain(self) -> SignedDuration {
        if self.at_least.is_positive() {
            self.at_least
        } else if self.at_most.is_negative() {
            self.at_most
        } else {
            SignedDuration::ZERO
        }
    }

    /// The most that it may be ahead; zero where it is behind.
    #[must_use]
    pub fn ahead_at_most(self) -> Span {
        Span(self.at_most.try_into().unwrap_or_default())
    }

    /// What a person must know of a zone's clock that is further from `site`'s than it may be.
    #[must_use]
    pub fn concern(self, zone: &ZoneName, site: &SiteName, limit: Span) -> Option<String> {
        let certain = self.certain();
        let by = Span(certain.unsigned_abs());
        if by <= limit {
            return None;
        }
        let way = if certain.is_negative() {
            "behind"
        } else {
            "ahead of"
        };
        Some(format!(
            "the clock of {zone}'s sidecar is {} {way} that of this orchestrator, {site}; the limit is {limit} (times.max_skew). \
             What a failover would lose cannot be told closer than that. `chronyc tracking` on both machines says which is wrong: \
             see that chrony runs there and has a source",
            by.tenths()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{now, site, zone};

    /// Asked at `now()`, answered `took` seconds later, by a clock that showed `now()` and `theirs` seconds.
    fn skew(theirs: i64, took: i64) -> Skew {
        let after = |s| now() + SignedDuration::from_secs(s);
        Skew::measured(after(theirs), now(), after(took))
    }
    fn concern(s: Skew) -> Option<String> {
        s.concern(&zone("zone-a"), &site("witness"), Span::secs(5))
    }

    #[test]
    fn hard_case_12_the_round_trip_is_no_skew() {
        for (theirs, took, certain, ahead) in [
            (0, 0, 0, 0),
            // Answered at once or at the last moment: both fit.
            (0, 8, 0, 0),
            (8, 8, 0, 8),
            (3, 8, 0, 3),
            (20, 8, 12, 20),
            (-20, 8, -20, 0),
        ] {
            let s = skew(theirs, took);
            assert_eq!(
                s.certain(),
                SignedDuration::from_secs(certain),
                "{theirs} {took}"
            );
            assert_eq!(s.ahead_at_most(), Span::secs(ahead), "{theirs} {took}");
        }
        // Ours was set back by a minute while it was asked: what is certain is no more than before.
        assert_eq!(skew(0, -60).certain(), SignedDuration::ZERO);
    }

    #[test]
    fn hard_case_12_a_clock_beyond_the_limit_is_named_with_the_figure_and_the_way_out() {
        for near in [skew(5, 0), skew(-5, 0), skew(12, 8)] {
            assert_eq!(concern(near), None);
        }
        for (far, words) in [
            (skew(6, 0), "zone-a's sidecar is 6s ahead of"),
            (skew(-6, 0), "zone-a's sidecar is 6s behind"),
            (skew(14, 8), "zone-a's sidecar is 6s ahead of"),
        ] {
            let said = concern(far).unwrap();
            for word in [words, "witness", "the limit is 5s", "chrony"] {
                assert!(said.contains(word), "{word}: {said}");
            }
        }
    }
}
