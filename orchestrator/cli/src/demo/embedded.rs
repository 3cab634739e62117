//! The story on simulated clusters, in this process, with nothing installed.
//!
//! What is simulated is Ceph, with its mirroring, and etcd. The sidecars and the orchestrators are the real ones, each with a
//! runtime of its own; they talk over unix sockets. A site's death is the sudden end of its runtime: whatever ran there stops
//! in its tracks, as with `kill -9`. All times are real.

mod app;
mod site;

use super::{
    ledger::Ledger,
    record::{self, Contents, SLOT},
    show::Stage,
    volumes::DemoVolume,
    world::{DemoError, Tempo, World},
};
use crate::error::CliError;
use app::Application;
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, Timestamp, ZoneName,
    action::{BatchItem, BatchLine, BatchRequest},
    duration::Span,
    lease::LeaseTiming,
};
use rekindle_driver::backend::memory::{Fabric, FabricConfig, POOL, Record};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use rekindle_orchestrator::{
    agent::{AgentAction, AgentOrder},
    client::{Endpoint, OrchestratorClient},
};
use rekindle_store::MemoryStore;
use site::{Shared, Site};
use std::{collections::BTreeMap, convert::Infallible, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;

/// The application's name in the orchestrators' configuration.
const APPLICATION: &str = "demo-app";
/// A simulated image's size: what a writer of seconds fills is far below it.
const IMAGE_SIZE: u64 = 64 << 20;
const ZONES: [&str; 2] = ["zone-a", "zone-b"];
const SITES: [&str; 3] = ["zone-a", "zone-b", "witness"];

/// Simulated zones.
pub(super) struct Embedded {
    /// Sockets and ledgers.
    dir: TempDir,
    ledger: Ledger,
    sites: BTreeMap<&'static str, Site>,
    shared: Option<Arc<Shared>>,
    application: Arc<Application>,
    client: OrchestratorClient,
}

impl Embedded {
    /// Nothing runs yet.
    pub(super) fn new() -> Result<Self, CliError> {
        let failed = |e: std::io::Error| {
            CliError::failed("no folder for sockets could be made").caused_by(e)
        };
        let dir = tempfile::Builder::new()
            .prefix("rekindle-")
            .tempdir()
            .map_err(failed)?;
        let ledger = Ledger::at(dir.path().join("ledger")).map_err(failed)?;
        Ok(Self {
            application: Arc::new(Application::new(ledger.clone())),
            ledger,
            dir,
            sites: BTreeMap::new(),
            shared: None,
            client: OrchestratorClient::new(Vec::new()),
        })
    }

    fn shared(&self) -> Result<&Arc<Shared>, DemoError> {
        self.shared
            .as_ref()
            .ok_or_else(|| DemoError::Plan("nothing runs yet".to_owned()))
    }

    fn socket(&self, zone: &str) -> PathBuf {
        site::sidecar_socket(self.dir.path(), zone)
    }

    /// A client of the sites that live: a dead one's routes would answer from a memory that no longer moves.
    fn reconnect(&mut self) {
        let endpoints: Vec<Endpoint> = self.sites.values().map(|s| s.endpoint.clone()).collect();
        self.client = OrchestratorClient::new(endpoints);
    }

    /// Whom the command can ask here.
    #[cfg(test)]
    pub(super) fn peers(&self) -> crate::connect::Peers {
        let endpoints = self.sites.values().map(|s| s.endpoint.clone()).collect();
        let limits = ClientLimits::default();
        let sidecar = |z: &&str| {
            (
                z.parse().unwrap(),
                Client::unix(self.socket(z), limits).into(),
            )
        };
        crate::connect::Peers::new(endpoints, ZONES.iter().map(sidecar).collect())
    }

    async fn start_site(&mut self, name: &'static str) -> Result<(), DemoError> {
        let shared = Arc::clone(self.shared()?);
        let site = site::start(name, shared).await?;
        if let Some(lights) = site.lights.clone() {
            self.application.zone_is_up(lights);
        }
        self.sites.insert(name, site);
        self.reconnect();
        Ok(())
    }
}

impl World for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }
    fn tempo(&self) -> Tempo {
        Tempo {
            lease: LeaseTiming {
                ttl: Span::secs(2),
                renew_every: Span::millis(300),
                demote_budget: Span::millis(400),
                margin: Span::secs(1),
            },
            hold_off: Span::secs(1),
            interval: Span::secs(5),
            patience: Duration::from_secs(30),
            look_every: Duration::from_millis(100),
            linger: Duration::from_millis(500),
        }
    }
    fn pool(&self) -> &str {
        POOL
    }
    fn application(&self) -> &str {
        APPLICATION
    }
    fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    fn now(&self) -> Timestamp {
        self.shared
            .as_ref()
            .map_or_else(Timestamp::now, |s| s.clock.now())
    }
    fn orchestrator(&self) -> &OrchestratorClient {
        &self.client
    }

    async fn raise(&mut self, stage: &Stage<'_>) -> Result<(), DemoError> {
        let zone = |n: &str| ZoneName::new(n).map_err(DemoError::world("naming the zones"));
        let fabric = Fabric::new(zone(ZONES[0])?, zone(ZONES[1])?, FabricConfig::default());
        let clock = fabric.clock();
        let monitors = site::reserve_monitors().await?;
        self.shared = Some(Arc::new(Shared {
            fabric,
            clock,
            store: MemoryStore::new(Duration::from_secs(1)),
            dir: self.dir.path().to_owned(),
            monitors,
            application: Arc::clone(&self.application),
        }));
        for name in SITES {
            self.start_site(name).await?;
        }
        stage.say("simulated clusters and a store in this process; real sidecars and orchestrators; all times are real");
        Ok(())
    }

    async fn create(&self, zone: &ZoneName, volumes: &[DemoVolume]) -> Result<(), DemoError> {
        let cluster = self.shared()?.fabric.cluster(zone);
        let cluster = cluster.ok_or_else(|| DemoError::Plan(format!("{zone} has no cluster")))?;
        for v in volumes {
            cluster.create_image(&v.spec, IMAGE_SIZE);
        }
        Ok(())
    }

    async fn order(
        &self,
        zone: &ZoneName,
        items: Vec<BatchItem>,
    ) -> Result<Vec<BatchLine>, DemoError> {
        let what = || DemoError::api(format!("giving orders to {zone}"));
        let sidecar: SidecarClient =
            Client::unix(self.socket(zone.as_str()), ClientLimits::default()).into();
        let mut stream = sidecar
            .batch(&BatchRequest { items })
            .await
            .map_err(what())?;
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await.map_err(what())? {
            lines.push(line);
        }
        Ok(lines)
    }

    async fn start_application(
        &self,
        zone: &ZoneName,
        volumes: &[DemoVolume],
        generation: Generation,
    ) -> Result<(), DemoError> {
        let order = AgentOrder {
            action: AgentAction::Start,
            group: GroupName::new("demo").map_err(DemoError::world("naming the group"))?,
            zone: zone.clone(),
            generation,
            volumes: volumes.iter().map(|v| v.spec.clone()).collect(),
            plan: PlanId::new("by-hand").map_err(DemoError::world("naming the order"))?,
            runbook: None,
        };
        self.application
            .carry_out(order)
            .await
            .map_err(DemoError::world("starting the application"))
    }

    async fn stop_application(&self, zone: &ZoneName) -> Result<(), DemoError> {
        self.application.stop(zone).await;
        Ok(())
    }

    async fn read(&self, zone: &ZoneName, volume: &ImageSpec) -> Result<Contents, DemoError> {
        let cluster = self.shared()?.fabric.cluster(zone);
        let records = cluster
            .and_then(|c| c.records(volume))
            .ok_or_else(|| DemoError::Plan(format!("{zone} has no image {volume}")))?;
        Ok(scan(volume, &records))
    }

    async fn kill(&mut self, zone: &ZoneName) -> Result<Timestamp, DemoError> {
        let at = self.now();
        if let Some(cluster) = self.shared()?.fabric.cluster(zone) {
            cluster.kill();
        }
        self.application.zone_is_gone(zone);
        // Dropping it ends its runtime at once.
        self.sites.remove(zone.as_str());
        self.reconnect();
        Ok(at)
    }

    async fn restore(&mut self, zone: &ZoneName) -> Result<(), DemoError> {
        if let Some(cluster) = self.shared()?.fabric.cluster(zone) {
            cluster.start();
        }
        let name = SITES.into_iter().find(|s| *s == zone.as_str());
        let name = name.ok_or_else(|| DemoError::Plan(format!("{zone} is no site")))?;
        self.start_site(name).await
    }

    fn look_around(&self) -> String {
        "it ends with this process".to_owned()
    }

    async fn lower(&mut self) -> Result<(), DemoError> {
        self.sites.clear();
        Ok(())
    }
}

/// The simulated image's records as the slots that they are on a real one.
fn scan(volume: &ImageSpec, records: &[Record]) -> Contents {
    let slots: BTreeMap<u64, &[u8]> = records
        .iter()
        .map(|r| (record::offset(r.seq), r.payload.as_slice()))
        .collect();
    let read = |at: u64, buffer: &mut [u8]| -> Result<(), Infallible> {
        for (n, slot) in buffer.chunks_mut(SLOT).enumerate() {
            match slots.get(&(at + (n * SLOT) as u64)) {
                Some(bytes) if bytes.len() == slot.len() => slot.copy_from_slice(bytes),
                Some(_) | None => slot.fill(0),
            }
        }
        Ok(())
    };
    // What lies behind the last record of a simulated image cannot be anything but blank.
    let end = slots
        .last_key_value()
        .map_or(0, |(at, _)| at + 2 * SLOT as u64);
    match record::scan(volume, end.min(IMAGE_SIZE), read) {
        Ok(contents) => contents,
        Err(never) => match never {},
    }
}
