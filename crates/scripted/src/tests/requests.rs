//! Requests that scripts make of other servers.

use std::time::Duration;

use medusa_core::Address;
use medusa_core::testing::Peer;

use super::{Server, parts};
use crate::request::{ANSWER_BYTES, REQUESTS};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Lets the connection stand that a script asked for.
fn accept(server: &mut Server) -> Peer {
    let outgoing = server.h.take_connect().expect("a connection is asked for");
    let peer = outgoing.accept(&mut server.h);
    server.h.run();
    peer
}

/// The reply of a handler whose request gets this answer; and the request.
fn answered(handler: &str, answer: &str) -> (String, String) {
    let mut server = Server::new(handler);
    let client = server.send(GET);
    let peer = accept(&mut server);
    let request = peer.take_text();
    peer.send(answer);
    peer.close_write();
    server.h.advance(Duration::from_millis(50));
    assert_eq!(server.host.requests(), 0);
    (parts(&client.take_text()).1.to_owned(), request)
}

#[test]
fn a_script_makes_a_request_and_sees_the_answer() {
    let (reply, request) = answered(
        "local a = http.request{ url = 'http://192.0.2.1:81/p?q#f', method = 'POST', body = 'xyz', \
         headers = { ['X-A'] = { 'b', 'c' }, ['X-N'] = 5 } } \
         return a.status .. a.body .. a:field('X-Two') .. a.headers['content-length'] \
         .. tostring(a:field('no'))",
        "HTTP/1.1 203 Other\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 2\r\n\r\nok",
    );
    assert_eq!(reply, "203ok1, 22nil");
    assert!(request.starts_with("POST /p?q HTTP/1.1\r\nHost: 192.0.2.1:81\r\n"), "{request}");
    assert!(request.contains("\r\nX-A: b\r\nX-A: c\r\n") && request.contains("\r\nX-N: 5\r\n"));
    assert!(request.ends_with("\r\nContent-Length: 3\r\n\r\nxyz"), "{request}");
}

#[test]
fn get_takes_a_url_and_a_request_another_address() {
    let answer = "HTTP/1.0 200 OK\r\n\r\nbody";
    let (reply, request) = answered("return http.get('http://192.0.2.1?q').body", answer);
    assert_eq!((&*reply, &request[..16]), ("body", "GET /?q HTTP/1.1"));
    let mut server =
        Server::new("return http.get{ url = 'http://name/', address = 'unix:/run/x' }.body");
    server.send(GET);
    assert_eq!(server.h.connects(), [Address::Unix("/run/x".into())]);
    assert!(accept(&mut server).take_text().contains("\r\nHost: name\r\n"));
}

#[test]
fn what_fails_is_an_error_that_says_why() {
    let failing = "return select(2, pcall(http.get, 'http://192.0.2.1/'))";
    for (answer, why) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "the answer was cut short"),
        ("SSH-2.0\r\n", "the answer is malformed: this is no answer of HTTP/1"),
        ("", "the connection ended before the answer"),
    ] {
        let (reply, _) = answered(failing, answer);
        assert!(reply.contains(&format!("192.0.2.1:80: {why}")), "{reply}");
    }
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(ANSWER_BYTES + 1));
    let (reply, _) = answered(failing, &long);
    assert!(reply.contains("the answer has more than 1048576 bytes"), "{reply}");
    let (reply, _) = answered(
        "return select(2, pcall(http.get, { url = 'http://192.0.2.1/', limit = 3 }))",
        "HTTP/1.1 200 OK\r\n\r\nfour",
    );
    assert!(reply.contains("the answer has more than 3 bytes"), "{reply}");
}

#[test]
fn a_request_that_cannot_be_made_says_why() {
    for (options, why) in [
        ("'https://a/'", "https is not spoken here"),
        ("'ftp://a/'", "is no URL that begins with http://"),
        ("'/x'", "is no URL that begins with http://"),
        ("'http://u:p@a/'", "a URL has no user here"),
        ("'http:///x'", "is no host"),
        ("'http://a b/'", "is no host"),
        ("'http://a/ b'", "this request cannot be made"),
        ("'http://a/\\r\\nX: y'", "this request cannot be made"),
        ("{}", "a request needs a `url`"),
        ("1", "argument 1 must be a table with a `url`"),
        ("{ url = 'http://a/', header = {} }", "a request has no `header`"),
        ("{ url = 'http://a/', method = 'NO' }", "there is no method `NO`"),
        ("{ url = 'http://a/', method = 'CONNECT' }", "this request cannot be made"),
        ("{ url = 'http://a/', headers = { Host = 'b' } }", "the header `Host`"),
        ("{ url = 'http://a/', headers = { A = 'b\\r\\nc' } }", "the header `A`"),
        ("{ url = 'http://a/', body = {} }", "`body` must be a string"),
        ("{ url = 'http://a/', timeout = -1 }", "`timeout` is a number of seconds"),
        ("{ url = 'http://a/', limit = 2000000 }", "`limit` is a number of bytes"),
        ("{ url = 'http://a/', address = 'a' }", "`address` is IP:PORT or unix:PATH"),
    ] {
        let mut server = Server::new(&format!("return select(2, pcall(http.request, {options}))"));
        let reply = server.get("/");
        assert!(reply.contains(why), "{options}: {reply}");
        assert!(server.h.connects().is_empty());
    }
}

#[test]
fn an_answer_that_does_not_come_in_time_is_waited_for_no_longer() {
    let handler = "return select(2, pcall(http.get, { url = 'http://192.0.2.1/', timeout = 2 }))";
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"] {
        let mut server = Server::new(handler);
        let client = server.send(GET);
        let peer = accept(&mut server);
        peer.send(answer);
        server.h.advance(Duration::from_millis(1900));
        assert_eq!((client.take_text(), peer.is_gone()), (String::new(), false));
        server.h.advance(Duration::from_millis(200));
        let reply = client.take_text();
        assert!(reply.contains("192.0.2.1:80: no whole answer within 2 s"), "{reply}");
        assert!(peer.is_gone());
    }
}

#[test]
fn requests_of_scripts_are_bounded() {
    let mut server =
        Server::new("return select(2, pcall(http.get, 'http://192.0.2.' .. request.path:sub(2)))");
    let each = REQUESTS / 2;
    let clients: Vec<_> =
        (0..=each).map(|_| server.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    server.h.advance(Duration::from_millis(50));
    assert_eq!(server.h.connects().len(), each);
    assert!(clients[each].take_text().contains("too many connections are open"));
}
