//! Events are fed; nothing waits. Whole decisions are tested in `tests/`, with everything around them.

use super::*;
use crate::wire::Problem;
use rekindle_common::ErrorCode;
use rekindle_core::{decision::Decision, plan::PlanKind, snapshot::Snapshot};

/// What the decision core's own tests say about being overtaken, it says of a snapshot with this group in it; here is none.
fn nothing_known() -> Snapshot {
    Snapshot {
        reference_time: jiff::Timestamp::UNIX_EPOCH,
        sites: Vec::new(),
        observations: BTreeMap::new(),
        zones: BTreeMap::new(),
        clocks: BTreeMap::new(),
        groups: BTreeMap::new(),
        maintenance: None,
        promised_for: None,
    }
}
fn a_plan() -> Box<Plan> {
    let zone = |z| rekindle_common::ZoneName::new(z).unwrap();
    Box::new(Plan {
        id: PlanId::new("p1").unwrap(),
        parent: None,
        group: GroupName::new("db").unwrap(),
        kind: PlanKind::Move,
        from: zone("zone-a"),
        to: zone("zone-b"),
        made_for: rekindle_common::Generation(1),
        at: jiff::Timestamp::UNIX_EPOCH,
        why: String::new(),
        proof: None,
        expected_loss: Vec::new(),
        left_out: Vec::new(),
        runbook: Default::default(),
        steps: Vec::new(),
    })
}

#[test]
fn a_halted_plan_gets_another_executor_after_a_pause_and_a_corrupted_one_never() {
    let problem = Problem {
        code: ErrorCode::StorageFull,
        about: "p1".to_owned(),
        message: "full".to_owned(),
    };
    let now = Instant::now();
    let halted = WorkState::Halted {
        problem: problem.clone(),
        retry_at: now + Duration::from_secs(5),
    };
    assert!(!halted.wants_executor(now, &nothing_known()));
    assert!(halted.wants_executor(now + Duration::from_secs(5), &nothing_known()));
    let corrupted = WorkState::Corrupted {
        problem: problem.clone(),
    };
    let later = now + Duration::from_secs(3600);
    assert!(!corrupted.wants_executor(later, &nothing_known()));
    let waiting = WorkState::Waiting {
        plan: a_plan(),
        state: rekindle_core::saga::State::Fresh,
    };
    assert!(!waiting.wants_executor(later, &nothing_known()));
    assert!(!WorkState::Running.wants_executor(later, &nothing_known()));
    assert_eq!(corrupted.problem(), Some(&problem));
}

#[test]
fn a_margin_that_runs_down_is_one_decision() {
    use rekindle_common::duration::Span;
    use rekindle_core::decision::{Decision, Hold};
    let margin = |s| Decision::Hold {
        why: Hold::MarginRunning {
            left: Span::secs(s),
        },
    };
    let well = Decision::Hold { why: Hold::AllWell };
    assert_eq!(describe::sort(&margin(3)), describe::sort(&margin(2)));
    assert_ne!(describe::sort(&margin(3)), describe::sort(&well));
    assert_ne!(text(&margin(3)), text(&margin(2)));
}

#[test]
fn a_plan_that_etcd_does_not_hold_is_for_a_person_to_decide() {
    let fits = Decision::Begin { plan: a_plan() };
    assert_eq!(apply::writable(fits.clone()), fits);
    let mut plan = a_plan();
    plan.why = "because ".repeat(200_000);
    let asks = apply::writable(Decision::Begin { plan });
    let Decision::AskOperator { why } = &asks else {
        panic!("{asks:?}");
    };
    let words = why.to_string();
    assert!(
        words.starts_with("the move that is due cannot be begun"),
        "{words}"
    );
    assert!(
        words.contains("1048576") && words.contains("split the group"),
        "{words}"
    );
}
