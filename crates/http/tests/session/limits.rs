//! What clients are held to: requests in a time, connections, bandwidth, sizes, least rates; and
//! that they see why.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_core::inspect::{Outcome, Value};
use medusa_core::testing::How;
use medusa_core::{ChannelSettings, Clients, Peer, Rate, ServerLimitOptions, Service};
use medusa_http::extensions::{BodyLimit, RateLimit, RateLimitOptions};
use medusa_http::limits::{DRAIN_BYTES, READY_BYTES};
use medusa_http::{Body, Extension, HttpLimits, HttpSettings, Reply};

use crate::server::{
    Answer, Server, Shelf, answers, assert_ended, at, echo, get, later, now, only, post,
    post_chunked, says, statuses,
};

const SECOND: Duration = Duration::from_secs(1);

fn rate(amount: u64, burst: u64) -> Rate {
    Rate::new(amount, SECOND, burst).expect("within the limits")
}

fn asking(rate: Rate) -> HttpLimits {
    HttpLimits { requests: Some(RateLimitOptions::new(rate)), ..HttpLimits::default() }
}

fn figure(server: &mut Server, name: &str) -> Option<Value> {
    let handle = server.h.handle();
    handle.mount("http", server.service.inspect());
    match server.h.inspect("http") {
        Outcome::Node(node) => node.value(name).cloned(),
        _ => None,
    }
}

fn from(ip: [u8; 4]) -> Peer {
    Peer::V4(ip.into(), 1)
}

#[test]
fn a_client_that_asks_too_often_is_told_when_to_come_again() {
    let mut server = Server::new(vec![now("/now", "now")]);
    server.service.set_limits(asking(Rate::new(1, SECOND * 4, 3).expect("right")));
    let peer = server.connect();
    let all = server.more(&peer, get("/now", "").repeat(5));
    assert_eq!(statuses(&all), [200, 200, 200, 429, 429]);
    assert_eq!(all[3].field("Retry-After"), Some("4"));
    assert!(!all[4].closes(), "it may ask again here");
    assert!(server.log.take()[4].contains(" 429 "));
    // Another client, and whatever is no client.
    for other in [from([10, 0, 0, 1]), Peer::Unix] {
        let peer = server.h.accept_from(&server.service, other).expect("it is accepted");
        assert_eq!(statuses(&server.more(&peer, get("/now", ""))), [200]);
    }
    server.h.advance(Duration::from_millis(2500));
    let again = only(server.more(&peer, get("/now", "")));
    assert_eq!((again.status, again.field("Retry-After")), (429, Some("2")));
    server.h.advance(Duration::from_millis(1500));
    assert_eq!(statuses(&server.more(&peer, get("/now", "").repeat(2))), [200, 429]);
    assert_eq!(figure(&mut server, "limited"), Some(Value::Count(4)));
    assert_eq!(figure(&mut server, "clients asking"), Some(Value::Count(2)));
    // The same limit again forgets nothing; another one begins anew.
    server.service.set_limits(asking(Rate::new(1, SECOND * 4, 3).expect("right")));
    assert_eq!(statuses(&server.more(&peer, get("/now", ""))), [429]);
    server.service.set_limits(HttpLimits::default());
    assert_eq!(statuses(&server.more(&peer, get("/now", "").repeat(50))), [200; 50]);
}

#[test]
fn a_refused_request_has_its_body_read_as_any_that_nobody_wants() {
    let mut server = Server::new(vec![echo("/echo"), now("/now", "now")]);
    server.service.set_limits(asking(Rate::new(1, SECOND * 1000, 1).expect("right")));
    let peer = server.connect();
    let all = server.more(&peer, get("/now", "") + &post("/echo", "hello") + &get("/now", ""));
    assert_eq!(statuses(&all), [200, 429, 429]);
    assert_ended(&peer, None);
    let long = "x".repeat(DRAIN_BYTES as usize + 1);
    let all = server.more(&peer, post("/echo", &long));
    assert_eq!(statuses(&all), [429]);
    assert!(only(all).closes());
}

/// A limit as an extension holds for what stands behind it, and has a count of its own.
#[test]
fn a_rate_limit_may_stand_anywhere_in_the_list() {
    let limit = Rc::new(RateLimit::named("tries", RateLimitOptions::new(rate(1, 2))));
    let tree = limit.inspect();
    let list: Vec<Rc<dyn Extension>> =
        vec![now("/free", "free"), limit, now("/held", "held"), echo("/echo")];
    let mut server = Server::new(list);
    let peer = server.connect();
    let all = server.more(&peer, get("/free", "").repeat(9) + &get("/held", "").repeat(3));
    assert_eq!(statuses(&all)[8..], [200, 200, 200, 429]);
    assert_eq!(statuses(&server.more(&peer, post("/echo", "x"))), [429]);
    server.h.advance(SECOND);
    assert_eq!(only(server.more(&peer, post("/echo", "x"))).text(), "1:x");
    let node = tree.node();
    assert_eq!(node.value("limited"), Some(&Value::Count(2)));
    assert_eq!(node.value("rate"), Some(&Value::Text("1/s, 2 at once".to_owned())));
    assert_eq!(figure(&mut server, "limited"), Some(Value::Count(2)));
}

#[test]
fn one_connection_too_many_is_refused_in_words_of_http() {
    let mut server = Server::new(vec![now("/now", "now")]);
    let options = ServerLimitOptions {
        connections_a_client: Some(2),
        clients: Clients::new(24, 64, Vec::new()).expect("right"),
        ..Default::default()
    };
    server.service.set_limits(HttpLimits { server: options, ..HttpLimits::default() });
    let mut connect = |ip| server.h.accept_from(&server.service, from(ip));
    let held = (connect([10, 0, 0, 1]), connect([10, 0, 0, 2]));
    assert!(held.0.is_some() && held.1.is_some());
    assert!(connect([10, 0, 0, 3]).is_none() && connect([10, 0, 1, 1]).is_some());
    assert_eq!(figure(&mut server, "turned away"), Some(Value::Count(1)));
    assert_eq!(figure(&mut server, "clients"), Some(Value::Count(2)));
    let answer = only(answers(server.service.refusal()));
    assert!(answer.status == 503 && answer.closes() && answer.whole);
    assert!(answer.field("Retry-After").is_some());
}

#[test]
fn replies_leave_at_the_bandwidth_of_connection_and_server() {
    let large = || at("/large", |_, _| medusa_http::Handled::Now(says("x".repeat(100_000))));
    let own = ChannelSettings { send_rate: Some(rate(10_000, 5000)), ..Default::default() };
    let mut server = Server::with(vec![large()], HttpSettings::default(), own);
    let shared = ServerLimitOptions { send_rate: Some(rate(15_000, 5000)), ..Default::default() };
    server.service.set_limits(HttpLimits { server: shared, ..HttpLimits::default() });
    let peers = [server.connect(), server.connect()];
    for peer in &peers {
        peer.send(get("/large", ""));
    }
    let got = |i: usize| peers[i].received().len();
    for second in 0..20 {
        server.h.run();
        let (a, b) = (got(0), got(1));
        assert!(a.max(b) <= 5000 + 10_000 * second && a + b <= 5000 + 15_000 * second);
        assert!(a + b + 6 * 1024 >= 15_000 * second.min(13), "{a} and {b} in {second} s");
        server.h.advance(SECOND);
    }
    assert!(peers.iter().all(|peer| only(answers(&peer.take())).whole));
}

#[test]
fn a_body_that_falls_behind_its_least_rate_gets_a_408() {
    let settings =
        HttpSettings { min_body_rate: 100, body_timeout: SECOND * 10, ..Default::default() };
    for (bytes_a_second, is_slow) in [(50, true), (99, true), (101, false), (5000, false)] {
        for chunked in [false, true] {
            let channel = ChannelSettings::default();
            let mut server = Server::with(vec![echo("/echo")], settings.clone(), channel);
            let head = if chunked {
                post_chunked("/echo") + "F4240\r\n"
            } else {
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".to_owned()
            };
            let (peer, _) = server.send(head);
            for _ in 0..1200 {
                server.h.advance(SECOND);
                peer.send("x".repeat(bytes_a_second));
                server.h.run();
            }
            let all = answers(&peer.take());
            assert_eq!(all.iter().any(|a| a.status == 408), is_slow, "{bytes_a_second}");
            let slow = u64::from(is_slow);
            assert_eq!(figure(&mut server, "slow"), Some(Value::Count(slow)));
        }
    }
}

/// A trickle of single bytes lives as long as the time in which it may fall behind, not for ever.
#[test]
fn a_trickle_of_single_bytes_is_a_slow_body() {
    let mut server = Server::new(vec![echo("/echo")]);
    let (peer, _) =
        server.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    for second in 0..60 {
        peer.send("x");
        server.h.advance(SECOND);
        let over = !peer.received().is_empty();
        assert_eq!(over, second >= 30, "at {second} s");
    }
    assert_eq!(only(answers(&peer.take())).status, 408);
}

/// While we hold the input back, it is not the client that is slow.
#[test]
fn a_body_is_not_slow_because_we_read_it_slowly() {
    let settings =
        HttpSettings { min_body_rate: 5000, body_timeout: SECOND * 3, ..Default::default() };
    let channel = ChannelSettings { receive_rate: Some(rate(100, 2000)), ..Default::default() };
    let mut server = Server::with(vec![echo("/echo")], settings, channel);
    let (peer, _) = server.send(post("/echo", &"x".repeat(6000)));
    server.h.advance(SECOND * 30);
    assert_eq!(peer.take(), b"");
    server.h.advance(SECOND * 30);
    assert!(only(answers(&peer.take())).text().starts_with("6000:"));
}

#[test]
fn a_client_that_takes_its_reply_too_slowly_is_dropped_and_logged() {
    let large = at("/large", |_, _| medusa_http::Handled::Now(says("x".repeat(1_000_000))));
    let channel = ChannelSettings { min_send_rate: 1000, stall: SECOND * 20, ..Default::default() };
    let mut server = Server::with(vec![large], HttpSettings::default(), channel);
    let peer = server.connect();
    peer.set_write_room(5000);
    peer.send(get("/large", ""));
    for _ in 0..21 {
        server.h.advance(SECOND);
        peer.grant(900);
    }
    server.h.run();
    assert_ended(&peer, Some(How::Reset));
    assert_eq!(figure(&mut server, "slow"), Some(Value::Count(1)));
    let [line] = server.log.take().try_into().expect("one line");
    assert!(line.contains(" 200 ") && line.ends_with(" aborted"), "{line}");
}

#[test]
fn the_size_of_bodies_can_be_set_for_some_requests() {
    let settings = HttpSettings { max_body_bytes: 100, ..Default::default() };
    for (limit, fits) in [(50_u64, 50_usize), (0, 0), (1000, 1000)] {
        let list: Vec<Rc<dyn Extension>> =
            vec![echo("/before"), Rc::new(BodyLimit::new(limit)), echo("/behind")];
        let ask = |path: &str, bytes: usize, chunked: bool| -> Answer {
            let body = "x".repeat(bytes);
            let mut server =
                Server::with(list.clone(), settings.clone(), ChannelSettings::default());
            let request = if chunked {
                let chunk = if bytes > 0 { format!("{bytes:x}\r\n{body}\r\n") } else { body };
                post_chunked(path) + &chunk + "0\r\n\r\n"
            } else {
                post(path, &body)
            };
            only(server.ask(request))
        };
        for chunked in [false, true] {
            assert_eq!(ask("/before", 100, chunked).status, 200);
            assert_eq!(ask("/before", 101, chunked).status, 413);
            assert_eq!(ask("/behind", fits, chunked).status, 200, "{limit} {chunked}");
            let over = ask("/behind", fits + 1, chunked);
            assert!(over.status == 413 && over.closes(), "{limit} {chunked}");
        }
    }
}

/// Large replies that are ready behind one that is not are bounded by their bytes.
#[test]
fn requests_wait_when_too_much_is_ready_that_cannot_leave() {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    let large = at("/large", move |_, exchange| {
        count.set(count.get() + 1);
        let body = Body::Bytes(Bytes::from(vec![b'x'; READY_BYTES / 4]));
        exchange.later().reply(Reply::new(200).body(body));
        medusa_http::Handled::Later
    });
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf), large, now("/now", "now")]);
    let (peer, output) = server.send(get("/later/1", "") + &get("/large", "").repeat(20));
    assert_eq!((output.len(), asked.get()), (0, 4), "four make the bound");
    shelf.reply("/later/1", says("one"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!((all.len(), asked.get()), (21, 20));
    assert!(all.iter().all(|answer| answer.status == 200 && answer.whole));
    assert_eq!(statuses(&server.more(&peer, get("/now", ""))), [200]);
}
