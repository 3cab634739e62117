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

/// Gives pages that malloc holds free, between what is in use, back to the system. It takes some milliseconds, in which no
/// thread allocates. With another C library it does nothing.
///
/// An open image leaves holes of many sizes behind, which the next ones fit badly: without this a process weighs more after each
/// round of opens, with nothing lost in it.
///
/// # Implements:
/// `int malloc_trim(size_t pad)`
pub fn return_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it asks the allocator, under its own locks, to let go of what nobody has; any thread may.
    unsafe {
        libc::malloc_trim(0);
    }
}
