//! Cinder's replication hooks, for real: cinder-volume with Rekindle's driver, two Cephs, and the clients that people use.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{
    ErrorCode,
    action::{Order, VolumeAction},
    volume::Role,
};
use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, expect, until};
use std::time::Duration;

/// What Ceph may take to make a copy.
const COPY: Duration = Duration::from_secs(150);

async fn role(cloud: &Cloud, site: Site, zone: &CinderZone<'_>, id: &str) -> Role {
    let spec = zone.image(id).unwrap();
    cloud.sidecar_of(site).volume(&spec).await.unwrap().role
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_says_how_a_volume_is_replicated_and_a_senseless_one_is_refused()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("types", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[("rekindle:mode", "instant")])?;
        let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
        let periodic = zone.replicated_type("periodic", &often)?;
        let senseless = [("rekindle:mode", "periodic"), ("rekindle:interval", "0s")];
        let bad = zone.replicated_type("senseless", &senseless)?;
        let plain = zone.volume_type("plain", &[])?;

        let refused = zone.ask_for(&["--size", "1", "--type", &bad])?;
        let one = zone.volume(&instant).await?;
        let other = zone.volume(&plain).await?;
        assert_eq!(zone.show(&one)?["replication_status"], "enabled");
        assert_eq!(zone.show(&other)?["replication_status"], "disabled");
        cloud.wait_copy(Site::ZoneB, &zone, &one).await?;
        zone.wait(&refused, &[("status", "error")]).await?;
        let told = zone.messages(&refused)?;
        assert!(
            told.contains("rekindle:interval") && told.contains("outside the bounds"),
            "{told}"
        );
        assert!(
            !cloud
                .lab
                .rbd(Site::ZoneA, &["ls", "volumes"])?
                .contains(&refused),
            "no image was made"
        );

        // Retype in place: another mode, another schedule, none, and back.
        zone.admin(&["volume", "set", "--type", &periodic, &one])?;
        zone.wait(&one, &[("type", &periodic), ("status", "available")])
            .await?;
        cloud.wait_copy(Site::ZoneB, &zone, &one).await?;
        let report = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&one)?)
            .await?;
        assert_eq!(report.mode.map(|m| m.name()), Some("periodic"));
        zone.admin(&["volume", "set", "--type", &plain, &one])?;
        zone.wait(
            &one,
            &[("type", &plain), ("replication_status", "disabled")],
        )
        .await?;
        assert_eq!(
            role(cloud, Site::ZoneA, &zone, &one).await,
            Role::NotMirrored
        );
        zone.admin(&["volume", "set", "--type", &instant, &one])?;
        zone.wait(
            &one,
            &[("type", &instant), ("replication_status", "enabled")],
        )
        .await?;

        // What is made of it: a snapshot, a volume of that, a clone; each replicated, and each grows.
        zone.admin(&[
            "volume",
            "snapshot",
            "create",
            "--volume",
            &one,
            "snap-of-a-scenario",
        ])?;
        let of_snapshot =
            zone.ask_for(&["--snapshot", "snap-of-a-scenario", "--type", &instant])?;
        zone.says(&of_snapshot, "available", "enabled").await?;
        let clone = zone.ask_for(&["--source", &one, "--type", &instant])?;
        zone.says(&clone, "available", "enabled").await?;
        for id in [&of_snapshot, &clone] {
            assert_eq!(role(cloud, Site::ZoneA, &zone, id).await, Role::Primary);
        }
        zone.admin(&["volume", "set", "--size", "2", &clone])?;
        zone.wait(&clone, &[("status", "available")]).await?;
        let grown = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&clone)?)
            .await?;
        assert_eq!(grown.size, Some(2 << 30));
        zone.admin(&["volume", "snapshot", "delete", "snap-of-a-scenario"])?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_host_moves_what_is_replicated_leaves_the_rest_and_comes_back()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("move", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let volumes = [zone.volume(&instant).await?, zone.volume(&instant).await?];
        for id in &volumes {
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        // Nonsense first: each leaves the service as it was.
        expect(&zone.failover_host(Some("zone-z")).await?, "enabled", "");
        expect(&zone.failover_host(Some("default")).await?, "enabled", "");
        // Cinder has no user message for a service: its log is where an administrator reads the reason.
        let log = cloud.lab.log_path(Site::ZoneA, "cinder-volume");
        let says = |word: &str| -> anyhow::Result<bool> {
            Ok(std::fs::read_to_string(&log)?.contains(word))
        };
        assert!(says("zone-z")?, "it names what it does not know");

        // The sidecar is away: the call ends within seconds, nothing was changed, and works when it is back.
        cloud.sidecar(Site::ZoneA).kill()?;
        expect(&zone.failover_host(Some("zone-b")).await?, "enabled", "");
        cloud.sidecar(Site::ZoneA).start()?;
        cloud.wait_ready().await?;

        // Frozen: nothing is changed, by Cinder nor by the sidecar (past Cinder's own freeze, which only bars new volumes).
        zone.cinder(&["freeze-host", "zone-a@rekindle"])?;
        let frozen = cloud.sidecar_of(Site::ZoneA).zone().await?.frozen;
        assert!(frozen.is_some_and(|f| f.reason.contains("cinder freeze-host")));
        let order = Order {
            action: VolumeAction::Unreplicate,
            generation: None,
        };
        let image = zone.image(&volumes[0])?;
        let sidecar = cloud.sidecar_of(Site::ZoneA);
        let refused = sidecar.act(&image, &order).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Frozen, "{refused}");
        // A volume can still be failed over.
        expect(
            &zone.failover_host(Some("zone-b")).await?,
            "failed-over",
            "zone-b",
        );
        for id in &volumes {
            zone.says(id, "available", "failed-over").await?;
            assert_eq!(role(cloud, Site::ZoneA, &zone, id).await, Role::Secondary);
            assert_eq!(role(cloud, Site::ZoneB, &zone, id).await, Role::Primary);
        }
        // Frozen before it left: the way home is shut, and nothing was demoted for finding that out. The thaw comes when the
        // backend is in the other zone, and opens it.
        let service = zone.failover_host(Some("default")).await?;
        expect(&service, "failed-over", "zone-b");
        for id in &volumes {
            assert_eq!(role(cloud, Site::ZoneB, &zone, id).await, Role::Primary);
        }
        zone.cinder(&["thaw-host", "zone-a@rekindle"])?;
        assert!(cloud.sidecar_of(Site::ZoneA).zone().await?.frozen.is_none());
        expect(&zone.fail_back().await?, "enabled", "");
        for id in &volumes {
            zone.says(id, "available", "enabled").await?;
            assert_eq!(role(cloud, Site::ZoneA, &zone, id).await, Role::Primary);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_45_failover_host_works_with_a_dead_ceph_and_a_cinder_volume_that_was_restarted_beside_it()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("dead", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
        let periodic = zone.replicated_type("periodic", &often)?;
        let volumes = [zone.volume(&instant).await?, zone.volume(&periodic).await?];
        for id in &volumes {
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        for part in ["osd", "mon", "mgr", "rbd-mirror"] {
            cloud.member(Site::ZoneA, part).kill()?;
        }
        cloud.lab.cinder(Site::ZoneA)?.restart_volume()?;
        let service = zone.failover_host_to("zone-b", "failed-over").await?;
        expect(&service, "failed-over", "zone-b");
        for id in &volumes {
            zone.says(id, "available", "failed-over").await?;
            assert_eq!(role(cloud, Site::ZoneB, &zone, id).await, Role::Primary);
        }
        // What Nova gets from now on is the other cluster's.
        let attachment = zone.cinder(&[
            "--os-volume-api-version",
            "3.27",
            "attachment-create",
            "--connect",
            "True",
            "--initiator",
            "iqn.test",
            "--ip",
            "192.0.2.1",
            "--host",
            "test",
            &volumes[0],
            "00000000-0000-4000-8000-000000000001",
        ])?;
        let there = cloud.lab.zone(Site::ZoneB)?;
        let says = |key: &str, value: &str| {
            let mut cells = attachment.lines().map(|l| l.split('|').map(str::trim));
            cells.any(|mut row| row.any(|c| c == key) && row.any(|c| c.contains(value)))
        };
        assert!(
            says("hosts", &there.mon_addrs[0].ip().to_string()),
            "{attachment}"
        );
        assert!(says("auth_username", "cinder"), "{attachment}");
        assert!(says("secret_uuid", &there.fsid), "{attachment}");

        // It is back: its stale primaries are demoted, and the way home opens once they are made anew.
        for part in ["mon", "osd", "mgr", "rbd-mirror"] {
            cloud.member(Site::ZoneA, part).start()?;
        }
        for id in &volumes {
            until("a stale primary is demoted", COPY, async || -> Look<()> {
                let is = role(cloud, Site::ZoneA, &zone, id).await;
                if is == Role::Secondary {
                    Ok(())
                } else {
                    Err(format!("{is:?}"))
                }
            })
            .await?;
        }
        expect(&zone.fail_back().await?, "enabled", "");
        for id in &volumes {
            assert_eq!(role(cloud, Site::ZoneA, &zone, id).await, Role::Primary);
        }
        Ok(())
    })
    .await
}
