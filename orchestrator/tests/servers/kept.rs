//! What is kept of servers: brought in, built from, and gone with its group.

use super::{assert_well, bench, run};
use crate::common::{
    bench::Kind,
    group,
    nova::{key, record},
    zone_a, zone_b,
};
use jiff::Timestamp;
use rekindle_common::{
    keys,
    policy::GroupSpec,
    runbook::StandbyPolicy,
    servers::{Build, KeptServer, ServerRecord},
};
use rekindle_core::servers::{Begun, Built};
use rekindle_orchestrator::wire::RecordEffect;
use rekindle_store::{Op as StoreOp, Store, Txn};

/// A server that was never built: a person brings its record, also when its zone is dead already, and the failover builds it from that.
#[tokio::test(start_paused = true)]
async fn an_imported_record_is_kept_and_a_failover_builds_from_it() {
    let bench = bench(Kind::FailoverByLease).await;
    let (store, at) = (bench.store(), keys::kept_server(&group(), &key("web-2")));
    let spec = keys::group_spec(&group());
    let mut defined: GroupSpec = store.get(&spec).await.unwrap().unwrap().json().unwrap();
    defined.runbook.levels[1].servers[1].server = None;
    let changes = Txn::new()
        .then(StoreOp::Delete { key: at.clone() })
        .then(StoreOp::put_json(spec, &defined, None).unwrap());
    store.txn(changes).await.unwrap();

    let term = &bench.hand.term;
    let never_built = ServerRecord {
        id: None,
        ..record("web-2", 2)
    };
    let web_2 = key("web-2");
    let name = group();
    let put = |r: ServerRecord| term.put_record(&name, &web_2, r);
    // What it cannot be is refused, with the reason.
    let elsewhere = ServerRecord {
        zone: zone_b(),
        ..never_built.clone()
    };
    for (wrong, word) in [
        (elsewhere, "serves in zone-a"),
        (record("web-2", 2), "name it in the runbook"),
    ] {
        let e = put(wrong).await.unwrap_err();
        assert!(e.message.contains(word), "{e}");
    }
    let mail = key("mail");
    let e = term.put_record(&name, &mail, never_built.clone()).await;
    assert!(e.unwrap_err().message.contains("no server mail"));
    assert_eq!(store.get(&at).await.unwrap(), None);

    assert_eq!(
        put(never_built.clone()).await.unwrap().effect,
        RecordEffect::New
    );
    assert_eq!(
        put(never_built.clone()).await.unwrap().effect,
        RecordEffect::Unchanged
    );
    let older = ServerRecord {
        taken_at: Timestamp::MIN,
        ..never_built.clone()
    };
    let e = put(older).await.unwrap_err();
    assert!(e.message.contains("later than this"), "{e}");

    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let b = bench.rig.nova(&zone_b());
    assert_eq!(b.serving(), ["db", "web-1", "web-2"]);
    assert_eq!(b.of("web-2")[0].disks, [2], "not from that record");
    // There is no id that it could bear: its place in the runbook stands for one, as where the keeper has built it.
    let mark = format!("zone-a/{}/web-2", group());
    assert_eq!(b.mark_of("web-2"), Some(mark));
    // It is built there now: what it is taken from is Nova.
    let e = put(never_built).await.unwrap_err();
    assert!(e.message.contains("serves in zone-b"), "{e}");
}

/// Whose stand-by it is marked as is who served when it was built. That one may be gone by the time this one is to be followed, or taken away.
#[tokio::test(start_paused = true)]
async fn what_a_failover_builds_is_written_down_with_its_mark() {
    let bench = bench(Kind::FailoverByLease).await;
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let store = bench.store();
    let word = async |k: &str| {
        let at = keys::built_standby(&group(), &key(k), &zone_b());
        let kv = store.get(&at).await.unwrap();
        kv.map(|kv| kv.json::<Built>().unwrap())
    };
    let built = word("web-2").await.unwrap();
    let at = keys::kept_server(&group(), &key("web-2"));
    let kept: KeptServer = store.get(&at).await.unwrap().unwrap().json().unwrap();
    assert_eq!(built.id, kept.instances[&zone_b()].id);
    assert_eq!(
        (built.counterpart.as_str(), built.policy),
        ("zone-a/a-web-2", StandbyPolicy::Record)
    );
    assert_eq!(built.record.zone, zone_b());
    // What stood by has the word of who built it.
    assert_eq!(word("db").await, None);
}

/// Where it was not kept which server it is at home, a plan keeps it: the one that the runbook names is nothing that we built.
#[tokio::test(start_paused = true)]
async fn what_a_plan_finds_by_its_runbooks_word_is_kept_as_its_users() {
    let bench = bench(Kind::Failback).await;
    let store = bench.store();
    let at = keys::kept_server(&group(), &key("db"));
    let kept = async || -> KeptServer { store.get(&at).await.unwrap().unwrap().json().unwrap() };
    let mut unknown = kept().await;
    unknown.instances.remove(&zone_a());
    let put = StoreOp::put_json(at.clone(), &unknown, None).unwrap();
    store.txn(Txn::new().then(put)).await.unwrap();
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let instance = &kept().await.instances[&zone_a()];
    assert_eq!(
        (instance.id.as_str(), instance.build),
        ("a-db", Build::Users)
    );
}

/// Only its users' own is left of each.
async fn users_own_alone(store: &Store) {
    for k in ["db", "web-1"] {
        let at = keys::kept_server(&group(), &key(k));
        let kv = store.get(&at).await.unwrap().unwrap();
        let mut value: KeptServer = kv.json().unwrap();
        value.instances.remove(&zone_b());
        let put = StoreOp::put_json(at, &value, None).unwrap();
        store.txn(Txn::new().then(put)).await.unwrap();
    }
}

/// Where nobody follows servers, what is kept of them goes with their group; but not what names a server that we built.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_servers_goes_with_their_group() {
    for built in [false, true] {
        let bench = bench(Kind::Move).await;
        let kept = |k: &str| keys::kept_server(&group(), &key(k));
        let store = bench.store();
        if !built {
            users_own_alone(&store).await;
        }
        bench.hand.term.delete_group(&group()).await.unwrap();
        for k in ["db", "web-1", "web-2"] {
            let there = store.get(&kept(k)).await.unwrap().is_some();
            assert_eq!(there, built, "{k}");
        }
    }
}

/// Nor where a build has not ended: what comes of it would be looked for by nobody.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_servers_stays_where_a_build_has_not_ended() {
    let bench = bench(Kind::Move).await;
    let kept = |k: &str| keys::kept_server(&group(), &key(k));
    let store = bench.store();
    users_own_alone(&store).await;
    let begun = Begun {
        zone: zone_b(),
        counterpart: "zone-a/a-db".to_owned(),
        record: record("db", 0),
        at: Timestamp::UNIX_EPOCH,
    };
    let at = keys::begun_standby(&group(), &key("db"), &zone_b());
    let put = StoreOp::put_json(at.clone(), &begun, None).unwrap();
    store.txn(Txn::new().then(put)).await.unwrap();
    bench.hand.term.delete_group(&group()).await.unwrap();
    for at in [at, kept("db")] {
        assert!(store.get(&at).await.unwrap().is_some(), "{at}");
    }
}
