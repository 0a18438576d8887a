//! Schemes: what an ACL entry means, who matches it, and how a client's list becomes the one that is stored.
//!
//! Flow       create and setACL: `fix_up` (ZooKeeper's `PrepRequestProcessor.fixupACL`); every operation: `allow`.
//! Invariant  nothing here looks at the tree; a stored list has passed `fix_up`, a loaded one need not have.
//! Absent     hashing of passwords: an identity arrives here ready made. x509 and sasl: no such provider, so their
//!            entries are refused and match nobody.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::acl::{Acl, AclEntry, AclList, Identity, perms};
use crate::code::Code;
use crate::tree::Tree;

/// Which schemes exist, and whether ACLs count at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schemes {
    /// `DigestAuthenticationProvider.enabled`.
    pub digest: bool,
    /// `skipACL=yes`: every check passes.
    pub skip_acl: bool,
}

impl Default for Schemes {
    fn default() -> Schemes {
        Schemes { digest: true, skip_acl: false }
    }
}

/// The schemes with a provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    Digest,
    Ip,
}

impl Schemes {
    fn provider(&self, scheme: &str) -> Option<Provider> {
        match scheme {
            "digest" if self.digest => Some(Provider::Digest),
            "ip" => Some(Provider::Ip),
            _ => None,
        }
    }

    /// Whether one of `who` holds one of the `wanted` permissions.
    pub fn allow(&self, acl: &[Acl], wanted: i32, who: &[Identity]) -> bool {
        if self.skip_acl || acl.is_empty() {
            return true;
        }
        // The usual list first: it saves looking at the identities.
        let grants = |entry: &&Acl| entry.perms & wanted != 0;
        acl.iter().filter(grants).any(Acl::is_anyone)
            || who.iter().any(|identity| &*identity.scheme == "super")
            || acl.iter().filter(grants).any(|entry| self.matches_any(entry, who))
    }

    fn matches_any(&self, entry: &Acl, who: &[Identity]) -> bool {
        let Some(provider) = self.provider(&entry.scheme) else {
            return false;
        };
        who.iter().filter(|identity| identity.scheme == entry.scheme).any(|identity| match provider {
            Provider::Digest => identity.id == entry.id,
            Provider::Ip => ip_matches(&identity.id, &entry.id),
        })
    }

    /// Whether identities of a scheme count for the scheme `auth`: who proved something, which an address does not.
    fn is_authenticated(&self, identity: &Identity) -> bool {
        self.provider(&identity.scheme) == Some(Provider::Digest)
    }

    /// The list to store for what a client sent. `expansion_left` is what `auth` entries of this request may still
    /// become, in bytes: sixteen bytes in a frame stand for all identities of the connection.
    ///
    /// # Errors
    /// `InvalidAcl`; `MarshallingError` for a null id where the scheme looks at ids, and for a null that ZooKeeper meets
    /// when it looks for duplicates.
    pub fn fix_up(
        &self,
        tree: &Tree,
        sent: Option<&[AclEntry<'_>]>,
        who: &[Identity],
        expansion_left: &mut usize,
    ) -> Result<AclList, Code> {
        let sent = sent.unwrap_or_default();
        if sent.is_empty() {
            return Err(Code::InvalidAcl);
        }
        if let [AclEntry { perms: perms::ALL, scheme: Some("world"), id: Some("anyone") }] = sent {
            return Ok(tree.acls.list(crate::acl_table::OPEN).clone());
        }
        let unique = without_duplicates(sent)?;
        let mut fixed: Vec<Acl> = Vec::with_capacity(unique.len());
        for entry in unique {
            self.fix_up_entry(entry, who, &mut fixed, expansion_left)?;
        }
        // What went through unchanged may be in the table already; then no new list is made.
        match tree.acls.find(sent) {
            Some(known) if **known == *fixed => Ok(known.clone()),
            _ => Ok(AclList::from(fixed)),
        }
    }

    fn fix_up_entry(
        &self,
        entry: &AclEntry<'_>,
        who: &[Identity],
        fixed: &mut Vec<Acl>,
        expansion_left: &mut usize,
    ) -> Result<(), Code> {
        let scheme = entry.scheme.ok_or(Code::InvalidAcl)?;
        if scheme == "auth" {
            let before = fixed.len();
            for identity in who.iter().filter(|identity| self.is_authenticated(identity)) {
                let bytes = identity.scheme.len() + identity.id.len() + size_of::<Acl>();
                *expansion_left = expansion_left.checked_sub(bytes).ok_or(Code::InvalidAcl)?;
                fixed.push(Acl::new(entry.perms, &identity.scheme, &identity.id));
            }
            return if fixed.len() > before { Ok(()) } else { Err(Code::InvalidAcl) };
        }
        let provider = self.provider(scheme);
        if provider.is_none() && scheme != "world" {
            return Err(Code::InvalidAcl);
        }
        let id = entry.id.ok_or(Code::MarshallingError)?;
        let is_valid = match provider {
            Some(Provider::Digest) => is_digest_id(id),
            Some(Provider::Ip) => ip_entry(id).is_some(),
            None => id == "anyone",
        };
        if !is_valid {
            return Err(Code::InvalidAcl);
        }
        fixed.push(Acl::new(entry.perms, scheme, id));
        Ok(())
    }

    /// The name that whoAmI shows for an identity: empty where the scheme has no provider.
    pub fn user_name<'i>(&self, identity: &'i Identity) -> &'i str {
        match self.provider(&identity.scheme) {
            Some(Provider::Digest) => identity.id.split(':').next().unwrap_or_default(),
            Some(Provider::Ip) => &identity.id,
            None => "",
        }
    }
}

/// The first of each. ZooKeeper compares an entry with every one kept before it, by permissions, scheme and id in this
/// order, and fails when it comes to a null of the new entry.
fn without_duplicates<'s, 'a>(sent: &'s [AclEntry<'a>]) -> Result<Vec<&'s AclEntry<'a>>, Code> {
    // A frame holds tens of thousands of entries: looking at all before each would stop the server.
    let mut kept = BTreeSet::new();
    let mut unique = Vec::with_capacity(sent.len());
    for entry in sent {
        let first_compared = match entry {
            AclEntry { scheme: None, .. } => Some(AclEntry { id: None, ..*entry }),
            AclEntry { id: None, .. } => Some(*entry),
            _ => None,
        };
        let neighbour = first_compared.and_then(|first| kept.range(first..).next().copied());
        let meets_null = neighbour.is_some_and(|other: AclEntry<'_>| {
            other.perms == entry.perms && (entry.scheme.is_none() || other.scheme == entry.scheme)
        });
        if meets_null {
            return Err(Code::MarshallingError);
        }
        if kept.insert(*entry) {
            unique.push(entry);
        }
    }
    Ok(unique)
}

/// Exactly two parts by Java's `split(":")`, which drops empty parts at the end.
fn is_digest_id(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    !trimmed.is_empty() && trimmed.split(':').count() == 2
}

/// An address: 4 or 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address {
    bits: u128,
    bit_len: u32,
}

fn address(text: &str) -> Option<Address> {
    if let Some(v4) = address_v4(text) {
        return Some(Address { bits: u128::from(v4), bit_len: 32 });
    }
    if text.contains('.') {
        return None; // No IPv4 inside IPv6.
    }
    let v6: Ipv6Addr = text.parse().ok()?;
    Some(Address { bits: v6.to_bits(), bit_len: 128 })
}

/// Four decimal numbers as Java's `Integer.parseInt` reads them: leading zeros and a plus pass.
fn address_v4(text: &str) -> Option<u32> {
    let mut parts = text.split('.');
    let mut bits = 0;
    for _ in 0..4 {
        let part: u8 = java_int(parts.next()?)?.try_into().ok()?;
        bits = (bits << 8) | u32::from(part);
    }
    parts.next().is_none().then_some(bits)
}

fn java_int(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// An entry's address and the number of leading bits that count.
fn ip_entry(id: &str) -> Option<(Address, u32)> {
    let (text, bits) = match id.split_once('/') {
        Some((text, bits)) => (text, Some(bits)),
        None => (id, None),
    };
    let address = address(text)?;
    let bits = match bits {
        Some(bits) => u32::try_from(java_int(bits)?).ok().filter(|&bits| bits <= address.bit_len)?,
        None => address.bit_len,
    };
    Some((address, bits))
}

fn ip_matches(identity: &str, entry: &str) -> bool {
    let (Some((entry, bits)), Some(own)) = (ip_entry(entry), address(identity)) else {
        return false;
    };
    let differing = (entry.bits ^ own.bits).checked_shr(entry.bit_len - bits).unwrap_or(0);
    entry.bit_len == own.bit_len && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeOptions;

    fn entry<'a>(perms: i32, scheme: &'a str, id: &'a str) -> AclEntry<'a> {
        AclEntry { perms, scheme: Some(scheme), id: Some(id) }
    }

    fn fix(sent: &[AclEntry<'_>], who: &[Identity]) -> Result<Vec<Acl>, Code> {
        let tree = Tree::new(1, TreeOptions::default());
        Schemes::default().fix_up(&tree, Some(sent), who, &mut 4096).map(|list| list.to_vec())
    }

    #[test]
    fn fix_up_drops_duplicates_and_expands_auth() {
        let who = [Identity::new("ip", "127.0.0.1"), Identity::new("digest", "a:h"), Identity::new("super", "")];
        let world = entry(1, "world", "anyone");
        assert_eq!(fix(&[world, world], &who), Ok(Vec::from([Acl::new(1, "world", "anyone")])));
        let auth = AclEntry { perms: 31, scheme: Some("auth"), id: None };
        assert_eq!(fix(&[auth, entry(31, "digest", "a:h")], &who).unwrap().len(), 2, "expansion's duplicates stay");
        assert_eq!(fix(&[auth], &who[..1]), Err(Code::InvalidAcl), "an address proves nothing");
    }

    /// An `auth` entry takes sixteen bytes in a frame and stood for all identities, so that one request of a megabyte
    /// became gigabytes.
    #[test]
    fn auth_expands_within_its_budget_only() {
        let who = [Identity::new("digest", &alloc::format!("{}:h", "u".repeat(1000)))];
        let auth = |perms| AclEntry { perms, scheme: Some("auth"), id: None };
        assert_eq!(fix(&[auth(1), auth(2), auth(3)], &who).unwrap().len(), 3);
        assert_eq!(fix(&[auth(1), auth(2), auth(3), auth(4)], &who), Err(Code::InvalidAcl));
    }

    /// Each entry was looked for among all before it, so one request stopped the server for many seconds.
    #[test]
    fn many_entries_take_time_in_proportion() {
        let ids: Vec<_> = (0..40_000).map(|id| alloc::format!("{id}:x")).collect();
        let mut sent: Vec<_> = ids.iter().map(|id| entry(1, "digest", id)).collect();
        sent.extend_from_within(..100);
        assert_eq!(fix(&sent, &[]).unwrap().len(), ids.len());
    }

    #[test]
    fn fix_up_refuses_what_no_provider_knows() {
        for bad in [entry(1, "world", "me"), entry(1, "super", "x"), entry(1, "sasl", "x"), entry(1, "digest", "a")] {
            assert_eq!(fix(&[bad], &[]), Err(Code::InvalidAcl), "{bad:?}");
        }
        assert_eq!(fix(&[], &[]), Err(Code::InvalidAcl));
        assert_eq!(fix(&[AclEntry { perms: 1, scheme: None, id: Some("x") }], &[]), Err(Code::InvalidAcl));
        assert_eq!(fix(&[AclEntry { perms: 1, scheme: Some("digest"), id: None }], &[]), Err(Code::MarshallingError));
        assert_eq!(fix(&[AclEntry { perms: 1, scheme: Some("sasl"), id: None }], &[]), Err(Code::InvalidAcl));
    }

    #[test]
    fn a_null_fails_when_it_is_compared() {
        let [scheme, id] = [None, Some("digest")].map(|scheme| AclEntry { perms: 1, scheme, id: None });
        let known = entry(1, "digest", "a:b");
        let marshalling = Err(Code::MarshallingError);
        assert_eq!(fix(&[known, scheme], &[]), marshalling);
        assert_eq!(fix(&[scheme, scheme], &[]), marshalling);
        assert_eq!(fix(&[scheme, known], &[]), Err(Code::InvalidAcl));
        assert_eq!(fix(&[AclEntry { perms: 2, ..known }, scheme], &[]), Err(Code::InvalidAcl));
        // Before a bad scheme is found.
        assert_eq!(fix(&[entry(1, "nosuch", "x"), known, id], &[]), marshalling);
        assert_eq!(fix(&[entry(1, "nosuch", "x"), id], &[]), Err(Code::InvalidAcl));
    }

    #[test]
    fn digest_ids_have_two_parts() {
        assert!(is_digest_id("a:b") && is_digest_id(":b") && is_digest_id("a:b::"));
        assert!(!is_digest_id("a") && !is_digest_id("a:") && !is_digest_id("a:b:c") && !is_digest_id(":"));
    }

    #[test]
    fn addresses_match_by_leading_bits_within_their_family() {
        assert!(ip_matches("10.1.2.3", "10.1.0.0/16") && !ip_matches("10.2.2.3", "10.1.0.0/16"));
        assert!(ip_matches("10.1.2.3", "0.0.0.0/0") && !ip_matches("::1", "0.0.0.0/0"));
        assert!(ip_matches("0:0:0:0:0:0:0:1", "::1") && ip_matches("fe80::1", "fe80::/10"));
        assert!(ip_matches("1.2.3.4", "1.2.3.4") && !ip_matches("1.2.3.5", "1.2.3.4"));
        for bad in ["1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/-1", "::ffff:1.2.3.4", "x", "::/129", ""]
        {
            assert!(ip_entry(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn one_common_bit_is_enough_and_super_passes() {
        let schemes = Schemes::default();
        let acl = [Acl::new(perms::ADMIN, "digest", "a:h")];
        let admin = [Identity::new("digest", "a:h")];
        assert!(schemes.allow(&acl, perms::READ | perms::ADMIN, &admin) && !schemes.allow(&acl, perms::READ, &admin));
        assert!(schemes.allow(&acl, perms::READ, &[Identity::new("super", "")]));
        assert!(schemes.allow(&[], perms::READ, &[]) && !schemes.allow(&acl, perms::ADMIN, &[]));
        assert!(Schemes { skip_acl: true, ..schemes }.allow(&acl, perms::READ, &[]));
        assert!(!Schemes { digest: false, ..schemes }.allow(&acl, perms::ADMIN, &admin));
    }
}
