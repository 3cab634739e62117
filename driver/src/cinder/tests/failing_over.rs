//! A backend's volumes fail over, each by itself.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_moved_and_moved_back_with_nothing_lost() {
    let bench = bench().await;
    let volumes = bench.replicated(12, &[]).await;
    let writer = bench.fabric.a().open(&volumes[0].image).await.unwrap();
    writer.write(1, vec![1]).await.unwrap();
    let away = bench.failover(None, None, &volumes).await.unwrap();
    assert_eq!(away.target, PEER);
    for (v, end) in volumes.iter().zip(&away.volumes) {
        assert_eq!((&end.id, &end.image), (&v.id, &v.image));
        assert_eq!(
            end.replication_status,
            ReplicationStatus::FailedOver,
            "{end:?}"
        );
        assert_eq!(bench.role(&bench.a, v).await, Role::Secondary);
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
    assert_eq!(
        bench.fabric.b().records(&volumes[0].image).unwrap().len(),
        1
    );
    // Called again, it finds all of it done.
    let again = bench
        .failover(Some(PEER), Some(PEER), &volumes)
        .await
        .unwrap();
    assert!(again.volumes.iter().all(|v| v.end
        == End::Ok {
            effect: Effect::AlreadySo
        }));
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    assert_eq!(home.target, DEFAULT);
    for (v, end) in volumes.iter().zip(&home.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::Enabled,
            "{end:?}"
        );
        assert_eq!(bench.role(&bench.a, v).await, Role::Primary);
    }
    let nothing = bench
        .failover(None, Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(nothing.field.as_deref(), Some("target"));
    assert!(
        nothing.message.contains("nothing has failed over"),
        "{nothing}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_zones_volumes_are_forced_and_what_returns_is_demoted_and_made_anew() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    bench.fabric.a().kill();
    let begun = Instant::now();
    // The zone died a moment ago: the call waits until that is known, and forces nothing before.
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    assert!(begun.elapsed() >= DEAD_AFTER - Duration::from_secs(2));
    for (v, end) in volumes.iter().zip(&away.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::FailedOver,
            "{end:?}"
        );
        let report = bench.b.volume(&v.image).await.unwrap();
        assert_eq!(report.role, Role::Primary);
        assert!(report.forced.unwrap().reason.starts_with(failover::REASON));
    }
    bench.fabric.a().start();
    for v in &volumes {
        let deadline = Instant::now() + Duration::from_secs(20);
        while bench.role(&bench.a, v).await != Role::Secondary {
            assert!(
                Instant::now() < deadline,
                "{v:?} is stale and still primary"
            );
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
    // The way back resyncs what diverged, waits for it, and moves.
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    for (v, end) in volumes.iter().zip(&home.volumes) {
        assert_eq!(
            end.replication_status,
            ReplicationStatus::Enabled,
            "{end:?}"
        );
        let report = bench.a.volume(&v.image).await.unwrap();
        assert_eq!((report.role, report.forced), (Role::Primary, None));
    }
    let kept = bench.fabric.a().images();
    let kept = kept
        .iter()
        .filter(|i| i.image().contains("rekindle-safety"))
        .count();
    assert_eq!(kept, 3, "each loser's state is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_20_one_volumes_failure_decides_nothing_for_another() {
    let bench = bench().await;
    let volumes = bench.replicated(4, &[]).await;
    bench
        .fabric
        .a()
        .fail(Op::Demote, Some(&volumes[1].image), 16, 99);
    bench
        .fabric
        .b()
        .fail(Op::Promote, Some(&volumes[2].image), 5, 99);
    let away = bench.failover(None, Some(PEER), &volumes).await.unwrap();
    let words: Vec<_> = away.volumes.iter().map(|v| v.replication_status).collect();
    use ReplicationStatus::{FailedOver, FailoverError};
    assert_eq!(
        words,
        [FailedOver, FailoverError, FailoverError, FailedOver]
    );
    assert!(
        error_of(&away.volumes[1])
            .message
            .contains("could not be demoted in zone-a")
    );
    assert_eq!(
        bench.role(&bench.a, &volumes[1]).await,
        Role::Primary,
        "left as it was"
    );
    assert_eq!(
        bench.role(&bench.b, &volumes[2]).await,
        Role::Secondary,
        "and not forced"
    );
    // What was in the way is gone: the second call takes up where the first stopped.
    bench.fabric.a().release(Op::Demote);
    bench.fabric.b().release(Op::Promote);
    let again = bench
        .failover(Some(PEER), Some(PEER), &volumes)
        .await
        .unwrap();
    for (v, end) in volumes.iter().zip(&again.volumes) {
        assert_eq!(end.replication_status, FailedOver, "{end:?}");
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_by_its_field() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    for (active, target, field) in [
        (None, Some("zone-z"), "target"),
        (Some(PEER), None, "target"),
        (Some("zone-z"), Some(PEER), "backend"),
    ] {
        let e = bench.failover(active, target, &volumes).await.unwrap_err();
        assert_eq!(
            (e.code, e.field.as_deref()),
            (ErrorCode::InvalidField, Some(field))
        );
    }
    let twice = [volumes[0].clone(), volumes[0].clone()];
    let e = bench.failover(None, None, &twice).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("volumes[1].image"));
    let many = vec![volumes[0].clone(); MAX_BATCH + 1];
    let e = bench.failover(None, None, &many).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("volumes"));
    let request = ReplicateRequest {
        backend: None,
        specs: Specs::new(),
        volumes,
        cause: Cause::Type,
    };
    let e = bench.cinder.replicate(request).await.unwrap_err();
    assert_eq!(e.field.as_deref(), Some("specs"));
}
