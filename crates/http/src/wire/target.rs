//! The request target in its four forms, the authority in it, and percent-encoding.
//!
//! A target is cut and checked once: a [`Path`] that exists is known to decode, an
//! [`Authority`] to be a host and a port. Dot segments are left alone here; they mean something
//! only to the file tree that the path is walked in.

use std::{borrow::Cow, net::Ipv6Addr};

use memchr::memchr;

use super::{Reject, bytes, head::Method};

/// Which of the four forms a target has (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// `/path?query`: the usual one.
    Origin,
    /// `scheme://authority/path?query`: to a proxy, and accepted everywhere.
    Absolute {
        /// The scheme, in the client's letters.
        scheme: &'a str,
        /// The host that is meant, whatever the `Host` field says.
        authority: Authority<'a>,
    },
    /// `host:port`: with CONNECT, and only there; the port is never 0.
    Authority(Authority<'a>),
    /// `*`: with OPTIONS, and only there.
    Asterisk,
}

/// A request target, cut into its parts.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    raw: &'a [u8],
    form: Form<'a>,
    path: Path<'a>,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Cuts and checks a target of bytes in 0x21..=0x7E.
    pub(super) fn parse(raw: &'a [u8], method: Method) -> Result<Self, Reject> {
        if method == Method::Connect {
            let authority = Authority::parse(raw)?;
            if authority.port.is_none_or(|port| port == 0) {
                return Err(Reject::bad("CONNECT needs a host and a port"));
            }
            let path = Path { raw: b"", escaped: false };
            return Ok(Self { raw, form: Form::Authority(authority), path, query: None });
        }
        if raw.starts_with(b"/") {
            let (path, query) = path_and_query(raw)?;
            return Ok(Self { raw, form: Form::Origin, path, query });
        }
        if raw == b"*" {
            if method != Method::Options {
                return Err(Reject::bad("the target * is for OPTIONS"));
            }
            let path = Path { raw, escaped: false };
            return Ok(Self { raw, form: Form::Asterisk, path, query: None });
        }
        Self::absolute(raw)
    }

    /// RFC 9112 §3.2.2.
    fn absolute(raw: &'a [u8]) -> Result<Self, Reject> {
        let malformed = Reject::bad("the target is neither a path nor a URI");
        let colon = memchr(b':', raw).ok_or(malformed)?;
        let (scheme, rest) = raw.split_at(colon);
        let after = rest.strip_prefix(b"://").ok_or(malformed)?;
        let named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(named) {
            return Err(malformed);
        }
        let end = bytes::find_any(after, [b'/', b'?', b'#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let form =
            Form::Absolute { scheme: ascii(scheme), authority: Authority::parse(authority)? };
        let (mut path, query) = path_and_query(rest)?;
        if path.raw.is_empty() {
            // RFC 9110 §4.2.3: an empty path is the root.
            path.raw = b"/";
        }
        Ok(Self { raw, form, path, query })
    }

    /// The target as the client wrote it; for log lines.
    pub fn raw(&self) -> &'a str {
        ascii(self.raw)
    }

    /// The same as bytes.
    pub fn raw_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Which form it has.
    pub fn form(&self) -> Form<'a> {
        self.form
    }

    /// The host in the target itself, in absolute and authority form.
    pub fn authority(&self) -> Option<Authority<'a>> {
        match self.form {
            Form::Absolute { authority, .. } | Form::Authority(authority) => Some(authority),
            Form::Origin | Form::Asterisk => None,
        }
    }

    /// The path: starts with a slash, but for `*` itself and the empty path of CONNECT.
    pub fn path(&self) -> Path<'a> {
        self.path
    }

    /// What stands behind the first question mark, not decoded and not checked for escapes:
    /// browsers leave a bare `%` in it.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.query
    }
}

fn path_and_query(raw: &[u8]) -> Result<(Path<'_>, Option<&[u8]>), Reject> {
    let fragment = Reject::bad("a fragment in the target");
    let mut escaped = false;
    let mut at = 0;
    while let Some(found) = bytes::find_any(&raw[at..], [b'?', b'%', b'#']) {
        at += found;
        match raw[at] {
            b'%' => {
                escape(&raw[at..])?;
                escaped = true;
                at += 3;
            }
            b'#' => return Err(fragment),
            _ => {
                let query = &raw[at + 1..];
                if memchr(b'#', query).is_some() {
                    return Err(fragment);
                }
                return Ok((Path { raw: &raw[..at], escaped }, Some(query)));
            }
        }
    }
    Ok((Path { raw, escaped }, None))
}

/// Decodes the escape that `raw` starts with; never to NUL, which ends names below us.
fn escape(raw: &[u8]) -> Result<u8, Reject> {
    if let [b'%', high, low, ..] = raw
        && let (Some(high), Some(low)) = (bytes::hex(*high), bytes::hex(*low))
    {
        return match high << 4 | low {
            0 => Err(Reject::bad("%00 in the path")),
            byte => Ok(byte),
        };
    }
    Err(Reject::bad("bad percent-encoding"))
}

/// A path whose escapes are known to be sound.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Path<'a> {
    /// The path as it stands in the target.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The decoded path; borrowed if it has no escapes.
    ///
    /// It may have any byte but NUL, and dot segments (an encoded slash is a slash now).
    pub fn decoded(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        decode(self.raw, &mut out).expect("the escapes were checked when the target was cut");
        Cow::Owned(out)
    }
}

/// Appends `raw` with its escapes decoded; 400 for a bad escape or `%00`.
///
/// On error `out` keeps what came before the bad escape.
pub fn decode(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    let mut rest = raw;
    while let Some(at) = memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(escape(&rest[at..])?);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Encodes a path for `Location` and for links.
///
/// Slashes stay; everything that could mean more than itself in a reference is escaped, the
/// colon too, so that a relative name like `a:b` is no scheme. A path that starts with two
/// slashes gets `/.` in front (RFC 3986 §4.2): it must not name another host.
pub fn escape_path(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    if path.starts_with(b"//") {
        out.push_str("/.");
    }
    for &byte in path {
        if bytes::is_plain_in_path(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(bytes::HEX[usize::from(byte >> 4)]));
            out.push(char::from(bytes::HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// A host and perhaps a port: a `Host` field, or the authority of a target without user info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    raw: &'a [u8],
    host_len: u16,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Checks a host (a name, an IPv4 address, an IPv6 address in brackets) and its port.
    ///
    /// RFC 3986 §3.2. The port may be empty, which counts as absent; it fits in 16 bits. Host
    /// names are not looked at more closely than the grammar does.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Reject> {
        let host_len = if raw.starts_with(b"[") { ipv6_len(raw)? } else { name_len(raw)? };
        let port = match &raw[host_len..] {
            [] | [b':'] => None,
            [b':', digits @ ..] => {
                let port = bytes::decimal(digits).ok().and_then(|port| u16::try_from(port).ok());
                Some(port.ok_or(Reject::bad("the port is not a number up to 65535"))?)
            }
            _ if memchr(b'@', raw).is_some() => {
                return Err(Reject::bad("user info in the target"));
            }
            _ => return Err(Reject::bad("the host is invalid")),
        };
        let host_len = u16::try_from(host_len).map_err(|_| Reject::bad("the host is too long"))?;
        Ok(Self { raw, host_len, port })
    }

    /// The host without the port; an IPv6 address with its brackets.
    pub fn host(&self) -> &'a str {
        ascii(&self.raw[..usize::from(self.host_len)])
    }

    /// The port, if there is one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as the client wrote them.
    pub fn as_str(&self) -> &'a str {
        ascii(self.raw)
    }
}

#[inline]
fn name_len(raw: &[u8]) -> Result<usize, Reject> {
    let mut len = bytes::reg_name_len(raw);
    while raw.get(len) == Some(&b'%') {
        escape(&raw[len..])?;
        len += 3;
        len += bytes::reg_name_len(&raw[len..]);
    }
    if len == 0 {
        return Err(Reject::bad("the host is empty or invalid"));
    }
    Ok(len)
}

fn ipv6_len(raw: &[u8]) -> Result<usize, Reject> {
    let invalid = Reject::bad("the IPv6 address is invalid");
    let end = memchr(b']', raw).ok_or(invalid)?;
    let address = str::from_utf8(&raw[1..end]).map_err(|_| invalid)?;
    address.parse::<Ipv6Addr>().map_err(|_| invalid)?;
    Ok(end + 1)
}

fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("only ASCII passes the checks of targets and hosts")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_split_from_queries_and_decoded() {
        for (raw, path, query) in [
            ("/", "/", None),
            ("/a%20b", "/a b", None),
            ("/a?b=100%", "/a", Some("b=100%")),
            ("/%2e%2E/%2f?", "/..//", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
        ] {
            let target = Target::parse(raw.as_bytes(), Method::Get).unwrap();
            assert_eq!(target.path().decoded(), path.as_bytes());
            assert_eq!(target.query(), query.map(str::as_bytes));
            assert_eq!(target.form(), Form::Origin);
        }
        let whole = Target::parse(b"http://a?b", Method::Get).unwrap();
        assert_eq!((whole.path().raw(), whole.query()), (&b"/"[..], Some(&b"b"[..])));
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for (raw, host, port) in [
            ("a", "a", None),
            ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
            ("[::1]:80", "[::1]", Some(80)),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
            ("a:", "a", None),
            ("a%20b", "a%20b", None),
        ] {
            let authority = Authority::parse(raw.as_bytes()).unwrap();
            assert_eq!((authority.host(), authority.port()), (host, port), "{raw}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "[]",
            "[",
            "[::1",
            "[::1]x",
            "[::1]]",
            "[::1%25eth0]",
            "[v1.a]",
            "a b",
            "a/b",
            "a:65536",
            "a:+1",
            "a:b",
            "a:80:80",
            "a%",
            "a%00",
            "u@a",
            "a\\b",
            "a\"b",
            "\u{e9}",
            "a\tb",
        ] {
            assert!(Authority::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_written_path_names_nothing_but_a_path() {
        assert_eq!(escape_path(b"/a b/c"), "/a%20b/c");
        assert_eq!(escape_path(b"//evil/"), "/.//evil/");
        assert_eq!(escape_path(b"/\\evil"), "/%5Cevil");
        assert_eq!(escape_path(b"a:b?c#d%\r\n\""), "a%3Ab%3Fc%23d%25%0D%0A%22");
    }

    proptest! {
        #[test]
        fn what_is_escaped_decodes_to_itself(tail in proptest::collection::vec(1_u8..=255, 0..40)) {
            let path = [b"/a", tail.as_slice()].concat();
            let written = escape_path(&path);
            let target = Target::parse(written.as_bytes(), Method::Get).unwrap();
            let decoded = target.path().decoded();
            prop_assert_eq!(decoded.as_ref(), path.as_slice());
            prop_assert_eq!(target.query(), None);
        }
    }
}
