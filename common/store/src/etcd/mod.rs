//! The store in etcd: one connection for each member, tried one after the other.
//!
//! etcd-client's own balancer would spread calls over all members and hang on one that is stopped. Here each call goes to the
//! first member in the configured order that answered lately (so the local one comes first), has a time limit for each
//! member, and moves on where that is safe: always for reads and renewals, and for a transaction only while it is certain
//! that nothing was sent.

mod calls;
mod config;
mod members;
mod watch;

use crate::{KeyValue, LeaseId, Listing, Renewal, Revision, StoreError, Txn, TxnOutcome};
pub use config::EtcdConfig;
use members::Members;
use std::{fmt, sync::Arc};
pub(crate) use watch::EtcdWatch;

/// A handle on an etcd cluster.
#[derive(Clone)]
pub struct EtcdStore {
    members: Arc<Members>,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Reads the certificates and makes a connection for each member; none is contacted yet.
    ///
    /// # Errors
    /// [`StoreError::Config`].
    pub async fn connect(config: &EtcdConfig) -> Result<Self, StoreError> {
        Ok(Self {
            members: Arc::new(Members::new(config).await?),
        })
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.members.ask("get", |c| calls::get(c, key)).await
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        self.members
            .ask("list", |c| calls::list(c, prefix, after, limit))
            .await
    }

    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.members.change("txn", |c| calls::txn(c, &txn)).await
    }

    pub(crate) async fn grant(&self, ttl: u32) -> Result<LeaseId, StoreError> {
        // A second grant after a lost answer is harmless: a lease without keys ends by itself.
        self.members.ask("grant", |c| calls::grant(c, ttl)).await
    }

    pub(crate) async fn renew(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        self.members.ask("renew", |c| calls::renew(c, lease)).await
    }

    pub(crate) async fn remaining(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        self.members
            .ask("remaining", |c| calls::remaining(c, lease))
            .await
    }

    pub(crate) async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        let revoked = self
            .members
            .ask("revoke", |c| calls::revoke(c, lease))
            .await;
        match revoked {
            Err(StoreError::LeaseGone { .. }) => Ok(()),
            other => other,
        }
    }

    pub(crate) async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.members
            .ask("compact", |c| calls::compact(c, before))
            .await
    }

    pub(crate) async fn healthy(&self) -> Result<(), StoreError> {
        self.members.ask("healthy", calls::quorum).await
    }

    pub(crate) fn watch(&self, prefix: &str, from: Revision) -> EtcdWatch {
        EtcdWatch::start(Arc::clone(&self.members), prefix.to_owned(), from)
    }
}
