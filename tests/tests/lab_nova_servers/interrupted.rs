//! A failover that much goes wrong with: the lost zone's Nova hangs and does not refuse, its guests run on, who leads dies in each of its steps,
//! and one server's flavor is not there.

use super::{
    PLAN, RECORDS, SNAPSHOTS, group_type, join, level, make_flavor, named, resize, runbook,
    wait_recorded, wait_records,
};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{Generation, Timestamp, runbook::StandbyPolicy};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
    saga::{End, Event, Record},
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{PlanDetail, Run};
use rekindle_tests::scenario::Cloud;

/// When a step was done.
fn ended(detail: &PlanDetail, step: usize) -> Option<Timestamp> {
    let ended = |r: &&Record| matches!(r.event, Event::StepDone { step: s, .. } if s == step);
    detail.journal.iter().find(ended).map(|r| r.at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_09_and_52_a_failover_whose_leader_dies_in_each_step_brings_each_server_back_once()
-> anyhow::Result<()> {
    Cloud::play_with_nova("interrupted", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        let novas = [&na, &nb];
        let mut group = cloud.group(&[]).await?;
        let of_type = group_type(&group, [&a, &b], "root", &SNAPSHOTS)?;
        let web = na.boot(&a, "web", &of_type, 10).await?;
        let db = na.boot(&a, "db", &of_type, 11).await?;
        // Of a flavor that zone-b does not have.
        let rare = format!("{}-rare", cloud.name());
        make_flavor(&a, &rare)?;
        resize(&a, &db, &rare)?;
        for guest in [&web, &db] {
            join(&mut group, &a, novas, cloud, (guest, Kind::Periodic)).await?;
        }
        group.wait_protected().await?;
        let levels = vec![
            level(&web, StandbyPolicy::Shutoff),
            level(&db, StandbyPolicy::Record),
        ];
        group.set_runbook(&runbook(levels)).await?;
        group.wait_stand_by(&web.key, Site::ZoneA).await?;
        wait_recorded(&group, &db).await?;
        for guest in [&web, &db] {
            wait_records(&na, guest, RECORDS).await?;
        }

        // What is dropped hangs.
        let cut = Timestamp::now();
        cloud.zone_a().isolate()?;
        let killed = group.kill_leader_in_each_step(PlanKind::Failover).await?;
        let (end, failover) = group.wait_end(PlanKind::Failover, cut, PLAN).await?;
        let steps = &failover.plan.steps;
        assert_eq!(killed.len(), steps.len(), "{:#?}", failover.journal);
        // Guests take their time to start: who led next has ended that step.
        for (at, step) in steps.iter().enumerate() {
            if let Step::StartServers { .. } = step.step {
                let ended = ended(&failover, at);
                assert!(ended > Some(killed[&at]), "{:#?}", failover.journal);
            }
        }
        group.wait_primary(Site::ZoneB, Generation(2)).await?;
        nb.wait_answer(&web).await?;
        assert_eq!(named(&b, "web")?.len(), 1);

        // The other one is named, and comes once its flavor is there; what serves goes on.
        assert_eq!(end, Some(End::Partial), "{:#?}", failover.journal);
        let [failed] = &failover.failed_servers[..] else {
            panic!("{:?}", failover.failed_servers)
        };
        assert_eq!(failed.server, db.key);
        let missing = format!("flavor \"{rare}\" is missing");
        assert!(failed.why.contains(&missing), "{}", failed.why);
        assert_eq!(named(&b, "db")?, Vec::<String>::new());
        let before = nb.ask(&web)?;
        make_flavor(&b, &rare)?;
        let asked = Timestamp::now();
        let client = cloud.orchestrators();
        client
            .plan_for(&group.name, Request::Resume, Run::Begin)
            .await?;
        let resumed = group.wait_plan_within(PlanKind::Resume, asked, PLAN);
        assert_eq!(resumed.await?.failed_servers, []);
        nb.wait_answer(&db).await?;
        assert_eq!(named(&b, "db")?.len(), 1);
        assert_eq!(nb.ask(&web)?.boot, before.boot, "web was not started again");

        // The zone is back, with guests that were never stopped.
        let back = Timestamp::now();
        cloud.zone_a().heal()?;
        let reprotect = group.wait_plan_within(PlanKind::Reprotect, back, PLAN);
        assert_eq!(reprotect.await?.failed_servers, []);
        for guest in [&web, &db] {
            na.wait_held(&guest.server).await?;
            assert!(na.ask(guest).is_err());
            nb.ask(guest)?;
        }
        group.wait_protected().await?;
        for zone in [&a, &b] {
            zone.admin(&["flavor", "delete", &rare])?;
        }
        Ok(())
    })
    .await
}
