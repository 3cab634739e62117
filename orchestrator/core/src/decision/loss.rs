//! What a failover loses, and whether anybody has to be asked for that.

use super::{Ask, Case, Decision};
use crate::plan::ExpectedLoss;
use crate::snapshot::LossAccepted;
use rekindle_common::{
    duration::Span,
    mode::ReplicationMode,
    volume::{Role, VolumeReport},
};
use std::time::Duration;

/// What each volume loses, at the most: the time from what its copy shows to when the zone was lost. A copy that looks as if a
/// demotion had arrived is no exception, for it may be an earlier one; nor is one without a lag, for the daemon's word is up
/// to half a minute old.
///
/// Where the zone is the loser of a failover and its copies have not been in step since, they show what that zone itself had, whatever
/// time is on them: its own demotion after its return is dated then. So all is lost that was written since that failover.
///
/// A volume of mode `once` promises its snapshot and no more, so it has no loss to speak of.
pub(super) fn expected_loss(
    case: &Case<'_>,
    copies: &[VolumeReport],
    lost_for: Span,
) -> Vec<ExpectedLoss> {
    let lost_at = case
        .snapshot
        .reference_time
        .checked_sub(lost_for.get())
        .ok();
    let diverged_at = case.lost_by_the_other().map(|f| f.at);
    let loss = |v: &VolumeReport| -> Option<Option<Span>> {
        if v.role == Role::Primary && diverged_at.is_none() {
            return None;
        }
        // It is left out whatever anybody accepts, and must not keep the others.
        if v.policy_is_unreadable() {
            return None;
        }
        match &v.mode {
            Some(ReplicationMode::Once) => None,
            Some(ReplicationMode::Instant | ReplicationMode::Periodic(_)) | None => {
                let shows = diverged_at.or(v.last_sync.map(|s| s.at));
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

/// A failover back onto what another failover left behind is a person's to judge, with or without a limit: it gives up all that was written
/// since, and nothing that is mirrored has any of it.
pub(super) fn diverged_gate(case: &Case<'_>, lost_for: Span) -> Result<(), Decision> {
    let Some(failover) = case.lost_by_the_other() else {
        return Ok(());
    };
    if case.failover_approved() == Some(LossAccepted::Any) {
        return Ok(());
    }
    let written_for = case.snapshot.reference_time.duration_since(failover.at);
    let written_for = Duration::try_from(written_for).unwrap_or_default();
    Err(Decision::AskOperator {
        why: Ask::NotInStepSince {
            zone: case.other.clone(),
            plan: failover.plan.clone(),
            at: failover.at,
            loss: Span(written_for.saturating_sub(lost_for.get())),
        },
    })
}

/// Beyond the limit a person is asked, with the figure (hard case 25). An unknown loss is beyond any limit.
pub(super) fn rpo_gate(case: &Case<'_>, losses: &[ExpectedLoss]) -> Result<(), Decision> {
    let Some(limit) = case.view.spec.policy.rpo_limit else {
        return Ok(());
    };
    if case.failover_approved() == Some(LossAccepted::Any) {
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
