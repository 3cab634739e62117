//! What a bench measures, round by round.

use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{fmt, time::Duration};

/// Seconds, one for each round.
#[derive(Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }
    /// The one in the middle; the mean of the two in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut s = self.0.clone();
        s.sort_by(f64::total_cmp);
        let n = s.len();
        match (s.get(n.saturating_sub(1) / 2), s.get(n / 2)) {
            (Some(a), Some(b)) => f64::midpoint(*a, *b),
            (None, _) | (_, None) => f64::NAN,
        }
    }
    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
    fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let milli = |s: f64| (s * 1000.0).round() / 1000.0;
        let all: Vec<f64> = self.0.iter().copied().map(milli).collect();
        let mut out = s.serialize_struct("Samples", 2)?;
        out.serialize_field("median_s", &milli(self.median()))?;
        out.serialize_field("samples_s", &all)?;
        out.end()
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "{:.2} s ({:.2} to {:.2})",
            self.median(),
            self.least(),
            self.most()
        );
        f.pad(&text)
    }
}
