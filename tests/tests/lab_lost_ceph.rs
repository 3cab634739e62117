//! A zone loses its Ceph and nothing else: its sidecar lives, and renews the lease.

use anyhow::{Context, Error};
use rekindle_cli::demo::{
    verdict::{self, Before},
    volumes::Kind,
};
use rekindle_common::{Generation, Timestamp, lease::LeaseView, volume::Role};
use rekindle_core::{
    decision::{Ask, Decision},
    detector::Diagnosis,
    plan::{OldLease, PlanKind, Proof, Step},
    saga::End,
    snapshot::{Approved, LeaseSight, LossAccepted, Vouch},
};
use rekindle_lab::Site::{ZoneA, ZoneB};
use rekindle_orchestrator::wire::{ApproveRequest, PlanDetail};
use rekindle_tests::scenario::{Cloud, Group, Writer, config, plainly, step_begun, until};
use std::time::Duration;

const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);
/// A bound on "seconds": two cores are shared by two clusters and all else.
const LOST_INSTANT: f64 = 15.0;
/// For the sites to be sure, with all that is damped.
const SURE: Duration = Duration::from_secs(60);

/// For a plan that makes copies anew.
const REPROTECT: Duration = Duration::from_secs(120);

/// SIGKILL to all of zone-a's Ceph, and to nothing else.
fn kill_ceph(cloud: &Cloud) -> anyhow::Result<()> {
    for part in ["rbd-mirror", "mgr", "osd", "mon"] {
        cloud.member(ZoneA, part).kill()?;
    }
    Ok(())
}

fn start_ceph(cloud: &Cloud) -> anyhow::Result<()> {
    for part in ["mon", "osd", "mgr", "rbd-mirror"] {
        cloud.member(ZoneA, part).start()?;
    }
    Ok(())
}

/// Its sidecar lives: it says itself that no write goes through, and it still holds the lease.
async fn wait_sure(cloud: &Cloud, group: &Group<'_>) -> anyhow::Result<()> {
    until("zone-a to be without its Ceph", SURE, async || {
        let status = cloud.orchestrators().status().await;
        let status = status.map_err(|e| e.to_string())?;
        let a = status.zones.iter().find(|z| z.zone.as_str() == "zone-a");
        let a = a.ok_or("zone-a is not in the status")?;
        if matches!(a.diagnosis, Diagnosis::StorageLost { .. }) {
            Ok(())
        } else {
            Err(a.diagnosis.to_string())
        }
    })
    .await?;
    let lease = group.status().await.map_err(Error::msg)?.lease;
    assert!(
        matches!(&lease, LeaseSight::Held(l) if l.zone.as_str() == "zone-a" && l.generation == FIRST),
        "{lease:?}"
    );
    Ok(())
}

/// Zone-b has taken over, and what was written in zone-a is there.
async fn taken_over(
    cloud: &Cloud,
    group: &Group<'_>,
    writer: &Writer<'_>,
    killed_at: Timestamp,
) -> anyhow::Result<PlanDetail> {
    let plan = group.wait_plan(PlanKind::Failover, killed_at).await?;
    group.wait_primary(ZoneB, SECOND).await?;
    let revokes = |s: &Step| matches!(s, Step::RecordPrimary { lease: OldLease::Revoked { from }, .. } if from.as_str() == "zone-a");
    assert!(
        plan.plan.steps.iter().any(|s| revokes(&s.step)),
        "{}",
        plan.plan
    );
    let promoted_at = step_begun(&plan, |s| matches!(s, Step::Promote { .. }))?;
    assert!(writer.last_ack()? < promoted_at, "two writers");
    tracing::info!(
        seconds = verdict::seconds(killed_at, promoted_at),
        "from the Ceph's death to the promotion"
    );
    for v in &group.volumes {
        let found = cloud.read(ZoneB, &v.spec).await?;
        let before = Before {
            generation: FIRST.0,
            killed_at,
            before_snapshot: 0,
        };
        let judged = verdict::after_failover(v.kind, &found, &group.acks(&v.spec)?, before);
        assert_eq!(judged.faults, Vec::<String>::new(), "{}", v.spec);
        tracing::info!(volume.id = %v.spec, lost_s = judged.lost_s, "lost");
        if v.kind == Kind::Instant {
            let lost = judged.lost_s.context("its loss was not measured")?;
            assert!(lost < LOST_INSTANT, "{lost} s lost of {}", v.spec);
        }
    }
    // Its sidecar lives, knows, and takes no order of before.
    until("zone-a's sidecar to know", SURE, async || {
        let lease = group.lease_in(ZoneA).await?;
        if lease == LeaseView::NotHeld {
            Ok(())
        } else {
            Err(format!("{lease:?}"))
        }
    })
    .await?;
    let volume = group.volume(Kind::Instant)?;
    cloud.refused(ZoneA, volume, plainly(), Some(FIRST)).await?;
    Ok(plan)
}

/// The Ceph is back under the same sidecar: its primaries are demoted, made copies again, and the group is protected.
async fn back_again(cloud: &Cloud, group: &Group<'_>, sidecar: Option<u32>) -> anyhow::Result<()> {
    let second = Writer::start(group, ZoneB, SECOND)?;
    second.wait_records(20).await?;
    let returned_at = Timestamp::now();
    start_ceph(cloud)?;
    until("the old primaries to be demoted", SURE, async || {
        let seen = group.volumes_in(ZoneA).await?;
        let roles: Vec<Role> = seen.iter().map(|v| v.role).collect();
        if roles.len() == group.volumes.len() && roles.iter().all(|r| *r == Role::Secondary) {
            Ok(())
        } else {
            Err(format!("{roles:?}"))
        }
    })
    .await?;
    tracing::info!(
        seconds = verdict::seconds(returned_at, Timestamp::now()),
        "from the start of its Ceph to the demotion of all"
    );
    // A copy that is seen to have diverged once a plan is at work is the next plan's.
    let first = group.wait_end(PlanKind::Reprotect, returned_at, REPROTECT);
    let (end, _) = first.await?;
    assert!(
        matches!(end, Some(End::Succeeded | End::Partial)),
        "{end:?}"
    );
    group.wait_protected().await?;
    assert_eq!(
        cloud.sidecar(ZoneA).pid()?,
        sidecar,
        "the sidecar was started anew"
    );
    second.wait_more(10).await?;
    second.stop()?;
    for v in group.specs() {
        let found = cloud.read(ZoneB, v).await?;
        assert_eq!(found.faults, Vec::<String>::new(), "{v}");
        let missing = verdict::missing(&found, &second.acks(v)?, SECOND.0);
        assert!(missing.is_empty(), "{v} lacks {missing:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_60_a_zone_that_lost_its_ceph_alone_is_failed_over_behind_a_fence()
-> anyhow::Result<()> {
    Cloud::play("cephless", async |cloud| {
        let mut policy = config::policy();
        policy.fence_agent = Some(config::GATE.to_owned());
        let group = cloud
            .group_with(&[Kind::Instant, Kind::Periodic], policy)
            .await?;
        let sidecar = cloud.sidecar(ZoneA).pid()?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        // The first mirror snapshot is to hold some of it.
        writer.wait_records(10).await?;
        group.replicate(FIRST).await?;
        writer.wait_more(20).await?;

        let killed_at = Timestamp::now();
        kill_ceph(cloud)?;
        wait_sure(cloud, &group).await?;
        let fence = |s: &Step| matches!(s, Step::Fence { .. });
        group
            .wait_step(PlanKind::Failover, killed_at, fence)
            .await?;
        // Nothing goes on before the agent has said that nobody can write there: its hosts are off.
        writer.kill()?;
        cloud.open_gate()?;
        let plan = taken_over(cloud, &group, &writer, killed_at).await?;
        let proof = plan.plan.proof;
        assert!(matches!(proof, Some(Proof::FenceAgent { .. })), "{proof:?}");
        back_again(cloud, &group, sidecar).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_60_without_a_fence_agent_a_persons_word_is_asked_for_and_takes_the_lease()
-> anyhow::Result<()> {
    Cloud::play("vouched", async |cloud| {
        let group = cloud.group(&[Kind::Instant, Kind::Periodic]).await?;
        let sidecar = cloud.sidecar(ZoneA).pid()?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        // The first mirror snapshot is to hold some of it.
        writer.wait_records(10).await?;
        group.replicate(FIRST).await?;
        writer.wait_more(20).await?;

        let killed_at = Timestamp::now();
        kill_ceph(cloud)?;
        wait_sure(cloud, &group).await?;
        let asked = until("a person to be asked", SURE, async || {
            let status = group.status().await?;
            let decided = status.decision.ok_or("no decision yet")?;
            let asks = matches!(
                decided.decision,
                Decision::AskOperator {
                    why: Ask::LeaseOfALostCeph { .. }
                }
            );
            if asks {
                Ok(decided.text)
            } else {
                Err(decided.text)
            }
        })
        .await?;
        assert!(asked.contains("--vouch-cannot-write"), "{asked}");
        assert_eq!(group.plans().await.map_err(Error::msg)?, []);
        writer.kill()?;
        let word = ApproveRequest {
            what: Approved::Failover {
                vouch: Vouch::CannotWrite,
                loss: LossAccepted::WithinLimit,
            },
            by: "the scenario".to_owned(),
            generation: None,
        };
        cloud.orchestrators().approve(&group.name, &word).await?;
        let plan = taken_over(cloud, &group, &writer, killed_at).await?;
        let proof = plan.plan.proof;
        assert!(matches!(proof, Some(Proof::Vouched { .. })), "{proof:?}");
        back_again(cloud, &group, sidecar).await
    })
    .await
}
