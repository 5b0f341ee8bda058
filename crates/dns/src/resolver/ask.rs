//! One question to the servers, in several tries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use medusa_core::datagram::{DatagramProtocol, DatagramSender};
use medusa_core::handle::TimerId;
use medusa_core::{Address, Handle};

use super::{ResolveError, Resolver, Then, count, stream};
use crate::limits::{DOWN_TIME, MAX_SERVERS, STALE_LIFE};
use crate::wire::{Answer, Fault, Question};

/// A question that is being asked.
pub(super) struct Asking {
    /// Those who want to know.
    pub(super) waiters: Vec<Then>,
    /// Which asking it is, so that what comes of an earlier one of the same question is known.
    name: u64,
    /// Servers still to be tried, the next one last.
    servers: Vec<SocketAddr>,
    /// When there must be an answer.
    until: Instant,
    /// Sockets of the tries so far.
    sockets: Vec<DatagramSender>,
    /// Moves on to the next server.
    timer: Option<TimerId>,
    /// Gives what is past its time.
    stale: Option<TimerId>,
}

impl Resolver {
    /// Begins to ask the servers.
    pub(super) fn ask(&self, question: Question, waiters: Vec<Then>) {
        let now = self.handle().now();
        let mut state = self.0.state.borrow_mut();
        let settings = state.settings.clone();
        let once = state.servers(now);
        let rounds = state.resolv.attempts as usize;
        let mut servers: Vec<_> =
            once.iter().copied().cycle().take(once.len().min(MAX_SERVERS) * rounds).collect();
        servers.reverse();
        state.names += 1;
        let name = state.names;
        let stale = (!waiters.is_empty()).then(|| {
            let (this, question) = (self.clone(), question.clone());
            self.handle().timer(settings.stale_after, move |_| this.give_stale(&question, name))
        });
        let until = now + settings.deadline;
        let (sockets, timer) = Default::default();
        let asking = Asking { waiters, name, servers, until, sockets, timer, stale };
        state.asking.insert(question.clone(), asking);
        drop(state);
        self.next_try(question, name);
    }

    /// Asks the next server, or gives up.
    pub(super) fn next_try(&self, question: Question, name: u64) {
        let now = self.handle().now();
        let mut state = self.0.state.borrow_mut();
        let timeout = state.settings.timeout.unwrap_or(state.resolv.timeout);
        let Some(asking) = state.asking.get_mut(&question).filter(|a| a.name == name) else {
            return;
        };
        if let Some(timer) = asking.timer.take() {
            self.handle().cancel_timer(timer);
        }
        let left = asking.until.saturating_duration_since(now);
        let server = match asking.servers.pop() {
            Some(server) if !left.is_zero() => server,
            _ => {
                drop(state);
                return self.settle(&question, name, Err(ResolveError::NoAnswer(question.name())));
            }
        };
        let (this, asked) = (self.clone(), question.clone());
        asking.timer = Some(self.handle().timer(timeout.min(left), move |_| {
            count(&this.figures().timed_out);
            this.note_down(server);
            this.next_try(asked, name);
        }));
        drop(state);
        count(&self.figures().sent);
        let id = random_id();
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Try { resolver: self.clone(), question: question.clone(), name, id, server };
        let this = self.clone();
        self.handle().bind_datagram(
            Address::Inet(SocketAddr::new(any, 0)),
            Box::new(socket),
            move |bound| {
                if let Err(e) = bound {
                    tracing::warn!("a socket for a question to a name server cannot be bound: {e}");
                    this.next_try(question, name);
                }
            },
        );
    }

    /// Asks a server that has answered with a part over TCP.
    fn try_stream(&self, question: &Question, name: u64, server: SocketAddr) {
        let now = self.handle().now();
        let mut state = self.0.state.borrow_mut();
        let timeout = state.settings.timeout.unwrap_or(state.resolv.timeout);
        let Some(asking) = state.asking.get_mut(question).filter(|a| a.name == name) else {
            return;
        };
        // The try goes on, with its time anew.
        if let Some(timer) = asking.timer.take() {
            self.handle().cancel_timer(timer);
        }
        let within = timeout.min(asking.until.saturating_duration_since(now));
        drop(state);
        count(&self.figures().over_tcp);
        let (this, asked) = (self.clone(), question.clone());
        stream::ask(
            self.handle(),
            server,
            within,
            random_id(),
            question.clone(),
            Box::new(move |result| match result {
                Ok(answer) => this.settle(&asked, name, Ok(answer)),
                Err(_) => this.next_try(asked, name),
            }),
        );
    }

    /// Others are asked before this server for a while.
    fn note_down(&self, server: SocketAddr) {
        let until = self.handle().now() + DOWN_TIME;
        self.0.state.borrow_mut().down.insert(server, until);
    }

    /// Gives what is past its time to those who have waited long enough; the question goes on.
    fn give_stale(&self, question: &Question, name: u64) {
        let now = self.handle().now();
        let mut state = self.0.state.borrow_mut();
        let Some(stale) = state.cache.get_stale(question, now) else { return };
        let Some(asking) = state.asking.get_mut(question).filter(|a| a.name == name) else {
            return;
        };
        let waiters = std::mem::take(&mut asking.waiters);
        drop(state);
        for then in waiters {
            then(Ok(stale.clone()));
        }
    }

    /// Ends a question, and tells all who asked it.
    fn settle(&self, question: &Question, name: u64, result: Result<Answer, ResolveError>) {
        let now = self.handle().now();
        let mut state = self.0.state.borrow_mut();
        if state.asking.get(question).is_none_or(|asking| asking.name != name) {
            return;
        }
        let Some(asking) = state.asking.remove(question) else { return };
        for timer in [asking.timer, asking.stale].into_iter().flatten() {
            self.handle().cancel_timer(timer);
        }
        for socket in &asking.sockets {
            socket.close();
        }
        let result = match result {
            Ok(answer) => {
                state.failed.remove(question);
                Ok(state.cache.put(question, answer, now))
            }
            Err(why) => {
                count(&self.figures().failed);
                if let Some(stale) = state.cache.get_stale(question, now) {
                    // Good for a while, so that not everybody waits for servers that are away.
                    Ok(state.cache.revive(question, stale, now, STALE_LIFE))
                } else {
                    state.note_failed(question, now);
                    Err(why)
                }
            }
        };
        drop(state);
        for then in asking.waiters {
            then(result.clone());
        }
    }
}

/// A try: a socket that has asked one server.
struct Try {
    resolver: Resolver,
    question: Question,
    name: u64,
    id: u16,
    server: SocketAddr,
}

impl DatagramProtocol for Try {
    fn opened(&mut self, sender: DatagramSender, _: &Handle) {
        let mut state = self.resolver.0.state.borrow_mut();
        let bytes = state.settings.datagram_bytes;
        let asking = state.asking.get_mut(&self.question).filter(|a| a.name == self.name);
        match asking {
            Some(asking) => {
                sender.send(&self.question.message(self.id, bytes), self.server);
                asking.sockets.push(sender);
            }
            // It was settled meanwhile.
            None => sender.close(),
        }
    }

    fn input(&mut self, datagram: &[u8], from: SocketAddr, _: &mut DatagramSender) {
        let figures = self.resolver.figures();
        if from.ip() != self.server.ip() || from.port() != self.server.port() {
            return count(&figures.foreign);
        }
        let resolver = self.resolver.clone();
        match Answer::read(datagram, self.id, &self.question) {
            Ok(answer) => resolver.settle(&self.question, self.name, Ok(answer)),
            Err(Fault::Foreign) => count(&figures.foreign),
            Err(Fault::Truncated) => resolver.try_stream(&self.question, self.name, self.server),
            Err(Fault::Malformed | Fault::Refused) => {
                resolver.next_try(self.question.clone(), self.name);
            }
        }
    }
}

/// An id that nobody can guess.
fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // The system's source of randomness does not fail once the system is up.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u16::from_ne_bytes(bytes)
}
