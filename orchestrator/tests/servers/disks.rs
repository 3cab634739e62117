//! A server's disks that its group's plan does not promote: Nova would start it on a copy all the same, and say `ACTIVE`.

use super::{assert_well, bench, ended, failed, one_pass, refused, run};
use crate::common::{
    bench::{Bench, Kind},
    group, image,
    nova::{Server, Verb, key, record},
    zone_a, zone_b,
};
use rekindle_common::{
    Generation, ZoneName, keys,
    mode::ReplicationMode,
    servers::{DiskRecord, KeptServer, VolumeRef},
};
use rekindle_core::{plan::Step, saga::End};
use rekindle_orchestrator::{
    servers::control::ServerState,
    steps::{Pass, StepError},
};
use rekindle_store::{Op, Txn};
use std::time::Duration;
use tokio::time::sleep;

/// The server's record has these disks.
async fn recorded(bench: &Bench, k: &str, disks: &[usize]) {
    recorded_in(bench, &zone_a(), k, disks).await;
}

/// The same, in that zone's names.
async fn recorded_in(bench: &Bench, zone: &ZoneName, k: &str, disks: &[usize]) {
    let at = keys::kept_server(&group(), &key(k));
    let store = bench.store();
    let kv = store.get(&at).await.unwrap().unwrap();
    let mut kept: KeptServer = kv.json().unwrap();
    let root = record(k, disks[0]);
    let disk = |n: &usize| DiskRecord {
        volume: VolumeRef {
            id: n.to_string(),
            name: None,
        },
        boot_index: None,
        ..root.disks[0].clone()
    };
    let data = disks[1..].iter().map(disk);
    kept.record.zone = zone.clone();
    kept.record.disks = root.disks.iter().cloned().chain(data).collect();
    let put = Op::put_json(at, &kept, None).unwrap();
    store.txn(Txn::new().then(put)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_disk_that_is_in_no_group_is_not_started_on_the_copy() {
    let bench = bench(Kind::Move).await;
    bench
        .rig
        .replicate_alone(&image(7), ReplicationMode::Instant)
        .await;
    recorded(&bench, "db", &[0, 7]).await;
    // A volume that nobody replicates is in no way.
    bench
        .rig
        .world
        .fabric()
        .b()
        .create_image(&image(8), 1 << 30);
    recorded(&bench, "web-2", &[2, 8]).await;
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial), "{:?}", failed(&bench, &id).await);
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["db"], "{named:?}");
    for part in ["volume-7 is a copy in zone-b", "rekindle group resume db"] {
        assert!(named["db"].contains(part), "{named:?}");
    }
    let b = bench.rig.nova(&zone_b());
    assert_eq!(b.serving(), ["web-1", "web-2"]);
    assert!(b.of("db")[0].held, "it was touched");
}

/// What its record does not know Nova shows: a disk that was attached to the stand-by.
#[tokio::test(start_paused = true)]
async fn a_disk_that_nova_alone_shows_counts_too() {
    let bench = bench(Kind::Move).await;
    bench
        .rig
        .replicate_alone(&image(7), ReplicationMode::Instant)
        .await;
    let b = bench.rig.nova(&zone_b());
    let server = Server {
        key: "db".to_owned(),
        state: ServerState::Stopped,
        held: true,
        ours: true,
        disks: vec![0, 7],
    };
    b.has("b-db", server);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["db"], "{named:?}");
    assert!(b.wrong().is_empty(), "{:?}", b.wrong());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_primary_there_already_keeps_nothing_back() {
    let bench = bench(Kind::Resume).await;
    // It was never in the group, and serves in the group's zone.
    bench
        .rig
        .replicate_alone(&image(7), ReplicationMode::Instant)
        .await;
    recorded(&bench, "db", &[0, 7]).await;
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_zones_volumes_are_not_known_a_server_waits() {
    let bench = bench(Kind::Move).await;
    let plan = bench.plan().await;
    bench.rig.world.fabric().a().kill();
    // Its sidecar's last list is too old by then.
    sleep(Duration::from_secs(10)).await;
    let step = Step::StartServers {
        zone: zone_a(),
        level: 0,
        servers: 1,
        generation: Generation(1),
    };
    let (pass, tally) = one_pass(&bench, &plan, &step).await;
    match pass {
        Err(StepError::NotNow(why)) | Ok(Pass::NotYet { note: why }) => {
            assert!(why.contains("the volumes in zone-a are not known"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!tally.has_failed());
    assert!(bench.rig.nova(&zone_a()).orders().is_empty());
}

/// It was attached a moment ago, and the stand-by could not be built anew any more.
#[tokio::test(start_paused = true)]
async fn a_stand_by_that_lacks_a_disk_of_its_record_is_not_started_and_is_named() {
    let bench = bench(Kind::Move).await;
    recorded(&bench, "db", &[0, 1]).await;
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["db"], "{named:?}");
    for part in [
        "in zone-b it lacks volumes that it has by its record: volumes/volume-1 (volume 1) (its volumes there: 0)",
        "openstack server add volume b-db",
        "rekindle group resume db",
    ] {
        assert!(named["db"].contains(part), "{part}: {named:?}");
    }
    let b = bench.rig.nova(&zone_b());
    assert!(b.of("db")[0].held, "it was touched");
    assert_eq!(b.serving(), ["web-1", "web-2"]);
}

/// The way home: what was attached while the other zone served is missing at its users' own; what is there and nowhere else is in no way.
#[tokio::test(start_paused = true)]
async fn on_the_way_home_a_disk_that_is_missing_counts_and_one_too_many_does_not() {
    let step = Step::StartServers {
        zone: zone_a(),
        level: 0,
        servers: 1,
        generation: Generation(1),
    };
    // By its record, as Nova shows it, and whether it lacks one.
    for (recorded, has, lacks) in [
        (vec![0, 1], vec![0], true),
        (vec![0, 1], vec![1, 0], false),
        (vec![0], vec![0, 1], false),
        // Nobody replicates it: it is a disk of that zone alone.
        (vec![0], vec![0, 9], false),
        (vec![0, 9], vec![0], false),
        // Nova shows none at all: it is not known.
        (vec![0, 1], vec![], false),
    ] {
        let bench = bench(Kind::Move).await;
        recorded_in(&bench, &zone_b(), "db", &recorded).await;
        let a = bench.rig.nova(&zone_a());
        let server = Server {
            key: "db".to_owned(),
            state: ServerState::Stopped,
            held: true,
            ours: false,
            disks: has.clone(),
        };
        a.has("a-db", server);
        let (over, tally) = one_pass(&bench, &bench.plan().await, &step).await;
        assert!(over.is_ok(), "{over:?}");
        assert_eq!(tally.has_failed(), lacks, "{recorded:?} {has:?}: {tally:?}");
        assert_eq!(a.orders().is_empty(), lacks, "{recorded:?} {has:?}");
    }
}

/// Where it serves already Nova knows best which disks it has.
#[tokio::test(start_paused = true)]
async fn a_disk_that_was_taken_off_where_it_serves_holds_nothing_up() {
    let bench = bench(Kind::Move).await;
    recorded(&bench, "web-1", &[1, 2]).await;
    let a = bench.rig.nova(&zone_a());
    a.fails(Verb::Hold, "db", refused("it is locked by its users"), 1);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Unwound), "{:?}", failed(&bench, &id).await);
    assert_eq!(a.serving(), ["db", "web-1", "web-2"]);
}
