//! All mirrored images of a pool in a few calls.
//!
//! librbd has two lists. The one of statuses says nothing of roles (its `primary` is always
//! false), the one of infos has role and mode. Both go by image id and give a page at a time.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use crate::buffer::{c_text, copied};
use crate::error::At;
use crate::mirror::image::{self, MirrorInfo, MirrorMode};
use crate::mirror::status::ImageStatus;
use crate::sys::types::{rbd_mirror_image_global_status_t, rbd_mirror_image_info_t};
use crate::{Error, Pool};

/// How many images a call gives. librbd asks for all of a page's images at once, each with some tens of KiB in flight: a page
/// is not to be larger than what the connection works off anyway.
const PAGE: usize = 32;
/// How many images [`Pool::mirror_infos_after`] gives at the most.
pub const MIRROR_PAGE: usize = PAGE;
/// A bound on the pages, far beyond a pool that mirroring can carry.
const PAGES: usize = 8192;

/// What a call gives, by image id.
type Page<T> = Vec<(String, T)>;

/// A mirrored image in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct MirroredImage {
    /// Its id in this cluster.
    pub image_id: String,
    /// Its part in mirroring; nothing if it came or went between the two lists.
    pub info: Option<MirrorInfo>,
    /// How it is mirrored, as `info`.
    pub mode: Option<MirrorMode>,
    /// What the sites report; nothing if it came or went between the two lists.
    pub status: Option<ImageStatus>,
}

impl Pool {
    /// Every mirrored image with its role, mode and status, by image id: two calls for each page.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `rbd_mirror_image_info_list` and `rbd_mirror_image_global_status_list`
    pub fn mirrored_images(&self) -> Result<Vec<MirroredImage>, Error> {
        let mut statuses = self.mirror_statuses()?;
        let mut images: Vec<_> = self
            .mirror_infos()?
            .into_iter()
            .map(|(image_id, (info, mode))| MirroredImage {
                status: statuses.remove(&image_id),
                image_id,
                info: Some(info),
                mode: Some(mode),
            })
            .collect();
        images.extend(
            statuses
                .into_iter()
                .map(|(image_id, status)| MirroredImage {
                    image_id,
                    info: None,
                    mode: None,
                    status: Some(status),
                }),
        );
        Ok(images)
    }

    /// What the sites report of every mirrored image, by image id.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_global_status_list(rados_ioctx_t io_ctx, const char *start_id, size_t max,
    ///     char **image_ids, rbd_mirror_image_global_status_t *images, size_t *len);
    /// void rbd_mirror_image_global_status_list_cleanup(char **image_ids,
    ///     rbd_mirror_image_global_status_t *images, size_t len);
    /// ```
    pub fn mirror_statuses(&self) -> Result<BTreeMap<String, ImageStatus>, Error> {
        let at = self.at("rbd_mirror_image_global_status_list");
        pages(at, PAGE, |start| {
            let mut ids: Vec<*mut c_char> = vec![ptr::null_mut(); PAGE];
            let mut page: Vec<rbd_mirror_image_global_status_t> = zeroed();
            let mut len = PAGE;
            // SAFETY: an open ioctx, a text that ends with NUL, two arrays of PAGE values.
            at.check(unsafe {
                (self.rbd().rbd_mirror_image_global_status_list)(
                    self.handle(),
                    start.as_ptr(),
                    PAGE,
                    ids.as_mut_ptr(),
                    page.as_mut_ptr(),
                    &mut len,
                )
            })?;
            let list = ids
                .iter()
                .zip(&page)
                .take(len)
                .map(|(id, status)| {
                    // SAFETY: librbd filled `len` of both in.
                    unsafe { Ok((copied(at, *id)?, image::image_status(at, status)?)) }
                })
                .collect();
            // SAFETY: as many as librbd filled in, freed once.
            unsafe {
                (self.rbd().rbd_mirror_image_global_status_list_cleanup)(
                    ids.as_mut_ptr(),
                    page.as_mut_ptr(),
                    len,
                );
            }
            list
        })
    }

    /// Role and mode of every mirrored image, by image id.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_info_list(rados_ioctx_t io_ctx, rbd_mirror_image_mode_t *mode_filter,
    ///     const char *start_id, size_t max, char **image_ids, rbd_mirror_image_mode_t *mode_entries,
    ///     rbd_mirror_image_info_t *info_entries, size_t *num_entries);
    /// void rbd_mirror_image_info_list_cleanup(char **image_ids, rbd_mirror_image_info_t *info_entries, size_t num_entries);
    /// ```
    pub fn mirror_infos(&self) -> Result<BTreeMap<String, (MirrorInfo, MirrorMode)>, Error> {
        let at = self.at("rbd_mirror_image_info_list");
        pages(at, PAGE, |start| self.info_page(at, &start, PAGE))
    }

    /// Role and mode of the mirrored images whose ids come after `after`: `most` of them at the most, and no more than [`MIRROR_PAGE`].
    ///
    /// For each of them librbd reads an object of the image itself (its journal, or its header): where one does not answer the call
    /// does not return, and says nothing of the others. It goes on until it has `most`: past those whose mirroring is not enabled.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// `rbd_mirror_image_info_list`
    pub fn mirror_infos_after(
        &self,
        after: &str,
        most: usize,
    ) -> Result<BTreeMap<String, (MirrorInfo, MirrorMode)>, Error> {
        let at = self.at("rbd_mirror_image_info_list");
        let page = self.info_page(at, &c_text("image id", after)?, most)?;
        Ok(page.into_iter().collect())
    }

    fn info_page(
        &self,
        at: At<'_>,
        start: &CStr,
        most: usize,
    ) -> Result<Page<(MirrorInfo, MirrorMode)>, Error> {
        let most = most.min(PAGE);
        let mut ids: Vec<*mut c_char> = vec![ptr::null_mut(); PAGE];
        let mut modes = vec![0; PAGE];
        let mut infos: Vec<rbd_mirror_image_info_t> = zeroed();
        let mut len = most;
        // SAFETY: an open ioctx, no filter, a text that ends with NUL, three arrays of PAGE, which is no less than `most`.
        at.check(unsafe {
            (self.rbd().rbd_mirror_image_info_list)(
                self.handle(),
                ptr::null_mut(),
                start.as_ptr(),
                most,
                ids.as_mut_ptr(),
                modes.as_mut_ptr(),
                infos.as_mut_ptr(),
                &mut len,
            )
        })?;
        let list = ids
            .iter()
            .zip(infos.iter().zip(&modes))
            .take(len)
            .map(|(id, (info, mode))| {
                // SAFETY: librbd filled `len` of all three in.
                let (id, info) = unsafe { (copied(at, *id)?, image::mirror_info(at, info)?) };
                Ok((id, (info, MirrorMode::from_c(*mode))))
            })
            .collect();
        // SAFETY: as many as librbd filled in, freed once.
        unsafe {
            (self.rbd().rbd_mirror_image_info_list_cleanup)(
                ids.as_mut_ptr(),
                infos.as_mut_ptr(),
                len,
            );
        }
        list
    }

    /// Which daemon instance handles which image, by image id.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_mirror_image_instance_id_list(rados_ioctx_t io_ctx, const char *start_id, size_t max,
    ///     char **image_ids, char **instance_ids, size_t *len);
    /// void rbd_mirror_image_instance_id_list_cleanup(char **image_ids, char **instance_ids, size_t len);
    /// ```
    pub fn mirror_instances(&self) -> Result<BTreeMap<String, String>, Error> {
        let at = self.at("rbd_mirror_image_instance_id_list");
        pages(at, PAGE, |start| {
            let mut ids: Vec<*mut c_char> = vec![ptr::null_mut(); PAGE];
            let mut instances: Vec<*mut c_char> = vec![ptr::null_mut(); PAGE];
            let mut len = PAGE;
            // SAFETY: an open ioctx, a text that ends with NUL, two arrays of PAGE pointers.
            at.check(unsafe {
                (self.rbd().rbd_mirror_image_instance_id_list)(
                    self.handle(),
                    start.as_ptr(),
                    PAGE,
                    ids.as_mut_ptr(),
                    instances.as_mut_ptr(),
                    &mut len,
                )
            })?;
            let list = ids
                .iter()
                .zip(&instances)
                .take(len)
                // SAFETY: librbd filled `len` of both in.
                .map(|(id, instance)| unsafe { Ok((copied(at, *id)?, copied(at, *instance)?)) })
                .collect();
            // SAFETY: as many as librbd filled in, freed once.
            unsafe {
                (self.rbd().rbd_mirror_image_instance_id_list_cleanup)(
                    ids.as_mut_ptr(),
                    instances.as_mut_ptr(),
                    len,
                );
            }
            list
        })
    }
}

/// Reads pages until one is not full. Each starts after the last id of the one before.
fn pages<T>(
    at: At<'_>,
    size: usize,
    mut page: impl FnMut(CString) -> Result<Page<T>, Error>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut all = BTreeMap::new();
    let mut start = String::new();
    for _ in 0..PAGES {
        let list = page(c_text("image id", &start)?)?;
        let full = list.len() >= size;
        let last = list.last().map(|(id, _)| id.clone());
        all.extend(list);
        match last {
            Some(last) if full => start = last,
            Some(_) | None => return Ok(all),
        }
    }
    Err(at.error(-libc::E2BIG))
}

/// A page of structs that zeros are valid for: numbers, booleans and null pointers.
fn zeroed<T: CStruct>() -> Vec<T> {
    // SAFETY: `CStruct` says that zeros are a valid value.
    (0..PAGE)
        .map(|_| unsafe { MaybeUninit::zeroed().assume_init() })
        .collect()
}

/// A struct of C of which all-zero bytes are a valid value.
trait CStruct {}
impl CStruct for rbd_mirror_image_global_status_t {}
impl CStruct for rbd_mirror_image_info_t {}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At<'static> = At {
        operation: "list",
        subject: "pool",
    };

    #[test]
    fn every_page_is_read_once_and_the_last_one_ends_it() {
        for count in [0_usize, 1, 2, 3, 4, 9] {
            let ids: Vec<String> = (0..count).map(|n| format!("id-{n}")).collect();
            let mut calls = 0;
            let all = pages(AT, 3, |start| {
                calls += 1;
                let start = start.into_string().unwrap();
                let after = ids.iter().filter(|id| **id > start).take(3);
                Ok(after.map(|id| (id.clone(), ())).collect())
            });
            assert_eq!(all.unwrap().len(), count);
            assert_eq!(calls, count / 3 + 1);
        }
    }

    #[test]
    fn a_list_that_never_ends_is_an_error() {
        let endless = pages(AT, 1, |_| Ok(vec![("id".to_owned(), ())]));
        assert!(matches!(endless, Err(Error::Range(_))));
    }
}
