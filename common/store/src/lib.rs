//! The fenced key-value store: etcd, and the same in process.
//!
//! Everything that Rekindle decides stands in etcd (see [`rekindle_common::keys`]), and every change is a transaction that
//! compares something: the leader's key, the record that was read, the absence of a lease. This crate is the only one that
//! speaks etcd.
//!
//! ```text
//!   Store ──┬── EtcdStore     one client per member, mutual TLS, a deadline on each call, moves on from a hung member
//!           └── MemoryStore   the same rules in process; outages are verbs on a handle
//!   election   who leads, and until when by its own clock
//!   fence      a key's create revision, compared in each transaction of its owner
//! ```
//!
//! What it is not: a lock. A [`Leadership`] says when it must be given up; what protects the data is that each transaction
//! compares its [`Fence`], so that a leader that slept past its lease changes nothing (hard case 3).

mod election;
mod error;
mod etcd;
mod fence;
mod memory;
#[cfg(feature = "testing")]
pub mod testing;
mod types;

pub use election::{Campaigned, Election, ElectionTiming, LeaderRecord, Leadership, Renewed};
pub use error::StoreError;
pub use etcd::{EtcdConfig, EtcdStore};
pub use fence::{Fence, FencedOutcome};
pub use memory::MemoryStore;
pub use rekindle_common::tls::TlsFiles;
pub use types::{
    Compare, KeyValue, LeaseId, Listing, MAX_TXN_OPS, MAX_VALUE_BYTES, Op, Renewal, Revision, Txn,
    TxnOutcome, WatchEvent,
};

/// A store handle. Cheap to clone; clones share connections.
///
/// Every call ends within the store's call deadline. An error that [`StoreError::outcome_unknown`] says of a change means:
/// it may have happened; read before deciding anything.
#[derive(Clone, Debug)]
pub enum Store {
    /// An etcd cluster.
    Etcd(EtcdStore),
    /// The same in this process.
    Memory(MemoryStore),
}

impl From<EtcdStore> for Store {
    fn from(s: EtcdStore) -> Self {
        Self::Etcd(s)
    }
}
impl From<MemoryStore> for Store {
    fn from(s: MemoryStore) -> Self {
        Self::Memory(s)
    }
}

/// A stream of changes under a prefix. Dropping it ends it.
#[derive(Debug)]
pub enum Watch {
    /// From etcd.
    Etcd(etcd::EtcdWatch),
    /// From memory.
    Memory(memory::MemoryWatch),
}

impl Watch {
    /// The next change. Never ends by itself: while the store is away it waits. Safe to cancel.
    pub async fn next(&mut self) -> WatchEvent {
        match self {
            Self::Etcd(w) => w.next().await,
            Self::Memory(w) => w.next().await,
        }
    }
}

impl Store {
    /// Reads one key, linearizably: what a majority agrees on now.
    ///
    /// # Errors
    /// [`StoreError`]; never a stale answer.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        match self {
            Self::Etcd(s) => s.get(key).await,
            Self::Memory(s) => s.get(key).await,
        }
    }

    /// Reads up to `limit` keys that start with `prefix`, in the keys' order, all as of one revision.
    ///
    /// # Errors
    /// [`StoreError`]; never a stale answer.
    pub async fn list(&self, prefix: &str, limit: u32) -> Result<Listing, StoreError> {
        self.list_after(prefix, None, limit).await
    }

    /// As [`Self::list`], from the first key after `after`: to go on where [`Listing::more`] was set.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        match self {
            Self::Etcd(s) => s.list(prefix, after, limit).await,
            Self::Memory(s) => s.list(prefix, after, limit).await,
        }
    }

    /// Applies all of a transaction's changes if all its comparisons hold, else none.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] where the answer was lost: it may have been applied. Any other error: it was not.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        match self {
            Self::Etcd(s) => s.txn(txn).await,
            Self::Memory(s) => s.txn(txn).await,
        }
    }

    /// Makes a lease that ends `ttl` whole seconds after its last renewal, and with it every key put under it.
    ///
    /// # Errors
    /// [`StoreError`]. Where it fails, a lease may have been made that nobody knows: it ends by itself.
    pub async fn grant(&self, ttl: u32) -> Result<LeaseId, StoreError> {
        match self {
            Self::Etcd(s) => s.grant(ttl).await,
            Self::Memory(s) => s.grant(ttl).await,
        }
    }

    /// Renews a lease, and makes sure that a majority stood behind the answer.
    ///
    /// Count the new time to live from the moment before this call: the store counts from its arrival, which is later.
    ///
    /// # Errors
    /// [`StoreError`]: take the lease as not renewed.
    pub async fn renew(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        match self {
            Self::Etcd(s) => s.renew(lease).await,
            Self::Memory(s) => s.renew(lease).await,
        }
    }

    /// How long a lease has left, without renewing it: to judge another holder's.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is known of it.
    pub async fn remaining(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        match self {
            Self::Etcd(s) => s.remaining(lease).await,
            Self::Memory(s) => s.remaining(lease).await,
        }
    }

    /// Ends a lease and deletes its keys. A lease that is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError`]: the lease may live on until its time ends.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        match self {
            Self::Etcd(s) => s.revoke(lease).await,
            Self::Memory(s) => s.revoke(lease).await,
        }
    }

    /// Watches a prefix for changes from `from` on (inclusive): pass a listing's revision, [`Revision::next`].
    ///
    /// Connecting happens in the background: the stream waits out an outage. Use the events to wake a loop that reads
    /// again, not as the only source.
    #[must_use]
    pub fn watch(&self, prefix: &str, from: Revision) -> Watch {
        match self {
            Self::Etcd(s) => Watch::Etcd(s.watch(prefix, from)),
            Self::Memory(s) => Watch::Memory(s.watch(prefix, from)),
        }
    }

    /// Lets go of the past up to `before` (inclusive): what keys hold now stays, and a watch from before it starts anew. Letting go of what
    /// is gone already is no error.
    ///
    /// # Errors
    /// [`StoreError`]: the past may be there still.
    pub async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        match self {
            Self::Etcd(s) => s.compact(before).await,
            Self::Memory(s) => s.compact_before(before).await,
        }
    }

    /// Whether a majority answers: a linearizable read of nothing.
    ///
    /// # Errors
    /// [`StoreError`] where it does not, in time.
    pub async fn healthy(&self) -> Result<(), StoreError> {
        match self {
            Self::Etcd(s) => s.healthy().await,
            Self::Memory(s) => s.healthy().await,
        }
    }
}
