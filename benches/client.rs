//! A client that waits for each answer: what one application thread feels.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use net::jute::decode;
use net::record::{ConnectResponse, xid};

use crate::request::{Template, close_session, handshake, reply_header};

/// Longest wait for anything. Only a hang gets near it.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// What a read asks for at once.
const READ_BYTES: usize = 64 << 10;
/// Nothing here outlives it, and servers that are busy for long do not expire it.
pub const SESSION_TIMEOUT_MS: i32 = 120_000;

/// A session on a blocking socket.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    received: usize,
    send: Vec<u8>,
    next_xid: i32,
}

impl Client {
    /// Connects and gets a session.
    ///
    /// # Errors
    /// The kernel's, or a refusal.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, ANSWER_LIMIT)?, ANSWER_LIMIT)
    }

    /// Gets a session on a connected socket, waiting for each answer at most `limit`.
    ///
    /// # Errors
    /// As `connect`.
    pub fn over(stream: TcpStream, limit: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        let mut client = Self { stream, buffer: vec![0; READ_BYTES], received: 0, send: Vec::new(), next_xid: 1 };
        client.stream.write_all(&handshake(SESSION_TIMEOUT_MS))?;
        let length = client.fill_frame()?;
        let granted: ConnectResponse<'_> =
            decode(&client.buffer[4..length]).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        if granted.session_id == 0 {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        client.drop_frame(length);
        Ok(client)
    }

    /// The socket with its session, for a fleet.
    pub fn into_stream(self) -> TcpStream {
        assert_eq!(self.received, 0, "nothing is on its way");
        self.stream
    }

    /// Sends a request, waits for its answer, and says how long that took. Notifications in between are dropped.
    ///
    /// # Errors
    /// The kernel's, or the server's code.
    pub fn ask(&mut self, template: &Template, number: u32) -> io::Result<Duration> {
        self.send.clear();
        template.append(&mut self.send, self.next_xid, number);
        let begin = Instant::now();
        self.stream.write_all(&self.send)?;
        loop {
            let length = self.fill_frame()?;
            let (answered, code) = reply_header(&self.buffer[4..length]);
            let took = begin.elapsed();
            self.drop_frame(length);
            if answered == xid::NOTIFICATION {
                continue;
            }
            assert_eq!(answered, self.next_xid, "a reply to another request");
            self.next_xid += 1;
            return if code == 0 { Ok(took) } else { Err(io::Error::other(format!("the server's code {code}"))) };
        }
    }

    /// Ends the session and waits until the server has closed the connection.
    pub fn close(mut self) {
        // A server that has gone already has ended nothing less.
        let _ = self.stream.write_all(&close_session());
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Reads until a whole frame stands at the start of the buffer and gives its length with the header.
    fn fill_frame(&mut self) -> io::Result<usize> {
        loop {
            let length = match self.buffer[..self.received].first_chunk() {
                Some(header) => 4 + u32::from_be_bytes(*header) as usize,
                None => 4,
            };
            if length > 4 && length <= self.received {
                return Ok(length);
            }
            let room = length.max(self.received) + READ_BYTES;
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            match self.stream.read(&mut self.buffer[self.received..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.received += count,
            }
        }
    }

    fn drop_frame(&mut self, length: usize) {
        self.buffer.copy_within(length..self.received, 0);
        self.received -= length;
    }
}
