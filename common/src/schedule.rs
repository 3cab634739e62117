//! When a periodic volume's mirror snapshots are due.
//!
//! The schedule is Rekindle's own and in UTC: Ceph's mis-anchors its start time before the release after Tentacle
//! (hard case 28). It is pure: given the time, it says which tick is the latest one due.

use crate::duration::Span;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The shortest interval that is taken: a mirror snapshot costs every replica a flush.
pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// The longest: beyond a month, "periodic" protects nothing and is most likely a slip of the unit.
pub const MAX_INTERVAL: Duration = Duration::from_secs(31 * 86_400);

/// A start and an interval, both in UTC: ticks are at `start + n * interval`, n = 0, 1, 2, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The first tick.
    pub start: Timestamp,
    /// Between one tick and the next; see [`MIN_INTERVAL`] and [`MAX_INTERVAL`].
    pub interval: Span,
}

/// An interval outside the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an interval of {given} is outside the bounds: give one from {min} to {max}", min = Span(MIN_INTERVAL), max = Span(MAX_INTERVAL))]
pub struct IntervalOutOfBounds {
    /// What was asked for.
    pub given: Span,
}

impl Schedule {
    /// Checks the interval's bounds.
    ///
    /// # Errors
    /// [`IntervalOutOfBounds`]. A start in the past or far ahead is legal.
    pub fn check(&self) -> Result<(), IntervalOutOfBounds> {
        if (MIN_INTERVAL..=MAX_INTERVAL).contains(&self.interval.get()) {
            Ok(())
        } else {
            Err(IntervalOutOfBounds {
                given: self.interval,
            })
        }
    }

    /// The latest tick at or before `now`; `None` before the start.
    ///
    /// After a pause of many intervals this is one tick, not many: the schedule catches up once.
    #[must_use]
    pub fn latest_due(&self, now: Timestamp) -> Option<Timestamp> {
        let elapsed = now.duration_since(self.start).as_millis();
        if elapsed < 0 {
            return None;
        }
        let step = i128::try_from(self.interval.get().as_millis())
            .ok()
            .filter(|s| *s > 0)?;
        let into = i64::try_from(elapsed - elapsed % step).ok()?;
        self.start
            .checked_add(SignedDuration::from_millis(into))
            .ok()
    }

    /// Whether a snapshot is due now, given when the last one was taken.
    ///
    /// `last` is the time of the newest mirror snapshot that this schedule (here or in the other zone) took.
    #[must_use]
    pub fn is_due(&self, now: Timestamp, last: Option<Timestamp>) -> bool {
        match (self.latest_due(now), last) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(tick), Some(last)) => last < tick,
        }
    }

    /// The first tick after `now`; `None` only where time itself ends.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        match self.latest_due(now) {
            None => Some(self.start),
            Some(tick) => {
                let step = SignedDuration::try_from(self.interval.get()).ok()?;
                tick.checked_add(step).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }
    fn every(start: i64, secs: u64) -> Schedule {
        Schedule {
            start: at(start),
            interval: Span::secs(secs),
        }
    }

    #[test]
    fn hard_case_28_ticks_keep_to_the_start_time() {
        let s = every(1000, 60);
        assert_eq!(s.latest_due(at(999)), None);
        assert_eq!(s.latest_due(at(1000)), Some(at(1000)));
        assert_eq!(s.latest_due(at(1179)), Some(at(1120)));
        assert_eq!(s.next_due(at(1179)), Some(at(1180)));
        assert_eq!(s.next_due(at(10)), Some(at(1000)));
    }

    #[test]
    fn a_long_pause_is_caught_up_once() {
        let s = every(0, 60);
        assert!(s.is_due(at(6000), Some(at(60))));
        assert!(!s.is_due(at(6000), Some(at(6000))));
        assert!(!s.is_due(at(6059), Some(at(6000))));
    }

    #[test]
    fn absurd_intervals_are_refused() {
        for secs in [0, 4, 365 * 86_400] {
            assert!(every(0, secs).check().is_err(), "{secs}");
        }
        assert!(every(0, 900).check().is_ok());
    }

    proptest! {
        #[test]
        fn latest_is_never_after_now_and_next_always_is(start in -1_000_000i64..1_000_000, step in 5u64..100_000, now in -2_000_000i64..4_000_000) {
            let s = every(start, step);
            let now = at(now);
            if let Some(tick) = s.latest_due(now) {
                prop_assert!(tick <= now);
                prop_assert_eq!((tick.as_second() - start).rem_euclid(i64::try_from(step).unwrap()), 0);
            }
            prop_assert!(s.next_due(now).unwrap() > now);
        }
    }
}
