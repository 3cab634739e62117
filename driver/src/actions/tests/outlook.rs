//! What is said beside a volume's report to who is about to change it.

use super::*;
use rekindle_common::{
    PlanId,
    plan::{PlanAtWork, PlanInSight, PlanKind},
    volume::UnderWay,
};
use rekindle_net::GrantRequest;

#[tokio::test(start_paused = true)]
async fn hard_case_48_what_is_under_way_around_a_volume_is_told() {
    let leases = Arc::new(FixedLeases::default());
    let name = |n: &str| ZoneName::new(n).unwrap();
    let fabric = Fabric::new(name("zone-a"), name("zone-b"), FabricConfig::default());
    let a = Volumes::new(Parts {
        zone: name("zone-a"),
        backend: Backend::Memory(fabric.a()),
        state_pool: "volumes".to_owned(),
        leases: leases.clone(),
        clock: fabric.clock(),
        limits: Limits::default(),
    });
    let pair = Pair {
        b: zone(&fabric.b(), Limits::default()),
        a,
        fabric,
    };
    pair.fill(2, ReplicationMode::Instant).await;
    let under_way = async |n: u32| pair.a.outlook(&spec(n)).await.unwrap().under_way;
    assert_eq!(under_way(0).await, []);
    let at_work = PlanAtWork {
        id: PlanId::new("p-1").unwrap(),
        kind: PlanKind::Move,
        from: name("zone-a"),
        to: name("zone-b"),
    };
    leases.set_plan(&group(), PlanInSight::AtWork(at_work.clone()));
    let plan = UnderWay::Plan(at_work);
    assert_eq!(under_way(0).await, std::slice::from_ref(&plan));
    let frozen = UnderWay::Frozen(pair.a.freeze("new switches".to_owned()).await);
    let moving = pair.a.fails_over(vec![spec(0)]);
    let twice = pair.a.fails_over(vec![spec(0), spec(9)]);
    let all = [plan.clone(), UnderWay::FailoverHost, frozen.clone()];
    assert_eq!(under_way(0).await, all);
    assert_eq!(under_way(1).await, [plan.clone(), frozen]);
    pair.a.thaw().await;
    drop(moving);
    assert_eq!(under_way(0).await, [plan, UnderWay::FailoverHost]);
    drop(twice);
    leases.set_plan(&group(), PlanInSight::Unknown);
    let request = GrantRequest {
        within: Span::secs(60),
        generation: Some(Generation(1)),
    };
    pair.a.grant_standby(&spec(1), &request).await.unwrap();
    assert_eq!(under_way(0).await, [UnderWay::PlanUnknown]);
    let meant = [UnderWay::PlanUnknown, UnderWay::StandBy];
    assert_eq!(under_way(1).await, meant);
    let none = pair.a.outlook(&spec(9)).await;
    assert_eq!(code(none), ErrorCode::UnknownVolume);
}
