//! A zone's loss may overtake a plan: what then is waited for in vain, and when the plan must make way.
//!
//! A plan claims its group, and no failover begins beside it (hard case 8). One that waits for a zone that is lost would bar the
//! very failover that the loss calls for. So a step that waits asks [`in_vain`], and fails where the answer is a reason: the plan
//! is then put back where it can be. Where it cannot, because that needs the lost zone too, it is stuck, and a stuck plan asks
//! [`overtaken`]: then it ends by itself ([`crate::saga::End::Overtaken`]), what it did stands, and the next decision looks at
//! things as they are, with proofs of its own (hard cases 10 and 59).
//!
//! A failover makes way for nothing: it is the answer to the loss, and it alone knows how each volume is promoted.

use crate::detector::{Diagnosis, diagnose};
use crate::plan::{Plan, PlanKind, Step};
use crate::snapshot::{Approved, Snapshot, Vouch};
use rekindle_common::ZoneName;

/// Why this step of the plan, not done yet, will not be done; `None` where it may.
#[must_use]
pub fn in_vain(snapshot: &Snapshot, plan: &Plan, step: &Step) -> Option<String> {
    match plan.kind {
        PlanKind::Failover => None,
        PlanKind::Move | PlanKind::Failback | PlanKind::Reprotect | PlanKind::Resume => {
            needs(plan, step)
                .into_iter()
                .find_map(|zone| gone(snapshot, plan, zone))
        }
    }
}

/// Why a plan that is stuck is not worth a person's time any more; `None` where it is.
#[must_use]
pub fn overtaken(snapshot: &Snapshot, plan: &Plan) -> Option<String> {
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
        | Step::StartServers { zone, .. }
        | Step::HoldServers { zone, .. } => vec![zone],
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
