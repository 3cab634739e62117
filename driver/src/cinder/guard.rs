//! What Cinder is about to do to an image, and whether it may: what would break a pair, or write to a copy, is refused
//! before it begins (hard case 48). Pure but for one look.

use super::{
    Cinder,
    sides::Side,
    wire::{GuardRequest, Operation, Wanted},
};
use rekindle_common::{
    ApiError, ErrorCode, GroupName,
    deletion::{After, OnDelete},
    mode::ReplicationMode,
    volume::{Role, VolumeReport},
};
use tokio::time::Instant;

impl Cinder {
    /// Whether the operation may go on.
    ///
    /// # Errors
    /// [`ApiError`]: `frozen`, `busy` (an action or a failover is in flight), `not_primary` (it is a copy here; the message
    /// names the zone that has the primary), `held` (it would not be replicated as it is), `cluster_unreachable`.
    pub async fn guard(&self, request: &GuardRequest) -> Result<(), ApiError> {
        let side = self.side(request.backend.as_deref())?;
        let after = super::wanted(&request.specs)?;
        let by = Instant::now() + self.inner.limits.call_time.get();
        if changes(request.operation) {
            if let Some(reason) = side.frozen(by).await? {
                return Err(ApiError::new(
                    ErrorCode::Frozen,
                    format!("{} is frozen: {reason}", side.zone()),
                ));
            }
            if self.inner.is_moving() {
                return Err(ApiError::new(
                    ErrorCode::Busy,
                    "a failover is at work: try again when it has ended",
                ));
            }
        }
        match side.volume(&request.image, by).await {
            Ok(report) => judge(
                &report,
                (request.operation, &after),
                side,
                self.inner.other_than(side),
            ),
            // What does not exist yet breaks nothing; what does not exist any more, Cinder finds out by itself.
            Err(e) if e.code == ErrorCode::UnknownVolume => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Frozen is the catalogue, and not the servers: they go on with what they have, and may attach it again.
fn changes(operation: Operation) -> bool {
    match operation {
        Operation::Attach => false,
        Operation::Create
        | Operation::Delete
        | Operation::Extend
        | Operation::SnapshotCreate
        | Operation::SnapshotDelete
        | Operation::Revert
        | Operation::Retype
        | Operation::Migrate
        | Operation::Manage
        | Operation::Unmanage
        | Operation::Clone
        | Operation::Backup
        | Operation::Remake => true,
    }
}

/// What makes no sense on a volume that is about to go, and would be lost with it. Forgetting it stays possible.
fn needs_a_volume(operation: Operation) -> bool {
    match operation {
        Operation::Delete | Operation::Unmanage | Operation::SnapshotDelete => false,
        Operation::Create
        | Operation::Extend
        | Operation::SnapshotCreate
        | Operation::Revert
        | Operation::Retype
        | Operation::Migrate
        | Operation::Manage
        | Operation::Attach
        | Operation::Clone
        | Operation::Backup
        | Operation::Remake => true,
    }
}

fn judge(
    report: &VolumeReport,
    (operation, after): (Operation, &Wanted),
    side: &Side,
    other: Option<&Side>,
) -> Result<(), ApiError> {
    if let Some(action) = &report.in_flight
        && changes(operation)
    {
        return Err(ApiError::new(
            ErrorCode::Busy,
            format!("{action} is in flight on this volume: try again when it has ended"),
        ));
    }
    if let Some(mark) = &report.deletion
        && matches!(mark.then, After::Delete { .. })
        && needs_a_volume(operation)
    {
        return Err(ApiError::new(
            ErrorCode::Held,
            format!("it was {}", mark.in_words()),
        ));
    }
    let elsewhere = || match other {
        Some(o) => format!("its primary is in {}: ask there", o.zone()),
        None => "its primary is in the other zone: ask there".to_owned(),
    };
    match report.role {
        Role::Primary if operation == Operation::Remake => stays_as_it_is(report, after),
        Role::Primary | Role::NotMirrored => Ok(()),
        Role::Unknown => Err(ApiError::new(
            ErrorCode::ClusterUnreachable,
            format!("{}'s cluster does not answer", side.zone()),
        )),
        // Also for deletion and taking in: what is done with a copy in the catalogue is the caller's, its image stays.
        Role::Secondary => match operation {
            Operation::Unmanage => Ok(()),
            // A stand-by server reads it at most: RBD takes no write to a copy.
            Operation::Attach if side.may_stand_by(&report.volume) => Ok(()),
            Operation::Create
            | Operation::Delete
            | Operation::Extend
            | Operation::SnapshotCreate
            | Operation::SnapshotDelete
            | Operation::Revert
            | Operation::Retype
            | Operation::Migrate
            | Operation::Manage
            | Operation::Attach
            | Operation::Clone
            | Operation::Backup
            | Operation::Remake => Err(ApiError::new(
                ErrorCode::NotPrimary,
                format!(
                    "the volume is a copy in {} ({}): {}",
                    side.zone(),
                    report.status,
                    elsewhere()
                ),
            )),
        },
    }
}

/// Whether a primary whose image is made anew is replicated afterwards as it is now: what its type says is all that is known of it then.
fn stays_as_it_is(report: &VolumeReport, after: &Wanted) -> Result<(), ApiError> {
    let mode = |mode: Option<ReplicationMode>| {
        mode.map_or_else(|| "not replicated".to_owned(), |m| m.to_string())
    };
    let group = |group: Option<&GroupName>| {
        group.map_or_else(|| "no group".to_owned(), |g| format!("group {g}"))
    };
    let policy = |policy: Option<OnDelete>| {
        policy.map_or_else(|| "its group's".to_owned(), |p| p.to_string())
    };
    let (what, is, would_be) = if report.mode != after.mode {
        ("it is", mode(report.mode), mode(after.mode))
    } else if report.group != after.group {
        (
            "it is in",
            group(report.group.as_ref()),
            group(after.group.as_ref()),
        )
    } else if after.on_delete.is_some() && report.on_delete != after.on_delete {
        (
            "its on_delete is",
            policy(report.on_delete),
            policy(after.on_delete),
        )
    } else {
        return Ok(());
    };
    Err(ApiError::new(
        ErrorCode::Held,
        format!(
            "its image would be made anew, and be replicated as its type says: {what} {is}, and that would be {would_be}. Take its replication off first, and put it back behind that"
        ),
    ))
}
