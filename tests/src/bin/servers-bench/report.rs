//! What was measured, as a table and as JSON, and whether it is linear.

use crate::measure::Measured;
use anyhow::{Context, ensure};
use serde::Serialize;
use std::fmt;

/// From each count to the next, and so from the fewest to the most, the cost of one may grow by so much: caches and the allocator, and no more.
/// What is quadratic grows by 10 from 500 to 5,000.
const LINEAR: f64 = 2.0;
/// An orchestrator with the most servers stays below this many MiB.
const GOAL_MIB: f64 = 256.0;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    rekindle: &'static str,
    load_at_end: f64,
    nova_call_ms: u64,
    nova_start_ms: u64,
    /// Beside a Nova with those times.
    beside_nova: Measured,
    /// What the plan took beyond the bare loop.
    overhead_s: f64,
    overhead_percent: f64,
    /// Beside one without delay.
    growth: Vec<Measured>,
    /// How much more one server costs than among the fewer of the count before, where that is most.
    plan_per_server_grows: f64,
    round_per_server_grows: f64,
    /// MiB that each thousand servers more add to the peak.
    plan_mib_per_thousand: f64,
    rounds_mib_per_thousand: f64,
}

fn rounded(n: f64) -> f64 {
    (n * 1000.0).round() / 1000.0
}

impl Report {
    pub(crate) fn of(
        (nova_call_ms, nova_start_ms): (u64, u64),
        beside_nova: Measured,
        growth: Vec<Measured>,
    ) -> anyhow::Result<Self> {
        let most = growth.last().context("no growth was measured")?;
        // Memory: of the fewest all is setting up.
        let fewer = growth.iter().rev().nth(1).unwrap_or(most);
        let grows = |took: &dyn Fn(&Measured) -> f64| {
            let each = |m: &Measured| took(m) / m.servers as f64;
            let steps = growth.windows(2).map(|two| each(&two[1]) / each(&two[0]));
            rounded(steps.fold(0.0, f64::max))
        };
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let load = load.split_whitespace().next().and_then(|n| n.parse().ok());
        let more = most.servers.saturating_sub(fewer.servers).max(1);
        let thousand = |a: f64, b: f64| rounded((b - a) * 1000.0 / more as f64);
        let overhead = beside_nova.plan_s - beside_nova.nova_s;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            rekindle: env!("CARGO_PKG_VERSION"),
            load_at_end: load.context("/proc/loadavg has no number")?,
            nova_call_ms,
            nova_start_ms,
            overhead_s: rounded(overhead),
            overhead_percent: rounded(100.0 * overhead / beside_nova.nova_s),
            plan_per_server_grows: grows(&|m| m.plan_s),
            round_per_server_grows: grows(&|m| m.round_s),
            plan_mib_per_thousand: thousand(fewer.plan_mib, most.plan_mib),
            rounds_mib_per_thousand: thousand(fewer.rounds_mib, most.rounds_mib),
            beside_nova,
            growth,
        })
    }

    /// Whether what has to be so is so.
    pub(crate) fn judge(&self) -> anyhow::Result<()> {
        for (what, grows) in [
            ("a plan's", self.plan_per_server_grows),
            ("a round's", self.round_per_server_grows),
        ] {
            ensure!(
                grows <= LINEAR,
                "{what} cost of one server grows {grows} times: it is not linear"
            );
        }
        let peak = self
            .growth
            .iter()
            .map(|m| m.plan_mib.max(m.rounds_mib))
            .fold(0.0, f64::max);
        ensure!(
            peak <= GOAL_MIB,
            "{peak:.0} MiB at the peak: the bound is {GOAL_MIB:.0}"
        );
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.beside_nova;
        writeln!(
            f,
            "{} servers beside a Nova of {} ms a call and {} ms a start: bare loop {:.2} s, runbook {:.2} s, overhead {:.2} s ({:.1} %)",
            b.servers,
            self.nova_call_ms,
            self.nova_start_ms,
            b.nova_s,
            b.plan_s,
            self.overhead_s,
            self.overhead_percent
        )?;
        writeln!(
            f,
            "\n{:>8} {:>10} {:>10} {:>12} {:>10} {:>10} {:>10}",
            "servers", "bare s", "plan s", "1st round s", "round s", "plan MiB", "round MiB"
        )?;
        for m in &self.growth {
            writeln!(
                f,
                "{:>8} {:>10.2} {:>10.2} {:>12.2} {:>10.2} {:>10.1} {:>10.1}",
                m.servers, m.nova_s, m.plan_s, m.first_round_s, m.round_s, m.plan_mib, m.rounds_mib
            )?;
        }
        writeln!(
            f,
            "\nservers: overhead {:.1} % at {}, cost of one x{:.2} (plan) and x{:.2} (round) up to {}, {:.1} and {:.1} MiB a thousand, load {:.1}",
            self.overhead_percent,
            b.servers,
            self.plan_per_server_grows,
            self.round_per_server_grows,
            self.growth.last().map_or(0, |m| m.servers),
            self.plan_mib_per_thousand,
            self.rounds_mib_per_thousand,
            self.load_at_end
        )
    }
}
