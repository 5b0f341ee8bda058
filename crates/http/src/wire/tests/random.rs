//! Random heads and bodies: never a panic, the same at every split, and never two meanings.

use proptest::prelude::*;

use super::{body, decode, outcome};
use crate::wire::{
    MAX_FIELDS,
    fields::FieldTable,
    framing::{HeadEnd, head_end},
    head::Head,
};

/// Heads from pieces that are mostly right, so that many of them pass.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => Just("GET / HTTP/1.1".to_owned()),
        2 => "(GET|POST|OPTIONS|CONNECT|X) (/|\\*|http://a/|a:1)[a-z%0-9?#]{0,9} HTTP/1.[0-9]",
        1 => "\\PC{0,20}",
    ];
    let field = prop_oneof![
        8 => "[a-zA-Z-]{1,20}: {0,2}[ -~\t]{0,60}".prop_map(String::into_bytes),
        2 => "(Host|Connection|Expect|Content-Length|Transfer-Encoding|TE): ?[a-z0-9, -]{0,12}"
            .prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ];
    let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    let fields = proptest::collection::vec((field, end), 0..6);
    (line, fields).prop_map(|(line, fields)| {
        let mut head = format!("{line}\r\nHost: a\r\n").into_bytes();
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
        outcome(&head);
    }

    #[test]
    fn garbage_means_the_same_however_it_arrives(bytes: Vec<u8>) {
        outcome(&bytes);
        let _ = body(&bytes);
    }

    /// What we accept, another parser reads in the same way.
    #[test]
    fn no_head_is_read_in_two_ways(head in heads()) {
        let HeadEnd::Complete { skip, len } = head_end(&head, 0) else { return Ok(()) };
        let head = &head[skip..len];
        let mut table = FieldTable::new();
        let Ok(ours) = Head::parse(head, &mut table) else { return Ok(()) };
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut theirs = httparse::Request::new(&mut slots);
        // It knows no other minor versions.
        let patched = String::from_utf8_lossy(head).contains("HTTP/1.0\r\n");
        let mut copy = head.to_vec();
        let line_end = copy.windows(2).position(|w| w == b"\r\n").unwrap();
        copy[line_end - 1] = if patched { b'0' } else { b'1' };
        prop_assert_eq!(theirs.parse(&copy), Ok(httparse::Status::Complete(head.len())));
        prop_assert_eq!(theirs.method, Some(ours.method.as_str()));
        prop_assert_eq!(theirs.path, Some(ours.target.raw()));
        let theirs: Vec<_> = theirs.headers.iter().map(|h| (h.name, h.value)).collect();
        let ours: Vec<_> = ours.fields.iter().collect();
        prop_assert_eq!(theirs, ours);
    }

    /// A body is what was put into its chunks, wherever the input is cut.
    #[test]
    fn chunks_decode_to_what_was_encoded(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        extension in "(;[a-z]{1,5}(=[a-z]{1,3})?)?",
        trailer in "([A-Za-z]{1,5}: [!-~]{1,9}\r\n){0,3}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut encoded = Vec::new();
        for part in &parts {
            encoded.extend_from_slice(format!("{:x}{extension}\r\n", part.len()).as_bytes());
            encoded.extend_from_slice(part);
            encoded.extend_from_slice(b"\r\n");
        }
        encoded.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
        let len = encoded.len();
        encoded.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(encoded.len())).collect();
        cuts.sort_unstable();
        let (decoded, took, trailers) = decode(&encoded, cuts).unwrap().unwrap();
        prop_assert_eq!(decoded, parts.concat());
        prop_assert_eq!(took, len);
        prop_assert_eq!(trailers.len(), trailer.matches('\n').count());
    }
}
