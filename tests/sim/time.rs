//! A node's clocks: a steady one that runs a little fast or slow, and the calendar, which somebody may set.
//!
//! Invariant  the steady clock never goes back and never jumps; it counts from the boot, so no value of it means
//!            anything to another node or after a restart of the machine.

use super::schedule::Micros;

/// The calendar at the start of every run, in milliseconds since 1970: a day in 2023, so that numbers have real
/// lengths.
const CALENDAR_BEGIN_MS: i64 = 1_700_000_000_000;
/// Parts in a million.
const MILLION: i128 = 1_000_000;

/// The clocks of one node.
#[derive(Clone, Debug)]
pub struct Clock {
    /// How much faster than true time this clock runs, in millionths; negative when slower.
    drift_ppm: i64,
    /// Where the clock stood (`.1`) at a true time (`.0`): at the boot, or when the drift changed.
    base: (Micros, Micros),
    /// What was added to this node's calendar by whoever set it.
    wall_offset_ms: i64,
}

impl Clock {
    /// Clocks of a machine that is switched on at `now`, which have run for `uptime` already.
    pub fn new(now: Micros, uptime: Micros, drift_ppm: i64) -> Self {
        Self { drift_ppm, base: (now, uptime), wall_offset_ms: 0 }
    }

    /// The steady clock, in its own microseconds.
    pub fn steady(&self, now: Micros) -> Micros {
        self.base.1 + scale(now - self.base.0, MILLION + i128::from(self.drift_ppm), MILLION)
    }

    /// The calendar, in milliseconds since 1970.
    pub fn wall_ms(&self, now: Micros) -> i64 {
        let passed = scale(now, MILLION + i128::from(self.drift_ppm), MILLION) / 1000;
        CALENDAR_BEGIN_MS + passed as i64 + self.wall_offset_ms
    }

    /// How much true time passes while this clock counts `delay`: at least one microsecond, so that a timer that is set
    /// again and again does not stop the world.
    pub fn true_time(&self, delay: Micros) -> Micros {
        scale(delay, MILLION, MILLION + i128::from(self.drift_ppm)).max(1)
    }

    /// Somebody sets the calendar.
    pub fn jump(&mut self, by_ms: i64) {
        self.wall_offset_ms += by_ms;
    }

    /// The crystal gets warm, or cold.
    pub fn set_drift(&mut self, now: Micros, ppm: i64) {
        self.base = (now, self.steady(now));
        self.drift_ppm = ppm;
    }

    /// The machine boots again: the steady clock starts anew, the calendar is a battery's.
    pub fn reboot(&mut self, now: Micros, uptime: Micros) {
        self.base = (now, uptime);
    }
}

fn scale(value: Micros, times: i128, by: i128) -> Micros {
    Micros::try_from(i128::from(value) * times / by).expect("drift is small and runs are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_ignores_the_calendar() {
        let mut clock = Clock::new(0, 50, 0);
        let wall = clock.wall_ms(5_000);
        clock.jump(-3_600_000);
        assert_eq!(clock.steady(5_000), 5_050);
        assert_eq!(clock.wall_ms(5_000), wall - 3_600_000);
    }

    #[test]
    fn a_change_of_drift_does_not_jump() {
        let mut clock = Clock::new(0, 0, 100_000);
        assert_eq!(clock.steady(1_000_000), 1_100_000);
        clock.set_drift(1_000_000, -100_000);
        assert_eq!(clock.steady(1_000_000), 1_100_000);
        assert_eq!(clock.steady(2_000_000), 2_000_000);
        assert_eq!(clock.true_time(90), 100);
    }
}
