//! All of Rekindle in one process: two simulated clusters, two sidecars with their leases, etcd's rules in memory, three
//! orchestrators. No socket, no server; time is tokio's, so a test may pause it.
//!
//! ```text
//!                MemoryStore (a handle a site)
//!        site zone-a          site zone-b          site witness
//!        orchestrator         orchestrator         orchestrator
//!        sidecar + leases     sidecar + leases
//!        cluster  <── link ──>  cluster
//! ```
//!
//! Faults are verbs: [`Embedded::kill_zone`], [`Embedded::isolate`], [`Embedded::kill_orchestrator`] and their opposites, and those
//! of the parts: the store's handles, the fabric's clusters.

mod network;
mod sidecar;

pub use network::Network;
pub use sidecar::ReachedSidecar;

use crate::{
    Parts, SitePart, Timing, ZonePart,
    agent::Agents,
    build,
    client::{Endpoint, OrchestratorClient},
    clock::Clock,
    observe::{Probe, sidecar::SidecarProbe},
    servers::control::Servers,
};
use jiff::SignedDuration;
use network::{AskedSites, ClusterProbe};
use rekindle_common::{SiteName, ZoneName, duration::Span};
use rekindle_driver::{
    actions::{self, Limits, Volumes},
    backend::{
        Backend,
        memory::{Cluster, Fabric, POOL},
    },
    lease::{LeaseClock, LeaseConfig, LeaseRunner},
};
use rekindle_store::{MemoryStore, Store};
use sidecar::Switch;
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What an embedded Rekindle is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The third site.
    pub witness: SiteName,
    /// The orchestrators' times.
    pub timing: Timing,
    /// The sidecars' limits.
    pub limits: Limits,
    /// How often the sidecars look at their images for their leases.
    pub look_every: Span,
    /// The applications, fence agents and hooks of every orchestrator.
    pub agents: Agents,
    /// The zones' Novas; none where there are no servers.
    pub servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
}

/// A whole Rekindle. Dropping it stops everything.
#[derive(Debug)]
pub struct Embedded {
    options: Options,
    fabric: Fabric,
    store: MemoryStore,
    network: Arc<Network>,
    zones: BTreeMap<ZoneName, EmbeddedZone>,
    orchestrators: BTreeMap<SiteName, Running>,
    starts: u64,
}

#[derive(Debug)]
struct EmbeddedZone {
    cluster: Cluster,
    /// How far its hosts' clocks are ahead.
    ahead: SignedDuration,
    switch: Arc<Switch>,
    lease_keeper: Option<Running>,
}

/// A task that ends with its owner, as a killed process does.
#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Embedded {
    /// Starts everything. Call it inside a tokio runtime.
    #[must_use]
    pub fn start(fabric: Fabric, options: Options) -> Self {
        let network = Arc::new(Network::default());
        let zones = [fabric.a(), fabric.b()]
            .into_iter()
            .map(|cluster| {
                let zone = EmbeddedZone {
                    switch: Arc::new(Switch::default()),
                    lease_keeper: None,
                    ahead: SignedDuration::ZERO,
                    cluster: cluster.clone(),
                };
                (cluster.zone(), zone)
            })
            .collect();
        let mut this = Self {
            options,
            fabric,
            store: MemoryStore::default(),
            network,
            zones,
            orchestrators: BTreeMap::new(),
            starts: 0,
        };
        for zone in this.zone_names() {
            this.start_sidecar(&zone);
        }
        for site in this.sites() {
            this.start_orchestrator(&site);
        }
        this
    }

    fn zone_names(&self) -> Vec<ZoneName> {
        self.zones.keys().cloned().collect()
    }
    /// All sites: both zones', and the witness.
    #[must_use]
    pub fn sites(&self) -> Vec<SiteName> {
        let mut sites: Vec<SiteName> = self.zones.keys().cloned().map(SiteName::from).collect();
        sites.push(self.options.witness.clone());
        sites
    }
    /// The two clusters.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }
    /// A site's handle on the store, and with it the verbs on that site's etcd.
    #[must_use]
    pub fn store(&self, site: &str) -> MemoryStore {
        self.store.handle(site)
    }
    /// Who reaches whom.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }
    /// A client of all orchestrators that run.
    #[must_use]
    pub fn client(&self) -> OrchestratorClient {
        OrchestratorClient::new(self.network.endpoints())
    }
    /// One orchestrator's own API; `None` while it does not run.
    #[must_use]
    pub fn endpoint(&self, site: &SiteName) -> Option<Endpoint> {
        self.network.endpoint(site)
    }
    /// A zone's sidecar, as someone on its own machine reaches it; `None` while it does not run.
    #[must_use]
    pub fn volumes(&self, zone: &ZoneName) -> Option<Volumes> {
        self.zones.get(zone)?.switch.get()
    }

    /// The whole zone dies: its cluster, its sidecar, its orchestrator, its etcd member.
    pub fn kill_zone(&mut self, zone: &ZoneName) {
        let site = SiteName::from(zone.clone());
        if let Some(z) = self.zones.get(zone) {
            z.cluster.kill();
        }
        self.kill_sidecar(zone);
        self.kill_orchestrator(&site);
        self.store.handle(site.as_str()).partition();
    }
    /// It is back, with the data that it had.
    pub fn start_zone(&mut self, zone: &ZoneName) {
        let site = SiteName::from(zone.clone());
        if let Some(z) = self.zones.get(zone) {
            z.cluster.start();
        }
        self.store.handle(site.as_str()).heal();
        self.start_sidecar(zone);
        self.start_orchestrator(&site);
    }
    /// The zone is cut off from everything outside it, and lives: no etcd, no other site, no mirroring.
    pub fn isolate(&self, zone: &ZoneName) {
        let site = SiteName::from(zone.clone());
        self.network.isolate(&site, &self.sites());
        self.store.handle(site.as_str()).partition();
        self.fabric.link().cut();
    }
    /// Ends [`Self::isolate`].
    pub fn rejoin(&self, zone: &ZoneName) {
        let site = SiteName::from(zone.clone());
        self.network.rejoin(&site);
        self.store.handle(site.as_str()).heal();
        self.fabric.link().mend();
    }

    /// As `kill -9` of a zone's sidecar.
    pub fn kill_sidecar(&mut self, zone: &ZoneName) {
        if let Some(z) = self.zones.get_mut(zone) {
            z.switch.set(None);
            z.lease_keeper = None;
        }
    }
    /// Starts a zone's sidecar, as a new process.
    pub fn start_sidecar(&mut self, zone: &ZoneName) {
        self.starts += 1;
        let sites = AskedSites {
            me: zone.clone().into(),
            others: self.sites().into_iter().filter(|s| *s != *zone).collect(),
            network: Arc::clone(&self.network),
        };
        let Some(z) = self.zones.get_mut(zone) else {
            return;
        };
        let config = LeaseConfig {
            name: format!("{zone}-host"),
            look_every: self.options.look_every,
            clock: LeaseClock::tokio(),
            ..LeaseConfig::new(zone.clone(), format!("{zone}-{}", self.starts))
        };
        let store = Store::from(self.store.handle(zone.as_str()));
        let (runner, handle) = LeaseRunner::new(config, store, sites);
        let volumes = Volumes::new(actions::Parts {
            zone: zone.clone(),
            backend: Backend::Memory(z.cluster.clone()),
            state_pool: POOL.to_owned(),
            leases: Arc::new(handle),
            clock: shifted(z.cluster.clock(), z.ahead),
            limits: self.options.limits,
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(runner.run(volumes.clone(), stop.clone()));
        z.switch.set(Some(volumes));
        z.lease_keeper = Some(Running { task, stop });
    }

    /// Sets the clock of a zone's hosts that far ahead of all others. Its sidecar starts anew; its cluster's clock stays.
    pub fn skew_zone(&mut self, zone: &ZoneName, ahead: SignedDuration) {
        if let Some(z) = self.zones.get_mut(zone) {
            z.ahead = ahead;
        }
        self.kill_sidecar(zone);
        self.start_sidecar(zone);
    }

    /// As `kill -9` of a site's orchestrator.
    pub fn kill_orchestrator(&mut self, site: &SiteName) {
        self.orchestrators.remove(site);
        self.network.set_endpoint(site, None);
    }
    /// Starts a site's orchestrator, as a new process.
    pub fn start_orchestrator(&mut self, site: &SiteName) {
        let orchestrator = build(self.parts(site));
        self.network
            .set_endpoint(site, Some(orchestrator.endpoint()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(orchestrator.run(stop.clone()));
        self.orchestrators
            .insert(site.clone(), Running { task, stop });
    }
    /// Asks a site's orchestrator to stop, and waits until it has: it resigns.
    pub async fn stop_orchestrator(&mut self, site: &SiteName) {
        if let Some(mut running) = self.orchestrators.remove(site) {
            running.stop.cancel();
            // A panic in it is reported where it happened.
            let _ = (&mut running.task).await;
        }
        self.network.set_endpoint(site, None);
    }

    /// What a site's orchestrator is made of.
    #[must_use]
    pub fn parts(&self, site: &SiteName) -> Parts {
        let mut zones = Vec::new();
        let mut probes: Vec<Arc<dyn Probe>> = Vec::new();
        for (name, z) in &self.zones {
            let sidecar = Arc::new(ReachedSidecar::new(
                site.clone(),
                name.clone(),
                Arc::clone(&z.switch),
                Arc::clone(&self.network),
            ));
            probes.push(Arc::new(SidecarProbe::new(
                name.clone(),
                sidecar.clone(),
                clock(self.fabric.clock()),
            )));
            probes.push(Arc::new(ClusterProbe {
                from: site.clone(),
                zone: name.clone(),
                backend: Backend::Memory(z.cluster.clone()),
                network: Arc::clone(&self.network),
            }));
            zones.push(ZonePart {
                name: name.clone(),
                sidecar,
            });
        }
        let sites = self
            .sites()
            .into_iter()
            .map(|name| SitePart { name, url: None });
        Parts {
            site: site.clone(),
            sites: sites.collect(),
            zones,
            probes,
            store: self.store.handle(site.as_str()).into(),
            clock: clock(self.fabric.clock()),
            agents: self.options.agents.clone(),
            catalogue: None,
            servers: self.options.servers.clone(),
            stand_bys: None,
            preflight: None,
            timing: self.options.timing,
        }
    }
}

/// A clock that is set ahead. The machine's own cannot be.
fn shifted(
    clock: rekindle_driver::clock::Clock,
    ahead: SignedDuration,
) -> rekindle_driver::clock::Clock {
    match clock {
        rekindle_driver::clock::Clock::System => rekindle_driver::clock::Clock::System,
        rekindle_driver::clock::Clock::Simulated { epoch, origin } => {
            rekindle_driver::clock::Clock::Simulated {
                epoch: epoch.checked_add(ahead).unwrap_or(epoch),
                origin,
            }
        }
    }
}

/// The fabric's wall clock, as the orchestrator's.
#[must_use]
pub fn clock(from: rekindle_driver::clock::Clock) -> Clock {
    match from {
        rekindle_driver::clock::Clock::System => Clock::System,
        rekindle_driver::clock::Clock::Simulated { epoch, origin } => {
            Clock::Simulated { epoch, origin }
        }
    }
}
