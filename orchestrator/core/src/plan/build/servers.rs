//! The steps about servers, hooks and pauses, as each kind of plan puts them in. A group without a runbook has none.

use super::{APPLICATION, Base, step};
use crate::plan::{
    HookTime, PlannedStep, Step,
    servers::{deadline_of, hold_deadline},
};
use rekindle_common::{
    Generation, ImageSpec, ZoneName,
    duration::Span,
    runbook::{Hook, Level, Runbook},
};

/// For a person to say that a level may start. After it the plan is stuck, and can be tried again.
const PAUSE: Span = Span::secs(24 * 3600);
/// For a hook, on top of its own time: it is told to end then, and has to be seen to.
const HOOK_SLACK: Span = Span::secs(15);

impl Base<'_> {
    fn runbook(&self) -> &Runbook {
        &self.view.spec.runbook
    }

    /// The levels that have servers.
    fn levels(&self) -> impl DoubleEndedIterator<Item = (usize, &Level)> {
        let levels = self.runbook().levels.iter().enumerate();
        levels.filter(|(_, l)| !l.servers.is_empty())
    }

    /// The hooks of that time, a step each.
    pub(super) fn hooks(
        &self,
        when: HookTime,
        zone: &ZoneName,
        generation: Generation,
    ) -> Vec<PlannedStep> {
        let hooks = match when {
            HookTime::Before => &self.runbook().before,
            HookTime::After => &self.runbook().after,
        };
        let one = |h: &Hook| Step::RunHook {
            hook: h.agent.clone(),
            when,
            zone: zone.clone(),
            generation,
            within: h.within,
        };
        let deadline = |h: &Hook| Span(h.within.get() + HOOK_SLACK.get());
        hooks.iter().map(|h| step(one(h), deadline(h))).collect()
    }

    fn start_of(&self, n: usize, level: &Level, zone: &ZoneName, generation: Generation) -> Step {
        Step::StartServers {
            zone: zone.clone(),
            level: n,
            servers: level.servers.len(),
            generation,
        }
    }

    /// Level by level: the pause before it, where it has one, and its servers.
    pub(super) fn start_levels(&self, zone: &ZoneName, generation: Generation) -> Vec<PlannedStep> {
        let mut steps = Vec::new();
        for (n, level) in self.runbook().levels.iter().enumerate() {
            if let Some(text) = level.pause.clone() {
                steps.push(step(Step::Pause { level: n, text }, PAUSE));
            }
            if !level.servers.is_empty() {
                let start = self.start_of(n, level, zone, generation);
                steps.push(step(start, deadline_of(level)));
            }
        }
        steps
    }

    /// Everything that serves, in the order in which it is started: servers, the application, then the hooks that are told.
    pub(super) fn serve(
        &self,
        zone: &ZoneName,
        volumes: &[ImageSpec],
        generation: Generation,
    ) -> Vec<PlannedStep> {
        let mut steps = self.start_levels(zone, generation);
        let application = self.start(zone, volumes, generation);
        steps.extend(application.map(|s| step(s, APPLICATION)));
        steps.extend(self.hooks(HookTime::After, zone, generation));
        steps
    }

    /// The same for an unwind list: what ran a moment ago needs no pause and no hook.
    pub(super) fn serve_again(
        &self,
        zone: &ZoneName,
        volumes: &[ImageSpec],
        generation: Generation,
    ) -> Vec<Step> {
        let starts = self
            .levels()
            .map(|(n, level)| self.start_of(n, level, zone, generation));
        starts
            .chain(self.start(zone, volumes, generation))
            .collect()
    }

    /// The levels in the opposite order, each stopped; every stop is undone by `unwind`.
    pub(super) fn stop_levels(
        &self,
        zone: &ZoneName,
        generation: Generation,
        unwind: &[Step],
    ) -> Vec<PlannedStep> {
        let stop = |(n, level): (usize, &Level)| PlannedStep {
            step: Step::StopServers {
                zone: zone.clone(),
                level: n,
                servers: level.servers.len(),
                generation,
            },
            deadline: deadline_of(level),
            unwind: unwind.to_vec(),
        };
        self.levels().rev().map(stop).collect()
    }

    /// All servers of a zone that is not primary.
    pub(super) fn hold(
        &self,
        zone: &ZoneName,
        generation: Generation,
        deadline: Span,
    ) -> Option<PlannedStep> {
        let servers = self.runbook().servers().count();
        let hold = Step::HoldServers {
            zone: zone.clone(),
            servers,
            generation,
        };
        (servers > 0).then(|| step(hold, deadline))
    }

    /// How long that may take where nothing waits for it.
    pub(super) fn hold_time(&self) -> Span {
        hold_deadline(self.runbook().servers().count())
    }
}
