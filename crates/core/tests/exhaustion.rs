//! A server that runs out of descriptors, in a process of its own, for the limit is the process's.
#![allow(missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::{Echo, client, echoed, inet, listen, look, read_all, serve_with};
use medusa_core::Settings;
use medusa_core::inspect::Value;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Set in the environment of the process that is the server.
const CHILD: &str = "MEDUSA_TEST_EXHAUSTED_SERVER";

/// Descriptors that the server may have.
const DESCRIPTORS: u64 = 40;

/// Serves until its standard input ends; for each line of it, tells how often its loop turned.
#[test]
fn server() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).expect("a limit can be lowered");
    let (address, server) =
        serve_with(Settings::default(), |reactor| listen(reactor, &inet("127.0.0.1:0"), || Echo));
    println!("at {address}");
    for line in std::io::stdin().lines() {
        line.expect("standard input can be read");
        let Some(Value::Count(turns)) = look(&server, "reactor", "turns") else {
            panic!("the loop counts its turns")
        };
        println!("turns {turns}");
    }
    std::process::exit(0);
}

#[test]
fn without_descriptors_a_server_neither_spins_nor_dies_and_recovers() {
    let mut child = Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["--exact", "server", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can be run again");
    let mut tell = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut hear = |word: &str| -> String {
        // The test harness says things of its own in between, also on the same line.
        let found = lines.find_map(|line| {
            let line = line.expect("the server speaks text");
            line.find(word).map(|at| line[at + word.len()..].to_owned())
        });
        found.expect("the server answers")
    };
    let address = inet(&hear("at "));
    let mut turns = || -> u64 {
        tell.write_all(b"?\n").expect("the server hears");
        hear("turns ").parse().expect("a number")
    };

    let mut served: Vec<TcpStream> = Vec::new();
    let mut refused = 0;
    while refused == 0 {
        let mut next = client(&address);
        // One that is refused may be reset by what it says.
        let _ = next.write_all(b"hello");
        let mut back = [0; 5];
        match next.read_exact(&mut back) {
            Ok(()) => served.push(next),
            Err(_) => refused += 1,
        }
        assert!(served.len() < DESCRIPTORS as usize);
    }
    // Those that come now are ended one by one, with a rest before each.
    let before = turns();
    let waiting: Vec<TcpStream> = (0..3).map(|_| client(&address)).collect();
    for mut client in waiting {
        assert!(read_all(&mut client).is_empty());
    }
    let between = turns() - before;
    assert!(between < 1000, "{between} turns: it spins");
    // The others have noticed nothing, and when some go, new ones are served.
    served.iter_mut().for_each(echoed);
    served.truncate(served.len() / 2);
    let mut again = client(&address);
    while {
        let _ = again.write_all(b"hello");
        again.read_exact(&mut [0; 5]).is_err()
    } {
        // It came before the descriptors were given back.
        again = client(&address);
    }
    served.iter_mut().for_each(echoed);
    drop(tell);
    assert!(child.wait().expect("the server ends").success());
}
