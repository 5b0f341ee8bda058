//! One line for each request, also for one that its client abandoned: with the bytes that were
//! really sent.
//!
//! The one design choice: the line is written down when the reply is, with a gap for the bytes,
//! and handed on when the last of them has left, or the connection has gone. The form is the
//! combined log format; control bytes from a peer are escaped.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use medusa_core::Peer;

use crate::wire::escape::Escaped;
use crate::wire::fields::Known;
use crate::wire::head::{Head, Version};
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
    /// All of it that is known; empty when nothing is logged.
    text: Vec<u8>,
    /// Where status and bytes belong.
    gap: usize,
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

    pub(crate) fn begin(
        &mut self,
        peer: Peer,
        lead: &Lead,
        now: Duration,
        head: Option<&Head<'_>>,
    ) {
        let out = &mut self.text;
        out.reserve(LINE_ROOM);
        lead.append(out, peer, now);
        let Some(head) = head else {
            out.extend_from_slice(b"-\" ");
            self.gap = out.len();
            out.extend_from_slice(NEITHER);
            return;
        };
        out.extend_from_slice(head.method.as_str().as_bytes());
        out.push(b' ');
        let target = head.target.raw_bytes();
        // No other byte of a target that was taken needs an escape.
        if memchr::memchr2(b'"', b'\\', target).is_none() {
            out.extend_from_slice(target);
        } else {
            escape(out, target);
        }
        out.extend_from_slice(match head.version {
            Version::Http10 => b" HTTP/1.0\" ",
            Version::Http11 => b" HTTP/1.1\" ",
        });
        self.gap = out.len();
        let (referer, agent) = (head.known(Known::Referer), head.known(Known::UserAgent));
        if referer.is_none() && agent.is_none() {
            return out.extend_from_slice(NEITHER);
        }
        for value in [referer, agent] {
            out.extend_from_slice(b" \"");
            escape(out, value.unwrap_or(b"-"));
            out.push(b'"');
        }
    }

    /// Hands the line on.
    pub(crate) fn finish(&self, log: &dyn AccessLog, status: u16, bytes: u64, whole: bool) {
        let (before, after) = self.text.split_at(self.gap);
        log.line(&mut |out| {
            out.extend_from_slice(before);
            write_number(out, u64::from(status));
            out.push(b' ');
            write_number(out, bytes);
            out.extend_from_slice(after);
            out.extend_from_slice(if whole { b"\n" } else { b" aborted\n" });
        });
    }
}

/// A line without Referer and User-Agent.
const NEITHER: &[u8] = b" \"-\" \"-\"";

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
