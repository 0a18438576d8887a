//! Everything that a member holds, as its clients see it, and how two members differ.
//!
//! Flow       `Dump::of` walks the tree through a session made for it; `difference` names what is not the same;
//!            `Ensemble::check_equal` compares all members at rest.
//! Invariant  every path, its data, its ACL, every field of its Stat, and the member's own list of ephemeral nodes.
//! Absent     the time at which `/zookeeper/config` was written: each Java member writes that node itself when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::Ensemble;
use crate::client::Session;
use crate::four_letter;
use crate::wire::{Reader, Stat, Writer, opcode};

/// Lines of a difference that are worth reading.
const LINES_MAX: usize = 40;
/// Each member writes this node from its own configuration.
const CONFIG: &str = "/zookeeper/config";

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `None` is null.
    pub data: Option<Vec<u8>>,
    /// Permissions, scheme, id, in their order.
    pub acl: Vec<(i32, String, String)>,
    /// All eleven fields.
    pub stat: Stat,
}

/// A whole tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Path to node.
    pub nodes: BTreeMap<String, Node>,
    /// Session to the paths of its ephemeral nodes, as the member's own index says.
    pub ephemerals: BTreeMap<i64, BTreeSet<String>>,
}

impl Dump {
    /// Reads everything through this session, whose user may read everything. It sees what was acknowledged before the
    /// session was made, which is a txn itself.
    ///
    /// # Panics
    /// If nodes come and go meanwhile, or the connection ends.
    pub fn of(session: &mut Session) -> Self {
        let mut dump = Self::default();
        let mut left = vec!["/".to_owned()];
        while let Some(path) = left.pop() {
            let (data, stat) = session.get(&path, false).unwrap_or_else(|code| panic!("get {path}: {code}"));
            let acl = acl(session, &path);
            let prefix = if path == "/" { "" } else { path.as_str() };
            let children = session.children(&path, false).unwrap_or_else(|code| panic!("children of {path}: {code}"));
            left.extend(children.iter().map(|name| format!("{prefix}/{name}")));
            dump.nodes.insert(path, Node { data, acl, stat });
        }
        dump
    }

    /// Ephemeral nodes by their owner, as the Stats say. Owners of containers and of nodes with a time to live are none.
    pub fn owned(&self) -> BTreeMap<i64, BTreeSet<String>> {
        let mut owned = BTreeMap::<i64, BTreeSet<String>>::new();
        for (path, node) in &self.nodes {
            // Containers and times to live have the highest byte full or the sign alone.
            let owner = node.stat.ephemeral_owner;
            if owner != 0 && owner != i64::MIN && (owner >> 56) != -1 {
                owned.entry(owner).or_default().insert(path.clone());
            }
        }
        owned
    }

    /// What `self` has otherwise than `other`, in lines; nothing if they are the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut lines = Vec::new();
        let paths: BTreeSet<&String> = self.nodes.keys().chain(other.nodes.keys()).collect();
        for path in paths {
            match (self.nodes.get(path), other.nodes.get(path)) {
                (Some(left), Some(right)) => lines.extend(left.difference(right, path)),
                (Some(left), None) => lines.push(format!("{path}: only on the left, czxid {:#x}", left.stat.czxid)),
                (None, right) => {
                    let czxid = right.map_or(0, |node| node.stat.czxid);
                    lines.push(format!("{path}: only on the right, czxid {czxid:#x}"));
                }
            }
        }
        let owners: BTreeSet<&i64> = self.ephemerals.keys().chain(other.ephemerals.keys()).collect();
        for owner in owners {
            let (left, right) = (self.ephemerals.get(owner), other.ephemerals.get(owner));
            if left != right {
                lines.push(format!("ephemerals of {owner:#x}: {left:?} / {right:?}"));
            }
        }
        let count = lines.len();
        if count > LINES_MAX {
            lines.truncate(LINES_MAX);
            lines.push(format!("... {count} lines in all"));
        }
        (count > 0).then(|| lines.join("\n"))
    }
}

impl Node {
    fn difference(&self, other: &Self, path: &str) -> Option<String> {
        let mut line = format!("{path}:");
        let empty = line.len();
        let mut note = |what: &str, left: String, right: String| {
            if left != right {
                write!(line, " {what} {left} / {right};").expect("a String takes everything");
            }
        };
        let (a, b) = (self.stat, other.stat);
        let text = |data: &Option<Vec<u8>>| {
            data.as_ref().map_or_else(|| "null".to_owned(), |data| format!("{:?}", String::from_utf8_lossy(data)))
        };
        note("data", text(&self.data), text(&other.data));
        note("acl", format!("{:?}", self.acl), format!("{:?}", other.acl));
        note("version", a.version.to_string(), b.version.to_string());
        note("cversion", a.cversion.to_string(), b.cversion.to_string());
        note("aversion", a.aversion.to_string(), b.aversion.to_string());
        note("length", a.data_length.to_string(), b.data_length.to_string());
        note("children", a.num_children.to_string(), b.num_children.to_string());
        for (what, left, right) in [
            ("czxid", a.czxid, b.czxid),
            ("mzxid", a.mzxid, b.mzxid),
            ("pzxid", a.pzxid, b.pzxid),
            ("owner", a.ephemeral_owner, b.ephemeral_owner),
        ] {
            note(what, format!("{left:#x}"), format!("{right:#x}"));
        }
        if path != CONFIG {
            note("ctime", a.ctime.to_string(), b.ctime.to_string());
            note("mtime", a.mtime.to_string(), b.mtime.to_string());
        }
        (line.len() > empty).then_some(line)
    }
}

fn acl(session: &mut Session, path: &str) -> Vec<(i32, String, String)> {
    let reply = session
        .call(opcode::GET_ACL, &Writer::new().string(path).done())
        .unwrap_or_else(|code| panic!("getACL {path}: {code}"));
    let entry = |reader: &mut Reader<'_>| Some((reader.int()?, reader.string()?, reader.string()?));
    Reader::new(&reply).vector(entry).flatten().expect("a vector of ACL entries")
}

/// Session to paths, from what `dump` prints: `0x<session>:` and below it, indented, the paths.
fn ephemerals(dump: &str) -> BTreeMap<i64, BTreeSet<String>> {
    let mut found = BTreeMap::<i64, BTreeSet<String>>::new();
    let mut session = None;
    let lines = dump.lines().skip_while(|line| !line.starts_with("Sessions with Ephemerals"));
    for line in lines.take_while(|line| !line.starts_with("Connections")) {
        if let Some(hex) = line.strip_prefix("0x") {
            session = u64::from_str_radix(hex.trim_end_matches(':'), 16).ok().map(u64::cast_signed);
        } else if let (Some(session), Some(path)) = (session, line.strip_prefix('\t')) {
            found.entry(session).or_default().insert(path.to_owned());
        }
    }
    found
}

impl Ensemble {
    /// All that a member holds.
    pub fn dump(&self, index: usize) -> Dump {
        let mut session = self.session(index);
        let mut dump = Dump::of(&mut session);
        dump.ephemerals = ephemerals(&four_letter::ask(self.address(index), "dump").expect("a member that serves"));
        session.close();
        dump
    }

    /// Compares all members, which serve and are at rest, and gives what they hold.
    ///
    /// # Panics
    /// If two differ, if a member's index of ephemerals is not what its Stats say, or if a Java member has complained
    /// about digests.
    pub fn check_equal(&self) -> Dump {
        let first = self.dump(0);
        assert_eq!(first.ephemerals, first.owned(), "member 0: its index and its nodes");
        for index in 1..self.size() {
            let kinds = [0, index].map(|index| self.member(index).kind().to_string());
            if let Some(lines) = first.difference(&self.dump(index)) {
                panic!("member 0 ({}) / member {index} ({}):\n{lines}\n{}", kinds[0], kinds[1], self.logs());
            }
        }
        self.check_digests();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(version: i32) -> Node {
        let stat = Stat {
            czxid: 1,
            mzxid: 2,
            ctime: 3,
            mtime: 4,
            version,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: 7,
            data_length: 1,
            num_children: 0,
            pzxid: 1,
        };
        Node { data: Some(b"x".to_vec()), acl: Vec::new(), stat }
    }

    #[test]
    fn a_difference_names_path_and_field() {
        let dump = |version| Dump { nodes: [("/a".to_owned(), node(version))].into(), ..Dump::default() };
        assert_eq!(dump(1).difference(&dump(1)), None);
        assert_eq!(dump(1).difference(&dump(2)).as_deref(), Some("/a: version 1 / 2;"));
        let missing = dump(1).difference(&Dump::default());
        assert_eq!(missing.as_deref(), Some("/a: only on the left, czxid 0x1"));
    }

    #[test]
    fn the_answer_to_dump_is_read() {
        let text = "SessionTracker dump:\nGlobal Sessions(1):\n0x7\t30000ms\nephemeral nodes dump:\n\
                    Sessions with Ephemerals (1):\n0x7:\n\t/a\n\t/b\nConnections dump:\n0x8:\n\tx\n";
        let expected = BTreeMap::from([(7, BTreeSet::from(["/a".to_owned(), "/b".to_owned()]))]);
        assert_eq!(ephemerals(text), expected);
        let dump = Dump { nodes: [("/a".to_owned(), node(0))].into(), ..Dump::default() };
        assert_eq!(dump.owned(), BTreeMap::from([(7, BTreeSet::from(["/a".to_owned()]))]));
    }
}
