//! Several at once: on one volume, in one batch, and who went away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_second_action_on_a_volume_in_flight_is_refused() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.fabric
        .a()
        .slow(crate::backend::Op::Demote, Duration::from_secs(2));
    let volume = spec(0);
    let (a, b) = tokio::join!(
        pair.a
            .act(&volume, order(VolumeAction::Demote { token: None }, 1)),
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            pair.a
                .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
                .await
        }
    );
    assert_eq!(a.unwrap().effect, Effect::Done);
    assert_eq!(code(b), ErrorCode::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_nothing() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.fabric
        .a()
        .slow(crate::backend::Op::Demote, Duration::from_secs(2));
    let volume = spec(0);
    let call = pair
        .a
        .act(&volume, order(VolumeAction::Demote { token: None }, 1));
    tokio::time::timeout(Duration::from_millis(100), call)
        .await
        .unwrap_err();
    while pair.a.in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!pair.fabric.a().is_primary(&spec(0)));
}

#[tokio::test(start_paused = true)]
async fn frozen_refuses_all_but_demotion_and_outlives_the_sidecar() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.freeze("maintenance".to_owned()).await;
    for action in [VolumeAction::Unreplicate, plain(), resync("t")] {
        let r = pair.a.act(&spec(0), order(action, 1)).await;
        assert_eq!(code(r), ErrorCode::Frozen);
    }
    let next = zone(&pair.fabric.a(), Limits::default());
    next.restore().await.unwrap();
    assert_eq!(next.zone().await.frozen.unwrap().reason, "maintenance");
    let demoted = next
        .act(&spec(0), order(VolumeAction::Demote { token: None }, 1))
        .await;
    assert_eq!(demoted.unwrap().effect, Effect::Done);
    next.thaw().await;
    assert_eq!(next.zone().await.frozen, None);
}

#[tokio::test(start_paused = true)]
async fn hard_case_20_one_volumes_failure_decides_nothing_for_another() {
    let pair = Pair::replicated(20, ReplicationMode::Instant).await;
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    pair.fabric.b().fail(
        crate::backend::Op::ForcePromote,
        Some(&spec(7)),
        errno::EIO,
        1,
    );
    let items = (0..21).map(|i| BatchItem {
        volume: spec(i),
        order: order(forced(), 2),
    });
    let request = BatchRequest {
        items: items.collect(),
    };
    let all = lines(pair.b.batch(request).unwrap()).await;
    assert_eq!(all.len(), 21);
    for line in &all {
        match &line.result {
            BatchResult::Ok { outcome } => assert_eq!(outcome.effect, Effect::Done),
            BatchResult::Failed { error } if line.volume == spec(7) => {
                assert_eq!(error.code, ErrorCode::StorageError);
                assert!(error.message.contains("errno 5"), "{error}");
            }
            BatchResult::Failed { error } => {
                assert_eq!(
                    (&line.volume, error.code),
                    (&spec(20), ErrorCode::UnknownVolume)
                );
            }
        }
    }
    let reads = |c: &Cluster| {
        c.calls()
            .iter()
            .filter(|(op, _)| *op == crate::backend::Op::WriteObject)
            .count()
    };
    assert_eq!(
        reads(&pair.fabric.b()),
        2,
        "one for the lease, one for all promotions"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_makes_no_sense_is_refused_whole() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let item = |n| BatchItem {
        volume: spec(n),
        order: order(VolumeAction::Demote { token: None }, 1),
    };
    for (items, field) in [
        (vec![], "items"),
        (vec![item(0), item(0)], "items[1].volume"),
        ((0..2001).map(item).collect(), "items"),
    ] {
        let error = pair.a.batch(BatchRequest { items }).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidField);
        assert_eq!(error.field.as_deref(), Some(field));
    }
    assert!(pair.fabric.a().is_primary(&spec(0)));
}
