//! Access log lines on their way to standard error, without ever blocking the loop.
//!
//! The one design choice: the loop fills a buffer, and a thread of its own writes it out when it
//! is large or has waited a moment. If that thread cannot keep up, whole buffers are dropped and
//! counted, so memory stays bounded and requests never wait for a slow disk or a paused terminal.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_core::Handle;
use medusa_http::access_log::AccessLog;

/// Bytes gathered before they are handed over.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that wait to be written; further ones are dropped.
const BUFFERS: usize = 32;
/// How long a line waits at most before it is handed over.
const PATIENCE: Duration = Duration::from_millis(100);

/// Gathers lines and hands them to a writing thread.
pub(crate) struct Lines(Rc<Inner>);

struct Inner {
    handle: Handle,
    buffer: RefCell<Vec<u8>>,
    /// A timer will hand over what is in the buffer.
    timed: Cell<bool>,
    dropped: Cell<u64>,
    out: RefCell<Option<SyncSender<Vec<u8>>>>,
    writer: Cell<Option<JoinHandle<()>>>,
}

impl Lines {
    /// Starts the writing thread.
    pub(crate) fn new(handle: &Handle, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(BUFFERS);
        let writer = std::thread::Builder::new()
            .name("medusa-log".to_owned())
            .spawn(move || write_all(&receiver, out))?;
        Ok(Self(Rc::new(Inner {
            handle: handle.clone(),
            buffer: RefCell::default(),
            timed: Cell::new(false),
            dropped: Cell::new(0),
            out: RefCell::new(Some(sender)),
            writer: Cell::new(Some(writer)),
        })))
    }

    /// Writes out what is left; for the end of the program.
    pub(crate) fn finish(&self) {
        self.0.hand_over();
        self.0.out.replace(None);
        if let Some(writer) = self.0.writer.take() {
            // It can only have panicked while writing, which it has said itself.
            let _ = writer.join();
        }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl AccessLog for Lines {
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let inner = &self.0;
        let full = {
            let mut buffer = inner.buffer.borrow_mut();
            if buffer.capacity() == 0 {
                buffer.reserve(BUFFER_BYTES + 1024);
            }
            write(&mut buffer);
            buffer.len() >= BUFFER_BYTES
        };
        if full {
            inner.hand_over();
        } else if !inner.timed.replace(true) {
            let inner = inner.clone();
            self.0.handle.timer(PATIENCE, move |_| {
                inner.timed.set(false);
                inner.hand_over();
            });
        }
    }
}

impl Inner {
    fn hand_over(&self) {
        let buffer = self.buffer.take();
        if buffer.is_empty() {
            return;
        }
        let out = self.out.borrow();
        let Some(out) = &*out else { return };
        if let Err(TrySendError::Full(lost)) = out.try_send(buffer) {
            let lines = lost.split(|&b| b == b'\n').count() as u64 - 1;
            self.dropped.set(self.dropped.get() + lines);
            tracing::warn!(
                "the log's reader is too slow: {lines} lines were dropped, {} so far",
                self.dropped.get()
            );
        }
    }
}

fn write_all(buffers: &Receiver<Vec<u8>>, mut out: impl Write) {
    while let Ok(buffer) = buffers.recv() {
        // Nobody is left to tell that the log's end is closed.
        if out.write_all(&buffer).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
