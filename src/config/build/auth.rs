//! Settings of authentication to [`Auth`]: which schemes exist, which are enforced, and what that means for clients.

use super::comma_list;
use crate::config::auth::{Auth, DigestAlgorithm, Secret};
use crate::config::settings::Settings;

/// Settings of authentication; what cannot be had is a problem, what has no effect a warning.
pub(super) fn build(settings: &mut Settings) -> Auth {
    let digest_enabled = settings.bool("DigestAuthenticationProvider.enabled");
    let mut available = vec!["ip"];
    if digest_enabled {
        available.push("digest");
    }
    available.extend(configured_schemes(settings));
    let ensemble_names = comma_list(&settings.text_if_set("ensembleAuthName").unwrap_or_default());
    Auth {
        super_digest: settings.text_if_set("DigestAuthenticationProvider.superDigest").map(|text| Secret::new(&text)),
        digest_enabled,
        digest_algorithm: digest_algorithm(&settings.text("DigestAuthenticationProvider.digestAlg")),
        eager_acl_check: settings.bool("enableEagerACLCheck"),
        enforced_schemes: enforced_schemes(settings, &available),
        ensemble_names: available.contains(&"ensemble").then_some(ensemble_names),
    }
}

/// The schemes of which a connection must have one. A scheme that no client can have here locks everybody out, which is
/// what was asked for, but is worth a word.
fn enforced_schemes(settings: &mut Settings, available: &[&str]) -> Vec<Box<str>> {
    let by_sasl = settings.bool("sessionRequireClientSASLAuth");
    let (key, schemes) = match (by_sasl, settings.bool("enforce.auth.enabled")) {
        (true, _) => ("sessionRequireClientSASLAuth", vec!["sasl".into()]),
        (false, true) => {
            let listed = settings.text_if_set("enforce.auth.schemes").unwrap_or_default();
            ("enforce.auth.schemes", comma_list(&listed))
        }
        (false, false) => return Vec::new(),
    };
    if schemes.is_empty() {
        settings.problem("enforce.auth.enabled", "needs enforce.auth.schemes, as in enforce.auth.schemes=digest");
    }
    for scheme in schemes.iter().filter(|scheme| !available.contains(&&***scheme)) {
        settings.problem(key, format!("found {scheme}; allowed: {}", available.join(", ")));
    }
    let impossible = schemes.iter().all(|scheme| matches!(&**scheme, "sasl" | "x509" | "ensemble"));
    if !schemes.is_empty() && impossible {
        settings.warning(key, "locks out every client: none can authenticate by these schemes yet");
    }
    schemes
}

fn digest_algorithm(name: &str) -> DigestAlgorithm {
    match name {
        "SHA1" | "SHA-1" | "SHA" => DigestAlgorithm::Sha1,
        "SHA-256" => DigestAlgorithm::Sha256,
        "SHA-384" => DigestAlgorithm::Sha384,
        "SHA-512" => DigestAlgorithm::Sha512,
        "SHA3-256" => DigestAlgorithm::Sha3_256,
        "SHA3-384" => DigestAlgorithm::Sha3_384,
        "SHA3-512" => DigestAlgorithm::Sha3_512,
        "MD5" => DigestAlgorithm::Md5,
        other => unreachable!("the key's words do not include {other}"),
    }
}

/// Schemes that `authProvider.N=class` lines add.
fn configured_schemes(settings: &mut Settings) -> Vec<&'static str> {
    let providers: Vec<(String, String)> =
        settings.family("authProvider.").map(|(rest, class, _)| (rest.to_owned(), class.to_owned())).collect();
    let mut schemes = Vec::new();
    for (rest, class) in providers {
        let key = format!("authProvider.{rest}");
        match class.rsplit('.').next().unwrap_or_default() {
            "DigestAuthenticationProvider" | "IPAuthenticationProvider" => {} // There without being asked for.
            "EnsembleAuthenticationProvider" => schemes.push("ensemble"),
            "SASLAuthenticationProvider" => {
                schemes.push("sasl");
                settings.warning(&key, "has no effect yet: SASL is not supported yet");
            }
            "X509AuthenticationProvider" => {
                schemes.push("x509");
                settings.warning(&key, "has no effect yet: TLS is not supported yet");
            }
            _ => settings.warning(&key, format!("has no effect here: {class:?} is Java code, which cannot run here")),
        }
    }
    schemes
}
