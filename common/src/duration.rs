//! Durations as people write them: `30s`, `15m`, `1h 30m`.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time that is written `30s`, `15m`, `200ms` in JSON and TOML.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a duration: write it as 30s, 15m or 1h 30m")]
pub struct InvalidSpan {
    given: String,
}

impl Span {
    /// That many seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
    /// That many milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }
    /// For people: no finer than a tenth of a second, rounded down.
    #[must_use]
    pub fn tenths(self) -> Self {
        let tenths = self.0.subsec_millis() / 100;
        Self(Duration::new(self.0.as_secs(), tenths * 100_000_000))
    }
    /// As the standard library's type.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}
impl From<Duration> for Span {
    fn from(d: Duration) -> Self {
        Self(d)
    }
}
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(d) => write!(f, "{d:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        // A day has 24 hours here: calendars have no say in a replication interval.
        let refuse = || InvalidSpan {
            given: s.chars().take(64).collect(),
        };
        let (s, days) = match s.strip_suffix('d').map(str::trim_end) {
            Some(n) => ("0s", n.parse::<u32>().map_err(|_| refuse())?),
            None => (s, 0),
        };
        let d: jiff::SignedDuration = s.parse().map_err(|_| refuse())?;
        let d = Duration::try_from(d).map_err(|_| refuse())?;
        Ok(Self(d + Duration::from_secs(u64::from(days) * 86_400)))
    }
}
impl TryFrom<String> for Span {
    type Error = InvalidSpan;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}
impl From<Span> for String {
    fn from(s: Span) -> String {
        s.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        for (text, secs) in [
            ("30s", 30),
            ("15m", 900),
            ("1h 30m", 5400),
            ("365d", 31_536_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span::secs(secs)), "{text}");
        }
        for bad in ["", "abc", "-5s", "30", "1x", "d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn tenths_are_rounded_down() {
        assert_eq!(
            Span(Duration::from_micros(3_499_999)).tenths(),
            Span::millis(3400)
        );
        assert_eq!(
            Span(Duration::from_nanos(99_999_999)).tenths(),
            Span::secs(0)
        );
    }

    #[test]
    fn a_printed_span_reads_back() {
        for s in [Span::secs(0), Span::millis(1500), Span::secs(90_061)] {
            assert_eq!(s.to_string().parse::<Span>(), Ok(s), "{s}");
        }
    }
}
