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

fn record(disks: &[&str]) -> ServerRecord {
    let disks: Vec<serde_json::Value> = disks
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let boot = (n == 0).then_some(0);
            serde_json::json!({"volume": {"id": id}, "boot_index": boot, "delete_on_termination": false})
        })
        .collect();
    let json = serde_json::json!({
        "version": 1, "name": "db", "zone": "zone-a", "flavor": {"name": "small"}, "disks": disks,
        "ports": [], "security_groups": [], "tags": [], "config_drive": false, "locked": false,
        "power": "running", "taken_at": "2026-01-01T00:00:00Z", "source": {"type": "nova"},
    });
    serde_json::from_value(json).unwrap()
}

fn of(suspects: &[usize], seen: Vec<VolumeReport>) -> Option<Unpromoted> {
    let seen = seen.into_iter().map(|r| (r.volume.clone(), r)).collect();
    let suspects = suspects.iter().map(|n| image(*n)).collect();
    Unpromoted::of(&zone("zone-b"), suspects, &seen)
}

#[test]
fn what_was_promoted_by_now_stands_in_no_way() {
    assert!(of(&[0], vec![report(0, Role::Primary, None)]).is_none());
    assert!(of(&[0], vec![report(0, Role::Secondary, None)]).is_some());
    // An image that is not there at all is not primary either.
    assert!(of(&[0], vec![]).is_some());
}

#[test]
fn a_server_is_known_by_its_disks_and_what_is_not_known_is_not_started() {
    let seen = || {
        vec![
            report(0, Role::Secondary, Some("aaaa")),
            report(1, Role::Primary, Some("bbbb")),
            report(2, Role::Primary, None),
        ]
    };
    let without = of(&[0], seen()).unwrap();
    let why = |disks: &[&str]| without.against(Some(&record(disks)));
    let starts = |disks: &[&str]| assert_eq!(why(disks), None, "{disks:?}");
    starts(&["bbbb"]);
    // By the image's name, where nobody has written down Cinder's id.
    starts(&["2", "bbbb"]);
    for disks in [&["aaaa"][..], &["bbbb", "aaaa"], &["0"]] {
        let why = why(disks).unwrap();
        assert!(
            why.contains("its volume volumes/volume-0 was not promoted in zone-b"),
            "{why}"
        );
    }
    let unknown = why(&["bbbb", "cccc"]).unwrap();
    assert!(
        unknown.contains("no image of its volume cccc is known"),
        "{unknown}"
    );
    let no_record = without.against(None).unwrap();
    assert!(no_record.contains("nothing is kept of it"), "{no_record}");
    // An id of another zone's Cinder is another volume.
    let mut other = record(&["bbbb"]);
    other.zone = zone("zone-b");
    assert!(without.against(Some(&other)).is_some());
}
