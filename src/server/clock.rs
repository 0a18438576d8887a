//! The two clocks, read together. The only place in the server that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ids::Millis;
use rustix::time::{ClockId, clock_gettime};

use super::replica::Now;

impl Now {
    /// This moment.
    pub fn read() -> Now {
        Now { wall: wall(), monotonic: monotonic(), instant: Instant::now() }
    }
}

/// Milliseconds since 1970. Before it, which only a host with a broken clock says, counts as 0.
fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::new(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds of the clock that no one can set, since boot: nothing expires because an operator corrects the date.
pub fn monotonic() -> Millis {
    let now = clock_gettime(ClockId::Monotonic);
    Millis::new(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}
