//! Small pieces of text that several commands share.

use jiff::Timestamp;
use rekindle_common::duration::Span;
use rekindle_core::{saga::State, snapshot::LeaseSight};
use std::time::Duration;

/// A time as people read it, in UTC, to the second.
#[must_use]
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

/// The same, the time of day to the millisecond: for journals.
#[must_use]
pub(super) fn precise(at: Timestamp) -> String {
    at.strftime("%F %T%.3f").to_string()
}

/// `12s ago`.
#[must_use]
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", rounded(between(at, now)))
}

/// From one time to a later one; zero where it is not later.
#[must_use]
pub(super) fn between(from: Timestamp, to: Timestamp) -> Span {
    Span(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

/// To the second, below ten seconds to a tenth.
#[must_use]
pub(super) fn rounded(span: Span) -> String {
    let secs = span.get().as_secs_f64();
    if secs < 10.0 {
        format!("{secs:.1}s")
    } else {
        Span::secs(span.get().as_secs()).to_string()
    }
}

/// `1 volume`, `2 volumes`.
#[must_use]
pub(super) fn plural(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

/// A lease in words.
#[must_use]
pub(super) fn lease(l: &LeaseSight) -> String {
    match l {
        LeaseSight::Held(l) => format!("lease held by {} (generation {})", l.zone, l.generation),
        LeaseSight::Gone { seen_gone_for } => {
            format!("NO LEASE, gone for {}", rounded(*seen_gone_for))
        }
    }
}

/// Where a plan stands, in a word or two.
#[must_use]
pub(super) fn state(s: Option<&State>) -> String {
    match s {
        None => "JOURNAL DAMAGED".to_owned(),
        Some(State::Fresh) => "not begun".to_owned(),
        Some(State::Between { next }) => format!("before step {}", next + 1),
        Some(State::Running { step }) => format!("in step {}", step + 1),
        Some(State::Unwinding { failed, .. } | State::RunningUnwind { failed, .. }) => {
            format!("putting back after step {}", failed + 1)
        }
        Some(State::Stuck { step, .. }) => format!("STUCK in step {}", step + 1),
        Some(State::Ended { end }) => end.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_read_them() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(moment(at), "2026-01-02 03:04:05 UTC");
        assert_eq!(precise(at), "2026-01-02 03:04:05.678");
        let later = at + jiff::SignedDuration::from_millis(1500);
        assert_eq!(ago(at, later), "1.5s ago");
        assert_eq!(ago(later, at), "0.0s ago");
        assert_eq!(rounded(Span::millis(75_400)), "1m 15s");
        assert_eq!(plural(1, "volume"), "1 volume");
    }
}
