//! Following a plan to its end: a bar on a terminal, a line for each record elsewhere, nothing for JSON.

use crate::{commands::record_in_words, error::CliError, exit::Exit, output::Output};
use indicatif::{ProgressBar, ProgressStyle};
use rekindle_common::PlanId;
use rekindle_core::{plan::Plan, saga::End};
use rekindle_orchestrator::{
    client::OrchestratorClient,
    wire::{PlanDetail, Progress, WatchLine},
};
use std::time::Duration;
use tokio::time::sleep;

/// A watch that breaks is begun anew so many times in a row without a new line before the command gives up.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Follows a plan. The exit code says how it ended; a plan that waits for a person is [`Exit::Held`].
///
/// # Errors
/// [`CliError`] where the plan is unknown, its journal is damaged, or nobody answers any more.
pub async fn follow(
    client: &OrchestratorClient,
    plan: &PlanId,
    output: &Output,
) -> Result<(Exit, PlanDetail), CliError> {
    let detail = client.plan(plan).await.map_err(CliError::Api)?;
    let view = View::new(&detail.plan, output);
    let mut seen = 0;
    let mut tries = 0;
    let exit = loop {
        match watch_once(client, plan, &view, &mut seen, &mut tries).await? {
            Some(exit) => break exit,
            None if tries < TRIES => {
                tries += 1;
                view.doing("the watch broke; looking again");
                sleep(PAUSE).await;
            }
            None => {
                return Err(CliError::Unreachable {
                    message: format!(
                        "plan {plan} cannot be watched any more; it goes on without this command"
                    ),
                    advice: format!("`rekindle plan show {plan} --watch` takes it up again"),
                });
            }
        }
    };
    view.end();
    let detail = client.plan(plan).await.map_err(CliError::Api)?;
    Ok((exit, detail))
}

/// Until the end, or until the connection breaks (`None`).
async fn watch_once(
    client: &OrchestratorClient,
    plan: &PlanId,
    view: &View<'_>,
    seen: &mut u32,
    tries: &mut u32,
) -> Result<Option<Exit>, CliError> {
    let mut watch = match client.watch(plan).await {
        Ok(watch) => watch,
        Err(e) if e.retryable() => return Ok(None),
        Err(e) => return Err(CliError::Api(e)),
    };
    loop {
        match watch.next().await {
            // A watch begins with the first record: those that were shown are passed over.
            Ok(Some(WatchLine::Record { seq, record })) if seq >= *seen => {
                *seen = seq + 1;
                *tries = 0;
                view.record(&record_in_words(view.plan, &record));
            }
            Ok(Some(WatchLine::Record { .. })) => {}
            Ok(Some(WatchLine::Progress { progress })) => view.progress(&progress),
            Ok(Some(WatchLine::Ended { end, .. })) => {
                return Ok(Some(match end {
                    End::Succeeded => Exit::Ok,
                    End::Partial => Exit::Partial,
                    End::Abandoned | End::Unwound | End::GivenUp | End::Overtaken => Exit::Failed,
                }));
            }
            Ok(Some(WatchLine::Waiting { .. })) => return Ok(Some(Exit::Held)),
            Ok(Some(WatchLine::Broken { problem })) => {
                return Err(CliError::ended(problem.code.into(), problem.to_string())
                    .advise("see docs/operations.md on a damaged journal".to_owned()));
            }
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}

struct View<'a> {
    plan: &'a Plan,
    output: &'a Output,
    bar: Option<ProgressBar>,
}

impl<'a> View<'a> {
    fn new(plan: &'a Plan, output: &'a Output) -> Self {
        let bar = output.live().then(|| {
            let bar = ProgressBar::new(0);
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { plan, output, bar }
    }
    fn record(&self, line: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(spinner());
                bar.println(format!("  {line}"));
                bar.set_message(line.to_owned());
            }
            None => self.output.note(line),
        }
    }
    fn progress(&self, p: &Progress) {
        let Some(bar) = &self.bar else { return };
        if p.of > 0 {
            bar.set_style(counted());
            bar.set_length(p.of as u64);
            bar.set_position(p.done as u64);
        }
        bar.set_message(format!("{} {}", p.name, p.note));
    }
    fn doing(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }
    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    style("{spinner} [{elapsed}] {msg}")
}
fn counted() -> ProgressStyle {
    style("{spinner} [{elapsed}] {bar:30} {pos}/{len} {msg}")
}
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
