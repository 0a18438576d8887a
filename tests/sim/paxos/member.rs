//! A member of the simulated ensemble: the protocol, its record on a disk, and its patience.
//!
//! Flow       boot -> load the record -> propose, again and again while the faults last, then until something is
//!            learned.
//! Invariant  one write is in flight at a time; the next takes the newest record. A failed write ends the process.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;

use storage::disk::{BLOCK, Disk, DiskFile, Open, Strategy};

use super::quorum::Rule;
use super::{Action, Bug, Member, Message, Paxos, Record, Value, register};
use crate::sim::disk::SimFile;
use crate::sim::schedule::{MILLI, Micros, SECOND};
use crate::sim::tasks::Tasks;
use crate::sim::world::{Context, Event, Node};

/// What all members know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many they are.
    pub members: usize,
    /// Who may decide.
    pub rule: Rule,
    /// What is wrong with them.
    pub bug: Bug,
    /// Until then a member goes on proposing though it has learned: a decision must stand for ever.
    pub stubborn_for: Micros,
    /// How many propose in that time: the last ones, who have the least say. The others begin behind it.
    pub eager: usize,
}

/// What a member tells the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// It wishes for this.
    Proposed(Value),
    /// It has learned this.
    Decided(Value),
}

/// What a task ends with.
enum Done {
    Opened(io::Result<SimFile>),
    Wrote(u64, io::Result<()>),
}

type IsQuorum = Box<dyn Fn(&BTreeSet<Member>) -> bool>;

/// The process.
pub struct Process {
    core: Paxos<IsQuorum>,
    tasks: Tasks<Done>,
    file: Option<Rc<SimFile>>,
    is_writing: bool,
    /// The newest record, if it is not on its way to the disk.
    unwritten: Option<(u64, Record)>,
    /// Versions of the core begin at zero with each start; those on the disk go on.
    version_base: u64,
    actions: Vec<Action>,
    /// Tries since the last success.
    tries: u32,
    started: Micros,
    stubborn_for: Micros,
}

impl Process {
    fn open(&mut self, context: &Context<'_, Self>) {
        let disk = context.disk().clone();
        self.tasks.spawn(async move {
            let open = async {
                let dir = Path::new(register::DIR);
                disk.create_dir(dir).await?;
                let path = Path::new(register::FILE);
                match disk.open(path, Open::Existing, Strategy::Buffered).await {
                    Ok(file) => Ok(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let file = disk.open(path, Open::Fresh, Strategy::Buffered).await?;
                        // The name must survive before anything rests on what is written under it.
                        disk.sync_dir(dir).await?;
                        Ok(file)
                    }
                    Err(error) => Err(error),
                }
            };
            Done::Opened(open.await)
        });
    }

    fn write(&mut self) {
        let (Some(file), false) = (&self.file, self.is_writing) else { return };
        let Some((version, record)) = self.unwritten.take() else { return };
        self.is_writing = true;
        let (file, number) = (Rc::clone(file), self.version_base + version);
        self.tasks.spawn(async move {
            let mut block = file.buffer(BLOCK);
            register::encode(number, &record, &mut block);
            Done::Wrote(version, file.write_durable(block, BLOCK, register::offset(number)).await)
        });
    }

    fn run_tasks(&mut self, context: &mut Context<'_, Self>) {
        loop {
            self.write();
            let done = self.tasks.run();
            if done.is_empty() {
                return;
            }
            for done in done {
                match done {
                    Done::Opened(Ok(file)) => self.file = Some(Rc::new(file)),
                    Done::Wrote(version, Ok(())) => {
                        self.is_writing = false;
                        self.core.on_durable(version, &mut self.actions);
                        self.act(context);
                    }
                    Done::Opened(Err(error)) | Done::Wrote(_, Err(error)) => return context.exit(error.to_string()),
                }
            }
        }
    }

    fn act(&mut self, context: &mut Context<'_, Self>) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Send(to, message) => context.datagram(to as usize, message),
                Action::Persist(version, record) => self.unwritten = Some((version, record)),
                Action::Decide(value) => {
                    self.tries = 0;
                    context.report(Report::Decided(value));
                }
            }
        }
    }

    fn propose(&mut self, context: &mut Context<'_, Self>) {
        let is_stubborn = context.steady() < self.started + self.stubborn_for;
        if self.core.decided().is_none() || is_stubborn {
            let value = context.random().bits();
            context.report(Report::Proposed(value));
            self.core.propose(value, &mut self.actions);
            self.act(context);
            self.tries += 1;
        }
        // Who is refused waits longer, so that one of two rivals gets through. Who is stubborn wants to meet them.
        let most = if is_stubborn {
            (4 * MILLI) << context.random().below(5)
        } else {
            ((20 * MILLI) << self.tries.min(8)).min(2 * SECOND)
        };
        let patience = 2 * MILLI + context.random().bits() % most;
        context.timer(patience, 0);
    }
}

impl Node for Process {
    type Setup = Setup;
    type Datagram = Message;
    type Report = Report;

    fn boot(setup: &Setup, context: &mut Context<'_, Self>) -> Self {
        let (version_base, record) = register::load(context.disk());
        let rule = setup.rule.clone();
        let is_quorum: IsQuorum = Box::new(move |set| rule.is_quorum(set));
        let members = (0..setup.members as Member).collect();
        context.note(|| format!("holds {record:?}"));
        let mut process = Self {
            core: Paxos::new(context.id() as Member, members, is_quorum, record, setup.bug),
            tasks: Tasks::default(),
            file: None,
            is_writing: false,
            unwritten: None,
            version_base,
            actions: Vec::new(),
            tries: 0,
            started: context.steady(),
            stubborn_for: setup.stubborn_for,
        };
        process.open(context);
        process.run_tasks(context);
        // Some are eager and become rivals, some leave it to others.
        let most = MILLI << context.random().below(8);
        let is_eager = context.id() >= setup.members - setup.eager;
        let least = if is_eager { 0 } else { setup.stubborn_for };
        let patience = least + context.random().bits() % most;
        context.timer(patience, 0);
        process
    }

    fn on_event(&mut self, event: Event<Message>, context: &mut Context<'_, Self>) {
        match event {
            Event::Timer { .. } => self.propose(context),
            Event::Datagram { from, message } => {
                self.core.on_message(from as Member, message, &mut self.actions);
                self.act(context);
            }
            Event::Disk => {}
            _ => unreachable!("nobody connects"),
        }
        self.run_tasks(context);
    }
}
