//! The gateway for many: who may do what, two of them in front of one Cinder, and clients that mean no good.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_common::{
    action::{Order, VolumeAction},
    status::VolumeStatus,
    volume::Role,
};
use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Gateway, Look, page, plainly, until};
use serde_json::{Value, json};
use std::time::Duration;

/// What a slow machine may take for what Cinder does behind a call.
const SOON: Duration = Duration::from_secs(120);
/// On the second gateway's own loopback address.
const METRICS: u16 = 9466;
/// There readers drill, in their own project, and administrators do not.
const RULES: &str = "# Who drills.\n\"drills\": \"role:reader and project_id:%(project_id)s\"\n\"os-demote\": \"rule:drills\"\n";

/// The five actions, in an order in which each may be asked for.
fn actions() -> [(&'static str, Value); 5] {
    [
        ("promote", json!({ "os-promote": {} })),
        ("demote", json!({ "os-demote": null })),
        ("resync", json!({ "os-resync": null })),
        (
            "replicate",
            json!({ "os-replicate": { "mode": "instant" } }),
        ),
        ("unreplicate", json!({ "os-unreplicate": null })),
    ]
}

/// Tokens: of the volume's project a member and a reader, of another one a member, and the administrator's.
struct People {
    admin: String,
    member: String,
    reader: String,
    stranger: String,
    project: String,
}

impl People {
    async fn of(gateway: &Gateway<'_>, zone: &CinderZone<'_>) -> anyhow::Result<Self> {
        let (admin, admins) = gateway.token_and_project(&zone.clients.admin)?;
        let (member, project) = gateway.token_and_project(&zone.clients.member)?;
        Ok(Self {
            reader: gateway.somebody(&admin, &project, "reader").await?,
            stranger: gateway.somebody(&admin, &admins, "member").await?,
            admin,
            member,
            project,
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_serve_whom_they_may_and_no_client_harms_cinder() -> anyhow::Result<()> {
    Cloud::play_with_cinder("gatewaymany", async |cloud| {
        let zone = cloud.cinder(Site::ZoneA)?;
        let plain = zone.volume_type("plain", &[])?;
        let one = cloud.gateway(&zone).await?;
        let two = cloud.gateway_beside(&zone, RULES, METRICS).await?;
        let people = People::of(&one, &zone).await?;
        let id = one.volume_of(&people.member, &plain).await?;

        who_may_what(cloud, &zone, [&one, &two], &people, &id).await?;
        progress_is_polled_to_its_end(cloud, &zone, [&one, &two], &people, &id).await?;
        uploads_arrive(&two, &people).await?;
        hostile_clients_harm_nobody(&zone, [&one, &two], &people, &id).await?;
        what_was_done_can_be_read(cloud, &two, &people).await?;

        // One of them dies; who comes to the other notices nothing.
        two.program().kill()?;
        assert!(two.get("/v3/volumes", Some(&people.member)).await.is_err());
        let list = one.get("/v3/volumes", Some(&people.member)).await?;
        assert_eq!(page(&list.json()?).unwrap().0, [id.as_str()]);
        let off = json!({ "os-unreplicate": null });
        let path = format!("/v3/volumes/{id}/action");
        assert_eq!(one.post(&path, &people.member, &off).await?.status, 202);
        Ok(())
    })
    .await
}

/// Every action for everybody, and what is allowed is done once.
async fn who_may_what(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    [one, two]: [&Gateway<'_>; 2],
    people: &People,
    id: &str,
) -> anyhow::Result<()> {
    let path = format!("/v3/volumes/{id}/action");
    let answers = async |gateway: &Gateway<'_>, token: &str| -> anyhow::Result<Vec<u16>> {
        let mut all = Vec::new();
        for (_, body) in actions() {
            all.push(gateway.post(&path, token, &body).await?.status);
        }
        Ok(all)
    };
    // In the order above. Who sees no such volume is told so; who sees it alone may not touch it.
    for gateway in [one, two] {
        assert_eq!(answers(gateway, &people.stranger).await?, [404; 5]);
        assert_eq!(answers(gateway, "no-token").await?, [401; 5]);
    }
    assert_eq!(answers(one, &people.reader).await?, [403; 5]);
    let role = cloud.role_of(Site::ZoneA, zone, id).await;
    assert_eq!(role, Ok(Role::NotMirrored), "nothing was done");
    // A member of its project, of what is not replicated yet: what the state forbids is not what the rules do.
    let member = answers(one, &people.member).await?;
    assert_eq!(member, [403, 403, 409, 202, 202], "{member:?}");
    let admin = answers(one, &people.admin).await?;
    assert_eq!(admin, [409, 409, 409, 202, 202], "{admin:?}");
    let again = json!({ "os-replicate": { "mode": "instant" } });
    assert_eq!(one.post(&path, &people.member, &again).await?.status, 202);
    // The second one's rules are its own: an administrator of another project drills no more, and a reader does.
    let demote = json!({ "os-demote": null });
    let answer = two.post(&path, &people.admin, &demote).await?;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.contains("rule:drills"), "{answer:?}");
    assert!(answer.body.contains("another project's"), "{answer:?}");
    Ok(())
}

/// What one gateway was asked for, the other one shows until it has come to its end.
async fn progress_is_polled_to_its_end(
    cloud: &Cloud,
    zone: &CinderZone<'_>,
    [one, two]: [&Gateway<'_>; 2],
    people: &People,
    id: &str,
) -> anyhow::Result<()> {
    let path = format!("/v3/volumes/{id}/action");
    let image = zone.image(id)?;
    cloud.wait_copy(Site::ZoneB, zone, id).await?;
    let demote = json!({ "os-demote": null });
    assert_eq!(two.post(&path, &people.reader, &demote).await?.status, 202);
    let order = |action: VolumeAction| Order {
        action,
        generation: None,
    };
    let there = async |action: VolumeAction| {
        let order = order(action);
        until("zone-b to do it", SOON, async || -> Look<()> {
            let done = cloud.sidecar_of(Site::ZoneB).act(&image, &order).await;
            done.map(drop).map_err(|e| e.to_string())
        })
        .await
    };
    there(plainly()).await?;
    let resync = json!({ "os-resync": null });
    until("a resync to be begun", SOON, async || -> Look<()> {
        let answer = one.post(&path, &people.member, &resync).await;
        let answer = answer.map_err(|e| format!("{e:#}"))?;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(answer.body)
        }
    })
    .await?;
    let mut seen: Vec<String> = Vec::new();
    let shown = std::sync::Mutex::new(&mut seen);
    let volume = format!("/v3/volumes/{id}");
    until("it to be a copy again", SOON, async || -> Look<()> {
        let answer = two.get(&volume, Some(&people.reader)).await;
        let answer = answer
            .and_then(|a| a.json())
            .map_err(|e| format!("{e:#}"))?;
        let status = answer["volume"]["rekindle:status"]
            .as_str()
            .unwrap_or_default();
        let mut seen = shown.lock().unwrap();
        if seen.last().is_none_or(|last| last != status) {
            seen.push(status.to_owned());
        }
        if status == "active - secondary" {
            Ok(())
        } else {
            Err(answer["volume"].to_string())
        }
    })
    .await?;
    // While its image is made anew, the zone may have none of that name: then nothing is said.
    let known = |s: &String| s.is_empty() || s.parse::<VolumeStatus>().is_ok();
    assert!(seen.iter().all(known), "{seen:?}");
    tracing::info!(?seen, "a resync, as it was polled");
    // Home again.
    there(VolumeAction::Demote { token: None }).await?;
    until("to be promoted again", SOON, async || -> Look<()> {
        let answer = one
            .post(&path, &people.admin, &json!({ "os-promote": {} }))
            .await;
        let answer = answer.map_err(|e| format!("{e:#}"))?;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(answer.body)
        }
    })
    .await?;
    cloud.wait_role(Site::ZoneA, zone, id, Role::Primary).await
}

/// A body as large as Cinder takes them, in pieces, and one that is larger.
async fn uploads_arrive(gateway: &Gateway<'_>, people: &People) -> anyhow::Result<()> {
    let made = json!({ "volume_type": { "name": format!("large-{}", people.project) } });
    let made = gateway.post("/v3/types", &people.admin, &made).await?;
    let id = made.json()?["volume_type"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let specs = |n: usize| -> Value {
        let each = (0..n).map(|n| (format!("k-{n:04}"), json!("x".repeat(250))));
        Value::Object(each.collect())
    };
    let path = format!("/v3/types/{id}/extra_specs");
    for (n, status) in [(400, 200), (500, 413)] {
        let body = json!({ "extra_specs": specs(n) });
        let answer = gateway.post(&path, &people.admin, &body).await?;
        assert_eq!(answer.status, status, "{n}: {}", answer.head);
        if status == 200 {
            assert_eq!(answer.json()?, body);
        }
    }
    let head = format!(
        "DELETE /v3/types/{id} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {}\r\nConnection: close\r\n\r\n",
        people.admin
    );
    let gone = gateway.bytes(head.as_bytes(), false).await?;
    assert!(gone.starts_with("HTTP/1.1 202 "), "{gone}");
    Ok(())
}

/// What nobody should send, to the real pair: nothing of it is done, and Cinder serves on.
async fn hostile_clients_harm_nobody(
    zone: &CinderZone<'_>,
    [one, two]: [&Gateway<'_>; 2],
    people: &People,
    id: &str,
) -> anyhow::Result<()> {
    let token = &people.member;
    let before: Vec<Value> = zone.list()?;
    let volume = r#"{"volume": {"size": 1, "name": "smuggled"}}"#;
    let hidden = format!(
        "POST /v3/volumes HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{volume}",
        volume.len()
    );
    let post = |fields: &str, rest: &str| {
        format!(
            "POST /v3/volumes HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\n{fields}\r\n{rest}"
        )
    };
    let long = "x".repeat(60_000);
    for (what, bytes, begins) in [
        (
            "both lengths",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
            "HTTP/1.1 400 ",
        ),
        (
            "both, the other way",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
            "HTTP/1.1 400 ",
        ),
        (
            "two lengths",
            post("Content-Length: 0\r\nContent-Length: 300\r\n", &hidden),
            "HTTP/1.1 400 ",
        ),
        (
            "a length that is none",
            post("Content-Length: +0\r\n", &hidden),
            "HTTP/1.1 400 ",
        ),
        (
            "a coding that hides",
            post(
                "Transfer-Encoding: xchunked\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
            "HTTP/1.1 ",
        ),
        (
            "a field that hides",
            post(
                "Transfer_Encoding: chunked\r\nContent-Length : 0\r\n",
                &hidden,
            ),
            "HTTP/1.1 400 ",
        ),
        (
            "a bad chunk",
            post("Transfer-Encoding: chunked\r\n", &format!("zz\r\n{hidden}")),
            "",
        ),
        (
            "a chunk that overflows",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("fffffffffffffffff\r\n{hidden}"),
            ),
            "",
        ),
        (
            "a chunk without its end",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("2\r\n{{}}{hidden}"),
            ),
            "",
        ),
        (
            "a large field",
            post(&format!("X: {long}\r\n"), ""),
            "HTTP/1.1 431 ",
        ),
        (
            "a long target",
            format!("GET /v3/{long} HTTP/1.1\r\nHost: h\r\n\r\n"),
            "HTTP/1.1 414 ",
        ),
        ("no HTTP", "\x16\x03\x01\x02".repeat(100), ""),
        (
            "a body that breaks off",
            post("Content-Length: 500\r\n", volume),
            "",
        ),
        (
            "a method in the query",
            format!(
                "GET /v3/volumes/{id}?_method=DELETE HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: {token}\r\n\r\n"
            ),
            "HTTP/1.1 400 ",
        ),
        (
            "a NaN before a guard",
            {
                let body = r#"{"os-force_delete": {}, "x": NaN}"#;
                format!(
                    "POST /v3/volumes/{id}/action HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            },
            "HTTP/1.1 400 ",
        ),
    ] {
        // Whoever is told nothing for certain leaves.
        let said = two.bytes(bytes.as_bytes(), begins.is_empty()).await?;
        assert!(said.starts_with(begins), "{what}: {said}");
        let done = ["HTTP/1.1 2", "smuggled"].iter().any(|w| said.contains(w));
        assert!(!done, "{what}: {said}");
    }
    // Who is slow is let go: within its head, and within its body, however it drips.
    let head = two
        .bytes(b"GET /v3/volumes HTTP/1.1\r\nHost: h\r\nX-", false)
        .await?;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    let body = two
        .bytes(post("Content-Length: 500\r\n", "{").as_bytes(), false)
        .await?;
    assert!(
        body.is_empty() || body.starts_with("HTTP/1.1 400 "),
        "{body}"
    );
    // Cinder has what it had, and answers itself and through both.
    for gateway in [one, two] {
        let list = gateway
            .get(
                "/v3/volumes?name=smuggled&all_tenants=1",
                Some(&people.admin),
            )
            .await?;
        assert_eq!(page(&list.json()?).unwrap().0, Vec::<String>::new());
        assert_eq!(
            gateway
                .get(&format!("/v3/volumes/{id}"), Some(token))
                .await?
                .status,
            200
        );
    }
    let ids = |all: &[Value]| all.iter().map(|v| v["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&zone.list()?), ids(&before));
    assert_eq!(
        one.cinder_itself("/v3/volumes", Some(token)).await?.status,
        200
    );
    Ok(())
}

/// The log has a line for each request, the sidecar's the same id, and the metrics their times.
async fn what_was_done_can_be_read(
    cloud: &Cloud,
    gateway: &Gateway<'_>,
    people: &People,
) -> anyhow::Result<()> {
    let list = gateway
        .get("/v3/volumes?limit=1", Some(&people.member))
        .await?;
    let cinders = list.field("x-openstack-request-id").unwrap();
    let log = gateway.program().log();
    let line = log.lines().find(|l| l.contains(cinders));
    let line = line.unwrap_or_else(|| panic!("no line with {cinders} in {log}"));
    for field in [
        "access",
        "method=GET",
        "path=\"/v3/volumes\"",
        "status=200",
        "took_ms=",
        "bytes=",
        "whole=true",
        "peer=",
        "request.id=\"req-",
        "cinder.request.id=",
    ] {
        assert!(line.contains(field), "{field} is not in {line}");
    }
    assert!(!log.contains(&people.member), "a token is in the log");
    // An order by its id, from the gateway's log to the sidecar's, which it came to over TLS.
    let audit = log
        .lines()
        .find(|l| l.contains("audit") && l.contains("ordered"));
    let audit = audit.unwrap_or_else(|| panic!("no order in {log}"));
    let id = audit.split("request.id=").nth(1).unwrap();
    let id = id
        .trim_matches(|c: char| c == '"')
        .split(['"', ' '])
        .next()
        .unwrap();
    assert!(id.starts_with("req-"), "{audit}");
    let sidecars = cloud.sidecar(Site::ZoneA).log();
    let of_it: Vec<&str> = sidecars.lines().filter(|l| l.contains(id)).collect();
    assert!(
        of_it.iter().any(|l| l.contains("action ended")),
        "{id}: {of_it:#?}"
    );
    assert!(
        of_it.iter().any(|l| l.contains("access")),
        "{id}: {of_it:#?}"
    );

    let url = format!("http://127.0.0.1:{METRICS}/metrics");
    let within = Duration::from_secs(10);
    let text = cloud.lab.run(Site::ZoneA, "curl", &["-sf", &url], within)?;
    for (route, status) in [("volumes", 200), ("volume_action", 202)] {
        let times = text.lines().find(|l| {
            l.starts_with("rekindle_gateway_request_duration_seconds_count{")
                && l.contains(&format!("\"{route}\""))
        });
        let times = times.unwrap_or_else(|| panic!("no times of {route} in {text}"));
        let n: f64 = times.rsplit_once(' ').unwrap().1.parse()?;
        assert!(n >= 1.0, "{times}");
        let counted = text
            .lines()
            .any(|l| l.contains(&format!("\"{route}\"")) && l.contains(&status.to_string()));
        assert!(counted, "{status} of {route} in {text}");
    }
    assert!(
        text.contains("rekindle_gateway_faults_total{zone=\"zone-a\",name=\"guard_json\"} 1"),
        "{text}"
    );
    Ok(())
}
