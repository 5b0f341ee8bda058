//! All channels with their timers, wake-ups and budgets, without any system call for readiness.
//!
//! The one design choice: the engine is driven. The reactor tells it which sockets are ready and
//! what time it is, on real sockets; the harness does the same in memory under virtual time. A
//! turn is: `set_time`, `ready` for each event, `settle`, then
//! whatever `take_requests` gives is carried out, and the driver sleeps for at most
//! `next_wait`.

mod admission;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use slotmap::{Key, KeyData, SlotMap, new_key_type};

pub(crate) use self::admission::Admission;
use crate::address::Peer;
use crate::channel::{Cause, Channel, Io, Phase, Pump, Verdict};
use crate::handle::{Command, Handle, Heard, TimerId};
use crate::inspect::{self, Ask, Outcome, Query};
use crate::limits::{ChannelSettings, LISTED_A_TURN};
use crate::protocol::{Closed, Ending, Protocol};
use crate::seldom::Seldom;
use crate::transport::Transport;

new_key_type! {
    /// The name of a channel. A name is never used again, so that a late result or a stale event
    /// cannot reach a newer connection.
    pub struct ChannelId;
}

impl ChannelId {
    /// The name as a number, for tokens and for people.
    pub fn as_u64(self) -> u64 {
        self.data().as_ffi()
    }

    /// The name behind a number.
    pub fn from_u64(number: u64) -> Self {
        KeyData::from_ffi(number).into()
    }
}

/// Rounds of wake-ups and commands settled in one turn; what is left goes into the next one.
const ROUNDS_A_TURN: usize = 16;

type Timer = Box<dyn FnOnce(&Handle)>;

/// What the driver is to carry out: everything that needs a socket, a thread or the end.
pub(crate) type Requests = Vec<Command>;

/// All channels, with their timers and budgets.
pub struct Engine {
    channels: SlotMap<ChannelId, Channel>,
    pump: Pump,
    handle: Handle,
    deadlines: BTreeSet<(u64, ChannelId)>,
    timers: BTreeMap<(u64, TimerId), Timer>,
    timer_ticks: HashMap<TimerId, u64>,
    runnable: VecDeque<ChannelId>,
    wakes: Vec<ChannelId>,
    requests: Requests,
    /// Nodes that were listed in this turn.
    pub(crate) listed: usize,
    /// Lists that were asked for when it had listed enough.
    put_off: Vec<(Query, Heard<Outcome>)>,
    /// Connections that ended in this turn, by the listener that had accepted them.
    ended: Vec<u32>,
    background: usize,
    /// A shutdown was asked for: what opens from now on hears of it too.
    stopping: bool,
    slow: Rc<Seldom>,
    pub(crate) figures: Figures,
}

/// Running totals of the loop.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Connections begun, of either direction.
    pub opened: u64,
    /// Connections ended.
    pub closed: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Protocols that panicked; their connections were dropped.
    pub panics: u64,
    /// Bytes taken from connections that have ended.
    pub received: u64,
    /// Bytes given to connections that have ended.
    pub sent: u64,
    /// Connections dropped because output stood still.
    pub stalled: u64,
    /// Connections dropped because output went too slowly.
    pub slow: u64,
}

impl Engine {
    /// Makes an engine whose clock reads `now`, and `unix` since 1970.
    pub fn new(now: Instant, unix: Duration) -> Self {
        let handle = Handle::new(now, unix);
        Self {
            channels: SlotMap::with_key(),
            pump: Pump::new(handle.clone()),
            handle,
            deadlines: BTreeSet::new(),
            timers: BTreeMap::new(),
            timer_ticks: HashMap::new(),
            runnable: VecDeque::new(),
            wakes: Vec::new(),
            requests: Vec::new(),
            listed: 0,
            put_off: Vec::new(),
            ended: Vec::new(),
            background: 0,
            stopping: false,
            slow: Seldom::new(|times, last| {
                tracing::warn!(
                    "dropped {times} connections, the last of {last}: their peers took output too \
                     slowly"
                );
            }),
            figures: Figures::default(),
        }
    }

    /// The services of this loop.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Moves the clock.
    pub fn set_time(&mut self, now: Instant, unix: Duration) {
        self.figures.turns += 1;
        self.listed = 0;
        self.handle.set_time(now, unix);
    }

    /// Takes a transport in. It is not driven before [`Engine::start`].
    pub(crate) fn insert(
        &mut self,
        transport: Transport,
        protocol: Box<dyn Protocol>,
        peer: Peer,
        settings: Rc<ChannelSettings>,
        connect_within: Option<Duration>,
        listener: u32,
    ) -> ChannelId {
        let phase = if connect_within.is_some() { Phase::Connecting } else { Phase::Open };
        let mut io = Io::new(transport, peer, settings, phase, self.handle.tick());
        io.listener = listener;
        if let Some(within) = connect_within {
            io.deadline = self.handle.after(within);
        }
        self.figures.opened += 1;
        let id = self.channels.insert(Channel { protocol, io });
        self.arm(id);
        id
    }

    /// Marks a channel as the server's own.
    pub(crate) fn set_background(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id) {
            self.background += usize::from(!channel.io.background);
            channel.io.background = true;
        }
    }

    pub(crate) fn transport_mut(&mut self, id: ChannelId) -> Option<&mut Transport> {
        self.channels.get_mut(id).map(|c| &mut c.io.transport)
    }

    /// Opens a channel whose connection stands.
    pub(crate) fn start(&mut self, id: ChannelId) {
        self.drive(id, Cause::Opened);
        if self.stopping && self.channels.get(id).is_some_and(|c| !c.io.background) {
            self.drive(id, Cause::Shutdown);
        }
    }

    /// Ends a channel whose connection could not be made.
    pub(crate) fn connect_failed(&mut self, id: ChannelId, error: io::Error) {
        self.remove(id, Closed::ConnectFailed(error));
    }

    /// Tells that a socket is ready. An id that is gone is ignored.
    pub(crate) fn ready(&mut self, id: ChannelId, readable: bool, writable: bool, closed: bool) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let io = &mut channel.io;
        io.readable |= readable && !io.eof;
        io.writable |= writable;
        io.reads_short |= closed;
        if io.phase == Phase::Connecting {
            if !writable && !closed {
                return;
            }
            match io.transport.connected() {
                Ok(()) => self.start(id),
                Err(e) if e.kind() == io::ErrorKind::NotConnected && !closed => {}
                Err(e) => self.connect_failed(id, e),
            }
            return;
        }
        self.drive(id, Cause::Ready);
    }

    /// Tells that there is urgent data, at which reads stop short from now on.
    pub(crate) fn urgent(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.io.reads_short = true;
        }
    }

    /// Tells that the connection broke: the peer reset it, or the system gave up.
    pub(crate) fn broken(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if channel.io.phase == Phase::Connecting {
            self.ready(id, false, true, true);
            return;
        }
        // What the peer sent before it broke is still worth reading, unless nobody wants it now.
        channel.io.broken = true;
        self.ready(id, true, true, true);
    }

    /// Runs what is due: channels with work left, timers, wake-ups, commands.
    pub fn settle(&mut self) {
        for _ in 0..self.runnable.len() {
            let Some(id) = self.runnable.pop_front() else { break };
            if let Some(channel) = self.channels.get_mut(id) {
                channel.io.runnable = false;
                self.drive(id, Cause::Ready);
            }
        }
        self.run_timers();
        for (query, then) in std::mem::take(&mut self.put_off) {
            self.query(query, then);
        }
        for _ in 0..ROUNDS_A_TURN {
            if !self.handle.has_commands() {
                return;
            }
            self.run_wakes();
            self.run_commands();
        }
    }

    fn run_timers(&mut self) {
        let tick = self.handle.tick();
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > tick {
                break;
            }
            self.deadlines.pop_first();
            let Some(channel) = self.channels.get_mut(id) else { continue };
            let io = &mut channel.io;
            io.armed = 0;
            if io.stall != 0 && io.stall <= tick {
                io.transport.reset();
                self.figures.stalled += 1;
                self.remove(id, Closed::Stalled);
            } else if io.is_slow(&self.handle) {
                let peer = io.peer;
                io.transport.reset();
                self.figures.slow += 1;
                self.slow.note(peer, &self.handle);
                self.remove(id, Closed::Slow);
            } else if io.deadline != 0 && io.deadline <= tick {
                io.deadline = 0;
                self.drive(id, Cause::Timeout);
            } else if io.limited.as_ref().is_some_and(|l| (1..=tick).contains(&l.due())) {
                self.drive(id, Cause::Ready);
            } else {
                // It was moved, which cost nothing then.
                self.arm(id);
            }
        }
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > tick {
                break;
            }
            let ((_, id), run) = entry.remove_entry();
            self.timer_ticks.remove(&id);
            self.guarded(|engine| run(&engine.handle));
        }
    }

    fn run_wakes(&mut self) {
        let mut wakes = std::mem::take(&mut self.wakes);
        self.handle.swap_wakes(&mut wakes);
        wakes.sort_unstable();
        wakes.dedup();
        for id in wakes.drain(..) {
            self.drive(id, Cause::Woken);
        }
        self.wakes = wakes;
    }

    fn run_commands(&mut self) {
        for command in self.handle.take_commands() {
            match command {
                Command::Timer { at, id, run } => {
                    self.timers.insert((at, id), run);
                    self.timer_ticks.insert(id, at);
                }
                Command::CancelTimer(id) => {
                    if let Some(at) = self.timer_ticks.remove(&id) {
                        self.timers.remove(&(at, id));
                    }
                }
                Command::Close(id) => self.drop_channel(id),
                Command::Pause(id, paused) => self.pause(id, paused),
                Command::Query { query, then } => self.query(query, then),
                Command::Later(run) => self.guarded(|engine| run(&engine.handle)),
                other => self.requests.push(other),
            }
        }
    }

    /// Answers a question to the inspection tree, unless this turn has listed enough: then the
    /// next one does.
    fn query(&mut self, query: Query, then: Heard<Outcome>) {
        if matches!(query.ask, Ask::List { .. }) && self.listed >= LISTED_A_TURN {
            return self.put_off.push((query, then));
        }
        self.guarded(|engine| inspect::answer(engine, query, then));
    }

    pub(crate) fn drop_channel(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.io.transport.reset();
            self.remove(id, Closed::Dropped);
        }
    }

    pub(crate) fn pause(&mut self, id: ChannelId, paused: bool) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.io.held_by_operator = paused;
            if !paused {
                channel.io.stash_fresh = true;
                self.drive(id, Cause::Ready);
            }
        }
    }

    /// What only the driver can do.
    pub(crate) fn take_requests(&mut self) -> Requests {
        std::mem::take(&mut self.requests)
    }

    /// The listeners whose connections ended since this was asked last.
    pub(crate) fn take_ended(&mut self, into: &mut Vec<u32>) {
        into.append(&mut self.ended);
    }

    /// How long the driver may sleep; `None` is until something happens.
    pub fn next_wait(&self) -> Option<Duration> {
        let has_asked = self.handle.has_commands() || !self.requests.is_empty();
        if !self.runnable.is_empty() || has_asked || !self.put_off.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let timer = self.timers.first_key_value().map(|(&(at, _), _)| at);
        let next = match (deadline, timer) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(self.handle.until(next))
    }

    /// Asks every connection to finish what is in flight and to close.
    pub(crate) fn shut_down(&mut self) {
        self.stopping = true;
        self.handle.set_ending();
        self.drive_all(Cause::Shutdown, |_| true);
    }

    /// Tells every connection that another process has taken over the listeners.
    pub(crate) fn retire(&mut self) {
        self.handle.set_ending();
        self.drive_all(Cause::Retire, |_| true);
    }

    /// Tells the connections of one listener that it is not what it was.
    pub(crate) fn retire_listener(&mut self, listener: u32) {
        self.drive_all(Cause::Retire, |io| io.listener == listener);
    }

    /// Drives every connection that is not the server's own and fits.
    fn drive_all(&mut self, cause: Cause, fits: impl Fn(&Io) -> bool) {
        let ids: Vec<_> = self.channels.keys().collect();
        for id in ids {
            if self.channels.get(id).is_some_and(|c| !c.io.background && fits(&c.io)) {
                self.drive(id, cause);
            }
        }
    }

    /// Drops every connection.
    pub(crate) fn drop_all(&mut self) {
        let ids: Vec<_> = self.channels.keys().collect();
        for id in ids {
            self.remove(id, Closed::Dropped);
        }
    }

    /// Connections that are not the server's own.
    pub(crate) fn busy(&self) -> usize {
        self.channels.len() - self.background
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter()
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(id)
    }

    pub(crate) fn budget_stops(&self) -> u64 {
        self.pump.budget_stops
    }

    /// Runs what an author wrote, outside a connection; a panic in it harms nothing else.
    pub(crate) fn guarded(&mut self, run: impl FnOnce(&mut Self)) {
        // The panic hook has told what and where.
        if catch_unwind(AssertUnwindSafe(|| run(self))).is_err() {
            self.figures.panics += 1;
        }
    }

    fn drive(&mut self, id: ChannelId, cause: Cause) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let pump = &mut self.pump;
        let verdict = catch_unwind(AssertUnwindSafe(|| channel.drive(id, cause, pump)));
        match verdict {
            Ok(Verdict::Waits) => self.arm(id),
            Ok(Verdict::Again) => {
                if !std::mem::replace(&mut channel.io.runnable, true) {
                    self.runnable.push_back(id);
                }
                self.arm(id);
            }
            Ok(Verdict::Ended(closed)) => self.remove(id, *closed),
            Err(_) => {
                // The panic hook has told what and where. One connection pays for it.
                self.figures.panics += 1;
                let budget_stops = self.pump.budget_stops;
                self.pump = Pump::new(self.handle.clone());
                self.pump.budget_stops = budget_stops;
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.io.transport.reset();
                }
                self.remove(id, Closed::Dropped);
            }
        }
    }

    /// Keeps a timer that is no later than the channel's nearest deadline. A deadline that moves
    /// away costs nothing: the timer goes off early and is set anew.
    fn arm(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let io = &mut channel.io;
        let nearest = io.nearest_deadline();
        if nearest == 0 || (io.armed != 0 && io.armed <= nearest) {
            return;
        }
        if io.armed != 0 {
            self.deadlines.remove(&(io.armed, id));
        }
        io.armed = nearest;
        self.deadlines.insert((nearest, id));
    }

    fn remove(&mut self, id: ChannelId, why: Closed) {
        let Some(channel) = self.channels.remove(id) else { return };
        if channel.io.armed != 0 {
            self.deadlines.remove(&(channel.io.armed, id));
        }
        self.background -= usize::from(channel.io.background);
        let io = &channel.io;
        self.figures.closed += 1;
        self.figures.received += io.received;
        self.figures.sent += io.sent;
        if io.listener != 0 {
            self.ended.push(io.listener);
        }
        let ending = Ending { why, sent: io.sent, received: io.received, now: self.handle.now() };
        // Each of these may run what an author wrote. The queue goes before the protocol hears of
        // the end, so that producers let go of what they hold.
        let Channel { mut protocol, mut io } = channel;
        self.guarded(|_| drop(io.out.take()));
        self.guarded(|_| protocol.closed(&ending));
        self.guarded(|_| drop(protocol));
        self.guarded(|_| drop(io));
    }
}
