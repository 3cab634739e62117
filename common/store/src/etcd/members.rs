//! The members, which of them answered lately, and moving from one to the next.

use super::EtcdConfig;
use crate::StoreError;
use etcd_client as etcd;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use tonic::Code;

/// How long a member that failed stands at the end of the queue.
const SET_BACK: Duration = Duration::from_secs(5);
/// How long one member is waited for before the next is asked beside it. An answer takes some milliseconds.
const HEDGE: Duration = Duration::from_millis(300);
/// Listings of plans are larger than gRPC's default of 4 MiB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// One member's clients; a clone shares the connection.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) kv: etcd::KvClient,
    pub(super) lease: etcd::LeaseClient,
    pub(super) watch: etcd::WatchClient,
}

struct Member {
    url: String,
    clients: Clients,
    /// After a failure: until when it comes last.
    set_back_until: Mutex<Option<Instant>>,
}

pub(super) struct Members {
    members: Vec<Member>,
    call_deadline: Duration,
    member_deadline: Duration,
}

/// Why one member did not do as asked, sorted by whether the next may be tried.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed: it was not reached, or said that it could not.
    NotDone(String),
    /// The answer was lost.
    Lost(String),
    /// etcd said no, and would say it anywhere.
    Refused(String),
    /// NOSPACE.
    Full,
    /// The lease does not exist.
    LeaseGone,
}

impl From<etcd::Error> for Failure {
    fn from(e: etcd::Error) -> Self {
        match e {
            etcd::Error::GRpcStatus(status) => Self::from_status(&status),
            // Their messages are all there is: etcd-client has flattened the cause.
            etcd::Error::TransportError(e) => Self::Lost(e.to_string()),
            etcd::Error::IoError(e) => Self::Lost(e.to_string()),
            etcd::Error::WatchError(why)
            | etcd::Error::LeaseKeepAliveError(why)
            | etcd::Error::ElectError(why)
            | etcd::Error::Internal(why)
            | etcd::Error::EndpointError(why) => Self::Lost(why),
            e @ (etcd::Error::InvalidArgs(_)
            | etcd::Error::InvalidUri(_)
            | etcd::Error::Utf8Error(_)
            | etcd::Error::InvalidMetadataValue(_)
            | etcd::Error::EndpointsNotManaged) => Self::Refused(e.to_string()),
        }
    }
}

/// Whether the error says that no connection came about: then nothing was sent.
fn not_connected(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(e) = cause {
        if e.is::<tonic::ConnectError>() {
            return true;
        }
        cause = e.source();
    }
    false
}

impl Failure {
    /// Sorts etcd's answers. The texts are those of etcd's `rpctypes`, where one gRPC code stands for several errors.
    fn from_status(status: &tonic::Status) -> Self {
        let why = status.message().to_owned();
        match status.code() {
            Code::Unavailable if not_connected(status) => Self::NotDone(chain(status)),
            Code::Unavailable if why == "etcdserver: no leader" => Self::NotDone(why),
            Code::ResourceExhausted if why.contains("database space exceeded") => Self::Full,
            Code::ResourceExhausted if why == "etcdserver: too many requests" => Self::NotDone(why),
            Code::NotFound if why == "etcdserver: requested lease not found" => Self::LeaseGone,
            Code::FailedPrecondition if why == "etcdserver: not leader" => Self::NotDone(why),
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Unimplemented => Self::Refused(why),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Lost(chain(status)),
        }
    }
}

/// tonic's own message is often only "transport error"; what an operator needs is the end of the chain.
fn chain(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(e) = cause {
        let part = e.to_string();
        if !text.contains(&part) {
            let _ = write!(text, ": {part}");
        }
        cause = e.source();
    }
    text
}

impl Member {
    fn set_back(&self, until: Option<Instant>) {
        *self
            .set_back_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = until;
    }
    fn set_back_until(&self) -> Option<Instant> {
        *self
            .set_back_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one member is asked, and what a failure means for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// May be asked again anywhere.
    Repeatable,
    /// Must not be sent twice.
    Change,
}

impl Members {
    pub(super) async fn new(config: &EtcdConfig) -> Result<Self, StoreError> {
        let options = config.options().await?;
        let mut members = Vec::with_capacity(config.endpoints.len());
        for url in &config.endpoints {
            let client = etcd::Client::connect([url], Some(options.clone()))
                .await
                .map_err(|e| StoreError::Config {
                    what: format!("{url}: {e}"),
                    source: None,
                })?;
            members.push(Member {
                url: url.clone(),
                clients: Clients {
                    kv: client.kv_client().max_decoding_message_size(MAX_ANSWER),
                    lease: client.lease_client(),
                    watch: client.watch_client().max_decoding_message_size(MAX_ANSWER),
                },
                set_back_until: Mutex::new(None),
            });
        }
        Ok(Self {
            members,
            call_deadline: config.call_deadline.get(),
            member_deadline: config.member_deadline.get(),
        })
    }

    /// The members in the order to ask them: as configured, those that failed lately last.
    ///
    /// A change goes to a member that failed only when all others did too, until a read has found it well again: its lost
    /// answers cost the caller more than a read's.
    fn order(&self, kind: Kind) -> Vec<&Member> {
        let now = Instant::now();
        let mut order: Vec<&Member> = self.members.iter().collect();
        order.sort_by_key(|m| match (m.set_back_until(), kind) {
            (None, _) => 0,
            (Some(until), Kind::Repeatable) if until <= now => 0,
            (Some(_), _) => 1,
        });
        order
    }

    /// Something that may be asked of each member in turn: a read, a grant, a renewal, a revocation.
    pub(super) async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        op: &'static str,
        f: impl Fn(Clients) -> F,
    ) -> Result<T, StoreError> {
        self.call(op, Kind::Repeatable, f).await
    }

    /// Something that must be sent once: the next member is tried only where it is certain that nothing was done.
    pub(super) async fn change<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        op: &'static str,
        f: impl Fn(Clients) -> F,
    ) -> Result<T, StoreError> {
        self.call(op, Kind::Change, f).await
    }

    /// Asks the members in their order. What may be asked again anywhere does not wait for a member's deadline: the next is
    /// asked beside it after [`HEDGE`], for a member that was cut off from its leader takes questions and answers none, and a
    /// lease must not end over that (hard case 1). A change goes to one member at a time.
    async fn call<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        op: &'static str,
        kind: Kind,
        f: impl Fn(Clients) -> F,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.call_deadline;
        let mut failures = String::new();
        let mut timed_out = false;
        let mut rest = self.order(kind).into_iter();
        let mut asked: Vec<&Member> = Vec::new();
        let mut running = FuturesUnordered::new();
        loop {
            if running.is_empty() || asked.is_empty() {
                let Some(member) = rest.next().filter(|_| Instant::now() < deadline) else {
                    break;
                };
                asked.push(member);
                running.push(self.one(member, f(member.clients.clone()), deadline));
            }
            let hedge = async {
                tokio::time::sleep(HEDGE).await;
                if kind == Kind::Change || rest.len() == 0 {
                    std::future::pending::<()>().await;
                }
            };
            let ended = tokio::select! {
                biased;
                ended = running.next() => ended,
                () = hedge => None,
            };
            let Some((member, result)) = ended else {
                if let Some(next) = rest.next() {
                    asked.push(next);
                    running.push(self.one(next, f(next.clients.clone()), deadline));
                }
                continue;
            };
            asked.retain(|m| !std::ptr::eq(*m, member));
            let failure = match result {
                Ok(done) => {
                    member.set_back(None);
                    // Asked before it and still silent: not the first to ask next time.
                    for slow in asked {
                        slow.set_back(Some(Instant::now() + SET_BACK));
                    }
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            let why = match failure {
                Failure::NotDone(why) => why,
                Failure::Lost(why) => {
                    if kind == Kind::Change {
                        member.set_back(Some(Instant::now() + SET_BACK));
                        return Err(StoreError::OutcomeUnknown {
                            op,
                            why: format!("{}: {why}", member.url),
                        });
                    }
                    timed_out = true;
                    why
                }
                Failure::Refused(why) => return Err(StoreError::Protocol { op, why }),
                Failure::Full => return Err(StoreError::Full),
                Failure::LeaseGone => return Err(StoreError::LeaseGone { lease: None }),
            };
            member.set_back(Some(Instant::now() + SET_BACK));
            let _ = write!(failures, "{}{}: {why}", sep(&failures), member.url);
        }
        // Where the time ran out before all were asked, the deadline is the truth; else every one of them has failed.
        if timed_out && Instant::now() >= deadline {
            Err(StoreError::DeadlineExceeded {
                op,
                after: self.call_deadline,
            })
        } else {
            Err(StoreError::Unavailable { op, why: failures })
        }
    }

    /// One member's answer, in its time.
    async fn one<'m, T>(
        &self,
        member: &'m Member,
        answer: impl Future<Output = Result<T, Failure>>,
        deadline: Instant,
    ) -> (&'m Member, Result<T, Failure>) {
        let until = deadline.min(Instant::now() + self.member_deadline);
        let result = timeout_at(until, answer).await.unwrap_or_else(|_| {
            let why = format!("no answer within {:?}", self.member_deadline);
            Err(Failure::Lost(why))
        });
        (member, result)
    }

    /// A member to watch at, and a way to say that it failed.
    pub(super) fn for_watch(&self) -> Option<(Clients, impl Fn() + '_)> {
        let member = self.order(Kind::Repeatable).into_iter().next()?;
        Some((member.clients.clone(), move || {
            member.set_back(Some(Instant::now() + SET_BACK));
        }))
    }

    pub(super) fn member_deadline(&self) -> Duration {
        self.member_deadline
    }
}

fn sep(s: &str) -> &'static str {
    if s.is_empty() { "" } else { "; " }
}
