//! The groups' servers, kept: the leader looks at each of them where it serves, keeps its record, and has its stand-by follow.
//!
//! ```text
//!   look (the server where it serves, its stand-by, the volumes' copies; each may be unknown) -> decide (core) -> act
//!        the lead, the primary's record and that no plan is at work are looked at again before each act, and watched during it
//! ```
//!
//! Level-triggered: each round looks at what is, so that a lost answer, a crash and a new leader need nothing of their own. It runs beside the
//! decisions of a term and beside the catalogue, which tells it what each volume is in the other zone. It never acts for a group in
//! maintenance, or where the primary is not recorded; while a plan is at work on it, it holds what runs in a lost zone that is back, in the middle of
//! its own failover or while it is protected again, and does no more; and never on a server of the primary zone.
//!
//! | module | what it does |
//! |---|---|
//! | [`ground`] | whether a group may be worked on, before an act and during it |
//! | [`look`] | one look at one server |
//! | [`act`] | what is to be done, done |
//! | [`left`] | servers that are protected no more |
//! | [`memory`] | what failed and waits, and what was written to images |

mod act;
mod ground;
mod left;
mod look;
mod memory;

use super::control::Servers;
use crate::{
    catalogue::volumes::{VolumeFeed, VolumeMap},
    clock::Clock,
    coordination::{Lead, LeadError},
    journal,
    metrics::Metrics,
    wire::{ServerView, ServersStatus, StandbyState},
    world,
    zone::Zone,
};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use ground::Ground;
use memory::Memory;
use rekindle_common::{GroupName, SiteName, ZoneName, duration::Span, runbook::RunbookServer};
use rekindle_core::catalogue::mapping::Mapping;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// The most servers that are shown.
const SHOWN: usize = 5000;

/// How often, how long, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServersTiming {
    /// Between two rounds.
    pub every: Duration,
    /// For each look.
    pub deadline: Span,
    /// For a stand-by to be built, held or removed.
    pub build: Span,
    /// Servers that are looked at or built at once.
    pub at_once: usize,
    /// Between two looks at whether a group may still be worked on.
    pub watch: Duration,
    /// What failed is tried again after this, then after twice as long, up to `longest`.
    pub again: Duration,
    /// See `again`.
    pub longest: Duration,
    /// What the catalogue said longer ago is not known any more.
    pub fresh: Span,
}

impl Default for ServersTiming {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            deadline: Span::secs(20),
            build: Span::secs(600),
            at_once: 4,
            watch: Duration::from_secs(1),
            again: Duration::from_secs(30),
            longest: Duration::from_secs(1800),
            fresh: Span::secs(120),
        }
    }
}

/// What it is made of.
#[derive(Debug, Clone)]
pub struct ServersPart {
    /// Each zone's servers.
    pub servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
    /// What is called what.
    pub mapping: Mapping,
    /// Which volume is which, as the catalogue tells it.
    pub volumes: VolumeFeed,
    /// Times.
    pub timing: ServersTiming,
}

/// Keeps all groups' servers while this site leads.
#[derive(Debug)]
pub struct ServersKeeper {
    site: SiteName,
    servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
    zones: Vec<Arc<Zone>>,
    mapping: Mapping,
    timing: ServersTiming,
    volumes: VolumeFeed,
    clock: Clock,
    metrics: Arc<Metrics>,
    memory: Mutex<Memory>,
    shown: watch::Sender<Option<Arc<ServersStatus>>>,
}

impl ServersKeeper {
    /// Of its parts. Nothing is contacted yet.
    #[must_use]
    pub fn new(
        site: SiteName,
        part: ServersPart,
        zones: Vec<Arc<Zone>>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            site,
            servers: part.servers,
            zones,
            mapping: part.mapping,
            timing: part.timing,
            volumes: part.volumes,
            clock,
            metrics,
            memory: Mutex::default(),
            shown: watch::Sender::new(None),
        }
    }

    /// The last round; `None` before the first of a term, and while another site leads.
    #[must_use]
    pub fn shown(&self) -> Option<Arc<ServersStatus>> {
        self.shown.borrow().clone()
    }

    /// Another site leads now.
    pub fn forget(&self) {
        *self.memory() = Memory::default();
        self.metrics.servers.clear();
        self.shown.send_replace(None);
    }

    /// Round after round, until the term is over.
    pub async fn run(&self, lead: &Lead) {
        self.forget();
        let missed = "the servers were not looked at";
        lead.rounds(self.timing.every, missed, || self.round(lead))
            .await;
        self.forget();
    }

    /// One look at every server, with what is due.
    ///
    /// # Errors
    /// [`LeadError`]: the term is over, or etcd cannot be read.
    pub async fn round(&self, lead: &Lead) -> Result<(), LeadError> {
        lead.check()?;
        let records = world::read(lead.store()).await.map_err(LeadError::Store)?;
        let volumes = self.volumes();
        let mut work = Vec::new();
        for (name, group) in &records.groups {
            let plan = match &group.active_plan {
                // One that cannot be read is one at work.
                Some(id) => journal::read_plan(lead.store(), id).await.ok(),
                None => None,
            };
            let ground = Ground::of(name, group, plan.as_ref(), records.maintenance.is_some());
            let all = group.spec.runbook.servers().map(|server| Task {
                group: name,
                standby: group.spec.runbook.standby_of(server),
                server,
                ground: ground.clone(),
            });
            work.extend(all);
        }
        let mut work = work.into_iter();
        let mut running = FuturesUnordered::new();
        let mut views = Vec::new();
        // Begun one by one: what waits is small, what runs is not.
        loop {
            while running.len() < self.timing.at_once.max(1)
                && let Some(task) = work.next()
            {
                running.push(self.one(lead, task, volumes.as_deref()).boxed());
            }
            match running.next().await {
                Some(end) => views.push(end?),
                None => break,
            }
        }
        drop(running);
        let left = left::all(self, lead, &records, volumes.as_deref()).await?;
        views.extend(left);
        views.sort_by(|a, b| (&a.group, &a.key).cmp(&(&b.group, &b.key)));
        self.metrics.servers.round(&views);
        let status = ServersStatus {
            site: self.site.clone(),
            at: self.clock.now(),
            more: views.len().saturating_sub(SHOWN),
            servers: views.into_iter().take(SHOWN).collect(),
        };
        self.shown.send_replace(Some(Arc::new(status)));
        Ok(())
    }

    async fn one(
        &self,
        lead: &Lead,
        task: Task<'_>,
        volumes: Option<&VolumeMap>,
    ) -> Result<ServerView, LeadError> {
        lead.check()?;
        let mut view = ServerView {
            group: task.group.clone(),
            key: task.server.key.clone(),
            standby: task.standby,
            standby_state: StandbyState::default(),
            primary: None,
            serving: None,
            stands_by: None,
            recorded_at: None,
            instances: BTreeMap::new(),
            trouble: None,
        };
        let ground = match task.ground {
            Ok(ground) => ground,
            Err(why) => {
                view.trouble = Some(why);
                return Ok(view);
            }
        };
        view.primary = Some(ground.primary.clone());
        let looked = match look::look(self, lead, task.server, task.standby, ground, volumes).await
        {
            Ok(looked) => looked,
            Err(e) => {
                // What stands in etcd and cannot be read is nothing to act on.
                view.trouble = Some(format!("what is kept of it cannot be read: {e}"));
                return Ok(view);
            }
        };
        let done = act::all(self, lead, &looked).await?;
        looked.show(&mut view);
        view.trouble = done;
        Ok(view)
    }

    /// What the catalogue says, while it is not too old.
    fn volumes(&self) -> Option<Arc<VolumeMap>> {
        let map = self.volumes.last()?;
        let age = self.clock.now().duration_since(map.at).unsigned_abs();
        (age <= self.timing.fresh.get()).then_some(map)
    }

    fn servers(&self, zone: &ZoneName) -> Result<&Arc<dyn Servers>, String> {
        self.servers
            .get(zone)
            .ok_or_else(|| format!("[clouds.{zone}] is not configured"))
    }

    fn zone(&self, zone: &ZoneName) -> Option<&Arc<Zone>> {
        self.zones.iter().find(|z| z.name() == zone)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change under this lock is one entry's.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One server of a round.
struct Task<'a> {
    group: &'a GroupName,
    server: &'a RunbookServer,
    standby: rekindle_common::runbook::StandbyPolicy,
    ground: Result<Ground, String>,
}
