//! The sidecar's HTTP surface, and the last place that knows HTTP: each handler turns a request into a call of
//! [`Volumes`] and its answer into JSON. `openapi.yaml` describes it; the tests hold real traffic against that.

use crate::actions::{VolumeQuery, Volumes, ZoneQuery};
use axum::{
    Extension, Json, Router,
    extract::Request,
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ImageSpec,
    action::{ActionOutcome, BatchRequest, Order},
    ids::InvalidName,
    volume::{Outlook, VolumeReport},
    zone::{GroupReport, ZoneReport},
};
use rekindle_net::{
    ApiJson, ApiPath, ApiQuery, ApiResult, FencedClients, FreezeRequest, GenerationBody,
    GrantRequest, Granted, VolumePage, ndjson, with_fallbacks,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The most characters of an operator's reason.
const MAX_REASON: usize = 500;

/// Whether the sidecar has started up and is not draining.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
    /// Whether it is.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Everything, for the unix socket and mutual TLS. Until it is ready it looks, and refuses to act.
pub fn api(volumes: Volumes, ready: Ready) -> Router {
    let acting = Router::new()
        .route("/v1/volumes/{pool}/{image}/actions", post(act))
        .route("/v1/volumes/{pool}/{image}/standby-grant", post(grant))
        .route("/v1/batch", post(batch))
        .route(
            "/v1/groups/{group}/lease",
            post(take_lease).delete(give_up_lease),
        )
        .route("/v1/groups/{group}/fence", post(fence))
        .route_layer(middleware::from_fn_with_state(
            ready.clone(),
            only_when_ready,
        ));
    let looking = Router::new()
        .route("/v1/zone", get(zone))
        .route("/v1/volumes", get(list))
        .route("/v1/volumes/{pool}/{image}", get(show))
        .route("/v1/volumes/{pool}/{image}/outlook", get(outlook))
        .route("/v1/freeze", post(freeze))
        .route("/v1/thaw", post(thaw));
    let router = probes_of(&ready).merge(looking).merge(acting);
    with_fallbacks(router).layer(Extension(volumes))
}

/// The probes and the metrics alone, for a listener in the clear.
pub fn probes(volumes: Volumes, ready: &Ready) -> Router {
    with_fallbacks(probes_of(ready)).layer(Extension(volumes))
}

fn probes_of(ready: &Ready) -> Router {
    let readyz = {
        let ready = ready.clone();
        move || async move {
            if ready.get() {
                Ok("ready\n")
            } else {
                Err(starting())
            }
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

fn starting() -> rekindle_net::Failure {
    ApiError::new(
        ErrorCode::Unavailable,
        "the sidecar is starting up or draining",
    )
    .into()
}

async fn only_when_ready(
    axum::extract::State(ready): axum::extract::State<Ready>,
    request: Request,
    next: Next,
) -> Response {
    if ready.get() {
        next.run(request).await
    } else {
        starting().into_response()
    }
}

type On = Extension<Volumes>;

fn spec((pool, image): (String, String)) -> Result<ImageSpec, ApiError> {
    ImageSpec::new(pool, image).map_err(|e| field("volume", &e))
}
fn group(name: String) -> Result<GroupName, ApiError> {
    GroupName::new(name).map_err(|e| field("group", &e))
}
fn field(name: &str, e: &InvalidName) -> ApiError {
    ApiError::new(ErrorCode::InvalidField, e.to_string()).at(name)
}

async fn zone(
    Extension(v): On,
    ApiQuery(query): ApiQuery<ZoneQuery>,
) -> ApiResult<Json<ZoneReport>> {
    Ok(Json(v.zone_parts(query.parts).await))
}

async fn list(
    Extension(v): On,
    ApiQuery(query): ApiQuery<VolumeQuery>,
) -> ApiResult<Json<VolumePage>> {
    Ok(Json(v.volumes(&query).await?))
}

async fn show(
    Extension(v): On,
    ApiPath(path): ApiPath<(String, String)>,
) -> ApiResult<Json<VolumeReport>> {
    Ok(Json(v.volume(&spec(path)?).await?))
}

async fn outlook(
    Extension(v): On,
    ApiPath(path): ApiPath<(String, String)>,
) -> ApiResult<Json<Outlook>> {
    Ok(Json(v.outlook(&spec(path)?).await?))
}

async fn act(
    Extension(v): On,
    ApiPath(path): ApiPath<(String, String)>,
    ApiJson(order): ApiJson<Order>,
) -> ApiResult<Json<ActionOutcome>> {
    Ok(Json(v.act(&spec(path)?, order).await?))
}

async fn grant(
    Extension(v): On,
    ApiPath(path): ApiPath<(String, String)>,
    ApiJson(request): ApiJson<GrantRequest>,
) -> ApiResult<Json<Granted>> {
    Ok(Json(v.grant_standby(&spec(path)?, &request).await?))
}

async fn batch(Extension(v): On, ApiJson(request): ApiJson<BatchRequest>) -> ApiResult<Response> {
    let lines = v.batch(request)?;
    let lines = stream::unfold(lines, |mut lines| async {
        lines.recv().await.map(|line| (line, lines))
    });
    Ok(ndjson(lines))
}

async fn take_lease(
    Extension(v): On,
    ApiPath(name): ApiPath<String>,
    ApiJson(body): ApiJson<GenerationBody>,
) -> ApiResult<Json<GroupReport>> {
    Ok(Json(v.take_lease(&group(name)?, body.generation).await?))
}

async fn give_up_lease(
    Extension(v): On,
    ApiPath(name): ApiPath<String>,
    ApiJson(body): ApiJson<GenerationBody>,
) -> ApiResult<Json<GroupReport>> {
    Ok(Json(v.give_up_lease(&group(name)?, body.generation).await?))
}

async fn fence(
    Extension(v): On,
    ApiPath(name): ApiPath<String>,
    ApiJson(body): ApiJson<GenerationBody>,
) -> ApiResult<Json<FencedClients>> {
    Ok(Json(v.fence(&group(name)?, body.generation).await?))
}

/// An operator's reason: not empty, and no novel.
pub(crate) fn check_reason(reason: &str) -> Result<(), ApiError> {
    let length = reason.chars().count();
    if (1..=MAX_REASON).contains(&length) {
        return Ok(());
    }
    let text = format!("a reason has 1 to {MAX_REASON} characters, this one {length}");
    Err(ApiError::new(ErrorCode::InvalidField, text).at("reason"))
}

async fn freeze(Extension(v): On, ApiJson(body): ApiJson<FreezeRequest>) -> ApiResult<Json<()>> {
    check_reason(&body.reason)?;
    v.freeze(body.reason).await;
    Ok(Json(()))
}

async fn thaw(Extension(v): On) -> Json<()> {
    v.thaw().await;
    Json(())
}

async fn metrics(Extension(v): On) -> ApiResult<Response> {
    // What is not known of the volumes is left out; the rest is told all the same.
    if let Err(e) = v.refresh_metrics().await {
        tracing::debug!(error = %e, "metrics without volumes");
    }
    let text = v.metrics().text().map_err(|e| {
        ApiError::new(
            ErrorCode::Internal,
            format!("the metrics cannot be written: {e}"),
        )
    })?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
