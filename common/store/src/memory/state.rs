//! The store's data, and etcd's rules on it. Pure: the time is an argument.

use super::Look;
use crate::{
    Compare, KeyValue, LeaseId, Listing, Op, Renewal, Revision, StoreError, Txn, TxnOutcome,
    WatchEvent,
};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::Duration,
};
use tokio::time::Instant;

/// How many changes a watch may be behind before it starts anew.
const HISTORY: usize = 10_000;

struct Lease {
    ttl: u32,
    ends: Instant,
}

struct Change {
    revision: Revision,
    key: String,
    /// `None`: deleted.
    put: Option<KeyValue>,
}

pub(super) struct State {
    keys: BTreeMap<String, KeyValue>,
    revision: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: i64,
    history: VecDeque<Change>,
    /// Changes up to this revision are forgotten.
    compacted: Revision,
    majority: bool,
    pub(super) full: bool,
}

fn ends(now: Instant, ttl: u32) -> Instant {
    now + Duration::from_secs(u64::from(ttl))
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            // As a new etcd: the first change gets revision 2.
            revision: Revision(1),
            leases: BTreeMap::new(),
            last_lease: 0,
            history: VecDeque::new(),
            compacted: Revision(0),
            majority: true,
            full: false,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }
    pub(super) fn has_majority(&self) -> bool {
        self.majority
    }
    pub(super) fn lose_majority(&mut self) {
        self.majority = false;
    }
    pub(super) fn regain_majority(&mut self, now: Instant) {
        if !self.majority {
            self.majority = true;
            for lease in self.leases.values_mut() {
                lease.ends = ends(now, lease.ttl);
            }
        }
    }
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }

    pub(super) fn compact_before(&mut self, before: Revision) {
        self.history.retain(|change| change.revision > before);
        self.compacted = self.compacted.max(before.min(self.revision));
    }

    /// Ends every lease whose time is over; true where that changed a key.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.revision;
        let over: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, l)| l.ends <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.revoke(id);
        }
        self.revision != before
    }

    pub(super) fn get(&self, key: &str) -> Option<KeyValue> {
        self.keys.get(key).cloned()
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Listing {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut matching = self
            .keys
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, kv)| kv)
            .take_while(|kv| kv.key.starts_with(prefix));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let items = matching.by_ref().take(limit).cloned().collect();
        Listing {
            items,
            revision: self.revision,
            more: matching.next().is_some(),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found = self.keys.get(compare.key());
        match compare {
            Compare::Absent(_) => found.is_none(),
            // etcd compares an absent key as revision 0.
            Compare::CreateRevision(_, r) => {
                found.map_or(Revision(0), |kv| kv.create_revision) == *r
            }
            Compare::ModRevision(_, r) => found.map_or(Revision(0), |kv| kv.mod_revision) == *r,
        }
    }

    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, StoreError> {
        let puts = || {
            txn.ops.iter().filter_map(|op| match op {
                Op::Put { lease, .. } => Some(*lease),
                Op::Delete { .. } | Op::DeletePrefix { .. } => None,
            })
        };
        if self.full && puts().next().is_some() {
            return Err(StoreError::Full);
        }
        if !txn.compares.iter().all(|c| self.holds(c)) {
            let mut found: Vec<KeyValue> = Vec::new();
            for c in &txn.compares {
                if let Some(kv) = self.keys.get(c.key())
                    && !found.iter().any(|f| f.key == kv.key)
                {
                    found.push(kv.clone());
                }
            }
            return Ok(TxnOutcome::Refused { found });
        }
        if let Some(gone) = puts()
            .flatten()
            .find(|lease| !self.leases.contains_key(lease))
        {
            return Err(StoreError::LeaseGone { lease: Some(gone) });
        }
        let revision = self.revision.next();
        let mut changed = false;
        for op in &txn.ops {
            changed |= match op {
                Op::Put { key, value, lease } => self.put(key, value, *lease, revision),
                Op::Delete { key } => self.delete(key, revision),
                Op::DeletePrefix { prefix } => {
                    let keys: Vec<String> = self
                        .keys
                        .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
                        .take_while(|(k, _)| k.starts_with(prefix.as_str()))
                        .map(|(k, _)| k.clone())
                        .collect();
                    for key in &keys {
                        self.delete(key, revision);
                    }
                    !keys.is_empty()
                }
            };
        }
        if changed {
            self.revision = revision;
        }
        Ok(TxnOutcome::Applied {
            revision: self.revision,
        })
    }

    fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>, at: Revision) -> bool {
        let kv = KeyValue {
            key: key.to_owned(),
            value: value.to_vec(),
            create_revision: self.keys.get(key).map_or(at, |old| old.create_revision),
            mod_revision: at,
            lease,
        };
        self.remember(key, Some(kv.clone()), at);
        self.keys.insert(key.to_owned(), kv);
        true
    }

    fn delete(&mut self, key: &str, at: Revision) -> bool {
        let there = self.keys.remove(key).is_some();
        if there {
            self.remember(key, None, at);
        }
        there
    }

    fn remember(&mut self, key: &str, put: Option<KeyValue>, revision: Revision) {
        self.history.push_back(Change {
            revision,
            key: key.to_owned(),
            put,
        });
        while self.history.len() > HISTORY {
            if let Some(old) = self.history.pop_front() {
                self.compacted = old.revision;
            }
        }
    }

    pub(super) fn grant(&mut self, ttl: u32, now: Instant) -> Result<LeaseId, StoreError> {
        if self.full {
            return Err(StoreError::Full);
        }
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let ends = ends(now, ttl);
        self.leases.insert(id, Lease { ttl, ends });
        Ok(id)
    }

    pub(super) fn renew(&mut self, id: LeaseId, now: Instant) -> Renewal {
        match self.leases.get_mut(&id) {
            Some(lease) => {
                lease.ends = ends(now, lease.ttl);
                Renewal::Renewed { ttl: lease.ttl }
            }
            None => Renewal::Gone,
        }
    }

    pub(super) fn remaining(&self, id: LeaseId, now: Instant) -> Renewal {
        let left = self
            .leases
            .get(&id)
            .map(|l| l.ends.saturating_duration_since(now).as_secs())
            .and_then(|left| u32::try_from(left).ok())
            .filter(|left| *left > 0);
        match left {
            Some(ttl) => Renewal::Renewed { ttl },
            None => Renewal::Gone,
        }
    }

    pub(super) fn revoke(&mut self, id: LeaseId) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let keys: Vec<String> = self
            .keys
            .values()
            .filter(|kv| kv.lease == Some(id))
            .map(|kv| kv.key.clone())
            .collect();
        if keys.is_empty() {
            return;
        }
        let revision = self.revision.next();
        for key in keys {
            self.delete(&key, revision);
        }
        self.revision = revision;
    }

    /// The first change under `prefix` from `from` on, of which `seen` at that very revision were given already.
    pub(super) fn look(&self, prefix: &str, from: Revision, seen: usize) -> Look {
        if from <= self.compacted {
            let revision = self.revision;
            return Look::Event(WatchEvent::Restarted { revision }, revision.next(), 0);
        }
        let found = self
            .history
            .iter()
            .filter(|c| c.revision >= from && c.key.starts_with(prefix))
            .nth(seen);
        let Some(change) = found else {
            return Look::Nothing(self.leases.values().map(|l| l.ends).min());
        };
        let event = match &change.put {
            Some(kv) => WatchEvent::Put(kv.clone()),
            None => WatchEvent::Deleted {
                key: change.key.clone(),
                revision: change.revision,
            },
        };
        let seen = if change.revision == from { seen + 1 } else { 1 };
        Look::Event(event, change.revision, seen)
    }
}
