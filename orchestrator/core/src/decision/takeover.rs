//! The primary's zone is lost, or looks like it: may the other zone take over?

use super::loss::{diverged_gate, expected_loss, rpo_gate};
use super::sides::unreadable_policy;
use super::words::before_this;
use super::{Ask, Case, Decision, Hold, Refusal, begin};
use crate::alone::{left_behind, left_the_group};
use crate::detector::Diagnosis;
use crate::plan::{self, FailoverParts, LeftOut, OldLease, Plan, PlanKind, Proof, VolumePromotion};
use crate::snapshot::{Approval, Approved, LeaseSight, Vouch};
use crate::standing::ended_with_its_zone;
use jiff::Timestamp;
use rekindle_common::{
    SiteName,
    action::Promotion,
    duration::Span,
    lease::LeaseRecord,
    policy::{FailoverMode, IsolationResponse},
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};
use std::time::Duration;

/// The zone is ill, cut off or unclear. Only an explicit approval with a person's word for the fence goes further.
pub(super) fn zone_not_lost(case: Case<'_>, diagnosis: Diagnosis) -> Decision {
    match by_word(&case) {
        Some(Word::OfThis(_)) => {
            let why = format!(
                "approved by hand while {} is {diagnosis}",
                case.primary.zone
            );
            take_over(&case, why, Span::default()).unwrap_or_else(|stop| stop)
        }
        earlier @ (Some(Word::Earlier(_)) | None) => Decision::Hold {
            why: Hold::NotLost {
                diagnosis,
                vouched_before: earlier.map(|w| w.at()),
            },
        },
    }
}

/// What of the zone is lost beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// All of it.
    Zone,
    /// Its Ceph. Its sidecar lives, and may hold the lease.
    Storage,
}

/// The zone, or its Ceph, is lost beyond doubt.
pub(super) fn lost(case: Case<'_>, what: Loss, seen_by: &[SiteName], lost_for: Span) -> Decision {
    if let (Some(last), None) = (&case.view.state.last_failover, case.failover_approved()) {
        let age = case.snapshot.reference_time.duration_since(last.at);
        let age = Duration::try_from(age).unwrap_or_default();
        let left = case
            .view
            .spec
            .policy
            .blocking_period
            .get()
            .saturating_sub(age);
        if !last.acknowledged && !left.is_zero() {
            return Decision::AskOperator {
                why: Ask::Blocked {
                    left: Span(left),
                    plan: last.plan.clone(),
                },
            };
        }
    }
    let sites: Vec<&str> = seen_by.iter().map(SiteName::as_str).collect();
    let why = format!(
        "{} {} for {}, say {}",
        case.primary.zone,
        match what {
            Loss::Zone => "is lost",
            Loss::Storage => "is without its Ceph",
        },
        lost_for.tenths(),
        sites.join(" and ")
    );
    take_over(&case, why, lost_for).unwrap_or_else(|stop| stop)
}

/// An operator's `rekindle failover`: begins without policy's approval, with every other guard.
pub(super) fn by_hand(case: &Case<'_>) -> Result<Plan, Refusal> {
    let diagnosis = case.diagnose(&case.primary.zone);
    if diagnosis == Diagnosis::Healthy {
        let zone = case.primary.zone.clone();
        return Err(Refusal::NothingToDo(format!(
            "{zone} is healthy; `rekindle move` moves without loss"
        )));
    }
    let why = format!(
        "asked for by hand while {} is {diagnosis}",
        case.primary.zone
    );
    let lost_for = match diagnosis {
        Diagnosis::Lost { lost_for, .. } | Diagnosis::StorageLost { lost_for, .. } => lost_for,
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => Span::default(),
    };
    assemble(case, why, lost_for).map_err(|d| match d {
        Decision::Hold { why } => Refusal::Hold(why),
        Decision::AskOperator { why } => Refusal::Ask(why),
        Decision::MarkProtection { .. } | Decision::Begin { .. } => {
            Refusal::NothingToDo("the decision changed".to_owned())
        }
    })
}

/// The plan, where policy or a person permits it; else why not, as a decision.
fn take_over(case: &Case<'_>, why: String, lost_for: Span) -> Result<Decision, Decision> {
    let plan = assemble(case, why, lost_for)?;
    let automatic = case.view.spec.policy.failover == FailoverMode::Automatic;
    if automatic || case.failover_approved().is_some() {
        Ok(begin(plan))
    } else {
        let why = match case.approved_before() {
            None => plan.why,
            Some(at) => format!("{}; {}", plan.why, before_this(at)),
        };
        Err(Decision::AskOperator {
            why: Ask::Approve {
                kind: PlanKind::Failover,
                why,
            },
        })
    }
}

/// The plan with its proof and each volume's promotion, or what stands against it.
fn assemble(case: &Case<'_>, why: String, lost_for: Span) -> Result<Plan, Decision> {
    let hold = |why| Decision::Hold { why };
    let ask = |why| Decision::AskOperator { why };
    if let Some(left) = case.snapshot.promised_for {
        return Err(hold(Hold::Promised { left }));
    }
    let target = case.diagnose(case.other);
    if target != Diagnosis::Healthy {
        return Err(ask(Ask::TargetNotReady {
            zone: case.other.clone(),
            diagnosis: target,
        }));
    }
    if let Some(why) = case.frozen(case.other) {
        return Err(ask(why));
    }
    let Some(copies) = case.view.volumes_in(case.other) else {
        return Err(hold(Hold::CopiesUnknown {
            zone: case.other.clone(),
        }));
    };
    let (proof, lease) = proof(case)?;
    let (volumes, mut left_out) = promotions(case, copies, &why);
    left_out.extend(left_behind(case.view));
    if volumes.is_empty() {
        let why = left_out
            .iter()
            .map(|l| format!("{}: {}", l.volume, l.why))
            .collect();
        return Err(ask(Ask::NothingToPromote { why }));
    }
    diverged_gate(case, lost_for)?;
    let expected_loss = expected_loss(case, copies, lost_for);
    rpo_gate(case, &expected_loss)?;
    let parts = FailoverParts {
        to: case.other.clone(),
        proof,
        lease,
        volumes,
        left_out,
        expected_loss,
    };
    Ok(plan::failover(
        case.id.clone(),
        case.view,
        case.primary,
        case.snapshot.reference_time,
        why,
        parts,
    ))
}

/// Why the old primary cannot write; the rule that two zones never both write hangs on this function.
///
/// How the copies look is no proof. `pending - promotion` is also what a copy says that was itself demoted in a move and has not
/// begun to follow yet, while the other zone is primary and writes (hard case 57). Of a demotion only a planned move knows:
/// it ordered it by name, and waits for that name.
///
/// A lease that ran out proves that its holder demoted only where the holder lost its link to etcd, and so did all of its zone: where
/// the sidecar alone died, its lease runs out all the same, nobody demotes, and the zone's writers go on. So the zone must be
/// lost, and have been so before its lease was gone.
fn proof(case: &Case<'_>) -> Result<(Proof, OldLease), Decision> {
    match &case.view.lease {
        LeaseSight::Held(lease) => proof_against(case, lease),
        LeaseSight::Gone { seen_gone_for } => {
            Ok((proof_without(case, *seen_gone_for)?, OldLease::Gone))
        }
    }
}

/// The lease is held. Only from a zone whose Ceph is lost beyond doubt may it be taken, and that it is held proves nothing for
/// it or against it: its sidecar renews because it cannot tell its own cluster's death from its own blindness. So the proof has to come
/// from outside, and be of this loss.
fn proof_against(case: &Case<'_>, lease: &LeaseRecord) -> Result<(Proof, OldLease), Decision> {
    let holder = format!("{} in {}", lease.holder, lease.zone);
    let of_the_record =
        lease.zone == case.primary.zone && lease.generation == case.primary.generation;
    let lost_for = match case.diagnose(&case.primary.zone) {
        Diagnosis::StorageLost { lost_for, .. } if of_the_record => lost_for,
        // Somebody renews it: whatever the observers think, that zone is not gone from etcd's side.
        Diagnosis::StorageLost { .. }
        | Diagnosis::Lost { .. }
        | Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => {
            return Err(Decision::Hold {
                why: Hold::LeaseStillHeld { holder },
            });
        }
    };
    let revoked = OldLease::Revoked {
        from: case.primary.zone.clone(),
    };
    if let Some(proof) = by_agent(case) {
        return Ok((proof, revoked));
    }
    // Stricter than for a lease that is gone: the loss itself, and not only the trouble that it began as.
    let since = case
        .snapshot
        .reference_time
        .checked_sub(lost_for.get())
        .ok();
    match by_word(case) {
        Some(Word::OfThis(word)) if since.is_some_and(|since| word.at >= since) => {
            Ok((vouched(word), revoked))
        }
        earlier => Err(Decision::AskOperator {
            why: Ask::LeaseOfALostCeph {
                zone: case.primary.zone.clone(),
                holder,
                vouched_before: earlier.map(|w| w.at()),
            },
        }),
    }
}

/// The lease is gone, and this leader has seen it so for that long.
fn proof_without(case: &Case<'_>, gone_for: Span) -> Result<Proof, Decision> {
    let policy = &case.view.spec.policy;
    let zone = &case.primary.zone;
    if ended_with_its_zone(case.view, zone, &case.diagnose(zone), gone_for) {
        let left = policy.lease.margin.get().saturating_sub(gone_for.get());
        if left.is_zero() {
            return Ok(Proof::LeaseExpired {
                margin: policy.lease.margin,
            });
        }
        return Err(Decision::Hold {
            why: Hold::MarginRunning { left: Span(left) },
        });
    }
    if let Some(proof) = by_agent(case) {
        return Ok(proof);
    }
    let earlier = match by_word(case) {
        Some(Word::OfThis(word)) => return Ok(vouched(word)),
        Some(Word::Earlier(word)) => Some(word.at),
        None => None,
    };
    let mut evidence = match &case.view.state.last_lease {
        None => format!(
            "no lease of generation {} is known that ended with its zone",
            case.primary.generation
        ),
        Some(l) => format!(
            "the lease of {} is gone for {}, and {}; no fence agent is configured",
            l.zone,
            gone_for.tenths(),
            match (l.isolation_response, policy.isolation_response) {
                (IsolationResponse::Keep, IsolationResponse::Demote) =>
                    "its sidecar could not demote all of it: its Ceph took no writes, or an image could not be read".to_owned(),
                (response, _) => format!("its isolation_response is {response:?}"),
            }
        ),
    };
    if let Some(at) = earlier {
        evidence = format!("{evidence}; {}", before_this(at));
    }
    Err(Decision::AskOperator {
        why: Ask::NoProof { evidence },
    })
}

/// A fence agent will confirm it.
fn by_agent(case: &Case<'_>) -> Option<Proof> {
    let agent = case.view.spec.policy.fence_agent.clone()?;
    Some(Proof::FenceAgent { agent })
}

/// A person's word that the old primary cannot write.
enum Word<'a> {
    /// Given in the trouble that is there now.
    OfThis(&'a Approval),
    /// Given before it, or nobody knows when: about another, and what was switched off then may run again.
    Earlier(&'a Approval),
}

impl Word<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Self::OfThis(word) | Self::Earlier(word) => word.at,
        }
    }
}

fn vouched(word: &Approval) -> Proof {
    Proof::Vouched {
        by: word.by.clone(),
    }
}

/// A person vouches for it.
fn by_word<'a>(case: &Case<'a>) -> Option<Word<'a>> {
    let word = case.view.approval.as_ref()?;
    match case.approved()? {
        Approved::Failover {
            vouch: Vouch::CannotWrite,
            ..
        } => Some(if case.of_this_trouble(word) {
            Word::OfThis(word)
        } else {
            Word::Earlier(word)
        }),
        Approved::Failover {
            vouch: Vouch::No, ..
        }
        | Approved::Reprotect
        | Approved::Failback => None,
    }
}

/// Each volume's promotion by its own state (hard case 20), and those that must be left out.
fn promotions(
    case: &Case<'_>,
    copies: &[VolumeReport],
    why: &str,
) -> (Vec<VolumePromotion>, Vec<LeftOut>) {
    let mut take = Vec::new();
    let mut left = Vec::new();
    for v in copies {
        let out = |why: &str| LeftOut {
            volume: v.volume.clone(),
            why: why.to_owned(),
        };
        // In the lost zone nothing demotes what it is a copy of.
        if v.role != Role::Primary
            && let Some(why) = left_the_group(case.view, &v.volume)
        {
            left.push(out(&why));
            continue;
        }
        if v.role == Role::Secondary && v.status == VolumeStatus::PendingResync {
            // Its sidecar would refuse, by force too; a failover for it alone would name a primary without data (hard case 24).
            left.push(out("its copy was given up and is being made anew"));
            continue;
        }
        if v.policy_is_unreadable() {
            left.push(unreadable_policy(v));
            continue;
        }
        match (v.role, v.complete_copy) {
            (Role::NotMirrored, _) => left.push(out("its image is not mirrored")),
            (Role::Secondary, Known::No) => left.push(out("no complete copy has arrived yet")),
            (Role::Primary, _) => take.push((v, Promotion::Plain)),
            // What this zone cannot tell, its sidecar will find out when it is ordered to promote; it refuses by itself.
            (Role::Secondary, Known::Yes | Known::Unknown) | (Role::Unknown, _) => {
                let plain = v.status == VolumeStatus::PendingPromotion;
                let reason = format!("failover {}: {why}", case.id);
                take.push((
                    v,
                    if plain {
                        Promotion::Plain
                    } else {
                        Promotion::Forced {
                            reason,
                            accept_torn: false,
                        }
                    },
                ));
            }
        }
    }
    let take = take.into_iter().map(|(v, promotion)| VolumePromotion {
        volume: v.volume.clone(),
        promotion,
    });
    (take.collect(), left)
}
