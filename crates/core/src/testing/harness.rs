//! The driver: what the reactor is to sockets, this is to pipes and virtual time.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::peer::{Peer, ServerEnd, Wire};
use crate::address::{Address, Peer as PeerAddress};
use crate::datagram::{DatagramProtocol, DatagramSender};
use crate::engine::{Admission, ChannelId, Engine};
use crate::handle::{Command, Connect, Handle, JobLost, ListenerId, Then, Work};
use crate::inspect::{self, Outcome, Query};
use crate::limits::{ChannelSettings, MAX_GRACE, POOL_QUEUE};
use crate::protocol::{Protocol, Service};
use crate::reactor::{Bind, ListenerChange, NotBound};
use crate::transport::Transport;

/// Where the virtual clock starts, in seconds since 1970: the first second of the year 2100,
/// `Fri, 01 Jan 2100 00:00:00 GMT`. It is later than the time of any real file, as it must be for
/// protocols that compare the two.
pub const START_UNIX: Duration = Duration::from_secs(4_102_444_800);

/// Turns after which a loop that has not come to rest is taken to spin.
const TURNS: usize = 200_000;

/// The first port given to a listener that lets the system choose.
const FIRST_PORT: u16 = 40_000;

/// Drives an engine over connections in memory, under virtual time.
pub struct Harness {
    pub(super) engine: Engine,
    now: Instant,
    unix: Duration,
    wires: Vec<(ChannelId, Rc<RefCell<Wire>>)>,
    pub(super) outgoing: VecDeque<Outgoing>,
    pub(super) listeners: Vec<(ListenerId, Address, Rc<dyn Service>)>,
    pub(super) datagrams: Vec<(SocketAddr, Box<dyn DatagramProtocol>, DatagramSender)>,
    /// UDP sockets that last as long as a listener.
    beside: Vec<(ListenerId, DatagramSender)>,
    pub(super) sent: VecDeque<Sent>,
    pub(super) jobs: VecDeque<(Work, Then)>,
    pub(super) done: VecDeque<(Then, JobResult)>,
    pub(super) hold_jobs: bool,
    pub(super) bind_faults: VecDeque<io::ErrorKind>,
    stopping: Option<Instant>,
    retiring: bool,
    panics_allowed: bool,
    numbers: u32,
    ports: u16,
}

type JobResult = Result<Box<dyn Any + Send>, JobLost>;

/// A connection that somebody asked for and that does not stand yet.
#[derive(Clone)]
pub struct Outgoing {
    pub(super) address: Address,
    pub(super) peer: Peer,
}

/// A datagram that somebody sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The socket that it left from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// Makes a harness whose clock starts at [`START_UNIX`].
    pub fn new() -> Self {
        Self::at(START_UNIX)
    }

    /// Makes a harness whose clock starts at this time since 1970.
    pub fn at(unix: Duration) -> Self {
        let now = Instant::now();
        Self {
            engine: Engine::new(now, unix),
            now,
            unix,
            wires: Vec::new(),
            outgoing: VecDeque::new(),
            listeners: Vec::new(),
            datagrams: Vec::new(),
            beside: Vec::new(),
            sent: VecDeque::new(),
            jobs: VecDeque::new(),
            done: VecDeque::new(),
            hold_jobs: false,
            bind_faults: VecDeque::new(),
            stopping: None,
            retiring: false,
            panics_allowed: false,
            numbers: 0,
            ports: FIRST_PORT,
        }
    }

    /// The services of the loop.
    pub fn handle(&self) -> Handle {
        self.engine.handle().clone()
    }

    /// Opens a connection for this protocol, with the default settings.
    pub fn open(&mut self, protocol: Box<dyn Protocol>) -> Peer {
        self.open_with(protocol, PeerAddress::Unknown, Rc::default())
    }

    /// Opens a connection for this protocol from this address, with these settings.
    pub fn open_with(
        &mut self,
        protocol: Box<dyn Protocol>,
        from: PeerAddress,
        settings: Rc<ChannelSettings>,
    ) -> Peer {
        let peer = self.insert(protocol, from, settings, None, 0);
        self.engine.start(peer.id);
        peer
    }

    /// Has a service accept a connection from `198.51.100.1:50000`.
    ///
    /// # Panics
    /// When it refuses; see [`Harness::accept_from`].
    pub fn accept(&mut self, service: &dyn Service) -> Peer {
        let from = PeerAddress::V4([198, 51, 100, 1].into(), 50_000);
        self.accept_from(service, from).expect("the service accepts a connection")
    }

    /// Has a service accept a connection from this address; `None` when it refuses.
    pub fn accept_from(&mut self, service: &dyn Service, from: PeerAddress) -> Option<Peer> {
        self.admit(service, from, 0)
    }

    pub(super) fn admit(
        &mut self,
        service: &dyn Service,
        from: PeerAddress,
        listener: u32,
    ) -> Option<Peer> {
        let Admission::Taken(taken) = self.engine.admit(service, &from) else { return None };
        let insert = |engine: &mut Engine, wire| engine.insert_taken(wire, taken, from, listener);
        let peer = self.wire(insert);
        peer.wire.borrow_mut().set_edge();
        self.engine.start(peer.id);
        Some(peer)
    }

    fn insert(
        &mut self,
        protocol: Box<dyn Protocol>,
        from: PeerAddress,
        settings: Rc<ChannelSettings>,
        within: Option<Duration>,
        listener: u32,
    ) -> Peer {
        let peer = self.wire(|engine, transport| {
            engine.insert(transport, protocol, from, settings, within, listener)
        });
        if within.is_none() {
            peer.wire.borrow_mut().set_edge();
        }
        peer
    }

    /// Makes a pipe, one end of which `insert` gives to the engine.
    fn wire(&mut self, insert: impl FnOnce(&mut Engine, Transport) -> ChannelId) -> Peer {
        let wire = Rc::new(RefCell::new(Wire::default()));
        let transport = Transport::Other(Box::new(ServerEnd(wire.clone())));
        let id = insert(&mut self.engine, transport);
        self.wires.push((id, wire.clone()));
        Peer { id, wire }
    }

    /// Runs turns until there is nothing left to do at this time.
    ///
    /// # Panics
    /// When that never happens, or when a protocol panics (see [`Harness::allow_panics`]).
    pub fn run(&mut self) {
        for _ in 0..TURNS {
            if !self.turn() {
                return;
            }
        }
        panic!("the loop does not come to rest: something is driven again and again");
    }

    /// Runs one turn; says whether there is more to do at this time.
    pub fn turn(&mut self) -> bool {
        self.engine.set_time(self.now, self.unix);
        let wires = self.wires.clone();
        for (id, wire) in wires {
            wire.borrow_mut().arrive();
            let Some(news) = wire.borrow_mut().take_readiness() else { continue };
            if news.broken {
                self.engine.broken(id);
            } else {
                self.engine.ready(id, news.readable, news.writable, news.closed);
            }
        }
        if !self.hold_jobs {
            self.run_jobs();
        }
        for (then, result) in std::mem::take(&mut self.done) {
            self.engine.guarded(|_| then(result));
        }
        self.engine.settle();
        for request in self.engine.take_requests() {
            self.carry_out(request);
        }
        self.flush_datagrams();
        self.wires.retain(|(_, wire)| !wire.borrow().is_gone());
        assert!(
            self.panics_allowed || self.engine.figures.panics == 0,
            "a protocol panicked; what it said stands above"
        );
        self.engine.next_wait() == Some(Duration::ZERO)
            || self.wires.iter().any(|(_, wire)| wire.borrow().has_news())
            || !self.done.is_empty()
            || (!self.hold_jobs && !self.jobs.is_empty())
    }

    /// Lets protocols panic: their connections are dropped, and the test goes on.
    pub fn allow_panics(&mut self) {
        self.panics_allowed = true;
    }

    /// Lets time pass: everything that falls due on the way happens at its time, in order.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        self.run();
        while let Some(wait) = self.engine.next_wait().filter(|wait| *wait <= until - self.now) {
            self.pass(wait);
            self.run();
        }
        self.pass(until - self.now);
        self.run();
    }

    fn pass(&mut self, by: Duration) {
        self.now += by;
        self.unix += by;
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The virtual time of day, as the time since 1970.
    pub fn unix_time(&self) -> Duration {
        self.unix
    }

    /// The time until something falls due; `None` when nothing ever does.
    pub fn next_due(&self) -> Option<Duration> {
        self.engine.next_wait()
    }

    /// Looks into the inspection tree.
    pub fn inspect(&mut self, path: &str) -> Outcome {
        self.ask(Query::look(path))
    }

    /// Carries out an action in the inspection tree.
    pub fn act(&mut self, path: &str, action: &str, arguments: &[&str]) -> Outcome {
        self.ask(Query::act(path, action, arguments))
    }

    /// Asks the inspection tree, and runs turns if the answer is not there at once.
    ///
    /// # Panics
    /// When it is not there when the loop has come to rest; see [`Handle::inspect`].
    pub fn ask(&mut self, query: Query) -> Outcome {
        let heard = Rc::new(RefCell::new(None));
        let answer = heard.clone();
        let then = Box::new(move |outcome| drop(answer.replace(Some(outcome))));
        inspect::answer(&mut self.engine, query, then);
        if heard.borrow().is_none() {
            self.run();
        }
        heard.take().expect("the tree has answered")
    }

    /// Whether a shutdown was asked for and has come to its end.
    pub fn has_stopped(&self) -> bool {
        self.stopping
            .is_some_and(|by| (self.engine.busy() == 0 && self.jobs.is_empty()) || self.now >= by)
    }

    /// Bytes of input that a connection holds storage for, and whether it owns an output queue.
    #[cfg(test)]
    pub(crate) fn storage(&self, peer: &Peer) -> (usize, bool) {
        let io = &self.engine.channel(peer.id).expect("the connection is open").io;
        (io.stash_storage(), io.out.is_some())
    }

    /// Bytes of storage in the output queue that a connection owns.
    #[cfg(test)]
    pub(crate) fn output_storage(&self, peer: &Peer) -> usize {
        let io = &self.engine.channel(peer.id).expect("the connection is open").io;
        io.out.as_ref().map_or(0, |out| out.storage())
    }

    fn carry_out(&mut self, request: Command) {
        match request {
            Command::Job { then, .. } if self.jobs.len() >= POOL_QUEUE => {
                self.done.push_back((then, Err(JobLost::QueueFull)));
            }
            Command::Job { work, then } => self.jobs.push_back((work, then)),
            Command::Connect(Connect { address, protocol, within, settings }) => {
                let to = match &address {
                    Address::Inet(inet) => PeerAddress::from(*inet),
                    Address::Unix(_) | Address::Passed(_) => PeerAddress::Unix,
                };
                let peer = self.insert(protocol, to, settings, Some(within), 0);
                self.outgoing.push_back(Outgoing { address, peer });
            }
            Command::Adopt { transport, protocol, background } => {
                let (from, settings) = (PeerAddress::Unknown, Rc::default());
                let id = self.engine.insert(transport, protocol, from, settings, None, 0);
                if background {
                    self.engine.set_background(id);
                }
                self.engine.start(id);
            }
            Command::Listen { address, service, then, .. } => {
                then(self.listen(address, service));
            }
            Command::ChangeListeners { change, then } => then(self.change_listeners(change)),
            Command::Limit { .. } => {}
            Command::Unlisten(id) => self.keep_listeners(|listener| *listener != id),
            Command::Bind { address, protocol, then } => {
                let bound = self.bind(address).and_then(|address| match address {
                    Address::Inet(inet) => Ok(inet),
                    Address::Unix(_) | Address::Passed(_) => Err(io::ErrorKind::Unsupported.into()),
                });
                if let Ok(inet) = bound {
                    self.take_datagrams(inet, protocol);
                }
                then(bound.map(Address::Inet));
            }
            Command::Poll { then, .. } => then(Err(io::ErrorKind::Unsupported.into())),
            Command::Shutdown { grace } => {
                let retiring = std::mem::take(&mut self.retiring);
                let asked_before = self.stopping.replace(self.now + grace.min(MAX_GRACE));
                if asked_before.is_some() && !retiring {
                    self.stopping = Some(self.now);
                    return;
                }
                self.keep_listeners(|_| false);
                self.engine.shut_down();
            }
            Command::Passed { then } => then(Err(io::ErrorKind::Unsupported.into())),
            Command::Retire { grace, then } => {
                self.stopping = Some(self.now + grace.min(MAX_GRACE));
                self.retiring = true;
                self.keep_listeners(|_| false);
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

    /// Chooses a port where the address leaves it open.
    fn listen(
        &mut self,
        address: Address,
        service: Rc<dyn Service>,
    ) -> io::Result<(ListenerId, Address)> {
        let address = self.bind(address)?;
        self.numbers += 1;
        let id = ListenerId(self.numbers);
        if let (Some(protocol), Address::Inet(inet)) = (service.datagrams(), &address) {
            let sender = self.take_datagrams(*inet, protocol);
            self.beside.push((id, sender));
        }
        self.listeners.push((id, address.clone(), service));
        Ok((id, address))
    }

    fn take_datagrams(
        &mut self,
        address: SocketAddr,
        mut protocol: Box<dyn DatagramProtocol>,
    ) -> DatagramSender {
        let sender = DatagramSender::default();
        protocol.opened(sender.clone(), self.engine.handle());
        self.datagrams.push((address, protocol, sender.clone()));
        sender
    }

    /// Keeps those listeners for which this is true.
    fn keep_listeners(&mut self, mut keep: impl FnMut(&ListenerId) -> bool) {
        self.beside.retain(|(id, sender)| {
            keep(id) || {
                sender.close();
                false
            }
        });
        self.listeners.retain(|(id, ..)| keep(id));
    }

    fn change_listeners(
        &mut self,
        change: ListenerChange,
    ) -> Result<Vec<(ListenerId, Address)>, NotBound> {
        let before = self.listeners.len();
        let mut added = Vec::new();
        for (place, Bind { address, service, .. }) in change.bind.into_iter().enumerate() {
            match self.listen(address, service) {
                Ok(bound) => added.push(bound),
                Err(error) => {
                    self.listeners.truncate(before);
                    return Err(NotBound { place, error });
                }
            }
        }
        for (id, service) in change.serve {
            for listener in self.listeners.iter_mut().filter(|(listener, ..)| *listener == id) {
                listener.2 = service.clone();
            }
        }
        self.keep_listeners(|listener| !change.stop.contains(listener));
        Ok(added)
    }

    fn bind(&mut self, mut address: Address) -> io::Result<Address> {
        if let Some(kind) = self.bind_faults.pop_front() {
            return Err(kind.into());
        }
        if let Address::Inet(inet) = &mut address
            && inet.port() == 0
        {
            inet.set_port(self.ports);
            self.ports += 1;
        }
        if self.listening().contains(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(address)
    }
}
