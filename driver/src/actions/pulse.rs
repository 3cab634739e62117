//! Whether the zone's cluster takes a write now, said in time also where it does not.
//!
//! Whoever asks a sidecar for its zone's report waits a second and a half, and takes one that does not answer for dead. A probe of a
//! dead cluster takes twice as long to fail. So while the last probe that ended heard nothing, a report waits a moment only and says what
//! that one found; the probe that it began goes on, and finds the cluster when it is back, however slow it is then.

use crate::backend::{Backend, BackendError, BackendErrorKind};
use rekindle_common::{duration::Span, volume::Known};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// A cluster that is well answers in a few milliseconds.
const AFTER_SILENCE: Span = Span::millis(500);
/// What a probe gets beyond its deadline to say how it ended: whether it had begun at all is its own to say.
const OWN_WORD: Duration = Duration::from_millis(200);

/// What the last probe that ended met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    /// The cluster spoke. Also before the first one.
    #[default]
    Spoke,
    /// It did not.
    Silent,
    /// Nothing was asked of it, for want of a thread here.
    NotAsked,
}

/// What the last probe that ended met.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    last: Mutex<Last>,
}

impl Pulse {
    fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn note(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// How long a report may wait for the cluster, where it would wait so long for one that is well.
    pub(super) fn patience(&self, well: Span) -> Span {
        match self.last() {
            Last::Spoke => well,
            Last::Silent | Last::NotAsked => well.min(AFTER_SILENCE),
        }
    }

    /// Probes, and says in time what is known.
    pub(super) async fn writable(self: &Arc<Self>, backend: &Backend, limit: Span) -> Known {
        let before = self.last();
        let patience = match before {
            Last::Spoke => limit.get() + OWN_WORD,
            Last::Silent | Last::NotAsked => self.patience(limit).get(),
        };
        let (this, backend) = (Arc::clone(self), backend.clone());
        // A task of its own: it ends by its own deadline, whoever waits for it.
        let probe = tokio::spawn(async move {
            let probed = backend.probe(Instant::now() + limit.get()).await;
            this.note(met(&probed));
            writes(probed)
        });
        match (timeout(patience, probe).await, before) {
            (Ok(Ok(writable)), _) => writable,
            // It broke: a fault of ours, which says nothing of the cluster.
            (Ok(Err(_)), _) => Known::Unknown,
            (Err(_), Last::Silent) => Known::No,
            (Err(_), Last::NotAsked) => Known::Unknown,
            // It overran its own deadline: this process does not get on. The next report need not wait for its last word.
            (Err(_), Last::Spoke) => {
                self.note(Last::NotAsked);
                Known::Unknown
            }
        }
    }
}

fn met(probed: &Result<(), BackendError>) -> Last {
    match probed {
        Err(e) if is_silence(e) => Last::Silent,
        Err(e) if e.kind == BackendErrorKind::NotBegun => Last::NotAsked,
        Ok(()) | Err(_) => Last::Spoke,
    }
}

fn is_silence(e: &BackendError) -> bool {
    matches!(
        e.kind,
        BackendErrorKind::Deadline | BackendErrorKind::Unreachable
    )
}

fn writes(probed: Result<(), BackendError>) -> Known {
    match probed {
        Ok(()) => Known::Yes,
        Err(e) if e.kind == BackendErrorKind::Full => Known::No,
        // No answer in time: writes do not go through now. Whether they will is not known.
        Err(e) if is_silence(&e) => Known::No,
        Err(_) => Known::Unknown,
    }
}
