//! What is to be done about a group now, or why nothing is.
//!
//! [`decide`] is a pure function of one [`Snapshot`]. It has four answers: hold (with the reason), ask the operator (with the
//! evidence), mark the group's protection, or begin a plan. The order of its questions is the order of this file.

mod protect;
mod takeover;

use crate::detector::{Diagnosis, diagnose};
use crate::plan::{self, Plan, PlanKind};
use crate::snapshot::{Approved, GroupView, LeaseSight, Snapshot};
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, ZoneName,
    duration::Span,
    lease::{LeaseView, PrimaryRecord},
    policy::FailoverMode,
};
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Hold {
    /// All is well.
    AllWell,
    /// The operator wants no automatic action.
    Maintenance {
        /// In the operator's words.
        reason: String,
    },
    /// One plan at a time for a group (hard case 8).
    PlanActive {
        /// It.
        plan: PlanId,
    },
    /// No primary has been recorded yet.
    NoPrimary,
    /// The record names a zone that is not of this group.
    ForeignPrimary {
        /// It.
        zone: ZoneName,
    },
    /// The primary's zone is not well, and not lost.
    NotLost {
        /// What it is instead.
        diagnosis: Diagnosis,
    },
    /// The lease is still there: somebody in that zone renews it.
    LeaseStillHeld {
        /// The holder.
        holder: String,
    },
    /// The lease is gone, and the margin on top is not over.
    MarginRunning {
        /// What is left.
        left: Span,
    },
    /// This orchestrator promised an isolated zone not to.
    Promised {
        /// What is left of the promise.
        left: Span,
    },
    /// The zone that holds the copies does not answer: what could be promoted is not known.
    CopiesUnknown {
        /// It.
        zone: ZoneName,
    },
    /// The other zone is not there to be protected on.
    Unprotected {
        /// It.
        zone: ZoneName,
        /// What is the matter with it.
        diagnosis: Diagnosis,
    },
    /// Copies are catching up.
    Syncing {
        /// How many are not in step.
        behind: usize,
    },
    /// The primary's sidecar has not said yet what it holds.
    PrimaryUnclear {
        /// It.
        zone: ZoneName,
    },
}

/// What a person has to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// The zone is lost and nothing proves that it cannot write.
    NoProof {
        /// What is known.
        evidence: String,
    },
    /// The zone that would take over is not well itself.
    TargetNotReady {
        /// It.
        zone: ZoneName,
        /// What is the matter with it.
        diagnosis: Diagnosis,
    },
    /// More would be lost than policy allows without asking.
    BeyondRpo {
        /// The worst volume.
        volume: ImageSpec,
        /// Its loss; `None` is unknown.
        loss: Option<Span>,
        /// The limit.
        limit: Span,
    },
    /// The loss is within the limit, and so near to it that a zone's clock decides (hard case 12).
    ClockSkew {
        /// The worst volume.
        volume: ImageSpec,
        /// Its loss, as the clocks have it.
        loss: Span,
        /// The limit.
        limit: Span,
        /// Whose clock.
        zone: ZoneName,
        /// How far that may be ahead; `None` is unknown.
        ahead: Option<Span>,
    },
    /// A failover happened a short time ago (hard case 7).
    Blocked {
        /// What is left of the blocking period.
        left: Span,
        /// The failover.
        plan: PlanId,
    },
    /// Policy wants a person's approval.
    Approve {
        /// For what.
        kind: PlanKind,
        /// Why it would be done.
        why: String,
    },
    /// The zone's sidecar is frozen: it would refuse every order of the plan.
    Frozen {
        /// It.
        zone: ZoneName,
        /// In the words of who froze it.
        reason: String,
    },
    /// No volume can be promoted.
    NothingToPromote {
        /// Why, volume by volume.
        why: Vec<String>,
    },
    /// Both zones say primary, and not by a failover of ours: nobody but a person may name the loser (hard case 17).
    SplitBrain {
        /// The volumes.
        volumes: Vec<ImageSpec>,
    },
    /// No zone is primary, and the recorded one holds its lease: somebody demoted by hand (hard case 14).
    NoPrimaryImages {
        /// The recorded zone.
        zone: ZoneName,
        /// The volumes.
        volumes: Vec<ImageSpec>,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllWell => f.write_str("all is well"),
            Self::Maintenance { reason } => write!(f, "maintenance: {reason}"),
            Self::PlanActive { plan } => write!(f, "plan {plan} is at work"),
            Self::NoPrimary => f.write_str("no primary zone has been recorded yet"),
            Self::ForeignPrimary { zone } => {
                write!(f, "the record names {zone}, which is not of this group")
            }
            Self::NotLost { diagnosis } => write!(f, "the primary's zone is not lost: {diagnosis}"),
            Self::LeaseStillHeld { holder } => {
                write!(f, "the primary lease is still renewed by {holder}")
            }
            Self::MarginRunning { left } => {
                write!(f, "the lease is gone; {} of the margin left", left.tenths())
            }
            Self::Promised { left } => {
                write!(
                    f,
                    "promised an isolated zone to hold still; {} left",
                    left.tenths()
                )
            }
            Self::CopiesUnknown { zone } => write!(f, "{zone} does not say what copies it holds"),
            Self::Unprotected { zone, diagnosis } => {
                write!(f, "UNPROTECTED: {zone} is {diagnosis}")
            }
            Self::Syncing { behind } => write!(f, "UNPROTECTED: {behind} copies are catching up"),
            Self::PrimaryUnclear { zone } => write!(f, "{zone} has not said yet what it holds"),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProof { evidence } => write!(
                f,
                "nothing proves that the old primary cannot write ({evidence}); power it off or cut it off, then \
                 `rekindle approve GROUP failover --vouch-cannot-write`"
            ),
            Self::TargetNotReady { zone, diagnosis } => {
                write!(
                    f,
                    "the primary's zone is lost, and {zone} cannot take over: {diagnosis}"
                )
            }
            Self::BeyondRpo {
                volume,
                loss,
                limit,
            } => {
                match loss {
                    Some(l) => write!(
                        f,
                        "{volume} would lose {}, the limit is {limit}",
                        l.tenths()
                    )?,
                    None => write!(
                        f,
                        "{volume} would lose an unknown amount, the limit is {limit}"
                    )?,
                }
                f.write_str("; `rekindle approve GROUP failover --accept-loss` accepts it")
            }
            Self::ClockSkew {
                volume,
                loss,
                limit,
                zone,
                ahead,
            } => {
                let ahead = match ahead {
                    Some(a) => format!("may be {} ahead", a.tenths()),
                    None => "is not known: it has not answered since this orchestrator started"
                        .to_owned(),
                };
                write!(
                    f,
                    "{volume} would lose {} by the clocks, the limit is {limit}, and {zone}'s clock {ahead}, so it may be more; \
                     `rekindle approve GROUP failover --accept-loss` accepts it",
                    loss.tenths()
                )
            }
            Self::Blocked { left, plan } => write!(
                f,
                "failover {plan} was a short time ago: blocked for another {}, or until `rekindle acknowledge GROUP`",
                left.tenths()
            ),
            Self::Approve { kind, why } => {
                write!(
                    f,
                    "a {kind} waits for `rekindle approve GROUP {kind}`: {why}"
                )
            }
            Self::Frozen { zone, reason } => write!(
                f,
                "{zone} is frozen ({reason}) and takes no orders; `rekindle thaw {zone}` first"
            ),
            Self::NothingToPromote { why } => {
                write!(f, "no volume can be promoted: {}", why.join("; "))
            }
            Self::SplitBrain { volumes } => write!(
                f,
                "{} volumes have diverged between the zones, not by a failover of ours; look at both, then \
                 `rekindle approve GROUP reprotect` to discard the side that is not recorded",
                volumes.len()
            ),
            Self::NoPrimaryImages { zone, volumes } => write!(
                f,
                "{} volumes are primary in no zone; `rekindle group resume GROUP` promotes them in {zone}",
                volumes.len()
            ),
        }
    }
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
    let Some(primary) = &view.primary else {
        return hold(Hold::NoPrimary);
    };
    let Some(other) = view.spec.other(&primary.zone) else {
        return hold(Hold::ForeignPrimary {
            zone: primary.zone.clone(),
        });
    };
    let case = Case {
        snapshot,
        view,
        primary,
        other,
        id,
    };
    let decision = match case.diagnose(&primary.zone) {
        Diagnosis::Lost { seen_by, lost_for } => takeover::zone_lost(case, &seen_by, lost_for),
        Diagnosis::Healthy => protect::primary_well(case),
        other @ (Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. }) => takeover::zone_not_lost(case, other),
    };
    Some(decision)
}

/// What an operator asks for by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Move the primary to that zone, losing nothing.
    Move {
        /// Where to.
        to: ZoneName,
    },
    /// Move it home.
    Failback,
    /// Promote the recorded primary's images again after they were demoted by hand or by isolation.
    Resume,
    /// Make the other zone a copy again.
    Reprotect,
    /// Fail over now, as far as proof and policy allow: does not wait for the hold-off's end, never for less than proof.
    Failover,
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
    let primary = view
        .primary
        .as_ref()
        .ok_or(Refusal::Hold(Hold::NoPrimary))?;
    let other = view
        .spec
        .other(&primary.zone)
        .ok_or(Refusal::Hold(Hold::ForeignPrimary {
            zone: primary.zone.clone(),
        }))?;
    let case = Case {
        snapshot,
        view,
        primary,
        other,
        id,
    };
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
/// the recorded primary.
#[must_use]
pub fn remember_lease(view: &GroupView) -> Option<crate::snapshot::LastLease> {
    let primary = view.primary.as_ref()?;
    let LeaseSight::Held(lease) = &view.lease else {
        return None;
    };
    if lease.zone != primary.zone || lease.generation != primary.generation {
        return None;
    }
    let now = crate::snapshot::LastLease {
        zone: lease.zone.clone(),
        generation: lease.generation,
        isolation_response: lease.isolation_response,
    };
    (view.state.last_lease.as_ref() != Some(&now)).then_some(now)
}

/// Whether the remembered lease is to be forgotten: it has been gone for the whole hold-off, and everybody still sees its zone.
///
/// Its holder died alone, and nobody demoted. A later loss of the zone changes nothing about that; and a later leader, who counts
/// the time from its own first look, would take the lease to have ended after that loss, and for proof.
#[must_use]
pub fn forget_lease(snapshot: &Snapshot, group: &GroupName) -> bool {
    let Some(view) = snapshot.groups.get(group) else {
        return false;
    };
    let (Some(primary), Some(_), LeaseSight::Gone { seen_gone_for }) =
        (&view.primary, &view.state.last_lease, &view.lease)
    else {
        return false;
    };
    let hold_off = view.spec.policy.hold_off;
    match diagnose(snapshot, &primary.zone, hold_off) {
        Diagnosis::Healthy | Diagnosis::StorageIll { .. } | Diagnosis::SidecarDown { .. } => {
            *seen_gone_for >= hold_off
        }
        Diagnosis::Suspect { .. }
        | Diagnosis::Lost { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => false,
    }
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
