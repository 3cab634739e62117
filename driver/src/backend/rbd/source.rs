//! What a list reads of a pool: librbd's and librados' calls, each on a thread that may hang in it.

use super::{
    convert,
    details::{Details, Want},
    forced,
};
use crate::backend::view::SnapshotSummary;
use rbd_rs as rbd;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

type Rbd<T> = std::result::Result<T, rbd::Error>;

/// Roles and modes, by image id.
pub(super) type Told = BTreeMap<String, (rbd::MirrorInfo, rbd::MirrorMode)>;

/// What the pool's own objects tell.
pub(super) struct Bulk {
    pub(super) names: HashMap<String, String>,
    pub(super) statuses: BTreeMap<String, rbd::ImageStatus>,
}

/// A pool's calls.
pub(super) trait Source: Clone + Send + Sync + 'static {
    /// Names, and both sites' words.
    fn bulk(&self) -> Rbd<Bulk>;
    /// Role and mode of so many images after that one.
    fn infos_after(&self, after: &str, most: usize) -> Rbd<Told>;
    /// An image's details.
    fn read(&self, name: &str, want: Want) -> Rbd<Details>;
    /// Which of these objects do not answer. It comes back in three times that time, and keeps no thread.
    fn without_answer(&self, objects: &[String], patience: Duration) -> Rbd<HashSet<String>>;
}

/// An open pool.
#[derive(Clone)]
pub(super) struct OpenPool {
    pub(super) io: rbd::Pool,
    pub(super) asks: rbd::Asks,
}

impl OpenPool {
    /// One of so many of a connection.
    pub(super) fn new(io: rbd::Pool, of: usize) -> Self {
        let asks = rbd::Asks::new(&io, rbd::MOST_ASKS / of.max(1));
        Self { io, asks }
    }
}

impl Source for OpenPool {
    fn bulk(&self) -> Rbd<Bulk> {
        let statuses = self.io.mirror_statuses()?;
        let names = self.io.images()?.into_iter().map(|e| (e.id, e.name));
        Ok(Bulk {
            names: names.collect(),
            statuses,
        })
    }

    fn infos_after(&self, after: &str, most: usize) -> Rbd<Told> {
        self.io.mirror_infos_after(after, most)
    }

    fn read(&self, name: &str, want: Want) -> Rbd<Details> {
        let read = Instant::now();
        let image = self.io.open_read_only(name)?;
        let role = if want.role {
            role(&image, want.silent.is_some())?
        } else {
            None
        };
        let all = image.snapshots()?;
        let torn = forced::set_aside(&all);
        let snapshots = image.mirror_snapshots_of(all)?;
        // Those words come with the role.
        let words = want.words && (!want.role || role.is_some());
        let status = match words.then(|| image.mirror_status()) {
            Some(Ok(status)) => Some(status),
            None | Some(Err(rbd::Error::NotMirrored { .. } | rbd::Error::NotFound(_))) => None,
            Some(Err(e)) => return Err(e),
        };
        Ok(Details {
            read,
            mark: Some(want.mark),
            size: image.size()?,
            metadata: Arc::new(image.metadata()?),
            snapshots: SnapshotSummary {
                torn,
                ..convert::snapshots(&snapshots)
            },
            status,
            role,
            name: name.to_owned(),
        })
    }

    fn without_answer(&self, objects: &[String], patience: Duration) -> Rbd<HashSet<String>> {
        self.asks.without_answer(objects, patience)
    }
}

/// Role and mode. `None` of an image in journal mode of which something is silent: who is primary stands in the journal.
fn role(
    image: &rbd::Image,
    silent: bool,
) -> Rbd<Option<(rbd::MirrorInfo, Option<rbd::MirrorMode>)>> {
    let mirrored = |mode| match mode {
        Ok(mode) => Ok(Some(mode)),
        Err(rbd::Error::NotMirrored { .. }) => Ok(None),
        Err(e) => Err(e),
    };
    if silent && mirrored(image.mirror_mode_alone())? == Some(rbd::MirrorMode::Journal) {
        return Ok(None);
    }
    let info = image.mirror_info()?;
    let mode = mirrored(image.mirror_mode_of(&info))?;
    Ok(Some((info, mode)))
}
