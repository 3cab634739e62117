//! After a failover by Cinder (`cinder failover-host`, or of a group alone) its volumes are copies in its own zone, and served from the other
//! one: what is asked of them there is its driver's to guard, who asks that zone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{
    cloud::{ITS_IMAGE, PLAIN, TAKEN_IN, Volume},
    scene::{Scene, is_cinders, scene},
    sidecar::copy,
};

const RESERVE: &str = r#"{"os-reserve": null}"#;

/// What is refused on a copy, of each kind one.
fn refused(id: &str) -> Vec<(String, Value)> {
    let action = format!("/v3/p/volumes/{id}/action");
    vec![
        (action.clone(), json!({ "os-reserve": null })),
        (action.clone(), json!({ "os-extend": { "new_size": 5 } })),
        (action.clone(), json!({ "revert": { "snapshot_id": "s" } })),
        (action, json!({ "os-retype": { "new_type": "t" } })),
        (
            "/v3/p/attachments".to_owned(),
            json!({ "attachment": { "volume_uuid": id } }),
        ),
        (
            "/v3/p/snapshots".to_owned(),
            json!({ "snapshot": { "volume_id": id } }),
        ),
        // The stub's snapshots have their volumes' ids.
        (
            "/v3/p/volumes".to_owned(),
            json!({ "volume": { "size": 1, "snapshot_id": id } }),
        ),
        (
            "/v3/p/backups".to_owned(),
            json!({ "backup": { "volume_id": id } }),
        ),
    ]
}

/// Its image is a copy in this zone, and Cinder's record says that of it.
async fn said(word: Option<&'static str>) -> (Scene, Volume) {
    let scene = scene("").await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    let mut volume = Volume::new(TAKEN_IN, Some(ITS_IMAGE));
    volume.replication = word;
    scene.cloud.has(vec![volume.clone()]);
    (scene, volume)
}

#[tokio::test]
async fn a_copy_that_cinder_serves_from_the_other_zone_is_its_drivers_to_guard() {
    let (scene, _) = said(Some("failed-over")).await;
    for (path, body) in refused(TAKEN_IN) {
        let answer = scene.send("POST", &path, "member", &body.to_string()).await;
        assert!(is_cinders(&answer), "{path} {body}: {}", answer.text());
    }
    // Also while it is made anew in this zone, for the failback.
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), |r| {
            copy(r);
            r["status"] = json!("pending - resync");
        });
    assert!(is_cinders(&scene.act("member", TAKEN_IN, RESERVE).await));
    // Where Cinder does not tell, it is a copy.
    scene.cloud.silent(true);
    let answer = scene.act("member", TAKEN_IN, RESERVE).await;
    let is_copy = answer.text().contains("copy in zone-a");
    assert!(answer.status == 409 && is_copy, "{}", answer.text());
}

#[tokio::test]
async fn hard_case_48_what_no_failover_took_along_is_a_copy_as_ever() {
    for word in [None, Some("enabled"), Some("failover-error")] {
        let (scene, _) = said(word).await;
        for (path, body) in refused(TAKEN_IN) {
            let answer = scene.send("POST", &path, "member", &body.to_string()).await;
            let is_copy = answer.text().contains("its primary is in zone-b");
            assert!(answer.status == 409 && is_copy, "{word:?} {path} {body}");
        }
    }
}

#[tokio::test]
async fn each_of_a_group_is_judged_by_its_own_record() {
    let (scene, volume) = said(Some("failed-over")).await;
    let snapshot = async || {
        let body = r#"{"group_snapshot": {"group_id": "g-1"}}"#;
        let path = "/v3/p/group_snapshots";
        scene.send("POST", path, "member", body).await
    };
    assert!(is_cinders(&snapshot().await));
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), copy);
    scene.cloud.has(vec![volume, Volume::new(PLAIN, None)]);
    let answer = snapshot().await;
    let named = answer.text().contains(&format!("volume {PLAIN}: "));
    assert!(answer.status == 409 && named, "{}", answer.text());
}

#[tokio::test]
async fn hard_case_48_what_races_the_next_failover_comes_again() {
    let (scene, _) = said(Some("failed-over")).await;
    let failover = json!({ "what": "failover_host" });
    scene.sidecar.under_way(&[failover]);
    let answer = scene.act("member", TAKEN_IN, RESERVE).await;
    let again = answer.header("retry-after");
    assert_eq!((answer.status, again), (409, Some("5")));
    scene.sidecar.under_way(&[]);
    assert!(is_cinders(&scene.act("member", TAKEN_IN, RESERVE).await));
}
