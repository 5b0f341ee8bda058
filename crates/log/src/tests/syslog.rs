//! Messages to daemons of the test's own.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;

use proptest::prelude::*;

use super::*;

/// 2026-11-22 12:00:00.000123 UTC
const NOW: Duration = Duration::from_micros(1_795_348_800_000_123);

fn queue() -> Queue {
    Queue::new("test".to_owned(), None)
}

fn options(address: SyslogAddress) -> SyslogOptions {
    let facility = "local0".parse().expect("a facility");
    SyslogOptions { address, facility, tag: "web".to_owned() }
}

/// Writes everything as the writing thread does.
fn write(syslog: &mut Syslog, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        done += syslog.write(&bytes[done..], NOW, &queue()).expect("somebody listens");
    }
}

fn received(socket: &UnixDatagram) -> String {
    let mut buffer = [0; SYSLOG_LOCAL_BYTES + 1];
    let len = socket.recv(&mut buffer).expect("a message");
    String::from_utf8(buffer[..len].to_vec()).expect("text")
}

/// Takes a message apart as RFC 5424 section 6 says: everything before the text, and the text.
fn parse(message: &str) -> (Vec<&str>, &str) {
    let mut parts = message.splitn(8, ' ');
    let head = parts.by_ref().take(7).collect();
    (head, parts.next().expect("a text"))
}

#[test]
fn each_line_is_a_message() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let daemon = UnixDatagram::bind(&path).expect("a socket");
    let mut syslog = Syslog::open(&options(SyslogAddress::Unix(path))).expect("it listens");
    write(&mut syslog, b"one line\nanother - \"line\"\n\n");
    for text in ["one line", "another - \"line\"", ""] {
        let message = received(&daemon);
        let (head, said) = parse(&message);
        assert_eq!(said, text);
        // local0 is 16, informational is 6.
        assert_eq!(head[..2], ["<134>1", "2026-11-22T12:00:00.000123Z"]);
        assert!(!head[2].is_empty());
        assert_eq!(head[3], "web");
        assert_eq!(head[4], std::process::id().to_string());
        assert_eq!(head[5..], ["-", "-"]);
    }
    let long = [vec![b'x'; 2 * SYSLOG_LOCAL_BYTES], b"\nnext\n".to_vec()].concat();
    write(&mut syslog, &long);
    assert_eq!(received(&daemon).len(), SYSLOG_LOCAL_BYTES);
    assert_eq!(parse(&received(&daemon)).1, "next");
}

#[test]
fn a_daemon_may_restart_and_may_be_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let options = options(SyslogAddress::Unix(path.clone()));
    assert!(Syslog::open(&options).is_err());
    let daemon = UnixDatagram::bind(&path).expect("a socket");
    let mut syslog = Syslog::open(&options).expect("it listens");
    drop(daemon);
    assert!(syslog.write(b"1\n2\n", NOW, &queue()).is_err());
    std::fs::remove_file(&path).expect("it is left");
    let daemon = UnixDatagram::bind(&path).expect("a socket");
    write(&mut syslog, b"1\n2\n");
    assert_eq!(parse(&received(&daemon)).1, "1");
    assert_eq!(parse(&received(&daemon)).1, "2");
    drop(daemon);
    std::fs::remove_file(&path).expect("it is left");
    let daemon = UnixDatagram::bind(&path).expect("a socket");
    write(&mut syslog, b"3\n");
    assert_eq!(parse(&received(&daemon)).1, "3");
}

#[test]
fn a_daemon_that_listens_on_a_stream_gets_lines() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let daemon = UnixListener::bind(&path).expect("a socket");
    let mut syslog = Syslog::open(&options(SyslogAddress::Unix(path))).expect("it listens");
    write(&mut syslog, b"1\n2\n");
    let (connection, _) = daemon.accept().expect("a connection");
    drop(syslog);
    let lines: Vec<String> = BufReader::new(connection).lines().map_while(Result::ok).collect();
    let texts: Vec<&str> = lines.iter().map(|line| parse(line).1).collect();
    assert_eq!(texts, ["1", "2"]);
}

#[test]
fn messages_go_by_udp_whether_or_not_somebody_listens() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(collector) = UdpSocket::bind(any) else { continue };
        let to = collector.local_addr().expect("bound");
        let mut syslog = Syslog::open(&options(SyslogAddress::Udp(to))).expect("a socket");
        write(&mut syslog, &[vec![b'x'; SYSLOG_UDP_BYTES], b"\nnext\n".to_vec()].concat());
        let mut buffer = [0; SYSLOG_LOCAL_BYTES + 1];
        assert_eq!(collector.recv(&mut buffer).expect("a message"), SYSLOG_UDP_BYTES);
        let len = collector.recv(&mut buffer).expect("a message");
        assert!(buffer[..len].ends_with(b" - - next"));
        drop(collector);
        write(&mut syslog, b"1\n2\n3\n");
    }
}

#[test]
fn facilities_have_names() {
    for name in FACILITIES.iter().filter(|name| !name.is_empty()) {
        assert_eq!(name.parse::<Facility>().expect("it is known").to_string(), *name);
    }
    assert!("".parse::<Facility>().is_err());
    let error = "local8".parse::<Facility>().expect_err("there are eight");
    assert!(error.contains("local8") && error.contains("local7"), "{error}");
    assert!(is_tag("medusa") && is_tag(&"x".repeat(48)));
    assert!(!is_tag("") && !is_tag(&"x".repeat(49)) && !is_tag("a b") && !is_tag("ä"));
}

proptest! {
    #[test]
    fn any_line_fits_into_a_message(line in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let line: Vec<u8> = line.into_iter().filter(|b| *b != b'\n').collect();
        let address = SyslogAddress::Udp(([127, 0, 0, 1], 1).into());
        let mut syslog = Syslog::open(&options(address)).expect("a socket");
        syslog.make(&line, NOW);
        prop_assert!(syslog.message.len() <= SYSLOG_UDP_BYTES);
        let head = syslog.before_time.len() + 27 + syslog.after_time.len();
        prop_assert!(line.starts_with(&syslog.message[head..]));
        prop_assert!(syslog.message.len() == SYSLOG_UDP_BYTES
            || syslog.message.len() == head + line.len());
    }
}
