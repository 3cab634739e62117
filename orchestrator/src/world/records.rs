//! What stands in etcd, read once and checked.

use crate::wire::{Maintenance, Problem};
use rekindle_common::{
    ApiError, GroupName, PlanId, SiteName, keys,
    lease::{LeaseRecord, PrimaryRecord},
    policy::GroupSpec,
};
use rekindle_core::{
    observation::SiteObservations,
    saga::HooksFailed,
    snapshot::{Approval, GroupState},
};
use rekindle_store::{KeyValue, Revision, Store, StoreError};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// One page of a listing.
const PAGE: u32 = 500;
/// More groups' keys than this are refused rather than read for ever.
const MAX_KEYS: usize = 12_000;

/// A record and the revision that a change of it compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// It.
    pub value: T,
    /// When it was last put.
    pub revision: Revision,
}

/// A group's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecords {
    /// Its definition.
    pub spec: GroupSpec,
    /// Its definition's revision.
    pub spec_revision: Revision,
    /// Who is primary.
    pub primary: Option<Stored<PrimaryRecord>>,
    /// Who holds the lease.
    pub lease: Option<LeaseRecord>,
    /// What is remembered.
    pub state: Option<Stored<GroupState>>,
    /// The plan at work.
    pub active_plan: Option<PlanId>,
    /// A person's yes.
    pub approval: Option<Stored<Approval>>,
    /// Hooks that failed at the end of its last plan. Only shown.
    pub hooks_failed: Option<HooksFailed>,
}

/// Everything that was read.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// The groups all of whose records could be read.
    pub groups: BTreeMap<GroupName, GroupRecords>,
    /// What the sites published.
    pub observations: BTreeMap<SiteName, SiteObservations>,
    /// The operator's wish.
    pub maintenance: Option<Maintenance>,
    /// Records that could not be read.
    pub problems: Vec<Problem>,
}

/// A group's keys, by the last part of their names.
#[derive(Debug, Default)]
struct Raw(BTreeMap<String, KeyValue>);

/// Reads groups, sites and maintenance.
///
/// # Errors
/// [`StoreError`] where etcd does not answer. A corrupt record is a [`Problem`], not an error.
pub async fn read(store: &Store) -> Result<Records, StoreError> {
    let (groups, sites, maintenance) = tokio::try_join!(
        list(store, keys::GROUPS),
        list(store, keys::SITES),
        store.get(keys::MAINTENANCE)
    )?;
    let mut records = Records::default();
    if let Some(kv) = maintenance {
        match kv.json() {
            Ok(m) => records.maintenance = Some(m),
            Err(e) => {
                // Somebody wanted quiet; that its words are lost is no reason to act.
                records.maintenance = Some(Maintenance {
                    reason: "maintenance is set, its reason cannot be read".to_owned(),
                });
                records.problems.push(problem(&kv.key, &e));
            }
        }
    }
    records.take_sites(&sites);
    let mut raw: BTreeMap<String, Raw> = BTreeMap::new();
    for kv in groups {
        let rest = kv.key.strip_prefix(keys::GROUPS).unwrap_or_default();
        if let Some((group, what)) = rest.split_once('/') {
            let (group, what) = (group.to_owned(), what.to_owned());
            raw.entry(group).or_default().0.insert(what, kv);
        }
    }
    for (name, keys) in raw {
        records.take_group(&name, &keys);
    }
    Ok(records)
}

/// Reads one group and what the sites see. The group is absent where it is not defined, or cannot be read.
///
/// # Errors
/// [`StoreError`] where etcd does not answer.
pub(crate) async fn read_one(store: &Store, name: &GroupName) -> Result<Records, StoreError> {
    let prefix = format!("{}{name}/", keys::GROUPS);
    let (group_keys, sites) = tokio::try_join!(list(store, &prefix), list(store, keys::SITES))?;
    let mut records = Records::default();
    records.take_sites(&sites);
    let mut raw = Raw::default();
    for kv in group_keys {
        let what = kv.key.strip_prefix(&prefix).unwrap_or_default().to_owned();
        raw.0.insert(what, kv);
    }
    records.take_group(name.as_str(), &raw);
    Ok(records)
}

impl Records {
    fn take_sites(&mut self, sites: &[KeyValue]) {
        for kv in sites {
            match kv.json::<SiteObservations>() {
                Ok(o) => {
                    self.observations.insert(o.site.clone(), o);
                }
                Err(e) => self.problems.push(problem(&kv.key, &e)),
            }
        }
    }
    fn take_group(&mut self, name: &str, raw: &Raw) {
        match group(name, raw) {
            Ok(Some((name, mut g))) => {
                // Nothing is decided by it: where it cannot be read that is said, and the group stays.
                let hooks = take::<HooksFailed>(raw, "hooks", &mut self.problems);
                g.hooks_failed = hooks.map(|h| h.value);
                self.groups.insert(name, g);
            }
            // Keys without a definition: a lease or an approval that outlived its group.
            Ok(None) => {}
            Err(problems) => self.problems.extend(problems),
        }
    }
}

/// Lists a prefix, page by page.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Invalid`] beyond [`MAX_KEYS`].
pub(crate) async fn list(store: &Store, prefix: &str) -> Result<Vec<KeyValue>, StoreError> {
    let mut all: Vec<KeyValue> = Vec::new();
    loop {
        let after = all.last().map(|kv| kv.key.clone());
        let page = store.list_after(prefix, after.as_deref(), PAGE).await?;
        all.extend(page.items);
        if !page.more {
            return Ok(all);
        }
        if all.len() > MAX_KEYS {
            return Err(StoreError::Invalid {
                what: format!("more than {MAX_KEYS} keys under {prefix}"),
            });
        }
    }
}

pub(crate) fn problem(key: &str, e: &StoreError) -> Problem {
    let e = ApiError::from(e);
    Problem {
        code: e.code,
        about: key.to_owned(),
        message: e.message,
    }
}

type Problems = Vec<Problem>;

fn take<T: DeserializeOwned>(raw: &Raw, what: &str, bad: &mut Problems) -> Option<Stored<T>> {
    let kv = raw.0.get(what)?;
    match kv.json() {
        Ok(value) => Some(Stored {
            value,
            revision: kv.mod_revision,
        }),
        Err(e) => {
            bad.push(problem(&kv.key, &e));
            None
        }
    }
}

fn group(name: &str, raw: &Raw) -> Result<Option<(GroupName, GroupRecords)>, Problems> {
    let mut bad = Problems::new();
    let spec = take::<GroupSpec>(raw, "spec", &mut bad);
    let records = (
        take::<PrimaryRecord>(raw, "primary", &mut bad),
        take::<LeaseRecord>(raw, "lease", &mut bad),
        take::<GroupState>(raw, "state", &mut bad),
        take::<PlanId>(raw, "active-plan", &mut bad),
        take::<Approval>(raw, "approval", &mut bad),
    );
    if let Some(spec) = &spec {
        let about = raw.0.get("spec").map(|kv| kv.key.clone());
        let corrupt = |message: String| Problem {
            code: rekindle_common::ErrorCode::CorruptRecord,
            about: about.clone().unwrap_or_default(),
            message,
        };
        if spec.value.name.as_str() != name {
            bad.push(corrupt(format!("it names the group {}", spec.value.name)));
        }
        if let Err(e) = spec.value.policy.check() {
            bad.push(corrupt(format!("the policy contradicts itself: {e}")));
        }
        if let Err(e) = spec.value.runbook.check() {
            bad.push(corrupt(format!("the runbook contradicts itself: {e}")));
        }
    }
    if !bad.is_empty() {
        return Err(bad);
    }
    let (primary, lease, state, active_plan, approval) = records;
    Ok(spec.map(|spec| {
        let records = GroupRecords {
            spec: spec.value.clone(),
            spec_revision: spec.revision,
            primary,
            lease: lease.map(|l| l.value),
            state,
            active_plan: active_plan.map(|p| p.value),
            approval,
            hooks_failed: None,
        };
        (spec.value.name, records)
    }))
}

/// The zones of all groups, for a check against the configured ones.
pub(crate) fn zones_of(groups: &BTreeMap<GroupName, GroupRecords>) -> BTreeSet<&str> {
    groups
        .values()
        .flat_map(|g| [g.spec.home.as_str(), g.spec.away.as_str()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{ErrorCode, Generation, ZoneName, policy::GroupPolicy, runbook::Runbook};
    use rekindle_store::{MemoryStore, Op, Txn};

    async fn put(store: &Store, key: String, value: &[u8]) {
        let op = Op::Put {
            key,
            value: value.to_vec(),
            lease: None,
        };
        store.txn(Txn::new().then(op)).await.unwrap();
    }
    fn name(n: &str) -> GroupName {
        GroupName::new(n).unwrap()
    }
    async fn define(store: &Store, n: &str) {
        let zone = |z| ZoneName::new(z).unwrap();
        let spec = GroupSpec {
            name: name(n),
            home: zone("zone-a"),
            away: zone("zone-b"),
            policy: GroupPolicy::default(),
            runbook: Runbook::default(),
        };
        let primary = PrimaryRecord {
            zone: zone("zone-a"),
            generation: Generation(1),
            since: jiff::Timestamp::UNIX_EPOCH,
            plan: None,
        };
        let json = |v: &dyn erased::Json| v.json();
        put(store, keys::group_spec(&name(n)), &json(&spec)).await;
        put(store, keys::group_primary(&name(n)), &json(&primary)).await;
    }
    mod erased {
        pub(super) trait Json {
            fn json(&self) -> Vec<u8>;
        }
        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> Vec<u8> {
                serde_json::to_vec(self).unwrap()
            }
        }
    }

    #[tokio::test]
    async fn a_corrupt_record_takes_its_group_out_and_is_named() {
        let store: Store = MemoryStore::default().into();
        for g in ["db", "web", "mail"] {
            define(&store, g).await;
        }
        put(&store, keys::group_state(&name("web")), b"{\"last_lea").await;
        put(&store, keys::group_primary(&name("mail")), b"null").await;
        let records = read(&store).await.unwrap();
        assert_eq!(
            records
                .groups
                .keys()
                .map(GroupName::as_str)
                .collect::<Vec<_>>(),
            ["db"]
        );
        let named: Vec<(&str, ErrorCode)> = records
            .problems
            .iter()
            .map(|p| (p.about.as_str(), p.code))
            .collect();
        assert_eq!(
            named,
            [
                ("/rekindle/v1/groups/mail/primary", ErrorCode::CorruptRecord),
                ("/rekindle/v1/groups/web/state", ErrorCode::CorruptRecord)
            ]
        );
    }

    #[tokio::test]
    async fn what_is_only_shown_and_cannot_be_read_is_named_and_its_group_stays() {
        let store: Store = MemoryStore::default().into();
        define(&store, "db").await;
        put(&store, keys::group_hooks(&name("db")), b"{}").await;
        let records = read(&store).await.unwrap();
        assert_eq!(records.groups[&name("db")].hooks_failed, None);
        let about: Vec<&str> = records.problems.iter().map(|p| p.about.as_str()).collect();
        assert_eq!(about, ["/rekindle/v1/groups/db/hooks"]);
    }

    #[tokio::test]
    async fn a_maintenance_that_cannot_be_read_is_maintenance() {
        let store: Store = MemoryStore::default().into();
        put(&store, keys::MAINTENANCE.to_owned(), b"\xff").await;
        let records = read(&store).await.unwrap();
        assert!(records.maintenance.is_some());
        assert_eq!(records.problems.len(), 1);
    }

    #[tokio::test]
    async fn more_groups_than_a_page_are_all_read() {
        let store: Store = MemoryStore::default().into();
        for n in 0..300 {
            define(&store, &format!("g{n}")).await;
        }
        assert_eq!(read(&store).await.unwrap().groups.len(), 300);
    }
}
