//! Replies that come later: the promise of one in the output queue, and the means to keep it.
//!
//! The one design choice: a late reply is written out when it is its turn to leave, by the
//! producer that stands in its place, with what the session knew of the request. So a reply may
//! come from anywhere on the loop's thread, long after the session moved on to other requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::{Aborted, Piece, Producer, Pull, Waker};

use crate::extension::Edits;
use crate::reply::{Body, Reply};
use crate::service::Shared;
use crate::wire::head::Version;
use crate::write::{Asked, CONTINUE, Framing, write_head};

/// A reply that is awaited.
pub(crate) struct Late {
    reply: RefCell<State>,
    waker: Waker,
    shared: Rc<Shared>,
    asked: Cell<Asked>,
    /// The status, and the bytes of heads, as far as they have been written out.
    pub(crate) written: Cell<(u16, usize)>,
    /// The connection ends behind this reply.
    pub(crate) last: Cell<bool>,
    responders: Cell<u32>,
    /// What is done to the reply when it is written out.
    edits: Cell<Edits>,
    /// A 100 is to be sent before the reply.
    continues: Cell<bool>,
}

enum State {
    Awaited,
    Ready(Reply),
    Taken,
}

impl Late {
    pub(crate) fn new(shared: Rc<Shared>, waker: Waker, asked: Asked) -> Rc<Self> {
        Rc::new(Self {
            reply: RefCell::new(State::Awaited),
            waker,
            shared,
            asked: Cell::new(asked),
            written: Cell::new((0, 0)),
            last: Cell::new(!asked.keep_alive),
            responders: Cell::new(0),
            edits: Cell::default(),
            continues: Cell::new(false),
        })
    }

    /// Answers, unless an answer is there; says whether this one counts.
    pub(crate) fn answer(&self, reply: Reply) -> bool {
        let mut state = self.reply.borrow_mut();
        if !matches!(*state, State::Awaited) {
            return false;
        }
        *state = State::Ready(reply);
        self.waker.wake();
        true
    }

    /// Bytes in memory of a reply that has come and not left.
    pub(crate) fn ready_bytes(&self) -> usize {
        match &*self.reply.borrow() {
            State::Ready(Reply { body: Body::Bytes(bytes), .. }) => bytes.len(),
            _ => 0,
        }
    }

    /// Has the reply edited by these, whether it is there already or not.
    pub(crate) fn edit_with(&self, edits: Edits) {
        self.edits.set(edits);
    }

    /// Asks the client for the body, which it has held back until now. It is done from the place of
    /// the reply, for what stands before that has to leave first.
    pub(crate) fn send_continue(&self) {
        self.continues.set(true);
        self.waker.wake();
    }

    /// Ends the connection behind this reply.
    pub(crate) fn end_connection(&self) {
        self.last.set(true);
        self.asked.set(Asked { keep_alive: false, ..self.asked.get() });
    }

    /// Whether no further request is handled before this reply has left: it may be ended by the end
    /// of the connection, as to a 1.0 client, or what is asked may change what the next one finds
    /// (RFC 9112, section 9.3.2).
    pub(crate) fn is_alone(&self) -> bool {
        let asked = self.asked.get();
        asked.version == Version::Http10 || !asked.safe
    }

    /// Wants no answer any more: the client has gone, or has got another one.
    pub(crate) fn give_up(&self) {
        let state = self.reply.replace(State::Taken);
        drop(state);
    }

    /// Whether some of the reply was made, so that its head is written.
    pub(crate) fn is_begun(&self) -> bool {
        self.written.get().1 > 0
    }

    pub(crate) fn is_awaited(&self) -> bool {
        matches!(*self.reply.borrow(), State::Awaited)
    }
}

/// Answers one request, later. Dropped without an answer, the client gets 500.
pub struct Responder(Rc<Late>);

impl Responder {
    pub(crate) fn new(late: Rc<Late>) -> Self {
        late.responders.set(late.responders.get() + 1);
        Self(late)
    }

    /// Answers.
    pub fn reply(self, reply: Reply) {
        self.0.answer(reply);
    }

    /// Whether the answer is still wanted: not so when the client has gone.
    pub fn is_wanted(&self) -> bool {
        self.0.is_awaited()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let others = self.0.responders.get() - 1;
        self.0.responders.set(others);
        if others == 0 && self.0.is_awaited() {
            tracing::error!("an extension dropped a request without answering it");
            self.0.answer(Reply::failed());
        }
    }
}

/// The place of a late reply in the output queue.
pub(crate) struct LateReply {
    late: Rc<Late>,
    body: Option<Box<dyn Producer>>,
}

impl LateReply {
    pub(crate) fn new(late: Rc<Late>) -> Self {
        Self { late, body: None }
    }
}

impl Producer for LateReply {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        if let Some(body) = &mut self.body {
            return body.produce(room, pull);
        }
        let mut state = self.late.reply.borrow_mut();
        if self.late.continues.take() && !matches!(*state, State::Taken) {
            self.late.written.set((0, CONTINUE.len()));
            return Ok(Piece::Bytes(Bytes::from_static(CONTINUE)));
        }
        let reply = match std::mem::replace(&mut *state, State::Taken) {
            State::Ready(reply) => reply,
            State::Awaited => {
                *state = State::Awaited;
                return Ok(Piece::Pending);
            }
            State::Taken => return Ok(Piece::End),
        };
        drop(state);
        let reply = self.late.edits.take().apply(reply, &self.late.shared);
        let mut out = Vec::with_capacity(512);
        let asked = self.late.asked.get();
        let framing = write_head(&mut out, &reply, asked, &self.late.shared, pull.unix_time());
        let before = self.late.written.get().1;
        self.late.written.set((reply.status, before + out.len()));
        if framing == Framing::UntilClose {
            self.late.last.set(true);
        }
        self.body = content(reply.body, framing, &mut out);
        Ok(Piece::Bytes(Bytes::from(out)))
    }
}

impl Drop for LateReply {
    fn drop(&mut self) {
        self.late.give_up();
    }
}

/// The body as a producer; short bytes are put behind the head instead.
fn content(body: Body, framing: Framing, out: &mut Vec<u8>) -> Option<Box<dyn Producer>> {
    use medusa_core::limits::COALESCE_BYTES;
    use medusa_core::producer::{FileSource, Once};
    match (body, framing) {
        (_, Framing::None) | (Body::Empty, _) => None,
        (Body::Bytes(bytes), _) if bytes.len() <= COALESCE_BYTES => {
            out.extend_from_slice(&bytes);
            None
        }
        (Body::Bytes(bytes), _) => Some(Box::new(Once::new(bytes))),
        (Body::File(range), _) => Some(Box::new(FileSource::new(range))),
        (Body::Producer(inside, _), Framing::Chunked) => {
            Some(Box::new(crate::chunked::Chunked::new(inside)))
        }
        (Body::Producer(inside, Some(len)), _) => {
            Some(Box::new(crate::exact::Exactly::new(inside, len)))
        }
        (Body::Producer(inside, None), _) => Some(inside),
    }
}
