//! A body on its way through a compression: a producer that wraps bytes, a file or a producer.
//!
//! The one design choice: steps that helper threads make take the compression's state along and
//! bring it back, so that nothing is locked. While the piece before is being sent the next is
//! made, and no more: two pieces are the most that a body has in memory.

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::handle::JobLost;
use medusa_core::{Aborted, FileRange, Piece, Producer, Pull};

use crate::coding::state::{State, Then};
use crate::coding::{Charge, Coding, Keep, Levels, Shared};
use crate::limits::{CODING_LEAST_STEP_BYTES, CODING_LOOP_BYTES};

/// A body that is coded as it is sent.
pub(super) struct Encoding {
    shared: Rc<Shared>,
    begin: Begin,
    /// Bytes of input that a step on a helper thread takes at most.
    step: usize,
    charge: Charge,
    keep: Option<Keep>,
    /// Who makes further input.
    inside: Option<Box<dyn Producer>>,
    /// Input that is there.
    input: Input,
    /// The compression, unless it has not begun or is with a helper thread.
    state: Option<State>,
    /// A step that a helper thread makes.
    work: Option<Slot>,
    /// Output that waits to be sent.
    out: Bytes,
    /// Some input may not be readable from the output yet.
    dirty: bool,
    ended: bool,
}

/// Where the result of a step is put, with the state if it goes on.
type Slot = Rc<RefCell<Option<Result<(Option<State>, Bytes), Aborted>>>>;

/// How a compression begins.
#[derive(Clone, Copy)]
struct Begin {
    coding: Coding,
    levels: Levels,
    /// Bytes of input, if that is known.
    len: Option<u64>,
}

/// Input of a step, or of several.
enum Input {
    Bytes(Bytes),
    File(FileRange),
}

/// How far one advance has come.
#[derive(PartialEq, Eq)]
enum Advance {
    /// Some was coded, or is about to be.
    Moved,
    /// Whoever is inside has nothing yet.
    Waits,
}

impl Encoding {
    pub(super) fn new(
        shared: Rc<Shared>,
        coding: Coding,
        len: Option<u64>,
        step: usize,
        charge: Charge,
        keep: Option<Keep>,
    ) -> Self {
        let begin = Begin { coding, levels: shared.options.levels, len };
        Self {
            shared,
            begin,
            step,
            charge,
            keep,
            inside: None,
            input: Input::Bytes(Bytes::new()),
            state: None,
            work: None,
            out: Bytes::new(),
            dirty: false,
            ended: false,
        }
    }

    pub(super) fn of_bytes(self, bytes: Bytes) -> Self {
        Self { input: Input::Bytes(bytes), ..self }
    }

    pub(super) fn of_file(self, range: FileRange) -> Self {
        Self { input: Input::File(range), ..self }
    }

    pub(super) fn of_producer(self, inside: Box<dyn Producer>) -> Self {
        Self { inside: Some(inside), ..self }
    }

    /// Codes some more of the input, or has it coded.
    fn advance(&mut self, pull: &mut Pull<'_>) -> Result<Advance, Aborted> {
        let mut waits = false;
        while self.input.is_empty()
            && let Some(inside) = &mut self.inside
        {
            match inside.produce(self.step, pull)? {
                Piece::Bytes(bytes) => self.input = Input::Bytes(bytes),
                Piece::File(range) => self.input = Input::File(range),
                Piece::End => self.inside = None,
                Piece::Pending if self.dirty => {
                    waits = true;
                    break;
                }
                Piece::Pending => return Ok(Advance::Waits),
            }
        }
        // A body that is there as a whole is long, or the turn's allowance is used up.
        let streamed = self.inside.is_some() || self.input.is_empty();
        if streamed
            && let Input::Bytes(bytes) = &mut self.input
            && let len = bytes.len().min(CODING_LOOP_BYTES)
            && self.shared.allow(pull.now(), len.max(CODING_LEAST_STEP_BYTES))
        {
            let bytes = bytes.split_to(len);
            let then = if waits { Then::Wait } else { self.then() };
            self.step_here(&bytes, then)?;
        } else {
            let input = self.input.take(self.step);
            let then = if waits { Then::Wait } else { self.then() };
            self.step_there(input, then, pull);
        }
        Ok(Advance::Moved)
    }

    /// What comes behind the input that was just taken.
    fn then(&self) -> Then {
        if self.inside.is_none() && self.input.is_empty() { Then::End } else { Then::More }
    }

    /// Makes a step on the loop.
    fn step_here(&mut self, input: &[u8], then: Then) -> Result<(), Aborted> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.begin.state().map_err(|e| failed(&e))?,
        };
        let mut out = Vec::new();
        state.step(input, then, &mut out).map_err(|e| failed(&e))?;
        self.made((then != Then::End).then_some(state), out.into());
        self.dirty = then == Then::More;
        Ok(())
    }

    /// Has a helper thread make a step.
    fn step_there(&mut self, input: Input, then: Then, pull: &mut Pull<'_>) {
        let slot = Slot::default();
        let (begin, state) = (self.begin, self.state.take());
        self.dirty = then == Then::More;
        // Only what is made in one go is whole in the hands of one step.
        let keep = self.keep.take().filter(|_| state.is_none() && then == Then::End);
        let (filled, waker) = (slot.clone(), pull.waker());
        pull.handle().run(
            move || begin.step(state, &input, then),
            move |result| {
                let result = match result {
                    Ok(Ok((state, out))) => {
                        let out = Bytes::from(out.into_boxed_slice());
                        if let Some(keep) = keep {
                            keep(out.clone());
                        }
                        Ok((state, out))
                    }
                    Ok(Err(e)) => Err(failed(&e)),
                    Err(lost) => Err(unmade(lost)),
                };
                *filled.borrow_mut() = Some(result);
                waker.wake();
            },
        );
        self.work = Some(slot);
    }

    /// Takes the result of a step in.
    fn made(&mut self, state: Option<State>, out: Bytes) {
        self.ended = state.is_none();
        self.state = state;
        self.out = out;
        if self.ended {
            self.charge.set(self.out.len());
        }
    }
}

impl Producer for Encoding {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        loop {
            if self.out.is_empty()
                && let Some(slot) = &self.work
            {
                let Some(result) = slot.take() else { return Ok(Piece::Pending) };
                self.work = None;
                let (state, out) = result?;
                self.made(state, out);
            }
            let idle = self.work.is_none() && !self.ended;
            if idle && self.out.is_empty() {
                if self.advance(pull)? == Advance::Waits {
                    return Ok(Piece::Pending);
                }
            } else if idle && self.inside.is_none() && !self.input.is_empty() {
                let input = self.input.take(self.step);
                self.step_there(input, self.then(), pull);
            }
            if !self.out.is_empty() {
                let room = room.min(self.out.len());
                return Ok(Piece::Bytes(self.out.split_to(room)));
            }
            if self.ended {
                return Ok(Piece::End);
            }
        }
    }
}

impl Begin {
    fn state(self) -> io::Result<State> {
        State::new(self.coding, self.levels, self.len)
    }

    /// One step of a helper thread.
    fn step(
        self,
        state: Option<State>,
        input: &Input,
        then: Then,
    ) -> io::Result<(Option<State>, Vec<u8>)> {
        let mut state = state.map_or_else(|| self.state(), Ok)?;
        let mut out = Vec::new();
        match input {
            Input::Bytes(bytes) => state.step(bytes, then, &mut out)?,
            Input::File(FileRange { file, offset, len }) => {
                let mut bytes = vec![0; *len as usize];
                file.read_exact_at(&mut bytes, *offset)?;
                state.step(&bytes, then, &mut out)?;
            }
        }
        Ok(((then != Then::End).then_some(state), out))
    }
}

impl Input {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File(range) => range.len == 0,
        }
    }

    /// Takes at most `most` bytes off the front.
    fn take(&mut self, most: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.split_to(most.min(bytes.len()))),
            Self::File(range) => {
                let taken = FileRange { len: range.len.min(most as u64), ..range.clone() };
                range.offset += taken.len;
                range.len -= taken.len;
                Self::File(taken)
            }
        }
    }
}

fn failed(error: &io::Error) -> Aborted {
    Aborted::new(format!("the body could not be coded: {error}"))
}

fn unmade(lost: JobLost) -> Aborted {
    Aborted::new(format!("the body could not be coded: {lost}"))
}
