//! A plan from a seed: what is likely to collide is likely to be said.

use super::play::SLOTS;
use super::request::{Op, Path, Relative, Request, Spoil};
use super::step::{Hello, LastZxid, Password, Plan, Profile, Step, Which};
use super::{defect, pool};
use crate::random::Random;
use crate::wire::opcode;

/// The plan of a seed with about so many requests.
pub fn plan(seed: u64, operations: usize) -> Plan {
    let mut random = Random::new(seed);
    let profile = Profile {
        extended_types: random.chance(70),
        enforce_quota: random.chance(40),
        skip_acl: random.chance(5),
    };
    let mut generator = Generator { random, profile, xid: 0 };
    let mut steps: Vec<Step> = (0..SLOTS).map(|slot| generator.first_connect(slot)).collect();
    let mut said = 0;
    while said < operations {
        let step = generator.step();
        said += step.requests().len().max(1);
        steps.push(step);
    }
    Plan { seed, profile, steps }
}

struct Generator {
    random: Random,
    profile: Profile,
    xid: i32,
}

impl Generator {
    fn first_connect(&mut self, slot: usize) -> Step {
        let mut hello = self.hello();
        hello.session = Which::New;
        hello.password = Password::Right;
        hello.last_zxid = LastZxid::Zero;
        Step::Connect { slot, hello, requests: self.batch() }
    }

    fn step(&mut self) -> Step {
        let slot = self.random.below(SLOTS);
        match self.random.weighted(&[890, 70, 20, 20]) {
            0 => Step::Requests { slot, requests: self.batch() },
            1 => Step::Connect { slot, hello: self.hello(), requests: self.batch_or_none() },
            2 => self.raw(slot),
            _ => Step::Requests { slot, requests: self.closing() },
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
            // The original checks enforced quotas against what is applied, so two writes in flight race there.
            let races = self.profile.enforce_quota && batch.iter().any(|r| r.op.is_write()) && request.op.is_write();
            if !request.op.stands_alone() && !races {
                batch.push(request);
            }
        }
        if batch.is_empty() { vec![self.request()] } else { batch }
    }

    fn batch_or_none(&mut self) -> Vec<Request> {
        if self.random.chance(50) {
            return Vec::new();
        }
        self.batch().into_iter().filter(|request| !request.op.stands_alone()).collect()
    }

    /// closeSession, perhaps behind other requests.
    fn closing(&mut self) -> Vec<Request> {
        let mut batch = if self.profile.enforce_quota { Vec::new() } else { self.batch_or_none() };
        batch.push(Request { xid: self.next_xid(), op: Op::CloseSession, spoil: Spoil::No });
        batch
    }

    fn hello(&mut self) -> Hello {
        let r = &mut self.random;
        let session = [Which::Own, Which::New, Which::Unknown(1_000_000), Which::Unknown(1)][r.weighted(&[80, 12, 6, 2])];
        let password = [Password::Right, Password::Wrong, Password::Short, Password::Null][r.weighted(&[88, 6, 3, 3])];
        let last_zxid = [LastZxid::Seen, LastZxid::Zero, LastZxid::TooHigh][r.weighted(&[80, 15, 5])];
        Hello {
            session,
            password,
            last_zxid,
            timeout_ms: r.pick(&[0, -5, 1, 60_000, 70_000, 100_000, i32::MAX, i32::MIN]),
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
        match self.random.weighted(&[95, 2, 1, 2]) {
            0 => Spoil::No,
            1 => Spoil::Truncate(1 + self.random.below(30)),
            2 => Spoil::Append(vec![0xab; 1 + self.random.below(5)]),
            _ => {
                let byte = self.random.pick(&[0x00, 0xff, 0x7f, 0x80, 0x01, 0x2f]);
                Spoil::Replace(self.random.below(4096), byte)
            }
        }
    }

    fn op(&mut self) -> Op {
        const WEIGHTS: [u32; 24] =
            [180, 25, 90, 60, 70, 110, 35, 50, 60, 20, 20, 100, 30, 35, 45, 12, 25, 25, 40, 25, 30, 12, 6, 4];
        match self.random.weighted(&WEIGHTS) {
            0 => self.create(),
            1 => self.create_ttl(),
            2 => Op::Delete { path: pool::path(&mut self.random), version: pool::version(&mut self.random) },
            3 => Op::Exists { path: pool::path(&mut self.random), watch: pool::watch(&mut self.random) },
            4 => Op::GetData { path: pool::path(&mut self.random), watch: pool::watch(&mut self.random) },
            5 => self.set_data(),
            6 => Op::GetAcl { path: pool::path(&mut self.random) },
            7 => self.set_acl(),
            8 => self.get_children(),
            9 => Op::Sync { path: pool::path(&mut self.random) },
            10 => Op::Ping,
            11 => self.multi(),
            12 => self.multi_read(),
            13 => self.auth(),
            14 => self.set_watches(),
            15 => Op::Sasl { token: pool::data(&mut self.random) },
            16 => Op::GetEphemerals { path: pool::path(&mut self.random) },
            17 => Op::GetAllChildrenNumber { path: pool::path(&mut self.random) },
            18 => Op::AddWatch { path: pool::path(&mut self.random), mode: self.random.pick(&[0, 0, 0, 1, 1, 1, 2, -1]) },
            19 => Op::CheckWatches { path: pool::path(&mut self.random), kind: self.watcher_type() },
            20 => Op::RemoveWatches { path: pool::path(&mut self.random), kind: self.watcher_type() },
            21 => Op::WhoAmI,
            22 => self.unknown(),
            _ => self.reconfig(),
        }
    }

    fn watcher_type(&mut self) -> i32 {
        self.random.pick(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0, 6, -1])
    }

    fn create(&mut self) -> Op {
        let r = &mut self.random;
        let opcode = r.pick(&[opcode::CREATE, opcode::CREATE, opcode::CREATE2, opcode::CREATE2, opcode::CREATE_CONTAINER]);
        let flags = r.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7, -1]);
        let path = if flags == 2 || flags == 3 { pool::prefix(r) } else { pool::likely(r) };
        let data = self.data_for(&path);
        Op::Create { opcode, path, data, acl: pool::acl(&mut self.random), flags }
    }

    fn create_ttl(&mut self) -> Op {
        let r = &mut self.random;
        let path = pool::likely(r);
        let flags = r.pick(&[5, 5, 5, 5, 6, 6, 0, 1, 2, 3, 4, 7, -1]);
        let ttl = r.pick(&[1, 1000, 100_000, 100_000, 0, -1, 0xff_ffff_ffff, 0x100_0000_0000, i64::MAX, i64::MIN]);
        let data = self.data_for(&path);
        Op::CreateTtl { path, data, acl: pool::acl(&mut self.random), flags, ttl }
    }

    fn set_data(&mut self) -> Op {
        let path = pool::path(&mut self.random);
        let data = self.data_for(&path);
        Op::SetData { path, data, version: pool::version(&mut self.random) }
    }

    fn data_for(&mut self, path: &Path) -> super::request::Data {
        if path.as_ref().is_some_and(|path| path.starts_with(b"/zookeeper/quota/")) {
            pool::quota(&mut self.random)
        } else {
            pool::data(&mut self.random)
        }
    }

    fn set_acl(&mut self) -> Op {
        let mut path = pool::path(&mut self.random);
        // A locked root makes everything below dull; once in a while is enough.
        if path.as_deref() == Some(b"/") && self.random.chance(80) {
            path = Some(b"/a".to_vec());
        }
        Op::SetAcl { path, acl: pool::acl(&mut self.random), version: pool::version(&mut self.random) }
    }

    fn get_children(&mut self) -> Op {
        Op::GetChildren {
            opcode: self.random.pick(&[opcode::GET_CHILDREN, opcode::GET_CHILDREN2]),
            path: pool::likely(&mut self.random),
            watch: pool::watch(&mut self.random),
        }
    }

    fn multi(&mut self) -> Op {
        let count = self.random.below(6);
        let ops = (0..count).map(|_| self.sub_op()).collect();
        Op::Multi { opcode: opcode::MULTI, ops }
    }

    /// What a multi may hold, and now and then what it may not.
    fn sub_op(&mut self) -> Op {
        match self.random.weighted(&[40, 4, 20, 20, 14, 2]) {
            0 => {
                let op = self.create();
                // Flags that the frame can't have would fail nearly every multi.
                match op {
                    Op::Create { opcode, path, data, acl, .. } if self.random.chance(90) => {
                        let flags = self.random.pick(&[0, 0, 0, 1, 2, 2, 3, 4]);
                        let path = if flags == 2 || flags == 3 { pool::prefix(&mut self.random) } else { path };
                        let data = if path.as_ref().is_some_and(|p| p.starts_with(b"/zookeeper")) {
                            pool::quota(&mut self.random)
                        } else {
                            data
                        };
                        Op::Create { opcode, path, data, acl, flags }
                    }
                    other => other,
                }
            }
            1 => self.create_ttl(),
            2 => Op::Delete { path: pool::likely(&mut self.random), version: pool::version(&mut self.random) },
            3 => self.set_data(),
            4 => Op::Check { path: pool::likely(&mut self.random), version: pool::version(&mut self.random) },
            _ => match self.random.below(4) {
                0 => self.set_acl(),
                1 => self.get_children(),
                2 => Op::Exists { path: pool::path(&mut self.random), watch: 0 },
                _ => Op::Ping,
            },
        }
    }

    fn multi_read(&mut self) -> Op {
        let count = self.random.below(6);
        let ops = (0..count)
            .map(|_| match self.random.weighted(&[45, 45, 3]) {
                0 => Op::GetData { path: pool::likely(&mut self.random), watch: pool::watch(&mut self.random) },
                1 => Op::GetChildren {
                    opcode: opcode::GET_CHILDREN,
                    path: pool::likely(&mut self.random),
                    watch: pool::watch(&mut self.random),
                },
                _ => self.sub_op(),
            })
            .collect();
        Op::Multi { opcode: opcode::MULTI_READ, ops }
    }

    fn auth(&mut self) -> Op {
        let r = &mut self.random;
        let scheme = match r.weighted(&[80, 8, 3, 3, 3, 3]) {
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
        let lists = (0..count)
            .map(|_| {
                if self.random.chance(2) {
                    return None;
                }
                let paths = self.random.below(4);
                Some((0..paths).map(|_| pool::path(&mut self.random)).collect())
            })
            .collect();
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
            return Op::Check { path: pool::path(&mut self.random), version: pool::version(&mut self.random) };
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
