//! How a client's requests travel: over HTTP, or straight into another orchestrator's routes in this process.

use crate::wire::Leader;
use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{Method, Request, Response, header},
};
use futures::StreamExt;
use http_body_util::BodyExt;
use rekindle_common::{ApiError, ErrorCode, SiteName, tls::TlsFiles};
use rekindle_net::{Client, ClientLimits, NdjsonStream};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, path::Path, time::Duration};
use tokio::time::timeout;
use tower::ServiceExt;

/// An answer is read up to here: a status with thousands of volumes is a few MiB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// One line of a stream: a journal record names each volume that failed.
const MAX_LINE: usize = 4 * 1024 * 1024;
/// For a whole answer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// A request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Put => Self::PUT,
            Verb::Post => Self::POST,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// One orchestrator.
#[derive(Clone)]
pub struct Endpoint(Kind);

#[derive(Clone)]
enum Kind {
    InProcess {
        site: SiteName,
        routes: Router,
    },
    Http {
        /// As given, for messages.
        at: String,
        client: Client,
        /// To go on to the leader with.
        tls: Option<TlsFiles>,
        limits: ClientLimits,
    },
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::InProcess { site, .. } => write!(f, "in-process {site}"),
            Kind::Http { at, .. } => f.write_str(at),
        }
    }
}

impl Endpoint {
    /// An orchestrator in this process, by its routes.
    #[must_use]
    pub fn in_process(site: SiteName, routes: Router) -> Self {
        Self(Kind::InProcess { site, routes })
    }

    /// The routes of one in this process, for whoever serves them on a socket; `None` of one that is elsewhere.
    #[must_use]
    pub fn routes(&self) -> Option<Router> {
        match &self.0 {
            Kind::InProcess { routes, .. } => Some(routes.clone()),
            Kind::Http { .. } => None,
        }
    }

    /// An orchestrator on this machine, through its unix socket. `tls` is what the leader is reached with where it is elsewhere.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>, tls: Option<TlsFiles>, limits: ClientLimits) -> Self {
        let path = path.as_ref();
        Self(Kind::Http {
            at: format!("unix:{}", path.display()),
            client: Client::unix(path, limits),
            tls,
            limits,
        })
    }

    /// An orchestrator over mutual TLS, at `https://HOST:PORT`.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field` where the URL or the certificates cannot be used.
    pub fn https(url: &str, tls: TlsFiles, limits: ClientLimits) -> Result<Self, ApiError> {
        let client = Client::mtls(url, &tls, limits)?;
        Ok(Self(Kind::Http {
            at: url.to_owned(),
            client,
            tls: Some(tls),
            limits,
        }))
    }

    /// The leader that this endpoint named; nothing where it is this one, or its address is not known.
    pub(super) fn towards(&self, here: &SiteName, leader: &Leader, known: &[Self]) -> Option<Self> {
        if leader.site == *here {
            return Some(self.clone());
        }
        match &self.0 {
            Kind::InProcess { .. } => known
                .iter()
                .find(|e| match &e.0 {
                    Kind::InProcess { site, .. } => *site == leader.site,
                    Kind::Http { .. } => false,
                })
                .cloned(),
            Kind::Http { tls, limits, .. } => {
                Self::https(leader.url.as_ref()?, tls.clone()?, *limits).ok()
            }
        }
    }

    /// One request, one JSON answer. An empty answer reads as JSON's null.
    pub(super) async fn call<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ApiError> {
        match &self.0 {
            Kind::InProcess { routes, .. } => {
                let answer = send(routes, request(verb, path, body)?).await?;
                let bytes = timeout(CALL_DEADLINE, collect(answer))
                    .await
                    .map_err(late)??;
                read(&bytes)
            }
            Kind::Http { client, .. } => match (verb, body) {
                (Verb::Get, _) => client.get(path).await,
                (Verb::Put, Some(body)) => client.put(path, body).await,
                (Verb::Put, None) => client.put(path, &()).await,
                (Verb::Post, Some(body)) => client.post(path, body).await,
                (Verb::Post, None) => client.post(path, &()).await,
                (Verb::Delete, Some(body)) => client.delete(path, body).await,
                (Verb::Delete, None) => client.delete(path, &()).await,
            },
        }
    }

    /// One request, lines of JSON as its answer.
    pub(super) async fn lines<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Lines<T>, ApiError> {
        match &self.0 {
            Kind::InProcess { routes, .. } => {
                let answer = send(routes, request(Verb::Get, path, None::<&()>)?).await?;
                Ok(Lines::Body(BodyLines {
                    from: answer.into_body().into_data_stream(),
                    buffer: Vec::new(),
                    ended: false,
                }))
            }
            Kind::Http { client, .. } => client.get_ndjson(path).await.map(Lines::Http),
        }
    }
}

fn request<B: Serialize>(
    verb: Verb,
    path: &str,
    body: Option<&B>,
) -> Result<Request<Body>, ApiError> {
    let internal = |e: &dyn fmt::Display| ApiError::new(ErrorCode::Internal, e.to_string());
    let body = match body {
        None => Body::empty(),
        Some(b) => Body::from(serde_json::to_vec(b).map_err(|e| internal(&e))?),
    };
    Request::builder()
        .method(Method::from(verb))
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|e| internal(&e))
}

/// Sends it; an error answer becomes its [`ApiError`].
async fn send(routes: &Router, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let answer = match timeout(CALL_DEADLINE, routes.clone().oneshot(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(elapsed) => return Err(late(elapsed)),
    };
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = collect(answer).await?;
    Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        ApiError::new(
            ErrorCode::Internal,
            format!("an answer of status {status} that is no error of ours"),
        )
    }))
}

async fn collect(answer: Response<Body>) -> Result<Vec<u8>, ApiError> {
    let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER);
    match body.collect().await {
        Ok(all) => Ok(all.to_bytes().to_vec()),
        Err(e) => Err(ApiError::new(
            ErrorCode::Internal,
            format!("the answer broke off: {e}"),
        )),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).map_err(|e| {
        ApiError::new(
            ErrorCode::Internal,
            format!("the answer is not what was expected: {e}"),
        )
    })
}

fn late(_: tokio::time::error::Elapsed) -> ApiError {
    ApiError::new(
        ErrorCode::DeadlineExceeded,
        format!("no answer within {CALL_DEADLINE:?}"),
    )
}

/// Values, one a line.
pub(super) enum Lines<T> {
    Body(BodyLines),
    Http(NdjsonStream<T>),
}

/// Lines of a body in this process.
pub(super) struct BodyLines {
    from: BodyDataStream,
    buffer: Vec<u8>,
    ended: bool,
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next value. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Option<T>, ApiError> {
        match self {
            Self::Body(lines) => lines.next().await,
            Self::Http(lines) => lines.next().await,
        }
    }
}

impl BodyLines {
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ApiError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return read(line.get(..end).unwrap_or_default()).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(ApiError::new(
                    ErrorCode::Internal,
                    format!("a line of more than {MAX_LINE} bytes"),
                ));
            }
            match self.from.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(e)) => {
                    return Err(ApiError::new(
                        ErrorCode::Unavailable,
                        format!("the stream broke off: {e}"),
                    ));
                }
                None => self.ended = true,
            }
        }
    }
}
