//! Logs as a whole: real files and pipes, real threads, no sleeping.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, symlink};

use medusa_core::inspect::{Inspect, Outcome, Value};
use medusa_core::testing::Harness;
use medusa_core::{Reactor, Settings};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::*;
use crate::limits::{BUFFER_BYTES, QUEUE_BYTES};

fn reactor() -> Reactor {
    Reactor::new(Settings::default()).expect("a loop")
}

fn logs() -> Logs {
    let logs = Logs::new().expect("standard error");
    logs.start().expect("a thread");
    logs
}

fn file(path: &Path) -> Destination {
    Destination::File { path: path.to_owned(), rotate: None }
}

fn say(lines: &Lines, line: &str) {
    lines.line(&mut |out| out.extend_from_slice(line.as_bytes()));
}

/// Fills what may wait, twice.
fn flood(lines: &Lines) -> u64 {
    let line = format!("{}\n", "x".repeat(1023));
    let all = 2 * QUEUE_BYTES / line.len();
    for _ in 0..all {
        say(lines, &line);
    }
    all as u64
}

fn wait_until(mut what: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed().as_secs() < 60, "it does not happen");
        std::thread::yield_now();
    }
}

fn figure(logs: &Logs, name: &str, figure: &str) -> u64 {
    let child = Shown(Rc::downgrade(&logs.0)).child(name).expect("it is open");
    match child.node().value(figure) {
        Some(Value::Count(n) | Value::Bytes(n)) => *n,
        other => panic!("{other:?}"),
    }
}

/// A named pipe and its reader, which reads nothing yet.
fn pipe(path: &Path) -> fs::File {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path).expect("its reader")
}

#[test]
fn a_reader_that_stands_still_stops_neither_the_loop_nor_its_end_nor_other_logs() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, other) = (directory.path().join("pipe"), directory.path().join("file"));
    let mut reader = pipe(&path);
    let (reactor, logs) = (reactor(), logs());
    let stuck = logs.lines(reactor.handle(), &file(&path), false).expect("it is read");
    let all = flood(&stuck);
    let well = logs.lines(reactor.handle(), &file(&other), false).expect("it opens");
    say(&well, "a line\n");
    logs.finish();
    assert_eq!(fs::read_to_string(&other).expect("it is there"), "a line\n");
    // Now somebody reads: what was kept comes, and what was not is told of.
    rustix::io::ioctl_fionbio(&reader, false).expect("it can be set");
    let mut got = String::new();
    reader.read_to_string(&mut got).expect("text");
    let (told, kept): (Vec<&str>, Vec<&str>) =
        got.lines().partition(|line| line.starts_with("medusa: "));
    assert!((QUEUE_BYTES..=QUEUE_BYTES + 2 * BUFFER_BYTES).contains(&(kept.len() * 1024)));
    let dropped = told.iter().map(|line| {
        let number = line.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
        number.expect("a number")
    });
    assert_eq!(dropped.sum::<u64>() + kept.len() as u64, all);
}

#[test]
fn a_full_disk_loses_nothing_that_can_wait() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    symlink("/dev/full", &path).expect("it is made");
    let (reactor, logs) = (reactor(), logs());
    let lines = logs.lines(reactor.handle(), &file(&path), false).expect("it opens");
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..BUFFER_BYTES / line.len() {
        say(&lines, &line);
    }
    wait_until(|| figure(&logs, "log", "errors") > 0);
    fs::remove_file(&path).expect("it is there");
    say(&lines, "the last\n");
    logs.reopen();
    wait_until(|| figure(&logs, "log", "waiting") == 0);
    let before = figure(&logs, "log", "dropped");
    logs.finish();
    let text = fs::read_to_string(&path).expect("it is there");
    assert_eq!(text.lines().count(), BUFFER_BYTES / line.len() + 1);
    assert!(text.ends_with("x\nthe last\n") && before == 0);
}

#[test]
fn a_full_disk_does_not_hold_up_the_end() {
    let (reactor, logs) = (reactor(), logs());
    let lines = logs.lines(reactor.handle(), &file(Path::new("/dev/full")), false);
    let lines = lines.expect("it opens");
    let all = flood(&lines);
    let shown = Shown(Rc::downgrade(&logs.0)).child("full").expect("it is open");
    logs.finish();
    let node = shown.node();
    // What was said in the log of dropped lines was dropped, too.
    let Some(Value::Count(dropped)) = node.value("dropped") else { panic!("no count") };
    assert!((all..all + 100).contains(dropped), "{dropped}");
    // After the end nothing panics and nothing is written.
    say(&lines, "late\n");
    assert!(logs.lines(reactor.handle(), &Destination::Stderr, false).is_err());
}

#[test]
fn a_destination_is_opened_once_and_closed_behind_its_last_user() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let (reactor, logs) = (reactor(), logs());
    let opened = |path: &Path| logs.lines(reactor.handle(), &file(path), false).expect("it opens");
    let (one, two) = (
        opened(&path),
        opened(
            &directory
                .path()
                .join("../")
                .join(directory.path().file_name().expect("a name"))
                .join("log"),
        ),
    );
    assert!(Rc::ptr_eq(&one, &two));
    say(&one, "1\n");
    say(&two, "2\n");
    let other = directory.path().join("d");
    fs::create_dir(&other).expect("it is made");
    let _third = opened(&other.join("log"));
    let children = Shown(Rc::downgrade(&logs.0)).node().children;
    assert_eq!(children, ["stderr", "log", "log-2"]);
    drop((one, two));
    wait_until(|| fs::read_to_string(&path).is_ok_and(|text| text == "1\n2\n"));
    // It can be opened again, and be the one for diagnostics.
    say(&opened(&path), "3\n");
    wait_until(|| fs::read_to_string(&path).is_ok_and(|text| text == "1\n2\n3\n"));
}

#[test]
fn a_new_rule_of_rotation_counts_for_a_log_that_is_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let (reactor, logs) = (reactor(), logs());
    let opened = |rule: &str| {
        let rotate = rule.parse().ok();
        let destination = Destination::File { path: path.clone(), rotate };
        logs.lines(reactor.handle(), &destination, false).expect("it opens")
    };
    let lines = opened("");
    say(&lines, "1\n");
    opened("2");
    logs.reopen();
    say(&lines, "2\n");
    logs.finish();
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "2\n");
}

#[test]
fn what_is_logged_before_the_threads_start_is_written_even_if_they_never_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let reactor = reactor();
    for start in [true, false] {
        let logs = Logs::new().expect("standard error");
        let lines = logs.lines(reactor.handle(), &file(&path), false).expect("it opens");
        say(&lines, "1\n");
        logs.reopen();
        if start {
            logs.start().expect("a thread");
        }
        say(&lines, "2\n");
        drop(logs);
    }
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "1\n2\n1\n2\n");
}

#[test]
fn what_cannot_be_opened_is_said_with_the_way_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let (reactor, logs) = (reactor(), logs());
    let syslog = |tag: &str| {
        Destination::Syslog(SyslogOptions {
            address: crate::SyslogAddress::Unix(directory.path().join("none")),
            tag: tag.to_owned(),
            ..SyslogOptions::default()
        })
    };
    for (destination, part) in [
        (file(&directory.path().join("no/log")), "directory does not exist"),
        (file(directory.path()), "name a file in it"),
        (file(Path::new("..")), "name a file in it"),
        (file(&pipe), "start its reader first"),
        (syslog("medusa"), "start it"),
        (syslog("a b"), "printable ASCII"),
    ] {
        let error = logs.lines(reactor.handle(), &destination, false).err().expect("an error");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains("os error"), "{error}");
    }
    let mut open = Vec::new();
    for n in 1..DESTINATIONS {
        let path = directory.path().join(n.to_string());
        open.push(logs.lines(reactor.handle(), &file(&path), false).expect("it opens"));
    }
    let path = directory.path().join("one more");
    let error = logs.lines(reactor.handle(), &file(&path), false).err().expect("an error");
    assert!(error.to_string().contains("more than"), "{error}");
}

#[test]
fn actions_open_the_logs_anew_and_explain_themselves() {
    let logs = logs();
    let mut h = Harness::new();
    logs.mount(&h.handle());
    let mut refused = |action, arguments: &[&str]| match h.act("logs", action, arguments) {
        Outcome::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused("levels", &["loud"]).contains("loud"));
    assert!(refused("levels", &["info"]).contains("diagnostics"));
    assert!(refused("levels", &[]).contains("levels LEVELS"));
    assert!(refused("rotate", &[]).contains("reopen"));
    assert!(matches!(h.act("logs", "reopen", &[]), Outcome::Done(_)));
    logs.finish();
}

#[test]
fn whoever_follows_a_log_hears_its_lines_until_that_is_dropped() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut h, logs) = (Harness::new(), logs());
    let lines = logs.lines(&h.handle(), &file(&directory.path().join("a.log")), false);
    let lines = lines.expect("it opens");
    let heard: Rc<RefCell<Vec<String>>> = Rc::default();
    let hear = || {
        let heard = heard.clone();
        move |line: &[u8]| heard.borrow_mut().push(String::from_utf8_lossy(line).into_owned())
    };
    say(&lines, "before\n");
    let following = logs.follow("a.log", hear()).expect("it is open");
    say(&lines, "one\n");
    say(&lines, "two\nthree\n");
    assert!(heard.borrow().is_empty(), "nobody hears it in the midst of a request");
    h.run();
    assert_eq!(heard.take(), ["one", "two", "three"]);
    let second = logs.follow("a.log", hear()).expect("it is open");
    say(&lines, "twice\n");
    drop(second);
    h.run();
    assert_eq!(heard.take(), ["twice", "twice"]);
    drop(following);
    say(&lines, "after\n");
    h.run();
    assert!(heard.borrow().is_empty());
    let why = logs.follow("b.log", hear()).err().expect("there is none");
    assert!(why.contains("`b.log`") && why.contains("a.log"), "{why}");
}

#[test]
fn whoever_follows_hears_how_many_lines_are_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut h, logs) = (Harness::new(), logs());
    let lines = logs.lines(&h.handle(), &file(&directory.path().join("a.log")), false);
    let lines = lines.expect("it opens");
    let heard: Rc<RefCell<Vec<String>>> = Rc::default();
    let to = heard.clone();
    let hear = move |line: &[u8]| to.borrow_mut().push(String::from_utf8_lossy(line).into_owned());
    let _following = logs.follow("a.log", hear).expect("it is open");
    let all = crate::limits::FOLLOWED_BYTES / 1024 + 7;
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..all {
        say(&lines, &line);
    }
    h.run();
    assert_eq!(heard.borrow().len(), all - 7 + 1);
    assert!(heard.take().last().expect("a last one").contains("7 lines are left out"));
    say(&lines, "next\n");
    h.run();
    assert_eq!(heard.take(), ["next"]);
}
