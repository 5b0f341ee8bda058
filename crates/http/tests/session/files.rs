//! The default extension: what a client gets of a file tree, and what it never gets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use medusa_core::handle::JobLost;
use medusa_core::testing::{Harness, How, START_UNIX};
use medusa_fs::{
    Detail, DirEntry, Entries, Error, ErrorKind, FileSystem, Freshness, Kind, LocalTree,
    MemoryTree, Metadata, OpenFile, Persona, Placement, Staged, Stamp, TreeOptions, VirtualPath,
    WriteFile,
};
use medusa_http::limits::CACHED_FILE_BYTES;
use medusa_http::{Files, FilesOptions};

use crate::server::{
    Answer, MODIFIED, MODIFIED_DATE, Server, answers, answers_to, assert_ended, find, get, only,
    put, put_bytes, statuses, system_time, tree, tree_of,
};

/// Serves any tree.
pub(crate) fn serve(tree: impl FileSystem + 'static, options: FilesOptions) -> Server {
    Server::new(vec![Rc::new(Files::new(Arc::new(tree), Persona::Process, options))])
}

/// Serves a directory of the machine.
pub(crate) fn serve_dir(directory: &Path) -> Server {
    let tree = LocalTree::open(directory, TreeOptions::default()).expect("a directory");
    serve(tree, FilesOptions::default())
}

fn digits() -> Server {
    Server::files(&tree_of(&[("/f.txt", "0123456789")]))
}

// Names.

#[test]
fn files_directories_and_what_is_not_there() {
    let tree = tree_of(&[
        ("/index.html", "root"),
        ("/f", "file"),
        ("/with/index.html", "with index"),
        ("/without/f", "f"),
        ("/odd/index.html/f", "the index is a directory"),
    ]);
    let mut server = Server::files(&tree);
    for (path, status, body) in [
        ("/", 200, "root"),
        ("/index.html", 200, "root"),
        ("/f", 200, "file"),
        ("/./f", 200, "file"),
        ("//f", 200, "file"),
        ("/with/../f", 200, "file"),
        ("/%66", 200, "file"),
        ("/f?query", 200, "file"),
        ("/f?", 200, "file"),
        ("/with/", 200, "with index"),
        ("/with/.", 200, "with index"),
        ("/f/", 404, ""),
        ("/f/x", 404, ""),
        ("/none", 404, ""),
        ("/without/none", 404, ""),
        ("/F", 404, ""),
    ] {
        let answer = server.get(path, "");
        assert_eq!(answer.status, status, "{path}");
        if status == 200 {
            assert_eq!(answer.text(), body, "{path}");
        }
    }
    assert!(server.get("/without/", "").text().contains("Index of /without"));
    assert!(server.get("/odd/", "").text().contains("Index of /odd"));
    let long = "x".repeat(300);
    assert_eq!(server.get(&format!("/{long}"), "").status, 400);
}

#[test]
fn a_directory_is_redirected_to_its_slash() {
    let tree = tree();
    for name in ["/d/f", "/a b/f", "/a%b/f", "/a?b/f", "/a#b/f", "/a:b/f", "/d/e/f", "/a\\b/f"] {
        put(&tree, name, b"f");
    }
    put(&tree, "/evil.example/f", b"f");
    put_bytes(&tree, b"/\xff\xe4/f", b"f");
    let mut server = Server::files(&tree);
    for (target, location) in [
        ("/d", "/d/"),
        ("/d/e", "/d/e/"),
        ("/d?", "/d/?"),
        ("/d?a=b&c=%20/d", "/d/?a=b&c=%20/d"),
        ("/%64", "/d/"),
        ("/a%20b", "/a%20b/"),
        ("/a%25b", "/a%25b/"),
        ("/a%3fb", "/a%3Fb/"),
        ("/a%23b", "/a%23b/"),
        ("/a:b", "/a%3Ab/"),
        ("/a%5Cb", "/a%5Cb/"),
        ("/a\\b", "/a%5Cb/"),
        ("/%ff%E4", "/%FF%E4/"),
        ("http://other/d?q", "/d/?q"),
        // Two slashes in front would name another host.
        ("//evil.example", "/.//evil.example/"),
        ("/%2fevil.example", "/.//evil.example/"),
        ("//evil.example/..//evil.example", "/.//evil.example/..//evil.example/"),
    ] {
        let answer = server.get(target, "");
        assert_eq!(answer.status, 301, "{target}");
        let got = answer.field("Location").expect("a Location");
        assert_eq!(got, location, "{target}");
        assert!(!got.starts_with("//") && !got.starts_with("/\\"), "{target}");
        // Whoever follows it gets there.
        assert_eq!(server.get(got, "").status, 200, "{got}");
    }
}

#[test]
fn types_follow_the_ending() {
    let types = [
        ("/a.html", "text/html; charset=utf-8"),
        ("/a.HTM", "text/html; charset=utf-8"),
        ("/a.css", "text/css; charset=utf-8"),
        ("/a.js", "text/javascript; charset=utf-8"),
        ("/a.json", "application/json; charset=utf-8"),
        ("/a.txt", "text/plain; charset=utf-8"),
        ("/a.png", "image/png"),
        ("/a.svg", "image/svg+xml"),
        ("/a.tar.gz", "application/gzip"),
        ("/a.wasm", "application/wasm"),
        ("/a.unknown-ending", "application/octet-stream"),
        ("/html", "application/octet-stream"),
    ];
    let mut server = Server::files(&tree_of(&types.map(|(name, _)| (name, "x"))));
    for (name, kind) in types {
        assert_eq!(server.get(name, "").field("Content-Type"), Some(kind), "{name}");
    }
}

// Methods.

#[test]
fn only_reading_is_allowed() {
    let mut server = digits();
    for target in ["/f.txt", "/", "/none", "*"] {
        let (_, output) = server.send(get(target, "").replace("GET", "OPTIONS"));
        let answer = only(answers(&output));
        assert_eq!((answer.status, answer.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    }
    let with_body = "OPTIONS /f.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let all = server.ask(with_body.to_owned() + &get("/f.txt", ""));
    assert_eq!(statuses(&all), [204, 200]);
    for method in ["POST", "PUT", "DELETE", "TRACE", "MKCOL"] {
        let answer = only(server.ask(get("/f.txt", "").replace("GET", method)));
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
}

// Validators, conditions, ranges.

fn etag(server: &mut Server) -> String {
    server.get("/f.txt", "").field("ETag").expect("an ETag").to_owned()
}

#[test]
fn validators_stand_in_every_answer_about_the_file() {
    let mut server = digits();
    let tag = etag(&mut server);
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong one: {tag}");
    for (lines, status) in [
        ("", 200),
        ("Range: bytes=1-2\r\n", 206),
        ("Range: bytes=1-2,5-5\r\n", 206),
        ("If-None-Match: *\r\n", 304),
    ] {
        let answer = server.get("/f.txt", lines);
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("ETag"), Some(&*tag), "{lines}");
        assert_eq!(answer.field("Last-Modified"), Some(MODIFIED_DATE), "{lines}");
    }
    assert_eq!(server.get("/f.txt", "").field("Accept-Ranges"), Some("bytes"));
}

#[test]
fn conditions() {
    const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
    const AFTER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";
    let mut server = digits();
    let tag = etag(&mut server);
    let other = "\"other\"";
    for (lines, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: W/{tag}"), 304),
        (format!("If-None-Match: {other}, {tag}"), 304),
        (format!("If-None-Match: {other}\r\nIf-None-Match: {tag}"), 304),
        ("If-None-Match: *".into(), 304),
        (format!("If-None-Match: {other}"), 200),
        (format!("If-None-Match: {other}\r\nIf-Modified-Since: {AFTER}"), 200),
        (format!("If-Modified-Since: {MODIFIED_DATE}"), 304),
        (format!("If-Modified-Since: {AFTER}"), 304),
        (format!("If-Modified-Since: {BEFORE}"), 200),
        ("If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT".into(), 304),
        ("If-Modified-Since: Sun Sep  9 01:46:40 2001".into(), 304),
        ("If-Modified-Since: yesterday".into(), 200),
        (format!("If-Match: {tag}"), 200),
        (format!("If-Match: {other}, {tag}"), 200),
        ("If-Match: *".into(), 200),
        (format!("If-Match: W/{tag}"), 412),
        (format!("If-Match: {other}"), 412),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {BEFORE}"), 200),
        (format!("If-Match: {tag}\r\nIf-None-Match: {tag}"), 304),
        (format!("If-Unmodified-Since: {MODIFIED_DATE}"), 200),
        (format!("If-Unmodified-Since: {BEFORE}"), 412),
        (format!("If-Unmodified-Since: {BEFORE}\r\nIf-None-Match: {tag}"), 412),
        (format!("Range: bytes=0-1\r\nIf-None-Match: {tag}"), 304),
    ] {
        for method in ["GET", "HEAD"] {
            let request = get("/f.txt", &format!("{lines}\r\n")).replace("GET", method);
            let (_, output) = server.send(&request);
            let answer = only(answers_to(&output, |_| method == "HEAD"));
            assert_eq!(answer.status, status, "{request}");
        }
    }
    // What is not there has no condition to fail.
    assert_eq!(server.get("/none", "If-None-Match: *\r\n").status, 404);
    assert_eq!(server.get("/none", "If-Match: *\r\n").status, 404);
}

#[test]
fn single_ranges() {
    let mut server = digits();
    for (range, body, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=5-99999999999999999999999", "56789", "bytes 5-9/10"),
        ("BYTES = 1-2", "", ""),
        ("bytes=2-4,3-6", "23456", "bytes 2-6/10"),
        ("bytes=2-4, 5-6", "23456", "bytes 2-6/10"),
        ("bytes=1-1,99-", "1", "bytes 1-1/10"),
    ] {
        let answer = server.get("/f.txt", &format!("Range: {range}\r\n"));
        if shown.is_empty() {
            assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{range}");
        } else {
            assert_eq!((answer.status, answer.text()), (206, body), "{range}");
            assert_eq!(answer.field("Content-Range"), Some(shown), "{range}");
            assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
        }
    }
}

#[test]
fn ranges_that_select_nothing() {
    let mut server = Server::files(&tree_of(&[("/f.txt", "0123456789"), ("/empty", "")]));
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=", "bytes=99-,-0"] {
        let answer = server.get("/f.txt", &format!("Range: {range}\r\n"));
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.field("Content-Range"), Some("bytes */10"), "{range}");
    }
    assert_eq!(server.get("/empty", "").body.len(), 0);
    assert_eq!(server.get("/empty", "Range: bytes=0-\r\n").status, 416);
}

#[test]
fn ranges_that_are_ignored() {
    let mut server = digits();
    let many = (0..40).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    for lines in [
        "Range: lines=1-2\r\n".to_owned(),
        "Range: bytes=a-b\r\n".into(),
        "Range: 1-2\r\n".into(),
        "Range: bytes=1-2\r\nRange: bytes=3-4\r\n".into(),
        format!("Range: bytes={many}\r\n"),
        "If-Range: \"x\"\r\n".into(),
    ] {
        let answer = server.get("/f.txt", &lines);
        assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{lines}");
    }
    let (_, output) = server.send(get("/f.txt", "Range: bytes=1-2\r\n").replace("GET", "HEAD"));
    assert_eq!(only(answers_to(&output, |_| true)).status, 200);
}

#[test]
fn a_range_counts_only_if_its_if_range_holds() {
    let mut server = digits();
    let tag = etag(&mut server);
    for (condition, status) in [
        (tag.clone(), 206),
        (MODIFIED_DATE.to_owned(), 206),
        (format!("W/{tag}"), 200),
        ("\"other\"".into(), 200),
        ("Sun, 09 Sep 2001 01:46:41 GMT".into(), 200),
        ("nonsense".into(), 200),
    ] {
        let answer =
            server.get("/f.txt", &format!("Range: bytes=2-4\r\nIf-Range: {condition}\r\n"));
        assert_eq!(answer.status, status, "{condition}");
    }
}

/// The parts of a multipart/byteranges body: Content-Type, Content-Range, content.
fn parts(answer: &Answer) -> Vec<(String, String, String)> {
    let kind = answer.field("Content-Type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("parts");
    let text = answer.text();
    let inner = text.strip_prefix(&format!("--{boundary}\r\n")).expect("a first boundary");
    let inner = inner.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("a last boundary");
    inner
        .split(&format!("\r\n--{boundary}\r\n"))
        .map(|part| {
            let (head, body) = part.split_once("\r\n\r\n").expect("a head");
            let (kind, range) = head.split_once("\r\n").expect("two fields");
            let kind = kind.strip_prefix("Content-Type: ").expect("a type");
            let range = range.strip_prefix("Content-Range: ").expect("a range");
            (kind.to_owned(), range.to_owned(), body.to_owned())
        })
        .collect()
}

#[test]
fn several_ranges_come_in_parts() {
    let large = "0123456789".repeat(20_000);
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("f.txt"), &large).expect("it is written");
    for (server, size) in [(&mut digits(), 10), (&mut serve_dir(directory.path()), large.len())] {
        let answer = server.get("/f.txt", "Range: bytes=7-8,0-1,1-2,-1\r\n");
        assert_eq!((answer.status, answer.field("Content-Range")), (206, None));
        let last = size - 1;
        let expected = match size {
            10 => vec![("7-9", "789"), ("0-2", "012")],
            _ => vec![("7-8", "78"), ("0-2", "012"), ("199999-199999", "9")],
        };
        assert!(expected[expected.len() - 1].0.contains(&last.to_string()) || size == 10);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(range, body)| {
                let kind = "text/plain; charset=utf-8".to_owned();
                (kind, format!("bytes {range}/{size}"), body.to_owned())
            })
            .collect();
        assert_eq!(parts(&answer), expected);
        assert!(answer.whole);
    }
}

#[test]
fn many_overlapping_ranges_do_not_multiply_the_file() {
    let large = "0123456789".repeat(1000);
    let mut server = Server::files(&tree_of(&[("/f.txt", &large)]));
    let ranges = vec!["0-"; 30].join(",");
    let answer = server.get("/f.txt", &format!("Range: bytes={ranges}\r\n"));
    assert_eq!((answer.status, answer.body.len()), (206, large.len()));
    let singles = (0..32).map(|n| format!("{}-{}", n * 2, n * 2)).collect::<Vec<_>>().join(",");
    let answer = server.get("/f.txt", &format!("Range: bytes={singles}\r\n"));
    assert_eq!(parts(&answer).len(), 32);
}

/// A client could never get a 304: what it was told lay in the future.
#[test]
fn a_file_from_the_future_is_not_younger_than_its_reply() {
    let tree = tree_of(&[("/f.txt", "0123456789")]);
    let path = VirtualPath::parse(b"/f.txt").expect("a path").path;
    let future = system_time(START_UNIX + Duration::from_secs(3600));
    tree.set_modified(&Persona::Process, &path, future).expect("it is set");
    let mut server = Server::files(&tree);
    for seconds in [0, 10] {
        server.h.advance(Duration::from_secs(seconds));
        let answer = server.get("/f.txt", "");
        assert_eq!(answer.field("Last-Modified"), answer.field("Date"));
        let answer = server.get("/f.txt", "Range: bytes=0-1,5-6\r\n");
        assert_eq!(answer.field("Last-Modified"), answer.field("Date"));
    }
}

// Changes.

fn set_time(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("it is set");
}

#[test]
fn a_changed_file_is_noticed_by_the_next_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f");
    let mut server = serve_dir(directory.path());
    for size in [10, CACHED_FILE_BYTES as usize * 2] {
        let mut tags = Vec::new();
        for (second, byte) in [(1_000_000, b'a'), (1_000_001, b'b'), (1_000_002, b'c')] {
            fs::write(&path, vec![byte; size]).expect("it is written");
            set_time(&path, second);
            for _ in 0..2 {
                let answer = server.get("/f", "");
                assert!(answer.body == vec![byte; size], "{size} bytes of {byte}");
                tags.push(answer.field("ETag").expect("an ETag").to_owned());
            }
        }
        assert!(tags[0] == tags[1] && tags[1] != tags[2] && tags[3] != tags[4], "{tags:?}");
    }
}

#[test]
fn a_replaced_or_removed_file_is_noticed_by_the_next_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let mut server = serve_dir(directory.path());
    fs::create_dir(path("d")).expect("it is made");
    fs::write(path("d/index.html"), "index").expect("it is written");
    fs::write(path("f"), "old").expect("it is written");
    for _ in 0..2 {
        assert_eq!(server.get("/f", "").text(), "old");
        assert_eq!(server.get("/d/", "").text(), "index");
    }
    fs::write(path("new"), "new").expect("it is written");
    fs::rename(path("new"), path("f")).expect("it is moved");
    fs::remove_file(path("d/index.html")).expect("it is removed");
    assert_eq!(server.get("/f", "").text(), "new");
    assert!(server.get("/d/", "").text().contains("Index of"));
    fs::remove_file(path("f")).expect("it is removed");
    assert_eq!(server.get("/f", "").status, 404);
    fs::create_dir(path("f")).expect("it is made");
    assert_eq!(server.get("/f", "").status, 301);
    fs::write(path("d/index.html"), "again").expect("it is written");
    assert_eq!(server.get("/d/", "").text(), "again");
}

#[test]
fn a_file_truncated_while_it_is_sent_closes_the_connection_early() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f");
    fs::write(&path, vec![b'x'; 1_000_000]).expect("it is written");
    let mut server = serve_dir(directory.path());
    let peer = server.connect();
    peer.set_write_room(100_000);
    peer.send(get("/f", "") + &get("/f", ""));
    server.h.run();
    fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|f| f.set_len(500_000))
        .expect("it is cut");
    peer.grant_all();
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert_eq!(answer.field("Content-Length"), Some("1000000"));
    assert_eq!(answer.body.len(), 500_000);
    assert_ended(&peer, Some(How::Reset));
}

#[test]
fn a_file_that_grows_while_it_is_sent_is_sent_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f");
    fs::write(&path, vec![b'x'; 200_000]).expect("it is written");
    let mut server = serve_dir(directory.path());
    let peer = server.connect();
    peer.set_write_room(1000);
    peer.send(get("/f", ""));
    server.h.run();
    fs::write(&path, vec![b'y'; 300_000]).expect("it is written");
    peer.grant_all();
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert!(answer.whole && answer.body.len() == 200_000);
}

/// Each reply held a descriptor of its own: few clients could use up all there are.
#[test]
#[cfg(target_os = "linux")]
fn clients_of_one_large_file_share_its_descriptor() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("f");
    let descriptors = || {
        let all = fs::read_dir("/proc/self/fd").expect("a directory");
        all.filter(|fd| {
            fs::read_link(fd.as_ref().expect("it is read").path()).ok() == Some(path.clone())
        })
        .count()
    };
    fs::write(&path, vec![b'a'; 500_000]).expect("it is written");
    set_time(&path, 1_000_000);
    let mut server = serve_dir(directory.path());
    let peers: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for peer in &peers {
        peer.set_write_room(1000);
        peer.send(get("/f", "") + &get("/f", "Range: bytes=0-0,499999-\r\n"));
    }
    server.h.run();
    assert_eq!(descriptors(), 1);
    // In another state it is another file.
    fs::write(&path, vec![b'b'; 500_000]).expect("it is written");
    set_time(&path, 1_000_001);
    assert!(server.get("/f", "").body == vec![b'b'; 500_000]);
    for peer in peers {
        peer.grant_all();
        server.h.run();
        let all = answers(&peer.take());
        assert!(all[0].whole && all[0].body.len() == 500_000);
        assert_eq!(parts(&all[1]).len(), 2);
    }
    assert_eq!(descriptors(), 0);
}

// What stays hidden.

#[test]
fn nothing_outside_the_tree_is_ever_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("d")).expect("it is made");
    fs::write(directory.path().join("secret"), "SECRET").expect("it is written");
    fs::write(root.join(".hidden"), "SECRET").expect("it is written");
    fs::create_dir(root.join(".git")).expect("it is made");
    fs::write(root.join(".git/config"), "SECRET").expect("it is written");
    fs::write(root.join("d/f"), "fine").expect("it is written");
    symlink("../secret", root.join("out")).expect("a link");
    symlink("../../secret", root.join("d/out")).expect("a link");
    symlink("..", root.join("up")).expect("a link");
    symlink(directory.path().join("secret"), root.join("absolute")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    symlink("nowhere", root.join("dangling")).expect("a link");
    symlink("d/f", root.join("inside")).expect("a link");
    let mut server = serve_dir(&root);
    assert_eq!(server.get("/inside", "").text(), "fine");
    let absolute = directory.path().join("secret").display().to_string();
    for target in [
        "/../secret",
        "/d/../../secret",
        "/%2e%2e/secret",
        "/%2e./secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/d/..%2f..%2fsecret",
        "/./../secret",
        "/d//../../secret",
        "/..;/secret",
        "/..\\secret",
        "/%2e%2e%5csecret",
        "/%252e%252e/secret",
        "/%c0%ae%c0%ae/secret",
        "//../secret",
        "http://a/../secret",
        "/out",
        "/d/out",
        "/up/secret",
        "/up/",
        "/absolute",
        "/loop",
        "/dangling",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/.git/",
        "/.git",
        "/d/../.hidden",
        &absolute,
        &format!("/{absolute}"),
    ] {
        let answer = server.get(target, "");
        assert!(matches!(answer.status, 400 | 403 | 404), "{target}: {}", answer.status);
        assert!(find(&answer.body, b"SECRET").is_none(), "{target}");
    }
    let page = server.get("/", "").text().to_owned();
    for name in ["hidden", ".git", "out", "up", "absolute", "loop", "dangling"] {
        assert!(!page.contains(&format!("\"{name}")), "{name} in {page}");
    }
    assert!(page.contains("\"inside\""));
}

#[test]
fn what_is_no_file_is_not_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let mut server = serve_dir(directory.path());
    assert_eq!(server.get("/socket", "").status, 403);
    assert!(!server.get("/", "").text().contains("socket\""));
}

// On the helper threads, and in the cache.

/// A tree that can be told to be cold or to fail, and counts what is asked of it.
#[derive(Clone)]
pub(crate) struct Watched {
    inside: MemoryTree,
    cold: Arc<AtomicBool>,
    opens: Arc<AtomicUsize>,
    /// What opening a file fails with.
    pub(crate) fails: Arc<Mutex<Option<ErrorKind>>>,
    /// Entries behind which a listing fails.
    pub(crate) lists: Arc<AtomicUsize>,
    /// Sockets that each listing has in front.
    pub(crate) sockets: Arc<AtomicUsize>,
}

impl Watched {
    pub(crate) fn new(inside: MemoryTree) -> Self {
        let (cold, opens, fails) = (Arc::default(), Arc::default(), Arc::default());
        let (lists, sockets) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::default());
        Self { inside, cold, opens, fails, lists, sockets }
    }

    /// What is watched.
    pub(crate) fn inside(&self) -> &MemoryTree {
        &self.inside
    }

    /// How often a file was opened.
    pub(crate) fn opens(&self) -> usize {
        self.opens.load(Ordering::Relaxed)
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        let opened = self.inside.open(who, path)?;
        match *self.fails.lock().expect("nobody panics") {
            Some(kind) => Err(Error::new(kind, "open", path)),
            None => Ok(opened),
        }
    }
}

impl FileSystem for Watched {
    fn metadata(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<Metadata> {
        self.inside.metadata(who, path)
    }
    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<Metadata> {
        self.inside.metadata(who, path)
    }
    fn open(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        Self::open(self, who, path)
    }
    fn open_now(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        if self.cold.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::WouldBlock, "open", path));
        }
        Self::open(self, who, path)
    }
    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        self.inside.check_now(who, path, stamp)
    }
    fn list(&self, who: &Persona, path: &VirtualPath, d: Detail) -> medusa_fs::Result<Entries> {
        let whole = self.lists.load(Ordering::Relaxed);
        let failed = Error::new(ErrorKind::Io, "list", path);
        let fails = (whole < usize::MAX).then_some(Err(failed));
        let socket = DirEntry { name: b"socket"[..].into(), kind: Kind::Other, metadata: None };
        let sockets = std::iter::repeat_n(socket, self.sockets.load(Ordering::Relaxed)).map(Ok);
        Ok(Box::new(sockets.chain(self.inside.list(who, path, d)?).take(whole).chain(fails)))
    }
    fn stage(&self, _: &Persona, _: &VirtualPath) -> medusa_fs::Result<Box<dyn Staged>> {
        unreachable!("nothing is written")
    }
    fn write_open(
        &self,
        _: &Persona,
        _: &VirtualPath,
        _: Placement,
    ) -> medusa_fs::Result<Box<dyn WriteFile>> {
        unreachable!("nothing is written")
    }
    fn make_dir(&self, _: &Persona, _: &VirtualPath) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
    fn remove_file(&self, _: &Persona, _: &VirtualPath) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
    fn remove_dir(&self, _: &Persona, _: &VirtualPath) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
    fn rename(&self, _: &Persona, _: &VirtualPath, _: &VirtualPath) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
    fn set_modified(&self, _: &Persona, _: &VirtualPath, _: SystemTime) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
    fn set_mode(&self, _: &Persona, _: &VirtualPath, _: u32) -> medusa_fs::Result<()> {
        unreachable!("nothing is written")
    }
}

#[test]
fn a_cold_file_is_opened_by_a_helper_thread_and_keeps_its_place() {
    let tree = Watched::new(tree_of(&[("/cold", "cold"), ("/warm", "warm")]));
    let mut server = serve(tree.clone(), FilesOptions::default());
    server.h.hold_jobs();
    server.get("/warm", "");
    tree.cold.store(true, Ordering::Relaxed);
    let peer = server.connect();
    peer.send(get("/cold", "") + &get("/warm", "") + &get("/cold", "").replace("GET", "HEAD"));
    server.h.run();
    assert_eq!((peer.take().len(), server.h.jobs()), (0, 2));
    server.h.run_jobs();
    server.h.run();
    let all = answers_to(&peer.take(), |n| n == 2);
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["cold", "warm", ""]);
    // It is kept from now on.
    assert_eq!(statuses(&server.more(&peer, get("/cold", ""))), [200]);
}

#[test]
fn a_lost_job_is_a_503() {
    for lost in [JobLost::QueueFull, JobLost::Panicked] {
        let tree = Watched::new(tree_of(&[("/f", "f")]));
        tree.cold.store(true, Ordering::Relaxed);
        let mut server = serve(tree, FilesOptions::default());
        server.h.hold_jobs();
        let peer = server.connect();
        peer.send(get("/f", ""));
        server.h.run();
        server.h.lose_job(0, lost);
        server.h.run();
        assert_eq!(only(answers(&peer.take())).status, 503);
        assert_ended(&peer, None);
    }
}

#[test]
fn a_client_that_goes_while_its_file_is_opened_harms_nobody() {
    let tree = Watched::new(tree_of(&[("/f", "f")]));
    tree.cold.store(true, Ordering::Relaxed);
    let mut server = serve(tree, FilesOptions::default());
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send(get("/f", ""));
    server.h.run();
    peer.reset();
    server.h.run();
    server.h.run_jobs();
    server.h.run();
    assert!(peer.is_gone());
    // What was read is not lost.
    assert_eq!(server.get("/f", "").text(), "f");
}

#[test]
fn faults_of_the_tree_have_their_status() {
    for (kind, status) in [
        (ErrorKind::NotFound, 404),
        (ErrorKind::NotDirectory, 404),
        (ErrorKind::Escapes, 404),
        (ErrorKind::TooLong, 404),
        (ErrorKind::Denied, 403),
        (ErrorKind::Unsupported, 403),
        (ErrorKind::Busy, 503),
        (ErrorKind::Io, 500),
    ] {
        let tree = Watched::new(tree_of(&[("/f", "f")]));
        *tree.fails.lock().expect("nobody panics") = Some(kind);
        let answer = serve(tree, FilesOptions::default()).get("/f", "");
        assert_eq!(answer.status, status, "{kind:?}");
        assert!(answer.whole && !answer.closes());
    }
}

#[test]
fn small_files_are_opened_once_unless_they_have_just_changed() {
    for (age, opens) in [(Duration::from_secs(1), 3), (Duration::from_secs(10), 1)] {
        let tree = Watched::new(tree_of(&[("/f", "content")]));
        let mut server = serve(tree.clone(), FilesOptions::default());
        server.h = Harness::at(MODIFIED + age);
        for _ in 0..3 {
            assert_eq!(server.get("/f", "").text(), "content");
        }
        assert_eq!(tree.opens.load(Ordering::Relaxed), opens, "changed {age:?} ago");
    }
}

#[test]
fn the_cache_keeps_what_is_asked_for_within_its_room() {
    let tree = tree();
    for n in 0..100 {
        put(&tree, &format!("/{n}"), &[b'x'; 1000]);
    }
    let tree = Watched::new(tree);
    let options = FilesOptions { cache_bytes: 40_000, ..FilesOptions::default() };
    let mut server = serve(tree.clone(), options);
    server.get("/0", "");
    for n in 1..100 {
        server.get(&format!("/{n}"), "");
        server.get("/0", "");
    }
    assert_eq!(tree.opens.load(Ordering::Relaxed), 100, "what is asked for always stays");
    for n in 1..20 {
        server.get(&format!("/{n}"), "");
    }
    assert_eq!(tree.opens.load(Ordering::Relaxed), 119, "what was not asked for has gone");

    let options = FilesOptions { cache_bytes: 0, ..FilesOptions::default() };
    let mut server = serve(tree.clone(), options);
    tree.opens.store(0, Ordering::Relaxed);
    (0..3).for_each(|_| drop(server.get("/0", "")));
    assert_eq!(tree.opens.load(Ordering::Relaxed), 3);
}

#[test]
fn one_file_may_be_kept_under_several_spellings() {
    let tree = tree_of(&[("/a b", "old")]);
    let mut server = Server::files(&tree);
    let spellings = ["/a%20b", "/./a%20b", "/%61%20b", "//a%20b", "http://x/a%20b"];
    for path in spellings {
        assert_eq!(server.get(path, "").text(), "old");
    }
    put(&tree, "/a b", b"new");
    for path in spellings {
        assert_eq!(server.get(path, "").text(), "new", "{path}");
    }
}
