//! Connections on real sockets: what the harness cannot show. One loop a test, on a thread of its
//! own; the test is the client. Nothing here sleeps or asserts a time.
#![allow(missing_docs)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use common::{Asks, Echo, Serves, client, echoed, inet, join, listen, look, read_all, serve};
use common::{PATIENCE, serve_with};
use medusa_core::inspect::Value;
use medusa_core::reactor::ListenOptions;
use medusa_core::{Address, Close, Context, FileRange, Frame, Handle, Protocol, Reactor, Settings};

#[test]
fn echo_over_tcp() {
    let (address, server) = serve(|| Echo);
    let mut client = client(&address);
    for text in [b"hello".to_vec(), vec![b'x'; 300_000]] {
        let mut writer = client.try_clone().expect("a socket can be cloned");
        let (sent, mut back) = (text.clone(), vec![0; text.len()]);
        let writing = std::thread::spawn(move || writer.write_all(&sent).expect("it is read"));
        client.read_exact(&mut back).expect("it comes back");
        assert!(back == text);
        writing.join().expect("the writer is done");
    }
    drop(client);
    join(server);
}

#[test]
fn echo_over_a_unix_socket_whose_file_goes_with_the_listener() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("echo.sock");
    let address = Address::Unix(path.clone());
    let (_, server) =
        serve_with(Settings::default(), move |reactor| listen(reactor, &address, || Echo));
    let mut client = UnixStream::connect(&path).expect("it listens");
    client.write_all(b"hello").expect("it reads");
    let mut back = [0; 5];
    client.read_exact(&mut back).expect("it answers");
    assert_eq!(&back, b"hello");
    drop(client);
    join(server);
    assert!(!path.exists());
}

/// Says who the peer is.
struct Whoami;

impl Protocol for Whoami {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let user = cx.peer_user();
        cx.send(format!("{user:?}").as_bytes());
        Err(Close::Flush)
    }

    fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn the_user_of_a_peer_is_known_on_a_unix_socket_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("who.sock");
    let address = Address::Unix(path.clone());
    let (_, server) =
        serve_with(Settings::default(), move |reactor| listen(reactor, &address, || Whoami));
    let mut said = String::new();
    let mut local = UnixStream::connect(&path).expect("it listens");
    local.read_to_string(&mut said).expect("it is told");
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(
        said,
        if cfg!(target_os = "linux") { format!("Some({own})") } else { "None".into() }
    );
    join(server);
    let (address, server) = serve(|| Whoami);
    said.clear();
    client(&address).read_to_string(&mut said).expect("it is told");
    assert_eq!(said, "None");
    join(server);
}

/// A listener that ended removed whatever stood at its path by then, also a newer server's file.
#[test]
fn a_listener_removed_the_socket_file_of_its_successor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("echo.sock");
    let address = Address::Unix(path.clone());
    let (address, server) =
        serve_with(Settings::default(), move |reactor| listen(reactor, &address, || Echo));
    std::fs::rename(&path, dir.path().join("moved")).expect("it is there");
    let successor = UnixListener::bind(&path).expect("the path is free");
    join(server);
    assert!(path.exists());
    drop(successor);
    // What a server that died left behind is replaced.
    let mut reactor = Reactor::new(Settings::default()).expect("a loop");
    listen(&mut reactor, &address, || Echo);
}

#[test]
fn a_port_or_path_in_use_is_an_error() {
    let mut reactor = Reactor::new(Settings::default()).expect("a loop");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = Address::Unix(dir.path().join("echo.sock"));
    for address in [inet("127.0.0.1:0"), path] {
        let bound = listen(&mut reactor, &address, || Echo);
        let again = reactor.listen(&bound, Rc::new(Serves(|| Echo)), ListenOptions::default());
        assert_eq!(again.expect_err("it is in use").kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn outgoing_connections_stand_or_are_refused() {
    let (address, echo) = serve(|| Echo);
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Address::Inet(listener.local_addr().expect("bound"))
    };
    let nowhere = Address::Unix("/nonexistent/socket".into());
    let ((), server) = serve_with(Settings::default(), |_| ());
    for (to, expected) in [
        (address, &["got ping", "done"][..]),
        (dead, &["failed ConnectionRefused"]),
        (nowhere, &["failed NotFound"]),
    ] {
        let (tell, hear) = mpsc::channel();
        let call = move |handle: &Handle| {
            handle.connect(to, PATIENCE, Rc::default(), Box::new(Asks(tell)));
        };
        server.remote.call(call).expect("the loop comes round");
        assert_eq!(hear.iter().collect::<Vec<_>>(), expected);
    }
    join(server);
    join(echo);
}

/// Nobody accepts from this listener, and its backlog is full: connecting to it waits.
#[test]
fn an_outgoing_connection_has_a_deadline() {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket.listen(0).expect("it listens");
    let to = socket.local_addr().expect("bound").as_socket().expect("inet");
    let fill = || TcpStream::connect_timeout(&to, Duration::from_millis(200)).ok();
    let filling: Vec<TcpStream> = std::iter::from_fn(fill).take(16).collect();
    assert!(filling.len() < 16, "the backlog takes no end of connections");
    let ((), server) = serve_with(Settings::default(), |_| ());
    let (tell, hear) = mpsc::channel();
    let call = move |handle: &Handle| {
        let within = Duration::from_millis(10);
        handle.connect(Address::Inet(to), within, Rc::default(), Box::new(Asks(tell)));
    };
    server.remote.call(call).expect("the loop comes round");
    assert_eq!(hear.iter().collect::<Vec<_>>(), ["failed TimedOut"]);
    join(server);
}

#[test]
fn clients_over_the_limit_wait_and_are_served_later() {
    let (address, server) = serve_with(Settings { max_connections: 2 }, |reactor| {
        listen(reactor, &inet("127.0.0.1:0"), || Echo)
    });
    let mut first = [client(&address), client(&address)];
    first.iter_mut().for_each(echoed);
    let mut third = client(&address);
    third.write_all(b"hello").expect("the backlog takes it");
    // It is connected as far as the system goes, but the loop does not accept it.
    first.iter_mut().for_each(echoed);
    assert_eq!(look(&server, "listeners/1", "accepted"), Some(Value::Count(2)));
    let [one, two] = first;
    drop(one);
    let mut back = [0; 5];
    third.read_exact(&mut back).expect("its turn has come");
    assert_eq!(look(&server, "listeners/1", "accepted"), Some(Value::Count(3)));
    drop((two, third));
    join(server);
}

/// Sends a large file after four bytes.
struct Sends(FileRange);

impl Protocol for Sends {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.send(b"head");
        cx.send_file(self.0.clone());
        Ok(())
    }

    fn input(&mut self, _: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }
}

const LARGE: usize = 20 * 1024 * 1024;

fn large() -> FileRange {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let content: Vec<u8> = (0..LARGE as u32 / 4).flat_map(u32::to_le_bytes).collect();
    file.write_all(&content).expect("room on the disk");
    FileRange { file: file.into(), offset: 0, len: LARGE as u64 }
}

#[test]
fn a_shutdown_finishes_what_is_in_flight_and_stops_listening() {
    let range = large();
    let (address, server) = serve(move || Sends(range.clone()));
    let mut client = client(&address);
    let mut head = [0; 4];
    client.read_exact(&mut head).expect("it has begun");
    server.stop(PATIENCE);
    let rest = read_all(&mut client);
    assert_eq!(rest.len(), LARGE);
    assert!(rest.chunks(4).zip(0_u32..).all(|(word, i)| word == i.to_le_bytes()));
    join(server);
    let Address::Inet(inet) = address else { unreachable!("it is bound to a port") };
    assert!(TcpStream::connect(inet).is_err());
}

#[test]
fn a_second_shutdown_ends_at_once() {
    let range = large();
    let (address, server) = serve(move || Sends(range.clone()));
    let mut client = client(&address);
    let mut head = [0; 4];
    client.read_exact(&mut head).expect("it has begun");
    server.stop(PATIENCE);
    server.stop(PATIENCE);
    join(server);
    assert!(read_all(&mut client).len() < LARGE);
}

/// Urgent data makes a read stop short at its mark; taken for an empty socket, the rest lay there
/// until something else came. So FTP's `ABOR` was never seen.
#[test]
fn what_follows_urgent_data_was_not_read() {
    let (address, server) = serve(|| Echo);
    for _ in 0..20 {
        let mut client = client(&address);
        echoed(&mut client);
        let socket = socket2::SockRef::from(&client);
        // Corked, so that the mark stands in the middle of what arrives together.
        socket.set_tcp_cork(true).expect("a socket option");
        socket.send(b"before").expect("sent");
        socket.send_out_of_band(b"!").expect("sent");
        socket.send(b"behind").expect("sent");
        socket.set_tcp_cork(false).expect("a socket option");
        let mut back = [0; 13];
        client.read_exact(&mut back).expect("all comes back, the urgent byte in its place");
        assert_eq!(&back, b"before!behind");
    }
    join(server);
}
