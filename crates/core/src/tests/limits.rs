//! What connections are held to: bandwidths, exact to the byte and the millisecond; least rates;
//! places for each client.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{Deeds, range_with};
use crate::address::Peer as From;
use crate::bandwidth::Bandwidth;
use crate::clients::Clients;
use crate::handle::Handle;
use crate::inspect::{Outcome, Value};
use crate::limits::{ChannelSettings, MIN_PACE_BYTES, PACES_A_SECOND};
use crate::producer::{Once, promise};
use crate::protocol::{Close, Context, Frame, Protocol, Service};
use crate::rate::Rate;
use crate::server_limits::{ServerLimitOptions, ServerLimits};
use crate::testing::{Harness, How, Log, Peer, Script};

const STEP: Duration = Duration::from_millis(10);

fn rate(bytes: u64, burst: u64) -> Option<Rate> {
    Rate::new(bytes, Duration::from_secs(1), burst).ok()
}

type Make = Box<dyn Fn() -> Script>;

/// A service of scripts under limits.
struct Server {
    make: Make,
    settings: ChannelSettings,
    limits: Rc<ServerLimits>,
}

impl Server {
    fn new(options: ServerLimitOptions, make: impl Fn() -> Script + 'static) -> Self {
        let settings = ChannelSettings::default();
        Self { make: Box::new(make), settings, limits: ServerLimits::new(options) }
    }
}

impl Service for Server {
    fn name(&self) -> &'static str {
        "limited"
    }

    fn accept(&self, _: &From, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some((self.make)().boxed())
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        Rc::new(self.settings.clone())
    }

    fn limits(&self) -> Option<Rc<ServerLimits>> {
        Some(self.limits.clone())
    }
}

fn from(address: &str) -> From {
    address.parse::<SocketAddr>().expect("an address").into()
}

/// A script that sends something when it is opened, and closes.
fn sending(what: impl Fn(&mut Context<'_>) + 'static) -> Script {
    Script::new().opened(move |cx| {
        what(cx);
        Err(Close::Flush)
    })
}

fn open(script: Script, settings: ChannelSettings) -> (Harness, Peer, Log) {
    let (mut h, log) = (Harness::new(), script.log());
    let peer = h.open_with(script.boxed(), From::Unknown, Rc::new(settings));
    (h, peer, log)
}

fn turns(h: &mut Harness) -> u64 {
    match h.inspect("reactor") {
        Outcome::Node(node) => match node.value("turns") {
            Some(Value::Count(turns)) => *turns,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Output of every kind leaves at its rate: never more than the burst and what the rate gives,
/// never less by more than what is worth waking up for.
#[test]
fn output_of_every_kind_leaves_at_its_rate() {
    const BURST: u64 = 5000;
    type Queue = fn(&mut Context<'_>, &[u8], usize);
    let copied: Queue = |cx, part, _| cx.send(part);
    let shared: Queue = |cx, part, _| cx.send_bytes(Bytes::copy_from_slice(part));
    let file: Queue = |cx, part, _| cx.send_file(range_with(part));
    let made: Queue = |cx, part, _| {
        cx.produce(Box::new(Once::new(Bytes::copy_from_slice(part))));
    };
    let mixed: Queue = |cx, part, i| {
        match i % 4 {
            0 => cx.send(part),
            1 => cx.send_bytes(Bytes::copy_from_slice(part)),
            2 => cx.send_file(range_with(part)),
            _ => cx.produce(Box::new(Once::new(Bytes::copy_from_slice(part)))),
        }
        cx.mark(i as u64);
    };
    let content: Vec<u8> = (0..60_000_u32).map(|i| (i % 251) as u8).collect();
    for (queue, part) in
        [(copied, 60_000), (shared, 60_000), (file, 60_000), (made, 60_000), (mixed, 4500)]
    {
        for bytes_a_second in [3000_u64, 100_000] {
            let all = content.clone();
            let script = sending(move |cx| {
                all.chunks(part).enumerate().for_each(|(i, part)| queue(cx, part, i));
            });
            let settings =
                ChannelSettings { send_rate: rate(bytes_a_second, BURST), ..Default::default() };
            let (mut h, peer, log) = open(script, settings);
            h.run();
            let (begun, mut got, mut ms) = (turns(&mut h), peer.take(), 0);
            while peer.closed().is_none() {
                let most = BURST + bytes_a_second * ms / 1000;
                let pace = (bytes_a_second / PACES_A_SECOND).max(MIN_PACE_BYTES);
                // A wake-up is late by up to a millisecond.
                let least = most.saturating_sub(pace + bytes_a_second / 1000);
                assert!((least..=most).contains(&(got.len() as u64)), "{} at {ms} ms", got.len());
                h.advance(STEP);
                ms += STEP.as_millis() as u64;
                got.extend(peer.take());
            }
            assert!(got == content, "in order and whole");
            assert_eq!(log.take().last().map(String::as_str), Some("closed: done"));
            // The harness needs some turns for each step of the clock; waiting needs none.
            let turns = turns(&mut h) - begun;
            assert!(turns < 4 * ms / 10 + 500, "{turns} turns in {ms} ms");
        }
    }
}

#[test]
fn a_connection_that_is_held_costs_nothing_meanwhile() {
    let settings = ChannelSettings { send_rate: rate(100, 1024), ..Default::default() };
    let (mut h, peer, _) = open(sending(|cx| cx.send(&[0; 3000])), settings);
    h.run();
    assert_eq!(peer.received().len(), 1024);
    let due = h.next_due().expect("it goes on some time");
    assert_eq!(due.as_millis(), 10_240, "until it is worth it");
    peer.nudge();
    h.run();
    assert_eq!((peer.received().len(), h.next_due()), (1024, Some(due)));
    h.advance(Duration::from_secs(19));
    assert_eq!(peer.received().len(), 2048);
    h.advance(Duration::from_secs(11));
    assert_eq!((peer.received().len(), peer.closed()), (3000, Some(How::Fin)));
}

#[test]
fn connections_of_a_server_share_its_bandwidth_in_turns() {
    const RATE: u64 = 64_000;
    let options = ServerLimitOptions { send_rate: rate(RATE, 20_000), ..Default::default() };
    let server = Server::new(options, || sending(|cx| cx.send(&vec![b'x'; 200_000])));
    let mut h = Harness::new();
    let peers: Vec<Peer> = (0..5).map(|_| h.accept(&server)).collect();
    let of = |i: usize| peers[i].received().len() as u64;
    h.run();
    for step in 0..1000 {
        let all: u64 = (0..5).map(of).sum();
        let most = 20_000 + RATE * step / 100;
        assert!(all <= most, "{all} of {most} at {step}0 ms");
        assert!(all + 5 * MIN_PACE_BYTES * 2 >= most.min(1_000_000), "{all} of {most}");
        if step == 1 {
            // The first had all that could leave at once.
            assert!(of(0) >= 20_000 && (1..5).all(|i| of(i) <= 1024));
        }
        if (200..900).contains(&step) {
            let (least, most) =
                (1..5).map(of).fold((u64::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
            assert!(most - least <= 2 * MIN_PACE_BYTES, "{least} and {most}: nobody is favoured");
            assert!(of(0) - least <= 20_000 + 2 * MIN_PACE_BYTES);
        }
        h.advance(STEP);
    }
    h.advance(Duration::from_secs(10));
    assert!((0..5).all(|i| of(i) == 200_000));
}

/// What a connection had reserved, and did not live to use, is there for the others.
#[test]
fn a_share_that_is_not_used_is_given_back() {
    let options = ServerLimitOptions { send_rate: rate(1000, 1000), ..Default::default() };
    let server = Server::new(options, || sending(|cx| cx.send(&vec![b'x'; 5000])));
    let mut h = Harness::new();
    let first = h.accept(&server);
    h.run();
    assert_eq!(first.received().len(), 1000);
    for _ in 0..100 {
        let other = h.accept(&server);
        h.run();
        other.reset();
        h.run();
        assert!(other.is_gone());
    }
    h.advance(Duration::from_secs(3));
    let late = h.accept(&server);
    h.advance(Duration::from_secs(3));
    assert!(late.received().len() >= 1000, "{} {}", late.received().len(), first.received().len());
    let both = late.received().len() + first.received().len();
    assert!((5000..=7000).contains(&both), "{both}");
}

#[test]
fn input_is_read_at_its_rate_and_deadlines_wait_meanwhile() {
    let timeouts = Rc::new(Cell::new(0));
    let (taken, fired) = (Rc::new(Cell::new(0)), timeouts.clone());
    let count = taken.clone();
    let script = Script::new()
        .opened(|cx| {
            cx.set_timeout(Duration::from_millis(300));
            Ok(())
        })
        .input(move |frame, cx| {
            if let Frame::Part(bytes) = frame {
                count.set(count.get() + bytes.len() as u64);
                cx.set_timeout(Duration::from_millis(300));
            }
            Ok(())
        })
        .timeout(move |_| {
            fired.set(fired.get() + 1);
            Ok(())
        });
    let settings = ChannelSettings { receive_rate: rate(1024, 2048), ..Default::default() };
    let (mut h, peer, _) = open(script, settings);
    peer.send([b'x'; 10_000]);
    h.run();
    for step in 0..800_u64 {
        let most = 2048 + 1024 * step / 100;
        assert!(taken.get() <= most && taken.get() + 1024 + 2 >= most.min(10_000), "{step}");
        assert_eq!(timeouts.get(), 0, "the peer was not slow");
        h.advance(STEP);
    }
    assert_eq!(taken.get(), 10_000);
    h.advance(Duration::from_secs(1));
    assert_eq!(timeouts.get(), 1, "now it is");
}

#[test]
fn a_servers_bandwidth_for_input_is_shared_too() {
    let taken = Rc::new(RefCell::new(vec![0_u64; 3]));
    let (counts, next) = (taken.clone(), Cell::new(0));
    let options = ServerLimitOptions { receive_rate: rate(8000, 4000), ..Default::default() };
    let server = Server::new(options, move || {
        let (counts, i) = (counts.clone(), next.replace(next.get() + 1));
        Script::new().input(move |frame, _| {
            if let Frame::Part(bytes) = frame {
                counts.borrow_mut()[i] += bytes.len() as u64;
            }
            Ok(())
        })
    });
    let mut h = Harness::new();
    let peers: Vec<Peer> = (0..3).map(|_| h.accept(&server)).collect();
    for peer in &peers {
        peer.send(vec![b'x'; 30_000]);
    }
    for step in 0..1100 {
        h.run();
        let all: u64 = taken.borrow().iter().sum();
        assert!(all <= 4000 + 80 * step, "{all} at {step}0 ms");
        h.advance(STEP);
    }
    let taken = taken.borrow();
    let spread = taken.iter().max().unwrap() - taken.iter().min().unwrap();
    assert!(taken.iter().sum::<u64>() > 80_000 && spread < 7000, "{taken:?}");
}

#[test]
fn limits_can_be_changed_while_connections_are_open() {
    let options = ServerLimitOptions { send_rate: rate(1000, 1000), ..Default::default() };
    let server = Server::new(options, || sending(|cx| cx.send(&vec![b'x'; 50_000])));
    let mut h = Harness::new();
    let peer = h.accept(&server);
    h.advance(Duration::from_secs(2));
    assert!(peer.received().len() <= 3000);
    server.limits.replace(ServerLimitOptions::default());
    assert!(!server.limits.is_on());
    h.advance(Duration::from_secs(2));
    assert_eq!(peer.received().len(), 50_000);
}

// Least rates.

/// A connection with a lot to send, of which `room` bytes fit into the socket.
fn slow(room: usize, settings: ChannelSettings) -> (Harness, Peer, Log) {
    let deeds = Deeds::default();
    deeds.add(|cx| {
        cx.send(&vec![b'x'; 200_000]);
        Ok(())
    });
    let (mut h, peer, log) = open(deeds.script(), settings);
    peer.set_write_room(room);
    h.handle().wake(peer.id());
    h.run();
    (h, peer, log)
}

fn at_least(min_send_rate: u64) -> ChannelSettings {
    ChannelSettings { min_send_rate, stall: Duration::from_secs(10), ..Default::default() }
}

#[test]
fn a_peer_that_takes_too_little_is_dropped_and_counted() {
    let (mut h, peer, log) = slow(1000, at_least(500));
    for _ in 0..9 {
        h.advance(Duration::from_secs(1));
        peer.grant(400);
    }
    h.advance(Duration::from_millis(500));
    assert_eq!(peer.closed(), None, "it has the whole of the time");
    h.advance(Duration::from_secs(1));
    assert_eq!(peer.closed(), Some(How::Reset));
    assert_eq!(log.take(), ["closed: peer read too slowly"]);
    let Outcome::Node(node) = h.inspect("reactor") else { panic!("a node") };
    assert_eq!(node.value("slow"), Some(&Value::Count(1)));
    assert_eq!(node.value("stalled"), Some(&Value::Count(0)));
}

#[test]
fn a_peer_that_takes_enough_is_served_however_long_it_takes() {
    let (mut h, peer, log) = slow(1000, at_least(500));
    for _ in 0..390 {
        h.advance(Duration::from_secs(1));
        peer.grant(510);
    }
    h.run();
    assert_eq!((peer.received().len(), peer.closed()), (1000 + 390 * 510, None));
    // It stops when all is there, which is nobody's fault.
    peer.grant(200_000);
    h.advance(Duration::from_secs(100));
    assert_eq!((peer.received().len(), log.take().len()), (200_000, 0));
}

#[test]
fn a_peer_is_not_slow_because_we_hold_the_output_back() {
    let settings = ChannelSettings { send_rate: rate(100, 1000), ..at_least(5000) };
    let (mut h, peer, _) = open(sending(|cx| cx.send(&vec![b'x'; 8000])), settings);
    h.advance(Duration::from_secs(80));
    assert_eq!((peer.received().len(), peer.closed()), (8000, Some(How::Fin)));
    // Not even when it let us wait before.
    let settings = ChannelSettings { send_rate: rate(20, 2048), ..at_least(5000) };
    let (mut h, peer, log) = slow(1500, settings);
    peer.grant(100_000);
    h.advance(Duration::from_secs(20));
    assert_eq!((peer.received().len(), log.take().len()), (1500, 0));
    h.advance(Duration::from_secs(5));
    assert_eq!((peer.received().len(), log.take().len()), (2524, 0));
    // Not even when it is slow too, as long as it takes what we let it have.
    let settings = ChannelSettings { send_rate: rate(100, 1024), ..at_least(5000) };
    let (mut h, peer, log) = slow(0, settings);
    for _ in 0..10 {
        peer.grant(1024);
        h.advance(Duration::from_secs(9));
    }
    assert_eq!(log.take().len(), 0);
    h.advance(Duration::from_secs(30));
    assert_eq!(log.take(), ["closed: peer stopped reading"]);
}

#[test]
fn a_peer_is_not_slow_because_a_producer_is() {
    let (kept, place) = promise();
    let mut place = Some(place);
    let script = Script::new().opened(move |cx| {
        cx.produce(Box::new(place.take().expect("it is opened once")));
        Ok(())
    });
    let (mut h, peer, log) = open(script, at_least(5000));
    peer.set_write_room(10);
    h.advance(Duration::from_secs(100));
    kept.keep(Once::new(Bytes::from_static(&[b'x'; 1000])));
    h.run();
    h.advance(Duration::from_secs(9));
    assert_eq!(log.take().len(), 0);
    // From here on it is the peer.
    h.advance(Duration::from_secs(2));
    assert_eq!(log.take().len(), 1);
    assert_eq!(peer.received().len(), 10);
}

/// Two users of one server: each has a bandwidth, all share that of the server, and none of the
/// three is ever exceeded, nor left unused while somebody could use it.
#[test]
fn a_connection_is_held_to_all_bandwidths_that_it_shares() {
    const BURST: u64 = 4000;
    for (server, ann, bob, together) in [
        (50_000, 20_000, 10_000, 30_000),
        (24_000, 20_000, 80_000, 24_000),
        (10_000, 20_000, 20_000, 10_000),
    ] {
        let shared = |bytes| Bandwidth::new(rate(bytes, BURST), None);
        let (all, users) = (shared(server), [shared(ann), shared(bob)]);
        let mut h = Harness::new();
        let mut open = |user: usize| {
            let held = [users[user].clone(), all.clone()];
            let script = sending(move |cx| {
                for bandwidth in &held {
                    cx.share_bandwidth(bandwidth.clone());
                }
                cx.send(&vec![b'x'; 400_000]);
            });
            h.open_with(script.boxed(), From::Unknown, Rc::default())
        };
        // Ann has two connections, and Bob one.
        let peers = [open(0), open(0), open(1)];
        h.run();
        for ms in (0..10_000).step_by(10) {
            let of = |i: usize| peers[i].received().len() as u64;
            for (name, got, bandwidth) in [
                ("ann", of(0) + of(1), ann),
                ("bob", of(2), bob),
                ("all", of(0) + of(1) + of(2), server),
            ] {
                let most = BURST + bandwidth * ms / 1000;
                assert!(got <= most, "{name}: {got} of {most} at {ms} ms");
            }
            h.advance(STEP);
        }
        let got: usize = peers.iter().map(|peer| peer.received().len()).sum();
        assert!(got as u64 >= together * 10 * 95 / 100, "{got} of {together} a second");
        let node = all.describe(crate::inspect::Node::new("server"));
        assert!(matches!(node.value("may send"), Some(Value::Bytes(left)) if *left <= BURST));
        all.replace(None, None);
        for bandwidth in &users {
            bandwidth.replace(None, None);
        }
        h.advance(Duration::from_secs(2));
        assert!(peers.iter().all(|peer| peer.received().len() == 400_000));
    }
}

#[test]
#[should_panic(expected = "a protocol panicked")]
fn a_connection_shares_so_many_bandwidths_and_no_more() {
    let script = Script::new().opened(|cx| {
        for _ in 0..=crate::limits::BANDWIDTHS_A_CONNECTION {
            cx.share_bandwidth(Bandwidth::new(None, None));
        }
        Ok(())
    });
    let (mut h, _, _) = open(script, ChannelSettings::default());
    h.run();
}

// Places.

fn three_a_client(exempt: &str) -> Server {
    let exempt = vec![exempt.parse().expect("a network")];
    let options = ServerLimitOptions {
        connections_a_client: Some(3),
        clients: Clients::new(32, 64, exempt).expect("right"),
        ..Default::default()
    };
    Server::new(options, Script::new)
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let server = three_a_client("10.9.0.0/16");
    let mut h = Harness::new();
    for (one, same, other) in [
        ("10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"),
        ("[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"),
    ] {
        let first = h.accept_from(&server, from(one)).expect("a place");
        let held: Vec<_> = (0..2).map(|_| h.accept_from(&server, from(same))).collect();
        assert!(held.iter().all(Option::is_some));
        for _ in 0..10 {
            assert!(h.accept_from(&server, from(same)).is_none());
        }
        assert!(h.accept_from(&server, from(other)).is_some());
        first.reset();
        h.run();
        let again = h.accept_from(&server, from(same)).expect("a place has become free");
        assert!(h.accept_from(&server, from(one)).is_none());
        again.reset();
        held.iter().flatten().for_each(Peer::reset);
        h.run();
        assert!(h.accept_from(&server, from(one)).is_some());
    }
    assert_eq!(server.limits.turned_away(), 22);
    for everybody in [from("10.9.1.1:1"), From::Unix, From::Unknown] {
        assert!((0..20).all(|_| h.accept_from(&server, everybody).is_some()));
    }
    let node = server.limits.describe(crate::inspect::Node::new("limits"));
    assert_eq!(node.value("clients"), Some(&Value::Count(4)), "{node:?}");
    assert_eq!(node.value("turned away"), Some(&Value::Count(22)));
}

#[test]
fn places_are_kept_when_the_limits_change() {
    let server = three_a_client("10.9.0.0/16");
    let mut h = Harness::new();
    let held: Vec<_> = (0..3).filter_map(|_| h.accept_from(&server, from("10.0.0.1:1"))).collect();
    let four = ServerLimitOptions { connections_a_client: Some(4), ..Default::default() };
    server.limits.replace(four);
    assert!(h.accept_from(&server, from("10.0.0.1:1")).is_some());
    assert!(h.accept_from(&server, from("10.0.0.1:1")).is_none());
    // The end of a connection frees the place that it had, however clients are told apart now.
    let clients = Clients::new(8, 64, Vec::new()).expect("right");
    let two = ServerLimitOptions { connections_a_client: Some(2), clients, ..Default::default() };
    server.limits.replace(two);
    held.iter().for_each(Peer::reset);
    h.run();
    assert!(h.accept_from(&server, from("10.7.0.1:1")).is_some());
    assert!(h.accept_from(&server, from("10.8.0.1:1")).is_some());
    assert!(h.accept_from(&server, from("10.9.0.1:1")).is_none());
}

/// A service that panics has taken no place.
#[test]
fn a_place_is_given_up_when_the_service_fails() {
    let options = ServerLimitOptions { connections_a_client: Some(1), ..Default::default() };
    let fails = Rc::new(Cell::new(true));
    let failing = fails.clone();
    let server = Server::new(options, move || {
        assert!(!failing.get(), "as the test wants");
        Script::new()
    });
    let mut h = Harness::new();
    h.allow_panics();
    assert!(h.accept_from(&server, from("10.0.0.1:1")).is_none());
    fails.set(false);
    assert!(h.accept_from(&server, from("10.0.0.1:1")).is_some());
}
