//! A zone that was lost is back, and its hypervisors have started what ran there: the keeper holds it, whoever is at work on the group and whatever
//! is seen in the other zone.

use super::{
    Play, TIMING,
    common::{eventually, group, zone_a, zone_b},
    fake::{self, Mode},
    record, runbook,
};
use jiff::Timestamp;
use rekindle_common::{
    Generation, PlanId, ZoneName, keys,
    runbook::{Runbook, StandbyPolicy},
};
use rekindle_core::plan::{Plan, PlanKind};
use rekindle_orchestrator::{servers::control::ServerState, wire::Maintenance};
use serde_json::json;
use tokio::time::Instant;

fn runs(s: &mut fake::Srv) {
    (s.state, s.held) = (ServerState::Running, false);
}

/// A plan that is at work on the group.
fn at_work(id: &str, kind: PlanKind, to: ZoneName) -> Plan {
    let from = if to == zone_a() { zone_b() } else { zone_a() };
    Plan {
        id: PlanId::new(id).unwrap(),
        parent: None,
        group: group(),
        kind,
        from,
        to,
        made_for: Generation(1),
        at: Timestamp::UNIX_EPOCH,
        why: "zone-a is lost".to_owned(),
        proof: None,
        expected_loss: Vec::new(),
        left_out: Vec::new(),
        runbook: Runbook::default(),
        steps: Vec::new(),
    }
}

/// Its plan may wait for a person for a day, and what the returned zone's hypervisors started is not to run until then.
#[tokio::test(start_paused = true)]
async fn hard_case_50_in_the_middle_of_its_own_failover_a_returned_zones_servers_are_held() {
    let mut play = Play::settled().await;
    play.moved().await;
    let (kept, built) = (play.kept().await, play.built().await);
    let active = keys::group_active_plan(&group());
    let failover = at_work("p-2", PlanKind::Failover, zone_b());
    play.put(keys::plan(&failover.id), &failover).await;
    play.put(active.clone(), &failover.id).await;
    // Lost still, its Nova is not even asked.
    play.a.mode(Mode::Hangs);
    play.rig.world.kill_sidecar(&zone_a());
    let (begun, first) = (Instant::now(), play.round().await);
    assert!(begun.elapsed() < TIMING.deadline.get(), "{first:?}");
    // Nova hangs at first, as one that comes up does.
    play.rig.world.start_sidecar(&zone_a());
    eventually("its volumes are seen", || async {
        let begun = Instant::now();
        assert!(play.trouble().await.contains("plan p-2 is at work"));
        (begun.elapsed() >= TIMING.deadline.get()).then_some(())
    })
    .await;
    assert_eq!(play.a.orders(), Vec::<String>::new());
    play.a.mode(Mode::Well);
    assert!(play.trouble().await.contains("plan p-2 is at work"));
    assert_eq!(play.a.orders(), ["hold s1"]);
    play.round().await;
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
    assert_eq!((play.kept().await, play.built().await), (kept, built));

    // Not while another plan may be about to start it, or one that cannot be read; nor before the new primary is recorded.
    play.a.change("s1", runs);
    let mut others = Vec::new();
    for kind in [PlanKind::Move, PlanKind::Failback, PlanKind::Resume] {
        others.push(at_work(
            &format!("p-{kind:?}").to_lowercase(),
            kind,
            zone_b(),
        ));
    }
    others.push(at_work("p-back", PlanKind::Failover, zone_a()));
    for plan in &others {
        play.put(keys::plan(&plan.id), plan).await;
    }
    others.push(at_work("p-not-there", PlanKind::Failover, zone_b()));
    for plan in others {
        play.put(active.clone(), &plan.id).await;
        let trouble = play.trouble().await;
        assert!(trouble.contains("is at work on the group"), "{trouble}");
        assert_eq!(play.a.orders(), Vec::<String>::new(), "{plan}");
    }
    // Nor in maintenance.
    play.put(active.clone(), &failover.id).await;
    let reason = "new switches".to_owned();
    let maintenance = Maintenance { reason };
    play.put(keys::MAINTENANCE.to_owned(), &maintenance).await;
    assert!(play.trouble().await.contains("maintenance"));
    assert_eq!(play.a.orders(), Vec::<String>::new());
}

/// Its Nova comes up while the copies are made: the plan has been past its servers by then, and waits for the copies for a day.
#[tokio::test(start_paused = true)]
async fn hard_case_50_what_comes_up_while_its_zone_is_protected_again_is_held() {
    let mut play = Play::settled().await;
    play.moved().await;
    let active = keys::group_active_plan(&group());
    let mut reprotect = at_work("p-2", PlanKind::Reprotect, zone_b());
    reprotect.from = zone_b();
    play.put(keys::plan(&reprotect.id), &reprotect).await;
    play.put(active, &reprotect.id).await;
    // As long as its volumes cannot be seen it is not even asked.
    play.rig.world.kill_sidecar(&zone_a());
    play.round().await;
    assert_eq!(play.a.orders(), Vec::<String>::new());
    play.rig.world.start_sidecar(&zone_a());
    eventually("it is held", || async {
        assert!(play.trouble().await.contains("plan p-2 is at work"));
        (play.a.orders() == ["hold s1"]).then_some(())
    })
    .await;
    play.round().await;
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
}

/// After it: where it should serve it is not, or its Nova is silent.
#[tokio::test(start_paused = true)]
async fn hard_case_50_what_runs_in_a_returned_zone_is_held_though_it_does_not_serve_yet() {
    let mut play = Play::settled().await;
    play.moved().await;
    play.b.mode(Mode::Hangs);
    assert!(play.trouble().await.contains("cannot be followed now"));
    assert_eq!(play.a.orders(), ["hold s1"]);

    play.a.change("s1", runs);
    play.b.mode(Mode::Well);
    play.b.remove_by_hand("built-1");
    assert!(play.trouble().await.contains("it is not there any more"));
    assert_eq!(play.a.orders(), ["hold s1"]);
    // Where its volumes cannot be seen it may be the one that writes.
    play.a.change("s1", runs);
    play.rig.world.kill_sidecar(&zone_a());
    play.round().await;
    assert_eq!(play.a.orders(), Vec::<String>::new());
}

/// The leader that had ordered it went with its zone, and wrote nothing down. Until a failover is due it would run on, and have its volumes promoted
/// under it.
#[tokio::test(start_paused = true)]
async fn hard_case_51_a_half_built_stand_by_is_held_while_the_zone_that_serves_is_silent() {
    let play = Play::with(StandbyPolicy::Record).await;
    play.round().await;
    assert!(play.kept().await.is_some());
    play.b.put("half", record(json!({})));
    play.b.change("half", |s| {
        s.mark = Some("zone-a/s1".to_owned());
        "vol-0-zone-b".clone_into(&mut s.record.disks[0].volume.id);
    });
    play.a.mode(Mode::Hangs);
    // Where nothing is built beforehand nothing is looked for in a list of the whole cloud.
    assert!(play.trouble().await.contains("cannot be followed now"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
    play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    assert!(play.trouble().await.contains("cannot be followed now"));
    assert_eq!(play.b.orders(), ["hold half"]);
    play.round().await;
    assert_eq!(play.b.orders(), Vec::<String>::new());
}
