//! Keys of TLS, on the client port (`ssl.`) and between servers (`ssl.quorum.`). None has an effect yet; a port that
//! would need them is refused, since its clients would talk to nobody.

use super::Scope::{File, Property};
use super::{Key, Kind, TLS, int, natural};

const fn key(name: &'static str, scope: super::Scope, kind: Kind, default: &'static str) -> Key {
    super::key(name, scope, kind, default).not_yet(TLS)
}

const fn unset(name: &'static str, kind: Kind) -> Key {
    super::unset(name, Property, kind).not_yet(TLS)
}

/// The keys that both sides have.
macro_rules! both_sides {
    ($($prefix:literal, client_host_verification $hosts:literal;)*) => {
        &[
            super::unset("secureClientPort", File, int(0, 65_535, "0 is not set")),
            super::unset("secureClientPortAddress", File, Kind::Text),
            key("sslQuorum", File, Kind::Bool, "false"),
            key("portUnification", File, Kind::Bool, "false"),
            key("sslQuorumReloadCertFiles", File, Kind::Bool, "false"),
            key("ssl.authProvider", Property, Kind::Text, "x509"),
            key("ssl.sslProvider", Property, Kind::Text, "JDK"),
            key("fips-mode", Property, Kind::Bool, "true"),
            $(
                unset(concat!($prefix, "keyStore.location"), Kind::Text),
                unset(concat!($prefix, "keyStore.password"), Kind::Secret),
                unset(concat!($prefix, "keyStore.passwordPath"), Kind::Text),
                unset(concat!($prefix, "keyStore.type"), STORES),
                unset(concat!($prefix, "trustStore.location"), Kind::Text),
                unset(concat!($prefix, "trustStore.password"), Kind::Secret),
                unset(concat!($prefix, "trustStore.passwordPath"), Kind::Text),
                unset(concat!($prefix, "trustStore.type"), STORES),
                unset(concat!($prefix, "protocol"), Kind::Text),
                unset(concat!($prefix, "enabledProtocols"), Kind::Text),
                unset(concat!($prefix, "ciphersuites"), Kind::Text),
                unset(concat!($prefix, "context.supplier.class"), Kind::Text),
                key(concat!($prefix, "hostnameVerification"), Property, Kind::Bool, "true"),
                key(concat!($prefix, "clientHostnameVerification"), Property, Kind::Bool, $hosts),
                key(concat!($prefix, "allowReverseDnsLookup"), Property, Kind::Bool, $hosts),
                key(concat!($prefix, "crl"), Property, Kind::Bool, "false"),
                key(concat!($prefix, "ocsp"), Property, Kind::Bool, "false"),
                key(concat!($prefix, "clientAuth"), Property, Kind::Word(&["none", "want", "need"], true), "need"),
                key(concat!($prefix, "handshakeDetectionTimeoutMillis"), Property, natural("ms"), "5000"),
            )*
        ]
    };
}

const STORES: Kind = Kind::Word(&["", "JKS", "PEM", "PKCS12", "BCFKS"], true);

pub(super) const KEYS: &[Key] = both_sides! {
    "ssl.", client_host_verification "false";
    "ssl.quorum.", client_host_verification "true";
};
