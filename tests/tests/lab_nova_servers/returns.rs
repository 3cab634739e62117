//! The lost zone comes back in the middle of its own failover, which waits for a person: what its Nova starts is held meanwhile.

use super::{PLAN, RECORDS, SNAPSHOTS, group_type, join, level, name_of, runbook, wait_records};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{Generation, Timestamp, policy::OnReturn, runbook::StandbyPolicy};
use rekindle_core::{
    decision::{Ask, Decision},
    plan::{PlanKind, Step},
    snapshot::Approved,
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::{ApproveRequest, PauseRequest};
use rekindle_tests::scenario::{BOOT, Cloud, Look, until};

fn pauses(step: &Step) -> bool {
    matches!(step, Step::Pause { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_50_a_zone_that_is_back_in_the_middle_of_its_own_failover_has_its_servers_held()
-> anyhow::Result<()> {
    Cloud::play_with_nova("returns", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let (na, nb) = (cloud.nova(Site::ZoneA)?, cloud.nova(Site::ZoneB)?);
        let resumes = ("DEFAULT", "resume_guests_state_on_host_boot", "true");
        cloud.lab.nova(Site::ZoneA)?.configure(&[resumes])?;
        let mut group = cloud.group(&[]).await?;
        let of_type = group_type(&group, [&a, &b], "root", &SNAPSHOTS)?;
        let web = na.boot(&a, "web", &of_type, 10).await?;
        join(&mut group, &a, [&na, &nb], cloud, (&web, Kind::Periodic)).await?;
        group.wait_protected().await?;
        let mut first = level(&web, StandbyPolicy::Shutoff);
        first.pause = Some("look at what was lost".to_owned());
        group.set_runbook(&runbook(vec![first])).await?;
        let view = group.wait_stand_by(&web.key, Site::ZoneA).await?;
        let standby = view.instances[&name_of(Site::ZoneB)].clone();
        wait_records(&na, &web, RECORDS).await?;

        // Promoted, and waiting for a person. The zone is back before that.
        // What comes after the failover is asked for.
        group
            .set_policy(|policy| policy.on_return = OnReturn::Ask)
            .await?;
        let killed = Timestamp::now();
        let log = na.log_end()?;
        cloud.zone_a().kill()?;
        let failover = group.wait_step(PlanKind::Failover, killed, pauses).await?;
        cloud.zone_a().start()?;
        na.wait_started_by_its_hypervisor(&web.server, log).await?;
        na.wait_held(&web.server).await?;
        assert!(na.ask(&web).is_err());
        // All of it while nobody has said yes.
        let waits = group.wait_step(PlanKind::Failover, killed, pauses).await?;
        assert_eq!(waits.plan.id, failover.plan.id);
        let disk = cloud
            .guest_disk(Site::ZoneB, &group.volumes[0].spec)
            .await?;

        let yes = PauseRequest {
            level: 0,
            by: "ann".to_owned(),
        };
        let client = cloud.orchestrators();
        client.approve_pause(&failover.plan.id, &yes).await?;
        let failover = group
            .wait_plan_within(PlanKind::Failover, killed, PLAN)
            .await?;
        assert_eq!(failover.failed_servers, []);
        nb.wait_answer(&web).await?;
        group.wait_primary(Site::ZoneB, Generation(2)).await?;
        // It went on from what was promoted, and from nothing that was written in zone-a since.
        let found = nb.console(&standby)?;
        assert_eq!(found.last, disk.last().map(|r| r.number), "{found:?}");

        // And the other way round on a person's word, with nothing left to hold.
        let what = "the reprotection to be asked for";
        until(what, BOOT, async || -> Look<()> {
            let status = group.status().await?;
            match status.decision.map(|d| d.decision) {
                Some(Decision::AskOperator {
                    why:
                        Ask::Approve {
                            kind: PlanKind::Reprotect,
                            ..
                        },
                }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let approval = ApproveRequest {
            what: Approved::Reprotect,
            by: "ann".to_owned(),
            generation: None,
        };
        client.approve(&group.name, &approval).await?;
        let reprotect = group
            .wait_plan_within(PlanKind::Reprotect, killed, PLAN)
            .await?;
        assert_eq!(reprotect.failed_servers, []);
        let held = reprotect.plan.steps.first().map(|s| &s.step);
        assert!(matches!(held, Some(Step::HoldServers { .. })), "{held:?}");
        na.wait_held(&web.server).await?;
        nb.ask(&web)?;
        group.wait_protected().await?;
        Ok(())
    })
    .await
}
