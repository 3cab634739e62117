//! What becomes of a replicated volume that is deleted in Cinder, and what the other zone's Cinder makes of a copy: for real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rbd_rs::{Ceph, Cluster, ConnectOptions, Pool};
use rekindle_common::{
    ImageSpec,
    action::{Order, Promotion, VolumeAction},
    deletion::OnDelete,
    facts::CinderFacts,
    policy::GroupPolicy,
    status::VolumeStatus,
    volume::Role,
};
use rekindle_lab::Site;
use rekindle_tests::scenario::{BACKEND, CinderZone, Cloud, Look, config, until};
use serde_json::json;
use std::time::Duration;

/// What Ceph may take to make a copy, or to let one go.
const COPY: Duration = Duration::from_secs(150);
const TEXT: usize = 64;

fn pool(cloud: &Cloud, site: Site) -> anyhow::Result<Pool> {
    let zone = cloud.lab.zone(site)?;
    let options = ConnectOptions::from_conf_file(&zone.ceph_conf)
        .client(format!("client.{}", zone.client_id));
    Ok(Cluster::connect(&Ceph::load()?, &options)?.pool(zone.pool)?)
}

/// Writes a text to the start of an image, as a server would.
fn write(cloud: &Cloud, site: Site, image: &ImageSpec, text: &str) -> anyhow::Result<()> {
    let image = pool(cloud, site)?.open(image.image())?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(TEXT, b' ');
    image.write(0, &bytes)?;
    image.flush()?;
    Ok(image.close()?)
}

fn read(cloud: &Cloud, site: Site, image: &ImageSpec) -> anyhow::Result<String> {
    let image = pool(cloud, site)?.open_read_only(image.image())?;
    let mut bytes = vec![0; TEXT];
    image.read(0, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn snapshots(cloud: &Cloud, site: Site, image: &ImageSpec) -> anyhow::Result<Vec<String>> {
    let image = pool(cloud, site)?.open_read_only(image.image())?;
    Ok(image.snapshots()?.into_iter().map(|s| s.name).collect())
}

async fn in_step(cloud: &Cloud, site: Site, image: &ImageSpec) -> anyhow::Result<()> {
    let there = cloud.sidecar_of(site);
    until("a copy in step", COPY, async || -> Look<()> {
        match there.volume(image).await {
            Ok(r) if r.status == VolumeStatus::ActiveSecondary => Ok(()),
            Ok(r) => Err(format!("{} {:?}", r.status, r.concerns)),
            Err(e) => Err(e.to_string()),
        }
    })
    .await
}

async fn no_image(cloud: &Cloud, site: Site, image: &ImageSpec) -> anyhow::Result<()> {
    until("the image is gone", COPY, async || -> Look<()> {
        let name = cloud.lab.zone(site).map_err(|e| e.to_string())?.pool;
        let listed = cloud
            .lab
            .rbd(site, &["ls", name])
            .map_err(|e| e.to_string())?;
        if listed.lines().any(|l| l == image.image()) {
            Err(format!("{image} is in {site}"))
        } else {
            Ok(())
        }
    })
    .await
}

async fn no_record(zone: &CinderZone<'_>, id: &str) -> anyhow::Result<()> {
    until("Cinder has forgotten it", COPY, async || -> Look<()> {
        match zone.show(id) {
            Ok(shown) => Err(shown["status"].to_string()),
            Err(_) => Ok(()),
        }
    })
    .await
}

fn order(action: VolumeAction) -> Order {
    Order {
        action,
        generation: None,
    }
}

fn host(zone: &CinderZone<'_>) -> String {
    format!("{}@{BACKEND}#{BACKEND}", zone.site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_deleted_primary_follows_its_policy() -> anyhow::Result<()> {
    Cloud::play_with_cinder("delete", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let refusing = zone.replicated_type("refuse", &[("rekindle:on_delete", "refuse")])?;
        let keeping = zone.replicated_type("keep", &[("rekindle:on_delete", "keep")])?;
        let by_snapshot = [("rekindle:on_delete", "keep"), ("rekindle:mode", "once")];
        let keeping_once = zone.replicated_type("once", &by_snapshot)?;
        let later = zone.replicated_type("later", &[("rekindle:on_delete", "delete:1h")])?;
        let soon = zone.replicated_type("soon", &[("rekindle:on_delete", "delete:5s")])?;
        let usual = zone.replicated_type("usual", &[])?;
        let bad = zone.replicated_type("bad", &[("rekindle:on_delete", "perhaps")])?;
        let nonsense = zone.ask_for(&["--size", "1", "--type", &bad])?;
        let mut ids = Vec::new();
        for of_type in [&refusing, &keeping, &keeping_once, &later, &soon, &usual] {
            ids.push(zone.volume(of_type).await?);
        }
        let images: Vec<ImageSpec> = ids.iter().map(|id| zone.image(id).unwrap()).collect();
        for image in &images {
            in_step(cloud, Site::ZoneB, image).await?;
        }
        zone.wait(&nonsense, &[("status", "error")]).await?;
        assert!(zone.messages(&nonsense)?.contains("no deletion policy"));
        let delete = |n: usize| zone.admin(&["volume", "delete", &ids[n]]);

        // Refused: it is as it was, and the user is told why.
        delete(0)?;
        until("the user is told", COPY, async || -> Look<()> {
            match zone.messages(&ids[0]) {
                Ok(told) if told.contains("rekindle:on_delete") => Ok(()),
                Ok(told) => Err(told),
                Err(e) => Err(e.to_string()),
            }
        })
        .await?;
        zone.wait(&ids[0], &[("status", "available")]).await?;
        // With its snapshots: before the first of them goes.
        let before = format!("before-{}", ids[0]);
        let made = zone.clients.openstack_json(
            &zone.clients.admin,
            &["volume", "snapshot", "create", "--volume", &ids[0], &before],
        )?;
        let snapshot = format!("snapshot-{}", made["id"].as_str().unwrap());
        let status = ["volume", "snapshot", "show", "-f", "value", "-c", "status"];
        until("the snapshot", COPY, async || -> Look<()> {
            match zone.admin(&[&status[..], &[before.as_str()][..]].concat()) {
                Ok(status) if status.trim() == "available" => Ok(()),
                Ok(status) => Err(status),
                Err(e) => Err(e.to_string()),
            }
        })
        .await?;
        zone.admin(&["volume", "delete", "--purge", &ids[0]])?;
        zone.wait(&ids[0], &[("status", "available")]).await?;
        let here = snapshots(cloud, Site::ZoneA, &images[0])?;
        assert!(here.contains(&snapshot), "its volume was refused: {here:?}");

        // Kept: the last byte is in the other zone's plain volume, and this zone has neither record nor image.
        for n in [1, 2] {
            write(cloud, Site::ZoneA, &images[n], "the last word")?;
            delete(n)?;
            no_record(&zone, &ids[n]).await?;
            no_image(cloud, Site::ZoneA, &images[n]).await?;
            let kept = cloud.sidecar_of(Site::ZoneB).volume(&images[n]).await?;
            assert_eq!((kept.role, kept.deletion), (Role::NotMirrored, None));
            assert_eq!(read(cloud, Site::ZoneB, &images[n])?, "the last word");
            write(cloud, Site::ZoneB, &images[n], "and on")?;
            cloud.lab.rbd(
                Site::ZoneB,
                &["--no-progress", "rm", &images[n].to_string()],
            )?;
        }

        // With a delay: taken back, and its image is a volume again, as it is; the other goes when it is due.
        delete(3)?;
        no_record(&zone, &ids[3]).await?;
        let here = cloud.sidecar_of(Site::ZoneA);
        let marked = here.volume(&images[3]).await?;
        assert!(marked.deletion.is_some() && marked.role == Role::Primary);
        in_step(cloud, Site::ZoneB, &images[3]).await?;
        here.act(&images[3], &order(VolumeAction::Undelete)).await?;
        let source = format!("source-name={}", images[3].image());
        let back = zone.ask_for(&[
            "--host",
            &host(&zone),
            "--type",
            &later,
            // Without a word on it this client sends one that Cinder does not take.
            "--non-bootable",
            "--remote-source",
            &source,
            "--remote-source",
            "rename=false",
        ])?;
        let shown = zone
            .wait(
                &back,
                &[("status", "available"), ("replication_status", "enabled")],
            )
            .await?;
        assert_eq!(shown["size"], 1);
        zone.admin(&["volume", "set", "--type", &usual, &back])?;
        zone.wait(&back, &[("type", &usual), ("status", "available")])
            .await?;
        zone.admin(&["volume", "delete", &back])?;
        no_record(&zone, &back).await?;

        delete(4)?;
        delete(5)?;
        for n in [3, 4, 5] {
            no_image(cloud, Site::ZoneA, &images[n]).await?;
            no_image(cloud, Site::ZoneB, &images[n]).await?;
        }
        zone.admin(&["volume", "set", "--type", &usual, &ids[0]])?;
        zone.wait(&ids[0], &[("type", &usual), ("status", "available")])
            .await?;
        zone.admin(&["volume", "delete", "--purge", &ids[0]])?;
        no_image(cloud, Site::ZoneB, &images[0]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_what_an_action_replicated_follows_its_groups_policy_too() -> anyhow::Result<()>
{
    Cloud::play_with_cinder("deleteacted", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let (here, there) = (cloud.sidecar_of(Site::ZoneA), cloud.sidecar_of(Site::ZoneB));
        let plain = zone.volume_type("plain", &[])?;
        let gateway = cloud.gateway(&zone).await?;
        let admin = gateway.token(&zone.clients.admin)?;
        let delete = |id: &str| zone.admin(&["volume", "delete", id]);

        // In a group of that policy by the action; Cinder's record says nothing of it.
        let replicated = async |on_delete: OnDelete| -> anyhow::Result<(String, ImageSpec)> {
            let policy = GroupPolicy {
                on_delete,
                ..config::policy()
            };
            let group = cloud.group_with(&[], policy).await?;
            let id = zone.volume(&plain).await?;
            let body =
                json!({ "os-replicate": { "mode": "instant", "group": group.name.as_str() } });
            let path = format!("/v3/volumes/{id}/action");
            let answer = gateway.post(&path, &admin, &body).await?;
            assert_eq!(answer.status, 202, "{answer:?}");
            let image = zone.image(&id)?;
            until("the group's policy is noted", COPY, async || -> Look<()> {
                let report = here.volume(&image).await.map_err(|e| e.to_string())?;
                if report.on_delete == Some(on_delete) {
                    Ok(())
                } else {
                    Err(format!("{:?}", report.on_delete))
                }
            })
            .await?;
            in_step(cloud, Site::ZoneB, &image).await?;
            assert_ne!(zone.show(&id)?["replication_status"], "enabled");
            Ok((id, image))
        };

        // Kept: the other zone has all of it as a plain volume.
        let (id, image) = replicated(OnDelete::Keep).await?;
        write(cloud, Site::ZoneA, &image, "the last word")?;
        delete(&id)?;
        no_record(&zone, &id).await?;
        no_image(cloud, Site::ZoneA, &image).await?;
        assert_eq!(there.volume(&image).await?.role, Role::NotMirrored);
        assert_eq!(read(cloud, Site::ZoneB, &image)?, "the last word");
        let rm = |site: Site, image: &ImageSpec| {
            cloud
                .lab
                .rbd(site, &["--no-progress", "rm", &image.to_string()])
        };
        rm(Site::ZoneB, &image)?;

        // With a delay: it is marked, and whole in both zones.
        let (id, image) = replicated("delete:1h".parse()?).await?;
        delete(&id)?;
        no_record(&zone, &id).await?;
        let marked = here.volume(&image).await?;
        assert!(marked.deletion.is_some() && marked.role == Role::Primary);
        in_step(cloud, Site::ZoneB, &image).await?;
        here.act(&image, &order(VolumeAction::Undelete)).await?;
        here.act(&image, &order(VolumeAction::Unreplicate)).await?;
        rm(Site::ZoneA, &image)?;

        // Without a group. Its journal stays on it, whatever type it is to get.
        let id = zone.volume(&plain).await?;
        let image = zone.image(&id)?;
        let path = format!("/v3/volumes/{id}/action");
        let act = async |body: serde_json::Value| gateway.post(&path, &admin, &body).await;
        let replicate = json!({ "os-replicate": { "mode": "instant" } });
        assert_eq!(act(replicate).await?.status, 202);
        let shared = zone.volume_type("shared", &[("multiattach", "<is> True")])?;
        zone.admin(&["volume", "set", "--type", &shared, &id])?;
        until("the user is told", COPY, async || -> Look<()> {
            match zone.messages(&id) {
                Ok(told) if told.contains("take its replication off first") => Ok(()),
                Ok(told) => Err(told),
                Err(e) => Err(e.to_string()),
            }
        })
        .await?;
        zone.wait(&id, &[("status", "available"), ("type", &plain)])
            .await?;
        let monday = format!("{}-monday", cloud.name());
        let args = ["volume", "snapshot", "create", "--volume", &id, &monday];
        let made = zone.clients.openstack_json(&zone.clients.admin, &args)?;
        let snapshot = format!("snapshot-{}", made["id"].as_str().unwrap());
        let snapshot_is = async |wanted: Option<&str>| {
            until("the snapshot's record", COPY, async || -> Look<()> {
                let args = ["volume", "snapshot", "show", &monday];
                let shown = zone.clients.openstack_json(&zone.clients.admin, &args);
                let now = shown
                    .ok()
                    .and_then(|s| Some(s["status"].as_str()?.to_owned()));
                if now.as_deref() == wanted {
                    Ok(())
                } else {
                    Err(format!("{now:?}"))
                }
            })
            .await
        };
        snapshot_is(Some("available")).await?;
        in_step(cloud, Site::ZoneB, &image).await?;

        // A copy now. Its snapshot and itself are forgotten, and nothing is taken off the image.
        assert_eq!(act(json!({ "os-demote": null })).await?.status, 202);
        let promote = order(VolumeAction::Promote {
            promotion: Promotion::Plain,
        });
        until("zone-b to be promoted", COPY, async || -> Look<()> {
            let done = there.act(&image, &promote).await;
            done.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        write(cloud, Site::ZoneB, &image, "written there")?;
        in_step(cloud, Site::ZoneA, &image).await?;
        zone.admin(&["volume", "snapshot", "delete", &monday])?;
        snapshot_is(None).await?;
        delete(&id)?;
        no_record(&zone, &id).await?;
        in_step(cloud, Site::ZoneA, &image).await?;
        assert!(snapshots(cloud, Site::ZoneA, &image)?.contains(&snapshot));
        until("the copy follows", COPY, async || -> Look<()> {
            match read(cloud, Site::ZoneA, &image) {
                Ok(text) if text == "written there" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;

        there.act(&image, &order(VolumeAction::Unreplicate)).await?;
        no_image(cloud, Site::ZoneA, &image).await?;
        let of = format!("{image}@{snapshot}");
        cloud.lab.rbd(Site::ZoneB, &["snap", "unprotect", &of])?;
        cloud
            .lab
            .rbd(Site::ZoneB, &["--no-progress", "snap", "rm", &of])?;
        Ok(rm(Site::ZoneB, &image).map(drop)?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_44_a_copy_and_its_snapshot_are_the_other_zones_volume_and_serve_there()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("copy", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let other = cloud.cinder(Site::ZoneB)?;
        let instant = zone.replicated_type("instant", &[])?;
        let there_type = other.replicated_type("instant", &[])?;
        let plain = other.volume_type("plain", &[])?;
        // A former try may have left some: names of this one's own.
        let [monday, theirs, again] =
            ["monday", "theirs", "again"].map(|name| format!("{}-{name}", cloud.name()));
        let id = zone.volume(&instant).await?;
        let image = zone.image(&id)?;
        write(cloud, Site::ZoneA, &image, "before")?;
        let made = zone.clients.openstack_json(
            &zone.clients.admin,
            &["volume", "snapshot", "create", "--volume", &id, &monday],
        )?;
        let snapshot = format!("snapshot-{}", made["id"].as_str().unwrap());
        until("the snapshot", COPY, async || -> Look<()> {
            let all = snapshots(cloud, Site::ZoneA, &image).map_err(|e| e.to_string())?;
            if all.contains(&snapshot) {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            }
        })
        .await?;
        write(cloud, Site::ZoneA, &image, "after")?;
        in_step(cloud, Site::ZoneB, &image).await?;

        // What Cinder knew of it came with the image.
        let told: CinderFacts = cloud
            .sidecar_of(Site::ZoneB)
            .volume(&image)
            .await?
            .cinder
            .unwrap();
        assert_eq!(
            (told.zone.as_str(), &told.id, told.size_gib),
            ("zone-a", &id, 1)
        );
        assert_eq!(told.name.as_deref(), Some("made-by-a-scenario"));
        assert_eq!(told.volume_type.as_ref(), Some(&instant));

        // A volume of the other zone, as it is: it is served from nowhere there, and grows with its primary alone.
        let source = format!("source-name={}", image.image());
        let at = host(&other);
        let take_in = |source: &str| {
            other.ask_for(&[
                "--host",
                &at,
                "--type",
                &there_type,
                "--non-bootable",
                "--remote-source",
                source,
                "--remote-source",
                "rename=false",
            ])
        };
        let copy = take_in(&source)?;
        other.says(&copy, "available", "enabled").await?;
        let nobody = take_in("source-name=volume-00000000-0000-4000-8000-00000000dead")?;
        other.wait(&nobody, &[("status", "error")]).await?;
        other.admin(&["volume", "set", "--size", "2", &copy])?;
        other.wait(&copy, &[("status", "error_extending")]).await?;
        assert!(other.messages(&copy)?.contains("grow its primary"));
        other.admin(&["volume", "set", "--state", "available", &copy])?;
        zone.admin(&["volume", "set", "--size", "2", &id])?;
        until("the copy has grown", COPY, async || -> Look<()> {
            let size = cloud
                .sidecar_of(Site::ZoneB)
                .volume(&image)
                .await
                .map_err(|e| e.to_string())?
                .size;
            if size == Some(2 << 30) {
                Ok(())
            } else {
                Err(format!("{size:?}"))
            }
        })
        .await?;
        other.admin(&["volume", "set", "--size", "2", &copy])?;
        let grown = other.wait(&copy, &[("status", "available")]).await?;
        assert_eq!(grown["size"], 2);

        // Its snapshot, under another id and with its own name; forgetting the record touches nothing.
        let from = format!("source-name={snapshot}");
        let snapshot_there = |name: &str| {
            other.admin(&[
                "volume",
                "snapshot",
                "create",
                "--volume",
                &copy,
                "--remote-source",
                &from,
                "--remote-source",
                "rename=false",
                name,
            ])?;
            Ok::<_, anyhow::Error>(())
        };
        let state = async |name: &str, wanted: Option<&str>| {
            until("the snapshot's record", COPY, async || -> Look<()> {
                let args = ["volume", "snapshot", "show", name];
                let shown = other.clients.openstack_json(&other.clients.admin, &args);
                let now = shown
                    .ok()
                    .and_then(|s| Some(s["status"].as_str()?.to_owned()));
                if now.as_deref() == wanted {
                    Ok(())
                } else {
                    Err(format!("{now:?}"))
                }
            })
            .await
        };
        snapshot_there(&theirs)?;
        state(&theirs, Some("available")).await?;
        other.admin(&["volume", "snapshot", "delete", &theirs])?;
        state(&theirs, None).await?;
        assert!(snapshots(cloud, Site::ZoneB, &image)?.contains(&snapshot));
        snapshot_there(&again)?;
        state(&again, Some("available")).await?;

        // The zone fails over: a volume made of it there holds what was there when it was taken.
        zone.failover_host_to("zone-b", "failed-over").await?;
        assert_eq!(read(cloud, Site::ZoneB, &image)?, "after");
        let of_it = other.ask_for(&["--snapshot", &again, "--type", &plain])?;
        other.wait(&of_it, &[("status", "available")]).await?;
        assert_eq!(read(cloud, Site::ZoneB, &other.image(&of_it)?)?, "before");
        // There it is a snapshot like any other: what was made of it is let go of, and it is removed.
        other.admin(&["volume", "delete", &of_it])?;
        no_image(cloud, Site::ZoneB, &other.image(&of_it)?).await?;
        other.admin(&["volume", "snapshot", "delete", &again])?;
        state(&again, None).await?;
        assert!(!snapshots(cloud, Site::ZoneB, &image)?.contains(&snapshot));

        // Home again; the record of the copy goes alone.
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while zone.failover_host(Some("default")).await?.replication != "enabled" {
            assert!(
                std::time::Instant::now() < deadline,
                "the way back never opens"
            );
        }
        other.admin(&["volume", "delete", &copy])?;
        no_record(&other, &copy).await?;
        in_step(cloud, Site::ZoneB, &image).await?;
        let cinders_own = zone.admin(&["volume", "snapshot", "delete", &monday]);
        assert!(
            cinders_own.is_ok(),
            "a snapshot that is gone is forgotten: {cinders_own:?}"
        );
        Ok(())
    })
    .await
}
