//! What time it is: the machine's, or a simulation's.
//!
//! Deadlines and leases count with tokio's monotonic clock everywhere. The wall clock is asked for reports and schedules
//! only; it is a value here so that a test under paused time sees both move together.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A wall clock.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's.
    System,
    /// Starts at `epoch` and moves with tokio's clock, which a test may pause.
    Simulated {
        /// The wall time at `origin`.
        epoch: Timestamp,
        /// The monotonic time that it belongs to.
        origin: Instant,
    },
}

impl Clock {
    /// A simulated clock that shows the machine's time now and moves with tokio's from here on.
    #[must_use]
    pub fn simulated() -> Self {
        Self::Simulated {
            epoch: Timestamp::now(),
            origin: Instant::now(),
        }
    }

    /// The wall time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Simulated { .. } => self.at(Instant::now()),
        }
    }

    /// The wall time at a monotonic moment. For the system clock: reckoned from now.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Timestamp {
        let (epoch, origin) = match *self {
            Self::System => (Timestamp::now(), Instant::now()),
            Self::Simulated { epoch, origin } => (epoch, origin),
        };
        let step = |d| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
        if moment >= origin {
            epoch.saturating_add(step(moment - origin))
        } else {
            epoch.saturating_sub(step(origin - moment))
        }
        .unwrap_or(epoch)
    }
}
