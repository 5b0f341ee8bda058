//! Writes the head of a reply into a buffer that the caller owns; allocates nothing itself.
//!
//! Values that scripts and upstreams had a hand in come through here, so a field that could
//! break out of its line is dropped and counted rather than cleaned: a head must not change its
//! meaning on the way.

use std::{
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use super::bytes;

/// The phrase for a status code of the registry, or an empty one (RFC 9110 §15).
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// The head of a reply on its way into a buffer.
#[derive(Debug)]
#[must_use = "a head needs its `end`"]
pub struct ReplyHead<'b> {
    out: &'b mut Vec<u8>,
    refused: usize,
}

impl<'b> ReplyHead<'b> {
    /// Appends the status line to `out`.
    ///
    /// The version is always ours, also to HTTP/1.0 clients (RFC 9110 §6.2). A status outside
    /// 100 to 999 cannot be written and becomes 500.
    pub fn new(out: &'b mut Vec<u8>, status: u16) -> Self {
        write_status_line(out, status);
        Self { out, refused: 0 }
    }

    /// Appends a field.
    ///
    /// Drops and counts it if the name is no token, or if the value has a control byte other
    /// than a tab: CR, LF and NUL among them (RFC 9110 §5.5).
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        if !bytes::is_token(name.as_bytes()) || !is_clean(value) {
            self.refused += 1;
            return self;
        }
        self.raw(name, value)
    }

    /// Appends a field with a decimal number.
    pub fn number(&mut self, name: &'static str, value: u64) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        write_number(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends a field that we wrote ourselves: no check, for the fields of every reply.
    pub fn fixed(&mut self, name: &'static str, value: &'static str) -> &mut Self {
        self.raw(name, value.as_bytes())
    }

    /// Appends a date from [`imf_date`] or a [`DateCache`].
    pub fn date(&mut self, name: &'static str, date: &[u8; DATE_LEN]) -> &mut Self {
        self.raw(name, date)
    }

    fn raw(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the head with its blank line; says how many fields were refused.
    pub fn end(self) -> usize {
        self.out.extend_from_slice(b"\r\n");
        self.refused
    }
}

/// Appends a status line; see [`ReplyHead::new`].
pub fn write_status_line(out: &mut Vec<u8>, status: u16) {
    match status {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        206 => out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n"),
        304 => out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n"),
        404 => out.extend_from_slice(b"HTTP/1.1 404 Not Found\r\n"),
        _ => {
            let status = if (100..1000).contains(&status) { status } else { 500 };
            out.extend_from_slice(b"HTTP/1.1 ");
            write_number(out, u64::from(status));
            out.push(b' ');
            out.extend_from_slice(reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a field line; says whether it could be: see [`ReplyHead::field`].
#[must_use]
pub fn write_field(out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) -> bool {
    let mut head = ReplyHead { out, refused: 0 };
    head.field(name, value);
    head.refused == 0
}

/// Whether a value may stand in a field line.
fn is_clean(value: &[u8]) -> bool {
    let mut rest = value;
    loop {
        match rest.get(bytes::text_len(rest)..) {
            Some([b'\t', after @ ..]) => rest = after,
            Some([_, ..]) => return false,
            _ => return true,
        }
    }
}

/// Appends a number in decimal.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    if number < 10_000 {
        // Statuses and most lengths.
        let [a, b] = PAIRS[(number / 100) as usize];
        let [c, d] = PAIRS[(number % 100) as usize];
        let zeros =
            usize::from(number < 1000) + usize::from(number < 100) + usize::from(number < 10);
        // All four are written and the rest cut off: a length that is fixed needs no call.
        let digits = u32::from_le_bytes([a, b, c, d]) >> (8 * zeros);
        out.extend_from_slice(&digits.to_le_bytes());
        return out.truncate(out.len() - zeros);
    }
    // As many digits as u64::MAX has.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else if rest > 0 {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The two digits of each number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Bytes of a date on the wire.
pub const DATE_LEN: usize = 29;

/// The last second that a date can write: four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Writes seconds since 1970 as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
///
/// Times behind the year 9999 are written as its end.
pub fn imf_date(second: u64) -> [u8; DATE_LEN] {
    let mut text = [0; DATE_LEN];
    let time = UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
    write!(&mut text[..], "{}", httpdate::HttpDate::from(time))
        .expect("a date of four-digit years has 29 bytes");
    text
}

/// The date of this second, formatted once.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    text: [u8; DATE_LEN],
}

impl DateCache {
    /// A cache that holds the date of `second`, in seconds since 1970.
    pub fn new(second: u64) -> Self {
        Self { second, text: imf_date(second) }
    }

    /// The date of `second`; formatted only if it is another one than last time.
    #[inline]
    pub fn at(&mut self, second: u64) -> &[u8; DATE_LEN] {
        if self.second != second {
            *self = Self::new(second);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::conditional::parse_date;

    #[test]
    fn a_head_is_written() {
        let mut out = b"before".to_vec();
        let mut head = ReplyHead::new(&mut out, 206);
        head.fixed("Server", "Medusa").number("Content-Length", 0).field("X", "a\tb\u{e9}");
        head.date("Date", &imf_date(784_111_777));
        assert_eq!(head.end(), 0);
        let expected = "beforeHTTP/1.1 206 Partial Content\r\nServer: Medusa\r\n\
            Content-Length: 0\r\nX: a\tb\u{e9}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_field_that_breaks_out_of_its_line_is_dropped() {
        let mut out = Vec::new();
        let mut head = ReplyHead::new(&mut out, 200);
        for value in [
            "a\r\nSet-Cookie: b",
            "\n",
            "a\rb",
            "a\0",
            "\t\u{7f}",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r",
        ] {
            head.field("X", value);
        }
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
            head.field(name, "v");
        }
        assert_eq!(head.end(), 11);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn every_status_line_is_well_formed() {
        for status in [0, 99, 100, 200, 206, 304, 404, 418, 599, 999, 1000, u16::MAX] {
            let mut out = Vec::new();
            ReplyHead::new(&mut out, status).end();
            let written = if (100..1000).contains(&status) { status } else { 500 };
            let expected = format!("HTTP/1.1 {written} {}\r\n\r\n", reason(written));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn dates_change_with_the_second() {
        let mut cache = DateCache::new(0);
        assert_eq!(cache.at(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(cache.at(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(cache.at(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_usual(number: u64) {
            let mut out = Vec::new();
            write_number(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }

        #[test]
        fn dates_are_read_back(second in 0..=LAST_SECOND) {
            prop_assert_eq!(parse_date(&imf_date(second)), Some(second));
        }

        /// Whatever the name and the value, at most one line is added.
        #[test]
        fn no_field_adds_two_lines(name in "\\PC{0,5}|[a-z\r\n:]{0,5}", value: Vec<u8>) {
            let mut out = Vec::new();
            let mut head = ReplyHead::new(&mut out, 200);
            head.field(&name, &value);
            head.end();
            prop_assert!(out.split(|&b| b == b'\n').count() <= 4);
            prop_assert!(!out.contains(&0));
        }
    }
}
