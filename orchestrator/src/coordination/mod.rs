//! Who leads, and what a site promises to a zone that etcd has lost.
//!
//! [`Coordinator`] runs the election for ever and says by a watch how this site stands. A [`Lead`] is what the leader's work
//! holds: it is asked before every order, goes through every write, and is cancelled when it is over.

pub mod failsafe;
mod lead;

pub use lead::{Lead, LeadError};

use rekindle_store::{Campaigned, Election, LeaderRecord, Leadership, Renewed, Store};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How this site stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// etcd does not say, or nobody leads yet.
    Unknown,
    /// Another leads.
    Follower {
        /// Who.
        leader: LeaderRecord,
    },
    /// This site leads.
    Leader {
        /// Under what.
        lead: Lead,
    },
}

/// One site's part in the election.
#[derive(Debug)]
pub struct Coordinator {
    election: Election,
    store: Store,
    /// Between two campaigns.
    campaign_every: Duration,
    /// Between two renewals.
    renew_every: Duration,
    standing: watch::Sender<Standing>,
}

impl Coordinator {
    /// A candidate. `renew_every` should fit at least three times into the election's ttl less its safety.
    #[must_use]
    pub fn new(
        election: Election,
        store: Store,
        campaign_every: Duration,
        renew_every: Duration,
    ) -> Self {
        Self {
            election,
            store,
            campaign_every,
            renew_every,
            standing: watch::Sender::new(Standing::Unknown),
        }
    }

    /// How this site stands, from now on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Campaigns, leads, campaigns, until cancelled; then resigns, so that another may lead at once.
    pub async fn run(self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let campaigned = tokio::select! {
                c = self.election.campaign() => c,
                () = cancel.cancelled() => return,
            };
            match campaigned {
                Ok(Campaigned::Won(leadership)) => {
                    self.lead(leadership, &cancel).await;
                    continue;
                }
                Ok(Campaigned::Lost { leader }) => {
                    self.standing.send_replace(Standing::Follower { leader });
                }
                Err(e) => {
                    tracing::debug!(error = %e, "no leader is known");
                    self.standing.send_replace(Standing::Unknown);
                }
            }
            tokio::select! {
                () = sleep(self.campaign_every) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    async fn lead(&self, mut leadership: Leadership, cancel: &CancellationToken) {
        let lead = Lead::new(self.store.clone(), &leadership);
        tracing::info!(
            leader.revision = lead.fence().create_revision.0,
            "this site leads"
        );
        self.standing
            .send_replace(Standing::Leader { lead: lead.clone() });
        let resigned = self.hold(&mut leadership, &lead, cancel).await;
        // First nobody here acts any more, then others may.
        lead.end();
        self.standing.send_replace(Standing::Unknown);
        tracing::info!("this site leads no more");
        if resigned == Held::Cancelled
            && let Err(e) = leadership.resign(&self.store).await
        {
            tracing::debug!(error = %e, "could not resign; the lease ends by itself");
        }
    }

    /// Renews until it is over.
    async fn hold(
        &self,
        leadership: &mut Leadership,
        lead: &Lead,
        cancel: &CancellationToken,
    ) -> Held {
        loop {
            tokio::select! {
                () = sleep(self.renew_every) => {}
                // A fenced transaction found the fence gone before we did.
                () = lead.ended() => return Held::Lost,
                () = cancel.cancelled() => return Held::Cancelled,
            }
            let deadline = leadership.deadline();
            let renewed = tokio::select! {
                r = leadership.renew(&self.store) => r,
                () = sleep_until(deadline) => return Held::Lost,
                () = cancel.cancelled() => return Held::Cancelled,
            };
            match renewed {
                Ok(Renewed::Held) => lead.extend(leadership.deadline()),
                Ok(Renewed::Lost) => return Held::Lost,
                Err(e) => {
                    tracing::debug!(error = %e, "the leader's lease was not renewed");
                    if !leadership.valid_now(Instant::now()) {
                        return Held::Lost;
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Lost,
    Cancelled,
}

#[cfg(test)]
mod tests;
