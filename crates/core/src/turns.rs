//! The loop's own latency: how long its turns take, from the moment when it wakes to the moment
//! when it may sleep again. Whatever becomes ready meanwhile waits for that long.
//!
//! The one design choice: it is measured always. A second look at the clock at the end of a turn
//! costs less than 200 instructions with all that is noted, which the requests of that turn share.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::limits::{SLOW_TURN, SLOW_TURNS, SLOW_TURNS_LAST};
use crate::slowest::Slowest;

/// How long the turns of a loop took since it began.
#[derive(Debug)]
pub struct Turns {
    /// All of them.
    pub histogram: Histogram,
    /// The last one.
    pub last: Duration,
    /// The longest one.
    pub longest: Duration,
    /// Those that took longer than [`SLOW_TURN`].
    pub slow: u64,
    /// The longest of the last minutes.
    pub slowest: Slowest<Turn, SLOW_TURNS>,
}

/// What there was to do in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Readiness events that the system told.
    pub events: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            histogram: Histogram::default(),
            last: Duration::ZERO,
            longest: Duration::ZERO,
            slow: 0,
            slowest: Slowest::new(SLOW_TURNS_LAST),
        }
    }
}

impl Turns {
    /// Notes a turn that has ended.
    pub(crate) fn note(&mut self, took: Duration, now: Instant, what: impl FnOnce() -> Turn) {
        self.histogram.note(took);
        self.last = took;
        if took > self.longest {
            self.longest = took;
        }
        self.slow += u64::from(took > SLOW_TURN);
        self.slowest.note(took, now, what);
    }
}
