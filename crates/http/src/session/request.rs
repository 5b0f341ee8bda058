//! From a head to its answer, through the extensions that decide.

use std::rc::Rc;

use medusa_core::{Context, Terminator};

use super::answer::BoxedRecord;
use super::{Session, State};
use crate::body::{BodyInput, Pace};
use crate::decision::{Awaited, Verdict};
use crate::extension::{Exchange, Handled, Request, Wants};
use crate::figures::count;
use crate::late::Late;
use crate::limits::{DRAIN_BYTES, HttpSettings};
use crate::reply::Reply;
use crate::service::{Setup, Shared};
use crate::walk::Walk;
use crate::wire::framing::BodyFraming;
use crate::wire::head::{Expect, Head};
use crate::write::{Asked, CONTINUE};

/// A request that is neither passed nor answered yet, with what is needed to go on.
pub(super) struct Undecided {
    pub(super) awaited: Rc<Awaited>,
    pub(super) walk: Walk,
    pub(super) wants: Wants,
    pub(super) open: Open,
}

/// What the session knows of a request that has no answer yet; from the head that the client
/// sent, whatever the extensions made of it.
pub(super) struct Open {
    pub(super) setup: Rc<Setup>,
    pub(super) asked: Asked,
    pub(super) framing: BodyFraming,
    pub(super) expect: Expect,
    pub(super) record: BoxedRecord,
}

impl Session {
    /// Handles a complete head.
    pub(super) fn head(&mut self, frame: &[u8], cx: &mut Context<'_>) {
        let mut head = frame;
        while let Some(rest) = head.strip_prefix(b"\r\n") {
            head = rest;
        }
        let shared = self.shared.clone();
        let mut table = shared.table.borrow_mut();
        match Head::parse(head, &mut table) {
            Ok(parsed) => self.request(&shared, &parsed, head, cx),
            Err(reject) => {
                drop(table);
                self.refuse(reject, cx);
            }
        }
    }

    pub(super) fn request(
        &mut self,
        shared: &Rc<Shared>,
        head: &Head<'_>,
        raw: &[u8],
        cx: &mut Context<'_>,
    ) {
        let setup = shared.setup();
        count(&shared.figures.requests);
        self.head_clock = false;
        let now = cx.handle().unix_time();
        let mut record = shared.record();
        record.since = Some(cx.now());
        let keep_alive = head.connection.keep_alive && !self.stopping && !self.retiring;
        let asked = Asked::new(head.method, head.version, keep_alive);
        let request = Request { head, raw, peer: *cx.peer(), unix_time: now, handle: cx.handle() };
        let wants = Wants { max_body: setup.settings.max_body_bytes, ..Wants::default() };
        let mut exchange = Exchange { waker: cx.waker(), shared, asked, decision: None, wants };
        let host = match shared.one_too_many(&request) {
            None => setup.hosts.find(head.host).ok_or_else(misdirected),
            Some(reply) => Err(reply),
        };
        let host = match host {
            Ok(host) => host,
            Err(reply) => {
                let framing = head.framing;
                let open = Open { setup, asked, framing, expect: head.expect, record };
                return self.turn_down(reply, open, exchange.wants, head, cx);
            }
        };
        let mut walk = Walk::new(host.extensions.active());
        let handled = walk.go(&request, &mut exchange);
        let Exchange { decision, wants, .. } = exchange;
        let open = Open { setup, asked, framing: head.framing, expect: head.expect, record };
        match (&handled, decision) {
            (Handled::Later, Some(awaited)) => {
                self.wait(awaited, walk, wants, open, Some(head), cx);
            }
            _ => self.take_up(handled, wants, open, Some(head), cx),
        }
    }

    /// Answers a request that reaches no extension.
    #[cold]
    pub(super) fn turn_down(
        &mut self,
        reply: Reply,
        open: Open,
        wants: Wants,
        head: &Head<'_>,
        cx: &mut Context<'_>,
    ) {
        self.take_up(Handled::Now(reply), wants, open, Some(head), cx);
    }

    /// Waits until an extension has decided. The head is there as long as the log line is not.
    #[cold]
    pub(super) fn wait(
        &mut self,
        awaited: Rc<Awaited>,
        walk: Walk,
        wants: Wants,
        mut open: Open,
        head: Option<&Head<'_>>,
        cx: &mut Context<'_>,
    ) {
        open.record.setup = Some(open.setup.clone());
        self.write_line(&mut open.record, head, None, cx);
        self.state = State::Undecided(Box::new(Undecided { awaited, walk, wants, open }));
        cx.pause_input();
        cx.clear_timeout();
    }

    /// Goes on with a request whose extension has decided.
    #[cold]
    pub(super) fn decided(&mut self, undecided: Undecided, verdict: Verdict, cx: &mut Context<'_>) {
        let Undecided { mut walk, wants, mut open, .. } = undecided;
        let raw = walk.head.take().expect("an undecided walk keeps its head");
        cx.resume_input();
        open.asked.keep_alive &= !self.stopping && !self.retiring;
        let asked = open.asked;
        if let (Some(late), false) = (&wants.late, asked.keep_alive) {
            late.end_connection();
        }
        let shared = self.shared.clone();
        let mut exchange =
            Exchange { waker: cx.waker(), shared: &shared, asked, decision: None, wants };
        let mut table = shared.table.borrow_mut();
        let head = Head::parse(&raw, &mut table).expect("it was parsed before");
        let request = Request {
            head: &head,
            raw: &raw,
            peer: *cx.peer(),
            unix_time: cx.handle().unix_time(),
            handle: cx.handle(),
        };
        let handled = match verdict {
            Verdict::Reply(reply) => Handled::Now(reply),
            Verdict::Pass => walk.go(&request, &mut exchange),
            Verdict::PassAs(head) => walk.go_as(&head, &request, &mut exchange),
            Verdict::Again => walk.go_again(&request, &mut exchange),
        };
        let Exchange { decision, wants, .. } = exchange;
        match (&handled, decision) {
            (Handled::Later, Some(awaited)) => self.wait(awaited, walk, wants, open, None, cx),
            _ => self.take_up(handled, wants, open, None, cx),
        }
    }

    /// Answers a request, now or later, and begins to take its body.
    #[expect(clippy::inline_always, reason = "spares the common request moves of large values")]
    #[inline(always)]
    pub(super) fn take_up(
        &mut self,
        handled: Handled,
        wants: Wants,
        open: Open,
        head: Option<&Head<'_>>,
        cx: &mut Context<'_>,
    ) {
        let Wants { late, collector, trailers, max_body, edits, user, lasts } = wants;
        let Open { setup, mut asked, framing, expect, mut record } = open;
        let HttpSettings { body_timeout, min_body_rate, .. } = setup.settings;
        record.setup = Some(setup);
        record.user = user;
        if lasts {
            record.since = None;
        }
        if matches!(framing, BodyFraming::Length(length) if length > max_body) {
            // Said before the body comes, whatever the extension would have answered.
            if let Some(late) = &late {
                late.give_up();
            }
            asked.keep_alive = false;
            let reply = Reply::text(413, "the body is larger than is allowed");
            self.answer(edits.apply(reply, &self.shared), head, asked, record, cx);
            return self.close_behind(cx);
        }

        // What becomes of the body, before the reply says whether the connection is kept.
        let unread = collector.is_none();
        let mut body = match framing {
            BodyFraming::None => {
                if let Some(collector) = collector {
                    collector.end();
                }
                None
            }
            framing => {
                let waits = expect == Expect::Continue;
                let long = matches!(framing, BodyFraming::Length(n) if n > DRAIN_BYTES);
                if unread && (waits || long) {
                    // It would cost more to read on than to connect anew, or it may never come.
                    asked.keep_alive = false;
                    if let Some(late) = &late {
                        late.end_connection();
                    }
                    None
                } else {
                    let limit = if unread { DRAIN_BYTES } else { max_body };
                    let input = BodyInput::new(
                        framing,
                        collector,
                        trailers,
                        limit,
                        Pace { timeout: body_timeout, least: min_body_rate },
                        late.clone(),
                    );
                    Some((framing, input))
                }
            }
        };
        let mut waits = false;
        if let Some((_, body)) = &mut body
            && expect == Expect::Continue
        {
            waits = matches!(handled, Handled::Later) && body.delay_continue();
            if !waits {
                cx.send(CONTINUE);
                record.head_bytes += CONTINUE.len();
            }
        }
        if let Handled::Now(reply) = handled {
            if let Some(late) = &late {
                late.give_up();
            }
            self.answer(edits.apply(reply, &self.shared), head, asked, record, cx);
        } else {
            let late = late.unwrap_or_else(|| {
                tracing::error!("an extension answers later but took no responder");
                let late = Late::new(self.shared.clone(), cx.waker(), asked);
                late.answer(Reply::failed());
                late
            });
            late.edit_with(edits);
            self.answer_later(late, head, asked, record, cx);
        }
        match body {
            Some((framing, body)) => {
                cx.set_terminator(match framing {
                    BodyFraming::Length(length) => Terminator::Exact(length),
                    _ => Terminator::None,
                });
                if waits {
                    cx.clear_timeout();
                    cx.pause_input();
                } else {
                    cx.set_timeout(body_timeout);
                }
                self.state = State::Body(Box::new(body));
            }
            None if self.stopping => self.close_behind(cx),
            None => {
                cx.clear_timeout();
                self.hold_when_full(cx);
            }
        }
    }
}

#[cold]
fn misdirected() -> Reply {
    Reply::text(421, "this server has no host of that name")
}
