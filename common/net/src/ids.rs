//! The ids of a request, on its way through tasks and to whom is called on its behalf.
//!
//! ```text
//!   server ── ids of its head ── handler, and what it carries into tasks ── client ── the next server
//! ```
//!
//! What is called for nobody (a loop, a timer) has an id of its own for each call.

use axum::http::{HeaderMap, HeaderName};
use std::{future::Future, sync::Arc};
use tracing::{Instrument, Span};

/// The header that carries a request's own id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// OpenStack's, which carries the id that its first sender gave it.
pub(crate) const GLOBAL_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// Names one request: in its extensions, its answer's header, an error's body and its log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// Somebody else's, where it is one that can be logged and sent on.
    #[must_use]
    pub fn checked(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_one = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        is_one.then(|| Self(text.into()))
    }

    /// A new one.
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string().into())
    }

    fn in_field(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        Self::checked(headers.get(name)?.to_str().ok()?)
    }
}

/// What one request is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIds {
    /// By us, from the gateway or the first sidecar on.
    pub own: RequestId,
    /// By OpenStack: what its first sender called it (`X-OpenStack-Request-ID`).
    pub global: Option<RequestId>,
}

impl RequestIds {
    /// The caller's own, where they can be logged; else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            own: RequestId::in_field(headers, &REQUEST_ID).unwrap_or_else(RequestId::new),
            global: RequestId::in_field(headers, &GLOBAL_ID),
        }
    }

    /// Of the request that is being served; a new one where none is.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Self {
            own: RequestId::new(),
            global: None,
        })
    }

    /// The same, where one is being served.
    pub(crate) fn served() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }
}

tokio::task_local! {
    static CURRENT: RequestIds;
}

/// Does something on behalf of a request: what it calls is told these ids.
pub async fn in_request<T>(ids: RequestIds, f: impl Future<Output = T>) -> T {
    CURRENT.scope(ids, f).await
}

/// Takes the ids, and the span of the log, of the request that is being served along into a task of its own.
pub fn carried<T>(f: impl Future<Output = T>) -> impl Future<Output = T> {
    let ids = RequestIds::served();
    let f = f.instrument(Span::current());
    async move {
        match ids {
            Some(ids) => in_request(ids, f).await,
            None => f.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_goes_by_the_ids_of_the_request_that_began_it() {
        let id = |text: &str| RequestId::checked(text).unwrap();
        let ids = RequestIds {
            own: id("req-1"),
            global: Some(id("req-first")),
        };
        assert_eq!(RequestIds::served(), None);
        assert_ne!(RequestIds::current(), RequestIds::current());
        let seen = in_request(ids.clone(), async {
            let own = RequestIds::current();
            let carried = tokio::spawn(carried(async { RequestIds::served() })).await;
            let lost = tokio::spawn(async { RequestIds::served() }).await;
            (own, carried.unwrap(), lost.unwrap())
        });
        assert_eq!(seen.await, (ids.clone(), Some(ids), None));
    }

    #[test]
    fn an_id_is_one_that_can_be_logged_and_sent_on() {
        for text in ["", "a b", "req-\u{e9}", "x\"y", &"x".repeat(65)] {
            assert_eq!(RequestId::checked(text), None, "{text:?}");
        }
        for text in ["req-9d2a4c1e-0000-4000-8000-000000000001", "a", "A_1.b"] {
            assert!(RequestId::checked(text).is_some(), "{text}");
        }
    }
}
