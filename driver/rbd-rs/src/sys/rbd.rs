//! The functions of librbd, from `rbd/librbd.h`.

use std::ffi::{c_char, c_int, c_void};

use super::library;
use super::types::*;

library! {
    /// librbd, resolved.
    pub(crate) struct Rbd("librbd.so.1") {
        required {
            10 rbd_version(major: *mut c_int, minor: *mut c_int, extra: *mut c_int);

            10 rbd_image_options_create(opts: *mut rbd_image_options_t);
            10 rbd_image_options_destroy(opts: rbd_image_options_t);
            10 rbd_image_options_set_string(opts: rbd_image_options_t, option: c_int, value: *const c_char) -> c_int;
            10 rbd_image_options_set_uint64(opts: rbd_image_options_t, option: c_int, value: u64) -> c_int;

            14 rbd_list2(io: rados_ioctx_t, images: *mut rbd_image_spec_t, max: *mut usize) -> c_int;
            14 rbd_image_spec_list_cleanup(images: *mut rbd_image_spec_t, count: usize);
            10 rbd_create4(io: rados_ioctx_t, name: *const c_char, size: u64, opts: rbd_image_options_t) -> c_int;
            10 rbd_clone3(
                parent_io: rados_ioctx_t, parent: *const c_char, snap: *const c_char,
                child_io: rados_ioctx_t, child: *const c_char, opts: rbd_image_options_t) -> c_int;
            12 rbd_deep_copy(src: rbd_image_t, dest_io: rados_ioctx_t, dest: *const c_char, opts: rbd_image_options_t) -> c_int;
            10 rbd_remove(io: rados_ioctx_t, name: *const c_char) -> c_int;
            10 rbd_rename(io: rados_ioctx_t, from: *const c_char, to: *const c_char) -> c_int;
            10 rbd_open(io: rados_ioctx_t, name: *const c_char, image: *mut rbd_image_t, snap: *const c_char) -> c_int;
            10 rbd_open_read_only(io: rados_ioctx_t, name: *const c_char, image: *mut rbd_image_t, snap: *const c_char) -> c_int;
            12 rbd_open_by_id(io: rados_ioctx_t, id: *const c_char, image: *mut rbd_image_t, snap: *const c_char) -> c_int;
            12 rbd_open_by_id_read_only(io: rados_ioctx_t, id: *const c_char, image: *mut rbd_image_t, snap: *const c_char) -> c_int;
            10 rbd_close(image: rbd_image_t) -> c_int;

            12 rbd_trash_move(io: rados_ioctx_t, name: *const c_char, delay: u64) -> c_int;
            12 rbd_trash_list(io: rados_ioctx_t, entries: *mut rbd_trash_image_info_t, count: *mut usize) -> c_int;
            12 rbd_trash_list_cleanup(entries: *mut rbd_trash_image_info_t, count: usize);
            12 rbd_trash_remove(io: rados_ioctx_t, id: *const c_char, force: bool) -> c_int;
            12 rbd_trash_restore(io: rados_ioctx_t, id: *const c_char, name: *const c_char) -> c_int;

            10 rbd_get_size(image: rbd_image_t, size: *mut u64) -> c_int;
            12 rbd_resize2(image: rbd_image_t, size: u64, allow_shrink: bool, cb: librbd_progress_fn_t, data: *mut c_void) -> c_int;
            10 rbd_get_features(image: rbd_image_t, features: *mut u64) -> c_int;
            10 rbd_update_features(image: rbd_image_t, features: u64, enabled: u8) -> c_int;
            10 rbd_get_stripe_count(image: rbd_image_t, count: *mut u64) -> c_int;
            12 rbd_get_block_name_prefix(image: rbd_image_t, prefix: *mut c_char, len: usize) -> c_int;
            12 rbd_get_data_pool_id(image: rbd_image_t) -> i64;
            12 rbd_get_id(image: rbd_image_t, id: *mut c_char, len: usize) -> c_int;
            13 rbd_get_create_timestamp(image: rbd_image_t, timestamp: *mut timespec) -> c_int;
            10 rbd_read(image: rbd_image_t, ofs: u64, len: usize, buf: *mut c_char) -> isize;
            10 rbd_write(image: rbd_image_t, ofs: u64, len: usize, buf: *const c_char) -> isize;
            10 rbd_discard(image: rbd_image_t, ofs: u64, len: u64) -> c_int;
            10 rbd_flush(image: rbd_image_t) -> c_int;
            10 rbd_flatten(image: rbd_image_t) -> c_int;

            14 rbd_get_parent(image: rbd_image_t, parent: *mut rbd_linked_image_spec_t, snap: *mut rbd_snap_spec_t) -> c_int;
            14 rbd_linked_image_spec_cleanup(image: *mut rbd_linked_image_spec_t);
            14 rbd_snap_spec_cleanup(snap: *mut rbd_snap_spec_t);
            14 rbd_list_children3(image: rbd_image_t, images: *mut rbd_linked_image_spec_t, max: *mut usize) -> c_int;
            14 rbd_linked_image_spec_list_cleanup(images: *mut rbd_linked_image_spec_t, count: usize);

            10 rbd_metadata_get(image: rbd_image_t, key: *const c_char, value: *mut c_char, len: *mut usize) -> c_int;
            10 rbd_metadata_set(image: rbd_image_t, key: *const c_char, value: *const c_char) -> c_int;
            10 rbd_metadata_remove(image: rbd_image_t, key: *const c_char) -> c_int;
            10 rbd_metadata_list(
                image: rbd_image_t, start: *const c_char, max: u64,
                keys: *mut c_char, keys_len: *mut usize,
                values: *mut c_char, values_len: *mut usize) -> c_int;

            10 rbd_snap_list(image: rbd_image_t, snaps: *mut rbd_snap_info_t, max: *mut c_int) -> c_int;
            10 rbd_snap_list_end(snaps: *mut rbd_snap_info_t);
            10 rbd_snap_create(image: rbd_image_t, name: *const c_char) -> c_int;
            10 rbd_snap_remove(image: rbd_image_t, name: *const c_char) -> c_int;
            13 rbd_snap_remove_by_id(image: rbd_image_t, id: u64) -> c_int;
            10 rbd_snap_protect(image: rbd_image_t, name: *const c_char) -> c_int;
            10 rbd_snap_unprotect(image: rbd_image_t, name: *const c_char) -> c_int;
            10 rbd_snap_rollback(image: rbd_image_t, name: *const c_char) -> c_int;
            12 rbd_snap_get_timestamp(image: rbd_image_t, id: u64, timestamp: *mut timespec) -> c_int;
            13 rbd_snap_get_namespace_type(image: rbd_image_t, id: u64, kind: *mut rbd_snap_namespace_type_t) -> c_int;
            15 rbd_snap_get_mirror_namespace(image: rbd_image_t, id: u64, space: *mut rbd_snap_mirror_namespace_t, size: usize) -> c_int;
            15 rbd_snap_mirror_namespace_cleanup(space: *mut rbd_snap_mirror_namespace_t, size: usize) -> c_int;

            11 rbd_lock_get_owners(image: rbd_image_t, mode: *mut rbd_lock_mode_t, owners: *mut *mut c_char, max: *mut usize) -> c_int;
            11 rbd_lock_get_owners_cleanup(owners: *mut *mut c_char, count: usize);
            11 rbd_lock_acquire(image: rbd_image_t, mode: rbd_lock_mode_t) -> c_int;
            11 rbd_lock_release(image: rbd_image_t) -> c_int;
            11 rbd_lock_break(image: rbd_image_t, mode: rbd_lock_mode_t, owner: *const c_char) -> c_int;
            11 rbd_is_exclusive_lock_owner(image: rbd_image_t, is_owner: *mut c_int) -> c_int;
            13 rbd_watchers_list(image: rbd_image_t, watchers: *mut rbd_image_watcher_t, max: *mut usize) -> c_int;
            13 rbd_watchers_list_cleanup(watchers: *mut rbd_image_watcher_t, count: usize);

            15 rbd_mirror_site_name_get(cluster: rados_t, name: *mut c_char, max: *mut usize) -> c_int;
            15 rbd_mirror_site_name_set(cluster: rados_t, name: *const c_char) -> c_int;
            10 rbd_mirror_mode_get(io: rados_ioctx_t, mode: *mut rbd_mirror_mode_t) -> c_int;
            10 rbd_mirror_mode_set(io: rados_ioctx_t, mode: rbd_mirror_mode_t) -> c_int;
            15 rbd_mirror_uuid_get(io: rados_ioctx_t, uuid: *mut c_char, max: *mut usize) -> c_int;
            15 rbd_mirror_peer_bootstrap_create(io: rados_ioctx_t, token: *mut c_char, max: *mut usize) -> c_int;
            15 rbd_mirror_peer_bootstrap_import(io: rados_ioctx_t, direction: rbd_mirror_peer_direction_t, token: *const c_char) -> c_int;
            15 rbd_mirror_peer_site_list(io: rados_ioctx_t, peers: *mut rbd_mirror_peer_site_t, max: *mut c_int) -> c_int;
            15 rbd_mirror_peer_site_list_cleanup(peers: *mut rbd_mirror_peer_site_t, count: c_int);
            15 rbd_mirror_peer_site_remove(io: rados_ioctx_t, uuid: *const c_char) -> c_int;

            15 rbd_mirror_image_enable2(image: rbd_image_t, mode: rbd_mirror_image_mode_t) -> c_int;
            10 rbd_mirror_image_disable(image: rbd_image_t, force: bool) -> c_int;
            10 rbd_mirror_image_promote(image: rbd_image_t, force: bool) -> c_int;
            10 rbd_mirror_image_demote(image: rbd_image_t) -> c_int;
            10 rbd_mirror_image_resync(image: rbd_image_t) -> c_int;
            16 rbd_mirror_image_create_snapshot2(image: rbd_image_t, flags: u32, id: *mut u64) -> c_int;
            10 rbd_mirror_image_get_info(image: rbd_image_t, info: *mut rbd_mirror_image_info_t, size: usize) -> c_int;
            15 rbd_mirror_image_get_info_cleanup(info: *mut rbd_mirror_image_info_t);
            15 rbd_mirror_image_get_mode(image: rbd_image_t, mode: *mut rbd_mirror_image_mode_t) -> c_int;
            15 rbd_mirror_image_get_global_status(image: rbd_image_t, status: *mut rbd_mirror_image_global_status_t, size: usize) -> c_int;
            15 rbd_mirror_image_global_status_cleanup(status: *mut rbd_mirror_image_global_status_t);
            15 rbd_mirror_image_global_status_list(
                io: rados_ioctx_t, start: *const c_char, max: usize, ids: *mut *mut c_char,
                images: *mut rbd_mirror_image_global_status_t, len: *mut usize) -> c_int;
            15 rbd_mirror_image_global_status_list_cleanup(
                ids: *mut *mut c_char, images: *mut rbd_mirror_image_global_status_t, len: usize);
            10 rbd_mirror_image_status_summary(
                io: rados_ioctx_t, states: *mut rbd_mirror_image_status_state_t,
                counts: *mut c_int, max: *mut usize) -> c_int;
            13 rbd_mirror_image_instance_id_list(
                io: rados_ioctx_t, start: *const c_char, max: usize,
                image_ids: *mut *mut c_char, instance_ids: *mut *mut c_char, len: *mut usize) -> c_int;
            13 rbd_mirror_image_instance_id_list_cleanup(
                image_ids: *mut *mut c_char, instance_ids: *mut *mut c_char, len: usize);
            16 rbd_mirror_image_info_list(
                io: rados_ioctx_t, filter: *mut rbd_mirror_image_mode_t, start: *const c_char, max: usize,
                ids: *mut *mut c_char, modes: *mut rbd_mirror_image_mode_t,
                infos: *mut rbd_mirror_image_info_t, len: *mut usize) -> c_int;
            16 rbd_mirror_image_info_list_cleanup(
                ids: *mut *mut c_char, infos: *mut rbd_mirror_image_info_t, len: usize);
        }
        optional {
            20 rbd_mirror_remote_namespace_get(io: rados_ioctx_t, remote: *mut c_char, max: *mut usize) -> c_int;
        }
    }
}
