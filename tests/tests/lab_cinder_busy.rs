//! `cinder failover-host` while something is at work on one of the volumes: that one ends with its reason, and the others go on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::volume::Role;
use rekindle_lab::Site;
use rekindle_tests::scenario::{Cloud, Look, expect, until};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_a_retype_in_flight_keeps_its_own_volume_and_no_other_from_a_failover()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("busy", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let kept = zone.replicated_type("kept", &[("rekindle:on_delete", "keep")])?;
        let made = [
            zone.ask_for(&["--size", "1", "--type", &instant])?,
            zone.ask_for(&["--size", "1", "--type", &instant])?,
        ];
        for id in &made {
            zone.wait(id, &[("status", "available")]).await?;
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        let [free, busy] = &made;

        // A client hangs with the image's lock. Until Ceph calls it dead the sidecar's action on that image does not end: a minute for
        // those who take a lock now, where the lab's 10 s may be over before the failover begins.
        let dead_after = |seconds: &str| {
            let set = ["tell", "osd.0", "config", "set", "osd_client_watch_timeout"];
            cloud
                .lab
                .ceph(Site::ZoneA, &[&set[..], &[seconds]].concat())
        };
        dead_after("60")?;
        let holder = cloud.hold(&zone, busy).await?;
        dead_after("10")?;
        holder.hang()?;
        zone.admin(&["volume", "set", "--type", &kept, busy])?;
        let spec = zone.image(busy)?;
        let sidecar = cloud.sidecar_of(Site::ZoneA);
        until("the retype in flight", SOON, async || -> Look<()> {
            let report = sidecar.volume(&spec).await.map_err(|e| e.to_string())?;
            let in_flight = report.in_flight.as_deref();
            in_flight
                .is_some_and(|a| a.starts_with("replicate"))
                .then_some(())
                .ok_or_else(|| format!("{in_flight:?}"))
        })
        .await?;

        let service = zone.failover_host(Some("zone-b")).await?;
        expect(&service, "failed-over", "zone-b");
        // Cinder's manager writes the service's word first, and its volumes' behind it: theirs are waited for.
        zone.says(free, "available", "failed-over").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneB, &zone, free).await,
            Ok(Role::Primary)
        );
        let left = [("replication_status", "failover-error")];
        zone.wait(busy, &left).await?;
        let told = zone.messages(busy)?;
        assert!(
            told.contains("could not be demoted in zone-a") && told.contains("replicate"),
            "{told}"
        );
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, busy).await,
            Ok(Role::Primary)
        );

        // It ends; then the next call takes that one too, and all go home.
        drop(holder);
        until("nothing in flight", SOON * 2, async || -> Look<()> {
            let report = sidecar.volume(&spec).await.map_err(|e| e.to_string())?;
            report.in_flight.map_or(Ok(()), Err)
        })
        .await?;
        zone.follows_and_all_go_home(busy, &made).await?;
        Ok(())
    })
    .await
}
