//! Being leader, as the leader's work holds it.

use rekindle_store::{
    Fence, FencedOutcome, KeyValue, Leadership, Revision, Store, StoreError, Txn,
};
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A term of leadership. Clones are the same term.
#[derive(Debug, Clone)]
pub struct Lead {
    store: Store,
    fence: Fence,
    deadline: Arc<Mutex<Instant>>,
    over: CancellationToken,
}

/// Why something was not done in the leader's name.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// It leads no more: whoever gets this stops at once and sends nothing.
    #[error("this orchestrator leads no more")]
    Lost,
    /// The fence held, another comparison did not.
    #[error("a record was changed by another meanwhile")]
    Refused {
        /// The compared keys that exist.
        found: Vec<KeyValue>,
    },
    /// etcd did not do it, or did not say.
    #[error("the record was not written")]
    Store(#[source] StoreError),
}

impl Lead {
    /// Round after round, until the term is over. Whatever else a round comes to is no reason to make no more: `missed` says what was not
    /// done then.
    pub async fn rounds<F>(&self, every: Duration, missed: &str, round: impl Fn() -> F)
    where
        F: Future<Output = Result<(), LeadError>>,
    {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match round().await {
                Ok(()) => {}
                Err(LeadError::Lost) => return,
                Err(e @ (LeadError::Refused { .. } | LeadError::Store(_))) => {
                    tracing::debug!(error = %e, "{missed}");
                }
            }
        }
    }

    pub(super) fn new(store: Store, leadership: &Leadership) -> Self {
        Self {
            store,
            fence: leadership.fence().clone(),
            deadline: Arc::new(Mutex::new(leadership.deadline())),
            over: CancellationToken::new(),
        }
    }

    /// What each of its transactions compares.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether it may still act. To be asked right before each order that leaves this process: a process that was stopped
    /// past its lease finds out here, before its renewals do (hard case 3).
    ///
    /// # Errors
    /// [`LeadError::Lost`].
    pub fn check(&self) -> Result<(), LeadError> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over.is_cancelled() || Instant::now() >= deadline {
            return Err(LeadError::Lost);
        }
        Ok(())
    }

    /// A transaction that also compares the leader's key.
    ///
    /// # Errors
    /// [`LeadError`]; after `Lost` the term is over for all.
    pub async fn txn(&self, txn: Txn) -> Result<Revision, LeadError> {
        self.check()?;
        match self.store.fenced_txn(&self.fence, txn).await {
            Ok(FencedOutcome::Applied { revision }) => Ok(revision),
            Ok(FencedOutcome::Refused { found }) => Err(LeadError::Refused { found }),
            Ok(FencedOutcome::FenceLost) => {
                self.end();
                Err(LeadError::Lost)
            }
            Err(e) => Err(LeadError::Store(e)),
        }
    }

    /// The store, for reads.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns when the term is over.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    pub(super) fn extend(&self, deadline: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
    pub(super) fn end(&self) {
        self.over.cancel();
    }
}
