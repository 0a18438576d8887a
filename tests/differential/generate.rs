//! A plan from a seed: what is likely to collide is likely to be said.

use std::collections::VecDeque;

use super::answer::{Frame, Value};
use super::guess::Guess;
use super::play::{Outcome, SLOTS};
use super::request::{AclList, Data, Op, Path, Relative, Request, Spoil};
use super::step::{Hello, LastZxid, Password, Plan, Profile, Step, Which};
use super::{defect, pool};
use crate::random::Random;
use crate::wire::{code, opcode};

/// How many watched paths a slot remembers: few, so that most are still watched.
const WATCHED_MAX: usize = 4;

/// Makes a plan step by step. What it says next depends on the seed and on what the original answered.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    profile: Profile,
    guess: Guess,
    /// The guess before the step that is under way.
    before: Guess,
    slot: usize,
    xid: i32,
    connected: usize,
    /// Paths that each slot lately asked to watch.
    watched: [VecDeque<Path>; SLOTS],
}

fn path_of(text: String) -> Path {
    Some(text.into_bytes())
}

fn text_of(path: &Path) -> String {
    path.as_deref().map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default()
}

/// createContainer with an ephemeral mode makes a container, but until that is applied the original takes it for an
/// ephemeral node: no children, and gone with its session.
fn is_half_ephemeral(op: &Op) -> bool {
    match op {
        Op::Create { opcode: opcode::CREATE_CONTAINER, flags: 1 | 3, .. } => true,
        Op::Multi { ops, .. } => ops.iter().any(is_half_ephemeral),
        _ => false,
    }
}

/// Sequential modes by their flags.
fn is_sequential(flags: i32) -> bool {
    [2, 3, 6].contains(&flags)
}

impl Generator {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let profile =
            Profile { extended_types: random.chance(70), enforce_quota: random.chance(40), skip_acl: random.chance(5) };
        Self {
            random,
            profile,
            guess: Guess::new(),
            before: Guess::new(),
            slot: 0,
            xid: 0,
            connected: 0,
            watched: Default::default(),
        }
    }

    /// An empty plan with this seed's configuration.
    pub fn plan(&self, seed: u64) -> Plan {
        Plan { seed, profile: self.profile, steps: Vec::new() }
    }

    /// The next step. First every slot connects.
    pub fn next_step(&mut self) -> Step {
        self.before = self.guess.clone();
        if self.connected < SLOTS {
            self.connected += 1;
            return self.first_connect(self.connected - 1);
        }
        self.step()
    }

    /// What the original answered to the step; the guess is right again where the answers tell.
    pub fn learn(&mut self, step: &Step, outcome: &Outcome) {
        self.guess = self.before.clone();
        let frames = outcome.first().map_or(&[][..], |(_, frames)| frames);
        let replies = frames.iter().filter_map(|frame| match frame {
            Frame::Reply { err, body, .. } => Some((*err, body)),
            _ => None,
        });
        for (request, (err, body)) in step.requests().iter().zip(replies) {
            if request.spoil == Spoil::No {
                self.learn_op(&request.op, err, body);
            }
        }
    }

    fn learn_op(&mut self, op: &Op, err: i32, body: &Value) {
        let path = op.path().map(text_of).unwrap_or_default();
        match (op, err) {
            (Op::Create { flags, .. } | Op::CreateTtl { flags, .. }, code::OK) => {
                let owner = [1, 3].contains(flags).then_some(self.slot);
                self.guess.is_there(&body.text("path").unwrap_or_default(), owner);
            }
            (Op::Create { .. } | Op::CreateTtl { .. }, code::NODE_EXISTS) => self.guess.is_there(&path, None),
            (Op::Create { .. } | Op::CreateTtl { .. }, code::NO_NODE) => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                self.guess.is_absent(parent);
            }
            (Op::Delete { .. }, code::OK) => self.guess.deleted(&path),
            (Op::CloseSession, code::OK) => self.guess.closed(self.slot),
            (Op::Multi { ops, .. }, code::OK) => {
                for (op, result) in ops.iter().zip(body.field("results").map_or(&[][..], Value::elements)) {
                    let err = result.number("code").unwrap_or(0);
                    // In a failed multi nothing was done, and only one operation was refused for its own sake.
                    if result.number("type") != Some(-1) || err != i64::from(code::OK) {
                        self.learn_op(op, i32::try_from(err).unwrap_or(0), result);
                    }
                }
            }
            (_, code::NO_NODE) => self.guess.is_absent(&path),
            (_, code::OK) => {
                let stat = body.field("stat");
                let number = |name| stat.and_then(|stat| stat.number(name)).and_then(|n| i32::try_from(n).ok());
                if let (Some(version), Some(acl_version)) = (number("version"), number("aversion")) {
                    self.guess.is_there(&path, None);
                    self.guess.versions(&path, version, acl_version);
                }
            }
            _ => {}
        }
    }

    fn first_connect(&mut self, slot: usize) -> Step {
        let mut hello = self.hello();
        hello.session = Which::New;
        hello.password = Password::Right;
        hello.last_zxid = LastZxid::Zero;
        self.slot = slot;
        Step::Connect { slot, hello, requests: self.batch() }
    }

    fn step(&mut self) -> Step {
        let slot = self.random.below(SLOTS);
        self.slot = slot;
        match self.random.weighted(&[900, 60, 15, 15, 10]) {
            0 => Step::Requests { slot, requests: self.batch() },
            1 => Step::Connect { slot, hello: self.hello(), requests: self.batch_or_none() },
            2 => self.raw(slot),
            3 => Step::Requests { slot, requests: self.closing() },
            _ => Step::Requests { slot, requests: self.quota() },
        }
    }

    /// Mostly one request, sometimes several in one write.
    fn batch(&mut self) -> Vec<Request> {
        if self.random.chance(75) {
            return vec![self.request()];
        }
        let count = 2 + self.random.below(6);
        let mut batch: Vec<Request> = Vec::new();
        for _ in 0..count {
            let request = self.request();
            if !request.op.stands_alone() && !is_half_ephemeral(&request.op) && !self.races(&batch, &request) {
                batch.push(request);
            }
        }
        if batch.is_empty() { vec![self.request()] } else { batch }
    }

    /// What the original decides by whether the write before has been applied already: it checks enforced quotas against
    /// what is applied, and does not tell later writes of an ACL that is still on its way.
    fn races(&self, batch: &[Request], request: &Request) -> bool {
        let before = |other: &Request| {
            matches!(other.op, Op::SetAcl { .. }) || (self.profile.enforce_quota && other.op.is_write())
        };
        request.op.is_write() && batch.iter().any(before)
    }

    fn batch_or_none(&mut self) -> Vec<Request> {
        if self.random.chance(50) {
            return Vec::new();
        }
        let alone = |op: &Op| op.stands_alone() || is_half_ephemeral(op);
        self.batch().into_iter().filter(|request| !alone(&request.op)).collect()
    }

    /// closeSession, perhaps behind other requests.
    fn closing(&mut self) -> Vec<Request> {
        let mut batch = self.batch_or_none();
        batch.retain(|request| !defect::outlives_its_session(&request.op));
        batch.push(self.plain(Op::CloseSession));
        self.guess.closed(self.slot);
        batch
    }

    /// Sets a quota on a node as zkCli does, in one multi so that half of them do not stay without their parents.
    fn quota(&mut self) -> Vec<Request> {
        let path = self.guess.existing(&mut self.random);
        let mut ops = Vec::new();
        let mut quota_path = "/zookeeper/quota".to_owned();
        let mut create = |path: &str, data: Data| {
            ops.push(Op::Create {
                opcode: opcode::CREATE,
                path: path_of(path.to_owned()),
                data,
                acl: pool::open_acl(),
                flags: 0,
            });
        };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            quota_path = format!("{quota_path}/{name}");
            create(&quota_path, None);
        }
        if path != "/" {
            create(&format!("{quota_path}/zookeeper_limits"), pool::quota(&mut self.random));
            create(&format!("{quota_path}/zookeeper_stats"), Some(b"count=0,bytes=0".to_vec()));
        }
        // Some of the parents are there already: each on its own then, in one write when nothing races.
        if self.random.chance(30) || self.profile.enforce_quota {
            return vec![self.plain(Op::Multi { opcode: opcode::MULTI, ops })];
        }
        let requests: Vec<Request> = ops.into_iter().map(|op| self.plain(op)).collect();
        if requests.is_empty() { vec![self.plain(Op::Ping)] } else { requests }
    }

    fn hello(&mut self) -> Hello {
        let r = &mut self.random;
        let session =
            // Far from the other slots' sessions: with a wrong password the original closes their connections (8).
            [Which::Own, Which::New, Which::Unknown(1_000_000)][r.weighted(&[80, 12, 8])];
        let password = [Password::Right, Password::Wrong, Password::Short, Password::Null][r.weighted(&[88, 6, 3, 3])];
        let last_zxid = [LastZxid::Seen, LastZxid::Zero, LastZxid::TooHigh][r.weighted(&[80, 15, 5])];
        Hello {
            session,
            password,
            last_zxid,
            timeout_ms: r.pick(&[0, -5, 1, 600_000, 700_000, 1_000_000, i32::MAX, i32::MIN]),
            read_only: r.pick(&[Some(false), Some(false), Some(true), None]),
            protocol_version: r.pick(&[0, 0, 0, 1, -1, i32::MAX]),
            // 8: the original closes the owner's connection before it looks at the password.
            leave_old_open: r.chance(40) && password == Password::Right,
        }
    }

    fn raw(&mut self, slot: usize) -> Step {
        let (bytes, server_closes): (&[u8], bool) = match self.random.below(5) {
            // Lengths that no frame may have.
            0 => (&[0xff, 0xff, 0xff, 0xff], true),
            1 => (&[0x80, 0, 0, 0, 1, 2, 3], true),
            2 => (&[0x7f, 0xff, 0xff, 0xff], true),
            3 => (&[0x00, 0x10, 0x00, 0x00], true),
            // Half a frame, and then the client is gone.
            _ => (&[0, 0, 0, 50, 0, 0, 0, 1, 0], false),
        };
        Step::Raw { slot, bytes: bytes.to_vec(), server_closes }
    }

    fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        match self.random.below(40) {
            0 => 0,
            1 => -5,
            2 => 1,
            3 => i32::MIN,
            _ => self.xid,
        }
    }

    fn plain(&mut self, op: Op) -> Request {
        Request { xid: self.next_xid(), op, spoil: Spoil::No }
    }

    fn request(&mut self) -> Request {
        loop {
            let request = Request { xid: self.next_xid(), op: self.op(), spoil: self.spoil() };
            // An unknown opcode's body has no end to miss, and auth is read by another part of the server.
            let whole = request.spoil == Spoil::No || !request.op.stands_alone();
            if whole && !defect::stops_the_original(&request) {
                return request;
            }
        }
    }

    fn spoil(&mut self) -> Spoil {
        match self.random.weighted(&[955, 18, 9, 18]) {
            0 => Spoil::No,
            1 => Spoil::Truncate(1 + self.random.below(30)),
            2 => Spoil::Append(vec![0xab; 1 + self.random.below(5)]),
            _ => {
                let byte = self.random.pick(&[0x00, 0xff, 0x7f, 0x80, 0x01, 0x2f]);
                Spoil::Replace(self.random.below(4096), byte)
            }
        }
    }

    /// A node that should be there, or any path at all.
    fn path(&mut self) -> Path {
        if self.random.chance(78) {
            path_of(self.guess.existing(&mut self.random))
        } else {
            pool::path(&mut self.random)
        }
    }

    fn watch(&mut self) -> u8 {
        pool::watch(&mut self.random)
    }

    fn op(&mut self) -> Op {
        const WEIGHTS: [u32; 24] =
            [200, 25, 60, 60, 70, 110, 35, 40, 60, 20, 20, 110, 30, 35, 45, 6, 25, 25, 40, 25, 30, 12, 4, 4];
        match self.random.weighted(&WEIGHTS) {
            0 => self.create(),
            1 => self.create_ttl(),
            2 => self.delete(),
            3 => {
                let (path, watch) = self.watchable();
                Op::Exists { path, watch }
            }
            4 => {
                let (path, watch) = self.watchable();
                Op::GetData { path, watch }
            }
            5 => self.set_data(),
            6 => Op::GetAcl { path: self.path() },
            7 => self.set_acl(),
            8 => self.get_children(),
            9 => Op::Sync { path: self.path() },
            10 => Op::Ping,
            11 => self.multi(),
            12 => self.multi_read(),
            13 => self.auth(),
            14 => self.set_watches(),
            15 => Op::Sasl { token: pool::data(&mut self.random) },
            16 => Op::GetEphemerals { path: self.path() },
            17 => Op::GetAllChildrenNumber { path: self.path() },
            18 => {
                let path = self.path();
                self.note_watch(&path);
                Op::AddWatch { path, mode: self.random.pick(&[0, 0, 0, 0, 1, 1, 1, 1, 2, -1]) }
            }
            19 => Op::CheckWatches { path: self.watched_path(), kind: self.watcher_type() },
            20 => Op::RemoveWatches { path: self.watched_path(), kind: self.watcher_type() },
            21 => Op::WhoAmI,
            22 => self.unknown(),
            _ => self.reconfig(),
        }
    }

    fn watchable(&mut self) -> (Path, u8) {
        let (path, watch) = (self.path(), self.watch());
        if watch != 0 {
            self.note_watch(&path);
        }
        (path, watch)
    }

    fn note_watch(&mut self, path: &Path) {
        let watched = &mut self.watched[self.slot];
        watched.push_front(path.clone());
        watched.truncate(WATCHED_MAX);
    }

    /// A path that this slot may have a watch on.
    fn watched_path(&mut self) -> Path {
        let watched = &self.watched[self.slot];
        if watched.is_empty() || self.random.chance(15) {
            return self.path();
        }
        watched[self.random.below(watched.len())].clone()
    }

    fn watcher_type(&mut self) -> i32 {
        self.random.pick(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0, 6, -1])
    }

    fn create(&mut self) -> Op {
        let opcode = self.random.pick(&[
            opcode::CREATE,
            opcode::CREATE,
            opcode::CREATE2,
            opcode::CREATE2,
            opcode::CREATE_CONTAINER,
        ]);
        let flags = if self.random.chance(90) {
            self.random.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4])
        } else {
            self.random.pick(&[5, 6, 7, -1])
        };
        let owner = (flags == 1 || flags == 3).then_some(self.slot);
        let (path, data, acl) = self.what_to_create(flags, owner);
        Op::Create { opcode, path, data, acl, flags }
    }

    fn create_ttl(&mut self) -> Op {
        let flags = self.random.pick(&[5, 5, 5, 5, 5, 5, 6, 6, 6, 0, 1, 2, 3, 4, 7, -1]);
        let ttl = self.random.pick(&[
            1,
            1000,
            100_000,
            100_000,
            100_000,
            500_000,
            0xff_ffff_ffff,
            0,
            -1,
            0x100_0000_0000,
            i64::MAX,
            i64::MIN,
        ]);
        let (path, data, acl) = self.what_to_create(flags, None);
        Op::CreateTtl { path, data, acl, flags, ttl }
    }

    fn what_to_create(&mut self, flags: i32, owner: Option<usize>) -> (Path, Data, AclList) {
        let sequential = is_sequential(flags);
        let path = match (self.random.chance(88), sequential) {
            (true, false) => path_of(self.guess.new_child(&mut self.random)),
            (true, true) => path_of(self.guess.new_prefix(&mut self.random)),
            (false, true) => pool::prefix(&mut self.random),
            (false, false) => pool::path(&mut self.random),
        };
        let acl = pool::acl(&mut self.random);
        if (0..=4).contains(&flags) && acl == pool::open_acl() {
            self.guess.created(&text_of(&path), sequential, owner);
        }
        let data = self.data_for(&path);
        (path, data, acl)
    }

    fn delete(&mut self) -> Op {
        let path = match self.random.weighted(&[65, 15, 20]) {
            0 => path_of(self.guess.leaf(&mut self.random)),
            1 => path_of(self.guess.existing(&mut self.random)),
            _ => pool::path(&mut self.random),
        };
        let text = text_of(&path);
        let version = pool::version(&mut self.random, self.guess.version(&text));
        if version == -1 || version == self.guess.version(&text) {
            self.guess.deleted(&text);
        }
        Op::Delete { path, version }
    }

    fn set_data(&mut self) -> Op {
        let path = self.path();
        let text = text_of(&path);
        let version = pool::version(&mut self.random, self.guess.version(&text));
        let data = self.data_for(&path);
        Op::SetData { path, data, version }
    }

    fn data_for(&mut self, path: &Path) -> Data {
        if path.as_ref().is_some_and(|path| path.starts_with(b"/zookeeper/quota/")) {
            pool::quota(&mut self.random)
        } else {
            pool::data(&mut self.random)
        }
    }

    fn set_acl(&mut self) -> Op {
        let mut path = self.path();
        // A locked root makes everything below dull; once in a while is enough.
        if path.as_deref() == Some(b"/") && self.random.chance(80) {
            path = Some(b"/a".to_vec());
        }
        let acl = if self.random.chance(60) { pool::acl(&mut self.random) } else { pool::odd_acl(&mut self.random) };
        let text = text_of(&path);
        let version = pool::version(&mut self.random, self.guess.acl_version(&text));
        Op::SetAcl { path, acl, version }
    }

    fn get_children(&mut self) -> Op {
        let (path, watch) = self.watchable();
        Op::GetChildren { opcode: self.random.pick(&[opcode::GET_CHILDREN, opcode::GET_CHILDREN2]), path, watch }
    }

    fn multi(&mut self) -> Op {
        let count = self.random.weighted(&[5, 25, 30, 20, 10, 10]);
        let ops: Vec<Op> = (0..count).map(|_| self.sub_op()).collect();
        Op::Multi { opcode: opcode::MULTI, ops }
    }

    /// What a multi may hold, and now and then what it may not.
    fn sub_op(&mut self) -> Op {
        match self.random.weighted(&[40, 4, 14, 28, 12, 1]) {
            0 => match self.create() {
                // Flags that the frame can't have would fail the whole multi.
                Op::Create { opcode, path, data, acl, flags } if !(0..=4).contains(&flags) => {
                    let flags = if self.random.chance(80) { 0 } else { flags };
                    Op::Create { opcode, path, data, acl, flags }
                }
                Op::Create { path, data, acl, flags: 1 | 3, opcode: opcode::CREATE_CONTAINER } => {
                    Op::Create { opcode: opcode::CREATE_CONTAINER, path, data, acl, flags: 0 }
                }
                other => other,
            },
            1 => self.create_ttl(),
            2 => self.delete(),
            3 => self.set_data(),
            4 => self.check(),
            _ => match self.random.below(4) {
                0 => self.set_acl(),
                1 => self.get_children(),
                2 => Op::Exists { path: self.path(), watch: 0 },
                _ => Op::Ping,
            },
        }
    }

    fn check(&mut self) -> Op {
        let path = self.path();
        let version = pool::version(&mut self.random, self.guess.version(&text_of(&path)));
        Op::Check { path, version }
    }

    fn multi_read(&mut self) -> Op {
        let count = self.random.below(6);
        let ops = (0..count)
            .map(|_| match self.random.weighted(&[48, 48, 3]) {
                0 => Op::GetData { path: self.path(), watch: self.watch() },
                1 => Op::GetChildren { opcode: opcode::GET_CHILDREN, path: self.path(), watch: self.watch() },
                _ => self.sub_op(),
            })
            .collect();
        Op::Multi { opcode: opcode::MULTI_READ, ops }
    }

    fn auth(&mut self) -> Op {
        let r = &mut self.random;
        let scheme = match r.weighted(&[84, 8, 2, 2, 2, 2]) {
            0 => Some("digest"),
            1 => Some("ip"),
            2 => Some("world"),
            3 => Some("nosuch"),
            4 => Some(""),
            _ => None,
        };
        Op::Auth { kind: r.pick(&[0, 0, 0, 7, -1]), scheme: scheme.map(str::to_owned), data: pool::auth_data(r) }
    }

    fn set_watches(&mut self) -> Op {
        let count = self.random.pick(&[3, 5]);
        let mut lists: Vec<_> = (0..count)
            .map(|_| {
                let paths = self.random.below(4);
                Some((0..paths).map(|_| self.path()).collect::<Vec<Path>>())
            })
            .collect();
        if self.random.chance(8) {
            // The lists before a null one are carried out, and then it fails.
            lists[self.random.below(count)] = None;
        }
        let relative = match self.random.below(8) {
            0 => Relative::Exactly(0),
            1 => Relative::Exactly(i64::MAX),
            2 => Relative::Exactly(-1),
            _ => Relative::Seen(self.random.pick(&[0, 0, 1, 2, 5, 20])),
        };
        Op::SetWatches { relative, lists }
    }

    fn unknown(&mut self) -> Op {
        if self.random.chance(30) {
            return self.check();
        }
        let opcode = self.random.pick(&[0, -1, 10, 23, 99, 108, 1000, -2, i32::MAX, i32::MIN]);
        Op::Unknown { opcode, body: vec![0; self.random.below(20)] }
    }

    fn reconfig(&mut self) -> Op {
        let server = "server.1=127.0.0.1:2888:3888:participant;2181".to_owned();
        Op::Reconfig {
            joining: self.random.chance(50).then(|| server.clone()),
            leaving: self.random.chance(30).then(|| "1".to_owned()),
            members: self.random.chance(30).then_some(server),
            config: self.random.pick(&[-1, 0, 5]),
        }
    }
}
