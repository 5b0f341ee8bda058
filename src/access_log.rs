//! Access log lines on their way to standard error, without ever blocking the loop.
//!
//! The one design choice: the loop fills a buffer, and a thread of its own writes it out when it
//! is large or has waited a moment. If that thread cannot keep up, whole buffers are dropped and
//! counted, so memory stays bounded and requests never wait for a slow disk or a paused terminal.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_core::Handle;
use medusa_http::access_log::AccessLog;

/// Bytes gathered before they are handed over.
const BUFFER_BYTES: usize = 128 * 1024;
/// Buffers that wait to be written; further ones are dropped.
const BUFFERS: usize = 16;
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
    shared: Arc<Shared>,
    writer: Cell<Option<JoinHandle<()>>>,
}

/// What the loop and the writing thread pass to each other.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    handed_over: Condvar,
}

#[derive(Default)]
struct State {
    full: VecDeque<Vec<u8>>,
    /// A buffer that was written out, to be filled again: the caches still know it.
    spare: Option<Vec<u8>>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Starts the writing thread.
    pub(crate) fn new(handle: &Handle, out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = std::thread::Builder::new().name("medusa-log".to_owned()).spawn({
            let shared = shared.clone();
            move || write_all(&shared, out)
        })?;
        Ok(Self(Rc::new(Inner {
            handle: handle.clone(),
            buffer: RefCell::default(),
            timed: Cell::new(false),
            dropped: Cell::new(0),
            shared,
            writer: Cell::new(Some(writer)),
        })))
    }

    /// Writes out what is left; for the end of the program.
    pub(crate) fn finish(&self) {
        self.0.hand_over();
        self.0.shared.lock().closed = true;
        self.0.shared.handed_over.notify_one();
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
                buffer.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
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
        let mut state = self.shared.lock();
        if state.full.len() < BUFFERS {
            state.full.push_back(buffer);
            if let Some(spare) = state.spare.take() {
                self.buffer.replace(spare);
            }
            drop(state);
            self.shared.handed_over.notify_one();
            return;
        }
        drop(state);
        let lines = buffer.split(|&b| b == b'\n').count() as u64 - 1;
        self.dropped.set(self.dropped.get() + lines);
        tracing::warn!(
            "the log's reader is too slow: {lines} lines were dropped, {} so far",
            self.dropped.get()
        );
    }
}

/// Writes what is handed over, until the end.
fn write_all(shared: &Shared, mut out: impl Write) {
    let mut state = shared.lock();
    loop {
        if let Some(mut buffer) = state.full.pop_front() {
            drop(state);
            // Nobody is left to tell that the log's end is closed.
            let _ = out.write_all(&buffer).and_then(|()| out.flush());
            buffer.clear();
            state = shared.lock();
            state.spare = Some(buffer);
        } else if state.closed {
            return;
        } else {
            state = shared.handed_over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
