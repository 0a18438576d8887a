//! Plays a plan's steps on one server and brings what every connection received.
//!
//! Flow       a step's bytes go out in one write; as many replies are awaited as requests were sent, then a `sync` on
//!            every open connection fences the notifications that the step caused.
//! Invariant  behind a step nothing is in flight: the next step starts from the same state on every server.

use std::net::SocketAddr;

use super::answer::{self, Frame};
use super::request::Request;
use super::step::{Hello, LastZxid, Password, Step, Which};
use crate::client::{Connection, Granted, Handshake, Received, Reply};
use crate::wire::{self, Writer, code, frame, opcode};

/// Clients in a plan.
pub const SLOTS: usize = 3;
/// Xid of the fences. Requests use smaller ones.
const FENCE_XID: i32 = 0x7f00_0000;
/// Far above any zxid that a test reaches.
const TOO_HIGH: i64 = 0x7fff_ffff_ffff;

/// What every slot received in one step, in the order in which it came.
pub type Outcome = Vec<(usize, Vec<Frame>)>;

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    session: i64,
    password: Vec<u8>,
    last_zxid: i64,
}

/// The clients of one server.
#[derive(Debug)]
pub struct Player {
    address: SocketAddr,
    slots: Vec<Slot>,
}

impl Player {
    /// Clients without connections. They connect when their first step comes.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, slots: (0..SLOTS).map(|_| Slot::default()).collect() }
    }

    /// Does one step and gives what came.
    pub fn play(&mut self, step: &Step) -> Outcome {
        let slot = step.slot();
        let mut frames = Vec::new();
        match step {
            Step::Requests { requests, .. } => {
                self.ensure_connected(slot, &mut frames);
                let bytes = self.encode(slot, requests);
                self.slots[slot].send(&bytes);
                self.slots[slot].receive(requests, &mut frames);
            }
            Step::Connect { hello, requests, .. } => self.connect(slot, hello, requests, &mut frames),
            Step::Raw { bytes, server_closes, .. } => {
                self.ensure_connected(slot, &mut frames);
                self.slots[slot].send(bytes);
                if *server_closes {
                    self.slots[slot].receive_end(&mut frames);
                } else {
                    self.slots[slot].hang_up();
                }
            }
        }
        let mut outcome = vec![(slot, frames)];
        self.fence(&mut outcome);
        outcome
    }

    /// A client whose connection is gone comes back: with its session, or with a new one if that is refused.
    fn ensure_connected(&mut self, slot: usize, frames: &mut Vec<Frame>) {
        if self.slots[slot].connection.is_some() {
            return;
        }
        let mut hello = Hello {
            session: Which::Own,
            password: Password::Right,
            timeout_ms: 700_000,
            last_zxid: LastZxid::Seen,
            read_only: Some(false),
            protocol_version: 0,
            leave_old_open: false,
        };
        if self.slots[slot].session != 0 {
            self.connect(slot, &hello, &[], frames);
        }
        if self.slots[slot].connection.is_none() {
            hello.session = Which::New;
            self.connect(slot, &hello, &[], frames);
        }
    }

    fn connect(&mut self, slot: usize, hello: &Hello, requests: &[Request], frames: &mut Vec<Frame>) {
        let handshake = self.handshake(slot, hello);
        let mut old = self.slots[slot].connection.take();
        // The original forgets a session's new connection when it notices the end of the old one later.
        if !hello.leave_old_open
            && let Some(old) = old.take()
        {
            old.hang_up();
        }
        let Ok(mut connection) = Connection::try_open(self.address) else {
            // The server is gone, which the other one will not be.
            return frames.push(Frame::Closed);
        };
        let mut bytes = frame(&handshake.encode());
        bytes.extend(self.encode(slot, requests));
        connection.send(&bytes);
        let Some(granted) = first_frame(&mut connection, frames) else { return };
        if granted.timeout_ms <= 0 {
            // Refused: the session is not usable, the server closes.
            frames.push(end(&mut connection));
            return;
        }
        let entry = &mut self.slots[slot];
        if entry.session != granted.session_id {
            entry.last_zxid = 0;
        }
        entry.session = granted.session_id;
        entry.password = granted.password;
        entry.connection = Some(connection);
        entry.receive(requests, frames);
        if let Some(mut old) = old.filter(|_| hello.session == Which::Own) {
            frames.push(end(&mut old));
        }
    }

    fn handshake(&self, slot: usize, hello: &Hello) -> Handshake {
        let entry = &self.slots[slot];
        let (session_id, right) = match hello.session {
            Which::New => (0, vec![0; 16]),
            // A slot that never had a session asks for a new one.
            Which::Own if entry.session == 0 => (0, vec![0; 16]),
            Which::Own => (entry.session, entry.password.clone()),
            Which::Unknown(more) => {
                let unknown = entry.session.wrapping_add(more);
                (unknown, wire::session_password(unknown).to_vec())
            }
        };
        let password = match hello.password {
            Password::Right => Some(right),
            Password::Wrong => Some(right.iter().map(|byte| byte ^ 1).collect()),
            Password::Short => Some(right[..7].to_vec()),
            Password::Null => None,
        };
        let last_zxid_seen = match hello.last_zxid {
            LastZxid::Zero => 0,
            LastZxid::Seen => entry.last_zxid,
            LastZxid::TooHigh => TOO_HIGH,
        };
        Handshake {
            protocol_version: hello.protocol_version,
            last_zxid_seen,
            timeout_ms: hello.timeout_ms,
            session_id,
            password,
            read_only: hello.read_only,
        }
    }

    fn encode(&self, slot: usize, requests: &[Request]) -> Vec<u8> {
        let last_zxid = self.slots[slot].last_zxid;
        requests.iter().flat_map(|request| frame(&request.encode(last_zxid))).collect()
    }

    /// All fences go out before the first answer is awaited: one round trip for all connections.
    fn fence(&mut self, outcome: &mut Outcome) {
        let fence = Writer::new().int(FENCE_XID).int(opcode::SYNC).string("/").done();
        for slot in self.slots.iter_mut() {
            slot.send(&frame(&fence));
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.connection.is_none() {
                continue;
            }
            let mut frames = Vec::new();
            slot.receive_one(opcode::SYNC, &mut frames);
            outcome.push((index, frames));
        }
    }
}

impl Slot {
    fn send(&mut self, bytes: &[u8]) {
        if let Some(connection) = &mut self.connection {
            connection.send(bytes);
        }
    }

    fn receive(&mut self, requests: &[Request], frames: &mut Vec<Frame>) {
        for request in requests {
            self.receive_one(request.op.opcode(), frames);
        }
        if frames.last().is_some_and(is_last) {
            self.receive_end(frames);
        }
    }

    /// Notifications up to the next reply, and that.
    fn receive_one(&mut self, op: i32, frames: &mut Vec<Frame>) {
        while let Some(connection) = &mut self.connection {
            let bytes = match connection.receive() {
                Received::Frame(bytes) => bytes,
                other => return self.ended(other, frames),
            };
            let Some(reply) = Reply::decode(&bytes) else {
                frames.push(Frame::Granted(answer::Value::Rest(bytes)));
                continue;
            };
            if reply.xid == -1 {
                frames.push(Frame::Event { zxid: reply.zxid, body: answer::event(&reply.body) });
                continue;
            }
            self.last_zxid = self.last_zxid.max(reply.zxid);
            let body = answer::decode(op, reply.err, &reply.body);
            frames.push(Frame::Reply { opcode: op, xid: reply.xid, zxid: reply.zxid, err: reply.err, body });
            return;
        }
    }

    fn receive_end(&mut self, frames: &mut Vec<Frame>) {
        if let Some(mut connection) = self.connection.take() {
            frames.push(end(&mut connection));
        }
    }

    fn ended(&mut self, how: Received, frames: &mut Vec<Frame>) {
        frames.push(if how == Received::Silent { Frame::Silent } else { Frame::Closed });
        self.hang_up();
    }

    fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.hang_up();
        }
    }
}

/// Whether the server closes behind this reply. It may take a moment, in which it would still answer a fence.
fn is_last(frame: &Frame) -> bool {
    match frame {
        Frame::Reply { opcode: opcode::CLOSE_SESSION, .. } | Frame::Reply { err: code::AUTH_FAILED, .. } => true,
        Frame::Reply { err: code::UNIMPLEMENTED, zxid, .. } => *zxid == -1,
        _ => false,
    }
}

fn first_frame(connection: &mut Connection, frames: &mut Vec<Frame>) -> Option<Granted> {
    match connection.receive() {
        Received::Frame(bytes) => {
            frames.push(Frame::Granted(answer::granted(&bytes)));
            Granted::decode(&bytes)
        }
        Received::Closed => {
            frames.push(Frame::Closed);
            None
        }
        Received::Silent => {
            frames.push(Frame::Silent);
            None
        }
    }
}

/// The end of a connection that must end now.
fn end(connection: &mut Connection) -> Frame {
    match connection.receive() {
        Received::Frame(bytes) => Frame::Granted(answer::Value::Rest(bytes)),
        Received::Closed => Frame::Closed,
        Received::Silent => Frame::Silent,
    }
}
