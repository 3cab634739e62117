//! Beginning a plan: one transaction, so that it is there whole or not at all, once for a group.

use crate::{
    coordination::{Lead, LeadError},
    journal::{self, Unwritable},
    world::GroupRecords,
};
use rekindle_common::{ApiError, ErrorCode, PlanId, keys};
use rekindle_core::{
    plan::{Plan, PlanKind},
    snapshot::{Approval, Approved},
};
use rekindle_store::{Compare, KeyValue, Op, StoreError, Txn};

/// Who begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The decision loop: not while maintenance is on.
    ByItself,
    /// A person, who may do so during maintenance.
    ByHand,
}

/// Why it was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// This orchestrator leads no more.
    #[error("this orchestrator leads no more")]
    Lost,
    /// Another plan is at work on the group (hard case 8).
    #[error("plan {0} is at work on this group")]
    PlanActive(String),
    /// What the plan was made for has changed.
    #[error("the group was changed meanwhile: look again")]
    Changed,
    /// No value of etcd holds it.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// etcd did not do it.
    #[error("the plan was not written")]
    Store(#[source] StoreError),
}

impl From<BeginError> for ApiError {
    fn from(e: BeginError) -> Self {
        match e {
            BeginError::Lost => Self::new(ErrorCode::NotLeader, e.to_string()),
            BeginError::PlanActive(_) | BeginError::Changed => {
                Self::new(ErrorCode::PlanActive, e.to_string())
            }
            BeginError::Unwritable(e) => e.into(),
            BeginError::Store(cause) => Self::from(cause),
        }
    }
}

/// Writes the plan and its claim on the group, and uses up the approval that it stands on.
///
/// # Errors
/// [`BeginError`]: nothing was begun.
pub async fn begin(
    lead: &Lead,
    group: &GroupRecords,
    plan: &Plan,
    begun: Begun,
) -> Result<(), BeginError> {
    let Some(primary) = &group.primary else {
        return Err(BeginError::Changed);
    };
    if primary.value.generation != plan.made_for {
        return Err(BeginError::Changed);
    }
    let active = keys::group_active_plan(&plan.group);
    let mut txn = Txn::new()
        .when(Compare::Absent(keys::plan(&plan.id)))
        .when(Compare::Absent(active.clone()))
        .when(Compare::ModRevision(
            keys::group_primary(&plan.group),
            primary.revision,
        ))
        .then(journal::put_plan(plan)?)
        .then(Op::put_json(&active, &plan.id, None).map_err(BeginError::Store)?);
    if begun == Begun::ByItself {
        txn = txn.when(Compare::Absent(keys::MAINTENANCE.to_owned()));
    }
    if let Some(approval) = &group.approval
        && stands_on(Some(&approval.value), plan)
    {
        let key = keys::group_approval(&plan.group);
        txn = txn
            .when(Compare::ModRevision(key.clone(), approval.revision))
            .then(Op::Delete { key });
    }
    match lead.txn(txn).await {
        Ok(_) => Ok(()),
        Err(LeadError::Lost) => Err(BeginError::Lost),
        Err(LeadError::Refused { found }) => Err(refused(&found, &active, &plan.id)),
        Err(LeadError::Store(e)) if e.outcome_unknown() => settle(lead, &active, plan, e).await,
        Err(LeadError::Store(e)) => Err(BeginError::Store(e)),
    }
}

/// The answer was lost: the group's claim says whether it was begun.
async fn settle(
    lead: &Lead,
    active: &str,
    plan: &Plan,
    lost: StoreError,
) -> Result<(), BeginError> {
    match lead.store().get(active).await {
        Ok(Some(kv)) if kv.json::<PlanId>().is_ok_and(|p| p == plan.id) => Ok(()),
        Ok(_) => Err(BeginError::Store(lost)),
        Err(e) => Err(BeginError::Store(e)),
    }
}

fn refused(found: &[KeyValue], active: &str, id: &PlanId) -> BeginError {
    match found.iter().find(|kv| kv.key == active) {
        Some(kv) => match kv.json::<PlanId>() {
            Ok(other) if other == *id => BeginError::Changed,
            Ok(other) => BeginError::PlanActive(other.to_string()),
            Err(e) => BeginError::Store(e),
        },
        None => BeginError::Changed,
    }
}

/// Whether a plan stands on an approval, which is then used up. One for something else, or for another generation, is not about it.
pub(super) fn stands_on(approval: Option<&Approval>, plan: &Plan) -> bool {
    approval.is_some_and(|a| a.generation == plan.made_for && used_by(a.what, plan.kind))
}

fn used_by(what: Approved, kind: PlanKind) -> bool {
    match (what, kind) {
        (Approved::Failover { .. }, PlanKind::Failover)
        | (Approved::Reprotect, PlanKind::Reprotect)
        | (Approved::Failback, PlanKind::Failback | PlanKind::Move)
        // Any yes lets a group go on where it was.
        | (_, PlanKind::Resume) => true,
        (Approved::Failover { .. } | Approved::Reprotect | Approved::Failback, _) => false,
    }
}
