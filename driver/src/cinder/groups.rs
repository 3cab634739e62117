//! The volumes of a protection group, moved by the orchestrator's plan. Who is primary of a group is decided there, with its
//! lease, its proof and its policy: this asks, waits for the plan's end, and tells what came of it. A refusal is an answer and is
//! never gone round.
//!
//! ```text
//!   leader -> the group: a plan at work? wait for its end -+-> primary where it is to be? done
//!      ^                                                   +-> ours has ended otherwise? why
//!      +--------- ask for a plan, wait for its end <-------+
//! ```

use rekindle_common::{
    ApiError, ErrorCode, GroupName, ImageSpec, PlanId, ZoneName,
    plan::{End, PlanLine, PlanRequest, Request, Run},
};
use rekindle_net::{OrchestratorClient, Orchestrators};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// For so long no orchestrator may answer, or none lead, before the group's volumes are given up on: an election takes less.
const AWAY: Duration = Duration::from_secs(15);

/// What a group's plan did not help, volume by volume.
pub(super) type NotHelped = BTreeMap<ImageSpec, String>;

/// What is wanted of one group.
#[derive(Debug)]
pub(super) struct GroupMove<'a> {
    pub orchestrators: &'a Orchestrators,
    pub group: &'a GroupName,
    /// What is asked for, where no plan is at work.
    pub request: Request,
    /// Where it is to be primary.
    pub to: &'a ZoneName,
}

/// A plan that was waited for.
#[derive(Debug)]
struct Ended {
    id: PlanId,
    end: End,
    /// Of the step that failed, where one did.
    error: Option<String>,
    not_helped: NotHelped,
}

/// Where one round led.
enum Round {
    /// The group is primary where it is to be.
    There,
    /// A plan has ended: look again.
    Ended(Ended),
}

/// Why one round led nowhere.
enum Stop {
    /// It may go otherwise in a moment.
    Passing(ApiError),
    /// It is the answer.
    Final(ApiError),
}

impl From<ApiError> for Stop {
    fn from(e: ApiError) -> Self {
        if e.retryable() {
            Self::Passing(e)
        } else {
            Self::Final(e)
        }
    }
}

impl GroupMove<'_> {
    /// Has the group moved, and says what of it was not helped.
    ///
    /// # Errors
    /// [`ApiError`]: it was not moved; the reason is each volume's.
    pub(super) async fn carry_out(&self, by: Instant) -> Result<NotHelped, ApiError> {
        // A plan that ran already may have been for something else; one that was asked for here is the answer.
        let mut asked = None;
        let mut last: Option<Ended> = None;
        let mut patience = Instant::now() + AWAY;
        loop {
            match self.round(&mut asked, last.as_ref(), by).await {
                Ok(Round::There) => return Ok(last.map(|l| l.not_helped).unwrap_or_default()),
                Ok(Round::Ended(ended)) => {
                    tracing::info!(group = %self.group, plan.id = %ended.id, end = ended.end.word(), "the group's plan has ended");
                    last = Some(ended);
                    patience = Instant::now() + AWAY;
                }
                Err(Stop::Final(e)) => return Err(self.words(e)),
                Err(Stop::Passing(e)) => {
                    let now = Instant::now();
                    if now >= patience || now + PAUSE >= by {
                        return Err(self.words(e));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn round(
        &self,
        asked: &mut Option<PlanId>,
        last: Option<&Ended>,
        by: Instant,
    ) -> Result<Round, Stop> {
        let leader = self.orchestrators.leader().await?;
        let now = leader.group(self.group).await?;
        if let Some(plan) = now.active_plan {
            return self.end_of(&leader, &plan.id, by).await.map(Round::Ended);
        }
        if now.primary.is_some_and(|p| p.zone == *self.to) {
            return Ok(Round::There);
        }
        if let Some(last) = last.filter(|l| asked.as_ref() == Some(&l.id)) {
            return Err(Stop::Final(in_vain(last)));
        }
        let request = PlanRequest {
            request: self.request.clone(),
            run: Run::Begin,
        };
        let begun = leader.plan_for(self.group, &request).await?;
        let id = begun.plan.id;
        tracing::info!(group = %self.group, plan.id = %id, to = %self.to, "failover-host has the group moved by a plan");
        *asked = Some(id.clone());
        self.end_of(&leader, &id, by).await.map(Round::Ended)
    }

    /// Waits for a plan's end.
    async fn end_of(
        &self,
        leader: &OrchestratorClient,
        id: &PlanId,
        by: Instant,
    ) -> Result<Ended, Stop> {
        let mut lines = leader.watch(id).await?;
        let mut error = None;
        loop {
            let line = timeout_at(by, lines.next()).await.map_err(|_| {
                Stop::Final(ApiError::new(
                    ErrorCode::DeadlineExceeded,
                    format!("plan {id} is at work and goes on: `rekindle plan show {id} --watch`, then call failover-host again"),
                ))
            })??;
            match line {
                Some(PlanLine::Record { record }) => error = record.event.error.or(error),
                Some(PlanLine::Progress {}) => {}
                Some(PlanLine::Ended { end, not_helped }) => {
                    return Ok(Ended {
                        id: id.clone(),
                        end,
                        error,
                        not_helped: not_helped.into_iter().map(|f| (f.volume, f.why)).collect(),
                    });
                }
                Some(PlanLine::Waiting { state }) => {
                    return Err(Stop::Final(ApiError::new(
                        ErrorCode::Held,
                        format!(
                            "plan {id} waits for a person: {}; `rekindle plan show {id}`",
                            state.error
                        ),
                    )));
                }
                Some(PlanLine::Broken { problem }) => {
                    return Err(Stop::Final(ApiError::new(
                        problem.code,
                        problem.to_string(),
                    )));
                }
                None => {
                    return Err(Stop::Passing(ApiError::new(
                        ErrorCode::SidecarUnreachable,
                        format!("the watch of plan {id} broke off"),
                    )));
                }
            }
        }
    }

    fn words(&self, e: ApiError) -> ApiError {
        ApiError {
            message: format!("group {} is not in {}: {}", self.group, self.to, e.message),
            field: None,
            ..e
        }
    }
}

fn in_vain(plan: &Ended) -> ApiError {
    let why = plan
        .error
        .as_ref()
        .map_or_else(String::new, |e| format!(": {e}"));
    ApiError::new(
        ErrorCode::Held,
        format!(
            "plan {id} ended as {}{why}; `rekindle plan show {id}`",
            plan.end.word(),
            id = plan.id
        ),
    )
}
