//! The orchestrator's API: the only place here that knows HTTP. See [`crate::wire`] for the table of routes.
//!
//! What needs the leader goes to its [`Term`]; what can be read from etcd alone any site answers.

mod plans;
mod record;
mod status;
mod watch_plan;

use crate::{
    catalogue::Keeper,
    coordination::{Standing, failsafe::Failsafe},
    decide::{Means, Term},
    preflight::daily::DailyPreflight,
    servers::keeper::ServersKeeper,
    wire::{
        AcknowledgeRequest, ApproveRequest, CatalogueStatus, GroupPut, GroupStatus, Health, Leader,
        LeaderAnswer, Maintenance, PauseApproval, PauseRequest, PlanAnswer, PlanRequest,
        PlanSummary, RecordPut, Run, ServersStatus, Status,
    },
    world::Records,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, PlanId, ServerKey, SiteName,
    policy::GroupSpec,
    servers::ServerRecord,
    zone::{FailsafeAnswer, FailsafeQuestion},
};
use rekindle_core::{
    observation::SiteObservations,
    snapshot::{Approval, FailoverMemory},
};
use rekindle_net::{ApiJson, ApiPath, ApiResult, Failure, with_fallbacks};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// What the routes answer from.
#[derive(Debug)]
pub struct Service {
    /// What all terms share.
    pub means: Arc<Means>,
    /// This start of the program.
    pub instance: String,
    /// Where each site's API is.
    pub urls: BTreeMap<SiteName, Option<String>>,
    /// How this site stands.
    pub standing: watch::Receiver<Standing>,
    /// The term, while this site leads.
    pub term: watch::Receiver<Option<Arc<Term>>>,
    /// What this site sees.
    pub seen: watch::Receiver<Option<SiteObservations>>,
    /// What it last read of etcd; the error's words where it could not.
    pub records: watch::Receiver<Option<Result<Arc<Records>, ApiError>>>,
    /// What it promised.
    pub failsafe: Arc<Failsafe>,
    /// The other zone's catalogue, where it is kept.
    pub keeper: Option<Arc<Keeper>>,
    /// The groups' servers, where they are followed.
    pub servers: Option<Arc<ServersKeeper>>,
    /// Their daily check, where there is one.
    pub preflight: Option<Arc<DailyPreflight>>,
}

type Site = State<Arc<Service>>;

impl Service {
    /// Who leads, as far as this site knows.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let (site, instance) = match &*self.standing.borrow() {
            Standing::Unknown => return None,
            Standing::Follower { leader } => (leader.site.clone(), leader.instance.clone()),
            Standing::Leader { .. } => (self.means.site.clone(), self.instance.clone()),
        };
        let url = self.urls.get(&site).cloned().flatten();
        Some(Leader {
            site,
            instance,
            url,
        })
    }

    /// The term, where this site leads.
    ///
    /// # Errors
    /// `not_leader` names who does.
    pub fn term(&self) -> Result<Arc<Term>, ApiError> {
        if let Some(term) = self.term.borrow().clone()
            && term.lead.check().is_ok()
        {
            return Ok(term);
        }
        let message = match self.leader() {
            Some(Leader {
                site,
                url: Some(url),
                ..
            }) if site != self.means.site => format!("{site} leads, at {url}"),
            Some(Leader { site, .. }) if site != self.means.site => format!("{site} leads"),
            Some(_) | None => "no site leads at the moment".to_owned(),
        };
        Err(ApiError::new(ErrorCode::NotLeader, message))
    }
}

/// The routes, for sockets and for clients in this process alike.
pub fn routes(service: Arc<Service>) -> Router {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/leader", get(leader))
        .route("/v1/status", get(status_of))
        .route("/v1/groups", get(groups))
        .route(
            "/v1/groups/{group}",
            get(group).put(put_group).delete(delete_group),
        )
        .route(
            "/v1/groups/{group}/servers/{server}/record",
            get(record::show).put(put_record),
        )
        .route("/v1/groups/{group}/plans", post(plan_for))
        .route("/v1/groups/{group}/approve", post(approve))
        .route("/v1/groups/{group}/acknowledge", post(acknowledge))
        .route("/v1/maintenance", put(maintain).delete(end_maintenance))
        .route("/v1/catalogue", get(catalogue))
        .route("/v1/servers", get(servers))
        .route("/v1/plans", get(plans::list))
        .route("/v1/plans/{plan}", get(plans::show))
        .route("/v1/plans/{plan}/retry", post(retry))
        .route("/v1/plans/{plan}/give-up", post(give_up))
        .route("/v1/plans/{plan}/approve", post(approve_pause))
        .route("/v1/plans/{plan}/watch", get(watch_plan::watch))
        .route("/v1/failsafe", post(failsafe));
    with_fallbacks(router).with_state(service)
}

/// Health and metrics alone, for a listener without certificates.
pub fn probes(service: Arc<Service>) -> Router {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    with_fallbacks(router).with_state(service)
}

async fn healthz(State(s): Site) -> Json<Health> {
    Json(Health {
        site: s.means.site.clone(),
        concerns: Vec::new(),
    })
}

/// Ready is: etcd answers, and a leader is known. A site that is not ready still answers the failsafe question.
async fn readyz(State(s): Site) -> Response {
    let mut concerns = Vec::new();
    match &*s.records.borrow() {
        None => concerns.push("etcd has not been read yet".to_owned()),
        Some(Err(e)) => concerns.push(e.to_string()),
        Some(Ok(_)) => {}
    }
    if s.leader().is_none() {
        concerns.push("no site leads".to_owned());
    }
    let status = if concerns.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let site = s.means.site.clone();
    (status, Json(Health { site, concerns })).into_response()
}

async fn metrics(State(s): Site) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], s.means.metrics.text()).into_response()
}

async fn leader(State(s): Site) -> Json<LeaderAnswer> {
    Json(LeaderAnswer {
        site: s.means.site.clone(),
        leader: s.leader(),
    })
}

async fn status_of(State(s): Site) -> Json<Status> {
    Json(status::status(&s).await)
}

async fn groups(State(s): Site) -> ApiResult<Json<Vec<GroupStatus>>> {
    let term = s.term()?;
    Ok(Json(status::groups(&s, &term).await?))
}

async fn group(State(s): Site, ApiPath(group): ApiPath<GroupName>) -> ApiResult<Json<GroupStatus>> {
    let term = s.term()?;
    let groups = status::groups(&s, &term).await?;
    match groups.into_iter().find(|g| g.spec.name == group) {
        Some(g) => Ok(Json(g)),
        None => Err(Failure(ApiError::new(
            ErrorCode::UnknownGroup,
            format!("there is no group {group}"),
        ))),
    }
}

async fn catalogue(State(s): Site) -> ApiResult<Json<CatalogueStatus>> {
    let Some(keeper) = &s.keeper else {
        let message = "no catalogue is kept: this orchestrator's configuration has no [clouds.ZONE] for both zones";
        return Err(Failure(ApiError::new(ErrorCode::Unsupported, message)));
    };
    s.term()?;
    let shown = keeper.shown().ok_or_else(|| {
        let message = "the leader has not looked at the zones' Cinders yet: ask again soon";
        ApiError::new(ErrorCode::Unavailable, message)
    })?;
    Ok(Json(CatalogueStatus::clone(&shown)))
}

async fn servers(State(s): Site) -> ApiResult<Json<ServersStatus>> {
    let Some(keeper) = &s.servers else {
        let message = "no servers are followed: this orchestrator's configuration has no [catalogue] with [clouds.ZONE] for both zones";
        return Err(Failure(ApiError::new(ErrorCode::Unsupported, message)));
    };
    s.term()?;
    let shown = keeper.shown().ok_or_else(|| {
        let message = "the leader has not looked at the servers yet: ask again soon";
        ApiError::new(ErrorCode::Unavailable, message)
    })?;
    Ok(Json(ServersStatus::clone(&shown)))
}

async fn put_group(
    State(s): Site,
    ApiPath(group): ApiPath<GroupName>,
    ApiJson(spec): ApiJson<GroupSpec>,
) -> ApiResult<(StatusCode, Json<GroupPut>)> {
    if spec.name != group {
        return Err(Failure(
            ApiError::new(
                ErrorCode::InvalidField,
                format!("the path names {group}, the body {}", spec.name),
            )
            .at("name"),
        ));
    }
    let put = s.term()?.put_group(&spec).await?;
    let status = match put.effect {
        crate::wire::GroupEffect::Created => StatusCode::CREATED,
        crate::wire::GroupEffect::Changed => StatusCode::OK,
    };
    Ok((status, Json(put)))
}

async fn delete_group(State(s): Site, ApiPath(group): ApiPath<GroupName>) -> ApiResult<StatusCode> {
    s.term()?.delete_group(&group).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn put_record(
    State(s): Site,
    ApiPath((group, server)): ApiPath<(GroupName, ServerKey)>,
    ApiJson(record): ApiJson<ServerRecord>,
) -> ApiResult<Json<RecordPut>> {
    Ok(Json(s.term()?.put_record(&group, &server, record).await?))
}

async fn plan_for(
    State(s): Site,
    ApiPath(group): ApiPath<GroupName>,
    ApiJson(request): ApiJson<PlanRequest>,
) -> ApiResult<(StatusCode, Json<PlanAnswer>)> {
    let answer = s.term()?.request(&group, &request).await?;
    let status = match answer.run {
        Run::Begin => StatusCode::ACCEPTED,
        Run::DryRun => StatusCode::OK,
    };
    Ok((status, Json(answer)))
}

async fn approve(
    State(s): Site,
    ApiPath(group): ApiPath<GroupName>,
    ApiJson(request): ApiJson<ApproveRequest>,
) -> ApiResult<Json<Approval>> {
    Ok(Json(s.term()?.approve(&group, &request).await?))
}

async fn acknowledge(
    State(s): Site,
    ApiPath(group): ApiPath<GroupName>,
    ApiJson(request): ApiJson<AcknowledgeRequest>,
) -> ApiResult<Json<FailoverMemory>> {
    Ok(Json(s.term()?.acknowledge(&group, &request.by).await?))
}

async fn maintain(
    State(s): Site,
    ApiJson(maintenance): ApiJson<Maintenance>,
) -> ApiResult<StatusCode> {
    s.term()?.maintain(Some(&maintenance)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_maintenance(State(s): Site) -> ApiResult<StatusCode> {
    s.term()?.maintain(None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn retry(
    State(s): Site,
    ApiPath(plan): ApiPath<PlanId>,
) -> ApiResult<(StatusCode, Json<PlanSummary>)> {
    let term = s.term()?;
    term.retry(&plan).await?;
    let detail = plans::detail(term.lead.store(), &plan).await?;
    Ok((StatusCode::ACCEPTED, Json(plans::summary(&detail))))
}

async fn give_up(State(s): Site, ApiPath(plan): ApiPath<PlanId>) -> ApiResult<Json<PlanSummary>> {
    let term = s.term()?;
    term.give_up(&plan).await?;
    let detail = plans::detail(term.lead.store(), &plan).await?;
    Ok(Json(plans::summary(&detail)))
}

async fn approve_pause(
    State(s): Site,
    ApiPath(plan): ApiPath<PlanId>,
    ApiJson(request): ApiJson<PauseRequest>,
) -> ApiResult<Json<PauseApproval>> {
    Ok(Json(s.term()?.approve_pause(&plan, &request).await?))
}

async fn failsafe(
    State(s): Site,
    ApiJson(question): ApiJson<FailsafeQuestion>,
) -> ApiResult<Json<FailsafeAnswer>> {
    Ok(Json(s.failsafe.answer(&question).await?))
}
