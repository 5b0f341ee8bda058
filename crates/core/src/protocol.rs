//! What an author writes: the state machine of one connection, and the service that makes it.
//!
//! A protocol gets frames and gives output through its [`Context`]; it holds no socket and reads
//! no clock. What it asks for is queued and carried out by the loop after the method returns, so
//! a protocol is tested without sockets, byte by byte, under a fake clock (see `testing`).

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::address::Peer;
use crate::bandwidth::{Bandwidth, Way};
use crate::channel::Io;
use crate::datagram::DatagramProtocol;
use crate::engine::ChannelId;
use crate::handle::{Handle, Waker};
use crate::limits::ChannelSettings;
use crate::output::OutputQueue;
use crate::producer::Producer;
use crate::server_limits::ServerLimits;
use crate::terminator::Terminator;

/// The state machine of one connection.
///
/// Any method may end the connection by returning a [`Close`].
pub trait Protocol {
    /// Called once, when the connection stands.
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = cx;
        Ok(())
    }

    /// Takes the next frame, cut by the terminator that was set last.
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close>;

    /// Called after a [`Waker`] of this connection was used: a job, a promise or a feed moved.
    fn resumed(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = cx;
        Ok(())
    }

    /// Called when the deadline set with [`Context::set_timeout`] has passed.
    fn timeout(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = cx;
        Err(Close::Flush)
    }

    /// Called when everything queued before [`Context::mark`] has left for the peer.
    ///
    /// `sent` is the number of bytes given to the socket since the connection began.
    fn passed(&mut self, token: u64, sent: u64, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = (token, sent, cx);
        Ok(())
    }

    /// Called when the server wants to stop: finish what is in flight, then close.
    fn shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = cx;
        Err(Close::Flush)
    }

    /// Called when another process has taken over the listeners, or when the listener that this
    /// connection came from has gone or has another service: new connections go elsewhere, and
    /// this one should end where its peer loses nothing by it, within a time that may be hours.
    /// Unless told otherwise it goes on until its peer ends it.
    fn retire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let _ = cx;
        Ok(())
    }

    /// Called once, after the connection is gone; also when connecting failed.
    fn closed(&mut self, ending: &Ending) {
        let _ = ending;
    }

    /// Says in a few words what the connection is doing, for people who look into the server.
    fn doing(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let _ = out;
        Ok(())
    }
}

/// Makes a protocol for each connection that a listener accepts.
pub trait Service {
    /// The protocol's name as the operator knows it: `http`, `ftp`.
    fn name(&self) -> &str;

    /// Makes the protocol of a new connection; `None` refuses it.
    fn accept(&self, peer: &Peer, handle: &Handle) -> Option<Box<dyn Protocol>>;

    /// What is done with datagrams, if it takes them as well: each of its listeners then has a UDP
    /// socket of the same address and port, which lasts as long.
    fn datagrams(&self) -> Option<Box<dyn DatagramProtocol>> {
        None
    }

    /// The settings that new connections start with.
    fn settings(&self) -> Rc<ChannelSettings>;

    /// The limits that its connections share, if there are any.
    fn limits(&self) -> Option<Rc<ServerLimits>> {
        None
    }

    /// What a connection is told that is turned away because its client has too many. It is sent
    /// as far as the socket takes it at once; nobody waits for it to be read.
    fn refusal(&self) -> &[u8] {
        &[]
    }
}

/// Makes a service of a closure that makes a protocol for each connection, with the default
/// settings.
///
/// ```
/// use medusa_core::{Close, Context, Frame, Protocol, protocol::service};
///
/// struct Silent;
///
/// impl Protocol for Silent {
///     fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
///         Ok(())
///     }
/// }
///
/// assert_eq!(service("silent", |_, _| Silent).name(), "silent");
/// ```
pub fn service<P: Protocol + 'static>(
    name: &'static str,
    make: impl Fn(&Peer, &Handle) -> P + 'static,
) -> Rc<dyn Service> {
    Rc::new(Made { name, make, settings: Rc::default() })
}

/// What [`service`] makes.
struct Made<F> {
    name: &'static str,
    make: F,
    settings: Rc<ChannelSettings>,
}

impl<P: Protocol + 'static, F: Fn(&Peer, &Handle) -> P> Service for Made<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn accept(&self, peer: &Peer, handle: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new((self.make)(peer, handle)))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.settings.clone()
    }
}

/// A piece of input, as the terminator cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Some of a frame that is streamed; more follows.
    Part(&'a [u8]),
    /// A whole frame, or the last part of a streamed one; the delimiter is not part of it.
    End(&'a [u8]),
    /// The frame passed its limit. So much of it is shown (for a delimiter just the limit); the
    /// whole is thrown away up to its end, unless another terminator is set now to cut it again.
    Overlong(&'a [u8]),
    /// A framer found that the input can never become a frame. Nothing further is cut until
    /// another terminator is set.
    Malformed(&'a [u8]),
    /// The peer will send nothing more; the bytes of an unfinished frame are shown.
    Eof(&'a [u8]),
}

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Send what is queued, then close.
    Flush,
    /// Send what is queued, end our side, and read on for a while, so that a peer that is still
    /// sending sees the last answer instead of a reset (RFC 9112, section 9.6).
    Linger,
    /// Throw away what is queued and reset the connection.
    Abort,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// We closed it, and everything queued had been sent.
    Done,
    /// The peer closed or reset it while something was still to be sent or received.
    Peer(io::Error),
    /// Output stood still longer than [`ChannelSettings::stall`].
    Stalled,
    /// The peer took output more slowly than [`ChannelSettings::min_send_rate`].
    Slow,
    /// A producer failed after part of its output had left.
    Aborted(crate::producer::Aborted),
    /// We threw it away: a protocol asked to, the operator did, or the server stopped.
    Dropped,
    /// The connection that was asked for could not be made.
    ConnectFailed(io::Error),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Peer(e) => write!(f, "peer: {e}"),
            Self::Stalled => f.write_str("peer stopped reading"),
            Self::Slow => f.write_str("peer read too slowly"),
            Self::Aborted(why) => write!(f, "output failed: {why}"),
            Self::Dropped => f.write_str("dropped"),
            Self::ConnectFailed(e) => write!(f, "cannot connect: {e}"),
        }
    }
}

/// What is known of a connection when it has ended.
#[derive(Debug)]
pub struct Ending {
    /// Why it ended.
    pub why: Closed,
    /// Bytes given to the socket in all.
    pub sent: u64,
    /// Bytes taken from the socket in all.
    pub received: u64,
    /// When it ended, by the loop's clock.
    pub now: Instant,
}

/// What a protocol may ask of the loop while one of its methods runs.
pub struct Context<'a> {
    pub(crate) id: ChannelId,
    pub(crate) io: &'a mut Io,
    pub(crate) handle: &'a Handle,
}

impl Context<'_> {
    fn out(&mut self) -> &mut OutputQueue {
        self.io.out.get_or_insert_default()
    }

    /// Queues bytes, copied beside their neighbours.
    pub fn send(&mut self, bytes: &[u8]) {
        self.out().push_copy(bytes);
    }

    /// Queues bytes by reference when they are many, by copy when they are few.
    pub fn send_bytes(&mut self, bytes: Bytes) {
        self.out().push_bytes(bytes);
    }

    /// Lets `write` append to the end of the output queue in place; what it appends is queued.
    pub fn send_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.out().push_with(write)
    }

    /// Queues a producer; it is asked for output when all before it has left.
    pub fn produce(&mut self, producer: Box<dyn Producer>) {
        self.out().push_producer(producer);
    }

    /// Queues a range of an open file.
    pub fn send_file(&mut self, range: crate::producer::FileRange) {
        self.out().push_file(range);
    }

    /// Queues a mark: [`Protocol::passed`] is called with `token` when all before it has left.
    pub fn mark(&mut self, token: u64) {
        self.out().push_mark(token);
    }

    /// Bytes in the output queue that are already made; producers count as nothing.
    pub fn queued(&self) -> usize {
        self.io.out.as_ref().map_or(0, |o| o.queued_bytes())
    }

    /// Whether anything at all is in the output queue.
    pub fn has_output(&self) -> bool {
        self.io.out.as_ref().is_some_and(|o| !o.is_empty())
    }

    /// Bytes that were read and are not yet part of a frame; not while a frame is in hand.
    pub fn stashed(&self) -> usize {
        self.io.stashed().len()
    }

    /// Bytes given to the socket so far.
    pub fn sent(&self) -> u64 {
        self.io.sent
    }

    /// Sets what ends the next frame, also in the middle of what has been read already.
    ///
    /// # Panics
    /// When a limit is above [`crate::limits::MAX_FRAME_BYTES`]: a mistake of the protocol.
    pub fn set_terminator(&mut self, terminator: Terminator) {
        terminator.check();
        self.io.terminator = terminator;
        self.io.scanned = 0;
        self.io.discarding = false;
        self.io.malformed = false;
        self.io.stash_fresh = true;
    }

    /// Gives the last `n` bytes of the frame in hand back, to be cut again by what is set now.
    ///
    /// To be used while a `Part` is handled; `n` is at most its length.
    pub fn put_back(&mut self, n: usize) {
        // No part is longer than the shared buffer.
        self.io.put_back = n as u32;
    }

    /// Stops taking input until [`Context::resume_input`]; what was read is kept.
    pub fn pause_input(&mut self) {
        self.io.paused = true;
    }

    /// Takes input again.
    pub fn resume_input(&mut self) {
        if self.io.paused {
            self.io.paused = false;
            self.io.stash_fresh = true;
        }
    }

    /// Sets the deadline: [`Protocol::timeout`] is called once after this time, unless set anew.
    ///
    /// It stands still while a bandwidth limit of ours holds the input back.
    pub fn set_timeout(&mut self, after: Duration) {
        self.io.deadline = self.handle.after(after);
        if let Some(limited) = &self.io.limited {
            let held = limited.held_until(Way::In).saturating_sub(self.handle.tick());
            self.io.deadline += held;
        }
    }

    /// The time until the deadline; set again at once, it stays where it is. `None` when there is
    /// no deadline.
    pub fn timeout_left(&self) -> Option<Duration> {
        let deadline = self.io.deadline;
        (deadline != 0).then(|| self.handle.until(deadline - 1))
    }

    /// Takes the deadline away.
    pub fn clear_timeout(&mut self) {
        self.io.deadline = 0;
    }

    /// The loop's time, read once a turn.
    pub fn now(&self) -> Instant {
        self.handle.now()
    }

    /// The services of the loop: time, jobs, timers, connections.
    pub fn handle(&self) -> &Handle {
        self.handle
    }

    /// The name of this connection, never used again for another.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// Makes a waker for this connection.
    pub fn waker(&self) -> Waker {
        Waker::new(self.id, self.handle)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.io.peer
    }

    /// The user (uid) of the process at the other end of a Unix-domain socket when it connected;
    /// `None` for other transports, and on systems that do not say.
    pub fn peer_user(&self) -> Option<u32> {
        self.io.transport.peer_user()
    }

    /// Our own address on this connection, where the transport knows it.
    pub fn local(&self) -> Option<Peer> {
        self.io.transport.local()
    }

    /// Gives this connection settings of its own.
    pub fn set_settings(&mut self, settings: Rc<ChannelSettings>) {
        self.io.set_settings(settings);
    }

    /// Holds this connection to a bandwidth that others share, from now on until it ends; also to
    /// those that it was held to before.
    ///
    /// # Panics
    /// When there are more than [`crate::limits::BANDWIDTHS_A_CONNECTION`] of them: a mistake of
    /// the protocol.
    pub fn share_bandwidth(&mut self, bandwidth: Rc<Bandwidth>) {
        self.io.share_bandwidth(bandwidth, self.handle);
    }

    /// The settings of this connection.
    pub fn settings(&self) -> &ChannelSettings {
        &self.io.settings
    }
}
