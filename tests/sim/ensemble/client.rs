//! A client's process: one session at a time, kept over reconnects to other servers; requests several at once; and a new
//! session when the old one is over.
//!
//! Flow       a thought every few milliseconds: dial, ask, ping, or give up;  frames -> what was seen, for the judge.
//! Invariant  a session's requests are numbered in the order in which they are sent, over all its connections. What was
//!            not answered when a connection ends is never asked for again under the same number.

use std::collections::{BTreeSet, VecDeque};

use ids::SessionId;
use net::jute::{Record as _, decode};
use net::record::{ConnectRequest, ConnectResponse, ReplyHeader, WatcherEvent, xid};
use tree::session::password;

use super::speech::{self, Wish};
use super::{CLIENT_PORT, Process, Report, Setup};
use crate::sim::check::{Answer, Call, Path, Seen, Session, Write, Xid, Zxid};
use crate::sim::network::NodeId;
use crate::sim::schedule::{MILLI, Micros, SECOND};
use crate::sim::stream::ConnId;
use crate::sim::world::{Context, Event};

/// Requests that wait for an answer, at most.
const OUTSTANDING_MAX: usize = 6;
/// Answered requests after the last fault with which a client has done enough.
const ENOUGH: usize = 5;
/// How long a dial and a greeting may take.
const GREETING: Micros = SECOND;

/// Where it stands with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// With none, until then.
    Alone(Micros),
    /// It dials, or waits for the answer to its greeting, until then.
    Greeting(Micros),
    /// It is served.
    Served,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    xid: Xid,
    wish: Wish,
}

/// The process.
pub struct Client {
    setup: Setup,
    phase: Phase,
    conn: Option<ConnId>,
    server: NodeId,
    received: Vec<u8>,
    session: Option<(Session, i32)>,
    /// The last transaction that it has seen.
    seen: Zxid,
    /// What the last answer of this session was at.
    answered: Zxid,
    next_xid: Xid,
    outstanding: VecDeque<Asked>,
    /// Nodes that this connection watches.
    watched: BTreeSet<Path>,
    /// When it has last heard something, and said something.
    heard: Micros,
    said: Micros,
    /// Answered since all is well.
    done: usize,
    is_finished: bool,
}

impl Client {
    /// The process starts.
    pub fn boot(setup: &Setup, context: &mut Context<'_, Process>) -> Client {
        context.timer(1 + context.steady() % (100 * MILLI), 0);
        Client {
            setup: setup.clone(),
            phase: Phase::Alone(0),
            conn: None,
            server: 0,
            received: Vec::new(),
            session: None,
            seen: 0,
            answered: 0,
            next_xid: 1,
            outstanding: VecDeque::new(),
            watched: BTreeSet::new(),
            heard: 0,
            said: 0,
            done: 0,
            is_finished: false,
        }
    }

    /// Something happens.
    pub fn on_event(&mut self, event: Event<()>, context: &mut Context<'_, Process>) {
        match event {
            Event::Timer { .. } => self.think(context),
            Event::Opened { conn } if self.conn == Some(conn) => self.greet(context),
            Event::Bytes { conn, bytes } if self.conn == Some(conn) => {
                self.received.extend(bytes);
                self.hear(context);
            }
            Event::Closed { conn, .. } if self.conn == Some(conn) => {
                self.conn = None;
                self.lost(context);
            }
            _ => {}
        }
    }

    fn think(&mut self, context: &mut Context<'_, Process>) {
        let pause = 1 + context.random().bits() % self.setup.think;
        context.timer(pause, 0);
        let now = context.steady();
        match self.phase {
            Phase::Alone(until) if now >= until => self.dial(context),
            Phase::Greeting(until) if now >= until => self.hang_up(context),
            Phase::Served => self.go_on(context),
            Phase::Alone(_) | Phase::Greeting(_) => {}
        }
    }

    fn dial(&mut self, context: &mut Context<'_, Process>) {
        self.server = context.random().below(self.setup.servers);
        self.conn = Some(context.dial(self.server, CLIENT_PORT, GREETING));
        self.received.clear();
        self.phase = Phase::Greeting(context.steady() + GREETING);
    }

    fn greet(&mut self, context: &mut Context<'_, Process>) {
        let (session, timeout_ms) = match self.session {
            Some((session, timeout_ms)) => (session as i64, timeout_ms),
            None => (0, 400 + context.random().below(3000) as i32),
        };
        let secret = password(SessionId::new(session));
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen as i64,
            timeout_ms,
            session_id: session,
            password: Some(&secret),
            read_only: None,
        };
        self.send(speech::frame(|writer| request.encode(writer)), context);
    }

    fn send(&mut self, bytes: Vec<u8>, context: &mut Context<'_, Process>) {
        self.said = context.steady();
        context.send(self.conn.expect("it is connected"), bytes);
    }

    /// Gives a connection up, and tries another server soon.
    fn hang_up(&mut self, context: &mut Context<'_, Process>) {
        if let Some(conn) = self.conn.take() {
            context.abort(conn);
        }
        self.lost(context);
    }

    fn lost(&mut self, context: &mut Context<'_, Process>) {
        if let (Phase::Served, Some((session, _))) = (self.phase, self.session) {
            context.report(Report::Client(Seen::Disconnected { session }));
        }
        if self.outstanding.iter().any(|asked| asked.wish == Wish::Close) {
            // Nobody comes back for a session that he has closed, whether that was heard or not.
            self.session = None;
        }
        self.outstanding.clear();
        self.watched.clear();
        self.phase = Phase::Alone(context.steady() + context.random().bits() % (200 * MILLI));
    }

    fn go_on(&mut self, context: &mut Context<'_, Process>) {
        let now = context.steady();
        let (_, timeout_ms) = self.session.expect("who is served has a session");
        let patience = timeout_ms as u64 * MILLI * 2 / 3;
        if now > self.heard + patience && (now > self.said + patience / 2 || !self.outstanding.is_empty()) {
            return self.hang_up(context);
        }
        if context.random().below(100) < self.setup.restless {
            // To another server, at once: it may not have what this client has seen.
            self.hang_up(context);
            self.phase = Phase::Alone(now);
            return self.dial(context);
        }
        if context.is_quiet() && self.done >= ENOUGH && self.outstanding.is_empty() {
            if !std::mem::replace(&mut self.is_finished, true) {
                context.report(Report::Finished);
            }
        } else if self.outstanding.len() < OUTSTANDING_MAX && context.random().chance(70) {
            for _ in 0..1 + context.random().below(3) {
                let wish = self.wish(context);
                self.ask(wish, context);
                if wish == Wish::Close {
                    return;
                }
            }
            return;
        }
        if now > self.said + patience / 3 {
            self.send(speech::ask(Write { session: 0, xid: 0 }, Wish::Ping), context);
        }
    }

    fn wish(&mut self, context: &mut Context<'_, Process>) -> Wish {
        let paths = self.setup.paths as usize;
        let random = context.random();
        let path = random.below(paths) as Path;
        match random.weighted(&[16, 4, 30, 4, 10, 24, 6, 1]) {
            0 => Wish::Create(path, random.chance(40)),
            1 => Wish::CreateNext { is_ephemeral: random.chance(70) },
            2 => Wish::Set(path, if random.chance(20) { random.below(4) as i32 } else { -1 }),
            3 => Wish::SetBoth(path, (path + 1) % self.setup.paths),
            4 => Wish::Delete(path),
            5 => Wish::Read(path, random.chance(40) && !self.watched.contains(&path)),
            6 => Wish::Sync,
            _ if self.outstanding.is_empty() && random.chance(30) => Wish::Close,
            _ => Wish::Read(path, false),
        }
    }

    fn ask(&mut self, wish: Wish, context: &mut Context<'_, Process>) {
        let (session, _) = self.session.expect("who is served has a session");
        let xid = self.next_xid;
        self.next_xid += 1;
        let call = match wish {
            Wish::Read(path, watches) => {
                if watches {
                    self.watched.insert(path);
                }
                Call::Read { path, watches }
            }
            Wish::Sync => Call::Sync,
            _ => Call::Write,
        };
        context.report(Report::Client(Seen::Invoked { session, xid, call }));
        self.outstanding.push_back(Asked { xid, wish });
        self.send(speech::ask(Write { session, xid }, wish), context);
    }

    fn hear(&mut self, context: &mut Context<'_, Process>) {
        while self.conn.is_some()
            && let Some(frame) = speech::next_frame(&mut self.received)
        {
            self.heard = context.steady();
            if self.phase == Phase::Served {
                self.hear_reply(&frame, context)
            } else {
                self.hear_greeting(&frame, context)
            }
        }
    }

    fn hear_greeting(&mut self, frame: &[u8], context: &mut Context<'_, Process>) {
        let response: ConnectResponse<'_> = decode(frame).expect("servers say it right");
        if response.session_id == 0 {
            context.note(|| format!("session {:x?} is over", self.session.map(|(session, _)| session)));
            self.session = None;
            return self.hang_up(context);
        }
        let session = response.session_id as Session;
        if let Some((before, _)) = self.session {
            assert_eq!(before, session, "the session is the one that was presented");
        } else {
            self.next_xid = 1;
            self.answered = 0;
            self.session = Some((session, response.timeout_ms));
        }
        let server = self.server;
        context.note(|| format!("is served by n{server}, session {session:#x}"));
        self.phase = Phase::Served;
    }

    fn hear_reply(&mut self, frame: &[u8], context: &mut Context<'_, Process>) {
        let (session, _) = self.session.expect("who is served has a session");
        let (header, body): (ReplyHeader, _) = speech::split(frame).expect("servers say it right");
        let at = header.zxid as Zxid;
        self.seen = self.seen.max(at);
        match header.xid {
            xid::PING => return,
            xid::NOTIFICATION => {
                let event: WatcherEvent<'_> = decode(body).expect("servers say it right");
                let path = speech::number(&event.path).expect("nobody watches anything else");
                self.watched.remove(&path);
                return context.report(Report::Client(Seen::Notified { session, path }));
            }
            _ => {}
        }
        let asked = self.outstanding.pop_front();
        let xid = header.xid as Xid;
        let wish = asked.filter(|asked| asked.xid == xid).map(|asked| asked.wish);
        let own = body.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let (zxid, answer) = match wish {
            Some(Wish::Read(..)) if header.err == 0 => (at, Answer::Value(speech::write_of(body))),
            Some(Wish::Read(..)) => (at, Answer::Value(None)),
            // It may have been passed by what was asked for behind it.
            Some(Wish::Sync) => (self.answered, Answer::Refused),
            Some(_) if header.err == 0 => (own.unwrap_or(0), Answer::Written),
            // What was refused before it had a place has none.
            _ => (own.unwrap_or(self.answered), Answer::Refused),
        };
        self.answered = self.answered.max(zxid);
        context.report(Report::Client(Seen::Replied { session, xid, zxid, answer }));
        self.done += usize::from(context.is_quiet());
        if wish == Some(Wish::Close) && header.err == 0 {
            self.session = None;
            self.hang_up_politely(context);
        }
    }

    fn hang_up_politely(&mut self, context: &mut Context<'_, Process>) {
        if let Some(conn) = self.conn.take() {
            context.close(conn);
        }
        self.outstanding.clear();
        self.watched.clear();
        self.phase = Phase::Alone(context.steady());
    }
}
