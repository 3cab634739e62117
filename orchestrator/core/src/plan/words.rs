//! Plans and steps in words: as `--dry-run` prints them, and as the journal and the metrics name them.

use super::{HookTime, OldLease, Plan, Step};
use rekindle_common::{
    action::{Promotion, SafetyCopy},
    runbook::{Level, RunbookServer, StandbyPolicy},
};
use std::fmt;

/// So many servers of a level are printed one by one; JSON has them all.
const MAX_SERVERS: usize = 20;

impl Step {
    /// Its name, as in the journal and in `rekindle history`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fence { .. } => "fence",
            Self::AwaitLeaseEnd { .. } => "await_lease_end",
            Self::StopApplication { .. } => "stop_application",
            Self::StartApplication { .. } => "start_application",
            Self::Demote { .. } => "demote",
            Self::AwaitDemotionReplayed { .. } => "await_demotion_replayed",
            Self::ReleaseLease { .. } => "release_lease",
            Self::RecordPrimary { .. } => "record_primary",
            Self::TakeLease { .. } => "take_lease",
            Self::MarkUnprotected { .. } => "mark_unprotected",
            Self::Promote { .. } => "promote",
            Self::Resync { .. } => "resync",
            Self::AwaitReplay { .. } => "await_replay",
            Self::MarkProtected => "mark_protected",
            Self::RunHook { .. } => "run_hook",
            Self::Pause { .. } => "pause",
            Self::StopServers { .. } => "stop_servers",
            Self::StartServers { .. } => "start_servers",
            Self::HoldServers { .. } => "hold_servers",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fence { agent, zone } => write!(f, "fence {zone} with {agent}"),
            Self::AwaitLeaseEnd {
                zone,
                generation,
                margin,
            } => {
                write!(
                    f,
                    "see that {zone}'s lease of generation {generation} is gone, and was for {margin}"
                )
            }
            Self::StopApplication {
                application, zone, ..
            } => write!(f, "stop {application} in {zone}"),
            Self::StartApplication {
                application, zone, ..
            } => write!(f, "start {application} in {zone}"),
            Self::Demote { zone, volumes, .. } => {
                write!(f, "demote {} volumes in {zone}", volumes.len())
            }
            Self::AwaitDemotionReplayed { zone, volumes, .. } => {
                write!(
                    f,
                    "wait until {zone} has replayed the demotion of {} volumes",
                    volumes.len()
                )
            }
            Self::ReleaseLease { zone, generation } => {
                write!(
                    f,
                    "have {zone} release its lease of generation {generation}"
                )
            }
            Self::RecordPrimary {
                zone,
                generation,
                replaces,
                lease,
            } => {
                write!(
                    f,
                    "record {zone} as primary, generation {generation} after {replaces}"
                )?;
                match lease {
                    OldLease::Gone => Ok(()),
                    OldLease::Revoked { from } => write!(
                        f,
                        ", and take the lease of generation {replaces} from {from}"
                    ),
                    OldLease::Demoted { from } => write!(
                        f,
                        ", and take what {from} still holds of the lease of generation {replaces}"
                    ),
                }
            }
            Self::TakeLease { zone, generation } => {
                write!(f, "have {zone} take the lease of generation {generation}")
            }
            Self::MarkUnprotected { why, .. } => write!(f, "mark the group unprotected: {why}"),
            Self::Promote { zone, volumes, .. } => {
                let forced = volumes
                    .iter()
                    .filter(|v| matches!(v.promotion, Promotion::Forced { .. }))
                    .count();
                write!(
                    f,
                    "promote {} volumes in {zone} ({forced} by force)",
                    volumes.len()
                )
            }
            Self::Resync {
                zone,
                volumes,
                safety,
                ..
            } => {
                let fate = match safety {
                    SafetyCopy::Keep => "kept as a safety copy of each",
                    SafetyCopy::Discard => "DISCARDED, as policy says",
                };
                write!(
                    f,
                    "resync {} volumes in {zone}; what they have that the primary has not is measured, and {fate}",
                    volumes.len()
                )
            }
            Self::AwaitReplay { zone, volumes } => {
                write!(
                    f,
                    "wait until {} volumes in {zone} are in step",
                    volumes.len()
                )
            }
            Self::MarkProtected => f.write_str("mark the group protected"),
            Self::RunHook { hook, when, .. } => {
                let if_not = match when {
                    HookTime::Before => "the plan ends if it fails",
                    HookTime::After => "told if it fails",
                };
                write!(f, "run the hook {hook}; {if_not}")
            }
            Self::Pause { level, text } => {
                write!(
                    f,
                    "wait for `rekindle approve` before level {}: {text}",
                    level + 1
                )
            }
            Self::StopServers {
                zone,
                level,
                servers,
                ..
            } => write!(
                f,
                "stop and lock {} of level {} in {zone}",
                counted(*servers),
                level + 1
            ),
            Self::StartServers {
                zone,
                level,
                servers,
                ..
            } => write!(
                f,
                "start {} of level {} in {zone}",
                counted(*servers),
                level + 1
            ),
            Self::HoldServers { zone, servers, .. } => {
                write!(f, "stop and lock {} in {zone}", counted(*servers))
            }
        }
    }
}

impl fmt::Display for Plan {
    /// The plan as `--dry-run` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of group {}: {} -> {}",
            self.kind, self.group, self.from, self.to
        )?;
        writeln!(f, "  because {}", self.why)?;
        for (n, s) in self.steps.iter().enumerate() {
            writeln!(f, "  {:2}. {} (within {})", n + 1, s.step, s.deadline)?;
            for u in &s.unwind {
                writeln!(f, "        if it fails: {u}")?;
            }
        }
        for (n, level) in self.runbook.levels.iter().enumerate() {
            servers(f, n, level, self)?;
        }
        for l in &self.left_out {
            writeln!(f, "  left out: {} ({})", l.volume, l.why)?;
        }
        for l in &self.expected_loss {
            match l.up_to {
                Some(s) => writeln!(f, "  may lose up to {s} of {}", l.volume)?,
                None => writeln!(f, "  may lose an unknown amount of {}", l.volume)?,
            }
        }
        Ok(())
    }
}

fn counted(servers: usize) -> String {
    match servers {
        1 => "1 server".to_owned(),
        n => format!("{n} servers"),
    }
}

/// A level's servers: what each waits for, and what stands by for it.
fn servers(f: &mut fmt::Formatter<'_>, n: usize, level: &Level, plan: &Plan) -> fmt::Result {
    if level.servers.is_empty() {
        return Ok(());
    }
    writeln!(f, "  level {}:", n + 1)?;
    for s in level.servers.iter().take(MAX_SERVERS) {
        writeln!(f, "    {}", server(s, plan))?;
    }
    match level.servers.len().saturating_sub(MAX_SERVERS) {
        0 => Ok(()),
        more => writeln!(f, "    and {more} more"),
    }
}

fn server(s: &RunbookServer, plan: &Plan) -> String {
    let mut text = format!("{} (within {}", s.key, s.within);
    if !s.after.is_empty() {
        let after: Vec<&str> = s.after.iter().map(|a| a.as_str()).collect();
        text += &format!("; after {}", after.join(", "));
    }
    for w in &s.wait {
        text += &format!("; {w} within {}", w.within());
    }
    let standby = match plan.runbook.standby_of(s) {
        StandbyPolicy::Shutoff | StandbyPolicy::Shelved => "",
        StandbyPolicy::Record => "; built when it is needed",
        StandbyPolicy::None => "; a person starts it where it was never built",
    };
    text + standby + ")"
}
