//! What Prometheus sees, under `rekindle_driver_`.

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use rekindle_common::{
    ErrorCode, GroupName, ImageSpec, ZoneName,
    volume::{Lag, Role, VolumeReport},
};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VolumeLabels {
    pool: String,
    image: String,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
    code: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    action: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    group: String,
}

type Seconds = Gauge<f64, AtomicU64>;

fn durations() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0])
}

/// The sidecar's metrics.
pub struct Metrics {
    registry: Registry,
    lag: Family<VolumeLabels, Seconds>,
    entries: Family<VolumeLabels, Gauge>,
    last_sync: Family<VolumeLabels, Seconds>,
    primary: Family<VolumeLabels, Gauge>,
    healthy: Family<VolumeLabels, Gauge>,
    actions: Family<ActionLabels, Counter>,
    durations: Family<KindLabel, Histogram, fn() -> Histogram>,
    lease: Family<GroupLabel, Seconds>,
    threads_busy: Gauge,
    threads_lost: Gauge,
    shown: Mutex<BTreeSet<ImageSpec>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new(zone: &ZoneName) -> Self {
        let mut registry =
            Registry::with_labels([("zone".into(), zone.to_string().into())].into_iter());
        let r = registry.sub_registry_with_prefix("rekindle_driver");
        let lag = Family::default();
        r.register_with_unit(
            "lag",
            "Snapshot mode: how much newer the primary's newest mirror snapshot is than the copy's",
            Unit::Seconds,
            lag.clone(),
        );
        let entries = Family::default();
        r.register(
            "lag_entries",
            "Journal mode: entries not yet replayed",
            entries.clone(),
        );
        let last_sync = Family::default();
        r.register_with_unit(
            "last_sync_age",
            "Age of the moment that the copy shows",
            Unit::Seconds,
            last_sync.clone(),
        );
        let primary = Family::default();
        r.register(
            "primary",
            "1 where this zone's image is primary",
            primary.clone(),
        );
        let healthy = Family::default();
        r.register("healthy", "1 where nothing is of concern", healthy.clone());
        let actions = Family::default();
        r.register(
            "actions",
            "Actions by how they ended; code ok is success",
            actions.clone(),
        );
        let durations: Family<KindLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(durations);
        r.register_with_unit(
            "action_duration",
            "From taking an action up to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let lease = Family::default();
        r.register_with_unit(
            "lease_left",
            "Time until this sidecar must demote the group",
            Unit::Seconds,
            lease.clone(),
        );
        let threads_busy = Gauge::default();
        r.register(
            "call_threads_busy",
            "Threads in a librbd or librados call",
            threads_busy.clone(),
        );
        let threads_lost = Gauge::default();
        r.register(
            "call_threads_lost",
            "Threads in a call that was given up on",
            threads_lost.clone(),
        );
        Self {
            registry,
            lag,
            entries,
            last_sync,
            primary,
            healthy,
            actions,
            durations,
            lease,
            threads_busy,
            threads_lost,
            shown: Mutex::default(),
        }
    }

    pub(crate) fn action(&self, action: &'static str, code: Option<ErrorCode>, took: Duration) {
        let code = code.map_or("ok", ErrorCode::as_str);
        self.actions
            .get_or_create(&ActionLabels { action, code })
            .inc();
        self.durations
            .get_or_create(&KindLabel { action })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn volume(&self, r: &VolumeReport, now: Timestamp) {
        let labels = labels(&r.volume);
        match r.lag {
            Lag::None => {
                self.lag.get_or_create(&labels).set(0.0);
                self.entries.get_or_create(&labels).set(0);
            }
            Lag::Time { behind } => {
                self.lag
                    .get_or_create(&labels)
                    .set(behind.get().as_secs_f64());
            }
            Lag::Entries { behind } => {
                let n = i64::try_from(behind).unwrap_or(i64::MAX);
                self.entries.get_or_create(&labels).set(n);
            }
            // An old figure would be a lie, and 0 a worse one.
            Lag::Unknown => {
                self.lag.remove(&labels);
                self.entries.remove(&labels);
            }
        }
        match r.last_sync {
            Some(s) => {
                let age = now.duration_since(s.at).as_secs_f64();
                self.last_sync.get_or_create(&labels).set(age.max(0.0));
            }
            None => {
                self.last_sync.remove(&labels);
            }
        }
        let primary = match r.role {
            Role::Primary => Some(1),
            Role::Secondary | Role::NotMirrored => Some(0),
            Role::Unknown => None,
        };
        match primary {
            Some(is) => {
                self.primary.get_or_create(&labels).set(is);
            }
            None => {
                self.primary.remove(&labels);
            }
        }
        let healthy = i64::from(r.concerns.is_empty());
        self.healthy.get_or_create(&labels).set(healthy);
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(r.volume.clone());
    }

    /// Volumes that are gone are no longer shown.
    pub(crate) fn keep_only<'a>(&self, volumes: impl Iterator<Item = &'a ImageSpec>) {
        let now: BTreeSet<ImageSpec> = volumes.cloned().collect();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in shown.difference(&now) {
            let labels = labels(gone);
            self.lag.remove(&labels);
            self.entries.remove(&labels);
            self.last_sync.remove(&labels);
            self.primary.remove(&labels);
            self.healthy.remove(&labels);
        }
        *shown = now;
    }

    pub(crate) fn lease(&self, group: &GroupName, left: Duration) {
        let label = GroupLabel {
            group: group.to_string(),
        };
        self.lease.get_or_create(&label).set(left.as_secs_f64());
    }

    /// The state of the threads that call librbd.
    pub fn call_threads(&self, busy: usize, lost: usize) {
        let n = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.threads_busy.set(n(busy));
        self.threads_lost.set(n(lost));
    }

    /// In Prometheus' text form.
    ///
    /// # Errors
    /// [`fmt::Error`]: a fault of ours.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

fn labels(spec: &ImageSpec) -> VolumeLabels {
    VolumeLabels {
        pool: spec.pool().to_owned(),
        image: spec.image().to_owned(),
    }
}
