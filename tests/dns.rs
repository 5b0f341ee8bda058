//! The forwarder of the real program, with a name server that the test plays, and with dig.
#![allow(missing_docs)]

mod server;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use server::{PATIENCE, Server, is_missing, medusa};

/// A name server that knows an address of every name: it says how often it was asked.
struct Names {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

/// Answers with so many addresses, or with a part of them if they do not fit.
fn answered(question: &[u8], room: usize) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|b| *b == 0).expect("a name ends") + 1;
    let many: u16 = if question[12..].starts_with(b"\x04many") { 200 } else { 1 };
    let mut reply = question[..name_end + 4].to_vec();
    let fits = name_end + 4 + 16 * usize::from(many) <= room;
    reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
    if !fits {
        reply[2] |= 2;
        return reply;
    }
    reply[6..8].copy_from_slice(&many.to_be_bytes());
    for n in 0..many {
        reply.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
        reply.extend_from_slice(&[192, 0, 2, n as u8]);
    }
    reply
}

impl Names {
    fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("bound");
        let udp = UdpSocket::bind(address).expect("the same port is free");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((n, from)) = udp.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = udp.send_to(&answered(&buffer[..n], 1232), from);
            }
        });
        std::thread::spawn(move || {
            for mut client in tcp.incoming().map_while(Result::ok) {
                if let Some(question) = message(&mut client) {
                    let _ = send(&mut client, &answered(&question, 65_535));
                }
            }
        });
        Self { address, asked }
    }
}

fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).expect("it is short");
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

fn question(name: &str, id: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

fn forwarder(names: &Names) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("medusa.toml");
    std::fs::write(directory.path().join("hosts"), "192.0.2.77 here.test\n").expect("a file");
    let text = format!(
        "[resolver]\nservers = [\"{}\"]\nhosts = \"hosts\"\n\n\
         [[server]]\nprotocol = \"dns\"\nlisten = [\"127.0.0.1:0\"]\n",
        names.address
    );
    std::fs::write(&file, text).expect("a file");
    (Server::start(medusa(["serve", "--config"]).arg(&file)), directory)
}

fn ask(server: &Server, name: &str) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    socket.connect(server.dns()).expect("an address");
    socket.send(&question(name, 4711)).expect("sent");
    let mut buffer = [0; 2048];
    let n = socket.recv(&mut buffer).expect("a reply");
    buffer[..n].to_vec()
}

#[test]
fn names_are_forwarded_once_and_kept() {
    let names = Names::start();
    let (server, _directory) = forwarder(&names);
    for _ in 0..3 {
        let reply = ask(&server, "one.test");
        assert_eq!(reply[..2], 4711_u16.to_be_bytes());
        assert!(reply.ends_with(&[192, 0, 2, 0]), "{reply:x?}");
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    assert!(ask(&server, "here.test").ends_with(&[192, 0, 2, 77]));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn long_answers_come_over_tcp_from_the_server_and_to_the_client() {
    let names = Names::start();
    let (server, _directory) = forwarder(&names);
    let cut = ask(&server, "many.test");
    assert_eq!(cut[2] & 2, 2, "it says that it is cut short");
    let mut client = TcpStream::connect(server.dns()).expect("it listens by TCP too");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    send(&mut client, &question("many.test", 1)).expect("it reads");
    send(&mut client, &question("here.test", 2)).expect("it reads");
    let replies = [message(&mut client), message(&mut client)].map(|m| m.expect("a reply"));
    let long = replies.iter().find(|reply| reply[1] == 1).expect("a reply to the first");
    assert!(long.len() > 200 * 16);
}

#[test]
fn dig_is_content() {
    if is_missing("dig", "dig_is_content") {
        return;
    }
    let names = Names::start();
    let (server, _directory) = forwarder(&names);
    let address: SocketAddr = server.dns().parse().expect("an address");
    let dig = |arguments: &[&str]| {
        let port = address.port().to_string();
        let output = Command::new("dig")
            .args(["@127.0.0.1", "-p", &port, "+time=20", "+tries=1"])
            .args(arguments)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(!text.contains("WARNING") && !text.contains("malformed"), "{text}");
        text
    };
    assert!(dig(&["one.test"]).contains("192.0.2.0"));
    assert!(dig(&["+noedns", "one.test"]).contains("192.0.2.0"));
    assert!(dig(&["+tcp", "one.test"]).contains("192.0.2.0"));
    // It asks again over TCP by itself.
    assert!(dig(&["many.test"]).contains("192.0.2.199"));
    assert!(dig(&["-x", "192.0.2.77"]).contains("here.test."));
    assert!(dig(&["one.test", "ANY", "+notcp"]).contains("NOTIMP"));
}
