//! What stands outside the loop: helper jobs, outgoing connections, listeners, datagrams.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::harness::{Harness, Outgoing, Sent};
use super::peer::Peer;
use crate::address::{Address, Peer as PeerAddress};
use crate::handle::JobLost;

impl Harness {
    /// Keeps helper jobs from running until [`Harness::run_job`] or [`Harness::run_jobs`].
    pub fn hold_jobs(&mut self) {
        self.hold_jobs = true;
    }

    /// Makes all files look as if they were on the disk only, so that each part of one is fetched
    /// by a helper job before it is sent.
    pub fn chill_files(&self) {
        self.handle().set_in_memory(|_, _, _| false);
    }

    /// Jobs that were asked for and have not run.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Runs the held jobs that there are now, in order; their results come in the next turn.
    pub fn run_jobs(&mut self) {
        for _ in 0..self.jobs.len() {
            self.run_job(0);
        }
    }

    /// Runs one of the held jobs; its result comes in the next turn.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn run_job(&mut self, number: usize) {
        let (work, then) = self.jobs.remove(number).expect("a job of this number is held");
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobLost::Panicked);
        self.done.push_back((then, result));
    }

    /// Loses one of the held jobs without running it.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn lose_job(&mut self, number: usize, lost: JobLost) {
        let (_, then) = self.jobs.remove(number).expect("a job of this number is held");
        self.done.push_back((then, Err(lost)));
    }

    /// Where the outgoing connections go that do not stand yet.
    pub fn connects(&self) -> Vec<Address> {
        let waiting = self.outgoing.iter().filter(|o| !o.peer.is_gone());
        waiting.map(|o| o.address.clone()).collect()
    }

    /// Takes the outgoing connection that has waited longest, to accept or refuse it.
    pub fn take_connect(&mut self) -> Option<Outgoing> {
        self.outgoing.retain(|o| !o.peer.is_gone());
        self.outgoing.pop_front()
    }

    /// The addresses that somebody listens on.
    pub fn listening(&self) -> Vec<Address> {
        self.listeners.iter().map(|(_, address, _)| address.clone()).collect()
    }

    /// Connects to a listener; `None` when nobody listens there or the service refuses.
    pub fn connect_to(&mut self, address: &Address) -> Option<Peer> {
        let from = match address {
            Address::Inet(_) => PeerAddress::V4([198, 51, 100, 1].into(), 50_000),
            Address::Unix(_) | Address::Passed(_) => PeerAddress::Unix,
        };
        self.connect_from(from, address)
    }

    /// Like [`Harness::connect_to`], from this address.
    pub fn connect_from(&mut self, from: PeerAddress, address: &Address) -> Option<Peer> {
        let (id, _, service) = self.listeners.iter().find(|(_, a, _)| a == address)?;
        let (number, service) = (id.0, service.clone());
        self.admit(&*service, from, number)
    }

    /// Makes the next listen or bind that somebody asks for fail.
    pub fn fail_bind(&mut self, kind: io::ErrorKind) {
        self.bind_faults.push_back(kind);
    }

    /// Sends a datagram to a bound socket; says whether there is one.
    pub fn datagram(&mut self, to: SocketAddr, bytes: &[u8], from: SocketAddr) -> bool {
        match self.datagrams.iter_mut().find(|(bound, ..)| *bound == to) {
            Some((_, protocol, sender)) => {
                protocol.input(bytes, from, sender);
                true
            }
            None => false,
        }
    }

    /// The UDP sockets that are bound.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.datagrams.iter().map(|(bound, ..)| *bound).collect()
    }

    /// Takes the datagram that was sent first.
    pub fn take_datagram(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    pub(super) fn flush_datagrams(&mut self) {
        for (from, _, sender) in &self.datagrams {
            for (bytes, to) in sender.take() {
                self.sent.push_back(Sent { from: *from, to, bytes });
            }
        }
        self.datagrams.retain(|(_, _, sender)| !sender.is_closed());
    }
}

impl Outgoing {
    /// Where it goes.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Lets it stand, and gives its far end.
    pub fn accept(self, h: &mut Harness) -> Peer {
        h.engine.ready(self.peer.id, false, true, false);
        self.peer
    }

    /// Refuses it.
    pub fn refuse(self, h: &mut Harness, kind: io::ErrorKind) {
        h.engine.connect_failed(self.peer.id, kind.into());
    }
}
