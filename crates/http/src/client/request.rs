//! A request that we make.
//!
//! The one design choice: what is sent was read by our own parser first, so a request that would
//! mean something else to a server than to us is never made. Framing is not the caller's.

use std::fmt;

use crate::edit::{FieldError, check_field};
use crate::reply::Body;
use crate::wire::fields::FieldTable;
use crate::wire::head::{Head, Method};
use crate::wire::reply::{write_field, write_number};
use crate::wire::target::Authority;
use crate::wire::{Reject, bytes};

/// Why a request cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// A field cannot be sent.
    Field(FieldError),
    /// A server would refuse it, for the reason that ours would have.
    Refused(Reject),
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(error) => error.fmt(f),
            Self::Refused(reject) => f.write_str(reject.reason),
        }
    }
}

impl std::error::Error for BadRequest {}

/// A request that we make; see [`Client::send`](super::Client::send).
pub struct ClientRequest {
    pub(super) method: Method,
    /// The whole head.
    pub(super) head: Vec<u8>,
    pub(super) body: Body,
}

/// A request in the making.
pub struct RequestBuilder {
    method: Method,
    head: Vec<u8>,
    body: Body,
    /// What is wrong with host or target.
    refused: Option<Reject>,
}

impl ClientRequest {
    /// Begins a request for `target` (`/path?query`, encoded already) of `host`, which is the
    /// value of the field Host.
    pub fn build(method: Method, host: &str, target: &str) -> RequestBuilder {
        // The parser could not tell a second line in them from a field of the caller's.
        let refused = if Authority::parse(host.as_bytes()).is_err() {
            Some(Reject::bad("the host is no host"))
        } else if bytes::graphic_len(target.as_bytes()) < target.len() {
            Some(Reject::bad("a byte in the target that no target may have"))
        } else {
            None
        };
        let mut head = Vec::with_capacity(target.len() + host.len() + 128);
        head.extend_from_slice(method.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(target.as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        head.extend_from_slice(host.as_bytes());
        head.extend_from_slice(b"\r\n");
        RequestBuilder { method, head, body: Body::Empty, refused }
    }

    /// Whether it may be sent a second time, when nobody knows whether the first arrived.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method.is_safe() && !matches!(self.body, Body::Producer(..))
    }

    /// The body; of one that can be given twice it stays.
    pub(super) fn take_body(&mut self) -> Body {
        match &self.body {
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::File(range) => Body::File(range.clone()),
            _ => std::mem::take(&mut self.body),
        }
    }
}

impl RequestBuilder {
    /// Adds a field. Those that say where the request ends, and Host, are not the caller's
    /// ([`FRAMING_FIELDS`](crate::FRAMING_FIELDS)).
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, BadRequest> {
        let value = value.as_ref();
        if name.eq_ignore_ascii_case("Host") {
            return Err(BadRequest::Field(FieldError::Ours));
        }
        check_field(name, value).map_err(BadRequest::Field)?;
        let _ = write_field(&mut self.head, name, value);
        Ok(self)
    }

    /// Sets the body. One of unknown length is sent in chunks.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Completes the head, and has it read as a server would.
    pub fn end(mut self) -> Result<ClientRequest, BadRequest> {
        if let Some(reject) = self.refused {
            return Err(BadRequest::Refused(reject));
        }
        let wants_length = matches!(self.method, Method::Post | Method::Put | Method::Patch);
        match self.body.len() {
            Some(0) if !wants_length => {}
            Some(len) => {
                self.head.extend_from_slice(b"Content-Length: ");
                write_number(&mut self.head, len);
                self.head.extend_from_slice(b"\r\n");
            }
            None => self.head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        self.head.extend_from_slice(b"\r\n");
        Head::parse(&self.head, &mut FieldTable::new()).map_err(BadRequest::Refused)?;
        let Self { method, head, body, .. } = self;
        if method == Method::Connect {
            let reject = Reject::with(501, "CONNECT makes a tunnel, which is no request");
            return Err(BadRequest::Refused(reject));
        }
        Ok(ClientRequest { method, head, body })
    }
}
