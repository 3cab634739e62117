//! Everything of the leases that stands in etcd: read as a whole, written in transactions that compare what was read.
//!
//! The etcd leases are the process's, one for each time to live in use, with a key for every group that is held. A key is
//! worth something only while it stands under the lease that is renewed, so each cycle renews first and reads the keys after.

use super::{
    clock::LeaseClock,
    keeper::{Event, Moment, Record},
};
use rekindle_common::{
    Generation, GroupName, PlanId, ZoneName,
    keys::{self, GROUPS},
    lease::{LeaseRecord, LeaseTiming, PrimaryRecord},
    plan::{PlanAtWork, PlanInSight},
    policy::{GroupSpec, IsolationResponse},
};
use rekindle_store::{
    Compare, KeyValue, LeaseId, Op, Renewal, Revision, Store, StoreError, Txn, TxnOutcome,
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::Mutex;

/// Keys read at once.
const PAGE: u32 = 1000;
/// More groups than anybody has; beyond it something else writes there.
const MOST_KEYS: usize = 100_000;

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    Absent,
    /// There, and not readable: nothing is decided on it.
    Corrupt,
    Is {
        value: T,
        revision: Revision,
        lease: Option<LeaseId>,
    },
}

impl<T: DeserializeOwned> Found<T> {
    fn read(kv: &KeyValue) -> Self {
        match kv.json() {
            Ok(value) => Self::Is {
                value,
                revision: kv.mod_revision,
                lease: kv.lease,
            },
            Err(error) => {
                // A person has to look: the group is neither served nor failed over meanwhile.
                tracing::error!(key = %kv.key, %error, "a record in etcd cannot be read");
                Self::Corrupt
            }
        }
    }
}

/// What stands in etcd of one group.
#[derive(Debug, Clone)]
pub(super) struct GroupKeys {
    pub(super) spec: Found<GroupSpec>,
    pub(super) primary: Found<PrimaryRecord>,
    pub(super) lease: Found<LeaseRecord>,
}

impl GroupKeys {
    fn absent() -> Self {
        Self {
            spec: Found::Absent,
            primary: Found::Absent,
            lease: Found::Absent,
        }
    }

    fn take_up(&mut self, name: &str, kv: &KeyValue) {
        match name {
            "spec" => self.spec = Found::read(kv),
            "primary" => self.primary = Found::read(kv),
            "lease" => self.lease = Found::read(kv),
            // The orchestrators' own.
            _ => {}
        }
    }

    /// Whether the zone has a part in the group.
    pub(super) fn concerns(&self, zone: &ZoneName) -> bool {
        let by_spec = match &self.spec {
            Found::Is { value, .. } => value.other(zone).is_some(),
            Found::Absent | Found::Corrupt => false,
        };
        let by_record = match &self.primary {
            Found::Is { value, .. } => value.zone == *zone,
            Found::Absent | Found::Corrupt => false,
        };
        by_spec || by_record
    }

    /// The record as `zone`'s keeper understands it; `None` where it cannot be read.
    pub(super) fn record(&self, zone: &ZoneName) -> Option<Record> {
        match &self.primary {
            Found::Absent => Some(Record::Absent),
            Found::Corrupt => None,
            Found::Is { value, .. } => {
                let generation = value.generation;
                Some(if value.zone == *zone {
                    Record::Ours { generation }
                } else {
                    Record::Theirs { generation }
                })
            }
        }
    }
}

/// All groups, as they stood at one revision.
#[derive(Debug)]
pub(super) struct Reading {
    /// When it was asked for.
    pub(super) began: Moment,
    pub(super) revision: Revision,
    pub(super) groups: BTreeMap<GroupName, GroupKeys>,
}

/// Whether another sidecar's key of this zone is taken over.
///
/// It is the zone that holds a lease; a key that goes from one of its sidecars to another never leaves the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adopt {
    /// Where its holder has missed two renewals, or is this sidecar before its restart.
    IfLate,
    /// Anyway: this sidecar was ordered to hold it.
    Now,
    /// Not at all, nor is a free one: it is only looked whether a peer holds it.
    Never,
}

/// How a group's lease is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) timing: LeaseTiming,
    pub(super) response: IsolationResponse,
}

impl Terms {
    pub(super) fn ttl(&self) -> u32 {
        // `LeaseTiming::check` allows 2 s to 10 m.
        u32::try_from(self.timing.ttl.get().as_secs()).unwrap_or(u32::MAX)
    }
}

/// How taking a lease ended; the events are the keeper's, in their order.
#[derive(Debug)]
pub(super) struct Taking {
    /// When it was begun.
    pub(super) began: Moment,
    /// The time to live, in seconds, that moments in what it grants are reckoned back from.
    pub(super) ttl: u32,
    /// The record, and the store's revision when it was read.
    pub(super) record: Option<(Record, Revision)>,
    /// What it grants.
    pub(super) granted: Option<Event>,
    /// The revision of this sidecar's own change.
    pub(super) changed: Option<Revision>,
    pub(super) end: TakeEnd,
}

#[derive(Debug)]
pub(super) enum TakeEnd {
    /// The key is this sidecar's.
    Taken,
    /// Another sidecar of this zone holds it.
    Peer { holder: String },
    /// Nobody does, and it was not to be taken.
    Free,
    /// The record does not name this zone under that generation.
    NotRecorded { record: Option<Record> },
    /// Something else changed the keys meanwhile: try again.
    Raced,
    /// The store did not answer, or refused.
    Failed(StoreError),
}

/// A key that is not as this sidecar would have it.
enum Peer {
    /// Take it over.
    Replace,
    /// Nothing can be done about it.
    Leave,
    /// Stand by: what the holder's lease is worth to this sidecar.
    Stand { granted: Event },
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    id: LeaseId,
    sent: Moment,
}

/// This sidecar's hand in etcd.
#[derive(Debug)]
pub(super) struct Keys {
    store: Store,
    zone: ZoneName,
    /// The sidecar's name, the same after a restart.
    name: String,
    /// The name and the instance: what stands in the key.
    holder: String,
    clock: LeaseClock,
    leases: Mutex<BTreeMap<u32, Granted>>,
}

impl Keys {
    pub(super) fn new(
        store: Store,
        zone: ZoneName,
        name: &str,
        instance: &str,
        clock: LeaseClock,
    ) -> Self {
        Self {
            store,
            zone,
            name: name.to_owned(),
            holder: format!("{name}/{instance}"),
            clock,
            leases: Mutex::default(),
        }
    }

    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// Now, by the clock that moments here are of.
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The process's lease of that time to live, renewed at `since` or later; a new one where it is gone.
    ///
    /// The moment is that before the renewal was sent.
    pub(super) async fn lease(
        &self,
        ttl: u32,
        since: Moment,
    ) -> Result<(LeaseId, Moment), StoreError> {
        let mut leases = self.leases.lock().await;
        if let Some(granted) = leases.get_mut(&ttl) {
            if granted.sent >= since {
                return Ok((granted.id, granted.sent));
            }
            let sent = self.clock.now();
            match self.store.renew(granted.id).await? {
                Renewal::Renewed { .. } => {
                    granted.sent = sent;
                    return Ok((granted.id, sent));
                }
                Renewal::Gone => {
                    leases.remove(&ttl);
                }
            }
        }
        let sent = self.clock.now();
        let id = self.store.grant(ttl).await?;
        leases.insert(ttl, Granted { id, sent });
        Ok((id, sent))
    }

    /// All groups, as of one listing each page.
    pub(super) async fn read_all(&self) -> Result<Reading, StoreError> {
        let began = self.clock.now();
        let mut groups: BTreeMap<GroupName, GroupKeys> = BTreeMap::new();
        let (mut after, mut read) = (None::<String>, 0);
        let mut revision = None;
        loop {
            let page = self
                .store
                .list_after(GROUPS, after.as_deref(), PAGE)
                .await?;
            for kv in &page.items {
                let Some((group, name)) = split(&kv.key) else {
                    continue;
                };
                groups
                    .entry(group)
                    .or_insert_with(GroupKeys::absent)
                    .take_up(name, kv);
            }
            // The oldest page tells how old it all is.
            let revision = *revision.get_or_insert(page.revision);
            read += page.items.len();
            after = page.items.last().map(|kv| kv.key.clone());
            if !page.more || after.is_none() {
                return Ok(Reading {
                    began,
                    revision,
                    groups,
                });
            }
            if read > MOST_KEYS {
                return Err(StoreError::Protocol {
                    op: "list",
                    why: format!("more than {MOST_KEYS} keys under {GROUPS}"),
                });
            }
        }
    }

    async fn read_group(&self, group: &GroupName) -> Result<(GroupKeys, Revision), StoreError> {
        let prefix = format!("{GROUPS}{group}/");
        let page = self.store.list(&prefix, PAGE).await?;
        let mut found = GroupKeys::absent();
        for kv in &page.items {
            if let Some((_, name)) = split(&kv.key) {
                found.take_up(name, kv);
            }
        }
        Ok((found, page.revision))
    }

    /// Whether a plan is at work on a group, now. One whose record cannot be read is unknown: what it does to whom is not known.
    pub(super) async fn plan(&self, group: &GroupName) -> Result<PlanInSight, StoreError> {
        let Some(active) = self.store.get(&keys::group_active_plan(group)).await? else {
            return Ok(PlanInSight::None);
        };
        let Found::Is { value: id, .. } = Found::<PlanId>::read(&active) else {
            return Ok(PlanInSight::Unknown);
        };
        // It is written with the claim, and stays.
        let Some(record) = self.store.get(&keys::plan(&id)).await? else {
            return Ok(PlanInSight::Unknown);
        };
        Ok(match Found::<PlanAtWork>::read(&record) {
            Found::Is { value, .. } => PlanInSight::AtWork(value),
            Found::Absent | Found::Corrupt => PlanInSight::Unknown,
        })
    }

    /// Whether a group's key is this sidecar's, under the lease `id`.
    pub(super) fn is_ours(&self, found: &Found<LeaseRecord>, id: Option<LeaseId>) -> bool {
        match found {
            Found::Is { value, lease, .. } => {
                value.holder == self.holder && lease.is_some() && *lease == id
            }
            Found::Absent | Found::Corrupt => false,
        }
    }

    /// Whether a group's key is this sidecar's under any lease.
    pub(super) fn is_of_us(&self, found: &Found<LeaseRecord>) -> bool {
        match found {
            Found::Is { value, .. } => value.holder == self.holder,
            Found::Absent | Found::Corrupt => false,
        }
    }

    /// Takes the group's lease on these terms, or changes the terms on which it is held.
    pub(super) async fn take(
        &self,
        group: &GroupName,
        generation: Generation,
        adopt: Adopt,
        terms: Terms,
    ) -> Taking {
        let mut taking = Taking {
            began: self.clock.now(),
            ttl: terms.ttl(),
            record: None,
            granted: None,
            changed: None,
            end: TakeEnd::Raced,
        };
        taking.end = match self
            .try_take(group, generation, adopt, terms, &mut taking)
            .await
        {
            Ok(end) => end,
            Err(e) => TakeEnd::Failed(e),
        };
        taking
    }

    async fn try_take(
        &self,
        group: &GroupName,
        generation: Generation,
        adopt: Adopt,
        terms: Terms,
        taking: &mut Taking,
    ) -> Result<TakeEnd, StoreError> {
        // First the lease, then the keys: a key that is seen under it lives at least as long as it.
        let recent = taking.began.saturating_sub(terms.timing.renew_every.get());
        let (id, sent) = self.lease(terms.ttl(), recent).await?;
        let (found, read_at) = self.read_group(group).await?;
        let record = found.record(&self.zone);
        taking.record = record.map(|r| (r, read_at));
        let Found::Is { revision, .. } = found.primary else {
            return Ok(TakeEnd::NotRecorded { record });
        };
        if record != Some(Record::Ours { generation }) {
            return Ok(TakeEnd::NotRecorded { record });
        }
        let key = keys::group_lease(group);
        let compare = match &found.lease {
            Found::Absent if adopt == Adopt::Never => return Ok(TakeEnd::Free),
            Found::Absent => Compare::Absent(key.clone()),
            Found::Corrupt => {
                return Ok(TakeEnd::Peer {
                    holder: "a record that cannot be read".to_owned(),
                });
            }
            Found::Is {
                value,
                revision,
                lease,
            } => {
                if *value == self.record(generation, terms) && *lease == Some(id) {
                    taking.granted = Some(Event::Taken { sent, generation });
                    return Ok(TakeEnd::Taken);
                }
                match self.judge(value, *lease, adopt, terms).await? {
                    Peer::Replace if adopt == Adopt::Never => return Ok(TakeEnd::Free),
                    Peer::Replace => Compare::ModRevision(key.clone(), *revision),
                    Peer::Leave => {
                        let holder = value.holder.clone();
                        return Ok(TakeEnd::Peer { holder });
                    }
                    Peer::Stand { granted } => {
                        taking.granted = Some(granted);
                        let holder = value.holder.clone();
                        return Ok(TakeEnd::Peer { holder });
                    }
                }
            }
        };
        // The key may be on another lease, or its holder have a right from elsewhere. Neither lasts longer than one that was asked for
        // when this was begun (see `Keeper::set_policy`), so this lease must not end before that.
        let (id, sent) = self.lease(terms.ttl(), taking.began).await?;
        let txn = Txn::new()
            .when(Compare::ModRevision(keys::group_primary(group), revision))
            .when(compare)
            .then(Op::put_json(
                key,
                &self.record(generation, terms),
                Some(id),
            )?);
        match self.store.txn(txn).await {
            Ok(TxnOutcome::Applied { revision }) => {
                taking.granted = Some(Event::Taken { sent, generation });
                taking.changed = Some(revision);
                Ok(TakeEnd::Taken)
            }
            Ok(TxnOutcome::Refused { .. }) => Ok(TakeEnd::Raced),
            Err(e @ StoreError::LeaseGone { .. }) => {
                self.leases.lock().await.remove(&terms.ttl());
                Err(e)
            }
            Err(e) => Err(e),
        }
    }

    fn record(&self, generation: Generation, terms: Terms) -> LeaseRecord {
        LeaseRecord {
            zone: self.zone.clone(),
            generation,
            holder: self.holder.clone(),
            isolation_response: terms.response,
            ttl: terms.timing.ttl,
        }
    }

    /// What is to be done about a key that is not as this sidecar would have it.
    async fn judge(
        &self,
        there: &LeaseRecord,
        lease: Option<LeaseId>,
        adopt: Adopt,
        terms: Terms,
    ) -> Result<Peer, StoreError> {
        if there.zone != self.zone {
            // Against the record: only a person's hand makes such a key. It ends by itself, or a person mends it.
            tracing::error!(zone = %self.zone, holder = %there.holder, "another zone's lease stands under our record");
            return Ok(Peer::Leave);
        }
        let of_our_name = there.holder.split_once('/').map(|(name, _)| name) == Some(&*self.name);
        let Some(lease) = lease.filter(|_| adopt != Adopt::Now && !of_our_name) else {
            return Ok(Peer::Replace);
        };
        let asked = self.clock.now();
        let Renewal::Renewed { ttl: left } = self.store.remaining(lease).await? else {
            return Ok(Peer::Replace);
        };
        let left = Duration::from_secs(u64::from(left));
        let late = left + late_by(terms.timing) < there.ttl.get();
        // Too little to stand by with: this sidecar would demote what the zone still holds.
        let short = left <= terms.timing.demote_budget.get();
        if late || short {
            return Ok(Peer::Replace);
        }
        // As if this sidecar had renewed it itself when it was renewed last.
        let sent = (asked + left).saturating_sub(terms.timing.ttl.get());
        let generation = there.generation;
        Ok(Peer::Stand {
            granted: Event::HeldByPeer { sent, generation },
        })
    }

    /// Deletes the group's key where it is this sidecar's.
    pub(super) async fn release(&self, group: &GroupName) -> Result<(), StoreError> {
        let key = keys::group_lease(group);
        let Some(kv) = self.store.get(&key).await? else {
            return Ok(());
        };
        let found = Found::<LeaseRecord>::read(&kv);
        if !self.is_of_us(&found) {
            return Ok(());
        }
        let txn = Txn::new()
            .when(Compare::ModRevision(key.clone(), kv.mod_revision))
            .then(Op::Delete { key });
        match self.store.txn(txn).await? {
            // Refused: it is another's by now.
            TxnOutcome::Applied { .. } | TxnOutcome::Refused { .. } => Ok(()),
        }
    }
}

/// A holder that has missed two renewals has less than its time to live without this.
fn late_by(timing: LeaseTiming) -> Duration {
    // etcd cuts what is left off to whole seconds.
    timing.renew_every.get() * 2 + Duration::from_secs(1)
}

/// `/rekindle/v1/groups/<group>/<name>` in its parts.
fn split(key: &str) -> Option<(GroupName, &str)> {
    let (group, name) = key.strip_prefix(GROUPS)?.split_once('/')?;
    Some((group.parse().ok()?, name))
}
