use super::*;
use crate::decision::{Decision, Request, decide, plan_for};
use crate::fixture::{World, group, now, plan_id, volume, zone};
use proptest::prelude::*;

fn failover() -> Plan {
    let mut w = World::healthy(2);
    w.kill_a(3600, 3600);
    match decide(&w.snapshot, &group(), plan_id()) {
        Some(Decision::Begin { plan }) => *plan,
        other => panic!("{other:?}"),
    }
}
fn planned() -> Plan {
    let w = World::healthy(2);
    plan_for(
        &w.snapshot,
        &group(),
        &Request::Move { to: zone("zone-b") },
        plan_id(),
    )
    .unwrap()
}
fn record(event: Event) -> Record {
    Record {
        at: now(),
        by: "zone-b".to_owned(),
        event,
    }
}
fn ok() -> StepOutcome {
    StepOutcome::default()
}

/// Drives a plan as an executor would: `fails(step)` says which steps fail, `undo_fails(entry)` which entries of the
/// unwind list do.
fn drive(
    plan: &Plan,
    journal: &mut Vec<Record>,
    fails: &dyn Fn(usize) -> Option<Left>,
    undo_fails: &dyn Fn(usize) -> bool,
    stop_after: usize,
) -> State {
    let mut saga = Saga::replay(plan, journal).unwrap();
    while journal.len() < stop_after {
        let events = match saga.next() {
            Next::Begin => vec![Event::Begun],
            Next::Run {
                step,
                journalled: false,
            } => vec![Event::StepBegun { step }],
            Next::Run {
                step,
                journalled: true,
            } => vec![match fails(step) {
                None => Event::StepDone {
                    step,
                    outcome: ok(),
                },
                Some(left) => Event::StepFailed {
                    step,
                    error: "broken".to_owned(),
                    left,
                },
            }],
            Next::Unwind {
                undo,
                journalled: false,
                ..
            } => vec![Event::UnwindBegun { undo }],
            Next::Unwind {
                undo,
                journalled: true,
                ..
            } if undo_fails(undo) => {
                vec![Event::UnwindFailed {
                    undo,
                    error: "broken".to_owned(),
                }]
            }
            Next::Unwind { undo, .. } => vec![Event::UnwindDone {
                undo,
                servers: vec![],
                failed: vec![],
            }],
            Next::Finish { end } => vec![Event::Ended { end }],
            Next::Wait | Next::Over => break,
        };
        for event in events {
            saga.apply(&event).unwrap();
            journal.push(record(event));
        }
    }
    saga.state().clone()
}

#[test]
fn a_plan_without_trouble_succeeds() {
    for plan in [failover(), planned()] {
        let end = drive(&plan, &mut Vec::new(), &|_| None, &|_| false, usize::MAX);
        assert_eq!(
            end,
            State::Ended {
                end: End::Succeeded
            }
        );
    }
}

#[test]
fn hard_case_09_a_crash_after_each_record_changes_nothing() {
    for plan in [failover(), planned()] {
        let mut whole = Vec::new();
        drive(&plan, &mut whole, &|_| None, &|_| false, usize::MAX);
        for cut in 0..whole.len() {
            let mut journal = whole[..cut].to_vec();
            let end = drive(&plan, &mut journal, &|_| None, &|_| false, usize::MAX);
            assert_eq!(
                end,
                State::Ended {
                    end: End::Succeeded
                },
                "cut at {cut}"
            );
            assert_eq!(journal, whole, "cut at {cut}");
        }
    }
}

#[test]
fn a_failed_move_is_unwound_until_something_was_promoted() {
    let plan = planned();
    let promote = plan
        .steps
        .iter()
        .position(|s| s.step.name() == "promote")
        .unwrap();
    for bad in 0..plan.steps.len() {
        let fails = |s| (s == bad).then_some(Left::MaybeSomething);
        let end = drive(&plan, &mut Vec::new(), &fails, &|_| false, usize::MAX);
        if bad <= promote {
            assert_eq!(end, State::Ended { end: End::Unwound }, "step {bad}");
        } else {
            assert!(
                matches!(end, State::Stuck { step, undo: None, .. } if step == bad),
                "step {bad}: {end:?}"
            );
        }
    }
}

#[test]
fn a_failed_failover_is_abandoned_before_it_changed_anything_and_stuck_after() {
    let plan = failover();
    for bad in 0..plan.steps.len() {
        for left in [Left::Nothing, Left::MaybeSomething] {
            let end = drive(
                &plan,
                &mut Vec::new(),
                &|s| (s == bad).then_some(left),
                &|_| false,
                usize::MAX,
            );
            let record = plan
                .steps
                .iter()
                .position(|s| s.step.name() == "record_primary")
                .unwrap();
            let clean = bad < record || (bad == record && left == Left::Nothing);
            if clean {
                assert_eq!(
                    end,
                    State::Ended {
                        end: End::Abandoned
                    },
                    "step {bad} {left:?}"
                );
            } else {
                assert!(
                    matches!(end, State::Stuck { .. }),
                    "step {bad} {left:?}: {end:?}"
                );
            }
        }
    }
}

#[test]
fn a_stuck_plan_goes_on_where_it_stood_when_retried() {
    let plan = failover();
    let bad = plan.steps.len() - 1;
    let mut journal = Vec::new();
    let stuck = drive(
        &plan,
        &mut journal,
        &|s| (s == bad).then_some(Left::MaybeSomething),
        &|_| false,
        usize::MAX,
    );
    assert!(matches!(stuck, State::Stuck { .. }));
    journal.push(record(Event::Retried));
    let end = drive(&plan, &mut journal, &|_| None, &|_| false, usize::MAX);
    assert_eq!(
        end,
        State::Ended {
            end: End::Succeeded
        }
    );
}

/// A stuck plan bars every other one of its group, a failover too: a person can end it, and only a stuck one.
#[test]
fn a_stuck_plan_can_be_given_up_or_overtaken_and_no_other() {
    let plan = failover();
    let bad = plan.steps.len() - 1;
    let fails = |s| (s == bad).then_some(Left::MaybeSomething);
    for end in [End::GivenUp, End::Overtaken] {
        let mut journal = Vec::new();
        let ended = Event::Ended { end };
        drive(&plan, &mut journal, &fails, &|_| false, usize::MAX);
        for n in 0..journal.len() {
            let mut saga = Saga::replay(&plan, &journal[..n]).unwrap();
            assert!(saga.apply(&ended).is_err(), "{end:?} after {n} records");
        }
        journal.push(record(ended));
        let saga = Saga::replay(&plan, &journal).unwrap();
        assert_eq!(saga.next(), Next::Over);
        assert_eq!(*saga.state(), State::Ended { end });
    }
}

#[test]
fn a_failed_unwinding_is_stuck_and_can_be_retried() {
    let plan = planned();
    let mut journal = Vec::new();
    let fails = |s| (s == 2).then_some(Left::MaybeSomething);
    let stuck = drive(&plan, &mut journal, &fails, &|u| u == 1, usize::MAX);
    assert!(
        matches!(stuck, State::Stuck { undo: Some(1), .. }),
        "{stuck:?}"
    );
    journal.push(record(Event::Retried));
    let end = drive(&plan, &mut journal, &fails, &|_| false, usize::MAX);
    assert_eq!(end, State::Ended { end: End::Unwound });
}

#[test]
fn hard_case_41_some_failed_volumes_make_it_partial() {
    let plan = failover();
    let promote = plan
        .steps
        .iter()
        .position(|s| s.step.name() == "promote")
        .unwrap();
    let mut saga = Saga::replay(&plan, &[]).unwrap();
    saga.apply(&Event::Begun).unwrap();
    for step in 0..plan.steps.len() {
        saga.apply(&Event::StepBegun { step }).unwrap();
        let failed = FailedVolume {
            volume: volume(1),
            why: "broken".to_owned(),
        };
        let failed = if step == promote {
            vec![failed]
        } else {
            vec![]
        };
        saga.apply(&Event::StepDone {
            step,
            outcome: StepOutcome { failed, ..ok() },
        })
        .unwrap();
    }
    assert_eq!(saga.next(), Next::Finish { end: End::Partial });
    assert_eq!(saga.failed().len(), 1);
}

/// What does not fit into a record with its reason has failed all the same.
#[test]
fn volumes_that_are_told_by_their_places_have_failed() {
    let plan = failover();
    let promote = plan
        .steps
        .iter()
        .position(|s| s.step.name() == "promote")
        .unwrap();
    let mut saga = Saga::replay(&plan, &[]).unwrap();
    saga.apply(&Event::Begun).unwrap();
    for step in 0..plan.steps.len() {
        saga.apply(&Event::StepBegun { step }).unwrap();
        let done = |failed_more| Event::StepDone {
            step,
            outcome: StepOutcome {
                failed_more,
                ..ok()
            },
        };
        // No such place: it would pass for helped.
        let before = saga.clone();
        assert!(saga.apply(&done(vec![1, 1000])).is_err());
        assert_eq!(saga, before);
        let more = if step == promote { vec![1] } else { vec![] };
        saga.apply(&done(more)).unwrap();
    }
    assert_eq!(saga.next(), Next::Finish { end: End::Partial });
    let failed: Vec<_> = saga.failed().iter().map(|f| &f.volume).collect();
    assert_eq!(failed, [plan.steps[promote].step.volumes()[1]]);
}

#[test]
fn a_corrupted_journal_is_named_at_its_record() {
    let plan = failover();
    let mut journal = Vec::new();
    drive(&plan, &mut journal, &|_| None, &|_| false, usize::MAX);
    for i in 1..journal.len() {
        let mut broken = journal.clone();
        broken.remove(i - 1);
        assert_eq!(
            Saga::replay(&plan, &broken).unwrap_err().at,
            i - 1,
            "without record {}",
            i - 1
        );
    }
    let mut twice = journal.clone();
    twice.insert(1, journal[0].clone());
    assert_eq!(Saga::replay(&plan, &twice).unwrap_err().at, 1);
}

fn any_event() -> impl Strategy<Value = Event> {
    let left = prop_oneof![Just(Left::Nothing), Just(Left::MaybeSomething)];
    let end = prop_oneof![
        Just(End::Succeeded),
        Just(End::Partial),
        Just(End::Abandoned),
        Just(End::Unwound),
        Just(End::GivenUp),
        Just(End::Overtaken)
    ];
    prop_oneof![
        Just(Event::Begun),
        (0usize..12).prop_map(|step| Event::StepBegun { step }),
        (0usize..12).prop_map(|step| Event::StepDone {
            step,
            outcome: StepOutcome::default()
        }),
        (0usize..12, left).prop_map(|(step, left)| Event::StepFailed {
            step,
            error: String::new(),
            left
        }),
        (0usize..6).prop_map(|undo| Event::UnwindBegun { undo }),
        (0usize..6).prop_map(|undo| Event::UnwindDone {
            undo,
            servers: vec![],
            failed: vec![]
        }),
        (0usize..6).prop_map(|undo| Event::UnwindFailed {
            undo,
            error: String::new()
        }),
        Just(Event::Retried),
        end.prop_map(|end| Event::Ended { end }),
    ]
}

proptest! {
    /// Whatever is thrown at it: a refused event changes nothing, a step is begun only after all before it are done, and
    /// after a successful promotion nothing is ever unwound.
    #[test]
    fn only_legal_histories_are_taken(events in prop::collection::vec(any_event(), 0..400)) {
        let plan = planned();
        let promote = plan.steps.iter().position(|s| s.step.name() == "promote").unwrap();
        let mut saga = Saga::replay(&plan, &[]).unwrap();
        let (mut done, mut promoted) = (0usize, false);
        for event in &events {
            let before = saga.clone();
            match saga.apply(event) {
                Err(_) => prop_assert_eq!(&saga, &before),
                Ok(()) => match event {
                    Event::StepBegun { step } => prop_assert_eq!(*step, done),
                    Event::StepDone { step, .. } => { done = step + 1; promoted |= *step == promote; }
                    Event::UnwindBegun { .. } => prop_assert!(!promoted),
                    Event::Begun | Event::StepFailed { .. } | Event::UnwindDone { .. } | Event::UnwindFailed { .. } | Event::Retried | Event::Ended { .. } => {}
                },
            }
        }
    }
}

/// A plan of a group with two servers in two levels.
fn with_servers(request: &Request) -> Plan {
    use rekindle_common::{ServerKey, duration::Span, runbook};
    let server = |key: &str| runbook::RunbookServer {
        key: ServerKey::new(key).unwrap(),
        server: None,
        standby: None,
        after: vec![],
        wait: vec![],
        within: Span::secs(60),
    };
    let level = |key: &str| runbook::Level {
        pause: None,
        servers: vec![server(key)],
    };
    let mut w = World::healthy(2);
    w.view().spec.runbook = runbook::Runbook {
        before: vec![runbook::Hook {
            agent: "ask".to_owned(),
            within: Span::secs(5),
        }],
        levels: vec![level("db"), level("web")],
        ..runbook::Runbook::default()
    };
    plan_for(&w.snapshot, &group(), request, plan_id()).unwrap()
}

fn failed_server(key: &str) -> FailedServer {
    FailedServer {
        server: rekindle_common::ServerKey::new(key).unwrap(),
        why: "broken".to_owned(),
    }
}

fn failing_if(its: bool, key: &str) -> Vec<FailedServer> {
    its.then(|| failed_server(key)).into_iter().collect()
}

/// Drives a plan to its end; `outcome` says for which servers a step failed.
fn to_its_end(
    plan: &Plan,
    outcome: &dyn Fn(&Step) -> Vec<FailedServer>,
    bad: Option<usize>,
) -> (End, Vec<String>) {
    let mut saga = Saga::replay(plan, &[]).unwrap();
    loop {
        let event = match saga.next() {
            Next::Begin => Event::Begun,
            Next::Run {
                step,
                journalled: false,
            } => Event::StepBegun { step },
            Next::Run { step, .. } if Some(step) == bad => Event::StepFailed {
                step,
                error: "broken".to_owned(),
                left: Left::MaybeSomething,
            },
            Next::Run { step, .. } => Event::StepDone {
                step,
                outcome: StepOutcome {
                    servers: outcome(&plan.steps[step].step),
                    ..ok()
                },
            },
            Next::Unwind {
                undo,
                journalled: false,
                ..
            } => Event::UnwindBegun { undo },
            Next::Unwind { failed, undo, .. } => Event::UnwindDone {
                undo,
                servers: outcome(&plan.steps[failed].unwind[undo]),
                failed: vec![],
            },
            Next::Finish { end } => {
                let left = saga.failed_servers().iter();
                return (end, left.map(|f| f.server.to_string()).collect());
            }
            Next::Wait | Next::Over => panic!("{:?}", saga.state()),
        };
        saga.apply(&event).unwrap();
    }
}

#[test]
fn hard_case_41_a_server_that_failed_makes_it_partial_and_fails_nothing_else() {
    let plan = with_servers(&Request::Move { to: zone("zone-b") });
    let starts = |level: usize| {
        move |s: &Step| {
            let its = matches!(s, Step::StartServers { level: l, .. } if *l == level);
            failing_if(its, ["db", "web"][level])
        }
    };
    for (level, key) in [(0, "db"), (1, "web")] {
        assert_eq!(
            to_its_end(&plan, &starts(level), None),
            (End::Partial, vec![key.to_owned()])
        );
    }
    assert_eq!(
        to_its_end(&plan, &|_| vec![], None),
        (End::Succeeded, vec![])
    );
}

/// What the last step about a server says of it counts.
#[test]
fn a_server_that_is_helped_in_the_end_is_not_named() {
    let plan = with_servers(&Request::Move { to: zone("zone-b") });
    let stop_fails = |s: &Step| failing_if(matches!(s, Step::StopServers { level: 1, .. }), "web");
    assert_eq!(
        to_its_end(&plan, &stop_fails, None),
        (End::Succeeded, vec![])
    );
    // And one that could not be started again when a move was undone is.
    let demote = plan.steps.iter().position(|s| s.step.name() == "demote");
    let start_fails = |s: &Step| failing_if(matches!(s, Step::StartServers { level: 0, .. }), "db");
    assert_eq!(
        to_its_end(&plan, &start_fails, demote),
        (End::Unwound, vec!["db".to_owned()])
    );
}

#[test]
fn a_hook_that_fails_before_everything_abandons_the_plan() {
    let plan = with_servers(&Request::Move { to: zone("zone-b") });
    assert!(matches!(plan.steps[0].step, Step::RunHook { .. }));
    assert_eq!(
        to_its_end(&plan, &|_| vec![], Some(0)),
        (End::Abandoned, vec![])
    );
}

#[test]
fn records_of_earlier_releases_are_read_and_written_as_they_were() {
    for text in [
        r#"{"event":"step_done","step":3,"outcome":{"note":"well"}}"#,
        r#"{"event":"unwind_done","undo":2}"#,
    ] {
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }
}
