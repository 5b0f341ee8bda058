//! Times as FTP writes them: the time-val of RFC 3659, section 2.3, and the dates of listings. All
//! are in UTC.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;

/// How long ago a file may have changed to be listed with the time of day instead of the year:
/// half a year, as `ls` has it.
const RECENT: Duration = Duration::from_secs(182 * 24 * 3600);

/// Shown of a time that no calendar has.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn civil(time: SystemTime) -> DateTime {
    Timestamp::try_from(time).map_or(EPOCH, |t| TimeZone::UTC.to_datetime(t))
}

/// Appends a time-val: `YYYYMMDDHHMMSS`.
pub fn push_time_val(out: &mut Vec<u8>, time: SystemTime) {
    let t = civil(time);
    push_number(out, i64::from(t.year()), 4, b'0');
    for part in [t.month(), t.day(), t.hour(), t.minute(), t.second()] {
        push_number(out, i64::from(part), 2, b'0');
    }
}

/// Parses a time-val; a fraction of a second may stand behind it.
pub fn parse_time_val(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    if whole.len() != 14 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(f) if !f.is_empty() && f.len() <= 9 && f.bytes().all(|b| b.is_ascii_digit()) => {
            f.parse::<i32>().ok()? * 10_i32.pow(9 - f.len() as u32)
        }
        Some(_) => return None,
    };
    let number = |from: usize, to: usize| whole[from..to].parse::<i8>().ok();
    // A leap second is the last that the calendar has.
    let second = number(12, 14)?;
    if second > 60 {
        return None;
    }
    let time = DateTime::new(
        whole[..4].parse().ok()?,
        number(4, 6)?,
        number(6, 8)?,
        number(8, 10)?,
        number(10, 12)?,
        second.min(59),
        nanos,
    );
    Some(TimeZone::UTC.to_timestamp(time.ok()?).ok()?.into())
}

/// Appends the date of a listing: `Nov 22 16:20`, or `Nov 22  2024` for one that is not recent.
pub fn push_list_date(out: &mut Vec<u8>, time: SystemTime, now: SystemTime) {
    let t = civil(time);
    out.extend_from_slice(MONTHS[t.month() as usize - 1].as_bytes());
    out.push(b' ');
    push_number(out, i64::from(t.day()), 2, b' ');
    out.push(b' ');
    if now.duration_since(time).is_ok_and(|age| age < RECENT) {
        push_number(out, i64::from(t.hour()), 2, b'0');
        out.push(b':');
        push_number(out, i64::from(t.minute()), 2, b'0');
    } else {
        push_number(out, i64::from(t.year()), 5, b' ');
    }
}

/// Appends a number, at least so wide.
fn push_number(out: &mut Vec<u8>, number: i64, width: usize, fill: u8) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.resize(out.len() + width.saturating_sub(digits.len() - at), fill);
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn time_vals() {
        assert_eq!(told(|out| push_time_val(out, at(1_000_000_000))), "20010909014640");
        assert_eq!(parse_time_val("20010909014640"), Some(at(1_000_000_000)));
        let half = at(1_000_000_000) + Duration::from_millis(500);
        assert_eq!(parse_time_val("20010909014640.5"), Some(half));
        assert_eq!(parse_time_val("20001231235960"), Some(at(978_307_199)), "a leap second");
        for bad in [
            "",
            "2001090901464",
            "200109090146400",
            "20011309014640",
            "20010229000000",
            "20010909014640.",
            "20010909014640.x",
            "-0010909014640",
            "20010909014661",
        ] {
            assert_eq!(parse_time_val(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_of_listings() {
        let date = |now| told(|out| push_list_date(out, at(1_000_000_000), at(now)));
        assert_eq!(date(1_000_000_001), "Sep  9 01:46");
        assert_eq!(date(1_100_000_000), "Sep  9  2001");
        assert_eq!(date(999_999_999), "Sep  9  2001", "in the future");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_u64..4_000_000_000) {
            let text = told(|out| push_time_val(out, at(seconds)));
            prop_assert_eq!(parse_time_val(&text), Some(at(seconds)));
        }

        #[test]
        fn any_text_has_an_answer(text in "\\PC*") {
            let _ = parse_time_val(&text);
        }
    }
}
