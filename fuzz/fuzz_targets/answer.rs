//! Heads of answers: the same however they arrive, and never read in two ways.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::{Choices, within};
use medusa_http::wire::answer::{AnswerHead, head_end};
use medusa_http::wire::fields::FieldTable;
use medusa_http::wire::framing::HeadEnd;
use medusa_http::wire::head::{Method, Version};
use medusa_http::wire::{MAX_FIELDS, Reject};

/// What becomes of some input.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Partial,
    Refused(Reject),
    /// A head of so many bytes, described.
    Head(usize, String),
}

/// Feeds `input` as if it arrived up to each of `cuts`.
fn arrive(input: &[u8], method: Method, cuts: &[usize]) -> Outcome {
    let mut from = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        match head_end(&input[..cut], from) {
            HeadEnd::Partial { scanned } => {
                assert!(scanned <= cut);
                from = scanned;
            }
            HeadEnd::Invalid(reject) => return Outcome::Refused(reject),
            HeadEnd::Complete { skip, len } => {
                assert_eq!(skip, 0);
                let mut table = FieldTable::new();
                return match AnswerHead::parse(&input[..len], &mut table, method) {
                    Ok(head) => Outcome::Head(len, describe(&head)),
                    Err(reject) => Outcome::Refused(reject),
                };
            }
        }
    }
    Outcome::Partial
}

/// Everything that a head says.
fn describe(head: &AnswerHead<'_>) -> String {
    let fields: Vec<_> = head.fields.iter().collect();
    let AnswerHead { status, reason, version, framing, keep_alive, .. } = head;
    format!("{status} {reason:?} {version:?} {framing:?} {keep_alive:?} {fields:?}")
}

/// Asserts that another parser reads the head as we do.
fn ask_another(ours: &AnswerHead<'_>, head: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut theirs = httparse::Response::new(&mut slots);
    // It knows no other minor versions.
    let mut known = head.to_vec();
    known[7] = if ours.version == Version::Http10 { b'0' } else { b'1' };
    assert_eq!(theirs.parse(&known), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(theirs.code, Some(ours.status));
    let theirs = theirs.headers.iter().map(|h| (h.name, h.value));
    assert!(theirs.eq(ours.fields.iter()), "the fields are read in two ways");
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let method = choices.one(&[Method::Get, Method::Head, Method::Post]);
    let cuts = choices.cuts();
    let input = choices.rest();
    let whole = arrive(input, method, &[]);
    assert_eq!(arrive(input, method, &within(cuts, input.len())), whole);

    let Outcome::Head(len, _) = whole else { return };
    let mut table = FieldTable::new();
    let head = AnswerHead::parse(&input[..len], &mut table, method).expect("it was accepted");
    ask_another(&head, &input[..len]);
});
