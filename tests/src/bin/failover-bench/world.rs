//! A lab of its own with a release sidecar in each zone.

use crate::volumes::Volume;
use anyhow::{Context, bail, ensure};
use rbd_rs::{Ceph, Cluster, ConnectOptions, Pool};
use rekindle_common::{
    ApiError, ImageSpec,
    action::{BatchItem, BatchRequest, BatchResult, Order, VolumeAction},
};
use rekindle_lab::{Lab, LabOptions, Site, Spawn};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

/// The name of the sidecar's process in a site.
const SIDECAR: &str = "sidecar";
/// The name of the mirror daemon's.
const MIRROR: &str = "rbd-mirror";
/// For a sidecar to be ready.
const READY: Duration = Duration::from_secs(30);
/// For a whole shell loop.
const LOOP: Duration = Duration::from_secs(1800);

/// Both zones.
#[derive(Debug)]
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    lab: Lab,
    ceph: Ceph,
    restarts: Mutex<Vec<String>>,
}

/// A batch that has ended.
#[derive(Debug)]
pub(crate) struct Batch {
    /// From the call to its last line.
    pub(crate) took: Duration,
    /// Who was refused, and why.
    pub(crate) refused: Vec<(ImageSpec, ApiError)>,
}

impl World {
    /// Brings it up in a temporary folder; dropping it takes it down.
    pub(crate) fn up() -> anyhow::Result<Self> {
        let driver = driver()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let lab = Lab::own(LabOptions::default()).context("the lab does not come up")?;
        let world = Self {
            runtime,
            lab,
            ceph: Ceph::load()?,
            restarts: Mutex::new(Vec::new()),
        };
        for site in Site::ZONES {
            world.spawn_sidecar(site, &driver)?;
        }
        Ok(world)
    }

    fn spawn_sidecar(&self, site: Site, driver: &Path) -> anyhow::Result<()> {
        let zone = self.lab.zone(site)?;
        let text = format!(
            "zone = \"{}\"\n[ceph]\nconf = {:?}\nclient = \"client.{}\"\npools = [\"{}\"]\n[listen]\nunix = {:?}\n[log]\nfilter = \"warn\"\n",
            zone.name,
            zone.ceph_conf,
            zone.sidecar_id,
            zone.pool,
            self.socket(site),
        );
        let path = self.lab.root().join(format!("driver-{site}.toml"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let spawn = Spawn::new(driver).args(["--config".to_owned(), path.display().to_string()]);
        self.lab.spawn(site, SIDECAR, &spawn)?;
        self.wait_ready(site)
    }

    fn wait_ready(&self, site: Site) -> anyhow::Result<()> {
        let client = self.client(site);
        let end = Instant::now() + READY;
        loop {
            match self.runtime.block_on(client.ready()) {
                Ok(()) => return Ok(()),
                Err(e) if Instant::now() >= end => {
                    let log = fs::read_to_string(self.lab.log_path(site, SIDECAR));
                    bail!(
                        "the sidecar of {site} is not ready after {READY:?}: {e}\n{}",
                        log.unwrap_or_default()
                    );
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn socket(&self, site: Site) -> PathBuf {
        self.lab.root().join(format!("{site}.sock"))
    }

    fn client(&self, site: Site) -> SidecarClient {
        Client::unix(self.socket(site), ClientLimits::default()).into()
    }

    /// The administrator's view of a zone's pool, on a connection of its own.
    pub(crate) fn admin(&self, site: Site) -> anyhow::Result<Pool> {
        let zone = self.lab.zone(site)?;
        let cluster = Cluster::connect(&self.ceph, &ConnectOptions::from_conf_file(zone.ceph_conf))
            .with_context(|| format!("no connection to {site}"))?;
        Ok(cluster.pool(zone.pool)?)
    }

    /// Starts a zone's rbd-mirror again, and remembers why. What it hangs at may be an object that a killed OSD lost.
    pub(crate) fn restart_daemon(&self, site: Site, why: &str) -> anyhow::Result<()> {
        tracing::warn!(zone = %site, why, "rbd-mirror is stuck and started again");
        for zone in Site::ZONES {
            self.lab.give_up_lost(zone)?;
        }
        self.lab.kill_service(site, MIRROR)?;
        self.lab.start_service(site, MIRROR)?;
        self.restarts
            .lock()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            .push(format!("{site}: {why}"));
        Ok(())
    }

    /// Notes that a copy which no restart helped was asked for anew.
    pub(crate) fn made_anew(&self, site: Site, volume: &str, said: &str) -> anyhow::Result<()> {
        tracing::warn!(zone = %site, volume, said, "its copy is asked for anew");
        self.restarts
            .lock()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            .push(format!(
                "{site}: {volume} made anew, the daemon said {said:?}"
            ));
        Ok(())
    }

    /// Why a zone's rbd-mirror had to be started again, each time.
    pub(crate) fn restarts(&self) -> Vec<String> {
        self.restarts.lock().map(|r| r.clone()).unwrap_or_default()
    }

    /// The mirrored pool's name.
    pub(crate) fn pool_name(&self) -> anyhow::Result<&'static str> {
        Ok(self.lab.zone(Site::ZoneA)?.pool)
    }

    /// One batch through a zone's sidecar, measured to its last line.
    pub(crate) fn batch(
        &self,
        site: Site,
        volumes: &[Volume],
        action: impl Fn(&Volume) -> VolumeAction,
    ) -> anyhow::Result<Batch> {
        let pool = self.pool_name()?;
        let items = volumes
            .iter()
            .map(|v| {
                Ok(BatchItem {
                    volume: ImageSpec::new(pool, &v.name)?,
                    order: Order {
                        action: action(v),
                        generation: None,
                    },
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let request = BatchRequest { items };
        let client = self.client(site);
        let begun = Instant::now();
        let (seen, refused) = self.runtime.block_on(async {
            let mut lines = client.batch(&request).await?;
            let (mut seen, mut refused) = (0_usize, Vec::new());
            while let Some(line) = lines.next().await? {
                seen += 1;
                if let BatchResult::Failed { error } = line.result {
                    refused.push((line.volume, error));
                }
            }
            Ok::<_, ApiError>((seen, refused))
        })?;
        let took = begun.elapsed();
        ensure!(
            seen == volumes.len(),
            "{seen} results came of a batch of {}",
            volumes.len()
        );
        Ok(Batch { took, refused })
    }

    /// `for v in …; do BODY; done` in the zone, as an operator would do it; `$v` is `POOL/IMAGE`.
    pub(crate) fn shell(
        &self,
        site: Site,
        volumes: &[Volume],
        body: &str,
    ) -> anyhow::Result<Duration> {
        let zone = self.lab.zone(site)?;
        let mut names = String::new();
        for v in volumes {
            let _ = write!(names, " {}/{}", zone.pool, v.name);
        }
        let conf = zone.ceph_conf.display();
        let script = format!("set -e; export CEPH_CONF='{conf}'; for v in{names}; do {body}; done");
        let begun = Instant::now();
        self.lab
            .run(site, "bash", &["-c", &script], LOOP)
            .with_context(|| format!("the shell loop of `{body}` in {site}"))?;
        Ok(begun.elapsed())
    }

    /// SIGKILL to all of the zone.
    pub(crate) fn kill(&self, site: Site) -> anyhow::Result<()> {
        Ok(self.lab.kill(site)?)
    }

    /// Its power is back: until its Ceph serves and its sidecar is ready.
    pub(crate) fn start(&self, site: Site) -> anyhow::Result<()> {
        self.lab.start(site)?;
        self.wait_ready(site)
    }

    /// The sidecar's peak resident memory since its start, in zone-b, in MiB: `VmHWM`.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<f64> {
        let pid = self
            .lab
            .pid(Site::ZoneB, SIDECAR)?
            .context("the sidecar of zone-b is gone")?;
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kib: f64 = line
            .and_then(|l| l.split_whitespace().next())
            .and_then(|n| n.parse().ok())
            .with_context(|| format!("{path} has no VmHWM"))?;
        Ok(kib / 1024.0)
    }

    /// What `ceph --version` says.
    pub(crate) fn ceph_version(&self) -> anyhow::Result<String> {
        Ok(self
            .lab
            .ceph(Site::ZoneB, &["--version"])?
            .trim()
            .to_owned())
    }
}

/// The sidecar that was built beside this program.
fn driver() -> anyhow::Result<PathBuf> {
    let itself = std::env::current_exe().context("cannot find this program")?;
    let path = itself.with_file_name("rekindle-driver");
    ensure!(
        path.is_file(),
        "{} is not there: build it with `cargo build --release -p rekindle-driver`, or run `make bench`",
        path.display()
    );
    Ok(path)
}
