//! The demonstration's volumes: a third of each mode.

use rekindle_common::{
    ImageSpec, Timestamp, duration::Span, mode::ReplicationMode, schedule::Schedule,
};
use serde::Serialize;
use std::fmt;

/// A volume's mode in the demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Every write.
    Instant,
    /// A snapshot now and then.
    Periodic,
    /// One snapshot.
    Once,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Instant => "instant",
            Self::Periodic => "periodic",
            Self::Once => "once",
        })
    }
}

/// A volume of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoVolume {
    /// Its image.
    pub spec: ImageSpec,
    /// How it is replicated.
    pub kind: Kind,
}

impl DemoVolume {
    /// The mode as it is ordered.
    #[must_use]
    pub fn mode(&self, start: Timestamp, interval: Span) -> ReplicationMode {
        match self.kind {
            Kind::Instant => ReplicationMode::Instant,
            Kind::Once => ReplicationMode::Once,
            Kind::Periodic => ReplicationMode::Periodic(Schedule { start, interval }),
        }
    }
}

/// `count` volumes in a pool: a third of each mode, what is left over to `instant` first.
#[must_use]
pub fn volumes(pool: &str, count: u32) -> Vec<DemoVolume> {
    let kinds = [Kind::Instant, Kind::Periodic, Kind::Once];
    let mut all: Vec<DemoVolume> = (0..count)
        .filter_map(|n| {
            let kind = *kinds.get(usize::try_from(n % 3).ok()?)?;
            // The name is made of what an image spec takes.
            let spec = ImageSpec::new(pool, format!("volume-demo-{kind}-{:02}", n / 3 + 1)).ok()?;
            Some(DemoVolume { spec, kind })
        })
        .collect();
    all.sort_by(|a, b| (a.kind, &a.spec).cmp(&(b.kind, &b.spec)));
    all
}

/// How many are of that mode.
#[must_use]
pub fn count(volumes: &[DemoVolume], kind: Kind) -> usize {
    volumes.iter().filter(|v| v.kind == kind).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_each() {
        for (n, want) in [(12, [4, 4, 4]), (3, [1, 1, 1]), (7, [3, 2, 2])] {
            let v = volumes("volumes", n);
            assert_eq!(
                [Kind::Instant, Kind::Periodic, Kind::Once].map(|k| count(&v, k)),
                want
            );
        }
    }
}
