//! A leader that has logged what nobody else has, and comes back when others have decided without it.
//!
//! Flow       the followers are stopped, a write reaches the leader's log, the leader is killed; the others elect.
//! Invariant  what only the lost leader had is gone everywhere. What a follower may have had is everywhere or nowhere.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Run, Step, conclude, load};
use crate::ensemble::sync::Sync;
use crate::ensemble::{Ensemble, Settings};
use crate::history::check::Promises;
use crate::wire::{Writer, opcode};

/// How long a client waits for an answer that cannot come.
const NO_ANSWER: Duration = Duration::from_millis(200);

/// The followers lose what their sockets held: nobody but the leader has the write. Each leads once and comes back to
/// an ensemble that has written nothing since, and once to one that has.
pub fn run(run: &Run) {
    let mut ensemble = run.start(Settings::new());
    for leader in 0..ensemble.voters() {
        for writes_between in [false, true] {
            println!("  member {leader} leads, {} between", if writes_between { "writes" } else { "nothing" });
            let step = Step::begin("make it lead");
            ensemble.make_leader(leader);
            drop(step);
            let path = format!("/unseen-{leader}-{writes_between}");
            log_alone(&mut ensemble, leader, &path);
            let others: Vec<usize> = (0..ensemble.size()).filter(|index| *index != leader).collect();
            // Killed while stopped: the proposal in their sockets dies with them.
            others.iter().for_each(|index| ensemble.kill(*index));
            others.iter().for_each(|index| ensemble.spawn(*index));
            others.iter().for_each(|index| ensemble.wait_until_serving(*index));
            let _step = Step::begin("it comes back");
            if writes_between {
                let load = load(&ensemble, run);
                load.wait_for_writes(50);
                ensemble.restart(leader);
                load.wait_for_writes(50);
                conclude(&mut ensemble, load, Promises { sync_is_strict: true });
            } else {
                ensemble.restart(leader);
                ensemble.check_first_sync(leader, &[Sync::Trunc, Sync::Snap]);
            }
            let end = ensemble.check_equal();
            assert!(!end.nodes.contains_key(&path), "{path} was not acknowledged, and all who elected had not seen it");
        }
    }
}

/// The followers go on and read what their sockets held: the write is everywhere or nowhere.
pub fn undecided(run: &Run) {
    let mut ensemble = run.start(Settings::new());
    for leader in 0..ensemble.voters() {
        println!("  member {leader} leads");
        ensemble.make_leader(leader);
        let path = format!("/undecided-{leader}");
        log_alone(&mut ensemble, leader, &path);
        (0..ensemble.size()).filter(|index| *index != leader).for_each(|index| ensemble.cont(index));
        ensemble.wait_for_leader();
        let load = load(&ensemble, run);
        load.wait_for_writes(50);
        ensemble.restart(leader);
        load.wait_for_writes(50);
        conclude(&mut ensemble, load, Promises { sync_is_strict: true });
        let is_there = ensemble.check_equal().nodes.contains_key(&path);
        println!("  {path} is {}", if is_there { "everywhere" } else { "nowhere" });
    }
}

/// Stops all others, has the leader log a create, and kills it. The others stay stopped.
fn log_alone(ensemble: &mut Ensemble, leader: usize, path: &str) {
    let mut client = ensemble.session(leader);
    client.connection().set_limit(NO_ANSWER);
    (0..ensemble.size()).filter(|index| *index != leader).for_each(|index| ensemble.stop(index));
    client.send(opcode::CREATE, &Writer::new().string(path).buffer(Some(b"")).open_acl().int(0).done());
    assert!(client.receive_reply().is_err(), "one of {} can't commit", ensemble.voters());
    let data_dir = ensemble.member(leader).data_dir();
    ensemble.wait_for("record in the leader's log", |_| holds(&data_dir, path.as_bytes()).then_some(()));
    ensemble.kill(leader);
}

/// Whether any file below holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(folder).expect("a member's directory is readable");
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        // Files come and go while a member runs.
        fs::read(&path).is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes))
    })
}
