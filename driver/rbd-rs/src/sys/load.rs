//! Opening the two libraries and resolving their symbols.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::rados::Rados;
use super::rbd::Rbd;
use crate::{Error, exit};

/// glibc's flag that keeps a library in memory for the life of the process.
const NODELETE: std::ffi::c_int = libc::RTLD_NODELETE;

/// A shared library that stays in memory for good.
pub(crate) struct Opened {
    library: Library,
}

impl Opened {
    fn new(file: &OsStr) -> Result<Self, Error> {
        // librados starts threads of its own which outlive every handle, and a call that was
        // written off may still be inside; the code must never be unmapped. Hence NODELETE.
        //
        // SAFETY: opening runs the library's initialisers. They are Ceph's own, or those of a
        // file that the caller named on purpose, and need nothing from us.
        let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL | NODELETE) }
            .map_err(|source| Error::Library {
                library: file.to_string_lossy().into_owned(),
                source: Box::new(source),
            })?;
        Ok(Self { library })
    }

    /// The address of `name` as a `T`, or nothing if the library has no such symbol.
    ///
    /// # Safety
    /// `T` must be a function pointer of the C prototype of `name`.
    pub(crate) unsafe fn symbol<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: the caller vouches for `T`; the library is never unloaded, so the pointer that
        // is copied out stays good after the borrow ends.
        unsafe { self.library.get::<T>(name) }
            .ok()
            .map(|symbol| *symbol)
    }
}

/// librados and librbd, loaded. Cheap to clone.
///
/// The libraries stay in memory until the process ends, even when every clone is gone.
#[derive(Clone)]
pub struct Ceph {
    libraries: Arc<Libraries>,
}

pub(crate) struct Libraries {
    pub(crate) rados: Rados,
    pub(crate) rbd: Rbd,
}

/// The version numbers that a library gives of itself (its interface's, not Ceph's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub struct LibraryVersion {
    pub major: i32,
    pub minor: i32,
    pub extra: i32,
}

impl fmt::Display for LibraryVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.extra)
    }
}

impl Ceph {
    /// Loads `librados.so.2` and `librbd.so.1` from where the dynamic linker looks.
    ///
    /// # Errors
    /// [`Error::Library`] if one is not installed, [`Error::MissingFunction`] if it is older than
    /// Ceph 16.
    pub fn load() -> Result<Self, Error> {
        Self::load_from(Path::new("librados.so.2"), Path::new("librbd.so.1"))
    }

    /// Loads the two libraries from these files.
    ///
    /// # Errors
    /// As [`Ceph::load`].
    pub fn load_from(librados: &Path, librbd: &Path) -> Result<Self, Error> {
        let rados = Rados::resolve(&Opened::new(librados.as_os_str())?)?;
        let rbd = Rbd::resolve(&Opened::new(librbd.as_os_str())?)?;
        exit::guard();
        Ok(Self {
            libraries: Arc::new(Libraries { rados, rbd }),
        })
    }

    /// The interface version of librbd, 1.16.0 for Ceph 16.
    ///
    /// # Implements:
    /// `void rbd_version(int *major, int *minor, int *extra)`
    pub fn librbd_version(&self) -> LibraryVersion {
        let mut v = LibraryVersion {
            major: 0,
            minor: 0,
            extra: 0,
        };
        // SAFETY: three valid pointers to int.
        unsafe { (self.rbd().rbd_version)(&mut v.major, &mut v.minor, &mut v.extra) };
        v
    }

    /// The interface version of librados, 3.0.0 for Ceph 16.
    ///
    /// # Implements:
    /// `void rados_version(int *major, int *minor, int *extra)`
    pub fn librados_version(&self) -> LibraryVersion {
        let mut v = LibraryVersion {
            major: 0,
            minor: 0,
            extra: 0,
        };
        // SAFETY: three valid pointers to int.
        unsafe { (self.rados().rados_version)(&mut v.major, &mut v.minor, &mut v.extra) };
        v
    }

    pub(crate) fn rados(&self) -> &Rados {
        &self.libraries.rados
    }

    pub(crate) fn rbd(&self) -> &Rbd {
        &self.libraries.rbd
    }
}

impl fmt::Debug for Ceph {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Ceph(librados {}, librbd {})",
            self.librados_version(),
            self.librbd_version()
        )
    }
}
