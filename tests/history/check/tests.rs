//! Hand-made histories: a good one passes every rule, and each rule is seen to fail on one that breaks it alone.

use std::time::Duration;

use super::*;
use crate::ensemble::dump::Node;
use crate::wire::{Stat, code};

fn stat(czxid: i64, mzxid: i64, version: i32) -> Stat {
    Stat {
        czxid,
        mzxid,
        ctime: 0,
        mtime: 0,
        version,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 1,
        num_children: 0,
        pzxid: czxid,
    }
}

/// Collects calls, each one second long and behind the other unless told otherwise.
#[derive(Default)]
struct Story {
    history: History,
    end: Dump,
    clock: u64,
}

impl Story {
    fn call(&mut self, session: i64, request: Request, answer: Answer) -> &mut Call {
        let invoked = Duration::from_secs(self.clock);
        let returned = invoked + Duration::from_millis(500);
        self.clock += 1;
        self.history.calls.push(Call { session, member: 0, invoked, returned, request, answer });
        self.history.calls.last_mut().expect("just pushed")
    }

    fn create(&mut self, session: i64, path: &str, data: &str, zxid: i64) {
        let (is_ephemeral, is_sequential) = (path.starts_with("/ephemeral"), path.starts_with("/sequential"));
        let prefix = if is_sequential { path.trim_end_matches(|letter: char| letter.is_ascii_digit()) } else { path };
        let request = Request::Create { path: prefix.to_owned(), data: data.to_owned(), is_ephemeral, is_sequential };
        let mut made = stat(zxid, zxid, 0);
        made.ephemeral_owner = if is_ephemeral { session } else { 0 };
        self.call(session, request, Answer::Done { zxid, nodes: vec![(path.to_owned(), made)], data: None });
    }

    fn set(&mut self, session: i64, path: &str, data: &str, stat: Stat) -> &mut Call {
        let request = Request::Set { path: path.to_owned(), data: data.to_owned(), version: -1 };
        let nodes = vec![(path.to_owned(), stat)];
        self.call(session, request, Answer::Done { zxid: stat.mzxid, nodes, data: None })
    }

    fn lost_set(&mut self, session: i64, path: &str, data: &str) {
        let request = Request::Set { path: path.to_owned(), data: data.to_owned(), version: -1 };
        self.call(session, request, Answer::Lost);
    }

    fn delete(&mut self, session: i64, path: &str, zxid: i64) {
        let answer = Answer::Done { zxid, nodes: Vec::new(), data: None };
        self.call(session, Request::Delete { path: path.to_owned() }, answer);
    }

    fn get(&mut self, session: i64, path: &str, is_synced: bool, zxid: i64, seen: Option<(&str, Stat)>) {
        let answer = match seen {
            None => Answer::Refused { zxid, code: code::NO_NODE },
            Some((data, stat)) => {
                Answer::Done { zxid, nodes: vec![(path.to_owned(), stat)], data: Some(data.to_owned()) }
            }
        };
        self.call(session, Request::Get { path: path.to_owned(), is_synced }, answer);
    }

    fn ends(&mut self, path: &str, data: &str, stat: Stat) {
        let node = Node { data: Some(data.as_bytes().to_vec()), acl: Vec::new(), stat };
        self.end.nodes.insert(path.to_owned(), node);
    }

    /// The rule's word for what is broken, the only thing that is.
    fn breaks(&self, word: &str) {
        let broken = judge(&self.history, &self.end, Promises { sync_is_strict: true });
        assert_eq!(broken.len(), 1, "{broken:#?}");
        assert!(broken[0].contains(word), "{broken:#?}");
    }

    fn holds(&self) {
        assert_eq!(judge(&self.history, &self.end, Promises { sync_is_strict: true }), Vec::<String>::new());
    }
}

/// Two sessions, a node made, set, read, removed and made anew.
fn good() -> Story {
    let mut story = Story::default();
    story.create(1, "/key/0", "a", 10);
    story.set(2, "/key/0", "b", stat(10, 11, 1));
    story.get(1, "/key/0", true, 11, Some(("b", stat(10, 11, 1))));
    story.delete(1, "/key/0", 12);
    story.get(2, "/key/0", true, 12, None);
    story.create(2, "/key/0", "c", 13);
    story.create(1, "/sequential/n-0000000003", "d", 14);
    story.create(2, "/sequential/n-0000000004", "e", 15);
    story.create(1, "/ephemeral/x", "f", 16);
    story.ends("/key/0", "c", stat(13, 13, 0));
    story.ends("/sequential/n-0000000003", "d", stat(14, 14, 0));
    story.ends("/sequential/n-0000000004", "e", stat(15, 15, 0));
    let mut owned = stat(16, 16, 0);
    owned.ephemeral_owner = 1;
    story.ends("/ephemeral/x", "f", owned);
    story.history.alive = vec![1, 2];
    story.clock = 100;
    story
}

#[test]
fn a_good_history_holds() {
    good().holds();
}

#[test]
fn a_lost_write_may_be_there_or_not() {
    let mut story = good();
    story.lost_set(1, "/key/0", "g");
    story.holds();
    story.ends("/key/0", "g", stat(13, 17, 1));
    story.holds();
}

#[test]
fn a_lost_removal_may_be_there_or_not() {
    let mut story = good();
    story.call(1, Request::Delete { path: "/key/0".to_owned() }, Answer::Lost);
    story.holds();
    story.end.nodes.remove("/key/0");
    story.holds();
}

#[test]
fn writes_that_overlap_may_swap() {
    let mut story = good();
    story.create(1, "/key/1", "g", 31);
    story.create(2, "/key/2", "h", 30);
    let calls = story.history.calls.len();
    story.history.calls[calls - 1].invoked = story.history.calls[calls - 2].invoked;
    story.ends("/key/1", "g", stat(31, 31, 0));
    story.ends("/key/2", "h", stat(30, 30, 0));
    story.holds();
}

#[test]
fn an_order_against_real_time_is_found() {
    let mut story = good();
    story.create(1, "/key/1", "g", 31);
    story.create(2, "/key/2", "h", 30);
    story.ends("/key/1", "g", stat(31, 31, 0));
    story.ends("/key/2", "h", stat(30, 30, 0));
    story.breaks("real time");
}

#[test]
fn one_zxid_for_two_writes_is_found() {
    let mut story = good();
    story.create(1, "/key/1", "g", 30);
    story.create(2, "/key/2", "h", 30);
    let calls = story.history.calls.len();
    story.history.calls[calls - 1].invoked = story.history.calls[calls - 2].invoked;
    story.ends("/key/1", "g", stat(30, 30, 0));
    story.ends("/key/2", "h", stat(30, 30, 0));
    story.breaks("zxid 0x1e twice");
}

#[test]
fn a_number_given_twice_is_found() {
    let mut story = good();
    story.create(1, "/sequential/n-0000000004", "g", 30);
    story.ends("/sequential/n-0000000004", "g", stat(30, 30, 0));
    let broken = judge(&story.history, &story.end, Promises::default());
    assert!(broken.iter().any(|line| line.starts_with("numbers: ")), "{broken:#?}");
}

#[test]
fn a_version_given_twice_is_found() {
    let mut story = good();
    // The first of these was forgotten, and the second took its version.
    story.set(1, "/key/0", "g", stat(13, 30, 1));
    story.set(2, "/key/0", "h", stat(13, 31, 1));
    story.ends("/key/0", "h", stat(13, 31, 1));
    story.breaks("version 1 of /key/0 twice");
}

#[test]
fn a_conditional_write_at_another_version_is_found() {
    let mut story = good();
    let call = story.set(1, "/key/0", "g", stat(13, 30, 1));
    call.request = Request::Set { path: "/key/0".to_owned(), data: "g".to_owned(), version: 5 };
    story.ends("/key/0", "g", stat(13, 30, 1));
    story.breaks("was to be at version 5");
}

#[test]
fn a_version_that_nobody_made_is_found() {
    let mut story = good();
    story.set(1, "/key/0", "g", stat(13, 30, 2));
    story.ends("/key/0", "g", stat(13, 30, 2));
    story.breaks("1 writes without an acknowledgement");
}

#[test]
fn versions_against_the_zxids_are_found() {
    let mut story = good();
    story.set(1, "/key/0", "g", stat(13, 31, 1));
    let second = story.set(2, "/key/0", "h", stat(13, 30, 2));
    // They overlap, so that only the versions speak.
    second.invoked = Duration::from_secs(100);
    story.ends("/key/0", "g", stat(13, 31, 1));
    story.breaks("behind 0x1f");
}

#[test]
fn two_lives_at_once_are_found() {
    let mut story = good();
    story.get(2, "/key/0", false, 16, Some(("b", stat(10, 11, 1))));
    let broken = judge(&story.history, &story.end, Promises::default());
    assert!(broken.iter().any(|line| line.contains("session had seen")), "{broken:#?}");
    let mut story = good();
    story.history.alive.push(3);
    story.lost_set(3, "/key/0", "g");
    story.get(3, "/key/0", false, 50, Some(("g", stat(10, 40, 2))));
    let broken = judge(&story.history, &story.end, Promises::default());
    assert!(broken.iter().any(|line| line.contains("in a life before")), "{broken:#?}");
}

#[test]
fn data_from_nowhere_is_found() {
    let mut story = good();
    story.lost_set(1, "/key/0", "g");
    story.get(2, "/key/0", false, 30, Some(("z", stat(13, 30, 1))));
    story.breaks("nobody wrote");
}

#[test]
fn data_of_a_refused_write_is_found() {
    let mut story = good();
    let request = Request::Set { path: "/key/0".to_owned(), data: "g".to_owned(), version: 3 };
    story.call(1, request, Answer::Refused { zxid: 17, code: code::BAD_VERSION });
    story.lost_set(1, "/key/0", "h");
    story.get(2, "/key/0", false, 30, Some(("g", stat(13, 30, 1))));
    story.breaks("but: Call");
}

#[test]
fn a_write_carried_out_twice_is_found() {
    let mut story = good();
    story.lost_set(1, "/key/0", "g");
    story.lost_set(1, "/key/0", "h");
    story.get(2, "/key/0", false, 30, Some(("g", stat(13, 30, 1))));
    story.ends("/key/0", "g", stat(13, 31, 2));
    story.breaks("was written at 0x1e and at 0x1f");
}

#[test]
fn a_forgotten_write_is_found() {
    let mut story = good();
    story.set(1, "/key/0", "g", stat(13, 30, 1));
    story.breaks("ends at 0xd");
}

#[test]
fn a_forgotten_create_is_found() {
    let mut story = good();
    story.create(1, "/key/1", "g", 30);
    story.breaks("is lost");
}

#[test]
fn a_removal_undone_is_found() {
    let mut story = good();
    story.delete(1, "/key/0", 30);
    story.breaks("came back");
}

#[test]
fn a_session_that_goes_back_is_found() {
    let mut story = good();
    story.get(1, "/key/1", false, 9, None);
    story.breaks("had seen 0x10");
}

#[test]
fn a_reply_older_than_its_content_is_found() {
    let mut story = good();
    story.lost_set(2, "/key/0", "g");
    story.get(1, "/key/0", false, 29, Some(("g", stat(13, 30, 1))));
    story.breaks("older than what it tells");
}

#[test]
fn a_stale_read_is_found() {
    let mut story = good();
    story.set(1, "/key/0", "g", stat(13, 30, 1));
    story.ends("/key/0", "g", stat(13, 30, 1));
    story.get(1, "/key/0", false, 30, Some(("c", stat(13, 13, 0))));
    story.breaks("was written at 0x1e");
    let mut story = good();
    story.create(1, "/key/1", "g", 30);
    story.ends("/key/1", "g", stat(30, 30, 0));
    story.get(1, "/key/1", false, 30, None);
    story.breaks("was there at 0x1e");
}

#[test]
fn a_read_of_what_was_removed_is_found() {
    let mut story = good();
    story.delete(1, "/key/0", 30);
    story.end.nodes.remove("/key/0");
    story.holds();
    story.get(1, "/key/0", false, 30, Some(("c", stat(13, 13, 0))));
    story.breaks("was removed behind");
}

#[test]
fn a_sync_that_does_not_catch_up_is_found() {
    let mut story = good();
    story.set(1, "/key/0", "g", stat(13, 30, 1));
    story.ends("/key/0", "g", stat(13, 30, 1));
    // Another session may be behind, unless it syncs.
    story.get(2, "/key/0", false, 29, Some(("c", stat(13, 13, 0))));
    story.holds();
    story.get(2, "/key/0", true, 29, Some(("c", stat(13, 13, 0))));
    story.breaks("before this sync");
    assert_eq!(judge(&story.history, &story.end, Promises::default()), Vec::<String>::new());
}

#[test]
fn ephemerals_that_do_not_live_as_their_session_are_found() {
    let mut story = good();
    story.end.nodes.remove("/ephemeral/x");
    story.breaks("the session lives");
    let mut story = good();
    story.call(1, Request::Close, Answer::Done { zxid: 30, nodes: Vec::new(), data: None });
    story.history.alive = vec![2];
    story.breaks("has ended and left");
    let mut story = good();
    story.call(1, Request::Close, Answer::Lost);
    story.holds();
    story.end.nodes.remove("/ephemeral/x");
    story.holds();
    let mut story = good();
    story.end.nodes.remove("/ephemeral/x");
    story.history.alive = vec![2];
    story.history.expired = vec![1];
    story.breaks("was lost");
}
