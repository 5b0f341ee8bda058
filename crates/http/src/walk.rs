//! The walk of one request through the list of extensions, up to the one that answers.
//!
//! The one design choice: a walk is a list and a place in it, so it can stop behind any extension
//! and go on from there later, with the head that the request has by then.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::extension::{Exchange, Handled, Request};
use crate::figures::count;
use crate::limits::MAX_REWRITES;
use crate::list::Active;
use crate::reply::Reply;
use crate::wire::fields::FieldTable;
use crate::wire::head::Head;

/// One request's way through the extensions.
pub(crate) struct Walk {
    /// As it was when the request began.
    list: Active,
    /// Where in the list the walk goes on.
    next: usize,
    /// Times that it was given another head or sent back.
    turns: usize,
    /// The head to go on with, when an extension has taken time to decide.
    pub(crate) head: Option<Box<[u8]>>,
}

impl Walk {
    pub(crate) fn new(list: Active) -> Self {
        Self { list, next: 0, turns: 0, head: None }
    }

    /// Asks the extensions from here on. What comes back is an answer, or [`Handled::Later`]; the
    /// exchange has a decision then if one is awaited. An extension that panics costs this
    /// request a 500 and nothing else.
    #[inline]
    pub(crate) fn go(&mut self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        self.guard(exchange, |walk, exchange| walk.ask(request, exchange))
    }

    /// The same with this head in place of the request's.
    pub(crate) fn go_as(
        &mut self,
        head: &[u8],
        request: &Request<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Handled {
        self.guard(exchange, |walk, exchange| walk.ask_as(head, request, exchange))
    }

    /// The same, beginning with the extension that was asked last.
    pub(crate) fn go_again(
        &mut self,
        request: &Request<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Handled {
        self.next -= 1;
        self.guard(exchange, |walk, exchange| match walk.turn() {
            Ok(()) => walk.ask(request, exchange),
            Err(answer) => answer,
        })
    }

    /// Counts another head, or a step back.
    fn turn(&mut self) -> Result<(), Handled> {
        self.turns += 1;
        if self.turns <= MAX_REWRITES {
            return Ok(());
        }
        tracing::error!("a request was rewritten, or asked about again, {MAX_REWRITES} times");
        Err(Handled::Now(Reply::failed()))
    }

    #[inline]
    fn guard<'a>(
        &mut self,
        exchange: &mut Exchange<'a>,
        ask: impl FnOnce(&mut Self, &mut Exchange<'a>) -> Handled,
    ) -> Handled {
        catch_unwind(AssertUnwindSafe(|| ask(self, exchange))).unwrap_or_else(|_| {
            count(&exchange.shared.figures.panics);
            if let Some(plug) = self.next.checked_sub(1).and_then(|last| self.list.get(last)) {
                count(&plug.figures.errors);
            }
            exchange.wants.collector = None;
            exchange.wants.trailers = None;
            Handled::Now(Reply::failed())
        })
    }

    fn ask(&mut self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        while let Some(plug) = self.list.get(self.next) {
            self.next += 1;
            if !plug.extension.matches(request) {
                continue;
            }
            count(&plug.figures.requests);
            let handled = plug.extension.handle(request, exchange);
            match &handled {
                Handled::Now(reply) => plug.figures.count_answer(reply.status),
                Handled::Later if exchange.decision.is_none() => count(&plug.figures.answered),
                Handled::Later => self.head = Some(request.raw.into()),
                Handled::Pass => {
                    exchange.decision = None;
                    continue;
                }
                Handled::PassAs(head) => {
                    exchange.decision = None;
                    return self.ask_as(head, request, exchange);
                }
            }
            return handled;
        }
        Handled::Now(Reply::text(404, "nothing here answers for this path"))
    }

    #[cold]
    fn ask_as(
        &mut self,
        raw: &[u8],
        request: &Request<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Handled {
        if let Err(answer) = self.turn() {
            return answer;
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
                Handled::Now(Reply::failed())
            }
            // What the client sent was nearly too long already.
            Err(reject) if matches!(reject.status, 414 | 431) => {
                Handled::Now(Reply::text(reject.status, reject.reason))
            }
            Err(reject) => {
                tracing::error!("an extension made a head that is none: {}", reject.reason);
                Handled::Now(Reply::failed())
            }
        }
    }
}

/// Whether two heads are the same in all that the session goes by.
fn frames_alike(a: &Head<'_>, b: &Head<'_>) -> bool {
    (a.method, a.version, a.framing) == (b.method, b.version, b.framing)
        && (a.connection, a.expect) == (b.connection, b.expect)
}
