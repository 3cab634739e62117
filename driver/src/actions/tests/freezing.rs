//! A freeze is the zone's: two sidecars on one cluster.

use super::*;
use crate::backend::Op;

/// Another sidecar of zone A.
fn second(pair: &Pair) -> Volumes {
    zone(&pair.fabric.a(), Limits::default())
}

#[tokio::test(start_paused = true)]
async fn a_freeze_and_a_thaw_are_heard_of_by_the_zones_other_sidecar() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let other = second(&pair);
    other.restore().await.unwrap();
    pair.a.freeze("maintenance".to_owned()).await;
    // Before anything that cannot be taken back, at once.
    let refused = other.take_lease(&group(), Generation(1)).await;
    assert_eq!(code(refused), ErrorCode::Frozen);
    pair.a.thaw().await;
    other.take_lease(&group(), Generation(1)).await.unwrap();
    pair.a.freeze("maintenance".to_owned()).await;
    assert_eq!(code(other.remove_due(&spec(0)).await), ErrorCode::Frozen);
    pair.a.thaw().await;
    other.remove_due(&spec(0)).await.unwrap();
    pair.a.freeze("maintenance".to_owned()).await;
    let refused = other.act(&spec(0), order(resync("t"), 1)).await;
    assert_eq!(code(refused), ErrorCode::Frozen);
    pair.a.thaw().await;
    let refused = other.act(&spec(0), order(resync("t"), 1)).await;
    assert_eq!(code(refused), ErrorCode::IsPrimary);
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_hears_of_a_freeze_and_a_thaw() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let other = second(&pair);
    let stop = tokio_util::sync::CancellationToken::new();
    let watching = tokio::spawn(watch(other.clone(), stop.clone()));
    for frozen in [true, false] {
        if frozen {
            pair.a.freeze("maintenance".to_owned()).await;
        } else {
            pair.a.thaw().await;
        }
        let asked = Instant::now();
        while other.frozen().is_some() != frozen {
            assert!(asked.elapsed() < Duration::from_secs(15), "{frozen}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    stop.cancel();
    watching.await.unwrap();
}

/// Not known is not open.
#[tokio::test(start_paused = true)]
async fn nothing_is_destroyed_while_it_is_not_known_whether_the_zone_is_frozen() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    for _ in 0..2 {
        pair.fabric.a().fail(Op::ReadObject, None, errno::EIO, 1);
        let refused = pair.a.remove_due(&spec(0)).await;
        assert_eq!(code(refused), ErrorCode::StorageError);
        pair.a.remove_due(&spec(0)).await.unwrap();
    }
    pair.fabric.a().fail(Op::ReadObject, None, errno::EIO, 1);
    let refused = pair.a.act(&spec(0), order(resync("t"), 1)).await;
    assert_eq!(code(refused), ErrorCode::StorageError);
    // A cluster that hangs keeps nobody for long, however many ask.
    pair.fabric.a().hang(Op::ReadObject);
    let asked = Instant::now();
    let volume = spec(0);
    let all = (0..20).map(|_| pair.a.remove_due(&volume));
    for refused in futures::future::join_all(all.collect::<Vec<_>>()).await {
        assert_eq!(code(refused), ErrorCode::DeadlineExceeded);
    }
    assert!(asked.elapsed() <= Limits::default().probe.get());
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_could_not_be_noted_is_kept_and_noted_later() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let other = second(&pair);
    pair.fabric.a().fail(Op::WriteObject, None, errno::EIO, 2);
    pair.a.freeze("maintenance".to_owned()).await;
    pair.a.inner.look_at_freeze().await.unwrap_err();
    assert!(pair.a.frozen().is_some(), "an old record took it off");
    pair.a.inner.look_at_freeze().await.unwrap();
    other.inner.look_at_freeze().await.unwrap();
    assert_eq!(other.frozen().unwrap().reason, "maintenance");
    // A thaw that could not be noted does not take a later freeze off.
    pair.fabric.a().fail(Op::WriteObject, None, errno::EIO, 1);
    pair.a.thaw().await;
    assert!(pair.a.frozen().is_none());
    tokio::time::sleep(Duration::from_secs(1)).await;
    other.freeze("again".to_owned()).await;
    pair.a.inner.look_at_freeze().await.unwrap();
    assert_eq!(pair.a.frozen().unwrap().reason, "again");
    // Nor does a freeze that could not be noted come after a later thaw.
    pair.fabric.a().fail(Op::WriteObject, None, errno::EIO, 1);
    pair.a.freeze("late".to_owned()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    other.thaw().await;
    pair.a.inner.look_at_freeze().await.unwrap();
    other.inner.look_at_freeze().await.unwrap();
    assert_eq!((pair.a.frozen(), other.frozen()), (None, None));
}

/// The other sidecar may hold the very lease that this one could not renew.
#[tokio::test(start_paused = true)]
async fn a_sidecar_that_is_isolated_freezes_itself_alone() {
    use crate::lease::LeaseSink;
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    let other = second(&pair);
    pair.a.set_frozen(&group(), true).await;
    assert!(pair.a.frozen().unwrap().reason.contains("isolated"));
    other.take_lease(&group(), Generation(1)).await.unwrap();
    // Somebody's own beside it is nobody else's to take off.
    other.freeze("maintenance".to_owned()).await;
    pair.a.inner.look_at_freeze().await.unwrap();
    pair.a.set_frozen(&group(), false).await;
    assert_eq!(pair.a.frozen().unwrap().reason, "maintenance");
    other.thaw().await;
    pair.a.inner.look_at_freeze().await.unwrap();
    assert!(pair.a.frozen().is_none());
}
