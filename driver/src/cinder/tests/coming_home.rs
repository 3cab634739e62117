//! The way back, and what it is refused for.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_the_way_back_is_refused_with_the_figure_while_it_is_not_in_step() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    for v in &volumes {
        bench
            .wait(&bench.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
    }
    bench.fabric.a().daemon().kill();
    bench
        .wait(&bench.a, &volumes[0].image, VolumeStatus::ErrorMirrorDown)
        .await;
    let refused = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::Held);
    assert!(
        refused
            .message
            .contains("0 of 3 volumes are ready in zone-a"),
        "{refused}"
    );
    for v in &volumes {
        assert_eq!(
            bench.role(&bench.b, v).await,
            Role::Primary,
            "nothing was moved"
        );
    }
    bench.fabric.a().daemon().start();
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert!(
        home.volumes
            .iter()
            .all(|v| v.replication_status == ReplicationStatus::Enabled)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_17_a_split_by_hand_is_neither_demoted_nor_resynced() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let forced = VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "somebody at night".to_owned(),
            accept_torn: false,
        },
    };
    bench.by_hand(&bench.b, &volumes[0], forced).await;
    bench.cinder.demote_stale_once().await.unwrap();
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    assert_eq!(error_of(&away.volumes[0]).code, ErrorCode::SplitBrain);
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert!(home.message.contains("no failover of ours"), "{home}");
}

/// Moved here under a name, written to, demoted by a hand that gave none: the old name must not pass for that demotion's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_57_a_demotions_name_goes_with_the_next_promotion() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    let promoted = bench.b.volume(&volumes[0].image).await.unwrap();
    assert_eq!((promoted.role, promoted.demotion), (Role::Primary, None));
    bench
        .by_hand(&bench.b, &volumes[0], VolumeAction::Demote { token: None })
        .await;
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert_eq!(error_of(&home.volumes[0]).code, ErrorCode::DemotedOtherwise);
}

/// Its answer was lost, plans brought them, or they are one part of many: what is left to come home is Cinder's service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_comes_home_to_volumes_that_are_there() {
    let bench = bench().await;
    let volumes = bench.replicated(4, &[]).await;
    bench.failover(None, None, &volumes).await.unwrap();
    for v in &volumes {
        bench
            .wait(&bench.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
    }
    let (first, rest) = volumes.split_at(2);
    // The second time all of the first part are home, as when the first answer did not arrive.
    for (part, effect) in [
        (first, Effect::Done),
        (first, Effect::AlreadySo),
        (rest, Effect::Done),
        (&volumes[..], Effect::AlreadySo),
    ] {
        let home = bench.failover(Some(PEER), Some(DEFAULT), part).await;
        let home = home.unwrap();
        assert_eq!(home.target, DEFAULT);
        for (v, end) in part.iter().zip(&home.volumes) {
            assert_eq!(end.replication_status, ReplicationStatus::Enabled);
            assert_eq!(end.end, End::Ok { effect }, "{end:?}");
            assert_eq!(bench.role(&bench.a, v).await, Role::Primary);
        }
    }
    // At home there is nothing that could come.
    let nothing = bench.failover(None, Some(DEFAULT), &volumes).await;
    let nothing = nothing.unwrap_err();
    assert!(
        nothing.message.contains("nothing has failed over"),
        "{nothing}"
    );
}
