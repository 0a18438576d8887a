//! Sessions: made, presented again, heard of, ended by their client or by silence.
//!
//! Invariant  one connection owns a session; whoever presents it with its password becomes the owner, and the one
//!            before is told to close. A session that is ending can be neither used nor presented.

use ids::{SessionId, Xid, Zxid};
use tree::code::Code;
use tree::request::Request;
use tree::session::Standing;

use super::super::messages::{Asked, Origin, ToServe};
use super::super::metrics::Counter;
use super::{Holder, Now, Order, Replica};

impl Replica {
    /// Starts a session. It exists when its transaction is committed.
    pub(super) fn open(&mut self, asked: Asked, timeout_ms: i32, seen: Zxid, now: Now) {
        let Asked { origin, .. } = asked;
        if self.is_ahead(seen) {
            return self.tell(origin.core, ToServe::Ahead { conn: origin.conn, seen });
        }
        if self.refuses_writes() {
            return self.refuse(asked, Code::SystemError);
        }
        let session = self.new_session_id();
        self.sessions.track(session, timeout_ms, now.monotonic);
        self.owners.insert(session, Holder::Here(origin));
        let order = Order { asked: Some(asked), ..Order::by_server(session) };
        self.order(&Request::CreateSession { timeout_ms }, &order, now);
    }

    /// Gives a living session to `origin`, with a new timeout, if it has shown the password.
    pub(super) fn attach(
        &mut self,
        origin: Origin,
        session: SessionId,
        proven: Option<SessionId>,
        timeout_ms: i32,
        seen: Zxid,
        now: Now,
    ) {
        let Origin { core, conn } = origin;
        if self.is_ahead(seen) {
            return self.tell(core, ToServe::Ahead { conn, seen });
        }
        if !proven.is_some_and(|proven| self.sessions.renew(proven, timeout_ms, now.monotonic)) {
            return self.tell(core, ToServe::Unknown { conn, session });
        }
        if let Some(Holder::Here(previous)) = self.owners.insert(session, Holder::Here(origin))
            && previous != origin
        {
            self.tell(previous.core, ToServe::Kicked(previous.conn));
        }
        self.tell(core, ToServe::Attached { conn, session });
    }

    /// Whether a client has seen what this server has not: it must find one that has.
    pub(super) fn is_ahead(&self, seen: Zxid) -> bool {
        seen.to_wire() > self.announced.to_wire()
    }

    /// The connection is gone. The session lives on, without an owner, until it expires or is presented again.
    pub(super) fn detach(&mut self, origin: Origin, session: SessionId) {
        if self.owners.get(&session) == Some(&Holder::Here(origin)) {
            self.owners.remove(&session);
        }
    }

    /// Its client ends a session.
    pub(super) fn close_session(&mut self, asked: Asked, session: SessionId, cxid: Xid, now: Now) {
        let Asked { origin, ticket } = asked;
        if self.sessions.standing(session) != Standing::Open {
            return self.tell(origin.core, ToServe::Dropped { conn: origin.conn, ticket });
        }
        // From a connection that another one is taking the session from at this moment.
        if self.is_foreign(session, origin) {
            return self.tell(origin.core, ToServe::Kicked(origin.conn));
        }
        if self.refuses_writes() {
            return self.refuse(asked, Code::SystemError);
        }
        self.sessions.set_closing(session);
        let order = Order { asked: Some(asked), cxid, ..Order::by_server(session) };
        self.order(&Request::CloseSession, &order, now);
    }

    /// Somebody heard from `session`. One that is closing or gone is not brought back by it.
    pub(super) fn touch(&mut self, session: SessionId, now: Now) {
        self.sessions.touch(session, now.monotonic);
    }

    /// Ends every session whose time is up. Without room on the disk none can end: they wait for it.
    pub fn expire(&mut self, now: Now) {
        if !self.leads() {
            return;
        }
        let mut due = Vec::new();
        if self.has_room() {
            self.sessions.expire(now.monotonic, &mut due);
        }
        self.metrics.count(Counter::StaleSessionsExpired, due.len() as u64);
        for session in due {
            tracing::info!(%session, "session expired; closing it");
            if let Some(Holder::Here(owner)) = self.owners.get(&session) {
                self.tell(owner.core, ToServe::Expiring(owner.conn));
            }
            self.expired.push_back(session);
        }
        // A fleet that expires at once may be more than the log takes at once: the rest follows with the next tick.
        while self.has_room()
            && let Some(session) = self.expired.pop_front()
        {
            self.order(&Request::CloseSession, &Order::by_server(session), now);
        }
    }
}
