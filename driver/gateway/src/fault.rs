//! The gateway's own answers, in the form that Cinder's clients read: `{"badRequest": {"code": 400, "message": "…"}}`.

use crate::framing::Refused;
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::json;
use std::fmt::Write as _;

/// The header that names a request in OpenStack's answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");
/// What it was called before; Cinder sends both.
pub(crate) const COMPUTE_REQUEST_ID: HeaderName = HeaderName::from_static("x-compute-request-id");

/// A new id for a request, in OpenStack's form.
#[must_use]
pub(crate) fn new_id() -> String {
    // A name and no secret: the thread's own generator does, which asks the system for nothing each time.
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    ["req-", id.hyphenated().encode_lower(&mut text)].concat()
}

/// Whether the connection is kept after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It may be.
    Kept,
    /// Part of the request was not read.
    Closed,
}

/// A request that the gateway answers itself, and not as wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status.
    pub(crate) status: StatusCode,
    /// Which fault it is, for the log and the metrics.
    pub(crate) name: &'static str,
    /// What happened and what to do.
    pub(crate) message: String,
    /// When to come again, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// Whether the connection stays.
    pub(crate) connection: Connection,
}

impl Fault {
    /// With that status and message.
    pub(crate) fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            name,
            message: message.into(),
            retry_after: None,
            connection: Connection::Kept,
        }
    }

    /// For bytes that are no request.
    pub(crate) fn of(why: Refused) -> Self {
        let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, why.name(), why.to_string()).closing()
    }

    /// The same request may go through in a while.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The connection ends with it.
    pub(crate) fn closing(mut self) -> Self {
        self.connection = Connection::Closed;
        self
    }

    fn body(&self) -> Bytes {
        let fault = match self.status.as_u16() {
            400 => "badRequest",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "itemNotFound",
            405 => "badMethod",
            409 => "conflictingRequest",
            413 => "overLimit",
            415 => "badMediaType",
            501 => "notImplemented",
            503 => "serviceUnavailable",
            // As Cinder calls all others.
            _ => "computeFault",
        };
        let body = json!({ fault: { "code": self.status.as_u16(), "message": self.message } });
        Bytes::from(body.to_string())
    }

    /// As an answer.
    pub(crate) fn response(&self, id: &str) -> Response<Bytes> {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        // An id is of characters that stand in a header; were it not, the answer matters more.
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id.clone());
            headers.insert(COMPUTE_REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.connection == Connection::Closed {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// As it stands on the wire, for where there is no server to write it.
    pub(crate) fn in_bytes(&self, id: &str) -> Bytes {
        let response = self.response(id);
        let reason = self.status.canonical_reason().unwrap_or("Refused");
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        for (name, value) in response.headers() {
            let value = value.to_str().unwrap_or_default();
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let body = response.into_body();
        let _ = write!(text, "content-length: {}\r\n\r\n", body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&body);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_cinders_do() {
        let fault = Fault::new(StatusCode::BAD_GATEWAY, "x", "Cinder is away").retry_after(1);
        let response = fault.response("req-1");
        assert_eq!(
            response.body(),
            &r#"{"computeFault":{"code":502,"message":"Cinder is away"}}"#.as_bytes()
        );
        assert_eq!(response.headers()["x-openstack-request-id"], "req-1");
        assert_eq!(response.headers()["retry-after"], "1");
        let text = Fault::of(Refused::TooSlow).in_bytes("req-2");
        let text = std::str::from_utf8(&text).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
        assert!(text.ends_with("not complete in time\"}}"), "{text}");
    }
}
