//! Listings: getChildren of a node with very many children, written slice by slice so that nobody else waits for it.
//!
//! Invariant  the answer is the list as it was when the request's turn came, with the Stat and zxid of that moment.
//!            Notifications of the connection wait for its end, since none may come before the reply it is later than.
//! Bound      one listing a connection, because requests behind it wait for their turn.

use bytes::Bytes;
use net::jute::{Record as _, Writer};
use net::opcode::OpCode;
use net::record::{GetChildrenRequest, ReplyHeader, Stat as WireStat};
use tree::acl::Identity;
use tree::listing::ListingId;
use tree::watch::Watch;

use super::super::codec;
use super::super::messages::ConnId;
use super::super::replica::Now;
use super::Frontend;
use super::answer::Question;
use super::connection::{Entry, Wait};
use super::reads::decoded;

/// Children from which on a list is written in slices: below, it takes some tens of microseconds.
const CHILDREN_MIN: usize = 1024;

/// Names written before other tasks get their turn: about 100 us when every name is a cache miss.
const SLICE_NAMES: usize = 512;

/// A list being written.
#[derive(Debug)]
pub struct PendingListing {
    id: ListingId,
    /// Header, and count and names as far as they are written.
    encoded: Vec<u8>,
    /// For getChildren2.
    stat: Option<WireStat>,
    zxid: i64,
}

impl PendingListing {
    /// The tree's handle of it.
    pub fn id(&self) -> ListingId {
        self.id
    }
}

impl Frontend {
    /// Starts a listing if the request asks for a list long enough. False when it is to be answered at once.
    pub(super) fn begin_listing(&mut self, question: Question, op: OpCode, body: &[u8], who: &[Identity]) -> bool {
        let Ok(request) = decoded::<GetChildrenRequest<'_>>(body) else { return false };
        let mut tree = self.tree.borrow_mut();
        let stat = match tree.readable(&request.path, who, &self.settings.schemes) {
            Ok(node) if node.child_count() >= CHILDREN_MIN => codec::reply::stat(&node.stat()),
            _ => return false,
        };
        let Some((id, count)) = tree.listing_begin(&request.path) else { return false };
        let zxid = tree.last_zxid().to_wire();
        drop(tree);
        let mut encoded = Vec::new();
        Writer::new(&mut encoded).count(Some(count));
        let stat = (op == OpCode::GetChildren2).then_some(stat);
        let wait = Wait::Listing(Box::new(PendingListing { id, encoded, stat, zxid }));
        let Some(conn) = self.conn(question.conn) else { return false };
        conn.queue.push_front(Entry {
            xid: question.xid,
            op: question.op,
            received: question.received,
            large_bytes: 0,
            wait,
        });
        conn.outstanding += usize::from(question.xid > 0);
        self.in_process += usize::from(question.xid > 0);
        if request.watch {
            self.watch(question.conn, &request.path, Watch::Child);
        }
        self.listings.push(question.conn);
        self.listing_work.ring();
        true
    }

    /// Writes one slice of every listing under way. False when none is left.
    pub fn step_listings(&mut self, now: Now) -> bool {
        let mut at = 0;
        while at < self.listings.len() {
            let id = self.listings[at];
            if self.step_listing(id) {
                at += 1;
            } else {
                self.listings.swap_remove(at);
                self.end_listing(id, now);
            }
        }
        !self.listings.is_empty()
    }

    /// Writes one slice; false when the listing is complete, or its connection gone.
    fn step_listing(&mut self, id: ConnId) -> bool {
        let tree = std::rc::Rc::clone(&self.tree);
        let Some(conn) = self.conn(id) else { return false };
        let Some(Wait::Listing(listing)) = conn.queue.front_mut().map(|entry| &mut entry.wait) else { return false };
        let PendingListing { id, encoded, .. } = &mut **listing;
        tree.borrow_mut().listing_step(*id, SLICE_NAMES, |name| Writer::new(encoded).string(Some(name)))
    }

    fn end_listing(&mut self, id: ConnId, now: Now) {
        let Some((question, Wait::Listing(listing))) = self.dequeue(id) else { return };
        let PendingListing { encoded, stat, zxid, .. } = *listing;
        let encoded = Bytes::from(encoded);
        let Some(conn) = self.conn(id) else { return };
        let link = std::rc::Rc::clone(&conn.link);
        let held = std::mem::take(&mut conn.held);
        let mut outbox = link.outbox();
        let mut frame = outbox.frame();
        ReplyHeader { xid: question.xid, zxid, err: 0 }.encode(&mut frame.writer());
        frame.shared_raw(&encoded);
        if let Some(stat) = stat {
            stat.encode(&mut frame.writer());
        }
        let body_len = frame.finish();
        for notification in held {
            outbox.raw(&notification);
        }
        drop(outbox);
        self.answered(question, zxid, body_len, now);
        self.run_queue(id, now);
    }
}
