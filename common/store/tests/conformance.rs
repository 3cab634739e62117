//! One suite, two stores: what Rekindle relies on, on real etcd and on the one in process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helper asserts too"
)]

use rekindle_common::{SiteName, keys};
use rekindle_store::{
    Campaigned, Compare, Election, ElectionTiming, Fence, FencedOutcome, LeaderRecord, MemoryStore,
    Op, Renewal, Renewed, Revision, Store, StoreError, Txn, TxnOutcome, WatchEvent,
    testing::TestEtcd,
};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
        lease: None,
    }
}

async fn applied(store: &Store, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Applied { revision } => revision,
        TxnOutcome::Refused { found } => panic!("refused: {found:?}"),
    }
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let kv = store.get(key).await.unwrap()?;
    Some(String::from_utf8(kv.value).unwrap())
}

/// Waits for a condition; the limit is far beyond what it should take.
async fn until<F: Future<Output = bool>>(what: &str, mut f: impl FnMut() -> F) {
    timeout(Duration::from_secs(20), async {
        while !f().await {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

async fn reads_and_revisions(store: Store) {
    assert_eq!(store.get("/t/a").await.unwrap(), None);
    let first = applied(
        &store,
        Txn::new().then(put("/t/a", "1")).then(put("/t/b", "1")),
    )
    .await;
    let second = applied(&store, Txn::new().then(put("/t/a", "2"))).await;
    assert!(second > first);
    let a = store.get("/t/a").await.unwrap().unwrap();
    assert_eq!((a.create_revision, a.mod_revision), (first, second));
    assert_eq!((a.value.as_slice(), a.lease), (b"2".as_slice(), None));

    applied(&store, Txn::new().then(put("/t0", "not under /t/"))).await;
    let all = store.list("/t/", 10).await.unwrap();
    let found: Vec<_> = all.items.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(found, ["/t/a", "/t/b"]);
    assert!(!all.more);
    assert!(all.revision >= second);
    let one = store.list("/t/", 1).await.unwrap();
    assert_eq!((one.items.len(), one.more), (1, true));
    let rest = store.list_after("/t/", Some("/t/a"), 1).await.unwrap();
    assert_eq!((rest.items[0].key.as_str(), rest.more), ("/t/b", false));

    applied(
        &store,
        Txn::new().then(Op::DeletePrefix {
            prefix: "/t/".to_owned(),
        }),
    )
    .await;
    assert!(store.list("/t/", 10).await.unwrap().items.is_empty());
    assert_eq!(value(&store, "/t0").await.unwrap(), "not under /t/");
    store.healthy().await.unwrap();
}

async fn transactions(store: Store) {
    let key = || "/t/x".to_owned();
    let absent = || Txn::new().when(Compare::Absent(key()));
    let made = applied(&store, absent().then(put("/t/x", "1"))).await;
    // A refusal changes nothing, and shows what stands there.
    let refused = store
        .txn(absent().then(put("/t/x", "2")).then(put("/t/y", "2")))
        .await
        .unwrap();
    let TxnOutcome::Refused { found } = refused else {
        panic!("an existing key was taken as absent")
    };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].value, b"1");
    assert_eq!(value(&store, "/t/y").await, None);

    let changed = applied(
        &store,
        Txn::new()
            .when(Compare::ModRevision(key(), made))
            .then(put("/t/x", "3")),
    )
    .await;
    for (compare, holds) in [
        (Compare::ModRevision(key(), made), false),
        (Compare::ModRevision(key(), changed), true),
        (Compare::CreateRevision(key(), made), true),
        (Compare::CreateRevision(key(), changed), false),
        (Compare::CreateRevision("/t/none".to_owned(), made), false),
        (Compare::Absent("/t/none".to_owned()), true),
    ] {
        let outcome = store.txn(Txn::new().when(compare.clone())).await.unwrap();
        let applied = matches!(outcome, TxnOutcome::Applied { .. });
        assert_eq!(applied, holds, "{compare:?}");
    }
}

async fn wrong_transactions_are_refused_alike(store: Store) {
    let delete = |key: &str| Op::Delete {
        key: key.to_owned(),
    };
    let prefix = |p: &str| Op::DeletePrefix {
        prefix: p.to_owned(),
    };
    for (what, txn) in [
        (
            "put twice",
            Txn::new().then(put("/t/a", "1")).then(put("/t/a", "2")),
        ),
        (
            "put and delete",
            Txn::new().then(put("/t/a", "1")).then(delete("/t/a")),
        ),
        (
            "put within a deletion",
            Txn::new().then(prefix("/t/")).then(put("/t/a", "1")),
        ),
        ("an empty key", Txn::new().then(put("", "1"))),
        (
            "too large",
            Txn::new().then(put("/t/a", &"x".repeat(1024 * 1024 + 1))),
        ),
        (
            "too many",
            (0..129).fold(Txn::new(), |t, i| t.then(put(&format!("/t/{i}"), ""))),
        ),
    ] {
        let e = store.txn(txn).await.expect_err(what);
        assert!(matches!(e, StoreError::Invalid { .. }), "{what}: {e}");
    }
    assert!(store.list("/t/", 10).await.unwrap().items.is_empty());
    // The largest that is allowed goes through.
    let most = (0..128).fold(Txn::new(), |t, i| t.then(put(&format!("/t/{i}"), "")));
    applied(&store, most).await;
    applied(
        &store,
        Txn::new().then(put("/t/big", &"x".repeat(1024 * 1024))),
    )
    .await;
}

async fn leases(store: Store) {
    let lease = store.grant(2).await.unwrap();
    let under = |key: &str| Op::Put {
        key: key.to_owned(),
        value: b"1".to_vec(),
        lease: Some(lease),
    };
    applied(&store, Txn::new().then(under("/t/l")).then(under("/t/m"))).await;
    assert_eq!(store.get("/t/l").await.unwrap().unwrap().lease, Some(lease));
    // A put without the lease takes the key off it.
    applied(&store, Txn::new().then(put("/t/m", "2"))).await;

    let renewing = Instant::now();
    while renewing.elapsed() < Duration::from_secs(4) {
        let Renewal::Renewed { ttl } = store.renew(lease).await.unwrap() else {
            panic!("a renewed lease ended")
        };
        assert_eq!(ttl, 2);
        assert!(value(&store, "/t/l").await.is_some());
        sleep(Duration::from_millis(400)).await;
    }
    let Renewal::Renewed { ttl } = store.remaining(lease).await.unwrap() else {
        panic!("it has just been renewed")
    };
    assert!(ttl <= 2);
    until("the lease ends", async || {
        value(&store, "/t/l").await.is_none()
    })
    .await;
    assert_eq!(store.renew(lease).await.unwrap(), Renewal::Gone);
    assert_eq!(store.remaining(lease).await.unwrap(), Renewal::Gone);
    assert_eq!(value(&store, "/t/m").await.unwrap(), "2");
    let e = store.txn(Txn::new().then(under("/t/l"))).await.unwrap_err();
    assert!(matches!(e, StoreError::LeaseGone { .. }), "{e}");

    let lease = store.grant(60).await.unwrap();
    let op = Op::Put {
        key: "/t/n".to_owned(),
        value: vec![],
        lease: Some(lease),
    };
    applied(&store, Txn::new().then(op)).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(value(&store, "/t/n").await, None);
    store
        .revoke(lease)
        .await
        .expect("a second revocation is no error");
}

async fn watches(store: Store) {
    let before = applied(&store, Txn::new().then(put("/t/w/old", "1"))).await;
    let mut watch = store.watch("/t/w/", before.next());
    let both = applied(
        &store,
        Txn::new().then(put("/t/w/a", "1")).then(put("/t/w/b", "1")),
    )
    .await;
    applied(&store, Txn::new().then(put("/t/elsewhere", "1"))).await;
    let lease = store.grant(60).await.unwrap();
    let op = Op::Put {
        key: "/t/w/leased".to_owned(),
        value: vec![],
        lease: Some(lease),
    };
    applied(&store, Txn::new().then(op)).await;
    store.revoke(lease).await.unwrap();

    let mut got = Vec::new();
    while got.len() < 4 {
        let event = timeout(Duration::from_secs(20), watch.next())
            .await
            .unwrap();
        got.push(match event {
            WatchEvent::Put(kv) => {
                assert!(kv.mod_revision >= both);
                format!("+{}", kv.key)
            }
            WatchEvent::Deleted { key, .. } => format!("-{key}"),
            WatchEvent::Restarted { .. } => panic!("nothing was compacted"),
        });
    }
    got[..2].sort();
    assert_eq!(got, ["+/t/w/a", "+/t/w/b", "+/t/w/leased", "-/t/w/leased"]);
}

async fn the_past_is_let_go_of(store: Store) {
    let first = applied(&store, Txn::new().then(put("/t/p/a", "1"))).await;
    applied(&store, Txn::new().then(put("/t/p/a", "2"))).await;
    let now = applied(&store, Txn::new().then(put("/t/p/a", "3"))).await;
    // Twice, and to what is gone already, is the same.
    for before in [now, now, first] {
        store.compact(before).await.unwrap();
    }
    assert_eq!(value(&store, "/t/p/a").await.as_deref(), Some("3"));
    let next = |mut watch: rekindle_store::Watch| async move {
        timeout(Duration::from_secs(20), watch.next())
            .await
            .unwrap()
    };
    let event = next(store.watch("/t/p/", first)).await;
    assert!(matches!(event, WatchEvent::Restarted { .. }), "{event:?}");
    // What is after it is not missed.
    applied(&store, Txn::new().then(put("/t/p/b", "1"))).await;
    match next(store.watch("/t/p/", now.next())).await {
        WatchEvent::Put(kv) => assert_eq!(kv.key, "/t/p/b"),
        other @ (WatchEvent::Deleted { .. } | WatchEvent::Restarted { .. }) => panic!("{other:?}"),
    }
}

fn candidate(store: &Store, site: &str, instance: &str) -> Election {
    let me = LeaderRecord {
        site: SiteName::new(site).unwrap(),
        instance: instance.to_owned(),
    };
    let timing = ElectionTiming {
        ttl: 2,
        safety: Duration::from_millis(500),
    };
    Election::new(store.clone(), me, timing)
}

async fn elections(store: Store) {
    let a = candidate(&store, "zone-a", "a1");
    let b = candidate(&store, "zone-b", "b1");
    assert_eq!(a.leader().await.unwrap(), None);
    let before = Instant::now();
    let Campaigned::Won(mut lead) = a.campaign().await.unwrap() else {
        panic!("nobody led")
    };
    assert!(lead.valid_now(Instant::now()));
    assert!(lead.deadline() <= before + Duration::from_secs(2));
    match b.campaign().await.unwrap() {
        Campaigned::Lost { leader } => assert_eq!(leader.site.as_str(), "zone-a"),
        Campaigned::Won(_) => panic!("two lead"),
    }
    // The same instance takes its own key up again; another start of the same site does not.
    let Campaigned::Won(again) = a.campaign().await.unwrap() else {
        panic!("its own key was not known")
    };
    assert_eq!(again.fence(), lead.fence());
    let restarted = candidate(&store, "zone-a", "a2");
    assert!(matches!(
        restarted.campaign().await.unwrap(),
        Campaigned::Lost { .. }
    ));

    assert_eq!(lead.renew(&store).await.unwrap(), Renewed::Held);
    let outcome = lead.txn(&store, Txn::new().then(put("/t/led", "a"))).await;
    assert!(matches!(outcome.unwrap(), FencedOutcome::Applied { .. }));
    lead.resign(&store).await.unwrap();
    assert!(matches!(b.campaign().await.unwrap(), Campaigned::Won(_)));
}

async fn hard_case_03_a_paused_leader_changes_nothing(store: Store) {
    let a = candidate(&store, "zone-a", "a1");
    let b = candidate(&store, "zone-b", "b1");
    let Campaigned::Won(mut paused) = a.campaign().await.unwrap() else {
        panic!("nobody led")
    };
    // Paused: no renewal. Another wins after the lease.
    until("b leads", async || {
        matches!(b.campaign().await.unwrap(), Campaigned::Won(_))
    })
    .await;

    assert!(
        !paused.valid_now(Instant::now()),
        "it still thinks that it leads"
    );
    let write = || Txn::new().then(put("/t/stale", "a"));
    assert_eq!(
        paused.txn(&store, write()).await.unwrap(),
        FencedOutcome::FenceLost
    );
    // Even where it looked before the pause and writes after it.
    let late = store.fenced_txn(paused.fence(), write()).await.unwrap();
    assert_eq!(late, FencedOutcome::FenceLost);
    assert_eq!(value(&store, "/t/stale").await, None);
    assert_eq!(paused.renew(&store).await.unwrap(), Renewed::Lost);
    assert!(!paused.valid_now(Instant::now()));
    // A resignation of the one that lost does not end the other's leadership.
    paused.resign(&store).await.unwrap();
    let leader = b.leader().await.unwrap().unwrap();
    assert_eq!(leader.site.as_str(), "zone-b");
}

async fn fences(store: Store) {
    let key = "/t/owner".to_owned();
    let made = applied(&store, Txn::new().then(put(&key, "me"))).await;
    let fence = Fence {
        key: key.clone(),
        create_revision: made,
    };
    let guarded = || {
        Txn::new()
            .when(Compare::Absent("/t/once".to_owned()))
            .then(put("/t/once", "1"))
    };
    let first = store.fenced_txn(&fence, guarded()).await.unwrap();
    assert!(matches!(first, FencedOutcome::Applied { .. }));
    // The fence held, the other comparison did not: the two are told apart.
    match store.fenced_txn(&fence, guarded()).await.unwrap() {
        FencedOutcome::Refused { found } => assert!(found.iter().any(|kv| kv.key == "/t/once")),
        other @ (FencedOutcome::Applied { .. } | FencedOutcome::FenceLost) => panic!("{other:?}"),
    }
    // A new value does not break it; a new key of the same name does.
    applied(&store, Txn::new().then(put(&key, "me again"))).await;
    let held = store.fenced_txn(&fence, Txn::new()).await.unwrap();
    assert!(matches!(held, FencedOutcome::Applied { .. }));
    applied(&store, Txn::new().then(Op::Delete { key: key.clone() })).await;
    applied(&store, Txn::new().then(put(&key, "another"))).await;
    assert_eq!(
        store.fenced_txn(&fence, Txn::new()).await.unwrap(),
        FencedOutcome::FenceLost
    );
}

async fn a_store_is_used_from_many_tasks(store: Store) {
    applied(&store, Txn::new().then(put("/t/n", "0"))).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 5 {
                    let kv = store.get("/t/n").await.unwrap().unwrap();
                    let n: u32 = kv.json().unwrap();
                    let txn = Txn::new()
                        .when(Compare::ModRevision(kv.key, kv.mod_revision))
                        .then(Op::put_json("/t/n", &(n + 1), None).unwrap());
                    match store.txn(txn).await.unwrap() {
                        TxnOutcome::Applied { .. } => done += 1,
                        TxnOutcome::Refused { .. } => {}
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(value(&store, "/t/n").await.unwrap(), "40");
    // A record that is no JSON is said to be corrupt, by name.
    applied(&store, Txn::new().then(put(keys::LEADER, "{cut"))).await;
    let e = candidate(&store, "zone-a", "a1")
        .leader()
        .await
        .unwrap_err();
    assert!(
        matches!(&e, StoreError::Corrupt { key, .. } if key == keys::LEADER),
        "{e}"
    );
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::$name(MemoryStore::default().into()).await;
                }
            )*
        }
        mod real_etcd {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    let etcd = TestEtcd::start(1).await.unwrap();
                    super::$name(etcd.store(0).await.unwrap()).await;
                }
            )*
        }
    };
}

suite!(
    reads_and_revisions,
    transactions,
    wrong_transactions_are_refused_alike,
    leases,
    watches,
    the_past_is_let_go_of,
    elections,
    hard_case_03_a_paused_leader_changes_nothing,
    fences,
    a_store_is_used_from_many_tasks,
);
