//! A member's process: recovers from its disk, then lets its roles have their turns.
//!
//! Flow       boot -> `Keeper::open` -> replica, log tasks, front;  an event -> one role acts -> `settle`, as in
//!            `server::core`, until nobody has anything to say.
//! Invariant  near mailboxes are empty between turns. A log that has failed ends the process.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ids::{Millis, Sid, Zxid};
use ringkeeper::server::codec;
use ringkeeper::server::keeper::Keeper;
use ringkeeper::server::link::messages::ToLink;
use ringkeeper::server::mesh::{Inlet, Outlet, near, near_with_relief};
use ringkeeper::server::messages::{FromLog, ToLog, ToReplica, ToServe};
use ringkeeper::server::pipeline::{Pipeline, Runtime as _};
use ringkeeper::server::recovery::{Places, Recipe, Threads};
use ringkeeper::server::replica::member::{MemberParts, Mode};
use ringkeeper::server::replica::{Now, Replica, ReplicaParts};
use ringkeeper::server::shared::Shared;
use ringkeeper::server::signals::{Reason, Stop};
use ringkeeper::server::snapshots::{self, SnapshotGate};
use ringkeeper::server::storage::{LogPort, Way};
use storage::disk::Disk;
use storage::{LogOptions, Snapshots};
use tree::prep::PrepSettings;
use tree::session::{SessionTracker, first_session_id};
use tree::tree::{Tree, TreeOptions};
use zab::outbox::{Epochs, Standing};

use super::front::{Do, Front};
use super::runtime::Wants;
use super::wires::Wires;
use super::{CLIENT_PORT, ELECTION_PORT, Process, QUORUM_PORT, Report, Setup, lines, naming};
use crate::random::Random;
use crate::sim::disk::SimDisk;
use crate::sim::schedule::{MILLI, Micros};
use crate::sim::tasks::Tasks;
use crate::sim::world::{Context, Event};

/// Between two looks at the time limits: production's is half as long, and takes twice as many turns.
const TICK: Micros = 10 * MILLI;
const TICK_TOKEN: u64 = 0;
/// Snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;
/// After a snapshot that failed.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(1);
/// The longest record of the log.
const RECORD_LEN_MAX: usize = 12 << 10;
/// What only measures gets one and the same moment always.
static MOMENT: LazyLock<Instant> = LazyLock::new(Instant::now);

type Opened = Result<(Keeper<SimDisk>, Tree), String>;

/// What a task ends with.
enum Done {
    Opened(Box<Opened>),
    Ended,
}

/// The process.
pub struct Server {
    setup: Setup,
    tasks: Tasks<Done>,
    wants: Wants,
    roles: Option<Roles>,
    wires: Wires,
}

/// What lives when everything is read.
struct Roles {
    tree: Rc<RefCell<Tree>>,
    replica: Rc<RefCell<Replica>>,
    front: Front,
    to_replica: Inlet<ToReplica>,
    to_serve: Inlet<ToServe>,
    to_link: Inlet<ToLink>,
    from_log: Inlet<FromLog>,
    /// What the replica says to the log, on its way past us.
    from_replica: Inlet<ToLog>,
    to_log: Outlet<ToLog>,
    stop: Stop,
    /// The epoch that this process has led last, and the last transaction that it ordered.
    led: Option<(u32, u64)>,
    expired_at: i64,
}

impl Server {
    /// The process starts.
    pub fn boot(setup: &Setup, context: &mut Context<'_, Process>) -> Server {
        let mut server = Server {
            setup: setup.clone(),
            tasks: Tasks::default(),
            wants: Wants::default(),
            roles: None,
            wires: Wires::default(),
        };
        let (disk, salt) = (context.disk().clone(), context.random().bits());
        let segment_len = setup.segment_len;
        server.tasks.spawn(async move { Done::Opened(Box::new(open(disk, salt, segment_len).await)) });
        server.run(context);
        server
    }

    /// Whether it serves clients, its tree, and what it is.
    pub fn look<R>(&self, look: impl FnOnce(&Tree, Mode) -> R) -> Option<R> {
        self.roles.as_ref().map(|roles| look(&roles.tree.borrow(), roles.front.mode()))
    }

    /// Something happens.
    pub fn on_event(&mut self, event: Event<()>, context: &mut Context<'_, Process>) {
        if !context.wants_notes() {
            return self.handle(event, context);
        }
        let lines = lines::catch(|| self.handle(event, context));
        lines.into_iter().for_each(|line| context.note(|| line));
    }

    fn handle(&mut self, event: Event<()>, context: &mut Context<'_, Process>) {
        match event {
            Event::Timer { token: TICK_TOKEN } => self.tick(context),
            Event::Timer { token } => self.wants.ring(token),
            Event::Datagram { .. } => unreachable!("everybody connects"),
            Event::Accepted { conn, port: CLIENT_PORT, .. } => self.front(|front| front.accepted(conn)),
            Event::Accepted { conn, from, port } => self.wires.accepted(conn, from, port),
            Event::Opened { conn } => self.wires.opened(conn, context),
            Event::Bytes { conn, bytes } if self.wires.has(conn) => self.wires.bytes(conn, bytes),
            Event::Bytes { conn, bytes } => self.front(|front| front.bytes(conn, &bytes)),
            Event::Drained { conn } => self.wires.drained(conn),
            Event::Closed { conn, why } if self.wires.has(conn) => self.wires.closed(conn, &format!("{why:?}")),
            Event::Closed { conn, .. } => self.front(|front| front.closed(conn)),
            Event::Disk => {}
        }
        self.run(context);
    }

    fn front(&mut self, act: impl FnOnce(&mut Front)) {
        if let Some(roles) = &mut self.roles {
            act(&mut roles.front);
        }
    }

    fn tick(&mut self, context: &mut Context<'_, Process>) {
        let now = now(context);
        let Some(roles) = &mut self.roles else { return };
        roles.replica.borrow_mut().on_member_tick(now);
        let tick = self.setup.limits.tick_ms;
        if now.monotonic.to_i64() / tick != roles.expired_at {
            roles.expired_at = now.monotonic.to_i64() / tick;
            roles.replica.borrow_mut().expire(now);
        }
        context.timer(TICK, TICK_TOKEN);
    }

    /// Everybody acts until nobody has anything to do.
    fn run(&mut self, context: &mut Context<'_, Process>) {
        loop {
            let mut is_over = true;
            for done in self.tasks.run() {
                if let Done::Opened(opened) = done {
                    match *opened {
                        Ok((keeper, tree)) => self.start(keeper, tree, context),
                        Err(problem) => return context.exit(problem),
                    }
                }
            }
            for task in self.wants.take_tasks() {
                is_over = false;
                self.tasks.spawn(async move {
                    task.await;
                    Done::Ended
                });
            }
            for (token, delay) in self.wants.take_timers() {
                context.timer(delay, token);
            }
            if let Some(roles) = &mut self.roles {
                is_over &= !roles.act(&mut self.wires, context);
                if let Some(Reason::Fatal(reason)) = roles.stop.reason() {
                    return context.exit(reason);
                }
            }
            if is_over && !self.tasks.is_woken() {
                return;
            }
        }
    }

    fn start(&mut self, keeper: Keeper<SimDisk>, tree: Tree, context: &mut Context<'_, Process>) {
        let now = now(context);
        let report = Report::Holds { zxid: tree.last_zxid().to_u64(), tree: tree.digest() };
        context.report(report);
        let setup = &self.setup;
        let shared = Arc::new(Shared::new(1, 0));
        let stop = Stop::default();
        let tree = Rc::new(RefCell::new(tree));
        let ((replica_outlet, to_replica), (serve_outlet, to_serve)) = (near(), near());
        let ((link_outlet, to_link), (log_outlet, from_replica)) = (near(), near());
        let ((to_log, entries), (reports, from_log)) = (near_with_relief(Rc::default()), near());
        let (disk, epochs) = (context.disk().clone(), keeper.epochs());
        let snapshot_dir = Rc::new(RefCell::new(keeper.places().snapshots()));
        let snapshot_gate = Rc::new(SnapshotGate::default());
        let pipeline = Pipeline {
            log: Rc::clone(keeper.log()),
            keeper: Rc::new(keeper),
            runtime: self.wants.clone(),
            reported: Rc::default(),
            reports: Rc::new(reports),
            shared: Arc::clone(&shared),
            stop: stop.clone(),
            sync_warning: Duration::from_secs(1),
        };
        pipeline.spawn();
        self.wants.spawn(pipeline.take_entries(entries, Rc::default()));
        let log = Rc::new(LogPort::new(Way::Far(log_outlet, Arc::clone(&shared)), RECORD_LEN_MAX));
        let sid = context.id() as u64 + 1;
        let parts = ReplicaParts {
            tree: Rc::clone(&tree),
            applies: false,
            log: Rc::clone(&log),
            serve: vec![serve_outlet],
            shared: Arc::clone(&shared),
            settings: PrepSettings { create2_in_multi_as_create: true, ..PrepSettings::default() },
            force_sync: true,
            behind_bytes: setup.segment_len / 8,
            sessions: SessionTracker::new(setup.limits.tick_ms),
            first_session: first_session_id(sid as u8, now.wall.to_i64().unsigned_abs()),
            tick_ms: setup.limits.tick_ms,
            snapshot_dir: Rc::clone(&snapshot_dir),
            snapshot_gate: Rc::clone(&snapshot_gate),
            member: Some(member_parts(setup, Sid::new(sid), epochs, link_outlet)),
        };
        let replica = Rc::new(RefCell::new(Replica::new(parts, now.monotonic)));
        let housekeeping = Snapshotter {
            disk,
            tree: Rc::clone(&tree),
            replica: Rc::clone(&replica),
            log,
            dir: snapshot_dir,
            gate: snapshot_gate,
            wants: self.wants.clone(),
            random: Random::new(context.random().bits()),
            every: setup.snapshot_every,
        };
        self.wants.spawn(housekeeping.run());
        self.roles = Some(Roles {
            front: Front::new(Rc::clone(&tree), replica_outlet, shared),
            tree,
            replica,
            to_replica,
            to_serve,
            to_link,
            from_log,
            from_replica,
            to_log,
            stop,
            led: None,
            expired_at: 0,
        });
        for port in [ELECTION_PORT, QUORUM_PORT, CLIENT_PORT] {
            context.listen(port);
        }
        context.timer(1, TICK_TOKEN);
    }
}

fn member_parts(setup: &Setup, me: Sid, epochs: Epochs, link: Outlet<ToLink>) -> MemberParts {
    MemberParts {
        me,
        config: Arc::clone(&setup.config),
        election: setup.election,
        limits: setup.limits,
        epochs,
        packet_limits: net::quorum::Limits { data_len_max: 1 << 20 },
        dial_timeout_ms: 500,
        link,
    }
}

async fn open(disk: SimDisk, salt: u64, segment_len: u64) -> Opened {
    let base = PathBuf::from("/data");
    let made = async {
        disk.create_dir(&base).await?;
        disk.sync_dir("/".as_ref()).await
    };
    made.await.map_err(|error| format!("the data directory: {error}"))?;
    let log = LogOptions { record_len_max: RECORD_LEN_MAX, ..LogOptions::new("", salt) }.with_segment_len(segment_len);
    let recipe = Recipe { log, tree: TreeOptions::default(), seed: 7, threads: Threads::One };
    let places = Places { log_base: base.clone(), base, generation: 0 };
    let (keeper, tree, _) = Keeper::open(disk, places, recipe).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    })?;
    Ok((keeper, tree))
}

fn now(context: &Context<'_, Process>) -> Now {
    Now {
        wall: Millis::new(context.wall_ms()),
        monotonic: Millis::new((context.steady() / MILLI) as i64),
        instant: *MOMENT,
    }
}

impl Roles {
    /// Hears log and link, and settles. False if there was nothing.
    fn act(&mut self, wires: &mut Wires, context: &mut Context<'_, Process>) -> bool {
        let now = now(context);
        let mut acted = false;
        let reports: Vec<FromLog> = std::iter::from_fn(|| self.from_log.pop()).collect();
        if !reports.is_empty() {
            acted = true;
            let replica = &mut *self.replica.borrow_mut();
            reports.into_iter().for_each(|report| replica.on_log(report, now));
        }
        let told = wires.take_told();
        if !told.is_empty() {
            acted = true;
            self.replica.borrow_mut().on_link(told.into_iter(), now);
        }
        self.settle(wires, context, now);
        while self.replica.borrow_mut().announce(now) {
            self.settle(wires, context, now);
        }
        acted |= self.settle(wires, context, now);
        acted | wires.end_turn(context)
    }

    /// As `Core::settle`: everything that was said is handled. False if that was nothing.
    fn settle(&mut self, wires: &mut Wires, context: &mut Context<'_, Process>, now: Now) -> bool {
        let mut acted = false;
        while self.hear_replica(context) | self.hear_serve(now) {
            acted = true;
        }
        // First what is ordered, in the reports too: a crash in mid-turn takes what is said last.
        acted |= self.pass_on(context);
        acted |= self.hear_link_orders(wires, context);
        self.replica.borrow_mut().dispatch(now);
        acted |= self.pass_on(context);
        acted |= self.hear_link_orders(wires, context);
        acted |= !self.front.todo.is_empty();
        for what in self.front.todo.drain(..) {
            match what {
                Do::Send(conn, bytes) => context.send(conn, bytes),
                Do::Close(conn) => context.close(conn),
            }
        }
        assert!(self.front.problem.is_none(), "{}", self.front.problem.as_deref().unwrap_or_default());
        acted
    }

    /// The serving role handles what the replica has said.
    fn hear_replica(&mut self, context: &mut Context<'_, Process>) -> bool {
        let mut applied = None;
        let mut acted = false;
        while let Some(message) = self.to_serve.pop() {
            acted = true;
            let stands = match message {
                ToServe::Stands { mode, .. } => mode != Mode::Idle,
                _ => false,
            };
            applied = self.front.take(message).or(applied);
            self.front.reports.drain(..).for_each(|report| context.report(report));
            if stands {
                self.stands(context);
            }
        }
        if let Some(upto) = applied {
            self.replica.borrow_mut().on_applied(upto);
        }
        acted
    }

    fn stands(&mut self, context: &mut Context<'_, Process>) {
        let (zxid, tree) = (self.tree.borrow().last_zxid().to_u64(), self.tree.borrow().digest());
        let replica = self.replica.borrow();
        let standing = replica.member().map(|member| member.standing());
        let leads = match standing {
            Some(Standing::Leading { epoch }) => Some(epoch.to_u32()),
            _ => None,
        };
        if let Some(epoch) = leads {
            self.led = Some((epoch, zxid));
        }
        context.report(Report::Stands { zxid, tree, leads });
    }

    /// The replica handles what the serving role has said.
    fn hear_serve(&mut self, now: Now) -> bool {
        let replica = &mut *self.replica.borrow_mut();
        let mut acted = false;
        while let Some(message) = self.to_replica.pop() {
            acted = true;
            replica.handle(message, now);
        }
        acted
    }

    fn hear_link_orders(&mut self, wires: &mut Wires, context: &mut Context<'_, Process>) -> bool {
        let mut acted = false;
        while let Some(message) = self.to_link.pop() {
            acted = true;
            wires.take(message, context);
        }
        acted
    }

    /// What the replica says to the log passes by: what it orders itself is reported.
    fn pass_on(&mut self, context: &mut Context<'_, Process>) -> bool {
        let mut acted = false;
        while let Some(message) = self.from_replica.pop() {
            acted = true;
            if let ToLog::Entry { zxid, bytes } = &message {
                self.note_ordered(*zxid, bytes, context);
            }
            self.to_log.post(message);
        }
        acted
    }

    fn note_ordered(&mut self, zxid: Zxid, entry: &bytes::Bytes, context: &mut Context<'_, Process>) {
        let Some((_, prev)) = self.led.as_mut().filter(|(epoch, _)| zxid.epoch().to_u32() == *epoch) else { return };
        let txn = codec::txn::decode(entry, Some(entry)).expect("it was encoded here");
        let named = naming::name(&txn, txn.digest.unwrap_or(0));
        let txn = named.unwrap_or_else(|problem| panic!("{problem}"));
        context.report(Report::Ordered { txn, prev: *prev });
        *prev = zxid.to_u64();
    }
}

/// Snapshots and purges, as `server::housekeeping` does them.
struct Snapshotter {
    disk: SimDisk,
    tree: Rc<RefCell<Tree>>,
    replica: Rc<RefCell<Replica>>,
    log: Rc<LogPort>,
    dir: Rc<RefCell<PathBuf>>,
    gate: Rc<SnapshotGate>,
    wants: Wants,
    random: Random,
    every: usize,
}

impl Snapshotter {
    async fn run(mut self) {
        self.purge().await;
        loop {
            let at = self.every / 2 + self.random.below(self.every / 2 + 1);
            self.replica.borrow_mut().set_snapshot_at(at as u64, u64::MAX);
            let due = Rc::clone(&self.replica.borrow().snapshot_due);
            due.wait().await;
            while !self.write().await {
                self.wants.sleep(SNAPSHOT_RETRY).await;
            }
            self.purge().await;
        }
    }

    async fn write(&self) -> bool {
        let work = self.gate.begin().await;
        self.replica.borrow_mut().snapshot_begins();
        let dir = self.dir.borrow().clone();
        match snapshots::write(self.disk.clone(), &self.tree, &dir, &work).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!("no snapshot: {error}");
                false
            }
        }
    }

    async fn purge(&self) {
        let _work = self.gate.begin().await;
        let dir = self.dir.borrow().clone();
        let purged = match Snapshots::open(self.disk.clone(), &dir).await {
            Ok(mut snapshots) => snapshots.purge(SNAPSHOTS_KEPT).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match purged {
            Ok(Some(oldest)) => self.log.purge_before(oldest).await,
            Ok(None) => {}
            Err(error) => tracing::warn!("purging snapshots: {error}"),
        }
    }
}
