//! The other zone's catalogue, for real: both zones' Cinders by the clients that people use, and what is in Ceph under them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{status::VolumeStatus, volume::Role};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::CatalogueStatus;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, by_force, resync, until};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What a slow machine may take for Ceph to make a copy, and for both Cinders to follow.
const SOON: Duration = Duration::from_secs(180);
/// For the records of the zone that has taken over, whatever the other does. `openstack volume show` alone takes some seconds of it.
const TOLD: Duration = Duration::from_secs(20);
const UNICODE: &str = "žluťoučký kůň №1 — ポニー";

fn name_of(site: Site) -> rekindle_common::ZoneName {
    rekindle_common::ZoneName::new(site.name()).unwrap()
}

/// The id of the volume's record in a zone, by the id that its image is named after.
fn id_in(catalogue: &CatalogueStatus, site: Site, uuid: &str) -> Option<String> {
    let image = format!("volume-{uuid}");
    let shown = catalogue
        .volumes
        .iter()
        .find(|v| v.image.image() == image)?;
    shown.sides.get(&name_of(site))?.volume.clone()
}

/// Waits until the record of that image in a zone shows what is asked, as `openstack volume show` prints it.
async fn shows(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    uuid: &str,
    what: &str,
    so: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    until(
        &format!("{uuid} in {}: {what}", zone.site),
        SOON,
        async || -> Look<Value> {
            let catalogue = cloud
                .orchestrators()
                .catalogue()
                .await
                .map_err(|e| e.to_string())?;
            let id = id_in(&catalogue, zone.site, uuid)
                .ok_or_else(|| format!("no record; {:?}", catalogue.findings))?;
            let shown = zone.show(&id).map_err(|e| format!("{e:#}"))?;
            if so(&shown) {
                Ok(shown)
            } else {
                Err(shown.to_string())
            }
        },
    )
    .await
}

fn status(shown: &Value) -> &str {
    shown["properties"]["rekindle:status"]
        .as_str()
        .unwrap_or_default()
}
fn text<'a>(shown: &'a Value, key: &str) -> &'a str {
    shown[key].as_str().unwrap_or_default()
}

/// What a person may not do to a copy; the record is as it was afterwards.
async fn is_refused_to_users(
    cloud: &Cloud,
    b: &CinderZone<'_>,
    uuid: &str,
    id: &str,
) -> anyhow::Result<()> {
    b.admin(&["volume", "set", "--size", "5", id])?;
    // Cinder says so behind the call, and leaves a mark, which the catalogue takes away.
    until("the user is told", SOON, async || -> Look<()> {
        let told = b.messages(id).map_err(|e| format!("{e:#}"))?;
        if told.contains("copy") {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await?;
    shows(cloud, b, uuid, "available and as large as it was", |s| {
        text(s, "status") == "available" && s["size"] == 2
    })
    .await?;
    let refused = b.attach(id);
    assert!(refused.is_err(), "a copy was attached: {refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_of_one_zone_is_a_volume_of_the_others_cinder_and_follows_it() -> anyhow::Result<()>
{
    Cloud::play_with_catalogue("follow", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
        let instant = a.replicated_type("instant", &[])?;
        let periodic = a.replicated_type("periodic", &often)?;
        b.replicated_type("instant", &[])?;
        b.replicated_type("periodic", &often)?;
        let one = a.ask_for_named(UNICODE, &["--size", "1", "--type", &instant])?;
        let two = a.ask_for(&["--size", "1", "--type", &instant])?;
        for id in [&one, &two] {
            a.wait(id, &[("status", "available")]).await?;
        }
        a.admin(&[
            "volume",
            "set",
            "--bootable",
            "--image-property",
            "os_distro=debian",
            &one,
        ])?;
        let theirs = shows(cloud, &b, &one, "a copy, described", |s| {
            status(s) == "active - secondary"
                && text(s, "name") == UNICODE
                && s["bootable"] == true
                && s["volume_image_metadata"]["os_distro"] == "debian"
        })
        .await?;
        let id = text(&theirs, "id").to_owned();
        assert_eq!(
            (text(&theirs, "type"), text(&theirs, "status")),
            (instant.as_str(), "available")
        );
        assert_eq!(
            theirs["properties"]["rekindle:peer"],
            format!("zone-a/{one}")
        );
        assert_eq!(theirs["properties"]["rekindle:mode"], "instant");
        let projects = |z: &CinderZone<'_>| {
            z.clients
                .openstack_json(&z.clients.admin, &["project", "show", "admin"])
        };
        assert_eq!(theirs["os-vol-tenant-attr:tenant_id"], projects(&b)?["id"]);
        let mine = shows(cloud, &a, &one, "the primary", |s| {
            status(s) == "active - primary"
        })
        .await?;
        assert_eq!(mine["properties"]["rekindle:peer"], format!("zone-b/{id}"));

        a.admin(&["volume", "set", "--size", "2", "--name", "renamed", &one])?;
        a.admin(&[
            "volume",
            "snapshot",
            "create",
            "--volume",
            &one,
            "a-snapshot",
        ])?;
        shows(cloud, &b, &one, "grown and renamed", |s| {
            s["size"] == 2 && text(s, "name") == "renamed"
        })
        .await?;
        until("the snapshot is there", SOON, async || -> Look<()> {
            let args = ["volume", "snapshot", "list", "--volume", &id, "-f", "json"];
            let list = b.admin(&args).map_err(|e| format!("{e:#}"))?;
            if list.contains("a-snapshot") && list.contains("available") {
                Ok(())
            } else {
                Err(list)
            }
        })
        .await?;
        a.admin(&["volume", "set", "--type", &periodic, &one])?;
        shows(cloud, &b, &one, "another mode, the same record", |s| {
            s["properties"]["rekindle:mode"] == "periodic"
                && text(s, "status") == "available"
                && text(s, "id") == id
        })
        .await?;
        is_refused_to_users(cloud, &b, &one, &id).await?;

        // A copy's record is deleted: the image stays, and so there is a record again.
        let first = shows(cloud, &b, &two, "a copy", |s| {
            status(s) == "active - secondary"
        })
        .await?;
        let first = text(&first, "id").to_owned();
        // While its primary is written to it is behind, and says so until it has come after.
        let spec = a.image(&two)?.to_string();
        let writes = cloud.scribble_on(Site::ZoneA, &spec, "64M")?;
        shows(cloud, &b, &two, "behind", |s| {
            status(s) == "active - updating"
        })
        .await?;
        until("the writing ends", SOON, async || -> Look<()> {
            match cloud.lab.pid(Site::ZoneA, &writes) {
                Ok(None) => Ok(()),
                Ok(Some(pid)) => Err(format!("{pid} writes")),
                Err(e) => Err(e.to_string()),
            }
        })
        .await?;
        shows(cloud, &b, &two, "in step again", |s| {
            status(s) == "active - secondary"
        })
        .await?;
        b.admin(&["volume", "delete", &first])?;
        shows(cloud, &b, &two, "a new record", |s| {
            text(s, "id") != first && text(s, "status") == "available"
        })
        .await?;
        let image = b.image(&two)?;
        assert_eq!(
            cloud.sidecar_of(Site::ZoneB).volume(&image).await?.role,
            Role::Secondary
        );
        // The primary is deleted: there is nothing to have a record of.
        a.admin(&["volume", "delete", &two])?;
        until("its record goes", SOON, async || -> Look<()> {
            let list = b.list().map_err(|e| format!("{e:#}"))?;
            let list = Value::from(list).to_string();
            if list.contains(&format!("volume-{two}")) {
                Err(list)
            } else {
                Ok(())
            }
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_zone_is_lost_its_volumes_and_snapshots_serve_in_the_other_and_the_catalogue_goes_the_other_way()
-> anyhow::Result<()> {
    Cloud::play_with_catalogue("heir", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let instant = a.replicated_type("instant", &[])?;
        b.replicated_type("instant", &[])?;
        let one = a.volume(&instant).await?;
        let spec = a.image(&one)?.to_string();
        cloud.scribble(Site::ZoneA, &spec, "64K")?;
        let shot = a.clients.openstack_json(
            &a.clients.admin,
            &[
                "volume",
                "snapshot",
                "create",
                "--volume",
                &one,
                "a-snapshot",
            ],
        )?;
        let shot = text(&shot, "id").to_owned();
        let theirs = shows(cloud, &b, &one, "a copy", |s| {
            status(s) == "active - secondary"
        })
        .await?;
        let id = text(&theirs, "id").to_owned();
        let theirs = until("the snapshot is there", SOON, async || -> Look<String> {
            let args = ["volume", "snapshot", "list", "--volume", &id];
            let list = b
                .clients
                .openstack_json(&b.clients.admin, &args)
                .map_err(|e| format!("{e:#}"))?;
            let row = &list[0];
            if row["Status"] == "available" {
                Ok(text(row, "ID").to_owned())
            } else {
                Err(list.to_string())
            }
        })
        .await?;
        let held = cloud.sum(Site::ZoneA, &format!("{spec}@snapshot-{shot}"))?;
        cloud.scribble(Site::ZoneA, &spec, "128K")?;
        assert_ne!(held, cloud.sum(Site::ZoneA, &spec)?, "the volume went on");

        let lost = [
            "osd",
            "mon",
            "mgr",
            "rbd-mirror",
            "cinder-api",
            "cinder-volume",
        ];
        for part in lost {
            cloud.member(Site::ZoneA, part).kill()?;
        }
        // It takes connections and never answers, as one behind a cut line.
        cloud.sidecar(Site::ZoneA).pause()?;
        cloud
            .order(Site::ZoneB, &b.image(&one)?, by_force(), None)
            .await?;
        let promoted = Instant::now();
        shows(cloud, &b, &one, "the primary", |s| {
            status(s) == "active - primary"
        })
        .await?;
        let took = promoted.elapsed();
        tracing::info!(?took, "from the promotion to the record that says so");
        assert!(took < TOLD, "the dead zone held it up: {took:?}");
        // Its snapshot serves.
        let made = b.ask_for(&["--snapshot", &theirs, "--type", &instant])?;
        b.wait(&made, &[("status", "available")]).await?;
        assert_eq!(
            cloud.sum(Site::ZoneB, &b.image(&made)?.to_string())?,
            held,
            "not the snapshot's bytes"
        );

        // It is back, and follows.
        for part in [
            "mon",
            "osd",
            "mgr",
            "rbd-mirror",
            "cinder-api",
            "cinder-volume",
        ] {
            cloud.member(Site::ZoneA, part).start()?;
        }
        cloud.sidecar(Site::ZoneA).resume()?;
        cloud.wait_ready().await?;
        let mine = cloud.sidecar_of(Site::ZoneA);
        until("it is a copy there", SOON, async || -> Look<()> {
            let report = mine
                .volume(&a.image(&one).unwrap())
                .await
                .map_err(|e| e.to_string())?;
            if report.role == Role::Secondary {
                return Ok(());
            }
            let demote = rekindle_common::action::VolumeAction::Demote { token: None };
            let _ = cloud
                .order(Site::ZoneA, &a.image(&one).unwrap(), demote, None)
                .await;
            Err(report.status.to_string())
        })
        .await?;
        until("the resync is taken", SOON, async || -> Look<()> {
            let report = mine
                .volume(&a.image(&one).unwrap())
                .await
                .map_err(|e| e.to_string())?;
            if matches!(
                report.status,
                VolumeStatus::ActiveSecondary | VolumeStatus::PendingResync
            ) {
                return Ok(());
            }
            let again = resync("heir").map_err(|e| e.to_string())?;
            cloud
                .order(Site::ZoneA, &a.image(&one).unwrap(), again, None)
                .await
                .map(drop)
                .map_err(|e| e.to_string())
        })
        .await?;
        let shown = shows(cloud, &a, &one, "a copy", |s| {
            status(s) == "active - secondary"
        })
        .await?;
        assert_eq!(text(&shown, "id"), one, "its own record, as it was");
        // What was made in zone-b is a volume of zone-a's Cinder.
        shows(cloud, &a, &made, "a copy", |s| {
            status(s) == "active - secondary"
        })
        .await?;
        shows(cloud, &b, &made, "the primary", |s| {
            status(s) == "active - primary"
        })
        .await?;
        it_follows_the_other_way_round(cloud, &a, &b, &made).await
    })
    .await
}

/// Waits until a record has the snapshots that are named, and none else.
async fn has_snapshots(zone: &CinderZone<'_>, id: &str, names: &[&str]) -> anyhow::Result<()> {
    let args = ["volume", "snapshot", "list", "--volume", id];
    until(
        &format!("{id} has snapshots {names:?}"),
        SOON,
        async || -> Look<()> {
            let list = zone
                .clients
                .openstack_json(&zone.clients.admin, &args)
                .map_err(|e| format!("{e:#}"))?;
            let rows = list.as_array().ok_or("no list")?;
            let mut there: Vec<&str> = rows
                .iter()
                .filter(|r| r["Status"] == "available")
                .map(|r| text(r, "Name"))
                .collect();
            there.sort_unstable();
            if there == names && rows.len() == names.len() {
                Ok(())
            } else {
                Err(list.to_string())
            }
        },
    )
    .await
}

/// zone-b has the say of a volume: what is done to it there becomes so in zone-a, and of mirroring's own snapshots nobody sees any.
async fn it_follows_the_other_way_round(
    cloud: &Cloud,
    a: &CinderZone<'_>,
    b: &CinderZone<'_>,
    made: &str,
) -> anyhow::Result<()> {
    let often = [("rekindle:mode", "periodic"), ("rekindle:interval", "1h")];
    let periodic = b.replicated_type("periodic", &often)?;
    a.replicated_type("periodic", &often)?;
    b.admin(&["volume", "set", "--size", "2", made])?;
    b.wait(made, &[("status", "available")]).await?;
    let snapshot = |name| ["volume", "snapshot", "create", "--volume", made, name];
    b.admin(&snapshot("kept"))?;
    b.admin(&snapshot("passing"))?;
    let theirs = shows(cloud, a, made, "grown", |s| s["size"] == 2).await?;
    let theirs = text(&theirs, "id").to_owned();
    has_snapshots(a, &theirs, &["kept", "passing"]).await?;
    b.admin(&["volume", "snapshot", "delete", "passing"])?;
    has_snapshots(a, &theirs, &["kept"]).await?;

    b.admin(&["volume", "set", "--type", &periodic, made])?;
    shows(cloud, a, made, "in another mode", |s| {
        s["properties"]["rekindle:mode"] == "periodic" && text(s, "status") == "available"
    })
    .await?;
    // The copy was made anew, and has the snapshot again once it has come.
    has_snapshots(a, &theirs, &["kept"]).await?;
    let image = b.image(made)?.to_string();
    for (zone, site) in [(b, Site::ZoneB), (a, Site::ZoneA)] {
        let all = cloud.lab.rbd(site, &["snap", "ls", "--all", &image])?;
        assert!(all.contains(".mirror."), "mirroring has some: {all}");
        let host = format!("{}#{}", zone.host(), rekindle_tests::scenario::BACKEND);
        let lists: [(&[&str], &str); 2] = [
            (&["snapshot-list", "--all-tenants"], "kept"),
            (
                &[
                    "--os-volume-api-version",
                    "3.8",
                    "snapshot-manageable-list",
                    &host,
                ],
                "snapshot-",
            ),
        ];
        for (list, word) in lists {
            let shown = zone.cinder(list)?;
            assert!(
                shown.contains(word) && !shown.contains("mirror"),
                "{list:?}: {shown}"
            );
        }
    }

    b.admin(&["volume", "snapshot", "delete", "kept"])?;
    has_snapshots(b, made, &[]).await?;
    b.admin(&["volume", "delete", made])?;
    until("its record goes", SOON, async || -> Look<()> {
        match a.show(&theirs) {
            Ok(shown) => Err(shown.to_string()),
            Err(_) => Ok(()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_differ_between_zones_and_orphans_are_listed_and_left() -> anyhow::Result<()> {
    Cloud::play_with_catalogue("names", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        // As the scenario's mapping has it: demo is service there, and silver is argent.
        b.admin(&[
            "role",
            "add",
            "--project",
            "service",
            "--user",
            "admin",
            "admin",
        ])?;
        let silver = a.replicated_type("silver", &[])?;
        let argent = b.replicated_type("argent", &[])?;
        let member = &a.clients.member;
        let one = a.ask_for_as(member, UNICODE, &["--size", "1", "--type", &silver])?;
        // Two more: the record of one is to lose its image, and the image of the other its record.
        let bare = a.ask_for(&["--size", "1", "--type", &silver])?;
        let lost = a.ask_for(&["--size", "1", "--type", &silver])?;
        for id in [&one, &bare, &lost] {
            a.wait(id, &[("status", "available")]).await?;
        }
        let theirs = shows(cloud, &b, &one, "a copy under the mapped names", |s| {
            status(s) == "active - secondary" && text(s, "name") == UNICODE
        })
        .await?;
        let service = b
            .clients
            .openstack_json(&b.clients.admin, &["project", "show", "service"])?;
        assert_eq!(
            (
                &theirs["os-vol-tenant-attr:tenant_id"],
                text(&theirs, "type")
            ),
            (&service["id"], argent.as_str())
        );
        // What a user reads in either client's table.
        let id = text(&theirs, "id").to_owned();
        let table = b.admin(&["volume", "show", &id])?;
        assert!(
            table.contains("rekindle:status='active - secondary'"),
            "{table}"
        );
        let table = b.cinder(&["show", &id])?;
        let row = table.lines().find(|l| l.contains("rekindle:status"));
        assert!(
            row.is_some_and(|l| l.contains("active - secondary")),
            "{table}"
        );

        for id in [&bare, &lost] {
            shows(cloud, &b, id, "a copy", |s| {
                status(s) == "active - secondary"
            })
            .await?;
        }
        a.cinder(&["unmanage", &bare])?;
        let spec = a.image(&lost)?;
        let off = rekindle_common::action::VolumeAction::Unreplicate;
        cloud.order(Site::ZoneA, &spec, off, None).await?;
        cloud
            .lab
            .rbd(Site::ZoneA, &["--no-progress", "rm", &spec.to_string()])?;
        let found = until("both orphans are listed", SOON, async || -> Look<Value> {
            let shown = cloud.orchestrators().catalogue().await;
            let shown = shown.map_err(|e| e.to_string())?;
            let has = |kind: &str, image: &str| {
                shown
                    .findings
                    .iter()
                    .any(|f| f.finding.kind.name() == kind && f.finding.image.image() == image)
            };
            if has("orphan_image", &format!("volume-{bare}"))
                && has("orphan_record", &format!("volume-{lost}"))
            {
                serde_json::to_value(&shown.findings).map_err(|e| e.to_string())
            } else {
                Err(format!("{:?}", shown.findings))
            }
        })
        .await?;
        let said = found.to_string();
        assert!(
            said.contains("cinder manage") && said.contains("Nothing is taken away"),
            "{said}"
        );
        // The copy of the orphan keeps its record, and both orphans are there after as many rounds as it took.
        let bare_image = a.image(&bare)?;
        let role = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&bare_image)
            .await?
            .role;
        assert_eq!(role, Role::Primary);
        assert_eq!(text(&a.show(&lost)?, "status"), "available");

        // Taken in by hand as it is, it is no orphan any more.
        let host = format!("{}#{}", a.host(), rekindle_tests::scenario::BACKEND);
        let source = format!("source-name={}", bare_image.image());
        let back = a.ask_for(&[
            "--host",
            &host,
            "--type",
            &silver,
            "--non-bootable",
            "--remote-source",
            &source,
            "--remote-source",
            "rename=false",
        ])?;
        shows(cloud, &a, &bare, "a record again", |s| {
            text(s, "id") == back && status(s) == "active - primary"
        })
        .await?;
        Ok(())
    })
    .await
}
