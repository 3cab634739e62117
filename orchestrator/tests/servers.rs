//! Servers within plans: what goes wrong with them, and what then becomes of the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{
    Servers,
    bench::{Bench, Kind},
    eventually, group, image,
    nova::{Server, Verb, key},
    zone_a, zone_b,
};
use rekindle_common::{
    ErrorCode, Generation, PlanId,
    duration::Span,
    keys,
    runbook::{Level, RunbookServer},
    servers::KeptServer,
};
use rekindle_core::{
    decision::{Request, plan_for},
    plan::{Plan, PlannedStep, Step},
    saga::{End, Event, Saga, State},
};
use rekindle_driver::backend::{Op, error::errno};
use rekindle_orchestrator::{
    agent::AgentAction,
    executor::{Over, RecordHook},
    journal,
    servers::control::{ServerState, ServersError},
    steps::{self, Context, Pass, StepError, Tally},
    wire::PauseRequest,
};
use rekindle_store::{Op as StoreOp, Txn};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

async fn bench(kind: Kind) -> Bench {
    Bench::prepared_with(kind, Servers::Some).await
}

async fn run(bench: &Bench) -> (PlanId, Over) {
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    (id, over)
}

/// Servers that the plan names, with the reason.
async fn failed(bench: &Bench, id: &PlanId) -> BTreeMap<String, String> {
    let plan = journal::read_plan(&bench.store(), id).await.unwrap();
    let records = bench.records(id).await;
    let saga = Saga::replay(&plan, &records).unwrap();
    let servers = saga.failed_servers().iter();
    servers
        .map(|f| (f.server.to_string(), f.why.clone()))
        .collect()
}

fn ended(end: End) -> Over {
    Over::Ended { end }
}
fn refused(why: &str) -> ServersError {
    ServersError::Refused(why.to_owned())
}

/// Each record's time since the first, by what it says.
fn when(over: &[rekindle_core::saga::Record], plan: &Plan, name: &str) -> Duration {
    let done = |e: &Event| matches!(e, Event::StepDone { step, .. } if plan.steps[*step].step.name() == name);
    let at = over.iter().find(|r| done(&r.event)).unwrap().at;
    at.duration_since(over[0].at).try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn hard_case_50_what_a_hypervisor_started_by_itself_is_stopped_and_locked_on_return() {
    let bench = bench(Kind::Reprotect).await;
    let a = bench.rig.nova(&zone_a());
    assert_eq!(
        a.serving(),
        ["db", "web-1", "web-2"],
        "they were not started"
    );
    let plan = bench.plan().await;
    assert!(
        matches!(plan.steps[0].step, Step::HoldServers { .. }),
        "before anything else: {plan}"
    );
    let (id, over) = run(&bench).await;
    assert_eq!(
        over,
        ended(End::Succeeded),
        "{:?}",
        failed(&bench, &id).await
    );
    assert!(a.all_held());
    assert_eq!(
        bench.rig.nova(&zone_b()).serving(),
        ["db", "web-1", "web-2"]
    );
}

/// A returned zone's Nova often comes up later than its Ceph: the demotion does not wait for it, and what it did not hold is held before
/// the resync.
#[tokio::test(start_paused = true)]
async fn hard_case_50_a_nova_that_hangs_on_return_keeps_no_demotion_back() {
    let bench = bench(Kind::Reprotect).await;
    let a = Arc::clone(&bench.rig.novas[&zone_a()]);
    a.hang();
    let mut plan = bench.plan().await;
    // As where the sidecar does not demote by itself.
    let step = |step, seconds| PlannedStep {
        step,
        deadline: Span::secs(seconds),
        unwind: vec![],
    };
    let hold = Step::HoldServers {
        zone: zone_a(),
        servers: 3,
        generation: Generation(2),
    };
    let demote = Step::Demote {
        zone: zone_a(),
        volumes: bench.rig.volumes.clone(),
        generation: Generation(2),
        token: None,
    };
    plan.steps.splice(0..0, [step(hold, 60), step(demote, 600)]);
    let at = |name: &str| plan.steps.iter().position(|s| s.step.name() == name);
    let resync = at("resync").expect("the loser was written to");
    let id = bench.begin(&plan).await;
    // It answers again as soon as the resync's turn would come.
    let waking = Arc::clone(&a);
    let holds: Vec<usize> = (0..plan.steps.len())
        .filter(|n| matches!(plan.steps[*n].step, Step::HoldServers { .. }))
        .collect();
    let last_hold = *holds.last().unwrap();
    assert!(last_hold < resync, "{plan}");
    let wake_at = 2 * last_hold + 1;
    let wake = RecordHook(Arc::new(move |seq| {
        if seq == wake_at {
            waking.heal();
        }
        ControlFlow::Continue(())
    }));
    let begun = Instant::now();
    let over = bench.hand.work(&id, Some(wake)).await;
    assert_eq!(
        over,
        ended(End::Succeeded),
        "{:?}",
        failed(&bench, &id).await
    );
    assert!(a.all_held());
    assert!(begun.elapsed() < Duration::from_secs(300));
    let demoted = when(&bench.records(&id).await, &plan, "demote");
    assert!(demoted < Duration::from_secs(75), "{demoted:?}");
}

#[tokio::test(start_paused = true)]
async fn hard_case_51_a_half_built_stand_by_is_built_to_its_end_and_its_namesake_left_alone() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    let server = |state, ours| Server {
        key: "db".to_owned(),
        state,
        held: ours,
        ours,
        disks: vec![0],
    };
    // What stands by is half built, and the users have a server of the same name.
    b.has("b-db", server(ServerState::Failed, true));
    b.has("b-theirs", server(ServerState::Stopped, false));
    // Of another one a half is there that nobody has written down.
    let web_2 = Server {
        key: "web-2".to_owned(),
        state: ServerState::Failed,
        held: false,
        ours: true,
        disks: vec![2],
    };
    b.has("b-web-2-half", web_2);
    let (id, over) = run(&bench).await;
    assert_eq!(
        over,
        ended(End::Succeeded),
        "{:?}",
        failed(&bench, &id).await
    );
    let (ours, theirs): (Vec<Server>, Vec<Server>) = b.of("db").into_iter().partition(|s| s.ours);
    assert_eq!(ours.len(), 1, "it was built twice");
    assert_eq!(ours[0].state, ServerState::Running);
    assert_eq!(
        theirs[0].state,
        ServerState::Stopped,
        "a namesake was touched"
    );
    assert_eq!(b.of("web-2").len(), 1, "the half was not adopted");
    // It is written down for those who come later.
    let kv = bench
        .store()
        .get(&keys::kept_server(&group(), &key("web-2")))
        .await;
    let kept: KeptServer = kv.unwrap().unwrap().json().unwrap();
    assert_eq!(kept.instances[&zone_b()].id, "b-web-2-half");
}

#[tokio::test(start_paused = true)]
async fn hard_case_52_a_quota_exceeded_in_the_middle_stops_no_other_and_is_retried_in_place() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.fails(
        Verb::Build,
        "web-2",
        refused("quota exceeded: 20 of 20 cores"),
        u32::MAX,
    );
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named["web-2"].contains("20 of 20 cores"), "{named:?}");
    assert_eq!(b.serving(), ["db", "web-1"]);

    // The quota is raised: what does not serve is started, and what serves is left alone.
    b.works(Verb::Build, "web-2");
    let before = b.orders().len();
    let again = resume(&bench).await;
    let names: Vec<&str> = again.steps.iter().map(|s| s.step.name()).collect();
    assert_eq!(
        names,
        ["start_servers", "pause", "start_servers", "run_hook"]
    );
    let id = bench.begin(&again).await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(
        over,
        ended(End::Succeeded),
        "{:?}",
        failed(&bench, &id).await
    );
    assert_eq!(b.serving(), ["db", "web-1", "web-2"]);
    let web_2 = |v| (v, "web-2".to_owned());
    assert_eq!(
        b.orders()[before..],
        [web_2(Verb::Build), web_2(Verb::Start)]
    );
}

async fn resume(bench: &Bench) -> Plan {
    let last = Mutex::new(None);
    eventually("it may be resumed", || async {
        let world = bench.hand.term.look().await.ok()?;
        let id = PlanId::new("p-again").unwrap();
        plan_for(&world.snapshot, &group(), &Request::Resume, id)
            .map_err(|e| *last.lock().unwrap() = Some(e))
            .ok()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn hard_case_53_a_failover_asks_nothing_of_the_dead_zones_nova_and_is_as_quick() {
    let bench = bench(Kind::FailoverByLease).await;
    let a = bench.rig.nova(&zone_a());
    let before = a.calls();
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    let begun = Instant::now();
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, ended(End::Succeeded));
    assert_eq!(a.calls(), before, "it hangs, and was asked");
    // Three starts of two seconds, one after the other, and what the volumes need.
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn hard_case_55_a_server_deleted_by_its_users_before_a_move_does_not_come_back() {
    let bench = bench(Kind::Move).await;
    bench.rig.nova(&zone_a()).delete("web-1");
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial), "{:?}", failed(&bench, &id).await);
    let named = failed(&bench, &id).await;
    assert!(named["web-1"].contains("deleted by its users"), "{named:?}");
    assert!(
        named["web-2"].contains("web-1, which it starts after"),
        "{named:?}"
    );
    assert_eq!(named.len(), 2);
    let b = bench.rig.nova(&zone_b());
    assert_eq!(b.serving(), ["db"]);
    assert!(b.of("web-1")[0].held, "its stand-by was started");
    bench.assert_at(&zone_b(), Generation(2)).await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_55_a_server_deleted_while_it_is_stopped_does_not_come_back() {
    let bench = bench(Kind::Move).await;
    bench.rig.nova(&zone_a()).delete_after(Verb::Hold, "web-2");
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["web-2"], "{named:?}");
    assert_eq!(bench.rig.nova(&zone_b()).serving(), ["db", "web-1"]);
}

#[tokio::test(start_paused = true)]
async fn hard_case_55_a_server_deleted_while_it_starts_is_not_built_again() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    // Its command says that it does not serve yet, so that it is looked at again.
    bench.rig.told.fail(AgentAction::Ready, 40);
    b.delete_after(Verb::Start, "db");
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert!(named["db"].contains("gone from zone-b"), "{named:?}");
    assert!(b.of("db").is_empty(), "it was built again");
    assert_eq!(b.serving(), ["web-1", "web-2"]);
}

/// The users' own server, gone from its zone while the group was in the other: only a stand-by is ever built.
#[tokio::test(start_paused = true)]
async fn hard_case_55_the_users_own_server_is_never_built_again() {
    let bench = bench(Kind::Failback).await;
    bench.rig.nova(&zone_a()).delete("db");
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert!(
        named["db"].contains("its users' server is not in zone-a"),
        "{named:?}"
    );
    assert!(bench.rig.nova(&zone_a()).of("db").is_empty());
    assert_eq!(bench.rig.nova(&zone_a()).serving(), ["web-1", "web-2"]);
}

#[tokio::test(start_paused = true)]
async fn hard_case_41_a_server_whose_volume_was_not_promoted_is_not_started_and_is_named() {
    let bench = bench(Kind::FailoverByLease).await;
    let cluster = bench.rig.world.fabric().b();
    cluster.fail(Op::ForcePromote, Some(&image(0)), errno::EIO, 1000);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert!(
        named["db"].contains("volume-0 was not promoted in zone-b"),
        "{named:?}"
    );
    let b = bench.rig.nova(&zone_b());
    assert_eq!(b.serving(), ["web-1", "web-2"]);
    assert!(b.wrong().is_empty(), "{:?}", b.wrong());
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_server_that_does_not_serve_is_not_started() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.fails(Verb::Start, "web-1", refused("no valid host"), u32::MAX);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert!(named["web-1"].contains("no valid host"), "{named:?}");
    assert!(
        named["web-2"].contains("web-1, which it starts after"),
        "{named:?}"
    );
    assert_eq!(b.serving(), ["db"]);
    assert!(b.of("web-2").is_empty(), "it was built for nothing");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_passes_is_tried_again_within_the_servers_time() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    let busy = ServersError::NotNow("409: its task is still at work".to_owned());
    b.fails(Verb::Start, "db", busy.clone(), 3);
    b.fails(Verb::Build, "web-2", busy, u32::MAX);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["web-2"], "{named:?}");
    assert!(named["web-2"].contains("not within 5m: 409"), "{named:?}");
    assert_eq!(b.serving(), ["db", "web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_runs_and_does_not_answer_in_time_is_named() {
    let bench = bench(Kind::FailoverByLease).await;
    bench.rig.told.fail(AgentAction::Ready, u32::MAX);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    let why = &named["db"];
    assert!(
        why.contains("it runs, and command db-answers was not so within 2m"),
        "{why}"
    );
    assert_eq!(named.len(), 1, "the next level does not start: {named:?}");
    assert_eq!(bench.rig.nova(&zone_b()).serving().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_before_a_plan_ends_it_and_nothing_was_touched() {
    for kind in [Kind::FailoverByLease, Kind::Move] {
        let bench = bench(kind).await;
        bench.rig.told.fail(AgentAction::Before, 1);
        let calls = |z| bench.rig.nova(&z).calls();
        let before = (calls(zone_a()), calls(zone_b()));
        let (id, over) = run(&bench).await;
        assert_eq!(over, ended(End::Abandoned), "{kind:?}");
        assert_eq!((calls(zone_a()), calls(zone_b())), before, "{kind:?}");
        let kv = bench.store().get(&keys::group_primary(&group())).await;
        let record: rekindle_common::lease::PrimaryRecord = kv.unwrap().unwrap().json().unwrap();
        assert_eq!((record.zone, record.generation), (zone_a(), Generation(1)));
        assert_eq!(bench.rig.primaries(&zone_a()), 3, "{kind:?}");
        let records = bench.records(&id).await;
        assert_eq!(records.len(), 4, "{records:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_a_plan_is_told_and_changes_nothing() {
    let bench = bench(Kind::FailoverByLease).await;
    bench.rig.told.fail(AgentAction::After, 1);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Succeeded));
    let told = bench.records(&id).await.into_iter().any(|r| {
        matches!(r.event, Event::StepDone { outcome, .. } if outcome.note.starts_with("FAILED, and nothing hangs on it"))
    });
    assert!(told, "{:#?}", bench.records(&id).await);
}

/// What a hook reads says for which plan it is called, what that does, and what was not helped.
#[tokio::test(start_paused = true)]
async fn hooks_are_told_what_the_plan_does_and_what_it_could_not_help() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.fails(Verb::Start, "db", refused("no valid host"), u32::MAX);
    let (id, _) = run(&bench).await;
    let orders = bench.rig.told.orders.lock().unwrap();
    let of = |action| orders.iter().rev().find(|o| o.action == action).unwrap();
    let before = of(AgentAction::Before);
    assert_eq!((&before.plan, &before.zone), (&id, &zone_b()));
    let about = before.runbook.as_ref().unwrap();
    assert_eq!((&about.from, &about.to), (&zone_a(), &zone_b()));
    assert!(about.failed_servers.is_empty());
    let after = of(AgentAction::After).runbook.as_ref().unwrap();
    assert_eq!(after.failed_servers, [key("db")]);
}

/// One stop that fails undoes a move: every server serves again where it did.
#[tokio::test(start_paused = true)]
async fn a_move_whose_stop_fails_starts_everything_again() {
    let bench = bench(Kind::Move).await;
    let a = bench.rig.nova(&zone_a());
    a.fails(Verb::Hold, "db", refused("it is locked by its users"), 1);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Unwound));
    assert!(
        a.orders().contains(&(Verb::Hold, "web-1".to_owned())),
        "nothing was stopped"
    );
    assert_eq!(a.serving(), ["db", "web-1", "web-2"]);
    assert_eq!(failed(&bench, &id).await, BTreeMap::new());
    assert!(bench.rig.nova(&zone_b()).all_held());
    bench.assert_at(&zone_a(), Generation(1)).await;
}

/// When a move is undone, a server that cannot be started again keeps no other down.
#[tokio::test(start_paused = true)]
async fn undoing_a_move_names_what_it_could_not_start_again() {
    let bench = bench(Kind::Move).await;
    let cluster = bench.rig.world.fabric().a();
    cluster.fail(Op::Demote, Some(&image(1)), errno::EIO, 1000);
    let a = bench.rig.nova(&zone_a());
    a.fails(Verb::Start, "db", refused("no valid host"), u32::MAX);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Unwound));
    let named = failed(&bench, &id).await;
    assert_eq!(named.keys().collect::<Vec<_>>(), ["db"], "{named:?}");
    assert_eq!(a.serving(), ["web-1", "web-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_a_yes_to_that_plan_and_that_level_and_outlives_its_leader() {
    let mut bench = bench(Kind::FailoverByLease).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    // The suite's own yes is taken back.
    let forget = StoreOp::Delete {
        key: keys::plan_approval(&id, 1),
    };
    bench.store().txn(Txn::new().then(forget)).await.unwrap();
    let pause = plan
        .steps
        .iter()
        .position(|s| matches!(s.step, Step::Pause { .. }))
        .unwrap();
    let early = PauseRequest {
        level: 1,
        by: "ann".to_owned(),
    };
    let e = bench
        .hand
        .term
        .approve_pause(&id, &early)
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::Held, "before it pauses: {e}");

    let b = Arc::clone(&bench.rig.novas[&zone_b()]);
    for _ in 0..2 {
        let waits = async {
            eventually("it pauses", || async {
                (bench.state(&id).await == State::Running { step: pause }).then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_secs(120)).await;
        };
        tokio::select! {
            over = bench.hand.work(&id, None) => panic!("it did not wait: {over:?}"),
            () = waits => {}
        }
        assert_eq!(b.serving(), ["db"], "the next level was started");
        bench.another_leads().await;
    }
    let other = PauseRequest {
        level: 0,
        ..early.clone()
    };
    let e = bench
        .hand
        .term
        .approve_pause(&id, &other)
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::Held, "{e}");
    let nobody = PauseRequest {
        by: " ".to_owned(),
        ..early.clone()
    };
    let e = bench
        .hand
        .term
        .approve_pause(&id, &nobody)
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::InvalidField, "{e}");
    bench.hand.term.approve_pause(&id, &early).await.unwrap();
    bench.another_leads().await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(over, ended(End::Succeeded));
    bench.assert_succeeded(&id).await;
    let e = bench
        .hand
        .term
        .approve_pause(&id, &early)
        .await
        .unwrap_err();
    assert_eq!(e.code, ErrorCode::Held, "after its end: {e}");
}

async fn one_pass(bench: &Bench, plan: &Plan, step: &Step) -> (Result<Pass, StepError>, Tally) {
    let progress = watch::Sender::new(None);
    let none = BTreeSet::new();
    let ctx = Context {
        lead: &bench.hand.lead,
        plan,
        failed_before: &none,
        failed_servers: &BTreeMap::new(),
        leases: bench.hand.term.leases(),
        assembler: &bench.hand.means().assembler,
        tools: &bench.hand.means().tools,
        progress: &progress,
    };
    let mut tally =
        Tally::new(steps::volumes_of(step), &none).with_servers(steps::servers_of(plan, step));
    let pass = steps::attempt(&ctx, step, &mut tally).await;
    (pass, tally)
}

/// A step of a plan that the group has gone on from orders nothing.
#[tokio::test(start_paused = true)]
async fn hard_case_11_servers_are_ordered_only_under_the_generation_that_is_recorded() {
    let bench = bench(Kind::Move).await;
    let plan = bench.plan().await;
    let step = |zone, generation| Step::StartServers {
        zone,
        level: 0,
        servers: 1,
        generation: Generation(generation),
    };
    let hold = |zone, generation| Step::HoldServers {
        zone,
        servers: 3,
        generation: Generation(generation),
    };
    let stop = Step::StopServers {
        zone: zone_a(),
        level: 0,
        servers: 1,
        generation: Generation(2),
    };
    // Another generation; or the zone that is not primary started, the one that is held.
    for step in [
        step(zone_a(), 2),
        step(zone_b(), 1),
        hold(zone_a(), 1),
        hold(zone_b(), 2),
        stop,
    ] {
        let (pass, _) = one_pass(&bench, &plan, &step).await;
        let Err(StepError::Failed { why, .. }) = pass else {
            panic!("{step}: {pass:?}")
        };
        assert!(why.contains("primary under generation 1"), "{step}: {why}");
    }
    for z in [zone_a(), zone_b()] {
        assert_eq!(bench.rig.nova(&z).calls(), 0, "{z} was asked");
    }
}

/// Many servers of a level are started a few at a time, each once.
#[tokio::test(start_paused = true)]
async fn a_level_of_many_is_started_a_few_at_a_time() {
    const MANY: usize = 60;
    let bench = bench(Kind::Move).await;
    let mut plan = bench.plan().await;
    let a = bench.rig.nova(&zone_a());
    let servers = (0..MANY).map(|n| {
        let k = format!("many-{n}");
        let server = Server {
            key: k.clone(),
            state: ServerState::Stopped,
            held: true,
            ours: false,
            disks: vec![0],
        };
        a.has(&format!("a-{k}"), server);
        RunbookServer {
            key: key(&k),
            server: Some(format!("a-{k}")),
            standby: None,
            after: Vec::new(),
            wait: Vec::new(),
            within: Span::secs(300),
        }
    });
    plan.runbook.levels = vec![Level {
        pause: None,
        servers: servers.collect(),
    }];
    let step = Step::StartServers {
        zone: zone_a(),
        level: 0,
        servers: MANY,
        generation: Generation(1),
    };
    let (pass, tally) = one_pass(&bench, &plan, &step).await;
    assert!(matches!(pass, Ok(Pass::Done { .. })), "{pass:?}");
    assert_eq!(tally.progress(), (MANY, MANY));
    assert_eq!(a.most_at_once(), 8);
    let mut orders = a.orders();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), MANY, "one was ordered twice");
}
