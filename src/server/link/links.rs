//! Every connection to other members: what the replica asks for, and what becomes of it.
//!
//! Flow       `take` (a turn's messages) -> wires appended to -> each sends once, in the same turn -> `Drained`.
//!            A socket, a dial or a door -> a task -> one `FromLink` message, which leaves at once.
//! Invariant  a wire that is not in `wires` says nothing and hears nothing: what the replica says of it was under way when
//!            it ended. No borrow is held across an await.
//! Bound      `accepted_max` connections opened by others. What the replica dials and sends is its own affair.
//! Absent     any meaning of the bytes, and any decision to connect again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use glommio::timer::sleep;
use net::buffer::{Blocks, Pool, ReceiveBuffer};
use net::conn::{Connection, ConnectionOptions, Flushed};
use net::listener::Accepted;

use super::super::mesh::{Inlet, Outlet, ParcelReceiver};
use super::super::notify::Notify;
use super::super::signals::{Reason, Stop};
use super::dial::{Call, dial};
use super::messages::{Door, FromLink, ToLink, WireId};
use super::names::Names;
use super::wire::{BROKEN_PATIENCE, Heard, Wire};
use super::{LinkSettings, door};

/// How long what waits to be sent may take when the replica closes a connection.
pub const FINISH_MAX: Duration = Duration::from_secs(1);

/// The link role.
pub struct Links {
    pub(super) settings: LinkSettings,
    to_replica: Outlet<FromLink>,
    stop: Stop,
    pub(super) names: Names,
    pub(super) pool: Rc<Pool>,
    blocks: Blocks,
    wires: RefCell<HashMap<WireId, Way>>,
    /// Wires to which something was appended in this turn.
    unsent: RefCell<Vec<Rc<Wire>>>,
    /// The next connection that somebody opens.
    next_accepted: Cell<u64>,
    /// Connections opened by others that still have a descriptor.
    crowd: Cell<usize>,
    /// Somebody was turned away, and it was said.
    is_crowded: Cell<bool>,
    /// Connections that still have a descriptor.
    alive: Cell<usize>,
    /// Addresses that are listened on, by their ports.
    pub(super) listening: RefCell<Vec<(Door, SocketAddr)>>,
    /// Rung to close each door.
    shut: RefCell<Vec<Rc<Notify>>>,
    is_ended: Cell<bool>,
    /// Rung when the replica has said that nothing follows.
    pub ended: Rc<Notify>,
}

enum Way {
    /// To be connected.
    Dialling {
        /// Rung when it shall not be.
        hangup: Rc<Notify>,
        /// Sent before it was.
        waiting: Vec<Bytes>,
    },
    /// Connected.
    Standing(Rc<Wire>),
}

impl Links {
    /// Without a connection, listening nowhere. What cannot be listened on stops the server through `stop`.
    pub fn new(settings: LinkSettings, to_replica: Outlet<FromLink>, stop: Stop) -> Links {
        Links {
            settings,
            to_replica,
            stop,
            names: Names::default(),
            pool: Pool::new(),
            blocks: Blocks::new(),
            wires: RefCell::default(),
            unsent: RefCell::default(),
            next_accepted: Cell::new(0),
            crowd: Cell::new(0),
            is_crowded: Cell::new(false),
            alive: Cell::new(0),
            listening: RefCell::default(),
            shut: RefCell::default(),
            is_ended: Cell::new(false),
            ended: Rc::default(),
        }
    }

    /// Listens as soon as there is a replica that hears of it; never, if there will be none.
    pub async fn listen_when(self: Rc<Self>, replica_is_there: ParcelReceiver<()>) {
        if replica_is_there.receive().await.is_some() {
            self.listen();
        }
    }

    /// Opens the ports for other members, and has tasks look after them.
    pub fn listen(self: &Rc<Self>) {
        if self.is_ended.get() {
            return;
        }
        let election = self.settings.election.iter().map(|at| (Door::Election, at));
        let quorum = self.settings.quorum.iter().map(|at| (Door::Quorum, at));
        for (door, at) in election.chain(quorum) {
            let shut = Rc::new(Notify::default());
            self.shut.borrow_mut().push(Rc::clone(&shut));
            let (links, at) = (Rc::clone(self), at.clone());
            glommio::spawn_local(async move {
                let failed = future::or(async { Some(door::keep(&links, door, &at).await) }, async {
                    shut.wait().await;
                    None
                });
                if let Some(error) = failed.await {
                    let use_ = door::name(door);
                    links.stop.set(Reason::Fatal(format!("cannot listen on {at} for {use_}: {error}")));
                }
            })
            .detach();
        }
    }

    /// Addresses that are listened on.
    pub fn listening(&self) -> Vec<(Door, SocketAddr)> {
        self.listening.borrow().clone()
    }

    /// Whether no connection is left.
    pub fn is_quiet(&self) -> bool {
        self.alive.get() == 0
    }

    /// Takes what a replica elsewhere says.
    pub async fn hear_far_replica(self: Rc<Self>, inlet: Inlet<ToLink>) {
        while let Some(messages) = inlet.receive().await {
            self.take(messages.into_iter());
        }
    }

    /// Reads on when the way to a replica elsewhere has room again.
    pub async fn hear_relief(self: Rc<Self>, relief: Rc<Notify>) {
        loop {
            relief.wait().await;
            for way in self.wires.borrow().values() {
                if let Way::Standing(wire) = way {
                    wire.relieve();
                }
            }
        }
    }

    /// Carries out what the replica has said in a turn, and sends what the sockets take of it.
    pub fn take(self: &Rc<Self>, messages: impl Iterator<Item = ToLink>) {
        for message in messages {
            match message {
                _ if self.is_ended.get() => {}
                ToLink::Dial { wire, host, port, timeout_ms } => {
                    self.dial(wire, Call { host, port, timeout: Duration::from_millis(timeout_ms.into()) });
                }
                ToLink::Send { wire, bytes } => self.send(wire, bytes),
                ToLink::Taken { wire, len } => {
                    if let Some(Way::Standing(wire)) = self.wires.borrow().get(&wire) {
                        wire.taken(len);
                    }
                }
                ToLink::Close { wire, finish } => self.close(wire, finish),
                ToLink::End => self.end(),
            }
        }
        let unsent = std::mem::take(&mut *self.unsent.borrow_mut());
        for wire in unsent {
            wire.is_listed.set(false);
            if wire.is_open() {
                self.flush(&wire);
            }
        }
        self.to_replica.dispatch();
    }

    fn dial(self: &Rc<Self>, id: WireId, call: Call) {
        let hangup = Rc::new(Notify::default());
        let way = Way::Dialling { hangup: Rc::clone(&hangup), waiting: Vec::new() };
        let before = self.wires.borrow_mut().insert(id, way);
        assert!(before.is_none(), "the replica has dialled {id:?} before");
        let links = Rc::clone(self);
        glommio::spawn_local(async move {
            let dialled = dial(&call, &links.names, links.options(), &links.pool);
            let dialled = future::or(async { Some(dialled.await) }, async {
                hangup.wait().await;
                None
            });
            match dialled.await {
                Some(Ok(connection)) => links.opened(id, connection),
                Some(Err(reason)) => links.failed(id, reason),
                None => {}
            }
        })
        .detach();
    }

    pub(super) fn options(&self) -> ConnectionOptions {
        ConnectionOptions { keepalive: self.settings.keepalive }
    }

    fn opened(self: &Rc<Self>, id: WireId, connection: Connection) {
        let Some(Way::Dialling { waiting, .. }) = self.wires.borrow_mut().remove(&id) else {
            return; // Closed in the very moment in which it stood.
        };
        self.to_replica.post(FromLink::Opened(id));
        let wire = self.start(id, connection, false);
        if !waiting.is_empty() {
            waiting.into_iter().for_each(|bytes| wire.push(bytes));
            self.flush(&wire);
        }
        self.to_replica.dispatch();
    }

    fn failed(&self, id: WireId, reason: Box<str>) {
        if self.wires.borrow_mut().remove(&id).is_some() {
            self.to_replica.post(FromLink::Closed { wire: id, reason });
            self.to_replica.dispatch();
        }
    }

    /// Somebody has connected.
    pub(super) fn welcome(self: &Rc<Self>, door: Door, accepted: Accepted) {
        let Ok(connection) = accepted.bind(&self.pool) else { return };
        let from = connection.peer_addr();
        if self.crowd.get() >= self.settings.accepted_max {
            if !self.is_crowded.replace(true) {
                let connections = self.crowd.get();
                tracing::warn!(%from, connections, "too many connections of other members: new ones are closed");
            }
            return;
        }
        self.is_crowded.set(false);
        let id = WireId::accepted(self.next_accepted.replace(self.next_accepted.get() + 1));
        self.to_replica.post(FromLink::Accepted { wire: id, door, from });
        self.to_replica.dispatch();
        self.start(id, connection, true);
    }

    fn start(self: &Rc<Self>, id: WireId, connection: Connection, is_accepted: bool) -> Rc<Wire> {
        let wire = Rc::new(Wire::new(id, connection));
        self.wires.borrow_mut().insert(id, Way::Standing(Rc::clone(&wire)));
        self.alive.set(self.alive.get() + 1);
        self.crowd.set(self.crowd.get() + usize::from(is_accepted));
        let (links, served) = (Rc::clone(self), Rc::clone(&wire));
        glommio::spawn_local(async move {
            links.serve(&served).await;
            drop(served);
            links.alive.set(links.alive.get() - 1);
            links.crowd.set(links.crowd.get() - usize::from(is_accepted));
        })
        .detach();
        wire
    }

    /// Reads until the wire ends, and ends it.
    async fn serve(&self, wire: &Wire) {
        loop {
            match wire.read(&self.blocks, || self.to_replica.is_full()).await {
                Heard::Bytes(bytes) => {
                    self.to_replica.post(FromLink::Bytes(wire.id, bytes));
                    self.to_replica.dispatch();
                }
                Heard::Gone(reason) => {
                    self.failed(wire.id, reason);
                    return wire.connection.close();
                }
                Heard::Closed { finish: true } => {
                    return wire.connection.finish(&mut ReceiveBuffer::new(&self.pool), FINISH_MAX).await;
                }
                Heard::Closed { finish: false } => return,
            }
        }
    }

    fn send(&self, id: WireId, bytes: Bytes) {
        match self.wires.borrow_mut().get_mut(&id) {
            Some(Way::Standing(wire)) => {
                wire.push(bytes);
                if !wire.is_listed.replace(true) {
                    self.unsent.borrow_mut().push(Rc::clone(wire));
                }
            }
            Some(Way::Dialling { waiting, .. }) => waiting.push(bytes),
            None => {}
        }
    }

    fn flush(self: &Rc<Self>, wire: &Rc<Wire>) {
        match wire.flush() {
            Some(Ok(Flushed::All)) => self.drained(wire),
            Some(Ok(Flushed::Remainder)) => {
                wire.is_flushing.set(true);
                glommio::spawn_local(Rc::clone(self).flush_rest(Rc::clone(wire))).detach();
            }
            Some(Err(error)) => self.broken(wire, &error),
            Some(Ok(Flushed::Underway)) | None => {}
        }
    }

    /// Sends what turns have left.
    async fn flush_rest(self: Rc<Self>, wire: Rc<Wire>) {
        let flushed = wire.connection.flush().await;
        wire.is_flushing.set(false);
        match flushed {
            Ok(()) => self.drained(&wire),
            Err(error) => self.broken(&wire, &error),
        }
        self.to_replica.dispatch();
    }

    fn drained(&self, wire: &Wire) {
        if wire.is_open() && wire.connection.pending_bytes() == 0 {
            self.to_replica.post(FromLink::Drained(wire.id));
        }
    }

    /// Nothing can be sent any more. The reader shall find the end of what can still be read.
    fn broken(&self, wire: &Rc<Wire>, error: &std::io::Error) {
        wire.note_broken(error);
        let wire = Rc::clone(wire);
        glommio::spawn_local(async move {
            sleep(BROKEN_PATIENCE).await;
            wire.connection.close();
        })
        .detach();
    }

    fn close(self: &Rc<Self>, id: WireId, finish: bool) {
        match self.wires.borrow_mut().remove(&id) {
            Some(Way::Standing(wire)) => {
                wire.close(finish);
                if finish {
                    // Its last words leave in this turn; what the socket doesn't take is left to its task.
                    drop(wire.flush());
                }
            }
            Some(Way::Dialling { hangup, .. }) => hangup.ring(),
            None => {}
        }
    }

    /// Nothing follows: closes everything, and what waits is sent first.
    fn end(self: &Rc<Self>) {
        let ids: Vec<WireId> = self.wires.borrow().keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id, true));
        self.shut.borrow_mut().drain(..).for_each(|shut| shut.ring());
        self.listening.borrow_mut().clear();
        self.is_ended.set(true);
        self.ended.ring();
    }
}
