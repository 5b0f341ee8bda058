//! The far end of a connection in memory, and the pipe between.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::engine::ChannelId;
use crate::inspect::channel_name;
use crate::transport::Stream;

/// How a peer saw its connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// An ordinary end.
    Fin,
    /// A reset: asked for, or because the server closed while it had input unread.
    Reset,
}

/// The scripted far end of one connection.
///
/// What it does takes effect in the next [`super::Harness::run`]. All its methods may be called
/// at any time, also after the connection is gone.
#[derive(Clone)]
pub struct Peer {
    pub(super) id: ChannelId,
    pub(super) wire: Rc<RefCell<Wire>>,
}

/// The pipe: what a socket's two queues and its state are to a real connection.
#[derive(Default)]
pub(super) struct Wire {
    /// Sent by the peer, each to come in a turn of its own.
    arriving: VecDeque<Vec<u8>>,
    /// Arrived, not yet read by the server.
    inbound: VecDeque<u8>,
    /// How the peer ended its side; comes after what is arriving.
    end: Option<How>,
    end_arrived: bool,
    /// A reset is told to the reader once.
    reset_told: bool,
    /// Nobody reads at the peer: writing fails.
    deaf: bool,
    outbound: Vec<u8>,
    /// Bytes that the server can write before it would block; `None` is any number.
    room: Option<usize>,
    max_read: Option<usize>,
    max_write: Option<usize>,
    read_faults: VecDeque<io::ErrorKind>,
    write_faults: VecDeque<io::ErrorKind>,
    writes: Vec<usize>,
    reads: usize,
    /// Readiness changed since the server was told last.
    edge: bool,
    /// The last write took less than was offered: room is told when it comes.
    wants_room: bool,
    /// As the peer sees the server's side.
    closed: Option<How>,
    gone: bool,
    reset_on_close: bool,
}

/// What the harness tells the engine.
pub(super) struct Readiness {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) closed: bool,
    pub(super) broken: bool,
}

impl Peer {
    /// Sends bytes; the server sees them at once, together with what is sent before it runs.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let mut wire = self.wire.borrow_mut();
        let bytes = bytes.as_ref();
        if wire.end.is_some() || bytes.is_empty() {
            return;
        }
        if wire.arriving.is_empty() {
            wire.inbound.extend(bytes);
            wire.edge = true;
        } else {
            wire.arriving.push_back(bytes.to_vec());
        }
    }

    /// Sends bytes in parts that end at the offsets in `at`; each comes in a turn of its own.
    pub fn send_split(&self, bytes: impl AsRef<[u8]>, at: &[usize]) {
        let bytes = bytes.as_ref();
        let mut wire = self.wire.borrow_mut();
        if wire.end.is_some() {
            return;
        }
        let mut from = 0;
        for &to in at.iter().chain([&bytes.len()]) {
            if to > from {
                wire.arriving.push_back(bytes[from..to].to_vec());
                from = to;
            }
        }
    }

    /// Sends bytes one by one, each in a turn of its own.
    pub fn send_bytewise(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send_split(bytes, &(1..bytes.len()).collect::<Vec<_>>());
    }

    /// Takes what was received since it was taken last.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.wire.borrow_mut().outbound)
    }

    /// Takes what was received, as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn take_text(&self) -> String {
        String::from_utf8(self.take()).expect("what was received is text")
    }

    /// Shows what was received since it was taken last.
    pub fn received(&self) -> Vec<u8> {
        self.wire.borrow().outbound.clone()
    }

    /// Whether and how the server ended its side, as a peer sees it.
    pub fn closed(&self) -> Option<How> {
        self.wire.borrow().closed
    }

    /// Whether the server's socket is closed; its side may have ended before.
    pub fn is_gone(&self) -> bool {
        self.wire.borrow().gone
    }

    /// Ends the peer's sending side; it still reads.
    pub fn close_write(&self) {
        self.finish(How::Fin);
    }

    /// Closes the peer's socket: it sends an end and reads no more, so that writing to it fails.
    pub fn close(&self) {
        self.finish(How::Fin);
        self.wire.borrow_mut().deaf = true;
    }

    /// Breaks the connection; what was sent before can still be read by the server.
    pub fn reset(&self) {
        self.finish(How::Reset);
        self.wire.borrow_mut().deaf = true;
    }

    fn finish(&self, how: How) {
        let mut wire = self.wire.borrow_mut();
        if wire.end != Some(How::Reset) {
            wire.end_arrived = false;
            wire.end = Some(how);
        }
    }

    /// Lets the server write `bytes` from now on before it would block.
    pub fn set_write_room(&self, bytes: usize) {
        let mut wire = self.wire.borrow_mut();
        wire.room = Some(bytes);
        wire.tell_room();
    }

    /// Lets the server write this many bytes more: the peer has read so many.
    pub fn grant(&self, bytes: usize) {
        let mut wire = self.wire.borrow_mut();
        if let Some(room) = &mut wire.room {
            *room += bytes;
        }
        wire.tell_room();
    }

    /// Lets the server write as much as it likes, as at the beginning.
    pub fn grant_all(&self) {
        let mut wire = self.wire.borrow_mut();
        wire.room = None;
        wire.tell_room();
    }

    /// Makes one read of the server give at most this many bytes.
    pub fn set_max_read(&self, bytes: usize) {
        self.wire.borrow_mut().max_read = Some(bytes.max(1));
    }

    /// Makes one write of the server take at most this many bytes.
    pub fn set_max_write(&self, bytes: usize) {
        self.wire.borrow_mut().max_write = Some(bytes.max(1));
    }

    /// Makes one read of the server fail: `Interrupted`, `WouldBlock` though there is something,
    /// `ConnectionReset` and so on. Several wait for their turns.
    pub fn fail_read(&self, kind: io::ErrorKind) {
        let mut wire = self.wire.borrow_mut();
        wire.read_faults.push_back(kind);
        wire.edge = true;
    }

    /// Makes one write of the server fail; see [`Peer::fail_read`].
    pub fn fail_write(&self, kind: io::ErrorKind) {
        self.wire.borrow_mut().write_faults.push_back(kind);
    }

    /// Tells the server of readiness though nothing has changed, as a system may.
    pub fn nudge(&self) {
        self.wire.borrow_mut().edge = true;
    }

    /// Bytes taken by each write of the server, in order.
    pub fn writes(&self) -> Vec<usize> {
        self.wire.borrow().writes.clone()
    }

    /// Times that the server read from this connection.
    pub fn reads(&self) -> usize {
        self.wire.borrow().reads
    }

    /// Bytes sent by the peer that the server has not read.
    pub fn unread(&self) -> usize {
        let wire = self.wire.borrow();
        wire.inbound.len() + wire.arriving.iter().map(Vec::len).sum::<usize>()
    }

    /// The server's name for this connection.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// Where the connection stands in the inspection tree: `channels/4.1`.
    pub fn path(&self) -> String {
        format!("channels/{}", channel_name(self.id))
    }
}

impl Wire {
    fn tell_room(&mut self) {
        if self.wants_room && self.room != Some(0) {
            self.wants_room = false;
            self.edge = true;
        }
    }

    /// Lets the next part arrive. What comes after the connection is gone is lost.
    pub(super) fn arrive(&mut self) {
        if self.gone {
            self.arriving.clear();
            self.edge = false;
        } else if let Some(part) = self.arriving.pop_front() {
            self.inbound.extend(part);
            self.edge = true;
        } else if self.end.is_some() && !self.end_arrived {
            self.end_arrived = true;
            self.edge = true;
        }
    }

    pub(super) fn take_readiness(&mut self) -> Option<Readiness> {
        std::mem::take(&mut self.edge).then(|| Readiness {
            readable: !self.inbound.is_empty() || self.end_arrived || !self.read_faults.is_empty(),
            writable: self.room != Some(0),
            closed: self.end_arrived,
            broken: self.end_arrived && self.end == Some(How::Reset),
        })
    }

    /// Whether there is something to tell in the next turn.
    pub(super) fn has_news(&self) -> bool {
        !self.gone
            && (self.edge || !self.arriving.is_empty() || (self.end.is_some() && !self.end_arrived))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// As a new socket does when it is registered.
    pub(super) fn set_edge(&mut self) {
        self.edge = true;
    }
}

/// The server's end of the pipe.
pub(super) struct ServerEnd(pub(super) Rc<RefCell<Wire>>);

impl Stream for ServerEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.reads += 1;
        if let Some(kind) = wire.read_faults.pop_front() {
            // What was said to be absent comes a moment later, with an event of its own.
            wire.edge |= kind == io::ErrorKind::WouldBlock;
            return Err(kind.into());
        }
        if wire.inbound.is_empty() {
            return match wire.end.filter(|_| wire.end_arrived) {
                None => Err(io::ErrorKind::WouldBlock.into()),
                Some(How::Reset) if !std::mem::replace(&mut wire.reset_told, true) => {
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                Some(_) => Ok(0),
            };
        }
        let most = wire.max_read.unwrap_or(usize::MAX).min(buffer.len());
        let n = most.min(wire.inbound.len());
        for (to, from) in buffer.iter_mut().zip(wire.inbound.drain(..n)) {
            *to = from;
        }
        // A short read says that nothing is left: what is left counts as arriving after it.
        if n < buffer.len() && !wire.inbound.is_empty() {
            wire.edge = true;
        }
        Ok(n)
    }

    fn write(&mut self, slices: &[IoSlice<'_>], _: bool) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if let Some(kind) = wire.write_faults.pop_front() {
            wire.edge |= kind == io::ErrorKind::WouldBlock;
            return Err(kind.into());
        }
        if wire.deaf && wire.end_arrived {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: usize = slices.iter().map(|s| s.len()).sum();
        let room = wire.room.unwrap_or(usize::MAX);
        let n = offered.min(room).min(wire.max_write.unwrap_or(usize::MAX));
        wire.wants_room |= room < offered;
        if n == 0 && offered > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left = n;
        for slice in slices {
            let part = &slice[..left.min(slice.len())];
            wire.outbound.extend_from_slice(part);
            left -= part.len();
        }
        if let Some(room) = &mut wire.room {
            *room -= n;
        }
        wire.writes.push(n);
        Ok(n)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().closed.get_or_insert(How::Fin);
        Ok(())
    }

    fn reset(&mut self) {
        self.0.borrow_mut().reset_on_close = true;
    }

    /// The test's own: both ends are in one process.
    fn peer_user(&self) -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut wire = self.0.borrow_mut();
        wire.gone = true;
        if wire.reset_on_close || !wire.inbound.is_empty() {
            wire.closed = Some(How::Reset);
        } else {
            wire.closed.get_or_insert(How::Fin);
        }
    }
}
