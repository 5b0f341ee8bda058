//! One channel's output queue: small pieces side by side in one buffer, large ones by reference,
//! producers that are asked when their turn comes.
//!
//! The one design choice: the queue is lent. A channel owns one only while something waits in
//! it; the loop has a spare with room, which the channel in hand borrows, so that replies are
//! written next to each other without an allocation, and an idle connection owns nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use bytes::Bytes;

use crate::limits::{
    COALESCE_BYTES, COMPACT_BYTES, QUEUED_ITEMS, SLICES_A_WRITE, SPARE_OUTPUT_BYTES, WARM_BYTES,
};
use crate::producer::{Aborted, FileRange, Piece, Producer, Pull};
use crate::protocol::Closed;
use crate::sys;
use crate::transport::Transport;

#[derive(Default)]
pub(crate) struct OutputQueue {
    /// The bytes of all `Inline` items, in order; those before `head` have been sent.
    inline: Vec<u8>,
    head: usize,
    items: VecDeque<Item>,
    /// Bytes that are made and not sent: `Inline` and `Bytes` items.
    made: usize,
    /// There may be items other than `Inline` and `Mark`.
    mixed: bool,
    /// Only of meaning while the peer lets it wait.
    pub(crate) window: Window,
}

/// A time in which the peer must take so much.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    /// The tick at which it ends; 0 is never.
    pub(crate) until: u64,
    /// Bytes that had been sent when it began.
    pub(crate) sent: u64,
}

enum Item {
    Inline(usize),
    Bytes(Bytes),
    File(Sending),
    Producer(Box<dyn Producer>),
    Mark(u64),
    Failed(Aborted),
}

/// A range of a file on its way out.
struct Sending {
    range: FileRange,
    /// Up to where the content is known to be in memory.
    warm_until: u64,
    /// Whether a helper thread has brought the next window into memory.
    fetched: Option<Rc<Cell<bool>>>,
}

impl Sending {
    fn new(range: FileRange) -> Self {
        let warm_until = range.offset;
        Self { range, warm_until, fetched: None }
    }

    /// Sees to it that the next bytes are in memory, so that sending them cannot wait for the
    /// disk. `false` means that a helper thread fetches them, and wakes the channel.
    fn is_in_memory(&mut self, pull: &Pull<'_>) -> bool {
        let FileRange { file, offset, len } = &self.range;
        if *offset < self.warm_until {
            return true;
        }
        let until = offset + len.min(&WARM_BYTES);
        match &self.fetched {
            Some(fetched) if !fetched.get() => return false,
            // Fetched, it counts as in memory; if it was thrown out meanwhile, so be it.
            Some(_) => self.fetched = None,
            None if !pull.handle().is_in_memory(file, *offset, until) => {
                let (file, from) = (file.clone(), *offset);
                let (fetched, waker) = (Rc::new(Cell::new(false)), pull.waker());
                self.fetched = Some(fetched.clone());
                pull.handle().run(
                    move || sys::fetch(&file, from, until),
                    move |_| {
                        fetched.set(true);
                        waker.wake();
                    },
                );
                return false;
            }
            None => {}
        }
        self.warm_until = until;
        true
    }
}

/// How far a flush has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything has left.
    Drained,
    /// The socket takes no more.
    Blocked,
    /// A producer has nothing yet.
    Waiting,
    /// The budget of this turn is used up.
    Budget,
    /// The bandwidth allows no more for now.
    Held,
}

impl OutputQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.made
    }

    pub(crate) fn too_many_items(&self) -> bool {
        self.items.len() >= QUEUED_ITEMS
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn push_copy(&mut self, bytes: &[u8]) {
        self.push_with(|inline| inline.extend_from_slice(bytes));
    }

    pub(crate) fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.inline.len();
        let result = write(&mut self.inline);
        let added = self.inline.len().saturating_sub(before);
        if added > 0 {
            self.made += added;
            if let Some(Item::Inline(len)) = self.items.back_mut() {
                *len += added;
            } else {
                self.items.push_back(Item::Inline(added));
            }
        }
        result
    }

    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COALESCE_BYTES {
            self.push_copy(&bytes);
        } else {
            self.made += bytes.len();
            self.mixed = true;
            self.items.push_back(Item::Bytes(bytes));
        }
    }

    pub(crate) fn push_file(&mut self, range: FileRange) {
        if range.len > 0 {
            self.mixed = true;
            self.items.push_back(Item::File(Sending::new(range)));
        }
    }

    pub(crate) fn push_producer(&mut self, producer: Box<dyn Producer>) {
        self.mixed = true;
        self.items.push_back(Item::Producer(producer));
    }

    pub(crate) fn push_mark(&mut self, token: u64) {
        self.items.push_back(Item::Mark(token));
    }

    /// Sends what the transport takes, at most `budget` bytes, asking producers for pieces of
    /// `room` bytes. Marks that were passed are appended to `marks` with the bytes sent so far.
    pub(crate) fn flush(
        &mut self,
        transport: &mut Transport,
        room: usize,
        budget: &mut usize,
        sent: &mut u64,
        marks: &mut Vec<(u64, u64)>,
        pull: &mut Pull<'_>,
    ) -> Result<Flushed, Closed> {
        if !self.mixed
            && let Some(flushed) = self.flush_inline(transport, budget, sent, marks)
        {
            return flushed;
        }
        loop {
            self.advance(0, sent, marks);
            if self.items.is_empty() {
                self.mixed = false;
                return Ok(Flushed::Drained);
            }
            if *budget == 0 {
                return Ok(Flushed::Budget);
            }
            let pending = self.pull(room, pull);
            let written = match self.items.front_mut() {
                Some(Item::Failed(why)) => return Err(Closed::Aborted(why.clone())),
                Some(Item::File(sending)) => {
                    if !sending.is_in_memory(pull) {
                        return Ok(Flushed::Waiting);
                    }
                    let warm = sending.warm_until - sending.range.offset;
                    let range = &mut sending.range;
                    let count = range.len.min(warm).min(*budget as u64) as usize;
                    match transport.send_file(&range.file, range.offset, count) {
                        // The file became shorter: what was promised cannot be kept.
                        Ok(0) => {
                            let why = format!("file ends {} bytes early", range.len);
                            return Err(Closed::Aborted(Aborted::new(why)));
                        }
                        Ok(n) => {
                            *sent += n as u64;
                            range.offset += n as u64;
                            range.len -= n as u64;
                            if range.len == 0 {
                                self.items.pop_front();
                            }
                            Ok(n)
                        }
                        Err(e) => Err(e),
                    }
                }
                Some(Item::Producer(_)) => {
                    debug_assert!(pending, "a producer stays in front only while it is pending");
                    return Ok(Flushed::Waiting);
                }
                None | Some(Item::Mark(_)) => continue,
                Some(Item::Inline(_) | Item::Bytes(_)) => {
                    self.write(transport, *budget, sent, marks)
                }
            };
            match written {
                Ok(n) => *budget = budget.saturating_sub(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(e) => return Err(Closed::Peer(e)),
            }
        }
    }

    /// Sends a queue of nothing but small pieces, the common case, in one call. `None` is left to
    /// the long way: the call took some, and the rest must be tried.
    fn flush_inline(
        &mut self,
        transport: &mut Transport,
        budget: &mut usize,
        sent: &mut u64,
        marks: &mut Vec<(u64, u64)>,
    ) -> Option<Result<Flushed, Closed>> {
        let all = &self.inline[self.head..];
        if all.is_empty() || all.len() > *budget {
            return None;
        }
        match transport.write(&[IoSlice::new(all)], false) {
            Ok(n) if n == all.len() => {
                for item in self.items.drain(..) {
                    match item {
                        Item::Inline(len) => *sent += len as u64,
                        Item::Mark(token) => marks.push((token, *sent)),
                        _ => debug_assert!(false, "a mixed queue says so"),
                    }
                }
                self.inline.clear();
                self.head = 0;
                self.made = 0;
                *budget -= n;
                Some(Ok(Flushed::Drained))
            }
            Ok(n) => {
                self.advance(n, sent, marks);
                *budget -= n;
                None
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(Ok(Flushed::Blocked)),
            Err(e) => Some(Err(Closed::Peer(e))),
        }
    }

    /// Asks the producers that stand within the next `room` bytes. Says whether one is pending.
    fn pull(&mut self, room: usize, pull: &mut Pull<'_>) -> bool {
        let (mut at, mut total, mut slices) = (0, 0, 0);
        while at < self.items.len() && total < room && slices < SLICES_A_WRITE {
            match &mut self.items[at] {
                Item::Inline(len) => total += *len,
                Item::Bytes(bytes) => total += bytes.len(),
                Item::Mark(_) => {}
                Item::File(_) | Item::Failed(_) => return false,
                Item::Producer(producer) => {
                    let new = match producer.produce(room - total, pull) {
                        Ok(Piece::Pending) => return true,
                        Ok(Piece::End) => {
                            self.items.remove(at);
                            continue;
                        }
                        Ok(Piece::Bytes(bytes)) if bytes.is_empty() => {
                            // Against the contract; taken as a failure, for it could go on forever.
                            Item::Failed(Aborted::new("a producer gave an empty piece"))
                        }
                        Ok(Piece::Bytes(bytes)) => {
                            self.made += bytes.len();
                            Item::Bytes(bytes)
                        }
                        Ok(Piece::File(range)) if range.len == 0 => {
                            Item::Failed(Aborted::new("a producer gave an empty file range"))
                        }
                        Ok(Piece::File(range)) => Item::File(Sending::new(range)),
                        Err(why) => Item::Failed(why),
                    };
                    if matches!(new, Item::Failed(_)) {
                        // What stands behind a failure can never be sent.
                        self.items.truncate(at);
                    }
                    self.items.insert(at, new);
                    continue;
                }
            }
            at += 1;
            slices += 1;
        }
        false
    }

    /// Writes the made pieces in front in one call.
    fn write(
        &mut self,
        transport: &mut Transport,
        budget: usize,
        sent: &mut u64,
        marks: &mut Vec<(u64, u64)>,
    ) -> io::Result<usize> {
        // Inline items stand side by side: those in front make one slice, and mostly all of it.
        let mut run = 0;
        let mut behind = None;
        for item in &self.items {
            match item {
                Item::Inline(len) => run += len,
                Item::Mark(_) => {}
                other => {
                    behind = Some(other);
                    break;
                }
            }
        }
        let front = &self.inline[self.head..self.head + run.min(budget)];
        let n = match behind {
            Some(Item::Bytes(_)) => {
                return self.write_slices(transport, budget, sent, marks);
            }
            Some(Item::File(_)) => transport.write(&[IoSlice::new(front)], true)?,
            _ => transport.write(&[IoSlice::new(front)], false)?,
        };
        self.advance(n, sent, marks);
        Ok(n)
    }

    /// Writes made pieces of both kinds in one call.
    fn write_slices(
        &mut self,
        transport: &mut Transport,
        budget: usize,
        sent: &mut u64,
        marks: &mut Vec<(u64, u64)>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_A_WRITE];
        let (mut used, mut total, mut at) = (0, 0, self.head);
        // Inline items stand side by side, so that neighbours make one slice.
        let mut open = false;
        let mut more = false;
        for item in &self.items {
            if total >= budget || used == SLICES_A_WRITE {
                break;
            }
            match item {
                Item::Inline(len) => {
                    let start = if open { at - slices[used - 1].len() } else { at };
                    if !open {
                        used += 1;
                    }
                    let len = (*len).min(budget - total);
                    at += len;
                    total += len;
                    slices[used - 1] = IoSlice::new(&self.inline[start..at]);
                    open = true;
                }
                Item::Bytes(bytes) => {
                    let len = bytes.len().min(budget - total);
                    slices[used] = IoSlice::new(&bytes[..len]);
                    used += 1;
                    total += len;
                    open = false;
                }
                Item::Mark(_) => {}
                Item::File(_) => {
                    more = true;
                    break;
                }
                Item::Producer(_) | Item::Failed(_) => break,
            }
        }
        let n = transport.write(&slices[..used], more)?;
        self.advance(n, sent, marks);
        Ok(n)
    }

    /// Takes `n` sent bytes off the front, and the marks that stand between and behind them.
    fn advance(&mut self, mut n: usize, sent: &mut u64, marks: &mut Vec<(u64, u64)>) {
        self.made -= n;
        while let Some(item) = self.items.front_mut() {
            let (took, left) = match item {
                Item::Mark(token) => {
                    marks.push((*token, *sent));
                    (0, 0)
                }
                Item::Inline(len) => {
                    let took = n.min(*len);
                    self.head += took;
                    *len -= took;
                    (took, *len)
                }
                Item::Bytes(bytes) => {
                    let took = n.min(bytes.len());
                    bytes::Buf::advance(bytes, took);
                    (took, bytes.len())
                }
                Item::File(_) | Item::Producer(_) | Item::Failed(_) => break,
            };
            n -= took;
            *sent += took as u64;
            if left > 0 {
                break;
            }
            self.items.pop_front();
        }
        debug_assert_eq!(n, 0, "no more is taken off than was written");
        if self.head == self.inline.len() {
            self.inline.clear();
            self.head = 0;
        } else if self.head >= COMPACT_BYTES && self.head >= self.inline.len() / 2 {
            // A queue that never quite drains would grow by all that ever passed through it.
            self.inline.drain(..self.head);
            self.head = 0;
        }
    }

    /// Bytes of storage that the queue holds for what is copied into it.
    #[cfg(test)]
    pub(crate) fn storage(&self) -> usize {
        self.inline.capacity()
    }

    /// Makes an empty queue fit to be lent again: its room is kept, within a bound.
    pub(crate) fn recycle(&mut self) {
        debug_assert!(self.items.is_empty());
        if self.inline.capacity() > SPARE_OUTPUT_BYTES {
            self.inline = Vec::new();
        }
        if self.items.capacity() > QUEUED_ITEMS * 2 {
            self.items = VecDeque::new();
        }
        self.inline.clear();
        self.head = 0;
        self.made = 0;
        self.mixed = false;
    }

    /// Moves what waits into a queue of just the size it needs, and leaves this one empty.
    pub(crate) fn move_out(&mut self) -> Self {
        let mut items = VecDeque::with_capacity(self.items.len());
        items.extend(self.items.drain(..));
        let inline = self.inline[self.head..].to_vec();
        let (head, window) = (0, self.window);
        let kept = Self { inline, head, items, made: self.made, mixed: self.mixed, window };
        self.recycle();
        kept
    }
}
