//! Link: the sockets to other members, of both ports. Moves bytes; knows no protocol.

pub mod messages;
