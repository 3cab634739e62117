//! What must not be done is refused by name and in time, and what must not happen does not.

use anyhow::{Context, Error, ensure};
use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{
    ErrorCode, Generation,
    action::VolumeAction,
    lease::LeaseView,
    mode::ReplicationMode,
    status::VolumeStatus,
    volume::{Known, Role},
};
use rekindle_core::{
    decision::{Ask, Decision},
    plan::PlanKind,
    snapshot::Approved,
};
use rekindle_lab::Site::{Witness, ZoneA, ZoneB};
use rekindle_orchestrator::wire::ApproveRequest;
use rekindle_tests::scenario::{
    Cloud, Writer, by_force, config, decision, never, plainly, resync, until,
};
use std::time::{Duration, Instant};

const FIRST: Generation = Generation(1);
const STALE: Option<Generation> = Some(Generation(0));
const NOW: Option<Generation> = Some(FIRST);
/// Longer than lease, margin and hold-off together.
const LONG: Duration = Duration::from_secs(20);
/// A mirror daemon's death is seen when its watch times out, after 30 s; where it never spoke of a copy, by its silence.
const DAEMON_SEEN_DEAD: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_01_a_cut_between_the_zones_alone_moves_nothing() -> anyhow::Result<()> {
    Cloud::play("linkcut", async |cloud| {
        let group = cloud.group(&[Kind::Instant]).await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        group.replicate(FIRST).await?;

        cloud.lab.partition(ZoneA, ZoneB)?;
        never("failover", LONG, async || {
            if let Some((at, line)) = writer.refusals().first() {
                return Some(format!("{at}: {line}"));
            }
            match group.lease_in(ZoneA).await {
                Ok(LeaseView::Held {
                    generation: FIRST, ..
                }) => {}
                other => return Some(format!("zone-a's lease is {other:?}")),
            }
            let plans = group.plans().await.unwrap_or_default();
            (!plans.is_empty()).then(|| format!("{plans:?}"))
        })
        .await?;
        writer.wait_more(5).await?;
        cloud.lab.heal_partition(ZoneA, ZoneB)?;
        group.wait_primary(ZoneA, FIRST).await?;
        group.wait_protected().await?;
        writer.stop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_would_do_harm_are_refused_by_name() -> anyhow::Result<()> {
    Cloud::play("orders", async |cloud| {
        let group = cloud.group(&[Kind::Instant]).await?;
        group.replicate(FIRST).await?;
        let volume = group.volume(Kind::Instant)?;

        // An orchestrator that wrongly believes to lead.
        let e = cloud
            .refused(ZoneA, volume, VolumeAction::Demote { token: None }, STALE)
            .await?;
        assert_eq!(e.code, ErrorCode::StaleGeneration, "{e}");
        let e = cloud
            .refused(ZoneA, volume, VolumeAction::Demote { token: None }, None)
            .await?;
        assert_eq!(e.code, ErrorCode::GenerationRequired, "{e}");
        // By force or not: without the lease nobody writes.
        for action in [plainly(), by_force()] {
            let e = cloud.refused(ZoneB, volume, action, NOW).await?;
            assert_eq!(e.code, ErrorCode::LeaseNotHeld, "{e}");
        }
        let e = cloud
            .refused(ZoneA, volume, resync("primary")?, NOW)
            .await?;
        assert_eq!(e.code, ErrorCode::IsPrimary, "{e}");
        let report = group.report(ZoneA, volume).await.map_err(Error::msg)?;
        assert_eq!(report.status, VolumeStatus::ActivePrimary);

        // A volume that only its own state protects.
        let alone = cloud.lone_volume(ReplicationMode::Instant).await?;
        let e = cloud.refused(ZoneB, &alone, plainly(), None).await?;
        assert_eq!(e.code, ErrorCode::ForceRequired, "{e}");
        let e = cloud
            .refused(ZoneB, &alone, VolumeAction::Unreplicate, None)
            .await?;
        assert_eq!(e.code, ErrorCode::NotPrimary, "{e}");

        // Hard case 18: with no primary anywhere, a resync would discard the only copy.
        cloud
            .order(ZoneA, &alone, VolumeAction::Demote { token: None }, None)
            .await?;
        let copy = async || cloud.sidecar_of(ZoneB).volume(&alone).await;
        until(
            "the demotion in zone-b",
            Duration::from_secs(60),
            async || {
                let seen = copy().await.map_err(|e| e.to_string())?;
                let there = seen.status == VolumeStatus::PendingPromotion;
                there.then_some(()).ok_or_else(|| seen.status.to_string())
            },
        )
        .await?;
        for site in [ZoneA, ZoneB] {
            let e = cloud
                .refused(site, &alone, resync("orphans")?, None)
                .await?;
            assert_eq!(e.code, ErrorCode::PeerNotPrimary, "{site}: {e}");
        }
        // And nothing was lost by asking: the copy takes over plainly.
        cloud.order(ZoneB, &alone, plainly(), None).await?;
        assert_eq!(copy().await?.role, Role::Primary);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_certificate_is_refused_everywhere() -> anyhow::Result<()> {
    Cloud::play("stranger", async |cloud| {
        let own = config::files(&cloud.lab.operator_certs());
        let strange = config::files(&cloud.lab.stranger_certs());
        // It trusts the server, so that it is the server that refuses.
        let tls = rekindle_common::tls::TlsFiles {
            ca: own.ca.clone(),
            ..strange
        };
        for site in [ZoneA, ZoneB] {
            cloud.sidecar_over_tls(site, &own)?.zone().await?;
            let e = cloud.sidecar_over_tls(site, &tls)?.zone().await;
            let e = e.err().context("a sidecar answered a stranger")?;
            ensure!(e.code == ErrorCode::SidecarUnreachable, "{e}");
        }
        for site in [ZoneA, ZoneB, Witness] {
            cloud.orchestrator_over_tls(site, &own)?.leader().await?;
            let e = cloud.orchestrator_over_tls(site, &tls)?.leader().await;
            e.err().context("an orchestrator answered a stranger")?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_29_a_dead_mirror_daemon_is_said() -> anyhow::Result<()> {
    Cloud::play("mirror", async |cloud| {
        let group = cloud.group(&[Kind::Instant, Kind::Once]).await?;
        group.replicate(FIRST).await?;
        cloud.rbd_mirror(ZoneB).kill()?;
        for v in group.specs() {
            group
                .wait_status(ZoneB, v, VolumeStatus::ErrorMirrorDown, DAEMON_SEEN_DEAD)
                .await?;
        }
        let zone = cloud.sidecar_of(ZoneB).zone().await?;
        assert_eq!(zone.mirror.daemon_up, Known::No);
        // It is the copy that is ill: the primary says so, and nothing is done.
        // Zone-a's cluster sees it by a watch of its own, some seconds later.
        until(
            "the primary to say that its copies do not move",
            DAEMON_SEEN_DEAD,
            async || {
                let volumes = group.volumes_in(ZoneA).await?;
                let silent = volumes.iter().find(|v| v.concerns.is_empty());
                match silent {
                    Some(v) => Err(format!("{} has no concern", v.volume)),
                    None => Ok(()),
                }
            },
        )
        .await?;
        for v in group.volumes_in(ZoneA).await.map_err(Error::msg)? {
            assert_eq!(v.status, VolumeStatus::ActivePrimary);
        }
        assert_eq!(group.plans().await.map_err(Error::msg)?, []);
        cloud.rbd_mirror(ZoneB).start()?;
        group.wait_protected().await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_17_a_split_brain_made_by_hand_is_named_and_not_resynced_by_itself()
-> anyhow::Result<()> {
    Cloud::play("split", async |cloud| {
        let group = cloud.group(&[Kind::Instant]).await?;
        let writer = Writer::start(&group, ZoneA, FIRST)?;
        group.replicate(FIRST).await?;
        let volume = group.volume(Kind::Instant)?;
        let pool_and_image = volume.to_string();
        cloud.lab.rbd(
            ZoneB,
            &["mirror", "image", "promote", "--force", &pool_and_image],
        )?;

        // Zone-b is not recorded: its sidecar takes the right away again, and nothing else.
        let status = VolumeStatus::ErrorSplitBrain;
        group
            .wait_status(ZoneB, volume, status, Duration::from_secs(60))
            .await?;
        let asked = until(
            "a person to be asked",
            Duration::from_secs(30),
            async || {
                let status = group.status().await?;
                match status.decision.as_ref().map(|d| &d.decision) {
                    Some(Decision::AskOperator {
                        why: Ask::SplitBrain { volumes },
                    }) => Ok(volumes.clone()),
                    _ => Err(decision(&status)),
                }
            },
        )
        .await?;
        assert_eq!(asked, std::slice::from_ref(volume));
        never("resync", Duration::from_secs(10), async || {
            let plans = group.plans().await.unwrap_or_default();
            let report = group.report(ZoneB, volume).await.ok()?;
            // The daemon's words change once more after the demotion; what follows again was made anew.
            let follows = matches!(
                report.status,
                VolumeStatus::PendingResync
                    | VolumeStatus::PendingFirstSync
                    | VolumeStatus::ActiveSecondary
                    | VolumeStatus::ActiveUpdating
            );
            let resynced = !plans.is_empty() || follows;
            resynced.then(|| format!("{plans:?}, {}", report.status))
        })
        .await?;
        writer.wait_more(5).await?;

        // A person has looked, and names the loser.
        let yes = ApproveRequest {
            what: Approved::Reprotect,
            by: "a scenario".to_owned(),
            generation: NOW,
        };
        let asked_at = rekindle_common::Timestamp::now();
        cloud.orchestrators().approve(&group.name, &yes).await?;
        group.wait_plan(PlanKind::Reprotect, asked_at).await?;
        group.wait_protected().await?;
        writer.wait_more(5).await?;
        writer.stop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_case_22_a_cluster_that_does_not_answer_is_said_in_time() -> anyhow::Result<()> {
    Cloud::play("silent", async |cloud| {
        let group = cloud.group(&[Kind::Instant]).await?;
        group.replicate(FIRST).await?;
        let volume = group.volume(Kind::Instant)?;
        // A sidecar that starts while its cluster is silent: the copy's, so that nobody loses a right.
        cloud.sidecar(ZoneB).kill()?;
        cloud.member(ZoneB, "mon").pause()?;
        cloud.sidecar(ZoneB).start()?;
        until(
            "the sidecar to serve",
            Duration::from_secs(20),
            async || {
                let answer = cloud.sidecar_of(ZoneB).healthy().await;
                answer.map_err(|e| e.to_string())
            },
        )
        .await?;
        let begun = Instant::now();
        let shown = cloud.sidecar_of(ZoneB).volume(volume).await?;
        let took = begun.elapsed();
        let seen = (shown.status, shown.role, shown.complete_copy);
        let unknown = (VolumeStatus::ErrorUnknown, Role::Unknown, Known::Unknown);
        assert_eq!(seen, unknown, "{shown:?}");
        assert!(took < Duration::from_secs(12), "said after {took:?}");
        // It says that it does not know, and does not guess.
        let zone = cloud.sidecar_of(ZoneB).zone().await?;
        assert_ne!(zone.ceph.writable, Known::Yes);
        assert_eq!(zone.mirror.daemon_up, Known::Unknown);
        // Orders are refused; the other zone is held up by nothing.
        let e = cloud.refused(ZoneB, volume, plainly(), NOW).await?;
        assert!(e.retryable(), "{e}");
        let report = group.report(ZoneA, volume).await.map_err(Error::msg)?;
        assert_eq!(report.status, VolumeStatus::ActivePrimary);
        assert_eq!(group.plans().await.map_err(Error::msg)?, []);

        cloud.member(ZoneB, "mon").resume()?;
        group.wait_protected().await.map(drop)
    })
    .await
}
