//! What ends the next frame of input, and the cutting of frames from what was read.
//!
//! The one design choice: cutting is a pure function over a buffer that begins with what is
//! still uncut, and remembers how far it has looked, so that input split at any byte gives the
//! same frames and no byte is searched twice.

use memchr::memmem;

use crate::limits::{MAX_BOUNDARY_BYTES, MAX_FRAME_BYTES};

/// What ends the next frame of input.
pub enum Terminator {
    /// Nothing: all input is handed over as it comes, as `Part`s.
    None,
    /// A delimiter. The frame is handed over whole, without it, as one `End`.
    Delimiter {
        /// The bytes that end the frame; not empty.
        delimiter: &'static [u8],
        /// Bytes that the frame may have before its delimiter.
        limit: u32,
    },
    /// A boundary, as between the parts of a MIME body: `Part`s as they come, then `End` with the
    /// last bytes before it.
    Boundary(Box<[u8]>),
    /// A number of bytes: `Part`s as they come, then `End` with the last. What follows is cut by
    /// `None`, unless another terminator is set then.
    Exact(u64),
    /// A framer of the protocol's own.
    Custom(Box<dyn Framer>),
}

/// Cuts frames by rules of its own. A framer without state costs no allocation.
pub trait Framer {
    /// Looks for the first frame in `buffer`, of which `scanned` bytes were looked at before
    /// (0 when the frame is new, else what the last [`Cut::Partial`] said).
    fn cut(&mut self, buffer: &[u8], scanned: usize) -> Cut;
}

/// What cutting found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// No end yet. `scanned` bytes need not be looked at again.
    Partial {
        /// How far the search has come.
        scanned: usize,
    },
    /// `frame` bytes can be handed over though the frame goes on.
    Part {
        /// Bytes to hand over; never 0.
        frame: usize,
    },
    /// The frame is `frame` bytes long and takes `consumed` bytes with its delimiter.
    End {
        /// Bytes to hand over.
        frame: usize,
        /// Bytes that are done with.
        consumed: usize,
    },
    /// The frame is over its limit. The protocol is shown `frame` bytes of it.
    Overlong {
        /// Bytes to show.
        frame: usize,
    },
    /// The input can never become a frame.
    Malformed,
}

impl Terminator {
    /// A line ending in CR LF, at most `limit` bytes long without it.
    pub fn line(limit: u32) -> Self {
        Self::Delimiter { delimiter: b"\r\n", limit }
    }

    /// Whether the next frame needs no input at all.
    pub(crate) fn ends_at_once(&self) -> bool {
        matches!(self, Self::Exact(0))
    }

    /// Panics on a terminator that the shared buffer cannot hold: a mistake of its author.
    pub(crate) fn check(&self) {
        match self {
            Self::Delimiter { delimiter, limit } => {
                assert!(!delimiter.is_empty(), "an empty delimiter would end every frame at once");
                assert!(
                    *limit as usize + delimiter.len() <= MAX_FRAME_BYTES,
                    "a frame limit of {limit} is over MAX_FRAME_BYTES"
                );
            }
            Self::Boundary(b) => assert!(
                !b.is_empty() && b.len() <= MAX_BOUNDARY_BYTES,
                "a boundary has 1 to MAX_BOUNDARY_BYTES bytes"
            ),
            Self::None | Self::Exact(_) | Self::Custom(_) => {}
        }
    }

    /// Cuts the first frame from `buffer`, of which `scanned` bytes were searched before.
    ///
    /// `Exact` counts itself down, and is `None` after its end. Whoever calls takes `consumed` (or `frame`) bytes off.
    pub fn cut(&mut self, buffer: &[u8], scanned: usize) -> Cut {
        match self {
            Self::None if buffer.is_empty() => Cut::Partial { scanned: 0 },
            Self::None => Cut::Part { frame: buffer.len() },
            Self::Exact(left) => {
                if *left <= buffer.len() as u64 {
                    let n = *left as usize;
                    // Left at 0 it would end an empty frame again and again.
                    *self = Self::None;
                    Cut::End { frame: n, consumed: n }
                } else if buffer.is_empty() {
                    Cut::Partial { scanned: 0 }
                } else {
                    *left -= buffer.len() as u64;
                    Cut::Part { frame: buffer.len() }
                }
            }
            Self::Delimiter { delimiter, limit } => {
                let limit = *limit as usize;
                // A delimiter may have begun in what was searched before.
                let from = scanned.saturating_sub(delimiter.len() - 1);
                let window = &buffer[from..buffer.len().min(limit + delimiter.len())];
                match find(window, delimiter) {
                    Some(at) => {
                        Cut::End { frame: from + at, consumed: from + at + delimiter.len() }
                    }
                    // Just the limit is shown, so that it does not depend on how input was split.
                    None if buffer.len() >= limit + delimiter.len() => {
                        Cut::Overlong { frame: limit }
                    }
                    None => Cut::Partial { scanned: buffer.len() },
                }
            }
            Self::Boundary(boundary) => cut_at_boundary(boundary, buffer),
            Self::Custom(framer) => match framer.cut(buffer, scanned) {
                // A framer that knows no limit of its own still has this one.
                Cut::Partial { .. } if buffer.len() >= MAX_FRAME_BYTES => {
                    Cut::Overlong { frame: MAX_FRAME_BYTES }
                }
                cut => cut,
            },
        }
    }

    /// Throws away the rest of an overlong frame: how many bytes of `buffer` are done with, and
    /// whether the frame's end was among them.
    pub(crate) fn discard(&self, buffer: &[u8]) -> (usize, bool) {
        match self {
            Self::Delimiter { delimiter, .. } => match find(buffer, delimiter) {
                Some(at) => (at + delimiter.len(), true),
                None => (buffer.len() - tail_that_begins(buffer, delimiter), false),
            },
            // Only a delimiter is ever overlong by itself; what a framer refuses has no end.
            _ => (buffer.len(), false),
        }
    }
}

/// Cuts what stands before a boundary, as [`Terminator::Boundary`] does: for whoever takes apart,
/// away from a channel, what was streamed. The boundary is not empty.
pub fn cut_at_boundary(boundary: &[u8], buffer: &[u8]) -> Cut {
    if let Some(at) = memmem::find(buffer, boundary) {
        return Cut::End { frame: at, consumed: at + boundary.len() };
    }
    // Only a tail that may be the beginning of the boundary is held back.
    let keep = tail_that_begins(buffer, boundary);
    match buffer.len() - keep {
        0 => Cut::Partial { scanned: 0 },
        frame => Cut::Part { frame },
    }
}

/// Finds `needle` in `haystack`; one-byte needles and line ends take the short way.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [one] => memchr::memchr(*one, haystack),
        [b'\r', b'\n'] => {
            let mut from = 0;
            // Searching for the rarer byte of the two: a line has one LF, seldom two.
            while let Some(at) = memchr::memchr(b'\n', &haystack[from..]) {
                let at = from + at;
                if at > 0 && haystack[at - 1] == b'\r' {
                    return Some(at - 1);
                }
                from = at + 1;
            }
            None
        }
        _ => memmem::find(haystack, needle),
    }
}

/// The length of the longest tail of `buffer` with which `needle` may begin.
fn tail_that_begins(buffer: &[u8], needle: &[u8]) -> usize {
    let most = buffer.len().min(needle.len() - 1);
    (1..=most).rev().find(|&n| needle.starts_with(&buffer[buffer.len() - n..])).unwrap_or(0)
}
