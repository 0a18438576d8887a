//! A blocking client that can say anything: frames by hand below, a session with typed calls above.
//!
//! Flow       `Connection` moves frames; `Session` adds the handshake, numbers requests, sorts replies from events.
//! Invariant  every read has a limit, so a silent server fails a test instead of hanging it.
//! Absent     retries and reconnecting by itself: a test decides.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Reader, Stat, Writer, frame, opcode};

/// How long a frame may take. Only a hang gets near it, or a test that expects silence and sets its own.
pub const FRAME_LIMIT: Duration = Duration::from_secs(30);
/// Frames longer than this are a broken length: no test asks for so much.
const FRAME_LEN_MAX: usize = 256 << 20;

/// One TCP connection that speaks frames.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

/// What a read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole frame, without its length.
    Frame(Vec<u8>),
    /// The server closed or reset the connection.
    Closed,
    /// Nothing came within the limit.
    Silent,
}

impl Connection {
    /// Connects, without saying anything.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// As `open`, for servers that may be down.
    ///
    /// # Errors
    /// The kernel's.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        Self::try_open_within(address, FRAME_LIMIT)
    }

    /// As `try_open`, with a limit for the connect and for each read and write from then on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn try_open_within(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream })
    }

    /// Sets how long `receive` waits.
    pub fn set_limit(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a limit above zero is legal");
    }

    /// Sends bytes as they are. A connection that the server has closed swallows them: the next read tells.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a message with its length before it.
    pub fn send_frame(&mut self, message: &[u8]) {
        self.send(&frame(message));
    }

    /// Ends our half of the connection and waits until the server has ended its own: it knows then.
    pub fn hang_up(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while let Received::Frame(_) = self.receive() {}
    }

    /// The next frame, the end, or silence.
    pub fn receive(&mut self) -> Received {
        let mut length = [0; 4];
        if let Some(other) = self.fill(&mut length) {
            return other;
        }
        let length = u32::from_be_bytes(length) as usize;
        assert!(length <= FRAME_LEN_MAX, "the server announced a frame of {length} bytes");
        let mut message = vec![0; length];
        self.fill(&mut message).unwrap_or(Received::Frame(message))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<Received> {
        match self.stream.read_exact(bytes) {
            Ok(()) => None,
            Err(error) => Some(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Received::Silent,
                _ => Received::Closed,
            }),
        }
    }

    /// Whether the server closes the connection without another frame.
    pub fn closes(&mut self) -> bool {
        self.receive() == Received::Closed
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Ignored by servers.
    pub protocol_version: i32,
    /// The highest zxid this client has seen.
    pub last_zxid_seen: i64,
    /// What the client asks for.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session_id: i64,
    /// 16 bytes, or null.
    pub password: Option<Vec<u8>>,
    /// Missing in clients up to 3.3.
    pub read_only: Option<bool>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id: 0,
            password: Some(vec![0; 16]),
            read_only: Some(false),
        }
    }
}

impl Handshake {
    /// The frame's content.
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new()
            .int(self.protocol_version)
            .long(self.last_zxid_seen)
            .int(self.timeout_ms)
            .long(self.session_id)
            .buffer(self.password.as_deref());
        match self.read_only {
            None => writer.done(),
            Some(value) => writer.byte(value.into()).done(),
        }
    }
}

/// The server's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Always 0.
    pub protocol_version: i32,
    /// Negotiated; 0 when the session was refused.
    pub timeout_ms: i32,
    /// The session, 0 when refused.
    pub session_id: i64,
    /// 16 bytes.
    pub password: Vec<u8>,
    /// There iff the request had it.
    pub read_only: Option<u8>,
}

impl Granted {
    /// Reads the frame's content; anything left over or missing is wrong.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let granted = Self {
            protocol_version: reader.int()?,
            timeout_ms: reader.int()?,
            session_id: reader.long()?,
            password: reader.buffer()??.to_vec(),
            read_only: match reader.rest().len() {
                0 => None,
                _ => Some(reader.byte()?),
            },
        };
        reader.rest().is_empty().then_some(granted)
    }
}

/// A watch notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of the transaction that fired it.
    pub zxid: i64,
    /// 1 created, 2 deleted, 3 data changed, 4 children changed.
    pub kind: i32,
    /// Always 3.
    pub state: i32,
    /// Where.
    pub path: String,
}

/// A reply's header and the bytes behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Echoed.
    pub xid: i32,
    /// The server's state.
    pub zxid: i64,
    /// 0 or an error code.
    pub err: i32,
    /// The response record.
    pub body: Vec<u8>,
}

impl Reply {
    /// Splits a frame that is no notification.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (xid, zxid, err) = (reader.int()?, reader.long()?, reader.int()?);
        Some(Self { xid, zxid, err, body: reader.rest().to_vec() })
    }

    /// The same as an event, if the frame is one.
    pub fn as_event(&self) -> Option<Event> {
        if self.xid != -1 {
            return None;
        }
        let mut reader = Reader::new(&self.body);
        Some(Event { zxid: self.zxid, kind: reader.int()?, state: reader.int()?, path: reader.string()? })
    }
}

/// A session on one connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// What the server granted.
    pub granted: Granted,
    /// Notifications in the order in which they came.
    pub events: VecDeque<Event>,
    /// The highest zxid in any reply.
    pub last_zxid: i64,
    xid: i32,
}

/// A call's answer: the response record, or the error code.
pub type Answer<T> = Result<T, i32>;

impl Session {
    /// A new session.
    ///
    /// # Panics
    /// If the server does not grant one.
    pub fn open(address: SocketAddr) -> Self {
        Self::handshake(address, &Handshake::default()).expect("the server grants a session")
    }

    /// A connection with this handshake, or how it ended. A refusal (timeout 0) is granted too: look at `granted`.
    ///
    /// # Errors
    /// What came in place of the server's first frame.
    pub fn handshake(address: SocketAddr, handshake: &Handshake) -> Result<Self, Received> {
        Self::handshake_within(address, handshake, FRAME_LIMIT)
    }

    /// As `handshake`, with a limit for the connect and for each frame from then on.
    ///
    /// # Errors
    /// As `handshake`.
    pub fn handshake_within(address: SocketAddr, handshake: &Handshake, limit: Duration) -> Result<Self, Received> {
        let Ok(connection) = Connection::try_open_within(address, limit) else { return Err(Received::Closed) };
        Self::handshake_on(connection, handshake)
    }

    /// As `handshake`, on a connection that has said nothing yet.
    ///
    /// # Errors
    /// As `handshake`.
    pub fn handshake_on(mut connection: Connection, handshake: &Handshake) -> Result<Self, Received> {
        connection.send_frame(&handshake.encode());
        match connection.receive() {
            Received::Frame(bytes) => Ok(Self {
                connection,
                granted: Granted::decode(&bytes).unwrap_or_else(|| panic!("no ConnectResponse: {bytes:02x?}")),
                events: VecDeque::new(),
                last_zxid: handshake.last_zxid_seen,
                xid: 0,
            }),
            other => Err(other),
        }
    }

    /// The handshake by which another connection gets this session, as a client does after a loss.
    pub fn again(&self) -> Handshake {
        Handshake {
            session_id: self.granted.session_id,
            password: Some(self.granted.password.clone()),
            timeout_ms: self.granted.timeout_ms,
            last_zxid_seen: self.last_zxid,
            ..Handshake::default()
        }
    }

    /// The same session on a new connection.
    ///
    /// # Errors
    /// What came in place of the server's first frame.
    pub fn reattach(&self, address: SocketAddr) -> Result<Self, Received> {
        Self::handshake(address, &self.again())
    }

    /// Its id.
    pub fn id(&self) -> i64 {
        self.granted.session_id
    }

    /// The connection below, for frames by hand.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends a request and gives its xid; the reply is for `receive_reply`.
    pub fn send(&mut self, op: i32, body: &[u8]) -> i32 {
        self.xid += 1;
        self.connection.send_frame(&Writer::new().int(self.xid).int(op).raw(body).done());
        self.xid
    }

    /// The next reply; events before it are kept.
    ///
    /// # Errors
    /// The end of the connection, or silence.
    pub fn receive_reply(&mut self) -> Result<Reply, Received> {
        loop {
            let bytes = match self.connection.receive() {
                Received::Frame(bytes) => bytes,
                other => return Err(other),
            };
            let reply = Reply::decode(&bytes).unwrap_or_else(|| panic!("no reply header: {bytes:02x?}"));
            match reply.as_event() {
                Some(event) => self.events.push_back(event),
                None => {
                    self.last_zxid = self.last_zxid.max(reply.zxid);
                    return Ok(reply);
                }
            }
        }
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// The end of the connection, or silence.
    pub fn try_call(&mut self, op: i32, body: &[u8]) -> Result<Reply, Received> {
        let xid = self.send(op, body);
        let reply = self.receive_reply()?;
        assert!(op == opcode::PING || reply.xid == xid, "reply {} to request {xid}", reply.xid);
        Ok(reply)
    }

    /// One request; the response record or the error code.
    ///
    /// # Errors
    /// The error code of the reply.
    ///
    /// # Panics
    /// If the connection ends.
    pub fn call(&mut self, op: i32, body: &[u8]) -> Answer<Vec<u8>> {
        let reply = self.try_call(op, body).unwrap_or_else(|end| panic!("opcode {op} was answered by {end:?}"));
        if reply.err == 0 { Ok(reply.body) } else { Err(reply.err) }
    }

    /// create with the open ACL; the final path.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Answer<String> {
        let body = Writer::new().string(path).buffer(Some(data)).open_acl().int(flags).done();
        let reply = self.call(opcode::CREATE, &body)?;
        Ok(Reader::new(&reply).string().expect("a CreateResponse"))
    }

    /// delete.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn delete(&mut self, path: &str, version: i32) -> Answer<()> {
        self.call(opcode::DELETE, &Writer::new().string(path).int(version).done()).map(|_| ())
    }

    /// exists.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn exists(&mut self, path: &str, watch: bool) -> Answer<Stat> {
        let reply = self.call(opcode::EXISTS, &Writer::new().string(path).byte(watch.into()).done())?;
        Ok(Stat::read(&mut Reader::new(&reply)).expect("a Stat"))
    }

    /// getData; `None` is a null value.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn get(&mut self, path: &str, watch: bool) -> Answer<(Option<Vec<u8>>, Stat)> {
        let reply = self.call(opcode::GET_DATA, &Writer::new().string(path).byte(watch.into()).done())?;
        let mut reader = Reader::new(&reply);
        let data = reader.buffer().expect("a buffer").map(<[u8]>::to_vec);
        Ok((data, Stat::read(&mut reader).expect("a Stat")))
    }

    /// setData.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn set(&mut self, path: &str, data: &[u8], version: i32) -> Answer<Stat> {
        let reply = self.call(opcode::SET_DATA, &Writer::new().string(path).buffer(Some(data)).int(version).done())?;
        Ok(Stat::read(&mut Reader::new(&reply)).expect("a Stat"))
    }

    /// getChildren, sorted.
    ///
    /// # Errors
    /// The error code of the reply.
    pub fn children(&mut self, path: &str, watch: bool) -> Answer<Vec<String>> {
        let reply = self.call(opcode::GET_CHILDREN, &Writer::new().string(path).byte(watch.into()).done())?;
        let mut names = Reader::new(&reply).vector(Reader::string).flatten().expect("a vector of names");
        names.sort();
        Ok(names)
    }

    /// sync: everything committed before it is visible behind it.
    pub fn sync(&mut self) {
        self.call(opcode::SYNC, &Writer::new().string("/").done()).expect("sync has no error on a standalone server");
    }

    /// closeSession, and the end of the connection.
    ///
    /// # Panics
    /// If the server does not close.
    pub fn close(mut self) {
        self.call(opcode::CLOSE_SESSION, &[]).expect("closing has no error");
        assert!(self.connection.closes(), "the server closes behind closeSession");
    }
}
