//! Descriptors that glommio owns or shall own, for system calls it has no method for.
#![expect(unsafe_code, reason = "glommio's sockets offer only raw descriptors")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use glommio::net::{TcpListener, TcpStream};

/// The stream's descriptor, for as long as the stream is borrowed.
pub(crate) fn stream_fd(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY:
    // - open: `stream` owns the descriptor and closes it only when it is dropped, which the returned borrow excludes;
    // - valid: a stream's descriptor is never -1.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Makes a listening socket glommio's. Must be called within an executor.
pub(crate) fn listener_from(socket: OwnedFd) -> TcpListener {
    // SAFETY:
    // - owned: `into_raw_fd` gives up our only handle, so the listener is the sole owner and will close it once;
    // - right kind: a wrong kind of socket would make `accept` fail, nothing worse.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}
