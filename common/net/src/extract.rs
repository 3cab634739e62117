//! From bytes to types and from errors to answers. The only place that turns an [`ApiError`] into HTTP.

use crate::ids::RequestIds;
use axum::{
    Json, Router,
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use rekindle_common::{ApiError, ErrorCode};
use serde::{Serialize, de::DeserializeOwned};
use std::{convert::Infallible, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Of a body that is too large, so much is read and thrown away, so that the client comes to read the answer.
const DISCARD_BYTES: u64 = 256 * 1024 * 1024;
/// And for so long at most.
const DISCARD_TIME: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// A handler's answer: `Result<Json<T>, Failure>`, say, with `?` on everything that is or becomes an [`ApiError`].
pub type ApiResult<T> = Result<T, Failure>;

/// An [`ApiError`] on its way out.
#[derive(Debug)]
pub struct Failure(pub ApiError);

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut error = self.0;
        if error.request_id.is_none() {
            error.request_id = RequestIds::served().map(|ids| ids.own.0.to_string());
        }
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(error)).into_response()
    }
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure(ApiError::new(code, message))
}

/// A JSON body. Refused with the path of the field at fault.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let limit = request
            .extensions()
            .get::<BodyLimit>()
            .map_or(2 * 1024 * 1024, |l| l.0);
        let waits = request.headers().contains_key(header::EXPECT);
        let body = read(request.into_body(), limit, waits).await?;
        from_json(&body).map(Self)
    }
}

fn too_large(limit: usize) -> Failure {
    refuse(
        ErrorCode::BodyTooLarge,
        format!("the body is larger than {limit} bytes"),
    )
}

/// `waits`: the client sends its body only once it is asked to (`Expect: 100-continue`).
async fn read(mut body: Body, limit: usize, waits: bool) -> Result<Bytes, Failure> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        if !waits {
            discard(body).await;
        }
        return Err(too_large(limit));
    }
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            refuse(
                ErrorCode::MalformedBody,
                format!("the body was cut off after {} bytes: {e}", all.len()),
            )
        })?;
        // Trailers are of no interest.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if all.len() + data.len() > limit {
            discard(body).await;
            return Err(too_large(limit));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

async fn discard(mut body: Body) {
    let until = Instant::now() + DISCARD_TIME;
    let mut left = DISCARD_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let read = frame.data_ref().map_or(0, |d| d.len() as u64);
        match left.checked_sub(read) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Parses a body, and names the field at fault as a path.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        let inner = e.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                let refused = ApiError::new(ErrorCode::InvalidField, inner.to_string());
                Failure(if path == "." {
                    refused
                } else {
                    refused.at(path)
                })
            }
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => malformed(&inner),
        }
    })?;
    json.end().map_err(|e| malformed(&e))?;
    Ok(value)
}

fn malformed(e: &serde_json::Error) -> Failure {
    refuse(
        ErrorCode::MalformedBody,
        format!("the body is no JSON: {e}"),
    )
}

/// The query's parameters.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(e) => Err(refuse(ErrorCode::InvalidField, e.body_text())),
        }
    }
}

/// The path's parameters.
#[derive(Debug)]
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(e) => Err(refuse(ErrorCode::InvalidField, e.body_text())),
        }
    }
}

/// An answer of one JSON value a line, each written as it comes.
///
/// A value that cannot be written as JSON ends the stream.
pub fn ndjson<T, S>(lines: S) -> Response
where
    T: Serialize,
    S: Stream<Item = T> + Send + 'static,
{
    let lines = lines.map(|line| {
        serde_json::to_vec(&line).map(|mut text| {
            text.push(b'\n');
            Bytes::from(text)
        })
    });
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

/// Gives a router the answers to an unknown path and to a method that a path does not have.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|request: Request| async move {
            let path: String = request.uri().path().chars().take(200).collect();
            let refused = refuse(ErrorCode::UnknownPath, format!("there is no {path}"));
            Err::<Infallible, _>(refused)
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let (method, path) = (request.method(), request.uri().path());
            let path: String = path.chars().take(200).collect();
            let refused = refuse(
                ErrorCode::MethodNotAllowed,
                format!("{path} has no {method}"),
            );
            Err::<Infallible, _>(refused)
        })
}
