//! A zone's loss or its isolation may overtake a plan: what then is waited for in vain, and when the plan must make way.
//!
//! A plan claims its group, and no failover begins beside it (hard case 8). One that waits for a zone that is lost would bar the
//! very failover that the loss calls for. So a step that waits asks [`in_vain`], and fails where the answer is a reason: the plan
//! is then put back where it can be. Where it cannot, because that needs the lost zone too, it is stuck, and a stuck plan asks
//! [`overtaken`]: then it ends by itself ([`crate::saga::End::Overtaken`]), what it did stands, and the next decision looks at
//! things as they are, with proofs of its own (hard cases 10 and 59).
//!
//! A failover makes way for no loss: it is the answer to one, and it alone knows how each volume is promoted.
//!
//! The other thing that overtakes is that the recorded primary itself was isolated for a moment. It has demoted itself and serves nothing until it is
//! ordered to: copies have nobody to follow, and what is started has no disks to write to. Only a resume helps, and that is a plan of its own. So what
//! a plan does behind its promotion makes way for it, in a failover too; up to the promotion a plan sees to its lease itself.

use crate::detector::{Diagnosis, diagnose};
use crate::plan::{HookTime, Plan, PlanKind, Step};
use crate::saga::State;
use crate::snapshot::{Approved, LeaseSight, Snapshot, Vouch};
use rekindle_common::{ZoneName, lease::LeaseView};

/// Why this step of the plan, not done yet, will not be done; `None` where it may.
#[must_use]
pub fn in_vain(snapshot: &Snapshot, plan: &Plan, step: &Step) -> Option<String> {
    if needs_a_primary(plan, step)
        && let Some(why) = isolated(snapshot, plan)
    {
        return Some(why);
    }
    match plan.kind {
        PlanKind::Failover => None,
        PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect | PlanKind::Resume => {
            needs(plan, step)
                .into_iter()
                .find_map(|zone| gone(snapshot, plan, zone))
        }
    }
}

/// Whether that is the hold that a move begins with. It has touched nothing that serves: what cannot be held ends the plan, and what the primary's
/// zone needs must not wait until it is over.
#[must_use]
pub fn begins_a_move(plan: &Plan, step: &Step) -> bool {
    let moves = match plan.kind {
        PlanKind::Move | PlanKind::Failback => true,
        PlanKind::Failover | PlanKind::Reprotect | PlanKind::Resume => false,
    };
    moves && matches!(step, Step::HoldServers { .. })
}

/// Whether it is done only while the recorded primary serves. For these the answer of [`in_vain`] rests on that zone's report too.
#[must_use]
pub fn needs_a_primary(plan: &Plan, step: &Step) -> bool {
    match step {
        Step::Resync { .. }
        | Step::AwaitReplay { .. }
        | Step::Pause { .. }
        | Step::StartServers { .. }
        | Step::StartApplication { .. } => true,
        Step::RunHook { when, .. } => match when {
            HookTime::After => true,
            HookTime::Before => false,
        },
        Step::Fence { .. }
        | Step::AwaitLeaseEnd { .. }
        | Step::StopApplication { .. }
        | Step::Demote { .. }
        | Step::AwaitDemotionReplayed { .. }
        | Step::ReleaseLease { .. }
        | Step::RecordPrimary { .. }
        | Step::TakeLease { .. }
        | Step::MarkUnprotected { .. }
        | Step::Promote { .. }
        | Step::MarkProtected
        | Step::StopServers { .. } => false,
        Step::HoldServers { .. } => begins_a_move(plan, step),
    }
}

/// Why a plan that is stuck is not worth a person's time any more; `None` where it is, or where it is not stuck.
#[must_use]
pub fn overtaken(snapshot: &Snapshot, plan: &Plan, state: &State) -> Option<String> {
    if may_be_resumed(plan, state)
        && let Some(why) = isolated(snapshot, plan)
    {
        return Some(why);
    }
    let view = snapshot.groups.get(&plan.group)?;
    let primary = view.primary.as_ref()?;
    match plan.kind {
        PlanKind::Failover => None,
        PlanKind::Move | PlanKind::Failback | PlanKind::Resume => {
            gone(snapshot, plan, &primary.zone)
        }
        // It puts nothing at risk to begin anew: what the copies need is seen from how they are.
        PlanKind::Reprotect => [&view.spec.home, &view.spec.away]
            .into_iter()
            .find_map(|zone| gone(snapshot, plan, zone)),
    }
}

/// Whether a resume may take the place of what is left of a stuck plan: nothing of it is a promotion that the plan alone knows how to do. A resume that
/// is stuck before its own promotion is followed by another.
fn may_be_resumed(plan: &Plan, state: &State) -> bool {
    let stuck = match state {
        State::Stuck {
            step, undo: None, ..
        } => *step,
        State::Stuck { undo: Some(_), .. }
        | State::Fresh
        | State::Between { .. }
        | State::Running { .. }
        | State::Unwinding { .. }
        | State::RunningUnwind { .. }
        | State::Ended { .. } => return false,
    };
    let mut left = plan.steps.iter().skip(stuck);
    let promotes = left.any(|s| matches!(s.step, Step::Promote { .. }));
    match plan.kind {
        PlanKind::Resume => true,
        PlanKind::Failover | PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect => !promotes,
    }
}

/// Why nothing is served: the recorded primary is well, and was isolated under the generation that is now. By etcd's word, which has no lease of it,
/// and by its own sidecar's: where two stand beside each other, the one that is asked may not be the one that serves.
fn isolated(snapshot: &Snapshot, plan: &Plan) -> Option<String> {
    let view = snapshot.groups.get(&plan.group)?;
    let primary = view.primary.as_ref()?;
    match &view.lease {
        LeaseSight::Held(_) => return None,
        LeaseSight::Gone { .. } => {}
    }
    let report = snapshot.zones.get(&primary.zone)?;
    let mut groups = report.groups.iter();
    let says = groups.find(|g| g.group == plan.group)?.lease;
    let isolated = match says {
        LeaseView::Isolated { generation } => generation == primary.generation,
        LeaseView::Held { .. } | LeaseView::KeptByFailsafe { .. } | LeaseView::NotHeld => false,
    };
    let well = diagnose(snapshot, &primary.zone, view.spec.policy.hold_off) == Diagnosis::Healthy;
    (isolated && well).then(|| {
        format!(
            "{} was isolated, has demoted itself, and serves nothing until a resume",
            primary.zone
        )
    })
}

/// The zones without which the step cannot be done.
fn needs<'a>(plan: &'a Plan, step: &'a Step) -> Vec<&'a ZoneName> {
    match step {
        Step::Demote { zone, .. }
        | Step::ReleaseLease { zone, .. }
        | Step::TakeLease { zone, .. }
        | Step::Promote { zone, .. }
        | Step::StopApplication { zone, .. }
        | Step::StartApplication { zone, .. }
        | Step::StopServers { zone, .. }
        | Step::StartServers { zone, .. } => vec![zone],
        // What comes behind it begins in the primary's zone.
        Step::HoldServers { zone, .. } if begins_a_move(plan, step) => vec![zone, &plan.from],
        Step::HoldServers { zone, .. } => vec![zone],
        // What is looked at stands where the plan ends.
        Step::Pause { .. } => vec![&plan.to],
        // Copies follow their primary: the one that was demoted, or the one that the plan ends with.
        Step::AwaitDemotionReplayed { zone, .. } => vec![zone, &plan.from],
        Step::Resync { zone, .. } | Step::AwaitReplay { zone, .. } => vec![zone, &plan.to],
        Step::Fence { .. }
        | Step::AwaitLeaseEnd { .. }
        | Step::RecordPrimary { .. }
        | Step::MarkUnprotected { .. }
        | Step::RunHook { .. }
        | Step::MarkProtected => Vec::new(),
    }
}

/// Why nothing is to be had from a zone: it is lost; or it is the primary's and not well, and a person has vouched that it cannot
/// write, which asks for a failover away from it.
fn gone(snapshot: &Snapshot, plan: &Plan, zone: &ZoneName) -> Option<String> {
    let view = snapshot.groups.get(&plan.group)?;
    let diagnosis = diagnose(snapshot, zone, view.spec.policy.hold_off);
    match diagnosis {
        // Nor is a step done on a cluster that is not there, however its sidecar answers.
        Diagnosis::Lost { .. } | Diagnosis::StorageLost { .. } => {
            Some(format!("{zone} is {diagnosis}"))
        }
        Diagnosis::Healthy => None,
        Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => {
            let primary = view.primary.as_ref()?;
            let approval = view.approval.as_ref()?;
            let vouched = match approval.what {
                Approved::Failover { vouch, .. } => vouch == Vouch::CannotWrite,
                Approved::Reprotect | Approved::Failback => false,
            };
            // The primary's zone was well when such a plan was made: a word from before it is about a trouble that had passed.
            let since = approval.at >= plan.at;
            let of_this = primary.zone == *zone && approval.generation == primary.generation;
            let asked = vouched && of_this && since;
            asked.then(|| format!("{zone} is {diagnosis}, and a failover away from it is approved"))
        }
    }
}

#[cfg(test)]
mod tests;
