//! Requests that we make: connections to servers, kept for further requests.
//!
//! ```text
//!   send ─► kept connection ──────────────────────► Link ── head ──► then
//!     └───► look up ─► connect ─► next address ─►   │  ▲               │
//!                                                   │  └── kept ◄─┐    ▼
//!                                                   └── body ─────┴► collector
//! ```
//!
//! Read [`ClientRequest`] (what is asked), `link` (one connection), [`Answer`] (what comes back).
//!
//! The one design choice: a connection carries one request at a time, and is kept only when all of
//! its answer was read, all of the request was sent, and not one byte more has come. Whatever comes
//! on a kept connection ends it, so no answer can be taken for that of another request.

mod answer;
mod link;
mod request;
mod shown;
mod target;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use medusa_core::collector::Collector;
use medusa_core::{Address, ChannelSettings, Handle, Waker};

pub use self::answer::{Answer, Failed};
use self::link::Link;
pub use self::request::{BadRequest, ClientRequest, RequestBuilder};
pub use self::target::{Found, Lookup, SystemLookup, Target};

/// Addresses of one name that are tried, one after the other.
pub const ADDRESSES_TRIED: usize = 4;

/// Interim answers (1xx) before the one that counts.
pub const MAX_INTERIM: u8 = 8;

/// What a client may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Time for one address to accept a connection.
    pub connect: Duration,
    /// Time for the head of an answer to come, from when the request has left.
    pub head: Duration,
    /// Time within which some of a body must come, and for which it may fall behind `body_rate`.
    /// While whoever takes the body wants none of it, no time passes.
    pub body: Duration,
    /// Bytes a second with which a body must come on average; 0 asks for nothing.
    pub body_rate: u64,
    /// Connections at once, in all.
    pub connections: usize,
    /// Connections at once to one target.
    pub connections_each: usize,
    /// Connections kept without a request, in all.
    pub idle: usize,
    /// Connections kept without a request to one target.
    pub idle_each: usize,
    /// Time that a connection is kept without a request: shorter than servers usually keep theirs.
    pub idle_time: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(60),
            body: Duration::from_secs(60),
            body_rate: 240,
            connections: 1024,
            connections_each: 256,
            idle: 256,
            idle_each: 32,
            idle_time: Duration::from_secs(30),
        }
    }
}

/// Hears what comes of a request, and says who takes the body. Without a taker a short body is
/// read and thrown away, and a longer one costs the connection.
type Then = Box<dyn FnOnce(Result<Answer<'_>, Failed>) -> Option<Box<dyn Collector>>>;

/// Makes requests; cheap to clone.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    handle: Handle,
    settings: ClientSettings,
    channel: Rc<ChannelSettings>,
    lookup: Box<dyn Lookup>,
    /// Targets with connections.
    pool: RefCell<HashMap<Rc<Target>, Kept>>,
    /// Connections that stand or are being made, and those of them that are kept.
    open: Cell<usize>,
    idle: Cell<usize>,
    figures: Figures,
}

/// Connections to one target.
#[derive(Default)]
struct Kept {
    open: usize,
    /// Those without a request; the last was used last.
    idle: VecDeque<Rc<Seat>>,
}

/// What has happened since the client was made.
#[derive(Default)]
struct Figures {
    requests: Cell<u64>,
    reused: Cell<u64>,
    repeated: Cell<u64>,
    failed: Cell<u64>,
}

fn count(figure: &Cell<u64>) {
    figure.set(figure.get() + 1);
}

/// Where a kept connection gets its next request.
struct Seat {
    target: Rc<Target>,
    exchange: RefCell<Option<Exchange>>,
    waker: RefCell<Option<Waker>>,
    /// Another connection needs its room.
    leave: Cell<bool>,
    number: Cell<u64>,
}

impl Seat {
    fn new(target: &Rc<Target>) -> Self {
        Self {
            target: target.clone(),
            exchange: RefCell::default(),
            waker: RefCell::default(),
            leave: Cell::new(false),
            number: Cell::new(0),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake();
        }
    }
}

/// A request on its way to an answer.
struct Exchange {
    request: ClientRequest,
    target: Rc<Target>,
    then: Then,
    call: Rc<CallState>,
    /// A kept connection has failed it: the next one is to be new.
    fresh: bool,
}

#[derive(Default)]
struct CallState {
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A request that was sent, to cancel it by. Dropped, nothing happens.
pub struct Call(Rc<CallState>);

impl Call {
    /// Ends the request and its connection. Nothing more is heard of it; a collector that takes
    /// its body is dropped. Behind the answer's end it does nothing.
    pub fn cancel(&self) {
        self.0.cancelled.set(true);
        if let Some(waker) = &*self.0.waker.borrow() {
            waker.wake();
        }
    }
}

impl Client {
    /// Makes a client that looks names up by `lookup`.
    pub fn new(handle: &Handle, settings: ClientSettings, lookup: Box<dyn Lookup>) -> Self {
        // An answer may come before its request has left, and must then be read.
        let channel = ChannelSettings { output_high_bytes: usize::MAX, ..Default::default() };
        Self(Rc::new(Inner {
            handle: handle.clone(),
            settings,
            channel: Rc::new(channel),
            lookup,
            pool: RefCell::default(),
            open: Cell::new(0),
            idle: Cell::new(0),
            figures: Figures::default(),
        }))
    }

    /// Sends a request. `then` hears the head of its answer, or why there is none; never from
    /// within this call, and once, unless the request is cancelled.
    ///
    /// A safe request whose kept connection turns out to be closed is sent once more over a new
    /// one; of any other nobody knows whether it was carried out, so it fails.
    pub fn send(
        &self,
        target: Target,
        request: ClientRequest,
        then: impl FnOnce(Result<Answer<'_>, Failed>) -> Option<Box<dyn Collector>> + 'static,
    ) -> Call {
        let call: Rc<CallState> = Rc::default();
        let pool = self.0.pool.borrow();
        let target = match pool.get_key_value(&target) {
            Some((known, _)) => known.clone(),
            None => Rc::new(target),
        };
        drop(pool);
        count(&self.0.figures.requests);
        let exchange =
            Exchange { request, target, then: Box::new(then), call: call.clone(), fresh: false };
        self.0.dispatch(exchange);
        Call(call)
    }

    /// Connections that stand or are being made.
    pub fn connections(&self) -> usize {
        self.0.open.get()
    }

    /// Connections that are kept without a request.
    pub fn idle(&self) -> usize {
        self.0.idle.get()
    }
}

impl Inner {
    /// Gives a request to a kept connection or to a new one.
    fn dispatch(self: &Rc<Self>, exchange: Exchange) {
        if exchange.call.cancelled.get() {
            return;
        }
        if !exchange.fresh
            && let Some(seat) = self.take_idle(&exchange.target)
        {
            count(&self.figures.reused);
            seat.exchange.replace(Some(exchange));
            return seat.wake();
        }
        if !self.has_room(&exchange.target) {
            let client = self.clone();
            return self.handle.later(move |_| client.fail(exchange, Failed::Busy));
        }
        self.enter(&exchange.target);
        match &*exchange.target.clone() {
            Target::Address(address) => self.connect(exchange, [address.clone()].into()),
            Target::Name(host, port) => {
                let client = self.clone();
                let found = move |found: Result<Vec<Address>, String>| match found {
                    Ok(all) => client.connect(exchange, all.into()),
                    Err(why) => {
                        client.left(&exchange.target);
                        client.fail(exchange, Failed::NotFound(why));
                    }
                };
                self.lookup.look_up(host, *port, Box::new(found));
            }
        }
    }

    /// Takes room for a connection.
    fn enter(&self, target: &Rc<Target>) {
        self.open.set(self.open.get() + 1);
        self.pool.borrow_mut().entry(target.clone()).or_default().open += 1;
    }

    /// Connects to the first of these addresses; its room is taken already.
    fn connect(self: &Rc<Self>, exchange: Exchange, mut addresses: VecDeque<Address>) {
        addresses.truncate(ADDRESSES_TRIED);
        let Some(address) = addresses.pop_front() else {
            self.left(&exchange.target);
            return self.fail(exchange, Failed::NotFound("the name has no address".to_owned()));
        };
        let link = Link::new(self.clone(), exchange, addresses);
        let (within, settings) = (self.settings.connect, self.channel.clone());
        self.handle.connect(address, within, settings, Box::new(link));
    }

    fn fail(&self, exchange: Exchange, why: Failed) {
        if !exchange.call.cancelled.get() {
            count(&self.figures.failed);
            (exchange.then)(Err(why));
        }
    }

    /// Whether another connection may be made to this target; a kept one to another gives way.
    fn has_room(&self, target: &Target) -> bool {
        let pool = self.pool.borrow();
        if pool.get(target).is_some_and(|kept| kept.open >= self.settings.connections_each) {
            return false;
        }
        if self.open.get() < self.settings.connections {
            return true;
        }
        // It goes when it is woken; until then there is one connection too many, at most as many
        // as are kept.
        let oldest = pool.values().filter_map(|kept| kept.idle.front());
        let oldest = oldest.min_by_key(|seat| seat.number.get()).cloned();
        drop(pool);
        match oldest {
            Some(seat) => {
                self.forget(&seat);
                seat.leave.set(true);
                seat.wake();
                true
            }
            None => false,
        }
    }

    fn take_idle(&self, target: &Target) -> Option<Rc<Seat>> {
        let seat = self.pool.borrow_mut().get_mut(target)?.idle.pop_back()?;
        self.idle.set(self.idle.get() - 1);
        Some(seat)
    }

    /// Keeps a connection, if there is room for it.
    fn keep(&self, seat: &Rc<Seat>) -> bool {
        let mut pool = self.pool.borrow_mut();
        let Some(kept) = pool.get_mut(&seat.target) else { return false };
        if kept.idle.len() >= self.settings.idle_each || self.idle.get() >= self.settings.idle {
            return false;
        }
        seat.number.set(self.figures.requests.get());
        kept.idle.push_back(seat.clone());
        self.idle.set(self.idle.get() + 1);
        true
    }

    /// Takes a connection out of those that are kept.
    fn forget(&self, seat: &Rc<Seat>) {
        if let Some(kept) = self.pool.borrow_mut().get_mut(&seat.target)
            && let Some(at) = kept.idle.iter().position(|other| Rc::ptr_eq(other, seat))
        {
            kept.idle.remove(at);
            self.idle.set(self.idle.get() - 1);
        }
    }

    /// A connection has gone.
    fn left(&self, target: &Rc<Target>) {
        self.open.set(self.open.get() - 1);
        let mut pool = self.pool.borrow_mut();
        if let Some(kept) = pool.get_mut(target) {
            kept.open -= 1;
            if kept.open == 0 {
                pool.remove(target);
            }
        }
    }
}
