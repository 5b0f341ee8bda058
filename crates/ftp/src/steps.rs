//! Output that helper threads make step by step, as the client takes it: listings, and files that
//! are converted.
//!
//! The one design choice: whatever makes the output travels to a helper thread for each step and
//! comes back with what it made. So it needs no lock, and at most two steps are in memory: the one
//! that is being sent, and the next.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::{Aborted, Piece, Producer, Pull};
use medusa_fs::{Content, OpenFile};

use crate::limits::STEP_BYTES;
use crate::wire::ascii::ToWire;

/// Makes output, step by step; may block.
pub(crate) trait Steps: Send + 'static {
    /// Appends the next part; says whether there may be more. A part may be empty.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, Aborted>;
}

/// Sends what is made step by step.
pub(crate) struct Stepped<S>(Rc<RefCell<State<S>>>);

struct State<S> {
    /// Nothing while a helper thread has it, and after the last step.
    steps: Option<S>,
    current: Bytes,
    next: Option<Bytes>,
    ended: bool,
    failed: Option<Aborted>,
}

impl<S: Steps> Stepped<S> {
    pub(crate) fn new(steps: S) -> Self {
        let (current, next) = (Bytes::new(), None);
        let state = State { steps: Some(steps), current, next, ended: false, failed: None };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Has the next step made, if nobody is at it.
    fn start(&self, state: &mut State<S>, pull: &Pull<'_>) {
        let Some(mut steps) = state.steps.take() else { return };
        let (state, waker) = (self.0.clone(), pull.waker());
        pull.handle().run(
            move || {
                let mut out = Vec::with_capacity(STEP_BYTES);
                let more = steps.step(&mut out)?;
                Ok((more.then_some(steps), out))
            },
            move |made| {
                let mut state = state.borrow_mut();
                match made.unwrap_or_else(|lost| Err(Aborted::new(lost.to_string()))) {
                    Ok((steps, out)) => {
                        state.ended = steps.is_none();
                        state.steps = steps;
                        state.next = Some(out.into());
                    }
                    Err(why) => state.failed = Some(why),
                }
                waker.wake();
            },
        );
    }
}

impl<S: Steps> Producer for Stepped<S> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut state = self.0.borrow_mut();
        loop {
            if state.next.is_none() {
                self.start(&mut state, pull);
            }
            if !state.current.is_empty() {
                let n = room.min(state.current.len());
                return Ok(Piece::Bytes(state.current.split_to(n)));
            }
            if let Some(next) = state.next.take() {
                state.current = next;
            } else if state.ended {
                return Ok(Piece::End);
            } else if let Some(why) = &state.failed {
                return Err(why.clone());
            } else {
                return Ok(Piece::Pending);
            }
        }
    }
}

/// Reads a file piece by piece, wherever its content is.
pub(crate) struct Reading {
    file: OpenFile,
    offset: u64,
    end: u64,
}

impl Reading {
    /// Reads the bytes `offset..end`, or those that there are.
    pub(crate) fn new(file: OpenFile, offset: u64, end: u64) -> Self {
        let end = end.min(file.metadata.size);
        Self { file, offset: offset.min(end), end }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.offset
    }

    /// Reads the next piece into `buffer`; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Aborted> {
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buffer.len());
        let n = match &self.file.content {
            Content::Memory(bytes) => {
                let from = self.offset as usize;
                buffer[..most].copy_from_slice(&bytes[from..from + most]);
                most
            }
            Content::Disk(file) => {
                use std::os::unix::fs::FileExt;
                let n = file.read_at(&mut buffer[..most], self.offset);
                n.map_err(|e| Aborted::new(format!("the file cannot be read: {e}")))?
            }
        };
        if n == 0 && most > 0 {
            return Err(Aborted::new("the file has become shorter"));
        }
        self.offset += n as u64;
        Ok(n)
    }
}

/// Sends a file in type A.
pub(crate) struct Converted {
    reading: Reading,
    converter: ToWire,
    /// Bytes of the converted file that the client has already (RFC 3659, section 5.3).
    skip: u64,
}

impl Converted {
    pub(crate) fn new(file: OpenFile, skip: u64) -> Self {
        let end = file.metadata.size;
        Self { reading: Reading::new(file, 0, end), converter: ToWire::default(), skip }
    }
}

impl Steps for Converted {
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, Aborted> {
        let mut buffer = vec![0; STEP_BYTES / 2];
        let n = self.reading.read(&mut buffer)?;
        self.converter.convert(&buffer[..n], out);
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(out.len());
        out.drain(..skipped);
        self.skip -= skipped as u64;
        Ok(self.reading.left() > 0)
    }
}
