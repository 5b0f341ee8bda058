//! One line for each request, also for one that its client abandoned: with the bytes that were
//! really sent.
//!
//! The one design choice: the line is written down when the reply is, with the status and the
//! bytes that are to be expected, and handed on when the last of them has left, or the connection
//! has gone; only where it came otherwise are they written anew. The form is the combined log
//! format; control bytes from a peer are escaped.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use medusa_core::Peer;

use crate::wire::bytes;
use crate::wire::escape::Escaped;
use crate::wire::fields::Known;
use crate::wire::head::Head;
use crate::wire::reply::{imf_date, write_number};

/// Takes finished lines.
pub trait AccessLog {
    /// Lets `write` append one line, with its line feed, to a buffer that is written out later.
    /// It must not block.
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>));
}

/// The line of one request, but for what is not known before the reply has left.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// All of it that is known, with its line feed; empty when nothing is logged.
    text: Vec<u8>,
    /// Where status and bytes belong.
    gap: Range<usize>,
    /// The status and bytes that stand in the gap.
    expected: Option<(u16, u64)>,
}

/// Bytes that most lines need no more than.
const LINE_ROOM: usize = 256;

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Forgets everything but its room.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    /// Writes the line down. What is `expected` is status and bytes; a late reply expects nothing.
    pub(crate) fn write(
        &mut self,
        peer: Peer,
        lead: &Lead,
        now: Duration,
        head: Option<&Head<'_>>,
        expected: Option<(u16, u64)>,
    ) {
        let out = &mut self.text;
        out.clear();
        out.reserve(LINE_ROOM);
        lead.append(out, peer, now);
        let line = head.map_or(&b"-"[..], |head| head.line);
        // A request line that was taken has no other bytes that need an escape.
        if bytes::find_any(line, [b'"', b'\\', b'"']).is_none() {
            out.extend_from_slice(line);
        } else {
            escape(out, line);
        }
        out.extend_from_slice(b"\" ");
        let from = out.len();
        if let Some((status, bytes)) = expected {
            write_outcome(out, status, bytes);
        }
        self.gap = from..out.len();
        self.expected = expected;
        let known = |known| head.and_then(|head| head.known(known));
        let (referer, agent) = (known(Known::Referer), known(Known::UserAgent));
        if referer.is_none() && agent.is_none() {
            return out.extend_from_slice(NEITHER);
        }
        for value in [referer, agent] {
            out.extend_from_slice(b" \"");
            escape(out, value.unwrap_or(b"-"));
            out.push(b'"');
        }
        out.push(b'\n');
    }

    /// Hands the line on.
    pub(crate) fn finish(&self, log: &dyn AccessLog, status: u16, bytes: u64, whole: bool) {
        log.line(&mut |out| {
            if whole && self.expected == Some((status, bytes)) {
                return out.extend_from_slice(&self.text);
            }
            out.extend_from_slice(&self.text[..self.gap.start]);
            write_outcome(out, status, bytes);
            out.extend_from_slice(self.text[self.gap.end..].trim_ascii_end());
            out.extend_from_slice(if whole { b"\n" } else { b" aborted\n" });
        });
    }
}

fn write_outcome(out: &mut Vec<u8>, status: u16, bytes: u64) {
    write_number(out, u64::from(status));
    out.push(b' ');
    write_number(out, bytes);
}

/// The end of a line without Referer and User-Agent.
const NEITHER: &[u8] = b" \"-\" \"-\"\n";

/// Appends a peer's text so that it stays within its quotes and its line.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    if text.iter().all(plain) {
        return out.extend_from_slice(text);
    }
    write!(out, "{}", Escaped(text)).expect("a vector takes everything");
}

/// How a line begins, `10.0.0.1 - - [22/Nov/2026:12:00:00 +0000] "`, kept while second and peer
/// are the same.
#[derive(Debug)]
pub(crate) struct Lead(RefCell<Kept>);

#[derive(Debug)]
struct Kept {
    second: u64,
    ip: Option<IpAddr>,
    text: Vec<u8>,
}

impl Default for Lead {
    fn default() -> Self {
        Self(RefCell::new(Kept { second: u64::MAX, ip: None, text: Vec::new() }))
    }
}

impl Lead {
    fn append(&self, out: &mut Vec<u8>, peer: Peer, now: Duration) {
        let mut kept = self.0.borrow_mut();
        let ip = peer.ip();
        if kept.second != now.as_secs() || kept.ip != ip {
            kept.second = now.as_secs();
            kept.ip = ip;
            kept.text.clear();
            // Sun, 06 Nov 1994 08:49:37 GMT
            let date = imf_date(now.as_secs());
            let part = |range| std::str::from_utf8(&date[range]).unwrap_or("?");
            let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
            match ip {
                Some(ip) => write!(kept.text, "{ip}"),
                None => write!(kept.text, "{peer}"),
            }
            .and_then(|()| write!(kept.text, " - - [{day}/{month}/{year}:{time} +0000] \""))
            .expect("a vector takes everything");
        }
        out.extend_from_slice(&kept.text);
    }
}
