//! One connection of a fleet: a session on a socket that never blocks.
//!
//! Flow       `push` (request into the send buffer) -> `flush` (one write) ; `receive` (one read, all whole replies in it).
//! Invariant  replies come in the order of requests: each must carry the oldest outstanding xid and no error.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use net::frame::{Split, split};
use net::record::xid;

use crate::request::{Template, reply_header};

/// Room for one read. Replies of a load are at most a few hundred bytes, so this holds a whole window of them.
const RECEIVE_BYTES: usize = 32 << 10;
/// Longest reply that a load expects.
const REPLY_LEN_MAX: usize = RECEIVE_BYTES - 4;

/// A session with requests on their way.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    send: Vec<u8>,
    sent: usize,
    /// Allocated by the first read: ten thousand idle links shall not need it.
    receive: Vec<u8>,
    received: usize,
    is_blocked: bool,
    next_xid: i32,
    /// When each outstanding request counts as sent, oldest first.
    outstanding: VecDeque<Instant>,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Answers to requests.
    pub replies: usize,
    /// Watch notifications.
    pub notifications: usize,
}

impl Link {
    /// Around a stream that has its session.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            send: Vec::new(),
            sent: 0,
            receive: Vec::new(),
            received: 0,
            is_blocked: false,
            next_xid: 1,
            outstanding: VecDeque::new(),
        })
    }

    /// Whether the last flush left something.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// The socket, for epoll.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Requests without their answer.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Puts a request into the send buffer. Its latency counts from `since`.
    pub fn push(&mut self, template: &Template, number: u32, since: Instant) {
        template.append(&mut self.send, self.next_xid, number);
        self.next_xid += 1;
        self.outstanding.push_back(since);
    }

    /// Writes what the socket takes. False: something is left, and epoll must say when to go on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn flush(&mut self) -> io::Result<bool> {
        self.is_blocked = !self.write()?;
        Ok(!self.is_blocked)
    }

    fn write(&mut self) -> io::Result<bool> {
        while self.sent < self.send.len() {
            match self.stream.write(&self.send[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.send.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Reads once and takes every whole reply, giving `answered` the moment from which its latency counts.
    ///
    /// # Errors
    /// The kernel's, and the end of the connection.
    ///
    /// # Panics
    /// If a reply is out of order or an error: the load is wrong then, or the server.
    pub fn receive(&mut self, mut answered: impl FnMut(Instant)) -> io::Result<Received> {
        if self.receive.is_empty() {
            self.receive.resize(RECEIVE_BYTES, 0);
        }
        match self.stream.read(&mut self.receive[self.received..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::default()),
            Err(error) => return Err(error),
        }
        let mut taken = Received::default();
        let mut start = 0;
        while let Split::Frame { body_len } =
            split(&self.receive[start..self.received], REPLY_LEN_MAX).expect("a server's frame is legal")
        {
            let (xid, code) = reply_header(&self.receive[start + 4..start + 4 + body_len]);
            start += 4 + body_len;
            if xid == xid::NOTIFICATION {
                taken.notifications += 1;
                continue;
            }
            let count = i32::try_from(self.outstanding.len()).expect("a window is small");
            assert_eq!((xid, code), (self.next_xid - count, 0), "xid and error code of a reply");
            answered(self.outstanding.pop_front().expect("the xid above was outstanding"));
            taken.replies += 1;
        }
        self.receive.copy_within(start..self.received, 0);
        self.received -= start;
        Ok(taken)
    }
}
