//! A zone with two sidecars: orders reach one, and either may hold the lease.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{COUNT_IMAGES, Rig, eventually, group, well, zone_a, zone_b};
use rekindle_common::{
    Generation,
    duration::Span,
    keys,
    lease::{LeaseRecord, LeaseTiming, LeaseView},
    policy::GroupPolicy,
};
use rekindle_core::{
    decision::{Decision, Hold, Request},
    plan::PlanKind,
    saga::{End, State},
};
use rekindle_driver::{
    actions::{Limits, Parts, Volumes},
    backend::{Backend, memory::POOL},
    lease::{LeaseClock, LeaseConfig, LeaseRunner, OtherSite},
};
use rekindle_orchestrator::wire::{GroupStatus, Run};
use rekindle_store::Store;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Long enough for the one to see that the other is late before it would have to demote.
fn policy() -> GroupPolicy {
    let policy = common::policy();
    let lease = LeaseTiming {
        ttl: Span::secs(12),
        ..policy.lease
    };
    GroupPolicy { lease, ..policy }
}

/// Zone-a's second sidecar, on a machine of its own. No orchestrator knows it.
struct Second {
    volumes: Volumes,
    keeper: JoinHandle<()>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Second {
    fn start(rig: &Rig) -> Self {
        let cluster = rig.world.fabric().a().clone();
        let config = LeaseConfig {
            name: "second".to_owned(),
            look_every: Span::secs(1),
            clock: LeaseClock::tokio(),
            ..LeaseConfig::new(zone_a(), "1")
        };
        let store = Store::from(rig.world.store("zone-a"));
        let (runner, handle) = LeaseRunner::new(config, store, Vec::<OtherSite>::new());
        let volumes = Volumes::new(Parts {
            zone: zone_a(),
            clock: cluster.clock(),
            backend: Backend::Memory(cluster),
            state_pool: POOL.to_owned(),
            leases: Arc::new(handle),
            limits: Limits::default(),
        });
        let keeper = tokio::spawn(runner.run(volumes.clone(), CancellationToken::new()));
        Self { volumes, keeper }
    }
}

async fn holder(rig: &Rig) -> Option<String> {
    let store = Store::from(rig.world.store("witness"));
    let kv = store.get(&keys::group_lease(&group())).await.unwrap()?;
    Some(kv.json::<LeaseRecord>().unwrap().holder)
}

/// The sidecar that takes orders was started anew, and the other took the lease meanwhile: it stands by for good.
async fn the_second_holds() -> (Rig, Second) {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    let second = Second::start(&rig);
    sleep(Duration::from_secs(5)).await;
    rig.world.kill_sidecar(&zone_a());
    eventually("the second holds the lease", || async {
        (holder(&rig).await? == "second/1").then_some(())
    })
    .await;
    rig.world.start_sidecar(&zone_a());
    sleep(Duration::from_secs(10)).await;
    let first = rig.world.volumes(&zone_a()).unwrap();
    assert_eq!(first.leases().view(&group()), LeaseView::NotHeld);
    assert_eq!(holder(&rig).await.unwrap(), "second/1");
    (rig, second)
}

fn all_well(g: &GroupStatus) -> bool {
    let decision = g.decision.as_ref().map(|d| &d.decision);
    let all_well = matches!(decision, Some(Decision::Hold { why: Hold::AllWell }));
    all_well && well(g, COUNT_IMAGES)
}

async fn moves(rig: &Rig) {
    let to = Request::Move { to: zone_b() };
    // The orchestrators have just started: they are bound as if they had promised.
    eventually("the move begins", || async {
        let client = rig.client();
        client.plan_for(&group(), to.clone(), Run::Begin).await.ok()
    })
    .await;
    let end = eventually("the move has ended", || async {
        let plans = rig.client().plans(Some(&group()), 20).await.ok()?;
        let mut moves = plans.into_iter().filter(|p| p.kind == PlanKind::Move);
        match moves.next()?.state? {
            State::Ended { end } => Some(end),
            State::Fresh
            | State::Between { .. }
            | State::Running { .. }
            | State::Unwinding { .. }
            | State::RunningUnwind { .. }
            | State::Stuck { .. } => None,
        }
    })
    .await;
    assert_eq!(end, End::Succeeded);
    let g = rig.until("zone-b serves", |g| well(g, COUNT_IMAGES)).await;
    let primary = g.primary.unwrap();
    assert_eq!(
        (primary.zone, primary.generation),
        (zone_b(), Generation(2))
    );
    assert_eq!(rig.primaries(&zone_a()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_zone_that_holds_its_lease_by_the_sidecar_that_takes_no_orders_holds_it() {
    let (rig, _second) = the_second_holds().await;
    rig.until("all is well", all_well).await;
}

#[tokio::test(start_paused = true)]
async fn a_move_takes_along_what_the_second_sidecar_holds() {
    let (rig, second) = the_second_holds().await;
    moves(&rig).await;
    eventually("the second has read who is primary", || async {
        let view = second.volumes.leases().view(&group());
        (view == LeaseView::NotHeld).then_some(())
    })
    .await;
    // And it stays so: neither puts a key back, or promotes.
    for _ in 0..30 {
        sleep(Duration::from_secs(1)).await;
        assert!(well(&rig.group().await.unwrap(), COUNT_IMAGES));
        assert_eq!(rig.primaries(&zone_a()), 0);
    }
}

/// It takes the key in the moment in which the first has given it back and no other zone is recorded.
#[tokio::test(start_paused = true)]
async fn a_second_sidecar_that_stands_by_does_not_stop_a_move() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    let _second = Second::start(&rig);
    sleep(Duration::from_secs(5)).await;
    moves(&rig).await;
}
