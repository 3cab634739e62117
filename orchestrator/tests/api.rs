//! The API's answers to what is wrong with a request: each names the field, and nothing is done.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use common::{Rig, group, nova::key, policy};
use http_body_util::BodyExt;
use rekindle_common::{ApiError, ErrorCode, Generation, keys, servers::KeptServer};
use rekindle_store::{Op, Store, Txn};
use serde_json::{Value, json};
use tower::ServiceExt;

struct Api {
    rig: Rig,
    routes: Router,
}

impl Api {
    async fn new() -> Self {
        let mut rig = Rig::with(2, policy()).await;
        // One orchestrator alone, so that its own routes are the leader's.
        for s in rig.world.sites() {
            rig.world.stop_orchestrator(&s).await;
        }
        let orchestrator = rekindle_orchestrator::build(rig.world.parts(&common::witness()));
        let routes = orchestrator.routes();
        tokio::spawn(orchestrator.run(tokio_util::sync::CancellationToken::new()));
        let api = Self { rig, routes };
        common::eventually("it leads", || async {
            let (status, _) = api.send(Method::GET, "/v1/groups", None).await;
            (status == 200).then_some(())
        })
        .await;
        api
    }
    /// The routes of one site of a world, whether it leads or not.
    fn of_site(rig: Rig, site: &rekindle_common::SiteName) -> Self {
        let routes = rig.world.endpoint(site).unwrap().routes().unwrap();
        Self { rig, routes }
    }
    async fn send(&self, method: Method, path: &str, body: Option<&str>) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.unwrap_or_default().to_owned()))
            .unwrap();
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, bytes.to_vec())
    }
    async fn refused(&self, method: Method, path: &str, body: Option<&str>) -> ApiError {
        let (status, bytes) = self.send(method, path, body).await;
        let e: ApiError = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| panic!("{path}: {status} {}", String::from_utf8_lossy(&bytes)));
        assert_eq!(status, e.code.http_status(), "{path}: {e}");
        e
    }
    fn spec(&self) -> Value {
        serde_json::to_value(self.rig.spec(policy())).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn bad_requests_name_what_is_wrong() {
    let api = Api::new().await;
    let with = |change: fn(&mut Value)| {
        let mut spec = api.spec();
        change(&mut spec);
        spec.to_string()
    };
    let put = |path: &'static str, body: String| (Method::PUT, path, body);
    let post = |path: &'static str, body: &str| (Method::POST, path, body.to_owned());
    let cases = [
        // bodies
        (
            put("/v1/groups/db", "{".to_owned()),
            ErrorCode::MalformedBody,
            None,
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["hold_off"] = json!("soon")),
            ),
            ErrorCode::InvalidField,
            Some("policy.hold_off"),
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["hurry"] = json!(true)),
            ),
            ErrorCode::InvalidField,
            Some("policy.hurry"),
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["hold_off"] = json!("0s")),
            ),
            ErrorCode::InvalidField,
            Some("policy.hold_off"),
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["lease"]["ttl"] = json!("1s")),
            ),
            ErrorCode::InvalidField,
            Some("policy.lease.ttl"),
        ),
        (
            put("/v1/groups/db", with(|s| s["away"] = json!("zone-a"))),
            ErrorCode::InvalidField,
            Some("away"),
        ),
        (
            put("/v1/groups/db", with(|s| s["away"] = json!("zone-x"))),
            ErrorCode::InvalidField,
            Some("away"),
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["application"] = json!("rm")),
            ),
            ErrorCode::InvalidField,
            Some("policy.application"),
        ),
        (
            put(
                "/v1/groups/db",
                with(|s| s["policy"]["fence_agent"] = json!("none")),
            ),
            ErrorCode::InvalidField,
            Some("policy.fence_agent"),
        ),
        (
            put("/v1/groups/other", with(|_| ())),
            ErrorCode::InvalidField,
            Some("name"),
        ),
        (
            put("/v1/groups/Not_A_Name", with(|_| ())),
            ErrorCode::InvalidField,
            None,
        ),
        (
            put("/v1/maintenance", r#"{"reason":"  "}"#.to_owned()),
            ErrorCode::InvalidField,
            Some("reason"),
        ),
        // what is not there
        (
            post(
                "/v1/groups/none/plans",
                r#"{"request":{"request":"failback"}}"#,
            ),
            ErrorCode::UnknownGroup,
            None,
        ),
        (
            post("/v1/groups/none/acknowledge", r#"{"by":"ann"}"#),
            ErrorCode::UnknownGroup,
            None,
        ),
        (
            post("/v1/plans/none/give-up", ""),
            ErrorCode::UnknownPlan,
            None,
        ),
        (
            post("/v1/plans/none/retry", ""),
            ErrorCode::UnknownPlan,
            None,
        ),
        (
            (Method::GET, "/v1/plans/none", String::new()),
            ErrorCode::UnknownPlan,
            None,
        ),
        (
            (Method::GET, "/v1/plans/none/watch", String::new()),
            ErrorCode::UnknownPlan,
            None,
        ),
        (
            (Method::GET, "/v1/groups/none", String::new()),
            ErrorCode::UnknownGroup,
            None,
        ),
        (
            (Method::GET, "/v1/nothing", String::new()),
            ErrorCode::UnknownPath,
            None,
        ),
        (
            (Method::DELETE, "/v1/status", String::new()),
            ErrorCode::MethodNotAllowed,
            None,
        ),
        // what cannot be
        (
            post(
                "/v1/groups/db/plans",
                r#"{"request":{"request":"explode"}}"#,
            ),
            ErrorCode::InvalidField,
            None,
        ),
        (
            post(
                "/v1/groups/db/plans",
                r#"{"request":{"request":"move","to":"zone-x"}}"#,
            ),
            ErrorCode::InvalidField,
            None,
        ),
        (
            post(
                "/v1/groups/db/plans",
                r#"{"request":{"request":"move","to":"zone-a"}}"#,
            ),
            ErrorCode::Held,
            None,
        ),
        (
            post(
                "/v1/groups/db/plans",
                r#"{"request":{"request":"failover"}}"#,
            ),
            ErrorCode::Held,
            None,
        ),
        (
            post("/v1/groups/db/acknowledge", r#"{"by":"ann"}"#),
            ErrorCode::Held,
            None,
        ),
        (
            post(
                "/v1/groups/db/approve",
                r#"{"what":{"what":"reprotect"},"by":""}"#,
            ),
            ErrorCode::InvalidField,
            Some("by"),
        ),
        (
            post(
                "/v1/groups/db/approve",
                r#"{"what":{"what":"reprotect"},"by":"ann","generation":9}"#,
            ),
            ErrorCode::StaleGeneration,
            None,
        ),
        (
            (Method::GET, "/v1/plans?limit=0", String::new()),
            ErrorCode::InvalidField,
            Some("limit"),
        ),
        (
            (Method::GET, "/v1/plans?limit=100000", String::new()),
            ErrorCode::InvalidField,
            Some("limit"),
        ),
        (
            (Method::GET, "/v1/plans?colour=red", String::new()),
            ErrorCode::InvalidField,
            None,
        ),
    ];
    for ((method, path, body), code, field) in cases {
        let e = api.refused(method.clone(), path, Some(&body)).await;
        assert_eq!(e.code, code, "{method} {path} {body}: {e}");
        if field.is_some() {
            assert_eq!(e.field.as_deref(), field, "{method} {path} {body}: {e}");
        }
    }
    // And nothing of it was done.
    let g = api.rig.spec(policy());
    let (_, bytes) = api.send(Method::GET, "/v1/groups/db", None).await;
    let now: rekindle_orchestrator::wire::GroupStatus = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(now.spec, g);
    assert_eq!((now.approval, now.active_plan), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_defined_again_goes_on_with_its_generation() {
    let api = Api::new().await;
    let spec = api.spec().to_string();
    let (status, _) = api.send(Method::PUT, "/v1/groups/db", Some(&spec)).await;
    assert_eq!(status, 200, "changed");
    let (status, _) = api.send(Method::DELETE, "/v1/groups/db", None).await;
    assert_eq!(status, 204);
    let e = api.refused(Method::GET, "/v1/groups/db", None).await;
    assert_eq!(e.code, ErrorCode::UnknownGroup);
    // Its record stays, and says which zone is primary: who means the other one is told so.
    let mut turned: Value = serde_json::from_str(&spec).unwrap();
    (turned["home"], turned["away"]) = (json!("zone-b"), json!("zone-a"));
    let e = api
        .refused(Method::PUT, "/v1/groups/db", Some(&turned.to_string()))
        .await;
    assert_eq!(e.code, ErrorCode::Held, "{e}");
    assert!(e.message.contains("name zone-a as home"), "{e}");
    let (status, bytes) = api.send(Method::PUT, "/v1/groups/db", Some(&spec)).await;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&bytes));
    let put: rekindle_orchestrator::wire::GroupPut = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        put.primary.generation,
        Generation(1),
        "it is the same record"
    );
    assert_eq!(put.primary.zone, common::zone_a());
    common::eventually("it is well", || async {
        let (_, bytes) = api.send(Method::GET, "/v1/groups/db", None).await;
        let g = serde_json::from_slice(&bytes).ok()?;
        common::well(&g, 2).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_11_a_group_that_etcd_forgot_begins_after_what_its_zones_have_seen() {
    let api = Api::new().await;
    let store = rekindle_store::Store::from(api.rig.world.store("any"));
    // All of the group's records are gone, as with a new etcd.
    let forget = rekindle_store::Op::DeletePrefix {
        prefix: format!("{}db/", rekindle_common::keys::GROUPS),
    };
    store
        .txn(rekindle_store::Txn::new().then(forget))
        .await
        .unwrap();
    let spec = api.spec();
    let mut elsewhere = spec.clone();
    elsewhere["home"] = json!("zone-b");
    elsewhere["away"] = json!("zone-a");
    // Where its volumes are primary is where it is at home, or it is not taken.
    let e = api
        .refused(Method::PUT, "/v1/groups/db", Some(&elsewhere.to_string()))
        .await;
    assert_eq!(e.code, ErrorCode::Held, "{e}");
    assert!(e.message.contains("zone-a"), "{e}");
    let bytes = common::eventually("it is defined again", || async {
        let (status, bytes) = api
            .send(Method::PUT, "/v1/groups/db", Some(&spec.to_string()))
            .await;
        (status == 201).then_some(bytes)
    })
    .await;
    let put: rekindle_orchestrator::wire::GroupPut = serde_json::from_slice(&bytes).unwrap();
    assert!(put.primary.generation > Generation(1), "{put:?}");
}

#[tokio::test(start_paused = true)]
async fn health_readiness_and_metrics() {
    let api = Api::new().await;
    for (path, word) in [
        ("/healthz", "witness"),
        ("/readyz", "witness"),
        ("/metrics", "rekindle_orchestrator_leading 1"),
        (
            "/metrics",
            "rekindle_orchestrator_group_unprotected{group=\"db\"} 0",
        ),
        (
            "/metrics",
            "rekindle_orchestrator_zone_answers{zone=\"zone-a\"} 1",
        ),
    ] {
        common::eventually(word, || async {
            let (status, bytes) = api.send(Method::GET, path, None).await;
            let text = String::from_utf8(bytes).unwrap();
            (status == 200 && text.contains(word)).then_some(())
        })
        .await;
    }
    // Without etcd it lives and is not ready.
    api.rig.world.store("any").lose_majority();
    common::eventually("it is not ready", || async {
        let (status, bytes) = api.send(Method::GET, "/readyz", None).await;
        let text = String::from_utf8(bytes).unwrap();
        (status == 503 && text.contains("store_unavailable")).then_some(())
    })
    .await;
    assert_eq!(api.send(Method::GET, "/healthz", None).await.0, 200);
}

/// In the worst hour a person builds a server by hand: what is kept of it is had from any site, whole.
#[tokio::test(start_paused = true)]
async fn a_kept_record_is_answered_by_any_site() {
    let mut rig = Rig::with_servers(3, policy()).await;
    let store = Store::from(rig.world.store("any"));
    let at = keys::kept_server(&group(), &key("web-1"));
    let mut kept: Value = store.get(&at).await.unwrap().unwrap().json().unwrap();
    kept["record"]["user_data"] = json!("aHVudGVyMi1odW50ZXIy");
    put(&store, &at, &kept).await;
    let web_1: KeptServer = serde_json::from_value(kept.clone()).unwrap();
    let mut followers = 0;
    for site in rig.world.sites() {
        let api = Api::of_site(rig, &site);
        let path = "/v1/groups/db/servers/web-1/record";
        let (status, bytes) = api.send(Method::GET, path, None).await;
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((status, &answer), (200, &kept), "{site}");
        followers += usize::from(api.send(Method::GET, "/v1/groups", None).await.0 == 421);
        rig = api.rig;
    }
    assert_eq!(followers, 2, "one of three leads");
    let client = rig.client();
    assert_eq!(
        client.kept_server(&group(), &key("web-1")).await.unwrap(),
        web_1
    );

    // Neither a definition that is damaged nor a runbook without the server is in its way.
    let spec = keys::group_spec(&group());
    put(&store, &spec, &json!("rubbish")).await;
    assert_eq!(
        client.kept_server(&group(), &key("web-1")).await.unwrap(),
        web_1
    );
    let e = client.kept_server(&group(), &key("mail")).await;
    assert_eq!(e.unwrap_err().code, ErrorCode::CorruptRecord);
    put(
        &store,
        &spec,
        &serde_json::to_value(rig.spec(policy())).unwrap(),
    )
    .await;
    rig.world.store("any").lose_majority();
    let e = client.kept_server(&group(), &key("web-1")).await;
    assert_eq!(e.unwrap_err().code, ErrorCode::StoreUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_kept_or_cannot_be_read_says_which_it_is() {
    let rig = Rig::with_servers(3, policy()).await;
    let store = Store::from(rig.world.store("any"));
    let of = |k: &str| keys::kept_server(&group(), &key(k));
    let gone = Txn::new().then(Op::Delete { key: of("web-2") });
    store.txn(gone).await.unwrap();
    let mut damaged: Value = store.get(&of("db")).await.unwrap().unwrap().json().unwrap();
    damaged["record"]["flavor"] = json!("hunter2");
    put(&store, &of("db"), &damaged).await;
    // What is left of a group that is gone is nobody's.
    let left = keys::kept_server(&"gone".parse().unwrap(), &key("web-1"));
    put(&store, &left, &damaged).await;

    let api = Api::of_site(rig, &common::witness());
    for (server, code, field, word) in [
        (
            "nobody/servers/web-1",
            ErrorCode::UnknownGroup,
            "group",
            "no group nobody",
        ),
        (
            "gone/servers/web-1",
            ErrorCode::UnknownGroup,
            "group",
            "no group gone",
        ),
        (
            "db/servers/mail",
            ErrorCode::UnknownServer,
            "server",
            "no server mail in its runbook",
        ),
        (
            "db/servers/web-2",
            ErrorCode::UnknownServer,
            "record",
            "no record of web-2 is kept",
        ),
        (
            "db/servers/db",
            ErrorCode::CorruptRecord,
            "record",
            "/rekindle/v1/servers/db/db is damaged",
        ),
    ] {
        let path = format!("/v1/groups/{server}/record");
        let e = api.refused(Method::GET, &path, None).await;
        assert_eq!((e.code, e.field.as_deref()), (code, Some(field)), "{e}");
        assert!(e.message.contains(word), "{e}");
        assert!(!e.message.contains("hunter2"), "its words are shown: {e}");
    }
    let path = "/v1/groups/db/servers/not%20a%20key/record";
    let e = api.refused(Method::GET, path, None).await;
    assert_eq!(e.code, ErrorCode::InvalidField);
}

async fn put(store: &Store, at: &str, value: &Value) {
    let put = Op::put_json(at, value, None).unwrap();
    store.txn(Txn::new().then(put)).await.unwrap();
}
