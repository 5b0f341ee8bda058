//! A small caching forwarder: the resolver as a service, over UDP and TCP.
//!
//! The one design choice: it answers from the resolver's own cache and hosts file, so what the
//! server itself looks up and what its clients ask for is one thing, and is seen in one place.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use medusa_core::datagram::{DatagramProtocol, DatagramSender};
use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::limits::ChannelSettings;
use medusa_core::terminator::{Cut, Framer};
use medusa_core::{Close, Context, Frame, Handle, Peer, Protocol, Service, Terminator, Waker};

use crate::cache::Lookup;
use crate::limits::{STALE_LIFE, STREAM_IDLE, STREAM_REQUESTS};
use crate::resolver::{Resolver, count};
use crate::wire::request::{Request, Unfit, refused, reversed};

/// Says whether a client may ask.
pub type Allowed = Rc<dyn Fn(IpAddr) -> bool>;

/// A forwarder.
#[derive(Clone)]
pub struct Forwarder(Rc<Shared>);

struct Shared {
    resolver: Resolver,
    allowed: RefCell<Allowed>,
    settings: Rc<ChannelSettings>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    requests: Cell<u64>,
    from_cache: Cell<u64>,
    malformed: Cell<u64>,
    turned_away: Cell<u64>,
    failed: Cell<u64>,
}

impl Forwarder {
    /// Answers with what the resolver knows or hears, to those who are allowed to ask. Who answers
    /// everybody is used to flood others.
    pub fn new(resolver: Resolver, allowed: Allowed) -> Self {
        let (settings, figures) = Default::default();
        Self(Rc::new(Shared { resolver, allowed: RefCell::new(allowed), settings, figures }))
    }

    /// Goes by another rule from now on.
    pub fn allow(&self, allowed: Allowed) {
        self.0.allowed.replace(allowed);
    }

    /// The forwarder as a part of the inspection tree.
    pub fn inspect(&self) -> Rc<dyn Inspect> {
        Rc::new(Part(self.0.clone()))
    }
}

impl Shared {
    /// Answers at once if that can be done: says whether there is a reply.
    fn at_once(&self, request: &Request, room: usize, reply: &mut Vec<u8>) -> bool {
        count(&self.figures.requests);
        let question = &request.question;
        let hosts = self.resolver.hosts();
        if !hosts.is_empty() {
            if let Some(name) = reversed(question).and_then(|ip| hosts.name(ip)) {
                request.known(&[], Some(name), reply);
                return true;
            }
            if question.kind().is_address()
                && let Some(ips) = hosts.addresses(&question.name())
            {
                request.known(&ips, None, reply);
                return true;
            }
        }
        let now = self.resolver.handle().now();
        match self.resolver.look(question, now) {
            Lookup::Fresh { kept, .. } => {
                count(&self.figures.from_cache);
                request.reply(&kept.answer, kept.left(now), room, reply);
                true
            }
            Lookup::Missing => false,
        }
    }

    /// Asks, and hands the reply over when there is one.
    fn ask(self: &Rc<Self>, request: Request, room: usize, then: impl FnOnce(Vec<u8>) + 'static) {
        let shared = self.clone();
        self.resolver.clone().with_files(move |resolver| {
            resolver.answer(
                request.question.clone(),
                Box::new(move |result| {
                    let now = shared.resolver.handle().now();
                    let mut reply = Vec::new();
                    if let Ok(kept) = result {
                        // What is past its time is given for a moment.
                        let is_good = kept.is_fresh(now) || kept.life.is_zero();
                        let stale = STALE_LIFE.as_secs() as u32;
                        let left = if is_good { kept.left(now) } else { stale };
                        request.reply(&kept.answer, left, room, &mut reply);
                    } else {
                        count(&shared.figures.failed);
                        reply = request.no_answer();
                    }
                    then(reply);
                }),
            );
        });
    }

    fn may_ask(&self, ip: Option<IpAddr>) -> bool {
        // A Unix socket has the rights of its file.
        ip.is_none_or(|ip| (self.allowed.borrow())(ip.to_canonical()))
    }
}

/// Requests by datagram.
struct Datagrams {
    shared: Rc<Shared>,
    /// Storage of the reply in hand.
    reply: Vec<u8>,
}

impl DatagramProtocol for Datagrams {
    fn opened(&mut self, _: DatagramSender, _: &Handle) {
        // The machine's files are read before the first request comes.
        self.shared.resolver.with_files(|_| {});
    }

    fn input(&mut self, datagram: &[u8], from: SocketAddr, out: &mut DatagramSender) {
        let shared = &self.shared;
        if !shared.may_ask(Some(from.ip())) {
            count(&shared.figures.turned_away);
            if let Some(reply) = refused(datagram) {
                out.send(&reply, from);
            }
            return;
        }
        let request = match Request::read(datagram) {
            Ok(request) => request,
            Err(unfit) => {
                count(&shared.figures.malformed);
                if let Unfit::Error(reply) = unfit {
                    out.send(&reply, from);
                }
                return;
            }
        };
        let room = request.datagram();
        if shared.at_once(&request, room, &mut self.reply) {
            return out.send(&self.reply, from);
        }
        let sender = out.clone();
        shared.ask(request, room, move |reply| sender.send(&reply, from));
    }
}

impl Service for Forwarder {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn accept(&self, peer: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        if !self.0.may_ask(peer.ip()) {
            count(&self.0.figures.turned_away);
            return None;
        }
        let (ready, open) = Default::default();
        Some(Box::new(Stream { shared: self.0.clone(), ready, open, ending: false }))
    }

    fn datagrams(&self) -> Option<Box<dyn DatagramProtocol>> {
        Some(Box::new(Datagrams { shared: self.0.clone(), reply: Vec::new() }))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.0.settings.clone()
    }
}

/// Requests by TCP (RFC 7766): each with its length before it, answered in any order.
struct Stream {
    shared: Rc<Shared>,
    /// Replies that have come and are not sent.
    ready: Rc<RefCell<VecDeque<Vec<u8>>>>,
    /// Requests without a reply.
    open: usize,
    /// The client sends nothing more.
    ending: bool,
}

/// Cuts messages from the stream by the length before each.
struct Lengths;

impl Framer for Lengths {
    fn cut(&mut self, buffer: &[u8], _: usize) -> Cut {
        let Some((length, rest)) = buffer.split_first_chunk::<2>() else {
            return Cut::Partial { scanned: 0 };
        };
        let whole = 2 + usize::from(u16::from_be_bytes(*length));
        if rest.len() + 2 < whole {
            return Cut::Partial { scanned: 0 };
        }
        Cut::End { frame: whole, consumed: whole }
    }
}

impl Stream {
    fn send(reply: &[u8], cx: &mut Context<'_>) {
        // No reply is longer: its room is 64 KiB.
        cx.send(&(reply.len() as u16).to_be_bytes());
        cx.send(reply);
    }

    fn request(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let request = match Request::read(bytes) {
            Ok(request) => request,
            Err(unfit) => {
                count(&self.shared.figures.malformed);
                if let Unfit::Error(reply) = unfit {
                    Self::send(&reply, cx);
                }
                return;
            }
        };
        let room = usize::from(u16::MAX);
        let mut reply = Vec::new();
        if self.shared.at_once(&request, room, &mut reply) {
            return Self::send(&reply, cx);
        }
        self.open += 1;
        if self.open >= STREAM_REQUESTS {
            cx.pause_input();
        }
        let (ready, waker): (_, Waker) = (self.ready.clone(), cx.waker());
        self.shared.ask(request, room, move |reply| {
            ready.borrow_mut().push_back(reply);
            waker.wake();
        });
    }
}

impl Protocol for Stream {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.set_terminator(Terminator::Custom(Box::new(Lengths)));
        cx.set_timeout(STREAM_IDLE);
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::End(message) => {
                cx.set_timeout(STREAM_IDLE);
                self.request(&message[2..], cx);
                Ok(())
            }
            Frame::Eof(_) if self.open > 0 => {
                self.ending = true;
                Ok(())
            }
            Frame::Eof(_) => Err(Close::Flush),
            _ => Err(Close::Abort),
        }
    }

    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let ready = std::mem::take(&mut *self.ready.borrow_mut());
        for reply in ready {
            Self::send(&reply, cx);
            self.open -= 1;
        }
        if self.ending && self.open == 0 {
            return Err(Close::Flush);
        }
        if self.open < STREAM_REQUESTS {
            cx.resume_input();
        }
        Ok(())
    }

    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if self.open == 0 {
            return Err(Close::Flush);
        }
        cx.set_timeout(STREAM_IDLE);
        Ok(())
    }

    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{} requests without a reply", self.open)
    }
}

struct Part(Rc<Shared>);

impl Inspect for Part {
    fn node(&self) -> Node {
        let figures = &self.0.figures;
        Node::new("dns")
            .field("requests", Value::Count(figures.requests.get()))
            .field("from the cache", Value::Count(figures.from_cache.get()))
            .field("malformed", Value::Count(figures.malformed.get()))
            .field("turned away", Value::Count(figures.turned_away.get()))
            .field("failed", Value::Count(figures.failed.get()))
            .about("Answers questions for names, from what the resolver knows or hears.", &[])
    }
}
