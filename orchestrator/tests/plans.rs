//! One suite over every kind of plan: each step twice; a failure at each step; a crash after each record of the journal, then
//! another leader; the lease lost at each step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{
    Servers,
    bench::{Bench, Kind},
    pass::{pass, tally},
    zone_a, zone_b,
};
use rekindle_common::{PlanId, duration::Span};
use rekindle_core::{
    plan::{Plan, PlannedStep, Step},
    saga::{End, Event, Next, Record, Saga, State, StepOutcome, VolumeGivenUp},
};
use rekindle_orchestrator::{
    agent::AgentAction,
    executor::{Over, RecordHook},
    journal,
    steps::{Pass, StepError},
};
use rekindle_store::Op;
use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

macro_rules! for_every_kind {
    ($servers:expr, $($test:ident),* $(,)?) => {
        $(mod $test {
            use super::*;
            #[tokio::test(start_paused = true)]
            async fn failover_by_lease() { suite::$test(Kind::FailoverByLease, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn failover_by_fence() { suite::$test(Kind::FailoverByFence, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn failover_vouched() { suite::$test(Kind::FailoverVouched, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn failover_demoted() { suite::$test(Kind::FailoverDemoted, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn revoked_by_fence() { suite::$test(Kind::RevokedByFence, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn revoked_vouched() { suite::$test(Kind::RevokedVouched, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn planned_move() { suite::$test(Kind::Move, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn failback() { suite::$test(Kind::Failback, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn reprotect() { suite::$test(Kind::Reprotect, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn resume() { suite::$test(Kind::Resume, $servers).await }
        })*
    };
}

/// One of each sort: what their proofs differ in is done before the first server's turn.
macro_rules! for_every_sort {
    ($servers:expr, $($test:ident),* $(,)?) => {
        $(mod $test {
            use super::*;
            #[tokio::test(start_paused = true)]
            async fn failover_by_lease() { suite::$test(Kind::FailoverByLease, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn planned_move() { suite::$test(Kind::Move, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn reprotect() { suite::$test(Kind::Reprotect, $servers).await }
            #[tokio::test(start_paused = true)]
            async fn resume() { suite::$test(Kind::Resume, $servers).await }
        })*
    };
}

for_every_kind!(
    Servers::None,
    goes_through,
    hard_case_09_each_step_twice,
    a_failure_at_each_step,
    hard_case_09_a_crash_after_each_record,
    hard_case_03_the_lease_lost_at_each_record,
);

/// The same for a group with servers. What is broken there stands in the steps that servers add: see [`counts`].
mod with_servers {
    use super::*;

    for_every_kind!(Servers::Some, goes_through, hard_case_09_each_step_twice);
    for_every_sort!(
        Servers::Some,
        a_failure_at_each_step,
        hard_case_09_a_crash_after_each_record,
        hard_case_03_the_lease_lost_at_each_record,
    );
}

/// The suite itself.
mod suite {
    pub(super) use super::{
        a_failure_at_each_step_of as a_failure_at_each_step,
        crash_after_each_record as hard_case_09_a_crash_after_each_record,
        each_step_twice as hard_case_09_each_step_twice,
        lease_lost_at_each_record as hard_case_03_the_lease_lost_at_each_record,
        went_through as goes_through,
    };
}

/// Whether the suite breaks something at this step: of a group without servers at each, of one with servers where those make the
/// difference.
fn counts(servers: Servers, step: &Step) -> bool {
    let adds = matches!(
        step,
        Step::RunHook { .. }
            | Step::Pause { .. }
            | Step::StopServers { .. }
            | Step::StartServers { .. }
            | Step::HoldServers { .. }
    );
    servers == Servers::None || adds
}

async fn went_through(kind: Kind, servers: Servers) {
    let bench = Bench::prepared_with(kind, servers).await;
    let plan = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&plan, None).await;
    assert_eq!(
        over,
        Over::Ended {
            end: End::Succeeded
        },
        "{:#?}",
        bench.records(&plan).await
    );
    bench.assert_succeeded(&plan).await;
    bench.assert_one_writer();
}

/// Passes until the step is done.
async fn to_its_end(bench: &Bench, plan: &Plan, step: &Step) -> StepOutcome {
    let none = BTreeSet::new();
    let mut tally = tally(plan, step, &none);
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match pass(bench, plan, step, &none, &mut tally).await {
            Ok(Pass::Done { note }) => {
                assert!(!tally.has_failed(), "{step}: {tally:?}");
                return StepOutcome {
                    note,
                    given_up: VolumeGivenUp::all(tally.given_up()),
                    ..StepOutcome::default()
                };
            }
            Ok(Pass::NotYet { .. } | Pass::Moves { .. } | Pass::Bound { .. })
            | Err(StepError::NotNow(_) | StepError::StoreAway(_)) => {
                assert!(Instant::now() < until, "{step} never ended");
                sleep(Duration::from_millis(300)).await;
            }
            Err(e @ (StepError::Lost | StepError::Failed { .. })) => panic!("{step}: {e}"),
        }
    }
}

/// As if it had crashed between each act and its record.
async fn each_step_twice(kind: Kind, servers: Servers) {
    let bench = Bench::prepared_with(kind, servers).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    let mut saga = Saga::replay(&plan, &[]).unwrap();
    loop {
        let event = match saga.next() {
            Next::Begin => Event::Begun,
            Next::Run {
                step,
                journalled: false,
            } => Event::StepBegun { step },
            Next::Run {
                step,
                journalled: true,
            } => {
                let step_now = &plan.steps[step].step;
                let first = to_its_end(&bench, &plan, step_now).await;
                let outcome = to_its_end(&bench, &plan, step_now).await;
                assert_eq!(first.given_up, outcome.given_up, "{step_now}");
                Event::StepDone { step, outcome }
            }
            Next::Finish { end } => Event::Ended { end },
            Next::Over => break,
            other @ (Next::Unwind { .. } | Next::Wait) => panic!("{other:?}"),
        };
        let ends = matches!(event, Event::Ended { .. });
        let free = Op::Delete {
            key: rekindle_common::keys::group_active_plan(&plan.group),
        };
        let record = Record {
            at: plan.at,
            by: "suite".to_owned(),
            event,
        };
        let with = if ends { vec![free] } else { vec![] };
        journal::append(&bench.hand.lead, &id, saga.records(), &record, with)
            .await
            .unwrap();
        saga.apply(&record.event).unwrap();
    }
    bench.assert_succeeded(&id).await;
}

/// The plan with a step that fails once, standing where the step `at` does (`before` it acts) or right behind it.
fn failing(mut plan: Plan, at: usize, before: bool) -> Plan {
    let original = plan.steps[at].clone();
    let fault = PlannedStep {
        step: Step::Fence {
            agent: "power".to_owned(),
            zone: plan.from.clone(),
        },
        deadline: Span::secs(30),
        unwind: original.unwind,
    };
    plan.steps.insert(if before { at } else { at + 1 }, fault);
    plan
}

async fn a_failure_at_each_step_of(kind: Kind, servers: Servers) {
    let steps = Bench::prepared_with(kind, servers).await.plan().await.steps;
    for (at, planned) in steps.iter().enumerate() {
        if !counts(servers, &planned.step) {
            continue;
        }
        one_failure(kind, servers, at, true).await;
        // A record is changed whole or not at all, and no deadline ends the step while it is not known which.
        if !matches!(planned.step, Step::RecordPrimary { .. }) {
            one_failure(kind, servers, at, false).await;
        }
    }
}

async fn one_failure(kind: Kind, servers: Servers, at: usize, before: bool) {
    let case = format!(
        "{kind:?}, step {at}, {}",
        if before { "before" } else { "after" }
    );
    let bench = Bench::prepared_with(kind, servers).await;
    let plan = failing(bench.plan().await, at, before);
    let id = bench.begin(&plan).await;
    // Of a fence plan the first order to the agent is the plan's own.
    let fault = at + usize::from(!before);
    let fence_first = plan.steps[..fault]
        .iter()
        .any(|s| matches!(s.step, Step::Fence { .. }));
    let over = if fence_first {
        let told = Arc::clone(&bench.rig.told);
        // Armed when the plan's own fence has passed.
        let arm = hook(move |_| {
            if told.all().iter().any(|(a, _)| *a == AgentAction::Fence) {
                let mut failures = told.failures.lock().unwrap();
                failures.entry("Fence".to_owned()).or_insert(1);
            }
            ControlFlow::Continue(())
        });
        bench.hand.work(&id, Some(arm)).await
    } else {
        bench.rig.told.fail(AgentAction::Fence, 1);
        bench.hand.work(&id, None).await
    };
    match over {
        // Something had been changed and cannot be put back: it waits, and goes on when it is told to.
        Over::Waiting { state, .. } => {
            assert!(
                matches!(&state, State::Stuck { undo: None, .. }),
                "{case}: {state:?}"
            );
            bench.assert_one_writer();
            bench.hand.term.retry(&id).await.unwrap();
            let over = bench.hand.work(&id, None).await;
            assert_eq!(
                over,
                Over::Ended {
                    end: End::Succeeded
                },
                "{case}"
            );
            bench.assert_succeeded(&id).await;
            if kind.is_planned() {
                assert!(past_promotion(&plan, fault), "{case}: it could be put back");
            }
        }
        Over::Ended { end } => {
            assert!(
                matches!(end, End::Abandoned | End::Unwound),
                "{case}: {end:?}"
            );
            let clean = !kind.is_planned() || !past_promotion(&plan, fault);
            assert!(clean, "{case}: ended as {end:?} after a promotion");
            assert_clean(&bench, &plan, &case, end, fault).await;
            // And nothing stands in the way of another try.
            bench.settle().await;
            if matches!(kind, Kind::FailoverVouched | Kind::RevokedVouched) {
                bench.vouch().await;
            }
            let again = bench.plan().await;
            let id = bench.begin(&again).await;
            let over = bench.hand.work(&id, None).await;
            assert_eq!(
                over,
                Over::Ended {
                    end: End::Succeeded
                },
                "{case}, again"
            );
        }
        other @ (Over::Lost | Over::Corrupted { .. } | Over::Halted { .. }) => {
            panic!("{case}: {other:?}")
        }
    }
    bench.assert_one_writer();
}

fn past_promotion(plan: &Plan, at: usize) -> bool {
    plan.steps[..at]
        .iter()
        .any(|s| matches!(s.step, Step::Promote { .. }))
}

/// The group is where it was; of a planned plan everything serves again.
async fn assert_clean(bench: &Bench, plan: &Plan, case: &str, end: End, fault: usize) {
    let (zone, generation) = bench.kind.start();
    if !bench.kind.is_planned() {
        return;
    }
    if end == End::Abandoned {
        // What is held in the zone that is not primary must not run in any case.
        let nothing = plan.steps[..fault]
            .iter()
            .all(|s| matches!(s.step, Step::RunHook { .. } | Step::HoldServers { .. }));
        assert!(nothing, "{case}: something had been done");
    }
    // A plan that had recorded the new primary needed another generation to go back.
    let store = bench.store();
    let kv = store
        .get(&rekindle_common::keys::group_primary(&common::group()))
        .await
        .unwrap()
        .unwrap();
    let primary: rekindle_common::lease::PrimaryRecord = kv.json().unwrap();
    assert_eq!(primary.zone, zone, "{case}");
    assert!(primary.generation >= generation, "{case}");
    bench.assert_at(&zone, primary.generation).await;
    bench.assert_servers_in(&zone);
    let runs = bench.rig.told.runs_in();
    assert!(runs.is_none() || runs == Some(zone), "{case}: {runs:?}");
}

fn hook(f: impl Fn(usize) -> ControlFlow<()> + Send + Sync + 'static) -> RecordHook {
    RecordHook(Arc::new(f))
}

/// The records of the plan's journal, when nothing goes wrong, behind which something is to be broken: by number.
async fn records_of(kind: Kind, servers: Servers) -> Vec<usize> {
    let bench = Bench::prepared_with(kind, servers).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    bench.hand.work(&id, None).await;
    let records = bench.records(&id).await;
    let of_step = |r: &Record| match &r.event {
        Event::StepBegun { step } | Event::StepDone { step, .. } => {
            counts(servers, &plan.steps[*step].step)
        }
        Event::Begun
        | Event::StepFailed { .. }
        | Event::UnwindBegun { .. }
        | Event::UnwindDone { .. }
        | Event::UnwindFailed { .. }
        | Event::Retried
        | Event::Ended { .. } => servers == Servers::None,
    };
    let which = records.iter().enumerate().filter(|(_, r)| of_step(r));
    let which: Vec<usize> = which.map(|(n, _)| n).collect();
    assert!(!which.is_empty(), "{kind:?}");
    which
}

async fn crash_after_each_record(kind: Kind, servers: Servers) {
    for n in records_of(kind, servers).await {
        let mut bench = Bench::prepared_with(kind, servers).await;
        let id = bench.begin(&bench.plan().await).await;
        let crash = hook(move |seq| {
            if seq == n {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(bench.hand.work(&id, Some(crash)).await, Over::Lost, "{n}");
        assert_eq!(bench.records(&id).await.len(), n + 1);
        bench.another_leads().await;
        let over = bench.hand.work(&id, None).await;
        assert_eq!(
            over,
            Over::Ended {
                end: End::Succeeded
            },
            "after record {n}: {:#?}",
            bench.records(&id).await
        );
        bench.assert_succeeded(&id).await;
        bench.assert_one_writer();
        assert_journal_has_two_authors(&bench, &id, n).await;
    }
}

async fn assert_journal_has_two_authors(bench: &Bench, id: &PlanId, n: usize) {
    let records = bench.records(id).await;
    let by: BTreeSet<&str> = records.iter().map(|r| r.by.as_str()).collect();
    let whole = n + 1 == records.len();
    assert_eq!(by.len(), if whole { 1 } else { 2 }, "{by:?}");
}

async fn lease_lost_at_each_record(kind: Kind, servers: Servers) {
    for n in records_of(kind, servers).await {
        let mut bench = Bench::prepared_with(kind, servers).await;
        let id = bench.begin(&bench.plan().await).await;
        let leaders_site = bench.rig.world.store("witness");
        let lost_at = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&lost_at);
        // From here on nothing of the leader's reaches etcd, and nothing comes back.
        let lose = hook(move |seq| {
            if seq == n {
                leaders_site.hang();
                *noted.lock().unwrap() = Some(Instant::now());
            }
            ControlFlow::Continue(())
        });
        let over = bench.hand.work(&id, Some(lose)).await;
        let stopped = Instant::now();
        let lost_at = lost_at.lock().unwrap().expect("the record was written");
        if n + 1 == bench.records(&id).await.len() && over != Over::Lost {
            // It was the last one: the plan had ended.
            assert!(matches!(over, Over::Ended { .. }), "{over:?}");
            continue;
        }
        assert_eq!(over, Over::Lost, "after record {n}");
        assert!(bench.hand.lead.check().is_err());
        // By its own clock, before another could lead.
        assert!(
            stopped - lost_at < Duration::from_secs(10),
            "after record {n}"
        );
        let ordered = calls(&bench);
        bench.another_leads().await;
        assert_eq!(
            calls(&bench),
            ordered,
            "an order was sent without the lease"
        );
        bench.rig.world.store("witness").heal();
        let over = bench.hand.work(&id, None).await;
        assert_eq!(
            over,
            Over::Ended {
                end: End::Succeeded
            },
            "after record {n}: {:#?}",
            bench.records(&id).await
        );
        bench.assert_succeeded(&id).await;
        bench.assert_one_writer();
    }
}

/// What was ordered of the clusters and the agents so far: all that changes an image's role, and all commands.
fn calls(bench: &Bench) -> usize {
    use rekindle_driver::backend::Op;
    let fabric = bench.rig.world.fabric();
    let changes = |calls: Vec<(Op, _)>| {
        let role = |op: &Op| matches!(op, Op::Promote | Op::ForcePromote | Op::Demote | Op::Resync);
        calls.iter().filter(|(op, _)| role(op)).count()
    };
    let novas = [zone_a(), zone_b()].into_iter();
    let to_novas = novas.filter_map(|z| Some(bench.rig.novas.get(&z)?.orders().len()));
    changes(fabric.a().calls())
        + changes(fabric.b().calls())
        + bench.rig.told.all().len()
        + to_novas.sum::<usize>()
}
