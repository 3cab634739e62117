//! A pool, or a namespace in it: what librados calls an I/O context.

use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::buffer::{c_name, c_text};
use crate::error::At;
use crate::sys::types::rados_ioctx_t;
use crate::{Cluster, Error};

/// An open pool. Cheap to clone; images opened from it keep it and the connection alive.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    handle: rados_ioctx_t,
    id: i64,
    /// `pool` or `pool/namespace`, for errors and as the first part of an image's name.
    subject: String,
    name: String,
    namespace: String,
}

// SAFETY: librados lets many threads use an ioctx as long as none changes its settings; ours is
// set up in `Pool::in_cluster` and never changed after.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Pool {
    /// Opens a pool by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rados_ioctx_create(rados_t cluster, const char *pool_name, rados_ioctx_t *ioctx)`
    pub(crate) fn in_cluster(cluster: &Cluster, name: &str) -> Result<Self, Error> {
        let c_pool = c_name("pool name", name)?;
        let at = At {
            operation: "rados_ioctx_create",
            subject: name,
        };
        let mut handle: rados_ioctx_t = ptr::null_mut();
        // SAFETY: a connected handle, a text that ends with NUL, a place for the result.
        at.check(unsafe {
            (cluster.rados().rados_ioctx_create)(cluster.handle(), c_pool.as_ptr(), &mut handle)
        })?;
        // SAFETY: an ioctx that was just made.
        let id = unsafe { (cluster.rados().rados_ioctx_get_id)(handle) };
        Ok(Self {
            inner: Arc::new(Inner {
                cluster: cluster.clone(),
                handle,
                id,
                subject: name.to_owned(),
                name: name.to_owned(),
                namespace: String::new(),
            }),
        })
    }

    /// Opens a pool by its number. Its name is not asked for: errors give the number.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rados_ioctx_create2(rados_t cluster, int64_t pool_id, rados_ioctx_t *ioctx)`
    pub(crate) fn by_id(cluster: &Cluster, id: i64) -> Result<Self, Error> {
        let subject = format!("pool {id}");
        let at = At {
            operation: "rados_ioctx_create2",
            subject: &subject,
        };
        let mut handle: rados_ioctx_t = ptr::null_mut();
        // SAFETY: a connected handle and a place for the result.
        at.check(unsafe {
            (cluster.rados().rados_ioctx_create2)(cluster.handle(), id, &mut handle)
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                cluster: cluster.clone(),
                handle,
                id,
                name: subject.clone(),
                subject,
                namespace: String::new(),
            }),
        })
    }

    /// The same pool, in this namespace of it (the empty text is the default one).
    ///
    /// # Errors
    /// As any call. That the namespace exists is not looked at.
    ///
    /// # Implements:
    /// ```c
    /// int rados_ioctx_create2(rados_t cluster, int64_t pool_id, rados_ioctx_t *ioctx);
    /// void rados_ioctx_set_namespace(rados_ioctx_t io, const char *nspace);
    /// ```
    pub fn namespace(&self, namespace: &str) -> Result<Self, Error> {
        let cluster = self.cluster();
        let c_namespace = c_text("namespace", namespace)?;
        let at = self.at("rados_ioctx_create2");
        let mut handle: rados_ioctx_t = ptr::null_mut();
        // SAFETY: a connected handle and a place for the result.
        at.check(unsafe {
            (cluster.rados().rados_ioctx_create2)(cluster.handle(), self.id(), &mut handle)
        })?;
        // SAFETY: an ioctx that nobody else uses yet, and a text that ends with NUL.
        unsafe { (cluster.rados().rados_ioctx_set_namespace)(handle, c_namespace.as_ptr()) };
        let name = self.inner.name.clone();
        let subject = if namespace.is_empty() {
            name.clone()
        } else {
            format!("{name}/{namespace}")
        };
        Ok(Self {
            inner: Arc::new(Inner {
                cluster: cluster.clone(),
                handle,
                id: self.id(),
                subject,
                name,
                namespace: namespace.to_owned(),
            }),
        })
    }

    /// An ioctx of its own for the same place, for calls that use the context's "last version".
    pub(crate) fn again(&self) -> Result<Self, Error> {
        self.namespace(&self.inner.namespace)
    }

    /// The connection.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The pool's name when it was opened.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The namespace; empty for the default one.
    pub fn namespace_name(&self) -> &str {
        &self.inner.namespace
    }

    /// The pool's number, which stays when it is renamed.
    ///
    /// # Implements:
    /// `int64_t rados_ioctx_get_id(rados_ioctx_t io)`
    pub fn id(&self) -> i64 {
        self.inner.id
    }

    pub(crate) fn rados(&self) -> &crate::sys::rados::Rados {
        self.inner.cluster.rados()
    }

    pub(crate) fn rbd(&self) -> &crate::sys::rbd::Rbd {
        self.inner.cluster.rbd()
    }

    pub(crate) fn handle(&self) -> rados_ioctx_t {
        self.inner.handle
    }

    pub(crate) fn at(&self, operation: &'static str) -> At<'_> {
        At {
            operation,
            subject: &self.inner.subject,
        }
    }

    /// `pool/name`, or `pool/namespace/name`.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.inner.subject)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pool({})", self.inner.subject)
    }
}

impl Drop for Inner {
    /// # Implements:
    /// `void rados_ioctx_destroy(rados_ioctx_t io)`
    fn drop(&mut self) {
        // SAFETY: the last user is gone: every image holds a clone of the Arc.
        unsafe { (self.cluster.rados().rados_ioctx_destroy)(self.handle) };
    }
}
