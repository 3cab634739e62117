//! A connection to a Ceph cluster.

use std::ffi::c_char;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::{self, Attempt, c_name, c_text, copied};
use crate::error::At;
use crate::exit::Connected;
use crate::sys::types::rados_t;
use crate::{Ceph, Error, Pool};

/// How long librados itself waits before a call ends with [`Error::TimedOut`].
///
/// Ceph takes whole seconds: parts of a second are rounded up. `None` waits for ever, which is
/// librados' own default, and leaves the [`CallPool`](crate::CallPool)'s deadline as the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `client_mount_timeout`: finding a monitor and authenticating, at connect.
    pub connect: Option<Duration>,
    /// `rados_mon_op_timeout`: a command or a map from the monitors.
    pub mon_op: Option<Duration>,
    /// `rados_osd_op_timeout`: one operation on an object. An image operation is many of these.
    pub osd_op: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 s to connect, 10 s for the monitors, none for the OSDs.
    ///
    /// None for the OSDs, because a write that librados gave up on may still be carried out by
    /// the OSD later, behind the back of the exclusive lock and the journal. Callers bound their
    /// wait with the call pool instead.
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            mon_op: Some(Duration::from_secs(10)),
            osd_op: None,
        }
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The configuration file. Nothing else is read, no default place either, when it is given;
    /// without it, the places where Ceph looks by itself.
    pub conf_file: Option<PathBuf>,
    /// The cluster's name, for `$cluster` in the configuration. Mostly `ceph`.
    pub cluster_name: String,
    /// The client's full name, such as `client.admin`.
    pub client: String,
    /// The client's keyring file, if the configuration does not name it.
    pub keyring: Option<PathBuf>,
    /// librados' own timeouts.
    pub timeouts: Timeouts,
    /// More configuration options, set after the file was read.
    pub options: Vec<(String, String)>,
}

impl ConnectOptions {
    /// `client.admin` of the cluster that this file describes, with the default timeouts.
    pub fn from_conf_file(conf_file: impl Into<PathBuf>) -> Self {
        Self {
            conf_file: Some(conf_file.into()),
            ..Self::default()
        }
    }

    /// As another client, `client.cinder` say.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = client.into();
        self
    }

    /// With other timeouts.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// With one more option.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            conf_file: None,
            cluster_name: "ceph".to_owned(),
            client: "client.admin".to_owned(),
            keyring: None,
            timeouts: Timeouts::default(),
            options: Vec::new(),
        }
    }
}

/// A connected client of a cluster. Cheap to clone; every pool and image keeps it alive.
///
/// The connection is shut down when the last clone, pool and image of it is gone. That can wait
/// for the cluster, so let it happen in the call pool, not on an async thread.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    ceph: Ceph,
    handle: rados_t,
    /// Who we are and where, for errors.
    subject: String,
    /// The last to go: after `rados_shutdown`.
    _connected: Connected,
}

// SAFETY: librados says of rados_t that its functions may be called from any thread at once; the
// pointer is written once, before the handle is shared.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Cluster {
    /// Connects. Blocks until a monitor has authenticated the client, or the timeout is over.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing configuration file or key, [`Error::TimedOut`] if no
    /// monitor answers, [`Error::Permission`] for a wrong key, [`Error::Invalid`] for an unknown
    /// option.
    ///
    /// # Implements:
    /// ```c
    /// int rados_create2(rados_t *pcluster, const char *const clustername, const char * const name, uint64_t flags);
    /// int rados_conf_read_file(rados_t cluster, const char *path);
    /// int rados_conf_set(rados_t cluster, const char *option, const char *value);
    /// int rados_connect(rados_t cluster);
    /// ```
    pub fn connect(ceph: &Ceph, options: &ConnectOptions) -> Result<Self, Error> {
        let rados = ceph.rados();
        let conf = options.conf_file.as_deref().map(path_text).transpose()?;
        let subject = match &conf {
            Some(conf) => format!("{} of {conf}", options.client),
            None => format!("{} of {}", options.client, options.cluster_name),
        };
        let name = c_name("cluster name", &options.cluster_name)?;
        let client = c_name("client name", &options.client)?;

        let connected = Connected::new();
        let mut handle: rados_t = ptr::null_mut();
        let at = At {
            operation: "rados_create2",
            subject: &subject,
        };
        // SAFETY: `handle` is a place for the result, both texts end with NUL and outlive the call.
        at.check(unsafe { (rados.rados_create2)(&mut handle, name.as_ptr(), client.as_ptr(), 0) })?;
        // From here on the drop of `Inner` releases the handle; librados allows rados_shutdown
        // on one that never connected.
        let inner = Inner {
            ceph: ceph.clone(),
            handle,
            subject,
            _connected: connected,
        };

        inner.read_conf(conf)?;
        // librbd tells every failed call on standard error, which is not its own. The errors are
        // all returned; who wants the lines sets a log file.
        inner.set("log_to_stderr", "false")?;
        inner.set("err_to_stderr", "false")?;
        if let Some(keyring) = &options.keyring {
            inner.set("keyring", path_text(keyring)?)?;
        }
        for (name, timeout) in [
            ("client_mount_timeout", options.timeouts.connect),
            ("rados_mon_op_timeout", options.timeouts.mon_op),
            ("rados_osd_op_timeout", options.timeouts.osd_op),
        ] {
            if let Some(timeout) = timeout {
                inner.set(name, &whole_seconds(timeout).to_string())?;
            }
        }
        for (name, value) in &options.options {
            inner.set(name, value)?;
        }

        // SAFETY: a handle that rados_create2 made and nobody else uses yet.
        let code = unsafe { (rados.rados_connect)(inner.handle) };
        inner.at("rados_connect").check(code)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The loaded libraries.
    pub fn ceph(&self) -> &Ceph {
        &self.inner.ceph
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rados_cluster_fsid(rados_t cluster, char *buf, size_t len)`
    pub fn fsid(&self) -> Result<String, Error> {
        let at = self.at("rados_cluster_fsid");
        buffer::text(at, |buf, len| {
            // SAFETY: `buf` has room for `*len` bytes.
            unsafe { (self.rados().rados_cluster_fsid)(self.handle(), buf, *len) }
        })
    }

    /// A configuration option's value, as this connection sees it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown option.
    ///
    /// # Implements:
    /// `int rados_conf_get(rados_t cluster, const char *option, char *buf, size_t len)`
    pub fn conf_get(&self, option: &str) -> Result<String, Error> {
        let at = self.at("rados_conf_get");
        let name = c_name("option", option)?;
        let bytes = buffer::grow(at, [256], |[size]| {
            let mut buf = vec![0_u8; size];
            // SAFETY: `buf` has room for `size` bytes, the name ends with NUL.
            let code = unsafe {
                (self.rados().rados_conf_get)(
                    self.handle(),
                    name.as_ptr(),
                    buf.as_mut_ptr().cast(),
                    size,
                )
            };
            // This one function says ENAMETOOLONG where the others say ERANGE.
            let code = if code == -libc::ENAMETOOLONG {
                -libc::ERANGE
            } else {
                code
            };
            Attempt::from_code(code, [0], |_| buf)
        })?;
        buffer::until_nul(at, &bytes)
    }

    /// The number by which the cluster knows this client: the `4711` of `client.4711`.
    ///
    /// # Implements:
    /// `uint64_t rados_get_instance_id(rados_t cluster)`
    pub fn instance_id(&self) -> u64 {
        // SAFETY: a connected handle.
        unsafe { (self.rados().rados_get_instance_id)(self.handle()) }
    }

    /// This client's own addresses, as a blocklist entry would name them.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rados_getaddrs(rados_t cluster, char **addrs)`
    pub fn addresses(&self) -> Result<String, Error> {
        let at = self.at("rados_getaddrs");
        let mut addrs: *mut c_char = ptr::null_mut();
        // SAFETY: `addrs` is a place for the result.
        at.check(unsafe { (self.rados().rados_getaddrs)(self.handle(), &mut addrs) })?;
        // SAFETY: librados gave a text that ends with NUL.
        let copy = unsafe { copied(at, addrs) };
        // SAFETY: librados allocated it, and it is not used again.
        unsafe { (self.rados().rados_buffer_free)(addrs) };
        copy
    }

    /// Waits until this client has the newest map of the OSDs, and with it the newest blocklist.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rados_wait_for_latest_osdmap(rados_t cluster)`
    pub fn wait_for_latest_osdmap(&self) -> Result<(), Error> {
        let at = self.at("rados_wait_for_latest_osdmap");
        // SAFETY: a connected handle.
        at.check(unsafe { (self.rados().rados_wait_for_latest_osdmap)(self.handle()) })?;
        Ok(())
    }

    /// The names of all pools.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `int rados_pool_list(rados_t cluster, char *buf, size_t len)`
    pub fn pools(&self) -> Result<Vec<String>, Error> {
        let at = self.at("rados_pool_list");
        let bytes = buffer::grow(at, [1024], |[size]| {
            let mut buf = vec![0_u8; size];
            // SAFETY: `buf` has room for `size` bytes.
            let code = unsafe {
                (self.rados().rados_pool_list)(self.handle(), buf.as_mut_ptr().cast(), size)
            };
            match usize::try_from(code) {
                // It gives the length it needs rather than an error.
                Ok(needed) if needed > size => Attempt::TooSmall([needed]),
                Ok(used) => {
                    buf.truncate(used);
                    Attempt::Done(buf)
                }
                Err(_) => Attempt::Failed(code),
            }
        })?;
        let mut names = buffer::nul_separated(at, &bytes)?;
        // The list ends with an empty name.
        names.retain(|name| !name.is_empty());
        Ok(names)
    }

    /// Opens a pool.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of that name.
    pub fn pool(&self, name: &str) -> Result<Pool, Error> {
        Pool::in_cluster(self, name)
    }

    pub(crate) fn rados(&self) -> &crate::sys::rados::Rados {
        self.inner.ceph.rados()
    }

    pub(crate) fn rbd(&self) -> &crate::sys::rbd::Rbd {
        self.inner.ceph.rbd()
    }

    pub(crate) fn handle(&self) -> rados_t {
        self.inner.handle
    }

    pub(crate) fn at(&self, operation: &'static str) -> At<'_> {
        self.inner.at(operation)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cluster({})", self.inner.subject)
    }
}

impl Inner {
    fn at(&self, operation: &'static str) -> At<'_> {
        At {
            operation,
            subject: &self.subject,
        }
    }

    fn read_conf(&self, path: Option<&str>) -> Result<(), Error> {
        let path = path
            .map(|path| c_name("configuration file", path))
            .transpose()?;
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        // SAFETY: null makes librados look in its own places; else a text that ends with NUL.
        let code = unsafe { (self.ceph.rados().rados_conf_read_file)(self.handle, path) };
        self.at("rados_conf_read_file").check(code)?;
        Ok(())
    }

    fn set(&self, option: &str, value: &str) -> Result<(), Error> {
        let name = c_name("option", option)?;
        let value = c_text("option's value", value)?;
        // SAFETY: two texts that end with NUL.
        let code = unsafe {
            (self.ceph.rados().rados_conf_set)(self.handle, name.as_ptr(), value.as_ptr())
        };
        let at = self.at("rados_conf_set");
        if code < 0 {
            // Without the option's name the errno tells nobody anything. The value may be a key.
            return Err(at.error_saying(code, format!("option {option}")));
        }
        Ok(())
    }
}

impl Drop for Inner {
    /// # Implements:
    /// `void rados_shutdown(rados_t cluster)`
    fn drop(&mut self) {
        // SAFETY: the last user of the handle is gone: pools and images hold a clone of the Arc.
        unsafe { (self.ceph.rados().rados_shutdown)(self.handle) };
    }
}

fn path_text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::Text {
        what: "path",
        text: path.to_string_lossy().into_owned(),
    })
}

/// Seconds, rounded up: a timeout of 0 would mean none.
fn whole_seconds(timeout: Duration) -> u64 {
    timeout
        .as_secs()
        .saturating_add(u64::from(timeout.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_never_becomes_none_by_rounding() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
        assert_eq!(whole_seconds(Duration::from_secs(5)), 5);
    }
}
