//! The push side of a producer: a bounded queue between whoever has output and the channel that
//! sends it.
//!
//! The one design choice: a push is never lost silently and never waits. At the high mark the
//! pusher is told to stop, and its waker is used when the queue has drained to the low mark.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use super::{Aborted, Piece, Producer, Pull};
use crate::handle::Waker;
use crate::limits::FEED_PIECES;

/// Makes a feed that tells its pusher to stop at `high` bytes, and to go on at `low`.
///
/// It also stops at [`FEED_PIECES`] pieces, however small, and goes on at half of them.
pub fn feed(high: usize, low: usize) -> (Feed, FeedProducer) {
    let state = Rc::new(RefCell::new(State {
        queue: VecDeque::new(),
        bytes: 0,
        high: high.max(1),
        low,
        end: None,
        gone: false,
        stopped: false,
        puller: None,
        idle: false,
        pusher: None,
    }));
    (Feed(state.clone()), FeedProducer(state))
}

/// The side that pushes. Dropped without an end, the output is aborted.
pub struct Feed(Rc<RefCell<State>>);

/// The side that stands in the output queue.
pub struct FeedProducer(Rc<RefCell<State>>);

struct State {
    queue: VecDeque<Bytes>,
    bytes: usize,
    high: usize,
    low: usize,
    end: Option<Result<(), Aborted>>,
    gone: bool,
    /// The pusher was told to stop.
    stopped: bool,
    puller: Option<Waker>,
    /// The puller found nothing and waits to be woken.
    idle: bool,
    pusher: Option<Waker>,
}

/// What to do after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// There is room for more.
    More,
    /// It was taken, but the high mark is reached: stop until the waker is used.
    Stop,
}

/// A push was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Full {
    /// The high mark was reached before; the bytes are given back.
    Full(Bytes),
    /// Nobody will ever take them: the peer has gone.
    Gone,
}

impl Feed {
    /// Queues bytes. An empty push does nothing.
    pub fn push(&self, bytes: impl Into<Bytes>) -> Result<Pushed, Full> {
        let bytes = bytes.into();
        let mut state = self.0.borrow_mut();
        if !state.gone && state.is_high() {
            state.stopped = true;
            return Err(Full::Full(bytes));
        }
        drop(state);
        self.push_over(bytes)
    }

    /// Queues bytes though the high mark may be reached: for one who must give away all of what
    /// it has read, and reads no more when it is told to stop. Only [`Full::Gone`] is an error.
    pub fn push_over(&self, bytes: impl Into<Bytes>) -> Result<Pushed, Full> {
        let bytes = bytes.into();
        let mut state = self.0.borrow_mut();
        if state.gone {
            return Err(Full::Gone);
        }
        if !bytes.is_empty() {
            state.bytes += bytes.len();
            state.queue.push_back(bytes);
            state.wake_puller();
        }
        state.stopped = state.is_high();
        Ok(if state.stopped { Pushed::Stop } else { Pushed::More })
    }

    /// Says whom to wake when there is room again, or when the peer has gone.
    pub fn set_pusher(&self, waker: Waker) {
        self.0.borrow_mut().pusher = Some(waker);
    }

    /// Ends the output.
    pub fn end(self) {
        self.finish(Ok(()));
    }

    /// Aborts the output: it must not look complete.
    pub fn abort(self, why: Aborted) {
        self.finish(Err(why));
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.0.borrow().bytes
    }

    /// Whether a push would be taken now.
    pub fn has_room(&self) -> bool {
        let state = self.0.borrow();
        !state.gone && !state.is_high()
    }

    /// Whether the channel that took the output has gone.
    pub fn is_gone(&self) -> bool {
        self.0.borrow().gone
    }

    fn finish(&self, end: Result<(), Aborted>) {
        let mut state = self.0.borrow_mut();
        if state.end.is_none() {
            state.end = Some(end);
            state.wake_puller();
        }
    }
}

impl State {
    /// Many small pieces cost more than their bytes, so their number has a mark too.
    fn is_high(&self) -> bool {
        self.bytes >= self.high || self.queue.len() >= FEED_PIECES
    }

    fn is_low(&self) -> bool {
        self.bytes <= self.low && self.queue.len() <= FEED_PIECES / 2
    }

    fn wake_puller(&mut self) {
        if std::mem::take(&mut self.idle)
            && let Some(puller) = &self.puller
        {
            puller.wake();
        }
    }

    fn wake_pusher(&mut self) {
        if std::mem::take(&mut self.stopped)
            && let Some(pusher) = &self.pusher
        {
            pusher.wake();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.finish(Err(Aborted::new("a feed was dropped before its end")));
    }
}

impl Producer for FeedProducer {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut state = self.0.borrow_mut();
        if let Some(first) = state.queue.front_mut() {
            let piece = if first.len() > room {
                first.split_to(room)
            } else {
                state.queue.pop_front().unwrap_or_default()
            };
            state.bytes -= piece.len();
            if state.is_low() {
                state.wake_pusher();
            }
            return Ok(Piece::Bytes(piece));
        }
        match &state.end {
            Some(Ok(())) => Ok(Piece::End),
            Some(Err(why)) => Err(why.clone()),
            None => {
                if state.puller.is_none() {
                    state.puller = Some(pull.waker());
                }
                state.idle = true;
                Ok(Piece::Pending)
            }
        }
    }
}

impl Drop for FeedProducer {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.gone = true;
        state.queue.clear();
        state.bytes = 0;
        state.stopped = true;
        state.wake_pusher();
    }
}
