//! Every call of Cinder's once, and each by a wrong one beside it.

use crate::Api;
use serde_json::{Value, json};

/// Through the whole surface, on a volume that exists and one that does not.
pub(crate) async fn all(api: &Api) {
    let specs = json!({"replication_enabled": "<is> True", "rekindle:mode": "instant"});
    let volume = |n: u32| json!({"id": format!("id-{n}"), "image": format!("volumes/volume-{n}")});
    let (status, wanted) = api
        .json("POST", "/v1/cinder/check", json!({"specs": specs}))
        .await;
    assert_eq!((status, &wanted["mode"]["mode"]), (200, &json!("instant")));
    let bad = json!({"specs": {"rekindle:mode": "instant"}});
    let (status, refused) = api.json("POST", "/v1/cinder/check", bad).await;
    assert_eq!((status, &refused["field"]), (400, &json!("rekindle:mode")));

    let mut seventh = volume(7);
    seventh["facts"] = json!({"project_id": "p", "size_gib": 1, "name": "db", "image_metadata": {"os_type": "linux"}});
    let body = json!({"backend": null, "specs": specs, "volumes": [seventh, volume(8)]});
    let (status, ends) = api.json("POST", "/v1/cinder/replicate", body).await;
    let words = |ends: &Value| -> Vec<Value> {
        let all = ends["volumes"].as_array().unwrap().iter();
        all.map(|v| v["replication_status"].clone()).collect()
    };
    assert_eq!(status, 200, "{ends}");
    assert_eq!(words(&ends), [json!("enabled"), json!("error")]);
    assert_eq!(ends["volumes"][1]["error"]["code"], "unknown_volume");

    let again = json!({"specs": specs, "volumes": [volume(7)], "cause": "again"});
    let (_, ends) = api.json("POST", "/v1/cinder/replicate", again).await;
    assert_eq!(ends["volumes"][0]["effect"], "already_so", "{ends}");

    deletion(api, volume(7)).await;
    let asked = json!({"backend": "default", "volumes": [volume(7)]});
    let (_, now) = api.json("POST", "/v1/cinder/status", asked.clone()).await;
    assert_eq!(now["volumes"][0]["status"], "active - primary");

    let guard = |operation: &str| json!({"operation": operation, "image": "volumes/volume-7"});
    let (status, _) = api.json("POST", "/v1/cinder/guard", guard("extend")).await;
    assert_eq!(status, 200);
    let (status, _) = api.json("POST", "/v1/cinder/guard", guard("explode")).await;
    assert_eq!(status, 400);

    let mut remade = guard("remake");
    remade["specs"] = specs.clone();
    let (status, refused) = api.json("POST", "/v1/cinder/guard", remade.clone()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("held")));
    remade["specs"]["rekindle:on_delete"] = json!("delete:7d");
    let (status, _) = api.json("POST", "/v1/cinder/guard", remade).await;
    assert_eq!(status, 200);

    let freeze = json!({"reason": "a move"});
    let (status, _) = api.json("POST", "/v1/cinder/freeze", freeze).await;
    assert_eq!(status, 200);
    let (status, frozen) = api.json("POST", "/v1/cinder/guard", guard("extend")).await;
    assert_eq!((status, &frozen["code"]), (423, &json!("frozen")));
    let (_, backend) = api.json("GET", "/v1/cinder/backend", Value::Null).await;
    assert_eq!(backend["frozen"], "a move, by the Cinder of zone-a");
    let (status, _) = api.json("POST", "/v1/cinder/thaw", json!({})).await;
    assert_eq!(status, 200);
    let (status, _) = api
        .json("GET", "/v1/cinder/backend?backend=elsewhere", Value::Null)
        .await;
    assert_eq!(status, 400);

    let away = json!({"target": "zone-b", "volumes": [volume(7), volume(8)]});
    let (status, moved) = api.json("POST", "/v1/cinder/failover", away).await;
    assert_eq!((status, &moved["target"]), (200, &json!("zone-b")));
    assert_eq!(
        words(&moved),
        [json!("failed-over"), json!("failover-error")]
    );
    let nowhere = json!({"target": "zone-z", "volumes": []});
    let (status, refused) = api.json("POST", "/v1/cinder/failover", nowhere).await;
    assert_eq!((status, &refused["field"]), (400, &json!("target")));
    let home = json!({"backend": "zone-b", "target": "default", "volumes": [volume(7)]});
    let (status, moved) = api.json("POST", "/v1/cinder/failover", home).await;
    assert_eq!(status, 200, "{moved}");
    assert_eq!(words(&moved), [json!("enabled")]);

    let (_, off) = api.json("POST", "/v1/cinder/unreplicate", asked).await;
    assert_eq!(words(&off), [json!("disabled")]);
}

/// What Cinder said is in the report; a deletion is answered, marked, and taken back.
async fn deletion(api: &Api, volume: Value) {
    let at = "/v1/volumes/volumes/volume-7";
    let (_, report) = api.json("GET", at, Value::Null).await;
    assert_eq!(report["cinder"]["name"], "db", "{report}");
    assert_eq!(report["on_delete"], "delete:0s");
    let body = json!({"backend": null, "volume": volume});
    let (status, answer) = api.json("POST", "/v1/cinder/delete", body.clone()).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("proceed")));
    let week = json!({"replication_enabled": "<is> True", "rekindle:on_delete": "delete:7d"});
    let again = json!({"specs": week, "volumes": [volume]});
    let (status, _) = api.json("POST", "/v1/cinder/replicate", again).await;
    assert_eq!(status, 200);
    let mut purge = body.clone();
    purge["step"] = json!("snapshots_first");
    let (status, refused) = api.json("POST", "/v1/cinder/delete", purge).await;
    assert_eq!((status, &refused["code"]), (409, &json!("held")));
    let (_, answer) = api.json("POST", "/v1/cinder/delete", body).await;
    assert_eq!(answer["outcome"], "scheduled");
    let act = |action: Value| json!({"action": action});
    let actions = format!("{at}/actions");
    for (action, effect) in [
        (json!({"type": "undelete"}), "done"),
        (json!({"type": "undelete"}), "already_so"),
        (
            json!({"type": "mark_deleted", "then": "keep", "from": "zone-a"}),
            "done",
        ),
        (json!({"type": "undelete"}), "done"),
        (
            json!({"type": "describe", "facts": {"zone": "zone-a", "id": "7", "project_id": "p", "size_gib": 2,
                "snapshots": [{"id": "s", "created_at": "2026-11-25T10:00:00Z"}]}}),
            "done",
        ),
    ] {
        let (status, outcome) = api.json("POST", &actions, act(action)).await;
        assert_eq!(
            (status, &outcome["effect"]),
            (200, &json!(effect)),
            "{outcome}"
        );
    }
    let bad = json!({"type": "describe", "facts": {"zone": "zone-a", "id": "", "project_id": "p", "size_gib": 2}});
    let (status, refused) = api.json("POST", &actions, act(bad)).await;
    assert_eq!((status, &refused["field"]), (400, &json!("action.facts")));
}
