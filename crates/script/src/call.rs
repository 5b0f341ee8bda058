//! Calls of scripts, as whoever makes them sees them: begun, running, ended; and the answers that
//! scripts wait for.

use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::error::ScriptError;
use crate::interpreter::Interpreter;
use crate::tasks::{Answer, Tasks};
use crate::value::Value;

/// How a script ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it returned, or why it did not.
    pub result: Result<Vec<Value>, ScriptError>,
    /// What it printed.
    pub output: Bytes,
    /// How long it ran, waiting not counted.
    pub ran: Duration,
}

impl Outcome {
    pub(crate) fn refused(error: ScriptError) -> Self {
        Self { result: Err(error), output: Bytes::new(), ran: Duration::ZERO }
    }
}

/// A call that has begun.
pub enum Begun {
    /// It has come to its end already.
    Ended(Outcome),
    /// It goes on when the loop comes round.
    Running(Running),
}

impl Begun {
    /// Has `then` hear how it ends: at once, if it has ended.
    pub fn then(self, then: impl FnOnce(Outcome) + 'static) -> Option<Running> {
        match self {
            Self::Ended(outcome) => {
                then(outcome);
                None
            }
            Self::Running(running) => {
                running.then(then);
                Some(running)
            }
        }
    }
}

/// A script that goes on. Dropped, the script goes on all the same.
#[derive(Clone)]
pub struct Running {
    of: Weak<Interpreter>,
    id: u64,
}

impl Running {
    pub(crate) fn new(of: &Rc<Interpreter>, id: u64) -> Self {
        Self { of: Rc::downgrade(of), id }
    }

    /// Has `then` hear how it ends.
    pub fn then(&self, then: impl FnOnce(Outcome) + 'static) {
        if let Some(of) = self.of.upgrade() {
            of.tasks.add_then(self.id, Box::new(then));
        }
    }

    /// Ends it where it stands; whoever waits hears [`ScriptError::Cancelled`]. Nothing of it
    /// runs any more.
    pub fn cancel(&self) {
        if let Some(of) = self.of.upgrade() {
            Tasks::end_early(&of, self.id, ScriptError::Cancelled);
        }
    }

    /// Runs it on here and now, nobody else having a turn, until it has ended or waits for
    /// something. For a program whose loop does not run yet.
    pub fn run_on(&self) {
        if let Some(of) = self.of.upgrade() {
            Tasks::run_on(&of, self.id);
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.of.upgrade().is_some_and(|of| of.tasks.has(self.id))
    }
}

/// Answers a script that waits. Dropped, the script gets an error.
pub struct Later {
    of: Weak<Interpreter>,
    task: u64,
    token: u64,
}

impl Later {
    pub(crate) fn new(of: &Rc<Interpreter>, task: u64, token: u64) -> Self {
        Self { of: Rc::downgrade(of), task, token }
    }

    /// Lets the script go on with these results, or with an error of this text. Nothing happens if
    /// it is gone.
    pub fn answer(mut self, answer: Result<Vec<Value>, String>) {
        self.send(answer);
    }

    /// Has `run` called when the script has ended, however it did.
    pub fn at_end(&self, run: impl FnOnce() + 'static) {
        if let Some(of) = self.of.upgrade() {
            of.tasks.at_end(self.task, Box::new(run));
        }
    }

    /// Gives the script its whole budget of instructions, running time and output again, for one
    /// that serves somebody for as long as they stay. Gives what it has printed since.
    pub fn renew(&self) -> Bytes {
        self.of.upgrade().map_or_else(Bytes::new, |of| of.tasks.renew(self.task).into())
    }

    /// Whether the script is still there.
    pub fn is_wanted(&self) -> bool {
        self.of.upgrade().is_some_and(|of| of.tasks.has(self.task))
    }

    fn send(&mut self, answer: Answer) {
        if self.token == 0 {
            return;
        }
        let token = std::mem::take(&mut self.token);
        if let Some(of) = self.of.upgrade() {
            Tasks::arrived(&of, self.task, token, answer);
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.send(Err("the server gave no answer".to_owned()));
    }
}
