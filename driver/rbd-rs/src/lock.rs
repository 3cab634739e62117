//! Who has an image open, and who may write to it.

use std::ffi::c_char;
use std::ptr;

use crate::buffer::{self, Attempt, c_name, copied};
use crate::sys::types::{
    RBD_LOCK_MODE_EXCLUSIVE, RBD_LOCK_MODE_SHARED, rbd_image_watcher_t, rbd_lock_mode_t,
};
use crate::{Error, Image};

/// A client that has the image open for writing (opening for reading sets no watch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watcher {
    /// Its address, as the blocklist takes it.
    pub address: String,
    /// Its number: the `4711` of `client.4711`.
    pub client: i64,
    /// Which of its watches.
    pub cookie: u64,
}

/// How the lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// By one.
    Exclusive,
    /// By several.
    Shared,
    /// A number that this crate has no name for.
    Unrecognised(u32),
}

/// Who holds the managed lock of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwners {
    /// How.
    pub mode: LockMode,
    /// Their addresses, as the blocklist takes them.
    pub addresses: Vec<String>,
}

impl Image {
    /// Who watches the image. This very handle is among them, unless it was opened read-only.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_watchers_list(rbd_image_t image, rbd_image_watcher_t *watchers, size_t *max_watchers);
    /// void rbd_watchers_list_cleanup(rbd_image_watcher_t *watchers, size_t num_watchers);
    /// ```
    pub fn watchers(&self) -> Result<Vec<Watcher>, Error> {
        let at = self.at("rbd_watchers_list");
        // SAFETY: zeros are a valid watcher; librbd heeds the length.
        let mut raw = unsafe {
            buffer::records(at, 8, |list: *mut rbd_image_watcher_t, len| {
                (self.rbd().rbd_watchers_list)(self.handle(), list, len)
            })
        }?;
        let watchers = raw
            .iter()
            .map(|watcher| {
                Ok(Watcher {
                    // SAFETY: librbd filled the text in.
                    address: unsafe { copied(at, watcher.addr) }?,
                    client: watcher.id,
                    cookie: watcher.cookie,
                })
            })
            .collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_watchers_list_cleanup)(raw.as_mut_ptr(), raw.len()) };
        watchers
    }

    /// Who holds the exclusive lock; nothing if nobody does.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the image was opened read-only or has no exclusive-lock feature:
    /// librbd looks only through a handle that could take the lock.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_lock_get_owners(rbd_image_t image, rbd_lock_mode_t *lock_mode, char **lock_owners, size_t *max_lock_owners);
    /// void rbd_lock_get_owners_cleanup(char **lock_owners, size_t lock_owner_count);
    /// ```
    pub fn lock_owners(&self) -> Result<Option<LockOwners>, Error> {
        let at = self.at("rbd_lock_get_owners");
        let found = buffer::grow(at, [8], |[size]| {
            let mut owners: Vec<*mut c_char> = vec![ptr::null_mut(); size];
            let (mut len, mut mode): (usize, rbd_lock_mode_t) = (size, 0);
            // SAFETY: an open image, room for `len` pointers, a place for the mode.
            let code = unsafe {
                (self.rbd().rbd_lock_get_owners)(
                    self.handle(),
                    &mut mode,
                    owners.as_mut_ptr(),
                    &mut len,
                )
            };
            Attempt::from_code(code, [len], |_| {
                owners.truncate(len);
                (mode, owners)
            })
        });
        let (mode, mut owners) = match found {
            Ok(found) => found,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: librbd filled the texts in.
        let addresses: Result<Vec<_>, _> = owners
            .iter()
            .map(|owner| unsafe { copied(at, *owner) })
            .collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_lock_get_owners_cleanup)(owners.as_mut_ptr(), owners.len()) };
        let addresses = addresses?;
        if addresses.is_empty() {
            return Ok(None);
        }
        let mode = match mode {
            RBD_LOCK_MODE_EXCLUSIVE => LockMode::Exclusive,
            RBD_LOCK_MODE_SHARED => LockMode::Shared,
            other => LockMode::Unrecognised(other),
        };
        Ok(Some(LockOwners { mode, addresses }))
    }

    /// Whether this very handle holds the exclusive lock.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_is_exclusive_lock_owner(rbd_image_t image, int *is_owner)`
    pub fn holds_lock(&self) -> Result<bool, Error> {
        let mut is_owner = 0;
        // SAFETY: an open image and a place for the result.
        let code =
            unsafe { (self.rbd().rbd_is_exclusive_lock_owner)(self.handle(), &mut is_owner) };
        self.at("rbd_is_exclusive_lock_owner").check(code)?;
        Ok(is_owner != 0)
    }

    /// Takes the exclusive lock, asking a holder to give it up.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if the holder keeps it, or the image is not primary;
    /// [`Error::Invalid`] without the exclusive-lock feature.
    ///
    /// # Implements:
    /// `int rbd_lock_acquire(rbd_image_t image, rbd_lock_mode_t lock_mode)`
    pub fn lock(&self) -> Result<(), Error> {
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_lock_acquire)(self.handle(), RBD_LOCK_MODE_EXCLUSIVE) };
        self.at("rbd_lock_acquire").check(code)?;
        Ok(())
    }

    /// Gives the exclusive lock back.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_lock_release(rbd_image_t image)`
    pub fn unlock(&self) -> Result<(), Error> {
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_lock_release)(self.handle()) };
        self.at("rbd_lock_release").check(code)?;
        Ok(())
    }

    /// Takes the lock away from its owner, whom librbd **blocklists** first (its option
    /// `rbd_blocklist_on_break_lock`).
    ///
    /// # Errors
    /// [`Error::NotFound`] if that client does not hold it.
    ///
    /// # Implements:
    /// `int rbd_lock_break(rbd_image_t image, rbd_lock_mode_t lock_mode, const char *lock_owner)`
    pub fn break_lock(&self, owner: &str) -> Result<(), Error> {
        let owner = c_name("lock owner", owner)?;
        // SAFETY: an open image, a text that ends with NUL.
        let code = unsafe {
            (self.rbd().rbd_lock_break)(self.handle(), RBD_LOCK_MODE_EXCLUSIVE, owner.as_ptr())
        };
        self.at("rbd_lock_break").check(code)?;
        Ok(())
    }
}
