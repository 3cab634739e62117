//! The zone's Ceph is dead, its sidecar alive, and the leader takes the lease away with the record of the other zone.

use super::*;

/// As `steps/record.rs` does, in one transaction.
async fn revoke(b: &Bench) {
    let record = PrimaryRecord {
        zone: zone("zone-b"),
        generation: Generation(2),
        since: rekindle_common::Timestamp::UNIX_EPOCH,
        plan: None,
    };
    let txn = Txn::new()
        .then(Op::put_json(keys::group_primary(&db()), &record, None).unwrap())
        .then(Op::Delete {
            key: keys::group_lease(&db()),
        });
    b.elsewhere.txn(txn).await.unwrap();
}

fn not_held(s: &Sidecar) -> bool {
    s.handle.view(&db()) == LeaseView::NotHeld
}

#[tokio::test(start_paused = true)]
async fn hard_case_60_a_lease_that_was_taken_away_is_lost_and_not_put_back() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.dead = true);
    sleep(secs(60)).await;
    assert!(held(&s));
    revoke(&b).await;
    // Its next renewal finds that, long before its time is over.
    let renewed = demote_policy().lease.renew_every.get();
    b.until("it knows", renewed + secs(1), || not_held(&s))
        .await;
    // Nor is it taken again by order, whoever still sends one.
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration, "{e}");
    for _ in 0..120 {
        sleep(secs(1)).await;
        assert_eq!(b.key().await, None);
        assert!(not_held(&s));
    }
    // What is primary there is demoted as soon as that Ceph is back, by the sidecar that never was started anew.
    assert!(b.images.primary());
    b.images.with(|i| i.dead = false);
    b.until("it demotes", secs(10), || !b.images.primary())
        .await;
    sleep(secs(60)).await;
    assert_eq!(b.key().await, None);
    assert!(not_held(&s) && !b.images.primary());
}

/// It had asked to take it while the leader took it away: its transaction compares the record that it read.
#[tokio::test(start_paused = true)]
async fn whenever_it_is_taken_away_it_stays_away() {
    for millis in (0..10_000).step_by(190) {
        let b = Bench::new(true, demote_policy()).await;
        let s = b.start("host-a", "1");
        b.held(&s).await;
        b.images.with(|i| i.dead = true);
        // Its key is gone, so that it is about to put it back.
        let delete = Txn::new().then(Op::Delete {
            key: keys::group_lease(&db()),
        });
        b.elsewhere.txn(delete).await.unwrap();
        sleep(Duration::from_millis(millis)).await;
        revoke(&b).await;
        sleep(secs(30)).await;
        assert_eq!(b.key().await, None, "after {millis} ms");
        assert!(not_held(&s), "after {millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_of_two_sidecars_puts_it_back() {
    let b = Bench::new(true, demote_policy()).await;
    let one = b.start("host-a", "1");
    b.held(&one).await;
    let two = b.start("host-b", "1");
    sleep(secs(20)).await;
    b.images.with(|i| i.dead = true);
    sleep(secs(20)).await;
    revoke(&b).await;
    for _ in 0..120 {
        sleep(secs(1)).await;
        assert_eq!(b.key().await, None);
    }
    assert!(not_held(&one) && not_held(&two));
    b.images.with(|i| i.dead = false);
    b.until("they demote", secs(10), || !b.images.primary())
        .await;
}
