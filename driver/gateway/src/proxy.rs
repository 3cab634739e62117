//! One request, from the client to Cinder and back.
//!
//! ```text
//!   head ── a place in flight ── length ── fields of the connection off, X-Forwarded-* on ── Cinder ── fields off ── client
//!        └─ an action of ours, in a small body: carried out                          └─ all else, byte for byte
//!   anything in the way ── a fault in Cinder's form, with an id that the log has too
//! ```

use crate::{
    actions::{ActionPath, Actions, parse},
    body::{AnswerBody, BodyFault, Progress, RequestBody},
    client_io::{InFlight, Shared},
    exchange::Exchange,
    fault::{COMPUTE_REQUEST_ID, Fault, REQUEST_ID},
    guarding::Stopped,
    guards::{Guards, is_cinders},
    headers::{self, From, Scheme},
    metrics::Metrics,
    prefix::Prefix,
    routes::Route,
    status::{Kind, Statuses, read_query, shows as shows_of},
    trust::Networks,
    upstream::{CinderBody, Upstream, UpstreamError, in_full},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Body, Incoming},
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
    },
    http::request::Parts,
};
use rekindle_net::in_request;
use std::{
    net::SocketAddr,
    sync::{Arc, Once},
};
use tokio::sync::Semaphore;

/// What all requests of a gateway share.
pub(crate) struct Proxy {
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Metrics,
    /// Places for requests in flight.
    pub(crate) places: Arc<Semaphore>,
    /// Those of them whose body is still to come: who sends it was not asked yet who they are, and all others have the rest.
    pub(crate) coming: Arc<Semaphore>,
    /// Bytes of a request's body.
    pub(crate) body_limit: u64,
    pub(crate) trusted: Networks,
    pub(crate) prefix: Option<HeaderValue>,
    /// Where in a path Cinder's API begins.
    pub(crate) cinders: Prefix,
    /// That a request was refused for its path is told once: who has another path than Cinder's has it in each.
    pub(crate) strayed: Once,
    /// `None`: there are no actions but Cinder's.
    pub(crate) actions: Option<Actions>,
    /// `None`: nothing is guarded.
    pub(crate) guards: Option<Guards>,
    /// `None`: no status is shown.
    pub(crate) statuses: Option<Statuses>,
}

/// An action's body is no larger.
const ACTION: usize = 16 * 1024;
/// A body that says that it is no larger is read before there is a connection to Cinder for it.
const SMALL: usize = 16 * 1024;
/// Nor is what Cinder says of one volume.
const VOLUME: usize = 1024 * 1024;
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// What of a request's fields is not a look's: what is said of its body, what the answer is packed in, which is for the client to know, and
/// what has a server answer with less than all of it.
const NOT_A_LOOKS: [HeaderName; 10] = [
    CONTENT_LENGTH,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
    ACCEPT_ENCODING,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// What a request is answered with.
pub(crate) enum Answer {
    /// What Cinder said, as it comes, behind what was read of it already.
    Cinders(Response<CinderBody>, Option<Bytes>),
    /// What the gateway has at hand.
    Own(Response<Bytes>),
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
        let path = self.cinders.strip(head.uri.path());
        let route = path.map_or(Route::Other, |path| Route::of(&head.method, path));
        let mut exchange = Exchange::begin(&head, route, client.peer, &self.metrics, in_flight);
        let answer = self.pass(head, body, client, &mut exchange).await;
        match answer {
            Ok(Answer::Cinders(answer, first)) => {
                let (head, body) = answer.into_parts();
                let body = AnswerBody::cinders(first, body, self.upstream.idle(), exchange);
                Response::from_parts(head, body)
            }
            Ok(Answer::Own(answer)) => own(answer, exchange),
            Err(fault) => {
                exchange.fails(&fault);
                own(fault.response(&exchange.id), exchange)
            }
        }
    }

    async fn pass(
        &self,
        mut head: Parts,
        body: Incoming,
        client: &Client,
        exchange: &mut Exchange,
    ) -> Result<Answer, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        exchange.takes(place.map_err(|_| crowded(&body))?);
        if head.method == Method::CONNECT {
            let why = "this is no proxy: it asks no other server than Cinder";
            return Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method", why).closing());
        }
        self.is_known(&head).map_err(|fault| {
            if body.is_end_stream() {
                fault
            } else {
                fault.closing()
            }
        })?;
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
        let place = unread.then(|| Arc::clone(&self.coming).try_acquire_owned());
        let place = place.transpose().map_err(|_| slow())?;
        let mut body = RequestBody::new(body, self.body_limit, place);
        if let Some(answer) = self.action(&head, &mut body, exchange).await? {
            return Ok(Answer::Own(answer));
        }
        match self.guard(&head, &mut body, exchange).await {
            Ok(()) => {}
            Err(Stopped::ByCinder(no)) => return Ok(Answer::Own(*no)),
            Err(Stopped::ByUs(fault)) => return Err(fault),
        }
        let shows = self.statuses.as_ref();
        let shows = shows.zip(shows_of(&head.method, self.path_of(&head)));
        if let Some((statuses, kind)) = shows {
            // What it is packed in is for the client to know, and this is read here.
            head.headers.remove(ACCEPT_ENCODING);
            let query = head.uri.query().unwrap_or_default();
            if let (Kind::Page, Some(query)) = (kind, read_query(query)) {
                return self.page(statuses, &head, query, exchange).await;
            }
        }
        // Who is slow with it, whoever that is, keeps a connection from nobody meanwhile.
        body.ahead_if_small(SMALL).await.map_err(body_fault)?;
        let request = Request::from_parts(head, body);
        let answer = self.send(request, exchange).await;
        let answer = answer.map_err(|fault| if unread { fault.closing() } else { fault })?;
        match shows {
            Some((statuses, kind)) => self.shown(statuses, answer, kind, exchange).await,
            None => Ok(Answer::Cinders(answer, None)),
        }
    }

    /// What of a request's path is Cinder's.
    pub(crate) fn path_of<'a>(&self, head: &'a Parts) -> &'a str {
        self.cinders.strip(head.uri.path()).unwrap_or_default()
    }

    /// Whether the path is one that is read here, where something goes by that: what is not would go past the guards, the actions and the
    /// status, and nobody would be told.
    fn is_known(&self, head: &Parts) -> Result<(), Fault> {
        let path = head.uri.path();
        let is_known = || self.cinders.strip(path).is_some_and(is_cinders);
        if self.actions.is_none() || is_known() {
            return Ok(());
        }
        let prefix = self.cinders.as_str();
        self.strayed.call_once(|| {
            tracing::warn!(
                path,
                "refused: the path is none of Cinder's API, which begins with {prefix}/v3 here; all others like it are refused too. Where Cinder is offered under another path, upstream.prefix has to say it"
            );
        });
        let why = format!(
            "Cinder's API begins with {prefix}/v3 here: there is nothing under another path"
        );
        Err(Fault::new(StatusCode::NOT_FOUND, "path", why))
    }

    /// Sends a request to Cinder, and makes the head of its answer the client's.
    async fn send(
        &self,
        request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Response<CinderBody>, Fault> {
        let progress = request.body().progress();
        let sent = self.upstream.send(request).await;
        let mut answer = sent.map_err(|e| no_answer(&e, &progress, exchange))?;
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

    /// Carries out an action, where the request is one of ours.
    async fn action(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Bytes>>, Fault> {
        let (Some(actions), Some(path)) = (&self.actions, ActionPath::of(self.path_of(head)))
        else {
            return Ok(None);
        };
        if head.method != Method::POST {
            return Ok(None);
        }
        let read = body.ahead(ACTION).await.map_err(body_fault)?;
        let Some(asked) = read.and_then(|bytes| parse(&bytes)) else {
            return Ok(None);
        };
        // First whether there is such a volume for them: who may not see it is told nothing else.
        if let Some(no) = self.unseen(head, path.volume_path, exchange).await? {
            return Ok(Some(no));
        }
        let asked = asked.map_err(|why| Fault::new(StatusCode::BAD_REQUEST, "action_form", why))?;
        let Some(token) = head.headers.get(TOKEN) else {
            let why = "there is no token";
            return Err(Fault::new(StatusCode::UNAUTHORIZED, "token", why));
        };
        let holder = actions.allowed(&asked, token).await?;
        let in_flight = actions.place(&holder)?;
        let found = actions.image(path.volume, &asked, &holder).await?;
        let in_group = actions.group_allows(&asked, &found, &holder);
        in_request(exchange.ids(), in_group).await?;
        let ordered = actions.order(asked, &found.image, &holder, in_flight, &exchange.id);
        let ordered = in_request(exchange.ids(), ordered).await;
        if let Some(statuses) = &self.statuses {
            statuses.changed(ordered.is_ok());
        }
        ordered?;
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::ACCEPTED;
        for name in [REQUEST_ID, COMPUTE_REQUEST_ID] {
            if let Ok(id) = HeaderValue::from_str(&exchange.id) {
                answer.headers_mut().insert(name, id);
            }
        }
        exchange.answers(202, None);
        Ok(Some(answer))
    }

    /// Asks Cinder for a volume as its user does. `None`: they see it. Else what Cinder says to that.
    pub(crate) async fn unseen(
        &self,
        head: &Parts,
        path: &str,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Bytes>>, Fault> {
        let answer = self.look(head, path, exchange).await?;
        let (mut head, body) = answer.into_parts();
        let read = Limited::new(body, VOLUME).collect();
        let read = tokio::time::timeout(self.upstream.idle(), read).await;
        let bytes = match read {
            Ok(Ok(all)) => all.to_bytes(),
            Ok(Err(_)) | Err(_) => {
                let why = "Cinder's answer about the volume broke off: nothing was done";
                return Err(Fault::new(StatusCode::BAD_GATEWAY, "upstream_answer", why));
            }
        };
        if head.status == StatusCode::OK {
            return Ok(None);
        }
        head.headers.remove(CONTENT_LENGTH);
        Ok(Some(Response::from_parts(head, bytes)))
    }

    /// Looks at something of Cinder's, by its path behind the prefix, as the user who sent a request does.
    pub(crate) async fn look(
        &self,
        head: &Parts,
        path: &str,
        exchange: &mut Exchange,
    ) -> Result<Response<CinderBody>, Fault> {
        let path = format!("{}{path}", self.cinders.as_str());
        let path = path
            .parse::<Uri>()
            .map_err(|_| Fault::new(StatusCode::BAD_REQUEST, "malformed", "the path is none"))?;
        let mut request = Request::new(RequestBody::none());
        *request.uri_mut() = path;
        *request.headers_mut() = head.headers.clone();
        for name in &NOT_A_LOOKS {
            request.headers_mut().remove(name);
        }
        self.send(request, exchange).await
    }
}

/// An answer that is at hand.
fn own(answer: Response<Bytes>, exchange: Exchange) -> Response<AnswerBody> {
    let (mut head, bytes) = answer.into_parts();
    let length = HeaderValue::from(bytes.len());
    head.headers.insert(CONTENT_LENGTH, length);
    Response::from_parts(head, AnswerBody::own(bytes, exchange))
}

pub(crate) fn body_fault(fault: BodyFault) -> Fault {
    match fault {
        BodyFault::TooLarge(limit) => too_large(limit),
        BodyFault::Cut => {
            let why = "the request's body broke off, or is not what its head says";
            Fault::new(StatusCode::BAD_REQUEST, "body_cut", why).closing()
        }
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

fn slow() -> Fault {
    let why =
        "the gateway waits for the bodies of as many requests as it may: try again in a moment";
    let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "crowded_bodies", why);
    fault.retry_after(1).closing()
}

fn too_large(limit: u64) -> Fault {
    let why = format!("the request's body is larger than {limit} bytes");
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", why).closing()
}

/// What a client is told where Cinder said nothing.
fn no_answer(e: &UpstreamError, progress: &Progress, exchange: &Exchange) -> Fault {
    // Where the request itself was at fault, Cinder is not to blame for its silence.
    if let Some(fault) = progress.fault() {
        return body_fault(fault);
    }
    let (status, name) = match e {
        UpstreamError::Busy { .. } | UpstreamError::Uploads { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "upstream_busy")
        }
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
        UpstreamError::Busy { .. }
        | UpstreamError::Uploads { .. }
        | UpstreamError::Connect(_)
        | UpstreamError::ConnectTime(_) => fault.retry_after(1),
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
