//! The memory allocator's part in what a process with many Ceph threads weighs.

/// Makes glibc's malloc serve all threads from at most so many heaps ("arenas"), instead of up to eight a core.
///
/// librados and the call pool bring some thirty threads, each of which would keep a heap of its own. Measured with 70
/// volumes and 2: 13 MB of anonymous memory instead of 25. Call it before any thread is started. With another C library
/// it does nothing.
///
/// # Implements:
/// `int mallopt(int param, int value)`
pub fn limit_malloc_arenas(arenas: u8) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets a number in the allocator, and fails by doing nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::from(arenas));
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = arenas;
}
