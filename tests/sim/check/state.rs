//! What a history adds up to, at any zxid: an independent reading of it, to which members and clients are held.

use std::collections::{BTreeMap, BTreeSet};

use super::history::History;
use super::{Change, Path, Session, Write, Zxid};
use crate::sim::network::NodeId;

/// Values and lives.
#[derive(Debug, Default)]
pub struct State {
    /// The changes of each node, in order, with the write that made the value and the owner; `None` where it ended.
    nodes: BTreeMap<Path, Vec<(Zxid, Option<Node>)>>,
    /// When each session began and ended.
    sessions: BTreeMap<Session, (Zxid, Option<Zxid>)>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    write: Option<Write>,
    owner: Option<Session>,
}

impl State {
    /// The state of a whole history.
    ///
    /// # Errors
    /// An ephemeral is made for a session that does not live.
    pub fn of(history: &History) -> Result<Self, String> {
        let mut state = Self::default();
        // The ephemerals that live, by owner.
        let mut owned: BTreeMap<Session, BTreeSet<Path>> = BTreeMap::new();
        for txn in history.txns() {
            let zxid = txn.zxid;
            match txn.change {
                Change::Set { path, owner } => {
                    let owner = owner.or_else(|| state.node(path, zxid).and_then(|node| node.owner));
                    if let Some(owner) = owner {
                        if !state.lives(owner, zxid) {
                            return Err(format!("ephemerals: {zxid:#x} makes one for {owner:#x}, which does not live"));
                        }
                        owned.entry(owner).or_default().insert(path);
                    }
                    let node = Node { write: txn.write, owner };
                    state.nodes.entry(path).or_default().push((zxid, Some(node)));
                }
                Change::SetBoth { paths } => {
                    for path in paths {
                        let owner = state.node(path, zxid).and_then(|node| node.owner);
                        let node = Node { write: txn.write, owner };
                        state.nodes.entry(path).or_default().push((zxid, Some(node)));
                    }
                }
                Change::Delete { path } => {
                    if let Some(owner) = state.node(path, zxid).and_then(|node| node.owner) {
                        owned.entry(owner).or_default().remove(&path);
                    }
                    state.nodes.entry(path).or_default().push((zxid, None));
                }
                Change::SessionBegins(session) => {
                    state.sessions.insert(session, (zxid, None));
                }
                Change::SessionEnds(session) => {
                    if let Some((_, end)) = state.sessions.get_mut(&session) {
                        *end = end.or(Some(zxid));
                    }
                    for path in owned.remove(&session).unwrap_or_default() {
                        state.nodes.entry(path).or_default().push((zxid, None));
                    }
                }
                Change::Nothing => {}
            }
        }
        Ok(state)
    }

    fn node(&self, path: Path, zxid: Zxid) -> Option<Node> {
        let changes = self.nodes.get(&path)?;
        changes[..changes.partition_point(|(at, _)| *at <= zxid)].last()?.1
    }

    fn lives(&self, session: Session, zxid: Zxid) -> bool {
        self.sessions.get(&session).is_some_and(|(begin, end)| *begin <= zxid && end.is_none_or(|end| end > zxid))
    }

    /// Whether there is such a node at `zxid`, and the write that gave it its value, if a client's did.
    pub fn value(&self, path: Path, zxid: Zxid) -> Option<Option<Write>> {
        self.node(path, zxid).map(|node| node.write)
    }

    /// The first change of a node behind `zxid`.
    pub fn next_change(&self, path: Path, zxid: Zxid) -> Option<Zxid> {
        let changes = self.nodes.get(&path)?;
        changes.get(changes.partition_point(|(at, _)| *at <= zxid)).map(|(at, _)| *at)
    }

    /// Holds a member's sessions and ephemerals against the history.
    ///
    /// # Errors
    /// They differ.
    pub fn check_inventory(
        &self,
        member: NodeId,
        zxid: Zxid,
        sessions: &[Session],
        ephemerals: &[(Path, Session)],
    ) -> Result<(), String> {
        let living: Vec<Session> = self.sessions.keys().copied().filter(|&session| self.lives(session, zxid)).collect();
        if living != sessions {
            return Err(format!("sessions: at {zxid:#x} n{member} has {sessions:x?}, the history {living:x?}"));
        }
        let owned = |path: &Path| self.node(*path, zxid).and_then(|node| node.owner).map(|owner| (*path, owner));
        let owned: Vec<(Path, Session)> = self.nodes.keys().filter_map(owned).collect();
        if owned != ephemerals {
            return Err(format!("ephemerals: at {zxid:#x} n{member} has {ephemerals:x?}, the history {owned:x?}"));
        }
        Ok(())
    }
}
