//! Forms: the same parts however they arrive, and what is taken apart can be put together again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::{Choices, within};
use medusa_http::wire::multipart::{Decoder, PartHead, Step};
use medusa_http::wire::{MAX_PART_HEAD, Reject};

/// A part: its head, its content, and whether its end has come.
type Part = (PartHead, Vec<u8>, bool);

/// Takes `input` apart as if it arrived up to each of `cuts`; says whether it is complete.
fn decode(mut decoder: Decoder, input: &[u8], cuts: &[usize]) -> Result<(Vec<Part>, bool), Reject> {
    let (mut parts, mut at) = (Vec::<Part>::new(), 0);
    for &cut in cuts.iter().chain([&input.len()]) {
        loop {
            let shown = &input[at..cut];
            let (taken, step) = decoder.decode(shown)?;
            at += taken;
            match step {
                Step::Need => {
                    assert!(cut - at < MAX_PART_HEAD, "more is held back than may be");
                    break;
                }
                Step::Part(head) => parts.push((head, Vec::new(), false)),
                Step::Data { len, last } => {
                    assert!(len > 0 || last, "a step does something");
                    let part = parts.last_mut().expect("content belongs to a part");
                    assert!(!part.2, "a part ends once");
                    part.1.extend_from_slice(&shown[..len]);
                    part.2 = last;
                }
                Step::Done => assert!(decoder.is_complete()),
            }
        }
    }
    Ok((parts, decoder.is_complete()))
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let boundary = choices.one(&[&b"b"[..], b"--", b"----WebKitFormBoundaryAaB03x", b"a b"]);
    let cuts = choices.cuts();
    let input = choices.rest();
    let decoder = Decoder::new(boundary).expect("it is a boundary");
    let whole = decode(decoder.clone(), input, &[]);
    assert_eq!(decode(decoder.clone(), input, &within(cuts, input.len())), whole);

    let Ok((parts, true)) = whole else { return };
    let mut encoded = Vec::new();
    for (_, content, ended) in &parts {
        assert!(ended, "a complete form has no part that is not");
        encoded.extend_from_slice(&[b"--", boundary, b"\r\n"].concat());
        encoded.extend_from_slice(b"Content-Disposition: form-data; name=\"f\"\r\n\r\n");
        encoded.extend_from_slice(content);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(&[b"--", boundary, b"--"].concat());
    let (again, complete) = decode(decoder, &encoded, &[]).expect("it is well-formed");
    assert!(complete && again.len() == parts.len());
    assert!(again.iter().zip(&parts).all(|(one, other)| one.1 == other.1));
});
