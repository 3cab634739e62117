//! After a call that failed there is none for a while: whoever is away is not waited for by each request anew.

use std::time::Duration;
use tokio::time::Instant;

/// How long.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);
/// What fails sooner holds nobody up.
const QUICK: Duration = Duration::from_millis(50);

/// Whether there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pause {
    until: Option<Instant>,
    /// When a failure was last logged.
    told: Option<Instant>,
}

impl Pause {
    /// No call is to be made now.
    pub(crate) fn holds(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// A call failed, whatever it took.
    pub(crate) fn begin(&mut self) {
        self.until = Some(Instant::now() + PAUSE);
    }

    /// A call that was made at `began` failed. One that did so at once begins no pause: it costs nobody anything to ask again, and
    /// a sidecar that is back answers at once.
    pub(crate) fn begin_unless_quick(&mut self, began: Instant) {
        if began.elapsed() >= QUICK {
            self.begin();
        }
    }

    /// There was an answer.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// Whether a failure is worth a line in the log: where none begins a pause, each request has one.
    pub(crate) fn is_news(&mut self) -> bool {
        let is = self.told.is_none_or(|at| at.elapsed() >= PAUSE);
        if is {
            self.told = Some(Instant::now());
        }
        is
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_held_somebody_up_begins_a_pause() {
        let mut pause = Pause::default();
        assert!(!pause.holds());
        let began = Instant::now();
        tokio::time::advance(QUICK - Duration::from_millis(1)).await;
        pause.begin_unless_quick(began);
        assert!(!pause.holds());
        tokio::time::advance(Duration::from_millis(1)).await;
        pause.begin_unless_quick(began);
        assert!(pause.holds());
        tokio::time::advance(PAUSE).await;
        assert!(!pause.holds());
        pause.begin();
        assert!(pause.holds());
        pause.end();
        assert!(!pause.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_many_failures_in_a_row_is_logged() {
        let mut pause = Pause::default();
        assert!(pause.is_news());
        assert!(!pause.is_news());
        tokio::time::advance(PAUSE).await;
        assert!(pause.is_news());
        pause.end();
        assert!(pause.is_news(), "it was there meanwhile");
    }
}
