//! Servers stopped, held and started through a zone's Nova, a level at a time.
//!
//! | module | what it does |
//! |---|---|
//! | [`round`] | one pass over a step's servers: a few at a time, each after those that it needs |
//! | [`env`] | what is known of a server, and the right to give an order |
//! | [`start`], [`stop`] | one server |
//! | [`absent`] | a zone whose Nova is not in the configuration |
//! | [`wait`] | what must be so beside Nova's word |
//! | [`volumes`] | whether a server's volumes can be written where it is to start |
//!
//! Which server it is in this zone stands in what is kept of it (`keys::kept_server`), not in the plan: the keeper of stand-bys may have
//! built it anew since. Before each order the lead is asked, and the primary record must still be of the step's generation.

mod absent;
mod env;
mod round;
mod start;
mod stop;
mod volumes;
mod wait;

use super::{Context, Pass, Result, StepError, Tally};
use crate::servers::control::Servers;
use absent::NoNova;
use env::{Env, Serves};
use rekindle_common::{Generation, ServerKey, ZoneName, runbook::RunbookServer};
use round::{Gate, Round, round};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};
use tokio::time::Instant;
use volumes::Volumes;

/// For a look at one server.
const LOOK: Duration = Duration::from_secs(20);

/// What this process has seen of a server within a step: gone with the process, and then seen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memo {
    /// When it was first tried: its own time runs from there.
    begun: Option<Instant>,
    /// When it was last seen to run.
    runs: Option<Instant>,
    /// Whether it was seen at all.
    seen: bool,
    /// It was seen at rest in this step, or is built by it: what runs of it came up on what its volumes are now.
    rested: bool,
    /// That it could not be seen to be off is written down.
    unsettled: bool,
    /// Where it was seen to be reached.
    address: Option<IpAddr>,
    /// So many of its waits are over.
    waits_over: usize,
    /// Since when the next one is tried.
    waiting_since: Option<Instant>,
    /// The volumes of its record were seen to be such that it can start.
    record_clear: bool,
    /// So were those that Nova shows.
    seen_clear: bool,
    /// It was seen to have all that its record has.
    whole: bool,
}

impl Memo {
    /// How long it took so far, by what this process has seen of it.
    fn took(&self) -> Option<Duration> {
        self.begun.map(|at| at.elapsed())
    }
    /// What is left of the server's own time.
    fn left(&mut self, server: &RunbookServer) -> Duration {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        server.within.get().saturating_sub(begun.elapsed())
    }
}

/// What came of one server in one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum One {
    /// It is as it should be.
    Done,
    /// Nothing more is to be done about it by us, and a person has to hear of it.
    Named(String),
    /// A person starts it, as its policy says: nothing went wrong.
    ByHand,
    /// It is on its way.
    Waits(String),
    /// An error that may pass.
    NotNow(String),
    /// It failed for good.
    Failed(String),
}

impl One {
    /// The server's own time ends what may still go better, and nothing else.
    fn in_time(self, memo: &mut Memo, server: &RunbookServer) -> Self {
        match self {
            Self::Waits(why) | Self::NotNow(why) if memo.left(server).is_zero() => {
                Self::Failed(format!("not within {}: {why}", server.within))
            }
            other @ (Self::Done
            | Self::Named(_)
            | Self::ByHand
            | Self::Waits(_)
            | Self::NotNow(_)
            | Self::Failed(_)) => other,
        }
    }
}

/// Each server of the level serves, or is named.
pub(super) async fn start(
    ctx: &Context<'_>,
    zone: &ZoneName,
    level: usize,
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let Some(nova) = ctx.tools.servers.get(zone) else {
        return Ok(no_nova(zone, tally));
    };
    // What an earlier step of this plan says of it stands: one that its users deleted on the way is not brought back.
    for (server, why) in ctx.failed_servers {
        tally.server_failed_for(server, format!("not started: {why}"));
    }
    let env = Env::new(ctx, zone, generation, Serves::Here, nova.as_ref()).await?;
    let volumes = Volumes::new(ctx, zone);
    let gate = |tally: &Tally, s: &RunbookServer| {
        if let Some(failed) = s.after.iter().find(|a| tally.server_failed(a)) {
            return Gate::Never(format!(
                "not started: {failed}, which it starts after, does not serve"
            ));
        }
        match s.after.iter().find(|a| tally.server_is_open(a)) {
            Some(open) => Gate::Shut(format!("starts after {open}")),
            None => Gate::Open,
        }
    };
    let servers: Vec<&RunbookServer> = ctx.plan.level(level).iter().collect();
    let work = |s, memo| start::one(&env, s, memo, &volumes);
    let went = round(ctx, "start", tally, servers, gate, work).await?;
    over(tally, went, "serve")
}

/// Each server of the level is stopped and locked where it served.
pub(super) async fn stop(
    ctx: &Context<'_>,
    zone: &ZoneName,
    level: usize,
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let none = NoNova(not_configured(zone));
    let nova: &dyn Servers = match ctx.tools.servers.get(zone) {
        Some(nova) => nova.as_ref(),
        // Its volumes are wanted whatever becomes of its servers.
        None if stop::goes_on(ctx.plan.kind, stop::Gone::IsNamed) => &none,
        None => return Err(StepError::refused(not_configured(zone))),
    };
    let env = Env::new(ctx, zone, generation, Serves::Here, nova).await?;
    // In the order opposite to that of the start: first those that need this one.
    let servers: Vec<&RunbookServer> = ctx.plan.level(level).iter().rev().collect();
    let mut needed_by: BTreeMap<&ServerKey, Vec<&ServerKey>> = BTreeMap::new();
    for s in &servers {
        for a in &s.after {
            needed_by.entry(a).or_default().push(&s.key);
        }
    }
    let gate = |tally: &Tally, s: &RunbookServer| {
        let needs_it = needed_by.get(&s.key).into_iter().flatten();
        match needs_it.into_iter().find(|k| tally.server_is_open(k)) {
            Some(open) => Gate::Shut(format!("is stopped after {open}")),
            None => Gate::Open,
        }
    };
    let work = |s, memo| stop::one(&env, s, memo, stop::Gone::IsNamed);
    let went = round(ctx, "stop", tally, servers, gate, work).await?;
    over(tally, went, "are stopped")
}

/// Each of the group's servers in a zone that is not primary is stopped and locked, or named.
pub(super) async fn hold(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let none = NoNova(not_configured(zone));
    let nova: &dyn Servers = match ctx.tools.servers.get(zone) {
        Some(nova) => nova.as_ref(),
        None => &none,
    };
    let env = Env::new(ctx, zone, generation, Serves::Elsewhere, nova).await?;
    let servers: Vec<&RunbookServer> = ctx.plan.runbook.servers().collect();
    // Nothing waits for another: one that hangs keeps no other running.
    let gate = |_: &Tally, _: &RunbookServer| Gate::Open;
    let work = |s, memo| stop::one(&env, s, memo, stop::Gone::IsWell);
    let went = round(ctx, "hold", tally, servers, gate, work).await?;
    over(tally, went, "are held")
}

fn over(tally: &Tally, went: Round, verb: &str) -> Result<Pass> {
    let (done, of) = tally.progress();
    if tally.is_over() {
        let by_hand = tally.servers_by_hand();
        let done = done - by_hand.len();
        let note = format!("{done} of {of} servers {verb}{}", left_to_people(by_hand));
        return Ok(Pass::Done { note });
    }
    match went {
        Round::Goes => Ok(Pass::NotYet {
            note: tally.waits_for(),
        }),
        // Each was answered with an error that may pass: asked again, and less often the longer it lasts.
        Round::Trouble => Err(StepError::NotNow(tally.waits_for())),
    }
}

/// Which servers people start, for the journal: as many as fit on a line.
fn left_to_people(servers: &BTreeSet<ServerKey>) -> String {
    const NAMED: usize = 10;
    if servers.is_empty() {
        return String::new();
    }
    let named: Vec<&str> = servers.iter().take(NAMED).map(ServerKey::as_str).collect();
    let more = match servers.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "; to be started by hand, as their policy says: {}{more}",
        named.join(", ")
    )
}

/// What cannot be reached for want of a configuration is named, as what fails is: it holds nothing else up.
fn no_nova(zone: &ZoneName, tally: &mut Tally) -> Pass {
    tally.give_up(&not_configured(zone));
    Pass::Done {
        note: not_configured(zone),
    }
}

fn not_configured(zone: &ZoneName) -> String {
    format!("this orchestrator's configuration has no [clouds.{zone}]")
}

/// Those of them that stand in the plan's list of what it could not help.
fn not_helped(ctx: &Context<'_>) -> BTreeSet<rekindle_common::ImageSpec> {
    let left_out = ctx.plan.left_out.iter().map(|l| &l.volume);
    ctx.failed_before.iter().chain(left_out).cloned().collect()
}
