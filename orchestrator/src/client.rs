//! The orchestrator's API as a client sees it: for the command line, and for tests.
//!
//! A client knows one or more orchestrators. What only the leader can answer is sent to the first one that is reached, and on
//! `not_leader` to the leader that it names, then to the others: a person at any site can give an order.

mod transport;

use crate::wire::{
    AcknowledgeRequest, ApproveRequest, CatalogueStatus, GroupPut, GroupStatus, LeaderAnswer,
    Maintenance, PauseApproval, PauseRequest, PlanAnswer, PlanDetail, PlanRequest, PlanSummary,
    RecordPut, Run, ServersStatus, Status, View, WatchLine,
};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, PlanId, ServerKey,
    policy::GroupSpec,
    servers::{KeptServer, ServerRecord},
    zone::{FailsafeAnswer, FailsafeQuestion},
};
use rekindle_core::{
    decision::Request,
    snapshot::{Approval, FailoverMemory},
};
use serde::{Serialize, de::DeserializeOwned};
pub use transport::Endpoint;
use transport::{Lines, Verb};

/// A client of one or more orchestrators.
#[derive(Debug, Clone)]
pub struct OrchestratorClient {
    endpoints: Vec<Endpoint>,
}

/// A plan's lines as they come.
#[derive(Debug)]
pub struct PlanWatch {
    lines: Lines<WatchLine>,
}

impl PlanWatch {
    /// The next line; `None` after the last one ([`WatchLine::Ended`], [`WatchLine::Waiting`], [`WatchLine::Broken`]).
    ///
    /// # Errors
    /// [`ApiError`] where the connection broke: watch anew, it begins with the first record.
    pub async fn next(&mut self) -> Result<Option<WatchLine>, ApiError> {
        self.lines.next().await
    }
}

/// What a request carries where it has no body.
const NO_BODY: Option<&()> = None;

impl OrchestratorClient {
    /// A client of these, asked in that order.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints }
    }

    /// Who leads, by the first orchestrator that answers.
    ///
    /// # Errors
    /// [`ApiError`] of the last endpoint tried.
    pub async fn leader(&self) -> Result<LeaderAnswer, ApiError> {
        self.anyone(Verb::Get, "/v1/leader", NO_BODY).await
    }

    /// The leader's whole view, or where no leader is to be reached, the first site's own: look at [`Status::view`].
    ///
    /// # Errors
    /// [`ApiError`] where no orchestrator answers.
    pub async fn status(&self) -> Result<Status, ApiError> {
        let mut partial = None;
        let mut last = unreachable_error();
        for endpoint in self.in_order().await {
            match endpoint
                .call::<(), Status>(Verb::Get, "/v1/status", NO_BODY)
                .await
            {
                Ok(status) if status.view == View::Whole => return Ok(status),
                Ok(status) => partial = partial.or(Some(status)),
                Err(e) => last = e,
            }
        }
        partial.ok_or(last)
    }

    /// All groups.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn groups(&self) -> Result<Vec<GroupStatus>, ApiError> {
        self.leading(Verb::Get, "/v1/groups", NO_BODY).await
    }

    /// One group.
    ///
    /// # Errors
    /// [`ApiError`]; `unknown_group`.
    pub async fn group(&self, group: &GroupName) -> Result<GroupStatus, ApiError> {
        self.leading(Verb::Get, &format!("/v1/groups/{group}"), NO_BODY)
            .await
    }

    /// The other zone's catalogue, as of the leader's last round.
    ///
    /// # Errors
    /// [`ApiError`]; `unsupported` where none is kept.
    pub async fn catalogue(&self) -> Result<CatalogueStatus, ApiError> {
        self.leading(Verb::Get, "/v1/catalogue", NO_BODY).await
    }

    /// The groups' servers, as of the leader's last round.
    ///
    /// # Errors
    /// [`ApiError`]; `unsupported` where none are followed.
    pub async fn servers(&self) -> Result<ServersStatus, ApiError> {
        self.leading(Verb::Get, "/v1/servers", NO_BODY).await
    }

    /// Defines a group, or changes its policy. A new one is primary at home, under generation 1.
    ///
    /// # Errors
    /// [`ApiError`]; `invalid_field` names the field of the policy; `state_forbids` where the zones of a group would change.
    pub async fn put_group(&self, spec: &GroupSpec) -> Result<GroupPut, ApiError> {
        self.leading(Verb::Put, &format!("/v1/groups/{}", spec.name), Some(spec))
            .await
    }

    /// Forgets a group. Its volumes stay as they are.
    ///
    /// # Errors
    /// [`ApiError`]; `plan_active` while a plan is at work on it.
    pub async fn delete_group(&self, group: &GroupName) -> Result<(), ApiError> {
        self.leading(Verb::Delete, &format!("/v1/groups/{group}"), NO_BODY)
            .await
    }

    /// What is kept of one of a group's servers, with its record's user data.
    ///
    /// # Errors
    /// [`ApiError`]; `unknown_group`; `unknown_path`, whose field is `server` where the runbook has none of that name and `record` where nothing
    /// is kept of it; `corrupt_record`.
    pub async fn kept_server(
        &self,
        group: &GroupName,
        server: &ServerKey,
    ) -> Result<KeptServer, ApiError> {
        let path = format!("/v1/groups/{group}/servers/{server}/record");
        self.anyone(Verb::Get, &path, NO_BODY).await
    }

    /// Keeps a record of one of a group's servers.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not fit what is known of that server.
    pub async fn put_record(
        &self,
        group: &GroupName,
        server: &ServerKey,
        record: &ServerRecord,
    ) -> Result<RecordPut, ApiError> {
        let path = format!("/v1/groups/{group}/servers/{server}/record");
        self.leading(Verb::Put, &path, Some(record)).await
    }

    /// Makes a plan for a request and begins it, or only shows it.
    ///
    /// # Errors
    /// [`ApiError`]; `held` with the reason where a guard is against it.
    pub async fn plan_for(
        &self,
        group: &GroupName,
        request: Request,
        run: Run,
    ) -> Result<PlanAnswer, ApiError> {
        let body = PlanRequest { request, run };
        self.leading(
            Verb::Post,
            &format!("/v1/groups/{group}/plans"),
            Some(&body),
        )
        .await
    }

    /// Gives a person's yes.
    ///
    /// # Errors
    /// [`ApiError`]; `stale_generation` where the group has moved on.
    pub async fn approve(
        &self,
        group: &GroupName,
        approval: &ApproveRequest,
    ) -> Result<Approval, ApiError> {
        self.leading(
            Verb::Post,
            &format!("/v1/groups/{group}/approve"),
            Some(approval),
        )
        .await
    }

    /// Gives a person's yes to the level that a plan pauses before.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not pause there.
    pub async fn approve_pause(
        &self,
        plan: &PlanId,
        approval: &PauseRequest,
    ) -> Result<PauseApproval, ApiError> {
        self.leading(
            Verb::Post,
            &format!("/v1/plans/{plan}/approve"),
            Some(approval),
        )
        .await
    }

    /// Acknowledges the last failover: ends the blocking period.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where there was none.
    pub async fn acknowledge(
        &self,
        group: &GroupName,
        by: impl Into<String>,
    ) -> Result<FailoverMemory, ApiError> {
        let body = AcknowledgeRequest { by: by.into() };
        self.leading(
            Verb::Post,
            &format!("/v1/groups/{group}/acknowledge"),
            Some(&body),
        )
        .await
    }

    /// No automatic action from now on. A plan at work goes on.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn set_maintenance(&self, reason: impl Into<String>) -> Result<(), ApiError> {
        let body = Maintenance {
            reason: reason.into(),
        };
        self.leading(Verb::Put, "/v1/maintenance", Some(&body))
            .await
    }

    /// Automatic action again.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn clear_maintenance(&self) -> Result<(), ApiError> {
        self.leading(Verb::Delete, "/v1/maintenance", NO_BODY).await
    }

    /// Up to `limit` plans, newest first.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn plans(
        &self,
        group: Option<&GroupName>,
        limit: u32,
    ) -> Result<Vec<PlanSummary>, ApiError> {
        let path = match group {
            Some(group) => format!("/v1/plans?limit={limit}&group={group}"),
            None => format!("/v1/plans?limit={limit}"),
        };
        self.anyone(Verb::Get, &path, NO_BODY).await
    }

    /// One plan with its journal.
    ///
    /// # Errors
    /// [`ApiError`]; `unknown_plan`.
    pub async fn plan(&self, plan: &PlanId) -> Result<PlanDetail, ApiError> {
        self.anyone(Verb::Get, &format!("/v1/plans/{plan}"), NO_BODY)
            .await
    }

    /// Has a plan that waits for a person tried again.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not wait.
    pub async fn retry(&self, plan: &PlanId) -> Result<PlanSummary, ApiError> {
        self.leading(Verb::Post, &format!("/v1/plans/{plan}/retry"), NO_BODY)
            .await
    }

    /// Ends a plan that waits for a person; what it did stands.
    ///
    /// # Errors
    /// [`ApiError`]; `held` where it does not wait.
    pub async fn give_up(&self, plan: &PlanId) -> Result<PlanSummary, ApiError> {
        self.leading(Verb::Post, &format!("/v1/plans/{plan}/give-up"), NO_BODY)
            .await
    }

    /// Follows a plan from its first record to its end. From the leader where it can be reached: it alone tells the progress
    /// within a step.
    ///
    /// # Errors
    /// [`ApiError`]; `unknown_plan`.
    pub async fn watch(&self, plan: &PlanId) -> Result<PlanWatch, ApiError> {
        let mut last = unreachable_error();
        for endpoint in self.in_order().await {
            match endpoint.lines(&format!("/v1/plans/{plan}/watch")).await {
                Ok(lines) => return Ok(PlanWatch { lines }),
                Err(e) if e.code == ErrorCode::UnknownPlan => return Err(e),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// The question of a sidecar that cannot reach etcd, to the first orchestrator alone: each site answers for itself.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn failsafe(&self, question: &FailsafeQuestion) -> Result<FailsafeAnswer, ApiError> {
        let Some(endpoint) = self.endpoints.first() else {
            return Err(unreachable_error());
        };
        endpoint
            .call(Verb::Post, "/v1/failsafe", Some(question))
            .await
    }

    /// Asks one after the other until one answers.
    async fn anyone<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ApiError> {
        let mut last = unreachable_error();
        for endpoint in &self.endpoints {
            match endpoint.call(verb, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(e) if unreached(&e) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    /// Asks the leader.
    async fn leading<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ApiError> {
        let mut last = unreachable_error();
        for endpoint in self.in_order().await {
            match endpoint.call(verb, path, body).await {
                Ok(answer) => return Ok(answer),
                // Nothing was done there: another one may do it.
                Err(e) if e.code == ErrorCode::NotLeader || not_sent(&e) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    /// The endpoints, the leader's first where one of them knows it.
    async fn in_order(&self) -> Vec<Endpoint> {
        let mut order = Vec::with_capacity(self.endpoints.len() + 1);
        for endpoint in &self.endpoints {
            let Ok(answer) = endpoint
                .call::<(), LeaderAnswer>(Verb::Get, "/v1/leader", NO_BODY)
                .await
            else {
                continue;
            };
            if let Some(leader) = answer.leader {
                order.extend(endpoint.towards(&answer.site, &leader, &self.endpoints));
            }
            break;
        }
        order.extend(self.endpoints.iter().cloned());
        order
    }
}

fn unreachable_error() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "no orchestrator was reached")
}

/// It was certainly not carried out there.
fn not_sent(e: &ApiError) -> bool {
    // A broken connection counts too: what is asked of a leader can be asked twice, by its comparisons in etcd.
    matches!(
        e.code,
        ErrorCode::Unavailable | ErrorCode::SidecarUnreachable
    )
}

/// Another site may know.
fn unreached(e: &ApiError) -> bool {
    matches!(
        e.code,
        ErrorCode::Unavailable
            | ErrorCode::SidecarUnreachable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::StoreUnavailable
    )
}
