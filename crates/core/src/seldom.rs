//! Says in the log, at most once a second, what may happen a thousand times.
//!
//! The one design choice: the first time is told at once, and the last is told too, by a timer:
//! so the numbers in the log add up.

use std::cell::Cell;
use std::rc::Rc;

use crate::address::Peer;
use crate::handle::Handle;
use crate::limits::SELDOM;

/// Something that happens to peers and is worth a line, but not one each time.
pub struct Seldom {
    /// Writes the line: how often it happened, and to whom last.
    say: fn(u64, Peer),
    /// What happened since the last line, while there is a timer.
    untold: Cell<Option<(u64, Peer)>>,
    waits: Cell<bool>,
}

impl Seldom {
    /// Makes one whose lines `say` writes: how often it happened since the last line, and to whom
    /// last.
    pub fn new(say: fn(u64, Peer)) -> Rc<Self> {
        Rc::new(Self { say, untold: Cell::new(None), waits: Cell::new(false) })
    }

    /// It happened.
    pub fn note(self: &Rc<Self>, peer: Peer, handle: &Handle) {
        if self.waits.get() {
            let before = self.untold.get().map_or(0, |(times, _)| times);
            self.untold.set(Some((before + 1, peer)));
        } else {
            self.tell(1, peer, handle);
        }
    }

    fn tell(self: &Rc<Self>, times: u64, peer: Peer, handle: &Handle) {
        (self.say)(times, peer);
        self.waits.set(true);
        let this = self.clone();
        handle.timer(SELDOM, move |handle| {
            this.waits.set(false);
            if let Some((times, peer)) = this.untold.take() {
                this.tell(times, peer, handle);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::testing::Harness;

    thread_local! {
        static SAID: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn what_happens_often_is_said_once_a_second_and_adds_up() {
        let mut h = Harness::new();
        let seldom = Seldom::new(|times, _| SAID.with_borrow_mut(|said| said.push(times)));
        for _ in 0..5 {
            for _ in 0..1000 {
                seldom.note(Peer::Unknown, &h.handle());
            }
            h.advance(Duration::from_millis(500));
        }
        h.advance(Duration::from_secs(5));
        assert_eq!(SAID.with_borrow(Clone::clone), [1, 2999, 2000]);
        assert_eq!(h.next_due(), None, "nothing is left behind");
        seldom.note(Peer::Unknown, &h.handle());
        assert_eq!(SAID.with_borrow(Vec::len), 4);
    }
}
