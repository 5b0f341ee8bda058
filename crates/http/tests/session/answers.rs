//! What a malformed or forbidden request gets, as its client sees it: the answer, replies to
//! what was asked before intact, the end of the connection, and nothing behind the fault
//! processed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use medusa_core::testing::How;
use medusa_http::{Handled, HttpSettings};

use crate::server::{
    Server, Shelf, Taken, answers, assert_ended, at, echo, files, get, later, now, only, says,
    statuses, takes, tree_of,
};

/// A server whose extension `/trap` counts its calls: whatever stands behind a fault must not
/// get there.
fn trapped() -> (Server, Rc<Cell<u32>>) {
    let sprung = Rc::new(Cell::new(0));
    let count = sprung.clone();
    let trap = at("/trap", move |_, _| {
        count.set(count.get() + 1);
        Handled::Now(says("trapped"))
    });
    let tree = tree_of(&[("/index.html", "root"), ("/f", "content")]);
    let list = vec![trap, now("/before", "before"), echo("/echo"), files(&tree)];
    (Server::new(list), sprung)
}

/// Sends two good requests, `faulty`, and a trap; `status` must be the third answer and the end.
#[track_caller]
fn refused(status: u16, faulty: impl AsRef<[u8]>) {
    let faulty = faulty.as_ref();
    let shown = faulty[..faulty.len().min(300)].escape_ascii().to_string();
    for bytewise in [false, true] {
        let (mut server, sprung) = trapped();
        let peer = server.connect();
        let before = [get("/before", ""), get("/before", "")].concat();
        let input = [before.as_bytes(), faulty, get("/trap", "").as_bytes()].concat();
        if bytewise && input.len() < 2000 {
            peer.send_bytewise(input);
        } else {
            peer.send(input);
        }
        server.h.run();
        let all = answers(&peer.take());
        assert_eq!(statuses(&all), [200, 200, status], "{shown}");
        assert_eq!((all[0].text(), all[1].text()), ("before", "before"), "{shown}");
        assert!(all[2].closes(), "{shown}: {}", all[2].head);
        assert!(all[2].whole, "{shown}");
        assert_eq!(sprung.get(), 0, "{shown}: something behind it was processed");
        assert_ended(&peer, Some(How::Fin));
        peer.close_write();
        server.h.run();
        assert!(peer.is_gone(), "{shown}");
        assert_ended(&peer, Some(How::Fin));
    }
}

/// Sends `request` alone; it gets `status` and the connection is kept.
#[track_caller]
fn kept(status: u16, request: impl AsRef<[u8]>) {
    let request = request.as_ref();
    let (mut server, sprung) = trapped();
    let input = [request, get("/trap", "").as_bytes()].concat();
    let (peer, output) = server.send(input);
    let shown = request.escape_ascii();
    assert_eq!(statuses(&answers(&output)), [status, 200], "{shown}");
    assert_eq!(sprung.get(), 1, "{shown}");
    assert_ended(&peer, None);
}

/// A POST to the echo with these lines, and a body that could be taken for chunked or plain.
fn with_fields(lines: impl AsRef<[u8]>) -> Vec<u8> {
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\n";
    [head.as_slice(), lines.as_ref(), b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"].concat()
}

/// A chunked POST to the echo with this body.
fn with_chunks(body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    [head.as_slice(), body.as_ref()].concat()
}

#[test]
fn content_length_and_transfer_encoding_together() {
    refused(400, with_fields("Content-Length: 5\r\nTransfer-Encoding: chunked"));
    refused(400, with_fields("Transfer-Encoding: chunked\r\nContent-Length: 15"));
}

#[test]
fn transfer_encoding_in_http_1_0() {
    refused(400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

#[test]
fn transfer_encoding_whose_last_coding_is_not_chunked() {
    refused(400, with_fields("Transfer-Encoding: gzip"));
    refused(400, with_fields("Transfer-Encoding: chunked, gzip"));
    refused(400, with_fields("Transfer-Encoding: identity"));
}

#[test]
fn unknown_coding_before_chunked() {
    refused(501, with_fields("Transfer-Encoding: gzip, chunked"));
}

#[test]
fn chunked_twice_or_in_disguise() {
    for coding in [
        b"Transfer-Encoding: chunked, chunked".as_slice(),
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: \xa0chunked",
    ] {
        refused(400, with_fields(coding));
    }
}

#[test]
fn content_length_that_is_not_one_number() {
    for length in ["", "+5", "-1", "0x5", "1_0", "18446744073709551616", "5, 6", "5, 5", "5 5"] {
        refused(400, with_fields(format!("Content-Length: {length}")));
    }
    refused(400, with_fields("Content-Length: 5\r\nContent-Length: 6"));
    refused(400, with_fields("Content-Length: 5\r\nContent-Length: 5"));
}

#[test]
fn white_space_where_there_must_be_none() {
    refused(400, with_fields("X-A : b"));
    refused(400, with_fields("X-A\t: b"));
    refused(400, with_fields("X-A: b\r\n folded"));
    refused(400, with_fields("X-A: b\r\n\tfolded"));
    refused(400, "GET /f HTTP/1.1\r\n Host: a\r\n\r\n");
}

#[test]
fn field_lines_that_are_none() {
    refused(400, with_fields("no colon here"));
    refused(400, with_fields(": no name"));
    refused(400, with_fields("a b: c"));
    refused(400, with_fields("a(: c"));
    refused(400, with_fields(b"\xe4: c"));
}

#[test]
fn control_bytes_in_the_head() {
    refused(400, with_fields("X-A: a\0b"));
    refused(400, with_fields("X-A: a\rb"));
    refused(400, with_fields("X-A: a\r\rb"));
    refused(400, "GET /f HTTP/1.1\rHost: a\r\n\r\n");
}

#[test]
fn bare_line_feeds() {
    refused(400, "GET /f HTTP/1.1\nHost: a\n\n");
    refused(400, with_fields("X-A: b\nX-C: d"));
    refused(400, "GET /f HTTP/1.1\r\nHost: a\r\n\n");
    refused(400, with_chunks("5\nhello\r\n0\r\n\r\n"));
    refused(400, with_chunks("5\r\nhello\n0\r\n\r\n"));
    refused(400, with_chunks("5\r\nhello\r\n0\n\r\n"));
    refused(400, with_chunks("0\r\nX: y\n\r\n"));
}

#[test]
fn empty_lines_before_the_request_line() {
    kept(200, "\r\nGET /f HTTP/1.1\r\nHost: a\r\n\r\n");
    kept(200, "\r\n\r\nGET /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, "\r\n\r\n\r\nGET /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, "\nGET /f HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn chunk_sizes_that_are_none() {
    for size in ["", "0x5", "5_", "+5", "-5", "00000000000000005", "10000000000000000", " 5"] {
        refused(400, with_chunks(format!("{size}\r\nhello\r\n0\r\n\r\n")));
    }
}

#[test]
fn chunk_extensions_are_skipped_and_capped() {
    kept(200, with_chunks("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"));
    refused(400, with_chunks(format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(256))));
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(250));
    kept(200, with_chunks(format!("{}0\r\n\r\n", chunk.repeat(16))));
    refused(400, with_chunks(format!("{}0\r\n\r\n", chunk.repeat(17))));
}

#[test]
fn no_line_end_behind_chunk_data() {
    refused(400, with_chunks("5\r\nhelloworld\r\n0\r\n\r\n"));
    refused(400, with_chunks("5\r\nhello0\r\n\r\n"));
}

#[test]
fn trailers_are_capped_like_a_head() {
    let trailer = format!("X: {}\r\n", "y".repeat(1000));
    kept(200, with_chunks(format!("0\r\n{}\r\n", trailer.repeat(16))));
    refused(431, with_chunks(format!("0\r\n{}\r\n", trailer.repeat(17))));
    refused(431, with_chunks(format!("0\r\n{}\r\n", "X: y\r\n".repeat(101))));
    refused(400, with_chunks("0\r\nno colon\r\n\r\n"));
}

#[test]
fn trailers_are_never_fields_of_the_head() {
    // Were they, the next request would be cut by them.
    kept(200, with_chunks("0\r\nContent-Length: 30\r\nHost: evil\r\nConnection: close\r\n\r\n"));
}

#[test]
fn a_body_cut_short_is_not_stored() {
    for request in [
        "POST /takes HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
        "POST /takes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
            .to_owned(),
        "POST /takes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
            .to_owned(),
    ] {
        let (taken, shelf) = (Rc::new(RefCell::new(Taken::default())), Shelf::default());
        let mut server = Server::new(vec![takes("/takes", &taken, &shelf), now("/b", "before")]);
        let peer = server.connect();
        peer.send(get("/b", ""));
        peer.send(&request);
        peer.close_write();
        server.h.run();
        assert_eq!(taken.borrow().bytes, b"hello");
        assert!(taken.borrow().dropped && !taken.borrow().ended, "{request}");
        let all = answers(&peer.take());
        assert_eq!(statuses(&all), [200, 400], "{request}");
        assert!(peer.is_gone());
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn hosts_that_are_missing_doubled_or_invalid() {
    refused(400, "GET /f HTTP/1.1\r\n\r\n");
    refused(400, "GET /f HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    for host in ["[]", "a b", "a/b", "", "a:x", "[::1", "a:99999"] {
        refused(400, format!("GET /f HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn in_absolute_form_the_host_of_the_target_counts() {
    let seen = Rc::new(RefCell::new(String::new()));
    let note = seen.clone();
    let mut server = Server::new(vec![at("/x", move |request, _| {
        let host = request.head.host.expect("there is one");
        *note.borrow_mut() = format!("{host:?}");
        Handled::Now(says("ok"))
    })]);
    let answer = only(server.ask("GET http://right:81/x HTTP/1.1\r\nHost: wrong\r\n\r\n"));
    assert_eq!(answer.status, 200);
    assert!(!seen.borrow().contains("wrong"));
    kept(200, "GET http://anything.example/f HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn targets_that_are_none() {
    for target in [
        "http://user@a/",
        "http://user:secret@a/",
        "/f#fragment",
        "http://a/#fragment",
        "http://a:b/",
        "f",
        "/%00",
        "/%",
        "/%2",
        "/%zz",
        "/..",
        "/%2e%2e/",
        "/a/../../f",
        "/..%2f..%2fetc/passwd",
        "*",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        if target.contains("..") || target.contains("%2e") {
            // Well-formed, but above the root.
            kept(400, request);
        } else {
            refused(400, request);
        }
    }
    for target in [b"/a b".as_slice(), b"/a\x7fb", b"/a\x01b", b"/\xc3\xa4", b"/a\tb"] {
        refused(400, [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    }
}

#[test]
fn connect_without_a_port() {
    for target in ["a", "a:", "a:0", "a:x", "/", "http://a:80/"] {
        refused(400, format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    kept(405, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
}

#[test]
fn the_asterisk_is_for_options() {
    kept(204, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, "HEAD * HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn methods_malformed_unknown_and_not_allowed() {
    refused(400, "G(T /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(400, b"G\xc4T /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(501, "GOT /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(501, "get /f HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(501, format!("{} /f HTTP/1.1\r\nHost: a\r\n\r\n", "G".repeat(33)));
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        kept(405, format!("{method} /f HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (mut server, _) = trapped();
        let answer = only(server.ask(format!("{method} /f HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert_eq!(answer.field("Allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[test]
fn request_lines_that_are_none() {
    for version in ["HTTP/1.11", "HTTP/10.0", "HTT/1.0", "HTTP/1.", "http/1.1", "HTTP/1.1 "] {
        refused(400, format!("GET /f {version}\r\nHost: a\r\n\r\n"));
    }
    for line in [
        "GET  /f HTTP/1.1",
        "GET /f  HTTP/1.1",
        " GET /f HTTP/1.1",
        "GET\t/f\tHTTP/1.1",
        "GET /f\x0cHTTP/1.1",
        "GET /f",
        "GET",
    ] {
        refused(400, format!("{line}\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn versions_beyond_ours() {
    refused(505, "GET /f HTTP/2.0\r\nHost: a\r\n\r\n");
    refused(505, "PRI * HTTP/2.0\r\n\r\n");
    kept(200, "GET /f HTTP/1.2\r\nHost: a\r\n\r\n");
}

#[test]
fn heads_over_their_limits() {
    refused(414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 * 1024)));
    refused(414, format!("GET /{}", "x".repeat(17 * 1024)));
    refused(431, with_fields(format!("X: {}", "y".repeat(16 * 1024))));
    refused(431, with_fields("X: y\r\n".repeat(101).trim_end()));
    kept(404, format!("GET /{}/ HTTP/1.1\r\nHost: a\r\n\r\n", "x/".repeat(2000)));
}

#[test]
fn a_body_over_the_limit() {
    let settings = HttpSettings { max_body_bytes: 10, ..HttpSettings::default() };
    let by_length = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world";
    let chunked = with_chunks("6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    for request in [by_length.as_bytes(), &chunked] {
        let mut server = Server::with(
            vec![echo("/echo"), now("/b", "before")],
            settings.clone(),
            medusa_core::ChannelSettings::default(),
        );
        let input = [get("/b", "").as_bytes(), request, get("/b", "").as_bytes()].concat();
        let (peer, output) = server.send(input);
        let all = answers(&output);
        assert_eq!(statuses(&all), [200, 413]);
        assert!(all[1].closes());
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn any_other_expectation() {
    refused(417, "GET /f HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n");
    refused(417, with_fields("Expect: 100-continue, more\r\nContent-Length: 15"));
}

#[test]
fn an_upgrade_in_1_0_is_ignored() {
    kept(200, "GET /f HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n\r\n");
}

#[test]
fn nothing_behind_connection_close_is_processed() {
    for request in [
        "GET /f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /f HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        "GET /f HTTP/1.0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let (mut server, sprung) = trapped();
        let (peer, output) = server.send([request, &get("/trap", "")].concat());
        let answer = only(answers(&output));
        assert!(answer.closes() && answer.whole, "{request}");
        assert_eq!(sprung.get(), 0, "{request}");
        assert_ended(&peer, Some(How::Fin));
    }
}

#[test]
fn a_refusal_waits_for_the_replies_before_it() {
    let shelf = Shelf::default();
    let mut server = Server::new(vec![later("/later/", &shelf), now("/b", "before")]);
    let peer = server.connect();
    peer.send([get("/later/1", ""), get("/b", ""), "bad\r\n\r\n".into()].concat());
    server.h.run();
    assert_eq!(peer.take_text(), "");
    assert_ended(&peer, None);
    shelf.reply("/later/1", says("one"));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [200, 200, 400]);
    assert_eq!(all[0].text(), "one");
    assert_ended(&peer, Some(How::Fin));
}
