//! A zone that may have lost its lease demotes before another one can be primary, and no sooner than it has to.

use super::*;

#[tokio::test(start_paused = true)]
async fn hard_case_01_a_cut_off_zone_has_demoted_before_its_lease_is_gone() {
    for hang in [false, true] {
        let b = Bench::new(true, demote_policy()).await;
        let s = b.start("host-a", "1");
        b.held(&s).await;
        sleep(secs(12)).await;
        b.sites.say(["well", "silent"]);
        let cut = Instant::now();
        if hang {
            b.memory.hang();
        } else {
            b.memory.partition();
        }
        let gone = b.key_gone().await;
        let demoted = b.images.with(|i| i.demoted_at).expect("it has not demoted");
        assert!(
            demoted < gone,
            "demoted {:?} after the key was gone",
            demoted - gone
        );
        assert!(
            demoted >= cut + secs(19),
            "it gave up at once: {:?}",
            demoted - cut
        );
        assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
        // The link is back: a demoted zone does not say that it serves.
        b.memory.heal();
        sleep(secs(60)).await;
        assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
        assert_eq!(b.key().await, None);
        // Until it is ordered to.
        let view = s.handle.take(&db(), Generation(1)).await.unwrap();
        assert!(matches!(view, LeaseView::Held { .. }));
        assert_eq!(b.key().await.unwrap().holder, "host-a/1");
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_02_an_etcd_without_majority_does_not_stop_a_primary_that_all_sites_vouch_for() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.sites.say(["yours", "yours"]);
    b.memory.lose_majority();
    sleep(secs(600)).await;
    assert!(b.images.primary());
    assert!(
        matches!(s.handle.view(&db()), LeaseView::KeptByFailsafe { left, .. } if left.get() > secs(5))
    );
    b.memory.regain_majority();
    b.held(&s).await;
    // One of them does not answer any more: then it is not known what the rest decides.
    b.sites.say(["yours", "silent"]);
    b.memory.lose_majority();
    b.until("it demotes", secs(26), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_demotion_that_fails_is_tried_until_it_is_seen_done() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.stubborn = 5);
    b.memory.partition();
    b.until("it demotes", secs(30), || !b.images.primary())
        .await;
    assert!(!held(&s));
}

/// Nor for a long time without a pause, once the first tries are over.
#[tokio::test(start_paused = true)]
async fn a_demotion_that_is_refused_at_once_is_not_tried_without_a_pause_for_ever() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.stubborn = u32::MAX);
    let tries = || b.images.with(|i| u32::MAX - i.stubborn);
    b.memory.partition();
    b.until("it demotes", secs(30), || tries() > 0).await;
    sleep(secs(4)).await;
    let at_first = tries();
    assert!(at_first > 40, "{at_first} tries");
    sleep(secs(3)).await;
    let before = tries();
    sleep(secs(60)).await;
    let then = tries() - before;
    assert!((25..=60).contains(&then), "{then} tries in a minute");
    b.images.with(|i| i.stubborn = 0);
    b.until("it is demoted", secs(3), || !b.images.primary())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_starts_without_etcd_demotes_within_its_grace() {
    let b = Bench::new(true, demote_policy()).await;
    b.memory.partition();
    let began = Instant::now();
    let s = b.start("host-a", "1");
    b.until("it demotes", secs(7), || !b.images.primary()).await;
    assert!(began.elapsed() >= secs(5), "the grace was not given");
    assert!(!held(&s));
    // The metadata may say otherwise.
    let b = Bench::new(true, demote_policy()).await;
    b.images
        .with(|i| i.isolation = Some(IsolationResponse::Keep));
    b.memory.partition();
    let _s = b.start("host-a", "1");
    sleep(secs(120)).await;
    assert!(b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn hard_case_50_a_zone_that_finds_another_recorded_demotes_and_takes_nothing() {
    let b = Bench::new(true, demote_policy()).await;
    b.record("zone-b", 2).await;
    let s = b.start("host-a", "1");
    b.until("it demotes", secs(5), || !b.images.primary()).await;
    sleep(secs(60)).await;
    assert_eq!(
        (b.key().await, s.handle.view(&db())),
        (None, LeaseView::NotHeld)
    );
}

/// Random outages, restarts and dead clusters; a leader that takes over as soon as it may. Never are the images writable
/// here once the other zone is recorded.
#[tokio::test(start_paused = true)]
async fn whatever_happens_nothing_is_primary_here_when_the_other_zone_is_recorded() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    let mut taken_over = 0;
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let b = Bench::new(true, demote_policy()).await;
        let mut s = b.start("host-a", "0");
        b.held(&s).await;
        let end = Instant::now() + secs(400);
        let trouble = async {
            let mut starts = 0;
            while Instant::now() < end {
                sleep(Duration::from_millis(rng.random_range(100..15_000))).await;
                match rng.random_range(0..9) {
                    0 => b.memory.partition(),
                    1 => b.memory.hang(),
                    2 | 3 => b.memory.heal(),
                    4 => b.memory.lose_answers(rng.random_range(1..3)),
                    5 => b.images.with(|i| i.stubborn = 2),
                    6 => b.sites.say(["well", "silent"]),
                    7 => b.ttl([15, 30, 90][rng.random_range(0..3)]).await,
                    _ => {
                        // Dies, and its supervisor starts it again within `margin - demote_budget`.
                        drop(s);
                        sleep(Duration::from_millis(rng.random_range(0..9_500))).await;
                        starts += 1;
                        s = b.start("host-a", &starts.to_string());
                    }
                }
            }
        };
        if is_taken_over(&b, seed, end, trouble).await {
            taken_over += 1;
        }
    }
    assert!(
        taken_over > 5,
        "the trouble was too small to prove anything: {taken_over}"
    );
}

/// As above, with a real etcd that is stopped: its sockets stay open and say nothing. In real time, with short times.
#[tokio::test]
async fn a_real_etcd_that_hangs_lets_the_zone_demote_before_its_lease_ends() {
    use rekindle_common::lease::LeaseTiming;
    let etcd = rekindle_store::testing::TestEtcd::start(1).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    let mut policy = demote_policy();
    policy.lease = LeaseTiming {
        ttl: Span::secs(6),
        renew_every: Span::secs(1),
        demote_budget: Span::secs(2),
        margin: Span::secs(6),
    };
    policy.lease.check().unwrap();
    let b = Bench {
        elsewhere: store.clone(),
        ..Bench::new(true, policy.clone()).await
    };
    b.policy(policy).await;
    b.record("zone-a", 1).await;
    b.sites.say(["silent", "silent"]);
    let s = b.start_on(store, "host-a", "1");
    b.held(&s).await;
    sleep(secs(3)).await;
    assert!(held(&s), "{:?}", s.handle.view(&db()));

    let stopped = Instant::now();
    etcd.pause(0).unwrap();
    b.until("it demotes", secs(6), || !b.images.primary()).await;
    let demoted = stopped.elapsed();
    // The right of the last renewal, at most a cycle old, less the second that a turn may take.
    assert!(demoted >= secs(2) && demoted <= secs(5), "{demoted:?}");
    etcd.resume(0).unwrap();
    sleep(secs(3)).await;
    assert!(matches!(s.handle.view(&db()), LeaseView::Isolated { .. }));
    let view = s.handle.take(&db(), Generation(1)).await.unwrap();
    assert!(matches!(view, LeaseView::Held { .. }));
}
