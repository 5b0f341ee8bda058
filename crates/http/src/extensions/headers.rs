//! Changes of header fields: adds, sets and removes them, in requests on their way to the
//! extensions that follow and in replies on their way back.

use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;

use crate::edit::{FieldError, HeadEdit, check_field};
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::reply::{Reply, SESSION_FIELDS};
use crate::wire::reply::write_field;

/// Changes that one extension makes.
pub const MAX_HEADER_RULES: usize = 64;

/// Bytes of a value that is set.
pub const MAX_HEADER_VALUE: usize = 4096;

/// Where a field is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// In requests, for the extensions that follow.
    Request,
    /// In replies with one of these statuses; `100..=999` are all.
    Reply(RangeInclusive<u16>),
}

/// How a field is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A field is added to those of its name.
    Add(String),
    /// A field takes the place of all of its name.
    Set(String),
    /// All fields of the name go.
    Remove,
}

/// One change of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Where.
    pub on: On,
    /// The field's name.
    pub name: String,
    /// How.
    pub change: Change,
}

/// Why fields cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are more than [`MAX_HEADER_RULES`], or a value is longer than [`MAX_HEADER_VALUE`].
    TooMuch,
    /// This field cannot be changed.
    Field(String, FieldError),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMuch => write!(
                f,
                "at most {MAX_HEADER_RULES} fields can be changed at once, and a value has at \
                 most {MAX_HEADER_VALUE} bytes"
            ),
            Self::Field(name, error) => {
                write!(f, "the field `{}` cannot be changed: {error}", name.escape_debug())
            }
        }
    }
}

impl std::error::Error for HeaderError {}

/// Changes header fields.
pub struct Headers {
    requests: Vec<(String, Change)>,
    replies: Rc<[(RangeInclusive<u16>, String, Change)]>,
}

impl Headers {
    /// Makes these changes in their order. Refuses fields that say where a message ends, or that
    /// the server itself writes, and `Host` in requests, by which the host was chosen already.
    pub fn new(rules: Vec<HeaderRule>) -> Result<Self, HeaderError> {
        if rules.len() > MAX_HEADER_RULES {
            return Err(HeaderError::TooMuch);
        }
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for HeaderRule { on, name, change } in rules {
            let value = match &change {
                Change::Add(value) | Change::Set(value) => value.as_bytes(),
                Change::Remove => b"",
            };
            if value.len() > MAX_HEADER_VALUE {
                return Err(HeaderError::TooMuch);
            }
            let checked = match &on {
                On::Request if name.eq_ignore_ascii_case("Host") => Err(FieldError::Ours),
                On::Request => check_field(&name, value),
                On::Reply(_) => check_reply_field(&name, value),
            };
            if let Err(error) = checked {
                return Err(HeaderError::Field(name, error));
            }
            match on {
                On::Request => requests.push((name, change)),
                On::Reply(statuses) => replies.push((statuses, name, change)),
            }
        }
        Ok(Self { requests, replies: replies.into() })
    }
}

/// Checks a field that is to go into a reply's head.
fn check_reply_field(name: &str, value: &[u8]) -> Result<(), FieldError> {
    if SESSION_FIELDS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(FieldError::Ours);
    }
    if write_field(&mut Vec::new(), name, value) { Ok(()) } else { Err(FieldError::Malformed) }
}

fn edit_request(edit: &mut HeadEdit, name: &str, change: &Change) -> Result<(), FieldError> {
    match change {
        Change::Add(value) => edit.add(name, value.as_bytes()),
        Change::Set(value) => edit.set(name, value.as_bytes()),
        Change::Remove => edit.remove(name).map(|_| ()),
    }
}

fn edit_reply(reply: &mut Reply, name: &str, change: &Change) {
    match change {
        Change::Add(value) => reply.add_field(name, value),
        Change::Set(value) => reply.set_field(name, value),
        Change::Remove => {
            reply.remove_field(name);
        }
    }
}

impl Extension for Headers {
    fn name(&self) -> &'static str {
        "header"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        if !self.replies.is_empty() {
            let rules = self.replies.clone();
            exchange.on_reply(move |reply| {
                let status = reply.status();
                for (_, name, change) in rules.iter().filter(|rule| rule.0.contains(&status)) {
                    edit_reply(reply, name, change);
                }
            });
        }
        if self.requests.is_empty() {
            return Handled::Pass;
        }
        let mut edit = HeadEdit::of(request.head);
        for (name, change) in &self.requests {
            edit_request(&mut edit, name, change).expect("the rules were checked");
        }
        Handled::PassAs(edit.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(on: On, name: &str, value: &str) -> Result<(), HeaderError> {
        let change = Change::Set(value.to_owned());
        Headers::new(vec![HeaderRule { on, name: name.to_owned(), change }]).map(|_| ())
    }

    #[test]
    fn what_may_not_be_changed_is_refused() {
        let reply = || On::Reply(100..=999);
        for (on, name, value, error) in [
            (reply(), "content-length", "1", FieldError::Ours),
            (reply(), "Server", "x", FieldError::Ours),
            (reply(), "X-A", "a\r\nb", FieldError::Malformed),
            (reply(), "X A", "a", FieldError::Malformed),
            (reply(), "", "a", FieldError::Malformed),
            (On::Request, "Transfer-encoding", "chunked", FieldError::Ours),
            (On::Request, "Expect", "100-continue", FieldError::Ours),
            (On::Request, "host", "a", FieldError::Ours),
            (On::Request, "X-A", "\0", FieldError::Malformed),
        ] {
            let refused = rule(on, name, value).unwrap_err();
            assert_eq!(refused, HeaderError::Field(name.to_owned(), error));
            assert!(refused.to_string().contains(name));
        }
        assert_eq!(rule(reply(), "Expect", "x"), Ok(()));
        assert_eq!(rule(On::Request, "Server", &"x".repeat(MAX_HEADER_VALUE)), Ok(()));
        let long = rule(On::Request, "X-A", &"x".repeat(MAX_HEADER_VALUE + 1));
        assert_eq!(long, Err(HeaderError::TooMuch));
        let one = HeaderRule { on: On::Request, name: "X-A".into(), change: Change::Remove };
        assert!(Headers::new(vec![one.clone(); MAX_HEADER_RULES]).is_ok());
        assert!(Headers::new(vec![one; MAX_HEADER_RULES + 1]).is_err());
    }
}
