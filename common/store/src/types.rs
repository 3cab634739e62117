//! What goes into the store and what comes out of it.

use crate::StoreError;
use serde::{Serialize, de::DeserializeOwned};

/// The most comparisons, and the most changes, of one transaction: etcd's own bound.
pub const MAX_TXN_OPS: usize = 128;
/// The largest value that is sent: below etcd's bound of 1.5 MiB for a whole request.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// A point in the store's history. Grows with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub i64);

impl Revision {
    /// The one after: where to watch from after a listing.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Names a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// One key as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// When the key came to be; a new one after each deletion. What a [`crate::Fence`] compares.
    pub create_revision: Revision,
    /// When it was last put.
    pub mod_revision: Revision,
    /// The lease that it lives under.
    pub lease: Option<LeaseId>,
}

impl KeyValue {
    /// Reads the value as JSON.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the key.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.value).map_err(|source| StoreError::Corrupt {
            key: self.key.clone(),
            source,
        })
    }
}

/// Several keys, all as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In the keys' order.
    pub items: Vec<KeyValue>,
    /// The store's revision at that moment.
    pub revision: Revision,
    /// Whether the limit cut it short: go on with [`crate::Store::list_after`].
    pub more: bool,
}

/// What a transaction asks for before it changes anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// There is no such key.
    Absent(String),
    /// The key came to be at that revision: it is the same one, whatever its value.
    CreateRevision(String, Revision),
    /// The key was last put at that revision: its value is the one that was read.
    ModRevision(String, Revision),
}

impl Compare {
    /// The key that it looks at.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::CreateRevision(key, _) | Self::ModRevision(key, _) => key,
        }
    }
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Vec<u8>,
        /// The lease that it is to live under; `None` takes it off any.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; one that is absent is no error.
    Delete {
        /// The key.
        key: String,
    },
    /// Deletes all keys that start with it.
    DeletePrefix {
        /// The prefix.
        prefix: String,
    },
}

impl Op {
    /// A put of a value as JSON.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where the value cannot be written as JSON.
    pub fn put_json<T: Serialize>(
        key: impl Into<String>,
        value: &T,
        lease: Option<LeaseId>,
    ) -> Result<Self, StoreError> {
        let key = key.into();
        match serde_json::to_vec(value) {
            Ok(value) => Ok(Self::Put { key, value, lease }),
            Err(e) => Err(StoreError::Invalid {
                what: format!("the value for {key} cannot be written as JSON: {e}"),
            }),
        }
    }
}

/// A transaction: all of `ops`, if all of `compares` hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is then done.
    pub ops: Vec<Op>,
}

impl Txn {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }
    /// Adds a change.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// The rules that etcd has for a transaction, so that both stores keep to them and say the same.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let bad = |what: String| Err(StoreError::Invalid { what });
        if self.compares.len() > MAX_TXN_OPS || self.ops.len() > MAX_TXN_OPS {
            return bad(format!(
                "a transaction has at most {MAX_TXN_OPS} comparisons and as many changes; this one has {} and {}",
                self.compares.len(),
                self.ops.len()
            ));
        }
        if self.compares.iter().any(|c| c.key().is_empty()) {
            return bad("a comparison has an empty key".to_owned());
        }
        for (i, op) in self.ops.iter().enumerate() {
            let (key, value) = match op {
                Op::Put { key, value, .. } => (key, value.len()),
                Op::Delete { key } => (key, 0),
                Op::DeletePrefix { prefix } => (prefix, 0),
            };
            if key.is_empty() {
                return bad("a change has an empty key".to_owned());
            }
            if value > MAX_VALUE_BYTES {
                return bad(format!(
                    "the value for {key} has {value} bytes, more than {MAX_VALUE_BYTES}"
                ));
            }
            // etcd has no order among the changes of one transaction, so a key may be put once and not also deleted.
            let Op::Put { key, .. } = op else { continue };
            let clash = self.ops.iter().enumerate().any(|(j, other)| match other {
                Op::Put { key: k, .. } => i != j && k == key,
                Op::Delete { key: k } => k == key,
                Op::DeletePrefix { prefix } => key.starts_with(prefix.as_str()),
            });
            if clash {
                return bad(format!(
                    "one transaction changes {key} twice, which has no order"
                ));
            }
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All comparisons held and all changes are made.
    Applied {
        /// The store's revision after it: each key put has it as its `mod_revision`.
        revision: Revision,
    },
    /// A comparison did not hold; nothing was changed.
    Refused {
        /// Those of the compared keys that exist, as of the refusal.
        found: Vec<KeyValue>,
    },
}

/// A lease's renewal, or what it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It lives on.
    Renewed {
        /// Whole seconds, counted by the store from the renewal's arrival.
        ttl: u32,
    },
    /// The lease has ended, and its keys with it.
    Gone,
}

/// A change under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// A key was put.
    Put(KeyValue),
    /// A key was deleted, or its lease ended.
    Deleted {
        /// The key.
        key: String,
        /// When.
        revision: Revision,
    },
    /// Changes before `revision` were missed (the store had compacted them): list again. What comes next is after it.
    Restarted {
        /// The store's revision now.
        revision: Revision,
    },
}
