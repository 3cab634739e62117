//! `rekindle history`, `rekindle plan …`: what was done, step by step, with times.

use super::words::{between, plural, precise, rounded, state};
use crate::output::{Document, Page};
use jiff::Timestamp;
use rekindle_common::{duration::Span, given_up::in_words};
use rekindle_core::{
    plan::{Plan, Step},
    saga::{Event, Record, StepOutcome, VolumeGivenUp},
};
use rekindle_orchestrator::wire::{PlanAnswer, PlanDetail, PlanSummary, Run};
use serde::Serialize;

/// So many servers that were not helped are named; JSON has them all.
const MAX_SERVERS: usize = 20;
/// So many volumes that something was given up of are named; JSON has them all.
const MAX_VOLUMES: usize = 20;

/// A list of plans.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PlanList(pub Vec<PlanSummary>);

impl Document for PlanList {
    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no plans yet");
            return;
        }
        let head = [
            "PLAN",
            "GROUP",
            "KIND",
            "FROM",
            "TO",
            "MADE",
            "STATE",
            "NOT HELPED",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.0.iter().map(|p| {
            vec![
                p.id.to_string(),
                p.group.to_string(),
                p.kind.to_string(),
                p.from.to_string(),
                p.to.to_string(),
                precise(p.at),
                state(p.state.as_ref()),
                p.not_helped.to_string(),
            ]
        }));
        page.table(0, &rows);
        for p in &self.0 {
            if let Some(problem) = &p.problem {
                page.loud(format!("{}: {problem}", p.id));
            }
        }
    }
}

/// A plan for show.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PlanPage(pub PlanAnswer);

impl Document for PlanPage {
    fn text(&self, page: &mut Page) {
        match self.0.run {
            Run::DryRun => page.line("would run, and changed nothing:"),
            Run::Begin => page.line(format!("plan {} has begun:", self.0.plan.id)),
        }
        plan(page, &self.0.plan);
    }
}

fn plan(page: &mut Page, plan: &Plan) {
    for line in plan.to_string().lines() {
        page.line(line);
    }
}

/// A plan with its journal.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct DetailPage(pub PlanDetail);

impl Document for DetailPage {
    fn text(&self, page: &mut Page) {
        let d = &self.0;
        page.line(format!("plan {}: {}", d.plan.id, state(d.state.as_ref())));
        plan(page, &d.plan);
        page.heading("Journal");
        journal(page, d);
        ending(page, d);
    }
}

/// Plans, each with the times of its steps.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct HistoryPage(pub Vec<History>);

/// One plan's history.
#[derive(Debug, Serialize)]
pub(super) struct History {
    #[serde(flatten)]
    pub detail: PlanDetail,
    /// Each step that was run, with its times.
    pub steps: Vec<StepTime>,
    /// From its first record to its last.
    pub took: Option<Span>,
}

/// A step's times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StepTime {
    /// Its number, from 1.
    pub step: usize,
    /// Its name.
    pub name: String,
    /// Whether it put something back.
    pub unwind: bool,
    /// When it was begun, first.
    pub begun: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended: Option<Timestamp>,
    /// How long that took.
    pub took: Option<Span>,
    /// What came of it, in words.
    pub note: String,
}

impl History {
    pub(super) fn new(detail: PlanDetail) -> Self {
        let steps = step_times(&detail);
        let took = detail
            .journal
            .first()
            .zip(detail.journal.last())
            .map(|(a, b)| between(a.at, b.at));
        Self {
            detail,
            steps,
            took,
        }
    }
}

impl Document for HistoryPage {
    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing was done yet");
        }
        for h in &self.0 {
            let p = &h.detail.plan;
            let took = h
                .took
                .map_or(String::new(), |t| format!(" in {}", rounded(t)));
            page.heading(format!(
                "{} {} of {}: {} -> {}, {}{took}",
                precise(p.at),
                p.kind,
                p.group,
                p.from,
                p.to,
                state(h.detail.state.as_ref()),
            ));
            page.line(format!("  plan {}, because {}", p.id, p.why));
            let rows: Vec<Vec<String>> = h
                .steps
                .iter()
                .map(|s| {
                    let number = if s.unwind {
                        format!("{}-", s.step)
                    } else {
                        s.step.to_string()
                    };
                    let took = s.took.map_or("…".to_owned(), rounded);
                    vec![
                        number,
                        precise(s.begun),
                        took,
                        s.name.clone(),
                        s.note.clone(),
                    ]
                })
                .collect();
            page.table(2, &rows);
            for l in &p.left_out {
                page.loud(format!("  left out: {} ({})", l.volume, l.why));
            }
            ending(page, &h.detail);
        }
    }
}

/// What the zone that was demoted had written alone, and what became of that.
fn given_up(page: &mut Page, d: &PlanDetail) {
    for r in &d.journal {
        let Event::StepDone { step, outcome } = &r.event else {
            continue;
        };
        let Some(Step::Resync { zone, .. }) = d.plan.steps.get(*step).map(|s| &s.step) else {
            continue;
        };
        let all = &outcome.given_up;
        if all.is_empty() {
            continue;
        }
        let volumes = all.iter().map(|g| (&g.volume, &g.given_up));
        let gone =
            |g: &VolumeGivenUp| !g.given_up.written.is_nothing() && g.given_up.kept_as.is_none();
        let words = in_words(zone, volumes);
        let line = match outcome.given_up_more {
            0 => format!("  {words}"),
            more => format!(
                "  of {}: {words}; of {more} more only the sum is kept, in the step's own line",
                plural(all.len(), "volume")
            ),
        };
        if all.iter().any(gone) {
            page.loud(line);
        } else {
            page.line(line);
        }
        let some: Vec<_> = all
            .iter()
            .filter(|g| !g.given_up.written.is_nothing())
            .collect();
        if all.len() > 1 {
            for g in some.iter().take(MAX_VOLUMES) {
                page.line(format!("    {}: {}", g.volume, g.given_up));
            }
        }
        if let Some(more @ 1..) = some.len().checked_sub(MAX_VOLUMES) {
            page.line(format!("    and {more} more; --output json has them all"));
        }
    }
}

fn ending(page: &mut Page, d: &PlanDetail) {
    given_up(page, d);
    for f in &d.failed {
        page.loud(format!("  failed: {} ({})", f.volume, f.why));
    }
    for f in d.failed_servers.iter().take(MAX_SERVERS) {
        page.loud(format!("  server {}: {}", f.server, f.why));
    }
    match d.failed_servers.len() {
        0 => {}
        n if n > MAX_SERVERS => page.loud(format!(
            "  and {} servers more; --output json has them all",
            n - MAX_SERVERS
        )),
        _ => {}
    }
    if !d.failed_servers.is_empty() {
        page.line(format!(
            "  when that is mended, `rekindle group resume {}` starts what does not serve",
            d.plan.group
        ));
    }
    if let Some(p) = &d.problem {
        page.loud(format!("  {p}"));
    }
}

fn journal(page: &mut Page, d: &PlanDetail) {
    let mut rows = Vec::new();
    let mut last: Option<Timestamp> = None;
    for r in &d.journal {
        let since = last.map_or(String::new(), |l| format!("+{}", rounded(between(l, r.at))));
        last = Some(r.at);
        rows.push(vec![precise(r.at), since, r.by.clone(), event(&d.plan, r)]);
    }
    page.table(2, &rows);
}

/// A record in words.
pub(super) fn event(plan: &Plan, r: &Record) -> String {
    let step = |n: usize| {
        plan.steps
            .get(n)
            .map_or(String::new(), |s| s.step.to_string())
    };
    let undo = |n: usize| format!("putting back, entry {}", n + 1);
    match &r.event {
        Event::Begun => "begun".to_owned(),
        Event::StepBegun { step: n } => format!("{:2}. {} …", n + 1, step(*n)),
        Event::StepDone { step: n, outcome } => {
            format!("{:2}. done: {}{}", n + 1, outcome.note, of(outcome))
        }
        Event::StepFailed { step: n, error, .. } => format!("{:2}. FAILED: {error}", n + 1),
        Event::UnwindBegun { undo: n } => format!("{} …", undo(*n)),
        Event::UnwindDone {
            undo: n,
            servers,
            failed,
        } => format!("{} done{}", undo(*n), failures(failed.len(), servers.len())),
        Event::UnwindFailed { undo: n, error } => format!("{} FAILED: {error}", undo(*n)),
        Event::Retried => "tried again by an operator".to_owned(),
        Event::Ended { end } => format!("ended: {}", end.word()),
    }
}

fn of(outcome: &StepOutcome) -> String {
    failures(outcome.volumes_failed(), outcome.servers.len())
}

/// For what a step failed: `; FAILED for 2 volumes`.
fn failures(volumes: usize, servers: usize) -> String {
    match (volumes, servers) {
        (0, 0) => String::new(),
        (v, 0) => format!("; FAILED for {}", plural(v, "volume")),
        (0, s) => format!("; FAILED for {}", plural(s, "server")),
        (v, s) => format!(
            "; FAILED for {} and {}",
            plural(v, "volume"),
            plural(s, "server")
        ),
    }
}

/// Each step's begin and end. A step that was begun anew after a crash keeps its first begin.
pub(super) fn step_times(d: &PlanDetail) -> Vec<StepTime> {
    let mut times: Vec<StepTime> = Vec::new();
    let mut failed = 0;
    for r in &d.journal {
        match &r.event {
            Event::StepBegun { step } => {
                let name = d.plan.steps.get(*step).map_or("?", |s| s.step.name());
                times.push(begun(step + 1, name, false, r.at));
            }
            Event::StepDone { outcome, .. } => {
                end(&mut times, r.at, format!("{}{}", outcome.note, of(outcome)));
            }
            Event::StepFailed { step, error, .. } => {
                failed = *step;
                end(&mut times, r.at, format!("FAILED: {error}"));
            }
            Event::UnwindBegun { undo } => {
                let entry = d.plan.steps.get(failed).and_then(|s| s.unwind.get(*undo));
                times.push(begun(undo + 1, entry.map_or("?", |s| s.name()), true, r.at));
            }
            Event::UnwindDone { .. } => end(&mut times, r.at, "put back".to_owned()),
            Event::UnwindFailed { error, .. } => end(&mut times, r.at, format!("FAILED: {error}")),
            Event::Begun | Event::Retried | Event::Ended { .. } => {}
        }
    }
    times
}

fn begun(step: usize, name: &str, unwind: bool, at: Timestamp) -> StepTime {
    StepTime {
        step,
        name: name.to_owned(),
        unwind,
        begun: at,
        ended: None,
        took: None,
        note: String::new(),
    }
}

fn end(times: &mut [StepTime], at: Timestamp, note: String) {
    if let Some(t) = times.last_mut() {
        t.ended = Some(at);
        t.took = Some(between(t.begun, at));
        t.note = note;
    }
}
