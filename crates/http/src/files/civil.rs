//! Dates as people, JSON and archives write them: days and times of the Gregorian calendar, UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A second of the calendar, from the year 1 to the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u16,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

/// The first second of the year 1, and the last of the year 9999, since 1970.
const SECONDS: (i64, i64) = (-62_135_596_800, 253_402_300_799);

const DAY: i64 = 24 * 3600;

impl Civil {
    /// The date of a second since 1970; one outside of the calendar's years becomes the nearest.
    pub(crate) fn new(unix: i64) -> Self {
        let unix = unix.clamp(SECONDS.0, SECONDS.1);
        let second = unix.rem_euclid(DAY);
        // Years that begin in March have the leap day at their end, and months of 153 days in
        // each five. Eras of 400 years are all alike (H. Hinnant, "chrono-compatible low-level
        // date algorithms").
        let days = unix.div_euclid(DAY) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self {
            year: (era * 400 + year + later) as u16,
            month: month as u8,
            day: day as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

/// As RFC 3339 has it: `2026-11-22T12:00:00Z`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Whole seconds since 1970, less than 0 for those before.
pub(crate) fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -seconds.saturating_add(i64::from(before.subsec_nanos() > 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::reply::imf_date;

    #[test]
    fn dates_that_are_known() {
        for (unix, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Civil::new(unix).to_string(), date);
        }
        let second = Duration::from_secs(1);
        assert_eq!(unix_seconds(UNIX_EPOCH + second * 3 / 2), 1);
        assert_eq!(unix_seconds(UNIX_EPOCH - second * 3 / 2), -2);
        assert_eq!(unix_seconds(UNIX_EPOCH - second), -1);
    }

    proptest! {
        /// Another library makes the dates of the wire.
        #[test]
        fn dates_are_those_of_the_wire(unix in 0u64..253_402_300_800) {
            let wire = imf_date(unix);
            let wire = std::str::from_utf8(&wire).unwrap();
            let Civil { year, day, hour, minute, second, .. } = Civil::new(unix.cast_signed());
            prop_assert_eq!(&wire[5..7], format!("{day:02}"));
            prop_assert_eq!(&wire[12..], format!("{year:04} {hour:02}:{minute:02}:{second:02} GMT"));
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = months.find(&wire[8..11]).unwrap() / 3 + 1;
            prop_assert_eq!(usize::from(Civil::new(unix.cast_signed()).month), month);
        }
    }
}
