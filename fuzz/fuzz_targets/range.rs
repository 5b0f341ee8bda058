//! Range fields against a length: what is sent lies within it, and no byte is sent twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::Choices;
use medusa_http::wire::MAX_RANGES;
use medusa_http::wire::range::{Resolved, resolve};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    // Short lengths are where the edges are; the rest is for overflows.
    let length = match choices.byte() {
        255 => choices.long(),
        short => u64::from(short),
    };
    let value = choices.rest();
    let Resolved::Satisfiable(ranges) = resolve(value, length) else { return };
    let ranges = ranges.as_slice();
    assert!((1..=MAX_RANGES).contains(&ranges.len()));
    for (i, range) in ranges.iter().enumerate() {
        assert!(range.start < range.end && range.end <= length);
        assert_eq!(range.len(), range.end - range.start);
        for other in &ranges[..i] {
            assert!(range.end < other.start || other.end < range.start, "they touch");
        }
    }

    let plain: Vec<_> = ranges.iter().map(|r| format!("{}-{}", r.start, r.end - 1)).collect();
    let plain = format!("bytes={}", plain.join(","));
    let Resolved::Satisfiable(again) = resolve(plain.as_bytes(), length) else {
        panic!("what was resolved is not satisfiable: {plain}")
    };
    assert_eq!(again.as_slice(), ranges);
});
