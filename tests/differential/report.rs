//! Runs a plan on two servers and says where they part.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{Frame, Value};
use super::compare::Mapping;
use super::generate::Generator;
use super::play::{Outcome, Player};
use super::pool;
use super::request::{Op, Request, Spoil};
use super::step::{Plan, Profile, Step};
use crate::four_letter;
use crate::server::{Kind, Server, Settings};
use crate::wire::opcode;

/// Xids of the requests that compare the trees at the end.
const FINAL_XID: i32 = 0x7e00_0000;
/// How long gauges may take to agree: a server notices closed connections on its own time.
const GAUGE_LIMIT: Duration = Duration::from_secs(5);
/// Gauges that must agree when everything is still.
const GAUGES: [&str; 5] =
    ["zk_approximate_data_size", "zk_znode_count", "zk_watch_count", "zk_ephemerals_count", "zk_global_sessions"];

/// Where two servers part.
#[derive(Debug)]
pub struct Divergence {
    /// The plan up to there.
    pub plan: Plan,
    /// What differs.
    pub problem: String,
    /// The step's frames on each server.
    pub answers: [Outcome; 2],
}

/// The servers' configuration for a plan.
pub fn settings(profile: Profile) -> Settings {
    Settings::new()
        // Sessions must not expire, nodes not be reaped: those are matters of time, with tests of their own.
        .line("minSessionTimeout", 600_000)
        .line("maxSessionTimeout", 1_200_000)
        .property("znode.container.checkIntervalMs", 86_400_000)
        .property("zookeeper.DigestAuthenticationProvider.superDigest", pool::SUPER)
        .property("zookeeper.extendedTypesEnabled", profile.extended_types)
        .property("zookeeper.enforceQuota", profile.enforce_quota)
        .property("zookeeper.skipACL", if profile.skip_acl { "yes" } else { "no" })
}

/// Makes the plan of a seed while it is played: the original's answers decide what is worth saying next.
///
/// # Errors
/// The first divergence.
pub fn explore(seed: u64, operations: usize, kinds: [&Kind; 2]) -> Result<(), Box<Divergence>> {
    let mut generator = Generator::new(seed);
    let mut pair = Pair::start(generator.plan(seed), kinds);
    let mut said = 0;
    while said < operations {
        let step = generator.next_step();
        said += step.requests().len().max(1);
        let outcome = pair.play(step.clone())?;
        generator.learn(&step, &outcome);
    }
    pair.finish()
}

/// Plays a plan as it stands.
///
/// # Errors
/// The first divergence.
pub fn replay(plan: &Plan, kinds: [&Kind; 2]) -> Result<(), Box<Divergence>> {
    let mut pair = Pair::start(Plan { steps: Vec::new(), ..plan.clone() }, kinds);
    for step in &plan.steps {
        pair.play(step.clone())?;
    }
    pair.finish()
}

/// Two fresh servers, and what was said to both.
struct Pair {
    servers: [Server; 2],
    players: [Player; 2],
    mapping: Mapping,
    said: Plan,
}

impl Pair {
    fn start(said: Plan, kinds: [&Kind; 2]) -> Self {
        let servers = thread::scope(|scope| {
            let starting = kinds.map(|kind| scope.spawn(|| Server::start(kind, settings(said.profile))));
            starting.map(|handle| handle.join().expect("starting a server panics only with its log"))
        });
        let players = [Player::new(servers[0].address()), Player::new(servers[1].address())];
        Self { servers, players, mapping: Mapping::default(), said }
    }

    /// Says one step to both and gives what the first answered.
    fn play(&mut self, step: Step) -> Result<Outcome, Box<Divergence>> {
        let answers = [self.players[0].play(&step), self.players[1].play(&step)];
        let any_order = step.requests().iter().any(|request| request.op == Op::CloseSession);
        self.said.steps.push(step);
        match compare(&mut self.mapping, &answers, any_order) {
            Ok(()) => {
                let [first, _] = answers;
                Ok(first)
            }
            Err(problem) => Err(self.divergence(problem, answers)),
        }
    }

    fn finish(mut self) -> Result<(), Box<Divergence>> {
        if let Err((problem, answers)) = compare_trees(&mut self.players, &mut self.mapping) {
            return Err(self.divergence(format!("at the end: {problem}"), answers));
        }
        // The original overwrites a quota's usage in place and leaves its gauge as it was.
        let quota = self.said.steps.iter().flat_map(Step::requests).any(|request| names_usage(&request.op));
        compare_gauges(&self.servers, if quota { &GAUGES[1..] } else { &GAUGES })
            .map_err(|problem| self.divergence(problem, [Vec::new(), Vec::new()]))
    }

    fn divergence(&mut self, problem: String, answers: [Outcome; 2]) -> Box<Divergence> {
        let mut logs = String::new();
        for server in &mut self.servers {
            if let Some(status) = server.ended() {
                logs = format!("{logs}; a {:?} ended with {status}:\n{}", server.kind(), server.log_tail(30));
            }
        }
        Box::new(Divergence { plan: self.said.clone(), problem: problem + &logs, answers })
    }
}

fn compare(mapping: &mut Mapping, answers: &[Outcome; 2], any_order: bool) -> Result<(), String> {
    for ((slot, left), (other, right)) in answers[0].iter().zip(&answers[1]) {
        if slot != other {
            return Err(format!("slot {slot} is open on one server, slot {other} on the other"));
        }
        mapping.frames(left, right, any_order).map_err(|problem| format!("slot {slot}: {problem}"))?;
    }
    if answers[0].len() == answers[1].len() { Ok(()) } else { Err("different slots are open".to_owned()) }
}

/// Walks both trees as super user and compares every node.
fn compare_trees(players: &mut [Player; 2], mapping: &mut Mapping) -> Result<(), (String, [Outcome; 2])> {
    let ask = |op: Op| Request { xid: FINAL_XID, op, spoil: Spoil::No };
    let auth = Op::Auth { kind: 0, scheme: Some("digest".to_owned()), data: pool::super_auth() };
    let mut queue = VecDeque::from([vec![ask(auth)]]);
    let node = |path: &[u8]| {
        let path = Some(path.to_vec());
        vec![
            ask(Op::GetData { path: path.clone(), watch: 0 }),
            ask(Op::GetAcl { path: path.clone() }),
            ask(Op::GetAllChildrenNumber { path: path.clone() }),
            ask(Op::GetChildren { opcode: opcode::GET_CHILDREN2, path, watch: 0 }),
        ]
    };
    queue.push_back(node(b"/"));
    while let Some(requests) = queue.pop_front() {
        let asked = match &requests[0].op {
            Op::GetData { path: Some(path), .. } => Some(path.clone()),
            _ => None,
        };
        let step = Step::Requests { slot: 0, requests };
        let answers = [players[0].play(&step), players[1].play(&step)];
        if let Err(problem) = compare(mapping, &answers, false) {
            let at = asked.map(|path| String::from_utf8_lossy(&path).into_owned());
            return Err((format!("{}: {problem}", at.unwrap_or_default()), answers));
        }
        let Some(parent) = asked else { continue };
        for name in children(&answers[0]) {
            let mut path = if parent == b"/" { Vec::new() } else { parent.clone() };
            path.push(b'/');
            path.extend(name);
            queue.push_back(node(&path));
        }
    }
    Ok(())
}

fn children(outcome: &Outcome) -> Vec<Vec<u8>> {
    let frames = outcome.iter().flat_map(|(_, frames)| frames);
    let fields = frames.filter_map(|frame| match frame {
        Frame::Reply { opcode: opcode::GET_CHILDREN2, body: Value::Record(fields), .. } => Some(fields),
        _ => None,
    });
    let sets = fields.flatten().filter_map(|(name, value)| match value {
        Value::Set(names) if *name == "children" => Some(names),
        _ => None,
    });
    sets.flatten().filter_map(|name| if let Value::Bytes(name) = name { name.clone() } else { None }).collect()
}

fn names_usage(op: &Op) -> bool {
    match op {
        Op::Multi { ops, .. } => ops.iter().any(names_usage),
        op => op.path().is_some_and(|path| path.as_ref().is_some_and(|path| path.ends_with(b"zookeeper_stats"))),
    }
}

fn compare_gauges(servers: &[Server; 2], names: &[&str]) -> Result<(), String> {
    let deadline = Instant::now() + GAUGE_LIMIT;
    loop {
        let [left, right] = [gauges(&servers[0], names), gauges(&servers[1], names)];
        if left == right {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("at the end: mntr: {left:?} against {right:?}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn gauges(server: &Server, names: &[&str]) -> Vec<String> {
    let text = four_letter::ask(server.address(), "mntr").unwrap_or_else(|error| format!("mntr: {error}"));
    let mut found: Vec<String> = text
        .lines()
        .filter(|line| line.split('\t').next().is_some_and(|name| names.contains(&name)))
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

/// A divergence for a reader: every step that is left, and both answers to the last.
pub fn describe(divergence: &Divergence, names: [&str; 2]) -> String {
    let mut text = String::new();
    let plan = &divergence.plan;
    let _ = writeln!(text, "seed {} ({:?}): {}", plan.seed, plan.profile, divergence.problem);
    let _ = writeln!(text, "--- the shortest sequence that shows it");
    for (index, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(text, "{index}: {}", step_text(step));
    }
    for (name, outcome) in names.iter().zip(&divergence.answers) {
        let _ = writeln!(text, "--- {name} answered the last step");
        for (slot, frames) in outcome {
            for frame in frames {
                let _ = writeln!(text, "slot {slot}: {}", frame_text(frame));
            }
        }
    }
    text
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Requests { slot, requests } => format!("slot {slot}: {}", requests_text(requests)),
        Step::Connect { slot, hello, requests } => {
            format!("slot {slot}: {hello:?}\n       then {}", requests_text(requests))
        }
        Step::Raw { slot, bytes, .. } => format!("slot {slot}: raw {bytes:02x?}"),
    }
}

fn requests_text(requests: &[Request]) -> String {
    let texts: Vec<String> = requests
        .iter()
        .map(|request| match &request.spoil {
            Spoil::No => format!("[{}] {}", request.xid, readable(&format!("{:?}", request.op))),
            spoil => format!("[{}] {} {spoil:?}", request.xid, readable(&format!("{:?}", request.op))),
        })
        .collect();
    texts.join("\n       ")
}

fn frame_text(frame: &Frame) -> String {
    readable(&format!("{frame:?}"))
}

/// Turns the lists of numbers that `Debug` makes of bytes into text, and shortens long ones.
fn readable(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug;
    while let Some(start) = rest.find("Some([") {
        let Some(end) = rest[start..].find(']').map(|end| start + end) else { break };
        let inside = &rest[start + "Some([".len()..end];
        let bytes: Result<Vec<u8>, _> = inside.split(", ").filter(|n| !n.is_empty()).map(str::parse).collect();
        match bytes {
            Ok(bytes) => {
                text.push_str(&rest[..start]);
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
                let _ = write!(text, "{shown:?}");
                if bytes.len() > 80 {
                    let _ = write!(text, "+{}", bytes.len() - 80);
                }
                rest = rest[end + 1..].strip_prefix(')').unwrap_or(&rest[end + 1..]);
            }
            Err(_) => {
                text.push_str(&rest[..start + "Some([".len()]);
                rest = &rest[start + "Some([".len()..];
            }
        }
    }
    text.push_str(rest);
    text
}
