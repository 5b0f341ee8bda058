//! The state machine of one connection that we made.
//!
//! ```text
//!   Connecting ── stands ─► Waiting ── head ─► Body ── its end ─► Idle ── next request ─► Waiting
//!       │                     │                 │                  │
//!       └── next address      └── fails, or     └── collector      └── any byte, the peer's end,
//!           or fails              once more         dropped            too long
//! ```
//!
//! The one design choice: whoever holds an [`Exchange`] answers for it. It stands in the state as
//! long as there is no head, so when the connection goes, [`Protocol::closed`] knows what to do.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use medusa_core::collector::{Collector, Discarded};
use medusa_core::terminator::{Cut, Framer};
use medusa_core::{Address, Close, Closed, Context, Ending, Frame, Protocol, Terminator};

use super::answer::{Answer, Failed};
use super::{CallState, Exchange, Inner, MAX_INTERIM, Seat, count};
use crate::body::{BodyInput, Pace, Taken};
use crate::chunked::Chunked;
use crate::exact::Exactly;
use crate::limits::DRAIN_BYTES;
use crate::reply::Body;
use crate::wire::answer::{AnswerFraming, AnswerHead, head_end};
use crate::wire::fields::FieldTable;
use crate::wire::framing::{BodyFraming, HeadEnd};
use crate::wire::{MAX_HEAD, Reject};

/// The mark behind a request.
const SENT: u64 = 0;

/// One connection to a server.
pub(super) struct Link {
    client: Rc<Inner>,
    seat: Rc<Seat>,
    state: State,
    /// The request in hand, to hear whether it was cancelled.
    call: Option<Rc<CallState>>,
    /// Bytes that were handed over and not given back.
    seen: u64,
    /// Bytes of that when the request in hand began.
    before: u64,
    /// The connection has served a request before the one in hand.
    reused: bool,
    /// All of the request in hand has left.
    sent: bool,
    /// The connection can be kept behind the answer in hand.
    keep: bool,
    interim: u8,
}

enum State {
    /// With the addresses that are left to try.
    Connecting(Exchange, VecDeque<Address>),
    Waiting(Exchange),
    Body {
        input: Box<BodyInput>,
        until_close: bool,
    },
    Idle,
    /// Nothing more is to be heard of the request.
    Ended,
}

/// Cuts answer heads from the input.
struct AnswerFramer;

impl Framer for AnswerFramer {
    fn cut(&mut self, buffer: &[u8], scanned: usize) -> Cut {
        match head_end(buffer, scanned) {
            HeadEnd::Partial { scanned } => Cut::Partial { scanned },
            HeadEnd::Complete { len, .. } => Cut::End { frame: len, consumed: len },
            HeadEnd::Invalid(_) => Cut::Malformed,
        }
    }
}

impl Link {
    pub(super) fn new(client: Rc<Inner>, exchange: Exchange, addresses: VecDeque<Address>) -> Self {
        Self {
            client,
            seat: Rc::new(Seat::new(&exchange.target)),
            call: None,
            state: State::Connecting(exchange, addresses),
            seen: 0,
            before: 0,
            reused: false,
            sent: false,
            keep: false,
            interim: 0,
        }
    }

    /// Sends a request.
    fn begin(&mut self, mut exchange: Exchange, cx: &mut Context<'_>) -> Result<(), Close> {
        if exchange.call.cancelled.get() {
            self.state = State::Ended;
            return Err(Close::Abort);
        }
        (self.sent, self.interim, self.before) = (false, 0, self.seen);
        exchange.call.waker.replace(Some(cx.waker()));
        self.call = Some(exchange.call.clone());
        cx.clear_timeout();
        cx.set_terminator(Terminator::Custom(Box::new(AnswerFramer)));
        cx.send(&exchange.request.head);
        match exchange.request.take_body() {
            Body::Empty => {}
            Body::Bytes(bytes) => cx.send_bytes(bytes),
            Body::File(range) => cx.send_file(range),
            Body::Producer(inside, Some(len)) => cx.produce(Box::new(Exactly::new(inside, len))),
            Body::Producer(inside, None) => cx.produce(Box::new(Chunked::new(inside))),
        }
        cx.mark(SENT);
        self.state = State::Waiting(exchange);
        Ok(())
    }

    /// The request has no answer and never will, for this reason of its peer's.
    fn fail(&mut self, why: Failed) -> Result<(), Close> {
        if let State::Waiting(exchange) = std::mem::replace(&mut self.state, State::Ended) {
            self.client.fail(exchange, why);
        }
        Err(Close::Abort)
    }

    /// Takes the head of an answer.
    fn head(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Close> {
        let State::Waiting(exchange) = &self.state else { return Err(Close::Abort) };
        let mut table = FieldTable::new();
        let head = match AnswerHead::parse(bytes, &mut table, exchange.request.method) {
            Ok(head) => head,
            Err(reject) => return self.fail(Failed::Malformed(reject)),
        };
        if head.is_interim() {
            self.interim += 1;
            let why = match head.status {
                101 => "a change of protocol that nobody asked for",
                _ if self.interim > MAX_INTERIM => "too many interim answers",
                _ => return Ok(()),
            };
            return self.fail(Failed::Malformed(Reject::with(502, why)));
        }
        self.keep = head.keep_alive;
        let State::Waiting(exchange) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(Close::Abort);
        };
        let collector = (exchange.then)(Ok(Answer { head: &head, waker: cx.waker() }));
        self.body(head.framing, collector, cx)
    }

    /// Prepares for the body.
    fn body(
        &mut self,
        framing: AnswerFraming,
        collector: Option<Box<dyn Collector>>,
        cx: &mut Context<'_>,
    ) -> Result<(), Close> {
        let (terminator, request_framing) = match framing {
            AnswerFraming::None => {
                if let Some(collector) = collector {
                    collector.end();
                }
                return self.answered(cx);
            }
            AnswerFraming::Length(n) => (Terminator::Exact(n), BodyFraming::Length(n)),
            AnswerFraming::Chunked => (Terminator::None, BodyFraming::Chunked),
            AnswerFraming::UntilClose => (Terminator::None, BodyFraming::None),
        };
        let limit = if collector.is_some() { u64::MAX } else { DRAIN_BYTES };
        let collector = collector.unwrap_or_else(|| Box::new(Discarded));
        let settings = &self.client.settings;
        let pace = Pace { timeout: settings.body, least: settings.body_rate };
        let input = BodyInput::new(request_framing, Some(collector), None, limit, pace, None);
        cx.set_terminator(terminator);
        cx.set_timeout(input.timeout());
        let until_close = framing == AnswerFraming::UntilClose;
        self.state = State::Body { input: Box::new(input), until_close };
        Ok(())
    }

    /// Takes some of a body; `last` says that its length is reached.
    fn part(&mut self, part: &[u8], last: bool, cx: &mut Context<'_>) -> Result<(), Close> {
        let State::Body { input, .. } = &mut self.state else { return Err(Close::Abort) };
        let left = cx.timeout_left().unwrap_or_default();
        match input.take(part, last) {
            Ok(Taken::More) => cx.set_timeout(input.earn(part.len(), left)),
            Ok(Taken::Wait) => {
                cx.clear_timeout();
                cx.pause_input();
            }
            Ok(Taken::All { left }) => {
                // What follows an answer was not asked for.
                self.keep &= left == 0;
                self.end_body();
                return self.answered(cx);
            }
            Err(_) => {
                self.state = State::Ended;
                return Err(Close::Abort);
            }
        }
        Ok(())
    }

    fn end_body(&mut self) {
        if let State::Body { input, .. } = std::mem::replace(&mut self.state, State::Ended) {
            input.end(&mut FieldTable::new());
        }
    }

    /// The answer is complete: keeps the connection, or ends it.
    fn answered(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.state = State::Ended;
        if let Some(call) = self.call.take() {
            call.waker.replace(None);
        }
        if !self.sent {
            // The server wants no more of the request.
            return Err(Close::Abort);
        }
        if !self.keep || cx.handle().is_ending() || !self.client.keep(&self.seat) {
            return Err(Close::Flush);
        }
        self.reused = true;
        self.state = State::Idle;
        self.seat.waker.replace(Some(cx.waker()));
        cx.set_terminator(Terminator::None);
        cx.set_timeout(self.client.settings.idle_time);
        Ok(())
    }

    /// Nothing more comes from the peer.
    fn ended(&mut self, rest: &[u8]) -> Result<(), Close> {
        self.seen += rest.len() as u64;
        match &self.state {
            State::Body { until_close: true, .. } => {
                self.end_body();
                Err(Close::Flush)
            }
            State::Waiting(_) if self.seen > self.before => {
                self.fail(Failed::Closed("it was cut short".to_owned()))
            }
            // Whether the request is sent once more is seen when the connection has gone.
            _ => Err(Close::Abort),
        }
    }

    /// The connection has gone under a request that has no answer.
    fn lost(&mut self, mut exchange: Exchange, ending: &Ending) {
        let nothing_came = self.seen == self.before && ending.received == self.seen;
        if self.reused && nothing_came && exchange.request.is_repeatable() {
            count(&self.client.figures.repeated);
            exchange.fresh = true;
            return self.client.dispatch(exchange);
        }
        let why = match &ending.why {
            Closed::Dropped | Closed::Done => Failed::Closed("the peer closed it".to_owned()),
            why => why.into(),
        };
        self.client.fail(exchange, why);
    }
}

impl Protocol for Link {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Connecting(exchange, _) => self.begin(exchange, cx),
            _ => Err(Close::Abort),
        }
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match (frame, &self.state) {
            (Frame::Eof(rest), _) => self.ended(rest),
            (Frame::End(head), State::Waiting(_)) => {
                self.seen += head.len() as u64;
                self.head(head, cx)
            }
            (Frame::Malformed(bytes) | Frame::Overlong(bytes), State::Waiting(_)) => {
                let reject = match head_end(bytes, 0) {
                    HeadEnd::Invalid(reject) => reject,
                    _ => Reject::with(502, "the head is malformed"),
                };
                self.fail(Failed::Malformed(reject))
            }
            (Frame::Part(part), State::Body { .. }) => {
                self.seen += part.len() as u64;
                self.part(part, false, cx)
            }
            (Frame::End(part), State::Body { .. }) => {
                self.seen += part.len() as u64;
                self.part(part, true, cx)
            }
            // Nobody has asked for it.
            _ => Err(Close::Abort),
        }
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if self.call.as_ref().is_some_and(|call| call.cancelled.get()) {
            self.state = State::Ended;
            return Err(Close::Abort);
        }
        match &mut self.state {
            State::Idle if self.seat.leave.get() => Err(Close::Flush),
            State::Idle => {
                if self.seat.exchange.borrow().is_none() {
                    return Ok(());
                }
                if cx.stashed() > 0 {
                    return Err(Close::Abort);
                }
                match self.seat.exchange.take() {
                    Some(exchange) => self.begin(exchange, cx),
                    None => Ok(()),
                }
            }
            State::Body { input, .. } => match input.resume() {
                Ok(true) => {
                    cx.set_timeout(input.timeout());
                    cx.resume_input();
                    Ok(())
                }
                Ok(false) => Ok(()),
                Err(_) => {
                    self.state = State::Ended;
                    Err(Close::Abort)
                }
            },
            _ => Ok(()),
        }
    }

    fn timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        match self.state {
            State::Idle if self.seat.exchange.borrow().is_some() => Err(Close::Abort),
            State::Idle => Err(Close::Flush),
            _ => self.fail(Failed::Slow),
        }
    }

    fn passed(&mut self, _: u64, _: u64, cx: &mut Context<'_>) -> Result<(), Close> {
        self.sent = true;
        if matches!(self.state, State::Waiting(_)) {
            cx.set_timeout(self.client.settings.head);
        }
        Ok(())
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        // Whoever waits for the answer says when it is no longer wanted.
        self.retire(cx)
    }

    fn retire(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        match self.state {
            State::Idle => Err(Close::Flush),
            _ => Ok(()),
        }
    }

    fn closed(&mut self, ending: &Ending) {
        let target = self.seat.target.clone();
        self.client.forget(&self.seat);
        self.client.left(&target);
        // A request that was given to the connection and never sent costs nothing.
        if let Some(mut exchange) = self.seat.exchange.take() {
            exchange.fresh = true;
            self.client.dispatch(exchange);
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Connecting(exchange, addresses) => {
                if addresses.is_empty() || exchange.call.cancelled.get() {
                    return self.client.fail(exchange, (&ending.why).into());
                }
                self.client.enter(&target);
                self.client.connect(exchange, addresses);
            }
            State::Waiting(exchange) => self.lost(exchange, ending),
            // A collector that is dropped knows that its body is not whole.
            _ => {}
        }
    }

    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let target = &self.seat.target;
        match &self.state {
            State::Connecting(..) => write!(out, "connecting to {target} for HTTP"),
            State::Waiting(exchange) => {
                let head = &exchange.request.head[..exchange.request.head.len().min(MAX_HEAD)];
                let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                write!(out, "waiting for {target} to answer {line}")
            }
            State::Body { input, .. } if input.is_waiting() => {
                write!(out, "holding back the answer of {target}")
            }
            State::Body { .. } => write!(out, "receiving the answer of {target}"),
            State::Idle => write!(out, "kept for {target}"),
            State::Ended => out.write_str("ended"),
        }
    }
}
