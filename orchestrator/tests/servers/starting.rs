//! Starting: in order, a few at a time, and what becomes of those that depend on one that fails.

use super::{bench, ended, failed, one_pass, refused, run};
use crate::common::{
    bench::{Bench, Kind},
    image,
    nova::{Server, Verb, key},
    zone_a, zone_b,
};
use rekindle_common::{
    Generation, PlanId,
    duration::Span,
    runbook::{Level, RunbookServer, StandbyPolicy, Wait},
};
use rekindle_core::{
    plan::Step,
    saga::{End, Event},
};
use rekindle_driver::backend::{Op, error::errno};
use rekindle_orchestrator::{
    agent::AgentAction,
    servers::control::{ServerState, ServersError},
    steps::Pass,
};
use std::collections::BTreeMap;

/// What each step said at its end.
async fn notes(bench: &Bench, id: &PlanId) -> Vec<String> {
    let records = bench.records(id).await.into_iter();
    records
        .filter_map(|r| {
            if let Event::StepDone { outcome, .. } = r.event {
                return Some(outcome.note);
            }
            None
        })
        .collect()
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

/// Paused, suspended, or in rescue: Nova has it, and it serves nobody.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_held_in_memory_does_not_serve_and_is_named() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    let frozen = Server {
        key: "web-1".to_owned(),
        state: ServerState::Frozen,
        held: false,
        ours: true,
        disks: vec![1],
    };
    b.has("b-web-1", frozen);
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert!(named["web-1"].contains("server unpause"), "{named:?}");
    assert_eq!(b.serving(), ["db"]);
    assert_eq!(b.of("web-1")[0].state, ServerState::Frozen);
}

/// Its users' own, where the group serves.
#[tokio::test(start_paused = true)]
async fn a_server_that_its_users_paused_is_named_where_it_is_to_serve() {
    let bench = bench(Kind::Move).await;
    let a = bench.rig.nova(&zone_a());
    let frozen = Server {
        key: "web-1".to_owned(),
        state: ServerState::Frozen,
        held: false,
        ours: false,
        disks: vec![1],
    };
    a.has("a-web-1", frozen);
    let step = Step::StartServers {
        zone: zone_a(),
        level: 1,
        servers: 2,
        generation: Generation(1),
    };
    let (_, tally) = one_pass(&bench, &bench.plan().await, &step).await;
    let why = &tally.failed_servers()[&key("web-1")];
    assert!(why.contains("server unpause"), "{why}");
}

/// What is waited for is the server's own port in the zone where it starts.
#[tokio::test(start_paused = true)]
async fn a_server_is_waited_for_at_the_address_that_the_zone_has_given_it() {
    let bench = bench(Kind::FailoverByLease).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut plan = bench.plan().await;
    plan.runbook.levels[0].servers[0].wait = vec![Wait::Tcp {
        tcp: format!("{{address}}:{port}"),
        within: Span::secs(60),
    }];
    let id = bench.begin(&plan).await;
    let over = bench.hand.work(&id, None).await;
    let named = failed(&bench, &id).await;
    assert_eq!(over, ended(End::Succeeded), "{named:?}");
    let (_, from) = listener.accept().await.unwrap();
    assert!(from.ip().is_loopback());
}

/// Nothing stands by for it, as its policy says: a failover starts the others, says who is to be started by hand, and ends well.
#[tokio::test(start_paused = true)]
async fn a_server_that_nothing_stands_by_for_makes_no_failover_partial() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.delete("web-1");
    let mut plan = bench.plan().await;
    // web-2 starts after it.
    plan.runbook.levels[1].servers[0].standby = Some(StandbyPolicy::None);
    let id = bench.begin(&plan).await;
    let over = bench.hand.work(&id, None).await;
    assert_eq!(
        over,
        ended(End::Succeeded),
        "{:?}",
        failed(&bench, &id).await
    );
    assert_eq!(b.serving(), ["db", "web-2"]);
    let notes = notes(&bench, &id).await;
    let said = "1 of 2 servers serve; to be started by hand, as their policy says: web-1";
    assert!(notes.iter().any(|n| n == said), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_move_says_of_how_many_volumes_nothing_is_lost() {
    let bench = bench(Kind::Move).await;
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Succeeded));
    let said = "3 of 3 volumes have all that was written: nothing of them is lost";
    let notes = notes(&bench, &id).await;
    assert!(notes.iter().any(|n| n == said), "{notes:?}");
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
