//! The state machine of one HTTP connection.
//!
//! ```text
//!            ┌───────────── no body, or all of it read ◄──────────────┐
//!            ▼                                                        │
//!   Head ── a head ──► extensions ── reply now or later ───► Body ── parts ──► collector
//!     │                  │    ▲                                │
//!     │                  ▼    │ decided                        │
//!     │                Undecided                               │
//!     └── malformed, too slow, Connection: close ──► Closing ◄─┘ refused, too slow, cut short
//! ```
//!
//! The one design choice: replies go to the output queue in the order of their requests, a late
//! one as a producer that stands in its place, so that pipelined requests are answered in order
//! without a queue of their own. Behind each reply stands a mark, by which the session knows
//! that it has left: for the log, for the depth of the pipeline, and for closing.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medusa_core::limits::COALESCE_BYTES;
use medusa_core::terminator::{Cut, Framer};
use medusa_core::{Close, Closed, Context, Ending, Frame, Protocol, Terminator};

use crate::access_log::{Line, Outcome, Seen};
use crate::body::{BodyInput, Pace, Taken};
use crate::chunked::Chunked;
use crate::decision::{Awaited, Verdict};
use crate::exact::Exactly;
use crate::extension::{Exchange, Handled, Request, Wants};
use crate::late::{Late, LateReply};
use crate::limits::{DRAIN_BYTES, HttpSettings, READY_BYTES};
use crate::reply::{Body, Reply};
use crate::service::{Setup, Shared, count};
use crate::walk::Walk;
use crate::wire::Reject;
use crate::wire::framing::{BodyFraming, HeadEnd, head_end};
use crate::wire::head::{Expect, Head, Method, Version};
use crate::write::{Asked, CONTINUE, Framing, write_head};

/// One HTTP connection.
pub(crate) struct Session {
    shared: Rc<Shared>,
    state: State,
    /// Requests whose replies have not left; lent by the service, `None` when there are none.
    records: Option<Records>,
    /// Bytes sent when the last reply had left.
    logged: u64,
    /// Input is paused because of the pipeline's depth, or a 1.0 client that must wait.
    held: bool,
    /// A head has begun to arrive and has a deadline of its own.
    head_clock: bool,
    stopping: bool,
    /// New connections go to another process: the next reply is to be the last.
    retiring: bool,
}

enum State {
    Head,
    /// An extension thinks; nothing is read until it has decided.
    Undecided(Box<Undecided>),
    Body(Box<BodyInput>),
    /// Nothing more is read; the last reply is on its way.
    Closing,
}

/// A request that is neither passed nor answered yet, with what is needed to go on.
struct Undecided {
    awaited: Rc<Awaited>,
    walk: Walk,
    wants: Wants,
    open: Open,
}

/// What the session knows of a request that has no answer yet; from the head that the client
/// sent, whatever the extensions made of it.
struct Open {
    setup: Rc<Setup>,
    asked: Asked,
    framing: BodyFraming,
    expect: Expect,
    record: Record,
}

/// What an idle connection costs beside its channel, in bytes.
const _: () = assert!(size_of::<Session>() <= 48);

/// The requests whose replies have not left, oldest first; boxed, as it is lent and given back.
pub(crate) type Records = Box<VecDeque<Record>>;

/// One request whose reply has not left.
#[derive(Default)]
pub(crate) struct Record {
    line: Line,
    /// What the request began with.
    setup: Option<Rc<Setup>>,
    /// The name that the client has introduced itself by.
    user: Option<Box<str>>,
    status: u16,
    head_bytes: usize,
    late: Option<Rc<Late>>,
}

impl Record {
    pub(crate) fn clear(&mut self) {
        self.line.clear();
        self.setup = None;
        self.user = None;
        self.late = None;
        self.status = 0;
        self.head_bytes = 0;
    }
}

/// Mark behind a reply that others may follow.
const MORE: u64 = 0;
/// Mark behind the last reply.
const LAST: u64 = 1;

/// Cuts request heads from the input.
struct HeadFramer;

impl Framer for HeadFramer {
    fn cut(&mut self, buffer: &[u8], scanned: usize) -> Cut {
        match head_end(buffer, scanned) {
            HeadEnd::Partial { scanned } => Cut::Partial { scanned },
            HeadEnd::Complete { len, .. } => Cut::End { frame: len, consumed: len },
            HeadEnd::Invalid(_) => Cut::Malformed,
        }
    }
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            state: State::Head,
            records: None,
            logged: 0,
            held: false,
            head_clock: true,
            stopping: false,
            retiring: false,
        }
    }

    /// Time that the connection may be idle.
    fn idle_time(&self) -> Duration {
        let settings = &self.shared.setup.borrow().settings;
        if self.retiring {
            settings.keep_alive.min(settings.retire_idle)
        } else {
            settings.keep_alive
        }
    }

    fn in_flight(&self) -> usize {
        self.records.as_ref().map_or(0, |r| r.len())
    }

    fn push_record(&mut self, record: Record) {
        self.records
            .get_or_insert_with(|| self.shared.spare_queue().unwrap_or_default())
            .push_back(record);
    }

    /// Handles a complete head.
    fn head(&mut self, frame: &[u8], cx: &mut Context<'_>) {
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

    fn request(&mut self, shared: &Rc<Shared>, head: &Head<'_>, raw: &[u8], cx: &mut Context<'_>) {
        let setup = shared.setup();
        count(&shared.figures.requests);
        self.head_clock = false;
        let now = cx.handle().unix_time();
        let record = shared.record();
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
        let mut walk = Walk::new(host.extensions.list());
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
    fn turn_down(
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
    fn wait(
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
    fn decided(&mut self, undecided: Undecided, verdict: Verdict, cx: &mut Context<'_>) {
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
    fn take_up(
        &mut self,
        handled: Handled,
        wants: Wants,
        open: Open,
        head: Option<&Head<'_>>,
        cx: &mut Context<'_>,
    ) {
        let Wants { late, collector, trailers, max_body, edits, user } = wants;
        let Open { setup, mut asked, framing, expect, mut record } = open;
        let HttpSettings { body_timeout, min_body_rate, .. } = setup.settings;
        record.setup = Some(setup);
        record.user = user;
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

    /// Stops taking requests if no further one may be in flight.
    fn hold_when_full(&mut self, cx: &mut Context<'_>) {
        if self.is_full() {
            self.held = true;
            cx.pause_input();
        }
    }

    /// Whether the pipeline has its depth, or its last reply is a late one that no request may
    /// overtake, or behind which too much is ready already.
    fn is_full(&self) -> bool {
        let Some(records) = &self.records else { return false };
        let alone = |late: &Rc<Late>| late.is_alone();
        records.len() >= self.shared.setup.borrow().settings.pipeline_depth
            || records
                .back()
                .and_then(|last| last.late.as_ref())
                .is_some_and(|late| alone(late) || ready_bytes(records) >= READY_BYTES)
    }

    /// Nothing is read behind this request: its reply, already queued, is the last.
    fn close_behind(&mut self, cx: &mut Context<'_>) {
        self.state = State::Closing;
        cx.pause_input();
        cx.clear_timeout();
    }

    /// Answers input that is no request, and closes.
    fn refuse(&mut self, reject: Reject, cx: &mut Context<'_>) {
        count(&self.shared.figures.refused);
        let mut record = self.shared.record();
        record.setup = Some(self.shared.setup());
        let asked = Asked::new(Method::Get, Version::Http11, false);
        self.answer(Reply::text(reject.status, reject.reason), None, asked, record, cx);
        self.close_behind(cx);
    }

    /// Writes the line for the log down, unless it is.
    fn write_line(
        &self,
        record: &mut Record,
        head: Option<&Head<'_>>,
        expected: Option<(u16, u64)>,
        cx: &Context<'_>,
    ) {
        let log = record.setup.as_ref().and_then(|setup| setup.log.as_ref());
        if let Some(log) = log
            && record.line.is_empty()
        {
            let seen = Seen::new(cx, head);
            record.line.write(log.form(), &self.shared.log_lead, &seen, expected);
        }
    }

    /// Queues a reply that is there. Input that was no request has no head.
    fn answer(
        &mut self,
        reply: Reply,
        head: Option<&Head<'_>>,
        asked: Asked,
        mut record: Record,
        cx: &mut Context<'_>,
    ) {
        let shared = &self.shared;
        let now = cx.handle().unix_time();
        let (framing, head_bytes) = cx.send_with(|out| {
            let before = out.len();
            let framing = write_head(out, &reply, asked, shared, now);
            let head_bytes = out.len() - before;
            if let Body::Bytes(bytes) = &reply.body
                && is_copied(bytes, framing)
            {
                out.extend_from_slice(bytes);
            }
            (framing, head_bytes)
        });
        record.status = reply.status;
        record.head_bytes += head_bytes;
        let bytes = if framing == Framing::None { Some(0) } else { reply.body.len() };
        let expected = bytes.map(|bytes| (reply.status, bytes));
        self.write_line(&mut record, head, expected, cx);
        if framing != Framing::None {
            match reply.body {
                Body::Empty => {}
                Body::Bytes(bytes) if is_copied(&bytes, framing) => {}
                Body::Bytes(bytes) => cx.send_bytes(bytes),
                Body::File(range) => cx.send_file(range),
                Body::Producer(inside, Some(len)) => {
                    cx.produce(Box::new(Exactly::new(inside, len)));
                }
                Body::Producer(inside, None) if framing == Framing::Chunked => {
                    cx.produce(Box::new(Chunked::new(inside)));
                }
                Body::Producer(inside, None) => cx.produce(inside),
            }
        }
        let last = !asked.keep_alive || framing == Framing::UntilClose;
        cx.mark(if last { LAST } else { MORE });
        self.push_record(record);
        if last {
            // Even if a body is still to be read, no request follows.
            self.stopping = true;
        }
    }

    /// Queues the place of a reply that comes later.
    fn answer_later(
        &mut self,
        late: Rc<Late>,
        head: Option<&Head<'_>>,
        asked: Asked,
        mut record: Record,
        cx: &mut Context<'_>,
    ) {
        self.write_line(&mut record, head, None, cx);
        cx.produce(Box::new(LateReply::new(late.clone())));
        cx.mark(if asked.keep_alive { MORE } else { LAST });
        record.late = Some(late);
        self.push_record(record);
        if !asked.keep_alive {
            self.stopping = true;
        }
    }

    /// Takes some of a body; `ended` says that its length is reached.
    fn body(&mut self, part: &[u8], ended: bool, cx: &mut Context<'_>) -> Result<(), Close> {
        let State::Body(body) = &mut self.state else { return Ok(()) };
        let left = cx.timeout_left().unwrap_or_default();
        match body.take(part, ended) {
            Ok(Taken::More) => cx.set_timeout(body.earn(part.len(), left)),
            Ok(Taken::Wait) => {
                cx.clear_timeout();
                cx.pause_input();
            }
            Ok(Taken::All { left }) => {
                cx.put_back(left);
                return self.body_ended(cx);
            }
            Err(reject) => return self.body_refused(reject, cx),
        }
        Ok(())
    }

    fn body_ended(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if let State::Body(body) = std::mem::replace(&mut self.state, State::Head) {
            body.end(&mut self.shared.table.borrow_mut());
        }
        cx.clear_timeout();
        if self.stopping {
            if self.in_flight() == 0 {
                return Err(Close::Linger);
            }
            self.close_behind(cx);
            return Ok(());
        }
        cx.set_terminator(Terminator::Custom(Box::new(HeadFramer)));
        if self.in_flight() == 0 {
            cx.set_timeout(self.idle_time());
        }
        self.hold_when_full(cx);
        Ok(())
    }

    /// The body cannot be taken: answers so if no answer was given, and closes.
    fn body_refused(&mut self, reject: Reject, cx: &mut Context<'_>) -> Result<(), Close> {
        let State::Body(body) = std::mem::replace(&mut self.state, State::Closing) else {
            return Ok(());
        };
        self.stopping = true;
        cx.pause_input();
        cx.clear_timeout();
        if let Some(late) = body.late() {
            late.end_connection();
            // A fault in a body that nobody reads costs the connection, not the answer.
            if body.is_collected() {
                late.answer(Reply::text(reject.status, reject.reason));
            }
        }
        // Dropping the collector tells it that the body never became whole.
        drop(body);
        if self.in_flight() == 0 {
            return Err(Close::Linger);
        }
        Ok(())
    }

    /// Writes the line of a request whose reply has left, or never will.
    fn log(&mut self, record: Record, sent: u64, whole: bool, now: Instant) {
        if let Some(log) = record.setup.as_ref().and_then(|setup| setup.log.as_ref())
            && !record.line.is_empty()
        {
            let (status, head) = match &record.late {
                Some(late) => late.written.get(),
                None => (record.status, 0),
            };
            // 499: the client went before there was an answer (the code that nginx uses).
            let status = if status == 0 { 499 } else { status };
            let head = (head + record.head_bytes) as u64;
            let bytes = sent.saturating_sub(self.logged).saturating_sub(head);
            let outcome = Outcome { status, bytes, whole, now };
            record.line.finish(&**log, outcome, record.user.as_deref());
        }
        self.shared.recycle(record);
    }
}

#[cold]
fn misdirected() -> Reply {
    Reply::text(421, "this server has no host of that name")
}

/// Bytes of replies that have come and stand behind one that has not.
fn ready_bytes(records: &Records) -> usize {
    records.iter().filter_map(|record| record.late.as_ref()).map(|late| late.ready_bytes()).sum()
}

/// Whether a body is so short that it is copied behind its head.
fn is_copied(bytes: &Bytes, framing: Framing) -> bool {
    framing != Framing::None && bytes.len() <= COALESCE_BYTES
}

impl Record {
    fn is_last(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.last.get())
    }
}

impl Protocol for Session {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.set_terminator(Terminator::Custom(Box::new(HeadFramer)));
        cx.set_timeout(self.shared.setup.borrow().settings.head_timeout);
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match (frame, &self.state) {
            (Frame::End(head), State::Head) => {
                self.head(head, cx);
                Ok(())
            }
            (Frame::Part(part), State::Body(_)) => self.body(part, false, cx),
            (Frame::End(part), State::Body(_)) => self.body(part, true, cx),
            (Frame::Malformed(bytes) | Frame::Overlong(bytes), State::Head) => {
                match head_end(bytes, 0) {
                    HeadEnd::Invalid(reject) => {
                        self.refuse(reject, cx);
                        Ok(())
                    }
                    _ => Err(Close::Flush),
                }
            }
            (Frame::Eof(_), State::Head) if self.in_flight() > 0 => {
                // A client may end its side and still wait for its replies.
                self.stopping = true;
                self.close_behind(cx);
                Ok(())
            }
            (Frame::Eof(_), State::Body(_)) => {
                self.body_refused(Reject::bad("the body was cut short"), cx)
            }
            (Frame::Eof(_), State::Head) => Err(Close::Flush),
            _ => Ok(()),
        }
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let body = match &mut self.state {
            State::Body(body) => body,
            State::Undecided(undecided) => {
                if let Some(verdict) = undecided.awaited.take()
                    && let State::Undecided(undecided) =
                        std::mem::replace(&mut self.state, State::Head)
                {
                    self.decided(*undecided, verdict, cx);
                }
                return Ok(());
            }
            State::Head | State::Closing => return Ok(()),
        };
        match body.resume() {
            Ok(true) => {
                cx.set_timeout(body.timeout());
                cx.resume_input();
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(reject) => self.body_refused(reject, cx),
        }
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        match &self.state {
            State::Head if self.in_flight() > 0 => Ok(()),
            // A request may be on its way: its client is to see an end, not a reset.
            State::Head if cx.stashed() == 0 && self.retiring => Err(Close::Linger),
            State::Head if cx.stashed() == 0 => Err(Close::Flush),
            State::Head if !self.head_clock => {
                self.head_clock = true;
                cx.set_timeout(self.shared.setup.borrow().settings.head_timeout);
                Ok(())
            }
            State::Head => {
                count(&self.shared.figures.slow);
                self.refuse(Reject::with(408, "the request came too slowly"), cx);
                Ok(())
            }
            State::Body(body) if body.received() == 0 && self.in_flight() > 1 => {
                // The client may wait for its 100, which waits for the replies before it.
                cx.set_timeout(body.timeout());
                Ok(())
            }
            State::Body(_) => {
                count(&self.shared.figures.slow);
                self.body_refused(Reject::with(408, "the body came too slowly"), cx)
            }
            State::Undecided(_) | State::Closing => Ok(()),
        }
    }

    fn passed(&mut self, token: u64, sent: u64, cx: &mut Context<'_>) -> Result<(), Close> {
        let Some(records) = &mut self.records else { return Ok(()) };
        let Some(record) = records.pop_front() else { return Ok(()) };
        if records.is_empty()
            && let Some(queue) = self.records.take()
        {
            self.shared.recycle_queue(queue);
        }
        let last = token == LAST || record.is_last();
        self.log(record, sent, true, cx.handle().now());
        self.logged = sent;
        let nothing = self.in_flight() == 0;
        match &self.state {
            State::Body(body) if last && !body.is_collected() => {
                // The close reads what still comes of it, for a while.
                self.state = State::Closing;
                Err(Close::Linger)
            }
            // The request that is in hand has its answer still to come.
            State::Undecided(_) => Ok(()),
            // The rest of the body is still read, so that the reply is not lost to a reset.
            State::Body(body) => {
                self.stopping |= last;
                if body.received() == 0 && !body.is_waiting() {
                    cx.set_timeout(body.timeout());
                }
                Ok(())
            }
            _ if last || (self.stopping && nothing) => {
                self.state = State::Closing;
                Err(Close::Linger)
            }
            State::Head => {
                if self.held && !self.is_full() {
                    self.held = false;
                    cx.resume_input();
                }
                if nothing {
                    cx.set_timeout(self.idle_time());
                }
                Ok(())
            }
            State::Closing => Ok(()),
        }
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.stopping = true;
        if matches!(self.state, State::Undecided(_)) {
            // Its reply will be the last.
            return Ok(());
        }
        if let Some(late) = self.records.as_ref().and_then(|r| r.back()?.late.as_ref()) {
            // Its client can still be told that no further request is taken.
            late.end_connection();
        }
        match &self.state {
            State::Head if self.in_flight() == 0 => Err(Close::Flush),
            State::Head => {
                self.close_behind(cx);
                Ok(())
            }
            State::Undecided(_) | State::Body(_) | State::Closing => Ok(()),
        }
    }

    /// Does not close at once, for a client may be sending a request this very moment: the next
    /// reply tells it that the connection ends.
    fn retire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.retiring = true;
        let last = self.records.as_ref().and_then(|r| r.back()?.late.clone());
        match (&self.state, last) {
            // Its reply will be the last.
            (State::Undecided(_), _) => {}
            (state, Some(late)) if !late.is_begun() => {
                late.end_connection();
                self.stopping = true;
                if matches!(state, State::Head) {
                    self.close_behind(cx);
                }
            }
            (State::Head, _) if self.in_flight() == 0 && cx.stashed() == 0 => {
                cx.set_timeout(self.idle_time());
            }
            _ => {}
        }
        Ok(())
    }

    fn closed(&mut self, ending: &Ending) {
        if let State::Undecided(undecided) = std::mem::replace(&mut self.state, State::Closing) {
            let Undecided { open: Open { setup, mut record, .. }, wants, .. } = *undecided;
            record.setup = Some(setup);
            record.user = wants.user;
            self.push_record(record);
        }
        if matches!(ending.why, Closed::Slow | Closed::Stalled) {
            count(&self.shared.figures.slow);
        }
        let Some(mut records) = self.records.take() else { return };
        let whole = matches!(ending.why, Closed::Done);
        while let Some(record) = records.pop_front() {
            count(&self.shared.figures.aborted);
            if let Some(late) = &record.late {
                // Before the body goes, whose collector may hold the responder: that nobody
                // answers now is no fault of the extension.
                late.give_up();
            }
            self.log(record, ending.sent, whole, ending.now);
            self.logged = ending.sent;
        }
    }

    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let replies = self.in_flight();
        match &self.state {
            State::Head if replies == 0 => out.write_str("waiting for a request"),
            State::Head => write!(out, "sending, {replies} in flight"),
            State::Undecided(_) => write!(out, "deciding, {replies} in flight"),
            State::Body(body) => write!(out, "receiving a body, {} bytes so far", body.received()),
            State::Closing => write!(out, "closing, {replies} in flight"),
        }
    }
}
