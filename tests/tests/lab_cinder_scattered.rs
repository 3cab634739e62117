//! A generic group of Cinder's whose volumes are on two backends: no sidecar moves half of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::volume::Role;
use rekindle_lab::Site;
use rekindle_tests::scenario::{BACKEND, CinderZone, Cloud, Look, config, until};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const OTHER: &str = "second";

/// `cinder`, with the version of the API that has replication of groups.
fn cinder(zone: &CinderZone<'_>, args: &[&str]) -> anyhow::Result<String> {
    let version = ["--os-volume-api-version", "3.38"];
    zone.cinder(&[&version, args].concat())
}

async fn group_says(zone: &CinderZone<'_>, group: &str, word: &str) -> anyhow::Result<()> {
    let what = format!("the group to say {word}");
    until(&what, SOON, async || -> Look<()> {
        let shown = cinder(zone, &["group-show", group]).map_err(|e| format!("{e:#}"))?;
        let mut cells = shown.lines().flat_map(|l| l.split('|'));
        let says = cells.any(|c| c.trim() == word);
        says.then_some(()).ok_or(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_across_backends_is_refused_wherever_somebody_tries_it() -> anyhow::Result<()> {
    Cloud::play_with_cinder("scattered", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let socket = config::socket(&cloud.lab, Site::ZoneA, "driver");
        let lab = cloud.lab.cinder(Site::ZoneA)?;
        lab.configure(&[lab.rekindle(BACKEND, &socket), lab.rekindle(OTHER, &socket)])?;
        let here = zone.replicated_type("here", &[])?;
        let there = zone.replicated_type("there", &[("volume_backend_name", OTHER)])?;
        let kind = format!("{}-kind", cloud.name());
        cinder(&zone, &["group-type-create", &kind])?;
        let on = "consistent_group_replication_enabled=<is> True";
        cinder(&zone, &["group-type-key", &kind, "set", on])?;
        let one = zone.volume(&here).await?;
        let other = zone.volume(&there).await?;
        let at = |id: &str| -> anyhow::Result<String> {
            let shown = zone.show(id)?;
            Ok(shown["os-vol-host-attr:host"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(at(&one)?, format!("zone-a@{BACKEND}#{BACKEND}"));
        assert_eq!(at(&other)?, format!("zone-a@{OTHER}#{OTHER}"));

        // Moved to the other one, by the driver or by copying, or by a retype that would come to it: Cinder copies, and
        // deletes the source. Refused before anything is made there.
        let to = format!("zone-a@{OTHER}#{OTHER}");
        for more in [&[][..], &["--force-host-copy", "True"]] {
            // This client prints a refusal and ends well.
            let refused = zone.cinder(&[&["migrate"], more, &[&one, &to]].concat())?;
            assert!(refused.contains("HTTP 400"), "{refused}");
            assert!(refused.contains("be replicated"), "{refused}");
        }
        zone.cinder(&["retype", "--migration-policy", "on-demand", &one, &there])?;
        let log = cloud.lab.log_path(Site::ZoneA, "cinder-volume");
        until("the retype's refusal", SOON, async || -> Look<()> {
            let said = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
            let shown = zone.show(&one).map_err(|e| format!("{e:#}"))?;
            let over = shown["status"] == "available" && shown["type"] == here.as_str();
            if over && said.contains("Volume must not be replicated") {
                Ok(())
            } else {
                Err(shown.to_string())
            }
        })
        .await?;
        assert_eq!(at(&one)?, format!("zone-a@{BACKEND}#{BACKEND}"));
        assert_eq!(cloud.role_of(Site::ZoneA, &zone, &one).await, Ok(Role::Primary));

        // Of both types: Cinder finds no backend that has both.
        let both = format!("{here},{there}");
        let wide = format!("{}-wide", cloud.name());
        cinder(&zone, &["group-create", &kind, &both, "--name", &wide])?;
        group_says(&zone, &wide, "error").await?;

        // Added to a group that is on the other one.
        let group = format!("{}-group", cloud.name());
        cinder(&zone, &["group-create", &kind, &here, "--name", &group])?;
        group_says(&zone, &group, "available").await?;
        cinder(&zone, &["group-update", &group, "--add-volumes", &one])?;
        group_says(&zone, &group, "available").await?;
        let version = ["--os-volume-api-version", "3.38"];
        let refused = zone.refused(
            &[&version[..], &["group-update", &group, "--add-volumes", &other]].concat(),
        )?;
        assert!(refused.contains(&other), "{refused}");

        // And where it is in the group all the same: the driver names the stranger, and moves none.
        zone.sql(&format!(
            "UPDATE volumes SET group_id = (SELECT id FROM `groups` WHERE name = '{group}' AND deleted = 0) WHERE id = '{other}'"
        ))?;
        cinder(&zone, &["group-enable-replication", &group])?;
        group_says(&zone, &group, "error").await?;
        let log = std::fs::read_to_string(cloud.lab.log_path(Site::ZoneA, "cinder-volume"))?;
        let said = format!("1 of its volumes are on others (the first: {other})");
        assert!(log.contains(&said), "no {said} in cinder-volume's log");
        for id in [&one, &other] {
            assert_eq!(cloud.role_of(Site::ZoneA, &zone, id).await, Ok(Role::Primary));
        }
        zone.sql(&format!("UPDATE volumes SET group_id = NULL WHERE id = '{other}'"))?;
        Ok(())
    })
    .await
}
