//! What of Cinder's operations a volume's state allows. Pure.
//!
//! | | a primary | a copy |
//! |---|---|---|
//! | delete, by force too | by its policy: `refuse` refuses, the driver carries out all others | goes on: it is the record alone |
//! | unmanage | by its policy | goes on: no image is touched |
//! | migrate, retype with a migration | by its policy | refused |
//! | extend | goes on | refused, but for the record that follows to the size that the image has |
//! | attach, overwrite, snapshot, back up, clone, retype, transfer | go on | refused |
//! | an action on its group: fail over, put under replication, take that off | goes on | goes on: the driver says what may not be |
//!
//! A copy that Cinder's own record calls failed over is served from the other zone by this Cinder: what is refused here goes on then, and the
//! driver asks that zone.
//!
//! Whatever it is, come again: while an action is in flight on the volume, or no zone has its primary; while a `cinder failover-host` or
//! a plan moves it, from before its first step to its end; while its zone is frozen:
//!
//! | under way | who waits |
//! |---|---|
//! | `cinder failover-host` | everything |
//! | failover, move, failback, resume: before the volume is primary where the plan ends | everything |
//! | the same, and it is primary there | what ends it, and a retype: the plan starts its servers on it |
//! | reprotect | what ends the primary |
//! | any plan, a freeze | an action on a group's replication, whatever the volume is |
//! | a freeze | of a primary, all but to attach it: servers go on, and what has to be ordered of the sidecar is refused there |

use super::asked::Operation;
use crate::actions::OnGroup;
use rekindle_common::{
    ZoneName,
    deletion::{After, OnDelete},
    plan::{PlanAtWork, PlanKind},
    status::VolumeStatus,
    volume::{Known, Outlook, Role, UnderWay, VolumeReport},
};

/// When a request that races something may come again, in seconds.
const SOON: u64 = 5;
/// A freeze is a person's, and lasts.
const THAWED: u64 = 60;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is Cinder's.
    Pass,
    /// It is not, whatever comes.
    Refuse { name: &'static str, why: String },
    /// Of a copy: that, but where Cinder serves the volume from the other zone. The image in this one does not tell.
    Copy(Box<Verdict>),
    /// It is not now: in so many seconds it may be.
    Later {
        name: &'static str,
        why: String,
        after: u64,
    },
    /// The zone's cluster does not say.
    Unknown,
}

impl Verdict {
    fn moving(why: String) -> Self {
        Self::Later {
            name: "guard_moving",
            why,
            after: SOON,
        }
    }
}

/// By how the volume is, and what is about to be done to it.
pub(crate) fn judge(operation: Operation, outlook: &Outlook, peer: Option<&ZoneName>) -> Verdict {
    let report = &outlook.report;
    if let Some(action) = &report.in_flight
        && waits_for(operation, action)
    {
        return Verdict::moving(format!(
            "{action} is in flight on this volume: try again when it has ended"
        ));
    }
    if let Some(mark) = &report.deletion
        && matches!(mark.then, After::Delete { .. })
        && !forgets(operation)
    {
        return Verdict::Refuse {
            name: "guard_deleted",
            why: format!("it was {}", mark.in_words()),
        };
    }
    let waits = outlook
        .under_way
        .iter()
        .find_map(|what| waits_until_over(operation, report, what));
    match (report.role, waits) {
        (Role::NotMirrored, _) => Verdict::Pass,
        // Orchestrators say beforehand what they build.
        (Role::Secondary, _) if is_for_a_stand_by(operation, outlook) => Verdict::Pass,
        (Role::Unknown | Role::Primary | Role::Secondary, Some(later)) => later,
        (Role::Unknown, None) => Verdict::Unknown,
        (Role::Primary, None) => primary(operation, report),
        (Role::Secondary, None) => secondary(operation, report, peer),
    }
}

fn is_for_a_stand_by(operation: Operation, outlook: &Outlook) -> bool {
    operation == Operation::Attach && outlook.under_way.contains(&UnderWay::StandBy)
}

/// What of that is under way the operation has to wait for.
fn waits_until_over(
    operation: Operation,
    report: &VolumeReport,
    what: &UnderWay,
) -> Option<Verdict> {
    match what {
        UnderWay::FailoverHost => Some(Verdict::moving(
            "a cinder failover-host is moving this volume's backend: try again when it has ended"
                .to_owned(),
        )),
        UnderWay::Plan(plan) => {
            let group = report.group.as_ref().map_or("", |group| group.as_str());
            let PlanAtWork { id, kind, to, .. } = plan;
            waits_for_plan(operation, report, plan).then(|| {
                Verdict::moving(format!(
                    "plan {id} ({kind}, {to} is primary at its end) is at work on the volume's protection group {group}: try again when it has ended"
                ))
            })
        }
        UnderWay::Frozen(freeze) => {
            let waits = report.role == Role::Primary && operation != Operation::Attach
                || is_of_a_group(operation);
            waits.then(|| Verdict::Later {
                name: "guard_frozen",
                why: format!(
                    "{} is frozen ({}): its replicated volumes stay as they are until an operator thaws it",
                    report.zone, freeze.reason
                ),
                after: THAWED,
            })
        }
        // While etcd is away no plan goes on, but one that began before; then the volume's own state tells.
        UnderWay::PlanUnknown | UnderWay::StandBy => None,
    }
}

fn waits_for_plan(operation: Operation, report: &VolumeReport, plan: &PlanAtWork) -> bool {
    // It would move what the plan counts on, wherever that stands.
    if is_of_a_group(operation) {
        return true;
    }
    let is_primary = report.role == Role::Primary;
    let ends = ends_it(operation) || operation == Operation::Retype;
    match plan.kind {
        PlanKind::Failover | PlanKind::Move | PlanKind::Failback | PlanKind::Resume => {
            let has_come = is_primary && report.zone == plan.to;
            !has_come || ends
        }
        PlanKind::Reprotect => is_primary && ends,
    }
}

/// A server may have a volume while its policy is changed, and not while its zone is.
fn waits_for(operation: Operation, action: &str) -> bool {
    match operation {
        Operation::Attach => ["promote", "demote", "resync"].contains(&action),
        Operation::Delete
        | Operation::Unmanage
        | Operation::Migrate
        | Operation::Retype
        | Operation::Extend { .. }
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer
        | Operation::Replication(_) => true,
    }
}

/// Whether it is an action on the replication of a group.
fn is_of_a_group(operation: Operation) -> bool {
    match operation {
        Operation::Replication(_) => true,
        Operation::Delete
        | Operation::Unmanage
        | Operation::Migrate
        | Operation::Retype
        | Operation::Extend { .. }
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => false,
    }
}

/// What ends Cinder's record of it. The other way round: what makes sense on a volume that is about to go. A group is not held up by one of
/// those: the driver leaves that one out.
fn forgets(operation: Operation) -> bool {
    match operation {
        Operation::Delete
        | Operation::Unmanage
        | Operation::Replication(OnGroup::FailOver | OnGroup::Disable) => true,
        Operation::Replication(OnGroup::Enable)
        | Operation::Migrate
        | Operation::Retype
        | Operation::Extend { .. }
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => false,
    }
}

/// What takes a primary out of this zone's Cinder, or its image away.
pub(crate) fn ends_it(operation: Operation) -> bool {
    match operation {
        Operation::Delete | Operation::Unmanage | Operation::Migrate => true,
        Operation::Retype
        | Operation::Extend { .. }
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer
        | Operation::Replication(_) => false,
    }
}

fn primary(operation: Operation, report: &VolumeReport) -> Verdict {
    // Cinder's record may be behind its image, and its driver would cut the image to what it is told (hard case 35).
    if let (Operation::Extend { gib: Some(gib) }, Some(has)) = (operation, size_in_gib(report))
        && has > gib
    {
        return Verdict::Refuse {
            name: "guard_size",
            why: format!(
                "the volume's image has {has} GiB, and Cinder's record of it less, for now: {gib} GiB would cut its data. Ask for {has} GiB or more"
            ),
        };
    }
    if !ends_it(operation) {
        return Verdict::Pass;
    }
    if report.status == VolumeStatus::ErrorSplitBrain {
        return Verdict::Refuse {
            name: "guard_split",
            why: "the volume is primary in both zones: an operator has to name the side to keep first"
                .to_owned(),
        };
    }
    // A primary always has a policy; one that is not told refuses.
    match report.on_delete.unwrap_or(OnDelete::Refuse) {
        OnDelete::Keep | OnDelete::Delete { .. } => Verdict::Pass,
        OnDelete::Refuse => Verdict::Refuse {
            name: "guard_policy",
            why: match &report.group {
                Some(group) => format!(
                    "the volume is the primary of a replicated pair, and the policy of its protection group {group} (on_delete = refuse) forbids that it is {}: \
                     take it out of the group first, or let an operator change that policy",
                    operation.done()
                ),
                None => format!(
                    "the volume is the primary of a replicated pair, and its policy (on_delete = refuse) forbids that it is {}: take replication off first",
                    operation.done()
                ),
            },
        },
    }
}

fn secondary(operation: Operation, report: &VolumeReport, peer: Option<&ZoneName>) -> Verdict {
    match operation {
        // Its record alone is what Cinder's driver takes away then.
        Operation::Delete | Operation::Unmanage => return Verdict::Pass,
        // To fail over is how a group comes home, and what heals one that has no primary.
        Operation::Replication(_) => return Verdict::Pass,
        Operation::Extend { gib: Some(gib) } if size_in_gib(report) == Some(gib) => {
            return Verdict::Pass;
        }
        Operation::Extend { .. }
        | Operation::Migrate
        | Operation::Retype
        | Operation::Attach
        | Operation::Overwrite
        | Operation::Snapshot
        | Operation::BackUp
        | Operation::Clone
        | Operation::Transfer => {}
    }
    let zone = &report.zone;
    if let Some(what) = moving(report) {
        let moving = Verdict::moving(format!(
            "the volume is a copy in {zone} ({}): {what}: try again when that has ended",
            report.status
        ));
        // That may take hours, in which a volume that failed over is in use where it is.
        if report.status == VolumeStatus::PendingResync {
            return Verdict::Copy(Box::new(moving));
        }
        return moving;
    }
    let peer = peer.map_or_else(|| "the other zone".to_owned(), ToString::to_string);
    let there = match report.peer_primary {
        Known::Yes => format!("its primary is in {peer}: ask there"),
        Known::No => format!("{peer} has no primary of it either: an operator has to promote one"),
        Known::Unknown => format!("its primary is in {peer}, or was when that was last seen"),
    };
    Verdict::Copy(Box::new(Verdict::Refuse {
        name: "guard_copy",
        why: format!(
            "the volume is a copy in {zone} ({}), which cannot be {}: {there}",
            report.status,
            operation.done()
        ),
    }))
}

/// What passes by itself, or with the plan that is at work.
fn moving(report: &VolumeReport) -> Option<&'static str> {
    match report.status {
        VolumeStatus::PendingPromotion => Some("no zone is primary now"),
        VolumeStatus::PendingDemotion => Some("its primary was demoted, and that is on its way"),
        VolumeStatus::PendingResync => Some("it is being made anew"),
        VolumeStatus::ActiveUpdating if report.peer_primary == Known::No => {
            Some("it takes over what its old primary wrote last")
        }
        VolumeStatus::ActivePrimary
        | VolumeStatus::ActiveSecondary
        | VolumeStatus::ActiveUpdating
        | VolumeStatus::PendingFirstSync
        | VolumeStatus::ErrorSplitBrain
        | VolumeStatus::ErrorNotMirrored
        | VolumeStatus::ErrorMirrorDown
        | VolumeStatus::ErrorMirroring
        | VolumeStatus::ErrorOrphan
        | VolumeStatus::ErrorUnknown => None,
    }
}

/// As Cinder counts.
fn size_in_gib(report: &VolumeReport) -> Option<u64> {
    report.size.map(|bytes| bytes.div_ceil(1 << 30))
}

#[cfg(test)]
mod tests;
