//! The shim's part of the HTTP surface; on the unix socket alone, for it carries no generation.

use super::{
    Cinder,
    wire::{
        BackendReport, BackendRequest, CheckRequest, DeleteAnswer, DeleteRequest, FailoverAnswer,
        FailoverRequest, FreezeRequest, GuardRequest, ReplicateRequest, VolumesAnswer,
        VolumesRequest, Wanted,
    },
};
use crate::routes::check_reason;
use axum::{
    Extension, Json, Router,
    routing::{get, post},
};
use rekindle_net::{ApiJson, ApiQuery, ApiResult};
use serde::Serialize;

/// `{}`.
#[derive(Debug, Clone, Copy, Serialize)]
struct Done {}

/// All of it. Also beside a dead cluster, which keeps a sidecar from being ready: a failover away from it most of all.
pub fn api(cinder: Cinder) -> Router {
    Router::new()
        .route("/v1/cinder/check", post(check))
        .route("/v1/cinder/replicate", post(replicate))
        .route("/v1/cinder/unreplicate", post(unreplicate))
        .route("/v1/cinder/failover", post(failover))
        .route("/v1/cinder/status", post(status))
        .route("/v1/cinder/guard", post(guard))
        .route("/v1/cinder/delete", post(delete))
        .route("/v1/cinder/freeze", post(freeze))
        .route("/v1/cinder/thaw", post(thaw))
        .route("/v1/cinder/backend", get(backend))
        .layer(Extension(cinder))
}

type On = Extension<Cinder>;

async fn check(ApiJson(request): ApiJson<CheckRequest>) -> ApiResult<Json<Wanted>> {
    Ok(Json(super::wanted(&request.specs)?))
}

async fn replicate(
    Extension(c): On,
    ApiJson(request): ApiJson<ReplicateRequest>,
) -> ApiResult<Json<VolumesAnswer>> {
    Ok(Json(c.replicate(request).await?))
}

async fn unreplicate(
    Extension(c): On,
    ApiJson(request): ApiJson<VolumesRequest>,
) -> ApiResult<Json<VolumesAnswer>> {
    Ok(Json(c.unreplicate(request).await?))
}

async fn failover(
    Extension(c): On,
    ApiJson(request): ApiJson<FailoverRequest>,
) -> ApiResult<Json<FailoverAnswer>> {
    Ok(Json(c.failover(request).await?))
}

async fn status(
    Extension(c): On,
    ApiJson(request): ApiJson<VolumesRequest>,
) -> ApiResult<Json<VolumesAnswer>> {
    Ok(Json(c.status(&request).await?))
}

async fn guard(
    Extension(c): On,
    ApiJson(request): ApiJson<GuardRequest>,
) -> ApiResult<Json<impl Serialize>> {
    c.guard(&request).await?;
    Ok(Json(Done {}))
}

async fn delete(
    Extension(c): On,
    ApiJson(request): ApiJson<DeleteRequest>,
) -> ApiResult<Json<DeleteAnswer>> {
    Ok(Json(c.delete(request).await?))
}

async fn freeze(
    Extension(c): On,
    ApiJson(request): ApiJson<FreezeRequest>,
) -> ApiResult<Json<impl Serialize>> {
    check_reason(&request.reason)?;
    c.freeze(request.backend.as_deref(), &request.reason)
        .await?;
    Ok(Json(Done {}))
}

async fn thaw(
    Extension(c): On,
    ApiJson(request): ApiJson<BackendRequest>,
) -> ApiResult<Json<impl Serialize>> {
    c.thaw(request.backend.as_deref()).await?;
    Ok(Json(Done {}))
}

async fn backend(
    Extension(c): On,
    ApiQuery(request): ApiQuery<BackendRequest>,
) -> ApiResult<Json<BackendReport>> {
    Ok(Json(c.backend(request.backend.as_deref()).await?))
}
