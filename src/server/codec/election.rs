//! The election port: wire integers <-> who introduces itself, and what the election counts.
//!
//! Absent     the configuration's text, which the election reads itself when it needs to.

use ids::Sid;
use net::election as wire;
use zab::config::MemberSpec;
use zab::switchboard::DialAddress;
use zab::vote::{Notification, PeerState, Vote};

/// What we can do that Java cannot, as a set of bits. None is defined yet; that the field is there says that we are one of
/// us.
const CAPABILITIES: i32 = 0;

/// The number with which an observer introduces itself that has none. We would have to make one up for it, as Java does.
const NO_NUMBER: i64 = i64::MAX;

/// Who introduces itself, and where it listens; `None` when it has no number that a server may have.
pub fn to_introduction(wire: wire::InitialMessage) -> Option<(Sid, Vec<DialAddress>)> {
    let sid = u64::try_from(wire.sid).ok().filter(|_| wire.sid != NO_NUMBER).map(Sid::new)?;
    let address = |wire: wire::ElectionAddress| DialAddress { host: wire.host, port: wire.port };
    Some((sid, wire.addresses.into_iter().map(address).collect()))
}

/// Appends the initial message of `me`, which is `member` in the configuration. `has_many`: multi-address is on.
///
/// # Panics
/// When the member has no address, which no configuration allows.
pub fn encode_introduction(me: Sid, member: &MemberSpec, has_many: bool, out: &mut Vec<u8>) {
    let count = if has_many { member.addresses.len() } else { 1 };
    let addresses = member.addresses.iter().take(count);
    let addresses = addresses.map(|at| wire::ElectionAddress { host: at.host.clone(), port: at.election_port });
    let sid = i64::try_from(me.to_u64()).expect("sids are not negative on the wire");
    wire::encode_initial(&wire::InitialMessage { sid, addresses: addresses.collect() }, has_many, out);
}

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
    use zab::config::EnsembleConfig;

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
    fn a_member_introduces_itself_with_its_election_addresses() {
        let config = EnsembleConfig::parse("server.4=a:1:2|[::1]:3:5").unwrap();
        let (me, member) = (Sid::new(4), config.member(Sid::new(4)).unwrap());
        for (has_many, expected) in [(true, &[("::1", 5), ("a", 2)][..]), (false, &[("::1", 5)])] {
            let mut out = Vec::new();
            encode_introduction(me, member, has_many, &mut out);
            let Ok(wire::Initial::Whole { message, .. }) = wire::split_initial(&out) else { panic!("whole") };
            let expected = expected.iter().map(|(host, port)| DialAddress { host: (*host).into(), port: *port });
            assert_eq!(to_introduction(message), Some((me, expected.collect())));
        }
    }

    #[test]
    fn servers_without_a_number_are_not_known() {
        for sid in [-1, i64::MIN, i64::MAX] {
            assert_eq!(to_introduction(wire::InitialMessage { sid, addresses: Vec::new() }), None);
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
