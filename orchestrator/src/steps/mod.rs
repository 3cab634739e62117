//! A plan's steps, one file for each sort. Every one looks before it acts and may be run any number of times.
//!
//! [`attempt`] makes one pass: look, act where there is something to do, look again. It never waits for what takes time: it says
//! [`Pass::NotYet`], and the executor calls it again until the step's deadline. What it learns of single volumes stands in the
//! [`Tally`], which outlives a pass.

mod application;
mod demote;
mod fence;
mod hook;
mod lease;
mod orders;
pub mod pause;
mod promote;
mod proof;
mod record;
mod replay;
mod resync;
mod servers;
mod tally;
pub(crate) mod told;

pub use fence::Fenced;
pub use tally::Tally;

use crate::{
    agent::{Agent, AgentError, AgentOrder, Agents, RunbookOrder},
    catalogue::volumes::VolumeFeed,
    clock::Clock,
    coordination::{Lead, LeadError, failsafe::Failsafe},
    metrics::Metrics,
    servers::control::Servers,
    wire::Progress,
    world::{Assembler, LeaseClock},
    zone::Zone,
};
use rekindle_common::{
    ApiError, Generation, ImageSpec, ServerKey, ZoneName, duration::Span, volume::VolumeReport,
};
use rekindle_core::{
    plan::{Plan, Step},
    saga::Left,
};
use rekindle_store::StoreError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// What the steps work with, for as long as the orchestrator lives.
#[derive(Debug)]
pub struct Tools {
    /// The zones, by name.
    pub zones: BTreeMap<ZoneName, Arc<Zone>>,
    /// The operator's commands.
    pub agents: Agents,
    /// This site's promises.
    pub failsafe: Arc<Failsafe>,
    /// The wall clock.
    pub clock: Clock,
    /// For each look at a zone.
    pub zone_deadline: Duration,
    /// What this process had fenced.
    pub fenced: Fenced,
    /// The zones' Novas, by name.
    pub servers: BTreeMap<ZoneName, Arc<dyn Servers>>,
    /// Which volume is which image, as the catalogue last told it.
    pub volumes: VolumeFeed,
}

/// What one step of one plan works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Authority: asked before every order, and in every write.
    pub lead: &'a Lead,
    /// The plan.
    pub plan: &'a Plan,
    /// Volumes that an earlier step failed for.
    pub failed_before: &'a BTreeSet<ImageSpec>,
    /// Servers that an earlier step failed for, and why.
    pub failed_servers: &'a BTreeMap<ServerKey, String>,
    /// How long each lease has been gone.
    pub leases: &'a LeaseClock,
    /// Says what the sites see now.
    pub assembler: &'a Assembler,
    /// The rest.
    pub tools: &'a Tools,
    /// Where progress is shown.
    pub progress: &'a watch::Sender<Option<Progress>>,
    /// What is counted.
    pub metrics: &'a Metrics,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// All that could be done is done; for volumes, the tally says for which.
    Done {
        /// In words, for the journal.
        note: String,
    },
    /// Something has to happen first that is on its way.
    NotYet {
        /// What is waited for.
        note: String,
    },
    /// It is under way and gets on: its deadline is counted from now.
    Moves {
        /// What is waited for.
        note: String,
    },
    /// A promise to an isolated zone forbids it for that long, which is not the step's fault.
    Bound {
        /// What is left of it.
        left: Span,
    },
}

/// Why a pass did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Stop, write nothing, order nothing.
    #[error("this orchestrator leads no more")]
    Lost,
    /// It may go better the next time.
    #[error("{0}")]
    NotNow(String),
    /// etcd is away, or did not say what became of a change. No deadline ends this: while it is so nothing can be journalled
    /// either, and giving up on a change that may have been made would put back what was not done.
    #[error("{0}")]
    StoreAway(String),
    /// It will not.
    #[error("{why}")]
    Failed {
        /// Why.
        why: String,
        /// Whether something may have been changed.
        left: Left,
    },
}

impl StepError {
    /// Failed, and certainly nothing was changed.
    fn refused(why: impl Into<String>) -> Self {
        Self::Failed {
            why: why.into(),
            left: Left::Nothing,
        }
    }
}

impl From<LeadError> for StepError {
    fn from(e: LeadError) -> Self {
        match e {
            LeadError::Lost => Self::Lost,
            LeadError::Refused { .. } => Self::NotNow(e.to_string()),
            LeadError::Store(e) => e.into(),
        }
    }
}

impl From<StoreError> for StepError {
    fn from(e: StoreError) -> Self {
        let wait = e.retryable() || e.outcome_unknown() || matches!(e, StoreError::Full);
        let why = ApiError::from(&e).message;
        if wait {
            Self::StoreAway(why)
        } else {
            Self::Failed {
                why,
                left: Left::MaybeSomething,
            }
        }
    }
}

type Result<T> = std::result::Result<T, StepError>;

/// One pass over a step.
///
/// # Errors
/// [`StepError`].
pub async fn attempt(ctx: &Context<'_>, step: &Step, tally: &mut Tally) -> Result<Pass> {
    match step {
        Step::Fence { agent, zone } => fence::run(ctx, agent, zone).await,
        Step::AwaitLeaseEnd {
            zone,
            generation,
            margin,
        } => lease::await_end(ctx, zone, *generation, *margin).await,
        Step::StopApplication {
            application,
            zone,
            volumes,
            generation,
        } => application::stop(ctx, application, zone, volumes, *generation).await,
        Step::StartApplication {
            application,
            zone,
            volumes,
            generation,
        } => application::start(ctx, application, zone, volumes, *generation).await,
        Step::Demote {
            zone,
            generation,
            token,
            ..
        } => demote::run(ctx, zone, *generation, token.as_ref(), tally).await,
        Step::AwaitDemotionReplayed { zone, token, .. } => {
            replay::await_demotion_replayed(ctx, zone, token, tally).await
        }
        Step::ReleaseLease { zone, generation } => lease::release(ctx, zone, *generation).await,
        Step::RecordPrimary {
            zone,
            generation,
            replaces,
            lease,
        } => record::primary(ctx, zone, *generation, *replaces, lease).await,
        Step::TakeLease { zone, generation } => lease::take(ctx, zone, *generation).await,
        Step::MarkUnprotected {
            from,
            generation,
            why,
        } => record::unprotected(ctx, from, *generation, why).await,
        Step::Promote {
            zone,
            volumes,
            generation,
        } => promote::run(ctx, zone, volumes, *generation, tally).await,
        Step::Resync {
            zone,
            token,
            safety,
            generation,
            ..
        } => resync::run(ctx, zone, token, *safety, *generation, tally).await,
        Step::AwaitReplay { zone, .. } => replay::await_replay(ctx, zone, tally).await,
        Step::MarkProtected => record::protected(ctx).await,
        Step::RunHook {
            hook,
            when,
            zone,
            generation,
            within,
        } => hook::run(ctx, hook, *when, zone, *generation, *within).await,
        Step::Pause { level, text } => pause::run(ctx, *level, text).await,
        Step::StopServers {
            zone,
            level,
            generation,
            ..
        } => servers::stop(ctx, zone, *level, *generation, tally).await,
        Step::StartServers {
            zone,
            level,
            generation,
            ..
        } => servers::start(ctx, zone, *level, *generation, tally).await,
        Step::HoldServers {
            zone, generation, ..
        } => servers::hold(ctx, zone, *generation, tally).await,
    }
}

/// The volumes that a step is about; empty where it is about none.
#[must_use]
pub fn volumes_of(step: &Step) -> Vec<ImageSpec> {
    step.volumes().into_iter().cloned().collect()
}

/// The servers that a step of the plan is about; empty where it is about none.
#[must_use]
pub fn servers_of(plan: &Plan, step: &Step) -> Vec<ServerKey> {
    match step {
        Step::StopServers { level, .. } | Step::StartServers { level, .. } => {
            plan.level(*level).iter().map(|s| s.key.clone()).collect()
        }
        Step::HoldServers { .. } => plan.runbook.servers().map(|s| s.key.clone()).collect(),
        Step::Demote { .. }
        | Step::AwaitDemotionReplayed { .. }
        | Step::Resync { .. }
        | Step::AwaitReplay { .. }
        | Step::Promote { .. }
        | Step::Fence { .. }
        | Step::AwaitLeaseEnd { .. }
        | Step::StopApplication { .. }
        | Step::StartApplication { .. }
        | Step::ReleaseLease { .. }
        | Step::RecordPrimary { .. }
        | Step::TakeLease { .. }
        | Step::MarkUnprotected { .. }
        | Step::MarkProtected
        | Step::RunHook { .. }
        | Step::Pause { .. } => Vec::new(),
    }
}

impl Context<'_> {
    fn zone(&self, name: &ZoneName) -> Result<&Zone> {
        match self.tools.zones.get(name) {
            Some(zone) => Ok(zone),
            None => Err(StepError::refused(format!(
                "{name} is not in this orchestrator's configuration"
            ))),
        }
    }

    /// The group's volumes in that zone, now.
    async fn look(&self, name: &ZoneName) -> Result<BTreeMap<ImageSpec, VolumeReport>> {
        let zone = self.zone(name)?;
        let asked = zone.sidecar().volumes(&self.plan.group);
        match zone.ask(self.tools.zone_deadline, asked).await {
            Ok(volumes) => Ok(volumes.into_iter().map(|v| (v.volume.clone(), v)).collect()),
            Err(e) => Err(StepError::NotNow(format!(
                "the volumes in {name} are not known: {}",
                e.message
            ))),
        }
    }

    fn show(&self, tally: &Tally, note: &str) {
        let (done, of) = tally.progress();
        self.progress.send_if_modified(|p| {
            let Some(p) = p else { return false };
            let before = (p.done, p.of, p.note.clone());
            (p.done, p.of, p.note) = (done, of, note.to_owned());
            before != (p.done, p.of, p.note.clone())
        });
    }

    /// Has an agent do something. Its authority is checked first, as for an order.
    async fn agent(
        &self,
        agent: Option<&Agent>,
        kind: &str,
        name: &str,
        order: AgentOrder,
    ) -> Result<Pass> {
        let Some(agent) = agent else {
            return Err(StepError::refused(format!(
                "no {kind} {name:?} is in this orchestrator's configuration"
            )));
        };
        self.lead.check()?;
        match agent.run(order).await {
            Ok(()) => Ok(Pass::Done {
                note: format!("{name} ended well"),
            }),
            Err(AgentError::NotNow(why)) => Err(StepError::NotNow(why)),
            Err(AgentError::Failed(why)) => Err(StepError::Failed {
                why,
                left: Left::MaybeSomething,
            }),
        }
    }

    fn agent_order(
        &self,
        action: crate::agent::AgentAction,
        zone: &ZoneName,
        volumes: &[ImageSpec],
        generation: Generation,
    ) -> AgentOrder {
        AgentOrder {
            action,
            group: self.plan.group.clone(),
            zone: zone.clone(),
            generation,
            volumes: volumes
                .iter()
                .filter(|v| !self.failed_before.contains(v))
                .cloned()
                .collect(),
            plan: self.plan.id.clone(),
            runbook: None,
        }
    }

    /// What a hook, or a command that is waited for, is told.
    fn runbook_order(
        &self,
        action: crate::agent::AgentAction,
        zone: &ZoneName,
        generation: Generation,
        server: Option<&ServerKey>,
    ) -> AgentOrder {
        let plan = self.plan;
        AgentOrder {
            runbook: Some(RunbookOrder {
                kind: plan.kind,
                from: plan.from.clone(),
                to: plan.to.clone(),
                why: plan.why.clone(),
                server: server.cloned(),
                failed_servers: self.failed_servers.keys().cloned().collect(),
            }),
            ..self.agent_order(action, zone, &[], generation)
        }
    }
}
