//! A Keystone, a Nova and a Neutron on one port, as quick or as slow as is asked for. What Nova shows was recorded from a real one
//! (34.0.0), and `make test-nova` compares the recording with what a real one shows now.
//!
//! Servers are there as they are asked for: any id is one that is shut off and held by us, until it is started. `POST /reset` has all so again.

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, time::sleep};

/// What became of a server since the last reset.
#[derive(Debug, Clone, Copy, Default)]
struct Server {
    unlocked: bool,
    /// When it is up.
    up: Option<Instant>,
}

#[derive(Debug)]
struct Clouds {
    url: String,
    call: Duration,
    start: Duration,
    servers: Mutex<HashMap<String, Server>>,
}

impl Clouds {
    fn servers(&self) -> MutexGuard<'_, HashMap<String, Server>> {
        // Each change under this lock is one entry's.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type At = State<Arc<Clouds>>;

/// Serves until it is killed; its first line says where.
pub(crate) async fn serve(call: Duration, start: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no port is free")?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut out = std::io::stdout();
    writeln!(out, "{url}")?;
    out.flush()?;
    let clouds = Arc::new(Clouds {
        url,
        call,
        start,
        servers: Mutex::default(),
    });
    let routes = Router::new()
        .route("/reset", post(reset))
        .route("/v3/auth/tokens", post(token))
        .route("/compute/v2.1/", get(version))
        .route("/compute/v2.1/servers/{id}", get(server))
        .route("/compute/v2.1/servers/{id}/action", post(action))
        .route(
            "/compute/v2.1/servers/{id}/os-volume_attachments",
            get(attachments),
        )
        .route("/network/v2.0/{kind}", get(network))
        .with_state(clouds);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn reset(State(c): At) -> StatusCode {
    c.servers().clear();
    StatusCode::NO_CONTENT
}

async fn token(State(c): At) -> Response {
    sleep(c.call).await;
    let now = Timestamp::now();
    let end = now
        .checked_add(SignedDuration::from_hours(12))
        .unwrap_or(now);
    let endpoint = |kind: &str, path: &str| json!({ "type": kind, "endpoints": [{ "interface": "public", "region": "R", "region_id": "R", "url": format!("{}{path}", c.url) }] });
    let body = json!({ "token": {
        "issued_at": now.to_string(), "expires_at": end.to_string(), "user": { "id": "u1", "name": "u" }, "project": { "id": "p1", "name": "p" },
        "roles": [{ "id": "r1", "name": "admin" }],
        "catalog": [endpoint("block-storage", "/volume/v3/p1"), endpoint("compute", "/compute/v2.1"), endpoint("network", "/network")],
    } });
    let mut headers = HeaderMap::new();
    headers.insert("x-subject-token", HeaderValue::from_static("token"));
    (StatusCode::CREATED, headers, Json(body)).into_response()
}

async fn version(State(c): At) -> Json<Value> {
    sleep(c.call).await;
    Json(SHOWN.version.clone())
}

async fn server(State(c): At, Path(id): Path<String>) -> Json<Value> {
    sleep(c.call).await;
    let now = c.servers().get(&id).copied().unwrap_or_default();
    Json(shown(&id, now))
}

/// What a real Nova showed of a server that stood by, and of the same one when it ran.
const SHUTOFF: &str =
    include_str!("../../../../common/openstack/tests/recorded/nova-server-shutoff.json");
const ACTIVE: &str =
    include_str!("../../../../common/openstack/tests/recorded/nova-server-active.json");
const ATTACHMENTS: &str =
    include_str!("../../../../common/openstack/tests/recorded/nova-attachments.json");
const VERSION: &str = include_str!("../../../../common/openstack/tests/recorded/nova-version.json");

/// The recordings, read once.
struct Shown {
    shutoff: Value,
    active: Value,
    attachments: Value,
    version: Value,
}

static SHOWN: LazyLock<Shown> = LazyLock::new(|| {
    let read = |text| serde_json::from_str(text).unwrap_or_default();
    Shown {
        shutoff: read(SHUTOFF),
        active: read(ACTIVE),
        attachments: read(ATTACHMENTS),
        version: read(VERSION),
    }
});

/// As a real one shows it, under this name and with one volume.
fn shown(id: &str, now: Server) -> Value {
    let up = now.up.is_some_and(|at| at <= Instant::now());
    let mut page = if up { &SHOWN.active } else { &SHOWN.shutoff }.clone();
    let server = &mut page["server"];
    server["id"] = json!(id);
    server["name"] = json!(format!("name-of-{id}"));
    server["metadata"] = json!({});
    server["OS-EXT-STS:task_state"] = json!((now.up.is_some() && !up).then_some("powering-on"));
    server["locked"] = json!(!now.unlocked);
    server["locked_reason"] = json!((!now.unlocked).then_some("rekindle: stand-by"));
    first_alone(&mut server["os-extended-volumes:volumes_attached"])["id"] = json!(volume(id));
    page
}

/// The first of a list, whose others go.
fn first_alone(list: &mut Value) -> &mut Value {
    if let Some(all) = list.as_array_mut() {
        all.truncate(1);
    }
    &mut list[0]
}

fn volume(server: &str) -> String {
    format!("vol-{server}")
}

async fn action(State(c): At, Path(id): Path<String>, Json(body): Json<Value>) -> StatusCode {
    sleep(c.call).await;
    let mut servers = c.servers();
    let server = servers.entry(id).or_default();
    let has = |verb: &str| body.get(verb).is_some();
    if has("unlock") {
        server.unlocked = true;
    } else if has("os-start") && server.up.is_none() {
        server.up = Some(Instant::now() + c.start);
    } else {
        return StatusCode::CONFLICT;
    }
    StatusCode::ACCEPTED
}

async fn attachments(State(c): At, Path(id): Path<String>) -> Json<Value> {
    sleep(c.call).await;
    let mut page = SHOWN.attachments.clone();
    let only = first_alone(&mut page["volumeAttachments"]);
    only["volumeId"] = json!(volume(&id));
    only["serverId"] = json!(id);
    Json(page)
}

async fn network(
    State(c): At,
    Path(kind): Path<String>,
    Query(_): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    sleep(c.call).await;
    let none: [Value; 0] = [];
    let key = kind.replace('-', "_");
    Json(json!({ key: none }))
}
