//! The sidecar's list of the zone's volumes: asked for by one request at a time, and good for all for a moment.
//!
//! ```text
//!   a good list ── at once
//!   none        ── one is asked for, or is already ── waited for, up to wait_time from its asking ── the list, or unknown
//!   it failed   ── unknown at once, for a while where that took its time
//! ```
//!
//! The one that is asked for goes on when nobody waits any more: a slow one is good for those who come after it.

use super::{Settings, fields::Row};
use crate::{metrics::Metrics, pause::Pause};
use foldhash::fast::RandomState;
use rekindle_common::{ApiError, ImageSpec, ZoneName, volume::VolumeReport};
use rekindle_net::SidecarClient;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// A list may take so long, and is of use to those who come later.
const CALL: Duration = Duration::from_secs(10);
/// Volumes in one call: what the sidecar gives at most.
const PAGE: u32 = 1000;
/// Volumes that are kept. A zone that has more is told of up to here, and of no other.
const MOST: usize = 20_000;

/// What a list says.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    by_image: HashMap<ImageSpec, Row, RandomState>,
    /// It is not all that there is.
    cut: bool,
}

/// What it says of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Listed<'a> {
    Row(&'a Row),
    /// It is not replicated.
    Absent,
    /// It may be among those that were cut off.
    Unknown,
}

impl Rows {
    pub(crate) fn of(&self, image: &ImageSpec) -> Listed<'_> {
        match self.by_image.get(image) {
            Some(row) => Listed::Row(row),
            None if self.cut => Listed::Unknown,
            None => Listed::Absent,
        }
    }
}

/// Somebody to ask: a sidecar, or a test.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// All that there is, up to [`MOST`], and whether that is all.
    fn list(&self) -> impl Future<Output = Result<(Vec<VolumeReport>, bool), ApiError>> + Send;
}

impl Source for SidecarClient {
    async fn list(&self) -> Result<(Vec<VolumeReport>, bool), ApiError> {
        let client: Self = self.http().with_call_time(CALL).into();
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = client.volumes(None, PAGE, after.as_ref()).await?;
            all.extend(page.volumes);
            after = page.next;
            if after.is_none() || all.len() >= MOST {
                return Ok((all, after.is_none()));
            }
        }
    }
}

/// The last list, and the one that is asked for.
#[derive(Debug)]
pub(crate) struct List<S = SidecarClient> {
    source: S,
    peer: Option<ZoneName>,
    settings: Settings,
    metrics: Metrics,
    state: Arc<Mutex<State>>,
    /// How many have come to their end.
    ended: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    last: Option<Last>,
    /// Since when one is asked for.
    asking: Option<Instant>,
    pause: Pause,
    /// Counts what makes a list that was asked for before it worthless.
    changes: u64,
}

#[derive(Debug, Clone)]
struct Last {
    came: Instant,
    rows: Arc<Rows>,
}

impl<S: Source> List<S> {
    pub(crate) fn new(
        source: S,
        peer: Option<ZoneName>,
        settings: Settings,
        metrics: &Metrics,
    ) -> Self {
        Self {
            source,
            peer,
            settings,
            metrics: metrics.clone(),
            state: Arc::new(Mutex::new(State {
                last: None,
                asking: None,
                pause: Pause::default(),
                changes: 0,
            })),
            ended: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was done, or may have been: what was known before is not good any more. A sidecar that did it is not away.
    pub(crate) fn changed(&self, done: bool) {
        let mut state = self.state();
        state.changes += 1;
        state.last = None;
        if done {
            state.pause.end();
        }
    }

    /// A list that came no longer ago than the settings say; `None` where the sidecar gives none in time.
    pub(crate) async fn get(&self) -> Option<Arc<Rows>> {
        let mut ended = self.ended.subscribe();
        let since = match self.begun(&mut ended) {
            Begun::Good(rows) => return Some(rows),
            Begun::Broken => return None,
            Begun::Asking(since) => since,
        };
        let left = self.settings.wait.checked_sub(since.elapsed())?;
        timeout(left, ended.changed()).await.ok()?.ok()?;
        self.good()
    }

    fn good(&self) -> Option<Arc<Rows>> {
        let last = self.state().last.clone()?;
        (last.came.elapsed() < self.settings.age).then_some(last.rows)
    }

    fn begun(&self, ended: &mut watch::Receiver<u64>) -> Begun {
        if let Some(rows) = self.good() {
            return Begun::Good(rows);
        }
        let mut state = self.state();
        // Nothing ends between this and the waiting that goes unseen: it is under the lock that one ends.
        ended.mark_unchanged();
        let now = Instant::now();
        if let Some(since) = state.asking {
            return Begun::Asking(since);
        }
        if state.pause.holds() {
            return Begun::Broken;
        }
        state.asking = Some(now);
        let changes = state.changes;
        drop(state);
        self.ask(changes);
        Begun::Asking(now)
    }

    fn ask(&self, changes: u64) {
        let (source, peer) = (self.source.clone(), self.peer.clone());
        let (state, ended) = (Arc::clone(&self.state), self.ended.clone());
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            // Were the task to end in any other way, another could be asked for all the same.
            let mut asking = Asking {
                state,
                ended,
                changes,
                came: None,
                began: Instant::now(),
            };
            match source.list().await {
                Ok((reports, whole)) => {
                    metrics.listed(asking.began.elapsed());
                    let row = |r: VolumeReport| {
                        let row = Row::of(&r, peer.as_ref());
                        (r.volume, row)
                    };
                    asking.came = Some(Rows {
                        by_image: reports.into_iter().map(row).collect(),
                        cut: !whole,
                    });
                }
                Err(error) => {
                    let news = asking.lock().pause.is_news();
                    if news {
                        tracing::warn!(%error, "the sidecar lists no volumes: their status is unknown");
                    }
                }
            }
        });
    }
}

enum Begun {
    Good(Arc<Rows>),
    Broken,
    Asking(Instant),
}

/// One list on its way. Dropping it ends it.
struct Asking {
    state: Arc<Mutex<State>>,
    ended: watch::Sender<u64>,
    changes: u64,
    came: Option<Rows>,
    began: Instant,
}

impl Asking {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let came = self.came.take();
        let mut state = self.lock();
        state.asking = None;
        match came {
            // What came may show what was before a change.
            Some(_) if state.changes != self.changes => state.pause.end(),
            Some(rows) => {
                state.pause.end();
                state.last = Some(Last {
                    came: Instant::now(),
                    rows: Arc::new(rows),
                });
            }
            None => state.pause.begin_unless_quick(self.began),
        }
        self.ended.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests;
