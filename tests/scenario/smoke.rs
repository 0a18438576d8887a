//! The first things that an ensemble must do: serve through every member, move sessions, and outlive its leader.

use super::{Run, Step, conclude, load};
use crate::client::Session;
use crate::ensemble::{Ensemble, Settings};
use crate::history::check::Promises;
use crate::wire::code;

/// Writes between the breakages.
const WRITES: usize = 100;

/// Runs it.
pub fn run(run: &Run) {
    let step = Step::begin("start");
    let mut ensemble = run.start(Settings::new());
    drop(step);
    serve_through_all(&ensemble);
    move_a_session(&ensemble);
    let load = load(&ensemble, run);
    load.wait_for_writes(WRITES);
    let leader = ensemble.wait_for_leader();
    ensemble.kill(leader);
    let step = Step::begin("the others go on");
    let next = ensemble.wait_for_leader();
    assert_ne!(next, leader, "it is dead");
    load.wait_for_writes(WRITES);
    drop(step);
    let step = Step::begin("the old leader comes back");
    ensemble.restart(leader);
    load.wait_for_writes(WRITES);
    drop(step);
    let _step = Step::begin("compare");
    conclude(&mut ensemble, load, Promises { sync_is_strict: true });
}

/// What is written through one is read through all, behind a sync.
fn serve_through_all(ensemble: &Ensemble) {
    let mut sessions: Vec<_> = (0..ensemble.size()).map(|index| ensemble.session(index)).collect();
    for writer in 0..sessions.len() {
        let path = format!("/through-{writer}");
        let made = sessions[writer].create(&path, path.as_bytes(), 0);
        assert_eq!(made.as_deref(), Ok(path.as_str()), "through member {writer}");
        let zxid = sessions[writer].last_zxid;
        for (reader, session) in sessions.iter_mut().enumerate() {
            catch_up(ensemble, session, zxid);
            let (data, _) = session.get(&path, false).unwrap_or_else(|code| panic!("{path} at {reader}: {code}"));
            assert_eq!(data.as_deref(), Some(path.as_bytes()), "{path} at member {reader}");
        }
        // A watch set at another member tells of it.
        let watcher = (writer + 1) % sessions.len();
        sessions[watcher].exists(&path, true).expect("it is there");
        sessions[writer].delete(&path, 0).expect("nobody else does");
        let (zxid, watching) = (sessions[writer].last_zxid, &mut sessions[watcher]);
        catch_up(ensemble, watching, zxid);
        assert_eq!(watching.events.pop_front().map(|event| (event.kind, event.path)), Some((2, path)));
    }
    sessions.into_iter().for_each(Session::close);
}

/// Syncs until the session's member has applied this zxid. With Java members once may not do: a leader takes its own
/// clients' sync as a read, and a follower may have applied a commit before it.
fn catch_up(ensemble: &Ensemble, session: &mut Session, zxid: i64) {
    let has_java = (0..ensemble.size()).any(|index| ensemble.member(index).kind().is_java());
    ensemble.wait_for("catching up", |_| {
        session.sync();
        let is_there = session.last_zxid >= zxid;
        assert!(is_there || has_java, "a sync left the member at {:#x}, behind {zxid:#x}", session.last_zxid);
        is_there.then_some(())
    });
}

/// A session and its ephemeral node go from member to member; its end at the last one is its end at all.
fn move_a_session(ensemble: &Ensemble) {
    let mut session = ensemble.session(0);
    session.create("/moving", b"", 1).expect("a fresh path");
    for index in (0..ensemble.size()).chain(0..ensemble.size()) {
        session = ensemble.moved(&session, index);
        let stat = session.exists("/moving", false).expect("its session lives");
        assert_eq!(stat.ephemeral_owner, session.id(), "at member {index}");
        session.set("/moving", format!("{index}").as_bytes(), -1).expect("the session owns itself wherever it is");
    }
    session.close();
    for index in 0..ensemble.size() {
        // A session is made behind the end of the other, wherever it is.
        let mut session = ensemble.session(index);
        assert_eq!(session.exists("/moving", false), Err(code::NO_NODE), "at member {index}");
        session.close();
    }
}
