//! From an event to what is to be done. Nothing waits here.

use super::{Act, Event, Picture, Term, WorkState, begin::stands_on, describe};
use crate::{
    executor::Over,
    journal::{self, Unwritable},
    plan_id,
    wire::DecisionView,
    world::World,
};
use rekindle_common::{GroupName, duration::Span};
use rekindle_core::{
    alone,
    decision::{Ask, Decision, Hold, decide, forget_lease, outlived, remember_lease},
    plan::{Plan, Step},
    snapshot::{GroupView, Snapshot},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

impl Term {
    pub(super) fn apply(&self, event: Event) -> Vec<Act> {
        match event {
            Event::Looked(Ok(world)) => self.looked(world),
            Event::Looked(Err(e)) => {
                // The picture stays: it says when it was made.
                tracing::debug!(error = %e, "the world could not be read");
                Vec::new()
            }
            Event::PlanOver(plan, over) => {
                let ended = matches!(over, Over::Ended { .. });
                self.plan_over(plan, over);
                if ended { vec![Act::Prune] } else { Vec::new() }
            }
            Event::Ended => Vec::new(),
        }
    }

    fn looked(&self, world: World) -> Vec<Act> {
        let before = self.picture();
        let mut acts = Vec::new();
        let mut decisions = BTreeMap::new();
        for (name, view) in &world.snapshot.groups {
            if let Some(lease) = remember_lease(&world.snapshot, name) {
                acts.push(Act::Remember(name.clone(), lease));
            }
            if forget_lease(&world.snapshot, name) {
                acts.push(Act::Forget(name.clone()));
            }
            acts.extend(self.outlived(&world, view));
            if let Some(listing) = alone::listed_now(&world.snapshot, name)
                && self.is_news(name, &listing)
            {
                acts.push(Act::Note(name.clone(), listing));
            }
            let id = plan_id::new(world.snapshot.reference_time);
            let Some(decision) = decide(&world.snapshot, name, id) else {
                continue;
            };
            let decision = bound(&world.snapshot, decision);
            let decision = writable(self.patient(view, decision));
            let asks = matches!(decision, Decision::AskOperator { .. });
            let unprotected = view.state.unprotected.is_some();
            self.means.metrics.group(name.as_str(), unprotected, asks);
            match &decision {
                Decision::Hold { .. } | Decision::AskOperator { .. } => {}
                Decision::MarkProtection { unprotected } => {
                    acts.push(Act::Mark(name.clone(), unprotected.clone()));
                }
                Decision::Begin { plan } => acts.push(Act::Begin(plan.clone())),
            }
            let shown = self.shown(name, decision, before.as_deref(), &world.snapshot);
            decisions.insert(name.clone(), shown);
        }
        acts.extend(self.without_executor(&world));
        for zone in &self.means.assembler.zones {
            let answers = world.snapshot.zones.contains_key(zone.name());
            self.means
                .metrics
                .zone_answers(zone.name().as_str(), answers);
        }
        self.note_problems(&world, before.as_deref());
        self.picture
            .send_replace(Some(Arc::new(Picture { world, decisions })));
        acts
    }

    /// An approval whose trouble has been over for the hold-off: as long as it may take until a trouble is seen for what it is.
    fn outlived(&self, world: &World, view: &GroupView) -> Option<Act> {
        let group = &view.spec.name;
        let stored = world.groups.get(group)?.approval.as_ref()?;
        let over = outlived(&world.snapshot, group);
        let over_for = self
            .words()
            .see(group, over.then_some(stored.revision), Instant::now());
        (over_for? >= view.spec.policy.hold_off.get())
            .then(|| Act::Outlived(group.clone(), stored.revision))
    }

    /// A plan that we begin by ourselves waits for a while after one of its kind that came to nothing.
    fn patient(&self, view: &GroupView, decision: Decision) -> Decision {
        match &decision {
            Decision::Begin { plan } if !stands_on(view.approval.as_ref(), plan) => {
                match self.attempts().wait(plan, Instant::now()) {
                    None => decision,
                    Some((left, failed)) => Decision::Hold {
                        why: Hold::TryingAgain {
                            kind: plan.kind,
                            failed,
                            left: Span(left),
                        },
                    },
                }
            }
            Decision::Hold { why: Hold::AllWell } => {
                self.attempts().forget(&view.spec.name);
                decision
            }
            Decision::Begin { .. }
            | Decision::Hold { .. }
            | Decision::AskOperator { .. }
            | Decision::MarkProtection { .. } => decision,
        }
    }

    /// The decision with the time since when it is of this sort; logged where it is new.
    fn shown(
        &self,
        group: &GroupName,
        decision: Decision,
        before: Option<&Picture>,
        snapshot: &Snapshot,
    ) -> DecisionView {
        let text = describe::text(&decision);
        let same = before
            .and_then(|p| p.decisions.get(group))
            .filter(|d| describe::sort(&d.decision) == describe::sort(&decision));
        if same.is_none() {
            match &decision {
                Decision::AskOperator { .. } => tracing::error!(group = %group, "{text}"),
                Decision::Hold { .. }
                | Decision::MarkProtection { .. }
                | Decision::Begin { .. } => tracing::info!(group = %group, "decided: {text}"),
            }
        }
        let since = same.map_or(snapshot.reference_time, |d| d.since);
        DecisionView {
            decision,
            text,
            since,
        }
    }

    /// Active plans that should have an executor and have none. What is over is forgotten.
    fn without_executor(&self, world: &World) -> Vec<Act> {
        let now = Instant::now();
        let active: Vec<_> = world
            .groups
            .values()
            .filter_map(|g| g.active_plan.clone())
            .collect();
        let mut work = self.work();
        // One that is still running has just written its end.
        work.retain(|plan, w| active.contains(plan) || w.state == WorkState::Running);
        active
            .into_iter()
            .filter(|plan| {
                work.get(plan)
                    .is_none_or(|w| w.state.wants_executor(now, &world.snapshot))
            })
            .map(Act::Start)
            .collect()
    }

    fn plan_over(&self, plan: rekindle_common::PlanId, over: Over) {
        if let Over::Ended { end } = &over {
            let again = &self.means.timing.again;
            self.attempts().ended(&plan, *end, Instant::now(), again);
        }
        let state = match over {
            Over::Ended { .. } | Over::Lost => None,
            Over::Waiting { plan, state } => Some(WorkState::Waiting { plan, state }),
            Over::Corrupted { problem } => Some(WorkState::Corrupted { problem }),
            Over::Halted { problem } => Some(WorkState::Halted {
                problem,
                retry_at: Instant::now() + self.means.timing.halted,
            }),
        };
        {
            let mut work = self.work();
            match state {
                None => {
                    work.remove(&plan);
                }
                Some(state) => {
                    if let Some(w) = work.get_mut(&plan) {
                        w.state = state;
                    }
                }
            }
        }
        self.nudge();
    }

    /// Which executor broke is not known: those that run are given up, and begin anew from their journals.
    pub(super) fn forget_running(&self) {
        let finished = |w: &super::Work| w.progress.has_changed().is_err();
        self.work()
            .retain(|_, w| w.state != WorkState::Running || !finished(w));
    }

    /// Has a plan that waits given another executor.
    pub(crate) fn take_up_again(&self, plan: &rekindle_common::PlanId) {
        self.work().remove(plan);
        self.nudge();
    }

    /// Ends a plan's executor where it stands, for the plan has been ended beside it.
    pub(super) fn stop_work(&self, plan: &rekindle_common::PlanId) {
        if let Some(work) = self.work().get(plan) {
            work.stop.cancel();
        }
    }

    fn note_problems(&self, world: &World, before: Option<&Picture>) {
        for p in &world.problems {
            if before.is_none_or(|b| !b.world.problems.contains(p)) {
                tracing::error!(about = p.about, code = %p.code, "{}", p.message);
            }
        }
    }
}

/// A plan that etcd does not hold would be decided, and refused, for ever: a person has to hear of it.
pub(super) fn writable(decision: Decision) -> Decision {
    let too_large = match &decision {
        Decision::Begin { plan } => match journal::put_plan(plan) {
            Err(Unwritable::TooLarge(e)) => Some((plan.kind, e)),
            Ok(_) | Err(Unwritable::NoJson(_)) => None,
        },
        Decision::Hold { .. } | Decision::AskOperator { .. } | Decision::MarkProtection { .. } => {
            None
        }
    };
    match too_large {
        Some((kind, e)) => Decision::AskOperator {
            why: Ask::TooLarge {
                kind,
                why: e.to_string(),
            },
        },
        None => decision,
    }
}

/// A promise to an isolated zone holds back every plan that names another primary, a planned one too. (Core asks this of a
/// failover alone.)
fn bound(snapshot: &Snapshot, decision: Decision) -> Decision {
    match (&decision, promise_against(snapshot, &decision)) {
        (Decision::Begin { .. }, Some(left)) => Decision::Hold {
            why: Hold::Promised { left },
        },
        (
            Decision::Hold { .. }
            | Decision::AskOperator { .. }
            | Decision::MarkProtection { .. }
            | Decision::Begin { .. },
            _,
        ) => decision,
    }
}

fn promise_against(snapshot: &Snapshot, decision: &Decision) -> Option<Span> {
    match decision {
        Decision::Begin { plan } if records_primary(plan) => snapshot.promised_for,
        Decision::Begin { .. }
        | Decision::Hold { .. }
        | Decision::AskOperator { .. }
        | Decision::MarkProtection { .. } => None,
    }
}

/// Whether a plan changes the primary record.
pub(crate) fn records_primary(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|s| matches!(s.step, Step::RecordPrimary { .. }))
}
