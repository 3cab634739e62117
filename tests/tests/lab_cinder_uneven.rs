//! `cinder failover-host` where not everything goes: a sidecar that is killed half-way, an image that a client will not let go of,
//! one whose mirroring was taken off, volumes without replication; and what puts it right.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{ErrorCode, action::VolumeAction, mode::ReplicationMode, volume::Role};
use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, expect, until};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn words(status: &str, replication: &str) -> (String, String) {
    (status.to_owned(), replication.to_owned())
}

/// One failover is begun, and its sidecar killed when the volumes are demoted and none is promoted.
async fn killed_half_way(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    volumes: &[&String],
) -> anyhow::Result<()> {
    // No demotion reaches zone-b while its mirror daemon stands still.
    cloud.rbd_mirror(Site::ZoneB).pause()?;
    zone.cinder(&["failover-host", &zone.host(), "--backend_id", "zone-b"])?;
    for id in volumes {
        cloud
            .wait_role(Site::ZoneA, zone, id, Role::Secondary)
            .await?;
    }
    cloud.sidecar(Site::ZoneA).kill()?;
    // What it had asked zone-b for last has ended.
    let there = cloud.sidecar_of(Site::ZoneB);
    for id in volumes {
        let spec = zone.image(id)?;
        until("nothing in flight in zone-b", SOON, async || -> Look<()> {
            let report = there.volume(&spec).await.map_err(|e| e.to_string())?;
            report.in_flight.map_or(Ok(()), |a| Err(a.to_string()))
        })
        .await?;
        assert_eq!(there.volume(&spec).await?.role, Role::Secondary);
    }
    cloud.rbd_mirror(Site::ZoneB).resume()?;
    cloud.sidecar(Site::ZoneA).start()?;
    cloud.wait_ready().await?;
    // Cinder was told that it is not known how far it got, so it may be called again.
    until("the failover's end", SOON, async || -> Look<()> {
        let service = zone.service().map_err(|e| format!("{e:#}"))?;
        match service.replication.as_str() {
            "enabled" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await?;
    for id in volumes {
        zone.says(id, "available", "enabled").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_20_what_cannot_go_keeps_nothing_else_and_the_next_call_takes_up_where_one_stopped()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("uneven", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let plain = zone.volume_type("plain", &[])?;
        let named = format!("{}-snapshot", cloud.name());
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(zone.ask_for(&["--size", "1", "--type", &instant])?);
        }
        for id in &made {
            zone.wait(id, &[("status", "available")]).await?;
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        let [good, held, broken] = &made[..] else {
            panic!("{made:?}")
        };

        // One that cannot go, one that a client will not let go of.
        let spec = zone.image(broken)?;
        cloud.lab.rbd(
            Site::ZoneA,
            &["mirror", "image", "disable", &spec.to_string()],
        )?;
        until("the copy to go", SOON, async || -> Look<()> {
            match cloud.sidecar_of(Site::ZoneB).volume(&spec).await {
                Ok(report) => Err(report.status.to_string()),
                Err(e) if e.code == ErrorCode::UnknownVolume => Ok(()),
                Err(e) => Err(e.to_string()),
            }
        })
        .await?;
        let holder = cloud.hold(&zone, held).await?;

        // Half-way, and again; with one that has no replication.
        killed_half_way(cloud, &zone, &[good, held]).await?;
        // It was shut out, not waited for: what it writes from now on is refused.
        holder.wait_refused().await?;
        let lone = zone.volume(&plain).await?;
        zone.admin(&["volume", "snapshot", "create", "--volume", &lone, &named])?;
        let service = zone.failover_host(Some("zone-b")).await?;
        expect(&service, "failed-over", "zone-b");
        for id in [good, held] {
            zone.says(id, "available", "failed-over").await?;
            assert_eq!(
                cloud.role_of(Site::ZoneB, &zone, id).await,
                Ok(Role::Primary)
            );
        }
        zone.says(broken, "error", "failover-error").await?;
        let told = zone.messages(broken)?;
        assert!(told.contains("zone-b has no copy of it"), "{told}");
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, broken).await,
            Ok(Role::NotMirrored)
        );

        // What Cinder's manager marked before it asked the driver. Its image is not where the backend serves from, so it is given
        // back on request alone; before the next call, for Cinder keeps the status of the last marking and no other.
        zone.says(&lone, "error", "not-capable").await?;
        let left = zone.repair(&[])?["left"].to_string();
        assert!(
            left.contains(&lone) && left.contains("--away-too"),
            "{left}"
        );
        zone.repair(&["--apply", "--away-too"])?;
        zone.says(&lone, "available", "disabled").await?;
        assert_eq!(
            zone.words(broken)?,
            words("error", "failover-error"),
            "it is where it was"
        );

        // Replicated again, the next call moves that one too, and gives it back what it was.
        let mode = ReplicationMode::Instant;
        let replicate = VolumeAction::Replicate {
            mode,
            group: None,
            leave_group: false,
            anew: false,
            cinder: None,
        };
        cloud.order(Site::ZoneA, &spec, replicate, None).await?;
        cloud.wait_copy(Site::ZoneB, &zone, broken).await?;
        zone.follows_and_all_go_home(broken, &made).await?;

        // Marked again, and put right at home.
        zone.says(&lone, "error", "not-capable").await?;
        let snapshot = [
            "volume", "snapshot", "show", &named, "-f", "value", "-c", "status",
        ];
        assert_eq!(zone.admin(&snapshot)?.trim(), "error");
        let done = zone.repair(&["--apply"])?;
        assert_eq!(zone.words(&lone)?, words("available", "disabled"), "{done}");
        assert_eq!(zone.admin(&snapshot)?.trim(), "available", "{done}");
        zone.admin(&["volume", "snapshot", "delete", &named])?;
        Ok(())
    })
    .await
}
