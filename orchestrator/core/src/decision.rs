//! What is to be done about a group now, or why nothing is.
//!
//! [`decide`] is a pure function of one [`Snapshot`]. It has four answers: hold (with the reason), ask the operator (with the
//! evidence), mark the group's protection, or begin a plan. The order of its questions is the order of this file.

mod loss;
mod protect;
mod sides;
mod takeover;
mod word;
mod words;

pub use word::outlived;
pub use words::{Ask, Hold};

pub use rekindle_common::plan::Request;

use crate::detector::{Diagnosis, diagnose, majority, takes_writes};
use crate::plan::{self, Plan};
use crate::snapshot::{Approved, FailoverMemory, GroupView, LeaseSight, Snapshot};
use rekindle_common::{
    Generation, GroupName, PlanId, ZoneName,
    lease::{LeaseView, PrimaryRecord},
    policy::{FailoverMode, IsolationResponse},
    volume::Known,
};
use serde::{Deserialize, Serialize};

/// A decision about one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Nothing is to be done now.
    Hold {
        /// Why.
        why: Hold,
    },
    /// A person has to decide.
    AskOperator {
        /// What, and on what evidence.
        why: Ask,
    },
    /// The copies are in step again, or no longer are: the group's state should say so.
    MarkProtection {
        /// `None`: protected.
        unprotected: Option<String>,
    },
    /// This plan is to be carried out.
    Begin {
        /// It.
        plan: Box<Plan>,
    },
}

/// A group whose primary is known, as the parts of the decision pass it on.
struct Case<'a> {
    snapshot: &'a Snapshot,
    view: &'a GroupView,
    primary: &'a PrimaryRecord,
    /// The zone that is not primary.
    other: &'a ZoneName,
    /// The id of a plan, should one be begun.
    id: PlanId,
}

impl<'a> Case<'a> {
    /// Of a group whose record names one of its zones, or why it has to be left alone.
    fn of(snapshot: &'a Snapshot, view: &'a GroupView, id: PlanId) -> Result<Self, Hold> {
        let primary = view.primary.as_ref().ok_or(Hold::NoPrimary)?;
        let other = view
            .spec
            .other(&primary.zone)
            .ok_or_else(|| Hold::ForeignPrimary {
                zone: primary.zone.clone(),
            })?;
        Ok(Self {
            snapshot,
            view,
            primary,
            other,
            id,
        })
    }
}

impl Case<'_> {
    fn diagnose(&self, zone: &ZoneName) -> Diagnosis {
        diagnose(self.snapshot, zone, self.view.spec.policy.hold_off)
    }
    /// Why the zone takes no orders now: its sidecar is frozen, by a person or by an isolation.
    fn frozen(&self, zone: &ZoneName) -> Option<Ask> {
        let freeze = self.snapshot.zones.get(zone)?.frozen.as_ref()?;
        Some(Ask::Frozen {
            zone: zone.clone(),
            reason: freeze.reason.clone(),
        })
    }
    /// A person's yes to this, for the generation that is now.
    fn approved(&self) -> Option<&Approved> {
        let a = self.view.approval.as_ref()?;
        (a.generation == self.primary.generation).then_some(&a.what)
    }
    /// The failover of ours that took the group from the other zone and began the generation that is now, as long as that zone's copies have not been
    /// in step since: what diverges later is not what that failover left behind.
    fn lost_by_the_other(&self) -> Option<&FailoverMemory> {
        let unprotected = self.view.state.unprotected.as_ref()?;
        let last = self.view.state.last_failover.as_ref()?;
        let ours = last.from == *self.other && last.generation == self.primary.generation;
        // Both were written down at once. A later mark is of a group that was protected in between.
        (ours && unprotected.since <= last.at).then_some(last)
    }
    /// What the zone's sidecar says of this group's lease.
    fn lease_view(&self, zone: &ZoneName) -> Option<LeaseView> {
        let report = self.snapshot.zones.get(zone)?;
        report
            .groups
            .iter()
            .find(|g| g.group == self.view.spec.name)
            .map(|g| g.lease)
    }
}

/// Decides about one group. `id` names the plan, should one be begun.
#[must_use]
pub fn decide(snapshot: &Snapshot, group: &GroupName, id: PlanId) -> Option<Decision> {
    let view = snapshot.groups.get(group)?;
    let hold = |why| Some(Decision::Hold { why });
    if let Some(plan) = &view.active_plan {
        return hold(Hold::PlanActive { plan: plan.clone() });
    }
    if let Some(reason) = &snapshot.maintenance {
        return hold(Hold::Maintenance {
            reason: reason.clone(),
        });
    }
    let case = match Case::of(snapshot, view, id) {
        Ok(case) => case,
        Err(why) => return hold(why),
    };
    let decision = match case.diagnose(&case.primary.zone) {
        Diagnosis::Lost { seen_by, lost_for } => {
            takeover::lost(case, takeover::Loss::Zone, &seen_by, lost_for)
        }
        Diagnosis::StorageLost { seen_by, lost_for } => {
            takeover::lost(case, takeover::Loss::Storage, &seen_by, lost_for)
        }
        Diagnosis::Healthy => protect::primary_well(case),
        other @ (Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. }) => takeover::zone_not_lost(case, other),
    };
    Some(decision)
}

/// The plan for an operator's request, or why there can be none. The same guards as for a decision; only the waiting
/// for policy's moment is left out.
///
/// # Errors
/// [`Refusal`]: in words for the operator.
pub fn plan_for(
    snapshot: &Snapshot,
    group: &GroupName,
    request: &Request,
    id: PlanId,
) -> Result<Plan, Refusal> {
    let view = snapshot.groups.get(group).ok_or(Refusal::UnknownGroup)?;
    if let Some(plan) = &view.active_plan {
        return Err(Refusal::Hold(Hold::PlanActive { plan: plan.clone() }));
    }
    let case = Case::of(snapshot, view, id).map_err(Refusal::Hold)?;
    let (primary, other) = (case.primary, case.other);
    match request {
        Request::Move { to } if *to == primary.zone => Err(Refusal::AlreadyThere(to.clone())),
        Request::Move { to } if to != other => Err(Refusal::ForeignZone(to.clone())),
        Request::Failback if view.spec.home == primary.zone => {
            Err(Refusal::AlreadyThere(primary.zone.clone()))
        }
        Request::Move { .. } | Request::Failback => protect::planned_move(&case),
        Request::Resume => protect::resume_by_hand(&case),
        Request::Reprotect => protect::reprotect_by_hand(&case),
        Request::Failover => takeover::by_hand(&case),
    }
}

/// Why there is no plan for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such group.
    #[error("no such group")]
    UnknownGroup,
    /// It is there already.
    #[error("{0} is primary already")]
    AlreadyThere(ZoneName),
    /// Not one of the group's two.
    #[error("{0} is not one of this group's zones")]
    ForeignZone(ZoneName),
    /// A planned action needs all parties to answer (hard case 15).
    #[error("{zone} is {diagnosis}: a planned action needs both zones well")]
    ZoneNotWell {
        /// Which.
        zone: ZoneName,
        /// What is the matter.
        diagnosis: Diagnosis,
    },
    /// Copies are not in step (hard case 57).
    #[error("{} volumes are not in step: {}", .0.len(), .0.join("; "))]
    NotInStep(Vec<String>),
    /// The lease is not where it should be.
    #[error("{zone} does not hold the group's primary lease of generation {generation}")]
    NoLease {
        /// The recorded primary.
        zone: ZoneName,
        /// The recorded generation.
        generation: Generation,
    },
    /// There is nothing to do.
    #[error("nothing to do: {0}")]
    NothingToDo(String),
    /// Held back.
    #[error("{0}")]
    Hold(Hold),
    /// Needs a person's explicit yes.
    #[error("{0}")]
    Ask(Ask),
}

/// Remembers a lease while it can be seen. `None` where nothing changed.
///
/// Only a lease that agrees with the primary record is remembered: one of another zone or generation proves nothing about
/// the recorded primary. And one whose holder could not demote now, because its cluster takes no writes, or one of the group's images cannot be
/// read, is remembered as that of a holder that does not: were its zone cut off in this state, its lease would end, and an image be primary still.
#[must_use]
pub fn remember_lease(
    snapshot: &Snapshot,
    group: &GroupName,
) -> Option<crate::snapshot::LastLease> {
    let view = snapshot.groups.get(group)?;
    let primary = view.primary.as_ref()?;
    let LeaseSight::Held(lease) = &view.lease else {
        return None;
    };
    if lease.zone != primary.zone || lease.generation != primary.generation {
        return None;
    }
    let before = view.state.last_lease.as_ref();
    let could_not = before.is_some_and(|l| {
        l.zone == lease.zone
            && l.generation == lease.generation
            && l.isolation_response == IsolationResponse::Keep
    });
    let isolation_response = match (
        lease.isolation_response,
        could_demote(snapshot, &lease.zone, group),
    ) {
        (IsolationResponse::Demote, Known::No) => IsolationResponse::Keep,
        // A zone that was cut off in this state still has its lease for a while, and nobody who could say that it is well again.
        (IsolationResponse::Demote, Known::Unknown) if could_not => IsolationResponse::Keep,
        (as_it_says, Known::Yes | Known::No | Known::Unknown) => as_it_says,
    };
    let now = crate::snapshot::LastLease {
        zone: lease.zone.clone(),
        generation: lease.generation,
        isolation_response,
    };
    (view.state.last_lease.as_ref() != Some(&now)).then_some(now)
}

/// Whether the zone's sidecar could demote all of the group's images there, were it cut off now.
fn could_demote(snapshot: &Snapshot, zone: &ZoneName, group: &GroupName) -> Known {
    // One that it does not name has not been read since its start.
    let unread = snapshot.zones.get(zone).and_then(|z| {
        let mut groups = z.groups.iter();
        groups.find(|g| g.group == *group).map(|g| g.unread)
    });
    match (takes_writes(snapshot, zone), unread) {
        (Known::No, _) | (Known::Yes | Known::Unknown, Some(1..)) => Known::No,
        (Known::Yes, Some(0)) => Known::Yes,
        (Known::Unknown, Some(0)) | (Known::Yes | Known::Unknown, None) => Known::Unknown,
    }
}

/// Whether the remembered lease is to be forgotten: it is gone, and its zone is still seen, by all but a minority.
///
/// Its holder died alone, and nobody demoted. A later loss of the zone changes nothing about that; and a later leader, who counts
/// the time from its own first look, would take the lease to have ended after that loss, and for proof. So it is written down by the first
/// look that is sure of it, and a lease that comes back is remembered anew.
///
/// One look may not be sure: a zone that is cut off is seen to be so only after a while. But its lease was renewed at most `renew_every` before
/// that, and lasts for the rest of its `ttl`. Where that is the longer of the two, as by default, a zone that is there beside a lease that is gone was not
/// cut off before its end; where it is not, what is missing is waited for, and never more than the hold-off.
/// A site that does not reach the zone beside others that do changes nothing: a loss is what a majority has seen, so one that comes later
/// began later than now.
///
/// A lease that is no proof as it is stays: should its key come back, what was wrong with its holder is still known.
#[must_use]
pub fn forget_lease(snapshot: &Snapshot, group: &GroupName) -> bool {
    let Some(view) = snapshot.groups.get(group) else {
        return false;
    };
    let (Some(primary), Some(last), LeaseSight::Gone { seen_gone_for }) =
        (&view.primary, &view.state.last_lease, &view.lease)
    else {
        return false;
    };
    match last.isolation_response {
        IsolationResponse::Demote => {}
        IsolationResponse::Freeze | IsolationResponse::Keep => return false,
    }
    let policy = &view.spec.policy;
    let outlasts_a_cut_by = policy
        .lease
        .ttl
        .get()
        .saturating_sub(policy.lease.renew_every.get());
    let unseen = crate::standing::SEEN_WITHIN
        .get()
        .saturating_sub(outlasts_a_cut_by);
    let is_there = match diagnose(snapshot, &primary.zone, policy.hold_off) {
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::StorageLost { .. }
        | Diagnosis::SidecarDown { .. } => true,
        Diagnosis::LinkCut { gone_to, .. } => gone_to.len() < majority(snapshot.sites.len()),
        Diagnosis::Suspect { .. } | Diagnosis::Lost { .. } | Diagnosis::Unknown { .. } => false,
    };
    is_there && seen_gone_for.get() >= unseen.min(policy.hold_off.get())
}

/// Whether policy, or a person, lets a plan of this kind begin.
fn permitted(case: &Case<'_>, automatic: bool, wanted: fn(&Approved) -> bool) -> bool {
    let automatic = automatic && case.view.spec.policy.failover == FailoverMode::Automatic;
    automatic || case.approved().is_some_and(wanted)
}

fn begin(plan: plan::Plan) -> Decision {
    Decision::Begin {
        plan: Box::new(plan),
    }
}

#[cfg(test)]
mod tests;
