//! The client: one connection a request, so that there is no idle one for the server to close under a POST.

mod connect;
mod stream;

use crate::{
    TlsError,
    ids::{GLOBAL_ID, REQUEST_ID, RequestIds},
    tls,
};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use connect::Target;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rekindle_common::{ApiError, ErrorCode, duration::Span, tls::TlsFiles};
use serde::{Serialize, de::DeserializeOwned};
use std::{path::Path, sync::Arc, time::Duration};
pub use stream::NdjsonStream;
use tokio::time::{Instant, timeout_at};

/// What a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// To connect, with the TLS handshake.
    pub connect_time: Duration,
    /// For a whole call; for a stream, up to its head.
    pub call_time: Duration,
    /// Between two lines of a stream.
    pub line_time: Duration,
    /// Bytes of an answer, and of one line of a stream.
    pub answer: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_time: Duration::from_secs(2),
            call_time: Duration::from_secs(10),
            line_time: Duration::from_secs(120),
            answer: 64 * 1024 * 1024,
        }
    }
}

/// A client of one server. Cheap to clone. Every failure is an [`ApiError`], the server's own or one of:
///
/// | code | when |
/// |---|---|
/// | `sidecar_unreachable` | no connection, or it broke before the answer; the message says which |
/// | `deadline_exceeded` | connected, and no answer in time: it may still take effect |
/// | `internal` | an answer that is not understood |
#[derive(Debug, Clone)]
pub struct Client {
    target: Arc<Target>,
    limits: ClientLimits,
}

impl Client {
    /// A client through a unix socket. Nothing is contacted yet.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>, limits: ClientLimits) -> Self {
        Self {
            target: Arc::new(Target::Unix(path.as_ref().to_owned())),
            limits,
        }
    }

    /// A client over mutual TLS. Nothing is contacted yet.
    ///
    /// `url` is `https://HOST:PORT`; the server's certificate must name HOST. The files are read again when they change.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field` where the URL or the certificates cannot be used.
    pub fn mtls(url: &str, files: &TlsFiles, limits: ClientLimits) -> Result<Self, ApiError> {
        let files = tls::ClientFiles::client(files).map_err(|e| {
            ApiError::new(ErrorCode::InvalidField, with_cause(&e)).at(match e {
                TlsError::Pem { field, .. } => format!("tls.{field}"),
                TlsError::Authority { .. } => "tls.ca".to_owned(),
                TlsError::Unusable { .. } => "tls.cert".to_owned(),
            })
        })?;
        Ok(Self {
            target: Arc::new(Target::mtls(url, files)?),
            limits,
        })
    }

    /// The same, with another limit on whole calls.
    #[must_use]
    pub fn with_call_time(&self, call_time: Duration) -> Self {
        let mut other = self.clone();
        other.limits.call_time = call_time;
        other
    }

    /// Asks for a value.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.call(Method::GET, path, None).await
    }

    /// Sends a value, and takes one as the answer.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        self.call(Method::POST, path, Some(encode(body)?)).await
    }

    /// As [`Self::post`], with PUT.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn put<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        self.call(Method::PUT, path, Some(encode(body)?)).await
    }

    /// As [`Self::post`], with DELETE.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn delete<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        self.call(Method::DELETE, path, Some(encode(body)?)).await
    }

    /// Asks for a text.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn text(&self, path: &str) -> Result<String, ApiError> {
        let bytes = self.bytes(Method::GET, path, None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends a value, and takes a stream of lines as the answer.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn post_ndjson<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<NdjsonStream<T>, ApiError> {
        self.ndjson(Method::POST, path, Some(encode(body)?)).await
    }

    /// Asks for a stream of lines.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn get_ndjson<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<NdjsonStream<T>, ApiError> {
        self.ndjson(Method::GET, path, None).await
    }

    async fn ndjson<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<NdjsonStream<T>, ApiError> {
        let deadline = Instant::now() + self.limits.call_time;
        let answer = self.send(method, path, body, deadline).await?;
        if answer.status().is_success() {
            Ok(NdjsonStream::new(answer.into_body(), self.limits))
        } else {
            Err(self.refusal(answer, deadline).await)
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ApiError> {
        let bytes = self.bytes(method, path, body).await?;
        // An answer without a body stands for `null`: for `()`.
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|e| {
            ApiError::new(
                ErrorCode::Internal,
                format!(
                    "the answer of {} to {path} is not understood: {e}",
                    self.target
                ),
            )
        })
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, ApiError> {
        let deadline = Instant::now() + self.limits.call_time;
        let answer = self.send(method, path, body, deadline).await?;
        if answer.status().is_success() {
            self.collect(answer, deadline).await
        } else {
            Err(self.refusal(answer, deadline).await)
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ApiError> {
        let unreachable = |what: String| ApiError::new(ErrorCode::SidecarUnreachable, what);
        let request = self.request(method, path, body)?;
        let connecting = deadline.min(Instant::now() + self.limits.connect_time);
        let mut sender = timeout_at(connecting, self.target.connect())
            .await
            .map_err(|_| {
                unreachable(format!(
                    "{} was not connected within {}",
                    self.target,
                    Span(self.limits.connect_time)
                ))
            })?
            .map_err(|e| unreachable(format!("{} cannot be connected: {e}", self.target)))?;
        timeout_at(deadline, sender.send_request(request))
            .await
            .map_err(|_| self.late())?
            .map_err(|e| self.broken(&e))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, ApiError> {
        let ids = RequestIds::current();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.target.host())
            .header(header::CONNECTION, "close")
            .header(REQUEST_ID, &*ids.own.0);
        if let Some(global) = &ids.global {
            request = request.header(GLOBAL_ID, &*global.0);
        }
        if body.is_some() {
            request = request.header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|e| ApiError::new(ErrorCode::Internal, format!("{path:?} is no request: {e}")))
    }

    async fn collect(
        &self,
        answer: Response<Incoming>,
        deadline: Instant,
    ) -> Result<Bytes, ApiError> {
        let body = Limited::new(answer.into_body(), self.limits.answer);
        let collected = timeout_at(deadline, body.collect())
            .await
            .map_err(|_| self.late())?;
        match collected {
            Ok(all) => Ok(all.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
                ErrorCode::Internal,
                format!(
                    "the answer of {} is larger than {} bytes",
                    self.target, self.limits.answer
                ),
            )),
            Err(e) => Err(self.broken(e.as_ref())),
        }
    }

    async fn refusal(&self, answer: Response<Incoming>, deadline: Instant) -> ApiError {
        let status = answer.status();
        match self.collect(answer, deadline).await {
            Ok(body) => serde_json::from_slice(&body)
                .unwrap_or_else(|_| foreign(&self.target, status, &body)),
            Err(e) => e,
        }
    }

    fn late(&self) -> ApiError {
        ApiError::new(
            ErrorCode::DeadlineExceeded,
            format!(
                "{} did not answer within {}; it may still take effect",
                self.target,
                Span(self.limits.call_time)
            ),
        )
    }

    fn broken(&self, e: &(dyn std::error::Error + 'static)) -> ApiError {
        ApiError::new(
            ErrorCode::SidecarUnreachable,
            format!(
                "the connection to {} broke before its answer was complete; it may still take effect: {}",
                self.target,
                with_cause(e)
            ),
        )
    }
}

fn encode<B: Serialize>(body: &B) -> Result<Bytes, ApiError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| {
        ApiError::new(
            ErrorCode::Internal,
            format!("a request cannot be written as JSON: {e}"),
        )
    })
}

/// Something else than our server answered: a proxy, say.
fn foreign(target: &Target, status: StatusCode, body: &[u8]) -> ApiError {
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    ApiError::new(
        ErrorCode::Internal,
        format!("{target} answered {status} and {text:?}, which is none of its errors"),
    )
}

/// An error with its causes, for a message that crosses the wire without a `source`.
pub(crate) fn with_cause(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text.push_str(": ");
        text.push_str(&c.to_string());
        cause = c.source();
    }
    text
}
