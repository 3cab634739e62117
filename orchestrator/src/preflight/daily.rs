//! The leader's daily check of each group that has servers, one group after the other.
//!
//! ```text
//!   due (core, by the clock and by what is kept) -> check (both clouds, nothing is changed) -> kept in etcd, told: a WARN and a metric
//! ```
//!
//! What was found is kept in etcd, so that a change of leader neither forgets it nor does it all again. A gap is no error: nothing is lost by it
//! today. While a plan is at work on a group it is left alone.

use super::{KeptPreflight, Preflight};
use crate::{
    clock::Clock,
    coordination::{Lead, LeadError},
    metrics::{Metrics, PreflightGlance},
    world::{self, GroupRecords},
};
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{GroupName, keys};
use rekindle_core::{catalogue::mapping::Mapping, daily::Daily};
use rekindle_store::{Compare, Op, Store, StoreError, Txn};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};

/// They may be long: so many are read at once.
const PAGE: u32 = 20;
/// So many gaps of a group are logged; the status has more.
const LOGGED: usize = 10;

/// Checks a group's servers.
pub trait Check: Send + Sync + fmt::Debug {
    /// Whether the other zone would take them. What does not answer is in the result.
    fn check<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Preflight, String>>;
}

/// On the clouds of a configuration.
#[derive(Debug)]
pub struct OnClouds {
    /// It.
    pub config: Arc<crate::config::Config>,
    /// What is what in the other zone.
    pub mapping: Mapping,
}

impl Check for OnClouds {
    fn check<'a>(&'a self, group: &'a GroupName) -> BoxFuture<'a, Result<Preflight, String>> {
        async move {
            let found = super::of_group(&self.config, &self.mapping, group).await;
            found.map_err(|e| e.to_string())
        }
        .boxed()
    }
}

/// What it is made of.
#[derive(Debug, Clone)]
pub struct DailyPart {
    /// What checks.
    pub check: Arc<dyn Check>,
    /// At which time of the day.
    pub daily: Daily,
    /// Between two looks at whose turn it is.
    pub every: Duration,
    /// For the check of one group.
    pub within: Duration,
}

/// All groups' last checks.
pub type Checks = BTreeMap<GroupName, KeptPreflight>;

/// Checks each group once a day while this site leads.
#[derive(Debug)]
pub struct DailyPreflight {
    part: DailyPart,
    clock: Clock,
    metrics: Arc<Metrics>,
    shown: watch::Sender<Option<Arc<Checks>>>,
}

impl DailyPreflight {
    /// Of its parts. Nothing is contacted yet.
    #[must_use]
    pub fn new(part: DailyPart, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            part,
            clock,
            metrics,
            shown: watch::Sender::new(None),
        }
    }

    /// The last checks; `None` before the first look of a term, and while another site leads.
    #[must_use]
    pub fn shown(&self) -> Option<Arc<Checks>> {
        self.shown.borrow().clone()
    }

    /// Another site leads now.
    pub fn forget(&self) {
        self.shown.send_replace(None);
        self.metrics.servers.preflights(Vec::new());
    }

    /// Look after look, until the term is over.
    pub async fn run(&self, lead: &Lead) {
        self.forget();
        let missed = "whose daily check is due was not looked at";
        lead.rounds(self.part.every, missed, || self.round(lead))
            .await;
        self.forget();
    }

    /// Checks each group whose turn has come.
    ///
    /// # Errors
    /// [`LeadError`]: the term is over, or etcd cannot be read.
    pub async fn round(&self, lead: &Lead) -> Result<(), LeadError> {
        lead.check()?;
        let store = lead.store();
        let records = world::read(store).await.map_err(LeadError::Store)?;
        // Nobody but the leader writes them: read once a term.
        let mut checks = match self.shown() {
            Some(checks) => Checks::clone(&checks),
            None => kept(store).await.map_err(LeadError::Store)?,
        };
        // What could not be read, or was deleted, is shown for no group.
        checks.retain(|name, _| records.groups.get(name).is_some_and(has_servers));
        self.show(&checks);
        for (name, group) in &records.groups {
            if !has_servers(group) || group.active_plan.is_some() {
                continue;
            }
            let last = checks.get(name).map(KeptPreflight::done);
            if !self.part.daily.is_due(name, self.clock.now(), last) {
                continue;
            }
            lead.check()?;
            let found = match timeout(self.part.within, self.part.check.check(name)).await {
                Ok(found) => found,
                Err(_) => Err(format!("it did not end within {:?}", self.part.within)),
            };
            let kept = KeptPreflight::of(name.clone(), self.clock.now(), found);
            if self.keep(lead, name, group, &kept).await? {
                tell(&kept);
                checks.insert(name.clone(), kept);
                self.show(&checks);
            }
        }
        Ok(())
    }

    /// Writes it down, unless its group was changed meanwhile: then it is due again, and is checked as it is now.
    async fn keep(
        &self,
        lead: &Lead,
        name: &GroupName,
        group: &GroupRecords,
        kept: &KeptPreflight,
    ) -> Result<bool, LeadError> {
        let put = Op::put_json(keys::preflight(name), kept, None).map_err(LeadError::Store)?;
        let as_read = Compare::ModRevision(keys::group_spec(name), group.spec_revision);
        match lead.txn(Txn::new().when(as_read).then(put)).await {
            Ok(_) => Ok(true),
            Err(LeadError::Refused { .. }) => Ok(false),
            Err(e @ (LeadError::Lost | LeadError::Store(_))) => Err(e),
        }
    }

    fn show(&self, checks: &Checks) {
        let glances = checks.iter().map(|(name, kept)| PreflightGlance {
            group: name.to_string(),
            at: kept.at,
            gaps: kept.gap_count(),
            unchecked: kept.unchecked_count(),
        });
        self.metrics.servers.preflights(glances.collect());
        self.shown.send_replace(Some(Arc::new(checks.clone())));
    }
}

fn has_servers(group: &GroupRecords) -> bool {
    group.spec.runbook.servers().next().is_some()
}

/// All that is kept. What cannot be read is as if it was never done: it is done anew.
///
/// # Errors
/// [`StoreError`] where etcd does not answer.
pub async fn kept(store: &Store) -> Result<Checks, StoreError> {
    let mut checks = Checks::new();
    let mut after: Option<String> = None;
    loop {
        let page = store
            .list_after(keys::PREFLIGHTS, after.as_deref(), PAGE)
            .await?;
        after = page.items.last().map(|kv| kv.key.clone());
        for kv in page.items {
            match kv.json::<KeptPreflight>() {
                Ok(kept) => {
                    checks.insert(kept.group.clone(), kept);
                }
                Err(e) => tracing::warn!(key = kv.key, error = %e, "a daily check cannot be read"),
            }
        }
        if !page.more || after.is_none() {
            break;
        }
    }
    Ok(checks)
}

/// A gap is for somebody to mend by day: no error.
fn tell(kept: &KeptPreflight) {
    let group = &kept.group;
    for gap in kept.gaps.iter().take(LOGGED) {
        tracing::warn!(%group, kind = %gap.kind, advice = gap.advice, "daily preflight: {}", gap.what);
    }
    if let Some(why) = &kept.failed {
        tracing::warn!(%group, "daily preflight: nothing could be checked: {why}");
    }
    let (gaps, unchecked) = (kept.gap_count(), kept.unchecked_count());
    tracing::info!(%group, servers = kept.counts.servers, gaps, unchecked, "daily preflight ended");
}
