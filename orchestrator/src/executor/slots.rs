//! How much is at work at once. A slot is held for one pass over a step, never while a plan waits.
//!
//! ```text
//!   a failover's or a resume's orders -> failovers : nothing else stands in the way of what is down
//!   any other plan's orders           -> others
//!   servers and applications start    -> serving   : of whatever plan, behind its promotion
//!   they stop; hooks before it        -> outside   : whose time is Nova's and people's programs', a hook's may be hours
//!   the same of a failover or resume  -> down      : behind them stands what is down, and waits for no other plan's
//!   hooks after it                    -> after     : nothing stands behind them
//!   what only looks, or waits         -> none
//! ```
//!
//! Were it held for a whole plan, eight that pause for a person would bar the ninth group's promotion until they are answered.

use super::{Executor, passes::Stop};
use crate::wire::Progress;
use rekindle_core::plan::{HookTime, Plan, PlanKind, Step};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// One term's slots.
#[derive(Debug)]
pub struct Slots {
    failovers: Semaphore,
    others: Semaphore,
    serving: Semaphore,
    outside: Semaphore,
    down: Semaphore,
    after: Semaphore,
    at_once: usize,
}

impl Slots {
    /// So many passes of each sort at once.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self {
            failovers: Semaphore::new(at_once),
            others: Semaphore::new(at_once),
            serving: Semaphore::new(at_once),
            outside: Semaphore::new(at_once),
            down: Semaphore::new(at_once),
            after: Semaphore::new(at_once),
            at_once,
        }
    }

    /// Where a pass over this step of such a plan takes its slot; `None` where it needs none.
    fn of(&self, kind: PlanKind, step: &Step) -> Option<&Semaphore> {
        let (orders, outside) = match kind {
            PlanKind::Failover | PlanKind::Resume => (&self.failovers, &self.down),
            PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect => {
                (&self.others, &self.outside)
            }
        };
        match step {
            Step::AwaitLeaseEnd { .. }
            | Step::AwaitDemotionReplayed { .. }
            | Step::AwaitReplay { .. }
            | Step::Pause { .. } => None,
            Step::StartApplication { .. } | Step::StartServers { .. } => Some(&self.serving),
            Step::RunHook {
                when: HookTime::After,
                ..
            } => Some(&self.after),
            Step::RunHook {
                when: HookTime::Before,
                ..
            }
            | Step::StopApplication { .. }
            | Step::StopServers { .. }
            | Step::HoldServers { .. } => Some(outside),
            Step::Fence { .. }
            | Step::Demote { .. }
            | Step::ReleaseLease { .. }
            | Step::RecordPrimary { .. }
            | Step::TakeLease { .. }
            | Step::MarkUnprotected { .. }
            | Step::Promote { .. }
            | Step::Resync { .. }
            | Step::MarkProtected => Some(orders),
        }
    }
}

impl Executor<'_> {
    /// A slot for one pass, where the step needs one. Where it has to be waited for, the progress says so.
    pub(super) async fn slot(
        &self,
        plan: &Plan,
        step: &Step,
    ) -> Result<Option<SemaphorePermit<'_>>, Stop> {
        let Some(slots) = self.slots.of(plan.kind, step) else {
            return Ok(None);
        };
        match slots.try_acquire() {
            Ok(slot) => return Ok(Some(slot)),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(Stop::Lost),
        }
        let said = self.progress.borrow().clone();
        let note = format!(
            "waits for its turn: {} plans are at work at once",
            self.slots.at_once
        );
        self.progress.send_modify(|p: &mut Option<Progress>| {
            if let Some(p) = p {
                p.note = note;
            }
        });
        let slot = tokio::select! {
            slot = slots.acquire() => slot,
            () = self.lead.ended() => return Err(Stop::Lost),
        };
        self.progress.send_replace(said);
        // Never closed while the term lives.
        slot.map(Some).map_err(|_| Stop::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{Generation, ZoneName, duration::Span};

    fn zone() -> ZoneName {
        ZoneName::new("zone-b").unwrap()
    }
    fn promote() -> Step {
        Step::Promote {
            zone: zone(),
            volumes: Vec::new(),
            generation: Generation(2),
        }
    }

    fn hook(when: HookTime) -> Step {
        Step::RunHook {
            hook: "ticket".to_owned(),
            when,
            zone: zone(),
            generation: Generation(1),
            within: Span::secs(3600),
        }
    }

    #[test]
    fn what_is_down_waits_for_no_other_plans_hooks() {
        let slots = Slots::new(1);
        let free = |kind, step: &Step| slots.of(kind, step).map(Semaphore::available_permits);
        let (before, after) = (hook(HookTime::Before), hook(HookTime::After));
        let taken = |kind, step: &Step| slots.of(kind, step).unwrap().try_acquire().unwrap();
        let _ended = taken(PlanKind::Failover, &after);
        let _moves = taken(PlanKind::Move, &before);
        let stop = Step::StopServers {
            zone: zone(),
            level: 0,
            servers: 3,
            generation: Generation(1),
        };
        assert_eq!(free(PlanKind::Failover, &before), Some(1));
        assert_eq!(free(PlanKind::Resume, &stop), Some(1));
        assert_eq!(free(PlanKind::Failback, &stop), Some(0));
    }

    #[test]
    fn a_failovers_promotion_waits_for_failovers_alone() {
        let slots = Slots::new(1);
        let free = |kind, step: &Step| slots.of(kind, step).map(Semaphore::available_permits);
        let _move = slots.of(PlanKind::Move, &promote()).unwrap().try_acquire();
        let start = Step::StartServers {
            zone: zone(),
            level: 0,
            servers: 3,
            generation: Generation(2),
        };
        let _servers = slots.of(PlanKind::Failover, &start).unwrap().try_acquire();
        assert_eq!(free(PlanKind::Failover, &promote()), Some(1));
        assert_eq!(free(PlanKind::Reprotect, &promote()), Some(0));
        assert_eq!(free(PlanKind::Resume, &start), Some(0));
        // What stops servers, and hooks, may take minutes and hours.
        let stop = Step::StopServers {
            zone: zone(),
            level: 0,
            servers: 3,
            generation: Generation(1),
        };
        let _stops = slots.of(PlanKind::Move, &stop).unwrap().try_acquire();
        assert_eq!(free(PlanKind::Resume, &promote()), Some(1));
        let pause = Step::Pause {
            level: 1,
            text: String::new(),
        };
        for kind in [PlanKind::Failover, PlanKind::Move] {
            assert_eq!(free(kind, &pause), None);
        }
    }
}
