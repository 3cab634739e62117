//! Objects as they are and as they were at a snapshot, put back by the OSD, and methods of object classes.

use std::ptr;
use std::time::Duration;

use crate::buffer::c_name;
use crate::error::At;
use crate::{Error, Pool};

/// What class methods answer here is a few numbers.
const LARGEST_ANSWER: usize = 4096;

/// A pool at one moment: now, or at a snapshot. For one thread.
pub(crate) struct ObjectView {
    /// An ioctx of its own: the snapshot that is read and the last version belong to it.
    pool: Pool,
}

/// What can be told of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectState {
    /// Grows with each write. What was kept for a snapshot keeps the version that it had.
    pub(crate) version: u64,
    /// By the clock of who wrote it last, in whole seconds since the Unix epoch.
    pub(crate) modified: Duration,
}

impl ObjectView {
    /// # Implements:
    /// `void rados_ioctx_snap_set_read(rados_ioctx_t io, rados_snap_t snap)`
    pub(crate) fn of(pool: &Pool, snapshot: Option<u64>) -> Result<Self, Error> {
        let pool = pool.again()?;
        if let Some(snapshot) = snapshot {
            // SAFETY: an open ioctx that nobody else uses yet.
            unsafe { (pool.rados().rados_ioctx_snap_set_read)(pool.handle(), snapshot) };
        }
        Ok(Self { pool })
    }

    /// An object; `None` where it is not, or was not at the snapshot.
    ///
    /// # Implements:
    /// ```c
    /// int rados_stat(rados_ioctx_t io, const char *o, uint64_t *psize, time_t *pmtime);
    /// uint64_t rados_get_last_version(rados_ioctx_t io);
    /// ```
    pub(crate) fn look(&self, name: &str) -> Result<Option<ObjectState>, Error> {
        let path = self.pool.path(name);
        let at = At {
            operation: "rados_stat",
            subject: &path,
        };
        let oid = c_name("object name", name)?;
        let (mut size, mut modified) = (0, 0);
        // SAFETY: an open ioctx, a name that ends with NUL, and places for the results.
        let code = unsafe {
            (self.pool.rados().rados_stat)(
                self.pool.handle(),
                oid.as_ptr(),
                &mut size,
                &mut modified,
            )
        };
        match at.check(code) {
            Ok(_) => {}
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: an open ioctx that only this thread uses.
        let version = unsafe { (self.pool.rados().rados_get_last_version)(self.pool.handle()) };
        let modified = u64::try_from(modified).map_err(|e| at.unreadable(e))?;
        Ok(Some(ObjectState {
            version,
            modified: Duration::from_secs(modified),
        }))
    }

    /// Fills the buffer from that offset of the object on, and tells how much was there: 0 beyond its end, or where it is not.
    ///
    /// # Implements:
    /// `int rados_read(rados_ioctx_t io, const char *oid, char *buf, size_t len, uint64_t off)`
    pub(crate) fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let path = self.pool.path(name);
        let at = At {
            operation: "rados_read",
            subject: &path,
        };
        let oid = c_name("object name", name)?;
        // SAFETY: an open ioctx, a name that ends with NUL, and `buffer` has room for its length.
        let code = unsafe {
            (self.pool.rados().rados_read)(
                self.pool.handle(),
                oid.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                offset,
            )
        };
        match at.check(code) {
            Ok(read) => usize::try_from(read).map_err(|e| at.unreadable(e)),
            Err(Error::NotFound(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Pool {
    /// Makes an object what it was at a snapshot; one that was not there is removed. In the OSD: no data moves.
    ///
    /// # Implements:
    /// `int rados_ioctx_selfmanaged_snap_rollback(rados_ioctx_t io, const char *oid, rados_snap_t snapid)`
    pub(crate) fn roll_back_object(&self, name: &str, snapshot: u64) -> Result<(), Error> {
        let path = self.path(name);
        let oid = c_name("object name", name)?;
        // SAFETY: an open ioctx, and a name that ends with NUL.
        let code = unsafe {
            (self.rados().rados_ioctx_selfmanaged_snap_rollback)(
                self.handle(),
                oid.as_ptr(),
                snapshot,
            )
        };
        At {
            operation: "rados_ioctx_selfmanaged_snap_rollback",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// Runs a method of an object class on an object, and gives its answer.
    ///
    /// # Implements:
    /// ```c
    /// int rados_exec(rados_ioctx_t io, const char *oid, const char *cls, const char *method,
    ///     const char *in_buf, size_t in_len, char *buf, size_t out_len);
    /// ```
    pub(crate) fn execute(
        &self,
        name: &str,
        class: &str,
        method: &str,
        input: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let subject = format!("{} ({class}.{method})", self.path(name));
        let at = At {
            operation: "rados_exec",
            subject: &subject,
        };
        let oid = c_name("object name", name)?;
        let (class, method) = (c_name("class", class)?, c_name("method", method)?);
        let mut answer = vec![0_u8; LARGEST_ANSWER];
        // SAFETY: an open ioctx, texts that end with NUL, and two buffers of the lengths given.
        let code = unsafe {
            (self.rados().rados_exec)(
                self.handle(),
                oid.as_ptr(),
                class.as_ptr(),
                method.as_ptr(),
                if input.is_empty() {
                    ptr::null()
                } else {
                    input.as_ptr().cast()
                },
                input.len(),
                answer.as_mut_ptr().cast(),
                answer.len(),
            )
        };
        let used = usize::try_from(at.check(code)?).map_err(|e| at.unreadable(e))?;
        answer.truncate(used);
        Ok(answer)
    }
}
