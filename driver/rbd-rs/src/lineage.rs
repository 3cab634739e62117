//! Parents and children: which images are clones of which.

use std::mem::MaybeUninit;

use crate::buffer::{self, copied};
use crate::error::At;
use crate::sys::types::{rbd_linked_image_spec_t, rbd_snap_spec_t};
use crate::{Error, Image};

/// An image that this one is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedImage {
    /// Its pool's number.
    pub pool_id: i64,
    /// Its pool's name.
    pub pool: String,
    /// Its namespace; empty for the default one.
    pub namespace: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it lies in the trash.
    pub in_trash: bool,
}

/// What a clone was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The image.
    pub image: LinkedImage,
    /// Its snapshot.
    pub snapshot: String,
}

impl Image {
    /// What this image is a clone of; nothing if it stands by itself (hard case 37).
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_get_parent(rbd_image_t image, rbd_linked_image_spec_t *parent_image, rbd_snap_spec_t *parent_snap);
    /// void rbd_linked_image_spec_cleanup(rbd_linked_image_spec_t *image);
    /// void rbd_snap_spec_cleanup(rbd_snap_spec_t *snap);
    /// ```
    pub fn parent(&self) -> Result<Option<Parent>, Error> {
        let at = self.at("rbd_get_parent");
        // SAFETY: zeros are a valid value of both: null pointers and numbers.
        let (mut image, mut snapshot): (rbd_linked_image_spec_t, rbd_snap_spec_t) = unsafe {
            (
                MaybeUninit::zeroed().assume_init(),
                MaybeUninit::zeroed().assume_init(),
            )
        };
        // SAFETY: an open image and places for two results.
        let code = unsafe { (self.rbd().rbd_get_parent)(self.handle(), &mut image, &mut snapshot) };
        match at.check(code) {
            Ok(_) => {}
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: librbd filled the text in.
        let snapshot_name = unsafe { copied(at, snapshot.name) };
        let parent = linked(at, &image).and_then(|image| {
            Ok(Some(Parent {
                image,
                snapshot: snapshot_name?,
            }))
        });
        // SAFETY: both were filled in by librbd, and are freed once.
        unsafe {
            (self.rbd().rbd_linked_image_spec_cleanup)(&mut image);
            (self.rbd().rbd_snap_spec_cleanup)(&mut snapshot);
        }
        parent
    }

    /// The clones made from any of its snapshots, in all pools that the client may read.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_list_children3(rbd_image_t image, rbd_linked_image_spec_t *images, size_t *max_images);
    /// void rbd_linked_image_spec_list_cleanup(rbd_linked_image_spec_t *images, size_t num_images);
    /// ```
    pub fn children(&self) -> Result<Vec<LinkedImage>, Error> {
        let at = self.at("rbd_list_children3");
        // SAFETY: zeros are a valid spec; librbd heeds the length.
        let mut raw = unsafe {
            buffer::records(at, 16, |list: *mut rbd_linked_image_spec_t, len| {
                (self.rbd().rbd_list_children3)(self.handle(), list, len)
            })
        }?;
        let children = raw.iter().map(|spec| linked(at, spec)).collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe { (self.rbd().rbd_linked_image_spec_list_cleanup)(raw.as_mut_ptr(), raw.len()) };
        children
    }

    /// Copies everything that a clone shares with its parent, so that it stands by itself. Takes
    /// as long as that copy.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has no parent.
    ///
    /// # Implements:
    /// `int rbd_flatten(rbd_image_t image)`
    pub fn flatten(&self) -> Result<(), Error> {
        self.may_change("rbd_flatten")?;
        // SAFETY: an open image.
        let code = unsafe { (self.rbd().rbd_flatten)(self.handle()) };
        self.at("rbd_flatten").check(code)?;
        Ok(())
    }
}

fn linked(at: At<'_>, spec: &rbd_linked_image_spec_t) -> Result<LinkedImage, Error> {
    // SAFETY: librbd filled the texts in.
    unsafe {
        Ok(LinkedImage {
            pool_id: spec.pool_id,
            pool: copied(at, spec.pool_name)?,
            namespace: copied(at, spec.pool_namespace)?,
            id: copied(at, spec.image_id)?,
            name: copied(at, spec.image_name)?,
            in_trash: spec.trash,
        })
    }
}
