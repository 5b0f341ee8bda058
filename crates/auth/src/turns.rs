//! Turns: of work that is slow and takes much memory, only a few pieces run at once on helper
//! threads; others wait in a queue that has an end.
//!
//! The one design choice: whoever finds the queue full is told at once, for a client that hears
//! "try again" is better off than one that hears nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use medusa_core::Handle;
use medusa_core::handle::JobLost;

/// Checks of passwords that run at once; each takes about 20 MiB.
pub(crate) const CHECKS_AT_ONCE: usize = 2;

/// Checks that wait for those; further ones are told to come back.
pub(crate) const CHECKS_WAITING: usize = 128;

type Start = Box<dyn FnOnce(&Handle)>;

/// Lets [`CHECKS_AT_ONCE`] checks run at once, and [`CHECKS_WAITING`] wait.
#[derive(Clone, Default)]
pub(crate) struct Turns(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Start>,
    running: usize,
}

impl Turns {
    /// Whether nobody can be taken into the queue.
    pub(crate) fn is_full(&self) -> bool {
        self.0.borrow().waiting.len() >= CHECKS_WAITING
    }

    /// Runs `work` on a helper thread when it is its turn, then `then`. Whoever does not ask
    /// [`Turns::is_full`] before makes the queue longer.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        handle: &Handle,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(Result<T, JobLost>) + 'static,
    ) {
        let turns = self.clone();
        let start: Start = Box::new(move |handle| {
            let again = handle.clone();
            handle.run(work, move |done| {
                turns.0.borrow_mut().running -= 1;
                then(done);
                turns.start(&again);
            });
        });
        self.0.borrow_mut().waiting.push_back(start);
        self.start(handle);
    }

    /// Starts work that waits, as far as there may be more at once.
    fn start(&self, handle: &Handle) {
        loop {
            let mut state = self.0.borrow_mut();
            if state.running >= CHECKS_AT_ONCE {
                return;
            }
            let Some(start) = state.waiting.pop_front() else { return };
            state.running += 1;
            drop(state);
            start(handle);
        }
    }
}
