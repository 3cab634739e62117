//! A Cinder that has its API under a path: all that knows its paths reads them behind that, and what is under no such path goes nowhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{
    cloud::{PLAIN, TAKEN_IN},
    scene::{is_cinders, policy, scene, scene_under, was_changed},
};

#[tokio::test]
async fn under_a_prefix_volumes_are_guarded() {
    let scene = scene_under("/block").await;
    policy(&scene, "refuse");
    for path in [
        "/block/v3/p/volumes/{}",
        "//block/./v3/p/volumes/{}",
        "/%62lock/%763//p/volumes/{}",
        "/block//v3/p/volumes/{}.json",
    ] {
        let path = path.replace("{}", PLAIN);
        let answer = scene.send("DELETE", &path, "member", "").await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.text());
    }
    let group = r#"{"delete": {"delete-volumes": true}}"#;
    let path = "/block/v3/p/groups/g-1/action";
    let answer = scene.send("POST", path, "member", group).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    policy(&scene, "keep");
    let path = format!("/block/v3/p/volumes/{PLAIN}");
    assert!(is_cinders(&scene.send("DELETE", &path, "member", "").await));
    // The stub takes the prefix off as a web server does.
    let (line, _) = scene.cloud.asked().pop().unwrap();
    assert_eq!(line, format!("DELETE /v3/p/volumes/{PLAIN}"));
}

#[tokio::test]
async fn under_a_prefix_there_are_actions_and_the_status() {
    let scene = scene_under("/block").await;
    policy(&scene, "keep");
    let action = format!("/block/v3/p/volumes/{PLAIN}/action");
    let body = r#"{"os-resync": null}"#;
    let answer = scene.send("POST", &action, "member", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(scene.sidecar.orders().len(), 1);
    for path in [
        format!("/block/v3/p/volumes/{PLAIN}"),
        "/block/v3/p/volumes/detail".to_owned(),
    ] {
        let answer = scene.get(&path, "member").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(
            answer
                .text()
                .contains(r#""rekindle:status": "active - primary""#),
            "{}",
            answer.text()
        );
    }
    let path = "/block/v3/p/volumes?rekindle:mode=none&limit=1";
    let answer = scene.get(path, "member").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(TAKEN_IN), "{}", answer.text());
    let link = answer.json()["volumes_links"][0]["href"].to_string();
    assert!(link.contains("/block/v3/p/volumes?"), "{link}");
}

#[tokio::test]
async fn what_is_under_no_path_of_cinders_goes_nowhere() {
    for (prefix, paths) in [
        (
            "/block",
            [
                "/v3/p/volumes/{}",
                "/blocks/v3/p/volumes/{}",
                "/block%2Fv3/p/volumes/{}",
                "/block/v2/p/volumes/{}",
                "/block/p/volumes/{}",
                "/block/block/v3/p/volumes/{}",
                "/",
            ],
        ),
        (
            "",
            [
                "/block/v3/p/volumes/{}",
                "/v2/p/volumes/{}",
                "/p/volumes/{}",
                "/volumes/{}",
                "/x",
                "/healthcheck/x",
                "/v",
            ],
        ),
    ] {
        let scene = scene_under(prefix).await;
        policy(&scene, "refuse");
        for path in paths {
            let path = path.replace("{}", PLAIN);
            for (method, body) in [("DELETE", ""), ("GET", ""), ("POST", "{}")] {
                let answer = scene.send(method, &path, "admin", body).await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
                let why = answer.json()["itemNotFound"]["message"].to_string();
                let words = format!("begins with {prefix}/v3 here");
                assert!(why.contains(&words), "{why}");
            }
        }
        assert_eq!(scene.cloud.asked(), [], "{prefix}");
        for path in ["/", "/v3", "/v3/", "/healthcheck", "/v3/extensions"] {
            let answer = scene.get(&format!("{prefix}{path}"), "member").await;
            assert!(is_cinders(&answer), "{path}: {}", answer.text());
        }
    }
}

/// Where a path can be read in more ways than one, a change is refused as before.
#[tokio::test]
async fn a_way_out_of_the_prefix_is_none() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    for path in ["/x/../v3/p/volumes/{}", "/v3/../block/v3/p/volumes/{}"] {
        let path = path.replace("{}", PLAIN);
        let answer = scene.send("DELETE", &path, "member", "").await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
}
