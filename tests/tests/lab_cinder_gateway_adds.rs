//! What the gateway adds to a real Cinder: the status in its bodies, and the guards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{
    GroupName, Timestamp, ZoneName,
    action::{Order, Promotion, VolumeAction},
    plan::{Request, Run},
    policy::GroupPolicy,
    volume::Role,
};
use rekindle_core::plan::{PlanKind, Step};
use rekindle_lab::Site;
use rekindle_tests::scenario::{Cloud, Group, Look, Volume, config, page, until, without_fields};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);

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
                let (without, all) = without_fields(&through.body.replace(&here, &own)).unwrap();
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
        let (ids, _) = page(&list).unwrap();
        assert_eq!(ids, [theirs.as_str()]);
        assert_eq!(list["volumes"][0]["rekindle:status"], "active - primary");

        // Filters and orders, through a real Cinder that knows none of it.
        let primaries = "/v3/volumes/detail?rekindle:status=active+-+primary&all_tenants=1&limit=1";
        let (mut seen, mut path) = (Vec::new(), primaries.to_owned());
        loop {
            let answer = gateway.get(&path, Some(&admin)).await?;
            assert_eq!(answer.status, 200, "{answer:?}");
            let (ids, next) = page(&answer.json()?).unwrap();
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
        let (ids, _) = page(&answer.json()?).unwrap();
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
        let (_, all) = without_fields(&answer.body).unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_guards_keep_pairs_whole() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gatewayguard", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let plain = zone.volume_type("plain", &[])?;
        let refusing = zone.replicated_type("refuse", &[("rekindle:on_delete", "refuse")])?;
        let gateway = cloud.gateway(&zone).await?;
        let id = zone.volume(&plain).await?;
        let kept = zone.volume(&refusing).await?;
        let admin = gateway.token(&zone.clients.admin)?;
        let stranger = gateway.token(&zone.clients.member)?;
        let path = format!("/v3/volumes/{id}/action");
        let act = async |body: Value| gateway.post(&path, &admin, &body).await;

        let refused = |args: &[&str]| format!("{:#}", zone.admin(args).unwrap_err());

        // A primary whose policy says so is not deleted, nor forgotten, and nothing of it begins in Cinder.
        let said = refused(&["volume", "delete", &kept]);
        assert!(said.contains("is the primary of a"), "{said}");
        let said = refused(&["volume", "delete", "--force", &kept]);
        assert!(said.contains("is the primary of a"), "{said}");
        let answer = gateway
            .post(
                &format!("/v3/volumes/{kept}/action"),
                &admin,
                &json!({ "os-unmanage": {} }),
            )
            .await?;
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.body.contains("on_delete = refuse"), "{answer:?}");
        // Nothing goes on by a path that is read as no path of Cinder's.
        for path in ["/volume/v3", "/v2", ""] {
            let path = format!("{path}/volumes/{kept}/action");
            let answer = gateway
                .post(&path, &admin, &json!({ "os-unmanage": {} }))
                .await?;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            assert!(answer.body.contains("begins with /v3"), "{answer:?}");
        }
        assert_eq!(zone.show(&kept)?["status"], "available");

        // A volume that Cinder does not know to be replicated becomes a copy here.
        assert_eq!(
            act(json!({ "os-replicate": { "mode": "instant" } }))
                .await?
                .status,
            202
        );
        cloud.wait_copy(Site::ZoneB, &zone, &id).await?;
        assert_eq!(
            act(json!({ "os-extend": { "new_size": 2 } })).await?.status,
            202
        );
        zone.wait(&id, &[("status", "available")]).await?;
        assert_eq!(act(json!({ "os-demote": null })).await?.status, 202);
        // No zone is primary: come again.
        until("it to be pending", SOON, async || -> Look<()> {
            let answer = act(json!({ "os-reserve": null }))
                .await
                .map_err(|e| format!("{e:#}"))?;
            let again = answer.head.to_lowercase().contains("retry-after: 5");
            if answer.status == 409 && again {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await?;
        let image = zone.image(&id)?;
        let order = Order {
            action: VolumeAction::Promote {
                promotion: Promotion::Plain,
            },
            generation: None,
        };
        until("zone-b to be promoted", SOON, async || -> Look<()> {
            let done = cloud.sidecar_of(Site::ZoneB).act(&image, &order).await;
            done.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        until("a refusal that names zone-b", SOON, async || -> Look<()> {
            let answer = act(json!({ "os-reserve": null }))
                .await
                .map_err(|e| format!("{e:#}"))?;
            if answer.status == 409 && answer.body.contains("its primary is in zone-b") {
                Ok(())
            } else {
                Err(answer.body)
            }
        })
        .await?;
        for answer in [
            act(json!({ "os-extend": { "new_size": 3 } })).await?,
            act(json!({ "os-attach": { "mountpoint": "/dev/vdb", "mode": "rw" } })).await?,
            act(json!({ "revert": { "snapshot_id": id } })).await?,
            act(json!({ "os-migrate_volume": { "host": "h@b#p" } })).await?,
            gateway
                .post(
                    "/v3/attachments",
                    &admin,
                    &json!({ "attachment": { "volume_uuid": id } }),
                )
                .await?,
            gateway
                .post(
                    "/v3/volumes",
                    &admin,
                    &json!({ "volume": { "size": 2, "source_volid": id } }),
                )
                .await?,
        ] {
            assert_eq!(answer.status, 409, "{answer:?}");
            assert!(answer.body.contains("zone-b"), "{answer:?}");
        }
        let said = refused(&["volume", "snapshot", "create", "--volume", &id, "of-a-copy"]);
        assert!(said.contains("409") && said.contains("a copy in"), "{said}");
        let said = zone.cinder(&["extend", &id, "3"]).unwrap_err();
        assert!(format!("{said:#}").contains("a copy in"), "{said:#}");
        assert_eq!(zone.show(&id)?["status"], "available");
        // Who sees no such volume is told that there is none.
        let answer = gateway
            .post(&path, &stranger, &json!({ "os-reserve": null }))
            .await?;
        assert_eq!(answer.status, 404, "{answer:?}");

        // The sidecar is away: what ends a volume waits, and all else is Cinder's own.
        cloud.sidecar(Site::ZoneA).kill()?;
        let said = refused(&["volume", "delete", &kept]);
        assert!(said.contains("not known now"), "{said}");
        zone.admin(&["volume", "set", "--name", "still-cinders", &kept])?;
        cloud.sidecar(Site::ZoneA).start()?;

        // Home again, and everything is Cinder's as before.
        let order = Order {
            action: VolumeAction::Demote { token: None },
            generation: None,
        };
        until("zone-b to be demoted", SOON, async || -> Look<()> {
            let done = cloud.sidecar_of(Site::ZoneB).act(&image, &order).await;
            done.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        until("to be promoted again", SOON, async || -> Look<()> {
            let answer = act(json!({ "os-promote": {} }))
                .await
                .map_err(|e| format!("{e:#}"))?;
            if answer.status == 202 {
                Ok(())
            } else {
                Err(answer.body)
            }
        })
        .await?;
        assert_eq!(
            act(json!({ "os-extend": { "new_size": 3 } })).await?.status,
            202
        );
        zone.wait(&id, &[("status", "available")]).await?;
        assert_eq!(act(json!({ "os-unreplicate": null })).await?.status, 202);
        // Its type let nobody delete it: without that it goes.
        let to_plain = json!({ "os-retype": { "new_type": plain, "migration_policy": "never" } });
        let answer = gateway
            .post(&format!("/v3/volumes/{kept}/action"), &admin, &to_plain)
            .await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        zone.wait(&kept, &[("status", "available"), ("type", &plain)])
            .await?;
        zone.admin(&["volume", "delete", &kept])?;
        Ok(())
    })
    .await
}

/// A plan that stands in its first step, until the gate is opened.
async fn a_move_begins(
    cloud: &Cloud,
    group: &Group<'_>,
    request: Request,
) -> anyhow::Result<Timestamp> {
    let asked_at = Timestamp::now();
    let name: &GroupName = &group.name;
    until("a plan to begin", SOON, async || -> Look<()> {
        let answer = cloud
            .orchestrators()
            .plan_for(name, request.clone(), Run::Begin);
        answer.await.map(drop).map_err(|e| e.to_string())
    })
    .await?;
    Ok(asked_at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_what_races_a_plan_or_meets_a_freeze_comes_again() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gatewayraces", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let policy = GroupPolicy {
            application: Some(config::GATE.to_owned()),
            ..config::policy()
        };
        let mut group = cloud.group_with(&[], policy).await?;
        let in_group = [("rekindle:group", group.name.as_str())];
        let grouped = zone.replicated_type("grouped", &in_group)?;
        let gateway = cloud.gateway(&zone).await?;
        let admin = gateway.token(&zone.clients.admin)?;
        let id = zone.volume(&grouped).await?;
        let spec = zone.image(&id)?;
        let kind = rekindle_cli::demo::volumes::Kind::Instant;
        group.volumes.push(Volume { spec, kind });
        cloud.wait_copy(Site::ZoneB, &zone, &id).await?;
        group.wait_protected().await?;
        let path = format!("/v3/volumes/{id}/action");
        let act = async |body: Value| gateway.post(&path, &admin, &body).await;
        let attach = || json!({ "os-reserve": null });
        let again = |answer: &rekindle_tests::scenario::Answer| {
            answer.field("retry-after").map(str::to_owned)
        };

        // Frozen: servers go on, and the volume stays as it is.
        cloud.sidecar_of(Site::ZoneA).freeze("new switches").await?;
        let answer = act(json!({ "os-extend": { "new_size": 2 } })).await?;
        assert_eq!(
            (answer.status, again(&answer).as_deref()),
            (409, Some("60")),
            "{answer:?}"
        );
        assert!(
            answer.body.contains("zone-a is frozen (new switches)"),
            "{answer:?}"
        );
        assert_eq!(act(attach()).await?.status, 202);
        assert_eq!(act(json!({ "os-unreserve": null })).await?.status, 202);
        cloud.sidecar_of(Site::ZoneA).thaw().await?;

        // A plan stands before its first demotion: the volume is primary here, and nothing is in flight on it.
        let to = ZoneName::new("zone-b")?;
        let asked_at = a_move_begins(cloud, &group, Request::Move { to }).await?;
        let stop = |s: &Step| matches!(s, Step::StopApplication { .. });
        group.wait_step(PlanKind::Move, asked_at, stop).await?;
        let report = cloud
            .sidecar_of(Site::ZoneA)
            .volume(&zone.image(&id)?)
            .await?;
        assert_eq!((report.role, &report.in_flight), (Role::Primary, &None));
        for answer in [
            act(attach()).await?,
            act(json!({ "os-extend": { "new_size": 2 } })).await?,
            act(json!({ "os-force_delete": {} })).await?,
            act(json!({ "os-retype": { "new_type": "x", "migration_policy": "never" } })).await?,
            gateway
                .post(
                    "/v3/snapshots",
                    &admin,
                    &json!({ "snapshot": { "volume_id": id } }),
                )
                .await?,
        ] {
            assert_eq!(
                (answer.status, again(&answer).as_deref()),
                (409, Some("5")),
                "{answer:?}"
            );
            assert!(
                answer
                    .body
                    .contains("(move, zone-b is primary at its end) is at work"),
                "{answer:?}"
            );
        }
        assert_eq!(zone.show(&id)?["status"], "available");
        cloud.open_gate()?;
        group.wait_plan(PlanKind::Move, asked_at).await?;
        // The plan has ended: what is refused now is refused for good, and says where to ask.
        let answer = act(attach()).await?;
        assert_eq!((answer.status, again(&answer)), (409, None), "{answer:?}");
        assert!(
            answer.body.contains("its primary is in zone-b"),
            "{answer:?}"
        );
        // Home, and all is as before.
        let asked_at = a_move_begins(cloud, &group, Request::Failback).await?;
        group.wait_plan(PlanKind::Failback, asked_at).await?;
        cloud
            .wait_role(Site::ZoneA, &zone, &id, Role::Primary)
            .await?;
        let answer = act(json!({ "os-extend": { "new_size": 2 } })).await?;
        assert_eq!(answer.status, 202, "{answer:?}");
        zone.wait(&id, &[("status", "available")]).await.map(drop)
    })
    .await
}
