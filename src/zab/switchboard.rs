//! Which connections carry elections: whom to dial, which of two connections stays, and what is sent on it next.
//!
//! Flow       a message for a server, or a knock -> `Dial` -> `on_dialled` -> `Introduce` -> its queued message; frames of a
//!            connection -> `sid_of` -> the election. What is known about who can be reached -> `Reachability`.
//! Invariant  one connection per server, dialled by the larger sid; one dial per server at a time; one unsent message per
//!            server, the newest. Strangers are bounded, so what they send takes no memory.
//! Absent     sockets, name resolution, TLS and SASL: `on_dialled` means that bytes can be sent, `on_accepted` that the
//!            other side has introduced itself.
//!
//! The smaller sid of two only knocks: it dials, introduces itself and hangs up, and the larger one dials back. Both sides
//! give way to a newer connection, so half-open ones heal. Java never dials again by itself until the election's resend,
//! which backs off to a minute; we do while we look for a leader, from 50 ms up to a second after each failure, so that a
//! server that comes back is found at once and a dead one costs a connection attempt per second.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ids::{Millis, Sid};

use crate::config::EnsembleConfig;
use crate::vote::Notification;

mod peer;

use peer::Peer;

/// Servers in no configuration that may have a connection or be dialled back at one time.
const STRANGERS_MAX: usize = 256;
/// How long a server that we have knocked at has to dial back before we knock again, ms. Java drops a good connection
/// when it is knocked at, so this is long.
const DIAL_BACK_PATIENCE_MS: i64 = 1000;
/// How long a connection may be silent, while we look for a leader and have said so on it, before it is made anew, ms. It
/// may lead nowhere, though nobody has closed it; then TCP would find out in a quarter of an hour. Doubles every time, up to
/// [`SILENCE_MAX_MS`]: who agrees with us says nothing, and Java says nothing new for up to a minute.
const SILENCE_MIN_MS: i64 = 3000;
/// See [`SILENCE_MIN_MS`].
const SILENCE_MAX_MS: i64 = 60_000;
/// A connection of this age is not lost because the other side has just replaced it, ms.
const SETTLED_AGE_MS: i64 = 1000;

/// One TCP connection of the election port, dialled or accepted. The shell numbers them and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// Where a server listens for elections.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DialAddress {
    /// Name or number of the host.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
}

impl DialAddress {
    /// Whether it names every address of a host, which nobody can dial.
    fn is_wildcard(&self) -> bool {
        matches!(&*self.host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
    }
}

/// How often a dial is repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DialTiming {
    /// After the first failure, ms; doubles every time.
    pub retry_min_ms: i64,
    /// Where the doubling ends, ms.
    pub retry_max_ms: i64,
}

impl Default for DialTiming {
    fn default() -> DialTiming {
        DialTiming { retry_min_ms: 50, retry_max_ms: 1000 }
    }
}

/// What the switchboard wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SwitchboardAction {
    /// Connect, then say `on_dialled` or `on_dial_failed`.
    Dial {
        /// To this server.
        sid: Sid,
        /// Here.
        address: DialAddress,
    },
    /// Send the initial message, in one piece, and authenticate if that is on. The first thing on a dialled connection.
    Introduce {
        /// On this connection.
        conn: ConnId,
    },
    /// Send a notification; `on_written` when it has left.
    Write {
        /// On this connection.
        conn: ConnId,
        /// What.
        notification: Notification,
    },
    /// Close, after what was to be sent before. `on_closed` need not follow.
    Close {
        /// This connection.
        conn: ConnId,
    },
    /// For the election: whether there is any point in waiting for this server.
    Reachability {
        /// Which.
        sid: Sid,
        /// Whether.
        is_reachable: bool,
    },
}

/// The connections of one server's election port.
#[derive(Debug)]
pub struct Switchboard {
    me: Sid,
    timing: DialTiming,
    is_looking: bool,
    peers: BTreeMap<Sid, Peer>,
}

impl Switchboard {
    /// Of server `me`, without anybody to talk to before `on_config`.
    pub fn new(me: Sid, timing: DialTiming) -> Switchboard {
        assert!(
            0 < timing.retry_min_ms && timing.retry_min_ms <= timing.retry_max_ms,
            "settings are checked when read"
        );
        Switchboard { me, timing, is_looking: false, peers: BTreeMap::new() }
    }

    /// Who is who now. Who is in no configuration any more is hung up on; who is new in the proposed one is dialled.
    pub fn on_config(
        &mut self,
        committed: &EnsembleConfig,
        last_seen: Option<&EnsembleConfig>,
        now: Millis,
        out: &mut Vec<SwitchboardAction>,
    ) {
        let mut configured = BTreeMap::<Sid, Vec<DialAddress>>::new();
        for (sid, member) in committed.members().iter().chain(last_seen.iter().flat_map(|config| config.members())) {
            let addresses = configured.entry(*sid).or_default();
            for address in &member.addresses {
                let address = DialAddress { host: address.host.clone(), port: address.election_port };
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        configured.remove(&self.me);
        self.peers.retain(|sid, peer| {
            let stays = peer.is_stranger() || configured.contains_key(sid);
            out.extend(peer.link.iter().filter(|_| !stays).map(|link| SwitchboardAction::Close { conn: link.conn }));
            stays
        });
        for (sid, addresses) in configured {
            let is_only_proposed = committed.member(sid).is_none();
            let peer = self.peers.entry(sid).or_default();
            (peer.configured, peer.next_address) = (addresses, 0);
            if is_only_proposed {
                self.want(sid, now, out);
            }
        }
        self.check();
    }

    /// Whether the election runs. While it does, lost connections are made again.
    pub fn on_looking(&mut self, is_looking: bool, now: Millis, out: &mut Vec<SwitchboardAction>) {
        self.is_looking = is_looking;
        for peer in self.peers.values_mut() {
            if let Some(link) = &mut peer.link {
                // What nobody answered while nobody asked means nothing.
                (link.is_unanswered, link.silent_since) = (false, None);
            }
            peer.failures = 0;
            peer.retries &= is_looking;
        }
        if is_looking {
            self.connect_all(now, out);
        }
    }

    /// A notification for `to`. It replaces one that has not left yet.
    pub fn on_send(&mut self, to: Sid, notification: Notification, now: Millis, out: &mut Vec<SwitchboardAction>) {
        assert!(to != self.me, "nobody dials itself");
        // A stranger that has hung up since it asked has no address and no place.
        let Some(peer) = self.peers.get_mut(&to) else { return };
        peer.queued = Some(notification);
        if peer.link.is_some() {
            peer.write_next(out);
        } else {
            self.want(to, now, out);
        }
        self.check();
    }

    /// Dials every server of the configuration that has no connection.
    pub fn connect_all(&mut self, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let missing = self.peers.iter().filter(|(_, peer)| peer.link.is_none() && !peer.is_stranger());
        let missing: Vec<Sid> = missing.map(|(sid, _)| *sid).collect();
        for sid in missing {
            self.want(sid, now, out);
        }
        self.check();
    }

    /// The dial of `sid` has come to a connection on which bytes can be sent.
    pub fn on_dialled(&mut self, sid: Sid, conn: ConnId, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let Some(peer) = self.peers.get_mut(&sid).filter(|peer| peer.is_dialling) else {
            out.push(SwitchboardAction::Close { conn }); // Its server has left the configuration meanwhile.
            return;
        };
        peer.is_dialling = false;
        peer.has_knocked = false;
        peer.failures = 0;
        if sid < self.me {
            peer.tell_reachable(sid, true, out);
            out.push(SwitchboardAction::Introduce { conn });
            peer.attach(conn, now, out);
        } else {
            // That a knock is taken says little (see `on_closed`); a server that lives dials back.
            // A knock makes it drop what connection we have; without need we hang up in silence.
            if peer.link.is_none() {
                out.push(SwitchboardAction::Introduce { conn });
                peer.not_before = now.plus(DIAL_BACK_PATIENCE_MS);
                peer.retries = self.is_looking;
            }
            out.push(SwitchboardAction::Close { conn });
        }
        self.check();
    }

    /// The dial of `sid` was refused or took too long.
    pub fn on_dial_failed(&mut self, sid: Sid, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let Some(peer) = self.peers.get_mut(&sid).filter(|peer| peer.is_dialling) else { return };
        peer.is_dialling = false;
        if core::mem::take(&mut peer.has_knocked) {
            self.dial(sid, true, out);
        } else {
            let doubled = self.timing.retry_min_ms.saturating_mul(1 << peer.failures.min(16));
            peer.failures = peer.failures.saturating_add(1);
            peer.not_before = now.plus(doubled.min(self.timing.retry_max_ms));
            peer.retries = self.is_looking;
            if peer.link.is_none() {
                peer.tell_reachable(sid, false, out);
                self.forget_stranger(sid);
            }
        }
        self.check();
    }

    /// Somebody has dialled us and introduced itself as `sid`, which listens at `advertised`.
    pub fn on_accepted(
        &mut self,
        conn: ConnId,
        sid: Sid,
        mut advertised: Vec<DialAddress>,
        now: Millis,
        out: &mut Vec<SwitchboardAction>,
    ) {
        let strangers = self.peers.values().filter(|peer| peer.is_stranger()).count();
        if sid == self.me || (strangers >= STRANGERS_MAX && !self.peers.contains_key(&sid)) {
            out.push(SwitchboardAction::Close { conn });
            return;
        }
        let me = self.me;
        let peer = self.peers.entry(sid).or_default();
        advertised.retain(|address| !address.is_wildcard());
        peer.advertised = advertised;
        peer.failures = 0;
        peer.tell_reachable(sid, true, out);
        if sid > me {
            peer.attach(conn, now, out);
        } else {
            out.extend(peer.link.take().map(|link| SwitchboardAction::Close { conn: link.conn }));
            out.push(SwitchboardAction::Close { conn });
            if peer.is_dialling {
                peer.has_knocked = true;
            } else {
                self.dial(sid, true, out);
            }
        }
        self.forget_stranger(sid);
        self.check();
    }

    /// What was last written to `conn` has left.
    pub fn on_written(&mut self, conn: ConnId, out: &mut Vec<SwitchboardAction>) {
        let Some(sid) = self.sid_of(conn) else { return };
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        if let Some(link) = &mut peer.link {
            link.is_writing = false;
        }
        peer.write_next(out);
    }

    /// `conn` is no more, or its peer broke the format and the shell has closed it.
    pub fn on_closed(&mut self, conn: ConnId, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let Some(sid) = self.sid_of(conn) else { return };
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        let Some(link) = peer.link.take() else { return };
        if !peer.is_stranger() {
            // A process that is being killed still accepts connections for a while: nobody waits for a server whose
            // connection is gone before there is another that lasts, or it is heard.
            peer.tell_reachable(sid, false, out);
        }
        if self.is_looking && !peer.is_stranger() {
            // A young connection may have been replaced by one that we are just about to accept; a knock would undo it.
            let is_settled = now >= link.since.plus(SETTLED_AGE_MS);
            if !is_settled && sid > self.me {
                peer.not_before = peer.not_before.max(now.plus(self.timing.retry_min_ms));
            }
            self.want(sid, now, out);
        }
        self.forget_stranger(sid);
        self.check();
    }

    /// A notification has come on `conn`.
    pub fn on_heard(&mut self, conn: ConnId) {
        let Some(sid) = self.sid_of(conn) else { return };
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        peer.silences = 0;
        if let Some(link) = &mut peer.link {
            (link.is_unanswered, link.silent_since) = (false, None);
        }
    }

    /// Gives up connections on which nobody has answered for too long.
    fn give_up_silent(&mut self, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let mut given_up = Vec::new();
        for (sid, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.is_stranger()) {
            let patience_ms = SILENCE_MIN_MS.saturating_mul(1 << peer.silences.min(16)).min(SILENCE_MAX_MS);
            let Some(link) = peer.link.as_mut().filter(|link| link.is_unanswered) else { continue };
            let since = *link.silent_since.get_or_insert(now);
            if now.to_i64() - since.to_i64() >= patience_ms {
                out.push(SwitchboardAction::Close { conn: link.conn });
                peer.link = None;
                peer.silences = peer.silences.saturating_add(1);
                given_up.push(*sid);
            }
        }
        for sid in given_up {
            self.want(sid, now, out);
        }
    }

    /// Whose notifications `conn` carries. `None` when it has been replaced: what it still brings is not heard.
    pub fn sid_of(&self, conn: ConnId) -> Option<Sid> {
        let carries = |peer: &Peer| peer.link.as_ref().is_some_and(|link| link.conn == conn);
        self.peers.iter().find(|(_, peer)| carries(peer)).map(|(sid, _)| *sid)
    }

    /// The clock has reached `next_deadline`, or anything else made the caller look.
    pub fn on_tick(&mut self, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let is_due = |peer: &Peer| peer.retries && peer.not_before <= now;
        let due: Vec<Sid> = self.peers.iter().filter(|(_, peer)| is_due(peer)).map(|(sid, _)| *sid).collect();
        for sid in due {
            self.want(sid, now, out);
        }
        if self.is_looking {
            self.give_up_silent(now, out);
        }
        self.check();
    }

    /// When `on_tick` has something to do, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.peers.values().filter(|peer| peer.retries).map(|peer| peer.not_before).min()
    }

    /// A connection to `sid`, now or as soon as its last failure allows.
    fn want(&mut self, sid: Sid, now: Millis, out: &mut Vec<SwitchboardAction>) {
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        peer.retries = false;
        if peer.link.is_some() || peer.is_dialling {
            return;
        }
        if now < peer.not_before {
            peer.retries = true;
        } else {
            self.dial(sid, false, out);
        }
    }

    fn dial(&mut self, sid: Sid, is_dial_back: bool, out: &mut Vec<SwitchboardAction>) {
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        assert!(!peer.is_dialling, "one dial at a time");
        peer.retries = false;
        if let Some(address) = peer.address(is_dial_back) {
            peer.is_dialling = true;
            out.push(SwitchboardAction::Dial { sid, address });
        }
    }

    /// A stranger without a connection has no place here.
    fn forget_stranger(&mut self, sid: Sid) {
        let is_idle = |peer: &Peer| peer.is_stranger() && peer.link.is_none() && !peer.is_dialling;
        if self.peers.get(&sid).is_some_and(is_idle) {
            self.peers.remove(&sid);
        }
    }

    fn check(&self) {
        assert!(!self.peers.contains_key(&self.me), "nobody is connected to itself");
        assert!(self.peers.values().all(|peer| !(peer.retries && peer.is_dialling)), "one dial at a time");
        let unsent = |peer: &Peer| peer.queued.is_some() && peer.link.as_ref().is_some_and(|link| !link.is_writing);
        assert!(!self.peers.values().any(unsent), "what can be sent is");
    }
}

#[cfg(test)]
mod tests;
