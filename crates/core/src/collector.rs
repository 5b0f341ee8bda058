//! Collectors take input as it arrives, with back-pressure: the dual of producers.
//!
//! The one design choice: a collector never blocks and never refuses silently. It says after
//! each part whether it takes more ([`Flow`]); one that stopped uses its channel's waker when it
//! goes on. Ended, it has everything; dropped without an end, the peer went away and nothing
//! must be kept.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::handle::{Handle, JobLost, Waker};
use crate::limits::{COLLECTOR_BUFFER_BYTES, COLLECTOR_BUFFERS};

/// Takes input as it arrives.
pub trait Collector {
    /// Takes the next part and says whether it takes more.
    ///
    /// The part is taken in any case, unless it is refused.
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused>;

    /// Whether it takes more now; asked after its channel was woken.
    fn flow(&self) -> Result<Flow, Refused>;

    /// All input has arrived.
    fn end(self: Box<Self>);
}

/// Whether more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More is taken.
    Go,
    /// Nothing more until the channel is woken.
    Stop,
}

/// A collector takes nothing more at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is more of it than is allowed.
    TooLarge,
    /// Where it goes to has no room.
    NoSpace,
    /// Whoever sends it may store no more.
    OverQuota,
    /// It failed otherwise; the text is for the log.
    Failed(String),
    /// Whoever collects has told the peer why by other means; nothing more is to be said.
    Told,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("more than is allowed"),
            Self::NoSpace => f.write_str("no space left"),
            Self::OverQuota => f.write_str("quota used up"),
            Self::Failed(why) => f.write_str(why),
            Self::Told => f.write_str("refused, as the peer was told"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::NoSpace,
            io::ErrorKind::QuotaExceeded => Self::OverQuota,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Keeps input in memory, up to a limit, and gives it away at the end.
pub struct Gathered<F: FnOnce(Vec<u8>)> {
    bytes: Vec<u8>,
    limit: usize,
    then: F,
}

impl<F: FnOnce(Vec<u8>)> Gathered<F> {
    /// Keeps at most `limit` bytes; `then` gets them.
    pub fn new(limit: usize, then: F) -> Self {
        Self { bytes: Vec::new(), limit, then }
    }
}

impl<F: FnOnce(Vec<u8>)> Collector for Gathered<F> {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        if part.len() > self.limit - self.bytes.len() {
            return Err(Refused::TooLarge);
        }
        self.bytes.extend_from_slice(part);
        Ok(Flow::Go)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(Flow::Go)
    }

    fn end(self: Box<Self>) {
        (self.then)(self.bytes);
    }
}

/// Throws input away.
pub struct Discarded;

impl Collector for Discarded {
    fn collect(&mut self, _: &[u8]) -> Result<Flow, Refused> {
        Ok(Flow::Go)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(Flow::Go)
    }

    fn end(self: Box<Self>) {}
}

/// Where a [`FileCollector`] writes: a file, or something that becomes one.
///
/// Its methods run on a helper thread and may block. Dropped without [`Sink::finish`], what was
/// written must not remain.
pub trait Sink: Send {
    /// Writes all of `bytes` after what was written before.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written count.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Writes input to a [`Sink`] on the helper threads, with at most [`COLLECTOR_BUFFERS`] buffers
/// of [`COLLECTOR_BUFFER_BYTES`] on their way: one being written, one waiting.
pub struct FileCollector<F: FnOnce(Result<u64, Refused>) + 'static> {
    state: Rc<RefCell<Writing<F>>>,
}

struct Writing<F> {
    handle: Handle,
    waker: Waker,
    /// At rest here, `None` while a helper thread opens it or writes.
    sink: Option<Box<dyn Sink>>,
    /// The sink is being opened.
    opening: bool,
    waiting: Vec<u8>,
    /// What was written last, empty: its storage is used again.
    spare: Vec<u8>,
    written: u64,
    failed: Option<Refused>,
    ended: bool,
    dropped: bool,
    then: Option<F>,
}

impl<F: FnOnce(Result<u64, Refused>) + 'static> FileCollector<F> {
    /// Writes to `sink`; `waker` is that of the channel that gives the input. `then` hears how
    /// it ended, with the bytes written; it is not called when the collector is dropped before
    /// its end.
    pub fn new(sink: Box<dyn Sink>, handle: &Handle, waker: Waker, then: F) -> Self {
        Self::with(Some(sink), handle, waker, then)
    }

    /// Like [`FileCollector::new`], for a sink that `open` makes on a helper thread. Until it is
    /// there no input is wanted; a part that comes all the same is kept.
    pub fn opening(
        open: impl FnOnce() -> io::Result<Box<dyn Sink>> + Send + 'static,
        handle: &Handle,
        waker: Waker,
        then: F,
    ) -> Self {
        let collector = Self::with(None, handle, waker, then);
        let state = collector.state.clone();
        handle.run(open, move |result| {
            let mut s = state.borrow_mut();
            s.opening = false;
            match result {
                Ok(Ok(sink)) => s.sink = Some(sink),
                Ok(Err(e)) => s.failed = Some(e.into()),
                Err(lost) => s.failed = Some(Refused::Failed(lost.to_string())),
            }
            s.waker.wake();
            drop(s);
            Self::advance(&state);
        });
        collector
    }

    fn with(sink: Option<Box<dyn Sink>>, handle: &Handle, waker: Waker, then: F) -> Self {
        Self {
            state: Rc::new(RefCell::new(Writing {
                handle: handle.clone(),
                waker,
                opening: sink.is_none(),
                sink,
                waiting: Vec::new(),
                spare: Vec::new(),
                written: 0,
                failed: None,
                ended: false,
                dropped: false,
                then: Some(then),
            })),
        }
    }

    /// Hands the waiting buffer to a helper thread if none is writing.
    fn advance(state: &Rc<RefCell<Writing<F>>>) {
        let mut s = state.borrow_mut();
        if s.dropped || s.failed.is_some() {
            // What was written goes away with the sink, on a thread that may block.
            if let Some(sink) = s.sink.take() {
                s.handle.clone().run(move || drop(sink), |_| {});
            }
            if s.ended
                && let (Some(failed), Some(then)) = (s.failed.clone(), s.then.take())
            {
                // Not from inside `end`: whoever calls it may hold what `then` needs.
                s.handle.later(move |_| then(Err(failed)));
            }
            return;
        }
        let full = s.waiting.len() >= COLLECTOR_BUFFER_BYTES;
        if !full && !s.ended {
            return;
        }
        let Some(mut sink) = s.sink.take() else { return };
        let handle = s.handle.clone();
        let then = state.clone();
        if s.waiting.is_empty() {
            drop(s);
            handle.run(move || sink.finish(), move |result| Self::finished(&then, result));
            return;
        }
        let spare = std::mem::take(&mut s.spare);
        let mut buffer = std::mem::replace(&mut s.waiting, spare);
        drop(s);
        handle.run(
            move || {
                let written = sink.write(&buffer).map(|()| buffer.len() as u64);
                buffer.clear();
                (sink, buffer, written)
            },
            move |result| {
                let mut s = then.borrow_mut();
                match result {
                    Ok((sink, buffer, Ok(written))) => {
                        s.sink = Some(sink);
                        s.spare = buffer;
                        s.written += written;
                    }
                    Ok((sink, _, Err(e))) => {
                        s.sink = Some(sink);
                        s.failed = Some(e.into());
                    }
                    Err(lost) => s.failed = Some(Refused::Failed(lost.to_string())),
                }
                s.waker.wake();
                drop(s);
                Self::advance(&then);
            },
        );
    }

    fn finished(state: &Rc<RefCell<Writing<F>>>, result: Result<io::Result<()>, JobLost>) {
        let mut s = state.borrow_mut();
        let result = match result {
            Ok(Ok(())) => Ok(s.written),
            Ok(Err(e)) => Err(e.into()),
            Err(lost) => Err(Refused::Failed(lost.to_string())),
        };
        let then = s.then.take();
        drop(s);
        if let Some(then) = then {
            then(result);
        }
    }
}

impl<F: FnOnce(Result<u64, Refused>) + 'static> Collector for FileCollector<F> {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        {
            let mut s = self.state.borrow_mut();
            if let Some(failed) = &s.failed {
                return Err(failed.clone());
            }
            s.waiting.extend_from_slice(part);
        }
        Self::advance(&self.state);
        self.flow()
    }

    fn flow(&self) -> Result<Flow, Refused> {
        const { assert!(COLLECTOR_BUFFERS == 2, "one is written while the other is filled") };
        let s = self.state.borrow();
        match &s.failed {
            Some(failed) => Err(failed.clone()),
            None if s.opening || s.waiting.len() >= COLLECTOR_BUFFER_BYTES => Ok(Flow::Stop),
            None => Ok(Flow::Go),
        }
    }

    fn end(self: Box<Self>) {
        self.state.borrow_mut().ended = true;
        Self::advance(&self.state);
    }
}

impl<F: FnOnce(Result<u64, Refused>) + 'static> Drop for FileCollector<F> {
    fn drop(&mut self) {
        let ended = {
            let mut s = self.state.borrow_mut();
            s.dropped = !s.ended;
            s.ended
        };
        if !ended {
            Self::advance(&self.state);
        }
    }
}
