//! The C library's allocator, told to give memory back: the memory budget counts what is in use, the system what is held.
//!
//! By default glibc raises the size from which a block is mapped by itself up to 32 MiB as large blocks come and go, and
//! keeps eight heaps a core. With records of 1 MB half the resident set was then free memory between blocks that live longer.
//! What makes this sound: `mallopt` takes two integers, checks them and keeps no reference; it is called once, before threads start.
#![allow(unsafe_code)]

/// Sets the limits. Nothing happens with another C library.
pub(crate) fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in glibc::PARAMETERS {
        // An answer of 0 means that this glibc does not know the parameter: memory is then held as by default.
        if glibc::mallopt(parameter, value) == 0 {
            tracing::debug!(parameter, value, "mallopt refused");
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    // SAFETY: the signature is that of malloc.h; any two integers are permitted.
    unsafe extern "C" {
        pub(super) safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;
    const M_ARENA_MAX: c_int = -8;

    /// Blocks from 4 MiB are mapped by themselves: larger than any buffer of small records, which would pay for fresh pages
    /// each time. Setting it also ends its growth.
    pub(super) const PARAMETERS: [(c_int, c_int); 3] = [
        (M_MMAP_THRESHOLD, 4 << 20),
        (M_TRIM_THRESHOLD, 8 << 20),
        (M_ARENA_MAX, 4),
    ];
}
