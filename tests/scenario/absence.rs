//! Members that were away: killed for a moment, wiped, killed for long, stopped. Each member leads in turn.
//!
//! Flow       `short` and `long` differ in what the leader still has when the member comes back: the missing txns in
//!            memory, or not.
//! Invariant  however a member catches up, it ends with what all the others hold.

use std::thread;
use std::time::Duration;

use super::{Run, Step, conclude, load};
use crate::ensemble::sync::Sync;
use crate::ensemble::{Ensemble, Settings};
use crate::history::check::Promises;
use crate::history::load::Load;

/// Writes while a member is away for a moment.
const SHORT: usize = 50;
/// Writes while it is away for long: more than a leader with the least memory keeps, and several snapshots.
const LONG: usize = 1_200;
/// Longer than the silence that members bear (`syncLimit` ticks), with room.
const STOPPED_FOR: Duration = Duration::from_secs(5);

/// A follower is killed for a moment, and then wiped.
pub fn short(run: &Run) {
    // A leader that remembers everything has what a killed follower lacks.
    let mut ensemble = run.start(Settings::new().line("commitLogCount", 1_000_000));
    each_leads(&mut ensemble, run, Promises { sync_is_strict: true }, |ensemble, load, follower| {
        let step = Step::begin("a moment away");
        ensemble.kill(follower);
        load.wait_for_writes(SHORT);
        ensemble.restart(follower);
        ensemble.check_first_sync(follower, &[Sync::Diff]);
        load.wait_for_writes(SHORT);
        drop(step);
        let _step = Step::begin("wiped");
        ensemble.kill(follower);
        ensemble.wipe(follower);
        load.wait_for_writes(SHORT);
        ensemble.restart(follower);
        // A Java leader sends everything; ours sends its log, as long as that is the shorter way.
        let leader_is_java = ensemble.member(ensemble.wait_for_leader()).kind().is_java();
        let ways: &[Sync] = if leader_is_java { &[Sync::Snap] } else { &[Sync::Snap, Sync::Diff] };
        ensemble.check_first_sync(follower, ways);
        load.wait_for_writes(SHORT);
    });
}

/// A follower is away for longer than the leader remembers, which meanwhile writes snapshots.
pub fn long(run: &Run) {
    let settings = Settings::new().line("snapCount", 300).line("commitLogCount", 500);
    let mut ensemble = run.start(settings);
    each_leads(&mut ensemble, run, Promises { sync_is_strict: true }, |ensemble, load, follower| {
        let _step = Step::begin("long away");
        ensemble.kill(follower);
        load.wait_for_writes(LONG);
        ensemble.restart(follower);
        // Which of the two is the leader's choice: it may read its own log.
        ensemble.check_first_sync(follower, &[Sync::Diff, Sync::Snap]);
        load.wait_for_writes(SHORT);
    });
}

/// A follower is stopped until everybody has given it up, and goes on; then the leader.
pub fn stopped(run: &Run) {
    let mut ensemble = run.start(Settings::new());
    each_leads(&mut ensemble, run, Promises::default(), |ensemble, load, follower| {
        let step = Step::begin("a stopped follower");
        stop_for_long(ensemble, load, follower);
        drop(step);
        let _step = Step::begin("a stopped leader");
        let leader = ensemble.wait_for_leader();
        stop_for_long(ensemble, load, leader);
    });
}

fn stop_for_long(ensemble: &mut Ensemble, load: &Load, index: usize) {
    ensemble.stop(index);
    // The pause makes the case likely that is meant; the outcome must be the same without.
    thread::sleep(STOPPED_FOR);
    load.wait_for_writes(SHORT);
    ensemble.cont(index);
    load.wait_for_writes(SHORT);
    ensemble.wait_until_all_serve();
}

/// Under a load of its own for each: a voter leads, and the member behind it, as a follower or observer, gets `away`.
fn each_leads(ensemble: &mut Ensemble, run: &Run, promises: Promises, away: impl Fn(&mut Ensemble, &Load, usize)) {
    for leader in 0..ensemble.voters() {
        println!("  member {leader} leads");
        let step = Step::begin("make it lead");
        ensemble.make_leader(leader);
        drop(step);
        let load = load(ensemble, run);
        load.wait_for_writes(SHORT);
        away(ensemble, &load, (leader + 1) % ensemble.size());
        conclude(ensemble, load, promises);
    }
}
