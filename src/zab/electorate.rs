//! Who votes now: the committed configuration and, while a new one is proposed but not committed, that one as well.
//!
//! Invariant  a quorum here is one in every configuration that may be in force, so whatever becomes of the proposed one, no
//!            two quorums miss each other.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use ids::Sid;

use crate::config::EnsembleConfig;

/// One configuration, or two during a reconfiguration.
#[derive(Clone, Debug)]
pub struct Electorate {
    committed: Arc<EnsembleConfig>,
    /// Only when its version is higher than the committed one's.
    proposed: Option<Arc<EnsembleConfig>>,
    /// Of both, so that asking for them costs nothing.
    voters: BTreeSet<Sid>,
}

impl Electorate {
    /// `last_seen` is the last configuration that was proposed; it counts when it is newer than the committed one.
    pub fn new(committed: Arc<EnsembleConfig>, last_seen: Option<Arc<EnsembleConfig>>) -> Electorate {
        let proposed = last_seen.filter(|last_seen| last_seen.version() > committed.version());
        let of_proposed = proposed.iter().flat_map(|proposed| proposed.voters());
        let voters = committed.voters().iter().chain(of_proposed).copied().collect();
        Electorate { committed, proposed, voters }
    }

    /// The configuration in force.
    pub fn committed(&self) -> &Arc<EnsembleConfig> {
        &self.committed
    }

    /// The one that shall follow it, while there is one.
    pub fn proposed(&self) -> Option<&Arc<EnsembleConfig>> {
        self.proposed.as_ref()
    }

    /// Everybody who votes in either.
    pub fn voters(&self) -> &BTreeSet<Sid> {
        &self.voters
    }

    /// Whether `sid` votes in either.
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.voters.contains(&sid)
    }

    /// What `sid` weighs in the committed configuration.
    pub fn weight(&self, sid: Sid) -> u64 {
        self.committed.verifier().weight(sid)
    }

    /// Whether those for whom `contains` is true are a quorum in both.
    pub fn is_quorum(&self, contains: impl Fn(Sid) -> bool) -> bool {
        self.committed.verifier().is_quorum(&contains)
            && self.proposed.as_ref().is_none_or(|proposed| proposed.verifier().is_quorum(&contains))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Arc<EnsembleConfig> {
        Arc::new(EnsembleConfig::parse(text).unwrap())
    }

    #[test]
    fn a_proposed_configuration_must_agree_too() {
        let committed = config("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=5");
        let proposed = config("server.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\nversion=6");
        let both = Electorate::new(committed.clone(), Some(proposed));
        let quorum = |electorate: &Electorate, raw: &[u64]| electorate.is_quorum(|sid| raw.contains(&sid.to_u64()));
        assert!(!quorum(&both, &[1, 2]) && !quorum(&both, &[4, 5]) && quorum(&both, &[1, 3, 4]));
        assert!(both.is_voter(Sid::new(1)) && both.is_voter(Sid::new(5)));
        let older = config("server.9=z:1:2\nversion=5");
        let one = Electorate::new(committed, Some(older));
        assert!(quorum(&one, &[1, 2]) && !one.is_voter(Sid::new(9)), "the same version is no newer one");
    }
}
