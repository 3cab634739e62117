//! A zone that dies in the middle of a copy, on real Ceph.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rbd_rs::{CreateOptions, Image, Quiesce, SnapshotKind};
use rekindle_common::{
    ErrorCode, Generation, GroupName, ImageSpec,
    action::{Promotion, VolumeAction},
    mode::ReplicationMode,
    volume::Role,
};
use rekindle_lab::Site;
use std::time::{Duration, Instant};
use support::*;

/// Large enough that a copy of all of it takes a good part of a second.
const LARGE: u64 = 256 << 20;
const OBJECT: u64 = 4 << 20;

/// Writes one number at the start of every object, and enough behind it to take time to copy.
fn fill(image: &Image, value: u64) {
    let block: Vec<u8> = value.to_le_bytes().repeat(64 << 10);
    for object in 0..LARGE / OBJECT {
        for part in 0..2 {
            let at = object * OBJECT + part * block.len() as u64;
            image.write(at, &block).unwrap();
        }
    }
    image.flush().unwrap();
}

/// The number that each object begins with; none where the image is not there.
fn values(z: &Zones, site: Site, spec: &ImageSpec) -> Vec<u64> {
    let pool = z.admin(site).pool(POOL).unwrap();
    let Ok(image) = pool.open_read_only(spec.image()) else {
        return Vec::new();
    };
    let read = |object: u64| {
        let mut number = [0; 8];
        image.read(object * OBJECT, &mut number).unwrap();
        u64::from_le_bytes(number)
    };
    (0..LARGE / OBJECT).map(read).collect()
}

fn all(values: &[u64], value: u64) -> bool {
    !values.is_empty() && values.iter().all(|v| *v == value)
}

/// Waits until the copy is whole, and is this state.
async fn arrives(z: &Zones, spec: &ImageSpec, value: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let pool = z.admin(Site::ZoneB).pool(POOL).unwrap();
        let copy = pool.open_read_only(spec.image());
        let whole = copy.is_ok_and(|c| matches!(c.interrupted_copy(), Ok(None)));
        if whole && all(&values(z, Site::ZoneB, spec), value) {
            return;
        }
        assert!(Instant::now() < deadline, "state {value} did not arrive");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of the state of that number.
fn users(value: u64) -> String {
    format!("snapshot-{value}")
}

/// The user snapshots of zone B's image, by name.
fn users_in_b(z: &Zones, spec: &ImageSpec) -> Vec<String> {
    let pool = z.admin(Site::ZoneB).pool(POOL).unwrap();
    let all = pool.open_read_only(spec.image()).unwrap().snapshots();
    let users = all.unwrap().into_iter();
    users
        .filter(|s| s.kind == SnapshotKind::User)
        .map(|s| s.name)
        .collect()
}

/// The copy's snapshots change while it is looked at.
fn interrupted(z: &Zones, spec: &ImageSpec) -> bool {
    let pool = z.admin(Site::ZoneB).pool(POOL).unwrap();
    let image = pool.open_read_only(spec.image()).unwrap();
    matches!(image.interrupted_copy(), Ok(Some(copy)) if copy.copied_objects > 0)
}

/// Takes states until the copy of one is caught in its middle, and stops the daemon there. Gives the last whole state.
/// `then`: what else is done to the primary in each of them.
async fn catch_in_the_middle(
    z: &Zones,
    spec: &ImageSpec,
    primary: &Image,
    then: impl Fn(u64),
) -> u64 {
    for value in 3..20 {
        fill(primary, value);
        then(value);
        primary.create_mirror_snapshot(Quiesce::Skip).unwrap();
        let soon = Instant::now() + Duration::from_secs(3);
        while Instant::now() < soon {
            if interrupted(z, spec) {
                z.lab.pause_service(Site::ZoneB, "rbd-mirror").unwrap();
                if interrupted(z, spec) {
                    return value - 1;
                }
                z.lab.resume_service(Site::ZoneB, "rbd-mirror").unwrap();
                break;
            }
        }
        arrives(z, spec, value).await;
    }
    panic!("no copy was caught in its middle");
}

/// A volume whose state 2 is whole in zone B.
async fn in_its_second_state(z: &Zones, group: &GroupName) -> (ImageSpec, Image) {
    let spec = ImageSpec::new(POOL, format!("volume-{}", uuid::Uuid::new_v4())).unwrap();
    let admin = z.admin(Site::ZoneA).pool(POOL).unwrap();
    admin
        .create_image(spec.image(), LARGE, &CreateOptions::default())
        .unwrap();
    let primary = admin.open(spec.image()).unwrap();
    fill(&primary, 1);
    z.a.volumes
        .act(&spec, replicate(ReplicationMode::Once, group))
        .await
        .unwrap();
    arrives(z, &spec, 1).await;
    fill(&primary, 2);
    primary.create_mirror_snapshot(Quiesce::Skip).unwrap();
    arrives(z, &spec, 2).await;
    (spec, primary)
}

/// Zone A is gone, with the copy of its last state in its middle.
fn dies(z: &Zones, spec: &ImageSpec, primary: Image, whole: u64) {
    z.lab.kill(Site::ZoneA).unwrap();
    // Closing it would wait for the dead zone, also where a test fails.
    std::mem::forget(primary);
    z.lab.resume_service(Site::ZoneB, "rbd-mirror").unwrap();
    let torn = values(z, Site::ZoneB, spec);
    assert!(
        torn.contains(&(whole + 1)),
        "nothing of it had arrived: {torn:?}"
    );
}

/// What a forced promotion brings up is the last state that was whole: not the half of the next, and not the one before
/// (librbd's own roll-back on 16.2.15 brings up that).
#[tokio::test(flavor = "multi_thread")]
async fn hard_case_23_a_zone_that_dies_in_the_middle_of_a_copy_loses_that_copy_and_no_more() {
    let z = zones();
    let group = new_group();
    let (spec, primary) = in_its_second_state(&z, &group).await;
    let whole = catch_in_the_middle(&z, &spec, &primary, |_| {}).await;
    dies(&z, &spec, primary, whole);

    z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
    let begun = Instant::now();
    let o = z.b.volumes.act(&spec, order(forced(), 2)).await.unwrap();
    assert_eq!(o.report.role, Role::Primary);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let found = values(&z, Site::ZoneB, &spec);
    // What the daemon had read before its zone died it may still have written: then the next state is whole too.
    assert!(
        all(&found, whole) || all(&found, whole + 1),
        "neither all {whole} nor the next: {found:?}"
    );
    // It takes writes, and what is written is read: the object map is right.
    let image = z.admin(Site::ZoneB).pool(POOL).unwrap();
    let image = image.open(spec.image()).unwrap();
    fill(&image, 99);
    drop(image);
    assert!(all(&values(&z, Site::ZoneB, &spec), 99));
    z.lab.start(Site::ZoneA).unwrap();
    z.lab.wait_mirroring(Duration::from_secs(240)).unwrap();
}

/// rbd-mirror makes a user's snapshot in zone B before it copies what that is to hold: interrupted, it holds something else.
#[tokio::test(flavor = "multi_thread")]
async fn hard_case_23_a_users_snapshot_of_a_copy_that_was_interrupted_is_nobodys_to_use() {
    let z = zones();
    let group = new_group();
    let (spec, primary) = in_its_second_state(&z, &group).await;
    primary.create_snapshot(&users(2)).unwrap();
    let taken = |value| primary.create_snapshot(&users(value)).unwrap();
    let whole = catch_in_the_middle(&z, &spec, &primary, taken).await;
    dies(&z, &spec, primary, whole);

    z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
    // What the daemon had read before its zone died it may still have written: then the copy is whole, and nobody has to be asked.
    let promoted = z.b.volumes.act(&spec, order(forced(), 2)).await;
    if let Err(error) = promoted {
        assert_eq!(error.code, ErrorCode::NoCompleteCopy, "{error:?}");
        let names = error.message.contains(&users(whole + 1));
        assert!(names, "{error:?}");
        assert!(error.message.contains("--accept-torn"), "{error:?}");
        // It is as it was, and its snapshots have their names.
        let report = z.b.volumes.volume(&spec).await.unwrap();
        assert_eq!(report.role, Role::Secondary);
        let kept = users_in_b(&z, &spec).contains(&users(whole + 1));
        assert!(kept && interrupted(&z, &spec), "{report:?}");
        let word = VolumeAction::Promote {
            promotion: Promotion::Forced {
                reason: "a person has decided".to_owned(),
                accept_torn: true,
            },
        };
        let o = z.b.volumes.act(&spec, order(word, 2)).await.unwrap();
        assert_eq!(o.report.role, Role::Primary);
    }
    let (found, snapshots) = (values(&z, Site::ZoneB, &spec), users_in_b(&z, &spec));
    println!("whole {whole}, found {found:?}, snapshots {snapshots:?}");
    let report = z.b.volumes.volume(&spec).await.unwrap();
    let told = |name: &&String| report.concerns.iter().any(|c| c.contains(*name));
    let torn: Vec<&String> = snapshots.iter().filter(|n| n.contains("-torn-")).collect();
    // What the daemon had read before its zone died it may still have written: then the next state is whole, and so is its snapshot.
    if all(&found, whole + 1) && torn.is_empty() {
        assert!(snapshots.contains(&users(whole + 1)), "{snapshots:?}");
    } else {
        assert!(!snapshots.contains(&users(whole + 1)), "{snapshots:?}");
        let aside = format!("{}.rekindle-torn-", users(whole + 1));
        assert!(torn.iter().any(|n| n.starts_with(&aside)), "{snapshots:?}");
        assert!(torn.iter().all(told), "{report:?}");
    }
    // The one of the state before came with a copy that is whole, but for the first: that one was taken behind its state's.
    if whole > 2 {
        assert!(snapshots.contains(&users(whole)), "{snapshots:?}");
    }
    // A person takes them away, and nothing is left to tell.
    let image = z.admin(Site::ZoneB).pool(POOL).unwrap();
    let image = image.open(spec.image()).unwrap();
    for name in torn {
        image.remove_snapshot(name).unwrap();
    }
    drop(image);
    let report = z.b.volumes.volume(&spec).await.unwrap();
    assert!(
        !report.concerns.iter().any(|c| c.contains("set aside")),
        "{report:?}"
    );
    z.lab.start(Site::ZoneA).unwrap();
    z.lab.wait_mirroring(Duration::from_secs(240)).unwrap();
}
