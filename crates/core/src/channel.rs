//! One socket with its input cutter and its output queue, and the protocol between them.
//!
//! ```text
//!   ready ─► read ─► cut ─► input() ─┐        opened, resumed, timeout, passed
//!              ▲       ▲             ▼                     │
//!              │     stash        output queue ◄───────────┘
//!              └── back-pressure ──  │
//!                                  flush ─► socket
//! ```
//!
//! The one design choice: [`Channel::drive`] is the only way in. Whatever happened, it takes
//! input as far as budgets and back-pressure allow, then flushes, so that replies leave before
//! the loop sleeps, and all replies to one read leave together.

mod io;
mod limited;

use std::io::{Error, ErrorKind};

pub(crate) use self::io::{Io, Phase};
pub(crate) use self::limited::Limited;
use crate::bandwidth::Way;
use crate::engine::ChannelId;
use crate::handle::Handle;
use crate::limits::{
    FRAMES_A_TURN, LINGER_BYTES, LINGER_TIME, READ_BUFFER_BYTES, READ_BYTES_A_TURN,
    WRITE_BYTES_A_TURN,
};
use crate::output::{Flushed, OutputQueue};
use crate::producer::Pull;
use crate::protocol::{Close, Closed, Context, Frame, Protocol};
use crate::sys::SHORT_READ_DRAINS;
use crate::terminator::Cut;

/// What all channels share while they are driven: one at a time has it.
pub(crate) struct Pump {
    pub(crate) handle: Handle,
    read_buffer: Box<[u8]>,
    spare: Option<Box<OutputQueue>>,
    marks: Vec<(u64, u64)>,
    /// Turns in which a channel was stopped by its budget, for the inspection tree.
    pub(crate) budget_stops: u64,
}

impl Pump {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle,
            read_buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            spare: None,
            marks: Vec::new(),
            budget_stops: 0,
        }
    }
}

/// A connection: its protocol and everything the protocol need not know.
pub(crate) struct Channel {
    pub(crate) protocol: Box<dyn Protocol>,
    pub(crate) io: Io,
}

/// Why a channel is driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// The connection stands.
    Opened,
    /// The socket is ready, or there was budget left to spend.
    Ready,
    /// Somebody used its waker.
    Woken,
    /// Its deadline has passed.
    Timeout,
    /// The server wants to stop.
    Shutdown,
    /// Another process has taken over the listeners.
    Retire,
}

/// What is to become of a channel after it was driven.
pub(crate) enum Verdict {
    /// It waits for an event.
    Waits,
    /// It was stopped by its budget and goes on in the next turn.
    Again,
    /// It has ended.
    Ended(Box<Closed>),
}

/// What a step of driving gives. How a channel ended is boxed, so that the usual outcome fits in
/// registers; handed over in memory it costs a stall each time.
type Step<T> = Result<T, Box<Closed>>;

/// What one channel may still do in this turn.
struct Budget {
    frames: usize,
    read: usize,
    write: usize,
}

impl Channel {
    /// Lets the channel do what it can.
    pub(crate) fn drive(&mut self, id: ChannelId, cause: Cause, pump: &mut Pump) -> Verdict {
        if self.io.out.is_none() {
            self.io.out = pump.spare.take();
        }
        if let Some(limited) = &mut self.io.limited {
            limited.release(pump.handle.tick());
        }
        let verdict = match self.run(id, cause, pump) {
            Ok(true) => Verdict::Again,
            Ok(false) => Verdict::Waits,
            Err(closed) => Verdict::Ended(closed),
        };
        if let Some(limited) = &mut self.io.limited {
            limited.settle();
        }
        self.give_back(pump);
        verdict
    }

    /// Gives the lent queue back to the loop; what waits in it stays with the channel.
    fn give_back(&mut self, pump: &mut Pump) {
        let Some(mut out) = self.io.out.take() else { return };
        if pump.spare.is_some() {
            // It has its own already.
            if !out.is_empty() {
                self.io.out = Some(out);
            }
            return;
        }
        if out.is_empty() {
            out.recycle();
        } else {
            self.io.out = Some(Box::new(out.move_out()));
        }
        pump.spare = Some(out);
    }

    fn run(&mut self, id: ChannelId, cause: Cause, pump: &mut Pump) -> Step<bool> {
        let mut budget =
            Budget { frames: FRAMES_A_TURN, read: READ_BYTES_A_TURN, write: WRITE_BYTES_A_TURN };
        if self.io.phase == Phase::Connecting {
            if cause == Cause::Timeout {
                let late = Error::new(ErrorKind::TimedOut, "no connection within the time");
                return Err(Closed::ConnectFailed(late).into());
            }
            if cause != Cause::Opened {
                return Ok(false);
            }
            self.io.phase = Phase::Open;
            self.io.deadline = 0;
        }
        if self.io.closing.is_none() {
            match cause {
                Cause::Opened => self.call(id, pump, |p, cx| p.opened(cx))?,
                Cause::Woken => self.call(id, pump, |p, cx| p.resumed(cx))?,
                Cause::Timeout => self.call(id, pump, |p, cx| p.timeout(cx))?,
                Cause::Shutdown => self.call(id, pump, |p, cx| p.shutdown(cx))?,
                Cause::Retire => self.call(id, pump, |p, cx| p.retire(cx))?,
                Cause::Ready => {}
            }
        } else if cause == Cause::Timeout && self.io.phase == Phase::Lingering {
            return Err(Closed::Done.into());
        }
        loop {
            let stopped = self.take_input(id, pump, &mut budget)?;
            let flushed = self.flush(id, pump, &mut budget)?;
            self.io.backed_up &= !self.io.under_low();
            // A mark that was passed may have brought further output.
            if flushed == Flushed::Drained && self.io.closing.is_some() && !self.io.has_output() {
                return self.finish(&mut budget, pump);
            }
            if stopped || flushed == Flushed::Budget {
                pump.budget_stops += 1;
                return Ok(true);
            }
            // Flushing may have made room, and passed marks may have changed what is wanted.
            let more = self.io.has_input() && self.io.takes_input();
            let unsent = flushed == Flushed::Drained && self.io.has_output();
            if !more && !unsent {
                return if self.io.broken { Err(self.io.breakage().into()) } else { Ok(false) };
            }
        }
    }

    /// Calls the protocol and notes how it wants to end.
    fn call(
        &mut self,
        id: ChannelId,
        pump: &Pump,
        method: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> Result<(), Close>,
    ) -> Step<()> {
        let mut cx = Context { id, io: &mut self.io, handle: &pump.handle };
        match method(&mut *self.protocol, &mut cx) {
            Ok(()) => Ok(()),
            Err(Close::Abort) => {
                self.io.transport.reset();
                Err(Closed::Dropped.into())
            }
            Err(close) => {
                self.io.closing.get_or_insert(close);
                self.io.deadline = 0;
                Ok(())
            }
        }
    }

    /// Reads and cuts; says whether the budget stopped it.
    fn take_input(&mut self, id: ChannelId, pump: &mut Pump, budget: &mut Budget) -> Step<bool> {
        if self.io.closing.is_some() && self.io.stash.capacity() > 0 {
            // Nobody will ask for it, and its peer may be long in taking the last output.
            self.io.take_stash();
        }
        while self.io.has_input() && self.io.takes_input() {
            if budget.frames == 0 || budget.read == 0 {
                return Ok(true);
            }
            if self.io.stash_fresh {
                let (stash, from) = self.io.take_stash();
                let at = from + self.cut_from(id, pump, &stash[from..], budget)?;
                self.io.keep_stash(stash, at);
            } else {
                let held = self.io.stashed().len();
                let room = self.io.settings.read_bytes.clamp(1, READ_BUFFER_BYTES - held);
                let room = self.io.claim(Way::In, room, pump.handle.tick());
                if room == 0 {
                    return Ok(false);
                }
                match self.read(room, held, pump) {
                    Ok(0) => {
                        self.io.eof = true;
                        self.io.readable = false;
                        let (stash, from) = self.io.take_stash();
                        let rest = Frame::Eof(&stash[from..]);
                        self.call(id, pump, |p, cx| p.input(rest, cx))?;
                        return Ok(false);
                    }
                    Ok(n) => {
                        if n < room && SHORT_READ_DRAINS && !self.io.reads_short {
                            self.io.readable = false;
                        }
                        pump.read_buffer[..held].copy_from_slice(self.io.stashed());
                        self.io.received += n as u64;
                        self.io.active = pump.handle.tick();
                        budget.read = budget.read.saturating_sub(n);
                        self.cut(id, pump, held + n, held, budget)?;
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        self.io.readable = false;
                        return Ok(false);
                    }
                    Err(e) => return Err(Closed::Peer(e).into()),
                }
            }
        }
        Ok(false)
    }

    /// Reads up to `room` bytes behind the `held` ones of the shared buffer.
    fn read(&mut self, room: usize, held: usize, pump: &mut Pump) -> std::io::Result<usize> {
        let read = self.io.transport.read(&mut pump.read_buffer[held..held + room]);
        self.io.moved(Way::In, *read.as_ref().unwrap_or(&0), pump.handle.tick());
        read
    }

    /// Hands over the frames in the first `filled` bytes of the shared buffer, of which `held`
    /// stand in the stash too, and keeps what is left.
    fn cut(
        &mut self,
        id: ChannelId,
        pump: &mut Pump,
        filled: usize,
        held: usize,
        budget: &mut Budget,
    ) -> Step<()> {
        // Taken out for the time being, so that the frames in it do not borrow the pump.
        let buffer = std::mem::take(&mut pump.read_buffer);
        let result = self.cut_from(id, pump, &buffer[..filled], budget);
        let at = match result {
            Ok(at) => at,
            Err(closed) => {
                pump.read_buffer = buffer;
                return Err(closed);
            }
        };
        let rest = &buffer[at..filled];
        if rest.is_empty() {
            if held > 0 {
                self.io.take_stash();
            }
        } else if at == 0 && held > 0 {
            self.io.stash.extend_from_slice(&rest[held..]);
        } else {
            (self.io.stash, self.io.stash_at) = (rest.to_vec(), 0);
        }
        pump.read_buffer = buffer;
        Ok(())
    }

    fn cut_from(
        &mut self,
        id: ChannelId,
        pump: &Pump,
        buffer: &[u8],
        budget: &mut Budget,
    ) -> Step<usize> {
        let mut at = 0;
        loop {
            if budget.frames == 0 || !self.io.takes_input() {
                // Whoever lets input flow again cuts what is left first.
                self.io.stash_fresh = true;
                return Ok(at);
            }
            let rest = &buffer[at..];
            if rest.is_empty() && !self.io.terminator.ends_at_once() {
                break;
            }
            if self.io.discarding {
                let (done, ended) = self.io.terminator.discard(rest);
                at += done;
                self.io.discarding = !ended;
                if !ended {
                    break;
                }
                continue;
            }
            let (frame, consumed) = match self.io.terminator.cut(rest, self.io.scanned as usize) {
                Cut::Partial { scanned } => {
                    self.io.scanned = scanned as u32;
                    break;
                }
                Cut::Part { frame } => (Frame::Part(&rest[..frame]), frame),
                Cut::End { frame, consumed } => (Frame::End(&rest[..frame]), consumed),
                Cut::Overlong { frame } => {
                    self.io.discarding = true;
                    (Frame::Overlong(&rest[..frame.min(rest.len())]), 0)
                }
                Cut::Malformed => {
                    self.io.malformed = true;
                    (Frame::Malformed(rest), rest.len())
                }
            };
            self.io.scanned = 0;
            self.io.put_back = 0;
            budget.frames -= 1;
            self.call(id, pump, |p, cx| p.input(frame, cx))?;
            at += consumed - (self.io.put_back as usize).min(consumed);
        }
        self.io.stash_fresh = false;
        Ok(at)
    }

    /// Sends what is queued, and tells the protocol of the marks that were passed.
    fn flush(&mut self, id: ChannelId, pump: &mut Pump, budget: &mut Budget) -> Step<Flushed> {
        if self.io.limited.is_some() && self.io.has_output() && self.io.writable {
            self.flush_limited(id, pump, budget)
        } else {
            self.flush_up_to(id, pump, &mut budget.write)
        }
    }

    /// Sends no more than the bandwidth allows.
    fn flush_limited(
        &mut self,
        id: ChannelId,
        pump: &mut Pump,
        budget: &mut Budget,
    ) -> Step<Flushed> {
        loop {
            let tick = pump.handle.tick();
            let mut room = self.io.claim(Way::Out, budget.write, tick);
            if room == 0 && budget.write > 0 {
                // It is we who let the peer wait.
                self.io.stall = 0;
                return Ok(Flushed::Held);
            }
            let before = self.io.sent;
            let flushed = self.flush_up_to(id, pump, &mut room);
            let written = (self.io.sent - before) as usize;
            self.io.moved(Way::Out, written, tick);
            budget.write = budget.write.saturating_sub(written);
            let flushed = flushed?;
            if flushed != Flushed::Budget || budget.write == 0 {
                return Ok(flushed);
            }
        }
    }

    fn flush_up_to(&mut self, id: ChannelId, pump: &mut Pump, budget: &mut usize) -> Step<Flushed> {
        let io = &mut self.io;
        let Some(out) = &mut io.out else { return Ok(Flushed::Drained) };
        if out.is_empty() {
            io.stall = 0;
            return Ok(Flushed::Drained);
        }
        if !io.writable {
            return Ok(Flushed::Blocked);
        }
        let before = io.sent;
        let room = 1 << io.piece_log2;
        let mut pull = Pull { id, handle: &pump.handle };
        let flushed =
            out.flush(&mut io.transport, room, budget, &mut io.sent, &mut pump.marks, &mut pull);
        let written = (io.sent - before) as usize;
        if written > 0 {
            io.active = pump.handle.tick();
        }
        // Marks that were passed are told even when the rest failed.
        let told = self.tell_marks(id, pump);
        let flushed = flushed.inspect_err(|closed| {
            if matches!(closed, Closed::Aborted(_)) {
                // An ordinary end could be taken for the end of the content.
                self.io.transport.reset();
            }
        })?;
        told?;
        let io = &mut self.io;
        io.adjust_piece(flushed, written);
        if flushed == Flushed::Blocked {
            io.blocked(written, &pump.handle);
        } else {
            io.stall = 0;
        }
        Ok(flushed)
    }

    fn tell_marks(&mut self, id: ChannelId, pump: &mut Pump) -> Step<()> {
        if pump.marks.is_empty() {
            return Ok(());
        }
        let mut marks = std::mem::take(&mut pump.marks);
        let mut result = Ok(());
        for (token, sent) in marks.drain(..) {
            result = self.call(id, pump, |p, cx| p.passed(token, sent, cx));
            if result.is_err() {
                break;
            }
        }
        marks.clear();
        pump.marks = marks;
        result
    }

    /// Goes on closing when everything queued has left; says whether the budget stopped it.
    fn finish(&mut self, budget: &mut Budget, pump: &mut Pump) -> Step<bool> {
        if self.io.closing == Some(Close::Flush) || self.io.eof {
            return Err(Closed::Done.into());
        }
        if self.io.phase != Phase::Lingering {
            self.io.phase = Phase::Lingering;
            self.io.take_stash();
            // Counts from here what is thrown away.
            self.io.put_back = 0;
            self.io.deadline = pump.handle.after(LINGER_TIME);
            if self.io.transport.shutdown_write().is_err() {
                return Err(Closed::Done.into());
            }
        }
        while self.io.readable && budget.read > 0 {
            let room = self.io.claim(Way::In, READ_BUFFER_BYTES, pump.handle.tick());
            if room == 0 {
                return Ok(false);
            }
            match self.read(room, 0, pump) {
                Ok(0) => return Err(Closed::Done.into()),
                Ok(n) => {
                    self.io.received += n as u64;
                    self.io.put_back += n as u32;
                    budget.read = budget.read.saturating_sub(n);
                    if u64::from(self.io.put_back) > LINGER_BYTES {
                        return Err(Closed::Done.into());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.io.readable = false,
                Err(_) => return Err(Closed::Done.into()),
            }
        }
        Ok(self.io.readable)
    }
}
