//! Whether objects answer, asked without a thread for each.
//!
//! A call into librbd that meets an object whose placement group is inactive keeps its thread for as long as that is so. Here the object
//! is asked first, by a stat that librados carries out by itself. One without an answer is left under way, for the cluster keeps it too
//! and would keep a second one beside it: it is the word of when the object answers again.
//!
//! ```text
//!   without_answer ── rados_aio_stat ──> librados ── callback: the object is taken off those under way, and whoever waits is woken
//!        └ waits, for a bounded time
//! ```

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::buffer::c_name;
use crate::error::At;
use crate::sys::types::{rados_completion_t, time_t};
use crate::{Error, Pool};

/// So many may well be under way at once on one connection, for all its pools together. librados lets 1024 operations of a connection be under
/// way, and more than that wait for those: also those of librbd. An OSD takes in 256 of all its clients, and may keep those that it
/// cannot answer: all that are silent may be the same one's.
pub const MOST_ASKS: usize = 128;
/// How long librados may take to end what it is told to end.
const ENDING: Duration = Duration::from_secs(5);

/// What was asked of a pool's objects, and has not been answered. Cheap to clone.
///
/// When the last clone goes what is under way is ended, which may take a moment.
#[derive(Clone)]
pub struct Asks {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    most: usize,
    told: Arc<Told>,
}

/// What librados' callbacks tell. Each of them holds it too.
#[derive(Default)]
struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By the object's name.
    under_way: HashMap<String, UnderWay>,
    /// Of those that were answered, to be released.
    ended: Vec<Completion>,
}

struct UnderWay {
    since: Instant,
    completion: Completion,
}

struct Completion(rados_completion_t);

// SAFETY: a handle that any thread may use and release; who takes it out of `State` is the only one that has it.
unsafe impl Send for Completion {}

/// What librados holds for one question until it has called back.
struct Question {
    told: Arc<Told>,
    name: String,
    size: u64,
    modified: time_t,
}

/// Takes the question back.
unsafe extern "C" fn answered(_: rados_completion_t, question: *mut c_void) {
    // SAFETY: `Asks::ask` made it of a Box, librados calls once, and has written what it writes before.
    let question = unsafe { Box::from_raw(question.cast::<Question>()) };
    let mut state = question.told.state();
    if let Some(it) = state.under_way.remove(&question.name) {
        state.ended.push(it.completion);
    }
    drop(state);
    question.told.changed.notify_all();
}

impl Told {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until something was answered, or for that long.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Asks {
    /// Nothing is asked yet. `most`: of this pool's objects under way at once, its part of [`MOST_ASKS`].
    pub fn new(pool: &Pool, most: usize) -> Self {
        let inner = Inner {
            pool: pool.clone(),
            most,
            told: Arc::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Which of these objects do not answer: each has that much time from when it was asked, and the call returns after three times
    /// that at the latest. That there is no such object is an answer, and so is any error. One that was asked before and has not
    /// answered since is not waited for again. One that could not be asked, for so many others do not answer or for want of time, is not
    /// told of.
    ///
    /// # Errors
    /// [`Error::Text`] for a name that none can have, and as any call.
    pub fn without_answer(
        &self,
        names: &[String],
        patience: Duration,
    ) -> Result<HashSet<String>, Error> {
        let begun = Instant::now();
        let asking = patience.saturating_mul(2);
        let Inner { told, most, .. } = &*self.inner;
        let mut to_ask = names.iter().peekable();
        let mut open: HashSet<&String> = HashSet::new();
        let mut silent = HashSet::new();
        loop {
            // The lock is not held while librados is called.
            let mut room = most.saturating_sub(told.state().under_way.len());
            while room > 0
                && begun.elapsed() < asking
                && let Some(name) = to_ask.next()
            {
                if self.ask(name)? {
                    room -= 1;
                }
                open.insert(name);
            }
            let mut state = told.state();
            let now = Instant::now();
            let mut wait = patience;
            open.retain(|name| match state.under_way.get(*name) {
                None => false,
                Some(it) => {
                    let left = patience.saturating_sub(now.duration_since(it.since));
                    if left.is_zero() {
                        silent.insert((*name).clone());
                    } else {
                        wait = wait.min(left);
                    }
                    !left.is_zero()
                }
            });
            // With all that are under way silent there will be no room.
            let no_room = state.under_way.len() >= *most;
            let unasked = to_ask.peek().is_some() && begun.elapsed() < asking;
            let done = open.is_empty() && (!unasked || no_room);
            if unasked {
                wait = wait.min(asking.saturating_sub(begun.elapsed()));
            }
            let may_ask = unasked && !no_room;
            if !done && !may_ask {
                state = told.wait(state, wait);
            }
            let ended = std::mem::take(&mut state.ended);
            drop(state);
            self.inner.release(ended);
            if done {
                return Ok(silent);
            }
        }
    }

    /// Whether it was asked now: one that is under way is not asked again.
    ///
    /// # Implements:
    /// ```c
    /// int rados_aio_create_completion2(void *cb_arg, rados_callback_t cb_complete, rados_completion_t *pc);
    /// int rados_aio_stat(rados_ioctx_t io, const char *o, rados_completion_t completion, uint64_t *psize, time_t *pmtime);
    /// ```
    fn ask(&self, name: &str) -> Result<bool, Error> {
        let Inner { pool, told, .. } = &*self.inner;
        let path = pool.path(name);
        let at = At {
            operation: "rados_aio_stat",
            subject: &path,
        };
        let oid = c_name("object name", name)?;
        let mut state = told.state();
        if state.under_way.contains_key(name) {
            return Ok(false);
        }
        let question = Box::into_raw(Box::new(Question {
            told: told.clone(),
            name: name.to_owned(),
            size: 0,
            modified: 0,
        }));
        let mut completion: rados_completion_t = ptr::null_mut();
        // SAFETY: a callback that lives as long as the process, its argument, and a place for the result.
        let made = at.check(unsafe {
            (pool.rados().rados_aio_create_completion2)(question.cast(), answered, &mut completion)
        });
        if let Err(error) = made {
            // SAFETY: nobody else has it: there is no completion that could call back.
            drop(unsafe { Box::from_raw(question) });
            return Err(error);
        }
        let it = UnderWay {
            since: Instant::now(),
            completion: Completion(completion),
        };
        state.under_way.insert(name.to_owned(), it);
        // The answer may come before the next call has returned.
        drop(state);
        // SAFETY: an open ioctx that `Inner` keeps open until it was answered, a name that ends with NUL, and two places in what is
        // freed by the callback alone, after librados has written to them.
        let code = unsafe {
            (pool.rados().rados_aio_stat)(
                pool.handle(),
                oid.as_ptr(),
                completion,
                &raw mut (*question).size,
                &raw mut (*question).modified,
            )
        };
        if let Err(error) = at.check(code) {
            let unasked = told.state().under_way.remove(name);
            self.inner
                .release(unasked.map(|it| it.completion).into_iter().collect());
            // SAFETY: what was not begun is not called back.
            drop(unsafe { Box::from_raw(question) });
            return Err(error);
        }
        Ok(true)
    }
}

impl Inner {
    /// # Implements:
    /// `void rados_aio_release(rados_completion_t c)`
    fn release(&self, ended: Vec<Completion>) {
        for Completion(completion) in ended {
            // SAFETY: made by `Asks::ask`, and released once: it was taken out of `State`.
            unsafe { (self.pool.rados().rados_aio_release)(completion) };
        }
    }
}

impl Drop for Inner {
    /// # Implements:
    /// `int rados_aio_cancel(rados_ioctx_t io, rados_completion_t completion)`
    fn drop(&mut self) {
        let begun = Instant::now();
        let mut state = self.told.state();
        let under_way: Vec<rados_completion_t> =
            state.under_way.values().map(|it| it.completion.0).collect();
        drop(state);
        for completion in under_way {
            // SAFETY: an open ioctx, and a completion that is released below at the earliest. One that was answered meanwhile is not
            // found, and nothing happens.
            unsafe { (self.pool.rados().rados_aio_cancel)(self.pool.handle(), completion) };
        }
        state = self.told.state();
        while !state.under_way.is_empty() {
            let left = ENDING.saturating_sub(begun.elapsed());
            if left.is_zero() {
                // librados uses the pool still, so it is left open for good.
                std::mem::forget(self.pool.clone());
                break;
            }
            state = self.told.wait(state, left);
        }
        let ended = std::mem::take(&mut state.ended);
        drop(state);
        self.release(ended);
    }
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Asks")
            .field("pool", &self.inner.pool)
            .field("under_way", &self.inner.told.state().under_way.len())
            .finish()
    }
}
