//! Real etcd in trouble: members killed, stopped, full, compacted; wrong certificates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helper asserts too"
)]

use rekindle_store::{
    EtcdConfig, EtcdStore, Op, Renewal, Store, StoreError, TlsFiles, Txn, TxnOutcome, WatchEvent,
    testing::{TestEtcd, TestEtcdOptions},
};
use std::{future::Future, path::Path, time::Duration};
use tokio::time::{Instant, sleep, timeout};

fn put(key: &str, value: &[u8]) -> Txn {
    Txn::new().then(Op::Put {
        key: key.to_owned(),
        value: value.to_vec(),
        lease: None,
    })
}

async fn until<F: Future<Output = bool>>(what: &str, mut f: impl FnMut() -> F) {
    timeout(Duration::from_secs(30), async {
        while !f().await {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

/// As a caller has to: where the outcome is unknown, read.
async fn put_surely(store: &Store, key: &str, value: &[u8]) {
    until("the put", async || match store.txn(put(key, value)).await {
        Ok(outcome) => matches!(outcome, TxnOutcome::Applied { .. }),
        Err(e) => {
            assert!(e.retryable() || e.outcome_unknown(), "{e}");
            let found = store.get(key).await.ok().flatten();
            found.is_some_and(|kv| kv.value == value)
        }
    })
    .await;
}

#[tokio::test]
async fn a_killed_member_is_passed_over() {
    let mut etcd = TestEtcd::start(3).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    put_surely(&store, "/t/a", b"1").await;
    let revision = store.list("/t/", 1).await.unwrap().revision;
    let mut watch = store.watch("/t/", revision.next());
    etcd.kill(0);
    put_surely(&store, "/t/a", b"2").await;
    assert_eq!(store.get("/t/a").await.unwrap().unwrap().value, b"2");
    // The watch has gone to another member and missed nothing.
    loop {
        match timeout(Duration::from_secs(20), watch.next())
            .await
            .unwrap()
        {
            WatchEvent::Put(kv) if kv.value == b"2" => break,
            WatchEvent::Put(_) => {}
            other @ (WatchEvent::Deleted { .. } | WatchEvent::Restarted { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    // Two of three gone: no majority, said in time, and nothing hangs.
    etcd.kill(1);
    until("etcd knows that it has no majority", async || {
        store.healthy().await.is_err()
    })
    .await;
    let asked = Instant::now();
    let e = store.get("/t/a").await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(6), "{e}");
    assert!(e.retryable(), "{e}");
    let lost = store.txn(put("/t/a", b"3")).await.unwrap_err();
    assert!(lost.retryable() || lost.outcome_unknown(), "{lost}");
    // And back.
    etcd.start_member(1).unwrap();
    until("a majority again", async || store.healthy().await.is_ok()).await;
    put_surely(&store, "/t/a", b"4").await;
}

#[tokio::test]
async fn a_stopped_member_holds_nothing_up() {
    let etcd = TestEtcd::start(3).await.unwrap();
    // All three in turn, so that the leader is among them.
    for i in 0..3 {
        let store = etcd.store(i).await.unwrap();
        let lease = store.grant(10).await.unwrap();
        put_surely(&store, "/t/a", b"before").await;
        etcd.pause(i).unwrap();
        let asked = Instant::now();
        put_surely(&store, "/t/a", format!("during {i}").as_bytes()).await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(8), "a put took {took:?}");
        // From now on the stopped one is passed over.
        let asked = Instant::now();
        assert!(store.get("/t/a").await.unwrap().is_some());
        assert!(matches!(
            store.renew(lease).await.unwrap(),
            Renewal::Renewed { .. }
        ));
        let took = asked.elapsed();
        assert!(
            took < Duration::from_secs(4),
            "it is asked first still: {took:?}"
        );
        etcd.resume(i).unwrap();
        until("all well again", async || store.healthy().await.is_ok()).await;
    }
}

#[tokio::test]
async fn the_answer_of_a_stopped_etcd_is_unknown_and_only_a_read_tells() {
    let etcd = TestEtcd::start(1).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    put_surely(&store, "/t/a", b"1").await;
    etcd.pause(0).unwrap();
    let asked = Instant::now();
    let e = store.txn(put("/t/a", b"2")).await.unwrap_err();
    assert!(e.outcome_unknown() && !e.retryable(), "{e}");
    let read = store.get("/t/a").await.unwrap_err();
    assert!(read.retryable() && !read.outcome_unknown(), "{read}");
    assert!(asked.elapsed() < Duration::from_secs(8));
    etcd.resume(0).unwrap();
    // Whether it was carried out is decided by who was faster, the request or its cancellation: only a read tells.
    until("it answers again", async || store.healthy().await.is_ok()).await;
    let found = store.get("/t/a").await.unwrap().unwrap();
    assert!([b"1".as_slice(), b"2"].contains(&found.value.as_slice()));
    put_surely(&store, "/t/a", b"3").await;
}

#[tokio::test]
async fn a_full_etcd_says_so_and_goes_on_renewing() {
    let etcd = TestEtcd::start_with(
        1,
        TestEtcdOptions {
            quota_bytes: Some(2 * 1024 * 1024),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    let store = etcd.store(0).await.unwrap();
    let lease = store.grant(60).await.unwrap();
    let big = vec![b'x'; 512 * 1024];
    let mut full = None;
    for i in 0..40 {
        match store.txn(put(&format!("/t/{i}"), &big)).await {
            Ok(_) => {}
            Err(e) => {
                full = Some(e);
                break;
            }
        }
    }
    let e = full.expect("2 MiB took 20 MiB");
    assert!(matches!(e, StoreError::Full), "{e}");
    assert!(!e.retryable());
    assert!(matches!(
        store.renew(lease).await.unwrap(),
        Renewal::Renewed { .. }
    ));
    assert!(store.get("/t/0").await.unwrap().is_some());
    let delete = Txn::new().then(Op::Delete {
        key: "/t/0".to_owned(),
    });
    assert!(matches!(
        store.txn(delete).await.unwrap(),
        TxnOutcome::Applied { .. }
    ));
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_starts_anew() {
    let etcd = TestEtcd::start(1).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    put_surely(&store, "/t/a", b"1").await;
    let old = store.list("/t/", 1).await.unwrap().revision;
    for i in 0..5 {
        put_surely(&store, "/t/a", &[i]).await;
    }
    let now = store.list("/t/", 1).await.unwrap().revision;
    let mut plain = etcd_client::Client::connect(etcd.config().endpoints, None)
        .await
        .unwrap();
    plain.compact(now.0, None).await.unwrap();
    let mut watch = store.watch("/t/", old);
    let first = timeout(Duration::from_secs(20), watch.next())
        .await
        .unwrap();
    assert_eq!(first, WatchEvent::Restarted { revision: now });
    put_surely(&store, "/t/b", b"after").await;
    match timeout(Duration::from_secs(20), watch.next())
        .await
        .unwrap()
    {
        WatchEvent::Put(kv) => assert_eq!(kv.key, "/t/b"),
        other @ (WatchEvent::Deleted { .. } | WatchEvent::Restarted { .. }) => panic!("{other:?}"),
    }
}

/// An authority, and a certificate of its own for 127.0.0.1.
fn certificates(folder: &Path, name: &str) -> TlsFiles {
    let file = |kind: &str, pem: String| {
        let path = folder.join(format!("{name}-{kind}.pem"));
        std::fs::write(&path, pem).unwrap();
        path
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let cert = params.signed_by(&key, &issuer).unwrap();
    TlsFiles {
        ca: file("ca", ca.pem()),
        cert: file("cert", cert.pem()),
        key: file("key", key.serialize_pem()),
    }
}

#[tokio::test]
async fn mutual_tls_is_spoken_and_a_wrong_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = certificates(folder.path(), "good");
    let other = certificates(folder.path(), "other");
    let etcd = TestEtcd::start_with(
        1,
        TestEtcdOptions {
            tls: Some(good.clone()),
            client_tls: Some(good.clone()),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    let store = etcd.store(0).await.unwrap();
    put_surely(&store, "/t/a", b"1").await;

    for (what, tls) in [
        ("a server of another authority", other.clone()),
        (
            "a client of another authority",
            TlsFiles {
                ca: good.ca.clone(),
                ..other.clone()
            },
        ),
    ] {
        let config = EtcdConfig {
            tls: Some(tls),
            ..etcd.config()
        };
        let store = EtcdStore::connect(&config).await.map(Store::from).unwrap();
        let e = store.get("/t/a").await.expect_err(what);
        assert!(matches!(e, StoreError::Unavailable { .. }), "{what}: {e}");
    }
    // Files that are no certificates, or not there, are said when connecting.
    for bad in [
        TlsFiles {
            cert: folder.path().join("none.pem"),
            ..good.clone()
        },
        TlsFiles {
            key: good.cert.clone(),
            ..good.clone()
        },
    ] {
        let config = EtcdConfig {
            tls: Some(bad),
            ..etcd.config()
        };
        let e = EtcdStore::connect(&config).await.unwrap_err();
        assert!(matches!(e, StoreError::Config { .. }), "{e}");
    }
    let plain = EtcdConfig {
        tls: None,
        ..etcd.config()
    };
    let e = EtcdStore::connect(&plain).await.unwrap_err();
    assert!(matches!(e, StoreError::Config { .. }), "{e}");
}

/// The disk itself, not the quota. etcd's log is written into room that it took beforehand, so it may take some writes more; then
/// it says so, or dies. Whatever was acknowledged is there when there is room again.
#[tokio::test]
async fn a_disk_that_is_full_under_etcd_loses_nothing_that_was_acknowledged() {
    let options = TestEtcdOptions {
        disk_mib: Some(192),
        ..Default::default()
    };
    let mut etcd = TestEtcd::start_with(1, options).await.unwrap();
    let store = etcd.store(0).await.unwrap();
    put_surely(&store, "/t/before", b"1").await;
    let filler = etcd.disk().unwrap().join("filler");
    fill(&filler);
    // One write after the other, until one is refused; each answer in time.
    let big = vec![b'x'; 1024 * 1024];
    let mut acknowledged = vec!["/t/before".to_owned()];
    let mut refused = None;
    for i in 0..300 {
        let key = format!("/t/{i}");
        let asked = Instant::now();
        let answer = store.txn(put(&key, &big)).await;
        assert!(asked.elapsed() < Duration::from_secs(8), "{answer:?}");
        match answer {
            Ok(_) => acknowledged.push(key),
            Err(e) => {
                refused = Some(e);
                break;
            }
        }
    }
    let e = refused.expect("a full disk took 300 MiB");
    assert!(
        matches!(e, StoreError::Full) || e.retryable() || e.outcome_unknown(),
        "{e}"
    );
    println!(
        "{} writes after the disk was full, then: {e}; etcd died: {}",
        acknowledged.len() - 1,
        etcd.has_died(0)
    );
    // Nothing is taken, and each refusal comes in time, as long as it is so.
    fill(&filler);
    let asked = Instant::now();
    store.txn(put("/t/during", b"1")).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(8));
    // Room again; as its supervisor would, it is started again where it died.
    std::fs::remove_file(&filler).unwrap();
    etcd.kill(0);
    etcd.start_member(0).unwrap();
    until("it goes on", async || store.healthy().await.is_ok()).await;
    for key in &acknowledged {
        assert!(store.get(key).await.unwrap().is_some(), "{key} is lost");
    }
    put_surely(&store, "/t/after", b"1").await;
}

/// Takes all the room that is left.
fn fill(file: &Path) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    let mut block = vec![0u8; 1 << 20];
    while !block.is_empty() {
        match file.write(&block) {
            Ok(0) | Err(_) => block.truncate(block.len() / 2),
            Ok(_) => {}
        }
    }
}
