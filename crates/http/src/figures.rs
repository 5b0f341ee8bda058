//! Running totals of one server, and its slowest requests.
//!
//! The one design choice: a request is counted when the last byte of its reply has left, or never
//! will, so that what was answered and what was sent are figures of the same moment. Its words are
//! kept until then where the line for the log is, and read only if it was slow.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::slowest::{Slow, Slowest};

use crate::limits::{SLOW_REQUESTS, SLOW_REQUESTS_LAST};
use crate::service::Shared;

/// The part of a server that has its slowest requests.
pub(crate) const SLOWEST: &str = "slowest requests";

/// Running totals of one server.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) requests: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) aborted: Cell<u64>,
    pub(crate) panics: Cell<u64>,
    /// Requests of clients that asked too often.
    pub(crate) limited: Cell<u64>,
    /// Requests that came too slowly, and replies that were taken too slowly.
    pub(crate) slow: Cell<u64>,
    /// Replies by the first digit of their status.
    classes: [Cell<u64>; 6],
    /// Bytes of replies, their heads among them.
    sent: Cell<u64>,
    slowest: RefCell<Slowest<SlowRequest, SLOW_REQUESTS>>,
}

/// What is kept of a slow request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowRequest {
    /// Method and target, without the query, which may have secrets; printable.
    pub(crate) asked: String,
    /// 0 is none.
    pub(crate) status: u16,
    /// Bytes of the reply that have left, its head among them.
    pub(crate) sent: u64,
}

pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            requests: Cell::default(),
            refused: Cell::default(),
            aborted: Cell::default(),
            panics: Cell::default(),
            limited: Cell::default(),
            slow: Cell::default(),
            classes: Default::default(),
            sent: Cell::default(),
            slowest: RefCell::new(Slowest::new(SLOW_REQUESTS_LAST)),
        }
    }
}

impl Figures {
    /// Counts a request whose reply has left, or never will; a `status` of 0 is no reply.
    #[inline]
    pub(crate) fn answered(&self, status: u16, sent: u64) {
        if let Some(class) = self.classes.get(usize::from(status / 100)) {
            count(class);
        }
        self.sent.set(self.sent.get() + sent);
    }

    /// Notes how long a request took; `what` is asked only of slow ones.
    #[inline]
    pub(crate) fn took(&self, took: Duration, now: Instant, what: impl FnOnce() -> SlowRequest) {
        self.slowest.borrow_mut().note(took, now, what);
    }

    /// Adds all totals to a node.
    pub(crate) fn describe(&self, mut node: Node) -> Node {
        node = node
            .field("requests", Value::Count(self.requests.get()))
            .field("sent", Value::Bytes(self.sent.get()));
        for (class, name) in self.classes.iter().zip(["", "1xx", "2xx", "3xx", "4xx", "5xx"]) {
            // Those of the first class are no answers, and 0 is none.
            if !matches!(name, "" | "1xx") {
                node = node.field(name, Value::Count(class.get()));
            }
        }
        node.field("refused", Value::Count(self.refused.get()))
            .field("aborted", Value::Count(self.aborted.get()))
            .field("panics", Value::Count(self.panics.get()))
            .field("limited", Value::Count(self.limited.get()))
            .field("slow", Value::Count(self.slow.get()))
    }
}

const ABOUT_SLOWEST: &str =
    "The requests of the last minutes that took longest, the longest first.";

const REQUEST_NOTES: &[(&str, &str)] = &[
    ("took", "Time from its head until its reply had left."),
    ("asked", "Its method and its target, without the query."),
    ("status", "The status of its reply."),
    ("sent", "Bytes of the reply that have left, its head among them."),
    ("ago", "Time since it ended."),
];

/// The slowest requests in the inspection tree.
pub(crate) struct ShownSlowest(pub(crate) Rc<Shared>);

impl ShownSlowest {
    fn with<T>(&self, see: impl FnOnce(&[&Slow<SlowRequest>], Instant) -> T) -> Option<T> {
        // Before the first connection there is no clock, and no request.
        let now = self.0.handle.get()?.now();
        let slowest = self.0.figures.slowest.borrow();
        Some(see(&slowest.list(now), now))
    }
}

impl Inspect for ShownSlowest {
    fn node(&self) -> Node {
        let count = self.with(|slowest, _| slowest.len()).unwrap_or_default();
        let children = (1..=count).map(|place| place.to_string()).collect();
        Node { children, ..Node::new(SLOWEST).about(ABOUT_SLOWEST, &[]) }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let place = name.parse::<usize>().ok()?.checked_sub(1)?;
        let node = self.with(|slowest, now| {
            let slow = slowest.get(place)?;
            let mut node = Node::new("request")
                .about("A request and its reply.", REQUEST_NOTES)
                .field("took", Value::Time(slow.took))
                .field("asked", Value::Text(slow.what.asked.clone()));
            if slow.what.status != 0 {
                node = node.field("status", Value::Count(u64::from(slow.what.status)));
            }
            let ago = now.saturating_duration_since(slow.at);
            Some(node.field("sent", Value::Bytes(slow.what.sent)).field("ago", Value::Time(ago)))
        });
        Some(Rc::new(ShownOne(node??)))
    }
}

/// A node that was made beforehand.
struct ShownOne(Node);

impl Inspect for ShownOne {
    fn node(&self) -> Node {
        self.0.clone()
    }
}
