//! The primary's zone is well: is the group protected, and is it where it belongs?

use super::sides::{Sides, compare, unreadable_policy};
use super::{Ask, Case, Decision, Hold, Refusal, begin, permitted};
use crate::detector::Diagnosis;
use crate::plan::{self, Disks, LeftOut, Plan, PlanKind, ReprotectParts, ResumeParts};
use crate::snapshot::{Approved, LeaseSight};
use rekindle_common::{
    ImageSpec,
    lease::LeaseView,
    policy::{FailoverMode, IsolationResponse, OnReturn},
    volume::{Role, VolumeReport},
};

/// The recorded primary's zone is healthy.
pub(super) fn primary_well(case: Case<'_>) -> Decision {
    let zone = &case.primary.zone;
    let Some(originals) = case.view.volumes_in(zone) else {
        return Decision::Hold {
            why: Hold::PrimaryUnclear { zone: zone.clone() },
        };
    };
    match case.lease_view(zone) {
        Some(LeaseView::Isolated { generation }) if generation == case.primary.generation => {
            return resume_after_isolation(&case, originals);
        }
        Some(LeaseView::Held { .. } | LeaseView::KeptByFailsafe { .. }) => {}
        // Of two sidecars the one that is asked may stand by for the other: etcd says whether the zone holds it.
        Some(LeaseView::NotHeld) if lease_in_place(&case).is_ok() => {}
        Some(LeaseView::Isolated { .. } | LeaseView::NotHeld) | None => {
            return Decision::Hold {
                why: Hold::PrimaryUnclear { zone: zone.clone() },
            };
        }
    }
    let left_behind = not_primary(originals);
    if left_behind.is_empty() {
        return side_by_side(&case, originals);
    }
    let ask = Decision::AskOperator {
        why: Ask::NoPrimaryImages {
            zone: zone.clone(),
            volumes: left_behind,
        },
    };
    if has_a_primary(originals) {
        beside_those(side_by_side(&case, originals), ask)
    } else {
        ask
    }
}

/// What is done about the others while some volumes are not primary where the group is. They are made copies again as ever; but the mark that
/// a failover of ours left stays, for what it left behind is not over, and nothing is said to be well.
fn beside_those(of_the_others: Decision, ask: Decision) -> Decision {
    match of_the_others {
        goes_on @ (Decision::Begin { .. }
        | Decision::AskOperator { .. }
        | Decision::MarkProtection {
            unprotected: Some(_),
        }) => goes_on,
        Decision::MarkProtection { unprotected: None } | Decision::Hold { .. } => ask,
    }
}

/// Of a zone that is well, and holds the lease: how the other one follows it.
fn side_by_side(case: &Case<'_>, originals: &[VolumeReport]) -> Decision {
    let copies = match (case.diagnose(case.other), case.view.volumes_in(case.other)) {
        (Diagnosis::Healthy, Some(copies)) => copies,
        (diagnosis, _) => return unprotected(case, diagnosis),
    };
    let sides = compare(originals, copies);
    if must_settle(case, &sides) {
        return catching_up(case, &sides);
    }
    if !sides.stale_primaries.is_empty() || !sides.broken.is_empty() {
        return diverged(case, sides);
    }
    if !sides.behind.is_empty() || !sides.unreadable.is_empty() {
        return catching_up(case, &sides);
    }
    if case.view.state.unprotected.is_some() {
        return Decision::MarkProtection { unprotected: None };
    }
    go_home(case, originals)
}

/// Nobody took over while the zone was isolated, so it may go on. Its own sidecar demoted its images, and only then.
fn resume_after_isolation(case: &Case<'_>, originals: &[VolumeReport]) -> Decision {
    let why = format!(
        "{} is back from isolation, still recorded as primary",
        case.primary.zone
    );
    if case.view.spec.policy.failover == FailoverMode::Approved && case.approved().is_none() {
        // Going on where one was is no failover, but it starts servers: the same people want to be asked.
        return Decision::AskOperator {
            why: Ask::Approve {
                kind: PlanKind::Resume,
                why,
            },
        };
    }
    if let Some(why) = case.frozen(&case.primary.zone) {
        return Decision::AskOperator { why };
    }
    begin(resume_plan(case, originals, why))
}

fn resume_plan(case: &Case<'_>, originals: &[VolumeReport], why: String) -> Plan {
    let parts = ResumeParts {
        volumes: may_be_promoted(originals),
        left_out: kept_back(originals),
        disks: disks(case, originals),
    };
    let at = case.snapshot.reference_time;
    plan::resume(case.id.clone(), case.view, case.primary, at, why, parts)
}

/// What runs there runs on the disks that it began with where the zone has never given its group up, and some of it is primary.
fn disks(case: &Case<'_>, originals: &[VolumeReport]) -> Disks {
    let serves = match case.lease_view(&case.primary.zone) {
        Some(LeaseView::Held { .. } | LeaseView::KeptByFailsafe { .. } | LeaseView::NotHeld) => {
            has_a_primary(originals)
        }
        Some(LeaseView::Isolated { .. }) | None => false,
    };
    if serves && lease_in_place(case).is_ok() {
        Disks::Kept
    } else {
        Disks::Taken
    }
}

fn unprotected(case: &Case<'_>, diagnosis: Diagnosis) -> Decision {
    let lost = match diagnosis {
        Diagnosis::Lost { .. } | Diagnosis::StorageLost { .. } => true,
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => false,
    };
    if case.view.state.unprotected.is_none() && lost {
        let why = format!("{} is {diagnosis}", case.other);
        return Decision::MarkProtection {
            unprotected: Some(why),
        };
    }
    Decision::Hold {
        why: Hold::Unprotected {
            zone: case.other.clone(),
            diagnosis,
        },
    }
}

/// Whether the loser of a failover of ours is still finding out what its copies are.
///
/// Its sidecar demotes them one by one, and its mirror daemon takes up to half a minute to name each one that has diverged.
/// A plan made in between would resync some and then wait for ever for the others, which nobody resyncs. Where the sidecar
/// does not demote by itself nothing is waited for: what is still primary there may be written to.
fn must_settle(case: &Case<'_>, sides: &Sides) -> bool {
    let by_itself = case.view.spec.policy.isolation_response == IsolationResponse::Demote;
    let stale = !sides.broken.is_empty() || (!sides.stale_primaries.is_empty() && by_itself);
    let unsettled = !sides.unclear.is_empty() || !sides.starting.is_empty();
    stale && unsettled && case.lost_by_the_other().is_some()
}

/// Both zones say primary, or did: each has what the other lacks. Ours to mend only after a failover of ours, and then as
/// policy says. A sidecar that demotes what is not recorded turns the first into the second, and settles nothing by that.
fn diverged(case: &Case<'_>, sides: Sides) -> Decision {
    let approved = matches!(case.approved(), Some(Approved::Reprotect));
    if case.lost_by_the_other().is_none() && !approved {
        return Decision::AskOperator {
            why: Ask::SplitBrain {
                volumes: sides.diverged(),
            },
        };
    }
    allowed_reprotect(case, sides)
}

fn allowed_reprotect(case: &Case<'_>, sides: Sides) -> Decision {
    let automatic = match case.view.spec.policy.on_return {
        OnReturn::Stay | OnReturn::Return => true,
        OnReturn::Ask => false,
    };
    let why = format!("{} is back and holds stale copies", case.other);
    if let Some(why) = case.frozen(case.other) {
        return Decision::AskOperator { why };
    }
    if automatic || matches!(case.approved(), Some(Approved::Reprotect)) {
        begin(reprotect_plan(case, sides, why))
    } else {
        Decision::AskOperator {
            why: Ask::Approve {
                kind: PlanKind::Reprotect,
                why,
            },
        }
    }
}

fn reprotect_plan(case: &Case<'_>, sides: Sides, why: String) -> Plan {
    let mut resync = sides.stale_primaries.clone();
    resync.extend(sides.broken.iter().cloned());
    let parts = ReprotectParts {
        demote: sides.stale_primaries,
        resync,
        all: sides.all,
        left_out: sides.left_out,
    };
    let at = case.snapshot.reference_time;
    plan::reprotect(
        case.id.clone(),
        case.view,
        case.primary,
        at,
        why,
        case.other,
        parts,
    )
}

fn catching_up(case: &Case<'_>, sides: &Sides) -> Decision {
    let behind = sides.behind.len()
        + sides.broken.len()
        + sides.stale_primaries.len()
        + sides.unreadable.len();
    let updating_only = sides.broken.is_empty()
        && sides.incomplete.is_empty()
        && sides.unclear.is_empty()
        && sides.unreadable.is_empty();
    if updating_only && case.view.state.unprotected.is_none() {
        // A complete copy that is a delta behind is what replication looks like on any working day.
        return Decision::Hold { why: Hold::AllWell };
    }
    // Before its daemon has said how far behind it is, a copy that has diverged looks the same, and the mark would forget that the failover
    // which it diverged by was ours.
    if updating_only && sides.starting.is_empty() {
        return Decision::MarkProtection { unprotected: None };
    }
    Decision::Hold {
        why: Hold::Syncing { behind },
    }
}

/// Protected, and perhaps not at home.
fn go_home(case: &Case<'_>, originals: &[VolumeReport]) -> Decision {
    if case.primary.zone == case.view.spec.home || originals.is_empty() {
        return Decision::Hold { why: Hold::AllWell };
    }
    // No move is made while one is left behind, so nobody is asked for a yes to it.
    if !not_primary(originals).is_empty() {
        return Decision::Hold { why: Hold::AllWell };
    }
    let wanted = case.view.spec.policy.on_return == OnReturn::Return;
    if !wanted && !matches!(case.approved(), Some(Approved::Failback)) {
        return Decision::Hold { why: Hold::AllWell };
    }
    if !permitted(case, wanted, |a| matches!(a, Approved::Failback)) {
        let why = format!("{} is well and in step", case.view.spec.home);
        return Decision::AskOperator {
            why: Ask::Approve {
                kind: PlanKind::Failback,
                why,
            },
        };
    }
    match planned_move(case) {
        Ok(plan) => begin(plan),
        Err(Refusal::Ask(why)) => Decision::AskOperator { why },
        Err(
            Refusal::UnknownGroup
            | Refusal::AlreadyThere(_)
            | Refusal::ForeignZone(_)
            | Refusal::ZoneNotWell { .. }
            | Refusal::NotInStep(_)
            | Refusal::NoLease { .. }
            | Refusal::NothingToDo(_)
            | Refusal::Hold(_),
        ) => Decision::Hold { why: Hold::AllWell },
    }
}

/// A planned move to the other zone, with its guards (hard cases 15, 57).
pub(super) fn planned_move(case: &Case<'_>) -> Result<Plan, Refusal> {
    let originals = both_well(case)?;
    lease_in_place(case)?;
    let copies = case.view.volumes_in(case.other).unwrap_or_default();
    let sides = compare(originals, copies);
    let mut against: Vec<String> = sides
        .stale_primaries
        .iter()
        .map(|v| format!("{v} is primary in both zones"))
        .collect();
    // What does not answer cannot be demoted.
    against.extend(
        originals
            .iter()
            .filter(|v| v.role == Role::Unknown)
            .map(|v| format!("{} is {} in {}", v.volume, v.status, case.primary.zone)),
    );
    against.extend(sides.not_in_step.values().cloned());
    against.extend(
        sides
            .left_out
            .iter()
            .map(|l| format!("{} {}", l.volume, l.why)),
    );
    if !against.is_empty() {
        return Err(Refusal::NotInStep(against));
    }
    if sides.all.is_empty() {
        return Err(Refusal::NothingToDo("the group has no volumes".to_owned()));
    }
    let why = format!(
        "planned: {} and {} are well and in step",
        case.primary.zone, case.other
    );
    let at = case.snapshot.reference_time;
    Ok(plan::failback_or_move(
        case.id.clone(),
        case.view,
        case.primary,
        at,
        why,
        case.other,
        &sides.all,
    ))
}

/// An operator's `rekindle group resume`. Where all volumes serve already that may, what stands on them is started where it does not run.
pub(super) fn resume_by_hand(case: &Case<'_>) -> Result<Plan, Refusal> {
    let zone = &case.primary.zone;
    let diagnosis = case.diagnose(zone);
    if diagnosis != Diagnosis::Healthy {
        return Err(Refusal::ZoneNotWell {
            zone: zone.clone(),
            diagnosis,
        });
    }
    if let Some(why) = case.frozen(zone) {
        return Err(Refusal::Ask(why));
    }
    let originals = case
        .view
        .volumes_in(zone)
        .ok_or(Refusal::Hold(Hold::PrimaryUnclear { zone: zone.clone() }))?;
    let to_promote = originals
        .iter()
        .any(|v| v.role == Role::Secondary && !v.policy_is_unreadable());
    if to_promote {
        let why = format!("asked for by hand: {zone} is recorded as primary");
        return Ok(resume_plan(case, originals, why));
    }
    let left_out = kept_back(originals);
    let all = match left_out.as_slice() {
        [] => format!("all volumes are primary in {zone}"),
        [..] => format!("all volumes whose policy can be read are primary in {zone}"),
    };
    if case.view.spec.runbook.is_empty() && case.view.spec.policy.application.is_none() {
        return Err(Refusal::NothingToDo(all));
    }
    lease_in_place(case)?;
    let parts = ResumeParts {
        volumes: may_be_promoted(originals),
        left_out,
        disks: Disks::Kept,
    };
    Ok(plan::start_again(
        case.id.clone(),
        case.view,
        case.primary,
        case.snapshot.reference_time,
        format!("asked for by hand: {all}"),
        parts,
    ))
}

/// An operator's `rekindle group reprotect`: only after a failover of ours, or with an approval that names it.
pub(super) fn reprotect_by_hand(case: &Case<'_>) -> Result<Plan, Refusal> {
    let originals = both_well(case)?;
    lease_in_place(case)?;
    let copies = case.view.volumes_in(case.other).unwrap_or_default();
    let sides = compare(originals, copies);
    let approved = matches!(case.approved(), Some(Approved::Reprotect));
    if sides.stale_primaries.is_empty() && sides.broken.is_empty() {
        return Err(Refusal::NothingToDo(format!(
            "{} holds no stale copies",
            case.other
        )));
    }
    if case.lost_by_the_other().is_none() && !approved {
        return Err(Refusal::Ask(Ask::SplitBrain {
            volumes: sides.diverged(),
        }));
    }
    Ok(reprotect_plan(case, sides, "asked for by hand".to_owned()))
}

/// Both zones healthy and answering; the primary's volumes.
fn both_well<'a>(case: &'a Case<'_>) -> Result<&'a [VolumeReport], Refusal> {
    for zone in [&case.primary.zone, case.other] {
        let diagnosis = case.diagnose(zone);
        if diagnosis != Diagnosis::Healthy {
            return Err(Refusal::ZoneNotWell {
                zone: zone.clone(),
                diagnosis,
            });
        }
        if let Some(why) = case.frozen(zone) {
            return Err(Refusal::Ask(why));
        }
        if case.view.volumes_in(zone).is_none() {
            return Err(Refusal::Hold(Hold::CopiesUnknown { zone: zone.clone() }));
        }
    }
    Ok(case.view.volumes_in(&case.primary.zone).unwrap_or_default())
}

fn lease_in_place(case: &Case<'_>) -> Result<(), Refusal> {
    let refusal = || Refusal::NoLease {
        zone: case.primary.zone.clone(),
        generation: case.primary.generation,
    };
    match &case.view.lease {
        LeaseSight::Held(l)
            if l.zone == case.primary.zone && l.generation == case.primary.generation =>
        {
            Ok(())
        }
        LeaseSight::Held(_) | LeaseSight::Gone { .. } => Err(refusal()),
    }
}

/// Those that the zone's sidecar does not refuse to promote whatever their state.
fn may_be_promoted(originals: &[VolumeReport]) -> Vec<ImageSpec> {
    originals
        .iter()
        .filter(|v| v.role != Role::NotMirrored && !v.policy_is_unreadable())
        .map(|v| v.volume.clone())
        .collect()
}

/// Those that would have to be promoted, and that it always refuses. One that is primary serves, whatever its policy.
fn kept_back(originals: &[VolumeReport]) -> Vec<LeftOut> {
    originals
        .iter()
        .filter(|v| v.role == Role::Secondary && v.policy_is_unreadable())
        .map(unreadable_policy)
        .collect()
}

fn has_a_primary(originals: &[VolumeReport]) -> bool {
    originals.iter().any(|v| v.role == Role::Primary)
}

/// The recorded primary's volumes that are mirrored and not primary.
fn not_primary(originals: &[VolumeReport]) -> Vec<ImageSpec> {
    originals
        .iter()
        .filter(|v| v.role == Role::Secondary)
        .map(|v| v.volume.clone())
        .collect()
}

/// The recorded primary says of its volumes that they are.
pub(super) fn all_primary(case: &Case<'_>) -> bool {
    let originals = case.view.volumes_in(&case.primary.zone);
    originals.is_some_and(|o| not_primary(o).is_empty())
}

/// The copies are seen, and each follows its primary and is complete; nothing is left of a failover.
pub(super) fn in_step(case: &Case<'_>) -> bool {
    let (Some(originals), Some(copies)) = (
        case.view.volumes_in(&case.primary.zone),
        case.view.volumes_in(case.other),
    ) else {
        return false;
    };
    let sides = compare(originals, copies);
    case.diagnose(case.other) == Diagnosis::Healthy
        && case.view.state.unprotected.is_none()
        && not_primary(originals).is_empty()
        && sides.stale_primaries.is_empty()
        && sides.broken.is_empty()
        && sides.incomplete.is_empty()
        && sides.unclear.is_empty()
        && sides.unreadable.is_empty()
        && sides.starting.is_empty()
}
