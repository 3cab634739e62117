//! The zone's sidecar: whether it answers, what it says of its cluster and its mirror daemons, and what time it is there.

use super::{Probe, Sight, unanswered};
use crate::{
    clock::Clock,
    zone::{Sidecar, is_silence},
};
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{ZoneName, volume::Known, zone::ZoneReport};
use rekindle_core::{
    observation::{Signal, SignalKind},
    skew::Skew,
};
use std::sync::{Arc, Mutex, PoisonError};

const KINDS: &[SignalKind] = &[
    SignalKind::Sidecar,
    SignalKind::CephWrite,
    SignalKind::MirrorDaemon,
];

/// Asks a sidecar for its zone's report.
#[derive(Debug)]
pub struct SidecarProbe {
    zone: ZoneName,
    sidecar: Arc<dyn Sidecar>,
    clock: Clock,
    /// Kept when it dies: what its copies show is by that clock. Every site looks, so that a new leader knows it too.
    skew: Mutex<Option<Skew>>,
}

impl SidecarProbe {
    /// A probe of that zone's sidecar. `clock` is ours, which the zone's is compared with.
    #[must_use]
    pub fn new(zone: ZoneName, sidecar: Arc<dyn Sidecar>, clock: Clock) -> Self {
        Self {
            zone,
            sidecar,
            clock,
            skew: Mutex::new(None),
        }
    }

    fn skew(&self) -> std::sync::MutexGuard<'_, Option<Skew>> {
        // Each change under this lock is one assignment.
        self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for SidecarProbe {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }
    fn kinds(&self) -> &'static [SignalKind] {
        KINDS
    }
    fn look(&self) -> BoxFuture<'_, Vec<Sight>> {
        async move {
            let asked = self.clock.now();
            match self.sidecar.report().await {
                Ok(report) if report.zone == self.zone => {
                    *self.skew() = Some(Skew::measured(report.now, asked, self.clock.now()));
                    sights(&report)
                }
                Ok(report) => unanswered(
                    KINDS,
                    &format!("another zone's sidecar answers there: {}", report.zone),
                ),
                // It answers, and refuses: it is there. What it would say is not known.
                Err(e) if !is_silence(&e) => refused(&e.to_string()),
                Err(e) => unanswered(KINDS, &e.message),
            }
        }
        .boxed()
    }
    fn clock(&self) -> Option<Skew> {
        *self.skew()
    }
}

fn sight(kind: SignalKind, signal: Signal, detail: impl Into<String>) -> Sight {
    Sight {
        kind,
        signal,
        detail: detail.into(),
    }
}

fn known(k: Known) -> Signal {
    match k {
        Known::Yes => Signal::Up,
        Known::No => Signal::Down,
        Known::Unknown => Signal::Unknown,
    }
}

fn sights(report: &ZoneReport) -> Vec<Sight> {
    let osds = match (report.ceph.osds_up, report.ceph.osds) {
        (Some(up), Some(all)) => format!("{up} of {all} OSDs up"),
        _ => "no count of OSDs".to_owned(),
    };
    let health = report.ceph.health.as_deref().unwrap_or("no health");
    vec![
        sight(
            SignalKind::Sidecar,
            Signal::Up,
            format!("{} {}", report.sidecar, report.version),
        ),
        sight(
            SignalKind::CephWrite,
            known(report.ceph.writable),
            format!("{health}, {osds}"),
        ),
        sight(
            SignalKind::MirrorDaemon,
            known(report.mirror.daemon_up),
            match &report.mirror.peer_site {
                Some(peer) => format!("peer {peer}"),
                None => "no peer".to_owned(),
            },
        ),
    ]
}

fn refused(why: &str) -> Vec<Sight> {
    vec![
        sight(SignalKind::Sidecar, Signal::Up, why),
        sight(SignalKind::CephWrite, Signal::Unknown, why),
        sight(SignalKind::MirrorDaemon, Signal::Unknown, why),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use rekindle_common::zone::{CephReport, MirrorReport};

    #[test]
    fn hard_case_60_a_cluster_that_takes_no_writes_is_down_though_its_sidecar_is_up() {
        let report = ZoneReport {
            zone: ZoneName::new("zone-a").unwrap(),
            sidecar: "s1".to_owned(),
            version: "0".to_owned(),
            now: Timestamp::UNIX_EPOCH,
            ceph: CephReport {
                writable: Known::No,
                health: Some("HEALTH_ERR".to_owned()),
                osds_up: Some(0),
                osds: Some(3),
                fsid: None,
            },
            mirror: MirrorReport {
                daemon_up: Known::Unknown,
                peer_site: None,
            },
            frozen: None,
            groups: vec![],
        };
        let got: Vec<(SignalKind, Signal)> = sights(&report)
            .into_iter()
            .map(|s| (s.kind, s.signal))
            .collect();
        assert_eq!(
            got,
            [
                (SignalKind::Sidecar, Signal::Up),
                (SignalKind::CephWrite, Signal::Down),
                (SignalKind::MirrorDaemon, Signal::Unknown)
            ]
        );
    }

    #[test]
    fn what_a_sidecar_would_say_is_unknown_without_it() {
        let got: Vec<Signal> = unanswered(KINDS, "gone")
            .into_iter()
            .map(|s| s.signal)
            .collect();
        assert_eq!(got, [Signal::Down, Signal::Unknown, Signal::Unknown]);
    }
}
