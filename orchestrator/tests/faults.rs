//! What goes wrong within a plan: single volumes, a corrupted journal, a stale leader.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{
    COUNT_IMAGES, Rig,
    bench::{Bench, COUNT, Kind},
    group, image, policy, well, zone_a, zone_b,
};
use rekindle_common::{
    ErrorCode, Generation, PlanId,
    action::{BatchItem, BatchRequest, BatchResult, Order, Promotion, VolumeAction},
    keys,
    lease::PrimaryRecord,
    status::VolumeStatus,
};
use rekindle_core::{
    decision::Request,
    detector::Diagnosis,
    saga::{End, State},
};
use rekindle_driver::backend::{Op, error::errno};
use rekindle_orchestrator::{agent::AgentAction, executor::Over, wire::Run};
use rekindle_store::{Op as StoreOp, Store, Txn};

#[tokio::test(start_paused = true)]
async fn hard_case_20_one_bad_volume_stops_no_other() {
    let bench = Bench::prepared(Kind::FailoverByLease).await;
    let b = bench.rig.world.fabric().b();
    b.fail(Op::ForcePromote, Some(&image(0)), errno::EIO, 1000);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    // Hard case 41: the plan says partial, and names the volume.
    assert_eq!(over, Over::Ended { end: End::Partial });
    assert_eq!(bench.rig.primaries(&zone_b()), COUNT - 1);
    assert!(!b.is_primary(&image(0)));
    let plan = rekindle_orchestrator::journal::read_plan(&bench.store(), &id)
        .await
        .unwrap();
    let records = bench.records(&id).await;
    let saga = rekindle_core::saga::Saga::replay(&plan, &records).unwrap();
    let failed = saga.failed();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].volume, image(0));
    assert!(failed[0].why.contains("storage_error"), "{}", failed[0].why);
    // The application was started without it.
    let orders = bench.rig.told.orders.lock().unwrap();
    let start = orders.last().unwrap();
    assert_eq!(start.zone, zone_b());
    assert!(!start.volumes.contains(&image(0)) && start.volumes.contains(&image(1)));
}

#[tokio::test(start_paused = true)]
async fn hard_case_41_a_failover_that_promotes_nothing_waits_and_goes_on_when_told() {
    let bench = Bench::prepared(Kind::FailoverByLease).await;
    let b = bench.rig.world.fabric().b();
    b.fail(Op::ForcePromote, None, errno::EIO, 1000);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    let Over::Waiting {
        state: State::Stuck { error, .. },
        ..
    } = over
    else {
        panic!("{over:?}")
    };
    assert!(error.contains("3 of 3 volumes failed"), "{error}");
    b.release(Op::ForcePromote);
    bench.hand.term.retry(&id).await.unwrap();
    let over = bench.hand.work(&id, None).await;
    assert_eq!(
        over,
        Over::Ended {
            end: End::Succeeded
        }
    );
    bench.assert_succeeded(&id).await;
    // What does not wait cannot be told to go on.
    let e = bench.hand.term.retry(&id).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Held);
}

/// A stuck plan bars every other of its group. A person can end it, and the next decision looks at things as they are.
#[tokio::test(start_paused = true)]
async fn a_stuck_plan_that_is_given_up_frees_its_group() {
    let bench = Bench::prepared(Kind::FailoverByLease).await;
    let b = bench.rig.world.fabric().b();
    b.fail(Op::ForcePromote, None, errno::EIO, 1000);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    assert!(matches!(over, Over::Waiting { .. }), "{over:?}");
    let active = keys::group_active_plan(&group());
    assert!(bench.store().get(&active).await.unwrap().is_some());

    bench.hand.term.give_up(&id).await.unwrap();
    assert_eq!(bench.store().get(&active).await.unwrap(), None);
    let end = End::GivenUp;
    assert_eq!(bench.hand.work(&id, None).await, Over::Ended { end });
    for again in [
        bench.hand.term.give_up(&id).await,
        bench.hand.term.retry(&id).await,
    ] {
        assert_eq!(again.unwrap_err().code, ErrorCode::Held);
    }
    // What it did stands: the record names zone-b.
    let key = keys::group_primary(&group());
    let record = bench.store().get(&key).await.unwrap().unwrap();
    let record = record.json::<PrimaryRecord>().unwrap();
    assert_eq!((record.zone, record.generation), (zone_b(), Generation(2)));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_cannot_demote_one_volume_puts_all_back() {
    let bench = Bench::prepared(Kind::Move).await;
    let a = bench.rig.world.fabric().a();
    a.fail(Op::Demote, Some(&image(1)), errno::EIO, 1000);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, Over::Ended { end: End::Unwound });
    bench.assert_at(&zone_a(), Generation(1)).await;
    assert_eq!(bench.rig.told.runs_in(), Some(zone_a()));
}

/// Nothing can be put back of it. That keeps no other from being put back, and no application down.
#[tokio::test(start_paused = true)]
async fn a_move_whose_volume_is_deleted_on_the_way_puts_all_others_back_and_names_it() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    let a = bench.rig.world.fabric().a();
    a.remove_image(&image(1));
    let over = bench.hand.work(&id, None).await;
    let records = bench.records(&id).await;
    assert_eq!(over, Over::Ended { end: End::Unwound }, "{records:#?}");
    let saga = rekindle_core::saga::Saga::replay(&plan, &records).unwrap();
    let named: Vec<_> = saga.failed().iter().map(|f| &f.volume).collect();
    assert_eq!(named, [&image(1)]);
    assert!(
        saga.failed()[0].why.contains("unknown_volume"),
        "{:?}",
        saga.failed()
    );
    assert_eq!(bench.rig.primaries(&zone_a()), COUNT - 1);
    let orders = bench.rig.told.orders.lock().unwrap();
    let start = orders.last().unwrap();
    assert_eq!((start.action, &start.zone), (AgentAction::Start, &zone_a()));
    assert_eq!(start.volumes, [image(0), image(2)]);
}

/// One that is there and cannot be put back is for a person, and is the one that is named.
#[tokio::test(start_paused = true)]
async fn a_move_is_not_put_back_while_a_volume_that_is_there_is_not() {
    let bench = Bench::prepared(Kind::Move).await;
    let id = bench.begin(&bench.plan().await).await;
    let a = bench.rig.world.fabric().a();
    a.remove_image(&image(1));
    a.fail(Op::Promote, Some(&image(2)), errno::EIO, 1000);
    let over = bench.hand.work(&id, None).await;
    let Over::Waiting {
        state: State::Stuck {
            undo: Some(_),
            error,
            ..
        },
        ..
    } = over
    else {
        panic!("{over:?}")
    };
    assert!(error.contains("2 of 3 volumes failed"), "{error}");
    assert!(error.contains(image(2).image()), "{error}");
    a.release(Op::Promote);
    bench.hand.term.retry(&id).await.unwrap();
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, Over::Ended { end: End::Unwound });
}

#[tokio::test(start_paused = true)]
async fn an_error_that_passes_is_tried_again_within_the_step() {
    let bench = Bench::prepared(Kind::Move).await;
    let a = bench.rig.world.fabric().a();
    a.fail(Op::Demote, Some(&image(1)), errno::ETIMEDOUT, 2);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(
        over,
        Over::Ended {
            end: End::Succeeded
        },
        "{:#?}",
        bench.records(&id).await
    );
}

async fn put(store: &Store, key: &str, value: &[u8]) {
    let op = StoreOp::Put {
        key: key.to_owned(),
        value: value.to_vec(),
        lease: None,
    };
    store.txn(Txn::new().then(op)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_corrupted_journal_is_named_and_nothing_is_done_on_it() {
    type Spoil = fn(&PlanId) -> (String, Option<&'static [u8]>);
    let spoils: [(&str, Spoil); 4] = [
        ("cut off", |p| {
            (keys::plan_journal_record(p, 1), Some(b"{\"at\":"))
        }),
        ("an event out of order", |p| {
            let record = br#"{"at":"2026-01-01T00:00:00Z","by":"x","event":{"event":"step_done","step":5,"outcome":{"note":""}}}"#;
            (keys::plan_journal_record(p, 1), Some(record))
        }),
        ("a record missing", |p| {
            (keys::plan_journal_record(p, 0), None)
        }),
        ("the plan itself", |p| (keys::plan(p), Some(b"[]"))),
    ];
    for (what, spoil) in spoils {
        let mut bench = Bench::prepared(Kind::Move).await;
        let id = bench.begin(&bench.plan().await).await;
        let stop = rekindle_orchestrator::executor::RecordHook(std::sync::Arc::new(|seq| {
            if seq == 1 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        }));
        bench.hand.work(&id, Some(stop)).await;
        let store = bench.store();
        let (key, value) = spoil(&id);
        match value {
            Some(v) => put(&store, &key, v).await,
            None => {
                let op = StoreOp::Delete { key: key.clone() };
                store.txn(Txn::new().then(op)).await.unwrap();
            }
        }
        bench.another_leads().await;
        let orders = bench.rig.told.all().len();
        let over = bench.hand.work(&id, None).await;
        let Over::Corrupted { problem } = over else {
            panic!("{what}: {over:?}")
        };
        assert_eq!(problem.code, ErrorCode::CorruptRecord, "{what}");
        assert!(problem.about.contains(id.as_str()), "{what}: {problem}");
        assert_eq!(bench.rig.told.all().len(), orders, "{what}: it acted");
        assert_eq!(bench.rig.primaries(&zone_a()), COUNT, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_corrupted_journal_shows_in_the_status_and_holds_its_group_alone() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    // A plan that waits for a person.
    rig.world
        .fabric()
        .b()
        .fail(Op::Promote, None, errno::EIO, 1_000_000);
    rig.told
        .fail(rekindle_orchestrator::agent::AgentAction::Start, 1_000);
    let to = Request::Move { to: zone_b() };
    let id = common::eventually("the move begins", || async {
        let answer = rig
            .client()
            .plan_for(&group(), to.clone(), Run::Begin)
            .await;
        answer.ok().map(|a| a.plan.id)
    })
    .await;
    rig.until("it waits", |g| {
        g.active_plan
            .as_ref()
            .is_some_and(|p| matches!(p.state, Some(State::Stuck { .. })))
    })
    .await;
    let store = Store::from(rig.world.store("witness"));
    put(&store, &keys::plan_journal_record(&id, 0), b"null").await;
    let leader = rig.status().await.leader.unwrap().site;
    rig.world.kill_orchestrator(&leader);
    let g = rig
        .until("the new leader says so", |g| {
            g.problems
                .iter()
                .any(|p| p.code == ErrorCode::CorruptRecord)
        })
        .await;
    assert!(g.active_plan.unwrap().text.contains("corrupted"));
    let e = rig.client().retry(&id).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::CorruptRecord);
}

#[tokio::test(start_paused = true)]
async fn hard_case_11_a_stale_leaders_order_is_refused_where_the_data_is() {
    let bench = Bench::prepared(Kind::Move).await;
    let id = bench.begin(&bench.plan().await).await;
    bench.hand.work(&id, None).await;
    bench.assert_succeeded(&id).await;
    // Generation 1 was before the move. Whoever still believes in it is refused by either zone: by the new one's record of the
    // generation, by the old one's for want of the lease.
    let refused = |zone, action| {
        let sidecar = bench.rig.world.volumes(&zone).unwrap();
        async move {
            let order = Order {
                action,
                generation: Some(Generation(1)),
            };
            let items = vec![BatchItem {
                volume: image(0),
                order,
            }];
            let mut lines = sidecar.batch(BatchRequest { items }).unwrap();
            match lines.recv().await.unwrap().result {
                BatchResult::Failed { error } => error.code,
                BatchResult::Ok { outcome } => panic!("{zone} took it: {outcome:?}"),
            }
        }
    };
    let forced = VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "a stale leader".to_owned(),
            accept_torn: false,
        },
    };
    assert_eq!(
        refused(zone_b(), VolumeAction::Demote { token: None }).await,
        ErrorCode::StaleGeneration
    );
    for zone in [zone_a(), zone_b()] {
        let code = refused(zone, forced.clone()).await;
        assert!(
            matches!(code, ErrorCode::StaleGeneration | ErrorCode::LeaseNotHeld),
            "{code}"
        );
    }
    bench.assert_at(&zone_b(), Generation(2)).await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_08_one_plan_at_a_time_for_a_group() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    let world = bench.hand.term.look().await.unwrap();
    let records = &world.groups[&group()];
    bench.begin(&plan).await;
    let mut second = plan.clone();
    second.id = PlanId::new("another").unwrap();
    let e = rekindle_orchestrator::decide::begin(
        &bench.hand.lead,
        records,
        &second,
        rekindle_orchestrator::decide::Begun::ByHand,
    )
    .await
    .unwrap_err();
    assert!(e.to_string().contains(plan.id.as_str()), "{e}");
    let stored = bench.store().get(&keys::plan(&second.id)).await.unwrap();
    assert_eq!(stored, None, "half of it was written");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_begins_a_plan_once() {
    let bench = Bench::prepared(Kind::Move).await;
    let plan = bench.plan().await;
    bench.rig.world.store("witness").lose_answers(1);
    let id = bench.begin(&plan).await;
    // And each record of its journal is written once, whatever answers are lost.
    let leaders = bench.rig.world.store("witness");
    let lose = rekindle_orchestrator::executor::RecordHook(std::sync::Arc::new(move |_| {
        leaders.lose_answers(1);
        std::ops::ControlFlow::Continue(())
    }));
    let over = bench.hand.work(&id, Some(lose)).await;
    assert_eq!(
        over,
        Over::Ended {
            end: End::Succeeded
        }
    );
    bench.assert_succeeded(&id).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_etcd_halts_a_plan_and_it_goes_on_when_there_is_room() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    let to = Request::Move { to: zone_b() };
    common::eventually("the move begins", || async {
        rig.client()
            .plan_for(&group(), to.clone(), Run::Begin)
            .await
            .ok()
    })
    .await;
    rig.world.store("witness").set_full(true);
    rig.until("the status says so", |g| {
        g.problems.iter().any(|p| p.code == ErrorCode::StorageFull)
    })
    .await;
    rig.world.store("witness").set_full(false);
    rig.until("it went on", |g| {
        well(g, COUNT_IMAGES) && g.primary.as_ref().is_some_and(|p| p.zone == zone_b())
    })
    .await;
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    let report = sidecar.volume(&image(0)).await.unwrap();
    assert_ne!(report.status, VolumeStatus::ActivePrimary);
}

/// What may pass is tried again, less and less often, until the step's deadline; what will not pass is asked once.
#[tokio::test(start_paused = true)]
async fn a_promotion_is_tried_again_for_errors_that_pass_and_for_no_other() {
    let bench = Bench::prepared(Kind::FailoverByLease).await;
    let b = bench.rig.world.fabric().b();
    b.fail(Op::ForcePromote, Some(&image(0)), errno::ETIMEDOUT, 4);
    b.fail(
        Op::ForcePromote,
        Some(&image(1)),
        errno::ETIMEDOUT,
        1_000_000,
    );
    b.fail(Op::ForcePromote, Some(&image(2)), errno::EIO, 1_000_000);
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, Over::Ended { end: End::Partial });
    assert!(b.is_primary(&image(0)), "it passed after four");
    let tries = |n| {
        let calls = b.calls().into_iter();
        let of = |(op, v): &(Op, _)| *op == Op::ForcePromote && *v == Some(image(n));
        calls.filter(of).count()
    };
    assert_eq!(tries(0), 5);
    assert_eq!(tries(2), 1, "it was not to be tried again");
    // Ten minutes at five seconds, not at half a second.
    assert!((60..=140).contains(&tries(1)), "{}", tries(1));
    let plan = rekindle_orchestrator::journal::read_plan(&bench.store(), &id)
        .await
        .unwrap();
    let records = bench.records(&id).await;
    let saga = rekindle_core::saga::Saga::replay(&plan, &records).unwrap();
    let why = |n| {
        let failed = saga.failed().iter().find(|f| f.volume == image(n));
        failed.unwrap().why.clone()
    };
    assert!(why(1).contains("not within 10m"), "{}", why(1));
    assert!(why(2).contains("storage_error"), "{}", why(2));
}

/// The list of what the primary held is in etcd: a leader that never saw it alive names what a failover leaves behind.
#[tokio::test(start_paused = true)]
async fn hard_case_33_a_new_leader_names_the_volume_that_only_the_dead_primary_had() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    // In the group, and its image is not made in zone-b: its daemon is dead.
    rig.world.fabric().b().daemon().kill();
    let alone = image(COUNT_IMAGES);
    rig.world.fabric().a().create_image(&alone, 1 << 30);
    let order = Order {
        action: VolumeAction::Replicate {
            mode: rekindle_common::mode::ReplicationMode::Instant,
            group: Some(group()),
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: Some(Generation(1)),
    };
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    sidecar.act(&alone, order).await.unwrap();
    let g = rig
        .until("the status lists it", |g| !g.alone.is_empty())
        .await;
    assert_eq!(g.alone[0].volume, alone);
    assert!(g.alone[0].why.contains("in zone-a alone"), "{:?}", g.alone);
    let store = Store::from(rig.world.store("witness"));
    common::eventually("the list is written down", || async {
        let kv = store.get(&keys::group_volumes(&group())).await.unwrap()?;
        let seen = kv.json::<rekindle_core::alone::SeenVolumes>().unwrap();
        seen.volumes.contains(&alone).then_some(())
    })
    .await;
    let leader = rig.status().await.leader.unwrap().site;
    rig.world.kill_zone(&zone_a());
    if leader != common::site(&zone_a()) {
        rig.world.stop_orchestrator(&leader).await;
        rig.world.start_orchestrator(&leader);
    }
    rig.until("zone-b has taken over", |g| {
        g.active_plan.is_none() && g.primary.as_ref().is_some_and(|p| p.zone == zone_b())
    })
    .await;
    let id = rig.client().plans(Some(&group()), 1).await.unwrap()[0]
        .id
        .clone();
    let detail = rig.client().plan(&id).await.unwrap();
    assert_eq!(detail.state, Some(State::Ended { end: End::Partial }));
    let left: Vec<_> = detail.plan.left_out.iter().map(|l| &l.volume).collect();
    assert_eq!(left, [&alone]);
}

/// Its copy in zone-b still names the group, for zone-b hears of nothing: a failover that took it would make a second writer.
#[tokio::test(start_paused = true)]
async fn a_volume_that_left_its_group_is_not_promoted_beside_its_original() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.until("all is well", |g| well(g, COUNT_IMAGES)).await;
    let left = image(0);
    let store = Store::from(rig.world.store("witness"));
    let seen = || async {
        let kv = store.get(&keys::group_volumes(&group())).await.unwrap()?;
        Some(kv.json::<rekindle_core::alone::SeenVolumes>().unwrap())
    };
    common::eventually("it was seen in the group", || async {
        seen().await?.volumes.contains(&left).then_some(())
    })
    .await;
    rig.world.fabric().b().daemon().kill();
    let order = Order {
        action: VolumeAction::Unreplicate,
        generation: Some(Generation(1)),
    };
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    sidecar.act(&left, order).await.unwrap();
    common::eventually("it was seen to leave", || async {
        seen().await?.left.contains(&left).then_some(())
    })
    .await;
    let leader = rig.status().await.leader.unwrap().site;
    rig.world.kill_zone(&zone_a());
    if leader != common::site(&zone_a()) {
        rig.world.stop_orchestrator(&leader).await;
        rig.world.start_orchestrator(&leader);
    }
    rig.until("zone-b has taken over", |g| {
        g.active_plan.is_none() && g.primary.as_ref().is_some_and(|p| p.zone == zone_b())
    })
    .await;
    let b = rig.world.fabric().b();
    assert!(!b.is_primary(&left) && b.is_primary(&image(1)));
    let plans = rig.client().plans(Some(&group()), 1).await.unwrap();
    let detail = rig.client().plan(&plans[0].id).await.unwrap();
    let named: Vec<_> = detail.plan.left_out.iter().map(|l| &l.volume).collect();
    assert_eq!(named, [&left]);
}

/// It is decided, and then its zone is back and serves: a record that is refused has changed nothing, so the plan ends, and bars no other.
#[tokio::test(start_paused = true)]
async fn hard_case_31_a_failover_whose_zone_is_back_before_the_record_is_abandoned() {
    for kind in [Kind::FailoverVouched, Kind::FailoverByLease] {
        let mut bench = Bench::prepared(kind).await;
        let id = bench.begin(&bench.plan().await).await;
        bench.rig.start_zone(&zone_a());
        bench.until_diagnosed(|d| *d == Diagnosis::Healthy).await;
        let over = bench.hand.work(&id, None).await;
        let end = End::Abandoned;
        assert_eq!(over, Over::Ended { end }, "{kind:?}");
        bench.assert_at(&zone_a(), Generation(1)).await;
        assert_eq!(bench.rig.primaries(&zone_b()), 0, "{kind:?}");
    }
}
