//! The story with servers: real Novas in both zones, guests that boot from replicated volumes, and nobody who is told anything.
//!
//! ```text
//!   story ── World    the lab, our programs in it, what users would make: volume types, volumes, ports, servers
//!     ├── heard       each server asked for its last record, all the time and in both zones
//!     ├── Watch       the group and its plans, as in the other stories
//!     └── report      the one line, and report.json
//! ```

mod heard;
mod report;
mod story;

pub(super) use report::ServersReport;
pub(super) use story::Story;

use super::{
    lab::setup,
    ledger::Ledger,
    rbd,
    ready::Addresses,
    show::Stage,
    world::{DemoError, Tempo, look_around_text},
};
use crate::{args::DemoArgs, error::CliError};
use rekindle_common::{ImageSpec, ServerKey, Timestamp, duration::Span};
use rekindle_lab::{Api, Cloud, GuestConsole, GuestDisk, Guests, Lab, LabOptions, OpenStack, Site};
use rekindle_orchestrator::client::OrchestratorClient;
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// The backend of both Cinders.
const BACKEND: &str = "ceph";
/// The type of the servers' volumes.
const TYPE: &str = "protected";
/// Between two mirror snapshots. A stand-by is built on copies of this sort: no server can open one that is mirrored through its journal.
const INTERVAL: Span = Span::secs(10);
/// Guests run without KVM, several of them on two cores.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at what Cinder and Nova do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Two zones with a Nova each.
pub(super) struct World {
    root: PathBuf,
    ledger: Ledger,
    up: Option<Up>,
    /// Answers nothing until the lab is up.
    pub(super) client: OrchestratorClient,
}

/// What is there once the lab is up.
struct Up {
    lab: Arc<Lab>,
    guests: BTreeMap<Site, Arc<Guests>>,
}

/// A server as its users made it, in zone-a.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) key: ServerKey,
    /// Its id in zone-a's Nova.
    pub(super) server: String,
    /// The image under its volume.
    pub(super) image: ImageSpec,
    /// The host part of its address, in both zones.
    pub(super) host: u8,
}

impl World {
    /// A lab in a folder of its own; nothing is started yet. What an earlier run left there goes.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, CliError> {
        let (root, ledger) = setup::folders(args)?;
        Ok(Self {
            root,
            ledger,
            up: None,
            client: OrchestratorClient::new(Vec::new()),
        })
    }

    pub(super) fn tempo() -> Tempo {
        Tempo {
            patience: PATIENCE,
            interval: INTERVAL,
            ..super::lab::tempo()
        }
    }

    fn up(&self) -> Result<&Up, DemoError> {
        self.up
            .as_ref()
            .ok_or_else(|| DemoError::Plan("the lab is not up".to_owned()))
    }

    fn guests(&self, site: Site) -> Result<Arc<Guests>, DemoError> {
        let guests = self.up()?.guests.get(&site);
        guests
            .map(Arc::clone)
            .ok_or_else(|| DemoError::Plan(format!("{site} has no Nova")))
    }

    async fn lab<T: Send + 'static>(
        &self,
        what: &'static str,
        f: impl FnOnce(&Lab) -> Result<T, DemoError> + Send + 'static,
    ) -> Result<T, DemoError> {
        let lab = Arc::clone(&self.up()?.lab);
        setup::blocking(what, move || f(&lab)).await
    }

    /// Brings up everything but volumes and servers.
    pub(super) async fn raise(&mut self, stage: &Stage<'_>) -> Result<(), DemoError> {
        let programs = setup::programs()?;
        stage.doing("clearing away an earlier run");
        setup::clear(&self.root).await?;
        stage.doing("two Ceph clusters, and a whole OpenStack beside each");
        let root = self.root.clone();
        let lab = setup::blocking("bringing up the zones", move || {
            const WHAT: &str = "bringing up the zones";
            let options = LabOptions {
                cloud: Cloud::nova().map_err(DemoError::world(WHAT))?,
                ..LabOptions::default()
            };
            Lab::up(root, options).map_err(DemoError::world(WHAT))
        })
        .await?;
        stage.say(
            "two zones mirror both ways; each has a Keystone, Cinder, Glance, Neutron and Nova",
        );
        stage.doing("sidecars, orchestrators, and Rekindle's driver in both cinder-volumes");
        let ledger = self.ledger.clone();
        let (lab, clients, guests) = setup::blocking("starting our programs", move || {
            const WHAT: &str = "setting up the zones' clouds";
            let clients = setup::start(&lab, &ledger, &programs, "demo-app", setup::With::Nova)?;
            let mut guests = BTreeMap::new();
            for site in Site::ZONES {
                let cinder = lab.cinder(site).map_err(DemoError::world(WHAT))?;
                cinder
                    .configure(&[cinder.rekindle(BACKEND, &setup::socket(&lab, site))])
                    .map_err(DemoError::world(WHAT))?;
                let of_site = lab.guests(site).map_err(DemoError::world(WHAT))?;
                guests.insert(site, Arc::new(of_site));
            }
            Ok((Arc::new(lab), clients, guests))
        })
        .await?;
        self.client = clients.orchestrator;
        self.up = Some(Up { lab, guests });
        stage.say("three orchestrators keep both zones' catalogues, and follow their servers");
        Ok(())
    }

    /// The volume type that puts a volume under replication, and into the group; in both zones.
    pub(super) async fn make_types(&self, group: &str) -> Result<(), DemoError> {
        const WHAT: &str = "making volume types";
        let group = group.to_owned();
        self.lab(WHAT, move |lab| {
            for site in Site::ZONES {
                let os: OpenStack = lab.openstack(site).map_err(DemoError::world(WHAT))?;
                let specs = json!({
                    "volume_backend_name": BACKEND, "replication_enabled": "<is> True",
                    "rekindle:mode": "periodic", "rekindle:interval": INTERVAL.to_string(),
                    "rekindle:group": group,
                });
                let new = json!({ "volume_type": { "name": TYPE, "extra_specs": specs } });
                os.call(&os.admin, Api::Volumes, "POST", "/types", Some(new))
                    .map_err(DemoError::world(WHAT))?;
            }
            Ok(())
        })
        .await
    }

    /// A server on a volume of that type, as a user makes it.
    pub(super) async fn make(&self, key: &ServerKey, host: u8) -> Result<Made, DemoError> {
        let (guests, key) = (self.guests(Site::ZoneA)?, key.clone());
        setup::blocking("making a server", move || {
            let making = format!("making {key}");
            let what = || DemoError::world(making.clone());
            let name = format!("{key}-root");
            let volume = guests.make_volume(&name, TYPE).map_err(what())?;
            let end = Instant::now() + PATIENCE;
            loop {
                let shown = guests.show_volume(&volume).map_err(what())?;
                match shown["status"].as_str().unwrap_or_default() {
                    "available" => break,
                    status if status.starts_with("error") || Instant::now() >= end => {
                        return Err(DemoError::Plan(format!(
                            "the volume of {key} is {status:?}"
                        )));
                    }
                    _ => std::thread::sleep(LOOK_EVERY),
                }
            }
            let port = guests.make_port(host).map_err(what())?;
            let server = guests.make_server(key.as_str(), &volume, &port);
            Ok(Made {
                server: server.map_err(what())?,
                image: ImageSpec::new("volumes", format!("volume-{volume}"))
                    .map_err(DemoError::world(making))?,
                host,
                key: key.clone(),
            })
        })
        .await
    }

    /// Where a server is reached in a zone.
    pub(super) fn address(&self, site: Site, host: u8) -> Result<IpAddr, DemoError> {
        Ok(self.guests(site)?.address(host))
    }

    /// Writes down where the servers are reached: that is what the runbook's waits read.
    pub(super) fn tell_addresses(&self, servers: &[Made]) -> Result<(), DemoError> {
        const WHAT: &str = "writing the servers' addresses down";
        let mut all = Addresses::default();
        for site in Site::ZONES {
            for made in servers {
                all.add(
                    site.name(),
                    made.key.as_str(),
                    self.address(site, made.host)?,
                );
            }
        }
        all.save(&setup::addresses(&self.up()?.lab))
            .map_err(DemoError::world(WHAT))
    }

    /// What a server's newest start said on its console.
    pub(super) async fn console(
        &self,
        site: Site,
        server: &str,
    ) -> Result<GuestConsole, DemoError> {
        const WHAT: &str = "reading a server's console";
        let server = server.to_owned();
        self.lab(WHAT, move |lab| {
            let nova = lab.nova(site).map_err(DemoError::world(WHAT))?;
            let said = std::fs::read(nova.console_log(&server)).map_err(DemoError::world(WHAT))?;
            Ok(GuestConsole::read(&String::from_utf8_lossy(&said)))
        })
        .await
    }

    /// What Nova shows of a server.
    pub(super) async fn show(
        &self,
        site: Site,
        server: &str,
    ) -> Result<serde_json::Value, DemoError> {
        const WHAT: &str = "looking at a server";
        let (guests, server) = (self.guests(site)?, server.to_owned());
        setup::blocking(WHAT, move || {
            guests.show(&server).map_err(DemoError::world(WHAT))
        })
        .await
    }

    /// All that a server wrote to its disk, as a client of that zone reads it.
    pub(super) async fn read(&self, site: Site, image: &ImageSpec) -> Result<GuestDisk, DemoError> {
        let image = image.clone();
        self.lab("reading a disk", move |lab| {
            let what = format!("reading {image} in {site}");
            let zone = lab.zone(site).map_err(DemoError::world(what.clone()))?;
            rbd::connect(&zone.ceph_conf, zone.client_id)
                .and_then(|c| rbd::read_guest(&c, &image))
                .map_err(DemoError::world(what))
        })
        .await
    }

    /// Every process of a zone is killed at once; says when.
    pub(super) async fn kill(&self, site: Site) -> Result<Timestamp, DemoError> {
        const WHAT: &str = "killing a zone";
        self.lab(WHAT, move |lab| {
            let at = Timestamp::now();
            lab.kill(site).map_err(DemoError::world(WHAT))?;
            Ok(at)
        })
        .await
    }

    /// Its power is back.
    pub(super) async fn restore(&self, site: Site) -> Result<(), DemoError> {
        const WHAT: &str = "starting a zone";
        self.lab(WHAT, move |lab| {
            lab.start(site).map_err(DemoError::world(WHAT))
        })
        .await
    }

    pub(super) fn look_around(&self) -> String {
        look_around_text(&self.root)
    }

    pub(super) async fn lower(&mut self) -> Result<(), DemoError> {
        self.up = None;
        setup::clear(&self.root).await
    }
}
