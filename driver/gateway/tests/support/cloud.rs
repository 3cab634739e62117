//! Keystone and Cinder for the gateway's actions, and the zone's sidecar: each answers as it is told.

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header::HeaderName},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt;
use rekindle_common::{ApiError, action::Order};
use rekindle_net::{ListenConfig, Server, SocketOptions};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path as FilePath,
    sync::{Arc, Mutex},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A volume whose image has its id in its name.
pub const PLAIN: &str = "9d2a4c1e-0000-4000-8000-000000000001";
/// One that was taken in, with the image of that name.
pub const TAKEN_IN: &str = "9d2a4c1e-0000-4000-8000-000000000002";
pub const ITS_IMAGE: &str = "0a0a0a0a-0000-4000-8000-00000000000a";
/// One on a backend that is not ours.
pub const ELSEWHERE: &str = "9d2a4c1e-0000-4000-8000-000000000003";

#[derive(Clone, Default)]
pub struct Cloud(Arc<Mutex<Vec<(String, String)>>>);

impl Cloud {
    /// The requests that Cinder had of users: first line and body.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }
}

async fn serve(at: ListenConfig, router: Router) -> (Option<SocketAddr>, JoinHandle<()>) {
    let mut server = Server::new(rekindle_net::Limits::default());
    let bound = server.listen(&at, router).await.unwrap();
    let task = tokio::spawn(async move {
        server.run(CancellationToken::new()).await;
    });
    (bound.address(), task)
}

impl Cloud {
    pub async fn start() -> (Self, SocketAddr) {
        let cloud = Self::default();
        let address = "127.0.0.1:0".parse().unwrap();
        let router = Router::new()
            .route("/v3/auth/tokens", post(token).get(looked_at))
            .route("/volume/v3/", get(versions))
            .route("/volume/v3/{project}/volumes/{id}", get(for_ourselves))
            .route("/v3/{project}/volumes/{id}", get(for_a_user))
            .fallback(cinders)
            .with_state(cloud.clone());
        let (address, _) = serve(ListenConfig::Loopback { address }, router).await;
        (cloud, address.unwrap())
    }
}

async fn token(headers: HeaderMap) -> Response {
    let host = headers["host"].to_str().unwrap();
    let body = json!({ "token": {
        "issued_at": "2026-11-25T10:00:00.000000Z", "expires_at": "2026-11-25T11:00:00.000000Z",
        "user": { "id": "own", "name": "own" }, "project": { "id": "service", "name": "service" },
        "roles": [{ "id": "r", "name": "admin" }],
        "catalog": [{ "type": "block-storage", "endpoints": [
            { "interface": "public", "region": "R", "url": format!("http://{host}/volume/v3/service") }
        ]}],
    }});
    let name = HeaderName::from_static("x-subject-token");
    (StatusCode::CREATED, [(name, "own-token")], Json(body)).into_response()
}

async fn looked_at(headers: HeaderMap) -> Response {
    assert_eq!(headers["x-auth-token"], "own-token");
    let roles: Vec<&str> = match headers["x-subject-token"].to_str().unwrap() {
        "admin" => vec!["admin", "member"],
        "member" => vec!["member", "reader"],
        "reader" => vec!["reader"],
        _ => {
            return (
                StatusCode::NOT_FOUND,
                Json(json!({"error": {"message": "no"}})),
            )
                .into_response();
        }
    };
    let roles: Vec<Value> = roles
        .iter()
        .map(|r| json!({ "id": r, "name": r }))
        .collect();
    Json(json!({ "token": {
        "user": { "id": "u-1", "name": "someone" },
        "project": { "id": "p", "name": "p" },
        "roles": roles,
    }}))
    .into_response()
}

async fn versions() -> Response {
    let body = json!({ "versions": [{ "id": "v3.0", "version": "3.70" }] });
    (StatusCode::MULTIPLE_CHOICES, Json(body)).into_response()
}

async fn for_ourselves(headers: HeaderMap, Path((_, id)): Path<(String, String)>) -> Response {
    assert_eq!(headers["x-auth-token"], "own-token");
    let host = if id == ELSEWHERE {
        "h@lvm#lvm"
    } else {
        "h@ceph#ceph"
    };
    let name_id = (id == TAKEN_IN).then_some(ITS_IMAGE);
    Json(json!({ "volume": {
        "id": id, "status": "available", "size": 1,
        "os-vol-tenant-attr:tenant_id": "p",
        "os-vol-host-attr:host": host,
        "os-vol-mig-status-attr:name_id": name_id,
    }}))
    .into_response()
}

/// A stranger's token sees no volume of this project.
async fn for_a_user(
    State(cloud): State<Cloud>,
    headers: HeaderMap,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    let asked = format!("GET /v3/{project}/volumes/{id}");
    cloud.0.lock().unwrap().push((asked, String::new()));
    let token = headers.get("x-auth-token").map(|t| t.to_str().unwrap());
    let known = [PLAIN, TAKEN_IN, ELSEWHERE].contains(&id.as_str());
    match token {
        None => (StatusCode::UNAUTHORIZED, "no token").into_response(),
        Some("admin" | "member" | "reader") if known => {
            Json(json!({ "volume": { "id": id } })).into_response()
        }
        Some(_) => {
            let words = format!("Volume {id} could not be found.");
            let body = json!({ "itemNotFound": { "code": 404, "message": words } });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn cinders(State(cloud): State<Cloud>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let asked = format!("{} {}", head.method, head.uri);
    cloud.0.lock().unwrap().push((asked, body.clone()));
    (StatusCode::IM_A_TEAPOT, body).into_response()
}

/// What a sidecar was ordered.
#[derive(Clone, Default)]
pub struct Sidecar(Arc<Mutex<State2>>);

#[derive(Default)]
struct State2 {
    orders: Vec<(String, Value)>,
    refuses: Option<ApiError>,
}

impl Sidecar {
    pub fn orders(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().orders.clone()
    }

    pub fn refuses(&self, with: Option<ApiError>) {
        self.0.lock().unwrap().refuses = with;
    }

    pub async fn start(&self, socket: &FilePath) -> JoinHandle<()> {
        let router = Router::new()
            .route("/v1/volumes/{pool}/{image}/actions", post(act))
            .with_state(self.clone());
        let at = ListenConfig::Unix {
            path: socket.to_owned(),
            options: SocketOptions::default(),
        };
        serve(at, router).await.1
    }
}

async fn act(
    State(sidecar): State<Sidecar>,
    Path((pool, image)): Path<(String, String)>,
    Json(order): Json<Order>,
) -> Response {
    let mut state = sidecar.0.lock().unwrap();
    let order = serde_json::to_value(order).unwrap();
    state.orders.push((format!("{pool}/{image}"), order));
    if let Some(error) = &state.refuses {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap();
        return (status, Json(error.clone())).into_response();
    }
    Json(json!({
        "effect": "done",
        "took_ms": 1,
        "report": {
            "volume": format!("{pool}/{image}"),
            "zone": "zone-a", "group": null, "status": "active - primary", "role": "primary",
            "mode": { "mode": "instant" }, "mirror_mode": "journal", "size": 1, "last_sync": null,
            "lag": { "kind": "none" }, "complete_copy": "yes", "local": null, "peer": null,
            "peer_primary": "no", "concerns": [], "in_flight": null,
        },
    }))
    .into_response()
}
