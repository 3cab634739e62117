//! What is found running where it is to start, and may have come up on the copies: what it knows of its disks is older than they are.

use super::{assert_well, bench, ended, failed, one_pass, run};
use crate::common::{
    bench::{Bench, Kind},
    group,
    nova::{FakeNova, Server, Verb, key, record},
    pass::{pass, tally},
    zone_a, zone_b,
};
use rekindle_common::{Generation, keys, servers::KeptServer};
use rekindle_core::{
    decision::Request,
    plan::Step,
    saga::{End, Event},
    servers::{Begun, Built},
};
use rekindle_orchestrator::{
    servers::control::{ServerState, ServersError},
    steps::Pass,
};
use rekindle_store::{Op, Txn};
use std::collections::BTreeSet;

fn server(k: &str, disk: usize, state: ServerState, held: bool) -> Server {
    Server {
        key: k.to_owned(),
        state,
        held,
        ours: true,
        disks: vec![disk],
    }
}

/// The orders that were given about it.
fn told(nova: &FakeNova, k: &str) -> Vec<Verb> {
    let orders = nova.orders().into_iter();
    orders
        .filter_map(|(verb, of)| (of == k).then_some(verb))
        .collect()
}

async fn kept(bench: &Bench, k: &str) -> KeptServer {
    let at = keys::kept_server(&group(), &key(k));
    let kv = bench.store().get(&at).await.unwrap().unwrap();
    kv.json().unwrap()
}

fn second_level() -> Step {
    Step::StartServers {
        zone: zone_b(),
        level: 1,
        servers: 2,
        generation: Generation(2),
    }
}

/// The keeper had ordered it when the failover began, and nobody stopped it any more: Nova built it to its end, on the copies.
#[tokio::test(start_paused = true)]
async fn hard_case_51_a_half_built_stand_by_that_came_up_on_the_copies_begins_anew() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.has(
        "b-web-2-half",
        server("web-2", 2, ServerState::Running, false),
    );
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(told(b, "web-2"), [Verb::Hold, Verb::Start]);
    assert_eq!(b.serving(), ["db", "web-1", "web-2"]);
    assert_eq!(b.of("web-2").len(), 1, "it was built twice");
    // It is written down, and whoever comes later lets it serve.
    let kept = kept(&bench, "web-2").await;
    assert_eq!(kept.instances[&zone_b()].id, "b-web-2-half");
    let (over, _) = one_pass(&bench, &plan, &second_level()).await;
    assert!(matches!(over, Ok(Pass::Done { .. })), "{over:?}");
    assert_eq!(told(b, "web-2"), [Verb::Hold, Verb::Start]);
}

/// What it has is what it was begun with, and not what its server has by now: the keeper builds it anew once it stands by.
#[tokio::test(start_paused = true)]
async fn hard_case_51_a_half_built_stand_by_is_written_down_as_it_was_begun() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.has(
        "b-web-2-half",
        server("web-2", 2, ServerState::Running, false),
    );
    let mut record = record("web-2", 2);
    (record.zone, record.flavor.name) = (zone_b(), "of-that-day".to_owned());
    let begun = Begun {
        zone: zone_b(),
        counterpart: "zone-a/a-web-2".to_owned(),
        record,
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let at = keys::begun_standby(&group(), &key("web-2"), &zone_b());
    let put = Op::put_json(at.clone(), &begun, None).unwrap();
    bench.store().txn(Txn::new().then(put)).await.unwrap();
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let word = keys::built_standby(&group(), &key("web-2"), &zone_b());
    let built: Built = bench
        .store()
        .get(&word)
        .await
        .unwrap()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        (built.id.as_str(), &built.record),
        ("b-web-2-half", &begun.record)
    );
    assert!(
        bench.store().get(&at).await.unwrap().is_none(),
        "its build has ended"
    );
}

/// That it was seen while it was being built does not make it one that was at rest.
#[tokio::test(start_paused = true)]
async fn a_stand_by_that_comes_up_while_the_step_waits_for_it_begins_anew() {
    let bench = bench(Kind::FailoverByLease).await;
    let plan = bench.plan().await;
    let id = bench.begin(&plan).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    let b = bench.rig.nova(&zone_b());
    let before = told(b, "web-2").len();
    b.delete("web-2");
    let mut unknown = kept(&bench, "web-2").await;
    unknown.instances.remove(&zone_b());
    let at = keys::kept_server(&group(), &key("web-2"));
    let put = Op::put_json(at, &unknown, None).unwrap();
    bench.store().txn(Txn::new().then(put)).await.unwrap();

    let (step, none) = (second_level(), BTreeSet::new());
    let mut tally = tally(&plan, &step, &none);
    for state in [ServerState::Changing, ServerState::Running] {
        b.has("b-half", server("web-2", 2, state, false));
        let over = pass(&bench, &plan, &step, &none, &mut tally).await;
        assert!(matches!(over, Ok(Pass::NotYet { .. })), "{over:?}");
        let kept = kept(&bench, "web-2").await;
        assert!(!kept.instances.contains_key(&zone_b()), "{state:?}");
    }
    let over = pass(&bench, &plan, &step, &none, &mut tally).await;
    assert!(matches!(over, Ok(Pass::Done { .. })), "{over:?}");
    assert_eq!(told(b, "web-2")[before..], [Verb::Hold, Verb::Start]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_started_under_our_lock_begins_anew() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    b.has("b-db", server("db", 0, ServerState::Running, true));
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(told(b, "db"), [Verb::Hold, Verb::Start]);
}

/// It came up in the other zone, and nobody has held it yet: the failback does, before anything is touched.
#[tokio::test(start_paused = true)]
async fn hard_case_50_what_runs_where_a_failback_goes_to_is_held_before_its_volumes_are_promoted() {
    let bench = bench(Kind::Failback).await;
    let a = bench.rig.nova(&zone_a());
    let theirs = Server {
        ours: false,
        ..server("db", 0, ServerState::Running, false)
    };
    a.has("a-db", theirs);
    let before = told(a, "db").len();
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(told(a, "db")[before..], [Verb::Hold, Verb::Start]);
    // What is held already is looked at once, and told nothing.
    let web_1 = told(a, "web-1");
    assert_eq!(web_1, [Verb::Hold, Verb::Start]);
    bench.assert_at(&zone_a(), Generation(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_to_where_a_server_cannot_be_held_ends_while_nothing_is_touched() {
    let bench = bench(Kind::Failback).await;
    let (a, b) = (bench.rig.nova(&zone_a()), bench.rig.nova(&zone_b()));
    let theirs = Server {
        ours: false,
        ..server("db", 0, ServerState::Frozen, false)
    };
    a.has("a-db", theirs);
    let before = b.orders().len();
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Abandoned));
    let records = bench.records(&id).await;
    let why = records.iter().find_map(|r| {
        let Event::StepFailed { error, .. } = &r.event else {
            return None;
        };
        Some(error.clone())
    });
    let why = why.unwrap();
    assert!(why.contains("db: ") && why.contains("unpause"), "{why}");
    assert_eq!(b.orders().len(), before);
    assert_eq!(b.serving(), ["db", "web-1", "web-2"]);
    bench.assert_at(&zone_b(), Generation(2)).await;
}

/// Its Nova sleeps through the whole reprotect: that nobody saw its servers off is kept, for whoever starts them there.
#[tokio::test(start_paused = true)]
async fn hard_case_50_what_ran_while_its_volumes_were_made_anew_begins_anew_in_the_next_failover() {
    let mut bench = bench(Kind::Reprotect).await;
    bench.rig.nova(&zone_a()).hang();
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    assert_eq!(failed(&bench, &id).await.len(), 3);
    assert!(kept(&bench, "db").await.instances[&zone_a()].unsettled);

    bench.rig.nova(&zone_a()).heal();
    bench.rig.kill_zone(&zone_b());
    let plan = bench.plan_for(&Request::Failover).await;
    let id = bench.begin(&plan).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    let a = bench.rig.nova(&zone_a());
    for k in ["db", "web-1", "web-2"] {
        assert_eq!(told(a, k), [Verb::Hold, Verb::Start], "{k}");
        assert!(!kept(&bench, k).await.instances[&zone_a()].unsettled, "{k}");
    }
    assert_eq!(a.serving(), ["db", "web-1", "web-2"]);
}

/// It was named, and what it ran on was taken from under it and given back: whoever starts it later has it begin anew.
#[tokio::test(start_paused = true)]
async fn what_a_resume_could_not_stop_begins_anew_in_the_next() {
    let bench = bench(Kind::Resume).await;
    let a = bench.rig.nova(&zone_a());
    a.hang();
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    assert_eq!(failed(&bench, &id).await.len(), 3);
    a.heal();
    let again = bench.plan_for(&Request::Resume).await;
    assert!(
        matches!(again.steps[0].step, Step::StartServers { .. }),
        "{again}"
    );
    let id = bench.begin(&again).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    for k in ["db", "web-1", "web-2"] {
        assert_eq!(told(a, k), [Verb::Hold, Verb::Start], "{k}");
    }
    // And no further one does.
    let again = bench.plan_for(&Request::Resume).await;
    let id = bench.begin(&again).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(told(a, "db"), [Verb::Hold, Verb::Start]);
}

/// The volumes of a zone are wanted whatever becomes of its servers: a leader that has no way to its Nova names them, and promotes.
#[tokio::test(start_paused = true)]
async fn a_resume_promotes_where_the_leader_has_no_cloud_for_the_zone() {
    let mut bench = bench(Kind::Resume).await;
    bench.another_leads_without(&zone_a()).await;
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let named = failed(&bench, &id).await;
    assert_eq!(named.len(), 3, "{named:?}");
    assert!(named["db"].contains("no [clouds.zone-a]"), "{named:?}");
    assert_eq!(bench.rig.primaries(&zone_a()), 3);
    assert!(kept(&bench, "db").await.instances[&zone_a()].unsettled);
    assert_eq!(told(bench.rig.nova(&zone_a()), "db"), []);

    // Who has one has them begin anew: nobody saw them off when their volumes were given back.
    bench.another_leads().await;
    let again = bench.plan_for(&Request::Resume).await;
    let id = bench.begin(&again).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    for k in ["db", "web-1", "web-2"] {
        assert_eq!(
            told(bench.rig.nova(&zone_a()), k),
            [Verb::Hold, Verb::Start],
            "{k}"
        );
    }
}

/// A move without it would demote under what runs: that it refuses.
#[tokio::test(start_paused = true)]
async fn a_move_is_given_up_where_the_leader_has_no_cloud_for_the_zone() {
    let mut bench = bench(Kind::Move).await;
    bench.another_leads_without(&zone_a()).await;
    let (_, over) = run(&bench).await;
    assert_eq!(over, ended(End::Unwound));
    assert_eq!(bench.rig.primaries(&zone_a()), 3);
    bench.assert_at(&zone_a(), Generation(1)).await;
}

/// Its stop failed in Nova, which calls it failed since, and its domain writes on: that it is locked does not make it stopped.
#[tokio::test(start_paused = true)]
async fn a_server_that_failed_and_runs_is_stopped_before_its_volumes_are_demoted() {
    let bench = bench(Kind::Move).await;
    let a = bench.rig.nova(&zone_a());
    let runs = Server {
        ours: false,
        ..server("db", 0, ServerState::Failed { off: false }, false)
    };
    a.has("a-db", runs);
    let late = ServersError::NotNow("it was not stopped in time".to_owned());
    a.fails(Verb::Hold, "db", late, 1);
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(told(a, "db"), [Verb::Hold]);
    assert!(a.all_held());
}

/// It could not be stopped, and that is why the move is undone: its volumes are its own all the time.
#[tokio::test(start_paused = true)]
async fn where_a_move_is_undone_what_still_runs_only_loses_our_lock() {
    let bench = bench(Kind::Move).await;
    let a = bench.rig.nova(&zone_a());
    let running = Server {
        ours: false,
        ..server("db", 0, ServerState::Running, true)
    };
    a.has("a-db", running);
    let step = Step::StartServers {
        zone: zone_a(),
        level: 0,
        servers: 1,
        generation: Generation(1),
    };
    let plan = bench.plan().await;
    let (over, tally) = one_pass(&bench, &plan, &step).await;
    assert!(over.is_ok() && !tally.has_failed(), "{over:?}");
    assert_eq!(told(a, "db"), [Verb::Start]);
}
