//! One line for each request, also for one that its client abandoned: with the bytes that were
//! really sent.
//!
//! The one design choice: the line is written down when the reply is, with the status and the
//! bytes that are to be expected, and handed on when the last of them has left, or the connection
//! has gone; only where it came otherwise are they written anew. A JSON line has everything that
//! is known later at its end, and so no need of that. In each form control bytes from a peer are
//! escaped.

mod json;
mod lead;

use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use medusa_core::{Context, Peer};

use crate::limits::SLOW_REQUEST_BYTES;
use crate::wire::bytes;
use crate::wire::escape::Escaped;
use crate::wire::fields::Known;
use crate::wire::head::Head;
use crate::wire::reply::write_number;

pub(crate) use lead::Lead;

/// What the lines of a log look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The common log format: `CLIENT - USER [TIME] "REQUEST LINE" STATUS BYTES`, with `-` for
    /// the user where no name was given. A byte of the name or the request line that is no printable ASCII is written as `\x1b`, a quote as `\"`, a backslash
    /// as `\\`. ` aborted` stands behind the line of a request whose client went away.
    Common,
    /// The common log format and behind it `"REFERER" "USER AGENT"`, escaped alike.
    #[default]
    Combined,
    /// An object of JSON. Each character of its strings is one byte that the client sent: one
    /// that is no printable ASCII is written as `\u00e4`, so nothing is lost, whatever the
    /// encoding was. `time` is when the head was there, `duration_us` the microseconds from then
    /// until the reply had left, both by the loop's clock, which is read once a turn. `user` is the
    /// name that was given, also with a wrong password (`status` is 401 then). Input that was no
    /// request has no `method`, `target` and `version`; without the fields of that name
    /// there is no `host`, `referer` and `agent`.
    Json,
}

/// Takes finished lines.
pub trait AccessLog {
    /// Lets `write` append one line, with its line feed, to a buffer that is written out later.
    /// It must not block.
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>));

    /// What its lines look like.
    fn form(&self) -> Form {
        Form::Combined
    }
}

/// What is known of a request when its line is written down.
pub(crate) struct Seen<'a> {
    peer: Peer,
    /// When it was seen, as the time since 1970.
    unix_time: Duration,
    now: Instant,
    /// Input that was no request has none.
    head: Option<&'a Head<'a>>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(cx: &Context<'_>, head: Option<&'a Head<'a>>) -> Self {
        let handle = cx.handle();
        Self { peer: *cx.peer(), unix_time: handle.unix_time(), now: handle.now(), head }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Bytes of the body that have left.
    pub(crate) bytes: u64,
    /// All of the reply has left.
    pub(crate) whole: bool,
    pub(crate) now: Instant,
}

/// The line of one request, but for what is not known before the reply has left.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// All of it that is known, with its line feed; empty when nothing is logged.
    text: Vec<u8>,
    /// Where it is said what was asked.
    asked: Range<usize>,
    /// Where status and bytes belong.
    gap: Range<usize>,
    /// The status and bytes that stand in the gap.
    expected: Option<(u16, u64)>,
    /// In JSON, when the request was there, from which its duration counts.
    since: Option<Instant>,
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
        form: Form,
        lead: &Lead,
        seen: &Seen<'_>,
        expected: Option<(u16, u64)>,
    ) {
        let out = &mut self.text;
        out.clear();
        out.reserve(LINE_ROOM);
        lead.append(out, form, seen.peer, seen.unix_time);
        self.since = None;
        let head = seen.head;
        let from = out.len();
        if form == Form::Json {
            self.since = Some(seen.now);
            json::begin(out, head);
            self.asked = from..out.len();
            return;
        }
        let line = head.map_or(&b"-"[..], |head| head.line);
        // A request line that was taken has no other bytes that need an escape.
        if bytes::find_any(line, [b'"', b'\\', b'"']).is_none() {
            out.extend_from_slice(line);
        } else {
            escape(out, line);
        }
        self.asked = from..out.len();
        out.extend_from_slice(b"\" ");
        let from = out.len();
        if let Some((status, bytes)) = expected {
            write_outcome(out, status, bytes);
        }
        self.gap = from..out.len();
        self.expected = expected;
        if form == Form::Common {
            return out.push(b'\n');
        }
        let known = |known| head.and_then(|head| head.known(known));
        let (referer, agent) = (known(Known::Referer), known(Known::UserAgent));
        if referer.is_none() && agent.is_none() {
            return out.extend_from_slice(NEITHER);
        }
        match referer {
            None => out.extend_from_slice(b" \"-\" \""),
            Some(referer) => {
                out.extend_from_slice(b" \"");
                escape(out, referer);
                out.extend_from_slice(b"\" \"");
            }
        }
        match agent {
            None => out.extend_from_slice(b"-\"\n"),
            Some(agent) => {
                escape(out, agent);
                out.extend_from_slice(b"\"\n");
            }
        }
    }

    /// Remembers what was asked where nothing is logged.
    pub(crate) fn remember(&mut self, head: Option<&Head<'_>>) {
        let line = head.map_or(&b"-"[..], |head| head.line);
        self.text.clear();
        self.text.extend_from_slice(&line[..line.len().min(SLOW_REQUEST_BYTES)]);
        self.asked = 0..self.text.len();
        self.since = None;
    }

    /// Method and target of the request, printable and without its query.
    #[cold]
    pub(crate) fn asked(&self) -> String {
        let text = &self.text[self.asked.clone()];
        let text = match self.since {
            Some(_) => json::asked(text),
            None => text.split(|&byte| byte == b' ').take(2).collect::<Vec<_>>().join(&b' '),
        };
        let end = text.iter().position(|&byte| byte == b'?').unwrap_or(text.len());
        // What would not print stands there escaped, or was refused.
        String::from_utf8_lossy(&text[..end.min(SLOW_REQUEST_BYTES)]).into_owned()
    }

    /// Hands the line on.
    pub(crate) fn finish(&self, log: &dyn AccessLog, outcome: Outcome, user: Option<&str>) {
        let Outcome { status, bytes, whole, now } = outcome;
        log.line(&mut |out| {
            if let Some(since) = self.since {
                out.extend_from_slice(&self.text);
                return json::end(out, outcome, now.saturating_duration_since(since), user);
            }
            if whole && self.expected == Some((status, bytes)) && user.is_none() {
                return out.extend_from_slice(&self.text);
            }
            let mut written = 0;
            if let Some(user) = user
                && let Some(at) = memchr::memmem::find(&self.text, NOBODY)
            {
                out.extend_from_slice(&self.text[..at]);
                out.extend_from_slice(b" - ");
                // One word, whatever it is.
                let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
                for word in user.split_inclusive(|c| !plain(c)) {
                    let last = word.chars().next_back().filter(|&c| !plain(c));
                    let len = word.len() - last.map_or(0, char::len_utf8);
                    out.extend_from_slice(&word.as_bytes()[..len]);
                    for byte in &word.as_bytes()[len..] {
                        write!(out, "\\x{byte:02x}").expect("a vector takes everything");
                    }
                }
                out.extend_from_slice(b" [");
                written = at + NOBODY.len();
            }
            out.extend_from_slice(&self.text[written..self.gap.start]);
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

/// What stands between client and time where nobody has said a name.
const NOBODY: &[u8] = b" - - [";

/// The end of a line without Referer and User-Agent.
const NEITHER: &[u8] = b" \"-\" \"-\"\n";

/// Appends a peer's text so that it stays within its quotes and its line.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    if bytes::quotable_len(text) == text.len() {
        return out.extend_from_slice(text);
    }
    write!(out, "{}", Escaped(text)).expect("a vector takes everything");
}
