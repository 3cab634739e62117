//! What must be so, beside Nova's word, for a server to count as serving. Tried from the leading orchestrator, one try a pass.

use super::{Memo, One, Result, env::Env};
use crate::agent::AgentAction;
use rekindle_common::runbook::{ADDRESS, RunbookServer, Wait};
use std::{net::IpAddr, time::Duration};
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
        match once(env, s, wait, memo.address).await? {
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
    address: Option<IpAddr>,
) -> Result<std::result::Result<(), String>> {
    Ok(match wait {
        Wait::Tcp { tcp, .. } => match addressed(tcp, address) {
            Ok(at) => connects(&at).await,
            Err(why) => Err(why),
        },
        Wait::Http { http, .. } => match addressed(http, address) {
            Ok(url) => answers(&url).await,
            Err(why) => Err(why),
        },
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

/// With the server's own address where it is asked for.
fn addressed(text: &str, address: Option<IpAddr>) -> std::result::Result<String, String> {
    match address {
        _ if !text.contains(ADDRESS) => Ok(text.to_owned()),
        Some(IpAddr::V4(v4)) => Ok(text.replace(ADDRESS, &v4.to_string())),
        Some(IpAddr::V6(v6)) => Ok(text.replace(ADDRESS, &format!("[{v6}]"))),
        None => Err("Nova shows no address of it".to_owned()),
    }
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
