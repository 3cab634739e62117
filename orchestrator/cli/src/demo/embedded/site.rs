//! A simulated site: a runtime with what runs there.

use super::{
    APPLICATION, SITES, ZONES,
    app::{Application, Lights},
};
use crate::demo::world::DemoError;
use rekindle_common::{SiteName, ZoneName, duration::Span};
use rekindle_driver::{
    actions::{Limits, Parts},
    backend::{
        Backend,
        memory::{Fabric, POOL},
    },
    clock::Clock,
    lease::{LeaseConfig, LeaseRunner, OtherSite},
    schedule::{self, ScheduleConfig},
    sidecar::Sidecar,
};
use rekindle_net::{Client, ClientLimits, ListenConfig, SidecarClient, SocketOptions};
use rekindle_orchestrator::{
    self as orchestrator, SitePart, Timing, ZonePart,
    agent::{Agent, Agents},
    client::Endpoint,
    decide::DecideTiming,
    executor::Pauses,
    observe::{ObserverTiming, Probe, ceph_mon::CephMonProbe, sidecar::SidecarProbe},
};
use rekindle_store::{ElectionTiming, MemoryStore, Store};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_util::sync::CancellationToken;

/// What all sites have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) fabric: Fabric,
    pub(super) clock: Clock,
    pub(super) store: MemoryStore,
    /// For sockets.
    pub(super) dir: PathBuf,
    /// Where each zone's monitor greets.
    pub(super) monitors: BTreeMap<&'static str, SocketAddr>,
    pub(super) application: Arc<Application>,
}

/// A site that lives. Dropping it kills it.
pub(super) struct Site {
    runtime: Option<Runtime>,
    pub(super) endpoint: Endpoint,
    /// Of a zone: where its application runs.
    pub(super) lights: Option<Lights>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Every task is dropped where it waits; nothing is said to anybody.
            runtime.shutdown_background();
        }
    }
}

/// A zone's sidecar's socket.
pub(super) fn sidecar_socket(dir: &Path, zone: &str) -> PathBuf {
    dir.join(format!("{zone}.sock"))
}

/// A port of this machine for each zone's monitor, the same after a restart.
pub(super) async fn reserve_monitors() -> Result<BTreeMap<&'static str, SocketAddr>, DemoError> {
    let mut monitors = BTreeMap::new();
    let mut held = Vec::new();
    for zone in ZONES {
        let what = || DemoError::world(format!("a port for {zone}'s monitor"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(what())?;
        monitors.insert(zone, listener.local_addr().map_err(what())?);
        // Both are held until both are known, so that they differ.
        held.push(listener);
    }
    Ok(monitors)
}

/// Starts a site.
pub(super) async fn start(name: &'static str, shared: Arc<Shared>) -> Result<Site, DemoError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(DemoError::world(format!("a runtime for {name}")))?;
    let mut site = Site {
        endpoint: Endpoint::unix(
            sidecar_socket(&shared.dir, name),
            None,
            ClientLimits::default(),
        ),
        lights: None,
        runtime: None,
    };
    let handle = runtime.handle().clone();
    site.runtime = Some(runtime);
    if ZONES.contains(&name) {
        let zone = ZoneName::new(name).map_err(DemoError::world("naming a zone"))?;
        let cluster = shared.fabric.cluster(&zone);
        let cluster = cluster.ok_or_else(|| DemoError::Plan(format!("{zone} has no cluster")))?;
        let starting = zone_programs(name, zone.clone(), Arc::clone(&shared));
        handle
            .spawn(starting)
            .await
            .map_err(DemoError::world(format!("starting {name}")))??;
        site.lights = Some(Lights {
            zone,
            runtime: handle.clone(),
            cluster,
        });
    }
    let starting = async move {
        let orchestrator = orchestrator::build(parts(name, &shared)?);
        let endpoint = orchestrator.endpoint();
        tokio::spawn(orchestrator.run(CancellationToken::new()));
        Ok::<_, DemoError>(endpoint)
    };
    site.endpoint = handle
        .spawn(starting)
        .await
        .map_err(DemoError::world(format!("starting {name}")))??;
    Ok(site)
}

/// A zone's monitor and its sidecar.
async fn zone_programs(
    name: &'static str,
    zone: ZoneName,
    shared: Arc<Shared>,
) -> Result<(), DemoError> {
    if let Some(at) = shared.monitors.get(name) {
        let listener = TcpListener::bind(at)
            .await
            .map_err(DemoError::world(format!("{name}'s monitor")))?;
        tokio::spawn(greet(listener));
    }
    let cluster = shared.fabric.cluster(&zone);
    let cluster = cluster.ok_or_else(|| DemoError::Plan(format!("{zone} has no cluster")))?;
    let store = Store::from(shared.store.handle(name));
    let config = LeaseConfig {
        look_every: Span::millis(500),
        ..LeaseConfig::new(zone.clone(), uuid::Uuid::new_v4().to_string())
    };
    let (leases, handle) = LeaseRunner::new(config, store, Vec::<OtherSite>::new());
    let parts = Parts {
        zone,
        backend: Backend::Memory(cluster),
        state_pool: POOL.to_owned(),
        leases: Arc::new(handle),
        clock: shared.clock,
        limits: Limits {
            list_age: Span::millis(50),
            ..Limits::default()
        },
    };
    let clock = shared.clock;
    let schedules = ScheduleConfig {
        refresh: Span::millis(500),
        ..ScheduleConfig::default()
    };
    let mut sidecar = Sidecar::new(parts, rekindle_net::Limits::default())
        .with_task(Box::new(move |volumes, stop| {
            Box::pin(leases.run(volumes, stop))
        }))
        .with_task(Box::new(move |volumes, stop| {
            Box::pin(schedule::run(volumes, clock, schedules, stop))
        }));
    let at = ListenConfig::Unix {
        path: sidecar_socket(&shared.dir, name),
        options: SocketOptions::default(),
    };
    sidecar
        .listen(&at)
        .await
        .map_err(DemoError::world(format!("{name}'s sidecar")))?;
    tokio::spawn(async move {
        sidecar.run(CancellationToken::new()).await;
    });
    Ok(())
}

/// A Ceph monitor, as far as a stranger sees it.
async fn greet(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // Whoever hangs up has seen enough.
            let _ = stream.write_all(b"ceph v2\n").await;
        });
    }
}

fn parts(name: &'static str, shared: &Shared) -> Result<orchestrator::Parts, DemoError> {
    let site = |n: &str| SiteName::new(n).map_err(DemoError::world("naming a site"));
    let zone = |n: &str| ZoneName::new(n).map_err(DemoError::world("naming a zone"));
    let limits = ClientLimits {
        connect_time: Duration::from_millis(700),
        ..ClientLimits::default()
    };
    let clock = match shared.clock {
        Clock::System => orchestrator::clock::Clock::System,
        Clock::Simulated { epoch, origin } => {
            orchestrator::clock::Clock::Simulated { epoch, origin }
        }
    };
    let mut zones = Vec::new();
    let mut probes: Vec<Arc<dyn Probe>> = Vec::new();
    for z in ZONES {
        let sidecar: SidecarClient = Client::unix(sidecar_socket(&shared.dir, z), limits).into();
        let sidecar = Arc::new(sidecar);
        let monitors = shared
            .monitors
            .get(z)
            .map(ToString::to_string)
            .into_iter()
            .collect();
        probes.push(Arc::new(SidecarProbe::new(
            zone(z)?,
            sidecar.clone(),
            clock,
        )));
        probes.push(Arc::new(CephMonProbe::new(
            zone(z)?,
            monitors,
            Duration::from_millis(300),
        )));
        zones.push(ZonePart {
            name: zone(z)?,
            sidecar,
        });
    }
    let application = Arc::clone(&shared.application);
    Ok(orchestrator::Parts {
        site: site(name)?,
        sites: SITES
            .into_iter()
            .map(|s| {
                Ok(SitePart {
                    name: site(s)?,
                    url: None,
                })
            })
            .collect::<Result<_, DemoError>>()?,
        zones,
        probes,
        store: Store::from(shared.store.handle(name)),
        clock,
        agents: Agents {
            applications: BTreeMap::from([(APPLICATION.to_owned(), Agent::InProcess(application))]),
            fences: BTreeMap::new(),
            hooks: BTreeMap::new(),
        },
        catalogue: None,
        servers: BTreeMap::new(),
        stand_bys: None,
        preflight: None,
        timing: timing(),
    })
}

/// As short as is sound on one machine.
fn timing() -> Timing {
    Timing {
        observer: ObserverTiming {
            every: Duration::from_millis(200),
            probe_deadline: Duration::from_millis(800),
            ttl: 2,
        },
        decide: DecideTiming {
            every: Duration::from_millis(200),
            halted: Duration::from_secs(1),
            pauses: Pauses {
                poll: Duration::from_millis(50),
                longest: Duration::from_millis(500),
            },
            ..DecideTiming::default()
        },
        election: ElectionTiming {
            ttl: 2,
            safety: Duration::from_millis(500),
        },
        campaign_every: Duration::from_millis(200),
        renew_every: Duration::from_millis(400),
        zone_deadline: Duration::from_millis(1500),
        failsafe_deadline: Duration::from_millis(300),
        ..Timing::default()
    }
}
