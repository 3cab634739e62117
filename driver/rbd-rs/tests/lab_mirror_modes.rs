//! Each mirroring mode on two real zones: enabled, seen on the peer, moved there and back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use rbd_rs::{
    BusyReason, Disable, Error, Features, MirrorMode, MirrorScope, MirrorSnapshotState,
    MirrorState, PoolMirrorMode, Promote, Quiesce, ReplayDetail, ReplayState, Role, SnapshotKind,
};
use support::{MIRROR, TestImage, pattern, unique, wait, zones};

/// From A to B and back, plainly, with new data on each side.
fn move_there_and_back(image: &TestImage<'_>) {
    let zones = image.zones;
    for (from, to, number) in [(&zones.a, &zones.b, 2), (&zones.b, &zones.a, 3)] {
        // The other side must follow before anybody demotes: with no primary anywhere its daemon
        // would not begin to replay, and the demotion would never arrive.
        image.wait_until_followed(from, to);
        write(image, from, number);
        let mark = image.demote(from);
        image.promote_after(to, &mark);
        image.wait_for_data(to, number);
        assert_eq!(image.role(to), Role::Primary);
        assert_eq!(image.role(from), Role::NonPrimary);
    }
    // The daemon of B follows A again.
    write(image, &zones.a, 4);
    image.wait_for_data(&zones.b, 4);
}

/// Writes on the primary, and sends it off in snapshot mode.
fn write(image: &TestImage<'_>, primary: &support::Side, number: u8) {
    let open = primary.pool.open(&image.name).unwrap();
    open.write(0, &pattern(number)).unwrap();
    open.flush().unwrap();
    if open.mirror_mode().unwrap() == MirrorMode::Snapshot {
        open.create_mirror_snapshot(Quiesce::IfPossible).unwrap();
    }
}

#[test]
fn journal_mode_carries_data_and_metadata_there_and_back() {
    let zones = zones();
    let image = TestImage::new(&zones, "journal");
    let a = image.a();
    a.write(0, &pattern(1)).unwrap();
    a.metadata_set("rekindle.group", "web").unwrap();
    assert!(!a.features().unwrap().contains(Features::JOURNALING));
    a.mirror_enable(MirrorMode::Journal).unwrap();
    assert!(
        a.features()
            .unwrap()
            .contains(Features::EXCLUSIVE_LOCK | Features::JOURNALING)
    );
    assert_eq!(a.mirror_mode().unwrap(), MirrorMode::Journal);
    assert_eq!(a.mirror_mode_alone().unwrap(), MirrorMode::Journal);
    let info = a.mirror_info().unwrap();
    assert_eq!(
        (info.state, info.role),
        (MirrorState::Enabled, Role::Primary)
    );

    image.wait_for_data(&zones.b, 1);
    assert_eq!(image.role(&zones.b), Role::NonPrimary);
    let there = zones.b.pool.open_read_only(&image.name).unwrap();
    assert_eq!(there.mirror_info().unwrap().global_id, info.global_id);
    assert_eq!(there.mirror_mode().unwrap(), MirrorMode::Journal);
    assert_eq!(there.metadata_get("rekindle.group").unwrap(), "web");

    // A change travels by itself.
    a.metadata_set("rekindle.group", "db").unwrap();
    wait("the change of the metadata arrives", MIRROR, || {
        let there = zones.b.pool.open_read_only(&image.name).unwrap();
        let value = there.metadata_get("rekindle.group").unwrap();
        if value == "db" { Ok(()) } else { Err(value) }
    });
    let status = image.wait_for_status(&zones.b, "replaying with figures", |status| {
        status.state == ReplayState::Replaying
            && matches!(&status.detail, ReplayDetail::Journal(journal)
                if journal.entries_behind_primary == Some(0))
    });
    assert_eq!(status.word(), "up+replaying");
    drop(a);
    move_there_and_back(&image);
}

#[test]
fn snapshot_mode_carries_data_and_metadata_there_and_back() {
    let zones = zones();
    let image = TestImage::new(&zones, "snapshot");
    let a = image.a();
    a.write(0, &pattern(1)).unwrap();
    a.flush().unwrap();
    a.metadata_set("rekindle.group", "web").unwrap();
    a.mirror_enable(MirrorMode::Snapshot).unwrap();
    assert_eq!(a.mirror_mode().unwrap(), MirrorMode::Snapshot);
    assert_eq!(a.mirror_mode_alone().unwrap(), MirrorMode::Snapshot);
    assert!(!a.features().unwrap().contains(Features::JOURNALING));

    image.wait_for_data(&zones.b, 1);
    let there = zones.b.pool.open_read_only(&image.name).unwrap();
    assert_eq!(there.metadata_get("rekindle.group").unwrap(), "web");
    assert!(there.features().unwrap().contains(Features::NON_PRIMARY));

    a.metadata_set("rekindle.group", "db").unwrap();
    a.create_snapshot("by-a-user").unwrap();
    let id = a.create_mirror_snapshot(Quiesce::IfPossible).unwrap();

    // Mirroring's snapshots are told from a user's (hard case 44).
    let snapshots = a.snapshots().unwrap();
    let users: Vec<_> = snapshots
        .iter()
        .filter(|s| s.kind == SnapshotKind::User)
        .collect();
    assert_eq!(users.len(), 1, "{snapshots:?}");
    assert_eq!(
        (users[0].name.as_str(), users[0].size),
        ("by-a-user", support::SIZE)
    );
    let own = a.mirror_snapshots().unwrap();
    let newest = own.iter().find(|s| s.snapshot.id == id).unwrap();
    assert_eq!(
        (newest.state, newest.complete),
        (MirrorSnapshotState::Primary, true)
    );
    assert!(newest.primary_mirror_uuid.is_empty());

    let status = image.wait_for_status(&zones.b, "idle with that snapshot", |status| {
        matches!(&status.detail, ReplayDetail::Snapshot(replay)
            if replay.local_snapshot_timestamp == Some(newest.snapshot.taken.as_secs()))
    });
    let ReplayDetail::Snapshot(replay) = &status.detail else {
        panic!("{status:?}")
    };
    assert_eq!(
        replay.local_snapshot_timestamp,
        replay.remote_snapshot_timestamp
    );
    let there = zones.b.pool.open_read_only(&image.name).unwrap();
    assert_eq!(there.metadata_get("rekindle.group").unwrap(), "db");
    let copied = there.mirror_snapshots().unwrap();
    let last = copied.last().unwrap();
    assert_eq!(
        (last.state, last.complete),
        (MirrorSnapshotState::NonPrimary, true)
    );
    assert_eq!(last.primary_snapshot_id, id);
    assert_eq!(
        last.primary_mirror_uuid,
        zones.a.pool.mirror_uuid().unwrap()
    );
    drop(a);
    move_there_and_back(&image);
}

#[test]
fn the_copy_refuses_what_only_the_primary_may_do() {
    let zones = zones();
    for mode in [MirrorMode::Journal, MirrorMode::Snapshot] {
        let image = TestImage::mirrored(&zones, "copy", mode);
        let (a, b) = (image.a(), image.b());
        assert!(
            b.write(0, b"x")
                .and_then(|_| b.flush())
                .unwrap_err()
                .is_write_refused()
        );
        assert!(b.metadata_set("k", "v").unwrap_err().is_write_refused());
        let error = b.mirror_promote(Promote::Plain).unwrap_err();
        let reason = BusyReason::PeerPrimaryOrDemotionPending;
        assert!(
            matches!(&error, Error::Busy { reason: r, .. } if *r == reason),
            "{error}"
        );
        assert!(error.retryable());
        let error = b.mirror_demote().unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongRole {
                    role: Role::NonPrimary,
                    ..
                }
            ),
            "{error}"
        );
        let error = b.create_mirror_snapshot(Quiesce::Skip).unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongRole {
                    role: Role::NonPrimary,
                    ..
                }
            ),
            "{error}"
        );
        // And the primary what only the copy may.
        let error = a.mirror_promote(Promote::Plain).unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongRole {
                    role: Role::Primary,
                    ..
                }
            ),
            "{error}"
        );
        let error = a.mirror_resync().unwrap_err();
        assert!(
            matches!(
                error,
                Error::WrongRole {
                    role: Role::Primary,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(image.role(&zones.a), Role::Primary);
    }
}

#[test]
fn hard_case_36_not_mirrored_is_a_state() {
    let zones = zones();
    let image = TestImage::new(&zones, "plain");
    let a = image.a();
    assert_eq!(a.mirror_info().unwrap().state, MirrorState::Disabled);
    let errors = [
        ("mode", a.mirror_mode().unwrap_err()),
        ("status", a.mirror_status().unwrap_err()),
        (
            "plain promotion",
            a.mirror_promote(Promote::Plain).unwrap_err(),
        ),
        (
            "forced promotion",
            a.mirror_promote(Promote::Force).unwrap_err(),
        ),
        ("demotion", a.mirror_demote().unwrap_err()),
        ("resync", a.mirror_resync().unwrap_err()),
        (
            "snapshot",
            a.create_mirror_snapshot(Quiesce::Skip).unwrap_err(),
        ),
    ];
    for (what, error) in errors {
        let is_it = matches!(
            error,
            Error::NotMirrored {
                scope: MirrorScope::Image,
                ..
            }
        );
        assert!(is_it, "{what}: {error}");
        assert!(!error.retryable());
        assert!(
            error.call().unwrap().subject.ends_with(&image.name),
            "{what}"
        );
    }
}

#[test]
fn disabling_takes_the_copy_away() {
    let zones = zones();
    let image = TestImage::mirrored(&zones, "disable", MirrorMode::Snapshot);
    let b = image.b();
    let error = b.mirror_disable(Disable::Plain).unwrap_err();
    assert!(
        matches!(
            error,
            Error::WrongRole {
                role: Role::NonPrimary,
                ..
            }
        ),
        "{error}"
    );
    drop(b);
    image.a().mirror_disable(Disable::Plain).unwrap();
    assert_eq!(
        image.a().mirror_info().unwrap().state,
        MirrorState::Disabled
    );
    wait("the copy goes", MIRROR, || {
        match zones.b.pool.open_read_only(&image.name) {
            Err(Error::NotFound(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_pool_that_is_not_mirrored_says_so() {
    let zones = zones();
    let name = unique("pool");
    zones.a.cluster.create_pool(&name, 1).unwrap();
    let pool = zones.a.cluster.pool(&name).unwrap();
    assert_eq!(pool.mirror_mode().unwrap(), PoolMirrorMode::Disabled);
    assert!(pool.mirror_peers().unwrap().is_empty());
    let uuid = pool.mirror_uuid();
    assert!(
        matches!(
            uuid,
            Err(Error::NotMirrored {
                scope: MirrorScope::Pool,
                ..
            })
        ),
        "{uuid:?}"
    );
    assert!(pool.mirrored_images().unwrap().is_empty());

    pool.create_image("i", 1 << 20, &rbd_rs::CreateOptions::default())
        .unwrap();
    let image = pool.open("i").unwrap();
    for mode in [MirrorMode::Journal, MirrorMode::Snapshot] {
        let error = image.mirror_enable(mode).unwrap_err();
        let is_it = matches!(
            error,
            Error::NotMirrored {
                scope: MirrorScope::Pool,
                ..
            }
        );
        assert!(is_it, "{error}");
    }
    drop(image);
    pool.set_mirror_mode(PoolMirrorMode::Image).unwrap();
    assert_eq!(pool.mirror_mode().unwrap(), PoolMirrorMode::Image);
    pool.set_mirror_mode(PoolMirrorMode::Disabled).unwrap();
    drop(pool);
    let sure = serde_json::json!({"prefix": "osd pool delete", "pool": name, "pool2": name,
        "yes_i_really_really_mean_it": true});
    zones.a.cluster.mon_command(&sure, &[]).unwrap();
}

#[test]
fn pools_name_their_peers() {
    let zones = zones();
    for (here, there) in [(&zones.a, &zones.b), (&zones.b, &zones.a)] {
        assert_eq!(here.cluster.mirror_site_name().unwrap(), here.site.name());
        assert_eq!(here.pool.mirror_mode().unwrap(), PoolMirrorMode::Image);
        let peers = here.pool.mirror_peers().unwrap();
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].site_name, there.site.name());
        assert_eq!(peers[0].direction, rbd_rs::PeerDirection::Both);
        // It is what the other site calls itself, so reports can be told apart by it.
        assert_eq!(peers[0].mirror_uuid, there.pool.mirror_uuid().unwrap());
        assert!(peers[0].client_name.starts_with("client."));
        assert!(!here.pool.create_mirror_bootstrap().unwrap().is_empty());
    }
    let error = zones
        .a
        .pool
        .import_mirror_bootstrap("no token", rbd_rs::PeerDirection::Both)
        .unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert!(!error.to_string().contains("no token"));
}

#[test]
fn all_images_of_a_pool_are_told_in_one_list() {
    let zones = zones();
    let images: Vec<_> = [MirrorMode::Journal, MirrorMode::Snapshot]
        .into_iter()
        .cycle()
        .take(6)
        .map(|mode| {
            let image = TestImage::new(&zones, "list");
            image.a().mirror_enable(mode).unwrap();
            (image, mode)
        })
        .collect();
    for (side, role) in [(&zones.a, Role::Primary), (&zones.b, Role::NonPrimary)] {
        wait(&format!("all are listed on {}", side.site), MIRROR, || {
            let list = side.pool.mirrored_images().unwrap();
            for (image, mode) in &images {
                let entry = list
                    .iter()
                    .find(|entry| entry.status.as_ref().is_some_and(|s| s.name == image.name))
                    .ok_or_else(|| format!("{} is missing", image.name))?;
                let info = entry.info.as_ref().ok_or("no info yet")?;
                assert_eq!((info.role, entry.mode), (role, Some(*mode)));
                let status = entry.status.as_ref().unwrap();
                assert_eq!(status.global_id, info.global_id);
                status
                    .local()
                    .filter(|s| s.updated > 0)
                    .ok_or("no local report yet")?;
                status.remotes().next().ok_or("no remote report yet")?;
            }
            Ok(())
        });
    }
    let instances = zones.b.pool.mirror_instances().unwrap();
    assert!(instances.len() >= images.len(), "{instances:?}");
    let summary = zones.b.pool.mirror_summary().unwrap();
    let counted: u64 = summary.values().sum();
    assert!(
        counted >= u64::try_from(images.len()).unwrap(),
        "{summary:?}"
    );
}
