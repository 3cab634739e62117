//! Plans that this term began by itself and that came to nothing, so that the next is not begun at once.
//!
//! A fence agent that cannot reach its switch fails within a second; without a pause it would be called, and a plan written, at every
//! look until a person comes. A move that is put back costs more than that: its application was stopped for it each time.
//!
//! A new leader knows nothing of this, and tries once more. What a person asks for, or has approved, never waits.

use rekindle_common::{GroupName, PlanId, plan::End};
use rekindle_core::plan::{Plan, PlanKind};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How long the next one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// After the first that changed nothing; twice as long after each further one.
    pub abandoned: Duration,
    /// And at most.
    pub abandoned_most: Duration,
    /// After the first that was put back; twice as long after each further one.
    pub unwound: Duration,
    /// And at most.
    pub unwound_most: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            abandoned: Duration::from_secs(10),
            abandoned_most: Duration::from_secs(300),
            unwound: Duration::from_secs(300),
            unwound_most: Duration::from_secs(3600),
        }
    }
}

/// What came to nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    /// Begun by ourselves, and not over.
    begun: BTreeMap<PlanId, (GroupName, PlanKind)>,
    failed: BTreeMap<(GroupName, PlanKind), Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    plan: PlanId,
    times: u32,
    not_before: Instant,
}

impl Attempts {
    /// A plan was begun, and not because a person asked for it.
    pub(super) fn begun(&mut self, plan: &Plan) {
        let what = (plan.group.clone(), plan.kind);
        self.begun.insert(plan.id.clone(), what);
    }

    /// A plan is over, whoever began it.
    pub(super) fn ended(&mut self, plan: &PlanId, end: End, now: Instant, again: &Again) {
        let Some(what) = self.begun.remove(plan) else {
            return;
        };
        let (first, most) = match end {
            // One that was overtaken is followed by a plan of another kind; by one of its own only where a zone is isolated again and again.
            End::Abandoned | End::Overtaken => (again.abandoned, again.abandoned_most),
            End::Unwound => (again.unwound, again.unwound_most),
            End::Succeeded | End::Partial | End::GivenUp => {
                self.failed.remove(&what);
                return;
            }
        };
        let times = self
            .failed
            .get(&what)
            .map_or(1, |f| f.times.saturating_add(1));
        let growing = first.saturating_mul(2_u32.saturating_pow(times - 1));
        let failed = Failed {
            plan: plan.clone(),
            times,
            not_before: now + growing.min(most),
        };
        self.failed.insert(what, failed);
    }

    /// How long this plan has to wait, and which one failed.
    pub(super) fn wait(&self, plan: &Plan, now: Instant) -> Option<(Duration, PlanId)> {
        let failed = self.failed.get(&(plan.group.clone(), plan.kind))?;
        let left = failed.not_before.saturating_duration_since(now);
        (!left.is_zero()).then(|| (left, failed.plan.clone()))
    }

    /// Nothing is to be done for a group: what failed before is of no account when something is again.
    pub(super) fn forget(&mut self, group: &GroupName) {
        self.failed.retain(|(g, _), _| g != group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{Generation, Timestamp, ZoneName};

    fn plan(id: &str, kind: PlanKind) -> Plan {
        let zone = |z| ZoneName::new(z).unwrap();
        Plan {
            id: PlanId::new(id).unwrap(),
            parent: None,
            group: GroupName::new("db").unwrap(),
            kind,
            from: zone("zone-a"),
            to: zone("zone-b"),
            made_for: Generation(1),
            at: Timestamp::UNIX_EPOCH,
            why: String::new(),
            proof: None,
            expected_loss: Vec::new(),
            left_out: Vec::new(),
            steps: Vec::new(),
            runbook: Default::default(),
        }
    }
    fn fail(a: &mut Attempts, plan: &Plan, end: End, now: Instant) {
        a.begun(plan);
        a.ended(&plan.id, end, now, &Again::default());
    }
    fn left(a: &Attempts, plan: &Plan, now: Instant) -> Option<u64> {
        a.wait(plan, now).map(|(d, _)| d.as_secs())
    }

    #[test]
    fn a_plan_that_came_to_nothing_is_tried_again_after_growing_pauses() {
        let (now, mut a) = (Instant::now(), Attempts::default());
        let one = plan("p1", PlanKind::Failover);
        assert_eq!(left(&a, &one, now), None);
        for (n, wanted) in [10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
            let end = if n % 2 == 0 {
                End::Abandoned
            } else {
                End::Overtaken
            };
            fail(&mut a, &one, end, now);
            assert_eq!(
                a.wait(&one, now),
                Some((Duration::from_secs(wanted), one.id.clone()))
            );
            assert_eq!(left(&a, &one, now + Duration::from_secs(wanted)), None);
        }
        // What was put back has stopped an application for nothing.
        let home = plan("p2", PlanKind::Failback);
        for wanted in [300, 600, 1200, 2400, 3600, 3600] {
            fail(&mut a, &home, End::Unwound, now);
            assert_eq!(left(&a, &home, now), Some(wanted));
        }
    }

    #[test]
    fn another_kind_another_end_and_a_calm_group_wait_for_nothing() {
        let (now, mut a) = (Instant::now(), Attempts::default());
        let home = plan("p1", PlanKind::Failback);
        fail(&mut a, &home, End::Unwound, now);
        assert_eq!(left(&a, &plan("p2", PlanKind::Failover), now), None);
        // One that a person began counts for nothing.
        a.ended(
            &PlanId::new("p9").unwrap(),
            End::Succeeded,
            now,
            &Again::default(),
        );
        assert_eq!(left(&a, &home, now), Some(300));
        a.forget(&home.group);
        assert_eq!(left(&a, &home, now), None);
        for end in [End::Succeeded, End::Partial, End::GivenUp] {
            fail(&mut a, &home, End::Unwound, now);
            fail(&mut a, &home, end, now);
            assert_eq!(left(&a, &home, now), None, "{end:?}");
        }
        assert!(a.begun.is_empty());
    }
}
