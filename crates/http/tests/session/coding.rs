//! Content codings: which form of a file or a reply a client gets, and what the head says of it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use medusa_core::Piece;
use medusa_fs::{FileSystem, LocalTree, Persona, TreeOptions};
use medusa_http::coding::Levels;
use medusa_http::limits::{
    CODING_LOOP_BYTES, CODING_STEP_BYTES, CODING_WHOLE_BYTES, NEIGHBOURS_LAST,
};
use medusa_http::{
    Body, CacheRule, Coder, Coding, CodingOptions, Compress, Files, FilesOptions, Handled,
    MediaTypes, Reply,
};
use proptest::prelude::*;

use crate::server::{
    Answer, Feeds, Pieces, Server, Shelf, answers, answers_to, at, fed, files, find, get, later,
    only, put, tree, tree_of,
};

const GZIP: &str = "Accept-Encoding: gzip\r\n";
const BR: &str = "Accept-Encoding: br\r\n";
const ZSTD: &str = "Accept-Encoding: zstd\r\n";
const ANY: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

/// Text of this many bytes that becomes shorter when it is coded, and does not repeat.
fn text(bytes: usize) -> String {
    let mut text = String::new();
    let mut n = 1u64;
    while text.len() < bytes {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(["<p>", "the ", "loop ", "serves ", "page ", "\n"][(n >> 60) as usize % 6]);
        text.push_str(&(n >> 40).to_string());
    }
    text.truncate(bytes);
    text
}

fn decoded(answer: &Answer) -> Vec<u8> {
    let (mut plain, coded) = (Vec::new(), &answer.body[..]);
    match answer.field("Content-Encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
        Some("zstd") => zstd::Decoder::new(coded).and_then(|mut d| d.read_to_end(&mut plain)),
        Some("br") => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
        None => return coded.to_vec(),
        Some(other) => panic!("coded with {other}"),
    }
    .expect("it decodes to its end");
    plain
}

/// The coding of a whole answer whose content is this.
#[track_caller]
fn coding_of<'a>(answer: &'a Answer, content: &str) -> Option<&'a str> {
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.whole, "{}", answer.head);
    assert!(decoded(answer) == content.as_bytes(), "{}", answer.head);
    answer.field("Content-Encoding")
}

fn serve(tree: impl FileSystem + 'static, options: FilesOptions, coding: CodingOptions) -> Server {
    let coder = Coder::new(coding);
    let files = Files::with_coder(Arc::new(tree), Persona::Process, options, coder);
    Server::new(vec![Rc::new(files)])
}

fn serve_dir(directory: &Path) -> Server {
    let tree = LocalTree::open(directory, TreeOptions::default()).expect("a directory");
    serve(tree, FilesOptions::default(), CodingOptions::default())
}

/// Writes a file that was modified this long after a day long past.
fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>, after: u64) {
    let path = directory.join(name);
    fs::write(&path, content).expect("it is written");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + after);
    let file = fs::File::options().write(true).open(path).expect("it is there");
    file.set_modified(time).expect("the file system keeps times");
}

// Neighbours.

#[test]
fn a_neighbour_stands_for_its_file() {
    let tree = tree_of(&[
        ("/x.css", "plain"),
        ("/x.css.br", "as br"),
        ("/x.css.gz", "as gzip"),
        ("/y.css", "plain"),
        ("/y.css.zst", "as zstd"),
    ]);
    let mut server = Server::files(&tree);
    for (path, accept, body, coding) in [
        ("/x.css", "", "plain", None),
        ("/x.css", "gzip", "as gzip", Some("gzip")),
        ("/x.css", "x-gzip", "as gzip", Some("gzip")),
        ("/x.css", "br", "as br", Some("br")),
        ("/x.css", "gzip, br, zstd", "as br", Some("br")),
        ("/x.css", "gzip, br;q=0.9", "as gzip", Some("gzip")),
        ("/x.css", "*", "as br", Some("br")),
        ("/x.css", "identity, gzip;q=0.5", "plain", None),
        ("/x.css", "identity;q=0", "plain", None),
        ("/x.css", "zstd", "plain", None),
        ("/y.css", "gzip, br, zstd", "as zstd", Some("zstd")),
        ("/y.css", "gzip, br", "plain", None),
    ] {
        // Twice: as it is looked up, and from memory.
        for _ in 0..2 {
            let answer = server.get(path, &format!("Accept-Encoding: {accept}\r\n"));
            assert_eq!(answer.text(), body, "{path} {accept}");
            assert_eq!(answer.field("Content-Encoding"), coding, "{path} {accept}");
            assert_eq!(answer.field("Content-Type"), Some("text/css; charset=utf-8"));
            assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
            assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
        }
    }
    // Asked for by its own name it is a file like any other.
    let answer = server.get("/x.css.gz", ANY);
    assert_eq!((answer.text(), answer.field("Content-Encoding")), ("as gzip", None));
    assert_eq!(answer.field("Content-Type"), Some("application/gzip"));
    assert_eq!(answer.field("Vary"), None);
}

#[test]
fn each_form_has_a_tag_of_its_own() {
    let tree = tree_of(&[("/x.css", "plain"), ("/x.css.br", "as br"), ("/x.css.gz", "gz")]);
    let mut server = Server::files(&tree);
    let tag = |answer: &Answer| answer.field("ETag").expect("a tag").to_owned();
    let tags = ["", GZIP, BR].map(|accept| tag(&server.get("/x.css", accept)));
    assert!(tags.iter().all(|tag| tag.starts_with('"')), "{tags:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
    let known = format!("If-None-Match: {}\r\n", tags[2]);
    let answer = server.get("/x.css", &format!("{BR}{known}"));
    assert_eq!(answer.status, 304);
    assert_eq!(answer.field("ETag"), Some(&*tags[2]));
    assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
    assert_eq!(server.get("/x.css", &format!("{GZIP}{known}")).status, 200);
    assert_eq!(server.get("/x.css", &known).status, 200);
}

#[test]
fn ranges_of_a_neighbour_are_ranges_of_its_bytes() {
    let tree = tree_of(&[("/x.css", "plain"), ("/x.css.br", "0123456789")]);
    let mut server = Server::files(&tree);
    let tag = server.get("/x.css", BR).field("ETag").expect("a tag").to_owned();
    let answer = server.get("/x.css", &format!("{BR}Range: bytes=2-4\r\nIf-Range: {tag}\r\n"));
    assert_eq!((answer.status, answer.text()), (206, "234"));
    assert_eq!(answer.field("Content-Encoding"), Some("br"));
    assert_eq!(answer.field("Content-Range"), Some("bytes 2-4/10"));
    assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
    // The tag of one form is none of another's.
    let answer = server.get("/x.css", &format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "plain"));
    // Parts do not say in which coding they are.
    let answer = server.get("/x.css", &format!("{BR}Range: bytes=0-1,4-5\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
}

#[test]
fn a_neighbour_needs_no_plain_file() {
    let tree = tree_of(&[("/x.css.br", "as br"), ("/d/index.html.gz", "gzip"), ("/e/f", "f")]);
    let mut server = Server::files(&tree);
    for _ in 0..2 {
        let answer = server.get("/x.css", ANY);
        assert_eq!((answer.text(), answer.field("Content-Encoding")), ("as br", Some("br")));
        assert_eq!(server.get("/d/", ANY).text(), "gzip");
        let answer = server.get("/x.css", GZIP);
        assert_eq!((answer.status, answer.field("Vary")), (404, Some("Accept-Encoding")));
        assert!(answer.text().contains("coded form"), "{}", answer.text());
        assert_eq!(server.get("/x.css", "").status, 404);
    }
    assert_eq!(server.get("/x.css/", ANY).status, 404);
    assert_eq!(server.get("/x.js", ANY).field("Vary"), None);
    // A plain file that comes is seen by the next request.
    put(&tree, "/x.css", b"plain");
    assert_eq!(server.get("/x.css", "").text(), "plain");
    assert_eq!(server.get("/x.css", ANY).text(), "as br");
}

#[test]
fn a_neighbour_that_is_older_than_its_file_does_not_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    write(at, "x.css", "plain", 10);
    write(at, "x.css.gz", "gzip", 9);
    write(at, "x.css.br", "br", 10);
    let mut server = serve_dir(at);
    for _ in 0..2 {
        assert_eq!(server.get("/x.css", BR).text(), "br");
        assert_eq!(server.get("/x.css", GZIP).text(), "plain");
    }
    // Made anew it counts, after a while.
    write(at, "x.css.gz", "gzip", 11);
    server.h.advance(NEIGHBOURS_LAST);
    assert_eq!(server.get("/x.css", GZIP).text(), "gzip");
}

#[test]
fn changes_of_all_forms_are_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    write(at, "x.css", "plain", 0);
    write(at, "x.css.gz", "gzip", 0);
    let mut server = serve_dir(at);
    assert_eq!(server.get("/x.css", GZIP).text(), "gzip");
    write(at, "x.css.gz", "new gzip", 1);
    assert_eq!(server.get("/x.css", GZIP).text(), "new gzip");
    write(at, "x.css", "new plain", 2);
    assert_eq!(server.get("/x.css", GZIP).text(), "new plain");
    write(at, "x.css.gz", "newest gzip", 3);
    server.h.advance(NEIGHBOURS_LAST);
    assert_eq!(server.get("/x.css", GZIP).text(), "newest gzip");
    fs::remove_file(at.join("x.css.gz")).expect("it is there");
    assert_eq!(server.get("/x.css", GZIP).text(), "new plain");
    // One that comes is noticed within a second; until then the content is what it was.
    write(at, "x.css.br", "br", 4);
    server.h.advance(NEIGHBOURS_LAST);
    assert_eq!(server.get("/x.css", BR).text(), "br");
    fs::remove_file(at.join("x.css")).expect("it is there");
    assert_eq!(server.get("/x.css", "").status, 404);
    assert_eq!(server.get("/x.css", BR).text(), "br");
}

#[test]
fn neighbours_are_looked_for_as_the_settings_say() {
    let tree = tree_of(&[
        ("/x.css", "plain"),
        ("/x.css.br", "br"),
        ("/x.css.gz", "gzip"),
        ("/x.png", "plain"),
        ("/x.png.gz", "gzip"),
    ]);
    let options =
        FilesOptions { neighbours: vec![Coding::Gzip, Coding::Brotli], ..Default::default() };
    let mut server = serve(tree.clone(), options, CodingOptions::default());
    assert_eq!(server.get("/x.css", ANY).text(), "gzip");
    // What is packed by itself has none.
    assert_eq!(server.get("/x.png", ANY).text(), "plain");
    assert_eq!(server.get("/x.png", ANY).field("Vary"), None);
    let options = FilesOptions { neighbours: vec![], ..Default::default() };
    let none = CodingOptions { codings: vec![], ..Default::default() };
    let mut server = serve(tree, options, none);
    let answer = server.get("/x.css", ANY);
    assert_eq!((answer.text(), answer.field("Vary")), ("plain", None));
}

// On the fly.

#[test]
fn files_are_coded_on_the_fly() {
    let small = text(5000);
    let large = text(CODING_WHOLE_BYTES as usize - 1);
    let huge = text(3 * CODING_WHOLE_BYTES as usize);
    let tree = tree_of(&[("/s.html", &small), ("/l.html", &large), ("/h.html", &huge)]);
    let mut server = Server::files(&tree);
    for (path, content) in [("/s.html", &small), ("/l.html", &large), ("/h.html", &huge)] {
        for (accept, coding) in [
            ("", None),
            (GZIP, Some("gzip")),
            (BR, Some("br")),
            (ZSTD, Some("zstd")),
            (ANY, Some("zstd")),
            ("Accept-Encoding: identity;q=0, br;q=0.1\r\n", Some("br")),
            ("Accept-Encoding: deflate\r\n", None),
        ] {
            for _ in 0..2 {
                let answer = server.get(path, accept);
                assert_eq!(coding_of(&answer, content), coding, "{path} {accept}");
                assert!(coding.is_none() || answer.body.len() < content.len() * 2 / 3);
                assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
                assert_eq!(answer.field("Accept-Ranges"), coding.is_none().then_some("bytes"));
                let tag = answer.field("ETag").expect("a tag");
                assert_eq!(tag.starts_with("W/"), coding.is_some(), "{tag}");
                assert!(answer.field("Last-Modified").is_some());
            }
        }
    }
}

#[test]
fn large_files_on_disk_are_coded_on_the_fly() {
    let directory = tempfile::tempdir().expect("a directory");
    let content = text(5 * CODING_STEP_BYTES + 17);
    let whole = text(100 * 1024);
    write(directory.path(), "x.html", &content, 0);
    write(directory.path(), "w.html", &whole, 0);
    let mut server = serve_dir(directory.path());
    for (accept, coding) in [(GZIP, "gzip"), (BR, "br"), (ZSTD, "zstd")] {
        let answer = server.get("/x.html", accept);
        assert_eq!(coding_of(&answer, &content), Some(coding));
        assert_eq!(answer.field("Content-Length"), None);
        // What was coded in one go is kept, and its length is known from then on.
        let first = server.get("/w.html", accept);
        assert_eq!(coding_of(&first, &whole), Some(coding));
        let second = server.get("/w.html", accept);
        assert_eq!(coding_of(&second, &whole), Some(coding));
        assert_eq!(second.field("Content-Length"), Some(&*first.body.len().to_string()));
        assert_eq!(first.body, second.body);
    }
    // A changed file is coded anew.
    write(directory.path(), "w.html", &content, 1);
    assert_eq!(coding_of(&server.get("/w.html", GZIP), &content), Some("gzip"));
}

#[test]
fn listings_are_coded_on_the_fly() {
    let tree = tree();
    for number in 0..2000 {
        put(&tree, &format!("/d/a file, number {number:04}"), b"content");
    }
    let mut server = serve(tree, FilesOptions::default(), CodingOptions::default());
    let plain = server.get("/d/", "");
    let coded = server.get("/d/", "Accept-Encoding: gzip\r\n");
    assert_eq!(coded.field("Content-Encoding"), Some("gzip"));
    assert_eq!(coded.field("Vary"), plain.field("Vary"));
    assert!(coded.body.len() * 4 < plain.body.len());
    assert!(decoded(&coded) == plain.body);
}

#[test]
fn what_is_short_or_packed_goes_as_it_is() {
    let long = text(5000);
    let tree = tree_of(&[
        ("/short.html", &long[..1023]),
        ("/enough.html", &long[..1024]),
        ("/x.png", &long),
        ("/x.unknown", &long),
        ("/x.svg", &long),
        ("/x.json", &long),
        ("/x.wasm", &long),
    ]);
    let mut server = Server::files(&tree);
    for (path, coding, vary) in [
        ("/short.html", None, true),
        ("/enough.html", Some("gzip"), true),
        ("/x.png", None, false),
        ("/x.unknown", None, false),
        ("/x.svg", Some("gzip"), true),
        ("/x.json", Some("gzip"), true),
        ("/x.wasm", Some("gzip"), true),
    ] {
        let answer = server.get(path, GZIP);
        assert_eq!(answer.field("Content-Encoding"), coding, "{path}");
        assert_eq!(answer.field("Vary").is_some(), vary, "{path}");
    }
    // Unless nothing else will do.
    let answer = server.get("/short.html", "Accept-Encoding: gzip, identity;q=0\r\n");
    assert_eq!(coding_of(&answer, &long[..1023]), Some("gzip"));
    assert_eq!(server.get("/x.png", "Accept-Encoding: gzip, identity;q=0\r\n").status, 200);
}

#[test]
fn conditions_hold_for_what_is_coded_on_the_fly() {
    let content = text(5000);
    let mut server = Server::files(&tree_of(&[("/x.html", &content)]));
    let strong = server.get("/x.html", "").field("ETag").expect("a tag").to_owned();
    let coded = server.get("/x.html", GZIP);
    let weak = coded.field("ETag").expect("a tag").to_owned();
    assert_eq!(weak, format!("W/{strong}"));
    for tag in [&strong, &weak] {
        for accept in ["", GZIP, BR] {
            let answer = server.get("/x.html", &format!("{accept}If-None-Match: {tag}\r\n"));
            assert_eq!(answer.status, 304, "{accept} {tag}");
            assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
            let own = if accept.is_empty() { &strong } else { &weak };
            assert_eq!(answer.field("ETag"), Some(&**own));
        }
    }
    let date = coded.field("Last-Modified").expect("a date").to_owned();
    let since = format!("{GZIP}If-Modified-Since: {date}\r\n");
    assert_eq!(server.get("/x.html", &since).status, 304);
    assert_eq!(server.get("/x.html", &format!("{GZIP}If-None-Match: \"no\"\r\n")).status, 200);
    // A weak tag is no ground to change or to resume anything.
    assert_eq!(server.get("/x.html", &format!("{GZIP}If-Match: {weak}\r\n")).status, 412);
    for range in [
        "Range: bytes=0-9\r\n".to_owned(),
        format!("Range: bytes=0-9\r\nIf-Range: {weak}\r\n"),
        format!("Range: bytes=0-9\r\nIf-Range: {strong}\r\n"),
        "Range: bytes=9999-\r\n".to_owned(),
    ] {
        let answer = server.get("/x.html", &format!("{GZIP}{range}"));
        assert_eq!(coding_of(&answer, &content), Some("gzip"), "{range}");
    }
    assert_eq!(server.get("/x.html", "Range: bytes=0-9\r\n").body.len(), 10);
}

#[test]
fn head_says_what_get_would() {
    let tree = tree_of(&[("/s.html", &text(5000)), ("/l.html", &text(100_000))]);
    let mut server = Server::files(&tree);
    for path in ["/s.html", "/l.html"] {
        for accept in ["", GZIP, ANY] {
            let ask = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
            let before = answers_to(&server.send(&ask).1, |_| true);
            let got = server.get(path, accept);
            assert_eq!(only(before).head, got.head);
            let after = only(answers_to(&server.send(&ask).1, |_| true));
            assert_eq!(after.field("ETag"), got.field("ETag"));
            assert!(after.field("Content-Length").is_some());
        }
    }
}

#[test]
fn an_old_client_gets_the_coded_body_until_the_end() {
    let content = text(100_000);
    let mut server = Server::files(&tree_of(&[("/x.html", &content)]));
    let (peer, output) = server.send(format!("GET /x.html HTTP/1.0\r\n{GZIP}\r\n"));
    let answer = only(answers(&output));
    assert!(decoded(&answer) == content.as_bytes());
    assert!(answer.closes() && peer.closed().is_some());
    // From memory the length is known.
    let keep = format!("GET /x.html HTTP/1.0\r\nConnection: keep-alive\r\n{GZIP}\r\n");
    let (peer, output) = server.send(keep);
    assert!(decoded(&only(answers(&output))) == content.as_bytes());
    assert!(peer.closed().is_none());
}

#[test]
fn a_pipeline_of_codings_keeps_its_order() {
    let (small, large) = (text(4000), text(300_000));
    let tree = tree_of(&[("/s.html", &small), ("/l.html", &large), ("/s.html.br", "br")]);
    let mut server = Server::files(&tree);
    let wishes = ["", GZIP, BR, ZSTD, ANY].repeat(4);
    let ask: String =
        wishes.iter().flat_map(|accept| [get("/l.html", accept), get("/s.html", accept)]).collect();
    let all = server.ask(ask);
    assert_eq!(all.len(), 2 * wishes.len());
    for (pair, accept) in all.chunks(2).zip(wishes) {
        assert!(decoded(&pair[0]) == large.as_bytes(), "{accept}");
        match accept {
            BR | ANY => assert_eq!(pair[1].text(), "br"),
            _ => assert!(decoded(&pair[1]) == small.as_bytes(), "{accept}"),
        }
    }
}

#[test]
fn a_turn_codes_so_much_on_the_loop_and_the_rest_on_helper_threads() {
    let content = text(CODING_LOOP_BYTES);
    let tree = tree_of(&[("/x.html", &content)]);
    let options = FilesOptions { coded_bytes: 0, ..Default::default() };
    let mut server = serve(tree, options, CodingOptions::default());
    server.h.hold_jobs();
    let (peer, output) = server.send(get("/x.html", GZIP).repeat(6));
    // All the head of the fifth has left, and none of its body.
    let at_once = find_end(&output, 4);
    assert_eq!(server.h.jobs(), 1);
    while server.h.jobs() > 0 {
        server.h.run_jobs();
        server.h.run();
    }
    let all = answers(&[output, peer.take()].concat());
    assert_eq!(all.len(), 6);
    for (n, answer) in all.iter().enumerate() {
        assert_eq!(coding_of(answer, &content), Some("gzip"));
        assert_eq!(answer.field("Content-Length").is_some(), n < 4, "{n}, {at_once}");
    }
}

/// Where the answer of this number ends, of those with a length.
fn find_end(mut output: &[u8], count: usize) -> usize {
    let whole = output.len();
    for _ in 0..count {
        let head = find(output, b"\r\n\r\n").expect("a head") + 4;
        let text = std::str::from_utf8(&output[..head]).expect("heads are ASCII");
        let length = text.split("Content-Length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().unwrap().parse().expect("a number");
        output = &output[head + length..];
    }
    whole - output.len()
}

#[test]
fn past_the_bound_of_memory_replies_go_uncoded() {
    let content = text(2 * CODING_WHOLE_BYTES as usize);
    let tree = tree_of(&[("/x.html", &content)]);
    let coding = CodingOptions { memory_bytes: 1 << 20, ..Default::default() };
    let coder = Coder::new(coding);
    let files =
        Files::with_coder(Arc::new(tree), Persona::Process, FilesOptions::default(), coder.clone());
    let mut server = Server::new(vec![Rc::new(files)]);
    // Clients that read nothing.
    let mut peers = Vec::new();
    for _ in 0..10 {
        let peer = server.connect();
        peer.set_write_room(0);
        peer.send(get("/x.html", GZIP));
        server.h.run();
        assert!(coder.held_bytes() <= 1 << 20);
        peers.push(peer);
    }
    let mut coded = 0;
    for peer in &peers {
        peer.grant_all();
        server.h.run();
        let answer = only(answers(&peer.take()));
        coded += usize::from(coding_of(&answer, &content).is_some());
    }
    assert_eq!(coded, 2);
    assert_eq!(coder.held_bytes(), 0);
    assert_eq!(coding_of(&server.get("/x.html", GZIP), &content), Some("gzip"));
}

#[test]
fn what_is_coded_counts_for_what_is_left_of_it() {
    let content = text(CODING_WHOLE_BYTES as usize);
    let coder = Coder::default();
    let files = Files::with_coder(
        Arc::new(tree_of(&[("/x.html", &content)])),
        Persona::Process,
        FilesOptions::default(),
        coder.clone(),
    );
    let mut server = Server::new(vec![Rc::new(files)]);
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/x.html", GZIP));
    server.h.run();
    let held = coder.held_bytes();
    assert!(0 < held && held < content.len() * 2 / 3, "{held}");
    peer.grant_all();
    server.h.run();
    assert_eq!(coding_of(&only(answers(&peer.take())), &content), Some("gzip"));
    assert_eq!(coder.held_bytes(), 0);
}

// Other extensions' replies.

/// Serves one reply of an extension's own, behind one that codes.
fn coded(make: impl Fn() -> Reply + 'static) -> Server {
    let compress = Rc::new(Compress::new(Coder::default()));
    Server::new(vec![compress, at("/x", move |_, _| Handled::Now(make()))])
}

fn page(content: &str) -> Reply {
    let body = Body::Bytes(Bytes::copy_from_slice(content.as_bytes()));
    Reply::new(200).field("Content-Type", "text/html").body(body)
}

#[test]
fn any_reply_can_be_coded() {
    for bytes in [2000, 100_000, 1_000_000] {
        let content = text(bytes);
        let mut server = {
            let content = content.clone();
            coded(move || page(&content).field("ETag", "\"1\"").field("Accept-Ranges", "bytes"))
        };
        for (accept, coding) in
            [("", None), (GZIP, Some("gzip")), (BR, Some("br")), (ANY, Some("zstd"))]
        {
            let answer = server.get("/x", accept);
            assert_eq!(coding_of(&answer, &content), coding, "{accept}");
            assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
            let tag = if coding.is_some() { "W/\"1\"" } else { "\"1\"" };
            assert_eq!(answer.field("ETag"), Some(tag));
            assert_eq!(answer.field("Accept-Ranges"), coding.is_none().then_some("bytes"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However a body comes and however its client reads, it decodes to the same.
    #[test]
    fn any_body_comes_back_to_any_reader(
        bytes in prop_oneof![1024..20_000usize, 1024..600_000usize],
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        as_bytes in any::<bool>(),
        rooms in proptest::collection::vec(1..40_000usize, 1..20),
        coding in proptest::sample::select(Coding::ALL.to_vec()),
    ) {
        let content = text(bytes);
        let mut cuts: Vec<_> = cuts.iter().map(|at| at.index(bytes)).collect();
        cuts.extend([0, bytes]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut server = {
            let content = content.clone();
            coded(move || {
                if as_bytes {
                    return page(&content);
                }
                let piece = |cut: &[usize]| {
                    Piece::Bytes(Bytes::copy_from_slice(&content.as_bytes()[cut[0]..cut[1]]))
                };
                let pieces = Pieces { pieces: cuts.windows(2).map(piece).collect(), fails: false };
                Reply::new(200).field("Content-Type", "text/html").producer(pieces)
            })
        };
        let peer = server.connect();
        peer.set_write_room(0);
        peer.send(get("/x", &format!("Accept-Encoding: {coding}\r\n")));
        for room in rooms {
            server.h.run();
            peer.grant(room);
        }
        peer.grant_all();
        server.h.run();
        let answer = only(answers(&peer.take()));
        prop_assert_eq!(coding_of(&answer, &content), Some(coding.name()));
    }
}

#[test]
fn late_replies_and_those_of_files_are_coded_once() {
    let content = text(100_000);
    let tree = tree_of(&[("/f.html", &content)]);
    let shelf = Shelf::default();
    let compress = Rc::new(Compress::new(Coder::default()));
    let mut server = Server::new(vec![compress, later("/later", &shelf), files(&tree)]);
    let peer = server.connect();
    peer.send(get("/later", GZIP) + &get("/f.html", GZIP));
    server.h.run();
    shelf.reply("/later", page(&content));
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(all.len(), 2);
    for answer in all {
        assert_eq!(coding_of(&answer, &content), Some("gzip"));
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
    }
    let range = server.get("/f.html", "Range: bytes=0-4\r\n");
    assert_eq!((range.status, range.body.len()), (206, 5));
}

#[test]
fn a_reply_that_must_stay_as_it_is_does() {
    let content = text(5000);
    for (status, name, value) in [
        (200, "Content-Encoding", "gzip"),
        (200, "Cache-Control", "no-transform"),
        (206, "Content-Range", "bytes 0-4999/9999"),
        (206, "X", "y"),
        (200, "Content-Type", "image/png"),
    ] {
        let reply = {
            let content = content.clone();
            move || {
                let body = Body::Bytes(content.clone().into());
                let reply = Reply::new(status).field(name, value).body(body);
                if name == "Content-Type" { reply } else { reply.field("Content-Type", "text/css") }
            }
        };
        let answer = coded(reply).get("/x", ANY);
        assert_eq!((answer.status, answer.text()), (status, &*content), "{name}: {value}");
        assert_eq!(answer.field("Vary"), None);
    }
    let answer = coded(|| Reply::new(204)).get("/x", ANY);
    assert_eq!((answer.status, answer.field("Vary")), (204, None));
}

#[test]
fn what_a_slow_producer_gave_is_sent_while_it_waits() {
    for (accept, coding) in [(GZIP, Coding::Gzip), (BR, Coding::Brotli), (ZSTD, Coding::Zstd)] {
        let feeds = Feeds::default();
        let typed = at("/x", |_, exchange| {
            exchange.on_reply(|reply| reply.set_field("Content-Type", "text/plain"));
            Handled::Pass
        });
        let compress = Rc::new(Compress::new(Coder::default()));
        let fed = fed("/x", &feeds, 1 << 20, 1 << 10);
        let mut server = Server::new(vec![compress, typed, fed]);
        let peer = server.connect();
        peer.send(get("/x", accept));
        server.h.run();
        let (mut sent, mut output) = (String::new(), peer.take());
        let feed = feeds.borrow_mut().pop().expect("it was asked");
        for n in 0..20 {
            let line = format!("event {n} {}\n", text(n * n * 100));
            assert!(feed.push(line.clone()).is_ok(), "there is room");
            sent.push_str(&line);
            server.h.run();
            output.extend(peer.take());
            let answer = only(answers(&output));
            assert!(!answer.whole);
            assert!(partly(coding, &answer.body) == sent.as_bytes(), "{coding}: event {n}");
        }
        feed.end();
        server.h.run();
        output.extend(peer.take());
        assert_eq!(coding_of(&only(answers(&output)), &sent), Some(coding.name()));
    }
}

/// As much as can be read of what has not ended.
fn partly(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let result = match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
        Coding::Zstd => zstd::Decoder::new(coded).and_then(|mut d| d.read_to_end(&mut plain)),
        Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
    };
    assert!(result.is_err(), "it has not ended");
    plain
}

#[test]
fn a_producer_that_fails_is_not_ended_as_if_it_were_whole() {
    let content = text(3000);
    let mut server = coded(move || {
        let piece = Piece::Bytes(content.clone().into());
        let pieces = Pieces { pieces: vec![piece], fails: true };
        Reply::new(200).field("Content-Type", "text/html").producer(pieces)
    });
    let (peer, output) = server.send(get("/x", GZIP));
    assert!(output.is_empty() || !only(answers(&output)).whole);
    assert!(peer.closed().is_some());
}

#[test]
fn a_file_that_became_shorter_is_not_ended_as_if_it_were_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), "x.html", text(500_000), 0);
    let mut server = serve_dir(directory.path());
    server.h.hold_jobs();
    let (peer, mut output) = server.send(get("/x.html", GZIP));
    while output.is_empty() {
        // Looking up may need a helper thread too.
        server.h.run_jobs();
        server.h.run();
        output.extend(peer.take());
    }
    let file = fs::File::options().write(true).open(directory.path().join("x.html"));
    file.expect("it is there").set_len(100_000).expect("it is shortened");
    while server.h.jobs() > 0 {
        server.h.run_jobs();
        server.h.run();
    }
    output.extend(peer.take());
    assert!(!only(answers(&output)).whole);
    assert!(peer.closed().is_some());
}

#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    let tree = tree_of(&[("/x.html", &text(1_000_000))]);
    let coder = Coder::default();
    let files =
        Files::with_coder(Arc::new(tree), Persona::Process, FilesOptions::default(), coder.clone());
    let mut server = Server::new(vec![Rc::new(files)]);
    server.h.hold_jobs();
    let (peer, _) = server.send(get("/x.html", GZIP));
    assert!(coder.held_bytes() > 0 && server.h.jobs() == 1);
    peer.reset();
    server.h.run();
    assert_eq!(coder.held_bytes(), 0);
    server.h.run_jobs();
    server.h.run();
    assert_eq!(server.h.jobs(), 0);
}

// Media types and Cache-Control.

#[test]
fn media_types_and_cache_control_are_settings() {
    let tree = tree_of(&[
        ("/a.txt", &text(2000)),
        ("/b.own", &text(2000)),
        ("/static/c.css", "c"),
        ("/static/c.css.br", "br"),
        ("/index.html", "index"),
    ]);
    let mut media = MediaTypes::default();
    media.set("own", "text/x-own; charset=koi8-r").expect("a type");
    media.set_charset(Some("iso-8859-1")).expect("a character set");
    let rule = |pattern, value| CacheRule::new(pattern, value).expect("a rule");
    let cache_control = vec![
        rule("/static/", "max-age=31536000, immutable"),
        rule("*.own", "no-transform"),
        rule("/index.html", "no-cache"),
    ];
    let options = FilesOptions { media, cache_control, ..Default::default() };
    let levels = Levels { gzip: 9, zstd: 1, brotli: 0 };
    let coding = CodingOptions { levels, ..Default::default() };
    let mut server = serve(tree, options, coding);
    for (path, media_type, cache, coding) in [
        ("/a.txt", "text/plain; charset=iso-8859-1", None, Some("zstd")),
        ("/b.own", "text/x-own; charset=koi8-r", Some("no-transform"), None),
        (
            "/static/c.css",
            "text/css; charset=iso-8859-1",
            Some("max-age=31536000, immutable"),
            Some("br"),
        ),
        ("/", "text/html; charset=iso-8859-1", Some("no-cache"), None),
    ] {
        for _ in 0..2 {
            let answer = server.get(path, ANY);
            assert_eq!(answer.field("Content-Type"), Some(media_type), "{path}");
            assert_eq!(answer.field("Cache-Control"), cache, "{path}");
            assert_eq!(answer.field("Content-Encoding"), coding, "{path}");
            let tag = answer.field("ETag").expect("a tag");
            let same = server.get(path, &format!("{ANY}If-None-Match: {tag}\r\n"));
            assert_eq!((same.status, same.field("Cache-Control")), (304, cache), "{path}");
        }
    }
    let parts = server.get("/static/c.css", "Range: bytes=0-0,0-0\r\n");
    assert_eq!(parts.field("Cache-Control"), Some("max-age=31536000, immutable"));
}
