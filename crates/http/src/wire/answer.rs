//! The head of an answer that we are sent: its line, its fields, how its body ends.
//!
//! The one design choice: an answer is read as strictly as a request, since whoever passes one on
//! must see what its client will see. Every refusal is a 502: it is what the client of a proxy is
//! told, and the connection that the answer came from is of no more use.

use super::{
    MAX_HEAD, Reject, bytes,
    fields::{FieldTable, Fields, Known},
    framing::{self, BodyFraming, HeadEnd},
    head::{self, Method, Version},
};

/// How every answer begins that can be one.
const BEGINNING: &[u8] = b"HTTP/1.";

/// How the body of an answer is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFraming {
    /// There is no body.
    None,
    /// A body of so many bytes; never 0.
    Length(u64),
    /// A body in chunks, for the [`Decoder`](super::chunked::Decoder).
    Chunked,
    /// The end of the connection ends it.
    UntilClose,
}

/// One answer head, checked.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// The status, 100 to 599.
    pub status: u16,
    /// The phrase behind it, free of control bytes other than tabs; may be empty.
    pub reason: &'a [u8],
    /// The version, as far as it matters.
    pub version: Version,
    /// The fields.
    pub fields: Fields<'a>,
    /// How the body is delimited; of an interim answer (1xx) there is none.
    pub framing: AnswerFraming,
    /// Whether the connection may take another request behind this answer.
    pub keep_alive: bool,
}

/// Finds the end of the answer head that `buf` starts with; see [`framing::head_end`].
///
/// Nothing may stand before the status line, and what does not begin like one is refused at once.
pub fn head_end(buf: &[u8], from: usize) -> HeadEnd {
    let known = buf.len().min(BEGINNING.len());
    if buf[..known] != BEGINNING[..known] {
        return HeadEnd::Invalid(bad("this is no answer of HTTP/1"));
    }
    match framing::head_end(buf, from) {
        HeadEnd::Invalid(reject) if reject.status == 400 => HeadEnd::Invalid(bad(reject.reason)),
        HeadEnd::Invalid(_) => HeadEnd::Invalid(bad("the head is too large")),
        end => end,
    }
}

impl<'a> AnswerHead<'a> {
    /// Parses one complete head, as [`head_end`] found it, which answers a request with this
    /// method. CONNECT is not meant: what follows a tunnel's answer is no body.
    ///
    /// Policy, against smuggling: as for requests ([`framing::body_framing`]). A Content-Length of
    /// an answer that has no body is checked and means nothing; a Transfer-Encoding in 1xx or 204
    /// is refused (RFC 9112 §6.1).
    pub fn parse(
        head: &'a [u8],
        table: &'a mut FieldTable,
        method: Method,
    ) -> Result<Self, Reject> {
        if head.len() > MAX_HEAD {
            return Err(bad("the head is too large"));
        }
        let line = StatusLine::parse(head)?;
        let fields = table.parse(head, line.len).map_err(|reject| bad(reject.reason))?;
        let StatusLine { status, reason, version, .. } = line;
        let framing = framing(&fields, version, status, method)?;
        let keep_alive =
            framing != AnswerFraming::UntilClose && head::connection(&fields, version).keep_alive;
        Ok(Self { status, reason, version, fields, framing, keep_alive })
    }

    /// Whether another head follows for the same request (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }
}

fn framing(
    fields: &Fields<'_>,
    version: Version,
    status: u16,
    method: Method,
) -> Result<AnswerFraming, Reject> {
    let framing = framing::body_framing(fields, version).map_err(|reject| bad(reject.reason))?;
    if (status < 200 || status == 204) && framing == BodyFraming::Chunked {
        return Err(bad("Transfer-Encoding where there is no body"));
    }
    if status < 200 || status == 204 || status == 304 || method == Method::Head {
        return Ok(AnswerFraming::None);
    }
    Ok(match framing {
        BodyFraming::Length(len) => AnswerFraming::Length(len),
        BodyFraming::Chunked => AnswerFraming::Chunked,
        BodyFraming::None if fields.known(Known::ContentLength).is_some() => AnswerFraming::None,
        BodyFraming::None => AnswerFraming::UntilClose,
    })
}

/// A status line: version, status, phrase (RFC 9112 §4).
struct StatusLine<'a> {
    version: Version,
    status: u16,
    reason: &'a [u8],
    /// Bytes of the line with its end.
    len: usize,
}

impl<'a> StatusLine<'a> {
    /// The space before an empty phrase may be missing: servers are used to leave it out, and
    /// nobody reads such a line in another way.
    fn parse(head: &'a [u8]) -> Result<Self, Reject> {
        let (version, rest) = match head.strip_prefix(BEGINNING) {
            Some([b'0', b' ', rest @ ..]) => (Version::Http10, rest),
            Some([b'1'..=b'9', b' ', rest @ ..]) => (Version::Http11, rest),
            _ => return Err(bad("the version of the answer is malformed")),
        };
        let Some((digits, rest)) = rest.split_first_chunk::<3>() else {
            return Err(bad("the head is cut short"));
        };
        if !matches!(digits, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
            return Err(bad("the status is no number from 100 to 599"));
        }
        let status = digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
        let rest = match rest {
            [b' ', rest @ ..] => rest,
            [b'\r', ..] => rest,
            _ => return Err(bad("no space behind the status")),
        };
        let mut reason = bytes::text_len(rest);
        while rest.get(reason) == Some(&b'\t') {
            reason += 1;
            reason += bytes::text_len(&rest[reason..]);
        }
        if !rest[reason..].starts_with(b"\r\n") {
            return Err(bad("a control byte in the phrase behind the status"));
        }
        let len = head.len() - rest.len() + reason + 2;
        Ok(Self { version, status, reason: &rest[..reason], len })
    }
}

const fn bad(reason: &'static str) -> Reject {
    Reject::with(502, reason)
}
