//! What a guard takes of the gateway and of Cinder: no more than the requests that wait for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::json;
use support::{
    cloud::PLAIN,
    raw::Raw,
    scene::{is_cinders, scene},
    soon,
};

/// The gateway's own account asks four things at once. Whoever waits for that and leaves takes its place along.
#[tokio::test]
async fn looks_of_those_who_have_left_are_in_nobodys_way() {
    const CLIENTS: usize = 40;
    let scene = scene("").await;
    scene.sidecar.says(&format!("volumes/volume-{PLAIN}"), |r| {
        r["on_delete"] = json!("keep");
    });
    let path = format!("/v3/p/volumes/{PLAIN}");
    let delete = format!("DELETE {path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: member\r\n\r\n");
    scene.cloud.hangs();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Raw::connect(scene.gateway.address).await;
        client.send(&delete).await;
        clients.push(client);
    }
    soon(async {
        while scene.cloud.asked().len() < CLIENTS || scene.cloud.asked_by_us().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(clients);
    scene
        .gateway
        .has_metric("rekindle_gateway_requests_in_flight", 0.0)
        .await;
    let asked = scene.cloud.asked_by_us().len();
    scene.cloud.goes_on();
    let answer = scene.send("DELETE", &path, "member", "").await;
    assert!(is_cinders(&answer), "{}", answer.text());
    // Its own, and what was on its way as they left.
    let later = scene.cloud.asked_by_us().len() - asked;
    assert!((1..=1 + 4).contains(&later), "{later}");
}
