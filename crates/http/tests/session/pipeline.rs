//! Several requests on one connection: kept or not, in order, bounded.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::producer::Once;
use medusa_core::testing::How;
use medusa_core::{ChannelSettings, Piece};
use medusa_http::{Body, Handled, HttpSettings, Reply};

use crate::server::{
    Answer, Feeds, Pieces, Server, Shelf, Unsized, answers, assert_ended, at, echo, fed, files,
    get, later, now, only, says, statuses, stream, tree_of,
};

#[test]
fn connections_are_kept_as_version_and_options_say() {
    for (request, kept, says) in [
        ("GET /f HTTP/1.1\r\nHost: a\r\n\r\n", true, None),
        ("GET /f HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true, None),
        ("GET /f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, Some("close")),
        ("GET /f HTTP/1.0\r\n\r\n", false, Some("close")),
        ("GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, Some("keep-alive")),
        ("GET /f HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", false, Some("close")),
        ("GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, Some("keep-alive")),
        ("HEAD /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, Some("keep-alive")),
    ] {
        let mut server = Server::files(&tree_of(&[("/f", "content")]));
        let (peer, output) = server.send(request);
        let answer = &crate::server::answers_to(&output, |_| request.starts_with("HEAD"))[0];
        assert_eq!(answer.field("Connection"), says, "{request}");
        assert_ended(&peer, (!kept).then_some(How::Fin));
        if kept {
            assert_eq!(statuses(&server.more(&peer, get("/f", ""))), [200], "{request}");
        }
    }
}

#[test]
fn pipelined_replies_leave_in_one_write() {
    let mut server = Server::files(&tree_of(&[("/f", "content")]));
    let (peer, output) = server.send(get("/f", "").repeat(16));
    assert_eq!(answers(&output).len(), 16);
    // The first may be looked up by a helper thread.
    assert!(peer.writes().len() <= 2, "{:?}", peer.writes());
}

#[test]
fn thousands_of_requests_in_one_read_are_answered() {
    let mut server = Server::files(&tree_of(&[("/f", "content")]));
    let peer = server.connect();
    for bytes in [1, 1000, 65_536] {
        peer.set_max_read(bytes);
        peer.send(get("/f", "").repeat(2000));
        server.h.run();
        let all = answers(&peer.take());
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|answer| answer.text() == "content"));
    }
}

#[test]
fn late_replies_leave_in_the_order_of_their_requests() {
    let orders: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let paths = ["/later/a", "/later/b", "/later/c"];
    for order in orders {
        let shelf = Shelf::default();
        let mut server = Server::new(vec![later("/later/", &shelf), now("/now", "now")]);
        let peer = server.connect();
        peer.send(paths.map(|path| get(path, "") + &get("/now", "")).concat());
        server.h.run();
        assert_eq!(shelf.len(), 3, "all are asked before any has answered");
        let mut output = Vec::new();
        let mut answered = [false; 3];
        for at in order {
            shelf.reply(paths[at], says(paths[at]));
            answered[at] = true;
            server.h.run();
            output.extend(peer.take());
            // Exactly those leave that wait for nobody.
            let free = answered.iter().take_while(|&&yes| yes).count();
            assert_eq!(answers(&output).len(), 2 * free, "{order:?}");
        }
        let bodies: Vec<_> = answers(&output).iter().map(|a| a.text().to_owned()).collect();
        assert_eq!(bodies, ["/later/a", "now", "/later/b", "now", "/later/c", "now"], "{order:?}");
        assert_ended(&peer, None);
    }
}

#[test]
fn late_replies_may_have_every_kind_of_body() {
    type Kind = (&'static str, fn() -> Body);
    let kinds: [Kind; 6] = [
        ("", || Body::Empty),
        ("bytes", || Body::Bytes("bytes".into())),
        ("large", || Body::Bytes("large".repeat(2000).into())),
        ("known", || Body::Producer(Box::new(Once::new("known")), Some(5))),
        ("unknown", || Body::Producer(Box::new(Unsized(Once::new("unknown"))), None)),
        ("nothing", || Body::Producer(Box::new(Unsized(Once::new(Bytes::new()))), None)),
    ];
    for (text, body) in kinds {
        let shelf = Shelf::default();
        let mut server = Server::new(vec![later("/l", &shelf), now("/now", "now")]);
        let peer = server.connect();
        peer.send(get("/l", "") + &get("/now", ""));
        server.h.run();
        shelf.reply("/l", Reply::new(200).body(body()));
        server.h.run();
        let all = answers(&peer.take());
        assert_eq!(all.len(), 2, "{text}");
        let expected = if text == "nothing" { "" } else { text };
        assert!(all[0].text().starts_with(expected) && all[0].whole, "{text}");
        assert_eq!(all[1].text(), "now", "{text}");
    }
}

#[test]
fn streams_and_feeds_keep_their_place() {
    let feeds = Feeds::default();
    let list = vec![fed("/fed", &feeds, 1000, 10), stream("/stream"), now("/now", "now")];
    let mut server = Server::new(list);
    let peer = server.connect();
    peer.send([get("/stream", ""), get("/fed", ""), get("/now", "")].concat());
    server.h.run();
    let push = feeds.borrow_mut().pop().expect("it was asked");
    assert_eq!(answers(&peer.received())[0].text(), "one\ntwo\nthree\n");
    _ = push.push("first ").expect("there is room");
    server.h.run();
    _ = push.push("second").expect("there is room");
    push.end();
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 200, 200]);
    assert_eq!(all[1].text(), "first second");
    assert_eq!(all[2].text(), "now");
    assert!(all.iter().all(|answer| answer.whole));
}

#[test]
fn a_feed_is_stopped_by_a_client_that_does_not_read() {
    let feeds = Feeds::default();
    let mut server = Server::new(vec![fed("/fed", &feeds, 4096, 1024)]);
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/fed", ""));
    server.h.run();
    let push = feeds.borrow_mut().pop().expect("it was asked");
    let mut pushed = 0;
    while push.push(vec![b'x'; 512]).is_ok() {
        pushed += 512;
        server.h.run();
        assert!(pushed < 100_000, "nobody stops the pusher");
    }
    peer.grant_all();
    server.h.run();
    assert!(push.has_room());
    push.end();
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert_eq!(answer.body.len(), pushed);
    assert!(answer.whole);
}

#[test]
fn no_more_requests_are_taken_than_the_depth_allows() {
    for body in [false, true] {
        let shelf = Shelf::default();
        let settings = HttpSettings { pipeline_depth: 3, ..HttpSettings::default() };
        let list = vec![later("/later/", &shelf)];
        let mut server = Server::with(list, settings, ChannelSettings::default());
        let peer = server.connect();
        for n in 0..8 {
            let length = if body { "Content-Length: 2\r\n\r\nhi" } else { "\r\n" };
            peer.send(format!("GET /later/{n} HTTP/1.1\r\nHost: a\r\n{length}"));
        }
        server.h.run();
        for n in 0..8 {
            assert_eq!(shelf.len(), 3.min(8 - n), "before reply {n}, with a body: {body}");
            shelf.reply(&format!("/later/{n}"), says(format!("reply {n}")));
            server.h.run();
        }
        let all = answers(&peer.take());
        assert_eq!(all.len(), 8);
        for (n, answer) in all.iter().enumerate() {
            assert_eq!(answer.text(), format!("reply {n}"));
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let large = at("/large", move |_, _| {
        count.set(count.get() + 1);
        Handled::Now(says("x".repeat(10_000)))
    });
    let channel = ChannelSettings {
        output_high_bytes: 50_000,
        output_low_bytes: 10_000,
        ..ChannelSettings::default()
    };
    let settings = HttpSettings { pipeline_depth: 1000, ..HttpSettings::default() };
    let mut server = Server::with(vec![large], settings, channel);
    let peer = server.connect();
    peer.set_write_room(0);
    peer.send(get("/large", "").repeat(100));
    server.h.run();
    assert!((5..=6).contains(&calls.get()), "{} replies are queued", calls.get());
    peer.grant(100_000);
    server.h.run();
    assert!((10..=17).contains(&calls.get()), "{} replies are made", calls.get());
    peer.grant_all();
    server.h.run();
    assert_eq!(calls.get(), 100);
    assert_eq!(answers(&peer.take()).len(), 100);
}

#[test]
fn an_end_of_input_leaves_replies_that_are_under_way() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf), now("/now", "now")]);
    let peer = server.connect();
    peer.send([get("/later/1", ""), get("/now", ""), "GET /par".into()].concat());
    peer.close_write();
    server.h.run();
    assert_ended(&peer, None);
    shelf.reply("/later/1", says("late"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 200]);
    assert!(peer.is_gone());
}

#[test]
fn a_1_0_client_gets_a_close_delimited_body_to_the_end() {
    for lines in ["", "Connection: keep-alive\r\n"] {
        let mut server = Server::new(vec![stream("/stream"), now("/now", "now")]);
        let input = format!("GET /stream HTTP/1.0\r\n{lines}\r\n{}", get("/now", ""));
        let (peer, output) = server.send(input);
        let answer = only(answers(&output));
        assert_eq!(answer.field("Transfer-Encoding"), None);
        assert_eq!(answer.field("Content-Length"), None);
        assert!(answer.closes());
        assert_eq!(answer.text(), "one\ntwo\nthree\n");
        assert_ended(&peer, Some(How::Fin));
    }
}

/// Replies to later requests of a 1.0 client became part of a body that the end of the
/// connection ends, when an earlier reply left in between.
#[test]
fn nothing_is_asked_behind_a_late_reply_to_a_1_0_client() {
    let shelf = Shelf::default();
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let next = at("/next", move |_, _| {
        count.set(count.get() + 1);
        Handled::Now(says("next"))
    });
    let mut server = Server::new(vec![later("/later/", &shelf), next]);
    let peer = server.connect();
    let keep = "HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    peer.send(get("/later/1", ""));
    peer.send(format!("GET /later/2 {keep}GET /next {keep}"));
    server.h.run();
    shelf.reply("/later/1", says("one"));
    server.h.run();
    assert_eq!(calls.get(), 0, "how the second reply is framed is not known yet");
    let pieces = vec![Piece::Bytes("two".into())];
    shelf.reply("/later/2", Reply::new(200).producer(Pieces { pieces, fails: false }));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(calls.get(), 0);
    assert_ended(&peer, Some(How::Fin));
}

/// As above, when the request with the late reply had a body.
#[test]
fn nothing_is_asked_behind_a_late_reply_to_a_1_0_post() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf), now("/next", "next")]);
    let peer = server.connect();
    let keep = "HTTP/1.0\r\nConnection: keep-alive\r\n";
    peer.send(format!("POST /later/1 {keep}Content-Length: 2\r\n\r\nhiGET /next {keep}\r\n"));
    server.h.run();
    let pieces = vec![Piece::Bytes("one".into())];
    shelf.reply("/later/1", Reply::new(200).producer(Pieces { pieces, fails: false }));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "one");
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn a_1_0_client_goes_on_behind_a_late_reply_of_known_length() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf), now("/next", "next")]);
    let peer = server.connect();
    let keep = "HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    peer.send(format!("GET /later/1 {keep}GET /next {keep}"));
    server.h.run();
    shelf.reply("/later/1", says("one"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["one", "next"]);
    assert_ended(&peer, None);
}

#[test]
fn many_connections_do_not_disturb_each_other() {
    let shelf = Shelf::default();
    let tree = tree_of(&[("/f", "content")]);
    let mut server = Server::new(vec![later("/later/", &shelf), echo("/echo"), files(&tree)]);
    let peers: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for (n, peer) in peers.iter().enumerate() {
        peer.send(get(&format!("/later/{n}"), "") + &get("/f", ""));
    }
    server.h.run();
    for n in (0..peers.len()).rev() {
        shelf.reply(&format!("/later/{n}"), says(format!("reply {n}")));
    }
    server.h.run();
    for (n, peer) in peers.iter().enumerate() {
        let all = answers(&peer.take());
        assert_eq!(all[0].text(), format!("reply {n}"));
        assert_eq!(all[1].text(), "content");
    }
}

#[test]
fn a_responder_outlives_its_connection() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf)]);
    let peer = server.connect();
    peer.send(get("/later/1", ""));
    server.h.run();
    peer.reset();
    server.h.run();
    let responder = shelf.take("/later/1");
    assert!(!responder.is_wanted());
    responder.reply(says("nobody hears it"));
    server.h.run();
    assert!(peer.is_gone());
}

#[test]
fn of_two_answers_to_one_request_the_first_counts() {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = kept.clone();
    let mut server = Server::new(vec![at("/twice", move |_, exchange| {
        keep.borrow_mut().extend([exchange.later(), exchange.later()]);
        Handled::Later
    })]);
    let peer = server.connect();
    peer.send(get("/twice", ""));
    server.h.run();
    let [first, second] = kept.take().try_into().ok().expect("two responders");
    drop(first);
    server.h.run();
    assert_eq!(peer.take(), b"", "the other may still answer");
    second.reply(says("second"));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "second");
    peer.send(get("/twice", ""));
    server.h.run();
    for (responder, text) in kept.take().into_iter().zip(["first", "second"]) {
        responder.reply(says(text));
    }
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "first");
}
