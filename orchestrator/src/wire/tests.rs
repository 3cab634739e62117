//! Sidecars read some of it, by types of their own: the same lines are read both ways.

use super::*;
use jiff::Timestamp;
use rekindle_common::plan::{GroupGlance, PlanLine};
use rekindle_core::saga;
use serde_json::{Value, json};

fn as_sidecars_read(line: &WatchLine) -> PlanLine {
    let text = serde_json::to_string(line).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn record(event: saga::Event) -> WatchLine {
    WatchLine::Record {
        seq: 3,
        record: saga::Record {
            at: Timestamp::UNIX_EPOCH,
            by: "witness".to_owned(),
            event,
        },
    }
}

#[test]
fn sidecars_read_a_plans_course_out_of_the_same_lines() {
    let failed = saga::Event::StepFailed {
        step: 1,
        error: "no room".to_owned(),
        left: saga::Left::Nothing,
    };
    let told = |line| {
        let PlanLine::Record { record } = as_sidecars_read(&line) else {
            panic!("{line:?}")
        };
        record.event.error
    };
    assert_eq!(told(record(failed)).as_deref(), Some("no room"));
    assert_eq!(told(record(saga::Event::Begun)), None);
    let progress = Progress::default();
    let read = as_sidecars_read(&WatchLine::Progress { progress });
    assert_eq!(read, PlanLine::Progress {});
    let not_helped = vec![FailedVolumeView {
        volume: "volumes/x".parse().unwrap(),
        why: "full".to_owned(),
    }];
    let end = saga::End::Partial;
    let read = as_sidecars_read(&WatchLine::Ended {
        end,
        not_helped: not_helped.clone(),
        servers: vec![FailedServerView {
            server: "db".parse().unwrap(),
            why: "no flavor".to_owned(),
        }],
    });
    assert_eq!(read, PlanLine::Ended { end, not_helped });
    let stuck = saga::State::Stuck {
        step: 2,
        undo: None,
        error: "frozen".to_owned(),
    };
    let line = WatchLine::Waiting { state: stuck };
    let PlanLine::Waiting { state } = as_sidecars_read(&line) else {
        panic!("{line:?}")
    };
    assert_eq!(state.error, "frozen");
}

/// What a sidecar reads of a group is there under the same names.
#[test]
fn sidecars_read_a_group_out_of_its_status() {
    let spec = json!({"name": "db", "home": "zone-a", "away": "zone-b", "policy": {}});
    let status = |active: Value| -> Value {
        json!({
            "spec": spec, "primary": {"zone": "zone-b", "generation": 2, "since": "2026-01-01T00:00:00Z", "plan": "p1"},
            "lease": {"lease": "gone", "seen_gone_for": "1s"}, "active_plan": active, "volumes": [], "problems": [],
        })
    };
    let active = json!({"id": "p2", "kind": "move", "state": null, "text": "", "progress": null});
    for (active, id) in [(active, Some("p2")), (Value::Null, None)] {
        let whole: GroupStatus = serde_json::from_value(status(active)).unwrap();
        let text = serde_json::to_string(&whole).unwrap();
        let glance: GroupGlance = serde_json::from_str(&text).unwrap();
        assert_eq!(glance.primary, whole.primary);
        let read = glance.active_plan.map(|p| p.id.to_string());
        assert_eq!(read.as_deref(), id);
    }
}
