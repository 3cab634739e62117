//! The loop that brings a server to where it is wished: look, order what is due, look again.
//!
//! ```text
//!        ┌────────── pause ◄───────────────┐
//!        v                                 │ wait · order given · a call that may pass failed
//!   look at it ── what comes next (pure) ──┤
//!                                          ├── it is so: its last look
//!                                          └── failed · gone · not from here · locked · refused · late: why
//! ```
//!
//! The time is up at the deadline also where Nova hangs rather than refuses: no call here outlives it.

use super::{
    Nova,
    error::{Because, ServerError},
    server::{Seen, Server},
    wish::{Next, Verb, Wish, next},
};
use crate::{cloud::Scope, error::CloudError};
use rekindle_common::duration::Span;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a lock's reason begins with where we locked it. What others locked stays so.
pub const LOCKED_BY_US: &str = "rekindle: ";
/// What that reason says of a lock that ours is in the place of, before its own reason.
const WAS_LOCKED: &str = " (it was locked: ";

/// An order whose work was undone is given again, with growing pauses, and not for ever.
const ORDERS: u32 = 5;
/// Characters that Nova takes of a lock's reason.
const REASON: usize = 255;
/// The longest of those pauses.
const PAUSE: Duration = Duration::from_secs(30);

/// How long to wait, and how often to look meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// In all.
    pub within: Span,
    /// Between two looks.
    pub poll: Span,
}

impl Patience {
    /// The same, until then.
    pub(super) fn until(self, end: Instant) -> Self {
        let within = Span(end.saturating_duration_since(Instant::now()));
        Self { within, ..self }
    }
}

/// Whether orders are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    /// What is due is ordered.
    Given,
    /// Somebody else gives them.
    NotGiven,
}

/// What has come of it so far.
struct Road {
    begun: Instant,
    end: Instant,
    poll: Duration,
    wish: Wish,
    orders: u32,
    conflicts: u32,
    not_before: Instant,
    last: Option<Seen>,
    unseen: Option<CloudError>,
    unheard: Option<CloudError>,
}

impl Nova {
    /// Waits until a server is as wished, and orders nothing. None where it was wished gone.
    ///
    /// # Errors
    /// See [`ServerError`]: why it is not.
    pub async fn wait(
        &self,
        id: &str,
        wish: Wish,
        patience: Patience,
    ) -> Result<Option<Server>, ServerError> {
        self.towards(id, wish, patience, Orders::NotGiven).await
    }

    /// Has it run. A lock of ours is taken off, and what it was in the place of is there again; another's stays.
    ///
    /// # Errors
    /// See [`ServerError`]: why it does not.
    pub async fn ensure_active(&self, id: &str, patience: Patience) -> Result<Server, ServerError> {
        self.there(id, Wish::Active, patience).await
    }

    /// Has it stopped. One that is shelved, or never ran, is.
    ///
    /// # Errors
    /// See [`ServerError`]: why it is not.
    pub async fn ensure_stopped(
        &self,
        id: &str,
        patience: Patience,
    ) -> Result<Server, ServerError> {
        self.there(id, Wish::Stopped, patience).await
    }

    /// Has it stopped and off its host.
    ///
    /// # Errors
    /// See [`ServerError`]: why it is not.
    pub async fn ensure_offloaded(
        &self,
        id: &str,
        patience: Patience,
    ) -> Result<Server, ServerError> {
        self.there(id, Wish::Offloaded, patience).await
    }

    /// Locks it, so that its owner does not start it again, and has it stopped. Needs the role of an administrator: others may do nothing
    /// to a locked server either.
    ///
    /// # Errors
    /// See [`ServerError`]: why it is not.
    pub async fn ensure_held(
        &self,
        id: &str,
        reason: &str,
        patience: Patience,
    ) -> Result<Server, ServerError> {
        let end = Instant::now() + patience.within.get();
        let server = match self
            .server_within(id, self.at.cloud.window_until(end))
            .await
        {
            Ok(server) => server,
            Err(CloudError::NotFound { .. }) => return Err(self.gone(id, None)),
            Err(e) => return Err(e.into()),
        };
        self.lock_as_ours(&server, reason).await?;
        self.there(id, Wish::Stopped, patience.until(end)).await
    }

    /// Locks it with a reason that says that it was us. Nova takes a lock for the owner's own, whom it then lets take it off, where the token
    /// is of the server's project: so it is set under the home project's, if that may.
    pub(super) async fn lock_as_ours(
        &self,
        server: &Server,
        reason: &str,
    ) -> Result<(), ServerError> {
        let before = server.locked_reason.as_deref().unwrap_or_default();
        if server.locked && before.starts_with(LOCKED_BY_US) {
            return Ok(());
        }
        let mut reason = format!("{LOCKED_BY_US}{reason}");
        if server.locked {
            reason = format!("{reason}{WAS_LOCKED}{before})");
        }
        let reason: String = reason.chars().take(REASON).collect();
        let home = self.at.cloud.nova(Scope::Home);
        match home.lock(&server.id, &reason).await {
            Err(e) if is_final(&e) || matches!(e, CloudError::NotFound { .. }) => {
                tracing::debug!(error = e.in_full(), server.id = %server.id, "not locked from the home project: as its owner would");
                self.lock(&server.id, &reason).await?;
            }
            done => done?,
        }
        Ok(())
    }

    /// Takes our own lock off.
    pub(super) async fn unlock_ours(&self, server: &Server) -> Result<(), CloudError> {
        let reason = server.locked_reason.as_deref().unwrap_or_default();
        if server.locked && reason.starts_with(LOCKED_BY_US) {
            self.unlock(&server.id).await?;
        }
        Ok(())
    }

    /// Takes it off because the server is to serve. What its owner had locked is locked for him again, before it is started: nobody else knows of
    /// it by then, and an administrator starts what is locked.
    async fn hand_back(&self, server: &Server) -> Result<(), CloudError> {
        self.unlock_ours(server).await?;
        let reason = server.locked_reason.as_deref().unwrap_or_default();
        let Some(before) = replaced(reason).filter(|_| server.locked) else {
            return Ok(());
        };
        let project = server.project_id.clone().map(Scope::Project);
        let owner = self.at.cloud.nova(project.unwrap_or(Scope::Home));
        if let Err(e) = owner.lock(&server.id, before).await {
            tracing::debug!(error = e.in_full(), server.id = %server.id, "not locked from its own project");
            if let Err(e) = self.lock(&server.id, before).await {
                tracing::warn!(error = e.in_full(), server.id = %server.id, reason = before, "its owner's lock is lost: lock it again");
            }
        }
        Ok(())
    }

    async fn there(&self, id: &str, wish: Wish, patience: Patience) -> Result<Server, ServerError> {
        let server = self.towards(id, wish, patience, Orders::Given).await?;
        server.ok_or_else(|| self.gone(id, None))
    }

    /// Has it gone, whatever it is: who calls this has looked whether it may.
    pub(super) async fn removed(&self, id: &str, patience: Patience) -> Result<(), ServerError> {
        let gone = self.towards(id, Wish::Absent, patience, Orders::Given);
        gone.await.map(drop)
    }

    async fn towards(
        &self,
        id: &str,
        wish: Wish,
        patience: Patience,
        orders: Orders,
    ) -> Result<Option<Server>, ServerError> {
        let mut road = Road::new(wish, patience);
        loop {
            let mut pause = road.poll;
            let window = self.at.cloud.window_until(road.end);
            match self.server_within(id, window).await {
                Ok(server) => {
                    road.last = Some(server.seen());
                    road.unseen = None;
                    if self.step(&server, &mut road, orders).await? {
                        return Ok(Some(server));
                    }
                }
                Err(CloudError::NotFound { .. }) => {
                    return match wish {
                        Wish::Absent => Ok(None),
                        Wish::Active | Wish::Stopped | Wish::Offloaded => {
                            Err(self.gone(id, road.last))
                        }
                    };
                }
                // A 500 of Nova's may pass too: it says so when its own database or Neutron does not answer it.
                Err(e) if e.is_passing() || e.may_have_taken_effect() => {
                    pause = pause.max(e.retry_after().unwrap_or_default());
                    road.unseen = Some(e);
                }
                Err(e) => return Err(e.into()),
            }
            let left = road.end.saturating_duration_since(Instant::now());
            sleep(pause.min(left)).await;
            if Instant::now() >= road.end {
                return Err(self.late(id, road));
            }
        }
    }

    /// What this look asks for. Whether it is as wished.
    async fn step(
        &self,
        server: &Server,
        road: &mut Road,
        orders: Orders,
    ) -> Result<bool, ServerError> {
        if orders == Orders::Given && road.wish == Wish::Active {
            match self.hand_back(server).await {
                Ok(()) => {}
                Err(e) if is_final(&e) => return Err(self.locked(server, e)),
                Err(e) => {
                    road.unheard = Some(e);
                    return Ok(false);
                }
            }
        }
        match next(server, road.wish) {
            Next::Done => return Ok(true),
            Next::Wait => {}
            Next::Order(verb) => match orders {
                Orders::NotGiven => {}
                Orders::Given => self.give(server, verb, road).await?,
            },
            Next::Failed => return Err(self.failed(server)),
            Next::Gone => return Err(self.gone(&server.to_string(), Some(server.seen()))),
            Next::Never(advice) => {
                return Err(ServerError::NotFromHere {
                    zone: self.zone(),
                    server: server.to_string(),
                    seen: Box::new(server.seen()),
                    wish: road.wish,
                    advice,
                });
            }
        }
        Ok(false)
    }

    async fn give(&self, server: &Server, verb: Verb, road: &mut Road) -> Result<(), ServerError> {
        if road.orders >= ORDERS || Instant::now() < road.not_before {
            return Ok(());
        }
        road.orders += 1;
        let growing = road.poll * 2_u32.pow(road.orders - 1);
        road.not_before = Instant::now() + growing.min(PAUSE);
        let told = self.order_until(&server.id, verb, Some(road.end)).await;
        let Err(e) = told else {
            road.unheard = None;
            return Ok(());
        };
        tracing::debug!(error = e.in_full(), server.id = %server.id, ?verb, "an order failed: looking again");
        // It is in another state than we saw, or locked: once more is for the first, and the lock is said.
        if let CloudError::Conflict { .. } = &e {
            road.conflicts += 1;
            if server.locked && road.conflicts > 1 {
                return Err(self.locked(server, e));
            }
        }
        if is_final(&e) {
            return Err(match verb {
                Verb::Unshelve => {
                    let flavor = &server.flavor;
                    let (vcpus, ram) = (flavor.vcpus.unwrap_or(0), flavor.ram_mib.unwrap_or(0));
                    let why = self.why_not_unshelved(vcpus, ram);
                    self.refused(&server.to_string(), e, why).await
                }
                Verb::Start
                | Verb::Stop
                | Verb::Shelve
                | Verb::ShelveOffload
                | Verb::Delete
                | Verb::ForceDelete => e.into(),
            });
        }
        road.unheard = Some(e);
        Ok(())
    }

    fn locked(&self, server: &Server, e: CloudError) -> ServerError {
        ServerError::Locked {
            zone: self.zone(),
            server: server.to_string(),
            reason: server.locked_reason.clone(),
            source: Box::new(e),
        }
    }

    pub(super) fn failed(&self, server: &Server) -> ServerError {
        let because = server.fault.as_ref().map_or(Because::Other, Because::of);
        ServerError::Failed {
            zone: self.zone(),
            server: server.to_string(),
            fault: server.fault.clone(),
            because,
        }
    }

    pub(super) fn gone(&self, server: &str, last: Option<Seen>) -> ServerError {
        ServerError::Gone {
            zone: self.zone(),
            server: server.to_owned(),
            last: last.map(Box::new),
        }
    }

    fn late(&self, id: &str, road: Road) -> ServerError {
        ServerError::Late {
            zone: self.zone(),
            server: id.to_owned(),
            wish: road.wish,
            after: Span(road.end - road.begun),
            orders: road.orders,
            last: road.last.map(Box::new),
            trouble: road.unseen.or(road.unheard).map(Box::new),
        }
    }
}

/// The reason of the lock that ours is in the place of.
fn replaced(reason: &str) -> Option<&str> {
    let (_, before) = reason.strip_prefix(LOCKED_BY_US)?.split_once(WAS_LOCKED)?;
    // A long one was cut.
    Some(before.strip_suffix(')').unwrap_or(before))
}

/// Whether an order that failed so is worth no other look.
fn is_final(e: &CloudError) -> bool {
    match e {
        // The next look finds what it is now, or that it is gone.
        CloudError::Conflict { .. } | CloudError::NotFound { .. } => false,
        CloudError::Unreachable { .. }
        | CloudError::Broken { .. }
        | CloudError::TimedOut { .. }
        | CloudError::Unavailable { .. }
        | CloudError::Throttled { .. }
        | CloudError::Unexpected { .. } => false,
        CloudError::Config { .. }
        | CloudError::Untrusted { .. }
        | CloudError::Unauthorized { .. }
        | CloudError::Forbidden { .. }
        | CloudError::Invalid { .. }
        | CloudError::OverQuota { .. }
        | CloudError::TooMany { .. } => true,
    }
}

impl Road {
    fn new(wish: Wish, patience: Patience) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            end: begun + patience.within.get(),
            poll: patience.poll.get(),
            wish,
            orders: 0,
            conflicts: 0,
            not_before: begun,
            last: None,
            unseen: None,
            unheard: None,
        }
    }
}
