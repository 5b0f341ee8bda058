//! One complete request head: its line, its fields, and what they decide about the connection.
//!
//! The lines are parsed by our own code. General parsers forgive: several spaces, bare LFs,
//! versions that start like ours; each such kindness is a way to make two servers disagree
//! about one message. Here nothing is forgiven, so one pass is enough.

use std::fmt;

use super::{
    MAX_HEAD, MAX_METHOD, MAX_TARGET, Reject, bytes,
    fields::{FieldTable, Fields, Known},
    framing::{BodyFraming, body_framing},
    target::{Authority, Target},
};

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// A request method that the server knows; whether a resource allows it is another
        /// question (405 instead of 501).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method { $($(#[$doc])* $variant,)* }

        impl Method {
            /// Every known method.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The method as it stands in a request line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Recognises a method; letters count as they are (RFC 9110 §9.1).
            pub fn of(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

methods! {
    /// RFC 9110 §9.3.1.
    Get "GET",
    /// RFC 9110 §9.3.2.
    Head "HEAD",
    /// RFC 9110 §9.3.3.
    Post "POST",
    /// RFC 9110 §9.3.4.
    Put "PUT",
    /// RFC 9110 §9.3.5.
    Delete "DELETE",
    /// RFC 9110 §9.3.6.
    Connect "CONNECT",
    /// RFC 9110 §9.3.7.
    Options "OPTIONS",
    /// RFC 9110 §9.3.8.
    Trace "TRACE",
    /// RFC 5789 §2.
    Patch "PATCH",
    /// RFC 4918 §9.1.
    Propfind "PROPFIND",
    /// RFC 4918 §9.2.
    Proppatch "PROPPATCH",
    /// RFC 4918 §9.3.
    Mkcol "MKCOL",
    /// RFC 4918 §9.8.
    Copy "COPY",
    /// RFC 4918 §9.9.
    Move "MOVE",
    /// RFC 4918 §9.10.
    Lock "LOCK",
    /// RFC 4918 §9.11.
    Unlock "UNLOCK",
    /// RFC 3253 §3.6.
    Report "REPORT",
    /// RFC 5323 §2.
    Search "SEARCH",
    /// RFC 4791 §5.3.1.
    Mkcalendar "MKCALENDAR",
    /// RFC 3744 §8.1.
    Acl "ACL",
}

impl Method {
    /// Whether it asks for no change, so that it may be handled beside others (RFC 9110 §9.2.1).
    pub const fn is_safe(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::Head
                | Self::Options
                | Self::Trace
                | Self::Propfind
                | Self::Report
                | Self::Search
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// The version that the client speaks. `HTTP/1.2` to `1.9` count as 1.1 (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What the client wants of the connection (RFC 9112 §9.3, RFC 9110 §7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whether the connection may serve another request after this one. If not, bytes behind
    /// this request are not processed.
    pub keep_alive: bool,
    /// Whether the client offers to switch to a protocol in its `Upgrade` field; in HTTP/1.0
    /// never (RFC 9110 §7.8).
    pub upgrade: bool,
}

/// What the client waits for before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing; also whatever an HTTP/1.0 client says.
    #[default]
    None,
    /// A `100 Continue`, or the final answer.
    Continue,
}

/// One request head, checked.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The request line as the client wrote it, without its end.
    pub line: &'a [u8],
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Target<'a>,
    /// The version, as far as it matters.
    pub version: Version,
    /// The fields.
    pub fields: Fields<'a>,
    /// How the body is delimited.
    pub framing: BodyFraming,
    /// What becomes of the connection.
    pub connection: Connection,
    /// Whether the client waits before it sends the body.
    pub expect: Expect,
    /// The host that is asked: the target's, else that of the `Host` field (RFC 9112 §3.2.2,
    /// §3.3). Absent only in HTTP/1.0.
    pub host: Option<Authority<'a>>,
}

impl<'a> Head<'a> {
    /// Parses one complete head: what [`head_end`](super::framing::head_end) found, blank line
    /// included, empty lines before it not.
    ///
    /// `table` is storage; what it held before is forgotten.
    pub fn parse(head: &'a [u8], table: &'a mut FieldTable) -> Result<Self, Reject> {
        if head.len() > MAX_HEAD {
            return Err(super::framing::too_long(head));
        }
        let line = RequestLine::parse(head)?;
        let fields = table.parse(head, line.len)?;
        let RequestLine { method, target, version, len } = line;
        let line = &head[..len - 2];

        let framing = body_framing(&fields, version)?;
        let target = Target::parse(target, method)?;
        let host = host(&fields, &target, version)?;
        let connection = connection(&fields, version);
        let expect = expect(&fields, version)?;
        Ok(Self { line, method, target, version, fields, framing, connection, expect, host })
    }

    /// The value of the first field of that name, in any case of letters.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.field(name)
    }

    /// The value of the first field of a known name.
    pub fn known(&self, known: Known) -> Option<&'a [u8]> {
        self.fields.known(known)
    }
}

/// A request line: three words and two single spaces (RFC 9112 §3).
struct RequestLine<'a> {
    method: Method,
    target: &'a [u8],
    version: Version,
    /// Bytes of the line with its end.
    len: usize,
}

impl<'a> RequestLine<'a> {
    #[inline]
    fn parse(head: &'a [u8]) -> Result<Self, Reject> {
        // The word is judged only when the line is known to be well-formed: an HTTP/2 preface
        // is a 505, although its method is unknown too.
        let (method, method_len) =
            if head.starts_with(b"GET ") { (Some(Method::Get), 3) } else { method(head)? };
        let rest = &head[method_len + 1..];
        let target = &rest[..bytes::graphic_len(rest)];
        if target.len() > MAX_TARGET {
            return Err(Reject::with(414, "the target is too long"));
        }
        if target.is_empty() {
            return Err(Reject::bad("no target, or more than one space before it"));
        }
        let rest = &rest[target.len()..];
        let chunk = rest.first_chunk::<11>();
        // The common one is compared as two words that overlap.
        let is_usual = chunk.is_some_and(|chunk| {
            chunk.first_chunk() == Some(b" HTTP/1.") && chunk.last_chunk() == Some(b"TP/1.1\r\n")
        });
        let version = match chunk {
            _ if is_usual => Version::Http11,
            Some(b" HTTP/1.0\r\n") => Version::Http10,
            chunk => other_version(rest, chunk)?,
        };
        let method = method.ok_or(Reject::with(501, "the method is not known"))?;
        Ok(Self { method, target, version, len: method_len + 1 + target.len() + 11 })
    }
}

/// Parses a method up to the space behind it; `None` is a method that nobody here knows.
fn method(head: &[u8]) -> Result<(Option<Method>, usize), Reject> {
    let len = bytes::token_len(&head[..head.len().min(MAX_METHOD + 1)]);
    if len > MAX_METHOD {
        return Err(Reject::with(501, "the method is too long"));
    }
    if len == 0 || head.get(len) != Some(&b' ') {
        return Err(Reject::bad("a byte in the method that no method may have"));
    }
    Ok((str::from_utf8(&head[..len]).ok().and_then(Method::of), len))
}

/// Judges what stands behind the target if it is neither of the two usual versions.
///
/// A version is `HTTP/`, a digit, a dot, a digit (RFC 9112 §2.3). A later minor version is
/// taken as 1.1, another major version is a 505 (RFC 9110 §2.5, §15.6.6).
#[cold]
fn other_version(rest: &[u8], chunk: Option<&[u8; 11]>) -> Result<Version, Reject> {
    if let Some([b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', b'\n']) = chunk
        && major.is_ascii_digit()
        && minor.is_ascii_digit()
    {
        return match major {
            b'1' => Ok(Version::Http11),
            _ => Err(Reject::with(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")),
        };
    }
    Err(Reject::bad(match rest {
        [b'\r', b'\n', ..] => "no version in the request line",
        [b' ', ..] => "the version is malformed, or there are too many spaces",
        _ => "a byte in the target that no target may have",
    }))
}

/// Finds the host that the request is for, and checks `Host` even where it does not count.
///
/// HTTP/1.1 demands exactly one valid `Host` (RFC 9112 §3.2); an empty one is refused, for an
/// `http` target has a host (RFC 9110 §4.2.1; policy).
fn host<'a>(
    fields: &Fields<'a>,
    target: &Target<'a>,
    version: Version,
) -> Result<Option<Authority<'a>>, Reject> {
    let host = match fields.known(Known::Host) {
        Some(_) if fields.repeats(Known::Host) => return Err(Reject::bad("more than one Host")),
        Some(host) => Some(Authority::parse(host).map_err(|_| Reject::bad("Host is invalid"))?),
        None if version == Version::Http11 => return Err(Reject::bad("no Host")),
        None => None,
    };
    Ok(target.authority().or(host))
}

/// Reads the options of the `Connection` field (RFC 9112 §9.3).
#[inline]
pub(super) fn connection(fields: &Fields<'_>, version: Version) -> Connection {
    let (mut close, mut keep_alive, mut upgrade) = (false, false, false);
    for option in fields.values(Known::Connection).flat_map(bytes::list) {
        close |= option.eq_ignore_ascii_case(b"close");
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        upgrade |= option.eq_ignore_ascii_case(b"upgrade");
    }
    let newer = version == Version::Http11;
    Connection {
        keep_alive: !close && (newer || keep_alive),
        upgrade: upgrade && newer && fields.known(Known::Upgrade).is_some(),
    }
}

/// Reads the `Expect` field (RFC 9110 §10.1.1).
#[inline]
fn expect(fields: &Fields<'_>, version: Version) -> Result<Expect, Reject> {
    if fields.known(Known::Expect).is_none() {
        return Ok(Expect::None);
    }
    let mut members = fields.values(Known::Expect).flat_map(bytes::list);
    if !members.all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Reject::with(417, "only 100-continue can be expected"));
    }
    Ok(if version == Version::Http11 { Expect::Continue } else { Expect::None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str, check: impl FnOnce(Head<'_>)) {
        let mut table = FieldTable::new();
        check(Head::parse(head.as_bytes(), &mut table).unwrap_or_else(|e| panic!("{head}: {e}")));
    }

    #[test]
    fn methods_are_recognised_by_their_own_names() {
        for &method in Method::ALL {
            assert_eq!(Method::of(method.as_str()), Some(method));
        }
        assert_eq!(Method::of("get"), None);
    }

    #[test]
    fn the_connection_is_kept_as_the_version_and_the_options_say() {
        for (version, options, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: foo, CLOSE\r\n", false),
            ("1.1", "Connection: foo\r\nConnection: close\r\n", false),
            ("1.1", "Connection: keep-alive, close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{options}\r\n");
            parse(&head, |head| assert_eq!(head.connection.keep_alive, kept, "{options}"));
        }
    }

    #[test]
    fn an_upgrade_needs_both_fields_and_the_newer_version() {
        for (version, fields, upgrade) in [
            ("1.1", "Connection: Upgrade\r\nUpgrade: chat\r\n", true),
            ("1.1", "Upgrade: chat\r\n", false),
            ("1.1", "Connection: upgrade\r\n", false),
            ("1.0", "Connection: upgrade\r\nUpgrade: chat\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            parse(&head, |head| assert_eq!(head.connection.upgrade, upgrade, "{fields}"));
        }
    }

    #[test]
    fn the_host_of_the_target_counts_over_the_field() {
        parse("GET http://a:81/b?c HTTP/1.1\r\nHost: other\r\n\r\n", |head| {
            let host = head.host.unwrap();
            assert_eq!((host.host(), host.port()), ("a", Some(81)));
            assert_eq!(head.target.path().raw(), b"/b");
            assert_eq!(head.target.query(), Some(&b"c"[..]));
        });
        parse("GET / HTTP/1.0\r\n\r\n", |head| assert!(head.host.is_none()));
    }

    #[test]
    fn values_may_have_bytes_beyond_ascii() {
        parse("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\t.\r\n\r\n", |head| {
            assert_eq!(head.field("x"), Some("\u{e9}\t.".as_bytes()));
        });
    }
}
