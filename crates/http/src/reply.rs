//! What an extension answers: a status, fields, and a body that is bytes, a file or a producer.
//!
//! The one design choice: a reply says nothing about framing. Content-Length, Transfer-Encoding,
//! Connection and Date are the session's, so no extension can get them wrong.

use bytes::Bytes;
use medusa_core::{FileRange, Producer};

use crate::wire::reply::{reason, write_field};

/// Fields that only the session writes: they say where a reply ends and whether another follows,
/// and when and by whom it was sent.
pub const SESSION_FIELDS: [&str; 5] =
    ["Connection", "Content-Length", "Date", "Server", "Transfer-Encoding"];

/// An answer to a request.
pub struct Reply {
    pub(crate) status: u16,
    /// Field lines made beforehand and shared, each ending in CR LF.
    pub(crate) block: Option<Bytes>,
    /// The block has the Content-Length of this body.
    pub(crate) has_length: bool,
    /// Field lines of this reply, each ending in CR LF.
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Body,
}

/// The content of a reply.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Bytes, by reference.
    Bytes(Bytes),
    /// A range of a file.
    File(FileRange),
    /// Whatever a producer makes; its length where it is known.
    Producer(Box<dyn Producer>, Option<u64>),
}

impl Body {
    /// The length, where it is known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(range) => Some(range.len),
            Self::Producer(_, len) => *len,
        }
    }

    /// Whether it is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl Reply {
    /// Begins a reply without a body.
    pub fn new(status: u16) -> Self {
        Self { status, block: None, has_length: false, fields: Vec::new(), body: Body::Empty }
    }

    /// A short reply for people: the status, its phrase, and a sentence.
    pub fn text(status: u16, sentence: &str) -> Self {
        let phrase = reason(status);
        let text = if sentence.is_empty() {
            format!("{status} {phrase}\n")
        } else {
            format!("{status} {phrase}: {sentence}\n")
        };
        Self::new(status)
            .field("Content-Type", "text/plain; charset=utf-8")
            .body(Body::Bytes(text.into()))
    }

    /// Adds a field. One whose name is no token, or whose value has a control byte, is left out
    /// and logged: it could not be sent without splitting the reply. So is one of the session's
    /// own ([`SESSION_FIELDS`]).
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add_field(name, value);
        self
    }

    /// Adds a field in place; see [`Reply::field`].
    pub fn add_field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let is_ours = SESSION_FIELDS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        if is_ours || !write_field(&mut self.fields, name, value) {
            tracing::error!(
                "a reply's field `{}` cannot be sent and was left out",
                name.escape_debug()
            );
        }
    }

    /// Answers with this body, and field lines made beforehand that say its length.
    pub(crate) fn whole(block: Bytes, body: Body) -> Self {
        Self { status: 200, block: Some(block), has_length: true, fields: Vec::new(), body }
    }

    /// Puts field lines in that were made beforehand.
    #[must_use]
    pub fn block(mut self, block: Bytes) -> Self {
        self.block = Some(block);
        self.has_length = false;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self.has_length = false;
        self
    }

    /// Sets a body that a producer makes; its length is asked of the producer.
    #[must_use]
    pub fn producer(self, producer: impl Producer + 'static) -> Self {
        let len = producer.remaining();
        self.body(Body::Producer(Box::new(producer), len))
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }
}
