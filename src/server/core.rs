//! One executor's roles, and the turn: whatever happens, the messages it leads to are handled before anything else does.
//!
//! Flow       an event (bytes, a message from another core, the disk's word, a clock) -> one role acts -> `settle`: near
//!            mailboxes are emptied until nobody has anything to say, answers are flushed, far batches leave.
//! Invariant  near mailboxes are empty between turns, so that with one executor a write is prepared, and a commit
//!            answered, in the turn that brought it. No borrow of a role is held while another acts.
//! Absent     the roles' work, and waiting.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;

use super::clock;
use super::frontend::Frontend;
use super::link::links::Links;
use super::link::messages::{FromLink, ToLink};
use super::mesh::Inlet;
use super::messages::{FromLog, ToReplica, ToServe};
use super::metrics::Latency;
use super::notify::Notify;
use super::replica::{Now, Replica};

/// Between two looks at a member's time limits, the shortest of which are tens of ms.
const MEMBER_TICK: Duration = Duration::from_millis(5);

/// What lives on one executor, besides the log.
pub struct Core {
    frontend: Option<RefCell<Frontend>>,
    replica: Option<RefCell<Replica>>,
    /// Between the two, when both are here.
    to_replica: Option<Inlet<ToReplica>>,
    to_serve: Option<Inlet<ToServe>>,
    /// The link beside the replica, and what it is told.
    link: Option<NearLink>,
    /// For each serving core elsewhere: rung when its submissions may be taken again.
    gates: RefCell<Vec<Rc<Notify>>>,
}

/// Near mailboxes of a core, where both roles are here.
pub type NearInlets = (Inlet<ToReplica>, Inlet<ToServe>);

/// A link on the replica's executor, and its near mailbox.
pub type NearLink = (Rc<Links>, Inlet<ToLink>);

impl Core {
    /// Of the roles that live here.
    pub fn new(
        frontend: Option<Frontend>,
        replica: Option<Replica>,
        near: Option<NearInlets>,
        link: Option<NearLink>,
    ) -> Core {
        assert!(link.is_none() || replica.is_some(), "a link that is near is near the replica");
        assert_eq!(
            near.is_some(),
            frontend.is_some() && replica.is_some(),
            "near mailboxes are between two near roles"
        );
        let (to_replica, to_serve) = near.unzip();
        Core {
            frontend: frontend.map(RefCell::new),
            replica: replica.map(RefCell::new),
            to_replica,
            to_serve,
            link,
            gates: RefCell::default(),
        }
    }

    /// Lets the serving role act, and settles.
    ///
    /// # Panics
    /// If it doesn't live here.
    pub fn serve<R>(&self, now: Now, act: impl FnOnce(&mut Frontend) -> R) -> R {
        let result = act(&mut self.frontend());
        self.settle(now);
        result
    }

    /// Lets the replica act, and settles.
    ///
    /// # Panics
    /// If it doesn't live here.
    pub fn order<R>(&self, now: Now, act: impl FnOnce(&mut Replica) -> R) -> R {
        let result = act(&mut self.replica());
        self.settle(now);
        result
    }

    /// The serving role, to look at.
    ///
    /// # Panics
    /// If it doesn't live here.
    pub fn frontend(&self) -> RefMut<'_, Frontend> {
        self.frontend.as_ref().expect("only asked where it lives").borrow_mut()
    }

    /// The replica, to look at.
    ///
    /// # Panics
    /// If it doesn't live here.
    pub fn replica(&self) -> RefMut<'_, Replica> {
        self.replica.as_ref().expect("only asked where it lives").borrow_mut()
    }

    /// Whether the serving role lives here.
    pub fn serves(&self) -> bool {
        self.frontend.is_some()
    }

    /// Whether the replica lives here.
    pub fn orders(&self) -> bool {
        self.replica.is_some()
    }

    /// Handles everything that was said, then sends what leaves this executor.
    pub fn settle(&self, now: Now) {
        while self.hear_replica(now) | self.hear_serve(now) {}
        // Other members first: what they answer is what clients wait for.
        self.hear_link_orders();
        if let Some(frontend) = &self.frontend {
            frontend.borrow_mut().end_turn();
        }
        if let Some(replica) = &self.replica {
            let replica = &mut *replica.borrow_mut();
            replica.dispatch(now);
            let gates = self.gates.borrow();
            if !gates.is_empty() && !replica.is_choked() {
                gates.iter().for_each(|gate| gate.ring());
            }
        }
        self.hear_link_orders();
    }

    /// The link beside the replica does what it was told.
    fn hear_link_orders(&self) {
        if let Some((links, inlet)) = &self.link
            && let Some(first) = inlet.pop()
        {
            links.take(std::iter::once(first).chain(std::iter::from_fn(|| inlet.pop())));
        }
    }

    /// The replica handles what the serving role beside it has said. False if that was nothing.
    fn hear_replica(&self, now: Now) -> bool {
        let (Some(inlet), Some(replica)) = (&self.to_replica, &self.replica) else { return false };
        let Some(first) = inlet.pop() else { return false };
        let replica = &mut *replica.borrow_mut();
        handle_all(replica, std::iter::once(first).chain(std::iter::from_fn(|| inlet.pop())), now);
        true
    }

    /// The serving role handles what the replica beside it has said. False if that was nothing.
    fn hear_serve(&self, now: Now) -> bool {
        let (Some(inlet), Some(frontend)) = (&self.to_serve, &self.frontend) else { return false };
        let Some(first) = inlet.pop() else { return false };
        let applied = frontend.borrow_mut().take(std::iter::once(first).chain(std::iter::from_fn(|| inlet.pop())), now);
        if let (Some(upto), Some(replica)) = (applied, &self.replica) {
            replica.borrow_mut().on_applied(upto);
        }
        true
    }

    /// Takes in what the log says, and announces what the disk holds.
    pub async fn hear_log(self: Rc<Self>, inlet: Inlet<FromLog>) {
        while let Some(reports) = inlet.receive().await {
            let now = Now::read();
            self.order(now, |replica| reports.into_iter().for_each(|report| replica.on_log(report, now)));
            self.announce().await;
        }
    }

    /// Takes in what other members' connections bring.
    pub async fn hear_link(self: Rc<Self>, inlet: Inlet<FromLink>) {
        while let Some(messages) = inlet.receive().await {
            let now = Now::read();
            self.order(now, |replica| replica.on_link(messages.into_iter(), now));
            self.announce().await;
        }
    }

    /// The member's clock.
    pub async fn tick_member(self: Rc<Self>) {
        loop {
            sleep(MEMBER_TICK).await;
            let now = Now::read();
            self.order(now, |replica| replica.on_member_tick(now));
            self.announce().await;
        }
    }

    /// `forceSync=no`: announces what is in memory.
    pub async fn announce_unsynced(self: Rc<Self>) {
        let work = Rc::clone(&self.replica().unsynced_work);
        loop {
            work.wait().await;
            self.announce().await;
        }
    }

    async fn announce(&self) {
        loop {
            let now = Now::read();
            if !self.order(now, |replica| replica.announce(now)) {
                return;
            }
            clock::let_others_go().await;
        }
    }

    /// Takes in what a serving core elsewhere says, while what is under way leaves room for it.
    pub async fn hear_far_serve(self: Rc<Self>, inlet: Inlet<ToReplica>) {
        let gate = Rc::new(Notify::default());
        self.gates.borrow_mut().push(Rc::clone(&gate));
        loop {
            while self.replica().is_choked() {
                gate.wait().await;
            }
            let Some(messages) = inlet.receive().await else { return };
            let now = Now::read();
            self.order(now, |replica| handle_all(replica, messages.into_iter(), now));
        }
    }

    /// Takes in what a replica elsewhere says.
    pub async fn hear_far_replica(self: Rc<Self>, inlet: Inlet<ToServe>) {
        while let Some(messages) = inlet.receive().await {
            let now = Now::read();
            self.serve(now, |frontend| frontend.take(messages.into_iter(), now));
        }
    }

    /// Goes on with what was held back while a mailbox was full.
    pub async fn relieve(self: Rc<Self>, relief: Rc<Notify>) {
        loop {
            relief.wait().await;
            self.settle(Now::read());
        }
    }
}

fn handle_all(replica: &mut Replica, messages: impl Iterator<Item = ToReplica>, now: Now) {
    let mut count = 0;
    let mut writes = 0;
    let began = Instant::now();
    for message in messages {
        writes += u64::from(matches!(message, ToReplica::Write(_)));
        count += 1;
        replica.handle(message, now);
    }
    if writes > 0 {
        replica.metrics.time_many(Latency::StagePrepare, began.elapsed() / count, writes);
    }
}
