//! The tree's share of a request, its memory, and its longest steps.
//!
//! Criterion: one iteration is one request prepared and applied (or one lookup with data and Stat) in a tree of 100 K
//! znodes of 100 B. The tables behind it, by `--bench tree_apply -- table`:
//! - by size: bytes of resident memory per znode beside path and value, requests per second, and the longest single step
//!   while the tree grew to that size;
//! - crowds: a parent with a million children, a node with 100 K watchers.
//!
//! The tables are timed by this thread's CPU clock: page faults and the allocator count, other programs do not.

use std::env;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use benches::fleet::thread_cpu;
use benches::machine::Machine;
use criterion::Criterion;
use tree::watch::{Watch, WatcherId};

const DATA: [u8; 100] = [b'x'; 100];
/// Children per parent in the trees that are measured by size.
const FANOUT: u32 = 1_000;
/// Names that a listing takes in one step. The server's own budget.
const LISTING_STEP: usize = 512;
/// The argument with which this starts itself: znodes, trees and steps follow.
const ONE_SIZE: &str = "one-size";

/// How large the tables are.
struct Sizes {
    /// Znodes, and how many trees of that size stand side by side so that pages do not blur the result.
    trees: &'static [(u32, u32)],
    /// In the tree of the criterion benches.
    steps: u32,
    /// Requests that make a rate, at least.
    rate_steps: u32,
    children: u32,
    watchers: u32,
}

const FULL: Sizes = Sizes {
    trees: &[(1_000, 200), (100_000, 5), (10_000_000, 1)],
    steps: 100_000,
    rate_steps: 500_000,
    children: 1_000_000,
    watchers: 100_000,
};
const SMALL: Sizes = Sizes { trees: &[(1_000, 2)], steps: 1_000, rate_steps: 1_000, children: 2_000, watchers: 1_000 };

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((ONE_SIZE, numbers)) = arguments.split_first().map(|(first, rest)| (&**first, rest)) {
        let numbers: Vec<u32> = numbers.iter().map(|number| number.parse().expect("we wrote it")).collect();
        return one_size(numbers[0], numbers[1], numbers[2]);
    }
    let is_full = arguments.iter().any(|argument| argument == "--bench");
    let sizes = if is_full { FULL } else { SMALL };
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if filter.is_none_or(|filter| filter != "table") {
        let mut criterion = Criterion::default().configure_from_args();
        steps(&mut criterion, sizes.steps);
        criterion.final_summary();
    }
    if filter.is_none_or(|filter| filter == "table") {
        by_size(&sizes);
        println!("\n| crowd | value |\n|---|---|");
        million_children(sizes.children);
        many_watchers(sizes.watchers);
    }
}

fn path(number: u32) -> String {
    format!("/bench/p{:05}/n{number:08}", number / FANOUT)
}

/// A tree of `count` leaves, with parents of `FANOUT` each.
fn grow(count: u32, longest: &mut Longest) -> Machine {
    let mut machine = Machine::new();
    machine.create("/bench", &[]);
    for number in 0..count {
        if number % FANOUT == 0 {
            machine.create(&format!("/bench/p{:05}", number / FANOUT), &[]);
        }
        let path = path(number);
        longest.see(timed(|| machine.create(&path, &DATA)));
    }
    machine
}

/// The three longest steps: one alone may be the host's doing, a row of equals is ours.
#[derive(Default)]
struct Longest([Duration; 3]);

impl Longest {
    fn see(&mut self, step: Duration) {
        if step > self.0[2] {
            self.0[2] = step;
            self.0.sort_by(|a, b| b.cmp(a));
        }
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(us).join(", "))
    }
}

/// CPU time of a step.
fn timed(step: impl FnOnce()) -> Duration {
    let begin = thread_cpu();
    step();
    thread_cpu() - begin
}

fn steps(criterion: &mut Criterion, count: u32) {
    let mut machine = grow(count, &mut Longest::default());
    let mut numbers = (0..count).cycle().step_by(7_919);
    let mut any = move || path(numbers.next().expect("a cycle does not end"));
    let mut group = criterion.benchmark_group("prep_and_apply");
    group.bench_function("get", |bencher| {
        bencher.iter_batched(&mut any, |path| black_box(machine.read(&path)), criterion::BatchSize::SmallInput);
    });
    group.bench_function("set", |bencher| {
        bencher.iter_batched(&mut any, |path| machine.set(&path, &DATA), criterion::BatchSize::SmallInput);
    });
    group.bench_function("create_and_delete", |bencher| {
        bencher.iter(|| {
            machine.create("/bench/p00000/new", &DATA);
            machine.delete("/bench/p00000/new");
        });
    });
    group.finish();
}

/// A process for each size: memory that one tree has given back would hide what the next one takes.
fn by_size(sizes: &Sizes) {
    println!(
        "\n| znodes | B each beside path and value | beside name and value | get/s | set/s | create/s | delete/s | longest steps, us |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (count, copies) in sizes.trees {
        let bench = env::current_exe().expect("Linux knows it");
        let status = Command::new(bench)
            .arg(ONE_SIZE)
            .args([*count, *copies, sizes.rate_steps].map(|number| number.to_string()))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the process of one size failed");
    }
}

fn one_size(count: u32, copies: u32, rate_steps: u32) {
    let before = resident_bytes();
    let mut longest = Longest::default();
    let mut machines: Vec<Machine> = (0..copies).map(|_| grow(count, &mut longest)).collect();
    let resident = (resident_bytes() - before) as f64 / f64::from(count) / f64::from(copies);
    // Parents are one in a thousand; their own memory is counted, their paths are not taken off.
    let (name, whole) = ("n00000000".len(), path(0).len());
    let beside = |path_len: usize| resident - (path_len + DATA.len()) as f64;
    let rates = rates(&mut machines[0], count, rate_steps).map(|rate| format!("{rate:.0}")).join(" | ");
    println!("| {count} | {:.1} | {:.1} | {rates} | {longest} |", beside(whole), beside(name));
}

/// get, set, create and delete per second in a tree of `count` leaves.
fn rates(machine: &mut Machine, count: u32, steps: u32) -> [f64; 4] {
    let times = count.min(steps);
    // A step that shares no factor with the count visits every node before one comes again.
    let any = |turn: u32| path(u32::try_from(u64::from(turn) * 7_919 % u64::from(count)).expect("below the count"));
    let new = |turn: u32| format!("/bench/p00000/x{turn:08}");
    let paths: Vec<String> = (0..times).map(any).collect();
    let new_paths: Vec<String> = (0..times).map(new).collect();
    let mut took = [Duration::ZERO; 4];
    let rounds = steps / times;
    for _ in 0..rounds {
        took[0] += timed(|| paths.iter().for_each(|path| assert_eq!(machine.read(path), DATA.len())));
        took[1] += timed(|| paths.iter().for_each(|path| machine.set(path, &DATA)));
        took[2] += timed(|| new_paths.iter().for_each(|path| machine.create(path, &DATA)));
        took[3] += timed(|| new_paths.iter().for_each(|path| machine.delete(path)));
    }
    took.map(|took| f64::from(rounds * times) / took.as_secs_f64())
}

fn million_children(count: u32) {
    let mut machine = Machine::new();
    machine.create("/crowd", &[]);
    let child = |number: u32| format!("/crowd/n{number:08}");
    let mut longest = Longest::default();
    for number in 0..count {
        let path = child(number);
        longest.see(timed(|| machine.create(&path, &DATA)));
    }
    row(&format!("{count} children of one parent, create of each: longest, us"), &longest);
    let (listing, total) = machine.tree.listing_begin("/crowd").expect("it was made");
    let (mut names, mut whole, mut longest, mut is_going_on) = (0, Duration::ZERO, Longest::default(), true);
    while is_going_on {
        let step = timed(|| {
            is_going_on =
                machine.tree.listing_step(listing, LISTING_STEP, |name| names += black_box(name).len().min(1));
        });
        longest.see(step);
        whole += step;
    }
    assert_eq!(names, total);
    row("listing them in steps of 512: longest, us", &longest);
    row("listing them in steps of 512: all together, us", &us(whole));
    let mut longest = Longest::default();
    for number in 0..count {
        let path = child(number);
        longest.see(timed(|| machine.delete(&path)));
    }
    row("delete of each: longest, us", &longest);
}

fn many_watchers(count: u32) {
    let mut machine = Machine::new();
    machine.create("/watched", &[]);
    let mut longest = Longest::default();
    for watcher in 0..count {
        longest.see(timed(|| machine.watches.add(WatcherId(watcher), "/watched", Watch::Data)));
    }
    row(&format!("{count} watchers of one node, adding each: longest, us"), &longest);
    row("a change tells them all: us", &us(timed(|| machine.set("/watched", &DATA))));
    assert_eq!(machine.told, u64::from(count));
    for watcher in 0..count {
        machine.watches.add(WatcherId(watcher), "/watched", Watch::Persistent);
    }
    row("a change tells as many persistent ones: us", &us(timed(|| machine.set("/watched", &DATA))));
    let mut longest = Longest::default();
    for watcher in 0..count {
        longest.see(timed(|| machine.watches.remove_watcher(WatcherId(watcher))));
    }
    row("removing each: longest, us", &longest);
    assert!(machine.watches.is_empty());
}

fn row(name: &str, value: &dyn fmt::Display) {
    println!("| {name} | {value} |");
}

fn us(time: Duration) -> String {
    format!("{:.0}", time.as_nanos() as f64 / 1e3)
}

/// This process's.
fn resident_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: usize = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("the second is resident");
    pages * PAGE_BYTES
}
