//! What is counted, for Prometheus.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use rekindle_core::{plan::PlanKind, saga::End};
use std::{fmt, time::Duration};

/// A label's value that comes from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(pub &'static str);
impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlanLabels {
    kind: Word,
    end: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: Word,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ZoneLabels {
    zone: String,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    group: String,
}

mod catalogue;
mod servers;

pub use catalogue::CatalogueMetrics;
pub use servers::{PreflightGlance, ServerMetrics};

/// All of an orchestrator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    leading: Gauge,
    plans: Family<PlanLabels, Counter>,
    steps: Family<StepLabels, Histogram>,
    not_helped: Family<StepLabels, Counter>,
    looks: Histogram,
    answering: Family<ZoneLabels, Gauge>,
    unprotected: Family<GroupLabels, Gauge>,
    asking: Family<GroupLabels, Gauge>,
    problems: Gauge,
    /// Of the other zone's catalogue.
    pub catalogue: CatalogueMetrics,
    /// Of the groups' servers.
    pub servers: ServerMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rekindle_orchestrator");
        let leading = Gauge::default();
        let plans = Family::default();
        let steps: Family<StepLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 3.0, 12)));
        let not_helped = Family::default();
        let looks = Histogram::new(exponential_buckets(0.005, 2.0, 12));
        let answering = Family::default();
        let unprotected = Family::default();
        let asking = Family::default();
        let problems = Gauge::default();
        registry.register("leading", "1 while this site leads", leading.clone());
        registry.register("plans_ended", "Plans that this site ended", plans.clone());
        registry.register("step_seconds", "How long steps took", steps.clone());
        registry.register(
            "servers_not_helped",
            "Servers that a step could not stop, hold or start",
            not_helped.clone(),
        );
        registry.register(
            "look_seconds",
            "How long a look at everything took",
            looks.clone(),
        );
        registry.register(
            "zone_answers",
            "1 while the zone's sidecar answers the leader",
            answering.clone(),
        );
        registry.register(
            "group_unprotected",
            "1 while the group has no second copy in step",
            unprotected.clone(),
        );
        registry.register(
            "group_asks_operator",
            "1 while a decision about the group waits for a person",
            asking.clone(),
        );
        registry.register(
            "problems",
            "Things that a person must look at",
            problems.clone(),
        );
        let catalogue = CatalogueMetrics::registered(&mut registry);
        let server_metrics = ServerMetrics::registered(&mut registry);
        Self {
            catalogue,
            servers: server_metrics,
            registry,
            leading,
            plans,
            steps,
            not_helped,
            looks,
            answering,
            unprotected,
            asking,
            problems,
        }
    }
}

impl Metrics {
    /// Whether this site leads. What only the leader knows is dropped when it no longer does.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
        if !leads {
            self.answering.clear();
            self.unprotected.clear();
            self.asking.clear();
            self.problems.set(0);
            self.servers.clear();
            self.servers.preflights(Vec::new());
        }
    }
    /// A plan has ended.
    pub fn plan_ended(&self, kind: PlanKind, end: End) {
        let kind = Word(match kind {
            PlanKind::Failover => "failover",
            PlanKind::Move => "move",
            PlanKind::Failback => "failback",
            PlanKind::Reprotect => "reprotect",
            PlanKind::Resume => "resume",
        });
        let end = Word(match end {
            End::Succeeded => "succeeded",
            End::Partial => "partial",
            End::Abandoned => "abandoned",
            End::Unwound => "unwound",
            End::GivenUp => "given_up",
            End::Overtaken => "overtaken",
        });
        self.plans.get_or_create(&PlanLabels { kind, end }).inc();
    }
    /// A step has ended, one way or the other.
    pub fn step_ended(&self, step: &'static str, took: Duration) {
        self.steps
            .get_or_create(&StepLabels { step: Word(step) })
            .observe(took.as_secs_f64());
    }
    /// A step has ended, and so many servers need a person.
    pub fn servers_failed(&self, step: &'static str, servers: usize) {
        if let Ok(n @ 1..) = u64::try_from(servers) {
            let labels = StepLabels { step: Word(step) };
            self.not_helped.get_or_create(&labels).inc_by(n);
        }
    }
    /// A look at everything was made.
    pub fn looked(&self, took: Duration, problems: usize) {
        self.looks.observe(took.as_secs_f64());
        self.problems
            .set(i64::try_from(problems).unwrap_or(i64::MAX));
    }
    /// Whether a zone's sidecar answered.
    pub fn zone_answers(&self, zone: &str, answers: bool) {
        self.answering
            .get_or_create(&ZoneLabels {
                zone: zone.to_owned(),
            })
            .set(i64::from(answers));
    }
    /// How a group stands.
    pub fn group(&self, group: &str, unprotected: bool, asks: bool) {
        let labels = GroupLabels {
            group: group.to_owned(),
        };
        self.unprotected
            .get_or_create(&labels)
            .set(i64::from(unprotected));
        self.asking.get_or_create(&labels).set(i64::from(asks));
    }
    /// In Prometheus' text form.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
