//! What is done once a day for each group: when its turn comes, with the time as an input.
//!
//! Groups do not come all at once: each has its own minute within a stretch after the hour, by its name alone, so that a new leader keeps to the
//! same one. What did not end well is done again sooner, so that what was mended shows.

use jiff::{SignedDuration, Timestamp};
use rekindle_common::{GroupName, duration::Span};
use std::time::Duration;

/// The longest stretch over which groups are spread.
pub const LONGEST_SPREAD: Span = Span::secs(23 * 3600);

/// Seconds.
const DAY: i64 = 24 * 3600;

/// At which time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    /// The hour in UTC, from 0 to 23; another one counts as 23.
    pub hour: u8,
    /// Groups are spread over so long after it.
    pub spread: Span,
    /// What did not end well is done again after that.
    pub again: Span,
}

/// The last time that it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// When.
    pub at: Timestamp,
    /// Whether it ended well.
    pub well: bool,
}

impl Daily {
    /// Whether the group's turn has come. What was never done is due.
    #[must_use]
    pub fn is_due(&self, group: &GroupName, now: Timestamp, last: Option<Done>) -> bool {
        let Some(last) = last else {
            return true;
        };
        if last.at < self.turn(group, now) {
            return true;
        }
        let since = now.duration_since(last.at);
        !last.well && since >= signed(self.again)
    }

    /// The last turn that the group has had by now.
    fn turn(&self, group: &GroupName, now: Timestamp) -> Timestamp {
        // UTC has no days of another length, in Unix time.
        let hour = i64::from(self.hour.min(23));
        let midnight = now.as_second().div_euclid(DAY) * DAY;
        let today = Timestamp::from_second(midnight + hour * 3600).unwrap_or(now);
        let mut turn = later(today, self.after(group));
        // Not yet: yesterday's, or the one before where the stretch goes past midnight.
        while turn > now {
            match turn.checked_sub(SignedDuration::from_secs(DAY)) {
                Ok(before) => turn = before,
                Err(_) => return Timestamp::MIN,
            }
        }
        turn
    }

    /// How long after the hour.
    fn after(&self, group: &GroupName) -> Duration {
        let spread = self.spread.get().min(LONGEST_SPREAD.get());
        // FNV-1a: the same in every version and on every machine, which the standard library's hashes do not promise.
        let hash = group.as_str().bytes().fold(0x811c_9dc5_u32, |h, b| {
            (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
        });
        // Names that differ in their last letters alone are to be far apart too.
        let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        let hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        let hash = hash ^ (hash >> 16);
        spread.mul_f64(f64::from(hash) / f64::from(u32::MAX))
    }
}

fn signed(span: Span) -> SignedDuration {
    SignedDuration::try_from(span.get()).unwrap_or(SignedDuration::MAX)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
    at.checked_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAILY: Daily = Daily {
        hour: 3,
        spread: Span::secs(3600),
        again: Span::secs(3600),
    };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
    fn group(name: &str) -> GroupName {
        name.parse().unwrap()
    }
    fn well(text: &str) -> Option<Done> {
        Some(Done {
            at: at(text),
            well: true,
        })
    }

    #[test]
    fn it_is_due_at_once_and_then_once_a_day() {
        let due = |now: &str, last| DAILY.is_due(&group("db"), at(now), last);
        assert!(due("2026-11-26T12:00:00Z", None));
        let last = well("2026-11-26T12:00:00Z");
        assert!(!due("2026-11-26T23:59:59Z", last));
        assert!(!due("2026-11-27T02:59:59Z", last), "before its hour");
        assert!(due("2026-11-27T04:00:01Z", last), "after its stretch");
        let last = well("2026-11-27T04:00:01Z");
        assert!(!due("2026-11-28T02:59:59Z", last));
        assert!(due("2026-11-28T04:00:01Z", last));
    }

    #[test]
    fn what_did_not_end_well_is_done_again_sooner() {
        let last = Some(Done {
            at: at("2026-11-26T12:00:00Z"),
            well: false,
        });
        let due = |now: &str| DAILY.is_due(&group("db"), at(now), last);
        assert!(!due("2026-11-26T12:59:59Z"));
        assert!(due("2026-11-26T13:00:00Z"));
        // A clock that was ahead when it was done.
        assert!(!due("2026-11-26T11:00:00Z"));
    }

    #[test]
    fn groups_are_spread_over_the_stretch() {
        let turns: Vec<i64> = (0..200)
            .map(|n| {
                let turn = DAILY.turn(&group(&format!("g{n}")), at("2026-11-26T12:00:00Z"));
                (turn.as_second() - at("2026-11-26T03:00:00Z").as_second()) / 600
            })
            .collect();
        for tenth in 0..6 {
            let there = turns.iter().filter(|t| **t == tenth).count();
            assert!((10..70).contains(&there), "{there} in stretch {tenth}");
        }
    }

    proptest! {
        /// Whoever looks each minute does it once for each day that passes, whatever the hour, the spread and the name.
        #[test]
        fn each_day_has_one_turn(hour in 0u8..24, spread in 0u64..86_000, name in "[a-z]{1,12}", days in 1i64..5) {
            let daily = Daily { hour, spread: Span::secs(spread), again: Span::secs(3600) };
            let (name, start) = (group(&name), at("2026-11-26T00:00:30Z"));
            let mut last = Some(Done { at: start, well: true });
            let mut done = 0;
            // The last look is a whole number of days after the start: a turn in the last minute before it is seen by that look.
                for minute in 1..=days * 24 * 60 {
                let now = start.checked_add(SignedDuration::from_mins(minute)).unwrap();
                if daily.is_due(&name, now, last) {
                    done += 1;
                    last = Some(Done { at: now, well: true });
                }
            }
            prop_assert_eq!(done, days);
        }
    }
}
