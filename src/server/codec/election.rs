//! Notifications of the election port: wire integers <-> what the election counts.
//!
//! Absent     the configuration's text, which the election reads itself when it needs to.

use net::election as wire;
use zab::vote::{Notification, PeerState, Vote};

/// What we can do that Java cannot, as a set of bits. None is defined yet; that the field is there says that we are one of
/// us.
const CAPABILITIES: i32 = 0;

/// What a notification says; `None` when its sender is in a state that there is not, which Java passes over.
pub fn to_notification(wire: &wire::Notification<'_>) -> Option<Notification> {
    Some(Notification {
        state: PeerState::from_wire(wire.state)?,
        vote: Vote { leader: wire.leader, zxid: wire.zxid, epoch: wire.epoch },
        round: wire.round,
        version: wire.version,
        config: wire.config.as_deref().map(Into::into),
        is_ringkeeper: wire.capabilities.is_some(),
    })
}

/// Appends a notification with the length before it.
pub fn encode_notification(notification: &Notification, out: &mut Vec<u8>) {
    let Notification { state, vote, round, version, ref config, is_ringkeeper } = *notification;
    let wire = wire::Notification {
        state: state.to_wire(),
        leader: vote.leader,
        zxid: vote.zxid,
        round,
        epoch: vote.epoch,
        version,
        config: config.as_deref().map(Into::into),
        capabilities: is_ringkeeper.then_some(CAPABILITIES),
    };
    wire::encode_notification(&wire, out);
}

#[cfg(test)]
mod tests {
    use net::frame::HEADER_LEN;

    use super::*;

    fn sent(notification: &Notification) -> Vec<u8> {
        let mut out = Vec::new();
        encode_notification(notification, &mut out);
        out.split_off(HEADER_LEN)
    }

    #[test]
    fn notifications_arrive_as_they_were_sent() {
        let vote = Vote { leader: 3, zxid: 0x1_0000_0005, epoch: 1 };
        let config = Some("version=0".into());
        let ours = Notification { state: PeerState::Looking, vote, round: 7, version: 2, config, is_ringkeeper: true };
        let javas = Notification { vote: Vote::NONE, state: PeerState::Leading, is_ringkeeper: false, ..ours.clone() };
        for notification in [ours, javas] {
            let body = sent(&notification);
            assert_eq!(to_notification(&wire::decode_notification(&body).unwrap()), Some(notification));
        }
    }

    #[test]
    fn states_that_there_are_not_are_passed_over() {
        let odd = wire::Notification {
            state: 4,
            leader: 1,
            zxid: 0,
            round: 1,
            epoch: 0,
            version: 2,
            config: None,
            capabilities: None,
        };
        assert_eq!(to_notification(&odd), None);
        assert!(to_notification(&wire::Notification { state: 3, ..odd }).is_some());
    }
}
