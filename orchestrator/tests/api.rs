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
use common::{Rig, policy};
use http_body_util::BodyExt;
use rekindle_common::{ApiError, ErrorCode, Generation};
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
