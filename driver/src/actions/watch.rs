//! Looks at all volumes now and then, so that what only shows at times is known when it counts.
//!
//! In journal mode nothing but the mirror daemon tells whether a copy was ever complete (hard case 24), and the daemon may
//! be dead when a failover needs to know. So what was seen is kept, in memory and in the cluster. The same looks keep the
//! metrics fresh, and the moment at which a copy was last in step; and a freeze or thaw that another sidecar of the zone was told of is taken up.

use super::Volumes;
use crate::{
    backend::{Access, BackendError, ImageView, view::MirrorView},
    replication::{Promote, ends_keeping},
};
use rekindle_common::{ApiError, DemotionToken, ImageSpec, ZoneName, deletion::Deletion, metadata};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// A look must not take more than this part of the time.
const SHARE: u32 = 20;

/// Looks until `stop`.
pub async fn watch(volumes: Volumes, stop: CancellationToken) {
    let mut kept = BTreeMap::new();
    loop {
        if let Err(e) = volumes.inner.look_at_freeze().await {
            tracing::debug!(zone = %volumes.zone_name(), error = %e, "whether the zone is frozen could not be read");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = volumes.calm() => {}
        }
        let begun = Instant::now();
        match volumes.keep_copies(&mut kept).await {
            Ok(()) => {}
            Err(e) => {
                tracing::debug!(zone = %volumes.zone_name(), error = %e, "the volumes could not be looked at");
            }
        }
        let nap = EVERY.max(begun.elapsed() * SHARE).min(EVERY * 12);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(nap) => {}
        }
    }
}

/// A look that can wait does, for no longer, while actions are at work: a list opens each volume whose status has changed, and the
/// cluster's time and ours are the actions'.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// So many names are taken off in one round.
const AT_ONCE: usize = 50;

pub(super) type Kept = BTreeMap<String, BTreeMap<String, String>>;

impl Volumes {
    /// Before a look at all volumes that nobody waits for: until no actions are at work, and for some seconds at most.
    pub(crate) async fn calm(&self) {
        self.inner.registry.calm(LONGEST_WAIT).await;
    }

    /// Looks at all volumes, and keeps what is new about their copies. What a former run or the zone's other sidecar has kept stays, as
    /// long as its image is there: this one may have seen nothing yet.
    pub(super) async fn keep_copies(&self, kept: &mut Kept) -> Result<(), ApiError> {
        self.refresh_metrics().await?;
        let Some(views) = self.inner.known() else {
            return Ok(());
        };
        let mut now: Kept = BTreeMap::new();
        let mut there: Kept = BTreeMap::new();
        {
            let hints = self.inner.hints();
            for v in views.iter() {
                let complete = hints
                    .get(&v.spec)
                    .and_then(|h| h.complete_id.as_ref())
                    .filter(|id| **id == v.id);
                let ids = there.entry(v.spec.pool().to_owned()).or_default();
                ids.insert(v.spec.image().to_owned(), v.id.clone());
                let pool = now.entry(v.spec.pool().to_owned()).or_default();
                if let Some(id) = complete {
                    pool.insert(v.spec.image().to_owned(), id.clone());
                }
            }
        }
        self.forget_gone(&views.iter().map(|v| &v.spec).collect());
        self.take_old_names_off(&views).await;
        let deadline = self.inner.in_(self.inner.limits.look);
        for (pool, mut copies) in now {
            if kept.get(&pool) == Some(&copies) {
                continue;
            }
            let records = &self.inner.records;
            let before = records.copies(&pool, deadline).await?;
            let ids = there.remove(&pool).unwrap_or_default();
            let seen = copies.clone();
            for (image, id) in before.iter().filter(|(i, id)| ids.get(*i) == Some(*id)) {
                copies.entry(image.clone()).or_insert_with(|| id.clone());
            }
            if before != copies {
                records.set_copies(&pool, &copies, deadline).await?;
            }
            kept.insert(pool, seen);
        }
        Ok(())
    }

    /// A primary whose last demotion's name still shows was promoted past us, or we died right after it: the name goes, before
    /// a demotion without one could pass for it (hard case 57).
    async fn take_old_names_off(&self, views: &[ImageView]) {
        let inner = &self.inner;
        let is_old = |v: &ImageView| match &v.mirror {
            MirrorView::On(m) => m.primary && v.metadata.contains_key(metadata::DEMOTION_TOKEN),
            // One that cannot be read cannot be written to either.
            MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => false,
        };
        for view in views.iter().filter(|v| is_old(v)).take(AT_ONCE) {
            // Not while a demotion is writing a new one.
            let Ok(_guard) = inner.registry.begin(&view.spec, "tidy") else {
                continue;
            };
            let deadline = inner.in_(inner.limits.look);
            let done = async {
                let session = inner
                    .backend
                    .open(&view.spec, Access::Write, deadline)
                    .await?;
                let view = session.look(deadline).await?;
                if is_old(&view) {
                    let past = past_of_a_promotion(&view, &inner.zone);
                    session
                        .set_metadata(&BTreeMap::new(), &past, deadline)
                        .await?;
                }
                Ok::<(), BackendError>(())
            };
            match done.await {
                Ok(()) => {
                    tracing::info!(zone = %inner.zone, volume.id = %view.spec, "promoted past the sidecar: its last demotion's name is taken off");
                }
                Err(e) => {
                    tracing::debug!(zone = %inner.zone, volume.id = %view.spec, error = %e, "its last demotion's name could not be taken off");
                }
            }
        }
    }

    /// Volumes that are gone are not remembered. One that was only just acted on may not be listed yet: it is.
    fn forget_gone(&self, there: &BTreeSet<&ImageSpec>) {
        let mut hints = self.inner.hints();
        hints.retain(|spec, _| {
            there.contains(spec) || self.inner.registry.in_flight(spec).is_some()
        });
    }

    /// Takes up which copies a former run saw complete.
    pub(super) async fn restore_copies(&self) -> Result<(), ApiError> {
        let inner = &self.inner;
        let pools: BTreeSet<String> = inner
            .backend
            .list(inner.in_(inner.limits.look))
            .await?
            .into_iter()
            .map(|v| v.spec.pool().to_owned())
            .collect();
        // The list may have taken longer than a record does.
        let deadline = inner.in_(inner.limits.probe);
        for pool in pools {
            for (image, id) in inner.records.copies(&pool, deadline).await? {
                // A name that is no name is no volume's.
                if let Ok(spec) = ImageSpec::new(pool.as_str(), image) {
                    let mut hints = inner.hints();
                    hints.entry(spec).or_default().complete_id.get_or_insert(id);
                }
            }
        }
        Ok(())
    }
}

/// What the promotion that was not noted would have taken off: the demotion's name, and before it the mark of a keeping that this was no
/// part of. The name alone tells those two apart: behind its end the zone that was left would take the mark at its word, and the replication off.
fn past_of_a_promotion(view: &ImageView, zone: &ZoneName) -> Vec<&'static str> {
    let mark = view.metadata.get(metadata::DELETED);
    let mark = mark.and_then(|m| Deletion::from_metadata(m, &view.spec));
    let token = view.metadata.get(metadata::DEMOTION_TOKEN);
    let how = token
        .and_then(|t| DemotionToken::new(t).ok())
        .map(|token| Promote::After { token });
    let is_over = matches!((mark, how), (Some(mark), Some(how)) if ends_keeping(&mark, &how, zone));
    let mark = is_over.then_some(metadata::DELETED);
    mark.into_iter().chain([metadata::DEMOTION_TOKEN]).collect()
}
