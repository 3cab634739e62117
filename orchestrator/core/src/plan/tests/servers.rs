//! Where servers, hooks and pauses stand in each kind of plan, whatever the runbook.

use super::*;
use crate::{
    fixture::volume,
    plan::{servers::deadline_of, start_again},
};
use proptest::prelude::*;
use rekindle_common::{
    ServerKey,
    lease::LeaseView,
    runbook::{Hook, Level, RunbookServer, Wait},
    status::VolumeStatus,
    volume::Role,
};

const KINDS: [PlanKind; 5] = [
    PlanKind::Failover,
    PlanKind::Move,
    PlanKind::Failback,
    PlanKind::Reprotect,
    PlanKind::Resume,
];

fn server(key: &str) -> RunbookServer {
    RunbookServer {
        key: ServerKey::new(key).unwrap(),
        server: None,
        standby: None,
        after: Vec::new(),
        wait: Vec::new(),
        within: Span::secs(60),
    }
}

fn any_runbook() -> impl Strategy<Value = Runbook> {
    let level = (prop::option::of(Just("look".to_owned())), 0usize..4);
    (0usize..3, 0usize..3, prop::collection::vec(level, 0..5)).prop_map(
        |(before, after, levels)| {
            let hook = |n: usize| Hook {
                agent: format!("h{n}"),
                within: Span::secs(30),
            };
            let levels = levels.into_iter().enumerate().map(|(l, (pause, n))| Level {
                pause,
                servers: (0..n).map(|s| server(&format!("s{l}-{s}"))).collect(),
            });
            Runbook {
                before: (0..before).map(hook).collect(),
                after: (0..after).map(|n| hook(10 + n)).collect(),
                levels: levels.collect(),
                ..Runbook::default()
            }
        },
    )
}

/// A plan of that kind of a group with that runbook; a reprotect finds volumes that are primary on both sides.
fn plan_of(kind: PlanKind, runbook: &Runbook) -> Plan {
    let mut w = match kind {
        PlanKind::Reprotect | PlanKind::Failback => World::after_failover(2),
        PlanKind::Failover | PlanKind::Move | PlanKind::Resume => World::healthy(2),
    };
    w.view().spec.runbook = runbook.clone();
    let view = w.view().clone();
    let primary = view.primary.clone().unwrap();
    let at = w.snapshot.reference_time;
    let volumes = [volume(0), volume(1)];
    let why = "a test".to_owned();
    let id = plan_id();
    match kind {
        PlanKind::Failover => failover(id, &view, &primary, at, why, parts()),
        PlanKind::Move | PlanKind::Failback => {
            let to = view.spec.other(&primary.zone).unwrap().clone();
            failback_or_move(id, &view, &primary, at, why, &to, &volumes)
        }
        PlanKind::Reprotect => {
            let parts = ReprotectParts {
                demote: vec![volume(0)],
                resync: volumes.to_vec(),
                all: volumes.to_vec(),
                left_out: vec![],
            };
            reprotect(id, &view, &primary, at, why, &zone("zone-a"), parts)
        }
        PlanKind::Resume => resume(id, &view, &primary, at, why, resumed()),
    }
}

fn resumed() -> ResumeParts {
    ResumeParts {
        volumes: vec![volume(0), volume(1)],
        left_out: vec![],
        disks: Disks::Taken,
    }
}

fn parts() -> FailoverParts {
    FailoverParts {
        to: zone("zone-b"),
        proof: Proof::LeaseExpired {
            margin: Span::secs(10),
        },
        lease: OldLease::Gone,
        volumes: vec![VolumePromotion {
            volume: volume(0),
            promotion: Promotion::Forced {
                reason: "lost".to_owned(),
                accept_torn: false,
            },
        }],
        left_out: vec![],
        expected_loss: vec![],
    }
}

fn of_servers(step: &Step) -> bool {
    matches!(
        step,
        Step::RunHook { .. }
            | Step::Pause { .. }
            | Step::StopServers { .. }
            | Step::StartServers { .. }
            | Step::HoldServers { .. }
    )
}

/// The plan with all that is about servers taken out.
fn without_servers(mut plan: Plan) -> Plan {
    plan.runbook = Runbook::default();
    plan.steps.retain(|s| !of_servers(&s.step));
    for s in &mut plan.steps {
        s.unwind.retain(|u| !of_servers(u));
    }
    plan
}

fn at(plan: &Plan, what: impl Fn(&Step) -> bool) -> Vec<usize> {
    let found = plan.steps.iter().enumerate().filter(|(_, s)| what(&s.step));
    found.map(|(n, _)| n).collect()
}
fn named(plan: &Plan, name: &str) -> Vec<usize> {
    at(plan, |s| s.name() == name)
}
fn levels_of<'a>(steps: impl IntoIterator<Item = &'a Step>, start: bool) -> Vec<usize> {
    let level = |s: &Step| {
        if let Step::StartServers { level, .. } = s
            && start
        {
            return Some(*level);
        }
        if let Step::StopServers { level, .. } = s
            && !start
        {
            return Some(*level);
        }
        None
    };
    steps.into_iter().filter_map(level).collect()
}
fn steps(plan: &Plan) -> impl DoubleEndedIterator<Item = &Step> {
    plan.steps.iter().map(|s| &s.step)
}
fn with_servers(runbook: &Runbook) -> Vec<usize> {
    let levels = runbook.levels.iter().enumerate();
    levels
        .filter(|(_, l)| !l.servers.is_empty())
        .map(|(n, _)| n)
        .collect()
}

proptest! {
    #[test]
    fn a_runbook_adds_steps_and_changes_no_other(book in any_runbook()) {
        for kind in KINDS {
            let plan = plan_of(kind, &book);
            prop_assert_eq!(&plan.runbook, &book);
            let bare = plan_of(kind, &Runbook::default());
            prop_assert!(!bare.steps.iter().any(|s| of_servers(&s.step) || s.unwind.iter().any(of_servers)));
            prop_assert_eq!(without_servers(plan), bare);
        }
    }

    #[test]
    fn levels_start_once_in_order_and_after_the_record_and_the_promotion(book in any_runbook()) {
        for kind in [PlanKind::Failover, PlanKind::Move, PlanKind::Failback, PlanKind::Resume] {
            let plan = plan_of(kind, &book);
            prop_assert_eq!(levels_of(steps(&plan), true), with_servers(&book));
            let starts = named(&plan, "start_servers");
            let promote = named(&plan, "promote")[0];
            for s in &starts {
                prop_assert!(*s > promote);
                for record in named(&plan, "record_primary") {
                    prop_assert!(*s > record);
                }
                prop_assert!(plan.steps[*s].unwind.is_empty(), "nothing is put back after a promotion");
            }
            // Of a failover nothing but hooks and the proof stands before the record.
            if kind == PlanKind::Failover {
                let record = named(&plan, "record_primary")[0];
                for s in steps(&plan).take(record) {
                    prop_assert!(matches!(s, Step::RunHook { when: HookTime::Before, .. } | Step::AwaitLeaseEnd { .. } | Step::Fence { .. }), "{}", s);
                }
                prop_assert!(named(&plan, "stop_servers").is_empty() && named(&plan, "hold_servers").is_empty());
            }
            for s in &plan.steps {
                if let Step::StartServers { level, servers, .. } = &s.step {
                    prop_assert_eq!(*servers, plan.level(*level).len());
                }
            }
        }
    }

    #[test]
    fn a_pause_stands_right_before_its_level(book in any_runbook()) {
        for kind in [PlanKind::Failover, PlanKind::Move, PlanKind::Resume] {
            let plan = plan_of(kind, &book);
            let pauses = at(&plan, |s| matches!(s, Step::Pause { .. }));
            prop_assert_eq!(pauses.len(), book.levels.iter().filter(|l| l.pause.is_some()).count());
            for p in pauses {
                let Step::Pause { level, .. } = &plan.steps[p].step else { unreachable!() };
                let next = plan.steps.get(p + 1).map(|s| &s.step);
                if !book.levels[*level].servers.is_empty() {
                    let starts = matches!(next, Some(Step::StartServers { level: l, .. }) if l == level);
                    prop_assert!(starts, "{:?}", next);
                }
                let earlier = levels_of(steps(&plan).take(p), true);
                prop_assert!(earlier.iter().all(|l| l < level));
            }
        }
    }

    #[test]
    fn hooks_stand_before_everything_and_after_the_last_server(book in any_runbook()) {
        for kind in [PlanKind::Failover, PlanKind::Move, PlanKind::Failback, PlanKind::Resume] {
            let plan = plan_of(kind, &book);
            let before = at(&plan, |s| matches!(s, Step::RunHook { when: HookTime::Before, .. }));
            prop_assert_eq!(before, (0..book.before.len()).collect::<Vec<_>>());
            let after = at(&plan, |s| matches!(s, Step::RunHook { when: HookTime::After, .. }));
            prop_assert_eq!(after.len(), book.after.len());
            let last = named(&plan, "start_servers").last().copied().unwrap_or(0);
            prop_assert!(after.iter().all(|a| *a > last));
            for h in 0..book.before.len() {
                prop_assert!(plan.steps[h].unwind.is_empty(), "it has nothing to put back");
            }
        }
        let reprotect = plan_of(PlanKind::Reprotect, &book);
        prop_assert!(named(&reprotect, "run_hook").is_empty() && named(&reprotect, "pause").is_empty());
    }

    /// Levels stop in the order opposite to that of their start, and until the promotion whatever fails has them all start again,
    /// in their order, under a generation that is right there.
    #[test]
    fn every_stop_of_a_move_is_undone(book in any_runbook()) {
        for kind in [PlanKind::Move, PlanKind::Failback] {
            let plan = plan_of(kind, &book);
            let mut back: Vec<usize> = levels_of(steps(&plan), false);
            back.reverse();
            prop_assert_eq!(back, with_servers(&book));
            let promote = named(&plan, "promote")[0];
            let demote = named(&plan, "demote")[0];
            for (n, s) in plan.steps.iter().enumerate() {
                if let Step::StopServers { zone, generation, .. } = &s.step {
                    prop_assert!(n < demote);
                    prop_assert_eq!((zone, *generation), (&plan.from, plan.made_for));
                }
                let unwinds = levels_of(&s.unwind, true);
                let holds = matches!(s.step, Step::HoldServers { .. });
                if n < book.before.len() || n > promote || holds {
                    prop_assert!(s.unwind.is_empty());
                    continue;
                }
                prop_assert_eq!(unwinds, with_servers(&book), "step {}", n);
                let under = s.unwind.iter().rev().find_map(|u| {
                    let Step::RecordPrimary { generation, .. } = u else { return None };
                    Some(*generation)
                });
                for u in &s.unwind {
                    let asks = matches!(u, Step::Pause { .. } | Step::RunHook { .. });
                    prop_assert!(!asks, "{}", u);
                    if let Step::StartServers { zone, generation, .. } = u {
                        prop_assert_eq!((zone, *generation), (&plan.from, under.unwrap_or(plan.made_for)));
                    }
                }
                // Where volumes have to be promoted again, servers start after that.
                let promoted = s.unwind.iter().rposition(|u| matches!(u, Step::Promote { .. }));
                let started = s.unwind.iter().position(|u| matches!(u, Step::StartServers { .. }));
                if let (Some(p), Some(s)) = (promoted, started) {
                    prop_assert!(p < s);
                }
            }
        }
    }

    /// The loser's servers are held before its volumes are demoted, for a minute at the most, and once more before they are discarded.
    #[test]
    fn a_returned_zones_servers_are_held_first(book in any_runbook()) {
        let plan = plan_of(PlanKind::Reprotect, &book);
        let holds = named(&plan, "hold_servers");
        if with_servers(&book).is_empty() {
            prop_assert!(holds.is_empty());
            return Ok(());
        }
        let (demote, resync) = (named(&plan, "demote")[0], named(&plan, "resync")[0]);
        prop_assert_eq!(holds[0], 0);
        prop_assert!(plan.steps[0].deadline <= Span::secs(60));
        prop_assert!(holds[1] > demote && holds[1] < resync);
        for h in holds {
            let Step::HoldServers { zone: z, servers, generation } = &plan.steps[h].step else { unreachable!() };
            prop_assert_eq!((z, *servers, *generation), (&zone("zone-a"), book.servers().count(), plan.made_for));
        }
        prop_assert!(named(&plan, "start_servers").is_empty());
    }

    /// Of the zone that is to serve, before anything is touched: its volumes are not promoted under what runs there.
    #[test]
    fn before_a_move_the_servers_of_the_other_zone_are_held(book in any_runbook()) {
        for kind in [PlanKind::Move, PlanKind::Failback] {
            let plan = plan_of(kind, &book);
            let holds = named(&plan, "hold_servers");
            if with_servers(&book).is_empty() {
                prop_assert!(holds.is_empty());
                continue;
            }
            prop_assert_eq!(&holds, &vec![book.before.len()]);
            let Step::HoldServers { zone, servers, generation } = &plan.steps[holds[0]].step else { unreachable!() };
            prop_assert_eq!((zone, *servers, *generation), (&plan.to, book.servers().count(), plan.made_for));
        }
    }

    #[test]
    fn plans_with_servers_go_through_json(book in any_runbook()) {
        for kind in KINDS {
            let plan = plan_of(kind, &book);
            let text = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }
}

/// What earlier releases wrote is read, and what has no servers is written as they wrote it.
#[test]
fn a_plan_without_servers_is_written_as_before_and_read() {
    let text = serde_json::to_string(&plan_of(PlanKind::Move, &Runbook::default())).unwrap();
    assert!(
        !text.contains("runbook") && !text.contains("servers"),
        "{text}"
    );
    assert!(
        serde_json::from_str::<Plan>(&text)
            .unwrap()
            .runbook
            .is_empty()
    );
}

#[test]
fn servers_alone_are_started_in_place_and_volumes_left_as_they_are() {
    let mut w = World::healthy(2);
    w.view().spec.runbook = Runbook {
        after: vec![Hook {
            agent: "tell".to_owned(),
            within: Span::secs(5),
        }],
        levels: vec![Level {
            pause: None,
            servers: vec![server("db")],
        }],
        ..Runbook::default()
    };
    let ask = |w: &World| plan_for(&w.snapshot, &group(), &Request::Resume, plan_id());
    let plan = ask(&w).unwrap();
    let names: Vec<&str> = steps(&plan).map(Step::name).collect();
    assert_eq!(names, ["start_servers", "run_hook"]);
    assert_eq!(plan.kind, PlanKind::Resume);
    let view = w.view().clone();
    let primary = view.primary.clone().unwrap();
    assert_eq!(
        start_again(
            plan_id(),
            &view,
            &primary,
            plan.at,
            plan.why.clone(),
            resumed()
        )
        .steps,
        plan.steps
    );
    // Without the lease nobody says that the zone may serve.
    w.view().lease = crate::snapshot::LeaseSight::Gone {
        seen_gone_for: Span::secs(1),
    };
    let refused = ask(&w).unwrap_err().to_string();
    assert!(refused.contains("does not hold"), "{refused}");
    // A group of volumes alone has nothing to do.
    let mut w = World::healthy(2);
    w.policy().application = None;
    assert!(ask(&w).unwrap_err().to_string().contains("nothing to do"));
}

/// A move that was undone half, and given up, has left it stopped.
#[test]
fn an_application_alone_is_started_in_place() {
    let mut w = World::healthy(2);
    let ask = |w: &World| plan_for(&w.snapshot, &group(), &Request::Resume, plan_id());
    let plan = ask(&w).unwrap();
    let start = Step::StartApplication {
        application: "app".to_owned(),
        zone: zone("zone-a"),
        volumes: vec![volume(0), volume(1)],
        generation: plan.made_for,
    };
    assert_eq!(steps(&plan).collect::<Vec<_>>(), [&start]);
    w.view().lease = crate::snapshot::LeaseSight::Gone {
        seen_gone_for: Span::secs(1),
    };
    let refused = ask(&w).unwrap_err().to_string();
    assert!(refused.contains("does not hold"), "{refused}");
}

fn one_server() -> Runbook {
    Runbook {
        levels: vec![Level {
            pause: None,
            servers: vec![server("db")],
        }],
        ..Runbook::default()
    }
}

/// One volume was left behind. The servers on the others run, on disks that were primary all the time.
#[test]
fn a_resume_beside_volumes_that_serve_stops_nothing() {
    let mut w = World::healthy(3);
    w.view().spec.runbook = one_server();
    let left = &mut w.view().volumes.get_mut(&zone("zone-a")).unwrap()[1];
    left.role = Role::Secondary;
    let names = |w: &World| -> Vec<&'static str> {
        let plan = plan_for(&w.snapshot, &group(), &Request::Resume, plan_id()).unwrap();
        steps(&plan).map(Step::name).collect()
    };
    let without = [
        "take_lease",
        "promote",
        "start_servers",
        "start_application",
    ];
    let with = [
        "take_lease",
        "stop_servers",
        "promote",
        "start_servers",
        "start_application",
    ];
    assert_eq!(names(&w), without);
    // Where the zone has given up, what still runs has lost its disks, also while some are primary yet.
    let mut gone = w.clone();
    gone.view().lease = crate::snapshot::LeaseSight::Gone {
        seen_gone_for: Span::secs(1),
    };
    assert_eq!(names(&gone), with);
    let mut isolated = w.clone();
    let generation = rekindle_common::Generation(1);
    isolated.lease_view("zone-a", LeaseView::Isolated { generation });
    assert_eq!(names(&isolated), with);
    w.each_copy("zone-a", |v| v.role = Role::Secondary);
    assert_eq!(names(&w), with);
}

/// Its zone refuses to promote it, whoever asks.
#[test]
fn a_resume_goes_on_without_a_volume_whose_policy_cannot_be_read() {
    let mut w = World::healthy(3);
    w.view().spec.runbook = one_server();
    let originals = w.view().volumes.get_mut(&zone("zone-a")).unwrap();
    for n in [0, 1] {
        originals[n].status = VolumeStatus::ErrorUnknown;
    }
    originals[1].role = Role::Secondary;
    let ask = |w: &World| plan_for(&w.snapshot, &group(), &Request::Resume, plan_id()).unwrap();
    // Nothing can be promoted: as where all are primary.
    let plan = ask(&w);
    let names: Vec<&str> = steps(&plan).map(Step::name).collect();
    assert_eq!(names, ["start_servers"]);
    assert!(
        plan.why.contains("whose policy can be read"),
        "{}",
        plan.why
    );
    let left_out = |plan: &Plan| -> Vec<_> {
        let left = plan.left_out.iter();
        left.map(|l| (l.volume.clone(), l.why.contains("cannot be read")))
            .collect()
    };
    // The one that is primary serves.
    assert_eq!(left_out(&plan), [(volume(1), true)]);
    w.view().volumes.get_mut(&zone("zone-a")).unwrap()[2].role = Role::Secondary;
    let plan = ask(&w);
    let promoted = steps(&plan).find_map(|s| match s {
        Step::Promote { volumes, .. } => Some(volumes.len()),
        _ => None,
    });
    assert_eq!(promoted, Some(1));
    assert_eq!(left_out(&plan), [(volume(1), true)]);
}

#[test]
fn a_level_has_time_for_those_that_wait_for_each_other_and_for_those_that_queue() {
    let after = |key: &str, after: &str| RunbookServer {
        after: vec![ServerKey::new(after).unwrap()],
        ..server(key)
    };
    let time = |servers: Vec<RunbookServer>| {
        deadline_of(&Level {
            pause: None,
            servers,
        })
    };
    let many = |n: usize| (0..n).map(|n| server(&format!("s{n}"))).collect::<Vec<_>>();
    // A minute each, and one on top.
    assert_eq!(time(many(1)), Span::secs(120));
    assert_eq!(time(many(8)), Span::secs(120));
    assert_eq!(time(many(9)), Span::secs(180));
    assert_eq!(
        time(vec![server("a"), after("b", "a"), after("c", "b")]),
        Span::secs(240)
    );
    // However many they are, a step does not wait for more than a day.
    let long = RunbookServer {
        within: Span::secs(6 * 3600),
        ..server("x")
    };
    assert_eq!(time(vec![long; 5000]), Span::secs(24 * 3600));
}

#[test]
fn a_plan_with_servers_reads_as_an_operator_would_want() {
    let db = RunbookServer {
        wait: vec![Wait::Tcp {
            tcp: "10.0.0.5:5432".to_owned(),
            within: Span::secs(120),
        }],
        ..server("db")
    };
    let web = (0..30).map(|n| server(&format!("web-{n}")));
    let book = Runbook {
        before: vec![Hook {
            agent: "open-ticket".to_owned(),
            within: Span::secs(30),
        }],
        levels: vec![
            Level {
                pause: None,
                servers: vec![db],
            },
            Level {
                pause: Some("look at the database".to_owned()),
                servers: web.collect(),
            },
        ],
        ..Runbook::default()
    };
    let text = plan_of(PlanKind::Move, &book).to_string();
    for line in [
        "run the hook open-ticket; the plan ends if it fails (within 45s)",
        "stop and lock 31 servers in zone-b",
        "stop and lock 30 servers of level 2 in zone-a",
        "if it fails: start 1 server of level 1 in zone-a",
        "wait for `rekindle approve` before level 2: look at the database",
        "start 30 servers of level 2 in zone-b",
        "db (within 1m; tcp 10.0.0.5:5432 within 2m)",
        "and 10 more",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    assert!(!text.contains("web-20"), "the list has no bound:\n{text}");
    let back = plan_of(PlanKind::Reprotect, &book).to_string();
    assert!(
        back.contains("1. stop and lock 31 servers in zone-a (within 1m)"),
        "{back}"
    );
}
