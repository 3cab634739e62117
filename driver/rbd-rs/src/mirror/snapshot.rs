//! Mirror snapshots: the steps in which snapshot mode moves.

use std::mem::MaybeUninit;

use crate::buffer::{self, copied};
use crate::snapshot::{Snapshot, SnapshotKind};
use crate::sys::types::{
    RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR, RBD_SNAP_CREATE_SKIP_QUIESCE,
    RBD_SNAP_MIRROR_STATE_NON_PRIMARY, RBD_SNAP_MIRROR_STATE_NON_PRIMARY_DEMOTED,
    RBD_SNAP_MIRROR_STATE_PRIMARY, RBD_SNAP_MIRROR_STATE_PRIMARY_DEMOTED,
    rbd_snap_mirror_namespace_t,
};
use crate::{Error, Image};

/// Whether clients that hold the image open are asked to pause and flush for a mirror snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiesce {
    /// They are, and one that cannot fails the snapshot.
    Required,
    /// They are, and the snapshot is taken anyway.
    IfPossible,
    /// They are not.
    Skip,
}

/// On which side a mirror snapshot was taken, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorSnapshotState {
    /// Taken on the primary.
    Primary,
    /// Taken by a demotion.
    PrimaryDemoted,
    /// A primary's, copied here.
    NonPrimary,
    /// A demotion's, copied here: with it complete, a plain promotion is due.
    NonPrimaryDemoted,
    /// A number that this crate has no name for.
    Unrecognised(u32),
}

/// A mirror snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What it is.
    pub state: MirrorSnapshotState,
    /// Whether all of it is here. A primary's always is.
    pub complete: bool,
    /// Those peers (by their ids here) that have not taken it yet.
    pub peer_uuids: Vec<String>,
    /// The mirror UUID of the primary that it was copied from; empty for one taken here.
    pub primary_mirror_uuid: String,
    /// Its number there.
    pub primary_snapshot_id: u64,
    /// How many objects of it are copied.
    pub copied_objects: u64,
}

impl Image {
    /// Takes a mirror snapshot, for the peers to copy, and gives its number.
    ///
    /// # Errors
    /// [`Error::WrongRole`] where the image is not primary, [`Error::NotMirrored`],
    /// [`Error::Invalid`] in journal mode.
    ///
    /// # Implements:
    /// `int rbd_mirror_image_create_snapshot2(rbd_image_t image, uint32_t flags, uint64_t *snap_id)`
    pub fn create_mirror_snapshot(&self, quiesce: Quiesce) -> Result<u64, Error> {
        let flags = match quiesce {
            Quiesce::Required => 0,
            Quiesce::IfPossible => RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR,
            Quiesce::Skip => RBD_SNAP_CREATE_SKIP_QUIESCE,
        };
        let mut id = 0;
        // SAFETY: an open image and a place for the result.
        let code = unsafe {
            (self.rbd().rbd_mirror_image_create_snapshot2)(self.handle(), flags, &mut id)
        };
        self.settle("rbd_mirror_image_create_snapshot2", code)?;
        Ok(id)
    }

    /// The image's mirror snapshots, oldest first.
    ///
    /// # Errors
    /// As any call.
    pub fn mirror_snapshots(&self) -> Result<Vec<MirrorSnapshot>, Error> {
        self.mirror_snapshots_of(self.snapshots()?)
    }

    /// Those of a list of all of them, oldest first.
    ///
    /// # Errors
    /// As any call.
    pub fn mirror_snapshots_of(
        &self,
        snapshots: Vec<Snapshot>,
    ) -> Result<Vec<MirrorSnapshot>, Error> {
        snapshots
            .into_iter()
            .filter(|snapshot| snapshot.kind == SnapshotKind::Mirror)
            .filter_map(|snapshot| match self.mirror_snapshot(snapshot) {
                // It was pruned since the list was made.
                Err(Error::NotFound(_)) => None,
                other => Some(other),
            })
            .collect()
    }

    /// What mirroring knows of a mirror snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone, [`Error::Invalid`] if it is no mirror snapshot.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_snap_get_mirror_namespace(rbd_image_t image, uint64_t snap_id,
    ///     rbd_snap_mirror_namespace_t *mirror_snap, size_t mirror_snap_size);
    /// int rbd_snap_mirror_namespace_cleanup(rbd_snap_mirror_namespace_t *mirror_snap, size_t mirror_snap_size);
    /// ```
    pub fn mirror_snapshot(&self, snapshot: Snapshot) -> Result<MirrorSnapshot, Error> {
        let at = self.at("rbd_snap_get_mirror_namespace");
        // SAFETY: zeros are a valid namespace.
        let mut raw: rbd_snap_mirror_namespace_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: an open image, and a place for the result of the size given.
        at.check(unsafe {
            (self.rbd().rbd_snap_get_mirror_namespace)(
                self.handle(),
                snapshot.id,
                &mut raw,
                size_of_val(&raw),
            )
        })?;
        // SAFETY: librbd filled it in.
        let result = unsafe { peer_uuids(at, &raw) }.and_then(|peer_uuids| {
            Ok(MirrorSnapshot {
                snapshot,
                state: MirrorSnapshotState::from_c(raw.state),
                complete: raw.complete,
                peer_uuids,
                // SAFETY: librbd filled the text in.
                primary_mirror_uuid: unsafe { copied(at, raw.primary_mirror_uuid) }?,
                primary_snapshot_id: raw.primary_snap_id,
                copied_objects: raw.last_copied_object_number,
            })
        });
        // SAFETY: librbd filled it in, and it is freed once.
        unsafe { (self.rbd().rbd_snap_mirror_namespace_cleanup)(&mut raw, size_of_val(&raw)) };
        result
    }
}

/// # Safety
/// librbd filled `raw` in.
unsafe fn peer_uuids(
    at: crate::error::At<'_>,
    raw: &rbd_snap_mirror_namespace_t,
) -> Result<Vec<String>, Error> {
    let mut next = raw.mirror_peer_uuids.cast_const();
    if next.is_null() {
        return Ok(Vec::new());
    }
    let mut uuids = Vec::with_capacity(raw.mirror_peer_uuids_count);
    for _ in 0..raw.mirror_peer_uuids_count {
        // SAFETY: the texts lie one after the other, each with its NUL.
        let bytes = unsafe { std::ffi::CStr::from_ptr(next) }.to_bytes_with_nul();
        uuids.push(buffer::until_nul(at, bytes)?);
        // SAFETY: at most one past the last text.
        next = unsafe { next.add(bytes.len()) };
    }
    Ok(uuids)
}

impl MirrorSnapshotState {
    fn from_c(state: u32) -> Self {
        match state {
            RBD_SNAP_MIRROR_STATE_PRIMARY => Self::Primary,
            RBD_SNAP_MIRROR_STATE_PRIMARY_DEMOTED => Self::PrimaryDemoted,
            RBD_SNAP_MIRROR_STATE_NON_PRIMARY => Self::NonPrimary,
            RBD_SNAP_MIRROR_STATE_NON_PRIMARY_DEMOTED => Self::NonPrimaryDemoted,
            other => Self::Unrecognised(other),
        }
    }
}
