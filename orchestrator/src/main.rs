//! `rekindle-orchestrator`: reads its configuration, builds the orchestrator, runs it until SIGTERM or SIGINT.

use anyhow::Context as _;
use clap::Parser;
use rekindle_common::telemetry;
use rekindle_net::{
    Drained,
    supervisor::{self, StopSignals},
};
use rekindle_orchestrator::{config::Config, start::start};
use std::{path::PathBuf, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// Observes both zones, decides, and carries out.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// The configuration, TOML; `REKINDLE__SECTION__KEY` in the environment goes over it.
    #[arg(
        short,
        long,
        env = "REKINDLE_ORCHESTRATOR_CONFIG",
        default_value = "/etc/rekindle/orchestrator.toml"
    )]
    config: PathBuf,
    /// Only say whether the configuration can be used.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let of = || format!("the configuration {}", args.config.display());
    let config = Config::load(&args.config).with_context(of)?;
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(config.log.format, &config.log.filter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(run(&config));
    // A name that no resolver answers for is looked up by a thread that nothing stops: that is not waited for.
    runtime.shutdown_background();
    ended
}

async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let signals = StopSignals::listen().context("cannot listen for SIGTERM and SIGINT")?;
    let (orchestrator, server) = start(config).await?;
    // First it leads no more and its executors stop, then nobody is answered any more.
    let (stop, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let signals = signals.cancel(stop.clone(), "stopping");
    let serving = tokio::spawn(server.run(stop_serving.clone()));
    tracing::info!(site = %config.site, "started");
    supervisor::started(&format!("site {}", config.site));
    supervisor::watched(orchestrator.run(stop)).await;
    stop_serving.cancel();
    let drained = serving.await.context("the server broke")?;
    signals.abort();
    Ok(match drained {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::Cut { .. } => ExitCode::from(3),
    })
}
