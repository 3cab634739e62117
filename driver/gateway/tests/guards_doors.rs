//! The guards' other doors: a volume by another spelling of its path, and by the group that it is in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::json;
use support::{
    cloud::{BLIND, ELSEWHERE, GROUP, ITS_IMAGE, Odd, PLAIN, TAKEN_IN, Volume},
    raw::ask,
    scene::{is_cinders, policy, scene, was_changed},
    sidecar::copy,
};

const DELETE: &str = r#"{"delete": {"delete-volumes": true}}"#;
const FORCE: &str = r#"{"consistencygroup": {"force": true}}"#;
/// What deletes a group with its volumes.
const DELETIONS: [(&str, &str, &str); 5] = [
    ("POST", "/v3/p/groups/g-1/action", DELETE),
    ("POST", "/v3/p//groups/./g-1/action", DELETE),
    ("DELETE", "/v3/p/groups/g-1", DELETE),
    ("POST", "/v3/p/consistencygroups/g-1/delete", FORCE),
    ("DELETE", "/v3/p/consistencygroups/g-1", FORCE),
];

#[tokio::test]
async fn a_volume_is_guarded_however_its_path_is_spelled() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    let paths = [
        "/v3/p//volumes/{}",
        "/v3//p/volumes//{}",
        "//v3/p/volumes/{}",
        "/v3/p/./volumes/{}",
        "/v3/p/volumes/./{}",
        "/v3/p/%76olumes/{}",
        "/v3/p%2Fvolumes/{}",
        "/v3/p/volumes/{}.json",
    ];
    let upper = PLAIN.to_uppercase();
    for path in paths {
        for id in [PLAIN, &upper] {
            let path = path.replace("{}", id);
            let answer = scene.send("DELETE", &path, "member", "").await;
            assert_eq!(answer.status, 409, "{path}: {}", answer.text());
            if !path.contains(".json") {
                let path = format!("{path}/action");
                let body = r#"{"os-force_delete": {}}"#;
                let answer = scene.send("POST", &path, "member", body).await;
                assert_eq!(answer.status, 409, "{path}: {}", answer.text());
            }
        }
    }
    for (method, path) in [
        ("DELETE", "/v3/p/types/../volumes/{}"),
        ("DELETE", "/v3/p/types/%2e%2e/volumes/{}"),
        ("DELETE", "/v3/p/volumes/{}%"),
        ("DELETE", "/v3/p/volumes/{}%20"),
        ("GET", "/v3/p/volumes/{}?_method=DELETE"),
        ("POST", "/v3/p/volumes/{}?a=b&_method=delete"),
    ] {
        let path = path.replace("{}", PLAIN);
        let answer = scene.send(method, &path, "member", "").await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    // What may be done goes on as it was spelled.
    policy(&scene, "keep");
    for path in paths {
        let path = path.replace("{}", &upper);
        let answer = scene.send("DELETE", &path, "member", "").await;
        // The stub's own routes take some of these spellings, and answer so; what counts is what came.
        let line = (format!("DELETE {path}"), String::new());
        assert!(
            scene.cloud.asked().contains(&line),
            "{path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_group_is_not_deleted_with_a_volume_that_may_not_be() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    for (method, path, body) in DELETIONS {
        let answer = scene.send(method, path, "member", body).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.text());
        let why = answer.text();
        assert!(why.contains(&format!("volume {PLAIN}: ")), "{why}");
        assert!(why.contains("on_delete = refuse"), "{why}");
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    let asked = scene.cloud.asked();
    let all = "GET /v3/p/volumes?group_id=g-1&all_tenants=1&";
    assert!(asked.iter().any(|(line, _)| line.starts_with(all)));
    // Without its volumes Cinder deletes none that has some.
    let alone = r#"{"delete": {"delete-volumes": false}}"#;
    for (method, path) in [
        ("POST", "/v3/p/groups/g-1/action"),
        ("DELETE", "/v3/p/groups/g-1"),
    ] {
        for body in [alone, ""] {
            let answer = scene.send(method, path, "member", body).await;
            assert!(is_cinders(&answer), "{method} {body}: {}", answer.text());
        }
    }
    // A copy's record alone goes, and a primary as its policy says.
    policy(&scene, "delete:0s");
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    for (method, path, body) in DELETIONS {
        let answer = scene.send(method, path, "member", body).await;
        assert!(is_cinders(&answer), "{path}: {}", answer.text());
        assert_eq!(answer.text(), body);
    }
}

/// Cinder deletes those of all projects; who asks for it may see some of them alone, or none.
#[tokio::test]
async fn a_group_ends_with_volumes_that_its_user_does_not_see() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    let mut theirs = Volume::new(PLAIN, None);
    theirs.project = "q";
    for own in [vec![], vec![Volume::new(ELSEWHERE, None)]] {
        let all = [own, vec![theirs.clone()]].concat();
        scene.cloud.has(all);
        for (method, path, body) in DELETIONS {
            let answer = scene.send(method, path, "member", body).await;
            assert_eq!(answer.status, 409, "{path}: {}", answer.text());
            let why = answer.text();
            assert!(why.contains("this token does not see"), "{why}");
            assert!(!why.contains(PLAIN) && !why.contains("on_delete"), "{why}");
            // Who sees it is told which it is.
            let answer = scene.send(method, path, "admin", body).await;
            let why = answer.text();
            assert!(why.contains(&format!("volume {PLAIN}: ")), "{why}");
            // Who does not see the group is told so by Cinder, and of its volumes nothing.
            let answer = scene.send(method, path, "stranger", body).await;
            assert!(is_cinders(&answer), "{path}: {}", answer.text());
        }
    }
    let strangers = DELETIONS.len() * 2;
    let changes = |(line, _): &&(String, String)| !line.starts_with("GET ");
    assert_eq!(
        scene.cloud.asked().iter().filter(changes).count(),
        strangers
    );
    // While that is not known nobody's are deleted.
    policy(&scene, "keep");
    scene.cloud.silent(true);
    for (method, path, body) in DELETIONS {
        let answer = scene.send(method, path, "member", body).await;
        let said = (answer.status, answer.header("retry-after"));
        assert_eq!(said, (503, Some("5")), "{path}: {}", answer.text());
    }
}

/// What is done to a group's volumes as they are asks for no more than its user sees.
#[tokio::test]
async fn a_group_that_stays_is_its_users_alone_to_look_at() {
    let scene = scene("").await;
    let body = r#"{"group_snapshot": {"group_id": "g-1"}}"#;
    let path = "/v3/p/group_snapshots";
    assert!(is_cinders(&scene.send("POST", path, "member", body).await));
    let asked = scene.cloud.asked_by_us();
    assert!(!asked.iter().any(|a| a.contains("group_id")), "{asked:?}");
}

#[tokio::test]
async fn of_a_group_all_pages_are_looked_at() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    let plain = |n: usize| Volume::new(&format!("9d2a4c1e-0000-4000-8000-{n:012}"), None);
    let many = |n: usize| {
        let mut all: Vec<Volume> = (1000..1000 + n).map(plain).collect();
        all.push(Volume::new(PLAIN, None));
        all
    };
    let (method, path, body) = DELETIONS[0];
    scene.cloud.has(many(250));
    let answer = scene.send(method, path, "member", body).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains(PLAIN), "{}", answer.text());
    scene.cloud.has(many(1200));
    let answer = scene.send(method, path, "member", body).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("1000 volumes"), "{}", answer.text());
}

#[tokio::test]
async fn what_would_end_a_group_waits_until_its_volumes_are_known() {
    let mut scene = scene("").await;
    policy(&scene, "keep");
    let odd = |status: u16, body: &str| {
        Some(Odd {
            headers: Vec::new(),
            status,
            body: body.into(),
        })
    };
    for answer in [odd(500, ""), odd(400, "{}"), odd(200, "[]")] {
        // That it does not take such a request is its answer.
        let refuses = answer.as_ref().is_some_and(|odd| odd.status == 400);
        let expected = if refuses {
            (400, None)
        } else {
            (503, Some("5"))
        };
        scene.cloud.odd(answer);
        for (method, path, body) in DELETIONS {
            let answer = scene.send(method, path, "member", body).await;
            let said = (answer.status, answer.header("retry-after"));
            assert_eq!(said, expected, "{path}");
        }
        // A snapshot of it can wait for the driver's guards.
        let body = r#"{"group_snapshot": {"group_id": "g-1"}}"#;
        let path = "/v3/p/group_snapshots";
        assert!(is_cinders(&scene.send("POST", path, "member", body).await));
    }
    scene.cloud.odd(None);
    scene.sidecar_dies().await;
    for (method, path, body) in DELETIONS {
        let answer = scene.send(method, path, "member", body).await;
        let said = (answer.status, answer.header("retry-after"));
        assert_eq!(said, (503, Some("5")), "{path}: {}", answer.text());
        // Who shows no token is told so by Cinder, and who sees no volumes has none to wait for.
        let answer = scene.send(method, path, "", body).await;
        let said = (answer.status, answer.text());
        assert_eq!(said, (401, "no token".to_owned()), "{path}");
        let answer = scene.send(method, path, "stranger", body).await;
        assert!(is_cinders(&answer), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_group_is_not_made_of_one_that_has_a_copy() {
    let scene = scene("").await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    for (path, body) in [
        (
            "groups/action",
            json!({ "create-from-src": { "source_group_id": GROUP } }),
        ),
        (
            "groups/action",
            json!({ "create-from-src": { "group_snapshot_id": TAKEN_IN } }),
        ),
        (
            "consistencygroups/create_from_src",
            json!({ "consistencygroup-from-src": { "source_cgid": GROUP } }),
        ),
        (
            "consistencygroups/create_from_src",
            json!({ "consistencygroup-from-src": { "cgsnapshot_id": TAKEN_IN } }),
        ),
        (
            "cgsnapshots",
            json!({ "cgsnapshot": { "consistencygroup_id": GROUP } }),
        ),
    ] {
        let path = format!("/v3/p/{path}");
        let body = body.to_string();
        let answer = scene.send("POST", &path, "member", &body).await;
        assert_eq!(answer.status, 409, "{body}: {}", answer.text());
        let why = answer.text();
        assert!(why.contains(&format!("volume {TAKEN_IN}: ")), "{why}");
        assert!(why.contains("its primary is in zone-b"), "{why}");
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
}

/// Python reads more than JSON, and Cinder is Python.
#[tokio::test]
async fn a_body_that_cinder_alone_would_read_is_no_way_round() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    let action = format!("/v3/p/volumes/{PLAIN}/action");
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for odd in ["NaN", "-Infinity", "1e999", r#""\ud800""#, &deep] {
        for (method, path, body) in [
            (
                "POST",
                action.as_str(),
                format!(r#"{{"os-force_delete": {{}}, "x": {odd}}}"#),
            ),
            (
                "POST",
                "/v3/p/snapshots",
                format!(r#"{{"snapshot": {{"volume_id": "{PLAIN}", "x": {odd}}}}}"#),
            ),
            (
                "PUT",
                "/v3/p/attachments/a",
                format!(r#"{{"attachment": {{"connector": {{}}, "x": {odd}}}}}"#),
            ),
        ] {
            let answer = scene.send(method, path, "admin", &body).await;
            assert_eq!(answer.status, 400, "{path} {odd}: {}", answer.text());
            let why = answer.json()["badRequest"]["message"].to_string();
            assert!(why.contains("no JSON"), "{why}");
        }
        // What does nothing to a volume is Cinder's to read.
        let body = format!(r#"{{"volume_type": {odd}}}"#);
        assert!(is_cinders(
            &scene.send("POST", "/v3/p/types", "admin", &body).await
        ));
    }
    // What Cinder refuses too, it refuses itself, in its own words.
    for body in ["", "{", "[NaN,]", r#"{"os-force_delete": nan}"#] {
        let answer = scene.act("admin", PLAIN, body).await;
        assert!(is_cinders(&answer), "{body}: {}", answer.text());
    }
    // A deletion is one whatever it carries, and a body that is too large to be read here goes nowhere.
    let answer = scene
        .send("DELETE", &format!("/v3/p/volumes/{PLAIN}"), "admin", "NaN")
        .await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let large = format!(
        r#"{{"os-force_delete": {{}}, "x": "{}"}}"#,
        "x".repeat(130 * 1024)
    );
    let answer = scene.act("admin", PLAIN, &large).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

/// A user who does not see the volume is told nothing of it but what Cinder says. Cinder in trouble says nothing of that.
#[tokio::test]
async fn hard_case_32_a_refusal_stands_whatever_cinder_says_to_its_user() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    let path = format!("/v3/p/volumes/{PLAIN}");
    let answers = async |status: u16| {
        scene.cloud.odd(Some(Odd {
            headers: Vec::new(),
            status,
            body: Vec::new(),
        }));
        let force = r#"{"os-force_delete": {}}"#;
        let deleted = scene.send("DELETE", &path, "member", "").await;
        [deleted, scene.act("member", PLAIN, force).await]
    };
    for status in [206, 301, 304, 408, 413, 429, 500, 502, 503, 504] {
        for answer in answers(status).await {
            let said = (answer.status, answer.header("retry-after"));
            assert_eq!(said, (503, Some("5")), "{status}: {}", answer.text());
            let why = answer.text();
            assert!(why.contains("Cinder does not say now"), "{why}");
            // Who may not see the volume is not told what its policy is.
            assert!(!why.contains("on_delete"), "{why}");
        }
    }
    for status in [400, 401, 403, 404, 406] {
        for answer in answers(status).await {
            assert_eq!((answer.status, answer.text()), (status, String::new()));
        }
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
    scene.cloud.odd(None);
    assert_eq!(scene.send("DELETE", &path, "member", "").await.status, 409);
}

/// Keystone's access rules go by method and path: a credential may delete what it is told 401 about where it looks.
#[tokio::test]
async fn hard_case_32_a_token_that_may_delete_and_not_look_is_no_way_round() {
    let mut scene = scene("").await;
    policy(&scene, "refuse");
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    let volume = format!("/v3/p/volumes/{PLAIN}");
    let action = format!("{volume}/action");
    let attachment = format!("/v3/p/attachments/{TAKEN_IN}");
    let of_a_snapshot = format!(r#"{{"volume": {{"snapshot_id": "{TAKEN_IN}"}}}}"#);
    let connector = r#"{"attachment": {"connector": {"host": "h"}}}"#;
    let mut requests = DELETIONS.to_vec();
    requests.extend([
        ("DELETE", volume.as_str(), ""),
        ("POST", action.as_str(), r#"{"os-force_delete": {}}"#),
        ("POST", action.as_str(), r#"{"os-unmanage": {}}"#),
        ("PUT", attachment.as_str(), connector),
        ("POST", "/v3/p/volumes", of_a_snapshot.as_str()),
    ]);
    // While the sidecar is away it is not known what they would be refused.
    for is_away in [false, true] {
        if is_away {
            scene.sidecar_dies().await;
        }
        for (method, path, body) in &requests {
            let answer = scene.send(method, path, BLIND, body).await;
            let said = (answer.status, answer.text());
            assert_eq!(said, (401, "no rule fits".to_owned()), "{path} {body}");
        }
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
}

/// They are the client's, for its own answer: a look that is answered in part would tell nothing of the volume.
#[tokio::test]
async fn fields_that_ask_for_less_are_no_way_round() {
    let scene = scene("").await;
    policy(&scene, "refuse");
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    let connector = r#"{"attachment": {"connector": {"host": "h"}}}"#;
    for field in [
        "Range: bytes=0-0",
        "Range: bytes=0-0\r\nIf-Range: \"x\"",
        "If-Match: \"y\"",
        "If-None-Match: \"x\"",
        "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
        "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
    ] {
        for (method, path, body) in [
            ("DELETE", format!("/v3/p/volumes/{PLAIN}"), ""),
            // The stub's attachment has its volume's id.
            ("PUT", format!("/v3/p/attachments/{TAKEN_IN}"), connector),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: member\r\n{field}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = ask(scene.gateway.address, &request).await;
            assert_eq!(answer.status, 409, "{field} {path}: {}", answer.text());
        }
    }
    assert!(!was_changed(&scene), "{:?}", scene.cloud.asked());
}
