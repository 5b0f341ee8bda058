//! The figures that a server shows of itself, and its slowest requests.

use std::rc::Rc;
use std::time::Duration;

use medusa_core::ChannelSettings;
use medusa_core::inspect::{Node, Outcome, Value};
use medusa_http::access_log::Form;
use medusa_http::{Extensions, Handled, HttpSettings, Reply};

use crate::server::{Server, Shelf, at, get, later, now, says};

fn server(shelf: &Shelf) -> Server {
    let list = vec![
        now("/now", "12345"),
        later("/later/", shelf),
        at("/broken", |_, _| Handled::Now(Reply::text(500, ""))),
        at("/stream", |_, exchange| {
            exchange.lasts();
            Handled::Now(says("an event"))
        }),
    ];
    let server = Server::new(list);
    server.h.handle().mount("http", server.service.inspect());
    server
}

fn node(server: &mut Server, path: &str) -> Node {
    match server.h.inspect(path) {
        Outcome::Node(node) => node,
        other => panic!("{path}: {other:?}"),
    }
}

fn counts(server: &mut Server, fields: [&str; 6]) -> [u64; 6] {
    let node = node(server, "http");
    fields.map(|field| match node.value(field) {
        Some(Value::Count(n) | Value::Bytes(n)) => *n,
        other => panic!("{field}: {other:?}"),
    })
}

/// What was asked and how long it took, in milliseconds, of the slowest requests.
fn slowest(server: &mut Server) -> Vec<(String, u128)> {
    let children = node(server, "http/slowest requests").children;
    let one = |place: String| {
        let node = node(server, &format!("http/slowest requests/{place}"));
        match (node.value("asked"), node.value("took")) {
            (Some(Value::Text(asked)), Some(Value::Time(took))) => {
                (asked.clone(), took.as_millis())
            }
            other => panic!("{other:?}"),
        }
    };
    children.into_iter().map(one).collect()
}

#[test]
fn replies_are_counted_by_their_status_with_their_bytes() {
    let mut server = server(&Shelf::default());
    let fields = ["requests", "2xx", "4xx", "5xx", "refused", "sent"];
    assert_eq!(counts(&mut server, fields), [0; 6]);
    let (_, output) = server.send([get("/now", ""), get("/now", ""), get("/none", "")].concat());
    let sent = output.len() as u64;
    assert_eq!(counts(&mut server, fields), [3, 2, 1, 0, 0, sent]);
    let (_, broken) = server.send(get("/broken", ""));
    let (_, refused) = server.send("what?\r\n\r\n");
    let sent = sent + broken.len() as u64 + refused.len() as u64;
    assert_eq!(counts(&mut server, fields), [4, 2, 2, 1, 1, sent]);
}

#[test]
fn a_request_without_a_reply_is_counted_as_aborted_only() {
    let shelf = Shelf::default();
    let mut server = server(&shelf);
    let (peer, _) = server.send(get("/later/a", ""));
    peer.reset();
    server.h.run();
    let fields = ["requests", "aborted", "2xx", "3xx", "4xx", "5xx"];
    assert_eq!(counts(&mut server, fields), [1, 1, 0, 0, 0, 0]);
}

#[test]
fn slow_requests_are_remembered_for_minutes_without_their_queries() {
    for form in [Form::Common, Form::Combined, Form::Json] {
        let shelf = Shelf::default();
        let mut server = server(&shelf);
        server.log.form.set(form);
        for (path, query, ms) in [("/later/a", "", 30), ("/later/<b>\"", "?token=secret", 900)] {
            let (peer, _) = server.send(get(&format!("{path}{query}"), ""));
            server.h.advance(Duration::from_millis(ms));
            shelf.reply(path.replace('"', "\\\"").as_str(), says("done"));
            server.h.run();
            assert!(!peer.take().is_empty());
        }
        let [first, second] = &slowest(&mut server)[..] else { panic!("two") };
        assert_eq!((&*first.0, first.1), (r#"GET /later/<b>\""#, 900), "{form:?}");
        assert_eq!((&*second.0, second.1), ("GET /later/a", 30), "{form:?}");
        server.h.advance(Duration::from_secs(600));
        assert_eq!(slowest(&mut server), [], "{form:?}: they are long ago");
    }
}

#[test]
fn a_server_without_a_log_remembers_slow_requests_too() {
    let long = format!("/{}", "x".repeat(999));
    for (path, asked) in [("/now?a", "GET /now"), (&*long, &format!("GET {}", &long[..252]))] {
        let mut server = server(&Shelf::default());
        let list = Rc::new(Extensions::new(vec![now("/now", "12345")]));
        server.service.replace(list, HttpSettings::default(), ChannelSettings::default(), None);
        server.get(path, "");
        assert_eq!(slowest(&mut server), [(asked.to_owned(), 0)]);
    }
}

#[test]
fn a_reply_that_lasts_counts_as_no_slow_one() {
    let mut server = server(&Shelf::default());
    server.get("/stream", "");
    assert_eq!(slowest(&mut server), []);
    server.get("/now", "");
    assert_eq!(slowest(&mut server), [("GET /now".to_owned(), 0)]);
}
