//! Builds a request head from another one, for extensions that send the request on changed.
//!
//! The one design choice: what steers the connection or delimits the body cannot be named here,
//! so an edited head always reads like the client's to the session. What else may be wrong with
//! it the parser finds, which reads it once more.

use std::fmt;

use crate::wire::head::{Head, Method, Version};
use crate::wire::reply::write_field;

/// Request fields that no extension changes: they say where the request ends, whether another
/// follows, and what the client waits for.
pub const FRAMING_FIELDS: [&str; 8] = [
    "Connection",
    "Content-Length",
    "Expect",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// Why a field cannot be put into a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// It is one of [`FRAMING_FIELDS`], or of a reply's
    /// [`SESSION_FIELDS`](crate::reply::SESSION_FIELDS).
    Ours,
    /// The name is no token, or the value has a control byte.
    Malformed,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "the server itself writes this field; choose another one",
            Self::Malformed => {
                "a field's name has letters, digits and `!#$%&'*+-.^_`|~` only, and its value no \
                 control characters"
            }
        })
    }
}

impl std::error::Error for FieldError {}

/// A request head in the making.
#[derive(Clone, Debug)]
pub struct HeadEdit {
    method: Method,
    target: Vec<u8>,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
}

impl HeadEdit {
    /// Begins with this head.
    pub fn of(head: &Head<'_>) -> Self {
        Self {
            method: head.method,
            target: head.target.raw_bytes().to_vec(),
            version: head.version,
            fields: head.fields.iter().map(|(name, v)| (name.to_owned(), v.to_vec())).collect(),
        }
    }

    /// Sets the target, which is encoded already: `/path?query`.
    pub fn set_target(&mut self, target: impl Into<Vec<u8>>) {
        self.target = target.into();
    }

    /// Adds a field behind those of its name.
    pub fn add(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), FieldError> {
        let value = value.into();
        check_field(name, &value)?;
        self.fields.push((name.to_owned(), value));
        Ok(())
    }

    /// Puts one field in place of all of this name.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), FieldError> {
        let value = value.into();
        check_field(name, &value)?;
        self.remove(name)?;
        self.fields.push((name.to_owned(), value));
        Ok(())
    }

    /// Takes all fields of this name away; says whether there were any.
    pub fn remove(&mut self, name: &str) -> Result<bool, FieldError> {
        check_field(name, b"")?;
        let before = self.fields.len();
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        Ok(self.fields.len() < before)
    }

    /// The bytes of the head, for [`Handled::PassAs`](crate::Handled::PassAs).
    pub fn build(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(&self.target);
        out.extend_from_slice(match self.version {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 => b" HTTP/1.1\r\n",
        });
        for (name, value) in &self.fields {
            let written = write_field(&mut out, name, value);
            debug_assert!(written, "fields are checked when they come");
        }
        out.extend_from_slice(b"\r\n");
        out.into()
    }
}

/// Checks a field that is to go into a request's head.
pub(crate) fn check_field(name: &str, value: &[u8]) -> Result<(), FieldError> {
    if FRAMING_FIELDS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(FieldError::Ours);
    }
    if write_field(&mut Vec::new(), name, value) { Ok(()) } else { Err(FieldError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fields::FieldTable;

    const HEAD: &[u8] = b"POST /a%20b?q HTTP/1.1\r\nHost: h\r\nx-a: 1\r\nX-B: \t2 \r\nX-A: 3\r\n\
        Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";

    fn edited(edit: impl FnOnce(&mut HeadEdit)) -> String {
        let mut table = FieldTable::new();
        let head = Head::parse(HEAD, &mut table).unwrap();
        let mut edited = HeadEdit::of(&head);
        edit(&mut edited);
        let bytes = edited.build();
        let mut table = FieldTable::new();
        let again = Head::parse(&bytes, &mut table).unwrap();
        assert_eq!((again.framing, again.expect), (head.framing, head.expect));
        String::from_utf8(bytes.into()).unwrap()
    }

    #[test]
    fn a_head_is_rebuilt_and_changed() {
        let same = "POST /a%20b?q HTTP/1.1\r\nHost: h\r\nx-a: 1\r\nX-B: 2\r\nX-A: 3\r\n\
            Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        assert_eq!(edited(|_| {}), same);
        let other = edited(|edit| {
            edit.set_target("/new");
            edit.set("X-a", "4").unwrap();
            edit.add("X-B", "5").unwrap();
            assert_eq!(edit.remove("X-C"), Ok(false));
        });
        let expected = "POST /new HTTP/1.1\r\nHost: h\r\nX-B: 2\r\nContent-Length: 5\r\n\
            Expect: 100-continue\r\nX-a: 4\r\nX-B: 5\r\n\r\n";
        assert_eq!(other, expected);
        assert!(!edited(|edit| assert_eq!(edit.remove("x-A"), Ok(true))).contains("-a"));
    }

    #[test]
    fn what_frames_a_request_is_refused_and_so_is_what_is_no_field() {
        edited(|edit| {
            for name in FRAMING_FIELDS {
                let name = name.to_ascii_uppercase();
                assert_eq!(edit.add(&name, "1"), Err(FieldError::Ours));
                assert_eq!(edit.set(&name, "1"), Err(FieldError::Ours));
                assert_eq!(edit.remove(&name), Err(FieldError::Ours));
            }
            assert_eq!(edit.add("a b", "1"), Err(FieldError::Malformed));
            assert_eq!(edit.set("X-A", "1\r\nContent-Length: 0"), Err(FieldError::Malformed));
        });
    }
}
