//! The status in Cinder's bodies: whose it is, what else changes (nothing), and what comes of a sidecar that is away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{
    cloud::{ELSEWHERE, ITS_IMAGE, Odd, PLAIN, TAKEN_IN, Volume},
    scene::{Scene, scene},
};

const KEYS: [&str; 5] = [
    "rekindle:status",
    "rekindle:mode",
    "rekindle:peer",
    "rekindle:last_sync",
    "rekindle:lag",
];

/// The five fields of a volume.
fn fields(volume: &Value) -> Vec<Value> {
    KEYS.iter().map(|k| volume[k].clone()).collect()
}

fn copy(report: &mut Value) {
    report["status"] = json!("active - secondary");
    report["role"] = json!("secondary");
    report["last_sync"] = json!({ "at": "2026-11-26T10:00:00Z", "took": null, "bytes": null });
    report["lag"] = json!({ "kind": "entries", "behind": 12 });
}

/// With a primary under PLAIN, a copy under TAKEN_IN, and an image that is nobody's here.
async fn replicated(more: &str) -> Scene {
    let scene = scene(more).await;
    scene
        .sidecar
        .says(&format!("volumes/volume-{PLAIN}"), |_| ());
    scene
        .sidecar
        .says(&format!("volumes/volume-{ITS_IMAGE}"), copy);
    scene
}

#[tokio::test]
async fn a_member_sees_the_status_in_lists_in_detail_and_in_one() {
    let scene = replicated("").await;
    let primary = json!(["active - primary", "instant", "zone-b", null, "none"]);
    let secondary = json!([
        "active - secondary",
        "instant",
        "zone-b",
        "2026-11-26T10:00:00Z",
        "12 entries"
    ]);
    let none = json!([null, null, null, null, null]);
    let wanted = [
        (PLAIN, &primary),
        (TAKEN_IN, &secondary),
        (ELSEWHERE, &none),
    ];
    for path in [
        "/v3/p/volumes",
        "/v3/p/volumes/detail",
        "/v3/p/volumes?limit=50",
    ] {
        let answer = scene.get(path, "member").await;
        assert_eq!(answer.status, 200, "{path}");
        let volumes = answer.json()["volumes"].clone();
        assert_eq!(volumes.as_array().unwrap().len(), 3);
        for (volume, (id, wanted)) in volumes.as_array().unwrap().iter().zip(wanted) {
            assert_eq!(volume["id"], id);
            assert_eq!(json!(fields(volume)), *wanted, "{path}: {id}");
        }
    }
    for (id, wanted) in wanted {
        let answer = scene.get(&format!("/v3/p/volumes/{id}"), "member").await;
        assert_eq!(json!(fields(&answer.json()["volume"])), *wanted, "{id}");
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert_eq!((length, answer.header("etag")), (answer.body.len(), None));
    }
    // Which image is under a volume was asked once for all, and Cinder's answers came unpacked.
    assert_eq!(
        scene.cloud.asked_by_us().len(),
        1,
        "{:?}",
        scene.cloud.asked_by_us()
    );
    assert!(scene.cloud.packing().is_empty());
    // Another project's list has nothing in it, and nothing is added to it.
    let answer = scene.get("/v3/p/volumes", "stranger").await;
    assert_eq!(answer.text(), r#"{"volumes": []}"#);
    let answer = scene
        .get(&format!("/v3/p/volumes/{PLAIN}"), "stranger")
        .await;
    assert_eq!(
        (answer.status, answer.text().contains("rekindle")),
        (404, false)
    );
    assert_eq!(scene.get("/v3/p/volumes", "").await.status, 401);
}

#[tokio::test]
async fn all_else_in_a_body_is_cinders_byte_for_byte() {
    let scene = replicated("").await;
    let answer = scene.get("/v3/p/volumes/detail", "member").await;
    let text = answer.text();
    let mut without = text.clone();
    for key in KEYS {
        while let Some(at) = without.find(&format!(", \"{key}\": ")) {
            let rest = &without[at + 2..];
            let end = rest.find([',', '}']).unwrap();
            without.replace_range(at..at + 2 + end, "");
        }
    }
    let volumes = [
        Volume::new(PLAIN, None).text(true),
        Volume::new(TAKEN_IN, None).text(true),
        Volume::new(ELSEWHERE, None).text(true),
    ];
    assert_eq!(
        without,
        format!("{{\"volumes\": [{}]}}", volumes.join(", "))
    );
    assert_ne!(without, text);
}

#[tokio::test]
async fn a_volume_shows_what_is_of_its_own_image_whatever_its_id() {
    let scene = replicated("").await;
    // Its id is in the name of the primary's image, and its own image is another.
    scene.cloud.has(vec![Volume::new(PLAIN, Some(TAKEN_IN))]);
    let answer = scene.get("/v3/p/volumes/detail", "member").await;
    assert_eq!(answer.json()["volumes"][0]["rekindle:status"], Value::Null);
    // One that Cinder tells us nothing of is unknown, and no copy of somebody.
    scene.cloud.has(vec![]);
    let body = format!("{{\"volume\": {{\"id\": \"{ITS_IMAGE}\"}}}}");
    let headers = vec![("content-type", "application/json".to_owned())];
    scene.cloud.odd(Some(Odd {
        headers,
        status: 200,
        body: body.into(),
    }));
    let answer = scene
        .get(&format!("/v3/p/volumes/{ITS_IMAGE}"), "member")
        .await;
    assert_eq!(answer.json()["volume"]["rekindle:status"], "unknown");
}

#[tokio::test]
async fn a_sidecar_that_is_away_is_unknown_and_slows_nobody() {
    let mut scene = replicated("[status]\nage = \"10ms\"\n").await;
    scene.sidecar_dies().await;
    for _ in 0..3 {
        let answer = scene.get("/v3/p/volumes", "member").await;
        let volumes = answer.json()["volumes"].clone();
        for (n, wanted) in [json!("unknown"), json!("unknown"), Value::Null]
            .iter()
            .enumerate()
        {
            assert_eq!(fields(&volumes[n]), vec![wanted.clone(); 5]);
        }
    }
    assert!(
        scene
            .gateway
            .metric("rekindle_gateway_status_unknown_total")
            .await
            >= Some(6.0)
    );
    scene.sidecar_comes_back().await;
    support::soon(async {
        loop {
            let answer = scene.get("/v3/p/volumes", "member").await;
            if answer.json()["volumes"][0]["rekindle:status"] == "active - primary" {
                return;
            }
        }
    })
    .await;
    // One that hangs: the first request waits for the bound, and no other does.
    scene.sidecar.hangs();
    support::soon(async {
        while scene.get("/v3/p/volumes", "member").await.json()["volumes"][0]["rekindle:status"]
            != "unknown"
        {}
    })
    .await;
    let began = Instant::now();
    for _ in 0..20 {
        let answer = scene.get("/v3/p/volumes", "member").await;
        assert_eq!(
            (
                answer.status,
                answer.json()["volumes"][0]["rekindle:status"].as_str()
            ),
            (200, Some("unknown"))
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn what_cannot_be_filled_goes_through_untouched_and_is_counted() {
    let scene = replicated("[status]\nbody = 65536\n").await;
    let json = || ("content-type", "application/json".to_owned());
    let one = format!("{{\"volumes\": [{{\"id\": \"{PLAIN}\"}}]}}").into_bytes();
    let large = format!(
        "{{\"volumes\": [{{\"id\": \"{PLAIN}\", \"x\": \"{}\"}}]}}",
        "x".repeat(70_000)
    );
    for (what, headers, status, body) in [
        ("too_large", vec![json()], 200, large.into_bytes()),
        (
            "packed",
            vec![json(), ("content-encoding", "gzip".to_owned())],
            200,
            one.clone(),
        ),
        (
            "no_volumes",
            vec![("content-type", "text/html".to_owned())],
            200,
            one.clone(),
        ),
        (
            "no_volumes",
            vec![json()],
            200,
            b"{\"volumes\": [{\"id\": ".to_vec(),
        ),
        ("no_volumes", vec![json()], 200, b"\xff\xfe".to_vec()),
        ("", vec![json()], 300, one.clone()),
        ("", vec![json()], 503, one.clone()),
    ] {
        let name = format!("rekindle_gateway_status_bodies_total{{name=\"{what}\"");
        let metric = async || {
            scene
                .gateway
                .metric(&format!(
                    "rekindle_gateway_status_bodies_total{{zone=\"zone-a\",name=\"{what}\"}}"
                ))
                .await
        };
        let before = metric().await.unwrap_or_default();
        scene.cloud.odd(Some(Odd {
            headers: headers.clone(),
            status,
            body: body.clone(),
        }));
        let answer = scene.get("/v3/p/volumes", "member").await;
        assert_eq!((answer.status, &answer.body), (status, &body), "{what}");
        for (header, value) in headers {
            assert_eq!(answer.header(header), Some(value.as_str()), "{what}");
        }
        if !what.is_empty() {
            assert_eq!(metric().await, Some(before + 1.0), "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_done_shows_at_once() {
    let scene = replicated("[status]\nage = \"10s\"\n").await;
    let status = async || {
        let answer = scene.get(&format!("/v3/p/volumes/{PLAIN}"), "admin").await;
        answer.json()["volume"]["rekindle:status"].clone()
    };
    assert_eq!(status().await, "active - primary");
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), copy);
    assert_eq!(
        status().await,
        "active - primary",
        "it is kept for ten seconds"
    );
    let answer = scene.act("admin", PLAIN, r#"{"os-demote": null}"#).await;
    assert_eq!(answer.status, 202);
    assert_eq!(status().await, "active - secondary");
}

#[tokio::test]
async fn the_status_stands_in_cinders_own_field_where_that_is_wanted() {
    let mut scene = replicated("[status]\nreplication_status = true\nage = \"10ms\"\n").await;
    let shown = |answer: Value| {
        let volumes = answer["volumes"].as_array().unwrap().clone();
        volumes
            .iter()
            .map(|v| v["replication_status"].clone())
            .collect::<Vec<_>>()
    };
    let answer = scene.get("/v3/p/volumes/detail", "member").await;
    assert_eq!(
        shown(answer.json()),
        [
            json!("active - primary"),
            json!("active - secondary"),
            Value::Null
        ]
    );
    scene.sidecar_dies().await;
    support::soon(async {
        loop {
            let answer = scene.get("/v3/p/volumes/detail", "member").await;
            if shown(answer.json()) == [json!("unknown"), json!("unknown"), Value::Null] {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_it_bodies_are_cinders() {
    let scene = replicated("[status]\nshown = false\n").await;
    let answer = scene.get(&format!("/v3/p/volumes/{PLAIN}"), "member").await;
    let text = Volume::new(PLAIN, None).text(true);
    assert_eq!(answer.text(), format!("{{\"volume\": {text}}}"));
    assert_eq!(answer.header("etag"), Some("\"x\""));
    assert_eq!(scene.sidecar.asked(), (0, 0));
}
