//! The lost zone comes back in the middle of its own failover, its hypervisors starting what ran there.

use super::{bench, ended, failed};
use crate::common::{
    bench::{Bench, Kind},
    nova::Verb,
    zone_a, zone_b,
};
use rekindle_common::{Generation, PlanId};
use rekindle_core::{decision::Request, plan::Step, saga::End};
use rekindle_orchestrator::executor::{Over, RecordHook};
use std::{ops::ControlFlow, sync::Arc};
use tokio::sync::Notify;

/// Works on the plan; the zone is back right after that record of its journal.
async fn with_a_return_after(record: usize, bench: &mut Bench, id: &PlanId) -> Over {
    let back = Arc::new(Notify::new());
    let told = Arc::clone(&back);
    let hook = RecordHook(Arc::new(move |seq| {
        if seq == record {
            told.notify_one();
        }
        ControlFlow::Continue(())
    }));
    let Bench { rig, hand, .. } = bench;
    let returned = async {
        back.notified().await;
        rig.start_zone(&zone_a());
    };
    let (over, ()) = tokio::join!(hand.work(id, Some(hook)), returned);
    over
}

async fn returns_after_each_record(kind: Kind) {
    let records = {
        let bench = bench(kind).await;
        let id = bench.begin(&bench.plan().await).await;
        let over = bench.hand.work(&id, None).await;
        assert_eq!(over, ended(End::Succeeded));
        bench.records(&id).await.len()
    };
    for record in 0..records {
        let mut bench = bench(kind).await;
        let id = bench.begin(&bench.plan().await).await;
        let over = with_a_return_after(record, &mut bench, &id).await;
        let named = failed(&bench, &id).await;
        assert_eq!(over, ended(End::Succeeded), "record {record}: {named:?}");
        bench.assert_at(&zone_b(), Generation(2)).await;
        let (a, b) = (bench.rig.nova(&zone_a()), bench.rig.nova(&zone_b()));
        assert_eq!(b.serving(), ["db", "web-1", "web-2"], "record {record}");
        assert_eq!(a.orders(), [], "the failover is zone-b's, record {record}");

        let plan = bench.plan_for(&Request::Reprotect).await;
        let first = &plan.steps[0].step;
        assert!(
            matches!(first, Step::HoldServers { .. }),
            "before anything else: {plan}"
        );
        let id = bench.begin(&plan).await;
        let over = bench.hand.work(&id, None).await;
        let named = failed(&bench, &id).await;
        assert_eq!(over, ended(End::Succeeded), "record {record}: {named:?}");
        assert!(a.all_held(), "record {record}");
        let only_held = a.orders().iter().all(|(verb, _)| *verb == Verb::Hold);
        assert!(only_held, "record {record}: {:?}", a.orders());
        assert_eq!(bench.rig.primaries(&zone_a()), 0, "record {record}");
        bench.assert_at(&zone_b(), Generation(2)).await;
        assert_eq!(b.serving(), ["db", "web-1", "web-2"], "record {record}");
        for nova in [a, b] {
            assert!(nova.wrong().is_empty(), "{:?}", nova.wrong());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_50_a_zone_that_is_back_in_the_middle_of_its_own_failover_starts_nothing() {
    returns_after_each_record(Kind::FailoverByLease).await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_50_a_fenced_zone_that_is_back_in_the_middle_of_its_own_failover_starts_nothing()
{
    returns_after_each_record(Kind::FailoverByFence).await;
}
