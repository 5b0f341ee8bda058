//! The loop's wake-up handle: how other threads reach it.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::handle::{Handle, JobLost};
use crate::limits::REMOTE_QUEUE;

/// Reaches the loop from another thread.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    queue: Mutex<VecDeque<Message>>,
    waker: mio::Waker,
}

/// What comes from another thread.
pub(crate) enum Message {
    /// A job has ended. There are never more of these than jobs, which are bounded themselves.
    Done(u64, Result<Box<dyn Any + Send>, JobLost>),
    /// Something to run on the loop's thread.
    Call(Box<dyn FnOnce(&Handle) + Send>),
}

/// [`REMOTE_QUEUE`] messages are waiting: the loop does not come round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFull;

impl fmt::Display for RemoteFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many messages are waiting for the loop")
    }
}

impl std::error::Error for RemoteFull {}

impl Remote {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self(Arc::new(Inner { queue: Mutex::default(), waker }))
    }

    /// Runs `call` on the loop's thread, soon.
    pub fn call(&self, call: impl FnOnce(&Handle) + Send + 'static) -> Result<(), RemoteFull> {
        {
            let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.len() >= REMOTE_QUEUE {
                return Err(RemoteFull);
            }
        }
        self.push(Message::Call(Box::new(call)));
        Ok(())
    }

    pub(crate) fn push(&self, message: Message) {
        let first = {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(message);
            queue.len() == 1
        };
        if first && let Err(e) = self.0.waker.wake() {
            tracing::error!("cannot wake the loop: {e}");
        }
    }

    /// All messages that have come.
    pub(crate) fn take(&self) -> VecDeque<Message> {
        std::mem::take(&mut *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
