//! Plans that wait for a zone while it is lost: they make way for the failover, by themselves (hard cases 10 and 59).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{COUNT_IMAGES, Rig, eventually, group, policy, well, zone_a, zone_b};
use rekindle_common::{
    ErrorCode, Generation, GroupName, PlanId, ZoneName,
    action::{Order, VolumeAction},
    duration::Span,
    keys,
    mode::ReplicationMode,
    policy::{GroupPolicy, GroupSpec},
    runbook::{Level, Runbook},
    status::VolumeStatus,
};
use rekindle_core::{
    decision::Request,
    plan::PlanKind,
    saga::{End, Event, State},
    snapshot::LeaseSight,
};
use rekindle_orchestrator::{
    agent::AgentAction,
    wire::{GroupStatus, PlanSummary, Run},
};
use rekindle_store::Store;
use std::time::Duration;
use tokio::time::Instant;

/// Far less than the deadline of any step that waits: 30 minutes for a demotion, 24 hours for a resync.
const SOON: u64 = 120;

/// The group is served from there and no plan is at work.
fn served_from(g: &GroupStatus, zone: &ZoneName) -> bool {
    g.primary.as_ref().is_some_and(|p| p.zone == *zone) && g.active_plan.is_none()
}
/// The step at work is this one, or the plan is stuck in it.
fn at_work_on(g: &GroupStatus, name: &str) -> bool {
    let progress = g.active_plan.as_ref().and_then(|p| p.progress.as_ref());
    progress.is_some_and(|p| p.name == name)
}
async fn move_to_b(rig: &Rig) -> PlanId {
    let to = Request::Move { to: zone_b() };
    eventually("the move begins", || async {
        let client = rig.client();
        let answer = client.plan_for(&group(), to.clone(), Run::Begin).await;
        answer.ok().map(|a| a.plan.id)
    })
    .await
}
async fn ended_as(rig: &Rig, plan: &PlanId) -> End {
    match rig.client().plan(plan).await.unwrap().state {
        Some(State::Ended { end }) => end,
        other => panic!("{other:?}"),
    }
}
async fn newest(rig: &Rig) -> PlanSummary {
    let plans = rig.client().plans(Some(&group()), 1).await.unwrap();
    plans.into_iter().next().unwrap()
}
fn unblocked() -> GroupPolicy {
    GroupPolicy {
        blocking_period: Span::secs(0),
        ..policy()
    }
}

/// Before the first promotion: what the move did cannot be put back without the lost zone.
#[tokio::test(start_paused = true)]
async fn hard_case_10_a_move_that_waits_for_a_demotion_does_not_bar_the_failover() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.fabric().link().cut();
    let plan = move_to_b(&rig).await;
    rig.until("it waits for the demotion", |g| {
        at_work_on(g, "await_demotion_replayed")
    })
    .await;
    let killed = Instant::now();
    rig.world.kill_zone(&zone_a());
    rig.until("zone-b has taken over", |g| served_from(g, &zone_b()))
        .await;
    assert!(killed.elapsed().as_secs() < SOON, "{:?}", killed.elapsed());
    assert_eq!(ended_as(&rig, &plan).await, End::Overtaken);
    assert_eq!(newest(&rig).await.kind, PlanKind::Failover);
    assert_eq!(rig.primaries(&zone_b()), COUNT_IMAGES);
    assert_eq!(rig.told.runs_in(), Some(zone_b()));
    // Its journal says what it waited for.
    let journal = rig.client().plan(&plan).await.unwrap().journal;
    let says = journal.iter().any(
        |r| matches!(&r.event, Event::StepFailed { error, .. } if error.contains("zone-a is lost")),
    );
    assert!(says, "{journal:#?}");
}

/// The same, with the zone that was to take over lost: the move is put back at once, and not after half an hour.
#[tokio::test(start_paused = true)]
async fn hard_case_15_a_move_to_a_zone_that_is_lost_meanwhile_is_put_back() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.fabric().link().cut();
    let plan = move_to_b(&rig).await;
    rig.until("it waits for the demotion", |g| {
        at_work_on(g, "await_demotion_replayed")
    })
    .await;
    let killed = Instant::now();
    rig.world.kill_zone(&zone_b());
    let g = rig
        .until("it is back in zone-a", |g| served_from(g, &zone_a()))
        .await;
    assert!(killed.elapsed().as_secs() < SOON, "{:?}", killed.elapsed());
    assert_eq!(ended_as(&rig, &plan).await, End::Unwound);
    assert_eq!(g.primary.unwrap().generation, Generation(1));
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);
    assert_eq!(rig.told.runs_in(), Some(zone_a()));
}

/// Behind the promotion: the new primary is lost while the move waits for the old one to become its copy.
#[tokio::test(start_paused = true)]
async fn hard_case_59_a_move_that_waits_for_the_copies_does_not_bar_the_failover_back() {
    let mut rig = Rig::with(COUNT_IMAGES, unblocked()).await;
    // Zone-b follows by its own daemon; zone-a's, which is to follow in the end, is dead.
    rig.world.fabric().a().daemon().kill();
    let plan = move_to_b(&rig).await;
    rig.until("zone-a's copies are waited for", |g| {
        at_work_on(g, "await_replay")
    })
    .await;
    let killed = Instant::now();
    rig.world.kill_zone(&zone_b());
    rig.until("zone-a has taken over", |g| served_from(g, &zone_a()))
        .await;
    assert!(killed.elapsed().as_secs() < SOON, "{:?}", killed.elapsed());
    assert_eq!(ended_as(&rig, &plan).await, End::Partial);
    assert_eq!(newest(&rig).await.kind, PlanKind::Failover);
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);
}

#[tokio::test(start_paused = true)]
async fn hard_case_59_a_reprotect_that_waits_does_not_bar_the_failover_back() {
    let mut rig = Rig::with(COUNT_IMAGES, unblocked()).await;
    rig.world.kill_zone(&zone_a());
    rig.until("zone-b has taken over", |g| served_from(g, &zone_b()))
        .await;
    rig.world.start_zone(&zone_a());
    rig.until("zone-a's copies are waited for", |g| {
        if at_work_on(g, "resync") {
            rig.world.fabric().a().daemon().kill();
        }
        at_work_on(g, "await_replay")
    })
    .await;
    let reprotect = newest(&rig).await;
    assert_eq!(reprotect.kind, PlanKind::Reprotect);
    let killed = Instant::now();
    rig.world.kill_zone(&zone_b());
    // Zone-a's copies were being made anew: there is nothing to go on with there, and the record must not name it.
    let g = rig
        .until("it asks", |g| {
            let text = g.decision.as_ref().map_or("", |d| d.text.as_str());
            text.contains("no volume can be promoted")
        })
        .await;
    assert!(killed.elapsed().as_secs() < SOON, "{:?}", killed.elapsed());
    assert_eq!(ended_as(&rig, &reprotect.id).await, End::Partial);
    assert!(served_from(&g, &zone_b()), "hard case 24");
    assert!(g.unprotected.is_some(), "hard case 56");
}

/// A plan that was stuck before the loss waits for nobody any more.
#[tokio::test(start_paused = true)]
async fn hard_case_59_a_stuck_move_makes_way_when_the_primary_is_lost() {
    let mut rig = Rig::with(COUNT_IMAGES, unblocked()).await;
    rig.told.fail(AgentAction::Start, 1);
    let plan = move_to_b(&rig).await;
    rig.until("it is stuck", |g| {
        let state = g.active_plan.as_ref().and_then(|p| p.state.clone());
        matches!(state, Some(State::Stuck { .. }))
    })
    .await;
    // As long as both zones are there it is a person's.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.group().await.unwrap().active_plan.is_some());
    eventually("zone-a's copies follow", || async {
        let g = rig.group().await?;
        let a = g.volumes.into_iter().find(|v| v.zone == zone_a())?;
        (a.counts.get(&VolumeStatus::ActiveSecondary) == Some(&3)).then_some(())
    })
    .await;
    rig.world.kill_zone(&zone_b());
    rig.until("zone-a has taken over", |g| served_from(g, &zone_a()))
        .await;
    assert_eq!(ended_as(&rig, &plan).await, End::Overtaken);
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);
    assert_eq!(rig.told.runs_in(), Some(zone_a()));
}

/// Nothing is to be failed over then, and nothing is waited for: the plan ends, the status shouts, and what comes back is seen.
#[tokio::test(start_paused = true)]
async fn hard_case_56_copies_in_a_lost_zone_are_not_waited_for_and_the_group_is_unprotected() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    // Zone-b follows by its own daemon; zone-a's, which is to follow in the end, is dead.
    rig.world.fabric().a().daemon().kill();
    let plan = move_to_b(&rig).await;
    rig.until("zone-a's copies are waited for", |g| {
        at_work_on(g, "await_replay")
    })
    .await;
    rig.world.kill_zone(&zone_a());
    let g = rig
        .until("the plan has ended", |g| g.active_plan.is_none())
        .await;
    assert_eq!(ended_as(&rig, &plan).await, End::Partial);
    assert!(g.unprotected.is_some());
    assert!(served_from(&g, &zone_b()));
    rig.world.start_zone(&zone_a());
    rig.world.fabric().a().daemon().start();
    rig.until("it is protected again", |g| {
        well(g, COUNT_IMAGES) && served_from(g, &zone_b())
    })
    .await;
}

/// The group is served from there again, by whatever plan.
fn serves(rig: &Rig, g: &GroupStatus, zone: &ZoneName) -> bool {
    let lease = match &g.lease {
        LeaseSight::Held(l) => l.zone == *zone,
        LeaseSight::Gone { .. } => false,
    };
    lease && rig.primaries(zone) == COUNT_IMAGES && rig.told.runs_in() == Some(zone.clone())
}
async fn until_demoted(rig: &Rig, zone: &ZoneName) {
    eventually("it has demoted itself", || async {
        (rig.primaries(zone) == 0).then_some(())
    })
    .await;
}

/// The primary itself has no etcd for a moment, and demotes, as it should. The plan that waits for copies of it must not bar its way back.
#[tokio::test(start_paused = true)]
async fn hard_case_10_a_plan_that_waits_for_copies_does_not_bar_its_own_primarys_resume() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    // Zone-b follows by its own daemon; zone-a's, which is to follow in the end, is dead.
    rig.world.fabric().a().daemon().kill();
    let plan = move_to_b(&rig).await;
    rig.until("zone-a's copies are waited for", |g| {
        at_work_on(g, "await_replay")
    })
    .await;
    // Everybody sees zone-b well all along.
    rig.world.store("zone-b").partition();
    until_demoted(&rig, &zone_b()).await;
    let back = Instant::now();
    rig.world.store("zone-b").heal();
    rig.until("zone-b serves again", |g| serves(&rig, g, &zone_b()))
        .await;
    assert!(back.elapsed().as_secs() < 60, "{:?}", back.elapsed());
    assert_eq!(ended_as(&rig, &plan).await, End::Partial);
    assert_eq!(newest(&rig).await.kind, PlanKind::Resume);
    rig.world.fabric().a().daemon().start();
    rig.until("it is protected again", |g| {
        well(g, COUNT_IMAGES) && served_from(g, &zone_b())
    })
    .await;
}

fn paused() -> Runbook {
    Runbook {
        levels: vec![Level {
            pause: Some("look at the database".to_owned()),
            servers: Vec::new(),
        }],
        ..Runbook::default()
    }
}
async fn with_a_pause() -> Rig {
    let rig = Rig::with(COUNT_IMAGES, unblocked()).await;
    let spec = GroupSpec {
        runbook: paused(),
        ..rig.spec(unblocked())
    };
    rig.client().put_group(&spec).await.unwrap();
    rig
}

/// A failover too makes way behind its promotion: what is left of it the resume does, and that pauses again.
#[tokio::test(start_paused = true)]
async fn hard_case_10_a_failover_that_pauses_does_not_bar_its_own_primarys_resume() {
    let mut rig = with_a_pause().await;
    rig.world.kill_zone(&zone_a());
    rig.until("it pauses", |g| at_work_on(g, "pause")).await;
    let failover = newest(&rig).await;
    assert_eq!(failover.kind, PlanKind::Failover);
    rig.world.store("zone-b").partition();
    until_demoted(&rig, &zone_b()).await;
    rig.world.store("zone-b").heal();
    let g = rig
        .until("the resume pauses", |g| {
            let resume = g.active_plan.as_ref().is_some_and(|p| p.id != failover.id);
            resume && at_work_on(g, "pause")
        })
        .await;
    assert_eq!(rig.primaries(&zone_b()), COUNT_IMAGES);
    assert_eq!(ended_as(&rig, &failover.id).await, End::Overtaken);
    assert_eq!(newest(&rig).await.kind, PlanKind::Resume);
    // A person who does not want to wait for the pause ends the plan, and its executor with it.
    let plan = g.active_plan.unwrap().id;
    rig.client().give_up(&plan).await.unwrap();
    assert_eq!(ended_as(&rig, &plan).await, End::GivenUp);
    let e = rig.client().give_up(&plan).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Held);
    rig.world.start_zone(&zone_a());
    rig.until("zone-a's old primaries are seen to", |g| {
        well(g, COUNT_IMAGES) && served_from(g, &zone_b())
    })
    .await;
}

/// As many plans as may be at work wait for a person: the next group's volumes are promoted all the same.
#[tokio::test(start_paused = true)]
async fn a_plan_that_waits_for_a_person_bars_no_other_groups_failover() {
    let mut rig = Rig::bare_at_once(2, 1);
    let names = ["db", "shop"].map(|g| GroupName::new(g).unwrap());
    for (name, volume) in names.iter().zip(&rig.volumes) {
        let spec = GroupSpec {
            name: name.clone(),
            runbook: paused(),
            ..rig.spec(unblocked())
        };
        let generation = eventually("it is defined", || async {
            let put = rig.client().put_group(&spec).await.ok()?;
            Some(put.primary.generation)
        })
        .await;
        let order = Order {
            action: VolumeAction::Replicate {
                mode: ReplicationMode::Instant,
                group: Some(name.clone()),
                leave_group: false,
                anew: false,
                cinder: None,
            },
            generation: Some(generation),
        };
        let sidecar = rig.world.volumes(&zone_a()).unwrap();
        sidecar.act(volume, order).await.unwrap();
    }
    let is = |name: &GroupName, so: fn(&GroupStatus) -> bool| {
        let (client, name) = (rig.client(), name.clone());
        async move { client.group(&name).await.ok().filter(so) }
    };
    for name in &names {
        eventually("it is well", || is(name, |g| well(g, 1))).await;
    }
    eventually("their leases are remembered", || async {
        let store = Store::from(rig.world.store("witness"));
        for name in &names {
            store.get(&keys::group_state(name)).await.unwrap()?;
        }
        Some(())
    })
    .await;
    rig.world.kill_zone(&zone_a());
    for name in &names {
        let client = rig.client();
        eventually("it pauses", || async {
            let g = client.group(name).await.ok()?;
            at_work_on(&g, "pause").then_some(())
        })
        .await;
    }
    assert_eq!(rig.primaries(&zone_b()), 2);
}
