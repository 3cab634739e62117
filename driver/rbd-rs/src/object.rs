//! Plain RADOS objects: small values that a pool keeps, changed by compare-and-write.

use std::ptr;

use crate::buffer::c_name;
use crate::error::At;
use crate::sys::types::{rados_ioctx_t, rados_write_op_t};
use crate::{Error, Pool};

/// The largest value that these calls read or write. They are meant for values, not for data.
pub const LARGEST_OBJECT: usize = 1 << 20;

/// What a compare-and-write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// No such object.
    Absent,
    /// Exactly these bytes: no fewer, no more.
    Value(&'a [u8]),
}

/// What came of a compare-and-write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It was as expected, and the new value is stored.
    Written,
    /// It was not; nothing was changed.
    Mismatch {
        /// What was there when it was looked at; nothing if the object is absent.
        found: Option<Vec<u8>>,
    },
}

/// How often a compare-and-write looks again when a change that leaves the same bytes got between
/// its look and its write.
const ROUNDS: usize = 16;

impl Pool {
    /// An object's whole value.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, [`Error::Range`] if it is larger than
    /// [`LARGEST_OBJECT`].
    ///
    /// # Implements:
    /// `int rados_read(rados_ioctx_t io, const char *oid, char *buf, size_t len, uint64_t off)`
    pub fn read_object(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let at = At {
            operation: "rados_read",
            subject: &path,
        };
        let oid = c_name("object name", name)?;
        // Two sizes, so that the common case does not allocate the largest. Each is one read, and
        // one read is never torn.
        for size in [4096, LARGEST_OBJECT] {
            let mut buf = vec![0_u8; size + 1];
            // SAFETY: `buf` has room for its length, the name ends with NUL.
            let code = unsafe {
                (self.rados().rados_read)(
                    self.handle(),
                    oid.as_ptr(),
                    buf.as_mut_ptr().cast(),
                    buf.len(),
                    0,
                )
            };
            let used = usize::try_from(at.check(code)?).map_err(|e| at.unreadable(e))?;
            if used <= size {
                buf.truncate(used);
                return Ok(buf);
            }
        }
        Err(at.error(-libc::EFBIG))
    }

    /// Stores a value, whatever was there before.
    ///
    /// # Errors
    /// [`Error::Range`] if it is larger than [`LARGEST_OBJECT`].
    ///
    /// # Implements:
    /// `int rados_write_full(rados_ioctx_t io, const char *oid, const char *buf, size_t len)`
    pub fn write_object(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        let at = At {
            operation: "rados_write_full",
            subject: &path,
        };
        let oid = c_name("object name", name)?;
        bounded(at, value)?;
        // SAFETY: `value` has the length given, the name ends with NUL.
        at.check(unsafe {
            (self.rados().rados_write_full)(
                self.handle(),
                oid.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
            )
        })?;
        Ok(())
    }

    /// Stores a value in an object that must not be there yet.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is.
    ///
    /// # Implements:
    /// ```c
    /// void rados_write_op_create(rados_write_op_t write_op, int exclusive, const char* category);
    /// void rados_write_op_write_full(rados_write_op_t write_op, const char *buffer, size_t len);
    /// int rados_write_op_operate(rados_write_op_t write_op, rados_ioctx_t io, const char *oid, time_t *mtime, int flags);
    /// ```
    pub fn create_object(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        let at = At {
            operation: "rados_write_op_operate(create)",
            subject: &path,
        };
        bounded(at, value)?;
        let op = WriteOp::new(self);
        // SAFETY: a live operation; 1 is LIBRADOS_CREATE_EXCLUSIVE, no category.
        unsafe {
            (self.rados().rados_write_op_create)(
                op.handle,
                crate::sys::types::LIBRADOS_CREATE_EXCLUSIVE as _,
                ptr::null(),
            );
        }
        op.write_full(value);
        at.check(op.operate(self.handle(), name)?)?;
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rados_remove(rados_ioctx_t io, const char *oid)`
    pub fn remove_object(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let oid = c_name("object name", name)?;
        // SAFETY: an open ioctx, and a name that ends with NUL.
        let code = unsafe { (self.rados().rados_remove)(self.handle(), oid.as_ptr()) };
        At {
            operation: "rados_remove",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// Replaces an object's value if it is exactly what is expected, in one step that no other
    /// client can get between.
    ///
    /// The OSD's own comparison (`cmpext`) pads a shorter value with zeros and does not look
    /// beyond the length that it is given, so by itself it takes `1` for `10`. Here the value is
    /// read and compared whole, and the write asserts the version that was read, beside the
    /// comparison: any other write in between makes it a mismatch.
    ///
    /// # Errors
    /// After [`Error::TimedOut`] the value may have been written or not: read it.
    /// [`Error::Busy`] if the object was rewritten with the same bytes again and again meanwhile.
    ///
    /// # Implements:
    /// ```c
    /// uint64_t rados_get_last_version(rados_ioctx_t io);
    /// void rados_write_op_assert_version(rados_write_op_t write_op, uint64_t ver);
    /// void rados_write_op_cmpext(rados_write_op_t write_op, const char *cmp_buf, size_t cmp_len, uint64_t off, int *prval);
    /// ```
    pub fn compare_and_write(
        &self,
        name: &str,
        expected: Expected<'_>,
        value: &[u8],
    ) -> Result<Compared, Error> {
        let expected = match expected {
            Expected::Absent => {
                return match self.create_object(name, value) {
                    Ok(()) => Ok(Compared::Written),
                    Err(Error::Exists(_)) => Ok(Compared::Mismatch {
                        found: self.find_object(name)?,
                    }),
                    Err(error) => Err(error),
                };
            }
            Expected::Value(bytes) => bytes,
        };
        let path = self.path(name);
        let at = At {
            operation: "rados_write_op_operate(compare)",
            subject: &path,
        };
        bounded(at, value)?;
        // The last version belongs to the ioctx, and this one is shared with other threads.
        let own = self.again()?;
        for _ in 0..ROUNDS {
            let found = own.find_object(name)?;
            if found.as_deref() != Some(expected) {
                return Ok(Compared::Mismatch { found });
            }
            // SAFETY: an open ioctx that only this call uses.
            let version = unsafe { (self.rados().rados_get_last_version)(own.handle()) };
            let op = WriteOp::new(self);
            // SAFETY: a live operation; `expected` outlives it, and no place for a result of its
            // own is given.
            unsafe {
                (self.rados().rados_write_op_assert_version)(op.handle, version);
                if !expected.is_empty() {
                    (self.rados().rados_write_op_cmpext)(
                        op.handle,
                        expected.as_ptr().cast(),
                        expected.len(),
                        0,
                        ptr::null_mut(),
                    );
                }
            }
            op.write_full(value);
            match op.operate(own.handle(), name)? {
                // A newer version, an older one, gone, or other bytes (-MAX_ERRNO - offset):
                // somebody was faster. Look at what there is now.
                code if code == -libc::ERANGE
                    || code == -libc::EOVERFLOW
                    || code == -libc::ENOENT
                    || code <= -MAX_ERRNO => {}
                code => {
                    at.check(code)?;
                    return Ok(Compared::Written);
                }
            }
        }
        Err(at.error(-libc::EBUSY))
    }

    /// An object's value, or nothing if there is no such object.
    ///
    /// # Errors
    /// As [`Pool::read_object`], but for [`Error::NotFound`].
    pub fn find_object(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.read_object(name) {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `cmpext` answers a difference at offset n with this number and n, negative.
const MAX_ERRNO: i32 = 4095;

/// Writes that happen all or not at all. The texts and values given to it must outlive it.
struct WriteOp<'a> {
    pool: &'a Pool,
    handle: rados_write_op_t,
}

impl<'a> WriteOp<'a> {
    /// # Implements:
    /// `rados_write_op_t rados_create_write_op(void)`
    fn new(pool: &'a Pool) -> Self {
        // SAFETY: it needs nothing, and does not fail.
        let handle = unsafe { (pool.rados().rados_create_write_op)() };
        Self { pool, handle }
    }

    fn write_full(&self, value: &[u8]) {
        // SAFETY: a live operation; librados copies the value.
        unsafe {
            (self.pool.rados().rados_write_op_write_full)(
                self.handle,
                value.as_ptr().cast(),
                value.len(),
            );
        }
    }

    fn operate(&self, io: rados_ioctx_t, name: &str) -> Result<i32, Error> {
        let oid = c_name("object name", name)?;
        // SAFETY: a live operation and ioctx, a name that ends with NUL, no mtime and no flags.
        Ok(unsafe {
            (self.pool.rados().rados_write_op_operate)(
                self.handle,
                io,
                oid.as_ptr(),
                ptr::null_mut(),
                0,
            )
        })
    }
}

impl Drop for WriteOp<'_> {
    /// # Implements:
    /// `void rados_release_write_op(rados_write_op_t write_op)`
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once.
        unsafe { (self.pool.rados().rados_release_write_op)(self.handle) };
    }
}

fn bounded(at: At<'_>, value: &[u8]) -> Result<(), Error> {
    if value.len() > LARGEST_OBJECT {
        Err(at.error(-libc::EFBIG))
    } else {
        Ok(())
    }
}
