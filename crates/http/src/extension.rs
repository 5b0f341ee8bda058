//! Extensions handle requests: each request walks through an ordered list ([`crate::list`]) until
//! one answers.
//!
//! The one design choice: an extension that matches answers, or lets the request pass: having only
//! looked, having changed the head for those behind it, or having left something that edits the
//! reply on its way back. It may take its time for either.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use medusa_core::collector::Collector;
use medusa_core::inspect::Node;
use medusa_core::{Handle, Peer, Waker};

use crate::decision::{Awaited, Decision};
use crate::figures::count;
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

    /// What kind of extension it is, whatever it is called.
    fn kind(&self) -> &str {
        self.name()
    }

    /// Adds what there is to see of it to a node of the inspection tree.
    fn describe(&self, node: Node) -> Node {
        node
    }

    /// Whether it has to do with this request.
    fn matches(&self, request: &Request<'_>) -> bool;

    /// Answers or lets it pass, now or later. What is called here must not block; see
    /// [`Handle::run`].
    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled;
}

/// What an extension does with a request.
pub enum Handled {
    /// It answers with this reply, which may have a body that is made by and by.
    Now(Reply),
    /// It answers through the [`Responder`] that it took, or says through the [`Decision`] that it
    /// took whether it answers at all. If it took neither, or drops it, the client gets 500.
    Later,
    /// The next extension that matches has the request. What was asked of the [`Exchange`] stays,
    /// unless another asks for something else.
    Pass,
    /// The same, with this head in place of the client's for all extensions that follow; see
    /// [`HeadEdit`](crate::HeadEdit), which makes one.
    ///
    /// It is parsed as strictly as the client's. Method, version and whatever delimits the body
    /// or steers the connection must stay as they are, or the client gets 500. At most
    /// [`MAX_REWRITES`](crate::limits::MAX_REWRITES) times in one request.
    PassAs(Box<[u8]>),
}

/// A request as an extension sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its head, checked.
    pub head: &'a Head<'a>,
    /// The bytes of its head, to parse again by whoever answers later; not always as the client
    /// sent them ([`Handled::PassAs`]).
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

/// What extensions have asked for one request.
#[derive(Default)]
pub(crate) struct Wants {
    pub(crate) late: Option<Rc<Late>>,
    pub(crate) collector: Option<Box<dyn Collector>>,
    pub(crate) trailers: Option<Trailers>,
    pub(crate) max_body: u64,
    pub(crate) edits: Edits,
    pub(crate) user: Option<Box<str>>,
    pub(crate) lasts: bool,
}

/// Changes a reply on its way to the client.
type Edit = Box<dyn FnOnce(&mut Reply)>;

/// What is done to a reply before it is sent, in the order in which it was asked for.
#[derive(Default)]
pub(crate) struct Edits(Vec<Edit>);

impl Edits {
    /// Lets the last that asked edit first. One that panics costs the client a 500.
    pub(crate) fn apply(self, reply: Reply, shared: &Shared) -> Reply {
        if self.0.is_empty() { reply } else { self.apply_all(reply, shared) }
    }

    #[cold]
    fn apply_all(self, mut reply: Reply, shared: &Shared) -> Reply {
        for edit in self.0.into_iter().rev() {
            if catch_unwind(AssertUnwindSafe(|| edit(&mut reply))).is_err() {
                count(&shared.figures.panics);
                reply = Reply::failed();
            }
        }
        reply
    }
}

/// One request on its way to its reply: what an extension may do besides answering at once.
pub struct Exchange<'a> {
    pub(crate) waker: Waker,
    pub(crate) shared: &'a Rc<Shared>,
    pub(crate) asked: Asked,
    pub(crate) decision: Option<Rc<Awaited>>,
    pub(crate) wants: Wants,
}

impl Exchange<'_> {
    /// Takes the means to answer later. Taken twice, the first answer counts.
    pub fn later(&mut self) -> Responder {
        let late = self
            .wants
            .late
            .get_or_insert_with(|| Late::new(self.shared.clone(), self.waker.clone(), self.asked));
        Responder::new(late.clone())
    }

    /// Takes the means to say later whether this extension answers or lets the request pass; it
    /// then returns [`Handled::Later`]. Taken twice, the last one counts.
    ///
    /// Until it is decided nothing more is read of this connection: no body, no further request,
    /// and not that the client has ended its side.
    pub fn decide_later(&mut self) -> Decision {
        let awaited = Awaited::new(self.waker.clone());
        let decision = Decision::new(&awaited);
        self.decision = Some(awaited);
        decision
    }

    /// Has `edit` change the reply, whoever makes it and whenever. The extension that the request
    /// passed last edits first. Answers of the session to input that is no request are not
    /// edited. One that panics costs the client a 500.
    pub fn on_reply(&mut self, edit: impl FnOnce(&mut Reply) + 'static) {
        self.wants.edits.0.push(Box::new(edit));
    }

    /// Notes the name by which the client has introduced itself, for the log.
    pub fn set_user(&mut self, name: &str) {
        self.wants.user = Some(name.into());
    }

    /// Says that the reply is meant to last (a stream of events), so that it counts as no slow one.
    pub fn lasts(&mut self) {
        self.wants.lasts = true;
    }

    /// Has the request's body given to this collector as it arrives. Without one the body is
    /// read and thrown away, or the connection is closed if it is long. A client that waits to be
    /// asked for it is asked when the collector first takes some.
    pub fn collect(&mut self, collector: impl Collector + 'static) {
        self.wants.collector = Some(Box::new(collector));
    }

    /// Has the trailers of a chunked body given to `hear`, before the collector is ended. They
    /// are kept apart from the head, and what they say counts for nothing (RFC 9110, section 6.5).
    pub fn hear_trailers(&mut self, hear: impl FnOnce(&Fields<'_>) + 'static) {
        self.wants.trailers = Some(Box::new(hear));
    }

    /// Allows fewer (or more) bytes of body than the server's setting; past it the answer is 413.
    pub fn limit_body(&mut self, bytes: u64) {
        self.wants.max_body = bytes;
    }

    /// The waker of this connection, for collectors and feeds.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
