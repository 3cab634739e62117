//! Each rule by an example.

use super::model::{A, B, Image, World, image, record, time, uuid, zone};
use crate::catalogue::{Change, Images, Kind, SILENT_FOR, SnapshotRecord, Verdict, decide, words};
use rekindle_common::{
    duration::Span, facts::LeftOut, mode::MirrorImageMode, status::VolumeStatus, volume::Role,
};
use std::collections::BTreeMap;

pub(super) fn names(v: &Verdict) -> Vec<&'static str> {
    v.mends.iter().map(|m| m.change.name()).collect()
}
fn kinds(v: &Verdict) -> Vec<Kind> {
    v.findings.iter().map(|f| f.kind).collect()
}
/// A volume of zone-a, settled, and the id of its record in zone-b.
pub(super) fn settled() -> (World, String) {
    let mut w = World::default().with_volume(A, 1);
    w.settle();
    let id = w.zones[B].records.of(&image(1)).next().unwrap().id.clone();
    (w, id)
}
fn snapshot(volume: &str, n: u32) -> SnapshotRecord {
    SnapshotRecord {
        id: uuid(n),
        volume: volume.to_owned(),
        name: Some("before".to_owned()),
        description: None,
        status: "available".to_owned(),
        metadata: BTreeMap::new(),
        created_at: Some(time(50)),
    }
}
/// zone-a's volume gets a snapshot, in Cinder and in both Cephs.
fn with_snapshot(w: &mut World, n: u32) {
    w.zones[A]
        .records
        .snapshots
        .insert(uuid(n), snapshot(&uuid(1), n));
    for z in &mut w.zones {
        let i = z.images.get_mut(&image(1)).unwrap();
        i.snapshots.insert(format!("snapshot-{}", uuid(n)));
    }
}

#[test]
fn a_copy_becomes_a_volume_of_the_mapped_project_and_type_and_shows_what_it_is() {
    let mut w = World::default().with_volume(A, 1);
    let made = w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap();
    made.name = Some("žluť 🦀".to_owned());
    made.bootable = true;
    made.image_metadata
        .insert("os_distro".to_owned(), "debian".to_owned());
    w.settle();
    let theirs = w.zones[B].records.of(&image(1)).next().unwrap();
    assert_eq!(
        (
            theirs.name.as_deref(),
            theirs.project_id.as_str(),
            theirs.volume_type.as_deref()
        ),
        (Some("žluť 🦀"), "project-1", Some("type-1"))
    );
    assert!(theirs.bootable && theirs.made_by_us());
    assert_eq!(theirs.image_metadata["os_distro"], "debian");
    let shown = |z: usize, k: &str| {
        let r = w.zones[z].records.of(&image(1)).next().unwrap();
        r.metadata.get(k).cloned().unwrap_or_default()
    };
    assert_eq!(shown(A, words::STATUS), "active - primary");
    assert_eq!(shown(B, words::STATUS), "active - secondary");
    assert_eq!(shown(B, words::ZONE), "zone-b");
    assert_eq!(shown(B, words::MODE), "instant");
    assert_eq!(shown(B, words::PEER), format!("zone-a/{}", uuid(1)));
    assert_eq!(shown(A, words::IMAGE), "", "that one was made by a user");
    let told = w.zones[B].images[&image(1)].told.as_ref().unwrap();
    assert_eq!((&told.zone, told.id.as_str()), (&zone(A), &*uuid(1)));
}

#[test]
fn what_the_primarys_zone_changes_follows() {
    let (mut w, id) = settled();
    let made = w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap();
    (made.name, made.description) = (None, Some("x".repeat(255)));
    made.size_gib = 3;
    made.image_metadata.insert("a".to_owned(), "b".to_owned());
    for z in &mut w.zones {
        z.images.get_mut(&image(1)).unwrap().gib = 3;
    }
    assert_eq!(
        names(&w.decide()),
        ["grow", "name", "image_metadata", "describe"]
    );
    w.settle();
    let theirs = &w.zones[B].records.volumes[&id];
    assert_eq!((theirs.name.as_ref(), theirs.size_gib), (None, 3));
    // What is changed on the copy's record is put back.
    let theirs = w.zones[B].records.volumes.get_mut(&id).unwrap();
    theirs.name = Some("mine".to_owned());
    theirs
        .metadata
        .insert(words::STATUS.to_owned(), "available".to_owned());
    assert_eq!(names(&w.decide()), ["show", "name"]);
}

#[test]
fn every_gap_is_named_and_nothing_is_made_meanwhile() {
    let mut w = World {
        unmapped: true,
        ..World::default()
    }
    .with_volume(A, 1);
    w.settle();
    assert_eq!(kinds(&w.decide()), [Kind::Project]);
    w.unmapped = false;
    w.zones[A]
        .records
        .volumes
        .get_mut(&uuid(1))
        .unwrap()
        .volume_type = Some("gold".to_owned());
    assert_eq!(kinds(&w.decide()), [Kind::VolumeType]);
    let made = w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap();
    made.volume_type = Some("type-0".to_owned());
    made.encryption_key_id = Some("key".to_owned());
    assert_eq!(kinds(&w.decide()), [Kind::Key]);
    w.zones[A]
        .records
        .volumes
        .get_mut(&uuid(1))
        .unwrap()
        .encryption_key_id = None;
    let (a, mut b) = (w.sight(A), w.sight(B));
    b.hosts.clear();
    assert_eq!(kinds(&decide(&a, &b, &w.mapping())), [Kind::Backend]);
    // A Keystone that does not answer is no gap, and nothing is guessed.
    let mut b = w.sight(B);
    b.projects = None;
    let v = decide(&a, &b, &w.mapping());
    assert_eq!(
        (kinds(&v), names(&v).contains(&"import_volume")),
        (vec![], false)
    );
}

#[test]
fn a_zone_that_does_not_answer_leaves_the_facts_in_the_metadata() {
    let mut w = World::default().with_volume(A, 1);
    w.zones[B].no_cinder = true;
    w.settle();
    // zone-b's Cinder is back, zone-a is gone.
    w.zones[B].no_cinder = false;
    (w.zones[A].no_cinder, w.zones[A].silent) = (true, true);
    w.settle();
    let theirs = w.zones[B].records.of(&image(1)).next().unwrap();
    assert_eq!(theirs.name.as_deref(), Some("data"));
    assert_eq!(theirs.metadata.get(words::PEER), None, "not known now");
    // And without them nobody can tell.
    let mut w = World::default().with_volume(A, 1);
    (w.zones[A].no_cinder, w.zones[A].silent) = (true, true);
    assert_eq!(kinds(&w.decide()), [Kind::Undescribed]);
}

#[test]
fn a_record_that_cinder_still_makes_is_not_asked_for_twice_and_a_failed_one_is_tried_again() {
    let (mut w, id) = settled();
    let theirs = w.zones[B].records.volumes.get_mut(&id).unwrap();
    (theirs.name_id, theirs.size_gib) = (None, 0);
    "creating".clone_into(&mut theirs.status);
    assert_eq!(names(&w.decide()), Vec::<&str>::new());
    "error".clone_into(&mut w.zones[B].records.volumes.get_mut(&id).unwrap().status);
    let v = w.decide();
    assert_eq!(
        (names(&v), kinds(&v)),
        (vec!["drop_failed_import"], vec![Kind::ImportFailed])
    );
}

#[test]
fn a_volume_that_is_no_more_is_forgotten_with_its_snapshots_and_only_then() {
    let forgets = |w: &World| names(&w.decide());
    let (mut w, id) = settled();
    with_snapshot(&mut w, 7);
    w.settle();
    for z in &mut w.zones {
        z.images.clear();
    }
    // Its record in zone-a is there still.
    let v = w.decide();
    assert_eq!(names(&v), Vec::<&str>::new());
    assert_eq!(kinds(&v), [Kind::OrphanRecord, Kind::OrphanRecord]);
    w.zones[A].records = Default::default();
    for (silent, partial, no_cinder) in [
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        for z in [A, B] {
            let mut w = w.clone();
            (w.zones[z].silent, w.zones[z].partial, w.zones[z].no_cinder) =
                (silent, partial, no_cinder);
            assert_eq!(
                forgets(&w),
                Vec::<&str>::new(),
                "{silent} {partial} {no_cinder} {z}"
            );
        }
    }
    let mut used = w.clone();
    used.zones[B].records.volumes.get_mut(&id).unwrap().attached = true;
    let v = used.decide();
    assert_eq!((names(&v), kinds(&v)), (vec![], vec![Kind::OrphanRecord]));
    let mut own = w.clone();
    own.zones[B]
        .records
        .volumes
        .get_mut(&id)
        .unwrap()
        .metadata
        .remove(words::IMAGE);
    let v = own.decide();
    assert_eq!((names(&v), kinds(&v)), (vec![], vec![Kind::OrphanRecord]));
    assert_eq!(forgets(&w), ["forget_snapshot"]);
    w.settle();
    assert!(w.zones[B].records.volumes.is_empty() && w.zones[B].records.snapshots.is_empty());
}

#[test]
fn without_an_answer_by_name_nothing_is_forgotten() {
    let (mut w, _) = settled();
    for z in &mut w.zones {
        z.images.clear();
    }
    w.zones[A].records = Default::default();
    let mut b = w.sight(B);
    let v = decide(&w.sight(A), &b, &w.mapping());
    assert_eq!((names(&v), v.asks.len()), (vec![], 1));
    for named in [
        super::super::Named::Unknown,
        super::super::Named::Replicated,
    ] {
        b.named.insert(image(1), named);
        let v = decide(&w.sight(A), &b, &w.mapping());
        assert_eq!((names(&v), v.asks.len()), (vec![], 0), "{named:?}");
    }
    b.named.insert(image(1), super::super::Named::NotThere);
    let v = decide(&w.sight(A), &b, &w.mapping());
    assert_eq!(
        (names(&v), v.asks.len()),
        (vec![], 1),
        "the other zone is asked too"
    );
}

#[test]
fn a_volume_that_is_replicated_no_more_is_ordinary_again_and_its_copys_record_goes() {
    let (mut w, id) = settled();
    let plain = |i: &mut Image| (i.role, i.status) = (Role::NotMirrored, VolumeStatus::ErrorOrphan);
    plain(w.zones[A].images.get_mut(&image(1)).unwrap());
    w.zones[B].images.clear();
    w.settle();
    assert!(!w.zones[A].records.volumes[&uuid(1)].is_marked());
    assert!(w.zones[B].records.volumes.is_empty());
    // Where the copy was kept, and the original went: it is its users' own from now on.
    let (mut w, _) = settled();
    w.zones[A] = Default::default();
    plain(w.zones[B].images.get_mut(&image(1)).unwrap());
    w.settle();
    let theirs = &w.zones[B].records.volumes[&id];
    assert!(!theirs.is_marked() && !theirs.made_by_us());
}

#[test]
fn hard_case_59_a_resync_deletes_the_copy_for_a_while_and_its_record_stays() {
    let (mut w, id) = settled();
    w.zones[B].images.clear();
    let v = w.decide();
    assert_eq!((names(&v), kinds(&v)), (vec![], vec![Kind::OrphanRecord]));
    assert!(w.zones[B].records.volumes.contains_key(&id));
}

#[test]
fn an_image_that_nobody_has_a_record_of_is_named() {
    let mut w = World::default().with_volume(A, 1);
    w.settle();
    w.zones[A].records = Default::default();
    let v = w.decide();
    assert_eq!(
        (kinds(&v), v.findings[0].zone.clone()),
        (vec![Kind::OrphanImage], zone(A))
    );
    // The copy's record stays: the image is there.
    assert_eq!(w.zones[B].records.volumes.len(), 1);
    // It was taken away in zone-b: the copy's record comes back, and nothing else.
    let (mut w, id) = settled();
    w.zones[B].records.volumes.remove(&id);
    assert_eq!(names(&w.decide()), ["import_volume", "show"]);
}

#[test]
fn two_records_of_one_image_are_named_and_both_left() {
    let (mut w, id) = settled();
    let mut second = w.zones[B].records.volumes[&id].clone();
    second.id = "z".to_owned();
    second.created_at = Some(time(9));
    w.zones[B].records.volumes.insert("z".to_owned(), second);
    let v = w.decide();
    assert_eq!((names(&v), kinds(&v)), (vec![], vec![Kind::Double]));
    assert_eq!(v.findings[0].record.as_deref(), Some("z"));
}

#[test]
fn of_a_sidecar_that_stays_silent_nothing_is_known() {
    let (w, id) = settled();
    let mut b = w.sight(B);
    let silent = |for_| Images::Silent { held: for_ };
    b.images = silent(Span::secs(59));
    assert_eq!(
        names(&decide(&w.sight(A), &b, &w.mapping())),
        Vec::<&str>::new()
    );
    b.images = silent(SILENT_FOR);
    let v = decide(&w.sight(A), &b, &w.mapping());
    let Change::Show { volume, set, .. } = &v.mends[0].change else {
        panic!("{v:?}");
    };
    assert_eq!(
        (volume, set[words::STATUS].as_str()),
        (&id, "error - unknown")
    );
}

#[test]
fn the_last_word_of_a_lost_zone_is_taken_over_before_its_heir_speaks() {
    let (mut w, id) = settled();
    // Renamed and described, and lost before zone-b's record followed.
    for z in &mut w.zones {
        let i = z.images.get_mut(&image(1)).unwrap();
        i.told.as_mut().unwrap().name = Some("last".to_owned());
    }
    (w.zones[A].silent, w.zones[A].no_cinder) = (true, true);
    let i = w.zones[B].images.get_mut(&image(1)).unwrap();
    (i.role, i.status) = (Role::Primary, VolumeStatus::ActivePrimary);
    assert_eq!(names(&w.decide()), ["show", "name"]);
    w.settle();
    assert_eq!(
        w.zones[B].records.volumes[&id].name.as_deref(),
        Some("last")
    );
    let told = w.zones[B].images[&image(1)].told.as_ref().unwrap();
    assert_eq!((&told.zone, told.name.as_deref()), (&zone(B), Some("last")));
}

#[test]
fn a_volume_that_cinder_itself_failed_over_is_still_its_own() {
    let (mut w, id) = settled();
    let of_a = w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap();
    of_a.replication_status = Some("failed-over".to_owned());
    of_a.name = Some("served from afar".to_owned());
    let swap = |i: &mut Image, role| {
        *i = Image {
            told: i.told.clone(),
            ..Image::new(role)
        }
    };
    swap(
        w.zones[A].images.get_mut(&image(1)).unwrap(),
        Role::Secondary,
    );
    swap(w.zones[B].images.get_mut(&image(1)).unwrap(), Role::Primary);
    w.settle();
    assert_eq!(
        w.zones[B].records.volumes[&id].name.as_deref(),
        Some("served from afar")
    );
    let told = w.zones[B].images[&image(1)].told.as_ref().unwrap();
    assert_eq!(
        told.zone,
        zone(A),
        "it is written where the image is primary, and it is zone-a's word"
    );
    let shown = |z: usize, id: &str| w.zones[z].records.volumes[id].metadata[words::STATUS].clone();
    assert_eq!(
        (shown(A, &uuid(1)), shown(B, &id)),
        ("active - secondary".into(), "active - primary".into())
    );
}

#[test]
fn snapshots_follow_are_renamed_and_go() {
    let (mut w, id) = settled();
    with_snapshot(&mut w, 7);
    assert_eq!(names(&w.decide()), ["import_snapshot", "describe"]);
    w.settle();
    let s = w.zones[B].records.snapshots_of(&id).next().unwrap().clone();
    assert_eq!((s.rbd_id(), s.name.as_deref()), (&*uuid(7), Some("before")));
    w.zones[A].records.snapshots.get_mut(&uuid(7)).unwrap().name = Some("after".to_owned());
    assert_eq!(names(&w.decide()), ["name_snapshot", "describe"]);
    // One in error is there all the same.
    "error".clone_into(
        &mut w.zones[A]
            .records
            .snapshots
            .get_mut(&uuid(7))
            .unwrap()
            .status,
    );
    assert!(!names(&w.decide()).contains(&"forget_snapshot"));
    w.zones[A].records.snapshots.clear();
    // Only by that Cinder's own word.
    let mut away = w.clone();
    away.zones[A].no_cinder = true;
    assert!(!names(&away.decide()).contains(&"forget_snapshot"));
    assert!(names(&w.decide()).contains(&"forget_snapshot"));
    w.settle();
    assert_eq!(w.zones[B].records.snapshots.len(), 0);
    // What this zone made itself is named and left.
    let mut own = snapshot(&id, 8);
    own.id = uuid(8);
    w.zones[B].records.snapshots.insert(uuid(8), own);
    let v = w.decide();
    assert_eq!((names(&v), kinds(&v)), (vec![], vec![Kind::OrphanSnapshot]));
}

#[test]
fn a_snapshot_is_waited_for_until_a_later_copy_has_arrived() {
    let (mut w, _) = settled();
    with_snapshot(&mut w, 7);
    let (a, mut b) = (w.sight(A), w.sight(B));
    let mut seen = |at: Option<i64>, complete| {
        let Images::Whole(images) = &mut b.images else {
            panic!()
        };
        let r = images.get_mut(&image(1)).unwrap();
        r.mirror_mode = Some(MirrorImageMode::Snapshot);
        r.complete_copy = complete;
        r.last_sync = at.map(|at| rekindle_common::volume::LastSync {
            at: time(at),
            took: None,
            bytes: None,
        });
        names(&decide(&a, &b, &w.mapping())).contains(&"import_snapshot")
    };
    use rekindle_common::volume::Known::{Unknown, Yes};
    assert!(!seen(None, Yes) && !seen(Some(50), Yes));
    assert!(seen(Some(51), Yes) && seen(Some(51), Unknown));
}

#[test]
fn a_snapshot_that_had_not_arrived_is_tried_again() {
    let (mut w, id) = settled();
    with_snapshot(&mut w, 7);
    w.zones[B]
        .images
        .get_mut(&image(1))
        .unwrap()
        .snapshots
        .clear();
    for m in w.decide().mends {
        w.apply(&m);
    }
    assert_eq!(
        w.zones[B].records.snapshots_of(&id).next().unwrap().status,
        "error"
    );
    assert_eq!(names(&w.decide()), ["forget_snapshot"]);
}

#[test]
fn what_had_no_room_in_the_description_is_not_taken_away() {
    let (mut w, id) = settled();
    w.zones[A].no_cinder = true;
    let r = w.zones[B].records.volumes.get_mut(&id).unwrap();
    r.description = Some("long".to_owned());
    r.image_metadata.insert("k".to_owned(), "v".to_owned());
    assert_eq!(names(&w.decide()), ["name", "image_metadata"]);
    for z in &mut w.zones {
        let told = z.images.get_mut(&image(1)).unwrap().told.as_mut().unwrap();
        told.left_out = vec![LeftOut::Description, LeftOut::ImageMetadata];
    }
    assert_eq!(names(&w.decide()), Vec::<&str>::new());
}

#[test]
fn a_volume_that_went_to_another_project_is_named() {
    let (mut w, id) = settled();
    "elsewhere".clone_into(&mut w.zones[B].records.volumes.get_mut(&id).unwrap().project_id);
    assert_eq!(kinds(&w.decide()), [Kind::ProjectMoved]);
}

#[test]
fn what_is_no_volume_of_a_cinder_is_left_alone() {
    let mut w = World::default();
    let by_hand = rekindle_common::ImageSpec::new("volumes", "volume-demo-1").unwrap();
    w.zones[A]
        .images
        .insert(by_hand.clone(), Image::new(Role::Primary));
    w.zones[B]
        .images
        .insert(by_hand, Image::new(Role::Secondary));
    let other = record(B, &uuid(5), None);
    w.zones[B].records.volumes.insert(uuid(5), other);
    let v = w.decide();
    assert_eq!((names(&v), kinds(&v), v.shown.len()), (vec![], vec![], 1));
}

#[test]
fn while_both_zones_say_primary_only_that_is_shown() {
    let (mut w, _) = settled();
    for z in &mut w.zones {
        let i = z.images.get_mut(&image(1)).unwrap();
        (i.role, i.status) = (Role::Primary, VolumeStatus::ErrorSplitBrain);
    }
    w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap().name = Some("a".to_owned());
    w.settle();
    let of = |z: usize| w.zones[z].records.of(&image(1)).next().unwrap();
    assert_eq!(
        (of(A).name.as_deref(), of(B).name.as_deref()),
        (Some("a"), Some("data"))
    );
    assert_eq!(of(B).metadata[words::STATUS], "error - split brain");
}
