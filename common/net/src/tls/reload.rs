//! Certificates are renewed while programs run: their files are looked at again when a connection is made.
//!
//! ```text
//!   current() ── looked at a moment ago: as they were
//!             └─ stat of the files ────── as before: as they were
//!                                        └─ changed: read ── usable: taken up
//!                                                         └─ not: a WARN once, and as they were
//! ```
//!
//! Files that are replaced one after the other do not fit each other for a moment; the next change ends that. So what is refused
//! is not an error here: the old certificates serve until they end.

use super::TlsError;
use crate::client::with_cause;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The files are looked at no more often than this: anybody may knock as often as they like.
const LOOK_EVERY: Duration = Duration::from_millis(500);

type Read<T> = Box<dyn Fn() -> Result<Arc<T>, TlsError> + Send + Sync>;

/// What files were made into, and how they looked then.
pub(crate) struct Reloading<T> {
    files: Vec<PathBuf>,
    read: Read<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    mark: Mark,
    looked: Instant,
}

/// Of each file: which one it is, its size, and when it was written. `None` where it is not there.
type Mark = Vec<Option<(u64, u64, i64, i64)>>;

fn mark(files: &[PathBuf]) -> Mark {
    let one = |path: &Path| {
        let m = fs::metadata(path).ok()?;
        Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
    };
    files.iter().map(|f| one(f)).collect()
}

impl<T> Reloading<T> {
    /// Of these files; the first of them names the whole in a log.
    pub(super) fn new(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<Arc<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is read again.
        let mark = mark(&files);
        Ok(Self {
            state: Mutex::new(State {
                value: read()?,
                mark,
                looked: Instant::now(),
            }),
            files,
            read: Box::new(read),
        })
    }

    /// As the files are now, or were when they were usable last.
    pub(crate) fn current(&self) -> Arc<T> {
        // What a panic could have left half done in here is a look that was not made.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK_EVERY {
            return Arc::clone(&state.value);
        }
        state.looked = Instant::now();
        let now = mark(&self.files);
        if now != state.mark {
            state.mark = now;
            let cert = self.files.first().map(|f| f.display().to_string());
            let cert = cert.unwrap_or_default();
            match (self.read)() {
                Ok(value) => {
                    tracing::info!(%cert, "the certificates have changed and were taken up");
                    state.value = value;
                }
                Err(error) => {
                    let error = with_cause(&error);
                    tracing::warn!(%cert, error, "the certificates have changed and cannot be used: going on with those before");
                }
            }
        }
        Arc::clone(&state.value)
    }
}
