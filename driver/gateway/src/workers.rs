//! The threads that serve clients, one for each core, each with a runtime of its own.
//!
//! ```text
//!   accepted ── the thread with the fewest clients ── all of a client's requests, and the connections to Cinder that they make
//! ```
//!
//! Where threads share their tasks, what comes in on one is often carried on by another, which has to be woken for it: for a small answer
//! that costs as much as to pass it on. So a connection stays where it was given to, and the connections to Cinder are kept by thread too.

use std::{
    cell::Cell,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// How many there are.
pub(crate) fn count() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Which of them this is. Other threads count as the first: they have none of their own.
pub(crate) fn current() -> usize {
    PLACE.get()
}

/// Has this thread count as another.
#[cfg(test)]
pub(crate) fn count_as(n: usize) {
    PLACE.set(n);
}

struct Worker {
    runtime: Handle,
    clients: Arc<AtomicUsize>,
    /// Dropped, the thread ends.
    _stop: oneshot::Sender<()>,
}

/// All of them. Dropped, they end, and what they still do is given up.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// # Errors
    /// The machine has no thread for it, or no file.
    pub(crate) fn start() -> io::Result<Self> {
        (0..count()).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Gives one of them something to do for a client.
    pub(crate) fn serve(
        &self,
        tracker: &TaskTracker,
        client: impl Future<Output = ()> + Send + 'static,
    ) {
        let fewest = |w: &&Worker| w.clients.load(Ordering::Relaxed);
        let Some(worker) = self.0.iter().min_by_key(fewest) else {
            return;
        };
        worker.clients.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&worker.clients));
        let client = async move {
            let _counted = counted;
            client.await;
        };
        tracker.spawn_on(client, &worker.runtime);
    }
}

/// One of a worker's clients.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start(n: usize) -> io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name(format!("clients-{n}"))
        .spawn(move || {
            PLACE.set(n);
            // Its sender only ever goes.
            let _ = runtime.block_on(stopped);
            // A name that no resolver answers for is looked up by a thread that nothing stops.
            runtime.shutdown_background();
        })?;
    Ok(Worker {
        runtime: handle,
        clients: Arc::default(),
        _stop: stop,
    })
}
