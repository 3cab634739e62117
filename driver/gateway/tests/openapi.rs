//! The description holds for what the gateway answers: each operation, and each kind of answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rekindle_common::{ApiError, ErrorCode};
use serde_json::{Value, json};
use support::{
    cloud::{ELSEWHERE, GROUP, ITS_IMAGE, PLAIN, TAKEN_IN},
    openapi,
    scene::{Scene, scene},
};

async fn checked(scene: &Scene, method: &str, path: &str, token: &str, body: &str) -> u16 {
    let answer = scene.send(method, path, token, body).await;
    openapi::check(method, path, &answer);
    answer.status
}

/// PLAIN is a primary whose policy forbids that it ends, TAKEN_IN a copy.
async fn replicated() -> Scene {
    let scene = scene("[status]\nage = \"10ms\"\n").await;
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), |r| {
        r["on_delete"] = json!("refuse");
        r["mode"] =
            json!({ "mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m" });
        r["last_sync"] = json!({ "at": "2026-11-26T10:00:00Z", "took": null, "bytes": null });
        r["lag"] = json!({ "kind": "time", "behind": "1m 30s" });
    });
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), |r| {
            r["role"] = json!("secondary");
            r["status"] = json!("active - secondary");
            r["peer_primary"] = json!("yes");
        });
    scene
}

#[tokio::test]
async fn every_operation_answers_as_described() {
    let mut scene = replicated().await;
    let volumes = "/v3/p/volumes";
    for path in [
        volumes.to_owned(),
        format!("{volumes}/detail"),
        format!("{volumes}/{PLAIN}"),
        format!("{volumes}/{TAKEN_IN}"),
        format!("{volumes}/{ELSEWHERE}"),
        format!("{volumes}?rekindle:mode=periodic&limit=1&with_count=1"),
        format!("{volumes}/detail?sort=rekindle:lag:asc&limit=1"),
    ] {
        assert_eq!(
            checked(&scene, "GET", &path, "member", "").await,
            200,
            "{path}"
        );
    }
    for (query, status) in [
        ("rekindle:status=x", 400),
        ("rekindle:mode=once&marker=x", 404),
    ] {
        let path = format!("{volumes}?{query}");
        assert_eq!(
            checked(&scene, "GET", &path, "member", "").await,
            status,
            "{query}"
        );
    }

    let action = format!("{volumes}/{PLAIN}/action");
    for (token, body, status) in [
        ("member", json!({ "os-resync": null }), 202),
        ("member", json!({ "os-replicate": {} }), 400),
        ("member", json!({ "os-demote": null }), 403),
        ("admin", json!({ "os-unmanage": {} }), 409),
    ] {
        let body = body.to_string();
        assert_eq!(
            checked(&scene, "POST", &action, token, &body).await,
            status,
            "{body}"
        );
    }
    for (code, status) in [
        (ErrorCode::IsPrimary, 409),
        (ErrorCode::DeadlineExceeded, 504),
    ] {
        scene.sidecar.refuses(Some(ApiError::new(code, "so it is")));
        let body = r#"{"os-resync": null}"#;
        assert_eq!(
            checked(&scene, "POST", &action, "member", body).await,
            status
        );
    }

    let plain = format!("{volumes}/{PLAIN}");
    assert_eq!(checked(&scene, "DELETE", &plain, "member", "").await, 409);
    for (path, body) in [
        ("volumes", json!({ "volume": { "source_volid": TAKEN_IN } })),
        (
            "attachments",
            json!({ "attachment": { "volume_uuid": TAKEN_IN } }),
        ),
        (
            "snapshots",
            json!({ "snapshot": { "volume_id": TAKEN_IN } }),
        ),
        (
            "group_snapshots",
            json!({ "group_snapshot": { "group_id": "g-1" } }),
        ),
        ("backups", json!({ "backup": { "volume_id": TAKEN_IN } })),
        (
            "backups/b-1/restore",
            json!({ "restore": { "volume_id": TAKEN_IN } }),
        ),
        (
            "volume-transfers",
            json!({ "transfer": { "volume_id": TAKEN_IN } }),
        ),
        (
            "os-volume-transfer",
            json!({ "transfer": { "volume_id": TAKEN_IN } }),
        ),
        // The stub's snapshots have their volumes' ids.
        ("volumes", json!({ "volume": { "snapshot_id": TAKEN_IN } })),
        (
            "cgsnapshots",
            json!({ "cgsnapshot": { "consistencygroup_id": "g-1" } }),
        ),
        (
            "groups/action",
            json!({ "create-from-src": { "source_group_id": GROUP } }),
        ),
        (
            "groups/g-1/action",
            json!({ "delete": { "delete-volumes": true } }),
        ),
        (
            "consistencygroups/create_from_src",
            json!({ "consistencygroup-from-src": { "source_cgid": GROUP } }),
        ),
        (
            "consistencygroups/g-1/delete",
            json!({ "consistencygroup": { "force": true } }),
        ),
    ] {
        let path = format!("/v3/p/{path}");
        assert_eq!(
            checked(&scene, "POST", &path, "member", &body.to_string()).await,
            409,
            "{path}"
        );
    }
    let force = json!({ "consistencygroup": { "force": true } }).to_string();
    let fail_over = json!({ "failover_replication": {} }).to_string();
    let attachment = format!("/v3/p/attachments/{TAKEN_IN}");
    let connector = json!({ "attachment": { "connector": { "host": "h" } } }).to_string();
    for (method, path, body, status) in [
        ("DELETE", "/v3/p/consistencygroups/g-1", force.as_str(), 409),
        ("DELETE", "/v3/p/groups/g-1", &fail_over, 403),
        ("POST", "/v3/p/groups/g-1/action", &fail_over, 403),
        ("PUT", &attachment, &connector, 409),
        ("PUT", &attachment, r#"{"attachment": NaN}"#, 400),
    ] {
        assert_eq!(
            checked(&scene, method, path, "member", body).await,
            status,
            "{method} {path}"
        );
    }

    scene.sidecar_dies().await;
    assert_eq!(checked(&scene, "DELETE", &plain, "member", "").await, 503);
    support::soon(async {
        let path = format!("{volumes}?rekindle:mode=once");
        while checked(&scene, "GET", &path, "member", "").await != 503 {}
    })
    .await;
    assert_eq!(checked(&scene, "GET", volumes, "member", "").await, 200);
    let body = r#"{"os-resync": null}"#;
    assert_eq!(checked(&scene, "POST", &action, "member", body).await, 503);
    assert_eq!(openapi::used(), openapi::operations());
}

#[tokio::test]
async fn what_is_described_is_what_is_taken() {
    let scene = replicated().await;
    let periodic =
        json!({ "mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m" });
    let with = |change: fn(&mut Value)| {
        let mut fields = periodic.clone();
        change(&mut fields);
        json!({ "os-replicate": fields })
    };
    for body in [
        json!({ "os-replicate": { "mode": "instant" } }),
        json!({ "os-replicate": { "mode": "once", "group": "db" } }),
        json!({ "os-replicate": { "mode": "once", "group": null } }),
        json!({ "os-replicate": { "mode": "once", "leave_group": true } }),
        json!({ "os-replicate": { "mode": "once", "group": "db", "leave_group": false } }),
        json!({ "os-replicate": { "mode": "once", "group": "db", "leave_group": true } }),
        json!({ "os-replicate": { "mode": "once", "leave_group": 1 } }),
        with(|f| f["leave_group"] = json!(true)),
        with(|f| {
            f["group"] = json!("db");
            f["leave_group"] = json!(true);
        }),
        json!({ "os-replicate": periodic }),
        json!({ "os-unreplicate": null }),
        json!({ "os-unreplicate": {} }),
        json!({ "os-promote": {} }),
        json!({ "os-promote": null }),
        json!({ "os-promote": { "force": true } }),
        json!({ "os-demote": null }),
        json!({ "os-resync": {} }),
        json!({ "os-replicate": {} }),
        json!({ "os-replicate": { "mode": "often" } }),
        json!({ "os-replicate": { "mode": "once", "interval": "15m" } }),
        json!({ "os-replicate": { "mode": "once", "group": "A B" } }),
        with(|f| f["speed"] = json!(1)),
        with(|f| f["interval"] = json!(15)),
        json!({ "os-promote": { "force": "yes" } }),
        json!({ "os-promote": { "hard": true } }),
        json!({ "os-demote": { "force": true } }),
        json!({ "os-resync": 1 }),
    ] {
        let answer = scene.act("admin", PLAIN, &body.to_string()).await;
        assert_eq!(
            answer.status == 202,
            openapi::action_fits(&body),
            "{body}: {}",
            answer.text()
        );
    }
}
