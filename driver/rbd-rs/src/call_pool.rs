//! Threads for blocking calls, with a deadline for each call.
//!
//! A call into librbd cannot be cancelled: on a dead cluster it may hang for ever. So it runs on
//! a thread of a small pool, and whoever asked waits no longer than its deadline. If it overruns:
//!
//! ```text
//!   caller:  [---- waits ----] TimedOut at the deadline
//!   thread:  [---- stuck in C ------------------------------ returns, or never ]
//!                            ^ written off: a new thread takes its place
//! ```
//!
//! * A thread that is written off goes on holding what its closure holds. When the call returns
//!   after all, the result has nobody to go to and is dropped **on that thread**, and with it the
//!   images and connections in it, which are closed there. Then the thread goes back to work if
//!   the pool is short of one, and ends otherwise.
//! * There is a bound on threads written off. At the bound a lost thread is not replaced, and
//!   when none is left to work every call gets [`CallError::Exhausted`] at once. Threads that
//!   come back end that state.
//! * A caller that stops waiting (its future is dropped) is taken as having reached its deadline:
//!   a call that has not begun is withdrawn, a thread in a call is written off.
//! * A deadline that passes tells nothing about what the call did or will do:
//!   [`TimedOutStage::Running`] means "unknown". [`TimedOutStage::Queued`] means "never begun".

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::Error;

/// How large a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPoolLimits {
    /// Threads that work. librbd keeps its own threads; beyond 16 or so there is nothing to gain
    /// on one connection.
    pub threads: usize,
    /// Calls that wait for a thread.
    pub queue: usize,
    /// Threads written off at a time that are replaced.
    pub lost: usize,
}

impl Default for CallPoolLimits {
    /// 16 threads, 1024 calls in the queue, 64 threads lost.
    fn default() -> Self {
        Self {
            threads: 16,
            queue: 1024,
            lost: 64,
        }
    }
}

/// What a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallPoolCounters {
    /// Threads there for calls: working or idle, not those written off.
    pub threads: usize,
    /// Of them, those in a call.
    pub busy: usize,
    /// Calls that wait for a thread.
    pub queued: usize,
    /// Threads written off that have not come back.
    pub lost: usize,
    /// Threads ever written off.
    pub lost_total: u64,
    /// Threads that came back after they were written off.
    pub returned_total: u64,
    /// Calls that panicked.
    pub panicked_total: u64,
}

/// Where a call was when its deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOutStage {
    /// It had not begun, and never will: nothing was changed.
    Queued,
    /// It was in the library. Whether it did, or will do, what it was to do is unknown.
    Running,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call itself failed.
    #[error(transparent)]
    Failed(#[from] Error),
    /// The deadline passed.
    #[error("{label} did not end within {deadline:?}{}", match stage {
        TimedOutStage::Queued => ": it had not begun, and will not",
        TimedOutStage::Running => ": whether it takes effect is unknown",
    })]
    TimedOut {
        /// What was called.
        label: String,
        /// How long it was given.
        deadline: Duration,
        /// Where it was.
        stage: TimedOutStage,
    },
    /// Too many calls wait.
    #[error("{label} was not begun: {queued} calls wait already")]
    QueueFull {
        /// What was called.
        label: String,
        /// How many wait.
        queued: usize,
    },
    /// Every thread hangs in a call, and as many as may be were written off.
    #[error("{label} was not begun: {lost} threads hang in calls that do not return")]
    Exhausted {
        /// What was called.
        label: String,
        /// How many threads are lost.
        lost: usize,
    },
    /// The call panicked.
    #[error("{label} panicked: {message}")]
    Panicked {
        /// What was called.
        label: String,
        /// What the panic said.
        message: String,
    },
    /// The system gives no more threads.
    #[error("{label} was not begun: no thread can be started")]
    NoThread {
        /// What was called.
        label: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl CallError {
    /// Whether the same call may succeed later. After [`TimedOutStage::Running`], look before
    /// calling again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Failed(error) => error.retryable(),
            Self::TimedOut { .. }
            | Self::QueueFull { .. }
            | Self::Exhausted { .. }
            | Self::NoThread { .. } => true,
            Self::Panicked { .. } => false,
        }
    }

    /// The library's error, if the call got that far.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::TimedOut { .. }
            | Self::QueueFull { .. }
            | Self::Exhausted { .. }
            | Self::Panicked { .. }
            | Self::NoThread { .. } => None,
        }
    }
}

/// A bounded pool of threads for blocking calls. Cheap to clone.
///
/// Its idle threads end when the last clone is dropped; those in a call end after it.
#[derive(Clone)]
pub struct CallPool {
    owner: Arc<Owner>,
}

/// Closes the pool when the last clone of it is gone. Threads hold only `Shared`.
struct Owner {
    shared: Arc<Shared>,
}

struct Shared {
    limits: CallPoolLimits,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Arc<Job>>,
    closed: bool,
    counters: CallPoolCounters,
    /// Threads that wait for work.
    idle: usize,
}

/// A call. Its stage is changed under the pool's lock only; the lock of its own is for Rust.
struct Job {
    stage: Mutex<Stage>,
}

enum Stage {
    /// Waits in the queue.
    Queued(Body),
    /// A thread is in it.
    Running,
    /// A thread is in it, and nobody waits for it: the thread is written off.
    Abandoned,
    /// It is over, or was withdrawn.
    Over,
}

/// Runs the call and sends its result; tells whether it panicked.
type Body = Box<dyn FnOnce() -> Ended + Send>;

enum Ended {
    Returned,
    Panicked,
}

impl CallPool {
    /// A pool of these limits (at least one thread and one place in the queue). Threads start
    /// when they are needed.
    pub fn new(limits: CallPoolLimits) -> Self {
        let limits = CallPoolLimits {
            threads: limits.threads.max(1),
            queue: limits.queue.max(1),
            lost: limits.lost,
        };
        let state = State {
            queue: VecDeque::new(),
            closed: false,
            counters: CallPoolCounters::default(),
            idle: 0,
        };
        let shared = Shared {
            limits,
            state: Mutex::new(state),
            work: Condvar::new(),
        };
        Self {
            owner: Arc::new(Owner {
                shared: Arc::new(shared),
            }),
        }
    }

    /// What the pool is doing.
    pub fn counters(&self) -> CallPoolCounters {
        lock(&self.owner.shared.state).counters
    }

    /// Runs `call` on a thread of the pool, and waits for it no longer than `deadline`, counted
    /// from now: the wait for a thread is part of it. `label` names the call in errors.
    ///
    /// The closure must own all that it uses: if the deadline passes while it runs, it lives on.
    /// One that never began is dropped by the caller.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<T, F>(
        &self,
        deadline: Duration,
        label: impl Into<String>,
        call: F,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Error> + Send + 'static,
    {
        let label = label.into();
        let shared = &self.owner.shared;
        let (sender, mut receiver) = oneshot::channel();
        let body: Body = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(call));
            let ended = if result.is_ok() {
                Ended::Returned
            } else {
                Ended::Panicked
            };
            // If nobody waits any more the result comes back, and is dropped here: that may
            // close images, and so may panic too.
            let unwanted = sender.send(result).err();
            let _ = catch_unwind(AssertUnwindSafe(move || drop(unwanted)));
            ended
        });
        let job = Arc::new(Job {
            stage: Mutex::new(Stage::Queued(body)),
        });
        submit(shared, &job, &label)?;
        let mut guard = AbandonOnDrop {
            shared,
            job: Some(job),
        };

        let waited = tokio::time::timeout(deadline, &mut receiver).await;
        let answer = match waited {
            Ok(answer) => answer.ok(),
            // It may have come at the very last moment.
            Err(_) => match receiver.try_recv() {
                Ok(answer) => Some(answer),
                Err(_) => {
                    let stage = guard.abandon();
                    return Err(CallError::TimedOut {
                        label,
                        deadline,
                        stage,
                    });
                }
            },
        };
        guard.job = None;
        match answer {
            Some(Ok(result)) => result.map_err(CallError::Failed),
            Some(Err(panic)) => Err(CallError::Panicked {
                label,
                message: panic_text(panic.as_ref()),
            }),
            // The queue was thrown away, for no thread is left.
            None => Err(CallError::Exhausted {
                label,
                lost: self.counters().lost,
            }),
        }
    }
}

/// Writes the call off when its caller goes away without its result.
struct AbandonOnDrop<'a> {
    shared: &'a Arc<Shared>,
    job: Option<Arc<Job>>,
}

impl AbandonOnDrop<'_> {
    fn abandon(&mut self) -> TimedOutStage {
        match self.job.take() {
            Some(job) => abandon(self.shared, &job),
            None => TimedOutStage::Running,
        }
    }
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// Whether one more thread may be started: fewer than wanted work, and those lost are not
    /// more than may be replaced.
    fn may_start(&self, counters: &CallPoolCounters) -> bool {
        counters.threads < self.limits.threads
            && counters.threads + counters.lost < self.limits.threads + self.limits.lost
    }
}

fn submit(shared: &Arc<Shared>, job: &Arc<Job>, label: &str) -> Result<(), CallError> {
    let mut state = lock(&shared.state);
    if state.counters.threads == 0 && !shared.may_start(&state.counters) {
        let lost = state.counters.lost;
        return Err(CallError::Exhausted {
            label: label.to_owned(),
            lost,
        });
    }
    let queued = state.queue.len();
    if queued >= shared.limits.queue {
        return Err(CallError::QueueFull {
            label: label.to_owned(),
            queued,
        });
    }
    // The idle threads take what is queued already; one more call needs one more thread.
    if queued >= state.idle && shared.may_start(&state.counters) {
        let started = start(shared, &mut state);
        if let (Err(source), 0) = (started, state.counters.threads) {
            return Err(CallError::NoThread {
                label: label.to_owned(),
                source,
            });
        }
    }
    state.queue.push_back(Arc::clone(job));
    state.counters.queued = state.queue.len();
    drop(state);
    shared.work.notify_one();
    Ok(())
}

fn start(shared: &Arc<Shared>, state: &mut State) -> std::io::Result<()> {
    let own = Arc::clone(shared);
    std::thread::Builder::new()
        .name("ceph-call".to_owned())
        .spawn(move || work(&own))?;
    state.counters.threads += 1;
    Ok(())
}

/// What a thread does.
fn work(shared: &Shared) {
    let mut state = lock(&shared.state);
    loop {
        let Some(job) = state.queue.pop_front() else {
            if state.closed {
                state.counters.threads -= 1;
                return;
            }
            state.idle += 1;
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        state.counters.queued = state.queue.len();
        let body = match std::mem::replace(&mut *lock(&job.stage), Stage::Running) {
            Stage::Queued(body) => body,
            // Only a queued job is in the queue.
            Stage::Running | Stage::Abandoned | Stage::Over => continue,
        };
        state.counters.busy += 1;
        drop(state);

        let ended = body();

        state = lock(&shared.state);
        if matches!(ended, Ended::Panicked) {
            state.counters.panicked_total += 1;
        }
        let before = std::mem::replace(&mut *lock(&job.stage), Stage::Over);
        match before {
            Stage::Abandoned => {
                state.counters.lost -= 1;
                state.counters.returned_total += 1;
                if state.counters.threads >= shared.limits.threads {
                    return;
                }
                state.counters.threads += 1;
            }
            Stage::Running | Stage::Queued(_) | Stage::Over => state.counters.busy -= 1,
        }
    }
}

/// Gives a call up: withdraws it, or writes its thread off.
fn abandon(shared: &Arc<Shared>, job: &Arc<Job>) -> TimedOutStage {
    let mut state = lock(&shared.state);
    let mut stage = lock(&job.stage);
    // What is dropped must be dropped without the locks: it may close images.
    let mut unwanted: Vec<Stage> = Vec::new();
    let mut thrown_away: VecDeque<Arc<Job>> = VecDeque::new();
    let result = match &*stage {
        Stage::Queued(_) => {
            unwanted.push(std::mem::replace(&mut *stage, Stage::Over));
            state.queue.retain(|other| !Arc::ptr_eq(other, job));
            TimedOutStage::Queued
        }
        Stage::Running => {
            *stage = Stage::Abandoned;
            let counters = &mut state.counters;
            counters.busy -= 1;
            counters.threads -= 1;
            counters.lost += 1;
            counters.lost_total += 1;
            if !state.queue.is_empty() && shared.may_start(&state.counters) {
                // If the system gives none, the next call tries again.
                let _ = start(shared, &mut state);
            }
            if state.counters.threads == 0 {
                // Nobody is left to take what waits. Empty unless no thread could be started.
                thrown_away = std::mem::take(&mut state.queue);
            }
            TimedOutStage::Running
        }
        Stage::Abandoned | Stage::Over => TimedOutStage::Running,
    };
    drop(stage);
    for job in &thrown_away {
        unwanted.push(std::mem::replace(&mut *lock(&job.stage), Stage::Over));
    }
    state.counters.queued = state.queue.len();
    drop(state);
    drop(unwanted);
    result
}

/// No code that can panic runs under these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

impl fmt::Debug for CallPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CallPool")
            .field("counters", &self.counters())
            .finish()
    }
}

#[cfg(test)]
mod tests;
