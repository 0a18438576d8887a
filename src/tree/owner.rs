//! Owners: what the 64-bit `ephemeralOwner` of a znode says about its kind (ZooKeeper's `EphemeralType`).
//!
//! Invariant  the stored number never changes after creation; what it means depends on two settings that all servers of
//!            an ensemble share.
//! Absent     the sets of containers and TTL nodes: the tree keeps those.

/// The stored owner of every container.
pub const CONTAINER: i64 = i64::MIN;
/// Longest time to live, ms: 40 bits.
pub const TTL_MAX_MS: i64 = 0xff_ffff_ffff;

const EXTENDED_MASK: u64 = 0xff00_0000_0000_0000;
/// Bits 40 to 55 of an extended owner name the feature; 0 is TTL and there is no other.
const FEATURE_MASK: u64 = 0x00ff_ff00_0000_0000;

/// What kind of node an owner makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody: a persistent node.
    None,
    /// A session: an ephemeral.
    Session(i64),
    /// Goes when its last child has gone.
    Container,
    /// Goes when it had neither children nor new data for this many ms.
    Ttl(i64),
}

/// Which extended owners exist. Off by default, as in ZooKeeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnerRules {
    /// `extendedTypesEnabled`: TTL nodes exist. If not, such an owner is taken for a session.
    pub extended_types: bool,
    /// `emulate353TTLNodes`: with extended types, every negative owner but the container's is a TTL in 3.5.3's layout.
    pub emulate_353: bool,
}

impl OwnerRules {
    /// The kind that a stored owner stands for. A reserved extended feature, an error in ZooKeeper, counts as a session.
    pub fn classify(self, stored: i64) -> Owner {
        let bits = stored as u64;
        if stored == 0 {
            Owner::None
        } else if stored == CONTAINER {
            Owner::Container
        } else if self.extended_types && self.emulate_353 && stored < 0 {
            // Whatever the layout, ZooKeeper reads the ttl from the low 40 bits.
            Owner::Ttl(stored & TTL_MAX_MS)
        } else if self.extended_types && bits & EXTENDED_MASK == EXTENDED_MASK && bits & FEATURE_MASK == 0 {
            Owner::Ttl(stored & TTL_MAX_MS)
        } else {
            Owner::Session(stored)
        }
    }

    /// The owner that is stored for a TTL of `ttl_ms`, which prep has checked. 3.5.3's layout is read, never written.
    pub fn ttl_owner(self, ttl_ms: i64) -> i64 {
        (EXTENDED_MASK as i64) | (ttl_ms & TTL_MAX_MS)
    }

    /// The owner as clients see it: a session or 0.
    pub fn shown(self, stored: i64) -> i64 {
        match self.classify(stored) {
            Owner::Session(session) => session,
            Owner::None | Owner::Container | Owner::Ttl(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart() {
        let off = OwnerRules::default();
        let on = OwnerRules { extended_types: true, emulate_353: false };
        let old = OwnerRules { extended_types: true, emulate_353: true };
        assert_eq!(on.classify(0), Owner::None);
        assert_eq!(on.classify(CONTAINER), Owner::Container);
        assert_eq!(old.classify(CONTAINER), Owner::Container);
        let ttl = on.ttl_owner(5000);
        assert_eq!(ttl as u64, 0xff00_0000_0000_1388);
        assert_eq!(on.classify(ttl), Owner::Ttl(5000));
        assert_eq!(on.shown(ttl), 0);
        assert_eq!(off.classify(ttl), Owner::Session(ttl), "without extended types it is a plain owner");
        assert_eq!(old.classify(i64::MIN | 7), Owner::Ttl(7));
        assert_eq!(old.classify(old.ttl_owner(7)), Owner::Ttl(7));
        assert_eq!(on.classify(0x0100_0000_0000_0001), Owner::Session(0x0100_0000_0000_0001));
    }
}
