//! The decision of an extension that must think before the walk goes on: pass, or answer.
//!
//! The one design choice: nothing of the connection behind an undecided request is read, so the
//! request needs no place in the output queue, and what follows the decision is the same code as
//! if it had been made at once.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use medusa_core::Waker;

use crate::reply::Reply;

/// What was decided.
pub(crate) enum Verdict {
    Pass,
    PassAs(Box<[u8]>),
    Again,
    Reply(Reply),
}

/// A decision that is awaited; whoever waits for it holds this.
pub(crate) struct Awaited {
    verdict: RefCell<Option<Verdict>>,
    waker: Waker,
}

impl Awaited {
    pub(crate) fn new(waker: Waker) -> Rc<Self> {
        Rc::new(Self { verdict: RefCell::default(), waker })
    }

    /// Takes the decision, if it is made.
    pub(crate) fn take(&self) -> Option<Verdict> {
        self.verdict.take()
    }

    fn decide(&self, verdict: Verdict) {
        self.verdict.replace(Some(verdict));
        self.waker.wake();
    }
}

/// Decides on one request, later: whether the walk through the extensions goes on behind the one
/// that took this, or ends here. Dropped without a decision, the client gets 500.
pub struct Decision(Weak<Awaited>);

impl Decision {
    pub(crate) fn new(awaited: &Rc<Awaited>) -> Self {
        Self(Rc::downgrade(awaited))
    }

    /// Lets the next extension that matches have the request.
    pub fn pass(self) {
        self.decide(Verdict::Pass);
    }

    /// The same with this head in place of the client's; see
    /// [`Handled::PassAs`](crate::Handled::PassAs).
    pub fn pass_as(self, head: Box<[u8]>) {
        self.decide(Verdict::PassAs(head));
    }

    /// Has the extension that took this asked once more, now that it knows what it had to learn. At
    /// most [`MAX_REWRITES`](crate::limits::MAX_REWRITES) times in one request.
    pub fn ask_again(self) {
        self.decide(Verdict::Again);
    }

    /// Answers; no further extension is asked.
    pub fn reply(self, reply: Reply) {
        self.decide(Verdict::Reply(reply));
    }

    /// Whether the decision is still wanted: not so when the client has gone.
    pub fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }

    fn decide(&self, verdict: Verdict) {
        if let Some(awaited) = self.0.upgrade() {
            awaited.decide(verdict);
        }
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        let Some(awaited) = self.0.upgrade() else { return };
        if awaited.verdict.borrow().is_none() {
            tracing::error!("an extension dropped a request without deciding on it");
            awaited.decide(Verdict::Reply(Reply::failed()));
        }
    }
}
