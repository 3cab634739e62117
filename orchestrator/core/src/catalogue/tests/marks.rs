//! What records say of their primary beside its status: that it was deleted, and that it has another type.

use super::model::{A, B, World, image, time, uuid};
use crate::catalogue::{Kind, words};
use rekindle_common::{
    deletion::{After, Deletion},
    duration::Span,
    status::VolumeStatus,
    volume::Role,
};

fn mark() -> Deletion {
    Deletion {
        image: image(1),
        at: time(0),
        then: After::Delete {
            after: Span::secs(7 * 86_400),
        },
    }
}

/// A volume of zone-a with its record in zone-b, and what that one says of a deletion.
fn settled() -> World {
    let mut w = World::default().with_volume(A, 1);
    w.settle();
    w
}
fn says(w: &World, z: usize) -> Option<&str> {
    let record = w.zones[z].records.of(&image(1)).next().unwrap();
    record.metadata.get(words::DELETION).map(String::as_str)
}
fn set(w: &mut World, z: usize, mark: Option<Deletion>) {
    w.zones[z].images.get_mut(&image(1)).unwrap().deletion = mark;
}

#[test]
fn hard_case_32_a_copys_record_says_that_its_primary_was_deleted_and_until_when_that_can_be_undone()
{
    let mut w = settled();
    assert_eq!(says(&w, B), None);
    // Cinder has forgotten the primary, and in snapshot mode the mark has not reached the copy yet.
    w.zones[A].records.volumes.clear();
    set(&mut w, A, Some(mark()));
    w.settle();
    let text = says(&w, B).unwrap();
    assert!(text.contains("go at 2023-11-21T22:13:20Z"), "{text}");
    assert!(text.contains("undelete volumes/volume-"), "{text}");
    assert!(text.chars().count() <= words::MOST, "{text}");
    // Taken back: the primary's word counts, whatever still is on the copy.
    set(&mut w, A, None);
    set(&mut w, B, Some(mark()));
    w.settle();
    assert_eq!(says(&w, B), None);
}

#[test]
fn both_zones_records_say_it_where_both_have_one() {
    let mut w = settled();
    for z in [A, B] {
        set(&mut w, z, Some(mark()));
    }
    w.settle();
    assert!(says(&w, A).is_some());
    assert_eq!(says(&w, A), says(&w, B));
    for z in [A, B] {
        set(&mut w, z, None);
    }
    w.settle();
    assert_eq!((says(&w, A), says(&w, B)), (None, None));
}

#[test]
fn a_mark_that_cannot_be_seen_now_is_not_taken_for_gone() {
    let mut w = settled();
    set(&mut w, A, Some(mark()));
    w.settle();
    // The zone that says so is silent, and the copy never heard of it.
    w.zones[A].silent = true;
    w.settle();
    assert!(says(&w, B).is_some());
    // Nor while the volume is primary in no zone.
    w.zones[A].silent = false;
    for z in [A, B] {
        let i = w.zones[z].images.get_mut(&image(1)).unwrap();
        (i.role, i.status) = (Role::Secondary, VolumeStatus::PendingPromotion);
    }
    set(&mut w, A, None);
    w.settle();
    assert!(says(&w, B).is_some());
}

#[test]
fn a_volume_of_another_type_is_named_with_what_can_be_done_in_this_zone() {
    let mut w = settled();
    let gold = "gold".to_owned();
    let theirs = w.zones[B].records.of(&image(1)).next().unwrap().id.clone();
    w.zones[B]
        .records
        .volumes
        .get_mut(&theirs)
        .unwrap()
        .volume_type = Some(gold.clone());
    let v = w.decide();
    let [found] = &v.findings[..] else {
        panic!("{:?}", v.findings)
    };
    assert_eq!(
        (found.kind, found.record.as_ref()),
        (Kind::TypeChanged, Some(&theirs))
    );
    assert!(found.text.contains("\"type-1\""), "{}", found.text);
    assert!(found.text.contains("volume delete"), "{}", found.text);
    assert!(v.mends.is_empty(), "{:?}", v.mends);

    // A type that nobody mapped is no sign of a retype.
    w.zones[A]
        .records
        .volumes
        .get_mut(&uuid(1))
        .unwrap()
        .volume_type = Some(gold);
    let v = w.decide();
    let named = v.findings.iter().any(|f| f.kind == Kind::TypeChanged);
    assert!(!named, "{:?}", v.findings);
}

#[test]
fn a_record_that_is_deleted_for_its_type_is_made_again_with_the_right_one() {
    let mut w = settled();
    let id = w.zones[B].records.of(&image(1)).next().unwrap().id.clone();
    // As the driver does it: the record alone goes.
    w.zones[B].records.volumes.remove(&id);
    w.settle();
    let again = w.zones[B].records.of(&image(1)).next().unwrap();
    assert_ne!(again.id, id);
    assert_eq!(again.volume_type.as_deref(), Some("type-1"));
}
