//! The clock that leases are counted on.

use super::keeper::Moment;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::time::Instant;

/// Moments start here, so that "a ttl ago" can be said of the first one.
const BASE: Duration = Duration::from_secs(86_400);

/// A monotonic clock.
#[derive(Debug, Clone, Copy)]
pub enum LeaseClock {
    /// The machine's `CLOCK_BOOTTIME`: unlike the monotonic clock it counts while the machine is suspended, as etcd does
    /// (hard case 3).
    Machine,
    /// tokio's, which a test may pause.
    Tokio {
        /// Its nought.
        origin: Instant,
    },
}

impl LeaseClock {
    /// tokio's clock, from now on.
    #[must_use]
    pub fn tokio() -> Self {
        Self::Tokio {
            origin: Instant::now(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(self) -> Moment {
        BASE + match self {
            Self::Machine => {
                let t = clock_gettime(ClockId::Boottime);
                // The kernel gives neither as negative.
                Duration::new(
                    u64::try_from(t.tv_sec).unwrap_or_default(),
                    u32::try_from(t.tv_nsec).unwrap_or_default(),
                )
            }
            Self::Tokio { origin } => origin.elapsed(),
        }
    }
}
