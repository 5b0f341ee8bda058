//! One line for each request, also for one that its client abandoned: with the bytes that were
//! really sent.
//!
//! The one design choice: the line is written down when the reply is, with a gap for the bytes,
//! and handed on when the last of them has left, or the connection has gone. The form is the
//! combined log format; control bytes from a peer are escaped.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use medusa_core::Peer;

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
    /// Up to the status; empty when nothing is logged.
    before: Vec<u8>,
    /// Referer and User-Agent.
    after: Vec<u8>,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// Forgets everything but its room.
    pub(crate) fn clear(&mut self) {
        self.before.clear();
        self.after.clear();
    }

    pub(crate) fn begin(
        &mut self,
        peer: Peer,
        lead: &Lead,
        now: Duration,
        head: Option<&Head<'_>>,
    ) {
        lead.append(&mut self.before, peer, now);
        let out = &mut self.before;
        match head {
            Some(head) => {
                out.extend_from_slice(b" \"");
                out.extend_from_slice(head.method.as_str().as_bytes());
                out.push(b' ');
                escaped(out, head.target.raw().as_bytes());
                out.extend_from_slice(match head.version {
                    crate::wire::head::Version::Http10 => b" HTTP/1.0\" ",
                    crate::wire::head::Version::Http11 => b" HTTP/1.1\" ",
                });
                for known in [Known::Referer, Known::UserAgent] {
                    self.after.extend_from_slice(b" \"");
                    escaped(&mut self.after, head.known(known).unwrap_or(b"-"));
                    self.after.push(b'"');
                }
            }
            None => {
                out.extend_from_slice(b" \"-\" ");
                self.after.extend_from_slice(b" \"-\" \"-\"");
            }
        }
    }

    /// Hands the line on.
    pub(crate) fn finish(&self, log: &dyn AccessLog, status: u16, bytes: u64, whole: bool) {
        log.line(&mut |out| {
            out.extend_from_slice(&self.before);
            write_number(out, u64::from(status));
            out.push(b' ');
            write_number(out, bytes);
            out.extend_from_slice(&self.after);
            if !whole {
                out.extend_from_slice(b" aborted");
            }
            out.push(b'\n');
        });
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    out.write_fmt(text).expect("a vector takes everything");
}

/// Appends a peer's text so that it stays within its quotes and its line.
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    if text.iter().all(plain) {
        return out.extend_from_slice(text);
    }
    for run in text.split_inclusive(|b| matches!(b, b'"')) {
        let (run, quote) = match run.strip_suffix(b"\"") {
            Some(run) => (run, true),
            None => (run, false),
        };
        append(out, format_args!("{}", Escaped(run)));
        if quote {
            out.extend_from_slice(b"\\x22");
        }
    }
}

/// How a line begins, `10.0.0.1 - - [22/Nov/2026:12:00:00 +0000]`, kept while second and peer
/// are the same.
#[derive(Debug)]
pub(crate) struct Lead(RefCell<Kept>);

#[derive(Debug)]
struct Kept {
    second: u64,
    ip: Option<IpAddr>,
    text: String,
}

impl Default for Lead {
    fn default() -> Self {
        Self(RefCell::new(Kept { second: u64::MAX, ip: None, text: String::new() }))
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
            .and_then(|()| write!(kept.text, " - - [{day}/{month}/{year}:{time} +0000]"))
            .expect("a string takes everything");
        }
        out.extend_from_slice(kept.text.as_bytes());
    }
}
