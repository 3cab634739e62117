use super::*;
use rekindle_common::{
    facts::CinderFacts,
    status::VolumeStatus,
    volume::{Known, Lag},
};

fn zone(z: &str) -> ZoneName {
    ZoneName::new(z).unwrap()
}
fn image(n: usize) -> ImageSpec {
    format!("volumes/volume-{n}").parse().unwrap()
}

/// An image in zone-b; what Cinder said of it: its id in zone-a's.
fn report(n: usize, role: Role, cinder: Option<&str>) -> VolumeReport {
    let facts = |id: &str| CinderFacts {
        zone: zone("zone-a"),
        id: id.to_owned(),
        project_id: "p".to_owned(),
        name: None,
        description: None,
        volume_type: None,
        size_gib: 1,
        bootable: true,
        image_metadata: BTreeMap::new(),
        encryption_key_id: None,
        snapshots: vec![],
        left_out: vec![],
    };
    VolumeReport {
        volume: image(n),
        zone: zone("zone-b"),
        group: None,
        status: VolumeStatus::ActivePrimary,
        role,
        mode: None,
        mirror_mode: None,
        size: None,
        last_sync: None,
        lag: Lag::None,
        complete_copy: Known::Yes,
        local: None,
        peer: None,
        peer_primary: Known::No,
        demotion: None,
        forced: None,
        cinder: cinder.map(facts),
        on_delete: None,
        deletion: None,
        concerns: vec![],
        in_flight: None,
    }
}

fn rules(not_helped: &[usize]) -> Rules {
    Rules {
        zone: zone("zone-b"),
        group: GroupName::new("shop").unwrap(),
        not_helped: not_helped.iter().map(|n| image(*n)).collect(),
    }
}

fn index(rules: &Rules, seen: Vec<VolumeReport>) -> Index {
    Index::of(seen, &rules.not_helped)
}

fn failed(one: Option<One>) -> String {
    match one {
        Some(One::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_promoted_by_now_stands_in_no_way() {
    let rules = rules(&[0]);
    let of = |seen| index(&rules, seen);
    let promoted = of(vec![report(0, Role::Primary, None)]);
    assert_eq!(rules.no_record(&promoted), None);
    assert_eq!(rules.no_image("cccc", &promoted), None);
    // An image that is not there at all is not primary either.
    for seen in [vec![report(0, Role::Secondary, None)], vec![]] {
        let why = failed(rules.no_record(&of(seen)));
        assert!(why.contains("nothing is kept of it"), "{why}");
    }
    let why = failed(rules.no_image("cccc", &of(vec![])));
    assert!(
        why.contains("no image of its volume cccc is known"),
        "{why}"
    );
}

#[test]
fn a_disk_is_found_by_its_zones_id_or_by_the_images_name() {
    let rules = rules(&[5]);
    let all = index(
        &rules,
        vec![
            report(0, Role::Secondary, Some("aaaa")),
            report(2, Role::Primary, None),
        ],
    );
    let a = zone("zone-a");
    assert_eq!(all.find(&a, "aaaa"), Some(&image(0)));
    // By the image's name, where nobody has written down Cinder's id; also one that the list lacks.
    assert_eq!(all.find(&a, "2"), Some(&image(2)));
    assert_eq!(all.find(&a, "5"), Some(&image(5)));
    assert_eq!(all.find(&a, "cccc"), None);
    // An id of another zone's Cinder is another volume.
    assert_eq!(all.find(&zone("zone-b"), "aaaa"), None);
}

#[test]
fn a_server_starts_on_what_can_be_written_and_on_no_copy() {
    let rules = rules(&[0]);
    let word = |n: usize, role: Option<Role>, group: Option<&str>| {
        let report = role.map(|role| VolumeReport {
            group: group.map(|g| GroupName::new(g).unwrap()),
            ..report(n, role, None)
        });
        rules.word(&image(n), Ok(report.as_ref()))
    };
    for role in [Some(Role::Primary), Some(Role::NotMirrored), None] {
        assert_eq!(word(1, role, None), None, "{role:?}");
    }
    let no_group = failed(word(1, Some(Role::Secondary), None));
    for part in [
        "volumes/volume-1 is a copy in zone-b and in no group",
        "`rekindle volume promote volumes/volume-1 --zone zone-b`",
        "`rekindle group resume shop`",
    ] {
        assert!(no_group.contains(part), "{no_group}");
    }
    let joined = failed(word(1, Some(Role::Secondary), Some("shop")));
    assert!(joined.contains("not in this plan"), "{joined}");
    // The other group may be on its way here too.
    let Some(One::Waits(other)) = word(1, Some(Role::Secondary), Some("web")) else {
        panic!("not waited for")
    };
    assert!(other.contains("of the group web"), "{other}");
    // What is not known is not primary.
    for now in [
        word(1, Some(Role::Unknown), Some("shop")),
        rules.word(&image(1), Err(&"it did not answer".to_owned())),
    ] {
        assert!(
            matches!(&now, Some(One::NotNow(why)) if why.contains("not known")),
            "{now:?}"
        );
    }
    // What the plan could not help, by its name.
    for role in [Some(Role::Secondary), Some(Role::NotMirrored), None] {
        let why = failed(word(0, role, None));
        assert!(
            why.contains("its volume volumes/volume-0 was not promoted in zone-b"),
            "{why}"
        );
    }
    assert_eq!(word(0, Some(Role::Primary), None), None);
}
