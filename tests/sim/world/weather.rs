//! Faults strike and pass: what each of the plan does to the world.

use std::io;

use storage::MemDisk;
use storage::mem::Call;

use super::{Node, NodeId, Word, World};
use crate::random::Random;
use crate::sim::disk::SimDisk;
use crate::sim::faults::{Crash, Fault, When};
use crate::sim::schedule::SECOND;
use crate::sim::story::Detail;

impl<N: Node> World<N> {
    pub(super) fn fault_begins(&mut self, index: usize) {
        let planned = &self.plan.faults[index];
        let (now, fault) = (self.schedule.now(), planned.fault.clone());
        self.story.mark(now, &fault);
        self.story.note(Detail::Notes, now, None, || format!("FAULT {fault}"));
        match fault {
            Fault::Crash { node, when, .. } => self.plan_crash(index, node, when),
            Fault::Pause { node } => self.slots[node].paused += 1,
            Fault::OneWay { from, to } => self.network.cut(from, to),
            Fault::Partition { one, other } => {
                self.network.cut(one, other);
                self.network.cut(other, one);
            }
            Fault::Loss { percent } => self.network.set_extra_loss(percent),
            Fault::SlowLink { from, to, extra_us } => self.network.set_extra(from, to, extra_us),
            Fault::Break { one, other } => self.streams.break_between(one, other),
            Fault::SlowDisk { node, times } => self.slots[node].disk.set_slowness(times),
            Fault::FailingSync { node, skip } => {
                self.slots[node].disk.mem().fail(Call::Sync, skip, 1, io::ErrorKind::Other);
            }
            Fault::FailingWrite { node, skip } => {
                self.slots[node].disk.mem().fail(Call::Write, skip, 1, io::ErrorKind::Other);
            }
            Fault::FullDisk { node } => {
                self.slots[node].full += 1;
                self.slots[node].disk.mem().set_free(Some(0));
            }
            Fault::WallJump { node, by_ms } => self.slots[node].clock.jump(by_ms),
            Fault::Drift { node, ppm } => self.slots[node].clock.set_drift(now, ppm),
        }
    }

    pub(super) fn fault_ends(&mut self, index: usize) {
        let planned = &self.plan.faults[index];
        let (now, fault) = (self.schedule.now(), planned.fault.clone());
        self.story.mark(now, &(index, &fault));
        self.story.note(Detail::Notes, now, None, || format!("over  {fault}"));
        match fault {
            Fault::Crash { node, .. } => self.crash_ends(index, node),
            Fault::Pause { node } => self.pause_ends(node),
            Fault::OneWay { from, to } => self.network.heal(from, to),
            Fault::Partition { one, other } => {
                self.network.heal(one, other);
                self.network.heal(other, one);
            }
            Fault::Loss { .. } => self.network.set_extra_loss(0),
            Fault::SlowLink { from, to, .. } => self.network.set_extra(from, to, 0),
            Fault::Break { .. } => {}
            Fault::SlowDisk { node, .. } => self.slots[node].disk.set_slowness(1),
            Fault::FailingSync { node, .. } | Fault::FailingWrite { node, .. } => self.slots[node].disk.mem().heal(),
            Fault::FullDisk { node } => {
                let slot = &mut self.slots[node];
                slot.full -= 1;
                if slot.full == 0 {
                    slot.disk.mem().set_free(None);
                }
            }
            Fault::WallJump { node, by_ms } => self.slots[node].clock.jump(-by_ms),
            Fault::Drift { node, .. } => self.slots[node].clock.set_drift(now, 0),
        }
        self.streams.resume();
    }

    fn plan_crash(&mut self, index: usize, node: NodeId, when: When) {
        let slot = &mut self.slots[node];
        match when {
            When::Now => self.strike(index),
            When::AtOperation(count) => slot.at_operation = Some((index, slot.disk.operations() + count)),
            When::MidTurn(words) => slot.mid_turn = Some((index, words)),
        }
    }

    /// The moment of a planned crash.
    pub(super) fn strike(&mut self, index: usize) {
        let Fault::Crash { node, how, .. } = self.plan.faults[index].fault else {
            unreachable!("only crashes wait for their moment")
        };
        self.slots[node].down += 1;
        self.felled[index] = true;
        self.crash(node, how);
    }

    fn crash_ends(&mut self, index: usize, node: NodeId) {
        let slot = &mut self.slots[node];
        if std::mem::take(&mut self.felled[index]) {
            slot.down -= 1;
            self.boot(node);
            return;
        }
        // Its moment has not come, and does not come any more.
        slot.at_operation = slot.at_operation.filter(|(fault, _)| *fault != index);
        slot.mid_turn = slot.mid_turn.filter(|(fault, _)| *fault != index);
    }

    /// A process ends, with its machine perhaps. What is left of it is on its disk.
    pub(super) fn crash(&mut self, node: NodeId, how: Crash) {
        let now = self.schedule.now();
        self.story.mark(now, &(node, how));
        self.story.note(Detail::Notes, now, Some(node), || format!("is gone ({how:?})"));
        let slot = &mut self.slots[node];
        let ran = slot.node.take().is_some();
        slot.held.clear();
        slot.mid_turn = None;
        slot.at_operation = None;
        let mem = match how {
            Crash::Process => slot.disk.mem().copy(),
            Crash::Power => slot.disk.mem().crash_by(self.random.bits()),
            Crash::Wiped => MemDisk::new(),
        };
        if slot.full > 0 {
            mem.set_free(Some(0));
        }
        let slowness = slot.disk.slowness();
        slot.disk = SimDisk::new(mem, Random::new(self.random.bits()));
        slot.disk.set_slowness(slowness);
        if how != Crash::Process {
            slot.clock.reboot(now, self.random.bits() % SECOND);
        }
        let goes_off = how != Crash::Process;
        if ran {
            self.streams.process_ends(&mut self.network, now, node, goes_off);
            self.reports.push_back((node, Word::Crash));
        } else {
            self.streams.host_mut(node).is_off |= goes_off;
        }
    }

    fn pause_ends(&mut self, node: NodeId) {
        self.slots[node].paused -= 1;
        if self.slots[node].paused > 0 {
            return;
        }
        self.streams.host_mut(node).held_len = 0;
        let held = std::mem::take(&mut self.slots[node].held);
        for event in held {
            // It may crash over one of them; then nobody is there for the rest.
            self.tell(node, event);
        }
    }
}
