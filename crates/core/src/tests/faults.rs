//! Regressions: each test is named for a fault that was there, and tells its story.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Deeds, open_doing};
use crate::inspect::{Outcome, Query};
use crate::producer::{Aborted, Piece, Producer, Pull};
use crate::protocol::{Close, Context, Frame, Protocol};
use crate::terminator::Terminator;
use crate::testing::{Harness, How, Script};

/// A mark's last words were lost: output queued in `passed` beside its `Close` was thrown away,
/// because the queue had been empty a moment before.
#[test]
fn output_queued_while_closing_in_passed_was_lost() {
    let script = Script::new()
        .opened(|cx| {
            cx.send(b"one ");
            cx.mark(1);
            Ok(())
        })
        .passed(|_, _, cx| {
            cx.send(b"two");
            Err(Close::Flush)
        });
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"one two".to_vec(), Some(How::Fin)));
}

/// A connection that broke while nobody read from it stayed for ever: after an end of input, or
/// after malformed input, and nothing to send.
#[test]
fn a_broken_connection_that_nobody_reads_stayed_for_ever() {
    let (mut h, peer, log) = open_doing(|_| Ok(()));
    peer.close_write();
    h.run();
    assert_eq!((log.take(), peer.is_gone()), (vec!["eof ".to_owned()], false));
    peer.reset();
    h.run();
    assert!(peer.is_gone());
    let (mut h, peer, _) = open_doing(|cx| {
        cx.pause_input();
        Ok(())
    });
    peer.send(b"unread");
    peer.reset();
    h.run();
    assert!(peer.is_gone());
}

/// The storage of an output queue that never quite drained grew by all that passed through it.
#[test]
fn a_queue_that_never_drains_kept_all_that_it_had_sent() {
    let script = Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(10));
            Ok(())
        })
        .input(|_, cx| {
            cx.send(&[b'x'; 1000]);
            Ok(())
        });
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    peer.set_write_room(0);
    peer.send(b"\r\n".repeat(100));
    h.run();
    for _ in 0..2000 {
        peer.send(b"\r\n");
        peer.grant(1000);
        h.run();
    }
    assert_eq!(peer.take().len(), 2_000_000);
    let held = h.output_storage(&peer);
    assert!((100_000..400_000).contains(&held), "{held} bytes for 100,000 that wait");
}

/// Input left over when a protocol closed was kept until a slow peer had taken the last output.
#[test]
fn a_closing_connection_kept_input_that_nobody_would_read() {
    let deeds = Deeds::default();
    deeds.add(|cx| {
        cx.send(b"last words");
        Err(Close::Flush)
    });
    let script = deeds.script().input(|_, cx| {
        cx.pause_input();
        Ok(())
    });
    let script = script.opened(|cx| {
        cx.set_terminator(Terminator::line(10));
        Ok(())
    });
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    peer.set_write_room(0);
    peer.send(b"\r\n".repeat(10_000));
    h.run();
    assert!(h.storage(&peer).0 > 10_000);
    h.handle().wake(peer.id());
    h.run();
    assert_eq!(h.storage(&peer), (0, true));
}

/// Each frame that a protocol took between two pauses moved all that was read behind it.
#[test]
fn frames_taken_one_by_one_moved_all_the_rest_each_time() {
    let script = Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(10));
            Ok(())
        })
        .input(|_, cx| {
            cx.pause_input();
            Ok(())
        })
        .resumed(|cx| {
            cx.resume_input();
            Ok(())
        });
    let log = script.log();
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    let all: Vec<String> = (0..1000).map(|i| format!("end {i}")).collect();
    let text: Vec<u8> = (0..1000).flat_map(|i| format!("{i}\r\n").into_bytes()).collect();
    peer.send(&text);
    h.run();
    let mut moved = 0;
    let mut before = h.storage(&peer).0;
    for _ in 1..1000 {
        h.handle().wake(peer.id());
        h.run();
        let now = h.storage(&peer).0;
        moved += u32::from(now != before);
        before = now;
    }
    assert_eq!(log.take(), all);
    assert_eq!(before, 0);
    assert!(moved < 20, "moved {moved} times");
}

/// A connection that was still being made when a shutdown came never heard of it, and held the
/// loop until the grace was over.
#[test]
fn a_connection_that_opened_during_a_shutdown_was_not_told() {
    let mut h = Harness::new();
    let address = "192.0.2.1:80".parse().expect("an address");
    let script = Script::new().opened(|cx| {
        cx.send(b"hello");
        Ok(())
    });
    h.handle().connect(address, Duration::from_secs(60), Rc::default(), script.boxed());
    h.run();
    h.handle().shutdown(Duration::from_secs(3600));
    h.run();
    let peer = h.take_connect().expect("asked for").accept(&mut h);
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"hello".to_vec(), Some(How::Fin)));
    assert!(h.has_stopped());
}

/// Not a fault, but near to one: an operator's pause must not hold up a closing connection.
#[test]
fn a_paused_connection_still_closes() {
    let deeds = Deeds::default();
    deeds.add(|cx| {
        cx.send(b"last words");
        Err(Close::Linger)
    });
    let mut h = Harness::new();
    let peer = h.open(deeds.script().boxed());
    peer.set_write_room(4);
    h.handle().wake(peer.id());
    h.handle().pause(peer.id(), true);
    peer.send(b"more");
    h.run();
    peer.grant_all();
    peer.close_write();
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"last words".to_vec(), Some(How::Fin)));
    assert!(peer.is_gone());
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

impl Producer for PanicsWhenDropped {
    fn produce(&mut self, _: usize, _: &mut Pull<'_>) -> Result<Piece, Aborted> {
        Ok(Piece::Pending)
    }
}

impl Protocol for PanicsWhenDropped {
    fn input(&mut self, _: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.produce(Box::new(PanicsWhenDropped));
        Ok(())
    }

    fn doing(&self, _: &mut dyn std::fmt::Write) -> std::fmt::Result {
        std::panic::resume_unwind(Box::new(()))
    }
}

/// A panic outside a protocol's own methods (a producer's drop, a timer, a job's result, a look
/// into the tree) ended the whole loop.
#[test]
fn a_panic_beside_a_protocol_ended_the_loop() {
    let mut h = Harness::new();
    h.allow_panics();
    let bad = h.open(Box::new(PanicsWhenDropped));
    let good = h.open(
        Script::new()
            .input(|_, cx| {
                cx.send(b"still here");
                Ok(())
            })
            .boxed(),
    );
    bad.send(b"x");
    h.run();
    assert!(matches!(h.inspect(&bad.path()), Outcome::Node(_)));
    bad.reset();
    let handle = h.handle();
    handle.timer(Duration::ZERO, |_| std::panic::resume_unwind(Box::new(())));
    handle.later(|_| std::panic::resume_unwind(Box::new(())));
    handle.run(|| (), |_| std::panic::resume_unwind(Box::new(())));
    handle.inspect(Query::look(""), |_| std::panic::resume_unwind(Box::new(())));
    let ran = Rc::new(RefCell::new(false));
    let note = ran.clone();
    handle.timer(Duration::from_secs(1), move |_| *note.borrow_mut() = true);
    h.advance(Duration::from_secs(2));
    good.send(b"?");
    h.run();
    assert_eq!((good.take(), *ran.borrow()), (b"still here".to_vec(), true));
    assert!(bad.is_gone());
}
