//! Heads of answers: what is refused, how bodies end, and the same at every split.

use proptest::prelude::*;

use crate::wire::MAX_HEAD;
use crate::wire::answer::{AnswerFraming, AnswerHead, head_end};
use crate::wire::fields::FieldTable;
use crate::wire::framing::HeadEnd;
use crate::wire::head::Method;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Partial,
    Refused(&'static str),
    Head { status: u16, framing: AnswerFraming, keep_alive: bool, rest: String },
}

fn arrive(input: &[u8], method: Method, cuts: impl IntoIterator<Item = usize>) -> Outcome {
    let mut from = 0;
    for cut in cuts.into_iter().chain([input.len()]) {
        match head_end(&input[..cut], from) {
            HeadEnd::Partial { scanned } => from = scanned,
            HeadEnd::Invalid(reject) => {
                assert_eq!(reject.status, 502);
                return Outcome::Refused(reject.reason);
            }
            HeadEnd::Complete { skip, len } => {
                assert_eq!(skip, 0, "nothing stands before an answer");
                return match AnswerHead::parse(&input[..len], &mut FieldTable::new(), method) {
                    Ok(AnswerHead { status, reason, version, fields, framing, keep_alive }) => {
                        let fields: Vec<_> = fields.iter().collect();
                        let rest = format!("{} {version:?} {fields:?}", reason.escape_ascii());
                        Outcome::Head { status, framing, keep_alive, rest }
                    }
                    Err(reject) => {
                        assert_eq!(reject.status, 502);
                        Outcome::Refused(reject.reason)
                    }
                };
            }
        }
    }
    Outcome::Partial
}

/// The outcome for `input`, which is the same however it arrives.
fn outcome(input: &[u8], method: Method) -> Outcome {
    let whole = arrive(input, method, []);
    let step = input.len() / 512 + 1;
    for cut in (0..input.len()).step_by(step) {
        assert_eq!(arrive(input, method, [cut]), whole, "cut at {cut}");
    }
    assert_eq!(arrive(input, method, (0..input.len()).step_by(step)), whole, "in many parts");
    whole
}

fn framing(head: &str, method: Method) -> AnswerFraming {
    match outcome(format!("{head}\r\n\r\n").as_bytes(), method) {
        Outcome::Head { framing, .. } => framing,
        other => panic!("{head}: {other:?}"),
    }
}

#[test]
fn a_body_ends_as_status_and_fields_say() {
    use AnswerFraming::{Chunked, Length, None, UntilClose};
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", Chunked),
        ("HTTP/1.1 200 OK", UntilClose),
        ("HTTP/1.0 200 OK", UntilClose),
        ("HTTP/1.1 200", UntilClose),
        ("HTTP/1.1 200 ", UntilClose),
        ("HTTP/1.1 204 No Content", None),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", None),
        ("HTTP/1.1 100 Continue", None),
    ] {
        assert_eq!(framing(head, Method::Get), expected, "{head}");
    }
    for head in
        ["HTTP/1.1 200 OK\r\nContent-Length: 5", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"]
    {
        assert_eq!(framing(head, Method::Head), None, "{head}");
    }
}

#[test]
fn whatever_is_ambiguous_is_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5",
        "HTTP/1.1 200 OK\r\nContent-Length: +5",
        "HTTP/1.1 200 OK\r\nContent-Length:",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999",
        "HTTP/1.1 304 OK\r\nContent-Length: x",
        "HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 100 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nA: b\r\n c",
        "HTTP/1.1 200 OK\r\n A: b",
        "HTTP/1.1 200 OK\r\nA : b",
        "HTTP/1.1 200 OK\r\nA: b\0",
        "HTTP/1.1 200 OK\r\nA: b\rc",
        "HTTP/1.1 200 OK\nA: b",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.11 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.x 200 OK",
        "http/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "ICY 200 OK",
        "<html>",
    ] {
        let got = outcome(format!("{head}\r\n\r\n").as_bytes(), Method::Get);
        assert!(matches!(got, Outcome::Refused(_)), "{head:?}: {got:?}");
    }
}

#[test]
fn what_cannot_become_an_answer_is_refused_at_its_first_byte() {
    assert!(matches!(arrive(b"\n", Method::Get, []), Outcome::Refused(_)));
    assert!(matches!(arrive(b"HTTP/2", Method::Get, []), Outcome::Refused(_)));
    assert_eq!(arrive(b"HTTP/1.", Method::Get, []), Outcome::Partial);
}

#[test]
fn a_head_over_the_limit_is_refused() {
    for (over, refused) in [(0, false), (1, true)] {
        let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        head.resize(MAX_HEAD - 4 + over, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(matches!(outcome(&head, Method::Get), Outcome::Refused(_)), refused);
    }
}

#[test]
fn the_connection_is_kept_as_version_and_options_say() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close", false),
        ("HTTP/1.1 200 OK", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive", false),
    ] {
        let got = outcome(format!("{head}\r\n\r\n").as_bytes(), Method::Get);
        assert!(matches!(got, Outcome::Head { keep_alive, .. } if keep_alive == kept), "{head}");
    }
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => "HTTP/1\\.[019] [1-6][0-9]{2}( [ -~]{0,10})?",
        1 => "\\PC{0,20}",
    ];
    let field = prop_oneof![
        4 => "[a-zA-Z-]{1,20}: {0,2}[ -~\t]{0,60}".prop_map(String::into_bytes),
        4 => "(Connection|Content-Length|Transfer-Encoding): ?(chunked|close|[0-9]{0,3})"
            .prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ];
    let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    (line, proptest::collection::vec((field, end), 0..6)).prop_map(|(line, fields)| {
        let mut head = format!("{line}\r\n").into_bytes();
        for (field, end) in fields {
            head.extend_from_slice(&field);
            head.extend_from_slice(end.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    })
}

proptest! {
    #[test]
    fn a_head_means_the_same_however_it_arrives(head in heads()) {
        outcome(&head, Method::Get);
        outcome(&head, Method::Head);
    }

    #[test]
    fn garbage_means_the_same_however_it_arrives(bytes: Vec<u8>) {
        outcome(&bytes, Method::Get);
    }

    /// What we accept, another parser reads in the same way.
    #[test]
    fn no_answer_is_read_in_two_ways(head in heads()) {
        let HeadEnd::Complete { len, .. } = head_end(&head, 0) else { return Ok(()) };
        let mut table = FieldTable::new();
        let Ok(ours) = AnswerHead::parse(&head[..len], &mut table, Method::Get) else {
            return Ok(());
        };
        let mut slots = [httparse::EMPTY_HEADER; crate::wire::MAX_FIELDS];
        let mut theirs = httparse::Response::new(&mut slots);
        // It knows no other minor versions.
        let mut known = head[..len].to_vec();
        if known[7] != b'0' { known[7] = b'1'; }
        prop_assert_eq!(theirs.parse(&known), Ok(httparse::Status::Complete(len)));
        prop_assert_eq!(theirs.code, Some(ours.status));
        let theirs = theirs.headers.iter().map(|h| (h.name, h.value));
        prop_assert!(theirs.eq(ours.fields.iter()));
    }
}
