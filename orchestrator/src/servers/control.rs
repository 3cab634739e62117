//! What is asked of a zone's servers.

use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{
    GroupName, ServerKey, ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{KeptServer, ServerRecord},
};
use std::{fmt, net::IpAddr};

/// What a call is about: one server of a group, in the zone that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of which group.
    pub group: GroupName,
    /// Its name there.
    pub key: ServerKey,
    /// Its id in this zone, where it is known. Without one it is looked for by its mark.
    pub id: Option<String>,
    /// The other zone's server that it is the counterpart of, as [`counterpart`] has it. What we build bears it.
    pub counterpart: Option<String>,
    /// The id of its root volume in this zone, where that is known. Everybody may write what we build bears on servers of his own: only one that
    /// has this volume is it.
    pub root: Option<String>,
}

/// The other zone's server, as what we build for it bears it: `ZONE/ID`. One that was never built there, whose record was imported, has no
/// id; what stands for it is its place in the runbook: `ZONE/GROUP/KEY`.
#[must_use]
pub fn counterpart(
    zone: &ZoneName,
    id: Option<&str>,
    group: &GroupName,
    key: &ServerKey,
) -> String {
    match id {
        Some(id) => format!("{zone}/{id}"),
        None => format!("{zone}/{group}/{key}"),
    }
}

/// A server as a zone's Nova shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// What it does.
    pub state: ServerState,
    /// Whether it is locked by us, so that nobody but an administrator starts it.
    pub held: bool,
    /// In Nova's words, for people: `SHUTOFF`, `ERROR (No valid host was found)`.
    pub words: String,
    /// Its fixed address; of several IPv4 before IPv6, and by the network's name. Nova does not tell which network came first.
    pub address: Option<IpAddr>,
    /// The ids of its volumes in its zone's Cinder. Empty where Nova shows none.
    pub volumes: Vec<String>,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// It runs.
    Running,
    /// It is held in memory, or runs from another disk: paused, suspended, rescued. It does not serve, and may write again at any time.
    Frozen,
    /// It does not, and can be started: shut off, or shelved.
    Stopped,
    /// Something is at work on it.
    Changing,
    /// Nova says that it failed. That says nothing of its domain: it failed to stop, say, and writes on.
    Failed {
        /// It never ran, or Nova saw it off.
        off: bool,
    },
    /// Nova cannot see it now: its cell does not answer.
    Unknown,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServersError {
    /// It may go better later: nothing is known, or something is in the way that passes. An order may have taken effect.
    #[error("{0}")]
    NotNow(String),
    /// It will not, until a person does what is said.
    #[error("{0}")]
    Refused(String),
}

/// How a server is built in this zone: in this zone's names, on this zone's volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// Which.
    pub wanted: Wanted,
    /// In this zone's names: mapped already.
    pub record: ServerRecord,
    /// How it rests once it is built.
    pub rest: StandbyPolicy,
}

/// A zone's servers. Each call looks before it acts, may be made any number of times, and ends within its time, also where Nova hangs.
pub trait Servers: Send + Sync + fmt::Debug {
    /// The server; `None`: it is certain that there is none.
    fn look<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>>;
    /// Has it stopped and locked, with the reason for people. One that is not there is.
    fn hold<'a>(
        &'a self,
        wanted: &'a Wanted,
        reason: &'a str,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>>;
    /// Has it run, our lock taken off.
    fn start<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>>;
    /// Has it built and at rest, locked; adopts what bears its mark. Never stops what serves: who calls this knows that the zone is not the
    /// primary. A `rest` of `Record` builds it to be started at once; what it finds running then was begun by another, on the copies perhaps, and is
    /// stopped before it is started.
    fn build<'a>(
        &'a self,
        order: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>>;
    /// Whether [`Self::build`] would find all that the record names, and room in its project's quota once what stands there now is gone. Nothing is made. An
    /// address that another has, and whether a host has room, only the build itself shows.
    fn check<'a>(
        &'a self,
        _order: &'a BuildOrder,
        _within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        async { Ok(()) }.boxed()
    }
    /// The server's record in this zone's names and on this zone's volumes, as [`Self::build`] takes it. A refusal names what has no
    /// counterpart here.
    fn translate<'a>(
        &'a self,
        kept: &'a KeptServer,
        _within: Span,
    ) -> BoxFuture<'a, Result<ServerRecord, ServersError>> {
        let why = format!(
            "no names of this zone are known for what {} is made of: it cannot be built here",
            kept.key
        );
        async move { Err(ServersError::Refused(why)) }.boxed()
    }
    /// Has what we built gone, and its volumes left as they are. One that does not bear the mark is left alone.
    fn remove<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>>;
    /// Has gone what was made for a server that did not come to be: its ports. Where it is there after all nothing is done.
    fn clear<'a>(
        &'a self,
        _wanted: &'a Wanted,
        _within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        async { Ok(()) }.boxed()
    }
    /// The server's record as it is now, in this zone's names; `None`: it is certain that there is none.
    fn record<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<ServerRecord>, ServersError>>;
}
