//! The eager ACL check (`enableEagerACLCheck`): a refusal before a write enters the pipeline, by the applied state.
//!
//! Invariant  it refuses only with NOAUTH and INVALIDACL; whatever else is wrong is for prep to find. No zxid is taken.
//! Absent     createContainer, createTTL and multi: ZooKeeper does not look at them here.

use crate::acl::{Identity, perms};
use crate::code::Code;
use crate::path;
use crate::prep::{EXPANSION_MAX_BYTES, PrepSettings, is_special};
use crate::request::{CreateKind, Request};
use crate::tree::Tree;

/// Checks a write against the applied tree.
///
/// # Errors
/// `NoAuth` or `InvalidAcl`: the answer, with zxid 0.
pub fn eager_check(tree: &Tree, settings: &PrepSettings, who: &[Identity], request: &Request<'_>) -> Result<(), Code> {
    let mut expansion_left = EXPANSION_MAX_BYTES;
    let mut fix_up = |acl| match settings.schemes.fix_up(tree, acl, who, &mut expansion_left) {
        Err(Code::InvalidAcl) => Err(Code::InvalidAcl),
        _ => Ok(()),
    };
    let (path, wanted) = match request {
        Request::Create(create) if matches!(create.kind, CreateKind::Create | CreateKind::Create2) => {
            let Some(parent) = checked_parent(create.path) else {
                return Ok(());
            };
            fix_up(create.acl.as_deref())?;
            (Some(parent), perms::CREATE)
        }
        Request::Delete { path, .. } => (checked_parent(*path), perms::DELETE),
        Request::SetData { path, .. } => (*path, perms::WRITE),
        Request::SetAcl { path, acl, .. } => {
            fix_up(acl.as_deref())?;
            (*path, perms::ADMIN)
        }
        _ => return Ok(()),
    };
    let Some(node) = path.and_then(|path| tree.get(path)) else {
        return Ok(());
    };
    if settings.schemes.allow(node.acl(), wanted, who) { Ok(()) } else { Err(Code::NoAuth) }
}

/// The parent whose ACL counts, if the path is good enough to have one.
fn checked_parent(path: Option<&str>) -> Option<&str> {
    path.filter(|path| !is_special(path)).and_then(|path| path::parent_of_unchecked(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{OPEN, READ_ONLY, Server, create, create_acl, delete, set, set_acl};

    #[test]
    fn refuses_only_what_the_applied_acls_refuse() {
        let mut server = Server::new();
        server.ok(&create_acl("/locked", &[READ_ONLY]));
        let eager = |request: &Request<'_>| eager_check(&server.tree, &server.settings, &server.who, request);
        for request in
            [create("/locked/x"), delete("/locked/x", -1), set("/locked", "x", -1), set_acl("/locked", &[OPEN], -1)]
        {
            assert_eq!(eager(&request), Err(Code::NoAuth), "{request:?}");
        }
        assert_eq!(eager(&create_acl("/n", &[])), Err(Code::InvalidAcl));
        for request in [create("/n"), create("/missing/n"), create("nopath"), delete("/", -1), set("/missing", "x", 9)]
        {
            assert_eq!(eager(&request), Ok(()), "{request:?}");
        }
    }
}
