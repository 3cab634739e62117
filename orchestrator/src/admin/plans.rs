//! Plans as they stand in etcd: any site can answer.

use super::Site;
use crate::{
    decide::groups::api,
    journal::{self, JournalError},
    wire::{PlanDetail, PlanSummary},
};
use axum::{Json, extract::State};
use rekindle_common::{ApiError, ErrorCode, GroupName, PlanId};
use rekindle_net::{ApiPath, ApiQuery, ApiResult, Failure};
use rekindle_store::Store;
use serde::Deserialize;

/// Without `limit`.
const DEFAULT_LIMIT: u32 = 20;
/// The most that is listed.
const MAX_LIMIT: u32 = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    group: Option<GroupName>,
    limit: Option<u32>,
}

/// Newest first.
pub(super) async fn list(
    State(s): Site,
    ApiQuery(query): ApiQuery<Query>,
) -> ApiResult<Json<Vec<PlanSummary>>> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Failure(
            ApiError::new(
                ErrorCode::InvalidField,
                format!("{limit} is not from 1 to {MAX_LIMIT}"),
            )
            .at("limit"),
        ));
    }
    let store = &s.means.assembler.store;
    let mut found = Vec::new();
    for id in journal::ids(store).await?.into_iter().rev() {
        if found.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
        match detail(store, &id).await {
            Ok(d) if query.group.as_ref().is_none_or(|g| *g == d.plan.group) => {
                found.push(summary(&d));
            }
            // Of another group, or just deleted. A plan that cannot be read is in the status's problems.
            Ok(_) => {}
            Err(e) if e.code == ErrorCode::UnknownPlan || e.code == ErrorCode::CorruptRecord => {}
            Err(e) => return Err(Failure(e)),
        }
    }
    Ok(Json(found))
}

pub(super) async fn show(
    State(s): Site,
    ApiPath(plan): ApiPath<PlanId>,
) -> ApiResult<Json<PlanDetail>> {
    Ok(Json(detail(&s.means.assembler.store, &plan).await?))
}

/// A plan with its journal.
pub(crate) async fn detail(store: &Store, id: &PlanId) -> Result<PlanDetail, ApiError> {
    let plan = journal::read_plan(store, id).await.map_err(api)?;
    let broken = |e: JournalError| match e {
        JournalError::Corrupted { .. } => Ok(e.problem(id)),
        JournalError::Lost
        | JournalError::Unknown(_)
        | JournalError::Overtaken { .. }
        | JournalError::Store(_) => Err(api(e)),
    };
    let mut problem = None;
    let journal = match journal::read_records(store, id).await {
        Ok(records) => records,
        Err(e) => {
            problem = Some(broken(e)?);
            Vec::new()
        }
    };
    let replayed = match &problem {
        Some(_) => None,
        None => match journal::replay(&plan, &journal) {
            Ok(saga) => {
                let failed = (saga.failed().to_vec(), saga.failed_servers().to_vec());
                Some((saga.state().clone(), failed))
            }
            Err(e) => {
                problem = Some(broken(e)?);
                None
            }
        },
    };
    let (state, failed) = replayed.unzip();
    let (failed, failed_servers) = failed.unwrap_or_default();
    Ok(PlanDetail {
        plan,
        state,
        journal,
        failed,
        failed_servers,
        problem,
    })
}

pub(crate) fn summary(d: &PlanDetail) -> PlanSummary {
    PlanSummary {
        id: d.plan.id.clone(),
        group: d.plan.group.clone(),
        kind: d.plan.kind,
        from: d.plan.from.clone(),
        to: d.plan.to.clone(),
        at: d.plan.at,
        updated: d.journal.last().map(|r| r.at),
        state: d.state.clone(),
        not_helped: d.plan.left_out.len() + d.failed.len() + d.failed_servers.len(),
        problem: d.problem.clone(),
    }
}
