//! Stop and start what writes to the volumes, by the configured command.

use super::{Context, Pass, Result};
use crate::agent::AgentAction;
use rekindle_common::{Generation, ImageSpec, ZoneName};

pub(super) async fn stop(
    ctx: &Context<'_>,
    name: &str,
    zone: &ZoneName,
    volumes: &[ImageSpec],
    generation: Generation,
) -> Result<Pass> {
    run(ctx, AgentAction::Stop, name, zone, volumes, generation).await
}

pub(super) async fn start(
    ctx: &Context<'_>,
    name: &str,
    zone: &ZoneName,
    volumes: &[ImageSpec],
    generation: Generation,
) -> Result<Pass> {
    run(ctx, AgentAction::Start, name, zone, volumes, generation).await
}

async fn run(
    ctx: &Context<'_>,
    action: AgentAction,
    name: &str,
    zone: &ZoneName,
    volumes: &[ImageSpec],
    generation: Generation,
) -> Result<Pass> {
    // Volumes that could not be promoted are left out of the order: nothing can be started on them.
    let order = ctx.agent_order(action, zone, volumes, generation);
    let configured = ctx.tools.agents.applications.get(name);
    ctx.agent(configured, "application", name, order).await
}
