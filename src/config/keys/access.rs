//! Keys of authentication and of ACLs.

use super::Scope::{Jvm, Property};
use super::{Key, Kind, SASL, TLS, key, natural, unset};

/// Java's names of the hashes that we have; like Java, in any case.
const DIGESTS: &[&str] =
    &["SHA1", "SHA-1", "SHA", "SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-384", "SHA3-512", "MD5"];

pub(super) const KEYS: &[Key] = &[
    key("skipACL", Property, Kind::Word(&["yes", "no"], false), "no"),
    key("enableEagerACLCheck", Property, Kind::Bool, "false"),
    unset("DigestAuthenticationProvider.superDigest", Property, Kind::Secret),
    key("DigestAuthenticationProvider.enabled", Property, Kind::Bool, "true"),
    key("DigestAuthenticationProvider.digestAlg", Property, Kind::Word(DIGESTS, true), "SHA1"),
    key("enforce.auth.enabled", Property, Kind::Bool, "false"),
    unset("enforce.auth.schemes", Property, Kind::Text),
    key("sessionRequireClientSASLAuth", Property, Kind::Bool, "false"),
    unset("authProvider.*", Property, Kind::Text),
    unset("ensembleAuthName", Property, Kind::Text),
    key("allowSaslFailedClients", Property, Kind::Bool, "false").not_yet(SASL),
    unset("superUser", Property, Kind::Text).not_yet(SASL),
    unset("superUser.*", Property, Kind::Text).not_yet(SASL),
    unset("letAnySaslUserDoX", Property, Kind::Text).not_yet(SASL),
    unset("SASLAuthenticationProvider.superPassword", Property, Kind::Secret).not_yet(SASL),
    unset("X509AuthenticationProvider.superUser", Property, Kind::Text).not_yet(TLS),
    key("IPAuthenticationProvider.usexforwardedfor", Property, Kind::Bool, "false")
        .not_yet("the admin server is not built yet"),
    key("kerberos.removeHostFromPrincipal", Property, Kind::Bool, "false").not_yet(SASL),
    key("kerberos.removeRealmFromPrincipal", Property, Kind::Bool, "false").not_yet(SASL),
    key("kerberos.canonicalizeHostNames", Property, Kind::Bool, "false").not_yet(SASL),
    key("kerberos.minReLoginTimeMs", Property, natural("ms"), "60000").not_yet(SASL),
    key("kinit", Property, Kind::Text, "/usr/bin/kinit").not_yet(SASL),
    key("security.auth_to_local", Property, Kind::Text, "DEFAULT").not_yet(SASL),
    key("requireKerberosConfig", Property, Kind::Bool, "false").not_yet(SASL),
    unset("server.principal", Property, Kind::Text).not_yet(SASL),
    unset("server.realm", Property, Kind::Text).not_yet(SASL),
    key("sasl.serverconfig", Property, Kind::Text, "Server").not_yet(SASL),
    unset("java.security.auth.login.config", Jvm, Kind::Text).not_yet(SASL),
];
