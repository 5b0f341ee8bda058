//! Basic authentication, from the field to the reply.

use std::rc::Rc;
use std::time::Duration;

use medusa_auth::{Checker, CheckerSettings, file, password};
use medusa_http::extensions::{BasicAuth, BasicAuthOptions};
use tempfile::TempDir;

use crate::server::{Server, answers, echo, get, now, only};

/// `ann:secret`
const ANN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
/// `bob:secret`
const BOB: &str = "Authorization: Basic Ym9iOnNlY3JldA==\r\n";
/// `ann:wrong`
const WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\n";

struct Guarded {
    server: Server,
    dir: TempDir,
}

/// A server that lets Ann and Bob in, or only some of them.
fn guarded(users: &[&str]) -> Guarded {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users");
    let hash = password::hash(b"secret").expect("random numbers");
    let text = ["ann", "bob"]
        .iter()
        .fold(String::new(), |text, name| file::edit(&text, name, Some(&hash)).expect("added"));
    std::fs::write(&path, text).expect("written");
    let auth = BasicAuth::new(BasicAuthOptions {
        realm: "the back room".to_owned(),
        checker: Checker::new(path, CheckerSettings::default()).expect("a checker"),
        users: users.iter().map(|&name| name.to_owned()).collect(),
    });
    let auth = Rc::new(auth.expect("a guard"));
    let list = vec![now("/open", "open"), auth, now("/in", "in"), echo("/echo")];
    Guarded { server: Server::new(list), dir }
}

#[test]
fn who_knows_the_password_passes() {
    let Guarded { mut server, dir: _dir } = guarded(&[]);
    let asked = server.get("/in", "");
    assert_eq!(asked.status, 401);
    let challenge = "Basic realm=\"the back room\", charset=\"UTF-8\"";
    assert_eq!(asked.field("WWW-Authenticate"), Some(challenge));
    assert_eq!(server.get("/in", ANN).text(), "in");
    assert_eq!(server.get("/in", WRONG).status, 401);
    assert_eq!(server.get("/in", &format!("{ANN}{ANN}")).status, 401, "which one would it be?");
    assert_eq!(server.get("/in", "Authorization: Bearer x\r\n").status, 401);
    assert_eq!(server.get("/nothing", "").status, 401, "nor what there is behind it");
    assert_eq!(server.get("/open", "").text(), "open");
}

#[test]
fn the_log_has_the_name_that_was_given() {
    let Guarded { mut server, dir: _dir } = guarded(&[]);
    for (lines, status) in [("", 401), (ANN, 200), (ANN, 200), (WRONG, 401)] {
        assert_eq!(server.get("/in", lines).status, status);
    }
    // `a b"\\é:x`
    assert_eq!(server.get("/in", "Authorization: Basic YSBiIlzDqTp4\r\n").status, 401);
    let users: Vec<_> = server
        .log
        .take()
        .iter()
        .map(|line| {
            let (client, rest) = line.split_once(" - ").expect("a client");
            let (user, rest) = rest.split_once(" [").expect("a user");
            assert!(!client.contains(' ') && rest.contains("] \"GET /in HTTP/1.1\" "), "{line}");
            user.to_owned()
        })
        .collect();
    assert_eq!(users, ["-", "ann", "ann", "ann", "a\\x20b\\x22\\x5c\\xc3\\xa9"]);
}

#[test]
fn only_those_pass_who_are_named() {
    let Guarded { mut server, dir: _dir } = guarded(&["bob"]);
    assert_eq!(server.get("/in", BOB).status, 200);
    assert_eq!(server.get("/in", ANN).status, 401);
    assert_eq!(server.get("/in", ANN).status, 401, "nor from memory");
}

#[test]
fn a_password_is_checked_once_and_then_known() {
    let Guarded { mut server, dir: _dir } = guarded(&[]);
    server.h.hold_jobs();
    let (peer, output) = server.send([get("/in", ANN), get("/open", "")].concat());
    assert_eq!((output.len(), server.h.jobs()), (0, 1));
    server.h.run_jobs();
    server.h.run();
    let texts: Vec<_> = answers(&peer.take()).iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["in", "open"]);
    assert_eq!(server.get("/in", ANN).text(), "in");
    assert_eq!(server.h.jobs(), 0);
    server.h.advance(Duration::from_secs(61));
    server.send(get("/in", ANN));
    assert_eq!(server.h.jobs(), 1);
}

#[test]
fn a_body_waits_for_the_check_and_a_wrong_password_never_gets_it_taken() {
    let body = "0123456789";
    let put = |lines: &str| {
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\
             {lines}\r\n"
        )
    };
    let Guarded { mut server, dir: _dir } = guarded(&[]);
    server.h.hold_jobs();
    let (peer, output) = server.send(put(ANN));
    assert_eq!(output.len(), 0);
    server.h.run_jobs();
    let asked = server.more(&peer, "");
    assert_eq!(only(asked).status, 100);
    assert_eq!(only(server.more(&peer, body)).text(), format!("10:{body}"));
    let (peer, _) = server.send(put(WRONG));
    server.h.run_jobs();
    assert_eq!(only(server.more(&peer, "")).status, 401);
    server.h.advance(Duration::from_secs(60));
    assert!(peer.closed().is_some(), "the body may still come, and nobody wants it");
}

#[test]
fn a_file_that_cannot_be_read_lets_nobody_pass() {
    let mut guarded = guarded(&[]);
    std::fs::write(guarded.dir.path().join("users"), "nonsense").expect("written");
    let answer = guarded.server.get("/in", ANN);
    assert_eq!((answer.status, answer.text().contains("users")), (500, false));
}

#[test]
fn a_realm_that_breaks_out_of_its_quotes_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users");
    std::fs::write(&path, "").expect("written");
    let checker = Checker::new(path, CheckerSettings::default()).expect("a checker");
    for realm in ["a\"b", "a\\b", "a\r\nb", &"a".repeat(256)] {
        let options = BasicAuthOptions {
            realm: realm.to_owned(),
            checker: checker.clone(),
            users: Vec::new(),
        };
        assert!(BasicAuth::new(options).is_err(), "{realm:?}");
    }
}
