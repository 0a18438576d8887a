//! What makes the replica a member: the configuration in the words of the protocol.

use std::sync::Arc;

use ids::SessionId;
use zab::config::EnsembleConfig;
use zab::election::ElectionSettings;
use zab::outbox::Epochs;
use zab::settings::Limits;

use super::super::link::messages::ToLink;
use super::super::mesh::Outlet;
use super::super::replica::member::MemberParts;
use crate::config::Membership;

/// The parts of a member.
pub fn parts(membership: &Membership, epochs: Epochs, link: Outlet<ToLink>) -> MemberParts {
    let config = EnsembleConfig::parse(&membership.text()).expect("a checked server list is one");
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    MemberParts {
        me: membership.my_id,
        config: Arc::new(config),
        election: ElectionSettings {
            resend_min_ms: i64::from(membership.election.notification_min_ms),
            resend_max_ms: i64::from(membership.election.notification_max_ms),
            ..ElectionSettings::default()
        },
        limits: Limits {
            tick_ms: i64::from(membership.tick_time_ms),
            init_ms: ms(membership.init_limit_ms),
            sync_ms: ms(membership.sync_limit_ms),
            heartbeat_ms: i64::from(membership.heartbeat_ms),
            suspect_ms: i64::from(membership.suspect_after_ms),
        },
        epochs,
        packet_limits: net::quorum::Limits { data_len_max: membership.packet_data_max_bytes },
        dial_timeout_ms: membership.election.connect_timeout_ms,
        link,
    }
}

/// The first id of the sessions that a member makes: its own id is the top byte, so that no two members make the same.
pub fn first_session(membership: &Membership, now_ms: u64) -> SessionId {
    let sid = (membership.my_id.to_u64() & 0xff) as u8;
    tree::session::first_session_id(sid, now_ms)
}
