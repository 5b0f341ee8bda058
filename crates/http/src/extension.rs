//! Extensions handle requests: an ordered list, the first that matches answers.
//!
//! The one design choice: the list is replaced as a whole when it changes, and each request
//! holds the list it began with. So extensions come and go while requests are in flight, and
//! even from inside a request.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::collector::Collector;
use medusa_core::{Handle, Peer, Waker};

use crate::late::{Late, Responder};
use crate::reply::Reply;
use crate::service::Shared;
use crate::wire::fields::Fields;
use crate::wire::framing::BodyFraming;
use crate::wire::head::Head;
use crate::write::Asked;

/// Handles requests.
pub trait Extension {
    /// Its name, by which it is found in the list.
    fn name(&self) -> &str;

    /// Whether it wants to answer this request.
    fn matches(&self, request: &Request<'_>) -> bool;

    /// Answers, now or later. What is called here must not block; see [`Handle::run`].
    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled;
}

/// How an extension answers.
pub enum Handled {
    /// With this reply, which may have a body that is made by and by.
    Now(Reply),
    /// Through the [`Responder`] that it took. If it took none, or drops it, the client gets 500.
    Later,
}

/// A request as an extension sees it.
pub struct Request<'a> {
    /// Its head, checked.
    pub head: &'a Head<'a>,
    /// The bytes of its head, to parse again by whoever answers later.
    pub raw: &'a [u8],
    /// Who asks.
    pub peer: Peer,
    /// The time of day, as the time since 1970.
    pub unix_time: Duration,
    /// The services of the loop.
    pub handle: &'a Handle,
}

impl Request<'_> {
    /// Whether a body comes with it.
    pub fn has_body(&self) -> bool {
        self.head.framing != BodyFraming::None
    }
}

/// Hears the trailers of a body.
pub(crate) type Trailers = Box<dyn FnOnce(&Fields<'_>)>;

/// One request on its way to its reply: what an extension may do besides answering at once.
pub struct Exchange<'a> {
    pub(crate) waker: Waker,
    pub(crate) shared: &'a Rc<Shared>,
    pub(crate) asked: Asked,
    pub(crate) late: Option<Rc<Late>>,
    pub(crate) collector: Option<Box<dyn Collector>>,
    pub(crate) trailers: Option<Trailers>,
    pub(crate) max_body: u64,
}

impl Exchange<'_> {
    /// Takes the means to answer later. Taken twice, the first answer counts.
    pub fn later(&mut self) -> Responder {
        let late = self
            .late
            .get_or_insert_with(|| Late::new(self.shared.clone(), self.waker.clone(), self.asked));
        Responder::new(late.clone())
    }

    /// Has the request's body given to this collector as it arrives. Without one the body is
    /// read and thrown away, or the connection is closed if it is long.
    pub fn collect(&mut self, collector: impl Collector + 'static) {
        self.collector = Some(Box::new(collector));
    }

    /// Has the trailers of a chunked body given to `hear`, before the collector is ended. They
    /// are kept apart from the head, and what they say counts for nothing (RFC 9110, section 6.5).
    pub fn hear_trailers(&mut self, hear: impl FnOnce(&Fields<'_>) + 'static) {
        self.trailers = Some(Box::new(hear));
    }

    /// Allows fewer (or more) bytes of body than the server's setting; past it the answer is 413.
    pub fn limit_body(&mut self, bytes: u64) {
        self.max_body = bytes;
    }

    /// The waker of this connection, for collectors and feeds.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// The ordered list of extensions.
#[derive(Default)]
pub struct Extensions(RefCell<Rc<Vec<Rc<dyn Extension>>>>);

impl Extensions {
    /// Makes a list of these.
    pub fn new(list: Vec<Rc<dyn Extension>>) -> Self {
        Self(RefCell::new(Rc::new(list)))
    }

    /// The list as it is now.
    pub fn list(&self) -> Rc<Vec<Rc<dyn Extension>>> {
        self.0.borrow().clone()
    }

    /// Inserts an extension before the one at `place`; past the end it comes last.
    pub fn insert(&self, place: usize, extension: Rc<dyn Extension>) {
        self.change(|list| list.insert(place.min(list.len()), extension));
    }

    /// Removes the first extension of this name. Requests that it has begun to answer go on.
    pub fn remove(&self, name: &str) -> Option<Rc<dyn Extension>> {
        self.change(|list| {
            let place = list.iter().position(|e| e.name() == name)?;
            Some(list.remove(place))
        })
    }

    /// Moves the first extension of this name to `place`; says whether there is one.
    pub fn reorder(&self, name: &str, place: usize) -> bool {
        self.change(|list| {
            let Some(from) = list.iter().position(|e| e.name() == name) else { return false };
            let extension = list.remove(from);
            list.insert(place.min(list.len()), extension);
            true
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Rc<dyn Extension>>) -> T) -> T {
        let mut list = (**self.0.borrow()).clone();
        let result = change(&mut list);
        self.0.replace(Rc::new(list));
        result
    }
}
