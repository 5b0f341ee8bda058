//! Lets each client ask so often and no more (RFC 6585, section 4).
//!
//! The one design choice: it passes requests on or refuses them, so it may stand anywhere: in
//! front of everything, which is what a server's own limit does, or before a form whose passwords
//! nobody should try by the thousand. What is refused does not count, so a client that waits as
//! long as it is told gets through.

use std::rc::Rc;
use std::time::Duration;

use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::seldom::Seldom;
use medusa_core::{ClientRates, Clients, Handle, Peer, Rate};

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::figures::count;
use crate::limits::REMEMBERED_CLIENTS;
use crate::reply::Reply;

/// How often clients may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitOptions {
    /// Requests in a time, and how many of them may come at once.
    pub rate: Rate,
    /// Who counts as one client.
    pub clients: Clients,
    /// Clients that are remembered at once, at least 2; past them the one that asked longest ago
    /// begins anew.
    pub remembered: usize,
}

impl RateLimitOptions {
    /// Holds clients to this rate, with the defaults for all else.
    pub fn new(rate: Rate) -> Self {
        Self { rate, clients: Clients::default(), remembered: REMEMBERED_CLIENTS }
    }
}

/// Lets requests pass, or answers 429 and says when to come again.
pub struct RateLimit(Rc<Inner>);

struct Inner {
    name: String,
    options: RateLimitOptions,
    rates: ClientRates,
    told: Rc<Seldom>,
}

impl RateLimit {
    /// Makes a limit; each has a count of its own.
    pub fn new(options: RateLimitOptions) -> Self {
        Self::named("rate_limit", options)
    }

    /// Makes a limit of this name.
    pub fn named(name: impl Into<String>, options: RateLimitOptions) -> Self {
        let rates = ClientRates::new(options.rate, options.clients.clone(), options.remembered);
        let told = Seldom::new(|times, last| {
            tracing::warn!(
                "answered 429 to {times} requests, the last from {last}: their clients asked more \
                 often than they may"
            );
        });
        Self(Rc::new(Inner { name: name.into(), options, rates, told }))
    }

    /// What it was made of.
    pub fn options(&self) -> &RateLimitOptions {
        &self.0.options
    }

    /// The limit as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        self.0.clone()
    }

    /// Counts a request; gives the reply if it was one too many.
    pub(crate) fn check(&self, peer: &Peer, handle: &Handle) -> Option<Reply> {
        let wait = self.0.rates.take(peer, handle).err()?;
        self.0.told.note(*peer, handle);
        Some(too_many(wait))
    }
}

#[cold]
fn too_many(wait: Duration) -> Reply {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Reply::text(429, "this client asks too often; the Retry-After field says when to ask again")
        .field("Retry-After", seconds.to_string())
}

impl Extension for RateLimit {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn describe(&self, node: Node) -> Node {
        self.0.describe(node)
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        match self.check(&request.peer, request.handle) {
            None => Handled::Pass,
            Some(reply) => {
                count(&exchange.shared.figures.limited);
                Handled::Now(reply)
            }
        }
    }
}

impl Inner {
    fn describe(&self, node: Node) -> Node {
        node.field("rate", Value::Text(self.options.rate.to_string()))
            .field("clients", Value::Count(self.rates.known() as u64))
            .field("limited", Value::Count(self.rates.refused()))
    }
}

impl Inspect for Inner {
    fn node(&self) -> Node {
        self.describe(Node::new("rate limit"))
    }
}
