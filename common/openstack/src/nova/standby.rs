//! A stand-by: a server of the other zone's volumes that is built and does not run.
//!
//! ```text
//!   look ── marked, well ───────────────────────────────────── adopted ──┐
//!     ├──── marked, failed before it ever ran: removed ──┐               │
//!     ├──── nothing ─────────────────────────────────────┴─ create ──────┼── stop ── (shelve) ── lock
//!     ├──── the name without the mark: an error            │ answer lost │
//!     └──── two marked: an error that names both           └─ look ──────┘
//! ```
//!
//! Nova builds no server that is off: each runs for a moment. Its volumes are copies that cannot be written then, and what it does in that
//! moment comes to nothing.
//!
//! One that is to run at once, on volumes that are primary by now, is built the same way and is neither stopped nor locked. What is found up then was
//! begun before, when they may have been copies: it is stopped and started, for what it knows of its disks may be older than they are.

use super::{
    Nova, ensure::Patience, error::ServerError, mark::Mark, request::ServerRequest, server::Server,
    servers::Found, states::Status,
};
use crate::error::CloudError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A server whose answer was lost is looked for so many times as long as a call may take, before it is asked for again.
const LOST: u32 = 2;
/// So often is one asked for at most.
const SENT: u32 = 2;

/// How a stand-by rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Off, with its place on a host.
    Shutoff,
    /// On no host.
    Shelved,
    /// It does not: it is to serve.
    Running,
}

/// How we came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was there.
    Adopted,
    /// It was built now.
    Built,
}

/// A stand-by that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// As it was last seen.
    pub server: Server,
    /// How we came to it.
    pub how: How,
}

impl Nova {
    /// Has a stand-by there, at rest and locked, or running. Who calls this knows that its zone is not the one that serves: it stops what it finds
    /// running. What was found is not compared with what was asked for.
    ///
    /// # Errors
    /// See [`ServerError`]. What was begun is found and gone on with the next time.
    pub async fn ensure_standby(
        &self,
        new: &ServerRequest,
        mark: &Mark,
        rest: Rest,
        most: usize,
        patience: Patience,
    ) -> Result<Standby, ServerError> {
        let end = Instant::now() + patience.within.get();
        let mut new = new.clone();
        mark.write(&mut new.metadata);
        let search = Search {
            new: &new,
            mark,
            most,
            poll: patience.poll.get(),
            end,
        };
        let mut up = false;
        let found = self.find(mark, new.root(), &new.name, most);
        let (id, how) = match found.await? {
            Found::One(half) if is_half_built(&half) => {
                tracing::info!(server.id = %half.id, fault = ?half.fault, "a stand-by that failed before it ever ran is removed and built again");
                self.ensure_absent(&half.id, mark, patience.until(end))
                    .await?;
                self.build(&search).await?
            }
            Found::One(server) => {
                up = matches!(server.status, Status::Build | Status::Active);
                (server.id, How::Adopted)
            }
            Found::NameTaken(servers) => return Err(self.name_taken(&search, servers)),
            Found::None => self.build(&search).await?,
        };
        let server = match rest {
            Rest::Running => {
                if up {
                    self.ensure_stopped(&id, patience.until(end)).await?;
                }
                self.ensure_active(&id, patience.until(end)).await?
            }
            Rest::Shutoff | Rest::Shelved => {
                let server = self.at_rest(&id, rest, patience.until(end)).await?;
                self.lock_as_ours(&server, &format!("stand-by of {mark}"))
                    .await?;
                self.server(&id).await?
            }
        };
        Ok(Standby { server, how })
    }

    /// Has a server that we built gone, and its volumes left as they are. One that does not bear the mark is left alone.
    ///
    /// # Errors
    /// See [`ServerError`]; `NotOurs` where it is another's, `TooOld` where a volume would go with it and this Nova cannot be told otherwise.
    pub async fn ensure_absent(
        &self,
        id: &str,
        mark: &Mark,
        patience: Patience,
    ) -> Result<(), ServerError> {
        let end = Instant::now() + patience.within.get();
        loop {
            let server = match self
                .server_within(id, self.at.cloud.window_until(end))
                .await
            {
                Ok(server) => server,
                Err(CloudError::NotFound { .. }) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            // Of one that Nova cannot see now nothing is known: neither whose it is nor what would go with it.
            if server.is_hidden() {
                return Err(self.hidden(id).into());
            }
            if server.mark().as_ref() != Some(mark) {
                return Err(ServerError::NotOurs {
                    zone: self.zone(),
                    server: server.to_string(),
                    mark: mark.clone(),
                });
            }
            match self.let_go(&server).await {
                Ok(()) => return self.removed(id, patience.until(end)).await,
                // It went in between, or a volume was taken from it: what there is now is looked at anew.
                Err(ServerError::Cloud(CloudError::NotFound { .. })) if Instant::now() < end => {
                    sleep(patience.poll.get()).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// No volume goes with it, and it may be deleted.
    async fn let_go(&self, server: &Server) -> Result<(), ServerError> {
        self.keep_volumes(&server.id).await?;
        Ok(self.unlock_ours(server).await?)
    }

    async fn at_rest(
        &self,
        id: &str,
        rest: Rest,
        patience: Patience,
    ) -> Result<Server, ServerError> {
        let end = Instant::now() + patience.within.get();
        let server = self.ensure_stopped(id, patience).await?;
        // It is off, and no stand-by.
        if server.status == Status::Error {
            return Err(self.failed(&server));
        }
        match rest {
            Rest::Shutoff | Rest::Running => Ok(server),
            Rest::Shelved => self.ensure_offloaded(id, patience.until(end)).await,
        }
    }

    /// Asks for it, and looks for it where the answer is lost.
    async fn build(&self, search: &Search<'_>) -> Result<(String, How), ServerError> {
        let mut lost = false;
        for sent in 1..=SENT {
            let e = match self.create(search.new).await {
                Ok(made) => return Ok((made.id, How::Built)),
                Err(e) => e,
            };
            let lost_now = matches!(&e, ServerError::Cloud(c) if c.may_have_taken_effect());
            lost = lost || lost_now;
            // After a lost answer a refusal may come of the first one's success: its volumes are taken.
            if !lost {
                return Err(e);
            }
            tracing::info!(
                error = e.in_full(),
                "a server may have been made all the same: looking for it"
            );
            if let Some(server) = self.look_for(search).await? {
                return Ok((server.id, How::Built));
            }
            if !lost_now || sent == SENT {
                return Err(e);
            }
        }
        // Every turn above ends in one of the ways that return.
        Err(self.gone(&search.new.name, None))
    }

    async fn look_for(&self, search: &Search<'_>) -> Result<Option<Server>, ServerError> {
        let grace = self.at.cloud.config().timeout.get() * LOST;
        let until = search.end.min(Instant::now() + grace);
        loop {
            let Search {
                new, mark, most, ..
            } = *search;
            match self.find(mark, new.root(), &new.name, most).await {
                Ok(Found::One(server)) => return Ok(Some(*server)),
                Ok(Found::NameTaken(servers)) => return Err(self.name_taken(search, servers)),
                Ok(Found::None) if Instant::now() >= until => return Ok(None),
                // Whether it is there is not known as long as Nova does not show it.
                Err(e) if !e.is_passing() || Instant::now() >= search.end => return Err(e),
                Ok(Found::None) | Err(_) => {}
            }
            sleep(search.poll).await;
        }
    }

    fn name_taken(&self, search: &Search<'_>, servers: Vec<String>) -> ServerError {
        ServerError::NameTaken {
            zone: self.zone(),
            name: search.new.name.clone(),
            mark: search.mark.clone(),
            servers,
        }
    }
}

struct Search<'a> {
    new: &'a ServerRequest,
    mark: &'a Mark,
    most: usize,
    poll: Duration,
    end: Instant,
}

/// It failed, and nothing of it ever ran.
fn is_half_built(server: &Server) -> bool {
    server.status == Status::Error && server.launched_at.is_none() && server.task_state.is_none()
}
