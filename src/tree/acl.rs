//! ACLs as data: entries, lists, and the identities of a connection that they are checked against.
//!
//! Flow       a request's `AclEntry`s -> `scheme::Schemes::fix_up` -> an `AclList`, shared from then on.
//! Invariant  an `AclList` is immutable; the order of its entries matters for identity, as in ZooKeeper.
//! Absent     what a scheme means (`scheme`) and how equal lists become one (`acl_table`).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Deref;

/// Permission bits. Others are kept and returned unchanged, and grant nothing.
pub mod perms {
    /// Read data, children, stat; receive notifications.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create a child.
    pub const CREATE: i32 = 4;
    /// Delete a child.
    pub const DELETE: i32 = 8;
    /// Set the ACL, and see digests unmasked.
    pub const ADMIN: i32 = 16;
    /// All of the above.
    pub const ALL: i32 = 31;
}

/// Who may do what: one entry of a list.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Acl {
    /// Permission bits.
    pub perms: i32,
    /// Name of the scheme that knows what `id` means.
    pub scheme: Box<str>,
    /// Whom, in the scheme's own words.
    pub id: Box<str>,
}

impl Acl {
    /// An entry of these parts.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.into(), id: id.into() }
    }

    /// The entry that names everybody.
    pub fn is_anyone(&self) -> bool {
        &*self.scheme == "world" && &*self.id == "anyone"
    }
}

/// One entry as a request carries it: borrowed from the frame, nothing checked, strings that may be null.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AclEntry<'a> {
    /// Permission bits.
    pub perms: i32,
    /// Name of the scheme.
    pub scheme: Option<&'a str>,
    /// Whom.
    pub id: Option<&'a str>,
}

/// An immutable list, shared by every node, record and change that uses it.
#[derive(Clone, Eq, Debug)]
pub struct AclList(Arc<[Acl]>);

impl AclList {
    /// A list of these entries.
    pub fn new(entries: &[Acl]) -> AclList {
        AclList(Arc::from(entries))
    }

    /// A list of one entry that grants `perms` to everybody.
    pub fn anyone(perms: i32) -> AclList {
        AclList(Arc::from([Acl::new(perms, "world", "anyone")]))
    }

    /// Nobody may do anything: stands for a list that is not known yet. No request can ask for it, since its scheme has no
    /// name.
    pub(crate) fn missing() -> AclList {
        AclList(Arc::from([Acl::new(0, "", "missing")]))
    }

    /// Everybody may do everything: what a null list and the number -1 mean in ZooKeeper's files.
    pub fn open() -> AclList {
        AclList::anyone(perms::ALL)
    }
}

impl From<alloc::vec::Vec<Acl>> for AclList {
    fn from(entries: alloc::vec::Vec<Acl>) -> AclList {
        AclList(Arc::from(entries))
    }
}

impl Deref for AclList {
    type Target = [Acl];

    fn deref(&self) -> &[Acl] {
        &self.0
    }
}

impl PartialEq for AclList {
    fn eq(&self, other: &AclList) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// Who a connection is, in one scheme. A connection has several; every one has at least its `ip`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// Name of the scheme; `super` passes every check.
    pub scheme: Box<str>,
    /// Who, in the scheme's own words.
    pub id: Box<str>,
}

impl Identity {
    /// An identity of these parts.
    pub fn new(scheme: &str, id: &str) -> Identity {
        Identity { scheme: scheme.into(), id: id.into() }
    }
}
