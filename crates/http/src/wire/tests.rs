//! The required answers that concern parsing, row by row, and the same at every split.
//!
//! Here is how input is fed; the rows stand in `heads` and `bodies`, each test named for its row,
//! and the rows about ranges and conditions beside their modules. Whatever is asserted of an
//! input is asserted of it whole, byte by byte, and cut in two at every place.

use super::{
    Reject,
    chunked::{Decoder, Step},
    fields::FieldTable,
    framing::{HeadEnd, head_end},
    head::Head,
};

mod answers;
mod bodies;
mod heads;
mod multipart;
mod random;

/// What the parser makes of some input, comparable over splits: a description of the head, what
/// it lacks, or why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Head(String),
    Partial,
    Refused(Reject),
}

/// Feeds `input` as it would arrive if the connection delivered it up to each of `cuts`.
fn arrive(input: &[u8], cuts: impl IntoIterator<Item = usize>) -> Outcome {
    let mut from = 0;
    for cut in cuts.into_iter().chain([input.len()]) {
        match head_end(&input[..cut], from) {
            HeadEnd::Partial { scanned } => from = scanned,
            HeadEnd::Invalid(reject) => return Outcome::Refused(reject),
            HeadEnd::Complete { skip, len } => {
                let mut table = FieldTable::new();
                return match Head::parse(&input[skip..len], &mut table) {
                    Ok(head) => Outcome::Head(describe(&head, len)),
                    Err(reject) => Outcome::Refused(reject),
                };
            }
        }
    }
    Outcome::Partial
}

fn describe(head: &Head<'_>, len: usize) -> String {
    let fields: Vec<_> = head.fields.iter().collect();
    let Head { method, target, version, framing, connection, expect, host, .. } = head;
    let host = host.map(|host| host.as_str());
    format!(
        "{len} {method} {target:?} {version:?} {framing:?} {connection:?} {expect:?} {host:?} {fields:?}"
    )
}

/// The outcome for `input`, which is the same however it arrives.
fn outcome(input: &[u8]) -> Outcome {
    let whole = arrive(input, []);
    // Every place in what people write, some places in what only tests write.
    let step = input.len() / 512 + 1;
    for cut in (0..input.len()).step_by(step) {
        assert_eq!(arrive(input, [cut]), whole, "cut at {cut}");
    }
    assert_eq!(arrive(input, (0..input.len()).step_by(step)), whole, "in many parts");
    whole
}

/// The status that a head is refused with; 200 if it is not.
fn status(head: impl AsRef<[u8]>) -> u16 {
    match outcome(head.as_ref()) {
        Outcome::Refused(reject) => reject.status,
        Outcome::Head(_) => 200,
        Outcome::Partial => panic!("partial: {}", head.as_ref().escape_ascii()),
    }
}

/// The status for a POST with these field lines, given without their last line end.
fn with_fields(fields: impl AsRef<[u8]>) -> u16 {
    status([b"POST / HTTP/1.1\r\nHost: a\r\n", fields.as_ref(), b"\r\n\r\n"].concat())
}

/// The status for a request line, given without its end.
fn with_line(line: impl AsRef<[u8]>) -> u16 {
    status([line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat())
}

/// Asserts a status of each input.
fn all<T: AsRef<[u8]>>(expected: u16, status: fn(T) -> u16, inputs: impl IntoIterator<Item = T>) {
    for input in inputs {
        let shown = input.as_ref()[..input.as_ref().len().min(80)].escape_ascii().to_string();
        assert_eq!(status(input), expected, "{shown}");
    }
}

/// Parses a head that must pass, and asserts something of it.
fn passes(head: &str, check: impl FnOnce(Head<'_>)) {
    assert_eq!(status(head), 200);
    let mut table = FieldTable::new();
    check(Head::parse(head.as_bytes(), &mut table).unwrap());
}

/// What a chunked body comes to: its bytes, how much input it took, and its trailers; `None` if
/// it is cut short.
type Body = Result<Option<(Vec<u8>, usize, Vec<(String, Vec<u8>)>)>, Reject>;

/// Decodes `input` as it would arrive in parts that end at each of `cuts`.
fn decode(input: &[u8], cuts: impl IntoIterator<Item = usize>) -> Body {
    let mut decoder = Decoder::new();
    let mut body = Vec::new();
    let mut at = 0;
    for cut in cuts.into_iter().chain([input.len()]) {
        loop {
            match decoder.decode(&input[at..cut])? {
                Step::Data(range) => {
                    assert!(!range.is_empty());
                    body.extend_from_slice(&input[at..cut][range.clone()]);
                    at += range.end;
                }
                Step::Need => break,
                Step::Done(len) => {
                    let mut table = FieldTable::new();
                    let trailers = decoder.trailers(&mut table);
                    let own = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
                    let trailers = trailers.map_or(Vec::new(), |t| t.iter().map(own).collect());
                    return Ok(Some((body, at + len, trailers)));
                }
            }
        }
        at = cut;
    }
    Ok(None)
}

/// The decoded body, the same however it arrives.
fn body(input: impl AsRef<[u8]>) -> Body {
    let input = input.as_ref();
    let whole = decode(input, []);
    let step = input.len() / 512 + 1;
    for cut in (0..input.len()).step_by(step) {
        assert_eq!(decode(input, [cut]), whole, "cut at {cut}");
    }
    assert_eq!(decode(input, (0..input.len()).step_by(step)), whole, "in many parts");
    whole
}

/// The status that a chunked body is refused with; 200 if it is complete.
fn chunks(input: impl AsRef<[u8]>) -> u16 {
    match body(&input) {
        Err(reject) => reject.status,
        Ok(Some(_)) => 200,
        Ok(None) => panic!("incomplete: {}", input.as_ref().escape_ascii()),
    }
}
