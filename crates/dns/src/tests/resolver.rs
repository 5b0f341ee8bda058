//! The resolver, its tries and its time. Each trap of resolvers has a test named for it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use domain::base::iana::Rcode;
use medusa_core::Address;
use medusa_core::inspect::{Outcome, Value};
use medusa_core::testing::{Harness, Sent};

use super::{Record, answer, ip, nothing, server};
use crate::limits::{FILES_TIME, MAX_QUESTIONS};
use crate::{ResolveError, Resolver, ResolverSettings};

const SECOND: Duration = Duration::from_secs(1);

type Result = std::result::Result<Vec<IpAddr>, ResolveError>;

/// A resolver, and the servers 192.0.2.53 and 192.0.2.54 that the test plays.
struct Net {
    h: Harness,
    resolver: Resolver,
    dir: tempfile::TempDir,
}

/// What came of a lookup, when it has.
type Heard = Rc<RefCell<Option<Result>>>;

impl Net {
    fn new() -> Self {
        Self::with("nameserver 192.0.2.53\nnameserver 192.0.2.54\n", "192.0.2.7 here.example\n")
    }

    fn with(resolv: &str, hosts: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("resolv.conf"), resolv).expect("a file");
        std::fs::write(at("hosts"), hosts).expect("a file");
        let settings = ResolverSettings {
            resolv_conf: at("resolv.conf"),
            hosts: at("hosts"),
            timeout: Some(SECOND),
            ..ResolverSettings::default()
        };
        let h = Harness::new();
        let resolver = Resolver::new(&h.handle(), settings);
        h.handle().mount("resolver", resolver.inspect());
        Self { h, resolver, dir }
    }

    fn v4(&mut self, name: &str) -> Heard {
        let heard = Heard::default();
        let there = heard.clone();
        let family = crate::resolver::Family::V4;
        self.resolver.addresses_of(name, family, move |result| {
            assert!(there.replace(Some(result)).is_none(), "told twice");
        });
        self.h.run();
        heard
    }

    /// The question that was sent first, to this server.
    fn sent(&mut self, to: &str) -> Sent {
        let sent = self.h.take_datagram().expect("a question");
        assert_eq!(sent.to, server(to));
        sent
    }

    fn no_question(&mut self) {
        assert!(self.h.take_datagram().is_none(), "a question was sent");
    }

    fn reply(&mut self, sent: &Sent, message: &[u8]) {
        self.h.datagram(sent.from, message, sent.to);
        self.h.run();
    }

    fn figure(&mut self, name: &str) -> u64 {
        match self.h.inspect("resolver") {
            Outcome::Node(node) => match node.value(name) {
                Some(Value::Count(n)) => *n,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn found(heard: &Heard) -> Result {
    heard.borrow_mut().take().expect("an answer")
}

#[test]
fn a_name_is_asked_for_once_and_remembered_for_its_time() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
    assert!(net.h.bound().is_empty(), "the socket is closed");
    let again = net.v4("A.Example.");
    assert_eq!(found(&again), Ok(vec![ip("192.0.2.1")]));
    net.no_question();
    net.h.advance(30 * SECOND);
    net.v4("a.example");
    net.sent("192.0.2.53:53");
}

#[test]
fn ids_and_ports_are_not_sequential() {
    let mut net = Net::new();
    let mut ids = Vec::new();
    for n in 0..64 {
        net.v4(&format!("n{n}.example"));
        let sent = net.sent("192.0.2.53:53");
        ids.push(i32::from(u16::from_be_bytes([sent.bytes[0], sent.bytes[1]])));
        assert_eq!(sent.from.ip(), ip("0.0.0.0"));
    }
    let near = ids.windows(2).filter(|two| (two[1] - two[0]).abs() < 256).count();
    assert!(near < 16, "{ids:?}");
    // Each has a socket of its own, whose port the system chooses at random.
    let mut ports: Vec<_> = net.h.bound().iter().map(SocketAddr::port).collect();
    ports.dedup();
    assert_eq!(ports.len(), 64);
}

#[test]
fn forged_answers_are_passed_over_until_the_right_one_comes() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    let right = answer(&sent.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]);
    let evil = answer(&sent.bytes, &[Record::Ip("a.example", 30, "203.0.113.66")]);
    net.h.datagram(sent.from, &evil, server("203.0.113.5:53"));
    net.h.datagram(sent.from, &evil, server("192.0.2.53:5353"));
    let mut wrong_id = evil.clone();
    wrong_id[1] ^= 1;
    net.reply(&sent, &wrong_id);
    let mut other_name = evil;
    other_name[13] ^= 1;
    net.reply(&sent, &other_name);
    assert!(heard.borrow().is_none());
    assert_eq!(net.figure("foreign"), 4);
    net.reply(&sent, &right);
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn a_server_that_does_not_answer_is_followed_by_the_next_and_asked_last_for_a_while() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let first = net.sent("192.0.2.53:53");
    net.h.advance(SECOND + Duration::from_millis(10));
    let second = net.sent("192.0.2.54:53");
    assert!(heard.borrow().is_none());
    net.reply(&second, &answer(&second.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
    // The late answer of the first finds nobody.
    net.reply(&first, &answer(&first.bytes, &[Record::Ip("a.example", 30, "192.0.2.2")]));
    net.v4("b.example");
    net.sent("192.0.2.54:53");
    net.h.advance(40 * SECOND);
    while net.h.take_datagram().is_some() {}
    net.v4("c.example");
    // All that was tried in vain is down: the order is that of the file again.
    assert!(net.h.take_datagram().is_some());
}

#[test]
fn a_late_answer_counts_as_long_as_there_is_none() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let first = net.sent("192.0.2.53:53");
    net.h.advance(SECOND + Duration::from_millis(10));
    net.sent("192.0.2.54:53");
    net.reply(&first, &answer(&first.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn there_is_an_end_to_asking() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    net.h.advance(5 * SECOND);
    assert_eq!(found(&heard), Err(ResolveError::NoAnswer("a.example".to_owned())));
    assert!(net.h.bound().is_empty(), "all sockets are closed");
    let mut tries = 0;
    while net.h.take_datagram().is_some() {
        tries += 1;
    }
    assert_eq!(tries, 4, "two servers, two attempts");
    // It is not asked again at once.
    let again = net.v4("a.example");
    assert!(found(&again).is_err());
    net.no_question();
    net.h.advance(6 * SECOND);
    net.v4("a.example");
    assert!(net.h.take_datagram().is_some());
}

#[test]
fn a_server_that_fails_or_sends_nonsense_is_followed_by_the_next_at_once() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let first = net.sent("192.0.2.53:53");
    net.reply(&first, &nothing(&first.bytes, Rcode::SERVFAIL, 1));
    let second = net.sent("192.0.2.54:53");
    let mut cut = answer(&second.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]);
    cut.truncate(cut.len() - 2);
    net.reply(&second, &cut);
    let third = net.sent("192.0.2.53:53");
    net.reply(&third, &answer(&third.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn that_there_is_nothing_is_remembered() {
    let mut net = Net::new();
    let heard = net.v4("no.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &nothing(&sent.bytes, Rcode::NXDOMAIN, 60));
    let not_found = || Err(ResolveError::NotFound("no.example".to_owned()));
    assert_eq!(found(&heard), not_found());
    let again = net.v4("no.example");
    assert_eq!(found(&again), not_found());
    net.no_question();
    net.h.advance(60 * SECOND);
    net.v4("no.example");
    net.sent("192.0.2.53:53");
}

#[test]
fn an_answer_that_is_cut_short_is_asked_for_over_tcp() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    let mut cut = answer(&sent.bytes, &[]);
    cut[2] |= 2;
    net.reply(&sent, &cut);
    let connect = net.h.take_connect().expect("a connection");
    assert_eq!(connect.address(), &Address::Inet(server("192.0.2.53:53")));
    let peer = connect.accept(&mut net.h);
    net.h.run();
    let asked = peer.take();
    assert_eq!(usize::from(u16::from_be_bytes([asked[0], asked[1]])), asked.len() - 2);
    let texts: Vec<_> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
    let records: Vec<_> = texts.iter().map(|t| Record::Ip("a.example", 30, t)).collect();
    let message = answer(&asked[2..], &records);
    peer.send_bytewise([&(message.len() as u16).to_be_bytes(), message.as_slice()].concat());
    net.h.run();
    assert_eq!(found(&heard).map(|all| all.len()), Ok(200));
}

#[test]
fn a_tcp_connection_that_fails_is_followed_by_the_next_server() {
    let mut net = Net::new();
    let heard = net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    let mut cut = answer(&sent.bytes, &[]);
    cut[2] |= 2;
    net.reply(&sent, &cut);
    let connect = net.h.take_connect().expect("a connection");
    connect.refuse(&mut net.h, std::io::ErrorKind::ConnectionRefused);
    net.h.run();
    let sent = net.sent("192.0.2.54:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn aliases_are_followed_but_not_for_ever() {
    let mut net = Net::new();
    let heard = net.v4("a0.example");
    for n in 0..20 {
        let Some(sent) = net.h.take_datagram() else { break };
        let (from, to) = (format!("a{n}.example"), format!("a{}.example", n + 1));
        net.reply(&sent, &answer(&sent.bytes, &[Record::Alias(&from, 30, &to)]));
    }
    assert!(matches!(found(&heard), Err(ResolveError::TooManyAliases(_))));
    let heard = net.v4("b.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Alias("b.example", 30, "c.example")]));
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("c.example", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn one_question_is_asked_for_many_who_want_to_know() {
    let mut net = Net::new();
    let all: Vec<_> = (0..50).map(|_| net.v4("a.example")).collect();
    let sent = net.sent("192.0.2.53:53");
    net.no_question();
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 0, "192.0.2.1")]));
    for heard in all {
        assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
    }
    assert_eq!(net.figure("shared"), 49);
}

#[test]
fn questions_at_once_are_bounded() {
    let mut net = Net::new();
    for n in 0..MAX_QUESTIONS {
        net.v4(&format!("n{n}.example"));
    }
    let heard = net.v4("more.example");
    assert_eq!(found(&heard), Err(ResolveError::Busy));
}

#[test]
fn what_is_past_its_time_is_given_when_no_server_answers() {
    let mut net = Net::new();
    net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    net.h.advance(60 * SECOND);
    let heard = net.v4("a.example");
    net.h.advance(Duration::from_millis(1700));
    assert!(heard.borrow().is_none(), "servers have their time first");
    net.h.advance(Duration::from_millis(200));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
    // Having failed, the question is not asked again for a while.
    net.h.advance(10 * SECOND);
    while net.h.take_datagram().is_some() {}
    let again = net.v4("a.example");
    assert_eq!(found(&again), Ok(vec![ip("192.0.2.1")]));
    net.no_question();
}

#[test]
fn hot_names_are_asked_for_before_their_end() {
    let mut net = Net::new();
    net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 100, "192.0.2.1")]));
    for _ in 0..3 {
        net.v4("a.example");
    }
    net.no_question();
    net.h.advance(95 * SECOND);
    let heard = net.v4("a.example");
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 100, "192.0.2.2")]));
    let heard = net.v4("a.example");
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.2")]));
}

#[test]
fn the_files_of_the_machine_are_read_again_when_they_change() {
    let mut net = Net::new();
    let heard = net.v4("here.example");
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.7")]));
    let write = |dir: &Path, name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("a file");
    };
    write(net.dir.path(), "hosts", "192.0.2.8 here.example there.example\n");
    write(net.dir.path(), "resolv.conf", "nameserver 192.0.2.99\n");
    net.h.advance(FILES_TIME + SECOND);
    net.v4("here.example");
    let heard = net.v4("here.example");
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.8")]));
    net.v4("a.example");
    net.sent("192.0.2.99:53");
}

#[test]
fn short_names_are_looked_for_in_the_search_list() {
    let mut net = Net::with("nameserver 192.0.2.53\nsearch a.test b.test\n", "");
    let heard = net.v4("www");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &nothing(&sent.bytes, Rcode::NXDOMAIN, 60));
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("www.b.test", 30, "192.0.2.1")]));
    assert_eq!(found(&heard), Ok(vec![ip("192.0.2.1")]));
}

#[test]
fn literals_and_local_names_ask_nobody() {
    let mut net = Net::new();
    for (name, expected) in [("192.0.2.5", Ok("192.0.2.5")), ("localhost", Ok("127.0.0.1"))] {
        let heard = net.v4(name);
        assert_eq!(found(&heard), expected.map(|text: &str| vec![ip(text)]));
    }
    assert!(matches!(found(&net.v4("[::1]")), Err(ResolveError::NotFound(_))));
    assert!(matches!(found(&net.v4("a b")), Err(ResolveError::BadName(_))));
    net.no_question();
}

#[test]
fn both_families_are_asked_for_side_by_side() {
    let mut net = Net::new();
    let heard = Heard::default();
    let there = heard.clone();
    net.resolver.addresses("a.example", move |result| {
        there.replace(Some(result));
    });
    net.h.run();
    let v6 = net.sent("192.0.2.53:53");
    let v4 = net.sent("192.0.2.53:53");
    net.reply(&v4, &answer(&v4.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    assert!(heard.borrow().is_none());
    net.reply(&v6, &answer(&v6.bytes, &[Record::Ip("a.example", 30, "2001:db8::1")]));
    assert_eq!(found(&heard), Ok(vec![ip("2001:db8::1"), ip("192.0.2.1")]));
}

#[test]
fn the_cache_is_seen_and_flushed_in_the_tree() {
    let mut net = Net::new();
    net.v4("a.example");
    let sent = net.sent("192.0.2.53:53");
    net.reply(&sent, &answer(&sent.bytes, &[Record::Ip("a.example", 30, "192.0.2.1")]));
    let Outcome::Node(node) = net.h.inspect("resolver/cache/a.example A") else {
        panic!("it is not there")
    };
    assert_eq!(node.value("answer"), Some(&Value::Text("192.0.2.1".to_owned())));
    assert!(matches!(net.h.act("resolver", "flush", &["a.example"]), Outcome::Done(_)));
    net.v4("a.example");
    net.sent("192.0.2.53:53");
}
