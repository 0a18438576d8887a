//! Auth packets (opcode 100): from what a client presents to the identities its connection gets.
//!
//! Identities are added, never replaced, and belong to the connection. Who may do what with them is `tree::acl`'s
//! business. Absent: x509 and sasl; a scheme that is not served is refused as ZooKeeper refuses an unknown one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use tree::acl::Identity;

use crate::config::{Auth, DigestAlgorithm};

fn hash_base64(algorithm: DigestAlgorithm, bytes: &[u8]) -> String {
    use sha2::Digest as _;
    match algorithm {
        DigestAlgorithm::Sha1 => STANDARD.encode(sha1::Sha1::digest(bytes)),
        DigestAlgorithm::Sha256 => STANDARD.encode(sha2::Sha256::digest(bytes)),
        DigestAlgorithm::Sha384 => STANDARD.encode(sha2::Sha384::digest(bytes)),
        DigestAlgorithm::Sha512 => STANDARD.encode(sha2::Sha512::digest(bytes)),
        DigestAlgorithm::Sha3_256 => STANDARD.encode(sha3::Sha3_256::digest(bytes)),
        DigestAlgorithm::Sha3_384 => STANDARD.encode(sha3::Sha3_384::digest(bytes)),
        DigestAlgorithm::Sha3_512 => STANDARD.encode(sha3::Sha3_512::digest(bytes)),
        DigestAlgorithm::Md5 => STANDARD.encode(md5::Md5::digest(bytes)),
    }
}

/// What an auth packet led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Success; these identities are added.
    Added(Vec<Identity>),
    /// Refused: answer AUTHFAILED, then close.
    Failed,
    /// Close without an answer (`EnsembleAuthenticationProvider` only).
    Dropped,
}

/// Judges one auth packet. `auth` is `None` for a null buffer.
pub fn authenticate(settings: &Auth, scheme: &str, auth: Option<&[u8]>) -> Verdict {
    match scheme {
        "digest" if settings.digest_enabled => match auth {
            Some(bytes) => Verdict::Added(digest_identities(settings, bytes)),
            None => Verdict::Failed,
        },
        // The address is an identity from the start; asking for it succeeds and changes nothing.
        "ip" => Verdict::Added(Vec::new()),
        "ensemble" => match &settings.ensemble_names {
            Some(names) => ensemble_verdict(names, auth),
            None => Verdict::Failed,
        },
        _ => Verdict::Failed,
    }
}

/// Hashes the text that the bytes stand for, as ZooKeeper does: what is not UTF-8 becomes U+FFFD first.
fn digest_identities(settings: &Auth, auth: &[u8]) -> Vec<Identity> {
    let text = String::from_utf8_lossy(auth);
    let user = text.split(':').next().unwrap_or_default();
    let id = format!("{user}:{}", hash_base64(settings.digest_algorithm, text.as_bytes()));
    let mut identities = Vec::with_capacity(2);
    if settings.super_digest.as_ref().is_some_and(|digest| digest.reveal() == id) {
        identities.push(Identity::new("super", ""));
    }
    identities.push(Identity::new("digest", &id));
    identities
}

fn ensemble_verdict(names: &[Box<str>], auth: Option<&[u8]>) -> Verdict {
    let presented = auth.map(String::from_utf8_lossy).unwrap_or_default();
    if presented.is_empty() || names.is_empty() || names.iter().any(|name| **name == *presented) {
        Verdict::Added(Vec::new())
    } else {
        Verdict::Dropped
    }
}

/// An address as Java prints it, which is what `ip` identities hold: IPv6 groups in full, without `::`.
pub fn java_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => v6.segments().map(|group| format!("{group:x}")).join(":"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn settings() -> Auth {
        Auth {
            super_digest: Some(Secret::new("bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")),
            digest_enabled: true,
            digest_algorithm: DigestAlgorithm::Sha1,
            eager_acl_check: false,
            enforced_schemes: Vec::new(),
            ensemble_names: None,
        }
    }

    #[test]
    fn digest_id_is_user_and_hash_and_the_super_digest_adds_super() {
        let expected = vec![Identity::new("super", ""), Identity::new("digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")];
        assert_eq!(authenticate(&settings(), "digest", Some(b"bob:pw")), Verdict::Added(expected));
    }

    #[test]
    fn unknown_schemes_and_null_data_are_refused() {
        assert_eq!(authenticate(&settings(), "digest", None), Verdict::Failed);
        assert_eq!(authenticate(&settings(), "sasl", Some(b"x")), Verdict::Failed);
        assert_eq!(authenticate(&settings(), "world", Some(b"anyone")), Verdict::Failed);
        let off = Auth { digest_enabled: false, ..settings() };
        assert_eq!(authenticate(&off, "digest", Some(b"bob:pw")), Verdict::Failed);
    }

    #[test]
    fn ip_succeeds_and_changes_nothing() {
        assert_eq!(authenticate(&settings(), "ip", Some(b"10.0.0.1")), Verdict::Added(Vec::new()));
    }

    #[test]
    fn addresses_are_written_as_java_writes_them() {
        assert_eq!(java_address("::ffff:10.1.2.3".parse().unwrap()), "10.1.2.3");
        assert_eq!(java_address("::1".parse().unwrap()), "0:0:0:0:0:0:0:1");
    }
}
