//! `rekindle-driver`: reads its configuration, builds the sidecar, runs it until SIGTERM or SIGINT.

use anyhow::Context as _;
use clap::Parser;
use rekindle_common::telemetry;
use rekindle_driver::{build, config::Config};
use rekindle_net::{
    Drained,
    supervisor::{self, StopSignals},
};
use std::{path::PathBuf, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// The sidecar beside cinder-volume.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// The configuration, TOML; `REKINDLE__SECTION__KEY` in the environment goes over it.
    #[arg(
        short,
        long,
        env = "REKINDLE_DRIVER_CONFIG",
        default_value = "/etc/rekindle/driver.toml"
    )]
    config: PathBuf,
    /// Only say whether the configuration can be used.
    #[arg(long)]
    check: bool,
}

/// Heaps that malloc may keep; see [`rbd_rs::limit_malloc_arenas`].
const ARENAS: u8 = 2;

fn main() -> anyhow::Result<ExitCode> {
    rbd_rs::limit_malloc_arenas(ARENAS);
    let args = Args::parse();
    let of = || format!("the configuration {}", args.config.display());
    let config = Config::load(&args.config).with_context(of)?;
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(config.log.format, &config.log.filter);
    // Few threads: what blocks runs on the call pool's own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(run(&config))?;
    // Threads that hang in a dead cluster are not waited for.
    runtime.shutdown_background();
    Ok(code)
}

async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let signals = StopSignals::listen().context("cannot listen for SIGTERM and SIGINT")?;
    let sidecar = build::sidecar(config).await?;
    let signals = signals.cancel(stop.clone(), "draining");
    // It listens. Whether its cluster answers is another matter, and `/readyz` tells.
    supervisor::started(&format!("zone {}", config.zone));
    let drained = supervisor::watched(sidecar.run(stop)).await;
    signals.abort();
    Ok(match drained {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::Cut { .. } => ExitCode::from(3),
    })
}
