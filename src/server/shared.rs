//! What all executors see: flags of the log, and the limits that count connections of the whole server.
//!
//! Invariant  flags say how things were a moment ago and only hold clients back; nothing is decided by them that could
//!            not be taken back. Counts are exact: they change under one lock, once per connection made or gone.
//! Absent     anything that a request touches beyond one relaxed load.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the log does with the next write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Room {
    /// Takes it.
    Free,
    /// Will take it when a sync or the making of a segment is done: writes wait.
    Soon,
    /// The disk has no place for another segment: writes are refused.
    Out,
}

/// Facts of the whole server.
#[derive(Debug)]
pub struct Shared {
    log_is_behind: AtomicBool,
    log_room: AtomicU8,
    trace_mask: AtomicI64,
    doors: Mutex<Doors>,
}

#[derive(Debug)]
struct Doors {
    per_address: HashMap<IpAddr, u32>,
    /// Connections of each serving core, those under way to it included.
    per_core: Vec<usize>,
    total: usize,
}

/// A limit that refuses a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crowded {
    /// Connections from the same address.
    pub from_address: u32,
    /// Connections in all.
    pub total: usize,
}

/// Limits of connections; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// From one address.
    pub per_address: u32,
    /// In all.
    pub total: usize,
}

impl Shared {
    /// For so many serving cores.
    pub fn new(serve_cores: usize, trace_mask: i64) -> Shared {
        Shared {
            log_is_behind: AtomicBool::new(false),
            log_room: AtomicU8::new(Room::Free as u8),
            trace_mask: AtomicI64::new(trace_mask),
            doors: Mutex::new(Doors { per_address: HashMap::new(), per_core: vec![0; serve_cores], total: 0 }),
        }
    }

    /// Whether so much waits for the disk that clients must not be read for now.
    pub fn log_is_behind(&self) -> bool {
        self.log_is_behind.load(Ordering::Relaxed)
    }

    /// Said by the replica.
    pub fn set_log_is_behind(&self, is_behind: bool) {
        self.log_is_behind.store(is_behind, Ordering::Relaxed);
    }

    /// What the log did with writes when it last looked.
    pub fn log_room(&self) -> Room {
        match self.log_room.load(Ordering::Relaxed) {
            room if room == Room::Free as u8 => Room::Free,
            room if room == Room::Soon as u8 => Room::Soon,
            _ => Room::Out,
        }
    }

    /// Said by the log. Whether that is new.
    pub fn set_log_room(&self, room: Room) -> bool {
        let is_new = self.log_room() != room;
        if is_new {
            self.log_room.store(room as u8, Ordering::Relaxed);
        }
        is_new
    }

    /// ZooKeeper's trace mask, which traces nothing here but can be set and read.
    pub fn trace_mask(&self) -> i64 {
        self.trace_mask.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set_trace_mask(&self, mask: i64) {
        self.trace_mask.store(mask, Ordering::Relaxed);
    }

    /// Names the serving core with the fewest connections, and counts one more for it.
    pub fn assign(&self) -> u16 {
        let per_core = &mut self.doors().per_core;
        let fewest = (0..per_core.len()).min_by_key(|&core| per_core[core]).expect("somebody serves");
        per_core[fewest] += 1;
        u16::try_from(fewest).expect("a machine has fewer than 65536 CPUs")
    }

    /// A connection that was assigned to a core is gone, or was refused.
    pub fn unassign(&self, core: u16) {
        self.doors().per_core[usize::from(core)] -= 1;
    }

    /// Counts a connection from `address` in, unless a limit is reached.
    ///
    /// # Errors
    /// When it is.
    pub fn enter(&self, address: IpAddr, limits: ConnectionLimits) -> Result<(), Crowded> {
        let doors = &mut *self.doors();
        let from_address = doors.per_address.get(&address).copied().unwrap_or(0);
        if (limits.per_address > 0 && from_address >= limits.per_address)
            || (limits.total > 0 && doors.total >= limits.total)
        {
            return Err(Crowded { from_address, total: doors.total });
        }
        *doors.per_address.entry(address).or_insert(0) += 1;
        doors.total += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub fn leave(&self, address: IpAddr) {
        let doors = &mut *self.doors();
        let from_address = doors.per_address.get_mut(&address).expect("who leaves has entered");
        *from_address -= 1;
        if *from_address == 0 {
            doors.per_address.remove(&address);
        }
        doors.total -= 1;
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const AWAY: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn limits_count_the_connections_of_all_cores() {
        let shared = Shared::new(2, 0);
        let limits = ConnectionLimits { per_address: 2, total: 3 };
        assert_eq!(shared.enter(HOME, limits), Ok(()));
        assert_eq!(shared.enter(HOME, limits), Ok(()));
        assert_eq!(shared.enter(HOME, limits), Err(Crowded { from_address: 2, total: 2 }));
        assert_eq!(shared.enter(AWAY, limits), Ok(()));
        assert_eq!(shared.enter(AWAY, limits), Err(Crowded { from_address: 1, total: 3 }));
        shared.leave(HOME);
        assert_eq!(shared.enter(AWAY, limits), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        let shared = Shared::new(1, 0);
        let limits = ConnectionLimits { per_address: 0, total: 0 };
        assert!((0..1000).all(|_| shared.enter(HOME, limits).is_ok()));
    }

    #[test]
    fn the_core_with_the_fewest_connections_gets_the_next() {
        let shared = Shared::new(3, 0);
        let cores: Vec<u16> = (0..6).map(|_| shared.assign()).collect();
        assert_eq!(cores, [0, 1, 2, 0, 1, 2]);
        shared.unassign(1);
        assert_eq!(shared.assign(), 1);
    }
}
