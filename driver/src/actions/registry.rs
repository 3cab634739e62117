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
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// It is calm once nothing was in flight for so long: between two batches of a failover there is less.
const CALM: Duration = Duration::from_millis(500);

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
    ended: Option<Instant>,
}

impl State {
    /// When it may be calm; `None`: it is. What overran is not waited for, for it may never end.
    fn calm_at(&self, now: Instant) -> Option<Instant> {
        let mut all = self.entries.values().flatten();
        if all.any(|e| !e.overran) {
            return Some(now + CALM);
        }
        self.ended.map(|at| at + CALM).filter(|at| *at > now)
    }
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

    /// Whether a promotion may still take effect.
    pub(crate) fn may_be_promoted(&self, spec: &ImageSpec) -> bool {
        let s = self.state();
        let mut all = s.entries.get(spec).into_iter().flatten();
        all.any(|e| e.action == "promote")
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

    /// Waits until it is calm, and for so long at most.
    pub(crate) async fn calm(&self, most: Duration) {
        let by = Instant::now() + most;
        while Instant::now() < by
            && let Some(at) = { self.state().calm_at(Instant::now()) }
        {
            sleep_until(at.min(by)).await;
        }
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
        s.ended = Some(Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(registry: &Registry) -> Duration {
        let begun = Instant::now();
        registry.calm(Duration::from_secs(10)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_can_wait_does_for_the_actions_and_not_for_ever() {
        let registry = Registry::default();
        let spec = ImageSpec::new("volumes", "volume-1").unwrap();
        assert_eq!(waited(&registry).await, Duration::ZERO);
        let action = registry.begin(&spec, "demote").unwrap();
        assert_eq!(waited(&registry).await, Duration::from_secs(10));
        // One that hangs is nothing to wait for.
        registry.overran(&spec, action.id());
        assert_eq!(waited(&registry).await, Duration::ZERO);
        drop(action);
        assert_eq!(waited(&registry).await, CALM);
        assert_eq!(waited(&registry).await, Duration::ZERO);
    }
}
