//! A place in the output queue whose content comes later; what stands behind it waits, so that
//! order is kept.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Aborted, Piece, Producer, Pull};
use crate::handle::Waker;

/// Makes a promise and the producer that stands in its place.
pub fn promise() -> (Promise, PromiseProducer) {
    let state = Rc::new(RefCell::new(State { content: Content::Awaited, waker: None }));
    (Promise(state.clone()), PromiseProducer(state))
}

/// The side that keeps the promise. Dropped unkept, the output is aborted.
pub struct Promise(Rc<RefCell<State>>);

/// The side that stands in the output queue.
pub struct PromiseProducer(Rc<RefCell<State>>);

struct State {
    content: Content,
    waker: Option<Waker>,
}

enum Content {
    Awaited,
    Kept(Box<dyn Producer>),
    Broken(Aborted),
    /// The output queue is gone.
    Gone,
}

impl Promise {
    /// Keeps the promise with what `content` produces.
    pub fn keep(self, content: impl Producer + 'static) {
        self.set(Content::Kept(Box::new(content)));
    }

    /// Breaks the promise: the output is aborted.
    pub fn abort(self, why: Aborted) {
        self.set(Content::Broken(why));
    }

    /// Whether anybody still waits for it.
    pub fn is_wanted(&self) -> bool {
        !matches!(self.0.borrow().content, Content::Gone)
    }

    fn set(&self, content: Content) {
        let mut state = self.0.borrow_mut();
        if matches!(state.content, Content::Awaited) {
            state.content = content;
            if let Some(waker) = &state.waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.set(Content::Broken(Aborted::new("a promise was not kept")));
    }
}

impl Producer for PromiseProducer {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut state = self.0.borrow_mut();
        match &mut state.content {
            Content::Kept(content) => content.produce(room, pull),
            Content::Broken(why) => Err(why.clone()),
            Content::Awaited | Content::Gone => {
                if state.waker.is_none() {
                    state.waker = Some(pull.waker());
                }
                Ok(Piece::Pending)
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        match &self.0.borrow().content {
            Content::Kept(content) => content.remaining(),
            _ => None,
        }
    }
}

impl Drop for PromiseProducer {
    fn drop(&mut self) {
        // Taken out first: what is dropped with it may look at this promise.
        let content = std::mem::replace(&mut self.0.borrow_mut().content, Content::Gone);
        drop(content);
    }
}
