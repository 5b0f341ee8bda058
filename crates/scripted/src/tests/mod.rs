//! Requests to scripts: whole sessions on the harness, under virtual time.

mod connections;
mod duties;
mod files;
mod page;
mod requests;
mod trees;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::ChannelSettings;
use medusa_core::testing::{Harness, Peer};
use medusa_http::{Extensions, HttpService, HttpSettings};
use medusa_script::{Budget, ScriptError, SharedTable, Value};

use crate::talk::REPLY_MARK;
use crate::{Host, Returns, Script, ScriptExtension, ScriptPlan};

/// Bytes of memory of the engines in tests.
const MEMORY: usize = 32 << 20;

struct Server {
    h: Harness,
    host: Host,
    script: Rc<Script>,
    service: HttpService,
}

impl Server {
    fn empty() -> Self {
        let h = Harness::new();
        let host =
            Host::new(&h.handle(), MEMORY, &SharedTable::default(), None).expect("an engine");
        let budget = Budget { instructions: 5_000_000, ..Budget::HANDLER };
        let script = Script::new(&host, plan("test", "", Returns::Handler, budget));
        serve(h, host, script)
    }

    /// A server whose handler is a function with this body.
    fn new(handler: &str) -> Self {
        let mut server = Self::empty();
        let source = format!("return function(request) {handler} end");
        server.load(&source).expect("the script is good");
        server
    }

    fn load(&mut self, source: &str) -> Result<(), ScriptError> {
        let loaded = Rc::new(RefCell::new(None));
        let to = loaded.clone();
        self.script.load(source.as_bytes().to_vec().into(), move |result| {
            to.replace(Some(result));
        });
        while loaded.borrow().is_none() {
            let wait = self.h.next_due().expect("something is due while a script runs");
            self.h.advance(wait);
        }
        loaded.take().expect("it has ended")
    }

    fn send(&mut self, input: &str) -> Peer {
        let peer = self.h.accept(&self.service);
        peer.send(input);
        self.h.run();
        peer
    }

    /// The whole reply to one request, however long it takes.
    fn ask(&mut self, input: &str) -> String {
        let peer = self.send(input);
        while self.host.requests() > 0 {
            let wait = self.h.next_due().expect("something is due while a script runs");
            self.h.advance(wait);
        }
        peer.take_text()
    }

    fn get(&mut self, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Name: value\r\n\r\n"))
    }
}

/// A server whose only extension is this script.
fn serve(h: Harness, host: Host, script: Rc<Script>) -> Server {
    script.activate();
    let extension = ScriptExtension::new(&script);
    let service = HttpService::new(
        Rc::new(Extensions::new(vec![extension])),
        HttpSettings::default(),
        ChannelSettings::default(),
        None,
    );
    Server { h, host, script, service }
}

/// A script in a file `test.lua`.
fn plan(name: &str, source: &str, returns: Returns, budget: Budget) -> ScriptPlan {
    ScriptPlan {
        name: name.to_owned(),
        file: "test.lua".to_owned(),
        source: source.as_bytes().to_vec().into(),
        arguments: Value::Nil,
        budget,
        returns,
        trees: Vec::new(),
    }
}

/// Status and body.
fn parts(reply: &str) -> (&str, &str) {
    let (head, body) = reply.split_once("\r\n\r\n").expect("there is a head");
    (&head[9..12], body)
}

#[test]
fn a_handler_answers() {
    let mut server = Server::new("return 'hello ' .. request.path:sub(2)");
    let reply = server.get("/M%65dusa");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\nhello Medusa"));
    assert!(reply.contains("\r\nContent-Length: 12\r\n"), "{reply}");
    assert!(reply.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{reply}");
}

#[test]
fn a_handler_sees_the_request_and_says_status_and_fields() {
    let mut server = Server::new(
        "return 201, { ['X-A'] = { 'b', 'c' }, ['Content-Type'] = 'text/html', Server = 'no' }, \
         request.method .. request.path .. tostring(request.query) .. request:field('x-name') \
         .. tostring(request:field('no')) .. request.peer",
    );
    let reply = server.get("/p?q=1");
    assert_eq!(parts(&reply), ("201", "GET/pq=1valuenil198.51.100.1"));
    assert!(reply.contains("X-A: b\r\nX-A: c\r\n") && reply.contains("text/html"), "{reply}");
    assert!(!reply.contains("Server: no"));
}

#[test]
fn what_a_handler_returns_says_what_it_is() {
    for (returns, status, body) in [
        ("'x'", "200", "x"),
        ("204", "204", ""),
        ("404, 'gone'", "404", "gone"),
        ("200, {}, 12", "200", "12"),
        ("", "404", "not found\n"),
        ("nil", "404", "not found\n"),
    ] {
        let mut server = Server::new(&format!("return {returns}"));
        assert_eq!(parts(&server.get("/")), (status, body), "{returns}");
    }
}

#[test]
fn a_mistake_gives_that_request_a_500_and_nothing_more() {
    for handler in [
        "error('oh no')",
        "error({})",
        "return request.nothing.at.all",
        "while true do end",
        "local t = {} while true do t[#t + 1] = {} end",
        "return 99",
        "return 1000, 'x'",
        "return {}, {}",
        "return 200, { [1] = 2 }, 'x'",
        "return 200, {}, {}",
        "return 200, {}, true",
        "sleep(1) error('late')",
    ] {
        let source = format!("if request.path == '/good' then return 'good' end {handler}");
        let mut server = Server::new(&source);
        let reply = server.get("/");
        assert_eq!(parts(&reply).0, "500", "{handler}: {reply}");
        assert!(!reply.contains("oh no") && !reply.contains("test.lua"), "it is told to nobody");
        assert_eq!(parts(&server.get("/good")), ("200", "good"), "{handler}");
        assert_eq!(server.host.engine().tasks(), 0);
    }
}

#[test]
fn a_handler_that_waits_holds_up_nobody() {
    let mut server =
        Server::new("if request.path == '/slow' then sleep(5) end return request.path");
    let slow = server.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(slow.take_text(), "");
    let quick = server.send("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(quick.take_text().ends_with("/quick"));
    server.h.advance(Duration::from_secs(6));
    assert!(slow.take_text().ends_with("/slow"));
}

#[test]
fn pipelined_replies_keep_their_order() {
    let mut server =
        Server::new("if request.path == '/slow' then sleep(1) end return request.path .. ';'");
    let peer = server.send(
        &["/slow", "/a", "/slow", "/b"]
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .concat(),
    );
    server.h.advance(Duration::from_secs(3));
    let text = peer.take_text();
    let at = |what: &str| text.find(what).expect("it is answered");
    assert!(at("/slow;") < at("/a;") && at("/a;") < at("/b;"), "{text}");
}

#[test]
fn a_body_comes_from_an_iterator() {
    let mut server = Server::new(
        "local n = 0 return 200, { ['Content-Type'] = 'text/csv' }, function() \
         n = n + 1 sleep(1) if n <= 3 then return 'row ' .. n .. '\\n' end end",
    );
    let reply = server.get("/");
    assert!(reply.contains("Transfer-Encoding: chunked") && reply.contains("text/csv"), "{reply}");
    assert!(
        reply.ends_with("6\r\nrow 1\n\r\n6\r\nrow 2\n\r\n6\r\nrow 3\n\r\n0\r\n\r\n"),
        "{reply}"
    );
}

#[test]
fn an_iterator_is_no_further_ahead_than_the_mark() {
    let mut server = Server::new(
        "local n = 0 return 200, function() n = n + 1 \
         if n <= 1000 then return ('x'):rep(10000) end end",
    );
    let peer = server.h.accept(&server.service);
    peer.set_write_room(0);
    peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.h.advance(Duration::from_millis(100));
    assert_eq!(server.host.requests(), 1, "it waits for the client");
    peer.grant_all();
    for _ in 0..2000 {
        server.h.advance(Duration::from_millis(10));
    }
    assert!(peer.take().len() > 100 * REPLY_MARK, "all of it came");
    assert_eq!(server.host.requests(), 0);
}

#[test]
fn an_iterator_that_fails_is_no_complete_reply() {
    let mut server = Server::new(
        "local n = 0 return 200, function() n = n + 1 sleep(1) \
         if n == 2 then error('no more') end return 'x' end",
    );
    let reply = server.get("/");
    assert!(reply.contains("200 OK") && !reply.contains("0\r\n\r\n"), "{reply}");
}

#[test]
fn a_body_is_read_as_it_comes() {
    let mut server = Server::new(
        "local all = {} for piece in request.read, request do all[#all + 1] = piece end \
         return #all .. ':' .. table.concat(all)",
    );
    let peer = server.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    peer.send("cd");
    server.h.run();
    peer.send("ef");
    server.h.run();
    assert!(peer.take_text().ends_with("3:abcdef"));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(server.ask(chunked).ends_with(":abcde"));
    assert!(server.get("/").ends_with("0:"));
}

#[test]
fn a_body_is_read_at_once_within_a_limit() {
    let mut server = Server::new("return request:body(5)");
    let post = |body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    assert_eq!(parts(&server.ask(&post("12345"))), ("200", "12345"));
    assert_eq!(parts(&server.ask(&post("123456"))).0, "500");
    // Split at every byte it is the same.
    let input = post("12345");
    for at in 1..input.len() {
        let peer = server.send(&input[..at]);
        peer.send(&input[at..]);
        server.h.run();
        assert_eq!(parts(&peer.take_text()), ("200", "12345"), "split at {at}");
    }
}

#[test]
fn a_body_that_nobody_reads_is_no_obstacle() {
    let mut server = Server::new("if request.path == '/wait' then sleep(1) end return 'unread'");
    for path in ["/now", "/wait"] {
        let body = "x".repeat(200_000);
        let peer = server.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{body}"
        ));
        server.h.advance(Duration::from_secs(2));
        assert!(peer.take_text().contains("unread"), "{path}");
        assert_eq!(server.host.requests(), 0);
    }
}

#[test]
fn a_client_that_waits_is_asked_when_the_script_reads() {
    let mut server = Server::new("sleep(1) return request:body()");
    let peer = server
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(peer.take_text(), "");
    server.h.advance(Duration::from_secs(2));
    assert_eq!(peer.take_text(), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send("ok");
    server.h.run();
    assert!(peer.take_text().ends_with("ok"));
}

#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    for (handler, rest) in [
        ("request:read() return 'x'", "Content-Length: 10\r\n\r\n"),
        ("return 200, function() sleep(1) return ('x'):rep(10000) end", "\r\n"),
        ("return 200, function() return ('x'):rep(10000) end", "\r\n"),
    ] {
        let mut server = Server::new(handler);
        let peer = server.h.accept(&server.service);
        peer.set_write_room(1000);
        peer.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}"));
        server.h.advance(Duration::from_millis(1));
        assert_eq!(server.host.requests(), 1, "{handler}");
        peer.reset();
        server.h.advance(Duration::from_secs(5));
        assert_eq!(server.host.requests(), 0, "{handler}");
        assert_eq!(server.host.engine().tasks(), 0, "{handler}");
    }
}

#[test]
fn reloading_is_all_or_nothing() {
    let mut server = Server::empty();
    assert_eq!(parts(&server.get("/")).0, "404", "without a script it lets requests pass");
    server.load("return function() return 'one' end").expect("it is good");
    for bad in [
        "return function() return 'two' end end",
        "error('while loading')",
        "return 'no function'",
        "while true do end",
        "",
    ] {
        let error = server.load(bad).expect_err("it is bad");
        assert!(!error.to_string().is_empty());
        assert_eq!(parts(&server.get("/")).1, "one", "{bad}");
    }
    let Err(ScriptError::Syntax(place)) = server.load("x = 1\nreturn function( end") else {
        panic!("it is no Lua")
    };
    assert_eq!((&*place.file, place.line), ("test.lua", 2));
    // A request that has begun ends with the version that it began with.
    server.load("return function() sleep(1) return 'old' end").expect("it is good");
    let peer = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.load("return function() return 'new' end").expect("it is good");
    assert_eq!(parts(&server.get("/")).1, "new");
    server.h.advance(Duration::from_secs(2));
    assert!(peer.take_text().ends_with("old"));
}

#[test]
fn the_methods_of_a_request_end_with_it() {
    let mut server = Server::new(
        "if kept then local ok, why = pcall(kept.read, kept) return tostring(why) end \
         kept = request return 'kept'",
    );
    assert_eq!(parts(&server.get("/")).1, "kept");
    assert!(server.get("/").contains("answered already"));
}
