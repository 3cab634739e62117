//! Whether the zone's cluster takes a write now, said in time also where it does not.
//!
//! Whoever asks a sidecar for its zone's report waits a second and a half, and takes one that does not answer for dead. A probe of a
//! dead cluster takes twice as long to fail. So while the last probe that ended met silence, a report waits a moment only and says what
//! that one found; the probe that it began goes on, and finds the cluster when it is back, however slow it is then.

use crate::backend::{Backend, BackendError, BackendErrorKind};
use rekindle_common::{duration::Span, volume::Known};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::time::{Instant, timeout};

/// A cluster that is well answers in a few milliseconds.
const AFTER_SILENCE: Span = Span::millis(500);

/// What the last probe that ended met.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    silent: AtomicBool,
}

impl Pulse {
    /// How long a report may wait for the cluster, where it would wait so long for one that is well.
    pub(super) fn patience(&self, well: Span) -> Span {
        if self.silent.load(Ordering::Acquire) {
            well.min(AFTER_SILENCE)
        } else {
            well
        }
    }

    /// Probes, and says in time what is known.
    pub(super) async fn writable(self: &Arc<Self>, backend: &Backend, limit: Span) -> Known {
        let patience = self.patience(limit);
        let (this, backend) = (Arc::clone(self), backend.clone());
        // A task of its own: it ends by its own deadline, whoever waits for it.
        let probe = tokio::spawn(async move {
            let probed = backend.probe(Instant::now() + limit.get()).await;
            this.silent
                .store(probed.as_ref().is_err_and(is_silence), Ordering::Release);
            writes(probed)
        });
        match timeout(patience.get(), probe).await {
            Ok(Ok(writable)) => writable,
            Err(_) => {
                // Where that was all of its time it is as good as ended, and the next report need not wait for its last word.
                if patience >= limit {
                    self.silent.store(true, Ordering::Release);
                }
                Known::No
            }
            // It broke: a fault of ours, which says nothing of the cluster.
            Ok(Err(_)) => Known::Unknown,
        }
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
