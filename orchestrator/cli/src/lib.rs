//! The `rekindle` command.
//!
//! ```text
//!   args -> config -> connect -> commands/* -> output
//!                                demo/*     -> output     one story, in this process or on the lab
//! ```
//!
//! Nothing here decides: the orchestrators and the sidecars do, and their refusals are passed on with what to do about them.

pub mod args;
pub mod commands;
pub mod config;
pub mod connect;
pub mod demo;
pub mod error;
pub mod exit;
pub mod output;
pub mod progress;

use args::{Cli, Command};
use clap::{CommandFactory, Parser, error::ErrorKind};
use config::CliConfig;
use connect::Peers;
use error::CliError;
use exit::Exit;
use output::{Format, Output};
use rekindle_common::telemetry;
use std::ffi::OsString;

/// The whole command: reads the command line, acts, writes, and says how it ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return not_parsed(&e, &args),
    };
    let output = Output::standard(cli.output);
    // Standard error carries errors, as JSON where that was asked for: logs only for whoever asks for them too.
    if std::env::var_os("REKINDLE_LOG").is_some() {
        telemetry::init(telemetry::LogFormat::Text, "warn");
    }
    match run(cli, &output) {
        Ok(exit) => exit,
        Err(e) => {
            output.error(&e);
            e.exit()
        }
    }
}

/// Help and version are no errors; a wrong line is told in the form that was asked for.
fn not_parsed(e: &clap::Error, args: &[OsString]) -> Exit {
    let json = args
        .windows(2)
        .any(|w| w[0] == "--output" && w[1] == "json")
        || args.iter().any(|a| a == "--output=json");
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "clap's enum may grow, and all the rest is a wrong call"
    )]
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has what it wanted.
            let _ = e.print();
            Exit::Ok
        }
        _ if json => {
            let text = e.to_string();
            let message = text.trim_start_matches("error: ").trim_end();
            Output::standard(Format::Json).error(&CliError::usage(message));
            Exit::Usage
        }
        _ => {
            let _ = e.print();
            Exit::Usage
        }
    }
}

fn run(cli: Cli, output: &Output) -> Result<Exit, CliError> {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rekindle", &mut script);
            output.raw(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Ok)
        }
        Command::DemoWriter(args) => demo::writer::run(&args),
        Command::DemoApp(args) => demo::app::run(&args),
        Command::DemoReady(args) => demo::ready::run(&args),
        Command::Config(args::ConfigCommand::Check { files }) => {
            commands::config_check(&files, output)
        }
        Command::Cinder(args::CinderCommand::Repair(args)) => {
            runtime()?.block_on(commands::cinder_repair(&args, output))
        }
        Command::Record(command) => {
            let peers = || Peers::from_config(CliConfig::load(cli.config.as_deref())?);
            runtime()?.block_on(commands::record(command, peers, output))
        }
        Command::Preflight(args) => runtime()?.block_on(commands::preflight(&args, output)),
        Command::Demo(args) => runtime()?.block_on(demo::run(&args, output)),
        command @ (Command::Status
        | Command::Catalogue
        | Command::Server(_)
        | Command::Volume(_)
        | Command::Group(_)
        | Command::Failover { .. }
        | Command::Move { .. }
        | Command::Failback { .. }
        | Command::Approve { .. }
        | Command::Acknowledge { .. }
        | Command::Maintenance(_)
        | Command::Freeze { .. }
        | Command::Thaw { .. }
        | Command::Plan(_)
        | Command::History { .. }) => {
            let peers = Peers::from_config(CliConfig::load(cli.config.as_deref())?)?;
            runtime()?.block_on(commands::run(command, &peers, output))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(format!("no runtime could be made: {e}")))
}
