//! The access log: one line for each request, with what was really sent.

use std::rc::Rc;

use medusa_core::testing::How;
use medusa_core::{Peer, Piece};
use medusa_http::{Handled, Reply};

use crate::server::{
    Feeds, Pieces, Server, Shelf, at, echo, fed, files, find, get, later, now, post, says, stream,
    tree_of,
};

/// How each line begins: the peer, and the start of the virtual clock.
const LEAD: &str = "198.51.100.1 - - [01/Jan/2100:00:00:00 +0000] ";

fn server() -> (Server, Shelf) {
    let shelf = Shelf::default();
    let list = vec![
        now("/now", "12345"),
        stream("/stream"),
        echo("/echo"),
        later("/later/", &shelf),
        at("/large", |_, _| Handled::Now(says("x".repeat(100_000)))),
        at("/fails", |_, _| {
            let pieces = vec![Piece::Bytes("some".into())];
            Handled::Now(Reply::new(200).producer(Pieces { pieces, fails: true }))
        }),
        files(&tree_of(&[("/f", "0123456789")])),
    ];
    (Server::new(list), shelf)
}

/// The lines without their lead.
fn lines(server: &Server) -> Vec<String> {
    let strip = |line: String| match line.strip_prefix(LEAD) {
        Some(rest) => rest.to_owned(),
        None => panic!("{line}"),
    };
    server.log.take().into_iter().map(strip).collect()
}

#[test]
fn each_request_has_a_line_with_the_bytes_of_its_body() {
    for (request, expected) in [
        (get("/now", ""), r#""GET /now HTTP/1.1" 200 5 "-" "-""#),
        (get("/now", "").replace("GET", "HEAD"), r#""HEAD /now HTTP/1.1" 200 0 "-" "-""#),
        (
            get("/now?a=b", "User-Agent: me/1.0\r\nReferer: http://r/\r\n"),
            r#""GET /now?a=b HTTP/1.1" 200 5 "http://r/" "me/1.0""#,
        ),
        (post("/echo", "hello"), r#""POST /echo HTTP/1.1" 200 7 "-" "-""#),
        (get("/f", "Range: bytes=2-4\r\n"), r#""GET /f HTTP/1.1" 206 3 "-" "-""#),
        (get("/f", "If-None-Match: *\r\n"), r#""GET /f HTTP/1.1" 304 0 "-" "-""#),
        ("GET /now HTTP/1.0\r\n\r\n".into(), r#""GET /now HTTP/1.0" 200 5 "-" "-""#),
        (
            "GET http://b/now HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            r#""GET http://b/now HTTP/1.1" 200 5 "-" "-""#,
        ),
    ] {
        let (mut server, _) = server();
        server.send(&request);
        assert_eq!(lines(&server), [expected], "{request}");
    }
}

#[test]
fn the_head_of_a_100_does_not_count_as_body() {
    let (mut server, _) = server();
    let lead =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    server.send(lead.to_owned() + "hello");
    assert_eq!(lines(&server), [r#""POST /echo HTTP/1.1" 200 7 "-" "-""#]);
}

#[test]
fn refused_requests_have_a_line() {
    let (mut server, _) = server();
    let (_, output) = server.send("bad\r\n\r\n");
    let body = output.len() - find(&output, b"\r\n\r\n").expect("a head") - 4;
    assert_eq!(lines(&server), [format!(r#""-" 400 {body} "-" "-""#)]);
    server.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n");
    assert!(lines(&server)[0].starts_with(r#""POST /echo HTTP/1.1" 413 "#));
}

#[test]
fn lines_come_in_the_order_in_which_replies_have_left() {
    let (mut server, shelf) = server();
    let (slow, _) = server.send(get("/later/1", "") + &get("/now", ""));
    let (_, _) = server.send(get("/f", ""));
    assert_eq!(lines(&server), [r#""GET /f HTTP/1.1" 200 10 "-" "-""#]);
    shelf.reply("/later/1", says("late reply"));
    server.h.run();
    assert_eq!(
        lines(&server),
        [r#""GET /later/1 HTTP/1.1" 200 10 "-" "-""#, r#""GET /now HTTP/1.1" 200 5 "-" "-""#]
    );
    assert_eq!(slow.closed(), None);
}

#[test]
fn a_reply_that_leaves_slowly_has_its_line_when_it_has_left() {
    let (mut server, _) = server();
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/large", "") + &get("/now", ""));
    server.h.run();
    assert_eq!(lines(&server).len(), 0);
    peer.grant_all();
    server.h.run();
    assert_eq!(
        lines(&server),
        [r#""GET /large HTTP/1.1" 200 100000 "-" "-""#, r#""GET /now HTTP/1.1" 200 5 "-" "-""#]
    );
}

#[test]
fn chunked_framing_counts_as_sent() {
    let (mut server, _) = server();
    let (_, output) = server.send(get("/stream", ""));
    let body = output.len() - find(&output, b"\r\n\r\n").expect("a head") - 4;
    assert_eq!(lines(&server), [format!(r#""GET /stream HTTP/1.1" 200 {body} "-" "-""#)]);
}

#[test]
fn an_aborted_reply_has_a_line_with_the_bytes_that_were_sent() {
    let (mut server, _) = server();
    let peer = server.connect();
    peer.set_write_room(10_000);
    peer.send(get("/now", "") + &get("/large", "") + &get("/f", ""));
    server.h.run();
    let sent = peer.take();
    let second = find(&sent, b"12345HTTP").expect("the first reply") + 5;
    let body = sent.len() - second - find(&sent[second..], b"\r\n\r\n").expect("a head") - 4;
    peer.reset();
    server.h.run();
    assert_eq!(
        lines(&server),
        [
            r#""GET /now HTTP/1.1" 200 5 "-" "-""#.to_owned(),
            format!(r#""GET /large HTTP/1.1" 200 {body} "-" "-" aborted"#),
            r#""GET /f HTTP/1.1" 200 0 "-" "-" aborted"#.to_owned(),
        ]
    );
}

#[test]
fn a_client_that_went_before_its_answer_has_a_line() {
    let (mut server, _) = server();
    let (peer, _) = server.send(get("/later/1", ""));
    peer.reset();
    server.h.run();
    assert_eq!(lines(&server), [r#""GET /later/1 HTTP/1.1" 499 0 "-" "-" aborted"#]);
}

#[test]
fn a_producer_that_failed_has_a_line() {
    let (mut server, _) = server();
    let (peer, _) = server.send(get("/fails", ""));
    assert_eq!(peer.closed(), Some(How::Reset));
    let line = &lines(&server)[0];
    assert!(line.starts_with(r#""GET /fails HTTP/1.1" 200 "#), "{line}");
    assert!(line.ends_with(" aborted"), "{line}");
}

#[test]
fn an_aborted_stream_has_a_line_with_what_was_sent() {
    let feeds = Feeds::default();
    let mut server = Server::new(vec![fed("/fed", &feeds, 1000, 10)]);
    let (peer, _) = server.send(get("/fed", ""));
    let push = feeds.borrow_mut().pop().expect("it was asked");
    _ = push.push("hello").expect("there is room");
    server.h.run();
    peer.reset();
    server.h.run();
    assert!(push.is_gone());
    // The chunk of five bytes has five bytes of framing.
    assert_eq!(lines(&server), [r#""GET /fed HTTP/1.1" 200 10 "-" "-" aborted"#]);
}

#[test]
fn what_a_client_sends_stays_within_its_quotes_and_its_line() {
    for (sent, logged) in [
        (b"a\"b".as_slice(), r#"a\"b"#),
        (b"a\\b", r"a\\b"),
        (b"\\\"", r#"\\\""#),
        (b"\"\"", r#"\"\""#),
        (b"a\tb", r"a\x09b"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("ä".as_bytes(), r"\xc3\xa4"),
        (b"%0d%0a", "%0d%0a"),
    ] {
        let (mut server, _) = server();
        let lead = b"GET /now HTTP/1.1\r\nHost: a\r\nUser-Agent: ";
        server.send([lead.as_slice(), sent, b"\r\nReferer: ", sent, b"\r\n\r\n"].concat());
        let expected = format!(r#""GET /now HTTP/1.1" 200 5 "{logged}" "{logged}""#);
        assert_eq!(lines(&server), [expected]);
    }
    let (mut server, _) = server();
    server.send(get("/x\"y\\z", ""));
    assert!(lines(&server)[0].starts_with(r#""GET /x\"y\\z HTTP/1.1" 404 "#));
}

#[test]
fn lines_name_their_own_peer_and_second() {
    let (mut server, _) = server();
    let v6 = Peer::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5000);
    let peers =
        [(v6, "2001:db8::1"), (Peer::Unix, "unix"), (Peer::V4([1, 2, 3, 4].into(), 5), "1.2.3.4")];
    for (from, shown) in peers {
        let peer = server.h.accept_from(&server.service, from).expect("it is accepted");
        peer.send(get("/now", ""));
        server.h.run();
        let line = server.log.take().remove(0);
        assert!(line.starts_with(&format!("{shown} - - [")), "{line}");
    }
    server.h.advance(std::time::Duration::from_secs(3661));
    server.send(get("/now", ""));
    assert!(server.log.take()[0].contains("[01/Jan/2100:01:01:01 +0000]"));
}

#[test]
fn a_server_may_keep_no_log() {
    let extensions = Rc::new(medusa_http::Extensions::new(vec![now("/now", "12345")]));
    let service = medusa_http::HttpService::new(
        extensions,
        medusa_http::HttpSettings::default(),
        medusa_core::ChannelSettings::default(),
        None,
    );
    let mut h = medusa_core::testing::Harness::new();
    let peer = h.accept(&service);
    peer.send(get("/now", "").repeat(3) + "bad\r\n\r\n");
    h.run();
    assert_eq!(
        crate::server::statuses(&crate::server::answers(&peer.take())),
        [200, 200, 200, 400]
    );
}
