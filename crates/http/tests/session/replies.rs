//! How replies are framed: lengths, chunks, ends, and bodies that are not what they promised.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use medusa_core::producer::{Chain, FileSource, Once};
use medusa_core::testing::How;
use medusa_core::{FileRange, Piece, Producer};
use medusa_http::{Body, Handled, Reply};

use crate::server::{
    Pieces, Server, Shelf, Unsized, answers, answers_to, assert_ended, at, get, later, now, only,
    says, statuses, stream,
};

/// A file with this content, open for reading.
fn file(content: &[u8]) -> FileRange {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(content).expect("it is written");
    FileRange { file: Arc::new(file), offset: 0, len: content.len() as u64 }
}

fn bytes(text: &str) -> Piece {
    Piece::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// Bodies of every kind.
fn bodies() -> Vec<(&'static str, Body)> {
    let sized = |text: &'static str| -> Box<dyn Producer> { Box::new(Once::new(text)) };
    let unsized_: Box<dyn Producer> = Box::new(Unsized(Once::new("unknown")));
    vec![
        ("empty", Body::Empty),
        ("no bytes", Body::Bytes(Bytes::new())),
        ("bytes", Body::Bytes("bytes".into())),
        ("many bytes", Body::Bytes("x".repeat(100_000).into())),
        ("file", Body::File(file(b"file"))),
        ("empty file", Body::File(file(b""))),
        ("producer", Body::Producer(sized("known"), Some(5))),
        ("empty producer", Body::Producer(sized(""), Some(0))),
        ("unknown", Body::Producer(unsized_, None)),
    ]
}

/// A server that answers `/b/N` with the body of that number, at once or late.
fn bodies_at_once() -> Server {
    Server::new(vec![
        at("/b/", |request, _| {
            let number = &request.head.target.path().raw()[3..];
            let number: usize = std::str::from_utf8(number).expect("text").parse().expect("n");
            Handled::Now(Reply::new(200).body(bodies().remove(number).1).field("X-Kept", "yes"))
        }),
        now("/now", "now"),
    ])
}

#[test]
fn a_head_has_the_same_head_as_a_get_and_no_body() {
    for (number, (name, _)) in bodies().into_iter().enumerate() {
        for late in [false, true] {
            let mut server = bodies_at_once();
            let shelf = Shelf::default();
            server.extensions().insert(0, later("/late", &shelf));
            let path = if late { "/late".to_owned() } else { format!("/b/{number}") };
            let mut heads = Vec::new();
            for method in ["GET", "HEAD"] {
                let peer = server.connect();
                peer.send(get(&path, "").replace("GET", method) + &get("/now", ""));
                server.h.run();
                if late {
                    shelf.reply("/late", Reply::new(200).body(bodies().remove(number).1));
                    server.h.run();
                }
                let all = answers_to(&peer.take(), |n| n == 0 && method == "HEAD");
                assert_eq!(statuses(&all), [200, 200], "{method} {name}");
                assert_eq!(all[1].text(), "now", "{method} {name}");
                assert!(all[0].whole, "{method} {name}");
                heads.push(all[0].head.clone());
            }
            assert_eq!(heads[0], heads[1], "{name}");
        }
    }
}

#[test]
fn a_body_is_chunked_exactly_if_its_length_is_unknown_and_the_client_speaks_1_1() {
    for (number, (name, _)) in bodies().into_iter().enumerate() {
        for version in ["1.1", "1.0"] {
            let mut server = bodies_at_once();
            let lines = "Host: a\r\nConnection: keep-alive";
            let request = format!("GET /b/{number} HTTP/{version}\r\n{lines}\r\n\r\n");
            let (peer, output) = server.send(request);
            let answer = only(answers(&output));
            let unknown = name == "unknown";
            let chunked = unknown && version == "1.1";
            let coding = answer.field("Transfer-Encoding");
            assert_eq!(coding, chunked.then_some("chunked"), "{name} {version}");
            assert_eq!(answer.field("Content-Length").is_none(), unknown, "{name} {version}");
            let ends = unknown && version == "1.0";
            assert_eq!(answer.closes(), ends, "{name} {version}");
            assert_ended(&peer, ends.then_some(How::Fin));
            assert_eq!(answer.whole, !ends);
        }
    }
}

#[test]
fn replies_without_a_body_have_no_framing() {
    for status in [204, 304] {
        for body in 0..bodies().len() {
            let mut server = Server::new(vec![
                at("/s", move |_, _| {
                    Handled::Now(Reply::new(status).body(bodies().remove(body).1))
                }),
                now("/now", "now"),
            ]);
            let all = server.ask(get("/s", "") + &get("/now", ""));
            assert_eq!(statuses(&all), [status, 200]);
            assert_eq!(all[0].field("Transfer-Encoding"), None);
            assert_eq!(all[0].field("Content-Length"), None);
            assert_eq!(all[1].text(), "now");
        }
    }
}

#[test]
fn every_reply_says_when_and_by_whom() {
    let mut server = bodies_at_once();
    for (request, status) in [(get("/now", ""), 200), (get("/nothing", ""), 404)] {
        let answer = only(server.ask(request));
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("Date"), Some("Fri, 01 Jan 2100 00:00:00 GMT"));
        assert_eq!(answer.field("Server"), Some("Medusa"));
    }
    server.h.advance(std::time::Duration::from_secs(61));
    let answer = server.get("/now", "");
    assert_eq!(answer.field("Date"), Some("Fri, 01 Jan 2100 00:01:01 GMT"));
}

#[test]
fn a_file_passes_between_a_chunk_size_and_its_end() {
    let mut server = Server::new(vec![at("/mixed", |_, _| {
        let mut inner = file(b"0123456789");
        (inner.offset, inner.len) = (2, 5);
        let chain = Chain::new()
            .then(Once::new("before "))
            .then(FileSource::new(inner))
            .then(FileSource::new(file(&[b'x'; 70_000])))
            .then(Unsized(Once::new(" after")));
        Handled::Now(Reply::new(200).producer(chain))
    })]);
    let (_, output) = server.send(get("/mixed", ""));
    assert!(crate::server::find(&output, b"\r\n5\r\n23456\r\n11170\r\nxxx").is_some());
    let answer = only(answers(&output));
    assert!(answer.whole);
    assert_eq!(answer.text(), format!("before 23456{} after", "x".repeat(70_000)));
}

#[test]
fn a_producer_that_fails_never_looks_complete() {
    for (pieces, len) in [
        (vec![], None),
        (vec![bytes("some")], None),
        (vec![bytes("some")], Some(8)),
        (vec![], Some(8)),
    ] {
        for version in ["1.1", "1.0"] {
            for late in [false, true] {
                let shelf = Shelf::default();
                let mut server = Server::new(vec![later("/late", &shelf), now("/now", "now")]);
                let reply = move |pieces: &[Piece]| {
                    let pieces = pieces.iter().map(|_| bytes("some")).collect();
                    let failing = Box::new(Pieces { pieces, fails: true });
                    Reply::new(200).body(Body::Producer(failing, len))
                };
                let copies: Vec<_> = pieces.iter().map(|_| bytes("some")).collect();
                server
                    .extensions()
                    .insert(0, at("/fails", move |_, _| Handled::Now(reply(&copies))));
                let path = if late { "/late" } else { "/fails" };
                let request = get(path, "").replace("1.1", version) + &get("/now", "");
                let peer = server.connect();
                peer.send(request);
                server.h.run();
                if late {
                    shelf.reply("/late", reply(&pieces));
                    server.h.run();
                }
                let output = peer.take();
                assert!(crate::server::find(&output, b"0\r\n\r\n").is_none());
                assert!(crate::server::find(&output, b"now").is_none());
                if !output.is_empty() {
                    assert!(!only(answers(&output)).whole, "{len:?} {version}");
                }
                assert_ended(&peer, Some(How::Reset));
            }
        }
    }
}

#[test]
fn a_producer_must_keep_to_its_length() {
    for (text, len, fits) in [("12345", 5, true), ("1234", 5, false), ("123456", 5, false)] {
        let mut server = Server::new(vec![at("/len", move |_, _| {
            let pieces = vec![bytes(&text[..2]), bytes(&text[2..])];
            let body = Body::Producer(Box::new(Pieces { pieces, fails: false }), Some(len));
            Handled::Now(Reply::new(200).body(body))
        })]);
        let (peer, output) = server.send(get("/len", ""));
        // A wrong length would make the next reply part of this one.
        assert!(output.len() < 4096);
        if fits {
            assert_eq!(only(answers(&output)).text(), text);
        }
        assert_ended(&peer, (!fits).then_some(How::Reset));
    }
}

#[test]
fn a_file_that_became_shorter_closes_early() {
    let mut server = Server::new(vec![at("/short", |_, _| {
        let mut range = file(b"0123456789");
        range.len = 20;
        Handled::Now(Reply::new(200).body(Body::File(range)))
    })]);
    let (peer, output) = server.send(get("/short", ""));
    let answer = only(answers(&output));
    assert_eq!((answer.field("Content-Length"), answer.text()), (Some("20"), "0123456789"));
    assert_ended(&peer, Some(How::Reset));
}

#[test]
fn fields_cannot_split_a_reply() {
    let mut server = Server::new(vec![at("/x", |_, _| {
        Handled::Now(
            says("body")
                .field("X-Good", "good\tvalue")
                .field("X-Bad", "a\r\nX-Injected: yes")
                .field("X-Bad", "a\nX-Injected: yes")
                .field("X-Bad", "a\0b")
                .field("X-Injected: yes\r\nX", "a")
                .field("", "a")
                .field("X Y", "a"),
        )
    })]);
    let answer = server.get("/x", "");
    assert_eq!(answer.field("X-Good"), Some("good\tvalue"));
    assert_eq!(answer.field("X-Bad"), None);
    assert_eq!(answer.field("X-Injected"), None);
    assert_eq!(answer.text(), "body");
}

/// They stood in the head twice, and a second length is a second message.
#[test]
fn an_extension_cannot_write_the_fields_of_the_session() {
    let mut server = Server::new(vec![at("/x", |_, _| {
        Handled::Now(
            says("body")
                .field("content-length", "1")
                .field("Transfer-Encoding", "chunked")
                .field("CONNECTION", "close")
                .field("Date", "today")
                .field("Server", "else"),
        )
    })]);
    let (peer, output) = server.send(get("/x", ""));
    let answer = only(answers(&output));
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.field("Content-Length"), Some("4"));
    assert_eq!(answer.field("Connection"), None);
    assert_eq!(answer.field("Server"), Some("Medusa"));
    assert_ended(&peer, None);
}

#[test]
fn a_status_that_cannot_be_written_is_a_500() {
    for status in [0, 99, 1000, u16::MAX] {
        let mut server = Server::new(vec![at("/x", move |_, _| Handled::Now(Reply::new(status)))]);
        let answer = server.get("/x", "");
        assert_eq!((answer.status, answer.body.len()), (500, 0), "{status}");
    }
}

#[test]
fn a_slow_client_gets_a_streamed_reply_whole() {
    for room in [1, 7, 100] {
        let mut server = Server::new(vec![stream("/stream"), now("/now", "now")]);
        let peer = server.connect();
        peer.set_write_room(0);
        peer.send(get("/stream", "") + &get("/now", ""));
        server.h.run();
        for _ in 0..2000 {
            peer.grant(room);
            server.h.run();
        }
        let all = answers(&peer.take());
        assert_eq!(all[0].text(), "one\ntwo\nthree\n");
        assert_eq!(all[1].text(), "now");
    }
}
