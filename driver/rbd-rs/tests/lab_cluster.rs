//! Images, metadata, snapshots, locks, objects, commands and the fence on a real cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use rbd_rs::{
    Cluster, Compared, CreateOptions, Error, Expected, Features, HealthStatus, LARGEST_OBJECT,
    LockMode, Shrink, SnapshotKind, TrashRemoval,
};
use support::{SIZE, Side, TestImage, options, pattern, side, unique, wait, zones};

#[test]
fn a_cluster_tells_what_it_is() {
    let zones = zones();
    let cluster = &zones.a.cluster;
    assert_eq!(
        cluster.fsid().unwrap(),
        zones.lab.zone(zones.a.site).unwrap().fsid
    );
    assert!(
        cluster
            .pools()
            .unwrap()
            .contains(&zones.a.pool.name().to_owned())
    );
    assert!(matches!(
        cluster.pool("no-such-pool"),
        Err(Error::NotFound(_))
    ));
    assert!(matches!(cluster.pool(""), Err(Error::Text { .. })));
    let health = cluster.health().unwrap();
    assert_ne!(health.status, HealthStatus::Err, "{:?}", health.checks);
    assert_eq!((health.mons, health.quorum.len()), (1, 1));
    assert_eq!((health.osds, health.osds_up, health.osds_in), (1, 1, 1));
    assert_eq!(cluster.conf_get("rados_mon_op_timeout").unwrap(), "10");
    assert!(matches!(
        cluster.conf_get("no_such_option"),
        Err(Error::NotFound(_))
    ));
    assert!(cluster.addresses().unwrap().contains(':'));
    assert!(cluster.instance_id() > 0);
}

#[test]
fn what_is_wrong_with_a_connection_is_told_apart() {
    let zones = zones();
    let good = options(&zones.lab, zones.a.site);
    let connect = |options| Cluster::connect(&zones.ceph, &options).unwrap_err();

    let mut missing = good.clone();
    missing.conf_file = Some("no-such-file.conf".into());
    assert!(matches!(connect(missing), Error::NotFound(_)));

    let error = connect(good.clone().option("no_such_option", "1"));
    assert!(
        matches!(error, Error::NotFound(_) | Error::Invalid(_)),
        "{error}"
    );
    assert!(error.to_string().contains("no_such_option"), "{error}");

    // There is no key for this client.
    let error = connect(good.clone().client("client.nobody"));
    assert!(
        matches!(error, Error::NotFound(_) | Error::Permission(_)),
        "{error}"
    );

    let error = connect(good.client("nobody"));
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn a_command_that_fails_says_why() {
    let zones = zones();
    let command = serde_json::json!({"prefix": "osd pool get", "pool": "nowhere", "var": "size"});
    let error = zones.a.cluster.mon_command(&command, &[]).unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    assert!(
        error.to_string().contains("unrecognized pool 'nowhere'"),
        "{error}"
    );
    let error = zones
        .a
        .cluster
        .mon_json::<u32>(&serde_json::json!({"prefix": "status", "format": "json"}))
        .unwrap_err();
    assert!(matches!(error, Error::Reply { .. }), "{error}");
}

#[test]
fn an_image_from_its_creation_to_its_end() {
    let zones = zones();
    let pool = &zones.a.pool;
    let name = unique("image");
    assert!(matches!(pool.open(&name), Err(Error::NotFound(_))));
    let wanted = CreateOptions {
        features: Some(Features::LAYERING | Features::EXCLUSIVE_LOCK),
        order: Some(20),
        data_pool: None,
    };
    pool.create_image(&name, SIZE, &wanted).unwrap();
    let error = pool.create_image(&name, SIZE, &wanted).unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
    assert_eq!(
        error.call().unwrap().subject,
        format!("{}/{name}", pool.name())
    );

    let image = pool.open(&name).unwrap();
    assert_eq!(image.size().unwrap(), SIZE);
    assert_eq!(
        image.features().unwrap(),
        Features::LAYERING | Features::EXCLUSIVE_LOCK
    );
    image.enable_features(Features::JOURNALING).unwrap();
    assert!(image.features().unwrap().contains(Features::JOURNALING));
    image.disable_features(Features::JOURNALING).unwrap();
    let id = image.id().unwrap();
    assert!(
        pool.images()
            .unwrap()
            .iter()
            .any(|entry| entry.id == id && entry.name == name)
    );

    assert_eq!(image.write(4096, &pattern(3)).unwrap(), 4096);
    image.flush().unwrap();
    let mut found = vec![0; 8192];
    assert_eq!(image.read(0, &mut found).unwrap(), 8192);
    assert!(found[..4096].iter().all(|b| *b == 0) && found[4096..].iter().all(|b| *b == 3));
    image.discard(4096, 4096).unwrap();
    image.read(0, &mut found).unwrap();
    assert_eq!(found[4096], 3, "a part of a granule was discarded");
    image.discard(0, 64 << 10).unwrap();
    image.read(0, &mut found).unwrap();
    assert!(found.iter().all(|b| *b == 0));
    // At the end there is less to read, and beyond it nothing.
    assert_eq!(image.read(SIZE - 100, &mut found).unwrap(), 100);
    assert!(image.read(SIZE + 1, &mut found).is_err());

    let error = image.resize(SIZE / 2, Shrink::Refuse).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    image.resize(SIZE / 2, Shrink::Allow).unwrap();
    image.resize(SIZE * 2, Shrink::Refuse).unwrap();
    assert_eq!(image.size().unwrap(), SIZE * 2);

    let reader = pool.open_read_only(&name).unwrap();
    assert!(matches!(reader.write(0, b"x"), Err(Error::ReadOnly(_))));
    reader.close().unwrap();
    assert!(
        matches!(pool.remove_image(&name), Err(Error::Busy { .. })),
        "it is open"
    );
    image.close().unwrap();

    let other = unique("renamed");
    pool.rename_image(&name, &other).unwrap();
    assert_eq!(pool.open_by_id(&id).unwrap().size().unwrap(), SIZE * 2);
    assert_eq!(pool.open_by_id_read_only(&id).unwrap().id().unwrap(), id);
    pool.remove_image(&other).unwrap();
    assert!(matches!(pool.remove_image(&other), Err(Error::NotFound(_))));
}

#[test]
fn the_trash_gives_back() {
    let zones = zones();
    let pool = &zones.a.pool;
    let name = unique("trash");
    pool.create_image(&name, SIZE, &CreateOptions::default())
        .unwrap();
    pool.trash_image(&name, Duration::from_secs(3600)).unwrap();
    assert!(matches!(pool.open(&name), Err(Error::NotFound(_))));
    let entry = pool
        .trash()
        .unwrap()
        .into_iter()
        .find(|entry| entry.name == name)
        .unwrap();
    assert_eq!(entry.kept_until - entry.deleted, 3600);
    let error = pool
        .remove_from_trash(&entry.id, TrashRemoval::WhenDue)
        .unwrap_err();
    assert!(matches!(error, Error::Permission(_)), "{error}");
    pool.restore_image(&entry.id, &name).unwrap();
    assert_eq!(pool.open(&name).unwrap().size().unwrap(), SIZE);
    pool.trash_image(&name, Duration::from_secs(3600)).unwrap();
    pool.remove_from_trash(&entry.id, TrashRemoval::Now)
        .unwrap();
    assert!(pool.trash().unwrap().iter().all(|left| left.id != entry.id));
}

#[test]
fn metadata_of_any_size_and_number() {
    let zones = zones();
    let image = TestImage::new(&zones, "metadata");
    let a = image.a();
    assert!(a.metadata().unwrap().is_empty());
    assert!(matches!(a.metadata_get("none"), Err(Error::NotFound(_))));
    assert_eq!(a.metadata_find("none").unwrap(), None);
    assert!(matches!(a.metadata_remove("none"), Err(Error::NotFound(_))));
    // More than a page, and more than the first buffers hold.
    for number in 0..130 {
        a.metadata_set(&format!("key-{number:03}"), &format!("value {number}"))
            .unwrap();
    }
    let long = "é".repeat(20_000);
    a.metadata_set("long", &long).unwrap();
    a.metadata_set("empty", "").unwrap();
    assert_eq!(a.metadata_get("long").unwrap(), long);
    assert_eq!(a.metadata_get("empty").unwrap(), "");
    let all = a.metadata().unwrap();
    assert_eq!(all.len(), 132);
    assert_eq!(all["key-129"], "value 129");
    assert_eq!((all["long"].len(), all["empty"].as_str()), (long.len(), ""));
    a.metadata_remove("long").unwrap();
    assert!(!a.metadata().unwrap().contains_key("long"));
    assert!(matches!(a.metadata_set("", "v"), Err(Error::Text { .. })));
    assert!(matches!(
        a.metadata_set("k", "a\0b"),
        Err(Error::Text { .. })
    ));
}

#[test]
fn snapshots_of_a_user() {
    let zones = zones();
    let image = TestImage::new(&zones, "snapshots");
    let a = image.a();
    assert!(a.snapshots().unwrap().is_empty());
    a.write(0, &pattern(1)).unwrap();
    for number in 0..20 {
        a.create_snapshot(&format!("s{number}")).unwrap();
    }
    assert!(matches!(a.create_snapshot("s1"), Err(Error::Exists(_))));
    let list = a.snapshots().unwrap();
    assert_eq!(list.len(), 20);
    assert!(
        list.iter()
            .all(|s| s.kind == SnapshotKind::User && s.size == SIZE)
    );
    let names: BTreeSet<_> = list.iter().map(|s| s.name.clone()).collect();
    assert_eq!(names.len(), 20);
    assert!(list.iter().all(|s| s.taken.as_secs() > 1_600_000_000));

    a.write(0, &pattern(2)).unwrap();
    a.flush().unwrap();
    let old = zones.a.pool.open_snapshot(&image.name, "s19").unwrap();
    let mut found = [0];
    old.read(0, &mut found).unwrap();
    assert_eq!(found, [1]);
    drop(old);
    a.roll_back("s19").unwrap();
    a.read(0, &mut found).unwrap();
    assert_eq!(found, [1]);

    a.protect_snapshot("s0").unwrap();
    assert!(matches!(a.remove_snapshot("s0"), Err(Error::Busy { .. })));
    a.unprotect_snapshot("s0").unwrap();
    for snapshot in list {
        if snapshot.id % 2 == 0 {
            a.remove_snapshot_by_id(snapshot.id).unwrap();
        } else {
            a.remove_snapshot(&snapshot.name).unwrap();
        }
    }
    assert!(a.snapshots().unwrap().is_empty());
    assert!(matches!(a.remove_snapshot("s0"), Err(Error::NotFound(_))));
}

#[test]
fn hard_case_37_clones_are_found_from_both_ends() {
    let zones = zones();
    let image = TestImage::new(&zones, "parent");
    let (pool, a) = (&zones.a.pool, image.a());
    assert_eq!(a.parent().unwrap(), None);
    assert!(a.children().unwrap().is_empty());
    a.write(0, &pattern(1)).unwrap();
    a.create_snapshot("base").unwrap();
    let child = TestImage {
        zones: &zones,
        name: unique("child"),
    };
    // Clone format 2 needs no protected snapshot, but a cluster that knows no old clients.
    let modern = serde_json::json!({"prefix": "osd set-require-min-compat-client",
        "version": "mimic", "yes_i_really_mean_it": true});
    zones.a.cluster.mon_command(&modern, &[]).unwrap();
    zones.a.cluster.wait_for_latest_osdmap().unwrap();
    let missing = pool
        .clone_image(&image.name, "nothing", pool, &child.name)
        .unwrap_err();
    assert!(matches!(missing, Error::NotFound(_)), "{missing}");
    pool.clone_image(&image.name, "base", pool, &child.name)
        .unwrap();

    let clone = child.a();
    let parent = clone.parent().unwrap().unwrap();
    assert_eq!(
        (parent.image.name.as_str(), parent.snapshot.as_str()),
        (&*image.name, "base")
    );
    assert_eq!(
        (parent.image.pool.as_str(), parent.image.pool_id),
        (pool.name(), pool.id())
    );
    assert_eq!(parent.image.id, a.id().unwrap());
    let children = a.children().unwrap();
    assert_eq!(children.len(), 1);
    assert_eq!(
        (children[0].name.as_str(), children[0].in_trash),
        (&*child.name, false)
    );

    clone.flatten().unwrap();
    assert_eq!(clone.parent().unwrap(), None);
    assert!(a.children().unwrap().is_empty());
    let error = clone.flatten().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    a.remove_snapshot("base").unwrap();
}

#[test]
fn locks_and_watchers_name_who_has_an_image() {
    let zones = zones();
    let image = TestImage::new(&zones, "lock");
    let other = side(&zones.ceph, &zones.lab, zones.a.site);
    let reader = zones.a.pool.open_read_only(&image.name).unwrap();
    assert!(reader.watchers().unwrap().is_empty());
    assert!(matches!(reader.lock_owners(), Err(Error::Invalid(_))));
    assert_eq!(image.a().lock_owners().unwrap(), None);

    let writer = other.pool.open(&image.name).unwrap();
    writer.write(0, &pattern(1)).unwrap();
    assert!(writer.holds_lock().unwrap());
    let watchers = reader.watchers().unwrap();
    assert_eq!(watchers.len(), 1, "{watchers:?}");
    assert_eq!(
        watchers[0].client,
        i64::try_from(other.cluster.instance_id()).unwrap()
    );
    let owners = image.a().lock_owners().unwrap().unwrap();
    assert_eq!(owners.mode, LockMode::Exclusive);
    assert_eq!(owners.addresses, [watchers[0].address.clone()]);
    assert!(
        other
            .cluster
            .addresses()
            .unwrap()
            .contains(&watchers[0].address)
    );
    writer.unlock().unwrap();
    assert_eq!(image.a().lock_owners().unwrap(), None);
    writer.lock().unwrap();
    writer.close().unwrap();
    assert_eq!(image.a().lock_owners().unwrap(), None);
}

#[test]
fn hard_case_31_a_blocklisted_writer_is_refused_and_can_be_let_back() {
    let zones = zones();
    let image = TestImage::new(&zones, "fence");
    let other = side(&zones.ceph, &zones.lab, zones.a.site);
    let writer = other.pool.open(&image.name).unwrap();
    writer.write(0, &pattern(1)).unwrap();
    writer.flush().unwrap();

    let address = image
        .a()
        .lock_owners()
        .unwrap()
        .unwrap()
        .addresses
        .remove(0);
    let cluster = &zones.a.cluster;
    cluster
        .blocklist_add(&address, Duration::from_secs(600))
        .unwrap();
    assert!(
        cluster
            .blocklist()
            .unwrap()
            .iter()
            .any(|entry| entry.address == address)
    );
    other.cluster.wait_for_latest_osdmap().unwrap();
    let error = wait(
        "the writer is refused",
        Duration::from_secs(20),
        || match writer.write(0, &pattern(2)).and_then(|_| writer.flush()) {
            Err(error) => Ok(error),
            Ok(()) => Err("it still writes".to_owned()),
        },
    );
    assert!(matches!(error, Error::Blocklisted(_)), "{error}");
    assert!(error.needs_reconnect() && !error.retryable());
    assert!(matches!(
        other.pool.read_object("any"),
        Err(Error::Blocklisted(_))
    ));
    drop(writer);

    // The image is as it was, and another client may have it.
    let a = image.a();
    let mut found = [0];
    a.read(0, &mut found).unwrap();
    assert_eq!(found, [1]);
    a.write(0, &pattern(3)).unwrap();
    a.flush().unwrap();
    drop(a);

    cluster.blocklist_remove(&address).unwrap();
    assert!(
        cluster
            .blocklist()
            .unwrap()
            .iter()
            .all(|entry| entry.address != address)
    );
    cluster.blocklist_remove(&address).unwrap();
    let error = cluster
        .blocklist_add("no address", Duration::from_secs(1))
        .unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let again = side(&zones.ceph, &zones.lab, zones.a.site);
    again
        .pool
        .open(&image.name)
        .unwrap()
        .write(0, &pattern(4))
        .unwrap();
}

fn mismatch(found: Option<&[u8]>) -> Compared {
    Compared::Mismatch {
        found: found.map(<[u8]>::to_vec),
    }
}

#[test]
fn an_object_is_changed_only_from_exactly_what_is_expected() {
    let zones = zones();
    let (pool, name) = (&zones.a.pool, unique("object"));
    assert!(matches!(pool.read_object(&name), Err(Error::NotFound(_))));
    let change = |expected, value: &[u8]| pool.compare_and_write(&name, expected, value).unwrap();

    assert_eq!(change(Expected::Value(b"x"), b"y"), mismatch(None));
    assert_eq!(pool.find_object(&name).unwrap(), None);
    assert_eq!(change(Expected::Absent, b"10"), Compared::Written);
    assert_eq!(change(Expected::Absent, b"11"), mismatch(Some(b"10")));
    // Shorter, longer, and what the OSD's own comparison takes for the same.
    for expected in [&b"1"[..], b"100", b"", b"10\0", b"1\0", b"11"] {
        assert_eq!(
            change(Expected::Value(expected), b"bad"),
            mismatch(Some(b"10"))
        );
    }
    assert_eq!(pool.read_object(&name).unwrap(), b"10");
    assert_eq!(change(Expected::Value(b"10"), b"9"), Compared::Written);
    assert_eq!(pool.read_object(&name).unwrap(), b"9");
    assert_eq!(change(Expected::Value(b"9"), b""), Compared::Written);
    assert_eq!(change(Expected::Value(b"\0"), b"bad"), mismatch(Some(b"")));
    assert_eq!(change(Expected::Value(b""), b"again"), Compared::Written);

    assert!(matches!(
        pool.create_object(&name, b"x"),
        Err(Error::Exists(_))
    ));
    let large = vec![7; LARGEST_OBJECT];
    pool.write_object(&name, &large).unwrap();
    assert_eq!(pool.read_object(&name).unwrap(), large);
    let too_large = vec![7; LARGEST_OBJECT + 1];
    assert!(matches!(
        pool.write_object(&name, &too_large),
        Err(Error::Range(_))
    ));
    pool.remove_object(&name).unwrap();
    assert!(matches!(pool.remove_object(&name), Err(Error::NotFound(_))));
}

/// Two clients that count one object up lose no step.
#[test]
fn compare_and_write_loses_no_step_between_clients() {
    const STEPS: u64 = 100;
    let zones = zones();
    let name = unique("counter");
    zones.a.pool.create_object(&name, b"0").unwrap();
    let count = |side: Side| {
        for _ in 0..STEPS {
            loop {
                let old = side.pool.read_object(&name).unwrap();
                let number: u64 = String::from_utf8(old.clone()).unwrap().parse().unwrap();
                let new = (number + 1).to_string();
                let answer =
                    side.pool
                        .compare_and_write(&name, Expected::Value(&old), new.as_bytes());
                if answer.unwrap() == Compared::Written {
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count(side(&zones.ceph, &zones.lab, zones.a.site)));
        }
    });
    assert_eq!(
        zones.a.pool.read_object(&name).unwrap(),
        (4 * STEPS).to_string().into_bytes()
    );
    zones.a.pool.remove_object(&name).unwrap();
}

#[test]
fn a_namespace_is_a_place_of_its_own() {
    let zones = zones();
    let (pool, name) = (&zones.a.pool, unique("object"));
    let inner = pool.namespace("rekindle").unwrap();
    inner.write_object(&name, b"inside").unwrap();
    assert_eq!(pool.find_object(&name).unwrap(), None);
    assert_eq!(
        inner
            .compare_and_write(&name, Expected::Value(b"inside"), b"changed")
            .unwrap(),
        Compared::Written
    );
    assert_eq!(inner.read_object(&name).unwrap(), b"changed");
    inner.remove_object(&name).unwrap();
}
