//! A server that is not built in the other zone: one of its name is somebody else's, and then the quota is used up.

use super::{
    PLAN, RECORDS, SNAPSHOTS, carry_out, group_type, join, level, name_of, runbook, wait_recorded,
    wait_records,
};
use anyhow::{Context, ensure};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{Generation, Timestamp, runbook::StandbyPolicy};
use rekindle_core::{decision::Request, plan::PlanKind, saga::End};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{PlanDetail, Run};
use rekindle_tests::scenario::{BOOT, Cloud, NovaZone, until};
use std::time::Duration;

/// How old the newest record may be that a server finds whose volume is mirrored through its journal.
const LAG: Duration = Duration::from_secs(15);

/// The quota of Nova for servers in the guests' project: Nova's own default, and what it has when this ends.
const USUAL: &str = "10";

/// What would show that we took a server for ours.
fn ours(zone: &NovaZone<'_>, server: &str) -> anyhow::Result<Vec<String>> {
    let shown = zone.show(server)?;
    let metadata = shown["metadata"].as_object().context("it has metadata")?;
    let mut found: Vec<String> = metadata
        .keys()
        .filter(|k| k.starts_with("rekindle"))
        .cloned()
        .collect();
    if shown["locked"] == true {
        found.push("locked".to_owned());
    }
    Ok(found)
}

/// Why the plan could not help `db`, which is all that it could not.
fn refused((end, detail): &(Option<End>, PlanDetail)) -> &str {
    assert_eq!(*end, Some(End::Partial), "{:#?}", detail.journal);
    let failed: Vec<_> = detail
        .failed_servers
        .iter()
        .map(|f| (f.server.as_str(), f.why.as_str()))
        .collect();
    let [("db", why)] = failed[..] else {
        panic!("{failed:?}")
    };
    why
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_51_and_52_a_quota_holds_up_one_server_and_one_of_its_name_is_left_alone()
-> anyhow::Result<()> {
    Cloud::play_with_nova("refused", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        let novas = [&na, &nb];
        let mut group = cloud.group(&[]).await?;
        let zones = [&a, &b];
        let live = group_type(&group, zones, "live", &[("rekindle:mode", "instant")])?;
        let root = group_type(&group, zones, "root", &SNAPSHOTS)?;
        let plain = b.volume_type("plain", &[])?;

        // Two servers of ours, and in the other zone a user's own of the same name as one of them.
        let db = na.boot(&a, "db", &live, 11).await?;
        let web = na.boot(&a, "web", &root, 12).await?;
        let theirs = nb.boot(&b, "db", &plain, 20).await?;
        join(&mut group, &a, novas, cloud, (&db, Kind::Instant)).await?;
        join(&mut group, &a, novas, cloud, (&web, Kind::Periodic)).await?;
        group.wait_protected().await?;
        // The first level is the one that will not come: the next does not wait for ever.
        let levels = vec![
            level(&db, StandbyPolicy::Record),
            level(&web, StandbyPolicy::Shutoff),
        ];
        group.set_runbook(&runbook(levels)).await?;
        let view = group.wait_stand_by(&web.key, Site::ZoneA).await?;
        let standby = view.instances[&name_of(Site::ZoneB)].clone();
        wait_recorded(&group, &db).await?;
        // There is room for what is there, and for no other.
        let quota = |many: &str| b.admin(&["quota", "set", "--instances", many, "demo"]);
        quota("2")?;

        wait_records(&na, &web, RECORDS).await?;
        wait_records(&na, &db, RECORDS).await?;
        let killed = Timestamp::now();
        cloud.zone_a().kill()?;
        let failover = group.wait_end(PlanKind::Failover, killed, PLAN).await?;
        let why = refused(&failover);
        let there = format!("a server \"db\" is there already ({})", theirs.server);
        assert!(why.contains(&there), "{why}");
        assert!(why.contains("rename or delete it"), "what to do: {why}");
        nb.wait_answer(&web).await?;
        assert_eq!(nb.show(&standby)?["status"], "ACTIVE");
        assert!(nb.ask(&db).is_err(), "nobody serves in db's place");
        group.wait_primary(Site::ZoneB, Generation(2)).await?;

        // Its user gives the other one another name, and the plan is taken up in place: what serves goes on.
        let before = nb.ask(&web)?;
        b.admin(&["server", "set", "--name", "theirs", &theirs.server])?;
        let asked = Timestamp::now();
        let client = cloud.orchestrators();
        client
            .plan_for(&group.name, Request::Resume, Run::Begin)
            .await?;
        let resumed = group.wait_end(PlanKind::Resume, asked, PLAN).await?;
        let why = refused(&resumed);
        assert!(
            why.contains("over quota: instances: 1 needed, 0 left of 2"),
            "{why}"
        );
        assert!(why.contains("openstack quota set"), "what to do: {why}");
        // The quota is raised.
        quota(USUAL)?;
        let resumed = carry_out(cloud, &group, Request::Resume, PlanKind::Resume).await?;
        assert_eq!(resumed.failed_servers, []);
        nb.wait_answer(&db).await?;
        assert_eq!(nb.ask(&web)?.boot, before.boot, "web was not started again");
        let built = until("db to be seen in zone-b", BOOT, async || {
            let view = group.server(&db.key).await?;
            let built = view.instances.get(&name_of(Site::ZoneB)).cloned();
            built.ok_or_else(|| format!("{view:?}"))
        })
        .await?;
        assert_eq!(nb.show(&built)?["name"], "db");
        let found = nb.console(&built)?;
        let age = killed.as_microsecond() - found.last_at_us.context("it found a record")?;
        tracing::info!(age_ms = age / 1000, "db serves in zone-b");
        ensure!(age <= i64::try_from(LAG.as_micros())?, "{found:?}");

        // The other one is as its user left it.
        assert_ne!(built, theirs.server);
        assert_eq!(ours(&nb, &theirs.server)?, Vec::<String>::new());
        assert_eq!(nb.show(&theirs.server)?["status"], "ACTIVE");
        nb.ask(&theirs)?;

        // Back, and protected the other way round: a server of which no stand-by can be opened is held where it was.
        let back = Timestamp::now();
        cloud.zone_a().start()?;
        let reprotect = group.wait_plan_within(PlanKind::Reprotect, back, PLAN);
        assert_eq!(reprotect.await?.failed_servers, []);
        for old in [&db, &web] {
            na.wait_held(&old.server).await?;
            assert!(na.ask(old).is_err());
        }
        nb.ask(&db)?;
        group.wait_protected().await?;
        Ok(())
    })
    .await
}
