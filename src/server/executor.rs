//! One executor's life: takes up its roles, serves until the server stops, and gives them up in order.
//!
//! Flow       mailboxes connected -> (log) recovery -> (replica, serve) a tree each -> tasks -> (signal) -> drain -> end.
//! Invariant  the end goes in the direction of the messages: the replica takes nothing more and waits for what is in
//!            flight, then tells serving cores and log that nothing follows; they end when they have heard it.

mod end;
mod member;
mod peers;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::peers::{NearLinkMail, ways_to_link};
use glommio::task::JoinHandle;
use glommio::timer::sleep;
use net::buffer::Pool;
use net::listener::Accepted;
use storage::{DirLock, OsDisk};
use tree::session::SessionTracker;
use tree::tree::Tree;
use zab::outbox::Epochs;

use super::berth::{Berth, Loaded, Mail, ServeMail};
use super::connections::{self, Connections};
use super::core::Core;
use super::frontend::Frontend;
use super::frontend::survey::watch_surveys;
use super::housekeeping::Housekeeping;
use super::keeper::Keeper;
use super::link::LinkSettings;
use super::link::links::Links;
use super::link::messages::ToLink;
use super::mesh::{Inlet, Outlet, ParcelSender, near, near_with_relief};
use super::messages::{FromLog, ToLog, ToReplica, ToServe};
use super::metrics::Summary;
use super::notify::Notify;
use super::pipeline::{Local, Pipeline};
use super::recovery::{self, Cost, Places, Recovery};
use super::replica::{Now, Replica, ReplicaParts};
use super::settings::ServeSettings;
use super::shared::Shared;
use super::signals::Stop;
use super::snapshots::SnapshotGate;
use super::start::RunError;
use super::storage::{LogPort, ServerLog, Way};
use crate::config::Config;

/// The id that a standalone server puts into its sessions' top byte, as ZooKeeper's does.
const STANDALONE_SID: u8 = 1;

/// What all executors of a server are given.
#[derive(Clone)]
pub struct Common {
    /// The settings.
    pub config: Config,
    /// Which executor holds which roles, as text.
    pub layout: String,
    /// Printed once the server listens.
    pub greeting: Option<String>,
    /// Why the server stops, when it does.
    pub stop: Stop,
    /// What all executors see.
    pub shared: Arc<Shared>,
    /// How many serve.
    pub serve_cores: usize,
    /// What the link needs to know; `None` on a server without peers.
    pub link: Option<LinkSettings>,
    /// Whether this is a member of an ensemble: then the log takes orders, wherever it is.
    pub has_peers: bool,
}

/// Runs the roles of a berth until the server stops.
///
/// # Errors
/// When they cannot start, or had to stop.
pub async fn live(common: Common, berth: Berth) -> Result<(), RunError> {
    let relief = Rc::new(Notify::default());
    let Berth { serve, replica, log, link, replica_is_there, loaded, mail } = berth;
    let mut mail = mail.connect(&relief).await;
    let places = Places::new(&common.config);
    let mut life = Life { common, places, log: None, core: None, accepting: None, links: None };
    let mut near_log = NearLog::default();
    if let Some(deliveries) = log {
        near_log = life.start_log(deliveries, loaded.is_none(), &mut mail, &relief).await?;
    }
    let near_link = link.and_then(|may_listen| life.start_link(may_listen, mail.linked.take()));
    if let Some(loaded) = loaded {
        // Nothing comes when recovery has failed, and whoever has tried it says why.
        let Some(loaded) = loaded.receive().await else { return Ok(()) };
        let Loaded { tree, epochs, snapshot_dir, record_len_max, cost } = loaded;
        let tree = own_tree(tree, replica).await;
        let start = Start { serve, replica, epochs, snapshot_dir, record_len_max, cost };
        life.start_core(start, tree, mail, (near_log, near_link), relief).await?;
    }
    if let Some(link) = replica_is_there {
        link.send(());
    }
    let reason = life.common.stop.wait().await;
    life.end(reason).await
}

/// The replica takes the recovered tree itself, when everybody else has cloned it.
async fn own_tree(mut shared: Arc<Tree>, is_replica: bool) -> Tree {
    if !is_replica {
        return Tree::clone(&shared);
    }
    loop {
        match Arc::try_unwrap(shared) {
            Ok(tree) => return tree,
            Err(still_shared) => shared = still_shared,
        }
        sleep(end::DRAIN_PAUSE).await;
    }
}

/// What lives on this executor.
struct Life {
    common: Common,
    places: Places,
    log: Option<LogLife>,
    core: Option<Rc<Core>>,
    accepting: Option<JoinHandle<io::Result<()>>>,
    links: Option<Rc<Links>>,
}

/// The log, where it lives.
struct LogLife {
    log: Rc<ServerLog>,
    /// Rung when the replica has posted its last, if it posts.
    ended: Option<Rc<Notify>>,
    _locks: Vec<DirLock>,
}

/// What leads to the log and from it, when the replica lives here, too.
#[derive(Default)]
struct NearLog {
    orders: Option<Outlet<ToLog>>,
    reports: Option<Inlet<FromLog>>,
}

/// What the roles with a tree start from.
struct Start {
    serve: Option<u16>,
    replica: bool,
    epochs: Epochs,
    snapshot_dir: PathBuf,
    record_len_max: usize,
    cost: Cost,
}

impl Life {
    /// Recovers, gives everybody what was recovered, and looks after the log from then on. Returns the ways to it and from
    /// it, if the replica lives here.
    async fn start_log(
        &mut self,
        deliveries: Vec<ParcelSender<Loaded>>,
        is_alone: bool,
        mail: &mut Mail,
        relief: &Rc<Notify>,
    ) -> Result<NearLog, RunError> {
        let config = &self.common.config;
        let locks = recovery::lock(&self.places, config)?;
        recovery::refuse_foreign_data(config, &self.places)?;
        let strategy = recovery::strategy(config.local.storage.strategy, is_alone);
        let Recovery { tree, epochs, keeper, cost } = recovery::recover(config, &self.places, strategy).await?;
        tracing::info!(zxid = %tree.last_zxid(), znodes = tree.node_count(), sessions = tree.sessions().len(), took = ?cost.took, "data loaded");
        let record_len_max = keeper.log().log().options().record_len_max;
        let snapshot_dir = keeper.places().snapshots();
        let tree = Arc::new(tree);
        for delivery in deliveries {
            let (tree, snapshot_dir) = (Arc::clone(&tree), snapshot_dir.clone());
            delivery.send(Loaded { tree, epochs, snapshot_dir, record_len_max, cost });
        }
        drop(tree);
        let mut near_log = NearLog::default();
        let (reports, entries) = match mail.logged.take() {
            Some((entries, reports)) => (reports, Some(entries)),
            None => {
                let (orders, entries) = self.common.has_peers.then(|| near_with_relief(Rc::clone(relief))).unzip();
                let (reports, inlet) = near();
                near_log = NearLog { orders, reports: Some(inlet) };
                (reports, entries)
            }
        };
        let log = Rc::clone(keeper.log());
        let pipeline = self.pipeline(keeper, reports);
        pipeline.spawn();
        let ended = entries.map(|entries| take_entries(pipeline, entries));
        self.log = Some(LogLife { log, ended, _locks: locks });
        Ok(near_log)
    }

    fn pipeline(&self, keeper: Keeper<OsDisk>, reports: Outlet<FromLog>) -> Pipeline {
        Pipeline {
            log: Rc::clone(keeper.log()),
            keeper: Rc::new(keeper),
            runtime: Local,
            reported: Rc::default(),
            reports: Rc::new(reports),
            shared: Arc::clone(&self.common.shared),
            stop: self.common.stop.clone(),
            sync_warning: Duration::from_millis(self.common.config.local.storage.sync_warning_ms.into()),
        }
    }

    /// Starts the replica, a serving core, or both.
    async fn start_core(
        &mut self,
        start: Start,
        tree: Tree,
        mut mail: Mail,
        (near_log, near_link): (NearLog, Option<NearLinkMail>),
        relief: Rc<Notify>,
    ) -> Result<(), RunError> {
        let now = Now::read();
        let Common { config, layout, shared, serve_cores, .. } = self.common.clone();
        let settings = ServeSettings::new(config, layout, &self.places.base, &self.places.log_base, now.monotonic);
        let settings = Rc::new(settings);
        let tree = Rc::new(RefCell::new(tree));
        let mut near_serve = None;
        let mut near_inlets = None;
        let mut from_replica = None;
        let frontend = start.serve.map(|number| {
            let to_replica = match mail.replica.take() {
                Some((to_replica, inlet)) => {
                    from_replica = Some(inlet);
                    to_replica
                }
                None => {
                    let ((to_replica, from_serve), (to_serve, inlet)) = (near(), near());
                    near_serve = Some(to_serve);
                    near_inlets = Some((from_serve, inlet));
                    to_replica
                }
            };
            Frontend::new(
                (number, serve_cores),
                Rc::clone(&settings),
                Rc::clone(&tree),
                to_replica,
                Arc::clone(&shared),
            )
        });
        let mut from_serve = Vec::new();
        let (to_link, from_link, near_link) = ways_to_link(near_link, &mut mail);
        let mut log_port = None;
        let mut reports = None;
        let snapshot_dir = Rc::new(RefCell::new(start.snapshot_dir.clone()));
        let snapshot_gate = Rc::new(SnapshotGate::default());
        let replica = start.replica.then(|| {
            let (way, inlet) = self.way_to_log(&mut mail, near_log);
            reports = inlet;
            let port = Rc::new(LogPort::new(way, start.record_len_max));
            log_port = Some(Rc::clone(&port));
            let serve = take_serve(&mut mail.serve, &mut near_serve, &mut from_serve);
            let snapshots = (Rc::clone(&snapshot_dir), Rc::clone(&snapshot_gate));
            self.replica(&settings, &tree, frontend.is_none(), port, (serve, to_link), &start, snapshots, now)
        });
        let core = Rc::new(Core::new(frontend, replica, near_inlets, near_link));
        self.core = Some(Rc::clone(&core));
        glommio::spawn_local(Rc::clone(&core).relieve(relief)).detach();
        if let Some(port) = log_port {
            let reports = reports.expect("the replica hears of the log, near or far");
            self.start_replica(&core, &settings, tree, port, reports, from_serve, start.cost);
        }
        if let Some(inlet) = from_link {
            glommio::spawn_local(Rc::clone(&core).hear_link(inlet)).detach();
            glommio::spawn_local(Rc::clone(&core).tick_member()).detach();
        }
        if let Some(number) = start.serve {
            if let Some(inlet) = from_replica {
                glommio::spawn_local(Rc::clone(&core).hear_far_replica(inlet)).detach();
            }
            self.start_serving(&core, number, mail.hand_over, mail.take_over).await?;
        }
        Ok(())
    }

    fn way_to_log(&self, mail: &mut Mail, near_log: NearLog) -> (Way, Option<Inlet<FromLog>>) {
        let shared = || Arc::clone(&self.common.shared);
        match (mail.log.take(), near_log) {
            (Some((outlet, inlet)), _) => (Way::Far(outlet, shared()), Some(inlet)),
            (None, NearLog { orders: Some(outlet), reports }) => (Way::Far(outlet, shared()), reports),
            (None, NearLog { orders: None, reports }) => {
                let log = self.log.as_ref().expect("a log that isn't elsewhere lives here");
                (Way::Near(Rc::clone(&log.log)), reports)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a replica is made of comes from as many places")]
    fn replica(
        &self,
        settings: &ServeSettings,
        tree: &Rc<RefCell<Tree>>,
        applies: bool,
        log: Rc<LogPort>,
        (serve, link): (Vec<Outlet<ToServe>>, Option<Outlet<ToLink>>),
        start: &Start,
        (snapshot_dir, snapshot_gate): (Rc<RefCell<PathBuf>>, Rc<SnapshotGate>),
        now: Now,
    ) -> Replica {
        let cost = start.cost;
        let now_ms = now.wall.to_i64().unsigned_abs();
        let membership = self.common.config.membership.as_ref();
        let first_session = match membership {
            Some(membership) => member::first_session(membership, now_ms),
            None => tree::session::first_session_id(STANDALONE_SID, now_ms),
        };
        let member = membership.zip(link).map(|(membership, link)| member::parts(membership, start.epochs, link));
        let parts = ReplicaParts {
            tree: Rc::clone(tree),
            applies,
            log,
            serve,
            shared: Arc::clone(&self.common.shared),
            settings: settings.prep(),
            force_sync: settings.config.local.storage.force_sync,
            // The log takes half a segment.
            behind_bytes: u64::from(settings.config.local.storage.segment_size_kib) * 1024 / 8,
            sessions: SessionTracker::new(settings.tick_time_ms),
            first_session,
            tick_ms: settings.tick_time_ms,
            snapshot_dir,
            snapshot_gate,
            member,
        };
        let mut replica = Replica::new(parts, now.monotonic);
        replica.metrics.note(Summary::DbInit, cost.took.as_millis() as u64);
        replica.metrics.note(Summary::SnapLoad, cost.snapshot_took.as_millis() as u64);
        replica.metrics.note(Summary::TxnsLoad, cost.log_took.as_millis() as u64);
        replica.metrics.note(Summary::TxnsLoaded, cost.records);
        replica
    }

    #[expect(clippy::too_many_arguments, reason = "the tasks around a replica have little in common")]
    fn start_replica(
        &self,
        core: &Rc<Core>,
        settings: &Rc<ServeSettings>,
        tree: Rc<RefCell<Tree>>,
        log: Rc<LogPort>,
        reports: Inlet<FromLog>,
        from_serve: Vec<Inlet<ToReplica>>,
        cost: Cost,
    ) {
        glommio::spawn_local(Rc::clone(core).hear_log(reports)).detach();
        glommio::spawn_local(Rc::clone(core).announce_unsynced()).detach();
        for inlet in from_serve {
            glommio::spawn_local(Rc::clone(core).hear_far_serve(inlet)).detach();
        }
        let (snapshot_dir, snapshot_gate) = {
            let replica = core.replica();
            (Rc::clone(&replica.snapshot_dir), Rc::clone(&replica.snapshot_gate))
        };
        Housekeeping {
            settings: Rc::clone(settings),
            core: Rc::clone(core),
            tree,
            log,
            snapshot_dir,
            snapshot_gate,
            recovered_records: cost.records,
        }
        .spawn();
    }

    /// Takes connections, from the socket or from the core that has it.
    async fn start_serving(
        &mut self,
        core: &Rc<Core>,
        number: u16,
        hand_over: Vec<Outlet<Accepted>>,
        take_over: Option<Inlet<Accepted>>,
    ) -> Result<(), RunError> {
        let pool = Pool::new();
        let listener =
            if take_over.is_none() { Some(connections::listen(&self.common.config, &pool).await?) } else { None };
        glommio::spawn_local(connections::step_listings(Rc::clone(core))).detach();
        glommio::spawn_local(connections::flush_rest(Rc::clone(core))).detach();
        glommio::spawn_local(watch_surveys(Rc::clone(core))).detach();
        let connections = Connections::new(Rc::clone(core), Arc::clone(&self.common.shared), number, pool);
        let connections = Rc::new(connections);
        let timeout_ms = i64::from(self.common.config.local.sessionless_timeout_ms);
        glommio::spawn_local(Rc::clone(&connections).expire_handshakes(timeout_ms)).detach();
        if let Some(inlet) = take_over {
            glommio::spawn_local(Rc::clone(&connections).take_over(inlet)).detach();
        }
        if let Some(listener) = listener {
            self.accepting = Some(glommio::spawn_local(connections.accept(listener, hand_over)).detach());
            if let Some(greeting) = self.common.greeting.take() {
                println!("{greeting}");
            }
        }
        Ok(())
    }
}

/// The replica's mailboxes to all serving cores; those of other executors are heard by tasks.
fn take_serve(
    far: &mut Vec<Option<ServeMail>>,
    near: &mut Option<Outlet<ToServe>>,
    from_serve: &mut Vec<Inlet<ToReplica>>,
) -> Vec<Outlet<ToServe>> {
    let outlet = |ends: Option<ServeMail>| match ends {
        Some((inlet, outlet)) => {
            from_serve.push(inlet);
            outlet
        }
        None => near.take().expect("the serving core that isn't elsewhere lives here"),
    };
    far.drain(..).map(outlet).collect()
}

fn take_entries(pipeline: Pipeline, entries: Inlet<ToLog>) -> Rc<Notify> {
    let ended = Rc::new(Notify::default());
    glommio::spawn_local(pipeline.take_entries(entries, Rc::clone(&ended))).detach();
    ended
}
