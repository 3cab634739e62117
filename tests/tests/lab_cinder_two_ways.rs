//! Two zones that are each other's second one: `failover-host` of a Cinder with records of the other zone's own volumes, for real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::volume::Role;
use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, expect, until};
use serde_json::Value;
use std::time::Duration;

/// What a slow machine may take for Ceph to make a copy, and for both Cinders to follow.
const SOON: Duration = Duration::from_secs(180);

/// The catalogue's record in that zone of a volume that the other zone's Cinder made, once it is so.
async fn record(
    zone: &CinderZone<'_>,
    of: &str,
    what: &str,
    so: impl Fn(&Value) -> bool,
) -> anyhow::Result<String> {
    let image = format!("volume-{of}");
    until(
        &format!("a record of {of} in {}: {what}", zone.site),
        SOON,
        async || -> Look<String> {
            let all = zone.list().map_err(|e| format!("{e:#}"))?;
            let mut its = all
                .iter()
                .filter(|v| v["properties"]["rekindle:image"] == image.as_str());
            let found = its.next().ok_or("there is none")?;
            if so(found) {
                Ok(found["id"].as_str().unwrap_or_default().to_owned())
            } else {
                Err(found.to_string())
            }
        },
    )
    .await
}

fn is_there(record: &Value) -> bool {
    record["status"] == "available"
        && record["properties"]["rekindle:status"] == "active - secondary"
}

/// zone-b's, and a copy in zone-a.
async fn is_zone_bs(cloud: &Cloud, b: &CinderZone<'_>, id: &str) {
    assert_eq!(cloud.role_of(Site::ZoneB, b, id).await, Ok(Role::Primary));
    assert_eq!(cloud.role_of(Site::ZoneA, b, id).await, Ok(Role::Secondary));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_host_leaves_the_other_zones_own_volumes_where_they_are() -> anyhow::Result<()> {
    Cloud::play_with_catalogue("two-ways", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let instant = a.replicated_type("instant", &[])?;
        b.replicated_type("instant", &[])?;
        let mine = a.volume(&instant).await?;
        cloud.wait_copy(Site::ZoneB, &a, &mine).await?;
        let (theirs, other) = (b.volume(&instant).await?, b.volume(&instant).await?);
        let first = record(&a, &theirs, "a copy", is_there).await?;
        let of_other = record(&a, &other, "a copy", is_there).await?;
        record(&b, &mine, "a copy", is_there).await?;
        let spec = b.image(&theirs)?.to_string();
        cloud.scribble(Site::ZoneB, &spec, "64K")?;
        let held = cloud.sum(Site::ZoneB, &spec)?;

        // At home they are no reason to go home.
        expect(&a.failover_host(Some("default")).await?, "enabled", "");
        for id in [&theirs, &other] {
            is_zone_bs(cloud, &b, id).await;
        }

        expect(
            &a.failover_host(Some("zone-b")).await?,
            "failed-over",
            "zone-b",
        );
        a.says(&mine, "available", "failed-over").await?;
        for id in [&first, &of_other] {
            a.says(id, "available", "enabled").await?;
        }

        // A copy's record, as before: it may be deleted at any time, and nobody writes by it.
        a.admin(&["volume", "delete", &first])?;
        until("the record goes", SOON, async || -> Look<()> {
            match a.show(&first) {
                Ok(shown) => Err(shown.to_string()),
                Err(_) => Ok(()),
            }
        })
        .await?;
        is_zone_bs(cloud, &b, &theirs).await;
        assert_eq!(cloud.sum(Site::ZoneB, &spec)?, held, "other bytes");
        // zone-b's Cinder has the say of it all the time.
        b.admin(&["volume", "set", "--name", "still-ours", &other])?;
        record(&a, &other, "renamed", |r| r["name"] == "still-ours").await?;
        let refused = a.attach(&of_other);
        assert!(refused.is_err(), "a second writer: {refused:?}");

        expect(&a.fail_back().await?, "enabled", "");
        a.says(&mine, "available", "enabled").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneA, &a, &mine).await,
            Ok(Role::Primary)
        );
        for id in [&theirs, &other] {
            is_zone_bs(cloud, &b, id).await;
            b.wait(id, &[("status", "available")]).await?;
        }
        assert_eq!(cloud.sum(Site::ZoneB, &spec)?, held, "other bytes");
        cloud.scribble(Site::ZoneB, &spec, "64K")?;
        // Cinder takes nothing in for a service that is disabled, and a failover disables it. Now it does.
        record(&a, &theirs, "made again", |r| r["id"] != first.as_str()).await?;
        Ok(())
    })
    .await
}
