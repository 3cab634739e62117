//! One server: stopped, and locked so that nobody but an administrator starts it.

use super::{
    LOOK, Memo, One, Result,
    env::{Env, Known},
    start::not_done,
};
use crate::servers::control::{Seen, ServerState};
use rekindle_common::{duration::Span, runbook::RunbookServer};
use rekindle_core::plan::PlanKind;
use std::time::Duration;

/// For one order to Nova; asked again within the server's own time.
const ORDER: Duration = Duration::from_secs(60);

/// What it means that the server is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It was to serve: its users deleted it, and it is not to come back in the other zone.
    IsNamed,
    /// It was not to run: so it does not.
    IsWell,
}

/// One pass over it.
pub(super) async fn one(
    env: &Env<'_>,
    s: &RunbookServer,
    mut memo: Memo,
    gone: Gone,
) -> Result<(One, Memo)> {
    let one = pass(env, s, &mut memo, gone).await?;
    Ok((one.in_time(&mut memo, s), memo))
}

async fn pass(env: &Env<'_>, s: &RunbookServer, memo: &mut Memo, gone: Gone) -> Result<One> {
    let known = env.known(s).await?;
    let one = held(env, s, memo, gone, &known).await?;
    // By its first pass: the step, or the plan, may end before another.
    if memo.rested {
        env.settle(s, known.kept(), false).await?;
    } else if one != One::Done && !memo.unsettled && goes_on(env.ctx.plan.kind, gone) {
        memo.unsettled = env.settle(s, known.kept(), true).await?;
    }
    Ok(one)
}

/// Whether its volumes go on without it: those of a move wait until all are stopped, or serve on where they are.
pub(super) fn goes_on(plan: PlanKind, gone: Gone) -> bool {
    match (gone, plan) {
        (Gone::IsWell, _) | (Gone::IsNamed, PlanKind::Resume) => true,
        (
            Gone::IsNamed,
            PlanKind::Failover | PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect,
        ) => false,
    }
}

async fn held(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    gone: Gone,
    known: &Known,
) -> Result<One> {
    let left = memo.left(s);
    if let (Known::Unreadable(why), Gone::IsNamed) = (known, gone) {
        // Which server it is may not be what the runbook says: nothing is stopped on a guess.
        return Ok(One::Failed(format!(
            "what is kept of it cannot be read: {why}"
        )));
    }
    let wanted = env.wanted(s, known.kept());
    let seen = match env.nova.look(&wanted, Span(LOOK.min(left))).await {
        Ok(seen) => seen,
        Err(e) => return Ok(not_done(e)),
    };
    let Some(seen) = seen else {
        return Ok(match gone {
            Gone::IsNamed if wanted.id.is_some() || memo.seen => One::Named(format!(
                "it is not in {} any more: deleted by its users, and so not started elsewhere",
                env.zone
            )),
            Gone::IsNamed | Gone::IsWell => One::Done,
        });
    };
    memo.seen = true;
    memo.rested = is_held(&seen);
    if memo.rested {
        return Ok(One::Done);
    }
    env.may_order().await?;
    let reason = reason(env);
    match env.nova.hold(&wanted, &reason, Span(ORDER.min(left))).await {
        // Looked at once more: that it went away in this moment is seen then, and named where it has to be.
        Ok(None) => Ok(One::Waits("it is gone".to_owned())),
        Ok(Some(seen)) if is_held(&seen) => {
            memo.rested = true;
            Ok(One::Done)
        }
        Ok(Some(seen)) => Ok(One::Waits(seen.words)),
        Err(e) => Ok(not_done(e)),
    }
}

fn is_held(seen: &Seen) -> bool {
    match seen.state {
        // Nova never starts what failed by itself, but a person may.
        ServerState::Stopped | ServerState::Failed { off: true } => seen.held,
        ServerState::Failed { off: false }
        | ServerState::Running
        | ServerState::Frozen
        | ServerState::Changing
        | ServerState::Unknown => false,
    }
}

/// For the people who find it locked; the client puts our name before it.
pub(super) fn reason(env: &Env<'_>) -> String {
    let plan = env.ctx.plan;
    format!(
        "{} of group {} to {} (plan {})",
        plan.kind, plan.group, plan.to, plan.id
    )
}
