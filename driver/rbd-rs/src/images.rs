//! A pool's images: create, clone, list, remove, rename, open.

use std::ffi::c_int;
use std::ptr;

use crate::buffer::{self, c_name, c_text, copied};
use crate::error::At;
use crate::image::Image;
use crate::sys::types::{
    RBD_IMAGE_OPTION_CLONE_FORMAT, RBD_IMAGE_OPTION_DATA_POOL, RBD_IMAGE_OPTION_FEATURES,
    RBD_IMAGE_OPTION_ORDER, rbd_image_options_t, rbd_image_spec_t,
};
use crate::{Error, Features, Pool};

/// An image in a pool's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its id, which stays when it is renamed, and **changes** when a resync re-creates it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a new image is to be like.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its features; without them, those of the cluster's configuration.
    pub features: Option<Features>,
    /// The size of its objects as a power of two (22 is 4 MiB); without it, the cluster's.
    pub order: Option<u8>,
    /// The pool for its data, if not the image's own.
    pub data_pool: Option<String>,
}

impl Pool {
    /// Creates an image.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of that name, [`Error::Invalid`] for features that do
    /// not go together (journaling without exclusive-lock).
    ///
    /// # Implements:
    /// ```c
    /// int rbd_create4(rados_ioctx_t io, const char *name, uint64_t size, rbd_image_options_t opts);
    /// void rbd_image_options_create(rbd_image_options_t* opts);
    /// int rbd_image_options_set_uint64(rbd_image_options_t opts, int optname, uint64_t optval);
    /// int rbd_image_options_set_string(rbd_image_options_t opts, int optname, const char* optval);
    /// ```
    pub fn create_image(
        &self,
        name: &str,
        size: u64,
        options: &CreateOptions,
    ) -> Result<(), Error> {
        let path = self.path(name);
        let at = At {
            operation: "rbd_create4",
            subject: &path,
        };
        let c_image = c_name("image name", name)?;
        let c_options = ImageOptions::new(self, at, options)?;
        // SAFETY: an open ioctx, a name that ends with NUL, live options.
        at.check(unsafe {
            (self.rbd().rbd_create4)(self.handle(), c_image.as_ptr(), size, c_options.handle)
        })?;
        Ok(())
    }

    /// Clones a snapshot of an image of this pool into a new image of `child_pool`, in clone
    /// format 2 (the snapshot need not be protected).
    ///
    /// # Errors
    /// [`Error::NotFound`] for the image or the snapshot, [`Error::Exists`] for the clone,
    /// [`Error::Invalid`] if the cluster still admits clients too old for format 2.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_clone3(rados_ioctx_t p_ioctx, const char *p_name, const char *p_snapname,
    ///                rados_ioctx_t c_ioctx, const char *c_name, rbd_image_options_t c_opts);
    /// ```
    pub fn clone_image(
        &self,
        image: &str,
        snapshot: &str,
        child_pool: &Self,
        child: &str,
    ) -> Result<(), Error> {
        let path = child_pool.path(child);
        let at = At {
            operation: "rbd_clone3",
            subject: &path,
        };
        let options = ImageOptions::new(self, at, &CreateOptions::default())?;
        options.number(at, RBD_IMAGE_OPTION_CLONE_FORMAT, 2)?;
        let (image, snapshot) = (
            c_name("image name", image)?,
            c_name("snapshot name", snapshot)?,
        );
        let child = c_name("image name", child)?;
        // SAFETY: two open ioctxs, three names that end with NUL, live options.
        at.check(unsafe {
            (self.rbd().rbd_clone3)(
                self.handle(),
                image.as_ptr(),
                snapshot.as_ptr(),
                child_pool.handle(),
                child.as_ptr(),
                options.handle,
            )
        })?;
        Ok(())
    }

    /// All images of the pool, in the directory's order. Those in the trash are not among them.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_list2(rados_ioctx_t io, rbd_image_spec_t* images, size_t *max_images);
    /// void rbd_image_spec_list_cleanup(rbd_image_spec_t *images, size_t num_images);
    /// ```
    pub fn images(&self) -> Result<Vec<ImageEntry>, Error> {
        let at = self.at("rbd_list2");
        // SAFETY: zeros are a valid spec (two null pointers); librbd heeds the length.
        let mut raw = unsafe {
            buffer::records(at, 64, |list: *mut rbd_image_spec_t, len| {
                (self.rbd().rbd_list2)(self.handle(), list, len)
            })
        }?;
        let images = raw
            .iter()
            .map(|spec| {
                // SAFETY: librbd filled both texts in.
                unsafe {
                    Ok(ImageEntry {
                        id: copied(at, spec.id)?,
                        name: copied(at, spec.name)?,
                    })
                }
            })
            .collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_image_spec_list_cleanup)(raw.as_mut_ptr(), raw.len()) };
        images
    }

    /// Removes an image and its data.
    ///
    /// Removing a **mirrored primary removes the other zone's copy too** (hard case 32).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Busy`] while it has watchers or snapshots.
    ///
    /// # Implements:
    /// `int rbd_remove(rados_ioctx_t io, const char *name)`
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let c_image = c_name("image name", name)?;
        // SAFETY: an open ioctx, a name that ends with NUL.
        let code = unsafe { (self.rbd().rbd_remove)(self.handle(), c_image.as_ptr()) };
        At {
            operation: "rbd_remove",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// Renames an image.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], [`Error::ReadOnly`] for a non-primary image.
    ///
    /// # Implements:
    /// `int rbd_rename(rados_ioctx_t src_io_ctx, const char *srcname, const char *destname)`
    pub fn rename_image(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.path(from);
        let (from, to) = (c_name("image name", from)?, c_name("image name", to)?);
        // SAFETY: an open ioctx, two names that end with NUL.
        let code = unsafe { (self.rbd().rbd_rename)(self.handle(), from.as_ptr(), to.as_ptr()) };
        At {
            operation: "rbd_rename",
            subject: &path,
        }
        .check(code)?;
        Ok(())
    }

    /// Opens an image for reading and writing. Opening does not take the exclusive lock; the
    /// first write does.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rbd_open(rados_ioctx_t io, const char *name, rbd_image_t *image, const char *snap_name)`
    pub fn open(&self, name: &str) -> Result<Image, Error> {
        Image::open(self, "rbd_open", self.rbd().rbd_open, name, None)
    }

    /// Opens an image for reading. It sets no watch, so what others change (its size, its
    /// snapshots) is seen as it was when it was opened.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rbd_open_read_only(rados_ioctx_t io, const char *name, rbd_image_t *image, const char *snap_name)`
    pub fn open_read_only(&self, name: &str) -> Result<Image, Error> {
        Image::open(
            self,
            "rbd_open_read_only",
            self.rbd().rbd_open_read_only,
            name,
            None,
        )
    }

    /// Opens a snapshot of an image for reading.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such image or snapshot.
    ///
    /// # Implements:
    /// `int rbd_open_read_only(rados_ioctx_t io, const char *name, rbd_image_t *image, const char *snap_name)`
    pub fn open_snapshot(&self, name: &str, snapshot: &str) -> Result<Image, Error> {
        let snapshot = Some(c_name("snapshot name", snapshot)?);
        Image::open(
            self,
            "rbd_open_read_only",
            self.rbd().rbd_open_read_only,
            name,
            snapshot,
        )
    }

    /// Opens an image by its id, for reading and writing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rbd_open_by_id(rados_ioctx_t io, const char *id, rbd_image_t *image, const char *snap_name)`
    pub fn open_by_id(&self, id: &str) -> Result<Image, Error> {
        Image::open(self, "rbd_open_by_id", self.rbd().rbd_open_by_id, id, None)
    }

    /// Opens an image by its id, for reading.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    ///
    /// # Implements:
    /// `int rbd_open_by_id_read_only(rados_ioctx_t io, const char *id, rbd_image_t *image, const char *snap_name)`
    pub fn open_by_id_read_only(&self, id: &str) -> Result<Image, Error> {
        Image::open(
            self,
            "rbd_open_by_id_read_only",
            self.rbd().rbd_open_by_id_read_only,
            id,
            None,
        )
    }
}

/// librbd's options for a new image.
pub(crate) struct ImageOptions<'a> {
    pool: &'a Pool,
    pub(crate) handle: rbd_image_options_t,
}

impl<'a> ImageOptions<'a> {
    pub(crate) fn new(pool: &'a Pool, at: At<'_>, options: &CreateOptions) -> Result<Self, Error> {
        let mut handle: rbd_image_options_t = ptr::null_mut();
        // SAFETY: a place for the result.
        unsafe { (pool.rbd().rbd_image_options_create)(&mut handle) };
        let this = Self { pool, handle };
        if let Some(features) = options.features {
            this.number(at, RBD_IMAGE_OPTION_FEATURES, features.bits())?;
        }
        if let Some(order) = options.order {
            this.number(at, RBD_IMAGE_OPTION_ORDER, order.into())?;
        }
        if let Some(data_pool) = &options.data_pool {
            let data_pool = c_text("data pool", data_pool)?;
            // SAFETY: live options, a text that ends with NUL and is copied.
            at.check(unsafe {
                (pool.rbd().rbd_image_options_set_string)(
                    handle,
                    option(RBD_IMAGE_OPTION_DATA_POOL),
                    data_pool.as_ptr(),
                )
            })?;
        }
        Ok(this)
    }

    fn number(&self, at: At<'_>, name: u32, value: u64) -> Result<(), Error> {
        // SAFETY: live options.
        at.check(unsafe {
            (self.pool.rbd().rbd_image_options_set_uint64)(self.handle, option(name), value)
        })?;
        Ok(())
    }
}

/// An enumerator as the int that these functions take.
const fn option(name: u32) -> c_int {
    name.cast_signed()
}

impl Drop for ImageOptions<'_> {
    /// # Implements:
    /// `void rbd_image_options_destroy(rbd_image_options_t opts)`
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once.
        unsafe { (self.pool.rbd().rbd_image_options_destroy)(self.handle) };
    }
}
