//! Hooks, and pauses that wait for a person.

use super::{assert_well, bench, ended, hooks_failed, refused, run};
use crate::common::{
    bench::{Bench, Kind},
    eventually, group,
    nova::{Verb, key},
    zone_a, zone_b,
};
use rekindle_common::{ApiError, ErrorCode, Generation, PlanId, keys};
use rekindle_core::{
    decision::Request,
    plan::Step,
    saga::{End, Event, State},
};
use rekindle_orchestrator::{agent::AgentAction, wire::PauseRequest};
use rekindle_store::{Op as StoreOp, Txn};
use std::{sync::Arc, time::Duration};

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_before_a_plan_ends_it_and_nothing_was_touched() {
    for kind in [Kind::FailoverByLease, Kind::Move] {
        let bench = bench(kind).await;
        bench.rig.told.fail(AgentAction::Before, 1);
        let calls = |z| bench.rig.nova(&z).calls();
        let before = (calls(zone_a()), calls(zone_b()));
        let (id, over) = run(&bench).await;
        assert_eq!(over, ended(End::Abandoned), "{kind:?}");
        assert_eq!((calls(zone_a()), calls(zone_b())), before, "{kind:?}");
        let kv = bench.store().get(&keys::group_primary(&group())).await;
        let record: rekindle_common::lease::PrimaryRecord = kv.unwrap().unwrap().json().unwrap();
        assert_eq!((record.zone, record.generation), (zone_a(), Generation(1)));
        assert_eq!(bench.rig.primaries(&zone_a()), 3, "{kind:?}");
        let records = bench.records(&id).await;
        assert_eq!(records.len(), 4, "{records:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_a_plan_is_told_and_changes_nothing() {
    let bench = bench(Kind::FailoverByLease).await;
    bench.rig.told.fail(AgentAction::After, 1);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Succeeded));
    let told = bench.records(&id).await.into_iter().any(|r| {
        matches!(r.event, Event::StepDone { outcome, .. } if outcome.note.starts_with("FAILED, and nothing hangs on it"))
    });
    assert!(told, "{:#?}", bench.records(&id).await);
    // The plan is over, and it is still to be seen.
    let left = hooks_failed(&bench).await.unwrap();
    assert_eq!(left.plan, id);
    assert_eq!(left.hooks[0].hook, "close-ticket");
    assert!(left.hooks[0].why.contains("told to fail"), "{left:?}");
    // Run again and well: there is nothing to see any more.
    let again = bench.begin(&bench.plan_for(&Request::Resume).await).await;
    let over = bench.hand.work(&again, None).await;
    assert_well(&bench, &again, over).await;
    assert_eq!(hooks_failed(&bench).await, None);
}

/// What was seen to fail is acknowledged together with its failover.
#[tokio::test(start_paused = true)]
async fn a_failed_hook_rests_with_its_acknowledged_failover() {
    let bench = bench(Kind::FailoverByLease).await;
    bench.rig.told.fail(AgentAction::After, 1);
    run(&bench).await;
    assert!(hooks_failed(&bench).await.is_some());
    bench.hand.term.acknowledge(&group(), "ann").await.unwrap();
    assert_eq!(hooks_failed(&bench).await, None);
}

/// What a hook reads says for which plan it is called, what that does, and what was not helped.
#[tokio::test(start_paused = true)]
async fn hooks_are_told_what_the_plan_does_and_what_it_could_not_help() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.fails(Verb::Start, "db", refused("no valid host"), u32::MAX);
    let (id, _) = run(&bench).await;
    let orders = bench.rig.told.orders.lock().unwrap();
    let of = |action| orders.iter().rev().find(|o| o.action == action).unwrap();
    let before = of(AgentAction::Before);
    assert_eq!((&before.plan, &before.zone), (&id, &zone_b()));
    let about = before.runbook.as_ref().unwrap();
    assert_eq!((&about.from, &about.to), (&zone_a(), &zone_b()));
    assert!(about.failed_servers.is_empty());
    let after = of(AgentAction::After).runbook.as_ref().unwrap();
    assert_eq!(after.failed_servers, [key("db")]);
}

/// Why that yes ends no pause.
async fn no_pause_ends(bench: &Bench, id: &PlanId, yes: &PauseRequest) -> ApiError {
    let term = &bench.hand.term;
    term.approve_pause(id, yes).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_a_yes_to_that_plan_and_that_level_and_outlives_its_leader() {
    let mut bench = bench(Kind::FailoverByLease).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    // The suite's own yes is taken back.
    let forget = StoreOp::Delete {
        key: keys::plan_approval(&id, 1),
    };
    bench.store().txn(Txn::new().then(forget)).await.unwrap();
    let pause = plan
        .steps
        .iter()
        .position(|s| matches!(s.step, Step::Pause { .. }))
        .unwrap();
    let early = PauseRequest {
        level: 1,
        by: "ann".to_owned(),
    };
    let e = no_pause_ends(&bench, &id, &early).await;
    assert_eq!(e.code, ErrorCode::Held, "before it pauses: {e}");

    let b = Arc::clone(&bench.rig.novas[&zone_b()]);
    for _ in 0..2 {
        let waits = async {
            eventually("it pauses", || async {
                (bench.state(&id).await == State::Running { step: pause }).then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_secs(120)).await;
        };
        tokio::select! {
            over = bench.hand.work(&id, None) => panic!("it did not wait: {over:?}"),
            () = waits => {}
        }
        assert_eq!(b.serving(), ["db"], "the next level was started");
        bench.another_leads().await;
    }
    let other = PauseRequest {
        level: 0,
        ..early.clone()
    };
    let e = no_pause_ends(&bench, &id, &other).await;
    assert_eq!(e.code, ErrorCode::Held, "{e}");
    let nobody = PauseRequest {
        by: " ".to_owned(),
        ..early.clone()
    };
    let e = no_pause_ends(&bench, &id, &nobody).await;
    assert_eq!(e.code, ErrorCode::InvalidField, "{e}");
    bench.hand.term.approve_pause(&id, &early).await.unwrap();
    bench.another_leads().await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, ended(End::Succeeded));
    bench.assert_succeeded(&id).await;
    let e = no_pause_ends(&bench, &id, &early).await;
    assert_eq!(e.code, ErrorCode::Held, "after its end: {e}");
}
