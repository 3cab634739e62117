//! What else people do with a replicated volume in a real Cinder: roll it back, take in what lay there, let go of it, change its
//! schedule; and what they are told where the sidecar is away, or where cinder-volume died in the middle of a failover.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use anyhow::Context;
use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};
use rekindle_common::{action::VolumeAction, duration::Span, mode::ReplicationMode, volume::Role};
use rekindle_lab::Site;
use rekindle_tests::scenario::{BACKEND, CinderZone, Cloud, Look, expect, until};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What Ceph, and Cinder behind a call, may take.
const SOON: Duration = Duration::from_secs(120);
/// An error that is to come "within seconds", with the client's own time.
const SECONDS: Duration = Duration::from_secs(20);

/// When mirroring's own snapshots of an image were taken, as its cluster says.
fn mirror_snapshots(cloud: &Cloud, image: &str) -> anyhow::Result<Vec<Timestamp>> {
    let args = ["snap", "ls", "--all", "--format", "json", image];
    let all: Value = serde_json::from_str(&cloud.lab.rbd(Site::ZoneA, &args)?)?;
    let of_mirroring = |s: &&Value| s["name"].as_str().is_some_and(|n| n.contains(".mirror."));
    let mut taken = Vec::new();
    for snapshot in all
        .as_array()
        .context("a list")?
        .iter()
        .filter(of_mirroring)
    {
        let text = snapshot["timestamp"].as_str().context("a time")?;
        let at = DateTime::strptime("%a %b %d %H:%M:%S %Y", text)?;
        taken.push(TimeZone::system().to_timestamp(at)?);
    }
    Ok(taken)
}

/// Rolled back, it holds what it held, in both zones.
async fn rolled_back(cloud: &Cloud, zone: &CinderZone<'_>, id: &str) -> anyhow::Result<()> {
    let spec = zone.image(id)?.to_string();
    cloud.scribble(Site::ZoneA, &spec, "64K")?;
    let held = cloud.sum(Site::ZoneA, &spec)?;
    let version = ["--os-volume-api-version", "3.40"];
    let named = format!("{}-before", cloud.name());
    let taken = zone.clients.openstack_json(
        &zone.clients.admin,
        &["volume", "snapshot", "create", "--volume", id, &named],
    )?;
    let snapshot = taken["id"].as_str().context("a snapshot has an id")?;
    until("the snapshot", SOON, async || -> Look<()> {
        let args = [
            "volume", "snapshot", "show", snapshot, "-f", "value", "-c", "status",
        ];
        let is = zone.admin(&args).map_err(|e| format!("{e:#}"))?;
        if is.trim() == "available" {
            Ok(())
        } else {
            Err(is)
        }
    })
    .await?;
    cloud.scribble(Site::ZoneA, &spec, "128K")?;
    assert_ne!(held, cloud.sum(Site::ZoneA, &spec)?, "it went on");
    zone.cinder(&[&version[..], &["revert-to-snapshot", snapshot]].concat())?;
    zone.wait(id, &[("status", "available")]).await?;
    assert_eq!(held, cloud.sum(Site::ZoneA, &spec)?, "as it was");
    assert_eq!(
        cloud.role_of(Site::ZoneA, zone, id).await,
        Ok(Role::Primary)
    );
    until("the copy is as it was too", SOON, async || -> Look<()> {
        let there = cloud
            .sum(Site::ZoneB, &spec)
            .map_err(|e| format!("{e:#}"))?;
        if there == held { Ok(()) } else { Err(there) }
    })
    .await?;
    zone.admin(&["volume", "snapshot", "delete", snapshot])?;
    Ok(())
}

/// An image of one's own is taken in under Cinder's name, and replicated; unmanaged, it goes on being so without a record.
async fn taken_in_and_let_go(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    of_type: &str,
) -> anyhow::Result<()> {
    let pool = cloud.lab.zone(Site::ZoneA)?.pool;
    let found = format!("{}-left-by-hand", cloud.name());
    let here = || cloud.lab.rbd(Site::ZoneA, &["ls", pool]);
    cloud.lab.rbd(
        Site::ZoneA,
        &["create", &format!("{pool}/{found}"), "--size", "1G"],
    )?;
    let host = format!("{}#{BACKEND}", zone.host());
    let manage = |image: &str| -> anyhow::Result<String> {
        let how = [
            "manage",
            "--id-type",
            "source-name",
            "--volume-type",
            of_type,
        ];
        zone.adopt(&zone.cinder(&[&how[..], &[&host, image]].concat())?)
    };
    let id = manage(&found)?;
    let well = [("status", "available"), ("replication_status", "enabled")];
    let shown = zone.wait(&id, &well).await?;
    assert_eq!(shown["size"], 1);
    let all = here()?;
    assert!(
        all.contains(&format!("volume-{id}")) && !all.contains(&found),
        "renamed: {all}"
    );
    assert_eq!(
        cloud.role_of(Site::ZoneA, zone, &id).await,
        Ok(Role::Primary)
    );

    // Nobody's: it is not there any more.
    let nobodys = manage(&found)?;
    zone.wait(&nobodys, &[("status", "error")]).await?;
    let told = zone.messages(&nobodys)?;
    assert!(told.contains("does not exist"), "{told}");

    zone.cinder(&["unmanage", &id])?;
    until("Cinder has forgotten it", SOON, async || -> Look<()> {
        match zone.show(&id) {
            Ok(shown) => Err(shown["status"].to_string()),
            Err(_) => Ok(()),
        }
    })
    .await?;
    assert_eq!(
        cloud.role_of(Site::ZoneA, zone, &id).await,
        Ok(Role::Primary)
    );
    let image = zone.image(&id)?;
    cloud
        .order(Site::ZoneA, &image, VolumeAction::Unreplicate, None)
        .await?;
    let remove = ["--no-progress", "rm", &image.to_string()];
    cloud.lab.rbd(Site::ZoneA, &remove)?;
    Ok(())
}

/// Without a sidecar, what concerns replication fails within seconds, and says so; it comes back by itself.
async fn without_a_sidecar(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    id: &str,
    of_type: &str,
) -> anyhow::Result<()> {
    cloud.sidecar(Site::ZoneA).kill()?;
    let begun = Instant::now();
    zone.admin(&["volume", "set", "--size", "2", id])?;
    zone.wait(id, &[("status", "error_extending")]).await?;
    let took = begun.elapsed();
    assert!(took < SECONDS, "{took:?}");
    let told = zone.messages(id)?;
    assert!(
        told.contains("an operator has to look [sidecar_unreachable]"),
        "{told}"
    );
    let refused = zone.ask_for(&["--size", "1", "--type", of_type])?;
    zone.wait(&refused, &[("status", "error")]).await?;
    let told = zone.messages(&refused)?;
    assert!(told.contains("[sidecar_unreachable]"), "{told}");
    let refused = zone.attach(id);
    assert!(refused.is_err(), "{refused:?}");
    cloud.sidecar(Site::ZoneA).start()?;
    cloud.wait_ready().await?;
    zone.admin(&["volume", "set", "--state", "available", id])?;
    zone.admin(&["volume", "set", "--size", "2", id])?;
    let grown = zone.wait(id, &[("status", "available")]).await?;
    assert_eq!(grown["size"], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replicated_volume_is_rolled_back_taken_in_let_go_and_rescheduled() -> anyhow::Result<()>
{
    Cloud::play_with_cinder("volumes", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let mode = ("rekindle:mode", "periodic");
        let instant = zone.replicated_type("instant", &[])?;
        // Far enough for the types and the volumes to be there before.
        let due = Timestamp::now().checked_add(40.seconds())?;
        let due = Timestamp::from_second(due.as_second())?;
        let start = due.to_string();
        let anchored = [
            mode,
            ("rekindle:start", &start),
            ("rekindle:interval", "6h"),
        ];
        let anchored = zone.replicated_type("anchored", &anchored)?;
        let often = zone.replicated_type("often", &[mode, ("rekindle:interval", "1h")])?;
        let oftener = zone.replicated_type("oftener", &[mode, ("rekindle:interval", "30m")])?;
        let mut made = Vec::new();
        for kind in [&anchored, &instant, &often] {
            made.push(zone.ask_for(&["--size", "1", "--type", kind])?);
        }
        for id in &made {
            zone.wait(id, &[("status", "available")]).await?;
        }
        let [on_time, one, paced] = &made[..] else {
            panic!("{made:?}")
        };
        assert!(
            Timestamp::now() < due,
            "this machine is too slow for the test"
        );

        // One interval for another, in place.
        let interval = async || -> anyhow::Result<Option<Span>> {
            let image = zone.image(paced)?;
            let report = cloud.sidecar_of(Site::ZoneA).volume(&image).await?;
            assert_eq!(report.role, Role::Primary);
            Ok(match report.mode {
                Some(ReplicationMode::Periodic(schedule)) => Some(schedule.interval),
                Some(ReplicationMode::Instant | ReplicationMode::Once) | None => None,
            })
        };
        assert_eq!(interval().await?, Some(Span::secs(3600)));
        zone.admin(&["volume", "set", "--type", &oftener, paced])?;
        zone.wait(paced, &[("type", &oftener), ("status", "available")])
            .await?;
        assert_eq!(interval().await?, Some(Span::secs(1800)));

        cloud.wait_copy(Site::ZoneB, &zone, one).await?;
        rolled_back(cloud, &zone, one).await?;
        taken_in_and_let_go(cloud, &zone, &instant).await?;

        // The first snapshot of the schedule is taken when the type says, the one that began the mirroring aside.
        let spec = zone.image(on_time)?.to_string();
        let at = until(
            "the snapshot that is due",
            SOON,
            async || -> Look<Timestamp> {
                let all = mirror_snapshots(cloud, &spec).map_err(|e| format!("{e:#}"))?;
                let found = all.iter().find(|at| **at >= due).copied();
                found.ok_or_else(|| format!("{all:?}, due {due}"))
            },
        )
        .await?;
        let late = at.duration_since(due);
        assert!(late.as_secs() < 60, "{late:?} after it was due");
        let taken = mirror_snapshots(cloud, &spec)?.len();
        assert!(
            taken <= 2,
            "{taken} snapshots, of which the schedule asks for one"
        );

        without_a_sidecar(cloud, &zone, one, &instant).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_whose_cinder_volume_died_is_repaired_and_called_again() -> anyhow::Result<()> {
    Cloud::play_with_cinder("died", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let one = zone.volume(&instant).await?;
        cloud.wait_copy(Site::ZoneB, &zone, &one).await?;

        // It waits for the demotion to reach zone-b, and dies.
        cloud.rbd_mirror(Site::ZoneB).pause()?;
        let call = ["failover-host", &zone.host(), "--backend_id", "zone-b"];
        zone.cinder(&call)?;
        cloud
            .wait_role(Site::ZoneA, &zone, &one, Role::Secondary)
            .await?;
        let volume_service = cloud.member(Site::ZoneA, "cinder-volume");
        volume_service.kill()?;
        cloud.rbd_mirror(Site::ZoneB).resume()?;
        assert_eq!(zone.service()?.replication, "failing-over");
        // Cinder takes no other call then, and the repair begins nothing for as long as it may be alive.
        let refused = zone.refused(&call)?;
        assert!(refused.contains("HTTP 4"), "{refused}");
        let early = zone.repair(&["--apply"]);
        let early = format!("{:#}", early.unwrap_err());
        assert!(early.contains("--older-than"), "{early}");
        until("the repair", SOON, async || -> Look<()> {
            let done = zone.repair(&["--apply", "--older-than", "20s"]);
            let done = done.map_err(|e| format!("{e:#}"))?;
            let service = zone.service().map_err(|e| format!("{e:#}"))?;
            if service.replication == "enabled" {
                Ok(())
            } else {
                Err(done.to_string())
            }
        })
        .await?;
        volume_service.start()?;
        let service = zone.failover_host_to("zone-b", "failed-over").await?;
        expect(&service, "failed-over", "zone-b");
        zone.says(&one, "available", "failed-over").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneB, &zone, &one).await,
            Ok(Role::Primary)
        );
        expect(&zone.fail_back().await?, "enabled", "");
        Ok(())
    })
    .await
}
