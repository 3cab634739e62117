//! Sizes: that of an image is its record's.

use super::{
    model::{A, B, World, image, uuid, zone},
    rules::{names, settled},
};
use crate::catalogue::Change;
use rekindle_common::{status::VolumeStatus, volume::Role};

/// What a record is told to grow to; the zones' other mends are none of it.
fn grown(w: &World) -> Vec<(usize, u64)> {
    let mut all = Vec::new();
    for mend in w.decide().mends {
        if let Change::Grow { gib, .. } = mend.change {
            all.push((usize::from(mend.zone == zone(B)), gib));
        }
    }
    all
}

#[test]
fn a_record_grows_to_exactly_what_its_image_has() {
    let (mut w, id) = settled();
    // Its zone's Cinder has grown it; the copy comes after. Whatever is said there, Cinder's driver would cut another size.
    w.zones[A].images.get_mut(&image(1)).unwrap().gib = 3;
    w.zones[A]
        .records
        .volumes
        .get_mut(&uuid(1))
        .unwrap()
        .size_gib = 3;
    for (gib, expected) in [
        (1, vec![]),
        (2, vec![(B, 2)]),
        (3, vec![(B, 3)]),
        (4, vec![(B, 4)]),
    ] {
        w.zones[B].images.get_mut(&image(1)).unwrap().gib = gib;
        assert_eq!(grown(&w), expected);
    }
    w.zones[B].images.get_mut(&image(1)).unwrap().gib = 3;
    let status = |w: &mut World, word: &str| {
        let record = w.zones[B].records.volumes.get_mut(&id).unwrap();
        word.clone_into(&mut record.status);
        record.attached = word == "in-use";
    };
    // A stand-by that is shut off holds it.
    status(&mut w, "in-use");
    assert_eq!(grown(&w), [(B, 3)]);
    for busy in ["reserved", "extending", "retyping", "attaching"] {
        status(&mut w, busy);
        assert_eq!(grown(&w), [], "{busy}");
    }
    status(&mut w, "available");
    w.settle();
    assert_eq!(w.zones[B].records.volumes[&id].size_gib, 3);
}

#[test]
fn hard_case_35_a_zone_that_was_lost_before_its_growth_was_followed() {
    let (mut w, id) = settled();
    for z in &mut w.zones {
        z.images.get_mut(&image(1)).unwrap().gib = 3;
    }
    // zone-a's Cinder said nothing of it any more, and zone-b's users go on with a server on it.
    (w.zones[A].silent, w.zones[A].no_cinder) = (true, true);
    let copy = w.zones[B].images.get_mut(&image(1)).unwrap();
    (copy.role, copy.status) = (Role::Primary, VolumeStatus::ActivePrimary);
    let record = w.zones[B].records.volumes.get_mut(&id).unwrap();
    "in-use".clone_into(&mut record.status);
    record.attached = true;
    assert_eq!(grown(&w), [(B, 3)]);
    w.settle();
    assert_eq!(w.zones[B].records.volumes[&id].size_gib, 3);
}

#[test]
fn an_image_of_no_whole_size_tells_no_record_anything() {
    let (mut w, _) = settled();
    // That of an encrypted volume, with its header.
    w.zones[B].images.get_mut(&image(1)).unwrap().header = 2 << 20;
    assert_eq!(grown(&w), []);
}

#[test]
fn a_copy_that_refused_to_grow_is_available_again_and_a_primary_is_left() {
    let (mut w, id) = settled();
    "error_extending".clone_into(&mut w.zones[B].records.volumes.get_mut(&id).unwrap().status);
    assert_eq!(names(&w.decide()), ["reset_extending"]);
    w.zones[B].records.volumes.get_mut(&id).unwrap().attached = true;
    w.settle();
    assert_eq!(w.zones[B].records.volumes[&id].status, "in-use");
    let (mut w, _) = settled();
    "error_extending".clone_into(&mut w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap().status);
    assert_eq!(names(&w.decide()), Vec::<&str>::new());
}
