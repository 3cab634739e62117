//! The leader dies in each step of a plan.

use super::Group;
use crate::scenario::config;
use anyhow::Context;
use rekindle_common::{PlanId, Timestamp, keys};
use rekindle_core::{
    plan::PlanKind,
    saga::{Event, Record},
};
use rekindle_lab::{Lab, Site};
use rekindle_orchestrator::journal;
use rekindle_store::{EtcdConfig, EtcdStore, Store, WatchEvent};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// For the next record: the fault is found, another leads, a guest has booted.
const RECORD: Duration = Duration::from_secs(420);

impl Group<'_> {
    /// Waits for the next plan of that kind. Whoever begins a step of it is killed at once, in each step once, and started again, until the
    /// plan ends. Returns when that was, by step.
    ///
    /// A step that is done within milliseconds may be done before its leader is dead: the journal says when it ended.
    ///
    /// # Errors
    /// There is no such plan, or it has no end.
    pub async fn kill_leader_in_each_step(
        &self,
        kind: PlanKind,
    ) -> anyhow::Result<BTreeMap<usize, Timestamp>> {
        let store = etcd(&self.cloud.lab).await?;
        let now = store.list(keys::PLANS, 1).await?.revision;
        let mut watch = store.watch(keys::PLANS, now.next());
        let mut known: BTreeMap<PlanId, bool> = BTreeMap::new();
        let mut killed = BTreeMap::new();
        loop {
            let event = timeout(RECORD, watch.next()).await;
            let event = event.with_context(|| {
                format!("no record of a {kind} plan; killed so far: {killed:?}")
            })?;
            let WatchEvent::Put(put) = event else {
                continue;
            };
            let Some(plan) = written_for(&put.key) else {
                continue;
            };
            let ours = match known.get(&plan) {
                Some(ours) => *ours,
                None => {
                    let found = journal::read_plan(&store, &plan).await?;
                    let ours = found.group == self.name && found.kind == kind;
                    known.insert(plan, ours);
                    ours
                }
            };
            if !ours {
                continue;
            }
            let record: Record = put.json()?;
            match record.event {
                Event::StepBegun { step } if !killed.contains_key(&step) => {
                    let leader: Site = record.by.parse()?;
                    self.cloud.orchestrator(leader).kill()?;
                    killed.insert(step, Timestamp::now());
                    tracing::info!(step, leader = %leader, "killed in a step of the plan");
                    self.cloud.orchestrator(leader).start()?;
                }
                Event::Ended { .. } => return Ok(killed),
                Event::Begun
                | Event::StepBegun { .. }
                | Event::StepDone { .. }
                | Event::StepFailed { .. }
                | Event::UnwindBegun { .. }
                | Event::UnwindDone { .. }
                | Event::UnwindFailed { .. }
                | Event::Retried => {}
            }
        }
    }
}

/// Whose journal a key belongs to; `None` where it is no record's.
fn written_for(key: &str) -> Option<PlanId> {
    let (plan, of_it) = key.strip_prefix(keys::PLANS)?.split_once('/')?;
    of_it.starts_with("journal/").then(|| plan.parse().ok())?
}

/// etcd as it is seen from outside the zones.
async fn etcd(lab: &Lab) -> anyhow::Result<Store> {
    let config = EtcdConfig {
        tls: Some(config::files(&lab.certs(Site::Witness))),
        ..EtcdConfig::new(lab.etcd_endpoints(Site::Witness))
    };
    Ok(EtcdStore::connect(&config).await?.into())
}
