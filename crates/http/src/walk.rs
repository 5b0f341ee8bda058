//! The walk of one request through the list of extensions, up to the one that answers.
//!
//! The one design choice: a walk is a list and a place in it, so it can stop behind any extension
//! and go on from there later, with the head that the request has by then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::decision::Awaited;
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::limits::MAX_REWRITES;
use crate::reply::Reply;
use crate::service::count;
use crate::wire::fields::FieldTable;
use crate::wire::head::Head;

/// One request's way through the extensions.
#[derive(Default)]
pub(crate) struct Walk {
    /// As it was when the request began.
    list: Rc<Vec<Rc<dyn Extension>>>,
    /// Where in the list the walk goes on.
    next: usize,
    /// Times that it was given another head or sent back.
    turns: usize,
}

/// How a walk ended, or why it stopped.
pub(crate) enum Step {
    Now(Reply),
    /// Through the responder that was taken.
    Later,
    /// It goes on with this head when the decision is made.
    Undecided(Box<[u8]>, Rc<Awaited>),
}

impl Walk {
    pub(crate) fn new(list: Rc<Vec<Rc<dyn Extension>>>) -> Self {
        Self { list, next: 0, turns: 0 }
    }

    /// Asks the extensions from here on. One that panics costs this request a 500 and nothing
    /// else.
    pub(crate) fn go(&mut self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Step {
        Self::guard(exchange, |exchange| self.ask(request, exchange))
    }

    /// The same with this head in place of the request's.
    pub(crate) fn go_as(
        &mut self,
        head: &[u8],
        request: &Request<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Step {
        Self::guard(exchange, |exchange| self.ask_as(head, request, exchange))
    }

    /// The same, beginning with the extension that was asked last.
    pub(crate) fn go_again(&mut self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Step {
        self.next -= 1;
        Self::guard(exchange, |exchange| match self.turn() {
            Ok(()) => self.ask(request, exchange),
            Err(step) => step,
        })
    }

    /// Counts another head, or a step back.
    fn turn(&mut self) -> Result<(), Step> {
        self.turns += 1;
        if self.turns <= MAX_REWRITES {
            return Ok(());
        }
        tracing::error!("a request was rewritten, or asked about again, {MAX_REWRITES} times");
        Err(Step::Now(Reply::failed()))
    }

    fn guard<'a>(exchange: &mut Exchange<'a>, ask: impl FnOnce(&mut Exchange<'a>) -> Step) -> Step {
        catch_unwind(AssertUnwindSafe(|| ask(exchange))).unwrap_or_else(|_| {
            count(&exchange.shared.figures.panics);
            exchange.wants.collector = None;
            exchange.wants.trailers = None;
            Step::Now(Reply::failed())
        })
    }

    fn ask(&mut self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Step {
        while let Some(extension) = self.list.get(self.next) {
            self.next += 1;
            if !extension.matches(request) {
                continue;
            }
            match extension.handle(request, exchange) {
                Handled::Now(reply) => return Step::Now(reply),
                Handled::Later => {
                    return match exchange.decision.take() {
                        Some(awaited) => Step::Undecided(request.raw.into(), awaited),
                        None => Step::Later,
                    };
                }
                Handled::Pass => exchange.decision = None,
                Handled::PassAs(head) => {
                    exchange.decision = None;
                    return self.ask_as(&head, request, exchange);
                }
            }
        }
        Step::Now(Reply::text(404, "nothing here answers for this path"))
    }

    #[cold]
    fn ask_as(&mut self, raw: &[u8], request: &Request<'_>, exchange: &mut Exchange<'_>) -> Step {
        if let Err(step) = self.turn() {
            return step;
        }
        let mut table = FieldTable::new();
        match Head::parse(raw, &mut table) {
            Ok(head) if frames_alike(&head, request.head) => {
                self.ask(&Request { head: &head, raw, ..*request }, exchange)
            }
            Ok(_) => {
                tracing::error!(
                    "an extension changed how a request is delimited; it may change targets and \
                     fields only"
                );
                Step::Now(Reply::failed())
            }
            // What the client sent was nearly too long already.
            Err(reject) if matches!(reject.status, 414 | 431) => {
                Step::Now(Reply::text(reject.status, reject.reason))
            }
            Err(reject) => {
                tracing::error!("an extension made a head that is none: {}", reject.reason);
                Step::Now(Reply::failed())
            }
        }
    }
}

/// Whether two heads are the same in all that the session goes by.
fn frames_alike(a: &Head<'_>, b: &Head<'_>) -> bool {
    (a.method, a.version, a.framing) == (b.method, b.version, b.framing)
        && (a.connection, a.expect) == (b.connection, b.expect)
}
