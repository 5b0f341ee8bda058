//! Frames on the harness: limits, changes of terminator, and input split at every byte.

use proptest::prelude::*;

use super::{framed, frames_of, merge_parts};
use crate::limits::MAX_FRAME_BYTES;
use crate::protocol::{Close, Frame};
use crate::terminator::{Cut, Framer, Terminator};
use crate::testing::{Harness, Script};

/// The frames of `input` are the same however it is split; gives them.
fn every_split(make: fn() -> Terminator, input: &[u8]) -> Vec<String> {
    let whole = frames_of(make, |peer| peer.send(input));
    assert_eq!(frames_of(make, |peer| peer.send_bytewise(input)), whole, "byte by byte");
    for at in 1..input.len() {
        let split = frames_of(make, |peer| peer.send_split(input, &[at]));
        assert_eq!(split, whole, "split at {at}");
    }
    whole
}

#[test]
fn a_line_of_just_its_limit_is_whole() {
    let frames = every_split(|| Terminator::line(4), b"abcd\r\nab\r\n\r\n");
    assert_eq!(frames, ["end abcd", "end ab", "end "]);
}

#[test]
fn a_line_over_its_limit_is_told_once_and_thrown_away_to_its_end() {
    let frames = every_split(|| Terminator::line(4), b"abcde\r\nok\r\nabcdefghijk\r\nok\r\n");
    assert_eq!(frames, ["overlong abcd", "end ok", "overlong abcd", "end ok"]);
}

#[test]
fn a_lone_cr_or_lf_ends_no_line() {
    let frames = every_split(|| Terminator::line(20), b"a\rb\nc\r\r\nd\n\r\n");
    assert_eq!(frames, ["end a\\rb\\nc\\r", "end d\\n"]);
}

#[test]
fn a_delimiter_may_overlap_with_itself() {
    let make = || Terminator::Delimiter { delimiter: b"aab", limit: 10 };
    assert_eq!(every_split(make, b"aaabxaabaab"), ["end a", "end x", "end "]);
    let boundary = || Terminator::Boundary(b"aab"[..].into());
    assert_eq!(every_split(boundary, b"aaabxaabaabaa"), ["end a", "end x", "end "]);
    let double = || Terminator::Boundary(b"\r\n--\r\n--x"[..].into());
    assert_eq!(every_split(double, b"a\r\n--\r\n--\r\n--xb"), ["end a\\r\\n--", "part b"]);
}

#[test]
fn a_boundary_is_found_wherever_it_is_split() {
    let make = || Terminator::Boundary(b"\r\n--frontier"[..].into());
    let frames = every_split(make, b"one\r\n--front\r\n--frontiertwo\r\n--frontier--");
    assert_eq!(frames, ["end one\\r\\n--front", "end two", "part --"]);
}

#[test]
fn only_what_may_begin_the_boundary_is_held_back() {
    let (mut h, peer, log) = framed(|| Terminator::Boundary(b"\r\n--x"[..].into()));
    peer.send(b"abc\r\n-");
    h.run();
    assert_eq!(log.take(), ["part abc"]);
    peer.send(b"y");
    h.run();
    assert_eq!(log.take(), ["part \\r\\n-y"]);
}

#[test]
fn a_count_is_exact_and_what_follows_is_not_counted() {
    assert_eq!(every_split(|| Terminator::Exact(1), b"ab"), ["end a", "part b"]);
    assert_eq!(every_split(|| Terminator::Exact(4), b"abcd"), ["end abcd"]);
    assert_eq!(every_split(|| Terminator::Exact(5), b"abcd"), ["part abcd"]);
}

#[test]
fn a_count_of_nothing_ends_at_once() {
    let (mut h, _peer, log) = framed(|| Terminator::Exact(0));
    h.run();
    assert_eq!(log.take(), ["end "]);
}

#[test]
fn a_count_near_the_end_of_its_type_counts_down() {
    let mut terminator = Terminator::Exact(u64::MAX - 1);
    assert_eq!(terminator.cut(&[0; 1000], 0), Cut::Part { frame: 1000 });
    assert!(matches!(terminator, Terminator::Exact(left) if left == u64::MAX - 1001));
    let mut terminator = Terminator::Exact(3);
    assert_eq!(terminator.cut(b"ab", 0), Cut::Part { frame: 2 });
    assert_eq!(terminator.cut(b"", 0), Cut::Partial { scanned: 0 });
    assert_eq!(terminator.cut(b"cd", 0), Cut::End { frame: 1, consumed: 1 });
}

#[test]
fn no_terminator_hands_over_what_comes() {
    assert_eq!(every_split(|| Terminator::None, b"a\r\nb"), ["part a\\r\\nb"]);
}

#[test]
fn the_end_of_input_shows_the_unfinished_frame() {
    let frames = frames_of(
        || Terminator::line(20),
        |peer| {
            peer.send(b"one\r\ntw");
            peer.close_write();
        },
    );
    assert_eq!(frames, ["end one", "eof tw"]);
}

/// A protocol that reads a line with a number, then as many bytes, then a line again, all cut
/// from the same buffer.
fn counted() -> Script {
    let mut body = false;
    Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(10));
            Ok(())
        })
        .input(move |frame, cx| {
            let Frame::End(bytes) = frame else { return Ok(()) };
            body = !body;
            cx.set_terminator(if body {
                let text = std::str::from_utf8(bytes).map_err(|_| Close::Abort)?;
                Terminator::Exact(text.parse().map_err(|_| Close::Abort)?)
            } else {
                Terminator::line(10)
            });
            Ok(())
        })
}

#[test]
fn a_terminator_may_change_in_the_middle_of_a_buffer() {
    let input = b"3\r\na\r\n0\r\n12\r\n\r\n\r\n\r\n\r\n\r\n\r\n1\r\nz";
    let hold = |at: Option<usize>| {
        let script = counted();
        let log = script.log();
        let mut h = Harness::new();
        let peer = h.open(script.boxed());
        peer.send_split(input, &at.map_or(vec![], |at| vec![at]));
        h.run();
        merge_parts(log.take())
    };
    let whole = hold(None);
    let crlfs = "\\r\\n".repeat(6);
    assert_eq!(
        whole,
        [
            "end 3",
            "end a\\r\\n",
            "end 0",
            "end ",
            "end 12",
            &format!("end {crlfs}"),
            "end 1",
            "end z"
        ]
    );
    for at in 1..input.len() {
        assert_eq!(hold(Some(at)), whole, "split at {at}");
    }
}

/// A framer of blocks that begin with their length in one byte; 255 is forbidden, and so is more
/// than 100.
struct Block;

impl Framer for Block {
    fn cut(&mut self, buffer: &[u8], _: usize) -> Cut {
        match buffer.first() {
            None => Cut::Partial { scanned: 0 },
            Some(255) => Cut::Malformed,
            Some(n) if *n > 100 => Cut::Overlong { frame: buffer.len() },
            Some(&n) if buffer.len() > usize::from(n) => {
                let whole = usize::from(n) + 1;
                Cut::End { frame: whole, consumed: whole }
            }
            Some(_) => Cut::Partial { scanned: buffer.len() },
        }
    }
}

#[test]
fn a_framer_of_ones_own_cuts_by_its_rules() {
    let make = || Terminator::Custom(Box::new(Block));
    let frames = every_split(make, b"\x03abc\x00\x01z\x02y");
    assert_eq!(frames, ["end \\x03abc", "end \\x00", "end \\x01z"]);
}

#[test]
fn after_malformed_input_nothing_is_cut_until_a_terminator_is_set() {
    let (mut h, peer, log) = framed(|| Terminator::Custom(Box::new(Block)));
    peer.send(b"\x01a\xffjunk");
    h.run();
    assert_eq!(log.take(), ["end \\x01a", "malformed \\xffjunk"]);
    peer.send(b"\x01a");
    h.run();
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(peer.unread(), 2);
}

#[test]
fn a_terminator_set_for_an_overlong_frame_cuts_all_of_it() {
    let script = Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(3));
            Ok(())
        })
        .input(|frame, cx| {
            if let Frame::Overlong(_) = frame {
                cx.set_terminator(Terminator::line(100));
            }
            Ok(())
        });
    let log = script.log();
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    peer.send(b"abcdefgh\r\nx\r\n");
    h.run();
    assert_eq!(log.take(), ["overlong abc", "end abcdefgh", "end x"]);
}

#[test]
fn what_is_put_back_is_cut_again_by_the_new_terminator() {
    let mut first = true;
    let script = Script::new().input(move |frame, cx| {
        if let Frame::Part(bytes) = frame
            && std::mem::take(&mut first)
        {
            cx.set_terminator(Terminator::line(10));
            cx.put_back(bytes.len() - 1);
        }
        Ok(())
    });
    let log = script.log();
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    peer.send(b"!one\r\ntwo\r\n");
    h.run();
    assert_eq!(log.take(), ["part !one\\r\\ntwo\\r\\n", "end one", "end two"]);
}

#[test]
#[should_panic(expected = "MAX_FRAME_BYTES")]
fn a_limit_that_the_buffer_cannot_hold_is_a_mistake() {
    Terminator::line(MAX_FRAME_BYTES as u32).check();
}

/// Never finds anything.
struct Insatiable;

impl Framer for Insatiable {
    fn cut(&mut self, buffer: &[u8], _: usize) -> Cut {
        Cut::Partial { scanned: buffer.len() }
    }
}

#[test]
fn a_framer_without_a_limit_used_to_fill_the_buffer_until_reading_panicked() {
    let (mut h, peer, log) = framed(|| Terminator::Custom(Box::new(Insatiable)));
    for _ in 0..8 {
        peer.send(vec![b'x'; MAX_FRAME_BYTES / 2]);
        h.run();
    }
    let lines = log.take();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].len(), "overlong ".len() + MAX_FRAME_BYTES);
    assert_eq!(peer.unread(), 0);
}

/// The frames of `input` by a search that knows no splits.
fn naive(delimiter: &[u8], limit: usize, input: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    let mut rest = input;
    loop {
        let found = rest.windows(delimiter.len()).position(|w| w == delimiter);
        let length = found.unwrap_or(rest.len());
        if length > limit && (found.is_some() || rest.len() >= limit + delimiter.len()) {
            frames.push(format!("overlong {}", rest[..limit].escape_ascii()));
        } else if found.is_some() {
            frames.push(format!("end {}", rest[..length].escape_ascii()));
        }
        match found {
            Some(at) => rest = &rest[at + delimiter.len()..],
            None => return frames,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn lines_are_those_of_a_naive_search(
        input in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
        cuts in prop::collection::vec(0usize..60, 0..5),
        limit in 0u32..8,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c < input.len()).collect();
        cuts.sort_unstable();
        let frames = frames_of(move || Terminator::line(limit), |p| p.send_split(&input, &cuts));
        prop_assert_eq!(frames, naive(b"\r\n", limit as usize, &input));
    }

    #[test]
    fn boundaries_are_those_of_a_naive_search(
        input in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..60),
        boundary in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 1..6),
        cuts in prop::collection::vec(0usize..60, 0..5),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c < input.len()).collect();
        cuts.sort_unstable();
        let make = { let boundary = boundary.clone(); move || Terminator::Boundary(boundary.clone().into()) };
        let mut frames = frames_of(make, |p| { p.send_split(&input, &cuts); p.close_write(); });
        // What was held back at the end belongs to the last part.
        let held = frames.pop().and_then(|f| f.strip_prefix("eof ").map(str::to_owned));
        let tail = frames.pop_if(|f| f.starts_with("part ")).map_or(String::new(), |f| f["part ".len()..].to_owned());
        let mut expected = naive(&boundary, usize::MAX - 10, &input);
        let consumed: usize = expected.iter().map(|f| f.len() - "end ".len() + boundary.len()).sum();
        let rest = String::from_utf8(input[consumed..].to_vec()).expect("ab");
        prop_assert_eq!(tail + &held.expect("eof comes last"), rest);
        prop_assert_eq!(std::mem::take(&mut expected), frames);
    }
}
