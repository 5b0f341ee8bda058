//! Lines that the loop writes: gathered, and handed over when they are many or have waited.
//!
//! The one design choice: a line costs the loop a copy and no system call. The writing thread is
//! woken once for a full buffer, or after [`PATIENCE`].

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_core::Handle;

use crate::limits::{BUFFER_BYTES, PATIENCE};
use crate::queue::Queue;

/// Gathers lines for one destination. When the last clone of its `Rc` is dropped, what was
/// gathered is still written.
pub struct Lines {
    handle: Handle,
    buffer: RefCell<Vec<u8>>,
    /// A timer will hand over what is in the buffer.
    timed: Cell<bool>,
    queue: Arc<Queue>,
    /// For the timer, which must not keep a log open.
    itself: Weak<Lines>,
}

impl Lines {
    pub(crate) fn new(handle: &Handle, queue: Arc<Queue>) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            handle: handle.clone(),
            buffer: RefCell::default(),
            timed: Cell::new(false),
            queue,
            itself: itself.clone(),
        })
    }

    /// Lets `write` append whole lines, each with its line feed, to a buffer that is written out
    /// later. Never blocks.
    pub fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let full = {
            let mut buffer = self.buffer.borrow_mut();
            if buffer.capacity() == 0 {
                buffer.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
            }
            write(&mut buffer);
            buffer.len() >= BUFFER_BYTES
        };
        if full {
            self.hand_over();
        } else if !self.timed.replace(true) {
            let lines = self.itself.clone();
            self.handle.timer(PATIENCE, move |_| {
                if let Some(lines) = lines.upgrade() {
                    lines.timed.set(false);
                    lines.hand_over();
                }
            });
        }
    }

    /// Hands over what has been gathered.
    pub(crate) fn hand_over(&self) {
        if !self.buffer.borrow().is_empty() {
            let empty = self.queue.hand_over(self.buffer.take());
            self.buffer.replace(empty);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.hand_over();
        self.queue.close_unless_shared();
    }
}
