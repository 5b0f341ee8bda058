//! Entity tags and conditional requests (RFC 9110 §8.8, §13).
//!
//! One function evaluates all preconditions, because only their order makes them correct; what
//! it answers includes whether a `Range` counts, which is the last of them.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    bytes,
    fields::Known,
    head::{Head, Method},
};

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> ETag<'a> {
    /// Parses exactly one tag: `"…"` or `W/"…"`.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        match Self::prefix(text)? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// The tag that `text` starts with, and what follows it.
    fn prefix(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) = inner.split_at(bytes::etag_len(inner));
        Some((Self { weak, opaque }, rest.strip_prefix(b"\"")?))
    }

    /// Whether two tags stand for the same bytes: neither is weak (RFC 9110 §8.8.3.2).
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether two tags stand for equivalent content (RFC 9110 §8.8.3.2).
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for ETag<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.weak { "W/" } else { "" };
        write!(out, "{weak}\"{}\"", String::from_utf8_lossy(self.opaque))
    }
}

/// What is known of the representation that a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// Whether there is a representation at all; `*` asks for that.
    pub exists: bool,
    /// Its entity tag.
    pub etag: Option<ETag<'a>>,
    /// When it was modified, in whole seconds since 1970.
    pub modified: Option<u64>,
}

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Do what the method says.
    Proceed {
        /// Whether the request's single `Range` field counts. If not, it is as if it were
        /// absent.
        range: bool,
    },
    /// Answer 304.
    NotModified,
    /// Answer 412 and change nothing.
    PreconditionFailed,
}

/// Evaluates the preconditions of a request in the order of RFC 9110 §13.2.2.
///
/// Call it only for a request that would succeed without them (§13.2.1). `now` is in seconds
/// since 1970. Dates that are malformed or stand twice are ignored (§13.1.3); a malformed list
/// of tags matches nothing.
pub fn evaluate<'h>(head: &Head<'h>, current: &Validators<'h>, now: u64) -> Outcome {
    let reads = matches!(head.method, Method::Get | Method::Head);

    if head.known(Known::IfMatch).is_some() {
        if !any_tag(head, Known::IfMatch, current, ETag::strong_eq) {
            return Outcome::PreconditionFailed;
        }
    } else if let (Some(since), Some(modified)) =
        (date(head, Known::IfUnmodifiedSince), current.modified)
        && modified > since
    {
        return Outcome::PreconditionFailed;
    }

    if head.known(Known::IfNoneMatch).is_some() {
        if any_tag(head, Known::IfNoneMatch, current, ETag::weak_eq) {
            return if reads { Outcome::NotModified } else { Outcome::PreconditionFailed };
        }
    } else if let (true, Some(since), Some(modified)) =
        (reads, date(head, Known::IfModifiedSince), current.modified)
        && modified <= since
    {
        return Outcome::NotModified;
    }

    let range = head.method == Method::Get
        && head.fields.single(Known::Range).is_some()
        && if_range(head, current, now);
    Outcome::Proceed { range }
}

/// Whether any tag of a list is the current one, or `*` finds that there is one.
fn any_tag<'h>(
    head: &Head<'h>,
    field: Known,
    current: &Validators<'h>,
    same: fn(&ETag<'h>, &ETag<'h>) -> bool,
) -> bool {
    if head.fields.single(field) == Some(b"*") {
        return current.exists;
    }
    let Some(current) = current.etag else { return false };
    head.fields.values(field).any(|list| list_has(list, |tag| same(tag, &current)))
}

/// Whether a well-formed list of tags has one that is wanted. Tags may contain commas.
fn list_has<'h>(mut list: &'h [u8], wanted: impl Fn(&ETag<'h>) -> bool) -> bool {
    let mut found = false;
    loop {
        while let [b',' | b' ' | b'\t', rest @ ..] = list {
            list = rest;
        }
        if list.is_empty() {
            return found;
        }
        let Some((tag, rest)) = ETag::prefix(list) else { return false };
        found |= wanted(&tag);
        list = bytes::trim(rest);
        if !(list.is_empty() || list.starts_with(b",")) {
            return false;
        }
    }
}

/// Whether `If-Range` is absent or holds: the same strong tag, or exactly the same date
/// (RFC 9110 §13.1.5). A date that is not older than now is no strong validator, as the
/// representation may change again within its second (§8.8.2.2).
fn if_range(head: &Head<'_>, current: &Validators<'_>, now: u64) -> bool {
    if head.known(Known::IfRange).is_none() {
        return true;
    }
    let Some(value) = head.fields.single(Known::IfRange) else { return false };
    if let Some(tag) = ETag::parse(value) {
        return current.etag.is_some_and(|current| tag.strong_eq(&current));
    }
    parse_date(value).is_some_and(|date| current.modified == Some(date) && date < now)
}

fn date(head: &Head<'_>, field: Known) -> Option<u64> {
    parse_date(head.fields.single(field)?)
}

/// Parses a date in any of the three formats of RFC 9110 §5.6.7, to seconds since 1970.
pub fn parse_date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::fields::FieldTable;

    /// 784111777.
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: u64 = 784_111_777;
    const GO: Outcome = Outcome::Proceed { range: false };
    const PART: Outcome = Outcome::Proceed { range: true };

    fn outcome_of(method: &str, fields: &str, current: &Validators<'_>, now: u64) -> Outcome {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut table = FieldTable::new();
        evaluate(&Head::parse(head.as_bytes(), &mut table).unwrap(), current, now)
    }

    /// The outcome with the tag `"a,b"` and the date.
    fn outcome(method: &str, fields: &str) -> Outcome {
        let etag = ETag::parse(b"\"a,b\"");
        let current = Validators { exists: true, etag, modified: Some(MODIFIED) };
        outcome_of(method, fields, &current, MODIFIED + 60)
    }

    #[test]
    fn tags_are_compared_strongly_or_weakly() {
        let [strong, weak, other] =
            [&b"\"1\""[..], b"W/\"1\"", b"\"2\""].map(|tag| ETag::parse(tag).unwrap());
        assert!(strong.strong_eq(&strong) && strong.weak_eq(&weak) && weak.weak_eq(&weak));
        assert!(!strong.strong_eq(&weak) && !weak.strong_eq(&weak) && !strong.weak_eq(&other));
        assert_eq!(weak.to_string(), "W/\"1\"");
        for bad in ["", "1", "\"1", "1\"", "w/\"1\"", "\"1\"x", "\"a b\"", "\"a\"b\"", "\"\u{7f}\""]
        {
            assert_eq!(ETag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        use Outcome::{NotModified, PreconditionFailed};
        for (method, fields, expected) in [
            ("GET", String::new(), GO),
            ("GET", "If-Match: *\r\n".into(), GO),
            ("PUT", "If-Match: \"x\", \"a,b\"\r\n".into(), GO),
            ("PUT", "If-Match: \"x\"\r\nIf-Match: \"a,b\"\r\n".into(), GO),
            ("PUT", "If-Match: \"x\"\r\n".into(), PreconditionFailed),
            ("PUT", "If-Match: W/\"a,b\"\r\n".into(), PreconditionFailed),
            ("PUT", "If-Match: \"a,b\" x\r\n".into(), PreconditionFailed),
            ("PUT", "If-Match:\r\n".into(), PreconditionFailed),
            // If-Match hides If-Unmodified-Since.
            ("PUT", format!("If-Match: *\r\nIf-Unmodified-Since: {EARLIER}\r\n"), GO),
            ("PUT", format!("If-Unmodified-Since: {EARLIER}\r\n"), PreconditionFailed),
            ("PUT", format!("If-Unmodified-Since: {DATE}\r\n"), GO),
            ("PUT", "If-Unmodified-Since: yesterday\r\n".into(), GO),
            ("GET", "If-None-Match: *\r\n".into(), NotModified),
            ("HEAD", "If-None-Match: W/\"a,b\"\r\n".into(), NotModified),
            ("PUT", "If-None-Match: *\r\n".into(), PreconditionFailed),
            ("GET", "If-None-Match: \"x\",,\"y\"\r\n".into(), GO),
            // If-None-Match hides If-Modified-Since.
            ("GET", format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}\r\n"), GO),
            ("GET", format!("If-Modified-Since: {DATE}\r\n"), NotModified),
            ("GET", format!("If-Modified-Since: {LATER}\r\n"), NotModified),
            ("GET", format!("If-Modified-Since: {EARLIER}\r\n"), GO),
            ("POST", format!("If-Modified-Since: {DATE}\r\n"), GO),
            ("GET", format!("If-Modified-Since: {DATE}\r\nIf-Modified-Since: {DATE}\r\n"), GO),
            // A failed If-Match comes before a matching If-None-Match.
            ("GET", "If-Match: \"x\"\r\nIf-None-Match: *\r\n".into(), PreconditionFailed),
            ("GET", "If-None-Match: *\r\nRange: bytes=0-1\r\n".into(), NotModified),
        ] {
            assert_eq!(outcome(method, &fields), expected, "{method} {fields}");
        }
    }

    #[test]
    fn nothing_matches_what_does_not_exist() {
        let none = Validators::default();
        assert_eq!(outcome_of("PUT", "If-Match: *\r\n", &none, 0), Outcome::PreconditionFailed);
        assert_eq!(outcome_of("PUT", "If-None-Match: *\r\n", &none, 0), GO);
        let fields = format!("If-Modified-Since: {DATE}\r\nIf-Unmodified-Since: {EARLIER}\r\n");
        assert_eq!(outcome_of("GET", &fields, &none, 0), GO);
    }

    #[test]
    fn a_range_counts_only_with_get_and_an_if_range_that_holds() {
        for (method, fields, expected) in [
            ("GET", String::new(), PART),
            ("HEAD", String::new(), GO),
            ("POST", String::new(), GO),
            ("GET", "Range: bytes=2-3\r\n".into(), GO),
            ("GET", "If-Range: \"a,b\"\r\n".into(), PART),
            ("GET", "If-Range: W/\"a,b\"\r\n".into(), GO),
            ("GET", "If-Range: \"x\"\r\n".into(), GO),
            ("GET", format!("If-Range: {DATE}\r\n"), PART),
            ("GET", format!("If-Range: {LATER}\r\n"), GO),
            ("GET", format!("If-Range: {DATE}\r\nIf-Range: {DATE}\r\n"), GO),
        ] {
            let fields = format!("Range: bytes=0-1\r\n{fields}");
            assert_eq!(outcome(method, &fields), expected, "{method} {fields}");
        }
        assert_eq!(outcome("GET", "If-Range: \"a,b\"\r\n"), GO, "If-Range without Range");
        // Modified within this second, it may be modified again.
        let current = Validators { exists: true, etag: None, modified: Some(MODIFIED) };
        let fields = format!("Range: bytes=0-1\r\nIf-Range: {DATE}\r\n");
        assert_eq!(outcome_of("GET", &fields, &current, MODIFIED), GO);
    }

    #[test]
    fn dates_are_read_in_three_formats() {
        for date in [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_date(date.as_bytes()), Some(MODIFIED), "{date}");
        }
    }

    proptest! {
        #[test]
        fn no_date_panics(text in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT|\\PC*") {
            parse_date(text.as_bytes());
        }
    }
}
