//! The loop on real sockets: waits for readiness, accepts, and drives the engine.
//!
//! What one turn does, in order: wait for events; read the clock, once; drive the channels that
//! are ready; accept; take in what other threads sent; settle timers, wake-ups and commands;
//! carry out what needs a socket or a thread; note how long all this took. The first thing that stands behind it is mio,
//! edge-triggered: each socket is registered once, for both directions, and never again.

mod change;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::address::{Address, Peer};
use crate::datagram::{DatagramProtocol, DatagramSender, Datagrams};
use crate::engine::{Admission, ChannelId, Engine};
use crate::handle::{Command, Connect, Handle, ListenerId};
use crate::inspect::{Inspect, Node, Value};
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_A_TURN, ChannelSettings, EVENTS_A_TURN, MAX_DATAGRAM_BYTES, MAX_GRACE,
    PORT_TRIES,
};
pub use crate::listener::ListenOptions;
use crate::listener::{Counts, Listener, Reserve, asked_for_any_port, is_exhausted};
use crate::passed::{Kind, PassedSocket, Waiting};
use crate::pool::Pool;
use crate::protocol::Service;
pub use crate::reactor::change::{Bind, ListenerChange, NotBound};
use crate::remote::{Message, Remote};
use crate::transport::Transport;

const WAKER: Token = Token(0);

// Tokens below 2^32 are listeners and UDP sockets; from there on they are channels.
const _: () = assert!(usize::BITS >= 64, "tokens hold a channel's whole name");

/// What the loop as a whole may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections open at once; further ones wait in the backlog until one has ended.
    pub max_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_connections: 100_000 }
    }
}

/// The loop: one thread, any number of connections.
pub struct Reactor {
    poll: Poll,
    engine: Engine,
    time_of_day: TimeOfDay,
    settings: Settings,
    listeners: HashMap<u32, Listener>,
    datagrams: HashMap<u32, Datagrams>,
    descriptors: HashMap<u32, Descriptor>,
    datagram_buffer: Vec<u8>,
    last_number: u32,
    pool: Pool,
    remote: Remote,
    reserve: Reserve,
    reserve_used: u64,
    passed: Waiting,
    /// When the loop ends at the latest, once it was asked to.
    stopping: Option<Instant>,
    /// It is only leaving: it can still be asked to stop.
    retiring: bool,
    ended: Vec<u32>,
    shown: Rc<Listeners>,
}

impl Reactor {
    /// Makes a loop.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let remote = Remote::new(mio::Waker::new(poll.registry(), WAKER)?);
        let now = Instant::now();
        let time_of_day = TimeOfDay::read(now);
        let engine = Engine::new(now, time_of_day.unix);
        let shown = Rc::new(Listeners::default());
        engine.handle().mount("listeners", shown.clone());
        Ok(Self {
            poll,
            engine,
            time_of_day,
            settings,
            listeners: HashMap::new(),
            datagrams: HashMap::new(),
            descriptors: HashMap::new(),
            datagram_buffer: Vec::new(),
            last_number: 0,
            pool: Pool::new(remote.clone()),
            remote,
            reserve: Reserve::new(),
            reserve_used: 0,
            passed: Waiting::default(),
            stopping: None,
            retiring: false,
            ended: Vec::new(),
            shown,
        })
    }

    /// The services of this loop, for whatever runs on its thread.
    pub fn handle(&self) -> &Handle {
        self.engine.handle()
    }

    /// Reaches this loop from other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Listens, before or while the loop runs. Gives the address that was really bound.
    pub fn listen(
        &mut self,
        address: &Address,
        service: Rc<dyn Service>,
        options: ListenOptions,
    ) -> io::Result<(ListenerId, Address)> {
        let passed =
            if options.transient { None } else { self.passed.take(address, Kind::Listener)? };
        let mut listener = match passed {
            Some(passed) => {
                let mut listener = Listener::take_over(passed, service, options)?;
                listener.datagrams = self.bind_beside(&listener)?;
                listener
            }
            None => self.bind_listener(address, &service, options)?,
        };
        let number = self.number();
        listener.register(self.poll.registry(), Token(number as usize))?;
        let bound = listener.address.clone();
        self.listeners.insert(number, listener);
        if !options.transient {
            self.show();
        }
        Ok((ListenerId(number), bound))
    }

    /// Takes sockets that another process has left to this one. Whatever listens or binds from now
    /// on takes the one that fits its address, if there is one, instead of making its own.
    pub fn pass(&mut self, sockets: Vec<PassedSocket>) {
        self.passed.add(sockets);
    }

    /// Closes the passed sockets that nobody has asked for; gives their addresses.
    pub fn close_passed(&mut self) -> Vec<Address> {
        self.passed.close()
    }

    /// Runs until [`Handle::shutdown`] has been asked and every connection has ended.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        while !self.has_stopped() {
            self.turn(&mut events, None)?;
        }
        self.listeners.clear();
        self.engine.drop_all();
        Ok(())
    }

    /// Does one turn that sleeps for at most `most`; for programs with a loop of their own.
    pub fn turn(&mut self, events: &mut Events, most: Option<Duration>) -> io::Result<()> {
        let wait = match (self.next_wait(), most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match self.poll.poll(events, wait) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let now = Instant::now();
        self.engine.set_time(now, self.time_of_day.at(now));
        let mut woken = false;
        self.drive_descriptors(events);
        for event in &*events {
            let token = event.token();
            if token == WAKER {
                woken = true;
                continue;
            }
            if token.0 > u32::MAX as usize {
                let id = ChannelId::from_u64(token.0 as u64);
                if event.is_priority() {
                    self.engine.urgent(id);
                }
                if event.is_error() {
                    self.engine.broken(id);
                } else {
                    let closed = event.is_read_closed();
                    self.engine.ready(id, event.is_readable(), event.is_writable(), closed);
                }
            } else if let Some(listener) = self.listeners.get_mut(&(token.0 as u32)) {
                listener.ready = true;
            } else if let Some(datagrams) = self.datagrams.get_mut(&(token.0 as u32)) {
                datagrams.readable |= event.is_readable();
                datagrams.writable |= event.is_writable();
            }
        }
        self.accept_all();
        self.drive_datagrams();
        // Whoever puts the first message there wakes the loop.
        let messages = if woken { self.remote.take() } else { VecDeque::new() };
        for message in messages {
            match message {
                Message::Done(id, result) => {
                    let pool = &mut self.pool;
                    self.engine.guarded(|_| pool.done(id, result));
                }
                Message::Call(call) => self.engine.guarded(|engine| call(engine.handle())),
            }
        }
        self.engine.settle();
        for request in self.engine.take_requests() {
            // What is asked for ends in a call to whoever asked.
            if catch_unwind(AssertUnwindSafe(|| self.carry_out(request))).is_err() {
                self.engine.figures.panics += 1;
            }
        }
        for datagrams in self.datagrams.values_mut() {
            datagrams.flush();
        }
        self.engine.handle().turn_ended(Instant::now(), || events.iter().count());
        Ok(())
    }

    fn next_wait(&self) -> Option<Duration> {
        let mut wait = self.engine.next_wait();
        let now = self.engine.handle().now();
        let mut sooner = |by: Duration| wait = Some(wait.map_or(by, |w| w.min(by)));
        for listener in self.listeners.values() {
            match listener.rests_until {
                Some(until) => sooner(until.saturating_duration_since(now)),
                None if listener.ready && !self.is_full() => sooner(Duration::ZERO),
                None => {}
            }
        }
        if self.datagrams.values().any(|d| d.readable || d.has_work()) {
            sooner(Duration::ZERO);
        }
        if let Some(by) = self.stopping {
            sooner(by.saturating_duration_since(now));
        }
        wait
    }

    fn is_full(&self) -> bool {
        self.engine.busy() >= self.settings.max_connections
    }

    fn has_stopped(&self) -> bool {
        self.stopping.is_some_and(|by| {
            let now = self.engine.handle().now();
            (self.engine.busy() == 0 && self.pool.busy() == 0) || now >= by
        })
    }

    fn number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    fn accept_all(&mut self) {
        self.engine.take_ended(&mut self.ended);
        for number in self.ended.drain(..) {
            if let Some(listener) = self.listeners.get_mut(&number) {
                listener.counts.open.set(listener.counts.open.get().saturating_sub(1));
            }
        }
        let now = self.engine.handle().now();
        let numbers: Vec<u32> = self
            .listeners
            .iter_mut()
            .filter_map(|(number, listener)| {
                if listener.rests_until.is_some_and(|until| until <= now) {
                    listener.rests_until = None;
                    listener.ready = true;
                }
                (listener.ready && listener.rests_until.is_none()).then_some(*number)
            })
            .collect();
        for number in numbers {
            self.accept(number);
        }
    }

    /// Accepts what waits at one listener, within the budget.
    fn accept(&mut self, number: u32) {
        for _ in 0..ACCEPTS_A_TURN {
            if self.is_full() {
                return;
            }
            let Some(listener) = self.listeners.get_mut(&number) else { return };
            match listener.accept() {
                Ok((mut transport, peer)) => {
                    listener.counts.accepted.set(listener.counts.accepted.get() + 1);
                    let taken = match self.engine.admit(&*listener.service, &peer) {
                        Admission::Taken(taken) => taken,
                        Admission::Refused => continue,
                        Admission::TurnedAway => {
                            let away = &listener.counts.turned_away;
                            away.set(away.get() + 1);
                            transport.turn_away(listener.service.refusal());
                            continue;
                        }
                    };
                    listener.counts.open.set(listener.counts.open.get() + 1);
                    let id = self.engine.insert_taken(transport, taken, peer, number);
                    self.register(id);
                    self.engine.start(id);
                    if self.listeners.get(&number).is_some_and(|listener| listener.transient) {
                        // It may have what it waited for, and then nobody needs to look again.
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    listener.ready = false;
                    return;
                }
                Err(e) if is_exhausted(&e) => {
                    // Whoever has waited longest is told by an end; the rest wait.
                    self.reserve.lend(|| drop(listener.accept()));
                    self.reserve_used += 1;
                    if self.reserve_used.is_power_of_two() {
                        tracing::warn!(
                            "out of descriptors ({e}): a connection was refused, {} so far; \
                             raise `ulimit -n` or lower --max-connections",
                            self.reserve_used
                        );
                    }
                    listener.rests_until = Some(self.engine.handle().now() + ACCEPT_PAUSE);
                    return;
                }
                // The client went away before it was accepted.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // It may go on for long: trying again at once would spin.
                    tracing::warn!("cannot accept at {}: {e}", listener.address);
                    listener.rests_until = Some(self.engine.handle().now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn register(&mut self, id: ChannelId) {
        let token = Token(id.as_u64() as usize);
        let Some(transport) = self.engine.transport_mut(id) else { return };
        if let Err(e) = transport.register(self.poll.registry(), token) {
            self.engine.connect_failed(id, e);
        }
    }

    fn poll_descriptor(&mut self, source: Rc<dyn AsFd>, ready: Box<dyn FnMut()>) -> io::Result<()> {
        let number = self.number();
        let raw = source.as_fd().as_raw_fd();
        let token = Token(number as usize);
        self.poll.registry().register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        self.descriptors.insert(number, Descriptor { _source: source, ready });
        Ok(())
    }

    /// Calls whoever waits for a descriptor. This comes before connections: what a notice says
    /// happened before the requests that came behind it.
    fn drive_descriptors(&mut self, events: &Events) {
        if self.descriptors.is_empty() {
            return;
        }
        for event in events {
            let Ok(number) = u32::try_from(event.token().0) else { continue };
            if let Some(descriptor) = self.descriptors.get_mut(&number) {
                self.engine.guarded(|_| (descriptor.ready)());
            }
        }
    }

    fn drive_datagrams(&mut self) {
        if self.datagrams.is_empty() {
            return;
        }
        let (registry, buffer) = (self.poll.registry(), &mut self.datagram_buffer);
        let engine = &mut self.engine;
        self.datagrams.retain(|_, datagrams| {
            if datagrams.readable {
                // Only a loop with UDP sockets pays for it, and only once.
                buffer.resize(MAX_DATAGRAM_BYTES, 0);
                engine.guarded(|_| datagrams.receive(buffer));
            }
            datagrams.flush();
            if datagrams.is_closed() {
                // Closing takes it out of the poll where this fails.
                let _ = registry.deregister(&mut datagrams.socket);
            }
            !datagrams.is_closed()
        });
    }

    fn carry_out(&mut self, request: Command) {
        match request {
            Command::Job { work, then } => self.pool.submit(work, then),
            Command::Connect(connect) => self.connect(connect),
            Command::Adopt { transport, protocol, background } => {
                let settings = Rc::new(ChannelSettings::default());
                let id = self.engine.insert(transport, protocol, Peer::Unknown, settings, None, 0);
                if background {
                    self.engine.set_background(id);
                }
                self.register(id);
                self.engine.start(id);
            }
            Command::Listen { address, service, options, then } => {
                then(self.listen(&address, service, options));
            }
            Command::Unlisten(id) => self.unlisten(id),
            Command::ChangeListeners { change, then } => then(self.change_listeners(change)),
            Command::Limit { max_connections } => self.settings.max_connections = max_connections,
            Command::Bind { address, protocol, then } => {
                then(self.bind(&address, protocol).map(|(_, bound)| bound));
            }
            Command::Poll { source, ready, then } => then(self.poll_descriptor(source, ready)),
            Command::Shutdown { grace } => {
                let now = self.engine.handle().now();
                let retiring = std::mem::take(&mut self.retiring);
                if self.stopping.is_some() && !retiring {
                    self.stopping = Some(now);
                    return;
                }
                let by = now + grace.min(MAX_GRACE);
                self.stopping = Some(self.stopping.map_or(by, |other| other.min(by)));
                self.drop_listeners(|_| true);
                self.engine.shut_down();
            }
            Command::Passed { then } => then(self.passed_sockets()),
            Command::Retire { grace, then } => {
                if self.stopping.is_some() {
                    return;
                }
                self.stopping = Some(self.engine.handle().now() + grace.min(MAX_GRACE));
                self.retiring = true;
                self.listeners.values_mut().for_each(Listener::leave_file);
                self.drop_listeners(|listener| !listener.transient);
                // At once, so that from now on the other process has all that comes.
                for (_, mut datagrams) in self.datagrams.extract_if(|_, d| !d.chosen) {
                    datagrams.flush();
                    // Closing takes it out of the poll where this fails.
                    let _ = self.poll.registry().deregister(&mut datagrams.socket);
                }
                self.engine.retire();
                then();
            }
            Command::Timer { .. }
            | Command::CancelTimer(_)
            | Command::Later(_)
            | Command::Close(_)
            | Command::Pause(..)
            | Command::Query { .. } => unreachable!("the engine carries these out itself"),
        }
    }

    fn drop_listeners(&mut self, which: impl Fn(&Listener) -> bool) {
        let gone: Vec<_> =
            self.listeners.extract_if(|_, listener| which(listener)).map(|(_, l)| l).collect();
        for listener in gone {
            self.close_listener(listener);
        }
        self.show();
    }

    fn passed_sockets(&self) -> io::Result<Vec<PassedSocket>> {
        // In the order in which they were asked for, in which they will be asked for again.
        let mut listeners: Vec<_> = self.listeners.iter().filter(|(_, l)| !l.transient).collect();
        listeners.sort_unstable_by_key(|(number, _)| **number);
        let datagrams = self.datagrams.values().filter(|d| !d.chosen).map(Datagrams::passed);
        listeners.into_iter().map(|(_, listener)| listener.passed()).chain(datagrams).collect()
    }

    fn connect(&mut self, connect: Connect) {
        let Connect { address, protocol, within, settings } = connect;
        let (transport, peer) = match &address {
            Address::Inet(inet) => (
                mio::net::TcpStream::connect(*inet).map(|s| {
                    // Only a matter of speed: an old system may refuse.
                    let _ = s.set_nodelay(true);
                    Transport::Tcp(s)
                }),
                Peer::from(*inet),
            ),
            Address::Unix(path) => {
                (mio::net::UnixStream::connect(path).map(Transport::Unix), Peer::Unix)
            }
            Address::Passed(_) => (Err(io::ErrorKind::Unsupported.into()), Peer::Unknown),
        };
        match transport {
            Ok(transport) => {
                let id = self.engine.insert(transport, protocol, peer, settings, Some(within), 0);
                self.register(id);
            }
            Err(error) => {
                let mut protocol = protocol;
                let now = self.engine.handle().now();
                protocol.closed(&crate::protocol::Ending {
                    why: crate::protocol::Closed::ConnectFailed(error),
                    sent: 0,
                    received: 0,
                    now,
                });
            }
        }
    }

    fn bind(
        &mut self,
        address: &Address,
        mut protocol: Box<dyn DatagramProtocol>,
    ) -> io::Result<(u32, Address)> {
        let Address::Inet(inet) = address else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "datagrams need IP:PORT, not a unix: path",
            ));
        };
        let passed = self.passed.take(address, Kind::Datagram)?;
        let mut socket = match passed {
            Some(passed) => {
                passed.socket.set_nonblocking(true)?;
                mio::net::UdpSocket::from_std(passed.socket.into())
            }
            None => mio::net::UdpSocket::bind(*inet)?,
        };
        let number = self.number();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(number as usize), both)?;
        let bound: SocketAddr = socket.local_addr()?;
        let sender = DatagramSender::default();
        protocol.opened(sender.clone(), self.engine.handle());
        let chosen = asked_for_any_port(address);
        let datagrams =
            Datagrams { socket, protocol, sender, chosen, readable: true, writable: true };
        self.datagrams.insert(number, datagrams);
        Ok((number, Address::Inet(bound)))
    }

    /// Binds a listener, and its UDP socket if it has one.
    fn bind_listener(
        &mut self,
        address: &Address,
        service: &Rc<dyn Service>,
        options: ListenOptions,
    ) -> io::Result<Listener> {
        let mut tries = 1;
        loop {
            let mut listener = Listener::bind(address, service.clone(), options)?;
            match self.bind_beside(&listener) {
                Ok(number) => {
                    listener.datagrams = number;
                    return Ok(listener);
                }
                // The port that the system chose is free for one of the two only.
                Err(e)
                    if e.kind() == io::ErrorKind::AddrInUse
                        && asked_for_any_port(address)
                        && tries < PORT_TRIES =>
                {
                    tries += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Binds the UDP socket of a listener whose service takes datagrams; gives its number.
    fn bind_beside(&mut self, listener: &Listener) -> io::Result<Option<u32>> {
        let Some(protocol) = listener.service.datagrams() else { return Ok(None) };
        let (number, _) = self.bind(&listener.address, protocol)?;
        Ok(Some(number))
    }

    /// Closes a listener's sockets.
    fn close_listener(&mut self, mut listener: Listener) {
        listener.deregister(self.poll.registry());
        if let Some(mut datagrams) = listener.datagrams.and_then(|n| self.datagrams.remove(&n)) {
            datagrams.flush();
            // It goes in any case.
            let _ = self.poll.registry().deregister(&mut datagrams.socket);
        }
    }

    /// Makes the inspection tree show the listeners as they are now.
    fn show(&self) {
        *self.shown.0.borrow_mut() = self
            .listeners
            .iter()
            .filter(|(_, l)| !l.transient)
            .map(|(number, l)| Shown {
                number: number.to_string(),
                protocol: l.service.name().to_owned(),
                address: l.address.to_string(),
                counts: l.counts.clone(),
            })
            .collect();
    }
}

/// A descriptor that somebody waits for, held so that its number stays its own.
struct Descriptor {
    _source: Rc<dyn AsFd>,
    ready: Box<dyn FnMut()>,
}

/// The time of day, carried on by the loop's own clock and read anew once a second, so that a
/// turn reads one clock.
struct TimeOfDay {
    read_at: Instant,
    unix: Duration,
}

/// How long the time of day is carried on before it is read anew.
const TIME_OF_DAY_LASTS: Duration = Duration::from_secs(1);

impl TimeOfDay {
    fn read(now: Instant) -> Self {
        // A clock set before 1970 reads as 1970.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { read_at: now, unix }
    }

    fn at(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.read_at);
        if since < TIME_OF_DAY_LASTS {
            return self.unix + since;
        }
        *self = Self::read(now);
        self.unix
    }
}

/// The listeners in the inspection tree.
#[derive(Default)]
struct Listeners(RefCell<Vec<Shown>>);

struct Shown {
    number: String,
    protocol: String,
    address: String,
    counts: Rc<Counts>,
}

impl Inspect for Listeners {
    fn node(&self) -> Node {
        let listeners = self.0.borrow();
        Node {
            children: listeners.iter().map(|l| l.number.clone()).collect(),
            ..Node::new("listeners")
                .about(
                    "The sockets that connections are accepted on.",
                    &[("open", "How many there are.")],
                )
                .field("open", Value::Count(listeners.len() as u64))
        }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let listeners = self.0.borrow();
        let shown = listeners.iter().find(|l| l.number == name)?;
        Some(Rc::new(Fixed(
            Node::new("listener")
                .about("A socket that connections are accepted on.", LISTENER_NOTES)
                .field("protocol", Value::Text(shown.protocol.clone()))
                .field("address", Value::Text(shown.address.clone()))
                .field("accepted", Value::Count(shown.counts.accepted.get()))
                .field("open", Value::Count(shown.counts.open.get()))
                .field("turned away", Value::Count(shown.counts.turned_away.get())),
        )))
    }
}

/// What the fields of a listener mean.
const LISTENER_NOTES: &[(&str, &str)] = &[
    ("protocol", "What is spoken there."),
    ("address", "Where it listens."),
    ("accepted", "Connections that were accepted."),
    ("open", "Those of them that are open."),
    ("turned away", "Those whose client had as many as one may have."),
];

/// A node that was made beforehand.
struct Fixed(Node);

impl Inspect for Fixed {
    fn node(&self) -> Node {
        self.0.clone()
    }
}
