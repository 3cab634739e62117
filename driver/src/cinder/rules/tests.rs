use super::*;
use rekindle_common::{GroupName, ImageSpec, duration::Span, volume::SiteView};
use std::time::Duration;

const DEAD: Health = Health::Dead {
    silent: Duration::from_secs(9),
};

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

fn report(at: &str, role: Role, status: VolumeStatus) -> VolumeReport {
    VolumeReport {
        volume: ImageSpec::new("volumes", "volume-1").unwrap(),
        zone: zone(at),
        group: None,
        status,
        role,
        mode: None,
        mirror_mode: None,
        size: Some(1),
        last_sync: None,
        lag: Lag::None,
        complete_copy: Known::Yes,
        local: None,
        peer: None,
        peer_primary: Known::Unknown,
        demotion: None,
        forced: None,
        cinder: None,
        on_delete: None,
        deletion: None,
        concerns: Vec::new(),
        in_flight: None,
    }
}

fn primary(at: &str) -> VolumeReport {
    report(at, Role::Primary, VolumeStatus::ActivePrimary)
}
fn copy(status: VolumeStatus) -> VolumeReport {
    report("zone-b", Role::Secondary, status)
}
fn demoted(at: &str, token: Option<&str>) -> VolumeReport {
    let mut r = report(at, Role::Secondary, VolumeStatus::PendingPromotion);
    r.demotion = token.map(|t| DemotionToken::new(t).unwrap());
    r
}

fn decide(health: Health, left: Option<&VolumeReport>, taken: Option<&VolumeReport>) -> Way {
    way(&Seen {
        from: (&zone("zone-a"), health),
        left,
        to: &zone("zone-b"),
        taken,
    })
}

fn refused(way: Way) -> ErrorCode {
    match way {
        Way::Refuse(e) => e.code,
        other @ (Way::There | Way::Move | Way::GoOn(_) | Way::Force | Way::Plan(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn a_volume_that_is_well_is_moved_and_one_of_a_dead_zone_forced() {
    let in_step = copy(VolumeStatus::ActiveSecondary);
    let left = primary("zone-a");
    assert_eq!(
        decide(Health::Writes, Some(&left), Some(&in_step)),
        Way::Move
    );
    assert_eq!(decide(DEAD, None, Some(&in_step)), Way::Force);
    let there = primary("zone-b");
    for health in [Health::Writes, DEAD, Health::Unknown] {
        assert_eq!(decide(health, None, Some(&there)), Way::There);
    }
}

#[test]
fn hard_case_21_what_is_not_known_is_never_forced() {
    let in_step = copy(VolumeStatus::ActiveSecondary);
    assert_eq!(
        refused(decide(Health::Unknown, None, Some(&in_step))),
        ErrorCode::Held
    );
    // A zone that is alive and says nothing of the volume is no dead zone.
    assert_eq!(
        refused(decide(Health::Writes, None, Some(&in_step))),
        ErrorCode::UnknownVolume
    );
    let silent = report("zone-a", Role::Unknown, VolumeStatus::ErrorUnknown);
    assert_eq!(
        refused(decide(Health::Writes, Some(&silent), Some(&in_step))),
        ErrorCode::ClusterUnreachable
    );
}

#[test]
fn hard_case_24_without_a_complete_copy_nothing_is_forced() {
    for known in [Known::No, Known::Unknown] {
        let mut r = copy(VolumeStatus::PendingFirstSync);
        r.complete_copy = known;
        assert_eq!(
            refused(decide(DEAD, None, Some(&r))),
            ErrorCode::NoCompleteCopy
        );
    }
    assert_eq!(refused(decide(DEAD, None, None)), ErrorCode::UnknownVolume);
}

#[test]
fn a_copy_that_is_not_kept_up_is_not_waited_for() {
    let left = primary("zone-a");
    for status in VolumeStatus::ALL {
        let ready = match status {
            VolumeStatus::ActiveSecondary | VolumeStatus::ActiveUpdating => true,
            VolumeStatus::ActivePrimary
            | VolumeStatus::PendingFirstSync
            | VolumeStatus::PendingPromotion
            | VolumeStatus::PendingDemotion
            | VolumeStatus::PendingResync
            | VolumeStatus::ErrorSplitBrain
            | VolumeStatus::ErrorNotMirrored
            | VolumeStatus::ErrorMirrorDown
            | VolumeStatus::ErrorMirroring
            | VolumeStatus::ErrorOrphan
            | VolumeStatus::ErrorUnknown => false,
        };
        let way = decide(Health::Writes, Some(&left), Some(&copy(status)));
        assert_eq!(way == Way::Move, ready, "{status}: {way:?}");
    }
    let mut busy = copy(VolumeStatus::ActiveUpdating);
    busy.lag = Lag::Entries { behind: 20 };
    assert_eq!(decide(Health::Writes, Some(&left), Some(&busy)), Way::Move);
    busy.lag = Lag::Entries { behind: 200_000 };
    let Way::Refuse(e) = decide(Health::Writes, Some(&left), Some(&busy)) else {
        panic!()
    };
    assert!(e.message.contains("200000 journal entries"), "{e}");
    busy.lag = Lag::Time {
        behind: Span::secs(90),
    };
    busy.status = VolumeStatus::PendingFirstSync;
    busy.local = Some(SiteView {
        state: "up+replaying".into(),
        description: "bootstrapping, 41%".into(),
        last_update: None,
    });
    let Way::Refuse(e) = decide(Health::Writes, Some(&left), Some(&busy)) else {
        panic!()
    };
    assert!(e.message.contains("41%"), "{e}");
}

#[test]
fn an_interrupted_move_goes_on_with_the_younger_demotion() {
    let go_on = |left, taken: VolumeReport| {
        decide(Health::Writes, Some(&demoted("zone-a", left)), Some(&taken))
    };
    let name = |n: &str| DemotionToken::new(n).unwrap();
    // Demoted by the call before, and it has not arrived or has.
    assert_eq!(
        go_on(Some("cinder-2"), demoted("zone-b", Some("cinder-1"))),
        Way::GoOn(name("cinder-2"))
    );
    assert_eq!(
        go_on(Some("cinder-2"), copy(VolumeStatus::PendingDemotion)),
        Way::GoOn(name("cinder-2"))
    );
    // A way back that stopped in its middle: the zone that takes over was primary last.
    assert_eq!(
        go_on(Some("cinder-1"), demoted("zone-b", Some("cinder-2"))),
        Way::GoOn(name("cinder-2"))
    );
    // A plan's name says nothing of when: only what the zone that is left shows is waited for.
    assert_eq!(
        go_on(Some("cinder-1"), demoted("zone-b", Some("plan-9"))),
        Way::GoOn(name("cinder-1"))
    );
    assert_eq!(
        go_on(Some("plan-9"), demoted("zone-b", Some("cinder-1"))),
        Way::GoOn(name("plan-9"))
    );
    assert_eq!(
        refused(go_on(None, demoted("zone-b", Some("cinder-2")))),
        ErrorCode::DemotedOtherwise
    );
}

#[test]
fn both_primary_and_a_groups_volume_are_left_to_others() {
    let both = decide(
        Health::Writes,
        Some(&primary("zone-a")),
        Some(&primary("zone-b")),
    );
    assert_eq!(refused(both), ErrorCode::SplitBrain);
    let db = GroupName::new("db").unwrap();
    let mut r = copy(VolumeStatus::ActiveSecondary);
    r.group = Some(db.clone());
    for health in [Health::Writes, DEAD] {
        let way = decide(health, Some(&primary("zone-a")), Some(&r));
        assert_eq!(way, Way::Plan(db.clone()));
    }
    // What it is to be asked for is not known either.
    let way = decide(Health::Unknown, Some(&primary("zone-a")), Some(&r));
    assert_eq!(refused(way), ErrorCode::Held);
}

#[test]
fn whose_a_volume_is_shows_by_its_images_name_and_by_who_had_the_say() {
    let told = |at: &str, id: &str| {
        let text = format!(r#"{{"zone":"{at}","id":"{id}","project_id":"p","size_gib":1}}"#);
        CinderFacts::from_metadata(&text).unwrap()
    };
    let volume = |id: &str, taken_in| CinderVolume {
        id: id.to_owned(),
        image: ImageSpec::new("volumes", "volume-7").unwrap(),
        facts: None,
        taken_in,
    };
    let home = zone("zone-a");
    for (id, taken_in, said, theirs) in [
        // Made here, whoever speaks of it.
        ("7", false, None, false),
        ("7", true, Some(told("zone-b", "8")), false),
        // Made there.
        ("8", true, Some(told("zone-b", "7")), true),
        ("8", false, Some(told("zone-b", "7")), true),
        // In neither under that name: a migration's, or one that was taken in.
        ("8", false, Some(told("zone-b", "9")), false),
        ("8", true, Some(told("zone-b", "9")), true),
        // Used here last.
        ("8", true, Some(told("zone-a", "8")), false),
        // Nobody says anything.
        ("8", false, None, true),
        ("", false, None, true),
    ] {
        let is = is_theirs(&volume(id, taken_in), said.as_ref(), &home);
        assert_eq!(is, theirs, "{id} {taken_in} {said:?}");
    }
}

#[test]
fn only_what_did_not_go_by_itself_is_left_alone() {
    let (a, b) = (zone("zone-a"), zone("zone-b"));
    let v = CinderVolume {
        id: "8".to_owned(),
        image: ImageSpec::new("volumes", "volume-7").unwrap(),
        facts: None,
        taken_in: true,
    };
    let at = |at: &str, role| report(at, role, VolumeStatus::ErrorUnknown);
    let left_alone = |to: &ZoneName, left: Option<Role>, taken: Option<Role>| {
        let from = if *to == a { &b } else { &a };
        let left = left.map(|role| at(from.as_str(), role));
        let taken = taken.map(|role| at(to.as_str(), role));
        let seen = Seen {
            from: (from, Health::Writes),
            left: left.as_ref(),
            to,
            taken: taken.as_ref(),
        };
        is_left_alone(&v, &seen, &a)
    };
    use Role::{NotMirrored, Primary, Secondary, Unknown};
    for (left, taken, out, back) in [
        (Some(Secondary), Some(Primary), true, false),
        (Some(Primary), Some(Primary), true, true),
        (None, Some(Primary), true, false),
        (Some(Primary), Some(Secondary), false, true),
        (Some(Secondary), Some(Secondary), false, true),
        (None, Some(Secondary), false, true),
        (Some(Unknown), Some(Secondary), false, false),
        (None, Some(Unknown), false, false),
        (Some(NotMirrored), Some(NotMirrored), false, false),
        (Some(Primary), None, false, true),
    ] {
        assert_eq!(left_alone(&b, left, taken), out, "out: {left:?} {taken:?}");
        assert_eq!(
            left_alone(&a, left, taken),
            back,
            "back: {left:?} {taken:?}"
        );
    }
}
