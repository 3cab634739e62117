//! A backend that is frozen, moved, and to come home.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_home_into_a_frozen_zone_is_refused_before_anything_is_demoted_and_a_thaw_opens_it() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    bench.cinder.freeze(None, "freeze-host").await.unwrap();
    bench.failover(None, None, &volumes).await.unwrap();
    let refused = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::Frozen);
    let words = "zone-a is frozen (freeze-host, by the Cinder of zone-a)";
    assert!(refused.message.starts_with(words), "{refused}");
    for v in &volumes {
        assert_eq!(bench.role(&bench.b, v).await, Role::Primary);
    }
    // Cinder's thaw means the backend that is active now, and finds its own freeze in the zone that was.
    bench.cinder.thaw(Some(PEER)).await.unwrap();
    assert!(bench.a.frozen().is_none());
    let home = bench
        .failover(Some(PEER), Some(DEFAULT), &volumes)
        .await
        .unwrap();
    for (v, end) in volumes.iter().zip(&home.volumes) {
        assert_eq!(end.replication_status, ReplicationStatus::Enabled);
        assert_eq!(bench.role(&bench.a, v).await, Role::Primary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thaw_leaves_the_other_zone_frozen_where_somebody_else_froze_it() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let theirs = "drill, by the Cinder of zone-b";
    bench.b.freeze(theirs.to_owned()).await;
    bench.cinder.freeze(None, "freeze-host").await.unwrap();
    bench.cinder.thaw(None).await.unwrap();
    assert!(bench.a.frozen().is_none());
    assert_eq!(bench.b.frozen().map(|f| f.reason).as_deref(), Some(theirs));
    // It would take over nothing: refused as a whole, and the primary stays.
    let refused = bench.failover(None, None, &volumes).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Frozen);
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
}

/// It may be, and demoted volumes would be primary in no zone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_that_does_not_say_whether_it_is_frozen_is_not_failed_over_into() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let there = &bench.cinder.inner.peer.as_ref().unwrap().1;
    bench.cinder.refuse_into_frozen(there).await.unwrap();
    bench.stop.cancel();
    let soon = || Instant::now() + Duration::from_secs(1);
    while there.frozen(soon()).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    let refused = bench.cinder.refuse_into_frozen(there).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::SidecarUnreachable, "{refused}");
    bench.failover(None, None, &volumes).await.unwrap_err();
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
}
