//! Output that helper threads make step by step, as the peer takes it: listings, archives, files
//! that are converted.
//!
//! The one design choice: whatever makes the output travels to a helper thread for each step and
//! comes back with what it made. So it needs no lock, one that nobody wants any more is dropped
//! between two steps, and at most two steps are in memory: the one that is being sent, and the
//! next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use super::{Aborted, FileRange, Piece, Producer, Pull};
use crate::handle::JobLost;

/// Makes output, step by step.
pub trait Steps: Send + 'static {
    /// Makes the next part of the output; may block. A step without any content is followed by the
    /// next one as soon as the peer wants more. What a step may hold is the maker's to bound.
    fn step(&mut self) -> Result<Step, Aborted>;
}

/// What one step made.
#[derive(Debug, Default)]
pub struct Step {
    /// What was made, in order.
    pub parts: VecDeque<Part>,
    /// Nothing comes behind it.
    pub ended: bool,
}

/// Content of a step; never empty.
#[derive(Debug)]
pub enum Part {
    /// Bytes.
    Bytes(Bytes),
    /// A range of a file.
    File(FileRange),
}

impl Step {
    /// Adds bytes, if there are any.
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.parts.push_back(Part::Bytes(bytes));
        }
    }

    /// Bytes of its content.
    pub fn bytes(&self) -> u64 {
        let len = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(range) => range.len,
        };
        self.parts.iter().map(len).sum()
    }
}

/// Sends what is made step by step.
pub struct Stepped<S>(Rc<RefCell<State<S>>>);

struct State<S> {
    /// Nothing while a helper thread has it, and when the last step was made.
    steps: Option<S>,
    current: Step,
    next: Option<Step>,
    failed: Option<Aborted>,
}

impl<S: Steps> Stepped<S> {
    /// Sends what `steps` makes.
    pub fn new(steps: S) -> Self {
        Self::after(Step::default(), steps)
    }

    /// Sends the step `first`, and then what `steps` makes.
    pub fn after(first: Step, steps: S) -> Self {
        let steps = (!first.ended).then_some(steps);
        let state = State { steps, current: first, next: None, failed: None };
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
    /// Ends the output before its end. Whoever sends it hears only that it happened.
    fn fail(&mut self, why: Aborted) {
        tracing::warn!("output breaks off: {why}");
        self.failed = Some(why);
    }
}

impl<S> fmt::Debug for Stepped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepped").finish_non_exhaustive()
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
        state.current.ended.then(|| state.current.bytes())
    }
}
