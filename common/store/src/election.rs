//! Who leads: a key under a lease, and the leader's own view of how long it may act.
//!
//! ```text
//!   leader:   |-- renew (sent) ----------------- sent + ttl - safety: stops acting by itself
//!   etcd:         |-- renew (arrives) --------------------- arrival + ttl: the key is gone, another may win
//! ```
//!
//! A leader that was paused past its lease (hard case 3) finds [`Leadership::valid_now`] false before it acts; where it looked
//! before the pause and writes after it, the transaction's [`Fence`] is refused. Storage calls between carry a generation.

use crate::{
    Compare, Fence, FencedOutcome, KeyValue, LeaseId, Op, Renewal, Store, StoreError, Txn,
    TxnOutcome,
};
use rekindle_common::{SiteName, keys};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// Who leads. JSON at [`keys::LEADER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Where it runs.
    pub site: SiteName,
    /// New with each start of the program.
    pub instance: String,
}

/// The leader lease's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionTiming {
    /// Whole seconds that etcd keeps the key after the last renewal.
    pub ttl: u32,
    /// Kept back from it: the leader stops acting that long before its lease can end.
    pub safety: Duration,
}

impl Default for ElectionTiming {
    fn default() -> Self {
        Self {
            ttl: 10,
            safety: Duration::from_secs(2),
        }
    }
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Election {
    store: Store,
    me: LeaderRecord,
    timing: ElectionTiming,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Campaigned {
    /// This candidate leads.
    Won(Leadership),
    /// Another does.
    Lost {
        /// Who.
        leader: LeaderRecord,
    },
}

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It leads on.
    Held,
    /// The lease is gone: it leads no more.
    Lost,
}

impl Election {
    /// A candidate under that name.
    #[must_use]
    pub fn new(store: Store, me: LeaderRecord, timing: ElectionTiming) -> Self {
        Self { store, me, timing }
    }

    /// Who leads now, by etcd's word.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leader(&self) -> Result<Option<LeaderRecord>, StoreError> {
        match self.store.get(keys::LEADER).await? {
            Some(kv) => kv.json().map(Some),
            None => Ok(None),
        }
    }

    /// Tries once to become leader. Try again when the leader's key is deleted, and every so often anyway.
    ///
    /// A key of this very instance (from an attempt whose answer was lost) is taken up again.
    ///
    /// # Errors
    /// [`StoreError`]; whatever it was, calling again is safe.
    pub async fn campaign(&self) -> Result<Campaigned, StoreError> {
        // Look first: a lease for each hopeless attempt would fill etcd with leases.
        if let Some(kv) = self.store.get(keys::LEADER).await? {
            return self.taken(&kv).await;
        }
        let sent = Instant::now();
        let lease = self.store.grant(self.timing.ttl).await?;
        let txn = Txn::new()
            .when(Compare::Absent(keys::LEADER.to_owned()))
            .then(Op::put_json(keys::LEADER, &self.me, Some(lease))?);
        match self.store.txn(txn).await {
            Ok(TxnOutcome::Applied { revision }) => Ok(Campaigned::Won(Leadership {
                fence: Fence {
                    key: keys::LEADER.to_owned(),
                    create_revision: revision,
                },
                lease,
                deadline: self.deadline(sent, self.timing.ttl),
                safety: self.timing.safety,
            })),
            Ok(TxnOutcome::Refused { found }) => {
                self.give_back(lease).await;
                match found.first() {
                    Some(kv) => self.taken(kv).await,
                    None => Err(StoreError::Protocol {
                        op: "campaign",
                        why: "the leader's key was refused as present and not found".to_owned(),
                    }),
                }
            }
            // Unknown: the next attempt finds our key and takes it up, or finds another's; an unused lease ends by itself.
            Err(e) => {
                if !e.outcome_unknown() {
                    self.give_back(lease).await;
                }
                Err(e)
            }
        }
    }

    /// The key exists: is it another's, or ours from before?
    async fn taken(&self, kv: &KeyValue) -> Result<Campaigned, StoreError> {
        let leader: LeaderRecord = kv.json()?;
        let Some(lease) = kv.lease.filter(|_| leader == self.me) else {
            return Ok(Campaigned::Lost { leader });
        };
        let mut mine = Leadership {
            fence: Fence {
                key: kv.key.clone(),
                create_revision: kv.create_revision,
            },
            lease,
            // Nothing is known of its age: not valid until the renewal says so.
            deadline: Instant::now(),
            safety: self.timing.safety,
        };
        match mine.renew(&self.store).await? {
            Renewed::Held => Ok(Campaigned::Won(mine)),
            Renewed::Lost => Err(StoreError::Unavailable {
                op: "campaign",
                why: "the leader's lease has just ended".to_owned(),
            }),
        }
    }

    async fn give_back(&self, lease: LeaseId) {
        if let Err(e) = self.store.revoke(lease).await {
            tracing::debug!(error = %e, "an unused lease was not given back; it ends by itself");
        }
    }

    fn deadline(&self, sent: Instant, ttl: u32) -> Instant {
        deadline(sent, ttl, self.timing.safety)
    }
}

fn deadline(sent: Instant, ttl: u32, safety: Duration) -> Instant {
    sent + Duration::from_secs(u64::from(ttl)).saturating_sub(safety)
}

/// Being leader: until its deadline, and only through its fence.
#[derive(Debug)]
pub struct Leadership {
    fence: Fence,
    lease: LeaseId,
    deadline: Instant,
    safety: Duration,
}

impl Leadership {
    /// What every transaction of this leader compares.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
    /// The lease under it; keys that should vanish with the leader may be put under it too.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }
    /// Until when it may act, by its own monotonic clock.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
    /// Whether it may act at `now`. Ask before every order that leaves this process, not once for a plan.
    #[must_use]
    pub fn valid_now(&self, now: Instant) -> bool {
        now < self.deadline
    }

    /// Renews the lease; the deadline counts from before the call.
    ///
    /// # Errors
    /// [`StoreError`]: not renewed; the deadline stands as it was.
    pub async fn renew(&mut self, store: &Store) -> Result<Renewed, StoreError> {
        let sent = Instant::now();
        match store.renew(self.lease).await? {
            Renewal::Renewed { ttl } => {
                self.deadline = self.deadline.max(deadline(sent, ttl, self.safety));
                Ok(Renewed::Held)
            }
            Renewal::Gone => {
                self.deadline = self.deadline.min(Instant::now());
                Ok(Renewed::Lost)
            }
        }
    }

    /// A transaction of this leader: nothing is sent past the deadline, and the fence is compared in it.
    ///
    /// # Errors
    /// As [`Store::txn`].
    pub async fn txn(&self, store: &Store, txn: Txn) -> Result<FencedOutcome, StoreError> {
        if self.valid_now(Instant::now()) {
            store.fenced_txn(&self.fence, txn).await
        } else {
            Ok(FencedOutcome::FenceLost)
        }
    }

    /// Gives leadership up, so that another can win at once.
    ///
    /// # Errors
    /// [`StoreError`]: the key stays until its lease ends.
    pub async fn resign(self, store: &Store) -> Result<(), StoreError> {
        store.revoke(self.lease).await
    }
}
