//! What is on its way to one destination: filled by the loop and by whoever else logs, emptied by
//! one writing thread.
//!
//! The one design choice: whoever fills never waits. What does not fit is dropped as a whole,
//! counted, and told of in the log itself, in the place where it is missing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{BUFFER_BYTES, DIAGNOSTICS_BYTES, QUEUE_BYTES};

/// Buffers full of whole lines that wait for one writing thread.
pub(crate) struct Queue {
    /// What people call the destination.
    pub(crate) name: String,
    pub(crate) figures: Figures,
    /// Lines are objects of JSON, and so is what is said of dropped ones.
    pub(crate) json: AtomicBool,
    /// Others write to it than the loop: it stays open, and its own faults are told elsewhere.
    pub(crate) is_shared: AtomicBool,
    /// Standard error, unless this is it.
    fallback: Option<Arc<Queue>>,
    state: Mutex<State>,
    /// Something happened that the writing thread waits for.
    changed: Condvar,
    /// The writing thread has written something, or has ended.
    moved: Condvar,
}

/// Running totals of one destination.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) lines: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) rotations: AtomicU64,
    /// Bytes that the file has now.
    pub(crate) size: AtomicU64,
}

#[derive(Default)]
struct State {
    full: VecDeque<Vec<u8>>,
    /// Bytes in `full`.
    waiting: usize,
    /// The writing thread has a buffer in hand.
    writing: bool,
    /// A buffer that was written out, to be filled again: the caches still know it.
    spare: Option<Vec<u8>>,
    /// Lines that were dropped behind those in `full` and are not yet told of.
    untold: u64,
    reopen: bool,
    closed: bool,
    /// The writing thread has ended.
    ended: bool,
}

/// What the writing thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Write(Vec<u8>),
    Reopen,
    /// The time that it wanted to wait has passed.
    Due,
    End,
}

/// How a pause of the writing thread ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    Over,
    Reopen,
    Closed,
}

pub(crate) fn count(figure: &AtomicU64, more: u64) {
    figure.fetch_add(more, Ordering::Relaxed);
}

/// How many lines these bytes end.
pub(crate) fn lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

impl Queue {
    pub(crate) fn new(name: String, fallback: Option<Arc<Self>>) -> Self {
        Self {
            name,
            figures: Figures::default(),
            json: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            fallback,
            state: Mutex::default(),
            changed: Condvar::new(),
            moved: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a buffer of whole lines; gives an empty one to go on with, which may have room.
    pub(crate) fn hand_over(&self, mut buffer: Vec<u8>) -> Vec<u8> {
        let mut state = self.lock();
        if state.closed || state.waiting + buffer.len() > QUEUE_BYTES.max(buffer.len()) {
            self.drop_lines(&mut state, &buffer);
            buffer.clear();
            return buffer;
        }
        self.tell_of_dropped(&mut state);
        state.waiting += buffer.len();
        state.full.push_back(buffer);
        let spare = state.spare.take().unwrap_or_default();
        drop(state);
        self.changed.notify_one();
        spare
    }

    /// Adds a diagnostic of one or more whole lines.
    pub(crate) fn append(&self, text: &[u8]) {
        let mut state = self.lock();
        if state.closed || state.waiting + text.len() > QUEUE_BYTES + DIAGNOSTICS_BYTES {
            return self.drop_lines(&mut state, text);
        }
        self.tell_of_dropped(&mut state);
        Self::push(&mut state, text);
        drop(state);
        self.changed.notify_one();
    }

    /// Adds to the last buffer if it has room, else as a buffer of its own.
    fn push(state: &mut State, text: &[u8]) {
        state.waiting += text.len();
        if let Some(last) = state.full.back_mut()
            && last.len() + text.len() <= BUFFER_BYTES
        {
            return last.extend_from_slice(text);
        }
        state.full.push_back(text.to_vec());
    }

    fn drop_lines(&self, state: &mut State, bytes: &[u8]) {
        let lines = lines(bytes);
        state.untold += lines;
        count(&self.figures.dropped, lines);
    }

    /// Says how many lines are missing behind those that wait.
    fn tell_of_dropped(&self, state: &mut State) {
        let dropped = std::mem::take(&mut state.untold);
        if dropped > 0 {
            let text = format!("{dropped} lines of the log were dropped: its reader is too slow");
            let line = if self.json.load(Ordering::Relaxed) {
                format!("{{\"medusa\":\"{text}\",\"dropped\":{dropped}}}\n")
            } else {
                format!("medusa: {text}\n")
            };
            Self::push(state, line.as_bytes());
        }
    }

    /// Says what went wrong with this destination: as a diagnostic, and on standard error if
    /// diagnostics go here.
    pub(crate) fn complain(&self, what: &str) {
        count(&self.figures.errors, 1);
        self.tell(what);
    }

    /// Like [`Queue::complain`], for what is no error.
    pub(crate) fn tell(&self, what: &str) {
        tracing::warn!("the log {}: {what}", self.name);
        if self.is_shared.load(Ordering::Relaxed)
            && let Some(fallback) = &self.fallback
        {
            fallback.append(format!("medusa: the log {}: {what}\n", self.name).as_bytes());
        }
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.figures.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    pub(crate) fn reopen(&self) {
        self.lock().reopen = true;
        self.changed.notify_one();
    }

    /// Nothing more comes; the writing thread writes what waits, and ends.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Nobody on the loop writes to it any more.
    pub(crate) fn close_unless_shared(&self) {
        if !self.is_shared.load(Ordering::Relaxed) {
            self.close();
        }
    }

    /// Whether nothing more can be added.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until the writing thread has ended, at most until then. Says whether it has.
    pub(crate) fn wait_for_end(&self, until: Instant) -> bool {
        let within = until.saturating_duration_since(Instant::now());
        let waits = |state: &mut State| !state.ended;
        let waited = self.moved.wait_timeout_while(self.lock(), within, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Waits until all is written, at most `within`.
    pub(crate) fn wait_until_written(&self, within: Duration) {
        let waits = |state: &mut State| (state.writing || state.waiting > 0) && !state.ended;
        drop(self.moved.wait_timeout_while(self.lock(), within, waits));
    }

    /// What the writing thread does next; waits for it, at most `within`.
    pub(crate) fn next(&self, within: Option<Duration>) -> Next {
        let until = within.map(|within| Instant::now() + within);
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.reopen) {
                return Next::Reopen;
            }
            if state.full.is_empty() {
                self.tell_of_dropped(&mut state);
            }
            if let Some(buffer) = state.full.pop_front() {
                state.waiting -= buffer.len();
                state.writing = true;
                return Next::Write(buffer);
            }
            if state.closed {
                return Next::End;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Next::Due,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The writing thread is done with a buffer.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut state = self.lock();
        state.writing = false;
        // Those of diagnostics are small; they would only have to grow.
        if buffer.capacity() >= BUFFER_BYTES {
            state.spare = Some(buffer);
        }
        drop(state);
        self.moved.notify_all();
    }

    /// The writing thread leaves out the rest of a buffer that its destination does not take.
    /// It is not told of in the log: that would not be taken either.
    pub(crate) fn leave_out(&self, rest: &[u8]) {
        count(&self.figures.dropped, lines(rest));
    }

    /// Waits before a destination that failed is tried again.
    pub(crate) fn pause(&self, time: Duration) -> Pause {
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, time, |state| !state.closed && !state.reopen)
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.reopen) {
            Pause::Reopen
        } else if state.closed {
            Pause::Closed
        } else {
            Pause::Over
        }
    }

    /// The writing thread ends.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.ended = true;
        drop(state);
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: usize) -> Vec<u8> {
        [vec![b'x'; bytes - 1], b"\n".to_vec()].concat()
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_told_of_where_it_is_missing() {
        let queue = Queue::new("test".to_owned(), None);
        for _ in 0..QUEUE_BYTES / BUFFER_BYTES + 3 {
            queue.hand_over(buffer(BUFFER_BYTES));
        }
        assert_eq!(queue.waiting(), QUEUE_BYTES);
        // Diagnostics have room that nobody else can take.
        queue.append(b"a diagnostic\n");
        let mut all = Vec::new();
        queue.close();
        while let Next::Write(buffer) = queue.next(None) {
            all.push(String::from_utf8(buffer).expect("text"));
        }
        let text = "medusa: 3 lines of the log were dropped: its reader is too slow\n";
        assert_eq!(all.len(), QUEUE_BYTES / BUFFER_BYTES + 1);
        assert_eq!(all.last().map(String::as_str), Some(&*format!("{text}a diagnostic\n")));
        assert_eq!(queue.figures.dropped.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn dropped_lines_are_told_of_even_if_nothing_follows() {
        let queue = Queue::new("test".to_owned(), None);
        queue.json.store(true, Ordering::Relaxed);
        for _ in 0..=(QUEUE_BYTES + DIAGNOSTICS_BYTES) / 1024 {
            queue.append(&buffer(1024));
        }
        assert_eq!(queue.waiting(), QUEUE_BYTES + DIAGNOSTICS_BYTES);
        let mut last = Vec::new();
        while let Next::Write(buffer) = queue.next(Some(Duration::ZERO)) {
            last = buffer;
        }
        let line: serde_json::Value = serde_json::from_slice(&last).expect("JSON");
        assert_eq!(line["dropped"], 1);
        assert_eq!(queue.next(Some(Duration::ZERO)), Next::Due);
        queue.reopen();
        assert_eq!(queue.pause(Duration::from_secs(60)), Pause::Reopen);
        queue.close();
        assert_eq!(queue.pause(Duration::from_secs(60)), Pause::Closed);
        assert_eq!(queue.next(None), Next::End);
    }
}
