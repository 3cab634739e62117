//! The command line, as clap sees it. Nothing here acts.

mod cinder;
mod record;
mod server;

use crate::{exit, output::Format};
pub use cinder::{CinderCommand, CinderRepair};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
pub use record::{RecordCommand, RecordForm, RecordImport, RecordOf, RecordOrigin};
use rekindle_common::{DemotionToken, GroupName, ImageSpec, PlanId, ZoneName, duration::Span};
pub use server::ServerCommand;
use std::path::PathBuf;

/// Brings OpenStack volumes back to life in a second zone.
#[derive(Debug, Parser)]
#[command(name = "rekindle", version, after_help = exit::table(), propagate_version = true)]
pub struct Cli {
    /// Text for a person, or one JSON document for a script.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// The configuration file [default: ~/.config/rekindle/cli.toml].
    #[arg(long, global = true, value_name = "FILE", env = "REKINDLE_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[allow(
    clippy::large_enum_variant,
    reason = "one value a process; clap wants the variants as they are"
)]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Zones, groups, volumes, leases, who leads, and what holds a decision back.
    Status,
    /// Replicated volumes as both zones' Cinders have them, and what is missing there.
    Catalogue,
    /// The groups' servers: where each serves, and what stands by for it.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Look at volumes and act on them, one zone at a time.
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Protection groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Have the other zone take over now, as far as proof allows.
    Failover {
        /// The group.
        group: GroupName,
        /// How the plan is run.
        #[command(flatten)]
        run: RunOptions,
    },
    /// Move the primary to another zone, losing nothing.
    Move {
        /// The group.
        group: GroupName,
        /// Where to.
        #[arg(long, value_name = "ZONE")]
        to: ZoneName,
        /// How the plan is run.
        #[command(flatten)]
        run: RunOptions,
    },
    /// Move the primary home, losing nothing.
    Failback {
        /// The group.
        group: GroupName,
        /// How the plan is run.
        #[command(flatten)]
        run: RunOptions,
    },
    /// Say yes to what the orchestrator asks for; valid for the group's generation as it is now. Alone it ends the pause that the group's
    /// plan is at.
    Approve {
        /// The group.
        group: GroupName,
        /// What may be done; nothing: the plan at work on the group goes on.
        #[arg(value_enum)]
        what: Option<Approvable>,
        /// Only if the plan pauses before this level of the runbook, from 1.
        #[arg(long, value_name = "N", conflicts_with = "what", value_parser = clap::value_parser!(u32).range(1..=64))]
        level: Option<u32>,
        /// Failover: you vouch that the old primary is powered off or cut from its clients, and stays so.
        #[arg(long, requires = "what")]
        vouch_cannot_write: bool,
        /// Failover: any loss is accepted, an unknown one too.
        #[arg(long, requires = "what")]
        accept_loss: bool,
        /// Who says so; kept in the record.
        #[arg(long, value_name = "NAME", env = "USER", default_value = "rekindle")]
        by: String,
    },
    /// Acknowledge the last failover: ends the blocking period.
    Acknowledge {
        /// The group.
        group: GroupName,
        /// Who says so; goes to the log.
        #[arg(long, value_name = "NAME", env = "USER", default_value = "rekindle")]
        by: String,
    },
    /// Switch automatic decisions off or on again.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// Have a zone's sidecar refuse all actions; the data goes on.
    Freeze {
        /// The zone.
        zone: ZoneName,
        /// Why; shown to whoever is refused.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Undo a freeze.
    Thaw {
        /// The zone.
        zone: ZoneName,
    },
    /// Plans and their journals.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// What was done: every step with its times and durations.
    History {
        /// Of this group only.
        group: Option<GroupName>,
        /// At most so many plans, the newest first.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// What Cinder has on its books.
    #[command(subcommand)]
    Cinder(CinderCommand),
    /// Servers' records, as files and as kept for a group: what is needed to build a server again.
    #[command(subcommand)]
    Record(RecordCommand),
    /// Whether both zones' OpenStacks would take what is replicated: projects, types, quotas, keys, backends, roles, clocks.
    Preflight(PreflightArgs),
    /// Configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run the whole story on this machine: replicate, kill a zone, fail over, resync, move home.
    Demo(DemoArgs),
    /// Print a shell's completions.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// The demonstration's writer; runs inside a zone.
    #[command(hide = true)]
    DemoWriter(DemoWriterArgs),
    /// The demonstration's application command: starts and stops the writer. Reads JSON on standard input.
    #[command(hide = true)]
    DemoApp(DemoAppArgs),
    /// What a runbook on the lab waits for. Reads JSON on standard input.
    #[command(hide = true)]
    DemoReady(DemoReadyArgs),
}

/// `rekindle volume …`
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// All volumes with their statuses.
    List {
        /// In this zone only.
        #[arg(long)]
        zone: Option<ZoneName>,
        /// Of this group only.
        #[arg(long)]
        group: Option<GroupName>,
    },
    /// One volume as each zone sees it.
    Show {
        /// POOL/IMAGE.
        volume: ImageSpec,
        /// In this zone only.
        #[arg(long)]
        zone: Option<ZoneName>,
    },
    /// Put volumes under replication, or change their mode, schedule or group in place.
    Replicate {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
        /// How.
        #[arg(long, value_enum)]
        mode: Mode,
        /// Periodic: the first snapshot's time, RFC 3339 in UTC [default: the next full minute].
        #[arg(long, value_name = "TIME")]
        start: Option<Timestamp>,
        /// Periodic: between two snapshots, as 15m or 1h 30m.
        #[arg(long, value_name = "DURATION", required_if_eq("mode", "periodic"))]
        interval: Option<Span>,
        /// The group that it joins; without it, it stays in the one that it is in.
        #[arg(long)]
        group: Option<GroupName>,
        /// Take it out of its group: it is acted on by hand from then on, and no failover promotes it.
        #[arg(long, conflicts_with = "group")]
        leave_group: bool,
    },
    /// Take back that volumes were deleted in Cinder, while they are kept: their images stay, and can be managed again.
    Undelete {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
    },
    /// Take replication off. The copy in the other zone is deleted.
    Unreplicate {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
    },
    /// Make this zone's image the one that is written to.
    Promote {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
        /// Only once the demotion of that name has arrived: `demote` printed it. Without it the zone that was primary last is
        /// meant; in the other zone a plain promotion is no proof that all of its data is here.
        #[arg(long, value_name = "TOKEN", conflicts_with = "force")]
        after: Option<DemotionToken>,
        /// Also where the other zone may still say primary. Only with proof that it cannot write.
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why it is forced; kept with the volume.
        #[arg(long, value_name = "TEXT", requires = "force")]
        reason: Option<String>,
        /// Also where a copy that was interrupted leaves it of two moments, which its refusal said. Look at its file systems then.
        #[arg(long, requires = "force")]
        accept_torn: bool,
    },
    /// Stop writes here and let the other zone take over.
    Demote {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
        /// The name of a demotion that was begun before, to go on with it.
        #[arg(long)]
        token: Option<DemotionToken>,
    },
    /// Discard this zone's copy and make it anew from the primary.
    Resync {
        /// Which volumes, and where.
        #[command(flatten)]
        target: Target,
        /// Do not keep a safety copy of what is discarded.
        #[arg(long)]
        discard: bool,
    },
}

/// Which volumes, and where.
#[derive(Debug, Args)]
pub struct Target {
    /// POOL/IMAGE, one or more.
    #[arg(required = true, num_args = 1..=2000)]
    pub volumes: Vec<ImageSpec>,
    /// The zone whose sidecar is asked [default: the only zone where that makes sense].
    #[arg(long)]
    pub zone: Option<ZoneName>,
}

/// A replication mode's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Every write, in order, seconds behind.
    Instant,
    /// One snapshot, now.
    Once,
    /// A snapshot at start + n * interval.
    Periodic,
}

/// `rekindle group …`
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// All groups.
    List,
    /// One group: policy, primary, lease, volumes, decision.
    Show {
        /// Which.
        group: GroupName,
    },
    /// Define a group, from a TOML file or from flags.
    Create {
        /// Its name.
        group: GroupName,
        /// A TOML file: home, away and the table policy.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where it belongs.
        #[arg(long, value_name = "ZONE", required_unless_present = "file")]
        home: Option<ZoneName>,
        /// The other zone.
        #[arg(long, value_name = "ZONE", required_unless_present = "file")]
        away: Option<ZoneName>,
        /// Its policy.
        #[command(flatten)]
        policy: PolicyFlags,
    },
    /// Change a group's policy.
    Set {
        /// Which.
        group: GroupName,
        /// A TOML file: home, away and the table policy. Flags go over it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Its policy.
        #[command(flatten)]
        policy: PolicyFlags,
    },
    /// Forget a group. Its volumes stay replicated.
    Delete {
        /// Which.
        group: GroupName,
    },
    /// Promote the recorded primary's volumes again after they were demoted by hand or by isolation.
    Resume {
        /// Which.
        group: GroupName,
        /// How the plan is run.
        #[command(flatten)]
        run: RunOptions,
    },
    /// Make the other zone a copy again: demote and resync what is stale there.
    Reprotect {
        /// Which.
        group: GroupName,
        /// How the plan is run.
        #[command(flatten)]
        run: RunOptions,
    },
}

/// A group's policy as flags; what is not given stays as it is, or has the safe default.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Policy")]
pub struct PolicyFlags {
    /// Who says that a failover may begin.
    #[arg(long, value_name = "automatic|approved")]
    pub failover: Option<String>,
    /// How long a majority must have seen the zone lost.
    #[arg(long, value_name = "DURATION")]
    pub hold_off: Option<Span>,
    /// When the lost zone is back.
    #[arg(long, value_name = "stay|return|ask")]
    pub on_return: Option<String>,
    /// What an isolated sidecar does with its primaries.
    #[arg(long, value_name = "demote|freeze|keep")]
    pub isolation_response: Option<String>,
    /// The most data a failover may lose without asking.
    #[arg(long, value_name = "DURATION")]
    pub rpo_limit: Option<Span>,
    /// No further automatic failover for this long after one.
    #[arg(long, value_name = "DURATION")]
    pub blocking_period: Option<Span>,
    /// What becomes of what the loser wrote after the split.
    #[arg(long, value_name = "keep|discard")]
    pub safety_copy: Option<String>,
    /// What becomes of a volume of it that is deleted in Cinder.
    #[arg(long, value_name = "refuse|keep|delete:DURATION")]
    pub on_delete: Option<String>,
    /// A fence agent's name in the orchestrators' configuration.
    #[arg(long, value_name = "NAME")]
    pub fence_agent: Option<String>,
    /// An application's name in the orchestrators' configuration.
    #[arg(long, value_name = "NAME")]
    pub application: Option<String>,
    /// How long etcd keeps the primary lease.
    #[arg(long, value_name = "DURATION")]
    pub lease_ttl: Option<Span>,
    /// How often the sidecar renews it.
    #[arg(long, value_name = "DURATION")]
    pub lease_renew_every: Option<Span>,
    /// Kept back from it to demote in.
    #[arg(long, value_name = "DURATION")]
    pub lease_demote_budget: Option<Span>,
    /// Waited on top after it is gone.
    #[arg(long, value_name = "DURATION")]
    pub lease_margin: Option<Span>,
}

/// How a plan is run.
#[derive(Debug, Clone, Copy, Args)]
pub struct RunOptions {
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for its end.
    #[arg(long, conflicts_with = "dry_run")]
    pub no_wait: bool,
}

/// What can be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Approvable {
    /// A failover.
    Failover,
    /// Demoting and resyncing the loser.
    Reprotect,
    /// A planned move home.
    Failback,
}

/// `rekindle maintenance …`
#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// No automatic action until it is off again.
    On {
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Automatic action again.
    Off,
}

/// `rekindle plan …`
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// A plan, its journal, and where it stands.
    Show {
        /// Which.
        plan: PlanId,
        /// Watch it until it ends or needs a person.
        #[arg(long)]
        watch: bool,
    },
    /// All plans.
    List {
        /// Of this group only.
        #[arg(long)]
        group: Option<GroupName>,
        /// At most so many, the newest first.
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// End a stuck plan. What it did stands; the group is free for the next decision, which looks at things as they are.
    GiveUp {
        /// Which.
        plan: PlanId,
    },
    /// Have a stuck plan try its step again.
    Retry {
        /// Which.
        plan: PlanId,
        /// Do not wait for its end.
        #[arg(long)]
        no_wait: bool,
    },
}

/// `rekindle preflight`
#[derive(Debug, Clone, Args)]
pub struct PreflightArgs {
    /// The orchestrator's configuration file.
    #[arg(value_name = "FILE", default_value = "/etc/rekindle/orchestrator.toml")]
    pub file: PathBuf,
}

/// `rekindle config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check configuration files, and each against the others.
    Check {
        /// Of a sidecar, an orchestrator, a gateway, this command, a group, or a mapping between the clouds.
        #[arg(required = true, num_args = 1..=8)]
        files: Vec<PathBuf>,
    },
}

/// `rekindle demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// In this process, on simulated clusters: nothing needs to be installed.
    #[arg(long)]
    pub embedded: bool,
    /// Through Cinder: a real Keystone and Cinder in each zone, `openstack volume create`, `cinder failover-host`.
    #[arg(long, conflicts_with = "embedded")]
    pub cinder: bool,
    /// With servers: a real Nova in each zone, three guests in two levels of priority.
    #[arg(long, conflicts_with_all = ["embedded", "cinder", "volumes"])]
    pub nova: bool,
    /// How many volumes; a third of each mode.
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=60))]
    pub volumes: u32,
    /// Leave everything running at the end.
    #[arg(long, conflicts_with = "embedded")]
    pub keep: bool,
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "PATH", default_value = "target/demo/report.json")]
    pub report: PathBuf,
    /// The folder of the lab.
    #[arg(long, value_name = "DIR", default_value = "target/demo/lab")]
    pub lab: PathBuf,
}

/// `rekindle demo-writer`
#[derive(Debug, Clone, Args)]
pub struct DemoWriterArgs {
    /// The zone's ceph.conf.
    #[arg(long)]
    pub ceph_conf: PathBuf,
    /// The Ceph user, without `client.`.
    #[arg(long)]
    pub client_id: String,
    /// Where the acknowledgements go.
    #[arg(long)]
    pub ledger: PathBuf,
    /// Under which generation.
    #[arg(long)]
    pub generation: u64,
    /// Between two records.
    #[arg(long, default_value = "100ms")]
    pub every: Span,
    /// What it writes to.
    #[arg(required = true)]
    pub volumes: Vec<ImageSpec>,
}

/// `rekindle demo-app`
#[derive(Debug, Clone, Args)]
pub struct DemoAppArgs {
    /// The lab's folder.
    #[arg(long)]
    pub lab: PathBuf,
    /// Where the acknowledgements go.
    #[arg(long)]
    pub ledger: PathBuf,
}

/// `rekindle demo-ready`
#[derive(Debug, Clone, Args)]
pub struct DemoReadyArgs {
    /// The file that has the servers' addresses.
    #[arg(long)]
    pub addresses: PathBuf,
}

#[cfg(test)]
mod tests;
