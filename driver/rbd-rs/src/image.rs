//! An open image: what it is and holds.

use std::ffi::{CString, c_int};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::buffer::{self, Attempt, c_name};
use crate::error::At;
use crate::images::ImageOptions;
use crate::sys::types::{no_progress, rados_ioctx_t, rbd_image_t, timespec};
use crate::{CreateOptions, Error, Features, Pool};

/// Whether making an image smaller is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// A smaller size is refused.
    Refuse,
    /// A smaller size cuts the data off.
    Allow,
}

/// The four functions that open have one shape.
pub(crate) type OpenFn = unsafe extern "C" fn(
    rados_ioctx_t,
    *const std::ffi::c_char,
    *mut rbd_image_t,
    *const std::ffi::c_char,
) -> c_int;

/// An open image. Closed when dropped, which talks to the cluster and can wait for it: drop it in
/// the call pool, or call [`Image::close`] there to learn whether it went well.
pub struct Image {
    pool: Pool,
    handle: rbd_image_t,
    /// `pool/name`, for errors.
    subject: String,
    /// Set once this handle has demoted the image. In snapshot mode librbd 16.2.15 goes on taking
    /// writes through that very handle, and they reach the disk.
    demoted: AtomicBool,
}

// SAFETY: librbd lets many threads use an open image; its own users (QEMU) do.
unsafe impl Send for Image {}
// SAFETY: as above; no method here gives out a pointer into the image.
unsafe impl Sync for Image {}

impl Image {
    pub(crate) fn open(
        pool: &Pool,
        operation: &'static str,
        function: OpenFn,
        name: &str,
        snapshot: Option<CString>,
    ) -> Result<Self, Error> {
        let subject = pool.path(name);
        let c_image = c_name("image name or id", name)?;
        let c_snapshot = snapshot.as_ref().map_or(ptr::null(), |name| name.as_ptr());
        let mut handle: rbd_image_t = ptr::null_mut();
        // SAFETY: an open ioctx, a name that ends with NUL, a place for the result, and a
        // snapshot's name or null for the image itself.
        let code = unsafe { function(pool.handle(), c_image.as_ptr(), &mut handle, c_snapshot) };
        At {
            operation,
            subject: &subject,
        }
        .check(code)?;
        Ok(Self {
            pool: pool.clone(),
            handle,
            subject,
            demoted: AtomicBool::new(false),
        })
    }

    /// Closes the image: cached writes are flushed, the lock is released.
    ///
    /// # Errors
    /// What kept it from being clean. The handle is gone in any case.
    ///
    /// # Implements:
    /// `int rbd_close(rbd_image_t image)`
    pub fn close(self) -> Result<(), Error> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: an open handle; ManuallyDrop keeps the destructor from closing it again.
        let code = unsafe { (this.rbd().rbd_close)(this.handle) };
        let result = this.at("rbd_close").check(code).map(drop);
        // SAFETY: the two fields that own something are dropped once; `this` is not used again.
        unsafe {
            ptr::drop_in_place(&mut this.pool);
            ptr::drop_in_place(&mut this.subject);
        }
        result
    }

    /// The pool that it was opened from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_size(rbd_image_t image, uint64_t *size)`
    pub fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        // SAFETY: an open image and a place for the result.
        let code = unsafe { (self.rbd().rbd_get_size)(self.handle, &mut size) };
        self.at("rbd_get_size").check(code)?;
        Ok(size)
    }

    /// Gives it another size, in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a smaller size with [`Shrink::Refuse`], [`Error::ReadOnly`] where it
    /// is not primary.
    ///
    /// # Implements:
    /// `int rbd_resize2(rbd_image_t image, uint64_t size, bool allow_shrink, librbd_progress_fn_t cb, void *cbdata)`
    pub fn resize(&self, size: u64, shrink: Shrink) -> Result<(), Error> {
        self.may_change("rbd_resize2")?;
        let allow = matches!(shrink, Shrink::Allow);
        // SAFETY: an open image, and a callback that needs no data and does not panic.
        let code = unsafe {
            (self.rbd().rbd_resize2)(self.handle, size, allow, no_progress, ptr::null_mut())
        };
        self.at("rbd_resize2").check(code)?;
        Ok(())
    }

    /// Its features.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_features(rbd_image_t image, uint64_t *features)`
    pub fn features(&self) -> Result<Features, Error> {
        let mut bits = 0;
        // SAFETY: an open image and a place for the result.
        let code = unsafe { (self.rbd().rbd_get_features)(self.handle, &mut bits) };
        self.at("rbd_get_features").check(code)?;
        Ok(Features::from_bits(bits))
    }

    /// Turns features on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for features that cannot be changed, or that need others first.
    ///
    /// # Implements:
    /// `int rbd_update_features(rbd_image_t image, uint64_t features, uint8_t enabled)`
    pub fn enable_features(&self, features: Features) -> Result<(), Error> {
        self.update_features(features, 1)
    }

    /// Turns features off. Turning journaling off ends journal mirroring.
    ///
    /// # Errors
    /// As [`Image::enable_features`].
    ///
    /// # Implements:
    /// `int rbd_update_features(rbd_image_t image, uint64_t features, uint8_t enabled)`
    pub fn disable_features(&self, features: Features) -> Result<(), Error> {
        self.update_features(features, 0)
    }

    fn update_features(&self, features: Features, enabled: u8) -> Result<(), Error> {
        self.may_change("rbd_update_features")?;
        // SAFETY: an open image.
        let code =
            unsafe { (self.rbd().rbd_update_features)(self.handle, features.bits(), enabled) };
        self.at("rbd_update_features").check(code)?;
        Ok(())
    }

    /// Its id. It changes when a resync re-creates the image.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_id(rbd_image_t image, char *id, size_t id_len)`
    pub fn id(&self) -> Result<String, Error> {
        let at = self.at("rbd_get_id");
        let bytes = buffer::grow(at, [128], |[size]| {
            let mut buf = vec![0_u8; size];
            // SAFETY: an open image; `buf` has room for `size` bytes.
            let code =
                unsafe { (self.rbd().rbd_get_id)(self.handle, buf.as_mut_ptr().cast(), size) };
            Attempt::from_code(code, [0], |_| buf)
        })?;
        buffer::until_nul(at, &bytes)
    }

    /// What the names of its data objects begin with.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_block_name_prefix(rbd_image_t image, char *prefix, size_t prefix_len)`
    pub(crate) fn block_name_prefix(&self) -> Result<String, Error> {
        let at = self.at("rbd_get_block_name_prefix");
        let bytes = buffer::grow(at, [128], |[size]| {
            let mut buf = vec![0_u8; size];
            // SAFETY: an open image; `buf` has room for `size` bytes.
            let code = unsafe {
                (self.rbd().rbd_get_block_name_prefix)(self.handle, buf.as_mut_ptr().cast(), size)
            };
            Attempt::from_code(code, [0], |_| buf)
        })?;
        buffer::until_nul(at, &bytes)
    }

    /// The pool of its data objects, which may be another than its own.
    ///
    /// # Implements:
    /// `int64_t rbd_get_data_pool_id(rbd_image_t image)`
    pub(crate) fn data_pool_id(&self) -> Result<i64, Error> {
        // SAFETY: an open image.
        let id = unsafe { (self.rbd().rbd_get_data_pool_id)(self.handle) };
        if id < 0 {
            return Err(self.at("rbd_get_data_pool_id").error(-libc::ENOENT));
        }
        Ok(id)
    }

    /// Over how many objects its data is striped.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_stripe_count(rbd_image_t image, uint64_t *stripe_count)`
    pub(crate) fn stripe_count(&self) -> Result<u64, Error> {
        let mut count = 0;
        // SAFETY: an open image and a place for the result.
        let code = unsafe { (self.rbd().rbd_get_stripe_count)(self.handle, &mut count) };
        self.at("rbd_get_stripe_count").check(code)?;
        Ok(count)
    }

    /// When it was created **on this cluster**, since the Unix epoch.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rbd_get_create_timestamp(rbd_image_t image, struct timespec *timestamp)`
    pub fn created(&self) -> Result<Duration, Error> {
        let at = self.at("rbd_get_create_timestamp");
        let mut time = timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: an open image and a place for the result.
        at.check(unsafe { (self.rbd().rbd_get_create_timestamp)(self.handle, &mut time) })?;
        since_epoch(at, time)
    }

    /// Reads `buffer.len()` bytes at `offset`; fewer at the end of the image.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an offset beyond the end.
    ///
    /// # Implements:
    /// `ssize_t rbd_read(rbd_image_t image, uint64_t ofs, size_t len, char *buf)`
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        // SAFETY: `buffer` has room for its length.
        let code = unsafe {
            (self.rbd().rbd_read)(
                self.handle,
                offset,
                buffer.len(),
                buffer.as_mut_ptr().cast(),
            )
        };
        self.at("rbd_read").check_len(code)
    }

    /// Writes at `offset`, waiting until the cache or the OSDs have it; [`Image::flush`] makes
    /// sure of the OSDs.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] or [`Error::Permission`] if the image may not be written here: opened
    /// read-only, not primary, demoted meanwhile. [`Error::Blocklisted`] after a fence.
    ///
    /// # Implements:
    /// `ssize_t rbd_write(rbd_image_t image, uint64_t ofs, size_t len, const char *buf)`
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        self.may_change("rbd_write")?;
        // SAFETY: `data` has the length given.
        let code = unsafe {
            (self.rbd().rbd_write)(self.handle, offset, data.len(), data.as_ptr().cast())
        };
        self.at("rbd_write").check_len(code)
    }

    /// Gives a range back: it reads as zeros after, where it covers whole granules of the
    /// option `rbd_discard_granularity_bytes` (64 KiB). The rest of it librbd leaves as it is.
    ///
    /// # Errors
    /// As [`Image::write`].
    ///
    /// # Implements:
    /// `int rbd_discard(rbd_image_t image, uint64_t ofs, uint64_t len)`
    pub fn discard(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.may_change("rbd_discard")?;
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_discard)(self.handle, offset, len) };
        self.at("rbd_discard").check(code)?;
        Ok(())
    }

    /// Copies the image as it is now, all but its snapshots, to a new one that stands by itself and is not mirrored. Only
    /// what holds data is copied; metadata comes along. Takes as long as that copy.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is an image of that name.
    ///
    /// # Implements:
    /// `int rbd_deep_copy(rbd_image_t src, rados_ioctx_t dest_io_ctx, const char *destname, rbd_image_options_t dest_opts)`
    pub fn deep_copy(&self, to: &Pool, name: &str) -> Result<(), Error> {
        let path = to.path(name);
        let at = At {
            operation: "rbd_deep_copy",
            subject: &path,
        };
        // What belongs to the part that the source plays in mirroring is not the copy's.
        let mirroring = [
            Features::JOURNALING,
            Features::NON_PRIMARY,
            Features::DATA_POOL,
        ];
        let features = mirroring
            .into_iter()
            .fold(self.features()?, Features::without);
        let options = CreateOptions {
            features: Some(features),
            ..CreateOptions::default()
        };
        let name = c_name("image name", name)?;
        let options = ImageOptions::new(to, at, &options)?;
        // SAFETY: an open image and ioctx, a name that ends with NUL, live options.
        at.check(unsafe {
            (self.rbd().rbd_deep_copy)(self.handle(), to.handle(), name.as_ptr(), options.handle)
        })?;
        Ok(())
    }

    /// Waits until all that was written is on the OSDs.
    ///
    /// # Errors
    /// That of a write which failed since the last flush.
    ///
    /// # Implements:
    /// `int rbd_flush(rbd_image_t image)`
    pub fn flush(&self) -> Result<(), Error> {
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_flush)(self.handle) };
        self.at("rbd_flush").check(code)?;
        Ok(())
    }

    /// Refuses a change through a handle that demoted its image.
    pub(crate) fn may_change(&self, operation: &'static str) -> Result<(), Error> {
        if self.demoted.load(Ordering::SeqCst) {
            return Err(self.at(operation).error(-libc::EROFS));
        }
        Ok(())
    }

    /// Says whether this handle has demoted the image.
    pub(crate) fn set_demoted(&self, demoted: bool) {
        self.demoted.store(demoted, Ordering::SeqCst);
    }

    pub(crate) fn rbd(&self) -> &crate::sys::rbd::Rbd {
        self.pool.rbd()
    }

    pub(crate) fn handle(&self) -> rbd_image_t {
        self.handle
    }

    pub(crate) fn at(&self, operation: &'static str) -> At<'_> {
        At {
            operation,
            subject: &self.subject,
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Image({})", self.subject)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: an open handle, closed once: `close` does not come here.
        let code = unsafe { (self.rbd().rbd_close)(self.handle) };
        if let Err(error) = self.at("rbd_close").check(code) {
            tracing::debug!(image = %self.subject, error = %error, "an image did not close cleanly");
        }
    }
}

/// A `timespec` as a time since the Unix epoch.
pub(crate) fn since_epoch(at: At<'_>, time: timespec) -> Result<Duration, Error> {
    let seconds = u64::try_from(time.tv_sec).map_err(|error| at.unreadable(error))?;
    let nanos = u32::try_from(time.tv_nsec).map_err(|error| at.unreadable(error))?;
    Ok(Duration::new(seconds, nanos))
}
