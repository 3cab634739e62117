//! The store in process: etcd's rules without etcd, for tests, for the embedded demonstration, and for exploring faults.
//!
//! All handles of one store share its data; each handle is a site's, with outages of its own. Time is tokio's, so that a
//! test with paused time sees leases end exactly when they should.

mod state;

use crate::{
    KeyValue, LeaseId, Listing, Renewal, Revision, StoreError, Txn, TxnOutcome, WatchEvent,
};
use state::State;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// What is wrong between one site and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Up,
    /// Calls fail at once.
    Partitioned,
    /// Calls are swallowed: they end at their deadline.
    Hung,
}

#[derive(Debug, Clone, Copy, Default)]
struct Site {
    link: Link,
    /// So many answers to changes are lost on their way back: the change is made, and the caller is not told.
    lost_answers: u32,
}

struct Shared {
    state: Mutex<State>,
    sites: Mutex<HashMap<String, Site>>,
    changed: Notify,
}

/// A site's handle on a store in this process.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    site: String,
    call_deadline: Duration,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Duration::from_secs(3))
    }
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete before anything can panic, so a poisoned lock is as good as another.
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty store; the handle belongs to the site `local`.
    #[must_use]
    pub fn new(call_deadline: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new()),
                sites: Mutex::default(),
                changed: Notify::new(),
            }),
            site: "local".to_owned(),
            call_deadline,
        }
    }

    /// Another site's handle on the same store. Outages are the site's: all its handles share them.
    #[must_use]
    pub fn handle(&self, site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            ..self.clone()
        }
    }

    fn site<T>(&self, f: impl FnOnce(&mut Site) -> T) -> T {
        let mut sites = locked(&self.shared.sites);
        f(sites.entry(self.site.clone()).or_default())
    }

    /// Cuts this site off: its calls fail at once and change nothing.
    pub fn partition(&self) {
        self.site(|s| s.link = Link::Partitioned);
    }
    /// Swallows this site's calls: each ends at its deadline, and changes nothing.
    pub fn hang(&self) {
        self.site(|s| s.link = Link::Hung);
    }
    /// Ends [`Self::partition`] and [`Self::hang`].
    pub fn heal(&self) {
        self.site(|s| s.link = Link::Up);
        self.shared.changed.notify_waiters();
    }
    /// Loses the answers to this site's next `n` changes: they are made, and their caller is not told.
    pub fn lose_answers(&self, n: u32) {
        self.site(|s| s.lost_answers = n);
    }
    /// No majority for anybody: nothing is read or changed, and no lease ends.
    pub fn lose_majority(&self) {
        locked(&self.shared.state).lose_majority();
    }
    /// A majority again. As in etcd, the new leader gives every lease its whole time anew.
    pub fn regain_majority(&self) {
        locked(&self.shared.state).regain_majority(Instant::now());
        self.shared.changed.notify_waiters();
    }
    /// Raises or clears the NOSPACE alarm: no puts and no leases, all else goes on.
    pub fn set_full(&self, full: bool) {
        locked(&self.shared.state).full = full;
    }
    /// Forgets all history up to now: watches from before it start anew.
    pub fn compact(&self) {
        locked(&self.shared.state).compact();
        self.shared.changed.notify_waiters();
    }

    /// Waits out the link's fault, and says whether the call gets through.
    async fn reach(&self, op: &'static str, changes: bool) -> Result<(), StoreError> {
        match self.site(|s| s.link) {
            Link::Up => {}
            Link::Partitioned => {
                return Err(StoreError::Unavailable {
                    op,
                    why: format!("{} is cut off", self.site),
                });
            }
            Link::Hung => {
                tokio::time::sleep(self.call_deadline).await;
                return Err(if changes {
                    StoreError::OutcomeUnknown {
                        op,
                        why: format!("no answer within {:?}", self.call_deadline),
                    }
                } else {
                    StoreError::DeadlineExceeded {
                        op,
                        after: self.call_deadline,
                    }
                });
            }
        }
        // A real store is never answered without giving way.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn with<T>(
        &self,
        op: &'static str,
        f: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = locked(&self.shared.state);
        if !state.has_majority() {
            return Err(StoreError::Unavailable {
                op,
                why: "no majority".to_owned(),
            });
        }
        state.expire(Instant::now());
        let before = state.revision();
        let out = f(&mut state);
        if state.revision() != before {
            self.shared.changed.notify_waiters();
        }
        out
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.reach("get", false).await?;
        self.with("get", |s| Ok(s.get(key)))
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing, StoreError> {
        self.reach("list", false).await?;
        self.with("list", |s| Ok(s.list(prefix, after, limit)))
    }

    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.reach("txn", true).await?;
        let outcome = self.with("txn", |s| s.txn(&txn))?;
        let lost = self.site(|s| {
            let lost = s.lost_answers > 0;
            s.lost_answers = s.lost_answers.saturating_sub(1);
            lost
        });
        if lost {
            return Err(StoreError::OutcomeUnknown {
                op: "txn",
                why: "the answer was lost".to_owned(),
            });
        }
        Ok(outcome)
    }

    pub(crate) async fn grant(&self, ttl: u32) -> Result<LeaseId, StoreError> {
        self.reach("grant", false).await?;
        self.with("grant", |s| s.grant(ttl, Instant::now()))
    }

    pub(crate) async fn renew(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        self.reach("renew", false).await?;
        self.with("renew", |s| Ok(s.renew(lease, Instant::now())))
    }

    pub(crate) async fn remaining(&self, lease: LeaseId) -> Result<Renewal, StoreError> {
        self.reach("remaining", false).await?;
        self.with("remaining", |s| Ok(s.remaining(lease, Instant::now())))
    }

    pub(crate) async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.reach("revoke", false).await?;
        self.with("revoke", |s| {
            s.revoke(lease);
            Ok(())
        })
    }

    pub(crate) async fn compact_before(&self, before: Revision) -> Result<(), StoreError> {
        self.reach("compact", true).await?;
        self.with("compact", |state| {
            state.compact_before(before);
            Ok(())
        })
    }

    pub(crate) async fn healthy(&self) -> Result<(), StoreError> {
        self.reach("healthy", false).await?;
        self.with("healthy", |_| Ok(()))
    }

    pub(crate) fn watch(&self, prefix: &str, from: Revision) -> MemoryWatch {
        MemoryWatch {
            store: self.clone(),
            prefix: prefix.to_owned(),
            // Nought means from now, as in etcd.
            from: if from == Revision(0) {
                locked(&self.shared.state).revision().next()
            } else {
                from
            },
            // Events of one revision come one by one.
            seen_at_from: 0,
        }
    }
}

/// What a watch finds when it looks.
pub(crate) enum Look {
    Event(WatchEvent, Revision, usize),
    /// Nothing yet; a lease ends then, if any.
    Nothing(Option<Instant>),
}

/// A watch in process: it reads the store's bounded history, so a slow reader holds nothing up.
#[derive(Debug)]
pub struct MemoryWatch {
    store: MemoryStore,
    prefix: String,
    from: Revision,
    seen_at_from: usize,
}

impl MemoryWatch {
    pub(crate) async fn next(&mut self) -> WatchEvent {
        let shared = Arc::clone(&self.store.shared);
        loop {
            let changed = shared.changed.notified();
            let up = self.store.site(|s| s.link) == Link::Up;
            let look = {
                let mut state = locked(&shared.state);
                if up && state.has_majority() {
                    if state.expire(Instant::now()) {
                        shared.changed.notify_waiters();
                    }
                    state.look(&self.prefix, self.from, self.seen_at_from)
                } else {
                    Look::Nothing(None)
                }
            };
            match look {
                Look::Event(event, from, seen) => {
                    (self.from, self.seen_at_from) = (from, seen);
                    return event;
                }
                Look::Nothing(Some(at)) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                Look::Nothing(None) => changed.await,
            }
        }
    }
}
