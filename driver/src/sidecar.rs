//! The sidecar as a whole: built of its parts, run until it is told to stop.
//!
//! ```text
//!   Parts (backend, leases, clock) -> Sidecar::new -> with_task(leases, schedules) -> listen -> run(stop)
//!                                         |
//!                                         +-- volumes(): the same operations in process, without HTTP
//! ```

use crate::{
    actions::{Parts, Volumes},
    cinder::{self, Cinder, CinderLimits, Side},
    routes::{self, Ready},
};
use futures::future::BoxFuture;
use rekindle_net::{Bound, Drained, ListenConfig, Orchestrators, ServeError, Server};
use std::{fmt, time::Duration};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two tries to read what a former run left, while the cluster does not answer.
const RESTORE_PAUSE: Duration = Duration::from_secs(2);

/// Something that runs beside the server: the lease keeper, the schedules. It ends when the token is cancelled.
pub type Task =
    Box<dyn FnOnce(Volumes, CancellationToken) -> BoxFuture<'static, ()> + Send + 'static>;

/// A sidecar that does not run yet.
pub struct Sidecar {
    volumes: Volumes,
    ready: Ready,
    server: Server,
    limits: rekindle_net::Limits,
    tasks: Vec<Task>,
    cinder: Option<Cinder>,
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sidecar")
            .field("zone", self.volumes.zone_name())
            .finish_non_exhaustive()
    }
}

impl Sidecar {
    /// Of these parts, without listeners.
    #[must_use]
    pub fn new(parts: Parts, limits: rekindle_net::Limits) -> Self {
        Self::of(Volumes::new(parts), limits)
    }

    /// Of actions that are built already, without listeners.
    #[must_use]
    pub fn of(volumes: Volumes, limits: rekindle_net::Limits) -> Self {
        Self {
            volumes,
            ready: Ready::default(),
            server: Server::new(limits),
            limits,
            tasks: Vec::new(),
            cinder: None,
        }
    }

    /// Runs this too.
    #[must_use]
    pub fn with_task(mut self, task: Task) -> Self {
        self.tasks.push(task);
        self
    }

    /// Answers Cinder's hooks too, on unix sockets. What belongs to a group is these orchestrators' to move.
    #[must_use]
    pub fn with_cinder(
        mut self,
        peer: Option<(String, Side)>,
        orchestrators: Orchestrators,
        limits: CinderLimits,
    ) -> Self {
        let own = Side::own(self.volumes.clone(), self.ready.clone());
        let cinder = Cinder::new(own, peer, orchestrators, limits);
        self.cinder = Some(cinder.clone());
        self.with_task(Box::new(move |_, stop| {
            Box::pin(async move { cinder.watch(stop).await })
        }))
    }

    /// The sidecar's operations in process; what HTTP offers, no more.
    #[must_use]
    pub fn volumes(&self) -> Volumes {
        self.volumes.clone()
    }

    /// Whether it has started up.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Serves the whole API there.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn listen(&mut self, at: &ListenConfig) -> Result<Bound, ServeError> {
        let mut router = routes::api(self.volumes.clone(), self.ready.clone());
        // Cinder's calls carry no generation: they come from beside the sidecar, and from nowhere else.
        if let (ListenConfig::Unix { .. }, Some(cinder)) = (at, &self.cinder) {
            router = router.merge(cinder::routes::api(cinder.clone()));
        }
        self.server.listen(at, router).await
    }

    /// Serves the probes and the metrics there, and nothing else.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn listen_probes(&mut self, at: &ListenConfig) -> Result<Bound, ServeError> {
        let router = routes::probes(self.volumes.clone(), &self.ready);
        self.server.listen(at, router).await
    }

    /// Runs until `stop`: then begins no new action, finishes what is in flight within the drain time, and ends its tasks
    /// last, so that the leases are kept as long as something is still written.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        let Self {
            volumes,
            ready,
            server,
            limits,
            tasks,
            cinder: _,
        } = self;
        let tasks_stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        for task in tasks {
            tracker.spawn(task(volumes.clone(), tasks_stop.clone()));
        }
        tracker.spawn(start_up(volumes.clone(), ready.clone(), tasks_stop.clone()));
        let drain = {
            let (volumes, ready, stop) = (volumes.clone(), ready.clone(), stop.clone());
            async move {
                stop.cancelled().await;
                ready.set(false);
                volumes.drain(Instant::now() + limits.drain_time).await;
            }
        };
        let (drained, ()) = tokio::join!(server.run(stop), drain);
        tasks_stop.cancel();
        tracker.close();
        if tokio::time::timeout(limits.drain_time, tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("a background task did not end in time");
        }
        drained
    }
}

/// Ready once what a former run left is known: a frozen zone must not act because its sidecar was restarted.
async fn start_up(volumes: Volumes, ready: Ready, stop: CancellationToken) {
    loop {
        match volumes.restore().await {
            Ok(()) => {
                if !stop.is_cancelled() {
                    ready.set(true);
                    tracing::info!(zone = %volumes.zone_name(), sidecar = volumes.instance(), "ready");
                }
                return;
            }
            Err(e) => {
                tracing::warn!(zone = %volumes.zone_name(), error = %e, "not ready: the cluster does not answer yet");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTORE_PAUSE) => {}
        }
    }
}
