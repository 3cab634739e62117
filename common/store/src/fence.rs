//! Fencing: a transaction of a key's owner compares that the key is still the one that it made.

use crate::{Compare, Revision, Store, StoreError, Txn, TxnOutcome};

/// A key that was made by its owner, and when. A key that was deleted and made again has another create revision, so a fence
/// never fits a successor's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The key.
    pub key: String,
    /// When its owner made it.
    pub create_revision: Revision,
}

impl Fence {
    /// The comparison that a transaction of the owner carries.
    #[must_use]
    pub fn compare(&self) -> Compare {
        Compare::CreateRevision(self.key.clone(), self.create_revision)
    }
}

/// What became of a fenced transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FencedOutcome {
    /// Applied.
    Applied {
        /// The store's revision after it.
        revision: Revision,
    },
    /// The fence held and another comparison did not: read again and decide anew.
    Refused {
        /// Those of the compared keys that exist, as of the refusal.
        found: Vec<crate::KeyValue>,
    },
    /// The key is gone or another's: its owner must stop. Nothing was changed.
    FenceLost,
}

impl Store {
    /// A transaction that also compares a fence.
    ///
    /// # Errors
    /// As [`Store::txn`].
    pub async fn fenced_txn(
        &self,
        fence: &Fence,
        mut txn: Txn,
    ) -> Result<FencedOutcome, StoreError> {
        txn.compares.push(fence.compare());
        match self.txn(txn).await? {
            TxnOutcome::Applied { revision } => Ok(FencedOutcome::Applied { revision }),
            TxnOutcome::Refused { found } => {
                let held = found
                    .iter()
                    .any(|kv| kv.key == fence.key && kv.create_revision == fence.create_revision);
                Ok(if held {
                    FencedOutcome::Refused { found }
                } else {
                    FencedOutcome::FenceLost
                })
            }
        }
    }
}
