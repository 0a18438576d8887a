//! Which executor holds which roles, on which CPU, and whether it polls before it sleeps. Pure.
//!
//! Flow       machine + wishes -> [`plan`] -> [`Plan`], which is printed at start and followed by the server.
//! Invariant  replica, link and log live on exactly one executor each, serve on at least one; a server without peers has
//!            no link. No two executors are pinned to one CPU, unless the layout names it twice: then neither polls.
//! Absent     moving roles at run time. A plan holds until the process ends.
//!
//! The measurements behind the rules stand in README.md beside this file: a hop between two sleeping cores costs 20 to
//! 45 µs, between two that poll 4 µs, and none at all when both roles live on one executor.

use std::fmt;

use crate::layout::{Group, Layout, joined};
use crate::topology::{Cpu, Machine};

/// From so many CPUs on, roles get cores of their own: three for replica, link and log, one at least to serve.
pub const DEDICATED_CPUS_MIN: usize = 4;

/// From so many CPUs on the log has an executor of its own: its syncs may then be plain calls.
pub const PAIRED_CPUS_MIN: usize = 2;

/// How long an executor with a core of its own polls before it sleeps, µs. Long enough to bridge the gap between a
/// write and its sync (about 100 µs on the disks measured), short enough to cost an idle server nothing.
pub const DEDICATED_SPIN_US: u32 = 100;

/// The same for a pair, which has everything else of the host beside it: its syncs take longer now and then.
pub const PAIRED_SPIN_US: u32 = 200;

/// A set of tasks that lives on one executor. What each must never wait for is the reason that they are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Prepares writes, orders them, holds the tree and the sessions' expiry. Waits for no disk and no client.
    Replica,
    /// The sockets to other members. Does not wait for the replica.
    Link,
    /// Append, sync, segments, snapshots, purge. Waits for nothing else.
    Log,
    /// Client sockets, frames, reads, watches, replies. Waits for no disk.
    Serve,
}

impl Role {
    /// Every role, in the order in which plans name them.
    pub const ALL: [Role; 4] = [Role::Replica, Role::Link, Role::Log, Role::Serve];

    /// As layouts write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Replica => "replica",
            Role::Link => "link",
            Role::Log => "log",
            Role::Serve => "serve",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the configuration wants of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Whether there are other members to link to. Without, no executor is kept for it.
    pub has_peers: bool,
    /// Which roles share an executor.
    pub layout: Layout,
    /// How long every executor polls before it sleeps, µs. `None`: as the layout has it.
    pub spin_us: Option<u32>,
}

/// Where an executor's thread may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Anywhere: the scheduler decides. Such an executor cannot spin (glommio polls only on a bound thread).
    Anywhere,
    /// On one CPU.
    To(usize),
    /// On any of these: bound, and so able to spin, yet free to move.
    Among(Vec<usize>),
}

/// One executor of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executor {
    /// What lives on it, in the order of [`Role::ALL`].
    pub roles: Vec<Role>,
    /// Where its thread runs.
    pub pin: Pin,
    /// How long it polls before it sleeps, µs; 0 is not at all.
    pub spin_us: u32,
}

impl Executor {
    /// Whether `role` lives here.
    pub fn holds(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Which executor holds which roles, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The executors; those of serve come last.
    pub executors: Vec<Executor>,
    /// Why this plan and no other, for the line printed at start.
    pub reason: String,
}

impl Plan {
    /// Whether one executor holds every role, so that no message crosses cores.
    pub fn is_single(&self) -> bool {
        self.executors.len() == 1
    }

    /// Indices of the executors that hold `role`.
    pub fn holders(&self, role: Role) -> impl Iterator<Item = usize> + '_ {
        self.executors.iter().enumerate().filter(move |(_, executor)| executor.holds(role)).map(|(index, _)| index)
    }

    fn check(&self, machine: &Machine, has_peers: bool) {
        for role in [Role::Replica, Role::Log] {
            assert_eq!(self.holders(role).count(), 1, "{role} lives on exactly one executor");
        }
        assert_eq!(self.holders(Role::Link).count(), usize::from(has_peers), "a link only to peers");
        assert!(self.executors.iter().all(|executor| !executor.roles.is_empty()), "an executor has something to do");
        assert!(self.holders(Role::Serve).count() >= 1, "somebody serves");
        let mut pinned = self.executors.iter().filter_map(Executor::own_cpu);
        assert!(pinned.all(|cpu| machine.cpu(cpu).is_some()), "pinned to a CPU that is not ours");
        let mut polling: Vec<usize> =
            self.executors.iter().filter(|executor| executor.spin_us > 0).filter_map(Executor::own_cpu).collect();
        polling.sort_unstable();
        assert!(polling.windows(2).all(|pair| pair[0] != pair[1]), "two executors poll on one CPU");
    }

    /// Executors that share a CPU do not poll: each would take the other's time.
    fn calm_shared_cpus(&mut self) {
        let cpus: Vec<usize> = self.executors.iter().filter_map(Executor::own_cpu).collect();
        for executor in &mut self.executors {
            if executor.own_cpu().is_some_and(|cpu| cpus.iter().filter(|&&other| other == cpu).count() > 1) {
                executor.spin_us = 0;
            }
        }
    }
}

impl Executor {
    fn own_cpu(&self) -> Option<usize> {
        match self.pin {
            Pin::To(cpu) => Some(cpu),
            Pin::Anywhere | Pin::Among(_) => None,
        }
    }
}

/// The layout asked for cannot be had on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// `paired` or `dedicated` on too small a machine.
    TooFewCpus {
        /// What was asked for.
        layout: Layout,
        /// CPUs that it needs.
        needed: usize,
        /// CPUs that we can keep busy.
        usable: usize,
    },
    /// An explicit layout names a CPU that we may not run on.
    CpuNotAllowed {
        /// The CPU.
        cpu: usize,
    },
    /// An explicit layout leaves a role out, or places one twice that must be one.
    RoleCount {
        /// The role.
        role: Role,
        /// How often it was placed.
        found: usize,
    },
    /// A group with replica, link or log has more than one CPU.
    GroupTooWide {
        /// How many.
        cpus: usize,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::TooFewCpus { layout, needed, usable } => {
                write!(f, "layout {layout} needs {needed} CPUs, {usable} can be used here; use auto")
            }
            PlanError::CpuNotAllowed { cpu } => write!(f, "CPU {cpu} does not exist or is not allowed to this process"),
            PlanError::RoleCount { role, found } => {
                write!(f, "{role} must be placed exactly once, found {found} times")
            }
            PlanError::GroupTooWide { cpus } => {
                write!(f, "only serve alone may have several CPUs, a group with another role has {cpus}")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// The plan for this machine and these wishes.
///
/// # Errors
/// When the wishes cannot be had here; `auto` and `single` always can.
pub fn plan(machine: &Machine, wishes: &Wishes) -> Result<Plan, PlanError> {
    let usable = machine.usable_cpus();
    let limit = if machine.limited_by_quota() { "allowed by the control group's quota" } else { "allowed" };
    let counted = format!("{usable} CPU{} {limit}", if usable == 1 { "" } else { "s" });
    let as_configured = format!("as configured; {counted}");
    let layout = &wishes.layout;
    let mut plan = match layout {
        // A quota is spent by polling as by work, and a pair that does not poll is slower than one executor.
        Layout::Auto if usable < PAIRED_CPUS_MIN || (usable < DEDICATED_CPUS_MIN && machine.limited_by_quota()) => {
            single(machine, wishes, counted)
        }
        // Each write of an ensemble wakes several processes one after the other. Where they share CPUs polling keeps them
        // from running, and the member that has a host to itself waits for the network anyway.
        Layout::Auto if usable < DEDICATED_CPUS_MIN && wishes.has_peers => single(machine, wishes, counted),
        Layout::Auto if usable < DEDICATED_CPUS_MIN => paired(machine, wishes, counted),
        Layout::Auto => dedicated(machine, wishes, counted),
        Layout::Single => single(machine, wishes, as_configured),
        Layout::Paired => {
            require(layout, usable, PAIRED_CPUS_MIN)?;
            paired(machine, wishes, as_configured)
        }
        Layout::Dedicated => {
            require(layout, usable, DEDICATED_CPUS_MIN)?;
            dedicated(machine, wishes, as_configured)
        }
        Layout::Explicit(groups) => explicit(machine, wishes, groups, as_configured)?,
    };
    if let Some(spin_us) = wishes.spin_us {
        plan.executors.iter_mut().for_each(|executor| executor.spin_us = spin_us);
    }
    plan.calm_shared_cpus();
    plan.check(machine, wishes.has_peers);
    Ok(plan)
}

fn require(layout: &Layout, usable: usize, needed: usize) -> Result<(), PlanError> {
    if usable < needed {
        return Err(PlanError::TooFewCpus { layout: layout.clone(), needed, usable });
    }
    Ok(())
}

/// The roles that there are.
fn roles(wishes: &Wishes) -> Vec<Role> {
    Role::ALL.into_iter().filter(|&role| role != Role::Link || wishes.has_peers).collect()
}

/// One executor. It stays unpinned: with few CPUs the kernel's choice (away from interrupts, from a neighbour's load)
/// beats ours. It sleeps at once when idle, as a core that spins here is one that clients on the same host miss.
fn single(machine: &Machine, wishes: &Wishes, reason: String) -> Plan {
    let pin = match wishes.spin_us {
        None | Some(0) => Pin::Anywhere,
        Some(_) => Pin::Among(machine.cpus().iter().map(|cpu| cpu.id).collect()),
    };
    Plan { executors: vec![Executor { roles: roles(wishes), pin, spin_us: 0 }], reason }
}

/// Two executors that poll, pinned apart: left to itself the scheduler puts them on one CPU every now and then. The log is
/// the one away from the kernel's favourite.
fn paired(machine: &Machine, wishes: &Wishes, reason: String) -> Plan {
    let others = roles(wishes).into_iter().filter(|&role| role != Role::Log).collect();
    let spin_us = wishes.spin_us.unwrap_or(PAIRED_SPIN_US);
    let cpus = by_nearness(machine);
    let executors = vec![pinned(vec![Role::Log], cpus[0].id, spin_us), pinned(others, cpus[1].id, spin_us)];
    Plan { executors, reason }
}

/// Replica, link and log on cores that share a cache if any cache has three, since they talk to each other most.
fn dedicated(machine: &Machine, wishes: &Wishes, reason: String) -> Plan {
    let cores = by_nearness(machine);
    let roles: Vec<Role> = roles(wishes).into_iter().filter(|&role| role != Role::Serve).collect();
    let own: Vec<Cpu> = cores.iter().take(roles.len()).copied().collect();
    let others = machine.cpus().iter().filter(|cpu| !own.iter().any(|taken| taken.id == cpu.id));
    // A hyperthread beside a polling core would take half of it. On a machine with few cores there is no choice.
    let away: Vec<Cpu> =
        others.clone().filter(|cpu| !own.iter().any(|taken| taken.core == cpu.core)).copied().collect();
    let serve = if away.is_empty() { others.copied().collect() } else { away };
    let serve_count_max = machine.usable_cpus() - own.len();
    let mut executors: Vec<Executor> =
        roles.iter().zip(&own).map(|(&role, cpu)| pinned(vec![role], cpu.id, DEDICATED_SPIN_US)).collect();
    executors.extend(serve.iter().take(serve_count_max).map(|cpu| pinned(vec![Role::Serve], cpu.id, 0)));
    Plan { executors, reason }
}

/// CPUs in the order in which dedicated roles take them: first threads of cores before second ones; the biggest cache
/// group first; CPU 0 last within its group, as interrupts and the kernel's own threads favour it.
fn by_nearness(machine: &Machine) -> Vec<Cpu> {
    let first_threads = |cache: usize| -> usize {
        machine.cpus().iter().filter(|cpu| cpu.cache == cache && is_first_thread(machine, cpu)).count()
    };
    let mut cpus = machine.cpus().to_vec();
    cpus.sort_by_key(|cpu| {
        let second_thread = !is_first_thread(machine, cpu);
        let cores_beside = usize::MAX - first_threads(cpu.cache);
        (second_thread, cores_beside, cpu.node, cpu.cache, cpu.id == 0, cpu.id)
    });
    cpus
}

/// Whether this is the lowest CPU of its core among those that we may use.
fn is_first_thread(machine: &Machine, cpu: &Cpu) -> bool {
    machine.cpus().iter().find(|other| other.core == cpu.core).is_some_and(|first| first.id == cpu.id)
}

fn pinned(roles: Vec<Role>, cpu: usize, spin_us: u32) -> Executor {
    Executor { roles, pin: Pin::To(cpu), spin_us }
}

fn explicit(machine: &Machine, wishes: &Wishes, groups: &[Group], reason: String) -> Result<Plan, PlanError> {
    let mut executors = Vec::new();
    for group in groups {
        let serve_alone = group.roles == [Role::Serve];
        if !serve_alone && group.cpus.len() > 1 {
            return Err(PlanError::GroupTooWide { cpus: group.cpus.len() });
        }
        let mut roles: Vec<Role> =
            group.roles.iter().copied().filter(|&role| role != Role::Link || wishes.has_peers).collect();
        roles.sort_unstable();
        if roles.is_empty() {
            continue;
        }
        let spin_us = if serve_alone { 0 } else { DEDICATED_SPIN_US };
        executors.extend(group.cpus.iter().map(|&cpu| pinned(roles.clone(), cpu, spin_us)));
    }
    check_explicit(machine, wishes, groups)?;
    executors.sort_by_key(|executor| executor.roles == [Role::Serve]);
    Ok(Plan { executors, reason })
}

fn check_explicit(machine: &Machine, wishes: &Wishes, groups: &[Group]) -> Result<(), PlanError> {
    let mut cpus = groups.iter().flat_map(|group| &group.cpus).copied();
    if let Some(cpu) = cpus.find(|&cpu| machine.cpu(cpu).is_none()) {
        return Err(PlanError::CpuNotAllowed { cpu });
    }
    for role in Role::ALL {
        let found = groups.iter().flat_map(|group| &group.roles).filter(|&&placed| placed == role).count();
        let may_miss = role == Role::Link && !wishes.has_peers;
        if (found == 0 && !may_miss) || (role != Role::Serve && found > 1) {
            return Err(PlanError::RoleCount { role, found });
        }
    }
    Ok(())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.executors.len();
        write!(f, "{count} executor{} ({})", if count == 1 { "" } else { "s" }, self.reason)?;
        let mut rest = self.executors.as_slice();
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|other| other.roles == first.roles && other.spin_us == first.spin_us);
            let (run, after) = rest.split_at(same.count());
            write!(f, "\n  {}: {}, {}", joined(&first.roles, "+"), place(run), idle(first))?;
            rest = after;
        }
        Ok(())
    }
}

fn place(run: &[Executor]) -> String {
    match &run[0].pin {
        Pin::Anywhere => "any CPU".to_owned(),
        Pin::Among(cpus) => format!("any of CPUs {}", joined(cpus, ",")),
        Pin::To(cpu) if run.len() == 1 => format!("CPU {cpu}"),
        Pin::To(_) => format!("CPUs {}", joined(&run.iter().filter_map(Executor::own_cpu).collect::<Vec<_>>(), ",")),
    }
}

fn idle(executor: &Executor) -> String {
    match executor.spin_us {
        0 => "sleeps when idle".to_owned(),
        spin_us => format!("polls {spin_us} µs before it sleeps"),
    }
}

#[cfg(test)]
#[path = "placement/tests.rs"]
mod tests;
