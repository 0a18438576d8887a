//! Which sets of members may decide: any rule will do under which two such sets always share a member.

use std::collections::BTreeSet;

use super::Member;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// So many members, whichever.
    AtLeast(usize),
    /// Groups of members with weights: more than half of the groups, each with more than half of its weight. A member
    /// without weight follows and has no say.
    Groups(Vec<Vec<(Member, u64)>>),
}

impl Rule {
    /// More than half of so many.
    pub fn majority(members: usize) -> Self {
        Self::AtLeast(members / 2 + 1)
    }

    /// Whether these may decide.
    pub fn is_quorum(&self, set: &BTreeSet<Member>) -> bool {
        match self {
            Self::AtLeast(count) => set.len() >= *count,
            Self::Groups(groups) => {
                let total = |group: &[(Member, u64)]| group.iter().map(|(_, weight)| weight).sum::<u64>();
                let here = |group: &[(Member, u64)]| {
                    group.iter().filter(|(member, _)| set.contains(member)).map(|(_, weight)| weight).sum::<u64>()
                };
                // A group without weight can't be won, so it doesn't count.
                let groups = groups.iter().filter(|group| total(group) > 0);
                let (won, all) = groups
                    .fold((0, 0), |(won, all), group| (won + usize::from(2 * here(group) > total(group)), all + 1));
                2 * won > all
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_won_by_weight_and_counted_by_number() {
        let rule = Rule::Groups(vec![vec![(0, 1), (1, 1), (2, 1)], vec![(3, 3), (4, 1)], vec![(5, 1)], vec![(6, 0)]]);
        let is_quorum = |members: &[Member]| rule.is_quorum(&members.iter().copied().collect());
        assert!(is_quorum(&[0, 1, 3]) && is_quorum(&[3, 5]));
        assert!(!is_quorum(&[0, 3, 4]) && !is_quorum(&[0, 1, 2, 4, 6]));
    }

    #[test]
    fn two_quorums_share_a_member() {
        let rules = [
            Rule::majority(7),
            Rule::Groups(vec![vec![(0, 2), (1, 1)], vec![(2, 1), (3, 1), (4, 1)], vec![(5, 1), (6, 0)]]),
        ];
        for rule in rules {
            let sets = (0_u32..128).map(|bits| (0..7).filter(|member| bits & (1 << member) != 0).collect());
            let quorums: Vec<BTreeSet<Member>> = sets.filter(|set| rule.is_quorum(set)).collect();
            assert!(!quorums.is_empty());
            for one in &quorums {
                assert!(quorums.iter().all(|other| !one.is_disjoint(other)));
            }
        }
    }
}
