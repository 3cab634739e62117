//! What each command asks of whom. One file for a subject.

mod catalogue;
mod cinder;
mod config_check;
mod group;
mod history;
mod pause;
mod preflight;
mod record;
mod server;
mod status;
mod volume;
mod words;

use crate::{
    args::{Approvable, Command, GroupCommand, MaintenanceCommand, PlanCommand, RunOptions},
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
    progress,
};
pub use cinder::repair as cinder_repair;
pub use config_check::check as config_check;
use futures::future::join_all;
use group::{GroupList, GroupPage, PutPage};
use history::{DetailPage, History, HistoryPage, PlanList, PlanPage};
pub use preflight::run as preflight;
pub use record::run as record;
use rekindle_common::{GroupName, PlanId};
use rekindle_core::{
    decision::Request,
    plan::Plan,
    saga::Record,
    snapshot::{Approved, LossAccepted, Vouch},
};
use rekindle_orchestrator::wire::{ApproveRequest, Run, View};
use serde::Serialize;

/// A journal's record in words.
pub(crate) fn record_in_words(plan: &Plan, record: &Record) -> String {
    history::event(plan, record)
}

/// Runs a command that needs the configuration.
///
/// # Errors
/// [`CliError`], with its exit code.
pub async fn run(command: Command, peers: &Peers, output: &Output) -> Result<Exit, CliError> {
    match command {
        Command::Status => status(peers, output).await,
        Command::Catalogue => catalogue::show(peers, output).await,
        Command::Server(command) => server::run(command, peers, output).await,
        Command::Volume(command) => volume::run(command, peers, output).await,
        Command::Group(command) => groups(command, peers, output).await,
        Command::Failover { group, run } => {
            plan(&group, Request::Failover, run, peers, output).await
        }
        Command::Move { group, to, run } => {
            plan(&group, Request::Move { to }, run, peers, output).await
        }
        Command::Failback { group, run } => {
            plan(&group, Request::Failback, run, peers, output).await
        }
        Command::Approve {
            group,
            what: None,
            level,
            by,
            vouch_cannot_write: _,
            accept_loss: _,
        } => pause::approve(&group, level, by, peers, output).await,
        Command::Approve {
            group,
            what: Some(what),
            level: _,
            vouch_cannot_write,
            accept_loss,
            by,
        } => {
            let what = approved(what, vouch_cannot_write, accept_loss)?;
            approve(&group, what, by, peers, output).await
        }
        Command::Acknowledge { group, by } => {
            let memory = peers
                .orchestrator()?
                .acknowledge(&group, by)
                .await
                .map_err(CliError::Api)?;
            let text = format!(
                "failover {} of {group} is acknowledged: automatic failover may happen again",
                memory.plan
            );
            done(output, &memory, text)
        }
        Command::Maintenance(MaintenanceCommand::On { reason }) => {
            peers
                .orchestrator()?
                .set_maintenance(&reason)
                .await
                .map_err(CliError::Api)?;
            done(
                output,
                &serde_json::json!({ "maintenance": reason }),
                format!(
                    "maintenance is on: {reason}. Nothing is done automatically; a plan at work goes on."
                ),
            )
        }
        Command::Maintenance(MaintenanceCommand::Off) => {
            peers
                .orchestrator()?
                .clear_maintenance()
                .await
                .map_err(CliError::Api)?;
            done(
                output,
                &serde_json::json!({ "maintenance": null }),
                "maintenance is off".to_owned(),
            )
        }
        Command::Freeze { zone, reason } => {
            peers
                .sidecar(&zone)?
                .freeze(&reason)
                .await
                .map_err(CliError::Api)?;
            done(
                output,
                &serde_json::json!({ "zone": zone, "frozen": reason }),
                format!("{zone} is frozen: {reason}"),
            )
        }
        Command::Thaw { zone } => {
            peers.sidecar(&zone)?.thaw().await.map_err(CliError::Api)?;
            done(
                output,
                &serde_json::json!({ "zone": zone, "frozen": null }),
                format!("{zone} takes actions again"),
            )
        }
        Command::Plan(command) => plans(command, peers, output).await,
        Command::History { group, limit } => history(group.as_ref(), limit, peers, output).await,
        Command::Cinder(_)
        | Command::Preflight(_)
        | Command::Record(_)
        | Command::Config(_)
        | Command::Demo(_)
        | Command::Completions { .. }
        | Command::DemoWriter(_)
        | Command::DemoApp(_)
        | Command::DemoReady(_) => Err(CliError::failed("this command needs no configuration")),
    }
}

/// A short answer: one line of text, or a document.
#[derive(Serialize)]
#[serde(transparent)]
struct Short<'a, T> {
    document: &'a T,
    #[serde(skip)]
    text: String,
}
impl<T: Serialize> Document for Short<'_, T> {
    fn text(&self, page: &mut Page) {
        page.line(&self.text);
    }
}

fn done<T: Serialize>(output: &Output, document: &T, text: String) -> Result<Exit, CliError> {
    output.document(&Short { document, text })?;
    Ok(Exit::Ok)
}

async fn status(peers: &Peers, output: &Output) -> Result<Exit, CliError> {
    let status = peers
        .orchestrator()?
        .status()
        .await
        .map_err(CliError::Api)?;
    // A script must not take a site's own view for the whole.
    let exit = match status.view {
        View::Whole => Exit::Ok,
        View::SiteOnly => Exit::Unreachable,
    };
    output.document(&status::StatusPage(status))?;
    Ok(exit)
}

async fn groups(command: GroupCommand, peers: &Peers, output: &Output) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    match command {
        GroupCommand::List => {
            let groups = client.groups().await.map_err(CliError::Api)?;
            output.document(&GroupList(groups))?;
        }
        GroupCommand::Show { group } => {
            let group = client.group(&group).await.map_err(CliError::Api)?;
            output.document(&GroupPage(group))?;
        }
        GroupCommand::Create {
            group,
            file,
            home,
            away,
            policy,
        } => {
            let spec = group::new_spec(group, file.as_deref(), (home, away), &policy)?;
            if let Ok(there) = client.group(&spec.name).await {
                return Err(CliError::ended(
                    Exit::Refused,
                    format!(
                        "group {} is there already, between {} and {}",
                        spec.name, there.spec.home, there.spec.away
                    ),
                )
                .advise(format!(
                    "`rekindle group set {}` changes its policy",
                    spec.name
                )));
            }
            let put = client.put_group(&spec).await.map_err(CliError::Api)?;
            output.document(&PutPage { spec, put })?;
        }
        GroupCommand::Set {
            group,
            file,
            policy,
        } => {
            let now = client.group(&group).await.map_err(CliError::Api)?;
            let spec = group::changed_spec(now.spec, file.as_deref(), &policy)?;
            let put = client.put_group(&spec).await.map_err(CliError::Api)?;
            output.document(&PutPage { spec, put })?;
        }
        GroupCommand::Delete { group } => {
            client.delete_group(&group).await.map_err(CliError::Api)?;
            let document = serde_json::json!({ "group": group, "deleted": true });
            return done(
                output,
                &document,
                format!("group {group} is forgotten; its volumes stay as they are"),
            );
        }
        GroupCommand::Resume { group, run } => {
            return plan(&group, Request::Resume, run, peers, output).await;
        }
        GroupCommand::Reprotect { group, run } => {
            return plan(&group, Request::Reprotect, run, peers, output).await;
        }
    }
    Ok(Exit::Ok)
}

async fn plan(
    group: &GroupName,
    request: Request,
    options: RunOptions,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    let run = if options.dry_run {
        Run::DryRun
    } else {
        Run::Begin
    };
    let answer = client
        .plan_for(group, request, run)
        .await
        .map_err(CliError::Api)?;
    if options.dry_run || options.no_wait {
        output.document(&PlanPage(answer))?;
        return Ok(Exit::Ok);
    }
    output.note(answer.plan.to_string().trim_end());
    finish(&client, &answer.plan.id, output).await
}

/// Follows a plan and shows how it ended.
async fn finish(
    client: &rekindle_orchestrator::client::OrchestratorClient,
    plan: &PlanId,
    output: &Output,
) -> Result<Exit, CliError> {
    let (exit, detail) = progress::follow(client, plan, output).await?;
    output.document(&HistoryPage(vec![History::new(detail)]))?;
    if exit == Exit::Held {
        output.note(format!(
            "the plan waits for a person; when what it says is mended: `rekindle plan retry {plan}`"
        ));
    }
    Ok(exit)
}

fn approved(what: Approvable, vouch: bool, accept_loss: bool) -> Result<Approved, CliError> {
    match (what, vouch || accept_loss) {
        (Approvable::Failover, _) => Ok(Approved::Failover {
            vouch: if vouch { Vouch::CannotWrite } else { Vouch::No },
            loss: if accept_loss {
                LossAccepted::Any
            } else {
                LossAccepted::WithinLimit
            },
        }),
        (Approvable::Reprotect | Approvable::Failback, true) => Err(CliError::usage(
            "--vouch-cannot-write and --accept-loss belong to a failover",
        )),
        (Approvable::Reprotect, false) => Ok(Approved::Reprotect),
        (Approvable::Failback, false) => Ok(Approved::Failback),
    }
}

async fn approve(
    group: &GroupName,
    what: Approved,
    by: String,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    // The approval is for what the person saw, so it names the generation: a change since is refused.
    let seen = client.group(group).await.map_err(CliError::Api)?;
    let generation = seen.primary.map(|p| p.generation);
    let request = ApproveRequest {
        what,
        by,
        generation,
    };
    let approval = client
        .approve(group, &request)
        .await
        .map_err(CliError::Api)?;
    let text = format!(
        "approved for {group}, generation {}, by {}; `rekindle status` shows what comes of it",
        approval.generation, approval.by
    );
    done(output, &approval, text)
}

async fn plans(command: PlanCommand, peers: &Peers, output: &Output) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    match command {
        PlanCommand::Show { plan, watch: true } => finish(&client, &plan, output).await,
        PlanCommand::Show { plan, watch: false } => {
            let detail = client.plan(&plan).await.map_err(CliError::Api)?;
            output.document(&DetailPage(detail))?;
            Ok(Exit::Ok)
        }
        PlanCommand::List { group, limit } => {
            let plans = client
                .plans(group.as_ref(), limit)
                .await
                .map_err(CliError::Api)?;
            output.document(&PlanList(plans))?;
            Ok(Exit::Ok)
        }
        PlanCommand::GiveUp { plan } => {
            let summary = client.give_up(&plan).await.map_err(CliError::Api)?;
            output.document(&PlanList(vec![summary]))?;
            Ok(Exit::Ok)
        }
        PlanCommand::Retry { plan, no_wait } => {
            let summary = client.retry(&plan).await.map_err(CliError::Api)?;
            if no_wait {
                output.document(&PlanList(vec![summary]))?;
                return Ok(Exit::Ok);
            }
            finish(&client, &plan, output).await
        }
    }
}

async fn history(
    group: Option<&GroupName>,
    limit: u32,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let client = peers.orchestrator()?;
    let plans = client.plans(group, limit).await.map_err(CliError::Api)?;
    let details = join_all(plans.iter().map(|p| client.plan(&p.id))).await;
    let details: Result<Vec<_>, _> = details.into_iter().collect();
    let history = details
        .map_err(CliError::Api)?
        .into_iter()
        .map(History::new)
        .collect();
    output.document(&HistoryPage(history))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests;
