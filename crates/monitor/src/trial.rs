//! Changes that are tried: undone by themselves unless somebody confirms them.

use std::time::{Duration, Instant};

use medusa_core::handle::TimerId;
use medusa_core::inspect::Undo;

use crate::limits::TRIED_CHANGES;

/// The trial of a session; there is one at a time.
#[derive(Default)]
pub(crate) struct Trial {
    /// Counts trials, so that an action that ends late finds out that its trial is over.
    number: u64,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    /// Changes are being made.
    Open(Vec<Undo>),
    /// They wait to be confirmed.
    Armed { changes: Vec<Undo>, timer: TimerId, until: Instant },
}

impl Trial {
    /// Begins one.
    pub(crate) fn begin(&mut self) -> Result<(), String> {
        match self.state {
            State::None => {
                self.number += 1;
                self.state = State::Open(Vec::new());
                Ok(())
            }
            State::Open(_) => Err("there can be no try inside of a try".to_owned()),
            State::Armed { .. } => {
                Err("the changes of the last try wait for you: confirm() or undo() first"
                    .to_owned())
            }
        }
    }

    /// The number of the trial in which changes are being made.
    pub(crate) fn open(&self) -> Option<u64> {
        matches!(self.state, State::Open(_)).then_some(self.number)
    }

    /// Whether another change can be undone.
    pub(crate) fn has_room(&self) -> bool {
        !matches!(&self.state, State::Open(changes) if changes.len() >= TRIED_CHANGES)
    }

    /// Adds a change to this trial; gives it back when that is over.
    pub(crate) fn add(&mut self, number: u64, change: Undo) -> Option<Undo> {
        match &mut self.state {
            State::Open(changes) if number == self.number => {
                changes.push(change);
                None
            }
            _ => Some(change),
        }
    }

    /// Has the changes wait for so long; `arm` sets a timer. Says how many there are.
    pub(crate) fn arm(
        &mut self,
        now: Instant,
        within: Duration,
        arm: impl FnOnce() -> TimerId,
    ) -> Result<usize, String> {
        let State::Open(changes) = std::mem::take(&mut self.state) else {
            return Err("there is no try that has begun".to_owned());
        };
        let count = changes.len();
        if count > 0 {
            self.state = State::Armed { changes, timer: arm(), until: now + within };
        }
        Ok(count)
    }

    /// Keeps what waits: gives the number of changes and the timer to be cancelled.
    pub(crate) fn confirm(&mut self) -> Option<(usize, TimerId)> {
        match std::mem::take(&mut self.state) {
            State::Armed { changes, timer, .. } => Some((changes.len(), timer)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Takes the changes that wait, with their timer, to be undone.
    pub(crate) fn take_armed(&mut self) -> Option<(Vec<Undo>, TimerId)> {
        match std::mem::take(&mut self.state) {
            State::Armed { changes, timer, .. } => Some((changes, timer)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Takes the changes of a trial whose statement has ended before it was armed.
    pub(crate) fn take_open(&mut self) -> Option<Vec<Undo>> {
        match std::mem::take(&mut self.state) {
            State::Open(changes) => Some(changes),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Changes that wait to be confirmed, and until when.
    pub(crate) fn armed(&self) -> Option<(usize, Instant)> {
        match &self.state {
            State::Armed { changes, until, .. } => Some((changes.len(), *until)),
            _ => None,
        }
    }
}

/// Undoes changes, the last one first; says what came of it.
pub(crate) fn undo_all(changes: Vec<Undo>) -> String {
    let count = changes.len();
    let failed: Vec<String> =
        changes.into_iter().rev().filter_map(|change| change.run().err()).collect();
    let told = if count == 1 { "1 change".to_owned() } else { format!("{count} changes") };
    if failed.is_empty() {
        format!("{told} undone")
    } else {
        format!("{} of {told} cannot be undone: {}", failed.len(), failed.join("; "))
    }
}
