//! What was measured, as a table and as JSON.

use crate::{volumes::SIZE, world::World};
use anyhow::Context;
use rekindle_tests::samples::Samples;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::fmt;

/// At least so many times faster than the loop, at 50 volumes.
const GOAL_TIMES: f64 = 8.0;
/// The sidecar's peak memory stays below this many MiB at 200 volumes.
const GOAL_MIB: f64 = 60.0;

fn times(sidecar: &Samples, shell: &Samples) -> f64 {
    (shell.median() / sidecar.median() * 10.0).round() / 10.0
}

/// What it ran on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    ceph: String,
    rekindle: &'static str,
    kernel: String,
    image_mib: u64,
    modes: &'static str,
    /// Others at work on the machine, at the start: load average of one minute.
    load_at_start: f64,
}

impl Machine {
    /// Looks.
    pub(crate) fn look(world: &World) -> anyhow::Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let load = read("/proc/loadavg")?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            ceph: world.ceph_version()?,
            rekindle: env!("CARGO_PKG_VERSION"),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            image_mib: SIZE >> 20,
            modes: "half journal (instant), half snapshot (once)",
            load_at_start: load
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok())
                .context("/proc/loadavg has no number")?,
        })
    }
}

/// How the volumes were put back after a forced promotion.
#[derive(Debug, Serialize)]
pub(crate) struct Restore {
    /// In both sets.
    pub(crate) volumes: usize,
    /// From here on all are seconds since zone-a's power was back: its Ceph serves.
    pub(crate) zone_up_s: f64,
    /// All images of zone-b are demoted and flagged.
    pub(crate) flagged_s: f64,
    /// All were made anew.
    pub(crate) made_anew_s: f64,
    /// A change made in zone-a after that has reached all.
    pub(crate) in_step_s: f64,
    /// The daemon says so.
    pub(crate) total_s: f64,
}

/// Forced promotions with the other zone dead.
#[derive(Debug)]
pub(crate) struct Forced {
    pub(crate) volumes: usize,
    pub(crate) rounds: usize,
    pub(crate) sidecar: Samples,
    pub(crate) shell: Samples,
    pub(crate) restores: Vec<Restore>,
}

impl Serialize for Forced {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Forced", 6)?;
        out.serialize_field("volumes", &self.volumes)?;
        out.serialize_field("rounds", &self.rounds)?;
        out.serialize_field("sidecar", &self.sidecar)?;
        out.serialize_field("shell", &self.shell)?;
        out.serialize_field("times_faster", &times(&self.sidecar, &self.shell))?;
        out.serialize_field("put_back", &self.restores)?;
        out.end()
    }
}

/// One side of the planned moves.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Leg {
    pub(crate) demote: Samples,
    pub(crate) wait: Samples,
    pub(crate) promote: Samples,
    #[serde(rename = "demote_and_promote")]
    pub(crate) both: Samples,
}

/// Planned moves.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) volumes: usize,
    pub(crate) rounds: usize,
    pub(crate) waiting: &'static str,
    pub(crate) sidecar: Leg,
    pub(crate) shell: Leg,
}

impl Serialize for Planned {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut out = s.serialize_struct("Planned", 6)?;
        out.serialize_field("volumes", &self.volumes)?;
        out.serialize_field("rounds", &self.rounds)?;
        out.serialize_field("waiting", self.waiting)?;
        out.serialize_field("sidecar", &self.sidecar)?;
        out.serialize_field("shell", &self.shell)?;
        out.serialize_field("times_faster", &times(&self.sidecar.both, &self.shell.both))?;
        out.end()
    }
}

/// The sidecar's peak memory, in zone-b, after the rounds with so many volumes.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// In one batch.
    pub(crate) volumes: usize,
    /// That the zone has in all.
    pub(crate) mirrored_in_zone: usize,
    /// `VmHWM` of its process.
    pub(crate) peak_mib: f64,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds_asked: usize,
    pub(crate) forced: Vec<Forced>,
    pub(crate) planned: Vec<Planned>,
    pub(crate) memory: Vec<Memory>,
    /// Why a zone's rbd-mirror was stuck and started again, each time. Between the measurements, or in the waits that are
    /// in no figure.
    pub(crate) daemon_restarts: Vec<String>,
    /// Seconds.
    pub(crate) total_s: f64,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(machine: Machine, rounds_asked: usize) -> Self {
        Self {
            machine,
            rounds_asked,
            forced: Vec::new(),
            planned: Vec::new(),
            memory: Vec::new(),
            daemon_restarts: Vec::new(),
            total_s: 0.0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.machine;
        let row = |f: &mut fmt::Formatter<'_>, what: &str, a: &Samples, b: &Samples| {
            writeln!(f, "{what:<38} {a:<26} {b:<30} {:>6.1}", times(a, b))
        };
        writeln!(f, "{}, {} cores", m.ceph, m.cores)?;
        writeln!(
            f,
            "Images of {} MiB, {}. Medians, with the least and the most.\n",
            m.image_mib, m.modes
        )?;
        writeln!(
            f,
            "{:<38} {:<26} {:<30} {:>6}",
            "", "sidecar, one batch", "shell loop of rbd", "times"
        )?;
        for x in &self.forced {
            let what = format!("zone-a dead, promote {} ({} rounds)", x.volumes, x.rounds);
            row(f, &what, &x.sidecar, &x.shell)?;
        }
        for x in &self.planned {
            let what = format!("planned move of {} ({} rounds)", x.volumes, x.rounds);
            row(f, &what, &x.sidecar.both, &x.shell.both)?;
            row(
                f,
                "  of it, demote there",
                &x.sidecar.demote,
                &x.shell.demote,
            )?;
            row(
                f,
                "  of it, promote here",
                &x.sidecar.promote,
                &x.shell.promote,
            )?;
            writeln!(
                f,
                "{:<38} {:<26} {:<30}",
                "  and, in neither, the replay", x.sidecar.wait, x.shell.wait
            )?;
        }
        writeln!(f)?;
        for x in &self.memory {
            writeln!(
                f,
                "Peak memory of the sidecar with {} volumes in a batch, {} in the zone: {:.1} MiB",
                x.volumes, x.mirrored_in_zone, x.peak_mib
            )?;
        }
        if let Some(x) = self.forced.iter().find(|x| x.volumes == 50) {
            let said = if times(&x.sidecar, &x.shell) >= GOAL_TIMES {
                "met"
            } else {
                "missed"
            };
            writeln!(
                f,
                "Goal of {GOAL_TIMES:.0} times faster at 50 volumes: {said}"
            )?;
        }
        if let Some(x) = self.memory.iter().find(|x| x.volumes == 200) {
            let said = if x.peak_mib < GOAL_MIB {
                "met"
            } else {
                "missed"
            };
            writeln!(
                f,
                "Goal of less than {GOAL_MIB:.0} MiB at 200 volumes: {said}"
            )?;
        }
        let restores = self.forced.iter().flat_map(|x| &x.restores);
        if let Some(worst) = restores.max_by(|a, b| a.total_s.total_cmp(&b.total_s)) {
            writeln!(
                f,
                "Putting {} volumes back after zone-a's return took at most {:.0} s. All of this: {:.0} min {:02.0} s.",
                worst.volumes,
                worst.total_s,
                (self.total_s / 60.0).floor(),
                self.total_s % 60.0
            )?;
        }
        Ok(())
    }
}
