//! The trash: images that were removed, and can still come back.

use crate::buffer::{self, c_name, copied};
use crate::error::At;
use crate::sys::types::rbd_trash_image_info_t;
use crate::{Error, Pool};
use std::time::Duration;

/// An image in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashEntry {
    /// Its id, by which it is restored or removed.
    pub id: String,
    /// The name it had.
    pub name: String,
    /// When it was put there, in seconds since the Unix epoch.
    pub deleted: i64,
    /// Until when removing it for good is refused, in seconds since the Unix epoch.
    pub kept_until: i64,
}

/// Whether the time that an image is to be kept in the trash counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrashRemoval {
    /// Refuse while the image is to be kept.
    WhenDue,
    /// Remove it now.
    Now,
}

impl Pool {
    /// Puts an image into the trash, and keeps it there at least so long. A mirrored image must
    /// have its mirroring disabled first: the other zone's copy would go otherwise.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Busy`] while it is open elsewhere.
    ///
    /// # Implements:
    /// `int rbd_trash_move(rados_ioctx_t io, const char *name, uint64_t delay)`
    pub fn trash_image(&self, name: &str, keep: Duration) -> Result<(), Error> {
        let path = self.path(name);
        let c_image = c_name("image name", name)?;
        // SAFETY: an open ioctx, a name that ends with NUL.
        let code =
            unsafe { (self.rbd().rbd_trash_move)(self.handle(), c_image.as_ptr(), keep.as_secs()) };
        At {
            operation: "rbd_trash_move",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// What is in the trash.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_trash_list(rados_ioctx_t io, rbd_trash_image_info_t *trash_entries, size_t *num_entries);
    /// void rbd_trash_list_cleanup(rbd_trash_image_info_t *trash_entries, size_t num_entries);
    /// ```
    pub fn trash(&self) -> Result<Vec<TrashEntry>, Error> {
        let at = self.at("rbd_trash_list");
        // SAFETY: zeros are a valid entry; librbd heeds the length.
        let mut raw = unsafe {
            buffer::records(at, 32, |list: *mut rbd_trash_image_info_t, len| {
                (self.rbd().rbd_trash_list)(self.handle(), list, len)
            })
        }?;
        let entries = raw
            .iter()
            .map(|entry| {
                Ok(TrashEntry {
                    // SAFETY: librbd filled the text in.
                    id: unsafe { copied(at, entry.id) }?,
                    // SAFETY: as above.
                    name: unsafe { copied(at, entry.name) }?,
                    deleted: entry.deletion_time,
                    kept_until: entry.deferment_end_time,
                })
            })
            .collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_trash_list_cleanup)(raw.as_mut_ptr(), raw.len()) };
        entries
    }

    /// Takes an image out of the trash, under this name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`] if the name is taken.
    ///
    /// # Implements:
    /// `int rbd_trash_restore(rados_ioctx_t io, const char *id, const char *name)`
    pub fn restore_image(&self, id: &str, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let (id, name) = (c_name("image id", id)?, c_name("image name", name)?);
        // SAFETY: an open ioctx, two texts that end with NUL.
        let code =
            unsafe { (self.rbd().rbd_trash_restore)(self.handle(), id.as_ptr(), name.as_ptr()) };
        At {
            operation: "rbd_trash_restore",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// Removes an image from the trash, and its data, for good.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Permission`] while it is to be kept.
    ///
    /// # Implements:
    /// `int rbd_trash_remove(rados_ioctx_t io, const char *id, bool force)`
    pub fn remove_from_trash(&self, id: &str, when: TrashRemoval) -> Result<(), Error> {
        let path = self.path(id);
        let id = c_name("image id", id)?;
        let force = matches!(when, TrashRemoval::Now);
        // SAFETY: an open ioctx, an id that ends with NUL.
        let code = unsafe { (self.rbd().rbd_trash_remove)(self.handle(), id.as_ptr(), force) };
        At {
            operation: "rbd_trash_remove",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }
}
