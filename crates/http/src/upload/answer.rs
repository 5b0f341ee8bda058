//! Answers that are made on helper threads, and what the errors of a tree mean to a client that
//! writes.
//!
//! The one design choice: an answer is plain data, so that it can cross threads; a
//! [`Reply`] cannot, for its body may be a producer.

use std::borrow::Cow;

use medusa_fs::ErrorKind;

use crate::limits::UPLOAD_RETRY;
use crate::reply::{Body, Reply};
use crate::wire::Reject;

/// A reply with little in it.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    None,
    Sentence(Cow<'static, str>),
    Json(String),
}

impl Answer {
    /// A status and nothing to read.
    pub(super) fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), content: Content::None }
    }

    /// A status and a sentence for people.
    pub(super) fn text(status: u16, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { content: Content::Sentence(sentence.into()), ..Self::new(status) }
    }

    /// A status and a text in JSON for programs.
    pub(super) fn json(status: u16, text: String) -> Self {
        Self { content: Content::Json(text), ..Self::new(status) }
    }

    /// A job gave no result.
    pub(super) fn lost() -> Self {
        Self::text(503, "the server is too busy to store anything")
            .field("Retry-After", UPLOAD_RETRY.as_secs().to_string())
    }

    pub(super) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Puts words in front of the sentence, or behind it.
    pub(super) fn about(mut self, before: &str, behind: &str) -> Self {
        if let Content::Sentence(sentence) = &mut self.content {
            *sentence = format!("{before}{sentence}{behind}").into();
        }
        self
    }

    /// What an error of the tree means here. Callers answer first what is special to what they do.
    pub(super) fn of(error: &medusa_fs::Error) -> Self {
        let (status, sentence) = match error.kind() {
            ErrorKind::NotFound => (404, "there is nothing at this path"),
            ErrorKind::NotDirectory => (404, "the path leads through a file"),
            ErrorKind::Denied | ErrorKind::ReadOnly | ErrorKind::Escapes => {
                (403, "this may not be written")
            }
            ErrorKind::IsDirectory => (409, "there is a directory at this path"),
            ErrorKind::Exists => (409, "there is something of this name already"),
            ErrorKind::NotEmpty => (409, "the directory is not empty"),
            ErrorKind::Busy => (409, "this is in use and stays as it is"),
            ErrorKind::NoSpace | ErrorKind::OverQuota => (507, "there is no room for it"),
            ErrorKind::TooLong => (400, "the name is too long"),
            ErrorKind::Invalid | ErrorKind::Unsupported => {
                (403, "this cannot be written under this name")
            }
            ErrorKind::Exhausted => {
                tracing::warn!("{error}");
                return Self::lost();
            }
            _ => {
                tracing::error!("{error}");
                (500, "it could not be stored")
            }
        };
        Self::text(status, sentence)
    }
}

impl From<Reject> for Answer {
    fn from(reject: Reject) -> Self {
        Self::text(reject.status, reject.reason)
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let mut reply = match answer.content {
            Content::None => Self::new(answer.status),
            Content::Sentence(sentence) => Self::text(answer.status, &sentence),
            Content::Json(text) => Self::new(answer.status)
                .field("Content-Type", "application/json")
                .body(Body::Bytes(text.into())),
        };
        for (name, value) in answer.fields {
            reply.add_field(name, value);
        }
        reply
    }
}
