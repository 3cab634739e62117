//! A zone's Ceph dies and its sidecar lives: what takes the lease from it, and what does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{
    COUNT_IMAGES, Rig,
    bench::{Bench, Kind},
    eventually, group,
    pass::fresh_pass,
    policy, well, zone_a, zone_b,
};
use rekindle_common::{
    Generation, ZoneName, keys,
    lease::{LeaseRecord, LeaseView, PrimaryRecord},
    policy::{GroupPolicy, IsolationResponse},
};
use rekindle_core::{
    decision::{Ask, Decision, Hold},
    detector::Diagnosis,
    plan::{Plan, PlanKind, Step},
    saga::Left,
    snapshot::{Approved, LossAccepted, Vouch},
};
use rekindle_orchestrator::{
    agent::AgentAction,
    steps::{Pass, StepError},
    wire::{ApproveRequest, GroupStatus},
};
use std::time::Duration;
use tokio::time::sleep;

fn fenced() -> GroupPolicy {
    GroupPolicy {
        fence_agent: Some("power".to_owned()),
        ..policy()
    }
}

/// It is primary there under that generation, and no plan is at work.
fn is_in(g: &GroupStatus, zone: &ZoneName, generation: u64) -> bool {
    g.active_plan.is_none()
        && g.primary
            .as_ref()
            .is_some_and(|p| p.zone == *zone && p.generation == Generation(generation))
}

fn asks_for_a_word(g: &GroupStatus) -> bool {
    matches!(
        g.decision.as_ref().map(|d| &d.decision),
        Some(Decision::AskOperator {
            why: Ask::LeaseOfALostCeph { .. }
        })
    )
}

/// The Ceph is back: what was primary there is demoted, and the group protected, with no process started anew.
async fn comes_back(rig: &Rig) {
    assert_eq!(
        rig.primaries(&zone_a()),
        COUNT_IMAGES,
        "a dead cluster's images are as they were"
    );
    rig.world.fabric().a().start();
    eventually("the old primaries are demoted", || async {
        (rig.primaries(&zone_a()) == 0).then_some(())
    })
    .await;
    rig.until("it is protected again", |g| {
        well(g, COUNT_IMAGES) && is_in(g, &zone_b(), 2)
    })
    .await;
    let plans = rig.client().plans(Some(&group()), 20).await.unwrap();
    assert!(plans.iter().any(|p| p.kind == PlanKind::Reprotect));
}

#[tokio::test(start_paused = true)]
async fn hard_case_60_a_group_whose_ceph_alone_is_lost_fails_over_by_itself_behind_a_fence() {
    let rig = Rig::with(COUNT_IMAGES, fenced()).await;
    rig.world.fabric().a().kill();
    rig.until("zone-b has taken over", |g| is_in(g, &zone_b(), 2))
        .await;
    assert_eq!(rig.primaries(&zone_b()), COUNT_IMAGES);
    let told = rig.told.all();
    let fence = told
        .iter()
        .position(|t| *t == (AgentAction::Fence, zone_a()));
    let start = told
        .iter()
        .position(|t| *t == (AgentAction::Start, zone_b()));
    assert!(fence.is_some() && fence < start, "{told:?}");
    // The zone's sidecar has seen what happened, and puts no key back.
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    eventually("zone-a does not hold the lease", || async {
        let view = sidecar.leases().view(&group());
        (view == LeaseView::NotHeld).then_some(())
    })
    .await;
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        let g = rig.group().await.unwrap();
        assert!(is_in(&g, &zone_b(), 2), "{:?}", g.primary);
        let lease = read::<LeaseRecord>(&rig, &keys::group_lease(&group())).await;
        assert_eq!(lease.zone, zone_b());
    }
    comes_back(&rig).await;
}

async fn read<T: serde::de::DeserializeOwned>(rig: &Rig, key: &str) -> T {
    let store = rekindle_store::Store::from(rig.world.store("reader"));
    store.get(key).await.unwrap().unwrap().json().unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_a_fence_agent_a_persons_word_is_asked_for_and_is_enough() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.fabric().a().kill();
    rig.until("it asks", asks_for_a_word).await;
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        let g = rig.group().await.unwrap();
        assert!(
            is_in(&g, &zone_a(), 1) && asks_for_a_word(&g),
            "{:?}",
            g.decision
        );
    }
    let word = ApproveRequest {
        what: Approved::Failover {
            vouch: Vouch::CannotWrite,
            loss: LossAccepted::WithinLimit,
        },
        by: "ann".to_owned(),
        generation: None,
    };
    rig.client().approve(&group(), &word).await.unwrap();
    rig.until("zone-b has taken over", |g| is_in(g, &zone_b(), 2))
        .await;
    comes_back(&rig).await;
}

/// A word that nothing came of is about the outage that it was given in. Weeks later only the sidecar's host is started anew: its lease
/// ends, its Ceph lives and its servers write.
#[tokio::test(start_paused = true)]
async fn hard_case_31_a_word_that_nothing_came_of_is_gone_when_all_is_well_again() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.fabric().a().kill();
    rig.until("it asks", asks_for_a_word).await;
    // The zone that would take over is not there.
    rig.world.kill_zone(&zone_b());
    let vouched = Approved::Failover {
        vouch: Vouch::CannotWrite,
        loss: LossAccepted::Any,
    };
    let word = ApproveRequest {
        what: vouched,
        by: "ann".to_owned(),
        generation: None,
    };
    rig.client().approve(&group(), &word).await.unwrap();
    rig.until("it cannot take over", |g| {
        let text = g.decision.as_ref().map_or("", |d| d.text.as_str());
        text.contains("zone-b cannot take over") && g.approval.is_some()
    })
    .await;
    rig.world.fabric().a().start();
    rig.world.start_zone(&zone_b());
    let g = rig.until("all is well", |g| well(g, COUNT_IMAGES)).await;
    assert!(is_in(&g, &zone_a(), 1));
    rig.until("the word is gone", |g| g.approval.is_none())
        .await;

    rig.world.kill_sidecar(&zone_a());
    let lost_nothing = |g: &GroupStatus| {
        let why = g.decision.as_ref().map(|d| &d.decision);
        let held = matches!(
            why,
            Some(Decision::Hold {
                why: Hold::NotLost { .. }
            })
        );
        let gone = matches!(g.lease, rekindle_core::snapshot::LeaseSight::Gone { seen_gone_for } if seen_gone_for.get() > Duration::from_secs(30));
        held && gone
    };
    let g = rig.until("its lease is long gone", lost_nothing).await;
    assert!(is_in(&g, &zone_a(), 1), "{:?}", g.decision);
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);
    assert_eq!(rig.primaries(&zone_b()), 0);
}

/// An agent that cannot confirm it: nothing is changed, and the zone goes on where it was once its Ceph is back.
#[tokio::test(start_paused = true)]
async fn a_fence_that_fails_leaves_the_zone_its_lease() {
    a_fence_fails(None).await;
}

/// A word that is about something else makes no plan a person's: it waits as long before it is tried again.
#[tokio::test(start_paused = true)]
async fn a_word_on_the_way_home_does_not_hurry_a_failover_that_comes_to_nothing() {
    a_fence_fails(Some(Approved::Failback)).await;
}

async fn a_fence_fails(word: Option<Approved>) {
    let rig = Rig::with(COUNT_IMAGES, fenced()).await;
    if let Some(what) = word {
        let word = ApproveRequest {
            what,
            by: "ann".to_owned(),
            generation: None,
        };
        rig.client().approve(&group(), &word).await.unwrap();
    }
    rig.told.fail(AgentAction::Fence, u32::MAX);
    rig.world.fabric().a().kill();
    eventually("a failover is tried", || async {
        let plans = rig.client().plans(Some(&group()), 20).await.ok()?;
        plans
            .iter()
            .any(|p| p.kind == PlanKind::Failover)
            .then_some(())
    })
    .await;
    rig.until("it waits before it tries again", |g| {
        g.decision.as_ref().is_some_and(|d| {
            let why = matches!(
                &d.decision,
                Decision::Hold {
                    why: Hold::TryingAgain { .. }
                }
            );
            why && d.text.contains("came to nothing")
        })
    })
    .await;
    sleep(Duration::from_secs(60)).await;
    // After 10 s, after 20 more, and not again for 40.
    let plans = rig.client().plans(Some(&group()), 20).await.unwrap();
    let tried = plans
        .iter()
        .filter(|p| p.kind == PlanKind::Failover)
        .count();
    assert!((2..=4).contains(&tried), "{tried} failovers in a minute");
    let lease = read::<LeaseRecord>(&rig, &keys::group_lease(&group())).await;
    assert_eq!((lease.zone, lease.generation), (zone_a(), Generation(1)));
    rig.world.fabric().a().start();
    rig.until("it goes on", |g| {
        well(g, COUNT_IMAGES) && is_in(g, &zone_a(), 1)
    })
    .await;
    assert_eq!(rig.primaries(&zone_b()), 0);
}

async fn once(bench: &Bench, plan: &Plan, step: &Step) -> Result<Pass, StepError> {
    fresh_pass(bench, plan, step, &[]).await.0
}

fn record(plan: &Plan) -> &Step {
    let found = plan
        .steps
        .iter()
        .find(|s| matches!(s.step, Step::RecordPrimary { .. }));
    &found.unwrap().step
}

fn fences(bench: &Bench) -> usize {
    let told = bench.rig.told.all();
    told.iter()
        .filter(|(a, _)| *a == AgentAction::Fence)
        .count()
}

/// Whoever leads now may not know how old a fence is that its journal calls done.
#[tokio::test(start_paused = true)]
async fn a_fence_that_this_leader_did_not_see_confirmed_is_asked_for_again() {
    let mut bench = Bench::prepared(Kind::RevokedByFence).await;
    let plan = bench.plan().await;
    bench.begin(&plan).await;
    assert!(matches!(
        once(&bench, &plan, &plan.steps[0].step).await,
        Ok(Pass::Done { .. })
    ));
    assert_eq!(fences(&bench), 1);
    bench.another_leads().await;
    bench
        .until_diagnosed(|d| matches!(d, Diagnosis::StorageLost { .. }))
        .await;
    // It does not confirm it: nothing is recorded, and nothing has to be put back.
    bench.rig.told.fail(AgentAction::Fence, 1);
    match once(&bench, &plan, record(&plan)).await {
        Err(StepError::Failed {
            left: Left::Nothing,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let store = bench.store();
    let key = keys::group_primary(&group());
    let primary: PrimaryRecord = store.get(&key).await.unwrap().unwrap().json().unwrap();
    assert_eq!(primary.zone, zone_a());
    // It is bound at first, as if it had promised.
    eventually("it is recorded", || async {
        let pass = once(&bench, &plan, record(&plan)).await;
        matches!(pass, Ok(Pass::Done { .. })).then_some(())
    })
    .await;
    assert!(fences(&bench) >= 2, "it was not asked again");
    // And one of a minute ago counts, an older one does not.
    let primary: PrimaryRecord = store.get(&key).await.unwrap().unwrap().json().unwrap();
    assert_eq!(
        (primary.zone, primary.generation),
        (zone_b(), Generation(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_fence_is_taken_for_granted_for_a_minute() {
    let bench = Bench::prepared(Kind::RevokedByFence).await;
    let plan = bench.plan().await;
    once(&bench, &plan, &plan.steps[0].step).await.unwrap();
    sleep(Duration::from_secs(50)).await;
    // A lease of another zone's: refused before anything is asked.
    let other = Step::RecordPrimary {
        zone: zone_a(),
        generation: Generation(2),
        replaces: Generation(1),
        lease: rekindle_core::plan::OldLease::Revoked { from: zone_b() },
    };
    match once(&bench, &plan, &other).await {
        Err(StepError::Failed {
            why,
            left: Left::Nothing,
        }) => {
            assert!(why.contains("zone-a holds the lease"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fences(&bench), 1);
    sleep(Duration::from_secs(11)).await;
    once(&bench, &plan, record(&plan)).await.unwrap();
    assert_eq!(fences(&bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_has_its_ceph_again_keeps_its_lease() {
    for kind in [Kind::RevokedByFence, Kind::RevokedVouched] {
        let bench = Bench::prepared(kind).await;
        let plan = bench.plan().await;
        bench.begin(&plan).await;
        bench.rig.world.fabric().a().start();
        bench
            .until_diagnosed(|d| matches!(d, Diagnosis::Healthy))
            .await;
        match once(&bench, &plan, record(&plan)).await {
            Err(StepError::Failed {
                why,
                left: Left::Nothing,
            }) => assert!(why.contains("its Ceph answers"), "{why}"),
            other => panic!("{kind:?}: {other:?}"),
        }
        let key = keys::group_lease(&group());
        let lease: LeaseRecord = bench
            .store()
            .get(&key)
            .await
            .unwrap()
            .unwrap()
            .json()
            .unwrap();
        assert_eq!((lease.zone, lease.generation), (zone_a(), Generation(1)));
    }
}

/// Nothing but a proof from outside does: a plan that has none is a fault of ours, or an old one.
#[tokio::test(start_paused = true)]
async fn a_lease_is_not_taken_without_a_proof_from_outside() {
    let bench = Bench::prepared(Kind::RevokedByFence).await;
    let mut plan = bench.plan().await;
    plan.proof = Some(rekindle_core::plan::Proof::LeaseExpired {
        margin: policy().lease.margin,
    });
    match once(&bench, &plan, record(&plan)).await {
        Err(StepError::Failed {
            why,
            left: Left::Nothing,
        }) => assert!(why.contains("nothing proves"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// It is in its own policy that nothing is demoted: that is no hindrance to a proof from outside.
#[tokio::test(start_paused = true)]
async fn what_an_isolated_zone_would_do_is_of_no_account_here() {
    let keep = GroupPolicy {
        isolation_response: IsolationResponse::Keep,
        ..fenced()
    };
    let rig = Rig::with(COUNT_IMAGES, keep).await;
    rig.world.fabric().a().kill();
    rig.until("zone-b has taken over", |g| is_in(g, &zone_b(), 2))
        .await;
}
