//! One loop takes over the sockets of another.
#![allow(missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use common::{Echo, PATIENCE, Server, client, echoed, inet, join, listen, serve_with};
use medusa_core::datagram::{DatagramProtocol, DatagramSender};
use medusa_core::{
    Address, Close, Context, Frame, ListenOptions, PassedSocket, Protocol, Reactor, Settings,
};

const GRACE: Duration = Duration::from_secs(3600);

/// Answers datagrams with its name.
struct Named(&'static str);

impl DatagramProtocol for Named {
    fn input(&mut self, _: &[u8], from: SocketAddr, out: &mut DatagramSender) {
        out.send(self.0.as_bytes(), from);
    }
}

/// Gives back what it gets, and says so when it retires.
struct Retires;

impl Protocol for Retires {
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        Echo.input(frame, cx)
    }

    fn retire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.send(b"bye");
        Err(Close::Flush)
    }
}

fn bind(reactor: &Reactor, address: Address, name: &'static str) {
    let bound = |bound: std::io::Result<Address>| drop(bound.expect("the address is free"));
    reactor.handle().bind_datagram(address, Box::new(Named(name)), bound);
}

/// Has the loop do what it was asked.
fn turn(reactor: &mut Reactor) {
    let mut events = mio::Events::with_capacity(16);
    reactor.turn(&mut events, Some(Duration::ZERO)).expect("a turn");
}

fn passed(server: &Server) -> Vec<PassedSocket> {
    let (tell, hear) = mpsc::channel();
    let call = |handle: &medusa_core::Handle| {
        handle.passed_sockets(move |sockets| tell.send(sockets).expect("the test hears"));
    };
    server.remote.call(call).expect("the loop comes round");
    hear.recv().expect("the loop answers").expect("they can be duplicated")
}

fn asked(from: &UdpSocket, to: &Address) -> String {
    let Address::Inet(to) = to else { panic!("{to} is no port") };
    from.send_to(b"who", to).expect("sent");
    let mut buffer = [0; 10];
    let (length, _) = from.recv_from(&mut buffer).expect("an answer");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn sockets_go_over_and_connections_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let unix = Address::Unix(path.clone());
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let udp_address = inet(&udp.local_addr().expect("bound").to_string());
    drop(udp);
    let (asked_unix, asked_udp) = (unix.clone(), udp_address.clone());
    let (tcp, old) = serve_with(Settings::default(), move |reactor| {
        listen(reactor, &asked_unix, || Echo);
        bind(reactor, asked_udp, "old");
        // A question of its own: this one is nobody's to take over.
        bind(reactor, inet("127.0.0.1:0"), "resolver");
        turn(reactor);
        listen(reactor, &inet("127.0.0.1:0"), || Retires);
        listen(reactor, &inet("127.0.0.1:0"), || Echo)
    });
    let from = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    from.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut kept = client(&tcp);
    echoed(&mut kept);
    assert_eq!(asked(&from, &udp_address), "old");

    let sockets = passed(&old);
    let bound: Vec<_> = sockets.iter().map(PassedSocket::bound).collect();
    assert_eq!(bound.len(), 4, "{bound:?}");
    assert!(bound.contains(&&unix) && bound.contains(&&udp_address));
    assert_eq!(sockets.iter().filter(|socket| socket.is_chosen()).count(), 2);
    let retiring = sockets.iter().map(PassedSocket::bound).find(|address| {
        matches!(address, Address::Inet(_)) && **address != tcp && **address != udp_address
    });
    let mut retired = client(retiring.expect("the other listener"));
    echoed(&mut retired);
    let (asked_unix, asked_udp) = (unix.clone(), udp_address.clone());
    let ((again, left), new) = serve_with(Settings::default(), move |reactor| {
        reactor.pass(sockets);
        assert_eq!(listen(reactor, &asked_unix, || Echo), asked_unix);
        // In the order in which the old one asked: the first of two whose port was chosen.
        let first = listen(reactor, &inet("127.0.0.1:0"), || Echo);
        bind(reactor, asked_udp, "new");
        turn(reactor);
        (first, reactor.close_passed())
    });
    assert_eq!(left, std::slice::from_ref(&tcp), "nobody asked for it");
    assert_ne!(again, tcp);

    old.remote.call(|handle| handle.retire(GRACE, || ())).expect("the loop comes round");
    let mut said = String::new();
    retired.read_to_string(&mut said).expect("an ordinary end");
    assert_eq!(said, "bye");
    // What was accepted stays where it is, and what comes goes to the new one.
    echoed(&mut kept);
    echoed(&mut client(&again));
    assert_eq!(asked(&from, &udp_address), "new");
    let mut unix_client = UnixStream::connect(&path).expect("somebody listens");
    unix_client.write_all(b"x").expect("it reads");
    unix_client.read_exact(&mut [0]).expect("it answers");
    drop(kept);
    // It ends by itself, and leaves the file to the new one.
    old.wait();
    assert!(path.exists());
    join(new);
    assert!(!path.exists());
}

#[test]
fn a_listener_of_one_connection_is_nobody_elses() {
    let (address, old) = serve_with(Settings::default(), |reactor| {
        listen(reactor, &inet("127.0.0.1:0"), || Echo);
        let options = ListenOptions { transient: true, ..ListenOptions::default() };
        let service = medusa_core::service("transient", |_, _| Echo);
        let bound = reactor.listen(&inet("127.0.0.1:0"), service, options);
        bound.expect("a free port").1
    });
    let mut kept = client(&address);
    echoed(&mut kept);
    assert!(passed(&old).iter().all(|socket| *socket.bound() != address));
    let (tell, hear) = mpsc::channel();
    let retire = move |handle: &medusa_core::Handle| {
        handle.retire(GRACE, move || tell.send(()).expect("the test hears"));
    };
    old.remote.call(retire).expect("the loop comes round");
    hear.recv().expect("it retires");
    // It stays for as long as its connection needs it.
    echoed(&mut client(&address));
    drop(kept);
    old.wait();
}
