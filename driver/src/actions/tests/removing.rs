//! What a deletion mark removes, and what it does not.

use super::*;
use crate::clock::Clock;
use rekindle_common::deletion::After;

const WEEK: Span = Span::secs(7 * 86_400);

fn marked() -> Order {
    let then = After::Delete { after: WEEK };
    order(VolumeAction::MarkDeleted { then }, 1)
}

async fn pass_the_time() {
    tokio::time::sleep(WEEK.get() + Duration::from_secs(86_400)).await;
}

/// The concern of what it says of its deletion.
async fn concern(zone: &Volumes, words: &str) -> bool {
    let report = zone.volume(&spec(0)).await.unwrap();
    report.concerns.iter().any(|c| c.contains(words))
}

/// Taken back in A, and B, which has not heard of that, is promoted by force.
async fn forced_over_an_undelete() -> Pair {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.act(&spec(0), marked()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(pair.b.volume(&spec(0)).await.unwrap().deletion.is_some());
    pair.fabric.b().daemon().kill();
    let undelete = order(VolumeAction::Undelete, 1);
    pair.a.act(&spec(0), undelete).await.unwrap();
    pair.fabric.a().kill();
    pair.b.take_lease(&group(), Generation(2)).await.unwrap();
    pair.b.act(&spec(0), order(forced(), 2)).await.unwrap();
    pair.fabric.b().daemon().start();
    pair
}

#[tokio::test(start_paused = true)]
async fn hard_case_32_a_mark_that_was_taken_back_and_comes_again_with_a_forced_promotion_removes_nothing()
 {
    let pair = forced_over_an_undelete().await;
    pass_the_time().await;
    pair.b.remove_due(&spec(0)).await.unwrap();
    assert!(pair.fabric.b().image_id(&spec(0)).is_some());
    assert!(concern(&pair.b, "promoted by force since").await);
    // Home again by a plain promotion, which takes the note of the force away: the mark says no more than before.
    pair.fabric.a().start();
    wait(&pair.b, &spec(0), VolumeStatus::ErrorSplitBrain).await;
    let demote = || order(VolumeAction::Demote { token: None }, 2);
    pair.a.act(&spec(0), demote()).await.unwrap();
    wait(&pair.b, &spec(0), VolumeStatus::ActivePrimary).await;
    pair.a.act(&spec(0), order(resync("t"), 2)).await.unwrap();
    wait(&pair.a, &spec(0), VolumeStatus::ActiveSecondary).await;
    pair.b.act(&spec(0), demote()).await.unwrap();
    wait(&pair.a, &spec(0), VolumeStatus::PendingPromotion).await;
    pair.a.take_lease(&group(), Generation(3)).await.unwrap();
    let home = pair.a.act(&spec(0), order(plain(), 3)).await.unwrap();
    assert_eq!((home.report.forced, home.report.deletion), (None, None));
    pass_the_time().await;
    pair.a.remove_due(&spec(0)).await.unwrap();
    assert!(pair.fabric.a().image_id(&spec(0)).is_some());
    assert!(concern(&pair.a, "promoted by force since").await);
    // Taken back it is gone; and a new deletion is one.
    let undelete = order(VolumeAction::Undelete, 3);
    pair.a.act(&spec(0), undelete).await.unwrap();
    assert!(!concern(&pair.a, "deleted in Cinder").await);
    pair.a
        .act(
            &spec(0),
            Order {
                generation: Some(Generation(3)),
                ..marked()
            },
        )
        .await
        .unwrap();
    pass_the_time().await;
    pair.a.remove_due(&spec(0)).await.unwrap();
    assert_eq!(pair.fabric.a().image_id(&spec(0)), None);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_after_a_forced_promotion_is_carried_out() {
    let pair = forced_over_an_undelete().await;
    let again = Order {
        generation: Some(Generation(2)),
        ..marked()
    };
    pair.b.act(&spec(0), again).await.unwrap();
    assert!(pair.b.volume(&spec(0)).await.unwrap().deletion.is_some());
    pass_the_time().await;
    pair.b.remove_due(&spec(0)).await.unwrap();
    assert_eq!(pair.fabric.b().image_id(&spec(0)), None);
}

#[tokio::test(start_paused = true)]
async fn hard_case_12_a_clock_that_is_ahead_removes_nothing() {
    let pair = Pair::replicated(1, ReplicationMode::Instant).await;
    pair.a.act(&spec(0), marked()).await.unwrap();
    let now = Clock::simulated().now();
    let ahead = Volumes::new(Parts {
        zone: pair.a.zone_name().clone(),
        backend: pair.a.backend().clone(),
        state_pool: "volumes".to_owned(),
        leases: Arc::new(FixedLeases::default()),
        clock: Clock::Simulated {
            epoch: now + jiff::SignedDuration::from_hours(365 * 24),
            origin: Instant::now(),
        },
        limits: Limits::default(),
    });
    assert_eq!(code(ahead.remove_due(&spec(0)).await), ErrorCode::Held);
    assert!(pair.fabric.a().image_id(&spec(0)).is_some());
    // Nor does one whose cluster's time nobody tells.
    pair.fabric.a().daemon().kill();
    pair.fabric.b().daemon().kill();
    pass_the_time().await;
    assert_eq!(code(pair.a.remove_due(&spec(0)).await), ErrorCode::Held);
    pair.fabric.a().daemon().start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.a.remove_due(&spec(0)).await.unwrap();
    assert_eq!(pair.fabric.a().image_id(&spec(0)), None);
}
