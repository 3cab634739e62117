//! `servers-bench`: what a runbook costs beside the time that Nova itself takes, and how that and the memory grow with the servers.
//!
//! ```text
//!   stub.rs     a Keystone, a Nova and a Neutron that answer as was recorded from real ones, after a time that is given: a process of its own
//!   measure.rs  one count of servers, in a process of its own: a bare loop of `ensure_active`, then a plan by the real executor on a real
//!               etcd, then the keeper's rounds
//!   ground.rs   what stands in etcd before, and who leads
//!   sidecar.rs  each zone's, which has no volumes
//!   report.rs   the table and the JSON
//! ```
//!
//! Each count is measured in a process of its own, so that its peak memory is its own. It fails where something did not work, or where what has to
//! be linear is not; never for being slow.

mod ground;
mod measure;
mod report;
mod sidecar;
mod stub;

use anyhow::{Context, ensure};
use clap::{Args as ClapArgs, Parser, Subcommand};
use measure::Measured;
use rekindle_store::testing::TestEtcd;
use rekindle_tests::bench::write;
use report::Report;
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The runbook's own cost.
#[derive(Debug, Parser)]
#[command(name = "servers-bench", version)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, ClapArgs)]
struct Args {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/servers.json")]
    out: PathBuf,
    /// Servers that are started beside a Nova with a real one's times.
    #[arg(long, default_value_t = 50)]
    servers: usize,
    /// Nova's time for a call, in ms.
    #[arg(long, default_value_t = 60)]
    call_ms: u64,
    /// Nova's time to start a server, in ms.
    #[arg(long, default_value_t = 3000)]
    start_ms: u64,
    /// Counts for the growth, beside a Nova that is as quick as can be.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 500, 5000])]
    growth: Vec<usize>,
}

/// Its other processes.
#[derive(Debug, Subcommand)]
enum Part {
    /// The clouds.
    #[command(hide = true)]
    Stub {
        #[arg(long)]
        call_ms: u64,
        #[arg(long)]
        start_ms: u64,
    },
    /// One count.
    #[command(hide = true)]
    Measure {
        #[arg(long)]
        servers: usize,
        #[arg(long)]
        cloud: String,
        #[arg(long)]
        etcd: String,
        #[arg(long)]
        poll_ms: u64,
        #[arg(long)]
        folder: PathBuf,
    },
}

/// As the orchestrator is shipped: between two looks at a server that is waited for.
const POLL: Duration = Duration::from_secs(2);
/// Beside a quick Nova.
const QUICK_POLL: Duration = Duration::from_millis(20);
/// What a quick Nova takes for a call, and for a start, in ms.
const QUICK: (u64, u64) = (1, 10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    rekindle_common::telemetry::init(rekindle_common::telemetry::LogFormat::Text, "error");
    match cli.part {
        Some(Part::Stub { call_ms, start_ms }) => {
            let (call, start) = (
                Duration::from_millis(call_ms),
                Duration::from_millis(start_ms),
            );
            stub::serve(call, start).await
        }
        Some(Part::Measure {
            servers,
            cloud,
            etcd,
            poll_ms,
            folder,
        }) => {
            let poll = Duration::from_millis(poll_ms);
            let measured = measure::one(servers, &cloud, &etcd, poll, &folder).await?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&measured)?)?;
            Ok(())
        }
        None => run(&cli.args).await,
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut counts = args.growth.clone();
    counts.sort_unstable();
    counts.dedup();
    let most = rekindle_common::runbook::MAX_SERVERS;
    let fits = |n: &usize| (1..=most).contains(n);
    ensure!(
        counts.len() >= 2 && counts.iter().all(fits) && fits(&args.servers),
        "--growth, --servers: counts from 1 to {most}, and two of them at least to see what grows"
    );
    say(&format!(
        "{} servers, Nova takes {} ms for a call and {} ms for a start",
        args.servers, args.call_ms, args.start_ms
    ));
    let real = apart(args.servers, (args.call_ms, args.start_ms), POLL).await?;
    let mut growth = Vec::new();
    for count in counts {
        say(&format!("{count} servers, beside a Nova without delay"));
        growth.push(apart(count, QUICK, QUICK_POLL).await?);
    }
    let report = Report::of((args.call_ms, args.start_ms), real, growth)?;
    write(&args.out, &report)?;
    let mut out = std::io::stdout().lock();
    write!(out, "\n{report}")?;
    writeln!(out, "\nWritten to {}", args.out.display())?;
    report.judge()
}

fn say(text: &str) {
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Ended with its guard.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One count, with clouds and an etcd of its own.
async fn apart(
    servers: usize,
    (call, start): (u64, u64),
    poll: Duration,
) -> anyhow::Result<Measured> {
    let me = std::env::current_exe().context("this program's own file is not known")?;
    let mut stub = Command::new(&me)
        .args([
            "stub",
            "--call-ms",
            &call.to_string(),
            "--start-ms",
            &start.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the clouds' process cannot be started")?;
    let out = stub.stdout.take().context("it has no output")?;
    let _stub = Process(stub);
    let mut cloud = String::new();
    BufReader::new(out).read_line(&mut cloud)?;
    let etcd = TestEtcd::start(1).await?;
    let folder = tempfile::tempdir()?;
    let endpoints = etcd.config().endpoints.join(",");
    let output = Command::new(&me)
        .args([
            "measure",
            "--servers",
            &servers.to_string(),
            "--cloud",
            cloud.trim(),
        ])
        .args([
            "--etcd",
            &endpoints,
            "--poll-ms",
            &poll.as_millis().to_string(),
        ])
        .arg("--folder")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("the measuring process cannot be started")?;
    ensure!(output.status.success(), "{servers} servers: it failed");
    serde_json::from_slice(&output.stdout).context("it did not say what it measured")
}
