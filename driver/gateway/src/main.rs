//! `rekindle-gateway`: reads its configuration, binds its listeners, runs until SIGTERM or SIGINT.

use anyhow::Context as _;
use clap::Parser;
use rekindle_common::telemetry;
use rekindle_gateway::{Gateway, config::Config};
use rekindle_net::{
    Drained,
    supervisor::{self, StopSignals},
};
use std::{io::Write as _, path::PathBuf, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// The gateway in front of Cinder's API.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// The configuration, TOML; `REKINDLE__SECTION__KEY` in the environment goes over it.
    #[arg(
        short,
        long,
        env = "REKINDLE_GATEWAY_CONFIG",
        default_value = "/etc/rekindle/gateway.toml"
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
        rekindle_gateway::check_rules(&config)?;
        // Who sees no more of it than that it ended well has what they asked for.
        let _ = writeln!(std::io::stdout(), "{}", rekindle_gateway::paths(&config));
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(config.log.format, &config.log.filter);
    // It takes connections in and answers probes; clients are served by threads of their own (`workers`).
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(run(&config));
    // A name that no resolver answers for is looked up by a thread that nothing stops: that is not waited for.
    runtime.shutdown_background();
    ended
}

async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let signals = StopSignals::listen().context("cannot listen for SIGTERM and SIGINT")?;
    let gateway = Gateway::bind(config).await?;
    let signals = signals.cancel(stop.clone(), "draining");
    tracing::info!(
        zone = %config.zone,
        address = %gateway.address(),
        metrics = gateway.metrics_address().map(tracing::field::display),
        upstream = %config.upstream.url,
        "serving"
    );
    // It listens. Whether Cinder answers is another matter, and each request tells.
    supervisor::started(&format!("zone {}", config.zone));
    let drained = supervisor::watched(gateway.run(stop)).await;
    signals.abort();
    Ok(match drained {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::Cut { .. } => ExitCode::from(3),
    })
}
