//! Request heads: the same however they arrive, and never read in two ways.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::{Choices, within};
use medusa_http::wire::fields::FieldTable;
use medusa_http::wire::framing::{HeadEnd, head_end};
use medusa_http::wire::head::{Head, Version};
use medusa_http::wire::{MAX_FIELDS, Reject};

/// What becomes of some input.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Partial,
    Refused(Reject),
    /// A head, described, from `skip` to `len`.
    Head {
        skip: usize,
        len: usize,
        description: String,
    },
}

/// Feeds `input` as if it arrived up to each of `cuts`.
fn arrive(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        match head_end(&input[..cut], from) {
            HeadEnd::Partial { scanned } => {
                assert!(scanned <= cut);
                from = scanned;
            }
            HeadEnd::Invalid(reject) => return Outcome::Refused(reject),
            HeadEnd::Complete { skip, len } => {
                let mut table = FieldTable::new();
                return match Head::parse(&input[skip..len], &mut table) {
                    Ok(head) => Outcome::Head { skip, len, description: describe(&head) },
                    Err(reject) => Outcome::Refused(reject),
                };
            }
        }
    }
    Outcome::Partial
}

/// Everything that a head says.
fn describe(head: &Head<'_>) -> String {
    let fields: Vec<_> = head.fields.iter().collect();
    let Head { method, target, version, framing, connection, expect, host, .. } = head;
    let (path, query) = (target.path().decoded(), target.query());
    let host = host.map(|host| (host.as_str(), host.host(), host.port()));
    format!(
        "{method} {} {:?} {path:?} {query:?} {version:?} {framing:?} {connection:?} {expect:?} \
         {host:?} {fields:?}",
        target.raw(),
        target.form(),
    )
}

/// Writes a head out as plainly as can be.
fn write(head: &Head<'_>) -> Vec<u8> {
    let version = if head.version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut out = format!("{} {} {version}\r\n", head.method, head.target.raw()).into_bytes();
    for (name, value) in head.fields.iter() {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Asserts that another parser reads the head as we do.
fn ask_another(ours: &Head<'_>, written: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut theirs = httparse::Request::new(&mut slots);
    assert_eq!(theirs.parse(written), Ok(httparse::Status::Complete(written.len())));
    assert_eq!(theirs.method, Some(ours.method.as_str()));
    assert_eq!(theirs.path, Some(ours.target.raw()));
    let theirs = theirs.headers.iter().map(|h| (h.name, h.value));
    assert!(theirs.eq(ours.fields.iter()), "the fields are read in two ways");
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let cuts = choices.cuts();
    let input = choices.rest();
    let whole = arrive(input, &[]);
    assert_eq!(arrive(input, &within(cuts, input.len())), whole);

    let Outcome::Head { skip, len, description } = whole else { return };
    let mut table = FieldTable::new();
    let head = Head::parse(&input[skip..len], &mut table).expect("it was accepted before");
    let written = write(&head);
    ask_another(&head, &written);
    let mut table = FieldTable::new();
    let again = Head::parse(&written, &mut table).expect("what is accepted can be written out");
    assert_eq!(describe(&again), description);
});
