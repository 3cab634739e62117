//! etcd and the orchestrators fall ill: nobody loses a right to write that way, nobody gains one, and no plan is lost.

use anyhow::{Context, Error};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{
    Generation, GroupName, Timestamp, ZoneName,
    duration::Span,
    lease::{LeaseTiming, LeaseView},
    policy::{GroupPolicy, IsolationResponse},
    volume::Role,
};
use rekindle_core::{
    decision::Request,
    plan::{PlanKind, Step},
};
use rekindle_lab::Site::{self, Witness, ZoneA, ZoneB};
use rekindle_orchestrator::wire::Run;
use rekindle_tests::scenario::{Cloud, Group, Writer, config, never, until};
use std::time::Duration;

const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);

/// Longer than lease, margin and hold-off together: whoever wrongly took over would have done so by then.
const LONG: Duration = Duration::from_secs(25);

/// For as long as that, zone-a keeps its right, zone-b gets none, and the writer is refused nothing.
async fn nothing_happens(
    group: &Group<'_>,
    writer: &Writer<'_>,
    right: fn(LeaseView) -> bool,
) -> anyhow::Result<()> {
    never("a change of who may write", LONG, async || {
        if let Some((at, line)) = writer.refusals().first() {
            return Some(format!("{at}: {line}"));
        }
        match group.lease_in(ZoneA).await {
            Ok(lease) if right(lease) => {}
            other => return Some(format!("zone-a's lease is {other:?}")),
        }
        let copies = group.volumes_in(ZoneB).await.unwrap_or_default();
        let primary = copies.iter().find(|v| v.role == Role::Primary);
        primary.map(|v| format!("{} is primary in zone-b", v.volume))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_02_neither_a_dead_member_nor_a_lost_majority_moves_the_primary()
-> anyhow::Result<()> {
    Cloud::play("etcd", async |cloud| {
        // An election takes the lab's etcd two to four seconds, of which the scenarios' usual lease has four to spare.
        let policy = GroupPolicy {
            lease: LeaseTiming {
                ttl: Span::secs(12),
                ..config::timing()
            },
            ..config::policy()
        };
        let group = cloud.group_with(&[Kind::Instant], policy).await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        group.replicate(FIRST).await?;

        // The primary's own member, which its sidecar asks first.
        cloud.etcd(ZoneA).kill()?;
        nothing_happens(&group, &writer, |l| {
            matches!(
                l,
                LeaseView::Held {
                    generation: FIRST,
                    ..
                }
            )
        })
        .await?;
        writer.wait_more(5).await?;
        group.status().await.map_err(Error::msg)?;
        cloud.etcd(ZoneA).start()?;

        // Two of three: nobody can renew, record or lead. All sites vouch for zone-a.
        cloud.etcd(ZoneB).pause()?;
        cloud.etcd(Witness).pause()?;
        let kept = |l: LeaseView| {
            matches!(
                l,
                LeaseView::KeptByFailsafe {
                    generation: FIRST,
                    ..
                }
            )
        };
        until(
            "zone-a to be kept by the failsafe",
            Duration::from_secs(20),
            async || match group.lease_in(ZoneA).await? {
                l if kept(l) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await?;
        nothing_happens(&group, &writer, kept).await?;
        writer.wait_more(5).await?;

        cloud.etcd(ZoneB).resume()?;
        cloud.etcd(Witness).resume()?;
        group.wait_lease(ZoneA, FIRST).await?;
        nothing_happens(&group, &writer, |l| {
            matches!(
                l,
                LeaseView::Held {
                    generation: FIRST,
                    ..
                } | LeaseView::KeptByFailsafe {
                    generation: FIRST,
                    ..
                }
            )
        })
        .await?;
        group.wait_primary(ZoneA, FIRST).await?;
        assert_eq!(group.plans().await.map_err(Error::msg)?, []);
        writer.wait_more(5).await?;
        writer.stop()
    })
    .await
}

/// Asks for a move, again where a guard holds it for a moment.
async fn ask_for_move(cloud: &Cloud, group: &GroupName, to: Site) -> anyhow::Result<()> {
    let request = || -> anyhow::Result<Request> {
        Ok(Request::Move {
            to: ZoneName::new(to.name())?,
        })
    };
    let wanted = request()?;
    until("a plan to move", Duration::from_secs(60), async || {
        let client = cloud.orchestrators();
        let answer = client.plan_for(group, wanted.clone(), Run::Begin).await;
        answer.map(drop).map_err(|e| e.to_string())
    })
    .await
}

/// A leader that is none of these, as the orchestrators that can still tell know it.
async fn another_leader(cloud: &Cloud, than: Site) -> anyhow::Result<Site> {
    until("another leader", Duration::from_secs(40), async || {
        for site in Site::ALL.into_iter().filter(|s| *s != than) {
            let answer = cloud.orchestrator_of(site).leader().await;
            let Ok(Some(leader)) = answer.map(|a| a.leader) else {
                continue;
            };
            // What another knows of who leads may be of before.
            if leader.site.as_str() == site.name() {
                return leader.site.as_str().parse().map_err(|e| format!("{e}"));
            }
        }
        Err(format!("still {than}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_03_a_leader_that_was_paused_past_its_lease_does_nothing_when_it_wakes()
-> anyhow::Result<()> {
    Cloud::play("paused", async |cloud| {
        let policy = GroupPolicy {
            application: Some(config::GATE.to_owned()),
            ..config::policy()
        };
        let group = cloud.group_with(&[Kind::Instant], policy).await?;
        group.replicate(FIRST).await?;

        // The plan stands in its first step, until the gate is opened.
        let asked_at = Timestamp::now();
        ask_for_move(cloud, &group.name, ZoneB).await?;
        let stop = |s: &Step| matches!(s, Step::StopApplication { .. });
        group.wait_step(PlanKind::Move, asked_at, stop).await?;
        let old = cloud.leader().await?;
        cloud.orchestrator(old).pause()?;
        let paused_at = Timestamp::now();
        let new = another_leader(cloud, old).await?;

        // It wakes in the middle of a step that it believes to be its own, and the step ends well.
        cloud.orchestrator(old).resume()?;
        cloud.open_gate()?;
        let plan = group.wait_plan(PlanKind::Move, asked_at).await?;
        group.wait_primary(ZoneB, SECOND).await?;
        let later: Vec<_> = plan.journal.iter().filter(|r| r.at > paused_at).collect();
        assert!(later.len() > 5, "{:#?}", plan.journal);
        for record in later {
            assert_eq!(record.by, new.name(), "{record:#?}");
        }
        // It knows by now that it does not lead.
        let known = cloud.orchestrator_of(old).leader().await?;
        let known = known.leader.context("the woken one knows of no leader")?;
        assert_eq!(known.site.as_str(), new.name());
        assert_eq!(group.plans().await.map_err(Error::msg)?, [PlanKind::Move]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_09_a_failover_whose_leader_is_killed_is_finished_by_another()
-> anyhow::Result<()> {
    Cloud::play("resumed", async |cloud| {
        // The lease alone is no proof under `keep`: the fence agent is, and it waits for the gate.
        let policy = GroupPolicy {
            isolation_response: IsolationResponse::Keep,
            fence_agent: Some(config::GATE.to_owned()),
            ..config::policy()
        };
        let group = cloud
            .group_with(&[Kind::Instant, Kind::Periodic], policy)
            .await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        // The periodic volume's first snapshot is to hold something: the zone may die before the next.
        writer.wait_more(1).await?;
        group.replicate(FIRST).await?;
        writer.wait_more(10).await?;

        let killed_at = Timestamp::now();
        cloud.zone_a().kill()?;
        let fence = |s: &Step| matches!(s, Step::Fence { .. });
        group
            .wait_step(PlanKind::Failover, killed_at, fence)
            .await?;
        let old = cloud.leader().await?;
        cloud.orchestrator(old).kill()?;
        let new = another_leader(cloud, old).await?;
        cloud.open_gate()?;

        let plan = group.wait_plan(PlanKind::Failover, killed_at).await?;
        group.wait_primary(ZoneB, SECOND).await?;
        let by = |s: Site| plan.journal.iter().filter(|r| r.by == s.name()).count();
        assert!(by(old) > 0 && by(new) > 0, "{:#?}", plan.journal);
        // Resumed, not begun anew.
        let plans = group.plans().await.map_err(Error::msg)?;
        assert_eq!(plans, [PlanKind::Failover]);
        for v in group.specs() {
            let found = cloud.read(ZoneB, v).await?;
            assert_eq!(found.faults, Vec::<String>::new(), "{v}");
            assert!(!found.records.is_empty(), "{v}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_09_a_failover_whose_leader_dies_in_each_step_is_finished_by_others()
-> anyhow::Result<()> {
    Cloud::play("each-step", async |cloud| {
        let group = cloud.group(&[Kind::Instant, Kind::Periodic]).await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        writer.wait_more(1).await?;
        group.replicate(FIRST).await?;
        writer.wait_more(10).await?;

        let cut = Timestamp::now();
        cloud.zone_a().kill()?;
        let killed = group.kill_leader_in_each_step(PlanKind::Failover).await?;
        let plan = group.wait_plan(PlanKind::Failover, cut).await?;
        assert_eq!(killed.len(), plan.plan.steps.len(), "{:#?}", plan.journal);
        group.wait_primary(ZoneB, SECOND).await?;
        let plans = group.plans().await.map_err(Error::msg)?;
        assert_eq!(plans, [PlanKind::Failover]);
        for v in group.specs() {
            let found = cloud.read(ZoneB, v).await?;
            assert_eq!(found.faults, Vec::<String>::new(), "{v}");
            assert!(!found.records.is_empty(), "{v}");
        }
        Ok(())
    })
    .await
}
