//! Keystone and Cinder for what the gateway adds: each answers as it is told.

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header::HeaderName},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt;
use rekindle_net::{ListenConfig, Server};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Volumes in a page, whatever its limit: as `osapi_max_limit`.
const PAGE: usize = 100;

/// A volume whose image has its id in its name.
pub const PLAIN: &str = "9d2a4c1e-0000-4000-8000-000000000001";
/// One that was taken in, with the image of that name.
pub const TAKEN_IN: &str = "9d2a4c1e-0000-4000-8000-000000000002";
pub const ITS_IMAGE: &str = "0a0a0a0a-0000-4000-8000-00000000000a";
/// One on a backend that is not ours.
pub const ELSEWHERE: &str = "9d2a4c1e-0000-4000-8000-000000000003";

/// A token that may change everything and look at nothing: of an application credential whose access rules say so.
pub const BLIND: &str = "blind";

/// The group that a group's snapshot is of.
pub const GROUP: &str = "9d2a4c1e-0000-4000-8000-0000000000aa";

/// A volume of Cinder's.
#[derive(Debug, Clone)]
pub struct Volume {
    pub id: String,
    pub host: &'static str,
    pub name_id: Option<String>,
    pub multiattach: bool,
    pub status: &'static str,
    pub migration: Option<&'static str>,
    pub replication: Option<&'static str>,
    /// Whose it is: all users but administrators are of `p`.
    pub project: &'static str,
}

impl Volume {
    pub fn new(id: &str, name_id: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            host: if id == ELSEWHERE {
                "h@lvm#lvm"
            } else {
                "h@ceph#ceph"
            },
            name_id: name_id.map(str::to_owned),
            multiattach: false,
            status: "available",
            migration: None,
            replication: None,
            project: "p",
        }
    }

    /// As its user sees it, with what a careless proxy would change.
    pub fn text(&self, detail: bool) -> String {
        let more = if detail {
            r#""size": 1, "replication_status": null, "n": 10000000000000000000000.10, "metadata": {"k": "\u00e9\/"}, "#
        } else {
            ""
        };
        format!(r#"{{"id": "{}", {more}"name" : "ü"}}"#, self.id)
    }
}

/// An answer that a look at volumes gets in place of its own.
#[derive(Debug, Clone)]
pub struct Odd {
    pub headers: Vec<(&'static str, String)>,
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Clone)]
pub struct Cloud(Arc<Mutex<Inner>>);

struct Inner {
    asked: Vec<(String, String)>,
    /// What was asked with the gateway's own account.
    own: Vec<String>,
    /// Closed, it takes what that asks for one volume, and answers nothing.
    open: Arc<Semaphore>,
    volumes: Vec<Volume>,
    odd: Option<Odd>,
    /// The gateway's own account is told of no group, and of no volume by itself.
    silent: bool,
    packing: Vec<String>,
}

impl Default for Cloud {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            asked: Vec::new(),
            own: Vec::new(),
            open: Arc::new(Semaphore::new(1)),
            volumes: vec![
                Volume::new(PLAIN, None),
                Volume::new(TAKEN_IN, Some(ITS_IMAGE)),
                Volume::new(ELSEWHERE, None),
            ],
            odd: None,
            silent: false,
            packing: Vec::new(),
        })))
    }
}

impl Cloud {
    /// The requests that Cinder had of users: first line and body.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Those that it had of the gateway's own account.
    pub fn asked_by_us(&self) -> Vec<String> {
        self.0.lock().unwrap().own.clone()
    }

    /// From now on the gateway's own account is not answered.
    pub fn hangs(&self) {
        self.0.lock().unwrap().open.forget_permits(1);
    }

    /// It is again, also for what it asked meanwhile.
    pub fn goes_on(&self) {
        self.0.lock().unwrap().open.add_permits(1);
    }

    /// From now on the gateway's own account is not told which volumes a group has, nor of one volume; or is again.
    pub fn silent(&self, silent: bool) {
        self.0.lock().unwrap().silent = silent;
    }

    /// What looks at volumes said that their answer may be packed in.
    pub fn packing(&self) -> Vec<String> {
        self.0.lock().unwrap().packing.clone()
    }

    pub fn has(&self, volumes: Vec<Volume>) {
        self.0.lock().unwrap().volumes = volumes;
    }

    pub fn odd(&self, odd: Option<Odd>) {
        self.0.lock().unwrap().odd = odd;
    }
}

pub async fn serve(at: ListenConfig, router: Router) -> (Option<SocketAddr>, JoinHandle<()>) {
    let mut server = Server::new(rekindle_net::Limits::default());
    let bound = server.listen(&at, router).await.unwrap();
    let task = tokio::spawn(async move {
        server.run(CancellationToken::new()).await;
    });
    (bound.address(), task)
}

impl Cloud {
    /// Its API for users stands under that path.
    pub async fn start(prefix: &str) -> (Self, SocketAddr) {
        let cloud = Self::default();
        let address = "127.0.0.1:0".parse().unwrap();
        let own = Router::new()
            .route("/v3/auth/tokens", post(token).get(looked_at))
            .route("/volume/v3/", get(versions))
            .route(
                "/volume/v3/{project}/volumes/detail",
                get(many_for_ourselves),
            )
            .route("/volume/v3/{project}/volumes/{id}", get(for_ourselves));
        let users = Router::new()
            .route(
                "/v3/{project}/volumes",
                get(list_for_a_user).fallback(cinders),
            )
            .route("/v3/{project}/volumes/detail", get(list_for_a_user))
            .route(
                "/v3/{project}/volumes/{id}",
                get(for_a_user).fallback(cinders),
            )
            .route(
                "/v3/{project}/{things}/{id}",
                get(of_a_volume).fallback(cinders),
            )
            .fallback(cinders);
        let router = if prefix.is_empty() {
            own.merge(users)
        } else {
            own.nest(prefix, users).fallback(cinders)
        };
        let router = router.with_state(cloud.clone());
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
    let token = headers["x-subject-token"].to_str().unwrap();
    let project = if token.starts_with("neighbour") {
        "q"
    } else {
        "p"
    };
    let roles: Vec<&str> = match token {
        "admin" | "neighbour-admin" => vec!["admin", "member"],
        "member" | "neighbour" => vec!["member", "reader"],
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
        "project": { "id": project, "name": project },
        "roles": roles,
    }}))
    .into_response()
}

async fn versions() -> Response {
    let body = json!({ "versions": [{ "id": "v3.0", "version": "3.70" }] });
    (StatusCode::MULTIPLE_CHOICES, Json(body)).into_response()
}

fn as_admin(volume: &Volume) -> Value {
    json!({
        "id": volume.id, "status": volume.status, "size": 1,
        "os-vol-tenant-attr:tenant_id": volume.project,
        "os-vol-host-attr:host": volume.host,
        "os-vol-mig-status-attr:name_id": volume.name_id,
        "os-vol-mig-status-attr:migstat": volume.migration,
        "replication_status": volume.replication,
        "multiattach": volume.multiattach,
    })
}

async fn for_ourselves(
    State(cloud): State<Cloud>,
    headers: HeaderMap,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    assert_eq!(headers["x-auth-token"], "own-token");
    let open = {
        let mut inner = cloud.0.lock().unwrap();
        inner.own.push(id.clone());
        Arc::clone(&inner.open)
    };
    let _open = open.acquire().await.unwrap();
    let inner = cloud.0.lock().unwrap();
    if inner.silent {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    match inner.volumes.iter().find(|v| v.id == id) {
        Some(volume) => Json(json!({ "volume": as_admin(volume) })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn many_for_ourselves(State(cloud): State<Cloud>, request: Request) -> Response {
    assert_eq!(request.headers()["x-auth-token"], "own-token");
    let query = request.uri().query().unwrap().to_owned();
    let mut inner = cloud.0.lock().unwrap();
    if query.contains("group_id=") {
        let found: Vec<Value> = inner.volumes.iter().map(as_admin).collect();
        let silent = inner.silent;
        inner.own.push(query);
        return if silent {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        } else {
            Json(json!({ "volumes": found })).into_response()
        };
    }
    // As Cinder reads it: id=['…','…'].
    let ids = query.split('&').find_map(|p| p.strip_prefix("id="));
    let ids = ids.unwrap().strip_prefix("%5B%27").unwrap();
    let ids = ids.strip_suffix("%27%5D").unwrap();
    let ids: Vec<&str> = ids.split("%27%2C%27").collect();
    let found = inner
        .volumes
        .iter()
        .filter(|v| ids.contains(&v.id.as_str()));
    let found: Vec<Value> = found.map(as_admin).collect();
    inner.own.push(query);
    Json(json!({ "volumes": found })).into_response()
}

/// How a user's look at volumes ends, where it does not end well.
fn refused(headers: &HeaderMap) -> Option<Response> {
    match headers.get("x-auth-token").map(|t| t.to_str().unwrap()) {
        None => Some((StatusCode::UNAUTHORIZED, "no token").into_response()),
        Some(BLIND) => Some((StatusCode::UNAUTHORIZED, "no rule fits").into_response()),
        Some(_) => None,
    }
}

/// Less than all of an answer, where it was asked for so: by the web server that stands in front of Cinder's own.
fn in_part(headers: &HeaderMap) -> Option<StatusCode> {
    let has = |name: &str| headers.contains_key(name);
    if has("if-match") || has("if-unmodified-since") {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if has("if-none-match") || has("if-modified-since") {
        return Some(StatusCode::NOT_MODIFIED);
    }
    has("range").then_some(StatusCode::PARTIAL_CONTENT)
}

fn as_json(asked: &HeaderMap, text: String) -> Response {
    if let Some(status) = in_part(asked) {
        return status.into_response();
    }
    let headers = [("content-type", "application/json"), ("etag", "\"x\"")];
    (headers, text).into_response()
}

fn looked(cloud: &Cloud, headers: &HeaderMap, asked: String) -> Option<Response> {
    let mut inner = cloud.0.lock().unwrap();
    inner.asked.push((asked, String::new()));
    let packing = headers.get("accept-encoding");
    let packing = packing.map(|p| p.to_str().unwrap().to_owned());
    inner.packing.extend(packing);
    let odd = inner.odd.clone()?;
    let mut answer = Response::builder().status(odd.status);
    for (name, value) in odd.headers {
        answer = answer.header(name, value);
    }
    Some(answer.body(odd.body.into()).unwrap())
}

/// Pages as Cinder's.
async fn list_for_a_user(State(cloud): State<Cloud>, request: Request) -> Response {
    let (headers, uri) = (request.headers(), request.uri());
    if let Some(odd) = looked(&cloud, headers, format!("GET {uri}")) {
        return odd;
    }
    if let Some(no) = refused(headers) {
        return no;
    }
    let query = uri.query().unwrap_or_default();
    if query.contains("group_id") {
        // Older versions of Cinder's API do not filter by it, and give all.
        assert_eq!(headers["openstack-api-version"], "volume 3.31");
    }
    let value = |key: &str| {
        let pairs = query.split('&').filter_map(|p| p.split_once('='));
        pairs.filter(|(k, _)| *k == key).map(|(_, v)| v).next_back()
    };
    assert!(
        !query.contains("rekindle"),
        "Cinder knows no such field: {query}"
    );
    let inner = cloud.0.lock().unwrap();
    let token = headers["x-auth-token"].to_str().unwrap();
    let sees = |v: &&Volume| token != "stranger" && (token == "admin" || v.project == "p");
    let all: Vec<&Volume> = inner.volumes.iter().filter(sees).collect();
    let from = value("marker").map_or(0, |m| all.iter().position(|v| v.id == m).unwrap() + 1);
    let limit = value("limit")
        .map_or(1000, |l| l.parse::<usize>().unwrap())
        .min(PAGE);
    let detail = uri.path().ends_with("/detail");
    let some: Vec<&Volume> = all[from..].iter().copied().take(limit).collect();
    let texts: Vec<String> = some.iter().map(|v| v.text(detail)).collect();
    let mut body = format!("{{\"volumes\": [{}]", texts.join(", "));
    if some.len() == limit
        && let Some(last) = some.last()
    {
        let link = format!("http://h{}?marker={}", uri.path(), last.id);
        body.push_str(&format!(
            r#", "volumes_links": [{{"rel": "next", "href": "{link}"}}]"#
        ));
    }
    if value("with_count").is_some() {
        body.push_str(&format!(", \"count\": {}", all.len()));
    }
    as_json(headers, body + "}")
}

/// A stranger's token sees no volume of this project.
async fn for_a_user(
    State(cloud): State<Cloud>,
    headers: HeaderMap,
    Path((project, id)): Path<(String, String)>,
) -> Response {
    let asked = format!("GET /v3/{project}/volumes/{id}");
    if let Some(odd) = looked(&cloud, &headers, asked) {
        return odd;
    }
    if let Some(no) = refused(&headers) {
        return no;
    }
    let stranger = headers["x-auth-token"] == "stranger";
    let inner = cloud.0.lock().unwrap();
    match inner.volumes.iter().find(|v| v.id == id && !stranger) {
        Some(volume) => as_json(&headers, format!("{{\"volume\": {}}}", volume.text(true))),
        None => {
            let words = format!("Volume {id} could not be found.");
            let body = json!({ "itemNotFound": { "code": 404, "message": words } });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

/// Groups are there for whoever has a good token; a snapshot and an attachment have their volume's id here, and all volumes are in one group.
async fn of_a_volume(
    State(cloud): State<Cloud>,
    headers: HeaderMap,
    Path((project, things, id)): Path<(String, String, String)>,
) -> Response {
    let asked = format!("GET /v3/{project}/{things}/{id}");
    if let Some(odd) = looked(&cloud, &headers, asked) {
        return odd;
    }
    if let Some(no) = refused(&headers) {
        return no;
    }
    let is_group = ["groups", "consistencygroups"].contains(&things.as_str());
    let is_known = is_group || cloud.0.lock().unwrap().volumes.iter().any(|v| v.id == id);
    if headers["x-auth-token"] == "stranger" || !is_known {
        return StatusCode::NOT_FOUND.into_response();
    }
    let thing = things.strip_suffix('s').unwrap();
    let group = if thing == "cgsnapshot" {
        "consistencygroup_id"
    } else {
        "group_id"
    };
    let body = json!({ thing: { "id": id, "volume_id": id, group: GROUP } });
    as_json(&headers, body.to_string())
}

async fn cinders(State(cloud): State<Cloud>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let asked = format!("{} {}", head.method, head.uri);
    cloud.0.lock().unwrap().asked.push((asked, body.clone()));
    (StatusCode::IM_A_TEAPOT, body).into_response()
}
