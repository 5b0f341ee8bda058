//! What a channel knows of its connection, and the rules that follow from it: whether it takes
//! input, how large the next piece is, where uncut input is kept.
//!
//! The one design choice: every byte counts, for there is one of these for each connection; an
//! idle one has no buffer, and its deadlines are ticks, not instants.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::address::Peer;
use crate::bandwidth::{Bandwidth, Way};
use crate::channel::limited::Limited;
use crate::handle::Handle;
use crate::limits::{ChannelSettings, PIECE_LOG2};
use crate::output::{Flushed, OutputQueue, Window};
use crate::protocol::{Close, Closed};
use crate::rate::Rate;
use crate::terminator::Terminator;
use crate::transport::Transport;

/// A connection without its protocol.
pub(crate) struct Io {
    pub(crate) transport: Transport,
    pub(crate) terminator: Terminator,
    /// Input that was read and not yet cut; empty without storage on an idle connection.
    pub(super) stash: Vec<u8>,
    /// What is waiting to leave; `None` on an idle connection.
    pub(crate) out: Option<Box<OutputQueue>>,
    pub(crate) settings: Rc<ChannelSettings>,
    /// The protocol's deadline as a tick; 0 is none.
    pub(crate) deadline: u64,
    /// When stalled output closes the connection; 0 while nothing is stalled.
    pub(crate) stall: u64,
    /// The tick under which the engine keeps this channel's timer; 0 is none. Never later than
    /// the nearest deadline.
    pub(crate) armed: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// When bytes last moved, as a tick.
    pub(crate) active: u64,
    /// What it is held to; `None` is nothing.
    pub(crate) limited: Option<Box<Limited>>,
    /// When it began, in seconds of the loop's ticks.
    pub(crate) opened: u32,
    pub(crate) put_back: u32,
    pub(crate) peer: Peer,
    /// Where in the stash the uncut input begins: frames that are taken one by one, by a protocol
    /// that pauses after each, must not move all the rest each time.
    pub(super) stash_at: u32,
    /// Bytes of the uncut input that the terminator has searched already.
    pub(crate) scanned: u32,
    /// Which listener accepted it; 0 is none.
    pub(crate) listener: u32,
    pub(crate) phase: Phase,
    pub(crate) closing: Option<Close>,
    /// log2 of the piece asked of producers, adjusting itself to how quickly the peer takes them.
    pub(crate) piece_log2: u8,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// A short read does not say that the socket is empty: the peer's side has ended, or there is
    /// urgent data. Reading goes on until the socket would block.
    pub(crate) reads_short: bool,
    pub(crate) eof: bool,
    /// The connection is broken: what arrived before is still read, then it ends.
    pub(crate) broken: bool,
    /// The output queue reached its high mark, and has not come down to the low one.
    pub(super) backed_up: bool,
    /// The stash may hold whole frames: cut before reading.
    pub(crate) stash_fresh: bool,
    pub(crate) discarding: bool,
    /// A framer refused the input: nothing is cut until another terminator is set.
    pub(crate) malformed: bool,
    /// The protocol wants no input for now.
    pub(crate) paused: bool,
    pub(crate) held_by_operator: bool,
    /// It stands in the list of channels that go on without an event.
    pub(crate) runnable: bool,
    /// The server's own: a shutdown leaves it alone.
    pub(crate) background: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Connecting,
    Open,
    Lingering,
}

impl Io {
    pub(crate) fn new(
        transport: Transport,
        peer: Peer,
        settings: Rc<ChannelSettings>,
        phase: Phase,
        tick: u64,
    ) -> Self {
        let mut io = Self {
            transport,
            terminator: Terminator::None,
            stash: Vec::new(),
            stash_at: 0,
            out: None,
            settings: settings.clone(),
            deadline: 0,
            stall: 0,
            armed: 0,
            received: 0,
            sent: 0,
            active: tick,
            limited: None,
            opened: seconds(tick),
            put_back: 0,
            peer,
            scanned: 0,
            listener: 0,
            phase,
            closing: None,
            piece_log2: 0,
            readable: true,
            writable: phase == Phase::Open,
            reads_short: false,
            eof: false,
            broken: false,
            backed_up: false,
            stash_fresh: false,
            discarding: false,
            malformed: false,
            paused: false,
            held_by_operator: false,
            runnable: false,
            background: false,
        };
        io.set_settings(settings);
        io
    }

    pub(crate) fn set_settings(&mut self, settings: Rc<ChannelSettings>) {
        self.piece_log2 = log2(settings.piece_start_bytes);
        if settings.send_rate.is_some() || settings.receive_rate.is_some() {
            self.limited.get_or_insert_with(|| Box::new(Limited::new(None)));
        }
        self.settings = settings;
    }

    /// Holds the connection to a bandwidth that it shares.
    pub(crate) fn share_bandwidth(&mut self, bandwidth: Rc<Bandwidth>, handle: &Handle) {
        bandwidth.set_clock(handle);
        self.limited.get_or_insert_with(|| Box::new(Limited::new(None))).share(bandwidth);
    }

    /// The nearest deadline as a tick; 0 is none.
    pub(crate) fn nearest_deadline(&self) -> u64 {
        let mut nearest = nearer(self.deadline, self.stall);
        if self.stall != 0
            && let Some(out) = &self.out
        {
            nearest = nearer(nearest, out.window.until);
        }
        match &self.limited {
            Some(limited) => nearer(nearest, limited.due()),
            None => nearest,
        }
    }

    /// Seconds since it began.
    pub(crate) fn age(&self, tick: u64) -> Duration {
        Duration::from_secs(u64::from(seconds(tick).saturating_sub(self.opened)))
    }

    /// Bytes that the peer must take in one window of slowness.
    fn least(&self) -> u64 {
        let ms = u64::try_from(self.settings.stall.as_millis()).unwrap_or(u64::MAX);
        self.settings.min_send_rate.saturating_mul(ms) / 1000
    }

    /// The peer takes no more for now: watches that it does not stand still, or go too slowly.
    pub(super) fn blocked(&mut self, written: usize, handle: &Handle) {
        self.writable = false;
        if self.stall == 0 {
            self.begin_window(handle);
        }
        if self.stall == 0 || written > 0 {
            self.stall = handle.after(self.settings.stall);
        }
    }

    fn begin_window(&mut self, handle: &Handle) {
        let until = if self.least() > 0 { handle.after(self.settings.stall) } else { 0 };
        if let Some(out) = &mut self.out {
            out.window = Window { until, sent: self.sent };
        }
    }

    /// Whether the peer has been too slow for a whole window; if that ended well, the next begins.
    pub(crate) fn is_slow(&mut self, handle: &Handle) -> bool {
        let Some(out) = self.out.as_ref().filter(|_| self.stall != 0) else { return false };
        if !(1..=handle.tick()).contains(&out.window.until) {
            return false;
        }
        let slow = self.sent - out.window.sent < self.least();
        if !slow {
            self.begin_window(handle);
        }
        slow
    }

    /// Bytes that may be moved this way, at most `most`; 0 says that the channel goes on when
    /// that is due. While input is held back, the protocol's deadline stands still.
    pub(super) fn claim(&mut self, way: Way, most: usize, tick: u64) -> usize {
        let Some(limited) = &mut self.limited else { return most };
        let own = own(&self.settings, way);
        let n = limited.claim(way, own, most, tick);
        if n == 0 && way == Way::In && self.deadline != 0 {
            self.deadline += limited.held_until(way).saturating_sub(tick);
        }
        n
    }

    /// Notes how many of the claimed bytes have moved.
    pub(super) fn moved(&mut self, way: Way, n: usize, tick: u64) {
        if let Some(limited) = &mut self.limited {
            limited.used(way, own(&self.settings, way), n, tick);
        }
    }

    /// Whether input is held back; cut or not, what was read goes on.
    pub(crate) fn is_input_held(&self) -> bool {
        self.limited.as_ref().is_some_and(|limited| limited.held_until(Way::In) != 0)
    }

    pub(super) fn over_high(&self) -> bool {
        self.out.as_ref().is_some_and(|o| {
            o.queued_bytes() >= self.settings.output_high_bytes.max(1) || o.too_many_items()
        })
    }

    pub(super) fn under_low(&self) -> bool {
        self.out.as_ref().is_none_or(|o| {
            o.queued_bytes() <= self.settings.output_low_bytes && !o.too_many_items()
        })
    }

    /// The input that was read and not yet cut.
    pub(crate) fn stashed(&self) -> &[u8] {
        &self.stash[self.stash_at as usize..]
    }

    /// Bytes of storage that the stash holds.
    #[cfg(test)]
    pub(crate) fn stash_storage(&self) -> usize {
        self.stash.capacity()
    }

    /// Takes what was read and not yet cut; the stash is left without storage.
    pub(super) fn take_stash(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.stash), std::mem::take(&mut self.stash_at) as usize)
    }

    /// Keeps the bytes from `at` on, in storage of at most twice their size.
    pub(super) fn keep_stash(&mut self, mut stash: Vec<u8>, mut at: usize) {
        if at == stash.len() {
            return;
        }
        if at > stash.len() / 2 {
            stash = stash[at..].to_vec();
            at = 0;
        }
        self.stash = stash;
        self.stash_at = at as u32;
    }

    /// Whether there may be input that was not cut yet.
    pub(super) fn has_input(&self) -> bool {
        self.stash_fresh || (self.readable && !self.eof && !self.is_input_held())
    }

    pub(super) fn takes_input(&mut self) -> bool {
        self.backed_up |= self.over_high();
        self.closing.is_none()
            && !self.paused
            && !self.malformed
            && !self.held_by_operator
            && !self.backed_up
    }

    pub(super) fn has_output(&self) -> bool {
        self.out.as_ref().is_some_and(|o| !o.is_empty())
    }

    /// Why the connection broke.
    pub(super) fn breakage(&self) -> Closed {
        let error = self.transport.connected().err();
        // The error may have been told already, to a read.
        let error = error.filter(|e| e.kind() != io::ErrorKind::NotConnected);
        Closed::Peer(error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
    }

    pub(super) fn piece(&self) -> usize {
        1 << self.piece_log2
    }

    /// Offers a quick peer larger pieces and a slow one smaller.
    pub(super) fn adjust_piece(&mut self, flushed: Flushed, written: usize) {
        let (min, max) = (log2(self.settings.piece_min_bytes), log2(self.settings.piece_max_bytes));
        if flushed == Flushed::Blocked {
            if written < self.piece() {
                self.piece_log2 = (self.piece_log2 - 1).max(min);
            }
        } else if written >= self.piece() {
            self.piece_log2 = (self.piece_log2 + 1).min(max);
        }
    }
}

fn own(settings: &ChannelSettings, way: Way) -> Option<&Rate> {
    match way {
        Way::Out => settings.send_rate.as_ref(),
        Way::In => settings.receive_rate.as_ref(),
    }
}

/// The earlier of two deadlines, of which 0 is none.
fn nearer(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a | b } else { a.min(b) }
}

fn seconds(tick: u64) -> u32 {
    u32::try_from(tick / 1000).unwrap_or(u32::MAX)
}

fn log2(bytes: usize) -> u8 {
    (bytes.max(1).ilog2() as u8).clamp(*PIECE_LOG2.start(), *PIECE_LOG2.end())
}
