//! The guards: what would break a pair is refused before Cinder sees it, in words; all else is Cinder's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{
    cloud::{ELSEWHERE, ITS_IMAGE, PLAIN, TAKEN_IN, Volume},
    raw::Answer,
    scene::{Scene, is_cinders, scene},
    sidecar::copy,
};

/// Of each kind, one request of Cinder's that does something to a volume: what is said of it, and whether it ends the volume.
fn requests(id: &str) -> Vec<(&'static str, String, Value, &'static str)> {
    let action = format!("/v3/p/volumes/{id}/action");
    let post = |path: &str, body: Value, done| ("POST", format!("/v3/p/{path}"), body, done);
    let act = |body: Value, done| ("POST", action.clone(), body, done);
    vec![
        (
            "DELETE",
            format!("/v3/p/volumes/{id}"),
            Value::Null,
            "deleted",
        ),
        act(json!({ "os-force_delete": {} }), "deleted"),
        act(json!({ "os-unmanage": {} }), "unmanaged"),
        act(json!({ "os-migrate_volume": { "host": "h" } }), "migrated"),
        act(
            json!({ "os-retype": { "new_type": "t", "migration_policy": "on-demand" } }),
            "migrated",
        ),
        act(json!({ "os-retype": { "new_type": "t" } }), "retyped"),
        act(json!({ "os-extend": { "new_size": 5 } }), "extended"),
        act(json!({ "os-reserve": null }), "attached"),
        act(
            json!({ "os-attach": { "mountpoint": "/dev/vdb" } }),
            "attached",
        ),
        act(
            json!({ "os-initialize_connection": { "connector": {} } }),
            "attached",
        ),
        act(json!({ "revert": { "snapshot_id": "s" } }), "written to"),
        act(json!({ "os-reimage": { "image_id": "i" } }), "written to"),
        post(
            "attachments",
            json!({ "attachment": { "volume_uuid": id } }),
            "attached",
        ),
        post(
            "snapshots",
            json!({ "snapshot": { "volume_id": id, "force": true } }),
            "snapshotted",
        ),
        post(
            "backups",
            json!({ "backup": { "volume_id": id } }),
            "backed up",
        ),
        post(
            "backups/b-1/restore",
            json!({ "restore": { "volume_id": id } }),
            "written to",
        ),
        post(
            "volumes",
            json!({ "volume": { "size": 1, "source_volid": id } }),
            "cloned",
        ),
        // The stub's snapshots and attachments have their volumes' ids.
        post(
            "volumes",
            json!({ "volume": { "size": 1, "snapshot_id": id } }),
            "cloned",
        ),
        (
            "PUT",
            format!("/v3/p/attachments/{id}"),
            json!({ "attachment": { "connector": { "host": "h" } } }),
            "attached",
        ),
        post(
            "volume-transfers",
            json!({ "transfer": { "volume_id": id } }),
            "transferred",
        ),
    ]
}

const ENDS: [&str; 3] = ["deleted", "unmanaged", "migrated"];

async fn send(
    scene: &Scene,
    token: &str,
    (method, path, body, _): &(&str, String, Value, &str),
) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    scene.send(method, path, token, &body).await
}

#[tokio::test]
async fn hard_case_48_a_copy_is_refused_in_words_that_name_the_other_zone() {
    let scene = scene("").await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    for request in requests(TAKEN_IN) {
        let answer = send(&scene, "admin", &request).await;
        let (_, _, _, done) = request;
        if done == "deleted" || done == "unmanaged" {
            assert!(is_cinders(&answer), "{request:?}: {}", answer.text());
            continue;
        }
        assert_eq!(answer.status, 409, "{request:?}: {}", answer.text());
        let why = answer.json()["conflictingRequest"]["message"].to_string();
        assert!(why.contains("copy in zone-a (active - secondary)"), "{why}");
        assert!(
            why.contains("its primary is in zone-b") && why.contains(done),
            "{why}"
        );
        assert_eq!(answer.header("retry-after"), None);
    }
    // Its record may grow to what its image has.
    let body = r#"{"os-extend": {"new_size": 1}}"#;
    assert!(is_cinders(&scene.act("admin", TAKEN_IN, body).await));
    // Nor is a group snapshotted that has a copy in it.
    let body = r#"{"group_snapshot": {"group_id": "g-1"}}"#;
    let answer = scene
        .send("POST", "/v3/p/group_snapshots", "member", body)
        .await;
    assert_eq!(answer.status, 409);
    assert!(
        answer.text().contains(&format!("volume {TAKEN_IN}: ")),
        "{}",
        answer.text()
    );
    scene.cloud.has(vec![Volume::new(PLAIN, None)]);
    let answer = scene
        .send("POST", "/v3/p/group_snapshots", "member", body)
        .await;
    assert!(is_cinders(&answer));
    assert!(
        scene
            .gateway
            .metric("rekindle_gateway_faults_total{zone=\"zone-a\",name=\"guard_copy\"")
            .await
            > Some(14.0)
    );
}

#[tokio::test]
async fn hard_case_32_a_primary_ends_as_its_policy_says() {
    let scene = scene("").await;
    let image = format!("volumes/volume-{PLAIN}");
    for (policy, passes) in [
        ("refuse", false),
        ("keep", true),
        ("delete:7d", true),
        ("delete:0s", true),
    ] {
        scene.sidecar.says(&image, |r| {
            r["on_delete"] = json!(policy);
            r["group"] = json!("db");
        });
        for request in requests(PLAIN) {
            let answer = send(&scene, "admin", &request).await;
            if passes || !ENDS.contains(&request.3) {
                assert!(
                    is_cinders(&answer),
                    "{policy} {request:?}: {}",
                    answer.text()
                );
            } else {
                assert_eq!(answer.status, 409, "{request:?}");
                assert!(
                    answer
                        .text()
                        .contains("protection group db (on_delete = refuse)"),
                    "{}",
                    answer.text()
                );
            }
        }
    }
}

#[tokio::test]
async fn hard_case_48_what_races_a_failover_comes_again() {
    let scene = scene("").await;
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), |r| {
        r["in_flight"] = json!("demote");
        r["on_delete"] = json!("delete:0s");
    });
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), |r| {
            copy(r);
            r["status"] = json!("pending - promotion");
            r["peer_primary"] = json!("no");
        });
    for id in [PLAIN, TAKEN_IN] {
        for request in requests(id) {
            let answer = send(&scene, "admin", &request).await;
            if id == TAKEN_IN && ["deleted", "unmanaged"].contains(&request.3) {
                assert!(is_cinders(&answer), "{request:?}");
            } else {
                assert_eq!(
                    (answer.status, answer.header("retry-after")),
                    (409, Some("5")),
                    "{request:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn hard_case_48_what_races_a_plan_that_has_begun_comes_again() {
    let scene = scene("").await;
    let image = format!("volumes/volume-{PLAIN}");
    scene.sidecar.says(&image, |r| {
        r["group"] = json!("db");
        r["on_delete"] = json!("delete:0s");
    });
    let plan =
        json!({ "what": "plan", "id": "p-1", "kind": "move", "from": "zone-a", "to": "zone-b" });
    let frozen =
        json!({ "what": "frozen", "reason": "new switches", "since": "2026-11-26T10:00:00Z" });
    for (what, words, after) in [
        (plan, "plan p-1 (move, zone-b is primary at its end)", "5"),
        (json!({ "what": "failover_host" }), "failover-host", "5"),
        (frozen, "zone-a is frozen (new switches)", "60"),
    ] {
        scene.sidecar.under_way(std::slice::from_ref(&what));
        for request in requests(PLAIN) {
            let answer = send(&scene, "admin", &request).await;
            if after == "60" && request.3 == "attached" {
                assert!(is_cinders(&answer), "{request:?}: {}", answer.text());
                continue;
            }
            let again = answer.header("retry-after");
            assert_eq!((answer.status, again), (409, Some(after)), "{request:?}");
            let why = answer.json()["conflictingRequest"]["message"].to_string();
            assert!(why.contains(words), "{why}");
        }
    }
    // A plan that ends holds nobody up, nor an etcd that is away.
    for under_way in [vec![], vec![json!({ "what": "plan_unknown" })]] {
        scene.sidecar.under_way(&under_way);
        for request in requests(PLAIN) {
            assert!(
                is_cinders(&send(&scene, "admin", &request).await),
                "{request:?}"
            );
        }
    }
    // A stand-by is built on a copy, and on one alone that is meant for it.
    scene.sidecar.says(&image, copy);
    let attach = r#"{"os-reserve": null}"#;
    assert_eq!(scene.act("admin", PLAIN, attach).await.status, 409);
    scene.sidecar.under_way(&[json!({ "what": "stand_by" })]);
    assert!(is_cinders(&scene.act("admin", PLAIN, attach).await));
}

#[tokio::test]
async fn a_guard_tells_nobody_more_than_cinder_does() {
    let scene = scene("").await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    let told = async |token: &str, words: &str| {
        for request in requests(TAKEN_IN) {
            let answer = send(&scene, token, &request).await;
            let is_told = is_cinders(&answer) || answer.text().contains(words);
            assert!(is_told, "{token} {request:?}: {}", answer.text());
            assert_eq!(answer.header("retry-after"), None);
        }
    };
    told("", "no token").await;
    // Nor does the gateway itself ask about it: whoever reaches its port could have it ask without end.
    assert_eq!(scene.cloud.asked_by_us(), Vec::<String>::new());
    assert_eq!(scene.sidecar.asked(), (0, 0));
    told("stranger", "could not be found").await;
}

#[tokio::test]
async fn what_is_not_replicated_is_cinders_and_reading_always_is() {
    let scene = scene("").await;
    for id in [PLAIN, ELSEWHERE] {
        for request in requests(id) {
            let answer = send(&scene, "member", &request).await;
            assert!(is_cinders(&answer), "{request:?}: {}", answer.text());
            // Byte for byte, as far as the stub shows it.
            let sent = if request.2.is_null() {
                String::new()
            } else {
                request.2.to_string()
            };
            assert_eq!(answer.text(), sent);
        }
    }
    let none = "9d2a4c1e-0000-4000-8000-00000000ffff";
    for request in requests(none) {
        let answer = send(&scene, "member", &request).await;
        let is_told = answer.status == 404 && answer.text().contains("could not be found");
        assert!(
            is_told || is_cinders(&answer),
            "{request:?}: {}",
            answer.text()
        );
    }
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    for body in [
        r#"{"os-volume_upload_image": {"image_name": "i"}}"#,
        r#"{"os-detach": {}}"#,
        r#"{"os-terminate_connection": {"connector": {}}}"#,
        r#"{"os-reset_status": {"status": "available"}}"#,
        r#"{"os-set_bootable": {"bootable": true}}"#,
    ] {
        assert!(
            is_cinders(&scene.act("admin", TAKEN_IN, body).await),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_sidecar_that_is_back_guards_at_once() {
    let mut scene = scene("").await;
    let attach = r#"{"os-reserve": null}"#;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    assert_eq!(scene.act("admin", TAKEN_IN, attach).await.status, 409);
    scene.sidecar_dies().await;
    let answer = scene.act("admin", TAKEN_IN, attach).await;
    assert!(is_cinders(&answer), "{}", answer.text());
    scene.sidecar_comes_back().await;
    assert_eq!(scene.act("admin", TAKEN_IN, attach).await.status, 409);
}

#[tokio::test]
async fn while_the_sidecar_is_away_only_what_ends_a_volume_waits() {
    let mut scene = scene("").await;
    scene.sidecar_dies().await;
    for request in requests(PLAIN) {
        let answer = send(&scene, "admin", &request).await;
        if ENDS.contains(&request.3) {
            assert_eq!(
                (answer.status, answer.header("retry-after")),
                (503, Some("5")),
                "{request:?}"
            );
            assert!(answer.text().contains("not known"), "{}", answer.text());
        } else {
            assert!(is_cinders(&answer), "{request:?}: {}", answer.text());
        }
    }
    // What is on another backend is none of its business.
    for request in requests(ELSEWHERE) {
        let answer = send(&scene, "admin", &request).await;
        assert!(is_cinders(&answer), "{request:?}: {}", answer.text());
    }
    // One that hangs holds nobody up for long.
    scene.sidecar.hangs();
    scene.sidecar_comes_back().await;
    let began = std::time::Instant::now();
    for _ in 0..20 {
        let answer = scene.act("admin", PLAIN, r#"{"os-reserve": null}"#).await;
        assert!(is_cinders(&answer), "{}", answer.text());
    }
    assert!(
        began.elapsed() < std::time::Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn without_them_all_is_cinders() {
    let scene = scene("[guards]\nenforced = false\n").await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    for request in requests(TAKEN_IN) {
        assert!(
            is_cinders(&send(&scene, "admin", &request).await),
            "{request:?}"
        );
    }
    assert_eq!(scene.sidecar.asked(), (0, 0));
}

/// What is kept of a volume's image is minutes old: what ends the volume is judged by what is under it now.
#[tokio::test]
async fn a_volume_that_has_moved_ends_by_the_image_that_it_has_now() {
    let scene = scene("").await;
    let reserve = r#"{"os-reserve": null}"#;
    let gone = r#"{"delete": {"delete-volumes": true}}"#;
    let delete = async |id: &str| {
        let path = format!("/v3/p/volumes/{id}");
        scene.send("DELETE", &path, "admin", "").await
    };
    // It is on a backend of nobody's, and that is kept; then it is migrated to a replicated one, and replicated there.
    assert!(is_cinders(&scene.act("admin", ELSEWHERE, reserve).await));
    let mut moved = Volume::new(ELSEWHERE, None);
    moved.host = "h@ceph#ceph";
    // The other one is taken in anew: its image is another's, and the one that is kept is gone.
    assert!(is_cinders(&scene.act("admin", TAKEN_IN, reserve).await));
    let anew = Volume::new(TAKEN_IN, Some(PLAIN));
    scene.cloud.has(vec![moved, anew]);
    for image in [ELSEWHERE, PLAIN] {
        let image = format!("volumes/volume-{image}");
        scene.sidecar.says(&image, |_| {});
    }
    for id in [ELSEWHERE, TAKEN_IN] {
        let unmanage = scene.act("admin", id, r#"{"os-unmanage": {}}"#).await;
        for answer in [delete(id).await, unmanage] {
            assert_eq!(answer.status, 409, "{id}: {}", answer.text());
            assert!(answer.text().contains("on_delete"), "{}", answer.text());
        }
    }
    let answer = scene
        .send("POST", "/v3/p/groups/g-1/action", "admin", gone)
        .await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    // What was learnt is kept for all else: Cinder is not asked for it again.
    let asked = scene.cloud.asked_by_us().len();
    let image = format!("volumes/volume-{ELSEWHERE}");
    // Of a copy alone it is, for its record may say that it is served from elsewhere.
    let moving = |r: &mut Value| r["in_flight"] = json!("demote");
    scene.sidecar.says(&image, moving);
    assert_eq!(scene.act("admin", ELSEWHERE, reserve).await.status, 409);
    assert_eq!(scene.cloud.asked_by_us().len(), asked);
    // Back where nobody replicates it: it is Cinder's to end.
    scene.sidecar.says(&image, |_| {});
    scene.cloud.has(vec![Volume::new(ELSEWHERE, None)]);
    assert!(is_cinders(&delete(ELSEWHERE).await));
}

/// An action asks Cinder anew in any case.
#[tokio::test]
async fn what_an_action_learns_the_guards_know() {
    let scene = scene("").await;
    let reserve = r#"{"os-reserve": null}"#;
    assert!(is_cinders(&scene.act("admin", ELSEWHERE, reserve).await));
    let mut moved = Volume::new(ELSEWHERE, None);
    moved.host = "h@ceph#ceph";
    scene.cloud.has(vec![moved]);
    let image = format!("volumes/volume-{ELSEWHERE}");
    scene.sidecar.says(&image, copy);
    let resync = r#"{"os-resync": null}"#;
    assert_eq!(scene.act("admin", ELSEWHERE, resync).await.status, 202);
    assert_eq!(scene.act("admin", ELSEWHERE, reserve).await.status, 409);
}
