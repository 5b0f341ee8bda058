//! The event loop of Medusa: one thread that serves any number of connections.
//!
//! Read the modules in this order, which is the order in which one request flows:
//!
//! 1. [`protocol`]: what an author writes, the state machine of one connection.
//! 2. [`terminator`]: how input is cut into frames for it.
//! 3. [`producer`] and [`collector`]: how output is made lazily, and input is taken with
//!    back-pressure.
//! 4. `output` and `channel`: one socket with its input cutter and its output queue.
//! 5. [`engine`]: all channels, timers and budgets, without any system call for readiness; the
//!    `testing` harness (a feature) drives it under virtual time.
//! 6. [`rate`], [`bandwidth`], [`clients`] and [`server_limits`]: what connections and clients are
//!    held to.
//! 7. [`reactor`]: the engine on real sockets: readiness, listeners, helper threads; how long its
//!    [`turns`] take.
//!
//! Goals, ranked: correct, safe, bounded, fast, simple. The core knows no protocol's words.

pub mod address;
pub mod anchor;
pub mod bandwidth;
mod channel;
pub mod clients;
pub mod collector;
pub mod datagram;
pub mod engine;
pub mod handle;
pub mod histogram;
pub mod inspect;
pub mod limits;
mod listener;
mod output;
pub mod passed;
pub mod pool;
pub mod producer;
pub mod protocol;
pub mod rate;
pub mod reactor;
pub mod remote;
pub mod seldom;
pub mod server_limits;
pub mod slowest;
pub mod sys;
pub mod terminator;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod turns;

pub use address::{Address, Peer};
pub use bandwidth::Bandwidth;
pub use bytes::Bytes;
pub use clients::{ClientRates, Clients};
pub use engine::ChannelId;
pub use handle::{Clock, Handle, Waker};
pub use limits::ChannelSettings;
pub use passed::PassedSocket;
pub use producer::{Aborted, FileRange, Piece, Producer, Pull};
pub use protocol::{Close, Closed, Context, Ending, Frame, Protocol, Service, service};
pub use rate::Rate;
pub use reactor::{ListenOptions, Reactor, Settings};
pub use remote::Remote;
pub use server_limits::{ServerLimitOptions, ServerLimits};
pub use terminator::Terminator;
