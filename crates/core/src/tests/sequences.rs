//! Random sequences of what peers, operators and time can do to one connection: in the end all
//! answers have arrived, in order, and nothing is left to do. What gets stuck is found here.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::range_with;
use crate::address::Peer as From;
use crate::limits::ChannelSettings;
use crate::producer::{
    Chain, Feed, FileSource, Full, Globbed, Lines, Once, Promise, feed, promise,
};
use crate::protocol::{Close, Frame};
use crate::terminator::Terminator;
use crate::testing::{Harness, How, Script};

/// What may happen between two runs of the loop.
#[derive(Debug, Clone)]
enum Event {
    Sends(usize),
    SendsSplit(usize),
    Grants(usize),
    TakesAll,
    MaxRead(usize),
    ReadFails(bool),
    WriteFails(bool),
    Nudged,
    Paused(bool),
    PromiseKept(usize),
    Pushed(usize),
    TimePasses(u64),
    Runs,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1usize..60).prop_map(Event::Sends),
        1 => (1usize..20).prop_map(Event::SendsSplit),
        3 => (1usize..400).prop_map(Event::Grants),
        1 => Just(Event::TakesAll),
        1 => (1usize..9).prop_map(Event::MaxRead),
        1 => any::<bool>().prop_map(Event::ReadFails),
        1 => any::<bool>().prop_map(Event::WriteFails),
        1 => Just(Event::Nudged),
        1 => any::<bool>().prop_map(Event::Paused),
        3 => (0usize..4).prop_map(Event::PromiseKept),
        3 => (1usize..40).prop_map(Event::Pushed),
        1 => (0u64..5000).prop_map(Event::TimePasses),
        4 => Just(Event::Runs),
    ];
    prop::collection::vec(event, 0..60)
}

/// Answers that wait for the test to give them.
#[derive(Default)]
struct Owed {
    promises: Vec<(usize, Promise)>,
    feeds: Vec<(Vec<u8>, Feed)>,
}

/// The answer to the line of this number, whichever way it is produced.
fn answer(number: usize) -> Vec<u8> {
    format!("{number}:").into_bytes().into_iter().chain(vec![b'x'; number * 7 % 90]).collect()
}

fn fault(again: bool) -> ErrorKind {
    if again { ErrorKind::WouldBlock } else { ErrorKind::Interrupted }
}

fn serving(owed: Rc<RefCell<Owed>>) -> Script {
    let mut number = 0;
    Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(30));
            Ok(())
        })
        .resumed(|cx| {
            cx.resume_input();
            Ok(())
        })
        .passed(|_, _, cx| {
            cx.resume_input();
            Ok(())
        })
        .input(move |frame, cx| {
            let Frame::End(_) = frame else { return Err(Close::Linger) };
            let bytes = answer(number);
            match number % 8 {
                0 => cx.send(&bytes),
                1 => cx.produce(Box::new(Once::new(bytes))),
                2 => cx.send_file(range_with(&bytes)),
                3 => cx.produce(Box::new(Globbed::new(Lines::new([Ok(bytes)]), 5))),
                4 => {
                    let (kept, place) = promise();
                    owed.borrow_mut().promises.push((number, kept));
                    cx.produce(Box::new(place));
                }
                5 => {
                    let (push, pull) = feed(20, 5);
                    push.set_pusher(cx.waker());
                    owed.borrow_mut().feeds.push((bytes, push));
                    cx.produce(Box::new(pull));
                }
                6 => {
                    // Takes nothing more until this has left.
                    cx.send_bytes(Bytes::from(bytes));
                    cx.mark(0);
                    cx.pause_input();
                }
                _ => {
                    let file = FileSource::new(range_with(&bytes[1..]));
                    let first = Once::new(bytes[..1].to_vec());
                    cx.produce(Box::new(Chain::new().then(first).then(file)));
                }
            }
            number += 1;
            Ok(())
        })
}

impl Owed {
    fn keep(&mut self, which: usize) {
        if which < self.promises.len() {
            let (number, kept) = self.promises.remove(which);
            kept.keep(Once::new(answer(number)));
        }
    }

    /// Pushes at most so many bytes of the first answer that is pushed; ends it with its last.
    fn push(&mut self, most: usize) {
        let Some((bytes, push)) = self.feeds.first_mut() else { return };
        let part: Vec<u8> = bytes.drain(..most.min(bytes.len())).collect();
        if let Err(Full::Full(back)) = push.push(part) {
            bytes.splice(..0, back);
        }
        if bytes.is_empty() {
            self.feeds.remove(0).1.end();
        }
    }

    fn settle(&mut self) {
        while !self.promises.is_empty() {
            self.keep(0);
        }
        self.push(7);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_all_answers_arrive_in_order(
        events in events(),
        room in prop::option::of(0usize..200),
        read_bytes in 1usize..50,
    ) {
        let owed = Rc::<RefCell<Owed>>::default();
        let settings = ChannelSettings {
            read_bytes,
            output_high_bytes: 150,
            output_low_bytes: 40,
            ..ChannelSettings::default()
        };
        let mut h = Harness::new();
        let script = serving(owed.clone()).boxed();
        let peer = h.open_with(script, From::Unknown, Rc::new(settings));
        if let Some(room) = room {
            peer.set_write_room(room);
        }
        let line = |n: usize| format!("{}\r\n", "l".repeat(n % 11));
        let (mut lines, mut got) = (0, Vec::new());
        let input: String = (0..60 * 60).map(line).collect::<Vec<_>>().concat();
        let mut rest = input.as_bytes();
        let mut take = |n: usize| {
            let (part, after) = rest.split_at(n.min(rest.len()));
            rest = after;
            lines += memchr::memchr_iter(b'\n', part).count();
            part
        };
        for event in events {
            match event {
                Event::Sends(n) => peer.send(take(n)),
                Event::SendsSplit(n) => peer.send_bytewise(take(n)),
                Event::Grants(n) => peer.grant(n),
                Event::TakesAll => peer.grant_all(),
                Event::MaxRead(n) => peer.set_max_read(n),
                Event::ReadFails(again) => peer.fail_read(fault(again)),
                Event::WriteFails(again) => peer.fail_write(fault(again)),
                Event::Nudged => peer.nudge(),
                Event::Paused(paused) => h.handle().pause(peer.id(), paused),
                Event::PromiseKept(which) => owed.borrow_mut().keep(which),
                Event::Pushed(most) => owed.borrow_mut().push(most),
                Event::TimePasses(ms) => h.advance(Duration::from_millis(ms)),
                Event::Runs => h.run(),
            }
            got.extend(peer.take());
        }
        // From here on everybody does his part.
        h.handle().pause(peer.id(), false);
        peer.grant_all();
        for _ in 0..5000 {
            h.run();
            owed.borrow_mut().settle();
            got.extend(peer.take());
        }
        let expected: Vec<u8> = (0..lines).flat_map(answer).collect();
        prop_assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
        prop_assert_eq!((peer.unread(), peer.closed()), (0, None));
        peer.close_write();
        h.run();
        prop_assert_eq!((peer.closed(), peer.is_gone()), (Some(How::Fin), true));
    }
}
