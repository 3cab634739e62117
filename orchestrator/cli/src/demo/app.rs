//! `rekindle demo-app`: what the orchestrators call to stop and start the demonstration's application on the lab.
//!
//! It reads one order on standard input and may be called any number of times for it: a writer of that generation that runs is
//! left alone, one of an older generation is replaced.

use super::ledger::Ledger;
use crate::{args::DemoAppArgs, error::CliError, exit::Exit};
use rekindle_lab::{Lab, OnStart, Site, Spawn};
use rekindle_orchestrator::agent::{AgentAction, AgentOrder};
use std::{fs, io::Read, path::PathBuf};

/// The writer's name within its site.
const WRITER: &str = "writer";

/// Carries out one order.
///
/// # Errors
/// [`CliError`] with what went wrong; the orchestrator logs it.
pub fn run(args: &DemoAppArgs) -> Result<Exit, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| CliError::failed(format!("standard input: {e}")))?;
    let order: AgentOrder =
        serde_json::from_str(&text).map_err(|e| CliError::usage(format!("no order: {e}")))?;
    let app = App {
        lab: Lab::open(&args.lab).map_err(failed)?,
        ledger: Ledger::at(&args.ledger).map_err(failed)?,
    };
    app.carry_out(&order)?;
    Ok(Exit::Ok)
}

fn failed(e: impl std::fmt::Display) -> CliError {
    CliError::failed(e.to_string())
}

/// The application on a lab.
#[derive(Debug)]
pub(super) struct App {
    pub(super) lab: Lab,
    pub(super) ledger: Ledger,
}

impl App {
    /// Does what an order says.
    pub(super) fn carry_out(&self, order: &AgentOrder) -> Result<(), CliError> {
        let site: Site = order.zone.as_str().parse().map_err(failed)?;
        match order.action {
            AgentAction::Stop => self.stop(site),
            AgentAction::Start => self.start(site, order),
            AgentAction::Fence => Err(CliError::usage("this command fences nothing")),
            AgentAction::Before | AgentAction::After | AgentAction::Ready => {
                Err(CliError::usage("this command is no hook"))
            }
        }
    }

    pub(super) fn stop(&self, site: Site) -> Result<(), CliError> {
        match self.lab.pid(site, WRITER).map_err(failed)? {
            None => Ok(()),
            Some(_) => self.lab.stop_service(site, WRITER).map_err(failed),
        }
    }

    /// Kills it, as its host's death would.
    pub(super) fn kill(&self, site: Site) -> Result<(), CliError> {
        match self.lab.pid(site, WRITER).map_err(failed)? {
            None => Ok(()),
            Some(_) => self.lab.kill_service(site, WRITER).map_err(failed),
        }
    }

    fn start(&self, site: Site, order: &AgentOrder) -> Result<(), CliError> {
        let running = self.lab.pid(site, WRITER).map_err(failed)?;
        let generation = order.generation.to_string();
        if running.is_some()
            && fs::read_to_string(self.mark(site)).ok().as_ref() == Some(&generation)
        {
            return Ok(());
        }
        self.stop(site)?;
        let zone = self.lab.zone(site).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let spawn = Spawn::new(program)
            .arg("demo-writer")
            .args([
                "--ceph-conf".to_owned(),
                zone.ceph_conf.display().to_string(),
            ])
            .args(["--client-id", zone.client_id])
            .args([
                "--ledger".to_owned(),
                self.ledger.dir().display().to_string(),
            ])
            .args(["--generation".to_owned(), generation.clone()])
            .args(order.volumes.iter().map(ToString::to_string))
            // An application does not come back by itself with its zone: where it runs is decided elsewhere.
            .on_start(OnStart::Leave);
        self.lab.spawn(site, WRITER, &spawn).map_err(failed)?;
        fs::write(self.mark(site), generation).map_err(failed)
    }

    /// Under which generation the site's writer was started last.
    fn mark(&self, site: Site) -> PathBuf {
        self.ledger.dir().join(format!("{site}.generation"))
    }
}
