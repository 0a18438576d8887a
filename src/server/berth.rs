//! Berths: which roles go to which executor, and the ends of the mailboxes that each takes along.
//!
//! Flow       plan -> `wire` -> one `Berth` per executor -> its thread -> `Mail::connect`.
//! Invariant  every executor connects its ends in the order of [`Mail`]'s fields, serving cores ascending: an end waits
//!            for its peer, so that any other order could have two executors wait for each other.
//! Absent     mailboxes between roles of one executor: `executor` makes those.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use net::listener::Accepted;
use tuning::{Plan, Role};

use super::link::messages::{FromLink, ToLink};
use super::mesh::{self, FarInlet, FarOutlet, Inlet, Outlet, ParcelReceiver, ParcelSender};
use super::messages::{FromLog, ToLog, ToReplica, ToServe};
use super::notify::Notify;
use super::recovery::Cost;
use tree::tree::Tree;
use zab::outbox::Epochs;

/// What an executor takes along to its thread.
pub struct Berth {
    /// The number of the serving core that lives here.
    pub serve: Option<u16>,
    /// Whether the replica lives here.
    pub replica: bool,
    /// Whom the log that lives here gives what it has recovered; `None` where it doesn't.
    pub log: Option<Vec<ParcelSender<Loaded>>>,
    /// Tells the link that lives here that there is a replica to hear of connections; `None` where it doesn't.
    pub link: Option<ParcelReceiver<()>>,
    /// At the replica, if there is a link: tells it so.
    pub replica_is_there: Option<ParcelSender<()>>,
    /// What the log has recovered, for whoever has a tree.
    pub loaded: Option<ParcelReceiver<Loaded>>,
    /// Mailboxes to other executors.
    pub mail: FarMail,
}

/// What every executor with a tree starts from.
pub struct Loaded {
    /// The replica takes it, everybody else a clone.
    pub tree: Arc<Tree>,
    /// What this member has promised.
    pub epochs: Epochs,
    /// Where snapshots belong.
    pub snapshot_dir: PathBuf,
    /// The longest entry that the log takes, bytes.
    pub record_len_max: usize,
    /// What recovery cost.
    pub cost: Cost,
}

/// Ends of mailboxes that have not reached their executor.
#[derive(Default)]
pub struct FarMail {
    /// By serving core, at the replica: what it says, and what it is told.
    serve: Vec<Option<(FarInlet<ToReplica>, FarOutlet<ToServe>)>>,
    /// At a serving core.
    replica: Option<(FarOutlet<ToReplica>, FarInlet<ToServe>)>,
    /// At the replica.
    log: Option<(FarOutlet<ToLog>, FarInlet<FromLog>)>,
    /// At the log.
    logged: Option<(FarInlet<ToLog>, FarOutlet<FromLog>)>,
    /// At the replica.
    link: Option<(FarOutlet<ToLink>, FarInlet<FromLink>)>,
    /// At the link.
    linked: Option<(FarInlet<ToLink>, FarOutlet<FromLink>)>,
    /// At the serving core that accepts: the others, ascending.
    hand_over: Vec<FarOutlet<Accepted>>,
    /// At each of the others.
    take_over: Option<FarInlet<Accepted>>,
}

/// A serving core's mailboxes, as the replica sees them.
pub type ServeMail = (Inlet<ToReplica>, Outlet<ToServe>);

/// The link's mailboxes to a replica elsewhere, and what is rung when the way there has room again.
pub type LinkMail = (Inlet<ToLink>, Outlet<FromLink>, Rc<Notify>);

/// Ends of mailboxes, connected.
pub struct Mail {
    /// By serving core, at the replica; `None` for the one on the same executor.
    pub serve: Vec<Option<ServeMail>>,
    /// At a serving core, if the replica is elsewhere.
    pub replica: Option<(Outlet<ToReplica>, Inlet<ToServe>)>,
    /// At the replica, if the log is elsewhere.
    pub log: Option<(Outlet<ToLog>, Inlet<FromLog>)>,
    /// At the log, if the replica is elsewhere.
    pub logged: Option<(Inlet<ToLog>, Outlet<FromLog>)>,
    /// At the replica, if there is a link elsewhere.
    pub link: Option<(Outlet<ToLink>, Inlet<FromLink>)>,
    /// At the link, if the replica is elsewhere.
    pub linked: Option<LinkMail>,
    /// At the serving core that accepts: the others, ascending.
    pub hand_over: Vec<Outlet<Accepted>>,
    /// At each of the others.
    pub take_over: Option<Inlet<Accepted>>,
}

impl FarMail {
    /// Connects everything. `relief` is rung when a full mailbox has room again.
    pub async fn connect(self, relief: &Rc<Notify>) -> Mail {
        let relief = || Rc::clone(relief);
        let mut serve = Vec::new();
        let mut replica = None;
        // A serving core has one entry here, the replica all: both go through the same order.
        for ends in self.serve {
            serve.push(match ends {
                Some((inlet, outlet)) => Some((inlet.connect().await, outlet.connect(relief()).await)),
                None => None,
            });
        }
        if let Some((outlet, inlet)) = self.replica {
            replica = Some((outlet.connect(relief()).await, inlet.connect().await));
        }
        let mut log = None;
        if let Some((outlet, inlet)) = self.log {
            log = Some((outlet.connect(relief()).await, inlet.connect().await));
        }
        let mut logged = None;
        if let Some((inlet, outlet)) = self.logged {
            logged = Some((inlet.connect().await, outlet.connect(relief()).await));
        }
        let mut link = None;
        if let Some((outlet, inlet)) = self.link {
            link = Some((outlet.connect(relief()).await, inlet.connect().await));
        }
        let mut linked = None;
        if let Some((inlet, outlet)) = self.linked {
            let link_relief = Rc::new(Notify::default());
            linked = Some((inlet.connect().await, outlet.connect(Rc::clone(&link_relief)).await, link_relief));
        }
        let mut hand_over = Vec::new();
        for outlet in self.hand_over {
            hand_over.push(outlet.connect(relief()).await);
        }
        let mut take_over = None;
        if let Some(inlet) = self.take_over {
            take_over = Some(inlet.connect().await);
        }
        Mail { serve, replica, log, logged, link, linked, hand_over, take_over }
    }
}

/// A berth for each executor of the plan.
pub fn wire(plan: &Plan) -> Vec<Berth> {
    let holder = |role| plan.holders(role).next().expect("the plan holds every role");
    let (replica, log) = (holder(Role::Replica), holder(Role::Log));
    let serve: Vec<usize> = plan.holders(Role::Serve).collect();
    let mut berths: Vec<Berth> = plan.executors.iter().map(|_| Berth::empty()).collect();
    berths[replica].replica = true;
    for (number, &at) in serve.iter().enumerate() {
        berths[at].serve = Some(u16::try_from(number).expect("a machine has fewer than 65536 CPUs"));
        let ends = (at != replica).then(|| {
            let ((to_replica, from_serve), (to_serve, from_replica)) = (mesh::far(), mesh::far());
            berths[at].mail.replica = Some((to_replica, from_replica));
            (from_serve, to_serve)
        });
        berths[replica].mail.serve.push(ends);
        if number > 0 {
            let (hand_over, take_over) = mesh::far();
            berths[serve[0]].mail.hand_over.push(hand_over);
            berths[at].mail.take_over = Some(take_over);
        }
    }
    if log != replica {
        let ((to_log, from_replica), (to_replica, from_log)) = (mesh::far(), mesh::far());
        berths[replica].mail.log = Some((to_log, from_log));
        berths[log].mail.logged = Some((from_replica, to_replica));
    }
    if let Some(link) = plan.holders(Role::Link).next() {
        let (replica_is_there, link_may_listen) = mesh::parcel();
        berths[replica].replica_is_there = Some(replica_is_there);
        berths[link].link = Some(link_may_listen);
        if link != replica {
            let ((to_link, from_replica), (to_replica, from_link)) = (mesh::far(), mesh::far());
            berths[replica].mail.link = Some((to_link, from_link));
            berths[link].mail.linked = Some((from_replica, to_replica));
        }
    }
    let mut deliveries = Vec::new();
    for berth in berths.iter_mut().filter(|berth| berth.replica || berth.serve.is_some()) {
        let (delivery, loaded) = mesh::parcel();
        berth.loaded = Some(loaded);
        deliveries.push(delivery);
    }
    berths[log].log = Some(deliveries);
    berths
}

impl Berth {
    fn empty() -> Berth {
        let mail = FarMail::default();
        Berth { serve: None, replica: false, log: None, link: None, replica_is_there: None, loaded: None, mail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tuning::{Layout, Machine, Wishes, plan};

    fn wired(layout: &str) -> Vec<Berth> {
        wired_for(layout, false)
    }

    fn wired_for(layout: &str, has_peers: bool) -> Vec<Berth> {
        let layout: Layout = layout.parse().unwrap();
        wire(&plan(&Machine::uniform(4), &Wishes { layout, has_peers, ..Wishes::default() }).unwrap())
    }

    #[test]
    fn one_executor_needs_no_mailbox_to_another() {
        let berths = wired("single");
        assert_eq!(berths.len(), 1);
        let mail = &berths[0].mail;
        assert!(mail.serve.iter().all(Option::is_none) && mail.replica.is_none() && mail.log.is_none());
        assert_eq!((berths[0].serve, berths[0].replica), (Some(0), true));
        assert_eq!(berths[0].log.as_ref().map(Vec::len), Some(1), "its own tree is a delivery, too");
    }

    #[test]
    fn a_link_has_mailboxes_to_a_replica_elsewhere_and_there_is_none_without_peers() {
        let alone = wired("replica=0/link=1/log=2/serve=3");
        assert!(alone.iter().all(|berth| berth.link.is_none() && berth.replica_is_there.is_none()));
        assert!(alone.iter().all(|berth| berth.mail.link.is_none() && berth.mail.linked.is_none()));
        let apart = wired_for("replica=0/link=1/log=2/serve=3", true);
        assert!(apart[0].mail.link.is_some() && apart[0].replica_is_there.is_some() && apart[0].link.is_none());
        assert!(apart[1].mail.linked.is_some() && apart[1].link.is_some() && apart[1].loaded.is_none());
        let together = wired_for("single", true);
        assert!(together[0].link.is_some() && together[0].replica_is_there.is_some());
        assert!(together[0].mail.link.is_none() && together[0].mail.linked.is_none());
    }

    #[test]
    fn roles_apart_are_joined_by_pairs_of_ends() {
        let berths = wired("replica=0/log=1/serve=2-3");
        let mail = |at: usize| &berths[at].mail;
        assert!(mail(0).serve.iter().all(Option::is_some) && mail(0).serve.len() == 2 && mail(0).log.is_some());
        assert!(mail(1).logged.is_some() && mail(1).log.is_none());
        assert!(mail(2).replica.is_some() && mail(2).hand_over.len() == 1 && mail(2).take_over.is_none());
        assert!(mail(3).replica.is_some() && mail(3).hand_over.is_empty() && mail(3).take_over.is_some());
        assert_eq!(berths[1].log.as_ref().map(Vec::len), Some(3), "the log itself has no tree");
        assert!(berths[1].loaded.is_none());
    }
}
