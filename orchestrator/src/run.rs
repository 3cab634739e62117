//! One orchestrator, put together from its parts and run.
//!
//! ```text
//!   observer ──> etcd <── coordinator (election) ──> term (decide loop, executors)
//!   reader (records, for promises and partial status)      └── routes
//! ```
//!
//! Nothing here listens on a socket: `main` serves [`Orchestrator::routes`] over sockets, tests and the embedded demonstration
//! call them in process.

use crate::{
    admin::{Service, routes},
    agent::Agents,
    catalogue::{CataloguePart, Keeper},
    client::Endpoint,
    clock::Clock,
    coordination::{Coordinator, Lead, Standing, failsafe::Failsafe},
    decide::{DecideTiming, Means, Term},
    metrics::Metrics,
    observe::{Observer, ObserverTiming, Probe},
    preflight::daily::{DailyPart, DailyPreflight},
    servers::{
        control::Servers,
        keeper::{ServersKeeper, ServersPart, ServersTiming},
    },
    steps::{Fenced, Tools},
    world::{Assembler, Records},
    zone::{Sidecar, Zone},
};
use axum::Router;
use rekindle_common::{ApiError, SiteName, ZoneName, duration::Span, keys};
use rekindle_store::{Election, ElectionTiming, LeaderRecord, Store};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// A site with a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePart {
    /// Its name.
    pub name: SiteName,
    /// Where its orchestrator's API is reached by others.
    pub url: Option<String>,
}

/// A zone, by its sidecar.
#[derive(Debug, Clone)]
pub struct ZonePart {
    /// Its name.
    pub name: ZoneName,
    /// How its sidecar is reached.
    pub sidecar: Arc<dyn Sidecar>,
}

/// How often, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Observing.
    pub observer: ObserverTiming,
    /// Deciding and executing.
    pub decide: DecideTiming,
    /// Leading.
    pub election: ElectionTiming,
    /// Between two campaigns of a site that does not lead.
    pub campaign_every: Duration,
    /// Between two renewals of the leader.
    pub renew_every: Duration,
    /// For each of the leader's questions to a zone.
    pub zone_deadline: Duration,
    /// How far a zone's clock may be from this site's before it is a problem.
    pub max_skew: Span,
    /// How long etcd is given to answer before this site vouches for an isolated zone.
    pub failsafe_deadline: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            observer: ObserverTiming::default(),
            decide: DecideTiming::default(),
            election: ElectionTiming::default(),
            campaign_every: Duration::from_secs(1),
            renew_every: Duration::from_secs(2),
            zone_deadline: Duration::from_millis(2500),
            max_skew: Span::secs(5),
            failsafe_deadline: Duration::from_millis(1500),
        }
    }
}

/// What an orchestrator is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its own site.
    pub site: SiteName,
    /// All sites, its own too.
    pub sites: Vec<SitePart>,
    /// All zones.
    pub zones: Vec<ZonePart>,
    /// What it looks at.
    pub probes: Vec<Arc<dyn Probe>>,
    /// etcd, or the same in this process.
    pub store: Store,
    /// The wall clock.
    pub clock: Clock,
    /// The operator's commands.
    pub agents: Agents,
    /// Both zones' Cinders, where the other zone's catalogue is kept.
    pub catalogue: Option<CataloguePart>,
    /// The zones' Novas, where groups have servers.
    pub servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
    /// How those servers are followed, where they are. It needs the catalogue, which knows the volumes.
    pub stand_bys: Option<ServersTiming>,
    /// How the groups' servers are checked each day, where they are.
    pub preflight: Option<DailyPart>,
    /// Times.
    pub timing: Timing,
}

/// An orchestrator that does not run yet.
#[derive(Debug)]
pub struct Orchestrator {
    service: Arc<Service>,
    observer: Observer,
    coordinator: Coordinator,
    term: watch::Sender<Option<Arc<Term>>>,
    records: watch::Sender<Option<Result<Arc<Records>, ApiError>>>,
}

/// Puts an orchestrator together. Nothing is contacted yet, but its promise-keeping time begins now.
#[must_use]
pub fn build(parts: Parts) -> Orchestrator {
    let Parts {
        site,
        sites,
        zones,
        probes,
        store,
        clock,
        agents,
        catalogue,
        servers,
        stand_bys,
        preflight,
        timing,
    } = parts;
    let zones: Vec<Arc<Zone>> = zones
        .into_iter()
        .map(|z| Arc::new(Zone::new(z.name, z.sidecar)))
        .collect();
    let failsafe = Arc::new(Failsafe::new(
        site.clone(),
        store.clone(),
        timing.failsafe_deadline,
    ));
    let assembler = Assembler {
        site: site.clone(),
        probes: probes.clone(),
        max_skew: timing.max_skew,
        sites: sites.iter().map(|s| s.name.clone()).collect(),
        zones: zones.clone(),
        store: store.clone(),
        failsafe: Arc::clone(&failsafe),
        clock,
        zone_deadline: timing.zone_deadline,
    };
    let tools = Tools {
        zones: zones
            .iter()
            .map(|z| (z.name().clone(), Arc::clone(z)))
            .collect::<BTreeMap<_, _>>(),
        agents,
        failsafe: Arc::clone(&failsafe),
        clock,
        zone_deadline: timing.zone_deadline,
        fenced: Fenced::default(),
        servers: servers.clone(),
        volumes: catalogue
            .as_ref()
            .map(|c| c.volumes.clone())
            .unwrap_or_default(),
    };
    let instance = uuid::Uuid::now_v7().simple().to_string();
    let me = LeaderRecord {
        site: site.clone(),
        instance: instance.clone(),
    };
    let means = Arc::new(Means {
        site: site.clone(),
        assembler,
        tools,
        clock,
        timing: timing.decide,
        metrics: Arc::new(Metrics::default()),
        follows_servers: catalogue.is_some() && stand_bys.is_some(),
    });
    let metrics = Arc::clone(&means.metrics);
    let server_keeper = catalogue.as_ref().zip(stand_bys).map(|(c, timing)| {
        let part = ServersPart {
            servers,
            mapping: c.mapping.clone(),
            volumes: c.volumes.clone(),
            timing,
        };
        let (zones, metrics) = (zones.clone(), Arc::clone(&metrics));
        Arc::new(ServersKeeper::new(
            site.clone(),
            part,
            zones,
            clock,
            metrics,
        ))
    });
    let preflight = preflight.map(|part| {
        let metrics = Arc::clone(&metrics);
        Arc::new(DailyPreflight::new(part, clock, metrics))
    });
    let keeper = catalogue
        .and_then(|part| Keeper::new(site.clone(), part, &zones, clock, metrics))
        .map(Arc::new);
    let observer = Observer::new(site, store.clone(), clock, timing.observer, probes);
    let coordinator = Coordinator::new(
        Election::new(store.clone(), me, timing.election),
        store,
        timing.campaign_every,
        timing.renew_every,
    );
    let term = watch::Sender::new(None);
    let records = watch::Sender::new(None);
    let service = Arc::new(Service {
        means,
        instance,
        urls: sites.into_iter().map(|s| (s.name, s.url)).collect(),
        standing: coordinator.standing(),
        term: term.subscribe(),
        seen: observer.seen(),
        records: records.subscribe(),
        failsafe,
        keeper,
        servers: server_keeper,
        preflight,
    });
    Orchestrator {
        service,
        observer,
        coordinator,
        term,
        records,
    }
}

impl Orchestrator {
    /// Its API.
    pub fn routes(&self) -> Router {
        routes(Arc::clone(&self.service))
    }

    /// What its routes answer from.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Its health and its metrics, and nothing else.
    pub fn probes(&self) -> Router {
        crate::admin::probes(Arc::clone(&self.service))
    }

    /// Its API for a client in this process.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::in_process(self.service.means.site.clone(), self.routes())
    }

    /// Runs until cancelled; then what it does ends where it stands, and another site may lead at once.
    pub async fn run(self, cancel: CancellationToken) {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.observer.run());
        tasks.spawn(read_records(Arc::clone(&self.service), self.records));
        tasks.spawn(lead(Arc::clone(&self.service), self.term));
        // Ends by itself, after it has resigned.
        let coordinating = self.coordinator.run(cancel.clone());
        tokio::pin!(coordinating);
        tokio::select! {
            () = &mut coordinating => {}
            Some(ended) = tasks.join_next() => {
                // None of them ends by itself: a fault of ours. Without it this site is no use, so it resigns.
                tracing::error!(error = ?ended.err(), "a part of the orchestrator broke");
                cancel.cancel();
                coordinating.await;
            }
        }
        tasks.shutdown().await;
    }
}

/// Gives each leadership its term.
async fn lead(service: Arc<Service>, current: watch::Sender<Option<Arc<Term>>>) {
    let mut standing = service.standing.clone();
    let live = |s: &Standing| match s {
        Standing::Leader { lead } => lead.check().is_ok(),
        Standing::Unknown | Standing::Follower { .. } => false,
    };
    loop {
        let lead = match standing.wait_for(live).await {
            Ok(s) => match &*s {
                Standing::Leader { lead } => lead.clone(),
                Standing::Unknown | Standing::Follower { .. } => continue,
            },
            // The coordinator is gone: so are we.
            Err(_) => return,
        };
        let term = Term::new(lead, Arc::clone(&service.means));
        service.means.metrics.leads(true);
        current.send_replace(Some(Arc::clone(&term)));
        serve(&service, term).await;
        current.send_replace(None);
        service.means.metrics.leads(false);
    }
}

/// A term, and beside it the catalogue, the servers and their daily check: none waits for another, and what they are at ends with the term.
async fn serve(service: &Service, term: Arc<Term>) {
    let lead = term.lead.clone();
    let catalogue = async {
        if let Some(keeper) = &service.keeper {
            keeper.run(&lead).await;
        }
    };
    let servers = async {
        if let Some(servers) = &service.servers {
            servers.run(&lead).await;
        }
    };
    let preflight = async {
        if let Some(preflight) = &service.preflight {
            preflight.run(&lead).await;
        }
    };
    let keeping = async {
        tokio::join!(catalogue, servers, preflight, forget_the_past(&lead));
        // They end where the lead is lost, which the term finds out too.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = term.run() => {}
        () = keeping => {}
    }
    if let Some(keeper) = &service.keeper {
        keeper.forget();
    }
    if let Some(servers) = &service.servers {
        servers.forget();
    }
    if let Some(preflight) = &service.preflight {
        preflight.forget();
    }
}

/// The sites write what they see each second, and etcd keeps each version until somebody lets go of it: with none that does it is full
/// after a week. Nothing here reads the past, so what is older than this goes; a watch that slept through it starts anew.
const PAST: Duration = Duration::from_secs(600);

async fn forget_the_past(lead: &Lead) {
    let store = lead.store();
    let mut before = None;
    loop {
        if let Some(revision) = before
            && let Err(error) = store.compact(revision).await
        {
            tracing::debug!(%error, "etcd's past was not let go of; another time");
        }
        before = match store.list(keys::LEADER, 1).await {
            Ok(now) => Some(now.revision),
            Err(_) => None,
        };
        tokio::time::sleep(PAST).await;
    }
}

/// Keeps what this site knows of etcd's records fresh while it does not lead: its promises and its partial status need them.
async fn read_records(
    service: Arc<Service>,
    records: watch::Sender<Option<Result<Arc<Records>, ApiError>>>,
) {
    let assembler = &service.means.assembler;
    let mut ticks = interval(service.means.timing.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let read = assembler.read_records().await;
        records.send_replace(Some(read.map(Arc::new).map_err(ApiError::from)));
    }
}
