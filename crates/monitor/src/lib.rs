//! The monitor: a console into the running server.
//!
//! Read the modules in this order: [`wire`] (what is said over the connection, for both sides),
//! `connection` (the login, and requests on their way), `session` (an interpreter for an operator,
//! with `console.lua`, what it finds there), `desk` (what it reaches of the server), `trial`
//! (changes that are undone unless somebody confirms them), `monitor` (all sessions).
//!
//! The one design choice: the monitor knows nothing of any protocol. It offers the inspection tree
//! to a full language; what can be seen and done is what the parts of the server say of themselves.

#![forbid(unsafe_code)]

pub mod audit;
mod connection;
mod desk;
pub mod follow;
pub mod limits;
mod monitor;
pub mod operators;
mod outbox;
mod result;
mod session;
mod trial;
pub mod wire;

pub use audit::Audit;
pub use follow::Followed;
pub use limits::MonitorSettings;
pub use monitor::Monitor;
pub use operators::Operators;

#[cfg(test)]
mod tests;
