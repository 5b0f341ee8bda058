//! A protocol made of closures, for tests that need only a few lines of one.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::protocol::{Close, Closed, Context, Ending, Frame, Protocol};

type Step = Box<dyn FnMut(&mut Context<'_>) -> Result<(), Close>>;
type Input = Box<dyn FnMut(Frame<'_>, &mut Context<'_>) -> Result<(), Close>>;
type Passed = Box<dyn FnMut(u64, u64, &mut Context<'_>) -> Result<(), Close>>;
type Over = Box<dyn FnMut(&Ending)>;

/// What happened to a [`Script`], one line for each event; clones share it.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    /// Adds a line.
    pub fn note(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    /// Takes the lines that were added since they were taken last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// A protocol made of closures. What has none does what the trait's method does by default, and
/// input is thrown away. Every frame and the ending are noted in its log:
/// `part abc`, `end abc`, `overlong abc`, `malformed abc`, `eof abc`, `closed: done`.
#[derive(Default)]
pub struct Script {
    opened: Option<Step>,
    input: Option<Input>,
    resumed: Option<Step>,
    timeout: Option<Step>,
    passed: Option<Passed>,
    shutdown: Option<Step>,
    closed: Option<Over>,
    log: Log,
}

impl Script {
    /// Begins a protocol that does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log, which lives on when the connection is gone.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Says what [`Protocol::opened`] does.
    #[must_use]
    pub fn opened(
        mut self,
        step: impl FnMut(&mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.opened = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::input`] does.
    #[must_use]
    pub fn input(
        mut self,
        step: impl FnMut(Frame<'_>, &mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.input = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::resumed`] does.
    #[must_use]
    pub fn resumed(
        mut self,
        step: impl FnMut(&mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.resumed = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::timeout`] does.
    #[must_use]
    pub fn timeout(
        mut self,
        step: impl FnMut(&mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.timeout = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::passed`] does.
    #[must_use]
    pub fn passed(
        mut self,
        step: impl FnMut(u64, u64, &mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.passed = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::shutdown`] does.
    #[must_use]
    pub fn shutdown(
        mut self,
        step: impl FnMut(&mut Context<'_>) -> Result<(), Close> + 'static,
    ) -> Self {
        self.shutdown = Some(Box::new(step));
        self
    }

    /// Says what [`Protocol::closed`] does.
    #[must_use]
    pub fn closed(mut self, over: impl FnMut(&Ending) + 'static) -> Self {
        self.closed = Some(Box::new(over));
        self
    }

    /// Puts it in the box that a connection takes.
    pub fn boxed(self) -> Box<dyn Protocol> {
        Box::new(self)
    }
}

impl Protocol for Script {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.opened.as_mut().map_or(Ok(()), |step| step(cx))
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        let (kind, bytes) = match frame {
            Frame::Part(bytes) => ("part", bytes),
            Frame::End(bytes) => ("end", bytes),
            Frame::Overlong(bytes) => ("overlong", bytes),
            Frame::Malformed(bytes) => ("malformed", bytes),
            Frame::Eof(bytes) => ("eof", bytes),
        };
        self.log.note(format!("{kind} {}", bytes.escape_ascii()));
        self.input.as_mut().map_or(Ok(()), |step| step(frame, cx))
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.resumed.as_mut().map_or(Ok(()), |step| step(cx))
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.timeout.as_mut().map_or(Err(Close::Flush), |step| step(cx))
    }

    fn passed(&mut self, token: u64, sent: u64, cx: &mut Context<'_>) -> Result<(), Close> {
        self.passed.as_mut().map_or(Ok(()), |step| step(token, sent, cx))
    }

    fn shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.shutdown.as_mut().map_or(Err(Close::Flush), |step| step(cx))
    }

    fn closed(&mut self, ending: &Ending) {
        self.log.note(match &ending.why {
            // The text of a system's error differs from system to system.
            Closed::Peer(e) => format!("closed: peer: {:?}", e.kind()),
            Closed::ConnectFailed(e) => format!("closed: cannot connect: {:?}", e.kind()),
            why => format!("closed: {why}"),
        });
        if let Some(over) = &mut self.closed {
            over(ending);
        }
    }

    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("following a script")
    }
}
