//! What surrounds every handler: id, log line, deadline, and a net under panics.

use super::Limits;
use crate::extract::{BodyLimit, Failure, in_request};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header::HeaderName},
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
    sync::Arc,
    time::{Duration, Instant},
};
use tower::{Service, util::MapRequest};

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

/// Names one request: in its extensions, its answer's header, an error's body and its log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// The header that carries it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    /// The caller's own, where it is one that can be logged; else a new one.
    fn of(request: &Request) -> Self {
        let theirs = request
            .headers()
            .get(REQUEST_ID)
            .and_then(|v| v.to_str().ok())
            .filter(|id| {
                (1..=64).contains(&id.len())
                    && id
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            });
        Self(match theirs {
            Some(id) => id.into(),
            None => uuid::Uuid::now_v7().simple().to_string().into(),
        })
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
    let id = RequestId::of(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let peer = request
        .extensions()
        .get::<Peer>()
        .map(ToString::to_string)
        .unwrap_or_default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(BodyLimit(limits.body));

    let handler = in_request(id.clone(), async move {
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
    let mut response = handler.await;
    // An id is of characters that stand in a header; were it not, the answer matters more.
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    log(
        &method,
        &path,
        &peer,
        &id,
        response.status().as_u16(),
        began.elapsed(),
    );
    response
}

fn log(
    method: &axum::http::Method,
    path: &str,
    peer: &str,
    id: &RequestId,
    status: u16,
    took: Duration,
) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Probes come every few seconds and say nothing while they succeed.
    if status < 400 && matches!(path, "/healthz" | "/readyz" | "/metrics") {
        tracing::debug!(target: "access", %method, path, status, took_ms, peer, request.id = %id.0);
    } else {
        tracing::info!(target: "access", %method, path, status, took_ms, peer, request.id = %id.0);
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
