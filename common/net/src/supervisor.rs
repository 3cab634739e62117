//! What is said to the supervisor: `sd_notify(3)`, where a systemd unit of `Type=notify` runs us. Elsewhere it does nothing.

use sd_notify::NotifyState;
use std::{future::Future, io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

fn say(state: &[NotifyState<'_>]) {
    // A supervisor that does not listen is no reason to stop.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the supervisor was not told");
    }
}

/// It serves: units that are ordered after it may start.
pub fn started(status: &str) {
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It was told to stop, and finishes what is in flight.
fn stopping() {
    say(&[
        NotifyState::Stopping,
        NotifyState::Status("draining: what is in flight ends first"),
    ]);
}

/// What tells a daemon to stop: SIGTERM and SIGINT. From [`StopSignals::listen`] on they do not kill, and are kept.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens for both.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// At the first one logs this word, tells the supervisor and cancels `stop`. To be aborted where the work ended by itself.
    pub fn cancel(mut self, stop: CancellationToken, word: &'static str) -> JoinHandle<()> {
        tokio::spawn(async move {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            tracing::info!("{word}");
            stopping();
            stop.cancel();
        })
    }
}

/// Runs `work`, and meanwhile shows the supervisor that the runtime still turns, as often as its `WatchdogSec` asks. A process
/// that hangs is restarted by it, and a sidecar that starts demotes what it holds no lease for.
pub async fn watched<T>(work: impl Future<Output = T>) -> T {
    let alive = async {
        match sd_notify::watchdog_enabled() {
            None => std::future::pending().await,
            Some(limit) => loop {
                // A supervisor that does not read must not hold up a thread of ours.
                let _ = tokio::task::spawn_blocking(|| say(&[NotifyState::Watchdog])).await;
                // sd_watchdog_enabled(3) recommends half of it.
                tokio::time::sleep((limit / 2).max(Duration::from_millis(1))).await;
            },
        }
    };
    tokio::select! {
        ended = work => ended,
        never = alive => never,
    }
}
