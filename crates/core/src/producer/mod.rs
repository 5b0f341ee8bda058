//! Producers make output lazily: each is asked for more only when the socket can take it.
//!
//! The one design choice: the answer is explicit ([`Piece`]). A producer that has nothing yet
//! says `Pending` and wakes its channel later; one that fails says so, and the connection is
//! closed rather than ended as if it were complete. Producers wrap producers; a wrapper is
//! generic over what it wraps, so that a chain of them is one object.

mod chain;
mod count;
mod escape;
mod feed;
mod glob;
mod lines;
mod promise;
mod source;
mod steps;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use chain::Chain;
pub use count::Counted;
pub use escape::DotStuffed;
pub use feed::{Feed, FeedProducer, Full, Pushed, feed};
pub use glob::Globbed;
pub use lines::Lines;
pub use promise::{Promise, PromiseProducer, promise};
pub use source::{FileSource, Once};
pub use steps::{Part, Step, Stepped, Steps};

use crate::engine::ChannelId;
use crate::handle::{Handle, Waker};

/// Makes output when it is asked to.
pub trait Producer {
    /// Gives the next piece, of at most `room` bytes where the producer can choose.
    ///
    /// `room` is never 0. A file range may be longer: the channel sends it by and by.
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted>;

    /// Bytes still to come, where that is known.
    fn remaining(&self) -> Option<u64> {
        None
    }
}

impl<P: Producer + ?Sized> Producer for Box<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        (**self).produce(room, pull)
    }

    fn remaining(&self) -> Option<u64> {
        (**self).remaining()
    }
}

/// What a producer gives.
#[derive(Debug)]
pub enum Piece {
    /// Bytes; never empty.
    Bytes(Bytes),
    /// A range of an open file; never empty.
    File(FileRange),
    /// Nothing yet: the producer keeps a [`Waker`] and uses it when there is more.
    Pending,
    /// The end; the producer is not asked again.
    End,
}

/// A range of an open file, sent without passing through user space where the system can.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, shared with whoever else sends it.
    pub file: Arc<File>,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes. A file that ends before closes the connection.
    pub len: u64,
}

/// A producer cannot go on: what it has given so far is not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aborted(pub Cow<'static, str>);

impl Aborted {
    /// Says why in a few words for the log.
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Aborted {}

/// What a producer may know and ask while it is pulled.
pub struct Pull<'a> {
    pub(crate) id: ChannelId,
    pub(crate) handle: &'a Handle,
}

impl Pull<'_> {
    /// The loop's time, read once a turn.
    pub fn now(&self) -> Instant {
        self.handle.now()
    }

    /// The time of day, as the time since 1970, read once a turn.
    pub fn unix_time(&self) -> Duration {
        self.handle.unix_time()
    }

    /// Makes a waker for the channel that pulls.
    pub fn waker(&self) -> Waker {
        Waker::new(self.id, self.handle)
    }

    /// The services of the loop.
    pub fn handle(&self) -> &Handle {
        self.handle
    }
}
