//! How long things take: a histogram of fixed size, whose buckets grow with what they count.
//!
//! The one design choice: log-linear. Each power of two of microseconds has eight buckets, so a
//! quantile is told to within an eighth, from one microsecond to a minute, and counting is a
//! shift and an addition.

use std::time::Duration;

/// Buckets of each power of two, itself as a power of two.
const STEPS_LOG2: u32 = 3;

/// The powers of two from one microsecond on; what takes longer counts into the last bucket.
const POWERS: usize = 26;

const BUCKETS: usize = (POWERS - STEPS_LOG2 as usize + 1) << STEPS_LOG2;

/// Durations, counted by how long they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), sum: Duration::ZERO }
    }
}

/// The bucket of so many microseconds.
fn bucket(us: u64) -> usize {
    let power = (us | 1).ilog2();
    let shift = power.saturating_sub(STEPS_LOG2);
    (((shift as usize) << STEPS_LOG2) + (us >> shift) as usize).min(BUCKETS - 1)
}

/// The microseconds at which a bucket ends: all in it are shorter.
fn end(bucket: usize) -> u64 {
    let shift = (bucket >> STEPS_LOG2).saturating_sub(1);
    ((bucket - (shift << STEPS_LOG2)) as u64 + 1) << shift
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn note(&mut self, took: Duration) {
        let us = took.as_secs() * 1_000_000 + u64::from(took.subsec_micros());
        self.buckets[bucket(us)] += 1;
        self.sum += took;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How long all but `above` of a thousand took at most, rounded up to the end of a bucket;
    /// zero when nothing was counted.
    pub fn quantile(&self, above: u64) -> Duration {
        let count = self.count();
        // Those above it, rounded down: of one, its own length is told.
        let mut left = count - count * above.min(1000) / 1000;
        let reached = self.buckets.iter().position(|&n| {
            left = left.saturating_sub(n);
            left == 0
        });
        match reached {
            Some(bucket) if count > 0 => Duration::from_micros(end(bucket)),
            _ => Duration::ZERO,
        }
    }

    /// How many took less than 2 to the power of `power` microseconds; `power` is at least 3 and
    /// counts up to 26.
    pub fn below(&self, power: usize) -> u64 {
        let buckets = (power.saturating_sub(STEPS_LOG2 as usize) + 1) << STEPS_LOG2;
        self.buckets.iter().take(buckets).sum()
    }

    /// What was counted since `earlier`, which is this one at an earlier time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (now, before) in since.buckets.iter_mut().zip(&*earlier.buckets) {
            *now = now.saturating_sub(*before);
        }
        since.sum = self.sum.saturating_sub(earlier.sum);
        since
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn of(durations: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        durations.into_iter().for_each(|took| histogram.note(us(took)));
        histogram
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for bucket_number in 0..BUCKETS {
            assert_eq!(bucket(last), bucket_number, "its beginning");
            assert_eq!(bucket(end(bucket_number) - 1), bucket_number, "its end");
            last = end(bucket_number);
        }
        assert_eq!(last, 1 << POWERS);
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let hundred = of(1..=100);
        assert_eq!((hundred.count(), hundred.sum()), (100, us(5050)));
        // 50 stands in the bucket from 48 to 52, and 99 in that from 96 to 104.
        assert_eq!((hundred.quantile(500), hundred.quantile(10)), (us(52), us(104)));
        assert_eq!(hundred.quantile(0), us(104));
        assert_eq!(of([]).quantile(10), Duration::ZERO);
        assert_eq!(of([3]).quantile(10), us(4));
        // One in a thousand is slow: that is above the p99 and not above the p99.9.
        let few = of((0..1000).map(|n| if n == 500 { 30_000 } else { 10 }));
        assert_eq!((few.quantile(10), few.quantile(0)), (us(11), us(30_720)));
    }

    #[test]
    fn what_is_longer_than_a_minute_counts_too() {
        let long = of([0, 7, 8, u64::from(u32::MAX)]);
        assert_eq!((long.count(), long.below(3), long.below(4)), (4, 2, 3));
        assert_eq!((long.below(POWERS), long.quantile(0)), (4, us(1 << POWERS)));
    }

    proptest! {
        #[test]
        fn a_bucket_is_an_eighth_wide(took in 0u64..1 << POWERS) {
            let end = end(bucket(took));
            prop_assert!(end > took && end - took <= took / 8 + 1, "{took} {end}");
        }

        #[test]
        fn what_came_since_is_what_was_counted_since(
            before in proptest::collection::vec(0u64..1 << 30, 0..50),
            after in proptest::collection::vec(0u64..1 << 30, 0..50),
        ) {
            let mut histogram = of(before);
            let earlier = histogram.clone();
            for &took in &after {
                histogram.note(us(took));
            }
            prop_assert_eq!(histogram.since(&earlier), of(after));
        }
    }
}
