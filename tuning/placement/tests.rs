//! Plans for machines of 1 to 130 CPUs.

use super::*;

fn auto(machine: &Machine) -> Plan {
    plan(machine, &Wishes { has_peers: true, ..Wishes::default() }).unwrap()
}

fn wish(layout: &str) -> Wishes {
    Wishes { has_peers: true, layout: layout.parse().unwrap(), spin_us: None }
}

/// `cores` cores of two threads, numbered as Linux does: CPU n and n + cores are siblings.
fn with_hyperthreads(cores: usize) -> Machine {
    Machine::new((0..2 * cores).map(|id| Cpu { id, core: id % cores, cache: 0, node: 0 }).collect(), None)
}

fn pins(plan: &Plan) -> Vec<usize> {
    plan.executors.iter().filter_map(Executor::own_cpu).collect()
}

#[test]
fn on_one_cpu_one_executor_holds_every_role() {
    let plan = auto(&Machine::uniform(1));
    assert_eq!(plan.executors, [Executor { roles: Role::ALL.to_vec(), pin: Pin::Anywhere, spin_us: 0 }]);
}

#[test]
fn on_two_and_three_cpus_the_log_has_an_executor_to_itself() {
    for count in [2, 3] {
        let plan = plan(&Machine::uniform(count), &Wishes::default()).unwrap();
        let roles: Vec<_> = plan.executors.iter().map(|executor| executor.roles.as_slice()).collect();
        assert_eq!(roles, [&[Role::Log][..], &[Role::Replica, Role::Serve]]);
        assert_eq!(pins(&plan), [1, if count == 2 { 0 } else { 2 }], "the kernel's favourite comes last");
        assert!(plan.executors.iter().all(|executor| executor.spin_us == PAIRED_SPIN_US));
    }
}

#[test]
fn a_member_on_two_or_three_cpus_is_one_executor_that_does_not_poll() {
    for count in [2, 3] {
        let plan = auto(&Machine::uniform(count));
        assert_eq!(plan.executors, [Executor { roles: Role::ALL.to_vec(), pin: Pin::Anywhere, spin_us: 0 }]);
    }
}

#[test]
fn from_four_cpus_on_replica_link_and_log_have_their_own_and_the_rest_serve() {
    for count in [4, 8, 16, 64] {
        let plan = auto(&Machine::uniform(count));
        assert_eq!(plan.executors.len(), count);
        for (index, role) in [Role::Replica, Role::Link, Role::Log].into_iter().enumerate() {
            assert_eq!(plan.executors[index].roles, [role]);
            assert_eq!(plan.executors[index].spin_us, DEDICATED_SPIN_US);
        }
        assert_eq!(plan.holders(Role::Serve).collect::<Vec<_>>(), (3..count).collect::<Vec<_>>());
    }
}

#[test]
fn the_kernels_favourite_cpu_serves() {
    assert_eq!(pins(&auto(&Machine::uniform(4))), [1, 2, 3, 0]);
}

#[test]
fn hyperthreads_of_polling_cores_stay_idle() {
    let plan = auto(&with_hyperthreads(4));
    assert_eq!(pins(&plan), [1, 2, 3, 0, 4], "CPUs 5, 6 and 7 would slow down replica, link and log");
}

#[test]
fn two_cores_with_two_threads_still_give_every_role_a_cpu() {
    let plan = auto(&with_hyperthreads(2));
    assert_eq!(plan.executors.len(), 4);
    assert_eq!(pins(&plan)[..2], [1, 0], "whole cores first");
}

#[test]
fn dedicated_roles_share_a_cache_when_one_is_wide_enough() {
    let caches = [0, 0, 2, 2, 2, 2, 6, 6];
    let cpus = caches.iter().enumerate().map(|(id, &cache)| Cpu { id, core: id, cache, node: 0 });
    let plan = auto(&Machine::new(cpus.collect(), None));
    assert_eq!(pins(&plan)[..3], [2, 3, 4]);
}

#[test]
fn a_quota_counts_as_the_machines_size() {
    let cpus = Machine::uniform(64).cpus().to_vec();
    assert!(auto(&Machine::new(cpus.clone(), Some(2))).is_single());
    assert_eq!(auto(&Machine::new(cpus, Some(6))).executors.len(), 6);
}

#[test]
fn a_wished_spin_binds_the_single_executor_without_pinning_it() {
    let plan = plan(&Machine::uniform(2), &Wishes { spin_us: Some(50), ..wish("single") }).unwrap();
    assert_eq!(plan.executors[0].pin, Pin::Among(vec![0, 1]));
    assert_eq!(plan.executors[0].spin_us, 50);
}

#[test]
fn explicit_layouts_are_followed() {
    let plan = plan(&Machine::uniform(8), &wish("serve=4-6,0/log+replica=2/link=3")).unwrap();
    assert_eq!(plan.executors[0].roles, [Role::Replica, Role::Log]);
    assert_eq!(pins(&plan), [2, 3, 0, 4, 5, 6]);
    assert_eq!(
        plan.to_string(),
        "6 executors (as configured; 8 CPUs allowed)\n  \
         replica+log: CPU 2, polls 100 µs before it sleeps\n  \
         link: CPU 3, polls 100 µs before it sleeps\n  \
         serve: CPUs 0,4,5,6, sleeps when idle"
    );
}

#[test]
fn executors_that_share_a_cpu_do_not_poll() {
    let wishes = Wishes { spin_us: Some(50), ..wish("replica=0/log+link=1/serve=1-2") };
    let plan = plan(&Machine::uniform(3), &wishes).unwrap();
    assert_eq!(pins(&plan), [0, 1, 1, 2]);
    let spins: Vec<u32> = plan.executors.iter().map(|executor| executor.spin_us).collect();
    assert_eq!(spins, [50, 0, 0, 50]);
}

#[test]
fn without_peers_nothing_is_kept_for_the_link() {
    let alone = |layout: &str| Wishes { has_peers: false, ..wish(layout) };
    let dedicated = plan(&Machine::uniform(4), &alone("auto")).unwrap();
    let roles: Vec<_> = dedicated.executors.iter().map(|executor| executor.roles.as_slice()).collect();
    assert_eq!(roles, [[Role::Replica], [Role::Log], [Role::Serve], [Role::Serve]]);
    let single = plan(&Machine::uniform(1), &alone("auto")).unwrap();
    assert_eq!(single.executors[0].roles, [Role::Replica, Role::Log, Role::Serve]);
    for layout in ["replica=0/log=1/link=2/serve=3", "replica=0/log=1/serve=3"] {
        let plan = plan(&Machine::uniform(4), &alone(layout)).unwrap();
        assert_eq!(pins(&plan), [0, 1, 3], "{layout}");
    }
}

#[test]
fn explicit_layouts_that_cannot_be_are_refused() {
    let cases = [
        ("replica+link+log+serve=9", PlanError::CpuNotAllowed { cpu: 9 }),
        ("replica=0/link=1/serve=2", PlanError::RoleCount { role: Role::Log, found: 0 }),
        ("replica=0/replica+link=1/log=2/serve=3", PlanError::RoleCount { role: Role::Replica, found: 2 }),
        ("replica+link+log+serve=0-1", PlanError::GroupTooWide { cpus: 2 }),
    ];
    for (text, expected) in cases {
        assert_eq!(plan(&Machine::uniform(4), &wish(text)), Err(expected), "{text}");
    }
    for (text, usable, needed) in [("dedicated", 2, 4), ("paired", 1, 2)] {
        let too_few = PlanError::TooFewCpus { layout: text.parse().unwrap(), needed, usable };
        assert_eq!(plan(&Machine::uniform(usable), &wish(text)), Err(too_few), "{text}");
    }
}

#[test]
fn every_size_of_machine_gets_a_plan() {
    for count in 1..=130 {
        for machine in [Machine::uniform(count), with_hyperthreads(count)] {
            auto(&machine);
            plan(&machine, &wish("single")).unwrap();
        }
    }
}
