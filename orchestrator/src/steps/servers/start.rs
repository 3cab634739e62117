//! One server: found or built, started, and waited for until it serves.

use super::{
    LOOK, Memo, One, Result,
    env::{Env, Kept, Known},
    stop,
    volumes::Volumes,
    wait,
};
use crate::servers::control::{BuildOrder, Seen, ServerState, ServersError, Wanted};
use rekindle_common::{
    duration::Span,
    runbook::{RunbookServer, StandbyPolicy},
};
use std::time::Duration;

/// For one order to Nova; asked again within the server's own time.
const ORDER: Duration = Duration::from_secs(60);
/// A server that was seen to run is not looked at again for so long, while something else is waited for.
const FRESH: Duration = Duration::from_secs(5);

/// One pass over it.
pub(super) async fn one(
    env: &Env<'_>,
    s: &RunbookServer,
    mut memo: Memo,
    volumes: &Volumes<'_>,
) -> Result<(One, Memo)> {
    let one = pass(env, s, &mut memo, volumes).await?;
    Ok((one.in_time(&mut memo, s), memo))
}

async fn pass(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    volumes: &Volumes<'_>,
) -> Result<One> {
    let left = memo.left(s);
    if memo.runs.is_some_and(|at| at.elapsed() < FRESH) {
        return wait::next(env, s, memo).await;
    }
    let known = env.known(s).await?;
    if let Known::Unreadable(why) = &known {
        return Ok(One::Failed(format!(
            "not started: what is kept of it cannot be read: {why}"
        )));
    }
    let kept = known.kept();
    if !memo.record_clear {
        if let Some(one) = volumes.against(kept.map(|k| &k.value.record)).await? {
            return Ok(one);
        }
        memo.record_clear = true;
    }
    let wanted = env.wanted(s, kept);
    let seen = match env.nova.look(&wanted, Span(LOOK.min(left))).await {
        Ok(seen) => seen,
        Err(e) => return Ok(not_done(e)),
    };
    match seen {
        None if memo.seen => Ok(One::Failed(format!(
            "it was there, and is gone from {}: deleted while the plan was at work, and not built again",
            env.zone
        ))),
        None => absent(env, s, memo, kept, &wanted).await,
        Some(seen) => {
            memo.seen = true;
            memo.rested |= seen.state == ServerState::Stopped;
            // Kept from then on: that it was at rest, or was ordered here.
            if is_settled(env, s, memo, kept, &seen) {
                env.remember(s, kept, &wanted, &seen).await?;
            }
            if !memo.seen_clear {
                if let Some(one) = volumes.against_seen(&seen).await? {
                    return Ok(one);
                }
                memo.seen_clear = true;
            }
            present(env, s, memo, kept, &wanted, &seen, volumes).await
        }
    }
}

/// There is certainly none of it in this zone.
async fn absent(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    kept: Option<&Kept>,
    wanted: &Wanted,
) -> Result<One> {
    // Nothing of ours takes a server away where a move began: its stop held it there, or named it for the same. Those that start after it
    // served without it, or with it in vain, and go on.
    if is_put_back(env) && wanted.id.is_some() {
        return Ok(One::Named(format!(
            "it is not in {} any more: deleted by its users, and is not built again",
            env.zone
        )));
    }
    if env.is_theirs(s, kept) {
        return Ok(One::Failed(format!(
            "its users' server is not in {} any more, and is not built again",
            env.zone
        )));
    }
    match env.ctx.plan.runbook.standby_of(s) {
        StandbyPolicy::None => Ok(One::ByHand),
        StandbyPolicy::Shutoff | StandbyPolicy::Shelved | StandbyPolicy::Record => {
            build(env, s, memo, kept, wanted).await
        }
    }
}

async fn present(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    kept: Option<&Kept>,
    wanted: &Wanted,
    seen: &Seen,
    volumes: &Volumes<'_>,
) -> Result<One> {
    match seen.state {
        ServerState::Running | ServerState::Frozen if begins_anew(env, s, memo, kept, seen) => {
            stopped_first(env, s, memo, wanted).await
        }
        ServerState::Running if !seen.held => serves(env, s, memo, seen).await,
        // It runs under our lock where a move is undone: the lock comes off. Of what is frozen the order's refusal says what a person can do.
        ServerState::Running | ServerState::Frozen => started(env, s, memo, wanted).await,
        ServerState::Stopped => {
            if !memo.whole {
                let record = kept.map(|k| &k.value.record);
                if let Some(one) = volumes.lacking(record, seen).await? {
                    return Ok(one);
                }
                memo.whole = true;
            }
            started(env, s, memo, wanted).await
        }
        ServerState::Changing | ServerState::Unknown => Ok(One::Waits(seen.words.clone())),
        ServerState::Failed { .. } if env.is_theirs(s, kept) || kept.is_none() => {
            Ok(One::Failed(format!("Nova says {}", seen.words)))
        }
        // A stand-by that was half built: what bears our mark is built to its end, or anew (hard case 51).
        ServerState::Failed { .. } => build(env, s, memo, kept, wanted).await,
    }
}

/// Whether it is known that it was at rest while its volumes were copies, or were made anew: in this step; or before, for the keeper of stand-bys writes
/// down none that it has not seen at rest, and its users' own was never built on copies. Of both it is written down where they could not be seen to be
/// off when their volumes went on.
fn is_settled(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &Memo,
    kept: Option<&Kept>,
    seen: &Seen,
) -> bool {
    let Some(k) = kept else {
        // The keeper builds none of which it keeps nothing.
        return true;
    };
    let written_down = k.value.instances.get(env.zone);
    let unsettled = written_down.is_some_and(|i| i.unsettled);
    let known = env.is_theirs(s, kept) || written_down.is_some_and(|i| i.id == seen.id);
    memo.rested || (known && !unsettled)
}

/// Whether what runs of it may have come up on copies, before they were promoted: a stand-by whose build was cut off by this plan, what somebody
/// started under our lock, or what could not be stopped when its volumes went on. What such a server knows of its disks is older than they are.
fn begins_anew(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &Memo,
    kept: Option<&Kept>,
    seen: &Seen,
) -> bool {
    // Its volumes never left it, or it was stopped before they did: one that could not be stopped is what the move is undone for.
    !is_put_back(env) && (seen.held || !is_settled(env, s, memo, kept, seen))
}

/// Whether a move is being undone: it starts nothing else in the zone that it leaves.
fn is_put_back(env: &Env<'_>) -> bool {
    let plan = env.ctx.plan;
    *env.zone == plan.from && plan.from != plan.to
}

/// Stopped, so that the next pass starts it on what its volumes have now. Held like any: a start that is cut off here finds it at rest.
async fn stopped_first(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    wanted: &Wanted,
) -> Result<One> {
    env.may_order().await?;
    tracing::info!(group = %wanted.group, server = %s.key, zone = %env.zone, "it may run since before its volumes were primary: it begins anew");
    let left = memo.left(s).min(ORDER);
    match env.nova.hold(wanted, &stop::reason(env), Span(left)).await {
        Ok(None) => Ok(One::Waits("it is gone".to_owned())),
        Ok(Some(seen)) => Ok(One::Waits(format!(
            "it may have run on the copies, and begins anew: {}",
            seen.words
        ))),
        Err(e) => Ok(not_done(e)),
    }
}

async fn build(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    kept: Option<&Kept>,
    wanted: &Wanted,
) -> Result<One> {
    let Some(kept) = kept else {
        return Ok(One::Failed(
            "no record of it is kept, so it cannot be built: start it by hand".to_owned(),
        ));
    };
    let left = memo.left(s).min(ORDER);
    let record = match env.nova.translate(&kept.value, Span(left)).await {
        Ok(record) => record,
        Err(e) => return Ok(not_done(e)),
    };
    let order = BuildOrder {
        wanted: wanted.clone(),
        record,
        rest: StandbyPolicy::Record,
    };
    env.may_order().await?;
    // Whatever comes of this order comes up on volumes that are primary by now; what it finds running it stops first.
    memo.rested = true;
    match env.nova.build(&order, Span(left)).await {
        Ok(seen) => {
            memo.seen = true;
            env.remember(s, Some(kept), wanted, &seen).await?;
            let wanted = Wanted {
                id: Some(seen.id.clone()),
                ..wanted.clone()
            };
            match seen.state {
                ServerState::Running if !seen.held => serves(env, s, memo, &seen).await,
                ServerState::Running | ServerState::Frozen | ServerState::Stopped => {
                    started(env, s, memo, &wanted).await
                }
                ServerState::Changing | ServerState::Unknown => Ok(One::Waits(seen.words)),
                ServerState::Failed { .. } => Ok(One::Failed(format!(
                    "it was built, and Nova says {}",
                    seen.words
                ))),
            }
        }
        Err(e) => Ok(not_done(e)),
    }
}

async fn started(
    env: &Env<'_>,
    s: &RunbookServer,
    memo: &mut Memo,
    wanted: &Wanted,
) -> Result<One> {
    env.may_order().await?;
    let left = memo.left(s).min(ORDER);
    match env.nova.start(wanted, Span(left)).await {
        Ok(seen) => match seen.state {
            ServerState::Running => serves(env, s, memo, &seen).await,
            ServerState::Frozen
            | ServerState::Stopped
            | ServerState::Changing
            | ServerState::Unknown => Ok(One::Waits(seen.words)),
            ServerState::Failed { .. } => Ok(One::Failed(format!("Nova says {}", seen.words))),
        },
        Err(e) => Ok(not_done(e)),
    }
}

/// It runs.
async fn serves(env: &Env<'_>, s: &RunbookServer, memo: &mut Memo, seen: &Seen) -> Result<One> {
    memo.address = seen.address;
    memo.runs = Some(tokio::time::Instant::now());
    wait::next(env, s, memo).await
}

pub(super) fn not_done(e: ServersError) -> One {
    match e {
        ServersError::NotNow(why) => One::NotNow(why),
        ServersError::Refused(why) => One::Failed(why),
    }
}
