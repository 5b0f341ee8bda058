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

mod answer;
mod body;
mod request;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::terminator::{Cut, Framer};
use medusa_core::{Close, Closed, Context, Ending, Frame, Protocol, Terminator};

use self::answer::ready_bytes;
pub(crate) use self::answer::{BoxedRecord, Records};
use self::request::{Open, Undecided};
use crate::body::BodyInput;
use crate::figures::count;
use crate::late::Late;
use crate::limits::READY_BYTES;
use crate::service::Shared;
use crate::wire::Reject;
use crate::wire::framing::{HeadEnd, head_end};

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

/// What an idle connection costs beside its channel, in bytes.
const _: () = assert!(size_of::<Session>() <= 48);

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

    fn push_record(&mut self, record: BoxedRecord) {
        self.records
            .get_or_insert_with(|| self.shared.spare_queue().unwrap_or_default())
            .push_back(record);
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
