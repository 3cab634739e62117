//! One request, from the client to Cinder and back.
//!
//! ```text
//!   head ── a place in flight ── length ── fields of the connection off, X-Forwarded-* on ── Cinder ── fields off ── client
//!   anything in the way ── a fault in Cinder's form, with an id that the log has too
//! ```

use crate::{
    body::{AnswerBody, BodyFault, Progress, RequestBody},
    client_io::{InFlight, Shared},
    exchange::Exchange,
    fault::{COMPUTE_REQUEST_ID, Fault, REQUEST_ID},
    headers::{self, From, Scheme},
    metrics::Metrics,
    trust::Networks,
    upstream::{Upstream, UpstreamError, in_full},
};
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Incoming},
    header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::Semaphore;

/// What all requests of a gateway share.
pub(crate) struct Proxy {
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Metrics,
    /// Places for requests in flight.
    pub(crate) places: Arc<Semaphore>,
    /// Bytes of a request's body.
    pub(crate) body_limit: u64,
    pub(crate) trusted: Networks,
    pub(crate) prefix: Option<HeaderValue>,
}

/// Who sent a request, and how.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) scheme: Scheme,
    pub(crate) shared: Arc<Shared>,
}

impl Proxy {
    /// Answers one request: as Cinder does, or with a fault.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        client: &Client,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let mut exchange = Exchange::begin(&head, client.peer, &self.metrics, in_flight);
        let answer = self.pass(head, body, client, &mut exchange).await;
        match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                let body = AnswerBody::cinders(body, self.upstream.idle(), exchange);
                Response::from_parts(head, body)
            }
            Err(fault) => {
                exchange.fails(&fault);
                let (mut head, bytes) = fault.response(&exchange.id).into_parts();
                let length = HeaderValue::from(bytes.len());
                head.headers.insert(CONTENT_LENGTH, length);
                Response::from_parts(head, AnswerBody::own(bytes, exchange))
            }
        }
    }

    async fn pass(
        &self,
        mut head: hyper::http::request::Parts,
        body: Incoming,
        client: &Client,
        exchange: &mut Exchange,
    ) -> Result<Response<Incoming>, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        exchange.takes(place.map_err(|_| crowded(&body))?);
        if head.method == Method::CONNECT {
            let why = "this is no proxy: it asks no other server than Cinder";
            return Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method", why).closing());
        }
        if body.size_hint().lower() > self.body_limit {
            return Err(too_large(self.body_limit));
        }
        headers::to_cinder(
            &mut head.headers,
            From {
                peer: client.peer,
                scheme: client.scheme,
                trusted: &self.trusted,
                prefix: self.prefix.as_ref(),
                authority: self.upstream.authority(),
                id: &exchange.id,
            },
        )?;
        // Whatever the method: what a client sends as a body, Cinder is sent as one.
        if !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH) {
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }
        head.uri = path_alone(head.uri);
        head.version = Version::HTTP_11;
        let unread = !body.is_end_stream();
        let body = RequestBody::new(body, self.body_limit);
        let progress = body.progress();
        let sent = self.upstream.send(Request::from_parts(head, body)).await;
        let mut answer = sent.map_err(|e| {
            let fault = no_answer(&e, &progress, exchange);
            if unread { fault.closing() } else { fault }
        })?;
        if answer.status().is_informational() {
            let why = "Cinder answered with a change of protocol that nobody asked for";
            return Err(Fault::new(StatusCode::BAD_GATEWAY, "upstream_answer", why));
        }
        headers::to_client(answer.headers_mut());
        *answer.version_mut() = Version::HTTP_11;
        let ids = [REQUEST_ID, COMPUTE_REQUEST_ID];
        let id = ids.iter().find_map(|name| answer.headers().get(name));
        let id = id.and_then(|id| id.to_str().ok());
        exchange.answers(answer.status().as_u16(), id);
        Ok(answer)
    }
}

/// A target as it stands in a request to a server: that it is a path, and nothing else, was looked at.
fn path_alone(uri: Uri) -> Uri {
    let path = uri.into_parts().path_and_query;
    path.map_or_else(Uri::default, Uri::from)
}

fn crowded(body: &Incoming) -> Fault {
    let why = "the gateway has as many requests in flight as it may: try again in a moment";
    let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "crowded", why).retry_after(1);
    if body.is_end_stream() {
        fault
    } else {
        fault.closing()
    }
}

fn too_large(limit: u64) -> Fault {
    let why = format!("the request's body is larger than {limit} bytes");
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", why).closing()
}

/// What a client is told where Cinder said nothing.
fn no_answer(e: &UpstreamError, progress: &Progress, exchange: &Exchange) -> Fault {
    // Where the request itself was at fault, Cinder is not to blame for its silence.
    match progress.fault() {
        Some(BodyFault::TooLarge(limit)) => return too_large(limit),
        Some(BodyFault::Cut) => {
            let why = "the request's body broke off, or is not what its head says";
            return Fault::new(StatusCode::BAD_REQUEST, "body_cut", why);
        }
        None => {}
    }
    let (status, name) = match e {
        UpstreamError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "upstream_busy"),
        UpstreamError::Connect(_) => (StatusCode::BAD_GATEWAY, "upstream_connect"),
        UpstreamError::ConnectTime(_) => (StatusCode::GATEWAY_TIMEOUT, "upstream_connect_time"),
        UpstreamError::FirstByte(_) => (StatusCode::GATEWAY_TIMEOUT, "upstream_first_byte"),
        UpstreamError::Broken(_) => (StatusCode::BAD_GATEWAY, "upstream_broken"),
    };
    tracing::warn!(
        error = in_full(e),
        request.id = exchange.id,
        fault = name,
        "no answer of Cinder's"
    );
    // Where Cinder listens and how its connections fail is the operator's to know: the log has it under the id.
    let fault = Fault::new(status, name, e.to_string());
    match e {
        UpstreamError::Busy { .. } | UpstreamError::Connect(_) | UpstreamError::ConnectTime(_) => {
            fault.retry_after(1)
        }
        UpstreamError::FirstByte(_) | UpstreamError::Broken(_) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_as_it_is() {
        for path in ["/", "*", "/v3//x/../y?a=b%20c&d", "//v3", "/v3?"] {
            let uri: Uri = path.parse().unwrap();
            assert_eq!(path_alone(uri).to_string(), path);
        }
    }
}
