//! The functions of librados, from `rados/librados.h`.

use std::ffi::{c_char, c_int, c_void};

use super::library;
use super::types::*;

library! {
    /// librados, resolved.
    pub(crate) struct Rados("librados.so.2") {
        required {
            10 rados_version(major: *mut c_int, minor: *mut c_int, extra: *mut c_int);
            10 rados_create2(cluster: *mut rados_t, name: *const c_char, client: *const c_char, flags: u64) -> c_int;
            10 rados_connect(cluster: rados_t) -> c_int;
            10 rados_shutdown(cluster: rados_t);
            10 rados_conf_read_file(cluster: rados_t, path: *const c_char) -> c_int;
            10 rados_conf_set(cluster: rados_t, option: *const c_char, value: *const c_char) -> c_int;
            10 rados_conf_get(cluster: rados_t, option: *const c_char, buf: *mut c_char, len: usize) -> c_int;
            10 rados_cluster_fsid(cluster: rados_t, buf: *mut c_char, len: usize) -> c_int;
            10 rados_wait_for_latest_osdmap(cluster: rados_t) -> c_int;
            10 rados_get_instance_id(cluster: rados_t) -> u64;
            15 rados_getaddrs(cluster: rados_t, addrs: *mut *mut c_char) -> c_int;
            10 rados_buffer_free(buf: *mut c_char);
            10 rados_mon_command(
                cluster: rados_t, cmd: *mut *const c_char, cmdlen: usize,
                inbuf: *const c_char, inbuflen: usize,
                outbuf: *mut *mut c_char, outbuflen: *mut usize,
                outs: *mut *mut c_char, outslen: *mut usize) -> c_int;
            12 rados_mgr_command(
                cluster: rados_t, cmd: *mut *const c_char, cmdlen: usize,
                inbuf: *const c_char, inbuflen: usize,
                outbuf: *mut *mut c_char, outbuflen: *mut usize,
                outs: *mut *mut c_char, outslen: *mut usize) -> c_int;
            10 rados_pool_list(cluster: rados_t, buf: *mut c_char, len: usize) -> c_int;
            10 rados_ioctx_create(cluster: rados_t, pool: *const c_char, ioctx: *mut rados_ioctx_t) -> c_int;
            10 rados_ioctx_create2(cluster: rados_t, pool: i64, ioctx: *mut rados_ioctx_t) -> c_int;
            10 rados_ioctx_destroy(io: rados_ioctx_t);
            10 rados_ioctx_get_id(io: rados_ioctx_t) -> i64;
            10 rados_ioctx_set_namespace(io: rados_ioctx_t, nspace: *const c_char);
            12 rados_application_enable(io: rados_ioctx_t, app: *const c_char, force: c_int) -> c_int;
            10 rados_read(io: rados_ioctx_t, oid: *const c_char, buf: *mut c_char, len: usize, off: u64) -> c_int;
            10 rados_write_full(io: rados_ioctx_t, oid: *const c_char, buf: *const c_char, len: usize) -> c_int;
            10 rados_remove(io: rados_ioctx_t, oid: *const c_char) -> c_int;
            10 rados_stat(io: rados_ioctx_t, oid: *const c_char, size: *mut u64, mtime: *mut time_t) -> c_int;
            15 rados_aio_create_completion2(cb_arg: *mut c_void, cb_complete: rados_callback_t, pc: *mut rados_completion_t) -> c_int;
            10 rados_aio_release(c: rados_completion_t);
            10 rados_aio_stat(io: rados_ioctx_t, o: *const c_char, completion: rados_completion_t, psize: *mut u64, pmtime: *mut time_t) -> c_int;
            10 rados_aio_cancel(io: rados_ioctx_t, completion: rados_completion_t) -> c_int;
            10 rados_ioctx_snap_set_read(io: rados_ioctx_t, snap: rados_snap_t);
            10 rados_ioctx_selfmanaged_snap_rollback(io: rados_ioctx_t, oid: *const c_char, snap: rados_snap_t) -> c_int;
            10 rados_exec(
                io: rados_ioctx_t, oid: *const c_char, cls: *const c_char, method: *const c_char,
                inbuf: *const c_char, inlen: usize, buf: *mut c_char, len: usize) -> c_int;
            10 rados_get_last_version(io: rados_ioctx_t) -> u64;
            10 rados_create_write_op() -> rados_write_op_t;
            10 rados_release_write_op(op: rados_write_op_t);
            10 rados_write_op_create(op: rados_write_op_t, exclusive: c_int, category: *const c_char);
            10 rados_write_op_assert_version(op: rados_write_op_t, version: u64);
            10 rados_write_op_write_full(op: rados_write_op_t, buf: *const c_char, len: usize);
            12 rados_write_op_cmpext(op: rados_write_op_t, cmp: *const c_char, len: usize, off: u64, rval: *mut c_int);
            10 rados_write_op_operate(op: rados_write_op_t, io: rados_ioctx_t, oid: *const c_char, mtime: *mut time_t, flags: c_int) -> c_int;
        }
        optional {
        }
    }
}
