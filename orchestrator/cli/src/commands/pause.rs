//! `rekindle approve GROUP`: the pause is over that the group's plan is at.

use super::done;
use crate::{connect::Peers, error::CliError, exit::Exit, output::Output};
use rekindle_common::{ApiError, ErrorCode, GroupName};
use rekindle_orchestrator::wire::PauseRequest;

pub(super) async fn approve(
    group: &GroupName,
    level: Option<u32>,
    by: String,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    let seen = client.group(group).await.map_err(CliError::Api)?;
    let held = |why: String| CliError::Api(ApiError::new(ErrorCode::Held, why));
    let active = seen
        .active_plan
        .ok_or_else(|| held(format!("no plan is at work on {group}: nothing pauses")))?;
    let detail = client.plan(&active.id).await.map_err(CliError::Api)?;
    let (at, text) = detail
        .state
        .as_ref()
        .and_then(|s| s.pauses_before(&detail.plan))
        .ok_or_else(|| held(format!("plan {} does not pause now", active.id)))?;
    // The approval is for what the person saw: a plan that has gone on to another pause since is not approved.
    let wanted = match level {
        Some(n) => usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX),
        None => at,
    };
    let request = PauseRequest { level: wanted, by };
    let approval = client
        .approve_pause(&active.id, &request)
        .await
        .map_err(CliError::Api)?;
    let text = format!(
        "level {} of plan {} may start, says {}: {text}",
        approval.level + 1,
        active.id,
        approval.by
    );
    done(output, &approval, text)
}
