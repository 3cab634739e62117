//! The story on real zones: two Ceph clusters and three etcd members on this machine, our own programs inside them.
//!
//! Everything of a zone runs inside its site, the application too, so that killing the site is the loss of the zone. This
//! process stands outside: it asks the orchestrators, reads the ledger, and reads volumes as a client of their clusters.

pub(in crate::demo) mod setup;

use super::{
    app::App,
    ledger::Ledger,
    rbd,
    record::Contents,
    show::Stage,
    volumes::DemoVolume,
    world::{DemoError, Tempo, World, look_around_text},
};
use crate::{args::DemoArgs, error::CliError};
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, Timestamp, ZoneName,
    action::{BatchItem, BatchLine, BatchRequest},
    duration::Span,
    lease::LeaseTiming,
};
use rekindle_lab::{Lab, LabOptions, Site};
use rekindle_net::SidecarClient;
use rekindle_orchestrator::{
    agent::{AgentAction, AgentOrder},
    client::OrchestratorClient,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// The application's name in the orchestrators' configuration.
const APPLICATION: &str = "demo-app";
const POOL: &str = "volumes";

/// Real zones.
pub(super) struct LabWorld {
    root: PathBuf,
    ledger: Ledger,
    up: Option<Up>,
    /// Answers nothing until the lab is up.
    client: OrchestratorClient,
}

/// What is there once the lab is up.
struct Up {
    app: Arc<App>,
    sidecars: BTreeMap<ZoneName, SidecarClient>,
}

impl LabWorld {
    /// A lab in a folder of its own; nothing is started yet. What an earlier run left there goes.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, CliError> {
        let (root, ledger) = setup::folders(args)?;
        Ok(Self {
            ledger,
            root,
            up: None,
            client: OrchestratorClient::new(Vec::new()),
        })
    }

    fn up(&self) -> Result<&Up, DemoError> {
        self.up
            .as_ref()
            .ok_or_else(|| DemoError::Plan("the lab is not up".to_owned()))
    }

    async fn app<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        f: impl FnOnce(&App) -> Result<T, DemoError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let app = Arc::clone(&self.up()?.app);
        setup::blocking(what, move || f(&app)).await
    }
}

/// The times of real clusters.
pub(super) fn tempo() -> Tempo {
    Tempo {
        lease: LeaseTiming {
            ttl: Span::secs(6),
            renew_every: Span::secs(1),
            demote_budget: Span::secs(2),
            margin: Span::secs(5),
        },
        hold_off: Span::secs(3),
        interval: Span::secs(10),
        patience: Duration::from_secs(300),
        look_every: Duration::from_millis(500),
        linger: Duration::from_secs(5),
    }
}

fn site(zone: &ZoneName) -> Result<Site, DemoError> {
    zone.as_str()
        .parse()
        .map_err(DemoError::world(format!("finding {zone}")))
}

impl World for LabWorld {
    fn name(&self) -> &'static str {
        "lab"
    }
    fn tempo(&self) -> Tempo {
        tempo()
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
        Timestamp::now()
    }
    fn orchestrator(&self) -> &OrchestratorClient {
        &self.client
    }

    async fn raise(&mut self, stage: &Stage<'_>) -> Result<(), DemoError> {
        let programs = setup::programs()?;
        stage.doing("clearing away an earlier run");
        setup::clear(&self.root).await?;
        stage.doing("two Ceph clusters, rbd-mirror both ways, three etcd members");
        let root = self.root.clone();
        let lab = setup::blocking("bringing up the zones", move || {
            Lab::up(root, LabOptions::default()).map_err(DemoError::world("bringing up the zones"))
        })
        .await?;
        stage.say("two Ceph clusters mirror both ways; three etcd members agree");
        let ledger = self.ledger.clone();
        let (app, clients) = setup::blocking("starting our programs", move || {
            let clients = setup::start(
                &lab,
                &ledger,
                &programs,
                APPLICATION,
                setup::With::CephAlone,
            )?;
            Ok((Arc::new(App { lab, ledger }), clients))
        })
        .await?;
        self.client = clients.orchestrator;
        self.up = Some(Up {
            app,
            sidecars: clients.sidecars,
        });
        stage.say("a sidecar in each zone and an orchestrator at each of the three sites run");
        Ok(())
    }

    async fn create(&self, zone: &ZoneName, volumes: &[DemoVolume]) -> Result<(), DemoError> {
        let (site, volumes) = (
            site(zone)?,
            volumes.iter().map(|v| v.spec.clone()).collect::<Vec<_>>(),
        );
        self.app("making images", move |app| {
            const WHAT: &str = "making the images";
            let zone = app.lab.zone(site).map_err(DemoError::world(WHAT))?;
            let cluster =
                rbd::connect(&zone.ceph_conf, zone.client_id).map_err(DemoError::world(WHAT))?;
            rbd::create(&cluster, &volumes).map_err(DemoError::world(WHAT))
        })
        .await
    }

    async fn order(
        &self,
        zone: &ZoneName,
        items: Vec<BatchItem>,
    ) -> Result<Vec<BatchLine>, DemoError> {
        let what = || DemoError::api(format!("giving orders to {zone}"));
        let sidecar = self.up()?.sidecars.get(zone);
        let sidecar = sidecar.ok_or_else(|| DemoError::Plan(format!("{zone} has no sidecar")))?;
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
        let name = || DemoError::world("naming the application's order");
        let order = AgentOrder {
            action: AgentAction::Start,
            group: GroupName::new("demo").map_err(name())?,
            zone: zone.clone(),
            generation,
            volumes: volumes.iter().map(|v| v.spec.clone()).collect(),
            plan: PlanId::new("by-hand").map_err(name())?,
            runbook: None,
        };
        self.app("starting the application", move |app| {
            app.carry_out(&order)
                .map_err(DemoError::world("starting the application"))
        })
        .await
    }

    async fn stop_application(&self, zone: &ZoneName) -> Result<(), DemoError> {
        let site = site(zone)?;
        self.app("stopping the application", move |app| {
            app.stop(site)
                .map_err(DemoError::world("stopping the application"))
        })
        .await
    }

    async fn read(&self, zone: &ZoneName, volume: &ImageSpec) -> Result<Contents, DemoError> {
        let (site, volume) = (site(zone)?, volume.clone());
        self.app("reading a volume", move |app| {
            let what = format!("reading {volume} in {site}");
            let zone = app.lab.zone(site).map_err(DemoError::world(what.clone()))?;
            let read =
                rbd::connect(&zone.ceph_conf, zone.client_id).and_then(|c| rbd::read(&c, &volume));
            read.map_err(DemoError::world(what))
        })
        .await
    }

    async fn kill(&mut self, zone: &ZoneName) -> Result<Timestamp, DemoError> {
        let site = site(zone)?;
        self.app("killing the zone", move |app| {
            let at = Timestamp::now();
            app.lab
                .kill(site)
                .map_err(DemoError::world(format!("killing {site}")))?;
            Ok(at)
        })
        .await
    }

    async fn restore(&mut self, zone: &ZoneName) -> Result<(), DemoError> {
        let site = site(zone)?;
        self.app("starting the zone", move |app| {
            // The sidecar and the orchestrator come back with it, as a machine's services do.
            app.lab
                .start(site)
                .map_err(DemoError::world(format!("starting {site}")))
        })
        .await
    }

    fn look_around(&self) -> String {
        look_around_text(&self.root)
    }

    async fn lower(&mut self) -> Result<(), DemoError> {
        self.up = None;
        setup::clear(&self.root).await
    }
}
