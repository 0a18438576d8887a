//! State: whole states and long histories on their way to members that are far behind, and back to this one.
//!
//! Flow       to a learner: SNAP, the tree in slices as the link takes them, the signature; or entries out of the log on
//!            disk.  From the leader: bytes -> items -> a tree, and the same bytes into a snapshot file beside the present
//!            state -> both are whole -> the tree takes the old one's place.
//! Invariant  the state on disk changes only when the protocol adopts the new one, together with the epoch. One state
//!            is sent at a time, since a tree is walked once at a time.
//! Absent     when any of it is right: the protocol's affair.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

use bytes::Bytes;
use ids::Zxid;
use tree::loader::{Source, TreeLoader};
use tree::snapshot::SnapshotHead;
use tree::tree::Tree;
use zab::message::{LinkId, Packet};
use zab::outbox::{CloseReason, Epochs};

use super::super::super::codec::quorum::PeerPacket;
use super::super::super::codec::snapshot::{Decoder, Encoder, Item, SnapshotError, check_signature};
use super::super::super::messages::ToLog;
use super::super::super::snapshots;
use super::super::{Now, Replica};

/// Nodes encoded before others get their turn: some 50 us.
const SLICE_NODES: usize = 128;

/// Bytes of a state that are on their way to a learner at once.
const PIECE_BYTES: usize = 512 * 1024;

/// What is under way.
#[derive(Default)]
pub struct Transfers {
    sending: Option<Sending>,
    waiting: VecDeque<LinkId>,
    receiving: Option<Receiving>,
    /// Reads of the log for learners: how far, and in which form.
    reading: HashMap<LinkId, Reading>,
    /// To be said to the log when no snapshot is being written any more.
    deferred: VecDeque<ToLog>,
}

struct Sending {
    link: LinkId,
    head: SnapshotHead,
    encoder: Encoder,
    /// A piece is on its way.
    is_waiting: bool,
}

struct Receiving {
    link: LinkId,
    zxid: Zxid,
    decoder: Decoder,
    loader: Option<TreeLoader>,
    /// Bytes of the body passed on to the log.
    passed: u64,
    /// The tree, complete, while the log makes its file durable.
    tree: Option<Tree>,
}

#[derive(Clone, Copy)]
struct Reading {
    upto: Zxid,
    as_inform: bool,
    /// What was read is on its way: read on when it has left.
    next: Option<Zxid>,
}

impl Replica {
    /// Something that changes the state on disk: only when no snapshot of the present one is being written.
    fn post_to_log(&mut self, message: ToLog) {
        self.snapshot_gate.abandon();
        self.member_mut().state.deferred.push_back(message);
        self.post_deferred();
    }

    fn post_deferred(&mut self) {
        while !self.snapshot_gate.is_writing()
            && let Some(message) = self.member_mut().state.deferred.pop_front()
        {
            self.log.post(message);
        }
    }

    pub(super) fn save_epochs(&mut self, epochs: Epochs, adopt: bool) {
        if adopt {
            self.post_to_log(ToLog::Save { epochs, adopt });
        } else {
            self.log.post(ToLog::Save { epochs, adopt });
        }
    }

    pub(super) fn on_saved(&mut self, snapshot_dir: Option<PathBuf>, now: Now) {
        if let Some(dir) = snapshot_dir {
            *self.snapshot_dir.borrow_mut() = dir;
        }
        self.snapshot_gate.allow();
        self.tell_peer(now, |peer, clock, out| peer.on_saved(clock, out));
    }

    pub(super) fn truncate(&mut self, last: Zxid) {
        let reload = self.tree.borrow().last_zxid() > last;
        if reload {
            self.post_to_log(ToLog::Truncate { last, reload });
        } else {
            self.log.post(ToLog::Truncate { last, reload });
        }
    }

    pub(super) fn on_truncated(&mut self, kept: Option<Zxid>, tree: Option<Box<Tree>>, now: Now) {
        self.snapshot_gate.allow();
        if let Some(kept) = kept {
            tracing::info!(%kept, "the log was cut where the leader's ends");
            self.outstanding.retain(|waiting| waiting.txn.zxid <= kept);
            self.prepared = kept;
            match tree {
                Some(tree) => self.replace_tree(*tree),
                None => assert!(self.tree.borrow().last_zxid() <= kept, "a tree was asked for if it was needed"),
            }
        }
        self.tell_peer(now, |peer, clock, out| peer.on_truncated(kept, clock, out));
    }

    pub(super) fn reload(&mut self) {
        self.member_mut().state.receiving = None;
        self.post_to_log(ToLog::Reload);
    }

    pub(super) fn on_reloaded(&mut self, tree: Tree, now: Now) {
        self.snapshot_gate.allow();
        let last = tree.last_zxid();
        tracing::info!(zxid = %last, "the state was loaded again from disk");
        self.outstanding.clear();
        self.replace_tree(tree);
        self.tell_peer(now, |peer, clock, out| peer.on_reloaded(last, clock, out));
    }

    /// Another tree, on this and every serving core. No client is served at this time.
    fn replace_tree(&mut self, tree: Tree) {
        assert!(!self.stands(), "clients would see the state change under them");
        let zxid = tree.last_zxid();
        self.stop_sending();
        self.snapshot_gate.set_durable(zxid);
        (self.prepared, self.durable, self.committed, self.announced) = (zxid, zxid, zxid, zxid);
        self.prep = tree::prep::Prep::new();
        self.spread_tree(tree);
    }

    /// The state is wanted by a learner.
    pub(super) fn send_state(&mut self, link: LinkId, now: Now) {
        self.member_mut().state.waiting.push_back(link);
        self.go_on_with_state(now);
    }

    /// Begins or goes on with whatever can.
    pub(super) fn go_on_with_state(&mut self, now: Now) {
        self.post_deferred();
        if self.member_mut().state.sending.is_none() {
            self.begin_sending(now);
        }
    }

    fn begin_sending(&mut self, now: Now) {
        // A snapshot to disk is being walked; the next tick looks again.
        if self.tree.borrow().is_snapshotting() {
            return;
        }
        while let Some(link) = self.member_mut().state.waiting.pop_front() {
            if self.member_mut().wires.of(link).is_none() {
                continue;
            }
            let head = self.tree.borrow_mut().begin_snapshot();
            let member = self.member_mut();
            member.wires.send(link, &PeerPacket::Zab(Packet::Snap { last: head.zxid }));
            let encoder = Encoder::new(head.sessions);
            member.state.sending = Some(Sending { link, head, encoder, is_waiting: false });
            return self.send_piece(now);
        }
    }

    /// Encodes and sends the next piece.
    fn send_piece(&mut self, now: Now) {
        let Some(mut sending) = self.member_mut().state.sending.take() else { return };
        let link = sending.link;
        let is_done = loop {
            let encoder = &mut sending.encoder;
            let progress = self.tree.borrow_mut().snapshot_step(SLICE_NODES, |item| snapshots::encode(item, encoder));
            if progress.done {
                break true;
            }
            if sending.encoder.bytes().len() >= PIECE_BYTES {
                break false;
            }
        };
        if is_done {
            sending.encoder.end();
            sending.encoder.sign();
        }
        let bytes = Bytes::copy_from_slice(sending.encoder.bytes());
        sending.encoder.clear();
        self.member_mut().wires.send_raw(link, bytes);
        if is_done {
            let SnapshotHead { zxid, nodes, .. } = sending.head;
            tracing::info!(%zxid, znodes = nodes, "a snapshot was sent to a learner");
            self.tell_peer(now, |peer, _, out| peer.on_snapshot_sent(link, zxid, out));
            return self.go_on_with_state(now);
        }
        sending.is_waiting = true;
        self.member_mut().state.sending = Some(sending);
    }

    /// Whatever was on its way on a link has left.
    pub(super) fn on_link_drained(&mut self, link: LinkId, now: Now) {
        let state = &mut self.member_mut().state;
        if let Some(sending) = state.sending.as_mut().filter(|sending| sending.link == link && sending.is_waiting) {
            sending.is_waiting = false;
            return self.send_piece(now);
        }
        if let Some(reading) = state.reading.get_mut(&link)
            && let Some(after) = reading.next.take()
        {
            let upto = reading.upto;
            return self.log.post(ToLog::Read { link, after, upto });
        }
        self.tell_peer(now, |peer, _, out| peer.on_drained(link, out));
    }

    /// A link is gone, and what was on its way with it.
    pub(super) fn forget_transfers(&mut self, link: LinkId) {
        let member = self.member_mut();
        let state = &mut member.state;
        state.reading.remove(&link);
        state.waiting.retain(|waiting| *waiting != link);
        if state.sending.as_ref().is_some_and(|sending| sending.link == link) {
            self.stop_sending();
        }
    }

    fn stop_sending(&mut self) {
        if self.member_mut().state.sending.take().is_some() {
            self.tree.borrow_mut().cancel_snapshot();
        }
    }

    pub(super) fn send_history(&mut self, link: LinkId, after: Zxid, upto: Zxid, as_inform: bool) {
        self.member_mut().state.reading.insert(link, Reading { upto, as_inform, next: None });
        self.log.post(ToLog::Read { link, after, upto });
    }

    pub(super) fn on_read(&mut self, link: LinkId, entries: Option<Vec<(Zxid, Bytes)>>, now: Now) {
        let member = self.member_mut();
        let Some(Reading { upto, as_inform, .. }) = member.state.reading.get(&link).copied() else { return };
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
            // What it needs has been purged meanwhile. It comes again, and is sent a snapshot.
            tracing::warn!("the log no longer has what a learner needs; it has to come again");
            self.close_link(link, &CloseReason::SyncFailed);
            return self.tell_peer(now, |peer, clock, out| peer.on_closed(link, clock, out));
        };
        let (last, _) = entries.last().expect("just looked");
        let last = *last;
        for (zxid, entry) in entries {
            if as_inform {
                member.wires.send(link, &PeerPacket::Zab(Packet::Inform { zxid, entry }));
            } else {
                member.wires.send(link, &PeerPacket::Zab(Packet::Proposal { zxid, entry }));
                member.wires.send(link, &PeerPacket::Zab(Packet::Commit { zxid }));
            }
        }
        if last < upto {
            member.state.reading.insert(link, Reading { upto, as_inform, next: Some(last) });
            return;
        }
        member.state.reading.remove(&link);
        self.tell_peer(now, |peer, _, out| peer.on_history_sent(link, upto, out));
    }

    /// A state follows on this link.
    pub(super) fn receive_state(&mut self, link: LinkId, zxid: Zxid) {
        tracing::info!(%zxid, "receiving the leader's state");
        let options = self.tree.borrow().options();
        let receiving = Receiving {
            link,
            zxid,
            decoder: Decoder::new(),
            loader: Some(TreeLoader::of(Source::Leader, self.tree.borrow().seed(), options, 0)),
            passed: 0,
            tree: None,
        };
        let member = self.member_mut();
        if let Some(wire) = member.wires.of(link).and_then(|id| member.wires.get_mut(id)) {
            wire.is_raw = true;
        }
        member.state.receiving = Some(receiving);
        self.post_to_log(ToLog::BeginState { zxid });
    }

    /// Bytes of a state have come. What follows it is given back.
    pub(super) fn on_state_bytes(&mut self, link: LinkId, bytes: Bytes, now: Now) -> Option<Bytes> {
        let receiving = self.member_mut().state.receiving.as_mut().filter(|receiving| receiving.link == link)?;
        match receiving.take(&bytes) {
            Ok(Taken { body, rest, is_whole }) => {
                let metadata = is_whole.then(|| receiving.finish());
                if !body.is_empty() {
                    self.defer_to_log(ToLog::State(body));
                }
                if let Some(metadata) = metadata {
                    self.defer_to_log(ToLog::EndState { metadata });
                }
                rest
            }
            Err(error) => {
                tracing::error!("the leader's state cannot be read: {error}");
                self.member_mut().state.receiving = None;
                self.tell_peer(now, |peer, clock, out| peer.on_snapshot(None, clock, out));
                None
            }
        }
    }

    /// Behind a `BeginState` that may still have to wait.
    fn defer_to_log(&mut self, message: ToLog) {
        self.member_mut().state.deferred.push_back(message);
        self.post_deferred();
    }

    /// Whether the bytes of a state may be taken: the log keeps up with them.
    pub(super) fn takes_state(&mut self) -> bool {
        let is_full = self.log.is_full();
        let state = &self.member_mut().state;
        let is_open = state.receiving.as_ref().is_some_and(|receiving| receiving.tree.is_none());
        is_open && state.deferred.is_empty() && !is_full
    }

    pub(super) fn on_state_ready(&mut self, is_ready: bool, now: Now) {
        let Some(receiving) = self.member_mut().state.receiving.take() else { return };
        let tree = receiving.tree.filter(|_| is_ready);
        let last = tree.as_ref().map(Tree::last_zxid);
        let id = self.member_mut().wires.of(receiving.link);
        if let Some(wire) = id.and_then(|id| self.member_mut().wires.get_mut(id)) {
            wire.is_raw = false;
        }
        if let Some(tree) = tree {
            tracing::info!(zxid = %tree.last_zxid(), znodes = tree.node_count(), "the leader's state is here");
            self.outstanding.clear();
            self.replace_tree(tree);
        }
        self.tell_peer(now, |peer, clock, out| peer.on_snapshot(last, clock, out));
    }
}

/// What some bytes of a state came to.
struct Taken {
    body: Bytes,
    rest: Option<Bytes>,
    is_whole: bool,
}

impl Receiving {
    fn take(&mut self, bytes: &Bytes) -> Result<Taken, String> {
        let nothing = |rest| Taken { body: Bytes::new(), rest, is_whole: false };
        if self.tree.is_some() {
            return Ok(nothing(Some(bytes.clone())));
        }
        let body = if self.decoder.is_done() { Bytes::new() } else { self.take_body(bytes)? };
        if body.is_empty() && self.decoder.is_done() {
            self.decoder.push(bytes);
        }
        if !self.decoder.is_done() {
            return Ok(Taken { body, rest: None, is_whole: false });
        }
        let behind = self.decoder.rest();
        match check_signature(behind).map_err(|error| error.to_string())? {
            None => Ok(Taken { body, rest: None, is_whole: false }),
            Some(len) => {
                let rest = Bytes::copy_from_slice(&behind[len..]);
                Ok(Taken { body, rest: Some(rest).filter(|rest| !rest.is_empty()), is_whole: true })
            }
        }
    }

    /// The part of `bytes` that belongs to the body.
    fn take_body(&mut self, bytes: &Bytes) -> Result<Bytes, String> {
        let loader = self.loader.as_mut().expect("it is there until the state is whole");
        self.decoder.push(bytes);
        let fail = |error: SnapshotError| error.to_string();
        while let Some(item) = self.decoder.next_item().map_err(fail)? {
            match item {
                Item::Session { id, timeout_ms } => loader.session(id, timeout_ms),
                Item::Acl { key, list } => loader.acl(key, &list),
                Item::Node { path, data, acl_key, stat } => {
                    loader.node(&path, data, acl_key, stat).map_err(|error| error.to_string())?;
                }
                Item::End => {}
            }
        }
        let body_len = if self.decoder.is_done() {
            usize::try_from(self.decoder.decoded_bytes() - self.passed).expect("at most what was pushed")
        } else {
            bytes.len()
        };
        self.passed += body_len as u64;
        Ok(bytes.slice(..body_len))
    }

    /// The tree is whole. Returns what the snapshot file's metadata says.
    fn finish(&mut self) -> Vec<u8> {
        let tree = self.loader.take().expect("a state is finished once").finish(self.zxid);
        let (digest, nodes, sessions) = (tree.digest(), tree.node_count(), tree.sessions().len());
        let metadata = snapshots::metadata(&SnapshotHead { zxid: self.zxid, digest, sessions, nodes });
        self.tree = Some(tree);
        metadata.to_vec()
    }
}
