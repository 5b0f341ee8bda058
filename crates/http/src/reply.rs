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
    /// Where, behind all others, the block has the Content-Length of this body; 0 is nowhere.
    pub(crate) length_at: usize,
    /// Field lines of this reply, each ending in CR LF.
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Body,
    /// The body is our own few words, made by [`Reply::text`].
    pub(crate) is_plain: bool,
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
        Self {
            status,
            block: None,
            length_at: 0,
            fields: Vec::new(),
            body: Body::Empty,
            is_plain: false,
        }
    }

    /// A short reply for people: the status, its phrase, and a sentence.
    pub fn text(status: u16, sentence: &str) -> Self {
        let phrase = reason(status);
        let text = if sentence.is_empty() {
            format!("{status} {phrase}\n")
        } else {
            format!("{status} {phrase}: {sentence}\n")
        };
        let reply = Self::new(status)
            .field("Content-Type", "text/plain; charset=utf-8")
            .body(Body::Bytes(text.into()));
        Self { is_plain: true, ..reply }
    }

    /// The reply for a fault of our own, which the log tells more of.
    pub(crate) fn failed() -> Self {
        Self::text(500, "the server failed to answer")
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
        // Once for the whole line.
        self.fields.reserve(name.len() + value.as_ref().len() + ": \r\n".len());
        let is_ours = SESSION_FIELDS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        if is_ours || !write_field(&mut self.fields, name, value) {
            tracing::error!(
                "a reply's field `{}` cannot be sent and was left out",
                name.escape_debug()
            );
        }
    }

    /// Answers with this body, and field lines made beforehand that say its length from
    /// `length_at` on.
    pub(crate) fn whole(block: Bytes, length_at: usize, body: Body) -> Self {
        Self {
            status: 200,
            block: Some(block),
            length_at,
            fields: Vec::new(),
            body,
            is_plain: false,
        }
    }

    /// Puts field lines in that were made beforehand.
    #[must_use]
    pub fn block(mut self, block: Bytes) -> Self {
        self.block = Some(block);
        self.length_at = 0;
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.set_body(body);
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

    /// Sets the status.
    pub fn set_status(&mut self, status: u16) {
        // Some have no body, and then no length.
        self.forget_length();
        self.status = status;
    }

    /// The value of the first field of this name, in any case of letters; not of those that the
    /// session writes ([`SESSION_FIELDS`]).
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        let named = |(n, _): &(&[u8], _)| name.as_bytes().eq_ignore_ascii_case(n);
        self.lines().find(named).map(|(_, value)| value)
    }

    /// All names and values, in order; not those that the session writes.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut block = self.block.as_deref().unwrap_or_default();
        if self.length_at > 0 {
            block = &block[..self.length_at];
        }
        lines(block).chain(lines(&self.fields)).map(|line| (line.name, line.value))
    }

    /// Puts these lines, each ending in CR LF, in place of all others.
    pub(crate) fn set_lines(&mut self, lines: Vec<u8>) {
        self.block = None;
        self.length_at = 0;
        self.fields = lines;
    }

    /// Takes all fields of this name away; says whether there were any.
    pub fn remove_field(&mut self, name: &str) -> bool {
        self.forget_length();
        let mut found = false;
        let mut without = |fields: &[u8]| {
            let mut kept = Vec::with_capacity(fields.len());
            for line in lines(fields) {
                if line.is(name) {
                    found = true;
                } else {
                    kept.extend_from_slice(line.whole);
                }
            }
            kept
        };
        self.fields = without(&self.fields);
        if let Some(block) = &self.block
            && lines(block).any(|line| line.is(name))
        {
            self.block = Some(without(block).into());
        }
        found
    }

    /// Puts one field in place of all of this name; see [`Reply::field`].
    pub fn set_field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove_field(name);
        self.add_field(name, value);
    }

    /// The body.
    pub fn content(&self) -> &Body {
        &self.body
    }

    /// Takes the body out, to put another in its place or to wrap it.
    pub fn take_body(&mut self) -> Body {
        self.forget_length();
        std::mem::take(&mut self.body)
    }

    /// Puts another body in place of this one.
    pub fn set_body(&mut self, body: Body) {
        self.forget_length();
        self.body = body;
        self.is_plain = false;
    }

    /// Takes the length out of the block, to be written for whatever the body is then.
    fn forget_length(&mut self) {
        let at = std::mem::take(&mut self.length_at);
        if let Some(block) = &mut self.block
            && at > 0
        {
            block.truncate(at);
        }
    }
}

/// One field line of a reply.
struct Line<'a> {
    /// With its line end.
    whole: &'a [u8],
    name: &'a [u8],
    value: &'a [u8],
}

impl Line<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Takes field lines apart that were made by [`write_field`] or by ourselves.
fn lines(fields: &[u8]) -> impl Iterator<Item = Line<'_>> {
    fields.split_inclusive(|&byte| byte == b'\n').map(|whole| {
        let line = whole.trim_ascii_end();
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii_start();
        Line { whole, name: &line[..colon], value }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Reply {
        let block = Bytes::from_static(b"Content-Type: text/plain\r\nETag: \"a:b\"\r\nVary: A\r\n");
        Reply::new(200).block(block).field("Vary", "B").field("X-Empty", "")
    }

    fn fields(reply: &Reply) -> String {
        let block = reply.block.as_deref().unwrap_or_default();
        String::from_utf8([block, &reply.fields].concat()).unwrap()
    }

    #[test]
    fn fields_are_found_in_the_block_and_behind_it() {
        let reply = sample();
        for (name, value) in [
            ("content-type", Some(&b"text/plain"[..])),
            ("ETAG", Some(b"\"a:b\"")),
            ("Vary", Some(b"A")),
            ("X-Empty", Some(b"")),
            ("Content", None),
            ("Date", None),
        ] {
            assert_eq!(reply.value(name), value, "{name}");
        }
    }

    #[test]
    fn fields_are_removed_and_replaced_wherever_they_stand() {
        let mut reply = sample();
        assert!(reply.remove_field("vary") && !reply.remove_field("Vary"));
        let rest = "Content-Type: text/plain\r\nETag: \"a:b\"\r\nX-Empty: \r\n";
        assert_eq!(fields(&reply), rest);
        reply.set_field("ETag", "new");
        reply.set_field("X-New", "1");
        reply.add_field("X-New", "2");
        let rest = "Content-Type: text/plain\r\nX-Empty: \r\nETag: new\r\nX-New: 1\r\nX-New: 2\r\n";
        assert_eq!(fields(&reply), rest);
        reply.set_field("Content-Length", "7");
        reply.set_field("X-New", "a\r\nb");
        assert_eq!((reply.value("Content-Length"), reply.value("X-New")), (None, None));
    }

    #[test]
    fn a_block_that_is_not_touched_is_still_shared() {
        let mut reply = sample();
        let before = reply.block.as_ref().map(|block| block.as_ptr());
        reply.remove_field("X-Empty");
        assert_eq!(reply.block.as_ref().map(|block| block.as_ptr()), before);
    }

    #[test]
    fn a_length_made_beforehand_goes_with_its_body() {
        let whole = || {
            let block = Bytes::from_static(b"ETag: \"a\"\r\nContent-Length: 3\r\n");
            Reply::whole(block, 11, Body::Bytes(Bytes::from_static(b"old")))
        };
        let reply = whole();
        assert_eq!(
            (reply.value("Content-Length"), reply.value("ETag")),
            (None, Some(&b"\"a\""[..]))
        );
        let mut taken = whole();
        taken.take_body();
        let replaced = whole().body(Body::Empty);
        let mut removed = whole();
        assert!(!removed.remove_field("Content-Length"));
        for reply in [taken, replaced, removed] {
            assert_eq!(fields(&reply), "ETag: \"a\"\r\n");
        }
    }

    #[test]
    fn a_length_in_the_block_goes_when_the_reply_is_changed() {
        let lines = "ETag: a\r\nContent-Length: 3\r\n";
        let changes: [fn(&mut Reply); 4] = [
            |reply| reply.set_status(204),
            |reply| reply.set_body(Body::Empty),
            |reply| drop(reply.take_body()),
            |reply| reply.set_field("ETag", "a"),
        ];
        for change in changes {
            let mut reply = Reply::whole(lines.into(), 9, Body::Bytes("abc".into()));
            assert_eq!(reply.value("Content-Length"), None);
            change(&mut reply);
            assert_eq!((fields(&reply), reply.length_at), ("ETag: a\r\n".to_owned(), 0));
        }
    }

    #[test]
    fn the_body_can_be_taken_and_replaced() {
        let mut reply = sample().body(Body::Bytes(Bytes::from_static(b"old")));
        assert_eq!(reply.content().len(), Some(3));
        assert_eq!(reply.take_body().len(), Some(3));
        assert!(reply.content().is_empty());
        reply.set_body(Body::Bytes(Bytes::from_static(b"newer")));
        reply.set_status(203);
        assert_eq!((reply.content().len(), reply.status()), (Some(5), 203));
    }
}
