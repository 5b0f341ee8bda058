//! A bandwidth that connections share: those of a server, of a user, of whatever counts as one.
//!
//! The one design choice: it is shared by reservation. Whoever finds nothing left takes the next
//! share all the same, and learns when it will be there; who comes later is due later. So each
//! gets its turn, and there is no queue that could grow or hold somebody who has gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use crate::handle::{Clock, Handle};
use crate::inspect::{Node, Value};
use crate::rate::{Bucket, Rate};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// Two rates, one towards the peers and one from them, with what is left of each.
///
/// A connection is held to it by [`crate::Context::share_bandwidth`].
#[derive(Default)]
pub struct Bandwidth {
    send: Lane,
    receive: Lane,
    /// Of the loop that it was used on.
    clock: OnceCell<Clock>,
}

#[derive(Default)]
struct Lane {
    rate: Cell<Option<Rate>>,
    bucket: RefCell<Bucket>,
}

impl Bandwidth {
    /// Makes a bandwidth towards the peers of all connections that share it, and one from them;
    /// `None` is any.
    pub fn new(send: Option<Rate>, receive: Option<Rate>) -> Rc<Self> {
        let bandwidth = Self::default();
        bandwidth.replace(send, receive);
        Rc::new(bandwidth)
    }

    /// Sets other rates. They hold at once for the connections that share it.
    pub fn replace(&self, send: Option<Rate>, receive: Option<Rate>) {
        for (lane, rate) in [(&self.send, send), (&self.receive, receive)] {
            if lane.rate.replace(rate) != rate {
                lane.bucket.replace(Bucket::default());
            }
        }
    }

    /// Whether there is any limit.
    pub fn is_on(&self) -> bool {
        self.send.rate.get().is_some() || self.receive.rate.get().is_some()
    }

    /// Adds what there is to see to a node of the inspection tree: for each rate, what it is and
    /// what may move at once.
    #[must_use]
    pub fn describe(&self, mut node: Node) -> Node {
        let now = self.clock.get().map_or(0, Clock::tick);
        for (limit, left, lane) in
            [("send rate", "may send", &self.send), ("receive rate", "may receive", &self.receive)]
        {
            if let Some(rate) = lane.rate.get() {
                let available = lane.bucket.borrow_mut().available(&rate, now);
                node = node
                    .field(limit, Value::Text(rate.to_string()))
                    .field(left, Value::Bytes(available));
            }
        }
        node
    }

    /// Says by which loop's clock it goes.
    pub(crate) fn set_clock(&self, handle: &Handle) {
        self.clock.get_or_init(|| handle.clock());
    }

    fn lane(&self, way: Way) -> Option<(Rate, &RefCell<Bucket>)> {
        let lane = match way {
            Way::Out => &self.send,
            Way::In => &self.receive,
        };
        Some((lane.rate.get()?, &lane.bucket))
    }

    /// Claims up to `most` bytes, or, where nothing is left, reserves `share` of them. Gives their
    /// number and the tick at which they may be used; without a limit, `most` at once.
    pub(crate) fn claim(&self, way: Way, most: u64, share: u64, now: u64) -> (u64, u64) {
        let Some((rate, bucket)) = self.lane(way) else { return (most, now) };
        let mut bucket = bucket.borrow_mut();
        let share = share.min(most).min(rate.pace());
        let n = bucket.available(&rate, now).min(most).max(share);
        (n, bucket.reserve(&rate, n, now))
    }

    /// Gives back what was claimed and not used.
    pub(crate) fn give_back(&self, way: Way, n: u64) {
        if let Some((rate, bucket)) = self.lane(way) {
            bucket.borrow_mut().give_back(&rate, n);
        }
    }
}
