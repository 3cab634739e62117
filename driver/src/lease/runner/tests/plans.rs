//! Whether a plan is at work on a group, as etcd has it at that moment.

use super::*;
use rekindle_common::{
    PlanId,
    plan::{PlanAtWork, PlanInSight, PlanKind},
};

#[tokio::test(start_paused = true)]
async fn hard_case_48_a_plan_is_seen_from_its_beginning_to_its_end() {
    let b = Bench::new(true, demote_policy()).await;
    let s = b.start("host-a", "1");
    b.held(&s).await;
    let sight = async || s.handle.plan(&db(), Instant::now() + secs(1)).await;
    assert_eq!(sight().await, PlanInSight::None);
    let at_work = PlanAtWork {
        id: PlanId::new("p-1").unwrap(),
        kind: PlanKind::Move,
        from: zone("zone-a"),
        to: zone("zone-b"),
    };
    // The claim, and no record behind it yet: what it does is not known.
    b.put(keys::group_active_plan(&db()), &at_work.id).await;
    assert_eq!(sight().await, PlanInSight::Unknown);
    let key = keys::plan(&at_work.id);
    b.put(key.clone(), &"no plan").await;
    assert_eq!(sight().await, PlanInSight::Unknown);
    b.put(key, &at_work).await;
    assert_eq!(sight().await, PlanInSight::AtWork(at_work));
    // No word from etcd is none on plans, and is not waited for.
    b.memory.hang();
    let began = Instant::now();
    assert_eq!(sight().await, PlanInSight::Unknown);
    assert!(began.elapsed() <= secs(1), "{:?}", began.elapsed());
    b.memory.heal();
    let ended = Txn::new().then(Op::Delete {
        key: keys::group_active_plan(&db()),
    });
    b.elsewhere.txn(ended).await.unwrap();
    assert_eq!(sight().await, PlanInSight::None);
}
