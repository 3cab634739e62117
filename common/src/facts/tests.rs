use super::*;
use proptest::prelude::*;

fn facts() -> CinderFacts {
    CinderFacts {
        zone: ZoneName::new("zone-a").unwrap(),
        id: "4f9bd3f7-3c4a-4b5c-9d3d-5d3e7a6f2b10".to_owned(),
        project_id: "p".to_owned(),
        name: None,
        description: None,
        volume_type: None,
        size_gib: 1,
        bootable: false,
        image_metadata: BTreeMap::new(),
        encryption_key_id: None,
        snapshots: Vec::new(),
        left_out: Vec::new(),
    }
}

fn snapshot(n: usize, name: &str, description: &str) -> SnapshotFacts {
    SnapshotFacts {
        id: format!("{n:036}"),
        name: Some(name.to_owned()),
        description: Some(description.to_owned()),
        created_at: Some("2026-11-25T10:00:00Z".parse().unwrap()),
    }
}

/// Any text that Cinder's column could hold, control characters and all.
fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 1..=MAX_NAME).prop_map(|c| c.into_iter().collect())
}
fn text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..=most).prop_map(|c| c.into_iter().collect())
}

prop_compose! {
    fn any_facts()(
        id in name(),
        project_id in name(),
        name in proptest::option::of(name()),
        description in proptest::option::of(text(6000)),
        volume_type in proptest::option::of("[a-z]{1,255}"),
        size_gib in any::<u64>(),
        bootable in any::<bool>(),
        image_metadata in proptest::collection::btree_map(text(40), text(2000), 0..6),
        encryption_key_id in proptest::option::of(text(MAX_NAME).prop_filter("an id", |t| !t.is_empty())),
        snapshots in proptest::collection::vec((any::<u16>(), text(80), text(400)), 0..120),
    ) -> CinderFacts {
        CinderFacts {
            id, project_id, name, description, volume_type, size_gib, bootable, image_metadata, encryption_key_id,
            snapshots: snapshots.iter().map(|(n, name, d)| snapshot(usize::from(*n), name, d)).collect(),
            ..facts()
        }
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_bounded_and_read_back_and_no_id_is_cut(f in any_facts()) {
        let kept = f.to_metadata().unwrap();
        prop_assert!(kept.len() <= MAX_FACTS, "{}", kept.len());
        // librbd's metadata ends at a NUL.
        prop_assert!(!kept.contains('\0'));
        let read = CinderFacts::from_metadata(&kept).unwrap();
        prop_assert_eq!(&read, &f.fitted().unwrap());
        // Fitted again, it stays as it is: else the same facts would be written again and again.
        prop_assert_eq!(&read.to_metadata().unwrap(), &kept);
        prop_assert_eq!((&read.id, &read.project_id, &read.encryption_key_id), (&f.id, &f.project_id, &f.encryption_key_id));
        prop_assert_eq!((&read.name, &read.volume_type, read.size_gib, read.bootable), (&f.name, &f.volume_type, f.size_gib, f.bootable));
        for (r, s) in read.snapshots.iter().zip(&f.snapshots) {
            prop_assert_eq!((&r.id, r.created_at), (&s.id, s.created_at));
        }
        // What is missing is said, and nothing is said to be missing that is there.
        let said = |p| read.left_out.contains(&p);
        prop_assert_eq!(read.description != f.description, said(LeftOut::Description));
        prop_assert_eq!(read.image_metadata != f.image_metadata, said(LeftOut::ImageMetadata));
        prop_assert_eq!(read.snapshots.len() != f.snapshots.len(), !read.lists_all_snapshots());
        prop_assert_eq!(read.concern().is_some(), !read.left_out.is_empty());
        if f.json().len() <= MAX_FACTS {
            prop_assert_eq!(&read, &f);
        }
    }
}

#[test]
fn what_is_least_needed_goes_first() {
    let long = "x".repeat(20_000);
    let mut f = CinderFacts {
        description: Some(long.clone()),
        image_metadata: BTreeMap::from([("os_type".to_owned(), "linux".to_owned())]),
        snapshots: vec![snapshot(1, "monday", "before the update")],
        ..facts()
    };
    let kept = f.fitted().unwrap();
    assert_eq!(kept.left_out, [LeftOut::Description]);
    assert_eq!(kept.image_metadata, f.image_metadata);
    f.image_metadata.insert("signature".to_owned(), long);
    let kept = f.fitted().unwrap();
    assert_eq!(
        kept.left_out,
        [LeftOut::Description, LeftOut::ImageMetadata]
    );
    assert_eq!(kept.image_metadata["os_type"], "linux");
    assert_eq!(kept.snapshots, f.snapshots);
    // 500 snapshots' ids alone are too many: what is there is whole, and the list says that it is not.
    f.snapshots = (0..500).map(|n| snapshot(n, "daily", "")).collect();
    let kept = f.fitted().unwrap();
    assert!(
        (100..500).contains(&kept.snapshots.len()),
        "{}",
        kept.snapshots.len()
    );
    assert!(!kept.lists_all_snapshots());
    assert!(kept.concern().unwrap().contains("some of its snapshots"));
}

#[test]
fn what_no_cinder_says_is_refused_by_its_field() {
    for (f, field) in [
        (
            CinderFacts {
                id: String::new(),
                ..facts()
            },
            "id",
        ),
        (
            CinderFacts {
                project_id: "x".repeat(256),
                ..facts()
            },
            "project_id",
        ),
        (
            CinderFacts {
                name: Some("x".repeat(256)),
                ..facts()
            },
            "name",
        ),
        (
            CinderFacts {
                encryption_key_id: Some(String::new()),
                ..facts()
            },
            "encryption_key_id",
        ),
        (
            CinderFacts {
                snapshots: vec![snapshot(1, &"x".repeat(256), "")],
                ..facts()
            },
            "snapshots.name",
        ),
    ] {
        assert_eq!(f.to_metadata().unwrap_err().field, field);
    }
}

#[test]
fn a_newer_releases_facts_are_read_and_foreign_ones_are_not() {
    let newer = r#"{"zone":"zone-a","id":"1","project_id":"p","size_gib":3,"colour":"red","left_out":["colours"]}"#;
    let read = CinderFacts::from_metadata(newer).unwrap();
    assert_eq!(
        (read.size_gib, read.left_out.as_slice()),
        (3, &[LeftOut::Other][..])
    );
    assert!(!read.lists_all_snapshots());
    for foreign in [
        "",
        "{}",
        "[]",
        r#"{"zone":"Zone A","id":"1","project_id":"p","size_gib":3}"#,
    ] {
        assert!(CinderFacts::from_metadata(foreign).is_err(), "{foreign}");
    }
}
