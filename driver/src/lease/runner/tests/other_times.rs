//! A lease whose times change while it is held.

use super::*;

#[tokio::test(start_paused = true)]
async fn another_ttl_moves_the_key_to_another_lease() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    for ttl in [60, 20] {
        b.ttl(ttl).await;
        sleep(secs(12)).await;
        assert_eq!(b.key().await.unwrap().ttl.get(), secs(ttl));
        for _ in 0..60 {
            sleep(secs(1)).await;
            assert!(held(&s) && b.images.primary());
        }
    }
    // A policy that contradicts itself is not followed.
    b.ttl(3).await;
    sleep(secs(30)).await;
    assert_eq!(b.key().await.unwrap().ttl.get(), secs(20));
    assert!(held(&s));
}

/// What happens at the moment at which the key is put on its shorter lease.
#[derive(Debug, Clone, Copy)]
enum Then {
    CutOff,
    /// The zone is cut off, and no sidecar ever hears that the key was put.
    Unheard,
    /// The policy goes back to what it was, and the zone is cut off when that was read.
    Back,
}

/// The key is judged by the shorter lease from the moment at which it is put there, whoever hears of that.
#[tokio::test(start_paused = true)]
async fn hard_case_01_a_zone_that_is_cut_off_on_a_shorter_lease_has_demoted_before_that_is_gone() {
    for then in [Then::CutOff, Then::Unheard, Then::Back] {
        let b = Bench::new(true, demote_policy()).await;
        b.ttl(120).await;
        let s = b.start("host-a", "1");
        b.held(&s).await;
        sleep(secs(12)).await;
        assert_eq!(b.key().await.unwrap().ttl.get(), secs(120));
        b.ttl(30).await;
        while b.key().await.unwrap().ttl.get() != secs(30) {
            // Until the put itself.
            tokio::task::yield_now().await;
            if matches!(then, Then::Unheard) {
                b.memory.lose_answers(1);
            }
            sleep(Duration::from_millis(1)).await;
        }
        if matches!(then, Then::Back) {
            b.ttl(120).await;
            sleep(secs(1)).await;
        }
        b.memory.partition();
        let gone = b.key_gone().await;
        let demoted = b.images.with(|i| i.demoted_at);
        assert!(
            demoted.is_some_and(|d| d < gone),
            "{then:?}: the key is gone, and demoted: {demoted:?}"
        );
    }
}

/// The holder has the longer lease yet; the one that takes over has read of the shorter.
#[tokio::test(start_paused = true)]
async fn a_sidecar_that_takes_over_on_a_shorter_lease_has_the_shorter_right() {
    let b = Bench::new(true, demote_policy()).await;
    b.ttl(120).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    let second = b.start("host-b", "1");
    sleep(secs(20)).await;
    assert!(held(&first) && !held(&second));
    drop(first);
    b.ttl(30).await;
    sleep(secs(8)).await;
    second.handle.take(&db(), Generation(1)).await.unwrap();
    b.memory.partition();
    let gone = b.key_gone().await;
    let demoted = b.images.with(|i| i.demoted_at);
    assert!(demoted.is_some_and(|d| d < gone), "{demoted:?}");
}

/// What it replaces, or a right from elsewhere, may be newer than the process's last renewal for another group.
#[tokio::test(start_paused = true)]
async fn a_key_is_put_on_a_lease_that_was_renewed_since_that_was_decided() {
    use crate::lease::keys::{TakeEnd, Terms};
    let b = Bench::new(true, demote_policy()).await;
    let clock = LeaseClock::tokio();
    let store = Store::from(b.memory.clone());
    let keys = Keys::new(store, zone("zone-a"), "host-a", "1", clock);
    let terms = Terms {
        timing: LeaseTiming::default(),
        response: IsolationResponse::Demote,
    };
    keys.lease(terms.ttl(), keys.now()).await.unwrap();
    sleep(secs(4)).await;
    let began = keys.now();
    let taking = keys.take(&db(), Generation(1), Adopt::IfLate, terms).await;
    assert!(matches!(taking.end, TakeEnd::Taken), "{taking:?}");
    let Some(Event::Taken { sent, .. }) = taking.granted else {
        panic!("{taking:?}")
    };
    assert!(sent >= began, "{sent:?}, begun at {began:?}");
}
