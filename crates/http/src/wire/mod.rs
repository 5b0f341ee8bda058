//! The wire format of HTTP/1.0 and 1.1: bytes in; complete, partial or refused out.
//!
//! Everything here is pure: no clock, no socket, no allocation while a request is read, and
//! nothing is remembered between two calls but what the caller holds. The one design choice:
//! a request is refused at the first byte that makes it wrong, with a [`Reject`] that already
//! carries the status and the sentence for the client, and what passes is kept as types that
//! need no second look (a [`Path`](target::Path) is known to decode, a
//! [`BodyFraming`](framing::BodyFraming) to be unambiguous). Where the RFCs leave a choice, the
//! strict side is taken: two readers of one message must never see two messages.
//!
//! In the order in which a request meets them:
//!
//! | module | does |
//! |---|---|
//! | [`framing`] | finds where a head ends, and says how its body is delimited |
//! | [`head`] | parses a complete head: request line, the fields that steer the connection |
//! | [`fields`] | field lines as offsets, with the fields we act on found in the same pass |
//! | [`target`] | the request target in its four forms, hosts and ports, percent-encoding |
//! | [`chunked`] | takes chunked bodies apart, with their trailers |
//! | [`multipart`] | takes forms apart that were sent as multipart/form-data |
//! | [`conditional`] | entity tags, `If-*` and when a `Range` counts |
//! | [`range`] | `Range` against a length |
//! | [`qvalue`] | lists with quality values; `Accept` against what we offer |
//! | [`coding`] | content codings; `Accept-Encoding` against what we offer |
//! | [`reply`] | writes the head of a reply |
//! | [`answer`] | parses the head of an answer that we are sent |
//! | [`escape`] | foreign bytes in log lines |

#![forbid(unsafe_code)]

use std::{error::Error, fmt};

pub mod answer;
pub mod basic;
pub(crate) mod bytes;
pub mod chunked;
pub mod coding;
pub mod conditional;
pub mod escape;
pub mod fields;
pub mod framing;
pub mod head;
pub mod multipart;
pub mod qvalue;
pub mod range;
pub mod reply;
pub mod target;

#[cfg(test)]
mod tests;

/// Bytes of a head, from the request line to the blank line, both included. Trailers too.
pub const MAX_HEAD: usize = 16 * 1024;
/// Field lines in a head, or in the trailers of a body.
pub const MAX_FIELDS: usize = 100;
/// Bytes of a request target.
pub const MAX_TARGET: usize = 8 * 1024;
/// Bytes of a method; a longer one cannot be known.
pub const MAX_METHOD: usize = 32;
/// Empty lines skipped before a request line (RFC 9112 §2.2 asks for at least one).
pub const MAX_LEADING_EMPTY_LINES: usize = 2;
/// Digits of a chunk size; sixteen is what fits into 64 bits.
pub const MAX_CHUNK_DIGITS: usize = 16;
/// Bytes of extensions after one chunk size, from the byte behind the digits to the line end.
pub const MAX_CHUNK_EXT: usize = 256;
/// Bytes of chunk extensions in a whole body.
pub const MAX_BODY_EXT: usize = 4 * 1024;
/// Ranges in one `Range` field; a field that asks for more is ignored.
pub const MAX_RANGES: usize = 32;
/// Bytes of a multipart boundary (RFC 2046 §5.1.1).
pub const MAX_BOUNDARY: usize = 70;
/// Bytes before the first boundary line of a multipart body; browsers send none.
pub const MAX_PREAMBLE: usize = 4 * 1024;
/// White space behind a boundary on its line.
pub const MAX_BOUNDARY_PADDING: usize = 64;
/// Bytes of the head of one part, with the blank line.
pub const MAX_PART_HEAD: usize = 8 * 1024;
/// Field lines in the head of one part.
pub const MAX_PART_FIELDS: usize = 16;
/// Parts of one multipart body.
pub const MAX_PARTS: usize = 1024;

/// Why a message is refused: the peer erred, and this is what it gets to hear.
///
/// Whoever gets one answers with it and closes: what follows on the connection can no longer be
/// delimited with certainty (RFC 9112 §11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status code of the answer.
    pub status: u16,
    /// What is wrong, as a sentence for the client; plain ASCII.
    pub reason: &'static str,
}

impl Reject {
    /// A message that breaks the grammar or our policy: 400.
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }

    /// A message that is refused with some other status.
    pub const fn with(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.status, self.reason)
    }
}

impl Error for Reject {}
