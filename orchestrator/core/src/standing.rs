//! Whether what a failover was decided on is so still: asked once more, right before it records the other zone.
//!
//! A plan may have waited between its proof and its record: behind a hook for hours, for etcd, for a new leader, for a promise to end, or for a
//! person who has a stuck one tried again after days. Meanwhile the zone may have come back and served, and then its sidecar alone may have died:
//! its lease is gone as it was before, and nothing was demoted. So that the lease is gone when the record is made is no guard by itself; what
//! its end proves has to be so in this moment.

use crate::detector::{Diagnosis, diagnose, troubled_for};
use crate::plan::{OldLease, Plan, Proof};
use crate::snapshot::{GroupView, LeaseSight, Snapshot};
use jiff::Timestamp;
use rekindle_common::{ZoneName, duration::Span, policy::IsolationResponse};

/// For so long a trouble may be there before it is seen: a probe has to run into its deadline, be published and read. Who stands beside it is quicker. Much
/// shorter than any hold-off that makes sense.
pub(crate) const SEEN_WITHIN: Span = Span::secs(10);

/// What a look says of a plan's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// What it was decided on is so now.
    Stands,
    /// It is not clear now: look again.
    NotNow(String),
    /// It is over: the zone is not taken over by this plan.
    Over(String),
}

/// What is seen now of the zone that a plan takes over from. Whether its fence holds is the agent's to say, and not looked at here.
#[must_use]
pub fn standing(snapshot: &Snapshot, plan: &Plan, lease: &OldLease) -> Standing {
    let Some(view) = snapshot.groups.get(&plan.group) else {
        return Standing::NotNow(format!("group {} cannot be read", plan.group));
    };
    let seen = diagnose(snapshot, &plan.from, view.spec.policy.hold_off);
    match (lease, &plan.proof) {
        // What proves these is an order that was confirmed, and asked for once more.
        (OldLease::Demoted { .. }, _) | (OldLease::Gone, None) => Standing::Stands,
        (OldLease::Revoked { .. }, proof) => revoked(snapshot, plan, proof.as_ref(), &seen),
        (OldLease::Gone, Some(proof)) => match &view.lease {
            LeaseSight::Held(l) => Standing::Over(format!(
                "{} in {} holds the primary lease again",
                l.holder, l.zone
            )),
            LeaseSight::Gone { seen_gone_for } => match proof {
                Proof::LeaseExpired { margin } => {
                    expired(snapshot, view, plan, &seen, *seen_gone_for, *margin)
                }
                Proof::FenceAgent { .. } => not_back(&plan.from, &seen),
                Proof::Vouched { by } => vouched(snapshot, view, plan, by, &seen),
            },
        },
    }
}

/// The lease, which keeps a zone that is well from being taken over in every other plan, is no guard where it is to be taken away; that the zone
/// is seen without its Ceph now takes its place.
fn revoked(snapshot: &Snapshot, plan: &Plan, proof: Option<&Proof>, seen: &Diagnosis) -> Standing {
    let from = &plan.from;
    match seen {
        // Its sidecar may have died in between: whatever is left of its lease is nobody's.
        Diagnosis::StorageLost { lost_for, .. } | Diagnosis::Lost { lost_for, .. } => match proof {
            Some(Proof::Vouched { by }) if !since(snapshot, plan.at, *lost_for) => {
                another_trouble(from, by)
            }
            Some(Proof::Vouched { .. } | Proof::FenceAgent { .. } | Proof::LeaseExpired { .. })
            | None => Standing::Stands,
        },
        Diagnosis::Healthy | Diagnosis::SidecarDown { .. } => Standing::Over(format!(
            "{from} is {seen}: its Ceph answers, and its lease is not taken from it"
        )),
        Diagnosis::StorageIll { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => Standing::NotNow(format!(
            "{from} is {seen}: its lease is taken only while its Ceph is seen to be lost"
        )),
    }
}

/// By the end of the lease: it ended with its zone, and nobody has taken it since.
///
/// A later leader counts that end from its own first look, and so waits for the margin again. The one that made the plan may have seen it gone for longer than
/// the sites now see the zone lost, where one of them was started anew; it has seen nobody take it in all that time.
fn expired(
    snapshot: &Snapshot,
    view: &GroupView,
    plan: &Plan,
    seen: &Diagnosis,
    gone_for: Span,
    margin: Span,
) -> Standing {
    let from = &plan.from;
    let unbroken = began(snapshot, gone_for).is_some_and(|since| plan.at >= since)
        && plan.at <= snapshot.reference_time;
    let over = || {
        Standing::Over(format!(
            "{from} is {seen}, and that its lease is gone proves nothing any more"
        ))
    };
    match seen {
        Diagnosis::Lost { lost_for, .. } => {
            if !demotes_itself(view, from) || (gone_for > *lost_for && !unbroken) {
                over()
            } else if gone_for < margin {
                Standing::NotNow(format!(
                    "the lease is seen gone for {} of {margin}",
                    gone_for.tenths()
                ))
            } else {
                Standing::Stands
            }
        }
        Diagnosis::Suspect { .. } | Diagnosis::LinkCut { .. } | Diagnosis::Unknown { .. } => {
            Standing::NotNow(format!("{from} was lost, and is {seen}"))
        }
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::StorageLost { .. } => over(),
    }
}

/// By a fence: nobody who is fenced is well.
fn not_back(from: &ZoneName, seen: &Diagnosis) -> Standing {
    match seen {
        Diagnosis::Healthy => Standing::Over(format!("{from} is healthy again")),
        Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::Lost { .. }
        | Diagnosis::StorageLost { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => Standing::Stands,
    }
}

/// By a person's word, which is about the trouble that the plan was made in: it lasts since then without a break.
fn vouched(
    snapshot: &Snapshot,
    view: &GroupView,
    plan: &Plan,
    by: &str,
    seen: &Diagnosis,
) -> Standing {
    let from = &plan.from;
    let lasts = since(snapshot, plan.at, trouble(snapshot, view, from));
    match seen {
        Diagnosis::Healthy => Standing::Over(format!("{from} is healthy again")),
        Diagnosis::Unknown { .. } if !lasts => Standing::NotNow(format!(
            "{from} is {seen}: whether its trouble is the one that {by} vouched in cannot be seen"
        )),
        Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        | Diagnosis::Lost { .. }
        | Diagnosis::StorageLost { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => {
            if lasts {
                Standing::Stands
            } else {
                another_trouble(from, by)
            }
        }
    }
}

fn another_trouble(from: &ZoneName, by: &str) -> Standing {
    Standing::Over(format!(
        "{from} was seen well since {by} vouched that it cannot write: what was off then may run again"
    ))
}

/// For how long the zone has been in trouble without a break, as far back as that can be seen: since a majority sees something of it down, or since
/// its lease is gone.
pub(crate) fn trouble(snapshot: &Snapshot, view: &GroupView, zone: &ZoneName) -> Span {
    let gone = match &view.lease {
        LeaseSight::Gone { seen_gone_for } => *seen_gone_for,
        LeaseSight::Held(_) => Span::default(),
    };
    troubled_for(snapshot, zone).max(gone)
}

/// Whether what has lasted for that long was so at that time already, or a little after.
pub(crate) fn since(snapshot: &Snapshot, at: Timestamp, lasted: Span) -> bool {
    let lasted = Span(lasted.get().saturating_add(SEEN_WITHIN.get()));
    began(snapshot, lasted).is_some_and(|since| at >= since)
}

fn began(snapshot: &Snapshot, lasted: Span) -> Option<Timestamp> {
    snapshot.reference_time.checked_sub(lasted.get()).ok()
}

/// Whether the end of the recorded zone's lease means that the zone demoted itself, or is dead: its holder demotes itself, and the zone is lost and was so
/// before the lease was gone. Where the sidecar alone died, its lease runs out all the same, nobody demotes, and the zone's writers go on.
pub(crate) fn ended_with_its_zone(
    view: &GroupView,
    zone: &ZoneName,
    seen: &Diagnosis,
    gone_for: Span,
) -> bool {
    let lost_before_the_lease = match seen {
        Diagnosis::Lost { lost_for, .. } => gone_for <= *lost_for,
        Diagnosis::Healthy
        | Diagnosis::StorageIll { .. }
        | Diagnosis::SidecarDown { .. }
        | Diagnosis::Suspect { .. }
        // Its sidecar is there, and cannot have demoted anything.
        | Diagnosis::StorageLost { .. }
        | Diagnosis::LinkCut { .. }
        | Diagnosis::Unknown { .. } => false,
    };
    demotes_itself(view, zone) && lost_before_the_lease
}

/// Whether the holder of the zone's last lease demotes itself, by the lease and by the policy: a leader may have missed the change of either to something weaker.
fn demotes_itself(view: &GroupView, zone: &ZoneName) -> bool {
    let recorded = view.primary.as_ref().map(|p| p.generation);
    view.spec.policy.isolation_response == IsolationResponse::Demote
        && view.state.last_lease.as_ref().is_some_and(|l| {
            l.zone == *zone
                && Some(l.generation) == recorded
                && l.isolation_response == IsolationResponse::Demote
        })
}

#[cfg(test)]
mod tests;
