//! What was measured, as a table and as JSON.

use crate::{
    proxies::{self, Held, NGINX},
    turns::Measured,
};
use anyhow::Context;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// The gateway's resident memory stays below this, with 2,000 connections open.
const GOAL_MIB: f64 = 64.0;

/// What it ran on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Shared by clients, proxy and upstream.
    cores: usize,
    kernel: String,
    nginx: String,
    rekindle: &'static str,
    /// Others at work: load average of one minute, at the start.
    load_at_start: f64,
}

impl Machine {
    /// Looks.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            nginx: proxies::nginx_version()?,
            rekindle: env!("CARGO_PKG_VERSION"),
            load_at_start: load
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok())
                .context("/proc/loadavg has no number")?,
        })
    }
}

/// A proxy's memory, with connections open that have each asked once, after all the load before.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) proxy: &'static str,
    pub(crate) connections: usize,
    pub(crate) before: Held,
    pub(crate) during: Held,
}

/// In front of a lab's real Cinder.
#[derive(Debug, Serialize)]
pub(crate) struct Real {
    /// In the list.
    pub(crate) volumes: usize,
    pub(crate) cases: Vec<Measured>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// nginx's settings, and why.
    nginx: BTreeMap<&'static str, &'static str>,
    rounds: usize,
    turn_s: f64,
    pub(crate) cases: Vec<Measured>,
    pub(crate) memory: Vec<Memory>,
    goal_memory_mib: f64,
    pub(crate) real: Option<Real>,
    total_s: f64,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(machine: Machine, rounds: usize, turn_s: f64) -> Self {
        Self {
            machine,
            nginx: NGINX.iter().copied().collect(),
            rounds,
            turn_s,
            cases: Vec::new(),
            memory: Vec::new(),
            goal_memory_mib: GOAL_MIB,
            real: None,
            total_s: 0.0,
        }
    }

    /// All is measured.
    pub(crate) fn end(&mut self, took: Duration) {
        self.total_s = took.as_secs_f64().round();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} cores shared by clients, proxy and upstream, load {} at the start; {} rounds of {} s each",
            self.machine.nginx,
            self.machine.cores,
            self.machine.load_at_start,
            self.rounds,
            self.turn_s
        )?;
        for case in &self.cases {
            writeln!(f, "{case}")?;
        }
        if let Some(real) = &self.real {
            writeln!(
                f,
                "in front of a real Cinder with {} volumes:",
                real.volumes
            )?;
            for case in &real.cases {
                writeln!(f, "{case}")?;
            }
        }
        for memory in &self.memory {
            write!(
                f,
                "{:<10} {:.1} MiB resident with {} connections open ({:.1} before)",
                memory.proxy, memory.during.rss_mib, memory.connections, memory.before.rss_mib
            )?;
            let ours = memory.proxy == "gateway";
            let reached = memory.during.rss_mib < self.goal_memory_mib;
            match (ours, reached) {
                (true, true) => writeln!(f, ", goal {}", self.goal_memory_mib)?,
                (true, false) => writeln!(f, ", goal {} NOT REACHED", self.goal_memory_mib)?,
                (false, _) => writeln!(f)?,
            }
        }
        Ok(())
    }
}
