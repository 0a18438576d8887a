//! Plays seeds in the simulator: `sim [--protocol zab|paxos] [--seed N] [--seeds N] [--profile NAME] [--jobs N] [--story
//! WHAT]`. `zab`, the default, is an ensemble of the real server.
//!
//! `--seed N` alone tells the story of that seed as a timeline; `--story messages` with every message, `--story none`
//! without any line. `--seeds N` plays so many from there and stops at the first that fails, which it makes small and
//! tells. A run is named by protocol, profile, seed and the commit of the code: the same four give the same
//! fingerprint.
//!
//! `--bug NAME` puts one of Paxos's bugs in (`ForgetPromise`), to see what finding it looks like.
//!
//! Profiles: calm, crashes, partitions, disks, clocks, chaos (the default).

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use support::sim::ensemble::trial::EnsembleTrial;
use support::sim::faults::Profile;
use support::sim::paxos::Bug;
use support::sim::paxos::trial::PaxosTrial;
use support::sim::run::{Failure, Range, Trial, hunt};
use support::sim::story::Detail;

/// Lines of a failing seed's story that are printed: its end is where it fails.
const TAIL_LINES: usize = 120;

/// What was asked for.
struct Wish {
    range: Range,
    profile: Profile,
    /// How much of one seed's story is told; of many, only the failing one's.
    detail: Detail,
    is_one: bool,
    protocol: &'static str,
    /// A fault of ours that was put in.
    bug: Option<Bug>,
}

fn main() -> ExitCode {
    let range = Range { first: 1, seeds: 1, jobs: 2 };
    let mut wish =
        Wish { range, profile: Profile::Chaos, detail: Detail::Notes, is_one: true, protocol: "zab", bug: None };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || value.parse::<u64>();
        match (name.as_str(), number(), value.as_str()) {
            ("--protocol", _, "paxos") => wish.protocol = "paxos",
            ("--protocol", _, "zab") => wish.protocol = "zab",
            ("--seed", Ok(number), _) => wish.range.first = number,
            ("--seeds", Ok(number), _) => (wish.range.seeds, wish.is_one) = (number, false),
            ("--jobs", Ok(number), _) => wish.range.jobs = number as usize,
            ("--story", _, "none") => wish.detail = Detail::Nothing,
            ("--story", _, "notes") => wish.detail = Detail::Notes,
            ("--story", _, "messages") => wish.detail = Detail::Messages,
            ("--profile", _, name) if Profile::from_name(name).is_some() => {
                wish.profile = Profile::from_name(name).unwrap_or(wish.profile);
            }
            ("--bug", _, name) if Bug::ALL.iter().any(|bug| format!("{bug:?}") == name) => {
                wish.bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
            }
            _ => {
                eprintln!("unknown: {name} {value}; see the head of tests/bin/sim.rs");
                return ExitCode::from(2);
            }
        }
    }
    match wish.protocol {
        "paxos" => play(&PaxosTrial { profile: wish.profile, bug: wish.bug.unwrap_or_default() }, &wish),
        _ => play(&EnsembleTrial { profile: wish.profile }, &wish),
    }
}

fn play(trial: &impl Trial, wish: &Wish) -> ExitCode {
    if wish.is_one { tell(trial, wish) } else { search(trial, wish) }
}

/// One seed, and its story.
fn tell(trial: &impl Trial, wish: &Wish) -> ExitCode {
    let seed = wish.range.first;
    let plan = trial.plan(seed);
    println!("faults of seed {seed}, {}:\n{plan}", wish.profile.name());
    let outcome = trial.play(seed, plan, wish.detail);
    println!("{}", outcome.story);
    let verdict = outcome.verdict.as_ref().map_or_else(|what| format!("FAILED, {what}"), |()| "passed".to_owned());
    let (events, fingerprint) = (outcome.story.events(), outcome.story.fingerprint());
    println!("seed {seed}: {verdict}; {events} events, fingerprint {fingerprint:016x}");
    if outcome.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds.
fn search(trial: &impl Trial, wish: &Wish) -> ExitCode {
    let begun = Instant::now();
    let summary = hunt(trial, &wish.range);
    let seconds = begun.elapsed().as_secs_f64();
    let (played, events) = (summary.played, summary.events);
    let profile = wish.profile.name();
    println!("{profile}: {played} seeds, {events} events in {seconds:.1} s, {:.0} seeds/s", played as f64 / seconds);
    let Some(failure) = summary.failure else { return ExitCode::SUCCESS };
    report(&failure, wish);
    ExitCode::FAILURE
}

fn report(failure: &Failure, wish: &Wish) {
    let Failure { seed, message, plan, dropped, story } = failure;
    if let Some(story) = story.as_ref().filter(|_| wish.detail > Detail::Nothing) {
        story.tail(TAIL_LINES).for_each(|line| println!("{line}"));
    }
    println!("\nFAILED: {message}");
    println!("with {} faults ({dropped} more are not needed):\n{plan}", plan.faults.len());
    let bug = wish.bug.map_or_else(String::new, |bug| format!(" --bug {bug:?}"));
    let (protocol, profile) = (wish.protocol, wish.profile.name());
    println!("all of it: sim --protocol {protocol} --profile {profile}{bug} --seed {seed} --story messages");
}
