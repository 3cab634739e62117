//! Events are fed; nothing waits. Whole decisions are tested in `tests/`, with everything around them.

use super::*;
use crate::wire::Problem;
use rekindle_common::ErrorCode;

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
    assert!(!halted.wants_executor(now));
    assert!(halted.wants_executor(now + Duration::from_secs(5)));
    let corrupted = WorkState::Corrupted {
        problem: problem.clone(),
    };
    let later = now + Duration::from_secs(3600);
    assert!(!corrupted.wants_executor(later));
    assert!(!WorkState::Waiting.wants_executor(later));
    assert!(!WorkState::Running.wants_executor(later));
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
