//! Single steps against what must stop them. That each may be run twice is in `plans.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{
    bench::{Bench, Kind},
    group, image,
    pass::fresh_pass,
    policy, zone_a, zone_b,
};
use rekindle_common::{
    Generation, ImageSpec, ZoneName, duration::Span, keys, lease::LeaseRecord,
    policy::IsolationResponse, zone::FailsafeQuestion,
};
use rekindle_core::{
    plan::{OldLease, Plan, Step},
    saga::Left,
    snapshot::GroupState,
};
use rekindle_orchestrator::steps::{Pass, StepError, Tally};
use rekindle_store::{Op, Txn};
use std::time::Duration;

async fn once(bench: &Bench, plan: &Plan, step: &Step) -> Result<Pass, StepError> {
    with_failed(bench, plan, step, &[]).await
}

async fn with_failed(
    bench: &Bench,
    plan: &Plan,
    step: &Step,
    failed: &[ImageSpec],
) -> Result<Pass, StepError> {
    fresh_pass(bench, plan, step, failed).await.0
}

/// One pass with a fresh tally, and the tally after it.
async fn pass(bench: &Bench, plan: &Plan, step: &Step) -> (Result<Pass, StepError>, Tally) {
    fresh_pass(bench, plan, step, &[]).await
}

fn refused(result: Result<Pass, StepError>) -> String {
    match result {
        Err(StepError::Failed {
            why,
            left: Left::Nothing,
        }) => why,
        other => panic!("{other:?}"),
    }
}

fn record(generation: u64, replaces: u64) -> Step {
    Step::RecordPrimary {
        zone: zone_b(),
        generation: Generation(generation),
        replaces: Generation(replaces),
        lease: OldLease::Gone,
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_05_a_primary_is_recorded_only_where_the_lease_is_gone_and_the_record_is_as_read()
{
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    // The leader has just started, and is bound as if it had promised.
    assert!(matches!(
        once(&bench, &plan, &record(2, 1)).await,
        Ok(Pass::Bound { .. })
    ));
    tokio::time::sleep(policy().lease.promise().get()).await;
    // Zone-a holds its lease.
    match once(&bench, &plan, &record(2, 1)).await {
        Err(StepError::NotNow(why)) => assert!(why.contains("lease is held"), "{why}"),
        other => panic!("{other:?}"),
    }
    // A plan that was made for another generation.
    let why = refused(once(&bench, &plan, &record(8, 7)).await);
    assert!(why.contains("generation 1"), "{why}");
    bench.assert_at(&zone_a(), Generation(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_was_given_meanwhile_binds_the_record() {
    let bench = Bench::prepared(Kind::FailoverByLease).await;
    let plan = bench.plan().await;
    // The leader's own site is cut from etcd for a moment, and an isolated zone asks it.
    let store = bench.rig.world.store("witness");
    store.partition();
    let question = FailsafeQuestion {
        group: group(),
        zone: zone_a(),
        generation: Generation(1),
    };
    let tools = &bench.hand.means().tools;
    tools.failsafe.answer(&question).await.unwrap();
    store.heal();
    match once(&bench, &plan, &record(2, 1)).await {
        Ok(Pass::Bound { left }) => assert_eq!(left, policy().lease.promise()),
        other => panic!("{other:?}"),
    }
    // Passes as the executor makes them, each of which also looks at the lease.
    let promised = tokio::time::Instant::now() + policy().lease.promise().get();
    loop {
        match once(&bench, &plan, &record(2, 1)).await {
            Ok(Pass::Done { .. }) => break,
            Ok(Pass::Bound { .. }) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(tokio::time::Instant::now() >= promised);
    // It has recorded another: it vouches for zone-a no more.
    store.partition();
    let answer = tools.failsafe.answer(&question).await.unwrap();
    assert!(
        matches!(
            answer,
            rekindle_common::zone::FailsafeAnswer::NotYours { .. }
        ),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_configured_is_named_and_nothing_was_changed() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let nowhere = ZoneName::new("zone-x").unwrap();
    let cases = [
        (
            Step::Fence {
                agent: "hammer".to_owned(),
                zone: zone_a(),
            },
            "hammer",
        ),
        (
            Step::StopApplication {
                application: "bank".to_owned(),
                zone: zone_a(),
                volumes: vec![],
                generation: Generation(1),
            },
            "bank",
        ),
        (
            Step::Demote {
                zone: nowhere.clone(),
                volumes: vec![image(0)],
                generation: Generation(1),
                token: None,
            },
            "zone-x",
        ),
        (
            Step::TakeLease {
                zone: nowhere,
                generation: Generation(2),
            },
            "zone-x",
        ),
    ];
    for (step, word) in cases {
        let why = refused(once(&bench, &plan, &step).await);
        assert!(why.contains(word), "{step}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_has_not_ended() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let step = Step::AwaitLeaseEnd {
        zone: zone_a(),
        generation: Generation(1),
        margin: Span::secs(0),
    };
    match once(&bench, &plan, &step).await {
        Ok(Pass::NotYet { note }) => assert!(note.contains("still renews"), "{note}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_not_given_back_while_an_image_is_primary() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let step = Step::ReleaseLease {
        zone: zone_a(),
        generation: Generation(1),
    };
    assert!(matches!(
        once(&bench, &plan, &step).await,
        Err(StepError::NotNow(_))
    ));
    bench.assert_at(&zone_a(), Generation(1)).await;
}

fn not_now(result: Result<Pass, StepError>) -> String {
    match result {
        Err(StepError::NotNow(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A second sidecar of that zone holds the lease. No order reaches it.
async fn held_beside(bench: &Bench, zone: ZoneName, generation: u64) {
    let lease = LeaseRecord {
        zone,
        generation: Generation(generation),
        holder: "second/1".to_owned(),
        isolation_response: IsolationResponse::Demote,
        ttl: policy().lease.ttl,
    };
    let put = Op::put_json(keys::group_lease(&group()), &lease, None).unwrap();
    bench.store().txn(Txn::new().then(put)).await.unwrap();
}

/// The demotion is the proof, for that zone's lease of that generation and for no other; and it is looked at once more.
#[tokio::test(start_paused = true)]
async fn hard_case_05_a_lease_goes_with_the_record_only_from_a_zone_that_is_demoted() {
    let bench = Bench::prepared(Kind::Move).await;
    let mut plan = bench.plan().await;
    let step = |plan: &Plan, name: &str| {
        let mut steps = plan.steps.iter();
        steps.find(|s| s.step.name() == name).unwrap().step.clone()
    };
    let [demote, release, record] =
        ["demote", "release_lease", "record_primary"].map(|name| step(&plan, name));
    tokio::time::sleep(policy().lease.promise().get()).await;
    let why = not_now(once(&bench, &plan, &record).await);
    assert!(why.contains("is primary here"), "{why}");
    bench.assert_at(&zone_a(), Generation(1)).await;

    assert!(matches!(
        once(&bench, &plan, &demote).await,
        Ok(Pass::Done { .. })
    ));
    assert!(matches!(
        once(&bench, &plan, &release).await,
        Ok(Pass::Done { .. })
    ));
    for (zone, generation) in [(zone_a(), 7), (zone_b(), 1)] {
        held_beside(&bench, zone, generation).await;
        let why = not_now(once(&bench, &plan, &record).await);
        assert!(why.contains("lease is held"), "{why}");
    }
    held_beside(&bench, zone_a(), 1).await;
    match once(&bench, &plan, &release).await {
        Ok(Pass::Done { note }) => assert!(note.contains("goes with the record"), "{note}"),
        other => panic!("{other:?}"),
    }
    match once(&bench, &plan, &record).await {
        Ok(Pass::Done { note }) => assert!(note.contains("is taken away"), "{note}"),
        other => panic!("{other:?}"),
    }
    let lease = bench.store().get(&keys::group_lease(&group())).await;
    assert_eq!(lease.unwrap(), None);

    // A plan whose record takes nothing along waits for the lease to be gone.
    held_beside(&bench, zone_a(), 1).await;
    plan.steps.retain(|s| s.step != record);
    assert!(matches!(
        once(&bench, &plan, &release).await,
        Ok(Pass::NotYet { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn volumes_without_a_copy_keep_a_group_unprotected() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let state = || async {
        let key = keys::group_state(&group());
        let kv = bench.store().get(&key).await.unwrap().unwrap();
        kv.json::<GroupState>().unwrap()
    };
    with_failed(&bench, &plan, &Step::MarkProtected, &[image(1)])
        .await
        .unwrap();
    let unprotected = state().await.unprotected.expect("one volume has no copy");
    assert!(unprotected.why.contains("volume-1"), "{}", unprotected.why);
    once(&bench, &plan, &Step::MarkProtected).await.unwrap();
    assert_eq!(state().await.unprotected, None);
}

/// Seen on real Ceph: of two copies one showed only after the plan was made that it had diverged, and the plan waited for it for a
/// day.
#[tokio::test(start_paused = true)]
async fn a_copy_that_diverged_is_not_waited_for_unless_this_plan_resyncs_it() {
    use rekindle_driver::backend::{Access, Backend, Deadlines, Force};
    let bench = Bench::prepared(Kind::Move).await;
    let mut plan = bench.plan().await;
    let b = Backend::Memory(bench.rig.world.fabric().b().clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let session = b.open(&image(0), Access::Write, deadline).await.unwrap();
    let d = Deadlines::strict(deadline);
    session.promote(Force::Yes, d).await.unwrap();
    session.demote(None, d).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;

    let volumes = bench.rig.volumes.clone();
    let step = Step::AwaitReplay {
        zone: zone_b(),
        volumes: volumes.clone(),
    };
    let (pass, tally) = pass(&bench, &plan, &step).await;
    assert!(matches!(pass, Ok(Pass::Done { .. })), "{pass:?}");
    let failed: Vec<&ImageSpec> = tally.failed().keys().collect();
    assert_eq!(failed, [&image(0)]);
    assert_eq!(tally.progress(), (volumes.len() - 1, volumes.len()));

    plan.steps.push(rekindle_core::plan::PlannedStep {
        step: Step::Resync {
            zone: zone_b(),
            volumes: vec![image(0)],
            token: rekindle_common::ResyncToken::from_plan(&plan.id),
            safety: rekindle_common::action::SafetyCopy::Discard,
            generation: Generation(1),
        },
        deadline: Span::secs(60),
        unwind: Vec::new(),
    });
    let (pass, tally) = self::pass(&bench, &plan, &step).await;
    assert!(matches!(pass, Ok(Pass::NotYet { .. })), "{pass:?}");
    assert_eq!(tally.open(), [image(0)]);
}

/// A hundred gigabytes are not copied in the ten minutes that orders have.
#[tokio::test(start_paused = true)]
async fn hard_case_16_a_resync_waits_for_its_safety_copies_while_they_get_on() {
    use rekindle_core::{plan::PlannedStep, saga::End};
    use rekindle_driver::backend::{Access, Backend, Deadlines, Force, Op};
    use rekindle_orchestrator::executor::Over;
    let bench = Bench::prepared(Kind::Move).await;
    let mut plan = bench.plan().await;
    let cluster = bench.rig.world.fabric().b().clone();
    let b = Backend::Memory(cluster.clone());
    let volumes = bench.rig.volumes.clone();
    for v in &volumes {
        let d = Deadlines::strict(tokio::time::Instant::now() + Duration::from_secs(60));
        let session = b.open(v, Access::Write, d.answer).await.unwrap();
        session.promote(Force::Yes, d).await.unwrap();
        session.demote(None, d).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let deadline = Span::secs(60);
    cluster.slow(Op::Copy, deadline.get() * 5);
    plan.steps = vec![PlannedStep {
        step: Step::Resync {
            zone: zone_b(),
            volumes,
            token: rekindle_common::ResyncToken::from_plan(&plan.id),
            safety: rekindle_common::action::SafetyCopy::Keep,
            generation: Generation(1),
        },
        deadline,
        unwind: Vec::new(),
    }];
    let begun = tokio::time::Instant::now();
    let plan = bench.begin(&plan).await;
    let over = bench.hand.work(&plan, None).await;
    assert!(begun.elapsed() > deadline.get() * 5);
    assert!(
        matches!(
            over,
            Over::Ended {
                end: End::Succeeded
            }
        ),
        "{over:?}"
    );
}
