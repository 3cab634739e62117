//! What the groups' servers count.
//!
//! Labels are groups, and words of closed sets: no server has a label of its own, for there may be thousands.

use super::Word;
use crate::wire::{ServerView, StandbyState};
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use rekindle_common::runbook::StandbyPolicy;
use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct StandbyLabels {
    group: String,
    policy: Word,
    standby: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActLabels {
    act: Word,
    end: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: Word,
}

/// Gauges of which those that nobody sets any more are taken away.
#[derive(Debug)]
struct Gauges<L> {
    family: Family<L, Gauge>,
    set: Mutex<Vec<L>>,
}

impl<L> Default for Gauges<L>
where
    L: Clone + Eq + Hash,
{
    fn default() -> Self {
        Self {
            family: Family::default(),
            set: Mutex::default(),
        }
    }
}

impl<L> Gauges<L>
where
    L: Clone + Ord + Hash + Send + Sync + std::fmt::Debug + EncodeLabelSet + 'static,
{
    fn set(&self, values: BTreeMap<L, i64>) {
        // Replaced as a whole.
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in set.iter().filter(|l| !values.contains_key(*l)) {
            self.family.remove(gone);
        }
        for (labels, value) in &values {
            self.family.get_or_create(labels).set(*value);
        }
        *set = values.into_keys().collect();
    }
}

/// A group's last daily check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreflightGlance {
    /// Whose.
    pub group: String,
    /// When.
    pub at: Timestamp,
    /// How many gaps.
    pub gaps: usize,
    /// How much was not checked.
    pub unchecked: usize,
}

/// Stand-bys, records, what was done about them, and the daily checks.
#[derive(Debug)]
pub struct ServerMetrics {
    servers: Gauges<StandbyLabels>,
    troubled: Gauges<OfGroup>,
    oldest: Gauges<OfGroup>,
    acts: Family<ActLabels, Counter>,
    took: Family<StepLabels, Histogram>,
    gaps: Gauges<OfGroup>,
    unchecked: Gauges<OfGroup>,
    checked: Gauges<OfGroup>,
}

impl ServerMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = Self {
            servers: Gauges::default(),
            troubled: Gauges::default(),
            oldest: Gauges::default(),
            acts: Family::default(),
            // From a tenth of a second to half an hour.
            took: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.1, 3.0, 10))
            }),
            gaps: Gauges::default(),
            unchecked: Gauges::default(),
            checked: Gauges::default(),
        };
        registry.register(
            "servers",
            "Protected servers, by their policy and by what their stand-by does",
            new.servers.family.clone(),
        );
        registry.register(
            "servers_troubled",
            "Protected servers that something is in the way of",
            new.troubled.family.clone(),
        );
        registry.register(
            "servers_oldest_record_seconds",
            "When the oldest of a group's records was taken, in Unix time; 0 where a server has none",
            new.oldest.family.clone(),
        );
        registry.register(
            "server_acts",
            "What was done about records and stand-bys: kept, described with a volume, held, removed, built; builds that came to nothing, forgotten",
            new.acts.clone(),
        );
        registry.register(
            "server_seconds",
            "How long single servers took to start, stop or be held within a plan, until they served",
            new.took.clone(),
        );
        registry.register(
            "preflight_gaps",
            "What the last daily check of a group found missing",
            new.gaps.family.clone(),
        );
        registry.register(
            "preflight_unchecked",
            "What the last daily check of a group could not look at",
            new.unchecked.family.clone(),
        );
        registry.register(
            "preflight_last_seconds",
            "When a group was last checked, in Unix time",
            new.checked.family.clone(),
        );
        new
    }

    /// A round of the keeper has ended.
    pub fn round(&self, views: &[ServerView]) {
        let mut servers: BTreeMap<StandbyLabels, i64> = BTreeMap::new();
        let mut troubled: BTreeMap<OfGroup, i64> = BTreeMap::new();
        let mut oldest: BTreeMap<OfGroup, i64> = BTreeMap::new();
        for view in views {
            let group = OfGroup {
                group: view.group.to_string(),
            };
            let labels = StandbyLabels {
                group: group.group.clone(),
                policy: policy(view.standby),
                standby: state(view.standby_state),
            };
            *servers.entry(labels).or_default() += 1;
            *troubled.entry(group.clone()).or_default() += i64::from(view.trouble.is_some());
            let at = view.recorded_at.map_or(0, Timestamp::as_second);
            let least = oldest.entry(group).or_insert(at);
            *least = at.min(*least);
        }
        self.servers.set(servers);
        self.troubled.set(troubled);
        self.oldest.set(oldest);
    }

    /// Another site leads, or no round was made yet.
    pub fn clear(&self) {
        self.round(&[]);
    }

    /// Something was done about a stand-by, or was not.
    pub fn act(&self, act: &'static str, good: bool) {
        let end = Word(if good { "done" } else { "failed" });
        let act = Word(act);
        self.acts.get_or_create(&ActLabels { act, end }).inc();
    }

    /// A server is as a step was to make it.
    pub fn took(&self, step: &'static str, took: Duration) {
        let labels = StepLabels { step: Word(step) };
        self.took.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The groups' last daily checks; those of no other are known.
    pub fn preflights(&self, last: Vec<PreflightGlance>) {
        let of = |value: &dyn Fn(&PreflightGlance) -> i64| {
            let labels = |g: &PreflightGlance| OfGroup {
                group: g.group.clone(),
            };
            last.iter().map(|g| (labels(g), value(g))).collect()
        };
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.gaps.set(of(&|g| count(g.gaps)));
        self.unchecked.set(of(&|g| count(g.unchecked)));
        self.checked.set(of(&|g| g.at.as_second()));
    }
}

fn policy(policy: StandbyPolicy) -> Word {
    Word(match policy {
        StandbyPolicy::Shutoff => "shutoff",
        StandbyPolicy::Shelved => "shelved",
        StandbyPolicy::Record => "record",
        StandbyPolicy::None => "none",
    })
}

fn state(state: StandbyState) -> Word {
    Word(match state {
        StandbyState::NotLookedAt => "not_looked_at",
        StandbyState::Unknown => "unknown",
        StandbyState::Absent => "absent",
        StandbyState::Resting => "resting",
        StandbyState::Running => "running",
        StandbyState::Changing => "changing",
        StandbyState::Failed => "failed",
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        metrics::Metrics,
        wire::{ServerView, StandbyState},
    };
    use rekindle_common::runbook::StandbyPolicy;

    fn view(group: &str, key: usize, state: StandbyState) -> ServerView {
        ServerView {
            group: group.parse().unwrap(),
            key: format!("s{key}").parse().unwrap(),
            standby: StandbyPolicy::Shutoff,
            standby_state: state,
            primary: None,
            serving: None,
            stands_by: None,
            recorded_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            instances: Default::default(),
            trouble: (state == StandbyState::Failed).then(|| "words".to_owned()),
        }
    }

    #[test]
    fn servers_are_counted_and_none_has_a_label_of_its_own() {
        let metrics = Metrics::default();
        let mut views: Vec<ServerView> = (0..5000)
            .map(|n| view("shop", n, StandbyState::Resting))
            .collect();
        views.push(view("shop", 5000, StandbyState::Failed));
        views[0].recorded_at = Some("2025-12-31T00:00:00Z".parse().unwrap());
        metrics.servers.round(&views);
        let text = metrics.text();
        let prefix = "rekindle_orchestrator";
        for line in [
            format!(
                "{prefix}_servers{{group=\"shop\",policy=\"shutoff\",standby=\"resting\"}} 5000"
            ),
            format!("{prefix}_servers{{group=\"shop\",policy=\"shutoff\",standby=\"failed\"}} 1"),
            format!("{prefix}_servers_troubled{{group=\"shop\"}} 1"),
            format!("{prefix}_servers_oldest_record_seconds{{group=\"shop\"}} 1767139200"),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(text.len() < 16 * 1024, "{}", text.len());
        // What nobody counts any more is not there any more.
        metrics
            .servers
            .round(&[view("lab", 0, StandbyState::Absent)]);
        let text = metrics.text();
        assert!(
            text.contains("group=\"lab\"") && !text.contains("group=\"shop\""),
            "{text}"
        );
        metrics.leads(false);
        assert!(!metrics.text().contains("group=\"lab\""));
    }
}
