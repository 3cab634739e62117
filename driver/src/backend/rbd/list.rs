//! All volumes of the zone, in few calls.
//!
//! A pool's mirrored images come with role, mode and both sites' status in two calls for each page. What those leave out
//! (metadata, size, mirror snapshots) needs the image open. It is kept, and read again when the image's status changed
//! in any way, after an action here, and once it is old.

use super::{RbdBackend, convert};
use crate::backend::{
    error::{BackendError, BackendErrorKind, Op},
    view::{ImageView, MirrorView, Mirrored, SnapshotSummary},
};
use futures::{StreamExt, stream};
use rbd_rs as rbd;
use rekindle_common::{ImageSpec, metadata};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

type Result<T> = std::result::Result<T, BackendError>;

/// A mirrored image's details are as good as new for so long.
const FRESH: Duration = Duration::from_secs(45);
/// Those of one that is not mirrored: read to see whether policy says it should be (hard case 36).
const FRESH_OTHER: Duration = Duration::from_secs(300);
/// Images open at once. Two cores open no more of them in a second with eight, and each weighs 0.5 MB beside those that actions
/// have open.
const PARALLEL: usize = 4;
/// A list of so many leaves holes in the heap that are worth giving back to the system: some MB, in as many milliseconds.
const MANY: usize = 100;

/// What is kept of an image between lists.
#[derive(Debug, Clone)]
pub(super) struct Details {
    pub(super) name: String,
    read: Instant,
    /// The status that they go with.
    mark: String,
    size: u64,
    metadata: Arc<BTreeMap<String, String>>,
    snapshots: SnapshotSummary,
    /// The daemons' words, where the list had lost them.
    status: Option<rbd::ImageStatus>,
}

/// One pool's bulk answers.
struct Bulk {
    names: HashMap<String, String>,
    mirrored: Vec<rbd::MirroredImage>,
}

impl RbdBackend {
    pub(in crate::backend) async fn list(&self, deadline: Instant) -> Result<Vec<ImageView>> {
        let mut all = Vec::new();
        for pool in &self.shared.options.pools {
            all.extend(self.list_pool(pool, deadline).await?);
        }
        if all.len() >= MANY {
            tokio::task::spawn_blocking(rbd::return_free_memory);
        }
        Ok(all)
    }

    async fn list_pool(&self, pool: &str, deadline: Instant) -> Result<Vec<ImageView>> {
        let io = self.pool(Op::List, pool, deadline).await?;
        let bulk = self
            .shared
            .listing
            .run(&self.shared.calls, Op::List, deadline, move || {
                let mirrored = io.mirrored_images()?;
                let names = io.images()?.into_iter().map(|e| (e.id, e.name));
                Ok(Bulk {
                    names: names.collect(),
                    mirrored,
                })
            })
            .await;
        let mut bulk = self.drop_if_dead(bulk).await?;
        let mut wanted = Vec::new();
        for m in std::mem::take(&mut bulk.mirrored) {
            // Gone between the two calls: it is no volume any more.
            let Some(name) = bulk.names.remove(&m.image_id) else {
                continue;
            };
            wanted.push((name, m.image_id.clone(), Some(m)));
        }
        wanted.extend(bulk.names.into_iter().map(|(id, name)| (name, id, None)));
        // What is gone is not kept.
        {
            let ids: std::collections::HashSet<&String> =
                wanted.iter().map(|(_, id, _)| id).collect();
            let mut details = self
                .shared
                .details
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            details.retain(|(p, id), _| p != pool || ids.contains(id));
        }
        let views: Vec<Result<Option<ImageView>>> = stream::iter(wanted)
            .map(|(name, id, m)| self.listed(pool, name, id, m, deadline))
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        views.into_iter().filter_map(Result::transpose).collect()
    }

    /// One image of a list; `None` where it is no volume of ours, or has just gone.
    async fn listed(
        &self,
        pool: &str,
        name: String,
        id: String,
        mirrored: Option<rbd::MirroredImage>,
        deadline: Instant,
    ) -> Result<Option<ImageView>> {
        // A name that no order could name.
        let Ok(spec) = ImageSpec::new(pool, &name) else {
            return Ok(None);
        };
        let mark = mirrored.as_ref().map(mark).unwrap_or_default();
        let words_lost = mirrored.as_ref().is_some_and(words_lost);
        let details = match self.details(&spec, &id, mark, words_lost, deadline).await {
            Ok(d) => d,
            Err(e) if e.kind == BackendErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let (mirror, status) = match mirrored {
            None => (MirrorView::Off, None),
            Some(m) => match (m.info.as_ref().map(|i| &i.state), m.mode) {
                (Some(rbd::MirrorState::Enabled | rbd::MirrorState::Creating), Some(mode)) => {
                    let on = Mirrored {
                        mode: convert::mode(Op::List, Some(&spec), mode)?,
                        primary: m
                            .info
                            .as_ref()
                            .is_some_and(|i| i.role == rbd::Role::Primary),
                        snapshots: details.snapshots,
                    };
                    (MirrorView::On(on), details.status.or(m.status))
                }
                (Some(rbd::MirrorState::Disabling), _) => (MirrorView::Disabling, None),
                // It came or went between two calls: the next list shows it whole.
                (Some(rbd::MirrorState::Disabled), _)
                | (None, _)
                | (Some(rbd::MirrorState::Enabled | rbd::MirrorState::Creating), None)
                | (Some(rbd::MirrorState::Unrecognised(_)), _) => return Ok(None),
            },
        };
        if mirror == MirrorView::Off && !details.metadata.contains_key(metadata::MODE) {
            return Ok(None);
        }
        let (local, peer) = status.as_ref().map_or((None, None), convert::sites);
        Ok(Some(ImageView {
            spec,
            id,
            size: details.size,
            metadata: details.metadata,
            mirror,
            lineage: None,
            local,
            peer,
        }))
    }

    async fn details(
        &self,
        spec: &ImageSpec,
        id: &str,
        mark: String,
        words_lost: bool,
        deadline: Instant,
    ) -> Result<Details> {
        let key = (spec.pool().to_owned(), id.to_owned());
        let fresh = if mark.is_empty() { FRESH_OTHER } else { FRESH };
        {
            let kept = self
                .shared
                .details
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(d) = kept.get(&key)
                && d.mark == mark
                && d.name == spec.image()
                && d.read.elapsed() < fresh
            {
                return Ok(d.clone());
            }
        }
        let io = self.pool(Op::Open, spec.pool(), deadline).await?;
        let name = spec.image().to_owned();
        let read = Instant::now();
        let opened = self
            .shared
            .calls
            .run(Op::Open, Some(spec), deadline, move || {
                let image = io.open_read_only(&name)?;
                let snapshots = image.mirror_snapshots()?;
                let status = match words_lost.then(|| image.mirror_status()) {
                    Some(Ok(status)) => Some(status),
                    None | Some(Err(rbd::Error::NotMirrored { .. } | rbd::Error::NotFound(_))) => {
                        None
                    }
                    Some(Err(e)) => return Err(e),
                };
                Ok((image.size()?, image.metadata()?, snapshots, status))
            })
            .await;
        let (size, metadata, snapshots, status) = self.drop_if_dead(opened).await?;
        let details = Details {
            name: spec.image().to_owned(),
            read,
            mark,
            size,
            metadata: Arc::new(metadata),
            snapshots: convert::snapshots(&snapshots),
            status,
        };
        self.shared
            .details
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, details.clone());
        Ok(details)
    }
}

/// `rbd_mirror_image_global_status_list` puts "status not found" in the place of what a daemon says in the state `unknown`, and with
/// a demoted image that is all there is: "remote image is not primary". The image's own status has it.
fn word_lost(s: &rbd::SiteStatus) -> bool {
    s.state == rbd::ReplayState::Unknown && s.updated > 0 && s.description == "status not found"
}

fn words_lost(m: &rbd::MirroredImage) -> bool {
    m.status.iter().flat_map(|s| &s.sites).any(word_lost)
}

/// Whatever of the bulk answer tells that something happened to the image: role, the daemons' states, and in snapshot mode
/// which snapshots there are.
fn mark(m: &rbd::MirroredImage) -> String {
    use std::fmt::Write as _;
    let mut mark = String::new();
    if let Some(i) = &m.info {
        let _ = write!(mark, "{:?} {:?} ", i.role, i.state);
    }
    for s in m.status.iter().flat_map(|s| &s.sites) {
        let _ = write!(mark, "{:?} {:?} ", s.site, s.state);
        if word_lost(s) {
            let _ = write!(mark, "{:?} {} ", s.daemon, s.updated);
        }
        match &s.detail {
            rbd::ReplayDetail::Snapshot(d) => {
                let _ = write!(
                    mark,
                    "{:?} {:?} ",
                    d.local_snapshot_timestamp, d.remote_snapshot_timestamp
                );
            }
            rbd::ReplayDetail::Journal(_)
            | rbd::ReplayDetail::None
            | rbd::ReplayDetail::Unreadable(_) => {}
        }
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(state: rbd::ReplayState, description: &str, updated: i64) -> rbd::SiteStatus {
        rbd::SiteStatus {
            site: rbd::Site::Local,
            daemon: rbd::DaemonPresence::Up,
            state,
            description: description.to_owned(),
            detail: rbd::ReplayDetail::None,
            updated,
        }
    }

    #[test]
    fn hard_case_21_words_that_the_list_lost_are_told_from_words_that_were_never_said() {
        use rbd::ReplayState::{Replaying, Unknown};
        assert!(word_lost(&says(Unknown, "status not found", 1_763_935_457)));
        for (state, description, updated) in [
            (Unknown, "status not found", 0),
            (Unknown, "remote image is not primary", 1_763_935_457),
            (Replaying, "replaying", 1_763_935_457),
        ] {
            assert!(
                !word_lost(&says(state, description, updated)),
                "{description}"
            );
        }
    }
}
