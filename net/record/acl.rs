//! Access control lists.

use std::borrow::Cow;

use super::stat::Stat;
use crate::jute::records;

records! {
    /// One entry of an ACL: what somebody may do.
    Acl<'a> {
        /// Permission bits: READ 1, WRITE 2, CREATE 4, DELETE 8, ADMIN 16. Others are kept.
        perms: i32,
        /// Who.
        id: Id<'a>,
    }

    /// Somebody, in the words of one scheme. Null in either half is an error that preparing gives, not decoding.
    Id<'a> {
        /// How identities of this kind are told: world, auth, digest, ip, x509, sasl.
        scheme: Option<Cow<'a, str>>,
        /// The identity in that scheme.
        id: Option<Cow<'a, str>>,
    }

    /// getACL.
    GetAclRequest<'a> {
        /// The node.
        path: Cow<'a, str>,
    }

    /// Answers getACL.
    GetAclResponse<'a> {
        /// The node's, masked for callers without ADMIN.
        acl: Vec<Acl<'a>>,
        /// The node's.
        stat: Stat,
    }

    /// setACL.
    SetAclRequest<'a> {
        /// The node. Null fails when the request is prepared.
        path: Option<Cow<'a, str>>,
        /// The new ACL; null and empty are refused when the request is prepared.
        acl: Option<Vec<Acl<'a>>>,
        /// The ACL version it must have; -1 for any.
        version: i32,
    }

    /// Answers setACL.
    SetAclResponse {
        /// After the change.
        stat: Stat,
    }
}

impl<'a> Acl<'a> {
    /// An entry for `id` in `scheme`.
    pub fn new(perms: i32, scheme: &'a str, id: &'a str) -> Acl<'a> {
        Acl { perms, id: Id { scheme: Some(Cow::Borrowed(scheme)), id: Some(Cow::Borrowed(id)) } }
    }

    /// Everybody may do everything.
    pub fn open() -> Acl<'static> {
        Acl::new(31, "world", "anyone")
    }
}
