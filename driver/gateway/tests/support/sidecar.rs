//! The zone's sidecar: it lists what it is told to have, and notes what it was ordered.

use super::cloud::serve;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rekindle_common::{ApiError, ErrorCode, action::Order};
use rekindle_net::{ListenConfig, SocketOptions};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path as FilePath,
    sync::{Arc, Mutex},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

#[derive(Clone)]
pub struct Sidecar {
    state: Arc<Mutex<Inner>>,
    /// Closed, it takes calls and answers none.
    open: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    orders: Vec<(String, Value)>,
    refuses: Option<ApiError>,
    reports: BTreeMap<String, Value>,
    under_way: Vec<Value>,
    ids: Vec<(String, String)>,
    lists: usize,
    looks: usize,
}

impl Default for Sidecar {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            open: Arc::new(Semaphore::new(1)),
        }
    }
}

/// What a sidecar says of a primary.
pub fn report(image: &str) -> Value {
    json!({
        "volume": image,
        "zone": "zone-a", "group": null, "status": "active - primary", "role": "primary",
        "mode": { "mode": "instant" }, "mirror_mode": "journal", "size": 1 << 30, "last_sync": null,
        "lag": { "kind": "none" }, "complete_copy": "yes", "local": null, "peer": null,
        "peer_primary": "no", "concerns": [], "in_flight": null,
    })
}

impl Sidecar {
    pub fn orders(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().orders.clone()
    }

    pub fn refuses(&self, with: Option<ApiError>) {
        self.state.lock().unwrap().refuses = with;
    }

    /// It has that image, and says this of it.
    pub fn says(&self, image: &str, change: impl FnOnce(&mut Value)) {
        let mut report = report(image);
        change(&mut report);
        let mut state = self.state.lock().unwrap();
        state.reports.insert(image.to_owned(), report);
    }

    /// From now on that is under way around each of its volumes.
    pub fn under_way(&self, what: &[Value]) {
        self.state.lock().unwrap().under_way = what.to_vec();
    }

    /// What each look and order was called: the request's own id, and the global one.
    pub fn ids(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().ids.clone()
    }

    fn called(&self, headers: &HeaderMap) {
        let id = |name: &str| {
            let id = headers.get(name).map(|id| id.to_str().unwrap().to_owned());
            id.unwrap_or_default()
        };
        let ids = (id("x-request-id"), id("x-openstack-request-id"));
        self.state.lock().unwrap().ids.push(ids);
    }

    /// How often it was asked for its list, and for one volume.
    pub fn asked(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.lists, state.looks)
    }

    /// From now on it answers nothing.
    pub fn hangs(&self) {
        self.open.forget_permits(1);
    }

    /// It answers again, also what it was asked meanwhile.
    pub fn goes_on(&self) {
        self.open.add_permits(1);
    }

    pub async fn start(&self, socket: &FilePath) -> Alive {
        let router = Router::new()
            .route("/v1/volumes", get(list))
            .route("/v1/volumes/{pool}/{image}", get(volume))
            .route("/v1/volumes/{pool}/{image}/outlook", get(outlook))
            .route("/v1/volumes/{pool}/{image}/actions", post(act))
            .with_state(self.clone());
        let at = ListenConfig::Unix {
            path: socket.to_owned(),
            options: SocketOptions::default(),
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let serving = runtime.spawn(serve(at, router));
        serving.await.unwrap();
        Alive(Some(runtime))
    }
}

/// While it lives. What it serves goes with it: a task that was stopped would leave its connections to answer for it.
pub struct Alive(Option<Runtime>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn refusal(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap();
    (status, Json(error.clone())).into_response()
}

async fn list(State(sidecar): State<Sidecar>) -> Response {
    sidecar.state.lock().unwrap().lists += 1;
    let _open = sidecar.open.acquire().await.unwrap();
    let state = sidecar.state.lock().unwrap();
    let all: Vec<&Value> = state.reports.values().collect();
    Json(json!({ "volumes": all, "next": null })).into_response()
}

async fn outlook(
    State(sidecar): State<Sidecar>,
    Path(image): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match look(&sidecar, image, &headers).await {
        Ok(report) => {
            let under_way = sidecar.state.lock().unwrap().under_way.clone();
            Json(json!({ "report": report, "under_way": under_way })).into_response()
        }
        Err(refusal) => refusal,
    }
}

async fn volume(
    State(sidecar): State<Sidecar>,
    Path(image): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match look(&sidecar, image, &headers).await {
        Ok(report) => Json(report).into_response(),
        Err(refusal) => refusal,
    }
}

/// A look at one volume, which is counted.
async fn look(
    sidecar: &Sidecar,
    (pool, image): (String, String),
    headers: &HeaderMap,
) -> Result<Value, Response> {
    sidecar.called(headers);
    sidecar.state.lock().unwrap().looks += 1;
    let _open = sidecar.open.acquire().await.unwrap();
    let state = sidecar.state.lock().unwrap();
    let report = state.reports.get(&format!("{pool}/{image}")).cloned();
    report.ok_or_else(|| refusal(&ApiError::new(ErrorCode::UnknownVolume, "no such image")))
}

async fn act(
    State(sidecar): State<Sidecar>,
    Path((pool, image)): Path<(String, String)>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Response {
    sidecar.called(&headers);
    let order = serde_json::to_value(order).unwrap();
    let image = format!("{pool}/{image}");
    let noted = (image.clone(), order);
    sidecar.state.lock().unwrap().orders.push(noted);
    let _open = sidecar.open.acquire().await.unwrap();
    let state = sidecar.state.lock().unwrap();
    if let Some(error) = &state.refuses {
        return refusal(error);
    }
    Json(json!({ "effect": "done", "took_ms": 1, "report": report(&image) })).into_response()
}

/// A report of a copy whose primary is in the other zone.
pub fn copy(report: &mut Value) {
    report["status"] = json!("active - secondary");
    report["role"] = json!("secondary");
    report["peer_primary"] = json!("yes");
}
