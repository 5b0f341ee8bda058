//! Chunked bodies: the same however they arrive, and what is decoded can be encoded again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::{Choices, within};
use medusa_http::wire::Reject;
use medusa_http::wire::chunked::{Decoder, Step};
use medusa_http::wire::fields::FieldTable;

/// A complete body: its bytes, the input that it took, its trailers.
type Body = (Vec<u8>, usize, Vec<(String, Vec<u8>)>);

/// Decodes `input` as if it arrived up to each of `cuts`; `None` is cut short.
fn decode(input: &[u8], cuts: &[usize]) -> Result<Option<Body>, Reject> {
    let mut decoder = Decoder::new();
    let (mut body, mut at) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&input.len()]) {
        loop {
            let arrived = &input[at..cut];
            match decoder.decode(arrived)? {
                Step::Data(range) => {
                    assert!(!range.is_empty(), "a part is never empty");
                    body.extend_from_slice(&arrived[range.clone()]);
                    at += range.end;
                }
                Step::Need => break,
                Step::Done(len) => {
                    assert!(len <= arrived.len());
                    let mut table = FieldTable::new();
                    let fields = decoder.trailers(&mut table);
                    let own = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
                    let trailers = fields.map_or(Vec::new(), |f| f.iter().map(own).collect());
                    return Ok(Some((body, at + len, trailers)));
                }
            }
        }
        at = cut;
    }
    Ok(None)
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let cuts = choices.cuts();
    let input = choices.rest();
    let whole = decode(input, &[]);
    assert_eq!(decode(input, &within(cuts, input.len())), whole);

    let Ok(Some((body, took, trailers))) = whole else { return };
    // Nothing behind the body is looked at.
    assert_eq!(decode(&input[..took], &[]), Ok(Some((body.clone(), took, trailers.clone()))));
    let mut encoded = Vec::new();
    for chunk in body.chunks(1000) {
        encoded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n");
    for (name, value) in &trailers {
        encoded.extend_from_slice(name.as_bytes());
        encoded.push(b':');
        encoded.extend_from_slice(value);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"\r\n");
    let len = encoded.len();
    assert_eq!(decode(&encoded, &[]), Ok(Some((body, len, trailers))));
});
