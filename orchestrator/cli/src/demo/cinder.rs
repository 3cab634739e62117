//! The story through Cinder: volumes as users make them, `cinder failover-host` as operators give it, the status as both see it.
//!
//! Both zones have a real Keystone and Cinder, with Rekindle's driver in it. What dies is zone-a's Ceph, and the servers on it:
//! its Cinder has to be there to be told. Clients come to Cinder by a gateway in each zone, which shows the status; in the end its
//! log says whether they did. The volumes are in no protection group, so nothing moves before somebody says so.

mod clients;
mod gateway;
mod passed;
mod story;

pub(super) use story::Story;

use super::{
    app::App,
    lab::setup,
    ledger::Ledger,
    rbd,
    record::Contents,
    show::Stage,
    volumes::Kind,
    world::{DemoError, look_around_text},
};
use crate::{args::DemoArgs, error::CliError};
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, ZoneName, duration::Span, volume::VolumeReport,
};
use rekindle_lab::{Cloud, Lab, LabOptions, OpenStack, Site};
use rekindle_net::SidecarClient;
use rekindle_orchestrator::agent::{AgentAction, AgentOrder};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// The backend of both Cinders.
const BACKEND: &str = "ceph";
/// Between two mirror snapshots of a periodic volume.
const INTERVAL: Span = Span::secs(10);
/// How long each thing may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the application is let write at each stop of the story.
const LINGER: Duration = Duration::from_secs(5);
/// What of a zone is its Ceph.
const CLUSTER: [&str; 4] = ["osd", "mon", "mgr", "rbd-mirror"];
/// What a call of a client may take when 12 are made side by side.
const CALL: Duration = Duration::from_secs(120);

/// Two zones with a Cinder each.
pub(super) struct World {
    root: PathBuf,
    ledger: Ledger,
    up: Option<Up>,
}

/// What is there once the lab is up.
struct Up {
    app: Arc<App>,
    clouds: BTreeMap<Site, Arc<OpenStack>>,
    sidecars: BTreeMap<ZoneName, SidecarClient>,
}

/// A volume as Cinder has it.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) image: ImageSpec,
}

impl World {
    /// A lab in a folder of its own; nothing is started yet. What an earlier run left there goes.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, CliError> {
        let (root, ledger) = setup::folders(args)?;
        Ok(Self {
            root,
            ledger,
            up: None,
        })
    }

    fn up(&self) -> Result<&Up, DemoError> {
        self.up
            .as_ref()
            .ok_or_else(|| DemoError::Plan("the lab is not up".to_owned()))
    }

    fn cloud(&self, site: Site) -> Result<Arc<OpenStack>, DemoError> {
        let cloud = self.up()?.clouds.get(&site);
        cloud
            .map(Arc::clone)
            .ok_or_else(|| DemoError::Plan(format!("{site} has no Cinder")))
    }

    async fn app<T: Send + 'static>(
        &self,
        what: &'static str,
        f: impl FnOnce(&App) -> Result<T, DemoError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let app = Arc::clone(&self.up()?.app);
        setup::blocking(what, move || f(&app)).await
    }

    /// Brings up everything but volumes.
    async fn raise(&mut self, stage: &Stage<'_>) -> Result<(), DemoError> {
        let programs = setup::programs()?;
        let door = setup::beside(gateway::PROGRAM)?;
        stage.doing("clearing away an earlier run");
        setup::clear(&self.root).await?;
        stage.doing("two Ceph clusters, and a Keystone and a Cinder beside each");
        let (root, ledger) = (self.root.clone(), self.ledger.clone());
        let lab = setup::blocking("bringing up the zones", move || {
            const WHAT: &str = "bringing up the zones";
            let options = LabOptions {
                cloud: Cloud::cinder().map_err(DemoError::world(WHAT))?,
                ..LabOptions::default()
            };
            Lab::up(root, options).map_err(DemoError::world(WHAT))
        })
        .await?;
        stage.say("two zones mirror both ways; each has a Keystone and a Cinder");
        stage.doing(
            "sidecars, orchestrators, gateways, and Rekindle's driver in both cinder-volumes",
        );
        let (app, clients, clouds) = setup::blocking("starting our programs", move || {
            const WHAT: &str = "setting up Cinder";
            let clients = setup::start(&lab, &ledger, &programs, "demo-app", setup::With::Cinder)?;
            let mut clouds = BTreeMap::new();
            for site in Site::ZONES {
                let cinder = lab.cinder(site).map_err(DemoError::world(WHAT))?;
                cinder
                    .configure(&[cinder.rekindle(BACKEND, &setup::socket(&lab, site))])
                    .map_err(DemoError::world(WHAT))?;
                gateway::start(&lab, site, &door)?;
                let cloud = lab.openstack(site).map_err(DemoError::world(WHAT))?;
                clouds.insert(site, Arc::new(cloud.deadline(CALL)));
            }
            Ok((Arc::new(App { lab, ledger }), clients, clouds))
        })
        .await?;
        self.up = Some(Up {
            app,
            clouds,
            sidecars: clients.sidecars,
        });
        stage.say(
            "both cinder-volumes run Rekindle's driver; three orchestrators keep their catalogues",
        );
        stage.say("Keystone's catalogues lead to a gateway before each Cinder");
        Ok(())
    }

    /// The application, in that zone, under that generation.
    async fn start_application(
        &self,
        zone: &ZoneName,
        volumes: Vec<ImageSpec>,
        generation: Generation,
    ) -> Result<(), DemoError> {
        const WHAT: &str = "starting the application";
        let order = AgentOrder {
            action: AgentAction::Start,
            group: GroupName::new("demo").map_err(DemoError::world(WHAT))?,
            zone: zone.clone(),
            generation,
            volumes,
            plan: PlanId::new("by-hand").map_err(DemoError::world(WHAT))?,
            runbook: None,
        };
        self.app(WHAT, move |app| {
            app.carry_out(&order).map_err(DemoError::world(WHAT))
        })
        .await
    }

    async fn stop_application(&self, site: Site) -> Result<(), DemoError> {
        const WHAT: &str = "stopping the application";
        self.app(WHAT, move |app| {
            app.stop(site).map_err(DemoError::world(WHAT))
        })
        .await
    }

    async fn read(&self, site: Site, image: &ImageSpec) -> Result<Contents, DemoError> {
        let image = image.clone();
        self.app("reading a volume", move |app| {
            let what = format!("reading {image} in {site}");
            let zone = app.lab.zone(site).map_err(DemoError::world(what.clone()))?;
            rbd::connect(&zone.ceph_conf, zone.client_id)
                .and_then(|c| rbd::read(&c, &image))
                .map_err(DemoError::world(what))
        })
        .await
    }

    /// The zone's Ceph loses power, and the servers with it.
    async fn kill_storage(&self, site: Site) -> Result<(), DemoError> {
        const WHAT: &str = "killing a zone's storage";
        self.app(WHAT, move |app| {
            for part in CLUSTER {
                app.lab
                    .kill_service(site, part)
                    .map_err(DemoError::world(WHAT))?;
            }
            app.kill(site).map_err(DemoError::world(WHAT))
        })
        .await
    }

    /// It is back, as it was; the servers are not.
    async fn restore_storage(&self, site: Site) -> Result<(), DemoError> {
        const WHAT: &str = "starting a zone's storage";
        self.app(WHAT, move |app| {
            app.lab.start(site).map_err(DemoError::world(WHAT))
        })
        .await
    }

    /// What came by a zone's gateway.
    async fn passed(&self, site: Site) -> Result<passed::Passed, DemoError> {
        self.app("reading a gateway's log", move |app| {
            gateway::passed(&app.lab, site)
        })
        .await
    }

    fn sidecar(&self, zone: &ZoneName) -> Result<&SidecarClient, DemoError> {
        self.up()?
            .sidecars
            .get(zone)
            .ok_or_else(|| DemoError::Plan(format!("{zone} has no sidecar")))
    }

    /// What the zone's sidecar says of its volumes; none where it does not answer.
    async fn reports(&self, zone: &ZoneName) -> Result<Vec<VolumeReport>, DemoError> {
        let all = self.sidecar(zone)?.all_volumes(None, 1000).await;
        Ok(all.unwrap_or_default())
    }

    pub(super) fn look_around(&self) -> String {
        look_around_text(&self.root)
    }

    pub(super) async fn lower(&mut self) -> Result<(), DemoError> {
        self.up = None;
        setup::clear(&self.root).await
    }
}
