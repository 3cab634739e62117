//! What surrounds every handler: id, log line, deadline, and a net under panics.

use super::Limits;
use crate::{
    extract::{BodyLimit, Failure},
    ids::{REQUEST_ID, RequestIds, in_request},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::HeaderValue,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use hyper::body::Incoming;
use rekindle_common::{ApiError, ErrorCode};
use std::{
    fmt,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};
use tower::{Service, util::MapRequest};
use tracing::Instrument;

/// Who sent a request. In its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, through the unix socket.
    Unix {
        /// Its user's number.
        uid: u32,
    },
    /// A client with a certificate of our authority.
    Certificate {
        /// Where from.
        address: SocketAddr,
        /// The DNS names in its certificate.
        names: Vec<String>,
    },
    /// Someone on this machine, in the clear.
    Loopback {
        /// Where from.
        address: SocketAddr,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid } => write!(f, "uid {uid}"),
            Self::Certificate { address, names } => match names.first() {
                Some(name) => write!(f, "{name} at {address}"),
                None => write!(f, "{address}"),
            },
            Self::Loopback { address } => write!(f, "{address}"),
        }
    }
}

pub(super) fn layers(router: Router, limits: Limits) -> Router {
    router
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(middleware::from_fn(move |request, next| {
            around(request, next, limits)
        }))
}

/// The router as one connection sees it.
pub(super) fn for_peer(
    router: Router,
    peer: Peer,
) -> impl Service<
    hyper::Request<Incoming>,
    Response = Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    MapRequest::new(router, move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.map(axum::body::Body::new)
    })
}

async fn around(mut request: Request, next: Next, limits: Limits) -> Response {
    let began = Instant::now();
    let ids = RequestIds::of(request.headers());
    let (id, global) = (ids.own.clone(), ids.global.clone());
    let global = global.as_ref().map(|id| &*id.0);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let peer = request
        .extensions()
        .get::<Peer>()
        .map(ToString::to_string)
        .unwrap_or_default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(BodyLimit(limits.body));

    // Whatever is logged on the request's behalf has its ids.
    let span = tracing::info_span!("request", request.id = %id.0, request.global_id = global);
    let handler = in_request(ids, async move {
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(limits.request_time, handled).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => panicked(&*panic),
            Err(_) => Failure(ApiError::new(
                ErrorCode::DeadlineExceeded,
                format!(
                    "the request took longer than {:?}; it may still take effect",
                    limits.request_time
                ),
            ))
            .into_response(),
        }
    });
    let mut response = handler.instrument(span).await;
    // An id is of characters that stand in a header; were it not, the answer matters more.
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    log(
        &method,
        &path,
        &peer,
        (&id.0, global),
        response.status().as_u16(),
        began.elapsed(),
    );
    response
}

fn log(
    method: &axum::http::Method,
    path: &str,
    peer: &str,
    (id, global): (&str, Option<&str>),
    status: u16,
    took: Duration,
) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Probes come every few seconds and say nothing while they succeed.
    if status < 400 && matches!(path, "/healthz" | "/readyz" | "/metrics") {
        tracing::debug!(target: "access", %method, path, status, took_ms, peer, request.id = id, request.global_id = global);
    } else {
        tracing::info!(target: "access", %method, path, status, took_ms, peer, request.id = id, request.global_id = global);
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Response {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = what, "a handler panicked");
    Failure(ApiError::new(
        ErrorCode::Internal,
        "a fault of ours: the log has more under this request's id",
    ))
    .into_response()
}
