//! A change of listeners that happens as a whole or not at all, for servers that are configured
//! anew while they run.
//!
//! The one design choice: everything that can fail is done first. Only when all new sockets are
//! bound do the kept ones get their new services and the old ones go; nobody has been accepted
//! before that.

use std::fmt;
use std::io;
use std::rc::Rc;

use crate::address::Address;
use crate::handle::ListenerId;
use crate::listener::{ListenOptions, Listener};
use crate::protocol::Service;
use crate::reactor::Reactor;

/// A change of the loop's listeners.
#[derive(Default)]
pub struct ListenerChange {
    /// Listeners to be added.
    pub bind: Vec<Bind>,
    /// Listeners that stay, with the service that makes the protocols of connections accepted
    /// from now on. Connections that are open are told to retire.
    pub serve: Vec<(ListenerId, Rc<dyn Service>)>,
    /// Listeners that go; the connections that they accepted are told to retire.
    pub stop: Vec<ListenerId>,
}

/// A listener to be added.
pub struct Bind {
    /// Where it listens.
    pub address: Address,
    /// Makes the protocols of its connections.
    pub service: Rc<dyn Service>,
    /// How it listens.
    pub options: ListenOptions,
}

/// A listener could not be added, and nothing was changed.
#[derive(Debug)]
pub struct NotBound {
    /// Its place in [`ListenerChange::bind`].
    pub place: usize,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for NotBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at the new address number {}: {}", self.place + 1, self.error)
    }
}

impl std::error::Error for NotBound {}

impl Reactor {
    /// Changes the listeners, before or while the loop runs. Gives, in their order, the names of
    /// those that were added and the addresses that were really bound.
    ///
    /// # Errors
    ///
    /// The first that cannot be added; then everything is as before. A listener that is stopped
    /// by the same change still holds its address. When the loop is stopping none can be added.
    pub fn change_listeners(
        &mut self,
        change: ListenerChange,
    ) -> Result<Vec<(ListenerId, Address)>, NotBound> {
        let mut added = Vec::with_capacity(change.bind.len());
        for (place, Bind { address, service, options }) in change.bind.into_iter().enumerate() {
            let bound = if self.stopping.is_some() {
                Err(io::Error::other("the server is stopping"))
            } else {
                self.listen(&address, service, options)
            };
            match bound {
                Ok(bound) => added.push(bound),
                Err(error) => {
                    for (id, _) in added {
                        self.unlisten(id);
                    }
                    return Err(NotBound { place, error });
                }
            }
        }
        for (id, service) in change.serve {
            let Some(listener) = self.listeners.remove(&id.0) else { continue };
            let listener = self.serve_with(listener, service);
            self.listeners.insert(id.0, listener);
            self.engine.retire_listener(id.0);
        }
        for id in change.stop {
            self.unlisten(id);
            self.engine.retire_listener(id.0);
        }
        self.show();
        Ok(added)
    }

    pub(super) fn unlisten(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.remove(&id.0) else { return };
        let shown = !listener.transient;
        self.close_listener(listener);
        if shown {
            self.show();
        }
    }

    /// Gives a listener another service, and with it another UDP socket or none.
    fn serve_with(&mut self, mut listener: Listener, service: Rc<dyn Service>) -> Listener {
        listener.service = service;
        if let Some(mut old) = listener.datagrams.and_then(|number| self.datagrams.remove(&number))
        {
            old.flush();
            // It goes in any case.
            let _ = self.poll.registry().deregister(&mut old.socket);
        }
        // Nothing else has changed by now that could be taken back, so this can only be told.
        listener.datagrams = self.bind_beside(&listener).unwrap_or_else(|e| {
            tracing::error!("{} takes no datagrams: {e}", listener.address);
            None
        });
        listener
    }
}
