//! When a log file makes room for the next one, and how many old ones stay.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::KEPT_FILES;

/// Old files that stay unless somebody says otherwise: a week of daily ones.
const KEPT_BY_DEFAULT: u32 = 7;

/// When a log file is rotated: `log` becomes `log.1`, what was `log.1` becomes `log.2`, and so on.
///
/// As text it is a list of rules: a size (`500K`, `10M`, `1G`), a time (`hourly`, `daily`, `90s`)
/// and `keep=N`, as in `10M,daily,keep=14`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Bytes that a file has at most; only a single longer line makes it larger.
    pub size: Option<NonZeroU64>,
    /// Seconds after which a new file begins, counted from 1970: with 86,400 that is each
    /// midnight in UTC.
    pub every: Option<NonZeroU64>,
    /// Old files that stay, at most [`KEPT_FILES`]. Those beyond it from earlier settings are
    /// not removed.
    pub keep: u32,
}

/// Text is no rule for rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateError(String);

impl fmt::Display for RotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RotateError {}

impl Rotate {
    /// Which period this time since 1970 is in.
    pub(crate) fn period(&self, now: Duration) -> u64 {
        self.every.map_or(0, |every| now.as_secs() / every)
    }

    /// When this period is over, as the time since 1970.
    pub(crate) fn end_of(&self, period: u64) -> Option<Duration> {
        let every = self.every?;
        Some(Duration::from_secs(period.saturating_add(1).saturating_mul(every.get())))
    }
}

impl FromStr for Rotate {
    type Err = RotateError;

    fn from_str(text: &str) -> Result<Self, RotateError> {
        let mut rotate = Self { size: None, every: None, keep: KEPT_BY_DEFAULT };
        for rule in text.split(',') {
            if let Some(keep) = rule.strip_prefix("keep=") {
                let keep = keep.parse().ok().filter(|keep| *keep <= KEPT_FILES);
                rotate.keep = keep.ok_or_else(|| {
                    RotateError(format!("`{rule}` is not a number of files from 0 to {KEPT_FILES}"))
                })?;
            } else if let Some(every) = period(rule) {
                rotate.every = Some(every);
            } else if let Some(size) = size(rule) {
                rotate.size = Some(size);
            } else {
                return Err(RotateError(format!(
                    "`{rule}` does not say when to rotate: write a size (10M), hourly, daily, a \
                     number of seconds (90s) or keep=N"
                )));
            }
        }
        if rotate.size.is_none() && rotate.every.is_none() {
            return Err(RotateError(format!(
                "`{text}` does not say when to rotate: add a size (10M), hourly, daily or a \
                 number of seconds (90s)"
            )));
        }
        Ok(rotate)
    }
}

fn period(rule: &str) -> Option<NonZeroU64> {
    NonZeroU64::new(match rule {
        "hourly" => 60 * 60,
        "daily" => 24 * 60 * 60,
        _ => rule.strip_suffix('s')?.parse().ok()?,
    })
}

fn size(rule: &str) -> Option<NonZeroU64> {
    let digits = rule.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &rule[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return None,
    };
    NonZeroU64::new(digits.parse::<u64>().ok()?.checked_mul(1 << shift)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rotate = |size, every, keep| Rotate {
            size: NonZeroU64::new(size),
            every: NonZeroU64::new(every),
            keep,
        };
        for (text, expected) in [
            ("10M", rotate(10 << 20, 0, 7)),
            ("4096", rotate(4096, 0, 7)),
            ("1G,keep=0", rotate(1 << 30, 0, 0)),
            ("keep=1000,500k,daily", rotate(500 << 10, 86_400, 1000)),
            ("hourly", rotate(0, 3600, 7)),
            ("90s", rotate(0, 90, 7)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "keep=3", "0", "0s", "10X", "M", "-1", "weekly", "10M,", "17179869184G"] {
            let error = wrong.parse::<Rotate>().expect_err(wrong).to_string();
            assert!(error.contains("when to rotate"), "{error}");
        }
        for wrong in ["10M,keep=1001", "10M,keep=", "10M,keep=-1"] {
            assert!(wrong.parse::<Rotate>().is_err());
        }
    }

    #[test]
    fn periods_begin_at_boundaries_in_utc() {
        let daily: Rotate = "daily".parse().expect("a rule");
        let noon = Duration::from_secs(20_000 * 86_400 + 43_200);
        assert_eq!(daily.period(noon), 20_000);
        assert_eq!(daily.end_of(20_000), Some(Duration::from_secs(20_001 * 86_400)));
        let by_size: Rotate = "1".parse().expect("a rule");
        assert_eq!((by_size.period(noon), by_size.end_of(0)), (0, None));
    }
}
