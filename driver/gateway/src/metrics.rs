//! What Prometheus sees, under `rekindle_gateway_`.

use crate::routes::Route;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use rekindle_common::ZoneName;
use std::{fmt, sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: &'static str,
}

/// What became of a body that the status might have gone into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// It is in there.
    Filled,
    /// The body is larger than the bound.
    TooLarge,
    /// It is compressed.
    Packed,
    /// It is no JSON, or has no volumes that can be read in one way.
    NoVolumes,
    /// Too many were held at once.
    NoPlace,
}

impl BodyEnd {
    fn name(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::TooLarge => "too_large",
            Self::Packed => "packed",
            Self::NoVolumes => "no_volumes",
            Self::NoPlace => "no_place",
        }
    }
}

fn durations() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

/// The gateway's metrics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    faults: Family<NameLabel, Counter>,
    in_flight: Gauge,
    actions: Gauge,
    connections: Gauge,
    upstream_open: Gauge,
    upstream_again: Counter,
    bodies: Family<NameLabel, Counter>,
    unknown: Counter,
    listed: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Of one gateway.
    #[must_use]
    pub(crate) fn new(zone: &ZoneName) -> Self {
        let mut registry =
            Registry::with_labels([("zone".into(), zone.to_string().into())].into_iter());
        let r = registry.sub_registry_with_prefix("rekindle_gateway");
        let requests = Family::default();
        r.register(
            "requests",
            "Requests by their class and the status of their answer",
            requests.clone(),
        );
        let by_route: Family<RouteLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(durations);
        r.register_with_unit(
            "request_duration",
            "From a request's head to the end of its answer",
            Unit::Seconds,
            by_route.clone(),
        );
        let faults = Family::default();
        r.register(
            "faults",
            "Answers of the gateway's own, by what went wrong",
            faults.clone(),
        );
        let in_flight = Gauge::default();
        r.register(
            "requests_in_flight",
            "Requests that are not answered in full",
            in_flight.clone(),
        );
        let actions = Gauge::default();
        r.register(
            "actions_in_flight",
            "Volume actions that the sidecar was or is about to be asked for, and has not answered",
            actions.clone(),
        );
        let connections = Gauge::default();
        r.register("connections", "Clients' connections", connections.clone());
        let upstream_open = Gauge::default();
        r.register(
            "upstream_connections",
            "Connections to Cinder, busy and idle",
            upstream_open.clone(),
        );
        let upstream_again = Counter::default();
        r.register(
            "upstream_sent_again",
            "Requests of which nothing was sent, for their kept connection had ended, and that went over another one",
            upstream_again.clone(),
        );
        let bodies = Family::default();
        r.register(
            "status_bodies",
            "Looks at volumes, by what became of the status: all but `filled` went through as they were",
            bodies.clone(),
        );
        let unknown = Counter::default();
        r.register(
            "status_unknown",
            "Volumes that were shown with an unknown status",
            unknown.clone(),
        );
        let listed = durations();
        r.register_with_unit(
            "status_list_duration",
            "The sidecar's list of volumes",
            Unit::Seconds,
            listed.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            requests,
            durations: by_route,
            faults,
            in_flight,
            actions,
            connections,
            upstream_open,
            upstream_again,
            bodies,
            unknown,
            listed,
        }))
    }

    pub(crate) fn answered(&self, route: Route, status: u16, took: Duration) {
        let route = route.name();
        self.0
            .requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
        self.0
            .durations
            .get_or_create(&RouteLabel { route })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn fault(&self, name: &'static str) {
        self.0.faults.get_or_create(&NameLabel { name }).inc();
    }

    pub(crate) fn body(&self, end: BodyEnd) {
        let name = end.name();
        self.0.bodies.get_or_create(&NameLabel { name }).inc();
    }

    pub(crate) fn unknown(&self, volumes: usize) {
        self.0.unknown.inc_by(volumes as u64);
    }

    pub(crate) fn listed(&self, took: Duration) {
        self.0.listed.observe(took.as_secs_f64());
    }

    pub(crate) fn sent_again(&self) {
        self.0.upstream_again.inc();
    }

    pub(crate) fn in_flight(&self) -> Counted {
        Counted::new(&self.0.in_flight)
    }

    pub(crate) fn action(&self) -> Counted {
        Counted::new(&self.0.actions)
    }

    pub(crate) fn connection(&self) -> Counted {
        Counted::new(&self.0.connections)
    }

    pub(crate) fn upstream(&self) -> Counted {
        Counted::new(&self.0.upstream_open)
    }

    /// In Prometheus' text form.
    ///
    /// # Errors
    /// [`fmt::Error`]: a fault of ours.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        encode(&mut out, &self.0.registry)?;
        Ok(out)
    }
}
