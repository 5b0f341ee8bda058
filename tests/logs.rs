//! Logs of the real program: rotated, moved, sent and held up while it is under load.
#![allow(missing_docs)]

mod server;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;
use server::{PATIENCE, Server, answers, get, read_answer};

/// Clients at once.
const CLIENTS: usize = 6;
/// Requests of one client that are in flight at once.
const BATCH: usize = 50;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("f"), "content").expect("it is written");
    directory
}

fn serve(directory: &Path, options: &[&str]) -> Server {
    Server::with(directory, &[&["--http", "127.0.0.1:0"], options].concat())
}

/// Asks for `/f?CLIENT-0` and so on, until `enough` says so; gives the number of answers.
fn load(server: &Server, client: usize, enough: impl Fn(usize) -> bool) -> usize {
    let mut connection = server.connect();
    let mut done = 0;
    while !enough(done) {
        let batch: String =
            (done..done + BATCH).map(|n| get(&format!("/f?{client}-{n}"))).collect();
        connection.write_all(batch.as_bytes()).expect("it reads");
        for _ in 0..BATCH {
            assert_eq!(read_answer(&mut connection).status, 200);
        }
        done += BATCH;
    }
    done
}

/// Several clients at once; gives the number of answers of each.
fn load_all(server: &Server, enough: impl Fn(usize) -> bool + Sync) -> Vec<usize> {
    let enough = &enough;
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || load(server, client, enough))).collect();
        clients.into_iter().map(|client| client.join().expect("it is answered")).collect()
    })
}

/// Checks that these files hold one whole line for each request, in order.
fn check(files: &[String], answered: &[usize]) {
    let mut next: HashMap<usize, usize> = HashMap::new();
    for line in files.iter().flat_map(|text| text.lines()) {
        let request = line
            .strip_prefix("127.0.0.1 - - [")
            .and_then(|rest| rest.strip_suffix(" HTTP/1.1\" 200 7 \"-\" \"-\""))
            .and_then(|rest| rest.split_once("] \"GET /f?"))
            .and_then(|(_, id)| id.split_once('-'));
        let Some((client, n)) = request else { panic!("not whole: {line}") };
        let expected = next.entry(client.parse().expect("a number")).or_default();
        assert_eq!(n, expected.to_string(), "client {client}");
        *expected += 1;
    }
    for (client, answered) in answered.iter().enumerate() {
        assert_eq!(next.get(&client), Some(answered), "client {client}");
    }
    assert!(files.iter().all(|text| text.is_empty() || text.ends_with('\n')));
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(server.errors(), [""; 0]);
}

#[test]
fn a_log_rotated_under_load_has_each_line_once_and_whole() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("log");
    let shown = path.to_str().expect("UTF-8");
    let rule = ["--access-log", shown, "--log-rotate", "10K,keep=1000"];
    let server = serve(directory.path(), &rule);
    let answered = load_all(&server, |done| done >= 500);
    stop(server);
    let old = |n: usize| logs.path().join(format!("log.{n}"));
    let kept = (1..=1000).take_while(|n| old(*n).exists()).count();
    assert!(kept > 5, "{kept} old files");
    let mut files: Vec<String> = (1..=kept).rev().map(|n| text(&old(n))).collect();
    files.push(text(&path));
    assert!(files.iter().all(|text| text.len() <= 10 << 10));
    check(&files, &answered);
}

#[test]
fn a_log_moved_away_under_load_has_each_line_once_and_whole() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("log");
    let shown = path.to_str().expect("UTF-8");
    let server = serve(directory.path(), &["--access-log", shown]);
    let moved = |n: usize| logs.path().join(format!("moved.{n}"));
    let enough = AtomicBool::new(false);
    let mut sizes = Vec::new();
    let answered = std::thread::scope(|scope| {
        let clients = scope.spawn(|| load_all(&server, |_| enough.load(Ordering::Relaxed)));
        for n in 0..10 {
            let begin = Instant::now();
            while fs::metadata(&path).map_or(0, |log| log.len()) == 0 {
                assert!(begin.elapsed() < PATIENCE, "no line comes");
                std::thread::yield_now();
            }
            fs::rename(&path, moved(n)).expect("it is there");
            server.signal(Signal::USR1);
            while !path.exists() {
                assert!(begin.elapsed() < PATIENCE, "it is not opened anew");
                std::thread::yield_now();
            }
            // From now on the old one gets nothing more.
            sizes.push(fs::metadata(moved(n)).expect("it is there").len());
        }
        enough.store(true, Ordering::Relaxed);
        clients.join().expect("they are answered")
    });
    stop(server);
    let mut files: Vec<String> = (0..sizes.len()).map(|n| text(&moved(n))).collect();
    for (file, size) in files.iter().zip(sizes) {
        assert_eq!(file.len() as u64, size);
    }
    files.push(text(&path));
    check(&files, &answered);
}

#[test]
fn a_log_of_syslog_messages_survives_the_restart_of_its_daemon() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("dev-log");
    let listen = || {
        let daemon = UnixDatagram::bind(&path).expect("a socket");
        daemon.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        daemon
    };
    let received = |daemon: &UnixDatagram| {
        let mut buffer = [0; 9000];
        let len = daemon.recv(&mut buffer).expect("a message comes");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    };
    let daemon = listen();
    let to = format!("syslog:unix:{}", path.display());
    let server = serve(directory.path(), &["--access-log", &to]);
    server.ask(get("/f?1") + &get("/f?2"));
    for n in 1..=2 {
        let message = received(&daemon);
        assert!(message.starts_with("<30>1 2"), "{message}");
        assert!(message.contains(" - - 127.0.0.1 - - ["), "{message}");
        assert!(message.ends_with(&format!("\"GET /f?{n} HTTP/1.1\" 200 7 \"-\" \"-\"")));
    }
    drop(daemon);
    fs::remove_file(&path).expect("it is left");
    let daemon = listen();
    server.ask(get("/f?3"));
    assert!(received(&daemon).contains("\"GET /f?3 "));
    stop(server);
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_answers_nor_the_end() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let reader = fs::OpenOptions::new().read(true).custom_flags(flags).open(&path);
    let mut reader = reader.expect("its reader");
    let server = serve(directory.path(), &["--access-log", path.to_str().expect("UTF-8")]);
    // Long lines, so that more comes than may wait.
    let target = format!("/f?{}", "x".repeat(7000));
    let mut connection = server.connect();
    let all = 600;
    for _ in 0..all {
        connection.write_all(get(&target).as_bytes()).expect("it reads");
        assert_eq!(read_answer(&mut connection).status, 200);
    }
    let mut server = server;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    server.wait_for_line("the log pipe stands still");
    // What is in the pipe was written before.
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("it can be read");
    assert!(got.starts_with(b"127.0.0.1 - - ") && got.len() < 1 << 20, "{}", got.len());
}

#[test]
fn a_log_may_go_to_standard_output_and_nowhere() {
    let directory = directory();
    let mut server = serve(directory.path(), &["--access-log", "-", "--log-level", "error"]);
    assert_eq!(answers(&server.ask(get("/f"))).len(), 1);
    server.signal(Signal::TERM);
    let (status, lines) = server.wait();
    assert_eq!((status.code(), lines.len()), (Some(0), 1));
    assert!(lines[0].ends_with("\"GET /f HTTP/1.1\" 200 7 \"-\" \"-\""), "{lines:?}");
    assert_eq!(server.errors(), [""; 0]);
    let server = serve(directory.path(), &["--access-log", "off"]);
    server.ask(get("/f"));
    stop(server);
}

#[test]
fn lines_of_json_can_be_read() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("log");
    let shown = path.to_str().expect("UTF-8");
    let options = ["--access-log", shown, "--log-format", "json", "--diagnostics", "json"];
    let server = serve(directory.path(), &options);
    server.ask(get("/f").replace("\r\n\r\n", "\r\nUser-Agent: \"me\" \x01\u{e4}\r\n\r\n"));
    server.ask(get("/f").replace("\r\n\r\n", "\r\nUser-Agent: \"me\" \u{e4}\r\n\r\n"));
    stop(server);
    let lines: Vec<serde_json::Value> = text(&path)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object of JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["status"], lines[0].get("agent")), (&400.into(), None));
    assert_eq!((&lines[1]["status"], &lines[1]["bytes"]), (&200.into(), &7.into()));
    assert_eq!((&lines[1]["method"], &lines[1]["target"]), (&"GET".into(), &"/f".into()));
    // The two bytes of the letter, each as a character.
    assert_eq!(lines[1]["agent"], "\"me\" \u{c3}\u{a4}");
    assert_eq!(lines[1]["completed"], true);
}

#[test]
fn a_full_disk_is_said_and_costs_no_line() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).expect("it is made");
    let shown = path.to_str().expect("UTF-8");
    let mut server = serve(directory.path(), &["--access-log", shown, "--diagnostics", "json"]);
    let answered = load_all(&server, |done| done >= BATCH);
    let said = server.wait_for_line("the log log: it takes no lines: No space left");
    let said: serde_json::Value = serde_json::from_str(&said).expect("an object of JSON");
    assert_eq!(said["level"], "WARN");
    fs::remove_file(&path).expect("it is there");
    server.signal(Signal::USR1);
    server.wait_for_line("the log log: it takes lines again");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
    check(&[text(&path)], &answered);
}

#[test]
fn a_log_is_rotated_in_time_even_if_nobody_asks_any_more() {
    let (directory, logs) = (directory(), tempfile::tempdir().expect("a directory"));
    let path = logs.path().join("log");
    let shown = path.to_str().expect("UTF-8");
    let server = serve(directory.path(), &["--access-log", shown, "--log-rotate", "1s"]);
    server.ask(get("/f?0-0"));
    let (begin, old) = (Instant::now(), logs.path().join("log.1"));
    while !old.exists() || !path.exists() {
        assert!(begin.elapsed() < PATIENCE, "it is not rotated");
        std::thread::yield_now();
    }
    server.ask(get("/f?0-1"));
    stop(server);
    assert!(text(&old).contains("GET /f?0-0 "));
    let all: Vec<String> = (1..=7)
        .rev()
        .map(|n| logs.path().join(format!("log.{n}")))
        .chain([path])
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    check(&all, &[2]);
}
