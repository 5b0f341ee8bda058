//! What all connections of one server share: places for each client's connections, and a
//! bandwidth.
//!
//! The one design choice: a place is held by the connection itself, and counts until that has
//! gone, however it goes. So nothing has to be told, and nothing can be forgotten.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::address::Peer;
use crate::bandwidth::Bandwidth;
use crate::clients::{Client, Clients};
use crate::handle::Handle;
use crate::inspect::{Node, Value};
use crate::rate::Rate;
use crate::seldom::Seldom;

/// Limits of a server as a whole; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLimitOptions {
    /// Connections that one client may have open at once; further ones are turned away. `None` is
    /// any number.
    pub connections_a_client: Option<u32>,
    /// Who counts as one client.
    pub clients: Clients,
    /// Bandwidth of all connections together towards their peers; `None` is any.
    pub send_rate: Option<Rate>,
    /// Bandwidth of all connections together from their peers.
    pub receive_rate: Option<Rate>,
}

/// The limits of one server, with what its connections have used of them.
pub struct ServerLimits {
    options: RefCell<ServerLimitOptions>,
    /// Connections of each client that has any; the connections bound it.
    open: RefCell<HashMap<Client, u32>>,
    bandwidth: Rc<Bandwidth>,
    turned_away: Cell<u64>,
    told: Rc<Seldom>,
}

impl ServerLimits {
    /// Makes the limits of a server.
    pub fn new(options: ServerLimitOptions) -> Rc<Self> {
        let bandwidth = Bandwidth::new(options.send_rate, options.receive_rate);
        Rc::new(Self {
            options: RefCell::new(options),
            open: RefCell::default(),
            bandwidth,
            turned_away: Cell::new(0),
            told: Seldom::new(|times, last| {
                tracing::warn!(
                    "turned {times} connections away, the last from {last}: their clients had as \
                     many open as one client may have"
                );
            }),
        })
    }

    /// Sets other limits. Connections that are open stay open and count; a bandwidth holds at
    /// once for those that were accepted while there were any limits.
    pub fn replace(&self, options: ServerLimitOptions) {
        self.bandwidth.replace(options.send_rate, options.receive_rate);
        self.options.replace(options);
    }

    /// Whether there are any limits.
    pub fn is_on(&self) -> bool {
        self.options.borrow().connections_a_client.is_some() || self.bandwidth.is_on()
    }

    /// Gives a new connection its place; `None` turns it away.
    pub(crate) fn admit(self: &Rc<Self>, peer: &Peer, handle: &Handle) -> Option<Place> {
        self.bandwidth.set_clock(handle);
        let options = self.options.borrow();
        let client = options.connections_a_client.and_then(|_| options.clients.client(peer));
        if let (Some(client), Some(most)) = (client, options.connections_a_client) {
            let mut open = self.open.borrow_mut();
            let count = open.get(&client).copied().unwrap_or(0);
            if count >= most {
                self.turned_away.set(self.turned_away.get() + 1);
                self.told.note(*peer, handle);
                return None;
            }
            open.insert(client, count + 1);
        }
        Some(Place { limits: self.clone(), client })
    }

    /// Connections that were turned away.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.get()
    }

    /// Adds what there is to see to a node of the inspection tree.
    #[must_use]
    pub fn describe(&self, node: Node) -> Node {
        let node = node
            .field("clients", Value::Count(self.open.borrow().len() as u64))
            .field("turned away", Value::Count(self.turned_away.get()));
        self.bandwidth.describe(node)
    }
}

/// The place of one connection among those of its server; given up when it is dropped.
pub(crate) struct Place {
    limits: Rc<ServerLimits>,
    client: Option<Client>,
}

impl Place {
    /// What its connection shares with the others of the server.
    pub(crate) fn bandwidth(&self) -> &Rc<Bandwidth> {
        &self.limits.bandwidth
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut open = self.limits.open.borrow_mut();
        match open.get_mut(&client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&client);
            }
        }
    }
}
