//! Allows the bodies of some requests fewer bytes, or more, than the server does.
//!
//! The one design choice: it only says how many and lets the request pass, so the session counts
//! them as it counts all others, by length or as chunks come, and whatever stands behind it may
//! say otherwise.

use crate::extension::{Exchange, Extension, Handled, Request};

/// Sets the bytes that a body may have; past them the answer is 413.
pub struct BodyLimit(u64);

impl BodyLimit {
    /// Allows so many bytes; 0 allows no body at all.
    pub fn new(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl Extension for BodyLimit {
    fn name(&self) -> &'static str {
        "body_limit"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        request.has_body()
    }

    fn handle(&self, _: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        exchange.limit_body(self.0);
        Handled::Pass
    }
}
