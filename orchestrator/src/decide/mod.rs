//! The leader's loop: look at the world, decide about each group, do what was decided.
//!
//! ```text
//!   loop { let event = select().await; let acts = apply(event); for act in acts { perform(act).await } }
//!
//!   Looked(world)   -> a decision for each group -> Remember | Mark | Begin | Start
//!   PlanOver(plan)  -> its work is over; look again at once; Prune
//! ```
//!
//! `apply` only changes what is in memory, so that a test can feed it events. An active plan without an executor gets one:
//! that is how a plan begins, how it goes on after a restart or a change of leader, and how it is tried again.

mod apply;
mod attempts;
mod begin;
mod describe;
pub mod groups;
mod pause;
mod record;
mod words;
mod work;

pub use attempts::Again;
pub use begin::{BeginError, Begun, begin};
pub use describe::text;
pub use work::{Work, WorkState};

use crate::{
    clock::Clock,
    coordination::{Lead, LeadError},
    executor::{Executor, Over, Pauses, Slots},
    journal,
    metrics::Metrics,
    steps::Tools,
    wire::DecisionView,
    world::{Assembler, GroupRecords, LeaseClock, World},
};
use attempts::Attempts;
use begin::stands_on;
use rekindle_common::{GroupName, PlanId, SiteName, keys};
use rekindle_core::{
    alone::{Listing, SeenVolumes},
    plan::Plan,
    snapshot::{GroupState, LastLease, Unprotected},
};
use rekindle_store::{Compare, Op, Revision, StoreError, Txn};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use words::Words;

/// So many plans are kept in the history.
const KEPT_PLANS: usize = 500;

/// How long an operator's change is waited for to show.
const REFRESH: Duration = Duration::from_secs(5);

/// How often the leader looks, and how much it does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecideTiming {
    /// Between two looks.
    pub every: Duration,
    /// Plans of different groups at work at once: so many passes over steps of each sort, and none while a plan waits.
    pub plans_at_once: usize,
    /// A plan that etcd halted is taken up again after this.
    pub halted: Duration,
    /// Waiting within steps.
    pub pauses: Pauses,
    /// Before a plan like one that came to nothing.
    pub again: Again,
}

impl Default for DecideTiming {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            plans_at_once: 8,
            halted: Duration::from_secs(5),
            pauses: Pauses::default(),
            again: Again::default(),
        }
    }
}

/// What all terms of this orchestrator share.
#[derive(Debug)]
pub struct Means {
    /// This site.
    pub site: SiteName,
    /// Looks at the world.
    pub assembler: Assembler,
    /// What steps need.
    pub tools: Tools,
    /// The wall clock.
    pub clock: Clock,
    /// Times.
    pub timing: DecideTiming,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the groups' servers are followed here.
    pub follows_servers: bool,
}

/// What the leader last saw, and what it made of it.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The world.
    pub world: World,
    /// About each group.
    pub decisions: BTreeMap<GroupName, DecisionView>,
}

/// One term of leadership.
#[derive(Debug)]
pub struct Term {
    /// Its authority.
    pub lead: Lead,
    means: Arc<Means>,
    leases: LeaseClock,
    picture: watch::Sender<Option<Arc<Picture>>>,
    work: Mutex<BTreeMap<PlanId, Work>>,
    noted: Mutex<BTreeMap<GroupName, SeenVolumes>>,
    attempts: Mutex<Attempts>,
    words: Mutex<Words>,
    nudge: Notify,
    slots: Slots,
}

/// What can happen.
#[derive(Debug)]
enum Event {
    /// A look was made.
    Looked(Result<World, StoreError>),
    /// An executor has ended.
    PlanOver(PlanId, Over),
    /// The term is over.
    Ended,
}

/// What is then done.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// Remember a lease while it can be seen.
    Remember(GroupName, LastLease),
    /// Forget the remembered lease: it proves nothing any more.
    Forget(GroupName),
    /// Take an approval away that was read at that revision: what it was for is over.
    Outlived(GroupName, Revision),
    /// Write down what volumes the primary has.
    Note(GroupName, Listing),
    /// Say in the group's state whether it is protected.
    Mark(GroupName, Option<String>),
    /// Begin a plan.
    Begin(Box<Plan>),
    /// Give an active plan an executor.
    Start(PlanId),
    /// Forget the oldest of the ended plans.
    Prune,
}

impl Term {
    /// A term that has just begun.
    #[must_use]
    pub fn new(lead: Lead, means: Arc<Means>) -> Arc<Self> {
        let slots = Slots::new(means.timing.plans_at_once);
        Arc::new(Self {
            lead,
            means,
            leases: LeaseClock::default(),
            picture: watch::Sender::new(None),
            work: Mutex::default(),
            noted: Mutex::default(),
            attempts: Mutex::default(),
            words: Mutex::default(),
            nudge: Notify::new(),
            slots,
        })
    }

    /// What it last saw; `None` before its first look.
    #[must_use]
    pub fn picture(&self) -> Option<Arc<Picture>> {
        self.picture.borrow().clone()
    }
    /// Follows what it sees.
    #[must_use]
    pub fn pictures(&self) -> watch::Receiver<Option<Arc<Picture>>> {
        self.picture.subscribe()
    }
    /// Looks now, for an operator's request.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(&self) -> Result<World, StoreError> {
        self.means.assembler.assemble(&self.leases).await
    }
    /// How long each lease has been gone, by this term's own looks.
    #[must_use]
    pub fn leases(&self) -> &LeaseClock {
        &self.leases
    }
    /// Has the loop look again at once.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }
    /// Has the loop look again, and waits until what was written up to now shows in its picture; not for ever.
    pub async fn refresh(&self) {
        let now = Instant::now();
        let mut pictures = self.pictures();
        self.nudge();
        let shows = |p: &Option<Arc<Picture>>| p.as_ref().is_some_and(|p| p.world.asked >= now);
        // A picture that is a little old is no error: it says when it was made.
        let _ = timeout(REFRESH, pictures.wait_for(shows)).await;
    }
    /// What is known of a plan's work.
    #[must_use]
    pub fn work_on(&self, plan: &PlanId) -> Option<Work> {
        self.work().get(plan).cloned()
    }
    /// What its work is done with.
    #[must_use]
    pub fn means(&self) -> &Means {
        &self.means
    }

    fn work(&self) -> MutexGuard<'_, BTreeMap<PlanId, Work>> {
        // Each change under this lock is one insertion or removal.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leads until the term is over. Executors stop where they stand.
    pub async fn run(self: Arc<Self>) {
        let mut executors = JoinSet::new();
        let mut ticks = interval(self.means.timing.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = self.select(&mut ticks, &mut executors).await;
            if matches!(event, Event::Ended) {
                // Dropping the set ends what is left of them; each has also seen the term's end by itself.
                return;
            }
            for act in self.apply(event) {
                self.perform(act, &mut executors).await;
            }
        }
    }

    async fn select(
        &self,
        ticks: &mut tokio::time::Interval,
        executors: &mut JoinSet<(PlanId, Over)>,
    ) -> Event {
        let look = async {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.nudge.notified() => {}
            }
            let begun = Instant::now();
            let world = self.look().await;
            let problems = world.as_ref().map_or(0, |w| w.problems.len());
            self.means.metrics.looked(begun.elapsed(), problems);
            world
        };
        tokio::select! {
            biased;
            () = self.lead.ended() => Event::Ended,
            Some(over) = executors.join_next() => match over {
                Ok((plan, over)) => Event::PlanOver(plan, over),
                Err(e) => {
                    // A fault of ours; the plan's journal is whole, and the next look finds it without an executor.
                    tracing::error!(error = %e, "an executor broke");
                    self.forget_running();
                    self.nudge();
                    Event::Looked(self.look().await)
                }
            },
            world = look => Event::Looked(world),
        }
    }

    async fn perform(self: &Arc<Self>, act: Act, executors: &mut JoinSet<(PlanId, Over)>) {
        let result = match act {
            Act::Remember(group, lease) => {
                self.change_state(&group, |s| s.last_lease = Some(lease))
                    .await
            }
            Act::Forget(group) => {
                tracing::warn!(group = %group, "the primary lease is gone and its zone is not: whether its sidecar died alone or gave it back, its end proves nothing");
                self.change_state(&group, |s| s.last_lease = None).await
            }
            Act::Outlived(group, revision) => self.take_word_away(&group, revision).await,
            Act::Note(group, listing) => self.note_volumes(&group, &listing).await,
            Act::Mark(group, unprotected) => {
                let since = self.means.clock.now();
                match &unprotected {
                    Some(why) => tracing::error!(group = %group, "UNPROTECTED: {why}"),
                    None => tracing::info!(group = %group, "protected again"),
                }
                self.change_state(&group, |s| {
                    s.unprotected = unprotected.map(|why| Unprotected { since, why });
                })
                .await
            }
            Act::Begin(plan) => self.begin_decided(&plan).await,
            Act::Start(plan) => {
                self.start(plan, executors);
                Ok(())
            }
            Act::Prune => {
                if let Err(e) = journal::prune(&self.lead, KEPT_PLANS).await {
                    tracing::debug!(error = %e, "the history was not shortened; another time");
                }
                Ok(())
            }
        };
        match result {
            Ok(()) | Err(LeadError::Lost) => {}
            // Somebody was quicker, or etcd is away: the next look decides anew.
            Err(e) => tracing::debug!(error = %e, "not done now; decided anew at the next look"),
        }
    }

    async fn begin_decided(&self, plan: &Plan) -> Result<(), LeadError> {
        let Some(records) = self.records(&plan.group) else {
            return Ok(());
        };
        match begin(&self.lead, &records, plan, Begun::ByItself).await {
            Ok(()) => {
                // A person's yes was for this one; the next needs another.
                if !stands_on(records.approval.as_ref().map(|a| &a.value), plan) {
                    self.attempts().begun(plan);
                }
                self.nudge();
                Ok(())
            }
            Err(BeginError::Lost) => Err(LeadError::Lost),
            Err(e) => {
                tracing::warn!(plan.id = %plan.id, group = %plan.group, error = %e, "the plan was not begun");
                Ok(())
            }
        }
    }

    /// The group's records as they were last read.
    fn records(&self, group: &GroupName) -> Option<GroupRecords> {
        self.picture()?.world.groups.get(group).cloned()
    }

    /// Changes what is remembered of a group, if it still is as it was read.
    async fn change_state(
        &self,
        group: &GroupName,
        change: impl FnOnce(&mut GroupState),
    ) -> Result<(), LeadError> {
        let Some(records) = self.records(group) else {
            return Ok(());
        };
        let key = keys::group_state(group);
        let (mut state, compare) = match records.state {
            Some(s) => (s.value, Compare::ModRevision(key.clone(), s.revision)),
            None => (GroupState::default(), Compare::Absent(key.clone())),
        };
        change(&mut state);
        let put = Op::put_json(&key, &state, None).map_err(LeadError::Store)?;
        self.lead.txn(Txn::new().when(compare).then(put)).await?;
        Ok(())
    }

    /// Takes an approval away, if it still is the one that was read.
    async fn take_word_away(&self, group: &GroupName, revision: Revision) -> Result<(), LeadError> {
        let key = keys::group_approval(group);
        let txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), revision))
            .then(Op::Delete { key });
        self.lead.txn(txn).await?;
        tracing::warn!(group = %group, "the approval is taken away: what it was given for is over, and nothing was begun on it");
        Ok(())
    }

    /// Writes down the primary's volumes, if what stands there still is as it is read now.
    async fn note_volumes(&self, group: &GroupName, listing: &Listing) -> Result<(), LeadError> {
        let key = keys::group_volumes(group);
        let found = self.lead.store().get(&key).await;
        let found = found.map_err(LeadError::Store)?;
        // What another leader wrote goes on; what cannot be read is begun anew.
        let before = found.as_ref().and_then(|kv| kv.json().ok());
        let seen = listing.after(before.as_ref());
        if before.as_ref() != Some(&seen) {
            let compare = match &found {
                Some(kv) => Compare::ModRevision(key.clone(), kv.mod_revision),
                None => Compare::Absent(key.clone()),
            };
            let put = Op::put_json(&key, &seen, None).map_err(LeadError::Store)?;
            self.lead.txn(Txn::new().when(compare).then(put)).await?;
        }
        self.noted().insert(group.clone(), seen);
        Ok(())
    }

    /// Whether that list says what this term has not written.
    fn is_news(&self, group: &GroupName, listing: &Listing) -> bool {
        let noted = self.noted();
        let before = noted.get(group);
        before != Some(&listing.after(before))
    }

    /// The lists that this term has written.
    fn noted(&self) -> MutexGuard<'_, BTreeMap<GroupName, SeenVolumes>> {
        // Each change under this lock is one insertion.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came to nothing.
    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // Each change under this lock is whole: a map entry at a time, and no call out.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long approvals have been of no use.
    fn words(&self) -> MutexGuard<'_, Words> {
        // Each change under this lock is one insertion or removal.
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>, plan: PlanId, executors: &mut JoinSet<(PlanId, Over)>) {
        let progress = watch::Sender::new(None);
        let stop = CancellationToken::new();
        self.work().insert(
            plan.clone(),
            Work {
                state: WorkState::Running,
                progress: progress.subscribe(),
                stop: stop.clone(),
            },
        );
        let term = Arc::clone(self);
        executors.spawn(async move {
            let over = tokio::select! {
                over = term.execute(&plan, &progress) => over,
                // Nothing more is done on it here, as at the term's end.
                () = stop.cancelled() => Over::Lost,
            };
            (plan, over)
        });
    }

    async fn execute(
        &self,
        plan: &PlanId,
        progress: &watch::Sender<Option<crate::wire::Progress>>,
    ) -> Over {
        let executor = Executor {
            lead: &self.lead,
            site: &self.means.site,
            leases: &self.leases,
            tools: &self.means.tools,
            assembler: &self.means.assembler,
            pauses: self.means.timing.pauses,
            metrics: &self.means.metrics,
            slots: &self.slots,
            progress,
            #[cfg(feature = "embedded")]
            after_record: None,
        };
        tokio::select! {
            over = executor.run(plan) => over,
            () = self.lead.ended() => Over::Lost,
        }
    }
}

#[cfg(test)]
mod tests;
