//! `Range: bytes=…` against the length of what is asked for (RFC 9110 §14.2).
//!
//! Ranges that touch or overlap are joined, so that no byte is sent twice however often it is
//! asked for; what is left stands in the order in which it was asked for (RFC 9110 §15.3.7.2).

use super::{MAX_RANGES, bytes};

/// Some bytes of a representation: `start..end`, never empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset behind the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes it covers.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// The ranges to send: at least one, at most [`MAX_RANGES`], none touching another.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    list: [ByteRange; MAX_RANGES],
    len: usize,
}

impl Ranges {
    /// The ranges in the order in which they are to be sent.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.list[..self.len]
    }

    /// Adds a range, which swallows those that it touches.
    fn add(&mut self, mut range: ByteRange) {
        let mut place = self.len;
        let mut at = 0;
        while at < self.len {
            let other = self.list[at];
            if range.start <= other.end && other.start <= range.end {
                range.start = range.start.min(other.start);
                range.end = range.end.max(other.end);
                self.list[at..self.len].rotate_left(1);
                self.len -= 1;
                place = place.min(at);
            } else {
                at += 1;
            }
        }
        let place = place.min(self.len);
        self.list[self.len] = range;
        self.len += 1;
        self.list[place..self.len].rotate_right(1);
    }
}

/// What a `Range` field comes to.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for a moment")]
pub enum Resolved {
    /// Send these: 206.
    Satisfiable(Ranges),
    /// It selects no byte: 416 with `Content-Range: bytes */length`.
    Unsatisfiable,
    /// It is malformed, of another unit, or asks for too many: send everything.
    Ignored,
}

/// Resolves the value of a `Range` field against a length in bytes.
///
/// A range that selects nothing (an empty list, last before first, `-0`, a start behind the
/// end) is left out; if nothing is left, that is [`Resolved::Unsatisfiable`].
pub fn resolve(value: &[u8], length: u64) -> Resolved {
    let Some((unit, set)) = value.split_at_checked(6) else { return Resolved::Ignored };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Resolved::Ignored;
    }
    let mut ranges = Ranges { list: [ByteRange::default(); MAX_RANGES], len: 0 };
    let members = bytes::list(set).filter(|member| !member.is_empty());
    for (count, member) in members.enumerate() {
        if count == MAX_RANGES {
            return Resolved::Ignored;
        }
        let Some(range) = one(member, length) else { return Resolved::Ignored };
        if range.start < range.end {
            ranges.add(range);
        }
    }
    if ranges.len == 0 { Resolved::Unsatisfiable } else { Resolved::Satisfiable(ranges) }
}

/// One range, cut to the length and perhaps empty; `None` is malformed (RFC 9110 §14.1.1).
fn one(member: &[u8], length: u64) -> Option<ByteRange> {
    let dash = member.iter().position(|&b| b == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(ByteRange { start: length.saturating_sub(suffix), end: length });
    }
    let start = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1).min(length) };
    Some(ByteRange { start, end })
}

/// A number; one over 64 bits is behind the end of everything all the same.
fn number(digits: &[u8]) -> Option<u64> {
    match bytes::decimal(digits) {
        Ok(number) => Some(number),
        Err(true) => Some(u64::MAX),
        Err(false) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(value: &str, length: u64) -> Option<Vec<(u64, u64)>> {
        match resolve(value.as_bytes(), length) {
            Resolved::Satisfiable(ranges) => {
                Some(ranges.as_slice().iter().map(|r| (r.start, r.end)).collect())
            }
            Resolved::Unsatisfiable => Some(Vec::new()),
            Resolved::Ignored => None,
        }
    }

    #[test]
    fn ranges_are_cut_to_the_length() {
        for (value, expected) in [
            ("bytes=0-0", (0, 1)),
            ("BYTES=0-", (0, 10)),
            ("bytes=3-5", (3, 6)),
            ("bytes=9-99", (9, 10)),
            ("bytes=-3", (7, 10)),
            ("bytes=-30", (0, 10)),
            ("bytes=5-99999999999999999999999", (5, 10)),
            ("bytes=, 1-2 ,", (1, 3)),
        ] {
            assert_eq!(resolved(value, 10), Some(vec![expected]), "{value}");
        }
    }

    #[test]
    fn an_empty_or_unsatisfiable_range_is_told_apart_from_a_malformed_one() {
        for value in [
            "bytes=",
            "bytes=,",
            "bytes=10-",
            "bytes=5-4",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(resolved(value, 10), Some(vec![]), "{value}");
        }
        assert_eq!(resolved("bytes=0-", 0), Some(vec![]));
        assert_eq!(resolved("bytes=-1", 0), Some(vec![]));
        for value in [
            "",
            "bytes",
            "bytes:0-1",
            "bytes =0-1",
            "lines=0-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=-",
            "bytes=1-2-3",
            "bytes=0 - 1",
            "bytes=+1-2",
            "bytes=0-1,x",
            "bytes=0-1;2-3",
        ] {
            assert_eq!(resolved(value, 10), None, "{value}");
        }
    }

    #[test]
    fn ranges_that_touch_are_joined_and_the_rest_keeps_its_order() {
        for (value, expected) in [
            ("bytes=5-6,0-1", vec![(5, 7), (0, 2)]),
            ("bytes=0-1,2-3", vec![(0, 4)]),
            ("bytes=0-1,4-5,1-4", vec![(0, 6)]),
            ("bytes=8-9,0-1,4-5,1-4", vec![(8, 10), (0, 6)]),
            ("bytes=5-6,0-1,7-7", vec![(5, 8), (0, 2)]),
            ("bytes=0-,0-,0-,0-", vec![(0, 10)]),
            ("bytes=0-0,-1", vec![(0, 1), (9, 10)]),
            ("bytes=20-,0-0", vec![(0, 1)]),
        ] {
            assert_eq!(resolved(value, 10), Some(expected), "{value}");
        }
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let list = |n| (0..n).map(|i| format!("{0}-{0}", 2 * i)).collect::<Vec<_>>().join(",");
        let full = resolved(&format!("bytes={}", list(MAX_RANGES)), 1000).unwrap();
        assert_eq!(full.len(), MAX_RANGES);
        assert_eq!(resolved(&format!("bytes={}", list(MAX_RANGES + 1)), 1000), None);
    }

    proptest! {
        /// Exactly the bytes that were asked for are sent, each of them once.
        #[test]
        fn every_byte_is_sent_once(
            asked in proptest::collection::vec((0_u64..40, 0_u64..12), 1..12),
            length in 1_u64..40,
        ) {
            let spec: Vec<_> = asked.iter().map(|(at, n)| format!("{at}-{}", at + n)).collect();
            let sent = resolved(&format!("bytes={}", spec.join(",")), length).unwrap();
            for byte in 0..length {
                let wanted = asked.iter().any(|&(at, n)| (at..=at + n).contains(&byte));
                let times = sent.iter().filter(|&&(from, to)| (from..to).contains(&byte)).count();
                prop_assert_eq!(times, usize::from(wanted));
            }
            prop_assert!(sent.iter().all(|&(from, to)| from < to && to <= length));
        }
    }
}
