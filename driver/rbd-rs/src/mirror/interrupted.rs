//! Snapshot mode: a copy that was interrupted, put back to the last state that was whole.
//!
//! A forced promotion in the middle of a copy must undo the half that has arrived. librbd does that by a roll-back to the last
//! mirror snapshot that is complete. On 16.2.15 that is the **wrong** state, measured by what stood in it:
//!
//! ```text
//!   what rbd-mirror does for the primary's state n     what stands in snapshot n here
//!     1. take snapshot n of what is here                 state n-1 (nothing at all for the first)
//!     2. write state n over the image's objects          (each write leaves state n-1 to snapshot n)
//!     3. call snapshot n complete
//! ```
//!
//! So with a copy of n+1 interrupted, complete snapshot n holds n-1, and librbd rolls the image back by one state too many: a
//! volume whose first copy had just ended came up empty. State n stands in the snapshot that is **not** complete, n+1.
//!
//! What is done here instead, with the mirror daemon shut out: each object that the copy has touched is put back to snapshot n+1 by
//! the OSD itself, the object map likewise, and n+1 is called complete. librbd then finds nothing to roll back. A Ceph that
//! leaves new data to the new snapshot (as the design of deep copies has it) shows no object that differs; there all is left
//! to librbd.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::snapshot::{MirrorSnapshot, MirrorSnapshotState};
use crate::object_view::ObjectView;
use crate::{Error, Features, Image, Pool};

/// The image itself, where a snapshot's number is asked for.
pub(super) const HEAD: u64 = u64::MAX - 1;
/// Two clocks tell an object's time and a snapshot's, and the first tells seconds.
const CLOCKS: Duration = Duration::from_secs(3);
/// The last release on which it was measured that a snapshot is taken before what it is to hold is written.
const MEASURED: i32 = 16;

/// What became of an interrupted copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The image is in its last whole state, and librbd need not roll back.
    Restored {
        /// Objects that were put back.
        objects: u64,
    },
    /// Left to librbd's own roll-back: nothing shows that this Ceph takes the snapshot first, or the image was being resized.
    LeftToLibrbd,
}

/// Where an image's objects are.
pub(super) struct Layout {
    pub(super) pool: Pool,
    prefix: String,
    /// How many it has at the most, by its size now.
    pub(super) count: u64,
    /// Bytes of one.
    pub(super) object: u64,
    stripes: u64,
}

impl Image {
    /// The copy that has begun and not ended, if there is one. Snapshots that forced promotions leave behind are looked
    /// through: an earlier one that got stuck calls its own complete, on top of the torn state.
    ///
    /// # Errors
    /// As any call.
    pub fn interrupted_copy(&self) -> Result<Option<MirrorSnapshot>, Error> {
        let newest = self
            .mirror_snapshots()?
            .into_iter()
            .rev()
            .find(|s| !is_orphan(s));
        Ok(newest.filter(|s| {
            let copied = match s.state {
                MirrorSnapshotState::NonPrimary | MirrorSnapshotState::NonPrimaryDemoted => true,
                MirrorSnapshotState::Primary
                | MirrorSnapshotState::PrimaryDemoted
                | MirrorSnapshotState::Unrecognised(_) => false,
            };
            copied && !s.complete
        }))
    }

    /// Puts an interrupted copy, as [`Image::interrupted_copy`] gave it, back to the last whole state. Shut this site's mirror daemon out before. Idempotent; promote by
    /// force right after, or call [`Image::unsettle`].
    ///
    /// # Errors
    /// As any call; then some objects may be back and others not, and the copy is still marked as not complete, to be copied
    /// again from its first object.
    pub fn settle_interrupted_copy(
        &self,
        copy: &MirrorSnapshot,
        threads: usize,
    ) -> Result<Settled, Error> {
        let id = copy.snapshot.id;
        if self.size_at(id)? != self.size_at(HEAD)? {
            return Ok(Settled::LeftToLibrbd);
        }
        let layout = self.layout()?;
        // Should all of this be interrupted, too, a daemon that goes on must not go on from where it was.
        self.set_copy_progress(id, false, 0)?;
        let objects = layout.put_back(id, threads)?;
        if objects == 0 && !self.takes_the_snapshot_first(copy, &layout)? {
            self.set_copy_progress(id, false, copy.copied_objects)?;
            return Ok(Settled::LeftToLibrbd);
        }
        if self.features()?.contains(Features::OBJECT_MAP) {
            let map = format!("rbd_object_map.{}", self.id()?);
            let then = self.pool().read_object(&format!("{map}.{id:016x}"))?;
            self.pool().write_object(&map, &then)?;
        }
        self.set_copy_progress(id, true, layout.count)?;
        Ok(Settled::Restored { objects })
    }

    /// After [`Settled::Restored`], where the promotion was not done: the copy is incomplete again, and has nothing.
    ///
    /// # Errors
    /// As any call.
    pub fn unsettle(&self, copy: &MirrorSnapshot) -> Result<(), Error> {
        self.set_copy_progress(copy.snapshot.id, false, 0)
    }

    /// Whether an object shows that data which belongs to the last complete snapshot was written after that was taken.
    fn takes_the_snapshot_first(
        &self,
        copy: &MirrorSnapshot,
        layout: &Layout,
    ) -> Result<bool, Error> {
        if self.pool().cluster().ceph().librbd_version().minor <= MEASURED {
            return Ok(true);
        }
        let complete =
            self.mirror_snapshots()?.into_iter().rev().find(|s| {
                s.complete && !is_orphan(s) && s.state == MirrorSnapshotState::NonPrimary
            });
        let Some(complete) = complete else {
            return Ok(false);
        };
        let (now, then) = (
            ObjectView::of(&layout.pool, None)?,
            ObjectView::of(&layout.pool, Some(complete.snapshot.id))?,
        );
        for n in 0..layout.count {
            let name = layout.name(n);
            if let Some(object) = now.look(&name)?
                && then.look(&name)?.map(|o| o.version) != Some(object.version)
                && object.modified + CLOCKS <= copy.snapshot.taken
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn layout(&self) -> Result<Layout, Error> {
        let data = self.data_pool_id()?;
        let pool = if data == self.pool().id() {
            self.pool().clone()
        } else {
            Pool::by_id(self.pool().cluster(), data)?
        };
        let (order, size) = self.size_at(HEAD)?;
        let object = 1_u64.checked_shl(order.into()).unwrap_or(u64::MAX);
        let stripes = self.stripe_count()?.max(1);
        Ok(Layout {
            pool,
            prefix: self.block_name_prefix()?,
            count: objects(size, object, stripes),
            object,
            stripes,
        })
    }

    pub(super) fn header(&self) -> Result<String, Error> {
        Ok(format!("rbd_header.{}", self.id()?))
    }

    /// The order and the size, as of a snapshot or [`HEAD`]: `get_size` of the object class `rbd`.
    pub(super) fn size_at(&self, snapshot: u64) -> Result<(u8, u64), Error> {
        let answer =
            self.pool()
                .execute(&self.header()?, "rbd", "get_size", &snapshot.to_le_bytes())?;
        let at = self.at("rados_exec(get_size)");
        match answer.split_first_chunk::<1>() {
            Some(([order], size)) => {
                let size = size.try_into().map_err(|e| at.unreadable(e))?;
                Ok((*order, u64::from_le_bytes(size)))
            }
            None => Err(at.error(-libc::EBADMSG)),
        }
    }

    /// `mirror_image_snapshot_set_copy_progress` of the object class `rbd`, as rbd-mirror calls it.
    fn set_copy_progress(&self, snapshot: u64, complete: bool, objects: u64) -> Result<(), Error> {
        let mut input = snapshot.to_le_bytes().to_vec();
        input.push(u8::from(complete));
        input.extend(objects.to_le_bytes());
        self.pool()
            .execute(
                &self.header()?,
                "rbd",
                "mirror_image_snapshot_set_copy_progress",
                &input,
            )
            .map(drop)
    }
}

/// How many objects an image of that size may have.
fn objects(size: u64, object: u64, stripes: u64) -> u64 {
    let set = object.saturating_mul(stripes).max(1);
    size.div_ceil(set).saturating_mul(stripes)
}

impl Layout {
    pub(super) fn name(&self, n: u64) -> String {
        format!("{}.{n:016x}", self.prefix)
    }

    /// How many objects it had when it was of that size, in bytes.
    pub(super) fn count_at(&self, size: u64) -> u64 {
        objects(size, self.object, self.stripes)
    }

    /// Puts back every object that is not as in the snapshot, and tells how many were not.
    fn put_back(&self, snapshot: u64, threads: usize) -> Result<u64, Error> {
        let (next, restored) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || -> Result<(), Error> {
            let now = ObjectView::of(&self.pool, None)?;
            let then = ObjectView::of(&self.pool, Some(snapshot))?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= self.count {
                    return Ok(());
                }
                let name = self.name(n);
                let (is, was) = (now.look(&name)?, then.look(&name)?);
                if is.map(|o| o.version) != was.map(|o| o.version) {
                    self.pool.roll_back_object(&name, snapshot)?;
                    restored.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err(self.pool.at("put_back").error(-libc::EIO)))
            })
        })?;
        Ok(restored.into_inner())
    }
}

/// What a forced promotion takes of the copy before it does anything else. It was copied from nowhere.
pub(super) fn is_orphan(s: &MirrorSnapshot) -> bool {
    s.state == MirrorSnapshotState::NonPrimary && s.primary_mirror_uuid.is_empty()
}
