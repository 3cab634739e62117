//! The gateway in front of a real Cinder: what clients do, through it, and what only it does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{status::VolumeStatus, volume::Role};
use rekindle_lab::Site;
use rekindle_tests::scenario::{Cloud, Look, until, without_fields};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);

/// The ids of a page, and the link to the next one.
fn page(answer: &Value) -> (Vec<String>, Option<String>) {
    let volumes = answer["volumes"].as_array().unwrap();
    let ids = volumes.iter().map(|v| v["id"].as_str().unwrap().to_owned());
    let next = answer["volumes_links"][0]["href"].as_str();
    (ids.collect(), next.map(str::to_owned))
}

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
            "snap-through-a-gateway",
        ];
        let snapshot = zone.clients.openstack_json(&zone.clients.admin, &args)?;
        let snapshot = snapshot["id"].as_str().unwrap().to_owned();
        shows(format!("/v3/snapshots/{snapshot}"), "snapshot", "available").await?;
        zone.admin(&["volume", "snapshot", "delete", &snapshot])?;
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
            let (page, next) = page(&answer);
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
        for path in [
            "/",
            "/v3/",
            "/v3/volumes/detail?sort=created_at:asc",
            "/v3/volumes?limit=1&name=renamed",
            "/v3/volumes/none-of-that-name",
            "/v3/types",
            "/v3/limits",
            "/v3/nothing",
        ] {
            for token in [Some(token.as_str()), None] {
                let through = gateway.get(path, token).await?;
                let direct = gateway.cinder_itself(path, token).await?;
                assert_eq!(through.status, direct.status, "{path}");
                let own = zone.clients.volume_url.trim_end_matches("/v3");
                let through_gateway = format!("http://{}", gateway.address);
                let body = through.body.replace(&through_gateway, own);
                match without_fields(&body) {
                    None => assert_eq!(body, direct.body, "{path}"),
                    Some((without, all)) => {
                        assert!(all, "{path}: {body}");
                        assert_eq!(without, direct.json()?, "{path}");
                    }
                }
            }
        }

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

        let answer = gateway.post(&path, &admin, &replicate).await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        let report = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&id)?)
            .await?;
        assert_eq!(
            (report.role, report.mode.map(|m| m.name())),
            (Role::Primary, Some("instant"))
        );
        zone.wait(&id, &[("status", "available")]).await?;
        // A primary has nothing to resync, and promoting it changes nothing.
        let answer = gateway
            .post(&path, &admin, &json!({ "os-resync": null }))
            .await?;
        assert_eq!(answer.status, 409, "{answer:?}");
        cloud.wait_copy(Site::ZoneB, &zone, &id).await?;
        let answer = gateway
            .post(&path, &admin, &json!({ "os-demote": null }))
            .await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        cloud
            .wait_role(Site::ZoneA, &zone, &id, Role::Secondary)
            .await?;
        until("to be promoted again", SOON, async || -> Look<()> {
            let body = json!({ "os-promote": {} });
            let answer = gateway.post(&path, &admin, &body).await;
            match answer.map_err(|e| format!("{e:#}"))? {
                answer if answer.status == 202 => Ok(()),
                answer => Err(answer.body),
            }
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
            let body = json!({ "os-unreplicate": null });
            let answer = gateway.post(&path, &admin, &body).await;
            match answer.map_err(|e| format!("{e:#}"))? {
                answer if answer.status == 202 => Ok(()),
                answer => Err(answer.body),
            }
        })
        .await?;
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
