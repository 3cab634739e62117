//! Which action is in flight on which volume: at most one that counts.
//!
//! An action that overran its deadline has been reported, and its call may still take effect. It stays here until the call
//! ends, and lets two things through: the same action again, and a demotion, which must stay possible. A demotion for a lease that
//! has ended goes beside any action, after a wait.

use crate::replication::Refusal;
use rekindle_common::{ImageSpec, duration::Span};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

#[derive(Debug)]
struct Entry {
    id: u64,
    action: &'static str,
    since: Instant,
    overran: bool,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: HashMap<ImageSpec, Vec<Entry>>,
}

/// The actions in flight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
}

/// An action in flight; dropping it ends it.
#[derive(Debug)]
pub(crate) struct InFlight {
    registry: Registry,
    spec: ImageSpec,
    id: u64,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an action, unless another is in the way.
    pub(crate) fn begin(
        &self,
        spec: &ImageSpec,
        action: &'static str,
    ) -> Result<InFlight, Refusal> {
        let mut s = self.state();
        let in_the_way = s.entries.get(spec).into_iter().flatten().find(|e| {
            let passes = e.overran && (e.action == action || action == "demote");
            !passes
        });
        if let Some(e) = in_the_way {
            return Err(Refusal::Busy {
                action: e.action,
                since: Span(std::time::Duration::from_secs(e.since.elapsed().as_secs())),
            });
        }
        Ok(self.enter(&mut s, spec, action))
    }

    /// Begins an action beside whatever is in flight.
    pub(crate) fn begin_beside(&self, spec: &ImageSpec, action: &'static str) -> InFlight {
        let mut s = self.state();
        self.enter(&mut s, spec, action)
    }

    fn enter(&self, s: &mut State, spec: &ImageSpec, action: &'static str) -> InFlight {
        s.next += 1;
        let id = s.next;
        s.entries.entry(spec.clone()).or_default().push(Entry {
            id,
            action,
            since: Instant::now(),
            overran: false,
        });
        InFlight {
            registry: self.clone(),
            spec: spec.clone(),
            id,
        }
    }

    /// Begins an action as soon as nothing is in the way; `None` where that did not come by the deadline.
    pub(crate) async fn begin_when_free(
        &self,
        spec: &ImageSpec,
        action: &'static str,
        deadline: Instant,
    ) -> Option<InFlight> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if let Ok(guard) = self.begin(spec, action) {
                return Some(guard);
            }
            tokio::time::timeout_at(deadline, ended).await.ok()?;
        }
    }

    /// Reported as overrun: it no longer bars the same action or a demotion.
    pub(crate) fn overran(&self, spec: &ImageSpec, id: u64) {
        let mut s = self.state();
        for e in s.entries.get_mut(spec).into_iter().flatten() {
            e.overran |= e.id == id;
        }
        drop(s);
        self.ended.notify_waiters();
    }

    /// Whether the call of another action may still take effect: one that overran, or one that a demotion went beside.
    pub(crate) fn late_call(&self, spec: &ImageSpec, than: u64) -> Option<&'static str> {
        let s = self.state();
        s.entries
            .get(spec)?
            .iter()
            .find(|e| e.id != than)
            .map(|e| e.action)
    }

    /// What a report shows.
    pub(crate) fn in_flight(&self, spec: &ImageSpec) -> Option<String> {
        let s = self.state();
        s.entries.get(spec)?.last().map(|e| {
            if e.overran {
                format!("{} (overran its deadline)", e.action)
            } else {
                e.action.to_owned()
            }
        })
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        self.state().entries.values().map(Vec::len).sum()
    }
}

impl InFlight {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut s = self.registry.state();
        if let Some(list) = s.entries.get_mut(&self.spec) {
            list.retain(|e| e.id != self.id);
            if list.is_empty() {
                s.entries.remove(&self.spec);
            }
        }
        drop(s);
        self.registry.ended.notify_waiters();
    }
}
