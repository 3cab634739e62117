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

/// How many connections may be under way at once: one that was given up on goes on until librados gives up too.
pub(super) const CONNECTING: usize = 4;
/// Those, and one probe. As many may be lost, so that a thread is there whenever a [`Gate`] lets a call through.
const VITAL: usize = CONNECTING + 1;

/// The most copies at once: [`crate::actions::Limits::copies`].
const MOST_COPIES: usize = 8;

/// Where a call's thread comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The threads of all calls.
    Common,
    /// Those kept for connecting and for the probe: whether the cluster lives must be known also when every other thread hangs, and
    /// a want of threads must not read as its death.
    Vital,
    /// Those of deep copies, which may take hours.
    Copies,
    /// Those of forced promotions, which put interrupted copies back: where a zone dies in the middle of many, those of all calls must be
    /// there for the demotions that a lease's end asks for.
    Forced,
}

/// The threads that call librbd.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    common: CallPool,
    vital: CallPool,
    copies: CallPool,
    forced: CallPool,
}

impl Calls {
    pub(super) fn new(threads: usize) -> Self {
        Self::of(CallPoolLimits {
            threads,
            ..CallPoolLimits::default()
        })
    }

    fn of(common: CallPoolLimits) -> Self {
        Self {
            forced: CallPool::new(common),
            common: CallPool::new(common),
            vital: CallPool::new(CallPoolLimits {
                threads: VITAL,
                queue: VITAL,
                lost: VITAL,
            }),
            copies: CallPool::new(CallPoolLimits {
                threads: MOST_COPIES,
                queue: MOST_COPIES,
                lost: MOST_COPIES,
            }),
        }
    }

    fn pool(&self, lane: Lane) -> &CallPool {
        match lane {
            Lane::Common => &self.common,
            Lane::Vital => &self.vital,
            Lane::Copies => &self.copies,
            Lane::Forced => &self.forced,
        }
    }

    /// Threads in a call, and threads in a call that was given up on.
    pub(super) fn counters(&self) -> (usize, usize) {
        [&self.common, &self.vital, &self.copies, &self.forced]
            .map(CallPool::counters)
            .iter()
            .fold((0, 0), |(busy, lost), c| (busy + c.busy, lost + c.lost))
    }

    /// A call that changes nothing, or nothing that matters once nobody waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        op: Op,
        image: Option<&ImageSpec>,
        deadline: Instant,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        self.run_on(Lane::Common, op, image, deadline, f).await
    }

    /// On the threads of a lane.
    pub(super) async fn run_on<T: Send + 'static>(
        &self,
        lane: Lane,
        op: Op,
        image: Option<&ImageSpec>,
        deadline: Instant,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        let wait = deadline.saturating_duration_since(Instant::now());
        self.pool(lane)
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
        let lane = if op == Op::ForcePromote {
            Lane::Forced
        } else {
            Lane::Common
        };
        let call = self.pool(lane).call(wait, op.as_str(), move || {
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
        let pool = self.common.clone();
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

/// So many calls of a kind at a time: on a dead cluster each asker would otherwise cost a thread.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    lane: Lane,
}

impl Default for Gate {
    /// One at a time, on the threads of all calls.
    fn default() -> Self {
        Self::of(1, Lane::Common)
    }
}

impl Gate {
    pub(super) fn of(permits: usize, lane: Lane) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            lane,
        }
    }

    /// Runs `f` when one before it has really ended, however late that is. `deadline_exceeded` also where none of those before it
    /// has: in the vital lane they are in the library, and it is the cluster that keeps them.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        calls: &Calls,
        op: Op,
        deadline: Instant,
        f: impl FnOnce() -> Rbd<T> + Send + 'static,
    ) -> Result<T> {
        let permit = timeout_at(deadline, self.permits.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(BackendError::deadline(op, None));
        };
        calls
            .run_on(self.lane, op, None, deadline, move || {
                // Held by the thread, not by the asker.
                let _permit = permit;
                f()
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};

    const LONG: Duration = Duration::from_secs(20);

    /// Calls that hang until the senders are dropped, as many as there can be at all.
    async fn exhaust(calls: &Calls, threads: usize, lost: usize) -> Vec<mpsc::Sender<()>> {
        let mut held = Vec::new();
        for _ in 0..threads + lost {
            let (hold, held_up) = mpsc::channel::<()>();
            let begun = Arc::new(tokio::sync::Notify::new());
            let tell = begun.clone();
            let call = calls.run(Op::Look, None, Instant::now() + LONG, move || {
                tell.notify_one();
                let _ = held_up.recv();
                Ok(())
            });
            // Its caller goes away as soon as it hangs: the thread is lost.
            tokio::select! {
                _ = call => panic!("it hangs"),
                () = begun.notified() => {}
            }
            held.push(hold);
        }
        held
    }

    #[tokio::test]
    async fn where_all_threads_hang_nothing_is_begun_and_the_cluster_is_asked_all_the_same() {
        let (threads, lost) = (2, 2);
        let calls = Calls::of(CallPoolLimits {
            threads,
            lost,
            queue: 8,
        });
        let held = exhaust(&calls, threads, lost).await;
        let soon = Instant::now() + LONG;
        let refused = calls
            .run(Op::List, None, soon, || Ok(()))
            .await
            .unwrap_err();
        assert_eq!(refused.kind, BackendErrorKind::NotBegun, "{refused}");
        let probing = Gate::of(1, Lane::Vital);
        probing
            .run(&calls, Op::Probe, soon, || Ok(()))
            .await
            .unwrap();
        // A probe that hangs is the cluster's silence, and so is what waits for it.
        let (hold, held_up) = mpsc::channel::<()>();
        let soon = || Instant::now() + Duration::from_millis(50);
        let hangs = probing.run(&calls, Op::Probe, soon(), move || {
            let _ = held_up.recv();
            Ok(())
        });
        let silent = hangs.await.unwrap_err();
        assert_eq!(silent.kind, BackendErrorKind::Deadline, "{silent}");
        let waits = probing.run(&calls, Op::Probe, soon(), || Ok(()));
        let silent = waits.await.unwrap_err();
        assert_eq!(silent.kind, BackendErrorKind::Deadline, "{silent}");
        drop((hold, held));
    }

    #[tokio::test]
    async fn copies_and_forced_promotions_take_no_thread_from_any_other_call() {
        let calls = Calls::of(CallPoolLimits {
            threads: 4,
            lost: 4,
            queue: 8,
        });
        let (hold, _) = tokio::sync::broadcast::channel::<()>(1);
        for _ in 0..20 {
            let mut held_up = hold.subscribe();
            let soon = Instant::now() + Duration::from_millis(10);
            let copy = calls.run_on(Lane::Copies, Op::Copy, None, soon, move || {
                let _ = held_up.blocking_recv();
                Ok(())
            });
            copy.await.unwrap_err();
            let mut held_up = hold.subscribe();
            let soon = Deadlines::strict(Instant::now() + Duration::from_millis(10));
            let forced = calls.act(Op::ForcePromote, None, soon, move || {
                let _ = held_up.blocking_recv();
                Ok(())
            });
            forced.await.unwrap_err();
        }
        assert!(calls.counters().1 >= MOST_COPIES, "{:?}", calls.counters());
        let soon = Instant::now() + LONG;
        calls
            .act(Op::Demote, None, Deadlines::strict(soon), || Ok(()))
            .await
            .unwrap();
        Gate::of(1, Lane::Vital)
            .run(&calls, Op::Probe, soon, || Ok(()))
            .await
            .unwrap();
        drop(hold);
    }
}
