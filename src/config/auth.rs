//! Settings of authentication: the super user, the digest scheme, enforced schemes.

use std::fmt;

/// Settings of authentication and of the checks around ACLs.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// `DigestAuthenticationProvider.superDigest`: `user:base64(hash(user:password))`. A connection whose digest
    /// authentication gives exactly this becomes super. Default none.
    pub super_digest: Option<Secret>,
    /// `DigestAuthenticationProvider.enabled`: the digest scheme exists. Default true.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`: the hash of the digest scheme. Default SHA-1.
    pub digest_algorithm: DigestAlgorithm,
    /// `enableEagerACLCheck`: writes are checked against the applied tree before they enter the pipeline. Default false.
    pub eager_acl_check: bool,
    /// `enforce.auth.enabled` with `enforce.auth.schemes` (or `sessionRequireClientSASLAuth`, which is `sasl`): requests
    /// of a connection without an identity of one of these schemes are answered SESSIONCLOSEDREQUIRESASLAUTH and the
    /// connection is closed. Empty, the default: not enforced.
    pub enforced_schemes: Vec<Box<str>>,
    /// `authProvider.N=…EnsembleAuthenticationProvider` with `ensembleAuthName`: names that an `ensemble` auth packet
    /// may carry (empty: any). `None`, the default: the scheme does not exist.
    pub ensemble_names: Option<Vec<Box<str>>>,
}

/// Hash of the digest scheme, by the names that Java gives its algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// `SHA1`, the default; `SHA-1` and `SHA` are the same.
    Sha1,
    /// `SHA-256`.
    Sha256,
    /// `SHA-384`.
    Sha384,
    /// `SHA-512`.
    Sha512,
    /// `SHA3-256`.
    Sha3_256,
    /// `SHA3-384`.
    Sha3_384,
    /// `SHA3-512`.
    Sha3_512,
    /// `MD5`.
    Md5,
}

/// A text that must not reach a log: its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides `text`.
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// The text itself, to be compared and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
