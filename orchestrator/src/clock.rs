//! What time it is on the wall. Times that decide anything are counted with tokio's monotonic clock; the wall clock is for
//! records and for people. It is a value, so that a test under paused time sees both move together.

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

    /// The wall time now (UTC).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Simulated { epoch, origin } => {
                let passed = SignedDuration::try_from(origin.elapsed());
                passed
                    .ok()
                    .and_then(|d| epoch.checked_add(d).ok())
                    .unwrap_or(*epoch)
            }
        }
    }
}
