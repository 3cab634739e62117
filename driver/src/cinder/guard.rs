//! What Cinder is about to do to an image, and whether it may: what would break a pair, or write to a copy, is refused
//! before it begins (hard case 48). Pure but for one look.

use super::{
    Cinder,
    sides::Side,
    wire::{GuardRequest, Operation},
};
use rekindle_common::{
    ApiError, ErrorCode,
    deletion::After,
    volume::{Role, VolumeReport},
};
use tokio::time::Instant;

impl Cinder {
    /// Whether the operation may go on.
    ///
    /// # Errors
    /// [`ApiError`]: `frozen`, `busy` (an action or a failover is in flight), `not_primary` (it is a copy here; the message
    /// names the zone that has the primary), `cluster_unreachable`.
    pub async fn guard(&self, request: &GuardRequest) -> Result<(), ApiError> {
        let side = self.side(request.backend.as_deref())?;
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
                request.operation,
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
        | Operation::Backup => true,
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
        | Operation::Backup => true,
    }
}

fn judge(
    report: &VolumeReport,
    operation: Operation,
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
            | Operation::Backup => Err(ApiError::new(
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
