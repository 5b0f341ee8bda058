//! The bodies of one request and its reply, between a connection and a script.
//!
//! The one design choice: neither side is ever far ahead of the other. A client is read from when
//! the script asks for more, and the script goes on when the client has taken what it wrote.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::collector::{Collector, Flow, Refused};
use medusa_core::{Aborted, Piece, Producer, Pull, Waker};
use medusa_http::{Reply, Responder};
use medusa_script::{Later, Value};

/// Bytes of a reply's body that wait for the client.
pub(crate) const REPLY_MARK: usize = 64 << 10;

/// All requests that scripts handle.
#[derive(Default)]
pub(crate) struct Talks {
    all: RefCell<HashMap<i64, Rc<RefCell<Talk>>>>,
    last: Cell<i64>,
}

/// One request.
#[derive(Default)]
pub(crate) struct Talk {
    input: VecDeque<Bytes>,
    input_bytes: usize,
    input_ended: bool,
    /// The script that waits for input.
    reader: Option<Later>,
    /// Wakes the connection.
    pub(crate) waker: Option<Waker>,
    pub(crate) has_body: bool,
    /// Answers the request.
    pub(crate) responder: Option<Responder>,
    /// A head that waits for the responder.
    head: Option<(Reply, Later)>,
    begun: bool,
    output: VecDeque<Bytes>,
    output_bytes: usize,
    output_end: Option<Result<(), Aborted>>,
    /// The script that waits until the client has taken what it wrote.
    writer: Option<Later>,
    /// The client has gone.
    gone: bool,
}

const GONE: &str = "the client has gone";

impl Talks {
    pub(crate) fn begin(&self, has_body: bool) -> (i64, Rc<RefCell<Talk>>) {
        let token = self.last.get() + 1;
        self.last.set(token);
        let talk = Rc::new(RefCell::new(Talk { has_body, ..Talk::default() }));
        self.all.borrow_mut().insert(token, talk.clone());
        (token, talk)
    }

    pub(crate) fn end(&self, token: i64) {
        self.all.borrow_mut().remove(&token);
    }

    /// The talk that a script means.
    pub(crate) fn find(&self, arguments: &[Value]) -> Result<Rc<RefCell<Talk>>, String> {
        let token = arguments.first().and_then(Value::as_integer).unwrap_or(0);
        let talk = self.all.borrow().get(&token).cloned();
        talk.ok_or_else(|| "the request has been answered already".to_owned())
    }

    /// Requests that are being handled.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }
}

impl Talk {
    /// The script wants the next piece of the request's body.
    pub(crate) fn read(&mut self, later: Later) {
        if let Some(piece) = self.input.pop_front() {
            self.input_bytes -= piece.len();
            later.answer(Ok(vec![Value::Text(piece)]));
        } else if self.input_ended || !self.has_body {
            later.answer(Ok(vec![Value::Nil]));
        } else if self.gone {
            later.answer(Err(GONE.to_owned()));
        } else {
            self.reader = Some(later);
        }
        self.wake();
    }

    /// The script begins a reply whose body follows.
    pub(crate) fn head(&mut self, reply: Reply, later: Later) {
        if self.begun || self.head.is_some() {
            return later.answer(Err("the reply has begun already".to_owned()));
        }
        self.head = Some((reply, later));
    }

    /// Sends the head that waits, if it can be sent; the body comes from the talk.
    pub(crate) fn send_head(talk: &Rc<RefCell<Self>>) {
        let (responder, (reply, later)) = {
            let mut this = talk.borrow_mut();
            if this.responder.is_none() || this.head.is_none() {
                return;
            }
            this.begun = true;
            let Some(both) = this.responder.take().zip(this.head.take()) else { return };
            both
        };
        if !responder.is_wanted() {
            talk.borrow_mut().gone = true;
        }
        responder.reply(reply.producer(ReplyBody(talk.clone())));
        later.answer(Ok(Vec::new()));
    }

    /// The script gives the next piece of the reply's body.
    pub(crate) fn write(&mut self, piece: Bytes, later: Later) {
        if self.gone {
            return later.answer(Err(GONE.to_owned()));
        }
        if !self.begun || self.output_end.is_some() {
            return later.answer(Err("the reply has not begun, or has ended".to_owned()));
        }
        if !piece.is_empty() {
            self.output_bytes += piece.len();
            self.output.push_back(piece);
            self.wake();
        }
        if self.output_bytes >= REPLY_MARK {
            self.writer = Some(later);
        } else {
            later.answer(Ok(Vec::new()));
        }
    }

    /// Whether the reply has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the script cannot reach the client any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends the reply's body, if it has not ended.
    pub(crate) fn finish(&mut self, end: Result<(), Aborted>) {
        if self.output_end.is_none() {
            self.output_end = Some(end);
            self.wake();
        }
    }

    /// The script has ended: what still comes is thrown away.
    pub(crate) fn ended(&mut self) {
        self.input.clear();
        self.input_bytes = 0;
        self.input_ended = true;
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

/// Takes the request's body for the script.
pub(crate) struct RequestBody(pub(crate) Rc<RefCell<Talk>>);

impl Collector for RequestBody {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        let mut talk = self.0.borrow_mut();
        if talk.input_ended {
            return Ok(Flow::Go);
        }
        let piece = Bytes::copy_from_slice(part);
        if let Some(reader) = talk.reader.take() {
            drop(talk);
            reader.answer(Ok(vec![Value::Text(piece)]));
            return self.flow();
        }
        talk.input_bytes += piece.len();
        talk.input.push_back(piece);
        drop(talk);
        self.flow()
    }

    fn flow(&self) -> Result<Flow, Refused> {
        let talk = self.0.borrow();
        // Until the script asks, a client that waits to be asked waits on.
        let wanted = talk.input_ended || talk.reader.is_some();
        Ok(if wanted { Flow::Go } else { Flow::Stop })
    }

    fn end(self: Box<Self>) {
        let mut talk = self.0.borrow_mut();
        talk.input_ended = true;
        if let Some(reader) = talk.reader.take() {
            drop(talk);
            reader.answer(Ok(vec![Value::Nil]));
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut talk = self.0.borrow_mut();
        if talk.input_ended {
            return;
        }
        talk.gone = true;
        if let Some(reader) = talk.reader.take() {
            drop(talk);
            reader.answer(Err(GONE.to_owned()));
        }
    }
}

/// Gives the reply's body to the client.
struct ReplyBody(Rc<RefCell<Talk>>);

impl Producer for ReplyBody {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut talk = self.0.borrow_mut();
        let Some(first) = talk.output.front_mut() else {
            return match &talk.output_end {
                Some(Ok(())) => Ok(Piece::End),
                Some(Err(why)) => Err(why.clone()),
                None => {
                    talk.waker = Some(pull.waker());
                    Ok(Piece::Pending)
                }
            };
        };
        let piece = if first.len() > room {
            first.split_to(room)
        } else {
            talk.output.pop_front().unwrap_or_default()
        };
        talk.output_bytes -= piece.len();
        if talk.output_bytes <= REPLY_MARK / 2
            && let Some(writer) = talk.writer.take()
        {
            drop(talk);
            writer.answer(Ok(Vec::new()));
        }
        Ok(Piece::Bytes(piece))
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        let mut talk = self.0.borrow_mut();
        talk.gone = true;
        talk.output.clear();
        talk.output_bytes = 0;
        if let Some(writer) = talk.writer.take() {
            drop(talk);
            writer.answer(Err(GONE.to_owned()));
        }
    }
}
