//! Scripts in Lua 5.4, whose every mistake ends by itself.
//!
//! Read the modules in this order: [`engine`] (what the server calls), [`call`] (how calls end, run on
//! and wait), [`value`] (what crosses the border), `interpreter` with `prelude.lua` (what scripts
//! find), `guard` (what ends them), `pattern` and `texts` (texts matched within bounds), [`library`].
//!
//! The one design choice: no other crate names the engine, and nothing of the engine is trusted to
//! end. What runs in C is either short, whatever it is given, or replaced.

#![deny(unsafe_code)] // `guard` alone is allowed it: the engine's allocator and hook are in C.

pub mod call;
pub mod engine;
pub mod error;
mod guard;
mod interpreter;
pub mod library;
pub mod limits;
mod pattern;
mod tasks;
mod texts;
pub mod value;

pub use call::{Begun, Later, Outcome, Running};
pub use engine::{Callable, Engine, WeakEngine, check};
pub use error::{Budget, Exceeded, Place, ScriptError};
pub use library::{Library, SharedTable, Store};
pub use value::Value;

#[cfg(test)]
mod tests;
