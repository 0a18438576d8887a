//! The machine as placement sees it: the CPUs that we may run on and what they share.
//!
//! Flow       the kernel's texts ([`Facts::read`]) -> [`Machine::from_facts`], which is pure and cannot fail.
//! Invariant  a machine has at least one CPU; its CPUs ascend by id and none stands twice.
//! Absent     distances between NUMA nodes: same node or not is all that a placement of four roles can use.

use std::fs;
use std::path::Path;

/// What the kernel says about our CPUs, as text; a missing file is an empty text.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// CPUs that this process may run on, from sched_getaffinity.
    pub allowed: Vec<usize>,
    /// Per allowed CPU, in the order of `allowed`.
    pub cpus: Vec<CpuFacts>,
    /// Per NUMA node: its id and the text of its `cpulist`.
    pub nodes: Vec<(usize, String)>,
    /// `cpu.max` of our control group: quota and period in µs, or `max`.
    pub cpu_max: String,
}

/// Texts about one CPU.
#[derive(Clone, Debug, Default)]
pub struct CpuFacts {
    /// `topology/thread_siblings_list`: the CPUs of the same physical core.
    pub siblings: String,
    /// `cache/index3/shared_cpu_list`: the CPUs that share the last-level cache.
    pub last_cache: String,
}

/// One CPU that we may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub id: usize,
    /// The physical core, named by its lowest CPU.
    pub core: usize,
    /// The last-level cache, named by its lowest CPU.
    pub cache: usize,
    /// The NUMA node.
    pub node: usize,
}

/// The CPUs that we may run on, and how many of them the control group lets us keep busy.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    cpus: Vec<Cpu>,
    quota_cpus: Option<usize>,
}

impl Machine {
    /// The machine that we run on.
    pub fn read() -> Machine {
        Machine::from_facts(&Facts::read())
    }

    /// From the kernel's texts. What is missing or unreadable becomes the plainest machine: each CPU its own core, one
    /// cache, one node, no quota.
    pub fn from_facts(facts: &Facts) -> Machine {
        let mut allowed = facts.allowed.clone();
        if allowed.is_empty() {
            allowed.push(0);
        }
        let cpus = allowed.iter().enumerate().map(|(index, &id)| {
            let texts = facts.cpus.get(index).cloned().unwrap_or_default();
            let node = facts.nodes.iter().find(|(_, list)| parse_cpu_list(list).contains(&id));
            Cpu {
                id,
                core: parse_cpu_list(&texts.siblings).first().copied().unwrap_or(id),
                cache: parse_cpu_list(&texts.last_cache).first().copied().unwrap_or(0),
                node: node.map_or(0, |(number, _)| *number),
            }
        });
        Machine::new(cpus.collect(), parse_quota(&facts.cpu_max))
    }

    /// A machine of these CPUs. `quota_cpus` is how many the control group lets us keep busy, if it limits us.
    ///
    /// # Panics
    /// Without a CPU: a process that runs has one.
    pub fn new(mut cpus: Vec<Cpu>, quota_cpus: Option<usize>) -> Machine {
        assert!(!cpus.is_empty(), "a machine without a CPU");
        cpus.sort_by_key(|cpu| cpu.id);
        cpus.dedup_by_key(|cpu| cpu.id);
        Machine { cpus, quota_cpus }
    }

    /// A machine of `count` CPUs, each its own core, with one cache and one node.
    pub fn uniform(count: usize) -> Machine {
        Machine::new((0..count).map(|id| Cpu { id, core: id, cache: 0, node: 0 }).collect(), None)
    }

    /// The CPUs that we may run on, ascending.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// How many CPUs we can keep busy at once: those allowed, or the control group's quota if that is less.
    ///
    /// A quota is spent by spinning as by work, and a spent quota stops every thread until the next period (100 ms),
    /// so a layout for more CPUs than the quota would stall.
    pub fn usable_cpus(&self) -> usize {
        let usable = self.quota_cpus.map_or(self.cpus.len(), |quota| quota.min(self.cpus.len()));
        usable.max(1)
    }

    /// Whether the control group's quota, not the number of CPUs, is what limits us.
    pub fn limited_by_quota(&self) -> bool {
        self.usable_cpus() < self.cpus.len()
    }

    /// The CPU `id`, if we may run on it.
    pub fn cpu(&self, id: usize) -> Option<Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id).copied()
    }
}

impl Facts {
    /// Asks the kernel. What it does not tell is left empty.
    pub fn read() -> Facts {
        let allowed = allowed_cpus();
        let cpus = allowed.iter().map(|&id| CpuFacts::read(id)).collect();
        Facts { cpus, nodes: read_nodes(), cpu_max: read_cpu_max(), allowed }
    }
}

impl CpuFacts {
    fn read(id: usize) -> CpuFacts {
        let folder = Path::new("/sys/devices/system/cpu").join(format!("cpu{id}"));
        CpuFacts {
            siblings: read_text(&folder.join("topology/thread_siblings_list")),
            last_cache: read_text(&folder.join("cache/index3/shared_cpu_list")),
        }
    }
}

fn allowed_cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => Vec::new(),
    }
}

fn read_nodes() -> Vec<(usize, String)> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/node") else { return Vec::new() };
    let numbered = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
        Some((number, read_text(&entry.path().join("cpulist"))))
    });
    let mut nodes: Vec<_> = numbered.collect();
    nodes.sort();
    nodes
}

/// `cpu.max` of our group in the unified hierarchy. A group's own file is enough in practice: container managers set
/// the quota on the container's group, which is the root that the container sees.
fn read_cpu_max() -> String {
    let groups = read_text(Path::new("/proc/self/cgroup"));
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let below_root = Path::new("/sys/fs/cgroup").join(ours.trim_start_matches('/')).join("cpu.max");
    let text = read_text(&below_root);
    if text.is_empty() { read_text(Path::new("/sys/fs/cgroup/cpu.max")) } else { text }
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The kernel's list format, `0-3,8`. Parts that are no numbers or ranges are skipped, as are numbers past what a CPU
/// set can name.
pub(crate) fn parse_cpu_list(text: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else { continue };
        if last < rustix::thread::CpuSet::MAX_CPU {
            cpus.extend(first..=last);
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

/// Whole CPUs of a `cpu.max` text, rounded down but at least one; `None` when there is no limit.
fn parse_quota(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota_us: usize = words.next()?.parse().ok()?;
    let period_us: usize = words.next()?.parse().ok()?;
    if period_us == 0 {
        return None;
    }
    Some((quota_us / period_us).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_parse() {
        assert_eq!(parse_cpu_list("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_cpu_list("5\n"), [5]);
        assert_eq!(parse_cpu_list(""), [] as [usize; 0]);
        assert_eq!(parse_cpu_list("x,2-1,0-99999999999,7"), [7]);
    }

    #[test]
    fn quota_is_rounded_down_to_whole_cpus_but_never_to_none() {
        assert_eq!(parse_quota("max 100000"), None);
        assert_eq!(parse_quota("150000 100000"), Some(1));
        assert_eq!(parse_quota("50000 100000"), Some(1));
        assert_eq!(parse_quota("400000 100000"), Some(4));
        assert_eq!(parse_quota("400000 0"), None);
        assert_eq!(parse_quota(""), None);
    }

    #[test]
    fn texts_become_cores_caches_and_nodes() {
        let cpu = |siblings: &str, cache: &str| CpuFacts { siblings: siblings.into(), last_cache: cache.into() };
        let machine = Machine::from_facts(&Facts {
            allowed: vec![1, 3, 5],
            cpus: vec![cpu("1,5", "0-3"), cpu("3,7", "0-3"), cpu("1,5", "4-7")],
            nodes: vec![(0, "0-3".into()), (1, "4-7".into())],
            cpu_max: "200000 100000".into(),
        });
        assert_eq!(
            machine.cpus(),
            [
                Cpu { id: 1, core: 1, cache: 0, node: 0 },
                Cpu { id: 3, core: 3, cache: 0, node: 0 },
                Cpu { id: 5, core: 1, cache: 4, node: 1 },
            ]
        );
        assert_eq!(machine.usable_cpus(), 2);
        assert!(machine.limited_by_quota());
    }

    #[test]
    fn a_silent_kernel_gives_one_plain_cpu() {
        let machine = Machine::from_facts(&Facts::default());
        assert_eq!(machine.cpus(), [Cpu { id: 0, core: 0, cache: 0, node: 0 }]);
    }

    #[test]
    fn this_host_is_read() {
        assert!(Machine::read().usable_cpus() >= 1);
    }
}
