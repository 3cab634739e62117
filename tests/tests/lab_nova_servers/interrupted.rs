//! A failover that much goes wrong with: the lost zone's Nova hangs and does not refuse, its guests run on, the leader dies while a server is
//! being started, and another one's flavor is not there.

use super::{PLAN, RECORDS, SNAPSHOTS, group_type, join, level, runbook, wait_records};
use anyhow::Context;
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{Generation, Timestamp, runbook::StandbyPolicy};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
    saga::End,
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::Run;
use rekindle_tests::scenario::{BOOT, CinderZone, Cloud, until};

fn starts_the_first(step: &Step) -> bool {
    matches!(step, Step::StartServers { level: 0, .. })
}

/// The ids of all servers of that name.
fn named(zone: &CinderZone<'_>, name: &str) -> anyhow::Result<Vec<String>> {
    let exactly = format!("^{name}$");
    let args = ["server", "list", "--all-projects", "--name", &exactly];
    let found = zone.clients.openstack_json(&zone.clients.admin, &args)?;
    let ids = found.as_array().context("a list")?.iter();
    ids.map(|s| Ok(s["ID"].as_str().context("it has an id")?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_09_and_52_a_failover_whose_leader_dies_while_a_server_starts_brings_each_back_once()
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
        let make = |zone: &CinderZone<'_>| {
            let sizes = ["--ram", "160", "--disk", "0", "--vcpus", "1"];
            zone.admin(&[&["flavor", "create"], &sizes[..], &[&rare]].concat())
        };
        make(&a)?;
        let os = a.clients.clone().deadline(BOOT);
        let admin = |args: &[&str]| os.openstack(&os.admin, args);
        admin(&["server", "resize", "--wait", "--flavor", &rare, &db.server])?;
        admin(&["server", "resize", "confirm", &db.server])?;
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
        until("the record of db", BOOT, async || {
            let view = group.server(&db.key).await?;
            match view.recorded_at {
                Some(_) => Ok(()),
                None => Err(format!("{view:?}")),
            }
        })
        .await?;
        for guest in [&web, &db] {
            wait_records(&na, guest, RECORDS).await?;
        }

        // What is dropped hangs.
        let cut = Timestamp::now();
        cloud.zone_a().isolate()?;
        group
            .wait_step(PlanKind::Failover, cut, starts_the_first)
            .await?;
        let old = cloud.leader().await?;
        cloud.orchestrator(old).kill()?;
        let (end, failover) = group.wait_end(PlanKind::Failover, cut, PLAN).await?;
        let by = |s: Site| failover.journal.iter().any(|r| r.by == s.name());
        let went_on = Site::ALL.into_iter().any(|s| s != old && by(s));
        assert!(by(old) && went_on, "{old}: {:#?}", failover.journal);
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
        make(&b)?;
        // Of three views of zone-b two are needed, and zone-a has none.
        cloud.orchestrator(old).start()?;
        let asked = Timestamp::now();
        until("the resumption to begin", BOOT, async || {
            let client = cloud.orchestrators();
            let plan = client.plan_for(&group.name, Request::Resume, Run::Begin);
            plan.await.map(drop).map_err(|e| e.to_string())
        })
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
