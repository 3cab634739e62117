//! `rekindle status`: what is, what is decided, and what holds a decision back.

use super::{
    preflight,
    words::{ago, lease, moment, plural},
};
use crate::output::{Document, Page};
use jiff::Timestamp;
use rekindle_common::volume::Known;
use rekindle_core::observation::Signal;
use rekindle_orchestrator::wire::{GroupStatus, SiteStatus, Status, View, ZoneStatus};
use serde::Serialize;

/// So many volumes that stand in one zone alone are named after the first; JSON has them all.
const MAX_ALONE: usize = 20;

/// The whole of it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct StatusPage(pub(super) Status);

impl Document for StatusPage {
    fn text(&self, page: &mut Page) {
        let s = &self.0;
        let leader = match &s.leader {
            Some(l) => format!("{} leads", l.site),
            None => "NOBODY LEADS".to_owned(),
        };
        page.line(format!(
            "{leader}; as {} saw it at {}",
            s.site,
            moment(s.at)
        ));
        if s.leader.is_none() {
            page.loud("No orchestrator leads: nothing is decided until one does. See that two of three etcd members run.");
        }
        match s.view {
            View::Whole => {}
            View::SiteOnly => page.loud("No leader was reached: groups and zones are not shown."),
        }
        if let Some(m) = &s.maintenance {
            page.loud(format!("MAINTENANCE, no automatic action: {}", m.reason));
        }
        if let Some(left) = s.promised_for {
            page.loud(format!(
                "This site promised an isolated zone to hold still for another {left}."
            ));
        }
        sites(page, s);
        zones(page, &s.zones);
        if !s.groups.is_empty() {
            page.heading("Groups");
            for g in &s.groups {
                group(page, g, s.at);
            }
        }
        if !s.problems.is_empty() {
            page.heading("Problems");
            for p in &s.problems {
                page.loud(format!("  {p}"));
            }
        }
    }
}

fn sites(page: &mut Page, s: &Status) {
    if s.sites.is_empty() {
        return;
    }
    page.heading("Sites");
    let mut rows = vec![vec![
        "SITE".to_owned(),
        "LAST SEEN".to_owned(),
        "SEES".to_owned(),
    ]];
    rows.extend(s.sites.iter().map(|site| site_row(site, s)));
    page.table(2, &rows);
}

fn site_row(site: &SiteStatus, s: &Status) -> Vec<String> {
    let (seen, sees) = match &site.sees {
        None => (
            "silent".to_owned(),
            "its orchestrator is down or cut off".to_owned(),
        ),
        Some(o) => {
            let bad: Vec<String> = o
                .observations
                .iter()
                .filter(|o| o.signal != Signal::Up)
                .map(|o| {
                    let what = match o.signal {
                        Signal::Down => "down",
                        Signal::Up | Signal::Unknown => "unknown",
                    };
                    format!(
                        "{} {} {what} for {}",
                        o.zone,
                        o.kind.name(),
                        super::words::rounded(o.held_for)
                    )
                })
                .collect();
            let sees = if bad.is_empty() {
                "all up".to_owned()
            } else {
                bad.join(", ")
            };
            (ago(o.at, s.at), sees)
        }
    };
    vec![site.site.to_string(), seen, sees]
}

fn zones(page: &mut Page, zones: &[ZoneStatus]) {
    if zones.is_empty() {
        return;
    }
    page.heading("Zones");
    let head = [
        "ZONE",
        "DIAGNOSIS",
        "SIDECAR",
        "CEPH",
        "WRITES",
        "MIRROR DAEMON",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for z in zones {
        let mut row = vec![z.zone.to_string(), z.text.clone()];
        match &z.report {
            Some(r) => row.extend([
                r.version.clone(),
                r.ceph
                    .health
                    .clone()
                    .unwrap_or_else(|| "no answer".to_owned()),
                known(r.ceph.writable, "yes", "NO"),
                known(r.mirror.daemon_up, "up", "DOWN"),
            ]),
            None => row.push("silent".to_owned()),
        }
        rows.push(row);
    }
    page.table(2, &rows);
    for z in zones {
        if let Some(frozen) = z.report.as_ref().and_then(|r| r.frozen.as_ref()) {
            let (reason, since) = (&frozen.reason, moment(frozen.since));
            page.loud(format!("  {} is FROZEN since {since}: {reason}", z.zone));
        }
        if let Some(why) = &z.silent {
            page.line(format!("  {} is silent: {why}", z.zone));
        }
    }
}

/// One group, for `status` and `group show`.
pub(super) fn group(page: &mut Page, g: &GroupStatus, now: Timestamp) {
    let primary = match &g.primary {
        Some(p) => format!(
            "primary {} (generation {}, since {})",
            p.zone,
            p.generation,
            moment(p.since)
        ),
        None => "no primary recorded".to_owned(),
    };
    page.line(format!("  {}: {primary}; {}", g.spec.name, lease(&g.lease)));
    if let Some(u) = &g.unprotected {
        page.loud(format!(
            "    UNPROTECTED since {}: {}",
            moment(u.since),
            u.why
        ));
    }
    if let Some(first) = g.alone.first() {
        page.loud(format!(
            "    UNPROTECTED: {} in one zone alone: {} {}",
            plural(g.alone.len(), "volume"),
            first.volume,
            first.why
        ));
        for l in g.alone.iter().skip(1).take(MAX_ALONE) {
            page.line(format!("      {} {}", l.volume, l.why));
        }
        let more = g.alone.len().saturating_sub(MAX_ALONE + 1);
        if more > 0 {
            page.line(format!("      and {}", plural(more, "more volume")));
        }
    }
    if let Some(d) = &g.decision {
        page.line(format!("    decision: {} ({})", d.text, ago(d.since, now)));
    }
    if let Some(p) = &g.active_plan {
        page.line(format!("    plan {} at work: {}", p.id, p.text));
        if p.progress.as_ref().is_some_and(|at| at.name == "pause") {
            let group = &g.spec.name;
            page.loud(format!(
                "    PAUSED: `rekindle approve {group} --by NAME` when that is looked at"
            ));
        }
        if let Some(at) = &p.progress
            && at.of > 0
        {
            page.line(format!(
                "      {}: {}/{} {}",
                at.name, at.done, at.of, at.note
            ));
        }
    }
    if let Some(f) = &g.last_failover {
        let done = if f.acknowledged {
            "acknowledged"
        } else {
            "not acknowledged"
        };
        let (from, plan) = (&f.from, &f.plan);
        page.line(format!(
            "    last failover: from {from} at {}, plan {plan}, {done}",
            moment(f.at)
        ));
    }
    if let Some(failed) = &g.hooks_failed {
        let (plan, kind) = (&failed.plan, failed.kind);
        for f in &failed.hooks {
            page.loud(format!(
                "    HOOK FAILED after {kind} {plan}, {}: {}: {}",
                moment(failed.at),
                f.hook,
                f.why
            ));
        }
        let group = &g.spec.name;
        page.line(format!(
            "      the {kind} stands; when that is mended, `rekindle group resume {group}` runs the hooks again, and \
             `rekindle acknowledge {group}` lets a failover's rest"
        ));
    }
    if let Some(a) = &g.approval {
        page.line(format!("    approved by {}, not used yet", a.by));
    }
    for z in &g.volumes {
        let counts: Vec<String> = z.counts.iter().map(|(st, n)| format!("{n} {st}")).collect();
        let counts = if counts.is_empty() {
            "no volumes".to_owned()
        } else {
            counts.join(", ")
        };
        page.line(format!("    {}: {counts}", z.zone));
        let concerned: Vec<_> = z
            .volumes
            .iter()
            .filter(|v| !v.concerns.is_empty())
            .collect();
        for v in concerned.iter().take(5) {
            page.line(format!("      {}: {}", v.volume, v.concerns.join("; ")));
        }
        if let Some(more) = concerned.len().checked_sub(5).filter(|n| *n > 0) {
            page.line(format!(
                "      and {} more with concerns",
                plural(more, "volume")
            ));
        }
    }
    if let Some(p) = &g.preflight {
        preflight::last(page, p, now);
    }
    for p in &g.problems {
        page.loud(format!("    {p}"));
    }
}

fn known(k: Known, yes: &str, no: &str) -> String {
    match k {
        Known::Yes => yes,
        Known::No => no,
        Known::Unknown => "unknown",
    }
    .to_owned()
}
