//! The C types of librados and librbd that the crate's functions take.
//!
//! C enums are plain integers here: a newer library may return a number that this crate has no
//! name for, and a Rust enum holding it would be undefined behaviour.

#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{c_constants, c_structs};

/// An opaque handle of librados: a cluster.
pub(crate) type rados_t = *mut c_void;
/// An opaque handle of librados: a pool, and a namespace in it.
pub(crate) type rados_ioctx_t = *mut c_void;
/// An opaque handle of librados: a list of writes that happen all or not at all.
pub(crate) type rados_write_op_t = *mut c_void;
/// An opaque handle of librados: an operation that goes on by itself.
pub(crate) type rados_completion_t = *mut c_void;
/// Called once such an operation has ended.
pub(crate) type rados_callback_t = unsafe extern "C" fn(c: rados_completion_t, arg: *mut c_void);
/// The number of a snapshot in a pool.
pub(crate) type rados_snap_t = u64;
/// An opaque handle of librbd: an open image.
pub(crate) type rbd_image_t = *mut c_void;
/// An opaque handle of librbd: options of a new image.
pub(crate) type rbd_image_options_t = *mut c_void;

/// `rbd_snap_namespace_type_t`
pub(crate) type rbd_snap_namespace_type_t = c_uint;
/// `rbd_mirror_mode_t`
pub(crate) type rbd_mirror_mode_t = c_uint;
/// `rbd_mirror_peer_direction_t`
pub(crate) type rbd_mirror_peer_direction_t = c_uint;
/// `rbd_mirror_image_mode_t`
pub(crate) type rbd_mirror_image_mode_t = c_uint;
/// `rbd_mirror_image_state_t`
pub(crate) type rbd_mirror_image_state_t = c_uint;
/// `rbd_mirror_image_status_state_t`
pub(crate) type rbd_mirror_image_status_state_t = c_uint;
/// `rbd_snap_mirror_state_t`
pub(crate) type rbd_snap_mirror_state_t = c_uint;
/// `rbd_lock_mode_t`
pub(crate) type rbd_lock_mode_t = c_uint;
/// `rbd_trash_image_source_t`
pub(crate) type rbd_trash_image_source_t = c_uint;

/// Told how far a long call is; a non-zero answer stops it. **Never null**: librbd calls it
/// without a look (16.2.15 jumps to address 0).
pub(crate) type librbd_progress_fn_t =
    unsafe extern "C" fn(offset: u64, total: u64, data: *mut c_void) -> c_int;

/// Goes on, whatever the progress.
pub(crate) unsafe extern "C" fn no_progress(_: u64, _: u64, _: *mut c_void) -> c_int {
    0
}

/// `time_t` of the platforms that Ceph runs on (64 bits).
pub(crate) type time_t = libc::time_t;
/// `struct timespec`
pub(crate) type timespec = libc::timespec;

c_structs! {
    rbd_image_spec_t {
        id: *mut c_char,
        name: *mut c_char,
    }
    rbd_linked_image_spec_t {
        pool_id: i64,
        pool_name: *mut c_char,
        pool_namespace: *mut c_char,
        image_id: *mut c_char,
        image_name: *mut c_char,
        trash: bool,
    }
    rbd_snap_spec_t {
        id: u64,
        namespace_type: rbd_snap_namespace_type_t,
        name: *mut c_char,
    }
    rbd_snap_info_t {
        id: u64,
        size: u64,
        name: *const c_char,
    }
    rbd_mirror_peer_site_t {
        uuid: *mut c_char,
        direction: rbd_mirror_peer_direction_t,
        site_name: *mut c_char,
        mirror_uuid: *mut c_char,
        client_name: *mut c_char,
        last_seen: time_t,
    }
    rbd_mirror_image_info_t {
        global_id: *mut c_char,
        state: rbd_mirror_image_state_t,
        primary: bool,
    }
    rbd_mirror_image_site_status_t {
        mirror_uuid: *mut c_char,
        state: rbd_mirror_image_status_state_t,
        description: *mut c_char,
        last_update: time_t,
        up: bool,
    }
    rbd_mirror_image_global_status_t {
        name: *mut c_char,
        info: rbd_mirror_image_info_t,
        site_statuses_count: u32,
        site_statuses: *mut rbd_mirror_image_site_status_t,
    }
    rbd_snap_mirror_namespace_t {
        state: rbd_snap_mirror_state_t,
        mirror_peer_uuids_count: usize,
        mirror_peer_uuids: *mut c_char,
        complete: bool,
        primary_mirror_uuid: *mut c_char,
        primary_snap_id: u64,
        last_copied_object_number: u64,
    }
    rbd_image_watcher_t {
        addr: *mut c_char,
        id: i64,
        cookie: u64,
    }
    rbd_trash_image_info_t {
        id: *mut c_char,
        name: *mut c_char,
        source: rbd_trash_image_source_t,
        deletion_time: time_t,
        deferment_end_time: time_t,
    }
}

c_constants! {
    RBD_SNAP_NAMESPACE_TYPE_USER = 0;
    RBD_SNAP_NAMESPACE_TYPE_GROUP = 1;
    RBD_SNAP_NAMESPACE_TYPE_TRASH = 2;
    RBD_SNAP_NAMESPACE_TYPE_MIRROR = 3;
    RBD_MIRROR_MODE_DISABLED = 0;
    RBD_MIRROR_MODE_IMAGE = 1;
    RBD_MIRROR_MODE_POOL = 2;
    RBD_MIRROR_PEER_DIRECTION_RX = 0;
    RBD_MIRROR_PEER_DIRECTION_TX = 1;
    RBD_MIRROR_PEER_DIRECTION_RX_TX = 2;
    RBD_MIRROR_IMAGE_MODE_JOURNAL = 0;
    RBD_MIRROR_IMAGE_MODE_SNAPSHOT = 1;
    RBD_MIRROR_IMAGE_DISABLING = 0;
    RBD_MIRROR_IMAGE_ENABLED = 1;
    RBD_MIRROR_IMAGE_DISABLED = 2;
    MIRROR_IMAGE_STATUS_STATE_UNKNOWN = 0;
    MIRROR_IMAGE_STATUS_STATE_ERROR = 1;
    MIRROR_IMAGE_STATUS_STATE_SYNCING = 2;
    MIRROR_IMAGE_STATUS_STATE_STARTING_REPLAY = 3;
    MIRROR_IMAGE_STATUS_STATE_REPLAYING = 4;
    MIRROR_IMAGE_STATUS_STATE_STOPPING_REPLAY = 5;
    MIRROR_IMAGE_STATUS_STATE_STOPPED = 6;
    RBD_SNAP_MIRROR_STATE_PRIMARY = 0;
    RBD_SNAP_MIRROR_STATE_PRIMARY_DEMOTED = 1;
    RBD_SNAP_MIRROR_STATE_NON_PRIMARY = 2;
    RBD_SNAP_MIRROR_STATE_NON_PRIMARY_DEMOTED = 3;
    RBD_LOCK_MODE_EXCLUSIVE = 0;
    RBD_LOCK_MODE_SHARED = 1;
    RBD_IMAGE_OPTION_FEATURES = 1;
    RBD_IMAGE_OPTION_ORDER = 2;
    RBD_IMAGE_OPTION_DATA_POOL = 10;
    RBD_IMAGE_OPTION_CLONE_FORMAT = 12;
    RBD_SNAP_CREATE_SKIP_QUIESCE = 1;
    RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR = 2;
    LIBRADOS_CREATE_EXCLUSIVE = 1;
}
