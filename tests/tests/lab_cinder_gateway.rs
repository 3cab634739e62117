//! The gateway in front of a real Cinder: what clients do, through it, and what only it does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{status::VolumeStatus, volume::Role};
use rekindle_lab::Site;
use rekindle_tests::scenario::{Cloud, Look, until};
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

        // It says what Cinder says, but for where links lead.
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
                assert_eq!(
                    through.body.replace(&through_gateway, own),
                    direct.body,
                    "{path}"
                );
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

const FIELDS: [&str; 5] = [
    "rekindle:status",
    "rekindle:mode",
    "rekindle:peer",
    "rekindle:last_sync",
    "rekindle:lag",
];

/// A body without what the gateway adds, and whether it had all of that in each volume.
fn without_fields(body: &str) -> (Value, bool) {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let mut all = true;
    let mut take = |volume: &mut Value| {
        let volume = volume.as_object_mut().unwrap();
        all &= FIELDS.iter().all(|f| volume.remove(*f).is_some());
    };
    match body.get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.iter_mut().for_each(&mut take),
        None => take(&mut body["volume"]),
    }
    (body, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_carry_their_status() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gatewaystatus", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let plain = zone.volume_type("plain", &[])?;
        let gateway = cloud.gateway(&zone).await?;
        let (one, two) = (zone.volume(&plain).await?, zone.volume(&plain).await?);
        let admin = gateway.token(&zone.clients.admin)?;
        let member = gateway.token(&zone.clients.member)?;
        let status = async |id: &str, token: &str| -> anyhow::Result<Value> {
            let answer = gateway
                .get(&format!("/v3/volumes/{id}"), Some(token))
                .await?;
            Ok(answer.json()?["volume"]["rekindle:status"].clone())
        };
        assert_eq!(status(&one, &admin).await?, Value::Null);
        let replicate = json!({ "os-replicate": { "mode": "instant" } });
        let action = format!("/v3/volumes/{one}/action");
        let answer = gateway.post(&action, &admin, &replicate).await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(status(&one, &admin).await?, "active - primary");

        // In all three places, and all else is Cinder's.
        let own = zone.clients.volume_url.trim_end_matches("/v3").to_owned();
        let here = format!("http://{}", gateway.address);
        for path in [
            "/v3/volumes",
            "/v3/volumes/detail?sort=created_at:asc&with_count=1",
            &format!("/v3/volumes/{one}"),
            &format!("/v3/volumes/{two}"),
            "/v3/volumes?limit=1",
        ] {
            for token in [&admin, &member] {
                let through = gateway.get(path, Some(token)).await?;
                let direct = gateway.cinder_itself(path, Some(token)).await?;
                assert_eq!(through.status, direct.status, "{path}");
                if through.status != 200 {
                    continue;
                }
                let (without, all) = without_fields(&through.body.replace(&here, &own));
                assert!(all, "{path}: {through:?}");
                let direct: Value = serde_json::from_str(&direct.body)?;
                assert_eq!(without, direct, "{path}");
            }
        }
        let shown = gateway
            .get(&format!("/v3/volumes/{one}"), Some(&admin))
            .await?;
        let shown = &shown.json()?["volume"];
        assert_eq!(
            (&shown["rekindle:mode"], &shown["rekindle:peer"]),
            (&json!("instant"), &json!("zone-b"))
        );
        let table = zone.cinder(&["show", &one])?;
        assert!(
            table.contains("rekindle:status") && table.contains("active - primary"),
            "{table}"
        );
        assert!(zone.admin(&["volume", "list", "--long"])?.contains(&one));

        // A member's own volume, of which Cinder tells its user no image.
        let args = [
            "volume", "create", "--size", "1", "--type", &plain, "theirs",
        ];
        let theirs = zone.clients.openstack_json(&zone.clients.member, &args)?;
        let theirs = theirs["id"].as_str().unwrap().to_owned();
        zone.wait(&theirs, &[("status", "available")]).await?;
        let answer = gateway
            .post(&format!("/v3/volumes/{theirs}/action"), &member, &replicate)
            .await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(status(&theirs, &member).await?, "active - primary");
        let list = gateway.get("/v3/volumes", Some(&member)).await?.json()?;
        let (ids, _) = page(&list);
        assert_eq!(ids, [theirs.as_str()]);
        assert_eq!(list["volumes"][0]["rekindle:status"], "active - primary");

        // Filters and orders, through a real Cinder that knows none of it.
        let primaries = "/v3/volumes/detail?rekindle:status=active+-+primary&all_tenants=1&limit=1";
        let (mut seen, mut path) = (Vec::new(), primaries.to_owned());
        loop {
            let answer = gateway.get(&path, Some(&admin)).await?;
            assert_eq!(answer.status, 200, "{answer:?}");
            let (ids, next) = page(&answer.json()?);
            seen.extend(ids);
            let Some(next) = next else { break };
            path = next.strip_prefix(&here).unwrap().to_owned();
        }
        seen.sort();
        let mut wanted = vec![one.clone(), theirs.clone()];
        wanted.sort();
        assert_eq!(seen, wanted);
        let answer = gateway
            .get(
                "/v3/volumes?sort=rekindle:status:asc,created_at:asc",
                Some(&admin),
            )
            .await?;
        let (ids, _) = page(&answer.json()?);
        let place = |id: &str| ids.iter().position(|i| i == id).unwrap();
        assert!(place(&two) < place(&one), "{ids:?}");

        // The sidecar dies: unknown, and Cinder's own words with it; then it is back.
        cloud.sidecar(Site::ZoneA).kill()?;
        until("the status to be unknown", SOON, async || -> Look<()> {
            match status(&one, &admin).await.map_err(|e| format!("{e:#}"))? {
                word if word == "unknown" => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await?;
        let began = Instant::now();
        let answer = gateway.get("/v3/volumes/detail", Some(&admin)).await?;
        let (_, all) = without_fields(&answer.body);
        assert!(all && answer.status == 200, "{answer:?}");
        let direct = Instant::now();
        gateway
            .cinder_itself("/v3/volumes/detail", Some(&admin))
            .await?;
        let slower = began.elapsed().saturating_sub(direct.elapsed());
        assert!(slower < Duration::from_secs(5), "{slower:?}");
        let answer = gateway.get(primaries, Some(&admin)).await?;
        assert_eq!(answer.status, 503, "{answer:?}");
        cloud.sidecar(Site::ZoneA).start()?;
        until("the status to be told", SOON, async || -> Look<()> {
            match status(&one, &admin).await.map_err(|e| format!("{e:#}"))? {
                word if word == "active - primary" => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await?;
        let body = json!({ "os-unreplicate": null });
        let path = format!("/v3/volumes/{theirs}/action");
        assert_eq!(gateway.post(&path, &member, &body).await?.status, 202);
        zone.clients
            .openstack(&zone.clients.member, &["volume", "delete", &theirs])?;
        Ok(())
    })
    .await
}
