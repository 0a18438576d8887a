//! The log role on a real disk, asked by mail as a member's replica asks it.

use glommio::LocalExecutor;
use ids::{Epoch, SessionId, Xid};
use storage::LogOptions;
use tree::tree::{Tree, TreeOptions};
use tree::txn::{Txn, TxnOp};
use zab::message::LinkId;
use zab::outbox::Epochs;

use super::super::codec;
use super::super::codec::snapshot::Encoder;
use super::super::mesh::{near, near_with_relief};
use super::super::recovery::{Places, Recipe, Threads};
use super::super::snapshots;
use super::*;

struct Role {
    orders: Outlet<ToLog>,
    reports: Inlet<FromLog>,
    _dir: tempfile::TempDir,
}

impl Role {
    async fn start() -> Role {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_owned();
        let places = Places { log_base: base.clone(), base, generation: 0 };
        let log = LogOptions { record_len_max: 64 << 10, ..LogOptions::new("", 7) }.with_segment_len(1 << 20);
        let recipe = Recipe { log, tree: TreeOptions::default(), seed: 7, threads: Threads::Two };
        let opened = Keeper::open(OsDisk::new(), places, recipe).await;
        let (keeper, ..) = opened.unwrap_or_else(|error| panic!("it starts: {error}"));
        let ((orders, entries), (outlet, reports)) = (near_with_relief(Rc::default()), near());
        let pipeline = Pipeline {
            log: Rc::clone(keeper.log()),
            keeper: Rc::new(keeper),
            runtime: Local,
            reported: Rc::default(),
            reports: Rc::new(outlet),
            shared: Arc::new(Shared::new(1, 0)),
            stop: Stop::default(),
            sync_warning: Duration::from_secs(10),
        };
        pipeline.spawn();
        glommio::spawn_local(pipeline.take_entries(entries, Rc::default())).detach();
        Role { orders, reports, _dir: dir }
    }

    fn append(&self, zxid: Zxid) {
        let mut bytes = Vec::new();
        codec::txn::encode(&txn(zxid), &mut bytes);
        self.orders.post(ToLog::Entry { zxid, bytes: bytes.into() });
    }

    /// Reports up to the first that `is_last`, without those of room.
    async fn until(&self, is_last: impl Fn(&FromLog) -> bool) -> Vec<FromLog> {
        let mut all = Vec::new();
        while !all.iter().any(&is_last) {
            let reports = self.reports.receive().await.expect("the role lives");
            all.extend(reports.into_iter().filter(|report| !matches!(report, FromLog::Room)));
        }
        all
    }
}

fn txn(zxid: Zxid) -> Txn {
    let op = TxnOp::CreateSession { timeout_ms: 1000 };
    Txn { session: SessionId::new(zxid.to_u64() as i64), cxid: Xid::new(0), zxid, time: 0, op, digest: None }
}

fn zxid(counter: u32) -> Zxid {
    Zxid::new(Epoch::new(1), counter)
}

#[test]
fn orders_are_carried_out_behind_the_entries_before_them_and_answered_behind_their_sync() {
    LocalExecutor::default().run(async {
        let role = Role::start().await;
        let epochs = Epochs { accepted: Epoch::new(1), current: Epoch::new(1) };
        (1..=3).for_each(|counter| role.append(zxid(counter)));
        role.orders.post(ToLog::Save { epochs, adopt: false });
        let reports = role.until(|report| matches!(report, FromLog::Saved { snapshot_dir: None })).await;
        assert!(matches!(reports[..], [FromLog::Durable { batch: 3, .. }, FromLog::Saved { .. }]), "{reports:?}");
        (4..=6).for_each(|counter| role.append(zxid(counter)));
        role.orders.post(ToLog::Truncate { last: zxid(5), reload: true });
        role.append(zxid(8));
        let reports = role.until(|report| matches!(report, FromLog::Durable { upto, .. } if *upto == zxid(8))).await;
        let [FromLog::Durable { batch: 3, .. }, FromLog::Truncated { kept, tree: Some(tree) }, _] = &reports[..] else {
            panic!("{reports:?}");
        };
        assert_eq!((*kept, tree.last_zxid()), (Some(zxid(5)), zxid(5)));
        role.orders.post(ToLog::Read { link: LinkId(7), after: zxid(4), upto: zxid(8) });
        let reports = role.until(|report| matches!(report, FromLog::Read { .. })).await;
        let [FromLog::Read { link: LinkId(7), entries: Some(entries) }] = &reports[..] else { panic!("{reports:?}") };
        assert!(entries.iter().map(|(zxid, _)| *zxid).eq([zxid(5), zxid(8)]));
    });
}

#[test]
fn another_members_state_takes_the_place_and_the_segments_that_follow_are_made_there() {
    LocalExecutor::default().run(async {
        let role = Role::start().await;
        role.append(zxid(1));
        // The next segment is there, so that whoever makes segments waits for a wish of the old log.
        while !role.reports.receive().await.unwrap().iter().any(|report| matches!(report, FromLog::Room)) {}
        let mut tree = Tree::new(7, TreeOptions::default());
        tree.apply(&txn(zxid(9)), &mut tree::effects::Effects::deaf());
        let head = tree.begin_snapshot();
        let mut encoder = Encoder::new(head.sessions);
        assert!(tree.snapshot_step(1000, |item| snapshots::encode(item, &mut encoder)).done);
        encoder.end();
        role.orders.post(ToLog::BeginState { zxid: zxid(9) });
        role.orders.post(ToLog::State(encoder.bytes().to_vec().into()));
        role.orders.post(ToLog::EndState { metadata: snapshots::metadata(&head).to_vec() });
        role.append(zxid(10));
        let epochs = Epochs { accepted: Epoch::new(1), current: Epoch::new(1) };
        role.orders.post(ToLog::Save { epochs, adopt: true });
        let reports = role.until(|report| matches!(report, FromLog::Saved { .. })).await;
        assert!(reports.iter().any(|report| matches!(report, FromLog::StateReady { is_ready: true })), "{reports:?}");
        assert!(matches!(reports.last(), Some(FromLog::Saved { snapshot_dir: Some(_) })), "{reports:?}");
        // More than the first segment holds.
        for counter in 11..=60 {
            role.orders.post(ToLog::Entry { zxid: zxid(counter), bytes: vec![0; 60 << 10].into() });
        }
        role.until(|report| matches!(report, FromLog::Durable { upto, .. } if *upto == zxid(60))).await;
    });
}
