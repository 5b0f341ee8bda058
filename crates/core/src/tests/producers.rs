//! Producers in an output queue on the harness: each one, compositions, and every way to fail.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{file_with, open_doing, range_with, slow_doing};
use crate::handle::Waker;
use crate::limits::{FEED_PIECES, WARM_BYTES};
use crate::producer::{
    Aborted, Chain, Counted, DotStuffed, Feed, FileRange, FileSource, Full, Globbed, Lines, Once,
    Piece, Producer, Pull, Pushed, feed, promise,
};
use crate::testing::{Harness, How, Peer, Script};

/// Sends what a producer gives over a connection that takes all, and gives what arrived.
fn sent_by(producer: impl Producer + 'static) -> (Vec<u8>, Option<How>) {
    let (mut h, peer, _) = open_doing(move |cx| {
        cx.produce(Box::new(producer));
        Err(crate::Close::Flush)
    });
    h.run();
    (peer.take(), peer.closed())
}

/// Gives these pieces; then fails or ends. A `None` says once that there is nothing yet.
struct Pieces {
    pieces: std::collections::VecDeque<Option<&'static [u8]>>,
    fails: bool,
}

fn pieces(pieces: &[Option<&'static [u8]>], fails: bool) -> Pieces {
    Pieces { pieces: pieces.iter().copied().collect(), fails }
}

impl Producer for Pieces {
    fn produce(&mut self, _: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        match self.pieces.pop_front() {
            Some(Some(bytes)) => Ok(Piece::Bytes(Bytes::from_static(bytes))),
            Some(None) => {
                pull.waker().wake();
                Ok(Piece::Pending)
            }
            None if self.fails => Err(Aborted::new("as told")),
            None => Ok(Piece::End),
        }
    }
}

/// Notes the sizes of the pieces that pass.
struct Sizes<P>(P, Rc<RefCell<Vec<u64>>>);

impl<P: Producer> Producer for Sizes<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let piece = self.0.produce(room, pull)?;
        match &piece {
            Piece::Bytes(bytes) => self.1.borrow_mut().push(bytes.len() as u64),
            Piece::File(range) => self.1.borrow_mut().push(range.len),
            Piece::Pending | Piece::End => {}
        }
        Ok(piece)
    }
}

#[test]
fn each_producer_gives_its_content_and_ends() {
    assert_eq!(sent_by(Once::new("once")), (b"once".to_vec(), Some(How::Fin)));
    assert_eq!(sent_by(Once::new("")), (vec![], Some(How::Fin)));
    assert_eq!(sent_by(FileSource::new(range_with(b"a file"))).0, b"a file");
    assert_eq!(sent_by(FileSource::new(range_with(b""))).0, b"");
    assert_eq!(sent_by(Lines::new(["a\n", "", "b\n"].map(Ok))).0, b"a\nb\n");
    assert_eq!(sent_by(Lines::new(std::iter::empty::<Result<&str, _>>())).0, b"");
    assert_eq!(sent_by(pieces(&[Some(b"x"), None, None, Some(b"y"), None], false)).0, b"xy");
}

#[test]
fn a_chain_gives_one_after_the_other_and_knows_what_remains() {
    let chain = Chain::new()
        .then(Once::new("head "))
        .then(FileSource::new(range_with(b"file")))
        .then(Once::new(""))
        .then(Chain::new())
        .then(Once::new(" tail"));
    assert_eq!(chain.remaining(), Some(14));
    assert_eq!(sent_by(chain).0, b"head file tail");
    let unknown = Chain::new().then(Once::new("a")).then(Lines::new([Ok("b")]));
    assert_eq!(unknown.remaining(), None);
    assert_eq!(Chain::new().remaining(), Some(0));
}

#[test]
fn an_endless_iterator_is_asked_only_for_what_leaves() {
    let given = Rc::new(RefCell::new(0));
    let count = given.clone();
    let endless = Lines::new(std::iter::repeat_with(move || {
        *count.borrow_mut() += 1;
        Ok("0123456789abcdef")
    }));
    let (mut h, peer, _) = slow_doing(1, |cx| {
        cx.produce(Box::new(endless));
        Ok(())
    });
    let before = *given.borrow();
    for _ in 0..10 {
        peer.take();
        peer.grant(16 * 1024);
        h.run();
    }
    let lines = *given.borrow() - before;
    assert!((8 * 1024..=12 * 1024).contains(&lines), "{lines} lines for 160 KiB");
}

#[test]
fn a_failure_closes_by_reset_after_what_came_before() {
    let (bytes, how) = sent_by(pieces(&[Some(b"so far")], true));
    assert_eq!((bytes.as_slice(), how), (&b"so far"[..], Some(How::Reset)));
    let failing = Lines::new([Ok("a"), Err(Aborted::new("no")), Ok("b")]);
    assert_eq!(sent_by(failing).1, Some(How::Reset));
}

#[test]
fn what_stands_behind_a_failure_is_not_sent() {
    let (mut h, peer, log) = open_doing(|cx| {
        cx.send(b"one");
        cx.produce(Box::new(pieces(&[], true)));
        cx.send(b"two");
        Ok(())
    });
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"one".to_vec(), Some(How::Reset)));
    assert_eq!(log.take(), ["closed: output failed: as told"]);
}

#[test]
fn an_empty_piece_is_a_failure_not_an_endless_loop() {
    assert_eq!(sent_by(pieces(&[Some(b"")], false)).1, Some(How::Reset));
}

#[test]
fn a_file_that_was_cut_short_is_never_passed_off_as_whole() {
    let file = file_with(b"0123456789");
    let range = FileRange { file: file.clone(), offset: 2, len: 8 };
    let (mut h, peer, log) = slow_doing(3, |cx| {
        cx.send_file(range);
        cx.send(b"behind");
        Ok(())
    });
    assert_eq!(peer.take(), b"234");
    file.set_len(5).expect("a test's file can be cut");
    peer.grant(100);
    h.run();
    assert_eq!((peer.take(), peer.closed()), (vec![], Some(How::Reset)));
    assert_eq!(log.take(), ["closed: output failed: file ends 5 bytes early"]);
}

#[test]
fn a_file_that_is_not_in_memory_is_fetched_by_a_helper_before_it_is_sent() {
    let len = WARM_BYTES as usize + 10;
    let content: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    let (mut h, peer, _) = slow_doing(len + 100, |cx| {
        cx.send(b"head");
        Ok(())
    });
    h.chill_files();
    h.hold_jobs();
    let range = range_with(&content);
    let waiting = h.open(
        Script::new()
            .opened(move |cx| {
                cx.send(b"head");
                cx.send_file(range.clone());
                cx.send(b"behind");
                Ok(())
            })
            .boxed(),
    );
    h.run();
    assert_eq!((waiting.take(), h.jobs()), (b"head".to_vec(), 1), "nothing waits for the disk");
    assert_eq!(peer.take(), b"head", "others go on");
    h.run_jobs();
    h.run();
    assert!(waiting.take() == content[..WARM_BYTES as usize], "one window at a time");
    assert_eq!(h.jobs(), 1);
    h.run_jobs();
    h.run();
    assert_eq!(waiting.take(), [&content[WARM_BYTES as usize..], b"behind"].concat());
}

#[test]
fn file_ranges_pass_wrappers_that_only_frame() {
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let inside = Chain::new()
        .then(Once::new("abc"))
        .then(FileSource::new(range_with(&[b'f'; 5000])))
        .then(Once::new("xyz"));
    let counted = Counted::new(Globbed::new(inside, 1000), |_, _| ());
    let (bytes, _) = sent_by(Sizes(counted, sizes.clone()));
    assert_eq!(bytes, [&b"abc"[..], &[b'f'; 5000], b"xyz"].concat());
    assert_eq!(*sizes.borrow(), [3, 5000, 3]);
}

#[test]
fn globbing_waits_for_a_pending_producer_and_keeps_its_size() {
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let inside = pieces(&[Some(b"abc"), None, Some(b"defgh"), None, Some(b"i")], false);
    let (bytes, _) = sent_by(Sizes(Globbed::new(inside, 4), sizes.clone()));
    assert_eq!(bytes, b"abcdefghi");
    assert_eq!(*sizes.borrow(), [4, 4, 1]);
}

#[test]
fn the_counting_hook_is_called_once_whatever_happens() {
    let heard: Rc<RefCell<Vec<(u64, bool)>>> = Rc::default();
    let counted = |inside: Pieces| {
        let heard = heard.clone();
        Counted::new(inside, move |bytes, whole| heard.borrow_mut().push((bytes, whole)))
    };
    sent_by(counted(pieces(&[Some(b"abc"), Some(b"d")], false)));
    assert_eq!(heard.take(), [(4, true)], "complete");
    sent_by(counted(pieces(&[Some(b"abc")], true)));
    assert_eq!(heard.take(), [(3, false)], "failed");
    drop(counted(pieces(&[], false)));
    assert_eq!(heard.take(), [(0, false)], "never asked");
    let producer = counted(pieces(&[Some(&[0; 9000]), Some(&[0; 9000]), Some(&[0; 9000])], false));
    let (mut h, peer, _) = slow_doing(10, |cx| {
        cx.produce(Box::new(producer));
        Ok(())
    });
    assert_eq!(heard.take(), []);
    peer.reset();
    h.run();
    let told = heard.take();
    assert!(matches!(told[..], [(9000.., false)]), "the peer went away: {told:?}");
}

#[test]
fn replies_behind_a_promise_wait_for_it() {
    let (first, first_place) = promise();
    let (second, second_place) = promise();
    let (mut h, peer, _) = open_doing(|cx| {
        cx.produce(Box::new(first_place));
        cx.send(b"2");
        cx.produce(Box::new(second_place));
        cx.send(b"4");
        Err(crate::Close::Flush)
    });
    h.run();
    second.keep(Once::new("3"));
    h.run();
    assert_eq!(peer.take(), b"");
    assert!(first.is_wanted());
    first.keep(Lines::new([Ok("1")]));
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"1234".to_vec(), Some(How::Fin)));
}

#[test]
fn a_promise_that_is_dropped_closes_by_reset() {
    let (kept, place) = promise();
    let (mut h, peer, log) = open_doing(|cx| {
        cx.send(b"before");
        cx.produce(Box::new(place));
        cx.send(b"behind");
        Err(crate::Close::Flush)
    });
    h.run();
    drop(kept);
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"before".to_vec(), Some(How::Reset)));
    assert_eq!(log.take(), ["closed: output failed: a promise was not kept"]);
}

#[test]
fn a_promise_whose_peer_went_away_is_not_wanted() {
    let (kept, place) = promise();
    let (mut h, peer, _) = open_doing(|cx| {
        cx.produce(Box::new(place));
        Ok(())
    });
    h.run();
    peer.reset();
    h.run();
    assert!(!kept.is_wanted());
    kept.keep(Once::new("nobody hears"));
    h.run();
    assert_eq!(peer.take(), b"");
}

/// A connection that sends what is pushed into a feed, and its pusher: a connection that notes
/// when it is woken.
fn fed(high: usize, low: usize) -> (Harness, Peer, Feed, Rc<RefCell<u32>>) {
    let (push, pull) = feed(high, low);
    let woken = Rc::new(RefCell::new(0));
    let (count, keep) = (woken.clone(), Rc::new(RefCell::new(None::<Waker>)));
    let waker = keep.clone();
    let mut h = Harness::new();
    let pusher = Script::new()
        .opened(move |cx| {
            *waker.borrow_mut() = Some(cx.waker());
            Ok(())
        })
        .resumed(move |_| {
            *count.borrow_mut() += 1;
            Ok(())
        });
    h.open(pusher.boxed());
    push.set_pusher(keep.borrow().clone().expect("the pusher is open"));
    let mut pull = Some(pull);
    let sender = Script::new().opened(move |cx| {
        cx.produce(Box::new(pull.take().expect("opened once")));
        Err(crate::Close::Flush)
    });
    let peer = h.open(sender.boxed());
    h.run();
    (h, peer, push, woken)
}

#[test]
fn a_feed_gives_on_what_is_pushed_and_ends() {
    let (mut h, peer, push, _) = fed(100, 10);
    assert_eq!(push.push("abc"), Ok(Pushed::More));
    assert_eq!(push.push(""), Ok(Pushed::More));
    h.run();
    assert_eq!(peer.take(), b"abc");
    assert_eq!(push.push("def"), Ok(Pushed::More));
    push.end();
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"def".to_vec(), Some(How::Fin)));
}

#[test]
fn a_feed_stops_its_pusher_at_the_high_mark_and_wakes_it_at_the_low_one() {
    let (mut h, peer, push, woken) = fed(10, 4);
    peer.set_write_room(0);
    h.run();
    assert_eq!(push.push("0123456"), Ok(Pushed::More));
    assert_eq!(push.push("789"), Ok(Pushed::Stop));
    assert!(!push.has_room());
    assert_eq!(push.push("over"), Err(Full::Full(Bytes::from_static(b"over"))));
    assert_eq!((push.queued(), *woken.borrow()), (10, 0));
    peer.grant(100);
    h.run();
    assert_eq!((push.queued(), *woken.borrow()), (0, 1));
    assert_eq!(peer.take(), b"0123456789");
    assert_eq!(push.push("x"), Ok(Pushed::More));
}

/// Many tiny pushes took a hundred times the memory that the high mark allows.
#[test]
fn a_feed_counts_its_pieces_too() {
    let (mut h, peer, push, woken) = fed(1 << 20, 0);
    peer.set_write_room(0);
    let taken = (0..FEED_PIECES + 10).take_while(|_| push.push("x") == Ok(Pushed::More)).count();
    assert_eq!(taken + 1, FEED_PIECES);
    assert!(matches!(push.push("x"), Err(Full::Full(_))));
    peer.grant_all();
    h.run();
    assert_eq!((peer.take().len(), *woken.borrow()), (FEED_PIECES, 1));
}

#[test]
fn a_feed_whose_peer_went_away_says_so_and_wakes_its_pusher() {
    let (mut h, peer, push, woken) = fed(10, 4);
    peer.reset();
    h.run();
    assert_eq!(push.push("x"), Err(Full::Gone));
    assert!(push.is_gone());
    assert_eq!(*woken.borrow(), 1);
}

#[test]
fn a_feed_that_is_dropped_or_aborted_closes_by_reset() {
    for aborted in [false, true] {
        let (mut h, peer, push, _) = fed(10, 4);
        assert_eq!(push.push("abc"), Ok(Pushed::More));
        if aborted {
            push.abort(Aborted::new("upstream broke"));
        } else {
            drop(push);
        }
        h.run();
        assert_eq!((peer.take(), peer.closed()), (b"abc".to_vec(), Some(How::Reset)));
    }
}

/// Dot-stuffing line by line, as the RFC words it.
fn stuffed_naively(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive("\r\n") {
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(line);
    }
    out + if text.is_empty() || text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" }
}

#[test]
fn dots_are_stuffed_wherever_the_text_is_divided() {
    for text in
        ["", ".", "..", "\r\n", ".\r\n.\r\n", "a\r\n.b\r\r\n.\r\n..c", "a\r", "\n.", "\r\n\r."]
    {
        let expected = stuffed_naively(text);
        for at in 0..=text.len() {
            let (a, b) = text.split_at(at);
            let both = Chain::new().then(Once::new(a)).then(Once::new(b));
            let sent = sent_by(DotStuffed::new(both)).0;
            assert_eq!(sent.escape_ascii().to_string(), expected.escape_default().to_string());
            let mixed =
                Chain::new().then(Once::new(a)).then(FileSource::new(range_with(b.as_bytes())));
            assert_eq!(sent_by(DotStuffed::new(mixed)).0, expected.as_bytes());
        }
    }
}

#[test]
fn a_file_cut_short_inside_the_escape_closes_by_reset() {
    let mut range = range_with(b"abc");
    range.len = 4;
    assert_eq!(sent_by(DotStuffed::new(FileSource::new(range))).1, Some(How::Reset));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn dots_are_stuffed_as_a_naive_search_would(
        parts in prop::collection::vec("[a.\r\n]{1,6}", 0..8),
    ) {
        let text = parts.concat();
        let inside = Lines::new(parts.into_iter().map(Ok));
        let one_by_one = Chain::new().then(inside);
        prop_assert_eq!(sent_by(DotStuffed::new(one_by_one)).0, stuffed_naively(&text).into_bytes());
    }

    #[test]
    fn globs_have_one_size_and_lose_nothing(
        sizes in prop::collection::vec(1usize..40, 0..20),
        size in 1usize..30,
    ) {
        let mut chain = Chain::new();
        let mut all = Vec::new();
        for (i, n) in sizes.iter().enumerate() {
            let part = vec![i as u8; *n];
            all.extend_from_slice(&part);
            chain = chain.then(Once::new(part));
        }
        let seen = Rc::new(RefCell::new(Vec::new()));
        let globbed = Globbed::new(chain, size);
        prop_assert_eq!(globbed.remaining(), Some(all.len() as u64));
        let (bytes, _) = sent_by(Sizes(globbed, seen.clone()));
        prop_assert_eq!(bytes, all);
        let seen = seen.take();
        if let Some((last, full)) = seen.split_last() {
            prop_assert!(full.iter().all(|&n| n == size as u64) && *last <= size as u64);
        }
    }
}
