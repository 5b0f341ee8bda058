//! What waits to be sent to a client, from whatever runs on the loop.

use std::cell::{Cell, RefCell};

use medusa_core::{Context, Waker};

use crate::wire::FromServer;

/// Lines for one connection.
pub(crate) struct Outbox {
    lines: RefCell<Vec<u8>>,
    /// Bytes that the connection has and the client has not taken.
    queued: Cell<usize>,
    waker: Waker,
}

impl Outbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { lines: RefCell::default(), queued: Cell::new(0), waker }
    }

    /// Adds a line.
    pub(crate) fn push(&self, message: &FromServer) {
        message.write(&mut self.lines.borrow_mut());
        self.waker.wake();
    }

    /// The connection.
    pub(crate) fn channel(&self) -> medusa_core::ChannelId {
        self.waker.channel()
    }

    /// Gives the connection what waits.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) {
        let lines = self.lines.take();
        if !lines.is_empty() {
            cx.send_bytes(lines.into());
            cx.mark(0);
        }
        self.sent(cx);
    }

    /// The client has taken something.
    pub(crate) fn sent(&self, cx: &Context<'_>) {
        self.queued.set(cx.queued());
    }

    /// Bytes that wait for the client.
    pub(crate) fn waiting(&self) -> usize {
        self.lines.borrow().len() + self.queued.get()
    }
}
