//! How long each signal has been as it is, by this site's monotonic clock, with flaps damped.
//!
//! * A signal is down only after [`BAD_LOOKS`] bad looks in a row; its time counts from the first of them. One good look makes it up.
//! * Time in which nobody looked is no evidence: after a gap (a paused process) the count starts anew.

use super::Sight;
use jiff::Timestamp;
use rekindle_common::{SiteName, ZoneName, duration::Span};
use rekindle_core::observation::{Observation, Signal, SignalKind, SiteObservations};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// One bad look is a lost packet; two in a row are a finding (hard case 7).
const BAD_LOOKS: u32 = 2;

/// All signals of one site.
#[derive(Debug)]
pub struct Tracker {
    max_gap: Duration,
    tracks: BTreeMap<(ZoneName, SignalKind), Track>,
}

#[derive(Debug)]
struct Track {
    signal: Signal,
    /// Since when the signal is so.
    since: Instant,
    last_look: Instant,
    /// The first of the bad looks in a row, and how many.
    bad: Option<(Instant, u32)>,
    detail: String,
}

impl Tracker {
    /// `max_gap`: looks further apart than this say nothing of the time between them.
    #[must_use]
    pub fn new(max_gap: Duration) -> Self {
        Self {
            max_gap,
            tracks: BTreeMap::new(),
        }
    }

    /// Takes one look.
    pub fn record(&mut self, zone: &ZoneName, sight: Sight, now: Instant) {
        let track = self
            .tracks
            .entry((zone.clone(), sight.kind))
            .or_insert_with(|| Track {
                signal: Signal::Unknown,
                since: now,
                last_look: now,
                bad: None,
                detail: String::new(),
            });
        if now.saturating_duration_since(track.last_look) > self.max_gap {
            track.since = now;
            track.bad = None;
        }
        track.last_look = now;
        track.detail = sight.detail;
        match sight.signal {
            Signal::Up => {
                track.bad = None;
                track.turn(Signal::Up, now);
            }
            Signal::Unknown => {
                track.bad = None;
                track.turn(Signal::Unknown, now);
            }
            Signal::Down => {
                let (first, looks) = track.bad.map_or((now, 1), |(first, n)| (first, n + 1));
                track.bad = Some((first, looks));
                if looks >= BAD_LOOKS {
                    track.turn(Signal::Down, first);
                }
            }
        }
    }

    /// What this site sees now.
    #[must_use]
    pub fn observations(&self, site: &SiteName, at: Timestamp, now: Instant) -> SiteObservations {
        let observations = self
            .tracks
            .iter()
            .map(|((zone, kind), t)| Observation {
                zone: zone.clone(),
                kind: *kind,
                signal: t.signal,
                held_for: Span(now.saturating_duration_since(t.since)),
                detail: t.detail.clone(),
            })
            .collect();
        SiteObservations {
            site: site.clone(),
            at,
            observations,
        }
    }
}

impl Track {
    fn turn(&mut self, signal: Signal, since: Instant) {
        if self.signal != signal {
            self.signal = signal;
            self.since = since;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_secs(5);

    struct Watcher {
        tracker: Tracker,
        zone: ZoneName,
        now: Instant,
    }
    impl Watcher {
        fn new() -> Self {
            Self {
                tracker: Tracker::new(GAP),
                zone: ZoneName::new("zone-a").unwrap(),
                now: Instant::now(),
            }
        }
        /// Looks after so many seconds, and says what is then seen and for how many seconds.
        fn look(&mut self, after: u64, signal: Signal) -> (Signal, u64) {
            self.now += Duration::from_secs(after);
            let sight = Sight {
                kind: SignalKind::CephMon,
                signal,
                detail: String::new(),
            };
            self.tracker.record(&self.zone, sight, self.now);
            let site = SiteName::new("witness").unwrap();
            let seen = self
                .tracker
                .observations(&site, Timestamp::UNIX_EPOCH, self.now);
            let o = seen.observations.into_iter().next().unwrap();
            (o.signal, o.held_for.get().as_secs())
        }
    }

    #[test]
    fn hard_case_07_one_bad_look_is_no_finding_and_one_good_one_ends_it() {
        let mut w = Watcher::new();
        assert_eq!(w.look(0, Signal::Up), (Signal::Up, 0));
        assert_eq!(w.look(1, Signal::Down), (Signal::Up, 1));
        assert_eq!(w.look(1, Signal::Up), (Signal::Up, 2));
        assert_eq!(w.look(1, Signal::Down), (Signal::Up, 3));
        assert_eq!(
            w.look(1, Signal::Down),
            (Signal::Down, 1),
            "counts from the first bad look"
        );
        assert_eq!(w.look(4, Signal::Down), (Signal::Down, 5));
        assert_eq!(w.look(1, Signal::Up), (Signal::Up, 0));
    }

    #[test]
    fn hard_case_03_time_in_which_nobody_looked_is_no_evidence() {
        let mut w = Watcher::new();
        w.look(0, Signal::Down);
        assert_eq!(w.look(1, Signal::Down), (Signal::Down, 1));
        assert_eq!(
            w.look(600, Signal::Down),
            (Signal::Down, 0),
            "the pause was counted"
        );
        assert_eq!(w.look(1, Signal::Down), (Signal::Down, 1));
    }

    #[test]
    fn an_unknown_breaks_the_count() {
        let mut w = Watcher::new();
        w.look(0, Signal::Down);
        w.look(1, Signal::Down);
        assert_eq!(w.look(1, Signal::Unknown), (Signal::Unknown, 0));
        assert_eq!(w.look(1, Signal::Down), (Signal::Unknown, 1));
        assert_eq!(w.look(1, Signal::Down), (Signal::Down, 1));
    }
}
