//! Comings and goings of connections: taken in below the limits, closed for a reason, forgotten.
//!
//! Invariant  whoever is told to close is forgotten by the task that reads it, which `resume` wakes if it waits.

use std::rc::Rc;

use ids::SessionId;
use net::conn::Connection;

use super::super::messages::{ConnId, ToReplica};
use super::super::metrics::Counter;
use super::super::notify::Notify;
use super::super::replica::Now;
use super::super::replica::member::Mode;
use super::super::shared::{ConnectionLimits, Crowded};
use super::connection::{self, Conn, Phase};
use super::{Frontend, Slot, watching};

impl Frontend {
    /// Takes a new connection in, unless a limit forbids it: then it is to be closed at once.
    pub fn connect(&mut self, link: Rc<Connection>, now: Now) -> Option<(ConnId, Rc<Notify>)> {
        let address = link.peer_addr().ip();
        let limits =
            ConnectionLimits { per_address: self.settings.max_client_cnxns, total: self.settings.max_cnxns as usize };
        if let Err(Crowded { from_address, total }) = self.shared.enter(address, limits) {
            self.metrics.count(Counter::ConnectionRejected, 1);
            tracing::warn!(%address, from_address, total, "connection refused: maxClientCnxns or maxCnxns reached");
            return None;
        }
        self.connections += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conn: None });
            u32::try_from(self.slots.len() - 1).expect("descriptors, and so connections, are fewer than 2^32")
        });
        let place = &mut self.slots[slot as usize];
        assert!(place.conn.is_none(), "a free slot has no tenant");
        place.generation = place.generation.wrapping_add(1);
        let id = ConnId { slot, generation: place.generation };
        let conn = Conn::new(id, link, &super::super::auth::java_address(address), now.wall);
        let resume = Rc::clone(&conn.resume);
        place.conn = Some(conn);
        Some((id, resume))
    }

    /// The connection is over: forgets it, its watches and its place in every queue. Its session lives on.
    pub fn disconnect(&mut self, id: ConnId) {
        let Some(place) = self.slots.get_mut(id.slot as usize).filter(|place| place.generation == id.generation) else {
            return;
        };
        let Some(conn) = place.conn.take() else { return };
        self.free.push(id.slot);
        self.connections -= 1;
        self.in_process -= conn.outstanding;
        self.large_bytes -= conn.queue.iter().map(|entry| entry.large_bytes as usize).sum::<usize>();
        if let Some(connection::Wait::Listing(listing)) = conn.queue.front().map(|entry| &entry.wait) {
            self.tree.borrow_mut().listing_cancel(listing.id());
        }
        conn.link.close();
        self.shared.leave(conn.link.peer_addr().ip());
        self.shared.unassign(self.core);
        self.watches.remove_watcher(watching::watcher(id));
        if conn.session != SessionId::NONE {
            if self.by_session.get(&conn.session) == Some(&id) {
                self.by_session.remove(&conn.session);
            }
            self.to_replica.post(ToReplica::Detach { origin: self.origin(id), session: conn.session });
        }
    }

    /// Closes the connection that has `session`, without a word. The client learns when it comes back.
    pub(super) fn close_session_connection(&mut self, session: SessionId) {
        if let Some(id) = self.by_session.remove(&session)
            && let Some(conn) = self.conn(id)
        {
            conn.link.close();
            conn.resume.ring();
            if conn.phase != Phase::Finished {
                conn.phase = Phase::Closing;
            }
        }
    }

    /// Another connection has taken over this one's session.
    pub(super) fn kick(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            tracing::debug!(peer = %conn.link.peer_addr(), session = %conn.session, "session re-attached elsewhere; closing this connection");
            self.close(id);
        }
    }

    /// Closes a connection without an answer.
    pub(super) fn close(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            conn.link.close();
            conn.phase = Phase::Closing;
            conn.resume.ring();
        }
    }

    /// Closes the connection if it has not finished its handshake by now.
    pub fn expire_handshake(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id)
            && conn.phase == Phase::Handshake
        {
            conn.link.close();
            conn.resume.ring();
            self.metrics.count(Counter::SessionlessExpired, 1);
        }
    }

    /// What this server is to clients from now on. Without a leader it serves nobody: clients look for another member.
    pub(super) fn stand(&mut self, mode: Mode) {
        self.mode = mode;
        if mode != Mode::Idle {
            return;
        }
        let ids: Vec<ConnId> = self.all().filter(|conn| conn.phase != Phase::Handshake).map(|conn| conn.id).collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Tells every connection's task to finish: the server stops.
    pub fn finish_all(&mut self) {
        for place in &mut self.slots {
            if let Some(conn) = &mut place.conn {
                conn.link.close();
                conn.resume.ring();
            }
        }
    }
}
