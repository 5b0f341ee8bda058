//! Extensions that let requests pass: at once or later, with another head, or with a hand on the
//! reply.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use medusa_core::ChannelSettings;
use medusa_core::testing::How;
use medusa_http::limits::{DRAIN_BYTES, MAX_REWRITES};
use medusa_http::{Body, Extension, Handled, HeadEdit, HttpSettings, Reply};

use crate::server::{
    Answer, Bench, Server, Shelf, Taken, Taker, answers, assert_ended, at, echo, get, later, now,
    only, post, post_chunked, says, statuses, stream, takes, undecided,
};

/// Lets everything pass and puts its name into a field of the reply.
fn stamps(name: &'static str) -> Rc<dyn Extension> {
    at("/", move |_, exchange| {
        exchange.on_reply(move |reply| {
            let before = reply.value("X-Stamps").map(<[u8]>::to_vec).unwrap_or_default();
            reply.set_field("X-Stamps", [&before, name.as_bytes()].concat());
        });
        Handled::Pass
    })
}

/// Sends requests on with this target.
fn rewrites(name: &'static str, target: &'static str) -> Rc<dyn Extension> {
    at(name, move |request, _| {
        let mut edit = HeadEdit::of(request.head);
        edit.set_target(target);
        Handled::PassAs(edit.build())
    })
}

/// Answers with the target that it sees.
fn tells(name: &'static str) -> Rc<dyn Extension> {
    at(name, |request, _| Handled::Now(says(request.head.target.raw())))
}

/// A server whose every request waits on the bench first.
fn waiting(list: Vec<Rc<dyn Extension>>) -> (Server, Bench) {
    let bench = Bench::default();
    let first = undecided("/", &bench);
    (Server::new([vec![first], list].concat()), bench)
}

/// Lets all pass that wait, and those that come to wait then.
fn pass_all(server: &mut Server, bench: &Bench) {
    server.h.run();
    while bench.len() > 0 {
        bench.take().pass();
        server.h.run();
    }
}

#[test]
fn a_request_that_passes_goes_to_the_next_that_matches() {
    let passes = || at("/a", |_, _| Handled::Pass);
    let mut server = Server::new(vec![passes(), now("/b", "b"), passes(), now("/a", "a")]);
    assert_eq!(server.get("/a", "").text(), "a");
    server.extensions().remove("/b");
    assert_eq!(server.get("/b", "").status, 404);
    let mut server = Server::new(vec![passes()]);
    assert_eq!(server.get("/a", "").status, 404);
}

#[test]
fn the_extension_that_was_passed_last_edits_the_reply_first() {
    let shelf = Shelf::default();
    let answers_itself = at("/self", |_, exchange| {
        exchange.on_reply(|reply| reply.set_field("X-Stamps", "self"));
        Handled::Now(says("self"))
    });
    let mut server = Server::new(vec![
        stamps("outer"),
        stamps("inner"),
        now("/now", "now"),
        later("/later", &shelf),
        stream("/stream"),
        answers_itself,
        at("/panics", |_, _| panic!("as planned")),
        at("/drops", |_, exchange| {
            drop(exchange.later());
            Handled::Later
        }),
    ]);
    let peer = server.connect();
    let paths = ["/now", "/later", "/stream", "/none", "/panics", "/drops", "/self"];
    peer.send(paths.map(|path| get(path, "")).concat());
    server.h.run();
    shelf.reply("/later", says("later"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 200, 200, 404, 500, 500, 200]);
    for answer in &all[..6] {
        assert_eq!(answer.field("X-Stamps"), Some("innerouter"), "{answer:?}");
    }
    assert_eq!(all[6].field("X-Stamps"), Some("selfinnerouter"));
    assert_ended(&peer, None);
}

#[test]
fn replies_may_be_edited_wholly() {
    let edits = at("/", |_, exchange| {
        exchange.on_reply(|reply| {
            assert_eq!(reply.take_body().len(), Some(3));
            reply.set_status(203);
            reply.set_body(Body::Bytes("something longer".into()));
        });
        Handled::Pass
    });
    let shelf = Shelf::default();
    let mut server = Server::new(vec![edits, now("/now", "now"), later("/later", &shelf)]);
    let peer = server.connect();
    peer.send(get("/now", "") + &get("/later", ""));
    server.h.run();
    shelf.reply("/later", says("lat"));
    server.h.run();
    for answer in answers(&peer.take()) {
        assert_eq!((answer.status, answer.text()), (203, "something longer"));
    }
    let lines = server.log.take();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains(" 203 16 ")), "{lines:?}");
}

#[test]
fn an_edit_that_panics_costs_its_request_and_nothing_else() {
    let shelf = Shelf::default();
    let panics = at("/", |_, exchange| {
        exchange.on_reply(|_| panic!("as planned"));
        Handled::Pass
    });
    let mut server =
        Server::new(vec![stamps("outer"), panics, now("/now", "now"), later("/later", &shelf)]);
    let peer = server.connect();
    peer.send(["/now", "/later", "/now"].map(|path| get(path, "")).concat());
    server.h.run();
    shelf.reply("/later", says("later"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [500, 500, 500]);
    assert!(all.iter().all(|answer| answer.field("X-Stamps") == Some("outer")), "{all:?}");
    assert_ended(&peer, None);
}

#[test]
fn a_body_that_is_refused_is_answered_with_an_edited_reply() {
    let settings = HttpSettings { max_body_bytes: 10, ..HttpSettings::default() };
    let list = vec![stamps("outer"), echo("/echo")];
    let mut server = Server::with(list, settings, ChannelSettings::default());
    let chunked = post_chunked("/echo") + "b\r\n01234567890\r\n0\r\n\r\n";
    for request in [post("/echo", "01234567890"), chunked] {
        let answer = only(server.ask(request));
        assert_eq!((answer.status, answer.field("X-Stamps")), (413, Some("outer")));
        assert!(answer.closes());
    }
    assert_eq!(only(server.ask("bad\r\n\r\n")).field("X-Stamps"), None);
}

#[test]
fn those_that_follow_see_the_other_head_and_the_log_sees_the_clients() {
    let mut server = Server::new(vec![
        tells("/new/"),
        rewrites("/old", "/new/%20x?q"),
        now("/old", "not reached"),
        tells("/new/"),
    ]);
    let all = server.ask(get("/old", "X-A: b\r\n") + &get("/new/", ""));
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["/new/%20x?q", "/new/"]);
    assert!(server.log.take()[0].contains("\"GET /old HTTP/1.1\""));
}

#[test]
fn a_body_belongs_to_whoever_answers_the_other_head() {
    for request in [
        post("/old", "hello"),
        post_chunked("/old") + "5\r\nhello\r\n0\r\n\r\n",
        "POST /old HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
            .to_owned(),
    ] {
        let mut server = Server::new(vec![rewrites("/old", "/echo"), echo("/echo")]);
        let mut all = server.ask(request.clone() + &get("/old", ""));
        if all[0].status == 100 {
            all.remove(0);
        }
        assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["5:hello", "0:"]);
    }
}

#[test]
fn a_head_that_frames_the_request_differently_is_a_500() {
    for head in [
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "POST /b HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "",
    ] {
        let breaks = at("/a", move |_, _| Handled::PassAs(head.as_bytes().into()));
        let mut server = Server::new(vec![breaks, now("/b", "b")]);
        let all = server.ask(post("/a", "hello") + &get("/b", ""));
        assert_eq!(statuses(&all), [500, 200], "{head}");
    }
}

#[test]
fn a_head_that_grows_past_the_limits_says_so() {
    let grows = at("/a/", |request, _| {
        let mut edit = HeadEdit::of(request.head);
        edit.set_target([request.head.target.raw_bytes(), &[b'x'; 5000]].concat());
        Handled::PassAs(edit.build())
    });
    let mut server = Server::new(vec![grows, tells("/a/")]);
    let long = format!("/a/{}", "y".repeat(5000));
    assert_eq!(statuses(&server.ask(get("/a/", "") + &get(&long, ""))), [200, 414]);
}

#[test]
fn rewrites_are_bounded() {
    for (times, status) in [(MAX_REWRITES, 200), (MAX_REWRITES + 1, 500)] {
        let mut list: Vec<_> = (0..times).map(|_| rewrites("/a", "/a")).collect();
        list.push(now("/a", "a"));
        let mut server = Server::new(list);
        assert_eq!(statuses(&server.ask(get("/a", "").repeat(2))), [status; 2], "{times} times");
    }
}

#[test]
fn an_undecided_request_waits_and_those_before_and_behind_it_keep_their_places() {
    let (bench, shelf) = (Bench::default(), Shelf::default());
    let mut server = Server::new(vec![
        later("/late", &shelf),
        undecided("/think/", &bench),
        stamps("inner"),
        tells("/think/"),
        now("/now", "now"),
    ]);
    let peer = server.connect();
    let paths = ["/now", "/late", "/think/1", "/now", "/think/2", "/now"];
    peer.send(paths.map(|path| get(path, "")).concat());
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200]);
    assert_eq!(bench.len(), 1, "the second comes when the first is decided");
    bench.take().pass();
    server.h.run();
    assert_eq!((peer.take(), bench.len()), (vec![], 1));
    shelf.reply("/late", says("late"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["late", "/think/1", "now"]);
    assert_eq!(all[1].field("X-Stamps"), Some("inner"));
    bench.take().reply(Reply::text(403, "no"));
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [403, 200]);
    assert_ended(&peer, None);
    server.h.advance(HttpSettings::default().keep_alive * 2);
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn every_split_of_bodies_behind_undecided_requests_comes_to_the_same() {
    let input = post("/echo", "hello")
        + &post_chunked("/echo")
        + "3\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n"
        + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab"
        + &post("/unread", "unread")
        + &get("/echo", "");
    let ask = |at: &[usize]| {
        let bench = Bench::default();
        let mut server = Server::new(vec![
            undecided("/", &bench),
            undecided("/", &bench),
            echo("/echo"),
            now("/unread", "unread"),
        ]);
        let peer = server.connect();
        peer.send_split(&input, at);
        pass_all(&mut server, &bench);
        peer.take()
    };
    let whole = ask(&[]);
    let all = answers(&whole);
    assert_eq!(statuses(&all), [200, 200, 100, 200, 200, 200]);
    let texts: Vec<_> = all.iter().map(Answer::text).collect();
    assert_eq!(texts, ["5:hello", "5:hello X=y", "", "2:ab", "unread", "0:"]);
    for at in 1..input.len() {
        assert_eq!(ask(&[at]), whole, "split at byte {at}");
    }
    assert_eq!(ask(&(1..input.len()).collect::<Vec<_>>()), whole, "byte by byte");
}

#[test]
fn nothing_of_a_body_is_read_without_bound_while_undecided() {
    for chunked in [false, true] {
        let (taken, shelf) = (Rc::new(RefCell::new(Taken::default())), Shelf::default());
        let (mut server, bench) = {
            let bench = Bench::default();
            let list = vec![undecided("/takes", &bench), takes("/takes", &taken, &shelf)];
            (Server::new(list), bench)
        };
        let peer = server.connect();
        peer.send(if chunked {
            post_chunked("/takes") + "7a120\r\n"
        } else {
            "POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n".to_owned()
        });
        peer.send(vec![b'x'; 500_000]);
        peer.send(if chunked { "\r\n0\r\n\r\n" } else { "" });
        server.h.run();
        server.h.advance(HttpSettings::default().body_timeout * 3);
        assert!(peer.unread() > 300_000, "{} bytes are unread", peer.unread());
        bench.take().pass();
        server.h.run();
        assert!(taken.borrow().ended);
        assert_eq!(taken.borrow().bytes.len(), 500_000);
        shelf.reply("/takes", says("thanks"));
        assert_eq!(statuses(&server.more(&peer, "")), [200]);
    }
}

#[test]
fn the_client_is_asked_for_its_body_only_when_it_is_decided() {
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for passes in [true, false] {
        let (bench, shelf) = (Bench::default(), Shelf::default());
        let mut server =
            Server::new(vec![later("/late", &shelf), undecided("/echo", &bench), echo("/echo")]);
        let peer = server.connect();
        peer.send(get("/late", "") + head);
        server.h.run();
        assert_eq!(peer.take(), b"");
        let decision = bench.take();
        if passes {
            decision.pass();
        } else {
            decision.reply(Reply::text(403, "no"));
        }
        server.h.run();
        assert_eq!(peer.take(), b"", "the late reply comes first");
        shelf.reply("/late", says("late"));
        server.h.run();
        let all = answers(&peer.take());
        if passes {
            assert_eq!(statuses(&all), [200, 100]);
            assert_eq!(only(server.more(&peer, "hello")).text(), "5:hello");
            assert_ended(&peer, None);
        } else {
            assert_eq!(statuses(&all), [200, 403]);
            assert!(all[1].closes());
            assert_ended(&peer, Some(How::Fin));
        }
    }
}

#[test]
fn limits_of_bodies_hold_after_a_decision() {
    let lowers = at("/lowers", |_, exchange| {
        exchange.limit_body(4);
        exchange.collect(medusa_core::collector::Discarded);
        Handled::Now(says("kept"))
    });
    let bench = Bench::default();
    let list =
        vec![undecided("/lowers", &bench), undecided("/now", &bench), lowers, now("/now", "")];
    let mut server = Server::new(list);
    for (request, status) in [
        (post("/lowers", "12345"), 413),
        (post("/lowers", "1234"), 200),
        (
            format!("POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", DRAIN_BYTES + 1),
            200,
        ),
    ] {
        let peer = server.connect();
        peer.send(&request);
        pass_all(&mut server, &bench);
        let answer = only(answers(&peer.take()));
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.closes(), !request.contains("1234\r") && !request.ends_with("1234"));
    }
}

#[test]
fn a_decision_that_is_dropped_is_a_500() {
    let drops = at("/drops", |_, exchange| {
        drop(exchange.decide_later());
        Handled::Later
    });
    let (mut server, bench) = waiting(vec![drops, now("/now", "now"), now("/", "root")]);
    let peer = server.connect();
    peer.send(["/", "/drops", "/now"].map(|path| get(path, "")).concat());
    server.h.run();
    drop(bench.take());
    server.h.run();
    pass_all(&mut server, &bench);
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [500, 500, 200]);
    assert_ended(&peer, None);
}

#[test]
fn an_extension_may_decide_at_once_and_only_the_last_decision_taken_counts() {
    let list = vec![
        at("/a", |_, exchange| {
            exchange.decide_later().pass();
            Handled::Later
        }),
        at("/a", |_, exchange| {
            let first = exchange.decide_later();
            let second = exchange.decide_later();
            assert!(!first.is_wanted() && second.is_wanted());
            second.pass();
            first.reply(says("never"));
            Handled::Later
        }),
        at("/a", |_, exchange| {
            let decision = exchange.decide_later();
            decision.reply(says("never"));
            Handled::Pass
        }),
        now("/a", "a"),
    ];
    let mut server = Server::new(list);
    let all = server.ask(get("/a", "").repeat(3));
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["a"; 3]);
}

#[test]
fn an_extension_behind_a_decision_may_panic() {
    let taken = Rc::new(RefCell::new(Taken::default()));
    let takes = taken.clone();
    let (mut server, bench) = waiting(vec![at("/", move |_, exchange| {
        exchange.collect(Taker(takes.clone()));
        panic!("as planned");
    })]);
    let peer = server.connect();
    peer.send(post("/", "body") + &get("/", ""));
    pass_all(&mut server, &bench);
    assert_eq!(statuses(&answers(&peer.take())), [500, 500]);
    assert_ended(&peer, None);
    assert!(taken.borrow().bytes.is_empty() && !taken.borrow().ended);
}

#[test]
fn a_decision_may_come_with_another_head() {
    let bench = Bench::default();
    let heads: Rc<RefCell<Vec<Box<[u8]>>>> = Rc::default();
    let (kept, sink) = (heads.clone(), bench.clone());
    let thinks = at("/a", move |request, exchange| {
        let mut edit = HeadEdit::of(request.head);
        edit.set_target("/b");
        kept.borrow_mut().push(edit.build());
        undecided("/a", &sink).handle(request, exchange)
    });
    let mut server =
        Server::new(vec![thinks, undecided("/b", &bench), echo("/b"), now("/a", "not reached")]);
    let peer = server.connect();
    peer.send(post("/a", "hello"));
    server.h.run();
    bench.take().pass_as(heads.borrow_mut().remove(0));
    pass_all(&mut server, &bench);
    assert_eq!(only(answers(&peer.take())).text(), "5:hello");
    peer.send(post("/a", "hello"));
    server.h.run();
    bench.take().pass_as(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n".as_slice().into());
    server.h.run();
    assert_eq!(only(answers(&peer.take())).status, 500);
}

#[test]
fn an_extension_may_have_itself_asked_again_but_not_for_ever() {
    for (times, status) in [(MAX_REWRITES, 200), (MAX_REWRITES + 1, 500)] {
        let left = Rc::new(Cell::new(times));
        let again = at("/a", move |_, exchange| {
            if left.get() == 0 {
                left.set(times);
                return Handled::Pass;
            }
            left.set(left.get() - 1);
            exchange.decide_later().ask_again();
            Handled::Later
        });
        let mut server = Server::new(vec![again, echo("/a")]);
        let all = server.ask(post("/a", "hello"));
        assert_eq!(statuses(&all), [status], "{times} times");
    }
}

#[test]
fn a_decision_is_not_wanted_when_the_client_has_gone() {
    let (mut server, bench) = waiting(vec![now("/", "root")]);
    let peer = server.connect();
    peer.send(get("/", ""));
    server.h.run();
    let decision = bench.take();
    assert!(decision.is_wanted());
    peer.reset();
    server.h.run();
    assert!(!decision.is_wanted());
    decision.pass();
    server.h.run();
    let line = only_line(&server);
    assert!(line.ends_with("aborted") && line.contains(" 499 0 "), "{line}");
}

fn only_line(server: &Server) -> String {
    let [line] = server.log.take().try_into().expect("there is one line");
    line
}

#[test]
fn a_client_that_ends_its_side_while_undecided_gets_its_answer() {
    let (mut server, bench) = waiting(vec![echo("/")]);
    let peer = server.connect();
    peer.send(post("/", "hello"));
    peer.close_write();
    pass_all(&mut server, &bench);
    assert_eq!(only(answers(&peer.take())).text(), "5:hello");
    assert!(peer.is_gone());
}

#[test]
fn a_shutdown_waits_for_decisions() {
    let (bench, shelf) = (Bench::default(), Shelf::default());
    let mut server = Server::new(vec![later("/late", &shelf), undecided("/", &bench), echo("/")]);
    let peer = server.connect();
    peer.send(get("/late", "") + &post("/", "hello") + &get("/late", ""));
    server.h.run();
    server.h.handle().shutdown(std::time::Duration::from_secs(60));
    server.h.run();
    shelf.reply("/late", says("late"));
    server.h.run();
    bench.take().pass();
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 200]);
    assert_eq!((all[0].closes(), all[1].closes(), all[1].text()), (false, true, "5:hello"));
    assert_ended(&peer, Some(How::Fin));
}

#[test]
fn an_undecided_request_is_seen_in_the_inspection_tree() {
    let (mut server, bench) = waiting(vec![now("/", "root")]);
    let peer = server.connect();
    peer.send(get("/", ""));
    server.h.run();
    let shown = format!("{:?}", server.h.inspect(&peer.path()));
    assert!(shown.contains("deciding"), "{shown}");
    pass_all(&mut server, &bench);
    assert_eq!(statuses(&answers(&peer.take())), [200]);
}

#[test]
fn a_one_dot_zero_client_gets_its_stream_after_a_decision() {
    let (mut server, bench) = waiting(vec![stream("/")]);
    let peer = server.connect();
    peer.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    pass_all(&mut server, &bench);
    let answer = only(answers(&peer.take()));
    assert!(answer.closes());
    assert_eq!(answer.text(), "one\ntwo\nthree\n");
    assert_ended(&peer, Some(How::Fin));
}
