//! Lines that are objects of JSON (RFC 8259).

use std::time::Duration;

use memchr::memmem;

use super::Outcome;
use crate::wire::bytes::{HEX, quotable_len};
use crate::wire::fields::Known;
use crate::wire::head::Head;
use crate::wire::reply::write_number;

/// Appends what is known of a request, behind time and client.
pub(super) fn begin(out: &mut Vec<u8>, head: Option<&Head<'_>>) {
    let Some(head) = head else { return };
    // `HTTP/1.1`, which ends each request line that was taken.
    let version = &head.line[head.line.len().saturating_sub(3)..];
    for (name, value) in [
        ("method", Some(head.method.as_str().as_bytes())),
        ("target", Some(head.target.raw_bytes())),
        ("version", Some(version)),
        ("host", head.host.as_ref().map(|host| host.host().as_bytes())),
        ("referer", head.known(Known::Referer)),
        ("agent", head.known(Known::UserAgent)),
    ] {
        if let Some(value) = value {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            escape(out, value);
            out.push(b'"');
        }
    }
}

/// Method and target in what [`begin`] has appended, as they stand there; nothing if there is no
/// request.
pub(super) fn asked(begun: &[u8]) -> Vec<u8> {
    // A quote in a value has a backslash before it.
    let value = |from: &[u8], to: &[u8]| {
        let from = memmem::find(begun, from)? + from.len();
        Some(&begun[from..from + memmem::find(&begun[from..], to)?])
    };
    let method = value(b"\"method\":\"", b"\",");
    let target = value(b"\"target\":\"", b"\",\"version\":");
    method.zip(target).map(|(method, target)| [method, target].join(&b' ')).unwrap_or_default()
}

/// Appends what came of it.
pub(super) fn end(out: &mut Vec<u8>, outcome: Outcome, duration: Duration, user: Option<&str>) {
    if let Some(user) = user {
        out.extend_from_slice(b",\"user\":\"");
        escape(out, user.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b",\"status\":");
    write_number(out, u64::from(outcome.status));
    out.extend_from_slice(b",\"bytes\":");
    write_number(out, outcome.bytes);
    out.extend_from_slice(b",\"duration_us\":");
    write_number(out, duration.as_micros() as u64);
    out.extend_from_slice(b",\"completed\":");
    out.extend_from_slice(if outcome.whole { b"true}\n" } else { b"false}\n" });
}

/// Appends a peer's bytes as characters of a string: U+0000 to U+00FF.
fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = quotable_len(text);
        out.extend_from_slice(&text[..plain]);
        let Some(&byte) = text.get(plain) else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                let digit = |n: u8| HEX[usize::from(n)].to_ascii_lowercase();
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
        text = &text[plain + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_given_stands_in_the_line() {
        let now = std::time::Instant::now();
        let outcome = Outcome { status: 401, bytes: 7, whole: true, now };
        let mut out = Vec::new();
        end(&mut out, outcome, Duration::from_micros(5), Some("a\"\u{e9}"));
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.starts_with(",\"user\":\"a\\\"\\u00c3\\u00a9\",\"status\":401,"), "{text}");
    }
}
