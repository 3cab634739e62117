//! The Nova of a zone that this orchestrator's configuration does not have: each server there is named, as what fails is, and what a server's pass
//! writes down of one that could not be seen is written down of all of them.

use crate::servers::control::{BuildOrder, Seen, Servers, ServersError, Wanted};
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{duration::Span, servers::ServerRecord};
use std::future::ready;

/// With the reason for people.
#[derive(Debug)]
pub(super) struct NoNova(pub(super) String);

impl NoNova {
    fn refuse<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, ServersError>> {
        ready(Err(ServersError::Refused(self.0.clone()))).boxed()
    }
}

impl Servers for NoNova {
    fn look<'a>(
        &'a self,
        _: &'a Wanted,
        _: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        self.refuse()
    }
    fn hold<'a>(
        &'a self,
        _: &'a Wanted,
        _: &'a str,
        _: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        self.refuse()
    }
    fn start<'a>(&'a self, _: &'a Wanted, _: Span) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.refuse()
    }
    fn build<'a>(
        &'a self,
        _: &'a BuildOrder,
        _: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.refuse()
    }
    fn remove<'a>(&'a self, _: &'a Wanted, _: Span) -> BoxFuture<'a, Result<(), ServersError>> {
        self.refuse()
    }
    fn record<'a>(
        &'a self,
        _: &'a Wanted,
        _: Span,
    ) -> BoxFuture<'a, Result<Option<ServerRecord>, ServersError>> {
        self.refuse()
    }
}
