//! Requests that we make: connections on the harness, with scripted servers at the far end.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::collector::{Collector, Flow, Gathered, Refused};
use medusa_core::inspect::{Outcome, Value};
use medusa_core::testing::{Harness, Peer};
use medusa_core::{Address, Bytes, Close, Context, Frame, Producer, Protocol, Waker};
use medusa_http::Body;
use medusa_http::client::{
    Answer, BadRequest, Call, Client, ClientRequest, ClientSettings, Failed, Found, Lookup,
    MAX_INTERIM, Target,
};
use medusa_http::wire::head::Method;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Nothing,
    Head(u16),
    Whole(u16, String),
    CutShort(u16),
    Failed(String),
}

type Slot = Rc<RefCell<Heard>>;

/// Names that are found as the test says.
struct Names(Rc<RefCell<Vec<(String, Found)>>>);

impl Lookup for Names {
    fn look_up(&self, host: &str, port: u16, then: Found) {
        self.0.borrow_mut().push((format!("{host}:{port}"), then));
    }
}

struct World {
    h: Harness,
    client: Client,
    names: Rc<RefCell<Vec<(String, Found)>>>,
}

fn address(port: u16) -> Address {
    Address::Inet(([192, 0, 2, 1], port).into())
}

fn target() -> Target {
    Target::new("192.0.2.1", 80)
}

/// Notes a body that is dropped before its end.
struct Noted {
    inside: Option<Box<dyn Collector>>,
    slot: Slot,
}

impl Collector for Noted {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        self.inside.as_mut().expect("it has not ended").collect(part)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(Flow::Go)
    }

    fn end(mut self: Box<Self>) {
        self.inside.take().expect("it has not ended").end();
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.inside.is_some() {
            let Heard::Head(status) = *self.slot.borrow() else { panic!("there was a head") };
            self.slot.replace(Heard::CutShort(status));
        }
    }
}

impl World {
    fn new() -> Self {
        Self::with(ClientSettings::default())
    }

    fn with(settings: ClientSettings) -> Self {
        let h = Harness::new();
        let names = Rc::default();
        let client = Client::new(&h.handle(), settings, Box::new(Names(Rc::clone(&names))));
        Self { h, client, names }
    }

    fn send_to(&mut self, target: Target, request: ClientRequest) -> (Slot, Call) {
        let slot: Slot = Rc::new(RefCell::new(Heard::Nothing));
        let to = slot.clone();
        let then = move |answer: Result<Answer<'_>, Failed>| -> Option<Box<dyn Collector>> {
            match answer {
                Ok(answer) => {
                    let status = answer.head.status;
                    to.replace(Heard::Head(status));
                    let slot = to.clone();
                    let whole = move |body: Vec<u8>| {
                        to.replace(Heard::Whole(status, String::from_utf8(body).unwrap()));
                    };
                    let inside = Box::new(Gathered::new(1 << 20, whole));
                    Some(Box::new(Noted { inside: Some(inside), slot }))
                }
                Err(why) => {
                    to.replace(Heard::Failed(why.to_string()));
                    None
                }
            }
        };
        let call = self.client.send(target, request, then);
        self.h.run();
        (slot, call)
    }

    fn send(&mut self, request: ClientRequest) -> Slot {
        self.send_to(target(), request).0
    }

    fn get(&mut self) -> Slot {
        self.send(get("/"))
    }

    /// Lets the connection stand that was asked for.
    fn accept(&mut self) -> Peer {
        let peer = self.h.take_connect().expect("a connection is asked for").accept(&mut self.h);
        self.h.run();
        peer
    }

    /// A kept connection, which has served one request.
    fn kept(&mut self) -> Peer {
        let slot = self.get();
        let peer = self.accept();
        peer.take();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        self.h.run();
        assert_eq!(*slot.borrow(), Heard::Whole(200, "ok".to_owned()));
        assert_eq!(self.counts(), (1, 1));
        peer
    }

    /// Connections, and those of them that are kept.
    fn counts(&self) -> (usize, usize) {
        (self.client.connections(), self.client.idle())
    }
}

fn get(path: &str) -> ClientRequest {
    ClientRequest::build(Method::Get, "host", path).end().expect("it can be made")
}

fn post(body: Body) -> ClientRequest {
    ClientRequest::build(Method::Post, "host", "/").body(body).end().expect("it can be made")
}

fn failed(slot: &Slot) -> String {
    match &*slot.borrow() {
        Heard::Failed(why) => why.clone(),
        other => panic!("it has not failed: {other:?}"),
    }
}

#[test]
fn requests_are_written_as_a_server_reads_them() {
    let mut w = World::new();
    let request = ClientRequest::build(Method::Post, "host:81", "/a?b")
        .field("X-A", "1")
        .unwrap()
        .body(Body::Bytes("hello".into()))
        .end()
        .unwrap();
    w.send(request);
    let peer = w.accept();
    let expected =
        "POST /a?b HTTP/1.1\r\nHost: host:81\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(peer.take_text(), expected);
}

#[test]
fn what_would_split_or_frame_a_request_is_refused() {
    for (host, target) in [
        ("a b", "/"),
        ("a\r\nX: y", "/"),
        ("a\r\n\r\n", "/"),
        ("a", "/ HTTP/1.1\r\nX: y"),
        ("a", ""),
    ] {
        assert!(ClientRequest::build(Method::Get, host, target).end().is_err(), "{host} {target}");
    }
    for (name, value) in [
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("Host", "b"),
        ("Connection", "close"),
        ("A", "b\r\nC: d"),
        ("A b", "c"),
    ] {
        let built = ClientRequest::build(Method::Get, "a", "/").field(name, value);
        assert!(matches!(built, Err(BadRequest::Field(_))), "{name}");
    }
    let many =
        (0..101).try_fold(ClientRequest::build(Method::Get, "a", "/"), |b, _| b.field("A", "b"));
    assert!(many.unwrap().end().is_err());
}

#[test]
fn answers_are_the_same_at_every_split() {
    let answers = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true),
        (
            "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n",
            true,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", false),
    ];
    for (answer, kept) in answers {
        for at in 1..answer.len() {
            let mut w = World::new();
            let slot = w.get();
            let peer = w.accept();
            peer.send_split(answer, &[at]);
            w.h.run();
            if !kept {
                peer.close_write();
                w.h.run();
            }
            assert_eq!(*slot.borrow(), Heard::Whole(200, "hello".to_owned()), "{answer} at {at}");
            assert_eq!(w.counts(), (usize::from(kept), usize::from(kept)), "{answer} at {at}");
        }
    }
}

#[test]
fn a_kept_connection_serves_one_request_after_another() {
    let mut w = World::new();
    let peer = w.kept();
    for _ in 0..3 {
        let slot = w.get();
        assert!(w.h.take_connect().is_none());
        assert!(peer.take_text().starts_with("GET / HTTP/1.1\r\n"));
        assert_eq!(w.counts(), (1, 0));
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        w.h.run();
        assert_eq!(*slot.borrow(), Heard::Whole(204, String::new()));
    }
    w.h.advance(ClientSettings::default().idle_time);
    w.h.advance(Duration::from_millis(10));
    assert_eq!(w.counts(), (0, 0));
    assert!(peer.is_gone());
}

#[test]
fn a_connection_with_bytes_that_nobody_asked_for_is_never_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
        "HTTP/1.1 204 No Content\r\n\r\nx",
    ] {
        for at in 1..=answer.len() {
            let mut w = World::new();
            let slot = w.get();
            let peer = w.accept();
            peer.send_split(answer, &[at]);
            w.h.run();
            assert!(matches!(*slot.borrow(), Heard::Whole(..)));
            assert_eq!(w.counts(), (0, 0), "{answer} at {at}");
            w.get();
            assert!(w.h.take_connect().is_some());
        }
    }
    let mut w = World::new();
    let peer = w.kept();
    peer.send("x");
    w.h.run();
    assert_eq!(w.counts(), (0, 0));
}

#[test]
fn connections_are_not_kept_that_cannot_be() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let mut w = World::new();
        let slot = w.get();
        w.accept().send(answer);
        w.h.run();
        assert_eq!(*slot.borrow(), Heard::Whole(200, "ok".to_owned()));
        assert_eq!(w.counts(), (0, 0));
    }
}

#[test]
fn a_safe_request_is_repeated_when_its_kept_connection_was_closed() {
    let mut w = World::new();
    let peer = w.kept();
    let slot = w.get();
    peer.close();
    w.h.run();
    let again = w.accept();
    assert!(again.take_text().starts_with("GET / "));
    again.close();
    w.h.run();
    assert!(failed(&slot).contains("the connection ended before the answer"));
    assert_eq!(w.counts(), (0, 0));
}

#[test]
fn a_request_that_came_too_late_for_its_connection_goes_over_a_new_one() {
    let mut w = World::new();
    let peer = w.kept();
    // The end arrives in the turn in which the request is given to the connection.
    peer.close();
    let slot = w.send(post(Body::Bytes("x".into())));
    let again = w.accept();
    assert!(again.take_text().ends_with("\r\n\r\nx"));
    again.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    w.h.run();
    assert_eq!(*slot.borrow(), Heard::Whole(200, String::new()));
}

#[test]
fn an_unsafe_request_is_never_sent_twice() {
    let mut w = World::new();
    let peer = w.kept();
    let slot = w.send(post(Body::Bytes("x".into())));
    peer.reset();
    w.h.run();
    assert!(failed(&slot).contains("the connection ended before the answer"));
    assert!(w.h.take_connect().is_none());
}

#[test]
fn a_request_is_not_repeated_when_some_of_the_answer_came() {
    for end in [Peer::close_write as fn(&Peer), Peer::close, Peer::reset] {
        let mut w = World::new();
        let peer = w.kept();
        let slot = w.get();
        peer.send("HTTP/1.1 2");
        w.h.run();
        end(&peer);
        w.h.run();
        failed(&slot);
        assert!(w.h.take_connect().is_none());
    }
}

#[test]
fn a_body_that_is_cut_short_is_not_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellox",
    ] {
        let mut w = World::new();
        let slot = w.get();
        let peer = w.accept();
        peer.send(answer);
        peer.close_write();
        w.h.run();
        assert_eq!(*slot.borrow(), Heard::CutShort(200), "{answer}");
        assert_eq!(w.counts(), (0, 0));
    }
    let mut w = World::new();
    let slot = w.get();
    let peer = w.accept();
    peer.send("HTTP/1.0 200 OK\r\n\r\nhello");
    w.h.run();
    peer.reset();
    w.h.run();
    assert_eq!(*slot.borrow(), Heard::CutShort(200));
}

#[test]
fn what_is_no_answer_fails_the_request() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(usize::from(MAX_INTERIM) + 1);
    for answer in ["ICY 200 OK\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", &interim] {
        let mut w = World::new();
        let slot = w.get();
        w.accept().send(answer);
        w.h.run();
        assert!(failed(&slot).contains("malformed"), "{answer}");
        assert_eq!(w.counts(), (0, 0));
    }
}

#[test]
fn connecting_heads_and_bodies_have_deadlines() {
    let settings = ClientSettings::default();
    let late = Duration::from_millis(10);
    let mut w = World::new();
    let slot = w.get();
    w.h.advance(settings.connect + late);
    assert!(failed(&slot).contains("no connection"));

    let slot = w.get();
    let peer = w.accept();
    peer.send("HTTP/1.1 200 OK\r\n");
    w.h.advance(settings.head / 2);
    assert_eq!(*slot.borrow(), Heard::Nothing);
    w.h.advance(settings.head / 2 + late);
    assert!(failed(&slot).contains("in time"));

    let slot = w.get();
    let peer = w.accept();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    for _ in 0..3 {
        w.h.advance(settings.body / 2);
        assert_eq!(*slot.borrow(), Heard::Head(200));
        peer.send(vec![b'x'; 20_000]);
    }
    w.h.advance(settings.body + late);
    assert_eq!(*slot.borrow(), Heard::CutShort(200));
    assert_eq!(w.counts(), (0, 0));
}

#[test]
fn addresses_of_a_name_are_tried_in_order() {
    let mut w = World::new();
    let (slot, _) = w.send_to(Target::new("Name", 80), get("/"));
    let (name, found) = w.names.borrow_mut().pop().unwrap();
    assert_eq!(name, "name:80");
    found(Ok((1..=9).map(address).collect()));
    w.h.run();
    for port in 1..=4 {
        assert_eq!(w.h.connects(), [address(port)]);
        assert_eq!(w.counts(), (1, 0));
        w.h.take_connect().unwrap().refuse(&mut w.h, io::ErrorKind::ConnectionRefused);
        w.h.run();
    }
    assert!(failed(&slot).contains("no connection"));
    assert_eq!((w.counts(), w.h.connects()), ((0, 0), vec![]));

    for found in [Ok(vec![]), Err("no such name".to_owned())] {
        let (slot, _) = w.send_to(Target::new("name", 80), get("/"));
        let (_, then) = w.names.borrow_mut().pop().unwrap();
        then(found);
        w.h.run();
        assert!(failed(&slot).contains("cannot be found"));
        assert_eq!(w.counts(), (0, 0));
    }
}

#[test]
fn connections_are_bounded_in_all_and_each() {
    let settings = ClientSettings { connections: 3, connections_each: 2, ..Default::default() };
    let mut w = World::with(settings);
    let slots: Vec<_> = (0..3).map(|_| w.get()).collect();
    assert_eq!(w.counts(), (2, 0));
    assert!(failed(&slots[2]).contains("too many connections"));
    let other = Target::new("192.0.2.2", 80);
    w.send_to(other.clone(), get("/"));
    let (slot, _) = w.send_to(Target::new("192.0.2.3", 80), get("/"));
    assert!(failed(&slot).contains("too many connections"));

    // A kept connection gives way.
    let peer = w.accept();
    peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    w.h.run();
    assert_eq!(w.counts(), (3, 1));
    let (slot, _) = w.send_to(Target::new("192.0.2.3", 80), get("/"));
    assert_eq!(*slot.borrow(), Heard::Nothing);
    assert_eq!(w.counts(), (3, 0));
    assert!(peer.is_gone());
}

#[test]
fn kept_connections_are_bounded() {
    let mut w = World::with(ClientSettings { idle_each: 2, idle: 3, ..Default::default() });
    for host in ["192.0.2.1", "192.0.2.2"] {
        for _ in 0..3 {
            w.send_to(Target::new(host, 80), get("/"));
        }
    }
    for _ in 0..6 {
        w.accept().send("HTTP/1.1 204 No Content\r\n\r\n");
    }
    w.h.run();
    assert_eq!(w.counts(), (3, 3));
}

#[test]
fn a_cancelled_request_is_heard_of_no_more() {
    let mut w = World::new();
    // Before its connection stands, before its answer, in its body.
    for step in 0..3 {
        let (slot, call) = w.send_to(target(), get("/"));
        let outgoing = w.h.take_connect().unwrap();
        let mut heard = Heard::Nothing;
        let peer = if step > 0 {
            let peer = outgoing.accept(&mut w.h);
            w.h.run();
            if step == 2 {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
                heard = Heard::CutShort(200);
            }
            w.h.run();
            call.cancel();
            peer
        } else {
            call.cancel();
            outgoing.accept(&mut w.h)
        };
        w.h.run();
        assert_eq!((slot.borrow().clone(), w.counts()), (heard, (0, 0)), "step {step}");
        assert!(peer.is_gone());
        assert!(!peer.take_text().contains("GET") || step > 0);
    }
}

/// Takes nothing until it is told to.
struct Stopping {
    taken: Rc<RefCell<(usize, bool)>>,
}

impl Collector for Stopping {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        self.taken.borrow_mut().0 += part.len();
        self.flow()
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(if self.taken.borrow().1 { Flow::Go } else { Flow::Stop })
    }

    fn end(self: Box<Self>) {}
}

#[test]
fn an_answer_that_nobody_takes_is_not_read() {
    const BODY: usize = 10 << 20;
    let mut w = World::new();
    let taken = Rc::new(RefCell::new((0, false)));
    let (to, waker) = (taken.clone(), Rc::new(RefCell::new(None::<Waker>)));
    let wakes = waker.clone();
    w.client.send(target(), get("/"), move |answer| {
        waker.replace(Some(answer.expect("there is an answer").waker));
        Some(Box::new(Stopping { taken: to }))
    });
    w.h.run();
    let peer = w.accept();
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
    peer.send(vec![b'x'; BODY]);
    w.h.run();
    assert!(taken.borrow().0 <= 128 << 10, "{} bytes were taken", taken.borrow().0);
    // No deadline passes while it is we who wait.
    w.h.advance(Duration::from_secs(1000));
    taken.borrow_mut().1 = true;
    wakes.borrow().as_ref().unwrap().wake();
    w.h.run();
    assert_eq!((taken.borrow().0, w.counts()), (BODY, (1, 1)));
}

#[test]
fn a_large_request_waits_for_the_server_and_an_early_answer_ends_it() {
    let mut w = World::new();
    let slot = w.send(post(Body::Bytes(Bytes::from(vec![b'x'; 1 << 20]))));
    let outgoing = w.h.take_connect().unwrap();
    let peer = outgoing.accept(&mut w.h);
    peer.set_write_room(100_000);
    w.h.run();
    assert!(peer.take().len() < 1 << 20);
    peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    w.h.run();
    assert_eq!(*slot.borrow(), Heard::Whole(413, "no".to_owned()));
    assert_eq!(w.counts(), (0, 0));
}

/// Sends what a producer makes.
struct Sends(Option<Box<dyn Producer>>);

impl Protocol for Sends {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if let Some(producer) = self.0.take() {
            cx.produce(producer);
        }
        Ok(())
    }

    fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn an_answer_becomes_a_reply_of_ours() {
    let mut w = World::new();
    let body = Rc::new(RefCell::new(None));
    let to = body.clone();
    w.client.send(target(), get("/"), move |answer| {
        let (collector, body) = answer.expect("there is an answer").stream();
        to.replace(Some(body));
        Some(collector)
    });
    w.h.run();
    let peer = w.accept();
    // Chunks of one byte come at once, more than a feed takes.
    let chunks = "1\r\nx\r\n".repeat(100_000);
    peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
    w.h.run();
    assert!(peer.unread() > 0, "what is not taken is not read");
    let Some(Body::Producer(producer, None)) = body.take() else { panic!("a body of no length") };
    let out = w.h.open(Box::new(Sends(Some(producer))));
    w.h.run();
    assert_eq!((out.take().len(), w.counts()), (100_000, (1, 1)));
}

#[test]
fn a_reader_who_leaves_ends_the_connection() {
    let mut w = World::new();
    let body = Rc::new(RefCell::new(None));
    let to = body.clone();
    w.client.send(target(), get("/"), move |answer| {
        let (collector, body) = answer.expect("there is an answer").stream();
        to.replace(Some(body));
        Some(collector)
    });
    w.h.run();
    let peer = w.accept();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    peer.send(vec![b'x'; 500_000]);
    w.h.run();
    body.take();
    w.h.run();
    assert_eq!(w.counts(), (0, 0));
    assert!(peer.is_gone());
}

#[test]
fn the_inspection_tree_shows_targets() {
    let mut w = World::new();
    w.h.handle().mount("http-client", w.client.inspected());
    w.kept();
    let look = |w: &mut World, path: &str| match w.h.inspect(path) {
        Outcome::Node(node) => node,
        other => panic!("{path}: {other:?}"),
    };
    let all = look(&mut w, "http-client");
    assert_eq!(all.children, ["192.0.2.1:80"]);
    assert_eq!(all.value("requests"), Some(&Value::Count(1)));
    let one = look(&mut w, "http-client/192.0.2.1:80");
    assert_eq!(one.value("idle"), Some(&Value::Count(1)));
}
