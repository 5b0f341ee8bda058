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
use std::time::Duration;

use medusa_core::Handle;
use medusa_http::access_log::AccessLog;

/// Bytes gathered before they are handed over.
const BUFFER_BYTES: usize = 128 * 1024;
/// Buffers that wait to be written; further ones are dropped.
const BUFFERS: usize = 16;
/// How long a line waits at most before it is handed over.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the end of the program waits for the last lines to be written.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Gathers lines and hands them to a writing thread.
pub(crate) struct Lines(Rc<Inner>);

struct Inner {
    handle: Handle,
    buffer: RefCell<Vec<u8>>,
    /// A timer will hand over what is in the buffer.
    timed: Cell<bool>,
    /// Lines that were dropped and not yet told of.
    dropped: Cell<u64>,
    shared: Arc<Shared>,
}

/// What the loop and the writing thread pass to each other.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    handed_over: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    full: VecDeque<Vec<u8>>,
    /// A buffer that was written out, to be filled again: the caches still know it.
    spare: Option<Vec<u8>>,
    closed: bool,
    /// The writing thread has written everything and ended.
    ended: bool,
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
        std::thread::Builder::new().name("medusa-log".to_owned()).spawn({
            let shared = shared.clone();
            move || write_all(&shared, out)
        })?;
        Ok(Self(Rc::new(Inner {
            handle: handle.clone(),
            buffer: RefCell::default(),
            timed: Cell::new(false),
            dropped: Cell::new(0),
            shared,
        })))
    }

    /// Writes out what is left, for the end of the program. Gives up after [`LAST_WAIT`]: nobody
    /// may be reading.
    pub(crate) fn finish(&self) {
        self.0.hand_over();
        let shared = &self.0.shared;
        let mut state = shared.lock();
        state.closed = true;
        shared.handed_over.notify_one();
        // What a panicked thread leaves behind is no worse than a thread that is stuck.
        drop(shared.ended.wait_timeout_while(state, LAST_WAIT, |state| !state.ended));
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
            self.tell_of_dropped();
            return;
        }
        drop(state);
        // Not said by a diagnostic: that would wait for the very reader that is too slow.
        let lines = buffer.split(|&b| b == b'\n').count() as u64 - 1;
        self.dropped.set(self.dropped.get() + lines);
        let mut buffer = buffer;
        buffer.clear();
        self.buffer.replace(buffer);
    }

    /// Begins a buffer with how many lines are missing before it.
    fn tell_of_dropped(&self) {
        let dropped = self.dropped.take();
        if dropped > 0 {
            writeln!(
                self.buffer.borrow_mut(),
                "medusa: {dropped} lines of the access log were dropped: its reader is too slow"
            )
            .expect("a vector takes everything");
        }
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
            state.ended = true;
            shared.ended.notify_one();
            return;
        } else {
            state = shared.handed_over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use medusa_core::{Reactor, Settings};

    use super::*;

    /// Takes nothing before it is told to, then hands everything on.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An end of the sender lets it go on.
            let _ = self.0.recv();
            // The test may have ended.
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_stopped_the_loop_and_its_end() {
        let reactor = Reactor::new(Settings::default()).expect("a loop");
        let ((go, gate), (said, heard)) = (channel(), channel());
        let lines = Lines::new(reactor.handle(), Slow(gate, said)).expect("a thread");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..2 * BUFFERS * BUFFER_BYTES / line.len() {
            lines.line(&mut |out| out.extend_from_slice(&line));
        }
        lines.finish();
        // Now somebody reads: what was kept comes, and no more than that.
        drop(go);
        let kept: usize = heard.iter().map(|part: Vec<u8>| part.len()).sum();
        let most = (BUFFERS + 2) * (BUFFER_BYTES + line.len());
        assert!((BUFFERS * BUFFER_BYTES..=most).contains(&kept), "{kept} bytes");
    }
}
