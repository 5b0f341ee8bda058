//! What operators can see and do of the program as a whole, in the inspection tree.
//!
//! ```text
//! server                 the process: reload, upgrade, stop
//! configuration          what is in force
//! servers / NAME         what listens: see the protocol's own crate; `limits` can be set
//! trees / NAME           what is served
//! ```
//!
//! The one design choice: what runs is looked up when it is asked for, so nothing here has to be
//! told of a reload. What is changed here holds until the next one; then the file holds.

mod extensions;
mod served;
mod server;

use std::rc::Rc;

use medusa_core::Handle;

pub(crate) use self::extensions::Plugging;
use self::served::{ShownServers, ShownTrees};
use self::server::ShownProcess;
use crate::life::Orders;
use crate::reload::Running;

/// Mounts all of it, when the process can be told something.
pub(crate) fn mount(handle: &Handle, running: &Rc<Running>, orders: Orders) {
    let process = ShownProcess { running: running.clone(), orders };
    handle.mount("server", Rc::new(process));
    handle.mount("configuration", running.clone());
    handle.mount("servers", Rc::new(ShownServers(running.clone())));
    handle.mount("trees", Rc::new(ShownTrees(running.clone())));
}

#[cfg(test)]
mod tests;
