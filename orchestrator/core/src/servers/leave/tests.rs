//! What a build that did not end leaves behind.

use super::*;
use crate::servers::samples::{record, zone};
use rekindle_common::ServerKey;
use std::collections::BTreeMap;

fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

#[test]
fn hard_case_51_what_a_cut_off_build_left_is_looked_for_before_its_server_is_forgotten() {
    let kept = KeptServer {
        key: ServerKey::new("web-1").unwrap(),
        record: record(),
        instances: BTreeMap::new(),
        trouble: None,
    };
    let begun = |minutes: i64| Begun {
        zone: zone("zone-b"),
        counterpart: "zone-a/server-a".to_owned(),
        record: record(),
        at: now() - jiff::SignedDuration::from_mins(minutes),
    };
    let (a, b) = (zone("zone-a"), zone("zone-b"));
    let left = |standby: &Standby, copies, minutes| {
        leave_half(&kept, &begun(minutes), standby, copies, Some(&a), now())
    };
    let there = |state| Standby::There {
        id: "half".to_owned(),
        state,
        held: false,
        words: "as it is".to_owned(),
        disks: None,
    };
    let waits = |l: Leave| matches!(l, Leave::Wait { .. });
    let id = || "half".to_owned();
    for copies in [Copies::All, Copies::Journaled, Copies::Some] {
        let held = left(&there(Rests::Running), copies, 1);
        assert_eq!(held, Leave::Hold { id: id() });
        for state in [Rests::Resting, Rests::Failed { off: true }] {
            let gone = Leave::Remove {
                id: id(),
                counterpart: "zone-a/server-a".to_owned(),
            };
            assert_eq!(left(&there(state), copies, 1), gone);
        }
        for state in [Rests::Changing, Rests::Unknown] {
            assert!(waits(left(&there(state), copies, 60)), "{state:?}");
        }
    }
    for copies in [Copies::Writable, Copies::Unknown] {
        for state in [Rests::Running, Rests::Resting, Rests::Failed { off: true }] {
            assert!(waits(left(&there(state), copies, 60)), "{state:?}");
        }
    }
    let unknown = Standby::Unknown {
        why: "silence".to_owned(),
    };
    assert!(waits(left(&unknown, Copies::All, 60)));
    // An order that was lost may be on its way.
    assert!(waits(left(&Standby::Absent, Copies::All, 29)));
    assert_eq!(left(&Standby::Absent, Copies::All, 30), Leave::Forget);
    // It serves there, perhaps.
    let there = there(Rests::Resting);
    let elsewhere = leave_half(&kept, &begun(1), &there, Copies::All, Some(&b), now());
    assert!(waits(elsewhere));
}
