//! The probes and the metrics, on a listener of their own: `/healthz`, `/readyz`, `/metrics`.

use crate::{gateway::Ready, metrics::Metrics};
use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use rekindle_common::{ApiError, ErrorCode};
use rekindle_net::{ApiResult, with_fallbacks};

/// Ready is a gateway that takes requests. Whether Cinder answers them is not asked: a gateway that went away with Cinder would take
/// its clients the fault that says so.
pub(crate) fn router(metrics: Metrics, ready: Ready) -> Router {
    let readyz = move || async move {
        if ready.get() {
            Ok("ready\n")
        } else {
            let why = "the gateway is starting up or draining";
            Err(rekindle_net::Failure(ApiError::new(
                ErrorCode::Unavailable,
                why,
            )))
        }
    };
    let metrics = move || async move { shown(&metrics) };
    with_fallbacks(
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics)),
    )
}

fn shown(metrics: &Metrics) -> ApiResult<Response> {
    let text = metrics.text().map_err(|e| {
        let why = format!("the metrics cannot be written: {e}");
        ApiError::new(ErrorCode::Internal, why)
    })?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
