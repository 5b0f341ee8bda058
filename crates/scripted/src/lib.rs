//! HTTP extensions written in Lua.
//!
//! Read [`extension`] (a request goes to a script and comes back as a reply), `glue.lua` (what the
//! script sees of it), `talk` (bodies, piece by piece, in both directions).
//!
//! The one design choice: the engine knows nothing of HTTP, and HTTP nothing of scripts. All that
//! joins them is here, and a handler that answers at once costs neither a promise nor a timer.

#![forbid(unsafe_code)]

pub mod extension;
mod talk;

pub use extension::{Host, ScriptExtension};

#[cfg(test)]
mod tests;
