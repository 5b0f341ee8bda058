//! Where a head ends, and how the body behind it is delimited.
//!
//! The end of a head is searched line by line, because a bare LF must be refused as soon as it
//! is seen: a search for the blank line alone would run past it and leave the client waiting
//! for a timeout. The search holds no state; what it needs stands in the buffer before the
//! place where it resumes.

use super::{
    MAX_HEAD, MAX_LEADING_EMPTY_LINES, MAX_METHOD, MAX_TARGET, Reject, bytes,
    fields::{Fields, Known},
    head::Version,
};

/// What [`head_end`] found in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEnd {
    /// The head is not complete yet.
    Partial {
        /// Bytes that need not be looked at again: `from` of the next call.
        scanned: usize,
    },
    /// The head is complete: it is `buf[skip..len]`.
    Complete {
        /// Bytes of empty lines before the request line.
        skip: usize,
        /// Bytes up to the end of the blank line, `skip` included.
        len: usize,
    },
    /// No head can come of this, or it is over a limit.
    Invalid(Reject),
}

/// Finds the end of the head that `buf` starts with.
///
/// Called after every read, with `from` the number of bytes that an earlier call on a shorter
/// buffer has scanned (0 at first). Line ends are CR LF: a bare LF is invalid (RFC 9112 §2.2
/// allows it; policy). At most [`MAX_LEADING_EMPTY_LINES`] empty lines are skipped. A head over
/// [`MAX_HEAD`] is refused as [`too_long`] says. Nothing behind the head is looked at.
#[inline]
pub fn head_end(buf: &[u8], from: usize) -> HeadEnd {
    let skip = empty_lines(buf);
    let limit = buf.len().min(skip + MAX_HEAD);
    let head = &buf[..limit];
    let mut at = from.clamp(skip, limit);
    while let Some(found) = bytes::find_line_feed(&head[at..]) {
        let line_feed = at + found;
        at = line_feed + 1;
        match &head[skip..line_feed] {
            [b'\r'] => return HeadEnd::Invalid(Reject::bad("too many empty lines")),
            [.., b'\n', b'\r'] => return HeadEnd::Complete { skip, len: at },
            [.., b'\r'] => {}
            _ => return HeadEnd::Invalid(Reject::bad("a line ends in a bare LF")),
        }
    }
    if limit == skip + MAX_HEAD {
        return HeadEnd::Invalid(too_long(&head[skip..]));
    }
    HeadEnd::Partial { scanned: limit }
}

/// Bytes of the empty lines to skip (RFC 9112 §2.2).
#[inline]
fn empty_lines(buf: &[u8]) -> usize {
    let mut skip = 0;
    while skip < 2 * MAX_LEADING_EMPTY_LINES && buf[skip..].starts_with(b"\r\n") {
        skip += 2;
    }
    skip
}

/// Says what to answer to a head that is over [`MAX_HEAD`].
///
/// 414 if the target alone is over [`MAX_TARGET`], 501 for an endless method, else 431
/// (RFC 9110 §15.5.15, RFC 9112 §3, RFC 6585 §5).
#[cold]
pub fn too_long(head: &[u8]) -> Reject {
    let method = bytes::token_len(head);
    if method > MAX_METHOD {
        return Reject::with(501, "the method is too long");
    }
    let target = head.get(method + 1..).map_or(0, bytes::graphic_len);
    if target > MAX_TARGET {
        return Reject::with(414, "the target is too long");
    }
    Reject::with(431, "the head is too large")
}

/// How the body of a message is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body.
    #[default]
    None,
    /// A body of so many bytes; never 0.
    Length(u64),
    /// A body in chunks, for the [`Decoder`](super::chunked::Decoder).
    Chunked,
}

/// Says how the body of a request is delimited, or why that is uncertain (RFC 9112 §6.3).
///
/// Policy, against smuggling: either field may stand only once, never both, and in HTTP/1.0
/// there is no transfer coding.
pub fn body_framing(fields: &Fields<'_>, version: Version) -> Result<BodyFraming, Reject> {
    let length = fields.known(Known::ContentLength);
    let Some(coding) = fields.known(Known::TransferEncoding) else {
        let Some(length) = length else { return Ok(BodyFraming::None) };
        if fields.repeats(Known::ContentLength) {
            return Err(Reject::bad("more than one Content-Length"));
        }
        return match content_length(length)? {
            0 => Ok(BodyFraming::None),
            length => Ok(BodyFraming::Length(length)),
        };
    };
    if length.is_some() {
        return Err(Reject::bad("Content-Length and Transfer-Encoding together"));
    }
    if version == Version::Http10 {
        return Err(Reject::bad("Transfer-Encoding in HTTP/1.0"));
    }
    if fields.repeats(Known::TransferEncoding) {
        return Err(Reject::bad("more than one Transfer-Encoding"));
    }
    transfer_encoding(coding)?;
    Ok(BodyFraming::Chunked)
}

/// Parses the value of a `Content-Length`: digits, one number (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Result<u64, Reject> {
    bytes::decimal(value).map_err(|overflow| {
        Reject::bad(if overflow {
            "Content-Length is too large"
        } else {
            "Content-Length is not one number"
        })
    })
}

/// Checks that the value of a `Transfer-Encoding` is `chunked` and nothing else.
///
/// `chunked` must come last, and once (RFC 9112 §6.1); no other coding is implemented.
fn transfer_encoding(value: &[u8]) -> Result<(), Reject> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let (before, last) = match value.iter().rposition(|&b| b == b',') {
        Some(comma) => (Some(&value[..comma]), bytes::trim(&value[comma + 1..])),
        None => (None, value),
    };
    if !last.eq_ignore_ascii_case(b"chunked") {
        return Err(Reject::bad("the last Transfer-Encoding is not chunked"));
    }
    for coding in bytes::list(before.unwrap_or_default()) {
        // A coding may have parameters behind its name.
        let name = &coding[..bytes::token_len(coding)];
        let after = bytes::trim(&coding[name.len()..]);
        if name.is_empty() || !(after.is_empty() || after.starts_with(b";")) {
            return Err(Reject::bad("Transfer-Encoding is malformed"));
        }
        if name.eq_ignore_ascii_case(b"chunked") {
            return Err(Reject::bad("chunked more than once"));
        }
    }
    Err(Reject::with(501, "the transfer coding is not implemented"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_end_reports_what_to_skip() {
        assert_eq!(head_end(b"", 0), HeadEnd::Partial { scanned: 0 });
        let buf = b"\r\n\r\nGET / HTTP/1.0\r\n\r\nrest\n";
        assert_eq!(head_end(buf, 0), HeadEnd::Complete { skip: 4, len: 22 });
    }

    #[test]
    fn a_bare_line_feed_is_refused_before_the_head_is_complete() {
        let HeadEnd::Invalid(reject) = head_end(b"GET / HTTP/1.1\n", 0) else { panic!() };
        assert_eq!(reject.status, 400);
        assert!(matches!(head_end(b"\n", 0), HeadEnd::Invalid(_)));
    }

    #[test]
    fn a_head_may_fill_the_limit_and_no_more() {
        for (over, complete) in [(0, true), (1, false)] {
            let mut head = b"\r\nGET / HTTP/1.1\r\nx: ".to_vec();
            head.resize(2 + MAX_HEAD - 4 + over, b'a');
            head.extend_from_slice(b"\r\n\r\n");
            let end = head_end(&head, 0);
            let whole = HeadEnd::Complete { skip: 2, len: 2 + MAX_HEAD };
            assert_eq!(end == whole, complete, "{end:?}");
            if !complete {
                assert!(matches!(end, HeadEnd::Invalid(Reject { status: 431, .. })));
            }
        }
    }

    #[test]
    fn too_long_heads_are_told_apart() {
        let long = "a".repeat(MAX_TARGET + 1);
        assert_eq!(too_long(format!("GET /{long} HTTP/1.1\r\n").as_bytes()).status, 414);
        assert_eq!(too_long(format!("GET / HTTP/1.1\r\nx: {long}").as_bytes()).status, 431);
        assert_eq!(too_long(long.as_bytes()).status, 501);
    }
}
