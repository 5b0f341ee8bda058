//! The services of the loop, for whoever runs on its thread: time, wake-ups, jobs, timers,
//! connections.
//!
//! The one design choice: a [`Handle`] only writes down what is asked; the engine carries it out
//! between two calls into protocols. So anything on the loop's thread may hold one, nothing is
//! ever called back from inside a request, and a test can look at what was asked.

use std::any::Any;
use std::cell::{Cell, Ref, RefCell};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::anchor::Anchored;
use crate::datagram::DatagramProtocol;
use crate::engine::ChannelId;
use crate::inspect::{Inspect, Outcome, Query};
use crate::limits::ChannelSettings;
use crate::listener::ListenOptions;
use crate::passed::PassedSocket;
use crate::protocol::{Protocol, Service};
use crate::reactor::{ListenerChange, NotBound};
use crate::sys;
use crate::transport::Transport;
use crate::turns::{Turn, Turns};

/// The loop's services; cheap to clone, bound to the loop's thread.
#[derive(Clone)]
pub struct Handle(Rc<Shared>);

/// The clock of a loop, for what the loop itself may hold: it keeps nothing alive. A part of the
/// inspection tree that kept a [`Handle`] would never be dropped, nor would the loop.
#[derive(Clone)]
pub struct Clock(Weak<Shared>);

impl Clock {
    /// The loop's time, read once a turn; `None` when it has ended.
    pub fn now(&self) -> Option<Instant> {
        self.0.upgrade().map(|shared| shared.now.get())
    }

    /// The time of day, as the time since 1970, read once a turn; `None` when the loop has ended.
    pub fn unix_time(&self) -> Option<Duration> {
        self.0.upgrade().map(|shared| shared.unix.get())
    }

    /// Milliseconds since the loop began; 0 when it has ended.
    pub(crate) fn tick(&self) -> u64 {
        self.0.upgrade().map_or(0, |shared| shared.tick.get())
    }
}

struct Shared {
    epoch: Instant,
    now: Cell<Instant>,
    tick: Cell<u64>,
    unix: Cell<Duration>,
    wakes: RefCell<Vec<ChannelId>>,
    commands: RefCell<Vec<Command>>,
    timers: Cell<u64>,
    mounts: RefCell<Vec<(String, Rc<dyn Inspect>)>>,
    in_memory: Cell<InMemory>,
    ending: Cell<bool>,
    turns: RefCell<Turns>,
    anchored: RefCell<Anchored>,
}

/// Says whether a part of a file can be read without waiting for the disk.
pub(crate) type InMemory = fn(&File, u64, u64) -> bool;

pub(crate) type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;
pub(crate) type Then = Box<dyn FnOnce(Result<Box<dyn Any + Send>, JobLost>)>;
pub(crate) type Heard<T> = Box<dyn FnOnce(T)>;

/// What was asked of the loop.
pub(crate) enum Command {
    Job {
        work: Work,
        then: Then,
    },
    Timer {
        at: u64,
        id: TimerId,
        run: Box<dyn FnOnce(&Handle)>,
    },
    CancelTimer(TimerId),
    Later(Box<dyn FnOnce(&Handle)>),
    Close(ChannelId),
    Pause(ChannelId, bool),
    Query {
        query: Query,
        then: Heard<Outcome>,
    },
    Connect(Connect),
    Adopt {
        transport: Transport,
        protocol: Box<dyn Protocol>,
        background: bool,
    },
    Listen {
        address: Address,
        service: Rc<dyn Service>,
        options: ListenOptions,
        then: Heard<io::Result<(ListenerId, Address)>>,
    },
    Unlisten(ListenerId),
    ChangeListeners {
        change: ListenerChange,
        then: Heard<Result<Vec<(ListenerId, Address)>, NotBound>>,
    },
    Limit {
        max_connections: usize,
    },
    Bind {
        address: Address,
        protocol: Box<dyn DatagramProtocol>,
        then: Heard<io::Result<Address>>,
    },
    Poll {
        source: Rc<dyn AsFd>,
        ready: Box<dyn FnMut()>,
        then: Heard<io::Result<()>>,
    },
    Passed {
        then: Heard<io::Result<Vec<PassedSocket>>>,
    },
    Retire {
        grace: Duration,
        then: Box<dyn FnOnce()>,
    },
    Shutdown {
        grace: Duration,
    },
}

/// A connection that was asked for.
pub(crate) struct Connect {
    pub(crate) address: Address,
    pub(crate) protocol: Box<dyn Protocol>,
    pub(crate) within: Duration,
    pub(crate) settings: Rc<ChannelSettings>,
}

/// The name of a listener, never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(crate) u32);

/// The name of a timer, to cancel it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(u64);

/// A job gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobLost {
    /// It panicked; the panic's text is in the log.
    Panicked,
    /// [`crate::limits::POOL_QUEUE`] jobs were waiting already, or no helper thread could start.
    QueueFull,
}

impl fmt::Display for JobLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "the job panicked",
            Self::QueueFull => "too many jobs are waiting",
        })
    }
}

impl std::error::Error for JobLost {}

impl Handle {
    /// Makes the services of a new loop whose clock reads `now` and `unix`.
    pub(crate) fn new(now: Instant, unix: Duration) -> Self {
        Self(Rc::new(Shared {
            epoch: now,
            now: Cell::new(now),
            tick: Cell::new(1),
            unix: Cell::new(unix),
            wakes: RefCell::default(),
            commands: RefCell::default(),
            timers: Cell::new(0),
            mounts: RefCell::default(),
            in_memory: Cell::new(sys::is_in_memory),
            ending: Cell::new(false),
            turns: RefCell::default(),
            anchored: RefCell::default(),
        }))
    }

    pub(crate) fn anchored(&self) -> &RefCell<Anchored> {
        &self.0.anchored
    }

    pub(crate) fn set_time(&self, now: Instant, unix: Duration) {
        self.0.now.set(now);
        let since = now.saturating_duration_since(self.0.epoch);
        self.0.tick.set(since.as_millis() as u64 + 1);
        self.0.unix.set(unix);
    }

    /// The loop's time, read once a turn.
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// The time of day, as the time since 1970, read once a turn.
    pub fn unix_time(&self) -> Duration {
        self.0.unix.get()
    }

    /// How long the turns of the loop took, up to the last one that has ended.
    pub fn turns(&self) -> Ref<'_, Turns> {
        self.0.turns.borrow()
    }

    /// Notes that the turn that began with the loop's time has ended.
    pub(crate) fn turn_ended(&self, end: Instant, events: impl FnOnce() -> usize) {
        let took = end.saturating_duration_since(self.now());
        self.0.turns.borrow_mut().note(took, end, || Turn { events: events() });
    }

    /// The time since the loop began.
    pub fn uptime(&self) -> Duration {
        self.now().saturating_duration_since(self.0.epoch)
    }

    /// The clock alone.
    pub fn clock(&self) -> Clock {
        Clock(Rc::downgrade(&self.0))
    }

    /// Milliseconds since the loop began, never 0: the unit in which deadlines are kept.
    pub(crate) fn tick(&self) -> u64 {
        self.0.tick.get()
    }

    /// The tick at which `after` will have passed, rounded up.
    pub(crate) fn after(&self, after: Duration) -> u64 {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX / 2);
        self.tick().saturating_add(ms).saturating_add(1)
    }

    /// The time since this tick.
    pub(crate) fn since(&self, tick: u64) -> Duration {
        Duration::from_millis(self.tick().saturating_sub(tick))
    }

    /// The time until this tick.
    pub(crate) fn until(&self, tick: u64) -> Duration {
        Duration::from_millis(tick.saturating_sub(self.tick()))
    }

    /// Runs `work` on a helper thread, then `then` with its result on the loop's thread.
    ///
    /// For whatever may block. `then` is always called, with [`JobLost`] when the queue of jobs
    /// is full or the job panicked.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(Result<T, JobLost>) + 'static,
    ) {
        self.command(Command::Job {
            work: Box::new(move || Box::new(work())),
            then: Box::new(move |result| {
                then(result.map(|any| *any.downcast().expect("a job gives what its work gave")));
            }),
        });
    }

    /// Calls `run` on the loop's thread when `after` has passed.
    pub fn timer(&self, after: Duration, run: impl FnOnce(&Handle) + 'static) -> TimerId {
        let id = TimerId(self.0.timers.get() + 1);
        self.0.timers.set(id.0);
        self.command(Command::Timer { at: self.after(after), id, run: Box::new(run) });
        id
    }

    /// Calls `run` on the loop's thread before the loop sleeps again, but not from inside this
    /// call: whoever asks may hold what `run` needs.
    pub fn later(&self, run: impl FnOnce(&Handle) + 'static) {
        self.command(Command::Later(Box::new(run)));
    }

    /// Forgets a timer; nothing happens if it has run.
    pub fn cancel_timer(&self, id: TimerId) {
        self.command(Command::CancelTimer(id));
    }

    /// Connects to `address`; `protocol` is opened when the connection stands, or closed with
    /// [`crate::Closed::ConnectFailed`] when it does not stand `within` that time.
    pub fn connect(
        &self,
        address: Address,
        within: Duration,
        settings: Rc<ChannelSettings>,
        protocol: Box<dyn Protocol>,
    ) {
        self.command(Command::Connect(Connect { address, protocol, within, settings }));
    }

    /// Runs `protocol` over a transport that stands already.
    pub fn adopt(&self, transport: Transport, protocol: Box<dyn Protocol>) {
        self.command(Command::Adopt { transport, protocol, background: false });
    }

    /// Like [`Handle::adopt`], for a channel of the server's own (signals): a shutdown neither
    /// closes it nor waits for it.
    pub fn adopt_background(&self, transport: Transport, protocol: Box<dyn Protocol>) {
        self.command(Command::Adopt { transport, protocol, background: true });
    }

    /// Listens on `address`; `then` hears the listener's name and the address it really has.
    pub fn listen(
        &self,
        address: Address,
        service: Rc<dyn Service>,
        options: ListenOptions,
        then: impl FnOnce(io::Result<(ListenerId, Address)>) + 'static,
    ) {
        self.command(Command::Listen { address, service, options, then: Box::new(then) });
    }

    /// Stops a listener; the connections that it accepted go on.
    pub fn unlisten(&self, id: ListenerId) {
        self.command(Command::Unlisten(id));
    }

    /// Adds, changes and stops listeners as a whole; `then` hears the names of those that were
    /// added and the addresses they really have, or that nothing was changed and why.
    pub fn change_listeners(
        &self,
        change: ListenerChange,
        then: impl FnOnce(Result<Vec<(ListenerId, Address)>, NotBound>) + 'static,
    ) {
        self.command(Command::ChangeListeners { change, then: Box::new(then) });
    }

    /// Sets how many connections may be open at once. Those that are over it go on; no further
    /// ones are accepted until enough have ended.
    pub fn limit_connections(&self, max_connections: usize) {
        self.command(Command::Limit { max_connections });
    }

    /// Binds a UDP socket; `then` hears the address it really has.
    pub fn bind_datagram(
        &self,
        address: Address,
        protocol: Box<dyn DatagramProtocol>,
        then: impl FnOnce(io::Result<Address>) + 'static,
    ) {
        self.command(Command::Bind { address, protocol, then: Box::new(then) });
    }

    /// Calls `ready` whenever a descriptor becomes readable, before any connection of the same
    /// turn is served, for as long as the loop runs; it must read until it would block. `then`
    /// hears whether the loop can do that at all.
    pub fn poll_descriptor(
        &self,
        source: Rc<dyn AsFd>,
        ready: impl FnMut() + 'static,
        then: impl FnOnce(io::Result<()>) + 'static,
    ) {
        self.command(Command::Poll { source, ready: Box::new(ready), then: Box::new(then) });
    }

    /// Drops a connection at once.
    pub fn close(&self, id: ChannelId) {
        self.command(Command::Close(id));
    }

    /// Stops (or starts again) a connection's input, from outside its protocol.
    pub fn pause(&self, id: ChannelId, paused: bool) {
        self.command(Command::Pause(id, paused));
    }

    /// Asks the inspection tree; `then` hears the answer. Whoever looks hears it within this turn,
    /// but for `process`, which is read on a helper thread; a list may take some turns more, and an
    /// action ends when it likes.
    pub fn inspect(&self, query: Query, then: impl FnOnce(Outcome) + 'static) {
        self.command(Command::Query { query, then: Box::new(then) });
    }

    /// Hangs a part of the program into the inspection tree under this name.
    pub fn mount(&self, name: impl Into<String>, part: Rc<dyn Inspect>) {
        let name = name.into();
        let mut mounts = self.0.mounts.borrow_mut();
        mounts.retain(|(n, _)| *n != name);
        mounts.push((name, part));
    }

    pub(crate) fn mounts(&self) -> Vec<(String, Rc<dyn Inspect>)> {
        self.0.mounts.borrow().clone()
    }

    /// Duplicates the sockets of all servers, for a process that is to take them over; `then`
    /// hears them. UDP sockets whose port was left to the system are for questions of our own and
    /// stay here.
    pub fn passed_sockets(&self, then: impl FnOnce(io::Result<Vec<PassedSocket>>) + 'static) {
        self.command(Command::Passed { then: Box::new(then) });
    }

    /// Leaves the listeners to the process that has taken them over: accepts nothing more, tells
    /// every connection ([`Protocol::retire`]), and ends the loop when all have ended, or after
    /// `grace`. The files of Unix-domain sockets stay. [`Handle::shutdown`] still ends it sooner.
    /// `then` is called when all connections have been told; never, if the loop stops already.
    pub fn retire(&self, grace: Duration, then: impl FnOnce() + 'static) {
        self.command(Command::Retire { grace, then: Box::new(then) });
    }

    /// Stops listening, asks every connection to finish, and ends the loop when all have, or
    /// after `grace`. Asked a second time it ends at once.
    pub fn shutdown(&self, grace: Duration) {
        self.command(Command::Shutdown { grace });
    }

    /// Whether the loop was asked to end ([`Handle::shutdown`], [`Handle::retire`]): what has no
    /// end of its own should come to one.
    pub fn is_ending(&self) -> bool {
        self.0.ending.get()
    }

    pub(crate) fn set_ending(&self) {
        self.0.ending.set(true);
    }

    /// Whether the bytes `from..until` of a file can be sent without waiting for the disk.
    pub(crate) fn is_in_memory(&self, file: &File, from: u64, until: u64) -> bool {
        (self.0.in_memory.get())(file, from, until)
    }

    /// Has another function say what is in memory: for tests of files that are not.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_in_memory(&self, in_memory: InMemory) {
        self.0.in_memory.set(in_memory);
    }

    pub(crate) fn wake(&self, id: ChannelId) {
        let mut wakes = self.0.wakes.borrow_mut();
        if wakes.last() != Some(&id) {
            wakes.push(id);
        }
    }

    fn command(&self, command: Command) {
        self.0.commands.borrow_mut().push(command);
    }

    pub(crate) fn swap_wakes(&self, empty: &mut Vec<ChannelId>) {
        std::mem::swap(&mut *self.0.wakes.borrow_mut(), empty);
    }

    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut *self.0.commands.borrow_mut())
    }

    pub(crate) fn has_commands(&self) -> bool {
        !self.0.commands.borrow().is_empty() || !self.0.wakes.borrow().is_empty()
    }
}

/// Wakes one channel: its protocol is called [`Protocol::resumed`], and its producers are asked
/// again. Waking twice before it ran is waking once; waking a channel that is gone does nothing.
#[derive(Clone)]
pub struct Waker {
    id: ChannelId,
    handle: Handle,
}

impl Waker {
    pub(crate) fn new(id: ChannelId, handle: &Handle) -> Self {
        Self { id, handle: handle.clone() }
    }

    /// Wakes the channel before the loop sleeps again.
    pub fn wake(&self) {
        self.handle.wake(self.id);
    }

    /// The channel that is woken.
    pub fn channel(&self) -> ChannelId {
        self.id
    }
}
