//! Watches: registered by reads, taken back or renewed by their own requests, fired when transactions are applied.
//!
//! Invariant  a notification enters the outbox before any reply that reflects its transaction. Whoever lacks READ on the
//!            node it speaks of is not told; a one-shot watch is used up all the same (since ZooKeeper 3.9.2).

use std::borrow::Cow;
use std::rc::Rc;

use ids::Zxid;
use net::buffer::ReplyBuffer;
use net::jute::Record as _;
use net::opcode::OpCode;
use net::record::{
    AddWatchRequest, CheckWatchesRequest, RemoveWatchesRequest, ReplyHeader, SetWatches, SetWatches2, WatchList,
    WatcherEvent, xid,
};
use tree::code::Code;
use tree::effects::{ChangeKind, Effects};
use tree::watch::{Watch, WatcherId, WatcherType};
use tree::watch_fire::{EventKind, Notification, Rewatch};

use super::super::messages::ConnId;
use super::super::metrics::{Counter, Summary};
use super::super::replica::Now;
use super::answer::Question;
use super::reads::decoded;
use super::{Frontend, NOTIFIED_MAX_BYTES, Slot};

/// The watcher of a connection: its slot, which is free for another only after its watches are gone.
pub(super) fn watcher(id: ConnId) -> WatcherId {
    WatcherId(id.slot)
}

/// The null path as one that no node can have: ZooKeeper keeps watches on null, which never fire. Whoever watches this
/// path by its name means the same watches.
const NULL_PATH: &str = "\0";

/// A path as the watches know it.
fn watched<'r>(path: &'r Option<Cow<'_, str>>) -> &'r str {
    path.as_deref().unwrap_or(NULL_PATH)
}

impl Frontend {
    pub(super) fn watch(&mut self, id: ConnId, path: &str, watch: Watch) {
        self.watches.add(watcher(id), path, watch);
    }

    pub(super) fn add_watch(&mut self, id: ConnId, body: &[u8]) -> Result<(), Code> {
        let request: AddWatchRequest<'_> = decoded(body)?;
        let watch = Watch::from_add_mode(request.mode).ok_or(Code::MarshallingError)?;
        self.watch(id, watched(&request.path), watch);
        Ok(())
    }

    pub(super) fn check_watches(&self, id: ConnId, body: &[u8]) -> Result<(), Code> {
        let request: CheckWatchesRequest<'_> = decoded(body)?;
        let kind = WatcherType::from_wire(request.watcher_type).ok_or(Code::MarshallingError)?;
        if self.watches.contains(watcher(id), watched(&request.path), kind) { Ok(()) } else { Err(Code::NoWatcher) }
    }

    pub(super) fn remove_watches(&mut self, id: ConnId, body: &[u8]) -> Result<(), Code> {
        let request: RemoveWatchesRequest<'_> = decoded(body)?;
        let kind = WatcherType::from_wire(request.watcher_type).ok_or(Code::MarshallingError)?;
        if self.watches.remove(watcher(id), watched(&request.path), kind) { Ok(()) } else { Err(Code::NoWatcher) }
    }

    /// Renews the watches of a client that has come back. What it has missed is told before the answer.
    pub(super) fn set_watches(&mut self, question: Question, op: OpCode, body: &[u8], now: Now) {
        let request = if op == OpCode::SetWatches2 {
            decoded::<SetWatches2<'_>>(body)
        } else {
            decoded::<SetWatches<'_>>(body).map(|request| SetWatches2 {
                relative_zxid: request.relative_zxid,
                data_watches: request.data_watches,
                exist_watches: request.exist_watches,
                child_watches: request.child_watches,
                persistent_watches: Some(Vec::new()),
                persistent_recursive_watches: Some(Vec::new()),
            })
        };
        match request.and_then(|request| self.rewatch(question.conn, &request)) {
            Ok(()) => self.answer(question, now, |_, _| Ok(())),
            Err(code) => self.refuse_in_turn(question, code, now),
        }
    }

    /// What comes before a null that ZooKeeper stumbles over is carried out all the same.
    fn rewatch(&mut self, id: ConnId, request: &SetWatches2<'_>) -> Result<(), Code> {
        let Some(link) = self.conn(id).map(|conn| Rc::clone(&conn.link)) else { return Ok(()) };
        let tree = Rc::clone(&self.tree);
        let tree = &*tree.borrow();
        let mut told = 0;
        let done = in_order(request, |list, path| {
            if let Some(event) = self.watches.rewatch(tree, watcher(id), request.relative_zxid, list, path) {
                told += put_event(&mut link.outbox(), -1, event, path);
                self.metrics.packets_sent += 1;
            }
        });
        self.metrics.count(Counter::WatchBytes, told as u64);
        done
    }

    /// Tells everybody whom a transaction's changes concern.
    pub(super) fn notify(&mut self, effects: &Effects, zxid: Zxid) {
        if self.watches.is_empty() {
            return;
        }
        for change in effects.changes() {
            let mut told = Told::default();
            let (slots, dirty, settings) = (&mut self.slots, &mut self.dirty, &self.settings);
            self.watches.fire(&change, |notification| {
                let Some(conn) =
                    slots.get_mut(notification.watcher.0 as usize).and_then(|slot: &mut Slot| slot.conn.as_mut())
                else {
                    return;
                };
                if !settings.schemes.allow(notification.acl, tree::acl::perms::READ, &conn.identities) {
                    return;
                }
                let bytes = tell(conn, &notification, zxid);
                told.count(notification.kind, bytes);
                if dirty.last() != Some(&conn.id) {
                    dirty.push(conn.id);
                }
            });
            self.count_told(change.kind, &told);
        }
    }

    fn count_told(&mut self, kind: ChangeKind, told: &Told) {
        self.metrics.packets_sent += told.node + told.children;
        self.metrics.count(Counter::WatchBytes, told.bytes);
        let summary = match kind {
            ChangeKind::Created => Summary::NodeCreated,
            ChangeKind::Deleted => Summary::NodeDeleted,
            ChangeKind::DataChanged => Summary::NodeChanged,
        };
        if told.node > 0 {
            self.metrics.note(summary, told.node);
        }
        if told.children > 0 {
            self.metrics.note(Summary::NodeChildren, told.children);
        }
    }
}

/// Goes through the lists as ZooKeeper does (`DataTree.setWatches`), up to a null list, or a null path where it looks for
/// the node: there it fails.
fn in_order<'r>(request: &'r SetWatches2<'_>, mut rewatch: impl FnMut(Rewatch, &'r str)) -> Result<(), Code> {
    let lists: [(Rewatch, &WatchList<'_>); 5] = [
        (Rewatch::Data, &request.data_watches),
        (Rewatch::Exist, &request.exist_watches),
        (Rewatch::Child, &request.child_watches),
        (Rewatch::Persistent, &request.persistent_watches),
        (Rewatch::PersistentRecursive, &request.persistent_recursive_watches),
    ];
    for (list, paths) in lists {
        let looks_for_node = matches!(list, Rewatch::Data | Rewatch::Exist | Rewatch::Child);
        for path in paths.as_ref().ok_or(Code::MarshallingError)? {
            if path.is_none() && looks_for_node {
                return Err(Code::MarshallingError);
            }
            rewatch(list, watched(path));
        }
    }
    Ok(())
}

/// Watchers told by one change.
#[derive(Default)]
struct Told {
    node: u64,
    children: u64,
    bytes: u64,
}

impl Told {
    fn count(&mut self, kind: EventKind, bytes: usize) {
        self.bytes += bytes as u64;
        if kind == EventKind::ChildrenChanged {
            self.children += 1;
        } else {
            self.node += 1;
        }
    }
}

/// Puts a notification into a connection's outbox, or behind the listing that is being written there.
fn tell(conn: &mut super::connection::Conn, notification: &Notification<'_>, zxid: Zxid) -> usize {
    conn.stats.sent += 1;
    let mut outbox = conn.link.outbox();
    let bytes = if conn.is_listing() {
        let mut held = Vec::new();
        put_event_bytes(&mut held, zxid.to_wire(), notification.kind, notification.path);
        let len = held.len();
        conn.held.push(held.into());
        len
    } else {
        put_event(&mut outbox, zxid.to_wire(), notification.kind, notification.path)
    };
    drop(outbox);
    conn.notified_bytes += bytes;
    if conn.notified_bytes > NOTIFIED_MAX_BYTES {
        tracing::warn!(peer = %conn.link.peer_addr(), session = %conn.session, bytes = conn.notified_bytes, "disconnecting a client that does not read its notifications; it can set its watches again when it comes back");
        conn.link.close();
        conn.notified_bytes = 0;
    }
    bytes
}

/// One notification frame; returns its length.
fn put_event(outbox: &mut ReplyBuffer, zxid: i64, kind: EventKind, path: &str) -> usize {
    let mut frame = outbox.frame();
    ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 }.encode(&mut frame.writer());
    WatcherEvent::new(kind.to_wire(), path).encode(&mut frame.writer());
    frame.finish()
}

/// The same as bytes with their length in front.
fn put_event_bytes(out: &mut Vec<u8>, zxid: i64, kind: EventKind, path: &str) {
    let mut writer = net::jute::Writer::new(out);
    writer.i32(0);
    ReplyHeader { xid: xid::NOTIFICATION, zxid, err: 0 }.encode(&mut writer);
    WatcherEvent::new(kind.to_wire(), path).encode(&mut writer);
    let len = i32::try_from(writer.position() - net::frame::HEADER_LEN).expect("a path is shorter than its frame was");
    writer.patch_i32(0, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&'static str]) -> WatchList<'static> {
        Some(paths.iter().map(|path| (*path != "null").then_some(Cow::Borrowed(*path))).collect())
    }

    fn gone_through(lists: [WatchList<'static>; 5]) -> (Vec<(Rewatch, String)>, Result<(), Code>) {
        let [data_watches, exist_watches, child_watches, persistent_watches, persistent_recursive_watches] = lists;
        let request = SetWatches2 {
            relative_zxid: 0,
            data_watches,
            exist_watches,
            child_watches,
            persistent_watches,
            persistent_recursive_watches,
        };
        let mut seen = Vec::new();
        let done = in_order(&request, |list, path| seen.push((list, path.to_owned())));
        (seen, done)
    }

    #[test]
    fn lists_before_a_null_one_are_carried_out() {
        let (seen, done) = gone_through([list(&["/a"]), list(&["/b"]), None, list(&["/c"]), list(&[])]);
        assert_eq!(seen, [(Rewatch::Data, "/a".to_owned()), (Rewatch::Exist, "/b".to_owned())]);
        assert_eq!(done, Err(Code::MarshallingError));
    }

    #[test]
    fn a_null_path_fails_where_its_node_is_looked_for() {
        let (seen, done) = gone_through([list(&["/a", "null", "/b"]), list(&[]), list(&[]), list(&[]), list(&[])]);
        assert_eq!((seen.len(), done), (1, Err(Code::MarshallingError)));
        let (seen, done) = gone_through([list(&[]), list(&[]), list(&[]), list(&["null"]), list(&["null"])]);
        let null = NULL_PATH.to_owned();
        assert_eq!(seen, [(Rewatch::Persistent, null.clone()), (Rewatch::PersistentRecursive, null)]);
        assert_eq!(done, Ok(()));
    }
}
