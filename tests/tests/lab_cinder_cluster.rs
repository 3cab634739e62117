//! `cinder failover-host` of a cluster: two cinder-volumes of one backend, active/active, each with Rekindle's driver.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::volume::Role;
use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, Of, Service, until};
use serde_json::Value;
use std::time::Duration;

/// What a slow machine may take for Ceph to make a copy, and for the other Cinder to follow.
const SOON: Duration = Duration::from_secs(180);
const BOTH: [Of; 2] = [Of::First, Of::Second];

/// What a server is given is reached in that zone's Ceph.
fn served_from(cloud: &Cloud, site: Site, zone: &CinderZone<'_>, id: &str) -> anyhow::Result<()> {
    let mon = cloud.lab.zone(site)?.mon_addrs[0].ip().to_string();
    let attached = zone.attach(id)?;
    assert!(attached.contains(&mon), "{site}, {mon}: {attached}");
    Ok(())
}

async fn all_primary(cloud: &Cloud, site: Site, zone: &CinderZone<'_>, ids: &[&String]) {
    for id in ids {
        let role = cloud.role_of(site, zone, id).await;
        assert_eq!(role, Ok(Role::Primary), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_46_a_cluster_fails_over_and_comes_home_with_every_member_in_it()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("cluster", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        // Made before there is a cluster, and taken in; made by the cluster.
        let one = zone.volume(&instant).await?;
        let cluster = cloud.cluster(&zone, "both")?;
        let two = zone.volume(&instant).await?;
        let all = [&one, &two];
        for id in all {
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        cluster.wait_words(&BOTH, "enabled", "").await?;

        // Nowhere: no member goes.
        cluster.call("failover_host", Some("zone-z"))?;
        cluster.wait_words(&BOTH, "enabled", "").await?;
        all_primary(cloud, Site::ZoneA, &zone, &all).await;

        // Frozen and thawed, as one: no member stays disabled, whichever took which call.
        for _ in BOTH {
            cluster.call("freeze", None)?;
            cluster
                .wait(&BOTH, "all rows to be frozen", |row| row.frozen == "True")
                .await?;
            let frozen = cloud.sidecar_of(Site::ZoneA).zone().await?.frozen;
            assert!(frozen.is_some_and(|f| f.reason.contains("cinder freeze-host")));
            cluster.call("thaw", None)?;
            let free = |row: &Service| row.frozen == "False" && row.status == "enabled";
            cluster.wait(&BOTH, "all rows to be thawed", free).await?;
            assert!(cloud.sidecar_of(Site::ZoneA).zone().await?.frozen.is_none());
        }

        // By its own name. One member moves the volumes, and both serve the other zone's: the first is not asked again.
        cluster.call("failover_host", Some("zone-b"))?;
        cluster.wait_words(&BOTH, "failed-over", "zone-b").await?;
        for id in all {
            zone.says(id, "available", "failed-over").await?;
            let left = cloud.role_of(Site::ZoneA, &zone, id).await;
            assert_eq!(left, Ok(Role::Secondary));
        }
        all_primary(cloud, Site::ZoneB, &zone, &all).await;
        cluster.kill(Of::First)?;
        served_from(cloud, Site::ZoneB, &zone, &one)?;
        cluster.start(Of::First)?;
        cluster.wait_words(&BOTH, "failed-over", "zone-b").await?;

        // Home, by the name of one member. Cinder completes it with an empty backend.
        cluster.fail_back(Of::First).await?;
        cluster.wait_words(&BOTH, "enabled", "").await?;
        for id in all {
            zone.says(id, "available", "enabled").await?;
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        all_primary(cloud, Site::ZoneA, &zone, &all).await;
        cluster.kill(Of::Second)?;
        served_from(cloud, Site::ZoneA, &zone, &two)?;

        // One member is dead, and its cluster goes without it. It comes back where the others are, and says nothing else.
        zone.cinder(&["failover-host", &zone.host(), "--backend_id", "zone-b"])?;
        cluster
            .wait_words(&[Of::First], "failed-over", "zone-b")
            .await?;
        assert_ne!(cluster.member(Of::Second)?.active, "zone-b");
        cluster.start(Of::Second)?;
        cluster.wait_words(&BOTH, "failed-over", "zone-b").await?;
        cluster.kill(Of::First)?;
        served_from(cloud, Site::ZoneB, &zone, &one)?;
        cluster.start(Of::First)?;
        cluster.fail_back(Of::Second).await?;
        cluster.wait_words(&BOTH, "enabled", "").await?;
        all_primary(cloud, Site::ZoneA, &zone, &all).await;

        // And what is made now is replicated from the start.
        let three = zone.volume(&instant).await?;
        assert_eq!(zone.words(&three)?.1, "enabled");
        Ok(())
    })
    .await
}

/// The records that a zone's Cinder has of the volume whose image is named after that id.
fn records(zone: &CinderZone<'_>, uuid: &str) -> anyhow::Result<Vec<Value>> {
    let image = format!("volume-{uuid}");
    let mut all = zone.list()?;
    all.retain(|v| v["properties"]["rekindle:image"] == image.as_str());
    Ok(all)
}

/// Waits until there is one record, with that name and a copy's status.
async fn follows(zone: &CinderZone<'_>, uuid: &str, name: &str) -> anyhow::Result<()> {
    let what = format!("one record of {uuid}, named {name}");
    until(&what, SOON, async || -> Look<()> {
        let all = records(zone, uuid).map_err(|e| format!("{e:#}"))?;
        let copy = "active - secondary";
        let so = |one: &Value| one["name"] == name && one["properties"]["rekindle:status"] == copy;
        let well = matches!(&all[..], [one] if so(one));
        well.then_some(()).ok_or_else(|| format!("{all:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clusters_catalogue_is_kept_whichever_member_is_there() -> anyhow::Result<()> {
    Cloud::play_with_catalogue_of_cluster("clustered", "both", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let cluster = cloud.cluster(&b, "both")?;
        let instant = a.replicated_type("instant", &[])?;
        assert_eq!(b.replicated_type("instant", &[])?, instant);
        let mut ours = Vec::new();
        for dead in BOTH {
            cluster.kill(dead)?;
            let id = a.ask_for_named("before", &["--size", "1", "--type", &instant])?;
            follows(&b, &id, "before").await?;
            // It is found again, and is not made twice.
            a.admin(&["volume", "set", "--name", "after", &id])?;
            follows(&b, &id, "after").await?;
            cluster.start(dead)?;
            ours.push(format!("volume-{id}"));
        }
        // A lab that is kept has other scenarios' records.
        let mut found = cloud.orchestrators().catalogue().await?.findings;
        found.retain(|f| ours.iter().any(|name| name == f.finding.image.image()));
        assert!(found.is_empty(), "{found:?}");
        Ok(())
    })
    .await
}
