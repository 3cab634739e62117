//! Waits in one place and changes in one place: events in, keepers asked, tasks begun.
//!
//! Nothing that can hang is awaited here. Reads and writes of etcd, looks at the images, demotions and questions to other
//! sites are tasks; their ends are events. So a dead cluster never delays a renewal, and a dead etcd never a demotion.

mod notes;
mod orders;
mod seen;
mod vouching;

use super::{
    handle::{LeaseConfig, LeaseHandle, Shared},
    keeper::{Event, Moment},
    keys::{Adopt, Keys, Reading, Taking},
    sink::{LeaseSink, SeenImage},
    sites::{OtherSites, all_confirmed},
    slot::{Begin, Errand, Order, Slot, Slots},
    vouch::{Asker, Board, Questions},
};
use rekindle_common::{
    ApiError, Generation, GroupName, lease::LeaseTiming, policy::IsolationResponse,
    zone::FailsafeQuestion,
};
use rekindle_store::{LeaseId, Store, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// The keepers are asked at least that often.
const TICK: Duration = Duration::from_secs(1);
/// Between two tries to note a policy in metadata; nothing hurries.
const NOTE_PAUSE: Duration = Duration::from_secs(30);

/// The keeper of the zone's leases, before it runs.
pub struct LeaseRunner<S> {
    config: LeaseConfig,
    keys: Arc<Keys>,
    sites: Arc<S>,
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
}

/// How a task ended.
enum Done {
    Cycle {
        /// The leases that were renewed, by time to live, and when that was sent.
        renewed: BTreeMap<u32, (LeaseId, Moment)>,
        reading: Result<Reading, StoreError>,
        /// What the zone's other sidecars had asked before.
        questions: Questions,
    },
    Looked {
        sent: Moment,
        seen: Result<Vec<SeenImage>, ApiError>,
    },
    Took {
        group: GroupName,
        taking: Taking,
        /// The generation, where it was an order.
        ordered: Option<Generation>,
    },
    Asked {
        group: GroupName,
        sent: Moment,
        confirmed: bool,
    },
    Isolated {
        group: GroupName,
        result: Result<(), ApiError>,
    },
    Released {
        group: GroupName,
        result: Result<(), StoreError>,
    },
    Board {
        board: Result<Board, ApiError>,
    },
    Answered {
        result: Result<(), ApiError>,
    },
    Noted {
        group: GroupName,
        response: IsolationResponse,
        result: Result<(), ApiError>,
    },
    NotedOnDelete {
        group: GroupName,
        result: Result<(), ApiError>,
    },
}

impl<S: OtherSites> LeaseRunner<S> {
    /// The keeper, and the handle that the sidecar's actions use. Nothing is held until it runs.
    #[must_use]
    pub fn new(config: LeaseConfig, store: Store, sites: S) -> (Self, LeaseHandle) {
        let keys = Arc::new(Keys::new(
            store,
            config.zone.clone(),
            &config.name,
            &config.instance,
            config.clock,
        ));
        let (handle, orders) = LeaseHandle::new(config.clock, Arc::clone(&keys));
        let runner = Self {
            config,
            keys,
            sites: Arc::new(sites),
            shared: Arc::clone(&handle.shared),
            orders,
        };
        (runner, handle)
    }

    /// Keeps the leases until `stop`. It gives none back then: a sidecar that starts again within the margin goes on with them.
    pub async fn run<L: LeaseSink>(self, sink: L, stop: CancellationToken) {
        let started = self.config.clock.now();
        let mut running = Running {
            config: self.config,
            keys: self.keys,
            sites: self.sites,
            shared: self.shared,
            sink: Arc::new(sink),
            tasks: JoinSet::new(),
            cycle: Errand::default(),
            look: Errand::default(),
            look_now: true,
            board: Errand::default(),
            asker: Asker::default(),
            questions: Questions::new(),
            cycle_now: false,
            started,
            store_well: None,
            looked_once: false,
            read_once: false,
        };
        let mut orders = self.orders;
        let mut no_orders = false;
        tracing::info!(zone = %running.config.zone, holder = running.keys.holder(), "keeping the primary leases");
        loop {
            running.turn();
            let wake = running.wake();
            tokio::select! {
                () = stop.cancelled() => return,
                order = orders.recv(), if !no_orders => match order {
                    Some(order) => running.order(order),
                    // Every handle is gone; the images are ours to keep all the same.
                    None => no_orders = true,
                },
                Some(done) = running.tasks.join_next(), if !running.tasks.is_empty() => match done {
                    Ok(done) => running.end(done),
                    Err(error) => running.task_lost(&error),
                },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }
}

struct Running<L, S> {
    config: LeaseConfig,
    keys: Arc<Keys>,
    sites: Arc<S>,
    shared: Arc<Shared>,
    sink: Arc<L>,
    tasks: JoinSet<Done>,
    cycle: Errand,
    look: Errand,
    look_now: bool,
    board: Errand,
    asker: Asker,
    /// Asked by the zone's other sidecars, and not answered.
    questions: Questions,
    cycle_now: bool,
    started: Moment,
    /// For one line in the log at each change.
    store_well: Option<bool>,
    looked_once: bool,
    read_once: bool,
}

impl<L: LeaseSink, S: OtherSites> Running<L, S> {
    fn now(&self) -> Moment {
        self.config.clock.now()
    }

    /// How often everything is renewed and read: as often as the most eager group wants.
    fn renew_every(slots: &Slots, default: LeaseTiming) -> Duration {
        slots
            .values()
            .map(|s| s.policy.terms().timing.renew_every.get())
            .min()
            .unwrap_or_else(|| default.renew_every.get())
    }

    /// Tells the keepers what time it is, and begins what is due.
    fn turn(&mut self) {
        self.shared.beat();
        let now = self.now();
        let shared = Arc::clone(&self.shared);
        let mut slots = shared.slots();
        let mut begin = Vec::new();
        for (group, slot) in slots.iter_mut() {
            slot.apply(group, now, Event::Tick);
            for b in slot.begin(now) {
                begin.push((group.clone(), b));
            }
        }
        for (group, b) in begin {
            if let Some(slot) = slots.get(&group) {
                self.begin(&group, slot, b);
            }
        }
        let pause = if self.cycle_now {
            Duration::ZERO
        } else {
            Self::renew_every(&slots, self.config.timing)
        };
        if self.cycle.begin(now, pause) {
            self.cycle_now = false;
            let questions = std::mem::take(&mut self.questions);
            let ttls = slots
                .values()
                .filter(|s| s.keeper.wants_renewal() || s.maybe_ours)
                .map(|s| s.policy.terms().ttl())
                .collect();
            self.tasks
                .spawn(cycle(Arc::clone(&self.keys), ttls, questions));
        }
        self.talk(&slots, now);
        let pause = if self.look_now {
            Duration::ZERO
        } else if slots.values().any(|s| s.keeper.awaits_look()) {
            // A group that was defined just now has its lease within a second or two, not after the grace of a restart.
            TICK
        } else {
            self.config.look_every.get()
        };
        if self.look.begin(now, pause) {
            self.look_now = false;
            let sink = Arc::clone(&self.sink);
            self.tasks.spawn(async move {
                let seen = sink.look().await;
                Done::Looked { sent: now, seen }
            });
        }
    }

    /// When the loop has to turn at the latest.
    fn wake(&self) -> Instant {
        let now = self.now();
        let slots = self.shared.slots();
        let next = slots
            .values()
            .filter_map(|s| s.keeper.next_deadline())
            .filter(|at| *at > now)
            .min()
            .map_or(TICK, |at| (at - now).min(TICK));
        Instant::now() + next
    }

    fn begin(&mut self, group: &GroupName, slot: &Slot, begin: Begin) {
        let (group, keys) = (group.clone(), Arc::clone(&self.keys));
        let terms = slot.policy.terms_to_record();
        match begin {
            Begin::Take { generation } => {
                self.tasks.spawn(async move {
                    let taking = keys.take(&group, generation, Adopt::IfLate, terms).await;
                    Done::Took {
                        group,
                        taking,
                        ordered: None,
                    }
                });
            }
            Begin::OrderedTake { generation } => {
                self.tasks.spawn(async move {
                    let taking = keys.take(&group, generation, Adopt::Now, terms).await;
                    Done::Took {
                        group,
                        taking,
                        ordered: Some(generation),
                    }
                });
            }
            Begin::StandBy { generation } => {
                self.tasks.spawn(async move {
                    let taking = keys.take(&group, generation, Adopt::Never, terms).await;
                    Done::Took {
                        group,
                        taking,
                        ordered: None,
                    }
                });
            }
            Begin::AskSites { generation } => {
                let (sites, sent) = (Arc::clone(&self.sites), self.now());
                let question = FailsafeQuestion {
                    group: group.clone(),
                    zone: self.config.zone.clone(),
                    generation,
                };
                self.tasks.spawn(async move {
                    let answers = sites.ask(&question).await;
                    let confirmed = all_confirmed(&sites.names(), &answers, terms.timing.promise());
                    tracing::warn!(%group, %generation, confirmed, ?answers, "asked the other sites whether the group is still ours");
                    Done::Asked {
                        group,
                        sent,
                        confirmed,
                    }
                });
            }
            Begin::Demote => {
                let (sink, void) = (Arc::clone(&self.sink), slot.demotion.clone());
                let deadline = Instant::now() + slot.demote_limit();
                tracing::warn!(%group, "demoting: this zone has no right to write to it any more");
                self.tasks.spawn(async move {
                    let result = sink.demote(&group, deadline, &void).await;
                    Done::Isolated { group, result }
                });
            }
            Begin::SetFrozen(frozen) => {
                let sink = Arc::clone(&self.sink);
                self.tasks.spawn(async move {
                    sink.set_frozen(&group, frozen).await;
                    Done::Isolated {
                        group,
                        result: Ok(()),
                    }
                });
            }
            Begin::ReadRecord => self.cycle_now = true,
            Begin::Release => {
                self.tasks.spawn(async move {
                    let result = keys.release(&group).await;
                    Done::Released { group, result }
                });
            }
        }
    }

    fn end(&mut self, done: Done) {
        let shared = Arc::clone(&self.shared);
        let mut slots = shared.slots();
        let now = self.now();
        match done {
            Done::Cycle {
                renewed,
                reading,
                questions,
            } => {
                self.cycle.end();
                self.store_health(reading.as_ref().err());
                if let Ok(reading) = reading {
                    self.read(&mut slots, now, &renewed, &reading);
                    self.answer(&slots, questions, &renewed, &reading);
                    self.read_once = true;
                }
            }
            Done::Board { board } => self.board_read(&mut slots, now, board),
            Done::Answered { result } => {
                if let Err(error) = result {
                    tracing::warn!(zone = %self.config.zone, %error, "another sidecar of this zone has no etcd, and could not be told what is held here");
                }
            }
            Done::Looked { sent, seen } => {
                self.look.end();
                self.looked(&mut slots, now, sent, seen);
            }
            Done::Took {
                group,
                taking,
                ordered,
            } => {
                if let Some(slot) = slots.get_mut(&group) {
                    Self::took(&group, slot, now, taking, ordered);
                }
            }
            Done::Asked {
                group,
                sent,
                confirmed,
            } => {
                if let Some(slot) = slots.get_mut(&group) {
                    slot.asking.end();
                    if confirmed {
                        slot.apply(&group, now, Event::SitesConfirmed { sent });
                    }
                }
            }
            Done::Isolated { group, result } => {
                if let Some(slot) = slots.get_mut(&group) {
                    slot.isolation_ended(now);
                }
                // Whatever it says: only a look tells.
                self.look_now = true;
                if let Err(error) = result {
                    tracing::warn!(%group, %error, "the isolation response was not carried out in full; going on");
                }
            }
            Done::Released { group, result } => {
                if let Some(slot) = slots.get_mut(&group) {
                    orders::released(slot, now, result);
                }
            }
            Done::Noted {
                group,
                response,
                result,
            } => {
                if let Some(slot) = slots.get_mut(&group) {
                    slot.noting.end();
                }
                self.look_now = true;
                if let Err(error) = result {
                    tracing::warn!(%group, ?response, %error, "the isolation response was not noted on all images");
                }
            }
            Done::NotedOnDelete { group, result } => {
                if let Some(slot) = slots.get_mut(&group) {
                    slot.noting_on_delete.end();
                }
                self.look_now = true;
                if let Err(error) = result {
                    tracing::warn!(%group, %error, "the deletion policy was not noted on all images; trying again");
                }
            }
        }
    }

    /// A task ended without an answer: a fault of ours, that must not leave a group without its keeper.
    fn task_lost(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a task of the lease keeper was lost");
        self.cycle.end();
        self.look.end();
        self.board.end();
        for slot in self.shared.slots().values_mut() {
            slot.forget_errands();
        }
    }

    fn store_health(&mut self, error: Option<&StoreError>) {
        let well = error.is_none();
        if self.store_well.replace(well) != Some(well) {
            match error {
                Some(error) => tracing::warn!(zone = %self.config.zone, %error, "etcd is ill"),
                None => tracing::info!(zone = %self.config.zone, "etcd is well"),
            }
        }
    }
}

/// Renews what is held, then reads everything: a key that is seen after the renewal stands under it.
async fn cycle(keys: Arc<Keys>, ttls: BTreeSet<u32>, questions: Questions) -> Done {
    let mut renewed = BTreeMap::new();
    for ttl in ttls {
        match keys.lease(ttl, keys.now()).await {
            Ok(lease) => {
                renewed.insert(ttl, lease);
            }
            // What follows would fail as well, and each failure takes its time.
            Err(e) => {
                return Done::Cycle {
                    renewed,
                    reading: Err(e),
                    questions,
                };
            }
        }
    }
    let reading = keys.read_all().await;
    Done::Cycle {
        renewed,
        reading,
        questions,
    }
}

#[cfg(test)]
mod tests;
