//! Fence: the configured agent cuts the zone's clients off from its storage. Exit code 0 is proof; all else stops the plan.

use super::{Context, Pass, Result};
use crate::agent::AgentAction;
use rekindle_common::ZoneName;

pub(super) async fn run(ctx: &Context<'_>, agent: &str, zone: &ZoneName) -> Result<Pass> {
    let order = ctx.agent_order(AgentAction::Fence, zone, &[], ctx.plan.made_for);
    let configured = ctx.tools.agents.fences.get(agent);
    ctx.agent(configured, "fence agent", agent, order).await
}
