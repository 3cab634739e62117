//! The whole story on simulated zones: a zone is lost, taken over from, comes back, and everything goes home.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{Rig, policy, site, well, zone_a, zone_b};
use rekindle_common::{
    Generation,
    policy::{GroupPolicy, OnReturn},
};
use rekindle_core::plan::PlanKind;
use rekindle_core::saga::End;
use rekindle_orchestrator::{agent::AgentAction, wire::WatchLine};

const COUNT: usize = 4;

#[tokio::test(start_paused = true)]
async fn a_zone_is_lost_and_everything_comes_home_by_itself() {
    let policy = GroupPolicy {
        on_return: OnReturn::Return,
        ..policy()
    };
    let mut rig = Rig::with(COUNT, policy).await;
    rig.world.kill_zone(&zone_a());

    let g = rig
        .until("zone-b has taken over", |g| {
            g.primary.as_ref().is_some_and(|p| p.zone == zone_b()) && g.active_plan.is_none()
        })
        .await;
    assert_eq!(rig.primaries(&zone_b()), COUNT);
    assert_eq!(g.primary.unwrap().generation, Generation(2));
    // Loudly, and with a reason (hard case 56).
    let why = g
        .unprotected
        .expect("hard case 56: nothing protects it")
        .why;
    assert!(why.contains("zone-a"), "{why}");
    assert_eq!(rig.told.all().last(), Some(&(AgentAction::Start, zone_b())));

    rig.world.start_zone(&zone_a());
    let g = rig
        .until("it is home again and well", |g| {
            well(g, COUNT) && g.primary.as_ref().is_some_and(|p| p.zone == zone_a())
        })
        .await;
    assert_eq!(g.primary.unwrap().generation, Generation(3));
    assert_eq!(rig.told.runs_in(), Some(zone_a()));

    // The history tells it, newest first.
    let plans = rig.client().plans(None, 10).await.unwrap();
    let kinds: Vec<PlanKind> = plans.iter().map(|p| p.kind).collect();
    assert_eq!(
        kinds,
        [PlanKind::Failback, PlanKind::Reprotect, PlanKind::Failover]
    );
    let mut watch = rig.client().watch(&plans[0].id).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = watch.next().await.unwrap() {
        lines.push(line);
    }
    assert!(
        matches!(
            lines.last(),
            Some(WatchLine::Ended {
                end: End::Succeeded,
                ..
            })
        ),
        "{:?}",
        lines.last()
    );
    drop(site(&zone_a()));
}
