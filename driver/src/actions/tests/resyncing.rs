//! Resyncs that wait: each destroys a copy, and must be meant still when it is begun.

use super::{
    lease_ends::called,
    lost::{diverged, diverged_with},
    *,
};

/// One slot, three resyncs: a batch that still waits while the first is under way.
async fn resyncing_slowly() -> (Pair, BatchStream) {
    let pair = diverged_with(
        3,
        Limits {
            parallel: 1,
            ..Limits::default()
        },
    )
    .await;
    pair.fabric.a().slow(Op::Resync, Duration::from_secs(2));
    let items = (0..3).map(|i| BatchItem {
        volume: spec(i),
        order: order(resync("t"), 2),
    });
    let request = BatchRequest {
        items: items.collect(),
    };
    let stream = pair.a.batch(request).unwrap();
    called(&pair.fabric.a(), Op::Resync).await;
    (pair, stream)
}

fn resyncs(pair: &Pair) -> usize {
    let calls = pair.fabric.a().calls();
    calls.iter().filter(|(op, _)| *op == Op::Resync).count()
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_reader_is_gone_begins_no_resync() {
    let (pair, stream) = resyncing_slowly().await;
    drop(stream);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((pair.a.in_flight(), resyncs(&pair)), (0, 1));
}

/// Another leader makes the zone the primary's, under a newer generation or, undoing a move, under the same.
#[tokio::test(start_paused = true)]
async fn hard_case_03_resyncs_that_wait_are_void_once_the_lease_is_to_be_taken() {
    for generation in [2, 3] {
        let (pair, stream) = resyncing_slowly().await;
        let newer = Generation(generation);
        pair.a.take_lease(&group(), newer).await.unwrap();
        for line in lines(stream).await {
            match line.result {
                BatchResult::Ok { .. } => assert_eq!(line.volume, spec(0)),
                BatchResult::Failed { error } => {
                    assert_eq!(error.code, ErrorCode::StaleGeneration, "{error}");
                }
            }
        }
        assert_eq!(resyncs(&pair), 1, "{generation}");
    }
}

/// The lease is taken by another sidecar of the zone, or a newer order came to it: that is known by the zone's record alone.
#[tokio::test(start_paused = true)]
async fn hard_case_04_each_resync_of_a_batch_looks_at_the_zones_generation() {
    let (pair, stream) = resyncing_slowly().await;
    let peer = zone(&pair.fabric.a(), Limits::default());
    peer.take_lease(&group(), Generation(3)).await.unwrap();
    let all = lines(stream).await;
    let refused = all.iter().filter(|line| match &line.result {
        BatchResult::Ok { .. } => false,
        BatchResult::Failed { error } => error.code == ErrorCode::StaleGeneration,
    });
    assert_eq!((refused.count(), resyncs(&pair)), (2, 1), "{all:?}");
}

/// Measuring and copying what is given up may take for longer than a zone waits for a failover.
#[tokio::test(start_paused = true)]
async fn hard_case_04_a_resync_looks_at_the_generation_again_behind_its_safety_copy() {
    let pair = diverged(1).await;
    pair.fabric.a().slow(Op::Copy, Duration::from_secs(1));
    let volume = spec(0);
    let peer = zone(&pair.fabric.a(), Limits::default());
    let newer = async {
        called(&pair.fabric.a(), Op::Copy).await;
        peer.take_lease(&group(), Generation(3)).await.unwrap();
    };
    let resync = pair.a.act(&volume, order(resync("t"), 2));
    let (refused, ()) = tokio::join!(resync, newer);
    assert_eq!(code(refused), ErrorCode::StaleGeneration);
    assert_eq!(resyncs(&pair), 0);
}
