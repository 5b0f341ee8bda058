//! What all connections of one server share: places for each client's connections, and a
//! bandwidth.
//!
//! The one design choice: a bandwidth is shared by reservation. Whoever finds nothing left takes
//! the next share all the same, and learns when it will be there; who comes later is due later.
//! So each gets its turn, and there is no queue that could grow or hold somebody who has gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::address::Peer;
use crate::clients::{Client, Clients};
use crate::handle::Handle;
use crate::inspect::{Node, Value};
use crate::rate::{Bucket, Rate};
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
    send: RefCell<Bucket>,
    receive: RefCell<Bucket>,
    turned_away: Cell<u64>,
    told: Rc<Seldom>,
    /// The loop that it was used on.
    clock: OnceCell<Handle>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

impl ServerLimits {
    /// Makes the limits of a server.
    pub fn new(options: ServerLimitOptions) -> Rc<Self> {
        Rc::new(Self {
            options: RefCell::new(options),
            open: RefCell::default(),
            send: RefCell::default(),
            receive: RefCell::default(),
            turned_away: Cell::new(0),
            told: Seldom::new(|times, last| {
                tracing::warn!(
                    "turned {times} connections away, the last from {last}: their clients had as \
                     many open as one client may have"
                );
            }),
            clock: OnceCell::new(),
        })
    }

    /// Sets other limits. Connections that are open stay open and count; a bandwidth holds at
    /// once for those that were accepted while there were any limits.
    pub fn replace(&self, options: ServerLimitOptions) {
        let old = self.options.replace(options);
        let new = self.options.borrow();
        for (bucket, was, is) in [
            (&self.send, old.send_rate, new.send_rate),
            (&self.receive, old.receive_rate, new.receive_rate),
        ] {
            if was != is {
                bucket.replace(Bucket::default());
            }
        }
    }

    /// Whether there are any limits.
    pub fn is_on(&self) -> bool {
        let options = self.options.borrow();
        options.connections_a_client.is_some()
            || options.send_rate.is_some()
            || options.receive_rate.is_some()
    }

    /// Gives a new connection its place; `None` turns it away.
    pub(crate) fn admit(self: &Rc<Self>, peer: &Peer, handle: &Handle) -> Option<Place> {
        self.clock.get_or_init(|| handle.clone());
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
        let options = self.options.borrow();
        let now = self.clock.get().map_or(0, Handle::tick);
        let mut node = node
            .field("clients", Value::Count(self.open.borrow().len() as u64))
            .field("turned away", Value::Count(self.turned_away.get()));
        for (name, rate, bucket) in [
            ("may send", options.send_rate, &self.send),
            ("may receive", options.receive_rate, &self.receive),
        ] {
            if let Some(rate) = rate {
                let available = bucket.borrow_mut().available(&rate, now);
                node = node.field(name, Value::Bytes(available));
            }
        }
        node
    }

    /// The bandwidth in one direction, and what is left of it.
    fn bandwidth(&self, way: Way) -> Option<(Rate, &RefCell<Bucket>)> {
        let options = self.options.borrow();
        let (rate, bucket) = match way {
            Way::Out => (options.send_rate, &self.send),
            Way::In => (options.receive_rate, &self.receive),
        };
        Some((rate?, bucket))
    }
}

/// The place of one connection among those of its server; given up when it is dropped.
pub(crate) struct Place {
    limits: Rc<ServerLimits>,
    client: Option<Client>,
}

impl Place {
    /// Claims up to `most` bytes, or, where nothing is left, reserves `share` of them. Gives their
    /// number and the tick at which they may be used; without a bandwidth, `most` at once.
    pub(crate) fn claim(&self, way: Way, most: u64, share: u64, now: u64) -> (u64, u64) {
        let Some((rate, bucket)) = self.limits.bandwidth(way) else { return (most, now) };
        let mut bucket = bucket.borrow_mut();
        let share = share.min(most).min(rate.pace());
        let n = bucket.available(&rate, now).min(most).max(share);
        (n, bucket.reserve(&rate, n, now))
    }

    /// Gives back what was claimed and not used.
    pub(crate) fn give_back(&self, way: Way, n: u64) {
        if let Some((rate, bucket)) = self.limits.bandwidth(way) {
            bucket.borrow_mut().give_back(&rate, n);
        }
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
