//! What the program promises to whoever starts it: arguments, standard output and error, exit
//! status, signals.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use rustix::process::Signal;
use server::{Server, get, medusa, read_answer, read_head};

/// A file that is much larger than what the sockets between us can hold.
const HUGE: u64 = 64 << 20;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("f"), "content").expect("it is written");
    let file = fs::File::create(directory.path().join("huge")).expect("it is made");
    file.set_len(HUGE).expect("it is extended");
    directory
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = medusa(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_directory_may_be_named_or_not_with_or_without_serve() {
    let directory = directory();
    let shown = directory.path().to_str().expect("UTF-8");
    for arguments in [
        &["--no-ftp", "--http", "127.0.0.1:0"][..],
        &["serve", "--no-ftp", "--http", "127.0.0.1:0"],
        &[".", "--no-ftp", "--http", "127.0.0.1:0"],
        &[shown, "--http", "127.0.0.1:0", "--no-ftp"],
        &["--http=127.0.0.1:0", "--no-ftp", shown],
        &["serve", shown, "--no-ftp", "--http", "127.0.0.1:0"],
        &["serve", "--http", "127.0.0.1:0", "--no-ftp", shown],
    ] {
        let server = Server::start(medusa(arguments).current_dir(directory.path()));
        let mut client = server.connect();
        client.write_all(get("/f").as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut client).body, b"content", "{arguments:?}");
    }
}

#[test]
fn standard_output_has_a_line_for_each_listener_then_ready_and_nothing_else() {
    let directory = directory();
    let socket = format!("unix:{}", directory.path().join("s").display());
    let options = [
        "--http",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--http",
        &socket,
        "--ftp",
        "127.0.0.1:0",
        "--log-level",
        "trace",
    ];
    let mut server = Server::with(directory.path(), &options);
    let addresses: Vec<String> = server.addresses().iter().map(|a| (*a).to_owned()).collect();
    assert_eq!((addresses.len(), server.listening.len()), (3, 5));
    assert_eq!(server.listening[3], format!("listening ftp {}", server.ftp()));
    assert_eq!(
        server.listening[4],
        format!("listening monitor unix:{}", server.monitor().display())
    );
    assert_eq!(addresses[2], socket);
    for address in &addresses[..2] {
        let address: SocketAddr = address.parse().expect("an address");
        assert!(address.ip().is_loopback() && address.port() != 0);
    }
    assert_ne!(addresses[0], addresses[1]);
    server.ask(get("/f"));
    server.ask("bad\r\n\r\n");
    server.wait_for_line("\"GET /f HTTP/1.1\" 200 7 \"-\" \"-\"");
    server.wait_for_line("\"-\" 400 ");
    server.signal(Signal::TERM);
    let (status, more) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(more, [""; 0], "logs go to standard error only");
}

#[test]
fn the_log_can_be_turned_off() {
    let directory = directory();
    for level in ["off", "error", "warn"] {
        let options = ["--http", "127.0.0.1:0", "--log-level", level];
        let mut server = Server::with(directory.path(), &options);
        server.ask(get("/f"));
        server.signal(Signal::INT);
        assert_eq!(server.wait().0.code(), Some(0));
        assert_eq!(server.errors(), [""; 0], "{level}");
    }
}

#[test]
fn help_and_version() {
    let (status, out, err) = run(&["--version"]);
    assert_eq!(out, format!("medusa {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!((status, &*err), (Some(0), ""));
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let (status, out, err) = run(arguments);
        assert_eq!((status, &*err), (Some(0), ""));
        assert!(out.contains("Usage: medusa [serve] [OPTIONS] [DIR]"), "{out}");
    }
    let (_, out, _) = run(&["serve", "--help"]);
    for option in [
        "--http",
        "--ftp",
        "--no-ftp",
        "--write",
        "--max-connections",
        "--log-level",
        "--access-log",
        "unix:PATH",
    ] {
        assert!(out.contains(option), "{option} in {out}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_sentence_with_the_way_out() {
    let directory = directory();
    let shown = directory.path().to_str().expect("UTF-8");
    let file = directory.path().join("f").display().to_string();
    let missing = directory.path().join("missing").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound").to_string();
    let nowhere = format!("unix:{}/no/s", directory.path().display());
    let occupied = format!("unix:{file}");
    let nolog = format!("{}/no/log", directory.path().display());
    let nosyslog = format!("syslog:unix:{}/none", directory.path().display());
    for (arguments, thing, way_out) in [
        (&[shown, "--http", &taken][..], &*taken, "--http"),
        (&[shown, "--http", "127.0.0.1:0", "--http", &taken], &taken, "--http"),
        (&[shown, "--http", "127.0.0.1:0", "--ftp", &taken], &taken, "--ftp"),
        (&[shown, "--http", "127.0.0.1:0", "--ftp", &taken], &taken, "--no-ftp"),
        (&[shown, "--ftp", "unix:s"], "unix:s", "IP:PORT"),
        (&[shown, "--ftp", &taken, "--no-ftp"], "--no-ftp", "--help"),
        (&[shown, "--write", "--no-ftp"], "--no-ftp", "--help"),
        (&[&missing], &missing, "medusa serve DIR"),
        (&["serve", &missing], &missing, "medusa serve DIR"),
        (&[&file], &file, "medusa serve DIR"),
        (&["--bogus"], "--bogus", "--help"),
        (&[shown, "more"], "more", "--help"),
        (&[shown, "--http", "nonsense"], "nonsense", "IP:PORT"),
        (&[shown, "--http", "127.0.0.1:99999"], "127.0.0.1:99999", "IP:PORT"),
        (&[shown, "--http", "127.0.0.1"], "127.0.0.1", "IP:PORT"),
        (&[shown, "--http", "unix:"], "unix:", "unix:PATH"),
        (&[shown, "--http"], "--http", "--help"),
        (&[shown, "--http", &nowhere], &nowhere, "--http"),
        (&[shown, "--http", &occupied], &occupied, "--http"),
        (&[shown, "--max-connections", "0"], "--max-connections", "1.."),
        (&[shown, "--max-connections", "many"], "many", "--help"),
        (&[shown, "--log-level", "loud"], "loud", "warn"),
        (&[shown, "--access-log", &nolog], &nolog, "make it"),
        (&[shown, "--access-log", shown], shown, "name a file in it"),
        (&[shown, "--access-log", "syslog:localhost:514"], "localhost:514", "IP:PORT"),
        (&[shown, "--access-log", &nosyslog], &nosyslog[12..], "start it"),
        (&[shown, "--log-format", "short"], "short", "common"),
        (&[shown, "--access-log", "l", "--log-rotate", "weekly"], "weekly", "daily"),
        (&[shown, "--access-log", "stderr", "--log-rotate", "1M"], "rotated", "--access-log FILE"),
    ] {
        let (status, out, err) = run(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {err}");
        assert!(!out.contains("ready"), "{arguments:?}");
        let first = err.lines().next().unwrap_or_default();
        let named = first.starts_with("medusa: ") || first.starts_with("error: ");
        assert!(named && first.contains(thing), "{thing} in {err}");
        assert!(err.contains(way_out), "{way_out} in {err}");
        if first.starts_with("medusa: ") {
            assert_eq!(err.lines().count(), 1, "{err}");
        }
        assert!(!err.contains("os error") && !err.contains("panicked"), "{err}");
    }
    assert_eq!(fs::read(&file).expect("it is still there"), b"content");
}

#[test]
fn a_signal_lets_a_slow_download_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = directory();
        let mut server = Server::of(directory.path());
        let mut idle = server.connect();
        idle.write_all(get("/f").as_bytes()).expect("it reads");
        read_answer(&mut idle);
        let mut slow = server.connect();
        slow.write_all(get("/huge").as_bytes()).expect("it reads");
        read_head(&mut slow);
        server.signal(signal);
        server.wait_until_deaf();
        assert_eq!(idle.read(&mut [0; 10]).expect("an ordinary end"), 0);
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).expect("the rest, then an ordinary end");
        assert_eq!(rest.len() as u64, HUGE);
        drop(slow);
        assert_eq!(server.wait().0.code(), Some(0));
        server.wait_for_line(&format!("\"GET /huge HTTP/1.1\" 200 {HUGE} "));
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let directory = directory();
    let mut server = Server::of(directory.path());
    let mut slow = server.connect();
    slow.write_all(get("/huge").as_bytes()).expect("it reads");
    read_head(&mut slow);
    server.signal(Signal::TERM);
    server.wait_until_deaf();
    server.signal(Signal::TERM);
    server.wait();
    let line = server.wait_for_line("\"GET /huge HTTP/1.1\" 200 ");
    assert!(line.ends_with(" aborted"), "{line}");
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(n @ 1..) = slow.read(&mut buffer) {
        got += n as u64;
    }
    assert!(got < HUGE);
}

#[test]
fn clients_over_the_limit_wait_for_their_turn() {
    let directory = directory();
    let options = ["--http", "127.0.0.1:0", "--max-connections", "1"];
    let server = Server::with(directory.path(), &options);
    let mut first = server.connect();
    first.write_all(get("/f").as_bytes()).expect("it reads");
    assert_eq!(read_answer(&mut first).status, 200);
    let mut second = server.connect();
    second.write_all(get("/f").as_bytes()).expect("there is room");
    // The loop has seen the second before it answers this.
    for _ in 0..10 {
        first.write_all(get("/f").as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut first).status, 200);
    }
    second.set_nonblocking(true).expect("a socket option");
    let waits = second.read(&mut [0; 10]).expect_err("nobody answers it");
    assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock);
    second.set_nonblocking(false).expect("a socket option");
    drop(first);
    assert_eq!(read_answer(&mut second).body, b"content");
}

#[test]
fn a_socket_left_by_a_killed_server_is_no_obstacle() {
    let directory = directory();
    let socket = directory.path().join("s");
    let address = format!("unix:{}", socket.display());
    let mut server = Server::with(directory.path(), &["--http", &address]);
    // While it lives, nobody else gets the socket.
    let shown = directory.path().to_str().expect("UTF-8");
    let (status, _, err) = run(&[shown, "--http", &address]);
    assert!(status == Some(2) && err.contains(&address), "{err}");
    server.signal(Signal::KILL);
    server.wait();
    assert!(socket.exists());
    let server = Server::with(directory.path(), &["--http", &address]);
    assert_eq!(server.addresses(), [&*address]);
}
