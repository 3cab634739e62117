//! Snapshots of an image, a person's and mirroring's own.

use std::ffi::c_int;
use std::time::Duration;

use crate::buffer::{self, Attempt, c_name, copied};
use crate::image::since_epoch;
use crate::sys::types::{
    RBD_SNAP_NAMESPACE_TYPE_GROUP, RBD_SNAP_NAMESPACE_TYPE_MIRROR, RBD_SNAP_NAMESPACE_TYPE_TRASH,
    RBD_SNAP_NAMESPACE_TYPE_USER, rbd_snap_info_t, timespec,
};
use crate::{Error, Image};

/// Whose snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotKind {
    /// A person's, or Cinder's.
    User,
    /// Of a consistency group.
    Group,
    /// Removed, but still the parent of clones.
    Trash,
    /// Mirroring's own. Never show it to a user, never remove it (hard case 44).
    Mirror,
    /// A number that this crate has no name for.
    Unrecognised(u32),
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number in the pool.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The image's size in bytes when it was taken.
    pub size: u64,
    /// Whose it is.
    pub kind: SnapshotKind,
    /// When it was taken, since the Unix epoch, by the clock of this cluster.
    pub taken: Duration,
}

impl Image {
    /// Takes a snapshot.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of that name, [`Error::ReadOnly`] where the image is not
    /// primary.
    ///
    /// # Implements:
    /// `int rbd_snap_create(rbd_image_t image, const char *snapname)`
    pub fn create_snapshot(&self, name: &str) -> Result<(), Error> {
        self.may_change("rbd_snap_create")?;
        let name = c_name("snapshot name", name)?;
        // SAFETY: an open image, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_snap_create)(self.handle(), name.as_ptr()) };
        self.at("rbd_snap_create").check(code)?;
        Ok(())
    }

    /// Removes a user's snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Busy`] if it is protected.
    ///
    /// # Implements:
    /// `int rbd_snap_remove(rbd_image_t image, const char *snapname)`
    pub fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        let name = c_name("snapshot name", name)?;
        // SAFETY: an open image, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_snap_remove)(self.handle(), name.as_ptr()) };
        self.at("rbd_snap_remove").check(code)?;
        Ok(())
    }

    /// Removes a snapshot of any kind by its number.
    ///
    /// # Errors
    /// As [`Image::remove_snapshot`].
    ///
    /// # Implements:
    /// `int rbd_snap_remove_by_id(rbd_image_t image, uint64_t snap_id)`
    pub fn remove_snapshot_by_id(&self, id: u64) -> Result<(), Error> {
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_snap_remove_by_id)(self.handle(), id) };
        self.at("rbd_snap_remove_by_id").check(code)?;
        Ok(())
    }

    /// Keeps a snapshot from being removed.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is protected already.
    ///
    /// # Implements:
    /// `int rbd_snap_protect(rbd_image_t image, const char *snap_name)`
    pub fn protect_snapshot(&self, name: &str) -> Result<(), Error> {
        let name = c_name("snapshot name", name)?;
        // SAFETY: an open image, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_snap_protect)(self.handle(), name.as_ptr()) };
        self.at("rbd_snap_protect").check(code)?;
        Ok(())
    }

    /// Lets a snapshot be removed again.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not protected, [`Error::Busy`] if it has clones.
    ///
    /// # Implements:
    /// `int rbd_snap_unprotect(rbd_image_t image, const char *snap_name)`
    pub fn unprotect_snapshot(&self, name: &str) -> Result<(), Error> {
        let name = c_name("snapshot name", name)?;
        // SAFETY: an open image, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_snap_unprotect)(self.handle(), name.as_ptr()) };
        self.at("rbd_snap_unprotect").check(code)?;
        Ok(())
    }

    /// Puts the image back to what it held when the snapshot was taken. What was written since is
    /// lost.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`] where the image is not primary.
    ///
    /// # Implements:
    /// `int rbd_snap_rollback(rbd_image_t image, const char *snapname)`
    pub fn roll_back(&self, name: &str) -> Result<(), Error> {
        self.may_change("rbd_snap_rollback")?;
        let name = c_name("snapshot name", name)?;
        // SAFETY: an open image, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_snap_rollback)(self.handle(), name.as_ptr()) };
        self.at("rbd_snap_rollback").check(code)?;
        Ok(())
    }

    /// All snapshots, of every kind, as of when the image was opened or last refreshed.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_snap_list(rbd_image_t image, rbd_snap_info_t *snaps, int *max_snaps);
    /// void rbd_snap_list_end(rbd_snap_info_t *snaps);
    /// int rbd_snap_get_namespace_type(rbd_image_t image, uint64_t snap_id, rbd_snap_namespace_type_t *namespace_type);
    /// int rbd_snap_get_timestamp(rbd_image_t image, uint64_t snap_id, struct timespec *timestamp);
    /// ```
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let at = self.at("rbd_snap_list");
        let mut raw = buffer::grow(at, [16], |[size]| {
            let mut list: Vec<rbd_snap_info_t> = vec![
                rbd_snap_info_t {
                    id: 0,
                    size: 0,
                    name: std::ptr::null()
                };
                size
            ];
            let mut len = c_int::try_from(size).unwrap_or(c_int::MAX);
            // SAFETY: an open image, room for `len` values.
            let code =
                unsafe { (self.rbd().rbd_snap_list)(self.handle(), list.as_mut_ptr(), &mut len) };
            Attempt::from_code(code, [usize::try_from(len).unwrap_or(0)], |_| list)
        })?;
        let snapshots = raw
            .iter()
            // The list ends with a null name, for which librbd asks one more place.
            .take_while(|info| !info.name.is_null())
            .filter_map(|info| {
                // SAFETY: librbd filled the text in.
                let name = match unsafe { copied(at, info.name) } {
                    Ok(name) => name,
                    Err(error) => return Some(Err(error)),
                };
                match self.snapshot_kind_and_time(info.id) {
                    Ok((kind, taken)) => Some(Ok(Snapshot {
                        id: info.id,
                        name,
                        size: info.size,
                        kind,
                        taken,
                    })),
                    // It was removed since the list was made; mirroring does that all the time.
                    Err(Error::NotFound(_)) => None,
                    Err(error) => Some(Err(error)),
                }
            })
            .collect();
        // SAFETY: the list was filled by rbd_snap_list, and ends with a null name as
        // rbd_snap_list_end needs it; freed once.
        unsafe { (self.rbd().rbd_snap_list_end)(raw.as_mut_ptr()) };
        snapshots
    }

    fn snapshot_kind_and_time(&self, id: u64) -> Result<(SnapshotKind, Duration), Error> {
        let mut kind = 0;
        // SAFETY: an open image and a place for the result.
        let code =
            unsafe { (self.rbd().rbd_snap_get_namespace_type)(self.handle(), id, &mut kind) };
        self.at("rbd_snap_get_namespace_type").check(code)?;
        let at = self.at("rbd_snap_get_timestamp");
        let mut time = timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: as above.
        at.check(unsafe { (self.rbd().rbd_snap_get_timestamp)(self.handle(), id, &mut time) })?;
        Ok((SnapshotKind::from_c(kind), since_epoch(at, time)?))
    }
}

impl SnapshotKind {
    fn from_c(kind: u32) -> Self {
        match kind {
            RBD_SNAP_NAMESPACE_TYPE_USER => Self::User,
            RBD_SNAP_NAMESPACE_TYPE_GROUP => Self::Group,
            RBD_SNAP_NAMESPACE_TYPE_TRASH => Self::Trash,
            RBD_SNAP_NAMESPACE_TYPE_MIRROR => Self::Mirror,
            other => Self::Unrecognised(other),
        }
    }
}
