//! The end of a lease while actions are under way, and a batch that outlives its step.

use super::*;
use crate::backend::Op;
use tokio_util::sync::CancellationToken;

const BUDGET: Duration = Duration::from_secs(5);
/// With a timer's grain.
const IN_TIME: Duration = Duration::from_millis(5_100);

pub(super) async fn called(cluster: &Cluster, op: Op) {
    while !cluster.calls().iter().any(|(o, _)| *o == op) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The other zone waits for the margin, and not for what is under way here.
#[tokio::test(start_paused = true)]
async fn hard_case_06_an_action_in_flight_lets_nobody_write_after_the_leases_end() {
    let pair = Pair::replicated(1, periodic()).await;
    let a = pair.fabric.a();
    let writer = a.open(&spec(0)).await.unwrap();
    writer.write(1, vec![]).await.unwrap();
    a.slow(Op::MirrorSnapshot, Duration::from_secs(60));
    let mode = ReplicationMode::Periodic(Schedule {
        start: "2026-01-01T00:00:00Z".parse().unwrap(),
        interval: Span::secs(120),
    });
    let volumes = pair.a.clone();
    let running = tokio::spawn(async move { volumes.act(&spec(0), replicate(mode)).await });
    called(&a, Op::MirrorSnapshot).await;
    // Nor does the demotion itself go through at first.
    a.hang(Op::Demote);
    let end = Instant::now();
    let first = pair.a.demote_all(&group(), end + BUDGET).await;
    assert!(first.complete().is_err());
    assert!(end.elapsed() <= IN_TIME, "{:?}", end.elapsed());
    let refused = writer.write(2, vec![]).await.unwrap_err();
    assert_eq!(refused.errno, errno::ESHUTDOWN);
    a.release(Op::Demote);
    let again = Instant::now();
    let second = pair.a.demote_all(&group(), again + BUDGET).await;
    assert_eq!(second.complete(), Ok(()));
    assert!(again.elapsed() <= IN_TIME, "{:?}", again.elapsed());
    assert!(!a.is_primary(&spec(0)));
    // What was in flight ends by itself, and has changed nothing.
    running.await.unwrap().unwrap_err();
    pair.a.drain(Instant::now() + Duration::from_secs(90)).await;
    assert!(!a.is_primary(&spec(0)));
}

/// One that lands later makes the volume primary for a moment: it is not called demoted before that.
#[tokio::test(start_paused = true)]
async fn a_demotion_beside_a_promotion_does_not_say_that_the_volume_is_a_copy() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let demote = order(VolumeAction::Demote { token: None }, 1);
    pair.a.act(&spec(0), demote).await.unwrap();
    wait(&pair.b, &spec(0), VolumeStatus::PendingPromotion).await;
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    let b = pair.fabric.b();
    b.slow(Op::Promote, Duration::from_secs(20));
    let volumes = pair.b.clone();
    let running = tokio::spawn(async move { volumes.act(&spec(0), order(plain(), 2)).await });
    called(&b, Op::Promote).await;
    let leases = pair.b.leases();
    leases.give_up(&group(), Generation(2)).await.unwrap();
    let early = pair.b.demote_all(&group(), Instant::now() + BUDGET).await;
    assert_eq!(early.complete().unwrap_err().code, ErrorCode::Busy);
    assert_eq!(code(running.await.unwrap()), ErrorCode::LeaseNotHeld);
    assert!(!b.is_primary(&spec(0)));
    let late = pair.b.demote_all(&group(), Instant::now() + BUDGET).await;
    assert_eq!(late.complete(), Ok(()));
}

/// One placement group that hangs keeps the list from its end, and not the other volumes' clients from writing.
#[tokio::test(start_paused = true)]
async fn hard_case_60_a_list_that_does_not_come_keeps_no_known_volume_writable() {
    let pair = Pair::replicated(3, ReplicationMode::Instant).await;
    // As the lease's keeper looks, again and again.
    pair.a.listed(Instant::now() + BUDGET).await.unwrap();
    let a = pair.fabric.a();
    a.hang(Op::List);
    let end = Instant::now();
    let all = pair.a.demote_all(&group(), end + BUDGET).await;
    assert!(end.elapsed() <= IN_TIME, "{:?}", end.elapsed());
    assert_eq!((all.demoted.len(), all.failed), (3, vec![]));
    assert_eq!(all.unlisted.unwrap().code, ErrorCode::DeadlineExceeded);
    for i in 0..3 {
        assert!(!a.is_primary(&spec(i)), "{i}");
    }
}

/// What came to the group since it was listed last is demoted too, and what has left it is let be.
#[tokio::test(start_paused = true)]
async fn a_late_list_adds_to_what_was_known() {
    let pair = Pair::replicated(2, ReplicationMode::Instant).await;
    pair.a.listed(Instant::now() + BUDGET).await.unwrap();
    let a = pair.fabric.a();
    let new = spec(2);
    a.create_image(&new, 1 << 30);
    let replicated = pair.a.act(&new, replicate(ReplicationMode::Instant));
    replicated.await.unwrap();
    let leaves = Order {
        action: VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: None,
            leave_group: true,
            anew: false,
            cinder: None,
        },
        generation: None,
    };
    pair.a.act(&spec(0), leaves).await.unwrap();
    a.slow(Op::List, Duration::from_secs(3));
    let end = Instant::now();
    let all = pair.a.demote_all(&group(), end + BUDGET).await;
    assert_eq!(all.complete(), Ok(()));
    assert!(end.elapsed() < Duration::from_secs(4));
    let primary = [0, 1, 2].map(|i| a.is_primary(&spec(i)));
    assert_eq!(primary, [true, false, false]);
}

/// The zone holds the lease again: what is under way ends, and the rest keeps its servers.
#[tokio::test(start_paused = true)]
async fn a_group_s_demotion_that_is_void_begins_no_further_volume() {
    let pair = Pair::with(Limits {
        parallel: 1,
        ..Limits::default()
    });
    pair.fill(3, ReplicationMode::Instant).await;
    let a = pair.fabric.a();
    a.slow(Op::Demote, Duration::from_secs(1));
    let void = CancellationToken::new();
    let (name, end) = (group(), Instant::now() + BUDGET);
    let demotion = pair.a.demote_all_unless(&name, end, &void);
    let served = async {
        called(&a, Op::Demote).await;
        void.cancel();
    };
    let (all, ()) = tokio::join!(demotion, served);
    assert_eq!((all.demoted.len(), all.failed.len()), (1, 2));
    for (volume, error) in all.failed {
        assert_eq!(error.code, ErrorCode::StaleGeneration, "{error}");
        assert!(a.is_primary(&volume));
    }
}

/// Nobody can look at what a late promotion has done: whether it landed is not known, and without a lease it must not stand.
#[tokio::test(start_paused = true)]
async fn a_promotion_that_may_have_landed_after_the_lease_went_is_undone_though_it_failed() {
    for landed in [true, false] {
        let pair = Pair::replicated(1, ReplicationMode::Instant).await;
        pair.fabric.a().kill();
        pair.b.take_lease(&group(), Generation(2)).await.unwrap();
        let b = pair.fabric.b();
        b.hang(Op::ForcePromote);
        let volumes = pair.b.clone();
        let running = tokio::spawn(async move { volumes.act(&spec(0), order(forced(), 2)).await });
        called(&b, Op::ForcePromote).await;
        let leases = pair.b.leases();
        leases.give_up(&group(), Generation(2)).await.unwrap();
        if landed {
            // What it is noted with looks once, too.
            b.fail(Op::Look, None, errno::EIO, 2);
            b.release(Op::ForcePromote);
        } else {
            b.refuse();
        }
        let told = code(running.await.unwrap());
        if landed {
            assert_eq!(told, ErrorCode::LeaseNotHeld);
        } else {
            assert_eq!(told, ErrorCode::ClusterUnreachable, "what failed first");
        }
        assert!(!b.is_primary(&spec(0)));
    }
}

/// One slot, three slow demotions: a batch whose step has failed while the first is under way.
async fn demoting_slowly() -> (Pair, BatchStream) {
    let pair = Pair::with(Limits {
        parallel: 1,
        ..Limits::default()
    });
    pair.fill(3, ReplicationMode::Instant).await;
    pair.fabric.a().slow(Op::Demote, Duration::from_secs(2));
    let items = (0..3).map(|i| BatchItem {
        volume: spec(i),
        order: order(VolumeAction::Demote { token: None }, 1),
    });
    let request = BatchRequest {
        items: items.collect(),
    };
    let stream = pair.a.batch(request).unwrap();
    called(&pair.fabric.a(), Op::Demote).await;
    (pair, stream)
}

/// As the plan's unwinding does: each volume is promoted again, under the generation that it was demoted under. Those that wait
/// for their demotion are primary yet.
async fn promote_back(pair: &Pair) {
    for i in (0..3).rev() {
        while pair.a.act(&spec(i), order(plain(), 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_reader_is_gone_begins_no_demotion() {
    let (pair, stream) = demoting_slowly().await;
    drop(stream);
    promote_back(&pair).await;
    pair.a.drain(Instant::now() + Duration::from_secs(30)).await;
    for i in 0..3 {
        assert!(pair.fabric.a().is_primary(&spec(i)), "{i}");
    }
}

/// A leader that was paused, and another one that undoes its plan meanwhile.
#[tokio::test(start_paused = true)]
async fn hard_case_03_demotions_that_wait_are_void_once_the_lease_is_to_be_taken() {
    let (pair, stream) = demoting_slowly().await;
    pair.a.take_lease(&group(), Generation(1)).await.unwrap();
    promote_back(&pair).await;
    let mut void = 0;
    for line in lines(stream).await {
        match line.result {
            BatchResult::Ok { .. } => assert_eq!(line.volume, spec(0)),
            BatchResult::Failed { error } => {
                assert_eq!(error.code, ErrorCode::StaleGeneration, "{error}");
                void += 1;
            }
        }
    }
    assert_eq!(void, 2);
    for i in 0..3 {
        assert!(pair.fabric.a().is_primary(&spec(i)), "{i}");
    }
    // One that is ordered after it is meant.
    let demote = order(VolumeAction::Demote { token: None }, 1);
    let items = vec![BatchItem {
        volume: spec(1),
        order: demote,
    }];
    let all = lines(pair.a.batch(BatchRequest { items }).unwrap()).await;
    assert!(matches!(all[0].result, BatchResult::Ok { .. }), "{all:?}");
}

/// A demotion that outlives its try may land on an image that was taken for a primary meanwhile, under its writer.
#[tokio::test(start_paused = true)]
async fn nothing_is_already_so_while_a_late_demotion_may_land() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.fabric.a().hang(Op::Demote);
    let tried = pair.a.demote_all(&group(), Instant::now() + BUDGET).await;
    assert_eq!(tried.failed.len(), 1, "{tried:?}");
    let shown = pair.a.volume(&spec(0)).await.unwrap().in_flight;
    assert!(shown.is_some_and(|s| s.contains("overran")));
    // The lease is there again.
    let early = pair.a.act(&spec(0), order(plain(), 1)).await;
    assert_eq!(code(early), ErrorCode::Busy);
    // A further try is not barred by the first.
    let again = pair.a.demote_all(&group(), Instant::now() + BUDGET).await;
    assert_eq!(again.failed.len(), 1, "{again:?}");
    pair.fabric.a().release(Op::Demote);
    while pair.a.in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!pair.fabric.a().is_primary(&spec(0)));
}
