//! FTP under attack, and when the machine fails it: nothing outside is touched, nothing is left
//! behind, and nobody waits for somebody else.
#![allow(missing_docs)]

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use medusa_core::{Address, ListenOptions, Reactor, Settings};
use medusa_fs::{MemoryTree, Persona, TreeOptions, VirtualPath};
use medusa_ftp::{Anonymous, FtpService, FtpSettings};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use server::ftp::Client;
use server::{PATIENCE, Server, noise};

/// Serves a directory to anybody, for writing too. The system does not confine it, or nothing would
/// be seen of what the server itself lets through.
fn serve(directory: &Path) -> Server {
    let listen = ["--http", "127.0.0.1:0", "--ftp", "127.0.0.1:0"];
    Server::with(directory, &[&listen[..], &["--write", "--confine", "off"]].concat())
}

/// Everything below a directory: names, modes and contents.
fn snapshot(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is a directory") {
        let entry = entry.expect("it is listed");
        let (name, meta) = (entry.file_name(), entry.metadata().expect("it is there"));
        let name = name.to_string_lossy().into_owned();
        let content = if meta.is_file() { fs::read(entry.path()).expect("read") } else { vec![] };
        if meta.is_dir() {
            let below = snapshot(&entry.path());
            all.extend(below.into_iter().map(|(n, what)| (format!("{name}/{n}"), what)));
        }
        all.insert(name, (meta.permissions().mode(), content));
    }
    all
}

/// A directory that was looked at, and then was a link, led out of what is served.
#[test]
fn directories_that_are_swapped_for_links_lead_nowhere_outside() {
    let (served, outside) =
        (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
    let (inside, out) = (served.path(), outside.path());
    fs::create_dir_all(inside.join("d/sub")).expect("made");
    fs::create_dir_all(out.join("sub")).expect("made");
    for name in ["f", "victim", "sub/f", "from"] {
        fs::write(inside.join("d").join(name), "inside").expect("written");
        fs::write(out.join(name), "SECRET").expect("written");
    }
    fs::write(out.join("SECRET-NAME"), "SECRET").expect("written");
    fs::write(inside.join("x"), "inside").expect("written");
    symlink(out, inside.join("l")).expect("made");
    symlink(out.join("f"), inside.join("y")).expect("made");
    let before = snapshot(out);
    let server = serve(inside);
    let address = server.ftp();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (one, other) in [("d", "l"), ("x", "y")] {
                    let (one, other) = (inside.join(one), inside.join(other));
                    // A client may just have moved one of them away.
                    let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
            }
        });
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| attack(address))).collect();
        let failed: Vec<_> = clients.into_iter().filter_map(|c| c.join().err()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "a client has seen something");
    });
    assert_eq!(snapshot(out), before, "nothing outside is written, removed or changed");
}

/// Does all that can be done through a directory that is swapped, until each thing has gone both
/// ways.
fn attack(address: &str) {
    let mut client = Client::logged_in(address, "ftp", "x");
    // Fetched: inside, and not at all.
    let mut seen = [0_u32; 2];
    let begin = Instant::now();
    let mut round = 0;
    while round < 200 || seen.contains(&0) {
        assert!(begin.elapsed() < 4 * PATIENCE, "the race has never gone both ways: {seen:?}");
        round += 1;
        for path in ["d/f", "d/sub/f", "x", "l/f", "y"] {
            let (got, said) = client.fetch(&format!("RETR {path}"));
            match &got[..] {
                b"inside" => seen[0] += 1,
                b"" => seen[1] += 1,
                other => panic!("{path}: {said}: {}", String::from_utf8_lossy(other)),
            }
        }
        for list in ["MLSD d", "LIST d", "NLST d", "LIST d/*", "NLST l/*"] {
            let (got, _) = client.fetch(list);
            let got = String::from_utf8_lossy(&got);
            assert!(!got.contains("SECRET"), "{list}: {got}");
        }
        client.put("STOR d/new", b"mine");
        client.put("APPE d/f2", b"mine");
        for path in ["d/f", "x", "l/f"] {
            client.say("REST 2");
            client.put(&format!("STOR {path}"), b"side");
        }
        for command in [
            "DELE d/victim",
            "MKD d/made",
            "RMD d/made",
            "SITE CHMOD 600 d/f",
            "MFMT 20010101000000 d/f",
            "RNFR d/from",
            "RNTO d/to",
            "RNFR d/to",
            "RNTO d/from",
            "SIZE d/f",
            "MDTM l/f",
            "DELE l/f",
            "DELE d/sub/f",
            "RNFR l/f",
            "RNTO got",
            "DELE got",
        ] {
            let said = client.say(command);
            assert!(!said.starts_with('1') && !said.starts_with("421"), "{command}: {said}");
        }
        for path in ["d/f", "d/sub/f", "d/victim"] {
            client.put(&format!("STOR {path}"), b"inside");
        }
    }
}

/// A small disk of its own; gone when this is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If it is held yet, it goes when it is not any more.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// 226 was sent for what a full disk had not taken.
#[test]
fn a_disk_that_fills_up_is_told_and_nothing_is_left() {
    let Some(disk) = Disk::mount("size=1m,mode=777") else {
        let why = "this needs the right to mount a disk";
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a_disk_that_fills_up_is_told_and_nothing_is_left: {why}"
        );
        return;
    };
    let directory = disk.0.path();
    let mut server = serve(directory);
    let mut client = Client::logged_in(server.ftp(), "ftp", "x");
    let large = noise(3_000_000);
    for _ in 0..3 {
        assert!(client.put("STOR large", &large).starts_with("452 "));
        assert!(client.put("STOU large", &large).starts_with("452 "));
        assert_eq!(snapshot(directory).len(), 0, "nothing is left");
    }
    let small = noise(100_000);
    assert!(client.put("STOR kept", &small).starts_with("226 "));
    // What is replaced stays until its successor is whole.
    assert!(client.put("STOR kept", &large).starts_with("452 "));
    assert!(fs::read(directory.join("kept")).expect("it is there") == small);
    // What is appended stays as far as there was room.
    assert!(client.put("APPE kept", &large).starts_with("452 "));
    let kept = fs::read(directory.join("kept")).expect("it is there");
    assert!(kept.starts_with(&small) && kept.len() <= 1 << 20);
    assert!(large.starts_with(&kept[small.len()..]));
    assert!(client.fetch("RETR kept").0 == kept, "the session lives on");
    assert!(client.say("DELE kept").starts_with("250 "));
    assert!(client.put("STOR again", &small).starts_with("226 "));
    assert_eq!(snapshot(directory).len(), 1);
    server.signal(rustix::process::Signal::TERM);
    server.wait();
}

/// Entries may run out too.
#[test]
fn a_disk_without_room_for_names_is_told() {
    let Some(disk) = Disk::mount("size=1m,nr_inodes=4,mode=777") else {
        let why = "this needs the right to mount a disk";
        let _ =
            writeln!(std::io::stderr(), "skipped: a_disk_without_room_for_names_is_told: {why}");
        return;
    };
    let mut server = serve(disk.0.path());
    let mut client = Client::logged_in(server.ftp(), "ftp", "x");
    let codes: Vec<_> = (0..6).map(|n| client.put(&format!("STOR f{n}"), b"x")).collect();
    assert!(codes[0].starts_with("226 ") && codes[5].starts_with("452 "), "{codes:?}");
    assert!(client.say("MKD d").starts_with("452 "));
    assert!(client.say("DELE f0").starts_with("250 "));
    assert!(client.say("MKD d").starts_with("257 "));
    server.signal(rustix::process::Signal::TERM);
    server.wait();
}

/// What the server has open.
fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count()
}

/// Clients that went at an unlucky moment left half a file, a port, or a descriptor behind.
#[test]
fn a_client_that_goes_in_any_state_leaves_nothing() {
    let directory = tempfile::tempdir().expect("made");
    fs::write(directory.path().join("large"), noise(3_000_000)).expect("written");
    let server = serve(directory.path());
    let address = server.ftp();
    // All helper threads, and whatever is opened once.
    let mut client = Client::logged_in(address, "ftp", "x");
    assert!(client.put("STOR new", &noise(300_000)).starts_with("226 "));
    assert!(client.say("DELE new").starts_with("250 "));
    client.fetch("MLSD");
    client.fetch("RETR large");
    assert!(client.say("QUIT").starts_with("221 "));
    drop(client);
    let wait = |what: &str, is_it: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !is_it() {
            assert!(begin.elapsed() < PATIENCE, "{what}");
            std::thread::yield_now();
        }
    };
    // The listeners, the loop and its own: what a server without clients has.
    let mut least = descriptors(&server);
    wait("it settles", &|| {
        let now = descriptors(&server);
        now == descriptors(&server)
    });
    least = least.min(descriptors(&server));
    for reset in [false, true] {
        for (state, commands) in [
            ("greeted", &[][..]),
            ("named", &["USER ftp"][..]),
            ("logged in", &["USER ftp", "PASS x"][..]),
            ("a port", &["USER ftp", "PASS x", "EPSV"][..]),
            ("a port and a command", &["USER ftp", "PASS x", "EPSV", "STOR new"][..]),
            ("a listing that nobody takes", &["USER ftp", "PASS x", "EPSV", "MLSD"][..]),
            ("renaming", &["USER ftp", "PASS x", "RNFR large"][..]),
            ("a hash", &["USER ftp", "PASS x", "HASH large"][..]),
        ] {
            let mut client = Client::connect(address);
            for command in commands {
                client.send(command);
            }
            end(client, reset);
            wait(state, &|| descriptors(&server) <= least);
        }
        for (state, command, content) in [
            ("half an upload", "STOR new", Some(100_000)),
            ("an upload without a byte", "STOR new", Some(0)),
            ("half a download", "RETR large", None),
            ("half a download of type A", "RETR large", None),
            ("half an upload under its name", "STOU", Some(70_000)),
        ] {
            for data_first in [false, true] {
                let mut client = Client::logged_in(address, "ftp", "x");
                if state.ends_with("type A") {
                    client.say("TYPE A");
                }
                let mut data = client.data();
                assert!(client.say(command).starts_with('1'), "{state}");
                match content {
                    Some(bytes) => data.write_all(&noise(bytes)).expect("it reads"),
                    None => data.read_exact(&mut [0; 1000]).expect("it sends"),
                }
                if data_first {
                    // An upload is broken off by a reset only; an end is its end.
                    reset_on_close(&data);
                    drop(data);
                    end(client, reset);
                } else {
                    end(client, reset);
                    wait("the data connection ends too", &|| {
                        let mut rest = [0; 4096];
                        matches!((&data).read(&mut rest), Ok(0) | Err(_))
                    });
                    drop(data);
                }
                wait(state, &|| descriptors(&server) <= least);
                let names: Vec<_> = snapshot(directory.path()).into_keys().collect();
                assert_eq!(names, ["large"], "{state}");
            }
        }
    }
    assert!(Client::logged_in(address, "ftp", "x").say("NOOP").starts_with("200 "));
}

fn reset_on_close(stream: &std::net::TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO))
        .expect("a socket option");
}

fn end(mut client: Client, reset: bool) {
    if reset {
        reset_on_close(client.stream());
    }
    drop(client);
}

/// A client that takes nothing, or sends nothing, held up the others.
#[test]
fn transfers_in_both_directions_do_not_wait_for_each_other() {
    let directory = tempfile::tempdir().expect("made");
    let large = noise(8_000_000);
    fs::write(directory.path().join("large"), &large).expect("written");
    let server = serve(directory.path());
    let address = server.ftp();
    let standing: Vec<_> = (0..20)
        .map(|n| {
            let mut client = Client::logged_in(address, "ftp", "x");
            let data = client.data();
            let command = if n % 2 == 0 { "RETR large".into() } else { format!("STOR up{n}") };
            assert!(client.say(&command).starts_with('1'));
            (client, data)
        })
        .collect();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let large = &large;
            scope.spawn(move || {
                let mut client = Client::logged_in(address, "ftp", "x");
                if n % 2 == 0 {
                    let (got, said) = client.fetch("RETR large");
                    assert!(said.starts_with("226 ") && got == *large, "{said}");
                } else {
                    let said = client.put(&format!("STOR whole{n}"), large);
                    assert!(said.starts_with("226 "), "{said}");
                }
            });
        }
    });
    for n in [1, 3] {
        assert!(fs::read(directory.path().join(format!("whole{n}"))).expect("there") == large);
    }
    // Those that stood go on.
    for (n, (mut client, mut data)) in standing.into_iter().enumerate() {
        if n % 2 == 0 {
            let mut got = Vec::new();
            data.read_to_end(&mut got).expect("all of it");
            assert!(got == large);
        } else {
            data.write_all(&large[..1000]).expect("it reads");
            drop(data);
        }
        assert!(client.reply().starts_with("226 "), "{n}");
    }
}

/// Ports of a small range were not to be had again for a minute after each transfer.
#[test]
fn a_small_range_of_ports_does_not_run_dry() {
    const TRANSFERS: usize = 200;
    // Some of them may be taken by others.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let first = free.port().min(u16::MAX - 8);
    let (say, hear) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let options = TreeOptions { writable: true, ..TreeOptions::default() };
        let tree = MemoryTree::new(options, std::time::SystemTime::now);
        let path = VirtualPath::parse(b"/f").expect("a path").path;
        tree.insert(&path, &b"content"[..]).expect("there is room");
        let all = "elradfmwMT".parse().expect("letters");
        let anonymous = Anonymous::with(Arc::new(tree), Persona::Process, all);
        let settings =
            FtpSettings { passive_ports: Some(first..=first + 7), ..FtpSettings::default() };
        let ftp = FtpService::new(settings, vec![Rc::new(anonymous)], Vec::new());
        let mut reactor = Reactor::new(Settings::default()).expect("a loop");
        let any: Address = "127.0.0.1:0".parse().expect("an address");
        let (_, bound) =
            reactor.listen(&any, Rc::new(ftp), ListenOptions::default()).expect("it listens");
        say.send((bound.to_string(), reactor.remote())).expect("somebody waits");
        reactor.run().expect("it runs");
    });
    let (address, remote) = hear.recv().expect("it listens");
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let address = &address;
            scope.spawn(move || {
                let mut client = Client::logged_in(address, "ftp", "x");
                for n in 0..TRANSFERS {
                    let (got, said) = client.fetch("RETR f");
                    assert!(said.starts_with("226 ") && got == b"content", "{n}: {said}");
                    let said = client.put(&format!("STOR up{worker}"), b"x");
                    assert!(said.starts_with("226 "), "{n}: {said}");
                    // One that nobody connects to is given up for the next.
                    assert!(client.say("EPSV").starts_with("229 "), "{n}");
                }
            });
        }
    });
    remote.call(|handle| handle.shutdown(std::time::Duration::ZERO)).expect("it hears");
    thread.join().expect("it ends");
}
