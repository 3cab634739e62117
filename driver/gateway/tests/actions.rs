//! The volume actions: whose they are, who may, what the sidecar is ordered, and what is said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rekindle_common::{ApiError, ErrorCode};
use serde_json::json;
use support::{
    cloud::{ELSEWHERE, ITS_IMAGE, PLAIN, TAKEN_IN, Volume},
    raw::{Raw, ask},
    scene::{Scene, scene, scene_with},
    soon,
};

const EACH: [(&str, &str); 6] = [
    (r#"{"os-replicate": {"mode": "instant"}}"#, "replicate"),
    (r#"{"os-unreplicate": null}"#, "unreplicate"),
    (r#"{"os-resync": null}"#, "resync"),
    (r#"{"os-promote": {}}"#, "promote"),
    (r#"{"os-promote": {"force": true}}"#, "promote"),
    (r#"{"os-demote": null}"#, "demote"),
];

#[tokio::test]
async fn each_action_for_an_admin_a_member_a_reader_and_a_stranger() {
    let scene = scene("").await;
    for (n, (body, name)) in EACH.iter().enumerate() {
        let members = n < 3;
        let before = scene.sidecar.orders().len();
        for (token, status) in [
            ("admin", 202),
            ("member", if members { 202 } else { 403 }),
            ("reader", 403),
            ("stranger", 404),
            ("", 401),
        ] {
            let answer = scene.act(token, PLAIN, body).await;
            assert_eq!(answer.status, status, "{token}: {body}: {}", answer.text());
            if status == 403 {
                let why = answer.json()["forbidden"]["message"].to_string();
                assert!(why.contains("is for those who are role:admin"), "{why}");
            }
            if status == 202 {
                assert_eq!(answer.text(), "");
                assert!(answer.header("x-openstack-request-id").is_some());
            }
        }
        let orders = &scene.sidecar.orders()[before..];
        assert_eq!(orders.len(), if members { 2 } else { 1 });
        for (image, order) in orders {
            assert_eq!(image, &format!("volumes/volume-{PLAIN}"));
            assert_eq!(order["action"]["type"], *name);
        }
    }
    // A reason is on record, and what a resync discards is kept.
    let orders = scene.sidecar.orders();
    let forced = orders
        .iter()
        .find(|(_, o)| o["action"]["promotion"] == "forced")
        .unwrap();
    assert!(forced.1["action"]["reason"].to_string().contains("u-1"));
    let resync = orders
        .iter()
        .find(|(_, o)| o["action"]["type"] == "resync")
        .unwrap();
    assert_eq!(resync.1["action"]["safety"], "keep");
    assert_eq!(
        orders[0].1["action"],
        json!({"type": "replicate", "mode": "instant"})
    );
    // A group is nobody's project's.
    let group = r#"{"os-replicate": {"mode": "instant", "group": "db"}}"#;
    let answer = scene.act("member", PLAIN, group).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.text().contains("os-replicate:group"),
        "{}",
        answer.text()
    );
    assert_eq!(scene.act("admin", PLAIN, group).await.status, 202);
    let order = scene.sidecar.orders().pop().unwrap().1;
    assert_eq!(order["action"]["group"], "db");
    // None of them was Cinder's to see.
    let asked = scene.cloud.asked();
    assert!(
        asked.iter().all(|(line, _)| line.starts_with("GET ")),
        "{asked:?}"
    );
}

/// A member's own volume may be in a group, which is nobody's: they change how it is replicated, and not whether the next failover has it.
#[tokio::test]
async fn what_is_in_a_group_is_the_groups_operators_to_change() {
    let mut scene = scene("").await;
    let image = format!("volumes/volume-{PLAIN}");
    let unreplicate = r#"{"os-unreplicate": null}"#;
    let periodic = r#"{"os-replicate": {"mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m"}}"#;
    let leave = r#"{"os-replicate": {"mode": "once", "leave_group": true}}"#;
    let other = r#"{"os-replicate": {"mode": "once", "group": "web"}}"#;
    scene.sidecar.says(&image, |r| r["group"] = json!("db"));
    for (token, body, status) in [
        ("member", periodic, 202),
        ("member", unreplicate, 403),
        ("member", leave, 403),
        ("member", other, 403),
        ("admin", periodic, 202),
        ("admin", unreplicate, 202),
        ("admin", leave, 202),
        ("admin", other, 202),
    ] {
        let answer = scene.act(token, PLAIN, body).await;
        assert_eq!(answer.status, status, "{token} {body}: {}", answer.text());
        if status == 403 {
            let why = answer.json()["forbidden"]["message"].to_string();
            assert!(why.contains("os-replicate:group is for those"), "{why}");
            let named = body != unreplicate || why.contains("protection group db");
            assert!(named, "{why}");
        }
    }
    let orders = scene.sidecar.orders();
    let action = |n: usize| &orders[n].1["action"];
    for stays in [0, 1] {
        assert!(action(stays).get("group").is_none(), "{}", action(stays));
        assert!(action(stays).get("leave_group").is_none());
    }
    assert_eq!(
        action(3),
        &json!({"type": "replicate", "mode": "once", "leave_group": true})
    );
    // An image that was cloned from one of a group's brings the group's name along.
    scene.sidecar.says(&image, |r| {
        r["group"] = json!("db");
        r["role"] = json!("not_mirrored");
        r["status"] = json!("error - not mirrored");
    });
    assert_eq!(scene.act("member", PLAIN, periodic).await.status, 403);
    assert_eq!(scene.act("admin", PLAIN, periodic).await.status, 202);
    // What is in none is its project's.
    scene.sidecar.says(&image, |_| {});
    assert_eq!(scene.act("member", PLAIN, unreplicate).await.status, 202);
    // Where that is not known, nothing is done.
    let before = scene.sidecar.orders().len();
    scene.sidecar.says(&image, |r| {
        r["role"] = json!("unknown");
        r["status"] = json!("error - unknown");
    });
    for away in [false, true] {
        if away {
            scene.sidecar_dies().await;
        }
        let answer = scene.act("member", PLAIN, unreplicate).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("5")),
            "{}",
            answer.text()
        );
        let why = answer.text();
        assert!(why.contains("in a protection group"), "{why}");
    }
    assert_eq!(scene.sidecar.orders().len(), before);
}

#[tokio::test]
async fn the_image_is_the_one_that_cinder_names() {
    let scene = scene("").await;
    let body = r#"{"os-resync": null}"#;
    assert_eq!(scene.act("member", TAKEN_IN, body).await.status, 202);
    let orders = scene.sidecar.orders();
    assert_eq!(orders[0].0, format!("volumes/volume-{ITS_IMAGE}"));
    let answer = scene.act("member", ELSEWHERE, body).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("not replicated here"),
        "{}",
        answer.text()
    );
    let none = "9d2a4c1e-0000-4000-8000-00000000ffff";
    assert_eq!(scene.act("member", none, body).await.status, 404);
    assert_eq!(scene.sidecar.orders().len(), 1);
}

/// One that was put under replication before it was refused, or retyped since, is let out of it.
#[tokio::test]
async fn hard_case_39_what_several_servers_may_write_to_is_not_put_under_replication() {
    let scene = scene("").await;
    let mut shared = Volume::new(PLAIN, None);
    shared.multiattach = true;
    scene
        .cloud
        .has(vec![shared, Volume::new(TAKEN_IN, Some(ITS_IMAGE))]);
    for (body, name) in EACH {
        let before = scene.sidecar.orders().len();
        let answer = scene.act("admin", PLAIN, body).await;
        let ordered = scene.sidecar.orders().len() - before;
        if name == "replicate" {
            assert_eq!((answer.status, ordered), (409, 0), "{}", answer.text());
            assert_eq!(answer.header("retry-after"), None);
            let why = answer.json()["conflictingRequest"]["message"].to_string();
            assert!(why.contains("retype it"), "{why}");
        } else {
            assert_eq!((answer.status, ordered), (202, 1), "{}", answer.text());
        }
    }
    let (replicate, _) = EACH[0];
    assert_eq!(scene.act("admin", TAKEN_IN, replicate).await.status, 202);
    // Who may not is told nothing of how it is.
    for (token, status) in [("reader", 403), ("neighbour", 403), ("stranger", 404)] {
        let answer = scene.act(token, PLAIN, replicate).await;
        assert_eq!(answer.status, status, "{token}: {}", answer.text());
    }
}

/// Keystone says 404 of its token, as of one that is none, and Cinder, which heeds the rules, takes it.
#[tokio::test]
async fn a_credential_with_access_rules_is_told_that_it_is_not_taken() {
    let scene = scene("").await;
    for (body, _) in EACH {
        let answer = scene.act("ruled", PLAIN, body).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.text().contains("access rules"), "{}", answer.text());
    }
    assert_eq!(scene.sidecar.orders().len(), 0);
}

/// At a migration's end the image that it is from is deleted.
#[tokio::test]
async fn what_cinder_moves_is_not_put_under_replication() {
    let scene = scene("").await;
    let is = |status: &'static str, migration: Option<&'static str>| {
        let mut volume = Volume::new(PLAIN, None);
        (volume.status, volume.migration) = (status, migration);
        scene.cloud.has(vec![volume]);
    };
    for (status, migration) in [
        ("available", Some("starting")),
        ("in-use", Some("migrating")),
        ("available", Some("completing")),
        (
            "available",
            Some("target:9d2a4c1e-0000-4000-8000-000000000009"),
        ),
        ("available", Some("a word of tomorrow's")),
        ("retyping", None),
        ("maintenance", Some("error")),
        ("deleting", Some("success")),
    ] {
        is(status, migration);
        for (body, name) in EACH {
            let before = scene.sidecar.orders().len();
            let answer = scene.act("admin", PLAIN, body).await;
            let ordered = scene.sidecar.orders().len() - before;
            if name == "replicate" {
                let said = (answer.status, answer.header("retry-after"), ordered);
                assert_eq!(said, (409, Some("5"), 0), "{status} {migration:?}");
                let why = answer.json()["conflictingRequest"]["message"].to_string();
                assert!(why.contains("Cinder is at work"), "{why}");
            } else {
                assert_eq!((answer.status, ordered), (202, 1), "{status} {migration:?}");
            }
        }
    }
    let (replicate, _) = EACH[0];
    for (status, migration) in [
        ("available", None),
        ("available", Some("none")),
        ("in-use", Some("success")),
        ("available", Some("error")),
        ("error_deleting", Some("deleting")),
    ] {
        is(status, migration);
        let answer = scene.act("admin", PLAIN, replicate).await;
        assert_eq!(answer.status, 202, "{status} {migration:?}");
    }
}

fn in_chunks(body: &str) -> String {
    let pieces = body.as_bytes().chunks(1000).map(|c| {
        let text = std::str::from_utf8(c).unwrap();
        format!("{:x}\r\n{text}\r\n", c.len())
    });
    pieces.collect::<String>() + "0\r\n\r\n"
}

#[tokio::test]
async fn what_is_cinders_goes_there_byte_for_byte() {
    let scene = scene("").await;
    let large = format!(r#"{{"os-promote": {{"force": "{}"}}}}"#, "x".repeat(20_000));
    for body in [
        r#"{"os-extend": {"new_size": 2}}"#,
        r#"{"os-promote": {}, "os-extend": {"new_size": 2}}"#,
        r#"{"os-promote": {}, "os-promote": {}}"#,
        " {\"os-set_bootable\" : {\n\"bootable\": true } } ",
        "no JSON",
        "",
        large.as_str(),
    ] {
        let answer = scene.act("member", PLAIN, body).await;
        assert_eq!((answer.status, answer.text().as_str()), (418, body));
        let head = format!(
            "POST /v3/p/volumes/{PLAIN}/action HTTP/1.1\r\nHost: h\r\nX-Auth-Token: member\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let answer = ask(scene.gateway.address, &(head + &in_chunks(body))).await;
        assert_eq!((answer.status, answer.text().as_str()), (418, body));
    }
    for other in [
        "PUT /v3/p/volumes/x/action",
        "POST /v3/p/snapshots/x/action",
        "POST /v3/p/volumes/x/actions",
        "POST /v3/p/volumes/%78/action",
    ] {
        let body = r#"{"os-promote": {}}"#;
        let request = format!(
            "{other} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = ask(scene.gateway.address, &request).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (418, body),
            "{other}"
        );
    }
    assert!(scene.sidecar.orders().is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_said_to_those_who_may_know_that_there_is_a_volume() {
    let scene = scene("").await;
    let bad = r#"{"os-replicate": {"mode": "often"}}"#;
    let answer = scene.act("member", PLAIN, bad).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["badRequest"]["message"].to_string();
    assert!(message.contains("often"), "{message}");
    assert_eq!(scene.act("stranger", PLAIN, bad).await.status, 404);
    for (code, status, name) in [
        (ErrorCode::IsPrimary, 409, "conflictingRequest"),
        (ErrorCode::Frozen, 409, "conflictingRequest"),
        (ErrorCode::GenerationRequired, 409, "conflictingRequest"),
        (ErrorCode::ClusterUnreachable, 503, "serviceUnavailable"),
    ] {
        scene.sidecar.refuses(Some(ApiError::new(code, "so it is")));
        let answer = scene.act("admin", PLAIN, r#"{"os-resync": null}"#).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()[name]["code"], status);
    }
}

#[tokio::test]
async fn a_sidecar_that_is_away_is_told_and_cinder_is_unharmed() {
    let mut scene = scene("").await;
    let body = r#"{"os-resync": null}"#;
    scene.sidecar_dies().await;
    let answer = scene.act("member", PLAIN, body).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    let cinders = scene.act("member", PLAIN, r#"{"os-extend": 1}"#).await;
    assert_eq!(cinders.status, 418);
    scene.sidecar_comes_back().await;
    assert_eq!(scene.act("member", PLAIN, body).await.status, 202);
    assert_eq!(scene.sidecar.orders().len(), 1);
}

/// Asks for a resync and does not wait for the answer.
async fn begun(scene: &Scene, token: &str) -> Raw {
    let body = r#"{"os-resync": null}"#;
    let before = scene.sidecar.orders().len();
    let mut client = Raw::connect(scene.gateway.address).await;
    client
        .send(&format!(
            "POST /v3/p/volumes/{PLAIN}/action HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    soon(async {
        while scene.sidecar.orders().len() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client
}

/// By the project of the token, not of the path, which all of these share.
#[tokio::test]
async fn a_project_has_so_many_actions_in_flight_and_no_more() {
    let scene = scene("[limits]\nproject_actions = 2\n").await;
    let body = r#"{"os-resync": null}"#;
    let in_flight = "rekindle_gateway_actions_in_flight";
    scene.sidecar.hangs();
    let mut first = begun(&scene, "member").await;
    let second = begun(&scene, "admin").await;
    scene.gateway.has_metric(in_flight, 2.0).await;
    let answer = scene.act("member", PLAIN, body).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (413, Some("2")),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["overLimit"]["code"], 413);
    // Who may not is not told how busy others are, and what is Cinder's goes on.
    assert_eq!(scene.act("reader", PLAIN, body).await.status, 403);
    let cinders = scene.act("member", PLAIN, r#"{"os-extend": 1}"#).await;
    assert_eq!(cinders.status, 418);
    let mut other = begun(&scene, "neighbour-admin").await;
    scene.gateway.has_metric(in_flight, 3.0).await;
    // A client that leaves takes nothing back: the sidecar still works on its order.
    drop(second);
    scene
        .gateway
        .has_metric("rekindle_gateway_requests_in_flight", 2.0)
        .await;
    assert_eq!(scene.act("member", PLAIN, body).await.status, 413);
    let (_, text) = scene.gateway.page("/metrics").await;
    let counted = "rekindle_gateway_faults_total{zone=\"zone-a\",name=\"project_actions\"} 2";
    assert!(text.contains(counted), "{text}");
    scene.sidecar.goes_on();
    assert_eq!(first.answer().await.unwrap().status, 202);
    assert_eq!(other.answer().await.unwrap().status, 202);
    scene.gateway.has_metric(in_flight, 0.0).await;
    assert_eq!(scene.act("member", PLAIN, body).await.status, 202);
    assert_eq!(scene.sidecar.orders().len(), 4);
}

/// A cloud may let more people see a volume than change it.
#[tokio::test]
async fn who_sees_another_projects_volume_does_not_change_it() {
    let scene = scene("").await;
    for (body, _) in EACH {
        let answer = scene.act("neighbour", PLAIN, body).await;
        assert_eq!(answer.status, 403, "{body}: {}", answer.text());
    }
    let answer = scene.act("neighbour", PLAIN, EACH[0].0).await;
    let why = answer.json()["forbidden"]["message"].to_string();
    assert!(why.contains("another project's"), "{why}");
    assert!(scene.sidecar.orders().is_empty());
    let answer = scene.act("neighbour-admin", PLAIN, EACH[0].0).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn a_file_of_rules_decides_who_may() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yaml");
    let rules = "# Who drills, and whose the volume is.\n\"drills\": \"role:reader and project_id:%(project_id)s\"\n\
                 \"os-demote\": \"rule:drills or role:admin\"\n\"os-resync\": \"!\"\n";
    std::fs::write(&path, rules).unwrap();
    // `[actions]` has no line of its own in the scene: this is the table that it belongs to.
    let scene = scene_with(&format!("[actions]\nrules = {path:?}\n"), "").await;
    let (demote, resync) = (r#"{"os-demote": null}"#, r#"{"os-resync": null}"#);
    for (token, body, status) in [
        ("reader", demote, 202),
        ("admin", demote, 202),
        ("neighbour", demote, 403),
        ("admin", resync, 403),
        ("member", r#"{"os-unreplicate": null}"#, 202),
        ("member", r#"{"os-promote": {}}"#, 403),
    ] {
        let answer = scene.act(token, PLAIN, body).await;
        assert_eq!(answer.status, status, "{token} {body}: {}", answer.text());
    }
    let answer = scene.act("stranger", PLAIN, demote).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
}

/// One id from the client to the sidecar; and beside it the one that OpenStack knows the request by.
#[tokio::test]
async fn a_request_is_called_the_same_at_the_sidecar() {
    let scene = scene("").await;
    let global = "req-11111111-2222-4333-8444-555555555555";
    let send = async |path: &str, token: &str, body: &str, field: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {token}\r\n{field}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        ask(scene.gateway.address, &request).await
    };
    let path = format!("/v3/p/volumes/{PLAIN}/action");
    let named = format!("X-OpenStack-Request-ID: {global}\r\n");
    for body in [r#"{"os-resync": null}"#, r#"{"os-reserve": null}"#] {
        let answer = send(&path, "admin", body, &named).await;
        let (own, theirs) = scene.sidecar.ids().pop().unwrap();
        assert_eq!(theirs, global, "{body}: {}", answer.text());
        assert!(own.starts_with("req-") && own != global, "{own}");
        if answer.status == 202 {
            assert_eq!(answer.header("x-openstack-request-id"), Some(own.as_str()));
        }
        // Without one, or with one that cannot be logged, it is ours that all go by: Cinder too.
        for field in ["", "X-OpenStack-Request-ID: a b\r\n"] {
            send(&path, "admin", body, field).await;
            let (own, theirs) = scene.sidecar.ids().pop().unwrap();
            assert_eq!(own, theirs);
        }
    }
}
