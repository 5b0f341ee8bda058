//! Extensions that operators plug in, change and take out through the inspection tree, while
//! requests flow.

use std::cell::RefCell;
use std::rc::Rc;

use medusa_core::ChannelSettings;
use medusa_core::inspect::{Done, Level, Node, Outcome, Query, Value};
use medusa_http::extensions::When;
use medusa_http::limits::MAX_EXTENSIONS;
use medusa_http::pattern::Pattern;
use medusa_http::{Extension, Extensions, Handled, HttpSettings, Made, Maker, Reply};

use crate::server::{
    Bench, Server, Shelf, answers, at as does, get, later, now, only, says, statuses, undecided,
};

/// Makes extensions of texts like `/path answer`; keeps those of other texts waiting.
#[derive(Default)]
struct Words(RefCell<Vec<Made>>);

impl Maker for Words {
    fn make(&self, text: &str, made: Made) {
        match text.split_once(' ') {
            Some(("wrong", why)) => made(Err(why.to_owned())),
            Some((path, answer)) => made(Ok(leaked(path, answer))),
            None => self.0.borrow_mut().push(made),
        }
    }
}

/// Its texts live as long as the test.
fn leaked(path: &str, answer: &str) -> Rc<dyn Extension> {
    now(path.to_owned().leak(), answer.to_owned().leak())
}

fn serving(extensions: Vec<Rc<dyn Extension>>) -> (Server, Rc<Words>) {
    let server = Server::new(extensions);
    let words = Rc::new(Words::default());
    server.service.set_maker(words.clone());
    server.h.handle().mount("http", server.service.inspect());
    (server, words)
}

fn done(outcome: Outcome) -> Done {
    match outcome {
        Outcome::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(why) | Outcome::Missing(why) => why,
        other => panic!("{other:?}"),
    }
}

fn undo(done: Done) -> Result<String, String> {
    done.undo.expect("it can be undone").run()
}

/// Does something with the extension of this name.
fn act(server: &mut Server, name: &str, action: &str, arguments: &[&str]) -> Outcome {
    server.h.ask(at(Query::act("http/extensions", action, arguments), name))
}

/// The same query for the extension of this name, which may have slashes in it.
fn at(mut query: Query, name: &str) -> Query {
    query.path.push(name.to_owned());
    query
}

fn add(server: &mut Server, arguments: &[&str]) -> Outcome {
    server.h.act("http/extensions", "add", arguments)
}

fn names(server: &mut Server) -> String {
    match server.h.inspect("http/extensions") {
        Outcome::Node(node) => node.children.join(" "),
        other => panic!("{other:?}"),
    }
}

fn shown(server: &mut Server, name: &str) -> Node {
    match server.h.ask(at(Query::look("http/extensions"), name)) {
        Outcome::Node(node) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_plugged_in_answers_until_it_is_taken_out() {
    let (mut server, _) = serving(vec![now("/", "old")]);
    let peer = server.connect();
    assert_eq!(only(server.more(&peer, get("/a", ""))).text(), "old");
    let added = done(add(&mut server, &["/a new"]));
    assert_eq!(added.said, "`/a` is plugged in at place 1");
    assert_eq!(only(server.more(&peer, get("/a", ""))).text(), "new");
    assert_eq!(names(&mut server), "/a /");
    done(act(&mut server, "/a", "remove", &[]));
    assert_eq!(only(server.more(&peer, get("/a", ""))).text(), "old");
    assert!(refused(act(&mut server, "/a", "remove", &[])).contains("there is no `/a`"));
}

#[test]
fn places_are_numbers_from_one_on_or_names() {
    let (mut server, _) = serving(vec![now("/a", ""), now("/b", "")]);
    for (arguments, list) in [
        (&["/1 x", "1"][..], "/1 /a /b"),
        (&["/2 x", "/b"], "/1 /a /2 /b"),
        (&["/3 x", "99"], "/1 /a /2 /b /3"),
        (&["/4 x", "2"], "/1 /4 /a /2 /b /3"),
    ] {
        done(add(&mut server, arguments));
        assert_eq!(names(&mut server), list);
    }
    for wrong in ["0", "-1", "/c", ""] {
        assert!(refused(add(&mut server, &["/x x", wrong])).contains("is no place"), "{wrong}");
    }
    for (name, place, list) in [
        ("/3", "1", "/3 /1 /4 /a /2 /b"),
        ("/3", "/b", "/1 /4 /a /2 /3 /b"),
        ("/b", "/1", "/b /1 /4 /a /2 /3"),
        ("/b", "/b", "/b /1 /4 /a /2 /3"),
        ("/b", "6", "/1 /4 /a /2 /3 /b"),
        ("/1", "2", "/4 /1 /a /2 /3 /b"),
    ] {
        let said = done(act(&mut server, name, "move", &[place])).said;
        assert_eq!(names(&mut server), list, "{said}");
    }
}

#[test]
fn names_in_a_list_are_all_different() {
    let (mut server, _) = serving(vec![now("/a", "1"), now("/a", "2")]);
    done(add(&mut server, &["/a 3"]));
    assert_eq!(names(&mut server), "/a-3 /a /a-2");
    let out = done(act(&mut server, "/a", "remove", &[]));
    done(add(&mut server, &["/a 4", "99"]));
    assert_eq!(names(&mut server), "/a-3 /a-2 /a");
    undo(out).expect("its place is there");
    assert_eq!(names(&mut server), "/a-3 /a-4 /a-2 /a");
}

#[test]
fn every_change_can_be_undone() {
    let (mut server, _) = serving(vec![now("/a", "a"), now("/b", "b"), now("/", "rest")]);
    let is = |server: &mut Server, list: &str, text: &str| {
        assert_eq!(names(server), list);
        assert_eq!(server.get("/b", "").text(), text, "{list}");
    };
    let changes: [(&str, &[&str], &str, &str); 5] = [
        ("remove", &[], "/a /", "rest"),
        ("move", &["1"], "/b /a /", "b"),
        ("disable", &[], "/a /b /", "rest"),
        ("enable", &[], "/a /b /", "b"),
        ("replace", &["/b new"], "/a /b /", "new"),
    ];
    for (action, arguments, list, text) in changes {
        let change = done(act(&mut server, "/b", action, arguments));
        is(&mut server, list, text);
        assert_ne!(undo(change).expect("nothing stands against it"), "");
        is(&mut server, "/a /b /", "b");
    }
    let change = done(add(&mut server, &["/b new"]));
    is(&mut server, "/b-2 /a /b /", "new");
    undo(change).expect("it is still there");
    is(&mut server, "/a /b /", "b");
}

#[test]
fn what_is_undone_too_late_says_so() {
    let (mut server, words) = serving(vec![now("/", "old")]);
    let added = done(add(&mut server, &["/a new"]));
    done(act(&mut server, "/a", "remove", &[]));
    assert!(undo(added).expect_err("it is gone").contains("not there any more"));
    let added = done(add(&mut server, &["/a new"]));
    // The extension that is being made when everything is replaced comes to nothing, too.
    let late = Rc::new(RefCell::new(None));
    let heard = late.clone();
    let query = Query::act("http/extensions", "add", &["waits"]);
    server.h.handle().inspect(query, move |outcome| drop(heard.replace(Some(outcome))));
    server.h.run();
    let list = Rc::new(Extensions::new(vec![now("/", "reloaded")]));
    server.service.replace(list, HttpSettings::default(), ChannelSettings::default(), None);
    assert!(undo(added).expect_err("it was replaced").contains("loaded anew"));
    assert!(late.borrow().is_none());
    words.0.borrow_mut().pop().expect("it waits")(Ok(now("/", "too late")));
    server.h.run();
    assert!(refused(late.take().expect("it is answered")).contains("loaded anew"));
    assert_eq!((names(&mut server), server.get("/a", "").text()), ("/".into(), "reloaded"));
}

#[test]
fn what_cannot_be_made_changes_nothing() {
    let (mut server, _) = serving(vec![now("/", "old")]);
    assert_eq!(
        refused(add(&mut server, &["wrong there is no such thing"])),
        "there is no such thing"
    );
    let why = refused(act(&mut server, "/", "replace", &["wrong as well"]));
    assert_eq!((why.as_str(), names(&mut server).as_str()), ("as well", "/"));
    let mut without = Server::new(vec![]);
    without.h.handle().mount("http", without.service.inspect());
    assert!(refused(add(&mut without, &["/a a"])).contains("makes no extensions"));
}

#[test]
fn a_list_has_its_bound() {
    let all = (0..MAX_EXTENSIONS).map(|_| now("/x", "")).collect();
    let (mut server, _) = serving(all);
    assert!(refused(add(&mut server, &["/a a"])).contains(&MAX_EXTENSIONS.to_string()));
}

#[test]
fn who_may_only_look_changes_nothing() {
    let (mut server, _) = serving(vec![now("/", "old")]);
    let query = Query::act("http/extensions", "add", &["/a new"]).by(Level::Look);
    assert!(refused(server.h.ask(query)).contains("operate"));
    let query = at(Query::act("http/extensions", "remove", &[]), "/").by(Level::Look);
    assert!(refused(server.h.ask(query)).contains("operate"));
    assert_eq!(names(&mut server), "/");
}

#[test]
fn requests_under_way_end_as_they_began() {
    let (shelf, bench) = (Shelf::default(), Bench::default());
    let (mut server, _) =
        serving(vec![undecided("/think", &bench), later("/late", &shelf), now("/", "rest")]);
    let (late, thinks) = (server.connect(), server.connect());
    late.send(get("/late", ""));
    thinks.send(get("/think", ""));
    server.h.run();
    for name in ["/think", "/late", "/"] {
        done(act(&mut server, name, "remove", &[]));
    }
    assert_eq!(server.get("/", "").status, 404);
    shelf.reply("/late", says("late"));
    bench.take().pass();
    server.h.run();
    assert_eq!(only(answers(&late.take())).text(), "late");
    assert_eq!(only(answers(&thinks.take())).text(), "rest");
}

#[test]
fn an_extension_says_what_it_is_and_what_it_did() {
    let pattern = |text| Pattern::parse(text).expect("a pattern");
    let named = When::new(pattern("/x/"), now("/x/a", "a")).named("mine");
    let fails = does("/fails", |_, _| Handled::Now(Reply::new(503)));
    let panics = does("/panics", |_, _| std::panic::resume_unwind(Box::new(())));
    let (mut server, _) = serving(vec![Rc::new(named), fails, panics]);
    let input = ["/x/a", "/x/a", "/x/b", "/fails", "/panics"].map(|path| get(path, "")).concat();
    assert_eq!(statuses(&server.ask(input)), [200, 200, 404, 503, 500]);
    let figures = |server: &mut Server, name: &str| {
        let node = shown(server, name);
        for (field, _) in &node.fields {
            assert!(node.note(field).is_some(), "{field}");
        }
        ["requests", "answered", "errors"].map(|field| match node.value(field) {
            Some(Value::Count(n)) => *n,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(figures(&mut server, "mine"), [2, 2, 0]);
    assert_eq!(figures(&mut server, "/fails"), [1, 1, 1]);
    assert_eq!(figures(&mut server, "/panics"), [1, 0, 1]);
    let node = shown(&mut server, "mine");
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    assert_eq!(node.value("use").cloned(), text("/x/a"));
    assert_eq!(node.value("match").cloned(), text("/x/"));
    assert_eq!(
        (node.value("on"), node.value("place")),
        (Some(&Value::Flag(true)), Some(&Value::Count(1)))
    );
    done(act(&mut server, "mine", "disable", &[]));
    assert_eq!(shown(&mut server, "mine").value("on"), Some(&Value::Flag(false)));
    assert_eq!(server.get("/x/a", "").status, 404);
    assert_eq!(figures(&mut server, "mine"), [2, 2, 0]);
}

#[test]
fn a_thousand_plug_ins_under_load_lose_no_request_and_leave_nothing() {
    const ROUNDS: usize = 1000;
    let (mut server, _) = serving(vec![now("/", "old")]);
    let peers: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let (mut old, mut new) = (0, 0);
    for round in 0..ROUNDS {
        for peer in &peers {
            peer.send(get("/a", "").repeat(2));
        }
        // Between two turns, so that requests of the same connection stand on both sides.
        server.h.turn();
        done(add(&mut server, &["/a new"]));
        for peer in &peers {
            peer.send(get("/a", ""));
        }
        server.h.turn();
        let undone = done(act(&mut server, "/a", "remove", &[]));
        if round % 2 == 0 {
            undo(undone).expect("its list is there");
            done(act(&mut server, "/a", "remove", &[]));
        }
        server.h.run();
        for peer in &peers {
            let all = answers(&peer.take());
            assert_eq!(statuses(&all), [200; 3], "round {round}");
            new += all.iter().filter(|answer| answer.text() == "new").count();
            old += all.iter().filter(|answer| answer.text() == "old").count();
        }
    }
    assert_eq!(old + new, ROUNDS * peers.len() * 3);
    assert!(old > 0 && new > 0, "{old} {new}");
    assert_eq!(server.extensions().list().len(), 1);
    // Nobody holds a list that was replaced.
    let list = Rc::downgrade(&server.extensions().list()[0]);
    assert_eq!(list.strong_count(), 1);
}
