//! Quorums: which sets of servers decide for all.
//!
//! Invariant  any two quorums share a server, and a set that holds a quorum is one. Zab's safety rests on the first alone.
//! Absent     the oracle of ensembles of two: such an ensemble has no member of ours.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ids::Sid;

/// The rule of one configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    voters: BTreeSet<Sid>,
    rule: Rule,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Rule {
    /// More than half of the voters.
    Majority,
    /// In more than half of the groups, more than half of the group's weight. Groups without weight are not listed.
    Hierarchical { groups: Box<[Group]>, weights: BTreeMap<Sid, u64> },
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    members: Box<[(Sid, u64)]>,
    /// Of all members, whether they vote or not. Wider than a weight, so that no sum of them overflows.
    weight: u128,
}

impl Verifier {
    /// More than half of `voters` is a quorum; of no voters nothing is.
    pub fn majority(voters: BTreeSet<Sid>) -> Verifier {
        Verifier { voters, rule: Rule::Majority }
    }

    /// Groups of servers with weights; a server that is not in `weights` has 1. Voters in no group count nowhere.
    pub fn hierarchical(
        voters: BTreeSet<Sid>,
        groups: &BTreeMap<u64, BTreeSet<Sid>>,
        weights: &BTreeMap<Sid, u64>,
    ) -> Verifier {
        let weigh = |sid: &Sid| (*sid, weights.get(sid).copied().unwrap_or(1));
        let group = |members: &BTreeSet<Sid>| {
            let members: Box<[(Sid, u64)]> = members.iter().map(weigh).collect();
            let weight = members.iter().map(|(_, weight)| u128::from(*weight)).sum();
            Group { members, weight }
        };
        let groups: Vec<Group> = groups.values().map(group).filter(|group| group.weight > 0).collect();
        let weights = voters.iter().map(weigh).collect();
        Verifier { voters, rule: Rule::Hierarchical { groups: groups.into(), weights } }
    }

    /// Whether `sids`, in any order and possibly repeated, hold a quorum. Those who do not vote do not count.
    pub fn contains_quorum(&self, sids: impl IntoIterator<Item = Sid>) -> bool {
        let sids: BTreeSet<Sid> = sids.into_iter().collect();
        self.is_quorum(|sid| sids.contains(&sid))
    }

    /// Whether the voters for which `contains` is true are a quorum. Allocates nothing; asks once or not at all per voter.
    pub fn is_quorum(&self, contains: impl Fn(Sid) -> bool) -> bool {
        match &self.rule {
            Rule::Majority => self.voters.iter().filter(|sid| contains(**sid)).count() > self.voters.len() / 2,
            Rule::Hierarchical { groups, .. } => {
                let won = groups.iter().filter(|group| {
                    let ours = group.members.iter().filter(|(sid, _)| self.voters.contains(sid) && contains(*sid));
                    ours.map(|(_, weight)| u128::from(*weight)).sum::<u128>() > group.weight / 2
                });
                won.count() > groups.len() / 2
            }
        }
    }

    /// What `sid` weighs. With majorities everybody has 1, even those who do not vote; a server of weight 0 is never elected
    /// by others.
    pub fn weight(&self, sid: Sid) -> u64 {
        match &self.rule {
            Rule::Majority => 1,
            Rule::Hierarchical { weights, .. } => weights.get(&sid).copied().unwrap_or(0),
        }
    }

    /// Whether `sid` votes.
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.voters.contains(&sid)
    }

    /// Everybody who votes.
    pub fn voters(&self) -> &BTreeSet<Sid> {
        &self.voters
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;

    fn sids(raw: impl IntoIterator<Item = u64>) -> BTreeSet<Sid> {
        raw.into_iter().map(Sid::new).collect()
    }

    fn contains(verifier: &Verifier, raw: impl IntoIterator<Item = u64>) -> bool {
        verifier.contains_quorum(raw.into_iter().map(Sid::new))
    }

    fn grouped(groups: &[&[u64]], weights: &[(u64, u64)]) -> Verifier {
        let voters = sids(groups.iter().copied().flatten().copied());
        let groups = groups.iter().zip(1..).map(|(group, id)| (id, sids(group.iter().copied()))).collect();
        let weights = weights.iter().map(|(sid, weight)| (Sid::new(*sid), *weight)).collect();
        Verifier::hierarchical(voters, &groups, &weights)
    }

    #[test]
    fn a_majority_is_more_than_half() {
        let four = Verifier::majority(sids(1..=4));
        assert!(!contains(&four, [1, 2]));
        assert!(contains(&four, [1, 2, 4]));
        assert!(!contains(&Verifier::majority(sids([])), []), "nobody decides nothing");
    }

    #[test]
    fn neither_strangers_nor_repetitions_count() {
        let three = Verifier::majority(sids(1..=3));
        assert!(!contains(&three, [1, 1, 1]));
        assert!(!contains(&three, [1, 8, 9]));
        assert_eq!(three.weight(Sid::new(9)), 1, "with majorities everybody weighs 1");
    }

    #[test]
    fn a_hierarchy_needs_most_of_most_groups() {
        let nine = grouped(&[&[1, 2, 3], &[4, 5, 6], &[7, 8, 9]], &[]);
        assert!(contains(&nine, [1, 2, 4, 5]));
        assert!(!contains(&nine, [1, 2, 4, 7]), "one group is not enough");
        assert!(!contains(&nine, 1..=3));
    }

    #[test]
    fn groups_without_weight_do_not_count() {
        let light = grouped(&[&[1, 2, 3], &[4, 5]], &[(4, 0), (5, 0)]);
        assert!(contains(&light, [1, 2]));
        assert!(!contains(&light, [4, 5]));
        assert_eq!((light.weight(Sid::new(4)), light.weight(Sid::new(1))), (0, 1));
    }

    #[test]
    fn weights_outweigh_numbers() {
        let heavy = grouped(&[&[1, 2, 3]], &[(1, u64::MAX), (2, u64::MAX), (3, u64::MAX - 1)]);
        assert!(contains(&heavy, [1, 2]));
        assert!(!contains(&heavy, [1]));
        let one = grouped(&[&[1, 2, 3]], &[(1, 3)]);
        assert!(contains(&one, [1]) && !contains(&one, [2, 3]));
    }

    #[test]
    fn observers_in_a_group_weigh_it_down_and_do_not_vote() {
        let groups = [(1, sids(1..=3))].into();
        let two_voters = Verifier::hierarchical(sids([1, 2]), &groups, &[(Sid::new(3), 2)].into());
        assert!(!contains(&two_voters, [1, 2, 3]), "two of four are not more than half");
    }

    fn verifiers() -> impl Strategy<Value = Verifier> {
        let majority = btree_set(0u64..8, 0..8).prop_map(|voters| Verifier::majority(sids(voters)));
        // Every sid has one group; groups and weights are few, so that ties are frequent.
        let hierarchical =
            (btree_map(0u64..8, 0u64..3, 0..8), btree_map(0u64..8, 0u64..4, 0..8), btree_set(0u64..8, 0..9));
        let hierarchical = hierarchical.prop_map(|(homes, weights, voters)| {
            let mut groups = BTreeMap::<u64, BTreeSet<Sid>>::new();
            for (sid, group) in homes {
                groups.entry(group).or_default().insert(Sid::new(sid));
            }
            let weights = weights.into_iter().map(|(sid, weight)| (Sid::new(sid), weight)).collect();
            Verifier::hierarchical(sids(voters), &groups, &weights)
        });
        prop_oneof![majority, hierarchical]
    }

    /// The subset of sids 0..8 that a byte names.
    fn subset(bits: u8) -> impl Iterator<Item = u64> + Clone {
        (0..8).filter(move |sid| bits & (1 << sid) != 0)
    }

    proptest! {
        #[test]
        fn two_quorums_share_a_voter(verifier in verifiers()) {
            // All subsets: two disjoint quorums exist iff some set and the rest are both quorums.
            for bits in 0..=u8::MAX {
                prop_assert!(!(contains(&verifier, subset(bits)) && contains(&verifier, subset(!bits))), "{bits:b}");
            }
        }

        #[test]
        fn what_holds_a_quorum_is_one(verifier in verifiers(), bits: u8, more: u8) {
            if contains(&verifier, subset(bits)) {
                prop_assert!(contains(&verifier, subset(bits | more)));
            }
        }
    }
}
