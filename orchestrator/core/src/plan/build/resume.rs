//! Going on where the group is recorded: its volumes promoted again, or only its servers started.

use super::{ORDERS, SHORT, base, plainly, step};
use crate::{
    plan::{HookTime, Plan, PlanKind, Step},
    snapshot::GroupView,
};
use jiff::Timestamp;
use rekindle_common::{ImageSpec, PlanId, lease::PrimaryRecord};

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
    volumes: &[ImageSpec],
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (zone, generation) = (primary.zone.clone(), primary.generation);
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
    // Their disks were taken from under them: what still runs has lost writes, and begins anew.
    steps.extend(b.stop_levels(&zone, generation, &[]));
    steps.push(step(promote, ORDERS));
    steps.extend(b.serve(&zone, volumes, generation));
    let mut plan = b.plan(PlanKind::Resume, zone.clone(), zone, steps);
    plan.parent = None;
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
) -> Plan {
    let b = base(id, view, primary, at, why);
    let (zone, generation) = (primary.zone.clone(), primary.generation);
    let mut steps = b.start_levels(&zone, generation);
    steps.extend(b.hooks(HookTime::After, &zone, generation));
    b.plan(PlanKind::Resume, zone.clone(), zone, steps)
}
