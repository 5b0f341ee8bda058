//! How much in what time: rates, and the token buckets that hold somebody to them.
//!
//! The one design choice: whole numbers. A bucket counts what it lacks in amounts times
//! milliseconds, so nothing is ever rounded, and what has passed in any time is at most the burst
//! and what the rate gives.

use std::fmt;
use std::time::Duration;

use crate::limits::{
    MAX_RATE_AMOUNT, MAX_RATE_PERIOD, MIN_BURST_BYTES, MIN_PACE_BYTES, PACES_A_SECOND,
};

/// An amount (of requests, of bytes) in a time, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    amount: u64,
    period_ms: u64,
    burst: u64,
}

/// There is no such rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    /// Amount or burst is 0 or more than [`MAX_RATE_AMOUNT`].
    Amount,
    /// The time is shorter than a millisecond or longer than [`MAX_RATE_PERIOD`].
    Period,
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount => write!(
                f,
                "a rate and its burst are between 1 and {MAX_RATE_AMOUNT}; for no limit at all, \
                 leave the rate out"
            ),
            Self::Period => f.write_str("the time of a rate is between a millisecond and 24 hours"),
        }
    }
}

impl std::error::Error for RateError {}

impl Rate {
    /// Makes a rate of so much in so much time (in whole milliseconds), of which `burst` may come
    /// at once.
    pub fn new(amount: u64, period: Duration, burst: u64) -> Result<Self, RateError> {
        let right = 1..=MAX_RATE_AMOUNT;
        if !right.contains(&amount) || !right.contains(&burst) {
            return Err(RateError::Amount);
        }
        if period < Duration::from_millis(1) || period > MAX_RATE_PERIOD {
            return Err(RateError::Period);
        }
        Ok(Self { amount, period_ms: period.as_millis() as u64, burst })
    }

    /// Makes a bandwidth. A quarter of a second may leave at once, or [`MIN_BURST_BYTES`] if that
    /// is more.
    pub fn bytes_a_second(bytes: u64) -> Result<Self, RateError> {
        Self::new(bytes, Duration::from_secs(1), (bytes / 4).max(MIN_BURST_BYTES))
    }

    /// How much may come at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Bytes that are worth waiting for, so that a paced connection is not woken for each one.
    pub(crate) fn pace(&self) -> u64 {
        let a_second = self.amount.saturating_mul(1000) / self.period_ms;
        (a_second / PACES_A_SECOND).max(MIN_PACE_BYTES).min(self.burst)
    }

    /// Milliseconds after which an empty bucket is full.
    pub(crate) fn refill_ms(&self) -> u64 {
        self.whole().div_ceil(self.amount)
    }

    /// The burst in the unit of buckets; the limits keep it below 2^63.
    fn whole(&self) -> u64 {
        self.burst * self.period_ms
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amount, period_ms, burst } = self;
        match period_ms {
            1000 => write!(f, "{amount}/s")?,
            ms => write!(f, "{amount} in {:?}", Duration::from_millis(*ms))?,
        }
        write!(f, ", {burst} at once")
    }
}

/// A token bucket. A new one is full. All its times are ticks of the loop, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What it lacked at that time, times the milliseconds of the rate's period. More than the
    /// whole burst is what was reserved ahead of time.
    lacks: u64,
    at: u64,
}

impl Bucket {
    fn settle(&mut self, rate: &Rate, now: u64) {
        if now == self.at {
            return;
        }
        let gained = now.saturating_sub(self.at).saturating_mul(rate.amount);
        self.lacks = self.lacks.saturating_sub(gained);
        self.at = now;
    }

    /// What can be taken now.
    pub(crate) fn available(&mut self, rate: &Rate, now: u64) -> u64 {
        self.settle(rate, now);
        rate.whole().saturating_sub(self.lacks) / rate.period_ms
    }

    /// Takes `n`, at most the burst, if it is there; otherwise says how many milliseconds to wait
    /// for it.
    pub(crate) fn take(&mut self, rate: &Rate, n: u64, now: u64) -> Result<(), u64> {
        self.settle(rate, now);
        let after = self.lacks.saturating_add(n * rate.period_ms);
        match after.checked_sub(rate.whole()) {
            None | Some(0) => {
                self.lacks = after;
                Ok(())
            }
            Some(over) => Err(over.div_ceil(rate.amount)),
        }
    }

    /// Takes `n`, at most the burst, whether it is there or not; gives the tick at which it is.
    /// Who comes later waits longer: so each gets its turn.
    pub(crate) fn reserve(&mut self, rate: &Rate, n: u64, now: u64) -> u64 {
        self.settle(rate, now);
        self.lacks = self.lacks.saturating_add(n * rate.period_ms);
        match self.lacks.saturating_sub(rate.whole()) {
            // Divisions are slow, and most find enough.
            0 => now,
            over => now.saturating_add(over.div_ceil(rate.amount)),
        }
    }

    /// Puts back what was taken and not needed.
    pub(crate) fn give_back(&mut self, rate: &Rate, n: u64) {
        self.lacks = self.lacks.saturating_sub(n.saturating_mul(rate.period_ms));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same as plainly as can be: what it holds, in fractions of a millisecond's share.
    struct Plain {
        holds: u128,
        at: u64,
    }

    impl Plain {
        fn new(rate: &Rate) -> Self {
            Self { holds: u128::from(rate.burst) * u128::from(rate.period_ms), at: 0 }
        }

        fn take(&mut self, rate: &Rate, n: u64, now: u64) -> bool {
            for _ in self.at..now {
                let whole = u128::from(rate.burst) * u128::from(rate.period_ms);
                self.holds = (self.holds + u128::from(rate.amount)).min(whole);
            }
            self.at = now;
            let n = u128::from(n) * u128::from(rate.period_ms);
            let there = self.holds >= n;
            if there {
                self.holds -= n;
            }
            there
        }
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1..5000_u64, 1..5000_u64, 1..200_u64).prop_map(|(amount, ms, burst)| {
            Rate::new(amount, Duration::from_millis(ms), burst).expect("within the limits")
        })
    }

    proptest! {
        #[test]
        fn a_bucket_does_what_the_plain_one_does(
            rate in rates(),
            steps in prop::collection::vec((0..2000_u64, 0.0..=1.0_f64), 1..60),
        ) {
            let (mut bucket, mut plain, mut now) = (Bucket::default(), Plain::new(&rate), 0);
            for (wait, share) in steps {
                now += wait;
                let n = ((rate.burst as f64 * share) as u64).max(1);
                prop_assert_eq!(bucket.available(&rate, now) >= n, {
                    let mut copy = bucket;
                    copy.take(&rate, n, now).is_ok()
                });
                match bucket.take(&rate, n, now) {
                    Ok(()) => prop_assert!(plain.take(&rate, n, now)),
                    Err(wait) => {
                        prop_assert!(!plain.take(&rate, n, now));
                        // It says exactly how long.
                        let mut early = bucket;
                        prop_assert!(early.take(&rate, n, now + wait - 1).is_err());
                        let mut then = bucket;
                        prop_assert!(then.take(&rate, n, now + wait).is_ok());
                    }
                }
            }
        }

        /// Whoever takes what it has reserved when it is due has never more than its share.
        #[test]
        fn reservations_keep_to_the_rate(
            rate in rates(),
            steps in prop::collection::vec((0..50_u64, 0.0..=1.0_f64), 1..60),
        ) {
            let (mut bucket, mut now, mut total) = (Bucket::default(), 0, 0_u128);
            let mut last = 0;
            for (wait, share) in steps {
                now += wait;
                let n = ((rate.burst as f64 * share) as u64).max(1);
                let due = bucket.reserve(&rate, n, now);
                prop_assert!(due >= last.min(now) && due >= now);
                last = due;
                total += u128::from(n);
                let given = u128::from(due) * u128::from(rate.amount) / u128::from(rate.period_ms);
                prop_assert!(total <= u128::from(rate.burst) + given);
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(10, Duration::from_secs(1), 100).expect("right");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&rate, 100, 5), Ok(()));
        assert_eq!(bucket.take(&rate, 1, 5), Err(100));
        bucket.give_back(&rate, 40);
        assert_eq!(bucket.available(&rate, 5), 40);
        bucket.give_back(&rate, 1000);
        assert_eq!(bucket.available(&rate, 5), 100);
    }

    #[test]
    fn the_largest_rate_does_not_overflow() {
        let rate = Rate::new(MAX_RATE_AMOUNT, MAX_RATE_PERIOD, MAX_RATE_AMOUNT).expect("right");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&rate, MAX_RATE_AMOUNT, 1), Ok(()));
        assert!(bucket.take(&rate, MAX_RATE_AMOUNT, 1).is_err());
        for _ in 0..100 {
            bucket.reserve(&rate, MAX_RATE_AMOUNT, 1);
        }
        assert_eq!(bucket.available(&rate, u64::MAX), MAX_RATE_AMOUNT);
    }

    #[test]
    fn rates_that_cannot_be_kept_are_refused() {
        let second = Duration::from_secs(1);
        for (amount, period, burst, why) in [
            (0, second, 1, RateError::Amount),
            (1, second, 0, RateError::Amount),
            (MAX_RATE_AMOUNT + 1, second, 1, RateError::Amount),
            (1, second, MAX_RATE_AMOUNT + 1, RateError::Amount),
            (1, Duration::from_micros(999), 1, RateError::Period),
            (1, MAX_RATE_PERIOD + second, 1, RateError::Period),
        ] {
            assert_eq!(Rate::new(amount, period, burst), Err(why));
            assert!(!why.to_string().is_empty());
        }
        assert_eq!(Rate::bytes_a_second(1 << 20).map(|r| r.burst()), Ok(1 << 18));
        assert_eq!(Rate::bytes_a_second(10).map(|r| r.burst()), Ok(MIN_BURST_BYTES));
    }
}
