//! Bodies that helper threads make, step by step, as the client takes them.
//!
//! The one design choice: whatever makes the body travels to a helper thread for each step and
//! comes back with what it made. So it needs no lock, one that nobody wants any more is dropped
//! between two steps, and at most two steps are in memory: the one that is being sent, and the
//! next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::handle::JobLost;
use medusa_core::{Aborted, FileRange, Piece, Producer, Pull};

use crate::files::budget::Share;

/// Makes a body, step by step.
pub(crate) trait Steps: Send + 'static {
    /// Makes the next part of the body; may block. A step without any content is asked for the
    /// next one as soon as the client wants more.
    fn step(&mut self) -> Result<Step, Aborted>;
}

/// What one step made.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) parts: VecDeque<Part>,
    /// Nothing comes behind it.
    pub(crate) ended: bool,
}

/// Content of a body; never empty.
#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    File(FileRange),
}

impl Step {
    /// Adds bytes, if there are any.
    pub(crate) fn push(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.parts.push_back(Part::Bytes(bytes));
        }
    }

    /// Bytes of its content.
    pub(crate) fn len(&self) -> u64 {
        let len = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(range) => range.len,
        };
        self.parts.iter().map(len).sum()
    }
}

/// Sends what is made step by step.
pub(crate) struct Stepped<S>(Rc<RefCell<State<S>>>);

struct State<S> {
    /// Nothing while a helper thread has it, and when the last step was made.
    steps: Option<S>,
    current: Step,
    next: Option<Step>,
    failed: Option<Aborted>,
    _share: Share,
}

impl<S: Steps> Stepped<S> {
    /// Sends the step `first`, and then what `steps` makes. The share is held as long as this is.
    pub(crate) fn new(steps: S, first: Step, share: Share) -> Self {
        let steps = (!first.ended).then_some(steps);
        let state = State { steps, current: first, next: None, failed: None, _share: share };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Has the next step made, if nobody is at it.
    fn start(&self, state: &mut State<S>, pull: &Pull<'_>) {
        let Some(mut steps) = state.steps.take() else { return };
        let (state, waker) = (self.0.clone(), pull.waker());
        pull.handle().run(
            move || {
                let step = steps.step()?;
                Ok(((!step.ended).then_some(steps), step))
            },
            move |made: Result<Result<_, Aborted>, JobLost>| {
                let mut state = state.borrow_mut();
                match made {
                    Ok(Ok((steps, step))) => {
                        state.steps = steps;
                        state.next = Some(step);
                    }
                    Ok(Err(why)) => state.fail(why),
                    Err(lost) => state.fail(Aborted::new(lost.to_string())),
                }
                waker.wake();
            },
        );
    }
}

impl<S> State<S> {
    /// Ends the body before its end. The access log says only that it happened.
    fn fail(&mut self, why: Aborted) {
        tracing::warn!("a body breaks off: {why}");
        self.failed = Some(why);
    }
}

impl<S: Steps> Producer for Stepped<S> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut state = self.0.borrow_mut();
        loop {
            if state.next.is_none() {
                self.start(&mut state, pull);
            }
            if let Some(part) = state.current.parts.front_mut() {
                if let Part::Bytes(bytes) = part
                    && bytes.len() > room
                {
                    return Ok(Piece::Bytes(bytes.split_to(room)));
                }
                match state.current.parts.pop_front() {
                    Some(Part::Bytes(bytes)) => return Ok(Piece::Bytes(bytes)),
                    Some(Part::File(range)) => return Ok(Piece::File(range)),
                    None => {}
                }
            }
            if let Some(next) = state.next.take() {
                state.current = next;
            } else if state.current.ended {
                return Ok(Piece::End);
            } else if let Some(why) = &state.failed {
                return Err(why.clone());
            } else {
                return Ok(Piece::Pending);
            }
        }
    }

    /// Known once the last step is made and its turn has come.
    fn remaining(&self) -> Option<u64> {
        let state = self.0.borrow();
        state.current.ended.then(|| state.current.len())
    }
}
