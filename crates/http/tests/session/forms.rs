//! The forms of the access log: what a client sent can be read back from each.

use std::time::Duration;

use medusa_core::Peer;
use medusa_http::access_log::Form;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::{Server, Shelf, get, later, now, says};

fn server(form: Form) -> (Server, Shelf) {
    let shelf = Shelf::default();
    let server = Server::new(vec![now("/now", "12345"), later("/later", &shelf)]);
    server.log.form.set(form);
    (server, shelf)
}

/// The lines as objects of JSON.
fn objects(server: &Server) -> Vec<Value> {
    let object =
        |line: String| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    server.log.take().into_iter().map(object).collect()
}

#[test]
fn the_common_form_ends_with_the_bytes() {
    let (mut server, _) = server(Form::Common);
    server.send(get("/now", "User-Agent: me\r\nReferer: there\r\n"));
    let lead = "198.51.100.1 - - [01/Jan/2100:00:00:00 +0000] ";
    assert_eq!(server.log.take(), [format!(r#"{lead}"GET /now HTTP/1.1" 200 5"#)]);
    let (peer, _) = server.send(get("/later", ""));
    peer.reset();
    server.h.run();
    assert_eq!(server.log.take(), [format!(r#"{lead}"GET /later HTTP/1.1" 499 0 aborted"#)]);
}

#[test]
fn a_json_line_has_all_that_is_known() {
    let (mut server, shelf) = server(Form::Json);
    let fields = "User-Agent: me \"two\"\r\nReferer: http://r/\r\n";
    server.send(get("/now?a=b\\", fields).replace("Host: a", "Host: a.example:8080"));
    assert_eq!(
        objects(&server),
        [json!({
            "time": "2100-01-01T00:00:00.001Z",
            "client": "198.51.100.1",
            "method": "GET",
            "target": "/now?a=b\\",
            "version": "1.1",
            "host": "a.example",
            "referer": "http://r/",
            "agent": "me \"two\"",
            "status": 200,
            "bytes": 5,
            "duration_us": 0,
            "completed": true,
        })]
    );
    // The time is that of the request, whenever it is answered.
    server.send("GET /later HTTP/1.0\r\n\r\n");
    server.h.advance(Duration::from_micros(1_234_567));
    shelf.reply("/later", says("late"));
    server.h.run();
    assert_eq!(
        objects(&server),
        [json!({
            "time": "2100-01-01T00:00:00.002Z",
            "client": "198.51.100.1",
            "method": "GET",
            "target": "/later",
            "version": "1.0",
            "status": 200,
            "bytes": 4,
            "duration_us": 1_234_567,
            "completed": true,
        })]
    );
}

#[test]
fn a_json_line_says_what_was_not_completed_and_what_was_no_request() {
    let (mut server, _) = server(Form::Json);
    let peer = server.h.accept_from(&server.service, Peer::Unix).expect("it is accepted");
    peer.send(get("/later", ""));
    server.h.run();
    server.h.advance(Duration::from_millis(5));
    peer.reset();
    server.h.run();
    server.send("bad\r\n\r\n");
    let objects = objects(&server);
    let aborted = &objects[0];
    assert_eq!((&aborted["client"], &aborted["status"]), (&json!("unix"), &json!(499)));
    assert_eq!((&aborted["completed"], &aborted["bytes"]), (&json!(false), &json!(0)));
    assert_eq!(aborted["duration_us"], 5000);
    let refused = &objects[1];
    assert_eq!((&refused["status"], &refused["completed"]), (&json!(400), &json!(true)));
    assert!(refused.get("method").is_none() && refused.get("target").is_none());
}

/// Bytes that may stand in a field, without white space around them.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no control", |b| *b >= 0x20 && *b != 0x7f || *b == b'\t');
    prop::collection::vec(byte, 1..40)
        .prop_filter("no white space around", |value| value.trim_ascii().len() == value.len())
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select((b'!'..=b'~').filter(|b| *b != b'#').collect::<Vec<u8>>());
    prop::collection::vec(byte, 0..40).prop_map(|query| [b"/now?", &query[..]].concat())
}

fn request(target: &[u8], referer: &[u8], agent: &[u8]) -> Vec<u8> {
    [
        b"GET ",
        target,
        b" HTTP/1.1\r\nHost: a\r\nReferer: ",
        referer,
        b"\r\nUser-Agent: ",
        agent,
        b"\r\n\r\n",
    ]
    .concat()
}

/// What a reader of the combined form does: splits at blanks, but not within quotes or brackets.
fn split(line: &str) -> Vec<Vec<u8>> {
    let mut rest = line.as_bytes();
    let mut all = Vec::new();
    while let Some((&first, after)) = rest.split_first() {
        let (end, quoted) = match first {
            b'"' => (b'"', true),
            b'[' => (b']', true),
            _ => (b' ', false),
        };
        rest = if quoted { after } else { rest };
        let mut field = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'\\' if rest[0] == b'x' => {
                    let digits = std::str::from_utf8(&rest[1..3]).expect("digits");
                    field.push(u8::from_str_radix(digits, 16).expect("digits"));
                    rest = &rest[3..];
                }
                b'\\' => {
                    field.push(rest[0]);
                    rest = &rest[1..];
                }
                _ if byte == end => break,
                _ => field.push(byte),
            }
        }
        if quoted {
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
        }
        all.push(field);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sent_can_be_read_back(
        target in target(),
        referer in field(),
        agent in field(),
    ) {
        let (mut server, _) = server(Form::Combined);
        let input = request(&target, &referer, &agent);
        server.send(&input);
        let lines = server.log.take();
        prop_assert_eq!(lines.len(), 1);
        prop_assert!(lines[0].bytes().all(|b| matches!(b, b' '..=b'~')));
        let line = [b"GET ", &target[..], b" HTTP/1.1"].concat();
        let expected: Vec<&[u8]> = vec![
            b"198.51.100.1", b"-", b"-", b"01/Jan/2100:00:00:00 +0000", &line, b"200", b"5",
            &referer, &agent,
        ];
        prop_assert_eq!(split(&lines[0]), expected);

        server.log.form.set(Form::Json);
        server.send(&input);
        let line = server.log.take().remove(0);
        prop_assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')));
        let object: Value = serde_json::from_str(&line).expect("it is JSON");
        let bytes = |name: &str| -> Vec<u8> {
            let text = object[name].as_str().expect("a string");
            text.chars().map(|c| u8::try_from(c).expect("a byte")).collect()
        };
        prop_assert_eq!(bytes("target"), target);
        prop_assert_eq!(bytes("referer"), referer);
        prop_assert_eq!(bytes("agent"), agent);
    }
}
