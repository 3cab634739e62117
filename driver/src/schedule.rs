//! Takes the mirror snapshots of periodic volumes, at `start + n * interval`, where the volume is primary.
//!
//! ```text
//!   list (every few seconds) ──> plan: when is each due ──┐
//!      ^                                                  v
//!      └── what was taken <── take <── decide again on a fresh look, in a task of its own, a few at a time
//! ```
//!
//! Rekindle's own: Ceph's schedules mis-anchor their start and die with their manager's client (hard cases 27, 28). The schedule is
//! the volume's metadata, so it follows the volume to the other zone. After a pause one snapshot is taken, not many; while
//! the last one is on its way none is (hard case 26: pruning an image under a copy in progress has corrupted copies).

mod source;

use crate::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use rekindle_common::{ApiError, ImageSpec, duration::Span, schedule::Schedule, volume::Known};
pub use source::{Listed, SnapshotSource};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// The plan is looked at at least that often: the wall clock may be set.
const LONGEST_NAP: Duration = Duration::from_secs(1);
/// And no more often than that.
const SHORTEST_NAP: Duration = Duration::from_millis(5);
/// Where it is not known whether the last snapshot has arrived, another one is taken after this long, or after a whole
/// interval where that is longer: the newest state should be there when the copy moves again.
const PATIENCE: Duration = Duration::from_secs(300);

/// One periodic volume that is primary here, as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periodic {
    /// When snapshots are due.
    pub schedule: Schedule,
    /// When the newest mirror snapshot was taken; `None` where there is none.
    pub last: Option<Timestamp>,
    /// Whether that one has arrived in the other zone.
    pub arrived: Known,
}

/// What to do about a volume now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take a snapshot, for that tick.
    Take {
        /// The tick that it is taken for.
        tick: Timestamp,
    },
    /// Nothing is due before then.
    Wait {
        /// The next tick.
        until: Timestamp,
    },
    /// One is due, and the last one is on its way.
    OnItsWay,
    /// The schedule has no further tick.
    Never,
}

/// Decides. Pure.
///
/// `served` is the tick that this process has served last: the snapshot's own time is by another clock, which may be behind. One
/// that is yet to come was served while this clock was ahead, and says nothing any more.
#[must_use]
pub fn decide(volume: &Periodic, served: Option<Timestamp>, now: Timestamp) -> Decision {
    let wait = match volume.schedule.next_due(now) {
        Some(until) => Decision::Wait { until },
        None => Decision::Never,
    };
    let Some(tick) = volume.schedule.latest_due(now) else {
        return wait;
    };
    if served.is_some_and(|s| (tick..=now).contains(&s))
        || !volume.schedule.is_due(now, volume.last)
    {
        return wait;
    }
    let (Some(last), arrived) = (volume.last, volume.arrived) else {
        return Decision::Take { tick };
    };
    let waited = now.duration_since(last);
    let patience = PATIENCE.max(volume.schedule.interval.get());
    let patient = waited < SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
    match arrived {
        Known::Yes => Decision::Take { tick },
        Known::No => Decision::OnItsWay,
        Known::Unknown if patient => Decision::OnItsWay,
        Known::Unknown => Decision::Take { tick },
    }
}

/// How the schedules are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// How often the volumes are listed: how late a new one, or a changed schedule, is noticed.
    pub refresh: Span,
    /// How many snapshots are taken at once.
    pub parallel: usize,
    /// One look, and one snapshot.
    pub deadline: Span,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            refresh: Span::secs(5),
            parallel: 8,
            deadline: Span::secs(30),
        }
    }
}

/// One volume in the plan.
#[derive(Debug)]
struct Planned {
    volume: Periodic,
    served: Option<Timestamp>,
    busy: bool,
    /// Not before then: the last snapshot is on its way, or taking one failed.
    not_before: Option<Instant>,
    /// So often in a row it could not be taken because the last one was on its way.
    held_back: u32,
    failed: u32,
}

enum Done {
    Listed(Result<Listed, ApiError>),
    Tried {
        volume: ImageSpec,
        /// As it was found; `None`: it is no periodic primary of ours any more.
        found: Option<Periodic>,
        result: Result<Decision, ApiError>,
    },
}

/// Runs all schedules until `stop`. A snapshot that is being taken then is waited for.
pub async fn run<S: SnapshotSource>(
    source: S,
    clock: Clock,
    config: ScheduleConfig,
    stop: CancellationToken,
) {
    let mut scheduler = Scheduler {
        source: Arc::new(source),
        clock,
        config,
        plan: BTreeMap::new(),
        tasks: JoinSet::new(),
        slots: Arc::new(Semaphore::new(config.parallel.max(1))),
        listing: false,
        list_at: Instant::now(),
        blind: false,
    };
    loop {
        let nap = scheduler.turn();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = scheduler.tasks.join_next(), if !scheduler.tasks.is_empty() => match done {
                Ok(done) => scheduler.end(done),
                Err(error) => scheduler.task_lost(&error),
            },
            () = sleep(nap) => {}
        }
    }
    while scheduler.tasks.join_next().await.is_some() {}
}

struct Scheduler<S> {
    source: Arc<S>,
    clock: Clock,
    config: ScheduleConfig,
    plan: BTreeMap<ImageSpec, Planned>,
    tasks: JoinSet<Done>,
    slots: Arc<Semaphore>,
    listing: bool,
    list_at: Instant,
    /// The last list failed: said once.
    blind: bool,
}

impl<S: SnapshotSource> Scheduler<S> {
    /// Begins what is due, and says how long nothing else will be.
    fn turn(&mut self) -> Duration {
        let (instant, now) = (Instant::now(), self.clock.now());
        if !self.listing && self.list_at <= instant {
            self.listing = true;
            let (source, deadline) = (
                Arc::clone(&self.source),
                instant + self.config.deadline.get(),
            );
            self.tasks
                .spawn(async move { Done::Listed(source.list(deadline).await) });
        }
        let mut nap = self
            .list_at
            .saturating_duration_since(instant)
            .clamp(SHORTEST_NAP, LONGEST_NAP);
        let mut due = Vec::new();
        for (spec, planned) in &mut self.plan {
            if planned.busy {
                continue;
            }
            if let Some(at) = planned.not_before.filter(|at| *at > instant) {
                nap = nap.min(at - instant);
                continue;
            }
            match decide(&planned.volume, planned.served, now) {
                // What the plan knows of the last one's arrival is as old as the list: the task looks again.
                Decision::Take { .. } | Decision::OnItsWay => {
                    planned.busy = true;
                    due.push((spec.clone(), planned.served));
                }
                Decision::Wait { until } => {
                    let left = until.duration_since(now).unsigned_abs();
                    nap = nap.min(left);
                }
                Decision::Never => {}
            }
        }
        for (spec, served) in due {
            self.begin(spec, served);
        }
        nap.max(SHORTEST_NAP)
    }

    fn begin(&mut self, volume: ImageSpec, served: Option<Timestamp>) {
        let (source, slots) = (Arc::clone(&self.source), Arc::clone(&self.slots));
        let (clock, deadline) = (self.clock, self.config.deadline.get());
        self.tasks.spawn(async move {
            // It is closed never: this waits for its turn.
            let _slot = slots.acquire_owned().await;
            let mut found = None;
            let tried = async {
                found = source.look(&volume, Instant::now() + deadline).await?;
                let Some(periodic) = &found else {
                    return Ok(Decision::Never);
                };
                let decision = decide(periodic, served, clock.now());
                if let Decision::Take { .. } = decision {
                    source.take(&volume, Instant::now() + deadline).await?;
                }
                Ok(decision)
            };
            let result = tried.await;
            Done::Tried {
                volume,
                found,
                result,
            }
        });
    }

    fn end(&mut self, done: Done) {
        match done {
            Done::Listed(listed) => {
                self.listing = false;
                self.list_at = Instant::now() + self.config.refresh.get();
                self.listed(listed);
            }
            Done::Tried {
                volume,
                found,
                result,
            } => self.tried(&volume, found, result),
        }
    }

    fn listed(&mut self, listed: Result<Listed, ApiError>) {
        let Listed { periodic, unread } = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // The plan stands: each snapshot looks at its volume again anyway.
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::warn!(%error, "the periodic volumes cannot be listed; going on with those known");
                }
                return;
            }
        };
        self.blind = false;
        // Of one that could not be read the plan stands, too.
        self.plan.retain(|spec, planned| {
            planned.busy || periodic.contains_key(spec) || unread.contains(spec)
        });
        for (spec, volume) in periodic {
            let planned = self.plan.entry(spec).or_insert_with(|| Planned {
                volume,
                served: None,
                busy: false,
                not_before: None,
                held_back: 0,
                failed: 0,
            });
            if planned.volume.schedule != volume.schedule {
                // A changed schedule has ticks of its own.
                planned.served = None;
                planned.not_before = None;
            }
            planned.volume = volume;
        }
    }

    fn tried(
        &mut self,
        spec: &ImageSpec,
        found: Option<Periodic>,
        result: Result<Decision, ApiError>,
    ) {
        let now = self.clock.now();
        let Some(planned) = self.plan.get_mut(spec) else {
            return;
        };
        planned.busy = false;
        if let Some(found) = found {
            planned.volume = found;
        }
        let interval = planned.volume.schedule.interval.get();
        let again = |from: Duration| Some(Instant::now() + (interval / 10).clamp(from, from * 10));
        planned.not_before = None;
        match result {
            Ok(Decision::Take { tick }) => {
                tracing::debug!(volume.id = %spec, %tick, "mirror snapshot taken");
                planned.served = Some(tick);
                planned.volume.last = Some(now);
                planned.volume.arrived = Known::No;
                (planned.held_back, planned.failed) = (0, 0);
            }
            Ok(Decision::OnItsWay) => {
                if planned.held_back == 0 {
                    tracing::info!(volume.id = %spec, interval = %planned.volume.schedule.interval, "a mirror snapshot is due and the last one is on its way: waiting for it");
                }
                planned.held_back = planned.held_back.saturating_add(1);
                planned.not_before = again(Duration::from_millis(500));
            }
            Ok(Decision::Wait { .. }) => {}
            Ok(Decision::Never) => {
                self.plan.remove(spec);
            }
            Err(error) => {
                // Once a minute at most while a cluster is away: the lag's metric grows meanwhile.
                if planned.failed == 0 {
                    tracing::warn!(volume.id = %spec, %error, "a mirror snapshot was not taken; trying again");
                }
                planned.failed = planned.failed.saturating_add(1);
                planned.not_before = again(Duration::from_secs(1));
            }
        }
    }

    /// A task ended without an answer: a fault of ours that must not stop a schedule.
    fn task_lost(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a task of the schedules was lost");
        self.listing = false;
        for planned in self.plan.values_mut() {
            planned.busy = false;
        }
    }
}

#[cfg(test)]
mod tests;
