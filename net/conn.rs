//! One client's or peer's TCP connection, used by several tasks of one executor.
//!
//! Flow       the reader task awaits `receive`; whoever has a reply appends it to `outbox`; at the end of a turn the
//!            server calls `try_flush`, which sends in one system call what the socket takes. Only when something is
//!            left over a task is needed that awaits `flush`.
//! Invariant  bytes leave in the order in which they entered the outbox: every send takes from its front and advances it
//!            in the same poll. No borrow of the stream or the outbox is held across an await.
//! Absent     splitting into halves: both directions need only `&Connection`, so an `Rc` of it does.
//!
//! An idle connection has one io_uring poll in the kernel and no buffer: about 1 KiB with its reader task and glommio's
//! part, measured over 8,000 of them.

use std::{
    cell::{Cell, RefCell, RefMut},
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, Shutdown, sockopt},
};

use crate::{
    buffer::{Blocks, Pool, ReceiveBuffer, ReplyBuffer},
    sys,
};

/// Slices in one send. A turn's small replies are one slice; each large value adds two.
const SLICES_MAX: usize = 16;

/// Bytes in one send, and in one turn of `flush`: some 20 us of copying, then others have their turn.
const SEND_BYTES_MAX: usize = 128 * 1024;

/// How often `finish` looks whether a `flush` of another task has done its work.
const OTHERS_FLUSH_PAUSE: Duration = Duration::from_millis(1);

/// What is set on every socket besides TCP_NODELAY, which always is. SO_LINGER stays off, as ZooKeeper has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    /// SO_KEEPALIVE. Sessions have their own way to notice that a client has gone, so it is off unless asked for.
    pub keepalive: bool,
}

/// How far `try_flush` got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is left over needs a task that awaits flush"]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// The socket is full and nobody waits for it: start a task that awaits `flush`.
    Remainder,
    /// A `flush` is already under way and will take the new bytes along.
    Underway,
}

/// A TCP connection.
#[derive(Debug)]
pub struct Connection {
    stream: RefCell<TcpStream>,
    outbox: RefCell<ReplyBuffer>,
    peer: SocketAddr,
    /// The last receive was full: the peer may have more than its share.
    is_flooded: Cell<bool>,
    is_flushing: Cell<bool>,
    is_closed: Cell<bool>,
}

impl Connection {
    /// Takes over a stream.
    ///
    /// # Errors
    /// When the peer is already gone.
    pub(crate) fn new(stream: TcpStream, options: ConnectionOptions, pool: &Rc<Pool>) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        if options.keepalive {
            sockopt::set_socket_keepalive(sys::stream_fd(&stream), true)?;
        }
        let mut peer = stream.peer_addr()?;
        peer.set_ip(peer.ip().to_canonical());
        Ok(Connection {
            stream: RefCell::new(stream),
            outbox: RefCell::new(ReplyBuffer::new(pool)),
            peer,
            is_flooded: Cell::new(false),
            is_flushing: Cell::new(false),
            is_closed: Cell::new(false),
        })
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// When nobody answers at `address` within `timeout`.
    ///
    /// # Cancel safety
    /// Cancelled, there is no connection.
    pub async fn connect(
        address: SocketAddr,
        timeout: Duration,
        options: ConnectionOptions,
        pool: &Rc<Pool>,
    ) -> io::Result<Connection> {
        let connection = Connection::new(TcpStream::connect_timeout(address, timeout).await?, options, pool)?;
        // Where nobody listens on a port that the kernel may also give out, it can give us just that one: TCP then
        // connects the socket with itself.
        if connection.local_addr()? == connection.peer {
            return Err(Errno::CONNREFUSED.into());
        }
        Ok(connection)
    }

    /// Who is at the other end. An IPv4 client of an IPv6 socket shows its IPv4 address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Our end.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut local = self.stream.borrow().local_addr()?;
        local.set_ip(local.ip().to_canonical());
        Ok(local)
    }

    /// Waits for bytes and adds them to `inbox`. 0 means that nothing more will come: the peer has finished, or
    /// `close` was called.
    ///
    /// # Errors
    /// When the connection is broken.
    ///
    /// # Cancel safety
    /// Cancelled, it has received nothing.
    pub async fn receive(&self, inbox: &mut ReceiveBuffer) -> io::Result<usize> {
        if self.is_flooded.take() {
            reactor_turn().await;
        }
        poll_fn(|cx| self.poll_receive(cx, inbox)).await
    }

    fn poll_receive(&self, cx: &mut Context<'_>, inbox: &mut ReceiveBuffer) -> Poll<io::Result<usize>> {
        if self.is_closed() {
            // The kernel would still hand out what came before.
            return Poll::Ready(Ok(0));
        }
        let space = inbox.space();
        let space_len = space.len();
        let received = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, space);
        match received {
            Poll::Ready(Ok(count_bytes)) if count_bytes > 0 => {
                inbox.received(count_bytes);
                self.is_flooded.set(count_bytes == space_len);
            }
            _ => inbox.rest_before_wait(),
        }
        received
    }

    /// Waits for at most `len_max_bytes` and hands them on. Nothing means what 0 means to [`receive`](Self::receive).
    ///
    /// # Errors
    /// When the connection is broken.
    ///
    /// # Cancel safety
    /// Cancelled, it has received nothing.
    pub async fn receive_bytes(&self, blocks: &Blocks, len_max_bytes: usize) -> io::Result<Bytes> {
        if self.is_flooded.take() {
            reactor_turn().await;
        }
        poll_fn(|cx| {
            if self.is_closed() {
                return Poll::Ready(Ok(Bytes::new()));
            }
            let mut stream = self.stream.borrow_mut();
            let received = blocks.poll_receive(len_max_bytes, |room| Pin::new(&mut *stream).poll_read(cx, room));
            let (bytes, was_full) = ready!(received)?;
            self.is_flooded.set(was_full);
            Poll::Ready(Ok(bytes))
        })
        .await
    }

    /// Replies to be sent. What is appended leaves with the next `try_flush` or with a `flush` under way.
    ///
    /// # Panics
    /// While another borrow of it is alive.
    pub fn outbox(&self) -> RefMut<'_, ReplyBuffer> {
        self.outbox.borrow_mut()
    }

    /// Bytes that the peer has not taken yet.
    pub fn pending_bytes(&self) -> usize {
        self.outbox.borrow().pending_bytes()
    }

    /// Sends what the socket takes at once, in one system call, and waits for nothing.
    ///
    /// # Errors
    /// When the connection is broken. Whoever reads it will learn that too.
    pub fn try_flush(&self) -> io::Result<Flushed> {
        if self.is_flushing.get() {
            return Ok(Flushed::Underway);
        }
        if self.outbox.borrow().is_empty() {
            return Ok(Flushed::All);
        }
        match self.send() {
            Ok(_) if self.outbox.borrow().is_empty() => Ok(Flushed::All),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(Flushed::Remainder),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends everything, also what is appended while it waits. Returns at once when another `flush` is under way.
    ///
    /// # Errors
    /// When the connection is broken or closed.
    ///
    /// # Cancel safety
    /// What has not been sent stays in the outbox.
    pub async fn flush(&self) -> io::Result<()> {
        if self.is_flushing.replace(true) {
            return Ok(());
        }
        let _reset = ResetOnDrop(&self.is_flushing);
        while !self.outbox.borrow().is_empty() {
            match self.send() {
                Ok(_) if self.outbox.borrow().is_empty() => break,
                Ok(_) => reactor_turn().await,
                Err(Errno::AGAIN | Errno::INTR) => poll_fn(|cx| self.poll_until_writable(cx)).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// glommio registers for writability only as part of a write, so this tries one more with the first slice.
    fn poll_until_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        let mut slices = [IoSlice::new(&[]); 1];
        outbox.slices(&mut slices, SEND_BYTES_MAX);
        let sent = ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, &slices[0]))?;
        outbox.advance(sent);
        Poll::Ready(Ok(()))
    }

    /// One attempt to send the front of the outbox, without waiting.
    fn send(&self) -> Result<usize, Errno> {
        let mut outbox = self.outbox.borrow_mut();
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = outbox.slices(&mut slices, SEND_BYTES_MAX);
        if used == 0 {
            return Ok(0);
        }
        let stream = self.stream.borrow();
        let (socket, flags) = (sys::stream_fd(&stream), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let sent = match &slices[..used] {
            [one] => rustix::net::send(socket, one, flags)?,
            many => rustix::net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), flags)?,
        };
        outbox.advance(sent);
        Ok(sent)
    }

    /// Ends the connection in both directions at once: the reader sees the end of the stream, a waiting `flush` an
    /// error. What the kernel has already taken still reaches the peer.
    pub fn close(&self) {
        if !self.is_closed.replace(true) {
            // Fails only when the peer has already broken the connection.
            let _ = rustix::net::shutdown(sys::stream_fd(&self.stream.borrow()), Shutdown::Both);
        }
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Ends the connection after a last reply, within `timeout`: sends the outbox, says that no more will come, and
    /// takes in what the peer still sends until it ends its side too. Without that, closing a socket with unread bytes
    /// makes the kernel send a reset, which can destroy the last reply on the peer's side. Called by the reader task.
    ///
    /// # Cancel safety
    /// Cancelled, the connection may still be open.
    pub async fn finish(&self, inbox: &mut ReceiveBuffer, timeout: Duration) {
        let farewell = async {
            self.flush().await?;
            while self.is_flushing.get() && !self.is_closed() {
                glommio::timer::sleep(OTHERS_FLUSH_PAUSE).await;
            }
            rustix::net::shutdown(sys::stream_fd(&self.stream.borrow()), Shutdown::Write).map_err(io::Error::from)?;
            while self.receive(inbox).await? > 0 {
                inbox.skip(inbox.bytes().len());
            }
            Ok(())
        };
        // Neither a broken connection nor a peer that does not finish changes what follows.
        let _ = glommio::timer::timeout(timeout, farewell).await;
        self.close();
    }
}

impl Drop for Connection {
    /// The io_uring poll keeps the socket alive until its cancellation has reached the kernel; the peer shall not wait
    /// for that.
    fn drop(&mut self) {
        self.close();
    }
}

/// Lets the executor look for I/O and timers before this task goes on. glommio does so only when no task can run, or
/// when its preemption timer is up (100 ms unless set), so a task that just wakes itself holds up every other socket.
async fn reactor_turn() {
    glommio::timer::sleep(Duration::from_micros(1)).await;
}

struct ResetOnDrop<'c>(&'c Cell<bool>);

impl Drop for ResetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(test)]
mod tests;
