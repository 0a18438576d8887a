//! The world, with a node that counts on its disk and greets its neighbour.

use std::path::Path;

use storage::disk::{BLOCK, Disk, DiskFile, Open, Strategy};

use super::*;
use crate::sim::faults::{Fault, Planned, Profile, Shape, When};
use crate::sim::tasks::Tasks;

const FILE: &str = "/disk/count";
const PORT: u16 = 7;

/// Adds one to a number on its disk, again and again, and tells its neighbour by every means.
struct Counter {
    count: u8,
    tasks: Tasks<std::io::Result<()>>,
    conn: Option<ConnId>,
    is_open: bool,
    received: u64,
}

impl Counter {
    fn write(&mut self, context: &mut Context<'_, Self>) {
        let (disk, count) = (context.disk().clone(), self.count + 1);
        self.tasks.spawn(async move {
            disk.create_dir(Path::new("/disk")).await?;
            let file = match disk.open(Path::new(FILE), Open::Existing, Strategy::Buffered).await {
                Ok(file) => file,
                Err(_) => disk.open(Path::new(FILE), Open::Fresh, Strategy::Buffered).await?,
            };
            let mut buffer = file.buffer(BLOCK);
            buffer.fill(count);
            file.write_durable(buffer, BLOCK, 0).await?;
            disk.sync_dir(Path::new("/disk")).await
        });
        self.run(context);
    }

    fn run(&mut self, context: &mut Context<'_, Self>) {
        for result in self.tasks.run() {
            match result {
                Ok(()) => {
                    self.count += 1;
                    context.report(self.count.into());
                    let neighbour = 1 - context.id();
                    context.datagram(neighbour, self.count);
                    if let Some(conn) = self.conn.filter(|_| self.is_open) {
                        context.send(conn, vec![self.count; 40]);
                    }
                }
                Err(error) => context.exit(error.to_string()),
            }
        }
    }
}

impl Node for Counter {
    type Setup = ();
    type Datagram = u8;
    type Report = u64;

    fn boot(_: &(), context: &mut Context<'_, Self>) -> Self {
        let bytes = context.disk().mem().bytes(Path::new(FILE)).unwrap_or_default();
        // A torn write shows two numbers; the lower one was durable.
        let count = bytes.iter().copied().min().unwrap_or(0);
        context.listen(PORT);
        context.timer(MILLI, 0);
        Self { count, tasks: Tasks::default(), conn: None, is_open: false, received: 0 }
    }

    fn on_event(&mut self, event: Event<u8>, context: &mut Context<'_, Self>) {
        match event {
            Event::Timer { .. } => {
                context.timer(20 * MILLI, 0);
                if self.conn.is_none() && context.id() == 0 {
                    self.conn = Some(context.dial(1, PORT, SECOND));
                }
                if self.tasks.is_empty() && self.count < u8::MAX {
                    self.write(context);
                }
            }
            Event::Disk => self.run(context),
            Event::Bytes { bytes, .. } => self.received += bytes.len() as u64,
            Event::Opened { .. } => self.is_open = true,
            Event::Closed { .. } => (self.conn, self.is_open) = (None, false),
            Event::Datagram { .. } | Event::Accepted { .. } | Event::Drained { .. } => {}
        }
    }
}

/// Numbers must rise by one: what was reported was durable, so no crash may take it back.
#[derive(Default)]
struct Rising {
    last: [u64; 2],
    crashes: usize,
}

impl Judge<Counter> for Rising {
    fn on_report(&mut self, _: Micros, node: NodeId, count: u64) -> Result<(), String> {
        let last = std::mem::replace(&mut self.last[node], count);
        // A write may have become durable whose word was lost in the crash.
        let follows = count == last + 1 || (self.crashes > 0 && count == last + 2);
        if follows { Ok(()) } else { Err(format!("n{node} counts {count} after {last}")) }
    }

    fn on_crash(&mut self, _: Micros, _: NodeId) {
        self.crashes += 1;
    }

    fn is_done(&self) -> bool {
        self.last.iter().all(|last| *last > 5)
    }

    fn missing(&self) -> String {
        format!("{:?}", self.last)
    }
}

fn frame(seed: u64, plan: Plan, detail: Detail) -> Frame<()> {
    Frame { seed, setup: (), nodes: 2, quality: Quality::ROUGH, plan, detail }
}

#[test]
fn a_seed_replays_exactly_whoever_listens() {
    let shape = Shape { servers: 2, nodes: 2, span: 2 * SECOND, faults_max: 12, wipes_max: 0 };
    let mut fingerprints = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut runs = [Detail::Nothing, Detail::Messages].map(|detail| {
            let plan = Plan::draw(&mut Random::new(seed), Profile::Chaos, &shape);
            let mut world = World::<Counter>::new(frame(seed, plan, detail));
            world.run(&mut Rising::default(), 10 * SECOND).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            world.into_story()
        });
        assert_eq!(runs[0].fingerprint(), runs[1].fingerprint(), "seed {seed}");
        assert_eq!(runs[0].tail(9).count(), 0);
        assert_eq!(runs[1].tail(9).count(), 9);
        fingerprints.insert(runs[0].fingerprint());
        runs.reverse();
    }
    assert_eq!(fingerprints.len(), 40);
}

fn with_fault(fault: Fault, detail: Detail) -> (World<Counter>, Rising) {
    let planned = Planned { begin: 100 * MILLI, end: 400 * MILLI, fault };
    let plan = Plan { faults: vec![planned], quiet_from: 400 * MILLI };
    let mut world = World::new(frame(9, plan, detail));
    let mut judge = Rising::default();
    world.run(&mut judge, 10 * SECOND).unwrap();
    (world, judge)
}

#[test]
fn crashes_strike_at_an_operation_and_in_mid_turn() {
    for when in [When::Now, When::AtOperation(3), When::MidTurn(1)] {
        for how in [Crash::Process, Crash::Power] {
            let (world, judge) = with_fault(Fault::Crash { node: 1, how, when }, Detail::Notes);
            assert_eq!(judge.crashes, 1, "{when:?}");
            assert!(world.story().to_string().contains("boots (2)"), "{}", world.story());
        }
    }
}

#[test]
fn who_is_paused_does_nothing_and_loses_nothing() {
    let (world, judge) = with_fault(Fault::Pause { node: 1 }, Detail::Messages);
    assert_eq!(judge.crashes, 0);
    let story = world.story().to_string();
    let paused = story.split("FAULT").nth(1).unwrap().split("over").next().unwrap();
    assert!(paused.contains(" n0 ") && !paused.contains(" n1 "), "{paused}");
    assert!(world.node(1).unwrap().received > 0);
}

#[test]
fn a_failed_sync_ends_the_process_and_it_comes_back() {
    let (world, judge) = with_fault(Fault::FailingSync { node: 0, skip: 1 }, Detail::Notes);
    assert_eq!(judge.crashes, 1);
    assert!(world.story().to_string().contains("exits"), "{}", world.story());
}
