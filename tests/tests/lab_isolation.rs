//! A zone is cut off with a writer inside it: it stops writing before anybody else may begin.

use anyhow::Error;
use rekindle_cli::demo::{verdict, volumes::Kind};
use rekindle_common::{Generation, Timestamp, lease::LeaseView, volume::Role};
use rekindle_core::plan::{PlanKind, Step};
use rekindle_lab::Site::{ZoneA, ZoneB};
use rekindle_tests::scenario::{Cloud, Group, Writer, config, step_begun, until};
use std::time::Duration;

const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);

/// For the sidecar to notice and to demote: its lease has 6 s, of which it keeps 2 to demote in.
const DEMOTED: Duration = Duration::from_secs(20);

/// The writer was refused because its images were demoted, not for another reason.
fn refused_by_demotion(refusals: &[(Timestamp, String)]) {
    for (_, line) in refusals {
        // EROFS or EPERM by the demotion itself, ESHUTDOWN where the sidecar shut it out first.
        let known = [
            "Read-only file system",
            "Operation not permitted",
            "transport endpoint shutdown",
        ];
        assert!(known.iter().any(|k| line.contains(k)), "{line}");
    }
}

/// The zone's own sidecar says that it is isolated, and that no image of the group is primary.
async fn wait_isolated(group: &Group<'_>) -> anyhow::Result<()> {
    until("zone-a to be isolated and demoted", DEMOTED, async || {
        let lease = group.lease_in(ZoneA).await?;
        let roles: Vec<Role> = group
            .volumes_in(ZoneA)
            .await?
            .iter()
            .map(|v| v.role)
            .collect();
        let demoted = roles.iter().all(|r| *r == Role::Secondary);
        let isolated = matches!(lease, LeaseView::Isolated { .. });
        if isolated && demoted && !roles.is_empty() {
            Ok(())
        } else {
            Err(format!("{lease:?}, {roles:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_31_an_isolated_writer_is_stopped_before_the_other_zone_is_promoted()
-> anyhow::Result<()> {
    Cloud::play("isolated", async |cloud| {
        let group = cloud.group(&[Kind::Instant, Kind::Periodic]).await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        group.replicate(FIRST).await?;
        writer.wait_more(20).await?;

        let cut_at = Timestamp::now();
        cloud.zone_a().isolate()?;
        let refusals = writer.wait_refused(DEMOTED).await?;
        refused_by_demotion(&refusals);
        let plan = group.wait_plan(PlanKind::Failover, cut_at).await?;
        group.wait_primary(ZoneB, SECOND).await?;

        // Never two writers: all that the isolated one was ever told is from before the first promotion.
        let promoted_at = step_begun(&plan, |s| matches!(s, Step::Promote { .. }))?;
        let recorded_at = step_begun(&plan, |s| matches!(s, Step::RecordPrimary { .. }))?;
        let last_ack = writer.last_ack()?;
        assert!(last_ack < recorded_at, "{last_ack}, recorded {recorded_at}");
        for (at, line) in &refusals {
            assert!(*at < promoted_at, "promoted at {promoted_at}: {line}");
        }
        let spare = verdict::seconds(last_ack, promoted_at);
        tracing::info!(
            spare,
            "seconds between the last write in A and the promotion in B"
        );
        // The margin is at least that long, whatever the clocks say.
        assert!(spare > 5.0, "{spare} s");

        let second = Writer::start(&group, ZoneB, SECOND)?;
        second.wait_records(10).await?;
        cloud.zone_a().heal()?;
        // By one reprotect plan, or two: a copy may show only later that it has diverged.
        group.wait_protected().await?;
        let plans = group.plans().await.map_err(Error::msg)?;
        assert!(plans.contains(&PlanKind::Reprotect), "{plans:?}");
        second.wait_more(5).await?;
        second.stop()?;
        for v in group.specs() {
            let found = cloud.read(ZoneB, v).await?;
            assert_eq!(found.faults, Vec::<String>::new(), "{v}");
            let missing = verdict::missing(&found, &second.acks(v)?, SECOND.0);
            assert!(missing.is_empty(), "{v} lacks {missing:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_healed_before_anybody_took_over_goes_on_and_has_lost_nothing()
-> anyhow::Result<()> {
    Cloud::play("healed", async |cloud| {
        let mut policy = config::policy();
        // Time to heal in, beyond doubt.
        policy.lease.margin = "60s".parse()?;
        let group = cloud
            .group_with(&[Kind::Instant, Kind::Periodic], policy)
            .await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        group.replicate(FIRST).await?;
        writer.wait_more(20).await?;

        let cut_at = Timestamp::now();
        cloud.zone_a().isolate()?;
        refused_by_demotion(&writer.wait_refused(DEMOTED).await?);
        wait_isolated(&group).await?;
        cloud.zone_a().heal()?;
        group.wait_plan(PlanKind::Resume, cut_at).await?;
        group.wait_primary(ZoneA, FIRST).await?;

        let again = Writer::start(&group, ZoneA, FIRST)?;
        again.wait_more(10).await?;
        again.stop()?;
        for v in group.specs() {
            let found = cloud.read(ZoneA, v).await?;
            assert_eq!(found.faults, Vec::<String>::new(), "{v}");
            let missing = verdict::missing(&found, &group.acks(v)?, FIRST.0);
            assert!(missing.is_empty(), "{v} lacks {missing:?}");
        }
        let plans = group.plans().await.map_err(Error::msg)?;
        assert_eq!(plans, [PlanKind::Resume]);
        group.wait_protected().await.map(drop)
    })
    .await
}

/// librbd lets a forced promotion wait for the mirror daemon, and a daemon that copies from a silent zone waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn hard_case_22_a_copy_on_its_way_from_a_silent_zone_does_not_hold_up_the_failover()
-> anyhow::Result<()> {
    Cloud::play("midcopy", async |cloud| {
        let group = cloud.group(&[Kind::Once, Kind::Once]).await?;
        group.replicate(FIRST).await?;
        for v in group.specs() {
            let image = v.to_string();
            let write = ["bench", "--io-type", "write", "--io-size", "1M"];
            let all = [&write[..], &["--io-total", "60M", &image]].concat();
            cloud.lab.rbd(ZoneA, &all)?;
        }
        for v in group.specs() {
            let image = v.to_string();
            cloud
                .lab
                .rbd(ZoneA, &["mirror", "image", "snapshot", &image])?;
        }
        let cut_at = Timestamp::now();
        cloud.zone_a().isolate()?;
        let plan = group.wait_plan(PlanKind::Failover, cut_at).await?;
        group.wait_primary(ZoneB, SECOND).await?;
        let promoted_at = step_begun(&plan, |s| matches!(s, Step::Promote { .. }))?;
        let ended_at = plan.journal.last().map(|r| r.at);
        let took = ended_at.map(|at| verdict::seconds(promoted_at, at));
        tracing::info!(took, "seconds to promote");
        assert!(took.is_some_and(|t| t < 45.0), "{took:?}");

        // The daemon that was shut out works again.
        cloud.zone_a().heal()?;
        group.wait_protected().await.map(drop)
    })
    .await
}
