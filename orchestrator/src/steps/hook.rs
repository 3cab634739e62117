//! Run a command of the operator's, before the plan begins or after the last server.
//!
//! It may be called any number of times for one plan. What it prints is for people; its exit code counts.

use super::{Context, Pass, Result, StepError};
use crate::agent::AgentAction;
use rekindle_common::{Generation, ZoneName, duration::Span};
use rekindle_core::{plan::HookTime, saga::Left};
use tokio::time::timeout;

pub(super) async fn run(
    ctx: &Context<'_>,
    name: &str,
    when: HookTime,
    zone: &ZoneName,
    generation: Generation,
    within: Span,
) -> Result<Pass> {
    let action = match when {
        HookTime::Before => AgentAction::Before,
        HookTime::After => AgentAction::After,
    };
    let order = ctx.runbook_order(action, zone, generation, None);
    let configured = ctx.tools.agents.hooks.get(name);
    // At the end of its time it is dropped, and with that killed.
    match timeout(within.get(), ctx.agent(configured, "hook", name, order)).await {
        Ok(ended) => ended,
        Err(_) => Err(StepError::Failed {
            why: format!("{name} did not end within {within} and was stopped"),
            left: Left::MaybeSomething,
        }),
    }
}
