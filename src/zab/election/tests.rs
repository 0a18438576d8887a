//! One election, message by message. `network` has many at once.

mod network;

use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::*;

pub(super) fn sid(raw: u64) -> Sid {
    Sid::new(raw)
}

/// Voters 1 to `voters` and observers behind them.
pub(super) fn config(voters: u64, observers: u64, version: u64) -> Arc<EnsembleConfig> {
    let line = |sid| format!("server.{sid}=h{sid}:1:2:{}\n", if sid <= voters { "participant" } else { "observer" });
    let lines: String = (1..=voters + observers).map(line).collect();
    Arc::new(EnsembleConfig::parse(&format!("{lines}version={version:x}")).unwrap())
}

pub(super) fn candidacy(epoch: u32, counter: u32) -> Candidacy {
    let current_epoch = Epoch::new(epoch);
    Candidacy { last: Some(Zxid::new(current_epoch, counter)), current_epoch }
}

fn vote(leader: u64, epoch: u32, counter: u32) -> Vote {
    Vote::new(sid(leader), Zxid::new(Epoch::new(epoch), counter), Epoch::new(epoch))
}

/// As Java sends it.
fn says(state: PeerState, vote: Vote, round: i64) -> Notification {
    Notification { state, vote, round, version: 2, config: None, is_ringkeeper: false }
}

fn looking(vote: Vote, round: i64) -> Notification {
    says(PeerState::Looking, vote, round)
}

const START: Millis = Millis::new(1_000_000);

/// An election and what it last wanted.
struct Probe {
    election: Election,
    now: Millis,
    out: Vec<ElectionAction>,
}

impl Probe {
    fn of(me: u64, config: Arc<EnsembleConfig>, candidacy: Candidacy) -> Probe {
        let election = Election::new(sid(me), config, None, candidacy, ElectionSettings::default());
        Probe { election, now: START, out: Vec::new() }
    }

    /// Server `me` of three voters and an observer, with history up to 1.5, looking in round 1.
    fn looking(me: u64) -> Probe {
        let mut probe = Probe::of(me, config(3, 1, 0), candidacy(1, 5));
        probe.start();
        probe
    }

    fn start(&mut self) {
        self.out.clear();
        self.election.start(candidacy(1, 5), self.now, &mut self.out);
    }

    fn hears(&mut self, from: u64, notification: &Notification) -> &mut Probe {
        self.out.clear();
        self.election.on_notification(sid(from), notification, self.now, &mut self.out);
        self
    }

    fn after(&mut self, ms: i64) -> &mut Probe {
        self.out.clear();
        self.now = self.now.plus(ms);
        self.election.on_tick(self.now, &mut self.out);
        self
    }

    /// Whom it told what: receiver, state, vote, round.
    fn told(&self) -> Vec<(u64, PeerState, Vote, i64)> {
        let sent = self.out.iter().filter_map(|action| match action {
            ElectionAction::Send { to, notification } => {
                Some((to.to_u64(), notification.state, notification.vote, notification.round))
            }
            _ => None,
        });
        sent.collect()
    }

    fn elected(&self) -> Option<(u64, i64)> {
        self.out.iter().find_map(|action| match action {
            ElectionAction::Elected { leader, round, .. } => Some((leader.to_u64(), *round)),
            _ => None,
        })
    }
}

#[test]
fn the_first_vote_is_for_oneself_and_goes_to_all_voters() {
    let probe = Probe::looking(2);
    let mine = vote(2, 1, 5);
    assert_eq!(probe.told(), [(1, PeerState::Looking, mine, 1), (3, PeerState::Looking, mine, 1)]);
    let ElectionAction::Send { notification, .. } = &probe.out[0] else { panic!("nothing was sent") };
    assert_eq!(notification.config.as_deref(), Some(&*config(3, 1, 0).to_text()));
    assert_eq!((notification.version, notification.is_ringkeeper), (2, true));
}

#[test]
fn an_observer_votes_for_nobody_and_asks_all_voters() {
    let mut probe = Probe::looking(4);
    let told = probe.told();
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(told.iter().all(|told| told.2 == Vote::NONE));
    probe.hears(1, &says(PeerState::Following, vote(3, 2, 0), 7));
    assert_eq!(probe.hears(3, &says(PeerState::Leading, vote(3, 2, 0), 7)).elected(), Some((3, 7)));
    assert_eq!(probe.election.state(), PeerState::Observing);
}

#[test]
fn a_better_vote_is_adopted_and_passed_on() {
    let mut probe = Probe::looking(2);
    let better = vote(1, 1, 6);
    probe.hears(1, &looking(better, 1));
    assert_eq!(probe.told(), [(1, PeerState::Looking, better, 1), (3, PeerState::Looking, better, 1)]);
    assert_eq!(probe.hears(3, &looking(vote(3, 1, 4), 1)).told(), [], "a worse one is only counted");
}

#[test]
fn a_quorum_waits_200_ms_for_a_better_vote() {
    let mut probe = Probe::looking(3);
    assert_eq!(probe.hears(1, &looking(vote(3, 1, 5), 1)).elected(), None);
    assert_eq!(probe.election.next_deadline(), Some(START.plus(200)));
    assert_eq!(probe.after(199).elected(), None);
    assert_eq!(probe.after(1).elected(), Some((3, 1)));
    assert_eq!(probe.election.state(), PeerState::Leading);
    assert_eq!(probe.election.next_deadline(), None);
}

#[test]
fn a_better_vote_during_the_wait_begins_it_anew() {
    let mut probe = Probe::looking(1);
    probe.hears(2, &looking(vote(2, 1, 5), 1));
    probe.after(150).hears(3, &looking(vote(3, 1, 5), 1));
    assert_eq!(probe.after(100).elected(), None);
    assert_eq!(probe.after(100).elected(), Some((3, 1)));
    assert_eq!(probe.election.state(), PeerState::Following);
}

#[test]
fn a_later_round_is_taken_over_with_ones_own_vote_when_that_is_better() {
    let mut probe = Probe::looking(2);
    probe.hears(1, &looking(vote(1, 1, 4), 9));
    let mine = vote(2, 1, 5);
    assert_eq!(probe.told(), [(1, PeerState::Looking, mine, 9), (3, PeerState::Looking, mine, 9)]);
    assert_eq!(probe.election.round(), 9);
}

#[test]
fn a_later_round_forgets_what_was_better_in_the_last() {
    let mut probe = Probe::looking(2);
    probe.hears(3, &looking(vote(3, 4, 0), 1));
    assert_eq!(probe.election.proposal(), vote(3, 4, 0));
    probe.hears(1, &looking(vote(1, 1, 4), 2));
    assert_eq!(probe.election.proposal(), vote(2, 1, 5));
}

#[test]
fn an_earlier_round_is_answered_and_not_counted() {
    let mut probe = Probe::looking(2);
    probe.hears(1, &looking(vote(1, 1, 4), 5));
    probe.hears(3, &looking(vote(3, 9, 9), 4));
    assert_eq!(probe.told(), [(3, PeerState::Looking, vote(2, 1, 5), 5)]);
    assert_eq!(probe.election.proposal(), vote(2, 1, 5));
}

#[test]
fn who_abstains_is_ignored_with_its_round() {
    let mut probe = Probe::looking(2);
    let abstaining = Vote { zxid: -1, ..vote(3, 9, 0) };
    assert_eq!(probe.hears(3, &looking(abstaining, 8)).told(), []);
    assert_eq!((probe.election.round(), probe.election.proposal()), (1, vote(2, 1, 5)));
}

#[test]
fn who_abstains_elects_nobody_and_still_joins_a_leader() {
    let lost = Candidacy { last: None, current_epoch: Epoch::new(0) };
    let mut probe = Probe::of(1, config(3, 0, 0), lost);
    probe.election.start(lost, START, &mut probe.out);
    assert_eq!(probe.told()[0].2.zxid, -1);
    probe.hears(2, &looking(vote(3, 1, 5), 1));
    probe.hears(3, &looking(vote(3, 1, 5), 1));
    assert_eq!(probe.after(5000).elected(), None);
    probe.hears(2, &says(PeerState::Following, vote(3, 2, 0), 1));
    assert_eq!(probe.hears(3, &says(PeerState::Leading, vote(3, 2, 0), 1)).elected(), Some((3, 1)));
}

#[test]
fn an_established_leader_must_say_so_itself() {
    let five = config(5, 0, 0);
    let mut probe = Probe::of(1, five, candidacy(1, 5));
    probe.start();
    for from in [2, 3, 5] {
        assert_eq!(probe.hears(from, &says(PeerState::Following, vote(4, 2, 0), 6)).elected(), None);
    }
    assert_eq!(probe.hears(4, &says(PeerState::Leading, vote(4, 2, 0), 6)).elected(), Some((4, 6)));
    assert_eq!((probe.election.round(), probe.election.state()), (6, PeerState::Following));
}

#[test]
fn who_has_a_leader_is_counted_whatever_its_round_and_zxid() {
    let mut probe = Probe::looking(1);
    probe.hears(2, &says(PeerState::Following, vote(3, 2, 7), 6));
    assert_eq!(probe.hears(3, &says(PeerState::Leading, vote(3, 2, 0), 4)).elected(), Some((3, 4)));
}

#[test]
fn different_epochs_make_no_quorum_in_different_rounds() {
    let mut probe = Probe::looking(1);
    probe.hears(2, &says(PeerState::Following, vote(3, 1, 7), 6));
    assert_eq!(probe.hears(3, &says(PeerState::Leading, vote(3, 2, 0), 6)).elected(), None);
    assert_eq!(probe.hears(2, &says(PeerState::Following, vote(3, 2, 7), 6)).elected(), Some((3, 6)));
}

#[test]
fn within_a_round_the_leader_alone_decides() {
    let mut probe = Probe::looking(1);
    probe.hears(2, &says(PeerState::Following, vote(3, 1, 7), 1));
    assert_eq!(probe.hears(3, &says(PeerState::Leading, vote(3, 2, 0), 1)).elected(), Some((3, 1)));
}

#[test]
fn nobody_takes_up_a_leadership_of_an_earlier_round() {
    let mut probe = Probe::looking(3);
    probe.hears(1, &says(PeerState::Following, vote(3, 1, 5), 7));
    assert_eq!(probe.hears(2, &says(PeerState::Following, vote(3, 1, 5), 7)).elected(), None);
    let mut probe = Probe::looking(3);
    let follows_in_ours = says(PeerState::Following, vote(3, 1, 5), 1);
    assert_eq!(probe.hears(1, &follows_in_ours).elected(), Some((3, 1)), "with our own vote that is a quorum");
    assert_eq!(probe.election.state(), PeerState::Leading);
}

#[test]
fn observers_and_votes_for_strangers_do_not_count() {
    let mut probe = Probe::looking(1);
    let before = probe.election.proposal();
    probe.hears(2, &looking(vote(4, 9, 9), 1));
    probe.hears(2, &looking(vote(99, 9, 9), 1));
    probe.hears(2, &looking(Vote::NONE, 1));
    probe.hears(2, &says(PeerState::Observing, vote(3, 9, 9), 1));
    assert_eq!((probe.election.proposal(), probe.told()), (before, vec![]));
}

#[test]
fn strangers_and_observers_are_always_answered() {
    for from in [4, 77] {
        let mut probe = Probe::looking(2);
        let question = looking(Vote::NONE, 9);
        probe.hears(1, &looking(vote(2, 1, 5), 3));
        assert_eq!(probe.hears(from, &question).told(), [(from, PeerState::Looking, vote(2, 1, 5), 3)]);
        assert_eq!(probe.election.round(), 3, "a stranger's round is none of ours");
        probe.after(200);
        probe.election.refresh_epoch(Epoch::new(2));
        let mine = Vote { epoch: 2, ..vote(2, 1, 5) };
        assert_eq!(probe.hears(from, &question).told(), [(from, PeerState::Leading, mine, 3)]);
        probe.hears(from, &says(PeerState::Following, vote(2, 2, 0), 1));
        assert_eq!(probe.told().len(), 1, "whatever their state");
    }
}

#[test]
fn observers_of_ours_hear_of_the_end_without_asking_again() {
    let mut probe = Probe::looking(3);
    probe.hears(4, &ours(looking(Vote::NONE, 1)));
    probe.hears(77, &looking(Vote::NONE, 1));
    probe.hears(1, &looking(vote(3, 1, 5), 1));
    probe.after(200);
    assert_eq!(probe.told(), [(4, PeerState::Leading, vote(3, 1, 5), 1)]);
    probe.start();
    probe.hears(1, &looking(vote(3, 1, 5), 2));
    assert_eq!(probe.after(200).told(), [], "once");
}

#[test]
fn an_observer_believes_nobody_who_looks() {
    let mut probe = Probe::looking(4);
    for from in [1, 2, 3] {
        probe.hears(from, &looking(vote(3, 1, 5), 6));
    }
    assert_eq!((probe.election.round(), probe.after(10_000).elected()), (6, None));
}

#[test]
fn strangers_cannot_make_us_answer_for_ever() {
    let mut probe = Probe::looking(2);
    let question = looking(Vote::NONE, 9);
    let answered = |probe: &mut Probe| (0..5000).filter(|_| !probe.hears(77, &question).out.is_empty()).count();
    assert_eq!(answered(&mut probe), STRANGER_ANSWERS_MAX as usize);
    probe.now = probe.now.plus(STRANGER_WINDOW_MS);
    assert_eq!(answered(&mut probe), STRANGER_ANSWERS_MAX as usize);
}

#[test]
fn with_a_leader_only_those_who_look_are_answered() {
    let mut probe = Probe::looking(3);
    probe.hears(1, &looking(vote(3, 1, 5), 1));
    probe.after(200);
    probe.election.refresh_epoch(Epoch::new(2));
    let mine = Vote { epoch: 2, ..vote(3, 1, 5) };
    assert_eq!(probe.hears(1, &looking(vote(1, 9, 9), 8)).told(), [(1, PeerState::Leading, mine, 1)]);
    assert_eq!(probe.hears(1, &says(PeerState::Following, vote(1, 9, 9), 8)).told(), []);
    assert_eq!((probe.election.round(), probe.election.state()), (1, PeerState::Leading));
}

#[test]
fn the_vote_is_sent_again_ever_more_rarely() {
    let mut probe = Probe::looking(2);
    let mut waits = vec![];
    for _ in 0..11 {
        let at = probe.election.next_deadline().unwrap();
        waits.push(at.to_i64() - probe.now.to_i64());
        probe.after(waits[waits.len() - 1]);
        assert_eq!((probe.told().len(), &probe.out[0]), (2, &ElectionAction::ConnectAll));
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    probe.start();
    assert_eq!(probe.election.next_deadline(), Some(probe.now.plus(200)), "the next election begins anew");
}

#[test]
fn rounds_count_on_to_the_end_of_numbers() {
    let mut probe = Probe::looking(2);
    probe.hears(1, &looking(vote(1, 1, 4), i64::MAX));
    probe.start();
    assert_eq!(probe.election.round(), i64::MAX);
    probe.hears(1, &looking(vote(1, 1, 4), i64::MIN));
    assert_eq!(probe.told().len(), 1);
}

#[test]
fn what_is_heard_between_two_elections_is_counted_in_the_next() {
    let mut probe = Probe::of(3, config(3, 0, 0), candidacy(1, 5));
    for _ in 0..100 {
        probe.hears(1, &looking(vote(3, 1, 5), 1));
    }
    assert_eq!(probe.out, []);
    probe.start();
    assert_eq!(probe.after(200).elected(), Some((3, 1)));
}

#[test]
fn a_server_without_weight_is_elected_by_nobody_else() {
    let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2:3\nweight.3=0\nversion=0";
    let mut probe = Probe::of(1, Arc::new(EnsembleConfig::parse(text).unwrap()), candidacy(1, 5));
    probe.start();
    probe.hears(3, &looking(vote(3, 9, 9), 1));
    assert_eq!(probe.election.proposal(), vote(1, 1, 5));
}

#[test]
fn one_voter_elects_itself_at_once() {
    let mut probe = Probe::of(1, config(1, 0, 0), candidacy(1, 5));
    probe.start();
    assert_eq!(probe.elected(), Some((1, 1)));
}

#[test]
fn a_vote_that_only_the_proposed_members_have_must_convince_both() {
    let proposed = config(5, 0, 6);
    let settings = ElectionSettings::default();
    let mut election = Election::new(sid(3), config(3, 0, 5), Some(proposed), candidacy(1, 5), settings);
    let mut out = vec![];
    election.start(candidacy(1, 5), START, &mut out);
    assert_eq!(out.len(), 4, "members of both are asked");
    election.on_notification(sid(1), &looking(vote(3, 1, 5), 1), START, &mut out);
    assert_eq!(election.next_deadline(), Some(START.plus(200)), "that is the resend's");
    out.clear();
    election.on_tick(START.plus(200), &mut out);
    assert!(!out.iter().any(|action| matches!(action, ElectionAction::Elected { .. })), "two of five are no quorum");
    election.on_notification(sid(5), &looking(vote(3, 1, 5), 1), START.plus(200), &mut out);
    election.on_tick(START.plus(400), &mut out);
    assert!(out.iter().any(|action| matches!(action, ElectionAction::Elected { .. })));
}

/// As one of us sends it.
fn ours(notification: Notification) -> Notification {
    Notification { is_ringkeeper: true, ..notification }
}

#[test]
fn among_ourselves_nobody_waits_once_all_agree() {
    let mut probe = Probe::looking(3);
    let agreed = ours(looking(vote(3, 1, 5), 1));
    assert_eq!(probe.hears(1, &agreed).elected(), None, "the second has not voted");
    assert_eq!(probe.hears(2, &agreed).elected(), Some((3, 1)));
}

/// Who still had a leader when our vote came has dropped it, and would hear it again after 200 ms only.
#[test]
fn who_votes_worse_than_we_have_told_it_is_told_again() {
    let mut probe = Probe::looking(2);
    probe.hears(1, &ours(looking(vote(1, 1, 5), 1)));
    assert_eq!(probe.told(), [(1, PeerState::Looking, vote(2, 1, 5), 1)]);
    assert_eq!(probe.hears(3, &looking(vote(1, 1, 5), 1)).told(), [], "Java is not");
}

#[test]
fn who_follows_already_has_voted() {
    let mut probe = Probe::looking(2);
    probe.hears(3, &ours(looking(vote(3, 1, 5), 1)));
    let follows = ours(says(PeerState::Following, Vote { epoch: 2, ..vote(3, 1, 5) }, 1));
    assert_eq!(probe.hears(1, &follows).elected(), Some((3, 1)));
}

#[test]
fn nobody_waits_for_those_that_cannot_be_reached() {
    let agreed = ours(looking(vote(3, 1, 5), 1));
    let mut probe = Probe::looking(3);
    probe.hears(1, &agreed);
    probe.election.on_reachable(sid(2), false, probe.now, &mut probe.out);
    assert_eq!(probe.elected(), Some((3, 1)));
    let mut probe = Probe::looking(3);
    probe.election.on_suspect(sid(2), probe.now, &mut probe.out);
    assert_eq!(probe.hears(1, &agreed).elected(), Some((3, 1)));
}

#[test]
fn whoever_is_heard_is_waited_for_again() {
    let mut probe = Probe::looking(3);
    probe.election.on_suspect(sid(2), probe.now, &mut probe.out);
    probe.hears(2, &ours(looking(vote(2, 1, 4), 1)));
    assert_eq!(probe.hears(1, &ours(looking(vote(3, 1, 5), 1))).elected(), None);
    probe.election.on_suspect(sid(2), probe.now, &mut probe.out);
    probe.election.on_reachable(sid(2), true, probe.now, &mut probe.out);
    assert_eq!(probe.hears(1, &ours(looking(vote(3, 1, 5), 1))).elected(), None);
}

#[test]
fn one_java_voter_brings_the_wait_back() {
    let mut probe = Probe::looking(3);
    probe.hears(1, &looking(vote(3, 1, 5), 1));
    assert_eq!(probe.hears(2, &ours(looking(vote(3, 1, 5), 1))).elected(), None);
    assert_eq!(probe.after(200).elected(), Some((3, 1)));
}

#[test]
fn a_leader_that_cannot_be_reached_is_not_elected_in_haste() {
    let mut probe = Probe::looking(1);
    for from in [2, 3] {
        probe.hears(from, &looking(vote(3, 1, 5), 1));
    }
    probe.election.on_suspect(sid(3), probe.now, &mut probe.out);
    assert_eq!(probe.elected(), None);
}

fn with_config(notification: Notification, config: &EnsembleConfig) -> Notification {
    Notification { config: Some(config.to_text().into()), ..notification }
}

#[test]
fn a_newer_configuration_is_handed_up_once_where_that_is_wanted() {
    let (newer, notification) = (config(5, 0, 7), with_config(looking(vote(3, 9, 9), 1), &config(5, 0, 7)));
    let mut probe = Probe::looking(1);
    probe.hears(3, &notification);
    assert_eq!(probe.election.proposal(), vote(3, 9, 9), "where it is not, the vote counts as ever");
    let mut probe = Probe::looking(1);
    probe.election.settings.takes_newer_config = true;
    assert_eq!(probe.hears(3, &notification).out, [ElectionAction::NewerConfig(newer.clone())]);
    probe.hears(3, &notification);
    assert_eq!(probe.election.proposal(), vote(3, 9, 9), "it was not accepted, so the election goes on");
    probe.out.clear();
    probe.election.on_config(newer, None, probe.now, &mut probe.out);
    assert_eq!((probe.told().len(), probe.election.round()), (4, 1), "it was, so it begins anew");
}

#[test]
fn the_same_members_under_a_newer_version_disturb_nothing() {
    let mut probe = Probe::looking(1);
    probe.election.settings.takes_newer_config = true;
    probe.hears(3, &with_config(looking(vote(3, 9, 9), 1), &config(3, 1, 7)));
    assert!(matches!(probe.out[0], ElectionAction::NewerConfig(_)));
    assert_eq!(probe.election.proposal(), vote(3, 9, 9));
    probe.out.clear();
    probe.election.on_config(config(3, 1, 7), None, probe.now, &mut probe.out);
    assert_eq!((probe.out.len(), probe.election.proposal()), (0, vote(3, 9, 9)));
}

#[test]
fn configurations_that_are_old_broken_or_come_late_are_ignored() {
    let mut probe = Probe::looking(1);
    probe.election.settings.takes_newer_config = true;
    let broken = Notification { config: Some("server.1=?".into()), ..looking(vote(2, 1, 6), 1) };
    probe.hears(2, &broken);
    assert_eq!(probe.election.proposal(), vote(2, 1, 6), "the rest still counts");
    probe.hears(3, &with_config(looking(vote(3, 1, 7), 1), &config(9, 0, 0)));
    assert_eq!(probe.election.proposal(), vote(3, 1, 7));
    probe.hears(2, &looking(vote(3, 1, 7), 1));
    assert!(probe.after(200).elected().is_some());
    assert_eq!(probe.hears(3, &with_config(looking(vote(3, 1, 7), 1), &config(5, 0, 7))).told().len(), 1);
    assert_eq!(probe.out.len(), 1);
}

#[test]
fn a_designated_leader_is_taken_without_an_election() {
    let mut probe = Probe::looking(1);
    probe.election.designate(sid(3), Zxid::new(Epoch::new(2), 9));
    assert_eq!(probe.election.state(), PeerState::Following);
    let told = probe.hears(2, &looking(vote(2, 1, 5), 4)).told();
    assert_eq!((told[0].1, told[0].2.leader, told[0].3), (PeerState::Following, 3, -1));
    probe.election.designate(sid(1), Zxid::new(Epoch::new(2), 9));
    assert_eq!((probe.election.state(), probe.election.next_deadline()), (PeerState::Leading, None));
}

#[test]
fn whoever_calls_itself_by_our_number_is_not_heard() {
    let mut probe = Probe::looking(2);
    assert_eq!(probe.hears(2, &looking(vote(2, 9, 9), 9)).out, []);
    assert_eq!(probe.election.round(), 1);
}
