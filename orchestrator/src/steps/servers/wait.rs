//! What must be so, beside Nova's word, for a server to count as serving. Tried from the leading orchestrator, one try a pass.

use super::{Memo, One, Result, env::Env};
use crate::agent::AgentAction;
use rekindle_common::runbook::{RunbookServer, Wait};
use std::time::Duration;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// For one try at a port or an address.
const TRY: Duration = Duration::from_secs(3);
/// For one run of a command.
const COMMAND: Duration = Duration::from_secs(60);

/// Tries those that are not over yet, until one is not so.
pub(super) async fn next(env: &Env<'_>, s: &RunbookServer, memo: &mut Memo) -> Result<One> {
    while let Some(wait) = s.wait.get(memo.waits_over) {
        let since = *memo.waiting_since.get_or_insert_with(Instant::now);
        match once(env, s, wait).await? {
            Ok(()) => {
                memo.waits_over += 1;
                memo.waiting_since = None;
            }
            Err(why) if since.elapsed() >= wait.within().get() => {
                return Ok(One::Failed(format!(
                    "it runs, and {wait} was not so within {}: {why}",
                    wait.within()
                )));
            }
            Err(why) => return Ok(One::Waits(format!("it runs; {wait}: {why}"))),
        }
    }
    Ok(One::Done)
}

async fn once(
    env: &Env<'_>,
    s: &RunbookServer,
    wait: &Wait,
) -> Result<std::result::Result<(), String>> {
    Ok(match wait {
        Wait::Tcp { tcp, .. } => connects(tcp).await,
        Wait::Http { http, .. } => answers(http).await,
        Wait::Command { command, within } => {
            let ctx = env.ctx;
            let Some(agent) = ctx.tools.agents.hooks.get(command) else {
                let why = format!("no hook {command:?} is in this orchestrator's configuration");
                return Ok(Err(why));
            };
            let order =
                ctx.runbook_order(AgentAction::Ready, env.zone, env.generation, Some(&s.key));
            ctx.lead.check()?;
            match timeout(within.get().min(COMMAND), agent.run(order)).await {
                Ok(ended) => ended.map_err(|e| e.to_string()),
                Err(_) => Err("it did not end in time, and was stopped".to_owned()),
            }
        }
    })
}

async fn connects(at: &str) -> std::result::Result<(), String> {
    match timeout(TRY, TcpStream::connect(at)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(format!("no connection: {e}")),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

async fn answers(url: &str) -> std::result::Result<(), String> {
    match rekindle_openstack::probe::status_of(url, TRY).await {
        Ok(200..=399) => Ok(()),
        Ok(status) => Err(format!("it answers {status}")),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests;
