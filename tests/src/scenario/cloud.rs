//! A lab with our programs in it, for one scenario.

use super::{
    cinder_api::CinderApi,
    config::{self, Ports},
    faults::{Member, Program, Zone},
    nova,
    programs::Programs,
    wait::until,
};
use anyhow::{Context, anyhow};
use futures::FutureExt;
use rekindle_cli::demo::ledger::Ledger;
use rekindle_common::{telemetry, tls::TlsFiles};
use rekindle_core::detector::Diagnosis;
use rekindle_lab::{Lab, Site, Spawn};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use rekindle_orchestrator::client::{Endpoint, OrchestratorClient};
use std::{
    fs,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;

/// The sidecar's name as a spawned process.
pub(super) const DRIVER: &str = "rekindle-driver";
/// The orchestrator's.
pub(super) const ORCHESTRATOR: &str = "rekindle-orchestrator";
/// For our programs to start, elect a leader, and find both zones healthy.
const READY: Duration = Duration::from_secs(60);
/// For a lab whose volumes are thrown away to mirror again.
const RESET: Duration = Duration::from_secs(150);
/// For the mirror daemons to let go of the images that a scenario leaves.
const REMOVED: Duration = Duration::from_secs(120);
/// After that one is stuck.
const LET_GO: Duration = Duration::from_secs(40);

/// Whether the orchestrators keep the other zone's catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catalogue {
    Kept,
    /// zone-b's Cinder is a cluster of that name.
    WithCluster(&'static str),
    /// And the groups' servers are followed, in both zones' Novas.
    AndServers,
    Not,
}

/// Both zones and the witness, with a sidecar in each zone and an orchestrator at each site.
#[derive(Debug)]
pub struct Cloud {
    /// The lab itself: for `ceph`, `rbd` and `etcdctl` inside a site.
    pub lab: Lab,
    programs: Programs,
    ports: Ports,
    name: String,
    ledger: Ledger,
    orchestrators: OrchestratorClient,
    /// Counts what is given a name in this scenario.
    count: AtomicU32,
    catalogue: Catalogue,
    /// Holds the ledger.
    _scratch: TempDir,
}

impl Cloud {
    /// Plays one scenario on a cloud of its own, and puts everything back whatever came of it. `name` is the scenario's, as
    /// in a host name: its images, its group and its logs carry it.
    ///
    /// # Errors
    /// The scenario's own, or that of the lab.
    ///
    /// # Panics
    /// Where the scenario does: an assertion of it failed.
    pub async fn play(
        name: &str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        Self::play_in(Lab::for_tests()?, Catalogue::Not, name, scenario).await
    }

    /// The same on a lab whose zones have a Keystone and a Cinder.
    ///
    /// # Errors
    /// As [`Self::play`].
    ///
    /// # Panics
    /// As [`Self::play`].
    pub async fn play_with_cinder(
        name: &str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        Self::play_in(Self::lab_with_cinder()?, Catalogue::Not, name, scenario).await
    }

    /// The same, and the orchestrators keep each zone's volumes in the other zone's Cinder.
    ///
    /// # Errors
    /// As [`Self::play`].
    ///
    /// # Panics
    /// As [`Self::play`].
    pub async fn play_with_catalogue(
        name: &str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        Self::play_in(Self::lab_with_cinder()?, Catalogue::Kept, name, scenario).await
    }

    /// The same, and zone-b's Cinder is a cluster of that name, once the scenario has made it one.
    ///
    /// # Errors
    /// As [`Self::play`].
    ///
    /// # Panics
    /// As [`Self::play`].
    pub async fn play_with_catalogue_of_cluster(
        name: &str,
        cluster: &'static str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let catalogue = Catalogue::WithCluster(cluster);
        Self::play_in(Self::lab_with_cinder()?, catalogue, name, scenario).await
    }

    /// The same on a lab whose zones have a Nova, and the orchestrators follow the groups' servers. Servers that an earlier scenario left go.
    ///
    /// # Errors
    /// As [`Self::play`].
    ///
    /// # Panics
    /// As [`Self::play`].
    pub async fn play_with_nova(
        name: &str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let lab = Lab::for_tests_with_nova()?;
        Self::play_in(lab, Catalogue::AndServers, name, async |cloud: &Self| {
            for site in Site::ZONES {
                nova::clear(cloud, site)?;
            }
            scenario(cloud).await
        })
        .await
    }

    /// A lab with Cinder and nothing in it: `failover-host` moves all that a backend has, whoever made it.
    fn lab_with_cinder() -> anyhow::Result<Lab> {
        let lab = Lab::for_tests_with_cinder()?;
        for site in Site::ZONES {
            let records = CinderApi::of(&lab, site)?.list()?.len();
            let images = lab.rbd(site, &["ls", lab.zone(site)?.pool])?;
            // Named after an id. Tests without Cinder name theirs otherwise, and theirs are in nobody's way.
            let cinders = |i: &&str| i.starts_with("volume-") && i.len() == "volume-".len() + 36;
            let images: Vec<&str> = images.lines().filter(cinders).collect();
            if records > 0 || !images.is_empty() {
                tracing::warn!(zone = %site, records, ?images, "an earlier test left these: all volumes are thrown away");
                lab.reset_volumes(RESET)?;
                break;
            }
        }
        Ok(lab)
    }

    async fn play_in(
        lab: Lab,
        catalogue: Catalogue,
        name: &str,
        scenario: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        telemetry::init(telemetry::LogFormat::Text, "info");
        let cloud = Self::up(lab, catalogue, name).await?;
        let end = AssertUnwindSafe(scenario(&cloud)).catch_unwind().await;
        let panics = cloud.panics();
        match &end {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = format!("{e:#}"), "the scenario failed"),
            Err(_) => tracing::warn!("an assertion of the scenario failed"),
        }
        let cleaned = cloud.clear();
        if !matches!(end, Ok(Ok(()))) || cleaned.is_err() {
            cloud.lab.doubt();
        }
        match end {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(Err(e)) => Err(e.context(format!("logs: {}", cloud.logs()))),
            Ok(Ok(())) if !panics.is_empty() => Err(anyhow!("our programs panicked: {panics:?}")),
            Ok(Ok(())) => cleaned.context("putting everything back"),
        }
    }

    async fn up(lab: Lab, catalogue: Catalogue, name: &str) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        // Groups that an earlier scenario left would be acted upon by the leader of this one.
        lab.etcdctl(Site::Witness, &["del", "--prefix", "/rekindle/"])?;
        let ports = Ports::choose(&lab)?;
        let scratch = tempfile::tempdir().context("making a folder for the ledger")?;
        let ledger = Ledger::at(scratch.path().join("ledger"))?;
        let mut endpoints = Vec::new();
        // The zone that is going to be lost is asked last.
        for site in [Site::Witness, Site::ZoneB, Site::ZoneA] {
            let url = format!("https://{}", ports.orchestrator(&lab, site)?);
            let tls = config::files(&lab.operator_certs());
            endpoints.push(Endpoint::https(&url, tls, limits(15))?);
        }
        let cloud = Self {
            lab,
            programs,
            ports,
            // A lab that is kept serves many runs: none may take an earlier one's image or log for its own.
            name: format!("{name}-{}", std::process::id()),
            ledger,
            orchestrators: OrchestratorClient::new(endpoints),
            count: AtomicU32::new(0),
            catalogue,
            _scratch: scratch,
        };
        cloud.start_programs()?;
        cloud.wait_ready().await?;
        Ok(cloud)
    }

    fn start_programs(&self) -> anyhow::Result<()> {
        if self.keeps_catalogue() {
            let servers = self.catalogue == Catalogue::AndServers;
            config::write_mapping(&self.lab, &self.name, servers)?;
        }
        for site in Site::ZONES {
            let file = config::driver(&self.lab, site, &self.ports)?;
            self.start_program(site, DRIVER, self.programs.driver(), &file)?;
        }
        for site in Site::ALL {
            let file = self.orchestrator_config(site)?;
            self.start_program(site, ORCHESTRATOR, self.programs.orchestrator(), &file)?;
        }
        Ok(())
    }

    pub(super) fn start_program(
        &self,
        site: Site,
        name: &str,
        program: PathBuf,
        file: &toml::Value,
    ) -> anyhow::Result<()> {
        let dir = self.lab.root().join("rekindle");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join(format!("{}-{name}-{site}.toml", self.name));
        fs::write(&path, toml::to_string_pretty(file)?)
            .with_context(|| format!("writing {}", path.display()))?;
        let spawn = Spawn::new(program)
            .args(["--config".to_owned(), path.display().to_string()])
            .env("NO_COLOR", "1")
            .log(self.log(site, name));
        self.lab.spawn(site, name, &spawn)?;
        Ok(())
    }

    /// What that site's orchestrator runs with.
    ///
    /// # Errors
    /// None that a lab gives reason for.
    pub fn orchestrator_config(&self, site: Site) -> anyhow::Result<toml::Value> {
        let gate = config::gate(&self.lab, &self.name);
        let mut file = config::orchestrator(&self.lab, site, &self.ports, &gate)?;
        match self.catalogue {
            Catalogue::Kept => config::add_catalogue(&self.lab, &mut file, None)?,
            Catalogue::WithCluster(name) => {
                config::add_catalogue(&self.lab, &mut file, Some(name))?;
            }
            Catalogue::AndServers => {
                config::add_catalogue(&self.lab, &mut file, None)?;
                let addresses = config::addresses(&self.lab, &self.name);
                config::add_servers(&mut file, &self.rekindle(), &addresses, &gate)?;
            }
            Catalogue::Not => {}
        }
        Ok(file)
    }

    /// The `rekindle` command, to be run on this host.
    #[must_use]
    pub fn rekindle(&self) -> PathBuf {
        self.programs.rekindle()
    }

    /// Waits until a leader sees both zones healthy.
    ///
    /// # Errors
    /// They are not, in a minute.
    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        until("a leader that sees both zones healthy", READY, async || {
            let status = self
                .orchestrators
                .status()
                .await
                .map_err(|e| e.to_string())?;
            let ill: Vec<String> = status
                .zones
                .iter()
                .filter(|z| z.diagnosis != Diagnosis::Healthy || z.report.is_none())
                .map(|z| format!("{} is {}", z.zone, z.text))
                .collect();
            match (&status.leader, ill.is_empty(), status.zones.len()) {
                (Some(_), true, 2) => Ok(()),
                (leader, _, zones) => Err(format!("leader {leader:?}, {zones} zones, {ill:?}")),
            }
        })
        .await
    }

    pub(super) fn keeps_catalogue(&self) -> bool {
        match self.catalogue {
            Catalogue::Kept | Catalogue::WithCluster(_) | Catalogue::AndServers => true,
            Catalogue::Not => false,
        }
    }
    /// Ends the orchestrators, where they keep the catalogue.
    pub(super) fn end_catalogue(&self) {
        if self.keeps_catalogue() {
            for site in Site::ALL {
                // It may have ended already.
                let _ = self.lab.kill_service(site, ORCHESTRATOR);
            }
        }
    }

    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What writers were told.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }
    pub(super) fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
    /// Where a program's log of this scenario is.
    #[must_use]
    pub fn log(&self, site: Site, name: &str) -> PathBuf {
        self.lab
            .log_path(site, &format!("scenario-{}-{name}", self.name))
    }

    /// `zone-a`.
    #[must_use]
    pub fn zone_a(&self) -> Zone<'_> {
        self.zone(Site::ZoneA)
    }
    /// `zone-b`.
    #[must_use]
    pub fn zone_b(&self) -> Zone<'_> {
        self.zone(Site::ZoneB)
    }
    /// Everything of a site.
    #[must_use]
    pub fn zone(&self, site: Site) -> Zone<'_> {
        Zone { cloud: self, site }
    }
    /// A site's etcd member.
    #[must_use]
    pub fn etcd(&self, site: Site) -> Member<'_> {
        self.member(site, "etcd")
    }
    /// A zone's mirror daemon.
    #[must_use]
    pub fn rbd_mirror(&self, site: Site) -> Member<'_> {
        self.member(site, "rbd-mirror")
    }
    /// Any other service of a site: `mon`, `osd`, `mgr`.
    #[must_use]
    pub fn member(&self, site: Site, name: &'static str) -> Member<'_> {
        Member {
            cloud: self,
            site,
            name,
        }
    }
    /// A site's orchestrator.
    #[must_use]
    pub fn orchestrator(&self, site: Site) -> Program<'_> {
        Program(self.member(site, ORCHESTRATOR))
    }
    /// A zone's sidecar.
    #[must_use]
    pub fn sidecar(&self, site: Site) -> Program<'_> {
        Program(self.member(site, DRIVER))
    }

    /// All orchestrators, from outside the sites.
    #[must_use]
    pub fn orchestrators(&self) -> &OrchestratorClient {
        &self.orchestrators
    }
    /// One site's orchestrator alone, through its unix socket: reached whatever the network does.
    #[must_use]
    pub fn orchestrator_of(&self, site: Site) -> OrchestratorClient {
        let at = config::socket(&self.lab, site, "orch");
        OrchestratorClient::new(vec![Endpoint::unix(at, None, limits(5))])
    }
    /// A zone's sidecar, through its unix socket: reached whatever the network does.
    #[must_use]
    pub fn sidecar_of(&self, site: Site) -> SidecarClient {
        let at = config::socket(&self.lab, site, "driver");
        Client::unix(at, limits(35)).into()
    }
    pub(super) fn sidecar_url(&self, site: Site) -> anyhow::Result<String> {
        Ok(format!("https://{}", self.ports.sidecar(&self.lab, site)?))
    }
    /// A zone's sidecar over TCP, with these certificates.
    ///
    /// # Errors
    /// The witness has none; the certificates cannot be used.
    pub fn sidecar_over_tls(&self, site: Site, tls: &TlsFiles) -> anyhow::Result<SidecarClient> {
        let url = format!("https://{}", self.ports.sidecar(&self.lab, site)?);
        Ok(Client::mtls(&url, tls, limits(5))?.into())
    }
    /// One site's orchestrator over TCP, with these certificates.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub fn orchestrator_over_tls(
        &self,
        site: Site,
        tls: &TlsFiles,
    ) -> anyhow::Result<OrchestratorClient> {
        let url = format!("https://{}", self.ports.orchestrator(&self.lab, site)?);
        let endpoint = Endpoint::https(&url, tls.clone(), limits(5))?;
        Ok(OrchestratorClient::new(vec![endpoint]))
    }

    /// Lets the commands end that wait for it: a plan goes on from the step that it was held in.
    ///
    /// # Errors
    /// The lab's folder cannot be written to.
    pub fn open_gate(&self) -> anyhow::Result<()> {
        let gate = config::gate(&self.lab, &self.name);
        fs::write(&gate, "").with_context(|| format!("writing {}", gate.display()))
    }

    /// The leader's site, once there is one.
    ///
    /// # Errors
    /// Nobody leads for half a minute.
    pub async fn leader(&self) -> anyhow::Result<Site> {
        until("a leader", Duration::from_secs(30), async || {
            let answer = self
                .orchestrators
                .leader()
                .await
                .map_err(|e| e.to_string())?;
            let leader = answer.leader.ok_or("nobody leads")?;
            leader
                .site
                .as_str()
                .parse()
                .map_err(|e| format!("{}: {e}", leader.site))
        })
        .await
    }

    fn logs(&self) -> String {
        let all: Vec<String> = Site::ALL
            .into_iter()
            .flat_map(|s| [DRIVER, ORCHESTRATOR].map(|p| self.log(s, p)))
            .filter(|p| p.is_file())
            .map(|p| p.display().to_string())
            .collect();
        all.join(" ")
    }

    /// Lines of our programs that tell of a panic.
    fn panics(&self) -> Vec<String> {
        Site::ALL
            .into_iter()
            .flat_map(|s| [DRIVER, ORCHESTRATOR].map(|p| self.log(s, p)))
            .filter_map(|p| fs::read_to_string(p).ok())
            .flat_map(|text| {
                text.lines()
                    .filter(|l| l.contains("panicked at"))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Undoes every fault, ends our programs and removes the scenario's images.
    fn clear(&self) -> anyhow::Result<()> {
        let found = self.lab.repair()?;
        if !found.is_empty() {
            tracing::info!(?found, "repaired");
        }
        for site in Site::ALL {
            // First nobody may act on them any more.
            for name in [ORCHESTRATOR, DRIVER] {
                if self.lab.pid(site, name)?.is_some() {
                    self.lab.kill_service(site, name)?;
                }
            }
        }
        for site in Site::ZONES {
            self.remove_images(site)?;
        }
        Ok(())
    }

    /// All of the scenario's, whatever state they are in. Its mirror daemon may still hold one open for a moment; one that does not let
    /// go, as after an isolation, is started again.
    fn remove_images(&self, site: Site) -> anyhow::Result<()> {
        let pool = self.lab.zone(site)?.pool;
        let prefix = format!("volume-{}-", self.name);
        let (begun, mut restarted) = (std::time::Instant::now(), false);
        loop {
            let images = self.lab.rbd(site, &["ls", pool])?;
            let ours: Vec<&str> = images.lines().filter(|l| l.starts_with(&prefix)).collect();
            if ours.is_empty() {
                return Ok(());
            }
            let mut last = None;
            for image in ours {
                let spec = format!("{pool}/{image}");
                // It fails where the image is not mirrored any more.
                let _ = self
                    .lab
                    .rbd(site, &["mirror", "image", "disable", "--force", &spec]);
                // A copy whose first synchronisation was cut off keeps the daemon's own snapshots.
                let _ = self
                    .lab
                    .rbd(site, &["--no-progress", "snap", "purge", &spec]);
                last = self
                    .lab
                    .rbd(site, &["--no-progress", "rm", &spec])
                    .err()
                    .or(last);
            }
            match last {
                None => {}
                Some(e) if begun.elapsed() >= REMOVED => return Err(e.into()),
                Some(e) if begun.elapsed() >= LET_GO && !restarted => {
                    tracing::warn!(zone = %site, error = %e, "rbd-mirror does not let go of a copy and is started again");
                    self.lab.kill_service(site, "rbd-mirror")?;
                    self.lab.start_service(site, "rbd-mirror")?;
                    restarted = true;
                }
                Some(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }
}

/// A paused program takes connections and never answers: the next orchestrator is asked soon. A sidecar's action may take as long
/// as its own deadline.
fn limits(call: u64) -> ClientLimits {
    ClientLimits {
        connect_time: Duration::from_secs(2),
        call_time: Duration::from_secs(call),
        ..ClientLimits::default()
    }
}
