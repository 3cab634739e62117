//! Going on where the group is recorded: its volumes promoted again, or only its servers started.

use super::{APPLICATION, ORDERS, SHORT, base, plainly, step};
use crate::{
    plan::{HookTime, LeftOut, Plan, PlanKind, Step},
    snapshot::GroupView,
};
use jiff::Timestamp;
use rekindle_common::{ImageSpec, PlanId, lease::PrimaryRecord};

/// What a group goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeParts {
    /// Those that are promoted where they are not primary, and that what stands on them is started with.
    pub volumes: Vec<ImageSpec>,
    /// Those that cannot be helped.
    pub left_out: Vec<LeftOut>,
    /// What became of the servers' disks.
    pub disks: Disks,
}

/// Whether servers that still run have lost their disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disks {
    /// They were demoted under them: what runs has lost writes.
    Taken,
    /// They were primary all the time: what runs on them runs well.
    Kept,
}

/// The recorded primary demoted itself while isolated and is back: it takes its lease again and goes on.
///
/// No other zone was recorded meanwhile, so a plain promotion loses nothing.
#[must_use]
pub fn resume(
    id: PlanId,
    view: &GroupView,
    primary: &PrimaryRecord,
    at: Timestamp,
    why: String,
    parts: ResumeParts,
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (zone, generation) = (primary.zone.clone(), primary.generation);
    let volumes = parts.volumes.as_slice();
    let mut steps = b.hooks(HookTime::Before, &zone, generation);
    let take = Step::TakeLease {
        zone: zone.clone(),
        generation,
    };
    let promote = Step::Promote {
        zone: zone.clone(),
        volumes: plainly(volumes),
        generation,
    };
    steps.push(step(take, SHORT));
    match parts.disks {
        // What still runs begins anew.
        Disks::Taken => steps.extend(b.stop_levels(&zone, generation, &[])),
        // A stop would be an outage for nothing. What does not run is started below.
        Disks::Kept => {}
    }
    steps.push(step(promote, ORDERS));
    steps.extend(b.serve(&zone, volumes, generation));
    let mut plan = b.plan(PlanKind::Resume, zone.clone(), zone, steps);
    plan.parent = None;
    plan.left_out = parts.left_out;
    plan
}

/// Volumes are where they should be, and servers are not: they are started in place. What a partial plan did not start, say.
#[must_use]
pub fn start_again(
    id: PlanId,
    view: &GroupView,
    primary: &PrimaryRecord,
    at: Timestamp,
    why: String,
    parts: ResumeParts,
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (zone, generation) = (primary.zone.clone(), primary.generation);
    let mut steps = b.start_levels(&zone, generation);
    // Of a group with servers it is them that are asked for. Where there are none, the application is all that can have stopped.
    if view.spec.runbook.servers().next().is_none() {
        let application = b.start(&zone, &parts.volumes, generation);
        steps.extend(application.map(|s| step(s, APPLICATION)));
    }
    steps.extend(b.hooks(HookTime::After, &zone, generation));
    let mut plan = b.plan(PlanKind::Resume, zone.clone(), zone, steps);
    plan.left_out = parts.left_out;
    plan
}
