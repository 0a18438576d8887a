//! The socket that clients connect to.
//!
//! Flow       `bind` -> `accept` again and again; each gives a `Connection` of the executor that called it. Or
//!            `accept_any`, which gives what any executor can make its own.
//! Absent     limits per address and in total: who may stay is the server's decision.
//!
//! SO_REUSEPORT is not set, though glommio's own `bind` would: with it a second server of the same user
//! starts without complaint and takes half of the first one's clients.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use glommio::net::{AcceptedTcpStream, TcpListener};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt},
};

use crate::{
    buffer::Pool,
    conn::{Connection, ConnectionOptions},
    sys,
};

/// How long `accept` rests when the process or the host is out of descriptors or memory. Long enough not to spin, short
/// enough for a client's connect timeout.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// On every address of the host, IPv4 and IPv6, or IPv4 alone where the kernel has no IPv6.
    Any {
        /// 0 for one that is free.
        port: u16,
    },
    /// On one address.
    At(SocketAddr),
}

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections the kernel holds for us before they are accepted; it also has a bound of its own
    /// (net.core.somaxconn).
    pub backlog: i32,
    /// For every accepted connection.
    pub connection: ConnectionOptions,
}

impl Default for ListenOptions {
    /// A backlog for a whole fleet that reconnects at once: ZooKeeper's 50 makes them time out and try again.
    fn default() -> ListenOptions {
        ListenOptions { backlog: 4096, connection: ConnectionOptions::default() }
    }
}

/// A listening socket, bound to one executor.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    connection: ConnectionOptions,
    pool: Rc<Pool>,
}

impl Listener {
    /// Listens. Must be called within an executor.
    ///
    /// # Errors
    /// When the kernel refuses: the port is taken, the address is not ours, or ports below 1024 are not allowed.
    pub fn bind(address: ListenAddress, options: &ListenOptions, pool: &Rc<Pool>) -> io::Result<Listener> {
        let socket = match address {
            ListenAddress::At(address) => listen_at(address, options)?,
            ListenAddress::Any { port } => match listen_at((Ipv6Addr::UNSPECIFIED, port).into(), options) {
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                    listen_at((Ipv4Addr::UNSPECIFIED, port).into(), options)?
                }
                listening => listening?,
            },
        };
        Ok(Listener { inner: sys::listener_from(socket), connection: options.connection, pool: Rc::clone(pool) })
    }

    /// The address it listens on, with the port that was chosen if 0 was asked for.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// The next connection. Peers that are gone before they are looked at are passed over; when descriptors or memory
    /// run out it says so, rests and goes on.
    ///
    /// # Errors
    /// When the listening socket itself is broken.
    ///
    /// # Cancel safety
    /// A connection that arrives in the very moment of the cancellation may be lost without being closed. Cancel it
    /// only when the server stops.
    pub async fn accept(&self) -> io::Result<Connection> {
        loop {
            if let Ok(connection) = self.accept_any().await?.bind(&self.pool) {
                return Ok(connection);
            }
        }
    }

    /// As [`accept`](Listener::accept), for another executor to serve.
    ///
    /// # Errors
    /// When the listening socket itself is broken.
    ///
    /// # Cancel safety
    /// As [`accept`](Listener::accept).
    pub async fn accept_any(&self) -> io::Result<Accepted> {
        let mut is_reported = false;
        loop {
            let error = match self.inner.shared_accept().await {
                Ok(stream) => return Ok(Accepted { stream, connection: self.connection }),
                Err(error) => io::Error::from(error),
            };
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if !std::mem::replace(&mut is_reported, true) {
                        tracing::warn!(%error, pause = ?EXHAUSTED_PAUSE, "cannot accept connections, trying again");
                    }
                    glommio::timer::sleep(EXHAUSTED_PAUSE).await;
                }
                Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) | None => return Err(error),
                // The peer's or the network's trouble (accept(2) lists a dozen); the listening socket is fine.
                Some(_) => {}
            }
        }
    }
}

/// An accepted connection that no executor has made its own yet. Dropped before, it stays open until the process ends.
#[derive(Debug)]
pub struct Accepted {
    stream: AcceptedTcpStream,
    connection: ConnectionOptions,
}

impl Accepted {
    /// Makes it a connection of the executor that calls this.
    ///
    /// # Errors
    /// When the peer is already gone.
    pub fn bind(self, pool: &Rc<Pool>) -> io::Result<Connection> {
        Connection::new(self.stream.bind_to_executor(), self.connection, pool)
    }
}

fn listen_at(address: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Blocking on purpose: io_uring's accept would come back at once from a non-blocking socket.
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(socket.as_fd(), true)?;
    if address.is_ipv6() {
        // As Java: the wildcard takes IPv4 too, whatever net.ipv6.bindv6only says.
        sockopt::set_ipv6_v6only(socket.as_fd(), !address.ip().is_unspecified())?;
    }
    rustix::net::bind(socket.as_fd(), &address)?;
    rustix::net::listen(socket.as_fd(), options.backlog)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
