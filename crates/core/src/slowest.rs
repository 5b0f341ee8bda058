//! Keeps what took longest in the last minutes: a bounded list that costs a comparison for
//! whatever does not belong into it.
//!
//! The one design choice: two generations. What is noted goes into the young one; when that has
//! its age it becomes the old one, and what was old is forgotten. So nothing has to be searched
//! for entries that are too old, and no timer runs.

use std::time::{Duration, Instant};

/// The longest of the last minutes, at most `MOST` of each generation.
#[derive(Debug)]
pub struct Slowest<T, const MOST: usize> {
    young: Vec<Slow<T>>,
    old: Vec<Slow<T>>,
    /// How old the young generation becomes.
    period: Duration,
    /// When it has that age; before the first entry there is none.
    until: Option<Instant>,
    /// What takes no longer than this does not belong into it.
    least: Duration,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow<T> {
    /// How long it took.
    pub took: Duration,
    /// When it was over, by the loop's clock.
    pub at: Instant,
    /// What it was.
    pub what: T,
}

impl<T, const MOST: usize> Slowest<T, MOST> {
    /// Makes an empty list that remembers an entry for at least `period` and at most twice that.
    pub const fn new(period: Duration) -> Self {
        Self { young: Vec::new(), old: Vec::new(), period, until: None, least: Duration::ZERO }
    }

    /// Notes what ended `now` and took so long; `what` is asked only if it belongs into the list.
    #[inline]
    pub fn note(&mut self, took: Duration, now: Instant, what: impl FnOnce() -> T) {
        if took > self.least || self.until.is_none_or(|until| now >= until) {
            self.insert(took, now, what());
        }
    }

    #[cold]
    fn insert(&mut self, took: Duration, now: Instant, what: T) {
        if self.until.is_none_or(|until| now >= until) {
            self.old = std::mem::take(&mut self.young);
            self.until = Some(now + self.period);
        }
        let place = self.young.partition_point(|other| other.took >= took);
        self.young.insert(place, Slow { took, at: now, what });
        self.young.truncate(MOST);
        self.least = match self.young.last() {
            Some(last) if self.young.len() == MOST => last.took,
            _ => Duration::ZERO,
        };
    }

    /// The entries that are no older than two periods, the longest first, at most `MOST`.
    pub fn list(&self, now: Instant) -> Vec<&Slow<T>> {
        let recent = |slow: &&Slow<T>| now.saturating_duration_since(slow.at) < 2 * self.period;
        let mut all: Vec<_> = self.young.iter().chain(&self.old).filter(recent).collect();
        all.sort_by_key(|slow| std::cmp::Reverse(slow.took));
        all.truncate(MOST);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn shown(slowest: &Slowest<u64, 3>, now: Instant) -> Vec<u64> {
        slowest.list(now).iter().map(|slow| slow.what).collect()
    }

    #[test]
    fn the_longest_are_kept_and_the_others_are_not_even_asked() {
        let (mut slowest, now) = (Slowest::<u64, 3>::new(MINUTE), Instant::now());
        for took in [5, 1, 9, 3, 7] {
            slowest.note(ms(took), now, || took);
        }
        assert_eq!(shown(&slowest, now), [9, 7, 5]);
        slowest.note(ms(5), now, || panic!("it took no longer than the last"));
        slowest.note(ms(6), now, || 6);
        assert_eq!(shown(&slowest, now), [9, 7, 6]);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let (mut slowest, begin) = (Slowest::<u64, 3>::new(MINUTE), Instant::now());
        let note = |slowest: &mut Slowest<u64, 3>, took, after: Duration| {
            slowest.note(ms(took), begin + after, || took);
            shown(slowest, begin + after)
        };
        assert_eq!(note(&mut slowest, 90, ms(0)), [90]);
        assert_eq!(note(&mut slowest, 80, MINUTE / 2), [90, 80]);
        // A new generation, in which little is slow.
        assert_eq!(note(&mut slowest, 1, MINUTE), [90, 80, 1]);
        // Nothing was noted for long: nothing of the old ones is shown, however little there is.
        assert_eq!(shown(&slowest, begin + 2 * MINUTE), [80, 1]);
        assert_eq!(shown(&slowest, begin + 4 * MINUTE), [0; 0]);
        assert_eq!(note(&mut slowest, 2, 5 * MINUTE), [2]);
    }
}
