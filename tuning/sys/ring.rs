//! Whether the kernel gives this process an io_uring.
#![expect(unsafe_code, reason = "io_uring_setup is unsafe in general; a probe that maps nothing is not")]

use rustix::io;
use rustix::io_uring::{IoringSetupFlags, io_uring_params, io_uring_setup};

/// Sets up a ring of each kind that an executor needs and drops it again.
///
/// # Errors
/// The kernel's answer, or the one of a filter (seccomp) in front of it.
pub(crate) fn probe() -> io::Result<()> {
    for flags in [IoringSetupFlags::empty(), IoringSetupFlags::IOPOLL] {
        let mut params = io_uring_params::default();
        params.flags = flags;
        // SAFETY:
        // - no borrowed descriptor: `wq_fd` is read only with ATTACH_WQ, which neither value of `flags` has;
        // - no memory shared with the kernel: the ring is never mapped, and its descriptor is closed here.
        drop(unsafe { io_uring_setup(8, &mut params) }?);
    }
    Ok(())
}
