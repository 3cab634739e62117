use super::*;
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, ZoneName,
    duration::Span,
    lease::PrimaryRecord,
    policy::{GroupPolicy, GroupSpec},
};
use rekindle_core::{
    plan::{Step, failback_or_move},
    snapshot::{GroupState, GroupView, LeaseSight},
};
use rekindle_store::Revision;
use std::collections::BTreeMap;

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

/// A planned move of a group with an application: no kind of plan names its volumes more often.
fn a_move(volumes: usize) -> Plan {
    let view = GroupView {
        spec: GroupSpec {
            name: GroupName::new("shop").unwrap(),
            home: zone("zone-a"),
            away: zone("zone-b"),
            policy: GroupPolicy {
                application: Some("shop".to_owned()),
                ..GroupPolicy::default()
            },
            runbook: Default::default(),
        },
        primary: None,
        lease: LeaseSight::Gone {
            seen_gone_for: Span::secs(0),
        },
        volumes: BTreeMap::new(),
        seen: None,
        approval: None,
        active_plan: None,
        state: GroupState::default(),
    };
    let primary = PrimaryRecord {
        zone: zone("zone-a"),
        generation: Generation(1),
        since: jiff::Timestamp::UNIX_EPOCH,
        plan: None,
    };
    let name = |n: usize| format!("volume-00000000-0000-4000-8000-{n:012}");
    let images: Vec<ImageSpec> = (0..volumes)
        .map(|n| ImageSpec::new("volumes", name(n)).unwrap())
        .collect();
    failback_or_move(
        PlanId::new("p1").unwrap(),
        &view,
        &primary,
        jiff::Timestamp::UNIX_EPOCH,
        "a test".to_owned(),
        &zone("zone-b"),
        &images,
    )
}

fn stored(value: Vec<u8>) -> KeyValue {
    KeyValue {
        key: "plan".to_owned(),
        value,
        create_revision: Revision(1),
        mod_revision: Revision(1),
        lease: None,
    }
}

#[test]
fn what_fits_stands_there_in_full() {
    let plan = a_move(10);
    let value = bytes(&plan, MAX_VALUE_BYTES).unwrap();
    assert_eq!(value, serde_json::to_vec(&plan).unwrap());
    assert_eq!(read(&stored(value)).unwrap(), plan);
}

#[test]
fn what_does_not_fit_names_its_volumes_once_and_is_read_back_as_it_was() {
    let plan = a_move(10_000);
    assert!(serde_json::to_vec(&plan).unwrap().len() > 10 * MAX_VALUE_BYTES);
    let value = bytes(&plan, MAX_VALUE_BYTES).unwrap();
    let text = String::from_utf8(value.clone()).unwrap();
    assert_eq!(text.matches("-000000000123").count(), 1);
    assert_eq!(read(&stored(value)).unwrap(), plan);
}

/// Volumes of which not the same is said keep it.
#[test]
fn each_volume_keeps_its_own_promotion() {
    let mut plan = a_move(100);
    for step in &mut plan.steps {
        if let Step::Promote { volumes, .. } = &mut step.step {
            volumes[7].promotion = rekindle_common::action::Promotion::Plain;
        }
    }
    let whole = serde_json::to_vec(&plan).unwrap().len();
    let value = bytes(&plan, whole - 1).unwrap();
    assert!(value.len() < whole / 2);
    assert_eq!(read(&stored(value)).unwrap(), plan);
}

#[test]
fn what_is_too_much_is_said_with_its_size() {
    let e = put(&a_move(40_000)).unwrap_err();
    assert!(matches!(e, Unwritable::TooLarge(_)), "{e}");
    let e = ApiError::from(e);
    assert_eq!(e.code, ErrorCode::TooLarge);
    for words in ["bytes", "1048576", "split the group"] {
        assert!(e.message.contains(words), "{e}");
    }
}

#[test]
fn a_number_without_a_list_is_corrupt() {
    let plan = a_move(100);
    let whole = serde_json::to_vec(&plan).unwrap().len();
    let text = String::from_utf8(bytes(&plan, whole - 1).unwrap()).unwrap();
    let broken = text.replace("\"volumes\":0", "\"volumes\":9");
    let e = read(&stored(broken.into_bytes())).unwrap_err();
    assert!(e.to_string().contains("plan"), "{e}");
}
