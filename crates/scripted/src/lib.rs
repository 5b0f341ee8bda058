//! Scripts in Lua as parts of a server: HTTP extensions, timers, handlers of events.
//!
//! Read [`host`] (the engine and what joins it to the server), [`script`] (a script, its versions,
//! how it is loaded), [`scripts`] (all of a configuration), `desk` (timers and events),
//! [`extension`] (a request goes to a script and comes back as a reply) with `glue.lua` (what the
//! script sees of it) and `talk` (bodies, piece by piece, in both directions), [`files`] (what scripts
//! read of file trees), [`tree`] with `asked` (file trees that scripts make).
//!
//! The one design choice: the engine knows nothing of servers, and servers nothing of scripts. All
//! that joins them is here, and a handler that answers at once costs neither a promise nor a timer.

#![forbid(unsafe_code)]

mod asked;
mod connection;
mod desk;
pub mod extension;
pub mod files;
pub mod host;
pub mod inspect;
mod net;
mod request;
pub mod script;
pub mod scripts;
pub mod server;
mod talk;
pub mod tree;

pub use extension::ScriptExtension;
pub use files::GivenTree;
pub use host::Host;
pub use script::{Returns, Script, ScriptPlan};
pub use scripts::{Scripts, ScriptsOptions};
pub use server::{ScriptServer, ScriptServerSetup};
pub use tree::{Callers, ScriptTree};

#[cfg(test)]
mod tests;
