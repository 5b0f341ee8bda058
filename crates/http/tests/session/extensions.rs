//! The ordered list of extensions: who answers, and what happens when it changes or fails.

use std::cell::RefCell;
use std::rc::Rc;

use medusa_core::inspect::Value;
use medusa_core::testing::How;
use medusa_http::{Extension, Extensions, Handled, Reply};

use crate::server::{
    Answer, Server, Shelf, answers, assert_ended, at, get, later, now, only, post, says, statuses,
};

fn names(list: &Extensions) -> String {
    list.list().iter().map(|e| e.name().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_that_matches_answers() {
    let mut server = Server::new(vec![now("/a", "first"), now("/a", "second"), now("/", "rest")]);
    assert_eq!(server.get("/a", "").text(), "first");
    assert_eq!(server.get("/b", "").text(), "rest");
    server.extensions().remove("/a");
    assert_eq!(server.get("/a", "").text(), "second");
    server.extensions().remove("/a");
    assert_eq!(server.get("/a", "").text(), "rest");
    server.extensions().remove("/");
    assert_eq!(server.get("/a", "").status, 404);
}

#[test]
fn the_list_can_be_changed() {
    let list = Extensions::new(vec![now("/a", ""), now("/b", ""), now("/c", "")]);
    list.insert(0, now("/d", ""));
    assert_eq!(names(&list), "/d /a /b /c");
    list.insert(99, now("/e", ""));
    assert_eq!(names(&list), "/d /a /b /c /e");
    assert_eq!(list.remove("/b").map(|e| e.name().to_owned()).as_deref(), Some("/b"));
    assert!(list.remove("/b").is_none());
    assert!(list.reorder("/e", 0) && list.reorder("/d", 99) && !list.reorder("/x", 0));
    assert_eq!(names(&list), "/e /a /c /d");
}

#[test]
fn a_change_takes_effect_with_the_next_request_of_a_pipeline() {
    let server_list: Rc<RefCell<Option<Rc<Extensions>>>> = Rc::default();
    let list = server_list.clone();
    let changes = at("/change", move |_, _| {
        let list = list.borrow().clone().expect("it is set");
        assert!(list.remove("/change").is_some(), "it removes itself while it runs");
        list.insert(0, now("/new", "new"));
        list.reorder("/old", 0);
        Handled::Now(says("changed"))
    });
    let mut server = Server::new(vec![changes, now("/old", "old")]);
    server_list.replace(Some(server.extensions()));
    let input = ["/new", "/change", "/new", "/change"].map(|path| get(path, "")).concat();
    assert_eq!(statuses(&server.ask(input)), [404, 200, 200, 404]);
    assert_eq!(names(&server.extensions()), "/old /new");
}

#[test]
fn requests_under_way_outlive_their_extension() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf)]);
    let peer = server.connect();
    peer.send(get("/later/1", ""));
    server.h.run();
    drop(server.extensions().remove("/later/"));
    peer.send(get("/later/2", ""));
    server.h.run();
    assert_eq!(shelf.len(), 1);
    shelf.reply("/later/1", says("still"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 404]);
    assert_eq!(all[0].text(), "still");
}

#[test]
fn a_dropped_responder_is_a_500() {
    let shelf = Shelf::default();
    let drops = at("/drops", |_, exchange| {
        drop(exchange.later());
        Handled::Later
    });
    let forgets = at("/forgets", |_, _| Handled::Later);
    let mut server =
        Server::new(vec![later("/later/", &shelf), drops, forgets, now("/now", "now")]);
    let peer = server.connect();
    let paths = ["/later/1", "/drops", "/forgets", "/now"];
    peer.send(paths.map(|path| get(path, "")).concat());
    server.h.run();
    drop(shelf.take("/later/1"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [500, 500, 500, 200]);
    assert_ended(&peer, None);
}

#[test]
fn a_panic_costs_its_request_and_nothing_else() {
    struct Matching;
    impl Extension for Matching {
        fn name(&self) -> &'static str {
            "matching"
        }
        fn matches(&self, request: &medusa_http::Request<'_>) -> bool {
            assert!(request.head.target.path().raw() != b"/matching", "as planned");
            false
        }
        fn handle(
            &self,
            _: &medusa_http::Request<'_>,
            _: &mut medusa_http::Exchange<'_>,
        ) -> Handled {
            Handled::Later
        }
    }
    let panics = at("/panics", |_, exchange| {
        exchange.collect(medusa_core::collector::Discarded);
        let _responder = exchange.later();
        panic!("as planned");
    });
    let mut server = Server::new(vec![Rc::new(Matching), panics, now("/now", "now")]);
    let peer = server.connect();
    peer.send([get("/panics", ""), post("/panics", "body"), get("/matching", "")].concat());
    peer.send(get("/now", ""));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [500, 500, 500, 200]);
    assert!(!all[0].text().contains("planned"));
    assert_ended(&peer, None);
}

#[test]
fn a_late_answer_may_come_from_a_job() {
    let mut server = Server::new(vec![at("/job", |request, exchange| {
        let responder = exchange.later();
        request.handle.run(
            || 6 * 7,
            move |result| responder.reply(says(format!("{}", result.expect("it ran")))),
        );
        Handled::Later
    })]);
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send(get("/job", ""));
    server.h.run();
    assert_eq!(peer.take(), b"");
    server.h.run_job(0);
    server.h.run();
    assert_eq!(only(answers(&peer.take())).text(), "42");
}

#[test]
fn an_answer_at_once_may_be_given_through_the_responder() {
    let mut server = Server::new(vec![at("/x", |_, exchange| {
        exchange.later().reply(says("at once"));
        Handled::Later
    })]);
    let all = server.ask(get("/x", "").repeat(2));
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["at once"; 2]);
}

#[test]
fn an_extension_that_answers_twice_answers_once() {
    let mut server = Server::new(vec![at("/x", |_, exchange| {
        exchange.later().reply(says("late"));
        Handled::Now(says("now"))
    })]);
    let all = server.ask(get("/x", "").repeat(2));
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["now"; 2]);
}

/// It seemed to be wanted forever.
#[test]
fn a_responder_that_is_not_needed_any_more_is_not_wanted() {
    let shelf = Shelf::default();
    let keep = shelf.clone();
    let mut server = Server::new(vec![at("/x/", move |request, exchange| {
        keep.put(request, exchange.later());
        assert!(request.head.target.path().raw() != b"/x/panics", "as planned");
        Handled::Now(says("now"))
    })]);
    assert_eq!(statuses(&server.ask(get("/x/now", "") + &get("/x/panics", ""))), [200, 500]);
    for path in ["/x/now", "/x/panics"] {
        assert!(!shelf.take(path).is_wanted(), "{path}");
    }
}

#[test]
fn figures_and_extensions_stand_in_the_inspection_tree() {
    let mut server = Server::new(vec![now("/a", "a"), now("/b", "b")]);
    let part = server.service.inspect();
    server.ask(get("/a", "").repeat(3));
    server.ask("bad\r\n\r\n");
    let shown = format!("{:?}", part.node());
    for part in ["Count(3)", "Count(1)", "extensions", "hosts"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let hosts = part.child("hosts").expect("it has hosts");
    let host = hosts.child("default").expect("the one host").node();
    assert_eq!(host.value("extensions"), Some(&Value::Text("/a, /b".to_owned())));
    assert!(hosts.child("other").is_none() && part.child("other").is_none());
}

#[test]
fn what_a_connection_does_stands_in_the_inspection_tree() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf)]);
    let peer = server.connect();
    let doing = |server: &mut Server, input: &str| {
        peer.send(input);
        server.h.run();
        format!("{:?}", server.h.inspect(&peer.path()))
    };
    assert!(doing(&mut server, "").contains("waiting for a request"));
    assert!(doing(&mut server, &get("/later/1", "")).contains("1 in flight"));
    let body = "GET /later/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello";
    assert!(doing(&mut server, body).contains("5 bytes so far"));
    assert!(doing(&mut server, "1234bad\r\n\r\n").contains("closing, 3 in flight"));
    shelf.reply("/later/1", says("1"));
    shelf.reply("/later/2", Reply::new(204));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 204, 400]);
    assert_ended(&peer, Some(How::Fin));
}
