//! Request bodies: to collectors with back-pressure, unread ones, `Expect`.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use medusa_core::collector::{FileCollector, Gathered, Refused, Sink};
use medusa_core::testing::{How, Peer};
use medusa_core::{ChannelSettings, Piece};
use medusa_http::limits::DRAIN_BYTES;
use medusa_http::{Extension, Handled, HttpSettings, Reply};

use crate::server::{
    Pieces, Server, Shelf, Taken, Taker, Unsized, answers, assert_ended, at, echo, get, later, now,
    only, post, post_chunked, says, statuses, takes,
};

/// A server that collects at `/takes`, with its reins.
fn taking() -> (Server, Rc<RefCell<Taken>>, Shelf) {
    let (taken, shelf) = (Rc::new(RefCell::new(Taken::default())), Shelf::default());
    let list = vec![
        takes("/takes", &taken, &shelf),
        later("/later/", &shelf),
        echo("/echo"),
        now("/now", "now"),
    ];
    (Server::new(list), taken, shelf)
}

/// Lets the collector go on.
fn go_on(server: &mut Server, taken: &RefCell<Taken>) {
    taken.borrow_mut().stops = false;
    taken.borrow().waker.as_ref().expect("it was asked").wake();
    server.h.run();
}

#[test]
fn bodies_reach_their_collector() {
    for (request, expected) in [
        (post("/echo", "hello"), "5:hello"),
        (post("/echo", ""), "0:"),
        (post_chunked("/echo") + "0\r\n\r\n", "0:"),
        (post_chunked("/echo") + "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "5:hello"),
        (post_chunked("/echo") + "A;x=y\r\n0123456789\r\n0\r\n\r\n", "10:0123456789"),
        (post_chunked("/echo") + "1\r\nx\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n", "1:x X-Sum=1 Y=z"),
        (get("/echo", ""), "0:"),
    ] {
        let mut server = Server::new(vec![echo("/echo"), now("/now", "now")]);
        let all = server.ask(request.clone() + &get("/now", ""));
        assert_eq!(statuses(&all), [200, 200], "{request}");
        assert_eq!(all[0].text(), expected, "{request}");
    }
}

#[test]
fn a_large_body_is_streamed() {
    let (mut server, taken, shelf) = taking();
    let peer = server.connect();
    peer.send("POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let mut sent = 0;
    while sent < 1_000_000 {
        peer.send(vec![b'x'; 50_000]);
        sent += 50_000;
        server.h.run();
        assert_eq!(taken.borrow().bytes.len(), sent);
        assert_eq!(taken.borrow().ended, sent == 1_000_000);
    }
    shelf.reply("/takes", says("thanks"));
    assert_eq!(statuses(&server.more(&peer, get("/now", ""))), [200, 200]);
}

#[test]
fn a_collector_that_stops_stops_the_client() {
    for chunked in [false, true] {
        let (mut server, taken, shelf) = taking();
        let peer = server.connect();
        taken.borrow_mut().stops = true;
        peer.send(if chunked {
            post_chunked("/takes") + "7a120\r\n"
        } else {
            "POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n".to_owned()
        });
        peer.send(vec![b'x'; 500_000]);
        if chunked {
            peer.send("\r\n0\r\n\r\n");
        }
        peer.send(get("/now", ""));
        server.h.run();
        let before = taken.borrow().bytes.len();
        assert!(before < 200_000, "{before} bytes were pressed on a collector that stopped");
        let unread = peer.unread();
        assert!(unread > 0);
        // Woken without reason, it asks and stays stopped.
        taken.borrow().waker.as_ref().expect("it was asked").wake();
        server.h.run();
        assert_eq!((taken.borrow().bytes.len(), peer.unread()), (before, unread));
        go_on(&mut server, &taken);
        assert_eq!(taken.borrow().bytes.len(), 500_000);
        assert!(taken.borrow().ended);
        shelf.reply("/takes", says("thanks"));
        server.h.run();
        assert_eq!(statuses(&answers(&peer.take())), [200, 200], "chunked: {chunked}");
    }
}

#[test]
fn a_body_that_waits_for_its_collector_is_not_too_slow() {
    let (mut server, taken, shelf) = taking();
    let peer = server.connect();
    taken.borrow_mut().stops = true;
    peer.send("POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    server.h.advance(HttpSettings::default().body_timeout * 10);
    assert_eq!(peer.closed(), None);
    go_on(&mut server, &taken);
    peer.send("world");
    server.h.run();
    assert_eq!(taken.borrow().bytes, b"helloworld");
    shelf.reply("/takes", says("thanks"));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "thanks");
}

#[test]
fn a_body_may_be_too_slow_after_it_waited_for_its_collector() {
    let (mut server, taken, _) = taking();
    let peer = server.connect();
    taken.borrow_mut().stops = true;
    peer.send("POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    server.h.run();
    go_on(&mut server, &taken);
    server.h.advance(HttpSettings::default().body_timeout * 2);
    assert_eq!(only(answers(&peer.take())).status, 408);
    assert!(taken.borrow().dropped && !taken.borrow().ended);
}

#[test]
fn the_end_of_a_client_whose_body_waits_is_noticed_afterwards() {
    let (mut server, taken, _) = taking();
    let peer = server.connect();
    taken.borrow_mut().stops = true;
    peer.send("POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    server.h.run();
    peer.send("wor");
    peer.close_write();
    server.h.run();
    assert!(!taken.borrow().dropped);
    go_on(&mut server, &taken);
    assert_eq!(taken.borrow().bytes, b"hellowor");
    assert!(taken.borrow().dropped && !taken.borrow().ended);
    assert!(peer.is_gone());
}

#[test]
fn a_collector_that_refuses_gives_the_answer() {
    for (refused, status) in
        [(Refused::TooLarge, 413), (Refused::NoSpace, 507), (Refused::Failed("secret".into()), 500)]
    {
        for at_once in [true, false] {
            let (mut server, taken, shelf) = taking();
            let peer = server.connect();
            taken.borrow_mut().stops = !at_once;
            taken.borrow_mut().refuses = at_once.then(|| refused.clone());
            peer.send("POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
            server.h.run();
            taken.borrow_mut().refuses = Some(refused.clone());
            go_on(&mut server, &taken);
            let answer = only(answers(&peer.take()));
            assert_eq!(answer.status, status);
            assert!(answer.closes());
            assert!(!answer.text().contains("secret"));
            assert!(taken.borrow().dropped && !taken.borrow().ended);
            // An answer that comes afterwards changes nothing.
            shelf.reply("/takes", says("thanks"));
            server.h.run();
            assert_eq!(peer.take(), b"");
            assert_ended(&peer, Some(How::Fin));
        }
    }
}

#[test]
fn trailers_come_before_the_end_and_stay_apart() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let noted = order.clone();
    let mut server = Server::new(vec![at("/t", move |request, exchange| {
        assert_eq!(request.head.field("X-Sum"), None);
        let (heard, ended) = (noted.clone(), noted.clone());
        exchange.hear_trailers(move |fields| {
            let sum = fields.field("x-sum").expect("it was sent");
            heard.borrow_mut().push(format!("trailers {}", sum.escape_ascii()));
        });
        exchange.collect(Gathered::new(100, move |body| {
            ended.borrow_mut().push(format!("body {}", body.escape_ascii()));
        }));
        Handled::Now(says("ok"))
    })]);
    server.ask(post_chunked("/t") + "2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n");
    assert_eq!(order.take(), ["trailers 42", "body hi"]);
}

/// What a [`FileCollector`] writes to.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, bool, bool)>>);

impl Sink for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().expect("nobody panics").0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.lock().expect("nobody panics").1 = true;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.0.lock().expect("nobody panics").2 = true;
    }
}

fn storing(disk: &Disk) -> Rc<dyn Extension> {
    let disk = disk.clone();
    at("/store", move |request, exchange| {
        let responder = exchange.later();
        let sink = Box::new(Disk(disk.0.clone()));
        exchange.collect(FileCollector::new(sink, request.handle, exchange.waker(), |result| {
            responder.reply(match result {
                Ok(bytes) => Reply::text(201, &format!("{bytes} bytes")),
                Err(e) => Reply::text(500, &e.to_string()),
            });
        }));
        Handled::Later
    })
}

#[test]
fn an_upload_to_a_file_waits_for_the_disk() {
    let disk = Disk::default();
    let mut server = Server::new(vec![storing(&disk), now("/now", "now")]);
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send("POST /store HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n");
    peer.send(vec![b'x'; 600_000]);
    peer.send(get("/now", ""));
    server.h.run();
    assert_eq!(server.h.jobs(), 1, "one buffer is written at a time");
    let unread = peer.unread();
    assert!(unread > 200_000, "the client is stopped meanwhile");
    while server.h.jobs() > 0 {
        assert_eq!(peer.take(), b"", "the answer waits for the disk");
        server.h.run_job(0);
        server.h.run();
    }
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [201, 200]);
    assert_eq!(all[0].text(), "201 Created: 600000 bytes\n");
    let stored = disk.0.lock().expect("nobody panics");
    assert!(stored.1 && stored.0.len() == 600_000);
}

#[test]
fn an_upload_cut_short_leaves_nothing() {
    let disk = Disk::default();
    let mut server = Server::new(vec![storing(&disk)]);
    let peer = server.connect();
    peer.send("POST /store HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n");
    peer.send(vec![b'x'; 100_000]);
    server.h.run();
    peer.close_write();
    server.h.run();
    assert_eq!(only(answers(&peer.take())).status, 400);
    let (_, finished, dropped) = *disk.0.lock().expect("nobody panics");
    assert!(dropped && !finished);
}

// Bodies that nobody reads.

#[test]
fn a_short_body_that_nobody_reads_is_drained() {
    let (mut server, ..) = taking();
    for request in [
        post("/now", &"x".repeat(DRAIN_BYTES as usize)),
        post_chunked("/now") + "5\r\nhello\r\n0\r\n\r\n",
        post("/nothing", "hello"),
    ] {
        let peer = server.connect();
        let all = server.more(&peer, request + &get("/now", ""));
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].text(), "now");
        assert_ended(&peer, None);
    }
}

#[test]
fn a_long_body_that_nobody_reads_ends_the_connection() {
    let (mut server, ..) = taking();
    let peer = server.connect();
    let length = DRAIN_BYTES + 1;
    peer.send(format!("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    server.h.run();
    // It is answered before the body comes.
    let answer = only(answers(&peer.take()));
    assert!(answer.status == 200 && answer.closes());
    peer.send("x".repeat(length as usize) + &get("/now", ""));
    peer.close_write();
    server.h.run();
    assert_eq!(peer.take(), b"");
    assert_ended(&peer, Some(How::Fin));

    // In chunks, how long it is shows only later.
    let peer = server.connect();
    peer.send(post_chunked("/now") + "10001\r\n" + &"x".repeat(0x10001));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "now");
    peer.close_write();
    server.h.run();
    assert_ended(&peer, Some(How::Fin));
}

/// Such a connection was kept for as long as its client let the body trickle in.
#[test]
fn the_last_reply_does_not_wait_for_a_body_that_nobody_reads() {
    let (mut server, _, shelf) = taking();
    for path in ["/now", "/later/1"] {
        let peer = server.connect();
        peer.send(post_chunked(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        server.h.run();
        if path == "/later/1" {
            shelf.reply(path, says("late"));
            server.h.run();
        }
        assert!(only(answers(&peer.take())).closes());
        assert_ended(&peer, Some(How::Fin));
        peer.send("5\r\nhello\r\n0\r\n\r\n".to_owned() + &get("/now", ""));
        peer.close_write();
        server.h.run();
        assert_eq!(peer.take(), b"");
        assert!(peer.is_gone());
        assert_ended(&peer, Some(How::Fin));
    }
}

/// The answer was 413 when it came late, and what the extension said when it came at once.
#[test]
fn a_long_body_that_nobody_reads_does_not_change_a_late_answer() {
    let (mut server, _, shelf) = taking();
    let peer = server.connect();
    peer.send(post_chunked("/later/1") + "10001\r\n" + &"x".repeat(0x10001));
    server.h.run();
    shelf.reply("/later/1", says("late"));
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert_eq!((answer.status, answer.text()), (200, "late"));
    assert!(answer.closes());
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn a_client_that_goes_on_sending_gets_its_answer_and_no_reset() {
    let settings = HttpSettings { max_body_bytes: 1000, ..HttpSettings::default() };
    for request in [
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n".to_owned(),
        post_chunked("/echo") + "30D40\r\n",
        "POST /echo HTTP/1.1\r\nbad\r\nHost: a\r\nContent-Length: 200000\r\n\r\n".to_owned(),
        post_chunked("/echo") + "zzz\r\n",
    ] {
        let mut server =
            Server::with(vec![echo("/echo")], settings.clone(), ChannelSettings::default());
        let peer = server.connect();
        peer.send(&request);
        peer.send(vec![b'x'; 100_000]);
        server.h.run();
        let status = if request.contains("bad") || request.contains("zzz") { 400 } else { 413 };
        assert_eq!(only(answers(&peer.take())).status, status, "{request}");
        assert!(!peer.is_gone(), "the server still reads");
        peer.send(vec![b'x'; 100_000]);
        peer.close_write();
        server.h.run();
        assert!(peer.is_gone());
        assert_ended(&peer, Some(How::Fin));
    }
}

// Limits.

#[test]
fn an_extension_may_allow_less_or_more() {
    let limited = |bytes| {
        at("/limited", move |_, exchange| {
            let responder = exchange.later();
            exchange.limit_body(bytes);
            exchange.collect(Gathered::new(1000, |_| responder.reply(says("taken"))));
            Handled::Later
        })
    };
    let settings = HttpSettings { max_body_bytes: 20, ..HttpSettings::default() };
    for (limit, length, status) in [(10, 10, 200), (10, 11, 413), (30, 30, 200), (30, 31, 413)] {
        let body = "x".repeat(length);
        for request in [
            post("/limited", &body),
            post_chunked("/limited") + &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let list = vec![limited(limit)];
            let mut server = Server::with(list, settings.clone(), ChannelSettings::default());
            let answer = only(server.ask(&request));
            assert_eq!(answer.status, status, "limit {limit}: {request}");
        }
    }
}

// Expect.

/// The client is asked for its body when the collector wants it, behind the replies before it.
#[test]
fn a_client_that_waits_is_asked_when_the_collector_wants_input() {
    let (mut server, taken, shelf) = taking();
    taken.borrow_mut().stops = true;
    let peer = server.connect();
    peer.send(get("/later/1", "") + &expecting("/takes"));
    let long = HttpSettings::default().body_timeout * 2;
    server.h.advance(long);
    assert_eq!(peer.take(), b"");
    shelf.reply("/later/1", says("before"));
    server.h.advance(long);
    assert_eq!(statuses(&answers(&peer.take())), [200], "it waits for us, and is not too slow");
    go_on(&mut server, &taken);
    assert_eq!(statuses(&answers(&peer.take())), [100]);
    peer.send("hello");
    server.h.run();
    assert!(taken.borrow().ended && taken.borrow().bytes == b"hello");
    shelf.reply("/takes", says("taken"));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "taken");
    let lines = server.log.take();
    assert!(lines[1].contains("\" 200 5 "), "the 100 is not counted as content: {lines:?}");
}

#[test]
fn a_client_is_asked_behind_the_replies_before_it() {
    let (mut server, taken, shelf) = taking();
    taken.borrow_mut().stops = true;
    let peer = server.connect();
    peer.send(get("/later/1", "") + &expecting("/takes"));
    server.h.run();
    go_on(&mut server, &taken);
    assert_eq!(peer.take(), b"");
    shelf.reply("/later/1", says("before"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 100]);
}

#[test]
fn a_client_that_waits_is_not_asked_when_the_collector_refuses() {
    let (mut server, taken, shelf) = taking();
    taken.borrow_mut().stops = true;
    let peer = server.connect();
    peer.send(expecting("/takes"));
    server.h.run();
    taken.borrow_mut().refuses = Some(Refused::Told);
    shelf.reply("/takes", Reply::text(409, "no"));
    go_on(&mut server, &taken);
    let answer = only(answers(&peer.take()));
    assert_eq!((answer.status, answer.closes()), (409, true));
    assert!(taken.borrow().dropped && !taken.borrow().ended);
}

/// The head of a POST whose client waits.
fn expecting(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
}

fn sends(server: &mut Server, peer: &Peer, input: &str) -> String {
    peer.send(input);
    server.h.run();
    peer.take_text()
}

#[test]
fn a_client_that_waits_is_told_to_go_on_if_somebody_collects() {
    let (mut server, ..) = taking();
    let peer = server.connect();
    let output = sends(&mut server, &peer, &expecting("/echo"));
    assert_eq!(output, "HTTP/1.1 100 Continue\r\n\r\n");
    let output = sends(&mut server, &peer, "hello");
    assert_eq!(only(answers(output.as_bytes())).text(), "5:hello");
    assert_ended(&peer, None);
}

#[test]
fn a_client_that_waits_gets_the_final_answer_if_nobody_collects() {
    let (mut server, _, shelf) = taking();
    for path in ["/now", "/nothing", "/later/1"] {
        let peer = server.connect();
        peer.send(expecting(path));
        server.h.run();
        if path == "/later/1" {
            shelf.reply(path, says("late"));
            server.h.run();
        }
        let answer = only(answers(&peer.take()));
        assert_ne!(answer.status, 100, "{path}");
        // Whether the body comes is up to the client: what follows cannot be told from it.
        assert!(answer.closes(), "{path}");
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn a_100_stands_behind_the_replies_before_it() {
    let (mut server, _, shelf) = taking();
    let peer = server.connect();
    let output = sends(&mut server, &peer, &(get("/later/1", "") + &expecting("/echo")));
    assert_eq!(output, "");
    shelf.reply("/later/1", says("one"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 100]);
    let output = sends(&mut server, &peer, "hello");
    assert_eq!(only(answers(output.as_bytes())).text(), "5:hello");
}

#[test]
fn a_client_of_1_0_gets_no_100() {
    let (mut server, ..) = taking();
    let request = expecting("/echo").replace("1.1", "1.0");
    let output = server.ask(request + "hello");
    assert_eq!(only(output).text(), "5:hello");
}

/// The body was waited for, and the client waited for a word about it.
#[test]
fn a_100_is_sent_also_if_the_answer_is_there_at_once() {
    let taken = Rc::new(RefCell::new(Taken::default()));
    let into = taken.clone();
    let early = at("/early", move |_, exchange| {
        exchange.collect(Taker(into.clone()));
        Handled::Now(Reply::text(202, ""))
    });
    let mut server = Server::new(vec![early, now("/now", "now")]);
    let peer = server.connect();
    peer.send(expecting("/early"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [100, 202]);
    peer.send("hello".to_owned() + &get("/now", ""));
    server.h.run();
    assert!(taken.borrow().ended);
    assert_eq!(only(answers(&peer.take())).text(), "now");
}

/// The client was told to send what would be refused.
#[test]
fn a_body_that_is_too_long_by_its_length_is_refused_before_it_is_sent() {
    let small = at("/small", |_, exchange| {
        exchange.limit_body(3);
        let responder = exchange.later();
        exchange.collect(Gathered::new(3, |_| responder.reply(says("never"))));
        Handled::Later
    });
    let mut server = Server::new(vec![small]);
    let answer = only(server.ask(expecting("/small")));
    assert_eq!(answer.status, 413);
    assert!(answer.closes());
}

#[test]
fn an_empty_body_needs_no_100() {
    let (mut server, ..) = taking();
    let request = expecting("/echo").replace("Length: 5", "Length: 0");
    assert_eq!(only(server.ask(request)).text(), "0:");
}

/// A client that waits for its 100 was timed out while the 100 waited for another reply.
#[test]
fn the_body_is_not_too_slow_while_its_100_waits() {
    let (mut server, _, shelf) = taking();
    let patience = HttpSettings::default().body_timeout;
    let peer = server.connect();
    peer.send(get("/later/1", "") + &expecting("/echo"));
    server.h.advance(patience * 5 / 2);
    assert_eq!(peer.take(), b"");
    shelf.reply("/later/1", says("one"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 100]);
    server.h.advance(patience * 3 / 4);
    assert_eq!(peer.take(), b"", "the time counts from the 100");
    server.h.advance(patience);
    assert_eq!(only(answers(&peer.take())).status, 408);
}

#[test]
fn a_reply_may_stream_while_its_body_still_comes() {
    let taken = Rc::new(RefCell::new(Taken::default()));
    let into = taken.clone();
    let mut server = Server::new(vec![
        at("/both", move |_, exchange| {
            exchange.collect(Taker(into.clone()));
            let pieces = vec![Piece::Bytes("early".into())];
            Handled::Now(Reply::new(200).producer(Unsized(Pieces { pieces, fails: false })))
        }),
        now("/now", "now"),
    ]);
    let peer = server.connect();
    peer.send(post_chunked("/both") + "5\r\nhello\r\n");
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "early");
    assert_eq!(taken.borrow().bytes, b"hello");
    let all = server.more(&peer, "0\r\n\r\n".to_owned() + &get("/now", ""));
    assert_eq!(only(all).text(), "now");
    assert!(taken.borrow().ended);
}

#[test]
fn a_close_delimited_reply_that_has_left_ends_the_connection_behind_the_body() {
    let (mut server, taken, shelf) = taking();
    let peer = server.connect();
    let lines = "Connection: keep-alive\r\nContent-Length: 10";
    peer.send(format!("POST /takes HTTP/1.0\r\n{lines}\r\n\r\nhello"));
    server.h.run();
    let pieces = vec![Piece::Bytes("early".into())];
    shelf.reply("/takes", Reply::new(200).producer(Pieces { pieces, fails: false }));
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "early");
    peer.send("world".to_owned() + &get("/now", ""));
    server.h.run();
    assert!(taken.borrow().ended);
    assert_eq!(peer.take(), b"");
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn a_responder_inside_a_collector_learns_that_its_client_went() {
    struct Holds(medusa_http::Responder, Rc<RefCell<Option<bool>>>);
    impl medusa_core::collector::Collector for Holds {
        fn collect(&mut self, _: &[u8]) -> Result<medusa_core::collector::Flow, Refused> {
            self.flow()
        }
        fn flow(&self) -> Result<medusa_core::collector::Flow, Refused> {
            Ok(medusa_core::collector::Flow::Go)
        }
        fn end(self: Box<Self>) {}
    }
    impl Drop for Holds {
        fn drop(&mut self) {
            self.1.replace(Some(self.0.is_wanted()));
        }
    }
    let wanted = Rc::new(RefCell::new(None));
    let tell = wanted.clone();
    let mut server = Server::new(vec![at("/u", move |_, exchange| {
        let holds = Holds(exchange.later(), tell.clone());
        exchange.collect(holds);
        Handled::Later
    })]);
    let peer = server.connect();
    peer.send("POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    server.h.run();
    peer.reset();
    server.h.run();
    assert_eq!(wanted.take(), Some(false));
}
