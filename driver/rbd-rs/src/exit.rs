//! How a process ends that still has connections.
//!
//! A process's end destroys the globals of its libraries while their threads go on. librados is to be shut down before, but a call that
//! hangs in a dead cluster holds its connection for as long as that lasts, and nobody waits for it. What its thread then meets is a lock
//! that is none any more: a segmentation fault, or an exception of C++'s in a thread of Rust's, which aborts the process. A supervisor
//! takes either for a crash of what had ended well. So where a connection is left, the process ends without those destructors, and with
//! the status that it was to end with.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Connections that are not shut down.
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// One of them: from before `rados_create2` until after `rados_shutdown`.
#[derive(Debug)]
pub(crate) struct Connected(());

impl Connected {
    pub(crate) fn new() -> Self {
        LEFT.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        LEFT.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// As `atexit`, for a function that is told the status.
    ///
    /// # Implements:
    /// `int on_exit(void (*function)(int, void *), void *arg)`
    fn on_exit(ended: extern "C" fn(c_int, *mut c_void), arg: *mut c_void) -> c_int;
}

/// Guards the process's end from now on. The libraries have to be loaded: what is registered last runs first, and this is to come
/// before their destructors. With another C library it does nothing.
pub(crate) fn guard() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: the function lives as long as the process, and takes no argument. Where there is no room for it, nothing is guarded.
        unsafe {
            on_exit(ended, ptr::null_mut());
        }
    });
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
extern "C" fn ended(status: c_int, _: *mut c_void) {
    if LEFT.load(Ordering::SeqCst) > 0 {
        // SAFETY: it ends the process. Rust has flushed what it had to write before it called `exit`.
        unsafe { libc::_exit(status) }
    }
}
