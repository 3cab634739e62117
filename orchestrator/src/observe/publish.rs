//! The observing loop: look at everything at once, note it, publish it under a short lease.
//!
//! The lease is what makes a dead site's view vanish. A site that cannot publish goes on looking: its own view is in its status.

use super::{Probe, Tracker, unanswered};
use crate::clock::Clock;
use futures::future::join_all;
use rekindle_common::{SiteName, keys};
use rekindle_core::observation::SiteObservations;
use rekindle_store::{LeaseId, Op, Renewal, Store, StoreError, Txn};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// How often this site looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserverTiming {
    /// Between two looks.
    pub every: Duration,
    /// A look that takes longer counts as unanswered.
    pub probe_deadline: Duration,
    /// Whole seconds after which etcd forgets a silent site's view.
    pub ttl: u32,
}

impl Default for ObserverTiming {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            probe_deadline: Duration::from_millis(1500),
            ttl: 6,
        }
    }
}

/// One site's observer.
#[derive(Debug)]
pub struct Observer {
    site: SiteName,
    store: Store,
    clock: Clock,
    timing: ObserverTiming,
    probes: Vec<Arc<dyn Probe>>,
    tracker: Tracker,
    lease: Option<LeaseId>,
    seen: watch::Sender<Option<SiteObservations>>,
}

impl Observer {
    /// An observer with these probes.
    #[must_use]
    pub fn new(
        site: SiteName,
        store: Store,
        clock: Clock,
        timing: ObserverTiming,
        probes: Vec<Arc<dyn Probe>>,
    ) -> Self {
        // Three looks missed, with their deadlines: what lies between is not known.
        let max_gap = (timing.every + timing.probe_deadline) * 3;
        Self {
            site,
            store,
            clock,
            timing,
            probes,
            tracker: Tracker::new(max_gap),
            lease: None,
            seen: watch::Sender::new(None),
        }
    }

    /// What it saw last.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<SiteObservations>> {
        self.seen.subscribe()
    }

    /// Looks and publishes until it is dropped.
    pub async fn run(mut self) {
        let mut ticks = interval(self.timing.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = self.look().await;
            self.seen.send_replace(Some(seen.clone()));
            if let Err(e) = self.publish(&seen).await {
                tracing::debug!(site = %self.site, error = %e, "observations were not published");
            }
        }
    }

    /// One round of looks.
    async fn look(&mut self) -> SiteObservations {
        let deadline = self.timing.probe_deadline;
        let looks = join_all(self.probes.iter().map(|probe| async move {
            match timeout(deadline, probe.look()).await {
                Ok(sights) => sights,
                Err(_) => unanswered(probe.kinds(), &format!("no answer within {deadline:?}")),
            }
        }))
        .await;
        let now = Instant::now();
        for (probe, sights) in self.probes.iter().zip(looks) {
            for sight in sights {
                self.tracker.record(probe.zone(), sight, now);
            }
        }
        self.tracker.observations(&self.site, self.clock.now(), now)
    }

    async fn publish(&mut self, seen: &SiteObservations) -> Result<(), StoreError> {
        let lease = self.lease().await?;
        let put = Op::put_json(keys::site_observations(&self.site), seen, Some(lease))?;
        match self.store.txn(Txn::new().then(put)).await {
            Ok(_) => Ok(()),
            Err(e) => {
                if matches!(e, StoreError::LeaseGone { .. }) {
                    self.lease = None;
                }
                Err(e)
            }
        }
    }

    async fn lease(&mut self) -> Result<LeaseId, StoreError> {
        if let Some(lease) = self.lease
            && self.store.renew(lease).await? != Renewal::Gone
        {
            return Ok(lease);
        }
        let lease = self.store.grant(self.timing.ttl).await?;
        self.lease = Some(lease);
        Ok(lease)
    }
}
