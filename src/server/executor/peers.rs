//! The link role's part of an executor's life.
//!
//! Invariant  a link beside the replica is told what to do within the replica's turn, by the core; one elsewhere has a
//!            task that hears it. It listens when there is a replica, and ends when it has heard that nothing follows.

use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;

use super::super::berth::{LinkMail, Mail};
use super::super::core::NearLink;
use super::super::link::links::{FINISH_MAX, Links};
use super::super::link::messages::{FromLink, ToLink};
use super::super::mesh::{Inlet, Outlet, ParcelReceiver, near};
use super::super::start::RunError;
use super::Life;
use super::end::DRAIN_PAUSE;

/// Mailboxes of a link that has its replica beside it: what that says and hears, and the link itself.
pub(super) type NearLinkMail = (Outlet<ToLink>, Inlet<FromLink>, NearLink);

/// The replica's way to the link, what it hears from there, and the link if it is near. Nothing without peers.
pub(super) fn ways_to_link(
    near: Option<NearLinkMail>,
    mail: &mut Mail,
) -> (Option<Outlet<ToLink>>, Option<Inlet<FromLink>>, Option<NearLink>) {
    match (near, mail.link.take()) {
        (Some((to_link, from_link, link)), _) => (Some(to_link), Some(from_link), Some(link)),
        (None, Some((to_link, from_link))) => (Some(to_link), Some(from_link), None),
        (None, None) => (None, None, None),
    }
}

impl Life {
    /// Takes up the link. Returns the mailboxes to a replica that lives here, too.
    ///
    /// # Panics
    /// Without settings: a plan has a link only for a server with peers.
    pub(super) fn start_link(
        &mut self,
        may_listen: ParcelReceiver<()>,
        linked: Option<LinkMail>,
    ) -> Option<NearLinkMail> {
        let settings = self.common.link.clone().expect("whoever has a link has its settings");
        let stop = self.common.stop.clone();
        let near_link;
        let links = match linked {
            Some((from_replica, to_replica, relief)) => {
                let links = Rc::new(Links::new(settings, to_replica, stop));
                glommio::spawn_local(Rc::clone(&links).hear_far_replica(from_replica)).detach();
                glommio::spawn_local(Rc::clone(&links).hear_relief(relief)).detach();
                near_link = None;
                links
            }
            None => {
                let ((to_link, from_replica), (to_replica, from_link)) = (near(), near());
                let links = Rc::new(Links::new(settings, to_replica, stop));
                near_link = Some((to_link, from_link, (Rc::clone(&links), from_replica)));
                links
            }
        };
        glommio::spawn_local(Rc::clone(&links).listen_when(may_listen)).detach();
        self.links = Some(links);
        near_link
    }

    /// Waits until the replica has said its last and the connections are closed.
    pub(super) async fn end_link(&self, links: &Links, drain_max: Duration) -> Result<(), RunError> {
        self.hear_the_end(&links.ended, drain_max).await?;
        let deadline = Instant::now() + FINISH_MAX;
        while !links.is_quiet() && Instant::now() < deadline {
            sleep(DRAIN_PAUSE).await;
        }
        Ok(())
    }
}
