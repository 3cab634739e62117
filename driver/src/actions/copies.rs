//! Safety copies under way: a few at once, each on a thread of its own until it ends, however long that is.
//!
//! ```text
//!   resync -> is it made? -> resync                                   a copy that is under way goes on, whoever waits for it
//!          -> is it being made, or is a slot free? -> waited for, half of the order's time -> made: resync
//!                                                                                          -> busy: ask again
//! ```
//!
//! An order never resyncs once its own time is over: the next one finds the copy made, and goes through every check anew.

use super::Inner;
use crate::{
    backend::{Access, BackendError, BackendErrorKind, Deadlines, Op},
    replication::{Refusal, ReplicationError},
};
use rekindle_common::{ImageSpec, duration::Span};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};

/// For a slot. An order that waits keeps one of the zone's places for orders, which a failover may need.
const FOR_A_SLOT: Duration = Duration::from_secs(1);
/// The slowest that a copy may be, in bytes of the volume's size a second, and what it gets beside that. A slower one is no longer
/// told as being made.
const SLOWEST: u64 = 10 << 20;
const AT_LEAST: Duration = Duration::from_secs(600);
/// A copy cannot be stopped. One that takes longer than this hangs.
const NEVER: Duration = Duration::from_secs(7 * 86_400);
/// How long a copy's failure is kept for the order that asks for it. A plan asks again within seconds; who comes later may have mended
/// what was in the way, so the copy is begun anew.
const TOLD: Duration = Duration::from_secs(120);

/// How a copy ended, and when.
#[derive(Debug)]
struct Ended {
    at: Instant,
    how: Result<(), BackendError>,
}
type End = Option<Ended>;

#[derive(Debug)]
struct Making {
    begun: Instant,
    /// By then it is made, were it as slow as it may be.
    due: Instant,
    end: watch::Receiver<End>,
}

impl Making {
    /// Whether it tells an order that comes now nothing. That a copy was made once is no proof that it is still there: it is looked for again,
    /// which takes no time where it is.
    fn is_over(&self, now: Instant) -> bool {
        match &*self.end.borrow() {
            None => false,
            Some(Ended { how: Ok(()), .. }) => true,
            Some(Ended { at, how: Err(_) }) => now >= *at + TOLD,
        }
    }
}

/// The copies under way, and those that failed just now while nobody waited.
#[derive(Debug)]
pub(super) struct Copies {
    slots: Arc<Semaphore>,
    all: Mutex<HashMap<ImageSpec, Making>>,
}

impl Copies {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            all: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ImageSpec, Making>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that `to` is being made by `work`, and waits for its end until `by`.
    async fn make(
        &self,
        to: &ImageSpec,
        size: u64,
        by: Instant,
        work: impl Future<Output = Result<(), BackendError>> + Send + 'static,
    ) -> Result<(), ReplicationError> {
        let under_way = {
            let mut all = self.all();
            let now = Instant::now();
            all.retain(|_, m| !m.is_over(now));
            all.get(to).map(|m| m.end.clone())
        };
        let mut end = match under_way {
            Some(end) => end,
            None => {
                let slot = self.slots.clone().acquire_owned();
                match timeout_at(by.min(Instant::now() + FOR_A_SLOT), slot).await {
                    Ok(Ok(slot)) => self.begin(to, size, slot, work),
                    Ok(Err(_)) | Err(_) => return Err(self.not_yet(to)),
                }
            }
        };
        let waited = timeout_at(by, end.wait_for(Option::is_some)).await;
        let waited = waited.map(|ended| ended.map(|e| e.as_ref().map(|e| e.how.clone())));
        match waited {
            Ok(Ok(how)) => {
                self.forget(to, &end);
                Ok(how.unwrap_or(Ok(()))?)
            }
            Ok(Err(_)) => {
                self.forget(to, &end);
                Err(Refusal::Internal {
                    what: format!("the safety copy {to} ended abnormally"),
                }
                .into())
            }
            Err(_) => Err(self.not_yet(to)),
        }
    }

    /// What was told is not told again. Another order may have begun anew meanwhile: that one stays.
    fn forget(&self, to: &ImageSpec, told: &watch::Receiver<End>) {
        let mut all = self.all();
        if all.get(to).is_some_and(|m| m.end.same_channel(told)) {
            all.remove(to);
        }
    }

    fn begin(
        &self,
        to: &ImageSpec,
        size: u64,
        slot: OwnedSemaphorePermit,
        work: impl Future<Output = Result<(), BackendError>> + Send + 'static,
    ) -> watch::Receiver<End> {
        let now = Instant::now();
        let mut all = self.all();
        // Another order for the same copy may have been quicker.
        if let Some(making) = all.get(to) {
            return making.end.clone();
        }
        let (tell, end) = watch::channel(None);
        let making = Making {
            begun: now,
            due: now + AT_LEAST + Duration::from_secs(size / SLOWEST),
            end: end.clone(),
        };
        all.insert(to.clone(), making);
        drop(all);
        let to = to.clone();
        // Not among the tasks that a drain waits for: a copy that was broken off is made anew.
        tokio::spawn(async move {
            tracing::info!(copy = %to, "safety copy begun");
            let result = work.await;
            let took = now.elapsed().as_secs();
            match &result {
                Ok(()) => tracing::info!(copy = %to, took_s = took, "safety copy made"),
                Err(error) => {
                    tracing::warn!(copy = %to, took_s = took, %error, "safety copy failed")
                }
            }
            tell.send_replace(Some(Ended {
                at: Instant::now(),
                how: result,
            }));
            drop(slot);
        });
        end
    }

    /// Why there is no copy yet.
    fn not_yet(&self, to: &ImageSpec) -> ReplicationError {
        let all = self.all();
        let under_way = || all.values().filter(|m| m.end.borrow().is_none());
        let now = Instant::now();
        let secs = |d: Duration| Span::secs(d.as_secs());
        let (what, moves) = match all.get(to).filter(|m| m.end.borrow().is_none()) {
            Some(m) => (
                format!("it has been made for {}", secs(now - m.begun)),
                now < m.due,
            ),
            None => (
                format!("it waits for {} others", under_way().count()),
                under_way().any(|m| now < m.due),
            ),
        };
        if moves {
            Refusal::Copying { what }.into()
        } else {
            let text = format!("{what}, and none moves that should be made by now");
            BackendError::new(Op::Copy, Some(to), BackendErrorKind::Deadline, text).into()
        }
    }
}

impl Inner {
    /// Keeps what a resync is about to discard, or says that it is not kept yet.
    pub(super) async fn keep_copy(
        &self,
        of: &ImageSpec,
        size: u64,
        to: &ImageSpec,
        d: Deadlines,
    ) -> Result<(), ReplicationError> {
        let now = Instant::now();
        // The other half is for the resync.
        let by = now + d.answer.saturating_duration_since(now) / 2;
        let (backend, from, copy) = (self.backend.clone(), of.clone(), to.clone());
        let open = self.limits.action.get();
        let work = async move {
            let session = backend
                .open(&from, Access::Write, Instant::now() + open)
                .await?;
            match session.copy_to(&copy, Instant::now() + NEVER).await {
                // Made by an earlier order: its name is of this split.
                Err(e) if e.kind == BackendErrorKind::Exists => Ok(()),
                other => other,
            }
        };
        self.copies.make(to, size, by, work).await
    }
}
