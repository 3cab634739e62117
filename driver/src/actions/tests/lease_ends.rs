//! The end of a lease while actions are under way.

use super::*;
use crate::backend::Op;

const BUDGET: Duration = Duration::from_secs(5);
/// With a timer's grain.
const IN_TIME: Duration = Duration::from_millis(5_100);

async fn called(cluster: &Cluster, op: Op) {
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
