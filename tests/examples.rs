//! The examples, run as a newcomer runs them; `cargo test` has built them.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a test waits for what must come, so that a fault fails it instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example; it is stopped when the test is over, however that ends.
struct Example {
    child: Child,
    address: String,
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed by other means.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(name: &str) -> Example {
    let test = std::env::current_exe().expect("a test has a path");
    let built = test.parent().and_then(|deps| deps.parent()).expect("it stands in target/*/deps");
    let path = built.join("examples").join(name);
    let mut child =
        Command::new(&path).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap_or_else(|e| {
            panic!("{}: {e}; `cargo build --examples` makes it", path.display())
        });
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("it says something").expect("in UTF-8");
    let listening = line();
    let address = listening.strip_prefix(&format!("listening {name} ")).expect("the address");
    let address = address.to_owned();
    assert_eq!(line(), "ready");
    Example { child, address }
}

fn connect(example: &Example) -> TcpStream {
    let client = TcpStream::connect(&example.address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    client
}

#[test]
fn echo_gives_back_what_it_gets() {
    let example = run("echo");
    let mut client = connect(&example);
    client.write_all(b"hello, echo").expect("it reads");
    client.shutdown(Shutdown::Write).expect("it is open");
    let mut back = String::new();
    client.read_to_string(&mut back).expect("it answers and closes");
    assert_eq!(back, "hello, echo");
}

/// Somebody in the chat.
struct Guest {
    out: TcpStream,
    lines: BufReader<TcpStream>,
    nick: String,
}

impl Guest {
    fn join(example: &Example) -> Self {
        let out = connect(example);
        let lines = BufReader::new(out.try_clone().expect("a socket can be cloned"));
        let mut guest = Self { out, lines, nick: String::new() };
        let joins = guest.hears();
        let nick = joins.strip_prefix("* ").and_then(|rest| rest.strip_suffix(" joins"));
        guest.nick.push_str(nick.expect("one's own arrival comes first"));
        guest
    }

    fn says(&mut self, line: &str) {
        self.out.write_all(format!("{line}\n").as_bytes()).expect("the chat reads");
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the chat speaks UTF-8");
        assert!(line.ends_with('\n'), "the chat closed after `{line}`");
        line.trim_end().to_owned()
    }

    fn hears_the_end(mut self) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("an orderly end");
        assert_eq!(rest, "");
    }
}

#[test]
fn everybody_in_the_chat_hears_everybody() {
    let example = run("chat");
    let mut ann = Guest::join(&example);
    let mut bob = Guest::join(&example);
    assert_ne!(ann.nick, bob.nick);
    assert_eq!(ann.hears(), format!("* {} joins", bob.nick));
    let said = [
        (format!("<{}> hello", ann.nick), "hello"),
        (format!("* {} is now ann", ann.nick), "/nick ann"),
        ("* ann waves".to_owned(), "/me waves"),
        ("<ann> [31mcolour".to_owned(), "\x1b[31mcolour\r"),
        (format!("<ann> {}", "x".repeat(400)), &"x".repeat(1000)),
    ];
    for (heard, line) in said {
        ann.says(line);
        assert_eq!(ann.hears(), heard);
        assert_eq!(bob.hears(), heard);
    }
    for (line, answer) in [
        ("/nick ANN", "* ANN is taken, or no name".to_owned()),
        ("/nick a:b", "* a:b is taken, or no name".to_owned()),
        ("/frob", "* /frob: what?".to_owned()),
        ("/names", format!("* here: ann, {}", bob.nick)),
    ] {
        bob.says(line);
        assert_eq!(bob.hears(), answer, "only the one who asked hears it");
    }
    ann.says("/quit");
    assert_eq!(bob.hears(), "* ann leaves");
    ann.hears_the_end();
    // Going without a word is leaving too, and ends the input like `/quit`.
    let cyd = Guest::join(&example);
    assert_eq!(bob.hears(), format!("* {} joins", cyd.nick));
    let nick = cyd.nick.clone();
    drop(cyd);
    assert_eq!(bob.hears(), format!("* {nick} leaves"));
}

#[test]
fn a_slow_reader_neither_stalls_nor_bloats_the_chat() {
    let example = run("chat");
    let mut slow = Guest::join(&example);
    let mut quick = Guest::join(&example);
    let line = "x".repeat(390);
    let before = memory_kib(&example);
    // More than the system's own buffers hold for the slow one.
    for _ in 0..4000 {
        for _ in 0..20 {
            quick.says(&line);
        }
        for _ in 0..20 {
            assert!(quick.hears().ends_with(&line), "the quick one hears everything");
        }
    }
    if let (Some(before), Some(after)) = (before, memory_kib(&example)) {
        assert!(after < before + 4096, "{before} KiB have become {after}");
    }
    // What it has not missed it still hears; what it missed it is told of, as room comes and goes.
    let (mut heard, mut missed) = (0, 0);
    // Its neighbour's arrival is one line more.
    while heard + missed < 4000 * 20 + 1 {
        let line = slow.hears();
        match line.strip_prefix("* you missed ").and_then(|rest| rest.strip_suffix(" lines")) {
            Some(number) => missed += number.parse::<u32>().expect("a number"),
            None => heard += 1,
        }
    }
    assert_eq!(heard + missed, 4000 * 20 + 1);
    assert!(missed > 0, "the system's buffers held all of it: the test shows nothing");
    quick.says("still there?");
    assert!(slow.hears().ends_with("still there?"));
}

/// The memory that a process has for itself, where the system tells.
fn memory_kib(example: &Example) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", example.child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Sends one request and gives the whole answer.
fn ask(example: &Example, request: &str) -> String {
    let mut client = connect(example);
    client.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

#[test]
fn a_script_answers_and_is_loaded_anew() {
    let example = run("scripted");
    let close = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let hello = ask(&example, &format!("GET /lua/hello/Medusa {close}\r\n"));
    assert!(
        hello.starts_with("HTTP/1.1 200") && hello.ends_with("\r\n\r\nhello Medusa"),
        "{hello}"
    );
    let body = "x".repeat(100_000);
    let length =
        ask(&example, &format!("POST /lua/length {close}Content-Length: 100000\r\n\r\n{body}"));
    assert!(length.ends_with("\r\n\r\n100000\n"), "{length}");
    let countdown = ask(&example, &format!("GET /lua/countdown/1 {close}\r\n"));
    assert!(countdown.ends_with("2\r\n1\n\r\n2\r\n0\n\r\n0\r\n\r\n"), "{countdown}");
    for visits in [1, 2] {
        let seen = ask(&example, &format!("GET /lua/visits/ann {close}\r\n"));
        assert!(seen.contains(&format!("\"visits\":{visits}")), "{seen}");
    }
    let reloaded = ask(&example, &format!("POST /reload {close}Content-Length: 0\r\n\r\n"));
    assert!(reloaded.contains("the new version is loaded"), "{reloaded}");
    let seen = ask(&example, &format!("GET /lua/visits/ann {close}\r\n"));
    assert!(seen.contains("\"visits\":1"), "the new version begins anew: {seen}");
}
