//! The figures of one moment that make charts, and those of the last minutes.
//!
//! The one design choice: totals are kept as totals. Rates are differences, made by whoever shows
//! them; so a time in which nobody looked shows as its average.

use std::collections::VecDeque;
use std::time::Instant;

use medusa_core::histogram::Histogram;

use crate::limits::{HISTORY, MAX_PROTOCOLS, MAX_SAMPLES};
use crate::view::{View, micros};

/// The names of a sample's figures, in their order. Those that end in `total` only grow; times are
/// in microseconds, `time` in milliseconds since 1970.
pub(crate) const COLUMNS: [&str; 21] = [
    "time",
    "requests_total",
    "replies_2xx_total",
    "replies_3xx_total",
    "replies_4xx_total",
    "replies_5xx_total",
    "received_bytes_total",
    "sent_bytes_total",
    "connections",
    "connections_total",
    "turns_total",
    "slow_turns_total",
    "turn_p50",
    "turn_p99",
    "turn_longest",
    "processor_time_total",
    "resident_bytes",
    "private_bytes",
    "descriptors",
    "threads",
    "uptime",
];

/// The figures of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    at: Instant,
    /// As [`COLUMNS`] says; what the system does not tell is absent.
    pub(crate) figures: [Option<u64>; COLUMNS.len()],
    /// Connections that are open, by the protocol of their listener.
    pub(crate) protocols: Vec<(String, u64)>,
}

impl Sample {
    /// Reads the figures of a view; turns of the loop are those since `before`.
    fn new(view: &View, before: &Histogram) -> Self {
        let sum =
            |kind, field| -> u64 { view.of_kind(kind).filter_map(|part| part.number(field)).sum() };
        let one = |kind, field| view.of_kind(kind).find_map(|part| part.number(field));
        let turns = view.turns.since(before);
        let reactor = |field| one("reactor", field);
        let process = |field| one("process", field);
        let mut protocols: Vec<(String, u64)> = Vec::new();
        for listener in view.of_kind("listener") {
            let (Some(name), Some(open)) = (listener.text("protocol"), listener.number("open"))
            else {
                continue;
            };
            if let Some((_, sum)) = protocols.iter_mut().find(|(known, _)| known == name) {
                *sum += open;
            } else if protocols.len() < MAX_PROTOCOLS {
                protocols.push((name.to_owned(), open));
            }
        }
        let figures = [
            Some(u64::try_from(view.unix_time.as_millis()).unwrap_or(u64::MAX)),
            Some(sum("http", "requests")),
            Some(sum("http", "2xx")),
            Some(sum("http", "3xx")),
            Some(sum("http", "4xx")),
            Some(sum("http", "5xx")),
            reactor("received"),
            reactor("sent"),
            // The loop has some of its own besides.
            Some(protocols.iter().map(|(_, open)| open).sum()),
            reactor("opened"),
            reactor("turns"),
            reactor("turns over 20 ms"),
            Some(micros(turns.quantile(500))),
            Some(micros(turns.quantile(10).min(view.longest_turn))),
            // Rounded up, but no longer than the longest that there was.
            Some(micros(turns.quantile(0).min(view.longest_turn))),
            process("processor time"),
            process("resident"),
            process("private"),
            process("descriptors"),
            process("threads"),
            process("uptime"),
        ];
        Self { at: view.at, figures, protocols }
    }
}

/// The samples of the last minutes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// How long turns took up to the last sample.
    turns: Histogram,
}

impl History {
    /// Adds a sample of this view.
    pub(crate) fn add(&mut self, view: &View) -> &Sample {
        let sample = Sample::new(view, &self.turns);
        self.turns = view.turns.clone();
        self.forget(view.at);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.samples.back().expect("it was put there")
    }

    /// Those that are not too old `now`.
    pub(crate) fn samples(&mut self, now: Instant) -> &VecDeque<Sample> {
        self.forget(now);
        &self.samples
    }

    /// Keeps one that is too old, for the rate from there on.
    fn forget(&mut self, now: Instant) {
        let is_old = |sample: &Sample| now.saturating_duration_since(sample.at) > HISTORY;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
    }
}
