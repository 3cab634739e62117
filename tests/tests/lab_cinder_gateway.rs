//! The gateway in front of a real Cinder: what clients do, through it, and what only it does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{status::VolumeStatus, volume::Role};
use rekindle_lab::Site;
use rekindle_tests::{
    recorded::read,
    scenario::{Beside, Cloud, Look, page, until},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);
/// What is asked of Cinder itself and through the gateway: recorded from both clients, and written by hand.
const REQUESTS: [(&str, &str); 4] = [
    ("clients", include_str!("../requests/clients.txt")),
    ("reading", include_str!("../requests/reading.txt")),
    ("changing", include_str!("../requests/changing.txt")),
    ("odd", include_str!("../requests/odd.txt")),
];

/// So many are compared, and no file was read by half.
const LEAST: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_find_cinder_behind_the_gateway() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gateway", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let plain = zone.volume_type("plain", &[])?;
        let gateway = cloud.gateway(&zone).await?;

        // Both clients, for what people do in a day.
        let token = gateway.token(&zone.clients.admin)?;
        let mut ids = Vec::new();
        for n in 1..=3 {
            let size = ["--size", "1", "--type", &plain];
            ids.push(zone.ask_for_named(&format!("paged-{n}"), &size)?);
        }
        let shows = async |path: String, key: &str, word: &str| {
            until(
                &format!("{path} to be {word}"),
                SOON,
                async || -> Look<()> {
                    let answer = gateway.get(&path, Some(&token)).await;
                    let shown = answer
                        .and_then(|a| a.json())
                        .map_err(|e| format!("{e:#}"))?;
                    match shown[key]["status"].as_str() {
                        Some(status) if status == word => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                },
            )
            .await
        };
        for id in &ids {
            shows(format!("/v3/volumes/{id}"), "volume", "available").await?;
        }
        let (one, two) = (&ids[0], &ids[1]);
        zone.admin(&[
            "volume",
            "set",
            "--name",
            "renamed",
            "--property",
            "k=v",
            one,
        ])?;
        let args = [
            "volume",
            "snapshot",
            "create",
            "--volume",
            one,
            "seen-beside",
        ];
        let snapshot = zone.clients.openstack_json(&zone.clients.admin, &args)?;
        let snapshot = snapshot["id"].as_str().unwrap().to_owned();
        shows(format!("/v3/snapshots/{snapshot}"), "snapshot", "available").await?;
        assert!(zone.admin(&["volume", "type", "list"])?.contains(&plain));
        assert!(
            zone.admin(&["quota", "show", "--volume"])?
                .contains("gigabytes")
        );
        let table = zone.cinder(&["--os-volume-api-version", "3.70", "list", "--limit", "2"])?;
        assert_eq!(table.matches("available").count(), 2, "{table}");
        assert!(zone.cinder(&["show", one])?.contains("renamed"));
        let theirs = zone
            .clients
            .openstack(&zone.clients.member, &["volume", "list"])?;
        assert!(!theirs.contains("renamed"), "another project's: {theirs}");
        let log = gateway.program().log();
        assert!(
            log.contains("/volumes/detail"),
            "they came by the gateway: {log}"
        );

        // Pages are whole, and their links lead back to the gateway.
        let first = gateway.get("/v3/volumes?limit=2", Some(&token)).await?;
        assert_eq!(first.status, 200, "{first:?}");
        let own = format!("http://{}", gateway.address);
        let mut seen = Vec::new();
        let mut answer = first.json()?;
        loop {
            let (page, next) = page(&answer).unwrap();
            seen.extend(page);
            let Some(next) = next else { break };
            let path = next.strip_prefix(&own);
            let path = path.unwrap_or_else(|| panic!("{next} leads past {own}"));
            answer = gateway.get(path, Some(&token)).await?.json()?;
        }
        assert!(ids.iter().all(|id| seen.contains(id)), "{seen:?}");
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "{seen:?}");

        // It says what Cinder says, but for where links lead, and what it adds to volumes.
        let (mine, project) = gateway.token_and_project(&zone.clients.admin)?;
        let (theirs, their_project) = gateway.token_and_project(&zone.clients.member)?;
        let types = gateway.get("/v3/types?is_public=None", Some(&mine)).await?;
        let types = types.json()?;
        let mut types = types["volume_types"].as_array().unwrap().iter();
        let type_id = types.find(|t| t["name"] == plain.as_str()).unwrap()["id"].as_str();
        let addresses = [gateway.cinders_address()?, gateway.address];
        let mut beside = Beside::new(
            addresses,
            &[
                ("admin", mine.as_str()),
                ("project", &project),
                ("member", &theirs),
                ("member_project", &their_project),
                ("type", &plain),
                ("type_id", type_id.unwrap()),
                ("volume", one),
                ("other", &ids[2]),
                ("snapshot", &snapshot),
            ],
        );
        let began = Instant::now();
        for (name, text) in REQUESTS {
            let requests = read(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            beside.compare(name, &requests).await?;
        }
        eprintln!("{} in {:?}", beside.seen, began.elapsed());
        assert!(beside.seen.differences.is_empty(), "{}", beside.seen);
        assert!(beside.seen.asked >= LEAST, "{}", beside.seen);
        zone.admin(&["volume", "snapshot", "delete", &snapshot])?;

        // Cinder dies, and is back.
        cloud.lab.kill_service(Site::ZoneA, "cinder-api")?;
        let began = Instant::now();
        let answer = gateway.get("/v3/volumes", Some(&token)).await?;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(
            answer
                .head
                .to_lowercase()
                .contains("x-openstack-request-id: req-"),
            "{answer:?}"
        );
        let said = zone.cinder(&["show", one]).unwrap_err();
        assert!(
            format!("{said:#}").contains("Cinder cannot be connected"),
            "{said:#}"
        );
        cloud.lab.start_service(Site::ZoneA, "cinder-api")?;
        shows(format!("/v3/volumes/{two}"), "volume", "available").await?;
        zone.admin(&["volume", "delete", two])?;
        until("it to be gone", SOON, async || -> Look<()> {
            let answer = gateway
                .get(&format!("/v3/volumes/{two}"), Some(&token))
                .await;
            match answer.map_err(|e| format!("{e:#}"))?.status {
                404 => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_actions_are_for_whom_they_are_for() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gatewayact", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let plain = zone.volume_type("plain", &[])?;
        let gateway = cloud.gateway(&zone).await?;
        let id = zone.volume(&plain).await?;
        let admin = gateway.token(&zone.clients.admin)?;
        let stranger = gateway.token(&zone.clients.member)?;
        let path = format!("/v3/volumes/{id}/action");
        let replicate = json!({ "os-replicate": { "mode": "instant" } });

        // A member of another project sees no such volume, and so does Cinder say.
        let answer = gateway.post(&path, &stranger, &replicate).await?;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(
            answer.json()?["itemNotFound"]["message"]
                .to_string()
                .contains(&id)
        );
        let answer = gateway.post(&path, "no-token-at-all", &replicate).await?;
        assert_eq!(answer.status, 401, "{answer:?}");
        let answer = gateway
            .post(&path, &admin, &json!({ "os-replicate": {} }))
            .await?;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(
            cloud.role_of(Site::ZoneA, &zone, &id).await,
            Ok(Role::NotMirrored)
        );

        // By the commands of openstackclient, as people give them.
        let said = zone.clients.openstack(
            &zone.clients.member,
            &["volume", "replicate", "--mode", "instant", &id],
        );
        let said = format!("{:#}", said.unwrap_err());
        assert!(said.contains(&id) && said.contains("No Volume"), "{said}");
        zone.admin(&["volume", "replicate", "--mode", "instant", &id])?;
        let replication = async || -> anyhow::Result<Value> {
            let args = ["volume", "replication", "show", &id];
            Ok(zone.clients.openstack_json(&zone.clients.admin, &args)?)
        };
        let shown = replication().await?;
        assert_eq!(shown["id"], id.as_str(), "{shown}");
        assert_eq!(
            (&shown["status"], &shown["mode"], &shown["peer"]),
            (
                &json!("active - primary"),
                &json!("instant"),
                &json!("zone-b")
            )
        );
        let report = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&id)?)
            .await?;
        assert_eq!(
            (report.role, report.mode.map(|m| m.name())),
            (Role::Primary, Some("instant"))
        );
        zone.wait(&id, &[("status", "available")]).await?;
        // A primary has nothing to resync, and one that is not there keeps no other from its turn.
        let said = zone.admin(&["volume", "resync", &id, "no-such-volume"]);
        let said = format!("{:#}", said.unwrap_err());
        assert!(said.contains("2 of 2 were refused"), "{said}");
        assert!(said.contains(&format!("{id}: ")), "{said}");
        cloud.wait_copy(Site::ZoneB, &zone, &id).await?;
        zone.admin(&["volume", "demote", &id])?;
        cloud
            .wait_role(Site::ZoneA, &zone, &id, Role::Secondary)
            .await?;
        until("to be promoted again", SOON, async || -> Look<()> {
            let promoted = zone.admin(&["volume", "promote", &id]);
            promoted.map(drop).map_err(|e| format!("{e:#}"))
        })
        .await?;
        cloud
            .wait_role(Site::ZoneA, &zone, &id, Role::Primary)
            .await?;

        // The sidecar dies: Cinder's own requests go on, an action says so, and it works again by itself.
        cloud.sidecar(Site::ZoneA).kill()?;
        let answer = gateway
            .post(&path, &admin, &json!({ "os-unreplicate": null }))
            .await?;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(zone.show(&id)?["status"], "available");
        cloud.sidecar(Site::ZoneA).start()?;
        until("replication to be off", SOON, async || -> Look<()> {
            let taken_off = zone.admin(&["volume", "unreplicate", &id]);
            taken_off.map(drop).map_err(|e| format!("{e:#}"))
        })
        .await?;
        assert_eq!(replication().await?["status"], Value::Null);
        let report = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&id)?)
            .await?;
        assert_eq!(report.role, Role::NotMirrored);
        assert_ne!(report.status, VolumeStatus::ActivePrimary);

        // What is Cinder's goes to Cinder.
        let answer = gateway
            .post(
                &path,
                &admin,
                &json!({ "os-set_bootable": { "bootable": true } }),
            )
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(zone.show(&id)?["bootable"], true);
        Ok(())
    })
    .await
}
