//! Who reaches whom, in this process.

use crate::{
    client::{Endpoint, OrchestratorClient},
    observe::{Probe, Sight},
};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use rekindle_common::{
    ApiError, ErrorCode, SiteName, ZoneName,
    zone::{FailsafeAnswer, FailsafeQuestion},
};
use rekindle_core::observation::{Signal, SignalKind};
use rekindle_driver::{backend::Backend, lease::OtherSites};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The links between sites, and the orchestrators that answer on them.
#[derive(Debug, Default)]
pub struct Network {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    endpoints: BTreeMap<SiteName, Endpoint>,
    /// Both ways.
    cut: BTreeSet<(SiteName, SiteName)>,
}

fn pair(a: &SiteName, b: &SiteName) -> (SiteName, SiteName) {
    if a < b {
        (a.clone(), b.clone())
    } else {
        (b.clone(), a.clone())
    }
}

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Cuts the link between two sites. Links to etcd and between the clusters are their own.
    pub fn cut(&self, a: &SiteName, b: &SiteName) {
        self.state().cut.insert(pair(a, b));
    }
    /// Mends it.
    pub fn mend(&self, a: &SiteName, b: &SiteName) {
        self.state().cut.remove(&pair(a, b));
    }
    pub(super) fn isolate(&self, site: &SiteName, all: &[SiteName]) {
        for other in all.iter().filter(|o| *o != site) {
            self.cut(site, other);
        }
    }
    pub(super) fn rejoin(&self, site: &SiteName) {
        self.state().cut.retain(|(a, b)| a != site && b != site);
    }
    /// Whether one reaches the other.
    #[must_use]
    pub fn reaches(&self, from: &SiteName, to: &SiteName) -> bool {
        !self.state().cut.contains(&pair(from, to))
    }
    pub(super) fn set_endpoint(&self, site: &SiteName, endpoint: Option<Endpoint>) {
        let mut state = self.state();
        match endpoint {
            Some(e) => state.endpoints.insert(site.clone(), e),
            None => state.endpoints.remove(site),
        };
    }
    pub(super) fn endpoint(&self, site: &SiteName) -> Option<Endpoint> {
        self.state().endpoints.get(site).cloned()
    }
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.state().endpoints.values().cloned().collect()
    }
}

pub(super) fn unreachable(from: &SiteName, what: &str) -> ApiError {
    ApiError::new(
        ErrorCode::SidecarUnreachable,
        format!("{what} is not reached from {from}"),
    )
}

/// The other sites, as a zone's sidecar asks them.
pub(super) struct AskedSites {
    pub(super) me: SiteName,
    pub(super) others: BTreeSet<SiteName>,
    pub(super) network: Arc<Network>,
}

impl OtherSites for AskedSites {
    fn names(&self) -> BTreeSet<SiteName> {
        self.others.clone()
    }
    async fn ask(&self, question: &FailsafeQuestion) -> Vec<Result<FailsafeAnswer, ApiError>> {
        join_all(self.others.iter().map(|other| self.one(other, question))).await
    }
}

impl AskedSites {
    async fn one(
        &self,
        other: &SiteName,
        question: &FailsafeQuestion,
    ) -> Result<FailsafeAnswer, ApiError> {
        match self.network.endpoint(other) {
            Some(endpoint) if self.network.reaches(&self.me, other) => {
                OrchestratorClient::new(vec![endpoint])
                    .failsafe(question)
                    .await
            }
            Some(_) | None => Err(unreachable(&self.me, other.as_str())),
        }
    }
}

/// Stands for the look at a zone's monitors.
#[derive(Debug)]
pub(super) struct ClusterProbe {
    pub(super) from: SiteName,
    pub(super) zone: ZoneName,
    pub(super) backend: Backend,
    pub(super) network: Arc<Network>,
}

/// Shorter than any look may take, so that it says itself that there was no answer.
const PROBE_DEADLINE: Duration = Duration::from_millis(200);

impl Probe for ClusterProbe {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }
    fn kinds(&self) -> &'static [SignalKind] {
        &[SignalKind::CephMon]
    }
    fn look(&self) -> BoxFuture<'_, Vec<Sight>> {
        async move {
            let site = SiteName::from(self.zone.clone());
            let seen = if self.network.reaches(&self.from, &site) {
                let health = self.backend.health(Instant::now() + PROBE_DEADLINE).await;
                health.map(|h| format!("{h:?}")).map_err(|e| e.to_string())
            } else {
                Err("the link is cut".to_owned())
            };
            let (signal, detail) = match seen {
                Ok(detail) => (Signal::Up, detail),
                Err(detail) => (Signal::Down, detail),
            };
            vec![Sight {
                kind: SignalKind::CephMon,
                signal,
                detail,
            }]
        }
        .boxed()
    }
}
