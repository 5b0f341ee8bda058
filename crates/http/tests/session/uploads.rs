//! The extension that writes: what each method does to the tree, what it answers when it cannot,
//! and that nothing remains of what did not become whole.

use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_core::handle::JobLost;
use medusa_core::limits::COLLECTOR_BUFFER_BYTES;
use medusa_core::testing::How;
use medusa_fs::{
    Content, FileSystem, LocalTree, MemoryTree, Persona, Resolver, TreeOptions, VirtualPath,
};
use medusa_http::limits::UPLOAD_RETRY;
use medusa_http::upload::NotWritable;
use medusa_http::{Extension, Files, FilesOptions, Upload, UploadOptions};

use crate::server::{
    Answer, MODIFIED, MODIFIED_DATE, Server, answers, assert_ended, get, only, put, statuses,
    system_time, tree, tree_of,
};

fn writable() -> TreeOptions {
    TreeOptions { writable: true, ..TreeOptions::default() }
}

fn extensions(tree: Arc<dyn FileSystem>, options: UploadOptions) -> Vec<Rc<dyn Extension>> {
    let upload = Upload::new(tree.clone(), Persona::Process, options).expect("it is writable");
    let files = Files::new(tree, Persona::Process, FilesOptions::default());
    vec![Rc::new(upload), Rc::new(files)]
}

/// Takes uploads to a tree, and serves it.
fn server_with(tree: &MemoryTree, options: UploadOptions) -> Server {
    Server::new(extensions(Arc::new(tree.clone()), options))
}

fn server(tree: &MemoryTree) -> Server {
    server_with(tree, UploadOptions::default())
}

/// A request with a body by length.
fn request(method: &str, path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{lines}\r\n{body}")
}

/// A request with a body in one chunk.
fn chunked(method: &str, path: &str, body: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// The answer to one request.
fn ask(server: &mut Server, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    only(server.ask(request(method, path, lines, body)))
}

/// The content of a file, if it is there.
fn content(tree: &dyn FileSystem, name: &str) -> Option<String> {
    let path = VirtualPath::parse(name.as_bytes()).expect("a path").path;
    match tree.open(&Persona::Process, &path).ok()?.content {
        Content::Memory(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Content::Disk(file) => Some(std::io::read_to_string(&*file).expect("text")),
    }
}

fn is_there(tree: &MemoryTree, name: &str) -> bool {
    let path = VirtualPath::parse(name.as_bytes()).expect("a path").path;
    tree.metadata(&Persona::Process, &path).is_ok()
}

/// A form with the boundary `b`: of each part the parameters of its disposition, and its content.
fn form(parts: &[(&str, &str)]) -> String {
    let part = |(parameters, content): &(&str, &str)| {
        let head = format!("Content-Disposition: form-data; {parameters}\r\nContent-Type: a/b\r\n");
        format!("--b\r\n{head}\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

/// A form with one file.
fn file_form(name: &str, content: &str) -> String {
    form(&[(&format!("name=f; filename=\"{name}\""), content)])
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=b\r\n";

fn post(server: &mut Server, path: &str, lines: &str, form: &str) -> Answer {
    ask(server, "POST", path, &format!("{FORM}{lines}"), form)
}

// PUT.

#[test]
fn a_put_makes_a_file_or_replaces_it() {
    let tree = tree_of(&[("/d/old", "old")]);
    let mut server = server(&tree);
    let made = ask(&mut server, "PUT", "/d/a%20%62", "", "new");
    assert_eq!((made.status, made.field("Location")), (201, Some("/d/a%20b")));
    assert_eq!(content(&tree, "/d/a b").as_deref(), Some("new"));
    let got = server.get("/d/a%20b", "");
    assert_eq!((got.text(), got.field("ETag")), ("new", made.field("ETag")));
    let replaced = ask(&mut server, "PUT", "/d/old", "", "newer");
    assert_eq!((replaced.status, replaced.field("Location")), (204, None));
    let got = server.get("/d/old", "");
    assert_eq!((got.text(), got.field("ETag")), ("newer", replaced.field("ETag")));
    assert_eq!(ask(&mut server, "PUT", "/d/empty", "", "").status, 201);
    assert_eq!(content(&tree, "/d/empty").as_deref(), Some(""));
    let all = server.ask(chunked("PUT", "/d/c", "chunk") + &request("PUT", "/d/e", "", "next"));
    assert_eq!(statuses(&all), [201, 201], "the connection is kept");
    assert_eq!(content(&tree, "/d/c").as_deref(), Some("chunk"));
}

#[test]
fn a_put_arrives_as_it_will() {
    for whole in [request("PUT", "/f", "", "0123456789"), chunked("PUT", "/f", "0123456789")] {
        for at in 0..=whole.len() {
            let tree = tree();
            let mut server = server(&tree);
            let peer = server.connect();
            peer.send_split(&whole, &[at]);
            server.h.run();
            assert_eq!(only(answers(&peer.take())).status, 201, "split at {at}");
            assert_eq!(content(&tree, "/f").as_deref(), Some("0123456789"), "split at {at}");
        }
    }
}

/// What stands behind a change in the pipeline finds it done (RFC 9112, section 9.3.2).
#[test]
fn a_request_behind_a_change_waits_for_it() {
    let tree = tree();
    let mut server = server(&tree);
    server.h.hold_jobs();
    let peer = server.connect();
    let after = |method: &str, body: &str| request(method, "/f", "", body) + &get("/f", "");
    peer.send(after("PUT", "new") + &after("PUT", "newer") + &after("DELETE", ""));
    server.h.run();
    while server.h.jobs() > 0 {
        server.h.run_jobs();
        server.h.run();
    }
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [201, 200, 204, 200, 204, 404]);
    assert_eq!((all[1].text(), all[3].text()), ("new", "newer"));
}

#[test]
fn puts_that_cannot_be() {
    let tree = tree_of(&[("/f", "old"), ("/d/f", "old")]);
    let mut server = server(&tree);
    for (path, lines, status) in [
        ("/", "", 405),
        ("/d", "", 409),
        ("/d/", "", 409),
        ("/f/", "", 409),
        ("/f/x", "", 409),
        ("/none/x", "", 409),
        ("/.hidden", "", 403),
        ("/.hidden/x", "", 409),
        ("/../x", "", 400),
        ("/f", "Content-Range: bytes 0-2/10\r\n", 400),
        ("/f", "Content-Encoding: gzip\r\n", 415),
        ("/f", "Content-Encoding: identity\r\nIf-Match: \"x\"\r\n", 412),
    ] {
        let answer = ask(&mut server, "PUT", path, lines, "new");
        assert_eq!(answer.status, status, "{path} {lines}");
        assert_eq!(answer.field("Allow").is_some(), status == 405, "{path}");
    }
    let name = "x".repeat(300);
    assert_eq!(ask(&mut server, "PUT", &format!("/{name}"), "", "").status, 400);
    for name in ["/f", "/d/f"] {
        assert_eq!(content(&tree, name).as_deref(), Some("old"));
    }
    assert!(!is_there(&tree, "/x"));
}

#[test]
fn conditions_are_kept() {
    let tree = tree_of(&[("/f", "0")]);
    let mut server = server(&tree);
    let etag = server.get("/f", "").field("ETag").expect("a tag").to_owned();
    let before = "Sun, 09 Sep 2001 01:46:39 GMT";
    for (method, path, lines, status) in [
        ("PUT", "/f", "If-None-Match: *".to_owned(), 412),
        ("PUT", "/f", format!("If-None-Match: {etag}"), 412),
        ("PUT", "/f", "If-Match: \"other\"".to_owned(), 412),
        ("PUT", "/f", format!("If-Unmodified-Since: {before}"), 412),
        ("PUT", "/none", "If-Match: *".to_owned(), 412),
        ("DELETE", "/f", "If-Match: \"other\"".to_owned(), 412),
        ("DELETE", "/f", "If-None-Match: *".to_owned(), 412),
        ("DELETE", "/none", "If-Match: *".to_owned(), 404),
        ("MKCOL", "/new", "If-Match: *".to_owned(), 412),
        ("PUT", "/new", "If-None-Match: *".to_owned(), 201),
        ("PUT", "/f", format!("If-Unmodified-Since: {MODIFIED_DATE}"), 204),
        ("PUT", "/f", format!("If-Match: {etag}"), 412),
        ("DELETE", "/f", "If-Match: *".to_owned(), 204),
    ] {
        let answer = ask(&mut server, method, path, &(lines.clone() + "\r\n"), "");
        assert_eq!(answer.status, status, "{method} {path} {lines}");
    }
    assert!(!is_there(&tree, "/f") && !is_there(&tree, "/none"));
}

/// What comes into being during an upload counts too, to the last moment.
#[test]
fn conditions_are_kept_at_the_commit() {
    for (lines, put_before) in [("If-None-Match: *\r\n", 1), ("If-Unmodified-Since: ", 0)] {
        let tree = MemoryTree::new(writable(), || system_time(MODIFIED + Duration::from_secs(9)));
        let mut server = server(&tree);
        server.h.hold_jobs();
        let lines = match put_before {
            1 => lines.to_owned(),
            _ => format!("{lines}{MODIFIED_DATE}\r\n"),
        };
        let peer = server.connect();
        peer.send(request("PUT", "/f", &lines, "mine"));
        server.h.run();
        server.h.run_jobs();
        put(&tree, "/f", b"theirs");
        for _ in 0..4 {
            server.h.run_jobs();
            server.h.run();
        }
        assert_eq!(only(answers(&peer.take())).status, 412, "{lines}");
        assert_eq!(content(&tree, "/f").as_deref(), Some("theirs"));
    }
}

/// That nothing is there is left to the commit itself, not to a look before it. A link that leads
/// nowhere shows which of the two decides: whoever looks through it finds nothing.
#[test]
fn only_the_commit_says_that_nothing_was_there() {
    let dir = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("none", dir.path().join("link")).expect("it is made");
    for resolver in [Resolver::Kernel, Resolver::Walk] {
        let tree = Arc::new(LocalTree::open_with(dir.path(), writable(), resolver).expect("opens"));
        let mut server = Server::new(extensions(tree, UploadOptions::default()));
        let answer = ask(&mut server, "PUT", "/link", "If-None-Match: *\r\n", "mine");
        assert_eq!(answer.status, 412);
        assert!(fs::symlink_metadata(dir.path().join("link")).is_ok_and(|link| link.is_symlink()));
    }
}

#[test]
fn a_client_that_waits_is_asked_for_what_is_wanted_only() {
    let expect = "Expect: 100-continue\r\n";
    let head = |path: &str, length: u64| {
        format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{expect}\r\n")
    };
    let tree = tree_of(&[("/d/f", "f")]);
    let options = UploadOptions { max_bytes: 10, ..UploadOptions::default() };
    let mut server = server_with(&tree, options);
    for (path, length, status) in
        [("/d", 5, 409), ("/none/f", 5, 409), ("/", 5, 405), ("/f", 11, 413), ("/.f", 5, 403)]
    {
        let answer = only(server.ask(head(path, length)));
        assert_eq!((answer.status, answer.closes()), (status, true), "{path}");
    }
    let (peer, output) = server.send(head("/f", 5));
    assert_eq!(output, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(statuses(&server.more(&peer, "hello")), [201]);
    assert_eq!(content(&tree, "/f").as_deref(), Some("hello"));
}

#[test]
fn too_much_is_refused_before_it_comes_or_when_it_does() {
    let tree = tree();
    let mut server = server_with(&tree, UploadOptions { max_bytes: 10, ..Default::default() });
    let peer = server.connect();
    peer.send("PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    server.h.run();
    let answer = only(answers(&peer.take()));
    assert_eq!((answer.status, answer.closes()), (413, true));
    let answer = only(server.ask(chunked("PUT", "/f", "01234567890")));
    assert_eq!((answer.status, answer.closes()), (413, true));
    assert_eq!(only(server.ask(chunked("PUT", "/f", "0123456789"))).status, 201);
    let long = post(&mut server, "/", "", &file_form("g", "g"));
    assert_eq!(long.status, 413, "of a form the whole body counts");
    assert!(!is_there(&tree, "/g"));
}

#[test]
fn a_full_tree_answers_507_at_once() {
    let tree = MemoryTree::with_capacity(writable(), || system_time(MODIFIED), 200_000);
    let mut server = server(&tree);
    for (head, name) in [
        ("PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n".to_owned(), "/f"),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n{FORM}\r\n{}",
                file_form("g", "").trim_end_matches("\r\n--b--\r\n"),
            ),
            "/g",
        ),
    ] {
        let peer = server.connect();
        peer.send(head + "\r\n");
        for _ in 0..10 {
            peer.send(vec![b'x'; COLLECTOR_BUFFER_BYTES]);
            server.h.run();
        }
        let answer = only(answers(&peer.take()));
        assert_eq!((answer.status, answer.closes()), (507, true));
        assert!(!is_there(&tree, name));
        // What was counted as held by it is free again.
        assert_eq!(ask(&mut server, "PUT", "/small", "", &"x".repeat(150_000)).status / 100, 2);
        assert_eq!(ask(&mut server, "DELETE", "/small", "", "").status, 204);
    }
}

#[test]
fn at_most_two_buffers_of_an_upload_are_in_memory() {
    let tree = tree();
    let mut server = server(&tree);
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send("PUT /f HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    peer.send(vec![b'x'; 10_000_000]);
    server.h.run();
    // Nothing is open yet: one part, at most, has been taken.
    assert!(10_000_000 - peer.unread() <= 2 * COLLECTOR_BUFFER_BYTES);
    while server.h.jobs() > 0 {
        server.h.run_jobs();
        server.h.run();
        let written = content(&tree, "/f").map_or(0, |content| content.len());
        assert!(written == 0 || written == 10_000_000, "it appears whole");
    }
    assert_eq!(only(answers(&peer.take())).status, 201);
}

#[test]
fn nothing_remains_of_an_upload_whose_client_goes() {
    let whole_form = file_form("g", &"x".repeat(100_000));
    let put = request("PUT", "/f", "", &"x".repeat(100_000));
    let post = request("POST", "/", FORM, &whole_form);
    for whole in [put, post, chunked("PUT", "/f", &"x".repeat(100_000))] {
        for (end, how) in [(150, 0), (whole.len() / 2, 1), (whole.len() - 12, 0), (150, 2)] {
            let dir = tempfile::tempdir().expect("a directory");
            let tree = LocalTree::open_with(dir.path(), writable(), Resolver::Walk).expect("opens");
            let mut server = Server::new(extensions(Arc::new(tree), UploadOptions::default()));
            let peer = server.connect();
            peer.send(&whole[..end]);
            server.h.run();
            match how {
                0 => peer.close_write(),
                1 => peer.reset(),
                _ => server.h.advance(Duration::from_secs(100)),
            }
            server.h.run();
            let left = fs::read_dir(dir.path()).expect("it lists").count();
            assert_eq!(left, 0, "of {} after {end} bytes, {how}", &whole[..20]);
            if how != 1 {
                let status = only(answers(&peer.take())).status;
                assert_eq!(status, if how == 0 { 400 } else { 408 });
            }
        }
    }
}

#[test]
fn the_number_of_uploads_is_bounded() {
    let tree = tree();
    let mut server = server_with(&tree, UploadOptions { at_once: 1, ..Default::default() });
    let first = server.connect();
    first.send("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
    server.h.run();
    for _ in 0..2 {
        let second = ask(&mut server, "PUT", "/b", "", "b");
        let after = UPLOAD_RETRY.as_secs().to_string();
        assert_eq!((second.status, second.field("Retry-After")), (503, Some(&*after)));
        assert_eq!(post(&mut server, "/", "", &file_form("b", "b")).status, 503);
    }
    assert_eq!(statuses(&server.more(&first, "a")), [201]);
    for (path, status) in [("/b", 201), ("/none/b", 409), ("/b", 204)] {
        assert_eq!(ask(&mut server, "PUT", path, "", "b").status, status, "its place is free");
    }
    let gone = server.connect();
    gone.send("PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nc");
    server.h.run();
    gone.reset();
    server.h.run();
    assert_eq!(post(&mut server, "/", "", &file_form("c", "c")).status, 201);
}

#[test]
fn a_lost_job_is_a_503() {
    for (whole, jobs) in [
        (request("PUT", "/f", "", "x"), 3),
        (request("POST", "/", FORM, &file_form("f", "x")), 3),
        (request("DELETE", "/old", "", ""), 1),
        (request("MKCOL", "/new", "", ""), 1),
    ] {
        for lost in 0..jobs {
            let tree = tree_of(&[("/old", "old")]);
            let mut server = server(&tree);
            server.h.hold_jobs();
            let peer = server.connect();
            peer.send(&whole);
            server.h.run();
            for _ in 0..lost {
                server.h.run_jobs();
                server.h.run();
            }
            server.h.lose_job(0, JobLost::QueueFull);
            server.h.run();
            assert_eq!(only(answers(&peer.take())).status, 503, "{whole}, job {lost}");
            assert!(!is_there(&tree, "/new") && is_there(&tree, "/old"));
        }
    }
}

// DELETE and MKCOL.

#[test]
fn a_delete_removes_files_and_empty_directories() {
    let tree = tree_of(&[("/f", "f"), ("/full/f", "f"), ("/d/f", "f")]);
    let mut server = server(&tree);
    for (path, status) in [
        ("/", 405),
        ("/none", 404),
        ("/f/x", 404),
        ("/f/", 404),
        ("/.hidden", 404),
        ("/full", 409),
        ("/full/", 409),
        ("/f", 204),
        ("/f", 404),
        ("/d/f", 204),
        ("/d/", 204),
    ] {
        assert_eq!(ask(&mut server, "DELETE", path, "", "").status, status, "{path}");
    }
    assert!(is_there(&tree, "/full/f") && !is_there(&tree, "/d") && !is_there(&tree, "/f"));
}

#[test]
fn a_link_is_removed_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "kept").expect("it is written");
    for (link, to) in [("in", "file"), ("out", "/etc/passwd"), ("nowhere", "none"), ("up", "..")] {
        std::os::unix::fs::symlink(to, dir.path().join(link)).expect("it is made");
    }
    let tree = Arc::new(LocalTree::open(dir.path(), writable()).expect("opens"));
    let mut server = Server::new(extensions(tree, UploadOptions::default()));
    for link in ["in", "out", "nowhere", "up"] {
        assert_eq!(ask(&mut server, "DELETE", &format!("/{link}"), "", "").status, 204, "{link}");
    }
    let names: Vec<_> = fs::read_dir(dir.path()).expect("it lists").flatten().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read(dir.path().join("file")).expect("it is there"), b"kept");
}

#[test]
fn mkcol_makes_directories() {
    let tree = tree_of(&[("/f", "f"), ("/d/f", "f")]);
    let mut server = server(&tree);
    for (path, body, status) in [
        ("/", "", 405),
        ("/f", "", 405),
        ("/d/", "", 405),
        ("/none/new", "", 409),
        ("/f/new", "", 409),
        ("/.new", "", 403),
        ("/new", "<xml/>", 415),
        ("/new", "", 201),
        ("/new/er/", "", 201),
    ] {
        let answer = ask(&mut server, "MKCOL", path, "", body);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.field("Allow").is_some(), status == 405, "{path}");
        if status == 201 {
            let slashed = format!("{}/", path.trim_end_matches('/'));
            assert_eq!(answer.field("Location"), Some(&*slashed));
        }
    }
    assert!(is_there(&tree, "/new/er"));
}

// Forms.

#[test]
fn a_form_stores_its_files() {
    let tree = tree_of(&[("/d/old", "old")]);
    let mut server = server(&tree);
    let body = form(&[
        ("name=comment", "not stored"),
        ("name=f; filename=\"C:\\dir\\one.txt\"", "1"),
        ("name=f; filename=\"\"", ""),
        ("name=f; filename=\"t%22wo\"", "\r\n--two"),
    ]);
    for (lines, status) in [("", 201), ("Accept: */*\r\n", 201), ("Accept: text/html\r\n", 303)] {
        let answer = post(&mut server, "/d", lines, &body);
        assert_eq!(answer.status, status, "{lines}");
        if status == 201 {
            assert_eq!(answer.field("Content-Type"), Some("application/json"));
            assert_eq!(
                answer.text(),
                "{\"stored\":[{\"name\":\"one.txt\",\"size\":1,\"location\":\"/d/one.txt\"},\
                 {\"name\":\"t\\\"wo\",\"size\":7,\"location\":\"/d/t%22wo\"}]}\n"
            );
        } else {
            assert_eq!(answer.field("Location"), Some("/d/"));
        }
        assert_eq!(content(&tree, "/d/one.txt").as_deref(), Some("1"));
        assert_eq!(content(&tree, "/d/t\"wo").as_deref(), Some("\r\n--two"));
        for name in ["/d/one.txt", "/d/t%22wo"] {
            assert_eq!(ask(&mut server, "DELETE", name, "", "").status, 204);
        }
        assert_eq!(ask(&mut server, "DELETE", "/d", "", "").status, 409, "what was there stays");
    }
}

#[test]
fn a_form_arrives_as_it_will() {
    let whole = request("POST", "/", FORM, &form(&[("name=f; filename=a", "1"), ("name=x", "")]));
    for at in 0..=whole.len() {
        let tree = tree();
        let mut server = server(&tree);
        let peer = server.connect();
        peer.send_split(&whole, &[at]);
        server.h.run();
        assert_eq!(only(answers(&peer.take())).status, 201, "split at {at}");
        assert_eq!(content(&tree, "/a").as_deref(), Some("1"), "split at {at}");
    }
}

/// Buffers of a long form end anywhere in it, also in its boundaries.
#[test]
fn a_long_form_is_taken_apart_wherever_its_buffers_end() {
    for extra in 0..40 {
        let long = "x".repeat(COLLECTOR_BUFFER_BYTES - 150 + extra);
        let tree = tree();
        let mut server = server(&tree);
        let body = form(&[("name=f; filename=a", &long), ("name=f; filename=b", &long)]);
        let peer = server.connect();
        for part in request("POST", "/", FORM, &body).as_bytes().chunks(997) {
            peer.send(part);
            server.h.run();
        }
        assert_eq!(only(answers(&peer.take())).status, 201, "{extra}");
        assert!(content(&tree, "/a").as_deref() == Some(&*long), "{extra}");
        assert!(content(&tree, "/b").as_deref() == Some(&*long), "{extra}");
    }
}

#[test]
fn forms_that_cannot_be() {
    let tree = tree_of(&[("/d/old", "old"), ("/d/sub/f", "f")]);
    let mut server = server(&tree);
    for (path, name, status, sentence) in [
        ("/none", "a", 404, "no such directory"),
        ("/d/old", "a", 409, "not to a file"),
        ("/d", "old", 409, "`old`: there is something of this name already"),
        ("/d", "sub", 409, "`sub`"),
        ("/d", ".hidden", 403, "`.hidden`"),
        ("/d", "..", 400, "`..`"),
        ("/d", "a%0Db", 400, "`a\\x0db`: the name has a control byte"),
        ("/d", &"x".repeat(256), 400, "too long"),
    ] {
        let answer = post(&mut server, path, "", &file_form(name, "new"));
        assert_eq!(answer.status, status, "{path} {name}");
        assert!(answer.text().contains(sentence), "{}", answer.text());
    }
    assert_eq!(content(&tree, "/d/old").as_deref(), Some("old"));
    for (content_type, body, status) in [
        ("", &*file_form("a", "a"), 415),
        ("Content-Type: text/plain\r\n", "a", 415),
        ("Content-Type: multipart/form-data\r\n", "a", 400),
        ("Content-Type: multipart/form-data; boundary=\"\"\r\n", "a", 400),
        (FORM, "no boundary", 400),
        (FORM, &form(&[]), 400),
        (FORM, &form(&[("name=comment", "no file")]), 400),
        (FORM, "--b\r\n\r\n\r\n--b--", 400),
    ] {
        let answer = ask(&mut server, "POST", "/", content_type, body);
        assert_eq!(answer.status, status, "{content_type} {body}");
    }
    assert!(!is_there(&tree, "/a"));
}

/// Files that were whole stay, the one that was not leaves nothing, and the answer says so.
#[test]
fn of_a_form_that_breaks_off_what_was_whole_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let tree =
        Arc::new(LocalTree::open_with(dir.path(), writable(), Resolver::Walk).expect("opens"));
    let mut server = Server::new(extensions(tree.clone(), UploadOptions::default()));
    let whole = form(&[("name=f; filename=a", "a"), ("name=f; filename=b", "b")]);
    let cut = &whole[..whole.len() - "--b--\r\n".len()];
    let answer = post(&mut server, "/", "", cut.strip_suffix("\r\n").expect("a line end"));
    assert_eq!(answer.status, 400);
    let text = "400 Bad Request: the form was cut short (the file before it is stored)\n";
    assert_eq!(answer.text(), text);
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).expect("it lists").map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["a"]);
    let three =
        [("name=f; filename=b", "b"), ("name=f; filename=c", "c"), ("name=f; filename=a", "")];
    let answer = post(&mut server, "/", "", &form(&three));
    assert_eq!(answer.status, 409);
    assert!(answer.text().ends_with(" already (the 2 files before it are stored)\n"));
    assert_eq!(names(), ["a", "b", "c"]);
}

#[test]
fn a_form_replaces_if_that_is_allowed() {
    let tree = tree_of(&[("/old", "old")]);
    let options = UploadOptions { replace_by_form: true, ..Default::default() };
    let mut server = server_with(&tree, options);
    assert_eq!(post(&mut server, "/", "", &file_form("old", "new")).status, 201);
    assert_eq!(content(&tree, "/old").as_deref(), Some("new"));
}

#[test]
fn a_file_that_came_into_being_during_the_form_is_not_replaced() {
    let tree = tree();
    let mut server = server(&tree);
    let whole = request("POST", "/", FORM, &file_form("f", &"x".repeat(COLLECTOR_BUFFER_BYTES)));
    let peer = server.connect();
    peer.send(&whole[..whole.len() - 12]);
    server.h.run();
    put(&tree, "/f", b"theirs");
    assert_eq!(statuses(&server.more(&peer, &whole[whole.len() - 12..])), [409]);
    assert_eq!(content(&tree, "/f").as_deref(), Some("theirs"));
}

#[test]
fn pages_of_other_sites_post_no_forms() {
    for (lines, ok) in [
        ("", true),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n", true),
        ("Sec-Fetch-Site: none\r\n", true),
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://a\r\n", false),
        ("Origin: http://a\r\n", true),
        ("Origin: https://A:443\r\n", true),
        ("Origin: http://a:80\r\n", true),
        ("Origin: http://a:81\r\n", false),
        ("Origin: https://a:80\r\n", false),
        ("Origin: http://b\r\n", false),
        ("Origin: null\r\n", false),
        ("Origin: http:a\r\n", false),
        ("Origin: file://a\r\n", false),
    ] {
        for allowed in [false, true] {
            let tree = tree();
            let options = UploadOptions { cross_site_forms: allowed, ..Default::default() };
            let mut server = server_with(&tree, options);
            let answer = post(&mut server, "/", lines, &file_form("f", "f"));
            let stored = ok || allowed;
            assert_eq!(answer.status, if stored { 201 } else { 403 }, "{lines}");
            assert_eq!(is_there(&tree, "/f"), stored);
        }
    }
}

// Methods.

#[test]
fn what_is_allowed_is_told() {
    let tree = tree_of(&[("/f", "f")]);
    let none = UploadOptions {
        put: false,
        delete: false,
        make_directories: false,
        forms: false,
        ..Default::default()
    };
    let only_put = UploadOptions { put: true, ..none.clone() };
    for (options, allow) in [
        (UploadOptions::default(), "GET, HEAD, OPTIONS, PUT, DELETE, MKCOL, POST"),
        (only_put, "GET, HEAD, OPTIONS, PUT"),
        (none, "GET, HEAD, OPTIONS"),
    ] {
        let mut server = server_with(&tree, options);
        for target in ["/f", "*"] {
            let answer = ask(&mut server, "OPTIONS", target, "", "");
            assert_eq!((answer.status, answer.field("Allow")), (204, Some(allow)));
        }
        for method in ["PUT", "DELETE", "MKCOL", "POST", "PATCH", "PROPFIND"] {
            if !allow.contains(method) {
                let answer = ask(&mut server, method, "/g", FORM, "");
                assert_eq!((answer.status, answer.field("Allow")), (405, Some(allow)), "{method}");
            }
        }
        assert_eq!(server.get("/f", "").text(), "f");
    }
}

#[test]
fn a_tree_that_takes_no_writes_takes_no_uploads() {
    let tree = MemoryTree::new(TreeOptions::default(), || system_time(MODIFIED));
    let refused = Upload::new(Arc::new(tree), Persona::Process, UploadOptions::default());
    assert_eq!(refused.err(), Some(NotWritable));
}

/// A client that goes on sending hears the answer; it is not lost to a reset.
#[test]
fn an_early_refusal_is_heard() {
    let tree = tree();
    let mut server = server(&tree);
    let peer = server.connect();
    peer.send("PUT /none/f HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    peer.send(vec![b'x'; 100_000]);
    server.h.run();
    assert_eq!(only(answers(&peer.take())).status, 409);
    peer.send(vec![b'x'; 900_000]);
    peer.close_write();
    server.h.run();
    assert_ended(&peer, Some(How::Fin));
}
