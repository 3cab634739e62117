//! A Keystone, a Nova and a Neutron on one port, in the words of the real ones (34.0.0), as quick or as slow as is asked for.
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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    Json(
        json!({ "version": { "id": "v2.1", "status": "CURRENT", "min_version": "2.1", "version": "2.96" } }),
    )
}

async fn server(State(c): At, Path(id): Path<String>) -> Json<Value> {
    sleep(c.call).await;
    let now = c.servers().get(&id).copied().unwrap_or_default();
    Json(json!({ "server": shown(&id, now) }))
}

/// As a real one shows it.
fn shown(id: &str, now: Server) -> Value {
    let up = now.up.is_some_and(|at| at <= Instant::now());
    let task = (now.up.is_some() && !up).then_some("powering-on");
    let (status, vm, power) = if up {
        ("ACTIVE", "active", 1)
    } else {
        ("SHUTOFF", "stopped", 4)
    };
    let locked = !now.unlocked;
    json!({
        "id": id, "name": format!("name-of-{id}"), "status": status, "tenant_id": "p1", "user_id": "u1",
        "metadata": {}, "hostId": "9f1c5d1c6f0b5a3e0c8d7e6a2b4f9e8d7c6b5a4f3e2d1c0b9a8f7e6d", "image": "",
        "flavor": { "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0, "original_name": "small", "extra_specs": {} },
        "created": "2026-11-25T10:00:00Z", "updated": "2026-11-25T10:00:20Z", "addresses": {}, "accessIPv4": "", "accessIPv6": "",
        "links": [{ "rel": "self", "href": format!("http://nova/v2.1/servers/{id}") }, { "rel": "bookmark", "href": format!("http://nova/servers/{id}") }],
        "OS-DCF:diskConfig": "AUTO", "OS-EXT-AZ:availability_zone": "nova", "config_drive": "", "key_name": null, "progress": 0,
        "OS-SRV-USG:launched_at": "2026-11-25T10:00:10.000000", "OS-SRV-USG:terminated_at": null, "security_groups": [{ "name": "default" }],
        "OS-EXT-SRV-ATTR:host": "h1", "OS-EXT-SRV-ATTR:instance_name": "instance-00000001", "OS-EXT-SRV-ATTR:hypervisor_hostname": "h1",
        "OS-EXT-SRV-ATTR:reservation_id": "r-1", "OS-EXT-SRV-ATTR:launch_index": 0, "OS-EXT-SRV-ATTR:hostname": id, "OS-EXT-SRV-ATTR:kernel_id": "",
        "OS-EXT-SRV-ATTR:ramdisk_id": "", "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda", "OS-EXT-SRV-ATTR:user_data": null,
        "OS-EXT-STS:task_state": task, "OS-EXT-STS:vm_state": vm, "OS-EXT-STS:power_state": power,
        "os-extended-volumes:volumes_attached": [{ "id": volume(id), "delete_on_termination": false }], "host_status": "UP",
        "locked": locked, "locked_reason": locked.then_some("rekindle: stand-by"), "description": null, "tags": [],
        "trusted_image_certificates": null, "server_groups": [],
    })
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
    Json(json!({ "volumeAttachments": [{
        "volumeId": volume(&id), "serverId": id, "device": "/dev/vda", "tag": null, "delete_on_termination": false,
        "attachment_id": "0a", "bdm_uuid": "0b",
    }] }))
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
