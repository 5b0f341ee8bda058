//! Connections that scripts have: those that they make, and those that a server of theirs accepts.
//!
//! The one design choice: nothing is read that no script waits for. What a script asks for next (a
//! line, a number of bytes) is the terminator of its input, and between two questions the peer is
//! held back by its own socket.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_core::limits::{FEED_HIGH_BYTES, FEED_LOW_BYTES, MAX_FRAME_BYTES};
use medusa_core::producer::{Feed, Full, feed};
use medusa_core::{Close, Context, Ending, Frame, Protocol, Terminator, Waker};
use medusa_script::limits::TEXT_BYTES;
use medusa_script::{Later, Value};

use crate::script::Version;

/// Connections that scripts of one engine may have at once.
pub(crate) const CONNECTIONS: usize = 4096;
/// Bytes of a line, unless the script says otherwise.
const LINE_BYTES: usize = 8192;

/// All connections of scripts.
#[derive(Default)]
pub(crate) struct Connections {
    all: RefCell<HashMap<i64, Rc<RefCell<State>>>>,
    last: Cell<i64>,
}

/// One connection, as scripts and its protocol share it.
#[derive(Default)]
pub(crate) struct State {
    /// Its number, by which scripts know it.
    pub(crate) token: i64,
    waker: Option<Waker>,
    output: Option<Feed>,
    /// Who waits until the connection stands.
    pub(crate) opening: Option<Later>,
    reader: Option<Reader>,
    writer: Option<(Bytes, Later)>,
    /// The version whose handler serves it: its budget is for each thing that is read.
    pub(crate) serves: Option<Rc<Version>>,
    /// The peer will send nothing more.
    ended: bool,
    gone: bool,
    closing: bool,
}

/// A script that waits for input.
struct Reader {
    wanted: Wanted,
    got: Vec<u8>,
    /// The input is cut for it already.
    is_set: bool,
    later: Later,
}

/// What a script waits for.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// A line of at most so many bytes.
    Line(u32),
    /// Just so many bytes.
    Exactly(usize),
    /// Whatever comes.
    Any,
}

impl Wanted {
    /// What a number that a script gave means for lines.
    pub(crate) fn line(limit: Option<&Value>) -> Result<Self, String> {
        let most = MAX_FRAME_BYTES - 2;
        let limit = match limit {
            None | Some(Value::Nil) => Some(LINE_BYTES),
            Some(limit) => limit.as_integer().and_then(|n| usize::try_from(n).ok()),
        };
        let limit = limit.filter(|limit| (1..=most).contains(limit));
        // It fits: it is below the limit of frames.
        limit
            .map(|limit| Self::Line(limit as u32))
            .ok_or_else(|| format!("the limit of a line must be a number from 1 to {most}"))
    }

    /// What a number that a script gave means for bytes.
    pub(crate) fn bytes(count: Option<&Value>) -> Result<Self, String> {
        let count = match count {
            None | Some(Value::Nil) => return Ok(Self::Any),
            Some(count) => count.as_integer().and_then(|n| usize::try_from(n).ok()),
        };
        let count = count.filter(|count| (1..=TEXT_BYTES).contains(count));
        count
            .map(Self::Exactly)
            .ok_or_else(|| format!("the number of bytes must be from 1 to {TEXT_BYTES}"))
    }
}

const GONE: &str = "the connection has ended";

impl Connections {
    /// Makes room for a connection, if there is some.
    pub(crate) fn begin(&self) -> Option<(i64, Rc<RefCell<State>>)> {
        let mut all = self.all.borrow_mut();
        if all.len() >= CONNECTIONS {
            return None;
        }
        let token = self.last.get() + 1;
        self.last.set(token);
        let state = Rc::new(RefCell::new(State { token, ..State::default() }));
        all.insert(token, state.clone());
        Some((token, state))
    }

    /// The connection that a script means.
    pub(crate) fn find(&self, token: Option<&Value>) -> Result<Rc<RefCell<State>>, String> {
        let token = token.and_then(Value::as_integer).unwrap_or(0);
        self.all.borrow().get(&token).cloned().ok_or_else(|| GONE.to_owned())
    }

    /// Closes a connection when what was written has been sent.
    pub(crate) fn close(&self, token: i64) {
        let Some(state) = self.all.borrow_mut().remove(&token) else { return };
        let mut state = state.borrow_mut();
        state.closing = true;
        state.wake();
    }

    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }
}

impl State {
    /// Begins again with another address, for a script that waits.
    pub(crate) fn try_anew(&mut self, opening: Later) {
        self.opening = Some(opening);
        self.gone = false;
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// A script waits for input.
    pub(crate) fn read(&mut self, wanted: Wanted, later: Later) {
        if self.reader.is_some() {
            return later.answer(Err("another script reads from this connection".to_owned()));
        }
        if self.ended || self.gone {
            return later.answer(Ok(vec![Value::Nil]));
        }
        self.reader = Some(Reader { wanted, got: Vec::new(), is_set: false, later });
        self.wake();
    }

    /// A script waits until the peer has room for this.
    pub(crate) fn write(&mut self, text: Bytes, later: Later) {
        if self.writer.is_some() {
            return later.answer(Err("another script writes to this connection".to_owned()));
        }
        match self.push(text) {
            Ok(()) => later.answer(Ok(Vec::new())),
            Err(Full::Gone) => later.answer(Err(GONE.to_owned())),
            Err(Full::Full(text)) => self.writer = Some((text, later)),
        }
    }

    /// Sends this if the peer has room: true; false if not, nil if it has gone.
    pub(crate) fn send(&mut self, text: Bytes) -> Value {
        if self.writer.is_some() {
            return Value::from(false);
        }
        match self.push(text) {
            Ok(()) => Value::from(true),
            Err(Full::Full(_)) => Value::from(false),
            Err(Full::Gone) => Value::Nil,
        }
    }

    fn push(&mut self, text: Bytes) -> Result<(), Full> {
        match &self.output {
            Some(output) if !self.gone => output.push(text).map(|_| ()),
            _ => Err(Full::Gone),
        }
    }
}

/// Hears, when a connection stands, who is at the other end.
pub(crate) type Opened = Box<dyn FnOnce(&str)>;
/// Hears whoever waits for a connection that could not be made, and why it could not.
pub(crate) type Failed = Box<dyn FnOnce(Later, String)>;

/// The protocol of such a connection.
pub(crate) struct Connection {
    pub(crate) state: Rc<RefCell<State>>,
    /// How long the peer may be silent while a script waits for it.
    pub(crate) patience: Option<Duration>,
    /// Called when the connection stands.
    pub(crate) opened: Option<Opened>,
    /// Called when it could not be made; may try elsewhere.
    pub(crate) failed: Option<Failed>,
}

impl Connection {
    /// Gives the script that reads what it waits for.
    fn give(&mut self, cx: &mut Context<'_>, text: Option<Vec<u8>>) {
        cx.pause_input();
        cx.clear_timeout();
        let (reader, serves) = {
            let mut state = self.state.borrow_mut();
            (state.reader.take(), state.serves.clone())
        };
        let Some(Reader { later, .. }) = reader else { return };
        if let Some(version) = serves {
            version.printed(&later.renew());
        }
        later.answer(Ok(vec![text.map_or(Value::Nil, Value::from)]));
    }

    /// What has come of what the script waits for.
    fn gathered(&mut self) -> Vec<u8> {
        let mut state = self.state.borrow_mut();
        state.reader.as_mut().map(|reader| std::mem::take(&mut reader.got)).unwrap_or_default()
    }

    /// Cuts the input as the script that reads wants it.
    fn prepare(&mut self, cx: &mut Context<'_>) {
        let mut state = self.state.borrow_mut();
        let Some(reader) = state.reader.as_mut().filter(|reader| !reader.is_set) else { return };
        reader.is_set = true;
        cx.set_terminator(match reader.wanted {
            Wanted::Line(limit) => Terminator::Delimiter { delimiter: b"\n", limit: limit + 1 },
            Wanted::Exactly(bytes) => Terminator::Exact(bytes as u64),
            Wanted::Any => Terminator::None,
        });
        if let Some(patience) = self.patience {
            cx.set_timeout(patience);
        }
        cx.resume_input();
    }
}

impl Protocol for Connection {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let (feed, producer) = feed(FEED_HIGH_BYTES, FEED_LOW_BYTES);
        feed.set_pusher(cx.waker());
        cx.produce(Box::new(producer));
        cx.pause_input();
        let peer = cx.peer().ip().map_or_else(|| cx.peer().to_string(), |ip| ip.to_string());
        let opening = {
            let mut state = self.state.borrow_mut();
            state.output = Some(feed);
            state.waker = Some(cx.waker());
            state.opening.take()
        };
        self.failed = None;
        if let Some(opening) = opening {
            opening.answer(Ok(vec![Value::from(self.state.borrow().token), Value::from(&*peer)]));
        }
        if let Some(opened) = self.opened.take() {
            opened(&peer);
        }
        // It may have been closed meanwhile.
        self.resumed(cx)
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        let wanted = self.state.borrow().reader.as_ref().map(|reader| reader.wanted);
        match (frame, wanted) {
            (Frame::Part(part), Some(Wanted::Exactly(_))) => {
                if let Some(reader) = &mut self.state.borrow_mut().reader {
                    reader.got.extend_from_slice(part);
                }
            }
            (Frame::Part(part), _) => self.give(cx, Some(part.to_vec())),
            (Frame::End(line), Some(Wanted::Line(limit))) => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() > limit as usize {
                    return self.input(Frame::Overlong(line), cx);
                }
                self.give(cx, Some(line.to_vec()));
            }
            (Frame::End(last), _) => {
                let got = self.gathered();
                self.give(cx, Some([&got, last].concat()));
            }
            (Frame::Overlong(_) | Frame::Malformed(_), _) => {
                cx.pause_input();
                let reader = self.state.borrow_mut().reader.take();
                if let Some(Reader { later, wanted: Wanted::Line(limit), .. }) = reader {
                    later.answer(Err(format!("the line is longer than {limit} bytes")));
                }
                return Err(Close::Linger);
            }
            (Frame::Eof(rest), _) => {
                self.state.borrow_mut().ended = true;
                let rest = [&self.gathered(), rest].concat();
                self.give(cx, (!rest.is_empty()).then_some(rest));
            }
        }
        Ok(())
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let writer = self.state.borrow_mut().writer.take();
        if let Some((text, later)) = writer {
            self.state.borrow_mut().write(text, later);
        }
        let mut state = self.state.borrow_mut();
        if state.closing {
            if let Some(output) = state.output.take() {
                output.end();
            }
            return Err(Close::Linger);
        }
        drop(state);
        self.prepare(cx);
        Ok(())
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.state.borrow_mut().ended = true;
        self.give(cx, None);
        Ok(())
    }

    fn closed(&mut self, ending: &Ending) {
        let (opening, reader, writer) = {
            let mut state = self.state.borrow_mut();
            state.gone = true;
            state.waker = None;
            state.output = None;
            (state.opening.take(), state.reader.take(), state.writer.take())
        };
        if let (Some(failed), Some(opening)) = (self.failed.take(), opening) {
            failed(opening, ending.why.to_string());
        }
        if let Some(Reader { later, .. }) = reader {
            later.answer(Ok(vec![Value::Nil]));
        }
        if let Some((_, later)) = writer {
            later.answer(Err(GONE.to_owned()));
        }
    }

    fn doing(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        let state = self.state.borrow();
        match &state.serves {
            Some(version) => write!(out, "script `{}`", version.name()),
            None => out.write_str("a connection of a script"),
        }
    }
}
