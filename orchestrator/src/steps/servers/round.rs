//! One pass over a step's servers: at most [`SERVERS_AT_ONCE`] at a time, each once, and each as soon as those are over that it needs.

use super::{Memo, One, Result};
use crate::steps::{Context, Tally};
use futures::stream::{FuturesUnordered, StreamExt};
use rekindle_common::runbook::RunbookServer;
use rekindle_core::plan::SERVERS_AT_ONCE;
use std::{collections::VecDeque, future::Future};

/// Whether a server's turn has come.
pub(super) enum Gate {
    /// It has.
    Open,
    /// Not yet.
    Shut(String),
    /// It never will: it has failed.
    Never(String),
}

/// How a pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Something ended or is on its way.
    Goes,
    /// Nothing but errors that may pass.
    Trouble,
}

pub(super) async fn round<'s, Work, Does>(
    ctx: &Context<'_>,
    step: &'static str,
    tally: &mut Tally,
    servers: Vec<&'s RunbookServer>,
    gate: impl Fn(&Tally, &RunbookServer) -> Gate,
    work: Work,
) -> Result<Round>
where
    Work: Fn(&'s RunbookServer, Memo) -> Does,
    Does: Future<Output = Result<(One, Memo)>>,
{
    let mut ready: VecDeque<&RunbookServer> = servers
        .into_iter()
        .filter(|s| tally.server_is_open(&s.key))
        .collect();
    let mut shut = Vec::new();
    let mut running = FuturesUnordered::new();
    let mut went = Round::Trouble;
    loop {
        while running.len() < SERVERS_AT_ONCE
            && let Some(s) = ready.pop_front()
        {
            match gate(tally, s) {
                Gate::Open => {
                    let does = work(s, tally.memo(&s.key));
                    running.push(async move { (s, does.await) });
                }
                Gate::Shut(why) => {
                    tally.server_waits(&s.key, why);
                    shut.push(s);
                }
                Gate::Never(why) => {
                    went = Round::Goes;
                    tally.server_failed_for(&s.key, why);
                    ready.extend(shut.drain(..));
                }
            }
        }
        let Some((s, came)) = running.next().await else {
            return Ok(went);
        };
        let (one, memo) = came?;
        tally.keep_memo(&s.key, memo);
        if one == One::Done
            && let Some(took) = memo.took()
        {
            ctx.metrics.servers.took(step, took);
        }
        if note(tally, s, one) {
            went = Round::Goes;
        }
        if !tally.server_is_open(&s.key) {
            ready.extend(shut.drain(..));
        }
        let waits_for = tally.waits_for();
        ctx.show(tally, &waits_for);
    }
}

/// Whether it is more than an error that may pass.
fn note(tally: &mut Tally, s: &RunbookServer, one: One) -> bool {
    match one {
        One::Done => tally.server_done(&s.key),
        One::Named(why) => tally.server_named(&s.key, why),
        One::ByHand => tally.server_by_hand(&s.key),
        One::Waits(why) => tally.server_waits(&s.key, why),
        One::Failed(why) => tally.server_failed_for(&s.key, why),
        One::NotNow(why) => {
            tally.server_waits(&s.key, why);
            return false;
        }
    }
    true
}
