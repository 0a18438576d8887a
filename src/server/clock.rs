//! The two clocks, read together; the only place in the server that asks what time it is. And a way to let time pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::sleep;
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

/// Lets every other task and the ring have their turn. A bare yield would only let tasks that are already runnable go
/// first: glommio looks at the ring when none is, or when its preemption timer fires.
pub async fn let_others_go() {
    sleep(Duration::from_micros(1)).await;
}
