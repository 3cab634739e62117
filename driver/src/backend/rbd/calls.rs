//! How librbd is called: on the pool's threads, with a deadline, and with word of calls that end late.

use super::convert;
use crate::backend::{
    Deadlines,
    error::{BackendError, BackendErrorKind, Op},
};
use rbd_rs::{CallError, CallPool, CallPoolLimits, TimedOutStage};
use rekindle_common::ImageSpec;
use std::sync::Arc;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

type Result<T> = std::result::Result<T, BackendError>;
type Rbd<T> = std::result::Result<T, rbd_rs::Error>;

/// The threads that call librbd.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pool: CallPool,
}

impl Calls {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            pool: CallPool::new(CallPoolLimits {
                threads,
                ..CallPoolLimits::default()
            }),
        }
    }

    /// Threads in a call, and threads in a call that was given up on.
    pub(super) fn counters(&self) -> (usize, usize) {
        let c = self.pool.counters();
        (c.busy, c.lost)
    }

    /// A call that changes nothing, or nothing that matters once nobody waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        op: Op,
        image: Option<&ImageSpec>,
        deadline: Instant,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        let wait = deadline.saturating_duration_since(Instant::now());
        self.pool
            .call(wait, op.as_str(), f)
            .await
            .map_err(|e| convert::call_error(op, image, &e))
    }

    /// A call that may take effect. When it overruns, its thread is written off (another takes its place, so that it holds
    /// up nobody else) and its end is still waited for, up to `d.abandon`.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        op: Op,
        image: Option<&ImageSpec>,
        d: Deadlines,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = oneshot::channel();
        let wait = d.answer.saturating_duration_since(Instant::now());
        let call = self.pool.call(wait, op.as_str(), move || {
            // Nobody listens once it was abandoned.
            let _ = tell.send(f());
            Ok(())
        });
        match call.await {
            Ok(()) => {}
            Err(CallError::TimedOut {
                stage: TimedOutStage::Running,
                ..
            }) => {}
            Err(e) => return Err(convert::call_error(op, image, &e)),
        }
        match timeout_at(d.abandon, told).await {
            Ok(Ok(result)) => result.map_err(|e| convert::error(op, image, &e)),
            Ok(Err(_)) => Err(BackendError::new(
                op,
                image,
                BackendErrorKind::Other,
                "the call ended without a result",
            )),
            Err(_) => Err(BackendError::deadline(op, image)),
        }
    }

    /// Lets go of what may take a while to close, without waiting. `what` is dropped on a thread of the pool, after a while.
    pub(super) fn let_go<T: Send + 'static>(&self, what: T, after: std::time::Duration) {
        let pool = self.pool.clone();
        let close = async move {
            tokio::time::sleep(after).await;
            let wait = std::time::Duration::from_secs(600);
            let _ = pool
                .call(wait, "close", move || {
                    drop(what);
                    Ok(())
                })
                .await;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(close)),
            // The runtime has ended: closing here blocks nobody but the end of the process.
            Err(_) => drop(close),
        }
    }
}

/// At most one call of a kind at a time: on a dead cluster each asker would otherwise cost a thread.
#[derive(Debug, Clone)]
pub(super) struct OneAtATime(Arc<Semaphore>);

impl Default for OneAtATime {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl OneAtATime {
    /// Runs `f` when the one before it has really ended, however late that is.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        calls: &Calls,
        op: Op,
        deadline: Instant,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        let permit = timeout_at(deadline, self.0.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(BackendError::deadline(op, None));
        };
        calls
            .run(op, None, deadline, move || {
                // Held by the thread, not by the asker.
                let _permit = permit;
                f()
            })
            .await
    }
}
