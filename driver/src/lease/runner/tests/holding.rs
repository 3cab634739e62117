//! A lease is taken, kept, handed on and given back.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_recorded_primary_takes_its_lease_and_keeps_it() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let key = b.key().await.unwrap();
    assert_eq!(
        (key.holder.as_str(), key.generation),
        ("host-a/1", Generation(1))
    );
    assert_eq!(key.isolation_response, IsolationResponse::Demote);
    let beats = s.handle.beats();
    for _ in 0..300 {
        sleep(secs(1)).await;
        let LeaseView::Held { left, .. } = s.handle.view(&db()) else {
            panic!("{:?}", s.handle.view(&db()))
        };
        // Renewed every 5 s, and 25 s of right.
        assert!(left.get() >= secs(19), "{left}");
        assert_eq!(b.key().await.unwrap(), key);
    }
    assert!(s.handle.beats() >= beats + 300);
    assert!(b.images.primary());
}

/// Long after the sidecar's start, and with nothing to look at: still within two seconds, for volumes wait for it.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_defined_while_the_sidecar_runs_gets_its_lease_at_once() {
    let b = Bench::new(true, demote_policy()).await;
    let del = Txn::new().then(Op::Delete {
        key: keys::group_primary(&db()),
    });
    b.elsewhere.txn(del).await.unwrap();
    b.images.with(|s| s.none = true);
    let a = b.start("host-1", "one");
    sleep(secs(33)).await;
    assert!(!held(&a));
    b.record("zone-a", 1).await;
    // One reading of etcd, one look, one transaction.
    sleep(secs(7)).await;
    assert!(held(&a));
}

#[tokio::test(start_paused = true)]
async fn hard_case_60_a_zone_whose_ceph_is_dead_keeps_its_lease() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.dead = true);
    for _ in 0..60 {
        sleep(secs(2)).await;
        assert!(held(&s), "{:?}", s.handle.view(&db()));
        assert!(b.key().await.is_some());
    }
    // Neither does a sidecar that starts now let it go: it cannot prove that nothing is written.
    drop(s);
    let s = b.start("host-a", "2");
    b.until("it is taken up", secs(25), || held(&s)).await;
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_sidecar_goes_on_with_its_lease_at_once() {
    let b = Bench::new(true, demote_policy()).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    drop(first);
    sleep(secs(25)).await;
    let second = b.start("host-a", "2");
    b.until("it is held again", secs(2), || held(&second)).await;
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
    sleep(secs(60)).await;
    assert!(held(&second) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_second_sidecar_stands_by_and_takes_over_before_the_lease_ends() {
    let b = Bench::new(true, demote_policy()).await;
    let first = b.start("host-a", "1");
    b.held(&first).await;
    let second = b.start("host-b", "1");
    for _ in 0..60 {
        sleep(secs(1)).await;
        assert_eq!(b.key().await.unwrap().holder, "host-a/1");
        assert_eq!(second.handle.view(&db()), LeaseView::NotHeld);
    }
    drop(first);
    let died = Instant::now();
    b.until("the second holds it", secs(30), || held(&second))
        .await;
    assert!(died.elapsed() < secs(20), "{:?}", died.elapsed());
    // The zone has held it all the time.
    assert!(b.images.with(|i| i.demoted_at).is_none());
    assert_eq!(b.key().await.unwrap().holder, "host-b/1");
    // An order moves it between the sidecars of a zone, without a moment without it.
    let first = b.start("host-a", "2");
    sleep(secs(5)).await;
    first.handle.take(&db(), Generation(1)).await.unwrap();
    assert_eq!(b.key().await.unwrap().holder, "host-a/2");
    sleep(secs(30)).await;
    assert!(held(&first) && !held(&second) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_deleted_and_stays_so() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let e = s.handle.give_up(&db(), Generation(0)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration);
    b.images.with(|i| i.primary = false);
    s.handle.give_up(&db(), Generation(1)).await.unwrap();
    assert_eq!(b.key().await, None);
    sleep(secs(60)).await;
    assert_eq!(
        (b.key().await, s.handle.view(&db())),
        (None, LeaseView::NotHeld)
    );
    // The move goes on: another zone is recorded, and an order under the old generation is refused.
    b.record("zone-b", 2).await;
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration, "{e}");
    let e = s.handle.take(&db(), Generation(2)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::LeaseNotHeld, "{e}");
    // And home again.
    b.record("zone-a", 3).await;
    let view = s.handle.take(&db(), Generation(3)).await.unwrap();
    assert!(matches!(view, LeaseView::Held { generation, .. } if generation == Generation(3)));
    let unknown = GroupName::new("none").unwrap();
    let e = s.handle.take(&unknown, Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::LeaseNotHeld, "{e}");
}

#[tokio::test(start_paused = true)]
async fn an_order_while_etcd_is_away_is_refused_and_a_release_is_made_good() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    b.images.with(|i| i.primary = false);
    b.memory.partition();
    let e = s.handle.give_up(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StoreUnavailable, "{e}");
    b.memory.heal();
    sleep(secs(3)).await;
    assert_eq!(b.key().await, None, "the key was left standing");
    b.memory.partition();
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StoreUnavailable, "{e}");
    // An answer that is lost is not taken for a yes; asked again it is one.
    b.memory.heal();
    b.memory.lose_answers(1);
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::DeadlineExceeded, "{e}");
    s.handle.take(&db(), Generation(1)).await.unwrap();
    assert!(held(&s) && b.key().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_somebody_deleted_is_put_back() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let delete = Txn::new().then(Op::Delete {
        key: keys::group_lease(&db()),
    });
    b.elsewhere.txn(delete).await.unwrap();
    sleep(secs(7)).await;
    assert!(b.key().await.is_some());
    assert!(held(&s) && b.images.primary());
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_record_neither_takes_nor_loses_a_lease() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let good = b
        .elsewhere
        .get(&keys::group_primary(&db()))
        .await
        .unwrap()
        .unwrap();
    let put = |value: &[u8]| {
        Txn::new().then(Op::Put {
            key: keys::group_primary(&db()),
            value: value.to_vec(),
            lease: None,
        })
    };
    b.elsewhere.txn(put(b"{\"zone\":")).await.unwrap();
    sleep(secs(60)).await;
    assert!(held(&s) && b.images.primary());
    let e = s.handle.take(&db(), Generation(1)).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::CorruptRecord);
    b.elsewhere.txn(put(&good.value)).await.unwrap();
    s.handle.take(&db(), Generation(1)).await.unwrap();
}

/// What an action asks that puts a volume into a group.
#[tokio::test(start_paused = true)]
async fn it_is_known_here_that_another_zone_is_recorded() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    assert_eq!(s.handle.recorded_elsewhere(&db()), None, "nothing was read");
    b.held(&s).await;
    assert_eq!(s.handle.recorded_elsewhere(&db()), None);
    let elsewhere = || s.handle.recorded_elsewhere(&db()) == Some(zone("zone-b"));
    b.record("zone-b", 2).await;
    b.until("it was read", secs(15), elsewhere).await;
    // Also while etcd is away.
    b.memory.partition();
    sleep(secs(60)).await;
    assert!(elsewhere());
    b.memory.heal();
    b.record("zone-a", 3).await;
    b.until("it was read", secs(15), || !elsewhere()).await;
    let unknown = GroupName::new("none").unwrap();
    assert_eq!(s.handle.recorded_elsewhere(&unknown), None);
}
