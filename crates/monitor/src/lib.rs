//! The monitor: a console into the running server.
//!
//! Read the modules in this order: [`wire`] (what is said over the connection, for both sides).

#![forbid(unsafe_code)]

pub mod wire;
