//! The forwarder, with clients and a server that the tests play.

use std::rc::Rc;
use std::time::Duration;

use domain::base::iana::Rcode;
use hickory_proto::op::{Message as Other, ResponseCode};
use medusa_core::reactor::ListenOptions;
use medusa_core::testing::{Harness, Sent};
use medusa_core::{Address, Service};

use super::{Record, answer, ip, nothing, question, server};
use crate::wire::Kind;
use crate::{Forwarder, Resolver, ResolverSettings};

const CLIENT: &str = "127.0.0.1:5000";
const HERE: &str = "127.0.0.1:53";

struct Net {
    h: Harness,
    forwarder: Forwarder,
    /// The question that the forwarder has asked.
    asked: Option<Sent>,
    _dir: tempfile::TempDir,
}

impl Net {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "192.0.2.7 here.example\n").expect("a file");
        let settings = ResolverSettings {
            resolv_conf: dir.path().join("none"),
            hosts,
            servers: vec![server("192.0.2.53:53")],
            timeout: Some(Duration::from_secs(1)),
            ..ResolverSettings::default()
        };
        let mut h = Harness::new();
        let resolver = Resolver::new(&h.handle(), settings);
        let forwarder = Forwarder::new(resolver, Rc::new(|ip| ip.is_loopback()));
        let address = Address::Inet(server(HERE));
        let listening: Rc<dyn Service> = Rc::new(forwarder.clone());
        h.handle().listen(address, listening, ListenOptions::default(), |bound| {
            bound.expect("it listens");
        });
        h.run();
        Self { h, forwarder, asked: None, _dir: dir }
    }

    /// Sends a datagram to the forwarder; gives its reply if there is one at once.
    fn send(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.send_from(bytes, CLIENT)
    }

    fn send_from(&mut self, bytes: &[u8], from: &str) -> Option<Vec<u8>> {
        self.h.datagram(server(HERE), bytes, server(from));
        self.h.run();
        self.reply(from)
    }

    fn reply(&mut self, to: &str) -> Option<Vec<u8>> {
        self.h.run();
        let sent = self.h.take_datagram()?;
        if sent.to == server(to) {
            return Some(sent.bytes);
        }
        assert_eq!(sent.to, server("192.0.2.53:53"));
        self.asked = Some(sent);
        None
    }

    fn connect(&mut self) -> medusa_core::testing::Peer {
        let from = medusa_core::Peer::V4([127, 0, 0, 1].into(), 5001);
        self.h.accept_from(&self.forwarder.clone(), from).expect("a connection")
    }

    /// Has the server answer what was asked.
    fn answer(&mut self, make: impl FnOnce(&[u8]) -> Vec<u8>) {
        let asked = self.asked.take().expect("a question");
        self.h.datagram(asked.from, &make(&asked.bytes), asked.to);
        self.h.run();
    }
}

fn read(bytes: &[u8]) -> Other {
    Other::from_vec(bytes).expect("a message")
}

fn texts(message: &Other) -> Vec<String> {
    message.answers.iter().map(|r| format!("{} {} {}", r.name, r.ttl, r.data)).collect()
}

#[test]
fn a_request_is_passed_on_and_its_answer_kept() {
    let mut net = Net::new();
    // The client's spelling of the name comes back, as some check it.
    let mut request = question("www.example", Kind::A).message(77, 4096);
    request[13] = b'W';
    assert_eq!(net.send(&request), None);
    net.answer(|asked| {
        answer(
            asked,
            &[
                Record::Alias("www.example", 60, "a.example"),
                Record::Ip("a.example", 30, "192.0.2.1"),
            ],
        )
    });
    let reply = read(&net.reply(CLIENT).expect("a reply"));
    assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (77, true));
    assert_eq!(reply.queries[0].name().to_string(), "Www.example.");
    assert_eq!(texts(&reply), ["www.example. 30 a.example.", "a.example. 30 192.0.2.1"]);
    assert!(reply.edns.is_some());

    net.h.advance(Duration::from_secs(10));
    let reply = read(&net.send(&request).expect("a reply at once"));
    // The shorter time to live is that of the answer.
    assert_eq!(texts(&reply), ["www.example. 20 a.example.", "a.example. 20 192.0.2.1"]);
    assert!(net.asked.is_none());
}

#[test]
fn many_clients_wait_for_one_question_and_each_hears_of_its_own() {
    let mut net = Net::new();
    for id in 1..4 {
        net.send(&question("a.example", Kind::A).message(id, 1232));
    }
    net.answer(|asked| answer(asked, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    let mut ids: Vec<_> =
        (0..3).map(|_| read(&net.reply(CLIENT).expect("a reply")).metadata.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn records_of_any_type_pass() {
    let mut net = Net::new();
    let request = question("a.example", Kind(16)).message(5, 1232);
    net.send(&request);
    net.answer(|asked| {
        let mut message = answer(asked, &[Record::Ip("a.example", 30, "65.66.67.68")]);
        // An address of four bytes becomes a text of three.
        let n = message.len();
        message[n - 13..n - 12].fill(16);
        message[n - 4] = 3;
        message
    });
    let reply = net.reply(CLIENT).expect("a reply");
    assert!(reply.ends_with(b"\x00\x04\x03BCD\x00\x00\x29\x04\xd0\0\0\0\0\0\0"), "{reply:x?}");
}

#[test]
fn that_there_is_no_such_name_is_passed_on_and_kept() {
    let mut net = Net::new();
    let request = question("no.example", Kind::A).message(5, 1232);
    net.send(&request);
    net.answer(|asked| nothing(asked, Rcode::NXDOMAIN, 60));
    for _ in 0..2 {
        let reply = match net.reply(CLIENT) {
            Some(reply) => reply,
            None => net.send(&request).expect("a reply at once"),
        };
        let reply = read(&reply);
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(reply.authorities.len(), 1);
    }
}

#[test]
fn when_no_server_answers_clients_hear_that_it_failed() {
    let mut net = Net::new();
    net.send(&question("a.example", Kind::A).message(5, 1232));
    net.h.advance(Duration::from_secs(5));
    let reply = std::iter::repeat_with(|| net.h.take_datagram().expect("a reply"))
        .find(|sent| sent.to == server(CLIENT))
        .expect("a reply");
    assert_eq!(read(&reply.bytes).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn a_reply_that_is_too_long_for_a_datagram_says_so() {
    let mut net = Net::new();
    let texts: Vec<_> = (0..60).map(|n| format!("192.0.2.{n}")).collect();
    let records: Vec<_> = texts.iter().map(|t| Record::Ip("a.example", 30, t)).collect();
    let mut plain = question("a.example", Kind::A).message(5, 1232);
    // Without EDNS: 512 bytes.
    plain.truncate(plain.len() - 11);
    plain[11] = 0;
    net.send(&plain);
    net.answer(|asked| answer(asked, &records));
    let reply = net.reply(CLIENT).expect("a reply");
    let cut = read(&reply);
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.edns.is_none());
    assert_eq!(reply.len(), plain.len());

    // Over TCP it is whole.
    let peer = net.connect();
    let request = question("a.example", Kind::A).message(6, 1232);
    let framed = [&(request.len() as u16).to_be_bytes(), request.as_slice()].concat();
    peer.send_bytewise(&framed);
    net.h.run();
    let reply = peer.take();
    assert_eq!(usize::from(u16::from_be_bytes([reply[0], reply[1]])), reply.len() - 2);
    assert_eq!(read(&reply[2..]).answers.len(), 60);
}

#[test]
fn requests_over_tcp_are_answered_as_their_answers_come() {
    let mut net = Net::new();
    let peer = net.connect();
    for (id, name) in [(1, "slow.example"), (2, "here.example")] {
        let request = question(name, Kind::A).message(id, 1232);
        peer.send((request.len() as u16).to_be_bytes());
        peer.send(&request);
    }
    net.h.run();
    let first = peer.take();
    assert_eq!(texts(&read(&first[2..])), ["here.example. 10 192.0.2.7"]);
    // It has sent all that it wants to, and still hears the rest.
    peer.close_write();
    assert_eq!(net.reply(CLIENT), None);
    net.answer(|asked| answer(asked, &[Record::Ip("slow.example", 30, "192.0.2.1")]));
    assert_eq!(texts(&read(&peer.take()[2..])), ["slow.example. 30 192.0.2.1"]);
    assert!(peer.closed().is_some());
}

#[test]
fn what_the_hosts_file_says_is_answered_here() {
    let mut net = Net::new();
    let mut ask = |asked: crate::wire::Question| {
        texts(&read(&net.send(&asked.message(5, 1232)).expect("a reply at once")))
    };
    assert_eq!(ask(question("HERE.example", Kind::A)), ["here.example. 10 192.0.2.7"]);
    assert_eq!(ask(question("here.example", Kind::AAAA)), [""; 0]);
    assert_eq!(
        ask(crate::wire::Question::reverse(ip("192.0.2.7"))),
        ["7.2.0.192.in-addr.arpa. 10 here.example."]
    );
    assert_eq!(ask(question("localhost", Kind::AAAA)), ["localhost. 10 ::1"]);
}

#[test]
fn strangers_are_turned_away() {
    let mut net = Net::new();
    let request = question("a.example", Kind::A).message(5, 1232);
    let reply = net.send_from(&request, "203.0.113.5:999").expect("a reply");
    assert_eq!(read(&reply).metadata.response_code, ResponseCode::Refused);
    assert!(reply.len() <= request.len(), "it floods nobody");
    let from = medusa_core::Peer::V4([203, 0, 113, 5].into(), 999);
    assert!(net.forwarder.accept(&from, &net.h.handle()).is_none());
}

#[test]
fn what_is_no_request_is_told_so_or_not_answered_at_all() {
    let mut net = Net::new();
    let good = question("a.example", Kind::A).message(5, 1232);
    let code = |net: &mut Net, bytes: &[u8]| net.send(bytes).map(|reply| reply[3] & 0xf);
    assert_eq!(code(&mut net, b"short"), None);
    let mut reply = good.clone();
    reply[2] |= 0x80;
    assert_eq!(code(&mut net, &reply), None, "a reply is not answered");
    let mut update = good.clone();
    update[2] |= 5 << 3;
    assert_eq!(code(&mut net, &update), Some(4));
    for kind in [252, 251, 255] {
        assert_eq!(code(&mut net, &question("a.example", Kind(kind)).message(5, 1232)), Some(4));
    }
    assert_eq!(code(&mut net, &good[..20]), Some(1), "half a question");
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(code(&mut net, &two), Some(1));
    let mut version = good.clone();
    let n = version.len();
    version[n - 5] = 1;
    assert_eq!(code(&mut net, &version), Some(1));
    // The name is a pointer into the head.
    let pointer = [&good[..12], &[0xc0, 0, 0, 1, 0, 1]].concat();
    assert_eq!(code(&mut net, &pointer), Some(1));
}
