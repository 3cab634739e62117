//! A person's yes to a level that a plan pauses before. It is for that plan and that level, and for nothing else.

use super::{
    Term,
    groups::{api, lead_error},
};
use crate::{
    journal,
    wire::{PauseApproval, PauseRequest},
};
use rekindle_common::{ApiError, ErrorCode, PlanId, keys};
use rekindle_store::{Compare, Op, Txn};

impl Term {
    /// Takes a person's yes to the pause that the plan is at.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not pause there.
    pub async fn approve_pause(
        &self,
        id: &PlanId,
        request: &PauseRequest,
    ) -> Result<PauseApproval, ApiError> {
        let by = who(&request.by)?;
        let store = self.lead.store();
        let plan = journal::read_plan(store, id).await.map_err(api)?;
        let records = journal::read_records(store, id).await.map_err(api)?;
        let saga = journal::replay(&plan, &records).map_err(api)?;
        match saga.state().pauses_before(&plan).map(|(level, _)| level) {
            Some(level) if level == request.level => {}
            Some(level) => {
                return Err(held(format!(
                    "plan {id} pauses before level {}, not before level {}: look at what it asks now",
                    level + 1,
                    request.level + 1
                )));
            }
            None => return Err(held(format!("plan {id} does not pause now"))),
        }
        let approval = PauseApproval {
            level: request.level,
            by: by.to_owned(),
            at: self.means().clock.now(),
        };
        let key = keys::plan_approval(id, request.level);
        // That it is the plan at work on its group is compared too: what has ended meanwhile is not approved.
        let active = keys::group_active_plan(&plan.group);
        let Some(claim) = store.get(&active).await? else {
            return Err(held(format!("plan {id} has ended")));
        };
        if claim.json::<PlanId>()? != *id {
            return Err(held(format!("plan {id} is not at work any more")));
        }
        let txn = Txn::new()
            .when(Compare::ModRevision(active, claim.mod_revision))
            .then(Op::put_json(&key, &approval, None)?);
        self.lead.txn(txn).await.map_err(lead_error)?;
        tracing::info!(plan.id = %id, group = %plan.group, by, level = request.level + 1, "the pause is over");
        Ok(approval)
    }
}

fn who(by: &str) -> Result<&str, ApiError> {
    let by = by.trim();
    if by.is_empty() || by.len() > 200 {
        let why = "say who approves, in 1 to 200 characters";
        return Err(ApiError::new(ErrorCode::InvalidField, why).at("by"));
    }
    Ok(by)
}

fn held(why: String) -> ApiError {
    ApiError::new(ErrorCode::Held, why)
}
