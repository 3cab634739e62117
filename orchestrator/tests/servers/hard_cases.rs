//! What hurt others, with its number.

use super::{assert_well, bench, ended, failed, one_pass, refused, run, when};
use crate::common::{
    bench::Kind,
    group, image,
    nova::{Server, Verb, key},
    zone_a, zone_b,
};
use rekindle_common::{Generation, duration::Span, keys, servers::KeptServer};
use rekindle_core::{
    decision::Request,
    plan::{PlannedStep, Step},
    saga::End,
};
use rekindle_driver::backend::{Op, error::errno};
use rekindle_orchestrator::{
    agent::AgentAction, executor::RecordHook, servers::control::ServerState, steps::StepError,
};
use std::{ops::ControlFlow, sync::Arc, time::Duration};
use tokio::time::Instant;

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
    assert_well(&bench, &id, over).await;
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
    assert_well(&bench, &id, over).await;
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
    b.has("b-db", server(ServerState::Failed { off: true }, true));
    b.has("b-theirs", server(ServerState::Stopped, false));
    // Of another one a half is there that nobody has written down.
    let web_2 = Server {
        key: "web-2".to_owned(),
        state: ServerState::Failed { off: true },
        held: false,
        ours: true,
        disks: vec![2],
    };
    b.has("b-web-2-half", web_2);
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
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

/// Of web-2 there is only a record, and somebody has a server with its mark on other volumes: he wrote it there, or copied it.
#[tokio::test(start_paused = true)]
async fn hard_case_51_a_server_with_the_mark_and_other_volumes_is_left_alone_and_in_no_way() {
    let bench = bench(Kind::FailoverByLease).await;
    let b = bench.rig.nova(&zone_b());
    let copied = Server {
        key: "web-2".to_owned(),
        state: ServerState::Stopped,
        held: false,
        ours: true,
        disks: vec![9],
    };
    b.has("b-copied", copied);
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let (theirs, ours): (Vec<Server>, Vec<Server>) =
        b.of("web-2").into_iter().partition(|s| s.disks == [9]);
    assert_eq!(ours.len(), 1);
    assert_eq!(
        (ours[0].state, ours[0].disks.as_slice()),
        (ServerState::Running, &[2][..])
    );
    assert_eq!(
        (theirs[0].state, theirs[0].held),
        (ServerState::Stopped, false)
    );
    let at = keys::kept_server(&group(), &key("web-2"));
    let kv = bench.store().get(&at).await.unwrap().unwrap();
    let kept: KeptServer = kv.json().unwrap();
    assert_ne!(kept.instances[&zone_b()].id, "b-copied");
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
    let again = bench.plan_for(&Request::Resume).await;
    let names: Vec<&str> = again.steps.iter().map(|s| s.step.name()).collect();
    assert_eq!(
        names,
        ["start_servers", "pause", "start_servers", "run_hook"]
    );
    let id = bench.begin(&again).await;
    let over = bench.hand.work(&id, None).await;
    assert_well(&bench, &id, over).await;
    assert_eq!(b.serving(), ["db", "web-1", "web-2"]);
    let web_2 = |v| (v, "web-2".to_owned());
    assert_eq!(
        b.orders()[before..],
        [web_2(Verb::Build), web_2(Verb::Start)]
    );
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

/// Where the group serves in the other zone its servers are ours, and ours are built where they are not there: but not these.
#[tokio::test(start_paused = true)]
async fn hard_case_55_a_server_deleted_by_its_users_is_not_built_again_when_a_failback_is_undone() {
    // Of either level; behind its stop; and in the level whose stop fails, which says nothing of its servers.
    for (deleted, after_its_stop, stop_fails) in [
        ("web-1", false, false),
        ("db", true, false),
        ("web-1", false, true),
    ] {
        let bench = bench(Kind::Failback).await;
        let b = bench.rig.nova(&zone_b());
        if after_its_stop {
            b.delete_after(Verb::Hold, deleted);
        } else {
            b.delete(deleted);
        }
        if stop_fails {
            b.fails(Verb::Hold, "web-2", refused("locked by its users"), 1);
        } else {
            let cluster = bench.rig.world.fabric().b();
            cluster.fail(Op::Demote, Some(&image(1)), errno::EIO, 1000);
        }
        let before = b.orders().len();
        let (id, over) = run(&bench).await;
        let about = format!("{deleted} {after_its_stop} {stop_fails}");
        assert_eq!(over, ended(End::Unwound), "{about}");
        let built = (Verb::Build, deleted.to_owned());
        assert!(!b.orders()[before..].contains(&built), "{about}");
        assert!(b.of(deleted).is_empty(), "{about}");
        let named = failed(&bench, &id).await;
        assert_eq!(named.keys().collect::<Vec<_>>(), [deleted], "{about}");
        assert!(named[deleted].contains("deleted by its users"), "{named:?}");
        // The others serve again: also what starts after it.
        let others = ["db", "web-1", "web-2"];
        let others = others.into_iter().filter(|k| *k != deleted);
        assert_eq!(b.serving(), others.collect::<Vec<_>>(), "{about}");
    }
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
