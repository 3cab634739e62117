//! A plan's course, line by line, until it ends or waits for a person.
//!
//! The records come from etcd, so that the watch outlives a change of leader; the progress within a step comes from this site's
//! own executor, where it has one.

use super::{Service, Site, plans};
use crate::wire::{FailedServerView, FailedVolumeView, PlanDetail, Progress, WatchLine};
use axum::{extract::State, response::Response};
use futures::stream;
use rekindle_common::{ApiError, PlanId};
use rekindle_core::saga::{End, State as SagaState};
use rekindle_net::{ApiPath, ApiResult, ndjson};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Between two looks at the journal.
const EVERY: Duration = Duration::from_millis(300);
/// etcd may be away for so many looks in a row: a change of its leader takes some seconds.
const MISSES: u32 = 60;

pub(super) async fn watch(State(s): Site, ApiPath(plan): ApiPath<PlanId>) -> ApiResult<Response> {
    // An unknown plan is an answer, not a stream.
    plans::detail(&s.means.assembler.store, &plan).await?;
    let watch = Watch {
        service: s,
        plan,
        shown: 0,
        progress: None,
        misses: 0,
        ready: VecDeque::new(),
        first: true,
        over: false,
    };
    Ok(ndjson(stream::unfold(watch, |mut w| async move {
        let line = w.next().await?;
        Some((line, w))
    })))
}

struct Watch {
    service: Arc<Service>,
    plan: PlanId,
    /// Records shown so far.
    shown: usize,
    progress: Option<Progress>,
    misses: u32,
    ready: VecDeque<WatchLine>,
    first: bool,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<WatchLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            if !std::mem::take(&mut self.first) {
                sleep(EVERY).await;
            }
            match plans::detail(&self.service.means.assembler.store, &self.plan).await {
                Ok(detail) => {
                    self.misses = 0;
                    self.take(&detail);
                }
                Err(e) => self.missed(&e),
            }
        }
    }

    fn missed(&mut self, e: &ApiError) {
        self.misses += 1;
        if self.misses >= MISSES || !e.retryable() {
            self.end(WatchLine::Broken {
                problem: crate::wire::Problem {
                    code: e.code,
                    about: self.plan.to_string(),
                    message: e.message.clone(),
                },
            });
        }
    }

    fn take(&mut self, detail: &PlanDetail) {
        for (seq, record) in detail.journal.iter().enumerate().skip(self.shown) {
            self.ready.push_back(WatchLine::Record {
                seq: u32::try_from(seq).unwrap_or(u32::MAX),
                record: record.clone(),
            });
        }
        self.shown = self.shown.max(detail.journal.len());
        if let Some(problem) = &detail.problem {
            return self.end(WatchLine::Broken {
                problem: problem.clone(),
            });
        }
        match &detail.state {
            Some(SagaState::Ended { end }) => self.end(ended(detail, *end)),
            // With its last record a plan that is stuck shows it; one that was just retried is not stuck any more.
            Some(state @ SagaState::Stuck { .. }) => self.end(WatchLine::Waiting {
                state: state.clone(),
            }),
            Some(
                SagaState::Fresh
                | SagaState::Between { .. }
                | SagaState::Running { .. }
                | SagaState::Unwinding { .. }
                | SagaState::RunningUnwind { .. },
            )
            | None => self.show_progress(),
        }
    }

    fn show_progress(&mut self) {
        let term = self.service.term.borrow().clone();
        let work = term.and_then(|t| t.work_on(&self.plan));
        let Some(progress) = work.and_then(|w| w.progress.borrow().clone()) else {
            return;
        };
        if self.progress.as_ref() != Some(&progress) {
            self.progress = Some(progress.clone());
            self.ready.push_back(WatchLine::Progress { progress });
        }
    }

    fn end(&mut self, line: WatchLine) {
        self.over = true;
        self.ready.push_back(line);
    }
}

fn ended(detail: &PlanDetail, end: End) -> WatchLine {
    let left_out = detail.plan.left_out.iter().map(|l| FailedVolumeView {
        volume: l.volume.clone(),
        why: l.why.clone(),
    });
    let failed = detail.failed.iter().map(|f| FailedVolumeView {
        volume: f.volume.clone(),
        why: f.why.clone(),
    });
    let servers = detail.failed_servers.iter().map(|f| FailedServerView {
        server: f.server.clone(),
        why: f.why.clone(),
    });
    WatchLine::Ended {
        end,
        not_helped: left_out.chain(failed).collect(),
        servers: servers.collect(),
    }
}
