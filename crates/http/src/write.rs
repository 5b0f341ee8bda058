//! Writes the head of a reply, and decides how its body is framed.

use std::cell::RefCell;
use std::time::Duration;

use medusa_core::limits::COALESCE_BYTES;

use crate::reply::{Body, Reply};
use crate::service::Shared;
use crate::wire::head::{Method, Version};
use crate::wire::reply::{imf_date, write_number, write_status_line};

/// What a reply must know of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) head_only: bool,
    pub(crate) version: Version,
    /// The connection is kept behind this reply, if its framing allows.
    pub(crate) keep_alive: bool,
    /// It changes nothing: requests behind it need not wait for its reply.
    pub(crate) safe: bool,
}

impl Asked {
    pub(crate) fn new(method: Method, version: Version, keep_alive: bool) -> Self {
        Self { head_only: method == Method::Head, version, keep_alive, safe: method.is_safe() }
    }
}

/// How a reply's body is framed (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none: HEAD, 1xx, 204, 304.
    None,
    Length,
    Chunked,
    /// The end of the connection ends the body: a 1.0 client and a body of unknown length.
    UntilClose,
}

/// Appends the head of `reply` to `out`.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    reply: &Reply,
    asked: Asked,
    shared: &Shared,
    unix_time: Duration,
) -> Framing {
    let bodiless = reply.status < 200 || reply.status == 204 || reply.status == 304;
    let framing = if bodiless || asked.head_only {
        Framing::None
    } else {
        match (reply.body.len(), asked.version) {
            (Some(_), _) => Framing::Length,
            (None, Version::Http11) => Framing::Chunked,
            (None, Version::Http10) => Framing::UntilClose,
        }
    };
    let body = if let Body::Bytes(bytes) = &reply.body { bytes.len() } else { 0 };
    out.reserve(HEAD_ROOM + body.min(COALESCE_BYTES));
    shared.common.append(out, reply.status, unix_time.as_secs());
    match (asked.keep_alive && framing != Framing::UntilClose, asked.version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11) => {}
    }
    if let Some(block) = &reply.block {
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&reply.fields);
    // The answer to a HEAD says how the body would be framed; 1xx, 204 and 304 say nothing.
    match (reply.body.len(), asked.version) {
        _ if bodiless => {}
        (Some(_), _) if reply.length_at > 0 => {}
        (Some(len), _) => length(out, len),
        (None, Version::Http11) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (None, Version::Http10) => {}
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// What a client is asked for a body with that it holds back (RFC 9110, section 10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes that most heads need no more than.
const HEAD_ROOM: usize = 512;

/// How all replies of one second begin: the status line of the usual one, Server and Date.
#[derive(Default)]
pub(crate) struct Common(RefCell<(u64, Vec<u8>)>);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

impl Common {
    fn append(&self, out: &mut Vec<u8>, status: u16, second: u64) {
        let mut kept = self.0.borrow_mut();
        if kept.0 != second || kept.1.is_empty() {
            kept.0 = second;
            kept.1.clear();
            kept.1.extend_from_slice(OK);
            kept.1.extend_from_slice(b"Server: Medusa\r\nDate: ");
            kept.1.extend_from_slice(&imf_date(second));
            kept.1.extend_from_slice(b"\r\n");
        }
        if status == 200 {
            return out.extend_from_slice(&kept.1);
        }
        write_status_line(out, status);
        out.extend_from_slice(&kept.1[OK.len()..]);
    }
}

fn length(out: &mut Vec<u8>, len: u64) {
    out.extend_from_slice(b"Content-Length: ");
    write_number(out, len);
    out.extend_from_slice(b"\r\n");
}
