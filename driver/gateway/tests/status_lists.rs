//! Lists that are filtered and ordered by status: whole pages, links that lead on, and bounds that are told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::json;
use support::{
    cloud::Volume,
    scene::{Scene, scene},
};

/// Of so many volumes each third is a copy, and each third is not replicated.
const VOLUMES: usize = 250;

fn id(n: usize) -> String {
    format!("5e2a4c1e-0000-4000-8000-{n:012}")
}

async fn many(more: &str) -> Scene {
    let scene = scene(more).await;
    scene
        .cloud
        .has((0..VOLUMES).map(|n| Volume::new(&id(n), None)).collect());
    for n in 0..VOLUMES {
        let image = format!("volumes/volume-{}", id(n));
        match n % 3 {
            0 => scene.sidecar.says(&image, |r| {
                r["lag"] = json!({ "kind": "entries", "behind": n })
            }),
            1 => scene
                .sidecar
                .says(&image, |r| r["status"] = json!("active - secondary")),
            _ => {}
        }
    }
    scene
}

/// The ids of all pages, by their links, and how many pages they were.
async fn pages(scene: &Scene, path: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages) = (Vec::new(), 0);
    let mut path = path.to_owned();
    loop {
        let answer = scene.get(&path, "member").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let answer = answer.json();
        let volumes = answer["volumes"].as_array().unwrap();
        ids.extend(volumes.iter().map(|v| v["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = answer["volumes_links"][0]["href"].as_str() else {
            return (ids, pages);
        };
        path = next
            .strip_prefix("http://volumes.example")
            .unwrap()
            .to_owned();
        assert!(pages < 100, "{path}");
    }
}

fn every(third: usize) -> Vec<String> {
    (0..VOLUMES).filter(|n| n % 3 == third).map(id).collect()
}

#[tokio::test]
async fn pages_by_a_status_are_whole_and_hold_each_volume_once() {
    let scene = many("").await;
    let secondary = "/v3/p/volumes/detail?rekindle:status=active+-+secondary";
    assert_eq!(pages(&scene, secondary).await, (every(1), 1));
    assert_eq!(
        pages(&scene, &format!("{secondary}&limit=10")).await,
        (every(1), 9)
    );
    // A page that is full to the last one has no next.
    assert_eq!(
        pages(&scene, &format!("{secondary}&limit=83")).await,
        (every(1), 1)
    );
    let none = "/v3/p/volumes?rekindle:status=none&limit=20";
    assert_eq!(pages(&scene, none).await, (every(2), 5));
    let peer = "/v3/p/volumes?rekindle:peer=zone-c";
    assert_eq!(pages(&scene, peer).await, (Vec::new(), 1));
    let answer = scene
        .get(&format!("{secondary}&limit=3&with_count=1"), "member")
        .await;
    assert_eq!(answer.json()["count"], 83);
    let first = &answer.json()["volumes"][0];
    assert_eq!(
        (first["rekindle:status"].as_str(), first["size"].as_i64()),
        (Some("active - secondary"), Some(1))
    );
    // Another's list has none, for Cinder gives none.
    let answer = scene.get(secondary, "stranger").await;
    assert_eq!(answer.text(), r#"{"volumes": []}"#);
}

#[tokio::test]
async fn an_order_is_by_status_and_then_as_cinder_gives_them() {
    let scene = many("").await;
    let wanted: Vec<String> = [every(2), every(0), every(1)].concat();
    let path = "/v3/p/volumes?sort=rekindle:status:asc,created_at:desc&limit=100";
    assert_eq!(pages(&scene, path).await, (wanted, 3));
    let asked = scene.cloud.asked();
    assert!(
        asked
            .iter()
            .all(|(line, _)| line.contains("sort=created_at%3Adesc")),
        "{asked:?}"
    );
    let path =
        "/v3/p/volumes?sort_key=rekindle:lag&sort_dir=desc&rekindle:status=active%20-%20primary";
    let mut wanted = every(0);
    wanted.reverse();
    assert_eq!(pages(&scene, path).await.0, wanted);
}

#[tokio::test]
async fn what_cannot_be_given_is_said() {
    let mut scene = many("[status]\ncollected = 100\nage = \"10ms\"\n").await;
    let answer = scene
        .get("/v3/p/volumes?sort=rekindle:status", "member")
        .await;
    assert_eq!(answer.status, 400);
    let why = answer.json()["badRequest"]["message"].to_string();
    assert!(why.contains("more than 100 volumes"), "{why}");
    scene.cloud.has(vec![Volume::new(&id(1), None)]);
    for (query, status, word) in [
        ("rekindle:status=active", 400, "no status"),
        ("rekindle:speed=1", 400, "there are"),
        ("rekindle:lag=far", 400, "rekindle:lag: "),
        ("rekindle:last_sync=gt:noon", 400, "rekindle:last_sync: "),
        ("sort=name,rekindle:status", 400, "before"),
        (
            "rekindle:mode=instant&marker=5e2a4c1e-0000-4000-8000-00000000ffff",
            404,
            "could not be found",
        ),
    ] {
        let answer = scene.get(&format!("/v3/p/volumes?{query}"), "member").await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(answer.text().contains(word), "{query}: {}", answer.text());
    }
    // What Cinder says to the user itself is said.
    let answer = scene.get("/v3/p/volumes?rekindle:mode=once", "").await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "no token"));
    // An empty list would be a lie.
    scene.sidecar_dies().await;
    support::soon(async {
        loop {
            let answer = scene
                .get("/v3/p/volumes?rekindle:mode=instant", "member")
                .await;
            if answer.status == 503 {
                assert_eq!(answer.header("retry-after"), Some("5"));
                return;
            }
        }
    })
    .await;
    assert_eq!(scene.get("/v3/p/volumes", "member").await.status, 200);
}

#[tokio::test]
async fn how_far_behind_and_how_long_ago_filter_and_sort_with_whole_pages() {
    let scene = many("").await;
    // Copies, of which each is a minute further behind than the one before.
    let copies = every(1);
    for (minutes, volume) in copies.iter().enumerate() {
        let at = format!(
            "2026-11-26T{:02}:{:02}:00Z",
            10 - minutes / 60,
            59 - minutes % 60
        );
        scene
            .sidecar
            .says(&format!("volumes/volume-{volume}"), |r| {
                support::sidecar::copy(r);
                r["lag"] = json!({ "kind": "time", "behind": format!("{minutes}m") });
                r["last_sync"] = json!({ "at": at, "took": null, "bytes": null });
            });
    }
    let all = "/v3/p/volumes?limit=7&rekindle:status=active+-+secondary";
    let far = pages(&scene, &format!("{all}&rekindle:lag=gte:10m,lt:30m")).await;
    assert_eq!(far, (copies[10..30].to_vec(), 3));
    let one = pages(&scene, "/v3/p/volumes?rekindle:lag=1h").await;
    assert_eq!(one, (copies[60..61].to_vec(), 1));
    let old = pages(
        &scene,
        "/v3/p/volumes?rekindle:last_sync=lt:2026-11-26T10:00:00Z",
    )
    .await;
    assert_eq!(old.0, copies[60..]);
    let at = "2026-11-26T11:00:00%2B01:00";
    let exact = pages(&scene, &format!("/v3/p/volumes?rekindle:last_sync={at}")).await;
    assert_eq!(exact.0, copies[59..60]);
    let mut rising = copies.clone();
    rising.reverse();
    for sort in ["rekindle:last_sync:asc", "rekindle:lag:desc"] {
        let sorted = pages(&scene, &format!("{all}&sort={sort}")).await;
        assert_eq!(sorted, (rising.clone(), copies.len().div_ceil(7)), "{sort}");
    }
    // What was never copied, and what is not replicated at all, has no such time.
    let never = pages(&scene, "/v3/p/volumes?rekindle:last_sync=none&limit=100")
        .await
        .0;
    assert_eq!(never.len(), VOLUMES - copies.len());
    // Entries are not compared with time.
    let few = pages(&scene, "/v3/p/volumes?rekindle:lag=lt:9+entries").await;
    assert_eq!(few.0, every(0)[..3]);
}
