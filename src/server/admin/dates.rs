//! Dates as java.util.Date prints them, which is what `dump` shows.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `EEE MMM dd HH:mm:ss zzz yyyy` in UTC, for milliseconds since 1970; a time out of the calendar is given as a number.
pub fn java_date(wall_ms: i64) -> String {
    match Timestamp::from_millisecond(wall_ms) {
        Ok(moment) => moment.to_zoned(TimeZone::UTC).strftime("%a %b %d %H:%M:%S UTC %Y").to_string(),
        Err(_) => wall_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_as_java_prints_it() {
        assert_eq!(java_date(1_795_168_776_000), "Fri Nov 20 09:59:36 UTC 2026");
        assert_eq!(java_date(i64::MAX), i64::MAX.to_string());
    }
}
