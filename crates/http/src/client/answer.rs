//! What comes of a request: an answer whose body is on its way, or the reason why there is none.

use std::fmt;

use bytes::Bytes;
use medusa_core::collector::{Collector, Discarded, Flow, Refused};
use medusa_core::limits::{FEED_HIGH_BYTES, FEED_LOW_BYTES};
use medusa_core::producer::{Feed, Pushed, feed};
use medusa_core::{Closed, Waker};

use crate::reply::Body;
use crate::wire::Reject;
use crate::wire::answer::{AnswerFraming, AnswerHead};

/// The head of an answer; its body goes to the collector that is given for it.
pub struct Answer<'a> {
    /// The head.
    pub head: &'a AnswerHead<'a>,
    /// Wakes the connection when a collector that has stopped goes on.
    pub waker: Waker,
}

impl Answer<'_> {
    /// A collector for the body, and the body that it becomes in a reply of ours, with at most
    /// [`FEED_HIGH_BYTES`] and one read between them. When nobody wants it any more the
    /// connection is closed; when it is cut short, so is the reply.
    pub fn stream(&self) -> (Box<dyn Collector>, Body) {
        let len = match self.head.framing {
            AnswerFraming::None => return (Box::new(Discarded), Body::Empty),
            AnswerFraming::Length(len) => Some(len),
            AnswerFraming::Chunked | AnswerFraming::UntilClose => None,
        };
        let (feed, producer) = feed(FEED_HIGH_BYTES, FEED_LOW_BYTES);
        feed.set_pusher(self.waker.clone());
        (Box::new(Streamed(feed)), Body::Producer(Box::new(producer), len))
    }
}

/// Passes a body on as it comes.
struct Streamed(Feed);

impl Collector for Streamed {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        match self.0.push_over(Bytes::copy_from_slice(part)) {
            Ok(Pushed::More) => Ok(Flow::Go),
            Ok(Pushed::Stop) => Ok(Flow::Stop),
            Err(_) => Err(Refused::Told),
        }
    }

    fn flow(&self) -> Result<Flow, Refused> {
        match (self.0.is_gone(), self.0.has_room()) {
            (true, _) => Err(Refused::Told),
            (false, true) => Ok(Flow::Go),
            (false, false) => Ok(Flow::Stop),
        }
    }

    fn end(self: Box<Self>) {
        self.0.end();
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// The name has no address.
    NotFound(String),
    /// No connection could be made.
    Connect(String),
    /// There are too many connections, to this target or in all.
    Busy,
    /// The connection ended before the answer.
    Closed(String),
    /// What came is no answer.
    Malformed(Reject),
    /// The answer did not come in time.
    Slow,
}

impl Failed {
    /// The status that a client of a proxy is told (RFC 9110 §15.6).
    pub fn status(&self) -> u16 {
        match self {
            Self::Busy => 503,
            Self::Slow => 504,
            _ => 502,
        }
    }
}

impl From<&Closed> for Failed {
    fn from(why: &Closed) -> Self {
        match why {
            Closed::ConnectFailed(e) => Self::Connect(e.to_string()),
            Closed::Stalled | Closed::Slow => Self::Slow,
            why => Self::Closed(why.to_string()),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(why) => write!(f, "the host cannot be found: {why}"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Busy => f.write_str("too many connections are open; try again later"),
            Self::Closed(why) => write!(f, "the connection ended before the answer: {why}"),
            Self::Malformed(reject) => write!(f, "the answer is malformed: {}", reject.reason),
            Self::Slow => f.write_str("the answer did not come in time"),
        }
    }
}

impl std::error::Error for Failed {}
