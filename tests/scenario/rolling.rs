//! All members are replaced by another kind, one by one, and back, while clients work and one session lives through all.
//!
//! Invariant  a quorum always has everything: the next member is replaced when the one before serves again.

use super::{Run, Step, conclude, load};
use crate::ensemble::{Ensemble, Settings};
use crate::history::check::Promises;
use crate::server::Kind;

/// Writes between two replacements.
const WRITES: usize = 50;

/// Runs it.
pub fn run(run: &Run) {
    let mut ensemble = run.start(Settings::new());
    let mut held = ensemble.session(0);
    held.create("/held", b"", 1).expect("a fresh path");
    let load = load(&ensemble, run);
    let forth: Vec<Kind> = vec![run.other.clone(); ensemble.size()];
    for kinds in [&forth, &run.kinds] {
        for (index, kind) in kinds.iter().enumerate() {
            println!("  member {index}: {} -> {kind}", ensemble.member(index).kind());
            let _step = Step::begin("replaced");
            ensemble.replace(index, kind);
            load.wait_for_writes(WRITES);
            held = visit_all(&ensemble, held);
        }
    }
    let leader = ensemble.wait_for_leader();
    println!("  member {leader} leads in the end");
    held.delete("/held", -1).expect("it was held");
    held.close();
    conclude(&mut ensemble, load, Promises { sync_is_strict: true });
}

/// The held session goes to every member and finds its node there.
fn visit_all(ensemble: &Ensemble, mut held: crate::client::Session) -> crate::client::Session {
    for index in 0..ensemble.size() {
        held = ensemble.moved(&held, index);
        let stat = held.exists("/held", false).unwrap_or_else(|code| panic!("/held at member {index}: {code}"));
        assert_eq!(stat.ephemeral_owner, held.id(), "at member {index}");
    }
    held
}
