//! Lines that the loop writes: gathered, and handed over when they are many or have waited.
//!
//! The one design choice: a line costs the loop a copy and no system call. The writing thread is
//! woken once for a full buffer, or after [`PATIENCE`]. Whoever follows a log is given the lines as
//! they come, in the same turn; while nobody does, that costs a look at an empty list.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_core::Handle;

use crate::limits::{BUFFER_BYTES, FOLLOWED_BYTES, PATIENCE};
use crate::queue::Queue;

/// Gathers lines for one destination. When the last clone of its `Rc` is dropped, what was
/// gathered is still written.
pub struct Lines {
    handle: Handle,
    buffer: RefCell<Vec<u8>>,
    /// A timer will hand over what is in the buffer.
    timed: Cell<bool>,
    queue: Arc<Queue>,
    followers: RefCell<Vec<Weak<Follower>>>,
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
            followers: RefCell::default(),
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
            let before = buffer.len();
            write(&mut buffer);
            if !self.followers.borrow().is_empty() {
                self.tell(&buffer[before..]);
            }
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

    /// Has `hear` hear each line from now on, without its line feed, for as long as what comes back
    /// lives.
    pub(crate) fn follow(&self, hear: impl Fn(&[u8]) + 'static) -> Following {
        let follower = Rc::new(Follower {
            hear: Box::new(hear),
            waiting: RefCell::default(),
            lost: Cell::default(),
        });
        self.followers.borrow_mut().push(Rc::downgrade(&follower));
        Following { lines: self.itself.clone(), follower }
    }

    /// Gives lines to those who follow: later in this turn, when nobody is in the midst of a
    /// request.
    #[cold]
    fn tell(&self, text: &[u8]) {
        for follower in self.followers.borrow().iter().filter_map(Weak::upgrade) {
            if follower.take(text) {
                self.handle.later(move |_| follower.give());
            }
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

/// Hears a line, without its line feed.
type Hear = Box<dyn Fn(&[u8])>;

/// Somebody who follows a log.
struct Follower {
    hear: Hear,
    /// Lines that were not given yet.
    waiting: RefCell<Vec<u8>>,
    lost: Cell<u64>,
}

impl Follower {
    /// Takes lines; says whether they are the first that wait. When too many wait, they are only
    /// counted.
    fn take(&self, text: &[u8]) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + text.len() > FOLLOWED_BYTES {
            self.lost.set(self.lost.get() + memchr::memchr_iter(b'\n', text).count() as u64);
            return false;
        }
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(text);
        is_first
    }

    fn give(&self) {
        let text = self.waiting.take();
        for line in text.strip_suffix(b"\n").unwrap_or(&text).split(|&byte| byte == b'\n') {
            (self.hear)(line);
        }
        let lost = self.lost.take();
        if lost > 0 {
            (self.hear)(format!("({lost} lines are left out: too many came at once)").as_bytes());
        }
    }
}

/// Follows a log until it is dropped, or until nobody writes to the log any more.
pub struct Following {
    lines: Weak<Lines>,
    follower: Rc<Follower>,
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(lines) = self.lines.upgrade() {
            let itself = Rc::as_ptr(&self.follower);
            lines.followers.borrow_mut().retain(|other| other.as_ptr() != itself);
        }
    }
}
