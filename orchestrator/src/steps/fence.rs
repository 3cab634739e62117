//! Fence: the configured agent cuts the zone's clients off from its storage. Exit code 0 is proof; all else stops the plan.

use super::{Context, Pass, Result};
use crate::agent::AgentAction;
use rekindle_common::{GroupName, PlanId, ZoneName};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For so long nobody is taken to have lifted a fence without being asked.
const FRESH: Duration = Duration::from_secs(60);

/// When this process last had each group's zone fenced, and for which plan. A new leader knows of none, and asks the agent again.
#[derive(Debug, Default)]
pub struct Fenced(Mutex<BTreeMap<GroupName, (PlanId, Instant)>>);

impl Fenced {
    fn note(&self, group: &GroupName, plan: &PlanId, at: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(group.clone(), (plan.clone(), at));
    }
    /// Whether the agent confirmed it for this plan a short time ago.
    fn lately(&self, group: &GroupName, plan: &PlanId) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(group)
            .is_some_and(|(of, at)| of == plan && at.elapsed() < FRESH)
    }
}

pub(super) async fn run(ctx: &Context<'_>, agent: &str, zone: &ZoneName) -> Result<Pass> {
    let order = ctx.agent_order(AgentAction::Fence, zone, &[], ctx.plan.made_for);
    let configured = ctx.tools.agents.fences.get(agent);
    // What it confirms was so at some time after it was asked.
    let asked = Instant::now();
    let pass = ctx.agent(configured, "fence agent", agent, order).await?;
    ctx.tools.fenced.note(&ctx.plan.group, &ctx.plan.id, asked);
    Ok(pass)
}

/// Has the agent confirm it again, unless it did so a short time ago.
pub(super) async fn confirmed(ctx: &Context<'_>, agent: &str, zone: &ZoneName) -> Result<()> {
    if ctx.tools.fenced.lately(&ctx.plan.group, &ctx.plan.id) {
        return Ok(());
    }
    run(ctx, agent, zone).await.map(drop)
}
