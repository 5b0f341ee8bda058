//! Virtual hosts, and a service that is told something else while it runs.

use std::rc::Rc;

use medusa_core::ChannelSettings;
use medusa_core::inspect::Value;
use medusa_core::testing::How;
use medusa_http::hosts::Unknown;
use medusa_http::{Extension, Extensions, Host, Hosts, HttpService, HttpSettings, Reply};

use crate::server::{
    Answer, Bench, Log, Server, Shelf, answers, assert_ended, echo, get, later, now, only, post,
    says, statuses, undecided,
};

fn host(name: &str, names: &[&str], list: Vec<Rc<dyn Extension>>) -> Host {
    Host {
        name: name.to_owned(),
        names: names.iter().map(ToString::to_string).collect(),
        extensions: Rc::new(Extensions::new(list)),
    }
}

fn two() -> Hosts {
    let a = host("a", &["a.example", "*.a.example"], vec![now("/", "a"), echo("/echo")]);
    let b = host("b", &["b.example"], vec![echo("/echo"), now("/", "b")]);
    Hosts::new(vec![a, b]).expect("they go together")
}

/// A server of these hosts.
fn serving(hosts: Hosts) -> Server {
    let mut server = Server::new(vec![]);
    let log = Some(server.log.clone() as Rc<_>);
    server.service =
        HttpService::new(hosts, HttpSettings::default(), ChannelSettings::default(), log);
    server
}

/// Tells a server to answer everything with these.
fn replace(server: &Server, list: Vec<Rc<dyn Extension>>, settings: HttpSettings) -> Rc<Log> {
    let log = Rc::new(Log::default());
    let list = Rc::new(Extensions::new(list));
    server.service.replace(list, settings, ChannelSettings::default(), Some(log.clone()));
    log
}

fn to(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn texts(all: &[Answer]) -> Vec<&str> {
    all.iter().map(Answer::text).collect()
}

#[test]
fn each_request_goes_to_the_host_that_it_names() {
    let mut server = serving(two());
    let input = [
        to("b.example"),
        to("A.example:80"),
        to("x.y.a.example."),
        to("c.example"),
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ];
    assert_eq!(texts(&server.ask(input.concat())), ["b", "a", "a", "a", "b", "a"]);
    let refused =
        serving(two().with_default(1).expect("it is there")).ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(texts(&refused), ["b"]);
}

#[test]
fn a_name_that_no_host_has_may_be_refused() {
    let mut server = serving(two().with_unknown(Unknown::Misdirected));
    let unknown = post("/echo", "hello").replace("Host: a", "Host: c.example");
    let known = unknown.replace("c.example", "b.example");
    let all = server.ask(unknown + &known + "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&all), [421, 200, 200]);
    assert_eq!(texts(&all)[1..], ["5:hello", "a"]);
    assert!(server.log.take()[0].contains(" 421 "));
}

#[test]
fn hosts_stand_in_the_inspection_tree() {
    let server = serving(two());
    let part = server.service.inspect().child("hosts").expect("it has hosts");
    assert_eq!(part.node().children, ["a", "b"]);
    let text = |name: &str, field: &str| {
        part.child(name).expect("it is there").node().value(field).cloned()
    };
    assert_eq!(text("a", "names"), Some(Value::Text("a.example, *.a.example".into())));
    assert_eq!(text("b", "extensions"), Some(Value::Text("/echo, /".into())));
    replace(&server, vec![], HttpSettings::default());
    assert_eq!(part.node().children, ["default"]);
}

#[test]
fn what_replaces_a_service_holds_from_the_next_request_on() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/late", &shelf), echo("/echo"), now("/", "old")]);
    let old_log = server.log.clone();
    let (idle, busy) = (server.connect(), server.connect());
    idle.send(get("/", ""));
    let body = post("/echo", "hello");
    let (begun, rest) = body.split_at(body.len() - 3);
    busy.send(get("/late", "") + begun);
    server.h.run();
    assert_eq!(texts(&answers(&idle.take())), ["old"]);
    assert_eq!(old_log.take().len(), 1);

    let log = replace(&server, vec![now("/", "new")], HttpSettings::default());
    busy.send(rest.to_owned() + &get("/echo", ""));
    assert_eq!(texts(&server.more(&idle, get("/", ""))), ["new"]);
    assert_eq!(texts(&server.ask(get("/", ""))), ["new"]);
    shelf.reply("/late", says("late"));
    server.h.run();
    assert_eq!(texts(&answers(&busy.take())), ["late", "5:hello", "new"]);
    assert_eq!((old_log.take().len(), log.take().len()), (2, 3));
    let requests = server.service.inspect().node().value("requests").cloned();
    assert_eq!(requests, Some(Value::Count(6)), "figures go on");
}

#[test]
fn an_undecided_request_ends_as_it_began() {
    let bench = Bench::default();
    let mut server = Server::new(vec![undecided("/", &bench), echo("/")]);
    let peer = server.connect();
    peer.send(post("/", "hello") + &get("/", ""));
    server.h.run();
    replace(
        &server,
        vec![now("/", "new")],
        HttpSettings { max_body_bytes: 1, ..HttpSettings::default() },
    );
    bench.take().pass();
    server.h.run();
    assert_eq!(texts(&answers(&peer.take())), ["5:hello", "new"]);
}

#[test]
fn settings_hold_from_the_next_request_on() {
    let mut server = Server::new(vec![echo("/echo")]);
    let peer = server.connect();
    server.more(&peer, get("/echo", ""));
    let short = HttpSettings {
        keep_alive: std::time::Duration::from_secs(1),
        max_body_bytes: 4,
        ..HttpSettings::default()
    };
    replace(&server, vec![echo("/echo")], short.clone());
    assert_eq!(statuses(&server.more(&peer, post("/echo", "1234"))), [200]);
    server.h.advance(short.keep_alive * 2);
    assert_ended(&peer, Some(How::Fin));
    assert_eq!(statuses(&server.ask(post("/echo", "12345"))), [413]);
}

#[test]
fn what_was_replaced_goes_with_its_last_request() {
    let (shelf, bench) = (Shelf::default(), Bench::default());
    let old = later("/late", &shelf);
    let gone = Rc::downgrade(&old);
    let mut server = Server::new(vec![undecided("/think", &bench), old]);
    let old_log = Rc::downgrade(&std::mem::take(&mut server.log));
    let (first, second) = (server.connect(), server.connect());
    first.send(get("/late", ""));
    second.send(get("/think", ""));
    server.h.run();
    replace(&server, vec![now("/", "new")], HttpSettings::default());
    shelf.reply("/late", says("late"));
    server.h.run();
    assert!(old_log.upgrade().is_some() && gone.upgrade().is_some(), "one is undecided");
    bench.take().reply(Reply::new(204));
    server.h.run();
    assert!(old_log.upgrade().is_none() && gone.upgrade().is_none());
    assert_eq!(only(answers(&first.take())).text(), "late");
    assert_eq!(only(answers(&second.take())).status, 204);
    assert_eq!((first.closed(), second.closed()), (None, None), "both are kept");
}
