//! Channels and the engine on the harness: order, marks, back-pressure, budgets, time, closing.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::{Deeds, open_doing, slow_doing};
use crate::address::{Address, Peer as From};
use crate::channel::{Channel, Io};
use crate::inspect::{Outcome, Value};
use crate::limits::{ChannelSettings, FRAMES_A_TURN, LINGER_BYTES, LINGER_TIME};
use crate::producer::{Lines, Once, promise};
use crate::protocol::{Close, Frame, Protocol};
use crate::terminator::Terminator;
use crate::testing::{Harness, How, Log, Peer, Script};

/// Answers each line with what `answer` makes of it.
fn answering(answer: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Script {
    Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(100));
            Ok(())
        })
        .input(move |frame, cx| match frame {
            Frame::End(line) => {
                cx.send(&answer(line));
                Ok(())
            }
            _ => Err(Close::Flush),
        })
}

fn opened(script: Script, settings: ChannelSettings) -> (Harness, Peer, Log) {
    let (mut h, log) = (Harness::new(), script.log());
    let peer = h.open_with(script.boxed(), From::Unknown, Rc::new(settings));
    (h, peer, log)
}

fn field(h: &mut Harness, peer: &Peer, name: &str) -> Option<Value> {
    match h.inspect(&peer.path()) {
        Outcome::Node(node) => node.value(name).cloned(),
        _ => None,
    }
}

#[test]
fn a_channel_is_small_and_an_idle_one_owns_no_buffer() {
    assert!(size_of::<Io>() <= 200, "{}", size_of::<Io>());
    assert!(size_of::<Channel>() <= 216, "{}", size_of::<Channel>());
    let (mut h, peer, _) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    peer.send(b"one\r\ntwo\r\nthr");
    h.run();
    assert_eq!(h.storage(&peer), (3, false));
    peer.send(b"ee\r\n");
    h.run();
    assert_eq!(peer.take(), b"onetwothree");
    assert_eq!(h.storage(&peer), (0, false));
}

#[test]
fn pipelined_frames_are_answered_by_one_write() {
    let (mut h, peer, _) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    peer.send(b"a\r\nb\r\n".repeat(FRAMES_A_TURN / 2));
    h.run();
    assert_eq!(peer.take(), b"ab".repeat(FRAMES_A_TURN / 2));
    assert_eq!(peer.writes(), [FRAMES_A_TURN]);
}

#[test]
fn marks_tell_the_exact_byte_that_they_stood_at() {
    let marks: Rc<RefCell<Vec<(u64, u64)>>> = Rc::default();
    let heard = marks.clone();
    let script = Script::new()
        .opened(|cx| {
            cx.mark(1);
            cx.send(b"abc");
            cx.mark(2);
            cx.mark(3);
            cx.produce(Box::new(Once::new("defg")));
            cx.mark(4);
            cx.send_bytes(bytes::Bytes::from(vec![b'x'; 5000]));
            cx.mark(5);
            Ok(())
        })
        .passed(move |token, sent, _| {
            heard.borrow_mut().push((token, sent));
            Ok(())
        });
    let (mut h, peer, _) = opened(script, ChannelSettings::default());
    h.run();
    assert_eq!(peer.take().len(), 5007);
    assert_eq!(*marks.borrow(), [(1, 0), (2, 3), (3, 3), (4, 7), (5, 5007)]);
}

#[test]
fn a_mark_waits_for_short_writes() {
    let marks: Rc<RefCell<Vec<(u64, u64)>>> = Rc::default();
    let (heard, deeds) = (marks.clone(), Deeds::default());
    deeds.add(|cx| {
        cx.send(b"abc");
        cx.mark(1);
        cx.send(b"def");
        cx.mark(2);
        Ok(())
    });
    let script = deeds.script().passed(move |token, sent, _| {
        heard.borrow_mut().push((token, sent));
        Ok(())
    });
    let (mut h, peer, _) = opened(script, ChannelSettings::default());
    peer.set_write_room(2);
    h.handle().wake(peer.id());
    h.run();
    assert_eq!(*marks.borrow(), []);
    peer.grant(2);
    h.run();
    // A mark is told when it is passed: later bytes of the same write do not count.
    assert_eq!(*marks.borrow(), [(1, 3)]);
    peer.grant(2);
    h.run();
    assert_eq!(*marks.borrow(), [(1, 3), (2, 6)]);
}

#[test]
fn short_writes_lose_and_double_nothing() {
    for most in [1, 2, 3, 7] {
        let (mut h, peer, _) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
        peer.set_max_write(most);
        for i in 0..50 {
            peer.send(format!("line {i}\r\n"));
        }
        h.run();
        let expected: Vec<String> = (0..50).map(|i| format!("line {i}")).collect();
        assert_eq!(peer.take_text(), expected.concat());
    }
}

#[test]
fn a_peer_that_does_not_read_stops_being_read_until_it_does() {
    let settings = ChannelSettings {
        output_high_bytes: 1000,
        output_low_bytes: 100,
        ..ChannelSettings::default()
    };
    let (mut h, peer, _) = opened(answering(|_| vec![b'x'; 100]), settings);
    peer.set_write_room(0);
    for _ in 0..100 {
        peer.send(b"go\r\n");
        h.run();
    }
    // Ten answers reach the mark; what comes after stays with the peer.
    assert_eq!(field(&mut h, &peer, "queued"), Some(Value::Bytes(1000)));
    assert_eq!(peer.unread(), 360);
    peer.grant(500);
    h.run();
    assert_eq!(peer.unread(), 360, "still over the low mark");
    peer.grant(400);
    h.run();
    assert_eq!(field(&mut h, &peer, "queued"), Some(Value::Bytes(1000)));
    assert!(peer.unread() < 360);
    peer.grant_all();
    h.run();
    assert_eq!((peer.take().len(), peer.unread()), (10_000, 0));
}

#[test]
fn many_small_items_stop_input_as_many_bytes_do() {
    let script = Script::new()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(10));
            Ok(())
        })
        .input(|_, cx| {
            cx.mark(0);
            cx.produce(Box::new(Once::new("x")));
            Ok(())
        });
    let (mut h, peer, _) = opened(script, ChannelSettings::default());
    peer.set_write_room(0);
    for _ in 0..10_000 {
        peer.send(b"a\r\n");
    }
    h.run();
    let Some(Value::Count(items)) = field(&mut h, &peer, "queue") else { panic!("a queue") };
    assert!(items < 600, "{items} items");
    peer.grant_all();
    h.run();
    assert_eq!(peer.take().len(), 10_000);
}

#[test]
fn a_greedy_peer_does_not_starve_another() {
    let mut h = Harness::new();
    let greedy = h.open(answering(<[u8]>::to_vec).boxed());
    let modest = h.open(answering(<[u8]>::to_vec).boxed());
    greedy.send(b"g\r\n".repeat(20_000));
    modest.send(b"m\r\n");
    assert!(h.turn(), "the greedy one goes on without an event");
    assert_eq!(modest.take(), b"m");
    let first = greedy.take().len();
    assert!((1..=3 * FRAMES_A_TURN).contains(&first), "{first} in one turn");
    h.run();
    assert_eq!(first + greedy.take().len(), 20_000);
    let Outcome::Node(node) = h.inspect("reactor") else { panic!("a node") };
    assert!(matches!(node.value("budget stops"), Some(Value::Count(10..))));
}

#[test]
fn output_that_stands_still_closes_the_connection() {
    let (mut h, peer, log) = slow_doing(10, |cx| {
        cx.set_settings(ChannelSettings { min_send_rate: 0, ..Default::default() }.into());
        cx.send(&[b'x'; 100]);
        Ok(())
    });
    h.advance(Duration::from_secs(59));
    peer.grant(1);
    h.run();
    h.advance(Duration::from_secs(59));
    assert_eq!((peer.closed(), peer.take().len()), (None, 11), "a byte moved in between");
    h.advance(Duration::from_secs(2));
    assert_eq!(peer.closed(), Some(How::Reset));
    assert_eq!(log.take(), ["closed: peer stopped reading"]);
}

#[test]
fn waiting_for_a_producer_is_no_stall() {
    let (kept, place) = promise();
    let (mut h, peer, _) = open_doing(|cx| {
        cx.produce(Box::new(place));
        Err(Close::Flush)
    });
    h.advance(Duration::from_secs(3600));
    assert_eq!(peer.closed(), None);
    kept.keep(Once::new("late"));
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"late".to_vec(), Some(How::Fin)));
}

#[test]
fn a_deadline_can_be_moved_both_ways_and_taken_away() {
    let ticks: Rc<RefCell<Vec<u64>>> = Rc::default();
    let heard = ticks.clone();
    let mut began = None;
    let mut next = [50, 20].into_iter();
    let script = Script::new()
        .opened(move |cx| {
            cx.set_timeout(Duration::from_secs(10));
            Ok(())
        })
        .input(|frame, cx| {
            match frame {
                Frame::Part(b"later") => cx.set_timeout(Duration::from_secs(100)),
                Frame::Part(b"sooner") => cx.set_timeout(Duration::from_secs(1)),
                _ => cx.clear_timeout(),
            }
            Ok(())
        })
        .timeout(move |cx| {
            let began = *began.get_or_insert(cx.now());
            heard.borrow_mut().push((cx.now() - began).as_secs());
            if let Some(seconds) = next.next() {
                cx.set_timeout(Duration::from_secs(seconds));
            }
            Ok(())
        });
    let (mut h, peer, _) = opened(script, ChannelSettings::default());
    h.advance(Duration::from_secs(5));
    peer.send(b"later");
    h.run();
    h.advance(Duration::from_secs(50));
    assert_eq!(*ticks.borrow(), [0; 0]);
    peer.send(b"sooner");
    h.run();
    h.advance(Duration::from_secs(2));
    assert_eq!(*ticks.borrow(), [0]);
    h.advance(Duration::from_secs(100));
    assert_eq!(*ticks.borrow(), [0, 50, 70]);
    peer.send(b"sooner");
    h.run();
    peer.send(b"never");
    h.run();
    h.advance(Duration::from_secs(100));
    assert_eq!(ticks.borrow().len(), 3);
}

#[test]
fn timers_fire_in_order_and_can_be_cancelled() {
    let mut h = Harness::new();
    let heard: Rc<RefCell<Vec<u64>>> = Rc::default();
    let mut ids = Vec::new();
    for seconds in [30, 10, 20, 10] {
        let heard = heard.clone();
        ids.push(h.handle().timer(Duration::from_secs(seconds), move |handle| {
            heard.borrow_mut().push(seconds);
            let heard = heard.clone();
            handle.timer(Duration::from_secs(1), move |_| heard.borrow_mut().push(seconds + 1));
        }));
    }
    h.handle().cancel_timer(ids[2]);
    h.advance(Duration::from_secs(10));
    assert_eq!(*heard.borrow(), [0; 0], "a timer never fires early, and ticks are rounded up");
    h.advance(Duration::from_secs(60));
    assert_eq!(*heard.borrow(), [10, 10, 11, 11, 30, 31]);
    h.handle().cancel_timer(ids[0]);
    h.run();
}

#[test]
fn a_late_wake_up_reaches_nobody_else() {
    let mut h = Harness::new();
    let (first, second) = (Deeds::default(), Deeds::default());
    let one = h.open(first.script().boxed());
    let (id, handle) = (one.id(), h.handle());
    one.reset();
    h.run();
    assert!(one.is_gone());
    second.add(|cx| {
        cx.send(b"woken");
        Ok(())
    });
    let two = h.open(second.script().boxed());
    handle.wake(id);
    handle.close(id);
    handle.pause(id, true);
    h.run();
    assert_ne!(id, two.id());
    assert_eq!((two.take(), two.closed()), (vec![], None));
    handle.wake(two.id());
    h.run();
    assert_eq!(two.take(), b"woken");
}

#[test]
fn a_panic_in_a_protocol_drops_its_connection_only() {
    let mut h = Harness::new();
    h.allow_panics();
    let bad = Script::new().input(|_, cx| {
        cx.send(b"half");
        // A panic that does not call the hook, which all tests share.
        std::panic::resume_unwind(Box::new(()))
    });
    let log = bad.log();
    let (bad, good) = (h.open(bad.boxed()), h.open(answering(<[u8]>::to_vec).boxed()));
    bad.send(b"x");
    good.send(b"hel");
    h.run();
    good.send(b"lo\r\n");
    h.run();
    assert_eq!((bad.take(), bad.closed()), (vec![], Some(How::Reset)));
    assert_eq!(log.take(), ["part x", "closed: dropped"]);
    assert_eq!(good.take(), b"hello");
}

#[test]
fn closing_sends_what_is_queued_unless_it_aborts() {
    for (close, bytes, how) in [
        (Close::Flush, &b"last words"[..], How::Fin),
        (Close::Linger, b"last words", How::Fin),
        (Close::Abort, b"", How::Reset),
    ] {
        let (mut h, peer, _) = open_doing(move |cx| {
            cx.send(b"last words");
            Err(close)
        });
        h.run();
        assert_eq!((peer.take().as_slice(), peer.closed()), (bytes, Some(how)), "{close:?}");
        assert_eq!(peer.is_gone(), close != Close::Linger);
    }
}

#[test]
fn a_lingering_close_reads_on_until_the_peer_ends() {
    let (mut h, peer, log) = open_doing(|_| Err(Close::Linger));
    peer.send(b"still sending");
    h.run();
    assert_eq!((peer.unread(), peer.is_gone(), peer.closed()), (0, false, Some(How::Fin)));
    peer.close_write();
    h.run();
    assert_eq!((peer.is_gone(), peer.closed()), (true, Some(How::Fin)));
    assert_eq!(log.take(), ["closed: done"]);
}

#[test]
fn a_lingering_close_ends_after_its_time_and_after_its_bytes() {
    let (mut h, peer, _) = open_doing(|_| Err(Close::Linger));
    h.advance(LINGER_TIME / 2);
    assert!(!peer.is_gone());
    h.advance(LINGER_TIME / 2 + Duration::from_millis(10));
    assert!(peer.is_gone());
    let (mut h, peer, _) = open_doing(|_| Err(Close::Linger));
    let part = vec![0; LINGER_BYTES as usize / 16];
    for sent in 0..=16 {
        assert!(!peer.is_gone(), "after {sent} parts of 16");
        peer.send(&part);
        h.run();
    }
    assert!(peer.is_gone());
}

#[test]
fn a_peer_that_ended_its_side_is_still_answered() {
    let script = Script::new().input(|frame, cx| match frame {
        Frame::Eof(_) => {
            cx.send(b"answer");
            Err(Close::Linger)
        }
        _ => Ok(()),
    });
    let (mut h, peer, log) = opened(script, ChannelSettings::default());
    peer.send(b"question");
    peer.close_write();
    h.run();
    assert_eq!((peer.take(), peer.closed()), (b"answer".to_vec(), Some(How::Fin)));
    assert_eq!(log.take(), ["part question", "eof ", "closed: done"]);
}

#[test]
fn a_peer_that_broke_off_is_told_with_its_reason() {
    let (mut h, peer, log) = open_doing(|_| Ok(()));
    peer.send(b"last");
    peer.reset();
    h.run();
    assert_eq!(log.take(), ["part last", "closed: peer: ConnectionReset"]);
    let (mut h, peer, log) = open_doing(|_| Ok(()));
    peer.fail_read(ErrorKind::TimedOut);
    h.run();
    assert_eq!(log.take(), ["closed: peer: TimedOut"]);
    let (mut h, peer, log) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    peer.fail_write(ErrorKind::BrokenPipe);
    peer.send(b"x\r\n");
    h.run();
    assert_eq!(log.take(), ["end x", "closed: peer: BrokenPipe"]);
}

#[test]
fn interrupted_and_spurious_calls_change_nothing() {
    let (mut h, peer, _) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        peer.fail_read(kind);
        peer.fail_write(kind);
    }
    peer.send_split(b"one\r\ntwo\r\n", &[2, 6]);
    h.run();
    peer.nudge();
    h.run();
    assert_eq!(peer.take(), b"onetwo");
}

#[test]
fn a_paused_protocol_keeps_what_was_read_and_goes_on_later() {
    let deeds = Deeds::default();
    let script = deeds
        .script()
        .opened(|cx| {
            cx.set_terminator(Terminator::line(10));
            Ok(())
        })
        .input(|_, cx| {
            cx.pause_input();
            Ok(())
        });
    let (mut h, peer, log) = opened(script, ChannelSettings::default());
    peer.send(b"one\r\ntwo\r\n");
    h.run();
    peer.send(b"three\r\n");
    peer.close_write();
    h.run();
    assert_eq!(log.take(), ["end one"]);
    for expected in ["end two", "end three", "eof "] {
        deeds.add(|cx| {
            cx.resume_input();
            Ok(())
        });
        h.handle().wake(peer.id());
        h.run();
        assert_eq!(log.take(), [expected]);
    }
}

#[test]
fn the_operator_can_pause_resume_and_close() {
    let (mut h, peer, log) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    peer.send(b"one\r\ntw");
    h.run();
    assert!(matches!(h.act(&peer.path(), "pause", &[]), Outcome::Done(_)));
    peer.send(b"o\r\n");
    h.run();
    assert_eq!(peer.take(), b"one");
    assert_eq!(field(&mut h, &peer, "state"), Some(Value::Text("paused".to_owned())));
    assert!(matches!(h.act(&peer.path(), "resume", &[]), Outcome::Done(_)));
    h.run();
    assert_eq!(peer.take(), b"two");
    assert!(matches!(h.act(&peer.path(), "frob", &[]), Outcome::Refused(_)));
    assert!(matches!(h.act(&peer.path(), "close", &[]), Outcome::Done(_)));
    assert_eq!(peer.closed(), Some(How::Reset));
    assert_eq!(log.take(), ["end one", "end two", "closed: dropped"]);
    assert!(matches!(h.inspect(&peer.path()), Outcome::Missing(_)));
}

#[test]
fn the_tree_shows_what_a_connection_does() {
    let (mut h, peer, _) = opened(answering(<[u8]>::to_vec), ChannelSettings::default());
    peer.send(b"hello\r\n");
    h.run();
    h.advance(Duration::from_secs(3));
    assert_eq!(field(&mut h, &peer, "received"), Some(Value::Bytes(7)));
    assert_eq!(field(&mut h, &peer, "sent"), Some(Value::Bytes(5)));
    assert_eq!(field(&mut h, &peer, "idle"), Some(Value::Time(Duration::from_secs(3))));
    assert_eq!(field(&mut h, &peer, "age"), Some(Value::Time(Duration::from_secs(3))));
    let doing = field(&mut h, &peer, "doing");
    assert_eq!(doing, Some(Value::Text("following a script".to_owned())));
    let Outcome::Node(root) = h.inspect("") else { panic!("a root") };
    assert_eq!(root.children, ["reactor", "process", "channels"]);
}

#[test]
fn pieces_grow_on_a_quick_peer_and_shrink_on_a_slow_one() {
    let settings = ChannelSettings {
        piece_start_bytes: 16 * 1024,
        piece_min_bytes: 4 * 1024,
        piece_max_bytes: 64 * 1024,
        ..ChannelSettings::default()
    };
    let endless = || Box::new(Lines::new(std::iter::repeat_with(|| Ok("0123456789abcdef"))));
    let deeds = Deeds::default();
    let (mut h, peer, _) = opened(deeds.script(), settings);
    assert_eq!(field(&mut h, &peer, "piece"), Some(Value::Bytes(16 * 1024)));
    deeds.add(move |cx| {
        cx.produce(endless());
        Ok(())
    });
    h.handle().wake(peer.id());
    for _ in 0..5 {
        h.turn();
    }
    assert_eq!(field(&mut h, &peer, "piece"), Some(Value::Bytes(64 * 1024)));
    peer.set_write_room(0);
    h.run();
    for _ in 0..40 {
        peer.grant(1000);
        h.run();
    }
    assert_eq!(field(&mut h, &peer, "piece"), Some(Value::Bytes(4 * 1024)));
    // What was made while it was quick leaves first; then it holds a small piece only.
    for _ in 0..80 {
        peer.grant(1000);
        h.run();
    }
    let Some(Value::Bytes(queued)) = field(&mut h, &peer, "queued") else { panic!("queued") };
    assert!(queued <= 4 * 1024 + 16, "{queued} bytes are held for a slow peer");
}

#[test]
fn the_settings_of_a_server_and_of_one_connection_are_honoured() {
    let script = Script::new().input(|frame, cx| {
        if frame == Frame::Part(b"ab") {
            let own = ChannelSettings { read_bytes: 3, ..cx.settings().clone() };
            cx.set_settings(Rc::new(own));
        }
        Ok(())
    });
    let settings = ChannelSettings { read_bytes: 2, ..ChannelSettings::default() };
    let (mut h, peer, log) = opened(script, settings);
    peer.send(b"abcdefgh");
    h.run();
    assert_eq!(log.take(), ["part ab", "part cde", "part fgh"]);
}

#[test]
fn an_outgoing_connection_stands_is_refused_or_is_late() {
    let mut h = Harness::new();
    let address: Address = "192.0.2.1:80".parse().expect("an address");
    let connect = |h: &mut Harness| {
        let script = Script::new().opened(|cx| {
            cx.send(b"hello");
            Ok(())
        });
        let log = script.log();
        let within = Duration::from_secs(5);
        h.handle().connect(address.clone(), within, Rc::default(), script.boxed());
        h.run();
        log
    };
    connect(&mut h);
    assert_eq!(h.connects(), std::slice::from_ref(&address));
    let peer = h.take_connect().expect("asked for").accept(&mut h);
    h.run();
    assert_eq!(peer.take(), b"hello");
    h.advance(Duration::from_secs(60));
    assert_eq!(peer.closed(), None, "the time was for connecting only");
    let log = connect(&mut h);
    h.take_connect().expect("asked for").refuse(&mut h, ErrorKind::ConnectionRefused);
    assert_eq!(log.take(), ["closed: cannot connect: ConnectionRefused"]);
    let log = connect(&mut h);
    h.advance(Duration::from_secs(6));
    assert_eq!(log.take(), ["closed: cannot connect: TimedOut"]);
    assert!(h.take_connect().is_none());
}

#[test]
fn jobs_come_back_in_the_order_that_a_test_likes() {
    let mut h = Harness::new();
    h.hold_jobs();
    h.allow_panics();
    let heard: Rc<RefCell<Vec<String>>> = Rc::default();
    for i in 0..3 {
        let heard = heard.clone();
        h.handle().run(
            move || {
                if i == 2 { std::panic::resume_unwind(Box::new(())) } else { i }
            },
            move |result| heard.borrow_mut().push(format!("{i} {result:?}")),
        );
    }
    h.run();
    assert_eq!((h.jobs(), heard.borrow().len()), (3, 0));
    h.run_job(1);
    h.run();
    h.lose_job(0, crate::handle::JobLost::QueueFull);
    h.run_jobs();
    h.run();
    assert_eq!(*heard.borrow(), ["1 Ok(1)", "0 Err(QueueFull)", "2 Err(Panicked)"]);
}

#[test]
fn a_shutdown_lets_connections_finish_and_leaves_its_own_alone() {
    let mut h = Harness::new();
    let (kept, place) = promise();
    let mut place = Some(place);
    let busy = Script::new().opened(move |cx| {
        cx.produce(Box::new(place.take().expect("once")));
        Ok(())
    });
    let (busy, idle) = (h.open(busy.boxed()), h.open(Script::new().boxed()));
    h.run();
    h.handle().shutdown(Duration::from_secs(10));
    h.run();
    assert_eq!((idle.closed(), busy.closed()), (Some(How::Fin), None));
    assert!(!h.has_stopped());
    kept.keep(Once::new("done"));
    h.run();
    assert_eq!((busy.take(), busy.closed()), (b"done".to_vec(), Some(How::Fin)));
    assert!(h.has_stopped());
}

/// Its methods all count, so that none is forgotten here when one is added.
#[test]
fn the_defaults_of_a_protocol_close_politely() {
    struct Plain;
    impl Protocol for Plain {
        fn input(&mut self, _: Frame<'_>, cx: &mut crate::Context<'_>) -> Result<(), Close> {
            cx.set_timeout(Duration::from_secs(1));
            Ok(())
        }
    }
    let mut h = Harness::new();
    let peer = h.open(Box::new(Plain));
    peer.send(b"x");
    h.advance(Duration::from_secs(2));
    assert_eq!(peer.closed(), Some(How::Fin));
}
