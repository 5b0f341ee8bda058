//! What happens when nothing does: timeouts, and the end of the server.

use std::time::Duration;

use medusa_core::ChannelSettings;
use medusa_core::testing::How;
use medusa_http::HttpSettings;

use crate::server::{
    Answer, Bench, Feeds, Server, Shelf, answers, assert_ended, echo, fed, get, later, now, only,
    post_chunked, says, statuses, undecided,
};

const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(40);
const STALL: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(100);

fn just_before(time: Duration) -> Duration {
    time.saturating_sub(MOMENT)
}

fn server(shelf: &Shelf) -> Server {
    let settings = HttpSettings {
        head_timeout: HEAD,
        body_timeout: BODY,
        // What counts here is that something moves; how much must stands in `limits`.
        min_body_rate: 0,
        keep_alive: IDLE,
        ..HttpSettings::default()
    };
    let channel = ChannelSettings { stall: STALL, min_send_rate: 0, ..ChannelSettings::default() };
    let list = vec![
        later("/later/", shelf),
        now("/now", "now"),
        echo("/echo"),
        crate::server::at("/large", |_, _| medusa_http::Handled::Now(says("x".repeat(1_000_000)))),
    ];
    Server::with(list, settings, channel)
}

#[test]
fn a_client_that_says_nothing_is_left_silently() {
    let mut server = server(&Shelf::default());
    let peer = server.connect();
    server.h.advance(just_before(HEAD));
    assert_ended(&peer, None);
    server.h.advance(MOMENT * 2);
    assert_eq!(peer.take(), b"");
    assert!(peer.is_gone());
    assert_eq!(server.log.take().len(), 0);
}

#[test]
fn a_head_that_comes_too_slowly_gets_a_408() {
    for bytewise in [false, true] {
        let mut server = server(&Shelf::default());
        let peer = server.connect();
        peer.send("GET /now HTT");
        if bytewise {
            for byte in "P/1.1\r\nX".bytes() {
                server.h.advance(Duration::from_secs(1));
                peer.send([byte]);
            }
        }
        server.h.advance(Duration::from_secs(1));
        assert_eq!(peer.take(), b"");
        server.h.advance(HEAD);
        let answer = only(answers(&peer.take()));
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let mut server = server(&Shelf::default());
    let (peer, _) = server.send(get("/now", ""));
    server.h.advance(just_before(IDLE));
    assert_eq!(statuses(&server.more(&peer, get("/now", ""))), [200]);
    server.h.advance(just_before(IDLE));
    assert_ended(&peer, None);
    server.h.advance(MOMENT * 2);
    assert_eq!(peer.take(), b"");
    assert!(peer.is_gone());
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn a_later_head_that_comes_too_slowly_gets_a_408() {
    let mut server = server(&Shelf::default());
    let (peer, _) = server.send(get("/now", ""));
    peer.send("GET");
    // It has what is left of the idle time, and the time of a head.
    server.h.advance(IDLE + MOMENT);
    assert_eq!(peer.take(), b"");
    server.h.advance(HEAD);
    assert_eq!(only(answers(&peer.take())).status, 408);
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn a_body_that_comes_too_slowly_gets_a_408() {
    for head in [
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n".to_owned(),
        post_chunked("/echo"),
        post_chunked("/echo") + "5\r\n",
    ] {
        let mut server = server(&Shelf::default());
        let (peer, _) = server.send(&head);
        server.h.advance(just_before(BODY));
        assert_eq!(peer.take(), b"");
        server.h.advance(MOMENT * 2);
        let answer = only(answers(&peer.take()));
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn a_body_that_keeps_coming_is_not_too_slow() {
    let mut server = server(&Shelf::default());
    let (peer, _) = server.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    for byte in *b"hello" {
        server.h.advance(just_before(BODY));
        peer.send([byte]);
    }
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "5:hello");
}

#[test]
fn a_408_stands_behind_the_replies_before_it() {
    let shelf = Shelf::default();
    let mut server = server(&shelf);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe";
    let (peer, _) = server.send(get("/later/1", "") + head);
    server.h.advance(BODY * 2);
    assert_eq!(peer.take(), b"");
    shelf.reply("/later/1", says("one"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 408]);
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn no_time_runs_while_a_reply_is_awaited() {
    for partial in ["", "GET /no"] {
        let shelf = Shelf::default();
        let mut server = server(&shelf);
        let (peer, _) = server.send(get("/later/1", "") + partial);
        server.h.advance((HEAD + BODY + IDLE + STALL) * 3);
        assert_ended(&peer, None);
        shelf.reply("/later/1", says("one"));
        server.h.run();
        assert_eq!(only(answers(&peer.take())).text(), "one");
        // From here on it runs again.
        server.h.advance(IDLE + HEAD + MOMENT);
        let all = answers(&peer.take());
        assert_eq!(statuses(&all), if partial.is_empty() { &[][..] } else { &[408] });
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn a_client_that_stops_reading_is_dropped() {
    let mut server = server(&Shelf::default());
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/large", ""));
    server.h.advance(just_before(STALL));
    peer.grant(1);
    server.h.advance(just_before(STALL));
    assert!(!peer.is_gone());
    server.h.advance(MOMENT * 3);
    assert!(peer.is_gone());
    assert_ended(&peer, Some(How::Reset));
    let line = only_line(&server);
    let sent = peer.take();
    let head = crate::server::find(&sent, b"\r\n\r\n").expect("a head") + 4;
    assert!(line.contains(&format!(" 200 {} ", sent.len() - head)), "{line}");
    assert!(line.ends_with(" aborted"), "{line}");
}

fn only_line(server: &Server) -> String {
    let [line] = server.log.take().try_into().expect("one line");
    line
}

#[test]
fn a_slow_but_steady_reader_is_served() {
    let mut server = server(&Shelf::default());
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/large", ""));
    for _ in 0..20 {
        server.h.advance(STALL / 2);
        peer.grant(50_100);
    }
    server.h.run();
    assert!(only(answers(&peer.take())).whole);
}

#[test]
fn a_stream_that_has_nothing_to_say_is_not_stalled() {
    let feeds = Feeds::default();
    let mut server = Server::new(vec![fed("/fed", &feeds, 1000, 10)]);
    let (peer, _) = server.send(get("/fed", ""));
    server.h.advance(Duration::from_secs(24 * 3600));
    let push = feeds.borrow_mut().pop().expect("it was asked");
    _ = push.push("at last").expect("there is room");
    push.end();
    server.h.run();
    let output = peer.take();
    assert!(crate::server::find(&output, b"at last").is_some());
    assert_ended(&peer, None);
}

// The end of the server.

fn shut_down(server: &mut Server) {
    server.h.handle().shutdown(Duration::from_secs(30));
    server.h.run();
}

#[test]
fn a_shutdown_closes_idle_connections() {
    let mut server = server(&Shelf::default());
    let fresh = server.connect();
    let (used, _) = server.send(get("/now", ""));
    let (partial, _) = server.send("GET /no");
    shut_down(&mut server);
    for peer in [fresh, used, partial] {
        assert!(peer.is_gone());
        assert_eq!(peer.take(), b"");
    }
    assert!(server.h.has_stopped());
}

#[test]
fn a_shutdown_finishes_replies_in_flight() {
    let shelf = Shelf::default();
    let mut server = server(&shelf);
    let peer = server.connect();
    peer.send(get("/later/1", "") + &get("/later/2", ""));
    server.h.run();
    let slow = server.connect();
    slow.set_write_room(100);
    slow.send(get("/large", ""));
    server.h.run();
    shut_down(&mut server);
    peer.send(get("/now", ""));
    server.h.run();
    assert!(!server.h.has_stopped());
    shelf.reply("/later/1", says("one"));
    server.h.run();
    shelf.reply("/later/2", says("two"));
    slow.grant_all();
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["one", "two"]);
    assert!(!all[0].closes() && all[1].closes());
    assert!(only(answers(&slow.take())).whole);
    for peer in [peer, slow] {
        peer.close_write();
        server.h.run();
        assert_ended(&peer, Some(How::Fin));
    }
    assert!(server.h.has_stopped());
}

#[test]
fn a_shutdown_finishes_an_upload() {
    let mut server = server(&Shelf::default());
    let (peer, _) = server.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    shut_down(&mut server);
    peer.send("llo".to_owned() + &get("/now", ""));
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert!(answer.text() == "5:hello" && answer.closes());
    peer.close_write();
    server.h.run();
    assert!(server.h.has_stopped());
}

#[test]
fn a_shutdown_does_not_wait_longer_than_its_grace() {
    let shelf = Shelf::default();
    let mut server = server(&shelf);
    let (_peer, _) = server.send(get("/later/1", ""));
    shut_down(&mut server);
    server.h.advance(Duration::from_secs(29));
    assert!(!server.h.has_stopped());
    server.h.advance(Duration::from_secs(2));
    assert!(server.h.has_stopped());
}

// Another process takes over.

const RETIRE_IDLE: Duration = Duration::from_secs(10);

fn retire(server: &mut Server) {
    server.h.handle().retire(Duration::from_secs(3600), || ());
    server.h.run();
}

#[test]
fn a_retiring_connection_answers_one_more_request_and_says_that_it_is_the_last() {
    let mut server = server(&Shelf::default());
    let fresh = server.connect();
    let (used, _) = server.send(get("/now", ""));
    let (partial, _) = server.send("GET /no");
    let (body, _) = server.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    retire(&mut server);
    for (peer, rest) in
        [(&fresh, get("/now", "")), (&used, get("/now", "")), (&partial, get("w", "")[4..].into())]
    {
        assert_ended(peer, None);
        peer.send(rest);
        server.h.run();
        let answer = only(answers(&peer.take()));
        assert!(answer.text() == "now" && answer.closes(), "{answer:?}");
        peer.close_write();
        server.h.run();
        assert_ended(peer, Some(How::Fin));
    }
    body.send("llo");
    server.h.run();
    let answer = only(answers(&body.take()));
    assert!(answer.text() == "5:hello" && answer.closes());
    body.close_write();
    server.h.run();
    assert!(server.h.has_stopped());
}

#[test]
fn a_reply_in_flight_that_promised_more_is_not_the_last() {
    let mut server = server(&Shelf::default());
    let slow = server.connect();
    slow.set_write_room(100);
    slow.send(get("/large", ""));
    server.h.run();
    retire(&mut server);
    slow.grant_all();
    server.h.run();
    assert!(!only(answers(&slow.take())).closes());
    assert_ended(&slow, None);
    let answer = only(server.more(&slow, get("/now", "")));
    assert!(answer.text() == "now" && answer.closes());
}

#[test]
fn a_late_reply_that_is_not_written_yet_is_the_last() {
    let shelf = Shelf::default();
    let mut server = server(&shelf);
    let (peer, _) = server.send(get("/later/1", "") + &get("/later/2", ""));
    retire(&mut server);
    shelf.reply("/later/1", says("one"));
    shelf.reply("/later/2", says("two"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["one", "two"]);
    assert!(!all[0].closes() && all[1].closes());
    peer.close_write();
    server.h.run();
    assert!(server.h.has_stopped());
}

#[test]
fn the_reply_to_an_undecided_request_is_the_last() {
    for pass in [true, false] {
        let bench = Bench::default();
        let mut server = Server::new(vec![undecided("/", &bench), now("/", "now")]);
        let (peer, _) = server.send(get("/1", ""));
        retire(&mut server);
        assert_ended(&peer, None);
        if pass {
            bench.take().pass();
        } else {
            bench.take().reply(says("no"));
        }
        server.h.run();
        let answer = only(answers(&peer.take()));
        assert!(answer.text() == if pass { "now" } else { "no" } && answer.closes());
        peer.close_write();
        server.h.run();
        assert!(server.h.has_stopped());
    }
}

#[test]
fn a_retiring_connection_that_stays_idle_ends_without_a_reset() {
    let mut server = server(&Shelf::default());
    let fresh = server.connect();
    let (used, _) = server.send(get("/now", ""));
    retire(&mut server);
    server.h.advance(just_before(RETIRE_IDLE));
    for peer in [&fresh, &used] {
        assert_ended(peer, None);
    }
    server.h.advance(MOMENT * 2);
    for peer in [&fresh, &used] {
        // What its client sends now is read and thrown away, so that it sees an ordinary end.
        peer.send(get("/now", ""));
        peer.close_write();
        server.h.run();
        assert_eq!(peer.take(), b"");
        assert_ended(peer, Some(How::Fin));
    }
    assert!(server.h.has_stopped());
}

#[test]
fn a_server_that_retires_can_still_be_shut_down() {
    let mut server = server(&Shelf::default());
    let (idle, _) = server.send(get("/now", ""));
    let slow = server.connect();
    slow.set_write_room(100);
    slow.send(get("/large", ""));
    server.h.run();
    retire(&mut server);
    shut_down(&mut server);
    assert!(idle.is_gone() && !server.h.has_stopped());
    slow.grant_all();
    server.h.run();
    assert!(only(answers(&slow.take())).whole);
    server.h.advance(Duration::from_secs(31));
    assert!(server.h.has_stopped());
}
