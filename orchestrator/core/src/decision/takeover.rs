//! The primary's zone is lost, or looks like it: may the other zone take over?

use super::{Ask, Case, Decision, Hold, Refusal, begin, permitted};
use crate::alone::left_behind;
use crate::detector::Diagnosis;
use crate::plan::{
    self, ExpectedLoss, FailoverParts, LeftOut, Plan, PlanKind, Proof, VolumePromotion,
};
use crate::snapshot::{Approved, LeaseSight, LossAccepted, Vouch};
use rekindle_common::{
    SiteName,
    action::Promotion,
    duration::Span,
    mode::ReplicationMode,
    policy::IsolationResponse,
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};
use std::time::Duration;

/// The zone is ill, cut off or unclear. Only an explicit approval with a person's word for the fence goes further.
pub(super) fn zone_not_lost(case: Case<'_>, diagnosis: Diagnosis) -> Decision {
    match case.approved() {
        Some(Approved::Failover {
            vouch: Vouch::CannotWrite,
            ..
        }) => {
            let why = format!(
                "approved by hand while {} is {diagnosis}",
                case.primary.zone
            );
            take_over(&case, why, Span::default()).unwrap_or_else(|stop| stop)
        }
        Some(
            Approved::Failover {
                vouch: Vouch::No, ..
            }
            | Approved::Reprotect
            | Approved::Failback,
        )
        | None => Decision::Hold {
            why: Hold::NotLost { diagnosis },
        },
    }
}

/// The zone is lost beyond doubt.
pub(super) fn zone_lost(case: Case<'_>, seen_by: &[SiteName], lost_for: Span) -> Decision {
    if let (Some(last), None) = (&case.view.state.last_failover, case.approved()) {
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
        "{} is lost for {}, say {}",
        case.primary.zone,
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
        Diagnosis::Lost { lost_for, .. } => lost_for,
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
    if permitted(case, true, |a| matches!(a, Approved::Failover { .. })) {
        Ok(begin(plan))
    } else {
        Err(Decision::AskOperator {
            why: Ask::Approve {
                kind: PlanKind::Failover,
                why: plan.why,
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
    let proof = proof(case, lost_for)?;
    let (volumes, mut left_out) = promotions(case, copies, &why);
    left_out.extend(left_behind(case.view));
    if volumes.is_empty() {
        let why = left_out
            .iter()
            .map(|l| format!("{}: {}", l.volume, l.why))
            .collect();
        return Err(ask(Ask::NothingToPromote { why }));
    }
    let expected_loss = expected_loss(case, copies, lost_for);
    rpo_gate(case, &expected_loss)?;
    let parts = FailoverParts {
        to: case.other.clone(),
        proof,
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
fn proof(case: &Case<'_>, lost_for: Span) -> Result<Proof, Decision> {
    let policy = &case.view.spec.policy;
    let gone_for = match &case.view.lease {
        LeaseSight::Held(lease) => {
            // Somebody renews it: whatever the observers think, that zone is not gone from etcd's side.
            let holder = format!("{} in {}", lease.holder, lease.zone);
            return Err(Decision::Hold {
                why: Hold::LeaseStillHeld { holder },
            });
        }
        LeaseSight::Gone { seen_gone_for } => *seen_gone_for,
    };
    // By the lease and by the policy: a leader may have missed the change of either to something weaker.
    let demotes_itself = policy.isolation_response == IsolationResponse::Demote
        && case.view.state.last_lease.as_ref().is_some_and(|l| {
            l.zone == case.primary.zone
                && l.generation == case.primary.generation
                && l.isolation_response == IsolationResponse::Demote
        });
    let lost_before_the_lease = match case.diagnose(&case.primary.zone) {
        Diagnosis::Lost { .. } => gone_for <= lost_for,
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => false,
    };
    if demotes_itself && lost_before_the_lease {
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
    if let Some(agent) = &policy.fence_agent {
        return Ok(Proof::FenceAgent {
            agent: agent.clone(),
        });
    }
    if let Some(Approved::Failover {
        vouch: Vouch::CannotWrite,
        ..
    }) = case.approved()
    {
        let by = case
            .view
            .approval
            .as_ref()
            .map(|a| a.by.clone())
            .unwrap_or_default();
        return Ok(Proof::Vouched { by });
    }
    let evidence = match &case.view.state.last_lease {
        None => format!(
            "no lease of generation {} is known that ended with its zone",
            case.primary.generation
        ),
        Some(l) => format!(
            "the lease of {} is gone for {}, and its isolation_response is {:?}; no fence agent is configured",
            l.zone,
            gone_for.tenths(),
            l.isolation_response
        ),
    };
    Err(Decision::AskOperator {
        why: Ask::NoProof { evidence },
    })
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
        if v.role == Role::Secondary && v.status == VolumeStatus::PendingResync {
            // Its sidecar would refuse, by force too; a failover for it alone would name a primary without data (hard case 24).
            left.push(out("its copy was given up and is being made anew"));
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
                        Promotion::Forced { reason }
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

/// What each volume loses, at the most: the time from what its copy shows to when the zone was lost. A copy that looks as if a
/// demotion had arrived is no exception, for it may be an earlier one; nor is one without a lag, for the daemon's word is up
/// to half a minute old.
///
/// A volume of mode `once` promises its snapshot and no more, so it has no loss to speak of.
fn expected_loss(case: &Case<'_>, copies: &[VolumeReport], lost_for: Span) -> Vec<ExpectedLoss> {
    let lost_at = case
        .snapshot
        .reference_time
        .checked_sub(lost_for.get())
        .ok();
    let loss = |v: &VolumeReport| -> Option<Option<Span>> {
        if v.role == Role::Primary {
            return None;
        }
        match &v.mode {
            Some(ReplicationMode::Once) => None,
            Some(ReplicationMode::Instant | ReplicationMode::Periodic(_)) | None => {
                let shows = v.last_sync.map(|s| s.at);
                Some(shows.zip(lost_at).map(|(shows, lost_at)| {
                    Span(Duration::try_from(lost_at.duration_since(shows)).unwrap_or_default())
                }))
            }
        }
    };
    copies
        .iter()
        .filter_map(|v| {
            loss(v).map(|up_to| ExpectedLoss {
                volume: v.volume.clone(),
                up_to,
            })
        })
        .collect()
}

/// Beyond the limit a person is asked, with the figure (hard case 25). An unknown loss is beyond any limit.
fn rpo_gate(case: &Case<'_>, losses: &[ExpectedLoss]) -> Result<(), Decision> {
    let Some(limit) = case.view.spec.policy.rpo_limit else {
        return Ok(());
    };
    if let Some(Approved::Failover {
        loss: LossAccepted::Any,
        ..
    }) = case.approved()
    {
        return Ok(());
    }
    let beyond = |l: &&ExpectedLoss| l.up_to.is_none_or(|s| s > limit);
    let worst = losses
        .iter()
        .filter(beyond)
        .max_by_key(|l| (l.up_to.is_none(), l.up_to));
    match worst {
        None => clock_gate(case, losses, limit),
        Some(l) => Err(Decision::AskOperator {
            why: Ask::BeyondRpo {
                volume: l.volume.clone(),
                loss: l.up_to,
                limit,
            },
        }),
    }
}

/// The figure stands on two clocks: the moment of the loss is by ours, what a copy shows by its zones'. One that is ahead hides as
/// much of the loss as it is ahead, so a figure that is within the limit only without that is a person's to judge, as is one by a
/// clock that we know nothing of (hard case 12). The proof, above, counts elapsed time and compares no clocks.
fn clock_gate(case: &Case<'_>, losses: &[ExpectedLoss], limit: Span) -> Result<(), Decision> {
    let worst = losses
        .iter()
        .filter_map(|l| Some((l.up_to?, &l.volume)))
        .max_by_key(|(loss, _)| *loss);
    let Some((loss, volume)) = worst else {
        // Nothing has a loss to speak of.
        return Ok(());
    };
    for zone in [&case.primary.zone, case.other] {
        let ahead = case.snapshot.clocks.get(zone).map(|s| s.ahead_at_most());
        let within = |a: Span| loss.get().saturating_add(a.get()) <= limit.get();
        if !ahead.is_some_and(within) {
            return Err(Decision::AskOperator {
                why: Ask::ClockSkew {
                    volume: volume.clone(),
                    loss,
                    limit,
                    zone: zone.clone(),
                    ahead,
                },
            });
        }
    }
    Ok(())
}
