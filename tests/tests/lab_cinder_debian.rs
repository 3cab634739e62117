//! The Cinder of Debian's own packages with Rekindle's driver in it: `make test-debian`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use anyhow::Context;
use rekindle_common::volume::Role;
use rekindle_lab::Site;
use rekindle_tests::scenario::{Cloud, Look, expect, until};
use std::{process::Command, time::Duration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a lab with Debian's Cinder: make test-debian"]
async fn debians_cinder_makes_moves_and_deletes_a_replicated_volume() -> anyhow::Result<()> {
    Cloud::play_with_cinder("debian", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let bin = zone
            .clients
            .cinder
            .parent()
            .context("a program lies in a folder")?;
        let version = Command::new(bin.join("cinder-manage"))
            .arg("--version")
            .output()?;
        let version = String::from_utf8(version.stdout)?;
        assert!(version.starts_with("21."), "{version}");

        let instant = zone.replicated_type("instant", &[])?;
        let id = zone.volume(&instant).await?;
        assert_eq!(zone.words(&id)?.1, "enabled");
        cloud.wait_copy(Site::ZoneB, &zone, &id).await?;
        expect(&zone.failover_host(Some("zone-z")).await?, "enabled", "");
        let away = zone.failover_host(Some("zone-b")).await?;
        expect(&away, "failed-over", "zone-b");
        zone.says(&id, "available", "failed-over").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneB, &zone, &id).await,
            Ok(Role::Primary)
        );
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, &id).await,
            Ok(Role::Secondary)
        );
        let mon = cloud.lab.zone(Site::ZoneB)?.mon_addrs[0].ip().to_string();
        let attached = zone.attach(&id)?;
        assert!(attached.contains(&mon), "{attached}");
        expect(&zone.fail_back().await?, "enabled", "");
        zone.says(&id, "available", "enabled").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, &id).await,
            Ok(Role::Primary)
        );

        zone.admin(&["volume", "delete", &id])?;
        for site in Site::ZONES {
            let what = format!("{id} to be gone from {site}");
            until(&what, Duration::from_secs(90), async || -> Look<()> {
                let there = cloud.lab.rbd(site, &["ls", "volumes"]);
                let there = there.map_err(|e| e.to_string())?;
                (!there.contains(&id)).then_some(()).ok_or(there)
            })
            .await?;
        }
        Ok(())
    })
    .await
}
