//! A fixed answer: the same status and text whatever is asked.

use std::fmt;

use bytes::Bytes;

use crate::extension::{Exchange, Extension, Handled, Request};
use crate::reply::{Body, Reply};
use crate::wire::reply::write_field;

/// Bytes of a fixed text.
pub const MAX_FIXED: usize = 1 << 20;

/// Answers every request that reaches it with the same text.
pub struct Fixed {
    status: u16,
    content_type: String,
    text: Bytes,
}

/// Why a fixed answer cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedError {
    /// The status is no final one, 200 to 599.
    Status(u16),
    /// The status is one of those that have no body (204, 304), but there is a text.
    NoBody(u16),
    /// The content type cannot stand in a field.
    ContentType,
    /// The text is longer than [`MAX_FIXED`].
    TooLong,
}

impl fmt::Display for FixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "{status} is no status to answer with; use one from 200 to 599")
            }
            Self::NoBody(status) => {
                write!(f, "an answer with the status {status} has no text; leave it empty")
            }
            Self::ContentType => f.write_str("the content type is empty or has control characters"),
            Self::TooLong => write!(f, "the text is longer than {MAX_FIXED} bytes; use a file"),
        }
    }
}

impl std::error::Error for FixedError {}

impl Fixed {
    /// Answers with this status and text; the content type is one like
    /// `text/plain; charset=utf-8`.
    pub fn new(
        status: u16,
        content_type: impl Into<String>,
        text: impl Into<Bytes>,
    ) -> Result<Self, FixedError> {
        let (content_type, text) = (content_type.into(), text.into());
        if !(200..600).contains(&status) {
            return Err(FixedError::Status(status));
        }
        if matches!(status, 204 | 304) && !text.is_empty() {
            return Err(FixedError::NoBody(status));
        }
        if content_type.is_empty() || !write_field(&mut Vec::new(), "Content-Type", &content_type) {
            return Err(FixedError::ContentType);
        }
        if text.len() > MAX_FIXED {
            return Err(FixedError::TooLong);
        }
        Ok(Self { status, content_type, text })
    }
}

impl Extension for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, _: &Request<'_>, _: &mut Exchange<'_>) -> Handled {
        let reply = Reply::new(self.status);
        Handled::Now(if self.text.is_empty() {
            reply
        } else {
            reply.field("Content-Type", &self.content_type).body(Body::Bytes(self.text.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_answer_is_refused() {
        let made =
            |status, kind: &str, text: &str| Fixed::new(status, kind, text.to_owned()).map(|_| ());
        assert_eq!(made(200, "text/plain", "x"), Ok(()));
        assert_eq!(made(204, "text/plain", ""), Ok(()));
        for (status, kind, text, error) in [
            (100, "text/plain", "", FixedError::Status(100)),
            (600, "text/plain", "", FixedError::Status(600)),
            (204, "text/plain", "x", FixedError::NoBody(204)),
            (200, "", "x", FixedError::ContentType),
            (200, "text/plain\r\nX: y", "x", FixedError::ContentType),
            (200, "text/plain", &"x".repeat(MAX_FIXED + 1), FixedError::TooLong),
        ] {
            assert_eq!(made(status, kind, text), Err(error));
            assert!(!error.to_string().is_empty());
        }
    }
}
