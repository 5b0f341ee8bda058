//! Listing pages on their way to clients, counted.
//!
//! A page may be large, and it is made for each request, late: the depth of a pipeline alone does
//! not bound what clients that read nothing can have made for them. So all of them together do.

use std::cell::Cell;
use std::rc::Rc;

use medusa_core::producer::Once;
use medusa_core::{Aborted, Piece, Producer, Pull};

/// Counts the bytes of pages in memory.
pub(crate) struct Pages {
    held: Rc<Cell<usize>>,
    room: usize,
}

/// A page; its bytes count until it is dropped, sent or not.
pub(crate) struct Page {
    content: Once,
    bytes: usize,
    held: Rc<Cell<usize>>,
}

impl Pages {
    /// Allows pages of so many bytes in all; one alone may be larger.
    pub(crate) fn new(room: usize) -> Self {
        Self { held: Rc::default(), room }
    }

    /// Lets a page in, if there is room.
    pub(crate) fn admit(&self, page: Vec<u8>) -> Option<Page> {
        let (held, bytes) = (self.held.get(), page.len());
        if held > 0 && held + bytes > self.room {
            return None;
        }
        self.held.set(held + bytes);
        Some(Page { content: Once::new(page), bytes, held: self.held.clone() })
    }
}

impl Producer for Page {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        self.content.produce(room, pull)
    }

    fn remaining(&self) -> Option<u64> {
        self.content.remaining()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes);
    }
}
