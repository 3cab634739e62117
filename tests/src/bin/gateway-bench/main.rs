//! `gateway-bench`: the gateway beside nginx, in front of the same upstream, under the same load, in the same run, in turns.
//!
//! ```text
//!   stub.rs     where Cinder, Keystone and the sidecar stand: one thread that has all answers at hand (answers.rs)
//!   load.rs     clients: one thread that writes and reads bytes
//!   proxies.rs  nginx and the gateway, each as one process for itself and as it is installed
//!   turns.rs    one after the other, each first every other round; what each took of the processor beside what it answered
//!   real.rs     the same in front of a lab's real Cinder, with --real
//!   report.rs   the table and the JSON
//! ```
//!
//! What is measured is what stands in the middle, so the two ends are as cheap as they get. Yet all three share the machine: on two
//! cores the answers in a second are of all together, and the time of the processor for each answer is of the proxy alone. It fails
//! where something did not work, never for being slow.

mod answers;
mod load;
mod proxies;
mod real;
mod report;
mod stub;
mod turns;

use anyhow::{Context, ensure};
use clap::Parser;
use load::Asked;
use proxies::Proxy;
use rekindle_tests::bench::{Progress, write};
use report::{Machine, Memory, Report};
use serde_json::Value;
use std::{io::Write, path::PathBuf, time::Duration};
use stub::Stub;
use turns::{Case, Goal, Turns};

/// The gateway beside nginx.
#[derive(Debug, Parser)]
#[command(name = "gateway-bench", version)]
struct Args {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/gateway.json")]
    out: PathBuf,
    /// Rounds; the one in the middle counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load for each proxy in each round.
    #[arg(long, default_value_t = 3.0)]
    turn: f64,
    /// Connections with a request each.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Connections that stand open while the memory is looked at.
    #[arg(long, default_value_t = 2000)]
    open: usize,
    /// Also in front of a real Cinder, in a lab of its own: a minute more.
    #[arg(long)]
    real: bool,
    /// Only these cases, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Threads, and files for as many connections as stand open at both ends.
const FILES: u64 = 16_384;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        (1..=50).contains(&args.rounds) && (0.2..=60.0).contains(&args.turn),
        "--rounds: 1 to 50, --turn: 0.2 to 60"
    );
    ensure!(
        (1..=512).contains(&args.connections) && (1..=4000).contains(&args.open),
        "--connections: 1 to 512, --open: 1 to 4000"
    );
    rekindle_common::telemetry::init(rekindle_common::telemetry::LogFormat::Text, "warn");
    proxies::allow_files(FILES)?;
    let report = run(&args)?;
    write(&args.out, &report)?;
    let mut out = std::io::stdout().lock();
    write!(out, "\n{report}")?;
    writeln!(out, "\nWritten to {}", args.out.display())?;
    Ok(())
}

/// What is asked of both. Lists are as long as Cinder gives them at once.
fn cases(connections: usize) -> Vec<Case> {
    // A list is a megabyte: fewer at once fill the machine as well, and what the gateway holds of bodies has a bound.
    let few = connections.min(8);
    let base = format!("/v3/{}", answers::PROJECT);
    let case = |name, what, asked, connections, goal| Case {
        name,
        what,
        asked,
        connections,
        goal,
    };
    vec![
        case(
            "types",
            "GET of the volume types, 1 KB: nothing is added",
            Asked::get(&format!("{base}/types")),
            connections,
            Goal::PASS_THROUGH,
        ),
        case(
            "post",
            "POST of 512 bytes to a path that nothing is added to",
            Asked::post(&format!("{base}/types"), 512),
            connections,
            Goal::PASS_THROUGH,
        ),
        case(
            "snapshots",
            "GET of 1,000 snapshots in detail: nothing is added",
            Asked::get(&format!("{base}/snapshots/detail")),
            few,
            Goal::PASS_THROUGH,
        ),
        case(
            "volumes",
            "GET of 1,000 volumes in detail: the gateway adds each one's status",
            Asked::get(&format!("{base}/volumes/detail")),
            few,
            Goal::WITH_STATUS,
        ),
    ]
}

fn run(args: &Args) -> anyhow::Result<Report> {
    let say = Progress::begin();
    let dir = tempfile::tempdir().context("a temporary folder")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket = dir.path().join("driver.sock");
    let stub = Stub::start(&socket)?;
    let nginx = proxies::nginx(dir.path(), stub.address)?;
    let config = proxies::for_a_stub(dir.path(), stub.address, &socket)?;
    let gateway = proxies::gateway(dir.path(), &config)?;
    let mut report = Report::new(Machine::look()?, args.rounds, args.turn);
    let turns = Turns {
        runtime: &runtime,
        nginx: &nginx,
        gateway: &gateway,
        rounds: args.rounds,
        turn: Duration::from_secs_f64(args.turn),
    };
    for proxy in [&nginx, &gateway] {
        runtime.block_on(load::answers(proxy.address, &cases(1)[0].asked))?;
    }
    truthful(&runtime, &nginx, &gateway)?;
    say.line("both answer as they should");
    for case in cases(args.connections) {
        if args.only.is_empty() || args.only.iter().any(|name| name == case.name) {
            let measured = turns.of(&case)?;
            say.line(&measured.to_string());
            report.cases.push(measured);
        }
    }
    for proxy in [&nginx, &gateway] {
        let asked = Asked::get(&format!(
            "/v3/{}/volumes/{}",
            answers::PROJECT,
            answers::id(0)
        ));
        let before = proxy.memory()?;
        let open = runtime.block_on(load::open(proxy.address, args.open, &asked))?;
        let during = proxy.memory()?;
        drop(open);
        report.memory.push(Memory {
            proxy: proxy.name,
            connections: args.open,
            before,
            during,
        });
    }
    if args.real {
        // What was measured is not lost with what comes after it.
        write(&args.out, &report)?;
        say.line("bringing up a zone with a real Cinder");
        report.real = Some(real::measure(&turns, &runtime, &say)?);
    }
    report.end(say.elapsed());
    Ok(report)
}

/// What they answer is what they should, before it is counted: all of the stub's bytes from nginx, and each volume's status from the gateway.
fn truthful(
    runtime: &tokio::runtime::Runtime,
    nginx: &Proxy,
    gateway: &Proxy,
) -> anyhow::Result<()> {
    for case in cases(1) {
        let theirs = runtime.block_on(load::once(nginx.address, &case.asked))?;
        let ours = runtime.block_on(load::once(gateway.address, &case.asked))?;
        if case.goal != Goal::WITH_STATUS {
            ensure!(theirs == ours, "{}: the answers differ", case.name);
            continue;
        }
        let list: Value = serde_json::from_slice(&ours)?;
        let volumes = list["volumes"].as_array().context("a list of volumes")?;
        let shown = volumes
            .iter()
            .filter(|v| v["rekindle:status"] == "active - primary");
        ensure!(
            shown.count() == answers::MANY,
            "not all of {} volumes carry their status",
            volumes.len()
        );
        let (mut without, _) =
            rekindle_tests::scenario::without_fields(std::str::from_utf8(&ours)?)
                .context("no volumes")?;
        let plain: Value = serde_json::from_slice(&theirs)?;
        ensure!(
            without.take() == plain,
            "the volumes differ in more than the status"
        );
    }
    Ok(())
}
