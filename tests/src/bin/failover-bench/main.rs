//! `failover-bench`: how fast a zone's volumes are promoted, beside a shell loop of `rbd mirror image …` on the same clusters,
//! in the same run, in turns.
//!
//! ```text
//!   world.rs    a lab of its own, a release sidecar in each zone
//!   volumes.rs  small images, half journal, half snapshot; marks that prove that a copy is in step
//!   forced.rs   zone-a is killed; one half promoted by the sidecar, the other by the loop; zone-a back, copies made anew
//!   planned.rs  demote there, promote here; the direction and the order change with each round
//!   report.rs   the table and the JSON
//! ```
//!
//! It fails where something did not work, never for being slow: on a shared machine only the ratios mean anything.

mod forced;
mod planned;
mod report;
mod volumes;
mod world;

use anyhow::ensure;
use clap::Parser;
use rekindle_tests::bench::{Progress, write};
use report::{Machine, Memory, Report};
use std::{io::Write, path::PathBuf};
use world::World;

/// Fewer rounds go with more volumes than this: the loop alone takes minutes then.
const MANY: usize = 100;

/// Failover speed beside a shell loop.
#[derive(Debug, Parser)]
#[command(name = "failover-bench", version)]
struct Args {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/failover.json")]
    out: PathBuf,
    /// How many volumes are failed over; each count is measured.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 200])]
    volumes: Vec<usize>,
    /// Rounds for each count; two fifths of them for more than 100 volumes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// 20 volumes, 2 rounds: whether it works, in minutes. `--volumes` and `--rounds` are ignored.
    #[arg(long)]
    quick: bool,
    /// Shows what the lab and the measuring do.
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if args.quick {
        args.volumes = vec![20];
        args.rounds = 2;
    }
    args.volumes.sort_unstable();
    args.volumes.dedup();
    ensure!(
        !args.volumes.is_empty() && args.volumes.iter().all(|n| (2..=1000).contains(n)),
        "--volumes: give counts from 2 to 1000"
    );
    ensure!(
        (1..=100).contains(&args.rounds),
        "--rounds: give 1 to 100 of them"
    );
    let filter = if args.verbose { "info" } else { "warn" };
    rekindle_common::telemetry::init(rekindle_common::telemetry::LogFormat::Text, filter);
    let report = run(&args)?;
    let mut out = std::io::stdout().lock();
    write!(out, "\n{report}")?;
    writeln!(out, "\nWritten to {}", args.out.display())?;
    Ok(())
}

fn run(args: &Args) -> anyhow::Result<Report> {
    let say = Progress::begin();
    say.line("bringing up two zones with real Ceph");
    let mut world = World::up()?;
    let machine = Machine::look(&world)?;
    let mut report = Report::new(machine, args.rounds);
    let mut sets = forced::Sets::default();
    for (nth, count) in args.volumes.iter().copied().enumerate() {
        let took = sets.grow(&world, count)?;
        say.line(&format!(
            "{} volumes are mirrored ({:.0} s)",
            2 * count,
            took.as_secs_f64()
        ));
        let rounds = if count > MANY {
            (args.rounds * 2).div_ceil(5)
        } else {
            args.rounds
        };
        if nth == 0 {
            report
                .planned
                .push(planned::measure(&world, sets.first(), rounds, &say)?);
        }
        report
            .forced
            .push(forced::measure(&mut world, &sets, rounds, &say)?);
        let peak = world.peak_memory()?;
        report.memory.push(Memory {
            volumes: count,
            mirrored_in_zone: 2 * count,
            peak_mib: peak,
        });
        report.daemon_restarts = world.restarts();
        report.total_s = say.elapsed().as_secs_f64();
        // What was measured is not lost with what comes after it.
        write(&args.out, &report)?;
    }
    Ok(report)
}
