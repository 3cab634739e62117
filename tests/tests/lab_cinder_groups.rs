//! Groups and `cinder failover-host`: Rekindle's protection groups, which the orchestrator's plan moves, and Cinder's own generic
//! groups, which fail over alone; and names and records of the kind that people make.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_cli::demo::volumes::Kind;
use rekindle_common::{Generation, volume::Role};
use rekindle_core::{
    decision::{Ask, Decision},
    plan::PlanKind,
    snapshot::{Approved, LossAccepted, Vouch},
};
use rekindle_lab::Site;
use rekindle_orchestrator::wire::ApproveRequest;
use rekindle_tests::scenario::{BACKEND, CinderZone, Cloud, Look, Volume, expect, until};
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const CEPH: [&str; 4] = ["osd", "mon", "mgr", "rbd-mirror"];

async fn all_primary(cloud: &Cloud, site: Site, zone: &CinderZone<'_>, ids: &[&String]) {
    for id in ids {
        assert_eq!(
            cloud.role_of(site, zone, id).await,
            Ok(Role::Primary),
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_host_has_a_protection_group_moved_by_its_plan_and_never_without_one()
-> anyhow::Result<()> {
    Cloud::play_with_cinder("grouped", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let mut group = cloud.group(&[]).await?;
        let in_group = [("rekindle:group", group.name.as_str())];
        let grouped = zone.replicated_type("grouped", &in_group)?;
        let alone = zone.replicated_type("alone", &[])?;
        let one = zone.volume(&grouped).await?;
        let two = zone.volume(&grouped).await?;
        let lone = zone.volume(&alone).await?;
        let all = [&one, &two, &lone];
        for id in [&one, &two] {
            let spec = zone.image(id)?;
            let kind = Kind::Instant;
            group.volumes.push(Volume { spec, kind });
        }
        for id in all {
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        group.wait_protected().await?;

        // Both zones are well: a move, and the way home.
        expect(
            &zone.failover_host(Some("zone-b")).await?,
            "failed-over",
            "zone-b",
        );
        for id in all {
            zone.says(id, "available", "failed-over").await?;
        }
        all_primary(cloud, Site::ZoneB, &zone, &all).await;
        group.wait_primary(Site::ZoneB, Generation(2)).await?;
        let plans = async || group.plans().await.map_err(anyhow::Error::msg);
        assert_eq!(plans().await?, [PlanKind::Move]);
        expect(&zone.fail_back().await?, "enabled", "");
        all_primary(cloud, Site::ZoneA, &zone, &all).await;
        assert_eq!(plans().await?, [PlanKind::Failback, PlanKind::Move]);
        for id in all {
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        group.wait_protected().await?;

        // The zone's Ceph dies, and its sidecar lives and renews the lease: no proof, no failover of the group.
        for part in CEPH {
            cloud.member(Site::ZoneA, part).kill()?;
        }
        let service = zone.failover_host_to("zone-b", "failed-over").await?;
        expect(&service, "failed-over", "zone-b");
        zone.says(&lone, "available", "failed-over").await?;
        for id in [&one, &two] {
            zone.says(id, "error", "failover-error").await?;
            let told = zone.messages(id)?;
            assert!(told.contains("the primary lease"), "{told}");
            assert_eq!(
                cloud.role_of(Site::ZoneB, &zone, id).await,
                Ok(Role::Secondary)
            );
        }
        // As docs/operations.md says: a person sees to it that nothing writes there, and vouches for that; no server uses these.
        until("a person to be asked", SOON, async || -> Look<()> {
            let decided = group.status().await?.decision.ok_or("no decision yet")?;
            let asks = matches!(
                decided.decision,
                Decision::AskOperator {
                    why: Ask::LeaseOfALostCeph { .. }
                }
            );
            asks.then_some(()).ok_or(decided.text)
        })
        .await?;
        let word = ApproveRequest {
            what: Approved::Failover {
                vouch: Vouch::CannotWrite,
                loss: LossAccepted::WithinLimit,
            },
            by: "the scenario".to_owned(),
            generation: None,
        };
        cloud.orchestrators().approve(&group.name, &word).await?;
        group.wait_primary(Site::ZoneB, Generation(4)).await?;
        // Called again, it finds the group moved, and takes what it marked back.
        let spec = zone.image(&one)?;
        let service = zone.failover_host_to("zone-b", "failed-over").await?;
        expect(&service, "failed-over", "zone-b");
        for id in [&one, &two] {
            zone.says(id, "available", "failed-over").await?;
        }
        all_primary(cloud, Site::ZoneB, &zone, &all).await;
        let report = cloud.sidecar_of(Site::ZoneB).volume(&spec).await?;
        let forced = report.forced.unwrap().reason;
        assert!(
            forced.starts_with("failover "),
            "by the group's plan: {forced}"
        );

        // The zone is back: the group's reprotect and the loner's resync, then home.
        for part in ["mon", "osd", "mgr", "rbd-mirror"] {
            cloud.member(Site::ZoneA, part).start()?;
        }
        group.wait_protected().await?;
        expect(&zone.fail_back().await?, "enabled", "");
        all_primary(cloud, Site::ZoneA, &zone, &all).await;
        assert_eq!(plans().await?[0], PlanKind::Failback);
        Ok(())
    })
    .await
}

/// `cinder`, with the version of the API that has replication of groups.
fn cinder(zone: &CinderZone<'_>, args: &[&str]) -> anyhow::Result<String> {
    let version = ["--os-volume-api-version", "3.38"];
    zone.cinder(&[&version, args].concat())
}

/// What a table of the client's has in that row.
fn field<'a>(shown: &'a str, key: &str) -> &'a str {
    let rows = shown.lines().map(|line| line.split('|').map(str::trim));
    let row = rows
        .into_iter()
        .find_map(|mut row| (row.nth(1) == Some(key)).then(|| row.next()));
    row.flatten().unwrap_or_default()
}

async fn group_is(zone: &CinderZone<'_>, group: &str, word: &str) -> anyhow::Result<()> {
    until(
        &format!("the group to be {word}"),
        SOON,
        async || -> Look<()> {
            let shown = cinder(zone, &["group-show", group]).map_err(|e| format!("{e:#}"))?;
            if field(&shown, "replication_status") == word {
                Ok(())
            } else {
                Err(shown)
            }
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generic_group_fails_over_alone_and_what_people_type_does_no_harm() -> anyhow::Result<()>
{
    Cloud::play_with_cinder("generic", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let instant = zone.replicated_type("instant", &[])?;
        let kind = format!("{}-kind", cloud.name());
        cinder(&zone, &["group-type-create", &kind])?;
        let on = "consistent_group_replication_enabled=<is> True";
        cinder(&zone, &["group-type-key", &kind, "set", on])?;
        let group = format!("{}-group", cloud.name());
        cinder(&zone, &["group-create", &kind, &instant, "--name", &group])?;
        until("the group", SOON, async || -> Look<()> {
            let shown = cinder(&zone, &["group-show", &group]).map_err(|e| format!("{e:#}"))?;
            shown.contains("available").then_some(()).ok_or(shown)
        })
        .await?;
        let named = ["--size", "1", "--type", &instant];
        let member = zone.ask_for_in(&named, &group, Some(&group)).await?;
        // 255 characters of three bytes each, in both texts that a user gives. Four are more than the columns take that Cinder makes.
        let long = "\u{65e5}".repeat(255);
        let described = [&named[..], &["--description", &long]].concat();
        let lone = zone.ask_for_in(&described, &long, None).await?;
        let too_long = "x".repeat(256);
        let refused = zone.admin(&[&["volume", "create"], &named[..], &[&too_long]].concat());
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(
            refused.contains("too long") || refused.contains("255"),
            "{refused}"
        );
        let both = [&member, &lone];
        for id in both {
            zone.says(id, "available", "enabled").await?;
            cloud.wait_copy(Site::ZoneB, &zone, id).await?;
        }
        assert_eq!(zone.show(&lone)?["name"], long.as_str());

        // Its replication on, off and on again, and where it may go.
        let enable = ["group-enable-replication", &group];
        cinder(&zone, &enable)?;
        group_is(&zone, &group, "enabled").await?;
        cinder(&zone, &["group-disable-replication", &group])?;
        group_is(&zone, &group, "disabled").await?;
        cloud
            .wait_role(Site::ZoneA, &zone, &member, Role::NotMirrored)
            .await?;
        cinder(&zone, &enable)?;
        group_is(&zone, &group, "enabled").await?;
        cloud.wait_copy(Site::ZoneB, &zone, &member).await?;
        let targets = cinder(&zone, &["group-list-replication-targets", &group])?;
        assert!(targets.contains("zone-b"), "{targets}");

        // Cinder lets every member of the project fail it over. The gateway does so for whom its rules let promote and demote.
        {
            let gateway = cloud.gateway(&zone).await?;
            let (admin, project) = gateway.token_and_project(&zone.clients.admin)?;
            let theirs = gateway.somebody(&admin, &project, "member").await?;
            let shown = cinder(&zone, &["group-show", &group])?;
            let path = format!("/v3/groups/{}/action", field(&shown, "id"));
            let to_b = json!({ "failover_replication": { "secondary_backend_id": "zone-b" } });
            let answer = gateway.post(&path, &theirs, &to_b).await?;
            assert_eq!(answer.status, 403, "{answer:?}");
            assert!(answer.body.contains("os-promote"), "{answer:?}");
            let look = json!({ "list_replication_targets": {} });
            let answer = gateway.post(&path, &theirs, &look).await?;
            assert_eq!(answer.status, 200, "{answer:?}");
            group_is(&zone, &group, "enabled").await?;
        }

        // What other drivers, or nobody, wrote beside a volume.
        zone.sql(&format!(
            "UPDATE volumes SET replication_driver_data = 'no {{json' WHERE id = '{member}'"
        ))?;

        // It goes alone, and its volumes are served from there; and home.
        cinder(
            &zone,
            &[
                "group-failover-replication",
                &group,
                "--secondary-backend-id",
                "zone-b",
            ],
        )?;
        group_is(&zone, &group, "failed-over").await?;
        assert_eq!(
            cloud.role_of(Site::ZoneB, &zone, &member).await,
            Ok(Role::Primary)
        );
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, &lone).await,
            Ok(Role::Primary)
        );
        let served_from = |id: &str, site: Site| -> anyhow::Result<()> {
            let attached = zone.attach(id)?;
            let mon = cloud.lab.zone(site)?.mon_addrs[0].ip().to_string();
            anyhow::ensure!(attached.contains(&mon), "{mon}: {attached}");
            Ok(())
        };
        served_from(&member, Site::ZoneB)?;
        served_from(&lone, Site::ZoneA)?;

        // Nowhere: Cinder marks the group alone, its volumes stay what and where they are, and the group is called well again.
        let unknown = [
            "group-failover-replication",
            &group,
            "--secondary-backend-id",
            "zone-z",
        ];
        cinder(&zone, &unknown)?;
        group_is(&zone, &group, "error").await?;
        zone.says(&member, "available", "failed-over").await?;
        served_from(&member, Site::ZoneB)?;
        zone.repair(&["--apply"])?;
        group_is(&zone, &group, "failed-over").await?;
        cloud.wait_copy(Site::ZoneA, &zone, &member).await?;
        cinder(
            &zone,
            &[
                "group-failover-replication",
                &group,
                "--secondary-backend-id",
                "default",
            ],
        )?;
        group_is(&zone, &group, "enabled").await?;
        all_primary(cloud, Site::ZoneA, &zone, &both).await;

        // An image that nobody has; a copy whose name says no volume.
        let host = format!("zone-a@{BACKEND}#{BACKEND}");
        let manage = |image: &str| -> anyhow::Result<String> {
            let manage = [
                "manage",
                "--id-type",
                "source-name",
                "--volume-type",
                &instant,
            ];
            let shown = cinder(&zone, &[&manage[..], &[&host, image]].concat())?;
            zone.adopt(&shown)
        };
        let nobodys = manage("volume-00000000-0000-4000-8000-000000000000");
        let strange = format!("volume-{}-strange", cloud.name());
        let image = format!("{}/{strange}", cloud.lab.zone(Site::ZoneB)?.pool);
        let features = "layering,exclusive-lock,journaling";
        let create = [
            "create",
            &image,
            "--size",
            "16",
            "--image-feature",
            features,
        ];
        cloud.lab.rbd(Site::ZoneB, &create)?;
        cloud.lab.rbd(
            Site::ZoneB,
            &["mirror", "image", "enable", &image, "journal"],
        )?;
        until("its copy", Duration::from_secs(90), async || -> Look<()> {
            let here = cloud
                .lab
                .rbd(Site::ZoneA, &["ls", "volumes"])
                .map_err(|e| e.to_string())?;
            here.contains(&strange).then_some(()).ok_or(here)
        })
        .await?;
        // Nor is a volume's own image taken from under it: that of its own id this release's API refuses, others the driver.
        let taken = manage(&format!("volume-{lone}")).map(drop);
        let told = taken.map_or_else(|e| format!("{e:#}"), |()| "it is managed".to_owned());
        assert!(told.contains("already managed"), "{told}");
        zone.says(&lone, "available", "enabled").await?;
        all_primary(cloud, Site::ZoneA, &zone, &[&lone]).await;
        // Cinder's API says `error` for what it keeps as `error_managing`.
        let odd = manage(&strange)?;
        zone.wait(&odd, &[("status", "error")]).await?;
        match nobodys {
            // cinder-api asks the driver for the image's size first, in this release.
            Ok(id) => drop(zone.wait(&id, &[("status", "error")]).await?),
            Err(e) => assert!(format!("{e:#}").contains("nvalid"), "{e:#}"),
        }
        let both_there = [Site::ZoneA, Site::ZoneB];
        for site in both_there {
            assert!(
                cloud.lab.rbd(site, &["ls", "volumes"])?.contains(&strange),
                "{site}"
            );
        }

        // Both at once.
        let several = [("multiattach", "<is> True")];
        let several = zone.replicated_type("several", &several)?;
        let refused = zone.ask_for(&["--size", "1", "--type", &several])?;
        zone.wait(&refused, &[("status", "error")]).await?;
        let told = zone.messages(&refused)?;
        assert!(told.contains("multiattach"), "{told}");
        Ok(())
    })
    .await
}
