//! Cinder's own actions on the replication of a group: they are for whoever may do the same to each of its volumes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::json;
use support::{
    cloud::{BLIND, ELSEWHERE, ITS_IMAGE, PLAIN, TAKEN_IN, Volume},
    scene::{Scene, is_cinders, scene, scene_with},
    sidecar::copy,
};

const FAIL_OVER: &str = r#"{"failover_replication": {"secondary_backend_id": "zone-b"}}"#;
const ENABLE: &str = r#"{"enable_replication": {}}"#;
const DISABLE: &str = r#"{"disable_replication": {}}"#;
const ALL: [&str; 3] = [FAIL_OVER, ENABLE, DISABLE];
/// What Cinder takes for the same.
const DOORS: [(&str, &str); 3] = [
    ("POST", "/v3/p/groups/g-1/action"),
    ("POST", "/v3/p//groups/./g-1/action"),
    ("DELETE", "/v3/p/groups/g-1"),
];

/// Whether Cinder had a request that changes something.
fn was_changed(scene: &Scene) -> bool {
    let asked = scene.cloud.asked();
    asked.iter().any(|(line, _)| !line.starts_with("GET "))
}

fn in_group(scene: &Scene, group: Option<&str>) {
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), |r| {
        r["group"] = json!(group);
    });
}

async fn post(scene: &Scene, token: &str, body: &str) -> support::raw::Answer {
    let (method, path) = DOORS[0];
    scene.send(method, path, token, body).await
}

#[tokio::test]
async fn a_member_moves_no_group_by_cinders_own_action() {
    let mut scene = scene("").await;
    in_group(&scene, Some("db"));
    for (method, path) in DOORS {
        let answer = scene.send(method, path, "member", FAIL_OVER).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        let why = answer.json()["forbidden"]["message"].to_string();
        assert!(why.contains("os-promote is for those"), "{why}");
        // Nor do they take volumes out of a protection group.
        let answer = scene.send(method, path, "member", DISABLE).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        let why = answer.text();
        assert!(
            why.contains("os-replicate:group") && why.contains("group db"),
            "{why}"
        );
    }
    // The role alone is not enough, as for the action on a volume.
    let answer = post(&scene, "reader", ENABLE).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    for body in ALL {
        let answer = post(&scene, "admin", body).await;
        assert!(is_cinders(&answer), "{body}: {}", answer.text());
        assert_eq!(answer.text(), body);
    }
    // Where no volume is in a protection group it is theirs, as `os-unreplicate` is; to put them under replication always was.
    in_group(&scene, None);
    for body in [ENABLE, DISABLE, r#"{"list_replication_targets": {}}"#] {
        let answer = post(&scene, "member", body).await;
        assert!(is_cinders(&answer), "{body}: {}", answer.text());
    }
    // While it is not known whether one is in such a group, it stays.
    scene.sidecar_dies().await;
    let answer = post(&scene, "member", DISABLE).await;
    let said = (answer.status, answer.header("retry-after"));
    assert_eq!(said, (503, Some("5")), "{}", answer.text());
    assert!(answer.text().contains("protection group"));
    assert!(is_cinders(&post(&scene, "admin", DISABLE).await));
}

#[tokio::test]
async fn whose_the_volumes_are_decides_for_a_member() {
    let rules = "\"os-promote\": \"role:member and project_id:%(project_id)s\"\n\"os-demote\": \"role:member\"\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    let first = format!("[actions]\nrules = {:?}\n", file.path());
    let scene = scene_with(&first, "").await;
    in_group(&scene, None);
    for body in ALL {
        assert!(is_cinders(&post(&scene, "member", body).await), "{body}");
    }
    // A protection group is a rule of its own.
    in_group(&scene, Some("db"));
    let answer = post(&scene, "member", FAIL_OVER).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("move all"), "{}", answer.text());
    // Cinder acts on those of all projects, whoever sees them.
    in_group(&scene, None);
    let mut theirs = Volume::new(ELSEWHERE, None);
    theirs.project = "q";
    let own = Volume::new(PLAIN, None);
    scene.cloud.has(vec![own.clone(), theirs]);
    for body in ALL {
        let answer = post(&scene, "member", body).await;
        assert_eq!(answer.status, 403, "{body}: {}", answer.text());
        let why = answer.text();
        assert!(why.contains("another project's"), "{why}");
    }
    // Nothing is done while that is not known, but by those whom it does not matter for.
    scene.cloud.has(vec![own]);
    scene.cloud.silent(true);
    for body in ALL {
        let answer = post(&scene, "member", body).await;
        let said = (answer.status, answer.header("retry-after"));
        assert_eq!(said, (503, Some("5")), "{body}: {}", answer.text());
    }
    for body in [ENABLE, DISABLE] {
        assert!(is_cinders(&post(&scene, "admin", body).await), "{body}");
    }
}

#[tokio::test]
async fn who_does_not_see_a_group_is_told_what_cinder_says() {
    let scene = scene("").await;
    for body in ALL {
        let answer = post(&scene, "", body).await;
        assert_eq!((answer.status, answer.text()), (401, "no token".to_owned()));
        let answer = post(&scene, BLIND, body).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        // Keystone knows no such token.
        let answer = post(&scene, "nobody", body).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        let answer = post(&scene, "stranger", body).await;
        assert!(is_cinders(&answer), "{body}: {}", answer.text());
    }
    assert_eq!(scene.sidecar.asked(), (0, 0));
}

#[tokio::test]
async fn hard_case_48_a_group_waits_for_what_moves_its_volumes() {
    let mut scene = scene("").await;
    in_group(&scene, Some("db"));
    let plan = |kind: &str, to: &str| json!({ "what": "plan", "id": "p-1", "kind": kind, "from": "zone-a", "to": to });
    let frozen =
        json!({ "what": "frozen", "reason": "new switches", "since": "2026-11-26T10:00:00Z" });
    for (what, after) in [
        (plan("move", "zone-b"), "5"),
        // Also behind the promotion, and while copies are made anew.
        (plan("failover", "zone-a"), "5"),
        (plan("reprotect", "zone-a"), "5"),
        (json!({ "what": "failover_host" }), "5"),
        (frozen.clone(), "60"),
    ] {
        scene.sidecar.under_way(std::slice::from_ref(&what));
        for body in ALL {
            let answer = post(&scene, "admin", body).await;
            let again = answer.header("retry-after");
            let text = answer.text();
            assert_eq!((answer.status, again), (409, Some(after)), "{body}: {text}");
            assert!(text.contains(&format!("volume {PLAIN}: ")), "{text}");
        }
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    // To fail over is how a group comes home, too: its volumes are copies here, and none is primary after a loss.
    scene.sidecar.under_way(&[]);
    for (status, peer) in [("active - secondary", "yes"), ("pending - promotion", "no")] {
        for image in [PLAIN, ITS_IMAGE] {
            scene.sidecar.says(&format!("volumes/volume-{image}"), |r| {
                copy(r);
                r["status"] = json!(status);
                r["peer_primary"] = json!(peer);
            });
        }
        assert!(is_cinders(&post(&scene, "admin", FAIL_OVER).await));
    }
    scene.sidecar.under_way(&[frozen]);
    assert_eq!(post(&scene, "admin", FAIL_OVER).await.status, 409);
    // A sidecar that is away holds up nobody who may: the driver behind it says what is possible.
    scene
        .cloud
        .has(vec![Volume::new(TAKEN_IN, Some(ITS_IMAGE))]);
    scene.sidecar_dies().await;
    assert!(is_cinders(&post(&scene, "admin", FAIL_OVER).await));
}
