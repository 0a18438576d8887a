//! What the switchboard knows of one server: where it is, the connection to it, and what it has still to be told.
//!
//! Invariant  a message is in one place: `queued` until a connection takes it, then `last_sent` until the next one is; a new
//!            connection begins with the one or the other.

use alloc::vec::Vec;

use ids::{Millis, Sid};

use super::{ConnId, DialAddress, SwitchboardAction};
use crate::vote::Notification;

/// A connection that carries notifications.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) since: Millis,
    /// A notification has been given to it and has not left.
    pub(super) is_writing: bool,
    /// Something was said on it, and nothing heard since then.
    pub(super) is_unanswered: bool,
    /// How long that has been so, as far as somebody has looked.
    pub(super) silent_since: Option<Millis>,
}

#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Addresses of the configuration, the committed ones first. Empty for strangers.
    pub(super) configured: Vec<DialAddress>,
    /// Where it said that it listens.
    pub(super) advertised: Vec<DialAddress>,
    /// Which of them is dialled next, counting on and on.
    pub(super) next_address: usize,
    pub(super) link: Option<Link>,
    pub(super) is_dialling: bool,
    /// It knocked while it was being dialled, perhaps at an address that is none any more.
    pub(super) has_knocked: bool,
    /// No dial before this time.
    pub(super) not_before: Millis,
    /// A dial at `not_before`, without further cause.
    pub(super) retries: bool,
    pub(super) failures: u32,
    /// Connections given up because they were silent, since one was not.
    pub(super) silences: u32,
    /// The newest message, not yet given to a connection.
    pub(super) queued: Option<Notification>,
    /// What was given to a connection last.
    pub(super) last_sent: Option<Notification>,
    /// What the election was told last.
    pub(super) is_unreachable: bool,
}

impl Peer {
    pub(super) fn is_stranger(&self) -> bool {
        self.configured.is_empty()
    }

    /// Dial-backs go where the server says it is; everything else first to where the configuration says.
    pub(super) fn address(&mut self, is_dial_back: bool) -> Option<DialAddress> {
        if is_dial_back {
            self.next_address = self.configured.len();
        }
        let all = self.configured.len() + self.advertised.len();
        let at = self.next_address.checked_rem(all)?;
        self.next_address = at + 1;
        self.configured.iter().chain(&self.advertised).nth(at).cloned()
    }

    /// Makes `conn` the peer's connection in place of any older one. It begins with the queued message or, so that nothing is
    /// lost with a connection, with the last one again.
    pub(super) fn attach(&mut self, conn: ConnId, now: Millis, out: &mut Vec<SwitchboardAction>) {
        out.extend(self.link.take().map(|link| SwitchboardAction::Close { conn: link.conn }));
        self.link = Some(Link { conn, since: now, is_writing: false, is_unanswered: false, silent_since: None });
        self.retries = false;
        self.not_before = now;
        if self.queued.is_none() {
            self.queued = self.last_sent.take();
        }
        self.write_next(out);
    }

    pub(super) fn write_next(&mut self, out: &mut Vec<SwitchboardAction>) {
        let Some(link) = self.link.as_mut().filter(|link| !link.is_writing) else { return };
        if let Some(notification) = self.queued.take() {
            link.is_writing = true;
            link.is_unanswered = true;
            out.push(SwitchboardAction::Write { conn: link.conn, notification: notification.clone() });
            self.last_sent = Some(notification);
        }
    }

    pub(super) fn tell_reachable(&mut self, sid: Sid, is_reachable: bool, out: &mut Vec<SwitchboardAction>) {
        if self.is_unreachable == is_reachable {
            self.is_unreachable = !is_reachable;
            out.push(SwitchboardAction::Reachability { sid, is_reachable });
        }
    }
}
