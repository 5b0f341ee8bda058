//! The server's figures, live: a page for people, JSON for programs, text for Prometheus.
//!
//! Read [`extension`] (a request goes to one of these forms), `station` (who looks on, and what
//! happened of late), `view` (one look at the whole inspection tree), `sample` (the figures in it
//! that make charts), and the forms: `json`, [`metrics`], `page`.
//!
//! The one design choice: nothing here knows what the server consists of. Everything is read from
//! the inspection tree, so whatever stands there is shown, and only a few kinds of parts are known
//! by name, for charts and for the types of metrics. While nobody looks, nothing is read and no
//! timer runs.

#![forbid(unsafe_code)]

pub mod extension;
mod json;
pub mod limits;
pub mod metrics;
mod page;
mod sample;
mod station;
#[cfg(test)]
mod tests;
mod view;

pub use extension::{Status, StatusOptions};
pub use station::Station;
