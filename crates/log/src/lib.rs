//! Logs: lines on their way to files, streams and syslog, without ever holding up the loop.
//!
//! ```text
//! loop ── Lines (gathers) ──┐
//! diagnostics, any thread ──┼─► Queue (bounded) ─► writing thread ─► file, stream, syslog
//! messages of panics ───────┘
//! ```
//!
//! The one design choice: each destination has a bounded queue and a thread. Whoever logs only
//! copies; the thread writes, waits, retries, rotates and opens anew. What a destination does not
//! take in time is dropped, counted, and told of in the log itself.
//!
//! [`Logs`] owns all destinations. [`Lines`] is one of them for code on the loop's thread.

#![forbid(unsafe_code)]

mod destination;
mod diagnostics;
mod file;
pub mod limits;
mod lines;
mod logs;
mod panics;
mod queue;
mod rotate;
mod stream;
mod syslog;
mod writer;

pub use destination::{Destination, OpenError};
pub use diagnostics::{DiagnosticsForm, DiagnosticsOptions};
pub use lines::{Following, Lines};
pub use logs::Logs;
pub use rotate::{Rotate, RotateError};
pub use syslog::{Facility, SyslogAddress, SyslogOptions};
