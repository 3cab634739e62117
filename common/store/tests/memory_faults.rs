//! The in-process store's outages, which other crates' tests stand on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helper asserts too"
)]

use rekindle_store::{MemoryStore, Op, Renewal, Store, StoreError, Txn, TxnOutcome, WatchEvent};
use std::time::Duration;
use tokio::time::{Instant, advance, timeout};

fn put(key: &str) -> Txn {
    Txn::new().then(Op::Put {
        key: key.to_owned(),
        value: vec![],
        lease: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_site_fails_alone() {
    let memory = MemoryStore::default();
    let (a, b) = (memory.handle("zone-a"), memory.handle("zone-b"));
    let (sa, sb) = (Store::from(a.clone()), Store::from(b));
    a.partition();
    let e = sa.txn(put("/t/a")).await.unwrap_err();
    assert!(e.retryable() && !e.outcome_unknown());
    sb.txn(put("/t/b")).await.unwrap();
    assert!(matches!(
        sa.get("/t/b").await,
        Err(StoreError::Unavailable { .. })
    ));
    a.heal();
    assert!(sa.get("/t/b").await.unwrap().is_some());
    assert!(sa.get("/t/a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hung_store_ends_each_call_at_its_deadline() {
    let memory = MemoryStore::new(Duration::from_secs(3));
    let store = Store::from(memory.clone());
    memory.hang();
    let asked = Instant::now();
    let e = store.get("/t/a").await.unwrap_err();
    assert!(matches!(e, StoreError::DeadlineExceeded { .. }), "{e}");
    assert_eq!(asked.elapsed(), Duration::from_secs(3));
    assert!(store.txn(put("/t/a")).await.unwrap_err().outcome_unknown());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_the_change_is_made() {
    let memory = MemoryStore::default();
    let store = Store::from(memory.clone());
    memory.lose_answers(1);
    assert!(store.txn(put("/t/a")).await.unwrap_err().outcome_unknown());
    assert!(store.get("/t/a").await.unwrap().is_some());
    assert!(matches!(
        store.txn(put("/t/b")).await.unwrap(),
        TxnOutcome::Applied { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn hard_case_02_no_lease_ends_while_there_is_no_majority() {
    let memory = MemoryStore::default();
    let store = Store::from(memory.clone());
    let lease = store.grant(10).await.unwrap();
    let op = Op::Put {
        key: "/t/l".to_owned(),
        value: vec![],
        lease: Some(lease),
    };
    store.txn(Txn::new().then(op)).await.unwrap();
    let revision = store.list("/", 1).await.unwrap().revision;
    let mut watch = store.watch("/t/", revision.next());
    memory.lose_majority();
    advance(Duration::from_secs(60)).await;
    assert!(store.healthy().await.is_err());
    memory.regain_majority();
    // The new leader has given it its whole time anew.
    assert!(store.get("/t/l").await.unwrap().is_some());
    assert!(
        timeout(Duration::from_millis(9_900), watch.next())
            .await
            .is_err()
    );
    let event = timeout(Duration::from_secs(1), watch.next()).await.unwrap();
    assert!(matches!(event, WatchEvent::Deleted { key, .. } if key == "/t/l"));
    assert_eq!(store.renew(lease).await.unwrap(), Renewal::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_puts_and_leases_only() {
    let memory = MemoryStore::default();
    let store = Store::from(memory.clone());
    store.txn(put("/t/a")).await.unwrap();
    let lease = store.grant(10).await.unwrap();
    memory.set_full(true);
    assert!(matches!(
        store.txn(put("/t/b")).await,
        Err(StoreError::Full)
    ));
    assert!(matches!(store.grant(10).await, Err(StoreError::Full)));
    assert!(matches!(
        store.renew(lease).await.unwrap(),
        Renewal::Renewed { .. }
    ));
    let delete = Txn::new().then(Op::Delete {
        key: "/t/a".to_owned(),
    });
    assert!(matches!(
        store.txn(delete).await.unwrap(),
        TxnOutcome::Applied { .. }
    ));
    memory.set_full(false);
    store.txn(put("/t/b")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_compacted_watch_starts_anew_and_goes_on() {
    let memory = MemoryStore::default();
    let store = Store::from(memory.clone());
    store.txn(put("/t/a")).await.unwrap();
    let old = store.list("/t/", 1).await.unwrap().revision;
    store.txn(put("/t/a")).await.unwrap();
    memory.compact();
    let now = store.list("/t/", 1).await.unwrap().revision;
    let mut watch = store.watch("/t/", old);
    assert_eq!(watch.next().await, WatchEvent::Restarted { revision: now });
    store.txn(put("/t/b")).await.unwrap();
    match watch.next().await {
        WatchEvent::Put(kv) => assert_eq!(kv.key, "/t/b"),
        other @ (WatchEvent::Deleted { .. } | WatchEvent::Restarted { .. }) => panic!("{other:?}"),
    }
}
