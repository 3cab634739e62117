//! What holds in every world. The model's own assertions hold with each mend: see `model`.

use super::model::{A, B, Image, World, image, record, time, uuid, zone};
use crate::catalogue::{Change, Record, SnapshotRecord, words};
use proptest::prelude::*;
use rekindle_common::{
    facts::{CinderFacts, SnapshotFacts},
    status::VolumeStatus,
    volume::Role,
};
use std::collections::BTreeMap;

/// An image in a zone, or none; `Plain` is one that nobody replicates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Not,
    Plain,
    Replicated(Role),
}

fn is() -> impl Strategy<Value = Is> {
    prop_oneof![
        2 => Just(Is::Not),
        1 => Just(Is::Plain),
        4 => Just(Is::Replicated(Role::Primary)),
        4 => Just(Is::Replicated(Role::Secondary)),
        1 => Just(Is::Replicated(Role::Unknown)),
        1 => Just(Is::Replicated(Role::NotMirrored)),
    ]
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        any::<String>().prop_map(Some),
        "[a ž🦀\u{301}]{250,300}".prop_map(Some),
        Just(Some(" x ".to_owned())),
    ]
}

fn status() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("available"),
        1 => Just("in-use"),
        1 => Just("error"),
        1 => Just("error_extending"),
        1 => Just("deleting"),
        1 => Just("maintenance"),
    ]
}

prop_compose! {
    fn a_record(z: usize, n: u32)(
        ours in any::<bool>(), marked in any::<bool>(), status in status(), name in text(), description in text(),
        size in 1u64..4, bootable in any::<bool>(), key in proptest::option::of("[a-c]"), afar in proptest::bool::weighted(0.15),
        unfinished in proptest::bool::weighted(0.1),
        snapshots in proptest::collection::vec((0u32..4, any::<bool>(), proptest::bool::weighted(0.2)), 0..3),
    ) -> (Record, Vec<SnapshotRecord>) {
        let id = if ours { format!("old-{z}-{n}") } else { uuid(n) };
        let mut r = record(z, &id, ours.then(|| uuid(n)).as_deref());
        // What a Cinder holds it has cut already.
        r.name = words::fit(name.as_deref());
        r.description = words::fit(description.as_deref());
        r.size_gib = size;
        r.bootable = bootable;
        status.clone_into(&mut r.status);
        r.attached = status == "in-use";
        if afar {
            r.replication_status = Some("failed-over".to_owned());
        }
        if let Some(key) = key {
            r.image_metadata.insert(key, "x".to_owned());
        }
        if marked {
            r.metadata.insert(words::STATUS.to_owned(), "active - updating".to_owned());
            if ours {
                r.metadata.insert(words::IMAGE.to_owned(), image(n).image().to_owned());
            }
        }
        if unfinished && ours && marked {
            (r.name_id, r.size_gib, r.attached) = (None, 0, false);
            if status != "available" { "error" } else { "creating" }.clone_into(&mut r.status);
        }
        let snapshots = snapshots.into_iter().filter(|_| r.size_gib > 0).map(|(s, ours, bad)| {
            let rbd = uuid(1000 + n * 10 + s);
            let id = if ours { format!("old-snap-{z}-{n}-{s}") } else { rbd.clone() };
            let mut metadata = BTreeMap::new();
            if ours {
                metadata.insert(words::SNAPSHOT.to_owned(), format!("snapshot-{rbd}"));
            }
            SnapshotRecord {
                id, volume: r.id.clone(), name: None, description: None,
                status: if bad { "error" } else { "available" }.to_owned(), metadata, created_at: Some(time(1)),
            }
        }).collect();
        (r, snapshots)
    }
}

prop_compose! {
    fn told(n: u32)(z in 0usize..2, name in text(), gib in 1u64..4, snapshot in proptest::option::of(0u32..4)) -> CinderFacts {
        let snapshots = snapshot.into_iter().map(|s| SnapshotFacts {
            id: uuid(1000 + n * 10 + s), name: None, description: None, created_at: Some(time(1)),
        }).collect();
        CinderFacts {
            zone: zone(z), id: uuid(n), project_id: format!("project-{z}"), name: words::fit(name.as_deref()), description: None,
            volume_type: Some(format!("type-{z}")), size_gib: gib, bootable: true, image_metadata: BTreeMap::new(),
            encryption_key_id: None, snapshots, left_out: Vec::new(),
        }
    }
}

prop_compose! {
    fn world()(volumes in 1u32..4)(
        all in (0..volumes).map(|n| (
            is(), is(), proptest::option::of(a_record(A, n)), proptest::option::of(a_record(B, n)),
            proptest::option::of(told(n)), proptest::option::of(told(n)), 1u64..4, proptest::bool::weighted(0.3),
        )).collect::<Vec<_>>(),
        unmapped in proptest::bool::weighted(0.1),
    ) -> World {
        let mut w = World { unmapped, ..World::default() };
        for (n, (a, b, in_a, in_b, told_a, told_b, gib, gone)) in (0u32..).zip(all) {
            // Often enough such that a record is to go.
            let (a, b, in_a) = if gone { (Is::Not, Is::Not, None) } else { (a, b, in_a) };
            for (z, is, rec, told) in [(A, a, in_a, told_a), (B, b, in_b, told_b)] {
                let role = match is { Is::Not => None, Is::Plain => Some(Role::NotMirrored), Is::Replicated(r) => Some(r) };
                if let Some(role) = role {
                    let mut i = Image::new(role);
                    i.gib = gib;
                    i.told = told;
                    // What is in Ceph is in both zones, for it is mirrored.
                    i.snapshots = (0..4).map(|s| format!("snapshot-{}", uuid(1000 + n * 10 + s))).collect();
                    if is == Is::Plain {
                        i.status = VolumeStatus::ErrorOrphan;
                    }
                    w.zones[z].images.insert(image(n), i);
                }
                if let Some((r, snapshots)) = rec {
                    for s in snapshots {
                        w.zones[z].records.snapshots.insert(s.id.clone(), s);
                    }
                    w.zones[z].records.volumes.insert(r.id.clone(), r);
                }
            }
        }
        w
    }
}

/// The records that no mend may change: their image is not replicated, and they carry nothing of ours.
fn foreign(w: &World) -> Vec<(usize, Record)> {
    [A, B]
        .into_iter()
        .flat_map(|z| w.zones[z].records.volumes.values().map(move |r| (z, r)))
        .filter(|(z, r)| {
            let listed = w.zones[*z]
                .images
                .get(&r.image)
                .is_some_and(|i| i.status != VolumeStatus::ErrorOrphan);
            !listed && !r.is_marked()
        })
        .map(|(z, r)| (z, r.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn from_any_start_the_mends_come_to_an_end(mut w in world()) {
        let foreign = foreign(&w);
        w.settle();
        for (z, r) in foreign {
            prop_assert_eq!(w.zones[z].records.volumes.get(&r.id), Some(&r), "a record of no replicated image was touched");
        }
    }

    #[test]
    fn no_volume_that_is_used_and_none_that_users_made_is_forgotten(mut w in world()) {
        let kept: Vec<(usize, String)> = [A, B].into_iter()
            .flat_map(|z| w.zones[z].records.volumes.values().map(move |r| (z, r)))
            .filter(|(_, r)| r.attached || (r.name_id.is_none() && r.size_gib > 0) || !r.metadata.contains_key(words::IMAGE))
            .map(|(z, r)| (z, r.id.clone()))
            .collect();
        w.settle();
        for (z, id) in kept {
            prop_assert!(w.zones[z].records.volumes.contains_key(&id));
        }
    }

    #[test]
    fn nothing_is_forgotten_while_anything_of_it_is_unknown(mut w in world(), what in 0usize..6) {
        let z = what % 2;
        match what / 2 {
            0 => w.zones[z].silent = true,
            1 => w.zones[z].partial = true,
            _ => w.zones[z].no_cinder = true,
        }
        for mend in w.decide().mends {
            prop_assert!(!matches!(mend.change, Change::ForgetVolume { .. }), "{mend:?}");
            if let Change::ForgetSnapshot { snapshot } = &mend.change {
                // A snapshot goes by the other Cinder's word alone, or with its volume.
                let at = usize::from(mend.zone == zone(B));
                prop_assert!(!w.zones[1 - at].no_cinder && !w.zones[at].silent, "{snapshot}");
            }
        }
        // And it comes to an end too.
        w.settle();
    }

    #[test]
    fn the_order_depends_on_nothing_but_the_look(w in world()) {
        let v = w.decide();
        prop_assert_eq!(&v, &w.decide());
        let mut sorted = v.mends.clone();
        sorted.sort_by_key(crate::catalogue::Mend::order);
        prop_assert_eq!(&sorted, &v.mends);
        // Which zone is named first makes no difference.
        let m = w.mapping();
        let (a, b) = (w.sight(A), w.sight(B));
        let (ab, ba) = (crate::catalogue::decide(&a, &b, &m), crate::catalogue::decide(&b, &a, &m));
        prop_assert_eq!(ab.mends, ba.mends);
        prop_assert_eq!(ab.findings, ba.findings);
    }

    #[test]
    fn failovers_there_and_back_settle_and_both_zones_agree(
        name in text(), renamed in text(), gib in 1u64..4, cut_off in any::<bool>(),
    ) {
        let mut w = World::default().with_volume(A, 1);
        w.zones[A].records.volumes.get_mut(&uuid(1)).unwrap().name = words::fit(name.as_deref());
        w.settle();
        agree(&w)?;
        // zone-a is lost, or moved away from.
        let gone = &mut w.zones[A];
        gone.silent = cut_off;
        gone.no_cinder = cut_off;
        promote(&mut w, B, !cut_off);
        w.settle();
        let id = w.zones[B].records.of(&image(1)).next().unwrap().id.clone();
        let r = w.zones[B].records.volumes.get_mut(&id).unwrap();
        prop_assert_eq!(r.metadata.get(words::STATUS).map(String::as_str), Some("active - primary"));
        prop_assert_eq!(&r.name, &words::fit(name.as_deref()));
        // Its users go on there.
        r.name = words::fit(renamed.as_deref());
        r.size_gib = gib;
        for z in &mut w.zones {
            z.images.get_mut(&image(1)).unwrap().gib = gib;
        }
        w.settle();
        // It is back, and demoted.
        w.zones[A].silent = false;
        w.zones[A].no_cinder = false;
        promote(&mut w, B, true);
        w.settle();
        agree(&w)?;
        prop_assert_eq!(&w.zones[A].records.volumes[&uuid(1)].name, &words::fit(renamed.as_deref()));
        prop_assert_eq!(w.zones[A].records.volumes[&uuid(1)].size_gib, gib);
        // And home.
        promote(&mut w, A, true);
        w.settle();
        agree(&w)?;
        prop_assert_eq!(w.zones[A].records.volumes.len() + w.zones[B].records.volumes.len(), 2);
    }
}

fn promote(w: &mut World, to: usize, demote: bool) {
    let i = w.zones[to].images.get_mut(&image(1)).unwrap();
    (i.role, i.status) = (Role::Primary, VolumeStatus::ActivePrimary);
    let told = i.told.clone();
    if demote {
        let i = w.zones[1 - to].images.get_mut(&image(1)).unwrap();
        (i.role, i.status, i.told) = (Role::Secondary, VolumeStatus::ActiveSecondary, told);
    }
}

fn agree(w: &World) -> Result<(), TestCaseError> {
    let of = |z: usize| w.zones[z].records.of(&image(1)).next().unwrap();
    let (a, b) = (of(A), of(B));
    prop_assert_eq!(&a.name, &b.name);
    prop_assert_eq!((a.size_gib, a.bootable), (b.size_gib, b.bootable));
    for (z, r, other) in [(A, a, b), (B, b, a)] {
        let status = w.zones[z].images[&image(1)].status.to_string();
        prop_assert_eq!(r.metadata.get(words::STATUS), Some(&status));
        prop_assert_eq!(
            r.metadata.get(words::PEER),
            Some(&format!("{}/{}", zone(1 - z), other.id))
        );
    }
    Ok(())
}
