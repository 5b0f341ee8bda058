//! UDP sockets, for services that need them.
//!
//! The one design choice: a datagram protocol gives its answers to a bounded queue and never
//! hears that the socket is full: datagrams may be lost anyway, and here the loss is counted.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use crate::handle::Handle;
use crate::limits::{DATAGRAM_QUEUE, DATAGRAMS_A_TURN};
use crate::passed::PassedSocket;

/// What one UDP socket does with what it receives.
pub trait DatagramProtocol {
    /// Called once, with the address that was really bound; the sender may be kept.
    fn opened(&mut self, sender: DatagramSender, handle: &Handle) {
        let _ = (sender, handle);
    }

    /// Takes a datagram.
    fn input(&mut self, datagram: &[u8], from: SocketAddr, out: &mut DatagramSender);
}

/// Sends datagrams from one socket.
#[derive(Clone, Default)]
pub struct DatagramSender(std::rc::Rc<std::cell::RefCell<Outbox>>);

#[derive(Default)]
struct Outbox {
    queue: VecDeque<(Vec<u8>, SocketAddr)>,
    dropped: u64,
    closed: bool,
}

impl DatagramSender {
    /// Queues a datagram; it is dropped and counted when [`DATAGRAM_QUEUE`] wait already.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) {
        let mut outbox = self.0.borrow_mut();
        if outbox.queue.len() >= DATAGRAM_QUEUE {
            outbox.dropped += 1;
        } else {
            outbox.queue.push_back((datagram.to_vec(), to));
        }
    }

    /// Closes the socket before the loop sleeps again.
    pub fn close(&self) {
        self.0.borrow_mut().closed = true;
    }

    /// Datagrams dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.0.borrow().dropped
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// Takes all that waits, for the harness.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn take(&self) -> VecDeque<(Vec<u8>, SocketAddr)> {
        std::mem::take(&mut self.0.borrow_mut().queue)
    }
}

/// A bound UDP socket in the loop.
pub(crate) struct Datagrams {
    pub(crate) socket: mio::net::UdpSocket,
    pub(crate) protocol: Box<dyn DatagramProtocol>,
    pub(crate) sender: DatagramSender,
    /// The port was left to the system.
    pub(crate) chosen: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Datagrams {
    /// Receives within the budget.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) {
        let mut failures = 0;
        for _ in 0..DATAGRAMS_A_TURN {
            match self.socket.recv_from(buffer) {
                Ok((n, from)) => self.protocol.input(&buffer[..n], from, &mut self.sender),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return;
                }
                // An earlier datagram could not be delivered; the socket itself is sound.
                Err(_) => failures += 1,
            }
        }
        if failures == DATAGRAMS_A_TURN {
            // It is not sound after all: only an event makes us try again.
            self.readable = false;
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) {
        while self.writable && !self.sender.is_empty() {
            let mut outbox = self.sender.0.borrow_mut();
            let Some((datagram, to)) = outbox.queue.front() else { return };
            match self.socket.send_to(datagram, *to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Ok(_) => drop(outbox.queue.pop_front()),
                Err(_) => {
                    outbox.dropped += 1;
                    outbox.queue.pop_front();
                }
            }
        }
    }

    /// Duplicates the socket, for a process that is to take it over.
    pub(crate) fn passed(&self) -> io::Result<PassedSocket> {
        PassedSocket::new(self.socket.as_fd().try_clone_to_owned()?, None, self.chosen)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the loop must not sleep: something was sent or closed since it looked last.
    pub(crate) fn has_work(&self) -> bool {
        self.is_closed() || (self.writable && !self.sender.is_empty())
    }
}
